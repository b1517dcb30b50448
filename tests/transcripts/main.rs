//! The recorded answers of a real etcd 3.5 gateway, byte for byte: the same requests in the same order must get the same
//! status, the same headers that matter and the same body.
//!
//! Left out of the comparison are what names the server (cluster, member, term), where its history began, lease ids that
//! it drew, and the times. What is answered otherwise, and why, is in `difference`.
#![allow(clippy::print_stdout, missing_docs, unreachable_pub, reason = "a test of several files")]

mod difference;
mod recording;
mod request;
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use difference::{Difference, LEFT_OUT, difference};
use recording::{Answer, Case, opened_at, read};
use regex::{Captures, Regex};
use request::request;
use serde_json::{Value, json};
use support::http::Connection;
use support::{Confcast, shared};

/// Headers that clients act on.
const HEADERS: [&str; 8] = [
    "content-type",
    "allow",
    "location",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "grpc-metadata-content-type",
    "x-content-type-options",
];

/// The replay: what stands for what.
struct Replay {
    /// This server's revision less the recorded one.
    offset: i64,
    tokens: HashMap<String, String>,
    ids: Regex,
    revisions: Regex,
    leases: Regex,
    unknown: Regex,
    address: SocketAddr,
}

impl Replay {
    fn new(address: SocketAddr) -> Self {
        let regex = |pattern: &str| Regex::new(pattern).expect("a pattern");
        Self {
            offset: revision(address) - 1,
            tokens: HashMap::new(),
            ids: regex(r#""(cluster_id|member_id|raft_term|token)":"[^"]*""#),
            revisions: regex(
                r#""(revision|create_revision|mod_revision|compact_revision|start_revision|min_mod_revision|max_mod_revision|min_create_revision|max_create_revision|rev)":\s*"?(-?\d+)"?"#,
            ),
            unknown: regex(r"Authorization: [A-Za-z]{16}\.\d+"),
            address,
            leases: regex(r#""(ID|lease)":"\d{15,}"|"key":"(?:bGsv|ZWwv)[^"]*""#),
        }
    }

    /// A recorded request with this server's revisions and tokens.
    fn translate(&mut self, command: &str) -> String {
        let shifted = self.revisions.replace_all(command, |found: &Captures<'_>| {
            let number: i64 = found[2].parse().expect("digits");
            // Small ones and those out of reach mean something by themselves.
            let number = if number <= 0 || number > 100_000 { number } else { number + self.offset };
            format!("\"{}\":\"{number}\"", &found[1])
        });
        let mut text = shifted.into_owned();
        for (theirs, ours) in &self.tokens {
            text = text.replace(theirs, ours);
        }
        // How root came by this token was not recorded.
        if let Some(found) = self.unknown.find(&text) {
            let root = json!({"name": "root", "password": "rpw"});
            let token = support::http::post(self.address, "/v3/auth/authenticate", &root).json();
            text = text.replace(
                &text[found.range()].to_owned(),
                &format!("Authorization: {}", token["token"].as_str().expect("a token")),
            );
        }
        text
    }

    /// A body without what names the server, with revisions counted as in the recording.
    fn normal(&self, body: &str, offset: i64) -> String {
        let body = self.ids.replace_all(body, "\"$1\":\"\"");
        let body = self.leases.replace_all(&body, "\"own\":\"\"");
        let body = self.revisions.replace_all(&body, |found: &Captures<'_>| {
            let number: i64 = found[2].parse().expect("digits");
            format!("\"{}\":\"{}\"", &found[1], if number > 0 { number - offset } else { number })
        });
        body.into_owned()
    }

    fn compare(&mut self, case: &Case, file: &str, ours: &Answer) -> Result<(), String> {
        let theirs = &case.answer;
        let token =
            |answer: &Answer| serde_json::from_slice::<Value>(&answer.body).ok()?["token"].as_str().map(str::to_owned);
        if let (Some(theirs), Some(ours)) = (token(theirs), token(ours)) {
            self.tokens.insert(theirs, ours);
        }
        let words = match difference(file, &case.command, theirs) {
            Some(Difference::Other(reason)) => {
                println!("not compared: {file}: {}: {reason}", case.command.rsplit("$H").next().unwrap_or_default());
                return Ok(());
            }
            Some(Difference::Words) => true,
            None => false,
        };
        let tell = |what: &str, theirs: &str, ours: &str| {
            Err(format!("{file}: {}\n  {what} of etcd: {theirs}\n  {what} here:    {ours}", case.command))
        };
        if theirs.status != ours.status {
            return tell("status", &theirs.status.to_string(), &format!("{} {}", ours.status, ours.text()));
        }
        for header in HEADERS {
            let value = |answer: &Answer| answer.header(header).unwrap_or("none").to_owned();
            if value(theirs) != value(ours) {
                return tell(header, &value(theirs), &value(ours));
            }
        }
        // Of a page for people the end was not recorded.
        if case.command.contains(" -I ") || theirs.header("content-type").is_some_and(|kind| kind.contains("html")) {
            return Ok(());
        }
        // Long bodies were cut when they were recorded.
        if theirs.text().contains(" bytes in all]...") {
            return Ok(());
        }
        let (a, b) = (self.normal(&theirs.text(), 0), self.normal(&ours.text(), self.offset));
        if theirs.status >= 400 && theirs.is_json() {
            let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
            let (a, b) = (json(&a), json(&b));
            let same = a["code"] == b["code"] && b["error"] == b["message"] && (words || a["message"] == b["message"]);
            return if same { Ok(()) } else { tell("error", &a.to_string(), &b.to_string()) };
        }
        // Watchers of one stream are told of a revision in any order.
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            if case.background {
                lines.sort_unstable();
            }
            lines.join("\n") + if text.ends_with('\n') { "\n" } else { "" }
        };
        if sorted(&a) == sorted(&b) || (flat(&a).is_some() && flat(&a) == flat(&b)) {
            Ok(())
        } else {
            tell("body", &a, &b)
        }
    }
}

/// The events of a stream one by one, and its other messages: changes that follow each other at once may come together.
fn flat(body: &str) -> Option<Vec<Value>> {
    let mut all = Vec::new();
    for line in body.lines() {
        let message: Value = serde_json::from_str(line).ok()?;
        match message["result"]["events"].as_array() {
            Some(events) => all.extend(events.clone()),
            None => all.push(message),
        }
    }
    Some(all)
}

/// The revision, as anybody may see it.
fn revision(address: SocketAddr) -> i64 {
    let answer = support::http::post(address, "/v3/auth/status", &json!({})).json();
    answer["header"]["revision"].as_str().and_then(|text| text.parse().ok()).expect("a revision")
}

/// Writes until the revision is reached, as what comes later counts on it.
fn catch_up(address: SocketAddr, key: &str, until: i64) {
    while revision(address) < until {
        support::http::post(address, "/v3/kv/put", &json!({"key": support::http::b64(key)}));
    }
}

#[test]
fn the_gateway_answers_as_recorded() {
    let Some(folder) = shared("gateway-transcripts") else { return };
    let confcast = Confcast::serve(&["--source", "none"]).ready();
    let address = confcast.address;
    let mut replay = Replay::new(address);
    let mut files: Vec<_> = std::fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    let (mut failures, mut compared) = (Vec::new(), 0);
    for path in files {
        let file = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if let Some((_, end, reason)) = LEFT_OUT.iter().find(|(name, ..)| *name == file) {
            println!("left out: {file}: {reason}");
            catch_up(address, "left out", *end + replay.offset);
            continue;
        }
        // The probes' own paths came later.
        let cases = read(&path, if file == "02-livez-readyz" { "3.5.30" } else { "3.5.1" });
        let mut open: Vec<(&Case, Connection, Answer)> = Vec::new();
        let mut started = 0;
        for (position, case) in cases.iter().enumerate() {
            // Streams that had been opened by this time.
            let now = revision(address) - replay.offset;
            for (other, waiting) in cases.iter().enumerate().skip(started).filter(|(_, other)| other.background) {
                let due = other < position || opened_at(&waiting.answer).is_some_and(|at| at <= now);
                if waiting.command.contains("$H/v3/watch") && due {
                    if let Some(request) = request(&replay.translate(&waiting.command)) {
                        let mut connection = request.open(address);
                        let (status, headers) = connection.head();
                        open.push((waiting, connection, Answer { status, headers, body: Vec::new() }));
                    }
                    started = other + 1;
                }
            }
            if case.background {
                continue;
            }
            let Some(request) = request(&replay.translate(&case.command)) else {
                println!("left out: {file}: {}", case.command.lines().next().unwrap_or_default());
                continue;
            };
            let ours = request.ask(address);
            if case.setup {
                continue;
            }
            compared += 1;
            failures.extend(replay.compare(case, &file, &ours).err());
        }
        if file == "41-txn-errors" {
            // Of two requests in one operation etcd took the second.
            catch_up(address, "a", 26 + replay.offset);
        }
        for (case, mut connection, mut ours) in open {
            connection.patience(Duration::from_millis(300));
            while let Some(chunk) = connection.try_chunk().filter(|chunk| !chunk.is_empty()) {
                ours.body.extend(chunk);
            }
            compared += 1;
            failures.extend(replay.compare(case, &file, &ours).err());
        }
    }
    println!("{compared} answers compared");
    assert!(failures.is_empty(), "{} of {compared} differ:\n{}", failures.len(), failures.join("\n"));
    assert!(compared > 250, "only {compared}");
}
