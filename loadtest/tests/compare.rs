//! A short comparison of the raw broadcaster and, where it has been built beside this, confcast.

use std::path::Path;

#[test]
fn every_stream_sees_every_change() {
    let tool = Path::new(env!("CARGO_BIN_EXE_confcast-loadtest"));
    let confcast = tool.with_file_name("confcast");
    assert!(confcast.is_file(), "{} is built with the workspace", confcast.display());
    let output = assert_cmd::Command::new(tool)
        .args(["compare", "--runs", "1", "--no-pin", "--confcast"])
        .arg(&confcast)
        .args(["fanout", "--streams", "50"])
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("raw broadcaster") && text.contains("confcast"), "{text}");
}
