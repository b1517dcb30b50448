//! The table at the end.

use std::fmt::Write;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::outcome::{Figure, Outcome};

/// What came of the runs against one server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) outcomes: Vec<Outcome>,
    /// Why there are no more.
    pub(crate) failure: Option<String>,
}

impl Row {
    /// The median, least and greatest of a number over the runs.
    pub(crate) fn spread(&self, figure: &str) -> Option<(f64, f64, f64)> {
        let numbers = self.outcomes.iter().filter_map(|run| run.figures.iter().find(|other| other.name == figure));
        let mut values: Vec<_> = numbers.map(|figure| figure.value).collect();
        values.sort_by(f64::total_cmp);
        Some((*values.get(values.len() / 2)?, *values.first()?, *values.last()?))
    }
}

/// Every number that any of the rows has, in order.
pub(crate) fn figures(rows: &[Row]) -> Vec<Figure> {
    let mut found: Vec<Figure> = Vec::new();
    for figure in rows.iter().filter_map(|row| row.outcomes.first()).flat_map(|outcome| &outcome.figures) {
        if found.iter().all(|other| other.name != figure.name) {
            found.push(figure.clone());
        }
    }
    found
}

/// A number as it is shown, with what it is of the first row's.
fn cell(figure: &Figure, row: &Row, first: Option<&Row>) -> String {
    let Some((median, least, greatest)) = row.spread(figure.name) else { return "-".into() };
    let digits = figure.digits;
    let mut text = format!("{median:.digits$}");
    if row.outcomes.len() > 1 && (greatest - least) > 0.05 * median.abs() {
        let _ = write!(text, " ({least:.digits$}-{greatest:.digits$})");
    }
    let floor = first.and_then(|row| row.spread(figure.name)).map(|(median, ..)| median);
    if let Some(floor) = floor.filter(|floor| figure.ratio && *floor > 0.0) {
        let _ = write!(text, " {:.2}x", median / floor);
    }
    text
}

/// Prints medians, their spread where it is not small, and what they are of the first server's.
pub(crate) fn print(title: &str, rows: &[Row]) {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    let figures = figures(rows);
    table.set_header(["target"].into_iter().chain(figures.iter().map(|figure| figure.name)).chain(["note"]));
    for (number, row) in rows.iter().enumerate() {
        let first = (number > 0).then(|| &rows[0]);
        let mut cells = vec![row.name.clone()];
        cells.extend(figures.iter().map(|figure| cell(figure, row, first)));
        cells.push(match &row.failure {
            Some(failure) => failure.clone(),
            None if row.outcomes.iter().any(|run| run.client_was_the_limit) => "the client was the limit".into(),
            None => String::new(),
        });
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("\n{title}\n{table}");
}

/// The file for lines of JSON.
pub(crate) fn json_file(path: Option<&Path>) -> Result<Option<File>> {
    path.map(|path| File::create(path).with_context(|| format!("--json {}", path.display()))).transpose()
}
