//! The users of a running server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::attempts::Attempts;
use super::password::Passwords;
use super::token::{Claim, Generation, SigningKey};
use super::{AuthError, Caller, Credentials, Peer, Standing, State, UsersFile, UsersFileError};
use crate::store::{Revision, Store, SubmitError};
use crate::telemetry;

/// How often a file of users is looked at. It is small, and what mounts it gives no better sign that works everywhere.
const POLL: Duration = Duration::from_secs(5);

/// The users, and what is needed to recognise them. Clones share everything.
#[derive(Clone, Debug)]
pub struct Auth {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: ArcSwap<State>,
    /// Where the users are from; none for the store.
    file: Option<UsersFile>,
    /// Held by the one who is changing the state, from reading the old one to publishing the new one.
    changing: Mutex<()>,
    passwords: Passwords,
    attempts: Attempts,
    key: SigningKey,
    /// In seconds.
    lifetime: AtomicU64,
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
    /// The users are those of a file.
    #[error("the users are those of the file {0} (--users-file), which is to be changed instead")]
    OfFile(Arc<str>),
}

impl Auth {
    /// Users as they were kept; tokens are signed with `key` and live for `lifetime`. After `failures` of one user
    /// from one address no more passwords are looked at for a while.
    pub fn new(state: State, key: SigningKey, lifetime: Duration, failures: usize) -> Self {
        Self::with(state, None, key, lifetime, failures)
    }

    /// The users of a file, which calls do not change; [`follow`](Self::follow) sees when the file does.
    pub fn of_file(
        file: UsersFile,
        key: SigningKey,
        lifetime: Duration,
        failures: usize,
    ) -> Result<Self, UsersFileError> {
        let state = file.read()?;
        Ok(Self::with(state, Some(file), key, lifetime, failures))
    }

    fn with(state: State, file: Option<UsersFile>, key: SigningKey, lifetime: Duration, failures: usize) -> Self {
        let state = ArcSwap::from_pointee(state);
        let (changing, passwords) = Default::default();
        let (attempts, lifetime) = (Attempts::new(failures), AtomicU64::new(lifetime.as_secs()));
        Self { inner: Arc::new(Inner { state, file, changing, passwords, attempts, key, lifetime }) }
    }

    /// No users, and nothing asked of anybody.
    pub fn off() -> Self {
        Self::new(State::default(), SigningKey::random(), Duration::from_hours(24), usize::MAX)
    }

    /// Changes how long new tokens are good, and how many log-ins may fail.
    pub fn tune(&self, lifetime: Duration, failures: usize) {
        self.inner.lifetime.store(lifetime.as_secs(), Ordering::Relaxed);
        self.inner.attempts.limit(failures);
    }

    /// The users now.
    pub fn state(&self) -> Arc<State> {
        self.inner.state.load_full()
    }

    /// Where the users are from; none if calls of the API change them.
    pub fn file(&self) -> Option<&UsersFile> {
        self.inner.file.as_ref()
    }

    /// The user with these credentials, to be asked later whether it may still do what it does; none for anybody else.
    pub fn standing(&self, credentials: &Credentials) -> Option<Standing> {
        let Caller::User(name, state) = self.caller(credentials) else { return None };
        let generation = credentials.token.is_some().then(|| self.generation(&state, &name));
        Some(Standing::new(self.clone(), name, generation, state))
    }

    /// Which password a user has.
    pub(super) fn generation(&self, state: &State, name: &str) -> Generation {
        self.inner.key.generation(state.users.get(name).and_then(|user| user.password.as_deref()))
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
            state.users.contains_key(&claim.user) && self.generation(&state, &claim.user) == claim.generation
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
        let lifetime = Duration::from_secs(self.inner.lifetime.load(Ordering::Relaxed));
        Ok(self.inner.key.issue(&claim, now() + lifetime))
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
        if let Some(file) = &self.inner.file {
            return Err(ChangeError::OfFile(file.path().display().to_string().into()));
        }
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

/// Following a file of users.
impl Auth {
    /// Reads the file of users again, if there is one. Returns whether there was anything new; on an error the users
    /// from before are kept.
    pub fn reload(&self) -> Result<bool, UsersFileError> {
        let Some(file) = &self.inner.file else { return Ok(false) };
        let read = file.read().inspect_err(|_| metrics::counter!(telemetry::serve::USERS_FAILED).increment(1))?;
        let old = self.state();
        if (&read.users, &read.roles) == (&old.users, &old.roles) {
            return Ok(false);
        }
        tracing::info!(users = read.users.len(), "the file of users has changed; what it says holds from now on");
        self.inner.state.store(Arc::new(State { revision: old.revision + 1, ..read }));
        Ok(true)
    }

    /// Follows the file of users until `stop` is cancelled.
    pub async fn follow(&self, stop: CancellationToken) {
        let mut told = String::new();
        while stop.run_until_cancelled(tokio::time::sleep(POLL)).await.is_some() {
            let Err(error) = self.reload() else {
                told.clear();
                continue;
            };
            let text = error.to_string();
            if text != told {
                tracing::warn!(error = text, "the file of users cannot be used; the users from before are kept");
                told = text;
            }
        }
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
