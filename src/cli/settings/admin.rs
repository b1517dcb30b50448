//! The admin port.

use std::path::PathBuf;

use super::{SettingsError, wrong};
use crate::config::admin::{AdminAccess, MIN_TOKEN, token};
use crate::config::tls::{ClientCertificates, Tls};
use crate::serve::tls::Acceptor;

/// Checks the settings and the file that they name.
pub(super) fn resolve(token_file: Option<PathBuf>, debug: bool) -> Result<AdminAccess, SettingsError> {
    if let Some(path) = &token_file {
        let setting = format!("--admin-token-file {}", path.display());
        if token(path).map_err(|error| wrong(&setting, error))?.len() < MIN_TOKEN {
            let reason = format!("needs {MIN_TOKEN} characters; make them with: head -c 32 /dev/urandom | base64");
            return Err(wrong(&setting, reason));
        }
    }
    Ok(AdminAccess { token_file, debug })
}

/// TLS on the port, with the files that it needs.
pub(super) fn tls(
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
) -> Result<Option<Tls>, SettingsError> {
    let pair = match (cert, key) {
        (Some(cert), Some(key)) => (cert, key),
        (Some(_), None) => return Err(wrong("--admin-tls-cert", "needs --admin-tls-key as well")),
        (None, Some(_)) => return Err(wrong("--admin-tls-key", "needs --admin-tls-cert as well")),
        (None, None) if client_ca.is_some() => {
            return Err(wrong("--admin-client-ca", "needs --admin-tls-cert and --admin-tls-key as well"));
        }
        (None, None) => return Ok(None),
    };
    // Probes have none. What needs one is decided by the port.
    let client_certificates = ClientCertificates::Optional;
    let tls = Tls { certificates: vec![pair], client_ca, client_certificates, ..Tls::default() };
    Acceptor::check(&tls).map_err(|error| wrong("--admin-tls-cert, --admin-tls-key, --admin-client-ca", error))?;
    Ok(Some(tls))
}
