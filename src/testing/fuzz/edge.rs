//! The port: bytes that a client sends, to a server that listens.

use std::cell::OnceCell;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::{Config, Server};

/// How long the server may take to answer somebody else.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long nothing comes before a client leaves.
const QUIET: Duration = Duration::from_millis(200);

/// Bytes that may come back: the answers to as many requests as fit into an input.
const ANSWERS: usize = 32 << 20;

/// What a client of HTTP/2 begins with: the preface, and a frame of settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A request of gRPC that has begun, and waits for its message.
const REQUEST: &[u8] =
    b"\0\0\x50\x01\x04\0\0\0\x01\x83\x86\x00\x05:path\x16/etcdserverpb.KV/Range\x00\x0a:authority\x04test\
\x00\x0ccontent-type\x10application/grpc";

/// Panics in any thread of this process, which a task keeps to itself.
static PANICS: AtomicUsize = AtomicUsize::new(0);

struct Port {
    address: SocketAddr,
    _server: Server,
    _runtime: Runtime,
}

thread_local! {
    static PORT: OnceCell<Port> = const { OnceCell::new() };
}

fn port() -> Port {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            before(info);
        }));
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let config = Config { listen: ([127, 0, 0, 1], 0).into(), admin_listen: None, ..Config::default() };
    let server = runtime.block_on(Server::start(config)).expect("it starts");
    Port { address: server.address(), _server: server, _runtime: runtime }
}

/// What a client sends before it says no more. The first byte chooses how it begins: as it likes, with the preface of
/// HTTP/2, or with a request of HTTP/2 and frames whose lengths are right: each is a type, flags, a stream, a length and
/// as many bytes. Whatever comes, the server lives.
pub fn connections(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let bytes = match kind % 3 {
        0 => data.to_vec(),
        1 => [PREFACE, data].concat(),
        _ => [PREFACE, REQUEST, &frames(data)].concat(),
    };
    PORT.with(|cell| {
        let port = cell.get_or_init(port);
        let before = PANICS.load(Ordering::Relaxed);
        talk(port.address, &bytes);
        assert_eq!(PANICS.load(Ordering::Relaxed), before, "a task has panicked");
    });
}

fn frames(mut data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let [kind, flags, stream, length, rest @ ..] = data {
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        data = rest;
        bytes.extend([0, 0, u8::try_from(payload.len()).expect("a byte"), kind % 11, *flags, 0, 0, 0, *stream]);
        bytes.extend(payload);
    }
    bytes
}

/// Says all of it, and leaves when no more comes back. Somebody else is answered then.
fn talk(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(QUIET)).expect("set");
    // It may have closed before it has read all of it.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let (mut buffer, mut answers) = ([0; 16 << 10], 0);
    // An answer that goes on, as that to a watch, may wait for what never comes.
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        answers += count;
        assert!(answers < ANSWERS, "{answers} bytes came back for {}", bytes.len());
    }
    drop(stream);
    let mut other = TcpStream::connect(address).expect("connects");
    other.set_read_timeout(Some(PATIENCE)).expect("set");
    other.write_all(b"GET /version HTTP/1.0\r\n\r\n").expect("sent");
    let count = other.read(&mut buffer);
    let lives = count.as_ref().is_ok_and(|count| buffer[..*count].starts_with(b"HTTP/1.0 200"));
    assert!(lives, "{count:?}: nobody is answered after {:?}", bytes.escape_ascii().to_string());
}
