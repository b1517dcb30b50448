//! Holds what clients and followers saw against the truth.

use std::time::Instant;

use super::Event;
use super::follower::Heard;
use super::load::{Done, What};
use super::truth::{Truth, apply};

/// What there was to check.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checked {
    pub reads: usize,
    pub writes: usize,
    /// Responses that stood for several revisions, of which a mirror knew only the outcome.
    pub repairs: usize,
    pub reloads: usize,
    pub responses: usize,
}

/// Every answer says what was so at its revision.
pub fn answers(truth: &Truth, done: &[Done]) -> Result<Checked, String> {
    let mut checked = Checked::default();
    let mut reads: Vec<_> = done.iter().filter_map(|done| read_at(done).map(|at| (at, done))).collect();
    reads.sort_by_key(|(at, _)| *at);
    let mut reads = reads.into_iter().peekable();
    truth.replay(|from, until, state| {
        while let Some((_, done)) = reads.next_if(|(at, _)| (from..=until).contains(at)) {
            let What::Read { span, pairs, .. } = &done.what else { continue };
            let expected = state.values().filter(|pair| span.contains(&pair.key));
            if !expected.eq(pairs) {
                let expected: Vec<_> = state.values().filter(|pair| span.contains(&pair.key)).collect();
                return Err(format!("{done:?}\nbut the state was {expected:?}"));
            }
            checked.reads += 1;
        }
        Ok(())
    })?;
    for done in done {
        let events = truth.at(done.revision);
        let right = match &done.what {
            What::Read { past, .. } => *past <= done.revision && done.revision <= truth.last(),
            What::Wrote(pairs) => pairs.iter().all(|(key, value)| {
                events.iter().any(|event| !event.deleted && event.pair.key == *key && event.pair.value == *value)
            }),
            What::Deleted(_, 0) | What::Compacted => true,
            What::Deleted(span, count) => {
                events.iter().filter(|event| event.deleted && span.contains(&event.pair.key)).count() == *count
            }
        };
        if !right {
            return Err(format!("{done:?}\nbut in that revision {events:?}"));
        }
        checked.writes += usize::from(!matches!(done.what, What::Read { .. }));
    }
    Ok(checked)
}

/// The revision whose state a read shows.
fn read_at(done: &Done) -> Option<i64> {
    match &done.what {
        What::Read { past: 0, .. } => Some(done.revision),
        What::Read { past, .. } => Some(*past),
        _ => None,
    }
}

/// No linearizable answer is older than anything that anybody was shown before it was asked for.
pub fn linearizable(done: &[Done], followers: &[&[Heard]]) -> Result<(), String> {
    let mut shown: Vec<(Instant, i64)> = done.iter().map(|done| (done.ended, done.revision)).collect();
    for heard in followers.iter().copied().flatten() {
        match heard {
            Heard::Told { at, events, .. } => shown.extend(events.iter().map(|event| (*at, event.pair.modified))),
            Heard::Reloaded { at, revision, .. } => shown.push((*at, *revision)),
            Heard::Compacted { .. } => {}
        }
    }
    shown.sort_unstable();
    let mut shown = shown.into_iter().peekable();
    let mut asked: Vec<_> =
        done.iter().filter(|done| !matches!(done.what, What::Read { linearizable: false, .. })).collect();
    asked.sort_by_key(|done| done.began);
    let mut newest = 0;
    for done in asked {
        while let Some((_, revision)) = shown.next_if(|(at, _)| *at < done.began) {
            newest = newest.max(revision);
        }
        if done.revision < newest {
            return Err(format!("an answer from before {newest}, which somebody had been shown: {done:?}"));
        }
    }
    Ok(())
}

/// A follower that began at the first revision saw everything once, in order, whole; what it was told to reload is
/// what was. `may_lose` says whether it may be told that what comes after a revision is gone.
pub fn follower(truth: &Truth, heard: &[Heard], may_lose: impl Fn(i64) -> bool) -> Result<Checked, String> {
    let mut checked = Checked::default();
    let mut state = super::truth::State::new();
    let mut seen = 1;
    for heard in heard {
        match heard {
            Heard::Told { revision, events, .. } => {
                let last = events.iter().map(|event| event.pair.modified).max().unwrap_or_default();
                if events.iter().any(|event| event.pair.modified <= seen) || *revision < last {
                    return Err(format!("after {seen}: {heard:?}"));
                }
                apply(&mut state, events);
                checked.responses += 1;
                let mut until = last;
                if !same(events, &truth.between(seen, last)) {
                    // The outcome of several revisions is the state at the last of them, which is later than all events
                    // if a key was deleted in it of which the mirror had never known.
                    let outcome = (last..=*revision).find(|at| state == truth.state(*at));
                    let Some(outcome) = outcome.filter(|_| may_lose(seen + 1)) else {
                        let expected = truth.between(seen, last);
                        return Err(format!("after {seen}: {heard:?}\nbut what happened was {expected:?}"));
                    };
                    checked.repairs += 1;
                    until = outcome;
                }
                seen = until;
            }
            Heard::Compacted { asked, .. } if may_lose(*asked) => {}
            Heard::Compacted { .. } => return Err(format!("nothing was lost: {heard:?}")),
            Heard::Reloaded { revision, pairs, .. } => {
                state = truth.state(*revision);
                if !state.values().eq(pairs) {
                    return Err(format!("{heard:?}\nbut the state was {state:?}"));
                }
                seen = *revision;
                checked.reloads += 1;
            }
        }
    }
    if state == truth.state(seen) { Ok(checked) } else { Err(format!("it ended at {seen} with {state:?}")) }
}

/// Equal, event by event. Deletions of one revision come in the order of their keys from one and of their requests from
/// another; so do pairs, which are compared within a revision.
fn same(told: &[Event], expected: &[Event]) -> bool {
    let sorted = |events: &[Event]| {
        let mut events = events.to_vec();
        events.sort_by(|a, b| (a.pair.modified, a).cmp(&(b.pair.modified, b)));
        events
    };
    told.windows(2).all(|pair| pair[0].pair.modified <= pair[1].pair.modified) && sorted(told) == sorted(expected)
}
