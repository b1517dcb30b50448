//! Where a publisher keeps what in etcd.
//!
//! | key | what |
//! | --- | --- |
//! | `PREFIX/...` | the objects and placeholders, where APISIX reads them |
//! | `/confcast/owned/PREFIX/...` | one key for each object that a publisher wrote, with the fingerprint of its value |
//! | `/confcast/leader.PREFIX/LEASE` | the queue of the election: one key for each replica, with its lease |
//!
//! Everything but the objects is outside of the prefix, so that no APISIX is sent it. The queue has the form of etcd's
//! own elections: `etcdctl elect --listen confcast/leader...` shows who leads. A prefix has no dot, so that no queue is
//! inside of another one's.

use bytes::Bytes;

use crate::apisix::{Kind, ObjectKey};
use crate::store::KeyRange;

/// Below which key publishers keep what is not for APISIX.
pub const SIDE: &str = "/confcast";

/// The keys of one published prefix.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: String,
    queue: String,
}

impl Keys {
    /// The keys for objects below `prefix`, which begins with a slash and does not end with one.
    pub fn new(prefix: &str) -> Self {
        let queue = format!("{SIDE}/leader{}/", prefix.replace('/', "."));
        Self { prefix: prefix.to_owned(), queue }
    }

    /// The prefix of the objects, without a slash at its end.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// All objects.
    pub fn objects(&self) -> KeyRange {
        KeyRange::prefix(format!("{}/", self.prefix))
    }

    /// All marks of what publishers own.
    pub fn marks(&self) -> KeyRange {
        KeyRange::prefix(format!("{SIDE}/owned{}/", self.prefix))
    }

    /// The mark of the object at `key`.
    pub fn mark(&self, key: &[u8]) -> Bytes {
        [SIDE.as_bytes(), b"/owned", key].concat().into()
    }

    /// The key of the object that a mark is of; none if `mark` is no mark.
    pub fn marked(&self, mark: &Bytes) -> Option<Bytes> {
        let side = SIDE.len() + "/owned".len();
        self.marks().contains(mark).then(|| mark.slice(side..))
    }

    /// The queue of candidates.
    pub fn queue(&self) -> KeyRange {
        KeyRange::prefix(self.queue.clone())
    }

    /// The key of the candidate with a lease, spelled as by etcd's own clients.
    pub fn candidate(&self, lease: i64) -> Bytes {
        format!("{}{lease:x}", self.queue).into()
    }

    /// Which object is at `key`; none if its directory is none that confcast writes to.
    pub fn object(&self, key: &[u8]) -> Option<ObjectKey> {
        let below = std::str::from_utf8(key).ok()?.strip_prefix(&self.prefix)?.strip_prefix('/')?;
        let (directory, id) = below.split_once('/')?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.directory() == directory)?;
        Some(ObjectKey::new(kind, id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_found_from_its_mark_and_no_queue_is_inside_another() {
        let keys = Keys::new("/mesh/edge");
        let object = ObjectKey::new(Kind::Route, "1");
        let key = object.etcd_key(keys.prefix());
        let mark = keys.mark(&key);
        assert_eq!(mark.as_ref(), b"/confcast/owned/mesh/edge/routes/1");
        assert_eq!(keys.marked(&mark), Some(key.clone()));
        assert_eq!(keys.marked(&key), None);
        assert_eq!(keys.object(&key), Some(object));
        assert_eq!(keys.object(b"/mesh/edge/nothing/1"), None);
        assert_eq!(keys.candidate(0x7b).as_ref(), b"/confcast/leader.mesh.edge/7b");
        assert!(!Keys::new("/mesh").queue().intersects(&keys.queue()));
    }
}
