//! The README's first command: a file goes to a real server with TLS, and what
//! a person would see is printed. Run it with `-- --nocapture`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::process::Command;

use common::content;
use common::servers::{Kind, Server, Variant};

#[test]
fn a_file_reaches_a_real_server_over_tls() {
    let server = Server::start(Kind::Vsftpd, Variant::ExplicitReuse);
    let dir = tempfile::tempdir().unwrap();
    let photo = dir.path().join("photo.jpg");
    std::fs::write(&photo, content(1, 300_000)).unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::copy(server.ca.as_ref().unwrap(), &ca).unwrap();
    let url = format!("ftpes://{}@{}/incoming/", server.user, server.addr());
    println!("$ edgespool send --ca-file ca.pem photo.jpg {url}");
    let sent = Command::new(env!("CARGO_BIN_EXE_edgespool"))
        .current_dir(dir.path())
        .env("EDGESPOOL_PASSWORD", server.password)
        .args(["send", "--ca-file", "ca.pem", "photo.jpg", &url])
        .status()
        .unwrap();
    assert!(sent.success(), "{sent}");
    assert_eq!(server.get("incoming/photo.jpg"), Some(content(1, 300_000)));
    println!("the server's copy is the same, byte for byte");
}
