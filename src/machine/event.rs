//! The one stream of events that every reporter reads, and what is known of a case at its end. Pure data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fatebook::LogLevel;

use super::output::{Captured, Stream};
use super::verdict::{Finding, Step, StepEnd, Verdict};
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
        record: StepRecord,
    },
    /// The host of the case may be broken from now on.
    MayBeDirty {
        /// The case.
        case: CaseId,
        /// The command that heals it by hand.
        heal: String,
        /// What proves, later, that a machine is the one that was broken.
        mark: Box<HostMark>,
    },
    /// The host of the case is healed.
    Reverted {
        /// The case.
        case: CaseId,
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

/// One try at a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The step.
    pub step: Step,
    /// The check that was asked in it, if it was not the healthcheck.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
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
        match &self.check {
            Some(check) => format!("{}, check {check}", self.step),
            None => self.step.to_string(),
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
    /// What the workload has said.
    #[serde(default)]
    pub workload: Option<Box<WorkloadSeen>>,
    /// The command that heals the host by hand, if it may still be broken.
    pub heal: Option<String>,
    /// Where it ran, if not in this process.
    pub placement: Option<Placement>,
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
