//! Whole files, broken in one way or many, and the exact lines about them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::base::{ByteSize, Secret};
use crate::sys::os::OsFs;

#[cfg(feature = "receive")]
mod receive;
mod reference;
mod secrets;

/// A directory with what the files of these tests name.
struct Place {
    dir: tempfile::TempDir,
    vars: HashMap<&'static str, String>,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["camera", "camera/sub", "meter"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        let place = Place {
            dir,
            vars: HashMap::new(),
        };
        place.write("pw", "s3cret\n", 0o600);
        place
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, name: &str, content: &str, mode: u32) {
        let path = self.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn load(&self, text: &str) -> Result<Loaded, Invalid> {
        self.load_as(text, 0o600)
    }

    fn load_as(&self, text: &str, mode: u32) -> Result<Loaded, Invalid> {
        self.write("edgespool.toml", text, mode);
        load(
            &self.path().join("edgespool.toml"),
            &Env {
                fs: &OsFs,
                var: &|name| self.vars.get(name).map(OsString::from),
                host_name: "gw-7".to_owned(),
                current_dir: self.path(),
            },
        )
    }

    /// The lines about a file, with the test's own directory left out.
    fn lines(&self, text: &str) -> Vec<String> {
        let findings = match self.load(text) {
            Ok(loaded) => loaded.warnings,
            Err(invalid) => invalid.findings,
        };
        let dir = format!("{}/", self.path().display());
        findings
            .iter()
            .map(|finding| finding.to_string().replace(&dir, ""))
            .collect()
    }
}

fn assert_lines(text: &str, expected: &[&str]) {
    assert_eq!(Place::new().lines(text), expected, "{text}");
}

/// A server and a watch without mistakes, and more keys for them.
fn with(server: &str, watch: &str) -> String {
    format!(
        "[spool]\ndir = \"spool\"\n\
         [[server]]\nname = \"central\"\nhost = \"h\"\nuser = \"u\"\npassword_file = \"pw\"\n{server}\n\
         [[watch]]\nname = \"camera\"\ndir = \"camera\"\n{watch}\n"
    )
}

#[test]
fn the_smallest_file_gets_every_default() {
    let place = Place::new();
    let Loaded { config, warnings } = place.load(&with("", "")).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.device, "gw-7");
    assert_eq!(config.spool.dir, place.path().join("spool"));
    assert_eq!(config.spool.max_size, ByteSize(1 << 30));
    assert_eq!(config.spool.min_free, ByteSize(64 << 20));
    assert_eq!(config.spool.when_full, WhenFull::Pause);
    let server = config.server("central").unwrap();
    assert_eq!((server.port, server.tls), (21, Tls::Explicit));
    assert_eq!(server.password, Some(Secret::from("s3cret")));
    assert_eq!(server.connect_timeout, Duration::from_secs(20));
    assert_eq!(server.stall_timeout, Duration::from_secs(60));
    let watch = config.watch("camera").unwrap();
    assert_eq!(watch.server, "central");
    assert_eq!(watch.dir, Some(place.path().join("camera")));
    assert_eq!(watch.include, ["**"]);
    assert_eq!(watch.exclude.len(), 7);
    assert_eq!(
        watch.remote.to_string(),
        "/{device}/{watch}/{year}/{month}/{day}/{path}"
    );
    assert_eq!((watch.priority, watch.ready), (5, Ready::Close));
    assert_eq!(config.retry.max, Duration::from_secs(900));
    assert_eq!(
        config.status.socket,
        place.path().join("spool/control.sock")
    );
    assert_eq!(config.receive, None);
}

#[test]
fn every_key_of_the_reference_is_known() {
    let text = with(
        "port = 2121\ntls = \"implicit\"\npin_sha256 = [\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"]\n\
         min_tls = \"1.3\"\ndata = \"eprt\"\nconnections = 4\npublish = \"direct\"\nverify = \"hash\"\n\
         if_exists = \"keep-both\"\nif_gone = \"delivered\"\nmtime = false\nconnect_timeout = \"5s\"\n\
         stall_timeout = \"1h30m\"\nfallback = [\"backup\"]\n[[server]]\nname = \"backup\"\nhost = \"[::1]\"\nuser = \"anonymous\"",
        "server = \"central\"\ninclude = [\"**/*.jpg\"]\nexclude = []\nrecursive = false\nready = \"marker\"\nquiet = \"0\"\n\
         marker = \"{name}.ok\"\ntake = \"copy\"\nremote = \"in/{name}\"\npriority = 9\norder = \"newest\"\nschedule = \"night\"\n\
         after = \"archive\"\narchive = { dir = \"sent\", max_size = \"2GiB\", max_age = \"30d\" }\n\
         [[schedule]]\nname = \"night\"\nwindows = [\"22:00-06:00\", \"sat 00:00-24:00\"]\nevery = \"15m\"\nsplay = \"2m\"\n\
         rate = \"256KiB/s\"\ndaily_budget = \"500MB\"\n[retry]\nfirst = \"1s\"\nmax = \"1m\"\nfile_attempts = 3\n\
         [status]\nsocket = \"c.sock\"\nlisten = \"127.0.0.1:8321\"\n[log]\nlevel = \"debug\"",
    );
    let Loaded { config, warnings } = Place::new()
        .load(&format!("device = \"d\"\n{text}"))
        .unwrap();
    let unbuilt: Vec<_> = warnings.iter().map(|w| w.text.as_str()).collect();
    assert_eq!(unbuilt.len(), 1, "{unbuilt:#?}");
    assert!(unbuilt[0].starts_with("[status]: listen has no effect: this version"));
    assert_eq!(config.server("backup").unwrap().host, "::1");
    assert_eq!(config.server("central").unwrap().pins[0][1], 0x11);
    assert_eq!(
        config.schedule("night").unwrap().rate,
        "256KiB/s".parse().ok()
    );
    assert_eq!(
        config
            .watch("camera")
            .unwrap()
            .archive
            .as_ref()
            .unwrap()
            .max_size,
        Some(ByteSize(2 << 30))
    );
    assert_eq!(config.log.level, Level::Debug);
}

#[test]
fn every_mistake_is_listed_in_one_go() {
    let text = r#"devise = "x"
[spool]
dir = "spool"
max_size = "1 parsec"
[[server]]
name = "central"
host = "h"
port = "21"
pasword = "hunter2"
tls = "explict"
[[watch]]
name = "camera"
dir = "camra"
server = "centrl"
recursive = "yes"
include = ["[a"]
[retry]
first = 5
"#;
    assert_lines(
        text,
        &[
            "edgespool.toml:1: unknown key \"devise\" (did you mean \"device\"?)",
            "edgespool.toml:4: [spool]: max_size \"1 parsec\" is not a size (write a number with k, M, G, KiB, MiB or GiB, as in \"64MiB\")",
            "edgespool.toml:5: server \"central\": user is missing (write user = \"anonymous\")",
            "edgespool.toml:8: server \"central\": port \"21\" must be a whole number, without quotes",
            "edgespool.toml:9: server \"central\": unknown key \"pasword\" (did you mean \"password\"?)",
            "edgespool.toml:10: server \"central\": tls \"explict\" is not one of explicit, implicit, none (did you mean \"explicit\"?)",
            "edgespool.toml:13: watch \"camera\": dir \"camra\" does not exist (create it, or correct the path)",
            "edgespool.toml:14: watch \"camera\": server \"centrl\" is no server of this file (did you mean \"central\"?)",
            "edgespool.toml:15: watch \"camera\": recursive \"yes\" must be true or false, without quotes",
            "edgespool.toml:16: watch \"camera\": include \"[a\" is not a valid pattern: unclosed character class at byte 0; missing ']' (to match a literal '[', escape it as '\\[' or '[[]')",
            "edgespool.toml:18: [retry]: first 5 must be a duration in quotes, as in \"15m\" or \"1h30m\"",
        ],
    );
}

#[test]
fn syntax_errors_have_lines_and_hide_no_other_mistake() {
    let lines =
        Place::new().lines("device = \n[spool]\ndri = \"x\"\n[[server]]\nname = \"a\nport = 0\n");
    assert!(
        lines[0].starts_with("edgespool.toml:1: syntax: "),
        "{lines:#?}"
    );
    assert!(
        lines.contains(
            &"edgespool.toml:3: [spool]: unknown key \"dri\" (did you mean \"dir\"?)".to_owned()
        ),
        "{lines:#?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("edgespool.toml:5: syntax: ")),
        "{lines:#?}"
    );
}

#[test]
fn each_mistake_of_a_server_has_its_line() {
    for (keys, expected) in [
        ("port = 0", "port 0 must lie between 1 and 65535"),
        (
            "connections = 1000",
            "connections 1000 must lie between 1 and 64",
        ),
        (
            "stall_timeout = \"0s\"",
            "stall_timeout must be longer than 0",
        ),
        (
            "fallback = [\"central\"]",
            "fallback \"central\" is this server itself (name another one)",
        ),
        (
            "fallback = [\"backup\"]",
            "fallback \"backup\" is no server of this file (known are central)",
        ),
        (
            "password = \"x\"",
            "password_file and password are both set (keep one of them)",
        ),
        (
            "client_cert = \"pw\"",
            "client_cert needs client_key (write both, or none)",
        ),
        (
            "ca_file = \"pw\"",
            "ca_file \"pw\" holds no certificate (it must be a PEM file)",
        ),
        (
            "ca_file = \"gone\"",
            "ca_file \"gone\" cannot be read: No such file or directory (os error 2)",
        ),
        (
            "pin_sha256 = [\"abc\"]",
            "pin_sha256 \"abc\" is not a SHA-256 value (write 64 hex digits, or base64)",
        ),
        (
            "colour = 1",
            "unknown key \"colour\" (known are name, host, tls, port, user, password, password_file, password_env, password_credential, ca_file, pin_sha256, client_cert, client_key, min_tls, data, connections, publish, verify, if_exists, if_gone, mtime, connect_timeout, stall_timeout, fallback)",
        ),
    ] {
        let lines = Place::new().lines(&with(keys, ""));
        let line = if keys.starts_with("password") { 7 } else { 8 };
        let expected = format!("edgespool.toml:{line}: server \"central\": {expected}");
        assert!(lines.contains(&expected), "{expected}\n{lines:#?}");
    }
}

#[test]
fn each_mistake_of_a_watch_has_its_line() {
    for (keys, expected) in [
        (
            "schedule = \"night\"",
            "schedule \"night\" is no schedule of this file (add a [[schedule]] of that name)",
        ),
        ("priority = 10", "priority 10 must lie between 0 and 9"),
        (
            "include = []",
            "include is an empty list: nothing would be taken (leave it out for all)",
        ),
        (
            "include = [\"/a\"]",
            "include \"/a\" begins with a slash, but patterns are for the path below dir (remove the slash)",
        ),
        (
            "include = \"*.jpg\"",
            "include \"*.jpg\" must be a list of strings, as in [\"one\", \"two\"]",
        ),
        (
            "ready = \"marker\"\nmarker = \"done\"",
            "marker \"done\" must contain {name} once (as in \"{name}.done\")",
        ),
        (
            "remote = \"/{yaer}/{name}\"",
            "remote \"/{yaer}/{name}\" has an unknown placeholder {yaer} (did you mean {year}?)",
        ),
        (
            "remote = \"/a\\r\\nDELE {name}\"",
            "remote \"/a\\r\\nDELE {name}\" contains a line end or a NUL, which the server would take for a command",
        ),
        (
            "after = \"archive\"",
            "after \"archive\" needs a place (write archive = { dir = \"/data/sent\" })",
        ),
        (
            "archive = { dir = \"sent\", max_age = \"1d\" }",
            "archive has no effect (write after = \"archive\" with it)",
        ),
        (
            "quiet = \"2\"",
            "quiet \"2\" is not a duration (write a number with ms, s, m, h or d, as in \"15m\" or \"1h30m\")",
        ),
        (
            "ready = \"clsoe\"",
            "ready \"clsoe\" is not one of close, quiet, marker (did you mean \"close\"?)",
        ),
    ] {
        let lines = Place::new().lines(&with("", keys));
        let line = 12 + keys.matches('\n').count();
        let expected = format!("edgespool.toml:{line}: watch \"camera\": {expected}");
        assert_eq!(lines, [expected]);
    }
}

#[test]
fn each_mistake_of_the_other_tables_has_its_line() {
    for (text, expected) in [
        (
            "[[schedule]]\nname = \"n\"\nrate = \"256KiB\"",
            "15: schedule \"n\": rate \"256KiB\" is not a rate (write bytes a second above zero, as in \"256KiB/s\")",
        ),
        (
            "[[schedule]]\nname = \"n\"\nevery = \"1m\"\ncron = \"* * * * *\"",
            "16: schedule \"n\": cron and every are both set (keep one of them)",
        ),
        (
            "[[schedule]]\nname = \"n\"\nwindows = [\"25:00-06:00\"]",
            "15: schedule \"n\": windows is wrong: \"25:00-06:00\" is not a span of times (write for example \"22:00-06:00\")",
        ),
        (
            "[[schedule]]\nname = \"n\"\ncron = \"* * * *\"",
            "15: schedule \"n\": cron \"* * * *\" is wrong: 4 fields instead of five (minute, hour, day of the month, month, day of the week, as in \"*/15 * * * *\")",
        ),
        (
            "[[schedule]]\nevery = \"1m\"",
            "13: schedule number 1: name is missing (write name = \"night\")",
        ),
        (
            "[retry]\nmax = \"1s\"",
            "14: [retry]: max is wrong: first is longer than max (make max the longer one)",
        ),
        (
            "[status]\nlisten = \"8321\"",
            "14: [status]: listen \"8321\" is not an address with a port (as in \"127.0.0.1:8321\" or \"[::1]:8321\")",
        ),
        (
            "[log]\nlevel = \"loud\"",
            "14: [log]: level \"loud\" is not one of off, error, warn, info, debug, trace",
        ),
        (
            "[schedule]\nname = \"n\"",
            "13: schedule is a list (write [[schedule]], not [schedule])",
        ),
        ("[[log]]", "13: log exists once (write [log], not [[log]])"),
        (
            "[[watch]]\nname = \"camera\"\ndir = \"meter\"",
            "14: watch \"camera\": name \"camera\" is taken by the watch in line 9 (rename one)",
        ),
    ] {
        let lines = Place::new().lines(&(with("", "") + text));
        assert_eq!(lines, [format!("edgespool.toml:{expected}")]);
    }
}

#[test]
fn a_file_without_sources_is_a_warning() {
    assert_lines(
        "",
        &["edgespool.toml: warning: no [[watch]] and no [receive]: there is nothing to upload"],
    );
}

#[test]
fn a_circle_of_fallbacks_is_a_mistake() {
    let text = with(
        "fallback = [\"b\"]\n[[server]]\nname = \"b\"\nhost = \"h\"\nuser = \"anonymous\"\nfallback = [\"central\"]",
        "server = \"central\"",
    );
    assert_lines(
        &text,
        &[
            "edgespool.toml:8: server \"central\": fallback \"b\" leads back to this server (break the circle)",
            "edgespool.toml:13: server \"b\": fallback \"central\" leads back to this server (break the circle)",
        ],
    );
}

#[test]
fn spool_watch_and_archive_are_kept_apart() {
    let spool_in_watch = with("", "").replace("\"spool\"", "\"camera/spool\"");
    assert_lines(
        &spool_in_watch,
        &[
            "edgespool.toml:11: watch \"camera\": dir \"camera\" holds the spool \"camera/spool\" (keep them apart)",
        ],
    );
    let watch_in_spool = with("", "").replace("\"spool\"", "\".\"");
    let lines = Place::new().lines(&watch_in_spool);
    assert!(lines[0].contains("lies in the spool"), "{lines:?}");
    let archive = with(
        "",
        "after = \"archive\"\narchive = { dir = \"camera/sub\", max_age = \"1d\" }",
    );
    let lines = Place::new().lines(&archive);
    assert!(
        lines[0].contains("delivered files would be taken again"),
        "{lines:?}"
    );
}

#[test]
fn two_watches_on_the_same_files_are_a_warning() {
    let second = "[[watch]]\nname = \"two\"\ndir = \"camera/sub\"\n";
    assert_lines(
        &with("", second),
        &[
            "edgespool.toml:14: warning: watch \"two\": dir and include match files of watch \"camera\" too: \
           each file goes to whichever sees it first (make their patterns differ)",
        ],
    );
    let apart = with(
        "",
        &format!("include = [\"**/*.jpg\"]\n{second}include = [\"*.csv\"]"),
    );
    assert_lines(&apart, &[]);
    assert_lines(&with("", &format!("recursive = false\n{second}")), &[]);
}

#[test]
fn a_link_to_a_directory_is_as_good_as_the_directory() {
    let place = Place::new();
    std::os::unix::fs::symlink("camera", place.path().join("link")).unwrap();
    let text = with("", "").replace("dir = \"camera\"", "dir = \"link\"");
    let loaded = place.load(&text).unwrap();
    let dir = loaded.config.watches[0].dir.clone();
    assert_eq!(dir, Some(place.path().join("camera")));
}

#[test]
fn a_key_written_twice_is_said_so() {
    let lines = Place::new().lines(&with("port = 21\nport = 22", ""));
    assert_eq!(lines, ["edgespool.toml:9: syntax: duplicate key"]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn no_text_panics_the_reader(text in "[\\[\\]a-z_ =\"\\n{}0-9.#]{0,120}", at in 0usize..200) {
        let place = Place::new();
        let whole = with("", "");
        let at = at.min(whole.len());
        let _either = place.load(&format!("{}{text}{}", &whole[..at], &whole[at..]));
    }
}
