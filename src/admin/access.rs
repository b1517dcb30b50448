//! Who may do more than look.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use ring::hmac;

use super::listener::Client;
use crate::config::admin::{MIN_TOKEN, token};
use crate::config::live::Live;

/// How requests are checked that change something or show what is not for everybody.
#[derive(Clone, Debug)]
pub struct Access {
    /// Has who may do it.
    live: Live,
    /// Whether the port is reached from this machine alone.
    loopback: bool,
    /// Whether clients are asked for certificates.
    certificates: bool,
}

impl Access {
    /// For a port at `address`, on which clients may have been asked for certificates.
    pub fn new(live: Live, address: SocketAddr, certificates: bool) -> Self {
        Self { live, loopback: address.ip().is_loopback(), certificates }
    }

    /// Lets a client pass that has shown a certificate, where clients are asked for one.
    pub(super) fn must_know(&self, client: Client) -> Result<(), Box<Response>> {
        if client.certified || !self.certificates {
            return Ok(());
        }
        let why = "show a client certificate; without one there are only /livez and /readyz\n";
        Err(Box::new((StatusCode::FORBIDDEN, why).into_response()))
    }

    /// Whether it is shown what the server holds.
    pub(super) fn shows_debug(&self) -> bool {
        self.live.get().admin.debug
    }

    /// Lets a request with these headers pass, or says why not. Without a token a certificate is one.
    pub(super) fn check(&self, headers: &HeaderMap, client: Client) -> Result<(), Box<Response>> {
        let refuse = |status: StatusCode, why: &str| Err(Box::new((status, format!("{why}\n")).into_response()));
        let settings = self.live.get();
        let Some(path) = &settings.admin.token_file else {
            if client.certified {
                return Ok(());
            }
            if !self.loopback {
                return refuse(
                    StatusCode::FORBIDDEN,
                    "start the server with --admin-token-file, or with the admin port on 127.0.0.1",
                );
            }
            // A page in a browser on this machine may come here under a name of its own.
            if !is_local(headers) {
                return refuse(StatusCode::FORBIDDEN, "use the address of the admin port, or localhost");
            }
            return Ok(());
        };
        let wanted = match token(path) {
            Ok(wanted) if wanted.len() >= MIN_TOKEN => wanted,
            Ok(_) => return refuse(StatusCode::SERVICE_UNAVAILABLE, "the file with the token is too short"),
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "the token of the admin port cannot be read");
                return refuse(StatusCode::SERVICE_UNAVAILABLE, "the file with the token cannot be read");
            }
        };
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        if is_same(shown.unwrap_or_default(), &wanted) {
            return Ok(());
        }
        let answer =
            (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], "show the token of --admin-token-file\n");
        Err(Box::new(answer.into_response()))
    }
}

/// Whether the request was made for an address, or for this machine by its common name.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    let name = authority.host().trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// Compares in a time that does not tell how much is equal.
fn is_same(shown: &[u8], wanted: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>());
    hmac::verify(&key, shown, hmac::sign(&key, wanted).as_ref()).is_ok()
}
