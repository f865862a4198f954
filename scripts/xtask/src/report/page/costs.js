"use strict";
// The table of what operations cost, and one operation's cost in words.

function costInWords(costs, tlbis) {
  const kinds = tlbis.map((name, kind) => [name, costs.tlbis[kind]]).filter(([, count]) => count > 0);
  const which = kinds.length === 0 ? "" : ` (${kinds.map(([name, count]) => `${count} ${name}`).join(", ")})`;
  const barriers = `${plural(costs.dsbs, "DSB")}, ${plural(costs.isbs, "ISB")}`;
  return `${plural(costs.stores, "store")}, ${plural(sum(costs.tlbis), "TLBI")}${which}, ${barriers}`;
}

function showCosts(trace) {
  const { costs: rows, tlbis } = trace.data;
  const isUsed = ({ kind }) => rows.some((row) => row.costs.tlbis[kind] > 0);
  const used = tlbis.map((name, kind) => ({ name, kind })).filter(isUsed);
  const columns = [
    ["stores", ({ costs }) => costs.stores],
    ["TLBIs", ({ costs }) => sum(costs.tlbis)],
    ...used.map(({ name, kind }) => [name, ({ costs }) => costs.tlbis[kind], "is-part"]),
    ["DSBs", ({ costs }) => costs.dsbs],
    ["ISBs", ({ costs }) => costs.isbs],
    ["events", ({ costs }) => costs.events],
  ];
  const titles = ["operation", "count", "refused"].map((title) => element("th", { scope: "col" }, title));
  titles.push(...columns.map(([title, , part]) => element("th", { scope: "col", class: part }, title)));
  const table = byId("costs").querySelector("table");
  table.replaceChildren(element("thead", {}, element("tr", {}, ...titles)),
    element("tbody", {}, ...rows.map((row) => costRow(row, columns))));
}

function costRow(row, columns) {
  const isCounted = row.count !== null;
  const cells = columns.map(([, of, part]) => {
    const total = of(row);
    const average = isCounted && row.count > 0 ? (total / row.count).toFixed(1) : "";
    return element("td", { class: part }, grouped(total), element("small", {}, average));
  });
  return element("tr", {}, element("th", { scope: "row" }, row.name),
    element("td", {}, isCounted ? grouped(row.count) : "", element("small", {})),
    element("td", {}, isCounted ? grouped(row.refused) : "", element("small", {})), ...cells);
}
