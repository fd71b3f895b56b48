//! The scheduler: which case runs on which offer, what a lost task means for its case, what the master is told. Owns the
//! rules of a good framework: no offer is held, no update acknowledged before its result is safe, no task given up unasked,
//! and nothing induced twice. Pure: time, and what chance there is, are arguments.
//!
//! An **attempt** is one task. A case has one at a time; the next one comes when the last is over, or given up. Before an
//! executor induces, it asks: from the answer on the case is dirty, and a lost task is followed by one that only reverts. One
//! that was given up and lives on induces nothing, for nobody answers it any more; that it does not revert into another case is
//! for the host's lease to see to.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::{CaseId, CaseOutcome, DirtyHost, Placement, RunEvent};
use super::offers::{
    Launch, Offer, Retry, Room, SchedulerAction, SchedulerEvent, SchedulerOptions, TaskNews, TaskUpdate, Want,
};
use super::verdict::{Finding, TroubleKind, Verdict, worst};

mod link;
mod placement;
mod tasks;
mod waiting;

pub use tasks::question_number;

const HEARTBEATS_MISSED_MAX: u32 = 5;
/// A subscription that lasted for so long was a good one.
const STEADY_AFTER: Duration = Duration::from_secs(10);
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_LONGEST: Duration = Duration::from_secs(15);
/// A person is told that a case waits when it has waited for so long.
const TOLD_AFTER: Duration = Duration::from_secs(1);
const SILENT_AFTER: Duration = Duration::from_secs(60);
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How long a master may take to take us in.
const TAKEN_IN_WITHIN: Duration = Duration::from_secs(60);
/// A master that cannot be reached for so long has given up our tasks, and had their executors revert them.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(180);
/// Attempts to revert go on for so long at the least.
const REVERTED_WITHIN: Duration = Duration::from_secs(60);
const UNREACHABLE_MAX: Duration = Duration::from_secs(60);
const REVERT_ATTEMPTS_MIN: u32 = 3;
const LOSS_PAUSE_FIRST: Duration = Duration::from_millis(500);
const LOSS_PAUSE_LONGEST: Duration = Duration::from_secs(10);
const KILLED_AGAIN_AFTER: Duration = Duration::from_secs(5);
const OBEYED_WITHIN: Duration = Duration::from_secs(15);
/// How long executors have at the end to clean up and leave.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
enum Link {
    /// There was nothing to do yet.
    Idle,
    Down {
        retry_at: Duration,
        tries: u32,
        why: String,
    },
    Trying {
        since: Duration,
        tries: u32,
        why: String,
    },
    Up {
        heartbeat: Duration,
        heard_at: Duration,
        since: Duration,
        tries: u32,
    },
    Dead {
        why: String,
    },
}

#[derive(Clone, Debug)]
struct Case {
    want: Want,
    state: CaseState,
    /// Attempts so far, the running one included.
    attempts: u32,
    revert_attempts: u32,
    /// The executor was told that it may induce.
    induced: bool,
    /// Which attempt that was.
    induced_in: Option<String>,
    /// And has not told of a revert since.
    dirty: bool,
    /// Being written down as possibly dirty.
    noting: bool,
    /// The number of the last question of its executor.
    question: u64,
    waits_since: Duration,
    told: Option<String>,
    largest: Option<Room>,
    /// Whether an offer was not taken because its agent is the host that is to be broken.
    met_itself: bool,
    /// When the next attempt may begin, if there has to be a pause before it.
    not_before: Option<Duration>,
    /// When the first attempt was lost that left the host dirty.
    dirty_lost_at: Option<Duration>,
    /// It took longer than it may, and was told to end.
    overdue: bool,
    /// Agents on which attempts were lost: others come first.
    avoided: Vec<String>,
    /// What became of earlier attempts, in words.
    past: Vec<String>,
    /// What is to be acknowledged once the outcome is safe.
    acknowledgement: Option<SchedulerAction>,
    /// Who is to hear then that it is.
    recording: Option<SchedulerAction>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum CaseState {
    Waiting,
    Launched(String),
    /// Its outcome was told, and is being written down.
    Told,
}

#[derive(Clone, Debug)]
struct Task {
    case: CaseId,
    agent: String,
    executor: String,
    ended: bool,
    ask_at: Duration,
    asked: u32,
    launched_at: Duration,
    unreachable_since: Option<Duration>,
    kill: Option<Kill>,
}

#[derive(Clone, Copy, Debug)]
struct Kill {
    again_at: Duration,
    shutdown_at: Duration,
    shut_down: bool,
}

#[derive(Clone, Debug)]
struct Executor {
    id: String,
    book: String,
    agent: String,
    /// The agent's name, for people.
    shown: String,
    /// It was heard of: it is there, or was.
    confirmed: bool,
    /// It was told to leave.
    closing: bool,
    gone: bool,
}

/// All cases of a run that want to run on a Mesos.
#[derive(Clone, Debug)]
pub struct Scheduler {
    options: SchedulerOptions,
    link: Link,
    framework: Option<String>,
    /// Since when the master that took us in cannot be reached.
    down_since: Option<Duration>,
    cases: BTreeMap<CaseId, Case>,
    tasks: BTreeMap<String, Task>,
    executors: Vec<Executor>,
    suppressed: bool,
    /// A case has begun to wait since offers were last asked for.
    revive_due: bool,
    interrupted: bool,
    closing_until: Option<Duration>,
    over: bool,
}

type Actions = Vec<SchedulerAction>;

impl Scheduler {
    /// A scheduler that is not subscribed: it will be when the first case comes.
    pub fn new(options: SchedulerOptions) -> Self {
        Self {
            options,
            link: Link::Idle,
            framework: None,
            down_since: None,
            cases: BTreeMap::new(),
            tasks: BTreeMap::new(),
            executors: Vec::new(),
            suppressed: false,
            revive_due: false,
            interrupted: false,
            closing_until: None,
            over: false,
        }
    }

    /// Takes in what happened, and answers with what is to be done, in this order.
    pub fn step(&mut self, now: Duration, event: SchedulerEvent) -> Actions {
        let mut actions = Actions::new();
        if self.over {
            return actions;
        }
        if let Link::Up { heard_at, .. } = &mut self.link
            && event.is_the_masters()
        {
            *heard_at = now;
        }
        match event {
            SchedulerEvent::Want(want) => self.want(now, want, &mut actions),
            SchedulerEvent::Noted { case, result } => self.noted(case, result, &mut actions),
            SchedulerEvent::Recorded { case, safely } => {
                if self.cases.get(&case).is_some_and(|case| case.state == CaseState::Told) {
                    let case = self.cases.remove(&case);
                    let news = case.map(|case| [case.acknowledgement, case.recording.filter(|_| safely)]);
                    actions.extend(news.into_iter().flatten().flatten());
                }
            }
            SchedulerEvent::CloseBook { book } => self.shut_down(Some(&book), &mut actions),
            SchedulerEvent::Interrupt => self.interrupt(now, &mut actions),
            SchedulerEvent::Close => {
                self.closing_until = Some(now + CLOSED_WITHIN);
                self.shut_down(None, &mut actions);
            }
            SchedulerEvent::Woke | SchedulerEvent::Heartbeat => {}
            SchedulerEvent::Subscribed { framework, heartbeat } => {
                self.subscribed(now, framework, heartbeat, &mut actions);
            }
            SchedulerEvent::Lost { why, retry, chance } => self.lost(now, why, retry, chance, &mut actions),
            SchedulerEvent::Removed { why } => self.removed(now, &why, &mut actions),
            SchedulerEvent::Offers(offers) => self.offers(now, offers, &mut actions),
            SchedulerEvent::Update(update) => self.update(now, update, &mut actions),
            SchedulerEvent::Gone { agent, executor } => {
                for gone in self.executors.iter_mut().filter(|other| other.agent == agent) {
                    gone.gone |= executor.as_ref().is_none_or(|id| gone.id == *id);
                }
            }
            SchedulerEvent::News { task, event } => self.news(&task, event, &mut actions),
            SchedulerEvent::Asked { task, question, hosts } => {
                self.asked(&task, question, hosts, &mut actions);
            }
        }
        self.do_what_is_due(now, &mut actions);
        self.ask_for_offers(&mut actions);
        self.end_if_done(now, &mut actions);
        actions
    }

    /// When the scheduler wants to be woken, if nothing happens before.
    pub fn wake_at(&self) -> Option<Duration> {
        if self.over {
            return None;
        }
        let link = match &self.link {
            Link::Down { retry_at, .. } => Some(*retry_at),
            Link::Up { heartbeat, heard_at, .. } => Some(*heard_at + *heartbeat * HEARTBEATS_MISSED_MAX),
            Link::Trying { since, .. } => Some(*since + TAKEN_IN_WITHIN),
            Link::Idle | Link::Dead { .. } => None,
        };
        let up = matches!(self.link, Link::Up { .. });
        let cases = self.cases.values().filter(|case| case.state == CaseState::Waiting).flat_map(|case| {
            let told = case.told.is_none().then_some(case.waits_since + TOLD_AFTER);
            [told, case.not_before, Some(case.waits_since + self.options.offer_timeout)]
        });
        let tasks = self.current_tasks().flat_map(|(_, task)| {
            let case = self.cases.get(&task.case);
            let untold = case.is_some_and(|case| case.told.is_none());
            let overdue = case.filter(|_| task.kill.is_none()).map(|case| task.launched_at + case.want.limit);
            [
                self.down_since.filter(|_| untold).map(|since| since + TOLD_AFTER),
                self.down_since.map(|since| since + GIVEN_UP_AFTER),
                overdue,
                up.then_some(task.ask_at),
                task.unreachable_since.map(|since| since + UNREACHABLE_MAX),
                task.kill.map(|kill| if up { kill.again_at.min(kill.shutdown_at) } else { kill.shutdown_at }),
            ]
        });
        [link, self.closing_until].into_iter().chain(cases).chain(tasks).flatten().min()
    }

    fn current_tasks(&self) -> impl Iterator<Item = (&String, &Task)> {
        self.tasks.iter().filter(|(id, task)| !task.ended && self.is_current(id, task))
    }

    fn is_current(&self, id: &str, task: &Task) -> bool {
        self.cases
            .get(&task.case)
            .is_some_and(|case| matches!(&case.state, CaseState::Launched(current) if current == id))
    }

    fn settle(&mut self, id: CaseId, outcome: CaseOutcome, actions: &mut Actions) {
        let Some(case) = self.cases.get_mut(&id) else { return };
        if case.state == CaseState::Told {
            return;
        }
        case.state = CaseState::Told;
        actions.push(SchedulerAction::Tell(RunEvent::Settled { case: id, outcome }));
    }

    fn interrupt(&mut self, now: Duration, actions: &mut Actions) {
        self.interrupted = true;
        let waiting: Vec<CaseId> = self
            .cases
            .iter()
            .filter(|(_, case)| case.state == CaseState::Waiting && !case.dirty)
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            self.settle(id, CaseOutcome::skipped("interrupted before it began"), actions);
        }
        let running: Vec<String> = self.current_tasks().map(|(id, _)| id.clone()).collect();
        for id in running {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            let limit = self.cases.get(&task.case).map(|case| case.want.revert_limit).unwrap_or_default();
            task.kill.get_or_insert(Kill::begin(now, limit));
        }
    }

    fn end_if_done(&mut self, now: Duration, actions: &mut Actions) {
        let Some(until) = self.closing_until else { return };
        let told = self.cases.values().all(|case| case.state == CaseState::Told);
        if !told && !matches!(self.link, Link::Dead { .. }) {
            return;
        }
        let all_gone = self.executors.iter().all(|executor| executor.gone);
        let reachable = !matches!(self.link, Link::Idle | Link::Dead { .. }) && self.framework.is_some();
        if !(all_gone && self.cases.is_empty() || now >= until || !reachable) {
            return;
        }
        match self.link {
            Link::Up { .. } => actions.push(SchedulerAction::Teardown),
            // There may still be something to take down; there is time for that.
            _ if reachable && now < until => return,
            _ => {}
        }
        self.over = true;
        actions.push(SchedulerAction::Over);
    }
}

impl Kill {
    fn begin(now: Duration, revert_limit: Duration) -> Self {
        Self { again_at: now, shutdown_at: now + revert_limit + OBEYED_WITHIN, shut_down: false }
    }
}

impl Case {
    fn may_be_placed(&self, now: Duration, interrupted: bool) -> bool {
        self.state == CaseState::Waiting
            && (self.dirty || !interrupted)
            && self.not_before.is_none_or(|at| now >= at)
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
