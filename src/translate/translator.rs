//! The state of a translation, and how a change makes its way through it.

mod bounds;
mod listeners;
mod mirrors;
mod object;
pub(super) mod origins;
mod upstreams;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::object::object;
use super::bounds::Bounds;
use super::cluster::{self, Cluster};
use super::derived::Target;
use super::endpoints::{self, Endpoints};
use super::listener::{self, Context, Listener};
use super::report::{Entry, Notes, Report};
use super::routes::{self, Around, Place, Routes};
use super::secret::{self, Secret};
use super::tls::Given;
use super::{Changes, Options, Ports};
use crate::apisix::{Kind, Object, ObjectKey};
use crate::envoy::{Resource, ResourceChange, ResourceType};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;

/// Translates resources as they change.
#[derive(Debug, Default)]
pub struct Translator {
    options: Options,
    clusters: BTreeMap<String, Cluster>,
    endpoints: BTreeMap<String, Endpoints>,
    listeners: BTreeMap<String, Listener>,
    /// Route configurations of their own, and those inside listeners.
    routes: BTreeMap<String, Routes>,
    secrets: BTreeMap<String, Secret>,
    /// Endpoints, secrets and other clusters by name, and the clusters that use them.
    users: BTreeMap<(ResourceType, String), BTreeSet<String>>,
    /// Clusters as routes use them, with the number of sources that do, by the name of the cluster.
    targets: BTreeMap<String, BTreeMap<Target, usize>>,
    /// Clusters that get copies of requests, by name.
    mirrors: BTreeMap<String, mirrors::Mirrored>,
    /// Bounds of clusters that have any, by name.
    bounds: BTreeMap<String, Bounds>,
    dirty_clusters: BTreeSet<String>,
    dirty_routes: BTreeSet<String>,
    /// Whether where routes are served may have changed.
    dirty_places: bool,
    /// Whether certificates and connections of listeners may have changed.
    dirty_listeners: bool,
    places: BTreeMap<String, Vec<Place>>,
    /// What each source made of the objects.
    made: BTreeMap<Source, Made>,
    objects: BTreeMap<ObjectKey, Object>,
    report: Arc<Report>,
    /// Whether there may be other entries than those of the report.
    stale: bool,
}

/// What objects are made from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Cluster(String),
    Routes(String),
    /// Certificates and connections of all listeners, which share names and ports.
    Listeners,
}

/// What was made from a source.
#[derive(Debug, Default)]
struct Made {
    objects: BTreeSet<ObjectKey>,
    entries: Vec<Entry>,
    /// Clusters that the objects refer to, as they use them.
    targets: BTreeSet<Target>,
}

impl Translator {
    /// A translator without resources.
    pub fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    /// How it translates.
    pub fn options(&self) -> Options {
        self.options
    }

    /// Takes a change. What it means for the objects comes out of [`flush`](Self::flush).
    pub fn apply(&mut self, change: ResourceChange) {
        match change {
            ResourceChange::Set(resource) => self.set(resource),
            ResourceChange::Remove(kind, name) => self.remove(kind, &name),
        }
    }

    fn set(&mut self, resource: Resource) {
        match resource {
            Resource::Cluster(cluster) => {
                let taken = cluster::take(&cluster);
                self.forget_user(&cluster.name);
                for used in used(&taken) {
                    self.users.entry(used).or_default().insert(cluster.name.clone());
                }
                self.touch_cluster(&cluster.name);
                self.clusters.insert(cluster.name, taken);
            }
            Resource::Endpoints(assignment) => {
                let notes = Notes::of(ResourceType::Endpoints, &assignment.cluster_name);
                let taken = endpoints::take(&assignment, notes);
                self.touch_users(ResourceType::Endpoints, &assignment.cluster_name);
                self.endpoints.insert(assignment.cluster_name, taken);
            }
            Resource::Listener(listener) => {
                self.forget_inline(&listener.name);
                let taken = listener::take(&listener);
                for (name, configuration) in &taken.inline {
                    self.take_routes(name, configuration);
                }
                self.listeners.insert(listener.name, taken);
                self.touch_listeners();
            }
            Resource::Route(configuration) => {
                let name = configuration.name.clone();
                self.take_routes(&name, &configuration);
                // Without listeners, each that is there is served.
                self.dirty_places |= self.listeners.is_empty();
            }
            Resource::Secret(secret) => {
                let taken = secret::take(&secret);
                self.touch_users(ResourceType::Secret, &secret.name);
                self.secrets.insert(secret.name, taken);
                self.dirty_listeners = true;
            }
        }
    }

    fn remove(&mut self, kind: ResourceType, name: &str) {
        match kind {
            ResourceType::Cluster => {
                self.forget_user(name);
                self.clusters.remove(name);
                self.touch_cluster(name);
            }
            ResourceType::Endpoints => {
                self.endpoints.remove(name);
                self.touch_users(kind, name);
            }
            ResourceType::Listener => {
                self.forget_inline(name);
                self.listeners.remove(name);
                self.touch_listeners();
            }
            ResourceType::Route => {
                self.routes.remove(name);
                self.dirty_routes.insert(name.to_owned());
                self.dirty_places |= self.listeners.is_empty();
            }
            ResourceType::Secret => {
                self.secrets.remove(name);
                self.dirty_listeners = true;
                self.touch_users(kind, name);
            }
        }
    }

    fn touch_listeners(&mut self) {
        self.dirty_places = true;
        self.dirty_listeners = true;
        self.stale = true;
    }

    fn take_routes(&mut self, name: &str, configuration: &RouteConfiguration) {
        self.routes.insert(name.to_owned(), routes::take(name, configuration));
        self.dirty_routes.insert(name.to_owned());
    }

    fn forget_inline(&mut self, listener: &str) {
        for (name, _) in self.listeners.get(listener).into_iter().flat_map(|listener| &listener.inline) {
            self.routes.remove(name);
            self.dirty_routes.insert(name.clone());
        }
    }

    fn forget_user(&mut self, cluster: &str) {
        for used in self.clusters.get(cluster).into_iter().flat_map(used) {
            if let Some(users) = self.users.get_mut(&used) {
                users.remove(cluster);
                if users.is_empty() {
                    self.users.remove(&used);
                }
            }
        }
    }

    fn touch_users(&mut self, kind: ResourceType, name: &str) {
        let users = self.users.get(&(kind, name.to_owned())).cloned().unwrap_or_default();
        users.iter().for_each(|cluster| self.touch_cluster(cluster));
    }

    /// Has a cluster made anew, and those that it is a part of, level by level, as far as they know of it.
    fn touch_cluster(&mut self, name: &str) {
        let mut level = BTreeSet::from([name.to_owned()]);
        let mut seen = BTreeSet::new();
        for _ in 0..=upstreams::MAX_DEPTH {
            let mut above = BTreeSet::new();
            for name in level {
                if seen.insert(name.clone()) {
                    let users = self.users.get(&(ResourceType::Cluster, name.clone()));
                    above.extend(users.into_iter().flatten().cloned());
                    self.dirty_clusters.insert(name);
                }
            }
            level = above;
        }
    }

    /// Makes the objects anew that the changes concern, and returns what became different.
    pub fn flush(&mut self) -> Changes {
        let mut before = BTreeMap::new();
        if std::mem::take(&mut self.dirty_places) {
            self.place();
        }
        self.touch_mirrors();
        self.touch_bounds();
        for name in std::mem::take(&mut self.dirty_routes) {
            self.make_routes(&name, &mut before);
        }
        if std::mem::take(&mut self.dirty_listeners) {
            self.make_listeners(&mut before);
        }
        for name in std::mem::take(&mut self.dirty_clusters) {
            self.make_upstream(&name, &mut before);
        }
        if std::mem::take(&mut self.stale) {
            self.report = Arc::new(self.collect_report());
        }
        self.changes_since(before)
    }

    /// Every object, in make-before-break order.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = &Object> {
        self.objects.values()
    }

    /// What is not expressed exactly, as of the last [`flush`](Self::flush). It is the same one while nothing about it
    /// changes, so that a change of endpoints costs the same in a large mesh.
    pub fn report(&self) -> Arc<Report> {
        Arc::clone(&self.report)
    }

    fn collect_report(&self) -> Report {
        let made = self.made.values().flat_map(|made| &made.entries);
        let listeners = self.listeners.values().flat_map(|listener| listener.notes.entries());
        let mut entries: Vec<_> = made.chain(listeners).cloned().collect();
        entries.sort();
        entries.dedup();
        Report { entries }
    }

    /// Finds out where each route configuration is served.
    fn place(&mut self) {
        let mut places: BTreeMap<String, Vec<Place>> = BTreeMap::new();
        for listener in self.listeners.values() {
            for used in &listener.uses {
                let places = places.entry(used.routes.clone()).or_default();
                match places.iter_mut().find(|place| place.context == used.context) {
                    Some(place) => place.ports.extend(listener.port),
                    None => {
                        places
                            .push(Place { context: used.context.clone(), ports: listener.port.into_iter().collect() });
                    }
                }
            }
        }
        if self.listeners.is_empty() {
            // Files that hold nothing but routes are served as they are.
            let everywhere = || vec![Place { context: Context::default(), ports: BTreeSet::new() }];
            places.extend(self.routes.keys().map(|name| (name.clone(), everywhere())));
        }
        let tied = self.options.ports == Ports::Auto && places.len() > 1;
        for places in places.values_mut() {
            places.sort_by_key(|place| {
                (crate::apisix::Expr::vars(&place.context.conditions).to_string(), place.ports.clone())
            });
            // Two listeners that differ in their filters only are never mixed up.
            let alike = places.windows(2).any(|pair| pair[0].context.conditions == pair[1].context.conditions);
            if !tied && !alike {
                places.iter_mut().for_each(|place| place.ports.clear());
            }
        }
        let (one, other) = (self.places.len() > 1, places.len() > 1);
        let all = self.places.keys().chain(places.keys()).cloned().collect::<BTreeSet<_>>();
        let changed = all.into_iter().filter(|name| one != other || self.places.get(name) != places.get(name));
        self.dirty_routes.extend(changed);
        self.places = places;
    }

    fn make_routes(&mut self, name: &str, before: &mut BTreeMap<ObjectKey, Option<Object>>) {
        let source = Source::Routes(name.to_owned());
        let mut made = Made::default();
        let mut objects = Vec::new();
        let mirrors = self.mirror(name, &mut made.entries);
        let (bounds, options) = (&self.bounds, self.options);
        let around = Around { mirrors, bounds, options, wider: self.places.len() > 1 };
        if let (Some(routes), Some(places)) = (self.routes.get(name), self.places.get(name)) {
            let (assembled, notes) = routes.assemble(places, &around);
            made.entries.extend_from_slice(notes.entries());
            made.targets = routes.targets(places, &around);
            let of = (ResourceType::Route, name);
            for route in assembled {
                objects.extend(object((Kind::Route, &route.id), &route, of, self.options.apisix, &mut made.entries));
            }
        }
        self.name_targets(&source, &made.targets);
        self.replace(source, made, objects, before);
    }

    /// A cluster that is named needs an upstream, be it one without nodes until the cluster is known.
    fn name_targets(&mut self, source: &Source, targets: &BTreeSet<Target>) {
        let old = self.made.get(source).map(|made| made.targets.clone()).unwrap_or_default();
        for target in targets.difference(&old) {
            *self.targets.entry(target.cluster.clone()).or_default().entry(target.clone()).or_default() += 1;
            self.dirty_clusters.insert(target.cluster.clone());
        }
        for target in old.difference(targets) {
            self.forget_target(target);
        }
    }

    fn forget_target(&mut self, target: &Target) {
        self.dirty_clusters.insert(target.cluster.clone());
        if let Some(targets) = self.targets.get_mut(&target.cluster) {
            if let Some(count) = targets.get_mut(target) {
                *count -= 1;
            }
            targets.retain(|_, count| *count > 0);
            if targets.is_empty() {
                self.targets.remove(&target.cluster);
            }
        }
    }

    /// Puts what was made of a source in place of what had been, remembering in `before` what it replaces.
    fn replace(
        &mut self,
        source: Source,
        mut made: Made,
        objects: Vec<Object>,
        before: &mut BTreeMap<ObjectKey, Option<Object>>,
    ) {
        made.objects = objects.iter().map(|object| object.key.clone()).collect();
        let old = self.made.remove(&source).unwrap_or_default();
        self.stale |= old.entries != made.entries;
        for key in old.objects.difference(&made.objects) {
            let gone = self.objects.remove(key);
            before.entry(key.clone()).or_insert(gone);
        }
        for object in objects {
            let key = object.key.clone();
            let replaced = self.objects.insert(key.clone(), object);
            before.entry(key).or_insert(replaced);
        }
        if !made.objects.is_empty() || !made.entries.is_empty() {
            self.made.insert(source, made);
        }
    }

    fn changes_since(&self, before: BTreeMap<ObjectKey, Option<Object>>) -> Changes {
        let mut changes = Changes::default();
        for (key, old) in before {
            match self.objects.get(&key) {
                Some(new) if old.as_ref() != Some(new) => changes.puts.push(new.clone()),
                None if old.is_some() => changes.deletes.push(key),
                _ => {}
            }
        }
        changes.deletes.reverse();
        changes
    }
}

/// What a cluster is made of beside itself.
fn used(cluster: &Cluster) -> Vec<(ResourceType, String)> {
    let endpoints = cluster.eds_name().map(|name| (ResourceType::Endpoints, name.to_owned()));
    let secret = match cluster.client_certificate() {
        Some(Given::Secret(name)) => Some((ResourceType::Secret, name.clone())),
        Some(Given::Inline(_) | Given::Elsewhere(_)) | None => None,
    };
    let parts = cluster.parts().iter().map(|name| (ResourceType::Cluster, name.clone()));
    endpoints.into_iter().chain(secret).chain(parts).collect()
}
