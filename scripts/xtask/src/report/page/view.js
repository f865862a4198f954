"use strict";
// Which lines of the trace are in view, and where.

/** Pixels for a line of the trace when it is drawn as large as it gets. */
const LARGEST = 220;

class View {
  constructor(lastLine) {
    this.lastLine = lastLine;
    [this.first, this.scale, this.width] = [1, 1, 0];
  }

  /** Returns the pixels that a line has where all of them are in view. */
  get smallest() {
    return Math.min(this.width / this.lastLine, LARGEST);
  }

  get linesInView() {
    return this.width / this.scale;
  }

  get last() {
    return this.first + this.linesInView;
  }

  get isWhole() {
    return this.scale <= this.smallest;
  }

  x(line) {
    return (line - this.first) * this.scale;
  }

  lineAt(x) {
    return this.first + x / this.scale;
  }

  /** Takes a new width, and keeps all in view where all was. */
  resize(width) {
    const wasWhole = this.width === 0 || this.isWhole;
    this.width = width;
    if (wasWhole) this.showAll();
    else this.set(this.first, this.scale);
  }

  set(first, scale) {
    this.scale = clamp(scale, this.smallest, LARGEST);
    const rest = Math.max(this.lastLine + 1 - this.linesInView, 1);
    this.first = clamp(first, 1, rest);
  }

  showAll() {
    this.set(1, 0);
  }

  pan(pixels) {
    this.set(this.first + pixels / this.scale, this.scale);
  }

  /** Zooms by a factor, and keeps what is at `x` there. */
  zoom(factor, x = this.width / 2) {
    const line = this.lineAt(x);
    const scale = clamp(this.scale * factor, this.smallest, LARGEST);
    this.set(line - x / scale, scale);
  }

  /** Moves a line into view, if it is not well within it. */
  reveal(line) {
    const margin = this.linesInView * 0.08;
    if (line < this.first + margin || line > this.last - margin) this.center(line);
  }

  center(line, scale = this.scale) {
    this.set(line + 0.5 - this.width / clamp(scale, this.smallest, LARGEST) / 2, scale);
  }
}
