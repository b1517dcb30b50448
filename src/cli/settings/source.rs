//! Settings of the source, checked.

use std::path::PathBuf;

use super::{SettingsError, upstream as etcd, wrong};
use crate::config::Source;
use crate::config::upstream::UpstreamConfig;
use crate::standalone::StandaloneConfig;
use crate::xds::config::{Node, Protocol, Tls, TokenScheme, XdsConfig};
use crate::xds::files::FilesConfig;

/// What concerns Envoy resources.
pub(super) struct Xds {
    pub(super) servers: Vec<String>,
    pub(super) files: Vec<PathBuf>,
    pub(super) protocol: Option<String>,
    pub(super) node_id: Option<String>,
    pub(super) node_cluster: Option<String>,
    pub(super) metadata: serde_json::Map<String, serde_json::Value>,
    pub(super) ca: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) server_name: Option<String>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) token_scheme: Option<String>,
}

/// The source that is meant.
pub(super) fn resolve(
    name: Option<&str>,
    xds: Xds,
    yaml: Option<PathBuf>,
    upstream: UpstreamConfig,
) -> Result<Source, SettingsError> {
    // What is given tells what is meant.
    let implied = match (xds.servers.is_empty(), xds.files.is_empty(), upstream.endpoints.is_empty()) {
        (false, ..) => "xds",
        (true, false, _) => "xds-file",
        (true, true, _) if yaml.is_some() => "apisix-yaml",
        (true, true, false) => "etcd",
        (true, true, true) => "none",
    };
    match name.unwrap_or(implied) {
        "none" => Ok(Source::None),
        "xds-file" if xds.files.is_empty() => {
            Err(wrong("--source xds-file", "needs --xds-file with a file or directory of Envoy resources"))
        }
        "xds-file" => Ok(Source::XdsFiles(FilesConfig::new(xds.files))),
        "xds" => connection(xds).map(|config| Source::Xds(Box::new(config))),
        "etcd" => etcd::check(&upstream).map(|()| Source::Etcd(Box::new(upstream))),
        "apisix-yaml" => {
            let path = yaml.ok_or_else(|| wrong("--source apisix-yaml", "needs --apisix-yaml with the file"))?;
            Ok(Source::ApisixYaml(StandaloneConfig::new(path)))
        }
        other => {
            Err(wrong("--source", format!("{other:?} is not known; use xds, xds-file, apisix-yaml, etcd or none")))
        }
    }
}

fn connection(xds: Xds) -> Result<XdsConfig, SettingsError> {
    if xds.servers.is_empty() {
        return Err(wrong("--source xds", "needs --xds-server, such as http://istiod.istio-system:15010"));
    }
    for server in &xds.servers {
        let uri: http::Uri = server.parse().map_err(|error| wrong(&format!("--xds-server {server}"), error))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(wrong(&format!("--xds-server {server}"), "use http://HOST:PORT, or https:// for TLS"));
        }
    }
    let id = xds.node_id.filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| wrong("--xds-node-id", "the control plane needs an id; see confcast serve --help"))?;
    let protocol = match xds.protocol.as_deref() {
        None | Some("auto") => Protocol::Auto,
        Some("delta") => Protocol::Delta,
        Some("sotw") => Protocol::Sotw,
        Some(other) => return Err(wrong("--xds-protocol", format!("{other:?} is not known; use auto, delta or sotw"))),
    };
    let token_scheme = match xds.token_scheme.as_deref() {
        None | Some("bearer") => TokenScheme::Bearer,
        Some("none") => TokenScheme::None,
        Some(other) => return Err(wrong("--xds-token-scheme", format!("{other:?} is not known; use bearer or none"))),
    };
    let identity = match (xds.cert, xds.key) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some((cert, key)),
        (Some(_), None) => return Err(wrong("--xds-cert", "needs --xds-key as well")),
        (None, Some(_)) => return Err(wrong("--xds-key", "needs --xds-cert as well")),
    };
    for (flag, path) in [("--xds-ca", &xds.ca), ("--xds-token-file", &xds.token_file)]
        .into_iter()
        .chain([("--xds-cert", &identity.as_ref().map(|(cert, _)| cert.clone()))])
    {
        if let Some(path) = path
            && let Err(error) = std::fs::metadata(path)
        {
            return Err(wrong(flag, format!("{}: {error}", path.display())));
        }
    }
    let node = Node { id, cluster: xds.node_cluster.unwrap_or_default(), metadata: xds.metadata };
    let tls = Tls { ca: xds.ca, identity, server_name: xds.server_name };
    Ok(XdsConfig { servers: xds.servers, node, protocol, tls, token_file: xds.token_file, token_scheme })
}

pub(super) fn metadata(
    flag: Option<&str>,
    file: Option<toml::Table>,
) -> Result<serde_json::Map<String, serde_json::Value>, SettingsError> {
    match (flag, file) {
        (Some(text), _) => serde_json::from_str(text)
            .map_err(|error| wrong("--xds-node-metadata", format!("not a JSON object: {error}"))),
        (None, Some(table)) => serde_json::to_value(table)
            .and_then(serde_json::from_value)
            .map_err(|error| wrong("xds_node_metadata", error)),
        (None, None) => Ok(serde_json::Map::new()),
    }
}
