//! TLS contexts: what both sides of a connection present and check.

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::CommonTlsContext;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;

use super::secret::{self, Authority, Pair};
use crate::envoy::references;

/// Something that a context has or refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given<T> {
    /// It is part of the context.
    Inline(T),
    /// The secret of this name.
    Secret(String),
    /// It is nowhere at hand, with the reason.
    Elsewhere(String),
}

/// The certificates that a context presents.
pub(super) fn certificates(context: &CommonTlsContext) -> Vec<Given<Pair>> {
    let inline = context.tls_certificates.iter().map(|certificate| match secret::pair(certificate) {
        Ok(pair) => Given::Inline(pair),
        Err(reason) => Given::Elsewhere(reason),
    });
    let secrets = context.tls_certificate_sds_secret_configs.iter();
    let secrets = secrets.map(|config| match references::secret(config) {
        Some(name) => Given::Secret(name.to_owned()),
        None => Given::Elsewhere(format!("the secret {} comes from another source than this stream", config.name)),
    });
    #[expect(deprecated, reason = "control planes may still send it")]
    let instances = [
        context.tls_certificate_provider_instance.is_some(),
        context.tls_certificate_certificate_provider.is_some(),
        context.tls_certificate_certificate_provider_instance.is_some(),
        context.custom_tls_certificate_selector.is_some(),
    ];
    let elsewhere = instances.contains(&true).then(|| Given::Elsewhere("certificates from an extension".into()));
    inline.chain(secrets).chain(elsewhere).collect()
}

/// By what a context checks certificates. The first part of a pair is what is given with the context in any case.
pub(super) fn authority(context: &CommonTlsContext) -> Option<(Authority, Option<Given<Authority>>)> {
    #[expect(deprecated, reason = "control planes may still send them")]
    let given = match context.validation_context_type.as_ref()? {
        ValidationContextType::ValidationContext(context) => (secret::authority(context), None),
        ValidationContextType::ValidationContextSdsSecretConfig(config) => {
            (Authority::default(), Some(of_secret(config)))
        }
        ValidationContextType::CombinedValidationContext(combined) => {
            let inline = combined.default_validation_context.as_ref().map(secret::authority).unwrap_or_default();
            let secret = combined.validation_context_sds_secret_config.as_ref().map(of_secret);
            (inline, secret)
        }
        ValidationContextType::ValidationContextCertificateProvider(_)
        | ValidationContextType::ValidationContextCertificateProviderInstance(_) => {
            (Authority::default(), Some(Given::Elsewhere("authorities from an extension".into())))
        }
    };
    Some(given)
}

fn of_secret(
    config: &envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::SdsSecretConfig,
) -> Given<Authority> {
    match references::secret(config) {
        Some(name) => Given::Secret(name.to_owned()),
        None => Given::Elsewhere(format!("the secret {} comes from another source than this stream", config.name)),
    }
}
