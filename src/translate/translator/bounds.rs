//! Bounds of clusters, which stand in the routes to them.

use super::{Source, Translator};
use crate::translate::bounds::Bounds;
use crate::translate::derived::Target;

impl Translator {
    /// Learns the bounds of clusters that changed, and has the routes made anew whose clusters have others now.
    pub(super) fn touch_bounds(&mut self) {
        let mut changed = Vec::new();
        for name in &self.dirty_clusters {
            let bounds = self.clusters.get(name).map(|cluster| cluster.bounds(self.endpoints_of(cluster)));
            let bounds = bounds.unwrap_or_default();
            if bounds != self.bounds.get(name).copied().unwrap_or_default() {
                changed.push((name.clone(), bounds));
            }
        }
        for (name, bounds) in changed {
            let names = |target: &Target| target.cluster == name;
            let named = self.made.iter().filter_map(|(source, made)| match source {
                // Targets are sorted by cluster, and the plain one is the first.
                Source::Routes(routes) => {
                    made.targets.range(Target::plain(&name)..).next().filter(|next| names(next)).map(|_| routes.clone())
                }
                Source::Cluster(_) | Source::Listeners => None,
            });
            self.dirty_routes.extend(named);
            if bounds == Bounds::default() {
                self.bounds.remove(&name);
            } else {
                self.bounds.insert(name, bounds);
            }
        }
    }
}
