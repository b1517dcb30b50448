//! The state of a translation, and how a change makes its way through it.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use serde::Serialize;

use super::cluster::{self, Cluster};
use super::derived::Target;
use super::endpoints::{self, Endpoints};
use super::listener::{self, Context, Listener};
use super::report::{Entry, Notes, Report};
use super::routes::{self, Place, Routes};
use super::{Changes, Options, Ports, ids};
use crate::apisix::upstream::Timeout;
use crate::apisix::{Kind, Object, ObjectKey, Upstream, schema};
use crate::envoy::{Resource, ResourceChange, ResourceType};

/// Translates resources as they change.
#[derive(Debug, Default)]
pub struct Translator {
    options: Options,
    clusters: BTreeMap<String, Cluster>,
    endpoints: BTreeMap<String, Endpoints>,
    listeners: BTreeMap<String, Listener>,
    /// Route configurations of their own, and those inside listeners.
    routes: BTreeMap<String, Routes>,
    /// Endpoints' names, and the clusters that use them.
    users: BTreeMap<String, BTreeSet<String>>,
    /// Clusters as routes use them, with the number of sources that do, by the name of the cluster.
    targets: BTreeMap<String, BTreeMap<Target, usize>>,
    dirty_clusters: BTreeSet<String>,
    dirty_routes: BTreeSet<String>,
    /// Whether where routes are served may have changed.
    dirty_places: bool,
    places: BTreeMap<String, Vec<Place>>,
    /// What each source made of the objects.
    made: BTreeMap<Source, Made>,
    objects: BTreeMap<ObjectKey, Object>,
}

/// What objects are made from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Cluster(String),
    Routes(String),
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
                if let Some(name) = taken.eds_name() {
                    self.users.entry(name.to_owned()).or_default().insert(cluster.name.clone());
                }
                self.dirty_clusters.insert(cluster.name.clone());
                self.clusters.insert(cluster.name, taken);
            }
            Resource::Endpoints(assignment) => {
                let notes = Notes::of(ResourceType::Endpoints, &assignment.cluster_name);
                let taken = endpoints::take(&assignment, notes);
                self.touch_users(&assignment.cluster_name);
                self.endpoints.insert(assignment.cluster_name, taken);
            }
            Resource::Listener(listener) => {
                self.forget_inline(&listener.name);
                let taken = listener::take(&listener);
                for (name, configuration) in &taken.inline {
                    self.take_routes(name, configuration);
                }
                self.listeners.insert(listener.name, taken);
                self.dirty_places = true;
            }
            Resource::Route(configuration) => {
                let name = configuration.name.clone();
                self.take_routes(&name, &configuration);
                // Without listeners, each that is there is served.
                self.dirty_places |= self.listeners.is_empty();
            }
            Resource::Secret(_) => {}
        }
    }

    fn remove(&mut self, kind: ResourceType, name: &str) {
        match kind {
            ResourceType::Cluster => {
                self.forget_user(name);
                self.clusters.remove(name);
                self.dirty_clusters.insert(name.to_owned());
            }
            ResourceType::Endpoints => {
                self.endpoints.remove(name);
                self.touch_users(name);
            }
            ResourceType::Listener => {
                self.forget_inline(name);
                self.listeners.remove(name);
                self.dirty_places = true;
            }
            ResourceType::Route => {
                self.routes.remove(name);
                self.dirty_routes.insert(name.to_owned());
                self.dirty_places |= self.listeners.is_empty();
            }
            ResourceType::Secret => {}
        }
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
        if let Some(name) = self.clusters.get(cluster).and_then(Cluster::eds_name)
            && let Some(users) = self.users.get_mut(name)
        {
            users.remove(cluster);
        }
    }

    fn touch_users(&mut self, endpoints: &str) {
        self.dirty_clusters.extend(self.users.get(endpoints).into_iter().flatten().cloned());
    }

    /// Makes the objects anew that the changes concern, and returns what became different.
    pub fn flush(&mut self) -> Changes {
        let mut before = BTreeMap::new();
        if std::mem::take(&mut self.dirty_places) {
            self.place();
        }
        for name in std::mem::take(&mut self.dirty_routes) {
            self.make_routes(&name, &mut before);
        }
        for name in std::mem::take(&mut self.dirty_clusters) {
            self.make_upstream(&name, &mut before);
        }
        self.changes_since(before)
    }

    /// Every object, in make-before-break order.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// What is not expressed exactly.
    pub fn report(&self) -> Report {
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
            places.sort_by_key(|place| crate::apisix::Expr::vars(&place.context.conditions).to_string());
            if !tied {
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
        if let (Some(routes), Some(places)) = (self.routes.get(name), self.places.get(name)) {
            let (assembled, notes) = routes.assemble(places, self.places.len() > 1);
            made.entries.extend_from_slice(notes.entries());
            made.targets = routes.targets();
            for route in assembled {
                objects.extend(object(Kind::Route, &route.id, &route, (ResourceType::Route, name), &mut made.entries));
            }
        }
        // A cluster that is named needs an upstream, be it one without nodes until the cluster is known.
        let old = self.made.get(&source).map(|made| made.targets.clone()).unwrap_or_default();
        for target in made.targets.difference(&old) {
            *self.targets.entry(target.cluster.clone()).or_default().entry(target.clone()).or_default() += 1;
            self.dirty_clusters.insert(target.cluster.clone());
        }
        for target in old.difference(&made.targets) {
            self.forget_target(target);
        }
        self.replace(source, made, objects, before);
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

    fn make_upstream(&mut self, name: &str, before: &mut BTreeMap<ObjectKey, Option<Object>>) {
        let mut made = Made::default();
        let mut targets: BTreeSet<Target> =
            self.targets.get(name).map(|targets| targets.keys().cloned().collect()).unwrap_or_default();
        let cluster = self.clusters.get(name);
        let endpoints = cluster.and_then(Cluster::eds_name).and_then(|name| self.endpoints.get(name));
        if let Some(cluster) = cluster {
            made.entries.extend(cluster.entries().cloned());
            made.entries.extend(endpoints.into_iter().flat_map(|endpoints| endpoints.notes.entries()).cloned());
            targets.insert(Target::plain(name));
        }
        let mut objects = Vec::new();
        for target in targets {
            let upstream = match cluster {
                Some(cluster) => cluster.upstream(&target, endpoints),
                None => target.difference.apply(&target, unknown(name), false),
            };
            let of = (ResourceType::Cluster, name);
            objects.extend(object(Kind::Upstream, &upstream.id, &upstream, of, &mut made.entries));
        }
        self.replace(Source::Cluster(name.to_owned()), made, objects, before);
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

/// The upstream of a cluster that is named and not known: Envoy answers 503 for it, as APISIX does without nodes.
fn unknown(cluster: &str) -> Upstream {
    Upstream {
        id: ids::upstream(cluster),
        name: ids::name(cluster),
        labels: ids::labels([("xds_cluster", cluster)]),
        algorithm: "roundrobin",
        scheme: "http",
        timeout: Timeout { connect: 5.0, send: 15.0, read: 15.0 },
        ..Upstream::default()
    }
}

/// An object that APISIX will take. One that it would not is noted instead.
fn object(
    kind: Kind,
    id: &str,
    content: &impl Serialize,
    of: (ResourceType, &str),
    entries: &mut Vec<Entry>,
) -> Option<Object> {
    let value = serde_json::to_vec(content).unwrap_or_default();
    let object = Object { key: ObjectKey::new(kind, id), value: value.into() };
    match schema::check(&object) {
        Ok(()) => Some(object),
        Err(reason) => {
            let mut notes = Notes::of(of.0, of.1);
            let reason = format!("APISIX would not take the result: {reason}");
            notes.not_expressible(kind.directory(), &reason, "it is left out");
            entries.extend_from_slice(notes.entries());
            None
        }
    }
}
