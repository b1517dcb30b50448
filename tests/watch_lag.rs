//! What is known of watchers that do not keep up, and of what is sent.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use confcast::store::{LeaseId, Origin, Revision, Store};
use confcast::watch::{Create, Hub, Lag, Message, Session};
use serde_json::json;
use support::http::{Watch, b64, post};
use support::{Confcast, until};
use tokio::time::Instant;

/// Puts a key and wakes whom it concerns.
async fn put(hub: &Hub, key: &'static str) -> Revision {
    let change = hub.store().submit(move |writer| {
        let mut transaction = writer.begin();
        transaction.put(key.into(), "v".into(), LeaseId::NONE, Origin::Client);
        writer.commit(transaction)
    });
    let revision = change.await.expect("memory does not fail");
    hub.wake(&hub.store().snapshot(), revision);
    revision
}

fn watch(hub: &Hub, key: &'static str, start_revision: i64) -> Session {
    let mut session = hub.session();
    let end = if key == "/a/" { "/a0" } else { "/b0" };
    session.create(&Create { key: key.into(), range_end: end.into(), start_revision, ..Create::default() });
    session
}

fn drain(session: &mut Session) {
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(message) = session.poll_next(&mut context) {
        let Message::Events { .. } = message else { continue };
        session.sent(100);
    }
}

#[tokio::test]
async fn a_watcher_is_behind_what_there_is_for_it_and_not_what_there_is() {
    let hub = Hub::new(Store::in_memory(Revision(1)).expect("a thread"));
    let (mut reader, mut sleeper) = (watch(&hub, "/a/", 0), watch(&hub, "/a/", 0));
    let mut elsewhere = watch(&hub, "/b/", 0);
    for session in [&mut reader, &mut sleeper, &mut elsewhere] {
        drain(session);
    }
    assert_eq!(hub.lag(), Lag::default());
    // What nobody watches makes nobody be behind, then or later.
    for _ in 0..5 {
        put(&hub, "/c/1").await;
    }
    assert_eq!(hub.lag(), Lag::default());
    let pause = Duration::from_millis(50);
    tokio::time::sleep(pause).await;
    let before = Instant::now();
    put(&hub, "/a/1").await;
    drain(&mut reader);
    tokio::time::sleep(pause).await;
    let lag = hub.lag();
    assert_eq!((lag.streams, lag.revisions), (1, 6), "with the revisions before the first event");
    assert!(lag.age >= pause && lag.age <= before.elapsed(), "since the first event: {lag:?}");
    for _ in 0..3 {
        put(&hub, "/a/1").await;
        drain(&mut reader);
    }
    // A second watcher of the stream.
    sleeper.create(&Create { key: "/a/1".into(), start_revision: 1, ..Create::default() });
    let lag = hub.lag();
    assert_eq!((lag.streams, lag.revisions), (1, 9), "of all that there are");
    drain(&mut sleeper);
    assert_eq!(hub.lag(), Lag::default());
    // One that comes to catch up is behind although nothing has happened since that it wants.
    let mut late = watch(&hub, "/b/", 7);
    assert_eq!((hub.lag().streams, hub.lag().revisions), (1, 4));
    drain(&mut late);
    assert_eq!(hub.lag(), Lag::default());
    put(&hub, "/a/1").await;
    drop((reader, sleeper, late));
    assert_eq!(hub.lag(), Lag::default(), "who has left is not waited for");
}

/// Half a MiB, in base64.
fn value() -> String {
    b64(vec![b'x'; 512 << 10])
}

#[test]
#[expect(clippy::float_cmp, reason = "small whole numbers")]
fn a_client_that_does_not_read_is_seen_until_it_does() {
    const COUNT: u8 = 60;
    let server = Confcast::serve(&["--source", "none"]).ready();
    let mut slow = Watch::open(server.address, "/apisix/routes/", "/apisix/routes0", 0);
    let mut quick = Watch::open(server.address, "/apisix/", "/apisix0", 0);
    assert_eq!(server.metric("confcast_watchers{directory=\"routes\"}"), 1.0);
    assert_eq!(server.metric("confcast_watchers{directory=\"all\"}"), 1.0);
    assert_eq!(server.metric("confcast_watch_streams{protocol=\"gateway\"}"), 2.0);
    let body = json!({"key": b64("/apisix/routes/1"), "value": value()});
    for _ in 0..COUNT {
        assert_eq!(post(server.address, "/v3/kv/put", &body).status, 200);
        assert_eq!(quick.keys().len(), 1);
    }
    until("one is behind", || server.metric("confcast_watch_streams_behind") == 1.0);
    assert!(server.metric("confcast_watch_lag_revisions") >= 1.0);
    assert!(server.metric("confcast_watch_lag_seconds") > 0.0);
    let mut read = 0;
    while read < usize::from(COUNT) {
        read += slow.keys().len();
    }
    until("none is behind", || server.metric("confcast_watch_streams_behind") == 0.0);
    assert_eq!(server.metric("confcast_watch_lag_revisions"), 0.0);
    assert_eq!(server.metric("confcast_watch_lag_seconds"), 0.0);
    let events = server.metric("confcast_watch_events_total{protocol=\"gateway\"}");
    assert_eq!(events, 2.0 * f64::from(COUNT));
    let deliveries = server.metric("confcast_watch_deliveries_total{protocol=\"gateway\"}");
    assert!(deliveries > f64::from(COUNT) && deliveries <= events, "{deliveries}");
    // Each event has the value in base64.
    let bytes = server.metric("confcast_watch_sent_bytes_total{protocol=\"gateway\"}");
    let least = events * f64::from(512 << 10) * 4.0 / 3.0;
    assert!(bytes > least && bytes < least * 1.01, "{bytes}");
}
