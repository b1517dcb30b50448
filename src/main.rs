//! The `confcast` program.
fn main() {}
