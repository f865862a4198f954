//! The figures as a picture: cost against size, a panel a work, the peers beside.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::combinators::LogCoord;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::figures::Figure;
use super::goals::{self, Most};
use super::peer_figure::{self, PeerFigure};

/// What a panel shows: the work, its title, what its `n` counts.
struct Panel {
    work: &'static str,
    title: &'static str,
    unit: &'static str,
}

const PAGES: &str = "4 KiB pages in one call";
const BLOCKS: &str = "2 MiB blocks in one call";

const PANELS: [Panel; 8] = [
    Panel { work: "unmap", title: "unmap, per page", unit: PAGES },
    Panel { work: "map", title: "map what is there, per page", unit: PAGES },
    Panel { work: "protect", title: "write-protect, per page", unit: PAGES },
    Panel { work: "touch", title: "first touch, per page", unit: "4 KiB pages" },
    Panel { work: "commit", title: "commit, per page", unit: PAGES },
    Panel { work: "decommit", title: "decommit, per page", unit: PAGES },
    Panel { work: "unmap-block", title: "unmap, per block", unit: BLOCKS },
    Panel { work: "commit-block", title: "commit, per block", unit: BLOCKS },
];

/// Works on one page among many mappings, in the last panel.
const AMONG: [(&str, &str, RGBColor); 4] = [
    ("unmap-among", "unmap", RGBColor(31, 90, 180)),
    ("protect-among", "protect", RGBColor(20, 130, 90)),
    ("decommit-among", "decommit", RGBColor(150, 70, 160)),
    ("touch-among", "first touch", RGBColor(190, 110, 20)),
];

const COLUMNS: usize = 3;
const SIZE: (u32, u32) = (1200, 1080);
const HEAD_HEIGHT: u32 = 92;

const OURS: RGBColor = RGBColor(31, 90, 180);
const GOAL: RGBColor = RGBColor(120, 120, 120);
const PEERS: [RGBColor; 3] = [RGBColor(200, 60, 40), RGBColor(200, 130, 0), RGBColor(110, 80, 160)];
const GRID: RGBColor = RGBColor(232, 232, 232);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the picture into a file, as SVG.
///
/// # Errors
///
/// It cannot be written.
pub(crate) fn write(path: &Path, cpu: &str, figures: &[Figure], peers: &[PeerFigure]) -> Result<()> {
    let drawn = draw(path, cpu, figures, peers);
    drawn.map_err(|error| anyhow!("{} cannot be drawn: {error}", path.display()))
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw(path: &Path, cpu: &str, figures: &[Figure], peers: &[PeerFigure]) -> Drawn {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(HEAD_HEIGHT);
    draw_head(&head, cpu, peers)?;
    let areas = body.split_evenly((PANELS.len().div_ceil(COLUMNS), COLUMNS));
    for (panel, area) in PANELS.iter().zip(&areas) {
        draw_panel(area, panel, figures, peers)?;
    }
    if let Some(area) = areas.get(PANELS.len()) {
        draw_among(area, figures)?;
    }
    root.present()?;
    Ok(())
}

/// What all panels have in common: what is measured, and which line is whose.
fn draw_head(area: &Area<'_>, cpu: &str, peers: &[PeerFigure]) -> Drawn {
    let title = format!(
        "Executed instructions against size (QEMU, -cpu {cpu}, one CPU; both axes logarithmic; less is better)"
    );
    area.draw(&Text::new(title, (20, 16), font(20)))?;
    let mut x = 20;
    let names = peer_figure::names(peers);
    let peers = names.iter().enumerate().map(|(index, name)| (*name, peer_color(index), true));
    for (name, color, is_dashed) in [("Stagecraft", OURS, false)].into_iter().chain(peers).chain([("goal", GOAL, true)])
    {
        let dashes = if is_dashed { 3 } else { 1 };
        let length = 36 / dashes;
        for dash in 0..dashes {
            let from = x + dash * length;
            let to = if is_dashed { from + length - 5 } else { from + length };
            area.draw(&PathElement::new([(from, 66), (to, 66)], color.stroke_width(3)))?;
        }
        area.draw(&Text::new(name.to_owned(), (x + 44, 58), font(16)))?;
        x += 80 + 9 * name.len() as i32;
    }
    Ok(())
}

fn draw_panel(area: &Area<'_>, panel: &Panel, figures: &[Figure], peers: &[PeerFigure]) -> Drawn {
    let ours: Vec<&Figure> = figures.iter().filter(|figure| figure.work == panel.work).collect();
    let is_compared = |peer: &&PeerFigure| ours.iter().any(|figure| peer.sizes.contains(&figure.n));
    let of_work: Vec<_> = peers.iter().filter(|peer| peer.work == panel.work).filter(is_compared).collect();
    let names = peer_figure::names(peers);
    let points: Vec<(f64, f64)> = ours.iter().map(|figure| (figure.n as f64, figure.per_page)).collect();
    let goals: Vec<(f64, f64)> = ours.iter().filter_map(|figure| goal_point(figure)).collect();
    let theirs = of_work.iter().map(|peer| (*peer.sizes.start() as f64, peer.each));
    let Some(bounds) = Bounds::around(points.iter().copied().chain(goals.iter().copied()).chain(theirs)) else {
        return Ok(());
    };
    let chart = Chart { title: panel.title, x: panel.unit, y: "instructions each", bounds };
    let mut chart = chart.build(area)?;
    for (index, name) in names.into_iter().enumerate() {
        let color = peer_color(index);
        let of_peer = of_work.iter().filter(|peer| peer.peer == name);
        let ends = of_peer.map(|peer| {
            let last = bounds.last_x.min(*peer.sizes.end() as f64);
            [(*peer.sizes.start() as f64, peer.each), (last, peer.each)]
        });
        let ends: Vec<_> = ends.collect();
        chart.draw_series(DashedLineSeries::new(ends.concat(), 8, 5, color.stroke_width(2)))?;
        chart.draw_series(ends.concat().into_iter().map(|end| Circle::new(end, 3, color.filled())))?;
        ends.iter().try_for_each(|[_, last]| label(&mut chart, *last, color, Side::Right))?;
    }
    chart.draw_series(DashedLineSeries::new(goals.iter().copied(), 3, 4, GOAL.stroke_width(2)))?;
    chart.draw_series(goals.iter().map(|goal| Cross::new(*goal, 3, GOAL.stroke_width(2))))?;
    chart.draw_series(LineSeries::new(points.iter().copied(), OURS.stroke_width(3)))?;
    chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, OURS.filled())))?;
    points.into_iter().try_for_each(|point| label(&mut chart, point, OURS, Side::Above))
}

fn goal_point(figure: &Figure) -> Option<(f64, f64)> {
    let each = match goals::of(figure)?.most {
        Most::Each(most) => most,
        Most::All(most) => most as f64 / figure.n as f64,
    };
    Some((figure.n as f64, each))
}

fn draw_among(area: &Area<'_>, figures: &[Figure]) -> Drawn {
    let of = |work: &str| -> Vec<(f64, f64)> {
        let figures = figures.iter().filter(|figure| figure.work == work);
        figures.map(|figure| (figure.n as f64, figure.amount.value() as f64)).collect()
    };
    let Some(bounds) = Bounds::around(AMONG.iter().flat_map(|(work, ..)| of(work))) else { return Ok(()) };
    let chart =
        Chart { title: "one page among other mappings", x: "mappings in the region", y: "instructions", bounds };
    let mut chart = chart.build(area)?;
    for (place, (work, name, color)) in AMONG.into_iter().enumerate() {
        let points = of(work);
        chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(3)))?;
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, color.filled())))?;
        area.draw(&Text::new(name, (84, 46 + 18 * place as i32), font(14).color(&color)))?;
    }
    Ok(())
}

/// The ranges of both axes.
#[derive(Clone, Copy)]
struct Bounds {
    last_x: f64,
    least_y: f64,
    most_y: f64,
}

impl Bounds {
    fn around(points: impl Iterator<Item = (f64, f64)>) -> Option<Self> {
        let points: Vec<_> = points.filter(|(_, y)| *y > 0.0).collect();
        let most = |values: fn(&(f64, f64)) -> f64| points.iter().map(values).reduce(f64::max);
        let least_y = points.iter().map(|(_, y)| *y).reduce(f64::min)?;
        Some(Self { last_x: most(|point| point.0)?, least_y, most_y: most(|point| point.1)? })
    }
}

struct Chart<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
    bounds: Bounds,
}

type LogAxes = Cartesian2d<LogCoord<f64>, LogCoord<f64>>;

impl Chart<'_> {
    fn build<'a>(
        &self,
        area: &Area<'a>,
    ) -> Result<ChartContext<'a, SVGBackend<'a>, LogAxes>, Box<dyn std::error::Error>> {
        let Bounds { last_x, least_y, most_y } = self.bounds;
        // Room for what is written at the points.
        let (x, y) = (0.4..last_x * 8.0, least_y / 2.0..most_y * 3.0);
        let mut builder = ChartBuilder::on(area);
        builder.caption(self.title, font(17)).margin(8).x_label_area_size(42).y_label_area_size(64);
        let mut chart = builder.build_cartesian_2d(x.log_scale(), y.log_scale())?;
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(self.x).y_desc(self.y).axis_desc_style(font(13)).label_style(font(12));
        mesh.light_line_style(TRANSPARENT).bold_line_style(GRID).x_labels(6).y_labels(6);
        mesh.x_label_formatter(&|value| short(*value)).y_label_formatter(&|value| short(*value)).draw()?;
        Ok(chart)
    }
}

/// Writes a value beside its point.
fn label(
    chart: &mut ChartContext<'_, SVGBackend<'_>, LogAxes>,
    point: (f64, f64),
    color: RGBColor,
    side: Side,
) -> Drawn {
    let (offset, anchor) = match side {
        Side::Above => ((0, -8), Pos::new(HPos::Center, VPos::Bottom)),
        Side::Right => ((8, 0), Pos::new(HPos::Left, VPos::Center)),
    };
    let style = font(12).color(&color).pos(anchor);
    chart.draw_series([EmptyElement::at(point) + Text::new(short(point.1), offset, style)])?;
    Ok(())
}

/// Where a value is written: ours above, where the line leaves room, and others where their lines end.
#[derive(Clone, Copy)]
enum Side {
    Above,
    Right,
}

/// Returns a number in a few characters.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", trimmed(value / 1e6)),
        value if value >= 1e4 => format!("{} k", trimmed(value / 1e3)),
        value => trimmed(value),
    }
}

fn trimmed(value: f64) -> String {
    if value >= 100.0 || value == value.trunc() {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn peer_color(index: usize) -> RGBColor {
    PEERS[index % PEERS.len()]
}

fn font(size: u32) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size).into_font())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::bench::figures::tests::figure;

    fn drawn(figures: &[Figure], peers: &[PeerFigure]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bench.svg");
        write(&path, "max", figures, peers).unwrap();
        fs::read_to_string(&path).unwrap()
    }

    /// Returns the texts of a picture, and how many filled circles it has in a color.
    fn shown(svg: &str, color: RGBColor) -> (Vec<&str>, usize) {
        let texts = svg.split("</text>").filter_map(|part| Some(part.rsplit_once('>')?.1.trim())).collect();
        let RGBColor(red, green, blue) = color;
        let fill = format!("fill=\"#{red:02X}{green:02X}{blue:02X}\"");
        (texts, svg.lines().filter(|line| line.starts_with("<circle") && line.contains(&fill)).count())
    }

    #[test]
    fn each_size_has_its_point_and_its_value_and_each_peer_that_was_measured_there_its_line() {
        let figures = [figure("unmap", 1, 1623), figure("unmap", 512, 2560), figure("map", 512, 5120)];
        let peer = |peer: &str, work: &str, sizes, each| PeerFigure {
            peer: peer.into(),
            work: work.into(),
            sizes,
            each,
            note: None,
        };
        let peers = [peer("Xen", "unmap", 512..=4096, 1798.0), peer("KVM", "unmap", 16..=16, 151.0)];
        let svg = drawn(&figures, &peers);
        let (texts, points) = shown(&svg, OURS);
        for text in ["unmap, per page", "map what is there, per page", "1623", "5", "10", "1798", "Xen", "KVM"] {
            assert!(texts.contains(&text), "{text}: {texts:?}");
        }
        assert_eq!(points, 3);
        // Both ends of Xen's, and nothing of a size that was not measured here.
        assert_eq!([peer_color(0), peer_color(1)].map(|color| shown(&svg, color).1), [2, 0]);
        assert!(!texts.contains(&"first touch, per page"), "a panel of a work that was not measured");
    }

    #[test]
    fn values_are_short() {
        assert_eq!(
            [0.2, 7.0, 22.578, 151.4, 16234.0, 1.2e6].map(short),
            ["0.20", "7", "22.6", "151", "16.2 k", "1.20 M"]
        );
    }
}
