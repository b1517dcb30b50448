//! Flags.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::raw::Fault;
use crate::scenario::Scenario;
use crate::scenario::fleet::Fleet;
use crate::target::Protocol;

/// Measures how servers that speak etcd's API broadcast changes to many watchers, and checks that nothing is lost.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 110,
    after_help = "\
Examples:
  confcast-loadtest fanout --streams 1000 --target http://127.0.0.1:2379
  confcast-loadtest soak --seconds 600 --target grpcs://etcd.example:2379 --ca ca.pem --user root:secret
  confcast-loadtest compare --confcast target/release/confcast --etcd /usr/bin/etcd storm --clients 100

A target is http:// or https:// for the JSON gateway, as APISIX uses it, and grpc:// or grpcs:// for gRPC. Everything is
put below /loadtest/, which is best done to a server without other writers.

Every run checks that each stream got each change once, in order and with the value that was put, and fails with the evidence if not. Ratios within
one run mean something; absolute numbers are those of the machine and of what else it did."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    One(Scenario),
    /// Run a scenario against several servers in turn, started here, beside a raw broadcaster as the floor
    Compare(CompareArgs),
    /// Place watchers on an etcd, and on mirrors in front of it, all started here, and see what they cost the etcd
    Tier(TierArgs),
    /// Restart the mirrors of an etcd, all started here, one after the other, while a fleet of APISIX instances is at them
    Roll(RollArgs),
    /// Serve as the raw broadcaster: one thread that writes the same bytes to every watch stream
    Raw {
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:2379", value_name = "ADDRESS")]
        listen: SocketAddr,
        /// Write the streams of a gRPC connection together
        #[arg(long)]
        coalesce: bool,
        /// Do this to the fifth event of one stream, which a load has to find
        #[arg(long, hide = true, value_enum)]
        fault: Option<Fault>,
    },
}

/// Where the load goes, and where the numbers go.
#[derive(Debug, ClapArgs)]
pub(crate) struct PlaceArgs {
    /// The server [default: http://127.0.0.1:2379]; repeat for several, where a scenario uses several
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) target: Vec<String>,
    /// Process of the server, to tell what it spends
    #[arg(long, global = true, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// Also write each run, and each second of it, as a line of JSON to this file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Also write a report with plots to this file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Fail when nothing has come for so many seconds while something is awaited
    #[arg(long, global = true, default_value_t = 60, value_name = "N")]
    pub(crate) patience: u64,
    #[command(flatten)]
    pub(crate) access: Access,
}

/// How a server is reached that is secured.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct Access {
    /// Certificates that the server's is signed by, in PEM
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Certificate of this client, in PEM; needs --key
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// Key of --cert, in PEM
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// User of the API
    #[arg(long, global = true, value_name = "NAME:PASSWORD")]
    pub(crate) user: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CompareArgs {
    /// A confcast program; repeat for several builds
    #[arg(long, value_name = "FILE")]
    pub(crate) confcast: Vec<PathBuf>,
    /// An etcd program; repeat for several releases
    #[arg(long, value_name = "FILE")]
    pub(crate) etcd: Vec<PathBuf>,
    /// Protocol of the streams
    #[arg(long, value_enum, default_value_t = Protocol::Gateway)]
    pub(crate) protocol: Protocol,
    /// How often each is run; medians are shown
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) runs: usize,
    /// Do not pin servers to the first core and the load to the second
    #[arg(long)]
    pub(crate) no_pin: bool,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TierArgs {
    /// A confcast program
    #[arg(long, value_name = "FILE")]
    pub(crate) confcast: PathBuf,
    /// An etcd program
    #[arg(long, value_name = "FILE")]
    pub(crate) etcd: PathBuf,
    /// Numbers of mirrors that the watchers are spread over, each tried; with several, one is killed at the end
    #[arg(long, value_delimiter = ',', default_value = "1,3", value_name = "N,...")]
    pub(crate) mirrors: Vec<usize>,
    /// Protocol of the streams
    #[arg(long, value_enum, default_value_t = Protocol::Gateway)]
    pub(crate) protocol: Protocol,
    /// Watch streams
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub(crate) streams: usize,
    /// Changes a second, put to the etcd
    #[arg(long, default_value_t = 8.0, value_name = "N")]
    pub(crate) rate: f64,
    /// How long
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) seconds: u32,
    /// Bytes of a value
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    pub(crate) size: usize,
    /// How often each is run; medians are shown
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) runs: usize,
    /// Do not pin servers to the first core and the load to the second
    #[arg(long)]
    pub(crate) no_pin: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RollArgs {
    /// A confcast program
    #[arg(long, value_name = "FILE")]
    pub(crate) confcast: PathBuf,
    /// An etcd program
    #[arg(long, value_name = "FILE")]
    pub(crate) etcd: PathBuf,
    /// Mirrors of the etcd
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) replicas: usize,
    /// Seconds over which a mirror that stops ends its watches
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub(crate) drain_spread_seconds: u64,
    /// Give each mirror a data directory, so that it knows what was deleted before it was restarted
    #[arg(long)]
    pub(crate) data_dirs: bool,
    /// Seconds before each restart, and after the last one
    #[arg(long, default_value_t = 2.0, value_name = "N")]
    pub(crate) pause: f64,
    /// Do not pin servers to the first core and the load to the second
    #[arg(long)]
    pub(crate) no_pin: bool,
    #[command(flatten)]
    pub(crate) fleet: Fleet,
}

impl TierArgs {
    /// Changes in all.
    pub(crate) fn events(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of changes")]
        let events = (self.rate * f64::from(self.seconds)).round() as usize;
        events.max(1)
    }
}
