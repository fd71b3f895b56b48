//! Cases that break and heal their host several times, on real SSH servers and on a real Mesos.

use std::fs;
use std::process::Stdio;

use libtest_mimic::Trial;

use crate::case::Case;
use crate::cluster::{Stage, can_run};
use crate::common::{needing, test, wait_for};

pub fn tests() -> Vec<Trial> {
    let (met, reason) = can_run();
    vec![
        test("cycles::as_often_as_asked", as_often),
        test("cycles::the_first_that_fails_is_the_last", first_failure),
        test("cycles::each_is_told", each_is_told),
        test("cycles::a_workload_hears_of_each", workload),
        test("cycles::killed_in_the_second", killed),
        test("cycles::interrupted_in_the_second", interrupted),
        needing("cycles::on_mesos", met, reason, on_mesos),
        needing("cycles::a_task_that_is_lost_in_the_second", met, reason, lost_task),
    ]
}

/// A case whose healthcheck is this text, with `$n` for which of its calls during the failure it is, from 1.
fn checked(keys: &str, text: &str) -> Case {
    let case = Case::new("");
    case.book(keys, "");
    let count = case.path("count");
    case.scratch.write(
        "fatebooks/b/check.sh",
        format!(
            "#!/bin/sh\n[ $1 = --step=2 ] || exit 0\necho >>'{count}'\nn=$(($(wc -l <'{count}')))\n{text}\n"
        ),
    );
    case
}

fn as_often() {
    let case = checked("cycles: 3", "exit 0");
    let said = case.says_all(0, &["b::f@127.0.0.1:PORT ... ok"]);
    assert_eq!(case.log(), "break\nheal\n".repeat(3), "{said}");
    assert_eq!(case.scratch.read("count"), "\n".repeat(3));
    case.check_left_clean();
    let ran = case.pisaura(&["run", "--dry-run"]);
    assert!(ran.stdout.contains("\n    cycles       2 to 5 are done 3 times\n"), "{}", ran.stdout);
}

fn first_failure() {
    let case = checked("cycles: 4", "[ $n != 2 ] || { echo 'no leader' >&2; exit 1; }");
    case.says_all(1, &["succumbed: cycle 2 of 4: unhealthy during the failure (exit status 1): no leader\n"]);
    assert_eq!(case.log(), "break\nheal\n".repeat(2));
    case.check_left_clean();
}

fn each_is_told() {
    // Down for the second and third question of five of the first cycle, and never again.
    let case = checked("cycles: 2, hold: 4s, every: 200ms, max_outage: 3s", "[ $n != 2 ] && [ $n != 3 ]");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), "break\nheal\n".repeat(2));
    let report = crate::common::steady(&case.scratch.read("target/pisaura/junit.xml"), &case.scratch);
    let (_, table) = report.split_once("result\n").expect("a table");
    let (table, _) = table.split_once("]]>").expect("its end");
    // How often it was asked depends on the machine.
    let steps: Vec<&str> = table.lines().map(|line| line.split(" of ").next().unwrap_or(line)).collect();
    assert_eq!(
        steps,
        [
            "  cycle 1",
            "  1 healthcheck before T s  ok",
            "  2 prepare T s  ok",
            "  2 inducer T s  ok",
            "  3 hold T s  unhealthy 2",
            "  4 reverter T s  ok",
            "  5 healthcheck after T s  ok",
            "  cycle 2",
            "  2 prepare T s  ok",
            "  2 inducer T s  ok",
            steps[10],
            "  4 reverter T s  ok",
            "  5 healthcheck after T s  ok",
        ]
    );
    assert!(steps[10].starts_with("  3 hold T s  healthy "), "{table}");
    let figures = case.scratch.read("target/pisaura/journal.jsonl");
    assert!(figures.contains("\"unhealthy_checks\":2"), "{figures}");
}

fn workload() {
    let case = checked("cycles: 2, workload: [writes.sh]", "sleep 0.3");
    let told = case.path("told");
    case.scratch.write(
        "fatebooks/b/writes.sh",
        format!("#!/bin/sh\nn=0\n(while :; do n=$((n + 1)); echo \"ok $n\"; sleep 0.02; done) &\nwhile read -r phase; do echo $phase >>'{told}'; done\nkill $!\n"),
    );
    case.says_all(0, &["0 lost of "]);
    let phases = "before\nfailing\nreverted\n";
    assert_eq!(case.scratch.read("told"), phases.repeat(2));
}

fn killed() {
    let case = checked("cycles: 3", "[ $n != 2 ] || { : >\"$AT\"; sleep 60; }");
    let mut command = case.command(&["run"]);
    command.env("AT", case.path("at")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut run = command.spawn().expect("it runs");
    wait_for("the second cycle", || case.scratch.join("at").exists());
    run.kill().expect("a signal");
    run.wait().expect("an end");
    assert!(case.is_broken());
    let ran = case.pisaura(&["revert"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "1 reverted\n"), "{}", ran.stderr);
    assert!(!case.is_broken());
    assert_eq!(case.log(), "break\nheal\n".repeat(2));
    case.check_left_clean();
}

fn interrupted() {
    let case = checked("cycles: 3", "[ $n != 2 ] || { : >\"$AT\"; sleep 60; }");
    let mut command = case.command(&["run"]);
    command.env("AT", case.path("at")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = command.spawn().expect("it runs");
    wait_for("the second cycle", || case.scratch.join("at").exists());
    crate::case::stop(run.id(), "INT");
    let ran = case.end(run);
    assert_eq!(ran.code, Some(130), "{}{}", ran.stdout, ran.stderr);
    let told = "cycle 2 of 3: interrupted after the inducer; the host was reverted";
    assert!(ran.stdout.contains(told), "{}", ran.stdout);
    assert_eq!(case.log(), "break\nheal\n".repeat(2));
    case.check_left_clean();
}

/// A book on a Mesos, of three cycles; its healthcheck waits in the second one until it may go on.
fn staged() -> Stage {
    let stage = Stage::new("none", &["--agents", "2"]);
    let (count, go) = (stage.scratch.join("count"), stage.scratch.join("go"));
    let (count, go) = (count.display(), go.display());
    stage.scratch.write(
        "fatebooks/b/check.sh",
        format!(
            "#!/bin/sh\n[ $1 = --step=2 ] || exit 0\necho >>'{count}'\nwhile [ $(wc -l <'{count}') = 2 ] && [ ! -e '{go}' ]; do sleep 0.05; done\n"
        ),
    );
    let book =
        stage.scratch.read("fatebooks/b/fatebook.yaml").replace("timeout: 30s", "timeout: 30s, cycles: 3");
    stage.scratch.write("fatebooks/b/fatebook.yaml", book);
    stage
}

fn on_mesos() {
    let stage = staged();
    let run = stage.begin(&[]);
    wait_for("the second cycle", || stage.scratch.read("count").len() == 2);
    let ran = stage.go_on(run);
    assert_eq!(ran.line("b::f@127.0.0.1:PORT"), "ok", "{}{}", ran.stdout, ran.stderr);
    assert_eq!(stage.sshd.read("log"), "break.sh\nheal.sh\n".repeat(3));
    assert_eq!(stage.cluster.ended_tasks(), ["TASK_FINISHED"]);
}

/// What was healed once is broken again, and is known to be.
fn lost_task() {
    let stage = staged();
    let run = stage.begin(&[]);
    wait_for("the second cycle", || stage.scratch.read("count").len() == 2);
    stage.cluster.kill_executors();
    wait_for("the revert", || stage.sshd.read("log") == "break.sh\nheal.sh\n".repeat(2));
    let ran = stage.go_on(run);
    assert_eq!(ran.line("b::f@127.0.0.1:PORT"), "FAILED", "{}{}", ran.stdout, ran.stderr);
    let told = ran.failure("b::f@127.0.0.1:PORT");
    let want =
        "botched: its task was lost after the inducer was handed out, and the host was reverted by another: ";
    assert!(told.starts_with(want), "{told}");
    assert_eq!(stage.sshd.read("log"), "break.sh\nheal.sh\n".repeat(2));
    let _ = fs::remove_file(stage.scratch.join("go"));
}
