//! The parts of the documentation that are made from the program are up to date (`cargo xtask gen` makes them), the
//! commands in the other parts are commands, and links lead somewhere.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use confcast::cli::reference;
use confcast::telemetry::{Kind, SUBJECTS};

/// Compares a file with what it should be, or writes it if `cargo xtask gen` asks for that.
fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::env::var_os("CONFCAST_GENERATE").is_some() {
        return fs::write(&path, text).expect("written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "docs/{name} is not up to date; run: cargo xtask gen");
}

#[test]
fn metrics() {
    let mut text = "\
<!-- Made by `cargo xtask gen` from src/telemetry. -->
# Metrics

Served as `/metrics` by the admin port, and by the port of clients where etcd has them. Labels have no other values than
those named here, so that the number of time series does not grow with clients or configuration. Every series is there
from the start, with the value 0, but for calls of the API what is said there.
"
    .to_owned();
    for (subject, metrics) in SUBJECTS {
        let _ = write!(text, "\n## {subject}\n\n| name | type | meaning |\n| --- | --- | --- |\n");
        for metric in metrics {
            let kind = match metric.kind {
                Kind::Counter | Kind::Sum => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let _ = write!(text, "| `{}` | {kind} | {}", metric.name, metric.meaning());
            for (label, values) in metric.labels {
                let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
                let _ = write!(text, "; by `{label}`: {}", values.join(", "));
            }
            text.push_str(" |\n");
        }
    }
    check("metrics.md", &text);
}

#[test]
fn configuration() {
    let mut text = "\
<!-- Made by `cargo xtask gen` from src/cli. -->
# Configuration

Each setting is a flag of `confcast serve` and `confcast check`, an environment variable, and a line of the file that
`--config` names, in TOML ([deploy/confcast.toml](../deploy/confcast.toml) is one). Flags come before variables, and these
before the file. What there may be several of is a flag given again, a variable with commas, or a list in the file. A name
that is not known is an error, also in the file.

Settings with a \u{21bb} change while the server runs, when the file changes and on SIGHUP; the others need a restart
([operations.md](operations.md#changing-settings)). Served certificates, the control plane's token, users and files of
resources are followed as they change.

`confcast check`, with the same flags and variables, says what is wrong without starting a server.
"
    .to_owned();
    let settings = reference::settings();
    let mut subject = "";
    for setting in &settings {
        if subject != setting.subject {
            subject = &setting.subject;
            let _ = write!(
                text,
                "\n## {subject}\n\n| flag, variable, name in the file | default | meaning |\n| --- | --- | --- |\n"
            );
        }
        let value = setting.value.as_ref().map(|value| format!(" {value}")).unwrap_or_default();
        let key = setting.key.as_ref().map_or_else(|| "–".to_owned(), |key| format!("`{key}`"));
        let key = if setting.live { key + " \u{21bb}" } else { key };
        let default = match setting.default.as_deref() {
            None => "–".to_owned(),
            // A value, or a description of one.
            Some(default) if !default.contains(' ') => format!("`{default}`"),
            Some(default) => default.to_owned(),
        };
        let meaning = setting.meaning.replace('|', "\\|");
        let _ =
            write!(text, "| `--{}{value}`<br>`{}`<br>{key} | {default} | {meaning}", setting.flag, setting.variable);
        if !setting.choices.is_empty() {
            let choices: Vec<_> = setting.choices.iter().map(|choice| format!("`{choice}`")).collect();
            let _ = write!(text, ": {}", choices.join(", "));
        }
        if setting.several && !setting.meaning.contains("several") {
            text.push_str("; several may be given");
        }
        text.push_str(" |\n");
    }
    check("configuration.md", &text);
}

#[test]
fn every_setting_can_be_given_in_every_way() {
    // These decide how the others are read, and how what is wrong with them is said.
    let before: Vec<_> =
        reference::settings().into_iter().filter(|setting| setting.key.is_none()).map(|setting| setting.flag).collect();
    assert_eq!(before, ["log-format", "config"]);
    assert_eq!(reference::without_flag(), Vec::<&str>::new());
    for setting in reference::settings() {
        assert_eq!(setting.variable, format!("CONFCAST_{}", setting.flag.replace('-', "_").to_uppercase()));
    }
}

/// The documents for people.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<_> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "deploy/README.md"].map(String::from).into();
    let docs = fs::read_dir(root.join("docs")).expect("a folder").flatten();
    let docs = docs.map(|entry| format!("docs/{}", entry.file_name().to_string_lossy()));
    names.extend(docs.filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "md")));
    let read = |name: String| (fs::read_to_string(root.join(&name)).expect("text"), name);
    names.into_iter().map(read).map(|(text, name)| (name, text)).collect()
}

fn deployed(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// Commands that start a server, in blocks for a shell.
fn serve_commands(text: &str) -> Vec<Vec<String>> {
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines: Vec<_> =
        blocks.flat_map(|block| block.replace("\\\n", " ").lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let words = lines.iter().filter_map(|line| shlex::split(line));
    words.filter(|words| words.len() > 1 && words[0] == "confcast" && words[1] == "serve").collect()
}

#[test]
fn servers_can_be_started_as_the_documents_say() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = support::tls::Authority::new();
    let (certificate, key) = authority.sign("localhost");
    let given = [("ca.crt", authority.issuer.pem()), ("kuma-ca.crt", authority.issuer.pem())];
    let given = given.into_iter().chain([
        ("client.crt", certificate),
        ("client.key", key),
        ("password", "a".into()),
        ("token", "a".into()),
        ("users.toml", fs::read_to_string(deployed("users.toml")).expect("text")),
        ("apisix.yaml", "routes: []\n#END\n".into()),
    ]);
    for (name, text) in given {
        fs::write(dir.path().join(name), text).expect("written");
    }
    fs::create_dir(dir.path().join("mesh")).expect("made");
    let mut seen = 0;
    for (name, text) in documents() {
        for words in serve_commands(&text) {
            let mut command = Command::new(env!("CARGO_BIN_EXE_confcast"));
            let output = command.arg("check").args(&words[2..]).current_dir(dir.path()).output().expect("runs");
            assert!(output.status.success(), "{name}: {words:?}\n{}", String::from_utf8_lossy(&output.stderr));
            seen += 1;
        }
    }
    assert!(seen >= 13, "{seen}");
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for (name, text) in documents() {
        let folder = root.join(&name).parent().expect("a folder").to_owned();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (path, place) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { root.join(&name) } else { folder.join(path) };
            assert!(file.exists(), "{name}: {target}");
            let heading = |line: &str| line.starts_with('#') && slug(line) == place;
            let found = place.is_empty() || fs::read_to_string(&file).expect("text").lines().any(heading);
            assert!(found, "{name}: {target}");
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen}");
}

/// Names of the test functions below a folder.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("text");
            let tests = text.split("#[test]").skip(1).chain(text.split("#[tokio::test").skip(1));
            let name = |text: &str| text.split_once("fn ")?.1.split_once('(').map(|(name, _)| name.to_owned());
            found.extend(tests.filter_map(name));
        }
    }
}

#[test]
fn every_lesson_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    ["src", "tests", "loadtest"].iter().for_each(|folder| tests_below(&root.join(folder), &mut tests));
    let text = fs::read_to_string(root.join("docs/lessons.md")).expect("text");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    let mut seen = 0;
    for row in rows.filter(|row| !row.ends_with("| test |")) {
        let cell = row.trim_end_matches(" |").rsplit("| ").next().expect("a cell");
        let named: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test: {row}");
        for name in named {
            assert!(tests.contains(name), "there is no test {name}: {row}");
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}

/// The name that a heading has in a link.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}
