//! A real Envoy, as a client of the test control plane and as the judge of where a request goes.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::http::{Answer, Connection};

/// A running Envoy. Killed when it is dropped.
pub struct Envoy {
    child: Child,
    _dir: tempfile::TempDir,
}

impl Envoy {
    /// Starts Envoy as a client of the control plane on `ads_port`, over delta or the state of the world.
    pub fn start(binary: &Path, ads_port: u16, delta: bool) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let bootstrap = dir.path().join("bootstrap.json");
        std::fs::write(&bootstrap, bootstrap_for(ads_port, delta).to_string()).expect("written");
        let child = Command::new(binary)
            .arg("-c")
            .arg(&bootstrap)
            .args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "off"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Envoy starts");
        Self { child, _dir: dir }
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bootstrap_for(port: u16, delta: bool) -> Value {
    let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let source = json!({"ads": {}, "resource_api_version": "V3"});
    json!({
        "node": {"id": "envoy", "cluster": "test"},
        "dynamic_resources": {
            "ads_config": {
                "api_type": if delta { "DELTA_GRPC" } else { "GRPC" },
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "ads"}}],
            },
            "lds_config": source,
            "cds_config": source,
        },
        "static_resources": {"clusters": [{
            "name": "ads",
            "type": "STATIC",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }},
            "load_assignment": {
                "cluster_name": "ads",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
            },
        }]},
    })
}

/// Sends a request on a connection of its own. None if nobody listens.
pub fn ask(port: u16, method: &str, host: &str, target: &str, headers: &[(String, String)]) -> Option<Answer> {
    let mut line = Line::new(port);
    line.connection = Some(line.open()?);
    Some(line.ask(method, host, target, headers))
}

/// One connection after another to a port, each for as many requests as the server takes on it.
pub struct Line {
    port: u16,
    connection: Option<Connection>,
}

impl Line {
    /// To this port. Nothing is connected yet.
    pub fn new(port: u16) -> Self {
        Self { port, connection: None }
    }

    fn open(&self) -> Option<Connection> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        std::net::TcpStream::connect(address).ok()?;
        Some(Connection::open(address))
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, method: &str, host: &str, target: &str, headers: &[(String, String)]) -> Answer {
        let mut connection = self.connection.take().or_else(|| self.open()).expect("it listens");
        let headers: String = headers.iter().flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect();
        connection.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n").as_bytes());
        let answer = connection.answer();
        let ends = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        self.connection = (!ends && answer.status != 400).then_some(connection);
        answer
    }
}
