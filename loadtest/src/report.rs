//! The table at the end.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::args::Load;
use crate::fanout::Outcome;

/// Prints medians, and ratios to the first target.
pub(crate) fn print(outcomes: &[(String, Vec<Outcome>)], load: Load) {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "target",
        "CPU us/event",
        "ratio",
        "events/s",
        "last stream p50 ms",
        "p99 ms",
        "KiB/stream",
        "client",
    ]);
    let floor = outcomes.first().and_then(|(_, runs)| median(runs, Outcome::cpu_us));
    for (name, runs) in outcomes {
        let number = |value: Option<f64>, digits: usize| value.map_or("-".into(), |value| format!("{value:.digits$}"));
        let cpu = median(runs, Outcome::cpu_us);
        let of = |value: fn(&Outcome) -> f64| median(runs, |run| Some(value(run)));
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let row = [
            name.clone(),
            number(cpu, 2),
            number(cpu.zip(floor).map(|(cpu, floor)| cpu / floor), 2),
            number(of(|run| run.delivered as f64 / run.seconds), 0),
            number(of(|run| run.last_stream_us.0 as f64 / 1e3), 2),
            number(of(|run| run.last_stream_us.1 as f64 / 1e3), 2),
            number(median(runs, |run| run.kib_per_stream), 1),
            if runs.iter().any(Outcome::client_was_the_limit) { "was the limit" } else { "" }.into(),
        ];
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!(
        "\nfan-out in lock step: {} gateway streams, {} changes of {} bytes; medians of {}\n{table}",
        load.streams,
        load.events,
        load.size,
        outcomes.first().map_or(0, |(_, runs)| runs.len())
    );
}

fn median(runs: &[Outcome], value: impl Fn(&Outcome) -> Option<f64>) -> Option<f64> {
    let mut values: Vec<_> = runs.iter().filter_map(value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
