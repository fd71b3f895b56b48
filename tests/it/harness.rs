//! The test target as cargo, editors and people use it: names and filters, listing, formats, failfast, flags and variables.

use libtest_mimic::Trial;

use crate::common::{Ran, Scratch, Sshd, harness, program, test, write_scripts};

pub fn tests() -> Vec<Trial> {
    vec![
        test("harness::filters", filters),
        test("harness::exact", exact),
        test("harness::list", list),
        test("harness::ignored", ignored),
        test("harness::nothing_is_selected", nothing_is_selected),
        test("harness::what_libtest_takes", what_libtest_takes),
        test("harness::json", json),
        test("harness::output_that_is_shown", output_that_is_shown),
        test("harness::tags", tags),
        test("harness::dry_run", dry_run),
        test("harness::each_flag_has_a_variable", each_flag_has_a_variable),
        test("harness::exit_codes_of_the_program", exit_codes),
        test("harness::standard_output_that_is_closed", closed_output),
        test("harness::disk_that_is_full", full_disk),
        test("harness::folder_that_is_read_only", read_only),
        test("harness::a_first_book", first_book),
        test("harness::plain_cargo_test_touches_no_host", plain_cargo_test),
    ]
}

const COMMANDS: &str = "inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh]";

/// Two books: `b` with two failures on two hosts, `c::d` with one.
pub fn books() -> (Scratch, Sshd) {
    let (scratch, sshd) = (Scratch::new(), Sshd::start());
    write_scripts(&scratch);
    let failures =
        format!("  - {{name: leader is killed, {COMMANDS}}}\n  - {{name: it's cut off, {COMMANDS}}}");
    let book = sshd.book("", &failures).replace(
        &format!("'127.0.0.1:{}'", sshd.port),
        &format!("'127.0.0.1:{0}', 'localhost:{0}'", sshd.port),
    );
    let known = std::fs::read_to_string(sshd.join("known_hosts")).expect("known hosts");
    std::fs::write(sshd.join("known_hosts"), known.replace("[127.0.0.1]", "[127.0.0.1],[localhost]"))
        .expect("known hosts");
    let known = std::fs::read_to_string(sshd.join("known_hosts")).expect("known hosts");
    std::fs::write(sshd.join("known_hosts"), known.replace("[127.0.0.1],[localhost]:", "[*]:"))
        .expect("known hosts");
    scratch.write("fatebooks/b/fatebook.yaml", book);
    for script in ["break.sh", "heal.sh", "check.sh"] {
        scratch.write(&format!("fatebooks/c/{script}"), scratch.read(&format!("fatebooks/b/{script}")));
    }
    scratch.write(
        "fatebooks/c/d.yaml",
        sshd.book("", &format!("  - {{name: z, {COMMANDS}, skip: not today}}"))
            .replace("service: s", "service: t"),
    );
    (scratch, sshd)
}

/// The names that these arguments select, without ports.
fn names(scratch: &Scratch, sshd: &Sshd, arguments: &[&str]) -> String {
    let mut all = vec!["--list", "--format", "terse"];
    all.extend(arguments);
    let ran = scratch.harness(&all);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.stdout.replace(": test\n", ", ").replace(&format!(":{}", sshd.port), "").replace(":PORT", "")
}

fn filters() {
    let (scratch, sshd) = books();
    let check = |arguments: &[&str], wanted: &str| {
        assert_eq!(names(&scratch, &sshd, arguments), wanted, "{arguments:?}");
    };
    let (k1, k2) = ("b::leader is killed@127.0.0.1", "b::leader is killed@localhost");
    let (i1, i2) = ("b::it's cut off@127.0.0.1", "b::it's cut off@localhost");
    check(&[], &format!("{k1}, {k2}, {i1}, {i2}, c::d::z@127.0.0.1, "));
    check(&["killed"], &format!("{k1}, {k2}, "));
    check(&["killed", "c::d::"], &format!("{k1}, {k2}, c::d::z@127.0.0.1, "));
    check(&["--skip", "killed"], &format!("{i1}, {i2}, c::d::z@127.0.0.1, "));
    check(&["--skip", "killed", "--skip", "c::", "b::"], &format!("{i1}, {i2}, "));
    check(&["localhost", "--skip", "it's"], &format!("{k2}, "));
    check(&["nothing like that"], "");
    check(&["--ignored"], "c::d::z@127.0.0.1, ");
    // What was selected is what is run, and the rest is counted.
    let ran = scratch.harness(&["killed@localhost"]);
    assert!(ran.stdout.contains("running 1 test\n"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("1 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out"),
        "{}",
        ran.stdout
    );
    assert_eq!(sshd.read("log"), "break.sh\nheal.sh\n");
}

fn exact() {
    let (scratch, sshd) = books();
    let port = sshd.port;
    let one = format!("b::it's cut off@localhost:{port}");
    assert_eq!(names(&scratch, &sshd, &["--exact", &one]), "b::it's cut off@localhost, ");
    assert_eq!(
        names(&scratch, &sshd, &["--exact", "b::it's cut off"]),
        "b::it's cut off@127.0.0.1, b::it's cut off@localhost, "
    );
    assert_eq!(
        names(&scratch, &sshd, &["--exact", "b::it's cut off", "--skip", &one]),
        "b::it's cut off@127.0.0.1, "
    );
    for (name, nearest) in [
        ("b::it's cut of", "did you mean `b::it's cut off`?"),
        ("killed", "`--list` shows all names"),
        ("x::y@z", "`--list` shows all names"),
        ("", "`--list` shows all names"),
    ] {
        for arguments in [&["--exact", name][..], &["--exact", name, "--list"], &["--exact", &one, name]] {
            let ran = scratch.harness(arguments);
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments:?}");
            assert_eq!(
                ran.stderr,
                format!("error: no case is called `{name}`: {nearest}\n"),
                "{arguments:?}"
            );
        }
    }
    assert_eq!(sshd.read("log"), "");
}

fn list() {
    let (scratch, sshd) = books();
    let ran = scratch.harness(&["--list"]);
    assert!(
        ran.stdout.ends_with(": test\n\n5 tests, 0 benchmarks\n") && ran.stderr.is_empty(),
        "{}",
        ran.stdout
    );
    // Without the hosts, without credentials, without anything but the books.
    drop(sshd);
    let ran = scratch.harness(&["--list", "--format", "terse"]);
    assert_eq!((ran.stdout.lines().count(), ran.stderr.as_str()), (5, ""));
    assert!(!scratch.join("target").exists(), "a listing writes nothing");
    assert_eq!(scratch.pisaura(&["list", "--format", "terse"]).stdout, ran.stdout);
}

fn ignored() {
    let (scratch, sshd) = books();
    let ran = scratch.harness(&["c::"]);
    assert_eq!(ran.line("c::d::z@127.0.0.1:PORT"), "ignored (not today)");
    assert!(ran.stdout.contains("0 passed; 0 failed; 1 ignored") && ran.code == Some(0), "{}", ran.stdout);
    assert_eq!(sshd.read("log"), "");
    for flag in ["--ignored", "--include-ignored"] {
        let ran = scratch.harness(&["c::", flag]);
        assert_eq!(ran.line("c::d::z@127.0.0.1:PORT"), "ok", "{}", ran.stdout);
    }
    assert_eq!(sshd.read("log"), "break.sh\nheal.sh\n".repeat(2));
    assert!(scratch.harness(&["--ignored"]).stdout.contains("running 1 test\n"));
    assert_eq!(scratch.harness(&["--ignored", "--include-ignored"]).code, Some(2));
}

fn nothing_is_selected() {
    let (scratch, _sshd) = books();
    let ran = scratch.harness(&["no such case"]);
    assert_eq!(
        ran.stderr,
        "\nwarning: NOTHING WAS SELECTED, so nothing is tested: none of the 5 cases of 2 fatebooks in `fatebooks` matches what was asked for. `--list` shows their names\n"
    );
    // As libtest has it; the program takes it for a mistake.
    assert!(
        ran.stdout.contains("running 0 tests")
            && ran.stdout.contains("5 filtered out")
            && ran.code == Some(0)
    );
    assert_eq!(scratch.pisaura(&["run", "no such case"]).code, Some(2));
    let empty = Scratch::new();
    let ran = empty.harness(&[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
}

fn what_libtest_takes() {
    let (scratch, _sshd) = books();
    let check = |arguments: &[&str], code: i32| {
        let mut all = vec!["killed@localhost"];
        all.extend(arguments);
        let ran = scratch.harness(&all);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}", ran.stderr);
        ran
    };
    for arguments in [
        &["--nocapture"][..],
        &["--no-capture"],
        &["--show-output"],
        &["--test-threads", "1"],
        &["--test-threads=4"],
        &["--test"],
        &["--color", "never"],
        &["-Z", "unstable-options"],
        &["-Zunstable-options", "--format=pretty"],
        &["--format=terse"],
    ] {
        check(arguments, 0);
    }
    assert!(check(&["--color=always"], 0).stdout.contains("\u{1b}["));
    assert!(!check(&["--color=never"], 0).stdout.contains('\u{1b}'));
    assert_eq!(
        check(&["-q"], 0).stdout,
        "\nrunning 1 test\n.\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out; finished in Ts\n\n"
    );
    check(&["--logfile", "out.txt"], 0);
    assert!(scratch.read("out.txt").contains("1 passed"));
    for (arguments, said) in [
        (&["--test-threads", "0"][..], "invalid value '0' for '--test-threads <N>'"),
        (&["--test-threads", "x"], "invalid value 'x'"),
        (&["--format", "junit"], "invalid value 'junit'"),
        (&["--no-such-flag"], "unexpected argument '--no-such-flag'"),
    ] {
        let ran = check(arguments, 2);
        assert!(ran.stderr.contains(said) && ran.stdout.is_empty(), "{}", ran.stderr);
    }
    let help = scratch.harness(&["--help"]);
    assert_eq!(help.code, Some(0));
    for flag in [
        "--exact",
        "--skip",
        "--list",
        "--master",
        "--junit",
        "--fatebooks",
        "--fail-fast",
        "--tag",
        "--dry-run",
        "--no-capture",
        "PISAURA_JUNIT",
    ] {
        assert!(help.stdout.contains(flag), "{flag} is not in\n{}", help.stdout);
    }
}

fn json() {
    let (scratch, _sshd) = books();
    scratch.write("fatebooks/b/check.sh", "#!/bin/sh\necho \"\u{1b}[31m\\\"$1\\\"\"; case $PISAURA_HOST$1 in localhost--step=2) exit 1;; esac\n");
    let ran = scratch.harness(&["-Z", "unstable-options", "--format=json", "--nocapture", "killed", "c::"]);
    let events: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
        .collect();
    let told: Vec<String> = events
        .iter()
        .map(|event| {
            format!("{} {} {}", event["type"], event["event"], event["name"])
                .replace('"', "")
                .replace(":PORT", "")
        })
        .collect();
    assert_eq!(
        told,
        [
            "suite started null",
            "test started b::leader is killed@127.0.0.1",
            "test ok b::leader is killed@127.0.0.1",
            "test started b::leader is killed@localhost",
            "test failed b::leader is killed@localhost",
            "test started c::d::z@127.0.0.1",
            "test ignored c::d::z@127.0.0.1",
            "suite failed null",
        ]
    );
    assert!(
        events[4]["stdout"].as_str().expect("a text").contains("succumbed: unhealthy during the failure")
    );
    assert_eq!(ran.code, Some(101));
    let shown = scratch.harness(&["--format=json", "--show-output", "killed@127"]);
    assert!(shown.stdout.lines().all(|line| line.starts_with('{')), "{}", shown.stdout);
}

fn output_that_is_shown() {
    let (scratch, _sshd) = books();
    scratch.write("fatebooks/b/break.sh", "#!/bin/sh\necho from the inducer; printf 'no newline' >&2\n");
    let silent = scratch.harness(&["killed@localhost"]);
    assert!(!silent.stdout.contains("from the inducer") && !silent.stderr.contains("from the inducer"));
    let live = scratch.harness(&["killed@localhost", "--nocapture"]);
    assert!(
        live.stderr.contains("b::leader is killed@localhost:PORT | from the inducer\n"),
        "{}",
        live.stderr
    );
    assert!(live.stderr.contains("| no newline\n"), "{}", live.stderr);
    let shown = scratch.harness(&["killed@localhost", "--show-output"]);
    assert!(shown.stdout.contains("  2 inducer, stdout:\n    | from the inducer\n"), "{}", shown.stdout);
    assert!(shown.stdout.contains("  5 healthcheck after"), "{}", shown.stdout);
}

/// Makes the healthcheck of a book say no during this failure.
pub fn succumb_to(scratch: &Scratch, book: &str, failure: &str) {
    scratch.write(
        &format!("fatebooks/{book}/check.sh"),
        format!("#!/bin/sh\n[ \"$PISAURA_FAILURE$1\" != '{failure}--step=2' ]\n"),
    );
}

fn tags() {
    let (scratch, sshd) = (Scratch::new(), Sshd::start());
    write_scripts(&scratch);
    let failures = ["a: [x]", "b: [x, slow]", "c: []"].map(|tags| {
        let (name, tags) = tags.split_once(": ").expect("both");
        format!("  - {{name: {name}, tags: {tags}, {COMMANDS}}}")
    });
    let last = format!("  - {{name: d, {COMMANDS}}}");
    scratch.write(
        "fatebooks/b/fatebook.yaml",
        sshd.book("tags: [of-the-book]", &format!("{}\n{last}", failures.join("\n"))),
    );
    let check = |arguments: &[&str], wanted: &str| {
        assert_eq!(
            names(&scratch, &sshd, arguments).replace("@127.0.0.1", "").replace("b::", ""),
            wanted,
            "{arguments:?}"
        );
    };
    check(&["--tag", "x"], "a, b, ");
    check(&["--tag", "x", "--tag", "!slow"], "a, ");
    check(&["--tag", "!x"], "c, d, ");
    check(&["--tag", "slow,of-the-book"], "b, d, ");
    check(&["--tag", "none"], "");
}

fn dry_run() {
    let (scratch, sshd) = books();
    let ran = scratch.harness(&["--dry-run", "killed@localhost", "c::"]);
    let stdout = ran.stdout.replace(&format!(":{}", sshd.port), "").replace(":PORT", "");
    assert_eq!(
        stdout,
        "b: 1 KiB ship with it: break.sh, check.sh, heal.sh, verify.sh\n\
         b::leader is killed@localhost\n  \
         1 healthcheck  here, within 1m: check.sh\n  \
         2 inducer      on localhost, within 1m: break.sh\n  \
         3 healthcheck  here\n  \
         4 reverter     on localhost, tried for up to 4m after the inducer began: heal.sh\n  \
         5 healthcheck  here\n\
         c::d: 1 KiB ship with it: break.sh, check.sh, heal.sh\n\
         c::d::z@127.0.0.1\n  \
         skipped: not today\n\n\
         2 of 5 cases; nothing was touched\n"
    );
    assert_eq!((ran.code, ran.stderr.as_str(), sshd.read("log").as_str()), (Some(0), "", ""));
    assert!(!scratch.join("target").exists());
}

fn each_flag_has_a_variable() {
    let (scratch, sshd) = books();
    let with = |name: &str, value: &str, arguments: &[&str]| {
        Ran::of(scratch.command(&harness()).args(arguments).env(name, value), &scratch)
    };
    scratch.write("elsewhere/x.yaml", "service: s\nhosts: [a]\nfailures:\n  - {name: f, tags: [t], inducer: ['true'], reverter: ['true'], healthcheck: ['true']}\n");
    assert_eq!(
        with("PISAURA_FATEBOOKS", "elsewhere", &["--list", "--format=terse"]).stdout,
        "x::f@a: test\n"
    );
    assert!(
        with("PISAURA_MASTER", "a:b", &[])
            .stderr
            .starts_with("error: --master (PISAURA_MASTER): `a:b` is no address")
    );
    assert!(
        with("PISAURA_OFFER_TIMEOUT", "soon", &[])
            .stderr
            .contains("`soon` is no time: write `30s`, `5m` or `1h30m`")
    );
    assert!(
        with("PISAURA_TASK_RETRY", "some", &[])
            .stderr
            .contains("invalid value 'some' for '--task-retry <N>'")
    );
    assert!(with("PISAURA_SECRET_FILE", "x", &[]).stderr.contains("--principal <NAME>"));
    let help = scratch.harness(&["--help"]).stdout;
    let codes =
        "\nExit codes: 0 all passed, 101 a case failed, 2 a mistake in the command line, 130 interrupted\n";
    assert!(help.contains(codes), "{help}");
    for name in ["ROLE", "AGENT_USER", "PRINCIPAL", "CA", "ADVERTISE", "EXECUTOR_URI"] {
        assert!(help.contains(&format!("[env: PISAURA_{name}=]")), "{name}: {help}");
    }
    assert!(with("PISAURA_DRY_RUN", "1", &[]).stdout.ends_with("5 of 5 cases; nothing was touched\n"));
    assert!(with("PISAURA_DRY_RUN", "false", &["--list"]).stdout.ends_with("5 tests, 0 benchmarks\n"));
    assert_eq!(with("PISAURA_TAG", "nothing", &["--list", "--format=terse"]).stdout, "");
    assert_eq!(with("PISAURA_TEST_THREADS", "0", &[]).code, Some(2));
    let _ = with("PISAURA_OUTPUT", "reports here", &["killed@localhost"]);
    assert!(scratch.read("reports here/junit.xml").contains("leader is killed"));
    let _ = with("PISAURA_JUNIT", "a b/j.xml", &["killed@localhost"]);
    assert!(scratch.read("a b/j.xml").contains("leader is killed"));
    let _ = with("PISAURA_JUNIT_FOR", "gitlab", &["killed@localhost"]);
    assert!(scratch.read("target/pisaura/junit.xml").contains("file=\"fatebooks/b/fatebook.yaml\""));
    assert!(with("PISAURA_NOCAPTURE", "1", &["killed@localhost"]).code == Some(0));
    assert!(with("PISAURA_SHOW_OUTPUT", "1", &["killed@localhost"]).stdout.contains("5 healthcheck after"));
    succumb_to(&scratch, "b", "leader is killed");
    assert!(with("PISAURA_FAIL_FAST", "true", &["b::"]).stdout.contains("1 failed; 3 ignored"));
    scratch.write("elsewhere/x.yaml", "service: ${NOT_SET_AT_ALL}\nhosts: [a]\nfailures:\n  - {name: f, inducer: ['true'], reverter: ['true'], healthcheck: ['true']}\n");
    let strict = with("PISAURA_STRICT", "1", &["--fatebooks", "elsewhere"]);
    assert!(
        strict.stdout.contains("elsewhere/x.yaml:1:10: the variable NOT_SET_AT_ALL is not set"),
        "{}",
        strict.stdout
    );
    // Set but empty is not set.
    let mut empty = scratch.command(&harness());
    for name in [
        "MASTER",
        "FATEBOOKS",
        "OUTPUT",
        "JUNIT",
        "JUNIT_FOR",
        "TAG",
        "FAIL_FAST",
        "DRY_RUN",
        "STRICT",
        "TEST_THREADS",
        "NOCAPTURE",
        "SHOW_OUTPUT",
    ] {
        empty.env(format!("PISAURA_{name}"), "");
    }
    let ran = Ran::of(empty.arg("--list"), &scratch);
    assert!(ran.stdout.ends_with("5 tests, 0 benchmarks\n"), "{}", ran.stderr);
    drop(sshd);
}

fn exit_codes() {
    let (scratch, sshd) = books();
    let run = || scratch.pisaura(&["run", "killed@localhost"]).code;
    assert_eq!(run(), Some(0));
    succumb_to(&scratch, "b", "leader is killed");
    assert_eq!(run(), Some(1));
    scratch.write("fatebooks/b/check.sh", "#!/bin/sh\n");
    scratch.write("fatebooks/b/break.sh", "#!/bin/sh\nexit 1\n");
    assert_eq!(run(), Some(3));
    assert_eq!(scratch.pisaura(&["run", "--no-such-flag"]).code, Some(2));
    assert_eq!(scratch.pisaura(&[]).code, Some(2));
    assert_eq!(scratch.pisaura(&["--version"]).stdout, "pisaura 0.1.0\n");
    let book = scratch.read("fatebooks/b/fatebook.yaml");
    scratch.write("fatebooks/b/fatebook.yaml", format!("timeout: 1s\ndeadman: 3s\n{book}"));
    scratch.write("fatebooks/b/heal.sh", "#!/bin/sh\nexit 1\n");
    let ran = scratch.pisaura(&["run", "b::"]);
    assert_eq!(ran.code, Some(4), "{}", ran.stdout);
    // An unreverted host closes its book, failfast or not.
    assert!(
        ran.stdout.contains("1 failed; 3 ignored")
            && ran.stdout.contains("is unreverted: its host may still be broken"),
        "{}",
        ran.stdout
    );
    drop(sshd);
}

fn closed_output() {
    let (scratch, sshd) = books();
    // Whoever reads the output goes away in the middle of a case: the host is healed all the same.
    scratch.write("fatebooks/b/check.sh", "#!/bin/sh\n[ $1 = --step=2 ] && sleep 0.5\nexit 0\n");
    let mut run = scratch
        .command(&harness())
        .arg("b::")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it runs");
    crate::common::wait_for("the inducer", || sshd.read("log").contains("break.sh"));
    drop(run.stdout.take());
    let status = run.wait().expect("an end");
    assert_eq!(status.code(), Some(101));
    let log = sshd.read("log");
    assert_eq!(log.matches("break.sh").count(), log.matches("heal.sh").count(), "{log}");
    assert!(log.matches("break.sh").count() < 4, "nothing new begins: {log}");
}

fn full_disk() {
    let (scratch, sshd) = books();
    // A report that cannot be written changes no verdict, but whoever reads it would read an old one: so the run has not
    // done what it was to do.
    let ran = scratch.harness(&["killed@localhost", "--junit", "/dev/full"]);
    assert_eq!(ran.line("b::leader is killed@localhost:PORT"), "ok");
    assert_eq!(ran.code, Some(101));
    let said =
        "pisaura: warning: cannot write the JUnit report /dev/full: No space left on device (os error 28)\n";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert_eq!(sshd.read("log"), "break.sh\nheal.sh\n");
    // A device is written to, not replaced by a file.
    assert!(!std::fs::metadata("/dev/full").expect("a device").is_file());
    assert_eq!(scratch.pisaura(&["run", "killed@localhost", "--junit", "/dev/full"]).code, Some(3));
}

fn first_book() {
    let (scratch, sshd) = (Scratch::new(), Sshd::start());
    std::fs::remove_dir(scratch.join("fatebooks")).expect("a folder");
    let told = scratch.pisaura(&["init"]);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert_eq!(
        told.stdout,
        "wrote fatebooks/first/fatebook.yaml\nwrote fatebooks/first/break.sh\nwrote fatebooks/first/heal.sh\n\
         wrote fatebooks/first/check.sh\n\nNext: pisaura check, and then FIRST_HOSTS=root@host-1 pisaura run\n"
    );
    assert_eq!(scratch.pisaura(&["check"]).code, Some(0));
    let ran = scratch.pisaura(&["run"]);
    assert!(ran.stdout.contains("ignored (the variable FIRST_HOSTS is not set)"), "{}", ran.stdout);
    // With a host it is a book like any other.
    let book = scratch.read("fatebooks/first/fatebook.yaml");
    let ssh = format!(
        "ssh: {{identity_file: '{0}/identity', known_hosts: '{0}/known_hosts'}}\n",
        sshd.path().display()
    );
    scratch.write(
        "fatebooks/first/fatebook.yaml",
        format!("{ssh}{}", book.replace("/tmp/pisaura-first", "data")),
    );
    std::fs::write(sshd.home().join("data"), "x").expect("a file");
    let mut command = scratch.command(&program());
    let ran = Ran::of(command.arg("run").env("FIRST_HOSTS", format!("127.0.0.1:{}", sshd.port)), &scratch);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(sshd.read("data"), "x");
    // Nothing is written over.
    let told = scratch.pisaura(&["init"]);
    assert_eq!(
        (told.code, told.stderr.as_str()),
        (Some(2), "error: fatebooks/first/fatebook.yaml is there already, so nothing was written\n")
    );
    // In a cargo package there is a test target as well.
    let package = Scratch::new();
    package.write("Cargo.toml", "[package]\nname = \"p\"\n");
    let told = package.pisaura(&["init"]);
    assert!(
        told.stdout.contains("wrote tests/fatebooks.rs\n\nAdd this to Cargo.toml:\n\n[dev-dependencies]\n"),
        "{}",
        told.stdout
    );
    assert_eq!(
        package.read("tests/fatebooks.rs"),
        include_str!("../fatebooks.rs")
            .split_once("\n\n")
            .map_or(include_str!("../fatebooks.rs"), |(_, code)| code)
    );
}

fn read_only() {
    let (scratch, sshd) = books();
    scratch.write("reports", "a file where a folder should be");
    let ran = scratch.harness(&["killed@localhost", "--output", "reports"]);
    assert_eq!(ran.code, Some(101), "{}", ran.stdout);
    let said = "error: cannot read the journal reports/journal.jsonl: Not a directory (os error 20): `--output` names another folder\n";
    assert_eq!(ran.stderr, said);
    // What cannot be written down is not done: no file of this process may grow.
    let mut command = scratch.command(std::path::Path::new("/bin/sh"));
    command.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" killed@localhost"]).arg(harness());
    let ran = Ran::of(&mut command, &scratch);
    assert_eq!(ran.code, Some(101), "{}", ran.stdout);
    let said = "botched: nothing was begun, for it could not be written down beforehand: cannot write the journal target/pisaura/journal.jsonl: File too large (os error 27): `--output` names another folder";
    assert!(ran.stdout.contains(said), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr.contains("warning: cannot write the JUnit report target/pisaura/junit.xml"),
        "{}",
        ran.stderr
    );
    assert_eq!(sshd.read("log"), "");
}

fn plain_cargo_test() {
    // The manifest is what cargo goes by, and this line is what keeps it from touching hosts.
    let manifest =
        std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
            .expect("a manifest");
    let (_, target) = manifest.split_once("[[test]]\nname = \"fatebooks\"\n").expect("the target");
    let target = target.split("\n\n").next().expect("its lines");
    assert!(target.contains("harness = false") && target.contains("test = false"), "{target}");
}
