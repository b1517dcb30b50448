//! The client's side of HTTP/2 (RFC 9113): requests without compression of headers, and frames as they come.

/// What a frame said.
#[derive(Debug)]
pub(crate) enum Frame<'a> {
    /// Bytes of a stream.
    Data { stream: u32, bytes: &'a [u8], ended: bool },
    /// Headers of a stream. What they say is not looked at.
    Headers { stream: u32, ended: bool },
    /// The server has ended a stream, or the connection (stream 0).
    Reset { stream: u32, code: u32 },
}

/// Bytes that a server may send before it is told that there is room: as much as there can be.
const WINDOW: u32 = (1 << 31) - 1;

/// After how many bytes the room is given back.
const RETURN: u64 = 1 << 28;

/// Bytes of a frame, which is what any server takes.
const FRAME: usize = 16 << 10;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    buffer: Vec<u8>,
    /// Bytes to be sent.
    pub(crate) out: Vec<u8>,
    received: u64,
}

/// Appends a frame.
pub(crate) fn put_frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a frame is below 16 MiB");
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Appends the head of a frame of data.
pub(crate) fn put_data_head(out: &mut Vec<u8>, stream: u32, length: usize) {
    let length = u32::try_from(length).expect("a frame is below 16 MiB");
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[DATA, 0]);
    out.extend_from_slice(&stream.to_be_bytes());
}

impl Connection {
    /// A connection on which nothing has been sent.
    pub(crate) fn new() -> Self {
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // SETTINGS_INITIAL_WINDOW_SIZE and SETTINGS_ENABLE_PUSH.
        let mut settings = vec![0, 4];
        settings.extend_from_slice(&WINDOW.to_be_bytes());
        settings.extend_from_slice(&[0, 2, 0, 0, 0, 0]);
        put_frame(&mut out, SETTINGS, 0, 0, &settings);
        put_frame(&mut out, WINDOW_UPDATE, 0, 0, &(WINDOW - 65_535).to_be_bytes());
        Self { buffer: Vec::new(), out, received: 0 }
    }

    /// Sends a gRPC request. `ended` if nothing will follow.
    pub(crate) fn request(&mut self, stream: u32, path: &str, token: Option<&str>, message: &[u8], ended: bool) {
        // Literal fields without indexing, names and values as they are (RFC 7541, 6.2.2).
        let mut block = Vec::new();
        let mut field = |name: &str, value: &str| {
            block.push(0);
            for text in [name, value] {
                // A length of 127 and more goes on in further bytes (RFC 7541, 5.1).
                if text.len() < 127 {
                    block.push(u8::try_from(text.len()).unwrap_or(0));
                } else {
                    block.push(127);
                    let mut rest = text.len() - 127;
                    while rest >= 128 {
                        block.push(u8::try_from(rest % 128).unwrap_or(0) | 128);
                        rest /= 128;
                    }
                    block.push(u8::try_from(rest).unwrap_or(0));
                }
                block.extend_from_slice(text.as_bytes());
            }
        };
        field(":method", "POST");
        field(":scheme", "http");
        field(":path", path);
        field(":authority", "loadtest");
        field("content-type", "application/grpc");
        field("te", "trailers");
        if let Some(token) = token {
            field("token", token);
        }
        put_frame(&mut self.out, HEADERS, END_HEADERS, stream, &block);
        let mut pieces = message.chunks(FRAME).peekable();
        while let Some(piece) = pieces.next() {
            let is_last = ended && pieces.peek().is_none();
            put_frame(&mut self.out, DATA, if is_last { END_STREAM } else { 0 }, stream, piece);
        }
    }

    /// Reads bytes as they came and calls `each` with every whole frame that concerns a stream.
    pub(crate) fn read(&mut self, bytes: &[u8], mut each: impl FnMut(Frame<'_>)) {
        let kept = std::mem::take(&mut self.buffer);
        let joined;
        let mut rest = if kept.is_empty() {
            bytes
        } else {
            joined = [&kept, bytes].concat();
            joined.as_slice()
        };
        while let Some((&[a, b, c, kind, flags, d, e, f, g], body)) = rest.split_first_chunk::<9>() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            let stream = u32::from_be_bytes([d, e, f, g]) & 0x7fff_ffff;
            let Some((payload, after)) = body.split_at_checked(length) else { break };
            rest = after;
            self.frame(kind, flags, stream, payload, &mut each);
        }
        self.buffer = rest.to_vec();
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8], each: &mut impl FnMut(Frame<'_>)) {
        let code = |at: usize| {
            payload.get(at..at + 4).map_or(0, |code| u32::from_be_bytes(code.try_into().unwrap_or_default()))
        };
        match kind {
            DATA => {
                let padding = if flags & PADDED == 0 { None } else { payload.first().copied() };
                let bytes = match padding {
                    None => payload,
                    Some(padding) => &payload[1..payload.len() - usize::from(padding)],
                };
                self.received += payload.len() as u64;
                if self.received > RETURN {
                    let back = u32::try_from(self.received).unwrap_or(WINDOW).to_be_bytes();
                    put_frame(&mut self.out, WINDOW_UPDATE, 0, 0, &back);
                    self.received = 0;
                }
                each(Frame::Data { stream, bytes, ended: flags & END_STREAM != 0 });
            }
            HEADERS => each(Frame::Headers { stream, ended: flags & END_STREAM != 0 }),
            RST_STREAM => each(Frame::Reset { stream, code: code(0) }),
            GOAWAY => each(Frame::Reset { stream: 0, code: code(4) }),
            SETTINGS if flags & ACK == 0 => put_frame(&mut self.out, SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => put_frame(&mut self.out, PING, ACK, 0, payload),
            // The rest of headers, and room for what is sent here, which is little.
            _ => {}
        }
    }
}
