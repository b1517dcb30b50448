//! Settings of a server, checked and typed.

pub mod admin;
pub mod limits;
pub mod live;
pub mod memory;
mod publish;
pub mod tls;
pub mod traces;
pub mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;

use crate::serve::Times;
use crate::standalone::StandaloneConfig;
use crate::store::Retention;
use crate::telemetry::log::LogFilter;
use crate::translate;
use crate::view::{Guard, Pace};
use crate::xds::files::FilesConfig;
pub use publish::PublishConfig;

/// Everything that a server is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect. Default 127.0.0.1:2379; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where operators and their tools connect. Default 127.0.0.1:9379; none for no such port.
    pub admin_listen: Option<SocketAddr>,
    /// Who may do more there than look. Default those on the same machine.
    pub admin: admin::AdminAccess,
    /// TLS there. Default none.
    pub admin_tls: Option<tls::Tls>,
    /// URL under which clients reach the server, for the member list. Default `http://` and the address of `listen`.
    pub client_url: Option<String>,
    /// Where the configuration comes from. Default nowhere.
    pub source: Source,
    /// Publishing of the source's configuration into an etcd, instead of into the store that is served. Default none.
    pub publish: Option<PublishConfig>,
    /// Below which key the objects are. Default `/apisix`.
    pub prefix: Prefix,
    /// Directory that is kept over restarts. Default none, which makes clients reload after a restart.
    pub data_dir: Option<PathBuf>,
    /// Secret that signs the tokens of users. Default one of the data directory's own, or a random one. Replicas need
    /// the same one to accept each other's tokens.
    pub auth_token_key: Option<Vec<u8>>,
    /// File with the users, instead of those of the etcd Auth API. Default none.
    pub users_file: Option<PathBuf>,
    /// How long a token is good. Default 24 hours, as APISIX's gRPC mode never asks for another one; a change of the
    /// user's password ends it earlier.
    pub auth_token_lifetime: Duration,
    /// How often a space is sent on a gateway watch on which nothing happens, so that APISIX does not open it anew every
    /// 50 s. Default never: APISIX 2.10 has a client that was not tested with it.
    pub gateway_keepalive: Option<Duration>,
    /// How long running requests may take when the server stops. Default 10 s.
    pub drain: Duration,
    /// Over what time watch streams are ended before that. Default 2 s.
    pub drain_spread: Duration,
    /// How much history is kept.
    pub retention: Retention,
    /// Memory for keys, history and requests together. Default none.
    pub memory: Option<memory::Budget>,
    /// When changes of the source are committed.
    pub pace: Pace,
    /// What happens when a change takes most of the configuration away.
    pub guard: Guard,
    /// TLS on the port for clients. Default none.
    pub tls: Option<tls::Tls>,
    /// How connections are timed.
    pub times: Times,
    /// What clients may hold at the same time.
    pub limits: limits::Limits,
    /// How Envoy's resources are translated.
    pub translate: translate::Options,
    /// Where traces of changes go; nowhere by default. Needs the feature `otel`.
    pub traces: Option<traces::TracesConfig>,
    /// What is logged, for the admin port to change. Default not known.
    pub log: Option<Arc<dyn LogFilter>>,
    /// The levels that are logged, if they are not to stay as `log` has them.
    pub log_levels: Option<String>,
    /// Where metrics are recorded, for the admin port to show.
    pub metrics: Option<PrometheusHandle>,
}

/// Where the configuration comes from.
#[derive(Clone, Debug, Default)]
pub enum Source {
    /// From clients alone: an etcd in memory.
    #[default]
    None,
    /// From a control plane.
    Xds(Box<crate::xds::config::XdsConfig>),
    /// From files with Envoy's resources.
    XdsFiles(FilesConfig),
    /// From a file with APISIX's own objects.
    ApisixYaml(StandaloneConfig),
    /// From an etcd, or another confcast, which is mirrored with its own revisions.
    Etcd(Box<upstream::UpstreamConfig>),
}

impl Config {
    /// The file with the users, if there is one.
    pub fn users(&self) -> Option<crate::auth::UsersFile> {
        let certificates = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        self.users_file.clone().map(|path| crate::auth::UsersFile { path, certificates })
    }

    /// The etcd whose keys are served at its own revisions: the one that is the source, or the one that is published into.
    pub fn mirrored(&self) -> Option<&upstream::UpstreamConfig> {
        match (&self.publish, &self.source) {
            (Some(publish), _) => Some(&publish.upstream),
            (None, Source::Etcd(etcd)) => Some(etcd),
            _ => None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 2379)),
            admin_listen: Some(SocketAddr::from(([127, 0, 0, 1], 9379))),
            admin: admin::AdminAccess::default(),
            admin_tls: None,
            client_url: None,
            source: Source::None,
            publish: None,
            prefix: Prefix::default(),
            data_dir: None,
            auth_token_key: None,
            users_file: None,
            auth_token_lifetime: Duration::from_hours(24),
            gateway_keepalive: None,
            drain: Duration::from_secs(10),
            drain_spread: Duration::from_secs(2),
            retention: Retention::default(),
            memory: None,
            pace: Pace::default(),
            guard: Guard::default(),
            tls: None,
            times: Times::default(),
            limits: limits::Limits::default(),
            translate: translate::Options::default(),
            traces: None,
            log: None,
            log_levels: None,
            metrics: None,
        }
    }
}

/// The key below which the objects are: begins with a slash and does not end with one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

/// Why a text is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Nothing is left of it.
    #[error("the prefix is empty; use for example /apisix")]
    Empty,
    /// A character that some versions of APISIX cannot watch.
    #[error("the prefix has the character {0:?}; use letters, digits, _ and / (APISIX 3.2 to 3.4 match no others)")]
    Character(char),
    /// A slash with nothing before it.
    #[error("the prefix has two slashes in a row")]
    DoubleSlash,
}

impl Prefix {
    /// Brings a text into the form of a prefix: slashes at its end go, one at its beginning comes.
    pub fn new(text: &str) -> Result<Self, PrefixError> {
        let text = text.trim_matches('/');
        if text.is_empty() {
            return Err(PrefixError::Empty);
        }
        if text.contains("//") {
            return Err(PrefixError::DoubleSlash);
        }
        if let Some(character) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !"_-/".contains(*c)) {
            return Err(PrefixError::Character(character));
        }
        Ok(Self(format!("/{text}")))
    }

    /// The prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self("/apisix".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_brought_into_form_or_refused() {
        for text in ["/apisix", "apisix", "/apisix/", "apisix///"] {
            assert_eq!(Prefix::new(text).expect(text).as_str(), "/apisix");
        }
        assert_eq!(Prefix::new("mesh/edge-1").expect("fine").as_str(), "/mesh/edge-1");
        assert_eq!(Prefix::new("/"), Err(PrefixError::Empty));
        assert_eq!(Prefix::new("/a//b"), Err(PrefixError::DoubleSlash));
        assert_eq!(Prefix::new("/a.b"), Err(PrefixError::Character('.')));
    }
}
