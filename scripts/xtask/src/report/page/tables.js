"use strict";
// The tables' memory as it was at any event, and the tree that a walk finds in it.

const ENTRIES = 512;
const spanOf = (level) => PAGE_SIZE * ENTRIES ** (3 - level);
/** Bit 16 of a block: nT, with FEAT_BBM of level 1 or 2. */
const NO_TRANSLATION = 0x10000;
/** A trace may link tables in circles, or thousands of them: a walk ends somewhere. */
const MOST_TABLES = 4096;

/** Replays what was written, up to an event. A page that nothing is known of reads as zeros. */
class Memory {
  constructor(written) {
    this.written = written;
    this.pages = new Map();
    [this.nextStore, this.nextZero] = [0, 0];
    this.changed = new Map();
  }

  /** Goes on to the state after `event`, and notes which slots held something else before. */
  advance(event) {
    const { stores, zeros } = this.written;
    this.changed = new Map();
    for (;;) {
      const store = stores.event[this.nextStore] ?? Infinity;
      const zero = zeros.event[this.nextZero] ?? Infinity;
      if (Math.min(store, zero) > event) break;
      if (store < zero) this.store(this.nextStore++);
      else this.zero(this.nextZero++);
    }
    for (const [slot, old] of this.changed) {
      if (this.isSame(old, this.read(slot))) this.changed.delete(slot);
    }
  }

  /** Returns the number of the store that wrote a slot last. */
  read(slot) {
    return this.pages.get(slot - (slot % PAGE_SIZE))?.get(slot);
  }

  note(slot) {
    if (!this.changed.has(slot)) this.changed.set(slot, this.read(slot));
  }

  store(number) {
    const slot = this.written.stores.slot[number];
    const page = slot - (slot % PAGE_SIZE);
    this.note(slot);
    if (!this.pages.has(page)) this.pages.set(page, new Map());
    this.pages.get(page).set(slot, number);
  }

  zero(number) {
    const first = this.written.zeros.first[number];
    const end = first + this.written.zeros.pages[number] * PAGE_SIZE;
    // Guest memory is zeroed by the gigabyte, and few of the pages are tables.
    for (const page of this.pages.keys()) {
      if (page < first || page >= end) continue;
      for (const slot of this.pages.get(page).keys()) this.note(slot);
      this.pages.delete(page);
    }
  }

  isSame(one, other) {
    const { output, word } = this.written.stores;
    const isEmpty = (store) => store === undefined || !this.written.words[word[store]].valid;
    if (isEmpty(one) || isEmpty(other)) return isEmpty(one) && isEmpty(other);
    return output[one] === output[other] && word[one] === word[other];
  }
}

/** Walks a VM's tree as the hardware does, and makes runs of entries that are alike. */
class Walk {
  constructor(memory, root, operation, changed) {
    Object.assign(this, { memory, changed });
    this.changedIn = Map.groupBy(changed.keys(), (slot) => slot - (slot % PAGE_SIZE));
    this.first = operation.ipa;
    this.end = operation.ipa + operation.pages * PAGE_SIZE;
    this.seen = new Set();
    this.root = this.table(root.address, root.start, 0, root.entries);
  }

  table(address, level, base, entries) {
    this.seen.add(address);
    const table = { address, level, base, entries, runs: [], hasChange: false };
    let next = 0;
    for (const index of this.written(address, entries)) {
      this.skip(table, next, index);
      this.append(table, this.entry(table, index));
      next = index + 1;
    }
    this.skip(table, next, entries);
    return table;
  }

  /** Returns which entries hold a descriptor, or changed: the others are invalid. */
  written(address, entries) {
    const indices = new Set();
    const end = address + entries * 8;
    for (let page = address - (address % PAGE_SIZE); page < end; page += PAGE_SIZE) {
      const slots = [...(this.memory.pages.get(page)?.keys() ?? []), ...(this.changedIn.get(page) ?? [])];
      for (const slot of slots) if (slot >= address && slot < end) indices.add((slot - address) / 8);
    }
    return [...indices].sort((one, other) => one - other);
  }

  /** Appends entries that are not there, cut where the operation's range begins and ends. */
  skip(table, from, to) {
    const span = spanOf(table.level);
    const entryOf = (ipa) => clamp(Math.floor((ipa - table.base) / span), from, to);
    const cuts = [from, entryOf(this.first), entryOf(this.end + span - 1), to];
    for (const part of [0, 1, 2]) {
      const [first, count] = [cuts[part], cuts[part + 1] - cuts[part]];
      if (count > 0) this.append(table, { kind: "invalid", first, count, isInside: part === 1, isChanged: false });
    }
  }

  inside(ipa, span) {
    return ipa < this.end && ipa + span > this.first;
  }

  entry(table, index) {
    const span = spanOf(table.level);
    const ipa = table.base + index * span;
    const slot = table.address + index * 8;
    const isChanged = this.changed.has(slot);
    table.hasChange ||= isChanged;
    const isInside = this.inside(ipa, span);
    const run = { first: index, count: 1, isInside, isChanged, ...this.decode(slot, table.level) };
    if (run.kind === "table") run.child = this.follow(run.output, table.level + 1, ipa);
    table.hasChange ||= run.child?.hasChange ?? false;
    return run;
  }

  follow(address, level, base) {
    const isAgain = this.seen.has(address) || this.seen.size >= MOST_TABLES;
    return isAgain ? undefined : this.table(address, level, base, ENTRIES);
  }

  decode(slot, level) {
    const { stores, words } = this.memory.written;
    const store = this.memory.read(slot);
    const word = words[stores.word[store]];
    if (store === undefined || !word.valid) return { kind: "invalid" };
    const output = stores.output[store];
    if (word.table && level < 3) return { kind: "table", output };
    if (word.table) return { kind: "page", output, word };
    if (level !== 1 && level !== 2) return { kind: "malformed" };
    const isUncached = Math.floor(output / NO_TRANSLATION) % 2 === 1;
    return { kind: "block", output: output - (output % spanOf(level)), word, isUncached };
  }

  append(table, run) {
    const last = table.runs.at(-1);
    if (last === undefined || !this.isAlike(last, run)) {
      table.runs.push({ ...run, isConsecutive: true });
      return;
    }
    last.isConsecutive &&= run.output === last.output + last.count * spanOf(table.level);
    last.count += run.count;
  }

  isAlike(last, run) {
    const isShown = (of) => of.child !== undefined && (of.isInside || of.child.hasChange);
    const isSame = ["kind", "word", "isUncached", "isChanged", "isInside"].every((key) => last[key] === run[key]);
    return isSame && !isShown(last) && !isShown(run);
  }
}

/** Returns the trees of an operation's VM before and after it, or undefined where the trace does not name them. */
function treesOf(trace, operation) {
  const { memory: written, roots } = trace.data;
  const own = roots.filter((root) => root.vm === operation.vm);
  // What is bound later is the same tree, which was built before the VM was entered.
  const root = own.findLast((bound) => bound.event <= operation.begin) ?? own[0];
  if (root === undefined) return undefined;
  const [before, after] = [new Memory(written), new Memory(written)];
  before.advance(operation.begin);
  after.advance(operation.begin);
  after.advance(trace.endOf(operation));
  const { changed } = after;
  const walk = (memory) => new Walk(memory, root, operation, changed).root;
  return { root, before: walk(before), after: walk(after), changed };
}
