//! A case of several hosts: what heals is left on all of them before the first one is broken, and where that cannot be, those that
//! were armed are reverted. What each host's end says of the whole. Pure.

use super::*;

/// How a step ended on each host of a case that has several, by their names.
pub type HostEnds = Vec<(String, StepEnd)>;

/// Why the hosts of a case were not all armed.
#[derive(Clone, Debug)]
pub(super) struct NotArmed {
    end: StepEnd,
    ends: HostEnds,
}

impl CaseMachine {
    pub(super) fn arming_ended(&mut self, now: Duration, end: StepEnd) -> CaseTurn {
        if end.is_success() && !self.interrupted {
            return self.begin(now, Step::Induce);
        }
        self.not_armed = Some(NotArmed { end, ends: std::mem::take(&mut self.hosts_ended) });
        self.begin(now, Step::Revert)
    }

    /// Nothing was broken, and what had been armed is reverted.
    pub(super) fn disarmed(&mut self, now: Duration, not_armed: NotArmed) -> CaseTurn {
        self.clean = true;
        self.dirty_since = None;
        self.induced_at = None;
        if let StepEnd::Declined(_) | StepEnd::Busy { .. } = not_armed.end {
            self.step = Step::Arm;
            return self.later(now, &not_armed.end).reverted();
        }
        self.judge_arming(now, not_armed);
        if self.interrupted {
            self.note_interrupt("before the inducer");
        }
        self.settle().reverted()
    }

    /// Makes findings of why the hosts were not all armed, if it was not by an interrupt.
    pub(super) fn judge_arming(&mut self, now: Duration, not_armed: NotArmed) {
        if not_armed.end.is_success() || not_armed.end == StepEnd::Interrupted {
            return;
        }
        (self.step, self.attempt, self.hosts_ended) = (Step::Arm, 1, not_armed.ends);
        self.judge(now, &not_armed.end);
    }
}

/// What the ends of a step on several hosts come to: the one that is the hardest to get over.
pub fn worst_end(ends: &[(String, StepEnd)]) -> StepEnd {
    let worst = ends.iter().max_by_key(|(_, end)| rank(end));
    worst.map_or(StepEnd::Exited(Exit::Status(0)), |(_, end)| end.clone())
}

fn rank(end: &StepEnd) -> u32 {
    match end {
        end if end.is_success() => 0,
        StepEnd::Interrupted => 1,
        StepEnd::Failed(trouble) if trouble.kind.may_pass() => 2,
        StepEnd::Busy { within, .. } if !within.is_zero() => 3,
        StepEnd::Declined(NO) | StepEnd::Exited(Exit::Status(NO)) => 4,
        StepEnd::Exited(_) | StepEnd::Healed(_) | StepEnd::TimedOut | StepEnd::Unseen => 5,
        StepEnd::Failed(_) | StepEnd::Busy { .. } | StepEnd::Declined(_) => 6,
    }
}

/// What several hosts have told comes to: all of their inducers have to have come to their ends, the last one when it counts.
pub fn worst_record(records: impl IntoIterator<Item = HostRecord>) -> Option<HostRecord> {
    let doubt = |record: &HostRecord| match record.induced {
        Induced::Rebooted => 0,
        Induced::Ended(0) => 1,
        Induced::Begun => 2,
        Induced::Unknown => 3,
        Induced::Ended(_) => 4,
    };
    let records: Vec<HostRecord> = records.into_iter().collect();
    let induced = records.iter().max_by_key(|record| doubt(record))?.induced;
    let ended_at = records.iter().filter_map(|record| record.ended_at).max();
    let any = |is: fn(&HostRecord) -> bool| records.iter().any(is);
    Some(HostRecord {
        induced,
        ended_at,
        ended_sometime: any(|record| record.ended_sometime),
        rebooted: any(|record| record.rebooted),
        held_up: any(|record| record.held_up),
    })
}
