//! The one stream of events that every reporter reads, and what is known of a case at its end. Pure data.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fatebook::LogLevel;

use super::output::{Captured, Stream};
use super::verdict::{Finding, Step, StepEnd, Trouble, TroubleKind, Verdict};
use super::watch::Watched;
use super::workload::WorkloadSeen;

/// A case's number in the run: its place in the list of names.
pub type CaseId = usize;

/// What happens in a run. Times are counted from the beginning of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RunEvent {
    /// A case waits for something that another run holds.
    Waiting {
        /// The case.
        case: CaseId,
        /// For what, in words.
        what: String,
    },
    /// A case begins.
    Began {
        /// The case.
        case: CaseId,
    },
    /// A step begins.
    StepBegan {
        /// The case.
        case: CaseId,
        /// The step.
        step: Step,
        /// Which try at it, from 1.
        attempt: u32,
    },
    /// A script printed something: whole lines, or what came before a pause. Sent only if somebody wants to see it at once.
    Printed {
        /// The case.
        case: CaseId,
        /// The step whose script it is.
        step: Step,
        /// On which stream.
        stream: Stream,
        /// The text, cleaned of secrets.
        text: String,
    },
    /// A step ended.
    StepEnded {
        /// The case.
        case: CaseId,
        /// How.
        record: Box<StepRecord>,
    },
    /// The hosts of the case may be broken from now on.
    MayBeDirty {
        /// The case.
        case: CaseId,
        /// They, in the order in which the case has them.
        hosts: Vec<DirtyHost>,
    },
    /// A host of the case is healed, or all of them are.
    Reverted {
        /// The case.
        case: CaseId,
        /// Which of its hosts, from 0; all of them if it does not say.
        host: Option<usize>,
    },
    /// A line of the executor's own log.
    Logged {
        /// The case.
        case: CaseId,
        /// Its level.
        level: LogLevel,
        /// The line.
        line: String,
    },
    /// Something that belongs to no case, and that a person should know.
    Warning {
        /// What.
        message: String,
    },
    /// A Mesos has taken the run in.
    Framework {
        /// As what.
        id: String,
        /// Which Mesos: as it is named on the command line.
        master: String,
    },
    /// Nothing of ours lies on a host any more.
    HostLeft {
        /// The name of the folder that was ours there.
        folder: String,
    },
    /// A host is not as it was: something of ours could not be taken away, or what it had could not be put back.
    NotLeft {
        /// What, and where.
        message: String,
    },
    /// What a book has done once, before its cases or after them, has ended.
    WentAround(Box<AroundRecord>),
    /// A book's executor has ended, and has left its hosts clean.
    BookClosed,
    /// A case is over.
    Settled {
        /// The case.
        case: CaseId,
        /// How it ended.
        outcome: CaseOutcome,
    },
    /// The run was asked to stop: nothing new begins.
    Interrupted {
        /// By what: `SIGINT`, `SIGTERM`.
        by: String,
    },
}

/// The machine that a case breaks, and where on it lies what heals it. A name or an address is not a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostMark {
    /// What is random in the name of the case's folder there; empty if nothing was left there.
    pub mark: String,
    /// Our folder there, in which that one lies.
    pub folder: String,
    /// Machine id, boot id, PID namespace, start of process 1, with blanks between; `-` for what it does not tell.
    pub identity: String,
    /// The address that was connected to.
    pub address: String,
    /// Its host key: the type and the fingerprint, as OpenSSH shows them.
    pub host_key: String,
}

impl HostMark {
    /// Whether both are certainly the same root folder of the same machine.
    pub fn is_same_place(&self, other: &Self) -> bool {
        let root = |mark: &Self| mark.folder.rsplit_once('/').map(|(root, _)| root.to_owned());
        let is_known =
            self.identity.split(' ').next().is_some_and(|machine| !machine.is_empty() && machine != "-");
        root(self) == root(other)
            && self.identity == other.identity
            && (is_known || self.address == other.address)
    }
}

/// A host that may be broken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirtyHost {
    /// The command that heals it by hand; empty if there is none.
    pub heal: String,
    /// What proves, later, that a machine is the one that was broken.
    pub mark: HostMark,
}

/// Which hosts may be broken now, as the events of a run tell it.
#[derive(Clone, Debug, Default)]
pub struct DirtyHosts {
    /// By case and place among its hosts: the command that heals it by hand.
    heals: BTreeMap<(CaseId, usize), String>,
}

impl DirtyHosts {
    /// Takes in what happened.
    pub fn hear(&mut self, event: &RunEvent) {
        match event {
            RunEvent::MayBeDirty { case, hosts } => {
                let heals = hosts.iter().map(|host| host.heal.clone()).enumerate();
                self.heals.extend(heals.map(|(host, heal)| ((*case, host), heal)));
            }
            RunEvent::Reverted { case, host } => {
                self.heals
                    .retain(|(other, place), _| other != case || host.is_some_and(|host| host != *place));
            }
            RunEvent::Settled { case, outcome } if outcome.verdict != Verdict::Unreverted => {
                self.heals.retain(|(other, _), _| other != case);
            }
            _ => {}
        }
    }

    /// The cases whose hosts may be broken.
    pub fn cases(&self) -> impl Iterator<Item = CaseId> {
        self.heals.keys().map(|(case, _)| *case)
    }

    /// Takes out those of a case: the place of each among its hosts, and what heals it.
    pub fn take(&mut self, case: CaseId) -> Vec<(usize, String)> {
        let of_case = self.heals.extract_if(.., |(other, _), _| *other == case);
        of_case.map(|((_, host), heal)| (host, heal)).collect()
    }

    /// Takes all of them out: case, place among its hosts, and what heals it.
    pub fn take_all(&mut self) -> Vec<(CaseId, usize, String)> {
        std::mem::take(&mut self.heals).into_iter().map(|((case, host), heal)| (case, host, heal)).collect()
    }
}

/// One try at a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The step.
    pub step: Step,
    /// The check that was asked in it, if it was not the healthcheck.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// The host that it was done on, if the case has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Which try at it, from 1.
    pub attempt: u32,
    /// When it began, counted from the beginning of the case.
    pub began: Duration,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub end: StepEnd,
    /// What it printed on standard output.
    pub stdout: Captured,
    /// What it printed on standard error.
    pub stderr: Captured,
}

impl StepRecord {
    /// Who was asked, or did it: the step, and the check in it.
    pub fn asker(&self) -> String {
        match (&self.check, &self.host) {
            (Some(check), _) => format!("{}, check {check}", self.step),
            (None, Some(host)) => format!("{} on {host}", self.step),
            (None, None) => self.step.to_string(),
        }
    }
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseOutcome {
    /// The worst of the findings.
    pub verdict: Verdict,
    /// All that was found; empty if the service survived.
    pub findings: Vec<Finding>,
    /// What the carrying out of it brought, if it was begun.
    pub report: Option<CaseReport>,
}

/// What is known of a case that was begun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseReport {
    /// All tries at all steps, in order.
    pub steps: Vec<StepRecord>,
    /// How long it took in all.
    pub took: Duration,
    /// When the service was healthy to the end of the watch, counted from when the failure was in force: the beginning of the
    /// question that told so; zero if that was the first.
    pub recovered_during: Option<Duration>,
    /// The same after the revert.
    pub recovered_after: Option<Duration>,
    /// What was seen of the service while the failure was in force. Journals of old know nothing of it.
    #[serde(default)]
    pub watched: Option<Box<Watched>>,
    /// The same of each check, while the failure was held.
    #[serde(default)]
    pub checks_watched: Vec<(String, Watched)>,
    /// The cycles before the last, if the host was to be broken more than once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<CycleReport>,
    /// What the workload has said.
    #[serde(default)]
    pub workload: Option<Box<WorkloadSeen>>,
    /// The hosts that may still be broken, with the command that heals each by hand.
    pub heal: Vec<(String, String)>,
    /// Where it ran, if not in this process.
    pub placement: Option<Box<Placement>>,
}

/// What was seen in a cycle that was survived, as in a [`CaseReport`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CycleReport {
    /// Of the service while the failure was in force.
    pub watched: Option<Box<Watched>>,
    /// Of each check, while the failure was held.
    pub checks_watched: Vec<(String, Watched)>,
    /// When the service was healthy again, counted from the revert.
    pub recovered_after: Option<Duration>,
}

impl CaseReport {
    /// The steps of each cycle, in order: one after another begins with what follows the last question of the one before.
    pub fn cycles(&self) -> impl Iterator<Item = &[StepRecord]> {
        self.steps.chunk_by(|one, next| one.step != Step::After || next.step != Step::Prepare)
    }

    /// What was seen in one of its cycles, from 0.
    pub fn seen_in(&self, cycle: usize) -> CycleReport {
        self.former.get(cycle).cloned().unwrap_or_else(|| CycleReport {
            watched: self.watched.clone(),
            checks_watched: self.checks_watched.clone(),
            recovered_after: self.recovered_after,
        })
    }

    /// What was seen in the cycle with the longest outage; of equal ones the last.
    pub fn seen_at_worst(&self) -> CycleReport {
        let how_bad = |seen: &CycleReport| {
            let watched = seen.watched.as_deref();
            watched.map(|watched| (watched.longest().map(|outage| outage.lasted), watched.checks_down()))
        };
        let all = (0..=self.former.len()).map(|cycle| self.seen_in(cycle));
        all.max_by_key(how_bad).unwrap_or_default()
    }
}

/// Where a case ran on a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The agent, as people call it.
    pub agent: String,
    /// What became of earlier attempts, in words.
    pub past: Vec<String>,
}

impl CaseOutcome {
    /// The outcome of a case that was never begun.
    pub fn skipped(reason: impl Into<String>) -> Self {
        let finding = Finding::new(Verdict::Skipped, "Skipped", reason);
        Self { verdict: Verdict::Skipped, findings: vec![finding], report: None }
    }

    /// The outcome of a case that could not be begun.
    pub fn botched(kind: &str, message: impl Into<String>) -> Self {
        let finding = Finding::new(Verdict::Botched, kind, message);
        Self { verdict: Verdict::Botched, findings: vec![finding], report: None }
    }

    /// The outcome of a case of which nothing is known any more: its host may be broken.
    pub fn lost(message: impl Into<String>) -> Self {
        let finding = Finding::new(Verdict::Unreverted, "Unreverted", message);
        Self { verdict: Verdict::Unreverted, findings: vec![finding], report: None }
    }

    /// The finding that made the verdict.
    pub fn main_finding(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.verdict == self.verdict)
    }
}

/// What a book has done once, around all its cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Around {
    /// Before the first of them.
    BeforeAll,
    /// After the last of them.
    AfterAll,
}

impl std::fmt::Display for Around {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::BeforeAll => "before_all",
            Self::AfterAll => "after_all",
        })
    }
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AroundRecord {
    /// The book's name.
    pub book: String,
    /// Which of both.
    pub around: Around,
    /// How it ended.
    pub end: StepEnd,
    /// How long it took.
    pub took: Duration,
    /// What it printed on standard output.
    pub stdout: Captured,
    /// What it printed on standard error.
    pub stderr: Captured,
}

impl AroundRecord {
    /// One that could not even be begun, and why.
    pub fn not_begun(book: String, around: Around, why: String) -> Self {
        let end = StepEnd::Failed(Trouble { kind: TroubleKind::Start, message: why });
        let (stdout, stderr) = Default::default();
        Self { book, around, end, took: Duration::ZERO, stdout, stderr }
    }

    /// That it failed, and the last thing that it said; `None` if it succeeded.
    pub fn why_failed(&self) -> Option<String> {
        if self.end.is_success() {
            return None;
        }
        let said = self.stderr.last_line().map(|line| format!(": {}", line.trim())).unwrap_or_default();
        Some(format!("`{}` failed ({}){said}", self.around, self.end))
    }
}
