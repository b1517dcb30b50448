//! The connection to a control plane: gRPC around the [`Engine`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::uri::PathAndQuery;
use metrics::{counter, gauge};
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

use super::config::{Protocol, TokenScheme, XdsConfig};
use super::discovery::{self, DeltaRequest, DeltaResponse, SotwRequest, SotwResponse};
use super::engine::{Engine, Output, Request, Variant};
use super::{Sync, Update};
use crate::backoff::Backoff;
use crate::telemetry;
use crate::traces::Heard;

/// Requests that wait to be written. As many as a very large mesh needs at once; a server that does not read them is
/// left (`disconnect`).
const REQUESTS: usize = 1024;

/// Largest response: control planes send all of a mesh in one.
const MAX_RESPONSE: usize = 256 << 20;

/// Window of HTTP/2, so that a large response does not wait for the sender to be told to go on.
const WINDOW: u32 = 8 << 20;

/// Time between pings, and for their answer. Istio takes pings faster than every 15 s for an attack.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(10);

/// How a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("{server}: {reason}")]
    Connect { server: String, reason: String },
    #[error("{0}")]
    Status(Status),
    #[error("the control plane closed the stream")]
    Closed,
    #[error("the control plane does not read requests")]
    Stuck,
    #[error("nobody wants updates any more")]
    Unwanted,
}

/// Keeps a stream to the control plane and reports what it sends, until `token` is cancelled or nobody listens.
pub async fn run(config: XdsConfig, updates: mpsc::Sender<Update>, token: CancellationToken) {
    let mut driver = Driver::new(config, updates);
    tokio::select! {
        () = token.cancelled() => {}
        () = driver.run() => {}
    }
    gauge!(telemetry::xds::CONNECTED).set(0);
}

struct Driver {
    config: XdsConfig,
    engine: Engine,
    variant: Variant,
    updates: mpsc::Sender<Update>,
    told: Option<Sync>,
    /// Where the stream leads, and which it is.
    heard: Heard,
    /// What was last said of the connection, so that it is said once.
    said: Option<String>,
    backoff: Backoff,
}

impl Driver {
    fn new(config: XdsConfig, updates: mpsc::Sender<Update>) -> Self {
        let node = discovery::Node {
            id: config.node.id.clone(),
            cluster: config.node.cluster.clone(),
            metadata: Some(discovery::metadata(&config.node.metadata)),
            user_agent_name: "confcast".into(),
            user_agent_version: env!("CARGO_PKG_VERSION").into(),
        };
        let variant = if config.protocol == Protocol::Sotw { Variant::Sotw } else { Variant::Delta };
        let engine = Engine::new(node, variant);
        Self {
            config,
            engine,
            variant,
            updates,
            told: None,
            heard: Heard::now(""),
            said: None,
            backoff: Backoff::new(),
        }
    }

    async fn run(&mut self) {
        for attempt in 0.. {
            let server = self.config.servers[attempt % self.config.servers.len()].clone();
            let ended = match self.variant {
                Variant::Delta => self.stream::<DeltaRequest, DeltaResponse>(&server).await,
                Variant::Sotw => self.stream::<SotwRequest, SotwResponse>(&server).await,
            };
            self.engine.disconnected();
            gauge!(telemetry::xds::CONNECTED).set(0);
            counter!(telemetry::xds::RECONNECTS).increment(1);
            match &ended {
                Ended::Unwanted => return,
                Ended::Status(status) if self.falls_back(status) => {
                    tracing::info!(%server, "the control plane has no delta protocol; going on with state of the world");
                    self.variant = Variant::Sotw;
                    self.engine.set_variant(Variant::Sotw);
                    continue;
                }
                _ => {}
            }
            let pause = self.backoff.pause();
            let reason = ended.to_string();
            // Servers end streams as they like, which is worth a word only if the next one does not come about.
            if self.said.as_ref() != Some(&reason) {
                tracing::warn!(%server, %reason, "no stream to the control plane; what it last sent is still served");
                self.said = Some(reason);
            }
            sleep(pause).await;
        }
    }

    fn falls_back(&self, status: &Status) -> bool {
        let unimplemented = status.code() == Code::Unimplemented || status.message().contains("not implemented");
        self.config.protocol == Protocol::Auto && self.variant == Variant::Delta && unimplemented
    }

    /// Opens a stream and follows it to its end.
    async fn stream<Q, R>(&mut self, server: &str) -> Ended
    where
        Q: Form<R> + Message + Default + 'static,
        R: Message + Default + 'static,
    {
        match self.follow::<Q, R>(server).await {
            Ok(never) => never,
            Err(ended) => ended,
        }
    }

    async fn follow<Q, R>(&mut self, server: &str) -> Result<Ended, Ended>
    where
        Q: Form<R> + Message + Default + 'static,
        R: Message + Default + 'static,
    {
        let channel = self.connect(server).await?;
        let mut grpc = Grpc::new(channel).max_decoding_message_size(MAX_RESPONSE);
        grpc.ready().await.map_err(|error| Ended::Connect { server: server.into(), reason: chain(&error) })?;
        let (requests, outgoing) = mpsc::channel::<Q>(REQUESTS);
        let mut request = tonic::Request::new(ReceiverStream::new(outgoing));
        if let Some(path) = &self.config.token_file {
            let token = read(path)?;
            let token = String::from_utf8_lossy(&token);
            let value = match self.config.token_scheme {
                TokenScheme::Bearer => format!("Bearer {}", token.trim()),
                TokenScheme::None => token.trim().to_owned(),
            };
            let value = MetadataValue::try_from(value)
                .map_err(|error| Ended::File { path: path.clone(), reason: error.to_string() })?;
            request.metadata_mut().insert("authorization", value);
        }
        // Some servers answer with nothing at all before the first request.
        self.heard = Heard { connection: self.heard.connection + 1, ..Heard::now(server) };
        let output = self.engine.connected(Instant::now());
        self.carry_out(output, &requests).await?;
        let path = PathAndQuery::from_static(Q::PATH);
        let response = grpc.streaming(request, path, ProstCodec::<Q, R>::default()).await.map_err(Ended::Status)?;
        tracing::info!(server, protocol = ?self.variant, "connected to the control plane");
        self.said = None;
        gauge!(telemetry::xds::CONNECTED).set(1);
        let mut responses: Streaming<R> = response.into_inner();
        loop {
            let deadline = self.engine.deadline();
            // Both can be dropped and asked again without a loss.
            let (at, output) = tokio::select! {
                message = responses.message() => match message.map_err(Ended::Status)? {
                    Some(response) => {
                        let at = Instant::now();
                        self.backoff.reset();
                        (at, Q::respond(&mut self.engine, response))
                    }
                    None => return Err(Ended::Closed),
                },
                () = until(deadline) => (Instant::now(), self.engine.tick(Instant::now())),
            };
            self.heard.at = at;
            self.carry_out(output, &requests).await?;
        }
    }

    /// Sends requests first: an answer never waits for what becomes of a change.
    async fn carry_out<Q: Form<R>, R>(&mut self, output: Output, requests: &mpsc::Sender<Q>) -> Result<(), Ended> {
        for reason in &output.rejected {
            tracing::error!(
                reason,
                "a resource of the control plane was refused; its last good content is still served"
            );
        }
        for request in output.requests {
            if let Some(request) = Q::of(request) {
                requests.try_send(request).map_err(|_| Ended::Stuck)?;
            }
        }
        let sync = self.engine.sync();
        if !output.changes.is_empty() || self.told != Some(sync) {
            self.told = Some(sync);
            let update = Update { changes: output.changes, sync, heard: self.heard.clone() };
            self.updates.send(update).await.map_err(|_| Ended::Unwanted)?;
        }
        Ok(())
    }

    async fn connect(&self, server: &str) -> Result<Channel, Ended> {
        let failed = |error: tonic::transport::Error| Ended::Connect { server: server.into(), reason: chain(&error) };
        let mut endpoint = Endpoint::from_shared(server.to_owned())
            .map_err(failed)?
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .keep_alive_while_idle(true)
            .initial_connection_window_size(WINDOW)
            .initial_stream_window_size(WINDOW);
        if server.starts_with("https://") {
            endpoint = endpoint.tls_config(self.tls()?).map_err(failed)?;
        }
        endpoint.connect().await.map_err(failed)
    }

    fn tls(&self) -> Result<ClientTlsConfig, Ended> {
        let tls = &self.config.tls;
        let mut config = ClientTlsConfig::new();
        if let Some(path) = &tls.ca {
            config = config.ca_certificate(Certificate::from_pem(read(path)?));
        }
        if let Some((cert, key)) = &tls.identity {
            config = config.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        if let Some(name) = &tls.server_name {
            config = config.domain_name(name);
        }
        Ok(config)
    }
}

/// One of the two forms of the protocol.
trait Form<R>: Sized + Send + std::marker::Sync {
    const PATH: &'static str;
    fn respond(engine: &mut Engine, response: R) -> Output;
    fn of(request: Request) -> Option<Self>;
}

impl Form<DeltaResponse> for DeltaRequest {
    const PATH: &'static str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

    fn respond(engine: &mut Engine, response: DeltaResponse) -> Output {
        let kind = response.type_url.clone();
        count(&kind, engine.delta(response, Instant::now()))
    }

    fn of(request: Request) -> Option<Self> {
        match request {
            Request::Delta(request) => Some(request),
            Request::Sotw(_) => None,
        }
    }
}

impl Form<SotwResponse> for SotwRequest {
    const PATH: &'static str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

    fn respond(engine: &mut Engine, response: SotwResponse) -> Output {
        let kind = response.type_url.clone();
        count(&kind, engine.sotw(response, Instant::now()))
    }

    fn of(request: Request) -> Option<Self> {
        match request {
            Request::Sotw(request) => Some(request),
            Request::Delta(_) => None,
        }
    }
}

fn count(type_url: &str, output: Output) -> Output {
    let kind = telemetry::xds::label(type_url);
    counter!(telemetry::xds::RESPONSES, "type" => kind).increment(1);
    counter!(telemetry::xds::UNCHANGED, "type" => kind).increment(output.unchanged as u64);
    counter!(telemetry::xds::NACKS, "type" => kind).increment(u64::from(!output.rejected.is_empty()));
    gauge!(telemetry::xds::LAST_RESPONSE).set(telemetry::now());
    output
}

fn read(path: &Path) -> Result<Vec<u8>, Ended> {
    std::fs::read(path).map_err(|error| Ended::File { path: path.into(), reason: error.to_string() })
}

/// An error with its causes, as the first of them says only "transport error".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
