//! Where a route begins in APISIX's tree of paths, and what else must hold of the path.

mod template;

use envoy_types::pb::envoy::config::route::v3::RouteMatch;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;

use super::raw_path::Sent;
use crate::apisix::Expr;
use crate::apisix::expr::{self, Op};
use crate::envoy::any;

/// A place in APISIX's tree of paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Uri {
    /// This path.
    Exact(String),
    /// Every path that begins so.
    Prefix(String),
}

impl Uri {
    /// As a route names it.
    pub(super) fn pattern(&self) -> String {
        match self {
            Self::Exact(path) => path.clone(),
            Self::Prefix(prefix) => format!("{prefix}*"),
        }
    }

    /// Whether every path of `other` is one of these.
    pub(super) fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Exact(_), Self::Prefix(_)) => false,
            (Self::Prefix(a), Self::Exact(b) | Self::Prefix(b)) => b.starts_with(a.as_str()),
        }
    }

    /// The same as a condition on the path in nginx's form.
    pub(super) fn condition(&self) -> Expr {
        match self {
            Self::Exact(path) => Expr::is("uri", Op::Eq, path.clone()),
            // By bytes, as places are.
            Self::Prefix(prefix) => Expr::is("uri", Op::Matches, format!("^{}", expr::literal(prefix))),
        }
    }

    /// Every path.
    pub(super) fn all() -> Self {
        Self::Prefix("/".into())
    }
}

/// What a route asks of the path.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path {
    /// The places at which the route is tried.
    pub(super) uris: Vec<Uri>,
    /// What must hold besides of the path in nginx's form.
    pub(super) condition: Option<Expr>,
    /// What must hold of the path as it was sent.
    pub(super) sent: Sent,
    /// A regular expression for what a rewrite of the prefix replaces.
    pub(super) matched: String,
}

impl Path {
    fn at(uri: Uri, sent: Sent) -> Self {
        let matched = match &uri {
            Uri::Exact(path) | Uri::Prefix(path) => format!("^{}", expr::literal(path)),
        };
        Self { uris: vec![uri], condition: None, sent, matched }
    }

    fn by(condition: Expr, sent: Sent, matched: String) -> Self {
        Self { uris: vec![Uri::all()], condition: Some(condition), sent, matched }
    }

    /// A place at which all is refused.
    fn refused(uri: Uri) -> Self {
        Self::at(uri, Sent::Any)
    }
}

/// What can be made of the path of a match.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    /// Just this.
    Path(Path),
    /// No request has such a path.
    Never,
    /// APISIX cannot tell such paths, for this reason; what it can tell of them is no less.
    Refused(String, Path),
}

/// Reads the path of a match.
pub(super) fn take(found: &RouteMatch) -> Taken {
    let any_case = found.case_sensitive.is_some_and(|sensitive| !sensitive.value);
    match found.path_specifier.as_ref() {
        Some(PathSpecifier::Prefix(prefix)) => literal(prefix, true, any_case),
        Some(PathSpecifier::Path(path)) => literal(path, false, any_case),
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => separated(prefix, any_case),
        Some(PathSpecifier::SafeRegex(regex)) => matched(&regex.regex),
        Some(PathSpecifier::PathMatchPolicy(policy)) => {
            let template = policy.typed_config.as_ref().and_then(any::unpack::<UriTemplateMatchConfig>);
            match template.map(|config| template::regex(&config.path_template)) {
                Some(Ok(regex)) => matched(&regex),
                Some(Err(reason)) => Taken::Refused(reason, Path::refused(Uri::all())),
                None => Taken::Refused("a matcher of paths that is an extension".into(), Path::refused(Uri::all())),
            }
        }
        // APISIX answers CONNECT by itself, before it looks at routes.
        Some(PathSpecifier::ConnectMatcher(_)) | None => Taken::Never,
    }
}

/// A path that a regular expression matches as a whole.
fn matched(regex: &str) -> Taken {
    match super::matchers::full_match(regex) {
        Ok(normal) => {
            let normal = Expr::is("uri", Op::Matches, normal);
            Taken::Path(Path::by(normal, Sent::Is(regex.to_owned()), "^.*".into()))
        }
        Err(reason) => Taken::Refused(reason, Path::refused(Uri::all())),
    }
}

fn separated(prefix: &str, any_case: bool) -> Taken {
    match (literal(prefix, false, any_case), literal(&format!("{prefix}/"), true, any_case)) {
        (Taken::Path(exact), Taken::Path(below)) => {
            let condition = match (exact.condition, below.condition) {
                (Some(exact), Some(below)) => Some(Expr::Any(vec![exact, below])),
                _ => None,
            };
            let mut uris = exact.uris;
            uris.extend(below.uris.into_iter().filter(|uri| *uri != Uri::all() || condition.is_none()));
            let sent = Sent::separated(prefix, any_case);
            Taken::Path(Path { uris, condition, sent, matched: exact.matched })
        }
        (Taken::Refused(reason, _), _) => Taken::Refused(reason, Path::refused(Uri::Prefix(normalised(prefix)))),
        _ => Taken::Never,
    }
}

fn literal(text: &str, prefix: bool, any_case: bool) -> Taken {
    let text = if text.is_empty() && prefix { "/" } else { text };
    if !text.starts_with('/') {
        return Taken::Never;
    }
    let at = |path: String| if prefix { Uri::Prefix(path) } else { Uri::Exact(path) };
    let normal = normalised(text);
    if normal != text {
        // It would never be found as it is, and written in that form would find other paths as well.
        let reason = format!("APISIX decodes and normalises paths such as {text:?} before it looks at them");
        let place = if any_case || normal.contains('*') { Uri::all() } else { at(normal) };
        return Taken::Refused(reason, Path::refused(place));
    }
    let anchored = |end: &str| expr::pattern(&format!("^{}{end}", expr::literal(text)));
    let end = if prefix { "" } else { "\\z" };
    let sent = Sent::literal(text, prefix, any_case);
    if any_case && text.contains(|c: char| c.is_alphabetic()) {
        let condition = Expr::is("uri", Op::MatchesAnyCase, anchored(end));
        return Taken::Path(Path::by(condition, sent, format!("(?i)^{}", expr::literal(text))));
    }
    if text.contains('*') {
        // A star in a path is a wildcard to APISIX.
        let condition =
            if prefix { Expr::is("uri", Op::Matches, anchored(end)) } else { Expr::is("uri", Op::Eq, text.to_owned()) };
        return Taken::Path(Path::by(condition, sent, format!("^{}", expr::literal(text))));
    }
    Taken::Path(Path::at(at(text.to_owned()), sent))
}

/// A path as APISIX sees it: decoded once, slashes merged, dots resolved.
fn normalised(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (first, hex(0), hex(1)) {
            bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    let decoded = String::from_utf8_lossy(&bytes).into_owned();
    let mut segments: Vec<&str> = Vec::new();
    let all: Vec<_> = decoded.split('/').skip(1).collect();
    for (position, segment) in all.iter().enumerate() {
        let last = position + 1 == all.len();
        match *segment {
            "" | "." if !last => {}
            "." => segments.push(""),
            ".." => {
                segments.pop();
                segments.extend(last.then_some(""));
            }
            other => segments.push(other),
        }
    }
    format!("/{}", segments.join("/"))
}
