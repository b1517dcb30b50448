//! Everyone loads everything at once, as when a fleet starts or has been told to reload.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use xxhash_rust::xxh3::Xxh3;

use super::{PREFIX, Place, progress};
use crate::client::{Client, post, range_body, range_request};
use crate::content;
use crate::meter::{self, Meter, at, patience};
use crate::outcome::{Outcome, float};
use crate::socket::Socket;
use crate::target::{Protocol, Target};
use crate::wire::{grpc, h2};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Storm {
    /// Clients that load at the same time
    #[arg(long, default_value_t = 1000, value_name = "N")]
    clients: usize,
    /// Keys that each loads
    #[arg(long, default_value_t = 5000, value_name = "N")]
    keys: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    size: usize,
    /// Give up when the server has more memory than this, in MiB
    #[arg(long, default_value_t = 8192, value_name = "MIB")]
    limit: u64,
}

struct Loader {
    socket: Socket,
    wire: Wire,
    /// Of the body, apart from its first bytes, which say the revision.
    digest: Xxh3,
    length: usize,
    started: Instant,
}

enum Wire {
    /// The head, until it is whole, and how much is to come.
    Gateway {
        head: Vec<u8>,
        whole: Option<usize>,
    },
    Grpc {
        connection: h2::Connection,
        ended: bool,
    },
}

impl Storm {
    pub(crate) fn title(&self) -> String {
        format!("storm: {} clients load {} keys of {} bytes at once", self.clients, self.keys, self.size)
    }

    pub(crate) fn run(&self, place: &Place) -> Result<Outcome> {
        let target = place.target();
        let mut client = Client::open(target)?;
        let bar = progress("keys", self.keys);
        for key in 0..self.keys {
            content::put(&mut client, &format!("{PREFIX}storm/{key:08}"), self.size)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        // One that is read whole, to know what the others must be.
        let prefix = format!("{PREFIX}storm/");
        let (pairs, _) = client.pairs(&prefix)?;
        ensure!(pairs.len() == self.keys, "{} keys instead of {}", pairs.len(), self.keys);
        content::check(&pairs)?;
        drop(pairs);
        let (length, digest) = Self::load(target, 1, &mut |_| Ok(()))?[0].0;
        let mut outcome = Outcome::default();
        let before = Meter::start(place.pid)?.memory()?;
        let meter = Meter::start(place.pid)?;
        let bar = progress("clients", self.clients);
        let loaded = Self::load(target, self.clients, &mut |done| {
            bar.set_position(done as u64);
            let memory = meter.memory()?.unwrap_or(0.0) / 1024.0;
            ensure!(memory < float(self.limit), "given up: {memory:.0} MiB of memory, {done} clients served");
            Ok(())
        });
        bar.finish_and_clear();
        let loaded = loaded?;
        let seconds = meter.seconds();
        let mut times = meter::latencies();
        for (number, (seen, took)) in loaded.iter().enumerate() {
            ensure!(*seen == (length, digest), "client {number} got other bytes than the first");
            times.saturating_record(u64::try_from(took.as_micros())?);
        }
        let total = float(length * self.clients);
        outcome.hold("seconds", seconds, 2);
        let cpu = meter.server_cpu()?;
        outcome.hold_if("CPU ms/client", cpu.map(|cpu| cpu * 1e3 / float(self.clients)), 2);
        outcome.show("MB/s", total / 1e6 / seconds, 0);
        outcome.show("client p99 ms", at(&times, 0.99), 0);
        outcome.hold_if("peak MiB", meter.peak()?, 0);
        let grown = meter.peak()?.zip(before).map(|(peak, before)| peak - before / 1024.0);
        if let Some(grown) = grown {
            outcome.show("grown MiB", grown, 0);
        }
        meter.finish(&mut outcome)?;
        Ok(outcome)
    }

    /// Loads into so many clients at once, and tells of each what it got and how long it took.
    fn load(
        target: &Target,
        count: usize,
        done: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<Vec<((usize, u64), Duration)>> {
        let prefix = format!("{PREFIX}storm/");
        let request = post("/v3/kv/range", target.token.as_deref(), &range_body(&prefix).to_string());
        let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(256));
        let mut loaders = Vec::new();
        for number in 0..count {
            let mut socket = Socket::open(target)?;
            let wire = match target.protocol {
                Protocol::Gateway => {
                    socket.write_all(&request)?;
                    Wire::Gateway { head: Vec::new(), whole: None }
                }
                Protocol::Grpc => {
                    let mut connection = h2::Connection::new();
                    let message = grpc::framed(&range_request(&prefix));
                    connection.request(1, "/etcdserverpb.KV/Range", target.token.as_deref(), &message, true);
                    socket.write_all(&connection.out)?;
                    connection.out.clear();
                    Wire::Grpc { connection, ended: false }
                }
            };
            socket.stream().set_nonblocking(true)?;
            let fd = socket.stream().as_raw_fd();
            poll.registry().register(&mut SourceFd(&fd), Token(number), Interest::READABLE)?;
            let (digest, started) = (Xxh3::new(), Instant::now());
            loaders.push(Some(Loader { socket, wire, digest, length: 0, started }));
        }
        let mut results = vec![((0, 0), Duration::ZERO); count];
        let (mut finished, mut told) = (0, Instant::now());
        let mut buffer = vec![0; 512 << 10];
        let mut heard = Instant::now();
        while finished < count {
            poll.poll(&mut events, Some(Duration::from_millis(200)))?;
            for event in &events {
                let number = event.token().0;
                let Some(loader) = &mut loaders[number] else { continue };
                heard = Instant::now();
                if loader.read(&mut buffer).with_context(|| format!("client {number}"))? {
                    results[number] = ((loader.length, loader.digest.digest()), loader.started.elapsed());
                    loaders[number] = None;
                    finished += 1;
                }
            }
            ensure!(heard.elapsed() < patience(), "nothing came for {} s", patience().as_secs());
            if told.elapsed() > Duration::from_millis(100) {
                done(finished)?;
                told = Instant::now();
            }
        }
        Ok(results)
    }
}

/// Bytes at the beginning of a body that say who answers and when.
const HEADER: usize = 200;

impl Loader {
    /// Reads what there is. True if that was all.
    fn read(&mut self, buffer: &mut [u8]) -> Result<bool> {
        loop {
            let length = match self.socket.read(buffer) {
                Ok(0) => bail!("closed by the server"),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            let bytes = &buffer[..length];
            let (digest, seen) = (&mut self.digest, &mut self.length);
            let mut take = |bytes: &[u8]| {
                digest.update(&bytes[HEADER.saturating_sub(*seen).min(bytes.len())..]);
                *seen += bytes.len();
            };
            match &mut self.wire {
                Wire::Gateway { whole: Some(whole), .. } => {
                    take(bytes);
                    if self.length >= *whole {
                        return Ok(true);
                    }
                }
                Wire::Gateway { head, whole } => {
                    head.extend_from_slice(bytes);
                    let Some(end) = memmem::find(head, b"\r\n\r\n") else { continue };
                    let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
                    ensure!(text.starts_with("http/1.1 200"), "{text}");
                    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
                    // A body in chunks ends with an empty one, which is told by its own frame.
                    *whole = Some(match length {
                        Some(length) => length.trim().parse()?,
                        None => usize::MAX,
                    });
                    let body = head.split_off(end + 4);
                    take(&body);
                    // A small one may have come with its head.
                    if length.is_some() && whole.is_some_and(|whole| self.length >= whole) {
                        return Ok(true);
                    }
                }
                Wire::Grpc { connection, ended } => {
                    connection.read(bytes, |frame| match frame {
                        h2::Frame::Data { bytes, ended: last, .. } => {
                            take(bytes);
                            *ended |= last;
                        }
                        h2::Frame::Headers { ended: last, .. } => *ended |= last,
                        h2::Frame::Reset { .. } => *ended = true,
                    });
                    if !connection.out.is_empty() {
                        let _ = self.socket.write(&connection.out);
                        connection.out.clear();
                    }
                    if *ended {
                        ensure!(self.length > HEADER, "answered with an error");
                        return Ok(true);
                    }
                }
            }
            // A body in chunks.
            if matches!(self.wire, Wire::Gateway { whole: Some(usize::MAX), .. })
                && buffer[..length].ends_with(b"\r\n0\r\n\r\n")
            {
                return Ok(true);
            }
        }
    }
}
