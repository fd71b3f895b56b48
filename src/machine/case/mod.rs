//! The life of a case, as a machine: which step comes next, and what the case's verdict is. Decides that every path after
//! the inducer goes through the reverter, that an inducer is never begun twice and a reverter as often as it takes. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fatebook::{Expectation, Hold, Steady, show_duration};

use super::verdict::{
    Exit, Finding, HealedBy, HostRecord, Induced, Step, StepEnd, Trouble, TroubleKind, Verdict, worst,
};
use super::watch::{Answer, Broken, CheckPlan, CheckWatch, Outage, Watch, WatchNext, Watched};
use crate::machine::event::CycleReport;
use crate::machine::workload::{WorkloadPlan, WorkloadSeen};
use findings::NO;

mod arming;
mod asking;
mod cycles;
mod findings;
mod not_begun;
mod plan;
mod reverting;

use arming::NotArmed;

pub use arming::{HostEnds, worst_end, worst_record};
pub use plan::{CaseEvent, CaseNext, CasePlan, CaseTurn};

/// How often a host is tried before anything was induced.
const PREPARE_ATTEMPTS_MAX: u32 = 4;
/// The kind of the finding that a failure is none for this host, as things are.
pub const NOT_FOR_THIS_HOST: &str = "NotForThisHost";
/// The kind of the finding of a case that failed as it is known to.
pub const KNOWN: &str = "Known";
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_LONGEST: Duration = Duration::from_secs(10);
/// A watcher counts whole seconds, and its host may be slow.
const FIRED_AFTER: Duration = Duration::from_secs(2);
/// How long a host is looked at, at the least, after its dead man's switch has fired.
const LOOKED_AT_FOR: Duration = Duration::from_secs(3);
/// How soon an answer is seen on a busy machine.
pub const SEEN_WITHIN: Duration = Duration::from_millis(500);
/// An answer that takes no longer counts from the beginning of its question.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How long an answer may take while a service is watched that nothing else is said of.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const ASK_PAUSE_FIRST: Duration = Duration::from_millis(100);
const ASK_PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// One case.
#[derive(Clone, Debug)]
pub struct CaseMachine {
    plan: CasePlan,
    state: State,
    step: Step,
    attempt: u32,
    /// How often the host was, or is to be, broken by now.
    cycle: u32,
    step_began: Duration,
    /// When the present try at it began.
    asked_at: Duration,
    /// When the inducer was handed out.
    dirty_since: Option<Duration>,
    clean: bool,
    /// Only the reverter is run.
    heals_only: bool,
    /// The service was well before the failure, some time after it was first asked.
    is_well: bool,
    /// How often `only_if` has changed its mind just before the inducer.
    declined: u32,
    /// How often one of several hosts was taken when they were armed.
    taken: u32,
    /// So much time has passed that the service has to be asked anew whether it is well.
    is_stale: bool,
    /// When the inducer was handed out, and when the healthcheck during the failure gave its last answer.
    induced_at: Option<Duration>,
    answered_at: Option<Duration>,
    /// The connection was lost within the inducer, as it may be.
    cut_off: bool,
    /// Since when the host had said nothing then: from about then the failure was in force.
    silent_since: Option<Duration>,
    /// What the host has told while it was reverted.
    record: HostRecord,
    /// When the service was first asked during the failure.
    first_asked_at: Option<Duration>,
    /// How the step ended on each host, if the case has several.
    hosts_ended: HostEnds,
    /// Why not all of the hosts were armed, while those are reverted that were.
    not_armed: Option<NotArmed>,
    interrupted: bool,
    findings: Vec<Finding>,
    /// When the service was to be healthy again, counted from the failure and from the revert: when the question began that told so.
    recovered_after: [Option<Duration>; 2],
    /// When the healthcheck of this step was begun that was the first of all in a row to be answered as it was wanted.
    well_since: Option<Duration>,
    /// When the healthcheck of this step answered last.
    last_answer: Duration,
    /// It is being asked whether the case is to be stopped.
    asks_stop: bool,
    /// What was seen of the service while the failure was in force.
    watch: Option<Watch>,
    /// The last answer then that was not the one that is wanted.
    last_down: Option<StepEnd>,
    /// The same of the checks, while the failure is held.
    checks: Vec<CheckWatch>,
    /// How the checks ended that were asked together with the healthcheck.
    checks_said: Vec<StepEnd>,
    /// What the workload has said.
    workload: Option<WorkloadSeen>,
    /// Which check's answer counts for the round, if not the healthcheck's.
    culprit: Option<usize>,
    /// What was seen in the cycles before this one.
    former: Vec<CycleReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Performing,
    Noting,
    Waiting(Duration),
    Settled,
}

impl CaseMachine {
    /// A case that has not begun.
    pub fn new(plan: CasePlan) -> Self {
        Self {
            plan,
            state: State::New,
            step: Step::Before,
            attempt: 0,
            cycle: 1,
            step_began: Duration::ZERO,
            asked_at: Duration::ZERO,
            dirty_since: None,
            clean: true,
            heals_only: false,
            is_well: false,
            declined: 0,
            taken: 0,
            is_stale: false,
            induced_at: None,
            answered_at: None,
            cut_off: false,
            silent_since: None,
            record: HostRecord::default(),
            first_asked_at: None,
            hosts_ended: Vec::new(),
            not_armed: None,
            interrupted: false,
            findings: Vec::new(),
            recovered_after: [None, None],
            well_since: None,
            last_answer: Duration::ZERO,
            asks_stop: false,
            watch: None,
            last_down: None,
            checks: Vec::new(),
            checks_said: Vec::new(),
            culprit: None,
            workload: None,
            former: Vec::new(),
        }
    }

    /// When the machine wants to be woken, if it waits.
    pub fn wake_at(&self) -> Option<Duration> {
        match self.state {
            State::Waiting(until) => Some(until),
            _ => None,
        }
    }

    /// Whether the host may be broken by this case now.
    pub fn is_dirty(&self) -> bool {
        !self.clean
    }

    /// What was seen of the service while the failure was in force, if it came to that.
    pub fn watched(&self) -> Option<&Watched> {
        self.watch.as_ref().map(Watch::seen).filter(|seen| !seen.answers.is_empty())
    }

    /// What was seen of each check while the failure was held, with its name.
    pub fn checks_watched(&self) -> impl Iterator<Item = (&str, &Watched)> {
        let names = self.plan.checks.iter().map(|check| check.name.as_str());
        names.zip(self.checks.iter().map(CheckWatch::seen))
    }

    /// What was seen in the cycles before this one.
    pub fn former(&self) -> &[CycleReport] {
        &self.former
    }

    /// What the workload has said, if it came to that.
    pub fn workload(&self) -> Option<&WorkloadSeen> {
        self.workload.as_ref()
    }

    /// The verdict, the findings behind it, and how long the service took to be healthy again, after the failure and after
    /// the revert. Meaningful once the case is settled.
    pub fn result(&self) -> (Verdict, &[Finding], [Option<Duration>; 2]) {
        (worst(&self.findings), &self.findings, self.recovered_after)
    }

    /// Takes in what happened, and answers with what is to be done. Events that do not fit the state are ignored: they
    /// are late news of something that is over, or nothing is to be done because of them.
    pub fn step(&mut self, now: Duration, event: CaseEvent) -> Option<CaseTurn> {
        let turn = match (self.state, event) {
            // A failure that may be none for the host asks that first: a service is not asked for nothing.
            (State::New, CaseEvent::Begin) if self.plan.only_if => self.begin(now, Step::Prepare),
            (State::New, CaseEvent::Begin) => self.begin(now, Step::Before),
            (State::New, CaseEvent::Heal) => {
                self.clean = false;
                self.dirty_since = Some(now);
                self.heals_only = true;
                self.begin(now, Step::Revert)
            }
            (State::New, CaseEvent::Interrupt) => {
                self.note_interrupt("before it began");
                self.settle()
            }
            (State::Settled, _) => return None,
            (_, CaseEvent::HostSays(record)) => {
                self.record = record;
                return None;
            }
            (_, CaseEvent::HostsEnded(ends)) => {
                self.hosts_ended = ends;
                return None;
            }
            (_, CaseEvent::ChecksSaid(ends)) => {
                self.checks_said = ends;
                return None;
            }
            (_, CaseEvent::SilentFor(silence)) => {
                self.silent_since = now.checked_sub(silence);
                return None;
            }
            (_, CaseEvent::WorkloadSaid(seen)) => {
                self.workload = Some(seen);
                return None;
            }
            (_, CaseEvent::ChecksWatched(checks)) => {
                self.checks = checks;
                return None;
            }
            (_, CaseEvent::Interrupt) => {
                self.interrupted = true;
                match self.state {
                    State::Waiting(_) if self.step != Step::Revert => {
                        if self.plan.watch_of(self.step).is_some() {
                            self.judge_watch();
                        }
                        self.after_interrupt(now)
                    }
                    _ => return None,
                }
            }
            (State::Noting, CaseEvent::Noted) if !self.interrupted => {
                self.induced_at = Some(now);
                self.begin(now, if self.plan.arms_first { Step::Arm } else { Step::Induce })
            }
            (State::Noting, noted @ (CaseEvent::Noted | CaseEvent::NotNoted(_))) => {
                // Nothing was induced yet.
                self.clean = true;
                self.dirty_since = None;
                match noted {
                    CaseEvent::NotNoted(why) if !self.interrupted => {
                        let message =
                            format!("nothing was broken because it could not be recorded first: {why}");
                        self.find(Verdict::Botched, "NotNoted", message);
                    }
                    _ => self.note_interrupt("before the inducer"),
                }
                self.settle().reverted()
            }
            (State::Waiting(until), CaseEvent::Woke) if now >= until => self.again(now),
            (State::Waiting(_), CaseEvent::Woke) => CaseNext::Wait.into(),
            (State::Performing, CaseEvent::Ended(end)) => {
                let end = self.of_round(end);
                self.ended(now, end)
            }
            _ => return None,
        };
        Some(turn)
    }

    fn begin(&mut self, now: Duration, step: Step) -> CaseTurn {
        self.step = step;
        self.step_began = now;
        self.attempt = 0;
        self.well_since = None;
        self.last_answer = now;
        if step == Step::During {
            self.first_asked_at = Some(now);
            // Nobody has asked while it was not known that the host was cut off.
            let since = self.silent_since.filter(|_| self.cut_off).unwrap_or(now);
            let watch = Watch::new(self.plan.hold.clone(), self.plan.expect, self.plan.grace, since);
            self.watch = Some(watch.unasked_for(now.saturating_sub(since)));
        }
        self.again(now)
    }

    fn again(&mut self, now: Duration) -> CaseTurn {
        self.hosts_ended.clear();
        self.asked_at = now;
        self.state = State::Performing;
        if self.plan.stop_if && self.plan.watch_of(self.step).is_some() && !self.asks_stop {
            self.asks_stop = true;
            return CaseNext::Perform { step: Step::StopIf, attempt: self.attempt + 1, limit: self.limit() }
                .into();
        }
        self.asks_stop = false;
        self.attempt += 1;
        CaseNext::Perform { step: self.step, attempt: self.attempt, limit: self.limit() }.into()
    }

    fn wait(&mut self, until: Duration) -> CaseTurn {
        self.state = State::Waiting(until);
        CaseNext::Wait.into()
    }

    fn settle(&mut self) -> CaseTurn {
        self.state = State::Settled;
        CaseNext::Settle.into()
    }

    fn ended(&mut self, now: Duration, end: StepEnd) -> CaseTurn {
        if end == StepEnd::Interrupted {
            self.interrupted = true;
        }
        if self.step == Step::Revert {
            return self.revert_ended(now, &end);
        }
        if self.asks_stop {
            return self.stop_if_ended(now, &end);
        }
        if self.step == Step::Workload {
            self.judge_workload(&end);
            return if self.interrupted { self.after_interrupt(now) } else { self.settle() };
        }
        if self.step == Step::Arm {
            return self.arming_ended(now, end);
        }
        let is_begun = self.plan.arms_first && self.step == Step::Induce;
        match &end {
            // Of several hosts another one may be broken.
            _ if is_begun => {}
            StepEnd::Failed(trouble) if trouble.kind == TroubleKind::Arming && self.step == Step::Induce => {
                return self.not_begun(now, &end);
            }
            StepEnd::Declined(_) | StepEnd::Busy { .. } => return self.not_now(now, &end),
            _ => {}
        }
        self.cut_off |= self.cuts_off(&end);
        if self.interrupted {
            // A healthcheck that would have been asked again has not given its last answer.
            if self.plan.watch_of(self.step).is_some() {
                let is_answer = end == StepEnd::Interrupted || self.note_answer(now, &end).is_some();
                self.judge_watch();
                if is_answer {
                    return self.after_interrupt(now);
                }
            }
            let is_last = !self.step.is_healthcheck()
                || (!self.wanted(&end) && (!end.may_change() || now - self.step_began >= self.patience()));
            // That a failure is none for its host is nothing amiss.
            let is_fine = end.is_success() || self.is_none_here(&end) || self.cuts_off(&end);
            let is_amiss = end != StepEnd::Interrupted && !is_fine;
            if is_amiss && is_last {
                self.judge(now, &end);
            }
            return self.after_interrupt(now);
        }
        if self.step.is_healthcheck() {
            return self.healthcheck_ended(now, &end);
        }
        match (self.step, end) {
            (Step::Prepare | Step::Select, StepEnd::Failed(trouble))
                if trouble.kind.may_pass() && self.attempt < PREPARE_ATTEMPTS_MAX =>
            {
                self.wait(now + pause(PAUSE_FIRST, PAUSE_LONGEST, self.attempt))
            }
            (Step::Prepare, end) if end.is_success() && self.plan.only_if => self.begin(now, Step::Select),
            (Step::Prepare, end) if end.is_success() && std::mem::take(&mut self.is_stale) => {
                self.begin(now, Step::Before)
            }
            (Step::Prepare, end) if end.is_success() => self.note_dirty(now),
            (Step::Select, end) if end.is_success() && self.is_well => self.note_dirty(now),
            (Step::Select, end) if end.is_success() => self.begin(now, Step::Before),
            (_, end) if self.is_none_here(&end) => {
                let message = match self.hosts_ended.iter().find(|(_, on_host)| *on_host == end) {
                    Some((host, _)) => {
                        format!("not for these hosts as they are now: only_if said no on {host} ({end})")
                    }
                    None => format!("not for this host as it is now: only_if said no ({end})"),
                };
                self.find(Verdict::Skipped, NOT_FOR_THIS_HOST, message);
                self.settle()
            }
            (Step::Prepare | Step::Select, end) => {
                self.judge(now, &end);
                self.settle()
            }
            (Step::Induce, end) if end.is_success() || self.cuts_off(&end) => {
                let next = if self.plan.verify { Step::Verify } else { Step::During };
                self.begin(now, next)
            }
            (Step::Verify, end) if end.is_success() => self.begin(now, Step::During),
            (Step::Still, end) if end.is_success() => self.begin(now, Step::Revert),
            (_, end) => {
                self.judge(now, &end);
                self.begin(now, Step::Revert)
            }
        }
    }

    /// Whether this is the inducer cutting the host off, as it may.
    fn cuts_off(&self, end: &StepEnd) -> bool {
        self.plan.cuts_off
            && self.step == Step::Induce
            && matches!(end, StepEnd::Failed(trouble) if trouble.kind == TroubleKind::Connection)
    }

    /// Whether `only_if` has said no.
    fn is_none_here(&self, end: &StepEnd) -> bool {
        self.step == Step::Select && *end == StepEnd::Exited(Exit::Status(NO))
    }

    fn note_dirty(&mut self, now: Duration) -> CaseTurn {
        self.state = State::Noting;
        self.clean = false;
        self.dirty_since = Some(now);
        CaseNext::NoteDirty.into()
    }

    /// Where an interrupt leads to: to the end while the host is untouched, to the reverter afterwards.
    fn after_interrupt(&mut self, now: Duration) -> CaseTurn {
        if self.is_dirty() {
            return self.begin(now, Step::Revert);
        }
        let when = match self.step {
            Step::After => format!("in the last healthcheck; {}", self.were_reverted()),
            Step::Workload => format!("while the workload was ending; {}", self.were_reverted()),
            _ => "before the inducer".to_owned(),
        };
        self.note_interrupt(&when);
        self.settle()
    }

    fn were_reverted(&self) -> &'static str {
        if self.plan.arms_first { "the hosts were reverted" } else { "the host was reverted" }
    }

    fn note_interrupt(&mut self, when: &str) {
        self.find(Verdict::Skipped, "Interrupted", format!("interrupted {when}"));
    }
}

/// The pause after the given attempt: each twice as long as the one before.
fn pause(first: Duration, longest: Duration, attempt: u32) -> Duration {
    (first * 2u32.pow(attempt.saturating_sub(1).min(10))).min(longest)
}

fn round(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod enumeration;
#[cfg(test)]
mod tests;
