//! `before_all` and `after_all`: what a book has done once, around all its cases.

use std::process::Stdio;

use libtest_mimic::Trial;

use crate::case::{Case, stop};
use crate::cluster::{Stage, can_run};
use crate::common::{harness, needing, steady, test, wait_for};

pub fn tests() -> Vec<Trial> {
    let (met, reason) = can_run();
    vec![
        test("around::once_each", once_each),
        test("around::nothing_is_tried_where_it_fails", before_fails),
        test("around::what_fails_afterwards_is_an_error", after_fails),
        test("around::after_an_interrupt", interrupted),
        test("around::interrupted_in_it", interrupted_in_it),
        test("around::not_where_nothing_is_tried", nothing_tried),
        test("around::within_its_time", late),
        test("around::a_secret_is_not_shown", secret),
        test("around::shown_by_a_dry_run", dry_run),
        needing("around::on_mesos", met, reason, on_mesos),
    ]
}

/// A case whose book does this before it and that after it, once each has said so in `around`, where the case's scripts say it, too.
fn with(before: &str, after: &str, keys: &str) -> Case {
    let case = Case::new("");
    let told = case.path("around");
    for (name, more) in [("before", before), ("after", after)] {
        let text =
            format!("#!/bin/sh\necho $PISAURA_STEP $PISAURA_SERVICE $PISAURA_HOSTS $1 >>'{told}'\n{more}\n");
        case.scratch.write(&format!("fatebooks/b/{name}.sh"), text);
    }
    for (name, file) in [("break", "broken"), ("heal", "healed")] {
        let text = format!("#!/bin/sh\necho {file} >>'{told}'\n");
        case.scratch.write(&format!("fatebooks/b/{name}.sh"), text);
    }
    let failures: String = ["f", "g"]
        .iter()
        .map(|name| {
            format!("  - {{name: {name}, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh], {keys}}}\n")
        })
        .collect();
    let top = "before_all: [before.sh, one]\nafter_all: [after.sh]\ntimeout: 20s";
    case.scratch.write("fatebooks/b/fatebook.yaml", case.sshd.book(top, &failures));
    case
}

const BEFORE: &str = "before_all s 127.0.0.1 one\n";
const AFTER: &str = "after_all s 127.0.0.1\n";
const CASE: &str = "broken\nhealed\n";

fn once_each() {
    let case = with("echo ready", "", "");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.scratch.read("around"), format!("{BEFORE}{CASE}{CASE}{AFTER}"));
    let lines: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("b: ")).collect();
    assert!(lines.len() == 2 && lines[0].starts_with("b: before_all ok ("), "{}", ran.stderr);
    let report = steady(&case.scratch.read("target/pisaura/junit.xml"), &case.scratch);
    let names: Vec<&str> =
        report.split("<testcase name=\"").skip(1).filter_map(|text| text.split('"').next()).collect();
    assert_eq!(names, ["before_all", "f@127.0.0.1:PORT", "g@127.0.0.1:PORT", "after_all"]);
    assert!(report.contains("<system-out><![CDATA[ready\n]]></system-out>"), "{report}");
    let journal = case.scratch.read("target/pisaura/journal.jsonl");
    assert!(journal.contains("\"event\":\"went around\",\"book\":\"b\",\"step\":\"after_all\""), "{journal}");
    // One case alone has the same around it.
    case.scratch.write("around", "");
    case.pisaura(&["run", "--exact", "b::g"]);
    assert_eq!(case.scratch.read("around"), format!("{BEFORE}{CASE}{AFTER}"));
    case.check_left_clean();
}

fn before_fails() {
    let case = with("echo 'no cluster' >&2; exit 7", "", "");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.scratch.read("around"), format!("{BEFORE}{AFTER}"));
    let why = "`before_all` failed (exit status 7): no cluster";
    assert_eq!(ran.line("b::f@127.0.0.1:PORT"), "FAILED", "{}", ran.stdout);
    assert!(ran.failure("b::f@127.0.0.1:PORT").starts_with(&format!("botched: {why}\n")), "{}", ran.stdout);
    assert_eq!(ran.line("b::g@127.0.0.1:PORT"), format!("ignored (b: {why})"), "{}", ran.stdout);
    let report = case.scratch.read("target/pisaura/junit.xml");
    assert!(report.contains("<error type=\"BeforeAllFailed\" message=\"`before_all` failed"), "{report}");
}

fn after_fails() {
    let case = with("", "echo 'still there' >&2; exit 8", "");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.line("b::g@127.0.0.1:PORT"), "ok", "{}", ran.stdout);
    let told = "pisaura: warning: b: `after_all` failed (exit status 8): still there\n";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
    let report = case.scratch.read("target/pisaura/junit.xml");
    assert!(report.contains("<error type=\"AfterAllFailed\""), "{report}");
    let ran = crate::common::Ran::of(&mut case.scratch.command(&harness()), &case.scratch);
    assert_eq!(ran.code, Some(101), "{}{}", ran.stdout, ran.stderr);
}

fn interrupted() {
    let case = with("", "", "");
    case.waits_at("--step=2");
    let run = case.begin();
    stop(run.id(), "INT");
    let ran = case.end(run);
    assert_eq!(ran.code, Some(130), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.scratch.read("around"), format!("{BEFORE}{CASE}{AFTER}"));
}

fn interrupted_in_it() {
    let case = with("exec sleep 60", "", "");
    let mut command = case.command(&["run"]);
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    wait_for("before_all", || case.scratch.join("around").exists());
    stop(run.id(), "TERM");
    let ran = case.end(run);
    assert_eq!(ran.code, Some(130), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.scratch.read("around"), format!("{BEFORE}{AFTER}"));
    assert_eq!(ran.line("b::g@127.0.0.1:PORT"), "ignored (interrupted before it began)", "{}", ran.stdout);
}

fn nothing_tried() {
    let case = with("", "", "skip: not today");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(!case.scratch.join("around").exists());
}

fn late() {
    let case = with("exec sleep 60", "", "");
    let path = "fatebooks/b/fatebook.yaml";
    case.scratch.write(path, case.scratch.read(path).replace("timeout: 20s", "timeout: 1s"));
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("botched: `before_all` failed (time limit)\n"), "{}", ran.stdout);
}

fn secret() {
    let case = with("echo \"by $TOKEN\" >&2; exit 1", "", "");
    let path = "fatebooks/b/fatebook.yaml";
    let book = case
        .scratch
        .read(path)
        .replace("timeout: 20s", "timeout: 20s\nsecrets: [TOKEN]\nenv: {TOKEN: '${TOKEN}'}");
    case.scratch.write(path, book);
    let ran = crate::common::Ran::of(case.command(&["run"]).env("TOKEN", "hunter22"), &case.scratch);
    let report = case.scratch.read("target/pisaura/junit.xml");
    let journal = case.scratch.read("target/pisaura/journal.jsonl");
    let all = [&ran.stdout, &ran.stderr, &report, &journal].map(|text| text.matches("hunter22").count());
    assert_eq!(all, [0; 4], "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("failed (exit status 1): by "), "{}", ran.stdout);
}

fn dry_run() {
    let case = with("", "", "");
    let ran = case.pisaura(&["run", "--dry-run"]);
    let lines: Vec<&str> = ran.stdout.lines().filter(|line| line.contains(" once, ")).collect();
    assert_eq!(
        lines,
        [
            "b: before_all, here, once, within 20s: before.sh one",
            "b: after_all, here, once, within 20s: after.sh"
        ]
    );
    assert!(!case.scratch.join("around").exists());
}

/// It runs where the run was started, not on the agents.
fn on_mesos() {
    let stage = Stage::new("none", &[]);
    let told = stage.scratch.join("around").display().to_string();
    for name in ["before", "after"] {
        stage.scratch.write(
            &format!("fatebooks/b/{name}.sh"),
            format!("#!/bin/sh\necho {name} ${{MESOS_SANDBOX-here}} >>'{told}'\n"),
        );
    }
    let book = stage.scratch.read("fatebooks/b/fatebook.yaml");
    let book = book.replace("failures:", "before_all: [before.sh]\nafter_all: [after.sh]\nfailures:");
    stage.scratch.write("fatebooks/b/fatebook.yaml", book);
    let ran = stage.go_on(stage.begin(&[]));
    assert_eq!(ran.line("b::f@127.0.0.1:PORT"), "ok", "{}{}", ran.stdout, ran.stderr);
    assert_eq!(stage.scratch.read("around"), "before here\nafter here\n");
}
