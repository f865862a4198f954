"use strict";
// The timeline on its canvas: a lane for each CPU, with rows for what was found, for operations and for events.

const GUTTER = 64;
const AXIS = 22;
const ROWS = { findings: [0, 18], operations: [20, 20], events: [43, 28] };
const LANE = 88;
const FLAG = 36;
const FONT = "12px system-ui, sans-serif";
const MONO = "11.5px ui-monospace, monospace";
/** A line that has less than a pixel is drawn with its neighbours, as a column of so many pixels. */
const LEAST_SCALE = 1;
const COLUMN = 3;

class Timeline {
  constructor(canvas, trace, view) {
    Object.assign(this, { canvas, trace, view });
    this.context = canvas.getContext("2d");
    this.hidden = new Set();
    const cpus = plural(trace.lanes.length, "CPU");
    canvas.setAttribute("aria-label", `Timeline of ${plural(trace.length, "event")} on ${cpus}`);
    this.readColours();
  }

  readColours() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    this.colours = this.trace.kinds.map((_, kind) => colour(`kind-${kind}`));
    const others = ["text", "muted", "line", "bar", "bar-text", "on-kind", "violation", "warning", "accent"];
    for (const name of others) this.colours[name] = colour(name);
  }

  /** Fits the canvas to its box, at the screen's resolution. */
  resize() {
    const [width, height] = [this.canvas.clientWidth, AXIS + LANE * this.trace.lanes.length];
    const ratio = devicePixelRatio || 1;
    this.canvas.style.height = `${height}px`;
    [this.canvas.width, this.canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    [this.width, this.height] = [width, height];
    this.view.resize(width - GUTTER);
  }

  /** Draws what is in view, and counts the marks that it took. */
  draw(selected) {
    const { context } = this;
    this.marks = 0;
    context.clearRect(0, 0, this.width, this.height);
    context.textBaseline = "middle";
    this.drawAxis();
    this.columns = this.view.scale < LEAST_SCALE && this.trace.lanes.map((lane) => this.countColumns(lane));
    this.trace.lanes.forEach((lane, number) => this.drawLane(lane, number, selected));
    this.canvas.dataset.marks = this.marks;
  }

  drawAxis() {
    const step = [1, 2, 5].flatMap((digit) => [0, 1, 2, 3, 4, 5, 6, 7].map((power) => digit * 10 ** power))
      .sort((one, other) => one - other).find((lines) => lines * this.view.scale >= 80) ?? 1e8;
    this.text("line", 8, AXIS / 2 - 2, this.colours.muted);
    for (let line = Math.ceil(this.view.first / step) * step; line <= this.view.last; line += step) {
      const x = GUTTER + this.view.x(line + 0.5);
      this.fill(x, AXIS - 5, 1, this.height, this.colours.line);
      const label = grouped(line);
      const isCut = x + this.context.measureText(label).width / 2 > this.width;
      if (!isCut) this.text(label, x, AXIS / 2 - 2, this.colours.muted, "center");
    }
  }

  drawLane(lane, number, selected) {
    const { context } = this;
    const top = AXIS + number * LANE;
    this.fill(0, top + LANE - 5, this.width, 1, this.colours.line);
    this.text(`CPU ${lane.cpu}`, 8, top + ROWS.events[0] + ROWS.events[1] / 2, this.colours.text, "left", `600 ${FONT}`);
    context.save();
    context.beginPath();
    context.rect(GUTTER, top, this.width - GUTTER, LANE);
    context.clip();
    context.translate(GUTTER, top);
    this.drawOperations(lane, selected.operation);
    if (this.columns) this.drawColumns(this.columns[number], this.columnUnit());
    else this.drawEvents(lane);
    this.drawFindings(lane);
    this.drawSelection(lane, selected.event);
    context.restore();
  }

  drawOperations(lane, selected) {
    const [top, height] = ROWS.operations;
    let drawnTo = -1;
    const beyond = lowerBound(lane.operations, this.view.last, (operation) => this.trace.line[operation.begin]);
    for (const operation of lane.operations.slice(0, beyond)) {
      const [left, right] = [operation.begin, this.trace.endOf(operation)].map((event) => this.trace.line[event]);
      const x = this.view.x(left);
      const end = Math.max(this.view.x(right + 1) - 1, x + 1);
      if (end < 0 || (end <= drawnTo && operation !== selected)) continue;
      drawnTo = Math.max(drawnTo, Math.ceil(end));
      this.drawOperation(operation, Math.max(x, 0), end, operation === selected, top, height);
    }
  }

  drawOperation(operation, x, end, isSelected, top, height) {
    this.marks += 1;
    this.fill(x, top, end - x, height, isSelected ? this.colours.accent : this.colours.bar);
    const label = this.labelFor(operation, Math.min(end, this.view.width) - x - 10);
    const colour = isSelected ? this.colours["on-kind"] : this.colours["bar-text"];
    if (label !== undefined) this.text(label, x + 5, top + height / 2 + 1, colour);
  }

  /** Returns the longest label that fits into so many pixels. */
  labelFor(operation, pixels) {
    if (pixels < 15) return undefined;
    const labels = [titleOf(operation), `${operation.name} ${hex(operation.ipa)}`, operation.name];
    this.context.font = FONT;
    return labels.find((label) => this.context.measureText(label).width < pixels);
  }

  /** Calls back with each event of the lane in view whose kind is not hidden. */
  eachInView(lane, callback) {
    for (let place = lowerBound(lane.lines, Math.floor(this.view.first)); place < lane.lines.length; place += 1) {
      if (lane.lines[place] > this.view.last) return;
      const event = lane.events[place];
      const kind = this.trace.kind[event];
      if (!this.hidden.has(kind)) callback(event, kind, lane.lines[place]);
    }
  }

  drawEvents(lane) {
    const [top, height] = ROWS.events;
    const { scale } = this.view;
    const gap = scale > 5 ? 1 : 0;
    this.eachInView(lane, (event, kind, line) => {
      const x = this.view.x(line);
      this.marks += 1;
      this.fill(x, top, scale - gap, height, this.colours[kind]);
      if (scale >= 11) this.label(event, kind, x, top + height / 2 + 1);
    });
  }

  /** A letter where there is room for no more, so that no kind is told by its colour alone. */
  label(event, kind, x, y) {
    const { scale } = this.view;
    const letters = Math.floor((scale - 8) / 7);
    const colour = this.colours["on-kind"];
    if (letters < 6) this.text(this.trace.kinds[kind].letter, x + (scale - 1) / 2, y, colour, "center", MONO);
    else this.text(this.trace.texts[event].slice(0, letters), x + 4, y, colour, "left", MONO);
  }

  /** Counts, column by column, how many events of each kind a lane has there. */
  countColumns(lane) {
    const kinds = this.trace.kinds.length;
    const columns = Array.from({ length: Math.ceil(this.view.width / COLUMN) + 1 }, () => new Uint32Array(kinds));
    this.eachInView(lane, (_, kind, line) => {
      columns[Math.floor(Math.max(this.view.x(line), 0) / COLUMN)][kind] += 1;
    });
    return columns;
  }

  /** Returns the pixels of an event in a column: the fullest of all lanes is as high as there is room. */
  columnUnit() {
    const fullest = this.columns.flat().reduce((most, counts) => Math.max(most, sum(counts)), 1);
    return ROWS.events[1] / fullest;
  }

  /** A column is as high as its CPU is busy, compared with the busiest, and has each kind's colour for its part. */
  drawColumns(columns, unit) {
    const [top, height] = ROWS.events;
    columns.forEach((counts, column) => {
      let y = top + height;
      counts.forEach((count, kind) => {
        if (count === 0) return;
        this.marks += 1;
        y -= count * unit;
        this.fill(column * COLUMN, y, COLUMN, count * unit, this.colours[kind]);
      });
    });
  }

  /** Poles first: a label is read where a pole stands too. Violations last, so that no warning hides one. */
  drawFindings(lane) {
    const isInView = ({ x }) => x > -FLAG && x <= this.view.width;
    const flags = lane.findings.map((finding) => this.flag(finding)).filter(isInView);
    const [top, height] = ROWS.findings;
    this.eachApart(flags, 1, ({ x, colour }) => this.fill(x - 1, top + 1, 2, ROWS.events[0] - 3, colour));
    this.eachApart(flags, FLAG, ({ x, colour, rule }) => {
      const left = Math.min(x - 1, this.view.width - FLAG + 2);
      this.marks += 1;
      this.fill(left, top + 1, FLAG - 2, height - 2, colour);
      this.text(rule, left + FLAG / 2 - 1, top + height / 2 + 1, this.colours["on-kind"], "center", `600 ${FONT}`);
    });
  }

  flag({ event, rule, is_warning }) {
    const x = Math.round(this.view.x(this.trace.line[event] + 0.5));
    return { x, rule, colour: is_warning ? this.colours.warning : this.colours.violation };
  }

  /** Calls back with the flags of each colour that have so many pixels to the one before. */
  eachApart(flags, pixels, callback) {
    let last;
    for (const flag of flags) {
      if (last?.colour === flag.colour && flag.x - last.x < pixels) continue;
      last = flag;
      callback(flag);
    }
  }

  drawSelection(lane, event) {
    if (event === undefined || this.trace.cpu[event] !== lane.cpu) return;
    const { context } = this;
    const [top, height] = ROWS.events;
    context.strokeStyle = this.colours.text;
    context.lineWidth = 2;
    const x = this.view.x(this.trace.line[event]);
    context.strokeRect(x - 1, top - 2, Math.max(this.view.scale, 3) + 1, height + 4);
  }

  fill(x, y, width, height, colour) {
    this.context.fillStyle = colour;
    this.context.fillRect(x, y, width, height);
  }

  text(text, x, y, colour, align = "left", font = FONT) {
    Object.assign(this.context, { font, fillStyle: colour, textAlign: align });
    this.context.fillText(text, x, y);
  }

  /** Returns what is at a place of the canvas: its lane, its line, and a finding, an operation or an event. */
  at(x, y) {
    const lane = this.trace.lanes[Math.floor((y - AXIS) / LANE)];
    if (lane === undefined || x < GUTTER) return undefined;
    const row = (y - AXIS) % LANE;
    const line = this.view.lineAt(x - GUTTER);
    if (row < ROWS.operations[0]) return { lane, line, finding: this.findingNear(lane, x - GUTTER) };
    const event = this.trace.nearest(lane, Math.floor(line));
    if (row >= ROWS.events[0]) return { lane, line, event };
    const before = lane.events[Math.max(lowerBound(lane.lines, Math.floor(line) + 1) - 1, 0)];
    return { lane, line, operation: this.trace.operationAt(before) };
  }

  findingNear(lane, x) {
    const left = (finding) => this.view.x(this.trace.line[finding.event] + 0.5);
    return lane.findings.findLast((finding) => x >= left(finding) - 3 && x < left(finding) + FLAG);
  }
}
