//! `confcast status`.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::Value;

use super::args::StatusArgs;
use super::client::Request;

/// Asks a server's admin port and prints what it says. Exits with 1 if the server is not ready.
pub(super) fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let (endpoint, method) = (args.endpoint.as_str(), "GET");
    let request = Request { endpoint, method, path: "/status", body: "", token_file: None };
    let answer = super::runtime()?.block_on(request.send())?;
    let status: Value = serde_json::from_str(&answer.body)
        .with_context(|| format!("{endpoint} is not the admin port of a confcast"))?;
    let ready = status["ready"] == true;
    println!("ready       {}", if ready { "yes" } else { "no" });
    if let Some(what) = status["waiting_for"].as_str() {
        println!("waiting for {what}");
    }
    println!("revision    {}", status["revision"]);
    println!("keys        {}, {} of them made from the source", status["keys"], status["objects"]);
    println!("not exact   {} (see {}/report)", status["not_exact"], args.endpoint);
    println!("history     {} commits from revision {}", status["log"]["commits"], status["log"]["from_revision"]);
    println!("watching    {} streams with {} watchers", status["watch"]["streams"], status["watch"]["watchers"]);
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
