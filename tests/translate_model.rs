//! A translation that follows changes is the same as one from scratch, whatever the changes and their order: objects to
//! the byte, and the report.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use confcast::apisix::ObjectKey;
use confcast::envoy::{Resource, ResourceChange, ResourceType};
use confcast::testing::mesh;
use confcast::translate::{Options, Translator, translate_all};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A step: resources of the pool that are set or, with none, removed; and whether the translation is brought up to date.
type Step = (Vec<(prop::sample::Index, Option<prop::sample::Index>)>, bool);

/// Names, each with the forms that its resource may have.
static POOL: LazyLock<Vec<Vec<Resource>>> = LazyLock::new(pool);

const MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

fn tls(kind: &str, fields: &Value) -> Value {
    let kind = format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}");
    json!({"name": "tls", "typed_config": {"@type": kind, "common_tls_context": fields}})
}

fn sds(name: &str) -> Value {
    json!({"tls_certificate_sds_secret_configs": [{"name": name, "sds_config": {"ads": {}, "resource_api_version": "V3"}}]})
}

fn pool() -> Vec<Vec<Resource>> {
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
    let stream = |cluster: &str| {
        let proxy = json!({"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "t", "cluster": cluster});
        let address = json!({"socket_address": {"address": "0.0.0.0", "port_value": 9000}});
        let chain = json!({"filters": [{"name": "t", "typed_config": proxy}]});
        mesh::resource(ResourceType::Listener, json!({"name": "stream", "address": address, "filter_chains": [chain]}))
    };
    let made = rcgen::generate_simple_self_signed(vec!["s.test".to_owned()]).expect("made");
    let secret = |key: &str| {
        mesh::resource(
            ResourceType::Secret,
            json!({"name": "cert", "tls_certificate": {
            "certificate_chain": {"inline_string": made.cert.pem()}, "private_key": {"inline_string": key}}}),
        )
    };
    vec![
        vec![
            mesh::eds_cluster("a"),
            mesh::static_cluster("a", &[1, 2]),
            eds("a", subset.clone()),
            aggregate("a", &["b"]),
        ],
        vec![mesh::eds_cluster("b"), eds("b", json!({"transport_socket": tls("UpstreamTlsContext", &sds("cert"))}))],
        vec![
            aggregate("c", &["a", "b"]),
            aggregate("c", &["c", "b"]),
            mesh::static_cluster("c", &[3]),
            eds("c", subset),
        ],
        vec![mesh::endpoints("a", &[1]), mesh::endpoints("a", &[1, 2, 3]), mesh::endpoints("a", &[])],
        vec![mesh::endpoints("b", &[4]), mesh::endpoints("b", &[5, 6])],
        vec![mesh::endpoints("shared", &[7]), mesh::endpoints("shared", &[])],
        vec![
            mesh::routes("one", &json!([route("a"), weighted])),
            mesh::routes("one", &json!([special("a"), route("c"), unknown])),
            mesh::routes("one", &json!([special("c"), special("a")])),
        ],
        vec![mesh::routes("two", &json!([route("b")])), mesh::routes("two", &json!([special("b"), route("gone")]))],
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
        vec![stream("a"), stream("c")],
        vec![secret(&made.signing_key.serialize_pem()), secret("no key")],
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let form = prop::option::weighted(0.8, any::<prop::sample::Index>());
    let change = (any::<prop::sample::Index>(), form);
    prop::collection::vec((prop::collection::vec(change, 1..6), any::<bool>()), 1..20)
}

/// What is held: resources by their place in the pool.
type Held = BTreeMap<usize, Resource>;

fn change(held: &mut Held, at: usize, form: Option<prop::sample::Index>) -> ResourceChange {
    let forms = &POOL[at];
    let Some(form) = form else {
        held.remove(&at);
        return ResourceChange::Remove(forms[0].resource_type(), forms[0].name().to_owned());
    };
    let resource = form.get(forms).clone();
    held.insert(at, resource.clone());
    ResourceChange::Set(resource)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn following_changes_is_the_same_as_starting_over(steps in steps(), seed in any::<u64>()) {
        let mut translator = Translator::new(Options::default());
        let mut held = Held::new();
        // Objects as a reader of the changes has them.
        let mut followed: BTreeMap<ObjectKey, Bytes> = BTreeMap::new();
        for (changes, flush) in steps {
            for (at, form) in changes {
                translator.apply(change(&mut held, at.index(POOL.len()), form));
            }
            if !flush {
                continue;
            }
            let changes = translator.flush();
            for object in changes.puts {
                prop_assert_ne!(followed.get(&object.key), Some(&object.value), "told without a change");
                followed.insert(object.key, object.value);
            }
            for key in changes.deletes {
                prop_assert!(followed.remove(&key).is_some(), "deleted and never there: {key:?}");
            }
            let mut resources: Vec<_> = held.values().cloned().collect();
            // The order in which they come does not matter.
            resources.rotate_left(usize::try_from(seed % 13).expect("small") % held.len().max(1));
            if seed.is_multiple_of(2) {
                resources.reverse();
            }
            let scratch = translate_all(resources, Options::default());
            let expected: BTreeMap<_, _> =
                scratch.objects.into_iter().map(|object| (object.key, object.value)).collect();
            prop_assert_eq!(&followed, &expected);
            prop_assert_eq!(&*translator.report(), &scratch.report);
        }
    }
}
