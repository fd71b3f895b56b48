//! Watching a service while a failure is in force: when it is asked, what its answers amount to, and when no later answer can
//! save the verdict any more. Every figure comes from the list of answers, and is worked out here and nowhere else, so that a
//! run that was kept can be judged again. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fatebook::{Expectation, Hold};

/// What is told of one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The answer that is wanted.
    Up,
    /// Another one.
    Down,
    /// None within the time limit: the service was down from the beginning of the question to its end.
    Silence,
    /// Nobody knows: whoever asked stood still, and saw too late what became of the question.
    Unseen,
}

/// Equal answers in a row. Times are counted from when the failure was in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// Whether they are the ones that are wanted.
    pub up: bool,
    /// How many.
    pub count: u32,
    /// When the first question began; of one whose good answer was longer in coming than an interval, when that came.
    pub first: Duration,
    /// When the last question began.
    pub last: Duration,
    /// Until when it certainly was so: the beginning of the last question, or its end if it took longer than an interval.
    pub until: Duration,
}

/// A time in which the service was not as it was wanted: from the beginning of the first question that tells of it to the
/// beginning of the next that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// When it began, counted from when the failure was in force.
    pub began: Duration,
    /// How long it lasted; at the least, if it has not ended.
    pub lasted: Duration,
    /// By how much that may be wrong: the service was not asked in between.
    pub give_or_take: Duration,
    /// Whether it had ended when the service was asked for the last time.
    pub has_ended: bool,
    /// How many questions tell of it.
    pub checks: u32,
}

impl Outage {
    /// What of it lies behind the grace.
    fn behind(&self, grace: Duration) -> Duration {
        (self.began + self.lasted).saturating_sub(self.began.max(grace))
    }
}

/// All that was seen of the service while the failure was in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// What was wanted of the service: that is what is called up.
    pub expect: Expectation,
    /// How long the failure was to be held, if it was.
    pub hold: Option<Duration>,
    /// From when the failure was in force to the last answer.
    pub time: Duration,
    /// The time in which it was forgiven.
    pub grace: Duration,
    /// The answers, equal ones together.
    pub answers: Vec<Answers>,
}

impl Watched {
    /// How often the service was asked.
    pub fn checks(&self) -> u32 {
        self.answers.iter().map(|answers| answers.count).sum()
    }

    /// How often it was not as it was wanted.
    pub fn checks_down(&self) -> u32 {
        self.answers.iter().filter(|answers| !answers.up).map(|answers| answers.count).sum()
    }

    /// The outages, in order.
    pub fn outages(&self) -> Vec<Outage> {
        let mut outages = Vec::new();
        for (index, answers) in self.answers.iter().enumerate().filter(|(_, answers)| !answers.up) {
            let next = self.answers.get(index + 1);
            let before = index.checked_sub(1).and_then(|index| self.answers.get(index));
            let gaps = [
                before.map(|before| answers.first - before.last),
                next.map(|next| next.first - answers.last),
            ];
            outages.push(Outage {
                began: answers.first,
                lasted: next.map_or(answers.until, |next| next.first) - answers.first,
                give_or_take: gaps.into_iter().flatten().max().unwrap_or_default(),
                has_ended: next.is_some(),
                checks: answers.count,
            });
        }
        outages
    }

    /// The figures, for programs: times in seconds.
    pub fn summary(&self) -> serde_json::Value {
        let longest = self.longest().map(|outage| outage.lasted.as_secs_f64());
        serde_json::json!({
            "watched_seconds": self.time.as_secs_f64(),
            "checks": self.checks(),
            "unhealthy_checks": self.checks_down(),
            "longest_outage_seconds": longest.unwrap_or_default(),
            "availability": f64::from(self.availability_ppm()) / f64::from(MILLION),
        })
    }

    /// The longest outage.
    pub fn longest(&self) -> Option<Outage> {
        self.outages().into_iter().max_by_key(|outage| (outage.lasted, outage.checks))
    }

    /// The part of the time in which the service was up, in millionths: one less what all outages lasted.
    pub fn availability_ppm(&self) -> u32 {
        part(self.time, self.down_behind_of(Duration::ZERO))
    }

    /// The same of the time behind the grace only.
    fn availability_behind_ppm(&self, time: Duration) -> u32 {
        part(time.saturating_sub(self.grace), self.down_behind_of(self.grace))
    }

    /// How long it was down in all, behind this moment. An outage that has not ended lasts to the last answer.
    fn down_behind_of(&self, moment: Duration) -> Duration {
        let whole = |outage: Outage| match outage.has_ended {
            true => outage,
            false => Outage { lasted: self.time.saturating_sub(outage.began), ..outage },
        };
        self.outages().into_iter().map(|outage| whole(outage).behind(moment)).sum()
    }

    /// The first outage of which a question tells that began behind the grace, or that was still without an answer then.
    fn down_behind(&self) -> Option<Outage> {
        let tells = |answers: &Answers| answers.last >= self.grace || answers.until > self.grace;
        let down = self.answers.iter().filter(|answers| !answers.up);
        down.zip(self.outages()).find(|(answers, _)| tells(answers)).map(|(_, outage)| outage)
    }

    /// The first outage of which more than this lies behind the grace.
    fn too_long(&self, max_outage: Duration) -> Option<Outage> {
        let is_one = |outage: &Outage| outage.behind(self.grace) > max_outage;
        self.outages().into_iter().find(is_one)
    }
}

fn part(whole: Duration, lost: Duration) -> u32 {
    if whole.is_zero() {
        return if lost.is_zero() { MILLION } else { 0 };
    }
    let up = whole.saturating_sub(lost).as_nanos() * u128::from(MILLION) / whole.as_nanos();
    u32::try_from(up).unwrap_or(MILLION)
}

const MILLION: u32 = 1_000_000;
/// A gap without a question longer than three intervals and this: nobody knows what happened in it.
const UNWATCHED_MIN: Duration = Duration::from_secs(5);
/// Any machine stands still for less than this now and then.
const STANDS_STILL: Duration = Duration::from_secs(1);

/// Why a case does not survive, as the answers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It was down, and nothing forgives that.
    Down(Outage),
    /// It was down for longer than this.
    TooLong(Outage, Duration),
    /// It was up for a part of the time, in millionths, that is less than the second.
    Unavailable(u32, u32),
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchNext {
    /// Ask at this moment.
    Ask(Duration),
    /// The watch is over.
    Over,
}

/// One watch, while it goes on.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    plan: Option<Hold>,
    /// By the case's clock.
    began: Duration,
    /// When the last answer came.
    answered: Duration,
    seen: Watched,
    /// A time in which nobody asked, though somebody should have: its length.
    unwatched: Option<Duration>,
}

impl Watch {
    /// Begins when the failure is in force. Without a plan it is for whoever asks to say when the watch is over.
    pub(super) fn new(plan: Option<Hold>, expect: Expectation, grace: Duration, now: Duration) -> Self {
        let hold = plan.as_ref().map(|plan| plan.time);
        let seen = Watched { expect, hold, grace, ..Watched::default() };
        Self { plan, began: now, answered: now, seen, unwatched: None }
    }

    /// What was seen up to now.
    pub(super) fn seen(&self) -> &Watched {
        &self.seen
    }

    /// How long the failure had been in force at this moment of the case.
    pub(super) fn since(&self, now: Duration) -> Duration {
        now.saturating_sub(self.began)
    }

    /// How long nobody asked, if that was too long for anything to be said of it.
    pub(super) fn unwatched(&self) -> Option<Duration> {
        self.unwatched
    }

    /// Takes in the answer to the question that began at `asked`.
    pub(super) fn answered(&mut self, asked: Duration, now: Duration, answer: Answer) -> WatchNext {
        let (first, end) = (asked.saturating_sub(self.began), now.saturating_sub(self.began));
        let up = answer == Answer::Up;
        // A long question tells of its end: a service that is frozen answers late, and was not well before.
        let is_long = self.plan.as_ref().is_some_and(|plan| end - first > plan.every);
        let until = match (&self.plan, answer) {
            (Some(plan), Answer::Silence) => end.min(first + plan.answer_within),
            _ if is_long => end,
            _ => first,
        };
        let begins = if up && is_long { end } else { first };
        match self.seen.answers.last_mut() {
            _ if answer == Answer::Unseen => {}
            Some(last) if last.up == up => {
                (last.count, last.last, last.until) = (last.count + 1, first, until);
            }
            _ => self.seen.answers.push(Answers { up, count: 1, first: begins, last: first, until }),
        }
        self.seen.time = end;
        let Some(plan) = &self.plan else { return WatchNext::Over };
        let gap = if answer == Answer::Unseen { now } else { asked }.saturating_sub(self.answered);
        // As long as an outage that would not be allowed must not go unseen.
        let longest = plan.every * 3 + UNWATCHED_MIN;
        let longest =
            plan.max_outage.map_or(longest, |max| longest.min(max.max(plan.every * 2).max(STANDS_STILL)));
        if gap > longest {
            self.unwatched = Some(gap);
            return WatchNext::Over;
        }
        if answer != Answer::Unseen {
            self.answered = now;
        }
        if !plan.full && self.is_lost(plan) {
            return WatchNext::Over;
        }
        let is_down = self.seen.answers.last().is_some_and(|answers| !answers.up);
        let is_open = is_down && plan.max_outage.is_some_and(|_| !self.is_lost(plan));
        // An answer that was long in coming says nothing of the end.
        let is_late = first + plan.every < plan.time;
        if end >= plan.time && !is_open && !is_late && answer != Answer::Unseen {
            return WatchNext::Over;
        }
        // On the grid: a moment that has passed while the answer was awaited is left out.
        let steps = (end.as_nanos() / plan.every.as_nanos().max(1)) as u32;
        let on_grid = [steps, steps + 1].map(|steps| plan.every * steps);
        let next =
            on_grid.into_iter().find(|moment| *moment > first && *moment >= end).unwrap_or(end + plan.every);
        let next = match answer {
            // What was not seen is asked again at once.
            Answer::Unseen => end,
            _ if end < plan.time => next.min(plan.time),
            _ => next,
        };
        WatchNext::Ask(self.began + next)
    }

    /// Whether the verdict is certain: no later answer can save it.
    fn is_lost(&self, plan: &Hold) -> bool {
        match (plan.max_outage, plan.min_availability_ppm) {
            (None, None) => self.seen.down_behind().is_some(),
            (max_outage, least) => {
                let too_long = max_outage.is_some_and(|max| self.seen.too_long(max).is_some());
                let too_little =
                    |least| self.seen.availability_behind_ppm(plan.time.max(self.seen.time)) < least;
                too_long || least.is_some_and(too_little)
            }
        }
    }

    /// What the answers have broken of the rules.
    pub(super) fn broken(&self) -> Option<Broken> {
        let plan = self.plan.as_ref()?;
        if let Some(max) = plan.max_outage
            && let Some(outage) = self.seen.too_long(max)
        {
            return Some(Broken::TooLong(outage, max));
        }
        match (plan.max_outage, plan.min_availability_ppm) {
            (None, None) => self.seen.down_behind().map(Broken::Down),
            (_, Some(least)) => {
                let up = self.seen.availability_behind_ppm(plan.time.max(self.seen.time));
                (up < least).then_some(Broken::Unavailable(up, least))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
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
            let is_down =
                |at: Duration| outages.iter().any(|(from, to)| at >= TENTH * *from && at < TENTH * *to);
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
            let mut watch =
                Watch::new(Some(ten_seconds()), Expectation::Healthy, Duration::ZERO, Duration::ZERO);
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
            let hold =
                Hold { max_outage: Some(TENTH * max_outage), answer_within: TENTH * 20, ..ten_seconds() };
            let mut watch = Watch::new(Some(hold), Expectation::Healthy, Duration::ZERO, Duration::ZERO);
            for (asked, answered, answer) in answers {
                watch.answered(TENTH * *asked, TENTH * *answered, *answer);
            }
            let told: Vec<String> = watch
                .seen()
                .outages()
                .iter()
                .map(|outage| {
                    format!("{:?} from {:?} ± {:?}", outage.lasted, outage.began, outage.give_or_take)
                })
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
                let told =
                    seen.iter().find(|outage| outage.began < to && from < outage.began + outage.lasted);
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
            let (truth, told) = (part(time, TENTH * down), watch.seen().availability_ppm());
            // What is between two questions is off by half an interval at the most on average, to both sides.
            assert!(truth.abs_diff(told) < 20_000, "{told} ppm, and it was {truth}");
        }
    }
}
