//! What the engine asks of etcd, and what it is told. Everything that a publisher does passes through these types, so
//! that all of it can be simulated.

use std::time::Duration;

use bytes::Bytes;

use super::held::Change;
use super::plan::Step;
use super::wanted::Wanted;
use crate::store::Revision;

/// Tells an answer which request it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Something to be done by the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A request to etcd. Each is answered, be it by a failure when it takes too long.
    Ask(Ticket, Request),
    /// Follow what leaves the queue after a revision, instead of what was followed before.
    FollowQueue(Revision),
    /// Follow objects and marks after a revision, instead of what was followed before.
    FollowContent(Revision),
    /// Follow the objects no longer.
    ForgetContent,
}

/// A request to etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A lease.
    Grant {
        /// How long it is to live without being kept.
        ttl: Duration,
    },
    /// A lease is to live on.
    Keep {
        /// Its id.
        lease: i64,
    },
    /// A lease is to end, and its keys with it.
    Revoke {
        /// Its id.
        lease: i64,
    },
    /// A place in the queue: the key is written with the lease unless it is there.
    Enter {
        /// The lease.
        lease: i64,
        /// The candidate's key.
        key: Bytes,
        /// Who the candidate is, for people.
        value: Bytes,
    },
    /// Who is in the queue.
    Look,
    /// Every object and mark, at one revision, and when the candidate's key was changed last.
    Read {
        /// The candidate's key.
        candidate: Bytes,
    },
    /// A transaction that writes, if the fence still stands and every key is as expected. It changes the candidate's
    /// key as well, so that of two that were sent only one can take place.
    Write {
        /// What must be so.
        fence: Fence,
        /// What is written; none to make sure that nothing that was sent before takes place any more.
        steps: Vec<Step>,
    },
}

/// What fences a leader's writes: its key in the queue as it must be when a write takes place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The candidate's key.
    pub key: Bytes,
    /// Its create revision: the leader's term.
    pub term: Revision,
    /// Its mod revision: that of the last write.
    pub written: Revision,
}

/// A candidate in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its key.
    pub key: Bytes,
    /// When it came.
    pub created: Revision,
}

/// When a key was written first and last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Create revision.
    pub created: Revision,
    /// Mod revision.
    pub written: Revision,
}

/// What etcd answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Request::Grant`].
    Granted {
        /// The lease's id.
        lease: i64,
        /// How long it really lives.
        ttl: Duration,
    },
    /// To [`Request::Keep`].
    Kept {
        /// How long it lives from now on; zero if it is gone.
        ttl: Duration,
    },
    /// To [`Request::Revoke`].
    Revoked,
    /// To [`Request::Enter`].
    Entered {
        /// Create revision of the candidate's key.
        created: Revision,
    },
    /// To [`Request::Look`].
    Queue {
        /// Revision of what was seen.
        revision: Revision,
        /// All candidates.
        candidates: Vec<Candidate>,
    },
    /// To [`Request::Read`].
    Content {
        /// Revision of what was read.
        revision: Revision,
        /// Objects and marks.
        entries: Vec<Change>,
        /// The candidate's key; none if it is gone.
        standing: Option<Standing>,
    },
    /// To [`Request::Write`]: it took place.
    Written {
        /// Its revision.
        revision: Revision,
    },
    /// To [`Request::Write`]: something was not as it had to be, so that nothing was written.
    Refused {
        /// The candidate's key; none if it is gone.
        standing: Option<Standing>,
    },
    /// The request failed.
    Failed(Failure),
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There was no answer: it may have taken place, and may do so yet.
    #[error("{0}")]
    Unknown(String),
    /// The lease is gone.
    #[error("the lease is gone")]
    LeaseGone,
    /// Larger than etcd takes, so that nothing took place.
    #[error("{0}")]
    TooLarge(String),
    /// etcd refused it for another reason, so that nothing took place.
    #[error("{0}")]
    Refused(String),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The source wants this from now on; none if it is not known, or no longer.
    Wanted(Option<Wanted>),
    /// etcd answered.
    Answered(Ticket, Answer),
    /// A candidate has left the queue.
    QueueMoved,
    /// The queue is no longer followed.
    QueueLost,
    /// Objects or marks have changed.
    Content {
        /// Revision up to which everything is told.
        revision: Revision,
        /// In the order of their revisions.
        changes: Vec<Change>,
    },
    /// The objects are no longer followed.
    ContentLost,
    /// The time of [`Engine::deadline`](super::Engine::deadline) has come.
    Time,
    /// The replica is to leave the election for good.
    Resign,
}
