//! Asking the service: when it is asked again, how long it has, and what its last answer leads to.

use super::*;

impl CaseMachine {
    pub(super) fn healthcheck_ended(&mut self, now: Duration, end: &StepEnd) -> CaseTurn {
        if self.step == Step::During
            && let Some(next) = self.note_answer(now, end)
            && self.plan.hold.is_some()
        {
            return match next {
                WatchNext::Ask(at) => self.wait(at),
                WatchNext::Over => self.watch_over(now),
            };
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
            if may_change(end) && asked_for < self.patience() && self.plan.watch_of(self.step).is_none() {
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
        if *end == StepEnd::Interrupted || says_no(end) && self.interrupted {
            self.asks_stop = false;
            return self.after_interrupt(now);
        }
        if says_no(end) {
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
                let is_of_interest =
                    is_wanted && self.findings.is_empty() || self.plan.expect == Expectation::Unhealthy;
                let asks_still = self.plan.still && is_of_interest;
                self.begin(now, if asks_still { Step::Still } else { Step::Revert })
            }
            _ => self.settle(),
        }
    }

    /// Takes in an answer of the healthcheck while the failure is in force, if it is one.
    pub(super) fn note_answer(&mut self, now: Duration, end: &StepEnd) -> Option<WatchNext> {
        let wanted = self.wanted(end);
        if !wanted && !may_change(end) {
            return None;
        }
        // Where it is to be unhealthy, only the healthcheck's own no says so, and only its yes the contrary.
        let is_answer = end.is_success() || says_no(end) || *end == StepEnd::Unseen;
        if self.plan.expect == Expectation::Unhealthy && self.plan.hold.is_some() && !is_answer {
            return None;
        }
        let answer = match end {
            _ if wanted => Answer::Up,
            StepEnd::Unseen => Answer::Unseen,
            StepEnd::TimedOut => Answer::Silence,
            _ => Answer::Down,
        };
        if matches!(answer, Answer::Down | Answer::Silence) {
            self.last_down = Some(match end {
                StepEnd::TimedOut => format!("no answer within {}", show_duration(self.limit())),
                end => self.tell(end),
            });
        }
        Some(self.watch.as_mut()?.answered(self.asked_at, now, answer))
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

    /// The time limit of the present step.
    pub(super) fn limit(&self) -> Duration {
        match (self.plan.watch_of(self.step), self.step, self.plan.max_recovery) {
            (Some(watch), ..) => watch.answer_within,
            // Who is waited for longer than it may take to recover has not recovered.
            (None, Step::After, Some(allowed)) if self.well_since.is_none() => {
                let left = (self.step_began + allowed).saturating_sub(self.asked_at);
                self.plan.timeout.min(left.max(AT_ONCE))
            }
            _ => self.plan.timeout,
        }
    }

    /// Whether a healthcheck's answer is the one that its step wants.
    pub(super) fn wanted(&self, end: &StepEnd) -> bool {
        match (self.step, self.plan.expect) {
            (Step::During, Expectation::Unhealthy) => says_no(end),
            _ => end.is_success(),
        }
    }
}
