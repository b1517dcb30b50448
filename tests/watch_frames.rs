//! How long encoded events are kept: while a watcher is behind the others of its interest.
#![allow(missing_docs)]

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use confcast::store::{LeaseId, Origin, Revision, Store};
use confcast::watch::{Create, Hub, Message, Session};

/// What an interest keeps at most.
const MOST: usize = 16;

async fn put(hub: &Hub, key: String) -> Revision {
    let change = hub.store().submit(move |writer| {
        let mut transaction = writer.begin();
        transaction.put(key.into(), "v".into(), LeaseId::NONE, Origin::Client);
        writer.commit(transaction)
    });
    change.await.expect("memory does not fail")
}

fn watch(hub: &Hub, prefix: &str) -> Session {
    let end = Bytes::from(format!("{}0", &prefix[..prefix.len() - 1]));
    let mut session = hub.session();
    session.create(&Create { key: prefix.to_owned().into(), range_end: end, ..Create::default() });
    drain(&mut session);
    session
}

/// How many events there were.
fn drain(session: &mut Session) -> usize {
    let (mut events, mut context) = (0, Context::from_waker(Waker::noop()));
    while let Poll::Ready(message) = session.poll_next(&mut context) {
        if let Message::Events { frame, .. } = message {
            events += frame.events().len();
        }
    }
    events
}

fn hub() -> Hub {
    Hub::new(Store::in_memory(Revision(1)).expect("a thread"))
}

#[tokio::test]
async fn frames_are_kept_until_the_last_has_them() {
    let hub = hub();
    let mut sessions: Vec<_> = (0..3).map(|_| watch(&hub, "/a/")).collect();
    put(&hub, "/a/1".into()).await;
    for session in &mut sessions[..2] {
        assert_eq!(drain(session), 1);
        assert_eq!(hub.frames(), 1, "for the last");
    }
    assert_eq!(drain(&mut sessions[2]), 1);
    assert_eq!(hub.frames(), 0);
}

#[tokio::test]
async fn who_does_not_read_costs_no_more_than_a_few_and_nothing_once_it_has_caught_up() {
    let hub = hub();
    let (mut reader, mut other, mut sleeper) = (watch(&hub, "/a/"), watch(&hub, "/a/"), watch(&hub, "/a/"));
    for number in 0..3 * MOST {
        put(&hub, format!("/a/{number}")).await;
        assert_eq!((drain(&mut reader), drain(&mut other)), (1, 1));
        assert_eq!(hub.frames(), (number + 1).min(MOST));
    }
    assert_eq!(drain(&mut sleeper), 3 * MOST);
    assert_eq!(hub.frames(), 0);
    put(&hub, "/a/x".into()).await;
    assert_eq!((drain(&mut reader), drain(&mut other)), (1, 1));
    assert_eq!(hub.frames(), 1);
    // Who leaves is not waited for from then on.
    drop(sleeper);
    put(&hub, "/a/y".into()).await;
    assert_eq!((drain(&mut reader), drain(&mut other)), (1, 1));
    assert_eq!(hub.frames(), 0);
}

#[tokio::test]
async fn many_interests_at_rest_keep_nothing() {
    let hub = hub();
    let mut sessions: Vec<_> = (0..200).map(|number| watch(&hub, &format!("/{number}/"))).collect();
    for round in 0..20 {
        for number in 0..sessions.len() {
            put(&hub, format!("/{number}/{round}")).await;
        }
        // All have something, and look at what they have nothing of as well.
        let events: usize = sessions.iter_mut().map(drain).sum();
        assert_eq!(events, 200);
    }
    assert_eq!((hub.interests(), hub.frames()), (200, 0));
}
