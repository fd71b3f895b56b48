//! One question that is asked again and again while a failure is held, beside the healthcheck: at its own pace, by its own rules. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fatebook::{Expectation, Hold};
use crate::machine::verdict::StepEnd;

use super::{Answer, Watch, WatchNext, Watched};

/// What the machine of a case needs to know of one of its `checks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckPlan {
    /// What it is called.
    pub name: String,
    /// What it must say during the failure.
    pub expect: Expectation,
    /// How it is asked while the failure is held, if it is.
    pub hold: Option<Hold>,
}

/// The watch of one check, from when the failure is in force to its end.
#[derive(Clone, Debug)]
pub struct CheckWatch {
    /// What is to be said of it.
    pub(in crate::machine) watch: Watch,
    pub(in crate::machine) expect: Expectation,
    /// Why the last bad answer was one.
    pub(in crate::machine) last_down: Option<StepEnd>,
    /// What was no answer: the check itself does not work.
    pub(in crate::machine) trouble: Option<StepEnd>,
    /// How long one question waits for its answer.
    limit: Duration,
    is_over: bool,
}

impl CheckWatch {
    /// Begins when the failure is in force, at this moment of the case. `None` if the failure is not held.
    pub fn new(plan: &CheckPlan, grace: Duration, now: Duration) -> Option<Self> {
        let hold = plan.hold.clone()?;
        let limit = hold.answer_within;
        let watch = Watch::new(Some(hold), plan.expect, grace, now);
        Some(Self { watch, expect: plan.expect, last_down: None, trouble: None, limit, is_over: false })
    }

    /// How long one question waits for its answer.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// What was seen up to now.
    pub fn seen(&self) -> &Watched {
        self.watch.seen()
    }

    /// Takes in the answer to the question that began at `asked`, and answers with when to ask again; `None`: not again.
    pub fn answered(&mut self, asked: Duration, now: Duration, end: &StepEnd) -> Option<Duration> {
        let Some(answer) = Answer::of(end, self.expect, true) else {
            self.trouble = Some(end.clone());
            self.is_over = true;
            return None;
        };
        if matches!(answer, Answer::Down | Answer::Silence) {
            self.last_down = Some(end.clone());
        }
        match self.watch.answered(asked, now, answer) {
            WatchNext::Ask(at) => Some(at),
            WatchNext::Over => {
                self.is_over = true;
                None
            }
        }
    }

    /// Whether the failure was watched as long as it was to be held, or longer would change nothing.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether nothing can save the verdict any more, so that the failure need not be held any longer.
    pub fn ends_hold(&self) -> bool {
        self.trouble.is_some() || self.watch.ends_hold()
    }
}
