//! What an executor on a Mesos agent does with what its agent tells it: which task is at work, what the agent still has to
//! acknowledge, when to leave. Pure.
//!
//! Tasks are carried out one after the other, in the order in which they came. News of them are kept until the agent has
//! acknowledged them, for it may be restarted meanwhile.

use std::collections::VecDeque;
use std::time::Duration;

/// How a task stands, as Mesos is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// It is at work, or will be.
    Running,
    /// It ended, whatever its case's verdict is.
    Finished,
    /// It was ended by KILL or SHUTDOWN.
    Killed,
}

/// What an executor hears. `T` is a task as it was launched.
#[derive(Clone, Debug)]
pub enum ExecutorEvent<T> {
    /// The agent took us in.
    Subscribed,
    /// A task of this id.
    Launched(String, T),
    /// A task is to be reverted and ended.
    Kill(String),
    /// All are, and then we leave.
    Shutdown,
    /// The agent has the update of this number.
    Acknowledged(u64),
    /// The connection to the agent is lost.
    Lost,
    /// The agent does not know us, or our framework.
    Unknown,
    /// The task that was at work has ended, with these bytes for the scheduler.
    Ended(Vec<u8>),
    /// The time that `wake_at` named has come.
    Woke,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecutorAction<T> {
    /// Subscribe, with what is not acknowledged: [`ExecutorMachine::unacknowledged`].
    Subscribe,
    /// Tell the agent of a task.
    Update(Update),
    /// Carry out this task.
    Begin(String, T),
    /// Have the task that is at work reverted and ended.
    Interrupt,
    /// Clean up and leave.
    Leave,
}

/// News of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Unlike that of any other update of this executor.
    pub number: u64,
    /// The task's id.
    pub task: String,
    /// How it stands.
    pub report: Report,
    /// For the scheduler.
    pub data: Vec<u8>,
}

/// Between two tries to subscribe; it doubles with each.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// What was reported is waited for at the end, so that it is not lost.
const FAREWELL: Duration = Duration::from_secs(5);

/// An executor.
#[derive(Clone, Debug)]
pub struct ExecutorMachine<T> {
    /// Whether we outlive our agent, and for how long.
    recovery: Option<Duration>,
    /// The longest pause between tries to subscribe.
    pause_longest: Duration,
    connected: bool,
    lost_at: Option<Duration>,
    retry_at: Option<Duration>,
    tries: u32,
    queue: VecDeque<(String, T)>,
    at_work: Option<String>,
    interrupted: bool,
    /// Every task that was launched, for one may be launched again after the agent has come back.
    known: Vec<String>,
    /// Tasks of which no update was acknowledged yet.
    tasks: Vec<(String, T)>,
    updates: Vec<Update>,
    numbers: u64,
    leaving: Option<Duration>,
    /// Nobody will ever acknowledge anything.
    forsaken: bool,
    left: bool,
}

impl<T: Clone> ExecutorMachine<T> {
    /// An executor that is not subscribed yet. `recovery` is for how long its agent may be away; none if it may not.
    pub fn new(recovery: Option<Duration>, pause_longest: Duration) -> Self {
        Self {
            recovery,
            pause_longest,
            connected: false,
            lost_at: None,
            retry_at: None,
            tries: 0,
            queue: VecDeque::new(),
            at_work: None,
            interrupted: false,
            known: Vec::new(),
            tasks: Vec::new(),
            updates: Vec::new(),
            numbers: 0,
            leaving: None,
            forsaken: false,
            left: false,
        }
    }

    /// The tasks and updates that the agent may not have.
    pub fn unacknowledged(&self) -> (&[(String, T)], &[Update]) {
        (&self.tasks, &self.updates)
    }

    /// When the machine wants to be woken.
    pub fn wake_at(&self) -> Option<Duration> {
        if self.left {
            return None;
        }
        let given_up = match (self.lost_at, self.leaving) {
            (Some(at), None) => Some(at + self.recovery.unwrap_or_default()),
            _ => None,
        };
        [self.retry_at, given_up, self.leaving.filter(|_| self.at_work.is_none())].into_iter().flatten().min()
    }

    /// Takes in what happened, and answers with what is to be done, in this order.
    pub fn step(&mut self, now: Duration, event: ExecutorEvent<T>) -> Vec<ExecutorAction<T>> {
        let mut actions = Vec::new();
        if self.left {
            return actions;
        }
        match event {
            ExecutorEvent::Subscribed => {
                self.connected = true;
                (self.lost_at, self.retry_at, self.tries) = (None, None, 0);
            }
            ExecutorEvent::Launched(id, task) => {
                if !self.known.contains(&id) {
                    self.known.push(id.clone());
                    self.tasks.push((id.clone(), task.clone()));
                    self.report(&id, Report::Running, Vec::new(), &mut actions);
                    self.queue.push_back((id, task));
                }
            }
            ExecutorEvent::Kill(id) => self.kill(&id, &mut actions),
            ExecutorEvent::Shutdown => self.leave(now, &mut actions),
            ExecutorEvent::Acknowledged(number) => {
                if let Some(at) = self.updates.iter().position(|update| update.number == number) {
                    let update = self.updates.remove(at);
                    self.tasks.retain(|(id, _)| *id != update.task);
                }
            }
            ExecutorEvent::Lost => {
                self.connected = false;
                let since = *self.lost_at.get_or_insert(now);
                if self.recovery.is_none_or(|recovery| now >= since + recovery) {
                    self.leave(now, &mut actions);
                }
                let pause = (PAUSE_FIRST * 2u32.saturating_pow(self.tries.min(10))).min(self.pause_longest);
                self.tries += 1;
                self.retry_at = Some(now + pause);
            }
            ExecutorEvent::Unknown => {
                self.connected = false;
                self.retry_at = None;
                self.forsaken = true;
                self.leave(now, &mut actions);
            }
            ExecutorEvent::Ended(data) => {
                if let Some(id) = self.at_work.take() {
                    let report = if self.interrupted { Report::Killed } else { Report::Finished };
                    self.report(&id, report, data, &mut actions);
                }
                if let Some(until) = &mut self.leaving {
                    *until = now + FAREWELL;
                }
            }
            ExecutorEvent::Woke => {
                if self.retry_at.is_some_and(|at| now >= at) {
                    self.retry_at = None;
                    actions.push(ExecutorAction::Subscribe);
                }
                if self.lost_at.is_some_and(|at| now >= at + self.recovery.unwrap_or_default()) {
                    self.leave(now, &mut actions);
                }
            }
        }
        if self.at_work.is_none()
            && self.leaving.is_none()
            && let Some((id, task)) = self.queue.pop_front()
        {
            self.at_work = Some(id.clone());
            self.interrupted = false;
            actions.push(ExecutorAction::Begin(id, task));
        }
        if let Some(until) = self.leaving
            && self.at_work.is_none()
            && (self.updates.is_empty() || self.forsaken || now >= until)
        {
            self.left = true;
            actions.push(ExecutorAction::Leave);
        }
        actions
    }

    fn kill(&mut self, id: &str, actions: &mut Vec<ExecutorAction<T>>) {
        if self.at_work.as_deref() == Some(id) {
            if !std::mem::replace(&mut self.interrupted, true) {
                actions.push(ExecutorAction::Interrupt);
            }
            return;
        }
        if let Some(at) = self.queue.iter().position(|(queued, _)| queued == id) {
            self.queue.remove(at);
            self.report(id, Report::Killed, Vec::new(), actions);
        }
    }

    fn leave(&mut self, now: Duration, actions: &mut Vec<ExecutorAction<T>>) {
        if self.leaving.is_some() {
            return;
        }
        self.leaving = Some(now + FAREWELL);
        let queued: Vec<String> = self.queue.iter().map(|(id, _)| id.clone()).collect();
        let all = self.at_work.clone().into_iter().chain(queued);
        for id in all {
            self.kill(&id, actions);
        }
    }

    fn report(&mut self, task: &str, report: Report, data: Vec<u8>, actions: &mut Vec<ExecutorAction<T>>) {
        self.numbers += 1;
        let update = Update { number: self.numbers, task: task.to_owned(), report, data };
        self.updates.push(update.clone());
        // What is told while nobody listens goes with the next SUBSCRIBE.
        if self.connected {
            actions.push(ExecutorAction::Update(update));
        }
    }
}
