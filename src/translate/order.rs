//! Keeping Envoy's order: the first route of the list that fits is taken, whatever its path.
//!
//! APISIX goes by path first: the exact one, then the longest prefix, and looks at priorities only among routes at the
//! same place. So a route is also registered at every place below its own at which a later route is, with a higher
//! priority than that one. A place below a route that takes every request needs no later route at all.

use super::path::Uri;

/// What matters of a route for its order.
pub(super) struct Entry<'a> {
    /// Where it is tried.
    pub(super) uris: &'a [Uri],
    /// Whether it takes every request at these places.
    pub(super) unconditional: bool,
}

/// Where each of the routes is to be registered, in the same order. A route with no place is never reached.
pub(super) fn places(routes: &[Entry<'_>]) -> Vec<Vec<Uri>> {
    let mut places: Vec<Vec<Uri>> = Vec::with_capacity(routes.len());
    for (later, route) in routes.iter().enumerate() {
        let mut own = Vec::new();
        for uri in route.uris {
            let above = || (0..later).filter(|earlier| routes[*earlier].uris.iter().any(|other| other.contains(uri)));
            if above().any(|earlier| routes[earlier].unconditional) {
                continue;
            }
            for earlier in above() {
                if !places[earlier].contains(uri) {
                    places[earlier].push(uri.clone());
                }
            }
            own.push(uri.clone());
        }
        places.push(own);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        match text.strip_suffix('*') {
            Some(prefix) => Uri::Prefix(prefix.into()),
            None => Uri::Exact(text.into()),
        }
    }

    /// Routes as `path` or `path?` for one with conditions; places as lists of patterns.
    fn check(routes: &[&str], expected: &[&[&str]]) {
        let uris: Vec<_> = routes.iter().map(|route| vec![uri(route.trim_end_matches('?'))]).collect();
        let entries: Vec<_> = routes
            .iter()
            .zip(&uris)
            .map(|(route, uris)| Entry { uris, unconditional: !route.ends_with('?') })
            .collect();
        let places: Vec<Vec<_>> = places(&entries).iter().map(|uris| uris.iter().map(Uri::pattern).collect()).collect();
        assert_eq!(places, expected, "{routes:?}");
    }

    #[test]
    fn an_earlier_route_is_found_first_wherever_a_later_one_is() {
        check(&["/a/b", "/a*", "/*"], &[&["/a/b"], &["/a*"], &["/*"]]);
        check(&["/*?", "/a*", "/a/b"], &[&["/*", "/a*"], &["/a*"], &[]]);
        check(&["/*", "/a*"], &[&["/*"], &[]]);
        check(&["/a*?", "/a?", "/ab*?", "/*"], &[&["/a*", "/a", "/ab*"], &["/a"], &["/ab*"], &["/*"]]);
        check(&["/a?", "/a"], &[&["/a"], &["/a"]]);
        check(&["/a", "/a"], &[&["/a"], &[]]);
    }
}
