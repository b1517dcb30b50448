//! Failed log-ins, counted, so that passwords cannot be guessed at the speed of the network.
//!
//! Failures are counted for a minute from the first on, three ways: of one user from one address, of one address
//! whatever the names, and of one user from anywhere. The last never locks anybody out, or an attacker could do that
//! to the operator: it only leaves each address a single failure, so that whoever knows the password still gets in
//! with the first try.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::AuthError;
use super::peer::network;
use crate::telemetry::serve as limits;

/// For how long failures count, from the first on.
const WINDOW: Duration = Duration::from_mins(1);

/// What an address may fail with whatever names, as a multiple of what it may with one.
const OF_ADDRESS: usize = 5;

/// From how many failures on a user counts as attacked, as a multiple of what one address may.
const OF_USER: usize = 10;

/// Entries that are kept of each kind; the oldest are forgotten for new ones.
const KEPT: usize = 8192;

/// How often the log tells of log-ins that are refused.
const TOLD: Duration = Duration::from_secs(10);

/// Counts failed log-ins.
#[derive(Debug)]
pub struct Attempts {
    /// How often one user may fail from one address.
    most: AtomicUsize,
    /// Makes numbers of names, as long names would take memory. Nobody can tell which names share one.
    names: RandomState,
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    pairs: Table<(IpAddr, u64)>,
    addresses: Table<IpAddr>,
    users: Table<u64>,
    told: Option<Instant>,
}

/// Who tries to log in as whom.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// None for programs that embed the server, which are not limited.
    address: Option<IpAddr>,
    user: u64,
}

impl Attempts {
    /// `most` failures of one user from one address; [`usize::MAX`] for no limits.
    pub fn new(most: usize) -> Self {
        Self { most: AtomicUsize::new(most), names: RandomState::new(), tables: Mutex::default() }
    }

    /// Changes how often one user may fail from one address, from the next attempt on.
    pub fn limit(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// An attempt from an address to log in as `user`.
    pub fn begin(&self, address: Option<IpAddr>, user: &str) -> Attempt {
        let address = address.filter(|_| self.most.load(Ordering::Relaxed) != usize::MAX).map(network);
        Attempt { address, user: self.names.hash_one(user) }
    }

    /// Refuses an attempt if there were too many failures.
    pub fn check(&self, attempt: Attempt) -> Result<(), AuthError> {
        let Attempt { address: Some(address), user } = attempt else { return Ok(()) };
        let (now, most) = (Instant::now(), self.most.load(Ordering::Relaxed));
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = tables.pairs.get(&(address, user), now);
        let attacked = tables.users.get(&user, now).failures >= most.saturating_mul(OF_USER);
        let of_address = tables.addresses.get(&address, now);
        let (limit, since) = if pair.failures >= most {
            (limits::OF_LOGINS, pair.since)
        } else if of_address.failures >= most.saturating_mul(OF_ADDRESS) {
            (limits::OF_LOGINS_OF_ADDRESS, of_address.since)
        } else if attacked && pair.failures > 0 {
            (limits::OF_LOGINS_OF_USER, pair.since)
        } else {
            return Ok(());
        };
        limits::refused(limit);
        if tables.told.is_none_or(|told| now.duration_since(told) >= TOLD) {
            tables.told = Some(now);
            tracing::warn!(client = %address, "too many failed log-ins; more are refused, see --max-failed-logins");
        }
        let left = (since + WINDOW).saturating_duration_since(now);
        Err(AuthError::TooManyFailures { seconds: left.as_secs() + 1 })
    }

    /// Counts a failure.
    pub fn failed(&self, attempt: Attempt) {
        let Attempt { address: Some(address), user } = attempt else { return };
        let now = Instant::now();
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.pairs.add((address, user), now);
        tables.addresses.add(address, now);
        tables.users.add(user, now);
    }

    /// Takes back the failures of this user from this address, and none else: who has a password of one user may not
    /// guess those of others for longer.
    pub fn succeeded(&self, attempt: Attempt) {
        let Attempt { address: Some(address), user } = attempt else { return };
        let now = Instant::now();
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = tables.pairs.get(&(address, user), now).failures;
        if failures > 0 {
            tables.pairs.take(&(address, user), failures);
            tables.addresses.take(&address, failures);
            tables.users.take(&user, failures);
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Count {
    since: Instant,
    failures: usize,
}

/// Counts by key. The oldest end first, as all last equally long.
#[derive(Debug)]
struct Table<K> {
    counts: HashMap<K, Count>,
    /// The keys of `counts`, each once, by age.
    by_age: VecDeque<K>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { counts: HashMap::new(), by_age: VecDeque::new() }
    }
}

impl<K: Copy + Eq + Hash> Table<K> {
    fn get(&mut self, key: &K, now: Instant) -> Count {
        while let Some(oldest) = self.by_age.front()
            && self.counts.get(oldest).is_none_or(|count| now.duration_since(count.since) >= WINDOW)
        {
            self.forget_oldest();
        }
        self.counts.get(key).copied().unwrap_or(Count { since: now, failures: 0 })
    }

    fn add(&mut self, key: K, now: Instant) {
        let Count { since, failures } = self.get(&key, now);
        if self.counts.insert(key, Count { since, failures: failures + 1 }).is_none() {
            self.by_age.push_back(key);
        }
        if self.counts.len() > KEPT {
            self.forget_oldest();
        }
    }

    fn take(&mut self, key: &K, failures: usize) {
        if let Some(count) = self.counts.get_mut(key) {
            count.failures = count.failures.saturating_sub(failures);
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.by_age.pop_front() {
            self.counts.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(attempts: &Attempts, from: &str, user: &str) -> Attempt {
        attempts.begin(Some(from.parse().expect("an address")), user)
    }

    fn fail(attempts: &Attempts, from: &str, user: &str, times: usize) {
        for _ in 0..times {
            attempts.failed(begin(attempts, from, user));
        }
    }

    fn refused(attempts: &Attempts, from: &str, user: &str) -> bool {
        attempts.check(begin(attempts, from, user)).is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_is_refused_from_the_address_that_failed_and_from_no_other() {
        let attempts = Attempts::new(3);
        fail(&attempts, "10.0.0.1", "root", 2);
        assert!(!refused(&attempts, "10.0.0.1", "root"));
        tokio::time::advance(WINDOW / 2).await;
        fail(&attempts, "10.0.0.1", "root", 1);
        let error = attempts.check(begin(&attempts, "::ffff:10.0.0.1", "root"));
        assert_eq!(error, Err(AuthError::TooManyFailures { seconds: 31 }));
        assert!(!refused(&attempts, "10.0.0.2", "root") && !refused(&attempts, "10.0.0.1", "other"));
        assert!(attempts.check(attempts.begin(None, "root")).is_ok(), "a program that embeds the server");
        tokio::time::advance(WINDOW / 2).await;
        assert!(!refused(&attempts, "10.0.0.1", "root"), "a minute after the first failure");
        fail(&attempts, "2001:db8:1:2::1", "root", 3);
        assert!(refused(&attempts, "2001:db8:1:2::2", "root"), "one network of IPv6");
        assert!(!refused(&attempts, "2001:db8:1:3::2", "root"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_takes_back_the_failures_of_its_user_alone() {
        let attempts = Attempts::new(3);
        for round in 0..20 {
            fail(&attempts, "10.0.0.1", "a", 2);
            assert!(!refused(&attempts, "10.0.0.1", "a"), "{round}");
            attempts.succeeded(begin(&attempts, "10.0.0.1", "a"));
        }
        for user in 0..OF_ADDRESS {
            fail(&attempts, "10.0.0.1", &format!("user {user}"), 3);
            attempts.succeeded(begin(&attempts, "10.0.0.1", "a"));
        }
        assert!(refused(&attempts, "10.0.0.1", "a"), "all names together, in spite of the successes");
        assert!(!refused(&attempts, "10.0.0.2", "a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_who_is_attacked_from_everywhere_has_one_try_from_each_address() {
        let attempts = Attempts::new(3);
        for host in 0..OF_USER {
            fail(&attempts, &format!("10.0.1.{host}"), "root", 3);
        }
        assert!(!refused(&attempts, "10.0.0.1", "root"), "the first try");
        fail(&attempts, "10.0.0.1", "root", 1);
        assert!(refused(&attempts, "10.0.0.1", "root"));
        assert!(!refused(&attempts, "10.0.0.1", "other"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_are_forgotten() {
        let attempts = Attempts::new(1);
        for number in 0..3 * u32::try_from(KEPT).expect("small") {
            let from = IpAddr::from(number.to_be_bytes());
            attempts.failed(attempts.begin(Some(from), &number.to_string()));
            attempts.succeeded(attempts.begin(Some(from), "other"));
        }
        let tables = attempts.tables.lock().expect("not poisoned");
        let lengths = |counts: usize, by_age: usize| assert_eq!((counts, by_age), (KEPT, KEPT));
        lengths(tables.pairs.counts.len(), tables.pairs.by_age.len());
        lengths(tables.addresses.counts.len(), tables.addresses.by_age.len());
        lengths(tables.users.counts.len(), tables.users.by_age.len());
        drop(tables);
        assert!(refused(&attempts, "0.0.95.255", "24575") && !refused(&attempts, "0.0.0.1", "1"));
    }

    #[tokio::test]
    async fn nothing_is_counted_without_a_limit() {
        let attempts = Attempts::new(usize::MAX);
        fail(&attempts, "10.0.0.1", "root", 1000);
        assert!(!refused(&attempts, "10.0.0.1", "root"));
        assert!(attempts.tables.lock().expect("not poisoned").pairs.counts.is_empty());
    }
}
