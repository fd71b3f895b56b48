//! Every verdict, reached against a real SSH server: libtest's line, what is told of it, and the JUnit element, whole.

use libtest_mimic::Trial;

use crate::common::{Ran, Scratch, Sshd, is_on_a_master, steady, test, write_scripts};

/// Each test and its name.
pub const ALL: [(&str, fn()); 15] = [
    ("survived", survived),
    ("unfit", unfit),
    ("succumbed", succumbed),
    ("succumbed_to_being_healthy", succumbed_to_being_healthy),
    ("not_recovered", not_recovered),
    ("botched_by_the_inducer", botched_by_the_inducer),
    ("botched_by_verify", botched_by_verify),
    ("botched_by_the_time_limit", botched_by_the_time_limit),
    ("botched_by_the_connection", botched_by_the_connection),
    ("botched_by_a_healthcheck_without_an_answer", botched_by_no_answer),
    ("unreverted", unreverted),
    ("skipped", skipped),
    ("skipped_by_only_if", skipped_by_only_if),
    ("not_skipped_by_only_if", not_skipped_by_only_if),
    ("several_are_all_told", several),
];

pub fn tests() -> Vec<Trial> {
    ALL.into_iter().map(|(name, run)| test(&format!("verdicts::{name}"), run)).collect()
}

/// Takes out, of what is told of a case, on which agent it ran, which has to be told where it ran on one.
#[track_caller]
fn wherever(text: &str) -> String {
    let is_place = |line: &&str| line.starts_with("  on agent ");
    assert!(
        text.contains("\n  on agent localhost\n") == is_on_a_master() || !text.contains("result\n"),
        "{text}"
    );
    let mut kept: Vec<&str> = text.lines().filter(|line| !is_place(line)).collect();
    if text.ends_with('\n') {
        kept.push("");
    }
    kept.join("\n")
}

/// A case on a real host: its scripts, its keys, and what comes of it.
struct Setup {
    scratch: Scratch,
    sshd: Sshd,
}

impl Setup {
    fn new() -> Self {
        let scratch = Scratch::new();
        write_scripts(&scratch);
        Self { scratch, sshd: Sshd::start() }
    }

    /// The healthcheck says no at this step.
    fn no_at(self, steps: &str) -> Self {
        self.scratch.write(
            "fatebooks/b/check.sh",
            format!("#!/bin/sh\ncase $PISAURA_STEP in {steps}) echo \"no at $1\" >&2; exit 3;; esac\n"),
        );
        self
    }

    fn script(self, name: &str, text: &str) -> Self {
        self.scratch.write(&format!("fatebooks/b/{name}"), format!("#!/bin/sh\n{text}\n"));
        self
    }

    fn run(&self, keys: &str) -> Ran {
        let timeout = if keys.contains("timeout") { "" } else { "timeout: 5s, " };
        let healthcheck = if keys.contains("healthcheck") { "" } else { "healthcheck: [check.sh], " };
        let failure = format!(
            "  - {{name: f, inducer: [break.sh], reverter: [heal.sh], {healthcheck}{timeout}{keys}}}"
        );
        self.scratch.write("fatebooks/b/fatebook.yaml", self.sshd.book("", &failure));
        self.scratch.harness(&[])
    }

    /// Compares the JUnit element, whole; `TOLD` in it stands for what the terminal tells.
    #[track_caller]
    fn check_element(&self, told: &str, junit: &str) {
        let port = self.sshd.port.to_string();
        let xml =
            steady(&self.scratch.read("target/pisaura/junit.xml"), &self.scratch).replace(&port, "PORT");
        let (_, element) = xml.split_once("<testcase ").unwrap_or_else(|| panic!("no case in {xml}"));
        let (element, _) = element.split_once("</testcase>").expect("an end");
        let junit = junit.replace("TOLD", &told.replace(&port, "PORT"));
        let head = "name=\"f@127.0.0.1:PORT\" time=\"T\" classname=\"pisaura.b.127_0_0_1:PORT\">";
        assert_eq!(wherever(element), format!("{head}{junit}"), "{xml}");
    }

    /// Runs it, and compares exit code, libtest's line, the failure's text, the JUnit element's beginning and what ran.
    #[track_caller]
    fn check(&self, keys: &str, code: i32, line: &str, told: &str, junit: &str, log: &str) {
        let ran = self.run(keys);
        let shown = "b::f@127.0.0.1:PORT";
        assert_eq!(ran.line(shown), line, "{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.code, Some(code));
        let told = if told.is_empty() {
            String::new()
        } else {
            format!(
                "{told}\nfatebooks/b/fatebook.yaml:6\nrepeat it: cargo test --test fatebooks -- --exact b::f@127.0.0.1:PORT"
            )
        };
        assert_eq!(wherever(&ran.failure(shown)), told, "{}", ran.stdout);
        self.check_element(&told, junit);
        assert_eq!(self.sshd.read("log"), log);
        let left: Vec<_> = std::fs::read_dir(self.sshd.home())
            .expect("a home")
            .map(|entry| entry.expect("an entry").file_name())
            .filter(|name| name != "log")
            .collect();
        assert_eq!(
            left.is_empty(),
            !line.contains("FAILED") || !told.contains("heal the host"),
            "left there: {left:?}"
        );
    }
}

fn table(rows: &[(&str, &str)]) -> String {
    let mut table = format!("\n  {:<22}{:>10}  result\n", "step", "took");
    for (step, result) in rows {
        table.push_str(&format!("  {step} T s  {result}\n"));
    }
    table
}

fn survived() {
    Setup::new().check(
        "",
        0,
        "ok",
        "",
        &format!(
            "<system-out><![CDATA[{}]]></system-out>",
            table(&[
                ("1 healthcheck before", "ok"),
                ("2 prepare", "ok"),
                ("2 inducer", "ok"),
                ("3 healthcheck during", "healthy once, watched for T s"),
                ("4 reverter", "ok"),
                ("5 healthcheck after", "ok"),
            ])
        ),
        "break.sh\nheal.sh\n",
    );
}

fn unfit() {
    let message = "unfit: unhealthy before anything was broken (exit status 3): no at --step=1";
    Setup::new().no_at("1").check(
        "",
        101,
        "FAILED",
        &format!(
            "{message}\n{}\n  1 healthcheck before, stderr:\n    | no at --step=1\n",
            table(&[("1 healthcheck before", "exit status 3")])
        ),
        &element("failure", "UnhealthyBefore", message),
        "",
    );
}

/// The element of a case that did not pass; both of its texts are what the terminal tells.
fn element(kind: &str, name: &str, message: &str) -> String {
    format!(
        "<{kind} type=\"{name}\" message=\"{message}\"><![CDATA[TOLD]]></{kind}><system-out><![CDATA[TOLD]]></system-out>"
    )
}

fn succumbed() {
    let message = "succumbed: unhealthy during the failure (exit status 3): no at --step=2";
    Setup::new().no_at("2").check(
        "",
        101,
        "FAILED",
        &format!(
            "{message}\n{}\n  3 healthcheck during, stderr:\n    | no at --step=2\n",
            table(&[
                ("1 healthcheck before", "ok"),
                ("2 prepare", "ok"),
                ("2 inducer", "ok"),
                ("3 healthcheck during", "exit status 3"),
                ("4 reverter", "ok"),
                ("5 healthcheck after", "ok"),
            ])
        ),
        &element("failure", "UnhealthyDuring", message),
        "break.sh\nheal.sh\n",
    );
}

fn succumbed_to_being_healthy() {
    let message = "succumbed: healthy during the failure, and expected to be unhealthy (exit status 0)";
    Setup::new().check(
        "expect: unhealthy",
        101,
        "FAILED",
        &format!(
            "{message}\n{}",
            table(&[
                ("1 healthcheck before", "ok"),
                ("2 prepare", "ok"),
                ("2 inducer", "ok"),
                ("3 healthcheck during", "ok"),
                ("4 reverter", "ok"),
                ("5 healthcheck after", "ok"),
            ])
        ),
        &element("failure", "HealthyDuring", message),
        "break.sh\nheal.sh\n",
    );
}

fn not_recovered() {
    let message = "not recovered: unhealthy after the revert (exit status 3): no at --step=3";
    Setup::new().no_at("3").check(
        "",
        101,
        "FAILED",
        &format!(
            "{message}\n{}\n  5 healthcheck after, stderr:\n    | no at --step=3\n",
            table(&[
                ("1 healthcheck before", "ok"),
                ("2 prepare", "ok"),
                ("2 inducer", "ok"),
                ("3 healthcheck during", "healthy once, watched for T s"),
                ("4 reverter", "ok"),
                ("5 healthcheck after", "exit status 3"),
            ])
        ),
        &element("failure", "UnhealthyAfter", message),
        "break.sh\nheal.sh\n",
    );
}

fn botched_by_the_inducer() {
    let message = "botched: the inducer failed: exit status 7";
    Setup::new().script("break.sh", "echo broke >>\"$HOME/log\"; echo partly; exit 7").check(
        "",
        101,
        "FAILED",
        &format!(
            "{message}\n{}\n  2 inducer, stdout:\n    | partly\n",
            table(&[
                ("1 healthcheck before", "ok"),
                ("2 prepare", "ok"),
                ("2 inducer", "exit status 7"),
                ("4 reverter", "ok"),
                ("5 healthcheck after", "ok"),
            ])
        ),
        &element("error", "InducerFailed", message),
        "broke\nheal.sh\n",
    );
}

fn botched_by_verify() {
    let message = "botched: the failure did not take hold: verify ended with exit status 1";
    Setup::new().script("verify.sh", "exit 1").check(
        "verify: [verify.sh]",
        101,
        "FAILED",
        &format!(
            "{message}\n{}",
            table(&[
                ("1 healthcheck before", "ok"),
                ("2 prepare", "ok"),
                ("2 inducer", "ok"),
                ("2 verify", "exit status 1"),
                ("4 reverter", "ok"),
                ("5 healthcheck after", "ok"),
            ])
        ),
        &element("error", "NotInduced", message),
        "break.sh\nheal.sh\n",
    );
}

fn botched_by_the_time_limit() {
    let message = "botched: inducer: took longer than its time limit of 2s";
    let setup =
        Setup::new().script("break.sh", "echo $$ >\"$HOME/pid\"; echo broke >>\"$HOME/log\"; sleep 300");
    // A process that was ended is gone, whether or not its own shell had children.
    setup.scratch.write("fatebooks/b/heal.sh", "#!/bin/sh\nkill -0 \"$(cat \"$HOME/pid\")\" 2>/dev/null && echo still there >>\"$HOME/log\"\nrm \"$HOME/pid\"\necho heal.sh >>\"$HOME/log\"\n");
    setup.check(
        "timeout: 2s",
        101,
        "FAILED",
        &format!(
            "{message}\n{}",
            table(&[
                ("1 healthcheck before", "ok"),
                ("2 prepare", "ok"),
                ("2 inducer", "time limit"),
                ("4 reverter", "ok"),
                ("5 healthcheck after", "ok"),
            ])
        ),
        &element("error", "TimeLimit", message),
        "broke\nheal.sh\n",
    );
}

fn botched_by_the_connection() {
    let mut setup = Setup::new();
    // The server's port is closed, but it stays the test's own until its end.
    let held = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    setup.sshd.port = held.local_addr().expect("an address").port();
    drop(held);
    let refused = "cannot reach 127.0.0.1 at port PORT: connection refused: nothing listens there";
    let message = format!("botched: prepare: {refused}, tried 4 times in Ts");
    let ran = setup.run("");
    let port = setup.sshd.port.to_string();
    let told = wherever(&ran.failure("b::f@127.0.0.1:PORT")).replace(&port, "PORT");
    assert_eq!(
        told,
        format!(
            "{}\n{}\nfatebooks/b/fatebook.yaml:6\nrepeat it: cargo test --test fatebooks -- --exact b::f@127.0.0.1:PORT",
            message,
            table(&[("1 healthcheck before", "ok"), ("2 prepare", "ConnectionFailed, tried 4 times")])
        ),
        "{}",
        ran.stdout
    );
    assert_eq!((ran.code, ran.line("b::f@127.0.0.1:PORT").as_str()), (Some(101), "FAILED"));
    setup.check_element(&told, &element("error", "ConnectionFailed", &message));
}

fn botched_by_no_answer() {
    let message =
        "botched: the healthcheck before gave no answer: its program could not be run (exit status 127)";
    Setup::new().check(
        "healthcheck: ['true && /nowhere/check']",
        101,
        "FAILED",
        &format!(
            "{message}\n{}\n  1 healthcheck before, stderr:\n    | sh: 1: /nowhere/check: not found\n",
            table(&[("1 healthcheck before", "exit status 127")])
        ),
        &element("error", "HealthcheckFailed", message),
        "",
    );
}

fn unreverted() {
    let setup =
        Setup::new().no_at("2").script("heal.sh", "echo tried >>\"$HOME/log\"; echo cannot >&2; exit 9");
    let ran = setup.run("deadman: 6s, timeout: 1500ms");
    let shown = "b::f@127.0.0.1:PORT";
    assert_eq!((ran.code, ran.line(shown).as_str()), (Some(101), "FAILED"));
    let told = wherever(&ran.failure(shown));
    let tried = told.split("tried ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
    let tried = tried.expect("how often");
    // Some of them were the dead man's switch's.
    let all = setup.sshd.read("log").matches("tried").count();
    assert!(tried >= 2 && all >= tried, "tried {tried} times, and {all} in all");
    let heal =
        told.lines().find_map(|line| line.strip_prefix("heal the host: ")).expect("a command").to_owned();
    let message = format!(
        "unreverted: the reverter did not succeed, tried {tried} times: exit status 9: the host may still be broken"
    );
    let rows = table(&[
        ("1 healthcheck before", "ok"),
        ("2 prepare", "ok"),
        ("2 inducer", "ok"),
        ("3 healthcheck during", "exit status 3"),
        ("4 reverter", &format!("exit status 9, tried {tried} times")),
    ]);
    assert_eq!(
        told,
        format!(
            "{message}\nsuccumbed: unhealthy during the failure (exit status 3): no at --step=2\n{rows}\n  \
             3 healthcheck during, stderr:\n    | no at --step=2\n\n  4 reverter, stderr:\n    | cannot\n\n\
             heal the host: {heal}\n\nfatebooks/b/fatebook.yaml:6\n\
             repeat it: cargo test --test fatebooks -- --exact b::f@127.0.0.1:PORT"
        )
    );
    setup.check_element(&told, &element("error", "Unreverted", &message));
    // The end of the run shouts it, and the command that it names heals the host.
    assert!(ran.stderr.contains("!!! A HOST IS LEFT UNREVERTED, and may still be broken:\n!!!   127.0.0.1:PORT by b::f@127.0.0.1:PORT\n!!!     to heal it: ssh -p "), "{}", ran.stderr);
    let script = heal.rsplit(' ').next().expect("a script");
    std::fs::write(setup.sshd.home().join("log"), "").expect("a log");
    let script = script.replace("DIR", &setup.scratch.path().display().to_string());
    std::process::Command::new("sh").arg(script).env("HOME", setup.sshd.home()).status().expect("sh runs");
    assert!(setup.sshd.read("log").contains("tried\n"));
}

fn skipped() {
    Setup::new().check(
        "skip: not on a Sunday",
        0,
        "ignored (not on a Sunday)",
        "",
        "<skipped type=\"Skipped\" message=\"not on a Sunday\"><![CDATA[not on a Sunday]]></skipped>",
        "",
    );
}

fn skipped_by_only_if() {
    let reason = "not for this host as it is now: it is a follower";
    Setup::new()
        .script("verify.sh", "echo \"$PISAURA_STEP\" >>\"$HOME/log\"; echo it is a follower; exit 1")
        .check(
            "only_if: [verify.sh]",
            0,
            &format!("ignored ({reason})"),
            "",
            &format!("<skipped type=\"NotForThisHost\" message=\"{reason}\"><![CDATA[{reason}]]></skipped>"),
            "only_if\n",
        );
}

fn not_skipped_by_only_if() {
    Setup::new().script("verify.sh", "echo verify.sh >>\"$HOME/log\"").check(
        "only_if: [verify.sh]",
        0,
        "ok",
        "",
        &format!(
            "<system-out><![CDATA[{}]]></system-out>",
            table(&[
                ("1 prepare", "ok"),
                ("1 only if", "ok"),
                ("1 healthcheck before", "ok"),
                ("2 inducer", "ok"),
                ("3 healthcheck during", "healthy once, watched for T s"),
                ("4 reverter", "ok"),
                ("5 healthcheck after", "ok"),
            ])
        ),
        "verify.sh\nverify.sh\nbreak.sh\nheal.sh\n",
    );
}

fn several() {
    let message = "botched: the inducer failed: exit status 7";
    Setup::new().no_at("3").script("break.sh", "echo broke >>\"$HOME/log\"; exit 7").check(
        "",
        101,
        "FAILED",
        &format!(
            "{message}\nnot recovered: unhealthy after the revert (exit status 3): no at --step=3\n{}\n  5 healthcheck after, stderr:\n    | no at --step=3\n",
            table(&[
                ("1 healthcheck before", "ok"),
                ("2 prepare", "ok"),
                ("2 inducer", "exit status 7"),
                ("4 reverter", "ok"),
                ("5 healthcheck after", "exit status 3"),
            ])
        ),
        &element("error", "InducerFailed", message),
        "broke\nheal.sh\n",
    );
}
