//! Asking the service: when it is asked again, how long it has, and what its last answer leads to.

use super::*;

impl CaseMachine {
    pub(super) fn healthcheck_ended(&mut self, now: Duration, end: &StepEnd) -> CaseTurn {
        if self.step == Step::During
            && let Some(next) = self.note_answer(now, end)
            && self.plan.hold.is_some()
        {
            return self.watch_goes_on(now, next);
        }
        if let (Step::After, Some(steady), StepEnd::Unseen) = (self.step, self.plan.steady, end) {
            let gap = now.saturating_sub(self.last_answer);
            if gap > steady.longest_gap() {
                self.judge_gap(gap);
                return self.answered(now, false);
            }
            return self.wait(now);
        }
        let asked_for = now - self.step_began;
        let gap = self.asked_at.saturating_sub(std::mem::replace(&mut self.last_answer, now));
        if let (Step::After, Some(steady), Some(_)) = (self.step, self.plan.steady, self.well_since)
            && gap > steady.longest_gap()
        {
            self.judge_gap(gap);
            return self.answered(now, true);
        }
        if !self.wanted(end) {
            self.well_since = None;
            if end.may_change() && asked_for < self.patience() && self.plan.watch_of(self.step).is_none() {
                let pause = pause(ASK_PAUSE_FIRST, ASK_PAUSE_LONGEST, self.attempt);
                return self.wait(now + pause.min(self.patience() - asked_for));
            }
            if self.step == Step::During && self.plan.hold.is_some() {
                // What was seen before that is not forgotten.
                self.judge_watch();
            }
            self.judge(now, end);
            return self.answered(now, false);
        }
        // The last asking begins within the grace, and has its own limit; only who stands still takes longer.
        let is_first = self.well_since.is_none();
        // A service that is frozen answers late, and was not well before.
        let from = if now - self.asked_at > AT_ONCE { now } else { self.asked_at };
        let since = *self.well_since.get_or_insert(from);
        if let (true, Step::After, Some(allowed)) = (is_first, self.step, self.plan.max_recovery)
            && since - self.step_began > allowed
        {
            self.recovered_after[1] = Some(since - self.step_began);
            self.judge_recovery(since - self.step_began, allowed);
            return self.answered(now, true);
        }
        if is_first
            && self.step != Step::Before
            && asked_for > self.patience() + self.plan.timeout + SEEN_WITHIN
        {
            self.judge_late(asked_for);
            return self.answered(now, true);
        }
        if let (Step::After, Some(steady)) = (self.step, self.plan.steady)
            && self.asked_at.saturating_sub(since) < steady.time
        {
            return self.wait((self.asked_at + steady.every).max(now).min(since + steady.time));
        }
        match self.step {
            Step::During => self.recovered_after[0] = Some(since - self.step_began),
            Step::After => self.recovered_after[1] = Some(since - self.step_began),
            _ => {}
        }
        self.answered(now, true)
    }

    /// Whether the case goes on: a stop that cannot be asked for stops, too.
    pub(super) fn stop_if_ended(&mut self, now: Duration, end: &StepEnd) -> CaseTurn {
        if *end == StepEnd::Interrupted || end.is_no() && self.interrupted {
            self.asks_stop = false;
            return self.after_interrupt(now);
        }
        if end.is_no() {
            return self.again(now);
        }
        self.asks_stop = false;
        self.answered_at = Some(now);
        self.judge_stop(end);
        if self.interrupted {
            return self.after_interrupt(now);
        }
        self.begin(now, Step::Revert)
    }

    /// Goes on after the last answer of a healthcheck.
    pub(super) fn answered(&mut self, now: Duration, is_wanted: bool) -> CaseTurn {
        match self.step {
            // Who leads may have changed while the service was waited for.
            Step::Before if is_wanted && self.plan.only_if && self.attempt > 1 => {
                self.is_well = true;
                self.begin(now, Step::Select)
            }
            Step::Before if is_wanted && self.plan.only_if => self.note_dirty(now),
            Step::Before if is_wanted => self.begin(now, Step::Prepare),
            Step::During => {
                self.answered_at = Some(now);
                // A service is not kept waiting for that; but where it is to be unhealthy, that it is not may be the failure's end.
                let is_of_interest = is_wanted && self.findings.is_empty() || self.expects_unhealthy();
                let asks_still = self.plan.still && is_of_interest;
                self.begin(now, if asks_still { Step::Still } else { Step::Revert })
            }
            Step::After if is_wanted && self.has_another_cycle() => self.begin_next_cycle(now),
            Step::After if self.plan.workload.is_some() => self.begin(now, Step::Workload),
            _ => self.settle(),
        }
    }

    /// Takes in an answer of the healthcheck while the failure is in force, if it is one.
    pub(super) fn note_answer(&mut self, now: Duration, end: &StepEnd) -> Option<WatchNext> {
        let answer = Answer::of(end, self.expect(), self.plan.hold.is_some())?;
        if matches!(answer, Answer::Down | Answer::Silence) {
            self.last_down = Some(end.clone());
        }
        Some(self.watch.as_mut()?.answered(self.asked_at, now, answer))
    }

    /// The hold is over once every question was asked to its end, or as soon as one of them has decided.
    fn watch_goes_on(&mut self, now: Duration, next: WatchNext) -> CaseTurn {
        let has_decided = self.checks.iter().any(CheckWatch::ends_hold);
        let is_over = self.checks.iter().all(CheckWatch::is_over);
        let ends_hold = self.watch.as_ref().is_some_and(Watch::ends_hold);
        match next {
            WatchNext::Ask(at) if !has_decided => self.wait(at),
            WatchNext::Over if !(has_decided || is_over || ends_hold) => {
                let every = self.plan.hold.as_ref().map_or(AT_ONCE, |hold| hold.every);
                self.wait(now + every)
            }
            _ => self.watch_over(now),
        }
    }

    /// The end of a round of questions: the healthcheck's if it is not the one that is wanted, else that of the first check of which
    /// that is so.
    pub(super) fn of_round(&mut self, end: StepEnd) -> StepEnd {
        let said = std::mem::take(&mut self.checks_said);
        self.culprit = None;
        if !self.step.is_healthcheck() || self.asks_stop || !self.wanted(&end) {
            return end;
        }
        for (index, end) in said.into_iter().enumerate() {
            self.culprit = Some(index);
            if !self.wanted(&end) {
                return end;
            }
        }
        self.culprit = None;
        end
    }

    /// What is expected of the one whose answer counts.
    pub(super) fn expect(&self) -> Expectation {
        let check = self.culprit.and_then(|index| self.plan.checks.get(index));
        check.map_or(self.plan.expect, |check| check.expect)
    }

    /// The failure was in force as long as it was to be, or the verdict is certain.
    pub(super) fn watch_over(&mut self, now: Duration) -> CaseTurn {
        self.judge_watch();
        let is_fine = self.findings.is_empty();
        if let Some(watch) = &self.watch {
            let last = watch.seen().outages().pop();
            self.recovered_after[0] = match last {
                None => Some(Duration::ZERO),
                Some(outage) => outage.has_ended.then(|| outage.began + outage.lasted),
            };
        }
        self.answered(now, is_fine)
    }

    /// How long a healthcheck that does not give the answer that is wanted is asked again.
    pub(super) fn patience(&self) -> Duration {
        match self.step {
            Step::After => self.plan.max_recovery.unwrap_or(self.plan.grace),
            _ => self.plan.grace,
        }
    }

    /// Whether anything is to be unhealthy during the failure.
    fn expects_unhealthy(&self) -> bool {
        let checks = self.plan.checks.iter().map(|check| check.expect);
        checks.chain([self.plan.expect]).any(|expect| expect == Expectation::Unhealthy)
    }

    /// The time limit of the present step.
    pub(super) fn limit(&self) -> Duration {
        match (self.plan.watch_of(self.step), self.step, self.plan.max_recovery) {
            (Some(watch), ..) => watch.answer_within,
            // Who is waited for longer than it may take to recover has not recovered.
            (None, Step::After, Some(allowed)) if self.well_since.is_none() => {
                let left = (self.step_began + allowed).saturating_sub(self.asked_at);
                self.plan.timeout.min(left.max(AT_ONCE))
            }
            // Who freezes for longer while it is watched has not stayed healthy.
            (None, Step::After, _) if self.well_since.is_some() => {
                let within = self.plan.hold.as_ref().map(|hold| hold.answer_within);
                let steady = self.plan.steady.as_ref().map(|steady| steady.every.max(ANSWER_WITHIN));
                self.plan.timeout.min(within.or(steady).unwrap_or(self.plan.timeout))
            }
            _ => self.plan.timeout,
        }
    }

    /// Whether a healthcheck's answer is the one that its step wants.
    pub(super) fn wanted(&self, end: &StepEnd) -> bool {
        match (self.step, self.expect()) {
            (Step::During, Expectation::Unhealthy) => end.is_no(),
            _ => end.is_success(),
        }
    }
}
