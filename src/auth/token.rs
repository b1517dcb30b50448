//! Tokens: signed statements that a user has shown a password.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use super::password::Salt;

/// Length of the signature in bytes.
const SIGNATURE: usize = 32;

/// Length of the numbers before the name.
const NUMBERS: usize = 16;

/// Signs tokens. Replicas with the same key accept each other's.
#[derive(Clone, Debug)]
pub struct SigningKey {
    key: hmac::Key,
}

/// Which password of which user a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The user.
    pub user: String,
    /// The password that was shown.
    pub generation: Generation,
}

impl SigningKey {
    /// A key made of a secret. Whoever knows the secret can make tokens of every user.
    pub fn new(secret: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// A key that nobody else has.
    pub fn random() -> Self {
        Self::new(&rand::random::<[u8; 32]>())
    }

    /// The salt of a user's password: another one for each user and each key, and the same on all replicas, so that
    /// their hashes are the same, and with them the generations in their tokens.
    pub fn salt(&self, user: &str) -> Salt {
        let tag = hmac::sign(&self.key, &[b"salt of ", user.as_bytes()].concat());
        *tag.as_ref().first_chunk().expect("a tag is longer")
    }

    /// The generation of a user with this password hash.
    pub fn generation(&self, password_hash: Option<&str>) -> Generation {
        let tag = hmac::sign(&self.key, password_hash.unwrap_or_default().as_bytes());
        Generation(u64::from_be_bytes(*tag.as_ref().first_chunk().expect("a tag is longer")))
    }

    /// A token that is good until `expiry`, counted from the epoch.
    pub fn issue(&self, claim: &Claim, expiry: Duration) -> String {
        let mut bytes = Vec::with_capacity(NUMBERS + claim.user.len() + SIGNATURE);
        bytes.extend(expiry.as_secs().to_be_bytes());
        bytes.extend(claim.generation.0.to_be_bytes());
        bytes.extend(claim.user.as_bytes());
        let tag = hmac::sign(&self.key, &bytes);
        bytes.extend(tag.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a token says, if it is one of ours and good at `now`, counted from the epoch.
    pub fn read(&self, token: &str, now: Duration) -> Option<Claim> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (signed, signature) = bytes.split_at_checked(bytes.len().checked_sub(SIGNATURE)?)?;
        hmac::verify(&self.key, signed, signature).ok()?;
        let (expiry, rest) = signed.split_first_chunk()?;
        let (generation, name) = rest.split_first_chunk()?;
        let good = u64::from_be_bytes(*expiry) > now.as_secs();
        let claim = Claim {
            user: String::from_utf8(name.to_vec()).ok()?,
            generation: Generation(u64::from_be_bytes(*generation)),
        };
        good.then_some(claim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unchanged_token_of_ours_is_read() {
        let key = SigningKey::new(b"shared");
        let claim = Claim { user: "a user".into(), generation: key.generation(Some("hash")) };
        let seconds = Duration::from_secs;
        let token = key.issue(&claim, seconds(100));
        assert_eq!(SigningKey::new(b"shared").read(&token, seconds(99)), Some(claim.clone()), "on another replica");
        assert_eq!(key.read(&token, seconds(100)), None, "it has run out");
        assert_eq!(SigningKey::new(b"other").read(&token, seconds(0)), None);
        for position in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("text");
            assert_eq!(key.read(&changed, seconds(0)), None, "{changed}");
        }
        for nonsense in ["", "x", "bogus", &"A".repeat(64), "é"] {
            assert_eq!(key.read(nonsense, seconds(0)), None);
        }
        assert_ne!(claim.generation, key.generation(None));
    }
}
