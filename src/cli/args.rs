//! Flags, as they are given.

pub(super) mod admin;
pub(super) mod guard;
pub(super) mod limits;
pub(super) mod publish;
pub(super) mod status;
pub(super) mod times;
mod tls;
pub(super) mod traces;
pub(super) mod upstream;
mod users;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::apisix::Generation;

pub(super) use tls::TlsArgs;

/// Broadcasts API-gateway configuration to thousands of Apache APISIX instances through the etcd v3 API.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 110,
    after_help = "\
Examples:
  confcast demo                                         a mesh of examples on 127.0.0.1:2379
  confcast serve --source xds-file --xds-file mesh/     serve Envoy resources from files
  confcast serve --source xds --xds-server http://istiod.istio-system:15010 \\
      --xds-node-id 'router~10.0.0.1~gw.default~default.svc.cluster.local'
  confcast translate mesh/ -o yaml                      see what APISIX would get

Every flag of `serve` can be given as an environment variable CONFCAST_... as well, or in a file with --config.
Flags come before variables, and these before the file."
)]
pub(super) struct Args {
    /// What to log: a level (error, warn, info, debug, trace), or levels by module as in confcast::xds=debug
    /// [default: info]
    #[arg(long, global = true, env = "CONFCAST_LOG", value_name = "LEVELS")]
    pub(super) log: Option<String>,
    /// Form of the log, which goes to the standard error output
    #[arg(long, global = true, env = "CONFCAST_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(super) log_format: LogFormat,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the server
    Serve(Box<ServeArgs>),
    /// Serve a small example mesh on 127.0.0.1:2379 and say what to try
    Demo(DemoArgs),
    /// Translate Envoy resources in files to APISIX objects and print them
    Translate(TranslateArgs),
    /// Check settings and files without starting a server; exits with 0 if all is well
    Check(Box<ServeArgs>),
    /// Show what running servers are doing
    Status(status::StatusArgs),
    /// Show what a running server logs, or change it
    LogLevel(admin::LogLevelArgs),
    /// Make the hash of a password for --users-file; asks for it, or reads a line from the standard input
    HashPassword,
    /// Print what a shell needs to complete this program's commands and flags
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Settings of a server.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(super) struct ServeArgs {
    /// Names of the settings that are given by a flag or a variable, as the file has them.
    #[arg(skip)]
    pub(super) given: Vec<String>,
    /// What is to be logged, as far as it is given.
    #[arg(skip)]
    pub(super) levels: Option<String>,
    /// File with settings, in TOML: the names are those of the flags, with _ for -
    #[arg(long, env = "CONFCAST_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Where clients connect, for gRPC and the JSON gateway [default: 127.0.0.1:2379]
    #[arg(long, env = "CONFCAST_LISTEN", value_name = "ADDRESS")]
    pub(super) listen: Option<String>,
    /// Where metrics, probes and reports are served; "off" for nowhere [default: 127.0.0.1:9379]
    #[arg(long, env = "CONFCAST_ADMIN_LISTEN", value_name = "ADDRESS")]
    pub(super) admin_listen: Option<String>,
    /// URL under which clients reach this server, for clients that ask for the members [default: http://LISTEN]
    #[arg(long, env = "CONFCAST_CLIENT_URL", value_name = "URL")]
    pub(super) client_url: Option<String>,
    /// Where the configuration comes from: xds, xds-file, apisix-yaml, etcd or none [default: by which of --xds-server,
    /// --xds-file, --apisix-yaml and --upstream is given, in this order; else none]
    #[arg(long, env = "CONFCAST_SOURCE", value_name = "SOURCE")]
    pub(super) source: Option<String>,
    /// Control plane, http:// or https://; repeat for several
    #[arg(long, env = "CONFCAST_XDS_SERVER", value_name = "URL", value_delimiter = ',')]
    pub(super) xds_server: Vec<String>,
    /// File or directory with Envoy resources in JSON or YAML; repeat for several
    #[arg(long, env = "CONFCAST_XDS_FILE", value_name = "PATH", value_delimiter = ',')]
    pub(super) xds_file: Vec<PathBuf>,
    /// Protocol: delta, sotw, or auto for delta with sotw as fallback [default: auto]
    #[arg(long, env = "CONFCAST_XDS_PROTOCOL", value_name = "PROTOCOL")]
    pub(super) xds_protocol: Option<String>,
    /// Id by which the control plane knows this client; Istio: router~IP~NAME.NS~NS.svc.cluster.local
    #[arg(long, env = "CONFCAST_XDS_NODE_ID", value_name = "ID")]
    pub(super) xds_node_id: Option<String>,
    /// Cluster that this client says it belongs to
    #[arg(long, env = "CONFCAST_XDS_NODE_CLUSTER", value_name = "NAME")]
    pub(super) xds_node_cluster: Option<String>,
    /// What this client says about itself, as a JSON object, such as '{"NAMESPACE":"default"}'
    #[arg(long, env = "CONFCAST_XDS_NODE_METADATA", value_name = "JSON")]
    pub(super) xds_node_metadata: Option<String>,
    /// File with the certificates that the control plane's is signed by, in PEM
    #[arg(long, env = "CONFCAST_XDS_CA", value_name = "FILE")]
    pub(super) xds_ca: Option<PathBuf>,
    /// File with this client's certificate, in PEM; needs --xds-key
    #[arg(long, env = "CONFCAST_XDS_CERT", value_name = "FILE")]
    pub(super) xds_cert: Option<PathBuf>,
    /// File with the key of --xds-cert, in PEM
    #[arg(long, env = "CONFCAST_XDS_KEY", value_name = "FILE")]
    pub(super) xds_key: Option<PathBuf>,
    /// Name in the control plane's certificate, if it is not that of the URL
    #[arg(long, env = "CONFCAST_XDS_SERVER_NAME", value_name = "NAME")]
    pub(super) xds_server_name: Option<String>,
    /// File with a token for the control plane, read anew for every stream
    #[arg(long, env = "CONFCAST_XDS_TOKEN_FILE", value_name = "FILE")]
    pub(super) xds_token_file: Option<PathBuf>,
    /// What stands before the token: bearer, or none for Kuma [default: bearer]
    #[arg(long, env = "CONFCAST_XDS_TOKEN_SCHEME", value_name = "SCHEME")]
    pub(super) xds_token_scheme: Option<String>,
    /// Key below which the objects are: APISIX's deployment.etcd.prefix [default: /apisix]
    #[arg(long, env = "CONFCAST_PREFIX", value_name = "KEY")]
    pub(super) prefix: Option<String>,
    /// Directory that is kept over restarts, so that clients need not reload; created if missing
    #[arg(long, env = "CONFCAST_DATA_DIR", value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// File with the secret that signs tokens; give replicas the same one [default: one of the data directory's own]
    #[arg(long, env = "CONFCAST_AUTH_TOKEN_KEY_FILE", value_name = "FILE")]
    pub(super) auth_token_key_file: Option<PathBuf>,
    /// Seconds for which a token is good; a new password ends it earlier [default: 86400]
    #[arg(long, env = "CONFCAST_AUTH_TOKEN_SECONDS", value_name = "SECONDS")]
    pub(super) auth_token_seconds: Option<u64>,
    /// Seconds between spaces on a gateway watch on which nothing happens, so that APISIX 2.11 and later keep it; 0 for
    /// none [default: 0]
    #[arg(long, env = "CONFCAST_GATEWAY_KEEPALIVE_SECONDS", value_name = "SECONDS")]
    pub(super) gateway_keepalive_seconds: Option<u64>,
    /// Seconds that running requests have when the server stops [default: 10]
    #[arg(long, env = "CONFCAST_DRAIN_SECONDS", value_name = "SECONDS")]
    pub(super) drain_seconds: Option<u64>,
    /// Seconds over which watch streams are ended before that, so that clients do not go elsewhere all at once [default: 2]
    #[arg(long, env = "CONFCAST_DRAIN_SPREAD_SECONDS", value_name = "SECONDS")]
    pub(super) drain_spread_seconds: Option<u64>,
    /// Whether routes are tied to the listeners' ports: auto (if listeners differ) or never [default: auto]
    #[arg(long, env = "CONFCAST_LISTENER_PORTS", value_name = "WHEN")]
    pub(super) listener_ports: Option<String>,
    /// Version of the oldest APISIX that is served, such as 3.2, if some are older than 3.6; before 3.3 they need
    /// router.http: radixtree_host_uri
    #[arg(long, env = "CONFCAST_APISIX", value_name = "VERSION")]
    pub(super) apisix: Option<Generation>,
    /// What checks tokens where the control plane's JWT filter does: openid-connect, which is APISIX's plugin, of 3.18 or
    /// later and enabled on every instance; or closed, which answers 403 [default: closed]
    #[arg(long, env = "CONFCAST_JWT", value_name = "HOW")]
    pub(super) jwt: Option<String>,
    /// What asks where the control plane's ext_authz filter asks a server over HTTP: forward-auth, which is APISIX's
    /// plugin, enabled on every instance, for servers that go by X-Forwarded-Method and X-Forwarded-Uri; or closed, which
    /// answers 403 [default: closed]
    #[arg(long, env = "CONFCAST_EXT_AUTHZ", value_name = "HOW")]
    pub(super) ext_authz: Option<String>,
    /// An apisix.yaml, as a standalone APISIX reads it, that is followed as it changes; implies --source apisix-yaml
    #[arg(long, env = "CONFCAST_APISIX_YAML", value_name = "FILE")]
    pub(super) apisix_yaml: Option<PathBuf>,
    #[command(flatten)]
    pub(super) guard: guard::GuardArgs,
    #[command(flatten)]
    pub(super) admin: admin::AdminArgs,
    #[command(flatten)]
    pub(super) limits: limits::LimitArgs,
    #[command(flatten)]
    pub(super) times: times::TimeArgs,
    #[command(flatten)]
    pub(super) publish: publish::PublishArgs,
    #[command(flatten)]
    pub(super) tls: TlsArgs,
    #[command(flatten)]
    pub(super) traces: traces::TracesArgs,
    #[command(flatten)]
    pub(super) upstream: upstream::UpstreamArgs,
    #[command(flatten)]
    pub(super) users: users::UserArgs,
}

/// Settings of the demo.
#[derive(Debug, ClapArgs)]
pub(super) struct DemoArgs {
    /// Directory for the files of the mesh, to be edited [default: confcast-demo in the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Where clients connect
    #[arg(long, default_value = "127.0.0.1:2379", value_name = "ADDRESS")]
    pub(super) listen: String,
    /// Where metrics, probes and reports are served; "off" for nowhere
    #[arg(long, default_value = "127.0.0.1:9379", value_name = "ADDRESS")]
    pub(super) admin_listen: String,
}

/// What to translate.
#[derive(Debug, ClapArgs)]
pub(super) struct TranslateArgs {
    /// Files and directories with Envoy resources, or configuration dumps of Envoy or Istio, in JSON or YAML
    #[arg(required = true, value_name = "INPUT")]
    pub(super) inputs: Vec<PathBuf>,
    /// Form of the objects
    #[arg(short, long, value_enum, default_value_t = Output::Yaml)]
    pub(super) output: Output,
    /// Key below which the objects are
    #[arg(long, default_value = "/apisix", value_name = "KEY")]
    pub(super) prefix: String,
    /// Version of APISIX that the objects are for, such as 3.2 [default: any from 3.6 on]
    #[arg(long, value_name = "VERSION")]
    pub(super) apisix: Option<Generation>,
    /// What checks tokens where the JWT filter does: closed (403) or openid-connect, the plugin of APISIX 3.18
    #[arg(long, default_value = "closed", value_name = "HOW")]
    pub(super) jwt: String,
    /// What asks where the ext_authz filter asks a server over HTTP: closed (403) or forward-auth, a plugin of APISIX
    #[arg(long, default_value = "closed", value_name = "HOW")]
    pub(super) ext_authz: String,
    /// Form of the report, which goes to the standard error output, or to the standard output with -o none
    #[arg(long, value_enum, default_value_t = ReportForm::Text)]
    pub(super) report: ReportForm,
    /// Exit with 1 if anything is reported that is no better than this
    #[arg(long, value_enum, value_name = "FIDELITY")]
    pub(super) fail_on: Option<FailOn>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Output {
    /// One JSON object: objects by key, and the report
    Json,
    /// The same in YAML
    Yaml,
    /// etcdctl put commands
    Etcd,
    /// An apisix.yaml for APISIX without an etcd (config_provider: yaml)
    ApisixYaml,
    /// No objects
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportForm {
    /// A line an entry, for people
    Text,
    /// One JSON object, for machines
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum FailOn {
    /// Anything that is not exact
    Approximate,
    /// Only what is not expressed at all
    NotExpressible,
}
