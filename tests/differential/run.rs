//! Runs a history on both servers.

use std::net::SocketAddr;
use std::time::Duration;

use confcast::pb::etcdserverpb::kv_client::KvClient;
use confcast::pb::etcdserverpb::lease_client::LeaseClient;
use confcast::pb::etcdserverpb::{DeleteRangeRequest, LeaseLeasesRequest, LeaseRevokeRequest};
use tokio::sync::Mutex;

use super::request::{At, History, Step};
use super::server::Server;
use super::sessions::{Pair, Stream};

/// etcd looks only now and then whether a watcher that began in the past has caught up, even with nothing.
const SYNC: Duration = Duration::from_millis(150);

pub struct Servers {
    etcd: Server,
    confcast: Server,
    /// The revisions of etcd that became the floor. Held by the history that runs.
    floors: Mutex<Vec<i64>>,
}

impl Servers {
    pub async fn connect(etcd: SocketAddr, confcast: SocketAddr) -> Self {
        Self { etcd: Server::connect(etcd).await, confcast: Server::connect(confcast).await, floors: Mutex::default() }
    }

    /// Whether both have answered alike; if not, where they differ.
    pub async fn run(&self, history: &History) -> Result<(), String> {
        let mut all_floors = self.floors.lock().await;
        for server in [&self.etcd, &self.confcast] {
            clear(server).await;
            server.set_origin().await;
        }
        let mut pairs: Vec<Pair> = Vec::new();
        let mut floors: Vec<_> = all_floors.iter().map(|floor| floor - self.etcd.origin()).collect();
        for (position, (step, gateway)) in history.iter().enumerate() {
            let at = |error: String| format!("step {position}: {step:?}: {error}");
            let theirs = self.etcd.revision().await;
            let ours = self.confcast.revision().await;
            self.is_together(theirs, ours).map_err(at)?;
            match step {
                Step::Watch(create) => pairs.push(Pair {
                    etcd: Stream::grpc(&self.etcd, create, theirs).await,
                    confcast: Stream::grpc(&self.confcast, create, ours).await,
                }),
                Step::GatewayWatch(creates) => {
                    let mut pair = Pair {
                        etcd: Stream::gateway(&self.etcd, creates, theirs),
                        confcast: Stream::gateway(&self.confcast, creates, ours),
                    };
                    // The request must have been read before anything else happens.
                    pair.settle(&floors).await.map_err(at)?;
                    pairs.push(pair);
                }
                Step::More(index, create) => {
                    if let Some(pair) = pick(&mut pairs, *index) {
                        pair.settle(&floors).await.map_err(at)?;
                        pair.etcd.create(create, theirs).await;
                        pair.confcast.create(create, ours).await;
                        pair.settle(&floors).await.map_err(at)?;
                    }
                }
                Step::Cancel(index, id) => {
                    if let Some(pair) = pick(&mut pairs, *index) {
                        pair.settle(&floors).await.map_err(at)?;
                        pair.etcd.cancel(*id).await;
                        pair.confcast.cancel(*id).await;
                        pair.settle(&floors).await.map_err(at)?;
                    }
                }
                step => {
                    if matches!(step, Step::Compact(_)) {
                        // A watcher that lags may lose what is compacted, at either server.
                        for pair in &mut pairs {
                            pair.settle(&floors).await.map_err(at)?;
                        }
                        if !pairs.is_empty() {
                            tokio::time::sleep(SYNC).await;
                        }
                    }
                    if let Step::Compact(request) = step {
                        let floor = request.at(theirs).revision;
                        all_floors.push(floor);
                        floors.push(floor - self.etcd.origin());
                    }
                    let theirs = self.etcd.answer(step, *gateway, theirs).await;
                    let ours = self.confcast.answer(step, *gateway, ours).await;
                    if theirs != ours {
                        return Err(at(format!("gateway {gateway}\netcd:     {theirs}\nconfcast: {ours}")));
                    }
                }
            }
        }
        for (position, pair) in pairs.iter_mut().enumerate() {
            pair.settle(&floors).await.map_err(|error| format!("stream {position} at the end: {error}"))?;
        }
        // What the leases hold is seen in the revisions that ending them takes.
        clear(&self.etcd).await;
        clear(&self.confcast).await;
        self.is_together(self.etcd.revision().await, self.confcast.revision().await)
    }

    fn is_together(&self, theirs: i64, ours: i64) -> Result<(), String> {
        let (theirs, ours) = (theirs - self.etcd.origin(), ours - self.confcast.origin());
        if theirs == ours { Ok(()) } else { Err(format!("revisions went apart: etcd's {theirs}, ours {ours}")) }
    }
}

fn pick(pairs: &mut [Pair], index: proptest::sample::Index) -> Option<&mut Pair> {
    let mut open: Vec<_> = pairs.iter_mut().filter(|pair| pair.etcd.is_grpc()).collect();
    if open.is_empty() { None } else { Some(open.swap_remove(index.index(open.len()))) }
}

/// Ends all leases and deletes all keys.
async fn clear(server: &Server) {
    let mut leases = LeaseClient::new(server.channel.clone());
    let all = leases.lease_leases(LeaseLeasesRequest {}).await.expect("it answers").into_inner();
    let mut ids: Vec<_> = all.leases.into_iter().map(|lease| lease.id).collect();
    ids.sort_unstable();
    for id in ids {
        leases.lease_revoke(LeaseRevokeRequest { id }).await.expect("it was there");
    }
    let everything = DeleteRangeRequest { key: "\0".into(), range_end: "\0".into(), prev_kv: false };
    KvClient::new(server.channel.clone()).delete_range(everything).await.expect("it answers");
}
