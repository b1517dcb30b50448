//! The body of a gateway's watch stream: HTTP chunks, and what is in them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;

use super::{STAMP, Said, stamp};

/// Takes messages out of the bytes of one stream. Keeps what is left of a message, and nothing of one that is whole.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    buffer: Vec<u8>,
    /// Whether the response's head has been read.
    in_body: bool,
}

impl Chunks {
    /// Reads bytes as they came, and tells what was said in them. None if they are no chunked answer with status 200.
    pub(crate) fn read(&mut self, bytes: &[u8], said: &mut Vec<Said>) -> Option<()> {
        if self.buffer.is_empty() && self.in_body {
            let used = Self::messages(bytes, said)?;
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
        at += Self::messages(&buffer[at..], said)?;
        // Kept only while it is needed, as there are many streams.
        self.buffer = buffer[at..].to_vec();
        Some(())
    }

    /// Reads whole chunks and returns how many bytes they have.
    fn messages(bytes: &[u8], said: &mut Vec<Said>) -> Option<usize> {
        let mut at = 0;
        while let Some(line) = memmem::find(&bytes[at..], b"\r\n") {
            let size = std::str::from_utf8(&bytes[at..at + line]).ok()?;
            let size = usize::from_str_radix(size, 16).ok()?;
            let start = at + line + 2;
            let Some(chunk) = bytes.get(start..start + size).filter(|_| bytes.len() >= start + size + 2) else { break };
            message(chunk, said);
            at = start + size + 2;
        }
        Some(at)
    }
}

fn number(bytes: &[u8]) -> i64 {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
}

/// Before the number and the text in an event.
const REVISION: &[u8] = b"\"mod_revision\":\"";
const VALUE: &[u8] = b"\"value\":\"";

fn message(chunk: &[u8], said: &mut Vec<Said>) {
    // etcd sends the newline after a long message as a chunk of its own, and a space says nothing.
    if chunk.trim_ascii().is_empty() {
        return;
    }
    let mut found = false;
    for position in memmem::find_iter(chunk, REVISION) {
        let rest = &chunk[position + REVISION.len()..];
        // In the same event: before its closing brace.
        let end = memchr::memchr(b'}', rest).unwrap_or(rest.len());
        let value = memmem::find(&rest[..end], VALUE).and_then(|at| rest.get(at + VALUE.len()..)?.get(..STAMP / 3 * 4));
        let mut text = [0; STAMP];
        let sent = value.and_then(|value| STANDARD.decode_slice(value, &mut text).ok()).map_or(0, |_| stamp(&text));
        said.push(Said::Event { revision: number(rest), sent });
        found = true;
    }
    if found {
        return;
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whatever_the_pieces() {
        let mut wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let value = STANDARD.encode(super::super::value(64, 1234));
        let event =
            format!("{{\"events\":[{{\"kv\":{{\"mod_revision\":\"12\",\"version\":\"1\",\"value\":\"{value}\"}}}}]}}");
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
                chunks.read(piece, &mut said).expect("an answer");
            }
            let event = Said::Event { revision: 12, sent: 1234 };
            assert_eq!(said, [Said::Created, event, Said::Canceled(9), Said::Other]);
            assert!(chunks.buffer.is_empty());
        }
        assert!(Chunks::default().read(b"HTTP/1.1 503 no\r\n\r\n", &mut Vec::new()).is_none());
    }
}
