//! Settings of how long clients may take.

use std::time::Duration;

use super::File;
use crate::cli::args::times::TimeArgs;
use crate::serve::Times;
use crate::serve::connection::FOREVER;

/// The times that `flags` set, or else `file`.
pub(super) fn resolve(flags: &TimeArgs, file: &File) -> Times {
    let default = Times::default();
    let of = |given: Option<Duration>, default| match given {
        None => default,
        Some(Duration::ZERO) => FOREVER,
        Some(time) => time.min(FOREVER),
    };
    let seconds = |flag: Option<u64>, file: Option<u64>| flag.or(file).map(Duration::from_secs);
    let interval = flags.grpc_keepalive_interval.or(file.grpc_keepalive_interval);
    let timeout = flags.grpc_keepalive_timeout.or(file.grpc_keepalive_timeout);
    Times {
        first_bytes: of(seconds(flags.handshake_seconds, file.handshake_seconds), default.first_bytes),
        next_request: of(seconds(flags.next_request_seconds, file.next_request_seconds), default.next_request),
        ping: of(interval.map(|span| span.0), default.ping),
        pong: of(timeout.map(|span| span.0), default.pong),
    }
}
