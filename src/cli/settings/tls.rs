//! TLS on the served port.

use super::{SettingsError, wrong};
use crate::cli::args::TlsArgs;
use crate::config::tls::{CertificateName, ClientCertificates, Tls};
use crate::serve::tls::Acceptor;

/// Checks the settings and the files that they name.
pub(super) fn resolve(args: TlsArgs) -> Result<Option<Tls>, SettingsError> {
    if args.tls_cert.len() != args.tls_key.len() {
        return Err(wrong("--tls-cert", "needs a --tls-key for each certificate, in the same order"));
    }
    let client_certificates = match args.client_cert.as_deref() {
        None | Some("required") => ClientCertificates::Required,
        Some("optional") => ClientCertificates::Optional,
        Some(other) => return Err(wrong("--client-cert", format!("{other:?} is not known; use required or optional"))),
    };
    let name = match args.client_cert_name.as_deref() {
        None | Some("common-name") => CertificateName::CommonName,
        Some("alternative-name") => CertificateName::AlternativeName,
        Some(other) => {
            let reason = format!("{other:?} is not known; use common-name or alternative-name");
            return Err(wrong("--client-cert-name", reason));
        }
    };
    if args.tls_cert.is_empty() {
        return match args.client_ca {
            Some(_) => Err(wrong("--client-ca", "needs --tls-cert and --tls-key as well")),
            None if args.tls_optional => Err(wrong("--tls-optional", "needs --tls-cert and --tls-key as well")),
            None => Ok(None),
        };
    }
    if args.client_ca.is_none() && args.client_cert.is_some() {
        return Err(wrong("--client-cert", "needs --client-ca with the certificates that clients' are signed by"));
    }
    let certificates = args.tls_cert.into_iter().zip(args.tls_key).collect();
    let tls = Tls { certificates, client_ca: args.client_ca, client_certificates, name, clear_text: args.tls_optional };
    Acceptor::check(&tls).map_err(|error| wrong("--tls-cert, --tls-key, --client-ca", error))?;
    Ok(Some(tls))
}
