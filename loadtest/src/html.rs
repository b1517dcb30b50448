//! The report for people who would rather look than read: one file, with its plots inside.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;

use crate::outcome::{Figure, float};
use crate::report::{Row, figures};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#222}
table{border-collapse:collapse}td,th{padding:.3em .8em;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}.plots{display:flex;flex-wrap:wrap;gap:1em}";

/// Writes the report.
pub(crate) fn write(path: &Path, title: &str, rows: &[Row]) -> Result<()> {
    let figures = figures(rows);
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>confcast-loadtest</title><style>{STYLE}</style>\
         <h1>{}</h1><p>Ratios within a run mean something; absolute numbers are those of the machine.</p>",
        escape(title)
    );
    page += "<table><tr><th>target</th>";
    for figure in &figures {
        write!(page, "<th>{}</th>", escape(figure.name))?;
    }
    page += "</tr>";
    for row in rows {
        write!(page, "<tr><td>{}</td>", escape(&row.name))?;
        for figure in &figures {
            let digits = figure.digits;
            let text = row.spread(figure.name).map_or("-".into(), |(median, ..)| format!("{median:.digits$}"));
            write!(page, "<td>{text}</td>")?;
        }
        let note = row.failure.as_deref().unwrap_or_default();
        write!(page, "<td>{}</td></tr>", escape(note))?;
    }
    page += "</table><div class=plots>";
    for figure in figures.iter().filter(|figure| figure.ratio) {
        page += &bars(figure, rows)?;
    }
    page += "</div><h2>Over time</h2><div class=plots>";
    let names: Vec<_> =
        rows.iter().flat_map(|row| &row.outcomes).flat_map(|run| run.series.iter().map(|series| series.name)).collect();
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
            page += &lines(name, rows)?;
        }
    }
    page +=
        if seen.is_empty() { "</div><p>This scenario has nothing that changes in its course.</p>" } else { "</div>" };
    std::fs::write(path, page).with_context(|| format!("--html {}", path.display()))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The last part of a path, which is what fits under a bar.
fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// A plot of medians, with a line from the least to the greatest.
pub(crate) fn bars(figure: &Figure, rows: &[Row]) -> Result<String> {
    let spreads: Vec<_> = rows.iter().filter_map(|row| Some((row, row.spread(figure.name)?))).collect();
    let greatest = spreads.iter().map(|(_, (_, _, greatest))| *greatest).fold(0.0, f64::max);
    if greatest <= 0.0 {
        return Ok(String::new());
    }
    let mut svg = String::new();
    let failed = |error: DrawingAreaErrorKind<_>| anyhow!("{error}");
    {
        let area = SVGBackend::with_string(&mut svg, (460, 320)).into_drawing_area();
        let count = float(spreads.len());
        let mut chart = ChartBuilder::on(&area)
            .caption(figure.name, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(34)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..count, 0.0..greatest * 1.12)
            .map_err(failed)?;
        let name = |at: &f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place among the bars")]
            let number = (at - 0.5).round() as usize;
            let centred = (at - 0.5 - float(number)).abs() < 0.01;
            spreads.get(number).filter(|_| centred).map_or(String::new(), |(row, _)| short(&row.name).to_owned())
        };
        let labels = spreads.len() * 2 + 1;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(labels)
            .x_label_formatter(&name)
            .light_line_style(TRANSPARENT)
            .draw()
            .map_err(failed)?;
        for (number, (_, (median, least, most))) in spreads.iter().enumerate() {
            let at = float(number);
            let colour = Palette99::pick(number).mix(0.8);
            let bar = Rectangle::new([(at + 0.15, 0.0), (at + 0.85, *median)], colour.filled());
            let spread = PathElement::new(vec![(at + 0.5, *least), (at + 0.5, *most)], BLACK.stroke_width(2));
            let digits = figure.digits;
            let text =
                Text::new(format!("{median:.digits$}"), (at + 0.2, median + greatest * 0.05), ("sans-serif", 14));
            chart.draw_series([bar]).map_err(failed)?;
            chart.draw_series([spread]).map_err(failed)?;
            chart.draw_series([text]).map_err(failed)?;
        }
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

/// A plot of a number over the seconds of the last run.
fn lines(name: &str, rows: &[Row]) -> Result<String> {
    let of = |row: &Row| {
        let run = row.outcomes.last()?;
        run.series.iter().find(|series| series.name == name).map(|series| series.points.clone())
    };
    let drawn: Vec<_> = rows.iter().filter_map(|row| Some((row, of(row)?))).collect();
    let most = |pick: fn(&(f64, f64)) -> f64| {
        drawn.iter().flat_map(|(_, points)| points.iter().map(pick)).fold(0.001, f64::max)
    };
    let (x, y) = (most(|point| point.0), most(|point| point.1));
    let mut svg = String::new();
    let failed = |error: DrawingAreaErrorKind<_>| anyhow!("{error}");
    {
        let area = SVGBackend::with_string(&mut svg, (460, 320)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .caption(name, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(34)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..x, 0.0..y * 1.1)
            .map_err(failed)?;
        chart.configure_mesh().x_desc("seconds").light_line_style(TRANSPARENT).draw().map_err(failed)?;
        for (number, (row, points)) in drawn.iter().enumerate() {
            let colour = Palette99::pick(number).to_rgba();
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))
                .map_err(failed)?
                .label(short(&row.name))
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 14, y)], colour.stroke_width(2)));
        }
        chart.configure_series_labels().background_style(WHITE.mix(0.8)).draw().map_err(failed)?;
        area.present().map_err(failed)?;
    }
    Ok(svg)
}
