//! Where a case is carried out: its steps performed one after the other, as its machine wants them. Touches hosts and
//! processes through `remote`, and the files of its working folder.
//!
//! One [`BookExecutor`] carries out the cases of one book, so a connection and the scripts on a host serve all of them.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fatebook::{LogLevel, Redactor};
use crate::machine::{
    Captured, CaseEvent, CaseId, CaseMachine, CaseNext, CaseOutcome, CaseReport, CaseTurn, Exit, HostMark,
    NOT_FOR_THIS_HOST, RunEvent, SEEN_WITHIN, Step, StepEnd, StepRecord, Stream, Trouble, TroubleKind,
    Verdict,
};
use crate::remote::ssh::SshHost;
use crate::remote::{
    HostScript, Interrupt, Job, Left, Limit, Parcel, Ran, Remote, child, is_alive, time_since_boot,
};

mod agent;
mod assignment;
mod log;
mod printer;
mod workplace;

use printer::LinePrinter;

pub use agent::{EXECUTOR_VARIABLE, TaskData, is_executor, serve};
pub use assignment::{Access, Assignment, LocalCommand, shown_words};
pub use workplace::{OwnedFolder, Shipped, Workplace, shipped};

/// Where an executor's news go.
pub type Observer = Arc<dyn Fn(RunEvent) + Send + Sync>;

/// Writes down that a host may be dirty from now on.
pub trait Notary: Send + Sync {
    /// Whether all that was said of reverted hosts is safely written down by now: till then their tombstones stay.
    fn is_recorded(&self) -> bool;

    /// Answers once that is safe, or with why it is not; an interrupt may end the waiting.
    fn note(&self, case: CaseId, heal: String, mark: HostMark, interrupt: &Interrupt) -> Result<(), String>;
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
        }
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

    /// Whether the run behind a debt, of which nobody knows whether it is alive, may still be at the host: for how long at most, and
    /// what to tell. Where the host does not say, it is not.
    pub fn in_use_for(&mut self, access: &Access, mark: &HostMark) -> Option<(Duration, String)> {
        let told = self.host(access).armed_for(mark, Limit::within(CLEAN_UP_LIMIT, None));
        let (left, message) = told.ok().flatten()?;
        Some((left, self.redactor.clean(&message)))
    }

    /// Takes over a host on which something of ours lies from an earlier run: it is taken away at the end.
    /// Answers with what a person should know. Fails if the host cannot be reached.
    pub fn take_over(&mut self, access: &Access) -> Result<Vec<String>, String> {
        let taken = self.host(access).take_over(Limit::within(CLEAN_UP_LIMIT, None));
        let clean = |text: &str| self.redactor.clean(text);
        match taken {
            Ok(notes) => Ok(notes.iter().map(|note| clean(note)).collect()),
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
                let limit = Limit::within(CLEAN_UP_LIMIT, None);
                let left = host.clean_up(limit).or_else(|_| {
                    // A connection that was lost says nothing of the host.
                    host.disconnect();
                    host.clean_up(limit)
                });
                match left {
                    Ok(Left::Shared) => {}
                    Ok(Left::Clean) => {
                        (self.observer)(RunEvent::HostLeft { folder: host.folder_name().to_owned() });
                    }
                    Ok(Left::Dirty) => {
                        (self.observer)(RunEvent::Warning {
                            message: format!(
                                "{shown}: what heals a case is left there, so it may still be broken: `sh ~/.pisaura/{}/.case-*/heal` there heals it",
                                host.folder_name()
                            ),
                        });
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
            SshHost::new(
                access.target.clone(),
                access.login.clone(),
                access.folder.clone(),
                redactor.clone(),
                is_alive,
                access.may_heal,
            )
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
        let shown = assignment.access.target.shown.clone();
        self.host(&assignment.access);
        let Some(host) = self.hosts.get_mut(&shown) else {
            return CaseOutcome::botched("StartFailed", "no host to work on");
        };
        let mut performer = Performer {
            assignment,
            workplace,
            redactor: &self.redactor,
            observer: &self.observer,
            notary: &self.notary,
            interrupt,
            live_output: self.live_output,
            host,
            checked: &mut self.checked,
            began: time_since_boot(),
            steps: Vec::new(),
            heal: None,
        };
        let outcome = performer.settle();
        if outcome.verdict == Verdict::Unreverted {
            self.kept.push(shown);
        }
        outcome
    }
}

struct Performer<'a> {
    assignment: &'a Assignment,
    workplace: &'a Path,
    redactor: &'a Redactor,
    observer: &'a Observer,
    notary: &'a Arc<dyn Notary>,
    interrupt: &'a Interrupt,
    live_output: bool,
    host: &'a mut SshHost,
    checked: &'a mut HashSet<String>,
    /// By the clock that goes on while this machine sleeps, as all times of the case.
    began: Duration,
    steps: Vec<StepRecord>,
    /// The command that heals the host by hand, while it may be broken.
    heal: Option<String>,
}

impl Performer<'_> {
    fn settle(&mut self) -> CaseOutcome {
        if let Err(why) = self.host.begin_case(self.assignment.mark.as_ref()) {
            return CaseOutcome::botched("StartFailed", why);
        }
        let mut machine = CaseMachine::new(self.assignment.plan.clone());
        let first = match self.interrupt.is_raised() {
            _ if self.assignment.only_reverts => CaseEvent::Heal,
            true => CaseEvent::Interrupt,
            false => CaseEvent::Begin,
        };
        let mut turn = machine.step(Duration::ZERO, first);
        while let Some(event) = turn.and_then(|turn| self.take(&machine, turn)) {
            let now = self.elapsed();
            if let Some(record) = self.host.take_induced() {
                machine.step(now, CaseEvent::HostSays(record));
            }
            let interrupt = self.interrupt.is_raised().then_some(CaseEvent::Interrupt);
            turn = interrupt
                .and_then(|interrupt| machine.step(now, interrupt))
                .or_else(|| machine.step(now, event));
        }
        let (verdict, findings, recovered) = machine.result();
        let dirty = machine.is_dirty();
        if dirty {
            tracing::error!(target: CRITICAL, host = self.assignment.access.target.shown, "the host may still be broken");
        }
        let findings = findings
            .iter()
            .cloned()
            .map(|mut finding| {
                // What the script said is the better reason.
                if finding.kind == NOT_FOR_THIS_HOST
                    && let Some(said) = self.steps.last().and_then(last_line)
                {
                    finding.message = format!("not for this host as it is now: {said}");
                }
                finding.message = self.redactor.clean(&finding.message);
                finding
            })
            .collect();
        CaseOutcome {
            verdict,
            findings,
            report: Some(CaseReport {
                steps: std::mem::take(&mut self.steps),
                took: self.elapsed(),
                recovered_during: recovered[0],
                recovered_after: recovered[1],
                watched: machine.watched().cloned().map(Box::new),
                heal: self.heal.take().filter(|_| dirty),
                placement: None,
            }),
        }
    }

    /// Does what the machine wants, and answers with what came of it; `None` once the case is settled.
    fn take(&mut self, machine: &CaseMachine, turn: CaseTurn) -> Option<CaseEvent> {
        if turn.is_reverted {
            self.heal = None;
            (self.observer)(RunEvent::Reverted { case: self.assignment.id });
        }
        match turn.next {
            CaseNext::Perform { step, attempt, limit } => {
                Some(CaseEvent::Ended(self.perform(step, attempt, limit)))
            }
            CaseNext::NoteDirty => {
                let mark = self.host.settle_mark();
                let lasting = self.assignment.access.lasting;
                let heal = lasting.then(|| self.host.heal_command()).flatten().unwrap_or_default();
                self.heal = Some(heal.clone());
                Some(match self.notary.note(self.assignment.id, heal, mark, self.interrupt) {
                    Ok(()) => CaseEvent::Noted,
                    Err(why) => CaseEvent::NotNoted(why),
                })
            }
            CaseNext::Wait => {
                self.wait(machine);
                Some(CaseEvent::Woke)
            }
            CaseNext::Settle => None,
        }
    }

    fn elapsed(&self) -> Duration {
        time_since_boot().saturating_sub(self.began)
    }

    fn wait(&self, machine: &CaseMachine) {
        let left = machine.wake_at().unwrap_or_default().saturating_sub(self.elapsed());
        let until = Instant::now() + left;
        // While the host is dirty and its reverter is tried, an interrupt that has come already must not end each pause.
        let listens = !self.interrupt.is_raised();
        self.interrupt.wait_until(until, listens);
    }

    fn perform(&mut self, step: Step, attempt: u32, limit: Duration) -> StepEnd {
        let is_held = step == Step::During && self.assignment.plan.hold.is_some();
        if step != Step::StopIf && (!is_held || attempt == 1) {
            (self.observer)(RunEvent::StepBegan { case: self.assignment.id, step, attempt });
        }
        tracing::debug!(%step, attempt, "begins");
        let began = self.elapsed();
        let (began_at, within) = (time_since_boot(), limit);
        let interrupt = (step != Step::Revert).then_some(self.interrupt);
        let limit = Limit::within(limit, interrupt);
        let mut printer =
            LinePrinter::new(self.live_output, self.assignment.id, step, self.redactor, self.observer);
        let mut watcher = |stream: Stream, bytes: &[u8]| printer.push(stream, bytes);
        let assignment = self.assignment;
        let ran = match step {
            Step::Before | Step::During | Step::After => {
                let why_not = if step == Step::Before && attempt == 1 { self.why_not(limit) } else { None };
                match why_not {
                    Some(message) => {
                        Ran::silent(StepEnd::Failed(Trouble { kind: TroubleKind::Start, message }))
                    }
                    None => {
                        let command = local_command(assignment, step, self.workplace);
                        child::run(command, limit, self.redactor, &mut watcher)
                    }
                }
            }
            Step::StopIf => match &assignment.stop_if {
                Some(command) => {
                    let mut command =
                        at_work(command.command(self.workplace, &[]), assignment, self.workplace);
                    command.env("PISAURA_STEP", "stop_if");
                    child::run(command, limit, self.redactor, &mut watcher)
                }
                None => no_such_script(),
            },
            Step::Prepare => {
                if attempt > 1 {
                    self.host.disconnect();
                }
                let parcels = self.parcels();
                let optional =
                    [&assignment.only_if, &assignment.verify, &assignment.still].into_iter().flatten();
                let scripts =
                    [&assignment.reverter, &assignment.inducer].into_iter().chain(optional).collect();
                let end = match self.host.prepare(&Job { parcels: &parcels, scripts }, limit) {
                    Ok(()) => StepEnd::Exited(Exit::Status(0)),
                    Err(_) if limit.is_interrupted() => StepEnd::Interrupted,
                    Err(end) => end,
                };
                if let StepEnd::Busy { message, .. } = &end {
                    let what = self.redactor.clean(message);
                    (self.observer)(RunEvent::Waiting { case: assignment.id, what });
                }
                Ran::silent(end)
            }
            Step::Select => self.run_optional(assignment.only_if.as_ref(), limit, &mut watcher),
            Step::Induce => self.host.run(&assignment.inducer, limit, &mut watcher),
            Step::Verify => self.run_optional(assignment.verify.as_ref(), limit, &mut watcher),
            Step::Still => self.run_optional(assignment.still.as_ref(), limit, &mut watcher),
            Step::Revert if attempt > 1 || assignment.only_reverts => {
                let parcels = self.parcels();
                self.host.heal_again(&assignment.reverter, &parcels, limit, &mut watcher)
            }
            Step::Revert => self.host.run(&assignment.reverter, limit, &mut watcher),
        };
        printer.finish();
        for message in self.host.take_notes() {
            (self.observer)(RunEvent::Warning { message: self.redactor.clean(&message) });
        }
        let took = self.elapsed() - began;
        let mut end = self.clean_end(ran.end);
        if let StepEnd::Healed(by) = &mut end {
            // Counted from when the host was asked, and wanted from when this try began.
            let before = self.host.sent_at().saturating_sub(began_at);
            by.ago = by.ago.map(|ago| ago.saturating_sub(before));
        }
        let late = (time_since_boot() - began_at).saturating_sub(within);
        if late > SEEN_WITHIN {
            match (step, &end) {
                // For the reverter the host's word counts: one that succeeded has healed it.
                (Step::Revert, end) if end.is_success() => {
                    let message = format!(
                        "{}: the reverter succeeded, and that was seen {} s after its time limit",
                        self.assignment.access.target.shown,
                        late.as_secs()
                    );
                    (self.observer)(RunEvent::Warning { message });
                }
                // What ended too late is out of time, whatever it says: this process, or the machine, may have stood still.
                (_, StepEnd::Exited(_)) => end = StepEnd::TimedOut,
                _ => {}
            }
        }
        let record = StepRecord { step, attempt, began, took, end, stdout: ran.stdout, stderr: ran.stderr };
        let end = record.end.clone();
        if step == Step::StopIf && matches!(end, StepEnd::Exited(Exit::Status(1..=125))) {
            // That nothing is to be stopped is asked all the time, and worth no word.
            return end;
        }
        // Of equal answers in a row, while a failure is held, the first and the last are kept; their number stands elsewhere.
        let is_same =
            |other: Option<&StepRecord>| other.is_some_and(|other| other.step == step && other.end == end);
        let is_repeated = is_held && is_same(self.steps.last());
        let is_full = is_held && self.steps.len() > RECORDS_MAX;
        if is_full || is_repeated && is_same(self.steps.iter().nth_back(1)) {
            self.steps.pop();
        }
        self.steps.push(record.clone());
        if !is_repeated {
            log_record(&record);
            (self.observer)(RunEvent::StepEnded { case: self.assignment.id, record });
        }
        end
    }

    /// Why what runs here cannot begin, if that is certain: a mistake in it is not to be taken for its no.
    fn why_not(&mut self, limit: Limit<'_>) -> Option<String> {
        let commands = [
            ("healthcheck", Some(&self.assignment.healthcheck)),
            ("stop_if", self.assignment.stop_if.as_ref()),
        ];
        for (name, command) in commands {
            let Some(check) = command.and_then(|command| command.check(name, self.workplace)) else {
                continue;
            };
            let check = at_work(check, self.assignment, self.workplace);
            let key = format!("{check:?}");
            if self.checked.contains(&key) {
                continue;
            }
            let ran = child::run(check, limit, self.redactor, &mut |_, _| {});
            if matches!(ran.end, StepEnd::Exited(Exit::Status(status)) if status != 0) {
                let said = ran.stderr.last_lines(20).0.pop();
                return Some(said.unwrap_or_else(|| format!("the {name} cannot be run")));
            }
            self.checked.insert(key);
        }
        None
    }

    /// Runs a script that not every failure has; the machine asks only for those that are there.
    fn run_optional(
        &mut self,
        script: Option<&HostScript>,
        limit: Limit<'_>,
        watcher: &mut dyn FnMut(Stream, &[u8]),
    ) -> Ran {
        match script {
            Some(script) => self.host.run(script, limit, watcher),
            None => no_such_script(),
        }
    }

    fn parcels(&self) -> Vec<Parcel> {
        let here = |parcel: &Parcel| Parcel { source: self.workplace.join(&parcel.source), ..parcel.clone() };
        self.assignment.parcels.iter().map(here).collect()
    }

    fn clean_end(&self, end: StepEnd) -> StepEnd {
        match end {
            StepEnd::Failed(Trouble { kind, message }) => {
                StepEnd::Failed(Trouble { kind, message: self.redactor.clean(&message) })
            }
            StepEnd::Busy { message, within } => {
                StepEnd::Busy { message: self.redactor.clean(&message), within }
            }
            end => end,
        }
    }
}

/// The machine asks only for what there is.
fn no_such_script() -> Ran {
    let message = "there is no such script".to_owned();
    Ran::silent(StepEnd::Failed(Trouble { kind: TroubleKind::Start, message }))
}

/// The last line with anything in it that a script printed.
fn last_line(record: &StepRecord) -> Option<String> {
    let said = |captured: &Captured| {
        captured.last_lines(20).0.into_iter().rev().find(|line| !line.trim().is_empty())
    };
    said(&record.stdout).or_else(|| said(&record.stderr))
}

fn log_record(record: &StepRecord) {
    let (step, attempt, seconds) = (record.step, record.attempt, record.took.as_secs_f64());
    let seconds = format_args!("{seconds:.3} s");
    match &record.end {
        end if end.is_success() => tracing::info!("{step}: ok, {seconds}"),
        StepEnd::Exited(exit) if step.is_healthcheck() || step == Step::Select => {
            tracing::info!("{step}: {exit}, {seconds}");
        }
        StepEnd::Failed(trouble) if trouble.kind.may_pass() => {
            tracing::warn!("{step}: {}, try {attempt}, {seconds}", trouble.message);
        }
        end => tracing::error!("{step}: {end}, {seconds}"),
    }
    for (name, captured) in [("stdout", &record.stdout), ("stderr", &record.stderr)] {
        if !captured.is_empty() {
            tracing::debug!("{step}: {name}: {:?}", captured.last_lines(20).0.join("\n"));
        }
    }
}

fn local_command(assignment: &Assignment, step: Step, workplace: &Path) -> Command {
    let number = step.healthcheck_number().unwrap_or_default();
    let step = assignment.pass_step.then(|| format!("--step={number}"));
    let command = assignment.healthcheck.command(workplace, step.as_slice());
    let mut command = at_work(command, assignment, workplace);
    command.env("PISAURA_STEP", number.to_string());
    command
}

/// In the working folder, with the case's variables.
fn at_work(mut command: Command, assignment: &Assignment, workplace: &Path) -> Command {
    command.current_dir(workplace);
    command.envs(assignment.env.iter().map(|(name, value)| (name, value)));
    command
}
