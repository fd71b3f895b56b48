//! `CasePlan`, what the machine needs to know of a case; `CaseEvent`, what it is told; `CaseTurn`, what it answers. Pure data.

use super::*;

/// What the machine needs to know of a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CasePlan {
    /// Whether the failure has an `only_if`. Journals of old know nothing of it.
    #[serde(default)]
    pub only_if: bool,
    /// Whether the failure has a `verify`.
    pub verify: bool,
    /// What the second healthcheck must say.
    pub expect: Expectation,
    /// Time limit of each step.
    pub timeout: Duration,
    /// How long a healthcheck that says no is asked again.
    pub grace: Duration,
    /// How long after the inducer was handed out the reverter is still tried.
    pub revert_within: Duration,
    /// Whether the host heals by itself when that time is up: then it is looked at once more.
    #[serde(alias = "watched")]
    pub has_switch: bool,
    /// Whether the inducer may cut the host off from us.
    #[serde(default)]
    pub cuts_off: bool,
    /// How often the host is broken and healed; 0 is as 1.
    #[serde(default)]
    pub cycles: u32,
    /// Whether all hosts are armed before the first one is broken: there are several.
    #[serde(default)]
    pub arms_first: bool,
    /// How long the failure is held, and the service watched. `None`: its first good answer will do.
    #[serde(default)]
    pub hold: Option<Hold>,
    /// Whether the failure has a `still`.
    #[serde(default)]
    pub still: bool,
    /// Whether the failure has a `stop_if`, which is asked first in each round of a hold.
    #[serde(default)]
    pub stop_if: bool,
    /// How long the service may take to be healthy again after the revert, if that is not the grace.
    #[serde(default)]
    pub max_recovery: Option<Duration>,
    /// How long it has to stay healthy then.
    #[serde(default)]
    pub steady: Option<Steady>,
    /// What is asked beside the healthcheck.
    #[serde(default)]
    pub checks: Vec<CheckPlan>,
    /// What is allowed of the workload, if there is one.
    #[serde(default)]
    pub workload: Option<WorkloadPlan>,
}

impl CasePlan {
    /// How the service is watched in this step, if it is.
    pub(super) fn watch_of(&self, step: Step) -> Option<&Hold> {
        self.hold.as_ref().filter(|_| step == Step::During)
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum CaseEvent {
    /// The case begins.
    Begin,
    /// The step that was asked for has ended.
    Ended(StepEnd),
    /// How the step ended on each host, if the case has several. Comes before its end, which is the worst of them.
    HostsEnded(HostEnds),
    /// What the host that is being healed tells. Comes before the end of the reverter, if it comes.
    HostSays(HostRecord),
    /// How long the host had said nothing when the inducer ended. Comes before that end, where it may cut the host off.
    SilentFor(Duration),
    /// How the checks ended that were asked together with the healthcheck, in the plan's order. Comes before its end.
    ChecksSaid(Vec<StepEnd>),
    /// What was seen of each check up to now while the failure is held. Comes before the end of a healthcheck.
    ChecksWatched(Vec<CheckWatch>),
    /// What the workload has said in all. Comes before its end.
    WorkloadSaid(WorkloadSeen),
    /// An earlier attempt at the case may have left the host broken: only its reverter is to be run.
    Heal,
    /// It is safely written down that the host may be dirty.
    Noted,
    /// It could not be written down, and why.
    NotNoted(String),
    /// The time that `wake_at` named has come.
    Woke,
    /// The run was interrupted. A step other than the reverter is ended, and reported as `Interrupted`.
    Interrupt,
}

/// What is to be done after one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaseTurn {
    /// The host is healed, or was not broken: whatever watches over it is not needed any more. To be told first.
    pub is_reverted: bool,
    /// What comes then; its end brings the next event.
    pub next: CaseNext,
}

impl From<CaseNext> for CaseTurn {
    fn from(next: CaseNext) -> Self {
        Self { is_reverted: false, next }
    }
}

impl CaseTurn {
    pub(super) fn reverted(self) -> Self {
        Self { is_reverted: true, ..self }
    }
}

/// What comes next in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaseNext {
    /// Do this step, within this time, and report how it ended. `attempt` counts from 1.
    Perform {
        /// The step.
        step: Step,
        /// Which try at it.
        attempt: u32,
        /// Its time limit.
        limit: Duration,
    },
    /// Write down that the host may be dirty from now on, and report when that is safe.
    NoteDirty,
    /// Wait for `wake_at` or an interrupt.
    Wait,
    /// The case is over.
    Settle,
}
