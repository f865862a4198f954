"use strict";
// The page: what is selected, and who is to be told.

/** Pixels of a line that is looked at among its neighbours. */
const NEAR = 6;

class Page {
  constructor(trace) {
    this.trace = trace;
    this.selected = { event: 0, operation: undefined };
    this.view = new View(trace.lastLine);
    this.timeline = new Timeline(byId("lanes"), trace, this.view);
    this.overview = new Overview(byId("overview"), this.timeline, () => this.redraw());
    this.input = new Input(this.timeline, byId("tip"), this);
    showVerdict(trace);
    showLegend(trace, this.timeline, () => this.redraw());
    showFindings(trace, this);
    showCosts(trace);
    this.connect();
  }

  connect() {
    const buttons = {
      "zoom-out": () => this.zoom(1 / 1.6),
      "zoom-in": () => this.zoom(1.6),
      "zoom-all": () => { this.view.showAll(); this.redraw(); },
      "finding-back": () => this.stepFinding(-1),
      "finding-on": () => this.stepFinding(1),
      "operation-back": () => this.stepOperation(-1),
      "operation-on": () => this.stepOperation(1),
    };
    for (const [id, action] of Object.entries(buttons)) byId(id).addEventListener("click", action);
    byId("line").addEventListener("change", (event) => this.select(this.trace.eventAt(Number(event.target.value))));
    new ResizeObserver(() => this.resize()).observe(byId("lanes-box"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolour());
    addEventListener("hashchange", () => this.open());
  }

  /** Selects what the address asks for, or what was found first, near by; else the first operation, with all in view. */
  open() {
    const { trace, view } = this;
    const asked = /^#line=(\d+)$/.exec(location.hash)?.[1];
    const found = asked === undefined ? (trace.violations[0] ?? trace.findings[0])?.event : trace.eventAt(Number(asked));
    this.select(found ?? trace.operations[0]?.begin ?? 0);
    if (found !== undefined && view.scale < NEAR / 2) view.center(trace.line[found], NEAR);
  }

  /** A canvas that changes its size is blank, so this cannot wait for the next frame. */
  resize() {
    this.timeline.resize();
    this.draw();
  }

  recolour() {
    this.timeline.readColours();
    this.redraw();
  }

  /** Draws before the next frame, however often it is asked to. */
  redraw() {
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = undefined;
    this.timeline.draw(this.selected);
    this.overview.draw();
  }

  zoom(factor) {
    const x = this.view.x(this.trace.line[this.selected.event] + 0.5);
    this.view.zoom(factor, x >= 0 && x <= this.view.width ? x : undefined);
    this.redraw();
  }

  select(event) {
    this.selected.event = event;
    this.view.reveal(this.trace.line[event]);
    showDetails(this.trace, event, this);
    markFinding(event);
    byId("line").value = this.trace.line[event];
    document.body.dataset.line = this.trace.line[event];
    const operation = this.trace.operationAt(event) ?? this.selected.operation;
    if (operation !== this.selected.operation) showOperation(this.trace, operation);
    this.selected.operation = operation;
    this.redraw();
  }

  stepFinding(steps) {
    const { findings, violations } = this.trace;
    this.step(violations.length > 0 ? violations.map((of) => of.event) : findings.map((of) => of.event), steps);
  }

  stepOperation(steps) {
    const current = this.trace.operationAt(this.selected.event);
    const from = steps < 0 && current !== undefined ? current.begin : this.selected.event;
    this.step(this.trace.operations.map((operation) => operation.begin), steps, from);
  }

  /** Selects the next or previous one of some events, in the order of the trace. */
  step(events, steps, from = this.selected.event) {
    const ordered = events.toSorted((one, other) => one - other);
    const place = steps > 0 ? lowerBound(ordered, from + 1) : lowerBound(ordered, from) - 1;
    if (ordered[place] !== undefined) this.select(ordered[place]);
  }
}

/** Shows an operation and the tables before and after it. */
function showOperation(trace, operation) {
  const number = trace.operations.indexOf(operation) + 1;
  const lines = [operation.begin, trace.endOf(operation)].map((event) => grouped(trace.line[event]));
  const status = operation.status === null ? "does not end" : `status ${operation.status}`;
  const trees = treesOf(trace, operation);
  const place = `operation ${grouped(number)} of ${grouped(trace.operations.length)}, lines ${lines.join(" to ")}`;
  byId("operation").replaceChildren(
    element("p", {}, element("b", {}, titleOf(operation)), ` of VM ${operation.vm}: ${place}, ${status}`),
    element("p", {}, costInWords(operation.costs, trace.data.tlbis)));
  document.body.dataset.operation = number;
  document.body.dataset.changed = trees?.changed.size ?? "";
  const unknown = "The trace does not say where this VM's tables are.";
  for (const side of ["before", "after"]) {
    if (trees !== undefined) new Blocks(byId(side), trees[side], side);
    else byId(side).replaceChildren(element("p", { class: "note" }, unknown));
  }
}

const trace = new Trace(JSON.parse(byId("data").textContent));
const page = new Page(trace);
if (trace.operations.length === 0) byId("tables").hidden = true;
page.resize();
page.open();
page.draw();
Object.assign(document.body.dataset, {
  events: trace.length,
  lanes: trace.lanes.length,
  operations: trace.operations.length,
  violations: trace.violations.length,
  ready: "yes",
});
