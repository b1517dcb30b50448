//! The election: a queue of candidates in etcd, each with a key that lives as long as its lease. The first one leads;
//! its term is the create revision of its key.
//!
//! A leader that cannot keep its lease counts itself out when the lease would have ended, by its own clock. That is not
//! what keeps it from writing: a paused leader would not notice. The [`Fence`](super::exchange::Fence) does.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::asking::{Asked, Asking};
use super::exchange::{Answer, Candidate, Command, Failure, Request};
use super::keys::Keys;
use crate::store::Revision;

/// Pause after a request that failed.
const REST: Duration = Duration::from_millis(500);

/// Pause before the queue is looked at when it is no longer followed.
const LOST: Duration = Duration::from_millis(100);

/// A lease is kept so many times in its life.
const KEEPS: u32 = 3;

/// A leader: its key in the queue, and its term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) key: Bytes,
    pub(super) created: Revision,
}

/// A candidate's side of the election.
#[derive(Debug)]
pub(super) struct Election {
    keys: Keys,
    /// Who this is, for people.
    name: Bytes,
    ttl: Duration,
    stage: Stage,
    lease: Option<Lease>,
    asked: Asked,
    keeping: Asked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Not a candidate.
    Out,
    /// Until then nothing is tried.
    Resting(Instant),
    Granting,
    /// The lease is there; the place in the queue is asked for when the time comes.
    Entering(Instant),
    /// In the queue.
    Standing {
        created: Revision,
        leads: bool,
        followed: bool,
        look_at: Instant,
    },
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    id: i64,
    ttl: Duration,
    ends: Instant,
    keep_at: Instant,
}

impl Election {
    pub(super) fn new(keys: Keys, name: Bytes, ttl: Duration) -> Self {
        Self { keys, name, ttl, stage: Stage::Out, lease: None, asked: Asked::default(), keeping: Asked::default() }
    }

    /// Takes part from now on.
    pub(super) fn stand(&mut self, now: Instant) {
        if self.stage == Stage::Out {
            self.stage = Stage::Resting(now);
        }
    }

    /// Takes no part any more.
    pub(super) fn leave(&mut self, asking: &mut Asking) {
        self.give_up(asking);
        self.stage = Stage::Out;
    }

    /// The term, while this is the leader.
    pub(super) fn term(&self) -> Option<Term> {
        match (&self.stage, self.lease) {
            (Stage::Standing { created, leads: true, .. }, Some(lease)) => {
                Some(Term { key: self.keys.candidate(lease.id), created: *created })
            }
            _ => None,
        }
    }

    /// A candidate has left the queue.
    pub(super) fn moved(&mut self, now: Instant) {
        self.look_by(now);
    }

    /// A write was refused because the key is not there. Leads no more unless a look at the queue says so.
    pub(super) fn doubt(&mut self, now: Instant) {
        if let Stage::Standing { leads, .. } = &mut self.stage {
            *leads = false;
        }
        self.look_by(now);
    }

    /// The queue is no longer followed.
    pub(super) fn lost(&mut self, now: Instant) {
        if let Stage::Standing { followed, .. } = &mut self.stage {
            *followed = false;
        }
        self.look_by(now + LOST);
    }

    /// What is to be done at `now`.
    pub(super) fn poll(&mut self, now: Instant, asking: &mut Asking) {
        if self.lease.is_some_and(|lease| lease.ends <= now) {
            self.give_up(asking);
            self.stage = Stage::Resting(now);
        }
        if self.asked.is_free() {
            let request = match (&mut self.stage, self.lease) {
                (Stage::Resting(until), _) if *until <= now => {
                    self.stage = Stage::Granting;
                    Some(Request::Grant { ttl: self.ttl })
                }
                (Stage::Entering(at), Some(lease)) if *at <= now => {
                    let key = self.keys.candidate(lease.id);
                    Some(Request::Enter { lease: lease.id, key, value: self.name.clone() })
                }
                (Stage::Standing { look_at, .. }, _) if *look_at <= now => {
                    // Set at once, so that what moves until the answer comes is looked at again.
                    *look_at = now + self.ttl;
                    Some(Request::Look)
                }
                _ => None,
            };
            if let Some(request) = request {
                self.asked = asking.ask(request, now);
            }
        }
        if let Some(lease) = self.lease
            && self.keeping.is_free()
            && lease.keep_at <= now
        {
            self.keeping = asking.ask(Request::Keep { lease: lease.id }, now);
        }
    }

    /// Takes an answer, and returns it if it is not for the election.
    pub(super) fn answered(
        &mut self,
        ticket: super::Ticket,
        answer: Answer,
        now: Instant,
        asking: &mut Asking,
    ) -> Option<Answer> {
        if let Some(sent) = self.keeping.take(ticket) {
            self.kept(&answer, sent, now, asking);
            None
        } else if let Some(sent) = self.asked.take(ticket) {
            self.asked_answered(answer, sent, now, asking);
            None
        } else {
            Some(answer)
        }
    }

    /// When to poll again, if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let next = match &self.stage {
            _ if !self.asked.is_free() => None,
            Stage::Resting(at) | Stage::Entering(at) | Stage::Standing { look_at: at, .. } => Some(*at),
            Stage::Out | Stage::Granting => None,
        };
        let lease =
            self.lease.map(|lease| if self.keeping.is_free() { lease.keep_at.min(lease.ends) } else { lease.ends });
        [next, lease].into_iter().flatten().min()
    }

    fn kept(&mut self, answer: &Answer, sent: Instant, now: Instant, asking: &mut Asking) {
        let Some(lease) = &mut self.lease else { return };
        match answer {
            &Answer::Kept { ttl } if ttl > Duration::ZERO => {
                *lease = Lease { id: lease.id, ttl, ends: sent + ttl, keep_at: now + ttl / KEEPS };
            }
            Answer::Kept { .. } | Answer::Failed(Failure::LeaseGone) => {
                self.give_up(asking);
                self.stage = Stage::Resting(now);
            }
            _ => lease.keep_at = now + REST.min(lease.ttl / (2 * KEEPS)),
        }
    }

    fn asked_answered(&mut self, answer: Answer, sent: Instant, now: Instant, asking: &mut Asking) {
        match (&mut self.stage, answer) {
            (Stage::Granting, Answer::Granted { lease, ttl }) => {
                self.lease = Some(Lease { id: lease, ttl, ends: sent + ttl, keep_at: now + ttl / KEEPS });
                self.stage = Stage::Entering(now);
            }
            (Stage::Granting, _) => self.stage = Stage::Resting(now + REST),
            (Stage::Entering(_), Answer::Entered { created }) => {
                self.stage = Stage::Standing { created, leads: false, followed: false, look_at: now };
            }
            (_, Answer::Failed(Failure::LeaseGone)) => {
                self.give_up(asking);
                self.stage = Stage::Resting(now);
            }
            (Stage::Entering(at), _) => *at = now + REST,
            (Stage::Standing { .. }, Answer::Queue { revision, candidates }) => {
                self.looked(revision, &candidates, now, asking);
            }
            (Stage::Standing { look_at, .. }, _) => *look_at = (now + REST).min(*look_at),
            (Stage::Out | Stage::Resting(_), _) => {}
        }
    }

    fn looked(&mut self, revision: Revision, candidates: &[Candidate], now: Instant, asking: &mut Asking) {
        let own = self.lease.map(|lease| self.keys.candidate(lease.id));
        let Stage::Standing { created, leads, followed, .. } = &mut self.stage else { return };
        let there = candidates.iter().any(|other| Some(&other.key) == own.as_ref() && other.created == *created);
        if !there {
            // The lease has ended, or somebody took the key away.
            self.give_up(asking);
            self.stage = Stage::Resting(now);
            return;
        }
        *leads = candidates.iter().all(|other| other.created >= *created);
        if !*followed {
            *followed = true;
            asking.command(Command::FollowQueue(revision));
        }
    }

    /// Looks at the queue no later than at `at`.
    fn look_by(&mut self, at: Instant) {
        if let Stage::Standing { look_at, .. } = &mut self.stage {
            *look_at = at.min(*look_at);
        }
    }

    /// Gives the lease back, if there is one. Whether that arrives does not matter: it ends by itself.
    fn give_up(&mut self, asking: &mut Asking) {
        if let Some(lease) = self.lease.take() {
            asking.forget(Request::Revoke { lease: lease.id });
        }
        self.asked = Asked::default();
        self.keeping = Asked::default();
    }
}
