//! A request, and what APISIX's variables say of it.

use std::borrow::Cow;

/// A request, as it is on the wire.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The Host header.
    pub host: String,
    /// Path and query, or an address with both.
    pub target: String,
    /// The other headers.
    pub headers: Vec<(String, String)>,
    /// The port that it came to.
    pub port: u16,
    /// Address of the client; 127.0.0.1 if it is empty.
    pub remote: String,
}

/// The value of a variable: text, or true for an argument without a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Var {
    Text(Vec<u8>),
    True,
}

impl Request {
    /// The authority and the rest of the target. An absolute target decides over the Host header (1).
    fn parts(&self) -> (&str, Cow<'_, str>) {
        let Some((_, rest)) = self.target.split_once("://").filter(|_| !self.target.starts_with('/')) else {
            return (&self.host, Cow::Borrowed(&self.target));
        };
        match rest.find('/') {
            Some(slash) => (&rest[..slash], Cow::Borrowed(&rest[slash..])),
            None => (rest, Cow::Owned("/".into())),
        }
    }

    /// Address of the client.
    pub(super) fn remote(&self) -> &str {
        if self.remote.is_empty() { "127.0.0.1" } else { &self.remote }
    }

    /// Host without port and one trailing dot, in lower case (1).
    pub(super) fn bare_host(&self) -> String {
        let host = self.parts().0.to_ascii_lowercase();
        let end = if host.starts_with('[') {
            host.find(']').map_or(host.len(), |end| end + 1)
        } else {
            host.find(':').unwrap_or(host.len())
        };
        let host = &host[..end];
        host.strip_suffix('.').unwrap_or(host).to_owned()
    }

    /// The path as routes are found by it: decoded, slashes merged, dots resolved. None for one that is answered 400 (2).
    pub fn path(&self) -> Option<Vec<u8>> {
        let (_, target) = self.parts();
        let path = target.split(['?', '#']).next().unwrap_or_default();
        if !path.starts_with('/') {
            return None;
        }
        let path = decoded(path, true).filter(|path| !path.contains(&0))?;
        let mut segments: Vec<&[u8]> = Vec::new();
        let all: Vec<_> = path.split(|byte| *byte == b'/').skip(1).collect();
        for (position, segment) in all.iter().enumerate() {
            let last = position + 1 == all.len();
            match *segment {
                b"" | b"." if !last => {}
                b"" | b"." => segments.push(b""),
                b".." => {
                    segments.pop()?;
                    if last {
                        segments.push(b"");
                    }
                }
                other => segments.push(other),
            }
        }
        let mut normal = Vec::new();
        for segment in segments {
            normal.push(b'/');
            normal.extend_from_slice(segment);
        }
        Some(normal)
    }

    /// The query, without its question mark.
    pub(super) fn query(&self) -> Option<&str> {
        let target = self.target.split('#').next().unwrap_or_default();
        target.split_once('?').map(|(_, query)| query)
    }

    /// A variable; none is null (17).
    pub(super) fn variable(&self, name: &str) -> Option<Var> {
        let text = |text: &str| Some(Var::Text(text.as_bytes().to_vec()));
        match name {
            "uri" => self.path().map(Var::Text),
            "request_uri" => {
                let query = self.query().map(|query| format!("?{query}")).unwrap_or_default();
                self.path().map(|path| Var::Text([path, query.into_bytes()].concat()))
            }
            "real_request_uri" => text(self.parts().1.split('#').next().unwrap_or_default()),
            "request_method" | "method" => text(&self.method),
            "host" => text(&self.bare_host()),
            "http_host" => text(&self.host),
            "server_port" => text(&self.port.to_string()),
            "scheme" => text("http"),
            "remote_addr" => text(self.remote()),
            "query_string" | "args" => self.query().map(|query| Var::Text(query.into())),
            _ => {
                if let Some(name) = name.strip_prefix("arg_") {
                    self.argument(name)
                } else if let Some(name) = name.strip_prefix("cookie_") {
                    self.cookie(name)
                } else {
                    self.header(name.strip_prefix("http_")?)
                }
            }
        }
    }

    /// A header; the values of a repeated one are joined, names with `-` and `_` are one (25).
    fn header(&self, name: &str) -> Option<Var> {
        let fold = |name: &str| name.to_ascii_lowercase().replace('-', "_");
        let wanted = fold(name);
        let between = if wanted == "cookie" { "; " } else { ", " };
        let values: Vec<_> =
            self.headers.iter().filter(|(name, _)| fold(name) == wanted).map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| Var::Text(values.join(between).into_bytes()))
    }

    /// The first argument of a name; true if it has no equals sign (24).
    fn argument(&self, name: &str) -> Option<Var> {
        let plain = |text: &str| decoded(&text.replace('+', " "), false).unwrap_or_default();
        self.query()?.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').map_or((pair, None), |(key, value)| (key, Some(value)));
            (plain(key) == name.as_bytes()).then(|| value.map_or(Var::True, |value| Var::Text(plain(value))))
        })
    }

    /// The last cookie of a name (26).
    fn cookie(&self, name: &str) -> Option<Var> {
        let Some(Var::Text(all)) = self.header("cookie") else { return None };
        let all = String::from_utf8_lossy(&all).into_owned();
        let mut values = all.split(';').filter_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then(|| value.to_owned())
        });
        values.next_back().map(|value| Var::Text(value.into_bytes()))
    }
}

/// Text with its escapes resolved. With `strict` none if one of them is none.
fn decoded(text: &str, strict: bool) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut rest = bytes.clone();
        let hex = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match (byte, hex(rest.next()), hex(rest.next())) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                bytes = rest;
            }
            (b'%', ..) if strict => return None,
            _ => out.push(byte),
        }
    }
    Some(out)
}
