//! Filters that keep requests of a session at one backend: in an upstream of the route's own.

use super::Assembly;
use crate::translate::derived::Target;
use crate::translate::filters::Filter;
use crate::translate::route::Route;

impl Assembly<'_> {
    /// The clusters that a route names, as it uses them here.
    pub(super) fn targets(&self, route: &Route) -> Vec<(Target, u32)> {
        let mut targets = route.action.targets.clone();
        let mut keys = self.filters(route).into_iter().filter_map(|filter| match filter {
            Filter::Keeps(key) => Some(key),
            _ => None,
        });
        // Each filter of the chain may choose a backend anew.
        if let Some(key) = keys.next_back() {
            for (target, _) in &mut targets {
                target.difference.session = Some(key.clone());
            }
        }
        targets
    }
}
