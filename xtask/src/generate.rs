//! Generated code: made here, committed, and checked, so that neither a build nor a program that embeds the library
//! needs a protobuf compiler; and the documents that are made from the code.

mod descriptors;
mod etcd;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::run::{cargo, run};
use crate::workspace;

/// Files to write, by path from the root.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Writes the generated files, or compares them with those in the tree.
pub(crate) fn generate(check: bool) -> Result<()> {
    let mut files = etcd::generate().context("etcd's services")?;
    files.extend(descriptors::generate().context("descriptors of Envoy's messages")?);
    let mut stale = Vec::new();
    for (path, content) in files {
        let target = workspace::root().join(&path);
        if fs::read(&target).is_ok_and(|old| old == content) {
            continue;
        }
        if check {
            stale.push(path.display().to_string());
        } else {
            fs::create_dir_all(target.parent().context("files are in folders")?)?;
            fs::write(&target, content)?;
            println!("wrote {}", path.display());
        }
    }
    // The documents that the program describes itself in are compared by a test, which also writes them.
    if !check {
        let test = ["test", "--quiet", "--all-features", "--test", "docs"];
        run(cargo(&test).env("CONFCAST_GENERATE", "1"))?;
    }
    if !stale.is_empty() {
        bail!("not up to date: {}\nrun: cargo xtask gen", stale.join(", "));
    }
    Ok(())
}
