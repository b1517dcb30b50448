use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{behind, typed};
use crate::apisix::matching::{self, Answer, Request};
use crate::testing::services;
use crate::translate::Report;

fn definition(methods: &Value) -> String {
    BASE64_STANDARD.encode(services::definition(methods))
}

fn transcoder(fields: Value) -> Value {
    let mut config = json!({"services": ["a.Svc"]});
    config.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    typed("grpc_json_transcoder.v3.GrpcJsonTranscoder", config)
}

/// The status by which the gateway answers a request itself, if it does.
fn answered(routes: &[Value], method: &str, target: &str, kind: &str) -> Option<u16> {
    let headers = vec![("Content-Type".to_owned(), kind.to_owned())];
    let routes: Vec<_> = routes.iter().map(|route| (route["id"].to_string(), route.clone())).collect();
    let (method, target) = (method.to_owned(), target.to_owned());
    let request = Request { method, host: "h".into(), target, headers, port: 80, ..Request::default() };
    let chosen = matching::choose(&routes, &request).expect("a route");
    match matching::answer(&routes[chosen].1, &request) {
        Answer::Status(status) => Some(status),
        _ => None,
    }
}

fn said(report: &Report, effect: &str) -> bool {
    report.entries.iter().any(|entry| entry.field == "grpc_json_transcoder" && entry.effect.contains(effect))
}

#[test]
fn what_envoy_would_transcode_does_not_reach_a_backend() {
    let methods = json!({
        "Get": {"[google.api.http]": {"get": "/v1/{name=shelves/*}", "additionalBindings": [{"put": "/v1/b/{id}:move"}]}},
        "Odd": {"[google.api.http]": {"custom": {"kind": "*", "path": "/any"}}},
        "Plain": {},
    });
    let bin = definition(&methods);
    let (routes, report) = behind(&transcoder(json!({"proto_descriptor_bin": bin})), None, &json!({}));
    let json = "application/json";
    for (method, target) in
        [("GET", "/v1/shelves/1"), ("GET", "/v1/shelves/1?q=1"), ("PUT", "/v1/b/2:move"), ("DELETE", "/any")]
    {
        assert_eq!(answered(&routes, method, target, json), Some(501), "{method} {target}");
        assert_eq!(answered(&routes, method, target, "application/grpc+proto"), None, "a call, {method} {target}");
    }
    for (method, target) in
        [("POST", "/v1/shelves/1"), ("GET", "/v1/shelves"), ("PUT", "/v1/b/2"), ("POST", "/a.Svc/Plain")]
    {
        assert_eq!(answered(&routes, method, target, json), None, "{method} {target}");
    }
    assert!(said(&report, "501"), "{report:?}");
    let mapped = transcoder(json!({"proto_descriptor_bin": bin, "auto_mapping": true}));
    let (routes, _) = behind(&mapped, None, &json!({}));
    assert_eq!(answered(&routes, "POST", "/a.Svc/Plain", json), Some(501));
    assert_eq!(answered(&routes, "POST", "/a.Svc/Get", json), None, "it has paths of its own");
    // A route without services has it off.
    let off = typed("grpc_json_transcoder.v3.GrpcJsonTranscoder", json!({"proto_descriptor_bin": bin}));
    let (routes, _) = behind(&mapped, Some(off), &json!({}));
    assert_eq!(answered(&routes, "POST", "/a.Svc/Plain", json), None);
}

#[test]
fn where_it_is_not_known_what_is_transcoded_requests_pass() {
    let not_valid = BASE64_STANDARD.encode("no descriptors");
    for unknown in [
        json!({"proto_descriptor": "/etc/a.pb"}),
        json!({"proto_descriptor_bin": not_valid}),
        json!({"proto_descriptor_bin": definition(&json!({})), "services": ["a.Other"]}),
    ] {
        let (routes, report) = behind(&transcoder(unknown.clone()), None, &json!({}));
        assert_eq!(answered(&routes, "GET", "/", "application/json"), None, "{unknown}");
        assert!(said(&report, "pass as they are"), "{unknown}: {report:?}");
    }
}
