//! Changes of headers, by filters and by routes: what a backend and a client get by way of a real Envoy is what they get by
//! the translation, as the model of APISIX has it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use confcast::apisix::Kind;
use confcast::apisix::matching::{Headers, Request, Router, request_headers, response_headers};
use confcast::testing::ads::{AdsServer, Habits};
use confcast::testing::mesh;
use confcast::testing::ports::free_port;
use confcast::translate::{Options, translate_all};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::support::envoy::{Envoy, Line, ask};
use crate::support::{self, program};

/// Headers of requests.
const REQUEST: [&str; 4] = ["x-one", "x-two", "x-three", "x-four"];

/// Headers of responses: the first is the backend's.
const RESPONSE: [&str; 3] = ["x-back", "x-r-one", "x-r-two"];

/// Listeners, each with filters of its own, and hosts of each.
const LISTENERS: usize = 10;
const HOSTS: usize = 6;

/// A backend that answers each request with its headers.
fn backend() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let serve = |stream: TcpStream| -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        while let Some(first) = lines.next() {
            first?;
            let mut body = String::new();
            for line in lines.by_ref() {
                let line = line?;
                if line.is_empty() {
                    break;
                }
                body.extend([line.as_str(), "\n"]);
            }
            let head = format!("HTTP/1.1 200 OK\r\nx-back: up\r\ncontent-length: {}\r\n\r\n", body.len());
            (&stream).write_all((head + &body).as_bytes())?;
        }
        Ok(())
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Envoy closes connections as it likes.
            std::thread::spawn(move || serve(stream).ok());
        }
    });
    port
}

/// A change of a header, as a filter has it.
fn mutation(random: &mut StdRng, names: &[&str], value: &str) -> Value {
    let name = *names.choose(random).expect("some");
    if random.random_bool(0.3) {
        return json!({"remove": name});
    }
    let mut option = option(random, name, value);
    // What an answer has of it APISIX does not see.
    if names.contains(&REQUEST[0]) && random.random_bool(0.3) {
        option = json!({"header": {"key": name, "value": value}, "append_action": "ADD_IF_ABSENT"});
    }
    json!({"append": option})
}

/// A header that gets a value. To a header of the backend APISIX cannot add one.
fn option(random: &mut StdRng, name: &str, value: &str) -> Value {
    let append = name != RESPONSE[0] && random.random_bool(0.5);
    let action = if append { "APPEND_IF_EXISTS_OR_ADD" } else { "OVERWRITE_IF_EXISTS_OR_ADD" };
    let value = match random.random_range(0..5) {
        0 => "%REQ(x-five)%".to_owned(),
        _ => value.to_owned(),
    };
    json!({"header": {"key": name, "value": value}, "append_action": action})
}

fn mutations(random: &mut StdRng, mark: &str) -> Value {
    let mut list = |names: &[&str], mark: &str| -> Value {
        let count = random.random_range(0..3);
        (0..count).map(|at| mutation(random, names, &format!("{mark}{at}"))).collect()
    };
    json!({"request_mutations": list(&REQUEST, mark), "response_mutations": list(&RESPONSE, mark)})
}

const KIND: &str = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3";

fn of_route(random: &mut StdRng, mark: &str) -> Value {
    if random.random_bool(0.4) {
        return json!({});
    }
    let name = ["first", "second"].choose(random).expect("some");
    json!({*name: {"@type": format!("{KIND}.HeaderMutationPerRoute"), "mutations": mutations(random, mark)}})
}

/// Headers that a level of the configuration of routes changes.
fn own(random: &mut StdRng, level: &mut Value, mark: &str) {
    for (kind, names) in [("request", &REQUEST[..]), ("response", &RESPONSE[..])] {
        let count = random.random_range(0..3);
        let add: Value = (0..count)
            .map(|at| {
                let name = *names.choose(random).expect("some");
                option(random, name, &format!("{mark}{at}"))
            })
            .collect();
        level[format!("{kind}_headers_to_add")] = add;
        if random.random_bool(0.3) {
            level[format!("{kind}_headers_to_remove")] = json!([names.choose(random).expect("some")]);
        }
    }
}

/// A connection manager with two filters that change headers, and routes that do so too.
fn manager(random: &mut StdRng) -> Value {
    let filter = |random: &mut StdRng, name: &str| {
        let last = random.random_bool(0.5);
        let config = json!({"@type": format!("{KIND}.HeaderMutation"), "mutations": mutations(random, name),
            "most_specific_header_mutations_wins": last});
        json!({"name": name, "typed_config": config})
    };
    let host = |random: &mut StdRng, number: usize| {
        let mut route = json!({"match": {"prefix": "/"}, "route": {"cluster": "back"},
            "typed_per_filter_config": of_route(random, "route")});
        own(random, &mut route, "r");
        let mut host = json!({"name": format!("h{number}"), "domains": [format!("h{number}")], "routes": [route],
            "typed_per_filter_config": of_route(random, "host")});
        own(random, &mut host, "h");
        host
    };
    let hosts: Vec<_> = (0..HOSTS).map(|number| host(random, number)).collect();
    let mut routes = json!({"virtual_hosts": hosts, "typed_per_filter_config": of_route(random, "config"),
        "most_specific_header_mutations_wins": random.random_bool(0.5)});
    own(random, &mut routes, "c");
    let router = json!({"name": "router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}});
    json!({"route_config": routes, "http_filters": [filter(random, "first"), filter(random, "second"), router]})
}

/// The values of headers, in their order, whatever they are joined by.
fn values(headers: &[(String, String)], names: &[&str]) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if names.contains(&name.as_str()) {
            let parts = value.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty());
            all.entry(name).or_default().extend(parts);
        }
    }
    all.retain(|_, values| !values.is_empty());
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_changed_alike() {
    let Some(binary) = program("CONFCAST_ENVOY", "envoy") else { return };
    let seed = crate::support::history::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let server = AdsServer::start(Habits::NONE).await;
    let _envoy = Envoy::start(&binary, server.port(), true);
    let ports: Vec<u16> = (0..LISTENERS).map(|_| free_port()).collect();
    let managers: Vec<_> = ports.iter().map(|port| (*port, manager(&mut random))).collect();
    let listener = |(port, manager): &(u16, Value)| mesh::listener_with(&format!("l{port}"), *port, manager.clone());
    let mut resources = vec![mesh::static_cluster("back", &[backend()])];
    resources.extend(managers.iter().map(listener));
    server.set(resources);
    let end = Instant::now() + support::PATIENCE;
    for port in &ports {
        while ask(*port, "GET", "h0", "/", &[]).is_none_or(|answer| answer.status != 200) {
            assert!(Instant::now() < end, "SEED={seed}: Envoy does not serve: {:?}", server.seen().nacks);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    for (port, manager) in &managers {
        let translation = translate_all([listener(&(*port, manager.clone()))], Options::default());
        let routes = translation.objects.iter().filter(|object| object.key.kind == Kind::Route);
        let router = Router::load(
            routes.map(|object| (object.key.id.clone(), serde_json::from_slice(&object.value).expect("JSON"))),
        );
        let mut line = Line::new(*port);
        for number in 0..HOSTS {
            for given in [&[][..], &["x-one"], &["x-one", "x-two", "x-three"]] {
                let named = given.iter().chain(&["x-five"]);
                let headers: Headers = named.map(|name| ((*name).to_owned(), format!("of-{name}"))).collect();
                let host = format!("h{number}");
                let request = Request {
                    method: "GET".into(),
                    host: host.clone(),
                    target: "/".into(),
                    headers,
                    port: *port,
                    ..Request::default()
                };
                let answer = line.ask("GET", &host, "/", &request.headers);
                let told = answer.text();
                let told: Headers = told
                    .lines()
                    .filter_map(|line| line.split_once(':'))
                    .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
                    .collect();
                let (_, route) = router.choose(&request).expect("a route");
                let what = format!("SEED={seed}: {host} {given:?}\n{manager}\n{}", route["plugins"]);
                let own = values(&request_headers(route, &request), &REQUEST);
                assert_eq!(values(&told, &REQUEST), own, "request, {what}");
                let sent = [("x-back".to_owned(), "up".to_owned())];
                let own = values(&response_headers(route, &request, &sent), &RESPONSE);
                assert_eq!(values(&answer.headers, &RESPONSE), own, "response, {what}");
            }
        }
    }
}
