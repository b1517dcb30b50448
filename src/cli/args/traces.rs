//! Flags about traces.

use std::path::PathBuf;

use clap::Args;

/// Where traces go.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Traces (OpenTelemetry)")]
pub(in crate::cli) struct TracesArgs {
    /// Collector that takes traces by OTLP over gRPC, http:// or https://, such as http://localhost:4317 [default: what
    /// OTEL_EXPORTER_OTLP_ENDPOINT says; else none]
    #[arg(long, env = "CONFCAST_OTLP_ENDPOINT", value_name = "URL")]
    pub(in crate::cli) otlp_endpoint: Option<String>,
    /// File with the certificates that the collector's is signed by, in PEM; needed for https:// [default: what
    /// OTEL_EXPORTER_OTLP_CERTIFICATE says]
    #[arg(long, env = "CONFCAST_OTLP_CA", value_name = "FILE")]
    pub(in crate::cli) otlp_ca: Option<PathBuf>,
    /// Part of the changes that is traced, from 0 to 1 [default: 1]
    #[arg(long, env = "CONFCAST_OTLP_SAMPLE", value_name = "RATIO")]
    pub(in crate::cli) otlp_sample: Option<f64>,
    /// Name of the service in traces [default: what OTEL_SERVICE_NAME says; else confcast]
    #[arg(long, env = "CONFCAST_OTLP_SERVICE_NAME", value_name = "NAME")]
    pub(in crate::cli) otlp_service_name: Option<String>,
}
