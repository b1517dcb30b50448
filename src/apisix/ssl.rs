//! `/ssls/<id>`: certificates that APISIX presents to clients or to backends.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// A certificate with its key.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ssl {
    /// The id, as in the key.
    pub id: String,
    /// Lead back to the source.
    pub labels: BTreeMap<&'static str, String>,
    /// `server` for clients, `client` for backends.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The one name `*`, which stands for every name; APISIX reads it only here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<&'static str>,
    /// Names in the handshake for which it is presented: exact, or one label behind `*.`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub snis: Vec<String>,
    /// Certificate chain in PEM.
    pub cert: String,
    /// Private key in PEM.
    pub key: String,
    /// Further certificate chains, of other kinds of keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certs: Vec<String>,
    /// Their keys, as many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// What clients must present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientCheck>,
    /// Versions of TLS, such as `TLSv1.3`; none for those of the instance.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ssl_protocols: Vec<&'static str>,
}

/// What clients must present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientCheck {
    /// Certificates in PEM by which theirs must be signed.
    pub ca: String,
    /// Most certificates in between.
    pub depth: u32,
}

impl Ssl {
    /// A certificate for backends.
    pub fn client(id: String, labels: BTreeMap<&'static str, String>, cert: String, key: String) -> Self {
        Self { id, labels, kind: "client", cert, key, ..Self::default() }
    }
}

impl fmt::Debug for Ssl {
    /// Without keys, which have no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ssl").field("id", &self.id).field("snis", &self.snis).finish_non_exhaustive()
    }
}
