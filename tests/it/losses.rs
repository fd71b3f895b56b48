//! What a run on a real Apache Mesos loses and how it goes on: executors, the cluster, the connection, the run itself.

use std::io::{BufRead, BufReader, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use libtest_mimic::Trial;

use crate::cluster::{Cluster, Stage, can_run};
use crate::common::{Ran, Scratch, Sshd, free_port, harness, needing, wait_for, wait_for_line};

pub fn tests() -> Vec<Trial> {
    let all = [
        ("a_thousand_cases_through_drops_and_restarts", thousand as fn()),
        ("an_executor_killed_before_inducing", killed_before),
        ("an_executor_ended_by_somebody_else_before_inducing", ended_before),
        ("an_executor_ended_by_somebody_else_after_inducing", ended_after),
        ("an_executor_killed_while_inducing", killed_while),
        ("an_executor_killed_after_inducing", killed_after),
        ("the_cluster_dies_and_comes_back", crashed_cluster),
        ("the_connection_is_cut", cut_connection),
        ("a_master_that_comes_late", late_master),
        ("interrupted", interrupted),
        ("a_killed_run_is_ended_by_the_next_one", killed_run),
        ("a_host_that_is_left_clean_is_written_down", left_clean),
    ];
    let (met, reason) = can_run();
    all.map(|(name, run)| needing(&format!("losses::{name}"), met, reason, run)).into()
}

/// Passes connections on to a host, but for each tenth; the others it drops when they have carried so many bytes.
fn dropping_proxy(port: u16) -> u16 {
    const BYTES: u64 = 750_000;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let own = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for (number, near) in listener.incoming().flatten().enumerate() {
            let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { return };
            if number % 10 == 9 {
                continue;
            }
            for (from, to) in [(&near, &far), (&far, &near)] {
                let (from, mut to) = (from.try_clone().expect("a handle"), to.try_clone().expect("a handle"));
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut (&from).take(BYTES), &mut to);
                    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
                });
            }
        }
    });
    own
}

fn thousand() {
    let (scratch, hosts) = (Scratch::new(), [Sshd::start(), Sshd::start(), Sshd::start(), Sshd::start()]);
    let mut cluster =
        Cluster::start(&["--agents", "3", "--set", "MESOS_EXECUTOR_REREGISTRATION_TIMEOUT=1secs"]);
    let proxies: Vec<u16> = hosts.iter().map(|sshd| dropping_proxy(sshd.port)).collect();
    for book in 0..20 {
        let (sshd, proxy) = (&hosts[book % hosts.len()], proxies[book % hosts.len()]);
        let folder = format!("fatebooks/b{book:02}");
        scratch.write(
            &format!("{folder}/break.sh"),
            "#!/bin/sh\n: >\"$HOME/broken-$1\"\necho \"$1\" >>\"$HOME/log\"\n",
        );
        scratch.write(&format!("{folder}/heal.sh"), "#!/bin/sh\nrm -f \"$HOME/broken-$1\"\n");
        scratch.write(&format!("{folder}/check.sh"), "#!/bin/sh\nexit 0\n");
        let failures: String = (0..50)
            .map(|number| format!("  - {{name: f{number}, inducer: [break.sh, '{book}-{number}'], reverter: [heal.sh, '{book}-{number}'], healthcheck: [check.sh]}}\n"))
            .collect();
        let (host, through) = (format!("127.0.0.1:{}", sshd.port), format!("127.0.0.1:{proxy}"));
        let known = std::fs::read_to_string(sshd.join("known_hosts")).expect("known hosts");
        std::fs::write(
            sshd.join("known_hosts"),
            known.replace(&format!("[127.0.0.1]:{}", sshd.port), &format!("[127.0.0.1]:{proxy}")),
        )
        .expect("known hosts");
        let text = sshd
            .book("", &failures)
            .replace("service: s", &format!("service: s{book}"))
            .replace(&host, &through);
        scratch.write(&format!("{folder}/fatebook.yaml"), text);
    }
    let mut command = scratch.command(&harness());
    command.args(["--master", &cluster.master, "--test-threads", "4"]);
    let run = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let journal = || scratch.read("target/pisaura/journal.jsonl");
    let settled = |text: &str| text.matches("\"event\":\"settled\"").count();
    for restart in 1..=3 {
        wait_for("some cases", || settled(&journal()) >= restart * 200);
        cluster.crash();
        cluster.up(&["--keep"]);
    }
    let ran = Ran::from_output(&run.wait_with_output().expect("an end"), &scratch);
    let journal = journal();
    assert_eq!(settled(&journal), 1000, "each settles once");
    let names: std::collections::BTreeSet<&str> = journal
        .lines()
        .filter(|line| line.contains("\"event\":\"settled\""))
        .map(|line| line.split("\"case\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a name"))
        .collect();
    assert_eq!(names.len(), 1000);
    let amiss: Vec<&str> = journal
        .lines()
        .filter(|line| {
            line.contains("\"verdict\":\"unreverted\"") || line.contains("\"verdict\":\"skipped\"")
        })
        .collect();
    assert!(
        amiss.is_empty(),
        "{}\n{}",
        amiss.join("\n"),
        ran.stdout.split("failures:").nth(1).unwrap_or_default()
    );
    let (survived, botched) = (
        journal.matches("\"verdict\":\"survived\"").count(),
        journal.matches("\"verdict\":\"botched\"").count(),
    );
    assert_eq!(survived + botched, 1000, "{}", ran.stdout);
    assert!(survived > 900, "only {survived} survived");
    assert!(
        ran.stdout.contains(&format!("{survived} passed; {botched} failed; 0 ignored")),
        "{}",
        ran.stdout.lines().last().unwrap_or_default()
    );
    for sshd in &hosts {
        let log = sshd.read("log");
        let mut induced: Vec<&str> = log.lines().collect();
        let all = induced.len();
        induced.sort_unstable();
        induced.dedup();
        assert_eq!(induced.len(), all, "none is induced twice");
        let left: Vec<String> = std::fs::read_dir(sshd.home())
            .expect("a home")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("broken"))
            .collect();
        assert!(left.is_empty(), "left dirty: {left:?}");
    }
    assert_eq!(scratch.pisaura(&["revert", "--list"]).stdout, "no host is dirty\n");
}

fn killed_before() {
    let stage = Stage::new("--step=1", &[]);
    let run = stage.begin(&[]);
    stage.wait_for("--step=1");
    stage.cluster.kill_executors();
    let ran = stage.go_on(run);
    stage.check_survived(&ran, ", after attempt 1 on localhost: TASK_FAILED (Executor terminated)");
    assert_eq!(stage.cluster.ended_tasks().len(), 2);
}

/// An operator, or an agent that is drained, is no interrupt of this run: the case is run again.
fn ended_before() {
    let stage = Stage::new("--step=1", &[]);
    let run = stage.begin(&[]);
    stage.wait_for("--step=1");
    let first = stage.cluster.executors();
    stage.cluster.signal_executors("-TERM");
    wait_for("its end", || !stage.cluster.executors().iter().any(|executor| first.contains(executor)));
    let ran = stage.go_on(run);
    assert_eq!(ran.line("b::f@127.0.0.1:PORT"), "ok", "{}{}", ran.stdout, ran.stderr);
    assert_eq!(stage.sshd.read("log"), "break.sh\nheal.sh\n");
    assert_eq!(stage.cluster.ended_tasks().len(), 2);
}

/// Or it was not tested, if its host was broken already.
fn ended_after() {
    let stage = Stage::new("--step=2", &[]);
    let run = stage.begin(&[]);
    stage.wait_for("--step=2");
    stage.cluster.signal_executors("-TERM");
    let ran = stage.go_on(run);
    assert_eq!(ran.code, Some(101), "{}{}", ran.stdout, ran.stderr);
    let told = ran.failure("b::f@127.0.0.1:PORT");
    let want = "botched: its task was ended by somebody else than this run, after the inducer was handed out; the host was reverted";
    assert!(told.starts_with(want), "{told}");
    assert_eq!(stage.sshd.read("log"), "break.sh\nheal.sh\n");
}

/// Killed when the host may be dirty: another task reverts it, and the inducer is not begun again.
#[track_caller]
fn check_killed_dirty(step: &str) {
    let stage = Stage::new(step, &["--agents", "3"]);
    let run = stage.begin(&[]);
    stage.wait_for(step);
    stage.cluster.kill_executors();
    wait_for("the revert", || stage.sshd.read("log").contains("heal.sh"));
    let ran = stage.go_on(run);
    assert_eq!(ran.line("b::f@127.0.0.1:PORT"), "FAILED", "{}{}", ran.stdout, ran.stderr);
    let told = ran.failure("b::f@127.0.0.1:PORT");
    let want = "botched: its task was lost after the inducer was handed out, and the host was reverted by another: \
                attempt 1 on localhost: TASK_FAILED (Executor terminated)\n\n  step                        took  result\n  4 reverter T s  ok";
    assert!(told.starts_with(want), "{told}");
    assert_eq!(stage.sshd.read("log"), "break.sh\nheal.sh\n");
    assert_eq!(stage.cluster.ended_tasks().len(), 2);
    assert!(!stage.sshd.home().join(".pisaura").exists(), "nothing of ours is left there");
}

fn killed_while() {
    check_killed_dirty("break.sh");
}

fn killed_after() {
    check_killed_dirty("--step=2");
}

fn crashed_cluster() {
    let settings = ["--set", "MESOS_EXECUTOR_REREGISTRATION_TIMEOUT=5secs"];
    let mut stage = Stage::new("--step=2", &settings);
    let run = stage.begin(&[]);
    stage.wait_for("--step=2");
    stage.cluster.crash();
    stage.cluster.up(&["--keep"]);
    let ran = stage.go_on(run);
    stage.check_survived(&ran, "");
    assert_eq!(stage.cluster.ended_tasks(), ["TASK_FINISHED"]);
}

/// Passes connections on to a server, and can cut all of them.
struct Proxy {
    address: String,
    connections: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let connections: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let kept = Arc::clone(&connections);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(&server) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) =
                        (from.try_clone().expect("a handle"), to.try_clone().expect("a handle"));
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                kept.lock().expect("a list").extend([near, far]);
            }
        });
        Self { address, connections }
    }

    fn cut(&self) {
        let cut: Vec<TcpStream> = self.connections.lock().expect("a list").drain(..).collect();
        assert!(cut.len() >= 2, "there was nothing to be cut");
        for connection in cut {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn cut_connection() {
    let stage = Stage::new("--step=2", &[]);
    let proxy = Proxy::start(stage.cluster.master.clone());
    let run = stage.begin_at(&proxy.address, &[]);
    stage.wait_for("--step=2");
    proxy.cut();
    wait_for("the next subscription", || proxy.connections.lock().expect("a list").len() >= 2);
    let ran = stage.go_on(run);
    stage.check_survived(&ran, "");
    assert_eq!(stage.cluster.ended_tasks(), ["TASK_FINISHED"]);
}

fn late_master() {
    let mut stage = Stage::new("", &[]);
    let port = free_port().to_string();
    let mut run = stage.begin_at(&format!("127.0.0.1:{port}"), &[]);
    let mut stderr = BufReader::new(run.stderr.take().expect("a pipe"));
    let said = wait_for_line(&mut stderr, "b::f@127.0.0.1:");
    assert!(
        said.contains(&format!(
            "waiting for the Mesos master 127.0.0.1:{port}: cannot reach http://127.0.0.1:{port}: "
        )),
        "{said}"
    );
    std::thread::spawn(move || stderr.lines().for_each(drop));
    stage.cluster = Cluster::start(&["--port", &port]);
    let ran = stage.go_on(run);
    stage.check_survived(&ran, "");
}

fn interrupted() {
    for (step, log) in
        [("--step=1", ""), ("break.sh", "break.sh\nheal.sh\n"), ("--step=2", "break.sh\nheal.sh\n")]
    {
        let stage = Stage::new(step, &[]);
        let run = stage.begin(&[]);
        stage.wait_for(step);
        assert!(
            Command::new("kill").args(["-INT", &run.id().to_string()]).status().expect("kill runs").success()
        );
        let output = run.wait_with_output().expect("an end");
        let ran = Ran::from_output(&output, &stage.scratch);
        assert_eq!(ran.code, Some(130), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.failure("b::f@127.0.0.1:PORT").starts_with("interrupted "), "{}", ran.stdout);
        assert!(!ran.stdout.contains("test result: ok"), "{}", ran.stdout);
        assert_eq!(stage.sshd.read("log"), log, "{step}");
        assert_eq!(stage.cluster.ended_tasks(), ["TASK_KILLED"]);
        assert!(!stage.sshd.home().join(".pisaura").exists(), "nothing of ours is left there");
    }
}

fn killed_run() {
    let stage = Stage::new("--step=2", &[]);
    let mut run = stage.begin(&[]);
    stage.wait_for("--step=2");
    run.kill().expect("a signal");
    run.wait().expect("an end");
    assert_eq!(stage.sshd.read("log"), "break.sh\n");
    // Its executor would wait for two minutes. It reverts, and so does the next run, which cannot know that.
    let ran = stage.go_on(stage.begin(&[]));
    assert!(ran.stderr.starts_with("pisaura: ending what an older run has left on 127.0.0.1:PORT\npisaura: reverting b::f@127.0.0.1:PORT, which an older run left dirty\n"), "{}", ran.stderr);
    assert_eq!(ran.line("b::f@127.0.0.1:PORT"), "ok", "{}{}", ran.stdout, ran.stderr);
    wait_for("the executors' end", || stage.cluster.executors().is_empty());
    let log = stage.sshd.read("log");
    assert!(log.starts_with("break.sh\nheal.sh\n") && log.matches("break.sh").count() == 2, "{log}");
}

/// Or every later run connects again, to clean what is clean.
fn left_clean() {
    let (scratch, sshd) = crate::harness::books();
    let cluster = Cluster::start(&[]);
    let ran = scratch.harness(&["--master", &cluster.master, "--exact", "b::it's cut off"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let journal = scratch.read("target/pisaura/journal.jsonl");
    let count = |event: &str| journal.matches(&format!("\"event\":\"{event}\"")).count();
    assert_eq!((count("host used"), count("host left")), (2, 2), "{journal}");
    assert!(!sshd.home().join(".pisaura").exists());
}
