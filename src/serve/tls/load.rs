//! Certificates and keys, from files to what rustls needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::server::{
    ClientHello, ParsedCertificate, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier,
};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};
use xxhash_rust::xxh3::Xxh3;

use super::Use;
use crate::config::tls::{ClientCertificates, Tls};
use crate::telemetry;

/// Seconds before the end of a certificate from which on the log warns.
const SOON: i64 = 7 * 24 * 3600;

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file has not what it should have.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no certificate to show.
    #[error("no certificate to show to clients")]
    Missing,
    /// The whole does not fit together.
    #[error("TLS: {0}")]
    Settings(#[from] Error),
    /// Clients' certificates cannot be checked.
    #[error("certificates of clients cannot be checked: {0}")]
    Clients(#[from] VerifierBuilderError),
}

/// Certificates as they were read.
#[derive(Debug)]
pub(super) struct Loaded {
    config: Arc<ServerConfig>,
    digest: u128,
    /// When the certificate that ends first does so, in seconds since the epoch.
    expires: i64,
}

impl Loaded {
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Differs when any of the files does.
    pub(super) fn digest(&self) -> u128 {
        self.digest
    }

    /// Tells log and metrics until when it lasts.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    pub(super) fn tell(&self, port: Use) {
        metrics::gauge!(telemetry::serve::TLS_EXPIRY, "port" => port.name()).set(self.expires as f64);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let left = self.expires - i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if left <= 0 {
            tracing::error!(port = port.name(), "the certificate has expired");
        } else if left < SOON {
            tracing::warn!(port = port.name(), hours = left / 3600, "the certificate expires soon");
        }
    }
}

/// Reads all files.
pub(super) fn load(settings: &Tls, port: Use) -> Result<Loaded, TlsError> {
    let provider = Arc::new(default_provider());
    let mut digest = Xxh3::new();
    let mut expires = i64::MAX;
    let mut keys = Vec::new();
    for (certificate, key) in &settings.certificates {
        let chain = certificates(certificate, &mut digest)?;
        expires = expires.min(end(certificate, &chain)?);
        let private = private_key(key, &mut digest)?;
        let pair = CertifiedKey::from_der(chain, private, &provider);
        keys.push(Arc::new(pair.map_err(|error| content(key, &error))?));
    }
    if keys.is_empty() {
        return Err(TlsError::Missing);
    }
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier({
            let roots = roots(path, &mut digest)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            match settings.client_certificates {
                ClientCertificates::Required => verifier.build()?,
                ClientCertificates::Optional => verifier.allow_unauthenticated().build()?,
            }
        }),
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName(keys)));
    config.alpn_protocols = port.alpn().iter().map(|name| name.to_vec()).collect();
    Ok(Loaded { config: Arc::new(config), digest: digest.digest128(), expires })
}

fn read(path: &Path, digest: &mut Xxh3) -> Result<Vec<u8>, TlsError> {
    let text = std::fs::read(path).map_err(|source| TlsError::File { path: path.into(), source })?;
    digest.update(&text);
    // Whatever moves from one file to the other makes a difference as well.
    digest.update(&text.len().to_le_bytes());
    Ok(text)
}

fn content(path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::Content { path: path.into(), reason: reason.to_string() }
}

fn certificates(path: &Path, digest: &mut Xxh3) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path, digest)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| content(path, &error))?;
    if chain.is_empty() {
        return Err(content(path, &"has no certificate in PEM"));
    }
    Ok(chain)
}

fn private_key(path: &Path, digest: &mut Xxh3) -> Result<PrivateKeyDer<'static>, TlsError> {
    // What is wrong is told by kind alone, so that nothing of a key gets into a log.
    PrivateKeyDer::from_pem_slice(&read(path, digest)?).map_err(|_| content(path, &"has no private key in PEM"))
}

fn roots(path: &Path, digest: &mut Xxh3) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, digest)? {
        roots.add(certificate).map_err(|error| content(path, &error))?;
    }
    Ok(roots)
}

/// When the first certificate of a chain ends, in seconds since the epoch.
fn end(path: &Path, chain: &[CertificateDer<'_>]) -> Result<i64, TlsError> {
    let first = chain.first().ok_or_else(|| content(path, &"has no certificate in PEM"))?;
    let (_, first) = X509Certificate::from_der(first).map_err(|error| content(path, &error))?;
    Ok(first.validity().not_after.timestamp())
}

/// Chooses the first certificate that is for the name that the client asks for, or else the first of all: half of
/// APISIX's connections name none.
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = name.filter(|_| self.0.len() > 1).and_then(|name| self.0.iter().find(|key| is_for(key, &name)));
        named.or(self.0.first()).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    certificate.is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}
