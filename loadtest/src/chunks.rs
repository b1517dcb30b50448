//! The body of a watch stream: HTTP chunks, and the revisions of the events in them.

use memchr::memmem;

/// Takes revisions out of the bytes of one stream. Keeps what is left of a message, and nothing of one that is whole.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    buffer: Vec<u8>,
    /// Whether the response's head has been read.
    in_body: bool,
}

/// What a stream said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The watcher exists.
    Created,
    /// An event with this revision.
    Event(i64),
    /// Anything else, which is a fault of the server here.
    Other,
}

impl Chunks {
    /// Reads bytes as they came, and tells what was said in them. None if they are no chunked answer with status 200.
    pub(crate) fn read(&mut self, bytes: &[u8], said: &mut Vec<Said>) -> Option<()> {
        self.buffer.extend_from_slice(bytes);
        let mut at = 0;
        if !self.in_body {
            let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") else { return Some(()) };
            if !self.buffer.starts_with(b"HTTP/1.1 200") {
                return None;
            }
            self.in_body = true;
            at = end + 4;
        }
        while let Some(line) = memmem::find(&self.buffer[at..], b"\r\n") {
            let size = std::str::from_utf8(&self.buffer[at..at + line]).ok()?;
            let size = usize::from_str_radix(size, 16).ok()?;
            let start = at + line + 2;
            let Some(chunk) = self.buffer.get(start..start + size).filter(|_| self.buffer.len() >= start + size + 2)
            else {
                break;
            };
            message(chunk, said);
            at = start + size + 2;
        }
        self.buffer.drain(..at);
        Some(())
    }
}

fn message(chunk: &[u8], said: &mut Vec<Said>) {
    // etcd sends the newline after a long message as a chunk of its own.
    if chunk == b"\n" {
        return;
    }
    let name = b"\"mod_revision\":\"";
    let mut found = false;
    for position in memmem::find_iter(chunk, name) {
        let digits = chunk[position + name.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        said.push(Said::Event(digits.fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))));
        found = true;
    }
    if !found {
        let created = memmem::find(chunk, b"\"created\":true").is_some() && memmem::find(chunk, b"canceled").is_none();
        said.push(if created { Said::Created } else { Said::Other });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_come_out_whatever_the_pieces() {
        let mut wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for line in [
            "{\"result\":{\"created\":true}}\n",
            "{\"events\":[{\"kv\":{\"mod_revision\":\"12\"}}]}",
            "\n",
            "{\"x\":1}\n",
        ] {
            wire.extend(format!("{:x}\r\n{line}\r\n", line.len()).bytes());
        }
        for size in [1, 3, 1000] {
            let (mut chunks, mut said) = (Chunks::default(), Vec::new());
            for piece in wire.chunks(size) {
                chunks.read(piece, &mut said).expect("an answer");
            }
            assert_eq!(said, [Said::Created, Said::Event(12), Said::Other]);
            assert!(chunks.buffer.is_empty());
        }
        assert!(Chunks::default().read(b"HTTP/1.1 503 no\r\n\r\n", &mut Vec::new()).is_none());
    }
}
