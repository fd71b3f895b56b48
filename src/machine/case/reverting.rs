//! The end of a try at the reverter: whether the host is healed, when it is tried again, and when that is given up.

use super::*;

impl CaseMachine {
    pub(super) fn revert_ended(&mut self, now: Duration, end: &StepEnd) -> CaseTurn {
        if end.is_success() {
            self.clean = true;
            self.judge_record();
            if let StepEnd::Healed(by) = end {
                self.judge_healer(*by);
            }
            let turn = if self.interrupted {
                self.note_interrupt("after the inducer; the host was reverted");
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
}
