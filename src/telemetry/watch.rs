//! Metrics of the fan-out.

/// How a stream reaches its client.
pub const PROTOCOLS: &[&str] = &["gateway", "grpc"];

/// The part of the key space that a watcher watches: one of APISIX's directories or a key in it, `all` for a range with
/// several of them, `other` for keys elsewhere.
pub const DIRECTORIES: &[&str] = &[
    "all",
    "consumer_groups",
    "consumers",
    "global_rules",
    "other",
    "plugin_configs",
    "plugin_metadata",
    "protos",
    "routes",
    "secrets",
    "services",
    "ssls",
    "stream_routes",
    "upstreams",
];

/// Forms in which events are encoded.
pub const FORMATS: &[&str] = &["json", "proto"];

subject! {
    /// Open watch streams
    Gauge STREAMS = "confcast_watch_streams", "protocol" in PROTOCOLS;
    /// Watchers on open watch streams, by what they watch
    Gauge WATCHERS = "confcast_watchers", "directory" in DIRECTORIES;
    /// Different interests among the watchers
    Gauge INTERESTS = "confcast_watch_interests";
    /// Watch streams that were not given yet what they were woken for
    Gauge BEHIND = "confcast_watch_streams_behind";
    /// Revisions that the slowest watch stream is behind
    Gauge LAG_REVISIONS = "confcast_watch_lag_revisions";
    /// Age of the oldest event that the slowest watch stream was not given yet
    Gauge LAG_SECONDS = "confcast_watch_lag_seconds";
    /// Messages with events given to watch streams
    Counter MESSAGES = "confcast_watch_messages_total", "protocol" in PROTOCOLS;
    /// Events given to watch streams
    Counter EVENTS = "confcast_watch_events_total", "protocol" in PROTOCOLS;
    /// Bytes of messages given to watch streams
    Counter BYTES = "confcast_watch_bytes_total", "protocol" in PROTOCOLS;
    /// Times that events were encoded, each of which serves all streams of an interest
    Counter ENCODINGS = "confcast_watch_encodings_total", "format" in FORMATS;
    /// Watchers that started in the past
    Counter CATCH_UPS = "confcast_watch_catch_ups_total";
    /// Watchers that were told that events of theirs are compacted
    Counter COMPACTED = "confcast_watch_compacted_total";
    /// Time from the commit of an event until it was given to a stream that had all before it
    Histogram DELIVERY = "confcast_watch_delivery_seconds";
}
