//! Whatever is damaged, the spool opens, and every blob that is there is
//! delivered: under its own name, or where that is lost under `recovered/`.

use proptest::prelude::*;

use super::*;

const FILES: usize = 12;
/// The files that can be damaged, with `log` and `chg` of the only segment.
const TARGETS: [&str; 6] = [
    "/spool/lanes/0000-cam/00000000.log",
    "/spool/lanes/0000-cam/00000000.chg",
    "/spool/ledger/00000000.log",
    "/spool/reserve",
    "/spool/lanes/0000-cam/archive",
    "/spool/lanes/0000-cam/seen.log",
];

#[derive(Clone, Debug)]
enum Damage {
    Flip { bit: u8 },
    Zeros { count: usize },
    Noise { bytes: Vec<u8> },
    Cut,
    Insert { bytes: Vec<u8> },
    Repeat { count: usize },
    Remove { count: usize },
}

fn damage() -> impl Strategy<Value = Damage> {
    let bytes = || proptest::collection::vec(any::<u8>(), 1..40);
    prop_oneof![
        (0u8..8).prop_map(|bit| Damage::Flip { bit }),
        (1usize..200).prop_map(|count| Damage::Zeros { count }),
        bytes().prop_map(|bytes| Damage::Noise { bytes }),
        Just(Damage::Cut),
        bytes().prop_map(|bytes| Damage::Insert { bytes }),
        (1usize..200).prop_map(|count| Damage::Repeat { count }),
        (1usize..200).prop_map(|count| Damage::Remove { count }),
    ]
}

fn apply(content: &mut Vec<u8>, at: usize, damage: &Damage) {
    let until = |count: usize| at..(at + count).min(content.len());
    match damage {
        Damage::Flip { bit } => content[at] ^= 1 << bit,
        Damage::Zeros { count } => {
            let range = until(*count);
            content[range].fill(0);
        }
        Damage::Noise { bytes } => {
            let range = until(bytes.len());
            let count = range.len();
            content[range].copy_from_slice(&bytes[..count]);
        }
        Damage::Cut => content.truncate(at),
        Damage::Insert { bytes } => drop(content.splice(at..at, bytes.iter().copied())),
        Damage::Repeat { count } => {
            let range = until(*count);
            let copy = content[range].to_vec();
            content.splice(at..at, copy);
        }
        Damage::Remove { count } => {
            let range = until(*count);
            content.drain(range);
        }
    }
}

/// Some files that wait, one dead, one refused once, three delivered; three of
/// the copies are still in the last segment alone.
fn used_spool() -> (MemoryFs, Sys, Vec<Vec<u8>>) {
    let (fs, sys) = world();
    let mut spool = open(&sys).unwrap();
    let archive = Archive {
        dir: "/kept".into(),
        max_size: None,
        max_age_s: None,
    };
    spool.set_archive("cam", Some(&archive)).unwrap();
    let mut live = Vec::new();
    for n in 0..FILES {
        let name = format!("file-{n}");
        let how = if n % 4 == 3 { How::Copy } else { How::Move };
        let id = *spool.take("cam", &[ready(&fs, &name, how)])[0]
            .as_ref()
            .unwrap();
        match n {
            1 => spool.failed(id, "550 no", false).unwrap(),
            2 => spool.failed(id, "553 never", true).unwrap(),
            5..8 => {
                let settlement = delivered(&mut spool, id);
                spool.settle(&[settlement]).unwrap();
                continue;
            }
            _ => {}
        }
        live.push(name.into_bytes());
    }
    (fs, sys, live)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_damage_to_the_logs_costs_a_file(
        target in 0..TARGETS.len(),
        at: proptest::sample::Index,
        damages in proptest::collection::vec(damage(), 1..4),
    ) {
        let (fs, sys, live) = used_spool();
        let path = Path::new(TARGETS[target]);
        if let Some(mut content) = fs.content(path) {
            for damage in &damages {
                if !content.is_empty() {
                    let at = at.index(content.len());
                    apply(&mut content, at, damage);
                }
            }
            fs.unlink(path).unwrap();
            fs.put(TARGETS[target], &content);
        }
        for start in 0..3 {
            let mut spool = open(&sys).unwrap();
            let mut contents: Vec<Vec<u8>> = waiting(&mut spool).into_values().collect();
            contents.sort();
            let mut expected = live.clone();
            expected.sort();
            prop_assert_eq!(contents, expected, "start {}", start);
            // It still works.
            let name = format!("new-{start}");
            let taken = spool.take("cam", &[ready(&fs, &name, How::Move)]);
            let settlement = delivered(&mut spool, *taken[0].as_ref().unwrap());
            spool.settle(&[settlement]).unwrap();
        }
    }
}

/// Zeros the end of the only segment's log, as worn flash may leave it.
fn lose_the_last_record(fs: &MemoryFs) {
    let path = Path::new(TARGETS[0]);
    let mut log = fs.content(path).unwrap();
    let end = log.len();
    log[end - 8..].fill(0);
    fs.unlink(path).unwrap();
    fs.put(TARGETS[0], &log);
}

#[test]
fn a_new_entry_never_has_the_name_of_one_that_left() {
    let (fs, sys) = world();
    let mut spool = open(&sys).unwrap();
    let taken = spool.take("cam", &[ready(&fs, "old", How::Move)]);
    let old = *taken[0].as_ref().unwrap();
    let settlement = delivered(&mut spool, old);
    // Of this one only the receipt is durable, not the mark in its segment.
    fs.set_room(0);
    spool.settle(&[settlement]).unwrap();
    drop(spool);
    lose_the_last_record(&fs);
    fs.set_room(1 << 40);
    let mut spool = open(&sys).unwrap();
    let taken = spool.take("cam", &[ready(&fs, "new", How::Move)]);
    assert_ne!(*taken[0].as_ref().unwrap(), old);
    for start in 0..2 {
        drop(spool);
        spool = open(&sys).unwrap();
        assert_eq!(waiting(&mut spool).len(), 1, "start {start}");
    }
}

#[test]
fn a_segment_ends_though_the_record_of_one_that_left_is_lost() {
    let (fs, sys) = world();
    let mut spool = open(&sys).unwrap();
    let taken = spool.take("cam", &[ready(&fs, "old", How::Move)]);
    let settlement = delivered(&mut spool, *taken[0].as_ref().unwrap());
    spool.settle(&[settlement]).unwrap();
    drop(spool);
    lose_the_last_record(&fs);
    let mut spool = open(&sys).unwrap();
    let count = usize::from(super::super::segment::ENTRIES_FULL) + 1;
    let takings: Vec<Taking> = (0..count)
        .map(|n| ready(&fs, &format!("f{n}"), How::Move))
        .collect();
    let taken = spool.take("cam", &takings);
    assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), count);
    drop(spool);
    let spool = open(&sys).unwrap();
    assert_eq!(spool.stats().waiting.files, count as u64);
}
