//! What a workload says of a service while a case goes on: how many writes were accepted, refused, and lost, in which phase, and for
//! how long none was accepted. Counts lines; decides nothing of processes. Pure.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// More lost ids than anybody looks at one by one: from there on one that is told twice counts twice.
const LOST_KNOWN_MAX: usize = 100_000;
/// How many of the lost ids are shown.
const LOST_SHOWN: usize = 3;
const ID_CHARS_MAX: usize = 80;

/// What is allowed of a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadPlan {
    /// How many writes that were accepted may be gone at the end.
    pub max_lost: u64,
    /// The longest time without an accepted write from the failure on, if it is limited.
    pub max_stall: Option<Duration>,
}

/// Where the case is, as its workload is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing is broken yet.
    Before,
    /// From when the inducer is handed out.
    Failing,
    /// The host is healed.
    Reverted,
}

impl Phase {
    /// The line by which a workload is told.
    pub fn line(self) -> &'static str {
        match self {
            Self::Before => "before\n",
            Self::Failing => "failing\n",
            Self::Reverted => "reverted\n",
        }
    }
}

/// The writes of one phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writes {
    /// How many were accepted.
    pub accepted: u64,
    /// How many were not.
    pub refused: u64,
}

/// What a workload has said in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadSeen {
    /// Before, during and after the failure.
    pub writes: [Writes; 3],
    /// How many accepted writes it has not found again.
    pub lost: u64,
    /// The first of them.
    pub lost_ids: Vec<String>,
    /// The longest time without an accepted write, from the failure on.
    pub stall: Duration,
    /// How long after the failure began that was.
    pub stall_began: Duration,
    /// It ended before it was told to.
    pub ended_early: bool,
}

impl WorkloadSeen {
    /// How many writes were accepted in all.
    pub fn accepted(&self) -> u64 {
        self.writes.iter().map(|writes| writes.accepted).sum()
    }

    /// How many were refused in all.
    pub fn refused(&self) -> u64 {
        self.writes.iter().map(|writes| writes.refused).sum()
    }

    /// How many were answered in one way or the other while the failure was in force.
    pub fn tried_failing(&self) -> u64 {
        self.writes[Phase::Failing as usize].accepted + self.writes[Phase::Failing as usize].refused
    }
}

/// Counts what a workload says. Times are those of the case.
#[derive(Clone, Debug)]
pub struct WorkloadCounter {
    phase: Phase,
    seen: WorkloadSeen,
    /// When the failure began.
    failing_since: Option<Duration>,
    /// When the last write was accepted, from the failure on.
    accepted_at: Duration,
    lost: HashSet<String>,
}

impl Default for WorkloadCounter {
    fn default() -> Self {
        Self {
            phase: Phase::Before,
            seen: WorkloadSeen::default(),
            failing_since: None,
            accepted_at: Duration::ZERO,
            lost: HashSet::new(),
        }
    }
}

impl WorkloadCounter {
    /// The phase that the case is in.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The case is in this phase from now on.
    pub fn enter(&mut self, phase: Phase, now: Duration) {
        self.phase = phase;
        match (phase, self.failing_since) {
            (Phase::Failing, None) => (self.failing_since, self.accepted_at) = (Some(now), now),
            // Nothing was broken after all.
            (Phase::Before, _) => {
                self.failing_since = None;
                self.seen.stall = Duration::ZERO;
            }
            _ => {}
        }
    }

    /// Takes in a line: `ok ID`, `err ID` or `lost ID`. Whether it was one of these; anything else is output like any other.
    pub fn line(&mut self, line: &str, now: Duration) -> bool {
        let Some((word, id)) = line.trim_end().split_once(' ') else { return false };
        let id = id.trim();
        if id.is_empty() {
            return false;
        }
        let writes = &mut self.seen.writes[self.phase as usize];
        match word {
            "ok" => {
                writes.accepted += 1;
                self.stalled_until(now);
                self.accepted_at = now;
            }
            "err" => writes.refused += 1,
            "lost" => {
                let id: String = id.chars().take(ID_CHARS_MAX).collect();
                let is_new = self.lost.len() >= LOST_KNOWN_MAX || self.lost.insert(id.clone());
                self.seen.lost += u64::from(is_new);
                if is_new && self.seen.lost_ids.len() < LOST_SHOWN {
                    self.seen.lost_ids.push(id);
                }
            }
            _ => return false,
        }
        true
    }

    /// No more writes are wanted: what it says from now on is what became of them.
    pub fn finish(&mut self, now: Duration) {
        self.stalled_until(now);
        self.failing_since = None;
    }

    /// What it has said up to now.
    pub fn seen(&self) -> &WorkloadSeen {
        &self.seen
    }

    fn stalled_until(&mut self, now: Duration) {
        let Some(since) = self.failing_since else { return };
        let stall = now.saturating_sub(self.accepted_at);
        if stall > self.seen.stall {
            self.seen.stall = stall;
            self.seen.stall_began = self.accepted_at.saturating_sub(since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said at these milliseconds; a word alone is a phase, `.` the end of its input.
    fn count(said: &[(u64, &str)]) -> WorkloadSeen {
        let mut counter = WorkloadCounter::default();
        for (at, line) in said {
            let now = Duration::from_millis(*at);
            match *line {
                "before" => counter.enter(Phase::Before, now),
                "failing" => counter.enter(Phase::Failing, now),
                "reverted" => counter.enter(Phase::Reverted, now),
                "." => counter.finish(now),
                line => {
                    counter.line(line, now);
                }
            }
        }
        counter.seen
    }

    fn writes(accepted: u64, refused: u64) -> Writes {
        Writes { accepted, refused }
    }

    #[test]
    fn each_phase_is_counted_for_itself() {
        let seen = count(&[
            (0, "ok 1"),
            (10, "failing"),
            (20, "err 2"),
            (30, "ok 3"),
            (40, "err 4 connection refused"),
            (50, "reverted"),
            (60, "ok 5"),
            (70, "."),
            (80, "lost 3"),
            (80, "lost 3"),
            (90, "lost 1"),
        ]);
        assert_eq!(seen.writes, [writes(1, 0), writes(1, 2), writes(1, 0)]);
        assert_eq!((seen.lost, seen.lost_ids), (2, vec!["3".to_owned(), "1".to_owned()]));
    }

    #[test]
    fn a_stall_begins_with_the_failure_and_ends_with_an_accepted_write() {
        let check = |said: &[(u64, &str)], stall: u64, began: u64| {
            let seen = count(said);
            let got = (seen.stall.as_millis(), seen.stall_began.as_millis());
            assert_eq!(got, (u128::from(stall), u128::from(began)), "{said:?}");
        };
        check(&[(0, "ok 1"), (500, "ok 2"), (510, "."), (900, "lost 9")], 0, 0);
        check(&[(0, "ok 1"), (100, "failing"), (700, "ok 2"), (800, ".")], 600, 0);
        check(&[(100, "failing"), (200, "ok 1"), (300, "reverted"), (900, "ok 2"), (1000, ".")], 700, 100);
        check(&[(100, "failing"), (200, "ok 1"), (250, "err 2"), (900, ".")], 700, 100);
        // What was not broken after all.
        check(&[(100, "failing"), (900, "before"), (950, "ok 1"), (1000, "failing"), (1100, ".")], 100, 0);
    }

    #[test]
    fn other_lines_are_output() {
        let mut counter = WorkloadCounter::default();
        for line in ["", "ok", "ok ", "okay 1", " ok 1", "OK 1", "lost", "connected to a"] {
            assert!(!counter.line(line, Duration::ZERO), "{line}");
        }
        assert_eq!(*counter.seen(), WorkloadSeen::default());
        assert!(counter.line("ok a b\r", Duration::ZERO));
    }
}
