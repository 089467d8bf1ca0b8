//! Replays the inputs that fuzzing found worth keeping, on any compiler.
//! `tests/fuzz/run` makes up new ones.

#![allow(clippy::unwrap_used)]

#[path = "fuzz/checks/mod.rs"]
mod checks;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

#[test]
fn what_was_found_once_is_handled_for_ever() {
    for (name, check) in checks::TARGETS {
        let files = files_of(&corpus().join(name));
        assert!(!files.is_empty(), "no inputs for {name}");
        for file in files {
            // Shown when the check fails.
            println!("{}", file.display());
            check(&fs::read(&file).unwrap());
        }
    }
}

#[test]
fn every_target_runs_without_input_and_with_noise() {
    for (name, check) in checks::TARGETS {
        println!("{name}");
        check(b"");
        for step in 1..=64 {
            let noise: Vec<u8> = (0..=255_u8).map(|n| n.wrapping_mul(step)).collect();
            check(&noise);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// What the fuzzer does, for a moment and on any compiler: lines of the corpus
    /// between bytes of any kind.
    #[test]
    fn hostile_bytes_get_one_answer_for_each_line(
        first in any::<u8>(),
        parts in prop::collection::vec(part(), 0..40),
    ) {
        checks::serve::sessions(&[&[first][..], &parts.concat()].concat());
    }
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    let mut known = Vec::new();
    for target in ["commands", "sessions"] {
        for file in files_of(&corpus().join(target)) {
            let bytes = fs::read(file).unwrap();
            known.extend(bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec));
        }
    }
    prop_oneof![
        4 => prop::sample::select(known),
        1 => any::<Vec<u8>>(),
        1 => Just(b"\r\n".to_vec()),
        1 => (any::<u8>(), 0..10_000_usize).prop_map(|(byte, count)| vec![byte; count]),
    ]
}

#[test]
fn targets_corpora_and_the_package_agree() {
    let names: BTreeSet<String> = checks::TARGETS.iter().map(|t| t.0.to_owned()).collect();
    let dirs = files_of(&corpus());
    let dirs: BTreeSet<String> = dirs.iter().map(|dir| stem(dir)).collect();
    assert_eq!(dirs, names, "tests/corpus");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let files = files_of(&root.join("fuzz_targets"));
    let files: BTreeSet<String> = files.iter().map(|file| stem(file)).collect();
    assert_eq!(files, names, "tests/fuzz/fuzz_targets");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for name in names {
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name}");
    }
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn files_of(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}
