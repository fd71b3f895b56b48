//! `pisaura check --connect`: whether failures could be tried on a host, proven on a real SSH server without breaking anything.

use std::path::Path;

use libtest_mimic::Trial;

use crate::case::Case;
use crate::common::{Ran, begin, test, wait_for};
use crate::interrupts::signal;

pub fn tests() -> Vec<Trial> {
    vec![
        test("connect::a_host_that_is_ready", ready),
        test("connect::a_host_that_is_not", not_ready),
        test("connect::each_host_for_itself", each_host),
        test("connect::a_host_that_is_in_use", in_use),
        test("connect::what_is_not_run_is_not_tried", not_run),
        test("connect::an_interrupt", interrupt),
    ]
}

fn check(case: &Case) -> Ran {
    let ran = case.pisaura(&["check", "--connect"]);
    assert!(!case.is_broken() && !case.sshd.home().join("log").exists(), "{}{}", ran.stdout, ran.stderr);
    ran
}

#[track_caller]
fn check_says(case: &Case, code: i32, line: &str) {
    let ran = check(case);
    assert_eq!(ran.code, Some(code), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.lines().any(|other| other.contains(line)),
        "no `{line}` in {}{}",
        ran.stdout,
        ran.stderr
    );
    case.check_left_clean();
}

fn ready() {
    let case = Case::new("");
    case.book("verify: ['true'], still: true", "");
    check_says(&case, 0, "b, 127.0.0.1:PORT: ready for 1 failure, as root; its dead man's switch: lives on ");
    let ran = check(&case);
    assert!(ran.stdout.ends_with("nothing was broken\n"), "{}", ran.stdout);
    // No report, no journal, no memory of it.
    assert!(!Path::new(&case.path("target")).exists(), "{}", ran.stdout);
    case.book("deadman: \"off\"", "");
    check_says(&case, 0, "its dead man's switch: there is none (`deadman` is \"off\")");
    // Without being told to it touches nobody.
    case.book("", "");
    let port = case.sshd.port;
    case.through(1, "");
    let ran = case.pisaura(&["check"]);
    assert_eq!(ran.code, Some(0), "{port}: {}{}", ran.stdout, ran.stderr);
}

fn not_ready() {
    let case = Case::new("");
    case.scratch.write("fatebooks/b/heal.sh", "#!/no/such/interpreter\n");
    check_says(&case, 3, "b, 127.0.0.1:PORT: not ready: f: ");
    let ran = check(&case);
    assert!(ran.stdout.ends_with("1 host not ready; nothing was broken\n"), "{}", ran.stdout);
    let case = Case::new("");
    case.book("inducer: [nosuch_program]", "");
    check_says(&case, 3, "nosuch_program");
    let case = Case::new("");
    case.through(case.sshd.port, "");
    check_says(&case, 3, "b, 127.0.0.1:PORT: not ready: f: the host key of ");
    // Nobody is there.
    let case = Case::new("");
    case.through(1, "");
    check_says(&case, 3, "b, 127.0.0.1:PORT: not ready: f: ");
    // A book with a mistake in it connects nobody.
    case.book("hold: 3", "");
    case.scratch.write("fatebooks/c.yaml", "service: s\n");
    let ran = check(&case);
    assert_eq!(ran.code, Some(2), "{}{}", ran.stdout, ran.stderr);
    assert!(!ran.stdout.contains("ready"), "{}", ran.stdout);
}

/// One that is not ready says nothing of the others, and each failure counts.
fn each_host() {
    let case = Case::new("");
    let more = "  - {name: g, inducer: [nosuch_program], reverter: ['true'], healthcheck: ['true'], hosts: ['127.0.0.1:1']}\n";
    case.book("hosts: [a]", more);
    let path = "fatebooks/b/fatebook.yaml";
    let own = format!("127.0.0.1:{}", case.sshd.port);
    let text = case.scratch.read(path);
    let text = text
        .replace(&own, &format!("{own}', '127.0.0.1:1"))
        .replace("hosts: [a]", &format!("hosts: ['{own}']"));
    case.scratch.write(path, text);
    let ran = check(&case);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains(": ready for 1 failure, as root;"), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains(": not ready: g: "), "{}{}", ran.stdout, ran.stderr);
}

/// Whoever has it keeps it, and what lies there is not healed.
fn in_use() {
    let case = Case::new("");
    case.waits_at("--step=2");
    let run = case.begin();
    let ran = case.pisaura(&["check", "--connect"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains(": not ready: f: "), "{}{}", ran.stdout, ran.stderr);
    assert!(case.is_broken(), "it was healed");
    case.go();
    let ran = case.end(run);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    case.check_left_clean();
}

fn not_run() {
    let case = Case::new("");
    case.book("skip: not today", "");
    let ran = check(&case);
    assert_eq!((ran.code, ran.stdout.contains("ready")), (Some(0), false), "{}", ran.stdout);
    // A demo host is not there before a run makes it, and it is said.
    case.scratch.write(
        "fatebooks/b/fatebook.yaml",
        "service: s\nhosts: ['sandbox:one']\nfailures:\n  - {name: f, inducer: ['true'], reverter: ['true'], healthcheck: ['true']}\n",
    );
    let ran = check(&case);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    let want = "b, sandbox:one: not tried: a run makes its demo hosts itself\nnothing was broken\n";
    assert!(ran.stdout.ends_with(want), "{}", ran.stdout);
}

fn interrupt() {
    let case = Case::new("");
    // A server that accepts and says nothing.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    case.through(silent.local_addr().expect("an address").port(), "");
    let run = begin(&mut case.command(&["check", "--connect"]));
    let (stream, _) = silent.accept().expect("a connection");
    signal(&run, "INT");
    let ran = case.end(run);
    assert_eq!(ran.code, Some(130), "{}{}", ran.stdout, ran.stderr);
    drop(stream);
    wait_for("nothing", || !case.sshd.home().join(".pisaura").exists());
}
