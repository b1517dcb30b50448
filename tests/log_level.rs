//! What is logged is changed while the server runs, by whoever may.
#![allow(clippy::print_stdout, missing_docs)]

mod support;

use std::net::SocketAddr;
use std::process::{Command, Output};

use support::http::{Answer, Connection, get};
use support::{Confcast, until};

fn put(address: SocketAddr, headers: &str, levels: &str) -> Answer {
    let mut connection = Connection::open(address);
    let length = levels.len();
    let head = format!("PUT /log HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n\r\n");
    connection.send((head + levels).as_bytes());
    connection.answer()
}

fn log_level(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_confcast"));
    command.env_remove("CONFCAST_LOG").arg("log-level").args(args).output().expect("runs")
}

/// How often a line of level debug is in the log: that a connection has ended in an error is one.
fn debug_lines(server: &Confcast) -> usize {
    let mut connection = Connection::open(server.address);
    connection.send(b"NO REQUEST\r\n\r\n");
    drop(connection);
    server.log().matches("\"level\":\"DEBUG\"").count()
}

#[test]
fn levels_are_shown_and_changed_on_the_admin_port() {
    let server = Confcast::start(&[
        "--log=info",
        "serve",
        "--source=none",
        "--listen=127.0.0.1:0",
        "--admin-listen=127.0.0.1:0",
    ])
    .ready();
    assert_eq!(get(server.admin, "/log").text(), "info\n");
    assert_eq!(debug_lines(&server), 0);
    let changed = put(server.admin, "Host: localhost:1", "warn,confcast=debug\n");
    assert_eq!((changed.status, changed.text().as_str()), (200, "warn,confcast=debug\n"));
    until("more is logged", || debug_lines(&server) > 0);
    assert!(server.log().contains("\"before\":\"info\",\"levels\":\"warn,confcast=debug\""), "{}", server.log());
    // What cannot be used changes nothing.
    for wrong in ["confcast=loud", "", "a=b=c"] {
        let refused = put(server.admin, "Host: 127.0.0.1", wrong);
        assert_eq!(refused.status, 400, "{wrong}: {}", refused.text());
        assert!(refused.text().contains("info or confcast=debug"), "{}", refused.text());
    }
    let endpoint = format!("--endpoint=http://{}", server.admin);
    let shown = log_level(&[&endpoint]);
    assert_eq!((shown.status.code(), shown.stdout.as_slice()), (Some(0), b"warn,confcast=debug\n".as_slice()));
    let changed = log_level(&[&endpoint, "error"]);
    assert_eq!((changed.status.code(), changed.stdout.as_slice()), (Some(0), b"error\n".as_slice()));
    assert_eq!(get(server.admin, "/log").text(), "error\n");
    let before = debug_lines(&server);
    assert_eq!(debug_lines(&server), before, "less is logged");
    let refused = log_level(&[&endpoint, "confcast=loud"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("confcast=debug"), "{refused:?}");
}

#[test]
fn a_page_in_a_browser_cannot_change_it() {
    let server = Confcast::serve(&["--source", "none"]).ready();
    for host in ["evil.example", "evil.example:9379", "127.0.0.1.evil.example", "localhost.evil.example", "%"] {
        assert_eq!(put(server.admin, &format!("Host: {host}"), "debug").status, 403, "{host}");
    }
    for host in ["127.0.0.1", "[::1]:9379", "LOCALHOST:9379"] {
        assert_eq!(put(server.admin, &format!("Host: {host}"), "debug").status, 200, "{host}");
    }
}

#[test]
fn an_address_that_others_reach_takes_changes_with_a_token_only() {
    let start = |more: &[&str]| {
        let args = ["serve", "--source=none", "--listen=127.0.0.1:0", "--admin-listen=0.0.0.0:0"];
        let server = Confcast::start(&[&args, more].concat());
        let admin = SocketAddr::from(([127, 0, 0, 1], server.admin.port()));
        (server, admin)
    };
    let (_open, admin) = start(&[]);
    let refused = put(admin, "Host: 127.0.0.1", "debug");
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("--admin-token-file"), "{}", refused.text());
    assert_eq!(get(admin, "/log").status, 200, "everybody may look");

    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("token");
    let (first, second) = ("a".repeat(32), "b".repeat(40));
    std::fs::write(&file, format!("{first}\n")).expect("written");
    let (_server, admin) = start(&["--admin-token-file", &file.display().to_string()]);
    let bearer = |token: &str| format!("Host: any.name\r\nAuthorization: Bearer {token}");
    for wrong in ["Host: 127.0.0.1", &bearer(""), &bearer(&first[1..]), &bearer(&format!("{first}a"))] {
        let refused = put(admin, wrong, "debug");
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")), "{wrong}");
    }
    assert_eq!(put(admin, &bearer(&first), "debug").status, 200);
    let endpoint = format!("--endpoint=http://{admin}");
    let token_file = format!("--token-file={}", file.display());
    assert_eq!(log_level(&[&endpoint, "info"]).status.code(), Some(1));
    assert_eq!(log_level(&[&endpoint, &token_file, "info"]).status.code(), Some(0));
    // Another token from now on, and none while the file is not what it should be.
    std::fs::write(&file, &second).expect("written");
    assert_eq!([&first, &second].map(|token| put(admin, &bearer(token), "debug").status), [401, 200]);
    std::fs::write(&file, "").expect("written");
    assert_eq!([&second, ""].map(|token| put(admin, &bearer(token), "debug").status), [503, 503]);
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(put(admin, &bearer(&second), "debug").status, 503);
}
