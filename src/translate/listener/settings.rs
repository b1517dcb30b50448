//! What a connection manager sets for the whole gateway: in APISIX this stands in the settings of each instance, which a
//! configuration source cannot change. It is remarked, so that nobody misses it in silence.

use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;

use super::super::report::Notes;

/// Notes what an operator has to set up where APISIX runs.
pub(super) fn remark(manager: &HttpConnectionManager, notes: &mut Notes) {
    let mut remark = |field: &str, is: bool, reason: &str, effect: &str| {
        if is {
            notes.approximate(field, reason, effect);
        }
    };
    let logs = !manager.access_log.is_empty();
    let effect = "requests are logged as nginx_config.http.access_log of APISIX says, or a logger in its global rules";
    remark("access_log", logs, "APISIX's access log is set up where it runs", effect);
    let traced = manager.tracing.as_ref().is_some_and(|tracing| tracing.provider.is_some());
    let effect = "requests are traced by a plugin in APISIX's global rules (opentelemetry, zipkin), or not at all";
    remark("tracing", traced, "APISIX's tracers are set up where it runs", effect);
    let reason = "whose word APISIX takes for a client's address is set up where it runs";
    let effect = "set nginx_config.http.real_ip_from and real_ip_header of APISIX, or its plugin real-ip, to the same";
    let hops = manager.xff_num_trusted_hops > 0;
    remark("xff_num_trusted_hops", hops, reason, effect);
    let detected = !manager.original_ip_detection_extensions.is_empty();
    remark("original_ip_detection_extensions", detected, reason, effect);
    let local = manager.local_reply_config.as_ref();
    let mapped = local.is_some_and(|local| !local.mappers.is_empty() || local.body_format.is_some());
    let effect = "answers of the gateway itself have APISIX's bodies";
    remark("local_reply_config", mapped, "APISIX has no forms for its own answers", effect);
    let limit = manager.max_request_headers_kb.is_some();
    let effect = "headers are bounded by large_client_header_buffers of nginx";
    remark("max_request_headers_kb", limit, "APISIX bounds headers where it runs", effect);
    let early = !manager.early_header_mutation_extensions.is_empty();
    let effect = "routes are chosen by headers as they came";
    remark("early_header_mutation_extensions", early, "APISIX changes headers after it has a route", effect);
}
