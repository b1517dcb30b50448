//! Whether a change has come to the watchers that are to get it.
//!
//! Asked now and then by whoever follows a change. Nothing is noted for it while events are delivered: a watcher has a
//! change when its cursor has passed it. As cursors only go on, a look begins where the last one found a watcher that
//! had not, so that all looks at a change together see each watcher once.

use std::collections::HashMap;
use std::sync::Arc;

use super::hub::Hub;
use super::interest::Interest;
use crate::store::{Revision, Snapshot};

/// A change on its way to its watchers.
#[derive(Debug)]
pub struct Delivery {
    history: u64,
    /// Interests of which some watcher has not got it.
    waiting: Vec<Waiting>,
    watchers: usize,
    first: bool,
}

#[derive(Debug)]
struct Waiting {
    interest: Arc<Interest>,
    /// The last revision of the change that has something for the interest.
    revision: Revision,
    /// The first watcher that may not have got it.
    place: usize,
}

/// How far a change has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Whether a watcher has it.
    pub first: bool,
    /// Whether all that are still there have it.
    pub all: bool,
}

impl Delivery {
    /// The commits from revision `first` to `last`, which are in the snapshot's log; none if nobody watches any of it.
    pub fn of(hub: &Hub, snapshot: &Snapshot, first: Revision, last: Revision) -> Option<Self> {
        let lengths = hub.registry().prefix_lengths();
        let mut found: HashMap<*const Interest, Waiting> = HashMap::new();
        for commit in snapshot.commits_from(first).take_while(|commit| commit.revision() <= last) {
            let revision = commit.revision();
            for event in commit.events() {
                hub.registry().find(event.key(), &lengths, |interest| {
                    if interest.scope().wants(event) {
                        let new = || Waiting { interest: interest.clone(), revision, place: 0 };
                        found.entry(Arc::as_ptr(interest)).or_insert_with(new).revision = revision;
                    }
                });
            }
        }
        let waiting: Vec<_> = found.into_values().collect();
        let watchers = waiting.iter().map(|one| one.interest.watchers()).sum();
        (watchers > 0).then(|| Self { history: snapshot.history(), waiting, watchers, first: false })
    }

    /// How many watchers were to get it at the beginning.
    pub fn watchers(&self) -> usize {
        self.watchers
    }

    /// Looks at those that had not got it.
    pub fn look(&mut self) -> Progress {
        let (history, mut first) = (self.history, self.first);
        self.waiting.retain_mut(|one| {
            first = first || one.interest.foremost(history) >= one.revision;
            match one.interest.first_behind(one.revision, one.place) {
                Some(place) => one.place = place,
                None => return false,
            }
            true
        });
        self.first = first;
        Progress { first, all: self.waiting.is_empty() }
    }

    /// How many watchers have not got it.
    pub fn behind(&self) -> usize {
        let mut behind = 0;
        for one in &self.waiting {
            one.interest.for_each_watcher(|_, cursor| behind += usize::from(cursor.next() <= one.revision));
        }
        behind
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::store::{LeaseId, Origin, Store};
    use crate::watch::{Create, Message, Session};

    fn watch(hub: &Hub, key: &'static str, no_put: bool) -> Session {
        let mut session = hub.session();
        session.create(&Create { key: key.into(), range_end: b"\0"[..].into(), no_put, ..Create::default() });
        assert!(matches!(poll(&mut session), Poll::Ready(Message::Created { .. })));
        session
    }

    fn poll(session: &mut Session) -> Poll<Message> {
        session.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    async fn put(hub: &Hub, key: &'static str) -> Revision {
        let change = move |writer: &mut crate::store::Writer| {
            let mut transaction = writer.begin();
            transaction.put(key.into(), "1".into(), LeaseId::NONE, Origin::Client);
            writer.commit(transaction)
        };
        hub.store().submit(change).await.expect("written")
    }

    fn of(hub: &Hub, first: Revision, last: Revision) -> Option<Delivery> {
        Delivery::of(hub, &hub.store().snapshot(), first, last)
    }

    const NONE: Progress = Progress { first: false, all: false };
    const FIRST: Progress = Progress { first: true, all: false };
    const ALL: Progress = Progress { first: true, all: true };

    #[tokio::test]
    async fn a_change_has_come_when_the_last_watcher_has_it() {
        let hub = Hub::new(Store::in_memory(Revision(1)).expect("a thread"));
        let (mut one, mut other) = (watch(&hub, "a", false), watch(&hub, "a", false));
        let mut wide = watch(&hub, "Z", false);
        // It is not asked for what happens here.
        let _elsewhere = watch(&hub, "b", false);
        let revision = put(&hub, "a").await;
        let mut delivery = of(&hub, revision, revision).expect("watchers");
        assert_eq!((delivery.watchers(), delivery.look(), delivery.behind()), (3, NONE, 3));
        assert!(poll(&mut other).is_ready());
        assert_eq!((delivery.look(), delivery.behind()), (FIRST, 2));
        assert!(poll(&mut wide).is_ready() && poll(&mut one).is_ready());
        assert_eq!((delivery.look(), delivery.behind()), (ALL, 0));
    }

    #[tokio::test]
    async fn who_leaves_is_not_waited_for_and_who_comes_is_not_either() {
        let hub = Hub::new(Store::in_memory(Revision(1)).expect("a thread"));
        let leaves = watch(&hub, "a", false);
        let first = put(&hub, "a").await;
        let last = put(&hub, "b").await;
        let mut delivery = of(&hub, first, last).expect("a watcher");
        let _comes = watch(&hub, "a", false);
        assert_eq!(delivery.look(), NONE);
        drop(leaves);
        assert_eq!(delivery.look(), Progress { first: false, all: true });
    }

    #[tokio::test]
    async fn what_nobody_wants_is_not_delivered() {
        let hub = Hub::new(Store::in_memory(Revision(1)).expect("a thread"));
        let _deletions = watch(&hub, "a", true);
        let revision = put(&hub, "a").await;
        assert!(of(&hub, revision, revision).is_none());
        // Its interest is in later ones of the same range.
        let mut all = watch(&hub, "a", false);
        let (first, last) = (put(&hub, "a").await, put(&hub, "0").await);
        let mut delivery = of(&hub, first, last).expect("a watcher");
        assert_eq!(delivery.watchers(), 1);
        assert!(poll(&mut all).is_ready());
        assert_eq!(delivery.look(), ALL, "the last revision has nothing for it");
    }
}
