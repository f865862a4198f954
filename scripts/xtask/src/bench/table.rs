//! The figures on a terminal: what each work costs, what memory is used, how costs grow, and what is to be reached.

use std::fmt::Write;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::figures::{Amount, Figure};
use super::goals::{self, Goal, Growth, Most};
use super::peer_figure::{self, PeerFigure};

/// Renders all of it.
pub(crate) fn render(figures: &[Figure], peers: &[PeerFigure]) -> String {
    let is_cost = |figure: &&Figure| matches!(figure.amount, Amount::Instructions(_));
    let (costs, sizes): (Vec<&Figure>, Vec<&Figure>) = figures.iter().partition(is_cost);
    [costs_table(&costs, peers), sizes_table(&sizes, peers), growth_lines(figures), notes(peers)].join("\n")
}

fn costs_table(figures: &[&Figure], peers: &[PeerFigure]) -> String {
    let peer_names = peer_figure::names(peers);
    let fixed = ["work", "n", "instructions", "each", "stores", "TLBIs", "stage 1", "DSBs", "goal", ""];
    let mut table = table(fixed.into_iter().chain(peer_names.iter().copied()));
    let mut last = "";
    for figure in figures {
        let goal = goals::of(figure);
        // A name stands once, above its sizes.
        let name = if figure.work == last { "" } else { figure.work.as_str() };
        last = &figure.work;
        let mut row = vec![name.into(), grouped(figure.n), grouped(figure.amount.value()), number(figure.per_page)];
        row.extend([figure.stores, figure.tlbi, figure.stage1, figure.dsb].map(grouped));
        row.extend([goal.as_ref().map_or(String::new(), bound), mark(goal.as_ref(), figure).into()]);
        row.extend(
            peer_names.iter().map(|peer| compared(figure, peer_figure::find(peers, peer, &figure.work, figure.n))),
        );
        table.add_row(row);
    }
    aligned(table, &[0, 9])
}

/// What is counted in bytes and frames.
fn sizes_table(figures: &[&Figure], peers: &[PeerFigure]) -> String {
    let mut table = table(["memory", "used", "share", "goal", "", "peer"]);
    for figure in figures {
        let goal = goals::of(figure);
        let goal_text = goal.as_ref().map_or(String::new(), |goal| size_bound(figure, goal));
        let used = format!("{} {}", grouped(figure.amount.value()), figure.amount.unit());
        let of_peers = peers.iter().filter(|peer| peer.work == figure.work && peer.sizes.contains(&figure.n));
        let peer = of_peers
            .map(|peer| format!("{} {}", peer.peer, compared(figure, Some(peer))))
            .collect::<Vec<_>>()
            .join(", ");
        table.add_row([size_name(figure), used, share(figure), goal_text, mark(goal.as_ref(), figure).into(), peer]);
    }
    aligned(table, &[0, 4, 5])
}

/// How costs grow, where there are several sizes.
fn growth_lines(figures: &[Figure]) -> String {
    let mut text = String::from("how it grows\n");
    let mut works: Vec<&str> = figures.iter().map(|figure| figure.work.as_str()).collect();
    works.dedup();
    for work in works.into_iter().filter(|work| *work != "boot") {
        let sizes: Vec<&Figure> = figures.iter().filter(|figure| figure.work == work).collect();
        if sizes.len() > 1 {
            growth_line(&mut text, work, &sizes);
        }
    }
    if let Some(growth) = goals::boot_growth(figures) {
        let mark = reached(growth <= goals::BOOT_GROWTH);
        let _ =
            writeln!(text, "  boot: {growth:.3} instructions for each frame of RAM beyond the first GiB, ≤ 1: {mark}");
    }
    text
}

fn growth_line(text: &mut String, work: &str, sizes: &[&Figure]) {
    let (growth, what) = match sizes.iter().any(|figure| figure.is_among()) {
        true => (goals::growth_among(sizes), "at most with the logarithm of n"),
        false => (goals::growth_each(sizes), "each is flat, or falls"),
    };
    let costs: Vec<String> = sizes.iter().map(|figure| number(figure.per_page)).collect();
    let _ = writeln!(text, "  {work}: {}; {what}: {}", costs.join(", "), reached(growth == Growth::Slow));
}

fn notes(peers: &[PeerFigure]) -> String {
    let mut text = String::from(
        "n is pages of 4 KiB, or blocks of 2 MiB, or how many mappings there are besides; of boot, frames of RAM. Instructions are\n\
         those of EL1 and EL2 together, each is for one of n. TLBIs are of stage 2. A peer's figure is for each of n, and (2.0x) says\n\
         that it needs twice as many.\n",
    );
    let noted = peers.iter().filter_map(|peer| Some((peer, peer.note.as_deref()?)));
    let lines: Vec<_> = noted.map(|(peer, note)| format!("  {}, {}: {note}\n", peer.peer, peer.work)).collect();
    if !lines.is_empty() {
        text += "What to know of the peers' figures:\n";
        text += &lines.concat();
    }
    text
}

fn table<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    table
}

/// Numbers end at the same column, words begin at it.
fn aligned(mut table: Table, words: &[usize]) -> String {
    for (index, column) in table.column_iter_mut().enumerate() {
        let alignment = if words.contains(&index) { CellAlignment::Left } else { CellAlignment::Right };
        column.set_cell_alignment(alignment);
    }
    table.trim_fmt() + "\n"
}

/// Returns a number with as many decimals as its size leaves of use.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 || value == value.trunc() => grouped(value.round() as u64),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// Returns a number with commas between thousands.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let head = digits.len() % 3;
    let mut text = digits[..head].to_owned();
    for (index, digit) in digits[head..].chars().enumerate() {
        if index % 3 == 0 && !text.is_empty() {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bound(goal: &Goal) -> String {
    match goal.most {
        Most::Each(most) => format!("≤ {} each", number(most)),
        Most::All(most) => format!("≤ {} in all", grouped(most)),
    }
}

fn mark(goal: Option<&Goal>, figure: &Figure) -> &'static str {
    goal.map_or("", |goal| reached(goal.is_reached(figure)))
}

const fn reached(is_reached: bool) -> &'static str {
    if is_reached { "reached" } else { "MISSED" }
}

/// Returns a peer's figure, and how many times ours it is.
fn compared(figure: &Figure, peer: Option<&PeerFigure>) -> String {
    let Some(PeerFigure { each, .. }) = peer else { return String::new() };
    let ratio = if figure.per_page > 0.0 { format!("{}x", number(each / figure.per_page)) } else { "-".into() };
    format!("{} ({ratio})", number(*each))
}

fn size_name(figure: &Figure) -> String {
    match figure.work.as_str() {
        "memory-pages" => "overhead of 1 GiB, committed and mapped in 4 KiB pages".into(),
        "memory-blocks" => "overhead of 1 GiB, committed and mapped in 2 MiB blocks".into(),
        "bookkeeping" => "records of frames".into(),
        "image" => "the hypervisor's image, text and data".into(),
        other => other.into(),
    }
}

/// Returns frames as a share of those that they are for, and bytes for each of what they are for.
fn share(figure: &Figure) -> String {
    match figure.amount {
        Amount::Frames(_) => format!("{:.4} %", figure.per_page * 100.0),
        _ if figure.n > 1 => format!("{} a frame", number(figure.per_page)),
        _ => String::new(),
    }
}

fn size_bound(figure: &Figure, goal: &Goal) -> String {
    match (figure.amount, goal.most) {
        (Amount::Frames(_), Most::Each(most)) => format!("≤ {} %", most * 100.0),
        (_, Most::Each(most)) => format!("≤ {} a frame", number(most)),
        (_, Most::All(most)) => format!("≤ {} bytes", grouped(most)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::tests::figure;
    use crate::bench::published;

    /// Returns the words of the line that starts with one of them.
    fn line<'t>(text: &'t str, start: &str) -> Vec<&'t str> {
        let line = text.lines().find(|line| line.trim_start().starts_with(start));
        line.unwrap_or_else(|| panic!("no line starts with {start}:\n{text}")).split_whitespace().collect()
    }

    #[test]
    fn a_row_has_the_cost_the_goal_and_each_peer_with_its_ratio() {
        let unmap = Figure { stores: 513, tlbi: 1, stage1: 2, dsb: 3, ..figure("unmap", 512, 512) };
        let text = render(&[unmap], &published::published());
        let expected = [
            "unmap", "512", "512", "1", "513", "1", "2", "3", "≤", "2", "each", "reached", "1,798", "(1,798x)", "151",
            "(151x)",
        ];
        assert_eq!(line(&text, "unmap"), expected);
        let text = render(&[figure("null", 1, 91)], &[]);
        assert_eq!(line(&text, "null")[8..], ["≤", "90", "each", "MISSED"]);
    }

    #[test]
    fn memory_is_shown_in_its_own_unit() {
        let memory = Figure::plain("memory-pages", 1 << 18, Amount::Frames(517));
        let text = render(&[memory, Figure::plain("bookkeeping", 1000, Amount::Bytes(33_000))], &[]);
        assert_eq!(line(&text, "overhead")[11..], ["517", "frames", "0.1972", "%", "≤", "1.2", "%", "reached"]);
        assert_eq!(line(&text, "records of frames").last(), Some(&"MISSED"));
    }

    #[test]
    fn growth_is_judged_by_what_n_is() {
        let among =
            [figure("touch-among", 1, 10), figure("touch-among", 100, 10), figure("touch-among", 10_000, 20_000)];
        let text = render(&[&among[..], &[figure("map", 1, 8), figure("map", 2, 8)]].concat(), &[]);
        assert!(text.contains("touch-among: 10, 10, 20,000; at most with the logarithm of n: MISSED"), "{text}");
        assert!(text.contains("map: 8, 4; each is flat, or falls: reached"), "{text}");
    }

    #[test]
    fn numbers_are_grouped_and_rounded() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.25, 2.0, 12.34, 1234.5].map(number), ["0.25", "2", "12.3", "1,235"]);
    }
}
