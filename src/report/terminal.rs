//! What a person sees on standard error while cases run: on a terminal one line that says which step goes on and for how
//! long, elsewhere a line for each thing that happens.

use std::collections::{HashMap, HashSet};
use std::io::{IsTerminal, Write};
use std::time::Instant;

use crate::fatebook::LogLevel;
use crate::machine::{CaseId, RunEvent, Step};

use super::tell::{clean_line, clean_text};
use super::{CaseInfo, Shout};

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Lines for steps and logs; without it only warnings and what must not be missed.
    pub progress: bool,
    /// Whether the test harness's own lines go to the same terminal or file.
    pub shares_line: bool,
    /// Whether lines may be redrawn.
    pub live: bool,
}

impl Look {
    /// What fits where standard output and standard error go. `quiet` leaves out progress.
    pub fn fitting(quiet: bool) -> Self {
        let live =
            std::io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        Self { progress: !quiet, shares_line: is_same_file(), live }
    }
}

/// Whether standard output and standard error lead to the same place, as in a terminal or the log of a build.
fn is_same_file() -> bool {
    match (rustix::fs::fstat(std::io::stdout()), rustix::fs::fstat(std::io::stderr())) {
        (Ok(out), Ok(err)) => (out.st_dev, out.st_ino) == (err.st_dev, err.st_ino),
        _ => false,
    }
}

/// Standard error.
#[derive(Debug)]
pub struct Terminal {
    look: Look,
    running: Vec<(CaseId, Step, Instant)>,
    /// The cases whose hosts may be broken now.
    dirty: HashSet<CaseId>,
    /// The case whose name stands at the beginning of the line, and how many columns it takes.
    shown: Option<(CaseId, usize)>,
    names: HashMap<CaseId, String>,
    drawn: bool,
}

impl Terminal {
    /// A terminal that looks so.
    pub fn new(look: Look) -> Self {
        Self {
            look,
            running: Vec::new(),
            dirty: HashSet::new(),
            shown: None,
            names: HashMap::new(),
            drawn: false,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.look.live && self.look.progress && !self.running.is_empty()
    }

    /// The harness has printed the name of this case and waits for it; the line is so many columns wide until there.
    pub fn show(&mut self, case: CaseId, columns: usize) {
        self.shown = Some((case, columns));
        self.draw();
    }

    /// The harness goes on printing: its line is left as it was.
    pub fn hide(&mut self) {
        self.erase();
        self.shown = None;
    }

    pub(super) fn tick(&mut self) {
        self.draw();
    }

    pub(super) fn hear(&mut self, event: &RunEvent, infos: &HashMap<CaseId, CaseInfo>) {
        let name = |case: &CaseId| infos.get(case).map_or("?", |info| info.name.as_str()).to_owned();
        match event {
            RunEvent::Waiting { case, what } => self.line(&format!("{}: waiting for {what}", name(case))),
            RunEvent::StepBegan { case, step, .. } => {
                self.running.retain(|(other, ..)| other != case);
                self.running.push((*case, *step, Instant::now()));
                self.names.entry(*case).or_insert_with(|| name(case));
                self.draw();
            }
            RunEvent::Logged { case, level, line } => {
                let worth = if self.look.live {
                    *level >= LogLevel::Warning || *level == LogLevel::Debug
                } else {
                    true
                };
                if self.look.progress && worth {
                    for line in line.lines() {
                        self.line(&format!("{}: {}", name(case), clean_line(line)));
                    }
                }
            }
            RunEvent::Printed { case, text, .. } => {
                for line in text.lines() {
                    self.line(&format!("{} | {}", name(case), clean_line(line)));
                }
            }
            RunEvent::Warning { message } | RunEvent::NotLeft { message } => self.warn(message),
            RunEvent::MayBeDirty { case, .. } => {
                self.dirty.insert(*case);
            }
            RunEvent::Reverted { case, host: None } => {
                self.dirty.remove(case);
            }
            RunEvent::Settled { case, .. } => {
                self.dirty.remove(case);
                self.running.retain(|(other, ..)| other != case);
                self.names.remove(case);
                self.erase();
            }
            RunEvent::Interrupted { by } => {
                let cases = |count: usize| match count {
                    1 => "1 running case".to_owned(),
                    count => format!("{count} running cases"),
                };
                let waits = match (self.running.len(), self.dirty.len()) {
                    (0, 0) => "nothing is running".to_owned(),
                    (running, 0) => format!("nothing is broken; ending {}", cases(running)),
                    (_, dirty) => format!("reverting {}; press again to leave at once", cases(dirty)),
                };
                self.line(&format!("pisaura: interrupted by {by}: {waits}"));
            }
            RunEvent::WentAround(record) => {
                if let Some(why) = record.why_failed() {
                    self.warn(&format!("{}: {why}", record.book));
                } else if self.look.progress {
                    let seconds = record.took.as_secs_f64();
                    self.line(&format!("{}: {} ok ({seconds:.1} s)", record.book, record.around));
                }
            }
            RunEvent::Reverted { host: Some(_), .. }
            | RunEvent::Began { .. }
            | RunEvent::StepEnded { .. }
            | RunEvent::HostLeft { .. }
            | RunEvent::Framework { .. }
            | RunEvent::BookClosed => {}
        }
    }

    /// Something that a person should know.
    pub fn warn(&mut self, message: &str) {
        self.line(&format!("pisaura: warning: {message}"));
    }

    /// Which hosts may still be broken, so that nobody can miss it.
    pub fn shout(&mut self, shouts: &[Shout]) {
        if shouts.is_empty() {
            return;
        }
        let count = if shouts.len() == 1 { "A HOST IS" } else { "HOSTS ARE" };
        let mut text = format!("\n!!! {count} LEFT UNREVERTED, and may still be broken:\n");
        for shout in shouts {
            text.push_str(&format!("!!!   {} by {}\n", shout.host, shout.case));
            if !shout.heal.is_empty() {
                text.push_str(&format!("!!!     to heal it: {}\n", shout.heal));
            }
        }
        self.line(&text);
    }

    fn line(&mut self, text: &str) {
        self.erase();
        // On a line that the harness has begun, news begin a line of their own.
        let text = clean_text(text);
        let begun = if self.shown.is_some() && self.look.live && self.look.shares_line { "\n" } else { "" };
        let _ = writeln!(std::io::stderr(), "{begun}{}", text.trim_end_matches('\n'));
        if !begun.is_empty() {
            self.shown = self.shown.map(|(case, _)| (case, 0));
        }
        self.draw();
    }

    fn erase(&mut self) {
        if self.drawn {
            let _ = write!(std::io::stderr(), "{}", if self.shares() { "\x1b[K" } else { "\r\x1b[K" });
            self.drawn = false;
        }
    }

    fn shares(&self) -> bool {
        self.look.shares_line && self.shown.is_some()
    }

    /// Draws the line of status, behind the harness's own if that stands there.
    fn draw(&mut self) {
        if !self.look.live || !self.look.progress || (self.look.shares_line && self.shown.is_none()) {
            return;
        }
        let at = self.shown.and_then(|(case, _)| self.running.iter().find(|(running, ..)| *running == case));
        let Some((case, step, since)) = at.or(self.running.last()) else {
            return;
        };
        let mut status = format!("{step}, {} s", since.elapsed().as_secs());
        let is_shown = self.shown.is_some_and(|(shown, _)| shown == *case);
        if !is_shown && let Some(name) = self.names.get(case) {
            status = format!("{name}: {status}");
        }
        if self.running.len() > 1 {
            status.push_str(&format!(" (and {} more)", self.running.len() - 1));
        }
        let columns =
            rustix::termios::tcgetwinsize(std::io::stderr()).map_or(80, |size| usize::from(size.ws_col));
        // A name that is longer than a line goes on in the next one.
        let taken = self.shown.map_or(0, |(_, taken)| taken % columns.max(1));
        let room = columns.saturating_sub(taken + 1);
        if room < 12 {
            return;
        }
        let status: String = status.chars().take(room).collect();
        let back = status.chars().count();
        let mut stderr = std::io::stderr();
        let _ = match self.shares() {
            true => write!(stderr, "\x1b[K{status}\x1b[{back}D"),
            false => write!(stderr, "\r\x1b[K{status}"),
        };
        let _ = stderr.flush();
        self.drawn = true;
    }
}
