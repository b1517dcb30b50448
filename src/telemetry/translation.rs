//! Metrics of the translation.

/// APISIX's directories.
pub const KINDS: &[&str] = &[
    "consumer_groups",
    "consumers",
    "global_rules",
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

/// How far a result is from the meaning.
pub const FIDELITIES: &[&str] = &["approximate", "not-expressible"];

subject! {
    /// APISIX objects that the source's configuration became
    Gauge OBJECTS = "confcast_objects", "kind" in KINDS;
    /// Features of the source's configuration that are not expressed exactly
    Gauge REPORTED = "confcast_translation_reported", "fidelity" in FIDELITIES;
    /// Whether a change is held back that takes most of the objects away
    Gauge HELD = "confcast_removal_held";
    /// Times that changes of the source were translated and the difference was committed
    Counter ROUNDS = "confcast_translation_rounds_total";
}
