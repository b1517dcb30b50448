//! Matchers of text, headers and query parameters, as conditions.

use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::{CookieMatcher, HeaderMatcher, QueryParameterMatcher};
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use regex::Regex;

use super::pcre;
use crate::apisix::Expr;
use crate::apisix::expr::{self, Op};

/// What a text must be.
#[derive(Clone, Debug)]
pub(super) struct Text {
    form: Form,
    any_case: bool,
    /// The same, to try here.
    here: Regex,
}

#[derive(Clone, Debug)]
enum Form {
    /// This text, at the beginning, at the end, or both.
    Literal { text: String, begins: bool, ends: bool },
    /// What a regular expression matches.
    Matched(String),
}

impl Text {
    /// Reads a matcher. The error says why it cannot be expressed.
    pub(super) fn take(matcher: &StringMatcher) -> Result<Self, String> {
        let any_case = matcher.ignore_case;
        let pattern = matcher.match_pattern.as_ref().ok_or("a matcher of text without a pattern")?;
        match pattern {
            MatchPattern::Exact(text) => Self::literal(text, true, true, any_case),
            MatchPattern::Prefix(text) => Self::literal(text, true, false, any_case),
            MatchPattern::Suffix(text) => Self::literal(text, false, true, any_case),
            MatchPattern::Contains(text) => Self::literal(text, false, false, any_case),
            MatchPattern::SafeRegex(regex) => Self::regex(&regex.regex),
            MatchPattern::Custom(_) => Err("a matcher of text that is an extension".into()),
        }
    }

    /// A text with this at its beginning, at its end, or both, or anywhere.
    pub(super) fn literal(text: &str, begins: bool, ends: bool, any_case: bool) -> Result<Self, String> {
        let flags = if any_case { "(?i)" } else { "" };
        let here =
            format!("{flags}{}{}{}", if begins { "^" } else { "" }, expr::literal(text), if ends { "$" } else { "" });
        let here = Regex::new(&here).map_err(|error| error.to_string())?;
        Ok(Self { form: Form::Literal { text: text.to_owned(), begins, ends }, any_case, here })
    }

    /// A regular expression that the whole text must match.
    pub(super) fn regex(regex: &str) -> Result<Self, String> {
        full_match(regex)?;
        let here = Regex::new(&format!("^(?:{regex})$")).map_err(|error| error.to_string())?;
        Ok(Self { form: Form::Matched(regex.to_owned()), any_case: false, here })
    }

    /// The condition on a variable; false for one that is absent.
    pub(super) fn of(&self, var: &str) -> Expr {
        let op = if self.any_case { Op::MatchesAnyCase } else { Op::Matches };
        match &self.form {
            Form::Literal { text, begins: true, ends: true } if !self.any_case => Expr::is(var, Op::Eq, text.clone()),
            Form::Literal { text, begins, ends } => {
                let (before, after) = (if *begins { "^" } else { "" }, if *ends { "\\z" } else { "" });
                Expr::is(var, op, expr::pattern(&format!("{before}{}{after}", expr::literal(text))))
            }
            Form::Matched(regex) => Expr::is(var, op, full(regex)),
        }
    }

    /// A regular expression for such a text in the midst of another, where it ends before a character that `inside`
    /// does not match. It holds the first group of the expression that it becomes a part of.
    fn within(&self, inside: &str) -> String {
        match &self.form {
            Form::Literal { text, begins, ends } => {
                let open = |anchored: bool| if anchored { String::new() } else { format!("{inside}*") };
                let flags = if self.any_case { "i" } else { "" };
                format!("{}(?{flags}:{}){}", open(*begins), expr::literal(text), open(*ends))
            }
            // The group is what follows the text, so that the expression matches just the text.
            Form::Matched(regex) => format!(r"(?={inside}*(.*)\z)(?:{regex})(?=\1\z)"),
        }
    }

    /// Whether it matters that characters may be several bytes. Else an expression that goes by bytes is better: what is
    /// no UTF-8 makes one that goes by characters fail.
    fn by_characters(&self) -> bool {
        match &self.form {
            Form::Literal { text, .. } => self.any_case && !text.is_ascii(),
            Form::Matched(_) => true,
        }
    }

    /// Whether the empty text is such a text.
    pub(super) fn takes_empty(&self) -> bool {
        self.here.is_match("")
    }
}

/// Longest regular expression that is passed on, in bytes.
const LONGEST: usize = 8192;

/// A regular expression that must match a whole text, in PCRE's form. Envoy's are RE2's, which are checked by a close
/// relative, as APISIX takes an invalid one, or one that is too large, for one that never matches: always, if inverted.
pub(super) fn full_match(regex: &str) -> Result<String, String> {
    if regex.len() > LONGEST {
        return Err(format!("a regular expression {} bytes long", regex.len()));
    }
    Regex::new(regex).map_err(|error| {
        let last = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
        let (start, more) = regex.char_indices().nth(200).map_or((regex, ""), |(at, _)| (&regex[..at], "…"));
        format!("the regular expression {start:?}{more} is not valid: {last}")
    })?;
    if pcre::is_too_large(regex) {
        return Err("a regular expression that is too large when compiled".into());
    }
    Ok(full(regex))
}

fn full(regex: &str) -> String {
    expr::pattern(&format!("^(?:{regex})\\z"))
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
    if let (":method", false, Test::Text(Text { form, any_case: false, .. })) =
        (name.as_str(), matcher.invert_match, &test)
        && let Form::Literal { text: method, begins: true, ends: true } = form
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
        Some(HeaderMatchSpecifier::ExactMatch(text)) => Test::Text(Text::literal(text, true, true, false)?),
        Some(HeaderMatchSpecifier::PrefixMatch(text)) => Test::Text(Text::literal(text, true, false, false)?),
        Some(HeaderMatchSpecifier::SuffixMatch(text)) => Test::Text(Text::literal(text, false, true, false)?),
        Some(HeaderMatchSpecifier::ContainsMatch(text)) => Test::Text(Text::literal(text, false, false, false)?),
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

/// Reads a matcher of a cookie. The error says why it cannot be expressed.
///
/// Envoy looks at the first cookie of a name, APISIX's variables hold the last one, so that the header is asked.
pub(super) fn cookie(matcher: &CookieMatcher) -> Result<Expr, String> {
    // Names are compared as they are.
    if matcher.name.is_empty() || matcher.name.contains(['=', ';', ' ']) {
        return Err(format!("a cookie named {:?}", matcher.name));
    }
    let text = Text::take(matcher.string_match.as_ref().ok_or("a matcher of a cookie without a text")?)?;
    if let Form::Matched(_) = text.form {
        return Err("a regular expression for a cookie, which may have quotes around it".into());
    }
    let name = expr::literal(&matcher.name);
    // Quotes around a value are no part of it.
    let value = text.within("[^;]");
    let value = format!(r#"(?:"{value}"|(?!"[^;]*"(?:;|\z)){value})"#);
    let pattern = format!("^(?: *(?!{name}=)[^;]*;)* *{name}={value}(?=;|\\z)");
    let pattern = if text.by_characters() { expr::pattern(&pattern) } else { pattern };
    let is = Expr::is("http_cookie", Op::Matches, pattern);
    Ok(if matcher.invert_match { is.negated() } else { is })
}

/// Reads a matcher of a query parameter. The error says why it cannot be expressed.
///
/// Envoy looks at the first parameter of that name as it was sent. APISIX's variables for parameters are decoded, so that
/// the target as it was sent is asked instead.
pub(super) fn query(matcher: &QueryParameterMatcher) -> Result<Expr, String> {
    if matcher.name.is_empty() {
        return Err("a query parameter without a name".into());
    }
    let name = expr::literal(&matcher.name);
    let first = format!(r"^[^?#]*\?(?:(?!{name}(?:[=&#]|\z))[^&#]*&)*{name}");
    let sent = |pattern: String| Expr::is("real_request_uri", Op::Matches, pattern);
    match matcher.query_parameter_match_specifier.as_ref() {
        None | Some(QueryParameterMatchSpecifier::PresentMatch(true)) => Ok(sent(format!(r"{first}(?:[=&#]|\z)"))),
        Some(QueryParameterMatchSpecifier::PresentMatch(false)) => Ok(sent(format!(r"{first}(?:[=&#]|\z)")).negated()),
        Some(QueryParameterMatchSpecifier::StringMatch(matcher)) => {
            let text = Text::take(matcher)?;
            // A parameter without `=` is the empty text.
            let may_be_bare = if text.takes_empty() { "?" } else { "" };
            let pattern = format!(r"{first}(?:={}){may_be_bare}(?=[&#]|\z)", text.within("[^&#]"));
            Ok(sent(if text.by_characters() { expr::pattern(&pattern) } else { pattern }))
        }
    }
}
