//! A program with a confcast inside: it serves objects of its own to APISIX, and writes another one after a while.
//!
//! Run with `cargo run --example embed`, then
//! `etcdctl --endpoints=127.0.0.1:2379 watch --prefix /apisix`.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::time::Duration;

use confcast::store::{LeaseId, Origin};
use confcast::{Config, Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Everything has a default; `source` says where a configuration comes from, and here nowhere.
    let server = Server::start(Config { admin_listen: None, ..Config::default() }).await?;
    put(&server, "/apisix/routes/", "init_dir").await?;
    put(&server, "/apisix/upstreams/", "init_dir").await?;
    put(&server, "/apisix/upstreams/1", r#"{"id":"1","type":"roundrobin","nodes":{"127.0.0.1:8080":1}}"#).await?;
    println!("serving on {}, stop with Ctrl-C", server.address());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let revision = put(&server, "/apisix/routes/1", r#"{"id":"1","uri":"/*","upstream_id":"1"}"#).await?;
    println!("a route was added at revision {revision}");
    tokio::signal::ctrl_c().await?;
    server.shutdown().await;
    Ok(())
}

/// Writes a key that clients may read and not change, and returns the revision.
async fn put(server: &Server, key: &'static str, value: &'static str) -> Result<i64, Box<dyn std::error::Error>> {
    let revision = server
        .store()
        .submit(move |writer| {
            let mut transaction = writer.begin();
            transaction.put(key.into(), value.into(), LeaseId::NONE, Origin::Source);
            writer.commit(transaction)
        })
        .await?;
    Ok(revision.0)
}
