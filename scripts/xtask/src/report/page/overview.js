"use strict";
// The whole trace in one strip, with a frame around what the timeline shows.

class Overview {
  constructor(canvas, timeline, onMove) {
    Object.assign(this, { canvas, timeline });
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    for (const name of ["pointerdown", "pointermove"]) {
      canvas.addEventListener(name, (event) => {
        if (event.buttons === 0) return;
        timeline.view.center(1 + ((event.offsetX - GUTTER) / timeline.view.width) * timeline.view.lastLine);
        onMove();
      });
    }
  }

  draw() {
    const { canvas, timeline: { view, trace, colours, width } } = this;
    const context = canvas.getContext("2d");
    const [ratio, height] = [devicePixelRatio || 1, 28];
    [canvas.width, canvas.height] = [Math.round(width * ratio), height * ratio];
    canvas.style.height = `${height}px`;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const x = (line) => GUTTER + ((line - 1) / view.lastLine) * view.width;
    context.fillStyle = colours.line;
    context.fillRect(GUTTER, 4, view.width, height - 8);
    for (const finding of trace.findings) {
      context.fillStyle = finding.is_warning ? colours.warning : colours.violation;
      context.fillRect(x(trace.line[finding.event]) - 1, 4, 2, height - 8);
    }
    context.strokeStyle = colours.accent;
    context.lineWidth = 2;
    context.strokeRect(x(view.first) + 1, 3, Math.max(view.linesInView / view.lastLine * view.width, 4) - 2, height - 6);
    Object.assign(context, { font: FONT, fillStyle: colours.muted, textBaseline: "middle" });
    context.fillText("all", 8, height / 2);
  }
}
