//! Watches that come and go: what APISIX does every 30 to 50 seconds with each of them, and 2.x after each event.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::{PREFIX, Place, progress};
use crate::client::Client;
use crate::content::{self, Reader};
use crate::meter::{Meter, patience};
use crate::outcome::{Outcome, float};
use crate::socket::Socket;
use crate::streams::{Watch, request};
use crate::wire::{Said, grpc, h2};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Churn {
    /// How long
    #[arg(long, default_value_t = 5, value_name = "N")]
    seconds: u32,
    /// Clients that do it at the same time
    #[arg(long, default_value_t = 20, value_name = "N")]
    clients: usize,
}

impl Churn {
    pub(crate) fn title(&self) -> String {
        format!("churn: {} clients connect, watch, hear of the watcher and leave, for {} s", self.clients, self.seconds)
    }

    pub(crate) fn run(&self, place: &Place) -> Result<Outcome> {
        let target = place.target();
        let mut puts = Client::open(target)?;
        content::put(&mut puts, &format!("{PREFIX}0"), 100)?;
        let request = request(target, &Watch { prefix: PREFIX.into(), from: 0 });
        let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(256));
        let start = |poll: &Poll, number: usize| -> Result<Socket> {
            let mut socket = Socket::open(target)?;
            socket.write_all(&request)?;
            socket.stream().set_nonblocking(true)?;
            let fd = socket.stream().as_raw_fd();
            poll.registry().register(&mut SourceFd(&fd), Token(number), Interest::READABLE)?;
            Ok(socket)
        };
        let meter = Meter::start(place.pid)?;
        let bar = progress("seconds", self.seconds as usize);
        let mut sockets = Vec::new();
        for number in 0..self.clients {
            sockets.push((start(&poll, number)?, Vec::new()));
        }
        let (mut count, mut heard, mut buffer) = (0_u64, Instant::now(), vec![0; 16 << 10]);
        while meter.seconds() < f64::from(self.seconds) {
            poll.poll(&mut events, Some(Duration::from_secs(1)))?;
            ensure!(heard.elapsed() < patience(), "nothing came for {} s", patience().as_secs());
            for event in &events {
                let number = event.token().0;
                let (socket, seen) = &mut sockets[number];
                match socket.read(&mut buffer) {
                    Ok(0) => bail!("closed by the server"),
                    Ok(length) => seen.extend_from_slice(&buffer[..length]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error).context("reading"),
                }
                heard = Instant::now();
                if created(target.protocol, seen)? {
                    count += 1;
                    sockets[number] = (start(&poll, number)?, Vec::new());
                    bar.set_position(meter.started_seconds());
                }
            }
        }
        let seconds = meter.seconds();
        bar.finish_and_clear();
        let mut outcome = Outcome::default();
        outcome.show("watches/s", float(count) / seconds, 0);
        let cpu = meter.server_cpu()?;
        outcome.hold_if("watches/CPU s", cpu.map(|cpu| float(count) / cpu.max(0.01)), 0);
        outcome.hold_if("CPU us/watch", cpu.map(|cpu| cpu * 1e6 / float(count)), 1);
        meter.finish(&mut outcome)?;
        drop(sockets);
        // Leavers leave nothing behind: the server still serves.
        content::put(&mut puts, &format!("{PREFIX}0"), 100)?;
        Ok(outcome)
    }
}

fn created(protocol: crate::target::Protocol, seen: &[u8]) -> Result<bool> {
    if protocol == crate::target::Protocol::Gateway {
        ensure!(seen.starts_with(b"HTTP/1.1 200") || seen.len() < 12, "{}", String::from_utf8_lossy(seen));
        return Ok(memmem::find(seen, b"\"created\":true").is_some());
    }
    let (mut said, mut messages) = (Vec::new(), grpc::Messages::default());
    h2::Connection::new().read(seen, |frame| {
        if let h2::Frame::Data { bytes, .. } = frame {
            messages.read(bytes, |message| grpc::watch_response(message, &mut Reader::default(), &mut said));
        }
    });
    Ok(said.contains(&Said::Created))
}
