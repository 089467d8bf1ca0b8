//! The units that are shipped: what systemd makes of them, and how much they let
//! the service do. Nothing is installed and nothing is started.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

const SERVICES: [&str; 3] = [
    "edgespool.service",
    "edgespool@.service",
    "edgespool-once.service",
];

/// The most that `systemd-analyze security` may find, in tenths.
const EXPOSURE_MAX: &str = "15";

fn unit(name: &str) -> String {
    fs::read_to_string(shipped(name)).unwrap()
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("systemd")
        .join(name)
}

fn call(program: &str, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|e| {
            panic!("{program}: {e} (it comes with systemd: apt-get install systemd)")
        })
}

#[track_caller]
fn expect_silence(program: &str, args: &[&str]) {
    let output = call(program, args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && said.is_empty(),
        "{args:?}: {said}"
    );
}

/// Lines of a unit that say something, without the comments.
fn settings(unit: &str) -> Vec<&str> {
    let lines = unit.lines().filter(|line| !line.starts_with('#'));
    lines.filter(|line| line.contains('=')).collect()
}

#[test]
fn the_sandboxes_score_at_most_1_5() {
    for name in SERVICES {
        let path = shipped(name);
        let threshold = format!("--threshold={EXPOSURE_MAX}");
        let args = ["security", "--offline=yes", "--no-pager", &threshold];
        let output = call(
            "systemd-analyze",
            &[&args[..], &[path.to_str().unwrap()]].concat(),
        );
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("Overall exposure level"), "{output:?}");
        assert!(output.status.success(), "{said}");
    }
}

#[test]
fn systemd_finds_no_fault_in_the_units() {
    let dir = tempfile::tempdir().unwrap();
    let mut args = vec!["verify".to_owned(), "--man=no".to_owned()];
    for name in SERVICES.iter().chain(&["edgespool-once.timer"]) {
        // Programs are looked for.
        let there = unit(name).replace("/usr/bin/edgespool", env!("CARGO_BIN_EXE_edgespool"));
        let path = dir.path().join(name);
        fs::write(&path, there).unwrap();
        args.push(path.to_str().unwrap().to_owned());
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    expect_silence("systemd-analyze", &args);
}

#[test]
fn all_services_have_one_sandbox() {
    let sandbox = |name: &str| {
        let text = unit(name);
        let begin = text.find("# What the agent may do.").unwrap();
        let end = text.find("\n[Install]").unwrap_or(text.len());
        text[begin..end].trim_end().to_owned()
    };
    let first = sandbox("edgespool.service");
    assert!(first.contains("ProtectSystem=strict"));
    for name in SERVICES {
        assert_eq!(sandbox(name), first, "{name}");
    }
}

#[test]
fn an_instance_is_the_service_with_a_config_and_a_spool_of_its_own() {
    let (service, instance) = (unit("edgespool.service"), unit("edgespool@.service"));
    let own = settings(&instance)
        .into_iter()
        .filter(|line| !settings(&service).contains(line));
    for line in own {
        assert!(line.contains("%i"), "{line}");
    }
}

#[test]
fn the_watchdog_leaves_an_idle_device_asleep() {
    let limit = unit("edgespool.service");
    let limit = limit.lines().find_map(|l| l.strip_prefix("WatchdogSec="));
    let minutes = limit.unwrap().strip_suffix("min").unwrap();
    let limit = Duration::from_secs(60 * minutes.parse::<u64>().unwrap());
    // The agent looks three times within the limit.
    assert!(limit / 3 >= Duration::from_secs(10));
}

#[test]
fn a_reload_needs_no_program_that_a_minimal_system_lacks() {
    let reload = "ExecReload=/bin/sh -c \"kill -HUP $MAINPID\"";
    assert!(unit("edgespool.service").lines().any(|line| line == reload));
}

#[test]
fn user_and_directories_are_made_as_the_service_needs_them() {
    let root = tempfile::tempdir().unwrap();
    for dir in ["etc/edgespool", "var/lib", "var/spool"] {
        fs::create_dir_all(root.path().join(dir)).unwrap();
    }
    fs::write(root.path().join("etc/edgespool/edgespool.toml"), "").unwrap();
    let below = format!("--root={}", root.path().display());
    let file = |name: &str| shipped(name).to_str().unwrap().to_owned();
    let made = call("systemd-sysusers", &[&below, &file("sysusers.conf")]);
    assert!(made.status.success(), "{made:?}");
    let users = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    let user = users.lines().find(|line| line.starts_with("edgespool:"));
    assert!(user.unwrap().ends_with("/nologin"), "{users}");
    expect_silence(
        "systemd-tmpfiles",
        &[&below, "--create", &file("tmpfiles.conf")],
    );
    let mode = |path: &str| {
        use std::os::unix::fs::PermissionsExt;
        let meta = fs::metadata(root.path().join(path)).unwrap();
        meta.permissions().mode() & 0o7777
    };
    assert_eq!(mode("etc/edgespool"), 0o750);
    assert_eq!(mode("etc/edgespool/edgespool.toml"), 0o640);
    assert_eq!(mode("var/lib/edgespool"), 0o700);
    assert_eq!(mode("var/spool/edgespool"), 0o2770);
}

#[test]
fn scripts_for_other_systems_are_proper_shell() {
    let scripts = [
        "other/openrc/edgespool",
        "other/busybox/S60edgespool",
        "other/busybox/edgespool-run",
        "other/openwrt/edgespool.init",
        "install.sh",
        "package.sh",
        "deb/postinst",
        "deb/prerm",
        "deb/postrm",
        "deb/test.sh",
    ];
    for script in scripts.map(shipped) {
        let script = script.to_str().unwrap();
        let checked = call("sh", &["-n", script]);
        assert!(checked.status.success(), "{script}: {checked:?}");
    }
}
