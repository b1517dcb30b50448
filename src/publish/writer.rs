//! The leader's work: to read what etcd holds, and to write what is different from what is wanted.
//!
//! One request is under way at a time. A write that is not answered may have taken place, and may do so later; then
//! what etcd holds is read anew, and an empty write that changes the leader's key makes sure that it no longer can.

use std::time::Duration;

use tokio::time::Instant;

use super::asking::{Asked, Asking};
use super::election::Term;
use super::exchange::{Answer, Command, Failure, Fence, Request, Standing};
use super::held::{Change, Held};
use super::keys::Keys;
use super::plan::{Action, Foreign, Limits, Plan, Step};
use super::wanted::Wanted;
use crate::apisix::placeholders;
use crate::store::Revision;

/// First pause after a failure; doubles up to [`REST_MAX`].
const REST_MIN: Duration = Duration::from_millis(100);
const REST_MAX: Duration = Duration::from_secs(5);

/// Least that limits are lowered to when etcd refuses a request for its size.
const LEAST: Limits = Limits { operations: 3, bytes: 64 << 10 };

/// What was done with what is wanted, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Whether etcd holds everything that is wanted, as far as it can.
    pub complete: bool,
    /// Transactions that were written in this term.
    pub writes: u64,
    /// Revision of the last of them.
    pub revision: Revision,
    /// Keys below the prefix at which somebody else's objects are where wanted ones belong.
    pub conflicts: Vec<String>,
    /// Keys of wanted objects that are too large for etcd, or refer to one that is.
    pub left_out: Vec<String>,
    /// Why the last request failed, until one does not.
    pub failure: Option<String>,
}

/// The leader's state.
#[derive(Debug)]
pub(super) struct Writer {
    keys: Keys,
    foreign: Foreign,
    limits: Limits,
    wanted: Option<Wanted>,
    stage: Stage,
    asked: Asked,
    fence: Option<Fence>,
    held: Held,
    plan: Plan,
    /// Whether the plan is not of what is wanted and held now.
    stale: bool,
    /// Whether a write may take place that was not answered.
    doubt: bool,
    /// Whether what etcd holds has to be read anew.
    unsure: bool,
    rest: Duration,
    published: Published,
}

#[derive(Debug)]
enum Stage {
    /// Not the leader.
    Off,
    Resting(Instant),
    Reading,
    Clearing,
    Ready,
    Writing(Vec<Step>),
}

/// Whether the leader is still the leader, as far as an answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Leads,
    Deposed,
}

impl Writer {
    pub(super) fn new(keys: Keys, foreign: Foreign, limits: Limits) -> Self {
        Self {
            keys,
            foreign,
            limits,
            wanted: None,
            stage: Stage::Off,
            asked: Asked::default(),
            fence: None,
            held: Held::default(),
            plan: Plan::default(),
            stale: false,
            doubt: false,
            unsure: false,
            rest: REST_MIN,
            published: Published::default(),
        }
    }

    /// What is wanted from now on.
    pub(super) fn want(&mut self, wanted: Option<Wanted>) {
        self.stale = true;
        self.published.complete = false;
        self.wanted = wanted;
    }

    pub(super) fn published(&self) -> &Published {
        &self.published
    }

    /// Which term is written in.
    pub(super) fn term(&self) -> Option<(&[u8], Revision)> {
        self.fence.as_ref().map(|fence| (fence.key.as_ref(), fence.term))
    }

    /// Begins a term, or ends the one there is.
    pub(super) fn set_term(&mut self, term: Option<Term>, now: Instant, asking: &mut Asking) {
        if self.fence.is_some() {
            asking.command(Command::ForgetContent);
        }
        self.stage = if term.is_some() { Stage::Resting(now) } else { Stage::Off };
        self.fence = term.map(|Term { key, created }| Fence { key, term: created, written: created });
        self.asked = Asked::default();
        self.held = Held::default();
        self.plan = Plan::default();
        // Nothing of an earlier term can take place, as its key is gone.
        (self.stale, self.doubt, self.unsure) = (true, false, false);
        self.rest = REST_MIN;
        self.published = Published::default();
    }

    /// What is to be done at `now`.
    pub(super) fn poll(&mut self, now: Instant, asking: &mut Asking) {
        let Some(fence) = self.fence.clone() else { return };
        match self.stage {
            Stage::Resting(until) if until <= now => {
                self.stage = Stage::Reading;
                self.unsure = false;
                self.asked = asking.ask(Request::Read { candidate: fence.key }, now);
            }
            Stage::Ready if self.unsure => self.pause(now, None),
            Stage::Ready => self.write(fence, now, asking),
            _ => {}
        }
    }

    /// When to poll again, if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Resting(until) => Some(until),
            _ => None,
        }
    }

    /// What changed in etcd, told up to `revision`.
    pub(super) fn changed(&mut self, revision: Revision, changes: &[Change]) {
        if self.fence.is_none() {
            return;
        }
        for change in changes {
            let news = self.held.apply(&self.keys, change);
            self.stale |= news && self.concerns(change);
        }
        if matches!(self.stage, Stage::Ready) {
            self.rest = REST_MIN;
            self.held.settle(revision);
        }
    }

    /// What changes in etcd is no longer told.
    pub(super) fn lost(&mut self) {
        self.unsure = true;
    }

    /// Takes an answer; one that is not expected is left alone.
    pub(super) fn answered(
        &mut self,
        ticket: super::Ticket,
        answer: Answer,
        now: Instant,
        asking: &mut Asking,
    ) -> Verdict {
        if self.asked.take(ticket).is_none() {
            return Verdict::Leads;
        }
        let Some(fence) = &mut self.fence else { return Verdict::Leads };
        let stage = std::mem::replace(&mut self.stage, Stage::Ready);
        match (stage, answer) {
            (Stage::Reading, Answer::Content { revision, entries, standing }) => {
                let Some(written) = still_stands(fence, standing) else { return Verdict::Deposed };
                fence.written = written;
                self.read(revision, &entries, now, asking);
            }
            (Stage::Clearing, Answer::Written { revision }) => {
                fence.written = revision;
                self.doubt = false;
            }
            (Stage::Writing(steps), Answer::Written { revision }) => {
                fence.written = revision;
                self.rest = REST_MIN;
                self.published.writes += 1;
                self.published.revision = revision;
                self.published.failure = None;
                self.carried_out(steps, revision);
            }
            (_, Answer::Refused { standing }) => {
                if still_stands(fence, standing).is_none() {
                    return Verdict::Deposed;
                }
                // Somebody changed a key, or a write of before took place.
                self.pause(now, None);
            }
            (Stage::Writing(_), Answer::Failed(Failure::TooLarge(reason))) => {
                self.limits.operations = (self.limits.operations / 2).max(LEAST.operations);
                self.limits.bytes = (self.limits.bytes / 2).max(LEAST.bytes);
                self.stale = true;
                self.pause(now, Some(reason));
            }
            (stage, answer) => {
                let reason = match answer {
                    Answer::Failed(failure) => failure,
                    other => Failure::Unknown(format!("an answer to something else: {other:?}")),
                };
                let wrote = matches!(stage, Stage::Writing(_) | Stage::Clearing);
                self.doubt |= wrote && matches!(reason, Failure::Unknown(_));
                self.pause(now, Some(reason.to_string()));
            }
        }
        Verdict::Leads
    }

    fn read(&mut self, revision: Revision, entries: &[Change], now: Instant, asking: &mut Asking) {
        self.held = Held::default();
        for entry in entries {
            self.held.apply(&self.keys, entry);
        }
        self.stale = true;
        asking.command(Command::FollowContent(revision));
        if let (true, Some(fence)) = (self.doubt, self.fence.clone()) {
            self.stage = Stage::Clearing;
            self.asked = asking.ask(Request::Write { fence, steps: Vec::new() }, now);
        }
    }

    /// Writes the next part of the plan, after making a new one if it is not of now.
    fn write(&mut self, fence: Fence, now: Instant, asking: &mut Asking) {
        let Some(wanted) = &self.wanted else { return };
        if self.stale {
            self.stale = false;
            self.plan = Plan::new(&self.keys, wanted, &self.held, self.foreign, self.limits);
            let name = |object: &crate::apisix::ObjectKey| format!("{}/{}", object.kind.directory(), object.id);
            self.published.conflicts = self.plan.conflicts.iter().map(name).collect();
            self.published.left_out = self.plan.too_large.iter().chain(&self.plan.waiting).map(name).collect();
        }
        let steps = self.plan.batch(self.limits);
        if steps.is_empty() {
            self.published.complete = true;
            return;
        }
        self.published.complete = false;
        self.asked = asking.ask(Request::Write { fence, steps: steps.clone() }, now);
        self.stage = Stage::Writing(steps);
    }

    fn carried_out(&mut self, steps: Vec<Step>, revision: Revision) {
        for Step { key, action, .. } in steps {
            let mark = self.keys.mark(&key);
            let (object, mark_value) = match action {
                Action::Put(value) => (Some(Some(value.bytes)), Some(Some(value.fingerprint.to_text()))),
                Action::Delete => (Some(None), Some(None)),
                Action::Placeholder => (Some(Some(placeholders::VALUE.into())), None),
                Action::Mark(fingerprint) => (None, Some(Some(fingerprint.to_text()))),
                Action::Unmark => (None, Some(None)),
            };
            for (key, value) in [(key, object), (mark, mark_value)] {
                if let Some(value) = value {
                    self.held.apply(&self.keys, &Change { key, value, revision });
                }
            }
        }
    }

    /// Whether a change may make the plan another one.
    fn concerns(&self, change: &Change) -> bool {
        let key = self.keys.marked(&change.key).unwrap_or_else(|| change.key.clone());
        let wanted = |object| self.wanted.as_ref().is_some_and(|wanted| wanted.contains(&object));
        self.held.is_marked(&key) || key.ends_with(b"/") || self.keys.object(&key).is_some_and(wanted)
    }

    /// Reads everything anew after a pause.
    fn pause(&mut self, now: Instant, failure: Option<String>) {
        self.published.failure = failure;
        self.published.complete = false;
        self.stage = Stage::Resting(now + self.rest);
        self.rest = (self.rest * 2).min(REST_MAX);
    }
}

/// When the leader's key was last written, if it still is that of the term.
fn still_stands(fence: &Fence, standing: Option<Standing>) -> Option<Revision> {
    standing.filter(|standing| standing.created == fence.term).map(|standing| standing.written)
}
