//! The life of a case, as a machine: which step comes next, and what the case's verdict is. Decides that every path after
//! the inducer goes through the reverter, that an inducer is never begun twice and a reverter as often as it takes. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fatebook::{Expectation, show_duration};

use super::verdict::{Exit, Finding, HealedBy, Induced, Step, StepEnd, Trouble, TroubleKind, Verdict, worst};

/// What the machine needs to know of a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CasePlan {
    /// Whether the failure has an `only_if`. Journals of old know nothing of it.
    #[serde(default)]
    pub only_if: bool,
    /// Whether the failure has a `verify`.
    pub verify: bool,
    /// What the second healthcheck must say.
    pub expect: Expectation,
    /// Time limit of each step.
    pub timeout: Duration,
    /// How long a healthcheck that says no is asked again.
    pub grace: Duration,
    /// How long after the inducer was handed out the reverter is still tried.
    pub revert_within: Duration,
    /// Whether the host heals by itself when that time is up: then it is looked at once more.
    pub watched: bool,
    /// Whether the inducer may cut the host off from us.
    #[serde(default)]
    pub cuts_off: bool,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum CaseEvent {
    /// The case begins.
    Begin,
    /// The step that was asked for has ended.
    Ended(StepEnd),
    /// What the host that is being healed has written down of its inducer. Comes before the end of the reverter, if it comes.
    HostSays(Induced),
    /// An earlier attempt at the case may have left the host broken: only its reverter is to be run.
    Heal,
    /// It is safely written down that the host may be dirty.
    Noted,
    /// It could not be written down, and why.
    NotNoted(String),
    /// The time that `wake_at` named has come.
    Woke,
    /// The run was interrupted. A step other than the reverter is ended, and reported as `Interrupted`.
    Interrupt,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseAction {
    /// Do this step, within this time, and report how it ended. `attempt` counts from 1.
    Perform {
        /// The step.
        step: Step,
        /// Which try at it.
        attempt: u32,
        /// Its time limit.
        limit: Duration,
    },
    /// Write down that the host may be dirty from now on, and report when that is safe.
    NoteDirty,
    /// The host is healed: whatever watches over it is not needed any more.
    NoteReverted,
    /// Wait for `wake_at` or an interrupt.
    Wait,
    /// The case is over.
    Settle,
}

/// How often a host is tried before anything was induced.
const PREPARE_ATTEMPTS_MAX: u32 = 4;
/// How often a case begins again whose `only_if` says no just before the inducer.
const DECLINED_MAX: u32 = 3;
/// The kind of the finding that a failure is none for this host, as things are.
pub const NOT_FOR_THIS_HOST: &str = "NotForThisHost";
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_LONGEST: Duration = Duration::from_secs(10);
/// Between two looks at whether a host is free again.
const BUSY_PAUSE_LONGEST: Duration = Duration::from_secs(1);
/// A watcher counts whole seconds, and its host may be slow.
const FIRED_AFTER: Duration = Duration::from_secs(2);
/// How long a host is looked at, at the least, after its dead man's switch has fired.
const LOOKED_AT_FOR: Duration = Duration::from_secs(3);
/// How soon an answer is seen on a busy machine.
pub const SEEN_WITHIN: Duration = Duration::from_millis(500);
const ASK_PAUSE_FIRST: Duration = Duration::from_millis(100);
const ASK_PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// One case.
#[derive(Clone, Debug)]
pub struct CaseMachine {
    plan: CasePlan,
    state: State,
    step: Step,
    attempt: u32,
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
    /// So much time has passed that the service has to be asked anew whether it is well.
    is_stale: bool,
    /// When the inducer was handed out, and when the healthcheck during the failure gave its last answer.
    induced_at: Option<Duration>,
    answered_at: Option<Duration>,
    /// The connection was lost within the inducer, as it may be.
    cut_off: bool,
    /// What the host has written down of the inducer.
    record: Induced,
    interrupted: bool,
    findings: Vec<Finding>,
    /// How long the service took to say yes, after the failure and after the revert.
    recovered_after: [Option<Duration>; 2],
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
            step_began: Duration::ZERO,
            asked_at: Duration::ZERO,
            dirty_since: None,
            clean: true,
            heals_only: false,
            is_well: false,
            declined: 0,
            is_stale: false,
            induced_at: None,
            answered_at: None,
            cut_off: false,
            record: Induced::Unknown,
            interrupted: false,
            findings: Vec::new(),
            recovered_after: [None, None],
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

    /// The verdict, the findings behind it, and how long the service took to be well again, after the failure and after
    /// the revert. Meaningful once the case is settled.
    pub fn result(&self) -> (Verdict, &[Finding], [Option<Duration>; 2]) {
        (worst(&self.findings), &self.findings, self.recovered_after)
    }

    /// Takes in what happened, and answers with what is to be done. Events that do not fit the state are ignored: they
    /// are late news of something that is over.
    pub fn step(&mut self, now: Duration, event: CaseEvent) -> Vec<CaseAction> {
        match (self.state, event) {
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
            (State::Settled, _) => Vec::new(),
            (_, CaseEvent::HostSays(record)) => {
                self.record = record;
                Vec::new()
            }
            (_, CaseEvent::Interrupt) => {
                self.interrupted = true;
                match self.state {
                    State::Waiting(_) if self.step != Step::Revert => self.after_interrupt(now),
                    _ => Vec::new(),
                }
            }
            (State::Noting, CaseEvent::Noted) if !self.interrupted => {
                self.induced_at = Some(now);
                self.begin(now, Step::Induce)
            }
            (State::Noting, noted @ (CaseEvent::Noted | CaseEvent::NotNoted(_))) => {
                // Nothing was induced yet.
                self.clean = true;
                self.dirty_since = None;
                match noted {
                    CaseEvent::NotNoted(why) if !self.interrupted => {
                        let message =
                            format!("nothing was broken, for it could not be written down beforehand: {why}");
                        self.find(Verdict::Botched, "NotNoted", message);
                    }
                    _ => self.note_interrupt("before the inducer"),
                }
                let mut actions = vec![CaseAction::NoteReverted];
                actions.extend(self.settle());
                actions
            }
            (State::Waiting(until), CaseEvent::Woke) if now >= until => self.again(now),
            (State::Waiting(_), CaseEvent::Woke) => vec![CaseAction::Wait],
            (State::Performing, CaseEvent::Ended(end)) => self.ended(now, end),
            _ => Vec::new(),
        }
    }

    fn begin(&mut self, now: Duration, step: Step) -> Vec<CaseAction> {
        self.step = step;
        self.step_began = now;
        self.attempt = 0;
        self.again(now)
    }

    fn again(&mut self, now: Duration) -> Vec<CaseAction> {
        self.attempt += 1;
        self.asked_at = now;
        self.state = State::Performing;
        vec![CaseAction::Perform { step: self.step, attempt: self.attempt, limit: self.plan.timeout }]
    }

    fn wait(&mut self, until: Duration) -> Vec<CaseAction> {
        self.state = State::Waiting(until);
        vec![CaseAction::Wait]
    }

    fn settle(&mut self) -> Vec<CaseAction> {
        self.state = State::Settled;
        vec![CaseAction::Settle]
    }

    fn ended(&mut self, now: Duration, end: StepEnd) -> Vec<CaseAction> {
        if end == StepEnd::Interrupted {
            self.interrupted = true;
        }
        if self.step == Step::Revert {
            return self.revert_ended(now, &end);
        }
        match &end {
            StepEnd::Failed(trouble) if trouble.kind == TroubleKind::Arming && self.step == Step::Induce => {
                return self.not_begun(now, &end);
            }
            StepEnd::Declined(_) | StepEnd::Busy { .. } => return self.not_now(now, &end),
            _ => {}
        }
        self.cut_off |= self.cuts_off(&end);
        if self.interrupted {
            // A healthcheck that would have been asked again has not given its last answer.
            let is_last = !self.step.is_healthcheck()
                || (!self.wanted(&end) && (!may_change(&end) || now - self.step_began >= self.plan.grace));
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
                let message = format!("not for this host as it is now: only_if said no ({end})");
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

    fn note_dirty(&mut self, now: Duration) -> Vec<CaseAction> {
        self.state = State::Noting;
        self.clean = false;
        self.dirty_since = Some(now);
        vec![CaseAction::NoteDirty]
    }

    /// The inducer was not begun, so there is nothing to heal, and nobody is told of a host that may be broken.
    fn not_begun(&mut self, now: Duration, end: &StepEnd) -> Vec<CaseAction> {
        self.judge(now, end);
        if self.interrupted {
            self.note_interrupt("before the inducer");
        }
        self.clean = true;
        let mut actions = vec![CaseAction::NoteReverted];
        actions.extend(self.settle());
        actions
    }

    /// The inducer was not begun, but may be later: somebody else has the host, or the failure is none for it any more. Nothing
    /// is broken.
    fn not_now(&mut self, now: Duration, end: &StepEnd) -> Vec<CaseAction> {
        let mut actions = Vec::new();
        if self.is_dirty() {
            self.clean = true;
            self.dirty_since = None;
            self.induced_at = None;
            actions.push(CaseAction::NoteReverted);
        }
        if self.interrupted {
            self.note_interrupt("before the inducer");
            actions.extend(self.settle());
            return actions;
        }
        match end {
            StepEnd::Declined(NO) if self.declined < DECLINED_MAX => {
                self.declined += 1;
                self.is_well = false;
                actions.extend(self.begin(now, Step::Select));
            }
            StepEnd::Declined(NO) => {
                let message = "not for this host as it is now: only_if said no, just before the inducer, again and again";
                self.find(Verdict::Skipped, NOT_FOR_THIS_HOST, message.to_owned());
                actions.extend(self.settle());
            }
            StepEnd::Busy { within, .. } if !within.is_zero() => {
                // It is looked at anew before it is asked for again.
                if self.step != Step::Prepare {
                    (self.step, self.step_began, self.attempt) = (Step::Prepare, now, 0);
                }
                self.is_stale = true;
                let pause = pause(PAUSE_FIRST, BUSY_PAUSE_LONGEST, self.attempt.max(1)).min(*within);
                actions.extend(self.wait(now + pause));
            }
            _ => {
                self.judge(now, end);
                actions.extend(self.settle());
            }
        }
        actions
    }

    fn healthcheck_ended(&mut self, now: Duration, end: &StepEnd) -> Vec<CaseAction> {
        let wanted = self.wanted(end);
        let asked_for = now - self.step_began;
        if !wanted && may_change(end) && asked_for < self.plan.grace {
            let pause = pause(ASK_PAUSE_FIRST, ASK_PAUSE_LONGEST, self.attempt);
            return self.wait(now + pause.min(self.plan.grace - asked_for));
        }
        if self.step == Step::During {
            self.answered_at = Some(now);
        }
        // The last asking begins within the grace, and has its own limit; only who stands still takes longer.
        let last = self.plan.grace + self.plan.timeout + SEEN_WITHIN;
        if wanted && asked_for > last && self.step != Step::Before {
            let message = format!(
                "the healthcheck said yes only {} after it was first asked, and had {} (grace and time limit): this machine, or this process, has stood still meanwhile",
                show_duration(round(asked_for)),
                show_duration(self.plan.grace + self.plan.timeout),
            );
            self.find(Verdict::Botched, &TroubleKind::Timeout.to_string(), message);
        } else if wanted {
            let recovered = if self.attempt == 1 { Duration::ZERO } else { asked_for };
            match self.step {
                Step::During => self.recovered_after[0] = Some(recovered),
                Step::After => self.recovered_after[1] = Some(recovered),
                _ => {}
            }
        } else {
            self.judge(now, end);
        }
        match self.step {
            // Who leads may have changed while the service was waited for.
            Step::Before if wanted && self.plan.only_if && self.attempt > 1 => {
                self.is_well = true;
                self.begin(now, Step::Select)
            }
            Step::Before if wanted && self.plan.only_if => self.note_dirty(now),
            Step::Before if wanted => self.begin(now, Step::Prepare),
            Step::During => self.begin(now, Step::Revert),
            _ => self.settle(),
        }
    }

    /// Whether a healthcheck's answer is the one that its step wants.
    fn wanted(&self, end: &StepEnd) -> bool {
        match (self.step, self.plan.expect) {
            (Step::During, Expectation::Unhealthy) => says_no(end),
            _ => end.is_success(),
        }
    }

    fn revert_ended(&mut self, now: Duration, end: &StepEnd) -> Vec<CaseAction> {
        if end.is_success() {
            self.clean = true;
            self.judge_record();
            if let StepEnd::Healed(by) = end {
                self.judge_healer(*by);
            }
            let mut actions = vec![CaseAction::NoteReverted];
            if self.interrupted {
                self.note_interrupt("after the inducer; the host was reverted");
                actions.extend(self.settle());
            } else if self.heals_only {
                actions.extend(self.settle());
            } else {
                actions.extend(self.begin(now, Step::After));
            }
            return actions;
        }
        let deadline = self.dirty_since.unwrap_or_default() + self.plan.revert_within;
        let mut next = now + pause(PAUSE_FIRST, PAUSE_LONGEST, self.attempt);
        let mut last = deadline;
        if self.plan.watched {
            // The dead man's switch fires at the deadline; soon after it the host may be healed, or be reached again.
            let fired = deadline + FIRED_AFTER;
            if next > deadline && now < fired {
                next = fired;
            }
            last = fired + self.plan.timeout.max(LOOKED_AT_FOR);
        }
        if next < last {
            return self.wait(next);
        }
        let tries = if self.attempt == 1 { "once".to_owned() } else { format!("{} times", self.attempt) };
        self.find(
            Verdict::Unreverted,
            "Unreverted",
            format!(
                "the reverter did not succeed, tried {tries}: {}: the host may still be broken",
                self.tell(end)
            ),
        );
        if self.interrupted {
            self.note_interrupt("after the inducer");
        }
        self.settle()
    }

    /// A connection that was lost says nothing of the inducer; the host does.
    fn judge_record(&mut self) {
        if !self.cut_off {
            return;
        }
        match self.record {
            Induced::Begun | Induced::Ended(0) => {}
            Induced::Ended(status) => self.find(
                Verdict::Botched,
                &TroubleKind::Inducer.to_string(),
                format!("the inducer failed: {}, as the host wrote down: the connection was lost meanwhile", Exit::Status(status)),
            ),
            Induced::Unknown => self.find(
                Verdict::Botched,
                &TroubleKind::Verify.to_string(),
                "nothing was tested: the connection was lost, and the host has not written down that the inducer was begun".to_owned(),
            ),
        }
    }

    /// Whoever healed the host before the healthcheck during the failure had answered has left nothing that was tested. The
    /// host says how long before it was asked that was, and it was asked after the answer, by any clock: one that stands still while
    /// a machine sleeps is not relied on.
    fn judge_healer(&mut self, by: HealedBy) {
        let (Some(induced_at), Some(answered_at)) = (self.induced_at, self.answered_at) else { return };
        let is_later =
            |ago: Duration| self.asked_at.checked_sub(ago).is_some_and(|healed| healed >= answered_at);
        if self.heals_only || by.ago.is_some_and(is_later) {
            return;
        }
        let who = if by.switch { "its dead man's switch" } else { "somebody else" };
        let when = by.after.map_or_else(
            || "nobody knows when".to_owned(),
            |after| format!("{} after it was armed", show_duration(round(after))),
        );
        self.find(
            Verdict::Botched,
            "HealedTooEarly",
            format!("nothing was tested: the host was healed by {who}, {when}, while the healthcheck answered {} after", show_duration(round(answered_at - induced_at))),
        );
    }

    /// Where an interrupt leads to: to the end while the host is untouched, to the reverter afterwards.
    fn after_interrupt(&mut self, now: Duration) -> Vec<CaseAction> {
        if self.is_dirty() {
            return self.begin(now, Step::Revert);
        }
        let when = match self.step {
            Step::After => "in the last healthcheck; the host was reverted",
            _ => "before the inducer",
        };
        self.note_interrupt(when);
        self.settle()
    }

    fn note_interrupt(&mut self, when: &str) {
        self.find(Verdict::Skipped, "Interrupted", format!("interrupted {when}"));
    }

    fn find(&mut self, verdict: Verdict, kind: &str, message: String) {
        self.findings.push(Finding { verdict, kind: kind.to_owned(), message });
    }

    /// Makes a finding of a step that did not end as it should.
    fn judge(&mut self, now: Duration, end: &StepEnd) {
        let verb = if self.step.is_healthcheck() { "asked" } else { "tried" };
        let asked = match self.attempt {
            0 | 1 => String::new(),
            times => format!(", {verb} {times} times in {}", show_duration(round(now - self.step_began))),
        };
        if self.step.is_healthcheck() && (says_no(end) || end.is_success()) {
            let told = self.tell(end);
            let (verdict, kind, message) = match self.step {
                Step::Before => (
                    Verdict::Unfit,
                    "UnhealthyBefore",
                    format!("the healthcheck said no before anything was broken ({told}{asked})"),
                ),
                Step::During if self.plan.expect == Expectation::Unhealthy => (
                    Verdict::Succumbed,
                    "HealthyDuring",
                    format!("the healthcheck said yes during the failure, and was to say no ({told}{asked})"),
                ),
                Step::During => (
                    Verdict::Succumbed,
                    "UnhealthyDuring",
                    format!("the healthcheck said no during the failure ({told}{asked})"),
                ),
                _ => (
                    Verdict::NotRecovered,
                    "UnhealthyAfter",
                    format!("the healthcheck said no after the revert ({told}{asked})"),
                ),
            };
            return self.find(verdict, kind, message);
        }
        let kind = match end {
            StepEnd::TimedOut => TroubleKind::Timeout,
            StepEnd::Failed(trouble) => trouble.kind,
            StepEnd::Busy { .. } => TroubleKind::HostBusy,
            StepEnd::Declined(_) => TroubleKind::Select,
            _ => match self.step {
                Step::Induce => TroubleKind::Inducer,
                Step::Select => TroubleKind::Select,
                Step::Verify => TroubleKind::Verify,
                Step::Prepare => TroubleKind::Upload,
                _ => TroubleKind::Healthcheck,
            },
        };
        let told = self.tell(end);
        let message = match (self.step, end) {
            (_, StepEnd::Declined(status)) => {
                let told = Exit::Status(*status);
                format!(
                    "nothing was broken: only_if, asked once more just before the inducer, gave no answer: {told} (0 is yes, 1 is no)"
                )
            }
            (_, StepEnd::Busy { message, .. }) => format!("nothing was broken: {message}"),
            (Step::Select, StepEnd::Exited(_)) => {
                format!(
                    "only_if gave no answer, so nobody knows whether the failure is one for this host: {told} (0 is yes, 1 is no)"
                )
            }
            (Step::Verify, end) if says_no(end) => {
                format!("the failure did not take hold: verify ended with {told}")
            }
            (Step::Verify, StepEnd::Exited(_)) => {
                format!("nobody knows whether the failure took hold: verify gave no answer ({told})")
            }
            (step, StepEnd::Exited(Exit::Status(126 | 127))) if step.is_healthcheck() => {
                format!("the {step} gave no answer: its program could not be run ({told}{asked})")
            }
            (step, StepEnd::Exited(_)) if step.is_healthcheck() => {
                format!("the {step} gave no answer: {told}{asked}")
            }
            (step, StepEnd::Exited(_)) => format!("the {step} failed: {told}"),
            (Step::Induce, StepEnd::Failed(trouble))
                if trouble.kind == TroubleKind::Connection && !self.plan.cuts_off =>
            {
                format!(
                    "inducer: {told}. If it is meant to cut the host off, the book says so: `cuts_off: true`"
                )
            }
            (step, _) => format!("{step}: {told}{asked}"),
        };
        self.find(Verdict::Botched, &kind.to_string(), message);
    }

    fn tell(&self, end: &StepEnd) -> String {
        match end {
            StepEnd::TimedOut => {
                format!("took longer than its time limit of {}", show_duration(self.plan.timeout))
            }
            StepEnd::Exited(exit) => exit.to_string(),
            StepEnd::Failed(Trouble { message, .. }) => message.clone(),
            _ => end.to_string(),
        }
    }
}

/// The one status by which `only_if` says no. A script with a mistake in it ends with 2, and one that died with more: from
/// these a case must not be taken for none of this host's.
const NO: i32 = 1;
/// By this status and those above it a shell says that a program could not be run, or that a signal ended it.
const NO_ANSWER: i32 = 126;

/// A healthcheck's no: a status other than 0 that is the script's own.
fn says_no(end: &StepEnd) -> bool {
    matches!(end, StepEnd::Exited(Exit::Status(status)) if (1..NO_ANSWER).contains(status))
}

/// Whether asking the healthcheck again may bring another answer.
fn may_change(end: &StepEnd) -> bool {
    matches!(end, StepEnd::TimedOut | StepEnd::Exited(Exit::Status(_) | Exit::Signal(_)))
        && !matches!(end, StepEnd::Exited(Exit::Status(126 | 127)))
}

/// The pause after the given attempt: each twice as long as the one before.
fn pause(first: Duration, longest: Duration, attempt: u32) -> Duration {
    (first * 2u32.pow(attempt.saturating_sub(1).min(10))).min(longest)
}

fn round(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "case_tests.rs"]
mod tests;
