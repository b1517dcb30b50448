//! Metrics of the API's calls, under the names that gRPC servers written in Go give them, as etcd's dashboards ask for
//! them. A call over the gateway is counted as well, as etcd's gateway makes a call over gRPC of it.
//!
//! What can be called is read from the API's descriptors, so that there are no other time series.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message;
use prost_types::FileDescriptorSet;
use tokio::time::Instant;
use tonic::Code;

use super::exposition::Text;
use super::striped::Striped;

subject! {
    /// Calls that were begun, by `grpc_service`, `grpc_method` and `grpc_type`
    Sum STARTED = "grpc_server_started_total";
    /// Calls that were answered, by `grpc_service`, `grpc_method`, `grpc_type` and `grpc_code`: OK for each call, other codes once they have occurred
    Sum HANDLED = "grpc_server_handled_total";
    /// Seconds until a call was answered that has one answer, by `grpc_service`, `grpc_method` and `grpc_type`: of KV, others once they were called
    Histogram SECONDS = "grpc_server_handling_seconds";
}

/// Names of gRPC's codes, by their number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Bounds of the buckets in seconds: those of Go's libraries, and some below, as most is answered from memory.
const BOUNDS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Where a call's numbers are: how many were begun, answered by code, answered by time, and the sum of the times in
/// microseconds.
const CODE: usize = 1;
const BUCKET: usize = CODE + CODES.len();
const MICROSECONDS: usize = BUCKET + BOUNDS.len() + 1;
const NUMBERS: usize = MICROSECONDS + 1;

/// What can be called.
#[derive(Debug)]
struct Method {
    path: String,
    labels: String,
    /// Whether it has one answer, whose time says something.
    unary: bool,
    numbers: Striped<NUMBERS>,
}

static METHODS: LazyLock<Vec<Method>> = LazyLock::new(|| {
    let set = FileDescriptorSet::decode(crate::pb::DESCRIPTORS).expect("the committed descriptors are whole");
    let mut methods = Vec::new();
    for file in set.file {
        for service in &file.service {
            let service_name = format!("{}.{}", file.package(), service.name());
            for method in &service.method {
                let kind = match (method.client_streaming(), method.server_streaming()) {
                    (false, false) => "unary",
                    (false, true) => "server_stream",
                    (true, false) => "client_stream",
                    (true, true) => "bidi_stream",
                };
                let name = method.name();
                methods.push(Method {
                    path: format!("/{service_name}/{name}"),
                    labels: format!("grpc_service=\"{service_name}\",grpc_method=\"{name}\",grpc_type=\"{kind}\""),
                    unary: kind == "unary",
                    numbers: Striped::default(),
                });
            }
        }
    }
    methods
});

static BY_PATH: LazyLock<HashMap<&'static str, &'static Method>> =
    LazyLock::new(|| METHODS.iter().map(|method| (method.path.as_str(), method)).collect());

/// A call that goes on. One that is dropped before it has ended is one that the client has given up.
#[derive(Debug)]
pub struct Call {
    /// None for what is not in the API, and once it has ended.
    method: Option<&'static Method>,
    started: Instant,
}

impl Call {
    /// Begins a call, by its path over gRPC.
    pub fn start(path: &str) -> Self {
        let method = BY_PATH.get(path).copied();
        if let Some(method) = method {
            method.numbers.add(0, [1]);
        }
        Self { method, started: Instant::now() }
    }

    /// Whether it has one answer, or is not in the API.
    pub fn is_unary(&self) -> bool {
        self.method.is_none_or(|method| method.unary)
    }

    /// Ends it.
    pub fn end(mut self, code: Code) {
        self.note(code);
    }

    /// Ends it if it has not ended yet.
    pub fn note(&mut self, code: Code) {
        let Some(method) = self.method.take() else { return };
        method.numbers.add(CODE + code as usize, [1]);
        if method.unary {
            let elapsed = self.started.elapsed();
            let bucket = BOUNDS.partition_point(|bound| *bound < elapsed.as_secs_f64());
            method.numbers.add(BUCKET + bucket, [1]);
            method.numbers.add(MICROSECONDS, [u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)]);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.note(Code::Cancelled);
    }
}

/// Adds the metrics.
pub fn sample(text: &mut Text) {
    let [started, handled, seconds] = ALL else { unreachable!("they are three") };
    text.sums(started, METHODS.iter().map(|method| (method.labels.clone(), method.numbers.sum(0))));
    let codes = METHODS.iter().flat_map(|method| {
        let answered = CODES.iter().enumerate().map(|(code, name)| (name, method.numbers.sum(CODE + code)));
        let shown = answered.filter(|(name, answered)| **name == CODES[0] || *answered > 0);
        shown.map(|(name, answered)| (format!("{},grpc_code=\"{name}\"", method.labels), answered))
    });
    text.sums(handled, codes);
    let times = METHODS.iter().filter(|method| method.unary).filter_map(|method| {
        let counts: Vec<_> = (BUCKET..MICROSECONDS).map(|place| method.numbers.sum(place)).collect();
        let shown = method.path.starts_with("/etcdserverpb.KV/") || counts.iter().any(|count| *count > 0);
        #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
        let sum = method.numbers.sum(MICROSECONDS) as f64 / 1e6;
        shown.then_some((method.labels.as_str(), counts, sum))
    });
    text.histograms(seconds, &BOUNDS, times);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_those_of_the_api_and_series_are_few() {
        for path in ["/etcdserverpb.KV/Range", "/etcdserverpb.Watch/Watch", "/v3lockpb.Lock/Lock"] {
            assert!(BY_PATH.contains_key(path), "{path}");
        }
        assert!(Call::start("/made.Up/Name").method.is_none());
        // With every code and every bucket of each.
        let series: usize = METHODS.iter().map(|method| 1 + CODES.len() + usize::from(method.unary) * 16).sum();
        assert!(METHODS.len() > 40 && series < 2000, "{} calls, {series} series", METHODS.len());
        let codes = CODES.iter().enumerate().skip(1);
        for (number, name) in codes {
            let code = format!("{:?}", Code::from(i32::try_from(number).expect("small")));
            assert!(code == *name || *name == "Canceled", "{code} is {name}");
        }
    }
}
