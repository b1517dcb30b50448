//! A connection to a server, with or without TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result};
use rustls::ClientConnection;

use crate::target::Target;

/// A connection, which blocks until it is told not to.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Socket {
    /// Connects, and shakes hands if the target wants TLS.
    pub(crate) fn open(target: &Target) -> Result<Self> {
        let stream = TcpStream::connect(target.address).with_context(|| format!("cannot connect to {target}"))?;
        stream.set_nodelay(true)?;
        let mut socket = Self { stream, tls: None };
        if let Some(tls) = &target.tls {
            let mut tls = ClientConnection::new(tls.clone(), target.name()?)?;
            while tls.is_handshaking() {
                tls.complete_io(&mut socket.stream).with_context(|| format!("no TLS with {target}"))?;
            }
            socket.tls = Some(Box::new(tls));
        }
        Ok(socket)
    }

    pub(crate) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.read(buf) };
        loop {
            match tls.reader().read(buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            if tls.read_tls(&mut self.stream)? == 0 {
                return Ok(0);
            }
            tls.process_new_packets().map_err(io::Error::other)?;
            // Answers of the protocol itself; what does not fit goes with the next.
            while tls.wants_write() && tls.write_tls(&mut self.stream).is_ok() {}
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.write(buf) };
        let count = tls.writer().write(buf)?;
        while tls.wants_write() {
            match tls.write_tls(&mut self.stream) {
                Ok(_) => {}
                // It is kept, and goes with the next.
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
