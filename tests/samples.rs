//! What real control planes send, as far as samples are at hand: every set is read and translated, and what is
//! published passes the last gate.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use confcast::apisix::schema;
use confcast::translate::{Fidelity, Options, translate_all};
use confcast::xds::files;

/// Files by the set that they belong to: what comes before `.clusters`, `.listeners` and so on.
fn sets(folder: &str) -> Option<BTreeMap<String, Vec<PathBuf>>> {
    let folder = support::shared("xds-samples")?.join(folder);
    let mut sets: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kinds = [".clusters", ".listeners", ".routes", ".endpoints"];
        if let Some(end) = kinds.iter().find_map(|kind| name.find(kind)) {
            sets.entry(name[..end].to_owned()).or_default().push(entry.path());
        }
    }
    Some(sets)
}

fn check(folder: &str, unreadable_at_most: usize) {
    let Some(sets) = sets(folder) else { return };
    let (mut objects, mut exact, mut unreadable) = (0, 0, Vec::new());
    let mut missing: BTreeMap<String, usize> = BTreeMap::new();
    for (name, paths) in &sets {
        let (resources, errors) = files::load(paths);
        unreadable.extend(errors.iter().map(ToString::to_string));
        let translation = translate_all(resources.into_values(), Options::default());
        for object in &translation.objects {
            assert_eq!(schema::check(object), Ok(()), "{name}");
        }
        objects += translation.objects.len();
        let reasons: BTreeSet<_> = translation
            .report
            .entries
            .iter()
            .filter(|entry| entry.fidelity == Fidelity::NotExpressible)
            .map(|entry| entry.field.clone())
            .collect();
        exact += usize::from(reasons.is_empty());
        for reason in reasons {
            *missing.entry(reason).or_default() += 1;
        }
    }
    println!("{folder}: {} sets, {objects} objects, {exact} sets without anything left out", sets.len());
    println!("not expressed, by number of sets: {missing:#?}");
    println!("not read: {unreadable:#?}");
    assert!(!sets.is_empty() && objects > sets.len());
    assert!(unreadable.len() <= unreadable_at_most, "{} files are not read: {unreadable:#?}", unreadable.len());
}

#[test]
fn envoy_gateway() {
    // Two have a domain in two virtual hosts, which Envoy refuses as well.
    check("eg", 2);
}

#[test]
fn kuma() {
    check("kuma-meshhttproute", 0);
}
