//! Lines over time.

use std::fmt::Write;

use super::panel::{Line, Panel};
use super::picture::{Area, COLOURS, colour, escaped};
use super::prometheus::STEP;

/// Rows of names below a chart, at most.
const LEGEND_ROWS: usize = 2;

/// A line with how it is drawn.
struct Drawn<'a> {
    line: &'a Line,
    colour: &'static str,
    most: f64,
}

/// Those that show something come first. Colours go by the order of the query, so that a replica has the same everywhere,
/// unless there are more lines than colours.
fn drawn(panel: &Panel) -> Vec<Drawn<'_>> {
    let most = |line: &Line| line.points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let lines = panel.lines.iter().enumerate();
    let mut drawn: Vec<_> =
        lines.map(|(number, line)| Drawn { line, colour: colour(number), most: most(line) }).collect();
    drawn.sort_by_key(|line| line.most <= 0.0);
    if drawn.len() > COLOURS.len() {
        drawn.iter_mut().enumerate().for_each(|(number, line)| line.colour = colour(number));
    }
    drawn
}

/// Draws the lines of a panel, axes, and the names.
pub(super) fn draw(svg: &mut String, panel: &Panel, area: Area, seconds: f64) {
    let lines = drawn(panel);
    let most = lines.iter().map(|line| line.most).fold(0.0, f64::max);
    let ticks = panel.unit.ticks(most);
    let above = ticks.last().map_or(1.0, |(at, _)| *at);
    let widest = ticks.iter().map(|(_, text)| text_width(text)).fold(0.0, f64::max);
    let (names, rows) = legend(&lines, area);
    let left = area.x + 14.0 + widest;
    let right = area.x + area.width - 14.0;
    let bottom = area.y + area.height - 15.0 * rows - 24.0;
    let top = area.y + 6.0;
    let x = |at: f64| left + at / seconds * (right - left);
    let y = |value: f64| bottom - value / above * (bottom - top);

    for (at, text) in &ticks {
        let y = y(*at);
        let _ = write!(
            svg,
            "<path class=\"g\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>\
             <text class=\"a\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            left - 5.0,
            y + 3.5
        );
    }
    let mut minute = 0_u32;
    while f64::from(minute) * 30.0 <= seconds {
        let x = x(f64::from(minute) * 30.0);
        let _ = write!(
            svg,
            "<path class=\"g\" d=\"M{x:.1} {top:.1}V{bottom:.1}\"/>\
             <text class=\"a\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}:{:02}</text>",
            bottom + 14.0,
            minute / 2,
            minute % 2 * 30
        );
        minute += 1;
    }
    for Drawn { line, colour, most } in lines.iter().rev() {
        for part in parts(&line.points) {
            let path = path(part, x, y);
            if *most > 0.0 {
                let first = part.first().map_or(0.0, |at| at.0);
                let _ = write!(svg, "<path class=\"f\" fill=\"{colour}\" d=\"{path}V{bottom:.1}H{:.1}z\"/>", x(first));
            }
            let _ = write!(svg, "<path class=\"l\" stroke=\"{colour}\" d=\"{path}\"/>");
        }
    }
    svg.push_str(&names);
    svg.push('\n');
}

/// Where a line has no gaps.
fn parts(points: &[(f64, f64)]) -> impl Iterator<Item = &[(f64, f64)]> {
    points.chunk_by(|(a, _), (b, _)| b - a < STEP * 1.5)
}

/// A path through points, without those that lie between two of the same height.
fn path(points: &[(f64, f64)], x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let places: Vec<_> =
        points.iter().map(|(at, value)| (format!("{:.1}", x(*at)), format!("{:.1}", y(*value)))).collect();
    let mut path = String::new();
    for (number, (x, y)) in places.iter().enumerate() {
        let inside = number > 0 && places.get(number + 1).is_some_and(|next| next.1 == *y);
        if inside && places[number - 1].1 == *y {
            continue;
        }
        let _ = write!(path, "{}{x} {y}", if number == 0 { "M" } else { "L" });
    }
    path
}

/// The names that there is room for at the lower edge, with the number of the others; and how many rows they take.
fn legend(lines: &[Drawn<'_>], area: Area) -> (String, f64) {
    let (start, end) = (area.x + 12.0, area.x + area.width - 10.0);
    let (mut x, mut rows) = (start, vec![String::new()]);
    for (number, Drawn { line, colour, .. }) in lines.iter().enumerate() {
        let width = text_width(&line.name) + 28.0;
        let last = rows.len() == LEGEND_ROWS && number + 1 < lines.len();
        // On the last row, with room for the number of those that are left out.
        if x + width > end - if last { 32.0 } else { 0.0 } {
            if rows.len() == LEGEND_ROWS {
                let more = lines.len() - number;
                let _ =
                    write!(rows.last_mut().expect("a row"), "<text class=\"a\" x=\"{x:.1}\" y=\"4\">+ {more}</text>");
                break;
            }
            rows.push(String::new());
            x = start;
        }
        let _ = write!(
            rows.last_mut().expect("a row"),
            "<path d=\"M{x:.1} 0h12\" stroke=\"{colour}\" stroke-width=\"3\"/>\
             <text class=\"n\" x=\"{:.1}\" y=\"4\">{}</text>",
            x + 16.0,
            escaped(&line.name)
        );
        x += width;
    }
    let mut svg = String::new();
    let (mut y, mut height) = (area.y + area.height + 4.0, 0.0);
    for row in rows.iter().rev() {
        y -= 15.0;
        height += 1.0;
        svg = format!("<g transform=\"translate(0 {y:.1})\">{row}</g>{svg}");
    }
    (svg, height)
}

/// About how wide a text is, of the size that axes and names have.
#[expect(clippy::cast_precision_loss, reason = "a few letters")]
fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * 5.7
}
