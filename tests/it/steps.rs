//! Inducers of several steps, each with what reverts it: on real SSH servers and on a real Mesos.

use std::fs;

use libtest_mimic::Trial;

use crate::case::{Case, end_group};
use crate::cluster::{Stage, can_run};
use crate::common::{needing, test, wait_for};
use crate::healed::number_in;
use crate::machines::edit_identity;

pub fn tests() -> Vec<Trial> {
    let (met, reason) = can_run();
    vec![
        test("steps::broken_in_order_and_healed_in_reverse", in_order),
        test("steps::only_what_was_begun_is_reverted", only_what_was_begun),
        test("steps::one_that_cannot_be_reverted_keeps_nobody_from_it", one_cannot),
        test("steps::where_nobody_can_say_how_many_all_are", unknown),
        test("steps::the_switch_reverts_what_was_begun", by_the_switch),
        test("steps::a_later_run_reverts_what_was_begun", by_a_later_run),
        test("steps::a_person_reverts_what_was_begun", by_hand),
        test("steps::after_a_restart_all_are_reverted", after_a_restart),
        test("steps::each_cycle_begins_with_the_first", cycles),
        test("steps::shown_by_a_dry_run", dry_run),
        needing("steps::on_mesos", met, reason, on_mesos),
    ]
}

/// What a step runs, and what reverts it: its own file with its number, and one for all.
const STEPS: &str = "inducer: [{run: [one.sh], revert: [back.sh, 1]}, {run: [two.sh], revert: [back.sh, 2]}, {run: ['echo break 3 >>$HOME/log'], revert: ['echo heal 3 >>$HOME/log']}]";

/// A case of three steps; `two` is what the second one does once it has said so.
fn stepped(keys: &str, two: &str) -> Case {
    let case = Case::new("");
    case.scratch.write("fatebooks/b/one.sh", "#!/bin/sh\necho break 1 >>\"$HOME/log\"\n");
    case.scratch.write("fatebooks/b/two.sh", format!("#!/bin/sh\necho break 2 >>\"$HOME/log\"\n{two}\n"));
    case.scratch.write("fatebooks/b/back.sh", "#!/bin/sh\necho heal $1 >>\"$HOME/log\"\n");
    write_book(&case, keys);
    case
}

fn write_book(case: &Case, keys: &str) {
    let failure = format!("  - {{name: f, {STEPS}, healthcheck: [check.sh], {keys}}}");
    case.scratch.write("fatebooks/b/fatebook.yaml", case.sshd.book("", &failure));
}

const ALL: &str = "break 1\nbreak 2\nbreak 3\nheal 3\nheal 2\nheal 1\n";
const TWO: &str = "break 1\nbreak 2\nheal 2\nheal 1\n";

fn in_order() {
    let case = stepped("timeout: 10s", "");
    case.says_all(0, &["b::f@127.0.0.1:PORT ... ok"]);
    assert_eq!(case.log(), ALL);
    case.check_left_clean();
}

fn only_what_was_begun() {
    let case = stepped("timeout: 10s", "exit 7");
    case.says_all(3, &["exit status 7", "step 2 of 3 failed"]);
    assert_eq!(case.log(), TWO);
    case.check_left_clean();
}

/// The others are reverted all the same, and all once more, until it succeeds.
fn one_cannot() {
    let case = stepped("timeout: 10s", "");
    case.scratch.write(
        "fatebooks/b/back.sh",
        "#!/bin/sh\necho heal $1 >>\"$HOME/log\"\n[ $1 = 1 ] || [ -e \"$HOME/tried\" ] || { : >\"$HOME/tried\"; exit 9; }\n",
    );
    case.says_all(0, &["b::f@127.0.0.1:PORT ... ok", "4 reverter T s  ok, tried 2 times"]);
    assert_eq!(case.log(), format!("{ALL}heal 3\nheal 2\nheal 1\n"));
    case.check_left_clean();
}

fn unknown() {
    let case = stepped("timeout: 10s", "rm -f \"$HOME\"/.pisaura/*/.case-*/begun; exit 7");
    case.says_all(3, &["step 2 of 3 failed"]);
    assert_eq!(case.log(), "break 1\nbreak 2\nheal 3\nheal 2\nheal 1\n");
    case.check_left_clean();
}

/// A case whose run was killed within its second step.
fn killed(keys: &str) -> Case {
    let case = stepped(keys, ": >\"$HOME/at\"; exec sleep 60");
    case.kill_in_the_inducer();
    case
}

fn by_the_switch() {
    let case = killed("timeout: 2s, deadman: 8s");
    wait_for("the switch", || case.log() == TWO);
    let ran = case.pisaura(&["revert"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), TWO);
    case.check_left_clean();
}

fn by_a_later_run() {
    let case = killed("timeout: 20s");
    // The book may say anything by then: what heals is what was armed.
    case.book("timeout: 20s", "");
    let ran = case.pisaura(&["revert"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "1 reverted\n"), "{}", ran.stderr);
    assert_eq!(case.log(), TWO);
    case.check_left_clean();
}

fn by_hand() {
    let case = killed("timeout: 20s");
    let heal = case.case_folder().join("heal");
    let ran = std::process::Command::new("sh").arg(&heal).output().expect("sh runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(case.log(), TWO);
    let ran = case.pisaura(&["revert"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), TWO);
    case.check_left_clean();
}

/// What was on its way to the disk may be lost then, as that a step was begun.
fn after_a_restart() {
    let case = killed("timeout: 20s");
    end_group(&number_in(&case, "watcher").to_string());
    edit_identity(&case, |mut words| {
        words[1] = "another-boot".to_owned();
        words
    });
    let ran = case.pisaura(&["revert"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "1 reverted\n"), "{}", ran.stderr);
    assert_eq!(case.log(), "break 1\nbreak 2\nheal 3\nheal 2\nheal 1\n");
}

fn cycles() {
    let case = stepped("timeout: 10s, cycles: 2", "[ ! -e \"$HOME/again\" ] || exit 7; : >\"$HOME/again\"");
    case.says_all(3, &["cycle 2 of 2", "step 2 of 3 failed"]);
    assert_eq!(case.log(), format!("{ALL}{TWO}"));
    case.check_left_clean();
}

fn dry_run() {
    let case = stepped("timeout: 10s", "");
    let ran = case.pisaura(&["run", "--dry-run"]);
    let lines: Vec<&str> = ran.stdout.lines().filter(|line| line.contains(" on 127.0.0.1")).collect();
    assert_eq!(
        lines,
        [
            "  2 inducer      on 127.0.0.1:PORT, within 10s: one.sh",
            "    step 2       on 127.0.0.1:PORT, then: two.sh",
            "    step 3       on 127.0.0.1:PORT, then: /bin/sh -c 'echo break 3 >>$HOME/log' sh",
            "  4 reverter     on 127.0.0.1:PORT, tried for up to 40s after the inducer began: /bin/sh -c 'echo heal 3 >>$HOME/log' sh",
            "    of step 2    on 127.0.0.1:PORT, then: back.sh 2",
            "    of step 1    on 127.0.0.1:PORT, then: back.sh 1",
        ],
        "{}",
        ran.stdout
    );
}

/// A task that is lost within the second step: what reverts elsewhere reverts two.
fn on_mesos() {
    let stage = Stage::new("none", &["--agents", "2"]);
    let book = stage.scratch.read("fatebooks/b/fatebook.yaml").replace(
        "inducer: [break.sh], reverter: [heal.sh]",
        "inducer: [{run: [break.sh], revert: [heal.sh]}, {run: [two.sh], revert: [heal.sh, 2]}, {run: [break.sh], revert: [heal.sh, 3]}]",
    );
    assert!(book.contains("revert: [heal.sh, 3]"), "{book}");
    stage.scratch.write("fatebooks/b/fatebook.yaml", book);
    stage.scratch.write(
        "fatebooks/b/two.sh",
        "#!/bin/sh\necho two.sh >>\"$HOME/log\"\n: >\"$HOME/at\"\nexec sleep 60\n",
    );
    let run = stage.begin(&[]);
    wait_for("the second step", || stage.sshd.home().join("at").exists());
    stage.cluster.kill_executors();
    wait_for("the revert", || stage.sshd.read("log") == "break.sh\ntwo.sh\nheal.sh\nheal.sh\n");
    let ran = stage.go_on(run);
    assert_eq!(ran.line("b::f@127.0.0.1:PORT"), "FAILED", "{}{}", ran.stdout, ran.stderr);
    assert_eq!(
        fs::read_to_string(stage.sshd.home().join("log")).expect("a log"),
        "break.sh\ntwo.sh\nheal.sh\nheal.sh\n"
    );
}
