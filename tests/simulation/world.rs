//! The world of a simulation: an etcd, replicas of a publisher, the network between them, a source, and users that
//! write into the same etcd. Everything that happens is drawn from one seed.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use confcast::publish::exchange::{Answer, Failure, Request};
use confcast::publish::{Engine, Event, Foreign, Keys, Limits, Settings, Standby, Ticket};
use confcast::store::KeyRange;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use crate::etcd::{Commit, Etcd, LEASE_TICK};
use crate::faults::{self, Habits};
use crate::source::Source;

pub const PREFIX: &str = "/apisix";
pub const REPLICAS: usize = 3;
pub const LEASE: Duration = Duration::from_secs(5);

/// When the driver counts a request as failed.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// How long faults go on, and how long it may take until all is well after them.
pub const CHAOS: Duration = Duration::from_secs(30);
pub const CALM: Duration = Duration::from_secs(40);

/// Who made a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// A write of a leader: which replica, in which of its lives, and by which request.
    Leader {
        replica: usize,
        life: u64,
        ticket: Ticket,
    },
    /// A place in the queue was taken or left.
    Queue,
    User,
}

/// Something that will happen.
#[derive(Debug)]
pub enum Next {
    /// A request reaches etcd.
    Arrive {
        replica: usize,
        life: u64,
        ticket: Ticket,
        request: Request,
    },
    /// A replica is told something; by a watch, if there is a number, and not if that is another one by then.
    Tell {
        replica: usize,
        life: u64,
        event: Event,
        watch: Option<u64>,
    },
    /// The driver has waited long enough.
    Overdue {
        replica: usize,
        life: u64,
        ticket: Ticket,
    },
    Timer {
        replica: usize,
        life: u64,
    },
    LeaseTick,
    SourceChange,
    UserWrite,
    Fault,
    Resume {
        replica: usize,
        life: u64,
    },
    Restart {
        replica: usize,
    },
    Heal {
        replica: usize,
    },
    /// The faults are over.
    Mend,
}

#[derive(Debug)]
pub struct Watch {
    pub number: u64,
    pub range: KeyRange,
    pub deletions_only: bool,
    /// No message overtakes another one.
    pub latest: Instant,
}

#[derive(Debug)]
pub struct Replica {
    pub engine: Engine,
    pub life: u64,
    pub up: bool,
    pub paused: bool,
    pub cut_off: bool,
    /// What came while it was paused.
    inbox: Vec<(Event, Option<u64>)>,
    pub pending: BTreeSet<Ticket>,
    pub queue_watch: Option<Watch>,
    pub content_watch: Option<Watch>,
}

pub struct World {
    pub seed: u64,
    pub random: StdRng,
    pub habits: Habits,
    pub keys: Keys,
    pub limits: Limits,
    pub now: Instant,
    pub began: Instant,
    pub faults_were_made: bool,
    pub etcd: Etcd,
    pub source: Source,
    pub replicas: Vec<Replica>,
    /// Commits that no invariant has seen.
    pub fresh: Vec<(Author, Commit)>,
    agenda: BinaryHeap<Reverse<(Instant, u64)>>,
    happenings: std::collections::HashMap<u64, Next>,
    pub numbers: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let habits = Habits::draw(&mut random);
        let now = Instant::now();
        let limits = Limits { operations: random.random_range(4..14), bytes: random.random_range(5_500..9_000) };
        let mut world = Self {
            seed,
            random,
            habits,
            keys: Keys::new(PREFIX),
            limits,
            now,
            began: now,
            faults_were_made: false,
            etcd: Etcd::default(),
            source: Source::default(),
            replicas: Vec::new(),
            fresh: Vec::new(),
            agenda: BinaryHeap::new(),
            happenings: std::collections::HashMap::new(),
            numbers: 0,
        };
        world.source.change(&mut world.random);
        for replica in 0..REPLICAS {
            let engine = world.engine(replica);
            world.replicas.push(Replica {
                engine,
                life: 0,
                up: false,
                paused: false,
                cut_off: false,
                inbox: Vec::new(),
                pending: BTreeSet::new(),
                queue_watch: None,
                content_watch: None,
            });
            let at = world.random.random_range(0..500);
            world.at(Duration::from_millis(at), Next::Restart { replica });
        }
        world.at(LEASE_TICK, Next::LeaseTick);
        world.at(Duration::from_secs(1), Next::SourceChange);
        world.at(Duration::from_secs(1), Next::UserWrite);
        let first = world.random.random_range(0..=2 * world.habits.faults);
        world.at(Duration::from_millis(first), Next::Fault);
        world.at(CHAOS, Next::Mend);
        world
    }

    fn engine(&self, replica: usize) -> Engine {
        Engine::new(Settings {
            prefix: PREFIX.into(),
            name: format!("replica-{replica}"),
            lease: LEASE,
            standby: if self.habits.cold { Standby::Cold } else { Standby::Warm },
            foreign: if self.habits.takes { Foreign::Take } else { Foreign::Keep },
            limits: self.limits,
        })
    }

    /// Whether faults are still made.
    pub fn chaos(&self) -> bool {
        self.now - self.began < CHAOS
    }

    pub fn at(&mut self, after: Duration, next: Next) {
        self.numbers += 1;
        self.agenda.push(Reverse((self.now + after, self.numbers)));
        self.happenings.insert(self.numbers, next);
    }

    /// Lets the next thing happen; false when time is up.
    pub fn step(&mut self) -> bool {
        let Some(Reverse((at, number))) = self.agenda.pop() else { return false };
        if at - self.began > CHAOS + CALM {
            return false;
        }
        self.now = at;
        match self.happenings.remove(&number).expect("it is planned") {
            Next::Arrive { replica, life, ticket, request } => self.arrive(replica, life, ticket, request),
            Next::Tell { replica, life, event, watch } => {
                if self.replicas[replica].life == life {
                    self.tell(replica, event, watch);
                }
            }
            Next::Overdue { replica, life, ticket } => {
                if self.replicas[replica].life == life && self.replicas[replica].pending.contains(&ticket) {
                    let failure = Answer::Failed(Failure::Unknown("overdue".into()));
                    self.tell(replica, Event::Answered(ticket, failure), None);
                }
            }
            Next::Timer { replica, life } => {
                let there = &self.replicas[replica];
                if there.life == life && there.engine.deadline().is_some_and(|deadline| deadline <= self.now) {
                    self.tell(replica, Event::Time, None);
                }
            }
            Next::LeaseTick => {
                self.etcd.expire(self.now);
                self.committed(Author::Queue);
                self.at(LEASE_TICK, Next::LeaseTick);
            }
            other => faults::happen(self, &other),
        }
        true
    }

    /// A replica begins a new life, and knows nothing of an earlier one.
    pub fn restart(&mut self, replica: usize) {
        let engine = self.engine(replica);
        let there = &mut self.replicas[replica];
        there.life += 1;
        there.engine = engine;
        (there.up, there.paused) = (true, false);
        there.inbox.clear();
        there.pending.clear();
        (there.queue_watch, there.content_watch) = (None, None);
        self.tell(replica, Event::Time, None);
        self.inform(replica);
    }

    /// The replica hears what the source wants, after a while.
    pub fn inform(&mut self, replica: usize) {
        let (life, wanted) = (self.replicas[replica].life, self.source.wanted());
        // In order, as from one control plane.
        let after = Duration::from_millis(if self.chaos() { 300 } else { 10 });
        self.at(after, Next::Tell { replica, life, event: Event::Wanted(Some(wanted)), watch: None });
    }

    pub fn resume(&mut self, replica: usize) {
        self.replicas[replica].paused = false;
        let mut inbox = std::mem::take(&mut self.replicas[replica].inbox);
        // What has come meanwhile is looked at in no certain order; the watches' messages stay in theirs.
        if self.random.random_bool(0.5) {
            inbox.sort_by_key(|(_, watch)| watch.is_none());
        }
        for (event, watch) in inbox {
            self.tell(replica, event, watch);
        }
        self.tell(replica, Event::Time, None);
    }

    /// The watches of a replica break.
    pub fn break_watches(&mut self, replica: usize, after: Duration) {
        let there = &mut self.replicas[replica];
        let life = there.life;
        if there.queue_watch.take().is_some() {
            self.at(after, Next::Tell { replica, life, event: Event::QueueLost, watch: None });
        }
        if self.replicas[replica].content_watch.take().is_some() {
            self.at(after, Next::Tell { replica, life, event: Event::ContentLost, watch: None });
        }
    }

    fn tell(&mut self, replica: usize, event: Event, watch: Option<u64>) {
        let now = self.now;
        let there = &mut self.replicas[replica];
        if !there.up {
            return;
        }
        if there.paused {
            there.inbox.push((event, watch));
            return;
        }
        let current = |watch: &Option<Watch>| watch.as_ref().map(|watch| watch.number);
        if watch.is_some() && watch != current(&there.queue_watch) && watch != current(&there.content_watch) {
            return;
        }
        if let Event::Answered(ticket, _) = &event
            && !there.pending.remove(ticket)
        {
            return;
        }
        let commands = there.engine.handle(event, now);
        let life = there.life;
        if let Some(deadline) = there.engine.deadline() {
            let after = deadline.saturating_duration_since(now);
            self.at(after, Next::Timer { replica, life });
        }
        for command in commands {
            self.carry_out(replica, command);
        }
    }
}
