//! `confcast status`.

use std::process::ExitCode;

use anyhow::Context;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::args::status::{Form, StatusArgs};
use super::client::{ClientTls, Request};
use crate::telemetry::{now, upstream, xds};

/// What one server says of itself.
#[derive(Debug)]
struct Server {
    endpoint: String,
    /// Its status; what is wrong if it does not tell.
    status: Result<Value, String>,
    /// Where its configuration comes from, if that is a connection.
    source: Option<Source>,
}

/// The connection to a control plane or an etcd.
#[derive(Debug, PartialEq)]
struct Source {
    kind: &'static str,
    connected: bool,
    /// Seconds since something last came.
    heard: f64,
}

/// Asks servers' admin ports and prints what they say. Exits with 1 if any of them is not ready.
pub(super) fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let tls = ClientTls::new(&args.tls)?;
    let servers = super::runtime()?.block_on(join_all(args.endpoint.iter().map(|endpoint| ask(endpoint, &tls))));
    let ready = servers.iter().all(|server| server.status.as_ref().is_ok_and(|status| status["ready"] == true));
    match (args.output, servers.as_slice()) {
        (Some(Form::Json), _) => println!("{:#}", as_json(&servers)),
        (Some(Form::Text), _) | (None, [_]) => {
            for server in &servers {
                match &server.status {
                    Ok(status) => print!("{}", text(&server.endpoint, status, server.source.as_ref())),
                    Err(error) => eprintln!("error: {error}"),
                }
            }
        }
        (Some(Form::Table) | None, _) => print!("{}", table(&servers)),
    }
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn ask(endpoint: &str, tls: &ClientTls) -> Server {
    let get = async |path| {
        let request = Request { endpoint, method: "GET", path, body: "", token_file: None, tls };
        request.send().await.map(|answer| answer.body)
    };
    let status = async {
        let body = get("/status").await?;
        serde_json::from_str(&body).with_context(|| format!("{endpoint} is not the admin port of a confcast"))
    };
    let status: anyhow::Result<Value> = status.await;
    let source = match &status {
        Ok(_) => get("/metrics").await.ok().and_then(|metrics| source(&metrics, now())),
        Err(_) => None,
    };
    Server { endpoint: endpoint.to_owned(), status: status.map_err(|error| format!("{error:#}")), source }
}

/// The connection that a server has according to its metrics, at a time of day in seconds.
fn source(metrics: &str, now: f64) -> Option<Source> {
    let value = |name: &str| -> Option<f64> {
        metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    };
    let of = |kind, connected, last| {
        let (connected, last) = (value(connected)? > 0.0, value(last)?);
        // One that has never heard of one and has no connection is not made to have one.
        (connected || last > 0.0).then(|| Source { kind, connected, heard: (now - last).max(0.0).min(now) })
    };
    of("control plane", xds::CONNECTED, xds::LAST_RESPONSE).or(of("etcd", upstream::CONNECTED, upstream::LAST_RESPONSE))
}

/// How many revisions each is behind the newest; none for what does not tell. Says something of servers that share
/// their revisions: mirrors of one etcd.
fn behind(servers: &[Server]) -> Vec<Option<i64>> {
    let revision = |server: &Server| server.status.as_ref().ok()?["revision"].as_i64();
    let newest = servers.iter().filter_map(revision).max().unwrap_or_default();
    servers.iter().map(|server| revision(server).map(|revision| newest - revision)).collect()
}

fn as_json(servers: &[Server]) -> Value {
    let all = servers.iter().zip(behind(servers)).map(|(server, behind)| {
        let source = server.source.as_ref().map(
            |source| json!({"kind": source.kind, "connected": source.connected, "heard_seconds_ago": source.heard}),
        );
        match &server.status {
            Ok(status) => {
                json!({"endpoint": server.endpoint, "status": status, "revisions_behind": behind, "source": source})
            }
            Err(error) => json!({"endpoint": server.endpoint, "error": error}),
        }
    });
    Value::Array(all.collect())
}

fn table(servers: &[Server]) -> String {
    let names = ["ENDPOINT", "READY", "REVISION", "BEHIND", "KEYS", "STREAMS", "LATE", "LAG", "SOURCE"];
    let mut rows = vec![names.map(str::to_owned).to_vec()];
    for (server, behind) in servers.iter().zip(behind(servers)) {
        let mut row = vec![server.endpoint.clone()];
        match &server.status {
            Err(error) => row.push(error.clone()),
            Ok(status) => {
                let lag = &status["watch"]["lag"];
                let ready = if status["ready"] == true { "yes" } else { "no" };
                row.extend([
                    ready.to_owned(),
                    status["revision"].to_string(),
                    behind.unwrap_or_default().to_string(),
                    status["keys"].to_string(),
                    status["watch"]["streams"].to_string(),
                    lag["streams"].to_string(),
                    format!("{:.1} s", lag["seconds"].as_f64().unwrap_or_default()),
                    server.source.as_ref().map_or_else(|| "-".to_owned(), described),
                ]);
            }
        }
        rows.push(row);
    }
    // What is wrong with a server takes as much room as it needs.
    let whole = || rows.iter().filter(|row| row.len() == names.len());
    let endpoints = rows.iter().map(|row| row[0].len()).max().unwrap_or_default();
    let widths: Vec<_> =
        (0..names.len()).map(|column| whole().map(|row| row[column].len()).max().unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = if column == 0 { endpoints } else { widths[column] };
            format!("{cell:width$}")
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn described(source: &Source) -> String {
    let state = if source.connected { "connected" } else { "away" };
    format!("{} {state}, heard {:.0} s ago", source.kind, source.heard)
}

fn text(endpoint: &str, status: &Value, source: Option<&Source>) -> String {
    let ready = if status["ready"] == true { "yes" } else { "no" };
    let mut lines = vec![format!("ready       {ready}")];
    if let Some(what) = status["waiting_for"].as_str() {
        lines.push(format!("waiting for {what}"));
    }
    lines.extend(source.map(|source| format!("source      {}", described(source))));
    let (log, watch) = (&status["log"], &status["watch"]);
    lines.push(format!("revision    {}", status["revision"]));
    lines.push(format!("keys        {}, {} of them made from the source", status["keys"], status["objects"]));
    lines.push(format!("not exact   {} (see {endpoint}/report)", status["not_exact"]));
    lines.push(format!("history     {} commits from revision {}", log["commits"], log["from_revision"]));
    lines.push(format!("watching    {} streams with {} watchers", watch["streams"], watch["watchers"]));
    if watch["lag"]["streams"] != 0 {
        let lag = &watch["lag"];
        let seconds = lag["seconds"].as_f64().unwrap_or_default();
        lines.push(format!(
            "late        {} streams, up to {} revisions and {seconds:.1} s",
            lag["streams"], lag["revisions"]
        ));
    }
    lines.extend(reread(&status["settings"]));
    lines.join("\n") + "\n"
}

/// What came of it when the settings were last read again.
fn reread(reading: &Value) -> Option<String> {
    let ago = (now() - reading["read_at"].as_f64()?).max(0.0);
    let outcome = match reading["failure"].as_str() {
        None => format!("read again {ago:.0} s ago"),
        Some(failure) => format!("could not be used {ago:.0} s ago, those from before hold: {failure}"),
    };
    let names: Vec<_> = reading["need_restart"].as_array()?.iter().filter_map(Value::as_str).collect();
    let rest = if names.is_empty() { String::new() } else { format!("; a restart is needed for {}", names.join(", ")) };
    Some(format!("settings    {outcome}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_one_that_was_ever_heard() {
        let metrics = |connected, last| {
            format!(
                "# HELP\nconfcast_xds_connected 0\nconfcast_xds_last_response_timestamp_seconds 0\n\
                 confcast_upstream_connected {connected}\n\
                 confcast_upstream_last_response_timestamp_seconds {last}\n"
            )
        };
        assert_eq!(source(&metrics(0, 0.0), 1000.0), None);
        let away = Source { kind: "etcd", connected: false, heard: 10.0 };
        assert_eq!(source(&metrics(0, 990.0), 1000.0), Some(away));
        assert_eq!(source("", 1000.0), None, "no metrics");
    }

    #[test]
    fn a_table_has_a_line_for_each_server_and_columns_that_are_aligned() {
        let server = |endpoint: &str, revision: i64| Server {
            endpoint: endpoint.into(),
            status: Ok(json!({"ready": true, "revision": revision, "keys": 3,
                "watch": {"streams": 7, "lag": {"streams": 1, "revisions": 5, "seconds": 2.25}}})),
            source: Some(Source { kind: "etcd", connected: true, heard: 3.2 }),
        };
        let away = Server { endpoint: "http://c".into(), status: Err("it is away".into()), source: None };
        let servers = [server("http://a", 100), server("http://bbb", 98), away];
        let expected = [
            "ENDPOINT    READY  REVISION  BEHIND  KEYS  STREAMS  LATE  LAG    SOURCE",
            "http://a    yes    100       0       3     7        1     2.2 s  etcd connected, heard 3 s ago",
            "http://bbb  yes    98        2       3     7        1     2.2 s  etcd connected, heard 3 s ago",
            "http://c    it is away",
            "",
        ];
        assert_eq!(table(&servers), expected.join("\n"));
        let json = as_json(&servers);
        assert_eq!((&json[1]["revisions_behind"], &json[2]["error"]), (&json!(2), &json!("it is away")));
    }
}
