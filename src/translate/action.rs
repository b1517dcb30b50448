//! What a route does with a request.

mod direct;
mod hash;
pub(super) mod mirror;
mod retry;
pub(super) mod rewrite;
pub(super) mod split;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::envoy::config::route::v3::route::Action as EnvoyAction;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::{Route, RouteAction, RouteConfiguration, VirtualHost};
use envoy_types::pb::google::protobuf::Duration;
use envoy_types::pb::google::protobuf::value::Kind;
use serde_json::{Value, json};

use super::derived::{Difference, Target};
use super::headers;
use super::redirect;
use super::report::Notes;
use crate::apisix::upstream::Timeout;

/// What is done with a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Action {
    /// Clusters with their weights; none if a plugin answers.
    pub(super) targets: Vec<(Target, u32)>,
    /// Plugins by name.
    pub(super) plugins: BTreeMap<&'static str, Value>,
    pub(super) timeout: Option<Timeout>,
    pub(super) websocket: Option<bool>,
    /// Where copies of the requests go.
    pub(super) mirror: Option<mirror::Mirror>,
}

impl Action {
    /// An answer of the gateway itself, before any other plugin.
    pub(super) fn answer(status: u32, body: &str) -> Self {
        // Without a body APISIX sends a page of its web server.
        let abort = json!({"abort": {"http_status": status, "body": headers::literal(body)}});
        Self { plugins: BTreeMap::from([("fault-injection", abort)]), ..Self::default() }
    }
}

/// Why an action cannot be expressed: the field and the reason.
type Refusal = (&'static str, String);

/// Reads the action of a route whose paths match `matched`. What APISIX cannot do is answered 503, and noted.
pub(super) fn take(
    route: &Route,
    host: &VirtualHost,
    configuration: &RouteConfiguration,
    matched: &str,
    notes: &mut Notes,
) -> Action {
    let taken = match &route.action {
        Some(EnvoyAction::Route(action)) => forward(action, host, configuration, matched, notes),
        Some(EnvoyAction::Redirect(action)) => redirect::plugin(action, matched)
            .map(|plugin| Action { plugins: BTreeMap::from([("redirect", plugin)]), ..Action::default() })
            .map_err(|reason| ("redirect", reason)),
        Some(EnvoyAction::DirectResponse(action)) => direct::take(action),
        Some(EnvoyAction::FilterAction(_)) => Err(("filter_action", "an action of an Envoy filter".into())),
        Some(EnvoyAction::NonForwardingAction(_)) | None => Ok(Action::answer(404, "")),
    };
    taken.unwrap_or_else(|(field, reason)| {
        notes.not_expressible(field, &reason, "such requests are answered 503");
        Action::answer(503, "this route cannot be expressed; see the report of the configuration source\n")
    })
}

fn forward(
    action: &RouteAction,
    host: &VirtualHost,
    configuration: &RouteConfiguration,
    matched: &str,
    notes: &mut Notes,
) -> Result<Action, Refusal> {
    let mut difference = Difference::default();
    let mut rewrite = rewrite::path(action, matched, notes)?;
    difference.host = rewrite::host(action.host_rewrite_specifier.as_ref(), &mut rewrite, notes);
    difference.hash = hash::take(&action.hash_policy, notes);
    let retries = action.retry_policy.as_ref().or(host.retry_policy.as_ref());
    let timeout = retry::take(action, retries, &mut difference, notes);
    subset(action.metadata_match.as_ref(), &mut difference);
    let targets = match action.cluster_specifier.as_ref() {
        Some(ClusterSpecifier::Cluster(name)) => vec![(Target { cluster: name.clone(), difference }, 1)],
        Some(ClusterSpecifier::WeightedClusters(weighted)) => split::targets(weighted, &difference, notes)?,
        Some(ClusterSpecifier::ClusterHeader(header)) => {
            return Err(("cluster_header", format!("the cluster is named by the header {header} of each request")));
        }
        Some(_) => return Err(("cluster_specifier_plugin", "the cluster is chosen by an extension".into())),
        None => return Err(("cluster", "no cluster".into())),
    };
    note_unsupported(action, notes);
    let plugins =
        if rewrite.is_empty() { BTreeMap::new() } else { BTreeMap::from([("proxy-rewrite", Value::Object(rewrite))]) };
    let websocket = action.upgrade_configs.iter().find(|config| config.upgrade_type.eq_ignore_ascii_case("websocket"));
    let websocket = websocket.map(|config| config.enabled.is_none_or(|enabled| enabled.value));
    let levels =
        [&action.request_mirror_policies, &host.request_mirror_policies, &configuration.request_mirror_policies];
    let mirror = levels.into_iter().find(|level| !level.is_empty()).and_then(|level| mirror::take(level, notes));
    Ok(Action { targets, plugins, timeout, websocket, mirror })
}

/// The metadata that endpoints must have.
fn subset(metadata: Option<&Metadata>, difference: &mut Difference) {
    let wanted = metadata.and_then(|metadata| metadata.filter_metadata.get("envoy.lb"));
    for (name, value) in wanted.into_iter().flat_map(|wanted| &wanted.fields) {
        let value = match &value.kind {
            Some(Kind::StringValue(text)) => json!(text),
            Some(Kind::NumberValue(number)) => json!(number),
            Some(Kind::BoolValue(value)) => json!(value),
            // Endpoints with lists and structures are not put into subsets.
            _ => Value::Null,
        };
        difference.subset.insert(name.clone(), value.to_string());
    }
}

fn note_unsupported(action: &RouteAction, notes: &mut Notes) {
    let without = "requests are forwarded without it";
    let mut note = |field: &str, is: bool, reason: &str| {
        if is {
            notes.not_expressible(field, reason, without);
        }
    };
    let duration = action.max_stream_duration.as_ref();
    let duration = duration.is_some_and(|limit| limit.max_stream_duration.is_some());
    note("hedge_policy", action.hedge_policy.is_some(), "APISIX asks one backend at a time");
    note("internal_redirect_policy", action.internal_redirect_policy.is_some(), "APISIX passes redirects on");
    note("max_stream_duration", duration, "APISIX has no time for a whole stream");
    let other = |kind: &str| !kind.eq_ignore_ascii_case("websocket");
    let upgrades = action.upgrade_configs.iter();
    let upgrades = upgrades.filter(|config| config.enabled.is_none_or(|enabled| enabled.value));
    let upgrades = upgrades.filter(|config| other(&config.upgrade_type)).count();
    note("upgrade_configs", upgrades > 0, "APISIX upgrades to websockets only");
}

/// A duration in seconds.
#[expect(clippy::cast_precision_loss, reason = "durations of configurations are far below 2^52 seconds")]
pub(super) fn seconds(duration: &Duration) -> f64 {
    duration.seconds as f64 + f64::from(duration.nanos) / 1e9
}
