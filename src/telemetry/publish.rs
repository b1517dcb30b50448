//! Metrics of a publisher.

subject! {
    /// 1 while this replica is the one that publishes
    Gauge LEADS = "confcast_publish_leader";
    /// 1 while this replica publishes and etcd holds everything that is wanted
    Gauge COMPLETE = "confcast_publish_complete";
    /// Transactions written to etcd
    Counter WRITES = "confcast_publish_writes_total";
    /// Wanted objects at whose place somebody else's are, which are kept
    Gauge CONFLICTS = "confcast_publish_conflicts";
    /// Wanted objects that are too large for etcd, or refer to one that is
    Gauge LEFT_OUT = "confcast_publish_left_out";
}
