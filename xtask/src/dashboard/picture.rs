//! The dashboard's grid as a picture, in the colours of Grafana's light theme.

use std::fmt::Write;

use super::chart;
use super::panel::{Look, Panel};

/// Pixels of a step of the grid.
const STEP: (f64, f64) = (1000.0 / 24.0, 27.0);
/// Pixels around the panels.
const EDGE: f64 = 6.0;
/// Pixels between two panels.
const GAP: f64 = 6.0;

/// Colours of lines, which can be told from each other on white.
pub(super) const COLOURS: [&str; 10] =
    ["#3274d9", "#56a64b", "#ff780a", "#a352cc", "#e02f44", "#12939a", "#c69c00", "#8f3bb8", "#7c6f64", "#1f4e79"];

/// A part of the picture, in pixels.
#[derive(Clone, Copy)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// The colour of the line with a number.
pub(super) fn colour(number: usize) -> &'static str {
    COLOURS[number % COLOURS.len()]
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Draws panels that showed a run of so many seconds.
pub(super) fn draw(panels: &[&Panel], seconds: f64) -> String {
    let top = panels.iter().map(|panel| panel.place[1]).fold(f64::INFINITY, f64::min);
    let bottom = panels.iter().map(|panel| panel.place[1] + panel.place[3]).fold(0.0, f64::max);
    let (width, height) = (1000.0 + 2.0 * EDGE, (bottom - top) * STEP.1 + 2.0 * EDGE);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-size=\"11\" \
         font-family=\"Inter,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif\">\n\
         <style>.p{{fill:#fff;stroke:#dde1e6}}.h{{font-weight:600;font-size:13px;fill:#24292e}}\
         .a{{fill:#6a737d;font-size:10px}}.g{{stroke:#eceff2}}.l{{fill:none;stroke-width:1.4;stroke-linejoin:round}}\
         .f{{opacity:.1}}.n{{fill:#444d56;font-size:10px}}.s{{font-weight:600;text-anchor:middle}}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#f4f5f7\"/>\n"
    );
    for panel in panels {
        let [x, y, width, height] = panel.place;
        let area = Area {
            x: EDGE + x * STEP.0 + GAP / 2.0,
            y: EDGE + (y - top) * STEP.1 + GAP / 2.0,
            width: width * STEP.0 - GAP,
            height: height * STEP.1 - GAP,
        };
        if panel.look == Look::Heading {
            let (x, y) = (area.x + 6.0, area.y + area.height - 5.0);
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {:.1}l4 4l4-4\" fill=\"none\" stroke=\"#586069\" stroke-width=\"1.5\"/>\
                 <text class=\"h\" x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
                y - 6.0,
                x + 14.0,
                escaped(&panel.title)
            );
            continue;
        }
        let _ = writeln!(
            svg,
            "<rect class=\"p\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"3\"/>\
             <text class=\"h\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            area.x,
            area.y,
            area.width,
            area.height,
            area.x + 10.0,
            area.y + 19.0,
            escaped(&panel.title)
        );
        let inner = Area { y: area.y + 26.0, height: area.height - 26.0, ..area };
        if panel.look == Look::Numbers {
            numbers(&mut svg, panel, inner);
        } else {
            chart::draw(&mut svg, panel, inner, seconds);
        }
    }
    svg + "</svg>\n"
}

/// The last values, side by side, with their names if there are several.
fn numbers(svg: &mut String, panel: &Panel, area: Area) {
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let width = area.width / panel.lines.len() as f64;
    let mut middle = area.x + width / 2.0;
    for line in &panel.lines {
        let value = line.points.last().map_or(0.0, |(_, value)| *value);
        let threshold = panel.thresholds.iter().rev().find(|(from, _)| value >= *from);
        let colour = match threshold.map(|(_, name)| name.as_str()) {
            Some("orange") => "#ff780a",
            Some("red") => "#e02f44",
            _ => "#37872d",
        };
        let _ = writeln!(
            svg,
            "<text class=\"s\" x=\"{middle:.1}\" y=\"{:.1}\" font-size=\"32\" fill=\"{colour}\">{}</text>\
             <text class=\"n\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            area.y + area.height * 0.52,
            escaped(&panel.unit.text(value)),
            area.y + area.height * 0.52 + 22.0,
            escaped(&line.name)
        );
        middle += width;
    }
}
