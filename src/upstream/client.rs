//! Connections to the members of an etcd.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use crate::config::upstream::UpstreamConfig;
use crate::pb::etcdserverpb::auth_client::AuthClient;
use crate::pb::etcdserverpb::kv_client::KvClient;
use crate::pb::etcdserverpb::lease_client::LeaseClient;
use crate::pb::etcdserverpb::watch_client::WatchClient;
use crate::pb::etcdserverpb::{AuthenticateRequest, RangeRequest, RangeResponse};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(2);

/// Time from the answer to a ping to the next ping. etcd takes pings that are less than 5 s apart for an attack.
const PING: Duration = Duration::from_secs(5);

/// How long the answer to a ping may take. A member that hangs is left after this.
const PONG: Duration = Duration::from_secs(2);

/// The members of an etcd. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoints: Vec<(String, Channel)>,
    /// Which of them is used; others get their turn when it fails.
    current: AtomicUsize,
    user: Option<(String, PathBuf)>,
    has_certificate: bool,
    token: Mutex<Option<String>>,
}

/// Why the settings do not make a client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No member is named.
    #[error("--upstream is missing: give the URL of each member of the etcd, as in http://127.0.0.1:2379")]
    NoEndpoint,
    /// A URL cannot be used.
    #[error("--upstream {url}: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Client {
    /// A client of these members. Connects when it is first used.
    pub fn new(config: &UpstreamConfig) -> Result<Self, ClientError> {
        let endpoints = endpoints(config)?;
        let endpoints = endpoints.into_iter().map(|(url, endpoint)| (url, endpoint.connect_lazy())).collect();
        let (current, token) = (AtomicUsize::new(0), Mutex::default());
        let (user, has_certificate) = (config.user.clone(), config.identity.is_some());
        Ok(Self(Arc::new(Inner { endpoints, current, user, has_certificate, token })))
    }

    /// Whether a client can be made of these settings. Unlike [`new`](Self::new), this needs no runtime.
    pub fn check(config: &UpstreamConfig) -> Result<(), ClientError> {
        endpoints(config).map(drop)
    }

    /// The member that is used now: its URL, and the connection to it.
    pub fn current(&self) -> (&str, Channel) {
        let (url, channel) = &self.0.endpoints[self.0.current.load(Ordering::Relaxed) % self.0.endpoints.len()];
        (url, channel.clone())
    }

    /// Uses the next member from now on, and asks for a new token there.
    pub fn rotate(&self) {
        self.0.current.fetch_add(1, Ordering::Relaxed);
        self.forget_token();
    }

    /// Whether a request failed as its token is not good any more. The next one asks for a new token then.
    pub fn has_outlived_token(&self, status: &Status) -> bool {
        let outlived = status.code() == Code::Unauthenticated || status.message().contains("invalid auth token");
        if outlived {
            self.forget_token();
        }
        outlived && self.has_user()
    }

    fn forget_token(&self) {
        *self.0.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether the client has a name and a password.
    pub fn has_user(&self) -> bool {
        self.0.user.is_some()
    }

    /// Whether the client has a certificate, whose common name etcd may take for that of a user.
    pub fn has_certificate(&self) -> bool {
        self.0.has_certificate
    }

    /// Whether users can log in.
    pub async fn has_log_in(&self) -> Result<bool, Status> {
        match AuthClient::new(self.current().1).authenticate(AuthenticateRequest::default()).await {
            Err(status) if is_off(&status) => Ok(false),
            Err(status) if matches!(status.code(), Code::Unavailable | Code::Cancelled) => Err(status),
            Ok(_) | Err(_) => Ok(true),
        }
    }

    /// The KV service, for messages of any size.
    pub fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.current().1).max_decoding_message_size(usize::MAX)
    }

    /// The Watch service, for messages of any size.
    pub fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.current().1).max_decoding_message_size(usize::MAX)
    }

    /// The Lease service.
    pub fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.current().1)
    }

    /// Reads. A token that is not good any more, as etcd forgets those that are not used for minutes, is replaced.
    pub async fn range(&self, message: RangeRequest) -> Result<RangeResponse, Status> {
        match self.kv().range(self.request(message.clone()).await?).await {
            Err(status) if self.has_outlived_token(&status) => {
                Ok(self.kv().range(self.request(message).await?).await?.into_inner())
            }
            answer => Ok(answer?.into_inner()),
        }
    }

    /// A request of this client, with its token if it has a name.
    pub async fn request<T>(&self, message: T) -> Result<Request<T>, Status> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(super::MIRROR, MetadataValue::from_static("true"));
        if let Some(token) = self.token().await? {
            let value = MetadataValue::try_from(token).map_err(|_| Status::internal("a token that is no text"))?;
            request.metadata_mut().insert("token", value);
        }
        Ok(request)
    }

    async fn token(&self) -> Result<Option<String>, Status> {
        let Some((name, file)) = &self.0.user else { return Ok(None) };
        let kept = self.0.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if kept.is_some() {
            return Ok(kept);
        }
        let password = tokio::fs::read_to_string(file).await;
        let password = password.map_err(|error| Status::unauthenticated(format!("{}: {error}", file.display())))?;
        let password = password.trim_end_matches(['\r', '\n']).to_owned();
        let request = AuthenticateRequest { name: name.clone(), password };
        let token = match AuthClient::new(self.current().1).authenticate(request).await {
            Ok(response) => response.into_inner().token,
            // Users are off there: anybody may do everything.
            Err(status) if is_off(&status) => return Ok(None),
            Err(status) => return Err(status),
        };
        *self.0.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(Some(token))
    }
}

/// Whether a log-in was refused as there are no users.
fn is_off(status: &Status) -> bool {
    status.message().contains("authentication is not enabled")
}

fn endpoints(config: &UpstreamConfig) -> Result<Vec<(String, Endpoint)>, ClientError> {
    if config.endpoints.is_empty() {
        return Err(ClientError::NoEndpoint);
    }
    let tls = tls(config)?;
    let endpoint = |url: &String| {
        let wrong = |reason: String| ClientError::Url { url: url.clone(), reason };
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(wrong("begin it with http:// or https://".into()));
        }
        let mut endpoint = Endpoint::from_shared(url.clone())
            .map_err(|error| wrong(error.to_string()))?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .keep_alive_while_idle(true);
        if url.starts_with("https://") {
            endpoint = endpoint.tls_config(tls.clone()).map_err(|error| wrong(error.to_string()))?;
        }
        Ok((url.clone(), endpoint))
    };
    config.endpoints.iter().map(endpoint).collect()
}

fn tls(config: &UpstreamConfig) -> Result<ClientTlsConfig, ClientError> {
    let read =
        |path: &Path| std::fs::read(path).map_err(|source| ClientError::File { path: path.to_path_buf(), source });
    let mut tls = ClientTlsConfig::new();
    if let Some(path) = &config.ca {
        tls = tls.ca_certificate(Certificate::from_pem(read(path)?));
    }
    if let Some((cert, key)) = &config.identity {
        tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    Ok(tls)
}
