//! Clients of HTTP/2 that are slow, and those that are gone.
#![allow(missing_docs, clippy::disallowed_methods, reason = "sockets take real time")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use confcast::pb::etcdserverpb::watch_client::WatchClient;
use confcast::pb::etcdserverpb::watch_request::RequestUnion;
use confcast::pb::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use confcast::serve::Times;
use confcast::store::{LeaseId, Origin};
use confcast::{Config, Server};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Interval, interval, sleep};
use tonic::Streaming;
use tonic::transport::Endpoint;

const PING: Duration = Duration::from_millis(300);
const PONG: Duration = Duration::from_secs(1);

/// More than the system keeps for a connection.
const VALUES: usize = 10;
const VALUE: usize = 1 << 20;

async fn server() -> Server {
    let times = Times { ping: PING, pong: PONG, ..Times::default() };
    let listen = ([127, 0, 0, 1], 0).into();
    Server::start(Config { listen, admin_listen: None, times, ..Config::default() }).await.expect("starts")
}

/// Commits more than can be on its way at once.
async fn commit(server: &Server) {
    for number in 0..VALUES {
        let change = server.store().submit(move |writer| {
            let mut transaction = writer.begin();
            let value = Bytes::from(vec![b'x'; VALUE]);
            transaction.put(format!("/a/{number}").into(), value, LeaseId::NONE, Origin::Client);
            writer.commit(transaction)
        });
        change.await.expect("committed");
    }
}

/// A connection that is read no faster than so many bytes in 10 ms.
struct Slow {
    stream: tokio::net::TcpStream,
    speed: Arc<AtomicUsize>,
    clock: Interval,
    budget: usize,
}

const TICK: Duration = Duration::from_millis(10);

impl AsyncRead for Slow {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        while self.budget == 0 {
            ready!(self.clock.poll_tick(cx));
            self.budget = self.speed.load(Ordering::Relaxed);
        }
        let mut part = vec![0; self.budget.min(buf.remaining())];
        let mut read = ReadBuf::new(&mut part);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        self.budget -= read.filled().len();
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Slow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A watch over gRPC whose connection is read at the speed that is set, and which says nothing of what it has read
/// until it has read a lot.
async fn watch(server: &Server, speed: &Arc<AtomicUsize>) -> Streaming<WatchResponse> {
    let (address, speed) = (server.address(), speed.clone());
    let connect = tower::service_fn(move |_| {
        let speed = speed.clone();
        async move {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_recv_buffer_size(64 << 10)?;
            socket.connect(&address.into())?;
            socket.set_nonblocking(true)?;
            let stream = tokio::net::TcpStream::from_std(socket.into())?;
            std::io::Result::Ok(TokioIo::new(Slow { stream, speed, clock: interval(TICK), budget: 0 }))
        }
    });
    let endpoint = Endpoint::from_static("http://confcast").initial_stream_window_size(1 << 30);
    let endpoint = endpoint.initial_connection_window_size(1 << 30);
    let channel = endpoint.connect_with_connector(connect).await.expect("connects");
    let create = WatchCreateRequest { key: "/a/".into(), range_end: "/a0".into(), ..WatchCreateRequest::default() };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let requests = tokio_stream::StreamExt::chain(tokio_stream::once(create), tokio_stream::pending());
    let mut client = WatchClient::new(channel).max_decoding_message_size(usize::MAX);
    let mut stream = client.watch(requests).await.expect("a stream").into_inner();
    assert!(stream.message().await.expect("an answer").expect("an answer").created);
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_lives() {
    let server = server().await;
    let speed = Arc::new(AtomicUsize::new(1 << 20));
    let mut stream = watch(&server, &speed).await;
    // 2 MB/s.
    speed.store(20 << 10, Ordering::Relaxed);
    let began = Instant::now();
    commit(&server).await;
    let mut events = 0;
    while events < VALUES {
        events += stream.message().await.expect("it lives").expect("it goes on").events.len();
    }
    assert!(began.elapsed() > 4 * PONG, "it was slow");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_stopped_reading_is_left() {
    let server = server().await;
    let speed = Arc::new(AtomicUsize::new(1 << 20));
    let mut stream = watch(&server, &speed).await;
    speed.store(0, Ordering::Relaxed);
    commit(&server).await;
    sleep(PING + 4 * PONG).await;
    speed.store(1 << 20, Ordering::Relaxed);
    let mut events = 0;
    while let Ok(Some(message)) = stream.message().await {
        events += message.events.len();
    }
    assert!(events < VALUES, "only what was on its way has come");
}

/// A connection of HTTP/2 by hand, on which pings are not answered.
fn open(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).expect("connects");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("sent");
    stream
}

/// How long until the server closes it.
fn life(mut stream: TcpStream) -> Duration {
    let began = Instant::now();
    // Both a plain end and a reset are one.
    let _ = stream.read_to_end(&mut Vec::new());
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_says_anything_is_left() {
    let server = server().await;
    let stream = open(&server);
    let life = tokio::task::spawn_blocking(move || life(stream)).await.expect("ends");
    assert!(life >= PONG && life < 4 * PONG, "{life:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_anything_lives() {
    let server = server().await;
    let mut stream = open(&server);
    for _ in 0..30 {
        sleep(PONG / 10).await;
        // A frame of an unknown kind, which means nothing and is answered with nothing.
        stream.write_all(b"\0\0\0\xee\0\0\0\0\0").expect("it lives");
    }
    let began = Instant::now();
    let life = tokio::task::spawn_blocking(move || life(stream)).await.expect("ends");
    assert!(life < 4 * PONG && began.elapsed() >= PONG / 2, "{life:?}");
}
