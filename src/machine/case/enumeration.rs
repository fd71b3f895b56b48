//! The case machine, enumerated whole: each outcome of each step, an interrupt before and in each.

use std::rc::Rc;

use crate::machine::workload::Writes;

use super::tests::{SECOND, busy, exited, failed, healed, plan};
use super::*;

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
    /// The cycle in which it is; 0 before the first.
    cycle: u32,
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

impl Path {
    /// The host is to be broken once more: all was well, and it was healed.
    fn end_cycle(&mut self, machine: &CaseMachine) {
        assert!(machine.cycle() <= machine.plan.cycles, "more cycles than were asked for: {}", self.told);
        assert!(machine.result().1.is_empty() && !machine.is_dirty() && !self.interrupted, "{}", self.told);
        let ends = |step: Step| {
            self.performed.iter().filter(move |(other, _)| *other == step).map(|(_, success)| *success)
        };
        for step in [Step::Before, Step::Prepare, Step::Induce, Step::During, Step::Revert, Step::After] {
            assert_eq!(ends(step).next_back(), Some(true), "{step}: {}", self.told);
        }
        assert_eq!(ends(Step::Induce).count(), 1, "induced twice: {}", self.told);
        assert!(self.noted_dirty && self.noted_reverted && !self.healed_too_early, "{}", self.told);
        self.performed.retain(|(step, _)| *step == Step::Before);
        (self.noted_dirty, self.noted_reverted, self.cycle) = (false, false, machine.cycle());
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
    if machine.cycle() > path.cycle.max(1) {
        path.end_cycle(machine);
    }
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
            // And what is asked of one host is gone through with one.
            let is_as_of_one = plan.arms_first && (plan.only_if || plan.cuts_off);
            let brief = path.put_off > 0
                || !plan.checks.is_empty()
                || plan.workload.is_some()
                || plan.cycles > 1
                || is_as_of_one;
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
                // Of two hosts the second one has ended so.
                if machine.plan.arms_first && step.is_on_hosts() {
                    let ends = vec![("a".to_owned(), exited(0)), ("b".to_owned(), end.clone())];
                    assert_eq!(worst_end(&ends), end, "{}", path.told);
                    assert_eq!(machine.step(now, CaseEvent::HostsEnded(ends)), None);
                }
                let machine = &machine;
                // An inducer for which nothing could be left on the host was not begun; of several hosts another one's was.
                let is_put_off = matches!(end, StepEnd::Declined(_) | StepEnd::Busy { .. });
                let is_one_of_several = machine.plan.arms_first && matches!(step, Step::Arm | Step::Induce);
                path.put_off += u32::from(is_put_off);
                if end != failed(TroubleKind::Arming) && !is_put_off || is_one_of_several {
                    path.performed.push((step, end.is_success()));
                }
                let was_induced = path.performed.iter().any(|(step, _)| *step == Step::Induce);
                path.healed_too_early |= was_induced
                    && matches!(end, StepEnd::Healed(by) if by.ago.is_none_or(|ago| !ago.is_zero()));
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
        let fine = WorkloadSeen {
            writes: writes(2),
            stall: SECOND,
            answered_in_force: 2,
            ..WorkloadSeen::default()
        };
        let bad = [
            WorkloadSeen { lost: 1, lost_ids: vec!["7".to_owned()], ..fine.clone() },
            WorkloadSeen { stall: 3 * SECOND, ..fine.clone() },
            WorkloadSeen { ended_early: true, ..fine.clone() },
            WorkloadSeen { too_many_parts: true, ..fine.clone() },
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
        Step::Arm | Step::Induce => vec![exited(0), exited(1), busy(1), StepEnd::Declined(1)],
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
    if let Step::Arm | Step::Induce = step {
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
    } else if let Some(armed) = last(Step::Arm) {
        assert!(last(Step::Revert) > Some(armed), "armed, and not reverted: {told}");
        assert_eq!(machine.is_dirty(), !path.performed[last(Step::Revert).unwrap_or_default()].1, "{told}");
        assert!(verdict != Verdict::Survived, "survived, and nothing was broken: {told}");
    } else {
        assert_eq!(done(Step::Revert), 0, "reverted what was not broken: {told}");
        assert!(!machine.is_dirty(), "{told}");
    }
    assert_eq!(path.noted_dirty, path.noted_reverted || machine.is_dirty(), "{told}");
    assert!(done(Step::After) == 0 || healed.is_some(), "asked after a revert that was none: {told}");
    let all = [Step::Before, Step::Prepare, Step::Induce, Step::During, Step::Revert, Step::After];
    let survived = verdict == Verdict::Survived;
    assert!(!survived || machine.cycle() == machine.plan.cycles.max(1), "survived too few cycles: {told}");
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
    for only_if in [false, true] {
        plans.push(CasePlan { arms_first: true, only_if, ..plan() });
    }
    plans.push(CasePlan { arms_first: true, cuts_off: true, verify: true, ..plan() });
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
    plans.push(CasePlan { workload: workload.clone(), verify: true, ..plan() });
    plans.push(CasePlan { cycles: 3, ..plan() });
    plans.push(CasePlan { cycles: 2, arms_first: true, workload, ..plan() });
    let mut count = 0;
    for plan in plans {
        let mut machine = CaseMachine::new(plan);
        let turn = machine.step(Duration::ZERO, CaseEvent::Begin).expect("a first step");
        count += explore(&machine, turn, Duration::ZERO, &Path::default());
    }
    assert!(count > 100_000, "only {count} paths");
}
