//! A publisher without any I/O: events come in, commands go out.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::asking::Asking;
use super::election::{Election, Term};
use super::exchange::{Command, Event};
use super::keys::Keys;
use super::plan::{Foreign, Limits};
use super::writer::{Published, Verdict, Writer};
use crate::store::Revision;

/// Settings of a publisher.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Below which key the objects are, without a slash at its end.
    pub prefix: String,
    /// Who this replica is, for people that look at the queue.
    pub name: String,
    /// How long a replica's lease lives without being kept: the time after which another one takes over from one that
    /// has died.
    pub lease: Duration,
    /// When a replica stands for election.
    pub standby: Standby,
    /// What happens to objects of others at the places of wanted ones.
    pub foreign: Foreign,
    /// What a transaction may hold.
    pub limits: Limits,
}

/// What a replica does while another one leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standby {
    /// It follows the source as well, so that it can take over at once. It stands for election only when it knows what
    /// the source wants.
    #[default]
    Warm,
    /// It does not follow the source until it leads.
    Cold,
}

/// What a publisher is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The term in which this replica leads: the create revision of its key. None if another one leads, or none does.
    pub term: Option<Revision>,
    /// Number of objects that the source wants; none if that is not known.
    pub wanted: Option<usize>,
    /// What was done in this term.
    pub published: Published,
}

/// The state of a publisher.
#[derive(Debug)]
pub struct Engine {
    election: Election,
    writer: Writer,
    asking: Asking,
    standby: Standby,
    wanted: Option<usize>,
    resigned: bool,
}

impl Engine {
    /// A publisher that has not begun. It begins with the first event.
    pub fn new(settings: Settings) -> Self {
        let keys = Keys::new(&settings.prefix);
        Self {
            election: Election::new(keys.clone(), Bytes::from(settings.name), settings.lease),
            writer: Writer::new(keys, settings.foreign, settings.limits),
            asking: Asking::default(),
            standby: settings.standby,
            wanted: None,
            resigned: false,
        }
    }

    /// Takes an event at `now`, and returns what is to be done.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Command> {
        match event {
            Event::Wanted(wanted) => {
                self.wanted = wanted.as_ref().map(super::Wanted::len);
                self.writer.want(wanted);
            }
            Event::Answered(ticket, answer) => {
                let rest = self.election.answered(ticket, answer, now, &mut self.asking);
                let verdict = rest.map(|answer| self.writer.answered(ticket, answer, now, &mut self.asking));
                if verdict == Some(Verdict::Deposed) {
                    self.writer.set_term(None, now, &mut self.asking);
                    self.election.doubt(now);
                }
            }
            Event::QueueMoved => self.election.moved(now),
            Event::QueueLost => self.election.lost(now),
            Event::Content { revision, changes } => self.writer.changed(revision, &changes),
            Event::ContentLost => self.writer.lost(),
            Event::Time => {}
            Event::Resign => {
                self.resigned = true;
                self.election.leave(&mut self.asking);
            }
        }
        if !self.resigned && (self.standby == Standby::Cold || self.wanted.is_some()) {
            self.election.stand(now);
        }
        self.election.poll(now, &mut self.asking);
        let term = self.election.term();
        if self.writer.term() != term.as_ref().map(|Term { key, created }| (key.as_ref(), *created)) {
            self.writer.set_term(term, now, &mut self.asking);
        }
        self.writer.poll(now, &mut self.asking);
        self.asking.take()
    }

    /// When [`Event::Time`] is to come, if nothing else does before.
    pub fn deadline(&self) -> Option<Instant> {
        [self.election.deadline(), self.writer.deadline()].into_iter().flatten().min()
    }

    /// What the publisher is doing.
    pub fn status(&self) -> Status {
        let term = self.election.term().map(|term| term.created);
        Status { term, wanted: self.wanted, published: self.writer.published().clone() }
    }
}
