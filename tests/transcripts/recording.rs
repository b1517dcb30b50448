//! The recordings: text files of `curl` commands and what came back.

use std::path::Path;

use serde_json::Value;

/// A request and its recorded answer.
#[derive(Debug)]
pub struct Case {
    pub command: String,
    pub setup: bool,
    pub background: bool,
    pub answer: Answer,
}

#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn is_json(&self) -> bool {
        self.header("content-type") == Some("application/json")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The cases of one version in a recording.
pub fn read(path: &Path, version: &str) -> Vec<Case> {
    let text = std::fs::read_to_string(path).expect("a recording").replace('\r', "");
    let start = text.find(&format!("######## etcd {version} ########")).expect("the version is there");
    let section = text[start..].split_once('\n').expect("a line").1;
    let section = section.split("\n######## ").next().unwrap_or_default();
    let mut cases = Vec::new();
    let mut rest = section;
    while let Some(found) = rest.find("$ ") {
        if found > 0 && !rest[..found].ends_with('\n') {
            rest = &rest[found + 2..];
            continue;
        }
        rest = &rest[found + 2..];
        // A command goes on until its quotes are closed.
        let mut end = rest.find('\n').unwrap_or(rest.len());
        while shlex::split(&rest[..end]).is_none() && end < rest.len() {
            end = rest[end + 1..].find('\n').map_or(rest.len(), |more| end + 1 + more);
        }
        let command = &rest[..end];
        rest = &rest[end..];
        let next = rest.find("\n$ ").map_or(rest.len(), |next| next + 1);
        let (setup, background) = (command.starts_with("(setup) "), command.starts_with("(background) "));
        let command = command.trim_start_matches("(setup) ").trim_start_matches("(background) ").to_owned();
        let answer = parse_answer(rest[..next].trim_start_matches('\n'));
        cases.push(Case { command, setup, background, answer });
        rest = &rest[next..];
    }
    cases
}

pub fn parse_answer(text: &str) -> Answer {
    let text = text.strip_prefix("HTTP/1.1 100 Continue\n\n").unwrap_or(text);
    let mut answer = Answer::default();
    let Some((head, body)) = text.split_once("\n\n") else { return answer };
    let mut lines = head.lines();
    answer.status =
        lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok()).unwrap_or(0);
    answer.headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let body = body.split("\n[stderr]").next().unwrap_or_default();
    if answer.header("transfer-encoding").is_some() {
        // The lines with the sizes of chunks stand alone.
        let is_size = |line: &&str| !line.is_empty() && line.len() < 6 && line.chars().all(|c| c.is_ascii_hexdigit());
        let kept: Vec<_> = body.lines().filter(|line| !is_size(line) && !line.is_empty()).collect();
        answer.body = kept.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
    } else {
        let mark = "<no newline at end>";
        let body = match body.find(mark) {
            Some(end) => &body[..end],
            None => body.trim_end_matches('\n'),
        };
        let newline = if text.contains(mark) || body.is_empty() { "" } else { "\n" };
        answer.body = format!("{body}{newline}").into_bytes();
    }
    answer
}

/// The revision of the first message of a recorded stream: when it was opened.
pub fn opened_at(answer: &Answer) -> Option<i64> {
    let message: Value = serde_json::from_str(answer.text().lines().next()?).ok()?;
    message["result"]["header"]["revision"].as_str()?.parse().ok()
}
