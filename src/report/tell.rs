//! What is told of a case in words: the same in the terminal and in JUnit. Pure.

use std::time::Duration;

use crate::fatebook::{Expectation, strip_escapes, tell_count, tell_share, tell_time};
use crate::machine::{
    CaseOutcome, CaseReport, CycleReport, Step, StepEnd, StepRecord, Verdict, Watched, WorkloadSeen, Writes,
    is_plain,
};
use crate::remote::quote;

use super::CaseInfo;

/// How many lines of a step's output are shown; all that is kept of it stands in the case's log.
const LINES_MAX: usize = 20;
/// A name longer than this is cut in the table of steps.
const NAME_CHARS_MAX: usize = 20;
/// A line longer than this is cut in the terminal.
const LINE_CHARS_MAX: usize = 500;

/// How a single case is run again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// By cargo: the name of the test target, and the flags of the run that its cases need.
    Cargo(String, String),
    /// By the program, with these flags.
    Program(String),
}

impl Repeat {
    /// The command that runs the case again. It names the hosts where the book has them from the environment, and behind it
    /// whatever else of that is needed.
    pub fn command(&self, info: &CaseInfo) -> String {
        let name = quote(&info.plain_name);
        let hosts: String = info
            .variables
            .iter()
            .filter_map(|(name, value)| Some(format!("{name}={} ", quote(value.as_deref()?))))
            .collect();
        let others: Vec<&str> = info
            .variables
            .iter()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        let others = match others.is_empty() {
            true => String::new(),
            false => format!("\n  (in an environment with the same {})", others.join(", ")),
        };
        match self {
            Self::Cargo(target, flags) => {
                format!("{hosts}cargo test --test {target} -- {flags}--exact {name}{others}")
            }
            Self::Program(flags) => format!("{hosts}pisaura run {flags}--exact {name}{others}"),
        }
    }
}

/// The verdict and why, in one line: the message of a failure.
pub fn headline(outcome: &CaseOutcome) -> String {
    let first = outcome.main_finding().map_or("", |finding| finding.message.as_str());
    let line = clean_line(first.lines().next().unwrap_or_default());
    match outcome.verdict {
        Verdict::Survived => "survived".to_owned(),
        verdict => format!("{verdict}: {line}"),
    }
}

/// All that is told of a case that did not pass.
pub fn failure_text(info: &CaseInfo, outcome: &CaseOutcome, repeat: &Repeat) -> String {
    let mut text = String::new();
    let mut findings: Vec<_> = outcome.findings.iter().collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
    for finding in findings {
        text.push_str(&format!("{}: {}\n", finding.verdict, finding.message));
    }
    if let Some(report) = &outcome.report {
        text.push_str(&body(report));
        for (host, heal) in report.heal.iter().filter(|(_, heal)| !heal.is_empty()) {
            let which = if info.hosts.len() > 1 { host } else { "the host" };
            text.push_str(&format!("\nheal {which}: {heal}\n"));
        }
    }
    text.push_str(&format!("\n{}:{}\nrepeat it: {}", info.file.display(), info.line, repeat.command(info)));
    text
}

/// All that is told of a case that passed, if it is asked for.
pub fn success_text(outcome: &CaseOutcome) -> String {
    outcome.report.as_ref().map(body).unwrap_or_default()
}

fn body(report: &CaseReport) -> String {
    let mut text = format!("\n{}", table(report));
    for record in worth_showing(report) {
        for (name, captured) in [("stdout", &record.stdout), ("stderr", &record.stderr)] {
            if captured.is_empty() {
                continue;
            }
            let (lines, all) = captured.last_lines(LINES_MAX);
            let shown = if lines.len() < all {
                format!(" (the last {} of {all} lines)", lines.len())
            } else {
                String::new()
            };
            let asker = clean_line(&record.asker());
            text.push_str(&format!("\n  {} {asker}, {name}{shown}:\n", number(report, record)));
            for line in lines {
                text.push_str(&format!("    | {}\n", clean_line(&line)));
            }
        }
    }
    text
}

/// The steps as a table: number, name, time, result. Tries at a step before its last are counted, not listed.
fn table(report: &CaseReport) -> String {
    let mut text = format!("  {:<22}{:>10}  result\n", "step", "took");
    for (cycle, steps) in report.cycles().enumerate() {
        let seen = report.seen_in(cycle);
        if !report.former.is_empty() {
            text.push_str(&format!("  cycle {}\n", cycle + 1));
        }
        add_steps(&mut text, report, steps, &seen);
    }
    if let Some(placement) = &report.placement {
        let after = placement.past.iter().map(|past| format!(", after {past}")).collect::<String>();
        text.push_str(&format!("  on agent {}{after}\n", placement.agent));
    }
    text
}

/// Adds the lines of these steps, of one cycle of the case.
fn add_steps(text: &mut String, report: &CaseReport, steps: &[StepRecord], seen: &CycleReport) {
    for tries in steps.chunk_by(|one, next| one.step == next.step) {
        if let Some(first) = tries.first().filter(|first| first.host.is_some()) {
            text.push_str(&format!("  {:<1} {}\n", number(report, first), first.step));
        }
        for (index, record) in last_of_each(tries).enumerate() {
            let index = index + usize::from(record.host.is_some());
            let number = if index == 0 { number(report, record).to_string() } else { String::new() };
            let mut name = name_of(report, record);
            if name.chars().count() > NAME_CHARS_MAX {
                name = name.chars().take(NAME_CHARS_MAX - 1).chain(['…']).collect();
            }
            let (took, result) = result_of(report, seen, tries, record);
            text.push_str(&format!("  {number:<1} {name:<20}{:>10}  {result}\n", seconds(took)));
        }
    }
}

/// The last try of each question among these tries at a step: the healthcheck first, then the checks; or on each host.
fn last_of_each(tries: &[StepRecord]) -> impl Iterator<Item = &StepRecord> {
    let is_first = |index: usize| tries[..index].iter().all(|other| !is_of_same(other, &tries[index]));
    let firsts = (0..tries.len()).filter(move |index| is_first(*index));
    firsts.filter_map(|first| tries.iter().rfind(|other| is_of_same(other, &tries[first])))
}

/// Whether both are tries at the same, once they are tries at the same step.
fn is_of_same(one: &StepRecord, other: &StepRecord) -> bool {
    one.check == other.check && one.host == other.host
}

/// Whether the failure was held, in any of its cycles.
fn is_held(report: &CaseReport) -> bool {
    let former = report.former.iter().map(|cycle| &cycle.watched);
    former.chain([&report.watched]).flatten().any(|watched| watched.hold.is_some())
}

fn name_of(report: &CaseReport, record: &StepRecord) -> String {
    let is_held = is_held(report);
    match (&record.check, &record.host, record.step) {
        (Some(check), ..) => format!("  {}", clean_line(check)),
        (None, Some(host), _) => format!("  {}", clean_line(host)),
        (None, None, Step::During) if is_held => "hold".to_owned(),
        (None, None, step) => step.to_string(),
    }
}

/// How long all tries at a question took together, and what came of it.
fn result_of(
    report: &CaseReport,
    seen: &CycleReport,
    tries: &[StepRecord],
    record: &StepRecord,
) -> (Duration, String) {
    let first = tries.iter().find(|other| is_of_same(other, record)).unwrap_or(record);
    let whole = (record.began + record.took).saturating_sub(first.began);
    // The whole of it stands among the findings.
    let mut result = match &record.end {
        StepEnd::Failed(trouble) => trouble.kind.to_string(),
        end => end.to_string(),
    };
    if let (Step::Workload, Some(seen)) = (record.step, &report.workload) {
        let told = tell_workload(seen);
        return match record.end.is_success() {
            true => (whole, told),
            false => (whole, format!("{result}; {told}")),
        };
    }
    let watched = match &record.check {
        _ if record.step != Step::During => None,
        None => seen.watched.as_deref(),
        Some(check) => seen.checks_watched.iter().find(|(name, _)| name == check).map(|(_, seen)| seen),
    };
    let is_up = |watched: &Watched| watched.answers.last().is_some_and(|answers| answers.up);
    match watched {
        // What was no answer is told behind those that were.
        Some(watched) if watched.hold.is_some() && watched.checks() < record.attempt => {
            result = format!("{}; then {result}", tell_watched(watched));
        }
        Some(watched) if watched.hold.is_some() || watched.checks() == record.attempt && is_up(watched) => {
            result = tell_watched(watched);
        }
        _ if record.attempt > 1 => {
            let verb = if record.step.is_healthcheck() { "asked" } else { "tried" };
            result.push_str(&format!(", {verb} {} times", record.attempt));
        }
        _ => {}
    }
    let recovered = seen.recovered_after.filter(|_| record.step == Step::After && record.check.is_none());
    if let Some(time) = recovered.filter(|time| !time.is_zero()) {
        result.push_str(&format!(", healthy after {}", tell_time(time)));
    }
    (whole, result)
}

/// The number of a step of the case's life that this one belongs to. What is brought to the host so that it can be asked
/// whether the failure is one for it, belongs to the first.
fn number(report: &CaseReport, record: &StepRecord) -> u8 {
    let asks_first = report.steps.iter().find(|other| other.step != Step::Prepare).map(|other| other.step);
    if record.step == Step::Prepare && asks_first == Some(Step::Select) { 1 } else { record.step.number() }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// Of several tries at a step the last says it all; while a failure was held, the first bad answer says more.
fn worth_showing(report: &CaseReport) -> impl Iterator<Item = &StepRecord> {
    let is_held = is_held(report);
    report.steps.chunk_by(|one, next| one.step == next.step).flat_map(move |tries| {
        last_of_each(tries).map(move |last| {
            let is_bad = |record: &&StepRecord| is_of_same(record, last) && !record.end.is_success();
            let first_bad = tries.iter().find(is_bad).filter(|_| is_held && last.step == Step::During);
            first_bad.unwrap_or(last)
        })
    })
}

/// What was seen of the service while the failure was in force.
fn tell_watched(watched: &Watched) -> String {
    let (checks, down) = (watched.checks(), watched.checks_down());
    let time = tell_time(watched.time);
    let (wanted, unwanted) = match watched.expect {
        Expectation::Healthy => ("healthy", "unhealthy"),
        Expectation::Unhealthy => ("unhealthy", "healthy"),
    };
    let Some(longest) = watched.longest() else {
        return match checks {
            1 => format!("{wanted} once, watched for {time}"),
            checks => format!("{wanted} {checks} of {checks} times, watched for {time}"),
        };
    };
    if watched.hold.is_none() {
        let first = watched.answers.last().map_or(watched.time, |answers| answers.first);
        return format!("{wanted} after {}, at check {checks}, watched for {time}", tell_time(first));
    }
    let give_or_take = match longest.give_or_take {
        Duration::ZERO => String::new(),
        time => format!(" (± {})", tell_time(time)),
    };
    let longest = match longest.has_ended {
        true => format!("longest {}{give_or_take}", tell_time(longest.lasted)),
        false => format!("to the end from {} on{give_or_take}", tell_time(longest.began)),
    };
    // That is what is wanted of a service, and not of a monitor.
    let availability = match watched.expect {
        Expectation::Healthy => format!(", availability {}", tell_share(watched.availability_ppm())),
        Expectation::Unhealthy => String::new(),
    };
    format!("{unwanted} {down} of {checks} times, {longest}{availability}, watched for {time}")
}

/// Of how many parts of a service a line tells.
const PARTS_TOLD: usize = 12;

/// What a workload has said: of its writes before, during and after the failure.
fn tell_workload(seen: &WorkloadSeen) -> String {
    let each = |count: fn(&Writes) -> u64| {
        let counts: Vec<String> = seen.writes.iter().map(|writes| tell_count(count(writes))).collect();
        counts.join(" + ")
    };
    let mut told = format!("{} lost of {} accepted", tell_count(seen.lost), tell_count(seen.accepted()));
    told.push_str(&format!(" (before, during, after: {})", each(|writes| writes.accepted)));
    if seen.refused() > 0 {
        told.push_str(&format!(
            ", {} refused ({})",
            tell_count(seen.refused()),
            each(|writes| writes.refused)
        ));
    }
    told.push_str(&format!(", none accepted for {} at most", tell_time(seen.stall)));
    if seen.stall_of_parts.len() > 1 {
        let mut parts: Vec<String> =
            seen.stall_of_parts.iter().map(|(part, stall)| format!("{part} {}", tell_time(*stall))).collect();
        let more = parts.len().saturating_sub(PARTS_TOLD);
        parts.truncate(PARTS_TOLD);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        told.push_str(&format!(" ({}{more})", parts.join(", ")));
    }
    told
}

/// A line that a terminal can show: no control characters, not endless.
pub fn clean_line(line: &str) -> String {
    let mut clean: String = clean_text(line).chars().take(LINE_CHARS_MAX).collect();
    if line.chars().count() > LINE_CHARS_MAX {
        clean.push_str(" […]");
    }
    clean
}

/// Lines that a terminal can show, of any length.
pub fn clean_text(text: &str) -> String {
    let one = |c: char| match c {
        '\t' => ' ',
        '\n' => c,
        c if !is_plain(c) => '\u{fffd}',
        c => c,
    };
    strip_escapes(text).chars().map(one).collect()
}
