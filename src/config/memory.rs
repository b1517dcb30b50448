//! The budget of memory.

/// Smallest budget in bytes.
pub const LEAST: usize = 64 << 20;

/// Memory for what grows with keys, changes and requests. What is not in it is what a process has without any, some KiB
/// for each stream, what the translator keeps of a source's resources, and what the allocator cannot give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget(pub usize);

impl Budget {
    /// For keys and history: half. As much as there is of it beyond the keys is history.
    pub fn store(self) -> usize {
        self.0 / 2
    }

    /// For requests that are being read and answers that are being sent: a quarter.
    pub fn requests(self) -> usize {
        self.0 / 4
    }

    /// For ranges that are kept as they are written: an eighth. The last eighth is for frames of events, and for what is
    /// not counted.
    pub fn ranges(self) -> usize {
        self.0 / 8
    }
}
