//! `confcast demo`: a small mesh to play with.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use super::args::DemoArgs;
use super::settings::address;
use crate::config::{Config, Source};
use crate::telemetry::log::LogFilter;
use crate::xds::files::FilesConfig;

/// The files of the mesh.
pub(crate) const FILES: [(&str, &str); 3] = [
    ("clusters.yaml", include_str!("demo/clusters.yaml")),
    ("listener.yaml", include_str!("demo/listener.yaml")),
    ("routes.yaml", include_str!("demo/routes.yaml")),
];

/// Writes the files of the mesh, serves them, and says what to try.
pub(super) fn demo(args: &DemoArgs, log: Arc<dyn LogFilter>) -> anyhow::Result<ExitCode> {
    let listen = address("--listen", &args.listen)?;
    // Before the files of another one are written over.
    drop(TcpListener::bind(listen).with_context(|| format!("--listen {listen}"))?);
    let dir = args.dir.clone().unwrap_or_else(|| std::env::temp_dir().join("confcast-demo"));
    fs::create_dir_all(&dir).with_context(|| format!("--dir {}", dir.display()))?;
    for (name, content) in FILES {
        fs::write(dir.join(name), content).with_context(|| format!("--dir {}", dir.display()))?;
    }
    let config = Config {
        listen,
        admin_listen: match args.admin_listen.as_str() {
            "off" => None,
            text => Some(address("--admin-listen", text)?),
        },
        source: Source::XdsFiles(FilesConfig {
            poll: std::time::Duration::from_millis(200),
            ..FilesConfig::new(vec![dir.clone()])
        }),
        ..Config::default()
    };
    super::runtime()?.block_on(super::serve::run(config, log, None, |server| {
        print!("{}", hints(&server.address().to_string(), &dir));
    }))
}

fn hints(address: &str, dir: &Path) -> String {
    let routes = dir.join("routes.yaml");
    let routes = routes.display();
    format!(
        "\n\
        A bookinfo-like mesh is served as APISIX configuration. In another terminal:\n\n  \
        # what APISIX loads when it starts: everything below /apisix, as its HTTP client asks for it\n  \
        curl -s http://{address}/v3/kv/range -d '{{\"key\":\"L2FwaXNpeA==\",\"range_end\":\"L2FwaXNpeQ==\"}}'\n\n  \
        # the same for people\n  \
        etcdctl --endpoints={address} get --prefix /apisix/routes\n\n  \
        # watch, then change something: in {routes}\n  \
        # turn `weight: 80` into `weight: 50` and the other into 50, and save\n  \
        etcdctl --endpoints={address} watch --prefix /apisix\n\n\
        APISIX uses it with `deployment.etcd.host: [\"http://{address}\"]`. Stop with Ctrl-C.\n\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::ResourceType;
    use crate::translate::{Options, translate_all};

    #[test]
    fn the_mesh_is_whole_and_exact() {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, content) in FILES {
            fs::write(dir.path().join(name), content).expect("written");
        }
        let (resources, errors) = crate::xds::files::load(&[dir.path().into()]);
        assert_eq!(errors, []);
        assert!(resources.contains_key(&(ResourceType::Route, "bookinfo".into())));
        let translation = translate_all(resources.into_values(), Options::default());
        let not_exact: Vec<_> = translation
            .report
            .entries
            .iter()
            .filter(|entry| entry.fidelity == crate::translate::Fidelity::NotExpressible)
            .collect();
        assert!(not_exact.is_empty(), "{not_exact:?}");
        assert!(translation.objects.len() > 10);
    }
}
