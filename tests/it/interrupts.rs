//! Ctrl-C, SIGTERM and SIGHUP, once and twice, at each step of a case: the host is reverted, and told of.

use std::io::{BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};

use libtest_mimic::Trial;

use crate::common::{Scratch, Sshd, harness, program, test, wait_for, wait_for_line};

pub fn tests() -> Vec<Trial> {
    vec![
        test("interrupts::a_healthcheck_ends_with_its_run", healthcheck_ends_with_us),
        test("interrupts::a_process_that_was_only_about_to_start", about_to_start),
        test("interrupts::before_the_inducer", before),
        test("interrupts::in_the_inducer", in_the_inducer),
        test("interrupts::in_the_healthcheck_during", during),
        test("interrupts::in_the_reverter", in_the_reverter),
        test("interrupts::in_the_last_healthcheck", after),
        test("interrupts::while_a_reverter_is_tried_again", while_tried_again),
        test("interrupts::while_waiting_for_another_run", while_waiting),
        test("interrupts::while_connecting", while_connecting),
        test("interrupts::a_terminal_that_is_closed", closed_terminal),
        test("interrupts::nohup_is_respected", nohup),
        test("interrupts::twice", twice),
        test("interrupts::reports_tell_of_it", reports),
        test("interrupts::demo_hosts_leave_nothing", demo_hosts),
    ]
}

/// Two cases of which the first one stops at a step until it is ended.
struct Stopped {
    scratch: Scratch,
    sshd: Sshd,
    run: Child,
}

/// A script that writes to the log of the home that it runs in, and stops there if it is the one, until it may go on.
fn script(name: &str, stop: &str) -> String {
    let stop = if stop == name { "until [ -e \"$HOME/go\" ]; do sleep 0.05; done" } else { "" };
    format!("#!/bin/sh\necho {name} >>\"$HOME/log\"\n{stop}\n")
}

fn stop_at(step: &str, program: &std::path::Path, arguments: &[&str]) -> Stopped {
    let (scratch, sshd) = (Scratch::new(), Sshd::start());
    for name in ["break.sh", "heal.sh"] {
        scratch.write(&format!("fatebooks/b/{name}"), script(name, step));
    }
    let checks = scratch.join("checks").display().to_string();
    scratch.write(
        "fatebooks/b/check.sh",
        format!("#!/bin/sh\necho $1 >>'{checks}'\n[ $1 = '{step}' ] && exec sleep 300\nexit 0\n"),
    );
    let failures = ["f", "g"].map(|name| {
        format!("  - {{name: {name}, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh]}}")
    });
    scratch.write("fatebooks/b/fatebook.yaml", sshd.book("", &failures.join("\n")));
    let run = scratch
        .command(program)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    if step.starts_with("--") {
        wait_for(step, || scratch.read("checks").contains(step));
    } else {
        wait_for(step, || sshd.read("log").contains(step));
    }
    Stopped { scratch, sshd, run }
}

pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(status.expect("kill runs").success());
}

impl Stopped {
    /// Sends a signal, and says what was printed and with which code it ended.
    fn end_by(mut self, name: &str) -> (String, String, Option<i32>, String) {
        signal(&self.run, name);
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.run.stdout.take().expect("a pipe").read_to_string(&mut stdout).expect("a text");
        self.run.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("a text");
        let code = self.run.wait().expect("an end").code();
        let log = self.sshd.read("log");
        drop(self.scratch);
        (stdout, stderr, code, log)
    }
}

fn result_of(stdout: &str, case: &str) -> String {
    let line = stdout.lines().find(|line| line.starts_with(&format!("test b::{case}@"))).unwrap_or_default();
    line.split_once(" ... ").map(|(_, result)| result.to_owned()).unwrap_or_default()
}

const REVERTING: &str = "reverting 1 running case; press again to leave at once";

fn check(step: &str, first: &str, log: &str, waits: &str) {
    for (name, shown) in [("INT", "SIGINT"), ("TERM", "SIGTERM"), ("HUP", "SIGHUP")] {
        let (stdout, stderr, code, ran) = stop_at(step, &harness(), &[]).end_by(name);
        assert_eq!(ran, log, "{step} by {name}: {stderr}");
        assert_eq!(code, Some(130), "{stdout}");
        // One of those that were not tried fails, so that no line says "test result: ok".
        assert_eq!(result_of(&stdout, "f"), "FAILED");
        assert!(stdout.contains(&format!("\n{first}\n")) && !stdout.contains("test result: ok"), "{stdout}");
        assert_eq!(result_of(&stdout, "g"), "ignored (interrupted before it began)");
        assert!(stderr.contains(&format!("pisaura: interrupted by {shown}: {waits}\n")), "{stderr}");
    }
}

fn before() {
    check("--step=1", "interrupted before the inducer", "", "nothing is broken; ending 1 running case");
}

fn in_the_inducer() {
    check(
        "break.sh",
        "interrupted after the inducer; the host was reverted",
        "break.sh\nheal.sh\n",
        REVERTING,
    );
}

fn during() {
    check(
        "--step=2",
        "interrupted after the inducer; the host was reverted",
        "break.sh\nheal.sh\n",
        REVERTING,
    );
}

fn after() {
    let waits = "nothing is broken; ending 1 running case";
    check(
        "--step=3",
        "interrupted in the last healthcheck; the host was reverted",
        "break.sh\nheal.sh\n",
        waits,
    );
}

fn in_the_reverter() {
    // It is not ended: it is what is wanted.
    let stopped = stop_at("heal.sh", &harness(), &[]);
    signal(&stopped.run, "INT");
    let Stopped { scratch, sshd, mut run } = stopped;
    let mut stderr = BufReader::new(run.stderr.take().expect("a pipe"));
    wait_for_line(&mut stderr, "reverting 1 running case");
    std::fs::write(sshd.home().join("go"), "").expect("a file");
    let output = run.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(130));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("\ninterrupted after the inducer; the host was reverted\n"), "{stdout}");
    assert_eq!(sshd.read("log"), "break.sh\nheal.sh\n");
    drop(scratch);
}

fn while_tried_again() {
    let stopped = stop_at("--step=2", &harness(), &[]);
    let (scratch, sshd, mut run) = (stopped.scratch, stopped.sshd, stopped.run);
    // From here on the host cannot be reached for a while.
    let pid = sshd.pid().to_string();
    let children = Command::new("pgrep").args(["-P", &pid]).output().expect("pgrep runs");
    assert!(Command::new("kill").args(["-STOP", &pid]).status().expect("kill runs").success());
    for child in String::from_utf8_lossy(&children.stdout).lines() {
        let _ = Command::new("kill").args(["-KILL", child]).status();
    }
    signal(&run, "TERM");
    let mut stderr = BufReader::new(run.stderr.take().expect("a pipe"));
    wait_for_line(&mut stderr, "reverter: 127.0.0.1");
    assert!(Command::new("kill").args(["-CONT", &pid]).status().expect("kill runs").success());
    assert_eq!(run.wait().expect("an end").code(), Some(130));
    assert_eq!(sshd.read("log"), "break.sh\nheal.sh\n");
    drop(scratch);
}

fn while_waiting() {
    let first = stop_at("--step=1", &harness(), &[]);
    let mut second = first
        .scratch
        .command(&harness())
        .args(["--output", "second"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stderr = BufReader::new(second.stderr.take().expect("a pipe"));
    wait_for_line(
        &mut stderr,
        &format!(
            "waiting for the host 127.0.0.1 port {}, which process {} has",
            first.sshd.port,
            first.run.id()
        ),
    );
    signal(&second, "INT");
    assert_eq!(second.wait().expect("an end").code(), Some(130));
    let (_, _, code, _) = first.end_by("INT");
    assert_eq!(code, Some(130));
}

fn while_connecting() {
    // A host that says nothing, and all the time in the world to wait for it.
    let scratch = Scratch::new();
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = silent.local_addr().expect("an address").port();
    scratch.write("fatebooks/b/fatebook.yaml", format!("service: s\nhosts: ['127.0.0.1:{port}']\nssh: {{connect_timeout: 1h, host_key_check: off}}\ntimeout: 1h\nfailures:\n  - {{name: f, inducer: ['true'], reverter: ['true'], healthcheck: ['true']}}\n"));
    let run =
        scratch.command(&harness()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let (client, _) = silent.accept().expect("a client");
    signal(&run, "INT");
    let output = run.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(130));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("\ninterrupted before the inducer\n"), "{stdout}");
    drop(client);
}

fn closed_terminal() {
    // It sends SIGHUP more than once, and that is no wish to leave a broken host behind.
    let stopped = stop_at("--step=2", &harness(), &[]);
    for _ in 0..5 {
        signal(&stopped.run, "HUP");
    }
    let (_, _, code, ran) = stopped.end_by("HUP");
    assert_eq!((code, ran.as_str()), (Some(130), "break.sh\nheal.sh\n"));
}

fn nohup() {
    let scratch = Scratch::new();
    let sshd = Sshd::start();
    scratch.write(
        "fatebooks/b/check.sh",
        "#!/bin/sh\n[ $1 != --step=2 ] || until [ -e go ]; do sleep 0.05; done\n"
            .replace("-e go", &format!("-e '{}'", scratch.join("go").display())),
    );
    scratch.write(
        "fatebooks/b/fatebook.yaml",
        sshd.book("", "  - {name: f, inducer: ['true'], reverter: ['true'], healthcheck: [check.sh]}"),
    );
    let mut run = scratch
        .command(std::path::Path::new("nohup"))
        .arg(harness())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    wait_for("the second healthcheck", || scratch.read("target/pisaura/junit.xml").contains("may be dirty"));
    signal(&run, "HUP");
    scratch.write("go", "");
    assert_eq!(run.wait().expect("an end").code(), Some(0));
}

fn twice() {
    let mut stopped = stop_at("heal.sh", &program(), &["run"]);
    signal(&stopped.run, "INT");
    let mut stderr = BufReader::new(stopped.run.stderr.take().expect("a pipe"));
    wait_for_line(&mut stderr, "press again to leave at once");
    // As somebody does who has no patience: a second one that comes with the first says nothing, one that comes later does.
    wait_for("its end", || {
        let ended = stopped.run.try_wait().expect("a child").is_some();
        if !ended {
            signal(&stopped.run, "INT");
        }
        ended
    });
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("a text");
    assert!(rest.contains("pisaura: warning: SIGINT again: leaving at once\n"), "{rest}");
    assert_eq!(stopped.run.wait().expect("an end").code(), Some(4), "{rest}");
    assert!(
        rest.contains("!!! A HOST IS LEFT UNREVERTED, and may still be broken:\n!!!   127.0.0.1:"),
        "{rest}"
    );
    let heal = rest.lines().find_map(|line| line.strip_prefix("!!!     to heal it: ")).expect("a command");
    // It is there, and it heals.
    let script = heal.rsplit(' ').next().expect("a script");
    let mut by_hand = Command::new("sh")
        .arg(script)
        .env("HOME", stopped.sshd.home())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sh runs");
    let mut told = BufReader::new(by_hand.stderr.take().expect("a pipe"));
    wait_for_line(&mut told, "a reverter is at work: it is waited for");
    std::fs::write(stopped.sshd.home().join("go"), "").expect("a file");
    assert!(by_hand.wait().expect("an end").success());
    assert_eq!(stopped.sshd.read("log"), "break.sh\nheal.sh\n", "one at a time");
}

fn reports() {
    let stopped = stop_at("--step=2", &harness(), &[]);
    let path = stopped.scratch.join("target/pisaura/junit.xml");
    // While it runs it stands there as what it would be if the run ended now.
    wait_for("the report", || {
        std::fs::read_to_string(&path).unwrap_or_default().contains("interrupted, may be dirty")
    });
    signal(&stopped.run, "TERM");
    let Stopped { scratch, mut run, sshd } = stopped;
    run.wait().expect("an end");
    let xml = scratch.read("target/pisaura/junit.xml");
    assert!(
        xml.contains(
            "<skipped type=\"Interrupted\" message=\"interrupted after the inducer; the host was reverted\">"
        ),
        "{xml}"
    );
    assert!(xml.contains("<skipped type=\"Skipped\" message=\"interrupted before it began\">"), "{xml}");
    drop(sshd);
}

/// The demo book, interrupted: neither a process nor a folder is left.
fn demo_hosts() {
    let scratch = Scratch::new();
    let mut command = scratch.command(&harness());
    command
        .args(["--fatebooks", concat!(env!("CARGO_MANIFEST_DIR"), "/fatebooks"), "demo::"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    for kill in ["INT", "KILL"] {
        let mut run = command.spawn().expect("it runs");
        let mut stderr = BufReader::new(run.stderr.take().expect("a pipe"));
        wait_for_line(&mut stderr, "inducer: ok");
        signal(&run, kill);
        run.wait().expect("an end");
        let mark = format!("PISAURA_SANDBOX_HOME={}/", scratch.join("tmp").display());
        let mine = || {
            std::fs::read_dir("/proc").expect("processes").flatten().any(|entry| {
                let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(mark.as_bytes()))
            })
        };
        wait_for("the end of all processes of the demo hosts", || !mine());
        if kill == "INT" {
            let left: Vec<_> = std::fs::read_dir(scratch.join("tmp"))
                .expect("a folder")
                .map(|entry| entry.expect("an entry").file_name())
                .collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

/// A healthcheck ends with the run that has begun it, however that ends.
fn healthcheck_ends_with_us() {
    for way in ["KILL", "INT INT"] {
        let (scratch, sshd) = (Scratch::new(), Sshd::start());
        let mark = format!("{}", scratch.join("beat").display());
        // It would go on for ever, and so would what it has begun.
        scratch.write(
            "fatebooks/b/check.sh",
            format!("#!/bin/sh\ntrap '' INT\n(while :; do echo >>'{mark}'; sleep 0.1; done) &\nwait\n"),
        );
        scratch.write(
            "fatebooks/b/fatebook.yaml",
            sshd.book("", "  - {name: f, inducer: ['true'], reverter: ['true'], healthcheck: [check.sh]}"),
        );
        let mut run = scratch
            .command(&program())
            .arg("run")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        wait_for("the healthcheck", || scratch.join("beat").exists());
        for signal in way.split(' ') {
            let sent = Command::new("kill").args([&format!("-{signal}"), &run.id().to_string()]).status();
            assert!(sent.is_ok());
            // Two signals at once are one.
            std::thread::sleep(std::time::Duration::from_millis(600));
        }
        run.wait().expect("an end");
        let running = || {
            let output = Command::new("pgrep").args(["-f", &scratch.join("").display().to_string()]).output();
            String::from_utf8_lossy(&output.expect("pgrep runs").stdout).into_owned()
        };
        wait_for(way, || running().is_empty());
    }
}

/// A run that is killed between the start of a process and the word of it: what the supervisor was told is only that one would be.
fn about_to_start() {
    let scratch = Scratch::new();
    let mut supervisor = Command::new(program())
        .arg("supervisor")
        .env("PISAURA_SUPERVISOR", "1")
        .stdin(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut pipe = supervisor.stdin.take().expect("a pipe");
    for line in ["? begun", "? over", "- over", "? never"] {
        writeln!(pipe, "{line}").expect("it reads");
    }
    drop(pipe);
    // They become what they are to be only after the end of whoever began them, as can be on a busy machine.
    let process = |name: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 30 & wait"]).env("PISAURA_PROCESS", name).process_group(0);
        command.current_dir(scratch.join("")).spawn().expect("it runs")
    };
    let (mut begun, mut over, mut other) = (process("begun"), process("over"), process("ove"));
    assert!(supervisor.wait().expect("an end").success());
    assert_eq!(begun.wait().expect("an end").signal(), Some(15));
    for process in [&mut over, &mut other] {
        assert!(process.try_wait().expect("a process").is_none(), "it was not ours to end");
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", process.id())]).status();
        process.wait().expect("an end");
    }
}
