//! When to commit: not in the middle of a push, and not too long after it.

use std::time::Duration;

use tokio::time::Instant;

/// The times that a view keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// A commit waits until nothing has changed for this long, so that the responses of one push fall together.
    /// Default 25 ms, well above the gap between the responses of one push and below what people notice.
    pub quiet: Duration,
    /// A commit does not wait longer than this after the first change. Default 250 ms.
    pub most: Duration,
    /// How long a commit waits for something that a resource refers to and that the source has not sent, counted from
    /// the first change. Default 20 s, above the 15 s after which the xDS client gives such a thing up.
    pub warming: Duration,
    /// How long an upstream that is used no more stays for an APISIX before 3.4, which may hear of it before it hears of
    /// the routes. Default 5 s.
    pub grace: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(25),
            most: Duration::from_millis(250),
            warming: Duration::from_secs(20),
            grace: Duration::from_secs(5),
        }
    }
}

/// Decides when to commit.
#[derive(Debug)]
pub(super) struct Pacer {
    pace: Pace,
    /// First and last change that is not committed.
    waiting: Option<(Instant, Instant)>,
    /// Whether the source has all that it referred to.
    complete: bool,
    /// Whether it ever had.
    ever_complete: bool,
    /// Not before this, after a failure.
    not_before: Option<Instant>,
}

impl Pacer {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, waiting: None, complete: false, ever_complete: false, not_before: None }
    }

    /// Notes what the source said: whether anything is to be committed, and whether it has all that it referred to.
    pub(super) fn note(&mut self, changed: bool, complete: bool, now: Instant) {
        self.complete = complete;
        self.ever_complete |= complete;
        if changed {
            let first = self.waiting.map_or(now, |(first, _)| first);
            self.waiting = Some((first, now));
        }
    }

    /// When to commit what is waiting; none if nothing is, or if it is not known.
    pub(super) fn due(&self) -> Option<Instant> {
        let (first, last) = self.waiting?;
        let due = if self.complete {
            (last + self.pace.quiet).min(first + self.pace.most)
        } else if self.ever_complete {
            first + self.pace.warming
        } else {
            // A configuration that was never complete is never shown.
            return None;
        };
        Some(self.not_before.map_or(due, |not_before| due.max(not_before)))
    }

    /// Everything noted so far is being committed.
    pub(super) fn done(&mut self) {
        self.waiting = None;
        self.not_before = None;
    }

    /// What waits is to be tried at once.
    pub(super) fn at_once(&mut self, now: Instant) {
        self.waiting = self.waiting.map(|_| (now, now));
        self.not_before = None;
    }

    /// The commit failed and is to be tried again then.
    pub(super) fn again_at(&mut self, then: Instant) {
        self.waiting = Some(self.waiting.unwrap_or((then, then)));
        self.not_before = Some(then);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        quiet: Duration::from_millis(10),
        most: Duration::from_millis(50),
        warming: Duration::from_millis(500),
        grace: Duration::ZERO,
    };

    /// Feeds (time, changed, complete) and tells when the commit is due, all in milliseconds.
    fn due(steps: &[(u64, bool, bool)]) -> Option<u128> {
        let start = Instant::now();
        let mut pacer = Pacer::new(PACE);
        for (at, changed, complete) in steps {
            pacer.note(*changed, *complete, start + Duration::from_millis(*at));
        }
        pacer.due().map(|due| due.duration_since(start).as_millis())
    }

    #[test]
    fn waits_for_quiet_completeness_and_not_for_ever() {
        assert_eq!(due(&[]), None);
        assert_eq!(due(&[(0, true, true)]), Some(10));
        assert_eq!(due(&[(0, true, true), (8, true, true)]), Some(18), "a push goes on");
        assert_eq!(due(&[(0, true, true), (45, true, true)]), Some(50), "it does not end");
        assert_eq!(due(&[(0, true, false)]), None, "never complete before");
        assert_eq!(due(&[(0, false, true), (1, true, false)]), Some(501), "waits for what is missing");
        assert_eq!(due(&[(0, false, true), (1, true, false), (40, false, true)]), Some(11), "until it is there");
    }

    #[test]
    fn a_failed_commit_is_tried_again() {
        let now = Instant::now();
        let mut pacer = Pacer::new(PACE);
        pacer.note(true, true, now);
        pacer.done();
        assert_eq!(pacer.due(), None);
        let later = now + Duration::from_secs(3);
        pacer.again_at(later);
        assert!(pacer.due().is_some_and(|due| due >= later));
        pacer.note(true, true, now + Duration::from_secs(1));
        assert!(pacer.due().is_some_and(|due| due >= later), "a new change does not shorten the wait");
    }
}
