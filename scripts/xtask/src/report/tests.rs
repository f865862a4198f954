//! The data are right, and the page shows them: in Chromium, without a window and without a network.

mod browser;
mod costs;
mod looks;
mod sample;
mod trees;

use super::data::Data;
use super::page;
use browser::Browser;

/// Returns the page of a trace in which nothing was found.
fn page_of(trace: &str) -> Browser {
    Browser::new(render("a.trace", Data::new("a.trace", trace, Vec::new()).unwrap()))
}

/// Returns the page of the sample, with what is wrong in it.
fn failing_page() -> Browser {
    let trace = sample::failing();
    let data = Data::new("sample.trace", &trace, sample::findings(&trace)).unwrap();
    Browser::new(render("sample.trace", data))
}

fn render(name: &str, data: Data) -> String {
    page::render(name, &data).unwrap()
}

#[test]
fn the_page_needs_no_other_file() {
    let html = render("sample.trace", Data::new("sample.trace", &sample::failing(), Vec::new()).unwrap());
    for way_out in ["http:", "https:", "src=", "href=", "url(", "@import", "fetch(", "import("] {
        assert!(!html.contains(way_out), "{way_out}");
    }
}

#[test]
fn nothing_in_a_trace_ends_a_script_or_starts_an_element() {
    let hostile = "</script><script>broken()</script><!--<b>";
    let html = render(hostile, Data::new(hostile, &format!("cpu=0x0 ISB note={hostile}"), Vec::new()).unwrap());
    assert!(!html.contains("broken()</script>"));
    assert!(html.contains("<title>&lt;/script&gt;"));
    assert!(html.contains(r"note=\u003c/script>\u003cscript>broken()"));
}

#[test]
fn a_line_that_is_none_of_a_trace_is_named() {
    let refusal = |trace| Data::new("a.trace", trace, Vec::new()).unwrap_err().to_string();
    assert_eq!(refusal("# a comment\n\ncpu=0x0 JUMP\n"), "a.trace, line 3: there is no event `JUMP`");
    assert_eq!(refusal("machine cpus=0x1\n"), "a.trace has no events: there is nothing to show");
}
