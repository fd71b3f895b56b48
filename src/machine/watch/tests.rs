//! The watch of a service: what is allowed and told, when it is asked, and whether its figures are right.

use super::*;

const TENTH: Duration = Duration::from_millis(100);

/// Watches a service, asked every second, that is down in these times (in tenths of a second); each answer takes a twentieth.
fn watch(hold: Hold, grace: u32, is_down: &dyn Fn(Duration) -> bool) -> (Watch, Duration) {
    let mut watch = Watch::new(Some(hold), Expectation::Healthy, TENTH * grace, Duration::ZERO);
    let mut asked = Duration::ZERO;
    loop {
        let answer = if is_down(asked) { Answer::Down } else { Answer::Up };
        let now = asked + TENTH / 2;
        match watch.answered(asked, now, answer) {
            WatchNext::Ask(at) => asked = at,
            WatchNext::Over => return (watch, now),
        }
        assert!(now < TENTH * 100_000, "a watch without an end");
    }
}

/// Ten seconds, asked every second, without a limit.
fn ten_seconds() -> Hold {
    Hold {
        time: TENTH * 100,
        every: TENTH * 10,
        answer_within: TENTH * 50,
        max_outage: None,
        min_availability_ppm: None,
        full: false,
    }
}

#[test]
fn what_is_allowed_and_what_is_told() {
    let check = |hold: Hold, grace: u32, outages: &[(u32, u32)], want: &str| {
        let is_down = |at: Duration| outages.iter().any(|(from, to)| at >= TENTH * *from && at < TENTH * *to);
        let (watch, end) = watch(hold, grace, &is_down);
        let seen = watch.seen();
        let longest = seen.longest().map_or("none".to_owned(), |outage| {
            let open = if outage.has_ended { "" } else { "+" };
            format!("{:?}{open} ± {:?}", outage.lasted, outage.give_or_take)
        });
        let verdict = match watch.broken() {
            None => "fine".to_owned(),
            Some(Broken::Down(_)) => "down".to_owned(),
            Some(Broken::TooLong(..)) => "too long".to_owned(),
            Some(Broken::Unavailable(up, _)) => format!("{up} ppm"),
        };
        let got = format!("{} of {}, {longest}, {verdict} at {end:?}", seen.checks_down(), seen.checks());
        assert_eq!(got, want, "for {outages:?} with a grace of {grace}");
    };
    let limit = |seconds: u64| Hold { max_outage: Some(Duration::from_secs(seconds)), ..ten_seconds() };
    let share = |ppm: u32| Hold { min_availability_ppm: Some(ppm), ..ten_seconds() };
    check(ten_seconds(), 0, &[], "0 of 11, none, fine at 10.05s");
    // The lie: it dies two seconds later.
    check(ten_seconds(), 0, &[(20, 1000)], "1 of 3, 0ns+ ± 1s, down at 2.05s");
    check(Hold { full: true, ..ten_seconds() }, 0, &[(20, 50)], "3 of 11, 3s ± 1s, down at 10.05s");
    // What is forgiven: what is asked within the grace.
    check(ten_seconds(), 25, &[(0, 25)], "3 of 11, 3s ± 1s, fine at 10.05s");
    check(ten_seconds(), 25, &[(0, 35)], "4 of 4, 3s+ ± 0ns, down at 3.05s");
    // An outage as long as is allowed, one that is longer, and one that begins within the grace.
    check(limit(3), 0, &[(20, 50)], "3 of 11, 3s ± 1s, fine at 10.05s");
    check(limit(3), 0, &[(20, 61)], "5 of 7, 4s+ ± 1s, too long at 6.05s");
    check(limit(3), 20, &[(0, 50)], "5 of 11, 5s ± 1s, fine at 10.05s");
    // It is down when the time is up: how long it would have been has to be seen.
    check(limit(3), 0, &[(80, 1000)], "5 of 13, 4s+ ± 1s, too long at 12.05s");
    check(limit(3), 0, &[(80, 110)], "3 of 12, 3s ± 1s, fine at 11.05s");
    // Two short ones are no long one.
    check(limit(3), 0, &[(10, 30), (40, 60)], "4 of 11, 2s ± 1s, fine at 10.05s");
    check(share(700_000), 0, &[(20, 50)], "3 of 11, 3s ± 1s, fine at 10.05s");
    check(share(800_000), 0, &[(20, 50)], "3 of 5, 2s+ ± 1s, 795000 ppm at 4.05s");
}

#[test]
fn questions_stay_on_the_grid() {
    let mut watch = Watch::new(Some(ten_seconds()), Expectation::Healthy, Duration::ZERO, TENTH * 7);
    let mut check = |asked: u32, answered: u32, want: Option<u32>| {
        let next = watch.answered(TENTH * (7 + asked), TENTH * (7 + answered), Answer::Up);
        let want = want.map_or(WatchNext::Over, |at| WatchNext::Ask(TENTH * (7 + at)));
        assert_eq!(next, want, "asked at {asked}, answered at {answered}");
    };
    check(0, 1, Some(10));
    // Two moments have passed while the answer was awaited.
    check(10, 35, Some(40));
    check(40, 50, Some(50));
    check(50, 96, Some(100));
    check(100, 101, None);
    // One that was asked long ago is not the last.
    let mut watch = Watch::new(Some(ten_seconds()), Expectation::Healthy, Duration::ZERO, Duration::ZERO);
    assert_eq!(watch.answered(TENTH * 60, TENTH * 104, Answer::Up), WatchNext::Ask(TENTH * 110));
}

#[test]
fn what_nobody_watched_is_no_time_of_health() {
    let check = |asked: u32, answered: u32, answer: Answer, want: Option<u32>| {
        let mut watch = Watch::new(Some(ten_seconds()), Expectation::Healthy, Duration::ZERO, Duration::ZERO);
        watch.answered(Duration::ZERO, TENTH, Answer::Up);
        watch.answered(TENTH * asked, TENTH * answered, answer);
        assert_eq!(
            watch.unwatched(),
            want.map(|gap| TENTH * gap),
            "asked at {asked}, answered at {answered}"
        );
        assert_eq!(watch.broken(), None);
    };
    check(10, 11, Answer::Up, None);
    check(81, 82, Answer::Up, None);
    // This machine slept before it asked, or while it waited for the answer.
    check(82, 83, Answer::Up, Some(81));
    check(10, 81, Answer::Unseen, None);
    check(10, 82, Answer::Unseen, Some(81));
    // As long as an outage that is not allowed is too long.
    let hold = Hold { max_outage: Some(TENTH * 20), ..ten_seconds() };
    let mut watch = Watch::new(Some(hold), Expectation::Healthy, Duration::ZERO, Duration::ZERO);
    assert_eq!(watch.answered(Duration::ZERO, TENTH, Answer::Up), WatchNext::Ask(TENTH * 10));
    assert_eq!(watch.answered(TENTH * 22, TENTH * 23, Answer::Up), WatchNext::Over);
    assert_eq!(watch.unwatched(), Some(TENTH * 21));
}

/// A service that is frozen answers late: until then it was not well, whatever it says.
#[test]
fn who_answers_late_was_down() {
    let check = |max_outage: u32, answers: &[(u32, u32, Answer)], want: &str| {
        let hold = Hold { max_outage: Some(TENTH * max_outage), answer_within: TENTH * 20, ..ten_seconds() };
        let mut watch = Watch::new(Some(hold), Expectation::Healthy, Duration::ZERO, Duration::ZERO);
        for (asked, answered, answer) in answers {
            watch.answered(TENTH * *asked, TENTH * *answered, *answer);
        }
        let told: Vec<String> = watch
            .seen()
            .outages()
            .iter()
            .map(|outage| format!("{:?} from {:?} ± {:?}", outage.lasted, outage.began, outage.give_or_take))
            .collect();
        let verdict = if watch.broken().is_some() { "too long" } else { "fine" };
        assert_eq!(format!("{} {verdict}", told.join(", ")), want);
    };
    let (up, silence) = (Answer::Up, Answer::Silence);
    // Frozen for 4.9 s: no answer to one question, a late one to the next.
    check(30, &[(0, 0, up), (10, 30, silence), (30, 59, up)], "4.9s from 1s ± 4.9s too long");
    check(30, &[(0, 0, up), (10, 30, silence), (30, 30, up)], "2s from 1s ± 2s fine");
    // A no that was long in coming tells of its end, too.
    check(30, &[(0, 0, up), (10, 45, Answer::Down)], "3.5s from 1s ± 1s too long");
    // One that takes a moment to be ended has no more time for it.
    check(30, &[(0, 0, up), (10, 50, silence), (50, 50, up)], "4s from 1s ± 4s too long");
}

/// A service whose outages are scripted to the tenth of a second.
#[test]
fn figures_are_right_within_what_they_say_of_themselves() {
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for _ in 0..200 {
        let mut at = 0;
        let outages: Vec<(u64, u64)> = (0..100)
            .map(|_| {
                let from = at + 1 + next(80);
                at = from + 1 + next(60);
                (from, at)
            })
            .collect();
        let time = TENTH * (at as u32 + 30);
        let hold = Hold { time, full: true, ..ten_seconds() };
        let is_down = |asked: Duration| {
            let tenths = (asked.as_millis() / 100) as u64;
            outages.iter().any(|(from, to)| (*from..*to).contains(&tenths))
        };
        let (watch, _) = watch(hold, 0, &is_down);
        let seen = watch.seen().outages();
        for (from, to) in &outages {
            let (from, to) = (TENTH * *from as u32, TENTH * *to as u32);
            let told = seen.iter().find(|outage| outage.began < to && from < outage.began + outage.lasted);
            let Some(told) = told else {
                assert!(to - from <= TENTH * 20, "one of {from:?} to {to:?} was missed");
                continue;
            };
            let alone = outages.iter().filter(|(f, t)| {
                TENTH * *f as u32 <= told.began + told.lasted && told.began <= TENTH * *t as u32
            });
            if alone.count() == 1 {
                assert!(
                    told.lasted.abs_diff(to - from) <= told.give_or_take,
                    "{told:?} for {from:?} to {to:?}"
                );
            }
        }
        let down: u32 = outages.iter().map(|(from, to)| (to - from) as u32).sum();
        let (truth, told) = (share_ppm(time, TENTH * down), watch.seen().availability_ppm());
        // What is between two questions is off by half an interval at the most on average, to both sides.
        assert!(truth.abs_diff(told) < 20_000, "{told} ppm, and it was {truth}");
    }
}

/// Where nobody could ask at first, the hold is watched after that; and who is not well when first asked was not well before.
#[test]
fn a_head_that_nobody_could_ask_in_is_not_a_part_of_the_hold() {
    let check = |is_down: &dyn Fn(Duration) -> bool, asked: u32, availability: &str| {
        let head = TENTH * 40;
        let mut watch = Watch::new(Some(ten_seconds()), Expectation::Healthy, Duration::ZERO, Duration::ZERO)
            .unasked_for(head);
        let (mut at, mut questions) = (head, 0);
        loop {
            questions += 1;
            let answer = if is_down(at) { Answer::Down } else { Answer::Up };
            match watch.answered(at, at + TENTH / 2, answer) {
                WatchNext::Ask(next) => at = next,
                WatchNext::Over => break,
            }
        }
        let seen = watch.seen();
        assert_eq!(
            (questions, crate::fatebook::tell_share(seen.availability_ppm()).as_str()),
            (asked, availability)
        );
    };
    check(&|_| false, 11, "100 %");
    // Four seconds of silence, and one more until it answers.
    check(&|at| at < TENTH * 50, 1, "0 %");
}
