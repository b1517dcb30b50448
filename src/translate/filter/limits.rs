//! Filters that bound or shape requests and responses: local rate limits, buffers, compression.

use envoy_types::pb::envoy::config::core::v3::RuntimeFractionalPercent;
use envoy_types::pb::envoy::extensions::filters::http::buffer::v3::Buffer;
use envoy_types::pb::envoy::extensions::filters::http::compressor::v3::Compressor;
use envoy_types::pb::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;
use serde_json::{Value, json};

use super::Effect;
use crate::envoy::any;
use crate::translate::action::seconds;
use crate::translate::fraction;
use crate::translate::report::Notes;

/// A share in percent, rounded up; none is 0.
pub(super) fn percent(fraction: Option<&RuntimeFractionalPercent>) -> u64 {
    let Some(fraction) = fraction.and_then(|fraction| fraction.default_value.as_ref()) else { return 0 };
    let (numerator, of) = fraction::parts(*fraction);
    (u64::from(numerator) * 100).div_ceil(u64::from(of))
}

/// Reads a local rate limit. None if it bounds nothing.
pub(in crate::translate) fn rate(limit: &LocalRateLimit, notes: &mut Notes) -> Option<Effect> {
    if !limit.descriptors.is_empty() {
        let reason = "APISIX has no limits by descriptor";
        notes.not_expressible("local_ratelimit.descriptors", reason, "only the common bucket counts");
    }
    let bucket = limit.token_bucket.as_ref()?;
    let (enabled, enforced) = (percent(limit.filter_enabled.as_ref()), percent(limit.filter_enforced.as_ref()));
    if enabled == 0 || enforced == 0 {
        return None;
    }
    if enabled < 100 || enforced < 100 {
        let reason = "APISIX limits all requests of a route";
        notes.approximate("local_ratelimit.filter_enabled", reason, "all requests are counted and limited");
    }
    let interval = bucket.fill_interval.as_ref().map_or(0.0, seconds);
    let fill = bucket.tokens_per_fill.map_or(1, |tokens| tokens.value);
    if bucket.max_tokens == 0 || interval <= 0.0 || fill == 0 {
        return None;
    }
    let code = limit.status.as_ref().map_or(429, |status| status.code);
    let code = if (400..=599).contains(&code) { code } else { 429 };
    // With whole seconds and a bucket that is filled at once, a window of time is the same.
    if fill >= bucket.max_tokens && interval.fract() == 0.0 {
        let config = json!({"count": bucket.max_tokens, "time_window": interval, "key": "route", "key_type": "constant",
            "policy": "local", "rejected_code": code, "show_limit_quota_header": false});
        let reason = "counted by each route of APISIX on its own";
        notes.approximate("local_ratelimit", reason, "a limit that routes share is one for each of them");
        return Some(Effect::plugin("limit-count", whole(config)));
    }
    notes.approximate("local_ratelimit", "APISIX lets a bucket leak", "tokens come one by one, by route");
    let config = json!({"rate": f64::from(fill) / interval, "burst": bucket.max_tokens - 1, "key": "route_id",
        "key_type": "var", "nodelay": true, "rejected_code": code});
    Some(Effect::plugin("limit-req", config))
}

/// Writes whole seconds as an integer, as the plugin asks for.
fn whole(mut config: Value) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be a whole number; saturates")]
    let seconds = config["time_window"].as_f64().unwrap_or(1.0) as i64;
    config["time_window"] = json!(seconds);
    config
}

/// Reads a bound on the size of requests.
pub(in crate::translate) fn buffer(buffer: Buffer, notes: &mut Notes) -> Option<Effect> {
    let bytes = buffer.max_request_bytes?.value;
    notes.approximate("buffer", "APISIX does not wait for the whole request by this", "larger ones are answered 413");
    (bytes > 0).then(|| Effect::plugin("client-control", json!({"max_body_size": bytes})))
}

/// Types of content that Envoy compresses where none are named.
const COMPRESSED: [&str; 8] = [
    "application/javascript",
    "application/json",
    "application/xhtml+xml",
    "image/svg+xml",
    "text/css",
    "text/html",
    "text/plain",
    "text/xml",
];

/// Reads compression of responses. The error names what APISIX does not have.
#[expect(deprecated, reason = "control planes still send the fields outside of a direction")]
pub(in crate::translate) fn compressor(compressor: &Compressor) -> Result<Effect, String> {
    let library = compressor.compressor_library.as_ref().and_then(|library| library.typed_config.as_ref());
    let library = library.map(any::type_of).unwrap_or_default();
    let name = match library.rsplit('.').next() {
        Some("Gzip") => "gzip",
        Some("Brotli") => "brotli",
        _ => return Err(format!("compression by {library}")),
    };
    let common = compressor.response_direction_config.as_ref().and_then(|config| config.common_config.as_ref());
    let (types, length) = match common {
        Some(common) => (&common.content_type, common.min_content_length),
        None => (&compressor.content_type, compressor.content_length),
    };
    let types: Vec<_> = if types.is_empty() { COMPRESSED.map(str::to_owned).to_vec() } else { types.clone() };
    let length = length.map_or(30, |length| length.value).max(1);
    Ok(Effect::plugin(name, json!({"types": types, "min_length": length, "vary": true})))
}
