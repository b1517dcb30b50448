//! Metrics of the store.

subject! {
    /// Revision of the store
    Gauge REVISION = "confcast_store_revision";
    /// Keys in the store
    Gauge KEYS = "confcast_store_keys";
    /// Bytes of the keys and values in the store
    Gauge BYTES = "confcast_store_bytes";
    /// Commits in the retained log
    Gauge LOG_COMMITS = "confcast_store_log_commits";
    /// Bytes of keys and values in the retained log
    Gauge LOG_BYTES = "confcast_store_log_bytes";
    /// Memory that keys and history take, in bytes, by an estimate that is rather too high
    Gauge MEMORY = "confcast_store_memory_bytes";
    /// First revision from which on a watch can start whatever its range
    Gauge LOG_START = "confcast_store_log_start_revision";
    /// Commits since the start
    Counter COMMITS = "confcast_store_commits_total";
    /// Changes that were refused because the data directory could not be written
    Counter NOT_WRITTEN = "confcast_store_not_written_total";
}
