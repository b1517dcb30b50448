//! Metrics that etcd has, under its names, so that dashboards and alerts made for etcd go on working.
//!
//! From etcd's `/metrics` and what its own dashboard asks for. Left out is what has no meaning here: raft proposals,
//! peers, the write-ahead log.

use crate::rpc::node::{CLUSTER_VERSION, ETCD_VERSION};

subject! {
    /// 1, as this server needs no leader
    Gauge HAS_LEADER = "etcd_server_has_leader";
    /// 1, as this server is a cluster of one member
    Gauge IS_LEADER = "etcd_server_is_leader";
    /// 0, as there are no elections
    Counter LEADER_CHANGES = "etcd_server_leader_changes_seen_total";
    /// 1 for the etcd version whose API is spoken
    Gauge SERVER_VERSION = "etcd_server_version", "server_version" in &[ETCD_VERSION];
    /// 1 for the cluster version that clients are told
    Gauge CLUSTER = "etcd_cluster_version", "cluster_version" in &[CLUSTER_VERSION];
    /// Bytes that were given to the sockets of clients over HTTP/2
    Counter SENT = "etcd_network_client_grpc_sent_bytes_total";
    /// Bytes that came from clients over HTTP/2
    Counter RECEIVED = "etcd_network_client_grpc_received_bytes_total";
    /// Keys in the store
    Gauge KEYS = "etcd_debugging_mvcc_keys_total";
    /// Revision of the store
    Gauge CURRENT_REVISION = "etcd_debugging_mvcc_current_revision";
    /// Floor of the last Compact request; 0 for none
    Gauge COMPACT_REVISION = "etcd_debugging_mvcc_compact_revision";
    /// Open watch streams
    Gauge WATCH_STREAMS = "etcd_debugging_mvcc_watch_stream_total";
    /// Watchers on open watch streams
    Gauge WATCHERS = "etcd_debugging_mvcc_watcher_total";
    /// Keys written
    Counter PUTS = "etcd_mvcc_put_total";
    /// Keys deleted
    Counter DELETES = "etcd_mvcc_delete_total";
    /// Bytes of the keys and values in the store
    Gauge SIZE = "etcd_mvcc_db_total_size_in_bytes";
    /// Bytes of the keys and values in the store
    Gauge SIZE_IN_USE = "etcd_mvcc_db_total_size_in_use_in_bytes";
}
