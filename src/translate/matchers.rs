//! Matchers of text, headers and query parameters, as conditions.

use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::{HeaderMatcher, QueryParameterMatcher};
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use regex::Regex;
use serde_json::Value;

use crate::apisix::Expr;
use crate::apisix::expr::{self, Op};

/// What a text must be.
#[derive(Clone, Debug)]
pub(super) enum Text {
    Exact(String),
    /// A regular expression in PCRE's form for APISIX, and one to try here.
    Pattern {
        pcre: String,
        any_case: bool,
        here: Regex,
    },
}

impl Text {
    /// Reads a matcher. The error says why it cannot be expressed.
    pub(super) fn take(matcher: &StringMatcher) -> Result<Self, String> {
        let any_case = matcher.ignore_case;
        let pattern = matcher.match_pattern.as_ref().ok_or("a matcher of text without a pattern")?;
        match pattern {
            MatchPattern::Exact(text) if !any_case => Ok(Self::Exact(text.clone())),
            MatchPattern::Exact(text) => Self::like(text, "^", "\\z", any_case),
            MatchPattern::Prefix(text) => Self::like(text, "^", "", any_case),
            MatchPattern::Suffix(text) => Self::like(text, "", "\\z", any_case),
            MatchPattern::Contains(text) => Self::like(text, "", "", any_case),
            MatchPattern::SafeRegex(regex) => Self::regex(&regex.regex),
            MatchPattern::Custom(_) => Err("a matcher of text that is an extension".into()),
        }
    }

    /// A text with a literal between these anchors.
    pub(super) fn like(text: &str, before: &str, after: &str, any_case: bool) -> Result<Self, String> {
        let literal = expr::literal(text);
        let flags = if any_case { "(?i)" } else { "" };
        let here = after.replace("\\z", "$");
        let here = Regex::new(&format!("{flags}{before}{literal}{here}")).map_err(|error| error.to_string())?;
        Ok(Self::Pattern { pcre: expr::pattern(&format!("{before}{literal}{after}")), any_case, here })
    }

    /// A regular expression that the whole text must match.
    pub(super) fn regex(regex: &str) -> Result<Self, String> {
        let pcre = full_match(regex)?;
        let here = Regex::new(&format!("^(?:{regex})$")).map_err(|error| error.to_string())?;
        Ok(Self::Pattern { pcre, any_case: false, here })
    }

    /// The condition on a variable; false for one that is absent.
    pub(super) fn of(&self, var: &str) -> Expr {
        match self {
            Self::Exact(text) => Expr::is(var, Op::Eq, text.clone()),
            Self::Pattern { pcre, any_case, .. } => {
                let op = if *any_case { Op::MatchesAnyCase } else { Op::Matches };
                Expr::is(var, op, pcre.clone())
            }
        }
    }

    /// Whether the empty text is such a text.
    pub(super) fn takes_empty(&self) -> bool {
        match self {
            Self::Exact(text) => text.is_empty(),
            Self::Pattern { here, .. } => here.is_match(""),
        }
    }
}

/// A regular expression that must match a whole text, in PCRE's form. Envoy's are RE2's, which are checked by a close
/// relative, as APISIX takes an invalid one for one that never matches.
pub(super) fn full_match(regex: &str) -> Result<String, String> {
    Regex::new(regex).map_err(|error| {
        let last = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
        format!("the regular expression {regex:?} is not valid: {last}")
    })?;
    Ok(expr::pattern(&format!("^(?:{regex})\\z")))
}

/// What a header asks of a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Header {
    /// One of these methods.
    Methods(Vec<String>),
    /// A condition.
    Condition(Expr),
}

/// Reads a matcher of a header. The error says why it cannot be expressed.
pub(super) fn header(matcher: &HeaderMatcher) -> Result<Header, String> {
    let name = matcher.name.to_ascii_lowercase();
    let var = match name.as_str() {
        ":method" => "request_method".to_owned(),
        ":authority" | "host" => "http_host".to_owned(),
        ":path" => "real_request_uri".to_owned(),
        ":scheme" => "scheme".to_owned(),
        _ if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') && !name.is_empty() => {
            format!("http_{}", name.replace('-', "_"))
        }
        _ => return Err(format!("APISIX does not see a header named {name:?}")),
    };
    let test = test(matcher, &var)?;
    if let (":method", false, Test::Text(Text::Exact(method))) = (name.as_str(), matcher.invert_match, &test)
        && crate::apisix::schema::METHODS.contains(&method.as_str())
    {
        return Ok(Header::Methods(vec![method.clone()]));
    }
    Ok(Header::Condition(condition(matcher, &var, test)))
}

/// What the value of a header must be.
enum Test {
    Text(Text),
    Range { start: i64, end: i64 },
    Present(bool),
}

fn test(matcher: &HeaderMatcher, var: &str) -> Result<Test, String> {
    #[expect(deprecated, reason = "control planes still send them")]
    Ok(match matcher.header_match_specifier.as_ref() {
        None => Test::Present(true),
        Some(HeaderMatchSpecifier::PresentMatch(present)) => Test::Present(*present),
        Some(HeaderMatchSpecifier::StringMatch(matcher)) => Test::Text(Text::take(matcher)?),
        Some(HeaderMatchSpecifier::ExactMatch(text)) => Test::Text(Text::Exact(text.clone())),
        Some(HeaderMatchSpecifier::PrefixMatch(text)) => Test::Text(Text::like(text, "^", "", false)?),
        Some(HeaderMatchSpecifier::SuffixMatch(text)) => Test::Text(Text::like(text, "", "\\z", false)?),
        Some(HeaderMatchSpecifier::ContainsMatch(text)) => Test::Text(Text::like(text, "", "", false)?),
        Some(HeaderMatchSpecifier::SafeRegexMatch(regex)) => Test::Text(Text::regex(&regex.regex)?),
        Some(HeaderMatchSpecifier::RangeMatch(range)) => {
            // Beyond 2^53 APISIX's numbers lose digits.
            let exact = |number: i64| number.unsigned_abs() <= 1 << 53;
            if !exact(range.start) || !exact(range.end) {
                return Err(format!("numbers as large as in the range of {var}"));
            }
            Test::Range { start: range.start, end: range.end }
        }
    })
}

fn condition(matcher: &HeaderMatcher, var: &str, test: Test) -> Expr {
    // Inverted or not, a header that is absent does not match, unless it is to be taken as empty.
    let (positive, empty) = match test {
        Test::Present(present) => {
            let present = present != matcher.invert_match;
            return if present { Expr::present(var) } else { Expr::absent(var) };
        }
        Test::Text(text) => (text.of(var), text.takes_empty()),
        Test::Range { start, end } => {
            let digits = Expr::is(var, Op::Matches, expr::pattern("^[+-]?[0-9]+\\z"));
            let range = [Expr::is(var, Op::Ge, start), Expr::is(var, Op::Lt, end)];
            (Expr::All(std::iter::once(digits).chain(range).collect()), false)
        }
    };
    let absent_matches = matcher.treat_missing_header_as_empty && empty != matcher.invert_match;
    match (matcher.invert_match, absent_matches) {
        (false, false) => positive,
        (false, true) => Expr::Any(vec![Expr::absent(var), positive]),
        (true, true) => positive.negated(),
        (true, false) => Expr::All(vec![Expr::present(var), positive.negated()]),
    }
}

/// Reads a matcher of a query parameter. The error says why it cannot be expressed.
pub(super) fn query(matcher: &QueryParameterMatcher) -> Result<Expr, String> {
    if matcher.name.is_empty() {
        return Err("a query parameter without a name".into());
    }
    let var = format!("arg_{}", matcher.name);
    match matcher.query_parameter_match_specifier.as_ref() {
        None | Some(QueryParameterMatchSpecifier::PresentMatch(true)) => Ok(Expr::present(var)),
        Some(QueryParameterMatchSpecifier::PresentMatch(false)) => Ok(Expr::absent(var)),
        Some(QueryParameterMatchSpecifier::StringMatch(matcher)) => {
            let text = Text::take(matcher)?;
            // A parameter without `=` is true to APISIX, and the empty text to Envoy.
            let bare = Expr::is(var.as_str(), Op::Eq, Value::Bool(true));
            Ok(match (&text, text.takes_empty()) {
                (Text::Exact(_), false) => text.of(&var),
                (Text::Pattern { .. }, false) => Expr::All(vec![bare.negated(), text.of(&var)]),
                (_, true) => Expr::Any(vec![bare, text.of(&var)]),
            })
        }
    }
}
