//! Tests of the file source, with real files.

use std::fs;
use std::path::Path;

use super::*;

fn cluster(name: &str) -> String {
    format!("- '@type': {}\n  name: {name}\n", ResourceType::Cluster.url())
}

/// A running source and what it reports.
struct Source {
    updates: mpsc::Receiver<Update>,
    _stop: tokio_util::sync::DropGuard,
}

impl Source {
    fn start(path: &Path) -> Self {
        let token = CancellationToken::new();
        let (sender, updates) = mpsc::channel(16);
        let config = FilesConfig { paths: vec![path.into()], poll: Duration::from_millis(20) };
        #[expect(clippy::disallowed_methods, reason = "a task of a test")]
        drop(tokio::spawn(run(config, sender, token.clone())));
        Self { updates, _stop: token.drop_guard() }
    }

    /// The next update: names that were set, then names that were removed.
    async fn next(&mut self) -> (Vec<String>, Vec<String>) {
        let update = self.updates.recv().await.expect("the source runs");
        assert_eq!(update.sync, Sync::Complete);
        let (mut set, mut removed) = (Vec::new(), Vec::new());
        for change in update.changes {
            match change {
                ResourceChange::Set(resource) => set.push(resource.name().to_owned()),
                ResourceChange::Remove(_, name) => removed.push(name),
            }
        }
        (set, removed)
    }
}

fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

#[tokio::test]
async fn reports_files_as_they_come_change_and_go() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    fs::write(path("a.yaml"), cluster("a") + &cluster("b")).expect("written");
    fs::write(path("notes.txt"), "not a resource").expect("written");
    let mut source = Source::start(dir.path());
    assert_eq!(source.next().await, (names(["a", "b"]), vec![]));
    // A new file in a new directory.
    fs::create_dir(path("more")).expect("made");
    fs::write(
        path("more/response.json"),
        format!(r#"{{"version_info":"1","resources":[{{"@type":"{}","name":"c"}}]}}"#, ResourceType::Cluster.url()),
    )
    .expect("written");
    assert_eq!(source.next().await, (names(["c"]), vec![]));
    // Replaced by a rename, with one resource gone and one changed.
    let changed = cluster("b") + "  connect_timeout: 3s\n";
    fs::write(path("new"), changed).expect("written");
    fs::rename(path("new"), path("a.yaml")).expect("renamed");
    assert_eq!(source.next().await, (names(["b"]), names(["a"])));
    // A broken file keeps what it had; a good one beside it still changes.
    fs::write(path("a.yaml"), "- '@type': [").expect("written");
    fs::write(path("d.clusters.yaml"), "- name: d\n").expect("written");
    assert_eq!(source.next().await, (names(["d"]), vec![]));
    fs::remove_file(path("a.yaml")).expect("removed");
    assert_eq!(source.next().await, (vec![], names(["b"])));
}

#[test]
fn a_file_that_is_being_written_is_read_when_it_is_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.yaml");
    fs::write(&path, cluster("a") + &cluster("b")).expect("written");
    let mut scanner = Scanner::new(vec![dir.path().into()]);
    let mut look = || scanner.scan_if_changed().map(|scan| scan.resources.len());
    assert_eq!((look(), look()), (Some(2), None));
    fs::write(&path, "").expect("emptied");
    assert_eq!(look(), None, "it may be on its way");
    fs::write(&path, cluster("a")).expect("written");
    assert_eq!((look(), look(), look()), (None, Some(1), None));
    // One that never rests is read all the same.
    let mut number = 0;
    let read = std::iter::repeat_with(|| {
        number += 1;
        fs::write(&path, format!("{}  # {}\n", cluster("c"), "x".repeat(number))).expect("written");
        look()
    });
    assert!(read.take(20).flatten().next().is_some());
}

#[test]
fn what_is_not_known_to_be_gone_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mesh, away) = (dir.path().join("mesh"), dir.path().join("away"));
    fs::create_dir(&mesh).expect("made");
    let path = mesh.join("a.yaml");
    fs::write(&path, cluster("a")).expect("written");
    let mut scanner = Scanner::new(vec![mesh.clone()]);
    let mut look = || {
        let scan = scanner.scan();
        (scan.resources.len(), scan.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    };
    assert_eq!(look(), (1, String::new()));
    // The directory itself, which is looked for by its name.
    fs::rename(&mesh, &away).expect("moved");
    let (resources, errors) = look();
    assert_eq!(resources, 1, "{errors}");
    assert!(errors.contains("No such file"), "{errors}");
    fs::rename(&away, &mesh).expect("moved");
    assert_eq!(look(), (1, String::new()));
    // What an editor leaves behind that has no room on the disk.
    fs::write(&path, "\n").expect("written");
    let (resources, errors) = look();
    assert_eq!(resources, 1, "{errors}");
    assert!(errors.contains("write []"), "{errors}");
    fs::write(&path, "[]").expect("written");
    assert_eq!(look(), (0, String::new()));
    fs::write(&path, cluster("a")).expect("written");
    assert_eq!(look(), (1, String::new()));
    fs::remove_file(&path).expect("removed");
    assert_eq!(look(), (0, String::new()), "the directory is there, and has no files");
}

#[tokio::test]
async fn sees_the_swap_of_a_config_map() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    for (version, name) in [("..1", "a"), ("..2", "b")] {
        fs::create_dir(path(version)).expect("made");
        fs::write(path(version).join("mesh.yaml"), cluster(name)).expect("written");
    }
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, path(name)).expect("linked");
    link("..1", "..data");
    link("..data/mesh.yaml", "mesh.yaml");
    let mut source = Source::start(dir.path());
    assert_eq!(source.next().await, (names(["a"]), vec![]), "the hidden directories are not read beside the links");
    link("..2", "..data_tmp");
    fs::rename(path("..data_tmp"), path("..data")).expect("swapped");
    assert_eq!(source.next().await, (names(["b"]), names(["a"])));
}

#[tokio::test]
async fn a_first_look_at_a_broken_file_reports_nothing_until_it_is_mended() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("a.yaml");
    fs::write(dir.path().join("b.yaml"), cluster("b")).expect("written");
    fs::write(&file, "- name: a\n").expect("written");
    let mut source = Source::start(dir.path());
    assert!(tokio::time::timeout(Duration::from_millis(60), source.updates.recv()).await.is_err());
    fs::write(&file, cluster("a")).expect("written");
    assert_eq!(source.next().await, (names(["a", "b"]), vec![]));
}

#[test]
fn errors_name_file_resource_and_field() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    let url = ResourceType::Cluster.url();
    let cases = [
        ("type.yaml", "- name: a\n".to_owned(), "resource 1 (a): no \"@type\""),
        ("field.yaml", cluster("ok") + &cluster("b") + "  tpye: EDS\n", "resource 2 (b): "),
        ("field2.yaml", cluster("c") + "  tpye: EDS\n", "tpye"),
        ("syntax.json", format!("{{\"@type\":\"{url}\",\n \"name\" 5}}"), "line 2 column 9"),
        ("syntax.yaml", "a: b\n  - c: [\n".to_owned(), "line 2"),
    ];
    for (name, content, expected) in &cases {
        fs::write(path(name), content).expect("written");
        let (_, errors) = load(&[path(name)]);
        let text = errors.iter().map(FileError::to_string).collect::<String>();
        assert!(text.contains(name) && text.contains(expected), "{name}: {text} should say {expected}");
    }
    let (_, errors) = load(&[path("missing.yaml")]);
    assert!(errors[0].to_string().contains("missing.yaml"));
    fs::write(path("one.yaml"), cluster("same")).expect("written");
    fs::write(path("two.yaml"), cluster("same")).expect("written");
    let (resources, errors) = load(&[path("two.yaml"), path("one.yaml")]);
    assert_eq!(resources.len(), 1);
    assert!(errors[0].to_string().contains("two.yaml") && errors[0].to_string().contains("one.yaml"), "{}", errors[0]);
}
