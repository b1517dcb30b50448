//! Conditions for security: where APISIX may err, it errs to the side that is named.
//!
//! A regular expression that APISIX cannot evaluate (on bytes that are no UTF-8, or beyond its backtracking limit) is
//! false to it, and true when inverted. What lets requests pass must not be true by accident, and what stops them must
//! not be false by accident.

use crate::apisix::Expr;
use crate::apisix::expr::Op;

/// Which way a condition may differ from what is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::translate) enum Bound {
    /// It holds for no request for which the meant one does not: for what lets requests pass.
    Lower,
    /// It holds for every request for which the meant one does: for what stops requests.
    Upper,
}

impl Bound {
    /// The bound of what is to be inverted.
    pub(in crate::translate) fn inverted(self) -> Self {
        match self {
            Self::Lower => Self::Upper,
            Self::Upper => Self::Lower,
        }
    }

    /// What stands for a condition that cannot be expressed.
    pub(in crate::translate) fn unknown(self) -> Expr {
        match self {
            Self::Lower => none(),
            Self::Upper => every(),
        }
    }
}

/// Holds for every request.
pub(in crate::translate) fn every() -> Expr {
    Expr::All(Vec::new())
}

/// Holds for no request.
pub(in crate::translate) fn none() -> Expr {
    Expr::Any(Vec::new())
}

/// All of them hold.
pub(in crate::translate) fn all(exprs: impl IntoIterator<Item = Expr>) -> Expr {
    let exprs: Vec<_> = exprs.into_iter().filter(|expr| *expr != every()).collect();
    if exprs.contains(&none()) {
        return none();
    }
    match <[Expr; 1]>::try_from(exprs) {
        Ok([only]) => only,
        Err(exprs) => Expr::All(exprs),
    }
}

/// At least one of them holds.
pub(in crate::translate) fn any(exprs: impl IntoIterator<Item = Expr>) -> Expr {
    let exprs: Vec<_> = exprs.into_iter().filter(|expr| *expr != none()).collect();
    if exprs.contains(&every()) {
        return every();
    }
    match <[Expr; 1]>::try_from(exprs) {
        Ok([only]) => only,
        Err(exprs) => Expr::Any(exprs),
    }
}

/// The opposite.
pub(in crate::translate) fn not(expr: Expr) -> Expr {
    if expr == every() {
        none()
    } else if expr == none() {
        every()
    } else {
        expr.negated()
    }
}

/// A condition that errs to the side of `bound`, from one that is right where APISIX makes no error.
pub(in crate::translate) fn harden(expr: Expr, bound: Bound) -> Expr {
    match expr {
        Expr::All(exprs) => all(exprs.into_iter().map(|expr| harden(expr, bound))),
        Expr::Any(exprs) => any(exprs.into_iter().map(|expr| harden(expr, bound))),
        Expr::NotAll(exprs) => any(exprs.into_iter().map(|expr| harden(expr.negated(), bound))),
        Expr::Is { var, not: inverted, op, value } => leaf(var, inverted, op, value, bound),
    }
}

fn leaf(var: String, inverted: bool, op: Op, value: serde_json::Value, bound: Bound) -> Expr {
    let regex = matches!(op, Op::Matches | Op::MatchesAnyCase);
    // APISIX joins repeated headers in another way than Envoy.
    let list = op == Op::Eq && var.starts_with("http_") && value.as_str().is_some_and(|text| text.contains(','));
    let harmful = inverted == (bound == Bound::Lower);
    if !harmful || !(regex || list) {
        return Expr::Is { var, not: inverted, op, value };
    }
    let pattern = match value.as_str() {
        Some(text) if list => format!("(*UTF)^{}\\z", crate::apisix::expr::literal(text).replace(',', ",[ ]?")),
        Some(text) => text.to_owned(),
        None => return bound.unknown(),
    };
    // Within these bounds no backtracking reaches APISIX's limit.
    let sane = match unbounded_repetitions(&pattern) {
        Some(0 | 1) => "(*UTF)",
        Some(2) => "(*UTF)(?s)^.{0,1024}\\z",
        _ => return bound.unknown(),
    };
    let op = if list { Op::Matches } else { op };
    let matches = Expr::Is { var: var.clone(), not: inverted, op, value: pattern.into() };
    let evaluated = Expr::is(var.clone(), Op::Matches, sane);
    match bound {
        Bound::Upper => any([matches, all([Expr::present(var), not(evaluated)])]),
        Bound::Lower => all([matches, any([Expr::absent(var), evaluated])]),
    }
}

/// How many parts of a regular expression may repeat without bound. None if one is inside of another.
fn unbounded_repetitions(pattern: &str) -> Option<usize> {
    let pattern = pattern.strip_prefix("(*UTF)").unwrap_or(pattern);
    let (mut count, mut escaped, mut class, mut before) = (0, false, false, ' ');
    for c in pattern.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => class = true,
            ']' => class = false,
            '*' | '+' | '{' if !class => {
                if before == ')' {
                    return None;
                }
                // A second sign after the first only says how to repeat.
                count += usize::from(!matches!(before, '*' | '+' | '}'));
            }
            _ => {}
        }
        before = c;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_of_apisix_stops_requests() {
        let check = |expr: Expr, bound: Bound, expected: serde_json::Value| {
            assert_eq!(Expr::vars(&[harden(expr, bound)]), expected);
        };
        let regex = || Expr::is("http_x", Op::Matches, "(*UTF)^(?:a.*)\\z");
        let plain = json!([["http_x", "~~", "(*UTF)^(?:a.*)\\z"]]);
        let valid = json!(["http_x", "~~", "(*UTF)"]);
        check(regex(), Bound::Lower, plain);
        let invalid = json!(["AND", ["http_x", "~=", null], ["http_x", "!", "~~", "(*UTF)"]]);
        check(regex(), Bound::Upper, json!([["OR", ["http_x", "~~", "(*UTF)^(?:a.*)\\z"], invalid]]));
        let guarded = json!([["http_x", "!", "~~", "(*UTF)^(?:a.*)\\z"], ["OR", ["http_x", "==", null], valid],]);
        check(regex().negated(), Bound::Lower, guarded);
        let explosive = || Expr::is("http_x", Op::Matches, "(*UTF)^(?:(a+)+)\\z");
        assert_eq!(harden(explosive(), Bound::Upper), every());
        assert_eq!(harden(explosive().negated(), Bound::Lower), none());
        check(Expr::is("http_x", Op::Eq, "a"), Bound::Upper, json!([["http_x", "==", "a"]]));
    }

    #[test]
    fn constants_fold() {
        let x = || Expr::present("x");
        assert_eq!(all([every(), x()]), x());
        assert_eq!(all([none(), x()]), none());
        assert_eq!(any([none(), x()]), x());
        assert_eq!(any([every(), x()]), every());
        assert_eq!(not(not(every())), every());
        assert_eq!(all([]), every());
        assert_eq!(any([]), none());
    }
}
