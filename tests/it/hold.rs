//! A failure is held, and the service watched: what is found then that one good answer hides, on a real SSH server.

use std::fs;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::case::{BREAK, Case, HEAL};
use crate::common::{Ran, begin, test, wait_for};
use crate::interrupts::signal;

pub fn tests() -> Vec<Trial> {
    vec![
        test("hold::a_service_that_dies_later", dies_later),
        test("hold::what_is_allowed", allowed),
        test("hold::recovery", recovery),
        test("hold::a_failure_that_does_not_last", does_not_last),
        test("hold::expected_to_be_unhealthy", expected),
        test("hold::no_answer", no_answer),
        test("hold::healed_meanwhile", healed_meanwhile),
        test("hold::an_interrupt", interrupt),
        test("hold::who_stood_still_has_not_watched", stood_still),
        test("hold::an_alarm_stops_it", alarm),
        test("hold::a_check_that_hangs_and_does_not_go", hangs_on),
        test("hold::a_service_that_answers_late", answers_late),
        test("hold::a_sleep_after_the_revert", slept_after),
        test("hold::what_was_seen_before_an_interrupt", seen_before_interrupt),
        test("hold::a_dry_run", dry_run),
    ]
}

/// A case whose service is down in these times, in milliseconds since the inducer (or the reverter) has ended.
fn scripted(down: &[(u64, u64)], down_after: &[(u64, u64)]) -> Case {
    let case = Case::new("");
    let home = case.sshd.home().display().to_string();
    case.scratch.write("fatebooks/b/break.sh", format!("{BREAK}date +%s%3N >\"$HOME/since\"\n"));
    case.scratch.write("fatebooks/b/heal.sh", format!("{HEAL}date +%s%3N >\"$HOME/since\"\n"));
    let windows = |all: &[(u64, u64)]| {
        all.iter()
            .map(|(from, to)| format!("[ $t -lt {from} ] || [ $t -ge {to} ] || exit 1\n"))
            .collect::<String>()
    };
    case.scratch.write(
        "fatebooks/b/check.sh",
        format!(
            "#!/bin/sh\n[ $1 != --step=1 ] || exit 0\nt=$(($(date +%s%3N) - $(cat '{home}/since')))\nif [ $1 = --step=2 ]; then\n:\n{}else\n:\n{}fi\nexit 0\n",
            windows(down),
            windows(down_after)
        ),
    );
    case
}

/// Runs the case with these keys: its code, and what was said, with its times.
fn run(case: &Case, keys: &str) -> (i32, String) {
    case.book(&format!("timeout: 5s, {keys}"), "");
    let output = case.command(&["run", "--show-output"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!case.is_broken(), "{keys}: {said}");
    (output.status.code().unwrap_or(-1), said)
}

/// The line that tells of the watch in the table of steps.
fn row(said: &str) -> &str {
    let line = said.lines().find(|line| line.trim_start().starts_with("3 "));
    line.unwrap_or_else(|| panic!("no step 3 in {said}"))
}

/// The lie of one good answer: the service dies two seconds after the inducer.
fn dies_later() {
    let case = scripted(&[(2000, 1_000_000)], &[]);
    let (code, said) = run(&case, "");
    assert_eq!(code, 0, "{said}");
    // So that nobody takes it for more.
    assert!(row(&said).contains("healthy once, watched for 0."), "{}", row(&said));
    let (code, said) = run(&case, "hold: 60s, every: 200ms");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("succumbed: unhealthy 2"), "{said}");
    assert!(said.contains("(1 of 1"), "{said}");
    assert!(said.contains("last bad answer: exit status 1"), "{said}");
    assert!(row(&said).contains("unhealthy 1 of 1"), "{}", row(&said));
}

fn allowed() {
    let check = |down: &[(u64, u64)], keys: &str, code: i32, want: &str| {
        let case = scripted(down, &[]);
        let (got, said) = run(&case, keys);
        assert_eq!(got, code, "{keys}: {said}");
        assert!(said.contains(want), "{keys}: {said}");
    };
    let all_the_time = "hold: 2s, every: 100ms";
    check(&[], all_the_time, 0, "times, watched for 2");
    check(&[(500, 900)], &format!("{all_the_time}, max_outage: 1s"), 0, "(± 0.");
    check(&[(500, 1900)], &format!("{all_the_time}, max_outage: 600ms"), 1, "allowed: 0.6 s");
    check(&[(0, 700)], &format!("{all_the_time}, grace: 1200ms"), 0, "unhealthy ");
    check(&[(0, 1500)], &format!("{all_the_time}, grace: 700ms"), 1, "grace: 0.7 s");
    check(&[(500, 900)], &format!("{all_the_time}, min_availability: 50%"), 0, "availability ");
    check(&[(500, 1500)], &format!("{all_the_time}, min_availability: 90%"), 1, "required: 90 %");
    // How long an outage at the end would have been has to be seen.
    check(&[(1700, 9000)], &format!("{all_the_time}, max_outage: 1s"), 1, "unhealthy for at least 1");
    check(&[(1700, 9000)], "hold: 2s, every: 20ms, min_availability: 99%", 1, "required: 99 %");
    // Held to its end to measure what it does to the service.
    check(&[(500, 1000)], &format!("{all_the_time}, full_hold: true"), 1, "watched for 2");
}

fn recovery() {
    let check = |down_after: &[(u64, u64)], keys: &str, code: i32, want: &str| {
        let case = scripted(&[], down_after);
        let (got, said) = run(&case, keys);
        assert_eq!(got, code, "{keys}: {said}");
        assert!(said.contains(want), "{keys}: {said}");
    };
    check(&[(0, 700)], "max_recovery: 20s", 0, "healthy after ");
    check(
        &[(0, 100_000)],
        "max_recovery: 500ms",
        1,
        "not healthy again within 500ms of the revert (exit status 1, ",
    );
    check(&[(600, 100_000)], "watch_after: 3s, every: 100ms", 1, "unhealthy after the revert");
    // Of many answers the journal has those that say something new.
    let case = scripted(&[], &[]);
    let (code, said) = run(&case, "hold: 1s, every: 50ms, watch_after: 1s");
    assert_eq!(code, 0, "{said}");
    let journal = case.scratch.read("target/pisaura/journal.jsonl");
    let answers = |step: &str| journal.matches(&format!("\"step\":\"healthcheck {step}\"")).count();
    assert_eq!((answers("during"), answers("after")), (1, 1), "{journal}");
    check(&[(0, 300), (600, 900)], "max_recovery: 20s, watch_after: 500ms, every: 50ms", 0, "healthy after ");
}

fn does_not_last() {
    let case = Case::new("");
    case.waits_at("never");
    let keys = "hold: 300ms, every: 100ms, verify: ['test -e $HOME/broken']";
    let (code, said) = run(&case, &format!("{keys}, still: true"));
    assert_eq!(code, 0, "{said}");
    // It ends by itself.
    case.scratch.write(
        "fatebooks/b/break.sh",
        format!("{BREAK}(sleep 0.1; rm -f \"$HOME/broken\") >/dev/null 2>&1 &\n"),
    );
    let (code, said) = run(
        &case,
        &format!("{keys}, still: [\"until test ! -e $HOME/broken; do sleep 0.01; done\\nexit 1\\n\"]"),
    );
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("the failure did not last: it was gone before the revert"), "{said}");
    assert!(said.contains("NotHeld") || said.contains("botched"), "{said}");
    let (code, said) = run(&case, "still: [nosuch_program]");
    assert_eq!(code, 3, "{said}");
}

fn expected() {
    let case = scripted(&[(0, 1_000_000)], &[]);
    let (code, said) = run(&case, "expect: unhealthy, hold: 1s, every: 100ms");
    assert_eq!(code, 0, "{said}");
    assert!(row(&said).contains("unhealthy 1"), "{}", row(&said));
    let case = scripted(&[(0, 600)], &[]);
    let (code, said) = run(&case, "expect: unhealthy, hold: 2s, every: 100ms");
    assert_eq!(code, 1, "{said}");
    // Its monitor is right where the failure ended by itself; and what is no answer is none.
    let (code, more) = run(&case, "expect: unhealthy, hold: 2s, every: 100ms, still: ['false']");
    assert_eq!(code, 3, "{more}");
    assert!(more.contains("botched: the failure did not last"), "{more}");
    let (code, more) =
        run(&case, "expect: unhealthy, hold: 2s, healthcheck: ['[ $1 = --step=2 ] && kill -9 $$; exit 0']");
    assert_eq!(code, 3, "{more}");
    assert!(more.contains("gave no answer"), "{more}");
    assert!(said.contains("healthy, and expected to be unhealthy, "), "{said}");
}

/// A question that hangs is a service that is down from its beginning; a healthcheck that is gone is no answer at all.
fn no_answer() {
    let case = Case::new("");
    case.scratch.write("fatebooks/b/check.sh", "#!/bin/sh\n[ $1 != --step=2 ] || sleep 60\n");
    let (code, said) = run(&case, "hold: 3s, every: 100ms, answer_within: 400ms, max_outage: 1s");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("unhealthy for at least 1"), "{said}");
    assert!(said.contains("last bad answer: no answer within 400ms"), "{said}");
    case.scratch.write("fatebooks/b/check.sh", "#!/bin/sh\n[ $1 != --step=2 ] || nosuch_program\n");
    let (code, said) = run(&case, "hold: 60s");
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("gave no answer"), "{said}");
}

fn healed_meanwhile() {
    let case = Case::new("");
    case.waits_at("never");
    case.book("timeout: 5s, hold: 3s", "");
    let run = begin(&mut case.command(&["run"]));
    wait_for("the failure", || case.is_broken());
    wait_for("its record", || {
        fs::read_to_string(case.case_folder().join("induced")).is_ok_and(|text| text.starts_with('0'))
    });
    let heal = case.case_folder().join("heal");
    let status = Command::new("sh").arg(&heal).env("HOME", case.sshd.home()).status().expect("sh runs");
    assert!(status.success() && !case.is_broken());
    let ran = case.end(run);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("nothing was tested: the host was healed by somebody else"),
        "{}",
        ran.stdout
    );
}

fn interrupt() {
    let case = Case::new("");
    case.waits_at("never");
    case.book("timeout: 5s, hold: 600s", "");
    let run = begin(&mut case.command(&["run"]));
    wait_for("the failure", || case.is_broken());
    signal(&run, "INT");
    let ran = case.end(run);
    assert_eq!(ran.code, Some(130), "{}{}", ran.stdout, ran.stderr);
    assert!(!case.is_broken());
    assert!(ran.stdout.contains("interrupted after the inducer; the host was reverted"), "{}", ran.stdout);
}

/// A run that stands still for so long once its healthcheck was asked for this step.
fn stands_still_in(step: &str, keys: &str, time: Duration) -> Ran {
    let case = Case::new("");
    let asked = case.path("asked");
    case.scratch.write("fatebooks/b/check.sh", format!("#!/bin/sh\n[ $1 != {step} ] || : >'{asked}'\n"));
    case.book(&format!("timeout: 5s, every: 50ms, {keys}"), "");
    let run = begin(&mut case.command(&["run"]));
    wait_for("the question", || case.scratch.join("asked").exists());
    signal(&run, "STOP");
    // This is the time that is looked for.
    std::thread::sleep(time);
    signal(&run, "CONT");
    let ran = case.end(run);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(!case.is_broken());
    ran
}

/// Nobody knows what happened while this process stood still.
fn stood_still() {
    let ran = stands_still_in("--step=2", "hold: 20s", Duration::from_secs(6));
    assert!(ran.stdout.contains("nothing was tested: the service was not watched for "), "{}", ran.stdout);
}

/// However long it takes to end a healthcheck that hangs, the service was down: nobody else stood still.
fn hangs_on() {
    let case = Case::new("");
    for trap in ["sleep 1; exit 1", ""] {
        let check = format!(
            "#!/bin/sh\n[ $1 = --step=2 ] || exit 0\ntrap '{trap}' TERM\nn=0; while [ $n -lt 300 ]; do sleep 0.1; n=$((n+1)); done\n"
        );
        case.scratch.write("fatebooks/b/check.sh", check);
        let (code, said) = run(&case, "hold: 30s, every: 100ms, answer_within: 500ms");
        assert_eq!(code, 1, "{trap}: {said}");
        assert!(
            said.contains("succumbed: unhealthy from the start of the failure on (1 of 1 checks)"),
            "{said}"
        );
    }
}

/// A frozen service takes connections and answers when it is woken: its yes does not count for the time before.
fn answers_late() {
    let case = Case::new("");
    let late = "#!/bin/sh\n[ $1 != STEP ] || sleep 3\n";
    case.scratch.write("fatebooks/b/check.sh", late.replace("STEP", "--step=2"));
    let (code, said) = run(&case, "hold: 5s, every: 500ms, max_outage: 2s");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("last bad answer: no answer within 1.500s"), "{said}");
    case.scratch.write("fatebooks/b/check.sh", late.replace("STEP", "--step=3"));
    let (code, said) = run(&case, "max_recovery: 2s");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("not healthy again within 2s of the revert"), "{said}");
    let (code, said) = run(&case, "max_recovery: 4s");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("healthy after 3"), "{said}");
}

/// What happened while nobody watched a service that had recovered is not known.
fn slept_after() {
    let ran = stands_still_in("--step=3", "watch_after: 20s", Duration::from_millis(6500));
    assert!(
        ran.stdout.contains("nobody knows whether the service stayed healthy after the revert"),
        "{}",
        ran.stdout
    );
}

/// An interrupt does not make what was found before it unseen.
fn seen_before_interrupt() {
    let case = Case::new("");
    let asked = case.path("asked");
    case.scratch.write(
        "fatebooks/b/check.sh",
        format!("#!/bin/sh\n[ $1 = --step=2 ] || exit 0\necho asked >>'{asked}'\nexit 1\n"),
    );
    case.book("timeout: 5s, hold: 600s, every: 100ms, full_hold: true", "");
    let run = begin(&mut case.command(&["run"]));
    wait_for("answers", || {
        case.scratch.join("asked").exists() && case.scratch.read("asked").lines().count() > 3
    });
    signal(&run, "INT");
    let ran = case.end(run);
    assert!(ran.stdout.contains("succumbed: unhealthy from the start of the failure on"), "{}", ran.stdout);
    assert!(!case.is_broken());
}

/// Somebody's alarm ends the failure within an interval, and so does one that cannot be asked.
fn alarm() {
    let case = Case::new("");
    case.waits_at("never");
    let keys = "hold: 60s, every: 100ms, answer_within: 2s";
    case.scratch.write(
        "fatebooks/b/alarm.sh",
        format!(
            "#!/bin/sh\necho asked >>'{}'\n[ $(grep -c . '{0}') -gt 5 ] && echo 'error budget is spent'\n",
            case.path("asked")
        ),
    );
    let (code, said) = run(&case, &format!("{keys}, stop_if: [alarm.sh]"));
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("after the failure began: stop_if succeeded"), "{said}");
    assert!(said.contains("error budget is spent"), "{said}");
    assert_eq!(case.scratch.read("asked").lines().count(), 6);
    let (code, said) = run(&case, &format!("{keys}, stop_if: ['nosuch_program; exit $?']"));
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("stop_if gave no answer (exit status 127; 0 stops, 1 to 125 goes on)"), "{said}");
    // One for the whole run, beside the book's.
    case.book(&format!("timeout: 5s, {keys}, stop_if: ['false']"), "");
    let alarm = format!("test -e '{}'", case.path("alarm"));
    let ran = begin(&mut case.command(&["run", "--stop-if", &alarm]));
    wait_for("the failure", || case.is_broken());
    case.scratch.write("alarm", "");
    let ran = case.end(ran);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("after the failure began: stop_if succeeded") && !case.is_broken(),
        "{}",
        ran.stdout
    );
    let (code, said) = run(&case, "hold: 300ms, every: 100ms, stop_if: ['false']");
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("stop_if"), "{said}");
    let (code, said) = run(&case, &format!("{keys}, stop_if: ['if true; fi']"));
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("the stop_if cannot be run: ") && said.matches("2 inducer").count() == 0, "{said}");
}

fn dry_run() {
    let case = Case::new("");
    case.book(
        "timeout: 5s, grace: 2s, hold: 1m, every: 2s, max_outage: 10s, min_availability: 90%, max_recovery: 30s, watch_after: 5s, verify: ['true'], still: true",
        "",
    );
    let ran = case.pisaura(&["run", "--dry-run"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let steps: Vec<&str> = ran.stdout.lines().map(str::trim).collect();
    let starts =
        |prefix: &str| steps.iter().find(|line| line.starts_with(prefix)).copied().unwrap_or_default();
    assert_eq!(
        starts("3 hold"),
        "3 hold         1m, healthcheck here every 2s, within 5s: unhealthy for at most 10s in a row, available for at least 90 % after the first 2s"
    );
    assert_eq!(starts("still"), "still        on 127.0.0.1:PORT, within 5s: true");
    // Four scripts of five seconds on the host, and a watch that may last for 1m + 10s + 2s + 5s + 5s; and a margin.
    assert!(starts("4 reverter").contains("tried for up to 1m52s after"), "{}", starts("4 reverter"));
    assert_eq!(starts("5 healthcheck"), "5 healthcheck  here, asked again for 30s, then every 2s for 5s");
}
