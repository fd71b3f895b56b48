//! An inducer that was not begun: somebody else has the host, the failure is none for it any more, or what heals could not be left
//! there. Decides whether the case begins again, waits, or is over. Pure.

use super::*;

/// How often a case begins again whose `only_if` says no just before the inducer.
const DECLINED_MAX: u32 = 3;
/// How often one of several hosts is found taken when all of them are armed: its own look had found it free.
const TAKEN_MAX: u32 = 20;
/// Between two looks at whether a host is free again.
const BUSY_PAUSE_LONGEST: Duration = Duration::from_secs(1);

impl CaseMachine {
    /// The inducer was not begun, so there is nothing to heal, and nobody is told of a host that may be broken.
    pub(super) fn not_begun(&mut self, now: Duration, end: &StepEnd) -> CaseTurn {
        self.judge(now, end);
        if self.interrupted {
            self.note_interrupt("before the inducer");
        }
        self.clean = true;
        self.settle().reverted()
    }

    /// The inducer was not begun, but may be later: somebody else has the host, or the failure is none for it any more. Nothing
    /// is broken.
    pub(super) fn not_now(&mut self, now: Duration, end: &StepEnd) -> CaseTurn {
        let was_dirty = self.is_dirty();
        if was_dirty {
            self.clean = true;
            self.dirty_since = None;
            self.induced_at = None;
        }
        let turn = self.later(now, end);
        if was_dirty { turn.reverted() } else { turn }
    }

    /// Whether the case begins again, waits, or is over. What had been armed is reverted.
    pub(super) fn later(&mut self, now: Duration, end: &StepEnd) -> CaseTurn {
        if self.interrupted {
            self.note_interrupt("before the inducer");
            return self.settle();
        }
        match end {
            StepEnd::Declined(NO) if self.declined < DECLINED_MAX => {
                self.declined += 1;
                self.is_well = false;
                self.begin(now, Step::Select)
            }
            StepEnd::Declined(NO) => {
                let message =
                    "not for this host as it is now: only_if kept saying no just before the inducer";
                self.find(Verdict::Skipped, NOT_FOR_THIS_HOST, message.to_owned());
                self.settle()
            }
            StepEnd::Busy { within, .. } if !within.is_zero() && self.taken < TAKEN_MAX => {
                self.taken += u32::from(self.step == Step::Arm);
                // It is looked at anew before it is asked for again.
                if self.step != Step::Prepare {
                    (self.step, self.step_began, self.attempt) = (Step::Prepare, now, 0);
                }
                self.is_stale = true;
                self.is_well = false;
                let pause = pause(PAUSE_FIRST, BUSY_PAUSE_LONGEST, self.attempt.max(1)).min(*within);
                // Two cases that each have a host of the other's must not come again at the same time.
                let chance = Duration::from_millis(u64::from(now.subsec_micros() % 1000));
                self.wait(now + pause + chance * self.taken.min(5))
            }
            _ => {
                self.judge(now, end);
                self.settle()
            }
        }
    }
}
