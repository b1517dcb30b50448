//! The revision: position in the one history of all changes.

use std::fmt;

/// Number of a commit. Starts above 0, only grows, and never stands for two different contents.
///
/// Kept below 10^14, because APISIX prints it with 14 significant digits when it resumes a watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub i64);

impl Revision {
    /// No revision: of a key that does not exist, or "now" in a request.
    pub const ZERO: Self = Self(0);

    /// The floor of a history that no Compact request has cut, by etcd's convention.
    pub const NEVER: Self = Self(-1);

    /// The bound that no revision may reach.
    pub const LIMIT: Self = Self(100_000_000_000_000);

    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The revision before this one.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0 - 1)
    }

    /// A first revision for a history that has no data directory to continue from: the wall clock in tenths of a
    /// millisecond, which stays below the limit until the year 2286 and outruns every earlier history of this server
    /// unless that one committed more than 10,000 times a second all along.
    pub fn from_wall_clock(since_epoch: std::time::Duration) -> Self {
        Self(i64::try_from(since_epoch.as_micros() / 100).unwrap_or(Self::LIMIT.0).min(Self::LIMIT.0 - 1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
