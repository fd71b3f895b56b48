//! A log for each case, in the run's output folder: what the executor logged at the book's level, and all that is kept of
//! what the scripts printed.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::machine::{CaseId, RunEvent, file_name};

use super::CaseInfo;
use super::files::{create, make_folder};
use super::tell::clean_text;

/// The logs of the cases that run.
#[derive(Debug)]
pub struct Logs {
    folder: PathBuf,
    open: HashMap<CaseId, (File, Instant)>,
}

impl Logs {
    /// Logs in this folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, open: HashMap::new() }
    }

    /// The log of a case.
    pub fn path(folder: &Path, name: &str) -> PathBuf {
        folder.join(format!("{}.log", file_name(name)))
    }

    pub(super) fn hear(&mut self, event: &RunEvent, infos: &HashMap<CaseId, CaseInfo>) -> Result<(), String> {
        let (case, text) = match event {
            RunEvent::Began { case } => {
                let Some(info) = infos.get(case) else {
                    return Ok(());
                };
                let path = Self::path(&self.folder, &info.name);
                let file = make_folder(&self.folder)
                    .and_then(|()| create(&path))
                    .map_err(|error| format!("cannot write the log {}: {error}", path.display()))?;
                self.open.insert(*case, (file, Instant::now()));
                (case, info.name.clone())
            }
            RunEvent::Logged { case, level, line } => (case, format!("{level:?}: {line}")),
            RunEvent::StepEnded { case, record } => {
                let mut text = String::new();
                for (name, captured) in [("stdout", &record.stdout), ("stderr", &record.stderr)] {
                    for line in captured.whole().lines() {
                        text.push_str(&format!("{} {name} | {line}\n", record.asker()));
                    }
                }
                (case, text.trim_end().to_owned())
            }
            RunEvent::Settled { case, outcome } => {
                let findings: Vec<String> =
                    outcome.findings.iter().map(|finding| finding.message.clone()).collect();
                let result = self.write(
                    *case,
                    format!("{}: {}", outcome.verdict, findings.join("; ")).trim_end_matches(": "),
                );
                self.open.remove(case);
                return result;
            }
            _ => return Ok(()),
        };
        if text.is_empty() { Ok(()) } else { self.write(*case, &text) }
    }

    fn write(&mut self, case: CaseId, text: &str) -> Result<(), String> {
        let Some((file, began)) = self.open.get_mut(&case) else {
            return Ok(());
        };
        let seconds = began.elapsed().as_secs_f64();
        let mut lines = String::new();
        for line in text.lines() {
            lines.push_str(&format!("{seconds:9.3} {}\n", clean_text(line)));
        }
        let written = file.write_all(lines.as_bytes());
        written.map_err(|error| {
            self.open.remove(&case);
            format!("cannot write a log in {}: {error}", self.folder.display())
        })
    }
}
