//! Carries out what the engine says: one loop, which is told everything that happens.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use metrics::{counter, gauge};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::engine::{Engine, Settings, Status};
use super::exchange::{Answer, Command, Event, Request, Ticket};
use super::follow::Follow;
use super::keys::Keys;
use super::wanted::Wanted;
use crate::config::upstream::UpstreamConfig;
use crate::store::Revision;
use crate::telemetry;
use crate::upstream::{self, ClientError};

/// How long a replica that stops waits until its lease is given back.
const GOODBYE: Duration = Duration::from_secs(1);

/// Pause before a watch that has ended is told as lost, so that an etcd that refuses it is not asked all the time.
const LOST: Duration = Duration::from_millis(200);

type Answering = Pin<Box<dyn Future<Output = (Ticket, Answer)> + Send>>;

/// A publisher that can run.
#[derive(Debug)]
pub struct Publisher {
    engine: Engine,
    client: Client,
    wanted: watch::Receiver<Option<Wanted>>,
    status: watch::Sender<Status>,
}

/// The events that a watch brings, from the moment it is asked for.
type Following = Pin<Box<dyn futures_util::Stream<Item = Event> + Send>>;

impl Publisher {
    /// A publisher of what is wanted, with the desk at which that is said.
    pub fn new(settings: Settings, etcd: &UpstreamConfig) -> Result<(Self, Desk), ClientError> {
        let keys = Keys::new(&settings.prefix);
        let client = Client { etcd: upstream::Client::new(etcd)?, keys };
        let (desk, wanted) = watch::channel(None);
        let status = watch::Sender::default();
        let followed = status.subscribe();
        let publisher = Self { engine: Engine::new(settings), client, wanted, status };
        Ok((publisher, Desk { wanted: desk, status: followed }))
    }

    /// Publishes until `token` is cancelled; then another replica is let take over at once.
    pub async fn run(mut self, token: CancellationToken) {
        let mut answers: FuturesUnordered<Answering> = FuturesUnordered::new();
        let mut queue: Option<Following> = None;
        let mut content: Option<Following> = None;
        let mut event = Event::Time;
        loop {
            let commands = self.engine.handle(event, Instant::now());
            self.tell();
            for command in commands {
                match command {
                    Command::Ask(ticket, request) => answers.push(ask(self.client.clone(), ticket, request)),
                    Command::FollowQueue(after) => queue = Some(follow(self.client.clone(), after, true)),
                    Command::FollowContent(after) => content = Some(follow(self.client.clone(), after, false)),
                    Command::ForgetContent => content = None,
                }
            }
            // All can be dropped and asked again without a loss.
            event = tokio::select! {
                () = token.cancelled() => break,
                Some((ticket, answer)) = answers.next() => Event::Answered(ticket, answer),
                Some(event) = next(&mut queue) => event,
                Some(event) = next(&mut content) => event,
                Ok(()) = self.wanted.changed() => Event::Wanted(self.wanted.borrow_and_update().clone()),
                () = until(self.engine.deadline()) => Event::Time,
            };
        }
        let goodbye = self.engine.handle(Event::Resign, Instant::now());
        let goodbye = goodbye.into_iter().filter_map(|command| match command {
            Command::Ask(ticket, request) => Some(ask(self.client.clone(), ticket, request)),
            Command::FollowQueue(_) | Command::FollowContent(_) | Command::ForgetContent => None,
        });
        let _ = tokio::time::timeout(GOODBYE, futures_util::future::join_all(goodbye)).await;
        self.tell();
    }

    /// Shows what the engine is doing, and says what is new.
    fn tell(&mut self) {
        let new = self.engine.status();
        let old = self.status.borrow().clone();
        if new == old {
            return;
        }
        match (old.term, new.term) {
            (None, Some(term)) => tracing::info!(%term, "this replica publishes from now on"),
            (Some(term), None) => tracing::info!(%term, "this replica publishes no longer"),
            _ => {}
        }
        let (was, is) = (&old.published, &new.published);
        if is.complete && (!was.complete || is.revision != was.revision) {
            tracing::info!(objects = new.wanted, writes = is.writes, revision = %is.revision, "etcd holds what is wanted");
        }
        if is.conflicts != was.conflicts && !is.conflicts.is_empty() {
            tracing::warn!(objects = ?is.conflicts, "objects of others are where published ones belong; they are kept");
        }
        if is.left_out != was.left_out && !is.left_out.is_empty() {
            tracing::error!(objects = ?is.left_out, "too large for etcd, or referring to what is; what was there stays");
        }
        if is.failure != was.failure
            && let Some(reason) = &is.failure
        {
            tracing::warn!(%reason, "etcd could not be written; it is tried again");
        }
        gauge!(telemetry::publish::LEADS).set(f64::from(u8::from(new.term.is_some())));
        gauge!(telemetry::publish::COMPLETE).set(f64::from(u8::from(is.complete)));
        gauge!(telemetry::publish::CONFLICTS).set(count(is.conflicts.len()));
        gauge!(telemetry::publish::LEFT_OUT).set(count(is.left_out.len()));
        counter!(telemetry::publish::WRITES).increment(is.writes.saturating_sub(was.writes));
        self.status.send_replace(new);
    }
}

/// Where a source says what it wants, and sees what becomes of it.
#[derive(Debug)]
pub struct Desk {
    wanted: watch::Sender<Option<Wanted>>,
    status: watch::Receiver<Status>,
}

impl Desk {
    /// The desk's side for the view of a source.
    pub fn place(&self) -> watch::Sender<Option<Wanted>> {
        self.wanted.clone()
    }

    /// What the publisher is doing.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }
}

fn ask(client: Client, ticket: Ticket, request: Request) -> Answering {
    Box::pin(async move { (ticket, client.ask(request).await) })
}

fn follow(client: Client, after: Revision, queue: bool) -> Following {
    let lost = move || if queue { Event::QueueLost } else { Event::ContentLost };
    let open = async move {
        let opened = if queue { Follow::queue(client, after).await } else { Follow::content(client, after).await };
        opened.ok()
    };
    let events = futures_util::stream::once(open).flat_map(move |opened| {
        futures_util::stream::unfold(Some(opened), move |follow| async move {
            let event = match follow? {
                Some(mut follow) => {
                    let event = if queue { follow.moved().await } else { follow.changed().await };
                    if event != lost() {
                        return Some((event, Some(Some(follow))));
                    }
                    event
                }
                None => lost(),
            };
            tokio::time::sleep(LOST).await;
            Some((event, None))
        })
    });
    Box::pin(events)
}

async fn next(following: &mut Option<Following>) -> Option<Event> {
    match following {
        Some(events) => {
            let event = events.next().await;
            if event.is_none() {
                *following = None;
            }
            event
        }
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
fn count(number: usize) -> f64 {
    number as f64
}
