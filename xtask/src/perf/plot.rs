//! The plot of the README: what a delivered event costs each server.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

/// Medians of a figure by target, in the order in which they ran.
fn medians(path: &Path) -> Result<Vec<(String, f64)>> {
    let mut found: Vec<(String, Vec<f64>)> = Vec::new();
    for line in fs::read_to_string(path)?.lines() {
        let line: Value = serde_json::from_str(line)?;
        let figures = line["outcome"]["figures"].as_array().cloned().unwrap_or_default();
        let value = figures.iter().find(|figure| figure["name"] == "CPU us/event").and_then(|it| it["value"].as_f64());
        let (Some(value), Some(name)) = (value, line["target"].as_str()) else { continue };
        let name = name.rsplit("/etcd35/").next().filter(|rest| *rest != name).map_or(name, |_| "etcd 3.5");
        let name = if name.ends_with("/etcd") { "etcd 3.4" } else { name.rsplit('/').next().unwrap_or(name) };
        match found.iter_mut().find(|(other, _)| other == name) {
            Some((_, values)) => values.push(value),
            None => found.push((name.to_owned(), vec![value])),
        }
    }
    Ok(found
        .into_iter()
        .map(|(name, mut values)| {
            values.sort_by(f64::total_cmp);
            (name, values[values.len() / 2])
        })
        .collect())
}

/// Bars for both protocols, each by its own scale.
pub(super) fn draw(gateway: &Path, grpc: &Path) -> Result<String> {
    let groups = [("JSON gateway, 1,000 streams", medians(gateway)?), ("gRPC, 10 × 100 streams", medians(grpc)?)];
    let rows: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
    let height = 50 + rows * 24 + groups.len() * 40;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 {height}\" font-family=\"sans-serif\" \
         font-size=\"13\"><rect width=\"720\" height=\"{height}\" fill=\"#fff\"/>\
         <text x=\"16\" y=\"26\" font-size=\"16\">Server CPU for one delivered event of 1 KiB, µs (less is better)\
         </text>\n"
    );
    let mut y = 44;
    for (title, bars) in &groups {
        y += 20;
        writeln!(svg, "<text x=\"16\" y=\"{y}\" font-weight=\"bold\">{title}</text>")?;
        y += 10;
        let most = bars.iter().map(|(_, value)| *value).fold(0.001, f64::max);
        for (name, value) in bars {
            let width = (value / most * 440.0).max(1.0);
            let colour = if name == "confcast" { "#1a7f5a" } else { "#9aa5b1" };
            writeln!(
                svg,
                "<text x=\"150\" y=\"{}\" text-anchor=\"end\">{name}</text><rect x=\"160\" y=\"{y}\" \
                 width=\"{width:.1}\" height=\"18\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{}\">{value:.2}</text>",
                y + 14,
                width + 168.0,
                y + 14
            )?;
            y += 24;
        }
        y += 10;
    }
    Ok(svg + "</svg>\n")
}
