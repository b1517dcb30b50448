//! The domains of a virtual host, sorted by what APISIX can do with each kind.

use std::collections::{BTreeMap, BTreeSet};

use crate::apisix::Expr;
use crate::apisix::expr::{self, Op};

/// The domains of a virtual host.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Hosts {
    /// Exact names and suffixes after a star, by what else must be so of a request's host.
    pub(super) named: BTreeMap<HostRule, Vec<String>>,
    /// What comes before the star of `name.*`.
    pub(super) prefixes: Vec<String>,
    /// Whether any host is meant.
    pub(super) any: bool,
}

/// What must be so of a request's host, beside its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostRule {
    /// The ports that it may name.
    ports: PortRule,
    /// A suffix before which there must be something. APISIX takes `-a.test` for `*-a.test`, Envoy does not.
    longer_than: Option<String>,
}

impl HostRule {
    /// The conditions.
    pub(super) fn conditions(&self) -> Vec<Expr> {
        let longer = |suffix: &String| Expr::is("host", Op::MatchesAnyCase, format!("^.+{}\\z", expr::literal(suffix)));
        self.ports.condition().into_iter().chain(self.longer_than.as_ref().map(longer)).collect()
    }

    /// What tells it from others in an id.
    pub(super) fn key(&self) -> String {
        let ports = self.ports.key();
        self.longer_than.as_ref().map_or(ports.clone(), |suffix| format!("{ports}*{suffix}"))
    }
}

/// Which ports a request may name in its Host header.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PortRule {
    /// Any or none: Envoy was told not to look.
    Any,
    /// None or one of these, or only one of these.
    Only {
        /// Whether the port may be left out.
        none: bool,
        /// The ports.
        ports: BTreeSet<String>,
    },
}

impl PortRule {
    /// The condition, if there is one. APISIX itself ignores the port when it chooses by host, Envoy does not.
    fn condition(&self) -> Option<Expr> {
        let Self::Only { none, ports } = self else { return None };
        let list = ports.iter().map(String::as_str).collect::<Vec<_>>().join("|");
        Some(match (none, ports.is_empty()) {
            (true, true) => Expr::is("http_host", Op::Matches, ":[0-9]+\\z").negated(),
            (true, false) => Expr::Any(vec![
                Expr::is("http_host", Op::Matches, ":[0-9]+\\z").negated(),
                Expr::is("http_host", Op::Matches, format!(":(?:{list})\\z")),
            ]),
            (false, _) => Expr::is("http_host", Op::Matches, format!(":(?:{list})\\z")),
        })
    }

    /// What tells it from others in an id.
    fn key(&self) -> String {
        match self {
            Self::Any => "any".into(),
            Self::Only { none, ports } => format!("{none}{ports:?}"),
        }
    }
}

/// Which port Envoy takes away from a Host header before it looks for a virtual host.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Strip {
    /// None.
    #[default]
    Never,
    /// That of the listener.
    Port(u32),
    /// Any.
    Any,
}

/// Sorts domains. Those that cannot be expressed are returned with the reason.
pub(super) fn take(domains: &[String], strip: &Strip) -> (Hosts, Vec<String>) {
    let mut hosts = Hosts::default();
    let mut refused = Vec::new();
    let mut ports: BTreeMap<String, (bool, BTreeSet<String>)> = BTreeMap::new();
    let own = match strip {
        Strip::Port(port) => Some(port.to_string()),
        Strip::Never | Strip::Any => None,
    };
    for domain in domains {
        let domain = domain.to_ascii_lowercase();
        if domain == "*" {
            hosts.any = true;
        } else if let Some(prefix) = domain.strip_suffix('*') {
            if prefix.is_empty() || prefix.contains('*') {
                refused.push(domain);
            } else {
                hosts.prefixes.push(prefix.to_owned());
            }
        } else {
            let (name, port) = split_port(&domain);
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
            if name.is_empty() || !name.strip_prefix('*').unwrap_or(name).chars().all(allowed) {
                refused.push(domain);
                continue;
            }
            match port {
                None => ports.entry(name.to_owned()).or_default().0 = true,
                // Without its port a request never is of this domain.
                Some(_) if *strip == Strip::Any => {}
                Some(port) if own.as_deref() == Some(port) => {}
                Some(port) => drop(ports.entry(name.to_owned()).or_default().1.insert(port.to_owned())),
            }
        }
    }
    for (name, (none, mut ports)) in ports {
        ports.extend(own.clone().filter(|_| none));
        let rule = if *strip == Strip::Any { PortRule::Any } else { PortRule::Only { none, ports } };
        let longer_than = name.strip_prefix('*').filter(|suffix| !suffix.starts_with('.')).map(str::to_owned);
        hosts.named.entry(HostRule { ports: rule, longer_than }).or_default().push(name);
    }
    hosts.prefixes.sort();
    (hosts, refused)
}

/// The condition for hosts that begin so.
pub(super) fn begins_with(prefix: &str) -> Expr {
    Expr::is("host", Op::MatchesAnyCase, format!("^{}.", expr::literal(prefix)))
}

fn split_port(domain: &str) -> (&str, Option<&str>) {
    match domain.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !is_bare_v6(domain) => {
            (name, Some(port))
        }
        _ => (domain, None),
    }
}

/// Whether the colons are those of an IPv6 address without brackets.
fn is_bare_v6(domain: &str) -> bool {
    !domain.starts_with('[') && domain.matches(':').count() > 1
}
