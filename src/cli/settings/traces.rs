//! Settings of traces, checked.

use super::{SettingsError, wrong};
use crate::cli::args::traces::TracesArgs;
use crate::config::traces::TracesConfig;

/// Where traces go; `file` has what is in the file, and `variable` looks into the environment, which may have what
/// OpenTelemetry's own programs go by.
pub(super) fn resolve(
    args: TracesArgs,
    file: TracesArgs,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<TracesConfig>, SettingsError> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let sample = args.otlp_sample.or(file.otlp_sample).unwrap_or(1.0);
    if !(0.0..=1.0).contains(&sample) {
        return Err(wrong("--otlp-sample", "use 0 to 1; 0.1 traces every tenth change"));
    }
    let own = args.otlp_endpoint.or(file.otlp_endpoint);
    let Some(endpoint) = own.clone().or_else(|| common(variable)) else { return Ok(None) };
    if !cfg!(feature = "otel") {
        // What is meant for all programs does not harm one that cannot do it.
        let built = "this program was built without traces; build it with --features otel";
        return if own.is_some() { Err(wrong("--otlp-endpoint", built)) } else { Ok(None) };
    }
    let setting = format!("--otlp-endpoint {endpoint}");
    if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
        return Err(wrong(&setting, "use http://HOST:PORT or https://HOST:PORT; collectors have 4317 for gRPC"));
    }
    let certificate = || {
        let names = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
        names.into_iter().find_map(&variable).map(Into::into)
    };
    let ca = args.otlp_ca.or(file.otlp_ca).or_else(certificate).filter(|_| endpoint.starts_with("https://"));
    if ca.is_none() && endpoint.starts_with("https://") {
        let system = "needs --otlp-ca; the system's certificates are often in /etc/ssl/certs/ca-certificates.crt";
        return Err(wrong(&setting, system));
    }
    let service = args.otlp_service_name.or(file.otlp_service_name).or_else(|| variable("OTEL_SERVICE_NAME"));
    let told = variable("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|all| all.contains("service.instance.id="));
    Ok(Some(TracesConfig {
        endpoint,
        ca,
        sample,
        service: service.unwrap_or_else(|| "confcast".into()),
        // The name of the pod, where there is one.
        instance: variable("HOSTNAME").filter(|_| !told),
    }))
}

/// What the environment says to every program that can export traces, if it is about this protocol.
fn common(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let first = |names: [&str; 2]| names.into_iter().find_map(&variable);
    let endpoint = first(["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])?;
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return None;
    }
    let protocol = first(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]);
    if let Some(protocol) = protocol.filter(|protocol| protocol != "grpc") {
        tracing::warn!(endpoint, protocol, "no traces: they are exported over gRPC only (--otlp-endpoint)");
        return None;
    }
    Some(endpoint)
}

#[cfg(all(test, feature = "otel"))]
mod tests {
    use super::*;

    fn args(endpoint: &str) -> TracesArgs {
        TracesArgs { otlp_endpoint: Some(endpoint.into()), ..TracesArgs::default() }
    }

    fn resolved(args: TracesArgs, variables: &[(&str, &str)]) -> Result<Option<TracesConfig>, SettingsError> {
        let find =
            |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        resolve(args, TracesArgs::default(), find)
    }

    #[test]
    fn the_environment_that_all_programs_share_is_heard_after_what_is_meant_for_this_one() {
        let none = TracesArgs::default;
        assert_eq!(resolved(none(), &[]).expect("good"), None);
        let shared = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://shared:4317"), ("OTEL_SERVICE_NAME", "mesh")];
        let config = resolved(none(), &shared).expect("good").expect("traces");
        assert_eq!((config.endpoint.as_str(), config.service.as_str()), ("http://shared:4317", "mesh"));
        let config = resolved(args("http://own:4317"), &shared).expect("good").expect("traces");
        assert_eq!(config.endpoint, "http://own:4317");
        // Of a protocol that this program does not have, or not wanted at all.
        for other in [("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"), ("OTEL_SDK_DISABLED", "true")] {
            assert_eq!(resolved(none(), &[shared[0], other]).expect("good"), None, "{other:?}");
        }
    }

    #[test]
    fn errors_say_what_to_use() {
        let error = |args: TracesArgs| resolved(args, &[]).expect_err("refused").to_string();
        assert!(error(args("collector:4317")).contains("http://HOST:PORT"));
        assert!(error(args("https://collector:4317")).contains("--otlp-ca"));
        for sample in [-0.1, 1.5, f64::NAN] {
            assert!(error(TracesArgs { otlp_sample: Some(sample), ..args("http://a:1") }).contains("0 to 1"));
        }
    }
}
