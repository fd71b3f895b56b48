//! How long a failure is held and what is allowed of the service meanwhile: the keys from `hold` to `watch_after`, said for the
//! book or for one failure, and what about them cannot be. Pure.

use std::time::Duration;

use super::model::{Command, Expectation, Fate, Hold, Resource, Steady};
use super::node::{Node, Value, as_bool};
use super::problem::Place;
use super::read::Reader;
use super::time::{show_duration, tell_share};
use super::values::Fields;

/// The time from one question to the next, unless the book says it.
const EVERY: Duration = Duration::from_secs(1);
const EVERY_MIN: Duration = Duration::from_millis(10);
/// How long one question waits for its answer, unless the book says it.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// More questions than anybody looks at.
const CHECKS_MAX: u128 = 100_000;

/// A value with its place.
type Said<T> = Option<(T, Place)>;

/// What a book, or a failure, says.
#[derive(Clone, Copy, Default)]
pub(super) struct HoldKeys {
    hold: Said<Duration>,
    every: Said<Duration>,
    answer_within: Said<Duration>,
    max_outage: Said<Duration>,
    min_availability_ppm: Said<u32>,
    full_hold: Said<bool>,
    max_recovery: Said<Duration>,
    watch_after: Said<Duration>,
}

impl HoldKeys {
    /// What these say, and where they say nothing what those do.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            hold: self.hold.or(other.hold),
            every: self.every.or(other.every),
            answer_within: self.answer_within.or(other.answer_within),
            max_outage: self.max_outage.or(other.max_outage),
            min_availability_ppm: self.min_availability_ppm.or(other.min_availability_ppm),
            full_hold: self.full_hold.or(other.full_hold),
            max_recovery: self.max_recovery.or(other.max_recovery),
            watch_after: self.watch_after.or(other.watch_after),
        }
    }

    /// The same for a service of which this is expected: what others allow of a healthy one means nothing of one that is to be
    /// unhealthy.
    fn or_for(self, expect: Expectation, other: Self) -> Self {
        match expect {
            Expectation::Healthy => self.or(other),
            Expectation::Unhealthy => Self {
                max_outage: self.max_outage,
                min_availability_ppm: self.min_availability_ppm,
                ..self.or(other)
            },
        }
    }

    /// The time from one question to the next.
    fn every(&self) -> Duration {
        self.every.map_or_else(|| EVERY.min(self.time().max(EVERY_MIN)), |(time, _)| time)
    }

    /// How long the failure is held.
    fn time(&self) -> Duration {
        self.hold.map_or(Duration::ZERO, |(time, _)| time)
    }
}

impl Reader<'_> {
    /// Reads the keys of a book or of a failure.
    pub(super) fn hold_keys(&mut self, fields: &Fields<'_>) -> HoldKeys {
        let mut time = |name: &'static str| {
            let time = self.duration(fields.get(name), name)?;
            Some((time, fields.get(name)?.place))
        };
        let (hold, every, answer_within) = (time("hold"), time("every"), time("answer_within"));
        let (max_outage, max_recovery, watch_after) =
            (time("max_outage"), time("max_recovery"), time("watch_after"));
        let full_hold = self.truth(fields.get("full_hold"), "full_hold");
        HoldKeys {
            hold,
            every: self.not_too_short(every, "every"),
            answer_within: self.not_too_short(answer_within, "answer_within"),
            max_outage,
            min_availability_ppm: self.share(fields.get("min_availability"), "min_availability"),
            full_hold: full_hold.and_then(|full| Some((full, fields.get("full_hold")?.place))),
            max_recovery,
            watch_after,
        }
    }

    fn not_too_short(&mut self, time: Said<Duration>, name: &str) -> Said<Duration> {
        if let Some((time, place)) = time
            && time < EVERY_MIN
        {
            let message = format!(
                "`{name}` must be at least {}, not {}",
                show_duration(EVERY_MIN),
                show_duration(time)
            );
            self.problem(place, message);
            return None;
        }
        time
    }

    /// A part of a whole, such as 99.5%, in millionths.
    fn share(&mut self, node: Option<&Node>, name: &str) -> Said<u32> {
        let node = node?;
        let wanted = format!("`{name}` is a percentage such as 99.5%");
        let written = self.plain(node, &wanted)?;
        let number =
            written.trim().strip_suffix('%').and_then(|number| number.trim_end().parse::<f64>().ok());
        let Some(number) = number.filter(|number| *number > 0.0 && *number <= 100.0) else {
            self.problem(node.place, format!("{wanted}, above 0% and at most 100%, not `{written}`"));
            return None;
        };
        Some(((number * 10_000.0).round() as u32, node.place))
    }

    /// Puts together what the failure and its book say, and sets it in the failure.
    pub(super) fn set_hold(&mut self, fate: &mut Fate, own: HoldKeys, of_book: HoldKeys) {
        let said = own.or_for(fate.expect, of_book);
        self.note_what_needs_a_hold(&own, &said);
        fate.max_recovery = said.max_recovery.map(|(time, _)| time);
        let steady = said.watch_after.map(|(time, _)| time).filter(|time| !time.is_zero());
        fate.steady = steady.map(|time| Steady { time, every: said.every() });
        fate.hold = self.hold(fate, fate.expect, &said);
    }

    /// The same for one of the failure's checks.
    pub(super) fn hold_of_check(
        &mut self,
        fate: &Fate,
        expect: Expectation,
        own: HoldKeys,
        of_failure: HoldKeys,
    ) -> Option<Hold> {
        let said = own.or_for(expect, of_failure);
        self.note_what_needs_a_hold(&own, &said);
        self.hold(fate, expect, &said)
    }

    fn hold(&mut self, fate: &Fate, expect: Expectation, said: &HoldKeys) -> Option<Hold> {
        let (time, place) = said.hold.filter(|(time, _)| !time.is_zero())?;
        let every = said.every();
        let max_outage = said.max_outage.map(|(time, _)| time).filter(|time| !time.is_zero());
        let hold = Hold {
            time,
            every,
            answer_within: said
                .answer_within
                .map_or_else(|| answer_within(every, fate.timeout, max_outage), |(time, _)| time),
            max_outage,
            min_availability_ppm: said.min_availability_ppm.map(|(share, _)| share),
            full: said.full_hold.is_some_and(|(full, _)| full),
        };
        self.check_hold(fate, expect, &hold, said, place);
        Some(hold)
    }

    /// Tells of limits that only mean something while a failure is held.
    fn note_what_needs_a_hold(&mut self, own: &HoldKeys, said: &HoldKeys) {
        if !said.time().is_zero() {
            return;
        }
        let places = [
            ("answer_within", own.answer_within.map(|(_, place)| place)),
            ("max_outage", own.max_outage.map(|(_, place)| place)),
            ("min_availability", own.min_availability_ppm.map(|(_, place)| place)),
            ("full_hold", own.full_hold.filter(|(full, _)| *full).map(|(_, place)| place)),
        ];
        for (name, place) in places {
            let Some(place) = place else { continue };
            let message = format!(
                "`{name}` needs `hold`: without it the service is asked once, right after the failure began"
            );
            self.problem(place, message);
        }
    }

    /// Tells of limits of the book where none of its failures is held.
    pub(super) fn check_limits_of_book(&mut self, of_book: HoldKeys, fates: &[Fate]) {
        if !fates.is_empty() && fates.iter().all(|fate| fate.hold.is_none()) {
            self.note_what_needs_a_hold(&of_book, &HoldKeys::default());
        }
    }

    fn check_hold(&mut self, fate: &Fate, expect: Expectation, hold: &Hold, said: &HoldKeys, place: Place) {
        let shown = show_duration(hold.time);
        if fate.grace >= hold.time {
            let grace = show_duration(fate.grace);
            let message = format!(
                "`hold` of {shown} is over within the `grace` of {grace}, so whatever the service does is forgiven: make it longer than the grace"
            );
            self.problem(place, message);
        }
        if let Some((every, place)) = said.every.filter(|(every, _)| *every > hold.time) {
            let message = format!(
                "`every` of {} is longer than the `hold` of {shown}: the service would be asked at its beginning and end only",
                show_duration(every)
            );
            self.problem(place, message);
        }
        let checks = hold.time.as_millis() / hold.every.as_millis().max(1);
        if checks > CHECKS_MAX {
            let message = format!(
                "a `hold` of {shown} with a healthcheck `every` {} makes {checks} checks, and {CHECKS_MAX} is the most: ask less often",
                show_duration(hold.every)
            );
            self.problem(place, message);
        }
        if let Some((time, place)) = said.answer_within.filter(|(time, _)| *time > fate.timeout) {
            let message = format!(
                "`answer_within` of {} is longer than the `timeout` of {}, which ends each healthcheck",
                show_duration(time),
                show_duration(fate.timeout)
            );
            self.problem(place, message);
        }
        let max_outage = said.max_outage.filter(|(time, _)| !time.is_zero());
        if let Some((time, place)) = max_outage.filter(|(time, _)| *time < hold.every * 2) {
            let message = format!(
                "`max_outage` of {} cannot be told apart from less, with a healthcheck `every` {}: make it at least {}, or ask more often",
                show_duration(time),
                show_duration(hold.every),
                show_duration(hold.every * 2)
            );
            self.problem(place, message);
        }
        if let (Some((time, place)), Some((allowed, _))) = (said.answer_within, max_outage)
            && time > allowed
        {
            let message = format!(
                "`answer_within` of {} is longer than the `max_outage` of {}: a service that is frozen for longer than allowed would be waited for, and called healthy",
                show_duration(time),
                show_duration(allowed)
            );
            self.problem(place, message);
        }
        if let Some((share, place)) = said.min_availability_ppm.filter(|(share, _)| *share < WHOLE_PPM) {
            let allowed = hold.time.saturating_sub(fate.grace) * (WHOLE_PPM - share) / WHOLE_PPM;
            if hold.every > allowed {
                let message = format!(
                    "`min_availability` of {} allows {} of this hold, which a healthcheck `every` {} cannot see: hold it longer, or ask more often",
                    tell_share(share),
                    show_duration(allowed),
                    show_duration(hold.every)
                );
                self.problem(place, message);
            }
        }
        if let Some((time, place)) = max_outage.filter(|(time, _)| *time >= hold.time) {
            let message = format!(
                "`max_outage` of {} is not shorter than the `hold` of {shown}, so a service that never answers would survive",
                show_duration(time)
            );
            self.problem(place, message);
        }
        if expect == Expectation::Unhealthy {
            let limits = [
                ("max_outage", max_outage.map(|(_, place)| place)),
                ("min_availability", said.min_availability_ppm.map(|(_, place)| place)),
            ];
            for (name, place) in limits {
                let Some(place) = place else { continue };
                let message = format!(
                    "`{name}` limits how long a service may be unhealthy, and `expect: unhealthy` wants it to be: leave one of them out"
                );
                self.problem(place, message);
            }
        }
    }

    /// `still`: a command, or `true` for `verify` once more.
    pub(super) fn still(
        &mut self,
        node: Option<&Node>,
        verify: Option<&Command>,
        resources: &[Resource],
    ) -> Option<Command> {
        let node = node?;
        if matches!(node.value, Value::List(_)) {
            return self.host_command(Some(node), "still", resources);
        }
        let wanted = "`still` is a list of texts, the script first, or true to ask `verify` once more";
        let written = self.plain(node, wanted)?;
        match as_bool(&written) {
            Some(false) => None,
            Some(true) if verify.is_none() => {
                self.problem(
                    node.place,
                    "`still: true` asks `verify` once more, and there is none: write the script that asks",
                );
                None
            }
            Some(true) => verify.cloned(),
            None => {
                self.problem(node.place, format!("{wanted}, not `{written}`"));
                None
            }
        }
    }
}

/// How long a question waits for its answer, unless that is said. One that is lost is no outage that is not allowed.
fn answer_within(every: Duration, timeout: Duration, max_outage: Option<Duration>) -> Duration {
    let usual = every.max(ANSWER_WITHIN).min(timeout);
    max_outage.map_or(usual, |allowed| usual.min(allowed.saturating_sub(every).max(EVERY_MIN)))
}

const WHOLE_PPM: u32 = 1_000_000;

/// What is allowed while a failure is held, in words: for a dry run.
pub fn tell_allowed(hold: &Hold, expect: Expectation) -> String {
    if expect == Expectation::Unhealthy {
        return "always unhealthy".to_owned();
    }
    match (hold.max_outage, hold.min_availability_ppm) {
        (None, None) => "never unhealthy".to_owned(),
        (Some(time), None) => format!("unhealthy for at most {}", show_duration(time)),
        (None, Some(share)) => format!("available for at least {}", tell_share(share)),
        (Some(time), Some(share)) => format!(
            "unhealthy for at most {} in a row, available for at least {}",
            show_duration(time),
            tell_share(share)
        ),
    }
}
