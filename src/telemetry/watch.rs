//! Metrics of the fan-out.

use super::translation::KINDS;

/// Forms in which events are encoded.
pub const FORMATS: &[&str] = &["json", "proto"];

/// How streams reach their clients; `program` for those of the program that embeds the server.
pub const PROTOCOLS: &[&str] = &["grpc", "gateway", "program"];

/// Who watches the whole prefix, as APISIX does from 3.4 on.
pub const PREFIX: &str = "all";
/// Who watches something else than the prefix or what is in one of APISIX's directories.
pub const OTHER: &str = "other";

/// What is watched: APISIX's directories, and the others.
pub const DIRECTORIES: &[&str] = &{
    let mut names = [OTHER; KINDS.len() + 2];
    let mut place = 0;
    while place < KINDS.len() {
        names[place] = KINDS[place];
        place += 1;
    }
    names[place] = PREFIX;
    names
};

subject! {
    /// Open watch streams
    Gauge STREAMS = "confcast_watch_streams", "protocol" in PROTOCOLS;
    /// Watchers on open watch streams, by what they watch below the prefix
    Gauge WATCHERS = "confcast_watchers", "directory" in DIRECTORIES;
    /// Streams with a watcher that has not taken all events that there are for it
    Gauge BEHIND = "confcast_watch_streams_behind";
    /// Revisions that the slowest watcher is behind the last one that has events for it
    Gauge LAG = "confcast_watch_lag_revisions";
    /// For how long the event has been there that a watcher has not taken for the longest time, in seconds
    Gauge LAG_SECONDS = "confcast_watch_lag_seconds";
    /// Responses with events, each of which would be an encoding if streams did not share them
    Counter DELIVERIES = "confcast_watch_deliveries_total", "protocol" in PROTOCOLS;
    /// Events that were sent
    Counter EVENTS = "confcast_watch_events_total", "protocol" in PROTOCOLS;
    /// Bytes of watch streams that were given to connections, before TLS and the framing of HTTP/2
    Counter SENT_BYTES = "confcast_watch_sent_bytes_total", "protocol" in PROTOCOLS;
    /// Different interests among the watchers
    Gauge INTERESTS = "confcast_watch_interests";
    /// Times that events were encoded, each of which serves all streams of an interest
    Counter ENCODINGS = "confcast_watch_encodings_total", "format" in FORMATS;
    /// Watchers that started in the past
    Counter CATCH_UPS = "confcast_watch_catch_ups_total";
    /// Watchers that were told that events of theirs are compacted
    Counter COMPACTED = "confcast_watch_compacted_total";
}
