//! The page: its frame, its style, its scripts and the data, in one file that needs no other.

use anyhow::{Context, Result};

use super::data::Data;

const FRAME: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");
/// Each script knows those before it.
const SCRIPTS: [&str; 11] = [
    include_str!("page/words.js"),
    include_str!("page/trace.js"),
    include_str!("page/tables.js"),
    include_str!("page/blocks.js"),
    include_str!("page/view.js"),
    include_str!("page/timeline.js"),
    include_str!("page/overview.js"),
    include_str!("page/input.js"),
    include_str!("page/costs.js"),
    include_str!("page/panels.js"),
    include_str!("page/main.js"),
];

/// Returns the page for the trace of that name.
///
/// # Errors
///
/// The data cannot be written as JSON.
pub(super) fn render(name: &str, data: &Data) -> Result<String> {
    let scripts: String = SCRIPTS.iter().map(|script| format!("<script>\n{script}</script>\n")).collect();
    let parts =
        [("{title}", escape_text(name)), ("{style}", STYLE.into()), ("{data}", json(data)?), ("{scripts}", scripts)];
    fill(FRAME, &parts)
}

/// Puts each part at its place. They stand in the frame in this order, and what is put in is not looked at again.
fn fill(frame: &str, parts: &[(&str, String)]) -> Result<String> {
    let (mut page, mut rest) = (String::new(), frame);
    for (place, part) in parts {
        let (before, after) = rest.split_once(place).with_context(|| format!("the page has no {place}"))?;
        page.extend([before, part]);
        rest = after;
    }
    Ok(page + rest)
}

/// `<` stands in JSON only within strings, and is what could end the script that holds it.
fn json(data: &Data) -> Result<String> {
    Ok(serde_json::to_string(data)?.replace('<', "\\u003c"))
}

fn escape_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
