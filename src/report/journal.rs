//! The run's journal: `journal.jsonl`, one record a line, each written at once and whole. A run that comes after one that
//! ended well begins it anew; after one that did not, it is gone on with, so that what happened is not lost.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::machine::{CaseId, RunEvent};

use super::CaseInfo;

/// The last record of a run that ended by itself.
const ENDED: &str = "run ended";
/// No record is longer than this, so the last one can be found from the end.
const TAIL_BYTES: u64 = 4096;

/// The journal of a run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Several processes write it, as under nextest: then none of them may begin it anew.
    shared: bool,
    file: Option<File>,
}

impl Journal {
    /// A journal in this file, which is not touched before the first event.
    pub fn new(path: PathBuf, shared: bool) -> Self {
        Self { path, shared, file: None }
    }

    pub(super) fn hear(&mut self, event: &RunEvent, infos: &HashMap<CaseId, CaseInfo>) -> Result<(), String> {
        let name = |case: &CaseId| infos.get(case).map_or("?", |info| info.name.as_str());
        let record = match event {
            RunEvent::Began { case } => json!({ "event": "case began", "case": name(case) }),
            RunEvent::MayBeDirty { case, heal } => {
                json!({ "event": "may be dirty", "case": name(case), "heal": heal })
            }
            RunEvent::Reverted { case } => json!({ "event": "reverted", "case": name(case) }),
            RunEvent::StepEnded { case, record } => json!({
                "event": "step ended",
                "case": name(case),
                "step": record.step.to_string(),
                "attempt": record.attempt,
                "took_seconds": record.took.as_secs_f64(),
                "end": record.end.to_string(),
            }),
            RunEvent::Settled { case, outcome } => json!({
                "event": "settled",
                "case": name(case),
                "verdict": outcome.verdict.to_string(),
                "findings": outcome.findings.iter().map(|finding| &finding.message).collect::<Vec<_>>(),
            }),
            RunEvent::Interrupted { by } => json!({ "event": "interrupted", "by": by }),
            RunEvent::Warning { message } => json!({ "event": "warning", "message": message }),
            RunEvent::Waiting { .. }
            | RunEvent::StepBegan { .. }
            | RunEvent::Printed { .. }
            | RunEvent::BookClosed
            | RunEvent::Logged { .. } => return Ok(()),
        };
        self.write(record)?;
        // A host is broken only after this is safe, and a cluster forgets a result that is.
        match event {
            RunEvent::MayBeDirty { .. } | RunEvent::Settled { .. } => self.sync(),
            _ => Ok(()),
        }
    }

    fn sync(&self) -> Result<(), String> {
        let Some(file) = &self.file else { return Ok(()) };
        file.sync_data().map_err(|error| failed(&self.path, &error))
    }

    /// The run is over.
    pub(super) fn end(&mut self) -> Result<(), String> {
        if self.file.is_none() {
            return Ok(());
        }
        self.write(json!({ "event": ENDED }))
    }

    fn write(&mut self, record: Value) -> Result<(), String> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(open(&self.path, self.shared).map_err(|error| failed(&self.path, &error))?),
        };
        let seconds =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut whole = Map::new();
        whole.insert("at".to_owned(), json!(seconds));
        whole.insert("process".to_owned(), json!(std::process::id()));
        if let Value::Object(record) = record {
            whole.extend(record);
        }
        let line = format!("{}\n", Value::Object(whole));
        file.write_all(line.as_bytes()).map_err(|error| {
            self.file = None;
            failed(&self.path, &error)
        })
    }
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("cannot write the journal {}: {error}: `--output` names another folder", path.display())
}

fn open(path: &Path, shared: bool) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    if !shared && ended_well(path) {
        return File::create(path);
    }
    OpenOptions::new().append(true).create(true).open(path)
}

fn ended_well(path: &Path) -> bool {
    let Ok(mut file) = File::open(path) else { return true };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut tail = Vec::new();
    let read = file
        .seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))
        .and_then(|_| file.read_to_end(&mut tail));
    let tail = String::from_utf8_lossy(&tail);
    let last = tail.lines().next_back().unwrap_or_default();
    let record: Value = serde_json::from_str(last).unwrap_or_default();
    read.is_ok() && (length == 0 || record["event"] == ENDED)
}
