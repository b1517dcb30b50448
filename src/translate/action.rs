//! What a route does with a request.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::route::v3::route::Action as EnvoyAction;
use envoy_types::pb::envoy::config::route::v3::route_action::{ClusterSpecifier, HostRewriteSpecifier};
use envoy_types::pb::envoy::config::route::v3::{DirectResponseAction, Route, RouteAction, WeightedCluster};
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use envoy_types::pb::google::protobuf::Duration;
use serde_json::{Value, json};

use super::headers;
use super::redirect;
use super::report::Notes;
use crate::apisix::upstream::Timeout;

/// Most clusters among which APISIX splits.
const MAX_SPLIT: usize = 20;

/// Time that stands for none, as APISIX takes no zero: a day.
const NO_TIMEOUT: f64 = 86_400.0;

/// What is done with a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Action {
    /// Clusters with their weights; none if a plugin answers.
    pub(super) clusters: Vec<(String, u32)>,
    /// Plugins by name.
    pub(super) plugins: BTreeMap<&'static str, Value>,
    pub(super) timeout: Option<Timeout>,
    pub(super) websocket: Option<bool>,
}

impl Action {
    /// An answer of the gateway itself.
    pub(super) fn answer(status: u32, body: &str) -> Self {
        // Without a body APISIX sends a page of its web server.
        let abort = json!({"abort": {"http_status": status, "body": headers::literal(body)}});
        Self { plugins: BTreeMap::from([("fault-injection", abort)]), ..Self::default() }
    }
}

/// Reads the action of a route whose paths match `matched`. What APISIX cannot do is answered 503, and noted.
pub(super) fn take(route: &Route, matched: &str, notes: &mut Notes) -> Action {
    let taken = match &route.action {
        Some(EnvoyAction::Route(action)) => forward(action, matched, notes),
        Some(EnvoyAction::Redirect(action)) => redirect::plugin(action, matched)
            .map(|plugin| Action { plugins: BTreeMap::from([("redirect", plugin)]), ..Action::default() })
            .map_err(|reason| ("redirect", reason)),
        Some(EnvoyAction::DirectResponse(action)) => direct_response(action),
        Some(EnvoyAction::FilterAction(_)) => Err(("filter_action", "an action of an Envoy filter".into())),
        Some(EnvoyAction::NonForwardingAction(_)) | None => Ok(Action::answer(404, "")),
    };
    taken.unwrap_or_else(|(field, reason)| {
        notes.not_expressible(field, &reason, "such requests are answered 503");
        Action::answer(503, "this route cannot be expressed; see the report of the configuration source\n")
    })
}

type Refusal = (&'static str, String);

fn forward(action: &RouteAction, matched: &str, notes: &mut Notes) -> Result<Action, Refusal> {
    let clusters = match action.cluster_specifier.as_ref() {
        Some(ClusterSpecifier::Cluster(name)) => vec![(name.clone(), 1)],
        Some(ClusterSpecifier::WeightedClusters(weighted)) => split(weighted, notes)?,
        Some(ClusterSpecifier::ClusterHeader(header)) => {
            return Err(("cluster_header", format!("the cluster is named by the header {header} of each request")));
        }
        Some(_) => return Err(("cluster_specifier_plugin", "the cluster is chosen by an extension".into())),
        None => return Err(("cluster", "no cluster".into())),
    };
    let mut rewrite = serde_json::Map::new();
    if !action.prefix_rewrite.is_empty() {
        let (pattern, replacement) = prefix_rewrite(matched, &action.prefix_rewrite);
        rewrite.insert("regex_uri".into(), json!([pattern, replacement]));
    } else if let Some(regex) = &action.regex_rewrite {
        let (pattern, replacement) = regex_rewrite(regex).map_err(|reason| ("regex_rewrite", reason))?;
        notes.approximate("regex_rewrite", "APISIX replaces the first match only", "later matches stay");
        rewrite.insert("regex_uri".into(), json!([pattern, replacement]));
    } else if action.path_rewrite_policy.is_some() || !action.path_rewrite.is_empty() {
        return Err(("path_rewrite_policy", "paths are rewritten by an extension".into()));
    }
    match &action.host_rewrite_specifier {
        None => {}
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) if is_host(host) => {
            rewrite.insert("host".into(), json!(host));
        }
        Some(_) => {
            let reason = "APISIX sets a host only to a name that is given";
            notes.not_expressible("host_rewrite", reason, "the client's host is passed on");
        }
    }
    note_unsupported(action, notes);
    let plugins =
        if rewrite.is_empty() { BTreeMap::new() } else { BTreeMap::from([("proxy-rewrite", Value::Object(rewrite))]) };
    let timeout = action.timeout.as_ref().map(seconds).map(|total| {
        let time = if total > 0.0 { total } else { NO_TIMEOUT };
        Timeout { connect: super::cluster::CONNECT_TIMEOUT.min(time), send: time, read: time }
    });
    let websocket = action.upgrade_configs.iter().find(|config| config.upgrade_type.eq_ignore_ascii_case("websocket"));
    let websocket = websocket.map(|config| config.enabled.is_none_or(|enabled| enabled.value));
    Ok(Action { clusters, plugins, timeout, websocket })
}

fn split(weighted: &WeightedCluster, notes: &mut Notes) -> Result<Vec<(String, u32)>, Refusal> {
    let mut clusters: Vec<(String, u32)> = Vec::new();
    for entry in &weighted.clusters {
        if entry.name.is_empty() {
            return Err(("weighted_clusters", "a cluster that is named by a header of each request".into()));
        }
        let changes = [!entry.request_headers_to_add.is_empty(), !entry.request_headers_to_remove.is_empty()];
        let changes = changes.into_iter().chain([!entry.response_headers_to_add.is_empty()]).any(|any| any);
        if changes || entry.host_rewrite_specifier.is_some() {
            let reason = "APISIX changes headers for a route and not for one of its clusters";
            notes.not_expressible("weighted_clusters.headers", reason, "headers are left as they are");
        }
        let weight = entry.weight.map_or(0, |weight| weight.value);
        // APISIX takes the last of two weights of one upstream, and splits evenly if all are zero.
        if weight > 0 {
            match clusters.iter_mut().find(|(name, _)| *name == entry.name) {
                Some((_, sum)) => *sum = sum.saturating_add(weight),
                None => clusters.push((entry.name.clone(), weight)),
            }
        }
    }
    if clusters.is_empty() {
        return Err(("weighted_clusters", "every weight is zero".into()));
    }
    if clusters.len() > MAX_SPLIT {
        return Err(("weighted_clusters", format!("APISIX splits among {MAX_SPLIT} clusters at most")));
    }
    Ok(clusters)
}

fn note_unsupported(action: &RouteAction, notes: &mut Notes) {
    let all = "requests are forwarded without it";
    if action.retry_policy.is_some() {
        notes.not_expressible("retry_policy", "APISIX counts tries by upstream, not by route", all);
    }
    if !action.hash_policy.is_empty() {
        notes.not_expressible("hash_policy", "not translated yet", all);
    }
    if !action.request_mirror_policies.is_empty() {
        notes.not_expressible("request_mirror_policies", "not translated yet", all);
    }
    if action.metadata_match.is_some() {
        notes.not_expressible("metadata_match", "subsets are not translated yet", "all endpoints are used");
    }
    if action.timeout.is_some_and(|timeout| seconds(&timeout) > 0.0) {
        let reason = "APISIX has no time for the whole response";
        notes.approximate("timeout", reason, "it is the time between two reads or writes");
    }
}

fn direct_response(action: &DirectResponseAction) -> Result<Action, Refusal> {
    if !(200..=599).contains(&action.status) {
        return Err(("direct_response.status", format!("APISIX does not answer with the status {}", action.status)));
    }
    let body = match action.body.as_ref().and_then(|body| body.specifier.as_ref()) {
        None => String::new(),
        Some(Specifier::InlineString(text)) => text.clone(),
        Some(Specifier::InlineBytes(bytes)) => String::from_utf8(bytes.clone())
            .map_err(|_| ("direct_response.body", "a body that is not text".to_owned()))?,
        Some(_) => return Err(("direct_response.body", "a body from a file or variable of Envoy".into())),
    };
    Ok(Action::answer(action.status, &body))
}

/// The two parts of a `regex_uri` that put `to` in place of what `matched` finds at the beginning of the path. The
/// outcome always begins with a slash: APISIX answers 500 for an empty one.
pub(super) fn prefix_rewrite(matched: &str, to: &str) -> (String, String) {
    let to = to.replace('$', "$$");
    match to.strip_suffix('/') {
        // Nothing but a slash is left of the prefix, so that the slash after it must not come twice.
        Some("") if !matched.ends_with('/') => (format!("{matched}/?(.*)"), "/$1".into()),
        _ if to.starts_with('/') => (format!("{matched}(.*)"), format!("{to}$1")),
        _ => (format!("{matched}/?(.*)"), format!("/{to}$1")),
    }
}

/// The two parts of a `regex_uri`.
pub(super) fn regex_rewrite(rewrite: &RegexMatchAndSubstitute) -> Result<(String, String), String> {
    let pattern = rewrite.pattern.as_ref().map(|pattern| pattern.regex.as_str()).unwrap_or_default();
    super::matchers::full_match(pattern)?;
    let mut replacement = String::new();
    let mut rest = rewrite.substitution.chars();
    while let Some(c) = rest.next() {
        match c {
            '$' => replacement.push_str("$$"),
            '\\' => match rest.next() {
                Some(digit) if digit.is_ascii_digit() => replacement.extend(['$', '{', digit, '}']),
                Some(other) => replacement.push(other),
                None => {}
            },
            _ => replacement.push(c),
        }
    }
    Ok((pattern.to_owned(), replacement))
}

fn is_host(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
}

/// A duration in seconds.
#[expect(clippy::cast_precision_loss, reason = "durations of configurations are far below 2^52 seconds")]
pub(super) fn seconds(duration: &Duration) -> f64 {
    duration.seconds as f64 + f64::from(duration.nanos) / 1e9
}
