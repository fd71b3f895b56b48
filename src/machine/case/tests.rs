//! The case machine, enumerated whole: each outcome of each step, an interrupt before and in each; and a few lives of a
//! case told in full.

use std::rc::Rc;

use crate::machine::workload::Writes;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn plan() -> CasePlan {
    CasePlan {
        only_if: false,
        verify: false,
        expect: Expectation::Healthy,
        timeout: SECOND,
        grace: Duration::ZERO,
        revert_within: 2 * SECOND,
        has_switch: false,
        cuts_off: false,
        hold: None,
        still: false,
        stop_if: false,
        max_recovery: None,
        steady: None,
        checks: Vec::new(),
        workload: None,
    }
}

fn exited(status: i32) -> StepEnd {
    StepEnd::Exited(Exit::Status(status))
}

/// Healed by its dead man's switch, so many seconds before it was asked.
fn healed(ago: Option<u64>) -> StepEnd {
    StepEnd::Healed(HealedBy { switch: true, after: Some(SECOND), ago: ago.map(Duration::from_secs) })
}

/// Somebody else has the host, for so many seconds at most.
fn busy(seconds: u64) -> StepEnd {
    StepEnd::Busy { message: "who".to_owned(), within: Duration::from_secs(seconds) }
}

fn failed(kind: TroubleKind) -> StepEnd {
    StepEnd::Failed(Trouble { kind, message: "why".to_owned() })
}

/// What has happened on one path through the machine.
#[derive(Clone, Default)]
struct Path {
    performed: Vec<(Step, bool)>,
    noted_dirty: bool,
    noted_reverted: bool,
    interrupted: bool,
    /// Somebody else healed the host before, or it is not known when.
    healed_too_early: bool,
    /// Whether the check said last, in each step, what is wanted of it.
    checks: Vec<(Step, bool)>,
    /// How often somebody else had the host, or `only_if` had changed its mind.
    put_off: u32,
    told: Told,
}

/// What was told on the way here: written out only if somebody asks, for there are very many ways.
#[derive(Clone, Default)]
struct Told(Option<Rc<(Self, Item)>>);

enum Item {
    Event(CaseEvent),
    Step(Step),
}

impl Told {
    fn push(&mut self, item: Item) {
        *self = Self(Some(Rc::new((std::mem::take(self), item))));
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_deref() {
            None => Ok(()),
            Some((before, Item::Event(event))) => write!(formatter, "{before}{event:?}; "),
            Some((before, Item::Step(step))) => write!(formatter, "{before}{step}: "),
        }
    }
}

/// Goes through every path from here, and checks each at its end. Answers with how many there were.
fn explore(machine: &CaseMachine, turn: CaseTurn, now: Duration, path: &Path) -> u64 {
    assert!(path.performed.len() < 40, "a case without an end: {}", path.told);
    // Somebody may have the host for ever: what comes after the second time is the same as after the first.
    if path.put_off > 1 {
        return 0;
    }
    let mut path = path.clone();
    let CaseTurn { is_reverted, next } = turn;
    path.noted_reverted |= is_reverted;
    path.noted_dirty |= next == CaseNext::NoteDirty;
    assert_eq!(machine.wake_at().is_some(), next == CaseNext::Wait, "{}", path.told);
    let mut count = 0;
    let mut go = |machine: &CaseMachine, event: CaseEvent, now: Duration, path: &Path| {
        let mut machine = machine.clone();
        let mut path = path.clone();
        path.told.push(Item::Event(event.clone()));
        let Some(turn) = machine.step(now, event) else {
            panic!("nothing is to be done after {}", path.told)
        };
        count += explore(&machine, turn, now, &path);
    };
    match next {
        CaseNext::Settle => {
            check_end(machine, &path);
            let mut machine = machine.clone();
            for late in [CaseEvent::Interrupt, CaseEvent::Woke] {
                assert_eq!(machine.step(now, late), None);
            }
            return 1;
        }
        CaseNext::NoteDirty => {
            for noted in [CaseEvent::Noted, CaseEvent::NotNoted("full".to_owned())] {
                go(machine, noted.clone(), now, &path);
                if !path.interrupted {
                    let (interrupted, path) = interrupt(machine, now, &path);
                    go(&interrupted, noted, now, &path);
                }
            }
        }
        CaseNext::Wait => {
            let until = machine.wake_at().expect("it waits");
            go(machine, CaseEvent::Woke, until, &path);
            if !path.interrupted {
                let mut interrupted = machine.clone();
                let mut path = path.clone();
                path.interrupted = true;
                path.told.push(Item::Event(CaseEvent::Interrupt));
                match interrupted.step(now, CaseEvent::Interrupt) {
                    None => go(&interrupted, CaseEvent::Woke, until, &path),
                    Some(turn) => count += explore(&interrupted, turn, now, &path),
                }
            }
        }
        CaseNext::Perform { step, .. } => {
            // What comes after somebody else had the host is the same as before, so less of it will do.
            // So with checks: what the steps do is the same with them.
            let plan = &machine.plan;
            let brief = path.put_off > 0 || !plan.checks.is_empty() || plan.workload.is_some();
            let ends = if brief { brief_ends(step) } else { ends(step) };
            let answers = checks_say(machine, step, now);
            for (end, said) in ends.iter().flat_map(|end| answers.iter().map(move |said| (end, said))) {
                let (mut path, mut machine, end) = (path.clone(), machine.clone(), end.clone());
                if let Some((event, is_wanted)) = said.clone() {
                    path.checks.retain(|(other, _)| *other != step);
                    path.checks.push((step, is_wanted));
                    path.told.push(Item::Event(event.clone()));
                    assert_eq!(machine.step(now, event), None);
                }
                let machine = &machine;
                // An inducer for which nothing could be left on the host was not begun.
                let begun = !matches!(end, StepEnd::Declined(_) | StepEnd::Busy { .. });
                path.put_off += u32::from(!begun);
                if end != failed(TroubleKind::Arming) && begun {
                    path.performed.push((step, end.is_success()));
                }
                path.healed_too_early |=
                    matches!(end, StepEnd::Healed(by) if by.ago.is_none_or(|ago| !ago.is_zero()));
                path.told.push(Item::Step(step));
                let later = now + Duration::from_millis(300);
                if end == StepEnd::Interrupted && path.interrupted {
                    continue;
                }
                if end == StepEnd::Interrupted {
                    let (interrupted, path) = interrupt(machine, now, &path);
                    go(&interrupted, CaseEvent::Ended(end), later, &path);
                    continue;
                }
                go(machine, CaseEvent::Ended(end.clone()), later, &path);
                if !path.interrupted {
                    // The interrupt came while the step was ending by itself.
                    let (interrupted, path) = interrupt(machine, now, &path);
                    go(&interrupted, CaseEvent::Ended(end), later, &path);
                }
            }
        }
    }
    count
}

/// An interrupt at a moment when the machine waits for something else.
fn interrupt(machine: &CaseMachine, now: Duration, path: &Path) -> (CaseMachine, Path) {
    let (mut machine, mut path) = (machine.clone(), path.clone());
    path.interrupted = true;
    path.told.push(Item::Event(CaseEvent::Interrupt));
    assert_eq!(machine.step(now, CaseEvent::Interrupt), None);
    (machine, path)
}

/// What a case's one check, or its workload, may say beside this step, and whether that is wanted of it.
fn checks_say(machine: &CaseMachine, step: Step, now: Duration) -> Vec<Option<(CaseEvent, bool)>> {
    if step == Step::Workload {
        let writes = |accepted: u64| [Writes { accepted, refused: 0 }; 3];
        let fine = WorkloadSeen { writes: writes(2), stall: SECOND, ..WorkloadSeen::default() };
        let bad = [
            WorkloadSeen { lost: 1, lost_ids: vec!["7".to_owned()], ..fine.clone() },
            WorkloadSeen { stall: 3 * SECOND, ..fine.clone() },
            WorkloadSeen { ended_early: true, ..fine.clone() },
            WorkloadSeen { writes: writes(0), ..fine.clone() },
        ];
        let told = |seen: WorkloadSeen, is_wanted| Some((CaseEvent::WorkloadSaid(seen), is_wanted));
        return [told(fine, true)].into_iter().chain(bad.map(|seen| told(seen, false))).collect();
    }
    let Some(plan) = machine.plan.checks.first().filter(|_| step.is_healthcheck()) else { return vec![None] };
    let Some(watch) = CheckWatch::new(plan, Duration::ZERO, Duration::ZERO).filter(|_| step == Step::During)
    else {
        let is_wanted = |end: &StepEnd| match (plan.expect, step) {
            (Expectation::Unhealthy, Step::During) => end.is_no(),
            _ => end.is_success(),
        };
        let ends = [exited(0), exited(1), exited(127)];
        return ends.map(|end| Some((CaseEvent::ChecksSaid(vec![end.clone()]), is_wanted(&end)))).to_vec();
    };
    let told = |answers: &[StepEnd]| {
        let mut watch = watch.clone();
        for end in answers {
            watch.answered(now, now, end);
        }
        CaseEvent::ChecksWatched(vec![watch])
    };
    let time = plan.hold.as_ref().map_or(Duration::ZERO, |hold| hold.time);
    let mut all =
        vec![(told(&[exited(0)]), now >= time), (told(&[exited(1)]), false), (told(&[exited(127)]), false)];
    // It was not asked to the end yet; but it will be.
    if now < time * 3 {
        all.push((told(&[]), false));
    }
    all.into_iter().map(Some).collect()
}

/// The ways in which a step mostly ends.
fn brief_ends(step: Step) -> Vec<StepEnd> {
    match step {
        Step::Revert => vec![exited(0), healed(Some(60))],
        Step::Induce => vec![exited(0), exited(1), busy(1), StepEnd::Declined(1)],
        _ => vec![exited(0), exited(1), StepEnd::Interrupted],
    }
}

/// All ways in which a step can end.
fn ends(step: Step) -> Vec<StepEnd> {
    let mut ends = vec![
        exited(0),
        exited(1),
        StepEnd::TimedOut,
        failed(TroubleKind::Connection),
        failed(TroubleKind::Login),
    ];
    if step.is_healthcheck() {
        ends.extend([exited(127), StepEnd::Exited(Exit::Signal("KILL".to_owned()))]);
    }
    if step == Step::Select {
        // Of those that are no answer one will do.
        ends = vec![exited(0), exited(1), exited(127), failed(TroubleKind::Connection)];
    }
    if step == Step::Induce {
        ends.extend([failed(TroubleKind::Arming), StepEnd::Declined(1), StepEnd::Declined(2), busy(1)]);
    }
    if step == Step::Prepare {
        ends.extend([busy(1), busy(0)]);
    }
    if step == Step::Revert {
        // Another machine answers; and all that a host may say of who has healed it. A reverter is never interrupted.
        let others = [healed(Some(60)), healed(Some(0)), healed(None), failed(TroubleKind::OtherMachine)];
        ends.retain(|end| !matches!(end, StepEnd::Failed(_)));
        ends.extend(others);
    } else {
        ends.push(StepEnd::Interrupted);
    }
    ends
}

fn check_end(machine: &CaseMachine, path: &Path) {
    let (verdict, findings, _) = machine.result();
    let told = &path.told;
    let done = |step: Step| path.performed.iter().filter(|(other, _)| *other == step).count();
    let last = |step: Step| path.performed.iter().rposition(|(other, _)| *other == step);
    let induced = last(Step::Induce);
    let healed = path.performed.iter().rposition(|(step, success)| *step == Step::Revert && *success);
    assert!(done(Step::Induce) <= 1, "induced twice: {told}");
    if let Some(selected) = last(Step::Select) {
        assert!(
            induced.is_none() || path.performed[selected].1,
            "broken though it was told not to be: {told}"
        );
    }
    if let Some(induced) = induced {
        assert!(path.noted_dirty, "induced before that was noted: {told}");
        assert!(last(Step::Revert) > Some(induced), "no reverter after the inducer: {told}");
        let shouted = findings.iter().any(|finding| finding.verdict == Verdict::Unreverted);
        assert_eq!(healed.is_none(), shouted, "neither healed nor shouted: {told}");
        assert_eq!(machine.is_dirty(), healed.is_none(), "{told}");
    } else {
        assert_eq!(done(Step::Revert), 0, "reverted what was not broken: {told}");
        assert!(!machine.is_dirty(), "{told}");
    }
    assert_eq!(path.noted_dirty, path.noted_reverted || machine.is_dirty(), "{told}");
    assert!(done(Step::After) == 0 || healed.is_some(), "asked after a revert that was none: {told}");
    let all = [Step::Before, Step::Prepare, Step::Induce, Step::During, Step::Revert, Step::After];
    let survived = verdict == Verdict::Survived;
    // Whoever else healed the host before the healthcheck had answered has left nothing that was tested.
    assert!(!survived || !path.healed_too_early, "survived, but was healed too early: {told}");
    assert!(
        !survived
            || all
                .iter()
                .all(|step| last(*step).is_some_and(|at| path.performed[at].1 || *step == Step::During)),
        "survived: {told}"
    );
    if let (Some(_), true) = (&machine.plan.hold, survived) {
        let answers: Vec<bool> =
            path.performed.iter().filter(|(step, _)| *step == Step::During).map(|(_, up)| *up).collect();
        assert!(
            answers.len() > usize::from(!machine.plan.stop_if) && answers.iter().all(|up| *up),
            "held too briefly, or not healthy all the time: {told}"
        );
    }
    let is_well = path.checks.iter().all(|(_, is_wanted)| *is_wanted);
    assert!(!survived || is_well, "survived, and a check was not well: {told}");
    if survived && machine.plan.workload.is_some() {
        let ended = last(Step::Workload).is_some_and(|at| path.performed[at].1);
        assert!(ended, "nobody knows what became of the workload's writes: {told}");
    }
    let stops = path.performed.iter().any(|(step, success)| *step == Step::StopIf && *success);
    assert!(!survived || !stops, "survived, and was to be stopped: {told}");
    if survived && machine.plan.still {
        assert!(
            last(Step::Still).is_some_and(|at| path.performed[at].1),
            "nobody asked whether the failure lasted: {told}"
        );
    }
    if survived && machine.plan.steady.is_some() {
        let after: Vec<bool> =
            path.performed.iter().filter(|(step, _)| *step == Step::After).map(|(_, up)| *up).collect();
        assert!(after.ends_with(&[true, true]), "healthy once is not steady: {told}");
    }
    assert_eq!(findings.is_empty(), survived, "{told}");
    if path.interrupted && survived {
        // Only an interrupt that came with the last answer changes nothing.
        panic!("an interrupt that nobody is told of: {told}");
    }
}

#[test]
fn every_path_leads_through_the_reverter_or_to_a_shout() {
    let (at_once, patient) = (Duration::ZERO, Duration::from_millis(500));
    let mut plans = Vec::new();
    for verify in [false, true] {
        for expect in [Expectation::Healthy, Expectation::Unhealthy] {
            plans.extend([at_once, patient].map(|grace| CasePlan { verify, expect, grace, ..plan() }));
        }
        // Who is asked first is asked again only after some patience; what comes after it is the same.
        let grace = if verify { at_once } else { patient };
        plans.push(CasePlan { only_if: true, verify, grace, ..plan() });
    }
    // Nobody says here that the inducer was begun, so nothing that is cut off survives.
    plans.push(CasePlan { cuts_off: true, ..plan() });
    // Held for two questions, each of which takes as long as all steps do here.
    let every = Duration::from_millis(300);
    let hold = Hold {
        time: every * 2,
        every,
        answer_within: every,
        max_outage: None,
        min_availability_ppm: None,
        full: false,
    };
    let steady = Some(Steady { time: every, every });
    plans.push(CasePlan { hold: Some(hold.clone()), stop_if: true, ..plan() });
    plans.push(CasePlan { hold: Some(hold.clone()), still: true, ..plan() });
    plans.push(CasePlan {
        hold: Some(Hold { full: true, ..hold.clone() }),
        steady,
        max_recovery: Some(at_once),
        ..plan()
    });
    for (expect, hold) in [
        (Expectation::Healthy, None),
        (Expectation::Unhealthy, None),
        (Expectation::Healthy, Some(Hold { full: false, ..hold.clone() })),
    ] {
        let check = CheckPlan { name: "c".to_owned(), expect, hold: hold.clone() };
        plans.push(CasePlan { checks: vec![check], hold, ..plan() });
    }
    let workload = Some(WorkloadPlan { max_lost: 0, max_stall: Some(2 * SECOND) });
    plans.push(CasePlan { workload, verify: true, ..plan() });
    let mut count = 0;
    for plan in plans {
        let mut machine = CaseMachine::new(plan);
        let turn = machine.step(Duration::ZERO, CaseEvent::Begin).expect("a first step");
        count += explore(&machine, turn, Duration::ZERO, &Path::default());
    }
    assert!(count > 100_000, "only {count} paths");
}

/// A clock that stands still while this machine sleeps makes the past shorter, and never a host healed later than it was.
#[test]
fn who_stood_still_does_not_take_a_healed_host_for_a_broken_one() {
    let check = |times: [u64; 5], ago: Option<u64>, told: &str| {
        let plan = CasePlan { grace: 6 * SECOND, timeout: 2 * SECOND, has_switch: true, ..plan() };
        let mut machine = CaseMachine::new(plan);
        let [induced, asked, answered, reverted, after] = times.map(Duration::from_secs);
        machine.step(Duration::ZERO, CaseEvent::Begin);
        for (now, event) in [
            (induced, CaseEvent::Ended(exited(0))),
            (induced, CaseEvent::Ended(exited(0))),
            (induced, CaseEvent::Noted),
            (induced, CaseEvent::Ended(exited(0))),
            (asked, CaseEvent::Ended(exited(1))),
            (answered, CaseEvent::Woke),
            (answered, CaseEvent::Ended(exited(0))),
            (reverted, CaseEvent::Ended(healed(ago))),
            (after, CaseEvent::Ended(exited(0))),
        ] {
            machine.step(now, event);
        }
        let (verdict, findings, _) = machine.result();
        let kind = findings.first().map_or("", |finding| finding.kind.as_str());
        assert_eq!(format!("{verdict}: {kind}"), told, "{times:?} {ago:?}");
    };
    // The machine slept for a minute in the pause, and its clock did not; or did.
    check([1, 2, 4, 4, 5], Some(40), "botched: HealedTooEarly");
    check([1, 2, 64, 64, 65], Some(40), "botched: TimeLimit");
    // The host was healed while its reverter was asked for.
    check([1, 2, 4, 5, 6], Some(0), "survived: ");
    check([1, 2, 4, 5, 6], Some(1), "botched: HealedTooEarly");
    check([1, 2, 4, 5, 6], None, "botched: HealedTooEarly");
    // Nobody has asked for longer than the grace and one limit.
    check([1, 2, 8, 9, 10], Some(0), "survived: ");
    check([1, 2, 11, 12, 13], Some(0), "botched: TimeLimit");
}

/// A connection that is lost within an inducer that may cut it says nothing; what the host has written down does.
#[test]
fn a_host_that_was_cut_off_says_whether_it_was_broken() {
    let lost = || failed(TroubleKind::Connection);
    for (cuts_off, end, record, told) in [
        (true, lost(), Some(Induced::Begun), "botched: NotInduced"),
        (true, lost(), Some(Induced::Rebooted), "survived: "),
        (true, lost(), Some(Induced::Ended(0)), "survived: "),
        (true, lost(), Some(Induced::Ended(3)), "botched: InducerFailed"),
        (true, lost(), Some(Induced::Unknown), "botched: NotInduced"),
        (true, lost(), None, "botched: NotInduced"),
        (true, StepEnd::TimedOut, Some(Induced::Begun), "botched: TimeLimit"),
        (true, failed(TroubleKind::Upload), Some(Induced::Begun), "botched: UploadFailed"),
        (false, lost(), Some(Induced::Begun), "botched: ConnectionFailed"),
    ] {
        let mut machine = CaseMachine::new(CasePlan { cuts_off, ..plan() });
        let mut turn = machine.step(Duration::ZERO, CaseEvent::Begin);
        for seconds in 1.. {
            let event = match turn.map(|turn| turn.next) {
                Some(CaseNext::Perform { step: Step::Induce, .. }) => CaseEvent::Ended(end.clone()),
                Some(CaseNext::Perform { step, .. }) => {
                    if let (Step::Revert, Some(record)) = (step, record) {
                        assert_eq!(machine.step(seconds * SECOND, CaseEvent::HostSays(record)), None);
                    }
                    CaseEvent::Ended(exited(0))
                }
                Some(CaseNext::NoteDirty) => CaseEvent::Noted,
                Some(CaseNext::Settle) => break,
                other => panic!("{other:?} leads nowhere"),
            };
            turn = machine.step(seconds * SECOND, event);
        }
        let (verdict, findings, _) = machine.result();
        let kind = findings.first().map_or("", |finding| finding.kind.as_str());
        assert_eq!(format!("{verdict}: {kind}"), told, "{end:?} {record:?}");
    }
}

/// Tells a whole life: what the machine wants, and what it is told, step by step.
#[track_caller]
fn check(plan: CasePlan, ends: &[(Step, StepEnd)], verdict: Verdict, messages: &[&str]) {
    check_from(CaseEvent::Begin, plan, ends, verdict, messages);
}

#[track_caller]
fn check_from(
    first: CaseEvent,
    plan: CasePlan,
    ends: &[(Step, StepEnd)],
    verdict: Verdict,
    messages: &[&str],
) {
    let mut machine = CaseMachine::new(plan);
    let mut turn = machine.step(Duration::ZERO, first);
    let mut now = Duration::ZERO;
    let mut ends = ends.iter();
    loop {
        let event = match turn.map(|turn| turn.next) {
            Some(CaseNext::Perform { step, .. }) => {
                let (wanted, end) = ends.next().unwrap_or_else(|| panic!("{step} was not expected"));
                assert_eq!(step, *wanted);
                now += Duration::from_millis(100);
                CaseEvent::Ended(end.clone())
            }
            Some(CaseNext::NoteDirty) => CaseEvent::Noted,
            Some(CaseNext::Wait) => {
                now = machine.wake_at().expect("it waits");
                CaseEvent::Woke
            }
            Some(CaseNext::Settle) => break,
            other => panic!("{other:?} leads nowhere"),
        };
        turn = machine.step(now, event);
    }
    assert!(ends.next().is_none(), "settled too early");
    let (got, findings, _) = machine.result();
    let told: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!((got, told.as_slice()), (verdict, messages));
}

#[test]
fn a_healthcheck_is_asked_again_within_its_grace() {
    let plan = CasePlan { grace: Duration::from_millis(900), ..plan() };
    let mut ends = vec![(Step::Before, exited(0)), (Step::Prepare, exited(0)), (Step::Induce, exited(0))];
    let mut recovers = ends.clone();
    recovers.extend([
        (Step::During, exited(1)),
        (Step::During, StepEnd::TimedOut),
        (Step::During, exited(0)),
    ]);
    recovers.extend([(Step::Revert, exited(0)), (Step::After, exited(0))]);
    check(plan.clone(), &recovers, Verdict::Survived, &[]);
    // Asked at 0, 0.2, 0.5 and at last when the grace is over.
    ends.extend(vec![(Step::During, exited(1)); 4]);
    ends.extend([(Step::Revert, exited(0)), (Step::After, exited(0))]);
    check(
        plan,
        &ends,
        Verdict::Succumbed,
        &["unhealthy during the failure (exit status 1, asked 4 times in 1s)"],
    );
}

#[test]
fn a_reverter_is_tried_until_its_time_is_up() {
    let begin = [(Step::Before, exited(0)), (Step::Prepare, exited(0)), (Step::Induce, exited(3))];
    let mut heals = begin.to_vec();
    heals.extend([(Step::Revert, exited(1)), (Step::Revert, StepEnd::TimedOut), (Step::Revert, exited(0))]);
    heals.push((Step::After, exited(0)));
    check(plan(), &heals, Verdict::Botched, &["the inducer failed: exit status 3"]);
    let mut breaks = begin.to_vec();
    breaks.extend(vec![(Step::Revert, failed(TroubleKind::Connection)); 3]);
    check(
        plan(),
        &breaks,
        Verdict::Unreverted,
        &[
            "the inducer failed: exit status 3",
            "the reverter did not succeed, tried 3 times: why: the host may still be broken",
        ],
    );
}

#[test]
fn only_what_may_pass_is_tried_again_before_the_inducer() {
    let begin = (Step::Before, exited(0));
    let lost = (Step::Prepare, failed(TroubleKind::Connection));
    let mut ends = vec![begin.clone()];
    ends.extend(vec![lost; 4]);
    check(plan(), &ends, Verdict::Botched, &["prepare: why, tried 4 times in 3.900s"]);
    let refused = (Step::Prepare, failed(TroubleKind::HostKey));
    check(plan(), &[begin, refused], Verdict::Botched, &["prepare: why"]);
}

#[test]
fn what_only_heals_does_nothing_else() {
    let heals = |ends: &[StepEnd], verdict, messages: &[&str]| {
        let ends: Vec<_> = ends.iter().map(|end| (Step::Revert, end.clone())).collect();
        check_from(CaseEvent::Heal, plan(), &ends, verdict, messages);
    };
    heals(&[exited(0)], Verdict::Survived, &[]);
    heals(&[failed(TroubleKind::Connection), healed(Some(60))], Verdict::Survived, &[]);
    heals(
        &[exited(1), exited(1), exited(1)],
        Verdict::Unreverted,
        &["the reverter did not succeed, tried 3 times: exit status 1: the host may still be broken"],
    );
}

#[test]
fn a_failure_that_is_none_for_a_host_leaves_it_alone() {
    let plan = CasePlan { only_if: true, ..plan() };
    let ends = |end: StepEnd| vec![(Step::Prepare, exited(0)), (Step::Select, end)];
    check(
        plan.clone(),
        &ends(exited(1)),
        Verdict::Skipped,
        &["not for this host as it is now: only_if said no (exit status 1)"],
    );
    // Where it cannot be asked, nobody knows.
    check(
        plan.clone(),
        &ends(exited(127)),
        Verdict::Botched,
        &[
            "only_if gave no answer, so nobody knows whether the failure is one for this host: exit status 127 (0 is yes, 1 is no)",
        ],
    );
    check(
        plan.clone(),
        &ends(StepEnd::TimedOut),
        Verdict::Botched,
        &["only if: took longer than its time limit of 1s"],
    );
    // Whoever was waited for may have another role by then.
    let patient = CasePlan { grace: SECOND, ..plan.clone() };
    let mut waits = ends(exited(0));
    waits.extend([(Step::Before, exited(1)), (Step::Before, exited(0)), (Step::Select, exited(1))]);
    check(
        patient,
        &waits,
        Verdict::Skipped,
        &["not for this host as it is now: only_if said no (exit status 1)"],
    );
    // A connection that breaks is made again.
    let mut again = vec![(Step::Prepare, exited(0)), (Step::Select, failed(TroubleKind::Connection))];
    again.push((Step::Select, exited(1)));
    check(
        plan.clone(),
        &again,
        Verdict::Skipped,
        &["not for this host as it is now: only_if said no (exit status 1)"],
    );
    // Nor is a no that comes together with an interrupt anything worse.
    let mut machine = CaseMachine::new(plan.clone());
    for event in
        [CaseEvent::Begin, CaseEvent::Ended(exited(0)), CaseEvent::Interrupt, CaseEvent::Ended(exited(1))]
    {
        machine.step(Duration::ZERO, event);
    }
    let (verdict, findings, _) = machine.result();
    assert_eq!((verdict, findings.len()), (Verdict::Skipped, 1), "{findings:?}");
    let mut whole = ends(exited(0));
    let steps = [Step::Before, Step::Induce, Step::During, Step::Revert, Step::After];
    whole.extend(steps.map(|step| (step, exited(0))));
    check(plan, &whole, Verdict::Survived, &[]);
}
