//! Directories as LIST, NLST, MLSD and MLST show them. Times are UTC, names
//! are bytes, and everything is the same in every locale.

use crate::ftp::time::FtpTime;

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The last part of its path.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: ItemKind,
    /// Bytes.
    pub size: u64,
    /// Last change, in seconds since 1970.
    pub modified: i64,
    /// Permission bits.
    pub mode: u32,
    /// Names the object as long as it exists: device and inode.
    pub unique: (u64, u64),
    /// What the user may do with it, in the letters of RFC 3659 §7.5.5.
    pub perm: String,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// Something that cannot be transferred.
    Other,
}

/// A form of listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `ls -l`, for people and for clients that guess.
    Long,
    /// Names alone.
    Names,
    /// Facts for machines (RFC 3659 §7).
    Machine,
}

/// The facts that MLSD shows unless `OPTS MLST` chose fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts(u8);

impl Default for Facts {
    fn default() -> Facts {
        Facts(u8::MAX)
    }
}

impl Facts {
    /// The facts among `list` (`type;size;`) that are known.
    #[must_use]
    pub fn choose(list: &[u8]) -> Facts {
        let wanted = list.split(|b| *b == b';');
        let known = wanted.filter_map(|word| {
            let mut names = FACTS.iter();
            names.position(|name| name.as_bytes().eq_ignore_ascii_case(word.trim_ascii()))
        });
        Facts(known.fold(0, |bits, at| bits | 1 << at))
    }

    /// The chosen ones, as the reply to `OPTS MLST` lists them.
    #[must_use]
    pub fn names(self) -> String {
        let chosen = FACTS.iter().enumerate().filter(|(at, _)| self.has(*at));
        chosen.map(|(_, name)| format!("{name};")).collect()
    }

    /// All of them with a star at the chosen ones, as FEAT lists them.
    #[must_use]
    pub fn feature(self) -> String {
        let star = |at| if self.has(at) { "*" } else { "" };
        let all = FACTS.iter().enumerate();
        all.map(|(at, name)| format!("{name}{};", star(at)))
            .collect()
    }

    fn has(self, at: usize) -> bool {
        self.0 & 1 << at != 0
    }
}

/// In the order in which they are shown.
const FACTS: [&str; 6] = ["type", "size", "modify", "perm", "UNIX.mode", "unique"];

/// Appends one entry and CR LF. A name with a line end in it has no form that a
/// client could read: only [`Form::Long`] shows it, with question marks.
pub fn write(form: Form, facts: Facts, item: &Item, now: i64, out: &mut Vec<u8>) {
    let breaks = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
    match form {
        Form::Long => write_long(item, now, out),
        _ if item.name.iter().any(breaks) => return,
        Form::Names => {}
        Form::Machine => out.extend_from_slice(machine(facts, item).as_bytes()),
    }
    let shown = |byte: &u8| if breaks(byte) { b'?' } else { *byte };
    out.extend(item.name.iter().map(shown));
    out.extend_from_slice(b"\r\n");
}

/// `type=file;size=10;… ` with the blank before the name.
#[must_use]
pub fn machine(facts: Facts, item: &Item) -> String {
    let kind = match item.kind {
        ItemKind::File => "file",
        ItemKind::Dir => "dir",
        ItemKind::Other => "OS.unix=other",
    };
    let modified = FtpTime::from_unix(item.modified);
    let values = [
        Some(kind.to_owned()),
        (item.kind == ItemKind::File).then(|| item.size.to_string()),
        modified.map(|time| time.to_string()),
        Some(item.perm.clone()),
        Some(format!("{:04o}", item.mode & 0o7777)),
        Some(format!("{:x}g{:x}", item.unique.0, item.unique.1)),
    ];
    let mut text = String::new();
    for (at, value) in values.into_iter().enumerate() {
        if let (true, Some(value), Some(name)) = (facts.has(at), value, FACTS.get(at)) {
            text.push_str(&format!("{name}={value};"));
        }
    }
    text.push(' ');
    text
}

/// `-rw-r-----   1 ftp      ftp          1234 Jan 02 03:04 ` as clients guess at.
fn write_long(item: &Item, now: i64, out: &mut Vec<u8>) {
    let kind = match item.kind {
        ItemKind::File => '-',
        ItemKind::Dir => 'd',
        ItemKind::Other => 's',
    };
    let rights: String = (0..9)
        .zip("rwxrwxrwx".chars())
        .map(|(at, letter)| {
            if item.mode & 0o400 >> at != 0 {
                letter
            } else {
                '-'
            }
        })
        .collect();
    let links = if item.kind == ItemKind::Dir { 2 } else { 1 };
    let (size, when) = (item.size, date(item.modified, now));
    let line = format!("{kind}{rights} {links:3} ftp      ftp      {size:12} {when} ");
    out.extend_from_slice(line.as_bytes());
}

/// `Jan 02 03:04` for the last half year, `Jan 02  2020` for all else, as ls
/// has it.
fn date(modified: i64, now: i64) -> String {
    const HALF_YEAR_SECS: i64 = 182 * 86_400;
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let text = FtpTime::from_unix(modified)
        .map_or_else(|| "19700101000000".to_owned(), |time| time.to_string());
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or("00");
    let month = part(4, 6).parse::<usize>().unwrap_or(1);
    let month = MONTHS.get(month.wrapping_sub(1)).unwrap_or(&"Jan");
    let day = part(6, 8);
    if (now.saturating_sub(HALF_YEAR_SECS)..=now.saturating_add(86_400)).contains(&modified) {
        format!("{month} {day} {}:{}", part(8, 10), part(10, 12))
    } else {
        format!("{month} {day}  {}", part(0, 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_577_934_245; // 2020-01-02 03:04:05

    fn item(name: &[u8], kind: ItemKind) -> Item {
        Item {
            name: name.to_vec(),
            kind,
            size: 1234,
            modified: NOW,
            mode: 0o640,
            unique: (16, 255),
            perm: "r".to_owned(),
        }
    }

    fn line(form: Form, item: &Item) -> String {
        let mut out = Vec::new();
        write(form, Facts::default(), item, NOW, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_file_in_every_form() {
        let file = item(b"a b", ItemKind::File);
        assert_eq!(
            line(Form::Long, &file),
            "-rw-r-----   1 ftp      ftp              1234 Jan 02 03:04 a b\r\n"
        );
        assert_eq!(line(Form::Names, &file), "a b\r\n");
        assert_eq!(
            line(Form::Machine, &file),
            "type=file;size=1234;modify=20200102030405;perm=r;UNIX.mode=0640;unique=10gff; a b\r\n"
        );
    }

    #[test]
    fn old_and_future_times_show_the_year() {
        let mut file = item(b"a", ItemKind::Dir);
        file.modified = NOW - 200 * 86_400;
        assert!(line(Form::Long, &file).contains(" Jun 16  2019 a"));
        file.modified = NOW + 10 * 86_400;
        assert!(line(Form::Long, &file).contains(" Jan 12  2020 a"));
        file.modified = i64::MAX;
        assert!(line(Form::Long, &file).contains(" Jan 01  1970 a"));
    }

    #[test]
    fn a_name_with_a_line_end_makes_no_second_entry() {
        let file = item(b"a\r\nb", ItemKind::File);
        assert_eq!(line(Form::Names, &file), "");
        assert_eq!(line(Form::Machine, &file), "");
        assert!(line(Form::Long, &file).ends_with(" a??b\r\n"));
    }

    #[test]
    fn facts_are_chosen() {
        let facts = Facts::choose(b"SIZE;Modify;nonsense;");
        assert_eq!(facts.names(), "size;modify;");
        let shown = machine(facts, &item(b"a", ItemKind::File));
        assert_eq!(shown, "size=1234;modify=20200102030405; ");
        assert_eq!(facts.feature(), "type;size*;modify*;perm;UNIX.mode;unique;");
        assert_eq!(machine(Facts::choose(b""), &item(b"a", ItemKind::Dir)), " ");
    }
}
