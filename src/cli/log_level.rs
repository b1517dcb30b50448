//! `confcast log-level`.

use std::process::ExitCode;

use anyhow::bail;

use super::args::admin::LogLevelArgs;
use super::client::{Answer, ClientTls, Request};

/// Prints what a server logs, or changes it.
pub(super) fn log_level(args: &LogLevelArgs) -> anyhow::Result<ExitCode> {
    let (method, body) = match &args.levels {
        None => ("GET", ""),
        Some(levels) => ("PUT", levels.as_str()),
    };
    let token_file = args.token_file.as_deref();
    let tls = ClientTls::new(&args.tls)?;
    let request = Request { endpoint: &args.endpoint, method, path: "/log", body, token_file, tls: &tls };
    let Answer { status, body } = super::runtime()?.block_on(request.send())?;
    if status != 200 {
        bail!("{}: {}", args.endpoint, body.trim_end());
    }
    println!("{}", body.trim_end());
    Ok(ExitCode::SUCCESS)
}
