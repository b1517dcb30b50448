//! Faults that the floor can be told to have, so that it is known that a load finds them.

use std::borrow::Cow;

use memchr::memmem;

/// What is done to one event of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Fault {
    /// It is not sent
    Drop,
    /// It is sent twice
    Repeat,
    /// It is sent after the next one
    Swap,
    /// One byte of its value is another
    Corrupt,
    /// It has the value of the one before
    Stale,
}

/// Which event of the stream it is.
const WHICH: usize = 5;

/// Does it to the first stream that there is.
#[derive(Debug, Default)]
pub(super) struct Faults {
    fault: Option<Fault>,
    /// Events of that stream so far.
    count: usize,
    held: Vec<u8>,
    /// The value of the event before.
    before: Vec<u8>,
}

impl Faults {
    pub(super) fn new(fault: Option<Fault>) -> Self {
        Self { fault, ..Self::default() }
    }

    /// What is put in its place for the stream, where `encoded` is the value as it is in the event's bytes.
    pub(super) fn apply<'a>(&mut self, bytes: &'a [u8], encoded: &[u8]) -> Cow<'a, [u8]> {
        let Some(fault) = self.fault else { return Cow::Borrowed(bytes) };
        self.count += 1;
        let before = std::mem::replace(&mut self.before, encoded.to_vec());
        if self.count == WHICH + 1 {
            return Cow::Owned([bytes, &std::mem::take(&mut self.held)].concat());
        }
        if self.count != WHICH {
            return Cow::Borrowed(bytes);
        }
        let value = memmem::rfind(bytes, encoded).unwrap_or(0);
        match fault {
            Fault::Drop => Cow::Borrowed(&[]),
            Fault::Repeat => Cow::Owned(bytes.repeat(2)),
            Fault::Swap => {
                self.held = bytes.to_vec();
                Cow::Borrowed(&[])
            }
            Fault::Corrupt => {
                let mut bytes = bytes.to_vec();
                // A letter of both alphabets, in the middle of the value.
                let byte = &mut bytes[value + encoded.len() / 2];
                *byte = if *byte == b'X' { b'Y' } else { b'X' };
                Cow::Owned(bytes)
            }
            Fault::Stale => Cow::Owned([&bytes[..value], &before, &bytes[value + encoded.len()..]].concat()),
        }
    }
}
