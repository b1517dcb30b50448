//! What a mirror does next, and what it makes of what it is told. No I/O: the driver asks the etcd, and the engine is
//! called on the sequencer's thread with the answers. So all of it is simulated in the tests.
//!
//! The store is joined to the etcd at its own newest revision: the watch begins *at* it, and the events that the etcd
//! has there must be the ones that the store has. An etcd that was restored or replaced is found out by that, even when
//! its revision has overtaken the store's meanwhile.

use super::history::{self, OtherHistory};
use super::prefixes::Prefixes;
use crate::pb::etcdserverpb::WatchResponse;
use crate::pb::mvccpb::Event as Change;
use crate::pb::mvccpb::event::EventType;
use crate::store::{Record, Revision, Writer};
use crate::watch::REPLACED;

/// The revision of an etcd in which nothing has happened.
const EMPTY: Revision = Revision(1);

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read the whole state, and tell it by [`Engine::loaded`].
    Load,
    /// The same at this revision of the past, from which on there is history then; [`Engine::past_is_gone`] if it is not
    /// to be had any more.
    Begin(Revision),
    /// Read the whole state at this revision of the past, and tell it by [`Engine::compared`].
    Compare(Revision),
    /// Watch everything from this revision on, instead of what was watched before, and tell each response by
    /// [`Engine::told`].
    Watch(Revision),
    /// Read the next response.
    Read,
    /// Drop the connection for this reason, and begin anew with [`Engine::found`].
    Leave(String),
}

/// What is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Changes arrive from now on, and what the store has is what the etcd has.
    Following,
    /// Something was compacted before it had come.
    Lost,
    /// The etcd has another history than the store had, which was replaced.
    OtherHistory,
}

/// Whether the store is known to hold what the etcd held at the store's revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// The events at the store's revision are awaited.
    Awaited,
    /// So they are, but the whole state was read or compared just now.
    Loaded,
    /// It is.
    Given,
}

/// The state of a mirror on one connection after the other.
#[derive(Clone, Debug)]
pub struct Engine {
    /// The keys that are kept. All of them are watched.
    prefixes: Prefixes,
    /// The cluster that the store's history is of, as far as this process knows.
    cluster: Option<u64>,
    /// The cluster at the other end of the connection.
    here: u64,
    /// Whether the store's history is known to be another one.
    other: bool,
    proof: Proof,
    /// The revision at which the state was read last, and the watch was refused.
    refused: Option<Revision>,
    /// How many revisions before the newest one the history of a store begins that has none yet.
    history: i64,
    /// What the etcd was at when such a store was filled from the past, until the store is there as well.
    behind: Option<Revision>,
}

impl Default for Engine {
    fn default() -> Self {
        Self::of(Prefixes::default(), 0)
    }
}

impl Engine {
    /// Of a mirror of these keys, which asks for so many revisions of the past when it has nothing yet: clients come to
    /// it that have watched somewhere else, and have to begin there.
    pub fn of(prefixes: Prefixes, history: u32) -> Self {
        Self {
            prefixes,
            cluster: None,
            here: 0,
            other: false,
            proof: Proof::Awaited,
            refused: None,
            history: i64::from(history),
            behind: None,
        }
    }

    /// A new connection: which cluster it leads to, and how far that is, by a linearizable read.
    pub fn found(&mut self, writer: &Writer, cluster: u64, revision: Revision) -> Next {
        let known = writer.snapshot().revision();
        self.here = cluster;
        self.other = self.cluster.is_some_and(|before| before != cluster) || revision < known;
        self.proof = Proof::Awaited;
        self.refused = None;
        if known == Revision::ZERO && self.history > 0 && revision > EMPTY {
            self.behind = Some(revision);
            return Next::Begin(Revision(revision.0.saturating_sub(self.history)).max(EMPTY));
        }
        // The connection was lost on the way.
        self.behind = self.behind.map(|_| revision);
        if known <= EMPTY || self.other { Next::Load } else { Next::Watch(known) }
    }

    /// The past that was asked for was compacted.
    pub fn past_is_gone(&self) -> Next {
        Next::Load
    }

    /// The cluster that the store's history is known to be of.
    pub fn cluster(&self) -> Option<u64> {
        self.cluster
    }

    /// The whole state at a revision.
    pub fn loaded(
        &mut self,
        writer: &mut Writer,
        cluster: u64,
        revision: Revision,
        pairs: Vec<Record>,
    ) -> (Next, Option<News>) {
        if cluster != self.here {
            return (Next::Leave("another cluster has answered".into()), None);
        }
        let first = writer.snapshot().revision() == Revision::ZERO;
        let other =
            if first || self.other { Err(OtherHistory(pairs)) } else { history::repair(writer, revision, pairs) };
        let replaced = other.map_err(|OtherHistory(pairs)| writer.replace_history(revision, pairs)).is_err();
        self.cluster = Some(cluster);
        self.other = false;
        self.behind = self.behind.filter(|there| revision < *there);
        (self.join(writer), (replaced && !first).then_some(News::OtherHistory))
    }

    /// The whole state at the store's revision; none if it is not to be had any more.
    pub fn compared(&mut self, writer: &Writer, pairs: Option<&[Record]>) -> Next {
        let known = writer.snapshot().revision();
        let Some(pairs) = pairs else { return Next::Load };
        if !history::is_same(writer.snapshot(), pairs) {
            self.other = true;
            return Next::Load;
        }
        self.cluster = Some(self.here);
        self.proof = Proof::Loaded;
        Next::Watch(known)
    }

    /// Watches after the whole state was read.
    fn join(&mut self, writer: &Writer) -> Next {
        let revision = writer.snapshot().revision();
        if revision <= EMPTY {
            self.proof = Proof::Given;
            return Next::Watch(revision.next());
        }
        self.proof = Proof::Loaded;
        Next::Watch(revision)
    }

    /// Whether events are awaited that come at once: the first ones, or those of the past.
    pub fn is_waiting(&self) -> bool {
        self.proof != Proof::Given || self.is_behind()
    }

    /// Whether the store is in the past, of which nobody is to be told.
    pub fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// They have not come, or not soon enough: not everything that speaks etcd's API has something to tell at its newest
    /// revision.
    pub fn waited(&mut self, writer: &Writer) -> (Next, Option<News>) {
        if self.proof == Proof::Awaited {
            return (Next::Compare(writer.snapshot().revision()), None);
        }
        if self.is_behind() {
            return (Next::Load, None);
        }
        self.proof = Proof::Given;
        (Next::Read, Some(News::Following))
    }

    /// A response of the watch.
    pub fn told(&mut self, writer: &mut Writer, response: &WatchResponse) -> (Next, Option<News>) {
        if response.header.as_ref().is_none_or(|header| header.cluster_id != self.here) {
            return (Next::Leave("another cluster has answered".into()), None);
        }
        if response.canceled {
            return self.canceled(writer, response);
        }
        if response.created && self.proof == Proof::Given {
            return (Next::Read, (!self.is_behind()).then_some(News::Following));
        }
        let mut news = None;
        if self.proof != Proof::Given && !response.events.is_empty() {
            match joint(writer, &response.events, &self.prefixes) {
                Joint::Good => {}
                Joint::Weak if self.proof == Proof::Loaded => {}
                Joint::Weak => return (Next::Compare(writer.snapshot().revision()), None),
                Joint::Bad => {
                    self.other = true;
                    return (Next::Load, None);
                }
            }
            self.cluster = Some(self.here);
            self.proof = Proof::Given;
            news = Some(News::Following);
        }
        history::follow(writer, &response.events, &self.prefixes);
        if let Some(there) = self.behind.filter(|_| self.proof == Proof::Given) {
            let arrived = writer.snapshot().revision() >= there;
            self.behind = Some(there).filter(|_| !arrived);
            news = arrived.then_some(News::Following);
        }
        (Next::Read, news)
    }

    fn canceled(&mut self, writer: &Writer, response: &WatchResponse) -> (Next, Option<News>) {
        if response.compact_revision == 0 {
            return (Next::Leave(format!("the watch was refused: {}", response.cancel_reason)), None);
        }
        if self.proof == Proof::Loaded {
            let known = writer.snapshot().revision();
            // Refused at what is the newest revision twice: this is no etcd, and does not know what led to it. A watch
            // after it is for one that does not compact it in between, as an etcd could and lose a deletion by it.
            if self.refused.replace(known) == Some(known) {
                self.proof = Proof::Given;
                return (Next::Watch(known.next()), None);
            }
            return (Next::Load, None);
        }
        self.other = response.cancel_reason == REPLACED;
        (Next::Load, (!self.other).then_some(News::Lost))
    }
}

/// What the first events of a watch say of the store's revision, at which it begins.
enum Joint {
    /// What happened there is what the store has.
    Good,
    /// Something else happened.
    Bad,
    /// Nothing, as compaction has taken the deletion that was there, or as it was about keys that are not kept; or only
    /// deletions, of which another history can have the same.
    Weak,
}

fn joint(writer: &Writer, events: &[Change], prefixes: &Prefixes) -> Joint {
    let at = |event: &Change| event.kv.as_ref().map_or(0, |pair| pair.mod_revision);
    let known = writer.snapshot().revision().0;
    let kept = |event: &&Change| history::is_kept(event, prefixes);
    let joint: Vec<_> = events.iter().take_while(|event| at(event) <= known).filter(kept).collect();
    if joint.is_empty() {
        return Joint::Weak;
    }
    let good = joint.iter().all(|event| at(event) == known) && history::agrees(writer.snapshot(), &joint);
    match good {
        false => Joint::Bad,
        true if joint.iter().any(|event| event.r#type() == EventType::Put) => Joint::Good,
        true => Joint::Weak,
    }
}
