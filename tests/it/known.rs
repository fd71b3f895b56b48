//! Failures that a service is known not to stand: accepted until their day, told when they pass, failed the day after.

use libtest_mimic::Trial;

use crate::case::Case;
use crate::common::{Ran, harness, test};

pub fn tests() -> Vec<Trial> {
    vec![
        test("known::until_its_day", until),
        test("known::not_any_more", over),
        test("known::passes", passes),
        test("known::errors_are_not_accepted", errors),
        test("known::does_not_end_a_book", failfast),
        test("known::in_reports", reports),
    ]
}

const FAILS: &str = "healthcheck: ['[ $1 != --step=2 ]']";
/// So far away that no test sees it.
const FAR: &str = "known: {reason: 'OPS-17, no replica yet', until: 9998-12-31}";

fn run(keys: &str) -> (Case, Ran) {
    let case = Case::new("");
    case.book(keys, "");
    let ran = case.pisaura(&["run"]);
    assert!(!case.is_broken(), "{keys}: {}{}", ran.stdout, ran.stderr);
    (case, ran)
}

fn until() {
    let (case, ran) = run(&format!("{FAILS}, {FAR}"));
    let line = "ignored (known until 9998-12-31 (OPS-17, no replica yet): succumbed, unhealthy during the failure (exit status 1))";
    assert_eq!(ran.line("b::f@127.0.0.1:PORT"), line, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.code, Some(0));
    // It was tried all the same.
    assert!(!ran.stdout.contains("nothing was tried"), "{}", ran.stdout);
    assert_eq!(case.log(), "break\nheal\n");
}

fn over() {
    let (_, ran) = run(&format!("{FAILS}, known: {{reason: OPS-17, until: 2020-02-29}}"));
    let want = "succumbed: unhealthy during the failure (exit status 1); it was known until 2020-02-29, which is over (OPS-17)";
    assert!(ran.stdout.contains(want), "{}", ran.stdout);
    assert_eq!(ran.code, Some(1));
}

fn passes() {
    let (_, ran) = run(FAR);
    assert_eq!((ran.code, ran.line("b::f@127.0.0.1:PORT").as_str()), (Some(0), "ok"), "{}", ran.stdout);
    let want = "warning: `b::f@127.0.0.1:PORT` passes, although it is known to fail (OPS-17, no replica yet): take its `known` away\n";
    assert!(ran.stderr.contains(want), "{}", ran.stderr);
}

fn errors() {
    let (_, ran) = run(&format!("verify: ['false'], {FAR}"));
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    let (_, ran) = run(&format!("healthcheck: ['false'], {FAR}"));
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stdout.contains("unfit: "), "{}", ran.stdout);
}

/// What is accepted is no reason to stop.
fn failfast() {
    let case = Case::new("");
    let more = "  - {name: g, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh]}\n";
    case.book(&format!("{FAILS}, {FAR}"), more);
    let path = "fatebooks/b/fatebook.yaml";
    case.scratch.write(path, format!("failfast: true\n{}", case.scratch.read(path)));
    let ran = case.pisaura(&["run", "--fail-fast"]);
    assert_eq!((ran.code, ran.line("b::g@127.0.0.1:PORT").as_str()), (Some(0), "ok"), "{}", ran.stdout);
}

fn reports() {
    let case = Case::new("");
    case.book(&format!("{FAILS}, {FAR}"), "");
    let ran = Ran::of(&mut case.scratch.command(&harness()), &case.scratch);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    let xml = case.scratch.read("target/pisaura/junit.xml");
    let reason = "known until 9998-12-31 (OPS-17, no replica yet): succumbed, unhealthy during the failure (exit status 1)";
    assert!(xml.contains(&format!("<skipped type=\"Known\" message=\"{reason}\">")), "{xml}");
    assert!(xml.contains("3 healthcheck during") && xml.contains("failures=\"0\""), "{xml}");
}
