//! Cases that are run several times, and failures without a reverter, on a real SSH server.

use libtest_mimic::Trial;

use crate::case::Case;
use crate::common::{Ran, test};

pub fn tests() -> Vec<Trial> {
    vec![
        test("repeat::how_often_it_survives", distribution),
        test("repeat::by_name", by_name),
        test("repeat::until_one_fails", until_one_fails),
        test("repeat::in_reports", reports),
        test("repeat::no_reverter", no_reverter),
    ]
}

/// A case of which each second run fails.
fn flaky() -> Case {
    let case = Case::new("");
    let count = case.path("count");
    case.scratch.write(
        "fatebooks/b/check.sh",
        format!(
            "#!/bin/sh\n[ $1 = --step=2 ] || exit 0\necho >>'{count}'\n[ $(($(wc -l <'{count}') % 2)) = 1 ]\n"
        ),
    );
    case
}

fn run(case: &Case, arguments: &[&str]) -> Ran {
    case.pisaura(&[&["run"], arguments].concat())
}

fn distribution() {
    let case = flaky();
    let ran = run(&case, &["--repeat", "5"]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.ends_with("repeated:\n  b::f@127.0.0.1:PORT: survived 3 of 5, succumbed 2\n"),
        "{}",
        ran.stdout
    );
    for (name, result) in [("", "ok"), (" #2", "FAILED"), (" #3", "ok"), (" #4", "FAILED"), (" #5", "ok")] {
        assert_eq!(ran.line(&format!("b::f@127.0.0.1:PORT{name}")), result, "{name}: {}", ran.stdout);
    }
    // What is run again is the case.
    assert!(ran.stdout.contains("repeat it: pisaura run --exact b::f@127.0.0.1:PORT\n"), "{}", ran.stdout);
    assert_eq!(case.log(), "break\nheal\n".repeat(5));
    case.check_left_clean();
    for wrong in ["0", "-1", "many"] {
        assert_eq!(run(&case, &["--repeat", wrong]).code, Some(2));
    }
}

fn by_name() {
    let case = Case::new("");
    let name = format!("b::f@127.0.0.1:{}", case.sshd.port);
    let ran = run(&case, &["--repeat", "3", "--exact", &name]);
    assert!(ran.stdout.contains("\nrunning 3 tests\n"), "{}{}", ran.stdout, ran.stderr);
    let ran = run(&case, &["--repeat", "3", "--exact", &format!("{name} #2")]);
    assert!(ran.stdout.contains("\nrunning 1 test\n"), "{}{}", ran.stdout, ran.stderr);
    let ran = run(&case, &["--repeat", "3", "--exact", "b::f"]);
    assert!(ran.stdout.contains("\nrunning 3 tests\n"), "{}{}", ran.stdout, ran.stderr);
    let listed = case.pisaura(&["list", "--repeat", "2"]).stdout;
    assert_eq!(
        listed, "b::f@127.0.0.1:PORT: test\nb::f@127.0.0.1:PORT #2: test\n\n2 tests, 0 benchmarks\n",
        "{listed}"
    );
}

fn until_one_fails() {
    let case = flaky();
    let ran = run(&case, &["--repeat", "6", "--fail-fast"]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains(": survived 1 of 6, skipped 4, succumbed 1\n"), "{}", ran.stdout);
    assert_eq!(case.log(), "break\nheal\n".repeat(2));
}

fn reports() {
    let case = flaky();
    let ran = run(&case, &["--repeat", "2"]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    let junit = case.scratch.read("target/pisaura/junit.xml");
    let name = format!("f@127.0.0.1:{}", case.sshd.port);
    for name in [format!("name=\"{name}\""), format!("name=\"{name} #2\"")] {
        assert_eq!(junit.matches(&name).count(), 1, "{name} in {junit}");
    }
}

/// The failure ends by itself, and the book says so.
fn no_reverter() {
    let case = Case::new("");
    case.scratch.write("fatebooks/b/break.sh", "#!/bin/sh\necho break >>\"$HOME/log\"\n");
    case.book("reverter: none, because: it ends by itself", "");
    let ran = run(&case, &["--show-output"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), "break\n");
    case.check_left_clean();
    let ran = run(&case, &["--dry-run"]);
    assert!(ran.stdout.contains("  4 reverter     none: it ends by itself\n"), "{}", ran.stdout);
    // That holds for the whole book, too, and each failure may have its own.
    let failure = "  - {name: f, inducer: ['true'], healthcheck: ['true']}\n  - {name: own, inducer: [break.sh], reverter: [heal.sh], healthcheck: ['true']}\n";
    case.scratch.write(
        "fatebooks/b/fatebook.yaml",
        case.sshd.book("reverter: none\nbecause: nothing is broken\n", failure),
    );
    let ran = run(&case, &[]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), "break\nbreak\nheal\n");
}
