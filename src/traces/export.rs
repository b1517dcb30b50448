//! Spans of OpenTelemetry, given to a collector by OTLP over gRPC.
//!
//! A journey becomes spans when it is over, with the times that it had. The SDK sends them from a thread of its own, and
//! drops what a collector that is away or slow does not take.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue, StringValue, Value};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tokio::time::Instant;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use super::follow::{Delivered, Journey};
use super::{Change, Written};
use crate::config::traces::TracesConfig;
use crate::store::Revision;

/// How long the collector is waited for when the server stops.
const CLOSE: Duration = Duration::from_secs(2);

/// Why traces cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The endpoint is none, or its certificates are not.
    #[error("the collector at {endpoint}: {source}")]
    Endpoint {
        /// The URL.
        endpoint: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The file with the certificates cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The exporter cannot be made, as by a variable of its own that it does not understand.
    #[error("the exporter of traces: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// What spans are given to.
#[derive(Debug)]
pub(super) struct Exporter {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// The same moment, as changes are timed and as spans are.
    clock: (Instant, SystemTime),
}

/// Makes an exporter. Connects when there is something to be sent.
pub(super) fn open(config: &TracesConfig) -> Result<Exporter, OpenError> {
    let failed = |source| OpenError::Endpoint { endpoint: config.endpoint.clone(), source };
    let mut endpoint = Endpoint::from_shared(config.endpoint.clone())
        .map_err(failed)?
        .user_agent(concat!("confcast/", env!("CARGO_PKG_VERSION")))
        .map_err(failed)?;
    if let Some(path) = &config.ca {
        let file = |source| OpenError::File { path: path.display().to_string(), source };
        let certificate = Certificate::from_pem(std::fs::read(path).map_err(file)?);
        endpoint = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(certificate)).map_err(failed)?;
    }
    let exporter = SpanExporter::builder().with_tonic().with_channel(endpoint.connect_lazy()).build()?;
    // With what OTEL_RESOURCE_ATTRIBUTES says.
    let mut resource = Resource::builder()
        .with_service_name(config.service.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if let Some(instance) = &config.instance {
        resource = resource.with_attribute(KeyValue::new("service.instance.id", instance.clone()));
    }
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        // Those that come here are the sample.
        .with_sampler(Sampler::AlwaysOn)
        .build();
    let tracer = provider.tracer("confcast");
    Ok(Exporter { provider, tracer, clock: (Instant::now(), SystemTime::now()) })
}

impl Exporter {
    /// Makes spans of a journey that is over.
    pub(super) fn export(&self, journey: &Journey) {
        let Journey { change, delivered, .. } = journey;
        let is_push = change.translated.is_some();
        let root = self
            .tracer
            .span_builder(if is_push { "confcast.push" } else { "confcast.mirror" })
            .with_kind(SpanKind::Consumer)
            .with_start_time(self.time(change.push.first.at))
            .with_attributes(source(change))
            .start_with_context(&self.tracer, &Context::new());
        let root = Context::new().with_span(root);
        if let Some(translated) = change.translated {
            let received = vec![
                KeyValue::new("confcast.messages", number(change.push.messages)),
                KeyValue::new("confcast.resources", number(change.push.changes)),
            ];
            self.span(&root, "receive", (change.push.first.at, change.push.last), received);
            self.span(&root, "translate", (translated.began, translated.ended), Vec::new());
        }
        let committed = (change.committed.began, change.committed.ended);
        match change.written {
            Written::Nothing => {}
            Written::Wanted => drop(self.span(&root, "hand to publisher", committed, Vec::new())),
            Written::Store(first, last) => {
                drop(self.span(&root, "commit", committed, self::committed(journey, first, last)));
            }
        }
        let end = match delivered {
            Some(delivered) => self.deliver(&root, change.committed.ended, delivered),
            None => change.committed.ended,
        };
        root.span().end_with_timestamp(self.time(end));
    }

    /// Tells how a change came to its watchers, and until when.
    fn deliver(&self, root: &Context, committed: Instant, delivered: &Delivered) -> Instant {
        let mut attributes = vec![KeyValue::new("confcast.watchers", number(delivered.watchers))];
        let end = match (delivered.last, delivered.behind) {
            (Some(last), _) => last,
            (None, Some((behind, gave_up))) => {
                attributes.push(KeyValue::new("confcast.watchers.behind", number(behind)));
                gave_up
            }
            (None, None) => committed,
        };
        let all = self.span(root, "deliver", (committed, end), attributes);
        if let Some(first) = delivered.first {
            self.span(&all, "first delivery", (committed, first), Vec::new());
        }
        if delivered.behind.is_some() {
            root.span().set_status(Status::error("some watchers have not got it"));
        }
        end
    }

    /// A span that is over.
    fn span(
        &self,
        parent: &Context,
        name: &'static str,
        (began, ended): (Instant, Instant),
        attributes: Vec<KeyValue>,
    ) -> Context {
        let span = self
            .tracer
            .span_builder(name)
            .with_start_time(self.time(began))
            .with_attributes(attributes)
            .start_with_context(&self.tracer, parent);
        let context = parent.with_span(span);
        context.span().end_with_timestamp(self.time(ended));
        context
    }

    /// Sends what is left.
    pub(super) fn close(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(CLOSE) {
            tracing::warn!(%error, "the last traces were not exported");
        }
    }

    fn time(&self, at: Instant) -> SystemTime {
        let (instant, time) = self.clock;
        match at.checked_duration_since(instant) {
            Some(since) => time + since,
            None => time - (instant - at),
        }
    }
}

/// Where a change is from.
fn source(change: &Change) -> Vec<KeyValue> {
    let first = &change.push.first;
    let mut attributes = vec![KeyValue::new("confcast.source", Value::String(StringValue::from(first.from.clone())))];
    if first.connection > 0 {
        attributes.push(KeyValue::new("confcast.connection", i64::try_from(first.connection).unwrap_or(i64::MAX)));
    }
    if change.written == Written::Nothing {
        attributes.push(KeyValue::new("confcast.unchanged", true));
    }
    attributes
}

/// What was committed.
fn committed(journey: &Journey, first: Revision, last: Revision) -> Vec<KeyValue> {
    let keys: Vec<StringValue> = journey.keys.iter().map(|key| key.clone().into()).collect();
    let mut attributes = vec![
        KeyValue::new("confcast.revision", last.0),
        KeyValue::new("confcast.events", number(journey.events)),
        KeyValue::new("confcast.keys", Value::Array(keys.into())),
    ];
    if first < last {
        attributes.push(KeyValue::new("confcast.revision.first", first.0));
    }
    attributes
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
