//! Limits on failed log-ins: over both transports, from several addresses.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use confcast::pb::etcdserverpb::AuthenticateRequest;
use confcast::pb::etcdserverpb::auth_client::AuthClient;
use serde_json::json;
use socket2::{Domain, Socket, Type};
use support::http::{Answer, Connection};
use support::memory::Memory;
use support::users::Root;
use support::{Confcast, PATIENCE, until};
use tonic::transport::Endpoint;
use tonic::{Code, Status};

/// A server with the users root and apisix.
fn server(flags: &[&str]) -> Confcast {
    let confcast = Confcast::serve(&[&["--source", "none"], flags].concat()).ready();
    Root::protect(confcast.address, "apisix", "secret");
    confcast
}

/// Logs in over the gateway from an address of this machine.
fn log_in(confcast: &Confcast, from: &str, name: &str, password: &str) -> Answer {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(from.parse().expect("an address"), 0).into()).expect("bound");
    socket.connect(&confcast.address.into()).expect("connects");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let socket = stream.try_clone().expect("a second handle");
    let mut connection = Connection::over(Box::new(stream), socket);
    connection.post("/v3/auth/authenticate", &json!({"name": name, "password": password}).to_string());
    connection.answer()
}

/// Logs in over gRPC.
async fn grpc_log_in(confcast: &Confcast, from: &str, name: &str, password: &str) -> Result<String, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{}", confcast.address)).expect("a URL");
    let from: IpAddr = from.parse().expect("an address");
    let channel = endpoint.local_address(Some(from)).connect().await.expect("connects");
    let request = AuthenticateRequest { name: name.into(), password: password.into() };
    Ok(AuthClient::new(channel).authenticate(request).await?.into_inner().token)
}

#[test]
fn failures_end_the_log_ins_of_a_user_from_their_address_and_from_no_other() {
    let confcast = server(&["--max-failed-logins", "3"]);
    let status = |from, name, password| log_in(&confcast, from, name, password).status;
    for _ in 0..2 {
        assert_eq!(status("127.0.0.2", "apisix", "wrong"), 400);
    }
    assert_eq!(status("127.0.0.2", "apisix", "secret"), 200, "which takes the failures back");
    for _ in 0..3 {
        assert_eq!(status("127.0.0.2", "apisix", "wrong"), 400);
    }
    for password in ["wrong", "secret"] {
        let answer = log_in(&confcast, "127.0.0.2", "apisix", password);
        assert_eq!((answer.status, answer.json()["code"].as_i64()), (429, Some(8)));
        let wait: u64 = answer.header("retry-after").expect("told").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{wait}");
        let text = format!("confcast: too many failed log-ins, try again in {wait} s");
        assert_eq!(answer.json()["message"], text.as_str());
    }
    assert_eq!(confcast.refused("failed_logins"), 2);
    assert_eq!(status("127.0.0.2", "root", "root"), 200, "another user");
    assert_eq!(status("127.0.0.3", "apisix", "secret"), 200, "another address");
    until("logged", || confcast.log().contains("too many failed log-ins"));
    assert!(!confcast.log().contains("wrong"), "passwords are not");
}

#[tokio::test]
async fn failures_are_the_same_over_grpc() {
    let confcast = server(&["--max-failed-logins", "3"]);
    for _ in 0..3 {
        let error = grpc_log_in(&confcast, "127.0.0.2", "root", "wrong").await.expect_err("wrong");
        assert_eq!(error.code(), Code::InvalidArgument);
    }
    let error = grpc_log_in(&confcast, "127.0.0.2", "root", "root").await.expect_err("refused");
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(error.message().starts_with("confcast: too many failed log-ins, try again in "), "{error}");
    assert_eq!(log_in(&confcast, "127.0.0.2", "root", "root").status, 429, "counted together");
    grpc_log_in(&confcast, "127.0.0.3", "root", "root").await.expect("another address");
}

#[test]
fn one_address_is_stopped_whatever_the_names_and_a_success_does_not_help_it() {
    let confcast = server(&["--max-failed-logins", "2"]);
    for user in 0..5 {
        for _ in 0..2 {
            assert_eq!(log_in(&confcast, "127.0.0.2", &format!("user {user}"), "guess").status, 400);
        }
        let own = log_in(&confcast, "127.0.0.2", "apisix", "secret").status;
        assert_eq!(own, if user < 4 { 200 } else { 429 });
    }
    assert_eq!(confcast.refused("failed_logins_per_address"), 1);
    assert_eq!(log_in(&confcast, "127.0.0.3", "apisix", "secret").status, 200);
}

/// Whoever attacks a user from many addresses makes it hard for himself, and locks nobody out.
#[test]
fn an_attack_from_everywhere_leaves_everybody_a_try() {
    let confcast = server(&["--max-failed-logins", "1"]);
    for host in 10..20 {
        assert_eq!(log_in(&confcast, &format!("127.0.0.{host}"), "root", "guess").status, 400);
    }
    let confcast_two = server(&["--max-failed-logins", "2"]);
    for host in 10..20 {
        for _ in 0..2 {
            assert_eq!(log_in(&confcast_two, &format!("127.0.0.{host}"), "root", "guess").status, 400);
        }
    }
    assert_eq!(log_in(&confcast_two, "127.0.0.30", "root", "guess").status, 400, "the first");
    assert_eq!(log_in(&confcast_two, "127.0.0.30", "root", "another").status, 429, "and no second");
    assert_eq!(confcast_two.refused("failed_logins_per_user"), 1);
    for server in [&confcast, &confcast_two] {
        assert_eq!(log_in(server, "127.0.0.40", "root", "root").status, 200, "the operator");
    }
}

#[test]
fn a_refusal_costs_no_hash_and_there_may_be_no_limit() {
    let confcast = server(&["--max-failed-logins", "1"]);
    assert_eq!(log_in(&confcast, "127.0.0.2", "root", "guess").status, 400);
    let used = cpu(&confcast);
    for number in 0..100 {
        assert_eq!(log_in(&confcast, "127.0.0.2", "root", &number.to_string()).status, 429);
    }
    let used = cpu(&confcast).checked_sub(used).expect("it grows");
    assert!(used < Duration::from_millis(700), "{used:?}, where a hundred hashes take some 2 s");
    // Nor does it cost memory, whatever the names, once the address has failed too often: a hash needs much.
    let fail = |number: usize| {
        let name = format!("{number}{}", "n".repeat(10_000));
        log_in(&confcast, "127.0.0.2", &name, "guess").status
    };
    assert!((0..4).all(|number| fail(number) == 400));
    let memory = Memory::of(&confcast);
    assert!((0..2_000).all(|number| fail(number) == 429));
    memory.stays_within(8, "2,000 refused log-ins");

    let confcast = server(&["--max-failed-logins", "0"]);
    let memory = Memory::of(&confcast);
    for number in 0..30 {
        assert_eq!(log_in(&confcast, "127.0.0.2", "root", &number.to_string()).status, 400);
    }
    // Two at a time, of 19 MiB.
    memory.stays_within(48, "30 hashes of passwords");
    assert_eq!(log_in(&confcast, "127.0.0.2", "root", "root").status, 200);
}

/// What a server has used of the processor.
fn cpu(confcast: &Confcast) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", confcast.id())).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}
