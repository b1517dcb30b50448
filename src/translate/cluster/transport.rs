//! Transport sockets: plain text or TLS, and what is presented.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::TransportSocket;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::UpstreamTlsContext;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;

use super::super::endpoints::{self, Endpoints, Labels};
use super::super::report::Notes;
use super::super::secret::Pair;
use super::super::tls::{self, Given};
use crate::envoy::any;

/// How a cluster's endpoints are spoken to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Transport {
    otherwise: Socket,
    /// Sockets for endpoints with these labels, the first that fits.
    by_labels: Vec<(Labels, Socket)>,
}

/// A transport socket in the terms of APISIX.
#[derive(Clone, Debug, PartialEq)]
enum Socket {
    Plain,
    Tls(Option<Given<Pair>>),
    /// One that has no equal, with why.
    Other(String),
}

impl Transport {
    /// Whether endpoints without labels are spoken to in TLS.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self.otherwise, Socket::Tls(_))
    }

    /// Why no endpoint can be spoken to.
    pub(super) fn refusal(&self) -> Option<&str> {
        match &self.otherwise {
            Socket::Other(reason) if self.by_labels.is_empty() => Some(reason),
            Socket::Other(_) | Socket::Plain | Socket::Tls(_) => None,
        }
    }

    /// What is presented to endpoints, by whichever socket presents something.
    pub(super) fn client_certificate(&self) -> Option<&Given<Pair>> {
        let sockets = std::iter::once(&self.otherwise).chain(self.by_labels.iter().map(|(_, socket)| socket));
        sockets.into_iter().find_map(|socket| match socket {
            Socket::Tls(certificate) => certificate.as_ref(),
            Socket::Plain | Socket::Other(_) => None,
        })
    }

    /// Whether these endpoints are spoken to in TLS; none if not all alike, or in a way that has no equal.
    pub(super) fn tls(&self, endpoints: &Endpoints) -> Option<bool> {
        if self.by_labels.is_empty() {
            return Some(self.is_tls());
        }
        let mut sockets = endpoints.labels().map(|labels| self.socket(labels));
        let Some(first) = sockets.next() else { return Some(self.is_tls()) };
        let all_alike = sockets.all(|other| other == first);
        match first {
            Socket::Plain if all_alike => Some(false),
            Socket::Tls(_) if all_alike => Some(true),
            Socket::Plain | Socket::Tls(_) | Socket::Other(_) => None,
        }
    }

    fn socket(&self, labels: &Labels) -> &Socket {
        let fits = |wanted: &Labels| wanted.iter().all(|(name, value)| labels.get(name) == Some(value));
        self.by_labels.iter().find(|(wanted, _)| fits(wanted)).map_or(&self.otherwise, |(_, socket)| socket)
    }
}

/// The transport of a cluster.
pub(super) fn take(cluster: &Cluster, options: Option<&HttpProtocolOptions>, notes: &mut Notes) -> Transport {
    let auto_sni = options
        .is_some_and(|options| options.upstream_http_protocol_options.as_ref().is_some_and(|options| options.auto_sni));
    let mut take = |socket: &TransportSocket| socket_of(socket, auto_sni, notes);
    let otherwise = cluster.transport_socket.as_ref().map_or(Socket::Plain, &mut take);
    let by_labels = cluster.transport_socket_matches.iter().map(|found| {
        let labels = found.r#match.as_ref().map(endpoints::labels_of).unwrap_or_default();
        (labels, found.transport_socket.as_ref().map_or(Socket::Plain, &mut take))
    });
    let by_labels: Vec<(BTreeMap<_, _>, _)> = by_labels.collect();
    Transport { otherwise, by_labels }
}

fn socket_of(socket: &TransportSocket, auto_sni: bool, notes: &mut Notes) -> Socket {
    let Some(ConfigType::TypedConfig(config)) = &socket.config_type else {
        return if socket.name.contains("tls") { Socket::Tls(None) } else { Socket::Plain };
    };
    let name = any::type_of(config);
    if name.ends_with(".RawBuffer") {
        return Socket::Plain;
    }
    let Some(context) = any::unpack::<UpstreamTlsContext>(config) else {
        return Socket::Other(format!("connections in the form of {name}"));
    };
    let reason = "APISIX does not verify the certificates of backends";
    notes.approximate("transport_socket", reason, "TLS without verification");
    if !context.sni.is_empty() && !auto_sni {
        let reason = "APISIX names the host of the request in the handshake";
        notes.approximate("transport_socket.sni", reason, "the host of the request in place of what is given");
    }
    let common = context.common_tls_context.unwrap_or_default();
    let certificate = tls::certificates(&common).into_iter().next();
    if let Some(Given::Elsewhere(reason)) = &certificate {
        let effect = "no certificate is presented to backends";
        notes.not_expressible("transport_socket.tls_certificates", reason, effect);
        return Socket::Tls(None);
    }
    Socket::Tls(certificate)
}
