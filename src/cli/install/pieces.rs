//! The files that an installation consists of.

use std::path::{Path, PathBuf};

use super::CONFIG_DIR;
use crate::config::template::{FILE_NAME, PASSWORD_FILE, TEMPLATE};

/// One file.
pub(super) struct Piece {
    /// Below the root.
    pub(super) path: PathBuf,
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
    /// Whether it is replaced even where nobody knows who wrote it.
    pub(super) always: bool,
}

impl Piece {
    /// A file of text for everyone to read.
    pub(super) fn text(path: &str, content: impl Into<Vec<u8>>) -> Piece {
        Piece {
            path: path.into(),
            content: content.into(),
            mode: 0o644,
            always: false,
        }
    }

    fn secret(name: &str, content: impl Into<Vec<u8>>) -> Piece {
        Piece {
            path: Path::new(CONFIG_DIR).join(name),
            mode: 0o640,
            ..Piece::text("", content)
        }
    }
}

/// Where the program goes, below the root.
pub(super) const PROGRAM: &str = "usr/local/bin/edgespool";

const UNITS: [(&str, &str); 4] = [
    (
        "edgespool.service",
        include_str!("../../../systemd/edgespool.service"),
    ),
    (
        "edgespool@.service",
        include_str!("../../../systemd/edgespool@.service"),
    ),
    (
        "edgespool-once.service",
        include_str!("../../../systemd/edgespool-once.service"),
    ),
    (
        "edgespool-once.timer",
        include_str!("../../../systemd/edgespool-once.timer"),
    ),
];

/// Below the root.
pub(super) const SYSUSERS: &str = "etc/sysusers.d/edgespool.conf";
/// Below the root.
pub(super) const TMPFILES: &str = "etc/tmpfiles.d/edgespool.conf";

/// The running program, its units, its user and its directories.
pub(super) fn program() -> Result<Vec<Piece>, String> {
    let running = Path::new("/proc/self/exe");
    let content = std::fs::read(running)
        .map_err(|e| format!("the running program cannot be read: {e} (is /proc mounted?)"))?;
    let mut pieces = vec![Piece {
        path: PROGRAM.into(),
        content,
        mode: 0o755,
        always: true,
    }];
    // A package has the program elsewhere than a machine's owner puts it.
    let unit = |text: &str| text.replace("/usr/bin/edgespool", &format!("/{PROGRAM}"));
    pieces.extend(
        UNITS.map(|(name, text)| Piece::text(&format!("etc/systemd/system/{name}"), unit(text))),
    );
    pieces.push(Piece::text(
        SYSUSERS,
        include_str!("../../../systemd/sysusers.conf"),
    ));
    pieces.push(Piece::text(
        TMPFILES,
        include_str!("../../../systemd/tmpfiles.conf"),
    ));
    Ok(pieces)
}

/// The config to start from, and the password's file.
pub(super) fn config() -> [Piece; 2] {
    // The template of `init` has everything in one directory, for trying it out.
    let lines = TEMPLATE.lines().map(|line| match line {
        line if line.starts_with("dir = \"spool\"") => "#dir = \"/var/lib/edgespool\"",
        line if line.starts_with("dir = \"outbox\"") => "dir = \"/var/spool/edgespool\"",
        line => line,
    });
    let config = lines.flat_map(|line| [line, "\n"]).collect::<String>();
    [
        Piece::secret(FILE_NAME, config),
        Piece::secret(PASSWORD_FILE, "change-me\n"),
    ]
}

/// Whether a package has put the program in place.
pub(super) fn is_packaged(root: &Path) -> bool {
    let unit = |dir: &str| root.join(dir).join("edgespool.service").exists();
    unit("usr/lib/systemd/system") || unit("lib/systemd/system")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_start_the_program_that_is_installed() {
        let pieces = program().unwrap();
        let services = pieces
            .iter()
            .filter(|piece| piece.path.ends_with("edgespool.service"));
        for service in services {
            let text = String::from_utf8(service.content.clone()).unwrap();
            assert!(
                text.contains("\nExecStart=/usr/local/bin/edgespool -c "),
                "{text}"
            );
            assert!(!text.contains("/usr/bin/"), "{text}");
        }
    }

    #[test]
    fn the_config_keeps_the_spool_where_the_unit_has_its_state() {
        let [config, _] = config();
        let text = String::from_utf8(config.content).unwrap();
        assert!(text.contains("\n#dir = \"/var/lib/edgespool\"\n"), "{text}");
        assert!(
            text.contains("\ndir = \"/var/spool/edgespool\"\n"),
            "{text}"
        );
    }
}
