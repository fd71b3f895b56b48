//! The end of a try at the reverter: whether the host is healed, when it is tried again, and when that is given up.

use super::findings::of_host;
use super::*;

impl CaseMachine {
    pub(super) fn revert_ended(&mut self, now: Duration, end: &StepEnd) -> CaseTurn {
        self.judge_healers(end);
        if end.is_success() {
            if let Some(not_armed) = self.not_armed.take() {
                return self.disarmed(now, not_armed);
            }
            self.clean = true;
            self.judge_record();
            let turn = if self.interrupted {
                self.note_interrupt(&format!("after the inducer; {}", self.were_reverted()));
                self.settle()
            } else if self.heals_only {
                self.settle()
            } else {
                self.begin(now, Step::After)
            };
            return turn.reverted();
        }
        let deadline = self.dirty_since.unwrap_or_default() + self.plan.revert_within;
        let mut next = now + pause(PAUSE_FIRST, PAUSE_LONGEST, self.attempt);
        let mut last = deadline;
        if self.plan.has_switch {
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
        let unhealed = std::mem::take(&mut self.hosts_ended);
        let attempt = self.attempt;
        if let Some(not_armed) = self.not_armed.take() {
            self.judge_arming(now, not_armed);
        }
        (self.step, self.attempt) = (Step::Revert, attempt);
        for (host, end) in unhealed.iter().filter(|(_, end)| !end.is_success()) {
            self.find_unreverted(Some(host), end);
        }
        if unhealed.is_empty() {
            self.find_unreverted(None, end);
        }
        if self.interrupted {
            self.note_interrupt("after the inducer");
        }
        self.settle()
    }

    /// One host of several may have been healed by others in an earlier try.
    fn judge_healers(&mut self, end: &StepEnd) {
        let ends = match self.hosts_ended.as_slice() {
            [] => vec![(String::new(), end.clone())],
            ends => ends.to_vec(),
        };
        for (host, end) in ends {
            if let StepEnd::Healed(by) = end {
                self.judge_healer(Some(host.as_str()).filter(|host| !host.is_empty()), by);
            }
        }
    }

    fn find_unreverted(&mut self, host: Option<&str>, end: &StepEnd) {
        let tries = if self.attempt == 1 { "once".to_owned() } else { format!("{} times", self.attempt) };
        self.find(
            Verdict::Unreverted,
            "Unreverted",
            of_host(
                host,
                format!(
                    "the reverter did not succeed, tried {tries}: {}: the host may still be broken",
                    self.tell(end)
                ),
            ),
        );
    }
}
