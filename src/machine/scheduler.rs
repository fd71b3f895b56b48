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

use super::event::{CaseId, CaseOutcome, HostMark, Placement, RunEvent};
use super::offers::{
    Launch, Offer, Retry, Room, SchedulerAction, SchedulerEvent, SchedulerOptions, TaskNews, TaskUpdate, Want,
};
use super::verdict::{Finding, Verdict, worst};

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
            SchedulerEvent::Asked { task, question, heal, mark } => {
                self.asked(&task, question, heal, mark, &mut actions);
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

    fn want(&mut self, now: Duration, want: Want, actions: &mut Actions) {
        let id = want.case;
        let case = Case {
            want,
            state: CaseState::Waiting,
            attempts: 0,
            revert_attempts: 0,
            induced: false,
            dirty: false,
            noting: false,
            question: 0,
            waits_since: now,
            told: None,
            largest: None,
            met_itself: false,
            not_before: None,
            dirty_lost_at: None,
            overdue: false,
            avoided: Vec::new(),
            past: Vec::new(),
            acknowledgement: None,
            recording: None,
        };
        self.cases.insert(id, case);
        if self.interrupted {
            return self.settle(id, CaseOutcome::skipped("interrupted before it began"), actions);
        }
        match &self.link {
            Link::Dead { why } => {
                let outcome = CaseOutcome::botched("MesosRefused", why.clone());
                self.settle(id, outcome, actions);
            }
            Link::Idle => {
                self.link = Link::Trying { since: now, tries: 0, why: String::new() };
                actions.push(SchedulerAction::Subscribe { framework: self.framework.clone() });
            }
            _ => self.revive_due = true,
        }
    }

    fn subscribed(&mut self, now: Duration, framework: String, heartbeat: Duration, actions: &mut Actions) {
        let tries = match &self.link {
            Link::Trying { tries, .. } | Link::Down { tries, .. } => *tries,
            _ => 0,
        };
        self.link = Link::Up { heartbeat, heard_at: now, since: now, tries };
        if self.framework.as_ref() != Some(&framework) {
            let (id, master) = (framework.clone(), self.options.master.clone());
            actions.push(SchedulerAction::Tell(RunEvent::Framework { id, master }));
        }
        self.framework = Some(framework);
        self.down_since = None;
        for case in self.cases.values_mut().filter(|case| matches!(case.state, CaseState::Launched(_))) {
            case.told = None;
        }
        self.suppressed = false;
        self.revive_due =
            self.cases.values().any(|case| case.state == CaseState::Waiting) && !self.tasks.is_empty();
        // What was told while nobody listened is asked for; offers of before are void.
        let asked: Vec<_> = self.current_tasks().map(|(id, task)| (id.clone(), task.agent.clone())).collect();
        for (id, _) in &asked {
            if let Some(task) = self.tasks.get_mut(id) {
                task.asked = 1;
                task.ask_at = now + ASKED_AGAIN_AFTER;
            }
        }
        if !asked.is_empty() {
            actions.push(SchedulerAction::Reconcile(asked));
        }
        let closed = self.closing_until.is_some();
        if closed {
            self.shut_down(None, actions);
        }
    }

    fn lost(&mut self, now: Duration, why: String, retry: Retry, chance: f64, actions: &mut Actions) {
        if matches!(self.link, Link::Up { .. }) {
            self.down_since = Some(now);
        }
        let tries = match &self.link {
            Link::Trying { tries, .. } | Link::Down { tries, .. } => tries + 1,
            // A master that takes us in only to let us go is not asked faster and faster.
            Link::Up { since, tries, .. } if now < *since + STEADY_AFTER => tries + 1,
            _ => 0,
        };
        match retry {
            Retry::Never => {
                self.link = Link::Dead { why: why.clone() };
                let ids: Vec<CaseId> = self.cases.keys().copied().collect();
                for id in ids {
                    let outcome = match self.cases.get(&id) {
                        Some(case) if case.state == CaseState::Told => continue,
                        Some(case) if case.dirty => CaseOutcome::lost(format!(
                            "the master does not take us in any more: {why}: the host may still be broken"
                        )),
                        _ => CaseOutcome::botched("MesosRefused", why.clone()),
                    };
                    self.settle(id, outcome, actions);
                }
            }
            Retry::Now | Retry::Later => {
                let pause = match (retry, tries) {
                    (Retry::Now, 0) => Duration::ZERO,
                    _ => {
                        let grown = PAUSE_FIRST * 2u32.saturating_pow(tries.min(10));
                        grown.min(PAUSE_LONGEST).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
                    }
                };
                self.link = Link::Down { retry_at: now + pause, tries, why };
            }
        }
    }

    fn removed(&mut self, now: Duration, why: &str, actions: &mut Actions) {
        self.framework = None;
        for executor in &mut self.executors {
            executor.gone = true;
        }
        let lost: Vec<String> = self.current_tasks().map(|(id, _)| id.clone()).collect();
        for id in lost {
            self.attempt_lost(now, &id, why, false, actions);
        }
        self.link = Link::Down { retry_at: now, tries: 0, why: why.to_owned() };
    }

    fn offers(&mut self, now: Duration, offers: Vec<Offer>, actions: &mut Actions) {
        let mut left: Vec<(Offer, Vec<Launch>)> =
            offers.into_iter().map(|offer| (offer, Vec::new())).collect();
        let waiting: Vec<CaseId> = self
            .cases
            .iter()
            .filter(|(_, case)| case.may_be_placed(now, self.interrupted))
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            self.place(now, id, &mut left);
        }
        let (launched, declined): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(_, tasks)| !tasks.is_empty());
        for (offer, tasks) in launched {
            for launch in &tasks {
                if self.cases.get(&launch.case).is_some_and(|case| case.attempts + case.revert_attempts == 1)
                {
                    actions.push(SchedulerAction::Tell(RunEvent::Began { case: launch.case }));
                }
            }
            actions.push(SchedulerAction::Launch { offer: offer.id, agent: offer.agent, tasks });
        }
        if !declined.is_empty() {
            actions.push(SchedulerAction::Decline(declined.into_iter().map(|(offer, _)| offer.id).collect()));
        }
    }

    /// Finds room for a case among these offers, if there is any.
    fn place(&mut self, now: Duration, id: CaseId, offers: &mut [(Offer, Vec<Launch>)]) {
        let Some(case) = self.cases.get_mut(&id) else { return };
        let mut best: Option<(usize, Room, Option<String>)> = None;
        for (index, (offer, _)) in offers.iter().enumerate() {
            if offer
                .names
                .iter()
                .any(|name| case.want.hosts.iter().any(|host| host.eq_ignore_ascii_case(name)))
            {
                case.met_itself = true;
                continue;
            }
            case.largest = case.largest.max(Some(offer.room));
            let there = self
                .executors
                .iter()
                .find(|executor| {
                    !executor.gone
                        && !executor.closing
                        && executor.agent == offer.agent
                        && executor.book == case.want.book
                })
                .map(|executor| executor.id.clone());
            let need = match there {
                Some(_) => case.want.room,
                None => case.want.room.plus(self.options.executor_room),
            };
            if !offer.room.holds(need) {
                continue;
            }
            let rank = |index: usize, there: bool| {
                let offer: &Offer = &offers[index].0;
                (!case.avoided.contains(&offer.agent), there, offer.room)
            };
            let better = match &best {
                None => true,
                Some((other, _, other_there)) => {
                    rank(index, there.is_some()) > rank(*other, other_there.is_some())
                }
            };
            if better {
                best = Some((index, need, there));
            }
        }
        let Some((index, need, there)) = best else { return };
        let (offer, tasks) = &mut offers[index];
        offer.room = offer.room.minus(need);
        let executor = there.unwrap_or_else(|| {
            let id = format!("{}-e{}", self.options.run, self.executors.len() + 1);
            self.executors.push(Executor {
                id: id.clone(),
                book: case.want.book.clone(),
                agent: offer.agent.clone(),
                shown: offer.names.first().cloned().unwrap_or_else(|| offer.agent.clone()),
                confirmed: false,
                closing: false,
                gone: false,
            });
            id
        });
        let only_reverts = case.dirty;
        match only_reverts {
            true => case.revert_attempts += 1,
            false => case.attempts += 1,
        }
        let task = format!("{}-c{id}-a{}", self.options.run, case.attempts + case.revert_attempts);
        case.state = CaseState::Launched(task.clone());
        tasks.push(Launch { task: task.clone(), case: id, executor: executor.clone(), only_reverts });
        let task_state = Task {
            case: id,
            agent: offer.agent.clone(),
            executor,
            ended: false,
            ask_at: now + SILENT_AFTER,
            asked: 0,
            launched_at: now,
            unreachable_since: None,
            kill: None,
        };
        self.tasks.insert(task, task_state);
    }

    fn update(&mut self, now: Duration, update: TaskUpdate, actions: &mut Actions) {
        let known =
            self.tasks.get(&update.task).map(|task| (task.ended, self.is_current(&update.task, task)));
        let agent =
            update.agent.clone().or_else(|| self.tasks.get(&update.task).map(|task| task.agent.clone()));
        let acknowledgement = match (update.uuid, agent.clone()) {
            (Some(uuid), Some(agent)) => {
                Some(SchedulerAction::Acknowledge { agent, task: update.task.clone(), uuid })
            }
            _ => None,
        };
        let ends = matches!(update.news, TaskNews::Ended | TaskNews::Refused);
        let (Some((false, true)), Some(task)) = (known, self.tasks.get_mut(&update.task)) else {
            // The same news come again until they are acknowledged, which is only when they are safe.
            let unsafe_yet = self
                .cases
                .values()
                .any(|case| case.acknowledgement.is_some() && case.acknowledgement == acknowledgement);
            if !unsafe_yet {
                actions.extend(acknowledgement);
            }
            if let Some(task) = self.tasks.get_mut(&update.task) {
                task.ended |= ends;
            }
            // A task that nobody waits for any more, and that has not ended, is not to go on.
            if let (false, Some(agent)) = (ends || known.is_some_and(|(ended, _)| ended), agent) {
                actions.push(SchedulerAction::Kill { task: update.task, agent });
            }
            return;
        };
        task.ask_at = now + SILENT_AFTER;
        task.asked = 0;
        match update.news {
            TaskNews::Alive => {
                task.unreachable_since = None;
                let executor = task.executor.clone();
                for known in self.executors.iter_mut().filter(|other| other.id == executor) {
                    known.confirmed = true;
                }
                actions.extend(acknowledgement);
            }
            TaskNews::Unreachable => {
                task.unreachable_since.get_or_insert(now);
                actions.extend(acknowledgement);
            }
            TaskNews::Ended | TaskNews::Refused => {
                task.ended = true;
                let (case, executor) = (task.case, task.executor.clone());
                // Only what has been at work can tell that a host is clean.
                let knows = |outcome: &CaseOutcome| {
                    outcome.report.is_some() || self.cases.get(&case).is_some_and(|case| !case.dirty)
                };
                let outcome = self.unless_ended(case, update.outcome.filter(knows));
                match outcome {
                    Some(outcome) => {
                        if let Some(case) = self.cases.get_mut(&case) {
                            case.acknowledgement = acknowledgement;
                            case.recording = agent.map(|agent| SchedulerAction::Recorded {
                                task: update.task.clone(),
                                executor: executor.clone(),
                                agent,
                            });
                            case.dirty = false;
                        }
                        let outcome = self.with_attempts(case, outcome, &update.task);
                        self.settle(case, outcome, actions);
                    }
                    None => {
                        let refused = update.news == TaskNews::Refused;
                        for gone in self.executors.iter_mut().filter(|other| other.id == executor) {
                            // A task that was refused never reached its executor, which may not even have been started.
                            gone.gone |= !refused || !gone.confirmed;
                        }
                        let why = match update.message.as_str() {
                            "" => "ended by somebody else",
                            message => message,
                        };
                        self.attempt_lost(now, &update.task, why, refused, actions);
                        match self.cases.get_mut(&case).filter(|case| case.state == CaseState::Told) {
                            Some(case) => case.acknowledgement = acknowledgement,
                            None => actions.extend(acknowledgement),
                        }
                    }
                }
            }
        }
    }

    /// What an executor says of a case, unless it was ended by somebody else than this run: an operator, a drained agent. Only an
    /// interrupt of this run is a reason to skip a case: before its inducer it is tried again, and after it, it is botched.
    fn unless_ended(&self, id: CaseId, outcome: Option<CaseOutcome>) -> Option<CaseOutcome> {
        let mut outcome = outcome?;
        let case = self.cases.get(&id)?;
        let is_interrupted = |finding: &Finding| matches!(finding.kind.as_str(), "Interrupted" | "Skipped");
        if self.interrupted || case.overdue || !outcome.findings.iter().any(is_interrupted) {
            return Some(outcome);
        }
        if !case.induced && !case.dirty {
            return None;
        }
        for finding in outcome.findings.iter_mut().filter(|finding| is_interrupted(finding)) {
            *finding = Finding {
                verdict: Verdict::Botched,
                kind: "TaskEnded".to_owned(),
                message: "its task was ended by somebody else than this run, after the inducer was handed out; the host was reverted".to_owned(),
            };
        }
        outcome.verdict = worst(&outcome.findings);
        Some(outcome)
    }

    /// What an executor says of a case, with what became of it before.
    fn with_attempts(&self, id: CaseId, outcome: CaseOutcome, task: &str) -> CaseOutcome {
        let Some(case) = self.cases.get(&id) else { return outcome };
        let executor = self.tasks.get(task).map(|task| task.executor.as_str()).unwrap_or_default();
        let shown =
            self.executors.iter().find(|other| other.id == executor).map(|executor| executor.shown.clone());
        let mut outcome = outcome;
        if case.revert_attempts > 0 {
            let lost = Finding {
                verdict: Verdict::Botched,
                kind: "TaskLost".to_owned(),
                message: format!(
                    "its task was lost after the inducer was handed out, and the host was reverted by another: {}",
                    case.past.join("; ")
                ),
            };
            outcome.findings.insert(0, lost);
            outcome.verdict = worst(&outcome.findings);
        }
        if case.overdue {
            let finding = Finding {
                verdict: Verdict::Botched,
                kind: "TimeLimit".to_owned(),
                message: format!(
                    "its task took longer than all its steps together may, {}, and was ended",
                    crate::fatebook::show_duration(case.want.limit)
                ),
            };
            outcome.findings.insert(0, finding);
            outcome.verdict = worst(&outcome.findings);
        }
        if let Some(report) = &mut outcome.report {
            report.placement = Some(Placement { agent: shown.unwrap_or_default(), past: case.past.clone() });
        }
        outcome
    }

    fn attempt_lost(&mut self, now: Duration, task: &str, why: &str, refused: bool, actions: &mut Actions) {
        let Some((id, agent, executor)) =
            self.tasks.get(task).map(|task| (task.case, task.agent.clone(), task.executor.clone()))
        else {
            return;
        };
        let shown =
            self.executors.iter().find(|other| other.id == executor).map(|executor| executor.shown.clone());
        let interrupted = self.interrupted;
        let retries = self.options.task_retries;
        let Some(case) = self.cases.get_mut(&id) else { return };
        let number = case.attempts + case.revert_attempts;
        case.past.push(format!("attempt {number} on {}: {why}", shown.unwrap_or_else(|| agent.clone())));
        case.avoided.push(agent);
        case.state = CaseState::Waiting;
        case.waits_since = now;
        case.told = None;
        let losses = u32::try_from(case.past.len()).unwrap_or(u32::MAX);
        // What fails at once may fail again at once, but not for ever.
        case.not_before = (losses > 1).then(|| {
            now + (LOSS_PAUSE_FIRST * 2u32.saturating_pow(losses.min(10) - 2)).min(LOSS_PAUSE_LONGEST)
        });
        let past = case.past.join("; ");
        let outcome = if case.dirty {
            let since = *case.dirty_lost_at.get_or_insert(now);
            let long_enough = now >= since + case.want.revert_limit.max(REVERTED_WITHIN);
            (case.revert_attempts >= REVERT_ATTEMPTS_MIN && long_enough).then(|| {
                CaseOutcome::lost(format!(
                    "all tasks that were to revert the host were lost: {past}: the host may still be broken"
                ))
            })
        } else if case.induced {
            Some(CaseOutcome::botched(
                "TaskLost",
                format!("its task was lost after the host was reverted: {past}"),
            ))
        } else if interrupted {
            Some(CaseOutcome::skipped("interrupted before the inducer"))
        } else if refused {
            Some(CaseOutcome::botched("TaskRefused", past))
        } else {
            (case.attempts > retries).then(|| CaseOutcome::botched("TaskLost", past))
        };
        match outcome {
            Some(outcome) => self.settle(id, outcome, actions),
            None => self.revive_due |= losses == 1,
        }
    }

    fn settle(&mut self, id: CaseId, outcome: CaseOutcome, actions: &mut Actions) {
        let Some(case) = self.cases.get_mut(&id) else { return };
        if case.state == CaseState::Told {
            return;
        }
        case.state = CaseState::Told;
        actions.push(SchedulerAction::Tell(RunEvent::Settled { case: id, outcome }));
    }

    fn news(&mut self, id: &str, event: RunEvent, actions: &mut Actions) {
        if matches!(event, RunEvent::HostLeft { .. } | RunEvent::Warning { .. }) {
            // Executors tell so when their tasks are over.
            actions.push(SchedulerAction::Tell(event));
            return;
        }
        let Some(task) = self.tasks.get(id).filter(|task| !task.ended && self.is_current(id, task)) else {
            return;
        };
        let case = task.case;
        match event {
            RunEvent::Reverted { .. } => {
                if let Some(known) = self.cases.get_mut(&case) {
                    known.dirty = false;
                }
                actions.push(SchedulerAction::Tell(event));
            }
            // That it began was told when it was launched, how it ends comes with an update, and the rest is asked.
            RunEvent::Began { .. } | RunEvent::Settled { .. } | RunEvent::MayBeDirty { .. } => {}
            event => actions.push(SchedulerAction::Tell(event)),
        }
    }

    /// Once it may induce, the case is dirty until its executor tells otherwise.
    fn asked(&mut self, id: &str, question: u64, heal: String, mark: Box<HostMark>, actions: &mut Actions) {
        let Some(task) = self.tasks.get(id) else { return };
        let answer = |result| SchedulerAction::Answer {
            task: id.to_owned(),
            executor: task.executor.clone(),
            agent: task.agent.clone(),
            question,
            result,
        };
        let current = !task.ended && self.is_current(id, task) && task.kill.is_none();
        match self.cases.get_mut(&task.case).filter(|_| current) {
            None => actions.push(answer(Err("nobody waits for this attempt any more".to_owned()))),
            // The first answer may have been lost on its way.
            Some(known) if known.dirty => actions.push(answer(Ok(()))),
            Some(known) if known.induced => {
                actions.push(answer(Err("the inducer was handed out before".to_owned())));
            }
            Some(known) => {
                known.question = question;
                if !std::mem::replace(&mut known.noting, true) {
                    actions.push(SchedulerAction::Tell(RunEvent::MayBeDirty { case: task.case, heal, mark }));
                }
            }
        }
    }

    fn noted(&mut self, id: CaseId, result: Result<(), String>, actions: &mut Actions) {
        let Some(case) = self.cases.get_mut(&id).filter(|case| case.noting) else { return };
        case.noting = false;
        let task = match &case.state {
            CaseState::Launched(id) => {
                self.tasks.get(id).filter(|task| !task.ended && task.kill.is_none()).map(|task| (id, task))
            }
            _ => None,
        };
        let Some((id, task)) = task else {
            // Whoever asked is gone, so nothing was induced.
            if case.state != CaseState::Told {
                actions.push(SchedulerAction::Tell(RunEvent::Reverted { case: id }));
            }
            return;
        };
        case.induced |= result.is_ok();
        case.dirty |= result.is_ok();
        actions.push(SchedulerAction::Answer {
            task: id.clone(),
            executor: task.executor.clone(),
            agent: task.agent.clone(),
            question: case.question,
            result,
        });
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

    fn shut_down(&mut self, book: Option<&str>, actions: &mut Actions) {
        let going = self
            .executors
            .iter_mut()
            .filter(|executor| !executor.gone && book.is_none_or(|book| executor.book == book));
        for executor in going {
            executor.closing = true;
            actions.push(SchedulerAction::Shutdown {
                executor: executor.id.clone(),
                agent: executor.agent.clone(),
            });
        }
    }

    fn do_what_is_due(&mut self, now: Duration, actions: &mut Actions) {
        match &self.link {
            Link::Down { retry_at, tries, why } if now >= *retry_at => {
                let (tries, why) = (*tries, why.clone());
                self.link = Link::Trying { since: now, tries, why };
                actions.push(SchedulerAction::Subscribe { framework: self.framework.clone() });
            }
            Link::Up { heartbeat, heard_at, .. } if now >= *heard_at + *heartbeat * HEARTBEATS_MISSED_MAX => {
                let why = format!("nothing was heard of the master for {HEARTBEATS_MISSED_MAX} heartbeats");
                actions.push(SchedulerAction::Abandon);
                self.down_since = Some(now);
                self.link = Link::Trying { since: now, tries: 0, why };
                actions.push(SchedulerAction::Subscribe { framework: self.framework.clone() });
            }
            Link::Trying { since, tries, .. } if now >= *since + TAKEN_IN_WITHIN => {
                let why = "the master does not take us in".to_owned();
                actions.push(SchedulerAction::Abandon);
                self.link = Link::Down { retry_at: now, tries: tries + 1, why };
            }
            _ => {}
        }
        let ids: Vec<CaseId> = self.cases.keys().copied().collect();
        for id in ids {
            self.wait_on(now, id, actions);
        }
        let running: Vec<String> = self.current_tasks().map(|(id, _)| id.clone()).collect();
        let up = matches!(self.link, Link::Up { .. });
        let mut asked = Vec::new();
        for id in running {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            let limit = self.cases.get(&task.case).map(|case| case.want.revert_limit).unwrap_or_default();
            if up && now >= task.ask_at {
                task.asked += 1;
                task.ask_at =
                    now + (ASKED_AGAIN_AFTER * 2u32.saturating_pow(task.asked.min(5))).min(SILENT_AFTER);
                asked.push((id.clone(), task.agent.clone()));
            }
            if self.down_since.is_some_and(|since| now >= since + GIVEN_UP_AFTER) {
                self.attempt_lost(now, &id, "the master could not be reached for too long", false, actions);
                continue;
            }
            let overdue = self
                .cases
                .get_mut(&task.case)
                .filter(|case| task.kill.is_none() && now >= task.launched_at + case.want.limit);
            if let Some(case) = overdue {
                case.overdue = true;
                task.kill = Some(Kill::begin(now, limit));
            }
            if task.unreachable_since.is_some_and(|since| now >= since + UNREACHABLE_MAX) {
                self.attempt_lost(now, &id, "its agent cannot be reached", false, actions);
                continue;
            }
            let Some(kill) = &mut task.kill else { continue };
            if up && now >= kill.again_at {
                kill.again_at = now + KILLED_AGAIN_AFTER;
                actions.push(SchedulerAction::Kill { task: id.clone(), agent: task.agent.clone() });
            }
            if now >= kill.shutdown_at && !kill.shut_down {
                kill.shut_down = true;
                kill.shutdown_at = now + limit + OBEYED_WITHIN;
                actions.push(SchedulerAction::Shutdown {
                    executor: task.executor.clone(),
                    agent: task.agent.clone(),
                });
            } else if now >= kill.shutdown_at {
                self.attempt_lost(now, &id, "it was told to end, and did not", false, actions);
            }
        }
        if !asked.is_empty() {
            actions.push(SchedulerAction::Reconcile(asked));
        }
    }

    /// Tells why a case waits, and gives it up when it has waited for too long.
    fn wait_on(&mut self, now: Duration, id: CaseId, actions: &mut Actions) {
        let why_not_up = match &self.link {
            Link::Up { .. } => None,
            Link::Down { why, .. } | Link::Trying { why, .. } | Link::Dead { why } => Some(why.clone()),
            Link::Idle => Some(String::new()),
        };
        let (timeout, master) = (self.options.offer_timeout, self.options.master.clone());
        let executor_room = self.options.executor_room;
        let down_for = self.down_since.map(|since| now.saturating_sub(since));
        let Some(case) = self.cases.get_mut(&id) else { return };
        if let (CaseState::Launched(_), Some(why)) = (&case.state, &why_not_up) {
            let what = format!("the Mesos master {master}, its task may be running: {why}");
            if down_for.is_some_and(|time| time >= TOLD_AFTER) && case.told.is_none() {
                case.told = Some(what.clone());
                actions.push(SchedulerAction::Tell(RunEvent::Waiting { case: id, what }));
            }
        }
        if case.state != CaseState::Waiting {
            return;
        }
        if case.not_before.take_if(|at| now >= *at).is_some() {
            self.revive_due = true;
        }
        let waited = now.saturating_sub(case.waits_since);
        let wanted = format!("an offer with {} (and {executor_room} for its executor)", case.want.room);
        let seen = match (case.largest, case.met_itself) {
            (Some(room), _) => format!("largest seen {room}"),
            (None, true) => "offered was only the host itself that the case breaks".to_owned(),
            (None, false) => "none was seen".to_owned(),
        };
        let what = match &why_not_up {
            Some(why) if why.is_empty() => format!("the Mesos master {master}"),
            Some(why) => format!("the Mesos master {master}: {why}"),
            None => format!("{wanted}; {seen}"),
        };
        if waited >= timeout {
            let shown = crate::fatebook::show_duration(timeout);
            let past = if case.past.is_empty() {
                String::new()
            } else {
                format!(", after {}", case.past.join("; "))
            };
            let outcome = match (case.dirty, why_not_up) {
                (true, _) => CaseOutcome::lost(format!(
                    "nothing could revert the host for {shown}: waited for {what}{past}: the host may still be broken"
                )),
                (false, Some(_)) => {
                    CaseOutcome::botched("MesosUnreachable", format!("waited {shown} for {what}{past}"))
                }
                (false, None) => CaseOutcome::botched("NoOffer", format!("waited {shown} for {what}{past}")),
            };
            return self.settle(id, outcome, actions);
        }
        if waited >= TOLD_AFTER && case.told.as_ref() != Some(&what) {
            case.told = Some(what.clone());
            actions.push(SchedulerAction::Tell(RunEvent::Waiting { case: id, what }));
        }
    }

    fn ask_for_offers(&mut self, actions: &mut Actions) {
        if !matches!(self.link, Link::Up { .. }) {
            return;
        }
        let wanting = self.cases.values().any(|case| case.state == CaseState::Waiting);
        if wanting && (self.suppressed || self.revive_due) {
            actions.push(SchedulerAction::Revive);
            self.suppressed = false;
        } else if !wanting && !self.suppressed {
            actions.push(SchedulerAction::Suppress);
            self.suppressed = true;
        }
        self.revive_due = false;
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
#[path = "scheduler_tests.rs"]
mod tests;
