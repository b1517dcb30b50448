//! Writes APISIX objects into the store: only what is different, and all of it at one revision.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::apisix::{Object, ObjectKey, placeholders};
use crate::publish::Wanted;
use crate::store::transaction::Transaction;
use crate::store::{KeyRange, LeaseId, Origin, Revision, Store, SubmitError};
use crate::traces::Written;
use crate::translate::Changes;

/// Where the objects of a source go.
#[derive(Clone, Debug)]
pub enum Target {
    /// Into the store that is served.
    Store(Sink),
    /// To a publisher, which writes them into an etcd if this replica is elected.
    Publisher(watch::Sender<Option<Wanted>>),
}

impl Target {
    /// How many objects there are, and which of them would go if `objects` were all.
    pub(crate) fn stale(&self, objects: &[Object]) -> (usize, BTreeSet<ObjectKey>) {
        match self {
            Self::Store(sink) => sink.stale(objects),
            Self::Publisher(wanted) => {
                let wanted = wanted.borrow();
                let missing = wanted.iter().flat_map(|wanted| wanted.missing_from(objects));
                (wanted.as_ref().map_or(0, Wanted::len), missing.cloned().collect())
            }
        }
    }

    /// Makes `objects` all that the source has, beside what is there of `kept`.
    pub(crate) async fn replace(
        &self,
        objects: Vec<Object>,
        kept: BTreeSet<ObjectKey>,
    ) -> Result<Written, SubmitError> {
        match self {
            Self::Store(sink) => sink.replace(objects, kept).await.map(written),
            Self::Publisher(wanted) => {
                wanted.send_modify(|wanted| {
                    let mut all: Wanted = objects.into_iter().collect();
                    if let Some(before) = wanted {
                        all.keep(before, &kept);
                    }
                    *wanted = Some(all);
                });
                Ok(Written::Wanted)
            }
        }
    }

    /// Takes over what changed.
    pub(super) async fn update(&self, changes: Changes) -> Result<Written, SubmitError> {
        match self {
            Self::Store(sink) => sink.update(changes).await.map(written),
            Self::Publisher(wanted) => {
                let changed = !changes.puts.is_empty() || !changes.deletes.is_empty();
                wanted.send_if_modified(|wanted| {
                    wanted.get_or_insert_default().update(changes);
                    changed
                });
                Ok(if changed { Written::Wanted } else { Written::Nothing })
            }
        }
    }
}

fn written(revision: Option<Revision>) -> Written {
    revision.map_or(Written::Nothing, |revision| Written::Store(revision, revision))
}

impl From<Sink> for Target {
    fn from(sink: Sink) -> Self {
        Self::Store(sink)
    }
}

/// The place in the store that belongs to one source.
#[derive(Clone, Debug)]
pub struct Sink {
    store: Store,
    prefix: Arc<str>,
}

impl Sink {
    /// A sink below `prefix`, which begins with a slash and does not end with one.
    pub fn new(store: Store, prefix: &str) -> Self {
        Self { store, prefix: prefix.into() }
    }

    fn stale(&self, objects: &[Object]) -> (usize, BTreeSet<ObjectKey>) {
        let kept: BTreeSet<&ObjectKey> = objects.iter().map(|object| &object.key).collect();
        let snapshot = self.store.snapshot();
        let range = KeyRange::prefix(format!("{}/", self.prefix));
        let own = snapshot.range(&range).filter(|record| record.origin == Origin::Source);
        let keys = own.filter_map(|record| position(&self.prefix, &record.key));
        // Placeholders have no id.
        let mut keys: BTreeSet<_> = keys.filter(|key| !key.id.is_empty()).collect();
        let held = keys.len();
        keys.retain(|key| !kept.contains(key));
        (held, keys)
    }

    /// Makes `objects` all that the source has, beside what is there of `kept`: what is missing is written, what is no
    /// longer there is deleted. Directory placeholders, without which APISIX does not find the objects, come with the
    /// first call. Returns the revision; none if nothing was different.
    pub async fn replace(
        &self,
        objects: Vec<Object>,
        kept: BTreeSet<ObjectKey>,
    ) -> Result<Option<Revision>, SubmitError> {
        let prefix = self.prefix.clone();
        self.write(move |transaction| {
            let mut stale: BTreeSet<Bytes> = transaction
                .view()
                .range(&KeyRange::prefix(format!("{prefix}/")))
                .filter(|record| record.origin == Origin::Source)
                .map(|record| record.key.clone())
                .collect();
            for key in placeholders::keys(&prefix) {
                stale.remove(&key);
                put(transaction, key, Bytes::from_static(placeholders::VALUE));
            }
            for key in objects.iter().map(|object| &object.key).chain(&kept) {
                stale.remove(&key.etcd_key(&prefix));
            }
            put_objects(transaction, &prefix, objects);
            // In the opposite of make-before-break order.
            let mut stale: Vec<_> = stale.into_iter().map(|key| (position(&prefix, &key), key)).collect();
            stale.sort_unstable_by(|a, b| b.cmp(a));
            for (_, key) in stale {
                transaction.delete(&key);
            }
        })
        .await
    }

    /// Writes what changed, deletes what went. Returns the revision; none if nothing was different.
    pub async fn update(&self, changes: Changes) -> Result<Option<Revision>, SubmitError> {
        let prefix = self.prefix.clone();
        self.write(move |transaction| {
            put_objects(transaction, &prefix, changes.puts);
            for key in changes.deletes {
                let key = key.etcd_key(&prefix);
                if transaction.view().get(&key).is_some_and(|record| record.origin == Origin::Source) {
                    transaction.delete(&key);
                }
            }
        })
        .await
    }

    async fn write(
        &self,
        change: impl FnOnce(&mut Transaction) + Send + 'static,
    ) -> Result<Option<Revision>, SubmitError> {
        self.store
            .submit(move |writer| {
                let mut transaction = writer.begin();
                change(&mut transaction);
                let is_change = !transaction.is_empty();
                let revision = writer.commit(transaction);
                is_change.then_some(revision)
            })
            .await
    }
}

/// Writes objects in make-before-break order, in which a reader that applies events one by one needs them.
fn put_objects(transaction: &mut Transaction, prefix: &str, mut objects: Vec<Object>) {
    objects.sort_by(|a, b| a.key.cmp(&b.key));
    for Object { key, value } in objects {
        put(transaction, key.etcd_key(prefix), value);
    }
}

/// Writes a key unless it is just so already: an object whose content is the same keeps its revision.
fn put(transaction: &mut Transaction, key: Bytes, value: impl Into<Bytes>) {
    let value = value.into();
    let same = |record: &Arc<crate::store::Record>| record.origin == Origin::Source && record.value == value;
    if !transaction.view().get(&key).is_some_and(same) {
        transaction.put(key, value, LeaseId::NONE, Origin::Source);
    }
}

/// Position of a key's directory in make-before-break order; a directory that is not known comes first.
fn position(prefix: &str, key: &[u8]) -> Option<ObjectKey> {
    let (directory, id) = std::str::from_utf8(key).ok()?.strip_prefix(prefix)?.strip_prefix('/')?.split_once('/')?;
    let kind = crate::apisix::Kind::ALL.into_iter().find(|kind| kind.directory() == directory)?;
    Some(ObjectKey::new(kind, id))
}
