//! Generations of APISIX: what objects must look like for an older one.
//!
//! What is translated is in the form that every version from 3.6 on takes, where unknown fields first became errors. An
//! older one gets what it knows; what it does not know is told as a [`Loss`].

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use super::object::{Kind, ObjectKey};

/// A version of APISIX, as far as objects look different.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation {
    major: u32,
    minor: u32,
}

/// The oldest version whose way of reading an etcd is supported.
const OLDEST: Generation = Generation::new(2, 15);

/// What an older version does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The field of the object.
    pub field: &'static str,
    /// What the version does not do.
    pub reason: String,
    /// What is done instead.
    pub effect: &'static str,
}

impl Generation {
    /// The version `major.minor`.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Whether its `openid-connect` refuses a token when it does not know whom to trust, and compares claims in all cases.
    pub fn refuses_unknown_tokens(self) -> bool {
        self >= Self::new(3, 18)
    }

    /// Whether it watches each directory on a connection of its own, and so sees no order between changes in two of them.
    pub fn watches_directories_apart(self) -> bool {
        self < Self::new(3, 4)
    }

    /// The key under which this version looks for an object.
    pub fn key(self, key: ObjectKey) -> ObjectKey {
        match key.kind {
            Kind::Ssl if self.major < 3 => ObjectKey { kind: Kind::LegacySsl, ..key },
            _ => key,
        }
    }

    /// Changes an object of a kind to what this version takes, and says what is lost. False if it takes no such object
    /// at all.
    pub fn adapt(self, kind: Kind, object: &mut Map<String, Value>, losses: &mut Vec<Loss>) -> bool {
        let mut lose = |field, reason: &str, effect| {
            losses.push(Loss { field, reason: format!("APISIX {self} {reason}"), effect });
        };
        match kind {
            Kind::Ssl | Kind::LegacySsl => {
                if self < Self::new(3, 0) && object.get("type") == Some(&json!("client")) {
                    lose("type", "keeps no certificates for backends", "backends are shown none");
                    return false;
                }
                if self < Self::new(3, 0) {
                    object.remove("type");
                }
                if self < Self::new(3, 5) && object.remove("ssl_protocols").is_some() {
                    let effect = "connections may use the versions of APISIX's own settings";
                    lose("ssl_protocols", "has no versions of TLS for one name", effect);
                }
            }
            Kind::Upstream if self < Self::new(3, 0) && object.remove("tls").is_some() => {
                lose("tls", "takes no certificate of another object", "backends are shown none");
            }
            Kind::Route => {
                let Some(Value::Object(plugins)) = object.get_mut("plugins") else { return true };
                let headers = |plugins: &mut Map<String, Value>, name: &str| {
                    let Some(Value::Object(headers)) = plugins.get_mut(name)?.get_mut("headers") else { return None };
                    Some(flat(headers))
                };
                // In this order, so that the same losses come in the same order.
                if self < Self::new(3, 1) && headers(plugins, "proxy-rewrite") == Some(false) {
                    lose("plugins.proxy-rewrite", "only sets headers of requests", "what is to be added replaces");
                }
                if self < Self::new(3, 9) && plugins.contains_key("grpc-web") {
                    lose("plugins.grpc-web", "leaves the trailers out", "clients do not get the status of a call");
                }
                if self < Self::new(3, 0) && headers(plugins, "response-rewrite") == Some(false) {
                    let effect = "what is to be added replaces, and what is to be removed is empty";
                    lose("plugins.response-rewrite", "only sets headers of responses", effect);
                }
            }
            _ => {}
        }
        true
    }
}

/// Makes headers that are set of those that are added, set and removed; an empty one is sent to no backend. Tells whether
/// nothing but setting was asked for.
fn flat(headers: &mut Map<String, Value>) -> bool {
    let mut out = Map::new();
    let mut exact = true;
    for how in ["add", "set"] {
        if let Some(Value::Object(named)) = headers.remove(how) {
            exact &= how == "set";
            out.extend(named);
        }
    }
    if let Some(Value::Array(names)) = headers.remove("remove") {
        exact = false;
        out.extend(names.iter().filter_map(|name| Some((name.as_str()?.to_owned(), json!("")))));
    }
    *headers = out;
    exact
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Generation {
    type Err = String;

    /// Reads `3.9` or `3.9.1`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no version of APISIX; write it as 3.9");
        let mut numbers = text.split('.').map(|number| number.parse::<u32>().map_err(|_| wrong()));
        let (major, minor) = (numbers.next().ok_or_else(wrong)??, numbers.next().ok_or_else(wrong)??);
        numbers.try_for_each(|number| number.map(drop))?;
        let read = Self::new(major, minor);
        if read < OLDEST {
            return Err(format!("APISIX {read} is too old: confcast supports {OLDEST} and later"));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapted(version: &str, kind: Kind, object: Value) -> (Option<Value>, Vec<&'static str>) {
        let version: Generation = version.parse().expect("a version");
        let Value::Object(mut object) = object else { unreachable!("an object") };
        let mut losses = Vec::new();
        let kept = version.adapt(kind, &mut object, &mut losses);
        (kept.then_some(Value::Object(object)), losses.into_iter().map(|loss| loss.field).collect())
    }

    #[test]
    fn older_versions_only_set_headers() {
        let route = || {
            json!({"plugins": {
                "proxy-rewrite": {"uri": "/a", "headers": {"add": {"x": "1"}, "set": {"y": "2"}, "remove": ["z"]}},
                "response-rewrite": {"headers": {"set": {"y": "2"}}},
            }})
        };
        assert_eq!(adapted("3.1", Kind::Route, route()), (Some(route()), vec![]));
        let flat = json!({"plugins": {
            "proxy-rewrite": {"uri": "/a", "headers": {"x": "1", "y": "2", "z": ""}},
            "response-rewrite": {"headers": {"set": {"y": "2"}}},
        }});
        assert_eq!(adapted("3.0", Kind::Route, route()), (Some(flat), vec!["plugins.proxy-rewrite"]));
        let (old, lost) = adapted("2.15.3", Kind::Route, route());
        assert_eq!(old.expect("kept")["plugins"]["response-rewrite"], json!({"headers": {"y": "2"}}));
        assert_eq!(lost, ["plugins.proxy-rewrite"], "setting is all that was asked for in responses");
    }

    #[test]
    fn older_versions_leave_trailers_out() {
        let route = || json!({"plugins": {"grpc-web": {}}});
        assert_eq!(adapted("3.9", Kind::Route, route()), (Some(route()), vec![]));
        assert_eq!(adapted("3.8", Kind::Route, route()), (Some(route()), vec!["plugins.grpc-web"]));
    }

    #[test]
    fn older_versions_know_less_of_certificates() {
        let ssl = || json!({"type": "server", "snis": ["a"], "ssl_protocols": ["TLSv1.3"]});
        assert_eq!(adapted("3.5", Kind::Ssl, ssl()), (Some(ssl()), vec![]));
        let plain = json!({"type": "server", "snis": ["a"]});
        assert_eq!(adapted("3.4", Kind::Ssl, ssl()), (Some(plain), vec!["ssl_protocols"]));
        assert_eq!(adapted("2.15", Kind::Ssl, ssl()).0, Some(json!({"snis": ["a"]})));
        assert_eq!(adapted("2.15", Kind::Ssl, json!({"type": "client"})), (None, vec!["type"]));
        let upstream = json!({"nodes": [], "tls": {"client_cert_id": "1"}});
        assert_eq!(adapted("2.15", Kind::Upstream, upstream), (Some(json!({"nodes": []})), vec!["tls"]));
        let key = Generation::new(2, 15).key(ObjectKey::new(Kind::Ssl, "1"));
        assert_eq!(key.etcd_key("/apisix"), "/apisix/ssl/1");
        assert_eq!(Generation::new(3, 0).key(ObjectKey::new(Kind::Ssl, "1")).etcd_key("/apisix"), "/apisix/ssls/1");
    }

    #[test]
    fn versions_are_read() {
        assert_eq!("3.18".parse(), Ok(Generation::new(3, 18)));
        assert!(Generation::new(3, 9) < Generation::new(3, 18));
        for wrong in ["", "3", "3.x", "three.1", "2.14", "1.5", "3.9.x"] {
            assert!(wrong.parse::<Generation>().is_err(), "{wrong}");
        }
    }
}
