//! Flags.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

/// Measures how etcd-like servers broadcast changes to many watchers, and checks that nothing is lost.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 110,
    after_help = "\
Examples:
  confcast-loadtest fanout --target 127.0.0.1:2379 --streams 1000      a server that runs already
  confcast-loadtest compare --confcast target/release/confcast --etcd /usr/bin/etcd

Every run checks that each stream got each change once and in order, and fails with the evidence if not. Ratios within
one run mean something; absolute numbers are those of the machine and of what else it did."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put keys, and wait for each until the last of many gateway watch streams has it
    Fanout(FanoutArgs),
    /// Run the same against several servers in turn, started here, beside a raw broadcaster as the floor
    Compare(CompareArgs),
    /// Serve as the raw broadcaster: one thread that writes the same bytes to every watch stream
    Raw {
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:2379", value_name = "ADDRESS")]
        listen: SocketAddr,
    },
}

/// The load.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub(crate) struct Load {
    /// Watch streams, each on a connection of its own
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub(crate) streams: usize,
    /// Changes, one after the other: the next goes when every stream has the last
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub(crate) events: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    pub(crate) size: usize,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct FanoutArgs {
    /// The server
    #[arg(long, default_value = "127.0.0.1:2379", value_name = "ADDRESS")]
    pub(crate) target: SocketAddr,
    /// Process of the server, to tell what it spends
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    #[command(flatten)]
    pub(crate) load: Load,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CompareArgs {
    /// A confcast program; repeat for several builds
    #[arg(long, value_name = "FILE")]
    pub(crate) confcast: Vec<PathBuf>,
    /// An etcd program; repeat for several releases
    #[arg(long, value_name = "FILE")]
    pub(crate) etcd: Vec<PathBuf>,
    /// How often each is run; the median is shown
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) runs: usize,
    /// Do not pin servers to the first core and the load to the second
    #[arg(long)]
    pub(crate) no_pin: bool,
    /// Also write each run as a line of JSON to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) load: Load,
}
