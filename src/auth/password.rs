//! Passwords: stored as Argon2id hashes, compared as slowly as that takes the first time, and cheaply after that.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use ring::hmac;
use tokio::sync::Semaphore;

/// Hashes that may be computed at the same time: each takes a core for some 20 ms and 19 MiB.
const AT_ONCE: usize = 2;

/// What makes equal passwords of different users have different hashes.
pub type Salt = [u8; 16];

/// Hashes passwords and compares with hashes.
#[derive(Debug)]
pub struct Passwords {
    places: Semaphore,
    /// Under a key that only this process knows: of each user, the hash that a password was found to belong to and a
    /// code of that password. A fleet that logs in with one password costs one slow comparison.
    known: Mutex<HashMap<String, (String, hmac::Tag)>>,
    key: hmac::Key,
}

impl Default for Passwords {
    fn default() -> Self {
        let key: [u8; 32] = rand::random();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Self { places: Semaphore::new(AT_ONCE), known: Mutex::default(), key }
    }
}

impl Passwords {
    /// Hashes a password. The text has salt and parameters in it.
    pub async fn hash(&self, password: String, salt: Salt) -> String {
        self.slowly(move || {
            let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
            hash.expect("the default parameters and a salt of this length are valid").to_string()
        })
        .await
    }

    /// Whether `password` is the one that `hash` was made of. Without a hash it takes as long, and is not.
    pub async fn matches(&self, user: &str, hash: Option<&str>, password: &str) -> bool {
        let Some(hash) = hash else {
            self.hash(password.to_owned(), Salt::default()).await;
            return false;
        };
        if let Some((known, tag)) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(user)
            && known == hash
            && hmac::verify(&self.key, password.as_bytes(), tag.as_ref()).is_ok()
        {
            return true;
        }
        let (owned, secret) = (hash.to_owned(), password.to_owned());
        let good = self
            .slowly(move || {
                PasswordHash::new(&owned)
                    .is_ok_and(|hash| Argon2::default().verify_password(secret.as_bytes(), &hash).is_ok())
            })
            .await;
        if good {
            let entry = (hash.to_owned(), hmac::sign(&self.key, password.as_bytes()));
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(user.to_owned(), entry);
        }
        good
    }

    async fn slowly<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> R {
        let _place = self.places.acquire().await.expect("never closed");
        tokio::task::spawn_blocking(work).await.expect("hashing does not panic")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_matches() {
        let passwords = Passwords::default();
        let hash = passwords.hash("secret".into(), [1; 16]).await;
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert_ne!(hash, passwords.hash("secret".into(), [2; 16]).await, "another salt makes another hash");
        for _ in 0..2 {
            assert!(passwords.matches("a", Some(&hash), "secret").await);
            assert!(!passwords.matches("a", Some(&hash), "Secret").await);
            assert!(!passwords.matches("a", None, "secret").await);
        }
        let other = passwords.hash("other".into(), [1; 16]).await;
        assert!(!passwords.matches("a", Some(&other), "secret").await, "a new password ends the old one");
    }
}
