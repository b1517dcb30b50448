//! Where a load goes.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::args::Access;
use crate::client::Client;

/// A protocol of etcd's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// JSON over HTTP/1.1, as APISIX speaks it; each watch on a connection of its own
    Gateway,
    /// gRPC; many watches on a connection
    Grpc,
}

/// A server.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    host: String,
    /// What the server gave for a name and a password.
    pub(crate) token: Option<String>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.protocol, self.tls.is_some()) {
            (Protocol::Gateway, false) => "http",
            (Protocol::Gateway, true) => "https",
            (Protocol::Grpc, false) => "grpc",
            (Protocol::Grpc, true) => "grpcs",
        };
        write!(f, "{scheme}://{}", self.address)
    }
}

impl Target {
    /// A server on this machine, without TLS and users.
    pub(crate) fn local(address: SocketAddr, protocol: Protocol) -> Self {
        Self { address, protocol, tls: None, host: address.ip().to_string(), token: None }
    }

    /// The server that a URL names, reached as the flags say.
    pub(crate) fn open(url: &str, access: &Access) -> Result<Self> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (protocol, tls) = match scheme {
            "http" => (Protocol::Gateway, false),
            "https" => (Protocol::Gateway, true),
            "grpc" => (Protocol::Grpc, false),
            "grpcs" => (Protocol::Grpc, true),
            other => bail!("{other}:// is not known; use http, https, grpc or grpcs"),
        };
        let authority = rest.trim_end_matches('/');
        let authority = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:2379") };
        let address = authority.to_socket_addrs().with_context(|| format!("no address for {authority}"))?.next();
        let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host).to_owned();
        let mut target = Self {
            address: address.with_context(|| format!("no address for {authority}"))?,
            protocol,
            tls: if tls { Some(client_config(access, protocol)?) } else { None },
            host,
            token: None,
        };
        if let Some(user) = &access.user {
            let (name, password) = user.split_once(':').context("--user is NAME:PASSWORD")?;
            target.token = Some(Client::open(&target)?.authenticate(name, password)?);
        }
        Ok(target)
    }

    /// The name that the server's certificate has.
    pub(crate) fn name(&self) -> Result<ServerName<'static>> {
        Ok(ServerName::try_from(self.host.trim_matches(['[', ']']).to_owned())?)
    }
}

fn client_config(access: &Access, protocol: Protocol) -> Result<Arc<ClientConfig>> {
    let ca = access.ca.as_deref().context("TLS needs --ca, the certificates that the server's is signed by")?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(roots);
    let mut config = match (&access.cert, &access.key) {
        (Some(cert), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("--key {}", key.display()))?;
            config.with_client_auth_cert(certificates(cert)?, key)?
        }
        (None, None) => config.with_no_client_auth(),
        _ => bail!("--cert and --key go together"),
    };
    // APISIX negotiates nothing.
    if protocol == Protocol::Grpc {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.with_context(|| format!("no certificates in {}", path.display()))
}
