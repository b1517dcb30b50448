//! Health checks: probes to `checks.active`, outlier detection to `checks.passive`.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::cluster::v3::{Cluster, OutlierDetection};
use envoy_types::pb::envoy::config::core::v3::health_check::{HealthChecker, HttpHealthCheck};
use envoy_types::pb::envoy::config::core::v3::{HealthCheck, RequestMethod};
use envoy_types::pb::google::protobuf::{Duration, UInt32Value};

use super::super::action::seconds;
use super::super::report::Notes;
use crate::apisix::upstream::{ActiveCheck, Checks, Healthy, PassiveCheck, Unhealthy};

/// Most answers in a row that APISIX counts.
const MAX_COUNT: u32 = 254;

/// Ejection after this many failures in a row, if nothing else is said.
const OUTLIER_FAILURES: u32 = 5;

/// Statuses that count as failures of a request.
const SERVER_ERRORS: [u32; 6] = [500, 501, 502, 503, 504, 505];

/// The checks of a cluster whose endpoints speak TLS or not.
pub(super) fn take(cluster: &Cluster, tls: bool, notes: &mut Notes) -> Option<Checks> {
    if cluster.health_checks.len() > 1 {
        let reason = "APISIX has one kind of probe for an upstream";
        notes.approximate("health_checks", reason, "the first that has an equal is used");
    }
    let active = cluster.health_checks.iter().find_map(|check| active(check, tls, notes));
    let Some(active) = active else {
        if cluster.outlier_detection.is_some() {
            let reason = "APISIX takes a node out only where probes can bring it back, and none is configured";
            notes.not_expressible("outlier_detection", reason, "failing endpoints stay in use");
        }
        return None;
    };
    let passive = cluster.outlier_detection.as_ref().map(|detection| passive(detection, active.kind, notes));
    Some(Checks { active, passive })
}

fn active(check: &HealthCheck, tls: bool, notes: &mut Notes) -> Option<ActiveCheck> {
    let kind = match &check.health_checker {
        Some(HealthChecker::HttpHealthCheck(_)) if tls => "https",
        Some(HealthChecker::HttpHealthCheck(_)) => "http",
        Some(HealthChecker::TcpHealthCheck(tcp)) => {
            if tcp.send.is_some() || !tcp.receive.is_empty() {
                let reason = "APISIX sends nothing to probe a port";
                notes.approximate("health_checks.tcp_health_check", reason, "a connection is enough");
            }
            "tcp"
        }
        Some(HealthChecker::GrpcHealthCheck(_)) => {
            let reason = "APISIX has no gRPC probe";
            notes.not_expressible("health_checks.grpc_health_check", reason, "endpoints are not probed");
            return None;
        }
        Some(HealthChecker::CustomHealthCheck(_)) | None => {
            let reason = "a probe of a kind of its own";
            notes.not_expressible("health_checks.custom_health_check", reason, "endpoints are not probed");
            return None;
        }
    };
    let interval = whole("health_checks.interval", check.interval.as_ref(), 1.0, notes);
    let unhealthy_interval = check.unhealthy_interval.as_ref().or(check.interval.as_ref());
    let failures = count(check.unhealthy_threshold, 1);
    let mut taken = ActiveCheck {
        kind,
        timeout: check.timeout.as_ref().map(seconds).filter(|time| *time > 0.0).unwrap_or(1.0),
        port: check.alt_port.map(|port| port.value).filter(|port| (1..=65535).contains(port)),
        https_verify_certificate: (kind == "https").then_some(false),
        healthy: Healthy { interval, http_statuses: Vec::new(), successes: count(check.healthy_threshold, 1) },
        unhealthy: Unhealthy {
            interval: Some(whole("health_checks.unhealthy_interval", unhealthy_interval, 1.0, notes)),
            http_statuses: Vec::new(),
            http_failures: None,
            tcp_failures: failures,
            timeouts: failures,
        },
        ..ActiveCheck::default()
    };
    if let Some(HealthChecker::HttpHealthCheck(http)) = &check.health_checker {
        by_http(http, failures, &mut taken, notes);
    }
    Some(taken)
}

fn by_http(check: &HttpHealthCheck, failures: u32, taken: &mut ActiveCheck, notes: &mut Notes) {
    taken.http_path = Some(if check.path.is_empty() { "/".into() } else { check.path.clone() });
    let is_host = |host: &str| !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
    if is_host(&check.host) {
        taken.host = Some(check.host.clone());
    } else {
        let reason = "a probe has the host that is named, or else that of the endpoint";
        notes.approximate("health_checks.http_health_check.host", reason, "the endpoint's address as host");
    }
    taken.http_method = match check.method() {
        RequestMethod::MethodUnspecified | RequestMethod::Get => None,
        RequestMethod::Head => Some("HEAD"),
        RequestMethod::Post => Some("POST"),
        RequestMethod::Put => Some("PUT"),
        RequestMethod::Delete => Some("DELETE"),
        RequestMethod::Options => Some("OPTIONS"),
        RequestMethod::Patch => Some("PATCH"),
        RequestMethod::Trace | RequestMethod::Connect => {
            notes.approximate("health_checks.http_health_check.method", "APISIX has no such probe", "GET");
            None
        }
    };
    for option in &check.request_headers_to_add {
        if let Some(header) = &option.header
            && !header.value.contains('%')
        {
            taken.req_headers.push(format!("{}: {}", header.key, header.value));
        }
    }
    if check.send.is_some() || !check.receive.is_empty() || check.service_name_matcher.is_some() {
        let reason = "APISIX looks at the status of an answer only";
        notes.approximate("health_checks.http_health_check", reason, "bodies and service names are not compared");
    }
    let ranges = check.expected_statuses.iter().flat_map(|range| range.start.max(200)..range.end.min(600));
    let expected: BTreeSet<u32> = ranges.filter_map(|status| u32::try_from(status).ok()).collect();
    let expected = if expected.is_empty() { BTreeSet::from([200]) } else { expected };
    taken.unhealthy.http_statuses = registered().filter(|status| !expected.contains(status)).collect();
    taken.unhealthy.http_failures = Some(failures);
    taken.healthy.http_statuses = expected.into_iter().collect();
}

/// Statuses that a server may answer with. What is not expected is a failure, and APISIX needs each of them named.
fn registered() -> impl Iterator<Item = u32> {
    (200..=208).chain(300..=308).chain(400..=431).chain([451]).chain(500..=511)
}

fn passive(detection: &OutlierDetection, probe: &'static str, notes: &mut Notes) -> PassiveCheck {
    let reason = "APISIX counts failures of a node, and probes bring it back";
    notes.approximate("outlier_detection", reason, "no time or share of ejected endpoints, no success rates");
    let enforced = |share: Option<UInt32Value>, default: u32| share.map_or(default, |share| share.value) > 0;
    let failures = count(detection.consecutive_5xx, OUTLIER_FAILURES);
    let gateway = count(detection.consecutive_gateway_failure, OUTLIER_FAILURES);
    let by_gateway = enforced(detection.enforcing_consecutive_gateway_failure, 0) && gateway < failures;
    let (statuses, failures) = if by_gateway || !enforced(detection.enforcing_consecutive_5xx, 100) {
        (vec![502, 503, 504], gateway)
    } else {
        (SERVER_ERRORS.to_vec(), failures)
    };
    let local = count(detection.consecutive_local_origin_failure, OUTLIER_FAILURES);
    let http = probe != "tcp";
    PassiveCheck {
        kind: if http { "http" } else { "tcp" },
        unhealthy: Unhealthy {
            interval: None,
            http_statuses: if http { statuses } else { Vec::new() },
            http_failures: http.then_some(failures),
            tcp_failures: local,
            timeouts: local,
        },
    }
}

fn count(value: Option<UInt32Value>, default: u32) -> u32 {
    value.map_or(default, |value| value.value).clamp(1, MAX_COUNT)
}

/// Whole seconds, rounded up, at least one.
fn whole(field: &str, duration: Option<&Duration>, default: f64, notes: &mut Notes) -> u32 {
    let exact = duration.map_or(default, seconds);
    let rounded = exact.ceil().clamp(1.0, 86_400.0);
    if (rounded - exact).abs() > f64::EPSILON {
        notes.approximate(field, "APISIX probes in whole seconds", "rounded up");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 86400")]
    let whole = rounded as u32;
    whole
}
