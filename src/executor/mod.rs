//! Where a case is carried out: its steps performed one after the other, as its machine wants them. Touches hosts and
//! processes through `remote`, and the files of its working folder.
//!
//! One [`BookExecutor`] carries out the cases of one book, so a connection and the scripts on a host serve all of them.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fatebook::{ExpectedOutput, LogLevel, Redactor};
use crate::machine::{
    CaseEvent, CaseId, CaseMachine, CaseNext, CaseOutcome, CaseReport, CaseTurn, DirtyHost, Exit, Finding,
    HostEnds, HostMark, NOT_FOR_THIS_HOST, RunEvent, SEEN_WITHIN, Step, StepEnd, StepRecord, Stream, Trouble,
    TroubleKind, Verdict, WorkloadSeen,
};
use crate::remote::ssh::SshHost;
use crate::remote::{HostScript, Interrupt, Job, Left, Limit, Ran, Remote, child, is_alive, time_since_boot};

mod agent;
mod archive;
mod around;
mod asking;
mod assignment;
mod log;
mod on_hosts;
mod performer;
mod printer;
mod probe;
mod workload;
mod workplace;

use asking::{Asked, Asker};
use on_hosts::Member;
use performer::Performer;
use printer::LinePrinter;
use workload::Workload;

pub use agent::{EXECUTOR_VARIABLE, TaskData, is_executor, serve};
pub use archive::{Given, pack, sha256_of};
pub use around::run_around;
pub use assignment::{Access, Assignment, HostWork, LocalCommand, shown_words};
pub use probe::{Probe, probe};
pub use workplace::{OwnedFolder, Shipped, Workplace, shipped};

/// Where an executor's news go.
pub type Observer = Arc<dyn Fn(RunEvent) + Send + Sync>;

/// Writes down that the hosts of a case may be dirty from now on.
pub trait Notary: Send + Sync {
    /// Whether all that was said of reverted hosts is safely written down by now: till then their tombstones stay.
    fn is_recorded(&self) -> bool;

    /// Answers once that is safe, or with why it is not; an interrupt may end the waiting.
    fn note(&self, case: CaseId, hosts: Vec<DirtyHost>, interrupt: &Interrupt) -> Result<(), String>;
}

/// How long the cleaning up of a host may take.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(20);
/// A service whose answers change all the time fills no more records than this.
const RECORDS_MAX: usize = 1000;
/// The target of log lines of the level `critical`, which `tracing` does not have.
pub(crate) const CRITICAL: &str = "pisaura::critical";

/// Carries out the cases of one book, one after the other.
pub struct BookExecutor {
    redactor: Redactor,
    loglevel: LogLevel,
    observer: Observer,
    notary: Arc<dyn Notary>,
    /// Whether scripts' output is passed on while they run.
    live_output: bool,
    hosts: HashMap<String, SshHost>,
    /// Hosts that may still be broken: what heals them by hand stays there.
    kept: Vec<String>,
    /// What was proven to be able to begin here.
    checked: HashSet<String>,
    /// Whether this machine must not be broken.
    on_agent: bool,
}

impl BookExecutor {
    /// An executor that has done nothing yet.
    pub fn new(
        redactor: Redactor,
        loglevel: LogLevel,
        live_output: bool,
        observer: Observer,
        notary: Arc<dyn Notary>,
    ) -> Self {
        Self {
            redactor,
            loglevel,
            observer,
            notary,
            live_output,
            hosts: HashMap::new(),
            kept: Vec::new(),
            checked: HashSet::new(),
            on_agent: false,
        }
    }

    /// The same on an agent of a cluster: a case that would break the agent itself fails before anything is broken, so that it can be
    /// carried out elsewhere.
    #[must_use]
    pub fn on_agent(self) -> Self {
        Self { on_agent: true, ..self }
    }

    /// Carries out a case from its beginning to its end in this working folder, and tells the observer of it. An interrupt
    /// ends it early, but never before the host is reverted.
    pub fn carry_out(&mut self, assignment: &Assignment, workplace: &Path, interrupt: &Interrupt) {
        let log = self.logger(assignment);
        (self.observer)(RunEvent::Began { case: assignment.id });
        let outcome =
            tracing::dispatcher::with_default(&log, || self.settle(assignment, workplace, interrupt));
        (self.observer)(RunEvent::Settled { case: assignment.id, outcome });
    }

    /// Prepares the first host of a case as if it were to be broken, and breaks nothing: whether its scripts can be brought there and begin.
    /// Answers with what a dead man's switch could be ended by there, in the host's word. Fails with why the case could not be tried.
    pub fn try_out(
        &mut self,
        assignment: &Assignment,
        workplace: &Path,
        interrupt: &Interrupt,
    ) -> Result<String, String> {
        let limit = Limit::within(assignment.plan.timeout, Some(interrupt));
        let work = assignment.hosts.first();
        let parcels = work.parcels_in(workplace);
        let host = self.host(&work.access);
        host.begin_case(None)?;
        let result = host.prepare(&Job { parcels: &parcels, scripts: work.scripts() }, limit);
        let (reach, notes) = (host.reach().to_owned(), host.take_notes());
        for message in notes {
            (self.observer)(RunEvent::Warning { message: self.redactor.clean(&message) });
        }
        match result {
            Ok(()) => Ok(reach),
            Err(_) if limit.is_interrupted() => Err("interrupted".to_owned()),
            Err(end) => Err(self.redactor.clean(&end.to_string())),
        }
    }

    /// Whether the run behind a debt, of which nobody knows whether it is alive, may still be at the host: for how long at most, and
    /// what to tell. Where the host does not say, it is not.
    pub fn in_use_for(&mut self, access: &Access, mark: &HostMark) -> Option<(Duration, String)> {
        let told = self.host(access).armed_for(mark, Limit::within(CLEAN_UP_LIMIT, None));
        let (left, message) = told.ok().flatten()?;
        Some((left, self.redactor.clean(&message)))
    }

    /// Takes over a host on which something of ours lies from an earlier run: it is taken away at the end.
    /// Answers with what a person should know, and with whose case may have left the host broken. Fails if the host cannot be reached.
    pub fn take_over(&mut self, access: &Access) -> Result<(Vec<String>, Option<String>), String> {
        let host = self.host(access);
        let taken = host.take_over(Limit::within(CLEAN_UP_LIMIT / 2, None)).or_else(|_| {
            // A connection that was lost, or that says nothing, says nothing of the host.
            host.disconnect();
            host.take_over(Limit::within(CLEAN_UP_LIMIT, None))
        });
        let clean = |text: &str| self.redactor.clean(text);
        match taken {
            Ok((notes, broken)) => {
                Ok((notes.iter().map(|note| clean(note)).collect(), broken.as_deref().map(clean)))
            }
            Err(trouble) => Err(clean(&trouble.message)),
        }
    }

    /// Takes everything of ours from the hosts of the book. Answers with those on which something still heals a case, or will.
    pub fn close(mut self) -> Vec<String> {
        let log = log::silent();
        let mut dirty = Vec::new();
        tracing::dispatcher::with_default(&log, || {
            for (shown, mut host) in std::mem::take(&mut self.hosts) {
                // Who may still be broken keeps what heals it; who was healed, the word of that, until it is known elsewhere.
                if self.kept.contains(&shown) || host.has_armed() && !self.notary.is_recorded() {
                    continue;
                }
                let left = host.clean_up(Limit::within(CLEAN_UP_LIMIT / 2, None)).or_else(|_| {
                    // A connection that was lost, or that says nothing, says nothing of the host.
                    host.disconnect();
                    host.clean_up(Limit::within(CLEAN_UP_LIMIT, None))
                });
                match left {
                    Ok(Left::Shared) => {}
                    Ok(Left::Clean) => {
                        (self.observer)(RunEvent::HostLeft { folder: host.folder_name().to_owned() });
                    }
                    Ok(Left::Dirty) => {
                        let mut told = host.take_notes();
                        if told.is_empty() {
                            told.push(format!(
                                "{shown}: what heals a case is left there, so it may still be broken: `sh ~/.pisaura/{}/.case-*/heal` there heals it",
                                host.folder_name()
                            ));
                        }
                        for message in told {
                            (self.observer)(RunEvent::NotLeft { message: self.redactor.clean(&message) });
                        }
                        dirty.push(shown);
                    }
                    Err(trouble) => (self.observer)(RunEvent::Warning {
                        message: self
                            .redactor
                            .clean(&format!("something of ours is left there: {}", trouble.message)),
                    }),
                }
            }
        });
        dirty
    }

    fn host(&mut self, access: &Access) -> &mut SshHost {
        let redactor = &self.redactor;
        self.hosts.entry(access.target.shown.clone()).or_insert_with(|| {
            let mut host = SshHost::new(
                access.target.clone(),
                access.login.clone(),
                access.folder.clone(),
                redactor.clone(),
                is_alive,
                access.may_heal,
            );
            if self.on_agent {
                host.spare_own_machine();
            }
            host
        })
    }

    fn logger(&self, assignment: &Assignment) -> tracing::Dispatch {
        let (observer, redactor, case) = (Arc::clone(&self.observer), self.redactor.clone(), assignment.id);
        log::logger(
            self.loglevel,
            Arc::new(move |level, line: &str| {
                observer(RunEvent::Logged { case, level, line: redactor.clean(line) });
            }),
        )
    }

    fn settle(&mut self, assignment: &Assignment, workplace: &Path, interrupt: &Interrupt) -> CaseOutcome {
        let shown: Vec<String> =
            assignment.hosts.iter().map(|work| work.access.target.shown.clone()).collect();
        for work in assignment.hosts.iter() {
            self.host(&work.access);
        }
        let hosts: Vec<SshHost> = shown.iter().filter_map(|shown| self.hosts.remove(shown)).collect();
        if hosts.len() < shown.len() {
            return CaseOutcome::botched("StartFailed", "a host stands twice in one case");
        }
        let mut performer = Performer {
            assignment,
            workplace,
            redactor: &self.redactor,
            observer: &self.observer,
            notary: &self.notary,
            interrupt,
            live_output: self.live_output,
            members: hosts.into_iter().map(Member::new).collect(),
            checked: &mut self.checked,
            began: time_since_boot(),
            steps: Vec::new(),
            silent_since: None,
            hosts_ended: None,
            checks_said: None,
            asked: Vec::new(),
            workload: None,
            workload_seen: None,
            askers: Vec::new(),
            are_dismissed: false,
        };
        let outcome = performer.settle();
        let members = std::mem::take(&mut performer.members);
        let is_unreverted = outcome.verdict == Verdict::Unreverted;
        for (shown, member) in shown.into_iter().zip(members) {
            if is_unreverted && member.is_dirty {
                self.kept.push(shown.clone());
            }
            self.hosts.insert(shown, member.host);
        }
        outcome
    }
}
