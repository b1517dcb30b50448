//! HTTP filters, one file each: from a filter's configuration to what happens to a request before it goes on.

pub(super) mod api_key;
pub(super) mod bound;
pub(super) mod cors;
pub(super) mod csrf;
pub(super) mod ext_authz;
pub(super) mod fault;
pub(super) mod grpc_web;
pub(super) mod header_mutation;
pub(super) mod health_check;
pub(super) mod jwt;
pub(super) mod limits;
pub(super) mod rbac;
pub(super) mod stateful_session;
pub(super) mod transcoder;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::apisix::Expr;

/// The plugin that checks tokens.
pub(super) const TOKENS: &str = "openid-connect";

/// The plugin that asks a server.
pub(super) const ASKS: &str = "forward-auth";

/// The plugin that makes calls of gRPC of those of gRPC-Web.
pub(super) const WEB: &str = "grpc-web";

/// Whether a name is one of which APISIX makes a variable: letters, digits, dashes and underscores.
fn is_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

/// The variable of a header.
fn header(name: &str) -> String {
    format!("http_{}", name.to_ascii_lowercase().replace('-', "_"))
}

/// Plugins by name.
pub(super) type Plugins = BTreeMap<&'static str, Value>;

/// What happens to the requests for which the conditions of no branch before it hold, and its own do.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Branch {
    /// All of them must hold.
    pub(super) conditions: Vec<Expr>,
    pub(super) outcome: Outcome,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// It goes on, by way of these plugins.
    Pass(Plugins),
    /// It is answered.
    Answer(u32, &'static str),
}

/// What a filter does: the first branch whose conditions hold. The last one has none.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Effect {
    pub(super) branches: Vec<Branch>,
    /// Whether it looks at the client's address, which APISIX takes for routing from the connection only.
    pub(super) by_address: bool,
}

impl Effect {
    /// Plugins for every request.
    pub(super) fn plugin(name: &'static str, config: Value) -> Self {
        Self::of([Branch::pass([(name, config)].into())])
    }

    /// Whether it keeps some requests out.
    pub(super) fn protects(&self) -> bool {
        self.by_plugin(TOKENS)
            || self.by_plugin(ASKS)
            || self.branches.iter().any(|branch| matches!(branch.outcome, Outcome::Answer(..)))
    }

    /// Whether it looks at a header of requests (`*` for any), or what its plugins do depends on it.
    pub(super) fn looks_at(&self, name: &str) -> bool {
        let is = |var: &str| match name {
            "*" => var.starts_with("http_") || var.starts_with("cookie_"),
            ":path" => ["uri", "request_uri", "real_request_uri"].contains(&var) || var.starts_with("arg_"),
            ":method" => var == "request_method",
            ":authority" | "host" => ["host", "http_host"].contains(&var),
            ":scheme" => var == "scheme",
            "cookie" => var == "http_cookie" || var.starts_with("cookie_"),
            name => var == header(name),
        };
        let by_condition = |branch: &Branch| branch.conditions.iter().any(|condition| condition.looks_at(&is));
        let token = ["*", "authorization", "x-access-token", "cookie"].contains(&name);
        self.branches.iter().any(by_condition) || (self.by_plugin(TOKENS) && token) || self.by_plugin(ASKS)
    }

    /// Whether some requests pass by way of a plugin.
    pub(super) fn by_plugin(&self, name: &str) -> bool {
        let passes = |outcome: &Outcome| matches!(outcome, Outcome::Pass(plugins) if plugins.contains_key(name));
        self.branches.iter().any(|branch| passes(&branch.outcome))
    }

    /// Branches, of which the last has no conditions.
    pub(super) fn of(branches: impl Into<Vec<Branch>>) -> Self {
        Self { branches: branches.into(), by_address: false }
    }
}

impl Branch {
    /// All other requests go on.
    pub(super) fn pass(plugins: Plugins) -> Self {
        Self { conditions: Vec::new(), outcome: Outcome::Pass(plugins) }
    }

    /// Those for which the condition holds go on.
    pub(super) fn pass_if(condition: Expr) -> Self {
        Self { conditions: vec![condition], outcome: Outcome::Pass(Plugins::new()) }
    }

    /// All other requests are answered.
    pub(super) fn answer(status: u32, body: &'static str) -> Self {
        Self { conditions: Vec::new(), outcome: Outcome::Answer(status, body) }
    }

    /// Those for which the condition holds are answered.
    pub(super) fn answer_if(condition: Expr, status: u32, body: &'static str) -> Self {
        Self { conditions: vec![condition], outcome: Outcome::Answer(status, body) }
    }
}

/// A way through the filters of a route: conditions, and what happens.
pub(super) type Way = (Vec<Expr>, Outcome);

/// Most ways that a route is split into.
const MAX_WAYS: usize = 32;

/// The ways through filters that follow each other, in the order in which they are to be tried. None if there are too
/// many of them.
pub(super) fn ways(effects: &[&Effect]) -> Option<Vec<Way>> {
    let mut ways = Vec::new();
    walk(effects, &[], &Plugins::new(), &mut ways);
    (ways.len() <= MAX_WAYS).then_some(ways)
}

fn walk(effects: &[&Effect], guard: &[Expr], plugins: &Plugins, ways: &mut Vec<Way>) {
    let Some((first, rest)) = effects.split_first() else {
        ways.push((guard.to_vec(), Outcome::Pass(plugins.clone())));
        return;
    };
    for branch in &first.branches {
        if ways.len() > MAX_WAYS {
            return;
        }
        let guard: Vec<_> = guard.iter().chain(&branch.conditions).cloned().collect();
        match &branch.outcome {
            Outcome::Answer(..) => ways.push((guard, branch.outcome.clone())),
            Outcome::Pass(more) => {
                // Of two filters of one kind APISIX has one; the first in the chain stays.
                let plugins = more.clone().into_iter().chain(plugins.clone()).collect();
                walk(rest, &guard, &plugins, ways);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apisix::expr::Op;

    #[test]
    fn filters_that_follow_each_other_split_a_route_into_ways() {
        let is = |var: &str| Expr::is(var, Op::Eq, "1");
        let deny = Effect::of([Branch::answer_if(is("arg_d"), 403, "no"), Branch::pass(Plugins::new())]);
        let allow = Effect::of([Branch::pass_if(is("arg_a")), Branch::answer(403, "no")]);
        let cors = Effect::plugin("cors", json!({}));
        let ways = ways(&[&cors, &deny, &allow]).expect("few");
        let pass = Outcome::Pass([("cors", json!({}))].into());
        let answer = Outcome::Answer(403, "no");
        assert_eq!(
            ways,
            [(vec![is("arg_d")], answer.clone()), (vec![is("arg_a")], pass), (Vec::new(), answer)],
            "denied first, then those that are allowed, then the others"
        );
        let many = vec![&deny; 40];
        assert_eq!(super::ways(&many), None);
    }

    #[test]
    fn what_protects_looks_at_headers() {
        let looked = |effect: &Effect, names: &[&str], expected: bool| {
            for name in names {
                assert_eq!(effect.looks_at(name), expected, "{name}");
            }
        };
        let token = Effect::plugin(TOKENS, json!({}));
        looked(&token, &["authorization", "x-access-token", "*"], true);
        looked(&token, &["x-user"], false);
        looked(&Effect::plugin(ASKS, json!({})), &["x-user", "*"], true);
        let by = |var: &str| Effect::of([Branch::answer_if(Expr::is(var, Op::Eq, "1"), 403, "no")]);
        looked(&by("http_x_user"), &["x-user", "*"], true);
        looked(&by("http_x_user"), &["x-other", ":path"], false);
        looked(&by("arg_q"), &[":path"], true);
        looked(&by("cookie_k"), &["cookie", "*"], true);
        looked(&by("remote_addr"), &["x-user", "*", ":path", ":method"], false);
    }
}
