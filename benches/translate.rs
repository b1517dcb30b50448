//! Cost of translating a mesh at once, and of following one change of endpoints in meshes of several sizes.
//!
//! Run with `cargo bench --bench translate`.
#![allow(missing_docs)]

use std::hint::black_box;

use confcast::envoy::{Resource, ResourceChange, ResourceType};
use confcast::testing::mesh;
use confcast::translate::{Options, Translator, translate_all};
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use serde_json::json;

/// Endpoints of each cluster.
const ENDPOINTS: u16 = 10;

/// Clusters for each virtual host.
const CLUSTERS_PER_HOST: usize = 10;

fn endpoints(cluster: usize, first: u16) -> Resource {
    let ports: Vec<_> = (first..first + ENDPOINTS).collect();
    mesh::endpoints(&format!("cluster{cluster}"), &ports)
}

/// A mesh of so many clusters, and a tenth as many virtual hosts with a route to each of ten clusters.
fn mesh_of(clusters: usize) -> Vec<Resource> {
    let mut resources = vec![mesh::listener("http", 80, "routes")];
    for cluster in 0..clusters {
        resources.push(mesh::eds_cluster(&format!("cluster{cluster}")));
        resources.push(endpoints(cluster, 1));
    }
    let host = |number: usize| {
        let route = |cluster: usize| {
            let found = json!({"prefix": format!("/service{cluster}"), "headers": [{"name": "x-version", "string_match": {"exact": "v1"}}]});
            json!({"match": found, "route": {"cluster": format!("cluster{cluster}")}})
        };
        let first = number * CLUSTERS_PER_HOST;
        let routes: Vec<_> = (first..first + CLUSTERS_PER_HOST).map(route).collect();
        json!({"name": format!("host{number}"), "domains": [format!("host{number}.test")], "routes": routes})
    };
    let hosts: Vec<_> = (0..clusters / CLUSTERS_PER_HOST).map(host).collect();
    resources.push(mesh::resource(ResourceType::Route, json!({"name": "routes", "virtual_hosts": hosts})));
    resources
}

fn from_scratch(c: &mut Criterion) {
    let mut group = c.benchmark_group("translate/scratch");
    group.sample_size(10);
    for clusters in [100, 1000, 10_000] {
        let resources = mesh_of(clusters);
        group.bench_function(BenchmarkId::from_parameter(clusters), |bencher| {
            bencher.iter_batched(
                || resources.clone(),
                |resources| black_box(translate_all(resources, Options::default())),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn one_change(c: &mut Criterion) {
    let mut group = c.benchmark_group("translate/endpoints");
    for clusters in [100, 1000, 10_000] {
        let mut translator = Translator::new(Options::default());
        for resource in mesh_of(clusters) {
            translator.apply(ResourceChange::Set(resource));
        }
        translator.flush();
        let forms = [endpoints(clusters / 2, 1), endpoints(clusters / 2, 2)];
        let mut turn = 0;
        group.bench_function(BenchmarkId::from_parameter(clusters), |bencher| {
            bencher.iter(|| {
                turn += 1;
                translator.apply(ResourceChange::Set(forms[turn % 2].clone()));
                let changes = translator.flush();
                assert_eq!(changes.puts.len(), 1);
                black_box((changes, translator.report()))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, from_scratch, one_change);
criterion_main!(benches);
