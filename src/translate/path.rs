//! Where a route begins in APISIX's tree of paths, and what else must hold of the path.

use envoy_types::pb::envoy::config::route::v3::RouteMatch;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;

use crate::apisix::Expr;
use crate::apisix::expr::{self, Op};

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
    /// What must hold besides.
    pub(super) condition: Option<Expr>,
    /// A regular expression for what a rewrite of the prefix replaces.
    pub(super) matched: String,
}

impl Path {
    fn at(uri: Uri) -> Self {
        let matched = match &uri {
            Uri::Exact(path) | Uri::Prefix(path) => format!("^{}", expr::literal(path)),
        };
        Self { uris: vec![uri], condition: None, matched }
    }

    fn by(condition: Expr, matched: String) -> Self {
        Self { uris: vec![Uri::all()], condition: Some(condition), matched }
    }
}

/// Reads the path of a match. The error says why APISIX cannot tell such paths.
pub(super) fn take(found: &RouteMatch) -> Result<Path, String> {
    let any_case = found.case_sensitive.is_some_and(|sensitive| !sensitive.value);
    match found.path_specifier.as_ref() {
        Some(PathSpecifier::Prefix(prefix)) => literal(prefix, true, any_case),
        Some(PathSpecifier::Path(path)) => literal(path, false, any_case),
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => {
            let exact = literal(prefix, false, any_case)?;
            let below = literal(&format!("{prefix}/"), true, any_case)?;
            let condition = match (exact.condition, below.condition) {
                (Some(exact), Some(below)) => Some(Expr::Any(vec![exact, below])),
                _ => None,
            };
            let mut uris = exact.uris;
            uris.extend(below.uris.into_iter().filter(|uri| *uri != Uri::all() || condition.is_none()));
            Ok(Path { uris, condition, matched: exact.matched })
        }
        Some(PathSpecifier::SafeRegex(regex)) => {
            let regex = super::matchers::full_match(&regex.regex)?;
            Ok(Path::by(Expr::is("uri", Op::Matches, regex), "^.*".into()))
        }
        Some(PathSpecifier::ConnectMatcher(_)) => Err("APISIX does not serve CONNECT".into()),
        Some(PathSpecifier::PathMatchPolicy(_)) => Err("URI templates are not translated".into()),
        None => Err("no path".into()),
    }
}

fn literal(text: &str, prefix: bool, any_case: bool) -> Result<Path, String> {
    let text = if text.is_empty() && prefix { "/" } else { text };
    let path = decoded(text)?;
    let anchored = |end: &str| expr::pattern(&format!("^{}{end}", expr::literal(&path)));
    let end = if prefix { "" } else { "\\z" };
    if any_case && path.contains(|c: char| c.is_alphabetic()) {
        let condition = Expr::is("uri", Op::MatchesAnyCase, anchored(end));
        return Ok(Path::by(condition, format!("(?i)^{}", expr::literal(&path))));
    }
    if path.contains('*') {
        // A star in a path is a wildcard to APISIX.
        let condition =
            if prefix { Expr::is("uri", Op::Matches, anchored(end)) } else { Expr::is("uri", Op::Eq, path.clone()) };
        return Ok(Path::by(condition, format!("^{}", expr::literal(&path))));
    }
    Ok(Path::at(if prefix { Uri::Prefix(path) } else { Uri::Exact(path) }))
}

/// The text as APISIX sees such a path: normalised and decoded. Refuses what does not survive that, as the route
/// would never match, or match other paths.
fn decoded(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("the path {text:?} does not begin with a slash"));
    }
    let dots = text.split('/').any(|segment| segment == "." || segment == "..");
    if text.contains("//") || dots {
        return Err(format!("APISIX resolves double slashes and dots before it looks at a path such as {text:?}"));
    }
    if text.contains('%') {
        return Err(format!("APISIX decodes paths such as {text:?} before it looks at them"));
    }
    Ok(text.to_owned())
}
