//! Passwords: stored as Argon2id hashes, compared as slowly as that takes the first time, and cheaply after that.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use ring::hmac;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

/// Hashes that may be computed at the same time: each takes a core for some 20 ms and 19 MiB.
const AT_ONCE: usize = 2;

/// What makes equal passwords of different users have different hashes.
pub type Salt = [u8; 16];

/// Wrong passwords that are remembered. A fleet with a wrong one in its settings then costs one comparison, too.
const WRONG: usize = 1024;

/// Hashes passwords and compares with hashes.
#[derive(Debug)]
pub struct Passwords {
    places: Semaphore,
    verdicts: Mutex<Verdicts>,
    /// Known to this process alone: what is remembered of passwords says nothing without it.
    key: hmac::Key,
}

/// What comparisons have shown, so that each is made once.
#[derive(Debug, Default)]
struct Verdicts {
    /// Of each user the last right answer. A fleet that logs in with one password costs one slow comparison.
    right: HashMap<String, hmac::Tag>,
    /// Wrong answers, and these by age.
    wrong: HashSet<[u8; 32]>,
    by_age: VecDeque<[u8; 32]>,
}

/// Somebody says that a password is the one a user's hash was made of.
struct Claim<'a> {
    user: &'a str,
    /// None where there is no such user, or none with a password.
    hash: Option<&'a str>,
    password: &'a str,
}

impl Default for Passwords {
    fn default() -> Self {
        let key: [u8; 32] = rand::random();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Self { places: Semaphore::new(AT_ONCE), verdicts: Mutex::default(), key }
    }
}

impl Passwords {
    /// Hashes a password. The text has salt and parameters in it.
    pub async fn hash(&self, password: String, salt: Salt) -> String {
        let _place = self.place().await;
        slowly(move || hash(&password, &salt)).await
    }

    /// Whether `password` is the one that `hash` was made of. Without a hash it takes as long, and is not. `allowed` is
    /// asked before anything is looked at, and again after waiting for a place.
    pub async fn matches<E>(
        &self,
        user: &str,
        hash: Option<&str>,
        password: &str,
        allowed: impl Fn() -> Result<(), E>,
    ) -> Result<bool, E> {
        let claim = Claim { user, hash, password };
        allowed()?;
        if let Some(verdict) = self.verdict(&claim) {
            return Ok(verdict);
        }
        let _place = self.place().await;
        // Those who came before may have asked the same.
        allowed()?;
        if let Some(verdict) = self.verdict(&claim) {
            return Ok(verdict);
        }
        let (owned, secret) = (hash.map(str::to_owned), password.to_owned());
        let verdict = slowly(move || {
            let Some(owned) = owned else {
                self::hash(&secret, &Salt::default());
                return false;
            };
            verify(&owned, &secret)
        })
        .await;
        self.remember(&claim, verdict);
        Ok(verdict)
    }

    fn verdict(&self, claim: &Claim<'_>) -> Option<bool> {
        let content = claim.content();
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let right = verdicts.right.get(claim.user);
        if right.is_some_and(|tag| hmac::verify(&self.key, &content, tag.as_ref()).is_ok()) {
            return Some(true);
        }
        verdicts.wrong.contains(hmac::sign(&self.key, &content).as_ref()).then_some(false)
    }

    fn remember(&self, claim: &Claim<'_>, verdict: bool) {
        let tag = hmac::sign(&self.key, &claim.content());
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if verdict {
            verdicts.right.insert(claim.user.to_owned(), tag);
            return;
        }
        let tag = *tag.as_ref().first_chunk().expect("a tag of SHA-256 has 32 bytes");
        if verdicts.wrong.insert(tag) {
            verdicts.by_age.push_back(tag);
        }
        if verdicts.by_age.len() > WRONG
            && let Some(oldest) = verdicts.by_age.pop_front()
        {
            verdicts.wrong.remove(&oldest);
        }
    }

    async fn place(&self) -> SemaphorePermit<'_> {
        self.places.acquire().await.expect("never closed")
    }
}

impl Claim<'_> {
    /// All of it, so that no other claim has the same: with a new hash nothing of the old one counts.
    fn content(&self) -> Vec<u8> {
        let hash = self.hash.unwrap_or_default();
        let lengths = [self.user.len(), hash.len()].map(usize::to_be_bytes).concat();
        [lengths.as_slice(), self.user.as_bytes(), hash.as_bytes(), self.password.as_bytes()].concat()
    }
}

/// The hash of a password, with a salt of its own, for a file of users. Takes some time.
pub fn hash_of(password: &str) -> String {
    hash(password, &rand::random())
}

fn hash(password: &str, salt: &Salt) -> String {
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), salt);
    hash.expect("the default parameters and a salt of this length are valid").to_string()
}

fn verify(hash: &str, password: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// Runs on a thread of its own, which ends with it: an allocator keeps what it has for each thread, and would keep the
/// memory of a hash for every one of those that do other work, too.
async fn slowly<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name("password".into()).spawn(move || {
        // Nobody waits any more where the client has left.
        let _ = sender.send(work());
    });
    thread.expect("there is room for a thread");
    result.await.expect("hashing does not panic")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    async fn matches(passwords: &Passwords, hash: Option<&str>, password: &str) -> bool {
        let Ok(verdict) = passwords.matches("a", hash, password, || Ok::<_, Infallible>(())).await;
        verdict
    }

    #[tokio::test]
    async fn only_the_password_matches() {
        let passwords = Passwords::default();
        let hash = passwords.hash("secret".into(), [1; 16]).await;
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert_ne!(hash, passwords.hash("secret".into(), [2; 16]).await, "another salt makes another hash");
        for _ in 0..2 {
            assert!(matches(&passwords, Some(&hash), "secret").await);
            assert!(!matches(&passwords, Some(&hash), "Secret").await);
            assert!(!matches(&passwords, None, "secret").await);
        }
        let other = passwords.hash("other".into(), [1; 16]).await;
        assert!(!matches(&passwords, Some(&other), "secret").await, "a new password ends the old one");
        assert!(matches(&passwords, Some(&other), "other").await, "wrong before, right now");
    }

    /// With no place to hash, what was seen before is answered, right or wrong, and nothing else.
    #[tokio::test(start_paused = true)]
    async fn what_was_compared_once_is_known_also_to_those_who_wait() {
        let passwords = Passwords::default();
        let hash = passwords.hash("secret".into(), [1; 16]).await;
        let all = passwords.places.acquire_many(2).await.expect("open");
        let soon = std::time::Duration::from_secs(1);
        let waiting = matches(&passwords, Some(&hash), "secret");
        let (mut waiting, hash) = (std::pin::pin!(waiting), Some(hash.as_str()));
        assert!(tokio::time::timeout(soon, waiting.as_mut()).await.is_err(), "no place");
        for (password, verdict) in [("secret", true), ("wrong", false)] {
            assert!(tokio::time::timeout(soon, matches(&passwords, hash, password)).await.is_err());
            passwords.remember(&Claim { user: "a", hash, password }, verdict);
            assert_eq!(tokio::time::timeout(soon, matches(&passwords, hash, password)).await, Ok(verdict));
        }
        // It looks again before it hashes: with a verdict that is not the password's it can only have read that.
        passwords.verdicts.lock().expect("not poisoned").right.clear();
        passwords.remember(&Claim { user: "a", hash, password: "secret" }, false);
        drop(all);
        assert!(!waiting.await, "read, not computed");
    }

    #[tokio::test]
    async fn wrong_passwords_are_forgotten_in_the_end() {
        fn claim(password: &str) -> Claim<'_> {
            Claim { user: "a", hash: None, password }
        }
        let passwords = Passwords::default();
        for number in 0..2 * WRONG {
            let password = number.to_string();
            passwords.remember(&claim(&password), false);
            passwords.remember(&claim(&password), false);
        }
        assert_eq!(passwords.verdicts.lock().expect("not poisoned").wrong.len(), WRONG);
        assert_eq!((passwords.verdict(&claim("0")), passwords.verdict(&claim("2047"))), (None, Some(false)));
    }
}
