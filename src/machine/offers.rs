//! The scheduler's whole interface: `SchedulerEvent`, what it is told; `SchedulerAction`, what it wants; and the offers, tasks and amounts
//! of cpu and memory (exact integers) in them. Pure data.

use std::fmt;
use std::time::Duration;

use super::event::{CaseId, CaseOutcome, DirtyHost, RunEvent};

/// An amount of cpu and memory, in exact integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Room {
    /// Thousandths of a cpu.
    pub cpu_milli: u64,
    /// Memory.
    pub mem_mib: u64,
}

impl Room {
    pub(super) fn holds(self, other: Self) -> bool {
        self.cpu_milli >= other.cpu_milli && self.mem_mib >= other.mem_mib
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { cpu_milli: self.cpu_milli + other.cpu_milli, mem_mib: self.mem_mib + other.mem_mib }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_sub(other.cpu_milli),
            mem_mib: self.mem_mib.saturating_sub(other.mem_mib),
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.cpu_milli / 1000, self.cpu_milli % 1000);
        let fraction = format!("{rest:03}");
        let fraction = fraction.trim_end_matches('0');
        let dot = if fraction.is_empty() { "" } else { "." };
        write!(formatter, "cpu {whole}{dot}{fraction}, mem {}", self.mem_mib)
    }
}

/// What is the same for all cases of a run.
#[derive(Clone, Debug)]
pub struct SchedulerOptions {
    /// How long a case waits for an offer that fits.
    pub offer_timeout: Duration,
    /// How often a task that was lost is run again, if nothing was induced.
    pub task_retries: u32,
    /// What an executor needs beside its tasks.
    pub executor_room: Room,
    /// Begins every id that we choose: like no other framework's, of letters and digits.
    pub run: String,
    /// What the master is called in messages.
    pub master: String,
}

/// A case that wants to run.
#[derive(Clone, Debug)]
pub struct Want {
    /// The case.
    pub case: CaseId,
    /// Its book: its cases share an executor on each agent.
    pub book: String,
    /// What its task needs.
    pub room: Room,
    /// The names and addresses of the host that it breaks: an agent of one of these does not carry it.
    pub hosts: Vec<String>,
    /// How long its revert may take, once it is told to stop.
    pub revert_limit: Duration,
    /// How long all of it may take.
    pub limit: Duration,
}

/// What an agent has free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The offer's id.
    pub id: String,
    /// The agent's id.
    pub agent: String,
    /// The agent's name and addresses; the first one is shown to people.
    pub names: Vec<String>,
    /// How much.
    pub room: Room,
}

/// What a master says of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskUpdate {
    /// The task's id.
    pub task: String,
    /// The agent's id, if it is said.
    pub agent: Option<String>,
    /// If it is there, the update wants to be acknowledged.
    pub uuid: Option<Vec<u8>>,
    /// What it comes to.
    pub news: TaskNews,
    /// Why, in words for people.
    pub message: String,
    /// What the executor says of the case.
    pub outcome: Option<CaseOutcome>,
}

/// What an update comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskNews {
    /// It is on its way, or at work.
    Alive,
    /// Its agent is away; both may come back.
    Unreachable,
    /// It will not come to more.
    Ended,
    /// It was not as a task has to be, and another one would not be either.
    Refused,
}

/// What the scheduler hears, from the master and from the run.
#[derive(Clone, Debug)]
pub enum SchedulerEvent {
    /// A case wants to run.
    Want(Want),
    /// It is safely written down that the case's host may be dirty; or it is not, and why.
    Noted {
        /// The case.
        case: CaseId,
        /// Whether it is.
        result: Result<(), String>,
    },
    /// How the case ended was written down.
    Recorded {
        /// The case.
        case: CaseId,
        /// Whether that will last: else what its hosts say of it has to stay there.
        safely: bool,
    },
    /// No more cases of this book will come.
    CloseBook {
        /// The book.
        book: String,
    },
    /// Nothing new begins, and what runs is reverted.
    Interrupt,
    /// No more cases will come at all.
    Close,
    /// The time that `wake_at` named has come.
    Woke,
    /// The master took us in.
    Subscribed {
        /// Our id.
        framework: String,
        /// How often it lets us hear that it is there.
        heartbeat: Duration,
    },
    /// The subscription, or a try at it, has ended.
    Lost {
        /// Why.
        why: String,
        /// Whether to try again, and when.
        retry: Retry,
        /// A number from 0 to 1, by chance.
        chance: f64,
    },
    /// The master has removed our framework, and with it all its tasks.
    Removed {
        /// What it says.
        why: String,
    },
    /// Offers.
    Offers(Vec<Offer>),
    /// News of a task.
    Update(TaskUpdate),
    /// An executor has ended, or a whole agent.
    Gone {
        /// The agent's id.
        agent: String,
        /// The executor's id; none for the agent.
        executor: Option<String>,
    },
    /// An executor tells what happens in a task.
    News {
        /// The task's id.
        task: String,
        /// What.
        event: RunEvent,
    },
    /// An executor asks whether it may induce.
    Asked {
        /// The task's id.
        task: String,
        /// The number of its question: the answer names it.
        question: u64,
        /// The hosts that will be broken.
        hosts: Vec<DirtyHost>,
    },
    /// Anything else that the master sends: it is there.
    Heartbeat,
}

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// At once.
    Now,
    /// After a pause that grows.
    Later,
    /// Never.
    Never,
}

/// A task to be launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The task's id.
    pub task: String,
    /// Its case.
    pub case: CaseId,
    /// The executor's id.
    pub executor: String,
    /// Whether it only reverts.
    pub only_reverts: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum SchedulerAction {
    /// Subscribe, with the framework's id if there is one.
    Subscribe {
        /// The framework's id.
        framework: Option<String>,
    },
    /// Drop the subscription.
    Abandon,
    /// Launch tasks on an offer; for what is left of it see [`REFUSE_FOR`].
    Launch {
        /// The offer's id.
        offer: String,
        /// The agent's id.
        agent: String,
        /// The tasks.
        tasks: Vec<Launch>,
    },
    /// Decline these offers for [`REFUSE_FOR`].
    Decline(Vec<String>),
    /// Ask for offers again, also for those that were declined.
    Revive,
    /// Ask for no more offers.
    Suppress,
    /// Acknowledge an update.
    Acknowledge {
        /// The agent's id.
        agent: String,
        /// The task's id.
        task: String,
        /// The update's.
        uuid: Vec<u8>,
    },
    /// Ask what became of these tasks: their ids and their agents'.
    Reconcile(Vec<(String, String)>),
    /// Have an executor revert a task and end it.
    Kill {
        /// The task's id.
        task: String,
        /// The agent's id.
        agent: String,
    },
    /// End an executor.
    Shutdown {
        /// The executor's id.
        executor: String,
        /// The agent's id.
        agent: String,
    },
    /// Answer an executor that asked whether it may induce.
    Answer {
        /// The task's id.
        task: String,
        /// The executor's id.
        executor: String,
        /// The agent's id.
        agent: String,
        /// The number of its question.
        question: u64,
        /// Whether it may, else why not.
        result: Result<(), String>,
    },
    /// Tell an executor that how its task ended is safely written down.
    Recorded {
        /// The task's id.
        task: String,
        /// The executor's id.
        executor: String,
        /// The agent's id.
        agent: String,
    },
    /// Tell the run.
    Tell(RunEvent),
    /// Remove the framework.
    Teardown,
    /// It is over: everything is let go.
    Over,
}

/// For how long a declined offer is not to come again. When there is more of it, or when offers are asked for again, it does
/// all the same.
pub const REFUSE_FOR: Duration = Duration::from_secs(600);

impl SchedulerEvent {
    pub(super) fn is_the_masters(&self) -> bool {
        matches!(
            self,
            Self::Offers(_)
                | Self::Update(_)
                | Self::Gone { .. }
                | Self::News { .. }
                | Self::Asked { .. }
                | Self::Heartbeat
        )
    }
}
