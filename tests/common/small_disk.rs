//! A filesystem so small that a test can fill it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A tmpfs in a mount namespace of its own; gone when dropped, or when the test
/// process ends, however it ends.
pub struct SmallDisk {
    holder: Child,
    path: PathBuf,
    _mount_point: tempfile::TempDir,
}

impl SmallDisk {
    /// A disk for so many bytes, in whole pages.
    pub fn new(bytes: u64) -> Self {
        let mount_point = tempfile::tempdir().unwrap();
        let mut unshare = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            unshare.args(["--user", "--map-root-user"]);
        }
        let mut holder = unshare
            .args([
                "--mount",
                "--propagation",
                "private",
                "--kill-child",
                "--fork",
            ])
            .args(["sh", "-c", HOLD, "sh"])
            .arg(bytes.to_string())
            .arg(mount_point.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(holder.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let pid = line.trim();
        assert!(!pid.is_empty(), "a tmpfs cannot be mounted in a namespace");
        let below = mount_point.path().strip_prefix("/").unwrap();
        Self {
            holder,
            path: PathBuf::from(format!("/proc/{pid}/root")).join(below),
            _mount_point: mount_point,
        }
    }

    /// Where this process sees it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file until nothing goes in any more.
    pub fn fill(&self, name: &str) -> PathBuf {
        use std::io::Write;

        let path = self.path.join(name);
        let mut file = fs::File::create(&path).unwrap();
        while file.write(&[0; 4096]).is_ok_and(|count| count > 0) {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Its shell reads this pipe to the end.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// Mounts a tmpfs of `$1` bytes on `$2`, tells its own process id, and stays
/// until standard input ends.
const HOLD: &str = r#"
mount -t tmpfs -o size="$1",mode=755 tmpfs "$2" && echo "$$" && read -r _ || true
"#;
