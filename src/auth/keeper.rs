//! The users of a running server.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use super::attempts::Attempts;
use super::password::Passwords;
use super::token::{Claim, SigningKey};
use super::{AuthError, Caller, Credentials, Peer, State};
use crate::store::{Revision, Store, SubmitError};

/// The users, and what is needed to recognise them. Clones share everything.
#[derive(Clone, Debug)]
pub struct Auth {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: ArcSwap<State>,
    /// Held by the one who is changing the state, from reading the old one to publishing the new one.
    changing: Mutex<()>,
    passwords: Passwords,
    attempts: Attempts,
    key: SigningKey,
    lifetime: Duration,
}

/// Why a change did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ChangeError {
    /// It is not allowed.
    #[error(transparent)]
    Refused(#[from] AuthError),
    /// It could not be made durable.
    #[error(transparent)]
    Store(#[from] SubmitError),
}

impl Auth {
    /// Users as they were kept; tokens are signed with `key` and live for `lifetime`. After `failures` of one user
    /// from one address no more passwords are looked at for a while.
    pub fn new(state: State, key: SigningKey, lifetime: Duration, failures: usize) -> Self {
        let state = ArcSwap::from_pointee(state);
        let (changing, passwords) = Default::default();
        let attempts = Attempts::new(failures);
        Self { inner: Arc::new(Inner { state, changing, passwords, attempts, key, lifetime }) }
    }

    /// No users, and nothing asked of anybody.
    pub fn off() -> Self {
        Self::new(State::default(), SigningKey::random(), Duration::from_hours(24), usize::MAX)
    }

    /// The users now.
    pub fn state(&self) -> Arc<State> {
        self.inner.state.load_full()
    }

    /// Who makes a request with these credentials. As with etcd, a token comes before the connection's certificate.
    pub fn caller(&self, credentials: &Credentials) -> Caller {
        let state = self.inner.state.load();
        if !state.enabled {
            return Caller::Trusted;
        }
        let Some(token) = &credentials.token else {
            let names = credentials.names();
            let user = names.iter().find(|name| state.users.contains_key(*name)).or(names.first());
            return user.map_or(Caller::Anonymous, |user| Caller::User(user.clone(), Arc::clone(&state)));
        };
        // Clients of etcd send the bare token; some put the word for its kind before it.
        let token = token.strip_prefix("Bearer ").unwrap_or(token);
        let claim = self.inner.key.read(token, now()).filter(|claim| {
            let user = state.users.get(&claim.user);
            user.is_some_and(|user| self.inner.key.generation(user.password.as_deref()) == claim.generation)
        });
        claim.map_or(Caller::Invalid, |claim| Caller::User(claim.user, Arc::clone(&state)))
    }

    /// Gives a token for a password. `peer` is who has sent it; none is not limited.
    pub async fn authenticate(&self, peer: Option<&Peer>, name: &str, password: &str) -> Result<String, AuthError> {
        let state = self.state();
        if !state.enabled {
            return Err(AuthError::NotEnabled);
        }
        let hash = state.users.get(name).and_then(|user| user.password.as_deref());
        let Inner { passwords, attempts, .. } = &*self.inner;
        let attempt = attempts.begin(peer.map(|peer| peer.address), name);
        if !passwords.matches(name, hash, password, || attempts.check(attempt)).await? {
            attempts.failed(attempt);
            return Err(AuthError::Failed);
        }
        attempts.succeeded(attempt);
        let claim = Claim { user: name.to_owned(), generation: self.inner.key.generation(hash) };
        Ok(self.inner.key.issue(&claim, now() + self.inner.lifetime))
    }

    /// The hash of a user's password, to be stored.
    pub async fn hash(&self, user: &str, password: String) -> String {
        self.inner.passwords.hash(password, self.inner.key.salt(user)).await
    }

    /// Changes the users: durable first, then seen by everybody. Returns the store's revision, which it leaves alone.
    pub async fn change(
        &self,
        store: &Store,
        change: impl FnOnce(&mut State) -> Result<(), AuthError>,
    ) -> Result<Revision, ChangeError> {
        let _turn = self.inner.changing.lock().await;
        let mut state = State::clone(&self.inner.state.load());
        change(&mut state)?;
        state.revision += 1;
        let bytes = serde_json::to_vec(&state).expect("names and numbers can be written");
        let revision = store
            .submit(move |writer| {
                writer.keep_auth(bytes.into());
                writer.snapshot().revision()
            })
            .await?;
        self.inner.state.store(Arc::new(state));
        Ok(revision)
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
