//! The network of a simulation: requests, answers and watches, each with a delay of its own, some of them lost.

use std::time::Duration;

use bytes::Bytes;
use confcast::publish::exchange::{Answer, Failure, Request};
use confcast::publish::{Command, Event, Ticket, requests};
use confcast::store::KeyRange;
use rand::Rng;

use crate::etcd::{Commit, Refusal};
use crate::world::{Author, Next, TIMEOUT, Watch, World};

impl World {
    pub fn carry_out(&mut self, replica: usize, command: Command) {
        let life = self.replicas[replica].life;
        match command {
            Command::Ask(ticket, request) => {
                self.replicas[replica].pending.insert(ticket);
                self.at(TIMEOUT, Next::Overdue { replica, life, ticket });
                if let Some(after) = self.travel(replica) {
                    self.at(after, Next::Arrive { replica, life, ticket, request });
                }
            }
            Command::FollowQueue(revision) => {
                let watch = self.watch(replica, self.keys.queue(), true);
                self.replicas[replica].queue_watch = watch;
                self.catch_up(replica, revision.0, true);
            }
            Command::FollowContent(revision) => {
                let range = KeyRange::between(Bytes::from_static(b"/"), Some(Bytes::from_static(b"0")));
                let watch = self.watch(replica, range, false);
                self.replicas[replica].content_watch = watch;
                self.catch_up(replica, revision.0, false);
            }
            Command::ForgetContent => self.replicas[replica].content_watch = None,
        }
    }

    /// How long a message takes; none if it is lost.
    fn travel(&mut self, replica: usize) -> Option<Duration> {
        let calm = !self.chaos();
        if self.replicas[replica].cut_off || (!calm && self.random.random_bool(self.habits.loss)) {
            return None;
        }
        let slow = !calm && self.random.random_bool(self.habits.slow);
        Some(Duration::from_micros(self.random.random_range(if slow { 0..9_000_000 } else { 200..20_000 })))
    }

    pub fn arrive(&mut self, replica: usize, life: u64, ticket: Ticket, request: Request) {
        let seed = self.seed;
        let refused = |refusal| match refusal {
            Refusal::LeaseGone => Answer::Failed(Failure::LeaseGone),
            Refusal::TooLarge => panic!("seed {seed}: a request is too large"),
        };
        let answer = match request {
            Request::Grant { ttl } => Answer::Granted { lease: self.etcd.grant(ttl, self.now), ttl },
            Request::Keep { lease } => Answer::Kept { ttl: self.etcd.keep(lease, self.now) },
            Request::Revoke { lease } => {
                self.etcd.revoke(lease);
                self.committed(Author::Queue);
                Answer::Revoked
            }
            Request::Enter { lease, key, value } => {
                let response = self.etcd.txn(&requests::enter(lease, &key, &value), self.limits);
                self.committed(Author::Queue);
                response.map_or_else(refused, |response| requests::entered(&response).expect("it is there"))
            }
            Request::Look => requests::looked(self.etcd.range(&requests::look(&self.keys))),
            Request::Read { candidate } => {
                let all = [self.keys.objects(), self.keys.marks()];
                let pairs = all.iter().flat_map(|range| self.etcd.range(&requests::range(range)).kvs);
                let entries = pairs.map(requests::entry).collect();
                let own = self.etcd.range(&requests::range(&KeyRange::single(candidate)));
                let revision = requests::revision(own.header.as_ref());
                Answer::Content { revision, entries, standing: requests::standing(&own.kvs) }
            }
            Request::Write { fence, steps } => {
                let response = self.etcd.txn(&requests::write(&self.keys, &fence, &steps), self.limits);
                self.committed(Author::Leader { replica, life, ticket });
                response.map_or_else(refused, |response| requests::wrote(&response))
            }
        };
        if let Some(after) = self.travel(replica) {
            self.at(after, Next::Tell { replica, life, event: Event::Answered(ticket, answer), watch: None });
        }
    }

    /// Has the invariants and the watchers see what was committed.
    pub fn committed(&mut self, author: Author) {
        for commit in self.etcd.news() {
            for replica in 0..self.replicas.len() {
                self.notify(replica, &commit, true);
                self.notify(replica, &commit, false);
            }
            self.fresh.push((author, commit));
        }
    }

    fn watch(&mut self, replica: usize, range: KeyRange, deletions_only: bool) -> Option<Watch> {
        self.numbers += 1;
        let watch = Watch { number: self.numbers, range, deletions_only, latest: self.now };
        (!self.replicas[replica].cut_off).then_some(watch)
    }

    /// Sends a new watch what happened since a revision.
    fn catch_up(&mut self, replica: usize, revision: i64, queue: bool) {
        if self.replicas[replica].cut_off || revision < self.etcd.compacted {
            let life = self.replicas[replica].life;
            let event = if queue { Event::QueueLost } else { Event::ContentLost };
            self.at(Duration::from_millis(300), Next::Tell { replica, life, event, watch: None });
            return;
        }
        let missed: Vec<_> = self.etcd.commits.iter().filter(|commit| commit.revision.0 > revision).cloned().collect();
        missed.iter().for_each(|commit| self.notify(replica, commit, queue));
    }

    fn notify(&mut self, replica: usize, commit: &Commit, queue: bool) {
        let (now, travel) = (self.now, Duration::from_micros(self.random.random_range(200..200_000)));
        let there = &mut self.replicas[replica];
        let life = there.life;
        let Some(watch) = (if queue { &mut there.queue_watch } else { &mut there.content_watch }) else { return };
        let wanted = |change: &&confcast::publish::held::Change| {
            watch.range.contains(&change.key) && (change.value.is_none() || !watch.deletions_only)
        };
        let changes: Vec<_> = commit.changes.iter().filter(wanted).cloned().collect();
        if changes.is_empty() || there.cut_off {
            return;
        }
        watch.latest = watch.latest.max(now + travel);
        let after = watch.latest - now;
        let event = if queue { Event::QueueMoved } else { Event::Content { revision: commit.revision, changes } };
        let number = Some(watch.number);
        self.at(after, Next::Tell { replica, life, event, watch: number });
    }
}
