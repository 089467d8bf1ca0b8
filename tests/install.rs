//! `install` and `uninstall`, below a root of their own.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{Output, edgespool};

const CONFIG: &str = "etc/edgespool/edgespool.toml";
const UNIT: &str = "etc/systemd/system/edgespool.service";
const PROGRAM: &str = "usr/local/bin/edgespool";

fn run(command: &str, root: &Path) -> Output {
    edgespool([command, "--root", root.to_str().unwrap()])
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Everything below a directory but directories.
fn files(root: &Path) -> Vec<String> {
    let tree = common::Tree::read(root).0;
    let names = tree
        .into_keys()
        .map(|path| String::from_utf8(path).unwrap());
    names.collect()
}

#[test]
fn what_is_installed_is_the_program_with_its_units_and_a_config_in_order() {
    let root = tempfile::tempdir().unwrap();
    let said = run("install", root.path()).expect(0).stdout;
    assert!(said.contains("next:"), "{said}");
    let program = fs::read(root.path().join(PROGRAM)).unwrap();
    assert_eq!(program, fs::read(env!("CARGO_BIN_EXE_edgespool")).unwrap());
    assert_eq!(mode(&root.path().join(PROGRAM)), 0o755);
    assert_eq!(mode(&root.path().join("etc/edgespool")), 0o750);
    assert_eq!(mode(&root.path().join("etc/edgespool/password")), 0o640);
    let unit = fs::read_to_string(root.path().join(UNIT)).unwrap();
    assert!(
        unit.contains("ExecStart=/usr/local/bin/edgespool "),
        "{unit}"
    );
    // The config means the device's directories, so it is tried with this root's.
    let config = root.path().join(CONFIG);
    let text = fs::read_to_string(&config).unwrap();
    let start = root.path().join("var/spool/edgespool");
    let here = text.replace("/var/spool/edgespool", start.to_str().unwrap());
    fs::write(&config, here.replacen("#dir = ", "dir = \"spool\" #", 1)).unwrap();
    let checked = edgespool(["-c", config.to_str().unwrap(), "check", "--offline"]);
    checked.expect(0);
}

#[test]
fn uninstall_leaves_nothing_of_what_was_not_touched() {
    let root = tempfile::tempdir().unwrap();
    run("install", root.path()).expect(0);
    run("uninstall", root.path()).expect(0);
    assert_eq!(files(root.path()), [""; 0]);
    assert!(!root.path().join("etc/edgespool").exists());
    // A second time there is nothing to do, and that is said.
    let said = run("uninstall", root.path()).expect(1).stdout;
    assert!(said.contains("nothing to uninstall"), "{said}");
}

#[test]
fn what_a_hand_changed_is_neither_replaced_nor_removed() {
    let root = tempfile::tempdir().unwrap();
    run("install", root.path()).expect(0);
    let (config, unit) = (root.path().join(CONFIG), root.path().join(UNIT));
    fs::write(&config, "# mine\n").unwrap();
    fs::write(&unit, "# mine as well\n").unwrap();
    let said = run("install", root.path()).expect(0).stdout;
    assert!(
        said.contains(&format!("kept  {}", unit.display())),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&config).unwrap(), "# mine\n");
    let said = run("uninstall", root.path()).expect(0).stdout;
    assert!(said.contains("changed since"), "{said}");
    assert_eq!(files(root.path()), [CONFIG, UNIT]);
}

#[test]
fn an_older_program_is_replaced_and_old_units_that_nobody_changed_too() {
    let root = tempfile::tempdir().unwrap();
    run("install", root.path()).expect(0);
    let (program, unit) = (root.path().join(PROGRAM), root.path().join(UNIT));
    let new = fs::read(&unit).unwrap();
    fs::write(&program, "an older one").unwrap();
    fs::write(&unit, "as an older one had it\n").unwrap();
    let place = root.path().join("usr/local/share/edgespool/installed");
    let record = fs::read_to_string(&place).unwrap();
    let sum = std::process::Command::new("sha256sum")
        .arg(&unit)
        .output()
        .unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let line = |line: &str| match line.ends_with(&format!("/{UNIT}")) {
        true => format!("{}  /{UNIT}", sum.split(' ').next().unwrap()),
        false => line.to_owned(),
    };
    fs::write(
        &place,
        record.lines().map(line).collect::<Vec<_>>().join("\n"),
    )
    .unwrap();
    run("install", root.path()).expect(0);
    assert_ne!(fs::read(&program).unwrap(), b"an older one");
    assert_eq!(fs::read(&unit).unwrap(), new);
}

#[test]
fn a_spool_in_which_files_wait_stays() {
    let root = tempfile::tempdir().unwrap();
    run("install", root.path()).expect(0);
    let spool = root.path().join("var/lib/edgespool");
    let outbox = root.path().join("outbox");
    fs::create_dir_all(&spool).unwrap();
    fs::create_dir(&outbox).unwrap();
    let config = root.path().join("waits.toml");
    let text = format!(
        "[spool]\ndir = {spool:?}\nmin_free = \"0\"\n[[server]]\nname = \"s\"\n\
         host = \"127.0.0.1\"\nport = 1\nuser = \"anonymous\"\ntls = \"none\"\n\
         [[watch]]\nname = \"w\"\ndir = {outbox:?}\nquiet = \"0s\"\n"
    );
    fs::write(&config, text).unwrap();
    fs::write(outbox.join("f"), "content").unwrap();
    let config = config.to_str().unwrap();
    edgespool(["-c", config, "once", "--patience", "0s"]).expect(75);
    let said = run("uninstall", root.path()).expect(0).stdout;
    assert!(
        said.contains("1 of the files in it were not delivered"),
        "{said}"
    );
    let listed = edgespool(["-c", config, "queue", "list"]).expect(0).stdout;
    assert!(listed.contains('f'), "{listed}");
}

#[test]
fn where_a_package_put_the_program_it_stays_the_packages() {
    let root = tempfile::tempdir().unwrap();
    let units = root.path().join("usr/lib/systemd/system");
    fs::create_dir_all(&units).unwrap();
    fs::write(units.join("edgespool.service"), "the package's\n").unwrap();
    run("install", root.path()).expect(0);
    assert!(!root.path().join(PROGRAM).exists());
    assert!(root.path().join(CONFIG).exists());
}

#[test]
fn a_root_that_is_not_there_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let said = run("install", &root.path().join("none")).expect(1).stdout;
    assert!(said.contains("no such directory"), "{said}");
}
