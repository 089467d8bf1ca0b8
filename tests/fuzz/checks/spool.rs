//! The spool: it opens whatever became of its logs, and loses no file to it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use edgespool::spool::{
    Archive, Entry, How, Options, Proof, Settlement, Spool, SpoolError, Taking,
};
use edgespool::sys::Fs;

use super::disk::Disk;

/// Reads `data` as a row of damages to the logs of a spool in use: every file
/// that waited is still there, start after start, and new ones can be taken.
pub fn spool_damage(data: &[u8]) {
    let disk = used_spool().copy();
    for damage in data.chunks(DAMAGE_BYTES).take(DAMAGES_MAX) {
        let &[target, kind, high, low, ref bytes @ ..] = damage else {
            break;
        };
        let path = Path::new(LOGS[usize::from(target) % LOGS.len()]);
        let Some(mut content) = disk.content(path) else {
            continue;
        };
        apply(&mut content, kind, [high, low], bytes);
        disk.put(path, &content);
    }
    for start in 0..2 {
        let mut spool = open(&disk).unwrap();
        let mut contents: Vec<_> = contents(&mut spool).into_values().collect();
        contents.sort();
        let mut expected: Vec<_> = LIVE
            .iter()
            .map(|n| format!("file-{n}").into_bytes())
            .collect();
        expected.sort();
        assert_eq!(contents, expected, "start {start}");
        let taken = take(&disk, &mut spool, &format!("new-{start}"), How::Move);
        settle(&mut spool, &taken);
    }
}

/// Reads `data` as a log and a row of payloads: their frames have the right
/// checksums and hold anything. The spool opens or refuses, and what it
/// found stays so.
pub fn spool_records(data: &[u8]) {
    let Some((&target, mut payloads)) = data.split_first() else {
        return;
    };
    let disk = used_spool().copy();
    let path = Path::new(LOGS[usize::from(target % 128) % LOGS.len()]);
    let mut content = match target < 128 {
        true => disk.content(path).unwrap_or_default(),
        false => Vec::new(),
    };
    while let Some((&length, rest)) = payloads.split_first() {
        let (payload, rest) = rest.split_at(rest.len().min(length.into()));
        content.extend_from_slice(&frame(payload));
        payloads = rest;
    }
    disk.put(path, &content);
    let Ok(mut spool) = open(&disk) else {
        return;
    };
    let found = contents(&mut spool);
    spool.history(None, &mut |_| true).unwrap();
    drop(spool);
    let mut spool = open(&disk).unwrap();
    assert_eq!(contents(&mut spool), found, "another start finds the same");
}

/// A frame as the spool writes it.
fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_le_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), payload);
    [&[0xE5, 0xFB], &length[..], &checksum.to_le_bytes(), payload].concat()
}

fn apply(content: &mut Vec<u8>, kind: u8, at: [u8; 2], bytes: &[u8]) {
    let at = usize::from(u16::from_be_bytes(at)) % (content.len() + 1);
    let until = (at + bytes.len()).min(content.len());
    let count = until - at;
    match kind % 6 {
        0 => content.truncate(at),
        1 => content[at..until].copy_from_slice(&bytes[..count]),
        2 => drop(content.splice(at..at, bytes.iter().copied())),
        3 => drop(content.drain(at..until)),
        4 => {
            let copy = content[at..].to_vec();
            content.extend_from_slice(&copy);
        }
        _ => content[at..until].fill(0),
    }
}

/// A spool in which some files wait, one is dead, one was refused once, and
/// three were delivered.
fn used_spool() -> &'static Disk {
    static USED: OnceLock<Disk> = OnceLock::new();
    USED.get_or_init(|| {
        let disk = Disk::with_dirs(&["/", "/src"]);
        let mut spool = open(&disk).unwrap();
        let archive = Archive {
            dir: "/kept".into(),
            max_size: None,
            max_age_s: None,
        };
        spool.set_archive("cam", Some(&archive)).unwrap();
        for n in 0..12 {
            let how = if n % 4 == 3 { How::Copy } else { How::Move };
            let entry = take(&disk, &mut spool, &format!("file-{n}"), how);
            match n {
                1 => spool.failed(entry.id, "550 no", false).unwrap(),
                2 => spool.failed(entry.id, "553 never", true).unwrap(),
                _ if !LIVE.contains(&n) => settle(&mut spool, &entry),
                _ => {}
            }
        }
        drop(spool);
        disk
    })
}

fn open(disk: &Disk) -> Result<Spool, SpoolError> {
    Spool::open(&disk.sys(), Path::new("/spool"), Options::default())
}

fn take(disk: &Disk, spool: &mut Spool, name: &str, how: How) -> Entry {
    let source = Path::new("/src").join(name);
    disk.put(&source, name.as_bytes());
    let taking = Taking {
        expect: disk.meta(&source).unwrap(),
        source,
        path: name.into(),
        how,
        closed: true,
    };
    let id = *spool.take("cam", &[taking])[0].as_ref().unwrap();
    spool.entry(id).unwrap()
}

fn settle(spool: &mut Spool, entry: &Entry) {
    let receipt = entry.receipt(1, Proof::Hash);
    let id = entry.id;
    spool.settle(&[Settlement { id, receipt }]).unwrap();
}

/// Path to content of all entries.
fn contents(spool: &mut Spool) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut entries = Vec::new();
    let listed = spool.list(&mut |entry| {
        entries.push(entry.clone());
        true
    });
    listed.unwrap();
    let read = |entry: Entry| {
        let blob = spool.open_blob(entry.id).unwrap();
        let mut content = vec![0; usize::try_from(blob.meta().unwrap().size).unwrap()];
        blob.read_at(&mut content, 0).unwrap();
        (entry.path, content)
    };
    entries.into_iter().map(read).collect()
}

/// Those of the twelve files that were not delivered.
const LIVE: [u8; 9] = [0, 1, 2, 3, 4, 8, 9, 10, 11];

/// Bytes of input for one damage.
const DAMAGE_BYTES: usize = 12;
const DAMAGES_MAX: usize = 16;

/// The logs that can be damaged, with those of the only segment.
const LOGS: [&str; 6] = [
    "/spool/lanes/0000-cam/00000000.log",
    "/spool/lanes/0000-cam/00000000.chg",
    "/spool/ledger/00000000.log",
    "/spool/reserve",
    "/spool/lanes/0000-cam/archive",
    "/spool/lanes/0000-cam/seen.log",
];
