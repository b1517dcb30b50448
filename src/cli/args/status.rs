//! Flags of `confcast status`.

use clap::{Args, ValueEnum};

use super::admin::ClientTlsArgs;

/// Which servers to ask.
#[derive(Debug, Args)]
pub(in crate::cli) struct StatusArgs {
    /// The server's admin port; repeat for several
    #[arg(long, default_value = "http://127.0.0.1:9379", value_name = "URL", value_delimiter = ',')]
    pub(in crate::cli) endpoint: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) tls: ClientTlsArgs,
    /// Form of what is printed [default: text for one server, table for several]
    #[arg(short, long, value_enum)]
    pub(in crate::cli) output: Option<Form>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Form {
    /// A few lines for each server
    Text,
    /// A line for each server
    Table,
    /// A list with all that each server says
    Json,
}
