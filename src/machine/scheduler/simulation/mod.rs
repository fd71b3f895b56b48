//! The scheduler and executors in a world of virtual time that loses, repeats and delays messages, and kills executors,
//! agents and the master. Every seed is another history; a failing one is repeated by its number.
//!
//! `PISAURA_SEEDS=100000` runs more of them, `PISAURA_SEED=17` that one alone, with everything that happens.
//!
//! Here stands what can happen, and what must hold; the master and its agents are in `master`, what runs on them in `executors`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use super::super::executor::{ExecutorAction, ExecutorEvent, ExecutorMachine, Report, Update};
use super::*;

mod executors;
mod master;
mod world;

use world::{Chance, Happening, SimAgent, SimExecutor, SimTask, Work, World};

const BOOKS: usize = 4;
const CASES_OF_A_BOOK: usize = 3;
const AGENTS: usize = 3;
/// Everything has to be settled by then, whatever happened.
const DAY: Duration = Duration::from_secs(24 * 3600);

fn room(agent: &SimAgent) -> Room {
    let total = Room { cpu_milli: 2000, mem_mib: 2048 };
    agent.tasks.values().filter(|(_, _, ended)| !ended).fold(total, |left, (_, room, _)| left.minus(*room))
}

const TASK_ROOM: Room = Room { cpu_milli: 1000, mem_mib: 256 };

impl World {
    fn new(seed: u64, verbose: bool) -> Self {
        let scheduler = Scheduler::new(SchedulerOptions {
            offer_timeout: Duration::from_secs(1800),
            task_retries: 5,
            executor_room: Room { cpu_milli: 10, mem_mib: 32 },
            run: "r".into(),
            master: "m".into(),
        });
        let mut chance = Chance(seed);
        let faults_until =
            if chance.once_in(4) { Duration::ZERO } else { Duration::from_secs(chance.below(900)) };
        let mut world = Self {
            chance,
            now: Duration::ZERO,
            number: 0,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            scheduler,
            woken_at: None,
            over: false,
            master_up: true,
            framework: None,
            frameworks: 0,
            subscription: None,
            subscriptions: 0,
            suppressed: false,
            offers: BTreeMap::new(),
            answered: BTreeSet::new(),
            offer_count: 0,
            agents: (0..AGENTS)
                .map(|_| SimAgent { up: true, reachable: true, ..SimAgent::default() })
                .collect(),
            executors: BTreeMap::new(),
            dirty: BTreeSet::new(),
            noted: BTreeSet::new(),
            induced: BTreeMap::new(),
            next_case: vec![0; BOOKS],
            running: BTreeMap::new(),
            settled: BTreeMap::new(),
            recorded: BTreeSet::new(),
            safe: BTreeSet::new(),
            interrupted: false,
            closed: false,
            faults_until,
            acknowledged: BTreeMap::new(),
            delivered: BTreeMap::new(),
            results: BTreeMap::new(),
            verbose,
            last_arrival: Duration::ZERO,
        };
        for book in 0..BOOKS {
            world.after(Duration::from_millis(book as u64 * 7), Happening::NextCase { book });
        }
        world.after(Duration::from_secs(1), Happening::Allocate);
        let first = world.chance.millis(10, 20_000);
        world.after(first, Happening::Fault);
        world
    }

    fn after(&mut self, pause: Duration, happening: Happening) {
        self.number += 1;
        self.queue.push(Reverse((self.now + pause, self.number)));
        self.happenings.insert(self.number, happening);
    }

    /// To the scheduler, on its subscription: in order, now or a little later, and lost with the connection.
    fn send(&mut self, event: SchedulerEvent) {
        let Some(subscription) = self.subscription else { return };
        let pause = self.chance.millis(1, 40);
        self.last_arrival = self.last_arrival.max(self.now + pause);
        let pause = self.last_arrival - self.now;
        self.after(pause, Happening::ToScheduler { subscription, event });
    }

    fn run(mut self) {
        while !self.over {
            let next = self.queue.peek().map(|Reverse((at, _))| *at);
            let wake = self.scheduler.wake_at();
            match (wake, next) {
                (Some(wake), next) if next.is_none_or(|next| wake < next) => {
                    assert!(
                        self.woken_at != Some(wake) || wake > self.now,
                        "woken for nothing, again and again"
                    );
                    self.now = self.now.max(wake);
                    self.woken_at = Some(wake);
                    self.tell(SchedulerEvent::Woke);
                }
                (_, Some(_)) => {
                    let Some(Reverse((at, number))) = self.queue.pop() else { break };
                    self.now = self.now.max(at);
                    if let Some(happening) = self.happenings.remove(&number) {
                        if self.verbose {
                            println!("{:>10.3} {happening:?}", self.now.as_secs_f64());
                        }
                        self.happen(happening);
                        self.check_journal();
                    }
                }
                _ => break,
            }
            assert!(
                self.now < DAY,
                "not over after a day: settled {:?} of {}",
                self.settled.keys(),
                BOOKS * CASES_OF_A_BOOK
            );
        }
        // What is still under way comes to its end.
        while let Some(Reverse((at, number))) = self.queue.pop() {
            self.now = self.now.max(at);
            match self.happenings.remove(&number) {
                Some(
                    Happening::Fault
                    | Happening::Allocate
                    | Happening::NextCase { .. }
                    | Happening::Retry { .. },
                )
                | None => {}
                Some(happening) if self.now < DAY * 2 => self.happen(happening),
                Some(_) => {}
            }
        }
        self.check();
    }

    /// Were the run to die at this moment, the next one would find in the journal what is dirty. A case whose noting had just
    /// been refused or settled was never dirty.
    fn check_journal(&self) {
        for case in &self.dirty {
            assert!(self.noted.contains(case), "case {case} is dirty, and the journal does not say so");
        }
    }

    fn check(&self) {
        assert_eq!(self.settled.len(), BOOKS * CASES_OF_A_BOOK, "each case is settled");
        for (case, count) in &self.induced {
            assert_eq!(*count, 1, "case {case} was induced more than once");
        }
        if !self.interrupted {
            // Whoever else ends something has not said that a case is not to be run.
            let skipped = self.settled.iter().find(|(_, outcome)| outcome.verdict == Verdict::Skipped);
            assert!(skipped.is_none(), "left out, and nobody asked for that: {skipped:?}");
        }
        for (case, outcome) in &self.settled {
            // Whatever an old attempt has done meanwhile.
            let was_tried = self.induced.contains_key(case);
            assert!(
                outcome.verdict != Verdict::Survived || was_tried,
                "case {case} survived what was never tried"
            );
        }
        for case in &self.dirty {
            let verdict = self.settled[case].verdict;
            assert_eq!(verdict, Verdict::Unreverted, "case {case} left its host broken, and nobody is told");
        }
        if self.faults_until.is_zero() && !self.interrupted {
            for (case, outcome) in &self.settled {
                assert_eq!(outcome.verdict, Verdict::Survived, "case {case}: {:?}", outcome.findings);
            }
        }
    }

    fn tell(&mut self, event: SchedulerEvent) {
        if self.over {
            return;
        }
        if let SchedulerEvent::Update(TaskUpdate { uuid: Some(uuid), task, .. }) = &event {
            self.delivered.insert(uuid.clone(), task.clone());
        }
        let offered: Vec<String> = match &event {
            SchedulerEvent::Offers(offers) => offers.iter().map(|offer| offer.id.clone()).collect(),
            _ => Vec::new(),
        };
        let uuid = match &event {
            SchedulerEvent::Update(TaskUpdate { uuid, .. }) => uuid.clone(),
            _ => None,
        };
        let actions = self.scheduler.step(self.now, event);
        for action in &actions {
            if let (SchedulerAction::Tell(RunEvent::Settled { case, .. }), Some(uuid)) = (action, &uuid) {
                self.results.insert(uuid.clone(), *case);
            }
        }
        if self.verbose {
            println!("{:>10.3}    → {actions:?}", self.now.as_secs_f64());
        }
        let mut answered: Vec<&String> = Vec::new();
        for action in &actions {
            match action {
                SchedulerAction::Launch { offer, .. } => answered.push(offer),
                SchedulerAction::Decline(offers) => answered.extend(offers),
                _ => {}
            }
        }
        answered.sort();
        let mut wanted: Vec<&String> = offered.iter().collect();
        wanted.sort();
        assert_eq!(answered, wanted, "each offer is answered at once, and once");
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: SchedulerAction) {
        match action {
            SchedulerAction::Subscribe { framework } => {
                self.subscriptions += 1;
                let subscription = self.subscriptions;
                self.subscription = None;
                let pause = self.chance.millis(1, 20);
                self.after(pause, Happening::SubscribeReached { subscription, framework });
            }
            SchedulerAction::Abandon => self.subscription = None,
            SchedulerAction::Tell(RunEvent::Settled { case, outcome }) => {
                if outcome.verdict != Verdict::Unreverted {
                    self.noted.remove(&case);
                }
                assert!(self.settled.insert(case, outcome).is_none(), "case {case} is settled twice");
                let pause = self.chance.millis(0, 30);
                // A full disk is told to the run, which goes on.
                let safely = !self.chance.once_in(50);
                self.after(pause, Happening::Told(SchedulerEvent::Recorded { case, safely }));
            }
            SchedulerAction::Tell(RunEvent::MayBeDirty { case, .. }) => {
                let pause = self.chance.millis(0, 30);
                let result = if self.now < self.faults_until && self.chance.once_in(50) {
                    Err("full".into())
                } else {
                    Ok(())
                };
                self.after(pause, Happening::Told(SchedulerEvent::Noted { case, result }));
            }
            SchedulerAction::Tell(RunEvent::Reverted { case, .. }) => {
                self.noted.remove(&case);
            }
            SchedulerAction::Tell(_) => {}
            SchedulerAction::Over => self.over = true,
            SchedulerAction::Acknowledge { agent, task, uuid } => {
                assert!(self.delivered.contains_key(&uuid), "an update is acknowledged that never came");
                let safe = self.results.get(&uuid).is_none_or(|case| self.recorded.contains(case));
                assert!(safe, "a result is acknowledged before it is safe");
                *self.acknowledged.entry(uuid.clone()).or_default() += 1;
                self.call(SchedulerAction::Acknowledge { agent, task, uuid });
            }
            action => self.call(action),
        }
    }

    fn call(&mut self, action: SchedulerAction) {
        let subscription = self.subscriptions;
        let pause = self.chance.millis(1, 10);
        self.last_arrival = self.last_arrival.max(self.now + pause);
        let pause = self.last_arrival - self.now;
        self.after(pause, Happening::ToMaster { subscription, action });
    }

    fn lose_connection(&mut self, retry: Retry) {
        if self.subscription.take().is_some() {
            self.subscriptions += 1;
            self.offers.clear();
            let chance = self.chance.below(100) as f64 / 100.0;
            self.after(
                Duration::from_millis(1),
                Happening::Told(SchedulerEvent::Lost { why: "cut".into(), retry, chance }),
            );
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ToScheduler { subscription, event } => {
                if self.subscription == Some(subscription) {
                    self.tell(event);
                }
            }
            Happening::Told(event) => {
                if let SchedulerEvent::Recorded { case, safely } = event {
                    self.recorded.insert(case);
                    if safely {
                        self.safe.insert(case);
                    }
                    let book = case / CASES_OF_A_BOOK;
                    self.running.remove(&book);
                    self.tell(event);
                    self.after(Duration::ZERO, Happening::NextCase { book });
                } else {
                    if let SchedulerEvent::Noted { case, result: Ok(()) } = &event {
                        self.noted.insert(*case);
                    }
                    self.tell(event);
                }
            }
            Happening::NextCase { book } => self.next_case(book),
            Happening::SubscribeReached { subscription, framework } => {
                self.subscribe(subscription, framework.as_deref());
            }
            Happening::ToMaster { subscription, action } => {
                if self.subscription == Some(subscription) && self.master_up {
                    self.master_hears(action);
                }
            }
            Happening::ToExecutor { executor, event } => self.executor_hears(&executor, event),
            Happening::WakeExecutor { executor } => self.executor_hears(&executor, ExecutorEvent::Woke),
            Happening::Work { executor, task, next } => self.work(&executor, &task, next),
            Happening::Answered { executor, task, asked_at, result } => {
                let fresh = self.now - asked_at < Duration::from_secs(10);
                let Some(known) =
                    self.executors.get_mut(&executor).filter(|known| known.alive && known.asking)
                else {
                    return;
                };
                if known.task.as_ref().is_none_or(|known| known.id != task) || (result && !fresh) {
                    return;
                }
                known.asking = false;
                if result {
                    let case = known.task.as_ref().map(|task| task.case).unwrap_or_default();
                    assert!(!self.settled.contains_key(&case), "case {case} is induced after it was settled");
                    known.induced = true;
                    *self.induced.entry(case).or_default() += 1;
                    self.dirty.insert(case);
                    let pause = self.chance.millis(5, 3000);
                    self.after(pause, Happening::Work { executor, task, next: Work::Induced });
                } else {
                    self.after(Duration::ZERO, Happening::Work { executor, task, next: Work::Done });
                }
            }
            Happening::Updated { agent, generation, executor, update } => {
                self.updated(agent, generation, &executor, &update);
            }
            Happening::Retry { agent, generation, task, uuid } => {
                let known = &self.agents[agent];
                let first = known.updates.get(&task).and_then(|updates| updates.first());
                if known.generation == generation && first.is_some_and(|(first, ..)| *first == uuid) {
                    self.tell_update(agent, &task);
                }
            }
            Happening::ExecutorTold { executor, task, reverted, question, asked_at } => {
                // A message is delivered once, or not at all.
                let agent = self.executors.get(&executor).map_or(0, |known| known.agent);
                if self.chance.once_in(10) || !self.agents[agent].reachable || !self.master_up {
                    return;
                }
                if let Some(question) = question {
                    let _ = asked_at;
                    // The answer carries the time of its question by its number, which is what the executor would look up.
                    let question = question.max(1);
                    self.send(SchedulerEvent::Asked { task, question, hosts: Vec::new() });
                } else if reverted {
                    let case = self
                        .executors
                        .get(&executor)
                        .and_then(|known| known.task.as_ref())
                        .map(|task| task.case);
                    if let Some(case) = case {
                        self.send(SchedulerEvent::News {
                            task,
                            event: RunEvent::Reverted { case, host: None },
                        });
                    }
                }
            }
            Happening::MasterUp => self.master_up = true,
            Happening::AgentUp { agent } => {
                let agent = &mut self.agents[agent];
                (agent.up, agent.reachable) = (true, true);
            }
            Happening::AgentReachable { agent, generation } => {
                if self.agents[agent].generation == generation {
                    self.agents[agent].reachable = true;
                    let tasks: Vec<String> = self.agents[agent].updates.keys().cloned().collect();
                    for task in tasks {
                        self.tell_update(agent, &task);
                    }
                }
            }
            Happening::Ended { executor } => self.executor_gone(&executor),
            Happening::Allocate => {
                self.allocate();
                if !self.over {
                    self.after(Duration::from_secs(1), Happening::Allocate);
                }
            }
            Happening::Fault => self.fault(),
        }
    }

    fn next_case(&mut self, book: usize) {
        let index = self.next_case[book];
        if self.running.contains_key(&book) {
            return;
        }
        if index == CASES_OF_A_BOOK {
            let done = (0..BOOKS)
                .all(|book| self.next_case[book] == CASES_OF_A_BOOK && !self.running.contains_key(&book));
            self.tell(SchedulerEvent::CloseBook { book: format!("b{book}") });
            if done && !self.closed {
                self.closed = true;
                self.tell(SchedulerEvent::Close);
            }
            return;
        }
        let case = book * CASES_OF_A_BOOK + index;
        self.next_case[book] += 1;
        self.running.insert(book, case);
        self.tell(SchedulerEvent::Want(Want {
            case,
            book: format!("b{book}"),
            room: TASK_ROOM,
            hosts: vec![format!("a{}", case % (AGENTS + 3))],
            revert_limit: Duration::from_secs(30),
            limit: Duration::from_secs(600),
        }));
    }
}

/// One history; panics where it goes wrong.
pub(super) fn history(seed: u64, verbose: bool) {
    World::new(seed, verbose).run();
}
