//! Under `cargo nextest run --test fatebooks` each case is a process of its own; what holds in one process holds there too.
//! nextest itself is run where it is installed; what it asks of a harness is tried everywhere.

use std::process::{Command, Stdio};

use libtest_mimic::Trial;

use crate::common::{Ran, Scratch, Sshd, harness, needing, test, wait_for};

pub fn tests() -> Vec<Trial> {
    let installed = Command::new("cargo-nextest").arg("--version").output().is_ok();
    vec![
        test("nextest::failfast_holds_between_processes", failfast),
        test("nextest::an_unreverted_host_is_not_broken_again", unreverted),
        test("nextest::a_failure_that_is_none_for_a_host", not_for_this_host),
        test("nextest::each_repetition_is_one_process", repeated),
        test("nextest::one_report_for_each_case", reports),
        needing("nextest::nextest_itself", installed, "needs cargo-nextest", nextest_itself),
        needing("nextest::nextest_is_interrupted", installed, "needs cargo-nextest", nextest_is_interrupted),
    ]
}

/// A book whose first failure is not stood, and which is to stop there.
fn setup() -> (Scratch, Sshd) {
    let (scratch, sshd) = (Scratch::new(), Sshd::start());
    scratch.write("fatebooks/b/check.sh", "#!/bin/sh\n[ \"$PISAURA_FAILURE$1\" != a--step=2 ]\n");
    scratch.write("fatebooks/b/break.sh", "#!/bin/sh\necho $PISAURA_FAILURE >>\"$HOME/log\"\n");
    let failures = ["a", "b", "c"].map(|name| {
        format!("  - {{name: {name}, inducer: [break.sh], reverter: ['true'], healthcheck: [check.sh]}}")
    });
    scratch.write("fatebooks/b/fatebook.yaml", sshd.book("failfast: true", &failures.join("\n")));
    (scratch, sshd)
}

/// A process as nextest starts it.
fn case(scratch: &Scratch, sshd: &Sshd, run: &str, name: &str) -> Ran {
    let mut command = scratch.command(&harness());
    command.args(["--exact", &format!("b::{name}@127.0.0.1:{}", sshd.port), "--nocapture"]);
    command.env("NEXTEST", "1").env("NEXTEST_EXECUTION_MODE", "process-per-test").env("NEXTEST_RUN_ID", run);
    Ran::of(&mut command, scratch)
}

fn failfast() {
    let (scratch, sshd) = setup();
    let first = case(&scratch, &sshd, "run-1", "a");
    assert_eq!(first.code, Some(101));
    assert!(
        first.stderr.contains("\nError: succumbed: unhealthy during the failure (exit status 1)\n"),
        "{}",
        first.stderr
    );
    for name in ["b", "c"] {
        let ran = case(&scratch, &sshd, "run-1", name);
        // nextest would show a case that is ignored as one that passed.
        assert_eq!(ran.code, Some(101), "{}", ran.stdout);
        assert!(
            ran.stderr.contains("Error: skipped: failfast: `b::a@127.0.0.1:PORT` did not pass (succumbed)"),
            "{}",
            ran.stderr
        );
    }
    assert_eq!(sshd.read("log"), "a\n");
    // The next run begins anew; the marks of the first stay, for nobody knows whether it still lives.
    assert_eq!(case(&scratch, &sshd, "run-2", "b").code, Some(0));
    let mut marks: Vec<_> = std::fs::read_dir(scratch.join("target/pisaura/nextest"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    marks.sort();
    assert_eq!(marks, ["run-1", "run-2"]);
}

/// Nothing is amiss with it, so it does not end as a failure.
fn not_for_this_host() {
    let (scratch, sshd) = (Scratch::new(), Sshd::start());
    let failure =
        "  - {name: f, only_if: ['false'], inducer: ['true'], reverter: ['true'], healthcheck: ['true']}";
    scratch.write("fatebooks/b/fatebook.yaml", sshd.book("", failure));
    let ran = case(&scratch, &sshd, "run-1", "f");
    let reason = "not for this host as it is now: only_if said no (exit status 1)";
    assert_eq!(
        ran.line("b::f@127.0.0.1:PORT"),
        format!("ignored ({reason})"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    assert_eq!(ran.code, Some(0));
}

/// Its name means that repetition alone, the first one's too.
fn repeated() {
    let (scratch, sshd) = setup();
    for (name, number) in [("b", ""), ("b", " #2")] {
        let mut command = scratch.command(&harness());
        command.args(["--exact", &format!("b::{name}@127.0.0.1:{}{number}", sshd.port), "--nocapture"]);
        command.env("NEXTEST", "1").env("NEXTEST_EXECUTION_MODE", "process-per-test");
        command.env("NEXTEST_RUN_ID", "run-1").env("PISAURA_REPEAT", "2");
        let ran = Ran::of(&mut command, &scratch);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("\nrunning 1 test\n"), "{}", ran.stdout);
        assert!(!ran.stdout.contains("repeated:"), "{}", ran.stdout);
    }
    assert_eq!(sshd.read("log"), "b\nb\n");
}

fn unreverted() {
    // A book whose name could be a word of our own; another service on the same host; and one elsewhere.
    let (scratch, sshd, other) = (Scratch::new(), Sshd::start(), Sshd::start());
    let book_on = |sshd: &Sshd, service: &str, reverter: &str| {
        let failure = format!(
            "  - {{name: f, inducer: ['true'], reverter: [{reverter}], healthcheck: ['true'], timeout: 300ms, deadman: 1s}}"
        );
        sshd.book("", &failure).replace("service: s", &format!("service: {service}"))
    };
    let book = |service: &str, reverter: &str| book_on(&sshd, service, reverter);
    scratch.write("fatebooks/run.yaml", book("one", "'false'"));
    scratch.write("fatebooks/same-host.yaml", book("two", "'true'"));
    scratch.write(
        "fatebooks/elsewhere.yaml",
        book_on(&other, "three", "'true'")
            .replace("['127.0.0.1:", "['localhost:")
            .replace("ssh: {", "ssh: {host_key_check: off, "),
    );
    let run = |name: &str| {
        let mut command = scratch.command(&harness());
        command.args(["--exact", name, "--nocapture"]);
        command.env("NEXTEST_EXECUTION_MODE", "process-per-test").env("NEXTEST_RUN_ID", "run");
        Ran::of(&mut command, &scratch)
    };
    assert!(run("run::f").stderr.contains("Error: unreverted: "));
    let same = run("same-host::f");
    assert!(same.stderr.contains("is unreverted: its host may still be broken"), "{}", same.stderr);
    assert_eq!(run("elsewhere::f").code, Some(0));
}

fn reports() {
    let (scratch, sshd) = setup();
    for name in ["a", "b"] {
        case(&scratch, &sshd, "run", name);
    }
    let reports: Vec<String> = std::fs::read_dir(scratch.join("target/pisaura/junit"))
        .expect("reports")
        .map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("a report"))
        .collect();
    assert_eq!(reports.len(), 2);
    assert!(reports.iter().all(|report| report.matches("<testcase ").count() == 1));
}

/// nextest on the books of this folder.
fn nextest(scratch: &Scratch) -> Command {
    let mut command = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars() {
        if (name.starts_with("CARGO_") && name != "CARGO_HOME" && name != "CARGO_TARGET_DIR")
            || name.starts_with("NEXTEST")
            || name.starts_with("PISAURA_")
        {
            command.env_remove(name);
        }
    }
    let place = |name: &str, folder: &str| {
        std::env::var_os(name).unwrap_or_else(|| std::env::home_dir().expect("a home").join(folder).into())
    };
    command
        .args(["nextest", "run", "--test", "fatebooks", "--no-fail-fast", "--color", "never"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("HOME", scratch.join("home"))
        .env("CARGO_HOME", place("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", place("RUSTUP_HOME", ".rustup"))
        .env("PISAURA_LOCKS", scratch.join("locks"))
        .env("PISAURA_FATEBOOKS", scratch.join("fatebooks"))
        .env("PISAURA_OUTPUT", scratch.join("out"));
    command
}

fn nextest_itself() {
    let (scratch, sshd) = setup();
    let ran = Ran::of(&mut nextest(&scratch), &scratch);
    let all = format!("{}{}", ran.stdout, ran.stderr);
    assert!(all.contains("3 tests run: 0 passed, 3 failed"), "{all}");
    assert_eq!(sshd.read("log"), "a\n", "one after the other, and only the first");
    assert!(all.contains("skipped: failfast: `b::a@127.0.0.1:PORT` did not pass (succumbed)"), "{all}");
}

/// nextest ends whole process groups; the running case reverts its host before it goes.
fn nextest_is_interrupted() {
    for signal in ["INT", "TERM", "HUP"] {
        let (scratch, sshd) = (Scratch::new(), Sshd::start());
        scratch.write("fatebooks/b/check.sh", "#!/bin/sh\n[ $1 = --step=2 ] && exec sleep 300\nexit 0\n");
        for name in ["break", "heal"] {
            scratch.write(
                &format!("fatebooks/b/{name}.sh"),
                format!("#!/bin/sh\necho {name} >>\"$HOME/log\"\n"),
            );
        }
        let failures = ["a", "b"].map(|name| {
            format!("  - {{name: {name}, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh]}}")
        });
        scratch.write("fatebooks/b/fatebook.yaml", sshd.book("", &failures.join("\n")));
        let mut command = nextest(&scratch);
        let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nextest runs");
        wait_for("the inducer", || sshd.read("log").contains("break"));
        // cargo waits for cargo-nextest, its only child, which is the one that a terminal or a CI would reach as well.
        let children =
            std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.id())).unwrap_or_default();
        let process = children.split_whitespace().next().map_or_else(|| run.id().to_string(), str::to_owned);
        assert!(
            Command::new("kill")
                .args([&format!("-{signal}"), &process])
                .status()
                .expect("kill runs")
                .success()
        );
        let ran = Ran::from_output(&run.wait_with_output().expect("an end"), &scratch);
        assert_ne!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        assert_eq!(sshd.read("log"), "break\nheal\n", "{signal}: {}{}", ran.stdout, ran.stderr);
        wait_for("that nothing of ours is left there", || !sshd.home().join(".pisaura").exists());
    }
}
