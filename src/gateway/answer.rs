//! Responses of the gateway.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CONTENT_TYPE,
    LOCATION, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::rpc::EtcdError;
use crate::serve::body::AppBody;
use crate::serve::rope::Rope;

/// A response with the headers that all of etcd's have.
fn with(status: StatusCode, content_type: &'static str, body: AppBody) -> Response<AppBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("accept, content-type, authorization"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if !content_type.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

/// The JSON answer to a call.
pub fn message(body: impl Into<Rope>) -> Response<AppBody> {
    call(AppBody::whole(body))
}

/// The answer to a call, whatever its body.
pub fn call(body: AppBody) -> Response<AppBody> {
    let mut response = with(StatusCode::OK, "application/json", body);
    let name = HeaderName::from_static("grpc-metadata-content-type");
    response.headers_mut().insert(name, HeaderValue::from_static("application/grpc"));
    response
}

/// An error instead of an answer.
pub fn error(error: &EtcdError) -> Response<AppBody> {
    let body = json!({"error": error.text(), "message": error.text(), "code": error.code() as i32});
    let mut response = with(error.http_status(), "application/json", AppBody::whole(body.to_string().into_bytes()));
    if let Some(seconds) = error.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A request whose body is compressed.
pub fn encoded() -> Response<AppBody> {
    let text = "confcast: a compressed body (content-encoding) is not supported";
    let body = json!({"error": text, "message": text, "code": tonic::Code::Unimplemented as i32});
    json_text(StatusCode::UNSUPPORTED_MEDIA_TYPE, body.to_string())
}

/// An error inside a stream, which ends it. Clients fail over the missing `http_code`.
pub fn stream_error(error: &EtcdError) -> Vec<u8> {
    let status = error.http_status();
    let body = json!({"error": {
        "grpc_code": error.code() as i32,
        "code": error.code() as i32,
        "http_code": status.as_u16(),
        "http_status": status.canonical_reason().unwrap_or_default(),
        "message": error.text(),
    }});
    format!("{body}\n").into_bytes()
}

/// Plain JSON that is no answer to a call.
pub fn json_text(status: StatusCode, body: String) -> Response<AppBody> {
    with(status, "application/json", AppBody::whole(body.into_bytes()))
}

/// Plain text that browsers must take for nothing else.
pub fn text(status: StatusCode, body: impl Into<String>) -> Response<AppBody> {
    let mut response = plain(status, body);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Plain text.
pub fn plain(status: StatusCode, body: impl Into<String>) -> Response<AppBody> {
    with(status, "text/plain; charset=utf-8", AppBody::whole(body.into().into_bytes()))
}

/// Metrics, for Prometheus.
pub fn metrics(body: String) -> Response<AppBody> {
    with(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", AppBody::whole(body.into_bytes()))
}

/// A path that has another form.
pub fn moved(path: &str, explain: bool) -> Response<AppBody> {
    let status = StatusCode::MOVED_PERMANENTLY;
    let mut response = if explain {
        let body = format!("<a href=\"{path}\">Moved Permanently</a>.\n\n");
        with(status, "text/html; charset=utf-8", AppBody::whole(body.into_bytes()))
    } else {
        with(status, "", AppBody::Empty)
    };
    // A path that came in a request has no character that a header may not have.
    if let Ok(location) = HeaderValue::from_str(path) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Nothing but headers: the answer to a browser that asks what it may do.
pub fn options() -> Response<AppBody> {
    with(StatusCode::OK, "", AppBody::Empty)
}

/// A path that does not exist.
pub fn not_found() -> Response<AppBody> {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// A path below the API that does not exist.
pub fn no_such_call() -> Response<AppBody> {
    text(StatusCode::NOT_FOUND, "Not Found\n")
}

/// A path that is not served by this method.
pub fn method_not_allowed(allowed: Option<&'static str>) -> Response<AppBody> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    if let Some(allowed) = allowed {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    }
    response
}
