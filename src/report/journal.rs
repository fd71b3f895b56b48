//! The run's journal: `journal.jsonl`, one record a line, each written at once and whole, and safe on the disk before a host
//! may be broken. Owns what an older run left behind: what it says of hosts that were not healed or not left clean.
//!
//! A run that comes after one that ended well begins the journal anew; after one that did not, it is gone on with, so that
//! what happened is not lost. A run that is alive holds a lock, so a run that is not can be told from it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::machine::{CaseId, RunEvent};
use crate::remote::{is_alive as controller_is_alive, own_controller, random_hex};

use super::CaseInfo;
use super::files::{create, make_folder};
use super::memory::Memory;

/// The journal's name in the folder for reports.
pub const JOURNAL: &str = "journal.jsonl";
/// The last record of a run that ended by itself.
const ENDED: &str = "run ended";
/// Beside the journal, a file for each run that is alive, locked by it.
const ALIVE: &str = ".alive";
/// What is put behind a record that a crash has broken off: it was not yet acted on, and says nothing.
const BROKEN_OFF: &str = " (broken off)";
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
    /// Where debts are remembered beside the journal, if there is such a place.
    memory: Option<Memory>,
    /// The marks of the cases whose hosts may be broken now.
    marks: HashMap<CaseId, String>,
    /// What went wrong and is no reason to stop.
    warnings: Vec<String>,
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
        Self {
            path,
            within,
            run,
            file: None,
            alive: None,
            plans: HashMap::new(),
            used: HashSet::new(),
            memory: Memory::of_user(),
            marks: HashMap::new(),
            warnings: Vec::new(),
        }
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

    /// What went wrong, and is no reason to stop, since the last time.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Writes an event down. That a host may be dirty is safe in the journal or in the memory of this user, or this fails; that it
    /// is healed has to be in both.
    pub(super) fn hear(&mut self, event: &RunEvent, infos: &HashMap<CaseId, CaseInfo>) -> Result<(), String> {
        let name = |case: &CaseId| infos.get(case).map_or("?", |info| info.name.as_str());
        let record = match event {
            RunEvent::Began { case } => json!({ "event": "case began", "case": name(case) }),
            RunEvent::MayBeDirty { case, heal, mark } => json!({
                "event": "may be dirty",
                "case": name(case),
                "heal": heal,
                "mark": mark,
                "plan": self.plans.get(case).cloned().unwrap_or_default(),
            }),
            RunEvent::Reverted { case } => {
                json!({ "event": "reverted", "case": name(case), "mark": self.marks.get(case) })
            }
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
        // A host is broken only after this is safe, and a cluster forgets a result that is.
        match event {
            RunEvent::MayBeDirty { case, mark, .. } => {
                self.marks.insert(*case, mark.mark.clone());
                let written = self.write(record.clone()).and_then(|()| self.sync());
                self.remember(&mark.mark, record, written)
            }
            RunEvent::Reverted { case } => {
                let forgotten = match (&self.memory, self.marks.remove(case)) {
                    (Some(memory), Some(mark)) if !mark.is_empty() => memory.forget(&mark),
                    _ => Ok(()),
                };
                self.write(record).and(forgotten)
            }
            RunEvent::Settled { .. } => self.write(record).and_then(|()| self.sync()),
            _ => self.write(record),
        }
    }

    /// Remembers a debt beside the journal. One of both will do: the other's failure is a warning.
    fn remember(&mut self, mark: &str, mut record: Value, written: Result<(), String>) -> Result<(), String> {
        let Some(memory) =
            self.memory.as_ref().filter(|_| record["plan"]["lasting"] == true && !mark.is_empty())
        else {
            return written;
        };
        record["run"] = json!(self.run);
        record["within"] = json!(self.within);
        record["at"] = json!(seconds_since_1970());
        record["controller"] = json!(own_controller());
        record["journal"] = json!(std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone()));
        match (written, memory.remember(mark, &record, false)) {
            (Ok(()), Ok(())) => Ok(()),
            (Ok(()), Err(why)) => {
                self.warnings.push(why);
                Ok(())
            }
            // The journal has not got it, so this has to be safe by itself.
            (Err(why), Ok(())) => match memory.remember(mark, &record, true) {
                Ok(()) => {
                    self.warnings.push(why);
                    Ok(())
                }
                Err(other) => Err(format!("{why}; {other}")),
            },
            (Err(why), Err(other)) => Err(format!("{why}; {other}")),
        }
    }

    fn sync(&mut self) -> Result<(), String> {
        let Some(file) = &self.file else { return Ok(()) };
        file.sync_data().map_err(|error| failed(&self.path, &error))?;
        // What was written to a file that has no name any more is lost with this process.
        if file.metadata().is_ok_and(|metadata| metadata.nlink() == 0) {
            self.file = None;
            return Err(format!(
                "the journal {} was removed under this run: `--output` names a folder that stays",
                self.path.display()
            ));
        }
        Ok(())
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
        make_folder(&folder)?;
        // From before the journal is touched, this run can be seen to be alive. Under its name it is locked from the first.
        if self.alive.is_none() {
            let beginning = folder.join(format!("{}{BEGINNING}", self.run));
            let alive = create(&beginning)?;
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
        // What cannot be read may name a host that is broken: it stays.
        let is_settled = ended_well(&text) && leftovers(&text, &|_| false).is_empty();
        let anew = self.within.is_none() && alone && is_settled && damaged_lines(&text).is_empty();
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
    let mut whole = Map::new();
    whole.insert("at".to_owned(), json!(seconds_since_1970()));
    whole.insert("run".to_owned(), json!(run));
    whole.insert("process".to_owned(), json!(std::process::id()));
    if let Value::Object(record) = record {
        whole.extend(record);
    }
    file.write_all(format!("{}\n", Value::Object(whole)).as_bytes())
}

fn seconds_since_1970() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Opens a journal to be gone on with. A record that was broken off by a crash stays a line of its own.
fn go_on(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o644).open(path)?;
    end_line(&mut file)?;
    Ok(file)
}

fn end_line(file: &mut File) -> io::Result<()> {
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(-1)).is_ok() {
        file.read_exact(&mut last)?;
    }
    if last != [b'\n'] {
        file.write_all(format!("{BROKEN_OFF}\n").as_bytes())?;
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
                left.dirty.retain(|other| !is_same_debt(other, &record));
                left.dirty.push(record);
            }
            "reverted" => left.dirty.retain(|other| !is_same_debt(other, &record)),
            _ => {}
        }
    }
    runs.retain(|run, left| !left.is_empty() && !is_alive(run));
    runs
}

/// Whether two records are of one attempt at one case. Journals of old know no marks, and name the case alone.
fn is_same_debt(one: &Value, other: &Value) -> bool {
    match (mark_of(one), mark_of(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one["case"] == other["case"],
    }
}

/// The mark that a record names.
fn mark_of(record: &Value) -> Option<&str> {
    record["mark"].as_str().or(record["mark"]["mark"].as_str()).filter(|mark| !mark.is_empty())
}

/// The numbers of the lines that are no records. What was broken off at the very end was not yet to be acted on.
fn damaged_lines(text: &str) -> Vec<usize> {
    let is_damaged =
        |line: &str| !serde_json::from_str::<Value>(line).is_ok_and(|record| record["run"].is_string());
    let lines = text.split_inclusive('\n').enumerate();
    let is_told = |line: &str| line.ends_with('\n') && !line.trim_end().ends_with(BROKEN_OFF);
    lines.filter(|(_, line)| is_told(line) && is_damaged(line)).map(|(number, _)| number + 1).collect()
}

/// Adds what this user's memory knows of runs that are over, and the journal does not. Answers with what cannot be read.
fn add_remembered(
    runs: &mut BTreeMap<String, Leftover>,
    memory: &Memory,
    journal: &str,
    within: Option<&str>,
) -> Result<Vec<String>, String> {
    let (remembered, damaged) = memory.all()?;
    let settled: HashSet<String> = journal
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|record| record["event"] == "reverted")
        .filter_map(|record| mark_of(&record).map(str::to_owned))
        .collect();
    for debt in remembered {
        let record = debt.record;
        let Some(mark) = mark_of(&record).map(str::to_owned) else { continue };
        let is_of_part = within.is_some() && record["within"].as_str() == within;
        let alive = record["controller"].as_str().and_then(controller_is_alive);
        // A run of another machine with the same home folder, or in another container, may hold its lock here.
        let lock = record["journal"].as_str().zip(record["run"].as_str());
        let holds_lock = lock.is_some_and(|(path, run)| is_alive(&alive_folder(Path::new(path)).join(run)));
        let is_known = runs.values().flat_map(|left| &left.dirty).any(|other| mark_of(other) == Some(&mark));
        if is_known || is_of_part || alive == Some(true) || holds_lock || settled.contains(&mark) {
            continue;
        }
        let run = record["run"].as_str().unwrap_or("?").to_owned();
        let left = runs.entry(run).or_default();
        left.ended = true;
        left.dirty.push(record);
    }
    Ok(damaged)
}

/// What older runs have left on hosts, and the right to heal it.
#[derive(Debug)]
pub struct Debts {
    journal: PathBuf,
    /// By the runs' names.
    pub runs: BTreeMap<String, Leftover>,
    /// What cannot be read, in words: what it may have said is not known.
    pub damaged: Vec<String>,
    memory: Option<Memory>,
    /// The marks of what is in that memory.
    remembered: HashSet<String>,
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
        let mut damaged = Vec::new();
        let memory = Memory::of_user();
        let mut look = || -> Result<BTreeMap<String, Leftover>, String> {
            let folder = alive_folder(journal);
            let text = read(journal).map_err(failed)?;
            let is_run_alive = |run: &str| is_alive(&folder.join(run));
            let mut runs = leftovers(&text, &is_run_alive);
            runs.retain(|_, left| within.is_none() || left.within.as_deref() != within || !left.ended);
            damaged = damaged_lines(&text)
                .into_iter()
                .map(|line| {
                    format!(
                        "line {line} of the journal {} cannot be read: a host that it named may still be broken. When all hosts are known to be well, remove that line",
                        journal.display()
                    )
                })
                .collect();
            if let Some(memory) = &memory {
                damaged.extend(add_remembered(&mut runs, memory, &text, within)?);
            }
            Ok(runs)
        };
        let mut debts = Self {
            journal: journal.to_owned(),
            runs: look()?,
            damaged: Vec::new(),
            remembered: HashSet::new(),
            memory: memory.clone(),
            _healing: None,
        };
        if only_look || debts.runs.is_empty() {
            debts.damaged = damaged;
            return Ok(debts);
        }
        // What is remembered elsewhere may be all that is left of a workspace.
        if let Some(folder) = journal.parent() {
            make_folder(folder).map_err(failed)?;
        }
        let healing = go_on(journal).or_else(|_| File::open(journal)).map_err(failed)?;
        if healing.try_lock().is_err() {
            waits();
            healing.lock().map_err(failed)?;
        }
        // Whoever had it before has healed some.
        debts.runs = look()?;
        debts.damaged = damaged;
        if let Some(memory) = &memory {
            let (all, _) = memory.all()?;
            debts.remembered =
                all.iter().filter_map(|debt| mark_of(&debt.record)).map(str::to_owned).collect();
        }
        debts._healing = Some(healing);
        Ok(debts)
    }

    /// Leaves out what is not on these hosts (`host NAME port PORT`), and answers with how many dirty cases that are.
    pub fn only_on(&mut self, hosts: &[String]) -> usize {
        let mut others = 0;
        for left in self.runs.values_mut() {
            left.dirty.retain(|record| {
                let locks = record["plan"]["locks"].as_array().map(Vec::as_slice).unwrap_or_default();
                let is_here = locks.iter().any(|lock| hosts.iter().any(|host| lock == host));
                others += usize::from(!is_here);
                is_here
            });
            left.used.retain(|access| {
                let name = access["target"]["host"].as_str().unwrap_or_default().to_lowercase();
                let host = format!("host {name} port {}", access["target"]["port"]);
                hosts.contains(&host)
            });
        }
        self.runs.retain(|_, left| !left.is_empty() || left.framework.is_some());
        others
    }

    /// Whether nobody has settled the debt of this record meanwhile: somebody else may have been at it.
    pub fn is_open(&self, record: &Value) -> bool {
        match (&self.memory, mark_of(record)) {
            (Some(memory), Some(mark)) if self.remembered.contains(mark) => memory.knows(mark),
            _ => true,
        }
    }

    /// Writes down that the case of this record, of an older run, was reverted: wherever it is remembered.
    pub fn reverted(&self, run: &str, record: &Value) -> Result<(), String> {
        let mark = mark_of(record);
        let settled =
            json!({ "event": "reverted", "case": record["case"], "mark": mark, "afterwards": true });
        let elsewhere = record["journal"].as_str().map(Path::new).filter(|path| **path != self.journal);
        let noted = match elsewhere {
            // Its own journal may be gone with its workspace.
            Some(path) if path.exists() => go_on(path)
                .and_then(|mut file| append(&mut file, run, settled).and_then(|()| file.sync_data()))
                .map_err(|error| failed(path, &error)),
            Some(_) => Ok(()),
            None => self.append(run, settled),
        };
        let forgotten = match (&self.memory, mark) {
            (Some(memory), Some(mark)) => memory.forget(mark),
            _ => Ok(()),
        };
        noted.and(forgotten)
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
