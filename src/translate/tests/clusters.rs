//! Clusters of every kind, and what is checked and presented.
#![expect(clippy::needless_pass_by_value, reason = "values of tests are written where they are used")]

use super::*;

fn cluster(fields: Value) -> Resource {
    let mut value = json!({"name": "c", "type": "STATIC"});
    value.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    mesh::resource(ResourceType::Cluster, value)
}

fn upstream(fields: Value) -> (Value, Report) {
    let (_, upstreams, report) = translate(vec![cluster(fields)]);
    (upstreams[0].clone(), report)
}

fn typed(name: &str, fields: Value) -> Value {
    let kind = format!("type.googleapis.com/envoy.extensions.load_balancing_policies.{name}");
    let mut value = json!({"@type": kind});
    value.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    json!({"policies": [{"typed_extension_config": {"name": name, "typed_config": value}}]})
}

#[test]
fn the_first_policy_that_has_an_equal_is_followed_also_inside_of_others() {
    let least = typed("least_request.v3.LeastRequest", json!({}));
    let cases = [
        (typed("round_robin.v3.RoundRobin", json!({})), "roundrobin", 0),
        (least.clone(), "least_conn", 0),
        (typed("maglev.v3.Maglev", json!({})), "roundrobin", 0),
        (typed("random.v3.Random", json!({})), "roundrobin", 1),
        (typed("client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin", json!({})), "roundrobin", 1),
        (typed("wrr_locality.v3.WrrLocality", json!({"endpoint_picking_policy": least})), "least_conn", 0),
        (typed("pick_first.v3.PickFirst", json!({})), "roundrobin", 1),
    ];
    for (policy, algorithm, reported) in cases {
        let (upstream, report) = upstream(json!({"load_balancing_policy": policy}));
        assert_eq!((&upstream["type"], report.entries.len()), (&json!(algorithm), reported), "{policy}");
    }
}

#[test]
fn probes_and_outliers_become_checks() {
    let check = json!({
        "timeout": "0.5s", "interval": "2.5s", "unhealthy_threshold": 3, "healthy_threshold": 2,
        "http_health_check": {"host": "h.test", "path": "/ok", "expected_statuses": [{"start": 200, "end": 202}]},
    });
    let outlier = json!({"consecutive_5xx": 7});
    let (found, report) = upstream(json!({"health_checks": [check], "outlier_detection": outlier}));
    let active = &found["checks"]["active"];
    assert_eq!(
        (&active["type"], &active["timeout"], &active["http_path"]),
        (&json!("http"), &json!(0.5), &json!("/ok"))
    );
    assert_eq!(active["healthy"], json!({"interval": 3, "http_statuses": [200, 201], "successes": 2}));
    assert_eq!(active["unhealthy"]["http_failures"], 3);
    assert!(active["unhealthy"]["http_statuses"].as_array().is_some_and(|all| all.contains(&json!(503))));
    assert_eq!(found["checks"]["passive"]["unhealthy"]["http_failures"], 7);
    assert!(report.entries.iter().all(|entry| entry.fidelity == Fidelity::Approximate), "{report:?}");
    // Without a probe nothing would bring a node back; none is made up.
    let (found, report) = upstream(json!({"outlier_detection": outlier}));
    assert_eq!((found.get("checks"), report.entries[0].field.as_str()), (None, "outlier_detection"));
    let grpc = json!({"timeout": "1s", "interval": "1s", "grpc_health_check": {}});
    let (found, report) = upstream(json!({"health_checks": [grpc]}));
    assert_eq!((found.get("checks"), report.entries[0].fidelity), (None, Fidelity::NotExpressible));
}

#[test]
fn protocols_connections_and_limits() {
    let options = |fields: Value| {
        let mut value = json!({"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"});
        value.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        json!({"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": value}})
    };
    let http2 = json!({"explicit_http_config": {"http2_protocol_options": {}}});
    assert_eq!(upstream(options(http2)).0["scheme"], "grpc");
    let common = json!({"idle_timeout": "30s", "max_requests_per_connection": 9});
    let kept = json!({"explicit_http_config": {"http_protocol_options": {}}, "common_http_protocol_options": common});
    assert_eq!(upstream(options(kept)).0["keepalive_pool"], json!({"requests": 9, "idle_timeout": 30.0}));
}

fn aggregate(name: &str, parts: &[&str]) -> Resource {
    let config =
        json!({"@type": "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig", "clusters": parts});
    let kind = json!({"name": "envoy.clusters.aggregate", "typed_config": config});
    mesh::resource(ResourceType::Cluster, json!({"name": name, "cluster_type": kind}))
}

/// Each is made of the next one, and the last has a node.
#[test]
fn a_chain_of_aggregates_has_nodes_as_far_as_it_is_followed() {
    const LENGTH: usize = 3_000;
    let name = |number: usize| format!("c{number}");
    let mut chain: Vec<_> = (0..LENGTH).map(|number| aggregate(&name(number), &[&name(number + 1)])).collect();
    chain.push(mesh::static_cluster(&name(LENGTH), &[2]));
    let translation = translate_all(chain, Options::default());
    let nodes = |number: usize| {
        let key = crate::apisix::ObjectKey::new(Kind::Upstream, ids::upstream(&name(number)));
        let object = translation.objects.iter().find(|object| object.key == key).expect("there");
        serde_json::from_slice::<Value>(&object.value).expect("JSON")["nodes"].as_array().map_or(0, Vec::len)
    };
    assert_eq!([nodes(LENGTH - 1), nodes(LENGTH - 16), nodes(LENGTH - 17), nodes(0)], [1, 1, 0, 0]);
    assert!(translation.report.entries.iter().any(|entry| entry.resource.1 == "c0" && entry.reason.contains("levels")));
}

#[test]
fn an_aggregate_has_the_nodes_of_its_parts_one_below_the_other_and_survives_a_cycle() {
    let nodes = |translator: &Translator| {
        let key = crate::apisix::ObjectKey::new(Kind::Upstream, ids::upstream("all"));
        let object = translator.objects().find(|object| object.key == key).expect("there");
        serde_json::from_slice::<Value>(&object.value).expect("JSON")["nodes"].clone()
    };
    let mut translator = Translator::new(Options::default());
    for resource in
        [mesh::eds_cluster("one"), mesh::static_cluster("two", &[2]), aggregate("all", &["one", "two", "all"])]
    {
        translator.apply(ResourceChange::Set(resource));
    }
    translator.flush();
    assert_eq!(nodes(&translator), json!([{"priority": -2, "host": "127.0.0.1", "port": 2, "weight": 1}]));
    // Endpoints of a part change the whole.
    translator.apply(ResourceChange::Set(mesh::endpoints("one", &[1])));
    assert_eq!(translator.flush().puts.len(), 2);
    let first = json!({"host": "127.0.0.1", "port": 1, "weight": 1});
    let second = json!({"priority": -2, "host": "127.0.0.1", "port": 2, "weight": 1});
    assert_eq!(nodes(&translator), json!([first, second]));
    assert!(translator.report().entries.iter().any(|entry| entry.reason.contains("twice")));
}

fn labelled(port: u16, key: &str, fields: &Value) -> Value {
    let address = json!({"socket_address": {"address": "10.0.0.1", "port_value": port}});
    json!({"endpoint": {"address": address}, "metadata": {"filter_metadata": {key: fields}}})
}

#[test]
fn endpoints_of_one_upstream_speak_alike_or_not_at_all() {
    let tls = json!({"name": "tls", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"}});
    let raw = json!({"name": "raw", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}});
    let matches = json!([
        {"name": "mtls", "match": {"tlsMode": "istio"}, "transport_socket": tls},
        {"name": "plain", "match": {}, "transport_socket": raw},
    ]);
    let with = |modes: &[Value]| {
        let key = "envoy.transport_socket_match";
        let endpoints: Vec<_> = modes.iter().zip(1..).map(|(mode, port)| labelled(port, key, mode)).collect();
        let assignment = json!({"cluster_name": "c", "endpoints": [{"lb_endpoints": endpoints}]});
        let (found, _) = upstream(json!({"transport_socket_matches": matches, "load_assignment": assignment}));
        (found["scheme"].clone(), found["nodes"].as_array().map_or(0, Vec::len))
    };
    let (istio, other) = (json!({"tlsMode": "istio"}), json!({}));
    assert_eq!(with(&[istio.clone(), istio.clone()]), (json!("https"), 2));
    assert_eq!(with(&[other.clone(), other.clone()]), (json!("http"), 2));
    assert_eq!(with(&[istio, other]).1, 0);
}

#[test]
fn subsets_are_upstreams_of_their_own() {
    let endpoints = [labelled(1, "envoy.lb", &json!({"v": "1"})), labelled(2, "envoy.lb", &json!({"v": "2"}))];
    let assignment = json!({"cluster_name": "c", "endpoints": [{"lb_endpoints": endpoints}]});
    let subsets = |fallback: &str| json!({"fallback_policy": fallback, "subset_selectors": [{"keys": ["v"]}]});
    let wanted = |v: &str| {
        let metadata = json!({"filter_metadata": {"envoy.lb": {"v": v}}});
        mesh::routes("rc", &json!([{"match": {"prefix": "/"}, "route": {"cluster": "c", "metadata_match": metadata}}]))
    };
    for (v, fallback, ports) in
        [("2", "NO_FALLBACK", json!([2])), ("3", "NO_FALLBACK", json!([])), ("3", "ANY_ENDPOINT", json!([1, 2]))]
    {
        let fields = json!({"load_assignment": assignment, "lb_subset_config": subsets(fallback)});
        let (routes, upstreams, _) = translate(vec![cluster(fields), wanted(v)]);
        let used = upstreams.iter().find(|upstream| upstream["id"] == routes[0]["upstream_id"]).expect("there");
        let found: Value = used["nodes"].as_array().expect("a list").iter().map(|node| node["port"].clone()).collect();
        assert_eq!(found, ports, "{v} {fallback}");
    }
}
