//! Settings of the connection to a control plane.

use std::path::PathBuf;

/// How to reach a control plane, and as whom.
#[derive(Clone, Debug)]
pub struct XdsConfig {
    /// URLs of the control plane, `http://` or `https://`, tried in turn.
    pub servers: Vec<String>,
    /// Who this client says it is.
    pub node: Node,
    /// Which of the two protocols is spoken.
    pub protocol: Protocol,
    /// Certificates, for `https://` servers.
    pub tls: Tls,
    /// File with a token that goes with every stream, as `authorization`. Read anew for each.
    pub token_file: Option<PathBuf>,
    /// What stands before the token.
    pub token_scheme: TokenScheme,
}

/// What stands before a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenScheme {
    /// `Bearer`, as for Istio and most others.
    #[default]
    Bearer,
    /// Nothing, as for Kuma.
    None,
}

/// The identity by which a control plane chooses what to send.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// The id. Istio wants `router~IP~NAME.NAMESPACE~NAMESPACE.svc.cluster.local`, Kuma `MESH.NAME`.
    pub id: String,
    /// The cluster, which some control planes choose by.
    pub cluster: String,
    /// More about the client, such as Istio's `NAMESPACE` and `LABELS`.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// The two protocols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Delta, and the other if the server does not have it.
    #[default]
    Auto,
    /// Only what changed is sent.
    Delta,
    /// The state of the world is sent with each change.
    Sotw,
}

/// Certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// File with the certificates that the server's is signed by.
    pub ca: Option<PathBuf>,
    /// Files with the certificate and the key of this client.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in the server's certificate, if it is not that of the URL.
    pub server_name: Option<String>,
}
