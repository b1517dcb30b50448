//! Everyday use of the `etcd-client` crate against the endpoint given as the argument.

use etcd_client::{
    Client, Compare, CompareOp, EventType, GetOptions, LockOptions, PutOptions, ResignOptions, SortOrder, SortTarget,
    Txn, TxnOp, WatchOptions,
};

#[tokio::main]
async fn main() {
    let endpoint = std::env::args().nth(1).expect("an endpoint");
    let mut client = Client::connect([endpoint], None).await.expect("connects");
    for (key, value) in [("/r/a", "1"), ("/r/b", "2")] {
        client.put(key, value, None).await.expect("put");
    }
    let sorted = GetOptions::new().with_prefix().with_sort(SortTarget::Value, SortOrder::Descend).with_limit(1);
    let got = client.get("/r/", Some(sorted)).await.expect("got");
    assert_eq!((got.kvs()[0].key(), got.more(), got.count()), (b"/r/b".as_ref(), true, 2));
    let txn = Txn::new()
        .when([Compare::value("/r/a", CompareOp::Equal, "1")])
        .and_then([TxnOp::put("/r/a", "3", None)])
        .or_else([TxnOp::get("/r/a", None)]);
    assert!(client.txn(txn).await.expect("ran").succeeded());

    let mut watch = client.watch("/w/", Some(WatchOptions::new().with_prefix().with_prev_key())).await.expect("watch");
    client.put("/w/a", "1", None).await.expect("put");
    client.delete("/w/a", None).await.expect("deleted");
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        let message = watch.message().await.expect("no error").expect("no end");
        kinds.extend(message.events().iter().map(|event| (event.event_type(), event.prev_kv().is_some())));
    }
    assert_eq!(kinds, [(EventType::Put, false), (EventType::Delete, true)]);

    let lease = client.lease_grant(30, None).await.expect("granted").id();
    client.put("/r/leased", "x", Some(PutOptions::new().with_lease(lease))).await.expect("put");
    let (mut keeper, mut kept) = client.lease_keep_alive(lease).await.expect("a stream");
    keeper.keep_alive().await.expect("sent");
    assert_eq!(kept.message().await.expect("no error").expect("no end").ttl(), 30);
    let lock = client.lock("lock", Some(LockOptions::new().with_lease(lease))).await.expect("locked");
    client.unlock(lock.key()).await.expect("unlocked");
    let leader = client.campaign("election", "me", lease).await.expect("elected");
    assert_eq!(client.leader("election").await.expect("a leader").kv().expect("a pair").value(), b"me");
    let resign = ResignOptions::new().with_leader(leader.leader().expect("a key").clone());
    client.resign(Some(resign)).await.expect("resigned");
    client.lease_revoke(lease).await.expect("revoked");
    assert!(client.get("/r/leased", None).await.expect("got").kvs().is_empty());

    assert!(client.status().await.expect("status").version().starts_with("3."));
    assert_eq!(client.member_list().await.expect("members").members().len(), 1);
    let error = client.get("", None).await.expect_err("no key");
    assert!(error.to_string().contains("etcdserver: key is not provided"), "{error}");
    println!("ok");
}
