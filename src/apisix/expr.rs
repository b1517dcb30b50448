//! Conditions of a route: the `vars` of APISIX, as a type that can only express what APISIX evaluates as meant.
//!
//! APISIX's checker throws on a nested table where it expects an operator, which stops all updates of the instance,
//! and rejects the route for an AND or OR with one operand. Neither can be built here.

use serde_json::{Value, json};

/// A condition on a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A comparison of a variable.
    Is {
        /// The variable, such as `http_x_user`.
        var: String,
        /// Whether the outcome is inverted, for an absent variable too.
        not: bool,
        /// The operator.
        op: Op,
        /// What the variable is compared with.
        value: Value,
    },
    /// All hold; true if there are none.
    All(Vec<Self>),
    /// At least one holds; false if there are none.
    Any(Vec<Self>),
    /// Not all hold.
    NotAll(Vec<Self>),
}

/// An operator of APISIX's expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Equal, by type and value.
    Eq,
    /// Not equal.
    Ne,
    /// At least, as numbers.
    Ge,
    /// Below, as numbers.
    Lt,
    /// A PCRE search finds something.
    Matches,
    /// As `Matches`, without regard to case.
    MatchesAnyCase,
    /// One of a list.
    In,
    /// An address in one of a list of networks.
    IpMatch,
}

impl Op {
    /// As APISIX writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::Ne => "~=",
            Self::Ge => ">=",
            Self::Lt => "<",
            Self::Matches => "~~",
            Self::MatchesAnyCase => "~*",
            Self::In => "in",
            Self::IpMatch => "ipmatch",
        }
    }
}

impl Expr {
    /// `var op value`.
    pub fn is(var: impl Into<String>, op: Op, value: impl Into<Value>) -> Self {
        Self::Is { var: var.into(), not: false, op, value: value.into() }
    }

    /// The variable is there, be it empty.
    pub fn present(var: impl Into<String>) -> Self {
        Self::is(var, Op::Ne, Value::Null)
    }

    /// The variable is not there.
    pub fn absent(var: impl Into<String>) -> Self {
        Self::is(var, Op::Eq, Value::Null)
    }

    /// A condition that never holds: every request has a method.
    pub fn never() -> Self {
        Self::absent("request_method")
    }

    /// The opposite.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::Is { var, not, op, value } => Self::Is { var, not: !not, op, value },
            Self::All(exprs) => match exprs.len() {
                0 => Self::never(),
                1 => exprs.into_iter().next().map_or_else(Self::never, Self::negated),
                _ => Self::NotAll(exprs),
            },
            Self::Any(exprs) => Self::All(exprs.into_iter().map(Self::negated).collect()),
            Self::NotAll(exprs) => Self::All(exprs),
        }
    }

    /// Whether it depends on a variable for which this holds.
    pub fn looks_at(&self, is: &impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Is { var, .. } => is(var),
            Self::All(exprs) | Self::Any(exprs) | Self::NotAll(exprs) => exprs.iter().any(|expr| expr.looks_at(is)),
        }
    }

    /// The `vars` of a route on which all of `exprs` must hold.
    pub fn vars(exprs: &[Self]) -> Value {
        let flat = exprs.iter().flat_map(|expr| match expr {
            Self::All(inner) => inner.as_slice(),
            other => std::slice::from_ref(other),
        });
        flat.map(Self::to_json).collect()
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Is { var, not: false, op, value } => json!([var, op.as_str(), value]),
            Self::Is { var, not: true, op, value } => json!([var, "!", op.as_str(), value]),
            Self::All(exprs) => list("AND", exprs, || Self::present("request_method")),
            Self::Any(exprs) => list("OR", exprs, Self::never),
            Self::NotAll(exprs) if exprs.len() < 2 => Self::All(exprs.clone()).negated().to_json(),
            Self::NotAll(exprs) => list("!AND", exprs, Self::never),
        }
    }
}

/// A list of operands, which has at least two of them.
fn list(operator: &str, exprs: &[Expr], none: fn() -> Expr) -> Value {
    match exprs {
        [] => none().to_json(),
        [only] => only.to_json(),
        _ => std::iter::once(json!(operator)).chain(exprs.iter().map(Expr::to_json)).collect(),
    }
}

/// Text that a regular expression matches literally.
pub fn literal(text: &str) -> String {
    regex::escape(text)
}

/// A regular expression in the form that comes closest to RE2: by characters rather than bytes.
pub fn pattern(expression: &str) -> String {
    format!("(*UTF){expression}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_builds_what_apisix_cannot_take() {
        let a = || Expr::is("arg_a", Op::Eq, "1");
        let b = || Expr::present("arg_b");
        let check = |expr: Expr, expected: Value| assert_eq!(Expr::vars(&[expr]), expected);
        check(a(), json!([["arg_a", "==", "1"]]));
        check(a().negated(), json!([["arg_a", "!", "==", "1"]]));
        check(Expr::All(vec![a(), b()]), json!([["arg_a", "==", "1"], ["arg_b", "~=", null]]));
        check(Expr::Any(vec![a()]), json!([["arg_a", "==", "1"]]));
        check(Expr::Any(vec![a(), b()]), json!([["OR", ["arg_a", "==", "1"], ["arg_b", "~=", null]]]));
        check(Expr::Any(vec![]), json!([["request_method", "==", null]]));
        check(Expr::All(vec![]), json!([]));
        check(Expr::All(vec![a(), b()]).negated(), json!([["!AND", ["arg_a", "==", "1"], ["arg_b", "~=", null]]]));
        check(Expr::All(vec![a()]).negated(), json!([["arg_a", "!", "==", "1"]]));
        check(Expr::Any(vec![a(), b()]).negated(), json!([["arg_a", "!", "==", "1"], ["arg_b", "!", "~=", null]]));
        check(Expr::NotAll(vec![a()]), json!([["arg_a", "!", "==", "1"]]));
        let nested = Expr::Any(vec![Expr::All(vec![a()]), Expr::All(vec![a(), b()])]);
        let expected = json!([["OR", ["arg_a", "==", "1"], ["AND", ["arg_a", "==", "1"], ["arg_b", "~=", null]]]]);
        check(nested, expected);
    }
}
