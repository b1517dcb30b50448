//! Metrics of the fan-out.

/// Forms in which events are encoded.
pub const FORMATS: &[&str] = &["json", "proto"];

subject! {
    /// Open watch streams
    Gauge STREAMS = "confcast_watch_streams";
    /// Watchers on open watch streams
    Gauge WATCHERS = "confcast_watchers";
    /// Different interests among the watchers
    Gauge INTERESTS = "confcast_watch_interests";
    /// Times that events were encoded, each of which serves all streams of an interest
    Counter ENCODINGS = "confcast_watch_encodings_total", "format" in FORMATS;
    /// Watchers that started in the past
    Counter CATCH_UPS = "confcast_watch_catch_ups_total";
    /// Watchers that were told that events of theirs are compacted
    Counter COMPACTED = "confcast_watch_compacted_total";
}
