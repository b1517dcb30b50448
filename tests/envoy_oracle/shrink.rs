//! Cutting a mesh on which both differ down to what matters.

use std::time::Instant;

use confcast::apisix::matching::Request;
use serde_json::{Value, json};

use super::{Judge, difference};
use crate::world::World;

/// The smallest mesh and request that are found until `end` on which they still differ.
pub(super) fn shrink(judge: &mut Judge, mut world: World, request: &Request, end: Instant) -> (World, Request) {
    let mut request = request.clone();
    let mut again = true;
    while again && Instant::now() < end {
        again = false;
        let mut step = 0;
        while let Some((smaller, asked)) = smaller(&world, &request, step) {
            if Instant::now() > end {
                break;
            }
            if judge.set(&smaller) && difference(&smaller, std::slice::from_ref(&asked)).is_some() {
                (world, request) = (smaller, asked);
                again = true;
            } else {
                step += 1;
            }
        }
    }
    (world, request)
}

/// The `step`th way of making it smaller.
fn smaller(world: &World, request: &Request, step: usize) -> Option<(World, Request)> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut World)| {
        let mut smaller = world.clone();
        change(&mut smaller);
        all.push((smaller, request.clone()));
    };
    for (at, listener) in world.listeners.iter().enumerate() {
        if listener.port != request.port {
            with(&|world| drop(world.listeners.remove(at)));
        }
    }
    for (at, listener) in world.listeners.iter().enumerate() {
        for field in listener.manager.as_object().into_iter().flat_map(serde_json::Map::keys) {
            with(&|world| drop(world.listeners[at].manager.as_object_mut().map(|fields| fields.remove(field))));
        }
        let hosts = listener.routes["virtual_hosts"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (host_at, host) in hosts.iter().enumerate() {
            let host_path = format!("/virtual_hosts/{host_at}");
            if hosts.len() > 1 {
                with(&|world| remove(&mut world.listeners[at].routes, "/virtual_hosts", host_at));
            }
            for list in ["domains", "routes"] {
                let length = host[list].as_array().map_or(0, Vec::len);
                for item in (0..length).filter(|_| length > 1) {
                    with(&|world| remove(&mut world.listeners[at].routes, &format!("{host_path}/{list}"), item));
                }
            }
            for (route_at, route) in host["routes"].as_array().into_iter().flatten().enumerate() {
                for list in ["headers", "query_parameters", "cookies"] {
                    let path = format!("{host_path}/routes/{route_at}/match/{list}");
                    for item in 0..route["match"][list].as_array().map_or(0, Vec::len) {
                        with(&|world| remove(&mut world.listeners[at].routes, &path, item));
                    }
                }
                if route["route"] != json!({"cluster": "red"}) {
                    with(&|world| {
                        let route = &mut world.listeners[at].routes["virtual_hosts"][host_at]["routes"][route_at];
                        *route = json!({"match": route["match"], "route": {"cluster": "red"}});
                    });
                }
            }
        }
    }
    for at in 0..request.headers.len() {
        let mut request = request.clone();
        request.headers.remove(at);
        all.push((world.clone(), request));
    }
    (step < all.len()).then(|| all.swap_remove(step))
}

fn remove(value: &mut Value, list: &str, at: usize) {
    if let Some(list) = value.pointer_mut(list).and_then(Value::as_array_mut) {
        list.remove(at);
    }
}
