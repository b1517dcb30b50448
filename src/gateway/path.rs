//! Paths as they come in requests.

use std::borrow::Cow;

/// What a path is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Clean<'a> {
    /// This path, decoded.
    Path(Cow<'a, str>),
    /// Another path, to which the client is sent: the same without empty segments, as etcd's server does it.
    Elsewhere(String),
}

/// Decodes a path, and sees whether it has a form of its own.
pub fn clean(path: &str) -> Clean<'_> {
    if path == "/v3" || path == "/v3beta" {
        return Clean::Elsewhere(format!("{path}/"));
    }
    if path.contains("//") || path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Clean::Elsewhere(tidy(path));
    }
    if !path.contains('%') {
        return Clean::Path(Cow::Borrowed(path));
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &after[2..] } else { after };
    }
    Clean::Path(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
}

fn tidy(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let path = |path| match clean(path) {
            Clean::Path(path) => path.into_owned(),
            Clean::Elsewhere(path) => format!("-> {path}"),
        };
        assert_eq!(path("/v3/kv/range"), "/v3/kv/range");
        assert_eq!(path("/v3/kv/%72ange"), "/v3/kv/range");
        assert_eq!(path("/v3/kv/%zz%"), "/v3/kv/%zz%");
        assert_eq!(path("//v3/kv/range"), "-> /v3/kv/range");
        assert_eq!(path("/v3/kv//range/"), "-> /v3/kv/range/");
        assert_eq!(path("/v3/../v3/./kv"), "-> /v3/kv");
        assert_eq!(path("/.."), "-> /");
        assert_eq!(path("/v3"), "-> /v3/");
    }
}
