//! TLS of listeners: certificates for clients, and what clients must present.

use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::config::listener::v3::FilterChain;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::DownstreamTlsContext;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::TlsParameters;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;

use super::super::report::Notes;
use super::super::secret::{Authority, Pair};
use super::super::tls::{self, Given};
use crate::envoy::any;

/// What a chain presents to clients, and asks of them.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::translate) struct Downstream {
    /// Names in the handshake; none for every name.
    pub(in crate::translate) names: Vec<String>,
    pub(in crate::translate) certificates: Vec<Given<Pair>>,
    /// By what clients' certificates are checked, if they must have one.
    pub(in crate::translate) client: Option<(Authority, Option<Given<Authority>>)>,
    pub(in crate::translate) protocols: Vec<&'static str>,
}

/// What a chain presents; none in plain text. An error if nothing can be served by the chain.
pub(super) fn take(chain: &FilterChain, notes: &mut Notes) -> Result<Option<Downstream>, ()> {
    let Some(socket) = &chain.transport_socket else { return Ok(None) };
    let Some(ConfigType::TypedConfig(config)) = &socket.config_type else { return Ok(None) };
    let name = any::type_of(config);
    if name.ends_with(".RawBuffer") {
        return Ok(None);
    }
    let Some(context) = any::unpack::<DownstreamTlsContext>(config) else {
        let reason = format!("connections in the form of {name}");
        notes.not_expressible("filter_chains.transport_socket", &reason, "nothing is served for the chain");
        return Err(());
    };
    let common = context.common_tls_context.unwrap_or_default();
    let authority = tls::authority(&common);
    let required = context.require_client_certificate.is_some_and(|required| required.value);
    if !required && authority.is_some() {
        let reason = "APISIX asks every client for a certificate, or none";
        let effect = "no client is asked, and certificates are not checked";
        notes.not_expressible("filter_chains.transport_socket.require_client_certificate", reason, effect);
    }
    let names = chain.filter_chain_match.as_ref().map(|found| found.server_names.clone()).unwrap_or_default();
    if names.iter().any(|name| name.starts_with("*.")) {
        let reason = "a star stands for one label in APISIX";
        notes.approximate("filter_chain_match.server_names", reason, "names with more labels get no certificate");
    }
    Ok(Some(Downstream {
        names,
        certificates: tls::certificates(&common),
        client: if required { Some(authority.unwrap_or_default()) } else { None },
        protocols: common.tls_params.as_ref().map(|params| protocols(params, notes)).unwrap_or_default(),
    }))
}

/// The versions between the lowest and the highest; none if nothing is said.
fn protocols(params: &TlsParameters, notes: &mut Notes) -> Vec<&'static str> {
    if !params.cipher_suites.is_empty() || !params.ecdh_curves.is_empty() || !params.signature_algorithms.is_empty() {
        let reason = "APISIX has ciphers and curves for all of an instance";
        notes.approximate("tls_params", reason, "those of the instance");
    }
    let (lowest, highest) = (params.tls_minimum_protocol_version(), params.tls_maximum_protocol_version());
    if lowest == TlsProtocol::TlsAuto && highest == TlsProtocol::TlsAuto {
        return Vec::new();
    }
    let lowest = if lowest == TlsProtocol::TlsAuto { TlsProtocol::TlSv12 } else { lowest };
    let highest = if highest == TlsProtocol::TlsAuto { TlsProtocol::TlSv13 } else { highest };
    let all = [(TlsProtocol::TlSv11, "TLSv1.1"), (TlsProtocol::TlSv12, "TLSv1.2"), (TlsProtocol::TlSv13, "TLSv1.3")];
    all.into_iter().filter(|(version, _)| (lowest..=highest).contains(version)).map(|(_, name)| name).collect()
}
