//! A case that breaks its host more than once: what begins anew with each cycle, and what is reported of those that are over. Pure.

use super::*;

impl CaseMachine {
    /// Which cycle it is, from 1.
    #[cfg(test)]
    pub(super) fn cycle(&self) -> u32 {
        self.cycle
    }

    /// Whether the host is to be broken once more. What was not survived once is not tried again.
    pub(super) fn has_another_cycle(&self) -> bool {
        self.cycle < self.plan.cycles && self.findings.is_empty()
    }

    /// The host is healed, and is to be broken once more: as in a new case, but that it is known to be well.
    pub(super) fn begin_next_cycle(&mut self, now: Duration) -> CaseTurn {
        let checks_watched =
            self.checks_watched().map(|(name, seen)| (name.to_owned(), seen.clone())).collect();
        let (watched, recovered_after) = (self.watched().cloned().map(Box::new), self.recovered_after[1]);
        let mut former = std::mem::take(&mut self.former);
        former.push(CycleReport { watched, checks_watched, recovered_after });
        let workload = self.workload.take();
        *self = Self { cycle: self.cycle + 1, workload, former, ..Self::new(self.plan.clone()) };
        self.begin(now, Step::Prepare)
    }

    /// What was found, with the cycle in which it was.
    pub(super) fn in_cycle(&self, message: String) -> String {
        match self.plan.cycles {
            0 | 1 => message,
            all => format!("cycle {} of {all}: {message}", self.cycle),
        }
    }
}
