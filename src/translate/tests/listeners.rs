//! Certificates of listeners, chains beside each other, and connections that are passed on.
#![expect(clippy::needless_pass_by_value, reason = "values of tests are written where they are used")]

use super::*;

/// A certificate and its key in PEM.
fn pair(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("made");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn secret(name: &str, (cert, key): &(String, String)) -> Resource {
    let inline = |text: &str| json!({"inline_string": text});
    let certificate = json!({"certificate_chain": inline(cert), "private_key": inline(key)});
    mesh::resource(ResourceType::Secret, json!({"name": name, "tls_certificate": certificate}))
}

fn sds(name: &str) -> Value {
    json!({"name": name, "sds_config": {"ads": {}, "resource_api_version": "V3"}})
}

fn context(kind: &str, fields: Value) -> Value {
    let kind = format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}");
    let mut value = json!({"@type": kind});
    value.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    json!({"name": "envoy.transport_sockets.tls", "typed_config": value})
}

fn chain(name: &str, filter: &Value, fields: Value) -> Value {
    let mut value = json!({"name": name, "filters": [{"name": "last", "typed_config": filter}]});
    value.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    value
}

fn listener(name: &str, port: u16, chains: &[Value]) -> Resource {
    let address = json!({"socket_address": {"address": "0.0.0.0", "port_value": port}});
    mesh::resource(ResourceType::Listener, json!({"name": name, "address": address, "filter_chains": chains}))
}

fn manager(cluster: &str) -> Value {
    let routes = json!([{"match": {"prefix": "/"}, "route": {"cluster": cluster}}]);
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]},
    })
}

fn proxy(fields: Value) -> Value {
    let mut value = json!({"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "x"});
    value.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    value
}

fn all(resources: Vec<Resource>) -> (Vec<(Kind, Value)>, Report) {
    let translation = translate_all(resources, Options::default());
    let objects = translation.objects.iter();
    let objects = objects.map(|object| (object.key.kind, serde_json::from_slice(&object.value).expect("JSON")));
    (objects.collect(), translation.report)
}

fn of(kind: Kind, objects: &[(Kind, Value)]) -> Vec<Value> {
    objects.iter().filter(|(other, _)| *other == kind).map(|(_, value)| value.clone()).collect()
}

#[test]
fn certificates_by_sds_come_with_their_secret_and_never_show_their_key() {
    let names = json!({"server_names": ["a.test", "*.b.test"]});
    let common = json!({"tls_certificate_sds_secret_configs": [sds("s")]});
    let tls = context("DownstreamTlsContext", json!({"common_tls_context": common}));
    let fields = json!({"filter_chain_match": names, "transport_socket": tls});
    let secure = listener("l", 443, &[chain("one", &manager("c"), fields)]);
    assert!(crate::envoy::references(&secure).contains(&(ResourceType::Secret, "s".into())));
    let (objects, report) = all(vec![secure.clone()]);
    assert_eq!(of(Kind::Ssl, &objects), Vec::<Value>::new(), "held back");
    assert_eq!(of(Kind::Route, &objects).len(), 1, "but nothing else is");
    assert!(report.entries.iter().any(|entry| entry.reason.contains("has not come")), "{report:?}");
    let pair = pair("a.test");
    let mut translator = Translator::new(Options::default());
    translator.apply(ResourceChange::Set(secure));
    translator.flush();
    translator.apply(ResourceChange::Set(secret("s", &pair)));
    let changes = translator.flush();
    let ssl: Value = serde_json::from_slice(&changes.puts[0].value).expect("JSON");
    assert_eq!(
        (&ssl["snis"], &ssl["cert"], &ssl["key"]),
        (&json!(["*.b.test", "a.test"]), &json!(pair.0), &json!(pair.1))
    );
    let middle = pair.1.lines().nth(1).expect("a line");
    assert!(!format!("{translator:?} {changes:?} {:?}", translator.report()).contains(middle));
    // A new certificate is a new version of the same object.
    translator.apply(ResourceChange::Set(secret("s", &self::pair("a.test"))));
    let next = translator.flush();
    assert_eq!((next.puts[0].key.clone(), next.deletes), (changes.puts[0].key.clone(), vec![]));
    // A broken one is left out; what is said of it holds nothing of it.
    translator.apply(ResourceChange::Set(secret("s", &("x".repeat(200), pair.1.clone()))));
    assert_eq!(translator.flush().deletes, [changes.puts[0].key.clone()]);
    assert!(!format!("{:?}", translator.report()).contains(middle));
}

#[test]
fn clients_are_asked_for_certificates_or_nothing_is_served() {
    let (cert, key) = pair("a.test");
    let ca = json!({"inline_string": cert});
    let certificate = json!({"certificate_chain": {"inline_string": cert}, "private_key": {"inline_string": key}});
    let with = |validation: Value, required: bool| {
        let common = json!({
            "tls_certificates": [certificate],
            "validation_context": validation,
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        });
        let tls = json!({"common_tls_context": common, "require_client_certificate": required});
        let fields = json!({"transport_socket": context("DownstreamTlsContext", tls)});
        let (objects, report) = all(vec![listener("l", 443, &[chain("one", &manager("c"), fields)])]);
        (of(Kind::Ssl, &objects), report)
    };
    let (ssls, _) = with(json!({"trusted_ca": ca, "max_verify_depth": 2}), true);
    assert_eq!(ssls[0]["client"], json!({"ca": cert, "depth": 2}));
    assert_eq!((&ssls[0]["sni"], &ssls[0]["ssl_protocols"]), (&json!("*"), &json!(["TLSv1.2", "TLSv1.3"])));
    let names = json!([{"san_type": "DNS", "matcher": {"exact": "good.test"}}]);
    let (ssls, report) = with(json!({"trusted_ca": ca, "match_typed_subject_alt_names": names}), true);
    assert_eq!(ssls, Vec::<Value>::new(), "APISIX would take any name");
    assert!(report.entries.iter().any(|entry| entry.effect.contains("fail")));
    assert_eq!(with(json!({}), true).0, Vec::<Value>::new(), "no authority");
    let (ssls, report) = with(json!({"trusted_ca": ca}), false);
    assert_eq!(ssls[0].get("client"), None);
    assert!(report.entries.iter().any(|entry| entry.field.contains("require_client")), "{report:?}");
}

#[test]
fn l5_chains_beside_each_other_do_not_take_what_is_anothers() {
    let names = |names: Value| json!({"filter_chain_match": {"server_names": names}});
    let chains = [
        chain("exact", &manager("exact"), names(json!(["a.b.test"]))),
        chain("wild", &manager("wild"), names(json!(["*.b.test"]))),
        chain("any", &manager("any"), json!({})),
    ];
    let (objects, _) = all(vec![listener("l", 80, &chains)]);
    let vars = |cluster: &str| {
        let routes = of(Kind::Route, &objects);
        let route = routes.iter().find(|route| route["upstream_id"] == ids::upstream(cluster)).expect("there");
        let vars = route["vars"].as_array().expect("a list").iter().map(Value::to_string);
        vars.filter(|text| !text.contains("server_port")).collect::<Vec<_>>()
    };
    let exact = "\"~*\",\"^(?:a\\\\.b\\\\.test)\\\\z\"]";
    let wild = "\"~*\",\"^(?:.+\\\\.b\\\\.test)\\\\z\"]";
    let is = |text: &str| format!("[\"ssl_server_name\",{text}");
    let not = |text: &str| format!("[\"ssl_server_name\",\"!\",{text}");
    assert_eq!(vars("exact"), [is(exact)]);
    assert_eq!(vars("wild"), [is(wild), not(exact)]);
    assert_eq!(vars("any"), [not(exact), not(wild)]);
}

#[test]
fn tcp_proxies_become_stream_routes() {
    let weighted = json!({"weighted_clusters": {"clusters": [{"name": "a", "weight": 3}, {"name": "b", "weight": 1}]}});
    let (objects, _) =
        all(vec![listener("l", 5432, &[chain("one", &proxy(weighted), json!({}))]), mesh::static_cluster("a", &[1])]);
    let routes = of(Kind::StreamRoute, &objects);
    assert_eq!((routes.len(), &routes[0]["server_port"]), (1, &json!(5432)));
    let used = &routes[0]["plugins"]["traffic-split"]["rules"][0]["weighted_upstreams"];
    assert_eq!((&used[0]["weight"], &used[0]["upstream_id"]), (&json!(3), &routes[0]["upstream_id"]));
    let upstreams = of(Kind::Upstream, &objects);
    let upstream = upstreams.iter().find(|upstream| upstream["id"] == routes[0]["upstream_id"]).expect("there");
    assert_eq!((&upstream["scheme"], upstream["nodes"].as_array().map(Vec::len)), (&json!("tcp"), Some(1)));
    assert!(upstreams.iter().any(|upstream| upstream["id"] == used[1]["upstream_id"]), "none is missing");
}

#[test]
fn connections_that_cannot_be_told_apart_or_are_protected_are_not_served() {
    let cluster = proxy(json!({"cluster": "a"}));
    let pass = |fields: Value| {
        let (objects, report) = all(vec![listener("l", 443, &[chain("one", &cluster, fields)])]);
        (of(Kind::StreamRoute, &objects).len(), report.entries.len())
    };
    assert_eq!(pass(json!({})), (1, 0));
    // APISIX sees names only where it ends TLS.
    assert_eq!(pass(json!({"filter_chain_match": {"server_names": ["a.test"]}})), (0, 1));
    let rbac =
        json!({"@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC", "stat_prefix": "x"});
    let filters = json!([{"name": "rbac", "typed_config": rbac}, {"name": "tcp", "typed_config": cluster}]);
    assert_eq!(pass(json!({"filters": filters})), (0, 1));
    let sources = json!({"source_prefix_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]});
    let (objects, _) = all(vec![listener("l", 443, &[chain("one", &cluster, json!({"filter_chain_match": sources}))])]);
    let plugins = &of(Kind::StreamRoute, &objects)[0]["plugins"];
    assert_eq!(plugins["ip-restriction"], json!({"whitelist": ["10.0.0.0/8"]}));
    // A protecting network filter in front of HTTP answers 403.
    let filters = json!([{"name": "rbac", "typed_config": rbac}, {"name": "http", "typed_config": manager("c")}]);
    let (objects, _) = all(vec![listener("l", 80, &[chain("one", &cluster, json!({"filters": filters}))])]);
    assert_eq!(of(Kind::Route, &objects)[0]["plugins"]["fault-injection"]["abort"]["http_status"], 403);
}
