//! Conversations of a scheduler with a master, told in full; its histories by chance are told in `simulation`, and run here.

use std::time::Duration;

use super::simulation::history;
use super::*;

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
        room: Room { cpu_milli: 1000, mem_mib: 256 },
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
    SchedulerEvent::Asked { task: task.into(), question, hosts: Vec::new() }
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
    told.check(
        4,
        news(RunEvent::Reverted { case: 1, host: None }),
        &["tell(reverted { case: 1, host: none })"],
    );
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

/// What nobody has reverted is not said to be.
#[test]
fn a_revert_that_fails_elsewhere_is_told() {
    let check = |verdict: Verdict, said: &str| {
        let mut told = Told::launched();
        told.check(3, asked("r-c1-a1", 1), &["tell: may be dirty"]);
        told.check(4, SchedulerEvent::Noted { case: 1, result: Ok(()) }, &["answer 1 of r-c1-a1: Ok(())"]);
        told.check(5, update("r-c1-a1", TaskNews::Ended, "TASK_FAILED"), &["acknowledge r-c1-a1", "revive"]);
        told.check(5, offers(&["a2"]), &["revert by r-c1-a2 by r-e2 on o-a2", "suppress"]);
        told.check(6, ended("r-c1-a2", verdict, "Reverted"), &[said]);
    };
    check(
        Verdict::Botched,
        "tell: botched, its task was lost after the inducer was handed out, and the host was reverted by another: attempt 1 on a1: TASK_FAILED",
    );
    check(
        Verdict::Unreverted,
        "tell: unreverted, its task was lost after the inducer was handed out, and no other has reverted the host: attempt 1 on a1: TASK_FAILED",
    );
}

/// The same of one that somebody else has ended.
#[test]
fn a_revert_that_fails_when_it_is_ended_is_told() {
    let check = |verdict: Verdict, said: &str| {
        let mut told = Told::launched();
        told.check(3, asked("r-c1-a1", 1), &["tell: may be dirty"]);
        told.check(4, SchedulerEvent::Noted { case: 1, result: Ok(()) }, &["answer 1 of r-c1-a1: Ok(())"]);
        told.check(5, ended("r-c1-a1", verdict, "Interrupted"), &[said]);
    };
    let why = "its task was ended by somebody else than this run, after the inducer was handed out";
    check(Verdict::Skipped, &format!("tell: botched, {why}; the host was reverted"));
    check(Verdict::Unreverted, &format!("tell: unreverted, {why}"));
}

/// An executor's last word of the case: with this verdict, and of this kind beside it.
fn ended(task: &str, verdict: Verdict, kind: &str) -> SchedulerEvent {
    let SchedulerEvent::Update(mut ended) = update(task, TaskNews::Ended, "") else { unreachable!() };
    let mut findings = vec![Finding::new(Verdict::Botched, kind, "it was ended")];
    if verdict == Verdict::Unreverted {
        findings.push(Finding::new(verdict, "RevertFailed", "the reverter failed"));
    }
    ended.outcome =
        Some(CaseOutcome { report: Some(crate::machine::CaseReport::default()), verdict, findings });
    SchedulerEvent::Update(ended)
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

#[test]
fn histories_by_chance() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("PISAURA_SEED") {
        return history(seed, true);
    }
    for seed in 0..number("PISAURA_SEEDS").unwrap_or(1500) {
        let ran = std::panic::catch_unwind(|| history(seed, false));
        assert!(ran.is_ok(), "the history of PISAURA_SEED={seed} went wrong");
    }
}
