//! Certificates and connections of listeners. APISIX has one set of names for certificates over all ports, and tells
//! connections apart by port and name alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::object::object;
use super::{Made, Source, Translator};
use crate::apisix::ssl::ClientCheck;
use crate::apisix::{Kind, Object, ObjectKey, Ssl, StreamRoute};
use crate::envoy::ResourceType;
use crate::translate::derived::{Difference, Target};
use crate::translate::ids;
use crate::translate::listener::{Downstream, Stream};
use crate::translate::report::Notes;
use crate::translate::secret::{Authority, Pair, Secret};
use crate::translate::tls::Given;

/// Certificates between a client's and the authority's, if nothing is said: as many as Envoy's library takes.
const DEPTH: u32 = 100;

/// What is said of a chain whose certificates are not at hand.
const CLOSED: &str = "handshakes for its names fail";

impl Translator {
    pub(super) fn make_listeners(&mut self, before: &mut BTreeMap<ObjectKey, Option<Object>>) {
        let mut made = Made::default();
        let mut objects = Vec::new();
        let mut owners: BTreeMap<Option<String>, Downstream> = BTreeMap::new();
        let mut connections = BTreeSet::new();
        for (name, listener) in &self.listeners {
            let mut notes = Notes::of(ResourceType::Listener, name);
            let of = (ResourceType::Listener, name.as_str());
            for tls in &listener.tls {
                let names = own_names(tls, &mut owners, &mut notes);
                for ssl in self.ssls(name, &names, tls, &mut notes) {
                    objects.extend(object((Kind::Ssl, &ssl.id), &ssl, of, self.options.apisix, &mut made.entries));
                }
            }
            for stream in &listener.streams {
                for route in stream_routes(name, stream) {
                    if !connections.insert((route.server_port, route.sni.clone())) {
                        let reason = "another listener has the same port and name";
                        notes.not_expressible("filter_chains", reason, "its connections go there");
                        continue;
                    }
                    objects.extend(object(
                        (Kind::StreamRoute, &route.id),
                        &route,
                        of,
                        self.options.apisix,
                        &mut made.entries,
                    ));
                }
                made.targets.extend(stream.clusters.iter().map(|(cluster, _)| connection(cluster)));
            }
            made.entries.extend_from_slice(notes.entries());
        }
        self.name_targets(&Source::Listeners, &made.targets);
        self.replace(Source::Listeners, made, objects, before);
    }

    /// What is presented for names of a chain, none of them if something that it needs is missing.
    fn ssls(&self, listener: &str, names: &[Option<String>], tls: &Downstream, notes: &mut Notes) -> Vec<Ssl> {
        let mut closed = |reason: &str| {
            notes.not_expressible("filter_chains.transport_socket", reason, CLOSED);
            Vec::new()
        };
        let mut pairs = Vec::new();
        for certificate in &tls.certificates {
            match self.pair(certificate) {
                Ok(pair) => pairs.push(pair),
                Err(reason) => return closed(&reason),
            }
        }
        let [first, rest @ ..] = pairs.as_slice() else { return closed("no certificate") };
        let client = match tls.client.as_ref().map(|(inline, secret)| self.client_check(inline, secret.as_ref())) {
            Some(Err(reason)) => return closed(&reason),
            Some(Ok(check)) => check,
            None => None,
        };
        let any = names.contains(&None);
        let snis: Vec<String> = names.iter().flatten().cloned().collect();
        let mut out = Vec::new();
        for (sni, snis) in [(None, snis), (any.then_some("*"), Vec::new())] {
            if sni.is_none() && snis.is_empty() {
                continue;
            }
            let mut parts = vec![b"ssl".as_ref(), listener.as_bytes(), sni.unwrap_or_default().as_bytes()];
            parts.extend(snis.iter().map(String::as_bytes));
            out.push(Ssl {
                id: ids::id(parts),
                labels: ids::labels([("xds_listener", listener)]),
                kind: "server",
                sni,
                cert: first.cert.clone(),
                key: first.key.clone(),
                certs: rest.iter().map(|pair| pair.cert.clone()).collect(),
                keys: rest.iter().map(|pair| pair.key.clone()).collect(),
                client: client.clone(),
                ssl_protocols: tls.protocols.clone(),
                snis,
            });
        }
        out
    }

    fn pair<'a>(&'a self, given: &'a Given<Pair>) -> Result<&'a Pair, String> {
        match given {
            Given::Inline(pair) => Ok(pair),
            Given::Elsewhere(reason) => Err(reason.clone()),
            Given::Secret(name) => match self.secrets.get(name) {
                Some(Secret::Certificate(Ok(pair))) => Ok(pair),
                Some(Secret::Certificate(Err(reason))) => Err(format!("the secret {name}: {reason}")),
                Some(Secret::Authority(_) | Secret::Other) => Err(format!("the secret {name} is no certificate")),
                None => Err(format!("the secret {name} has not come")),
            },
        }
    }

    /// What clients must present; none if any certificate is good, or the reason why it cannot be said.
    fn client_check(
        &self,
        inline: &Authority,
        secret: Option<&Given<Authority>>,
    ) -> Result<Option<ClientCheck>, String> {
        let other = match secret {
            None => None,
            Some(Given::Inline(authority)) => Some(authority),
            Some(Given::Elsewhere(reason)) => return Err(reason.clone()),
            Some(Given::Secret(name)) => match self.secrets.get(name) {
                Some(Secret::Authority(authority)) => Some(authority),
                Some(Secret::Certificate(_) | Secret::Other) => {
                    return Err(format!("the secret {name} has no authority"));
                }
                None => return Err(format!("the secret {name} has not come")),
            },
        };
        let both = || [Some(inline), other].into_iter().flatten();
        if let Some(reason) = both().find_map(|authority| authority.narrower) {
            return Err(format!("{reason}, which APISIX does not check"));
        }
        if both().any(|authority| authority.untrusted) {
            return Err("clients need a certificate, but of any authority".into());
        }
        let ca = other.and_then(|authority| authority.ca.clone()).or_else(|| inline.ca.clone());
        let Some(ca) = ca else { return Err("clients need a certificate, and no authority is given".into()) };
        let depth = both().find_map(|authority| authority.depth).unwrap_or(DEPTH);
        Ok(Some(ClientCheck { ca: ca?, depth }))
    }
}

/// The names of a chain that no chain before it has. None among them stands for every name.
fn own_names(
    tls: &Downstream,
    owners: &mut BTreeMap<Option<String>, Downstream>,
    notes: &mut Notes,
) -> Vec<Option<String>> {
    let every = || vec![None];
    let names = if tls.names.is_empty() { every() } else { tls.names.iter().map(|name| sni(name)).collect() };
    let alike = |owner: &Downstream| {
        (&owner.certificates, &owner.client, &owner.protocols) == (&tls.certificates, &tls.client, &tls.protocols)
    };
    let mut own = Vec::new();
    for name in names {
        match owners.get(&name) {
            None => {
                owners.insert(name.clone(), tls.clone());
                own.push(name);
            }
            Some(owner) if alike(owner) => {}
            Some(_) => {
                let shown = name.as_deref().unwrap_or("every name");
                let reason = format!("APISIX has one certificate for {shown}, whatever the port");
                notes.not_expressible("filter_chains.transport_socket", &reason, "that of another chain is used");
            }
        }
    }
    own.sort();
    own
}

fn sni(name: &str) -> Option<String> {
    (name != "*").then(|| name.to_ascii_lowercase())
}

/// A cluster for connections.
fn connection(cluster: &str) -> Target {
    Target { cluster: cluster.to_owned(), difference: Difference { stream: true, ..Difference::default() } }
}

/// The stream routes of a chain: one for each name.
fn stream_routes(listener: &str, stream: &Stream) -> Vec<StreamRoute> {
    let mut plugins = BTreeMap::new();
    if stream.clusters.len() > 1 {
        let weighted = stream
            .clusters
            .iter()
            .map(|(cluster, weight)| json!({"upstream_id": connection(cluster).id(), "weight": weight}));
        let weighted: Vec<_> = weighted.collect();
        plugins.insert("traffic-split", json!({"rules": [{"weighted_upstreams": weighted}]}));
    }
    if !stream.sources.is_empty() {
        plugins.insert("ip-restriction", json!({"whitelist": stream.sources}));
    }
    let Some((first, _)) = stream.clusters.first() else { return Vec::new() };
    let names: Vec<Option<String>> =
        if stream.names.is_empty() { vec![None] } else { stream.names.iter().map(|name| sni(name)).collect() };
    let route = |name: &Option<String>| StreamRoute {
        id: ids::id([
            b"stream route".as_ref(),
            listener.as_bytes(),
            stream.chain.as_bytes(),
            name.as_deref().unwrap_or_default().as_bytes(),
        ]),
        server_port: stream.port,
        sni: name.clone(),
        upstream_id: connection(first).id(),
        plugins: plugins.clone(),
    };
    names.iter().map(route).collect()
}
