//! What the source wants, version by version: upstreams, and routes that refer to them.

use std::collections::BTreeMap;

use bytes::Bytes;
use confcast::apisix::{Kind, Object, ObjectKey};
use confcast::publish::Wanted;
use rand::Rng;
use rand::rngs::StdRng;

pub const UPSTREAMS: usize = 6;
pub const ROUTES: usize = 10;

/// The source.
#[derive(Debug, Default)]
pub struct Source {
    version: u64,
    objects: BTreeMap<ObjectKey, Bytes>,
}

impl Source {
    /// What is wanted now.
    pub fn wanted(&self) -> Wanted {
        let object = |(key, value): (&ObjectKey, &Bytes)| Object { key: key.clone(), value: value.clone() };
        self.objects.iter().map(object).collect()
    }

    /// Changes some of it: objects come, go and change, and routes move from one upstream to another.
    pub fn change(&mut self, random: &mut StdRng) {
        self.version += 1;
        let upstreams: Vec<usize> = (0..UPSTREAMS).filter(|_| random.random_bool(0.6)).collect();
        let upstreams = if upstreams.is_empty() { vec![0] } else { upstreams };
        self.objects.retain(|key, _| key.kind == Kind::Upstream && upstreams.iter().any(|n| key.id == format!("u{n}")));
        for upstream in &upstreams {
            let key = ObjectKey::new(Kind::Upstream, format!("u{upstream}"));
            if !self.objects.contains_key(&key) || random.random_bool(0.3) {
                let padding = "x".repeat(random.random_range(0..300));
                self.objects.insert(key, format!(r#"{{"v":{},"desc":"{padding}"}}"#, self.version).into());
            }
        }
        for route in 0..ROUTES {
            if random.random_bool(0.3) {
                continue;
            }
            let upstream = upstreams[random.random_range(0..upstreams.len())];
            let key = ObjectKey::new(Kind::Route, format!("r{route}"));
            self.objects.insert(key, format!(r#"{{"upstream_id":"u{upstream}"}}"#).into());
        }
    }
}
