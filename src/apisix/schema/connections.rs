//! Rules for certificates, stream routes and health checks. Reasons never hold what is checked, as it may be a key.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Map, Value};

use super::{known_fields, texts, unique};

const SSL: [&str; 16] = [
    "id",
    "desc",
    "labels",
    "type",
    "sni",
    "snis",
    "cert",
    "key",
    "certs",
    "keys",
    "client",
    "status",
    "ssl_protocols",
    "create_time",
    "update_time",
    "name",
];

const STREAM_ROUTE: [&str; 13] = [
    "id",
    "name",
    "desc",
    "labels",
    "server_port",
    "server_addr",
    "remote_addr",
    "sni",
    "upstream_id",
    "upstream",
    "service_id",
    "plugins",
    "protocol",
];

/// Sizes that APISIX takes, in bytes.
const CERT: std::ops::RangeInclusive<usize> = 128..=65536;
const KEY: std::ops::RangeInclusive<usize> = 64..=65536;

pub(super) fn check_ssl(fields: &Map<String, Value>) -> Result<(), String> {
    known_fields(fields, &SSL)?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    certificate("cert", text("cert"))?;
    key("key", text("key"))?;
    if text("type") == "client" {
        return Ok(());
    }
    let (certs, keys) = (optional(fields, "certs")?, optional(fields, "keys")?);
    if certs.len() != keys.len() {
        return Err("certs and keys: not as many of both".into());
    }
    certs.iter().try_for_each(|text| certificate("certs", text))?;
    keys.iter().try_for_each(|text| key("keys", text))?;
    let snis = optional(fields, "snis")?;
    unique("snis", &snis)?;
    if fields.contains_key("sni") == fields.contains_key("snis") || (fields.contains_key("snis") && snis.is_empty()) {
        return Err("sni or snis: one of both, with a name".into());
    }
    let single = fields.contains_key("sni").then(|| text("sni"));
    if let Some(name) = snis.iter().copied().chain(single).find(|name| !is_name(name, single.is_some())) {
        return Err(format!("snis: {name}"));
    }
    if let Some(client) = fields.get("client") {
        certificate("client.ca", client.get("ca").and_then(Value::as_str).unwrap_or_default())?;
    }
    let versions = optional(fields, "ssl_protocols")?;
    match versions.iter().find(|version| !["TLSv1.1", "TLSv1.2", "TLSv1.3"].contains(version)) {
        Some(version) => Err(format!("ssl_protocols: {version} is not known")),
        None => Ok(()),
    }
}

pub(super) fn check_stream_route(fields: &Map<String, Value>) -> Result<(), String> {
    known_fields(fields, &STREAM_ROUTE)?;
    let port = fields.get("server_port").map(|port| port.as_u64().unwrap_or_default());
    if port.is_some_and(|port| !(1..=65535).contains(&port)) {
        return Err("server_port: 1 to 65535".into());
    }
    if fields.get("sni").is_some_and(|name| !name.as_str().is_some_and(|name| is_name(name, false))) {
        return Err("sni: a name".into());
    }
    Ok(())
}

pub(super) fn check_checks(checks: &Value) -> Result<(), String> {
    let active = checks.get("active").ok_or("checks: passive ones need active ones")?;
    let number = |path: &str| active.pointer(path).and_then(Value::as_u64);
    if !["/healthy/interval", "/unhealthy/interval"].iter().all(|path| number(path).is_none_or(|value| value > 0)) {
        return Err("checks.active: intervals from 1 s".into());
    }
    let counts = ["/active/healthy/successes", "/active/unhealthy/http_failures", "/active/unhealthy/tcp_failures"];
    let good =
        |path: &&str| checks.pointer(path).and_then(Value::as_u64).is_none_or(|count| (1..=254).contains(&count));
    if let Some(path) = counts.iter().find(|path| !good(path)) {
        return Err(format!("checks{path}: 1 to 254"));
    }
    Ok(())
}

fn optional<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<Vec<&'a str>, String> {
    if fields.contains_key(name) { texts(fields, name) } else { Ok(Vec::new()) }
}

/// A host name, also with a star for its first label; the star alone only where `any`.
fn is_name(name: &str, any: bool) -> bool {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    (any && name == "*") || (!rest.is_empty() && rest.chars().all(allowed))
}

fn certificate(field: &str, text: &str) -> Result<(), String> {
    let mut found = CertificateDer::pem_slice_iter(text.as_bytes());
    match found.next() {
        Some(Ok(_)) if CERT.contains(&text.len()) => Ok(()),
        _ => Err(format!("{field}: no certificate in PEM of 128 to 65536 bytes")),
    }
}

fn key(field: &str, text: &str) -> Result<(), String> {
    match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
        Ok(_) if KEY.contains(&text.len()) => Ok(()),
        _ => Err(format!("{field}: no private key in PEM of 64 to 65536 bytes")),
    }
}
