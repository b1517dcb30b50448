//! Flags about how long clients may take.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

/// How long clients may take.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Limits (0 for none)")]
pub(in crate::cli) struct TimeArgs {
    /// Seconds from a connection to its first bytes, a TLS handshake included; over HTTP/2 as many again until the client
    /// is asked whether it is there [default: 10]
    #[arg(long, env = "CONFCAST_HANDSHAKE_SECONDS", value_name = "SECONDS")]
    pub(in crate::cli) handshake_seconds: Option<u64>,
    /// Seconds from the end of a request over HTTP/1.1 to the end of the next one's headers; well above the 60 for which
    /// APISIX keeps a connection [default: 150]
    #[arg(long, env = "CONFCAST_NEXT_REQUEST_SECONDS", value_name = "SECONDS")]
    pub(in crate::cli) next_request_seconds: Option<u64>,
    /// Time between the pings by which clients of HTTP/2 are asked whether they are there, in seconds or as etcd has it,
    /// such as 1m [default: 60s]
    #[arg(long, env = "CONFCAST_GRPC_KEEPALIVE_INTERVAL", value_name = "TIME")]
    pub(in crate::cli) grpc_keepalive_interval: Option<Span>,
    /// Time that a client has for the answer, or for another sign of life, before it is left [default: 20s]
    #[arg(long, env = "CONFCAST_GRPC_KEEPALIVE_TIMEOUT", value_name = "TIME")]
    pub(in crate::cli) grpc_keepalive_timeout: Option<Span>,
}

/// A time: a number of seconds, or numbers with units, as etcd's flags have it: `90`, `90s`, `1m30s`, `500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(in crate::cli) struct Span(pub(in crate::cli) Duration);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Seconds(u64),
    Text(String),
}

impl TryFrom<Written> for Span {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Seconds(seconds) => Ok(Self(Duration::from_secs(seconds))),
            Written::Text(text) => text.parse(),
        }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(seconds) = text.parse() {
            return Ok(Self(Duration::from_secs(seconds)));
        }
        let wrong = || format!("{text:?} is no time; use seconds, or numbers with h, m, s or ms, such as 1m30s");
        let mut rest = text;
        let mut sum = Duration::ZERO;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0).ok_or_else(wrong)?;
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let milliseconds: u64 = match &rest[..unit] {
                "h" => 3_600_000,
                "m" => 60_000,
                "s" => 1000,
                "ms" => 1,
                _ => return Err(wrong()),
            };
            rest = &rest[unit..];
            let part = number.checked_mul(milliseconds).map(Duration::from_millis);
            sum = part.and_then(|part| sum.checked_add(part)).ok_or_else(wrong)?;
        }
        if text.is_empty() { Err(wrong()) } else { Ok(Self(sum)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_etcd_or_seconds() {
        for (text, milliseconds) in [
            ("0", 0),
            ("90", 90_000),
            ("2h", 7_200_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("0s", 0),
            ("1h0m1s1ms", 3_601_001),
        ] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(milliseconds))), "{text}");
        }
        for text in ["", "s", "1x", "1.5s", "-1s", "1m30", "18446744073709551615h", "99999999999999999999", " 1"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
