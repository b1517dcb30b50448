//! Certificates for tests, and connections under TLS.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::PATIENCE;
use super::http::Connection;

/// A certificate authority and what it has signed, as files.
pub struct Authority {
    pub issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signs");
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { issuer, dir }
    }

    /// Certificate and key in PEM.
    pub fn sign(&self, name: &str) -> (String, String) {
        self.sign_with(name, |_| {})
    }

    pub fn sign_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        change(&mut params);
        (params.signed_by(&key, &self.issuer).expect("signs").pem(), key.serialize_pem())
    }

    /// Writes `NAME.pem` and `NAME.key`, for this DNS name or address and common name.
    pub fn issue(&self, file: &str, name: &str) {
        let (certificate, key) =
            self.sign_with(name, |params| params.distinguished_name.push(DnType::CommonName, file));
        fs::write(self.path(&format!("{file}.pem")), certificate).expect("written");
        fs::write(self.path(&format!("{file}.key")), key).expect("written");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

/// How a client comes.
pub struct Client<'a> {
    pub authority: &'a Authority,
    /// The name that it asks for; none for no SNI at all.
    pub name: Option<&'a str>,
    pub alpn: &'a [&'a [u8]],
    pub versions: &'static [&'static SupportedProtocolVersion],
    /// Its certificate, by the name of the files.
    pub certificate: Option<&'a str>,
}

impl<'a> Client<'a> {
    pub fn of(authority: &'a Authority) -> Self {
        Self { authority, name: None, alpn: &[], versions: ALL_VERSIONS, certificate: None }
    }

    /// Connects. An error of the handshake comes out here.
    pub fn connect(&self, address: SocketAddr) -> std::io::Result<Secure> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.authority.path("ca.pem")).expect("PEM")).expect("a certificate");
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(self.versions)
            .expect("they fit")
            .with_root_certificates(roots);
        let mut config = match self.certificate {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let chain = CertificateDer::from_pem_file(self.authority.path(&format!("{name}.pem"))).expect("PEM");
                let key = PrivateKeyDer::from_pem_file(self.authority.path(&format!("{name}.key"))).expect("PEM");
                builder.with_client_auth_cert(vec![chain], key).expect("they fit")
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.to_vec()).collect();
        // An address is not sent as SNI.
        let name = self
            .name
            .map_or(ServerName::from(address.ip()), |name| ServerName::try_from(name.to_owned()).expect("a name"));
        let mut session = ClientConnection::new(Arc::new(config), name).expect("a session");
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        let (version, alpn) = (session.protocol_version(), session.alpn_protocol().map(<[u8]>::to_vec));
        let certificate = session.peer_certificates().map(|chain| chain[0].to_vec()).unwrap_or_default();
        let kept = socket.try_clone()?;
        let connection = Connection::over(Box::new(StreamOwned::new(session, socket)), kept);
        Ok(Secure { connection, version, alpn, certificate })
    }
}

/// A connection under TLS, and what was negotiated.
pub struct Secure {
    pub connection: Connection,
    pub version: Option<ProtocolVersion>,
    pub alpn: Option<Vec<u8>>,
    /// What the server has shown.
    pub certificate: Vec<u8>,
}
