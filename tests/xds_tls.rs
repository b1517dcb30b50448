//! The connection to a control plane over TLS: its certificate, ours, and the token.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::fs;
use std::path::Path;

use confcast::testing::ads::{AdsServer, Habits};
use confcast::testing::mesh;
use support::tls::Authority;
use support::{Confcast, until};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_token_are_used_and_wrong_ones_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (cert, key) = authority.sign("istiod.istio-system.svc");
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(cert, key))
        .client_ca_root(Certificate::from_pem(authority.issuer.pem()));
    let server = AdsServer::start_tls(Habits::ISTIO, tls).await;
    server.set([mesh::static_cluster("a", &[1])]);
    let (cert, key) = authority.sign("confcast");
    for (name, content) in [("client.pem", cert.as_str()), ("client.key", key.as_str()), ("token", "first\n")] {
        fs::write(authority.path(name), content).expect("written");
    }
    let url = format!("https://127.0.0.1:{}", server.port());
    let node = ["--xds-server", &url, "--xds-node-id", "router~127.0.0.1~a.b~b.svc.cluster.local"];
    let paths = ["ca.pem", "client.pem", "client.key", "token"].map(|name| authority.path(name));
    let name = ["--xds-server-name", "istiod.istio-system.svc"];
    let ca = ["--xds-ca", text(&paths[0])];
    let client = ["--xds-cert", text(&paths[1]), "--xds-key", text(&paths[2])];
    let token = ["--xds-token-file", text(&paths[3])];

    let confcast = Confcast::serve(&[&node[..], &name, &ca, &client, &token].concat()).ready();
    assert_eq!(confcast.objects().len(), 1);
    assert_eq!(server.seen().tokens, ["Bearer first"]);
    // The token of the day is read for every stream.
    fs::write(authority.path("token"), "second").expect("written");
    server.cut();
    until("connected again", || server.seen().tokens.len() > 1);
    assert_eq!(server.seen().tokens[1], "Bearer second");
    confcast.kill();
    // Kuma wants the token alone.
    let before = server.seen().tokens.len();
    let bare = ["--xds-token-scheme", "none"];
    drop(Confcast::serve(&[&node[..], &name, &ca, &client, &token, &bare].concat()).ready());
    assert_eq!(server.seen().tokens[before..], ["second"]);

    let wrong = stranger.path("ca.pem");
    for (args, expected) in [
        (vec![&node[..], &name, &["--xds-ca", text(&wrong)], &client], "certificate"),
        (vec![&node[..], &ca, &client], "certificate"),
        (vec![&node[..], &name, &ca], "control plane"),
    ] {
        let confcast = Confcast::serve(&args.concat());
        until("refused", || confcast.log().contains("no stream to the control plane"));
        let log = confcast.log();
        assert!(log.to_lowercase().contains(expected), "{log}");
        assert_eq!(support::http::get(confcast.admin, "/readyz").status, 503);
    }
}
