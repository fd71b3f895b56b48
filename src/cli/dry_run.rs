//! `--dry-run`: what each case would do, where, and for how long; nothing is touched.

use std::collections::HashSet;
use std::process::ExitCode;

use crate::fatebook::{
    CaseValues, Command, CommandStyle, Expectation, ExpectedOutput, Fate, Fatebook, HostEntry, HostSet,
    Redactor, show_duration, tell_allowed,
};
use crate::machine::Verdict;
use crate::report::{clean_text, headline};
use crate::run::{CaseKind, ExitKind, Shelf};

use super::check::shipped_with;
use super::{print, without_values};

/// Tells what the chosen cases would do.
pub(crate) fn dry_run(shelf: &Shelf, chosen: &[bool], ship_bytes_max: u64) -> ExitCode {
    let mut text = String::new();
    let mut broken = false;
    let mut told = HashSet::new();
    for case in shelf.cases.iter().filter(|case| chosen[case.id]) {
        if let Some(book) = case.book().filter(|book| told.insert(book.name.clone())) {
            let (line, fits) = shipped_with(&book, ship_bytes_max);
            broken |= !fits;
            text.push_str(&line);
            let around = [("before_all", &book.before_all), ("after_all", &book.after_all)];
            for (name, command) in around {
                let told = command.as_ref().map(|command| told_around(&book, name, command));
                text.push_str(&without_values(&book, &told.unwrap_or_default()));
            }
        }
        text.push_str(&format!("{}\n", case.name));
        if let Some(outcome) = case.settled_already() {
            broken |= outcome.verdict != Verdict::Skipped;
            let told = format!("  {}\n", headline(&outcome));
            text.push_str(&case.book().map_or_else(|| told.clone(), |book| without_values(&book, &told)));
            continue;
        }
        if let (CaseKind::Failure { book, hosts: Some(hosts), .. }, Some(fate)) = (&case.kind, case.fate()) {
            let told = Telling { fate, hosts, book, secrets: Redactor::new(&book.secret_values) };
            text.push_str(&without_values(book, &(told.before() + &told.failing() + &told.healing())));
        }
    }
    let count = chosen.iter().filter(|chosen| **chosen).count();
    text.push_str(&format!("\n{count} of {} cases; nothing was touched\n", chosen.len()));
    // What stands in a book may move a cursor, or hide a line.
    print(&clean_text(&text), if broken { ExitKind::Usage } else { ExitKind::Fine })
}

/// What a book has done once, around its cases.
fn told_around(book: &Fatebook, name: &str, command: &Command) -> String {
    let values = CaseValues { host: "", service: &book.service, failure: "" };
    let words = crate::executor::shown_words(command, &values, &[]);
    let words: Vec<String> = words.iter().map(|word| crate::remote::quote(word)).collect();
    let shown = Redactor::new(&book.secret_values).clean(&words.join(" "));
    format!("{}: {name}, here, once, within {}: {shown}\n", book.name, show_duration(book.timeout))
}

/// One case, as it is told.
struct Telling<'a> {
    fate: &'a Fate,
    hosts: &'a HostSet,
    book: &'a Fatebook,
    secrets: Redactor,
}

impl Telling<'_> {
    /// A command that runs here.
    fn show(&self, command: &Command, more: &[String]) -> String {
        self.show_for(self.hosts.first(), command, more)
    }

    /// A line for a command that runs on the hosts of the case, or one for each where it differs.
    fn on_hosts(&self, what: &str, when: &str, command: &Command) -> String {
        let mut shown: Vec<(Vec<String>, String)> = Vec::new();
        for host in self.hosts.iter() {
            let text = self.show_for(host, command, &[]);
            match shown.iter_mut().find(|(_, other)| *other == text) {
                Some((hosts, _)) => hosts.push(host.to_string()),
                None => shown.push((vec![host.to_string()], text)),
            }
        }
        let line = |(hosts, text): &(Vec<String>, String)| {
            let place = if self.hosts.first().here { "here, for" } else { "on" };
            format!("  {what:<14} {place} {}, {when}: {text}\n", hosts.join(" and "))
        };
        shown.iter().map(line).collect()
    }

    fn show_for(&self, host: &HostEntry, command: &Command, more: &[String]) -> String {
        let (host, service, failure) = (&host.host, &self.book.service, &self.fate.name);
        let words = crate::executor::shown_words(command, &CaseValues { host, service, failure }, more);
        let words: Vec<String> = words.iter().map(|word| crate::remote::quote(word)).collect();
        self.secrets.clean(&words.join(" "))
    }

    /// How long a healthcheck that does not say what is wanted is asked again.
    fn grace(&self) -> String {
        match self.fate.grace.is_zero() {
            true => String::new(),
            false => format!(", asked again for {}", show_duration(self.fate.grace)),
        }
    }

    /// What is done before anything is broken.
    fn before(&self) -> String {
        let fate = self.fate;
        let limit = show_duration(fate.timeout);
        let within = format!("within {limit}");
        let mut text = String::new();
        // Whether shell text takes it changes what is run; behind a program it goes without saying.
        let is_shell = fate.healthcheck.style == CommandStyle::Shell;
        let step: Option<String> = (fate.pass_step && is_shell).then(|| "--step=N".to_owned());
        let mut number = '1';
        if let Some(only_if) = &fate.only_if {
            text.push_str(&self.on_hosts("1 only if", &within, only_if));
            number = ' ';
        }
        text.push_str(&format!(
            "  {number} healthcheck  here, within {limit}: {}{}\n",
            self.show(&fate.healthcheck, step.as_slice()),
            its_output(fate.expect_output.as_ref())
        ));
        if let Some(workload) = &fate.workload {
            let stall = fate.max_stall.map_or(String::new(), |time| {
                format!(", something accepted at least every {}", show_duration(time))
            });
            text.push_str(&format!(
                "    workload     here, from now on, at most {} lost{stall}: {}\n",
                fate.max_lost,
                self.show(workload, &[])
            ));
        }
        for check in &fate.checks {
            text.push_str(&format!(
                "    check        {}, here, within {limit}: {}{}\n",
                check.name,
                self.show(&check.command, &[]),
                its_output(check.expect_output.as_ref())
            ));
        }
        text
    }

    /// From the inducer to just before the reverter.
    fn failing(&self) -> String {
        let (fate, grace) = (self.fate, self.grace());
        let within = format!("within {}", show_duration(fate.timeout));
        let mut text = String::new();
        if self.hosts.is_several() {
            text.push_str(&format!("  2 arming       {} hosts, {within}\n", self.hosts.iter().count()));
        }
        let number = if self.hosts.is_several() { ' ' } else { '2' };
        for (inducer, step) in fate.inducer.iter().zip(1..) {
            text.push_str(&match step {
                1 => self.on_hosts(&format!("{number} inducer"), &within, inducer),
                _ => self.on_hosts(&format!("  step {step}"), "then", inducer),
            });
        }
        if let Some(verify) = &fate.verify {
            text.push_str(&self.on_hosts("  verify", &within, verify));
        }
        text.push_str(&match &fate.hold {
            None => format!("  3 healthcheck  here{grace}\n"),
            Some(hold) => format!(
                "  3 hold         {}, healthcheck here every {}, within {}: {}{}\n",
                show_duration(hold.time),
                show_duration(hold.every),
                show_duration(hold.answer_within),
                tell_allowed(hold, fate.expect),
                match fate.grace.is_zero() {
                    true => String::new(),
                    false => format!(" after the first {}", show_duration(fate.grace)),
                }
            ),
        });
        for check in &fate.checks {
            text.push_str(&match (&check.hold, check.expect) {
                (Some(hold), expect) => format!(
                    "    check        {}, every {}, within {}: {}\n",
                    check.name,
                    show_duration(hold.every),
                    show_duration(hold.answer_within),
                    tell_allowed(hold, expect)
                ),
                (None, Expectation::Unhealthy) => format!("    check        {}: unhealthy\n", check.name),
                (None, Expectation::Healthy) => format!("    check        {}\n", check.name),
            });
        }
        for stop_if in &fate.stop_if {
            text.push_str(&format!(
                "    stop_if      here, before each healthcheck: {}\n",
                self.show(stop_if, &[])
            ));
        }
        if let Some(still) = &fate.still {
            text.push_str(&self.on_hosts("  still", &within, still));
        }
        text
    }

    /// The reverter, and what is asked then.
    fn healing(&self) -> String {
        let fate = self.fate;
        let mut text = String::new();
        let began = if self.hosts.is_several() { "the arming" } else { "the inducer" };
        let tried = format!("tried for up to {} after {began} began", show_duration(fate.revert_within()));
        text.push_str(&match &fate.because {
            Some(reason) => format!("  4 reverter     none: {reason}\n"),
            None => {
                let count = fate.reverter.iter().count();
                let mut all: Vec<_> = fate.reverter.iter().zip(1..).collect();
                all.reverse();
                let tell = |(reverter, step): (&Command, usize)| match (step == count, count) {
                    (true, _) => self.on_hosts("4 reverter", &tried, reverter),
                    _ => self.on_hosts(&format!("  of step {step}"), "then", reverter),
                };
                all.into_iter().map(tell).collect()
            }
        });
        let recovery = fate
            .max_recovery
            .map_or_else(|| self.grace(), |time| format!(", asked again for {}", show_duration(time)));
        let steady = fate.steady.map_or(String::new(), |steady| {
            format!(", then every {} for {}", show_duration(steady.every), show_duration(steady.time))
        });
        text.push_str(&format!("  5 healthcheck  here{recovery}{steady}\n"));
        if fate.cycles > 1 {
            text.push_str(&format!("    cycles       2 to 5 are done {} times\n", fate.cycles));
        }
        text
    }
}

/// What a question has to print, besides.
fn its_output(expected: Option<&ExpectedOutput>) -> String {
    expected.map(|output| format!(", its output {output}")).unwrap_or_default()
}
