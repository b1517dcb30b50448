use serde_json::{Value, json};

use super::typed;
use crate::apisix::Kind;
use crate::apisix::matching::{Answer, Request, Router};
use crate::envoy::{Resource, ResourceType};
use crate::testing::mesh;
use crate::translate::{Options, Report, Translator, ids, translate_all};

/// A cluster that is spoken to in HTTP/2, or not.
fn cluster(name: &str, http2: bool) -> Resource {
    let mut fields = json!({"name": name, "type": "STATIC"});
    if http2 {
        fields["http2_protocol_options"] = json!({});
    }
    mesh::resource(ResourceType::Cluster, fields)
}

/// A listener with the filter and these routes.
fn listener(routes: Value) -> Resource {
    let hosts = json!({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]});
    let filters = json!([{"name": "f", "typed_config": typed("grpc_web.v3.GrpcWeb", json!({}))}]);
    mesh::listener_with("l", 80, json!({"route_config": hosts, "http_filters": filters}))
}

fn to(prefix: &str, action: Value) -> Value {
    json!({"match": {"prefix": prefix}, "route": action})
}

struct Served {
    routes: Vec<(String, Value)>,
    report: Report,
}

impl Served {
    fn of(resources: Vec<Resource>) -> Self {
        let translation = translate_all(resources, Options::default());
        let routes = translation.objects.iter().filter(|object| object.key.kind == Kind::Route);
        let routes = routes
            .map(|object| (object.key.id.clone(), serde_json::from_slice(&object.value).expect("JSON")))
            .collect();
        Self { routes, report: translation.report }
    }

    /// The cluster that gets a request, and whether as a call of gRPC; or the status by which it is answered.
    fn ask(&self, method: &str, target: &str, kind: &str) -> Result<(String, bool), u16> {
        let headers = vec![("Content-Type".to_owned(), kind.to_owned())];
        let (method, target) = (method.to_owned(), target.to_owned());
        let request = Request { method, host: "h".into(), target, headers, port: 80, ..Request::default() };
        let router = Router::load(self.routes.clone());
        let (_, route) = router.choose(&request).expect("a route");
        let web = route["plugins"]["grpc-web"].is_object();
        assert!(!web || route["uris"] == json!(["/*"]), "only there the path is the method: {route}");
        match router.answer(&request) {
            Answer::Upstream { ids: to, .. } => {
                let named = ["svc", "other", "plain"].into_iter().find(|name| ids::upstream(name) == to[0]);
                Ok((named.expect("a cluster").to_owned(), web))
            }
            Answer::Status(status) => Err(status),
            other @ Answer::Redirect { .. } => panic!("{other:?}"),
        }
    }
}

const WEB: &str = "application/grpc-web+proto";

#[test]
fn only_calls_in_the_form_of_browsers_are_translated() {
    let clusters = || vec![cluster("svc", true), cluster("other", true), cluster("plain", false)];
    let routes = json!([
        to("/a.Svc/", json!({"cluster": "svc"})),
        {"match": {"prefix": "/a.", "headers": [{"name": "x"}]}, "route": {"cluster": "other"}},
        {"match": {"path": "/closed"}, "direct_response": {"status": 451}},
        to("/plain", json!({"cluster": "plain"})),
        to("/", json!({"cluster": "other"})),
    ]);
    let served = Served::of(clusters().into_iter().chain([listener(routes)]).collect());
    let to = |name: &str, web: bool| Ok((name.to_owned(), web));
    for (kind, web) in [
        ("application/grpc-web", true),
        ("application/grpc-web-text", true),
        (WEB, true),
        ("application/grpc-web+json", false),
        ("application/grpc-web; charset=x", false),
        ("application/grpc", false),
        ("text/html", false),
    ] {
        assert_eq!(served.ask("POST", "/a.Svc/Call", kind), to("svc", web), "{kind}");
        assert_eq!(served.ask("POST", "/b.Svc/Call", kind), to("other", web), "{kind}");
        assert_eq!(served.ask("POST", "/plain/x", kind), to("plain", false), "{kind}");
        assert_eq!(served.ask("POST", "/closed", kind), Err(451), "{kind}");
    }
    // What the plugin would answer by itself.
    for method in ["GET", "OPTIONS"] {
        assert_eq!(served.ask(method, "/a.Svc/Call", WEB), to("svc", false), "{method}");
    }
    assert!(served.report.entries.iter().any(|entry| entry.field == "grpc_web"), "{:?}", served.report);
}

#[test]
fn where_the_plugin_would_ask_for_another_method_it_is_not() {
    let rewritten = listener(json!([to("/a/", json!({"cluster": "svc", "prefix_rewrite": "/"}))]));
    let served = Served::of(vec![cluster("svc", true), rewritten]);
    assert_eq!(served.ask("POST", "/a/a.Svc/Call", WEB), Ok(("svc".to_owned(), false)));
    let said = |entry: &crate::translate::Entry| entry.effect.contains("where the path is rewritten");
    assert!(served.report.entries.iter().any(said), "{:?}", served.report);
    // Without anything to translate nothing is made twice.
    let plain = listener(json!([to("/a/", json!({"cluster": "plain"}))]));
    assert_eq!(Served::of(vec![cluster("plain", false), plain]).routes.len(), 1);
}

#[test]
fn routes_follow_a_cluster_that_begins_to_speak_http2() {
    let resources = |http2| vec![cluster("svc", http2), listener(json!([to("/", json!({"cluster": "svc"}))]))];
    let mut followed = Translator::new(Options::default());
    let mut set = |resource: Resource| followed.apply(crate::envoy::ResourceChange::Set(resource));
    resources(false).into_iter().for_each(&mut set);
    followed.flush();
    followed.apply(crate::envoy::ResourceChange::Set(cluster("svc", true)));
    followed.flush();
    let scratch = translate_all(resources(true), Options::default());
    assert_eq!(followed.objects().cloned().collect::<Vec<_>>(), scratch.objects);
}
