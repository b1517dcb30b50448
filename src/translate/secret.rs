//! Secrets: certificates with their keys, and authorities that clients' certificates are checked by.

use std::fmt;

use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::certificate_validation_context::TrustChainVerification;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret as EnvoySecret, TlsCertificate,
};

/// A secret in the terms of APISIX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Secret {
    Certificate(Result<Pair, String>),
    Authority(Authority),
    /// One that nothing here needs.
    Other,
}

/// A certificate chain and its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) cert: String,
    pub(super) key: String,
}

impl fmt::Debug for Pair {
    /// Without the key, which has no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("cert", &self.cert.len()).finish_non_exhaustive()
    }
}

/// By what clients' certificates are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Authority {
    /// Certificates in PEM, or why there are none.
    pub(super) ca: Option<Result<String, String>>,
    /// Most certificates between the client's and the authority's.
    pub(super) depth: Option<u32>,
    /// Why fewer certificates are good than APISIX would take.
    pub(super) narrower: Option<&'static str>,
    /// Whether certificates of others are good as well.
    pub(super) untrusted: bool,
}

/// Takes a secret apart.
pub(super) fn take(secret: &EnvoySecret) -> Secret {
    match &secret.r#type {
        Some(Type::TlsCertificate(certificate)) => Secret::Certificate(pair(certificate)),
        Some(Type::ValidationContext(context)) => Secret::Authority(authority(context)),
        Some(Type::SessionTicketKeys(_) | Type::GenericSecret(_)) | None => Secret::Other,
    }
}

/// A certificate and its key, or why they are not at hand.
pub(super) fn pair(certificate: &TlsCertificate) -> Result<Pair, String> {
    if certificate.private_key_provider.is_some() || certificate.pkcs12.is_some() {
        return Err("a private key that is kept by an extension or as PKCS #12".into());
    }
    if certificate.password.is_some() {
        return Err("a private key with a password".into());
    }
    let cert = text("certificate_chain", certificate.certificate_chain.as_ref())?;
    let key = text("private_key", certificate.private_key.as_ref())?;
    Ok(Pair { cert, key })
}

/// What a validation context says of clients' certificates.
pub(super) fn authority(context: &CertificateValidationContext) -> Authority {
    #[expect(deprecated, reason = "control planes still send it")]
    let names = !context.match_typed_subject_alt_names.is_empty() || !context.match_subject_alt_names.is_empty();
    let pins = !context.verify_certificate_spki.is_empty() || !context.verify_certificate_hash.is_empty();
    let narrower = [
        (names, "only some names in clients' certificates are good"),
        (pins, "only some clients' certificates are good"),
        (context.crl.is_some(), "some clients' certificates are revoked"),
        (context.custom_validator_config.is_some(), "clients' certificates are checked by an extension"),
    ];
    let narrower = narrower.into_iter().find_map(|(is, reason)| is.then_some(reason));
    let elsewhere = context.ca_certificate_provider_instance.is_some() || context.system_root_certs.is_some();
    let ca = match context.trusted_ca.as_ref() {
        None if elsewhere => Some(Err("authorities that Envoy has of its own".into())),
        None => None,
        Some(source) => Some(text("trusted_ca", Some(source))),
    };
    Authority {
        ca,
        depth: context.max_verify_depth.map(|depth| depth.value),
        narrower,
        untrusted: context.trust_chain_verification() == TrustChainVerification::AcceptUntrusted,
    }
}

/// The text of a source that has it.
fn text(field: &str, source: Option<&DataSource>) -> Result<String, String> {
    let bytes = match source.and_then(|source| source.specifier.as_ref()) {
        Some(Specifier::InlineString(text)) => text.as_bytes().to_vec(),
        Some(Specifier::InlineBytes(bytes)) => bytes.clone(),
        Some(Specifier::Filename(_)) => return Err(format!("{field} is a file beside Envoy")),
        Some(Specifier::EnvironmentVariable(_)) => return Err(format!("{field} is a variable of Envoy")),
        None => return Err(format!("no {field}")),
    };
    let text = String::from_utf8(bytes).map_err(|_| format!("{field} is not text"))?;
    if text.is_empty() { Err(format!("{field} is empty")) } else { Ok(text) }
}
