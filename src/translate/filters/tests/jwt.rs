//! Tokens: by whom they must be signed, and where nothing is served because that cannot be asked for.

use serde_json::{Value, json};

use super::typed;
use crate::apisix::Kind;
use crate::testing::mesh;
use crate::translate::{Fidelity, Options, Report, Tokens, translate_all};

const BOTH: [&str; 2] = ["a.test", "b.test"];

fn provider(fields: &Value) -> Value {
    let uri = json!({"uri": "https://issuer.test/keys", "cluster": "k", "timeout": "1s"});
    let mut provider = json!({"issuer": "https://issuer.test/", "forward": true,
        "remote_jwks": {"http_uri": uri, "cache_duration": "60s"}});
    provider.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    provider
}

/// The filter with providers `p` and `q` and these fields.
fn filter(one: &Value, fields: Value) -> Value {
    let mut config = typed("jwt_authn.v3.JwtAuthentication", fields);
    config["providers"] = json!({"p": provider(one), "q": provider(&json!({}))});
    config
}

/// A filter that asks this of every request.
fn asks(one: &Value, requirement: &Value) -> Value {
    filter(one, json!({"rules": [{"match": {"prefix": "/"}, "requires": requirement}]}))
}

/// The routes behind a filter, by priority, each with its conditions and plugins; and the report.
fn behind(filter: &Value, own: &Value, rewrite: bool, tokens: Tokens) -> (Vec<(Value, Value)>, Report) {
    let mut action = json!({"cluster": "c"});
    if rewrite {
        action["host_rewrite_literal"] = json!("h.test");
    }
    let routes = json!([{"match": {"prefix": "/"}, "route": action, "typed_per_filter_config": own}]);
    let hosts = json!({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]});
    let listener = mesh::listener_with(
        "l",
        80,
        json!({"route_config": hosts, "http_filters": [{"name": "f", "typed_config": filter}]}),
    );
    let translation = translate_all(vec![listener], Options { tokens, ..Options::default() });
    let routes = translation.objects.iter().filter(|object| object.key.kind == Kind::Route);
    let mut routes: Vec<Value> = routes.map(|route| serde_json::from_slice(&route.value).expect("JSON")).collect();
    routes.sort_by_key(|route| -route["priority"].as_i64().unwrap_or(0));
    (routes.into_iter().map(|route| (route["vars"].clone(), route["plugins"].clone())).collect(), translation.report)
}

/// The plugins of the only route behind a filter.
fn plugins(filter: &Value) -> Value {
    let (routes, _) = behind(filter, &json!({}), false, Tokens::OpenidConnect);
    assert_eq!(routes.len(), 1, "{routes:?}");
    routes[0].1.clone()
}

fn is_closed(plugins: &Value) -> bool {
    plugins["fault-injection"]["abort"]["http_status"] == 403
}

#[test]
fn a_token_is_asked_for_as_the_provider_says() {
    let by_name = json!({"provider_name": "p"});
    let found = plugins(&asks(&json!({}), &by_name));
    let check = &found["openid-connect"];
    assert_eq!(check["discovery"], "https://issuer.test/.well-known/openid-configuration");
    assert_eq!(
        (&check["bearer_only"], &check["use_jwks"], &check["jwk_expires_in"]),
        (&json!(true), &json!(true), &json!(60))
    );
    assert_eq!(check["claim_validator"], json!({"issuer": {"valid_issuers": ["https://issuer.test/"]}}));
    assert_eq!(check["claim_schema"]["required"], json!(["iss"]));
    assert_eq!(found["proxy-rewrite"], Value::Null, "the token goes on");
    // One audience is compared by the plugin itself, any number by the claims.
    for (audiences, matched) in [(&BOTH[..1], json!(true)), (&BOTH[..], Value::Null)] {
        let found = plugins(&asks(&json!({"audiences": audiences, "require_expiration": true}), &by_name));
        let check = &found["openid-connect"];
        assert_eq!(
            (&check["client_id"], &check["claim_validator"]["audience"]["required"]),
            (&json!("a.test"), &json!(true))
        );
        assert_eq!(check["claim_validator"]["audience"]["match_with_client_id"], matched);
        assert_eq!(check["claim_schema"]["required"], json!(["iss", "exp", "aud"]));
        let one = json!({"enum": audiences});
        assert_eq!(
            check["claim_schema"]["properties"]["aud"]["anyOf"],
            json!([one, {"type": "array", "contains": one}])
        );
    }
    let other = json!({"provider_and_audiences": {"provider_name": "p", "audiences": ["c.test"]}});
    let found = plugins(&asks(&json!({"audiences": BOTH}), &other));
    assert_eq!(found["openid-connect"]["client_id"], "c.test");
    // A key that is given is the only one.
    let keys = json!({"keys": [{"kty": "RSA", "n": "AQAB".repeat(64), "e": "AQAB"}]}).to_string();
    let found = plugins(&asks(&json!({"remote_jwks": null, "local_jwks": {"inline_string": keys}}), &by_name));
    let check = &found["openid-connect"];
    assert_eq!((&check["token_signing_alg_values_expected"], &check["use_jwks"]), (&json!("RS256"), &Value::Null));
}

#[test]
fn a_token_that_backends_do_not_get_is_taken_away() {
    let hidden = asks(&json!({"forward": false}), &json!({"provider_name": "p"}));
    for rewrite in [false, true] {
        let (routes, _) = behind(&hidden, &json!({}), rewrite, Tokens::OpenidConnect);
        let rewrites = &routes[0].1["proxy-rewrite"];
        assert_eq!(rewrites["headers"], json!({"remove": ["authorization"]}));
        assert_eq!(rewrites["host"].is_string(), rewrite, "what the route rewrites stays");
    }
}

#[test]
fn who_has_no_token_may_pass_where_that_is_said() {
    let missing = json!({"requires_any": {"requirements": [{"provider_name": "p"}, {"allow_missing": {}}]}});
    let (routes, _) = behind(&asks(&json!({}), &missing), &json!({}), false, Tokens::OpenidConnect);
    let none = json!([["http_authorization", "==", null], ["arg_access_token", "==", null]]);
    assert_eq!((&routes[0].0, &routes[0].1), (&none, &Value::Null), "{routes:?}");
    assert!(routes[1].1["openid-connect"].is_object());
    let places = json!({"from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
        "from_params": ["t"], "from_cookies": ["c"]});
    let (routes, _) = behind(&asks(&places, &missing), &json!({}), false, Tokens::OpenidConnect);
    let vars = routes[0].0.to_string();
    assert!(["http_authorization", "arg_t", "cookie_c"].iter().all(|place| vars.contains(place)), "{vars}");
    let any = json!({"requires_any": {"requirements": [{"provider_name": "p"}, {"allow_missing_or_failed": {}}]}});
    assert_eq!(plugins(&asks(&json!({}), &any)), Value::Null);
    let mut preflight = asks(&json!({}), &json!({"provider_name": "p"}));
    preflight["bypass_cors_preflight"] = json!(true);
    let (routes, _) = behind(&preflight, &json!({}), false, Tokens::OpenidConnect);
    assert!(routes[0].0.to_string().contains("OPTIONS") && routes[0].1.is_null(), "{routes:?}");
}

#[test]
fn routes_choose_what_is_asked_of_them() {
    let filter = filter(
        &json!({}),
        json!({"requirement_map": {
        "strict": {"provider_name": "p"}, "open": {"allow_missing_or_failed": {}}, "odd": {"allow_missing": {}}}}),
    );
    let own = |fields: Value| json!({"f": typed("jwt_authn.v3.PerRouteConfig", fields)});
    let of = |own: Value| behind(&filter, &own, false, Tokens::OpenidConnect).0[0].1.clone();
    assert_eq!(of(json!({})), Value::Null, "nothing is asked for");
    assert!(of(own(json!({"requirement_name": "strict"})))["openid-connect"].is_object());
    assert_eq!(of(own(json!({"requirement_name": "open"}))), Value::Null);
    assert!(is_closed(&of(own(json!({"requirement_name": "odd"})))));
    assert!(is_closed(&of(own(json!({"requirement_name": "gone"})))));
    assert_eq!(of(own(json!({"disabled": true}))), Value::Null);
}

#[test]
fn what_cannot_be_asked_for_is_closed() {
    let name = json!({"provider_name": "p"});
    let any = |list: Value| json!({"requires_any": {"requirements": list}});
    for (one, requirement) in [
        (json!({}), json!({"provider_name": "gone"})),
        (json!({}), json!({"allow_missing": {}})),
        (json!({}), any(json!([{"provider_name": "p"}, {"provider_name": "q"}]))),
        (json!({}), json!({"requires_all": {"requirements": [{"provider_name": "p"}, {"provider_name": "q"}]}})),
        (json!({"issuer": ""}), name.clone()),
        (json!({"issuer": "http://issuer.test"}), name.clone()),
        (json!({"from_cookies": ["c"]}), name.clone()),
        (json!({"from_headers": [{"name": "x-token"}]}), name.clone()),
        (json!({"max_lifetime": "60s"}), name.clone()),
        (json!({"subjects": {"exact": "s"}}), name.clone()),
        (json!({"remote_jwks": null}), name.clone()),
        (json!({"remote_jwks": null, "local_jwks": {"inline_string": "{\"keys\": []}"}}), name.clone()),
    ] {
        let found = plugins(&asks(&one, &requirement));
        assert!(is_closed(&found), "{one} {requirement}: {found}");
    }
    let some = filter(&json!({}), json!({"rules": [{"match": {"prefix": "/a"}, "requires": name}]}));
    assert!(is_closed(&plugins(&some)));
    // Who does not ask for it has nothing open.
    let (routes, report) = behind(&asks(&json!({}), &name), &json!({}), false, Tokens::Closed);
    assert!(is_closed(&routes[0].1), "{routes:?}");
    let said = |entry: &crate::translate::report::Entry| {
        entry.fidelity == Fidelity::NotExpressible && entry.reason.contains("3.18")
    };
    assert!(report.entries.iter().any(said), "{report:?}");
    // An older APISIX would not check all of it.
    let old = |version: &str| Options {
        tokens: Tokens::OpenidConnect,
        apisix: Some(version.parse().expect("a version")),
        ..Options::default()
    };
    assert_eq!((old("3.17").checks_tokens(), old("3.18").checks_tokens()), (false, true));
}
