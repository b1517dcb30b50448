//! Clients of HTTP/2 that abuse the protocol: none of them costs memory, and others are served meanwhile.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::time::Duration;

use support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, PING, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, field, frame, number, request,
};
use support::history::now;
use support::http::get;
use support::memory::Memory;
use support::{Confcast, until};

const GRPC: &str = "application/grpc";
const RANGE: &str = "/etcdserverpb.KV/Range";
const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// Bytes of a flood.
const FLOOD: usize = 64 << 20;

/// What a client is told that does too much (RFC 9113, section 7).
const ENHANCE_YOUR_CALM: u32 = 11;

const SILENCE: Duration = Duration::from_secs(1);

fn server(flags: &[&str]) -> Confcast {
    Confcast::serve(&[&["--source", "none"], flags].concat()).ready()
}

/// Somebody else is answered.
fn serves(confcast: &Confcast) {
    let asked = now();
    assert_eq!(get(confcast.address, "/version").status, 200);
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(2), "others wait: {took:?}");
}

/// Nothing is left of the connection.
fn is_gone(confcast: &Confcast) {
    until("gone", || confcast.metric("confcast_connections") == 0.0);
}

/// The number of the client's nth stream.
fn nth(number: u32) -> u32 {
    number * 2 + 1
}

#[test]
fn streams_that_are_reset_at_once() {
    let confcast = server(&[]);
    for (path, kind) in [(RANGE, GRPC), (WATCH, GRPC), ("/v3/kv/range", "application/json"), ("/none", GRPC)] {
        let memory = Memory::of(&confcast);
        let mut client = Http2::open(confcast.address);
        let headers = request(path, kind);
        let cancel = 8_u32.to_be_bytes();
        let mut sent = 0;
        for pack in 0..200 {
            let streams = (pack * 1000..(pack + 1) * 1000).map(nth).flat_map(|stream| {
                [frame(HEADERS, END_HEADERS, stream, &headers), frame(RST_STREAM, 0, stream, &cancel)].concat()
            });
            if !client.send(&streams.collect::<Vec<_>>()) {
                break;
            }
            sent += 1000;
        }
        serves(&confcast);
        let end = client.end(SILENCE);
        println!("{path}: {sent} streams were sent, then {:?}", end.code);
        // The answer may be lost with what was not read.
        assert!(end.closed, "{path}: {end:?}");
        assert!(end.code.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{path}: {end:?}");
        is_gone(&confcast);
        memory.stays_within(24, &format!("200,000 streams of {path} that are reset at once"));
    }
}

#[test]
fn headers_that_never_end() {
    let confcast = server(&[]);
    for (name, piece) in [("empty", Vec::new()), ("of 16 KiB", field("x", &"y".repeat(1000)).repeat(16))] {
        let memory = Memory::of(&confcast);
        let mut client = Http2::open(confcast.address);
        assert!(client.send(&frame(HEADERS, END_STREAM, 1, &request(RANGE, GRPC))));
        let sent = client.flood(&frame(CONTINUATION, 0, 1, &piece), FLOOD);
        serves(&confcast);
        let end = client.end(SILENCE);
        println!("{name}: {} KiB were taken, then {:?}", sent >> 10, end.code);
        assert!(end.closed && sent < FLOOD / 8, "{name}: {sent} bytes, {end:?}");
        is_gone(&confcast);
        memory.stays_within(8, &format!("CONTINUATION frames {name} without end"));
    }
}

/// Headers that are a few bytes each, and thousands when they are unpacked (RFC 7541, section 7.3).
#[test]
fn headers_that_grow_when_they_are_read() {
    let confcast = server(&[]);
    let memory = Memory::of(&confcast);
    let mut client = Http2::open(confcast.address);
    // Kept in the table, at its first place, and used again in one byte each.
    let mut kept = vec![0x40];
    for text in ["x", &"y".repeat(3500)] {
        number(&mut kept, 0, 7, text.len());
        kept.extend(text.as_bytes());
    }
    let headers = [request(RANGE, GRPC), kept, vec![0xbe; 12_000]].concat();
    let mut sent = 0;
    for stream in (0..1000).map(nth) {
        if !client.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &headers)) {
            break;
        }
        sent += 1;
    }
    serves(&confcast);
    let end = client.end(SILENCE);
    println!("{sent} requests with 40 MiB of headers each, then {:?}, {} resets", end.code, end.resets.len());
    is_gone(&confcast);
    memory.stays_within(16, "requests whose headers unpack to 40 MiB");
}

/// Frames that want an answer, of a client that reads none.
#[test]
fn answers_that_nobody_reads() {
    let confcast = server(&[]);
    let headers = request(RANGE, GRPC);
    let settings = [0, 4, 0, 1, 0, 0];
    for (name, flood) in [
        ("PING", frame(PING, 0, 0, &[7; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &settings)),
        ("empty SETTINGS", frame(SETTINGS, 0, 0, &[])),
    ] {
        let memory = Memory::of(&confcast);
        let mut client = Http2::open(confcast.address);
        let sent = client.flood(&flood, FLOOD);
        serves(&confcast);
        println!("{name}: {} KiB were taken", sent >> 10);
        memory.stays_within(8, &format!("{name} frames whose answers nobody reads"));
        drop(client);
        is_gone(&confcast);
    }
    // Requests are answered until the system takes no more.
    let memory = Memory::of(&confcast);
    let mut client = Http2::open(confcast.address);
    let mut sent = 0;
    for pack in 0..200 {
        let streams = (pack * 500..(pack + 1) * 500).map(nth);
        let bytes = streams.flat_map(|stream| {
            let empty = frame(DATA, END_STREAM, stream, &[0; 5]);
            [frame(HEADERS, END_HEADERS, stream, &headers), empty].concat()
        });
        if !client.send(&bytes.collect::<Vec<_>>()) {
            break;
        }
        sent += 500;
    }
    serves(&confcast);
    println!("{sent} requests were taken");
    // As many as may be there at the same time, which are 14,096.
    memory.stays_within(160, "100,000 requests on one connection whose answers nobody reads");
    drop(client);
    is_gone(&confcast);
}

/// Frames that want nothing, and only have to be read.
#[test]
fn frames_that_say_nothing() {
    let confcast = server(&[]);
    let priority = [0, 0, 0, 0, 16];
    for (name, flood) in [
        ("empty DATA", frame(DATA, 0, 1, &[])),
        ("PRIORITY", frame(PRIORITY, 0, 3, &priority)),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())),
        ("unknown", frame(0xee, 0, 0, &[])),
        ("RST_STREAM", frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())),
        ("GOAWAY", frame(GOAWAY, 0, 0, &[0; 8])),
    ] {
        let memory = Memory::of(&confcast);
        let mut client = Http2::open(confcast.address);
        assert!(client.send(&frame(HEADERS, END_HEADERS, 1, &request("/etcdserverpb.KV/Put", GRPC))));
        let sent = client.flood(&flood, FLOOD / 4);
        serves(&confcast);
        println!("{name}: {} KiB were taken", sent >> 10);
        memory.stays_within(8, &format!("{name} frames without end"));
        drop(client);
        is_gone(&confcast);
    }
}

/// Requests that begin and do not go on: no more than a connection may have are there at the same time.
#[test]
fn requests_that_do_not_go_on() {
    let confcast = server(&["--max-watch-streams-per-connection", "100"]);
    let memory = Memory::of(&confcast);
    let mut client = Http2::open(confcast.address);
    let headers = request("/etcdserverpb.KV/Put", GRPC);
    let mut sent = 0;
    for pack in 0..100 {
        let streams = (pack * 1000..(pack + 1) * 1000).map(nth);
        let bytes = streams.flat_map(|stream| frame(HEADERS, END_HEADERS, stream, &headers));
        if !client.send(&bytes.collect::<Vec<_>>()) {
            break;
        }
        sent += 1000;
    }
    serves(&confcast);
    println!("{sent} requests were begun");
    memory.stays_within(64, "100,000 requests on one connection that do not go on");
    let end = client.end(SILENCE);
    println!("then {:?}, {} refused", end.code, end.resets.len());
    is_gone(&confcast);
}
