//! A few lives of a case, told in full; all of its paths are gone through in `enumeration`.

use super::*;

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn plan() -> CasePlan {
    CasePlan {
        only_if: false,
        verify: false,
        expect: Expectation::Healthy,
        timeout: SECOND,
        grace: Duration::ZERO,
        revert_within: 2 * SECOND,
        has_switch: false,
        cuts_off: false,
        cycles: 1,
        arms_first: false,
        hold: None,
        still: false,
        stop_if: false,
        max_recovery: None,
        steady: None,
        checks: Vec::new(),
        workload: None,
    }
}

pub(super) fn exited(status: i32) -> StepEnd {
    StepEnd::Exited(Exit::Status(status))
}

/// Healed by its dead man's switch, so many seconds before it was asked.
pub(super) fn healed(ago: Option<u64>) -> StepEnd {
    StepEnd::Healed(HealedBy { switch: true, after: Some(SECOND), ago: ago.map(Duration::from_secs) })
}

/// Somebody else has the host, for so many seconds at most.
pub(super) fn busy(seconds: u64) -> StepEnd {
    StepEnd::Busy { message: "who".to_owned(), within: Duration::from_secs(seconds) }
}

pub(super) fn failed(kind: TroubleKind) -> StepEnd {
    StepEnd::Failed(Trouble { kind, message: "why".to_owned() })
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
    let ended = Some(3 * SECOND);
    for (cuts_off, end, record, ended_at, told) in [
        (true, lost(), Some(Induced::Begun), ended, "botched: NotInduced"),
        (true, lost(), Some(Induced::Rebooted), ended, "survived: "),
        (true, lost(), Some(Induced::Ended(0)), ended, "survived: "),
        // After the service was asked for the first time; and when, nobody knows.
        (true, lost(), Some(Induced::Ended(0)), Some(7 * SECOND), "botched: NotInduced"),
        (true, lost(), Some(Induced::Ended(0)), None, "botched: NotInduced"),
        (true, lost(), Some(Induced::Ended(3)), ended, "botched: InducerFailed"),
        (true, lost(), Some(Induced::Unknown), ended, "botched: NotInduced"),
        (true, lost(), None, ended, "botched: NotInduced"),
        (true, StepEnd::TimedOut, Some(Induced::Begun), ended, "botched: TimeLimit"),
        (true, failed(TroubleKind::Upload), Some(Induced::Begun), ended, "botched: UploadFailed"),
        (false, lost(), Some(Induced::Begun), ended, "botched: ConnectionFailed"),
    ] {
        let mut machine = CaseMachine::new(CasePlan { cuts_off, ..plan() });
        let mut turn = machine.step(Duration::ZERO, CaseEvent::Begin);
        for seconds in 1.. {
            let event = match turn.map(|turn| turn.next) {
                Some(CaseNext::Perform { step: Step::Induce, .. }) => CaseEvent::Ended(end.clone()),
                Some(CaseNext::Perform { step, .. }) => {
                    if let (Step::Revert, Some(record)) = (step, record) {
                        assert_eq!(
                            machine.step(
                                seconds * SECOND,
                                CaseEvent::HostSays(HostRecord {
                                    induced: record,
                                    ended_at,
                                    ended_sometime: ended_at.is_none(),
                                    ..HostRecord::default()
                                })
                            ),
                            None
                        );
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
        assert_eq!(format!("{verdict}: {kind}"), told, "{end:?} {record:?} {ended_at:?}");
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
