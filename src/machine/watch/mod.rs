//! Watching a service while a failure is in force: when it is asked, what its answers amount to, and when no later answer can
//! save the verdict any more. Every figure comes from the list of answers, and is worked out here and nowhere else, so that a
//! run that was kept can be judged again. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fatebook::{Expectation, Hold};

use super::verdict::StepEnd;

mod check;

pub use check::{CheckPlan, CheckWatch};

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

impl Answer {
    /// What the end of a question says of a service of which this is expected; `None` if it is no answer at all.
    pub(super) fn of(end: &StepEnd, expect: Expectation, is_held: bool) -> Option<Self> {
        let is_wanted = match expect {
            Expectation::Healthy => end.is_success(),
            Expectation::Unhealthy => end.is_no(),
        };
        if is_wanted {
            return Some(Self::Up);
        }
        // Where it is to be unhealthy, only its own no says so, and only its yes the contrary.
        let is_own = end.is_success() || end.is_no() || *end == StepEnd::Unseen;
        if !end.may_change() || expect == Expectation::Unhealthy && is_held && !is_own {
            return None;
        }
        Some(match end {
            StepEnd::Unseen => Self::Unseen,
            StepEnd::TimedOut => Self::Silence,
            _ => Self::Down,
        })
    }
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
        share_ppm(self.time, self.down_behind_of(Duration::ZERO))
    }

    /// The same of the time behind the grace only.
    fn availability_behind_ppm(&self, time: Duration) -> u32 {
        share_ppm(time.saturating_sub(self.grace), self.down_behind_of(self.grace))
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

/// What is left of a whole without this part of it, in millionths.
fn share_ppm(whole: Duration, lost: Duration) -> u32 {
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
    /// How long the failure had been in force before anybody could ask.
    head: Duration,
}

impl Watch {
    /// Begins when the failure is in force. Without a plan it is for whoever asks to say when the watch is over.
    pub(super) fn new(plan: Option<Hold>, expect: Expectation, grace: Duration, now: Duration) -> Self {
        let hold = plan.as_ref().map(|plan| plan.time);
        let seen = Watched { expect, hold, grace, ..Watched::default() };
        Self { plan, began: now, answered: now, seen, unwatched: None, head: Duration::ZERO }
    }

    /// The same; nobody could ask for so long since then. The service is watched for the whole of the hold after that.
    pub(super) fn unasked_for(mut self, head: Duration) -> Self {
        self.head = head;
        self
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
        let begins = match up {
            true if is_long => end,
            // One that is not well when it is first asked may have been so all the time before.
            false if self.seen.answers.is_empty() && !self.head.is_zero() => Duration::ZERO,
            _ => first,
        };
        match self.seen.answers.last_mut() {
            _ if answer == Answer::Unseen => {}
            Some(last) if last.up == up => {
                (last.count, last.last, last.until) = (last.count + 1, first, until);
            }
            _ => self.seen.answers.push(Answers { up, count: 1, first: begins, last: first, until }),
        }
        self.seen.time = end;
        let Some(plan) = &self.plan else { return WatchNext::Over };
        let hold = self.head + plan.time;
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
        let is_late = first + plan.every < hold;
        if end >= hold && !is_open && !is_late && answer != Answer::Unseen {
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
            _ if end < hold => next.min(hold),
            _ => next,
        };
        WatchNext::Ask(self.began + next)
    }

    /// Whether the failure need not be held any longer: nothing more can be said, or no later answer can save the verdict.
    pub(super) fn ends_hold(&self) -> bool {
        self.unwatched.is_some() || self.plan.as_ref().is_some_and(|plan| !plan.full && self.is_lost(plan))
    }

    /// Whether the verdict is certain: no later answer can save it.
    fn is_lost(&self, plan: &Hold) -> bool {
        match (plan.max_outage, plan.min_availability_ppm) {
            (None, None) => self.seen.down_behind().is_some(),
            (max_outage, least) => {
                let too_long = max_outage.is_some_and(|max| self.seen.too_long(max).is_some());
                let too_little = |least| {
                    self.seen.availability_behind_ppm((self.head + plan.time).max(self.seen.time)) < least
                };
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
mod tests;
