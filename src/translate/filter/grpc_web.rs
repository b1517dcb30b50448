//! `envoy.filters.http.grpc_web`: calls of gRPC in the form that browsers can send become calls of gRPC.
//!
//! The plugin `grpc-web` refuses every other request, which Envoy lets pass, so that it must only be where requests are of
//! this form.

use serde_json::json;

use super::{Effect, WEB};
use crate::apisix::Expr;
use crate::apisix::expr::Op;
use crate::translate::report::Notes;

/// The types of content that both Envoy and APISIX take for gRPC-Web, each as a whole.
const TYPES: [&str; 4] = [
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
];

/// What the filter does to requests that are of this form.
pub(in crate::translate) fn take(notes: &mut Notes) -> Effect {
    let reason = "the plugin takes POST requests to clusters of HTTP/2 by their path as they came";
    let effect = "others pass as they are; answers are encoded as the request was, whatever it accepts, and may be read \
                  from any origin where no CORS policy says otherwise";
    notes.approximate("grpc_web", reason, effect);
    Effect::plugin(WEB, json!({}))
}

/// Whether a request is of this form. Each is, or is not: nothing about it can fail.
pub(in crate::translate) fn is_asked() -> Expr {
    let post = Expr::is("request_method", Op::Eq, "POST");
    Expr::All(vec![post, Expr::is("http_content_type", Op::In, TYPES.map(str::to_owned).to_vec())])
}
