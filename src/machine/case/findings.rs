//! What the end of a step says of the case: which statuses are a no, an answer, or none; the findings, and their words. Pure.

use crate::fatebook::{tell_count, tell_share, tell_time};

use super::*;
use crate::machine::workload::PARTS_MAX;

impl CaseMachine {
    /// A connection that was lost says nothing of the inducer; the host does. And it says whether it was started anew, which ends most
    /// failures.
    pub(super) fn judge_record(&mut self) {
        if self.record.rebooted && !self.plan.cuts_off && self.answered_at.is_some() && !self.heals_only {
            self.find(
                Verdict::Botched,
                "Rebooted",
                "nobody knows how long the failure was there: the host was started anew before it was reverted. If that is the failure, the book says so: `cuts_off: true`".to_owned(),
            );
        }
        if self.record.held_up && self.answered_at.is_some() && !self.heals_only {
            self.find(
                Verdict::Botched,
                &TroubleKind::Still.to_string(),
                "nobody knows whether the failure lasted: the inducer has left something running that prints, and nobody has taken all of that: begin it with `>/dev/null 2>&1`".to_owned(),
            );
        }
        if !self.cut_off {
            return;
        }
        match self.record.induced {
            Induced::Rebooted => {}
            Induced::Ended(0) if self.record.ended_sometime => self.find(
                Verdict::Botched,
                &TroubleKind::Verify.to_string(),
                "nobody knows whether anything was broken when the service was asked: the connection was lost, and the host does not tell when the inducer came to its end (it shows no /proc/uptime)".to_owned(),
            ),
            Induced::Ended(0) => {
                let is_after = |(ended, asked): &(Duration, Duration)| ended > asked;
                if let Some((ended, asked)) = self.record.ended_at.zip(self.first_asked_at).filter(is_after) {
                    let message = format!(
                        "nobody knows whether anything was broken when the service was asked: the inducer came to its end {} later: what cuts the host off has to be the last that it does",
                        tell_time(ended - asked)
                    );
                    self.find(Verdict::Botched, &TroubleKind::Verify.to_string(), message);
                }
            }
            Induced::Begun => self.find(
                Verdict::Botched,
                &TroubleKind::Verify.to_string(),
                "nobody knows whether anything was broken: the connection was lost while the inducer was at work, and it had not come to its end when the host was reverted: what cuts the host off has to be the last that it does".to_owned(),
            ),
            Induced::Ended(status) => self.find(
                Verdict::Botched,
                &TroubleKind::Inducer.to_string(),
                format!("the inducer failed: {}, as the host wrote down: the connection was lost meanwhile", Exit::Status(status)),
            ),
            Induced::Unknown => self.find(
                Verdict::Botched,
                &TroubleKind::Verify.to_string(),
                "nothing was tested: the connection was lost, and the host has not written down that the inducer was begun".to_owned(),
            ),
        }
    }

    /// Whoever healed the host before the healthcheck during the failure had answered has left nothing that was tested. The
    /// host says how long before it was asked that was, and it was asked after the answer, by any clock: one that stands still while
    /// a machine sleeps is not relied on.
    pub(super) fn judge_healer(&mut self, host: Option<&str>, by: HealedBy) {
        let (Some(induced_at), Some(answered_at)) = (self.induced_at, self.answered_at) else { return };
        let is_later =
            |ago: Duration| self.asked_at.checked_sub(ago).is_some_and(|healed| healed >= answered_at);
        if self.heals_only || by.ago.is_some_and(is_later) {
            return;
        }
        let who = if by.switch { "its dead man's switch" } else { "somebody else" };
        let when = by.after.map_or_else(
            || "nobody knows when".to_owned(),
            |after| format!("{} after it was armed", show_duration(round(after))),
        );
        self.find(
            Verdict::Botched,
            "HealedTooEarly",
            of_host(host, format!("nothing was tested: the host was healed by {who}, {when}, and the service was watched until {} after", show_duration(round(answered_at - induced_at)))),
        );
    }

    pub(super) fn find(&mut self, verdict: Verdict, kind: &str, message: String) {
        self.find_of(None, verdict, kind, message);
    }

    /// The same of a check.
    fn find_of(&mut self, check: Option<String>, verdict: Verdict, kind: &str, message: String) {
        let message = match &check {
            Some(name) => format!("check `{name}`: {message}"),
            None => message,
        };
        let message = self.in_cycle(message);
        self.findings.push(Finding { verdict, kind: kind.to_owned(), message, check });
    }

    /// The name of the check whose answer counts, if it is not the healthcheck's.
    fn culprit(&self) -> Option<String> {
        let check = self.culprit.filter(|_| self.step.is_healthcheck())?;
        Some(self.plan.checks.get(check)?.name.clone())
    }

    /// The service was healthy again, and it took too long.
    pub(super) fn judge_recovery(&mut self, after: Duration, allowed: Duration) {
        let message = format!(
            "healthy again only {} after the revert; allowed: {}",
            tell_time(after),
            tell_time(allowed)
        );
        self.find(Verdict::NotRecovered, "UnhealthyAfter", message);
    }

    /// Nobody asked for so long that nothing can be said of it.
    pub(super) fn judge_gap(&mut self, gap: Duration) {
        let message = format!(
            "nobody knows whether the service stayed healthy after the revert: it was not watched for {}: this machine, or this process, stood still meanwhile",
            tell_time(gap)
        );
        self.find(Verdict::Botched, "NotWatched", message);
    }

    /// A last answer that came too late to be one.
    pub(super) fn judge_late(&mut self, asked_for: Duration) {
        let message = format!(
            "the service was seen to be healthy only {} after it was first asked, and had {} (patience and time limit): this machine, or this process, stood still meanwhile",
            show_duration(round(asked_for)),
            show_duration(self.patience() + self.plan.timeout),
        );
        self.find(Verdict::Botched, &TroubleKind::Timeout.to_string(), message);
    }

    /// Somebody's alarm has stopped the case.
    pub(super) fn judge_stop(&mut self, end: &StepEnd) {
        let at = self.watch.as_ref().map(|watch| tell_time(watch.since(self.asked_at))).unwrap_or_default();
        let message = match end {
            end if end.is_success() => format!("stopped {at} after the failure began: stop_if succeeded"),
            end => format!(
                "stopped {at} after the failure began: stop_if gave no answer ({}; 0 stops, 1 to 125 goes on)",
                self.tell(end)
            ),
        };
        self.find(Verdict::Botched, "Stopped", message);
    }

    /// Makes findings of what was seen while the failure was held, where it breaks the rules.
    pub(super) fn judge_watch(&mut self) {
        let mut found = Vec::new();
        if let Some(watch) = &self.watch {
            let within = self.plan.hold.as_ref().map_or(self.plan.timeout, |hold| hold.answer_within);
            let last_down = self.last_down.as_ref().map(|end| tell_bad(end, within));
            found.extend(
                findings_of(watch, self.plan.expect, last_down, self.cut_off).map(|finding| (None, finding)),
            );
        }
        for (plan, check) in self.plan.checks.iter().zip(&self.checks) {
            let last_down = check.last_down.as_ref().map(|end| tell_bad(end, check.limit()));
            let name = Some(plan.name.clone());
            found.extend(
                findings_of(&check.watch, plan.expect, last_down, false).map(|one| (name.clone(), one)),
            );
            if let Some(end) = &check.trouble {
                let message = format!("the check gave no answer: {}", tell_bad(end, check.limit()));
                let kind = kind_of_trouble(end, Step::During);
                found.push((name, (Verdict::Botched, kind.to_string(), message)));
            }
        }
        for (check, (verdict, kind, message)) in found {
            self.find_of(check, verdict, &kind, message);
        }
    }

    /// Whether no write was answered during the failure. One that is not held may be over before any is; and of a service that must
    /// not answer then, nobody waits for more than that.
    fn was_not_tried(&self, seen: &WorkloadSeen) -> bool {
        match (&self.plan.hold, self.plan.expect) {
            (Some(_), Expectation::Healthy) => seen.answered_in_force == 0 || seen.has_silent_failure,
            _ => seen.tried_failing() == 0,
        }
    }

    /// Makes findings of what a workload has said, and of how it ended.
    pub(super) fn judge_workload(&mut self, end: &StepEnd) {
        let (Some(plan), Some(seen)) = (self.plan.workload.clone(), self.workload.clone()) else {
            return self.judge(self.asked_at, end);
        };
        let accepted = tell_count(seen.accepted());
        if seen.lost > plan.max_lost {
            let ids = seen.lost_ids.join(", ");
            let more = if seen.lost > seen.lost_ids.len() as u64 { ", …" } else { "" };
            let message = format!(
                "{} lost of {accepted} that were accepted ({ids}{more}); allowed: {}",
                tell_count(seen.lost),
                tell_count(plan.max_lost)
            );
            self.find(Verdict::Succumbed, "Lost", message);
        }
        if let Some(allowed) = plan.max_stall.filter(|allowed| seen.stall > *allowed) {
            let by = seen.stalled_part().map_or(String::new(), |part| format!(" by `{part}`"));
            let message = format!(
                "nothing was accepted{by} for {}, from {} after the failure began; allowed: {}",
                tell_time(seen.stall),
                tell_time(seen.stall_began),
                tell_time(allowed)
            );
            self.find(Verdict::Succumbed, "Stalled", message);
        }
        let kind = TroubleKind::Workload.to_string();
        let why = match end {
            StepEnd::Interrupted => return,
            _ if seen.ended_early => {
                format!("the workload ended before it was told to ({end}), with {accepted} accepted")
            }
            StepEnd::TimedOut => format!(
                "the workload did not end within {} of the end of its input",
                show_duration(self.limit())
            ),
            end if !end.is_success() => format!("the workload failed: {end}"),
            _ if seen.accepted() == 0 => {
                "nothing was tested: the workload has printed no line `ok ID`, so nothing was accepted that could be lost".to_owned()
            }
            _ if seen.too_many_parts => {
                format!("the ids of the workload name more than {} parts: what stands before the first `/` of an id is one", tell_count(PARTS_MAX as u64))
            }
            _ if self.was_not_tried(&seen) && plan.max_stall.is_none_or(|allowed| seen.stall <= allowed) => {
                "nothing was tested: the workload has printed neither `ok ID` nor `err ID` during the failure: hold it longer than a write may take, or allow a `max_stall` that is shorter than that".to_owned()
            }
            _ => return,
        };
        self.find(Verdict::Botched, &kind, why);
    }

    /// Makes a finding of a step that did not end as it should; of several hosts, one for each where it did not.
    pub(super) fn judge(&mut self, now: Duration, end: &StepEnd) {
        let ends = self.hosts_ended.clone();
        // A no of one host is no trouble beside another one's.
        let is_no = |end: &StepEnd| self.is_none_here(end) || *end == StepEnd::Declined(NO);
        let is_amiss = |end: &StepEnd| {
            !end.is_success() && *end != StepEnd::Interrupted && !self.cuts_off(end) && !is_no(end)
        };
        let amiss: Vec<&(String, StepEnd)> = ends.iter().filter(|(_, end)| is_amiss(end)).collect();
        if amiss.is_empty() {
            return self.judge_on(now, None, end);
        }
        for (host, end) in amiss {
            self.judge_on(now, Some(host), end);
        }
    }

    fn judge_on(&mut self, now: Duration, host: Option<&str>, end: &StepEnd) {
        let verb = if self.step.is_healthcheck() { "asked" } else { "tried" };
        let asked = match self.attempt {
            0 | 1 => String::new(),
            times => format!(", {verb} {times} times in {}", show_duration(round(now - self.step_began))),
        };
        // Where it is said how long the service may take, no answer in that time is the service's.
        let is_too_late =
            self.step == Step::After && self.plan.max_recovery.is_some() && *end == StepEnd::TimedOut;
        if self.step.is_healthcheck() && (end.is_no() || end.is_success() || is_too_late) {
            let told = self.tell(end);
            let (verdict, kind, message) = match self.step {
                Step::Before => (
                    Verdict::Unfit,
                    "UnhealthyBefore",
                    format!("unhealthy before anything was broken ({told}{asked})"),
                ),
                Step::During if self.expect() == Expectation::Unhealthy => (
                    Verdict::Succumbed,
                    "HealthyDuring",
                    format!("healthy during the failure, and expected to be unhealthy ({told}{asked})"),
                ),
                Step::During => (
                    Verdict::Succumbed,
                    "UnhealthyDuring",
                    format!("unhealthy during the failure ({told}{asked})"),
                ),
                _ => (
                    Verdict::NotRecovered,
                    "UnhealthyAfter",
                    match self.plan.max_recovery {
                        Some(allowed) => format!(
                            "not healthy again within {} of the revert ({told}{asked})",
                            show_duration(allowed)
                        ),
                        None => format!("unhealthy after the revert ({told}{asked})"),
                    },
                ),
            };
            return self.find_of(self.culprit(), verdict, kind, message);
        }
        let kind = kind_of_trouble(end, self.step);
        let told = self.tell(end);
        let asker = match self.culprit() {
            Some(_) => "check".to_owned(),
            None => self.step.to_string(),
        };
        let message = match (self.step, end) {
            (_, StepEnd::Declined(status)) => {
                let told = Exit::Status(*status);
                format!(
                    "nothing was broken: only_if, asked once more just before the inducer, gave no answer: {told} (0 is yes, 1 is no)"
                )
            }
            (Step::Induce, StepEnd::Busy { message, .. }) if self.plan.arms_first => {
                format!("its inducer was not begun: {message}")
            }
            (_, StepEnd::Busy { message, .. }) => format!("nothing was broken: {message}"),
            (Step::Select, StepEnd::Exited(_)) => {
                format!(
                    "only_if gave no answer, so nobody knows whether the failure is one for this host: {told} (0 is yes, 1 is no)"
                )
            }
            (Step::Verify, end) if end.is_no() => {
                format!("the failure did not take hold: verify ended with {told}")
            }
            (Step::Verify, StepEnd::Exited(_)) => {
                format!("nobody knows whether the failure took hold: verify gave no answer ({told})")
            }
            (Step::Still, end) if end.is_no() => {
                format!("the failure did not last: it was gone before the revert ({told} of still)")
            }
            (Step::Still, StepEnd::Exited(_)) => {
                format!("nobody knows whether the failure lasted: still gave no answer ({told})")
            }
            (step, StepEnd::Exited(Exit::Status(126 | 127))) if step.is_healthcheck() => {
                format!("the {asker} gave no answer: its program could not be run ({told}{asked})")
            }
            (step, StepEnd::Exited(_)) if step.is_healthcheck() => {
                format!("the {asker} gave no answer: {told}{asked}")
            }
            (step, StepEnd::Exited(_)) => format!("the {step} failed: {told}"),
            (Step::Induce, StepEnd::Failed(trouble))
                if trouble.kind == TroubleKind::Connection && !self.plan.cuts_off =>
            {
                format!(
                    "inducer: {told}. If it is meant to cut the host off, the book says so: `cuts_off: true`"
                )
            }
            _ => format!("{asker}: {told}{asked}"),
        };
        self.find_of(self.culprit(), Verdict::Botched, &kind.to_string(), of_host(host, message));
    }

    pub(super) fn tell(&self, end: &StepEnd) -> String {
        match end {
            StepEnd::TimedOut => {
                format!("took longer than its time limit of {}", show_duration(self.limit()))
            }
            end => tell_end(end),
        }
    }
}

/// A message with the host that it is of, if there are several and it does not name it.
pub(super) fn of_host(host: Option<&str>, message: String) -> String {
    match host {
        Some(host)
            if !message.starts_with(&format!("{host}: ")) && !message.contains(&format!(" {host}: ")) =>
        {
            format!("{host}: {message}")
        }
        _ => message,
    }
}

/// The kind of the error that a step has ended with.
fn kind_of_trouble(end: &StepEnd, step: Step) -> TroubleKind {
    match end {
        StepEnd::TimedOut => TroubleKind::Timeout,
        StepEnd::Failed(trouble) => trouble.kind,
        StepEnd::Busy { .. } => TroubleKind::HostBusy,
        StepEnd::Declined(_) => TroubleKind::Select,
        _ => match step {
            Step::Arm => TroubleKind::Arming,
            Step::Induce => TroubleKind::Inducer,
            Step::Select => TroubleKind::Select,
            Step::Verify => TroubleKind::Verify,
            Step::Still => TroubleKind::Still,
            Step::Prepare => TroubleKind::Upload,
            _ => TroubleKind::Healthcheck,
        },
    }
}

/// What one watch breaks of its rules: verdict, kind, and message.
fn findings_of(
    watch: &Watch,
    expect: Expectation,
    last_down: Option<String>,
    cut_off: bool,
) -> impl Iterator<Item = (Verdict, String, String)> {
    let unwatched = watch.unwatched().map(move |gap| {
        let why = match cut_off {
            true => "that a host is cut off is noticed only by its silence: allow a longer `max_outage`",
            false => "this machine, or this process, stood still meanwhile",
        };
        let message = format!(
            "nothing was tested: the service was not watched for {} while the failure was in force: {why}",
            tell_time(gap)
        );
        (Verdict::Botched, "NotWatched".to_owned(), message)
    });
    let broken = watch.broken().map(|broken| tell_broken(watch.seen(), broken, expect, last_down));
    unwatched.into_iter().chain(broken)
}

fn tell_broken(
    seen: &Watched,
    broken: Broken,
    expect: Expectation,
    last_down: Option<String>,
) -> (Verdict, String, String) {
    let (kind, state) = match expect {
        Expectation::Healthy => ("UnhealthyDuring", "unhealthy"),
        Expectation::Unhealthy => ("HealthyDuring", "healthy, and expected to be unhealthy,"),
    };
    let outage = match broken {
        Broken::TooLong(outage, _) | Broken::Down(outage) => Some(outage),
        Broken::Unavailable(..) => seen.longest(),
    };
    let of_outage = outage.map_or(0, |outage| outage.checks);
    let checks = |count: u32| format!("{count} of {} checks", seen.checks());
    let first = match broken {
        Broken::Down(outage) if outage.has_ended => {
            format!("{state} for {} during the failure ({})", tell_time(outage.lasted), checks(of_outage))
        }
        Broken::Down(outage) if !was_up_before(seen, outage) => {
            format!("{state} from the start of the failure on ({})", checks(of_outage))
        }
        Broken::Down(outage) => {
            format!("{state} {} after the failure began ({})", tell_time(outage.began), checks(of_outage))
        }
        Broken::TooLong(outage, allowed) => {
            let at_least = if outage.has_ended { "" } else { "at least " };
            let allowed = tell_time(allowed);
            let lasted = tell_time(outage.lasted);
            format!("{state} for {at_least}{lasted} ({}); allowed: {allowed}", checks(of_outage))
        }
        Broken::Unavailable(up, least) => format!(
            "available for {} of the time at most ({state} in {}); required: {}",
            tell_share(up),
            checks(seen.checks_down()),
            tell_share(least)
        ),
    };
    let mut message = first;
    if let Some(outage) = outage {
        let began = tell_time(outage.began);
        message.push_str(&match outage.has_ended {
            true => format!(
                "\n  from {began} to {} after the failure began",
                tell_time(outage.began + outage.lasted)
            ),
            false => format!("\n  since {began} after the failure began, until the revert"),
        });
        if !outage.give_or_take.is_zero() {
            message.push_str(&format!(" (± {})", tell_time(outage.give_or_take)));
        }
    }
    if !seen.grace.is_zero() {
        message.push_str(&format!("\n  grace: {}", tell_time(seen.grace)));
    }
    if let Some(last) = last_down {
        message.push_str(&format!("\n  last bad answer: {last}"));
    }
    (Verdict::Succumbed, kind.to_owned(), message)
}

/// Whether an answer before this outage was the one that is wanted.
fn was_up_before(seen: &Watched, outage: Outage) -> bool {
    seen.answers.iter().any(|answers| answers.up && answers.first < outage.began)
}

/// A bad answer in words.
fn tell_bad(end: &StepEnd, within: Duration) -> String {
    match end {
        StepEnd::TimedOut => format!("no answer within {}", show_duration(within)),
        end => tell_end(end),
    }
}

fn tell_end(end: &StepEnd) -> String {
    match end {
        StepEnd::Exited(exit) => exit.to_string(),
        StepEnd::Failed(Trouble { message, .. }) => message.clone(),
        end => end.to_string(),
    }
}

/// The one status by which `only_if` says no. A script with a mistake in it ends with 2, and one that died with more: from
/// these a case must not be taken for none of this host's.
pub(super) const NO: i32 = 1;
