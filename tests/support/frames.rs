//! HTTP/2 by hand, for clients that no library would be.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Types of frames (RFC 9113, section 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Flags of HEADERS and DATA.
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header whose name and value are given as they are, and kept by nobody (RFC 7541, section 6.2.2).
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        number(&mut bytes, 0, 7, text.len());
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// A number behind so many bits of something else (RFC 7541, section 5.1).
pub fn number(bytes: &mut Vec<u8>, first: u8, bits: u8, number: usize) {
    let most = (1_usize << bits) - 1;
    if number < most {
        bytes.push(first | u8::try_from(number).expect("small"));
        return;
    }
    bytes.push(first | u8::try_from(most).expect("small"));
    let mut rest = number - most;
    while rest > 127 {
        bytes.push(u8::try_from(rest % 128).expect("small") | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).expect("small"));
}

/// The headers of a request.
pub fn request(path: &str, kind: &str) -> Vec<u8> {
    let fields = [(":path", path), (":authority", "test"), ("content-type", kind), ("te", "trailers")];
    // POST and http.
    [0x83, 0x86].into_iter().chain(fields.iter().flat_map(|(name, value)| field(name, value))).collect()
}

/// A message of gRPC behind its prefix.
pub fn message(compressed: bool, length: usize, bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![u8::from(compressed)];
    message.extend(u32::try_from(length).expect("small").to_be_bytes());
    message.extend(bytes);
    message
}

/// A connection.
pub struct Http2 {
    pub socket: TcpStream,
}

/// How a connection ended.
#[derive(Debug, Default)]
pub struct End {
    /// What GOAWAY said; none without one.
    pub code: Option<u32>,
    /// Streams that were reset, with the codes.
    pub resets: Vec<(u32, u32)>,
    /// Whether the server has closed it, and not only been silent.
    pub closed: bool,
    /// All that came in HEADERS and DATA.
    pub text: Vec<u8>,
}

impl Http2 {
    /// Connects, and says nothing but what has to be said.
    pub fn open(address: SocketAddr) -> Self {
        let mut socket = TcpStream::connect(address).expect("connects");
        socket.set_nodelay(true).expect("set");
        socket.set_write_timeout(Some(Duration::from_secs(3))).expect("set");
        socket.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).expect("sent");
        Self { socket }
    }

    /// Sends bytes. False if the server has closed, or takes no more.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    /// Sends the same again and again, up to so many bytes. Returns how many were taken.
    pub fn flood(&mut self, bytes: &[u8], total: usize) -> usize {
        let pack = bytes.repeat((64 << 10) / bytes.len() + 1);
        let mut sent = 0;
        while sent < total && self.send(&pack) {
            sent += pack.len();
        }
        sent
    }

    /// Reads until the server closes, or is silent for so long.
    pub fn end(mut self, silence: Duration) -> End {
        self.socket.set_read_timeout(Some(silence)).expect("set");
        let (mut end, mut bytes) = (End::default(), Vec::new());
        loop {
            let mut more = [0; 16 << 10];
            match self.socket.read(&mut more) {
                Ok(0) => end.closed = true,
                Ok(count) => bytes.extend(&more[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => end.closed = true,
                Err(_) => return end,
            }
            while let Some(length) = Self::whole(&bytes) {
                let stream = u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]);
                let payload = &bytes[9..length];
                let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four"));
                match bytes[3] {
                    GOAWAY => end.code = Some(code(4)),
                    RST_STREAM => end.resets.push((stream, code(0))),
                    HEADERS | DATA => end.text.extend(payload),
                    _ => {}
                }
                bytes.drain(..length);
            }
            if end.closed {
                return end;
            }
        }
    }

    /// The length of the first frame, if all of it has come.
    fn whole(bytes: &[u8]) -> Option<usize> {
        let length = 9 + u32::from_be_bytes([0, *bytes.first()?, *bytes.get(1)?, *bytes.get(2)?]) as usize;
        (bytes.len() >= length).then_some(length)
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

impl End {
    /// Whether this is in the headers and messages that came, as far as they are plain.
    pub fn says(&self, text: &str) -> bool {
        self.text.windows(text.len()).any(|window| window == text.as_bytes())
    }
}
