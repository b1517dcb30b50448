//! Resources of every kind that refer to each other, for tests that take them in any combination.

use serde_json::{Value, json};

use super::mesh;
use crate::envoy::{Resource, ResourceType};

const MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

fn tls(kind: &str, fields: &Value) -> Value {
    let kind = format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}");
    json!({"name": "tls", "typed_config": {"@type": kind, "common_tls_context": fields}})
}

fn sds(name: &str) -> Value {
    json!({"tls_certificate_sds_secret_configs": [{"name": name, "sds_config": {"ads": {}, "resource_api_version": "V3"}}]})
}

/// Names of resources of all types, each with the forms that its resource may take. They refer to each other, to what is
/// missing and to themselves. `certificate` and `key` are those of `s.test` in PEM.
pub fn pool(certificate: &str, key: &str) -> Vec<Vec<Resource>> {
    let cluster = |fields: Value| mesh::resource(ResourceType::Cluster, fields);
    let aggregate = |name: &str, parts: &[&str]| {
        let config = json!({
            "@type": "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig", "clusters": parts});
        cluster(json!({"name": name, "lb_policy": "CLUSTER_PROVIDED",
            "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": config}}))
    };
    let eds = |name: &str, more: Value| {
        let mut value = json!({"name": name, "type": "EDS",
            "eds_cluster_config": {"eds_config": {"ads": {}}, "service_name": "shared"}});
        value.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        cluster(value)
    };
    let subset = json!({"lb_policy": "RING_HASH", "lb_subset_config": {
        "fallback_policy": "ANY_ENDPOINT", "subset_selectors": [{"keys": ["version"]}]}});
    let route = |cluster: &str| json!({"match": {"prefix": format!("/{cluster}")}, "route": {"cluster": cluster}});
    let special = |cluster: &str| {
        json!({"match": {"path": "/special"}, "route": {
            "cluster": cluster,
            "hash_policy": [{"header": {"header_name": "x-user"}}],
            "retry_policy": {"retry_on": "connect-failure", "num_retries": 2},
            "metadata_match": {"filter_metadata": {"envoy.lb": {"version": "v1"}}},
        }})
    };
    let mirrored = |mirror: &str| {
        let policies = json!([{"cluster": mirror}]);
        json!({"match": {"prefix": "/m"}, "route": {"cluster": "b", "request_mirror_policies": policies}})
    };
    let weighted = json!({"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [
        {"name": "a", "weight": 1}, {"name": "b", "weight": 3}]}}});
    let unknown = json!({"match": {"prefix": "/x"}, "route": {"cluster_header": "x-cluster"}});
    let listener = |name: &str, port: u16, routes: &str, more: Value| {
        let source = json!({"ads": {}, "resource_api_version": "V3"});
        let mut fields = json!({"rds": {"route_config_name": routes, "config_source": source}});
        fields.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        mesh::listener_with(name, port, fields)
    };
    let inline = |cluster: &str| {
        let hosts = json!([{"name": "v", "domains": ["in.test"], "routes": [route(cluster)]}]);
        mesh::listener_with("inline", 82, json!({"route_config": {"name": "inner", "virtual_hosts": hosts}}))
    };
    let secure = |secret: &str| {
        let manager = json!({"@type": MANAGER, "stat_prefix": "s",
            "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route("a")]}]}});
        let chain = json!({"filters": [{"name": "h", "typed_config": manager}],
            "filter_chain_match": {"server_names": ["s.test"]},
            "transport_socket": tls("DownstreamTlsContext", &sds(secret))});
        let address = json!({"socket_address": {"address": "0.0.0.0", "port_value": 443}});
        mesh::resource(ResourceType::Listener, json!({"name": "secure", "address": address, "filter_chains": [chain]}))
    };
    let filtered = |rules: &Value| {
        let filter = |name: &str, fields: &Value| {
            let mut config = json!({"@type": format!("type.googleapis.com/envoy.extensions.filters.http.{name}")});
            config.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
            json!({"name": name, "typed_config": config})
        };
        let state = json!({
            "@type": "type.googleapis.com/envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState",
            "name": "x-session"});
        let session = json!({"session_state": {"name": "s", "typed_config": state}});
        let percent = json!({"numerator": 50, "denominator": "HUNDRED"});
        let filters = json!([
            filter("fault.v3.HTTPFault", &json!({"abort": {"http_status": 418, "percentage": percent}})),
            filter("grpc_web.v3.GrpcWeb", &json!({})),
            filter(
                "header_mutation.v3.HeaderMutation",
                &json!({"mutations": {"request_mutations": [{"remove": "x-gone"}]}})
            ),
            filter("stateful_session.v3.StatefulSession", &session),
            filter("rbac.v3.RBAC", &json!({"rules": rules})),
            filter(
                "local_ratelimit.v3.LocalRateLimit",
                &json!({"stat_prefix": "l",
                "token_bucket": {"max_tokens": 10, "tokens_per_fill": 5, "fill_interval": "1s"},
                "filter_enabled": {"default_value": percent}, "filter_enforced": {"default_value": percent}})
            ),
            filter("lua.v3.Lua", &json!({"default_source_code": {"inline_string": "x"}})),
            filter("router.v3.Router", &json!({})),
        ]);
        mesh::listener_with(
            "filtered",
            84,
            json!({"route_config": {"name": "f", "virtual_hosts": [
            {"name": "v", "domains": ["f.test", "*.f.test", "f.*"], "routes": [route("a"), special("b")]}]},
            "http_filters": filters}),
        )
    };
    let allow = |permission: Value| json!({"action": "ALLOW", "policies": {"p": {"permissions": [permission], "principals": [{"any": true}]}}});
    let stream = |cluster: &str| {
        let proxy = json!({"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "t", "cluster": cluster});
        let address = json!({"socket_address": {"address": "0.0.0.0", "port_value": 9000}});
        let chain = json!({"filters": [{"name": "t", "typed_config": proxy}]});
        mesh::resource(ResourceType::Listener, json!({"name": "stream", "address": address, "filter_chains": [chain]}))
    };
    let secret = |key: &str| {
        mesh::resource(
            ResourceType::Secret,
            json!({"name": "cert", "tls_certificate": {
            "certificate_chain": {"inline_string": certificate}, "private_key": {"inline_string": key}}}),
        )
    };
    let drops = json!([{"category": "some", "drop_percentage": {"numerator": 20}}]);
    let dropping = json!({"cluster_name": "b", "policy": {"drop_overloads": drops}});
    let dropping = mesh::resource(ResourceType::Endpoints, dropping);
    vec![
        vec![
            mesh::eds_cluster("a"),
            mesh::static_cluster("a", &[1, 2]),
            eds("a", subset.clone()),
            aggregate("a", &["b"]),
        ],
        vec![
            mesh::eds_cluster("b"),
            eds("b", json!({"http2_protocol_options": {}})),
            eds("b", json!({"transport_socket": tls("UpstreamTlsContext", &sds("cert"))})),
            cluster(json!({"name": "b", "circuit_breakers": {"thresholds": [{"max_requests": 7}]}})),
        ],
        vec![
            aggregate("c", &["a", "b"]),
            aggregate("c", &["c", "b"]),
            mesh::static_cluster("c", &[3]),
            eds("c", subset),
        ],
        vec![mesh::endpoints("a", &[1]), mesh::endpoints("a", &[1, 2, 3]), mesh::endpoints("a", &[])],
        vec![mesh::endpoints("b", &[4]), mesh::endpoints("b", &[5, 6]), dropping],
        vec![mesh::endpoints("shared", &[7]), mesh::endpoints("shared", &[])],
        vec![
            mesh::routes("one", &json!([route("a"), weighted])),
            mesh::routes("one", &json!([special("a"), route("c"), unknown])),
            mesh::routes("one", &json!([special("c"), special("a")])),
        ],
        vec![
            mesh::routes("two", &json!([route("b"), mirrored("a")])),
            mesh::routes("two", &json!([special("b"), route("gone"), mirrored("c")])),
        ],
        vec![
            listener("first", 80, "one", json!({})),
            listener("first", 80, "two", json!({"merge_slashes": true, "normalize_path": true})),
        ],
        vec![
            listener("second", 81, "two", json!({})),
            listener("second", 80, "one", json!({"strip_any_host_port": true})),
        ],
        vec![inline("a"), inline("c")],
        vec![secure("cert"), secure("other")],
        vec![
            filtered(&allow(json!({"header": {"name": "x", "string_match": {"exact": "1"}}}))),
            filtered(&allow(json!({"not_rule": {"url_path": {"path": {"prefix": "/a"}}}}))),
        ],
        vec![stream("a"), stream("c")],
        vec![secret(key), secret("no key")],
    ]
}
