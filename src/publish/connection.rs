//! The etcd that is published into: which endpoint is asked, as whom, and what its failures mean.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use super::exchange::Failure;
use crate::pb::etcdserverpb::AuthenticateRequest;
use crate::pb::etcdserverpb::auth_client::AuthClient;

/// Time for a connection, and for the answer to a ping, so that an endpoint that has gone is left.
const CONNECT: Duration = Duration::from_secs(2);
const PING: Duration = Duration::from_secs(5);

/// How the etcd is reached.
#[derive(Clone, Debug, Default)]
pub struct Upstream {
    /// Its endpoints, `http://` or `https://`; one is used until it fails.
    pub endpoints: Vec<String>,
    /// File with the certificates that the endpoints' are signed by, in PEM.
    pub ca: Option<PathBuf>,
    /// Files with a client certificate and its key, in PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Name and password of a user.
    pub user: Option<(String, String)>,
}

/// Why an etcd cannot be connected to, whatever is tried.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// A file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An endpoint or certificate is none.
    #[error("{endpoint}: {source}")]
    Endpoint {
        /// Which.
        endpoint: String,
        /// Why.
        source: tonic::transport::Error,
    },
}

/// Connections to the endpoints, opened when they are used.
#[derive(Debug)]
pub(super) struct Connection {
    channels: Vec<Channel>,
    current: AtomicUsize,
    user: Option<(String, String)>,
    token: Mutex<Option<String>>,
}

impl Connection {
    pub(super) fn new(upstream: &Upstream) -> Result<Self, UpstreamError> {
        let read =
            |path: &PathBuf| std::fs::read(path).map_err(|source| UpstreamError::File { path: path.clone(), source });
        let mut tls = ClientTlsConfig::new();
        if let Some(path) = &upstream.ca {
            tls = tls.ca_certificate(Certificate::from_pem(read(path)?));
        }
        if let Some((cert, key)) = &upstream.identity {
            tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        let mut channels = Vec::new();
        for endpoint in &upstream.endpoints {
            let wrong = |source| UpstreamError::Endpoint { endpoint: endpoint.clone(), source };
            let mut connect = Endpoint::from_shared(endpoint.clone())
                .map_err(wrong)?
                .connect_timeout(CONNECT)
                .http2_keep_alive_interval(PING)
                .keep_alive_timeout(CONNECT)
                .keep_alive_while_idle(true);
            if endpoint.starts_with("https://") {
                connect = connect.tls_config(tls.clone()).map_err(wrong)?;
            }
            channels.push(connect.connect_lazy());
        }
        let token = Mutex::default();
        Ok(Self { channels, current: AtomicUsize::new(0), user: upstream.user.clone(), token })
    }

    /// The connection to the endpoint that is used.
    pub(super) fn channel(&self) -> Channel {
        self.channels[self.current.load(Ordering::Relaxed) % self.channels.len()].clone()
    }

    /// A request in the name of the user.
    pub(super) async fn request<T>(&self, message: T) -> Result<Request<T>, Status> {
        let mut request = Request::new(message);
        let Some((name, password)) = &self.user else { return Ok(request) };
        let known = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let token = if let Some(token) = known {
            token
        } else {
            let login = AuthenticateRequest { name: name.clone(), password: password.clone() };
            let token = AuthClient::new(self.channel()).authenticate(login).await?.into_inner().token;
            *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
            token
        };
        let value = MetadataValue::try_from(token).map_err(|_| Status::internal("a token that is no header"))?;
        request.metadata_mut().insert("token", value);
        Ok(request)
    }

    /// Notes a failure: the next request goes to another endpoint, or with a new token.
    pub(super) fn failed(&self, status: &Status) -> Failure {
        if status.code() == Code::Unauthenticated || status.message().contains("invalid auth token") {
            *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        let failure = failure(status);
        if matches!(failure, Failure::Unknown(_)) {
            self.leave();
        }
        failure
    }

    /// The next request goes to another endpoint.
    pub(super) fn leave(&self) {
        self.current.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a failure of etcd means to a publisher. Texts are those of etcd's `rpctypes`.
fn failure(status: &Status) -> Failure {
    let text = status.message();
    let says = |part: &str| text.contains(part);
    if says("requested lease not found") {
        return Failure::LeaseGone;
    }
    if says("request is too large") || says("too many operations in txn") || says("larger than max") {
        return Failure::TooLarge(text.to_owned());
    }
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Unknown
        | Code::Internal
        | Code::Aborted
        | Code::DataLoss
        | Code::Ok => Failure::Unknown(format!("{}: {text}", status.code())),
        _ => Failure::Refused(format!("{}: {text}", status.code())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_surely_did_not_happen_is_told_as_such() {
        let lost = Status::unavailable("etcdserver: request timed out");
        assert!(matches!(failure(&lost), Failure::Unknown(_)));
        assert!(matches!(failure(&Status::unknown("h2 protocol error")), Failure::Unknown(_)));
        assert_eq!(failure(&Status::not_found("etcdserver: requested lease not found")), Failure::LeaseGone);
        let large = Status::invalid_argument("etcdserver: request is too large");
        assert!(matches!(failure(&large), Failure::TooLarge(_)));
        assert!(matches!(failure(&Status::permission_denied("etcdserver: permission denied")), Failure::Refused(_)));
    }
}
