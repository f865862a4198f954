"use strict";
// What stands around the timeline: the verdict, the legend, what is selected, what was found.

/** More than this is not read; the buttons of the timeline reach the rest. */
const MOST_LISTED = 300;

function showVerdict(trace) {
  const violations = trace.violations.length;
  const warnings = trace.findings.length - violations;
  const verdict = violations === 0 ? "No rule is violated" : plural(violations, "violation");
  const also = warnings === 0 ? "" : `, ${plural(warnings, "warning")}`;
  const cpus = plural(trace.lanes.length, "CPU");
  byId("name").textContent = trace.data.name;
  byId("verdict").className = violations === 0 ? "is-right" : "is-wrong";
  byId("verdict").replaceChildren(element("b", {}, verdict + also),
    ` in ${plural(trace.length, "event")} and ${plural(trace.operations.length, "operation")} on ${cpus}`);
  byId("machine").textContent = `The machine: ${trace.data.machine.join(" · ") || "the trace does not say"}`;
}

function showLegend(trace, timeline, redraw) {
  const entries = trace.kinds.map(({ name, letter, meaning }, kind) => {
    const toggle = () => {
      const isShown = timeline.hidden.delete(kind);
      if (!isShown) timeline.hidden.add(kind);
      button.setAttribute("aria-pressed", isShown);
      redraw();
    };
    const count = trace.countOfKind(kind);
    const swatch = element("i", { class: `kind-${kind}`, "aria-hidden": "true" }, letter);
    const button = element("button", { type: "button", "aria-pressed": "true", title: meaning, onclick: toggle },
      swatch, `${name} `, element("span", {}, grouped(count)));
    return count === 0 ? [] : [element("li", {}, button)];
  });
  byId("legend").replaceChildren(...entries.flat());
}

function showDetails(trace, event, page) {
  const findings = trace.findingsAt(event);
  const operation = trace.operationAt(event);
  const kind = trace.kind[event];
  const { name, meaning } = trace.kinds[kind];
  byId("details").replaceChildren(
    element("h2", {}, `Line ${grouped(trace.line[event])} `, element("small", {}, `on CPU ${trace.cpu[event]}`)),
    element("pre", { class: `event kind-edge-${kind}` }, trace.texts[event]),
    element("p", {}, element("b", {}, name), `: ${meaning}`),
    operation === undefined
      ? element("p", { class: "note" }, "Outside of any operation.")
      : element("p", {}, "Part of: ", link(titleOf(operation), () => page.select(operation.begin))),
    ...findings.map(findingBox));
}

function findingBox(finding) {
  const kind = finding.is_warning ? "warning" : "violation";
  return element("section", { class: `finding is-${kind}`, "aria-label": kind },
    element("h3", {}, `${kind === "warning" ? "Warning" : "Violation"} of ${finding.rule}`),
    element("p", {}, sentence(finding)),
    element("div", { class: "explanation" }, finding.explanation));
}

/** The judge's line without the rule, which stands elsewhere. */
function sentence(finding) {
  return finding.text.replace(/^(warning )?R\d+[a-z]?: /, "");
}

const link = (text, onclick) => element("button", { type: "button", class: "link", onclick }, text);

function showFindings(trace, page) {
  const listed = trace.findings.slice(0, MOST_LISTED);
  const entries = listed.map((finding) =>
    element("li", { class: finding.is_warning ? "is-warning" : "is-violation", "data-event": finding.event },
      element("button", { type: "button", title: finding.text, onclick: () => page.select(finding.event) },
        element("b", {}, finding.rule), element("span", {}, ` line ${grouped(finding.line)}: ${sentence(finding)}`))));
  const rest = trace.findings.length - listed.length;
  if (rest > 0) entries.push(element("li", { class: "note" }, `and ${grouped(rest)} more, which N and P reach`));
  if (entries.length === 0) entries.push(element("li", { class: "note" }, "Nothing: every rule was kept."));
  byId("findings").replaceChildren(...entries);
}

function markFinding(event) {
  for (const entry of byId("findings").children) {
    entry.querySelector("button")?.setAttribute("aria-current", Number(entry.dataset.event) === event);
  }
}
