//! Settings, put together of flags, environment and file, and checked.

mod admin;
pub(super) mod file;
mod guard;
mod limits;
mod publish;
mod source;
mod times;
mod tls;
mod traces;
pub(super) mod translate;
mod upstream;
mod users;

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use super::args::traces::TracesArgs;
use super::args::{ServeArgs, TlsArgs};
use super::log;
use crate::config::{Config, Prefix};
use crate::translate::Ports;
pub(super) use file::File;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {reason}")]
pub struct SettingsError {
    setting: String,
    reason: String,
}

pub(super) fn wrong(setting: &str, reason: impl std::fmt::Display) -> SettingsError {
    SettingsError { setting: setting.to_owned(), reason: reason.to_string() }
}

/// Checks the settings of a server.
pub(super) fn resolve(args: ServeArgs) -> Result<Config, SettingsError> {
    let text = args.config.as_deref().map(file::text).transpose()?;
    resolve_with(args, text.as_deref().unwrap_or_default())
}

/// The settings of a server that is started with nothing but a file, which has this text.
pub fn of_file(text: &str) -> Result<Config, SettingsError> {
    resolve_with(ServeArgs { config: Some("confcast.toml".into()), ..ServeArgs::default() }, text)
}

/// Checks the settings of a server whose file has this text.
pub(super) fn resolve_with(args: ServeArgs, text: &str) -> Result<Config, SettingsError> {
    let mut file = match &args.config {
        Some(path) => file::parse(path, text)?,
        None => File::default(),
    };
    let levels = args.levels.or(file.log.take()).unwrap_or_else(|| log::DEFAULT.to_owned());
    log::check(&levels).map_err(|error| wrong(&format!("--log {levels}"), error))?;
    let published = publish::merge(args.publish, &mut file);
    let limits = limits::of_file(&file);
    let times = times::resolve(&args.times, &file);
    let default = Config::default();
    let listen = args.listen.or(file.listen);
    let admin = args.admin_listen.or(file.admin_listen);
    let merged = source::Xds {
        servers: several(args.xds_server, file.xds_server),
        files: several(args.xds_file, file.xds_file),
        protocol: args.xds_protocol.or(file.xds_protocol),
        node_id: args.xds_node_id.or(file.xds_node_id),
        node_cluster: args.xds_node_cluster.or(file.xds_node_cluster),
        metadata: source::metadata(args.xds_node_metadata.as_deref(), file.xds_node_metadata)?,
        ca: args.xds_ca.or(file.xds_ca),
        cert: args.xds_cert.or(file.xds_cert),
        key: args.xds_key.or(file.xds_key),
        server_name: args.xds_server_name.or(file.xds_server_name),
        token_file: args.xds_token_file.or(file.xds_token_file),
        token_scheme: args.xds_token_scheme.or(file.xds_token_scheme),
    };
    let from_file = upstream::FromFile {
        endpoints: file.upstream,
        ca: file.upstream_ca,
        cert: file.upstream_cert,
        key: file.upstream_key,
        user: file.upstream_user,
        password_file: file.upstream_password_file,
        prefixes: file.upstream_prefix,
        history: file.upstream_history,
        when_away: file.when_upstream_away,
        open_reads: file.upstream_open_reads,
    };
    let upstream = upstream::resolve(args.upstream, from_file)?;
    let published_to = upstream.clone();
    let mut config = Config {
        listen: listen.map_or(Ok(default.listen), |text| address("--listen", &text))?,
        admin_listen: match admin.as_deref() {
            None => default.admin_listen,
            Some("off") => None,
            Some(text) => Some(address("--admin-listen", text)?),
        },
        admin: admin::resolve(
            args.admin.admin_token_file.or(file.admin_token_file),
            args.admin.admin_debug || file.admin_debug,
        )?,
        admin_tls: admin::tls(
            args.admin.admin_tls_cert.or(file.admin_tls_cert),
            args.admin.admin_tls_key.or(file.admin_tls_key),
            args.admin.admin_client_ca.or(file.admin_client_ca),
        )?,
        client_url: args.client_url.or(file.client_url),
        source: source::resolve(
            args.source.or(file.source).as_deref(),
            merged,
            args.apisix_yaml.or(file.apisix_yaml),
            upstream,
        )?,
        data_dir: args.data_dir.or(file.data_dir),
        limits: limits::resolve(&args.limits, &limits),
        times,
        memory: limits::memory(&args.limits, &limits)?,
        users_file: args.users.users_file.or(file.users_file),
        tls: tls::resolve(TlsArgs {
            tls_cert: several(args.tls.tls_cert, file.tls_cert),
            tls_key: several(args.tls.tls_key, file.tls_key),
            tls_optional: args.tls.tls_optional || file.tls_optional,
            client_ca: args.tls.client_ca.or(file.client_ca),
            client_cert: args.tls.client_cert.or(file.client_cert),
            client_cert_name: args.tls.client_cert_name.or(file.client_cert_name),
        })?,
        log_levels: Some(levels),
        ..default
    };
    if let Some(prefix) = args.prefix.or(file.prefix) {
        config.prefix = Prefix::new(&prefix).map_err(|error| wrong("--prefix", error))?;
    }
    if let Some(path) = args.auth_token_key_file.or(file.auth_token_key_file) {
        config.auth_token_key = Some(token_key(&path)?);
    }
    if let Some(seconds) = args.auth_token_seconds.or(file.auth_token_seconds) {
        if seconds < MIN_TOKEN_SECONDS {
            return Err(wrong("--auth-token-seconds", "APISIX keeps a token for 4 minutes; use at least 300"));
        }
        config.auth_token_lifetime = Duration::from_secs(seconds);
    }
    let keepalive = args.gateway_keepalive_seconds.or(file.gateway_keepalive_seconds);
    config.gateway_keepalive = keepalive.filter(|seconds| *seconds > 0).map(Duration::from_secs);
    if let Some(seconds) = args.drain_seconds.or(file.drain_seconds) {
        config.drain = Duration::from_secs(seconds);
    }
    if let Some(seconds) = args.drain_spread_seconds.or(file.drain_spread_seconds) {
        config.drain_spread = Duration::from_secs(seconds);
    }
    config.translate.ports = match args.listener_ports.or(file.listener_ports).as_deref() {
        None | Some("auto") => Ports::Auto,
        Some("never") => Ports::Never,
        Some(other) => return Err(wrong("--listener-ports", format!("{other:?} is not known; use auto or never"))),
    };
    let version = file.apisix.map(|text| text.parse().map_err(|reason| wrong("apisix", reason))).transpose()?;
    config.translate.apisix = args.apisix.or(version);
    config.translate.servers = translate::servers(args.ext_authz.or(file.ext_authz).as_deref())?;
    config.translate.tokens = translate::tokens(args.jwt.or(file.jwt).as_deref(), config.translate.apisix)?;
    config.guard = guard::resolve(
        args.guard.removal_guard_percent.or(file.removal_guard_percent),
        args.guard.removal_guard_seconds.or(file.removal_guard_seconds),
    )?;
    let from_file = TracesArgs {
        otlp_endpoint: file.otlp_endpoint,
        otlp_ca: file.otlp_ca,
        otlp_sample: file.otlp_sample,
        otlp_service_name: file.otlp_service_name,
    };
    config.traces = traces::resolve(args.traces, from_file, |name| std::env::var(name).ok())?;
    users::check(&config)?;
    config.publish = publish::resolve(&published, &config, published_to)?;
    Ok(config)
}

/// Shortest life of a token in seconds: APISIX uses one for up to four minutes without asking.
const MIN_TOKEN_SECONDS: u64 = 300;

/// Shortest secret in bytes: one that cannot be guessed.
const MIN_TOKEN_KEY: usize = 32;

fn token_key(path: &Path) -> Result<Vec<u8>, SettingsError> {
    let setting = format!("--auth-token-key-file {}", path.display());
    let secret = std::fs::read(path).map_err(|error| wrong(&setting, error))?;
    let secret = secret.trim_ascii().to_vec();
    if secret.len() < MIN_TOKEN_KEY {
        let reason = "needs 32 bytes or more; make one with: head -c 32 /dev/urandom | base64";
        return Err(wrong(&setting, reason));
    }
    Ok(secret)
}

/// An address, or a name and a port.
pub(super) fn address(flag: &str, text: &str) -> Result<SocketAddr, SettingsError> {
    let setting = format!("{flag} {text}");
    let mut found = text
        .to_socket_addrs()
        .map_err(|error| wrong(&setting, format!("{error}; use HOST:PORT, such as 0.0.0.0:2379")))?;
    found.next().ok_or_else(|| wrong(&setting, "the name has no address"))
}

fn several<T>(flags: Vec<T>, file: Vec<T>) -> Vec<T> {
    if flags.is_empty() { file } else { flags }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::live::LiveSettings;

    fn args(set: impl FnOnce(&mut ServeArgs)) -> ServeArgs {
        let mut args = ServeArgs::default();
        set(&mut args);
        args
    }

    fn error(set: impl FnOnce(&mut ServeArgs)) -> String {
        resolve(args(set)).expect_err("refused").to_string()
    }

    #[test]
    fn flags_come_before_the_file_and_the_file_before_defaults() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("confcast.toml");
        std::fs::write(&path, "listen = \"127.0.0.1:1\"\nprefix = \"/a\"\nxds_file = [\"x\"]\n").expect("written");
        let config = resolve(args(|args| {
            args.config = Some(path);
            args.listen = Some("127.0.0.1:2".into());
        }))
        .expect("good");
        assert_eq!(config.listen.port(), 2);
        assert_eq!(config.prefix.as_str(), "/a");
        assert_eq!(config.admin_listen.expect("a default").port(), 9379);
        assert!(matches!(config.source, crate::config::Source::XdsFiles(files) if files.paths == [PathBuf::from("x")]));
    }

    #[test]
    fn errors_name_the_setting_and_the_way_out() {
        type Set = Box<dyn FnOnce(&mut ServeArgs)>;
        let cases: [(Set, &[&str]); 12] = [
            (Box::new(|args| args.listen = Some("nonsense".into())), &["--listen nonsense", "HOST:PORT"]),
            (
                Box::new(|args| args.source = Some("xsd".into())),
                &["--source", "xsd", "use xds, xds-file, apisix-yaml, etcd or none"],
            ),
            (Box::new(|args| args.source = Some("etcd".into())), &["--source etcd", "--upstream is missing"]),
            (Box::new(|args| args.source = Some("xds".into())), &["needs --xds-server"]),
            (Box::new(|args| args.source = Some("xds-file".into())), &["needs --xds-file"]),
            (Box::new(|args| args.xds_server = vec!["istiod:15010".into()]), &["--xds-server istiod:15010"]),
            (Box::new(|args| args.xds_server = vec!["http://a:1".into()]), &["--xds-node-id"]),
            (Box::new(|args| args.prefix = Some("/".into())), &["--prefix", "/apisix"]),
            (Box::new(|args| args.config = Some("/nowhere.toml".into())), &["--config /nowhere.toml"]),
            (Box::new(|args| args.jwt = Some("yes".into())), &["--jwt", "closed or openid-connect"]),
            (Box::new(|args| args.ext_authz = Some("yes".into())), &["--ext-authz", "closed or forward-auth"]),
            (
                Box::new(|args| {
                    args.jwt = Some("openid-connect".into());
                    args.apisix = Some("3.9".parse().expect("a version"));
                }),
                &["--jwt openid-connect", "APISIX 3.9", "--apisix 3.18"],
            ),
        ];
        for (set, parts) in cases {
            let error = error(set);
            for part in parts {
                assert!(error.contains(part), "{error} should say {part}");
            }
        }
        for address in ["127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:http", "2379", ""] {
            let error = error(|args| args.listen = Some(address.into()));
            assert!(error.contains(&format!("--listen {address}")) && error.contains("HOST:PORT"), "{error}");
        }
    }

    #[test]
    fn an_unknown_name_in_the_file_is_an_error_with_its_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("confcast.toml");
        std::fs::write(&path, "listen = \"127.0.0.1:1\"\nprefx = \"/a\"\n").expect("written");
        let error = error(|args| args.config = Some(path));
        assert!(error.contains("line 2") && error.contains("prefx") && error.contains("prefix"), "{error}");
    }
    #[test]
    fn what_is_said_to_be_live_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("confcast.toml");
        let token = dir.path().join("token");
        std::fs::write(&token, [b'a'; 32]).expect("written");
        let config = |text: &str| resolve_with(args(|args| args.config = Some(path.clone())), text).expect(text);
        let live = |config: &Config| {
            let more = (config.guard, config.auth_token_lifetime, config.log_levels.clone());
            (LiveSettings::of(config), more)
        };
        let default = live(&config(""));
        for name in file::LIVE {
            let value = match name {
                "log" => "\"debug\"".to_owned(),
                "admin_token_file" => format!("{:?}", token.display().to_string()),
                "admin_debug" => "true".to_owned(),
                "auth_token_seconds" => "301".to_owned(),
                _ => "77".to_owned(),
            };
            assert_ne!(live(&config(&format!("{name} = {value}"))), default, "{name}");
        }
        assert_eq!(live(&config("prefix = \"/other\"")), default);
    }
}
