//! Texts that people and programs write: configurations, times, requests.

use std::path::Path;
use std::time::Duration;

use edgespool::base::{ByteSize, Wall, format_span, parse_span};
use edgespool::config::remote::Facts;
use edgespool::config::{Env, Remote, Severity, load};
use edgespool::schedule::{Cron, Opening, Rate, Window, opening};
use edgespool::status::{Request, Response};
use jiff::tz::TimeZone;

use super::assert_one_line;
use super::disk::Disk;

/// A configuration is taken, or refused with mistakes that each fit on a line.
pub fn config(data: &[u8]) {
    let disk = Disk::with_dirs(&["/", "/etc", "/data", "/data/camera"]);
    disk.put(Path::new("/etc/edgespool.toml"), data);
    disk.put(Path::new("/etc/password"), b"open sesame\n");
    let env = Env {
        fs: &disk,
        var: &|_| None,
        host_name: "gw-1".into(),
        current_dir: Path::new("/etc"),
    };
    match load(Path::new("/etc/edgespool.toml"), &env) {
        Ok(loaded) => {
            assert!(loaded.config.spool.dir.is_absolute());
            assert!(!format!("{:?}", loaded.config).contains("open sesame"));
            loaded
                .warnings
                .iter()
                .for_each(|w| assert_one_line(&w.to_string()));
        }
        Err(invalid) => {
            let findings = &invalid.findings;
            assert!(!findings[0].text.starts_with("cannot be read"));
            assert!(findings.iter().any(|f| f.severity == Severity::Mistake));
            findings
                .iter()
                .for_each(|f| assert_one_line(&f.to_string()));
        }
    }
}

/// A remote name leads downwards and fits into a command. The template and the
/// file's path stand on two lines.
pub fn templates(data: &[u8]) {
    let mut lines = data.splitn(2, |b| *b == b'\n');
    let template = lines.next().map(std::str::from_utf8);
    let (Some(Ok(template)), path) = (template, lines.next().unwrap_or(b"a/b.jpg")) else {
        return;
    };
    let remote = match Remote::parse(template) {
        Ok(remote) => remote,
        Err(error) => return assert_one_line(&error.to_string()),
    };
    assert_eq!(remote.to_string(), template);
    let facts = Facts {
        device: "gw-1",
        watch: "camera",
        path,
        mtime_ns: path.iter().fold(0, |sum: i64, b| {
            sum.wrapping_mul(257).wrapping_add((*b).into())
        }),
        zone: &berlin(),
    };
    if let Ok(name) = remote.expand(&facts) {
        assert!(!name.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
        assert!(name.split(|b| *b == b'/').all(|part| part != b".."));
    }
}

/// Times, windows, spans, sizes and rates are read or refused; a time that
/// comes lies ahead, and an opening ends.
pub fn schedules(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let zone = berlin();
    let now = Wall::from_secs(1_774_746_000); // an hour before the clocks go forward
    match Cron::parse(text) {
        Ok(cron) => {
            let next = cron.next(now, &zone).unwrap();
            assert!(next > now && cron.next(next, &zone).is_none_or(|after| after > next));
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
    let windows: Vec<Window> = text
        .split(';')
        .filter_map(|t| Window::parse(t).ok())
        .collect();
    if let Err(error) = Window::parse(text) {
        assert_one_line(&error.to_string());
    }
    match opening(&windows, Duration::from_secs(90), now, &zone) {
        Opening::Open { until } => assert!(until > now),
        Opening::Closed { opens } => assert!(opens.is_none_or(|opens| opens > now)),
    }
    if let Ok(span) = parse_span(text) {
        parse_span(&format_span(span)).unwrap();
    }
    if let Ok(size) = text.parse::<ByteSize>() {
        assert!(size.to_string().parse::<ByteSize>().unwrap() <= size);
    }
    if let Ok(rate) = text.parse::<Rate>() {
        rate.to_string().parse::<Rate>().unwrap();
    }
}

/// A request is understood or not; one that is goes through a socket unchanged.
pub fn requests(data: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(data) {
        let line = serde_json::to_vec(&request).unwrap();
        assert!(!line.contains(&b'\n'));
        assert_eq!(serde_json::from_slice::<Request>(&line).unwrap(), request);
    }
    if let Ok(response) = serde_json::from_slice::<Response>(data) {
        serde_json::to_vec(&response).unwrap();
    }
}

/// A zone whose clocks change, without a database of zones.
fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}
