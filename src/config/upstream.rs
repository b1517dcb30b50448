//! Settings of a mirror: which etcd, reached how, and what to do without it.

use std::path::PathBuf;

/// An etcd, or another confcast, that is mirrored.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// URLs of its members, `http://` or `https://`, tried in turn.
    pub endpoints: Vec<String>,
    /// File with the certificates that the servers' are signed by.
    pub ca: Option<PathBuf>,
    /// Files with the certificate and the key of this client.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Name of the user that reads everything, and the file with its password, which is read for each new token.
    pub user: Option<(String, PathBuf)>,
    /// Prefixes of the keys that are mirrored; all keys if there are none.
    pub prefixes: Vec<String>,
    /// What is answered while no member can be reached.
    pub when_away: WhenAway,
    /// Whether clients may read without users although the etcd has users. Default no: then nothing is served from
    /// such an etcd.
    pub open_reads: bool,
    /// How many revisions of the past are asked for by a mirror that starts without data, so that watches that were begun
    /// at another replica go on here. Default [`HISTORY`].
    pub history: u32,
}

/// Revisions of the past that a mirror asks for at its start: some minutes of a busy fleet, and less than a second of
/// reading.
pub const HISTORY: u32 = 10_000;

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            ca: None,
            identity: None,
            user: None,
            prefixes: Vec::new(),
            when_away: WhenAway::default(),
            open_reads: false,
            history: HISTORY,
        }
    }
}

/// What a mirror does with reads while its etcd is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenAway {
    /// Answers with what was last known, so that gateways can start.
    #[default]
    Serve,
    /// Answers linearizable reads UNAVAILABLE. Serializable ones and watches go on.
    Refuse,
}
