//! Metrics of the process, under the names that Prometheus' own clients give them; read from `/proc`, and so only on
//! Linux.

use std::fs;

use metrics::gauge;

use super::exposition::Text;

subject! {
    /// User and system time spent, in seconds
    Sum CPU = "process_cpu_seconds_total";
    /// Memory that is resident, in bytes
    Gauge RESIDENT = "process_resident_memory_bytes";
    /// Virtual memory, in bytes
    Gauge VIRTUAL = "process_virtual_memory_bytes";
    /// Open files and sockets
    Gauge OPEN_FILES = "process_open_fds";
    /// Most files and sockets that may be open
    Gauge MAX_FILES = "process_max_fds";
    /// Threads of the process
    Gauge THREADS = "process_threads";
    /// When the process started, in seconds since 1970
    Gauge STARTED = "process_start_time_seconds";
    /// 1, with the version of this program
    Gauge BUILD = "confcast_build_info", "version" in &[env!("CARGO_PKG_VERSION")];
}

/// Units of time per second in `/proc`, which are the same on every Linux whatever its kernel counts in.
const TICKS: f64 = 100.0;

/// Sets the metrics, and adds those that the recorder cannot hold. What cannot be read is left as it is.
pub fn sample(text: &mut Text) {
    let read = |name: &str| fs::read_to_string(name).unwrap_or_default();
    let (stat, status, limits) = (read("/proc/self/stat"), read("/proc/self/status"), read("/proc/self/limits"));
    let times = Times::parse(&stat);
    text.sum(&ALL[0], times.cpu);
    if let Some(boot) = after(&read("/proc/stat"), "btime") {
        gauge!(STARTED).set(boot + times.started);
    }
    // In units of 1024 bytes.
    for (name, line) in [(RESIDENT, "VmRSS:"), (VIRTUAL, "VmSize:")] {
        gauge!(name).set(after(&status, line).unwrap_or_default() * 1024.0);
    }
    gauge!(THREADS).set(after(&status, "Threads:").unwrap_or_default());
    gauge!(MAX_FILES).set(after(&limits, "Max open files").unwrap_or_default());
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // Without the one that is open to count the others.
        let open = u32::try_from(entries.count()).unwrap_or(u32::MAX);
        gauge!(OPEN_FILES).set(f64::from(open.saturating_sub(1)));
    }
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1);
}

/// What `/proc/self/stat` says, in seconds.
#[derive(Debug, Default, PartialEq)]
struct Times {
    cpu: f64,
    /// From the start of the machine.
    started: f64,
}

impl Times {
    /// By proc(5): the name in parentheses, which may hold anything, is the second field; user time, system time and the
    /// time of the start are the 14th, 15th and 22nd.
    fn parse(stat: &str) -> Self {
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<f64> = rest.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect();
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default() / TICKS;
        Self { cpu: field(14) + field(15), started: field(22) }
    }
}

/// The number after a name at the beginning of a line.
fn after(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let stat =
            "12 (a ) b) S 1 12 12 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 1234500 1000 10 18446744073709551615";
        assert_eq!(Times::parse(stat), Times { cpu: 3.0, started: 12345.0 });
        assert_eq!(Times::parse(""), Times::default());
        assert_eq!(after("Name:\tconfcast\nVmRSS:\t  1024 kB\n", "VmRSS:"), Some(1024.0));
        assert_eq!(after("Max open files            1024   4096   files\n", "Max open files"), Some(1024.0));
    }
}
