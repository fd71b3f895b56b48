//! `--dry-run`: what each case would do, where, and for how long; nothing is touched.

use std::collections::HashSet;
use std::process::ExitCode;

use crate::fatebook::{Expectation, show_duration, tell_allowed};
use crate::machine::Verdict;
use crate::report::headline;
use crate::run::{CaseKind, ExitKind, Shelf};

use super::check::shipped_with;
use super::print;

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
        }
        text.push_str(&format!("{}\n", case.name));
        if let Some(outcome) = case.settled_already() {
            broken |= outcome.verdict != Verdict::Skipped;
            text.push_str(&format!("  {}\n", headline(&outcome)));
            continue;
        }
        let (CaseKind::Failure { book, host: Some(host), .. }, Some(fate)) = (&case.kind, case.fate()) else {
            continue;
        };
        let values =
            crate::fatebook::CaseValues { host: &host.host, service: &book.service, failure: &fate.name };
        let secrets = crate::fatebook::Redactor::new(&book.secret_values);
        let show = |command: &crate::fatebook::Command, more: &[String]| {
            let words = crate::executor::shown_words(command, &values, more);
            let words: Vec<String> = words.iter().map(|word| crate::remote::quote(word)).collect();
            secrets.clean(&words.join(" "))
        };
        // Whether shell text takes it changes what is run; behind a program it goes without saying.
        let is_shell = fate.healthcheck.style == crate::fatebook::CommandStyle::Shell;
        let step: Option<String> = (fate.pass_step && is_shell).then(|| "--step=N".to_owned());
        let limit = show_duration(fate.timeout);
        let mut number = '1';
        if let Some(only_if) = &fate.only_if {
            text.push_str(&format!("  1 only if      on {host}, within {limit}: {}\n", show(only_if, &[])));
            number = ' ';
        }
        text.push_str(&format!(
            "  {number} healthcheck  here, within {limit}: {}{}\n",
            show(&fate.healthcheck, step.as_slice()),
            fate.expect_output.as_ref().map(|output| format!(", its output {output}")).unwrap_or_default()
        ));
        if let Some(workload) = &fate.workload {
            let stall = fate.max_stall.map_or(String::new(), |time| {
                format!(", something accepted at least every {}", show_duration(time))
            });
            text.push_str(&format!(
                "    workload     here, from now on, at most {} lost{stall}: {}\n",
                fate.max_lost,
                show(workload, &[])
            ));
        }
        for check in &fate.checks {
            text.push_str(&format!(
                "    check        {}, here, within {limit}: {}{}\n",
                check.name,
                show(&check.command, &[]),
                check
                    .expect_output
                    .as_ref()
                    .map(|output| format!(", its output {output}"))
                    .unwrap_or_default()
            ));
        }
        text.push_str(&format!("  2 inducer      on {host}, within {limit}: {}\n", show(&fate.inducer, &[])));
        if let Some(verify) = &fate.verify {
            text.push_str(&format!("    verify       on {host}, within {limit}: {}\n", show(verify, &[])));
        }
        let grace = match fate.grace.is_zero() {
            true => String::new(),
            false => format!(", asked again for {}", show_duration(fate.grace)),
        };
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
                show(stop_if, &[])
            ));
        }
        if let Some(still) = &fate.still {
            text.push_str(&format!("    still        on {host}, within {limit}: {}\n", show(still, &[])));
        }
        text.push_str(&match &fate.because {
            Some(reason) => format!("  4 reverter     none: {reason}\n"),
            None => format!(
                "  4 reverter     on {host}, tried for up to {} after the inducer began: {}\n",
                show_duration(fate.revert_within()),
                show(&fate.reverter, &[])
            ),
        });
        let recovery =
            fate.max_recovery.map_or(grace, |time| format!(", asked again for {}", show_duration(time)));
        let steady = fate.steady.map_or(String::new(), |steady| {
            format!(", then every {} for {}", show_duration(steady.every), show_duration(steady.time))
        });
        text.push_str(&format!("  5 healthcheck  here{recovery}{steady}\n"));
    }
    let count = chosen.iter().filter(|chosen| **chosen).count();
    text.push_str(&format!("\n{count} of {} cases; nothing was touched\n", chosen.len()));
    print(&text, if broken { ExitKind::Usage } else { ExitKind::Fine })
}
