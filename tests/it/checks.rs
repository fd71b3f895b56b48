//! More questions than one: the checks beside a healthcheck, each with limits and a finding of its own, against a real SSH server.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::case::{Case, HEAL};
use crate::cluster::{Cluster, can_run};
use crate::common::{Ran, begin, needing, on_master, test, wait_for};
use crate::interrupts::signal;

pub fn tests() -> Vec<Trial> {
    let (can, why_not) = can_run();
    vec![
        test("checks::asked_with_the_healthcheck", asked),
        test("checks::one_is_enough_to_fail", one_fails),
        test("checks::no_answer", no_answer),
        test("checks::expected_to_be_unhealthy", expected),
        test("checks::within_the_grace", grace),
        test("checks::each_held_by_its_own_rules", held),
        test("checks::one_that_hangs_keeps_nobody_waiting", hangs),
        test("checks::to_the_end_of_an_outage", outage_at_the_end),
        test("checks::an_interrupt_ends_them", interrupt),
        test("checks::of_the_book", of_book),
        test("checks::in_a_dry_run", dry_run),
        test("checks::in_the_journal", journal),
        needing("checks::on_mesos", can, why_not, on_mesos),
    ]
}

/// A case with these keys; `@HOME` is the home of the host.
fn case(keys: &str) -> Case {
    let case = Case::new("");
    let home = case.sshd.home().display().to_string();
    case.book(&keys.replace("@HOME", &home), "");
    case
}

/// Runs a case that ends with this code, and says these things.
#[track_caller]
fn check(keys: &str, code: i32, wants: &[&str]) -> String {
    case(keys).says_all(code, wants)
}

/// The rows of the table that tell of this check.
fn rows<'a>(said: &'a str, name: &str) -> Vec<&'a str> {
    let rows = said.lines().filter(|line| line.starts_with("      ") && line.contains(&format!(" {name} ")));
    rows.map(str::trim).collect()
}

fn asked() {
    let keys = "checks: [{name: members, run: ['echo \"asked at $PISAURA_STEP by $PISAURA_CHECK\"; :']}, {name: leader, run: ['true']}]";
    let said = check(keys, 0, &["asked at 1 by members", "asked at 2 by members", "asked at 3 by members"]);
    assert_eq!((rows(&said, "members").len(), rows(&said, "leader").len()), (3, 3), "{said}");
    assert!(said.contains("1 healthcheck before, check members, stdout:"), "{said}");
}

fn one_fails() {
    let bad = |step: &str| {
        format!(
            "checks: [{{name: a, run: ['true']}}, {{name: b, run: ['echo gone >&2; [ $PISAURA_STEP != {step} ]']}}]"
        )
    };
    check(&bad("1"), 1, &["unfit: check `b`: unhealthy before anything was broken (exit status 1): gone\n"]);
    check(&bad("2"), 1, &["succumbed: check `b`: unhealthy during the failure (exit status 1): gone\n"]);
    check(&bad("3"), 1, &["not recovered: check `b`: unhealthy after the revert (exit status 1): gone\n"]);
    // The healthcheck's own comes first.
    let both = format!("{}, healthcheck: ['[ $1 != --step=2 ]']", bad("2"));
    check(&both, 1, &["succumbed: unhealthy during the failure (exit status 1)\n"]);
    let output =
        "checks: [{name: lag, run: ['echo 7; :'], expect_output: {at_most: 5}}, {name: t, run: ['true']}]";
    check(output, 1, &["unfit: check `lag`: unhealthy before anything was broken (exit status 1): "]);
    let tcp = "checks: [{name: port, run: {tcp: 'localhost:1'}}]";
    check(tcp, 1, &["unfit: check `port`: unhealthy before anything was broken (exit status 1): localhost:"]);
}

/// What cannot be run, or is ended by a signal, is no answer: an error, and never a pass or a fail.
fn no_answer() {
    let bad = |what: &str, keys: &str| {
        format!("checks: [{{name: c, run: ['[ $PISAURA_STEP != 2 ] || {what}'] {keys}}}]")
    };
    check(
        &bad("nosuch", ""),
        3,
        &["botched: check `c`: the check gave no answer: its program could not be run (exit status 127)"],
    );
    check(&bad("kill -9 $$", ""), 3, &["botched: check `c`: the check gave no answer: ended by SIGKILL"]);
    let held = format!("hold: 60s, {}", bad("nosuch", ""));
    check(&held, 3, &["botched: check `c`: the check gave no answer: exit status 127"]);
    let held = format!("hold: 60s, {}", bad("kill -9 $$", ", expect: unhealthy"));
    check(&held, 3, &["botched: check `c`: the check gave no answer: ended by SIGKILL"]);
    // A mistake in it is known before anything is broken.
    let case = case("checks: [{name: c, run: ['case x in']}]");
    let (code, said) = case.says();
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("the check `c` cannot be run: "), "{said}");
    assert!(!case.sshd.home().join("log").exists(), "{said}");
}

fn expected() {
    let refuses = |inside: &str| {
        format!("checks: [{{name: refuses, run: ['[ ! -e @HOME/broken ]'], expect: unhealthy}}], {inside}")
    };
    check(&refuses("expect: healthy"), 0, &["      refuses "]);
    check(&refuses("hold: 500ms, every: 50ms"), 0, &["unhealthy "]);
    let never = "checks: [{name: refuses, run: ['true'], expect: unhealthy}]";
    let wants = [
        "succumbed: check `refuses`: healthy during the failure, and expected to be unhealthy (exit status 0)",
    ];
    check(never, 1, &wants);
    let wants = [
        "succumbed: check `refuses`: healthy, and expected to be unhealthy, from the start of the failure on (1 of 1 checks)",
    ];
    check(&format!("hold: 60s, {never}"), 1, &wants);
}

/// All have to be well at the same time: in one round of questions.
fn grace() {
    let later = "[ $PISAURA_STEP != 2 ] || { echo >>@HOME/asked; [ $(wc -l <@HOME/asked) -ge 3 ]; }";
    let keys = format!("grace: 20s, checks: [{{name: c, run: ['{later}']}}]");
    let said = check(&keys, 0, &[]);
    assert!(rows(&said, "c")[1].ends_with("ok, asked 3 times"), "{said}");
    let keys = "grace: 300ms, checks: [{name: c, run: ['[ $PISAURA_STEP != 2 ]']}]";
    check(keys, 1, &["succumbed: check `c`: unhealthy during the failure (exit status 1, asked "]);
}

fn held() {
    // Down from 300 ms to 800 ms after the inducer.
    let since = "t=$(($(date +%s%3N) - $(cat @HOME/since 2>/dev/null || date +%s%3N)))";
    let blinks = format!("{since}; [ $t -lt 300 ] || [ $t -ge 800 ]");
    let inducer = "inducer: ['touch $HOME/broken; date +%s%3N >$HOME/since']";
    let with = |keys: &str| {
        format!("{inducer}, hold: 2s, every: 100ms, checks: [{{name: blinks, run: ['{blinks}'] {keys}}}]")
    };
    let said = check(&with(", every: 50ms, max_outage: 1500ms"), 0, &[]);
    assert!(rows(&said, "blinks")[1].contains("longest T s"), "{said}");
    check(&with(""), 1, &["succumbed: check `blinks`: unhealthy T s after"]);
    check(
        &with(", max_outage: 250ms"),
        1,
        &["succumbed: check `blinks`: unhealthy for at least T s", "allowed: T s"],
    );
    check(
        &with(", min_availability: 90%"),
        1,
        &["succumbed: check `blinks`: available for ", "required: 90 %"],
    );
    // What the failure allows is allowed to each of its checks.
    check(&format!("{}, max_outage: 1500ms", with("")), 0, &[]);
    // Several findings, none of which hides another.
    let both = format!("healthcheck: ['[ $1 != --step=2 ]'], full_hold: true, {}", with(""));
    check(
        &both,
        1,
        &["succumbed: unhealthy from the start of the failure on", "succumbed: check `blinks`: unhealthy "],
    );
}

/// A question that hangs is no reason to ask the others less often.
fn hangs() {
    let slow = "[ $PISAURA_STEP != 2 ] || sleep 600";
    let keys = format!(
        "hold: 2s, every: 100ms, checks: [{{name: slow, run: ['{slow}'], answer_within: 1s, min_availability: 1%}}, {{name: quick, run: ['true']}}], full_hold: true"
    );
    let said =
        check(&keys, 1, &["succumbed: check `slow`: available for ", "last bad answer: no answer within 1s"]);
    let quick = rows(&said, "quick")[1];
    let times: u32 = quick
        .split_once(" of ")
        .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no number in {quick}"));
    assert!(times >= 10, "{said}");
}

/// How long an outage is that has not ended when the hold has, has to be seen; nobody else's answer cuts that short.
fn outage_at_the_end() {
    let since = "t=$(($(date +%s%3N) - $(cat @HOME/since 2>/dev/null || date +%s%3N)))";
    let inducer = "inducer: ['touch $HOME/broken; date +%s%3N >$HOME/since']";
    let keys = |until: u32| {
        format!(
            "{inducer}, hold: 1s, every: 50ms, checks: [{{name: c, run: ['{since}; [ $t -lt 600 ] || [ $t -ge {until} ]'], max_outage: 900ms}}]"
        )
    };
    check(&keys(100_000), 1, &["succumbed: check `c`: unhealthy for at least ", "; allowed: T s"]);
    check(&keys(1200), 0, &[]);
}

/// The host is not kept broken until a check that hangs has ended.
fn interrupt() {
    let case = Case::new("");
    let at = case.path("hangs");
    case.book(
        &format!("hold: 60s, timeout: 30s, checks: [{{name: c, run: ['[ $PISAURA_STEP != 2 ] || {{ trap \"\" TERM; echo $$ >\"{at}\"; sleep 600; }}']}}]"),
        "",
    );
    let run = begin(&mut case.command(&["run"]));
    wait_for("the check", || std::fs::read_to_string(&at).is_ok_and(|text| text.ends_with('\n')));
    let pid = case.scratch.read("hangs");
    let began = Instant::now();
    signal(&run, "INT");
    wait_for("the revert", || !case.is_broken());
    let took = began.elapsed();
    let ran = case.end(run);
    assert_eq!(ran.code, Some(130), "{}{}", ran.stdout, ran.stderr);
    assert!(took < Duration::from_secs(20), "reverted only after {took:?}");
    let left = std::path::Path::new("/proc").join(pid.trim());
    assert!(!left.exists(), "the check is still there");
}

fn of_book() {
    let case = Case::new("");
    let failure = |name: &str, more: &str| {
        format!("  - {{name: {name}, inducer: ['true'], reverter: ['true'], healthcheck: ['true'] {more}}}\n")
    };
    let failures = failure("f", "") + &failure("own", ", checks: []");
    let keys = "checks: [{name: c, run: ['false']}]\n";
    case.scratch.write("fatebooks/b/fatebook.yaml", case.sshd.book(keys, &failures));
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.line("b::f@127.0.0.1:PORT"), "FAILED", "{}", ran.stdout);
    assert_eq!(ran.line("b::own@127.0.0.1:PORT"), "ok", "{}", ran.stdout);
}

fn dry_run() {
    let case = Case::new("");
    case.book("hold: 10s, checks: [{name: lag, run: ['echo 1'], every: 2s, max_outage: 9s, expect_output: {at_most: 5}}, {name: refuses, run: {tcp: 'h:1'}, expect: unhealthy}]", "");
    let said = case.pisaura(&["run", "--dry-run"]).stdout;
    for want in [
        "    check        lag, here, within 10s: /bin/sh -c 'echo 1' sh, its output at most 5\n",
        "    check        refuses, here, within 10s: pisaura probe tcp h:1 --within 5s\n",
        "    check        lag, every 2s, within 5s: unhealthy for at most 9s\n",
        "    check        refuses, every 1s, within 5s: always unhealthy\n",
    ] {
        assert!(said.contains(want), "no {want} in {said}");
    }
}

/// Figures for programs.
fn journal() {
    let case = case("hold: 300ms, every: 50ms, checks: [{name: c, run: ['true']}]");
    let (code, said) = case.says();
    assert_eq!(code, 0, "{said}");
    let journal = case.scratch.read("target/pisaura/journal.jsonl");
    let figures = journal.split_once("\"check_figures\":{\"c\":{\"watched_seconds\":0.");
    assert!(figures.is_some(), "{journal}");
}

fn on_mesos() {
    let cluster = Cluster::start(&["--agents", "1"]);
    let case = Case::new("");
    case.scratch
        .write("fatebooks/b/members.sh", "#!/bin/sh\necho two of three >&2\n[ $PISAURA_STEP != 2 ]\n");
    case.scratch.write("fatebooks/b/heal.sh", HEAL);
    case.book("hold: 10s, every: 100ms, checks: [{name: members, run: [members.sh]}]", "");
    on_master(&cluster.master, || {
        let ran: Ran = case.scratch.harness(&["--show-output"]);
        let told = ran.failure("b::f@127.0.0.1:PORT");
        for want in [
            "succumbed: check `members`: unhealthy from the start of the failure on (1 of 1 checks)",
            "last bad answer: exit status 1: two of three\n",
        ] {
            assert!(told.contains(want), "no {want} in {}{}", ran.stdout, ran.stderr);
        }
    });
    assert!(!case.is_broken());
}
