//! A message as the gateway writes it: a line, inside a chunk of HTTP/1.1.

use bytes::Bytes;

/// Room for the longest length there is, in hexadecimal, and its line end.
const HEAD: usize = 18;

/// A line of a stream with the framing of one HTTP/1.1 chunk around it, so that it can be written to a socket as it is.
///
/// One message is one chunk: the clients of APISIX 2.x read nothing else.
#[derive(Clone, Debug)]
pub struct Chunk {
    bytes: Bytes,
    /// Where the line starts.
    head: usize,
}

/// What follows a chunk's content.
const END: &[u8] = b"\r\n";

impl Chunk {
    /// A chunk of what `write` appends to the buffer, which must not be nothing: an empty chunk would end the stream.
    pub fn new(capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut buf = Vec::with_capacity(HEAD + capacity + END.len());
        buf.resize(HEAD, 0);
        write(&mut buf);
        let length = format!("{:x}\r\n", buf.len() - HEAD);
        debug_assert!(buf.len() > HEAD, "an empty chunk ends a stream");
        buf.extend_from_slice(END);
        // The length is known last and stands first, so it is put right before the line.
        let start = HEAD - length.len();
        buf[start..HEAD].copy_from_slice(length.as_bytes());
        Self { bytes: Bytes::from(buf).slice(start..), head: length.len() }
    }

    /// The line alone, for those who frame it otherwise.
    pub fn line(&self) -> Bytes {
        self.bytes.slice(self.head..self.bytes.len() - END.len())
    }

    /// The line with the framing around it.
    pub fn framed(&self) -> &Bytes {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_stands_before_the_line() {
        for length in [1, 15, 16, 4095, 4096, 1 << 20] {
            let line = vec![b'x'; length];
            let chunk = Chunk::new(0, |buf| buf.extend_from_slice(&line));
            assert_eq!(chunk.line(), line);
            let framed = [format!("{length:x}\r\n").as_bytes(), &line, b"\r\n"].concat();
            assert_eq!(*chunk.framed(), framed);
        }
    }
}
