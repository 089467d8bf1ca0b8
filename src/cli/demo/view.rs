//! What the terminal shows while the demo plays: a picture that is drawn again
//! and again in place, or plain lines where there is no terminal.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use rustix::termios::tcgetwinsize;

use super::facts::{DeviceFacts, Facts, Kind, Told};
use crate::base::ByteSize;
use crate::cli::text::{count, safe};

/// How the demo is shown.
pub(super) enum View {
    /// On a terminal.
    Live(Screen),
    /// Line by line.
    Plain(Lines),
}

impl View {
    /// The live view when stdout is a terminal that can move its cursor, and
    /// nobody wants a log besides.
    pub(super) fn new(has_log: bool, total: Duration, config: &Path) -> View {
        let term = std::env::var_os("TERM").unwrap_or_default();
        let can_move = !term.is_empty() && term != "dumb";
        match io::stdout().is_terminal() && can_move && !has_log {
            true => View::Live(Screen::new(total, config)),
            false => View::Plain(Lines::new(config)),
        }
    }

    /// How often it is worth a new look.
    pub(super) fn every(&self) -> Duration {
        match self {
            View::Live(_) => Duration::from_millis(100),
            View::Plain(_) => Duration::from_millis(200),
        }
    }

    /// Shows the numbers, and what happened since the last time.
    ///
    /// # Errors
    /// When nobody reads it any more.
    pub(super) fn show(&mut self, facts: &Facts, told: Vec<Told>) -> io::Result<()> {
        match self {
            View::Live(screen) => screen.show(facts, told),
            View::Plain(lines) => lines.show(facts, &told),
        }
    }
}

/// Plain lines.
pub(super) struct Lines {
    /// What comes before all others.
    head: String,
    /// When the numbers were printed last.
    printed: Duration,
}

impl Lines {
    fn new(config: &Path) -> Lines {
        Lines {
            head: format!("{TITLE}\n{}\n\n", look(config)),
            printed: Duration::ZERO,
        }
    }

    fn show(&mut self, facts: &Facts, told: &[Told]) -> io::Result<()> {
        let mut out = std::mem::take(&mut self.head);
        for told in told {
            out += &format!("{}\n", story_line(told));
        }
        if facts.elapsed >= self.printed + NUMBERS_EVERY {
            self.printed = facts.elapsed;
            out += &format!("{}\n", numbers_line(facts));
        }
        put(&out)
    }
}

/// A part of the terminal that is drawn again and again.
pub(super) struct Screen {
    total: Duration,
    /// How to look at the agent.
    look: String,
    colours: bool,
    /// Lines that stand there now.
    drawn: usize,
    story: VecDeque<Told>,
}

impl Screen {
    fn new(total: Duration, config: &Path) -> Screen {
        // https://no-color.org: any value but none at all.
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Screen {
            total,
            look: look(config),
            colours: !no_colour,
            drawn: 0,
            story: VecDeque::new(),
        }
    }

    fn show(&mut self, facts: &Facts, told: Vec<Told>) -> io::Result<()> {
        // What arrives without ado is in the numbers.
        let news = told.into_iter().filter(|told| told.kind != Kind::Arrived);
        self.story.extend(news);
        while self.story.len() > STORY_LINES {
            self.story.pop_front();
        }
        let (columns, rows) = size();
        let mut lines = picture(facts, self.total, &self.story);
        lines.insert(1, Line::new(Style::Dim, self.look.clone()));
        // What does not fit would scroll, and the cursor would miss its place.
        lines.truncate(rows.saturating_sub(1).max(1));
        let mut out = String::new();
        if self.drawn == 0 {
            out += HIDE_CURSOR;
        } else {
            out += &format!("\r\x1b[{}A", self.drawn);
        }
        for line in &lines {
            out += &line.drawn(columns.saturating_sub(1), self.colours);
        }
        out += CLEAR_BELOW;
        self.drawn = lines.len();
        put(&out)
    }
}

/// Leaves the terminal as it was, below the last picture.
impl Drop for Screen {
    fn drop(&mut self) {
        if self.drawn > 0 {
            // The terminal is gone, if it does not take this.
            let _gone = put(SHOW_CURSOR);
        }
    }
}

/// One line, and how it stands out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    text: String,
    style: Style,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
}

impl Line {
    fn new(style: Style, text: impl Into<String>) -> Line {
        let text = text.into();
        Line { text, style }
    }

    /// The line for a terminal that is so wide.
    fn drawn(&self, columns: usize, colours: bool) -> String {
        let text: String = match self.text.chars().count() > columns {
            true => {
                let kept = self.text.chars().take(columns.saturating_sub(1));
                kept.chain(['…']).collect()
            }
            false => self.text.clone(),
        };
        let code = match self.style {
            Style::Plain => "",
            Style::Bold => "\x1b[1m",
            Style::Dim => "\x1b[2m",
            Style::Good => "\x1b[32m",
            Style::Bad => "\x1b[33m",
        };
        match code.is_empty() || !colours {
            true => format!("{text}\x1b[K\n"),
            false => format!("{code}{text}\x1b[0m\x1b[K\n"),
        }
    }
}

/// The whole picture.
fn picture(facts: &Facts, total: Duration, story: &VecDeque<Told>) -> Vec<Line> {
    let mut lines = vec![Line::new(Style::Bold, TITLE), Line::new(Style::Plain, "")];
    let devices = facts.devices.iter().map(device_line);
    lines.extend(devices.map(|text| Line::new(Style::Plain, text)));
    lines.push(link_line(facts));
    let (files, bytes) = facts.arrived;
    let server = format!(
        "  server  {:>9} arrived  {:>9}",
        count(files, "file"),
        size_of(bytes)
    );
    lines.push(Line::new(Style::Plain, server));
    lines.push(Line::new(Style::Plain, ""));
    for told in story {
        let style = match told.kind {
            Kind::Broke | Kind::Trouble => Style::Bad,
            Kind::Resumed => Style::Good,
            Kind::Back | Kind::Arrived => Style::Plain,
        };
        lines.push(Line::new(style, story_line(told)));
    }
    if !story.is_empty() {
        lines.push(Line::new(Style::Plain, ""));
    }
    lines.push(Line::new(Style::Dim, foot(facts, total)));
    lines
}

fn device_line(device: &DeviceFacts) -> String {
    format!(
        "  {:<6}  {:>9} made     {:>9}  {} in the spool",
        device.watch,
        count(device.files, "file"),
        size_of(device.bytes),
        device.waiting
    )
}

fn link_line(facts: &Facts) -> Line {
    if let Some(left) = facts.down_for {
        let text = format!("  link    down, back in {:.1} s", left.as_secs_f32());
        return Line::new(Style::Bad, text);
    }
    let speed = format!("{}/s", ByteSize(facts.speed));
    let text = match &facts.sending {
        Some(current) => format!(
            "  link    {} {speed:>11}  {}",
            bar(current.sent, current.size),
            safe(current.path.as_bytes())
        ),
        None => format!("  link    {} {speed:>11}", bar(0, 0)),
    };
    Line::new(Style::Plain, text)
}

/// `[=====>     ]  45 %`
fn bar(done: u64, whole: u64) -> String {
    let Some(percent) = done.saturating_mul(100).checked_div(whole) else {
        return format!("[{:BAR$}]      ", "");
    };
    let percent = percent.min(100);
    let full = usize::try_from(percent).unwrap_or(0) * BAR / 100;
    let head = if full < BAR { ">" } else { "" };
    let filled = format!("{}{head}", "=".repeat(full));
    format!("[{filled:BAR$}] {percent:>3} %")
}

fn foot(facts: &Facts, total: Duration) -> String {
    let left = total.saturating_sub(facts.elapsed);
    if !left.is_zero() {
        let seconds = left.as_secs() + 1;
        return format!("  the devices go on for {seconds} s; Ctrl-C ends it");
    }
    let made: u64 = facts.devices.iter().map(|device| device.files).sum();
    match made.saturating_sub(facts.arrived.0) {
        0 => "  the devices have stopped, and everything has arrived".to_owned(),
        _ => "  the devices have stopped; what waits is uploaded, then compared".to_owned(),
    }
}

/// One line of the story.
fn story_line(told: &Told) -> String {
    let word = match told.kind {
        Kind::Broke => "cut",
        Kind::Trouble => "agent",
        Kind::Back => "back",
        Kind::Resumed => "resumed",
        Kind::Arrived => "arrived",
    };
    let at = told.at.as_secs_f32();
    format!("{at:>6.1} s  {word:<7}  {}", told.text)
}

/// All numbers on one line.
fn numbers_line(facts: &Facts) -> String {
    let made: u64 = facts.devices.iter().map(|device| device.files).sum();
    let waiting: u64 = facts.devices.iter().map(|device| device.waiting).sum();
    let (arrived, bytes) = facts.arrived;
    let link = match facts.down_for {
        Some(left) => format!("down for {:.1} s", left.as_secs_f32()),
        None => format!("at {}/s", ByteSize(facts.speed)),
    };
    format!(
        "{:>6.1} s  now      {} made, {waiting} in the spool, {arrived} arrived ({}); link {link}",
        facts.elapsed.as_secs_f32(),
        count(made, "file"),
        ByteSize(bytes),
    )
}

fn size_of(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// What another terminal can show meanwhile.
fn look(config: &Path) -> String {
    format!("(edgespool -c {} status shows the agent)", config.display())
}

const TITLE: &str = "two devices -> edgespool -> a link that breaks -> an FTP server with TLS";
const BAR: usize = 24;
const STORY_LINES: usize = 9;
const NUMBERS_EVERY: Duration = Duration::from_secs(5);
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const CLEAR_BELOW: &str = "\x1b[J";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::report::CurrentReport;

    fn facts() -> Facts {
        Facts {
            elapsed: Duration::from_millis(4300),
            devices: vec![DeviceFacts {
                watch: "camera",
                files: 5,
                bytes: 700 << 10,
                waiting: 2,
            }],
            sending: Some(CurrentReport {
                watch: "camera".into(),
                path: "a\x1b[2J.jpg".into(),
                size: 1000,
                sent: 450,
            }),
            speed: 256 << 10,
            arrived: (3, 99),
            ..Facts::default()
        }
    }

    fn texts(facts: &Facts) -> Vec<String> {
        let lines = picture(facts, Duration::from_secs(20), &VecDeque::new());
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn the_picture_shows_the_numbers() {
        let texts = texts(&facts()).join("\n");
        for expected in [
            "camera    5 files made       700 KiB  2 in the spool",
            "[==========>             ]  45 %   256 KiB/s  a\\x1b[2J.jpg",
            "3 files arrived       99 B",
            "go on for 16 s",
        ] {
            assert!(texts.contains(expected), "{expected}\n{texts}");
        }
    }

    #[test]
    fn a_link_that_is_down_says_for_how_long() {
        let facts = Facts {
            down_for: Some(Duration::from_millis(1240)),
            ..facts()
        };
        assert!(texts(&facts).contains(&"  link    down, back in 1.2 s".to_owned()));
    }

    #[test]
    fn a_line_is_never_wider_than_the_terminal() {
        let line = Line::new(Style::Good, "abcdefgh");
        assert_eq!(line.drawn(5, false), "abcd…\x1b[K\n");
        assert_eq!(line.drawn(8, true), "\x1b[32mabcdefgh\x1b[0m\x1b[K\n");
    }

    #[test]
    fn a_full_bar_has_no_head() {
        assert_eq!(bar(10, 10), format!("[{}] 100 %", "=".repeat(BAR)));
        assert_eq!(bar(0, 0).chars().count(), bar(1, 3).chars().count());
    }
}
