//! `etcdserverpb.ResponseHeader`: who answers, at which revision.

use super::json::Object;
use super::proto::{put_int64, put_uint64};

/// The identity that every response header carries. Clients check that these do not change, and APISIX's Admin API
/// needs a `raft_term` other than zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Id of the cluster: one history of revisions.
    pub cluster_id: u64,
    /// Id of the member that answers.
    pub member_id: u64,
    /// The term, which never changes here.
    pub raft_term: u64,
}

impl Identity {
    /// Appends the protobuf message for a response at `revision`, which is left out when it is zero.
    pub fn put_proto(&self, buf: &mut Vec<u8>, revision: i64) {
        put_uint64(buf, 1, self.cluster_id);
        put_uint64(buf, 2, self.member_id);
        put_int64(buf, 3, revision);
        put_uint64(buf, 4, self.raft_term);
    }

    /// Appends the JSON object for a response at `revision`.
    pub fn put_json(&self, buf: &mut Vec<u8>, revision: i64) {
        let mut object = Object::open(buf);
        object.uint64("cluster_id", self.cluster_id);
        object.uint64("member_id", self.member_id);
        object.int64("revision", revision);
        object.uint64("raft_term", self.raft_term);
        object.close();
    }
}
