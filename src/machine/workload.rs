//! What a workload says of a service while a case goes on: how many writes were accepted, refused, and lost, in which phase, and for
//! how long none was accepted. Counts lines; decides nothing of processes. Pure.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::names::digits_of;

/// More lost ids than anybody looks at one by one: from there on one that is told twice counts twice.
const LOST_KNOWN_MAX: usize = 100_000;
/// How many of the lost ids are shown.
const LOST_SHOWN: usize = 3;
const ID_CHARS_MAX: usize = 80;
/// Parts of a service that are told apart.
pub(super) const PARTS_MAX: usize = 10_000;

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
    /// The longest time without an accepted write, from the failure on; where ids name a part of the service, to one of the parts.
    pub stall: Duration,
    /// How long after the failure began that was.
    pub stall_began: Duration,
    /// The longest of each part: what stands before the first `/` of an id.
    #[serde(default)]
    pub stall_of_parts: BTreeMap<String, Duration>,
    /// How many were answered in one way or the other while the failure was in force: the inducer had ended, and the reverter not begun.
    #[serde(default)]
    pub answered_in_force: u64,
    /// In one of the failures none was.
    #[serde(default)]
    pub has_silent_failure: bool,
    /// Its ids named more parts than are told apart.
    #[serde(default)]
    pub too_many_parts: bool,
    /// It ended before it was told to.
    pub ended_early: bool,
}

impl WorkloadSeen {
    /// The part whose writes were not accepted for longest, if ids name any.
    pub fn stalled_part(&self) -> Option<&str> {
        self.stall_of_parts.iter().find(|(_, stall)| **stall == self.stall).map(|(part, _)| part.as_str())
    }

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
    /// The inducer has ended, and the reverter has not begun.
    is_in_force: bool,
    /// When the failure began.
    failing_since: Option<Duration>,
    /// When the last write was accepted, from the failure on, by the part that it was for; empty if ids name none.
    accepted_at: BTreeMap<String, Duration>,
    lost: HashSet<String>,
    /// What was known when the present failure began.
    untried: Option<Untried>,
    /// How many were answered in force in the failures before this one.
    answered_before: u64,
}

/// What was known when a failure began, for it may turn out that nothing was broken.
#[derive(Clone, Debug)]
struct Untried {
    seen: WorkloadSeen,
    /// When the failure before it had begun.
    failing_since: Option<Duration>,
    accepted_at: BTreeMap<String, Duration>,
    /// When it began.
    at: Duration,
    answered_before: u64,
}

impl Default for WorkloadCounter {
    fn default() -> Self {
        Self {
            phase: Phase::Before,
            is_in_force: false,
            seen: WorkloadSeen::default(),
            failing_since: None,
            accepted_at: BTreeMap::new(),
            lost: HashSet::new(),
            untried: None,
            answered_before: 0,
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
        let former = std::mem::replace(&mut self.phase, phase);
        match (former, phase) {
            (Phase::Before | Phase::Reverted, Phase::Failing) => {
                let (failing_since, accepted_at) = (self.failing_since, self.accepted_at.clone());
                self.untried = Some(Untried {
                    seen: self.seen.clone(),
                    failing_since,
                    accepted_at,
                    at: now,
                    answered_before: self.answered_before,
                });
                match failing_since {
                    None => {
                        self.failing_since = Some(now);
                        self.accepted_at.values_mut().for_each(|at| *at = now);
                    }
                    // What nobody accepts since the failure before this one goes on.
                    Some(_) => self.end_failure(),
                }
            }
            (Phase::Failing, Phase::Before) => self.nothing_was_broken(),
            _ => {}
        }
    }

    /// A failure is over, and another one, or the end, comes.
    fn end_failure(&mut self) {
        self.seen.has_silent_failure |= self.seen.answered_in_force == self.answered_before;
        self.answered_before = self.seen.answered_in_force;
    }

    /// What was counted of a failure that did not come was before it.
    fn nothing_was_broken(&mut self) {
        let Some(Untried { seen: untried, failing_since, accepted_at, at, answered_before }) =
            self.untried.take()
        else {
            return;
        };
        let writes = self.seen.writes[Phase::Failing as usize];
        let failing = untried.writes[Phase::Failing as usize];
        let before = &mut self.seen.writes[Phase::Before as usize];
        before.accepted += writes.accepted - failing.accepted;
        before.refused += writes.refused - failing.refused;
        self.seen.writes[Phase::Failing as usize] = failing;
        self.seen.stall = untried.stall;
        self.seen.stall_began = untried.stall_began;
        self.seen.stall_of_parts = untried.stall_of_parts;
        self.seen.has_silent_failure = untried.has_silent_failure;
        (self.failing_since, self.answered_before) = (failing_since, answered_before);
        for (part, accepted) in accepted_at {
            self.accepted_at
                .entry(part)
                .and_modify(|known| *known = if *known == at { accepted } else { *known });
        }
    }

    /// The failure is in force from now on, or not any more.
    pub fn set_in_force(&mut self, is_in_force: bool) {
        self.is_in_force = is_in_force;
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
                self.seen.answered_in_force += u64::from(self.is_in_force);
                let part = self.part_of(id);
                self.stalled_until(&part, now);
                self.accepted_at.insert(part, now);
            }
            "err" => {
                writes.refused += 1;
                self.seen.answered_in_force += u64::from(self.is_in_force);
                let part = self.part_of(id);
                // One of which nothing is ever accepted is silent from the beginning of the failure on.
                self.accepted_at.entry(part).or_insert_with(|| self.failing_since.unwrap_or(now));
            }
            "lost" => {
                // Told apart by all of it, however long it is.
                let is_new = self.lost.len() >= LOST_KNOWN_MAX || self.lost.insert(digits_of(id));
                self.seen.lost += u64::from(is_new);
                if is_new && self.seen.lost_ids.len() < LOST_SHOWN {
                    self.seen.lost_ids.push(id.chars().take(ID_CHARS_MAX).collect());
                }
            }
            _ => return false,
        }
        true
    }

    /// No more writes are wanted: what it says from now on is what became of them.
    pub fn finish(&mut self, now: Duration) {
        let parts: Vec<String> = match self.accepted_at.is_empty() {
            true => vec![String::new()],
            false => self.accepted_at.keys().cloned().collect(),
        };
        for part in parts {
            self.stalled_until(&part, now);
        }
        if self.failing_since.take().is_some() {
            self.end_failure();
        }
    }

    /// What it has said up to now.
    pub fn seen(&self) -> &WorkloadSeen {
        &self.seen
    }

    /// The part of the service that an id names.
    fn part_of(&mut self, id: &str) -> String {
        let part: String =
            id.split_once('/').map_or("", |(part, _)| part).chars().take(ID_CHARS_MAX).collect();
        let is_known = self.accepted_at.contains_key(&part);
        if is_known || self.accepted_at.len() < PARTS_MAX {
            return part;
        }
        self.seen.too_many_parts = true;
        String::new()
    }

    fn stalled_until(&mut self, part: &str, now: Duration) {
        let Some(since) = self.failing_since else { return };
        let accepted_at = self.accepted_at.get(part).copied().unwrap_or(since);
        let stall = now.saturating_sub(accepted_at);
        if stall > self.seen.stall {
            self.seen.stall = stall;
            self.seen.stall_began = accepted_at.saturating_sub(since);
        }
        if !part.is_empty() {
            let longest = self.seen.stall_of_parts.entry(part.to_owned()).or_default();
            *longest = stall.max(*longest);
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
        // What was counted for a failure that was not begun after all was before it.
        let seen =
            count(&[(0, "failing"), (10, "ok 1"), (20, "err 2"), (30, "before"), (40, "failing"), (90, ".")]);
        assert_eq!((seen.writes, seen.tried_failing()), ([writes(1, 1), writes(0, 0), writes(0, 0)], 0));
        // Long ids are told apart by their ends, too.
        let long = "x".repeat(ID_CHARS_MAX);
        let seen = count(&[
            (0, &format!("lost {long}1")),
            (0, &format!("lost {long}2")),
            (0, &format!("lost {long}2")),
        ]);
        assert_eq!((seen.lost, seen.lost_ids), (2, vec![long.clone(), long]));
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
        // Broken twice: what is silent after the first failure is so until the second one.
        let first = [(100, "failing"), (200, "reverted"), (300, "before")];
        check(
            &[&first[..], &[(400, "ok 1"), (500, "failing"), (900, "ok 2"), (950, ".")]].concat(),
            500,
            300,
        );
        check(&[&first[..], &[(900, "failing"), (950, "ok 1"), (990, ".")]].concat(), 850, 0);
        check(
            &[&first[..], &[(400, "ok 1"), (500, "failing"), (900, "before"), (990, ".")]].concat(),
            590,
            300,
        );
    }

    #[test]
    fn each_part_stalls_for_itself() {
        let check = |said: &[(u64, &str)], stall: u64, part: Option<&str>, parts: &[(&str, u64)]| {
            let seen = count(said);
            let told: Vec<(&str, u64)> = seen
                .stall_of_parts
                .iter()
                .map(|(part, stall)| (part.as_str(), stall.as_millis() as u64))
                .collect();
            assert_eq!(
                (seen.stall.as_millis() as u64, seen.stalled_part(), told.as_slice()),
                (stall, part, parts),
                "{said:?}"
            );
        };
        // What one part accepts says nothing of the other one.
        check(
            &[
                (0, "ok 0/1"),
                (0, "ok 1/1"),
                (100, "failing"),
                (200, "ok 0/2"),
                (300, "ok 0/3"),
                (900, "ok 1/2"),
                (950, "."),
            ],
            800,
            Some("1"),
            &[("0", 650), ("1", 800)],
        );
        // One that never comes back, and one of which nothing was ever accepted.
        check(
            &[(0, "ok a/1"), (100, "failing"), (150, "err b/1"), (400, "ok a/2"), (500, ".")],
            400,
            Some("b"),
            &[("a", 300), ("b", 400)],
        );
        check(
            &[(0, "ok a/1"), (0, "ok b/1"), (100, "failing"), (600, "."), (700, "ok a/2")],
            500,
            Some("a"),
            &[("a", 500), ("b", 500)],
        );
        // Ids without a part are one.
        check(&[(0, "ok 1"), (100, "failing"), (300, "ok 2"), (350, ".")], 200, None, &[]);
        // Nothing at all was said.
        check(&[(100, "failing"), (350, ".")], 250, None, &[]);
        // What was not broken after all.
        check(
            &[
                (0, "ok a/1"),
                (100, "failing"),
                (900, "before"),
                (950, "ok a/2"),
                (1000, "failing"),
                (1100, "."),
            ],
            100,
            Some("a"),
            &[("a", 100)],
        );
    }

    #[test]
    fn what_is_answered_in_force_is_counted_apart() {
        let mut counter = WorkloadCounter::default();
        let say = |counter: &mut WorkloadCounter, line: &str| assert!(counter.line(line, Duration::ZERO));
        counter.enter(Phase::Failing, Duration::ZERO);
        say(&mut counter, "ok 1");
        counter.set_in_force(true);
        say(&mut counter, "ok 2");
        say(&mut counter, "err 3");
        counter.set_in_force(false);
        say(&mut counter, "ok 4");
        assert_eq!((counter.seen().tried_failing(), counter.seen().answered_in_force), (4, 2));
    }

    #[test]
    fn each_failure_has_to_be_answered() {
        let check = |said: &[&str], is_silent: bool| {
            let mut counter = WorkloadCounter::default();
            for word in said {
                match *word {
                    "in force" => counter.set_in_force(true),
                    "before" => counter.enter(Phase::Before, Duration::ZERO),
                    "failing" => counter.enter(Phase::Failing, Duration::ZERO),
                    "reverted" => {
                        counter.set_in_force(false);
                        counter.enter(Phase::Reverted, Duration::ZERO);
                    }
                    "." => counter.finish(Duration::ZERO),
                    line => assert!(counter.line(line, Duration::ZERO)),
                }
            }
            assert_eq!(counter.seen().has_silent_failure, is_silent, "{said:?}");
        };
        let answered = ["failing", "in force", "ok 1", "reverted", "ok 2", "before"];
        check(&[&answered[..], &answered, &["."]].concat(), false);
        check(&[&answered[..], &["failing", "ok 1", "in force", "reverted", "ok 2", "."]].concat(), true);
        check(&[&["failing", "in force", "reverted", "before"][..], &answered, &["."]].concat(), true);
        // One that did not come is none.
        check(
            &[&answered[..], &["failing", "before"], &answered, &["failing", "before", "."]].concat(),
            false,
        );
    }

    #[test]
    fn more_parts_than_are_told_apart_are_said() {
        let mut counter = WorkloadCounter::default();
        for part in 0..PARTS_MAX {
            counter.line(&format!("ok {part}/1"), Duration::ZERO);
        }
        assert!(!counter.seen().too_many_parts);
        counter.line("ok 0/2", Duration::ZERO);
        assert!(!counter.seen().too_many_parts);
        counter.line("ok one more/1", Duration::ZERO);
        assert!(counter.seen().too_many_parts);
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
