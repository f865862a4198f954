"use strict";
// A tree of tables as nested blocks.

/** More than this is no picture: tables that changed are drawn before others, and of a table so many runs. */
const MOST_DRAWN = 48;
const MOST_RUNS = 40;

class Blocks {
  /** Draws the tree into a box, for an operation that has begun or is done. */
  constructor(box, root, when) {
    this.when = when;
    this.left = MOST_DRAWN;
    this.omitted = 0;
    box.replaceChildren(this.table(root));
    const omitted = `${plural(this.omitted, "more table")} not drawn.`;
    if (this.omitted > 0) box.append(element("p", { class: "note" }, omitted));
  }

  table(table) {
    this.left -= 1;
    const span = spanOf(table.level);
    const last = table.base + table.entries * span - 1;
    const range = `${hex(table.base)} to ${hex(last)}, ${size(span)} an entry`;
    const name = `Level ${table.level} table at ${hex(table.address)}`;
    return element("div", { class: "table", role: "group", "aria-label": `${name}: ${range}` },
      element("div", { class: "table-head" }, element("b", {}, name), element("span", {}, range)),
      this.strip(table), this.runs(table));
  }

  /** The whole table on one line, to scale but for what would be too thin to be seen. */
  strip(table) {
    const cell = (run) => {
      const made = element("i", { class: this.classOf(run) });
      made.style.flexGrow = run.count;
      return made;
    };
    return element("div", { class: "strip", "aria-hidden": "true" }, ...table.runs.map(cell));
  }

  runs(table) {
    const drawn = this.worthDrawing(table.runs);
    const blocks = drawn.map((run) => (this.isOpen(run) ? this.child(run) : this.run(table, run)));
    const rest = table.runs.length - drawn.length;
    if (rest > 0) blocks.push(element("div", { class: "run" }, `${plural(rest, "more run")} of entries`));
    return element("div", { class: "runs" }, ...blocks);
  }

  /** Keeps what changed, then what the operation is about, then the rest. */
  worthDrawing(runs) {
    if (runs.length <= MOST_RUNS) return runs;
    const worth = (run) => (run.isChanged || run.child?.hasChange ? 2 : 0) + (run.isInside ? 1 : 0);
    const best = runs.toSorted((one, other) => worth(other) - worth(one)).slice(0, MOST_RUNS);
    return best.sort((one, other) => one.first - other.first);
  }

  isOpen(run) {
    return run.child !== undefined && (run.isInside || run.child.hasChange);
  }

  child(run) {
    if (this.left > 0) return this.opened(run);
    this.omitted += 1;
    return element("div", { class: this.classOf(run) }, `table at ${hex(run.output)}`);
  }

  opened(run) {
    const table = this.table(run.child);
    if (run.isChanged) {
      table.classList.add("is-changed");
      table.firstChild.append(element("em", {}, this.change(run)));
    }
    return table;
  }

  run(table, run) {
    const span = spanOf(table.level);
    const first = table.base + run.first * span;
    const lines = [element("b", {}, this.title(table, run))];
    if (run.kind !== "invalid" || run.isInside) {
      const last = first + run.count * span - 1;
      lines.push(element("span", {}, run.count === 1 ? hex(first) : `${hex(first)} to ${hex(last)}`));
    }
    if (run.word !== undefined) lines.push(...this.meaning(run));
    if (run.isChanged) lines.push(element("em", {}, this.change(run)));
    return element("div", { class: `run ${this.classOf(run)}` }, ...lines);
  }

  title(table, run) {
    const of = table.level === 3 ? "" : ` of ${size(spanOf(table.level))}`;
    const leaves = run.kind === "page" ? "pages" : `blocks${of}`;
    if (run.word?.contiguous) return this.groups(run.count, leaves);
    switch (run.kind) {
      case "page": return run.count === 1 ? "page" : `${run.count} pages`;
      case "block": return run.count === 1 ? `block${of}` : `${run.count} ${leaves}`;
      case "table": return run.count === 1 ? "table" : `${run.count} tables`;
      default: return `${run.count} ${run.kind}`;
    }
  }

  groups(count, leaves) {
    if (count % 16 !== 0) return `${count} ${leaves}, contiguous`;
    return count === 16 ? `group of 16 ${leaves}` : `${count / 16} groups of 16 ${leaves}`;
  }

  meaning(run) {
    const scattered = run.isConsecutive ? "" : " and others";
    const says = [run.word.rights, ...run.word.says, ...(run.isUncached ? ["not to be cached (nT)"] : [])];
    return [element("span", {}, `→ ${hex(run.output)}${scattered}`), element("span", {}, says.join(", "))];
  }

  change(run) {
    if (this.when === "before") return "will change";
    return run.kind === "invalid" ? "gone" : "new";
  }

  classOf(run) {
    const kind = run.kind === "table" ? "tables" : run.kind;
    const isMarked = run.isChanged || run.child?.hasChange;
    return [kind, run.word?.contiguous && "contiguous", isMarked && "is-changed", !run.isInside && "is-outside"]
      .filter(Boolean).join(" ");
  }
}
