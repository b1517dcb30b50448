//! The path as it was sent. APISIX finds routes by the path that nginx made of it, which is decoded, has its slashes
//! merged and its dots resolved. Envoy looks at the path as it was sent, but for what its connection manager is told to
//! normalise. So a route also asks for the sent path, where that is what Envoy would look at; where Envoy changes it
//! too, nginx's form stands for Envoy's.

use crate::apisix::Expr;
use crate::apisix::expr::{self, Op};

/// The variable that holds the target of a request as it was sent, with its query.
const SENT: &str = "real_request_uri";

/// What a path without its query consists of.
const UP_TO_QUERY: &str = "[^?#]*";

/// What Envoy changes in a path before it looks for a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Normalisation {
    /// Letters, digits and `-._~` are decoded, dots resolved, backslashes are slashes.
    pub(super) normalised: bool,
    /// Several slashes are one.
    pub(super) merged: bool,
    /// Encoded slashes are slashes.
    pub(super) unescaped: bool,
}

impl Normalisation {
    /// A regular expression for a place in a path at which Envoy changes something; empty if it never does.
    fn pattern(self) -> String {
        let normalised = [r"(?i:%(?:2[DE]|3\d|[46][1-9A-F]|[57][\dA]|5F|7E))", r"\\", r"/\.\.?(?:[/?#]|\z)"];
        let mut places = Vec::new();
        places.extend(self.normalised.then_some(normalised).into_iter().flatten());
        places.extend(self.merged.then_some("//"));
        places.extend(self.unescaped.then_some("%(?:2[Ff]|5[Cc])"));
        places.join("|")
    }

    /// What to say of paths that are not decided as Envoy does it, if it is to be said at all.
    pub(super) fn remark(self) -> Option<(&'static str, &'static str)> {
        let (field, effect) = match self {
            Self { normalised: true, merged: true, .. } => return None,
            Self { normalised: false, .. } => (
                "normalize_path",
                "a path with dots in it that lead elsewhere is looked for at the place to which they lead",
            ),
            Self { merged: false, .. } => {
                ("merge_slashes", "a path with several slashes is looked for at the place that it has with one")
            }
        };
        Some((field, effect))
    }
}

/// What a route asks of the path as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sent {
    /// Nothing.
    Any,
    /// To begin with what a regular expression matches, beside what is asked of the path in nginx's form.
    Begins(String),
    /// To be, up to its query, what a regular expression of the configuration matches.
    Is(String),
}

impl Sent {
    /// The path `text`, or those that begin so.
    pub(super) fn literal(text: &str, prefix: bool, any_case: bool) -> Self {
        match (text, prefix) {
            ("/", true) => Self::Any,
            _ => Self::ending(text, if prefix { "" } else { r"(?:[?#]|\z)" }, any_case),
        }
    }

    /// The path `text`, or those below of it.
    pub(super) fn separated(text: &str, any_case: bool) -> Self {
        Self::ending(text, r"(?:[/?#]|\z)", any_case)
    }

    fn ending(text: &str, end: &str, any_case: bool) -> Self {
        let text = expr::literal(text);
        Self::Begins(if any_case { format!("(?i:{text}){end}") } else { format!("{text}{end}") })
    }

    /// The conditions on the path: `normal` is the one on nginx's form of it. Where it is not known what Envoy would do
    /// to it, that one is all.
    pub(super) fn conditions(&self, normal: Option<&Expr>, normalisation: Option<Normalisation>) -> Vec<Expr> {
        let only = || normal.cloned().into_iter().collect();
        let Some(changed) = normalisation.map(Normalisation::pattern) else { return only() };
        match self {
            Self::Any => only(),
            Self::Begins(pattern) => {
                let pattern = match changed.as_str() {
                    "" => format!("^{pattern}"),
                    changed => format!("^(?:{pattern}|{UP_TO_QUERY}(?:{changed}))"),
                };
                normal.cloned().into_iter().chain([Expr::is(SENT, Op::Matches, pattern)]).collect()
            }
            Self::Is(regex) => {
                // The first group is what follows the path, so that the expression matches just the path.
                let path = format!(r"(?={UP_TO_QUERY}(.*)\z)(?:{regex})(?=\1\z)");
                if changed.is_empty() {
                    return vec![Expr::is(SENT, Op::Matches, expr::pattern(&format!("^{path}")))];
                }
                let as_sent = format!("^(?!{UP_TO_QUERY}(?:{changed})){path}");
                let elsewhere = Expr::is(SENT, Op::Matches, format!("^{UP_TO_QUERY}(?:{changed})"));
                let elsewhere = std::iter::once(elsewhere).chain(normal.cloned()).collect();
                let as_sent = Expr::is(SENT, Op::Matches, expr::pattern(&as_sent));
                vec![Expr::Any(vec![as_sent, Expr::All(elsewhere)])]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apisix::matching::{self, Request};

    /// Whether APISIX takes the target for a route at `place` that asks this.
    fn takes(sent: &Sent, place: &str, normal: Option<&Expr>, changes: Normalisation, target: &str) -> bool {
        let vars = Expr::vars(&sent.conditions(normal, Some(changes)));
        let routes = [("r".to_owned(), json!({"uris": [place], "vars": vars}))];
        let request = Request { method: "GET".into(), host: "a".into(), target: target.into(), ..Request::default() };
        matching::choose(&routes, &request).is_some()
    }

    const NONE: Normalisation = Normalisation { normalised: false, merged: false, unescaped: false };
    const ISTIO: Normalisation = Normalisation { normalised: true, merged: false, unescaped: false };
    const FULL: Normalisation = Normalisation { normalised: true, merged: true, unescaped: false };

    #[test]
    fn a_literal_is_looked_for_in_what_envoy_looks_at() {
        // By what is sent: whether it is taken without changes, with Istio's, with all but unescaping.
        let cases = [
            ("/a/b", [true, true, true]),
            ("/a/b?q=//%2F", [true, true, true]),
            ("/a/b%20c", [true, true, true]),
            ("//a/b", [false, false, true]),
            ("/a//b", [false, false, true]),
            ("/%61/b", [false, true, true]),
            ("/a%2Fb", [false, false, false]),
            ("/a/./b", [false, true, true]),
            ("/x/../a/b", [false, true, true]),
            ("/a/b/..%2Fx", [false, false, false]),
            ("/ab", [false, false, false]),
        ];
        let sent = Sent::literal("/a/b", true, false);
        for (target, expected) in cases {
            let taken = [NONE, ISTIO, FULL].map(|changes| takes(&sent, "/a/b*", None, changes, target));
            assert_eq!(taken, expected, "{target}");
        }
    }

    #[test]
    fn an_exact_path_ends_where_its_query_begins() {
        let sent = Sent::literal("/a", false, false);
        let taken = |target| takes(&sent, "/a", None, NONE, target);
        assert!(taken("/a") && taken("/a?x") && taken("/a?"));
        assert!(!taken("/%61") && !taken("//a"));
        let below = Sent::separated("/a", true);
        let normal = Expr::is("uri", Op::MatchesAnyCase, "^/a");
        assert!(takes(&below, "/*", Some(&normal), NONE, "/A/b") && !takes(&below, "/*", Some(&normal), NONE, "/ab"));
    }

    #[test]
    fn the_root_asks_nothing() {
        assert_eq!(Sent::literal("/", true, false).conditions(None, Some(ISTIO)), vec![]);
    }
}
