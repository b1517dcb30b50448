//! A budget of memory: history gives way, and requests are refused before there are too many of them.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::print_stdout, missing_docs)]

mod support;

use confcast::pb::etcdserverpb::PutRequest;
use confcast::pb::etcdserverpb::kv_client::KvClient;
use serde_json::{Value, json};
use support::http::{Answer, Connection, Watch, b64, get, post, range};
use support::{Confcast, until};
use tonic::Code;
use tonic::transport::Channel;

const MIB: usize = 1 << 20;

/// The smallest budget.
const BUDGET: usize = 64 * MIB;

fn server(flags: &[&str]) -> Confcast {
    Confcast::serve(&[&["--source", "none"], flags].concat()).ready()
}

fn with_budget() -> Confcast {
    server(&["--memory-budget-mib", "64"])
}

/// The most memory that the process ever had.
fn peak(server: &Confcast) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

fn metric(server: &Confcast, name: &str) -> usize {
    server.metric(name) as usize
}

async fn client(server: &Confcast) -> KvClient<Channel> {
    let channel = Channel::from_shared(format!("http://{}", server.address)).expect("a URL");
    KvClient::new(channel.connect().await.expect("connects"))
}

fn put(key: &str, size: usize) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: vec![b'v'; size].into(), ..PutRequest::default() }
}

/// Writes so many MiB, to keys that take 3 MiB in turn, while somebody watches over the gateway.
async fn write(server: &Confcast, mib: usize) {
    let mut client = client(server).await;
    let mut watch = Watch::open(server.address, "/k/", "/k0", 0);
    for step in 0..mib * 16 {
        client.put(put(&format!("/k/{}", step % 48), MIB / 16)).await.expect("written");
        watch.next();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_gives_way() {
    let (free, bound) = (server(&[]), with_budget());
    let start = peak(&bound);
    write(&bound, 100).await;
    let store = metric(&bound, "confcast_store_memory_bytes");
    assert!((BUDGET / 4..=BUDGET / 2).contains(&store), "{store}");
    assert_eq!(metric(&bound, "confcast_memory_budget_bytes"), BUDGET);
    let log = get(bound.admin, "/status").json()["log"]["commits"].as_u64().expect("a number");
    assert!((50..300).contains(&log), "as much history as there is room for: {log}");
    println!(
        "peak of 100 MiB written within a budget of 64 MiB: {} MiB, {} at the start",
        peak(&bound) / MIB,
        start / MIB
    );
    assert!(peak(&bound) - start < BUDGET);
    // All keys are there, and who comes too late is told so.
    assert_eq!(range(bound.address, "/k/", "/k0").pairs.len(), 48);
    let told = Watch::open(bound.address, "/k/", "/k0", 2).next();
    assert!(told["compact_revision"].is_string(), "{told}");
    write(&free, 100).await;
    println!("without one: {} MiB", peak(&free) / MIB);
    assert!(peak(&free) - start > 2 * BUDGET, "the budget makes the difference");
}

/// A put over the gateway, but for its last byte.
fn begin_put(server: &Confcast, size: usize) -> Connection {
    let body = json!({"key": b64("/big"), "value": b64(vec![b'v'; size])}).to_string();
    let mut connection = Connection::open(server.address);
    let head = format!("POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    connection.send(head.as_bytes());
    // A refusal ends the connection.
    let _ = std::io::Write::write_all(&mut connection.socket, &body.as_bytes()[..body.len() - 1]);
    connection
}

fn is_overload(answer: &Answer) {
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")), "{}", answer.text());
    assert_eq!(answer.json()["code"], 8);
    assert_eq!(answer.json()["message"], "confcast: requests hold too much memory, try again later");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_budget_are_refused_until_there_is_room() {
    let bound = with_budget();
    let start = peak(&bound);
    let used = || metric(&bound, "confcast_requests_memory_bytes");
    // Of 16 MiB for requests each takes 3.
    let mut held: Vec<_> = (0..5).map(|_| begin_put(&bound, 1_200_000)).collect();
    until("read", || used() > 14 * MIB);
    let refused = || metric(&bound, "confcast_refused_total{limit=\"memory\"}");
    assert_eq!(refused(), 0);
    for _ in 0..20 {
        is_overload(&begin_put(&bound, 1_200_000).answer());
    }
    let mut client = client(&bound).await;
    let status = client.put(put("/big", 1_200_000)).await.expect_err("refused");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "confcast: requests hold too much memory, try again later");
    assert_eq!(refused(), 21);
    until("logged", || bound.log().contains("see --memory-budget-mib"));
    // Small ones are served, and those that were there go on.
    client.put(put("/small", 4000)).await.expect("small");
    assert_eq!(post(bound.address, "/v3/kv/range", &json!({"key": b64("/small")})).status, 200);
    let mut first = held.remove(0);
    first.send(b"}");
    assert_eq!(first.answer().status, 200);
    drop(held);
    until("given back", || used() == 0);
    client.put(put("/big", 1_200_000)).await.expect("room");
    println!(
        "peak with 26 requests of 1.2 MB within a budget of 64 MiB: {} MiB, {} at the start",
        peak(&bound) / MIB,
        start / MIB
    );
    assert!(peak(&bound) - start < BUDGET);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_takes_are_bounded_and_shared_ones_cost_once() {
    let bound = with_budget();
    let mut client = client(&bound).await;
    for key in 0..48 {
        client.put(put(&format!("/k/{key:02}"), 100_000)).await.expect("written");
    }
    // In both forms, as they are made for the first time.
    assert_eq!(range(bound.address, "/k/", "/k0").pairs.len(), 48);
    let before = peak(&bound);
    let ask = |body: &Value| {
        let mut connection = Connection::open(bound.address);
        connection.post("/v3/kv/range", &body.to_string());
        connection
    };
    // The same for all: 6.4 MB, of which a hundred clients have the same bytes.
    let all = json!({"key": b64("/k/"), "range_end": b64("/k0")});
    let mut shared: Vec<_> = (0..100).map(|_| ask(&all)).collect();
    assert_eq!(shared[99].answer().json()["count"], "48");
    assert_eq!(metric(&bound, "confcast_refused_total{limit=\"memory\"}"), 0);
    drop(shared);
    println!("peak with 100 times 6.4 MB of shared answers: {} MiB, {} before", peak(&bound) / MIB, before / MIB);
    assert!(peak(&bound) - before < BUDGET / 2);
    // One with a limit is put together for its client alone, and two of them are all that there is room for.
    let some = json!({"key": b64("/k/"), "range_end": b64("/k0"), "limit": 100});
    let mut first = ask(&some);
    let used = || metric(&bound, "confcast_requests_memory_bytes");
    until("held", || used() > 6 * MIB);
    let second = ask(&some);
    until("held", || used() > 12 * MIB);
    is_overload(&ask(&some).answer());
    // A transaction with many answers is refused before they are written.
    let one = json!({"request_range": all});
    let many = json!({"success": vec![one; 20]});
    is_overload(&post(bound.address, "/v3/kv/txn", &many));
    assert_eq!(first.answer().json()["count"], "48");
    drop(second);
    until("given back", || used() == 0);
    assert_eq!(ask(&some).answer().status, 200);
}
