//! The run's journal: `journal.jsonl`, one record a line, each written at once and whole, and safe on the disk before a host
//! may be broken. Owns what an older run left behind: what it says of hosts that were not healed or not left clean.
//!
//! A run that comes after one that ended well begins the journal anew; after one that did not, it is gone on with, so that
//! what happened is not lost. A run that is alive holds a lock, so a run that is not can be told from it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::machine::{CaseId, CaseReport, DirtyHost, RunEvent};
use crate::remote::{is_alive as controller_is_alive, own_controller, random_hex};

use super::CaseInfo;
use super::files::{create_private, make_folder, make_private_folder};
use super::memory::{Memory, Remembered};

/// The journal's name in the folder for reports.
pub const JOURNAL: &str = "journal.jsonl";
/// Beside the journal, a file for each run that is alive, locked by it.
const ALIVE: &str = ".alive";
/// What is put behind a record that a crash has broken off: it was not yet acted on, and says nothing.
const BROKEN_OFF: &str = " (broken off)";
/// What its name ends with until it is locked.
const BEGINNING: &str = ".new";
/// The file in that folder that is locked by whoever begins or heals. Whoever can open a file can lock it, and everybody may read a journal.
const LOCK: &str = ".lock";

mod debts;
mod record;

pub use debts::Debts;
use debts::{damaged_lines, ended_well, leftovers};
pub use record::{Debt, Kept, Plan, UsedHost};
use record::{Line, Record, read_line};

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
    /// What is needed to revert each host of each case, without secrets.
    plans: HashMap<CaseId, Vec<Plan>>,
    /// The folders on hosts that were written down.
    used: HashSet<String>,
    /// Where debts are remembered beside the journal, if there is such a place.
    memory: Option<Memory>,
    /// The marks of the hosts that may be broken now, by case and place among its hosts.
    marks: BTreeMap<(CaseId, usize), String>,
    /// What went wrong and is no reason to stop.
    warnings: Vec<String>,
}

/// What a run that is over has left on hosts.
#[derive(Clone, Debug, Default)]
pub struct Leftover {
    /// The larger run that it was a part of.
    pub within: Option<String>,
    /// Whether it ended by itself.
    pub ended: bool,
    /// The Mesos (as it is named on the command line) and the framework on it whose executors may still be at work.
    pub framework: Option<(String, String)>,
    /// Cases whose hosts may still be broken, in the order in which they were.
    pub dirty: Vec<Debt>,
    /// Hosts on which something of ours may lie.
    pub used: Vec<UsedHost>,
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
            marks: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }

    /// Tells what is needed to revert each host of a case, before it begins. A host that will still be there when the run is over is
    /// written down.
    pub(super) fn will_begin(&mut self, case: CaseId, plans: Vec<Plan>) -> Result<(), String> {
        let lasting = plans.iter().filter(|plan| plan.lasting).map(Plan::used_host);
        let new: Vec<UsedHost> = lasting.filter(|host| !self.used.contains(host.folder())).collect();
        self.plans.insert(case, plans);
        let folders: Vec<String> = new.iter().map(|host| host.folder().to_owned()).collect();
        for host in new {
            self.write(Record::HostUsed { access: Box::new(host) })?;
        }
        if !folders.is_empty() {
            self.sync()?;
            self.used.extend(folders);
        }
        Ok(())
    }

    /// What went wrong, and is no reason to stop, since the last time.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Writes an event down. That a host may be dirty is safe in the journal or in the memory of this user, or this fails; that it
    /// is healed has to be in both.
    pub(super) fn hear(&mut self, event: &RunEvent, infos: &HashMap<CaseId, CaseInfo>) -> Result<(), String> {
        let name = |case: &CaseId| infos.get(case).map_or("?", |info| info.name.as_str()).to_owned();
        // A host is broken only after its record is safe, and a cluster forgets a result whose record is.
        match event {
            RunEvent::MayBeDirty { case, hosts } => {
                let debts = hosts.iter().enumerate().map(|(place, DirtyHost { heal, mark })| Debt {
                    case: name(case),
                    heal: heal.clone(),
                    mark: Some(mark.clone()),
                    plan: self.plans.get(case).and_then(|plans| plans.get(place)).cloned(),
                    at: None,
                    controller: None,
                    journal: None,
                });
                let debts: Vec<Debt> = debts.collect();
                // Who asks anew has reverted what he had broken before, and was not heard.
                let is_other = |((other, place), mark): &(&(CaseId, usize), &String)| {
                    other == case && hosts.get(*place).is_some_and(|host| host.mark.mark != **mark)
                };
                let former: Vec<String> =
                    self.marks.iter().filter(is_other).map(|(_, mark)| mark.clone()).collect();
                let mut written = former.into_iter().try_for_each(|mark| self.write_off(name(case), mark));
                for debt in &debts {
                    written = written.and_then(|()| self.write(Record::MayBeDirty(Box::new(debt.clone()))));
                }
                let written = written.and_then(|()| self.sync());
                let marks = hosts.iter().map(|host| host.mark.mark.clone()).enumerate();
                self.marks.extend(marks.map(|(place, mark)| ((*case, place), mark)));
                debts.into_iter().try_for_each(|debt| self.remember(debt, written.clone()))
            }
            RunEvent::Reverted { case, host } => {
                let is_meant = |(other, place): &(CaseId, usize)| {
                    other == case && host.is_none_or(|host| host == *place)
                };
                let marks: Vec<String> =
                    self.marks.extract_if(.., |key, _| is_meant(key)).map(|(_, mark)| mark).collect();
                let mut told = Ok(());
                for mark in marks {
                    told = told.and(self.write_off(name(case), mark));
                }
                told
            }
            RunEvent::Settled { case, outcome } => {
                let seen = outcome.report.as_ref().map(CaseReport::seen_at_worst).unwrap_or_default();
                self.write(Record::Settled {
                    case: name(case),
                    verdict: outcome.verdict.to_string(),
                    findings: outcome.findings.iter().map(|finding| finding.message.clone()).collect(),
                    workload: outcome.report.as_ref().and_then(|report| report.workload.clone()),
                    watched: seen.watched.as_ref().map(|watched| {
                        let mut summary = watched.summary();
                        for (name, seen) in &seen.checks_watched {
                            summary["check_figures"][name] = seen.summary();
                        }
                        summary
                    }),
                })?;
                self.sync()
            }
            RunEvent::Began { case } => self.write(Record::CaseBegan { case: name(case) }),
            RunEvent::Framework { id, master } => {
                self.write(Record::Framework { id: id.clone(), master: master.clone() })
            }
            RunEvent::HostLeft { folder } => {
                self.write(Record::HostLeft { folder: folder.clone(), afterwards: false })
            }
            RunEvent::WentAround(record) => self.write(Record::WentAround {
                book: record.book.clone(),
                step: record.around.to_string(),
                took_seconds: record.took.as_secs_f64(),
                end: record.end.to_string(),
            }),
            RunEvent::StepEnded { case, record } => self.write(Record::StepEnded {
                case: name(case),
                step: record.step.to_string(),
                host: record.host.clone(),
                check: record.check.clone(),
                attempt: record.attempt,
                took_seconds: record.took.as_secs_f64(),
                end: record.end.to_string(),
            }),
            RunEvent::Interrupted { by } => self.write(Record::Interrupted { by: by.clone() }),
            RunEvent::Warning { message } | RunEvent::NotLeft { message } => {
                self.write(Record::Warning { message: message.clone() })
            }
            RunEvent::Waiting { .. }
            | RunEvent::StepBegan { .. }
            | RunEvent::Printed { .. }
            | RunEvent::BookClosed
            | RunEvent::Logged { .. } => Ok(()),
        }
    }

    /// The host of this mark is healed.
    fn write_off(&mut self, case: String, mark: String) -> Result<(), String> {
        let forgotten = match &self.memory {
            Some(memory) if !mark.is_empty() => memory.forget(&mark),
            _ => Ok(()),
        };
        self.write(Record::Reverted { case, mark: Some(mark), afterwards: false }).and(forgotten)
    }

    /// Remembers a debt beside the journal. One of both will do: the other's failure is a warning.
    fn remember(&mut self, debt: Debt, written: Result<(), String>) -> Result<(), String> {
        let lasts = debt.plan.as_ref().is_some_and(|plan| plan.lasting);
        let Some(memory) = self.memory.as_ref().filter(|_| lasts && debt.mark().is_some()) else {
            return written;
        };
        let remembered = Remembered {
            run: self.run.clone(),
            within: self.within.clone(),
            at: Some(seconds_since_1970()),
            controller: Some(own_controller()),
            journal: Some(std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone())),
            debt,
        };
        match (written, memory.remember(&remembered, false)) {
            (Ok(()), Ok(())) => Ok(()),
            (Ok(()), Err(why)) => {
                self.warnings.push(why);
                Ok(())
            }
            // The journal has not got it, so this has to be safe by itself.
            (Err(why), Ok(())) => match memory.remember(&remembered, true) {
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
        let written = self.write(Record::RunEnded);
        if self.alive.take().is_some() {
            // If it stays there, it is not locked any more, and the next run removes it.
            let _ = fs::remove_file(alive_folder(&self.path).join(&self.run));
        }
        written
    }

    fn write(&mut self, record: Record) -> Result<(), String> {
        if self.file.is_none() {
            self.open().map_err(|error| failed(&self.path, &error))?;
            let version = env!("CARGO_PKG_VERSION").to_owned();
            self.write(Record::RunBegan { version, within: self.within.clone() })?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        append(file, &self.run, record).map_err(|error| {
            self.file = None;
            failed(&self.path, &error)
        })
    }

    fn open(&mut self) -> io::Result<()> {
        let folder = alive_folder(&self.path);
        make_private_folder(&folder)?;
        // From before the journal is touched, this run can be seen to be alive. Under its name it is locked from the first.
        if self.alive.is_none() {
            let beginning = folder.join(format!("{}{BEGINNING}", self.run));
            let alive = create_private(&beginning)?;
            alive.lock()?;
            fs::rename(&beginning, folder.join(&self.run))?;
            self.alive = Some(alive);
        }
        let mut file = go_on(&self.path)?;
        // Who else begins or heals now, waits.
        let lock = lock_of(&self.path)?;
        lock.lock()?;
        let is_other = |entry: &fs::DirEntry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name != self.run && name != LOCK && !name.ends_with(BEGINNING)
        };
        let others = fs::read_dir(&folder)?.flatten().filter(is_other);
        let mut alone = true;
        for other in others {
            match is_alive(&other.path()) {
                Ok(false) => drop(fs::remove_file(other.path())),
                // One of which that cannot be known may be alive.
                Ok(true) | Err(_) => alone = false,
            }
        }
        let text = read(&self.path)?;
        // What cannot be read may name a host that is broken: it stays.
        let is_settled = ended_well(&text) && leftovers(&text).is_empty();
        let anew = self.within.is_none() && alone && is_settled && damaged_lines(&text).is_empty();
        if anew {
            file.set_len(0)?;
        } else {
            end_line(&mut file)?;
        }
        lock.unlock()?;
        self.file = Some(file);
        Ok(())
    }
}

fn append(file: &mut File, run: &str, record: Record) -> io::Result<()> {
    let line = Line { at: seconds_since_1970(), run: run.to_owned(), process: std::process::id(), record };
    file.write_all(format!("{}\n", serde_json::to_string(&line)?).as_bytes())
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

/// The file by which those who begin and those who heal wait for each other.
fn lock_of(journal: &Path) -> io::Result<File> {
    let folder = alive_folder(journal);
    make_private_folder(&folder)?;
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(folder.join(LOCK))
}

/// Whether a run of this mark holds it. Fails if that cannot be known: locks may not work where it lies.
fn is_alive(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        // It was removed by a run that ended.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The same, for people: a run that nobody knows to be alive is neither healed nor passed over.
fn told_alive(path: &Path) -> Result<bool, String> {
    is_alive(path).map_err(|error| {
        format!("nobody knows whether that run is alive, for {} cannot be locked: {error}", path.display())
    })
}

#[cfg(test)]
mod tests;
