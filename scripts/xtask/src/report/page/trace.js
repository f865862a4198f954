"use strict";
// The trace: its events, and what belongs to each.

class Trace {
  constructor(data) {
    this.data = data;
    this.kinds = data.kinds;
    this.operations = data.operations;
    this.kind = Uint8Array.from(data.events.kind);
    this.line = Uint32Array.from(data.events.line);
    this.cpu = Uint32Array.from(data.events.cpu);
    this.texts = data.events.text.split("\n");
    this.findings = data.findings.map((finding) => ({ ...finding, event: this.eventAt(finding.line) }));
    this.lanes = data.cpus.map((cpu) => this.laneOf(cpu));
    this.laneNumber = new Map(data.cpus.map((cpu, number) => [cpu, number]));
  }

  get length() {
    return this.line.length;
  }

  get lastLine() {
    return this.line[this.length - 1];
  }

  get violations() {
    return this.findings.filter((finding) => !finding.is_warning);
  }

  /** Returns the last event at or before a line, or the first of all. */
  eventAt(line) {
    return Math.max(lowerBound(this.line, line + 1) - 1, 0);
  }

  laneOf(cpu) {
    const events = [];
    this.cpu.forEach((of, event) => of === cpu && events.push(event));
    return {
      cpu,
      events: Uint32Array.from(events),
      lines: Uint32Array.from(events, (event) => this.line[event]),
      operations: this.operations.filter((operation) => operation.cpu === cpu),
      findings: this.findings.filter((finding) => this.cpu[finding.event] === cpu)
        .sort((one, other) => other.is_warning - one.is_warning || one.event - other.event),
    };
  }

  laneFor(event) {
    return this.lanes[this.laneNumber.get(this.cpu[event])];
  }

  /** Returns the event `steps` further on in the same lane, or the last one on the way. */
  neighbour(event, steps) {
    const { events } = this.laneFor(event);
    return events[clamp(lowerBound(events, event) + steps, 0, events.length - 1)];
  }

  /** Returns the event of another lane that is nearest. */
  across(event, steps) {
    const number = this.laneNumber.get(this.cpu[event]) + steps;
    return this.nearest(this.lanes[clamp(number, 0, this.lanes.length - 1)], this.line[event]);
  }

  nearest(lane, line) {
    const place = lowerBound(lane.lines, line);
    const [before, after] = [Math.max(place - 1, 0), Math.min(place, lane.lines.length - 1)];
    const isBefore = line - lane.lines[before] < lane.lines[after] - line;
    return lane.events[isBefore ? before : after];
  }

  /** Returns the innermost operation that an event is part of. */
  operationAt(event) {
    const { operations } = this.laneFor(event);
    let place = lowerBound(operations, event + 1, (operation) => operation.begin) - 1;
    while (place >= 0 && this.endOf(operations[place]) < event) place -= 1;
    return operations[place];
  }

  /** Returns an operation's last event: the trace's where it does not end. */
  endOf(operation) {
    return operation.end ?? this.length - 1;
  }

  findingsAt(event) {
    return this.findings.filter((finding) => finding.event === event);
  }

  countOfKind(kind) {
    return this.kind.reduce((count, of) => count + (of === kind ? 1 : 0), 0);
  }
}

/** Returns an operation in words. */
function titleOf(operation) {
  const rights = operation.rights === null ? "" : `, ${operation.rights} remain`;
  return `${operation.name} ${plural(operation.pages, "page")} at ${hex(operation.ipa)}${rights}`;
}
