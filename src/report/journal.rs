//! The run's journal: `journal.jsonl`, one record a line, each written at once and whole, and safe on the disk before a host
//! may be broken. Owns what an older run left behind: what it says of hosts that were not healed or not left clean.
//!
//! A run that comes after one that ended well begins the journal anew; after one that did not, it is gone on with, so that
//! what happened is not lost. A run that is alive holds a lock, so a run that is not can be told from it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::machine::{CaseId, RunEvent};
use crate::remote::random_hex;

use super::CaseInfo;

/// The journal's name in the folder for reports.
pub const JOURNAL: &str = "journal.jsonl";
/// The last record of a run that ended by itself.
const ENDED: &str = "run ended";
/// Beside the journal, a file for each run that is alive, locked by it.
const ALIVE: &str = ".alive";
/// What its name ends with until it is locked.
const BEGINNING: &str = ".new";

/// The journal of a run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// The larger run that this one is a part of, as under nextest: then others write it too, and none may begin it anew.
    within: Option<String>,
    /// The run's own name in it.
    run: String,
    file: Option<File>,
    /// Locked for as long as the run is alive.
    alive: Option<File>,
    /// What is needed to revert each case, without secrets.
    plans: HashMap<CaseId, Value>,
    /// The folders on hosts that were written down.
    used: HashSet<String>,
}

/// What a run that is over has left on hosts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Leftover {
    /// The larger run that it was a part of.
    pub within: Option<String>,
    /// Whether it ended by itself.
    pub ended: bool,
    /// The Mesos (as it is named on the command line) and the framework on it whose executors may still be at work.
    pub framework: Option<(String, String)>,
    /// Cases whose hosts may still be broken, in the order in which they were: their records.
    pub dirty: Vec<Value>,
    /// Hosts on which something of ours may lie: how to get there.
    pub used: Vec<Value>,
}

impl Leftover {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.dirty.is_empty() && self.used.is_empty()
    }
}

impl Journal {
    /// A journal in this file, which is not touched before the first event.
    /// `within` names the larger run that this one is a part of.
    pub fn new(path: PathBuf, within: Option<String>) -> Self {
        // Without random bytes nothing can be done on a host either, so no run gets as far as to write this.
        let run = random_hex().unwrap_or_default();
        Self { path, within, run, file: None, alive: None, plans: HashMap::new(), used: HashSet::new() }
    }

    /// Tells what is needed to revert a case, before it begins: `plan`, and how to get at its host: `access`, if that will
    /// still be there when the run is over.
    pub(super) fn will_begin(
        &mut self,
        case: CaseId,
        plan: Value,
        access: Option<&Value>,
    ) -> Result<(), String> {
        self.plans.insert(case, plan);
        let folder = access.and_then(|access| access["folder"].as_str()).unwrap_or_default();
        match access {
            Some(_) if self.used.contains(folder) => Ok(()),
            Some(access) => {
                self.write(json!({ "event": "host used", "access": access }))?;
                self.sync()?;
                self.used.insert(folder.to_owned());
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn hear(&mut self, event: &RunEvent, infos: &HashMap<CaseId, CaseInfo>) -> Result<(), String> {
        let name = |case: &CaseId| infos.get(case).map_or("?", |info| info.name.as_str());
        let record = match event {
            RunEvent::Began { case } => json!({ "event": "case began", "case": name(case) }),
            RunEvent::MayBeDirty { case, heal } => json!({
                "event": "may be dirty",
                "case": name(case),
                "heal": heal,
                "plan": self.plans.get(case).cloned().unwrap_or_default(),
            }),
            RunEvent::Reverted { case } => json!({ "event": "reverted", "case": name(case) }),
            RunEvent::Framework { id, master } => {
                json!({ "event": "framework", "id": id, "master": master })
            }
            RunEvent::HostLeft { folder } => json!({ "event": "host left", "folder": folder }),
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
        let written = self.write(json!({ "event": ENDED }));
        if self.alive.take().is_some() {
            // If it stays there, it is not locked any more, and the next run removes it.
            let _ = fs::remove_file(alive_folder(&self.path).join(&self.run));
        }
        written
    }

    fn write(&mut self, record: Value) -> Result<(), String> {
        if self.file.is_none() {
            self.open().map_err(|error| failed(&self.path, &error))?;
            let version = env!("CARGO_PKG_VERSION");
            self.write(json!({ "event": "run began", "version": version, "within": self.within }))?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        append(file, &self.run, record).map_err(|error| {
            self.file = None;
            failed(&self.path, &error)
        })
    }

    fn open(&mut self) -> io::Result<()> {
        let folder = alive_folder(&self.path);
        fs::create_dir_all(&folder)?;
        // From before the journal is touched, this run can be seen to be alive. Under its name it is locked from the first.
        if self.alive.is_none() {
            let beginning = folder.join(format!("{}{BEGINNING}", self.run));
            let alive = File::create(&beginning)?;
            alive.lock()?;
            fs::rename(&beginning, folder.join(&self.run))?;
            self.alive = Some(alive);
        }
        let mut file = go_on(&self.path)?;
        // Who else begins or heals now, waits.
        file.lock()?;
        let is_other = |entry: &fs::DirEntry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name != self.run && !name.ends_with(BEGINNING)
        };
        let others = fs::read_dir(&folder)?.flatten().filter(is_other);
        let mut alone = true;
        for other in others {
            match is_alive(&other.path()) {
                true => alone = false,
                false => drop(fs::remove_file(other.path())),
            }
        }
        let text = read(&self.path)?;
        let anew =
            self.within.is_none() && alone && ended_well(&text) && leftovers(&text, &|_| false).is_empty();
        if anew {
            file.set_len(0)?;
        } else {
            end_line(&mut file)?;
        }
        file.unlock()?;
        self.file = Some(file);
        Ok(())
    }
}

fn append(file: &mut File, run: &str, record: Value) -> io::Result<()> {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut whole = Map::new();
    whole.insert("at".to_owned(), json!(seconds));
    whole.insert("run".to_owned(), json!(run));
    whole.insert("process".to_owned(), json!(std::process::id()));
    if let Value::Object(record) = record {
        whole.extend(record);
    }
    file.write_all(format!("{}\n", Value::Object(whole)).as_bytes())
}

/// Opens a journal to be gone on with. A record that was broken off by a crash stays a line of its own.
fn go_on(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    end_line(&mut file)?;
    Ok(file)
}

fn end_line(file: &mut File) -> io::Result<()> {
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(-1)).is_ok() {
        file.read_exact(&mut last)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("cannot write the journal {}: {error}: `--output` names another folder", path.display())
}

fn alive_folder(journal: &Path) -> PathBuf {
    journal.with_file_name(ALIVE)
}

fn is_alive(path: &Path) -> bool {
    // A file that is not there any more was removed by a run that ended.
    File::open(path).is_ok_and(|file| file.try_lock_shared().is_err())
}

fn ended_well(text: &str) -> bool {
    let last = text.lines().next_back().unwrap_or_default();
    let record: Value = serde_json::from_str(last).unwrap_or_default();
    text.is_empty() || record["event"] == ENDED
}

/// What a journal says that runs have left on hosts, by the runs' names; those that are alive are left out, for they are
/// still at it. Pure. A record that was broken off says nothing: what it was to announce was not done yet.
fn leftovers(text: &str, is_alive: &dyn Fn(&str) -> bool) -> BTreeMap<String, Leftover> {
    let mut runs: BTreeMap<String, Leftover> = BTreeMap::new();
    for line in text.lines() {
        let Ok(record) = serde_json::from_str::<Value>(line) else { continue };
        let Some(run) = record["run"].as_str() else { continue };
        let left = runs.entry(run.to_owned()).or_default();
        match record["event"].as_str().unwrap_or_default() {
            "framework" => {
                let text = |name: &str| record[name].as_str().map(str::to_owned);
                left.framework = text("master").zip(text("id"));
            }
            ENDED => {
                left.framework = None;
                left.ended = true;
            }
            "run began" => left.within = record["within"].as_str().map(str::to_owned),
            "host used" => {
                let access = &record["access"];
                left.used.retain(|other| other["folder"] != access["folder"]);
                left.used.push(access.clone());
            }
            "host left" => left.used.retain(|access| access["folder"] != record["folder"]),
            // Hosts that end with their run need no healing.
            "may be dirty" if record["plan"]["lasting"] == true => {
                left.dirty.retain(|other| other["case"] != record["case"]);
                left.dirty.push(record);
            }
            "reverted" => left.dirty.retain(|other| other["case"] != record["case"]),
            _ => {}
        }
    }
    runs.retain(|run, left| !left.is_empty() && !is_alive(run));
    runs
}

/// What older runs have left on hosts, and the right to heal it.
#[derive(Debug)]
pub struct Debts {
    journal: PathBuf,
    /// By the runs' names.
    pub runs: BTreeMap<String, Leftover>,
    /// Nobody else may heal while it is locked.
    _healing: Option<File>,
}

impl Debts {
    /// What is left, as the journal in this file says. If something is, waits until nobody else heals it: `waits` is called
    /// if that is so. With `only_look` it is not healed, and not waited for.
    ///
    /// Runs that are parts of the larger run `within`, and ended by themselves, are left to it.
    ///
    /// Fails, saying why, if the journal is there and cannot be read.
    pub fn open(
        journal: &Path,
        within: Option<&str>,
        only_look: bool,
        waits: impl FnOnce(),
    ) -> Result<Self, String> {
        let failed = |error: io::Error| {
            format!("cannot read the journal {}: {error}: `--output` names another folder", journal.display())
        };
        let look = || -> io::Result<BTreeMap<String, Leftover>> {
            let folder = alive_folder(journal);
            let mut runs = leftovers(&read(journal)?, &|run| is_alive(&folder.join(run)));
            runs.retain(|_, left| within.is_none() || left.within.as_deref() != within || !left.ended);
            Ok(runs)
        };
        let mut debts = Self { journal: journal.to_owned(), runs: look().map_err(failed)?, _healing: None };
        if only_look || debts.runs.is_empty() {
            return Ok(debts);
        }
        let healing = File::open(journal).map_err(failed)?;
        if healing.try_lock().is_err() {
            waits();
            healing.lock().map_err(failed)?;
        }
        // Whoever had it before has healed some.
        debts.runs = look().map_err(failed)?;
        debts._healing = Some(healing);
        Ok(debts)
    }

    /// Writes down that a case of an older run was reverted.
    pub fn reverted(&self, run: &str, case: &str) -> Result<(), String> {
        self.append(run, json!({ "event": "reverted", "case": case, "afterwards": true }))
    }

    /// Writes down that nothing of ours lies in this folder any more.
    pub fn host_left(&self, run: &str, folder: &str) -> Result<(), String> {
        self.append(run, json!({ "event": "host left", "folder": folder, "afterwards": true }))
    }

    fn append(&self, run: &str, record: Value) -> Result<(), String> {
        go_on(&self.journal)
            .and_then(|mut file| append(&mut file, run, record).and_then(|()| file.sync_data()))
            .map_err(|error| failed(&self.journal, &error))
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
