//! Requests of gRPC-Web, where a route has them translated.
//!
//! The plugin calls what follows the place in the tree of paths at which its route was found: the method that was asked
//! for only at `/*`. There APISIX comes last, after all routes at longer paths. So a table of hosts with such a route is
//! made twice, for requests that have nothing in common: once for all others, and once for those of gRPC-Web with every
//! route at `/*`, where priorities keep the order and conditions stand for the paths.

use std::borrow::Cow;

use super::Assembly;
use crate::apisix::Expr;
use crate::translate::filter::{WEB, grpc_web};
use crate::translate::filters::Filter;
use crate::translate::path::Uri;
use crate::translate::report::Notes;
use crate::translate::route::Route;

/// The requests that routes are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    All,
    /// All but those of gRPC-Web.
    Others,
    Web,
}

impl Round {
    /// What must hold of a request.
    pub(super) fn condition(self) -> Option<Expr> {
        match self {
            Self::All => None,
            Self::Others => Some(grpc_web::is_asked().negated()),
            Self::Web => Some(grpc_web::is_asked()),
        }
    }

    /// The places of a route.
    pub(super) fn uris(self, route: &Route) -> Cow<'_, [Uri]> {
        match self {
            Self::All | Self::Others => Cow::Borrowed(&route.uris),
            Self::Web => Cow::Owned(vec![Uri::all()]),
        }
    }

    /// What must hold of the path, where the place of a route does not say it.
    pub(super) fn path(self, route: &Route) -> Option<Expr> {
        (self == Self::Web && !route.uris.contains(&Uri::all()))
            .then(|| Expr::Any(route.uris.iter().map(Uri::condition).collect()))
    }
}

impl Assembly<'_> {
    /// Whether a route has requests of gRPC-Web translated. What keeps it from that is noted.
    pub(super) fn translates_web(&self, route: &Route, notes: &mut Notes) -> bool {
        let asked = |filter: &&Filter| matches!(filter, Filter::Does(effect) if effect.by_plugin(WEB));
        let known = |name: &str| self.around.bounds.get(name).is_some_and(|bounds| bounds.http2);
        let targets = &route.action.targets;
        if !targets.iter().any(|(target, _)| known(&target.cluster)) || !self.filters(route).iter().any(asked) {
            return false;
        }
        let rewrite = route.action.plugins.get("proxy-rewrite");
        let rewritten =
            rewrite.is_some_and(|rewrite| ["uri", "regex_uri"].iter().any(|way| rewrite.get(way).is_some()));
        if rewritten {
            let reason = "the plugin for gRPC-Web takes the path of a request as it came";
            notes.not_expressible("grpc_web", reason, "where the path is rewritten, such requests pass as they are");
        }
        !rewritten
    }
}
