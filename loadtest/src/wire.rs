//! Just as much of the protocols as a load needs: cheap to read, so that the load generator is not what is measured.

pub(crate) mod chunks;
pub(crate) mod grpc;
pub(crate) mod h2;

/// Digits of the time in front of each value.
pub(crate) const STAMP: usize = 15;

/// What a watch stream said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The watcher exists.
    Created,
    /// An event.
    Event {
        /// Its revision.
        revision: i64,
        /// When the value was put, in microseconds of the load's clock; zero if it does not say.
        sent: u64,
    },
    /// The watcher has ended, as what it wanted is gone up to this revision; zero for another reason.
    Canceled(i64),
    /// The connection has ended, which is told only where it may.
    Gone,
    /// Anything else, which is a fault of the server here.
    Other,
}

/// The time that a value begins with.
pub(crate) fn stamp(value: &[u8]) -> u64 {
    let digits = value.get(..STAMP).unwrap_or_default();
    digits.iter().filter(|byte| byte.is_ascii_digit()).fold(0, |time, digit| time * 10 + u64::from(digit - b'0'))
}

/// A value of this size that begins with the time.
pub(crate) fn value(size: usize, sent: u64) -> Vec<u8> {
    let mut value = format!("{sent:0STAMP$}").into_bytes();
    let letter = |position: usize| b'a' + u8::try_from((position * 7 + value.len()) % 26).unwrap_or(0);
    let rest: Vec<_> = (value.len()..size).map(letter).collect();
    value.extend(rest);
    value
}
