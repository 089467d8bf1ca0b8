//! `[receive]`: what is understood, and the lines about what is not.

use super::*;
use crate::receive::{Folder, PasswordHash, Permissions, Target, TlsUse};

const BCRYPT: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

/// A server, a watch that only the receiver feeds, and one user of it.
fn receiving(receive: &str, user: &str) -> String {
    format!(
        "[spool]\ndir = \"spool\"\n\
         [[server]]\nname = \"central\"\nhost = \"h\"\nuser = \"u\"\npassword_file = \"pw\"\n\
         [[watch]]\nname = \"cam\"\n\
         [receive]\n{receive}\n\
         [[receive.user]]\nname = \"camera\"\npassword_hash = \"{BCRYPT}\"\n{user}\n"
    )
}

#[test]
fn a_watch_that_only_the_receiver_feeds_needs_no_directory() {
    let loaded = Place::new()
        .load(&receiving("", "watch = \"cam\""))
        .unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.watches[0].dir, None);
    let receive = loaded.config.receive.unwrap();
    assert_eq!(receive.listen, ["0.0.0.0:2121".parse().unwrap()]);
    assert_eq!((receive.tls, receive.max_sessions), (TlsUse::Optional, 200));
    let user = &receive.users[0];
    assert_eq!(user.permissions, Permissions::UPLOAD);
    assert_eq!(user.password, PasswordHash::Bcrypt(BCRYPT.to_owned()));
    let root = Folder {
        name: Vec::new(),
        target: Target::Lane("cam".to_owned()),
    };
    assert_eq!(user.folders, [root]);
}

#[test]
fn every_key_is_known() {
    let place = Place::new();
    let text = receiving(
        "listen = [\"127.0.0.1:2121\", \"[::1]:2121\"]\nlisten_implicit = \"127.0.0.1:9990\"\n\
         tls = \"required\"\npassive_ports = \"50000-50100\"\nexternal_address = \"203.0.113.7\"\n\
         max_sessions = 20\nsessions_per_user = 5\nsessions_per_address = 4\n\
         login_timeout = \"10s\"\nidle_timeout = \"1m\"\nstall_timeout = \"30s\"\n\
         require_close_notify = true\nlockout = { failures = 3, time = \"1h\" }\n\
         on_received = [\"/bin/sh\", \"{path}\"]\n\
         anonymous = { dir = \"meter\", from = [\"10.0.0.0/8\"], permissions = [\"list\"] }",
        "watch = \"cam\"\nfolders = { logs = { dir = \"meter\" }, \"b c\" = { watch = \"cam\" } }\n\
         permissions = [\"upload\", \"list\", \"read\", \"delete\", \"rename\", \"mkdir\", \"overwrite\"]\n\
         quota = { max_size = \"1GiB\", max_files = 100, warn = \"90%\" }\n\
         from = [\"192.168.1.0/24\", \"::1\"]\n\
         [[receive.user]]\nname = \"two\"\npassword_file = \"pw\"\ndir = \"meter\"\npermissions = [\"all\"]",
    );
    let loaded = place.load(&text).unwrap();
    assert_eq!(loaded.warnings, []);
    let receive = loaded.config.receive.unwrap();
    assert_eq!(
        (receive.listen.len(), receive.listen_implicit.len()),
        (2, 1)
    );
    assert_eq!(receive.passive_ports, Some((50_000, 50_100)));
    assert_eq!(receive.lockout.failures, 3);
    let (camera, two) = (&receive.users[0], &receive.users[1]);
    assert_eq!(camera.permissions, Permissions::ALL);
    assert_eq!((camera.folders.len(), camera.from.len()), (3, 2));
    assert_eq!(camera.quota.max_bytes, Some(1 << 30));
    assert_eq!(camera.quota.warn_percent, Some(90));
    assert_eq!(two.password, PasswordHash::Plain(Secret::from("s3cret")));
    let target = Target::Dir(place.path().join("meter"));
    assert_eq!(two.folders[0].target, target);
    assert!(receive.anonymous.unwrap().permissions.list);
}

#[test]
fn every_mistake_has_its_line() {
    let text = receiving(
        "listen = [\"here\"]\nlisten_implicit = 990\ntls = \"requird\"\npassive_ports = \"100-90\"\n\
         external_address = \"gw.example.com\"\nmax_sessions = 0\nlockout = { failures = -1 }\n\
         on_received = [\"sh\"]\nport = 21",
        "watch = \"camera\"\ndir = \"meter\"\npermissions = [\"uplod\"]\nquota = { warn = \"80\" }\n\
         from = [\"192.168.1.0/33\"]",
    );
    let lines = Place::new().lines(&text);
    let expected = [
        "8: watch \"cam\": dir is missing (write dir = \"/data/camera\", or name the watch in a [[receive.user]])",
        "11: [receive]: listen \"here\" is not an address with a port (as in \"127.0.0.1:8321\" or \"[::1]:8321\")",
        "12: [receive]: listen_implicit 990 must be a string (write it in quotes)",
        "13: [receive]: tls \"requird\" is not one of required, optional, none (did you mean \"required\"?)",
        "14: [receive]: passive_ports \"100-90\" is no range of ports from 1024 on (as in \"50000-50100\")",
        "15: [receive]: external_address \"gw.example.com\" is no IPv4 address (as in \"203.0.113.7\")",
        "16: [receive]: max_sessions 0 must lie between 1 and 10000",
        "17: [receive]: lockout: failures -1 must lie between 0 and 1000000",
        "18: [receive]: on_received \"sh\" must be a program's absolute path (no shell is asked)",
        "19: [receive]: unknown key \"port\"",
        "24: receive.user \"camera\": dir and watch are both set (keep one of them)",
        "25: receive.user \"camera\": permissions \"uplod\" is no permission (did you mean \"upload\"?)",
        "26: receive.user \"camera\": quota: max_size is missing (set max_size or max_files, or remove the quota)",
        "26: receive.user \"camera\": quota: warn \"80\" is no percentage (as in \"80%\")",
        "27: receive.user \"camera\": from \"192.168.1.0/33\" is no network or address (as in \"192.168.1.0/24\")",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for expected in expected {
        let expected = format!("edgespool.toml:{expected}");
        let found = lines.iter().any(|line| line.starts_with(&expected));
        assert!(found, "{expected}\n{lines:#?}");
    }
}

#[test]
fn mistakes_in_users_and_folders_have_their_lines() {
    for (user, expected) in [
        (
            "",
            "12: receive.user \"camera\": watch is missing (write watch = \"camera\", or dir = \"/data/in\")",
        ),
        (
            "watch = \"cma\"",
            "15: receive.user \"camera\": watch \"cma\" is no watch of this file (did you mean \"cam\"?)",
        ),
        (
            "watch = \"cam\"\nfolders = { \"a/b\" = { watch = \"cam\" } }",
            "16: receive.user \"camera\": folders.a/b: \"a/b\" is no name for a folder (one part of a path)",
        ),
        (
            "watch = \"cam\"\nfolders = { a = {} }",
            "16: receive.user \"camera\": folders.a: needs a watch or a dir (as in { watch = \"camera\" })",
        ),
        (
            "watch = \"cam\"\nfolders = { a = { dri = \"x\", dir = \"meter\" } }",
            "16: receive.user \"camera\": folders.a: unknown key \"dri\" (did you mean \"dir\"?)",
        ),
        (
            "watch = \"cam\"\npassword_file = \"pw\"",
            "16: receive.user \"camera\": password_file and password_hash are both set (keep one of them)",
        ),
        (
            "watch = \"cam\"\nfolders = { s = { dir = \"spool/x\" } }",
            "16: receive.user \"camera\": folders.s: dir \"spool/x\" does not exist (create it, or correct the path)",
        ),
        (
            "watch = \"cam\"\n[[receive.user]]\nname = \"camera\"\npassword_file = \"pw\"\nwatch = \"cam\"",
            "17: receive.user \"camera\": name \"camera\" is taken by the user in line 12 (rename one)",
        ),
    ] {
        let lines = Place::new().lines(&receiving("", user));
        let expected = format!("edgespool.toml:{expected}");
        assert!(lines.contains(&expected), "{expected}\n{lines:#?}");
    }
}

#[test]
fn passwords_and_hashes_are_never_shown() {
    for (key, value) in [
        ("password_hash", "hunter2"),
        ("password", "two\\nlines-hunter2"),
    ] {
        let text = receiving("", "watch = \"cam\"");
        let text = text.replace(
            &format!("password_hash = \"{BCRYPT}\""),
            &format!("{key} = \"{value}\""),
        );
        let lines = Place::new().lines(&text);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(!lines[0].contains("hunter2"), "{lines:#?}");
        assert!(lines[0].contains(key));
    }
}

#[test]
fn what_is_unsafe_but_wanted_is_a_warning() {
    let text = receiving(
        "tls = \"none\"\nanonymous = { dir = \"camera/sub\" }",
        "watch = \"cam\"\n[[watch]]\nname = \"files\"\ndir = \"camera\"\n",
    );
    let lines = Place::new().lines(&text);
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines.iter().all(|line| line.contains(": warning: ")));
    for part in [
        "tls \"none\": passwords and files travel in clear text",
        "anybody may come in without a password",
        "lies in the dir of watch \"files\"",
    ] {
        assert!(lines.iter().any(|line| line.contains(part)), "{lines:#?}");
    }
}

#[test]
fn a_receiver_that_nobody_can_use_is_a_mistake() {
    let lines = Place::new().lines("[receive]\nlisten = []");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("user is missing: nobody could log in"));
    assert!(lines[1].contains("listen is an empty list"));
}
