//! The recipe below locks and elections: keys below a name stand in a queue in the order of their creation, each under
//! a lease, and the first one has what is queued for. Clients that run the recipe themselves stand in the same queue,
//! so the keys are theirs to the letter.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use rand::Rng;

use super::node::Node;
use super::status::EtcdError;
use crate::auth::Caller;
use crate::store::ops::Put;
use crate::store::{KeyRange, LeaseId, OpError, Record, Revision, Snapshot, Writer};

/// Seconds for which a place is kept when the client brings no lease, as etcd's.
const DEFAULT_TTL: i64 = 60;

/// A place in the queue.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The queue.
    pub(super) queue: KeyRange,
    /// The key that stands in it.
    pub(super) key: Bytes,
    /// The revision at which it was created, which is its position.
    pub(super) created: Revision,
    /// The lease that it is attached to.
    pub(super) lease: LeaseId,
    /// What was there already under this lease.
    pub(super) found: Option<Arc<Record>>,
}

/// The keys that queue for `name`.
pub(super) fn queue(name: &[u8]) -> KeyRange {
    KeyRange::prefix([name, b"/"].concat())
}

/// The first of the queue.
pub(super) fn first<'a>(snapshot: &'a Snapshot, queue: &KeyRange) -> Option<&'a Arc<Record>> {
    snapshot.range(queue).min_by_key(|record| record.create_revision)
}

impl Node {
    /// Takes a place, or finds the one that the lease has.
    pub(super) async fn enter(
        &self,
        caller: &Caller,
        name: &[u8],
        lease: LeaseId,
        value: Bytes,
    ) -> Result<Place, EtcdError> {
        caller.must_be_known()?;
        let queue = queue(name);
        caller.may_read(&queue)?;
        if lease == LeaseId::NONE {
            // Before a lease is granted for it.
            caller.may_write(&queue)?;
        }
        let fresh = LeaseId(rand::rng().random_range(1..i64::MAX));
        let (prefix, caller) = (queue.start().clone(), caller.clone());
        let take = move |writer: &mut Writer| {
            let lease = if lease == LeaseId::NONE { writer.lease_grant(lease, DEFAULT_TTL, fresh)?.0 } else { lease };
            let key = Bytes::from([prefix.as_ref(), format!("{:x}", lease.0).as_bytes()].concat());
            caller.may_write(&KeyRange::single(key.clone()))?;
            if let Some(found) = writer.snapshot().get(&key).cloned() {
                return Ok((key, lease, found.create_revision, Some(found)));
            }
            writer.put(&Put { key: key.clone(), value, lease, ignore_value: false, ignore_lease: false })?;
            Ok::<_, EtcdError>((key, lease, writer.snapshot().revision(), None))
        };
        let ((key, lease, created, found), _) = self.change(take).await?;
        Ok(Place { queue, key, created, lease, found })
    }

    /// Waits until everyone before `place` has left. Returns the store's revision then. If the caller gives up on it,
    /// the place is left.
    pub(super) async fn wait_turn(&self, place: &Place, lost: fn() -> EtcdError) -> Result<Revision, EtcdError> {
        let leave = LeaveOnDrop { node: self, place, armed: true };
        let revision = self.until(|snapshot| {
            let own = snapshot.get(&place.key).filter(|record| record.create_revision == place.created);
            if own.is_none() {
                return Some(Err(lost()));
            }
            let ahead = snapshot.range(&place.queue).any(|record| record.create_revision < place.created);
            (!ahead).then(|| Ok(snapshot.revision()))
        });
        let revision = revision.await??;
        leave.disarm();
        Ok(revision)
    }

    /// Deletes the place's key, if it is still the same. Returns whether it was.
    pub(super) fn leave(
        &self,
        key: Bytes,
        created: Revision,
    ) -> impl Future<Output = Result<(bool, Revision), EtcdError>> + use<> {
        let node = self.clone();
        async move {
            let delete = move |writer: &mut Writer| {
                let same = writer.snapshot().get(&key).is_some_and(|record| record.create_revision == created);
                if same {
                    let mut transaction = writer.begin();
                    transaction.delete(&key);
                    writer.commit(transaction);
                }
                Ok::<_, OpError>(same)
            };
            node.change(delete).await
        }
    }

    /// Looks at each new state until there is an answer in it.
    pub(super) async fn until<R>(&self, mut look: impl FnMut(&Snapshot) -> Option<R>) -> Result<R, EtcdError> {
        let mut changes = self.store.changes();
        loop {
            changes.borrow_and_update();
            if let Some(answer) = look(&self.store.snapshot()) {
                return Ok(answer);
            }
            tokio::select! {
                changed = changes.changed() => changed.map_err(|_| EtcdError::stopping())?,
                () = self.stopping.token.cancelled() => return Err(EtcdError::stopping()),
            }
        }
    }
}

/// A client that goes away while it waits must not keep the others waiting for the rest of its lease.
struct LeaveOnDrop<'a> {
    node: &'a Node,
    place: &'a Place,
    armed: bool,
}

impl LeaveOnDrop<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for LeaveOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            let leave = self.node.leave(self.place.key.clone(), self.place.created);
            self.node.tasks.spawn(async move {
                if let Err(error) = leave.await {
                    tracing::warn!(%error, "a place in a queue is kept until its lease ends");
                }
            });
        }
    }
}
