//! Requests that are too large, too deep, compressed, or in too many pieces: each is answered clearly, and none costs more
//! memory than it may.
#![allow(clippy::print_stdout, missing_docs)]
#![allow(clippy::disallowed_methods, reason = "clients take real time, and have tasks of their own")]

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, Request};
use serde_json::{Value, json};
use support::Confcast;
use support::frames::message;
use support::http::{Answer, Connection, b64, get, post};
use support::memory::Memory;

const GRPC: &str = "application/grpc";
const JSON: &str = "application/json";

/// Bytes of a body that nobody may send.
const HUGE: usize = 256 << 20;

/// Bytes of a message that may just be sent.
const LARGEST: usize = (2 << 20) - 512;

/// Pieces of a request. If each were read with all that came before, a minute would not do.
const PIECES: usize = 1 << 18;

fn server(flags: &[&str]) -> Confcast {
    Confcast::serve(&[&["--source", "none"], flags].concat()).ready()
}

/// Sends a body as long as it is taken, and returns the answer, if it was not lost, and how much was sent.
fn pour(mut connection: Connection, piece: &[u8], total: usize) -> (Option<Answer>, usize) {
    connection.patience(Duration::from_secs(5));
    let mut sent = 0;
    while sent < total && connection.try_send(piece) {
        sent += piece.len();
    }
    (connection.try_answer(), sent)
}

#[test]
fn bodies_without_an_end() {
    let confcast = server(&[]);
    let piece = b"{\"key\":[".iter().copied().chain([b'1', b','].repeat(32 << 10)).collect::<Vec<_>>();
    let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
    let length = format!("Content-Length: {HUGE}");
    for path in ["/v3/kv/put", "/v3/kv/range", "/v3/kv/txn", "/v3/watch", "/v3/lease/keepalive", "/v3/none", "/version"]
    {
        for (framing, piece) in [(length.as_str(), &piece), ("Transfer-Encoding: chunked", &chunk)] {
            let memory = Memory::of(&confcast);
            let mut connection = Connection::open(confcast.address);
            connection.send(format!("POST {path} HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n").as_bytes());
            let (answer, sent) = pour(connection, piece, HUGE);
            let status = answer.as_ref().map(|answer| answer.status);
            println!("{path}, {framing}: {} KiB were taken, then {status:?}", sent >> 10);
            assert!(sent < 32 << 20, "{path}: {sent} bytes were taken");
            assert!(status.is_none_or(|status| status >= 400), "{path}: {answer:?}");
            assert_eq!(get(confcast.address, "/version").status, 200);
            // A body is there as bytes and, up to the limit of a message, as what it says.
            memory.stays_within(48, &format!("256 MiB to {path}"));
        }
    }
}

/// What was answered over HTTP/2.
#[derive(Debug)]
struct Told {
    status: u16,
    /// Of gRPC.
    code: Option<String>,
    text: String,
}

/// Sends a body in pieces over HTTP/2, as far as the server wants it.
async fn call(address: SocketAddr, path: &str, headers: &[(&str, &str)], pieces: Vec<Bytes>) -> Told {
    let socket = tokio::net::TcpStream::connect(address).await.expect("connects");
    let (mut client, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut request = Request::post(format!("http://test{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (response, mut stream) = client.send_request(request.body(()).expect("a request"), false).expect("sent");
    let sending = tokio::spawn(async move {
        for mut piece in pieces {
            while !piece.is_empty() {
                stream.reserve_capacity(piece.len());
                let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
                if stream.send_data(piece.split_to(room.min(piece.len())), false).is_err() {
                    return;
                }
            }
        }
        let _ = stream.send_data(Bytes::new(), true);
    });
    let response =
        tokio::time::timeout(support::PATIENCE, response).await.expect("an answer in time").expect("an answer");
    let (head, body) = response.into_parts();
    let (bytes, trailers) = rest(body).await;
    sending.abort();
    let header = |name: &str| {
        let value = trailers.get(name).or_else(|| head.headers.get(name));
        value.map(|value| value.to_str().expect("text").to_owned())
    };
    let text = header("grpc-message").unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned());
    Told { status: head.status.as_u16(), code: header("grpc-status"), text }
}

async fn rest(mut body: RecvStream) -> (Vec<u8>, HeaderMap) {
    let mut bytes = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        bytes.extend(data);
    }
    let trailers = body.trailers().await.ok().flatten().unwrap_or_default();
    (bytes, trailers)
}

const CALLS: [&str; 6] = [
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.KV/Put",
    "/etcdserverpb.KV/Txn",
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.Lease/LeaseKeepAlive",
    "/etcdserverpb.Auth/Authenticate",
];

#[tokio::test]
async fn messages_that_say_that_they_are_huge() {
    let confcast = server(&[]);
    let piece = Bytes::from(vec![10; 256 << 10]);
    for path in CALLS {
        let memory = Memory::of(&confcast);
        let prefix = Bytes::from(message(false, u32::MAX as usize, &[]));
        let pieces = [prefix].into_iter().chain(std::iter::repeat_n(piece.clone(), HUGE / piece.len())).collect();
        let told = call(confcast.address, path, &[("content-type", GRPC), ("te", "trailers")], pieces).await;
        println!("{path}: {told:?}");
        // ResourceExhausted.
        assert_eq!(told.code.as_deref(), Some("8"), "{path}: {told:?}");
        memory.stays_within(8, &format!("a message of 4 GiB to {path}"));
    }
    let memory = Memory::of(&confcast);
    let pieces = std::iter::repeat_n(piece, HUGE / (256 << 10)).collect();
    let told = call(confcast.address, "/v3/kv/put", &[("content-type", JSON)], pieces).await;
    assert!(told.status >= 400, "{told:?}");
    memory.stays_within(8, "256 MiB over HTTP/2 to the gateway");
}

/// Nothing is ever unpacked, so that nothing can grow by it.
#[tokio::test]
async fn compressed_messages_are_refused() {
    let confcast = server(&[]);
    // 1 GiB of zeros, as far as its header goes.
    let bomb = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff][..], &[0; 1000]].concat();
    let framed = Bytes::from(message(true, bomb.len(), &bomb));
    let memory = Memory::of(&confcast);
    for path in CALLS {
        for encoding in [None, Some(("grpc-encoding", "gzip"))] {
            let headers = [("content-type", GRPC), ("te", "trailers")];
            let headers: Vec<_> = headers.into_iter().chain(encoding).collect();
            let told = call(confcast.address, path, &headers, vec![framed.clone()]).await;
            println!("{path}, {encoding:?}: {told:?}");
            // Unimplemented; Internal where the flag contradicts the header, as the specification of gRPC has it.
            assert!(matches!(told.code.as_deref(), Some("12" | "13")), "{path}: {told:?}");
            assert!(told.text.to_lowercase().contains("compress"), "{path} {encoding:?}: {told:?}");
        }
    }
    for path in ["/v3/kv/range", "/v3/kv/put", "/v3/watch", "/v3/lease/keepalive"] {
        for encoding in ["gzip", "deflate", "br, gzip"] {
            let headers = [("content-type", JSON), ("content-encoding", encoding)];
            let told = call(confcast.address, path, &headers, vec![Bytes::from(bomb.clone())]).await;
            assert_eq!(told.status, 415, "{path}: {told:?}");
            assert!(told.text.contains("content-encoding"), "{path}: {told:?}");
            let mut connection = Connection::open(confcast.address);
            let length = bomb.len();
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: t\r\nContent-Encoding: {encoding}\r\nContent-Length: {length}\r\n\r\n"
            );
            connection.send(&[head.as_bytes(), &bomb].concat());
            assert_eq!(connection.answer().status, 415);
        }
    }
    let headers = [("content-type", JSON), ("content-encoding", "identity"), ("accept-encoding", "gzip")];
    let told = call(confcast.address, "/v3/kv/range", &headers, vec![Bytes::from_static(b"{\"key\":\"YQ==\"}")]).await;
    assert_eq!(told.status, 200, "{told:?}");
    assert!(told.text.starts_with('{'), "answers are not compressed: {told:?}");
    memory.stays_within(8, "compressed messages");
}

/// As large as a message may be, and small numbers or nothing but brackets: what is made of the text has more bytes.
#[test]
fn texts_that_grow_when_they_are_read() {
    grow(&server(&[]), "16 texts of 2 MiB at the same time that grow when they are read", 512, 500);
}

/// What will be made of them is counted before it is made.
#[test]
fn texts_that_grow_within_a_budget() {
    let confcast = server(&["--memory-budget-mib", "64"]);
    grow(&confcast, "the same within a budget of 64 MiB", 32, 504);
    assert!(confcast.metric("confcast_refused_total{limit=\"memory\"}") >= 1.0);
}

fn grow(confcast: &Confcast, what: &str, mebibytes: u64, status: u16) {
    let fill = |unit: &str, start: &str, end: &str| {
        let count = (LARGEST - start.len() - end.len()) / unit.len();
        format!("{start}{}{end}", unit.repeat(count).trim_end_matches(','))
    };
    let fields = (0..LARGEST / 13).map(|number| format!("\"{number:x}\":{{}},")).collect::<Vec<_>>().concat();
    let bodies = [
        fill("0,", "{\"key\":[", "]}"),
        fill("[],", "{\"key\":[", "]}"),
        fill("{},", "{\"success\":[", "]}"),
        fill("{\"requestPut\":{}},", "{\"success\":[", "]}"),
        format!("{{{}}}", fields.trim_end_matches(',')),
    ];
    let memory = Memory::of(confcast);
    std::thread::scope(|scope| {
        for client in 0..16 {
            let (body, address) = (&bodies[client % bodies.len()], confcast.address);
            scope.spawn(move || {
                let mut connection = Connection::open(address);
                // One that is refused before all of it is read may lose its answer.
                let head = format!("POST /v3/kv/txn HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
                connection.try_send(&[head.as_bytes(), body.as_bytes()].concat());
                let Some(answer) = connection.try_answer() else { return };
                println!("{}...: {} {:.100}", &body[..20], answer.status, answer.text());
                assert!(answer.status < status, "{answer:?}");
            });
        }
    });
    assert_eq!(get(confcast.address, "/version").status, 200);
    memory.stays_within(mebibytes, what);
}

/// The same over gRPC: an operation that says nothing has two bytes.
#[tokio::test]
async fn messages_that_grow_when_they_are_read() {
    let confcast = server(&[]);
    let memory = Memory::of(&confcast);
    let body = [0x12, 0].repeat(LARGEST / 2);
    let framed = Bytes::from(message(false, body.len(), &body));
    for _ in 0..4 {
        let headers = [("content-type", GRPC), ("te", "trailers")];
        let told = call(confcast.address, "/etcdserverpb.KV/Txn", &headers, vec![framed.clone()]).await;
        println!("{told:?}");
        assert!(told.text.contains("too%20many%20operations"), "{told:?}");
    }
    memory.stays_within(16, "transactions of a million operations over gRPC");
}

#[test]
fn texts_that_are_deep() {
    let confcast = server(&[]);
    let memory = Memory::of(&confcast);
    let deep = |open: &str, close: &str, depth: usize| open.repeat(depth) + &close.repeat(depth);
    for depth in [200, 10_000, 300_000] {
        for body in [
            deep("[", "]", depth),
            deep("{\"a\":", "}", depth),
            deep("{\"success\":[{\"requestTxn\":", "}]}", depth.min(50_000)),
            "[".repeat(depth),
        ] {
            for path in ["/v3/kv/txn", "/v3/watch", "/v3/kv/range"] {
                let mut connection = Connection::open(confcast.address);
                connection.post(path, &body);
                let answer = connection.answer();
                assert!((400..500).contains(&answer.status), "{path} {depth}: {}", answer.status);
            }
        }
    }
    assert_eq!(get(confcast.address, "/version").status, 200);
    memory.stays_within(16, "texts of up to 300,000 levels");
}

#[test]
fn transactions_with_too_many_operations() {
    let confcast = server(&[]);
    let memory = Memory::of(&confcast);
    let put = json!({"requestPut": {"key": b64("/a"), "value": b64("x")}});
    for count in [129, 20_000] {
        let answer = post(confcast.address, "/v3/kv/txn", &json!({"success": vec![put.clone(); count]}));
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains("too many operations"), "{}", answer.text());
    }
    // Some in each of some.
    let inner = json!({"requestTxn": {"success": vec![json!({"requestRange": {"key": b64("/a")}}); 128]}});
    let answer = post(confcast.address, "/v3/kv/txn", &json!({"success": vec![inner; 128]}));
    println!("128 times 128 operations: {} {:.80}", answer.status, answer.text());
    assert!(answer.status < 500);
    memory.stays_within(64, "transactions with too many operations");
}

/// A request of a stream, in pieces of a byte: each is looked at once, and not again with all that came before.
#[test]
fn a_request_in_very_many_pieces() {
    let confcast = server(&[]);
    for (name, start, unit, end, status) in [
        ("letters", "{\"create_request\":{\"key\":\"", "QUFB", "\"}}", 200),
        ("brackets", "{\"create_request\":[", "{},[],", "0]}", 400),
    ] {
        let memory = Memory::of(&confcast);
        let mut connection = Connection::open(confcast.address);
        connection.send(b"POST /v3/watch HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
        let body = start.to_owned() + &unit.repeat(PIECES / unit.len()) + end;
        let pieces = body.bytes().flat_map(|byte| [b'1', b'\r', b'\n', byte, b'\r', b'\n']).collect::<Vec<_>>();
        let started = Instant::now();
        assert!(pieces.chunks(64 << 10).all(|pack| connection.try_send(pack)), "it is taken");
        // Asked on the same thread of the server as likely as on another.
        for _ in 0..4 {
            assert_eq!(get(confcast.address, "/version").status, 200);
        }
        connection.send(b"0\r\n\r\n");
        assert_eq!(connection.head().0, status, "{name}");
        let took = started.elapsed();
        println!("{name}: answered after {took:?}");
        assert!(took < Duration::from_secs(20), "{name}: {took:?}");
        memory.stays_within(32, &format!("a request in {PIECES} pieces, {name}"));
    }
}

#[test]
fn headers_that_are_too_large_or_too_many() {
    let confcast = server(&[]);
    let many = (0..101).map(|number| format!("x-{number}: y\r\n")).collect::<Vec<_>>().concat();
    let mut connection = Connection::open(confcast.address);
    connection.send(format!("GET /version HTTP/1.1\r\nHost: test\r\n{many}\r\n").as_bytes());
    assert_eq!(connection.answer().status, 431);
    for (name, start, piece) in [
        ("a line", "GET /version HTTP/1.1\r\nHost: test\r\nx: ", "y".repeat(64 << 10)),
        ("lines", "GET /version HTTP/1.1\r\nHost: test\r\n", "x: y\r\n".repeat(10 << 10)),
        ("a path", "GET /", "y".repeat(64 << 10)),
        ("a method", "G", "G".repeat(64 << 10)),
        ("empty lines", "\r\n", "\r\n".repeat(32 << 10)),
        (
            "an extension of a chunk",
            "POST /v3/kv/put HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1;",
            "y".repeat(64 << 10),
        ),
        (
            "trailers",
            "POST /v3/kv/put HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            "x: y\r\n".repeat(10 << 10),
        ),
    ] {
        let memory = Memory::of(&confcast);
        let mut connection = Connection::open(confcast.address);
        connection.send(start.as_bytes());
        let (answer, sent) = pour(connection, piece.as_bytes(), HUGE / 4);
        println!("{name}: {} KiB were taken, then {:?}", sent >> 10, answer.as_ref().map(|answer| answer.status));
        assert!(sent < HUGE / 8, "{name}: {sent} bytes");
        assert!(answer.is_none_or(|answer| answer.status >= 400), "{name}");
        assert_eq!(get(confcast.address, "/version").status, 200);
        memory.stays_within(8, &format!("{name} without an end"));
    }
}

/// All keys at once, for clients that ask and do not read: they share what is sent.
#[test]
fn answers_that_are_huge() {
    const KEYS: usize = 64;
    const CLIENTS: usize = 100;
    let confcast = server(&[]);
    let value = b64("v".repeat(1 << 20));
    for key in 0..KEYS {
        assert_eq!(
            post(confcast.address, "/v3/kv/put", &json!({"key": b64(format!("/{key}")), "value": value})).status,
            200
        );
    }
    let memory = Memory::of(&confcast);
    let all = json!({"key": b64("/"), "range_end": b64("0")}).to_string();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut connection = Connection::open(confcast.address);
            connection.post("/v3/kv/range", &all);
            connection
        })
        .collect();
    let mut last = clients.into_iter().next_back().expect("some");
    let answer: Value = last.answer().json();
    assert_eq!(answer["count"], KEYS.to_string());
    // As JSON, with values in base64, that is 86 MiB; it is made once, or for those who come meanwhile once more.
    memory.stays_within(512, "100 clients that ask for 64 MiB and do not read");
}
