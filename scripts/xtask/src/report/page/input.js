"use strict";
// Pointer and keys in the timeline.

/** A pointer that moves less than this between down and up has clicked. */
const CLICK_PIXELS = 4;

class Input {
  constructor(timeline, tip, page) {
    Object.assign(this, { timeline, tip, page });
    const { canvas } = timeline;
    const listen = (name, handler) =>
      canvas.addEventListener(name, (event) => handler.call(this, event), { passive: false });
    listen("pointerdown", this.down);
    listen("pointermove", this.move);
    listen("pointerup", this.up);
    listen("pointerleave", this.hide);
    listen("wheel", this.wheel);
    listen("keydown", this.key);
  }

  down(event) {
    if (event.button !== 0) return;
    this.timeline.canvas.setPointerCapture(event.pointerId);
    this.drag = { x: event.offsetX, moved: 0 };
    this.hide();
  }

  move(event) {
    if (this.drag === undefined) {
      this.show(event);
      return;
    }
    const pixels = this.drag.x - event.offsetX;
    this.drag = { x: event.offsetX, moved: this.drag.moved + Math.abs(pixels) };
    this.timeline.view.pan(pixels);
    this.page.redraw();
  }

  up(event) {
    const wasClick = this.drag !== undefined && this.drag.moved < CLICK_PIXELS;
    this.drag = undefined;
    if (wasClick) this.select(this.timeline.at(event.offsetX, event.offsetY));
  }

  select(found) {
    if (found?.finding !== undefined) this.page.select(found.finding.event);
    else if (found?.operation !== undefined) this.page.select(found.operation.begin);
    else if (found?.event !== undefined) this.page.select(found.event);
  }

  /** Only with Ctrl: without it the wheel scrolls the page, and sideways the timeline. */
  wheel(event) {
    const { view } = this.timeline;
    if (event.ctrlKey) view.zoom(Math.exp(-event.deltaY / 200), event.offsetX - GUTTER);
    else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) view.pan(event.deltaX);
    else return;
    event.preventDefault();
    this.hide();
    this.page.redraw();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = this.actions()[event.key];
    if (action === undefined) return;
    event.preventDefault();
    this.hide();
    action();
  }

  actions() {
    const { page, timeline: { view, trace } } = this;
    const step = (steps) => () => page.select(trace.neighbour(page.selected.event, steps));
    const cross = (steps) => () => page.select(trace.across(page.selected.event, steps));
    const look = (change) => () => {
      change();
      page.redraw();
    };
    return {
      ArrowLeft: step(-1), ArrowRight: step(1), ArrowUp: cross(-1), ArrowDown: cross(1),
      Home: () => page.select(0), End: () => page.select(trace.length - 1),
      PageUp: look(() => view.pan(-view.width * 0.8)), PageDown: look(() => view.pan(view.width * 0.8)),
      "+": () => page.zoom(1.6), "=": () => page.zoom(1.6), "-": () => page.zoom(1 / 1.6), 0: look(() => view.showAll()),
      n: () => page.stepFinding(1), p: () => page.stepFinding(-1),
      o: () => page.stepOperation(1), O: () => page.stepOperation(-1),
    };
  }

  show(event) {
    const found = this.timeline.at(event.offsetX, event.offsetY);
    const text = found && this.describe(found);
    this.tip.hidden = text === undefined;
    if (text === undefined) return;
    this.tip.textContent = text;
    const room = this.timeline.width - this.tip.offsetWidth;
    this.tip.style.left = `${clamp(event.offsetX + 12, 0, Math.max(room, 0))}px`;
    this.tip.style.top = `${event.offsetY + 18}px`;
  }

  hide() {
    this.tip.hidden = true;
  }

  describe({ lane, line, finding, operation, event }) {
    const { trace, view } = this.timeline;
    if (finding !== undefined) return `line ${finding.line}: ${finding.text}`;
    if (operation !== undefined) return titleOf(operation);
    if (event === undefined) return undefined;
    if (view.scale >= LEAST_SCALE) return `line ${trace.line[event]}: ${trace.texts[event]}`;
    const [first, last] = [line, line + COLUMN / view.scale].map(Math.floor);
    const count = lowerBound(lane.lines, last) - lowerBound(lane.lines, first);
    const lines = `lines ${grouped(first)} to ${grouped(last)}`;
    return `${lines}: ${plural(count, "event")} on CPU ${lane.cpu}; zoom in to see each`;
  }
}
