//! What a server's memory does under a load.

use super::Confcast;

/// Bytes of a MiB.
const MIB: u64 = 1 << 20;

/// The memory of a server from a moment on.
pub struct Memory {
    pid: u32,
    /// Resident then, in bytes.
    before: u64,
}

impl Memory {
    /// From now on.
    pub fn of(confcast: &Confcast) -> Self {
        let pid = confcast.id();
        // Forgets the most memory so far. Where that is not allowed, it is taken for this load's.
        let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
        Self { pid, before: status(pid, "VmRSS:") }
    }

    /// The most that there was beyond what there was at the beginning, in bytes.
    pub fn peak(&self) -> u64 {
        status(self.pid, "VmHWM:").saturating_sub(self.before)
    }

    /// Checks that there were never more than so many MiB beyond what there were at the beginning, and tells.
    pub fn stays_within(&self, mebibytes: u64, what: &str) {
        let peak = self.peak();
        println!("MEMORY of {what}: {} MiB, and {:.1} MiB more at most", self.before / MIB, in_mebibytes(peak));
        assert!(peak <= mebibytes * MIB, "{what}: {:.1} MiB more, not {mebibytes}", in_mebibytes(peak));
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn in_mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}

fn status(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a size");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}
