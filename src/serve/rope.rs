//! A rope: bytes from several places, written as one.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use super::memory::Hold;

/// Most bytes that a part holds itself. Enough for the head of any event response.
const INLINE: usize = 62;

/// What is sent in one piece: small heads that differ from stream to stream, and large shared parts.
///
/// hyper writes it vectored, so that shared parts are never copied.
#[derive(Debug, Default)]
pub struct Rope {
    /// Kept apart so that a rope of one part needs no allocation.
    front: Option<Part>,
    rest: VecDeque<Part>,
    remaining: usize,
    /// What is given back when the last byte has gone.
    hold: Option<Hold>,
}

#[derive(Debug)]
enum Part {
    Inline { bytes: [u8; INLINE], start: u8, end: u8 },
    Shared(Bytes),
}

impl Part {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline { bytes, start, end } => &bytes[usize::from(*start)..usize::from(*end)],
            Self::Shared(bytes) => bytes,
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Inline { start, .. } => *start += u8::try_from(count).expect("an inline part is shorter than 256"),
            Self::Shared(bytes) => bytes.advance(count),
        }
    }
}

impl Rope {
    /// Appends a few bytes by copying them.
    pub fn push_copy(&mut self, head: &[u8]) {
        if head.is_empty() {
            return;
        }
        self.push(match u8::try_from(head.len()) {
            Ok(end) if head.len() <= INLINE => {
                let mut bytes = [0; INLINE];
                bytes[..head.len()].copy_from_slice(head);
                Part::Inline { bytes, start: 0, end }
            }
            _ => Part::Shared(Bytes::copy_from_slice(head)),
        });
    }

    /// Appends bytes by sharing them.
    pub fn push_shared(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.push(Part::Shared(bytes));
        }
    }

    /// Gives back what a request holds only when these bytes have gone.
    pub fn keep(&mut self, hold: Hold) {
        self.hold = Some(hold);
    }

    /// Number of bytes left.
    pub fn len(&self) -> usize {
        self.remaining
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.remaining == 0
    }

    fn push(&mut self, part: Part) {
        self.remaining += part.as_slice().len();
        if self.front.is_none() {
            self.front = Some(part);
        } else {
            self.rest.push_back(part);
        }
    }
}

impl From<Bytes> for Rope {
    fn from(bytes: Bytes) -> Self {
        let mut rope = Self::default();
        rope.push_shared(bytes);
        rope
    }
}

impl From<Vec<u8>> for Rope {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl Buf for Rope {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.front.as_ref().map_or(&[], Part::as_slice)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = self.front.iter().chain(&self.rest);
        slices.iter_mut().zip(parts).map(|(slice, part)| *slice = IoSlice::new(part.as_slice())).count()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "a rope cannot be advanced beyond its end");
        self.remaining -= count;
        while count > 0 {
            let Some(front) = &mut self.front else { return };
            let len = front.as_slice().len();
            if count < len {
                return front.advance(count);
            }
            count -= len;
            self.front = self.rest.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_its_parts_in_order_however_it_is_cut() {
        let long = vec![b'l'; 200];
        for step in [1, 3, 62, 64, 1000] {
            let mut rope = Rope::default();
            rope.push_copy(b"head");
            rope.push_shared(Bytes::from_static(b"shared"));
            rope.push_copy(b"");
            rope.push_copy(&long);
            rope.push_copy(&[b'i'; INLINE]);
            let expected = [b"head".as_ref(), b"shared", &long, &[b'i'; INLINE]].concat();
            assert_eq!(rope.len(), expected.len());
            let mut read = Vec::new();
            while rope.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 3];
                let filled = rope.chunks_vectored(&mut slices);
                let vectored: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
                let count = step.min(rope.remaining());
                assert!(vectored.starts_with(rope.chunk()));
                let taken = count.min(vectored.len());
                read.extend_from_slice(&vectored[..taken]);
                rope.advance(taken);
            }
            assert_eq!(read, expected);
        }
    }
}
