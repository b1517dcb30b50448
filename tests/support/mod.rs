//! What the tests of the whole program share.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test uses a part of it")]

use std::path::PathBuf;

/// A program that a test needs, from the variable that `cargo xtask test` sets or from the path. Without it the test
/// says so and is skipped.
pub fn program(variable: &str, name: &str) -> Option<PathBuf> {
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
    };
    let found = std::env::var_os(variable).map(PathBuf::from).or_else(on_path);
    if found.is_none() {
        println!("SKIPPED: no {name}; `cargo xtask test` fetches it");
    }
    found
}
