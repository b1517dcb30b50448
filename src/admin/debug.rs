//! What the server holds, for those who look for the reason of something: streams, interests and the view.
//!
//! Off unless it is asked for, as it shows addresses of clients and names of resources, and looks at everything.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Admin;
use crate::apisix::ObjectKey;
use crate::store::{KeyRange, Origin};

/// What is listed if nothing is said, and at most.
const LISTED: usize = 100;
const MOST: usize = 10_000;

/// How many are wanted.
fn limit(uri: &Uri) -> usize {
    let limit = uri.query().and_then(|query| query.strip_prefix("limit=")?.parse().ok());
    limit.unwrap_or(LISTED).min(MOST)
}

pub(super) async fn index() -> &'static str {
    "confcast debug\n\n\
     /debug/streams    watch streams with their watchers, those first that are furthest behind\n\
     /debug/interests  what is watched, by how many\n\
     /debug/view       resources of the source and the keys that were made of them\n\n\
     Each lists 100, or ?limit= up to 10000. What is not expressed exactly is in /report.\n"
}

/// A watch stream.
#[derive(Debug)]
struct Found {
    /// Revisions that its slowest watcher is behind.
    behind: u64,
    stream: Arc<crate::watch::Stream>,
    watchers: Vec<Value>,
}

pub(super) async fn streams(State(admin): State<Admin>, uri: Uri) -> Response {
    let mut found: HashMap<_, Found> = HashMap::new();
    for interest in admin.node.hub.all_interests() {
        let (woken, range) = (interest.woken_at(), shown(&interest.scope().range));
        interest.for_each_watcher(|stream, cursor| {
            let behind = cursor.behind(woken);
            let place = found.entry(Arc::as_ptr(stream)).or_insert_with(|| Found {
                behind: 0,
                stream: stream.clone(),
                watchers: Vec::new(),
            });
            place.behind = place.behind.max(behind);
            // One stream may have as many as all others together.
            if place.watchers.len() < LISTED {
                place.watchers.push(json!({"range": range, "next_revision": cursor.next().0, "behind": behind}));
            }
        });
    }
    let mut found: Vec<_> = found.into_values().collect();
    found.sort_by_key(|found| (std::cmp::Reverse(found.behind), found.stream.opened));
    let listed = found.iter().take(limit(&uri)).map(|Found { behind, stream, watchers }| {
        json!({
            "client": stream.client,
            "protocol": stream.protocol.name(),
            "open_seconds": stream.opened.elapsed().as_secs(),
            "behind": behind,
            "watchers": watchers,
        })
    });
    let listed: Vec<_> = listed.collect();
    let revision = admin.node.store.snapshot().revision().0;
    Json(json!({"revision": revision, "streams": found.len(), "listed": listed})).into_response()
}

pub(super) async fn interests(State(admin): State<Admin>, uri: Uri) -> Response {
    let mut interests = admin.node.hub.all_interests();
    interests.sort_by_key(|interest| std::cmp::Reverse(interest.watchers()));
    let listed = interests.iter().take(limit(&uri)).map(|interest| {
        let scope = interest.scope();
        json!({
            "range": shown(&scope.range),
            "no_put": scope.no_put,
            "no_delete": scope.no_delete,
            "prev_kv": scope.prev_kv,
            "watchers": interest.watchers(),
            "woken_at": interest.woken_at().0,
            "frames": interest.frames(),
        })
    });
    let listed: Vec<_> = listed.collect();
    Json(json!({"interests": interests.len(), "listed": listed})).into_response()
}

pub(super) async fn view(State(admin): State<Admin>, uri: Uri) -> Response {
    let Some(view) = &admin.view else {
        return (StatusCode::NOT_FOUND, "this server has no source that it translates\n").into_response();
    };
    let origins = match &view.origins {
        None => None,
        Some(asked) => asked.ask(limit(&uri)).await,
    };
    if let Some(origins) = origins {
        let key = |key: &ObjectKey| String::from_utf8_lossy(&key.etcd_key(&admin.prefix)).into_owned();
        let listed = origins.listed.iter().map(|origin| {
            let keys: Vec<_> = origin.objects.iter().map(key).collect();
            let (kind, name) = &origin.resource;
            json!({"kind": kind, "name": name, "objects": origin.count, "keys": keys, "not_exact": origin.reported})
        });
        let listed: Vec<_> = listed.collect();
        return Json(json!({"resources": origins.resources, "listed": listed})).into_response();
    }
    // What comes from a file of APISIX's own objects is not made of anything.
    let snapshot = admin.node.store.snapshot();
    let range = KeyRange::prefix(format!("{}/", admin.prefix));
    let objects = || snapshot.range(&range).filter(|record| record.origin == Origin::Source);
    let listed = objects().take(limit(&uri)).map(|record| {
        json!({"key": String::from_utf8_lossy(&record.key), "mod_revision": record.mod_revision.0, "bytes": record.size()})
    });
    let listed: Vec<_> = listed.collect();
    Json(json!({"objects": objects().count(), "listed": listed})).into_response()
}

/// A range for people.
fn shown(range: &KeyRange) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match (range.as_single(), range.as_prefix()) {
        (Some(key), _) => json!({"key": text(key)}),
        (None, Some(prefix)) => json!({"prefix": text(prefix)}),
        (None, None) => json!({"from": text(range.start()), "before": range.end().map(|end| text(&end))}),
    }
}
