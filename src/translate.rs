//! From Envoy's resources to APISIX's objects: pure, incremental, and plain about what it cannot express.
//!
//! A resource is taken apart as soon as it comes, into what APISIX can do with it; no decoded message is kept. Objects
//! are put together from these parts: an upstream from a cluster and its endpoints, routes from a route
//! configuration, the listeners that use it and what is known of the clusters that it names. A change makes only
//! those objects anew that are made of it, and what comes out equal is not reported as changed.
//!
//! A match is never wider than Envoy's. What is not expressed exactly is in the [`Report`]; a route whose security
//! filters cannot be expressed answers 403.

mod action;
mod bounds;
mod cluster;
mod derived;
mod endpoints;
mod filter;
mod filters;
mod fraction;
mod headers;
mod hosts;
pub mod ids;
mod listener;
mod matchers;
mod order;
mod path;
mod pcre;
mod raw_path;
mod redirect;
pub mod report;
mod route;
mod routes;
mod secret;
mod tls;
mod translator;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Serialize;

use crate::apisix::{Generation, Object, ObjectKey};
use crate::envoy::{Resource, ResourceChange};
pub use report::{Entry, Fidelity, Report};
pub use translator::Translator;
pub use translator::origins::{MadeOf, Origins};

/// Settings of the translation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// When routes are tied to the port that Envoy would listen on.
    pub ports: Ports,
    /// The version of APISIX that objects are for. None for the form of 3.6 and later.
    pub apisix: Option<Generation>,
    /// How tokens are checked.
    pub tokens: Tokens,
    /// How servers are asked whether a request may pass.
    pub servers: Servers,
}

/// How a server is asked whether a request may pass, where Envoy does so (ext_authz).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Servers {
    /// Not at all: the routes are closed.
    #[default]
    Closed,
    /// By the plugin `forward-auth` of APISIX, which must be enabled on every instance, and which tells the server of the
    /// request by `X-Forwarded-Method` and `X-Forwarded-Uri`: for servers that go by these.
    ForwardAuth,
}

/// How tokens (JWT) are checked where Envoy checks them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tokens {
    /// Not at all: routes that ask for one are closed.
    #[default]
    Closed,
    /// By the plugin `openid-connect` of APISIX 3.18 or later, which must be enabled on every instance: what an instance
    /// has not enabled it passes over without a word, and then nothing is checked.
    OpenidConnect,
}

impl Options {
    /// Whether routes may ask servers.
    fn asks_servers(self) -> bool {
        self.servers == Servers::ForwardAuth
    }

    /// Whether routes may ask for tokens.
    fn checks_tokens(self) -> bool {
        self.tokens == Tokens::OpenidConnect && self.apisix.is_none_or(Generation::refuses_unknown_tokens)
    }
}

/// When routes are tied to the port that Envoy would listen on, which APISIX must then listen on as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ports {
    /// If there are listeners with different routes, as they could not be told apart otherwise.
    #[default]
    Auto,
    /// Never: all routes are served on every port.
    Never,
}

/// What a change of resources does to the objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New and changed objects, in make-before-break order.
    pub puts: Vec<Object>,
    /// Objects that are gone, in the opposite order.
    pub deletes: Vec<ObjectKey>,
}

/// Everything that a set of resources becomes.
#[derive(Debug, Serialize)]
pub struct Translation {
    /// The objects, in make-before-break order.
    #[serde(skip)]
    pub objects: Vec<Object>,
    /// What is not expressed exactly.
    pub report: Report,
}

/// Translates a set of resources at once.
pub fn translate_all(resources: impl IntoIterator<Item = Resource>, options: Options) -> Translation {
    let mut translator = Translator::new(options);
    for resource in resources {
        translator.apply(ResourceChange::Set(resource));
    }
    translator.flush();
    Translation { objects: translator.objects().cloned().collect(), report: Arc::unwrap_or_clone(translator.report()) }
}
