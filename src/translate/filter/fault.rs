//! `envoy.filters.http.fault`: delays and answers on purpose.

use envoy_types::pb::envoy::extensions::filters::common::fault::v3::fault_delay::FaultDelaySecifier;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::HttpFault;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::fault_abort::ErrorType;
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use serde_json::{Map, Value, json};

use super::Effect;
use crate::apisix::Expr;
use crate::translate::action::seconds;
use crate::translate::fraction;
use crate::translate::headers;
use crate::translate::matchers::{self, Header};
use crate::translate::report::Notes;

/// Reads faults. None if there is nothing that APISIX does.
pub(in crate::translate) fn take(fault: &HttpFault, notes: &mut Notes) -> Option<Effect> {
    let mut unsupported = |field: &str, is: bool| {
        if is {
            notes.not_expressible(field, "the plugin has no such faults", "requests pass without them");
        }
    };
    unsupported("fault.response_rate_limit", fault.response_rate_limit.is_some());
    unsupported("fault.downstream_nodes", !fault.downstream_nodes.is_empty());
    unsupported("fault.max_active_faults", fault.max_active_faults.is_some());
    unsupported("fault.upstream_cluster", !fault.upstream_cluster.is_empty());
    if !fault.upstream_cluster.is_empty() || !fault.downstream_nodes.is_empty() {
        return None;
    }
    let conditions = conditions(fault, notes)?;
    let vars = (!conditions.is_empty()).then(|| json!([Expr::vars(&conditions)]));
    let mut plugin = Map::new();
    if let Some(delay) = &fault.delay
        && let Some(share) = share(delay.percentage.as_ref(), notes)
    {
        match &delay.fault_delay_secifier {
            Some(FaultDelaySecifier::FixedDelay(duration)) => {
                plugin.insert("delay".into(), with(json!({"duration": seconds(duration)}), share, vars.as_ref()));
            }
            _ => notes.not_expressible("fault.delay", "told by the request", "requests pass without it"),
        }
    }
    if let Some(abort) = &fault.abort
        && let Some(share) = share(abort.percentage.as_ref(), notes)
    {
        match abort.error_type {
            Some(ErrorType::HttpStatus(status)) if (200..=599).contains(&status) => {
                let body = if abort.response_body.is_empty() { "fault filter abort" } else { &abort.response_body };
                let abort = json!({"http_status": status, "body": headers::literal(body)});
                plugin.insert("abort".into(), with(abort, share, vars.as_ref()));
            }
            _ => notes.not_expressible("fault.abort", "no status of HTTP", "requests pass without it"),
        }
    }
    (!plugin.is_empty()).then(|| Effect::plugin("fault-injection", Value::Object(plugin)))
}

/// The conditions of the requests that are meant. None if they cannot be told.
fn conditions(fault: &HttpFault, notes: &mut Notes) -> Option<Vec<Expr>> {
    let mut conditions = Vec::new();
    for matcher in &fault.headers {
        match matchers::header(matcher) {
            Ok(Header::Condition(condition)) => conditions.push(condition),
            Ok(Header::Methods(methods)) => {
                conditions.push(Expr::is("request_method", crate::apisix::expr::Op::In, methods));
            }
            Err(reason) => {
                notes.not_expressible("fault.headers", &reason, "requests pass without faults");
                return None;
            }
        }
    }
    Some(conditions)
}

fn with(mut fault: Value, share: u32, vars: Option<&Value>) -> Value {
    fault["percentage"] = json!(share);
    if let Some(vars) = vars {
        fault["vars"] = vars.clone();
    }
    fault
}

/// A share of requests in percent, as APISIX takes it. None for no requests.
fn share(fraction: Option<&FractionalPercent>, notes: &mut Notes) -> Option<u32> {
    let fraction = fraction?;
    let (numerator, of) = fraction::parts(*fraction);
    let of = u64::from(of);
    let exact = u64::from(numerator) * 100;
    let percent = u32::try_from((exact + of / 2) / of).unwrap_or(100).min(100);
    if exact % of != 0 && exact < of * 100 {
        let effect = format!("{percent} %");
        notes.approximate("fault.percentage", "APISIX knows whole percents", &effect);
    }
    (percent > 0).then_some(percent)
}
