//! The cases by which the rules were pinned on a running APISIX.

use serde_json::json;

use super::*;

fn routes(list: Vec<Value>) -> Router {
    Router::load(list.into_iter().map(|route| (route["id"].as_str().unwrap_or_default().to_owned(), route)))
}

fn to(host: &str, target: &str) -> Request {
    Request { method: "GET".into(), host: host.into(), target: target.into(), ..Request::default() }
}

fn chosen<'a>(routes: &'a Router, host: &str, target: &str) -> &'a str {
    routes.choose(&to(host, target)).map_or("none", |(key, _)| key)
}

/// Rules 6, 10 and 13; then 7.
#[test]
fn exact_then_longest_prefix_then_priority() {
    let by_path = routes(vec![
        json!({"id": "exact", "uris": ["/a/b"], "priority": -5}),
        json!({"id": "ab", "uris": ["/a/b*"]}),
        json!({"id": "a", "uris": ["/a*"], "priority": 100}),
        json!({"id": "all", "uri": "/*", "priority": 1000}),
        json!({"id": "off", "uri": "/a/b", "priority": 7, "status": 0}),
    ]);
    for (path, id) in [("/a/b", "exact"), ("/a/b/c", "ab"), ("/a", "a"), ("/a/c", "a"), ("/z", "all")] {
        assert_eq!(chosen(&by_path, "h", path), id, "{path}");
    }
    let by_priority = routes(
        [1, 9, 5].map(|priority| json!({"id": format!("p{priority}"), "uris": ["/s"], "priority": priority})).into(),
    );
    assert_eq!(chosen(&by_priority, "h", "/s"), "p9");
    let by_length = routes(["/m*", "/m*xx", "/m*yyyy"].map(|uri| json!({"id": uri, "uris": [uri]})).into());
    assert_eq!(chosen(&by_length, "h", "/m"), "/m*yyyy");
}

/// Rule 8: between equals the live order is that of creation, after a restart that of the keys.
#[test]
fn equals_are_told_apart_by_their_age_until_a_restart() {
    let route = |id: &str| json!({"id": id, "uris": ["/x"]});
    let mut live = Router::default();
    for key in ["m", "a", "z"] {
        live.put(key, route(key));
    }
    assert_eq!(chosen(&live, "h", "/x"), "m");
    live.put("m", route("m"));
    assert_eq!(chosen(&live, "h", "/x"), "m", "an update keeps its place");
    assert_eq!(chosen(&Router::load(live.routes.clone()), "h", "/x"), "a", "after a restart");
    live.delete("m");
    assert_eq!(chosen(&live, "h", "/x"), "a");
    live.put("m", route("m"));
    assert_eq!(chosen(&live, "h", "/x"), "a", "made anew, it comes last");
}

/// Rules 1, 5, 9, 12 and 13.
#[test]
fn hosts_come_before_everything_and_commit_to_nothing() {
    let by_host = routes(vec![
        json!({"id": "exact", "uris": ["/e"], "host": "A.foo.com"}),
        json!({"id": "wild", "uris": ["/w*", "/*"], "hosts": ["*.foo.com"], "priority": -10}),
        json!({"id": "wilder", "uris": ["/*"], "hosts": ["*.b.foo.com"]}),
        json!({"id": "star", "uris": ["/star"], "hosts": ["*"]}),
        json!({"id": "any", "uris": ["/x", "/n*"], "priority": 100}),
    ]);
    for (host, path, id) in [
        ("a.foo.com", "/e", "exact"),
        ("a.foo.com:80", "/e", "exact"),
        ("A.FOO.com", "/e", "exact"),
        ("a.foo.com.", "/e", "exact"),
        ("a.foo.com", "/w1", "wild"),
        ("x.b.foo.com", "/", "wilder"),
        ("y.x.foo.com", "/x", "wild"),
        ("b.foo.com", "/x", "wild"),
        (".foo.com", "/x", "wild"),
        ("foo.com", "/n", "any"),
        ("foo.com", "/w", "none"),
        ("[::1]:80", "/star", "star"),
    ] {
        assert_eq!(chosen(&by_host, host, path), id, "{host}{path}");
    }
    assert_eq!(chosen(&by_host, "elsewhere", "http://a.foo.com/e"), "exact", "the target decides over the header");
    let suffix = routes(vec![json!({"id": "s", "uris": ["/*"], "hosts": ["*-bar.foo.com"]})]);
    for (host, id) in [("a-bar.foo.com", "s"), ("z.a-bar.foo.com", "s"), ("-bar.foo.com", "s"), ("bar.foo.com", "none")]
    {
        assert_eq!(chosen(&suffix, host, "/"), id, "{host}");
    }
}

/// Rules 11 and 12.
#[test]
fn what_does_not_fit_falls_through() {
    let by_var = routes(vec![
        json!({"id": "false", "uris": ["/a/b"], "vars": [["arg_k", "==", "0"]]}),
        json!({"id": "three", "uris": ["/a/b*"], "priority": 3, "vars": [["arg_k", "==", "3"]]}),
        json!({"id": "one", "uris": ["/a/b*"], "priority": 1, "vars": [["arg_k", "==", "1"]]}),
        json!({"id": "two", "uris": ["/a*"], "vars": [["arg_k", "==", "2"]]}),
        json!({"id": "post", "uris": ["/post"], "methods": ["POST"]}),
        json!({"id": "local", "uris": ["/local"], "remote_addrs": ["10.0.0.0/8", "::1"]}),
        json!({"id": "all", "uris": ["/*"]}),
    ]);
    for (target, id) in [("/a/b?k=1", "one"), ("/a/b?k=2", "two"), ("/a/b", "all"), ("/post", "all"), ("/local", "all")]
    {
        assert_eq!(chosen(&by_var, "h", target), id, "{target}");
    }
    for (remote, id) in [("10.9.8.7", "local"), ("::1", "local"), ("11.0.0.1", "all"), ("::2", "all")] {
        let request = Request { remote: remote.into(), ..to("h", "/local") };
        assert_eq!(by_var.choose(&request).map(|(key, _)| key), Some(id), "{remote}");
    }
}

/// Rule 2.
#[test]
fn paths_are_decoded_merged_and_resolved() {
    for (sent, seen) in [
        ("/s%2Fx/y", Some("/s/x/y")),
        ("/%41", Some("/A")),
        ("//a", Some("/a")),
        ("/a/./b", Some("/a/b")),
        ("/a/../b", Some("/b")),
        ("/a%2f..%2fb", Some("/b")),
        ("/a/..", Some("/")),
        ("/a/.", Some("/a/")),
        ("/a/", Some("/a/")),
        ("/a;p=1/b", Some("/a;p=1/b")),
        ("/a%252Fb", Some("/a%2Fb")),
        ("/a%3Fb?c", Some("/a?b")),
        ("/a#f?x", Some("/a")),
        ("/../x", None),
        ("/%zz", None),
        ("/%00", None),
        ("*", None),
    ] {
        let path = to("h", sent).path().map(|path| String::from_utf8_lossy(&path).into_owned());
        assert_eq!(path.as_deref(), seen, "{sent}");
    }
    assert_eq!(routes(vec![json!({"id": "a", "uris": ["/*"]})]).answer(&to("h", "/../x")), Answer::Status(400));
}

/// Rules 14 and 15.
#[test]
fn a_star_inside_a_path() {
    let star = routes(["/m*x", "/n/*/z", "/a+b/*/x", "/c/:id"].map(|uri| json!({"id": uri, "uris": [uri]})).into());
    for (path, id) in [
        ("/mxy", "/m*x"),
        ("/m", "/m*x"),
        ("/n/a/b/z", "/n/*/z"),
        ("/n/a/y", "none"),
        ("/n//z", "none"),
        ("/a+b/q/x", "none"),
        ("/c/1", "none"),
        ("/c/:id", "/c/:id"),
    ] {
        assert_eq!(chosen(&star, "h", path), id, "{path}");
    }
}

/// Whether a condition on the header `x` holds.
fn header(values: &[&str], condition: &Value) -> bool {
    let headers = values.iter().map(|value| ("X".to_owned(), (*value).to_owned())).collect();
    vars::holds(condition, &Request { headers, ..to("h", "/") })
}

/// Rules 17 to 23, as the table of measurements has them: absent, empty, `1`, `abc`.
#[test]
fn conditions_on_a_header() {
    for (rest, expected) in [
        (json!(["==", null]), "TFFF"),
        (json!(["~=", null]), "FTTT"),
        (json!(["!", "==", null]), "FTTT"),
        (json!(["==", ""]), "FTFF"),
        (json!(["~=", ""]), "TFTT"),
        (json!(["==", "1"]), "FFTF"),
        (json!(["~=", "1"]), "TTFT"),
        (json!(["!", "==", "1"]), "TTFT"),
        (json!(["==", 1]), "FFTF"),
        (json!(["~=", 1]), "TTFT"),
        (json!([">", 0]), "FFTF"),
        (json!([">=", "1"]), "FFTF"),
        (json!(["<", 5]), "FFTF"),
        (json!(["!", "<", 5]), "TTFT"),
        (json!([">", "abc"]), "FFFF"),
        (json!(["~~", "a"]), "FFFT"),
        (json!(["!", "~~", "a"]), "TTTF"),
        (json!(["~~", ""]), "FTTT"),
        (json!(["~~", "("]), "FFFF"),
        (json!(["!", "~~", "("]), "TTTT"),
        (json!(["~*", "ABC"]), "FFFT"),
        (json!(["in", ["1", "abc"]]), "FFTT"),
        (json!(["!", "in", ["1", "abc"]]), "TTFF"),
        (json!(["in", "1"]), "FFFF"),
        (json!(["ipmatch", ["0.0.0.0/0"]]), "FFFF"),
    ] {
        let mut condition = vec![json!("http_x")];
        condition.extend(rest.as_array().expect("a list").iter().cloned());
        let condition = Value::from(condition);
        let holds = |values: &[&str]| if header(values, &condition) { 'T' } else { 'F' };
        let seen: String = [holds(&[]), holds(&[""]), holds(&["1"]), holds(&["abc"])].into_iter().collect();
        assert_eq!(seen, expected, "{condition}");
    }
    for (condition, expected) in [
        (json!(["OR", ["http_x", "==", "1"], ["http_x", "==", "2"]]), true),
        (json!(["and", ["http_x", "==", "1"], ["http_x", "==", "2"]]), false),
        (json!(["!AND", ["http_x", "==", "1"], ["http_x", "==", "2"]]), true),
        (json!(["!OR", ["http_x", "==", "1"], ["http_x", "==", "2"]]), false),
    ] {
        assert_eq!(header(&["1"], &condition), expected, "{condition}");
    }
}

/// Numbers are Lua's.
#[test]
fn numbers() {
    for text in ["010", "10.0", "0xA", "1e1", " 10 ", "+10"] {
        assert!(header(&[text], &json!(["http_x", "==", 10])), "{text:?}");
    }
    assert!(header(&["inf"], &json!(["http_x", ">", 10])));
    assert!(header(&["9007199254740992"], &json!(["http_x", ">=", 9_007_199_254_740_993_i64])), "digits are lost");
    for text in ["10a", "", "nan", "1_0"] {
        assert!(!header(&[text], &json!(["http_x", ">=", -100])), "{text:?}");
    }
}

/// Rules 24 to 26: arguments, headers, cookies; and what `ipmatch` takes.
#[test]
fn variables() {
    let holds = |target: &str, headers: &[(&str, &str)], condition: Value| {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        vars::holds(&condition, &Request { headers, ..to("A.b:80", target) })
    };
    for (target, condition, expected) in [
        ("/?x", json!(["arg_x", "==", null]), false),
        ("/?x", json!(["arg_x", "==", ""]), false),
        ("/?x", json!(["arg_x", "==", true]), true),
        ("/?x", json!(["arg_x", "~~", "^true\\z"]), true),
        ("/?x=", json!(["arg_x", "==", ""]), true),
        ("/?x=1&x=2", json!(["arg_x", "==", "1"]), true),
        ("/?x&x=1", json!(["arg_x", "==", true]), true),
        ("/?%78=a+b%2B", json!(["arg_x", "==", "a b+"]), true),
        ("/?X=1", json!(["arg_x", "==", null]), true),
        ("/?x[0]=1;y=2", json!(["arg_x[0]", "==", "1;y=2"]), true),
        ("/?", json!(["host", "==", "a.b"]), true),
        ("/?", json!(["http_host", "==", "A.b:80"]), true),
        ("/a%2Fb?c=%2F", json!(["request_uri", "==", "/a/b?c=%2F"]), true),
        ("/a%2Fb?c=%2F", json!(["real_request_uri", "==", "/a%2Fb?c=%2F"]), true),
    ] {
        assert_eq!(holds(target, &[], condition.clone()), expected, "{target} {condition}");
    }
    let twice = [("X-Y", "1"), ("x_y", "2"), ("Cookie", "a=1; b=\"q\""), ("Cookie", "a=2;c=")];
    for (condition, expected) in [
        (json!(["http_x_y", "==", "1, 2"]), true),
        (json!(["http_x-Y", "==", "1, 2"]), true),
        (json!(["http_x_y", "==", "1,2"]), false),
        (json!(["HTTP_x_y", "==", null]), true),
        (json!(["http_x.y", "==", null]), true),
        (json!(["cookie_a", "==", "2"]), true),
        (json!(["cookie_A", "==", null]), true),
        (json!(["cookie_b", "==", "\"q\""]), true),
        (json!(["cookie_c", "==", ""]), true),
        (json!(["http_cookie", "~~", "q\"; a=2"]), true),
    ] {
        assert_eq!(holds("/", &twice, condition.clone()), expected, "{condition}");
    }
    let address = [("x", "10.1.2.3")];
    for (list, expected) in [
        (json!(["10.0.0.0/8"]), true),
        (json!("10.1.2.3"), true),
        (json!(["10.1.2.0/31", "::/0"]), false),
        (json!(["0.0.0.0/0"]), true),
        (json!(["bad/8"]), false),
    ] {
        assert_eq!(holds("/", &address, json!(["http_x", "ipmatch", list])), expected, "{list}");
    }
    // By bytes, or with the mark in front by characters.
    let accent = [("x", "é")];
    assert!(!holds("/", &accent, json!(["http_x", "~~", "^.\\z"])));
    assert!(holds("/", &accent, json!(["http_x", "~~", "(*UTF)^.\\z"])));
    assert!(holds("/", &accent, json!(["http_x", "~*", "(*UTF)^É\\z"])));
}

#[test]
fn what_a_route_changes_of_headers() {
    let headers = json!({"add": {"a": "1"}, "set": {"b": "$http_a", "c": "2", "e": "${http_a ?? 1}", "f": "${http_f ?? 1}"}, "remove": ["c", "d"]});
    let route = json!({"plugins": {"proxy-rewrite": {"headers": headers}}});
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let sent = vec![header("A", "0"), header("b", "0"), header("D", "0")];
    let request = Request { headers: sent.clone(), ..Request::default() };
    let expected = [header("A", "0"), header("a", "1"), header("b", "0"), header("e", "0"), header("f", "1")];
    assert_eq!(request_headers(&route, &request), expected);
    assert_eq!(response_headers(&route, &request, &sent), sent);
}

#[test]
fn what_a_route_does() {
    let check = |route: Value, target: &str, expected: Answer| {
        assert_eq!(answer(&route, &to("H.test:81", target)), expected, "{route} {target}");
    };
    let upstream = |ids: &[&str], target: &str, host: &str| Answer::Upstream {
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        target: target.into(),
        host: host.into(),
    };
    check(json!({"upstream_id": "u"}), "/a%2Fb?q", upstream(&["u"], "/a%2Fb?q", "H.test:81"));
    let rewrite = |fields: Value| json!({"upstream_id": "u", "plugins": {"proxy-rewrite": fields}});
    check(rewrite(json!({"host": "x"})), "/a%2Fb//c%20?q=%20", upstream(&["u"], "/a/b/c%20?q=%20", "x"));
    check(rewrite(json!({"regex_uri": ["^/a(.*)", "/b$$$1"]})), "/ac?q", upstream(&["u"], "/b$c?q", "H.test:81"));
    check(rewrite(json!({"regex_uri": ["^/(.)(.)", "/$2${1}0"]})), "/ab", upstream(&["u"], "/ba0", "H.test:81"));
    let split = json!({"traffic-split": {"rules": [{"weighted_upstreams": [
        {"upstream_id": "a", "weight": 1}, {"upstream_id": "b", "weight": 0}, {"upstream_id": "c", "weight": 2}]}]}});
    check(json!({"upstream_id": "u", "plugins": split}), "/", upstream(&["a", "c"], "/", "H.test:81"));
    let redirect = |fields: Value| json!({"plugins": {"redirect": fields}});
    let to_there = |status, location: &str| Answer::Redirect { status, location: location.into() };
    let uri = json!({"uri": "https://$http_host$real_request_uri", "ret_code": 301});
    check(redirect(uri), "/a%2Fb?q", to_there(301, "https://H.test:81/a%2Fb?q"));
    let uri = json!({"uri": "/a?b=1", "append_query_string": true});
    check(redirect(uri), "/x?x=1", to_there(302, "/a?b=1&x=1"));
    let regex = json!({"regex_uri": ["^/a(.*)", "/b$1"], "encode_uri": true, "append_query_string": true});
    check(redirect(regex), "/a%20c?q", to_there(302, "/b%20c?q"));
    let abort = json!({"plugins": {"fault-injection": {"abort": {"http_status": 503, "vars": [[["arg_a", "==", "1"]], [["arg_b", "==", "1"]]]}}}, "upstream_id": "u"});
    check(abort.clone(), "/?b=1", Answer::Status(503));
    check(abort, "/?c=1", upstream(&["u"], "/?c=1", "H.test:81"));
    check(json!({"plugins": {"mocking": {"response_status": 418}}}), "/", Answer::Status(418));
    check(json!({"plugins": {"grpc-web": {}}, "upstream_id": "u"}), "/", Answer::Status(400));
}
