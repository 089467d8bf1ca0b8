//! The fake sensor: appends lines to a table, and finishes each table by
//! giving it its final name.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::made::{Ledger, Made};
use crate::cli::text;
use crate::sys::{Mono, Pool, Sys};

/// The watch of the sensor's directory.
pub(super) const WATCH: &str = "sensor";

/// Measures into tables in `dir` until `end`; the last is finished too.
///
/// # Errors
/// What the disk says.
pub(super) async fn run(
    sys: &Sys,
    hardware: &Pool,
    dir: &Path,
    ledger: &Rc<Ledger>,
    end: Mono,
) -> io::Result<()> {
    let mut line = 0;
    for number in 0.. {
        let last = dir.join(format!("readings-{number:04}.csv"));
        // Names like this one are excluded, as the config's default has it.
        let growing = last.with_extension("csv.part");
        let mut table = Vec::new();
        let mut text = HEADER.to_owned();
        for _ in 0..TABLE_LINES {
            text += &reading(sys.clock.wall().0, line);
            table.extend_from_slice(text.as_bytes());
            let (to, text) = (growing.clone(), std::mem::take(&mut text));
            hardware.run(move || append(&to, &text)).await?;
            line += 1;
            let next = sys.clock.mono().after(EVERY);
            if next >= end {
                break;
            }
            sys.clock.sleep_until(next).await;
        }
        ledger.enter(Made::of(
            format!("{WATCH}/readings-{number:04}.csv"),
            &table,
        ));
        hardware.run(move || std::fs::rename(growing, last)).await?;
        if sys.clock.mono().after(EVERY) >= end {
            break;
        }
    }
    Ok(())
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// One line: a time, and what the weather is like.
fn reading(wall_ns: i64, line: u32) -> String {
    let phase = line as f32 / 40.0;
    let celsius = 14.0 + 6.0 * phase.sin() + 0.4 * (phase * 9.0).sin();
    let humidity = 62.0 - 18.0 * phase.sin() + 1.5 * (phase * 7.0).cos();
    let time = text::time(wall_ns);
    format!("{time},{celsius:.2},{humidity:.1}\n")
}

const HEADER: &str = "time,temperature_c,humidity_percent\n";
const EVERY: Duration = Duration::from_millis(150);
const TABLE_LINES: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_ends_under_its_final_name_as_it_was_entered() {
        let dir = tempfile::tempdir().unwrap();
        let sys = Sys::os().unwrap();
        let ledger = Rc::new(Ledger::default());
        let end = sys.clock.mono().after(EVERY * (TABLE_LINES + 3));
        smol::block_on(run(&sys, &sys.pool, dir.path(), &ledger, end)).unwrap();
        let made = ledger.all();
        assert!(!made.is_empty());
        for made in &made {
            let name = made.path.strip_prefix("sensor/").unwrap();
            let content = std::fs::read(dir.path().join(name)).unwrap();
            assert_eq!(*made, Made::of(made.path.clone(), &content));
            assert!(content.starts_with(HEADER.as_bytes()) && content.ends_with(b"\n"));
        }
        let there = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(there, made.len(), "nothing else is left");
    }
}
