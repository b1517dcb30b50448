//! What is answered otherwise than recorded, and why.

use super::recording::Answer;

/// Recordings that are not replayed, the revision at their end if they write, and why.
pub const LEFT_OUT: [(&str, i64, &str); 12] = [
    ("07-http2", 0, "JSON over HTTP/2 is answered here, where etcd resets the stream"),
    ("21-put-too-large", 0, "its bodies were not recorded; tests/api.rs has the case"),
    ("77-watch-progress", 57, "of another interval; src/watch has the case"),
    ("80-watch-stream-body", 60, "a script of its own; tests/api.rs has the case"),
    ("81-watch-client-close", 0, "shows what etcd keeps of a client that left; tests/api.rs has the case"),
    ("82-watch-fragment", 65, "its bodies were cut when they were recorded; tests/api.rs has the case"),
    ("83-watch-slow-body-headers", 0, "etcd waits for the whole body, this server does not"),
    ("84-watch-websocket", 66, "WebSockets are not served"),
    ("90-cluster", 0, "members of a cluster, of which there is one here; tests/api.rs has the list"),
    ("92-alarm-nospace", 67, "there is no quota that could be used up"),
    ("97-role-grant-without-perm-kills-server", 0, "kills etcd"),
    ("98-unknown-sort-target-kills-server", 0, "kills etcd"),
];

/// How an answer may differ from the recorded one.
pub enum Difference {
    /// It is not compared: the server has other numbers there, or etcd's answer is not worth having.
    Other(&'static str),
    /// The status and the code are compared, as the text comes from another JSON library.
    Words,
}

pub fn difference(file: &str, request: &str, recorded: &Answer) -> Option<Difference> {
    use Difference::{Other, Words};
    let has = |part: &str| request.contains(part);
    Some(match file {
        "00-version" if has("/version ") || has("$H/version") => Other("the version is this server's"),
        "03-other-paths" if has("/debug/vars") => Other("Go's own page"),
        "01-health" | "02-livez-readyz" if has("-I ") => return None,
        "12-range-sort-filter" if has("\"sort_order\":99") => Other("an unknown order is refused, as by etcd 3.6"),
        "14-range-errors" if has("rangeEnd") && has("range_end") => {
            Other("a field given twice is refused, as by etcd 3.6")
        }
        "75-watch-history" if has("\"start_revision\":\"-") => {
            Other("a negative start is refused at once, as since etcd 3.5.24")
        }
        "78-watch-bad" if has("junk") || has("!!") => Other("recorded one after the other, so that events are missing"),
        "41-txn-errors" if has("request_range") && has("request_put") => {
            Other("two requests in one operation are refused, as by etcd 3.6")
        }
        "41-txn-errors" if has(" bytes]... ") => Other("the request was cut when it was recorded"),
        _ if recorded.status == 500 && !recorded.text().contains("election") && !recorded.text().contains("leader") => {
            Other("a stream's first message that cannot be read is the client's mistake: 400, where etcd says 500")
        }
        "14-range-errors" | "78-watch-bad" if recorded.status >= 400 && recorded.text().contains("base64") => {
            if has("!!!") { Words } else { Other("URL-safe and unpadded base64 is read, as by etcd 3.6") }
        }
        "14-range-errors" if has(":1.0}") || has("1e0") => {
            Other("whole numbers are read however they are written, as by etcd 3.6")
        }
        _ if recorded.status >= 400 && !recorded.text().contains("etcdserver: ") && recorded.is_json() => Words,
        "91-maintenance" if has("maintenance/status") => Other("sizes and indexes are this server's"),
        "91-maintenance" if has("maintenance/hash") => {
            Other("hashes are this server's; /hashkv is there, as in etcd 3.6")
        }
        "91-maintenance" if has("maintenance/snapshot") => Other("a snapshot is not of the same bytes"),
        "95-auth" => return auth_difference(request),
        _ => return None,
    })
}

/// What etcd has mended since the recorded version, and this server does as the newer ones.
pub fn auth_difference(request: &str) -> Option<Difference> {
    let path = request.rsplit("$H").next().unwrap_or_default();
    let token = request.contains("Authorization: ") || request.contains("Grpc-Metadata");
    Some(Difference::Other(match path {
        "/version" => "the version is this server's",
        "/v3/auth/status" => "readable without a token, as since etcd 3.7",
        "/v3/maintenance/status" => "sizes are this server's; needs a token, as since etcd 3.5.28",
        "/v3/cluster/member/list" => "the member is this server",
        "/v3/lease/grant" | "/v3/maintenance/alarm" | "/v3/kv/compaction" if !token => {
            "needs a token, as since etcd 3.5.28"
        }
        "/v3/watch" => "the refused watcher has the id -1, as since etcd 3.5.2",
        _ if request.contains("Bearer ") => "the word before a token is skipped, as since etcd 3.6",
        _ => return None,
    }))
}
