//! The scheduler and executors in a world of virtual time that loses, repeats and delays messages, and kills executors,
//! agents and the master. Every seed is another history; a failing one is repeated by its number.
//!
//! Before them stand a few conversations told in full.
//!
//! `PISAURA_SEEDS=100000` runs more of them, `PISAURA_SEED=17` that one alone, with everything that happens.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use super::super::executor::{ExecutorAction, ExecutorEvent, ExecutorMachine, Report, Update};
use super::*;

const BOOKS: usize = 4;
const CASES_OF_A_BOOK: usize = 3;
const AGENTS: usize = 3;
/// Everything has to be settled by then, whatever happened.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A scheduler that is subscribed, and what it says as a person would: `T` is the event's time in seconds.
struct Told {
    scheduler: Scheduler,
}

impl Told {
    fn new() -> Self {
        let scheduler = Scheduler::new(SchedulerOptions {
            offer_timeout: Duration::from_secs(300),
            task_retries: 1,
            executor_room: Room { cpu_milli: 10, mem_mib: 32 },
            run: "r".into(),
            master: "m".into(),
        });
        Self { scheduler }
    }

    /// Compares all that is to be done upon an event.
    #[track_caller]
    fn check(&mut self, at_seconds: u64, event: SchedulerEvent, want: &[&str]) {
        let actions = self.scheduler.step(Duration::from_secs(at_seconds), event);
        let told: Vec<String> = actions.iter().map(words).collect();
        assert_eq!(told, want);
    }

    #[track_caller]
    fn check_wake(&self, at_seconds: u64) {
        assert_eq!(self.scheduler.wake_at(), Some(Duration::from_secs(at_seconds)));
    }

    /// The first case is launched on the agent `a1`.
    fn launched() -> Self {
        let mut told = Self::new();
        told.check(0, want(1), &["subscribe"]);
        told.check(1, subscribed(), &["tell: framework f", "tell: waiting for an offer with cpu 1, mem 256 (and cpu 0.01, mem 32 for its executor); none was seen"]);
        told.check(1, offers(&["a1"]), &["tell: began", "launch r-c1-a1 by r-e1 on o-a1", "suppress"]);
        told.check(2, alive("r-c1-a1"), &["acknowledge r-c1-a1"]);
        told
    }
}

fn words(action: &SchedulerAction) -> String {
    match action {
        SchedulerAction::Subscribe { framework } => {
            format!("subscribe{}", framework.as_ref().map(|id| format!(" as {id}")).unwrap_or_default())
        }
        SchedulerAction::Launch { offer, tasks, .. } => {
            let launch = |launch: &Launch| {
                let verb = if launch.only_reverts { "revert by" } else { "launch" };
                format!("{verb} {} by {} on {offer}", launch.task, launch.executor)
            };
            tasks.iter().map(launch).collect::<Vec<_>>().join(", ")
        }
        SchedulerAction::Decline(offers) => format!("decline {}", offers.join(" ")),
        SchedulerAction::Acknowledge { task, .. } => format!("acknowledge {task}"),
        SchedulerAction::Reconcile(tasks) => {
            format!("reconcile {}", tasks.iter().map(|(task, _)| task.as_str()).collect::<Vec<_>>().join(" "))
        }
        SchedulerAction::Kill { task, .. } => format!("kill {task}"),
        SchedulerAction::Shutdown { executor, .. } => format!("shut down {executor}"),
        SchedulerAction::Answer { task, question, result, .. } => {
            format!("answer {question} of {task}: {result:?}")
        }
        SchedulerAction::Recorded { task, .. } => format!("recorded {task}"),
        SchedulerAction::Tell(RunEvent::Waiting { what, .. }) => format!("tell: waiting for {what}"),
        SchedulerAction::Tell(RunEvent::Framework { id, .. }) => format!("tell: framework {id}"),
        SchedulerAction::Tell(RunEvent::Began { .. }) => "tell: began".to_owned(),
        SchedulerAction::Tell(RunEvent::MayBeDirty { .. }) => "tell: may be dirty".to_owned(),
        SchedulerAction::Tell(RunEvent::Settled { outcome, .. }) => {
            let first = outcome.findings.first().map_or("", |finding| finding.message.as_str());
            format!("tell: {}, {first}", outcome.verdict)
        }
        other => format!("{other:?}").to_lowercase(),
    }
}

fn want(case: CaseId) -> SchedulerEvent {
    SchedulerEvent::Want(Want {
        case,
        book: "b".into(),
        room: TASK_ROOM,
        hosts: vec!["itself".into()],
        revert_limit: Duration::from_secs(30),
        limit: Duration::from_secs(600),
    })
}

fn subscribed() -> SchedulerEvent {
    SchedulerEvent::Subscribed { framework: "f".into(), heartbeat: Duration::from_secs(15) }
}

fn offers(names: &[&str]) -> SchedulerEvent {
    let offer = |name: &&str| Offer {
        id: format!("o-{name}"),
        agent: format!("id-{name}"),
        names: vec![(*name).to_owned()],
        room: if name.starts_with("small") {
            Room { cpu_milli: 500, mem_mib: 9000 }
        } else {
            Room { cpu_milli: 2000, mem_mib: 2048 }
        },
    };
    SchedulerEvent::Offers(names.iter().map(offer).collect())
}

fn update(task: &str, news: TaskNews, message: &str) -> SchedulerEvent {
    SchedulerEvent::Update(TaskUpdate {
        task: task.into(),
        agent: Some("id-a1".into()),
        uuid: Some(vec![7]),
        news,
        message: message.into(),
        outcome: None,
    })
}

fn alive(task: &str) -> SchedulerEvent {
    update(task, TaskNews::Alive, "TASK_RUNNING")
}

fn asked(task: &str, question: u64) -> SchedulerEvent {
    SchedulerEvent::Asked { task: task.into(), question, heal: "h".into(), mark: Box::default() }
}

#[test]
fn a_master_that_falls_silent_is_left() {
    let mut told = Told::launched();
    told.check(10, SchedulerEvent::Heartbeat, &[]);
    // The task has been silent, too, and is asked for; nobody answers.
    told.check_wake(62);
    told.check(62, SchedulerEvent::Woke, &["reconcile r-c1-a1"]);
    told.check(85, SchedulerEvent::Woke, &["abandon", "subscribe as f"]);
    told.check(86, subscribed(), &["reconcile r-c1-a1", "suppress"]);
}

#[test]
fn a_case_goes_where_it_fits_and_not_on_its_own_host() {
    let mut told = Told::new();
    told.check(0, want(1), &["subscribe"]);
    told.check(0, subscribed(), &["tell: framework f"]);
    told.check(0, offers(&["small", "itself"]), &["decline o-small o-itself"]);
    let waits = "an offer with cpu 1, mem 256 (and cpu 0.01, mem 32 for its executor); largest seen cpu 0.5, mem 9000";
    told.check(1, SchedulerEvent::Woke, &[&format!("tell: waiting for {waits}")]);
    told.check(1, want(2), &["revive"]);
    told.check(
        2,
        offers(&["small2", "a1", "a2"]),
        &[
            "tell: began",
            "launch r-c1-a1 by r-e1 on o-a1",
            "tell: began",
            "launch r-c2-a1 by r-e2 on o-a2",
            "decline o-small2",
            "suppress",
        ],
    );
    told.check(3, offers(&["a1"]), &["decline o-a1"]);
}

#[test]
fn an_offer_that_never_comes_is_not_waited_for_for_ever() {
    let mut told = Told::new();
    told.check(0, want(1), &["subscribe"]);
    told.check(0, subscribed(), &["tell: framework f"]);
    told.check(0, offers(&["itself"]), &["decline o-itself"]);
    let waits = "an offer with cpu 1, mem 256 (and cpu 0.01, mem 32 for its executor); the only offers were from the host that this case breaks";
    told.check(60, SchedulerEvent::Heartbeat, &[&format!("tell: waiting for {waits}")]);
    for at_seconds in [120, 180, 240, 299] {
        told.check(at_seconds, SchedulerEvent::Heartbeat, &[]);
    }
    told.check_wake(300);
    told.check(300, SchedulerEvent::Woke, &[&format!("tell: botched, waited 5m for {waits}"), "suppress"]);
}

/// Somebody else had the host when the inducer was to begin, so nothing was broken: the same attempt asks anew, and nobody else may.
#[test]
fn leave_is_asked_for_again_where_nothing_was_begun() {
    let mut told = Told::launched();
    let task = "r-c1-a1";
    let news = |event| SchedulerEvent::News { task: task.to_owned(), event };
    let noted = || SchedulerEvent::Noted { case: 1, result: Ok(()) };
    told.check(3, asked(task, question_number(0) + 1), &["tell: may be dirty"]);
    told.check(3, noted(), &["answer 1 of r-c1-a1: Ok(())"]);
    told.check(4, news(RunEvent::Reverted { case: 1 }), &["tell(reverted { case: 1 })"]);
    // One of before that is late, and the next one.
    told.check(
        5,
        asked(task, question_number(0) + 2),
        &["answer 2 of r-c1-a1: Err(\"the inducer was handed out before\")"],
    );
    told.check(6, asked(task, question_number(1) + 1), &["tell: may be dirty"]);
    told.check(6, noted(), &["answer 1048577 of r-c1-a1: Ok(())"]);
    told.check(7, asked(task, question_number(1) + 2), &["answer 1048578 of r-c1-a1: Ok(())"]);
}

/// An executor hears that its word is written down only if it is: until then what its hosts say of it stays there.
#[test]
fn what_is_written_down_is_told() {
    for safely in [true, false] {
        let mut told = Told::launched();
        let SchedulerEvent::Update(mut ended) = update("r-c1-a1", TaskNews::Ended, "") else { return };
        ended.outcome = Some(CaseOutcome {
            report: Some(crate::machine::CaseReport::default()),
            verdict: Verdict::Survived,
            findings: Vec::new(),
        });
        told.check(3, SchedulerEvent::Update(ended), &["tell: survived, "]);
        let said: &[&str] =
            if safely { &["acknowledge r-c1-a1", "recorded r-c1-a1"] } else { &["acknowledge r-c1-a1"] };
        told.check(4, SchedulerEvent::Recorded { case: 1, safely }, said);
    }
}

#[test]
fn a_task_lost_before_inducing_is_run_again() {
    let mut told = Told::launched();
    let lost = |task: &str| update(task, TaskNews::Ended, "TASK_FAILED");
    told.check(3, lost("r-c1-a1"), &["acknowledge r-c1-a1", "revive"]);
    // Another agent comes first.
    told.check(3, offers(&["a1", "a2"]), &["launch r-c1-a2 by r-e2 on o-a2", "decline o-a1", "suppress"]);
    // News of the first attempt are none of the second.
    told.check(
        4,
        asked("r-c1-a1", 1),
        &["answer 1 of r-c1-a1: Err(\"nobody waits for this attempt any more\")"],
    );
    told.check(4, alive("r-c1-a1"), &["acknowledge r-c1-a1"]);
    told.check(
        5,
        lost("r-c1-a2"),
        &["tell: botched, attempt 1 on a1: TASK_FAILED; attempt 2 on a2: TASK_FAILED"],
    );
    told.check(6, SchedulerEvent::Recorded { case: 1, safely: true }, &["acknowledge r-c1-a2"]);
}

/// An agent may be the host under an address that nobody here knows. Its executor finds that out before anything is broken.
#[test]
fn an_agent_that_is_the_host_is_not_taken_again() {
    let mut told = Told::launched();
    let met_itself = |task: &str| {
        let SchedulerEvent::Update(mut ended) = update(task, TaskNews::Ended, "") else { unreachable!() };
        ended.outcome = Some(CaseOutcome {
            report: Some(crate::machine::CaseReport::default()),
            ..CaseOutcome::botched("AgentIsHost", "the agent is the host")
        });
        SchedulerEvent::Update(ended)
    };
    told.check(3, met_itself("r-c1-a1"), &["acknowledge r-c1-a1", "revive"]);
    told.check(3, offers(&["a1", "a2"]), &["launch r-c1-a2 by r-e2 on o-a2", "decline o-a1", "suppress"]);
    // Not for ever, though.
    let past = "attempt 1 on a1: the agent is the host; attempt 2 on a2: the agent is the host";
    told.check(4, met_itself("r-c1-a2"), &[&format!("tell: botched, {past}")]);
}

#[test]
fn a_task_lost_after_inducing_is_only_reverted() {
    let mut told = Told::launched();
    told.check(3, asked("r-c1-a1", 1), &["tell: may be dirty"]);
    told.check(3, asked("r-c1-a1", 2), &[]);
    told.check(4, SchedulerEvent::Noted { case: 1, result: Ok(()) }, &["answer 2 of r-c1-a1: Ok(())"]);
    told.check(4, asked("r-c1-a1", 3), &["answer 3 of r-c1-a1: Ok(())"]);
    told.check(5, update("r-c1-a1", TaskNews::Ended, "TASK_FAILED"), &["acknowledge r-c1-a1", "revive"]);
    told.check(5, offers(&["a1", "a2"]), &["revert by r-c1-a2 by r-e2 on o-a2", "decline o-a1", "suppress"]);
}

#[test]
fn who_does_not_obey_is_shut_down() {
    let mut told = Told::launched();
    told.check(3, SchedulerEvent::Interrupt, &["kill r-c1-a1"]);
    told.check(
        4,
        asked("r-c1-a1", 1),
        &["answer 1 of r-c1-a1: Err(\"nobody waits for this attempt any more\")"],
    );
    told.check_wake(8);
    told.check(8, SchedulerEvent::Woke, &["kill r-c1-a1"]);
    told.check(48, SchedulerEvent::Heartbeat, &["kill r-c1-a1", "shut down r-e1"]);
    told.check(
        93,
        SchedulerEvent::Heartbeat,
        &["kill r-c1-a1", "tell: skipped, interrupted before the inducer", "reconcile r-c1-a1"],
    );
}

/// A simple generator of numbers by chance (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// What happens in the world. Connections and processes have numbers, and what is meant for an older one is lost.
#[derive(Clone, Debug)]
enum Happening {
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
enum Work {
    Ask(u64),
    Induced,
    Revert,
    Done,
    MeetsItself,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct SimTask {
    id: String,
    case: CaseId,
    only_reverts: bool,
}

struct SimExecutor {
    agent: usize,
    machine: ExecutorMachine<SimTask>,
    alive: bool,
    task: Option<SimTask>,
    interrupted: bool,
    /// It waits for leave to induce.
    asking: bool,
    induced: bool,
    seed: u64,
}

/// Its uuid, what it comes to, and what the executor said.
type Unacknowledged = (Vec<u8>, TaskNews, Option<CaseOutcome>);

#[derive(Default)]
struct SimAgent {
    generation: u64,
    up: bool,
    reachable: bool,
    /// Updates that the scheduler has not acknowledged, the first of each task being told.
    updates: BTreeMap<String, Vec<Unacknowledged>>,
    tasks: BTreeMap<String, (String, Room, bool)>,
    /// What was declined: it is offered again only when there is more of it.
    refused: Option<Room>,
}

struct World {
    chance: Chance,
    now: Duration,
    number: u64,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    scheduler: Scheduler,
    woken_at: Option<Duration>,
    over: bool,
    // The master.
    master_up: bool,
    framework: Option<String>,
    frameworks: u64,
    subscription: Option<u64>,
    subscriptions: u64,
    suppressed: bool,
    offers: BTreeMap<String, usize>,
    answered: BTreeSet<String>,
    offer_count: u64,
    agents: Vec<SimAgent>,
    executors: BTreeMap<String, SimExecutor>,
    // Hosts, and what was done to them.
    dirty: BTreeSet<CaseId>,
    /// What the run's journal would say, were the run to die now.
    noted: BTreeSet<CaseId>,
    induced: BTreeMap<CaseId, u32>,
    // The run.
    next_case: Vec<usize>,
    running: BTreeMap<usize, CaseId>,
    settled: BTreeMap<CaseId, CaseOutcome>,
    recorded: BTreeSet<CaseId>,
    safe: BTreeSet<CaseId>,
    interrupted: bool,
    closed: bool,
    faults_until: Duration,
    acknowledged: BTreeMap<Vec<u8>, u32>,
    delivered: BTreeMap<Vec<u8>, String>,
    /// The updates that brought results, and their cases.
    results: BTreeMap<Vec<u8>, CaseId>,
    verbose: bool,
    last_arrival: Duration,
}

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
            SchedulerAction::Tell(RunEvent::Reverted { case }) => {
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
                    self.send(SchedulerEvent::Asked {
                        task,
                        question,
                        heal: String::new(),
                        mark: Box::default(),
                    });
                } else if reverted {
                    let case = self
                        .executors
                        .get(&executor)
                        .and_then(|known| known.task.as_ref())
                        .map(|task| task.case);
                    if let Some(case) = case {
                        self.send(SchedulerEvent::News { task, event: RunEvent::Reverted { case } });
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

    fn subscribe(&mut self, subscription: u64, framework: Option<&str>) {
        if subscription != self.subscriptions {
            return;
        }
        let lost = |why: &str, chance: f64| {
            Happening::Told(SchedulerEvent::Lost { why: why.into(), retry: Retry::Later, chance })
        };
        if !self.master_up || self.chance.once_in(20) {
            let chance = self.chance.below(100) as f64 / 100.0;
            return self.after(Duration::from_millis(1), lost("refused", chance));
        }
        if framework.is_some() && framework != self.framework.as_deref() {
            return self.after(
                Duration::from_millis(1),
                Happening::Told(SchedulerEvent::Removed { why: "removed".into() }),
            );
        }
        if framework.is_none() {
            self.frameworks += 1;
            self.framework = Some(format!("f{}", self.frameworks));
        }
        self.subscription = Some(subscription);
        self.suppressed = false;
        self.offers.clear();
        let framework = self.framework.clone().unwrap_or_default();
        self.send(SchedulerEvent::Subscribed { framework, heartbeat: Duration::from_secs(15) });
        for agent in 0..AGENTS {
            self.agents[agent].refused = None;
            let tasks: Vec<String> = self.agents[agent].updates.keys().cloned().collect();
            for task in tasks {
                self.tell_update(agent, &task);
            }
        }
        self.allocate();
    }

    fn allocate(&mut self) {
        if self.subscription.is_none() || !self.master_up {
            return;
        }
        self.send(SchedulerEvent::Heartbeat);
        if self.suppressed {
            return;
        }
        let mut offers = Vec::new();
        for index in 0..AGENTS {
            let agent = &self.agents[index];
            let refused = agent.refused.is_some_and(|refused| refused.holds(room(agent)));
            if !agent.up || !agent.reachable || refused || self.offers.values().any(|other| *other == index) {
                continue;
            }
            let room = room(agent);
            self.offer_count += 1;
            let id = format!("o{}", self.offer_count);
            self.offers.insert(id.clone(), index);
            let names = vec![format!("a{index}")];
            offers.push(Offer { id, agent: self.agent_id(index), names, room });
        }
        if !offers.is_empty() {
            self.send(SchedulerEvent::Offers(offers));
        }
    }

    fn agent_id(&self, index: usize) -> String {
        format!("{index}.{}", self.agents[index].generation)
    }

    fn agent_of(&self, id: &str) -> Option<usize> {
        let (index, _) = id.split_once('.')?;
        let index = index.parse().ok()?;
        (self.agent_id(index) == id).then_some(index)
    }

    fn master_hears(&mut self, action: SchedulerAction) {
        match action {
            SchedulerAction::Launch { offer, agent, tasks } => {
                assert!(self.answered.insert(offer.clone()), "the offer {offer} is answered twice");
                let known = self.offers.remove(&offer).filter(|index| self.agent_of(&agent) == Some(*index));
                let Some(index) =
                    known.filter(|index| self.agents[*index].up && self.agents[*index].reachable)
                else {
                    for launch in tasks {
                        self.send_ended(&launch.task, None, "TASK_DROPPED");
                    }
                    return;
                };
                for launch in tasks {
                    assert!(
                        !self.agents[index].tasks.contains_key(&launch.task),
                        "a task's id is used twice"
                    );
                    self.agents[index]
                        .tasks
                        .insert(launch.task.clone(), (launch.executor.clone(), TASK_ROOM, false));
                    self.launch(index, launch);
                }
                self.agents[index].refused = Some(room(&self.agents[index]));
            }
            SchedulerAction::Decline(offers) => {
                for offer in offers {
                    assert!(self.answered.insert(offer.clone()), "the offer {offer} is answered twice");
                    if let Some(index) = self.offers.remove(&offer) {
                        self.agents[index].refused = Some(room(&self.agents[index]));
                    }
                }
            }
            SchedulerAction::Revive => {
                self.suppressed = false;
                for agent in &mut self.agents {
                    agent.refused = None;
                }
                self.allocate();
            }
            SchedulerAction::Suppress => self.suppressed = true,
            SchedulerAction::Acknowledge { agent, task, uuid } => {
                if let Some(index) = self.agent_of(&agent) {
                    let updates = self.agents[index].updates.entry(task.clone()).or_default();
                    if updates.first().is_some_and(|(first, ..)| *first == uuid) {
                        updates.remove(0);
                        if self.agents[index].updates[&task].is_empty() {
                            self.agents[index].updates.remove(&task);
                        } else {
                            self.tell_update(index, &task);
                        }
                    }
                }
            }
            SchedulerAction::Reconcile(tasks) => {
                for (task, agent) in tasks {
                    let known =
                        self.agent_of(&agent).filter(|index| self.agents[*index].tasks.contains_key(&task));
                    match known {
                        Some(index) if !self.agents[index].reachable => {
                            self.send_update(&task, TaskNews::Unreachable, None, None, "away");
                        }
                        Some(_) => self.send_update(&task, TaskNews::Alive, None, None, "latest state"),
                        None => self.send_ended(&task, None, "TASK_UNKNOWN"),
                    }
                }
            }
            SchedulerAction::Kill { task, agent } => {
                match self.agent_of(&agent).and_then(|index| self.agents[index].tasks.get(&task)) {
                    Some((executor, _, false)) => {
                        let executor = executor.clone();
                        if !self.chance.once_in(10) {
                            let pause = self.chance.millis(1, 20);
                            self.after(
                                pause,
                                Happening::ToExecutor { executor, event: ExecutorEvent::Kill(task) },
                            );
                        }
                    }
                    Some(_) => {}
                    None => self.send_ended(&task, None, "TASK_UNKNOWN"),
                }
            }
            SchedulerAction::Shutdown { executor, .. } => {
                let pause = self.chance.millis(1, 20);
                self.after(
                    pause,
                    Happening::ToExecutor { executor: executor.clone(), event: ExecutorEvent::Shutdown },
                );
            }
            SchedulerAction::Recorded { task, .. } => {
                let case = task.split("-c").nth(1).and_then(|rest| rest.split('-').next()?.parse().ok());
                assert!(
                    case.is_some_and(|case| self.safe.contains(&case)),
                    "{task} is said to be written down, and is not"
                );
            }
            SchedulerAction::Answer { task, executor, question, result, .. } => {
                let agent = self.executors.get(&executor).map(|known| known.agent);
                if self.chance.once_in(10) || agent.is_none_or(|agent| !self.agents[agent].reachable) {
                    return;
                }
                // Some take their time, on a network that is not well.
                let pause = if self.chance.once_in(5) {
                    self.chance.millis(1, 200_000)
                } else {
                    self.chance.millis(1, 20)
                };
                let asked_at = Duration::from_millis(question);
                self.after(pause, Happening::Answered { executor, task, asked_at, result: result.is_ok() });
            }
            SchedulerAction::Teardown => {
                self.framework = None;
                let all: Vec<String> = self.executors.keys().cloned().collect();
                for executor in all {
                    self.after(
                        Duration::from_millis(5),
                        Happening::ToExecutor { executor, event: ExecutorEvent::Shutdown },
                    );
                }
            }
            SchedulerAction::Subscribe { .. }
            | SchedulerAction::Abandon
            | SchedulerAction::Tell(_)
            | SchedulerAction::Over => {}
        }
    }

    fn send_update(
        &mut self,
        task: &str,
        news: TaskNews,
        uuid: Option<Vec<u8>>,
        outcome: Option<CaseOutcome>,
        why: &str,
    ) {
        let update =
            TaskUpdate { task: task.to_owned(), agent: None, uuid, news, message: why.into(), outcome };
        let agent = (0..AGENTS).find(|index| self.agents[*index].tasks.contains_key(task));
        let update = TaskUpdate { agent: agent.map(|index| self.agent_id(index)), ..update };
        // What needs no acknowledgement comes once, or not at all.
        if update.uuid.is_none() && self.chance.once_in(5) {
            return;
        }
        if self.chance.once_in(30) {
            self.send(SchedulerEvent::Update(update.clone()));
        }
        self.send(SchedulerEvent::Update(update));
    }

    fn send_ended(&mut self, task: &str, uuid: Option<Vec<u8>>, why: &str) {
        self.send_update(task, TaskNews::Ended, uuid, None, why);
    }

    /// Tells the first update of a task that is not acknowledged, and again later.
    fn tell_update(&mut self, agent: usize, task: &str) {
        let known = &self.agents[agent];
        let Some((uuid, news, outcome)) =
            known.updates.get(task).and_then(|updates| updates.first()).cloned()
        else {
            return;
        };
        let generation = known.generation;
        if known.reachable && self.master_up {
            self.send_update(task, news, Some(uuid.clone()), outcome, "update");
        }
        self.after(
            Duration::from_secs(10),
            Happening::Retry { agent, generation, task: task.to_owned(), uuid },
        );
    }

    fn launch(&mut self, agent: usize, launch: Launch) {
        let id = launch.executor.clone();
        // An agent starts an executor that has died once more, if a task comes for it.
        if !self.executors.get(&id).is_some_and(|executor| executor.alive) {
            let seed = self.chance.next();
            let machine = ExecutorMachine::new(Some(Duration::from_secs(900)), Duration::from_secs(2));
            let executor = SimExecutor {
                agent,
                machine,
                alive: true,
                task: None,
                interrupted: false,
                asking: false,
                induced: false,
                seed,
            };
            self.executors.insert(id.clone(), executor);
            let pause = self.chance.millis(20, 300);
            self.after(
                pause,
                Happening::ToExecutor { executor: id.clone(), event: ExecutorEvent::Subscribed },
            );
            if self.chance.once_in(40) && self.now < self.faults_until {
                // Its files cannot be fetched.
                self.after(pause / 2, Happening::Ended { executor: id.clone() });
            }
        }
        let task = SimTask { id: launch.task.clone(), case: launch.case, only_reverts: launch.only_reverts };
        let pause = self.chance.millis(300, 400);
        self.after(
            pause,
            Happening::ToExecutor { executor: id, event: ExecutorEvent::Launched(launch.task, task) },
        );
    }

    fn executor_hears(&mut self, id: &str, event: ExecutorEvent<SimTask>) {
        let now = self.now;
        let Some(executor) = self.executors.get_mut(id).filter(|executor| executor.alive) else { return };
        let actions = executor.machine.step(now, event);
        let (agent, generation) = (executor.agent, self.agents[executor.agent].generation);
        if let Some(at) = executor.machine.wake_at() {
            let pause = at.saturating_sub(now).max(Duration::from_millis(1));
            self.after(pause, Happening::WakeExecutor { executor: id.to_owned() });
        }
        for action in actions {
            match action {
                ExecutorAction::Subscribe => {
                    self.after(
                        Duration::from_millis(5),
                        Happening::ToExecutor { executor: id.to_owned(), event: ExecutorEvent::Subscribed },
                    );
                }
                ExecutorAction::Update(update) => {
                    let pause = self.chance.millis(1, 10);
                    self.after(
                        pause,
                        Happening::Updated { agent, generation, executor: id.to_owned(), update },
                    );
                }
                ExecutorAction::Begin(_, task) => {
                    let pause = self.chance.millis(1, 2000);
                    let meets_itself = !task.only_reverts && self.chance.once_in(15);
                    let next = match (task.only_reverts, meets_itself) {
                        (true, _) => Work::Revert,
                        (false, true) => Work::MeetsItself,
                        (false, false) => Work::Ask(0),
                    };
                    let name = task.id.clone();
                    if let Some(executor) = self.executors.get_mut(id) {
                        executor.task = Some(task);
                        (executor.interrupted, executor.asking, executor.induced) = (false, false, false);
                    }
                    self.after(pause, Happening::Work { executor: id.to_owned(), task: name, next });
                }
                ExecutorAction::Interrupt => {
                    let Some(executor) = self.executors.get_mut(id) else { return };
                    executor.interrupted = true;
                    let Some(task) = &executor.task else { return };
                    let name = task.id.clone();
                    if std::mem::take(&mut executor.asking) {
                        self.after(
                            Duration::ZERO,
                            Happening::Work { executor: id.to_owned(), task: name, next: Work::Done },
                        );
                    }
                }
                ExecutorAction::Leave => {
                    self.after(Duration::from_millis(20), Happening::Ended { executor: id.to_owned() });
                }
            }
        }
    }

    fn work(&mut self, id: &str, task: &str, next: Work) {
        let now = self.now;
        let Some(executor) = self.executors.get_mut(id).filter(|executor| executor.alive) else { return };
        let Some(current) = executor.task.clone().filter(|current| current.id == task) else { return };
        let again = |next| Happening::Work { executor: id.to_owned(), task: task.to_owned(), next };
        match next {
            Work::Ask(tries) => {
                if executor.interrupted && tries == 0 {
                    return self.after(Duration::ZERO, again(Work::Done));
                }
                if tries == 0 {
                    executor.asking = true;
                }
                if !executor.asking {
                    return;
                }
                let question = u64::try_from(now.as_millis()).unwrap_or_default();
                let told = Happening::ExecutorTold {
                    executor: id.to_owned(),
                    task: task.to_owned(),
                    reverted: false,
                    question: Some(question),
                    asked_at: now,
                };
                let pause = self.chance.millis(1, 10);
                self.after(pause, told);
                self.after(Duration::from_secs(2), again(Work::Ask(tries + 1)));
            }
            Work::Induced => {
                let pause = self.chance.millis(5, 3000);
                self.after(pause, again(Work::Revert));
            }
            Work::Revert => {
                self.dirty.remove(&current.case);
                let told = Happening::ExecutorTold {
                    executor: id.to_owned(),
                    task: task.to_owned(),
                    reverted: true,
                    question: None,
                    asked_at: now,
                };
                self.after(Duration::from_millis(2), told);
                let pause = self.chance.millis(5, 500);
                self.after(pause, again(Work::Done));
            }
            // Its agent is the host: nothing is broken there.
            Work::MeetsItself => {
                let outcome = CaseOutcome {
                    report: Some(super::super::CaseReport::default()),
                    ..CaseOutcome::botched("AgentIsHost", "the agent is the host")
                };
                executor.task = None;
                let data = serde_json::to_vec(&outcome).unwrap_or_default();
                self.executor_hears(id, ExecutorEvent::Ended(data));
            }
            Work::Done => {
                let mut outcome = match (executor.interrupted, executor.induced || current.only_reverts) {
                    (true, _) => CaseOutcome::skipped("interrupted"),
                    (false, true) => {
                        CaseOutcome { verdict: Verdict::Survived, findings: Vec::new(), report: None }
                    }
                    (false, false) => CaseOutcome::botched("NotNoted", "full"),
                };
                outcome.report = Some(super::super::CaseReport::default());
                executor.task = None;
                let data = serde_json::to_vec(&outcome).unwrap_or_default();
                self.executor_hears(id, ExecutorEvent::Ended(data));
            }
        }
    }

    fn updated(&mut self, agent: usize, generation: u64, id: &str, update: &Update) {
        if self.agents[agent].generation != generation || !self.agents[agent].up {
            return;
        }
        let Some(executor) = self.executors.get(id) else { return };
        let uuid = [executor.seed.to_be_bytes(), update.number.to_be_bytes()].concat();
        let (news, outcome) = match update.report {
            Report::Running => (TaskNews::Alive, None),
            Report::Finished | Report::Killed => (TaskNews::Ended, serde_json::from_slice(&update.data).ok()),
        };
        // What was killed before it began has nothing to say.
        let known = self.agents[agent].updates.entry(update.task.clone()).or_default();
        if known.iter().any(|(other, ..)| *other == uuid) {
            return;
        }
        known.push((uuid, news, outcome));
        let first = known.len() == 1;
        if news == TaskNews::Ended
            && let Some((_, _, ended)) = self.agents[agent].tasks.get_mut(&update.task)
        {
            *ended = true;
        }
        let acknowledged = ExecutorEvent::Acknowledged(update.number);
        self.after(
            Duration::from_millis(1),
            Happening::ToExecutor { executor: id.to_owned(), event: acknowledged },
        );
        if first {
            self.tell_update(agent, &update.task);
        }
    }

    fn executor_gone(&mut self, id: &str) {
        let Some(executor) = self.executors.get_mut(id).filter(|executor| executor.alive) else { return };
        executor.alive = false;
        let index = executor.agent;
        let seed = executor.seed;
        let agent = self.agent_id(index);
        if !self.agents[index].up {
            return;
        }
        self.send(SchedulerEvent::Gone { agent, executor: Some(id.to_owned()) });
        let tasks: Vec<String> = self.agents[index]
            .tasks
            .iter()
            .filter(|(_, (executor, _, ended))| executor == id && !ended)
            .map(|(task, _)| task.clone())
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            if let Some((_, _, ended)) = self.agents[index].tasks.get_mut(&task) {
                *ended = true;
            }
            let uuid = [(seed ^ 1).to_be_bytes(), (number as u64).to_be_bytes()].concat();
            let updates = self.agents[index].updates.entry(task.clone()).or_default();
            updates.push((uuid, TaskNews::Ended, None));
            if updates.len() == 1 {
                self.tell_update(index, &task);
            }
        }
    }

    fn fault(&mut self) {
        if self.now >= self.faults_until {
            return;
        }
        match self.chance.below(10) {
            0 | 1 => self.lose_connection(Retry::Now),
            2 | 3 => {
                let alive: Vec<String> = self
                    .executors
                    .iter()
                    .filter(|(_, executor)| executor.alive)
                    .map(|(id, _)| id.clone())
                    .collect();
                if !alive.is_empty() {
                    let at = self.chance.below(alive.len() as u64) as usize;
                    self.executor_gone(&alive[at]);
                }
            }
            4 => {
                // The machine dies, with all that runs on it, and comes back as a new agent.
                let index = self.chance.below(AGENTS as u64) as usize;
                let agent = self.agent_id(index);
                for executor in self.executors.values_mut().filter(|executor| executor.agent == index) {
                    executor.alive = false;
                }
                let tasks: Vec<String> = self.agents[index]
                    .tasks
                    .iter()
                    .filter(|(_, task)| !task.2)
                    .map(|(id, _)| id.clone())
                    .collect();
                for task in tasks {
                    self.send_update(&task, TaskNews::Unreachable, None, None, "away");
                }
                self.send(SchedulerEvent::Gone { agent, executor: None });
                self.agents[index] =
                    SimAgent { generation: self.agents[index].generation + 1, ..SimAgent::default() };
                self.offers.retain(|_, other| *other != index);
                let pause = self.chance.millis(1000, 60_000);
                self.after(pause, Happening::AgentUp { agent: index });
            }
            5 => {
                // It only cannot be reached.
                let index = self.chance.below(AGENTS as u64) as usize;
                if self.agents[index].up && self.agents[index].reachable {
                    self.agents[index].reachable = false;
                    self.offers.retain(|_, other| *other != index);
                    let tasks: Vec<String> = self.agents[index]
                        .tasks
                        .iter()
                        .filter(|(_, task)| !task.2)
                        .map(|(id, _)| id.clone())
                        .collect();
                    for task in tasks {
                        self.send_update(&task, TaskNews::Unreachable, None, None, "away");
                    }
                    let generation = self.agents[index].generation;
                    let pause = self.chance.millis(1000, 200_000);
                    self.after(pause, Happening::AgentReachable { agent: index, generation });
                }
            }
            7 => {
                // Somebody else ends an executor, or a task, in good order: an operator, or an agent that is drained.
                let alive: Vec<(String, Option<String>)> = self
                    .executors
                    .iter()
                    .filter(|(_, executor)| executor.alive)
                    .map(|(id, executor)| (id.clone(), executor.task.as_ref().map(|task| task.id.clone())))
                    .collect();
                if !alive.is_empty() {
                    let at = self.chance.below(alive.len() as u64) as usize;
                    let (executor, task) = alive[at].clone();
                    let event = match task {
                        Some(task) if self.chance.once_in(2) => ExecutorEvent::Kill(task),
                        _ => ExecutorEvent::Shutdown,
                    };
                    self.after(Duration::ZERO, Happening::ToExecutor { executor, event });
                }
            }
            6 => {
                self.master_up = false;
                self.lose_connection(Retry::Now);
                let pause = self.chance.millis(100, 60_000);
                self.after(pause, Happening::MasterUp);
            }
            _ => {
                if self.chance.once_in(6) && !self.interrupted {
                    self.interrupted = true;
                    for book in 0..BOOKS {
                        for index in self.next_case[book]..CASES_OF_A_BOOK {
                            self.settled
                                .insert(book * CASES_OF_A_BOOK + index, CaseOutcome::skipped("by the gate"));
                        }
                        self.next_case[book] = CASES_OF_A_BOOK;
                    }
                    self.tell(SchedulerEvent::Interrupt);
                    for book in 0..BOOKS {
                        self.after(Duration::ZERO, Happening::NextCase { book });
                    }
                }
            }
        }
        let pause = self.chance.millis(10, 60_000);
        self.after(pause, Happening::Fault);
    }
}

#[test]
fn histories_by_chance() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("PISAURA_SEED") {
        return World::new(seed, true).run();
    }
    for seed in 0..number("PISAURA_SEEDS").unwrap_or(1500) {
        let ran = std::panic::catch_unwind(|| World::new(seed, false).run());
        assert!(ran.is_ok(), "the history of PISAURA_SEED={seed} went wrong");
    }
}
