//! `confcast status`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::args::StatusArgs;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks a server's admin port and prints what it says. Exits with 1 if the server is not ready.
pub(super) fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let status = super::runtime()?.block_on(async {
        tokio::time::timeout(PATIENCE, ask(&args.endpoint, "/status"))
            .await
            .with_context(|| format!("{} does not answer", args.endpoint))?
    })?;
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

/// A plain HTTP GET, which needs no client library.
async fn ask(endpoint: &str, path: &str) -> anyhow::Result<Value> {
    let uri: http::Uri = endpoint.parse().with_context(|| format!("--endpoint {endpoint}"))?;
    let Some(host) = uri.authority().filter(|_| uri.scheme_str() == Some("http")) else {
        bail!("--endpoint {endpoint}: use http://HOST:PORT of the admin port");
    };
    let address = format!("{}:{}", host.host(), host.port_u16().unwrap_or(9379));
    let mut stream = TcpStream::connect(&address).await.with_context(|| {
        format!("cannot reach the admin port at {endpoint}; is the server running with --admin-listen?")
    })?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    serde_json::from_str(body).with_context(|| format!("{endpoint} is not the admin port of a confcast"))
}
