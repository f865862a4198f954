//! What a reader sees and can do.

use std::{env, fs};

use serde_json::{Value, json};

use super::{failing_page, page_of, sample};

/// Tells a pixel of the timeline by its place: the line of the trace, and the row of the CPU's lane.
const PIXEL: &str = "
    const { data, width } = byId('lanes').getContext('2d').getImageData(0, 0, byId('lanes').width, byId('lanes').height);
    const pixel = (cpu, line, row) => {
        const [x, y] = [GUTTER + page.view.x(line + 0.5), AXIS + LANE * cpu + ROWS[row][0] + 2].map(Math.floor);
        const [red, green, blue] = data.slice((y * width + x) * 4);
        return '#' + [red, green, blue].map((part) => part.toString(16).padStart(2, '0')).join('');
    };
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();";

#[test]
fn the_page_says_what_was_found_and_opens_there() {
    let seen = failing_page().ask(
        "",
        "return {
            ...document.body.dataset,
            verdict: byId('verdict').textContent,
            machine: byId('machine').textContent,
            details: byId('details').querySelector('h2').textContent,
            explanation: byId('details').querySelector('.explanation').textContent.slice(0, 21),
            found: [...byId('findings').children].map((entry) => entry.className),
            legend: [...byId('legend').children].map((entry) => entry.textContent),
            requests: performance.getEntriesByType('resource').length,
        }",
    );
    assert_eq!(
        seen,
        json!({
            "ready": "yes", "events": "140", "lanes": "2", "operations": "7", "violations": "2",
            "line": "127", "operation": "6", "changed": "2",
            "verdict": "2 violations, 1 warning in 140 events and 7 operations on 2 CPUs",
            "machine": "The machine: 2 CPUs · FEAT_BBM level 0 · 48-bit physical addresses · 16-bit VMIDs · \
                TLBI by range · TLBI level hints · forced write-back",
            "details": "Line 127 on CPU 0",
            "explanation": "stale since event 122",
            "found": ["is-violation", "is-violation", "is-warning"],
            "legend": ["Wstore 51", "TTLBI 5", "Bbarrier 18", "Ffault 1", "Gguest in, out 11", "Aframes 20",
                "Rregister 6", "Llock 14", "Mmark 14"],
            "requests": 0,
        })
    );
}

#[test]
fn the_table_of_costs_has_totals_and_averages() {
    let rows = "return [...document.querySelectorAll('#costs tr')]
        .map((row) => [...row.children].map((cell) => [...cell.childNodes].map((node) => node.textContent).join('|')).join(' '))";
    let rows = failing_page().ask("", rows);
    assert_eq!(rows[0], "operation count refused stores TLBIs by range stage 1 DSBs ISBs events");
    assert_eq!(rows[1], "map 2| 0| 24|12.0 0|0.0 0|0.0 0|0.0 4|2.0 0|0.0 38|19.0");
    assert_eq!(rows[7], "all operations 7| 0| 51|7.3 5|0.7 3|0.4 2|0.3 15|2.1 0|0.0 99|14.1");
    assert_eq!(rows[8], "outside operations | | 0| 0| 0| 0| 1| 2| 27|");
}

#[test]
fn events_operations_and_flags_have_their_colours_at_their_places() {
    let question = format!(
        "{PIXEL} return [
            [pixel(0, 127, 'events'), pixel(0, 124, 'events'), pixel(1, 127, 'events')],
            [pixel(0, 127, 'findings'), pixel(1, 140, 'findings'), pixel(0, 30, 'findings')],
            [pixel(0, 118, 'operations'), pixel(1, 90, 'operations')],
            ['kind-0', 'kind-3', 'panel', 'violation', 'warning', 'accent', 'bar'].map(colour),
        ]"
    );
    let seen: Value = failing_page().ask("", &question);
    let colours = &seen[3];
    let empty = "#000000";
    assert_eq!(seen[0], json!([colours[0], colours[1], empty]), "a store, a barrier, and nothing on the other CPU");
    assert_eq!(seen[1], json!([colours[3], colours[4], empty]), "a violation, a warning, and nothing");
    assert_eq!(seen[2], json!([colours[5], colours[6]]), "the selected operation, and another");
}

#[test]
fn keys_go_from_one_thing_to_the_next() {
    let question = "
        const press = (key) => {
            byId('lanes').dispatchEvent(new KeyboardEvent('keydown', { key, cancelable: true }));
            return Number(document.body.dataset.line);
        };
        const lines = ['n', 'p', 'ArrowRight', 'ArrowLeft', 'o', 'O', 'O', 'ArrowUp', 'ArrowDown', 'Home', 'End'].map(press);
        const zoom = ['0', '+', '+', '-', '0'].map((key) => { press(key); return page.view.scale; });
        return { lines, isLarger: zoom[2] > zoom[1] && zoom[1] > zoom[0], isBack: Math.abs(zoom[3] - zoom[1]) < 1e-6, isAll: zoom[4] === zoom[0] }";
    let seen = failing_page().ask("", question);
    let lines = [128, 127, 128, 127, 133, 117, 89, 88, 89, 2, 141];
    assert_eq!(seen, json!({ "lines": lines, "isLarger": true, "isBack": true, "isAll": true }));
}

#[test]
fn the_pointer_selects_drags_and_zooms() {
    let question = "
        const at = (type, cpu, line, row, more = {}) => {
            const box = byId('lanes').getBoundingClientRect();
            const clientX = box.left + GUTTER + page.view.x(line + 0.5) + (more.dx ?? 0);
            const clientY = box.top + AXIS + LANE * cpu + ROWS[row][0] + 4;
            const event = type === 'wheel' ? WheelEvent : PointerEvent;
            byId('lanes').dispatchEvent(new event(type, { clientX, clientY, cancelable: true, button: 0, ...more }));
        };
        HTMLCanvasElement.prototype.setPointerCapture = () => {};
        const click = (...place) => { at('pointerdown', ...place); at('pointerup', ...place); return document.body.dataset.line; };
        const lines = [click(1, 60, 'operations'), click(0, 128, 'events'), click(1, 140, 'findings')];
        at('pointermove', 0, 123, 'events');
        const tip = byId('tip').textContent;
        const before = page.view.scale;
        at('wheel', 0, 60, 'events', { deltaY: -300, ctrlKey: true });
        const first = page.view.first;
        at('pointerdown', 0, 60, 'events');
        at('pointermove', 0, 60, 'events', { dx: 50 });
        at('pointerup', 0, 60, 'events', { dx: 50 });
        return { lines, tip, isZoomed: page.view.scale > before, isDragged: page.view.first < first, after: document.body.dataset.line }";
    let seen = failing_page().ask("", question);
    let tip = "line 123: W pa=0x40102080 val=0x0 order=plain";
    let expected =
        json!({ "lines": ["54", "128", "140"], "tip": tip, "isZoomed": true, "isDragged": true, "after": "140" });
    assert_eq!(seen, expected);
}

#[test]
fn a_kind_can_be_hidden_and_shown_again() {
    let question = "
        const store = byId('legend').querySelector('button');
        const marks = () => { page.draw(); return Number(byId('lanes').dataset.marks); };
        const all = marks();
        store.click();
        const [fewer, isPressed] = [marks(), store.getAttribute('aria-pressed')];
        store.click();
        return [all - fewer, isPressed, marks() - all]";
    assert_eq!(failing_page().ask("", question), json!([51, "false", 0]));
}

#[test]
fn the_address_may_ask_for_a_line() {
    let line = "return document.body.dataset.line";
    assert_eq!(failing_page().ask("#line=20", line), "20");
    assert_eq!(failing_page().ask("#line=999999", line), "141", "the last one");
}

#[test]
fn an_event_belongs_to_the_innermost_operation_that_is_open_or_to_none() {
    let operation = |kind, within: &str| {
        format!("cpu=0x0 OP begin={kind} vm=0x1 ipa=0x0 pages=0x1\n{within}cpu=0x0 ISB\ncpu=0x0 OP end=0x0\n")
    };
    let trace = operation("fault", &operation("commit", "")) + "cpu=0x0 ISB\ncpu=0x1 ISB\n";
    let question = "return [3, 5, 7, 8].map((line) => trace.operationAt(trace.eventAt(line))?.name ?? 'none')";
    assert_eq!(page_of(&trace).ask("", question), json!(["commit", "fault", "none", "none"]));
}

#[test]
fn a_line_that_is_asked_for_is_near_by_in_a_long_trace() {
    let page = page_of(&sample::long(5000));
    let view = "return [page.view.scale >= NEAR, page.view.first < 4000 && page.view.last > 4000, page.view.isWhole]";
    assert_eq!(page.ask("#line=4000", view), json!([true, true, false]));
    assert_eq!(page.ask("", view), json!([false, true, true]));
}

#[test]
fn controls_have_names() {
    let nameless = "return [...document.querySelectorAll('button, input, canvas[tabindex]')]
        .filter((control) => !(control.getAttribute('aria-label') ?? control.textContent.trim()))
        .map((control) => control.outerHTML)";
    assert_eq!(failing_page().ask("", nameless), json!([]));
}

#[test]
fn what_a_trace_says_is_shown_and_never_run() {
    let hostile = "cpu=0x0 ISB note=</script><img/onerror=broken()><b>&amp;";
    let seen =
        page_of(hostile).ask("", "return [byId('details').querySelector('pre').textContent, document.images.length]");
    assert_eq!(seen, json!([hostile.trim_start_matches("cpu=0x0 "), 0]));
}

#[test]
fn a_hundred_thousand_events_are_shown_whole_and_each_alone() {
    const EVENTS: usize = 100_000;
    let question = "
        const { dataset } = document.body;
        const [whole, marks] = [dataset.events, () => { page.draw(); return Number(byId('lanes').dataset.marks); }];
        const all = marks();
        page.select(trace.eventAt(77777));
        page.view.center(77777, 100);
        const near = marks();
        return { whole, all, near, lanes: dataset.lanes, operations: dataset.operations, violations: dataset.violations,
            line: byId('details').querySelector('h2').firstChild.textContent, rows: byId('costs').querySelectorAll('tr').length,
            drawn: byId('before').querySelectorAll('.table').length, changed: dataset.changed }";
    let seen = page_of(&sample::long(EVENTS)).ask("", question);
    let marks = |name: &str| seen[name].as_u64().unwrap();
    // An event at a time there would be as many marks as events, and near by one for each line in view.
    assert!((1000..EVENTS as u64 / 4).contains(&marks("all")), "{seen}");
    assert!((2..60).contains(&marks("near")), "{seen}");
    assert_eq!([&seen["whole"], &seen["lanes"], &seen["violations"]], ["100000", "4", "0"]);
    assert_eq!([&seen["line"], &seen["changed"]], ["Line 77,777 ", "8"]);
    assert_eq!((seen["rows"].as_u64(), seen["drawn"].as_u64()), (Some(6), Some(3)));
    assert_eq!(seen["operations"], "6249");
}

/// Where the environment's `REPORT_PICTURE` names a file, the picture is kept there. README.md shows it, its colours reduced
/// to 256.
#[test]
fn a_picture_can_be_taken() {
    let picture = failing_page().picture("", 1400, 1420);
    assert_eq!(&picture[1..4], b"PNG");
    let number = |at: usize| u32::from_be_bytes(picture[at..at + 4].try_into().unwrap());
    assert_eq!((number(16), number(20)), (1400, 1420));
    assert!((50_000..400_000).contains(&picture.len()), "{} bytes: is the page blank?", picture.len());
    if let Some(path) = env::var_os("REPORT_PICTURE") {
        fs::write(path, picture).unwrap();
    }
}
