//! From events to what people, their tools and later runs read: the terminal, JUnit, logs, the journal, and the memory of hosts that
//! may be broken. Touches standard error, the run's output folder, the JUnit file, and the user's state folder. Every reporter hears
//! every event, and none of them decides anything.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::machine::{CaseId, DirtyHosts, RunEvent, Verdict};

mod files;
mod journal;
mod junit;
mod logs;
mod memory;
mod tell;
mod terminal;

pub use journal::{Debt, Debts, JOURNAL, Journal, Kept, Leftover, Plan, UsedHost};
pub use junit::JunitReport;
pub use logs::Logs;
pub use tell::{Repeat, clean_line, clean_text, failure_text, headline, success_text};
pub use terminal::{Look, Terminal};

/// What the reporters know of a case from the start.
#[derive(Clone, Debug)]
pub struct CaseInfo {
    /// Its number in the run.
    pub id: CaseId,
    /// Its full name.
    pub name: String,
    /// The same without the number of its repetition.
    pub plain_name: String,
    /// Its book's name.
    pub book: String,
    /// Its name without the book's.
    pub short_name: String,
    /// Its host, or all of them, `a+b`; empty if that is not known.
    pub host: String,
    /// Each of its hosts.
    pub hosts: Vec<String>,
    /// The variables of the environment that its book uses, with the value of those that name hosts.
    pub variables: Vec<(String, Option<String>)>,
    /// Its book's file.
    pub file: PathBuf,
    /// The line at which the failure begins in it.
    pub line: usize,
    /// The time limit of each of its steps.
    pub limit: Duration,
}

impl CaseInfo {
    /// What is shouted of the host at this place among the case's, or of all of them.
    pub fn shout(&self, place: Option<usize>, heal: String) -> Shout {
        let host = place.and_then(|place| self.hosts.get(place)).unwrap_or(&self.host).clone();
        Shout { case: self.name.clone(), host, heal }
    }
}

/// A host that may still be broken when the run ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shout {
    /// The case that broke it.
    pub case: String,
    /// The host.
    pub host: String,
    /// The command that heals it; empty if the host was never reached.
    pub heal: String,
}

/// All reporters of a run.
#[derive(Debug)]
pub struct Reporters {
    infos: HashMap<CaseId, CaseInfo>,
    terminal: Arc<Mutex<Terminal>>,
    junit: Option<JunitReport>,
    logs: Option<Logs>,
    journal: Option<Journal>,
    /// Hosts that may be broken now.
    dirty: DirtyHosts,
    shouts: Vec<Shout>,
}

impl Reporters {
    /// Reporters of these cases.
    pub fn new(
        infos: Vec<CaseInfo>,
        terminal: Arc<Mutex<Terminal>>,
        junit: Option<JunitReport>,
        logs: Option<Logs>,
        journal: Option<Journal>,
    ) -> Self {
        Self {
            infos: infos.into_iter().map(|info| (info.id, info)).collect(),
            terminal,
            junit,
            logs,
            journal,
            dirty: DirtyHosts::default(),
            shouts: Vec::new(),
        }
    }

    /// Whether a reporter wants to be woken now and then.
    pub fn wants_ticks(&self) -> bool {
        self.terminal().is_live() || self.junit.as_ref().is_some_and(JunitReport::is_late)
    }

    /// Lets the reporters do what is due: time goes by on a terminal.
    pub fn tick(&mut self) {
        self.terminal().tick();
        self.write_up();
    }

    /// Writes the reports that something has happened to.
    pub fn write_up(&mut self) {
        if let Some(Err(trouble)) = self.junit.as_mut().map(JunitReport::tick) {
            self.terminal().warn(&trouble);
        }
    }

    /// Tells what is needed to revert a case, before it begins; see [`Journal`]. Fails, saying why, if it could not be written
    /// down; people are told of that here.
    pub fn will_begin(&mut self, case: CaseId, plans: Vec<Plan>) -> Result<(), String> {
        let noted = self.journal.as_mut().map_or(Ok(()), |journal| journal.will_begin(case, plans));
        if let Err(trouble) = &noted {
            self.terminal().warn(trouble);
        }
        noted
    }

    /// Tells all reporters. Fails, saying why, if the event could not be written to the journal; people are told of that here.
    pub fn hear(&mut self, event: &RunEvent) -> Result<(), String> {
        if let RunEvent::Settled { case, outcome } = event
            && outcome.verdict != Verdict::Unreverted
            && self.dirty.cases().any(|dirty| dirty == *case)
        {
            // That it was reverted is told by its end at the latest.
            let _ = self.hear(&RunEvent::Reverted { case: *case, host: None });
        }
        self.dirty.hear(event);
        if let RunEvent::Settled { case, outcome } = event
            && outcome.verdict == Verdict::Unreverted
            && let Some(info) = self.infos.get(case)
        {
            let known = self.dirty.take(*case);
            let told = outcome.report.iter().flat_map(|report| &report.heal);
            if known.is_empty() {
                let shout = |(host, heal): &(String, String)| Shout {
                    case: info.name.clone(),
                    host: host.clone(),
                    heal: heal.clone(),
                };
                self.shouts.extend(told.map(shout));
                if !self.shouts.iter().any(|shout| shout.case == info.name) {
                    // Nothing is known but that.
                    self.shouts.push(info.shout(None, String::new()));
                }
            }
            self.shouts.extend(known.into_iter().map(|(place, heal)| info.shout(Some(place), heal)));
        }
        self.terminal().hear(event, &self.infos);
        let mut troubles = Vec::new();
        let noted = self.journal.as_mut().map_or(Ok(()), |journal| journal.hear(event, &self.infos));
        troubles.extend(noted.clone().err());
        troubles.extend(self.journal.as_mut().map(Journal::take_warnings).unwrap_or_default());
        if let Some(junit) = &mut self.junit {
            junit.hear(event, &self.infos);
        }
        if let Some(logs) = &mut self.logs {
            troubles.extend(logs.hear(event, &self.infos).err());
        }
        for trouble in troubles {
            self.terminal().warn(&trouble);
        }
        noted
    }

    /// The run is over: writes what is still to be written, and answers with the hosts that may still be broken, and with
    /// whether the report is lost.
    pub fn finish(&mut self) -> (Vec<Shout>, bool) {
        let written = self.junit.as_mut().map_or(Ok(()), JunitReport::write);
        let ended = self.journal.as_mut().map_or(Ok(()), Journal::end);
        let lost = written.is_err();
        for trouble in [written.err(), ended.err()].into_iter().flatten() {
            self.terminal().warn(&trouble);
        }
        (std::mem::take(&mut self.shouts), lost)
    }

    /// The run is left at once: says which hosts are dirty, and answers with whether there are any.
    pub fn leave_now(&mut self, by: &str) -> bool {
        let mut shouts = std::mem::take(&mut self.shouts);
        for (case, place, heal) in self.dirty.take_all() {
            if let Some(info) = self.infos.get(&case) {
                shouts.push(info.shout(Some(place), heal));
            }
        }
        self.terminal().warn(&format!("{by} again: leaving at once"));
        self.terminal().shout(&shouts);
        let _ = self.junit.as_mut().map(JunitReport::write);
        !shouts.is_empty()
    }

    fn terminal(&self) -> std::sync::MutexGuard<'_, Terminal> {
        self.terminal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
