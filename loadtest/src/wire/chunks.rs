//! The body of a gateway's watch stream: HTTP chunks, and what is in them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;

use super::Said;
use crate::content::{Event, Reader};

/// Takes messages out of the bytes of one stream. Keeps what is left of a message, and nothing of one that is whole.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    buffer: Vec<u8>,
    /// Whether the response's head has been read.
    in_body: bool,
}

impl Chunks {
    /// Reads bytes as they came, and tells what was said in them. None if they are no chunked answer with status 200, or
    /// after that tell of an error, with which a stream ends.
    pub(crate) fn read(&mut self, bytes: &[u8], reader: &mut Reader, said: &mut Vec<Said>) -> Option<()> {
        if self.buffer.is_empty() && self.in_body {
            let used = Self::messages(bytes, reader, said)?;
            self.buffer.extend_from_slice(&bytes[used..]);
            return Some(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.extend_from_slice(bytes);
        let mut at = 0;
        if !self.in_body {
            match memmem::find(&buffer, b"\r\n\r\n") {
                None => {
                    self.buffer = buffer;
                    return Some(());
                }
                Some(_) if !buffer.starts_with(b"HTTP/1.1 200") => return None,
                Some(end) => at = end + 4,
            }
            self.in_body = true;
        }
        at += Self::messages(&buffer[at..], reader, said)?;
        // Kept only while it is needed, as there are many streams.
        self.buffer = buffer[at..].to_vec();
        Some(())
    }

    /// Reads whole chunks and returns how many bytes they have.
    fn messages(bytes: &[u8], reader: &mut Reader, said: &mut Vec<Said>) -> Option<usize> {
        let mut at = 0;
        while let Some(line) = memmem::find(&bytes[at..], b"\r\n") {
            let size = std::str::from_utf8(&bytes[at..at + line]).ok()?;
            let size = usize::from_str_radix(size, 16).ok()?;
            let start = at + line + 2;
            let Some(chunk) = bytes.get(start..start + size).filter(|_| bytes.len() >= start + size + 2) else { break };
            message(chunk, reader, said)?;
            at = start + size + 2;
        }
        Some(at)
    }
}

fn number(bytes: &[u8]) -> i64 {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
}

/// Before the number and the texts in an event.
const REVISION: &[u8] = b"\"mod_revision\":\"";
const KEY: &[u8] = b"\"key\":\"";
const VALUE: &[u8] = b"\"value\":\"";

/// The text after this name.
fn text<'a>(pair: &'a [u8], name: &[u8]) -> &'a [u8] {
    let rest = memmem::find(pair, name).map_or(&[][..], |at| &pair[at + name.len()..]);
    &rest[..memchr::memchr(b'"', rest).unwrap_or(rest.len())]
}

/// Reads a message; none if it is an error.
fn message(chunk: &[u8], reader: &mut Reader, said: &mut Vec<Said>) -> Option<()> {
    // etcd sends the newline after a long message as a chunk of its own, and a space says nothing.
    if chunk.trim_ascii().is_empty() {
        return Some(());
    }
    if chunk.starts_with(b"{\"error\"") {
        return None;
    }
    let mut found = false;
    for position in memmem::find_iter(chunk, REVISION) {
        let rest = &chunk[position + REVISION.len()..];
        // In the same pair, which has no braces within.
        let start = memchr::memrchr(b'{', &chunk[..position]).unwrap_or(0);
        let end = memchr::memchr(b'}', rest).unwrap_or(rest.len());
        let pair = &chunk[start..chunk.len() - rest.len() + end];
        let content = reader.look(text(pair, KEY), text(pair, VALUE), |text| STANDARD.decode(text).ok());
        said.push(Said::Event(Event { revision: number(rest), content }));
        found = true;
    }
    if found {
        return Some(());
    }
    let has = |text: &[u8]| memmem::find(chunk, text);
    said.push(match (has(b"\"created\":true"), has(b"\"canceled\":true")) {
        (Some(_), None) => Said::Created,
        (None, Some(_)) => {
            const COMPACTED: &[u8] = b"\"compact_revision\":\"";
            Said::Canceled(has(COMPACTED).map_or(0, |at| number(&chunk[at + COMPACTED.len()..])))
        }
        _ => Said::Other,
    });
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Content;

    #[test]
    fn messages_come_out_whatever_the_pieces() {
        let mut wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let value = crate::content::value("k", 64, 1234);
        let identity = crate::content::identity(b"k", &value);
        let (key, value) = (STANDARD.encode("k"), STANDARD.encode(value));
        let event =
            format!("{{\"events\":[{{\"kv\":{{\"key\":\"{key}\",\"mod_revision\":\"12\",\"value\":\"{value}\"}}}}]}}");
        for line in [
            "{\"result\":{\"created\":true}}\n",
            &event,
            "\n",
            " ",
            "{\"result\":{\"canceled\":true,\"compact_revision\":\"9\"}}\n",
            "{\"x\":1}\n",
        ] {
            wire.extend(format!("{:x}\r\n{line}\r\n", line.len()).bytes());
        }
        for size in [1, 3, 1000] {
            let (mut chunks, mut said) = (Chunks::default(), Vec::new());
            for piece in wire.chunks(size) {
                chunks.read(piece, &mut Reader::default(), &mut said).expect("an answer");
            }
            let content = Content { identity, sent: 1234, is_sound: true };
            let event = Said::Event(Event { revision: 12, content });
            assert_eq!(said, [Said::Created, event, Said::Canceled(9), Said::Other]);
            assert!(chunks.buffer.is_empty());
        }
        let (mut chunks, mut said) = (Chunks::default(), Vec::new());
        let error = b"HTTP/1.1 200 OK\r\n\r\n1e\r\n{\"result\":{\"created\":true}}\n\r\nc\r\n{\"error\":{}}\r\n";
        assert!(chunks.read(error, &mut Reader::default(), &mut said).is_none());
        assert_eq!(said, [Said::Created], "what was said before it");
        assert!(Chunks::default().read(b"HTTP/1.1 503 no\r\n\r\n", &mut Reader::default(), &mut Vec::new()).is_none());
    }
}
