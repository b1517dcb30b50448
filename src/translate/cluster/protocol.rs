//! Protocols and connections: HTTP versions, connections that are kept.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::UpstreamProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;

use super::super::action::seconds;
use super::super::report::Notes;
use crate::apisix::upstream::KeepalivePool;
use crate::envoy::any;

/// Name under which a cluster's options for HTTP are kept.
const HTTP: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The options for HTTP.
pub(super) fn options(cluster: &Cluster) -> Option<HttpProtocolOptions> {
    any::unpack(cluster.typed_extension_protocol_options.get(HTTP)?)
}

/// Whether endpoints are spoken to in HTTP/2, which APISIX does for gRPC alone.
pub(super) fn http2(cluster: &Cluster, options: Option<&HttpProtocolOptions>, notes: &mut Notes) -> bool {
    #[expect(deprecated, reason = "control planes still send it")]
    let old = cluster.http2_protocol_options.is_some();
    let http2 = match options.and_then(|options| options.upstream_protocol_options.as_ref()) {
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(config)) => match &config.protocol_config {
            Some(ProtocolConfig::Http2ProtocolOptions(_)) => true,
            Some(ProtocolConfig::Http3ProtocolOptions(_)) => {
                notes.not_expressible("http3_protocol_options", "APISIX speaks no HTTP/3 to backends", "HTTP/1.1");
                false
            }
            Some(ProtocolConfig::HttpProtocolOptions(_)) | None => false,
        },
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(config)) => {
            if config.http2_protocol_options.is_some() {
                let reason = "APISIX does not speak to backends as the client spoke to it";
                notes.approximate("use_downstream_protocol_config", reason, "HTTP/1.1");
            }
            false
        }
        Some(UpstreamProtocolOptions::AutoConfig(_)) => {
            notes.approximate("auto_config", "APISIX does not ask backends for their protocols", "HTTP/1.1");
            false
        }
        None => old,
    };
    if http2 {
        let reason = "APISIX speaks HTTP/2 to backends as gRPC alone";
        notes.approximate("http2_protocol_options", reason, "the scheme grpc or grpcs, for other requests too");
    }
    http2
}

/// Connections that are kept.
pub(super) fn keepalive(cluster: &Cluster, options: Option<&HttpProtocolOptions>) -> Option<KeepalivePool> {
    #[expect(deprecated, reason = "control planes still send them")]
    let (old_requests, old_common) =
        (cluster.max_requests_per_connection, cluster.common_http_protocol_options.as_ref());
    let common = options.and_then(|options| options.common_http_protocol_options.as_ref()).or(old_common);
    let requests = common.and_then(|common| common.max_requests_per_connection).or(old_requests);
    let requests = requests.map(|requests| requests.value).filter(|requests| *requests > 0);
    // None at all, which Envoy writes as zero, is APISIX's own choice of a time.
    let idle = common.and_then(|common| common.idle_timeout.as_ref()).map(seconds).filter(|time| *time > 0.0);
    (requests.is_some() || idle.is_some()).then_some(KeepalivePool { requests, idle_timeout: idle })
}

/// Notes settings without an equal.
pub(super) fn note_others(cluster: &Cluster, notes: &mut Notes) {
    if cluster.upstream_bind_config.is_some() {
        let reason = "APISIX does not choose the address that it connects from";
        notes.not_expressible("upstream_bind_config", reason, "the system chooses it");
    }
}
