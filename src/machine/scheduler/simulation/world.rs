//! What there is in the world, and what can happen in it.

use super::*;

/// A simple generator of numbers by chance (SplitMix64).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in so many times.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(super) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// What happens in the world. Connections and processes have numbers, and what is meant for an older one is lost.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// Something reaches the scheduler on this subscription.
    ToScheduler {
        subscription: u64,
        event: SchedulerEvent,
    },
    /// Something that needs no subscription.
    Told(SchedulerEvent),
    /// A call reaches the master.
    ToMaster {
        subscription: u64,
        action: SchedulerAction,
    },
    SubscribeReached {
        subscription: u64,
        framework: Option<String>,
    },
    /// Something reaches an executor's process.
    ToExecutor {
        executor: String,
        event: ExecutorEvent<SimTask>,
    },
    Answered {
        executor: String,
        task: String,
        asked_at: Duration,
        result: bool,
    },
    /// An executor's machine wants to be woken.
    WakeExecutor {
        executor: String,
    },
    /// A step of the case that an executor carries out.
    Work {
        executor: String,
        task: String,
        next: Work,
    },
    /// The agent has an update.
    Updated {
        agent: usize,
        generation: u64,
        executor: String,
        update: Update,
    },
    /// An update that is not acknowledged is told again.
    Retry {
        agent: usize,
        generation: u64,
        task: String,
        uuid: Vec<u8>,
    },
    ExecutorTold {
        executor: String,
        task: String,
        reverted: bool,
        question: Option<u64>,
        asked_at: Duration,
    },
    MasterUp,
    AgentUp {
        agent: usize,
    },
    AgentReachable {
        agent: usize,
        generation: u64,
    },
    Ended {
        executor: String,
    },
    Fault,
    Allocate,
    NextCase {
        book: usize,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    Ask(u64),
    Induced,
    Revert,
    Done,
    MeetsItself,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SimTask {
    pub(super) id: String,
    pub(super) case: CaseId,
    pub(super) only_reverts: bool,
}

pub(super) struct SimExecutor {
    pub(super) agent: usize,
    pub(super) machine: ExecutorMachine<SimTask>,
    pub(super) alive: bool,
    pub(super) task: Option<SimTask>,
    pub(super) interrupted: bool,
    /// It waits for leave to induce.
    pub(super) asking: bool,
    pub(super) induced: bool,
    pub(super) seed: u64,
}

/// Its uuid, what it comes to, and what the executor said.
pub(super) type Unacknowledged = (Vec<u8>, TaskNews, Option<CaseOutcome>);

#[derive(Default)]
pub(super) struct SimAgent {
    pub(super) generation: u64,
    pub(super) up: bool,
    pub(super) reachable: bool,
    /// Updates that the scheduler has not acknowledged, the first of each task being told.
    pub(super) updates: BTreeMap<String, Vec<Unacknowledged>>,
    pub(super) tasks: BTreeMap<String, (String, Room, bool)>,
    /// What was declined: it is offered again only when there is more of it.
    pub(super) refused: Option<Room>,
}

pub(super) struct World {
    pub(super) chance: Chance,
    pub(super) now: Duration,
    pub(super) number: u64,
    pub(super) queue: BinaryHeap<Reverse<(Duration, u64)>>,
    pub(super) happenings: BTreeMap<u64, Happening>,
    pub(super) scheduler: Scheduler,
    pub(super) woken_at: Option<Duration>,
    pub(super) over: bool,
    // The master.
    pub(super) master_up: bool,
    pub(super) framework: Option<String>,
    pub(super) frameworks: u64,
    pub(super) subscription: Option<u64>,
    pub(super) subscriptions: u64,
    pub(super) suppressed: bool,
    pub(super) offers: BTreeMap<String, usize>,
    pub(super) answered: BTreeSet<String>,
    pub(super) offer_count: u64,
    pub(super) agents: Vec<SimAgent>,
    pub(super) executors: BTreeMap<String, SimExecutor>,
    // Hosts, and what was done to them.
    pub(super) dirty: BTreeSet<CaseId>,
    /// What the run's journal would say, were the run to die now.
    pub(super) noted: BTreeSet<CaseId>,
    pub(super) induced: BTreeMap<CaseId, u32>,
    // The run.
    pub(super) next_case: Vec<usize>,
    pub(super) running: BTreeMap<usize, CaseId>,
    pub(super) settled: BTreeMap<CaseId, CaseOutcome>,
    pub(super) recorded: BTreeSet<CaseId>,
    pub(super) safe: BTreeSet<CaseId>,
    pub(super) interrupted: bool,
    pub(super) closed: bool,
    pub(super) faults_until: Duration,
    pub(super) acknowledged: BTreeMap<Vec<u8>, u32>,
    pub(super) delivered: BTreeMap<Vec<u8>, String>,
    /// The updates that brought results, and their cases.
    pub(super) results: BTreeMap<Vec<u8>, CaseId>,
    pub(super) verbose: bool,
    pub(super) last_arrival: Duration,
}
