//! Cases on a real Apache Mesos, of `ci/mesos`, against a real SSH server: the same books, names and reports as without it,
//! and what happens when parts of the cluster die.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use libtest_mimic::Trial;
use pisaura::mesos::{Client, Security, messages::scheduler::Event, translate};
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{
    Ran, Scratch, Sshd, free_port, harness, needing, on_master, test, wait_for, wait_for_line, write_scripts,
};
use crate::verdicts;

pub fn tests() -> Vec<Trial> {
    let own = [
        ("the_demo_book", demo_book as fn()),
        ("two_hundred_cases_of_twenty_books", two_hundred),
        ("a_thousand_cases_through_drops_and_restarts", thousand),
        ("filters_failfast_and_threads", filters),
        ("secrets_are_not_shown", secrets),
        ("what_sandboxes_show", sandboxes),
        ("what_was_changed_on_its_way_is_not_run", changed),
        ("an_executor_killed_before_inducing", killed_before),
        ("an_executor_ended_by_somebody_else_before_inducing", ended_before),
        ("an_executor_ended_by_somebody_else_after_inducing", ended_after),
        ("an_executor_killed_while_inducing", killed_while),
        ("an_executor_killed_after_inducing", killed_after),
        ("a_program_that_cannot_be_fetched", not_fetched),
        ("more_than_there_is", too_much),
        ("offers_that_another_holds", held_offers),
        ("offers_are_left_to_others", left_offers),
        ("the_cluster_dies_and_comes_back", crashed_cluster),
        ("the_connection_is_cut", cut_connection),
        ("credentials", credentials),
        ("https_with_a_certificate_of_ones_own", https),
        ("a_master_that_comes_late", late_master),
        ("interrupted", interrupted),
        ("a_killed_run_is_ended_by_the_next_one", killed_run),
        ("a_case_does_not_run_on_its_own_host", own_host),
        ("what_agents_fetch", fetched),
        ("a_host_that_is_left_clean_is_written_down", left_clean),
    ];
    let (met, reason) = can_run();
    let verdicts = verdicts::ALL.into_iter().map(|(name, run)| {
        Trial::ignorable_test(format!("mesos::verdict_{name}"), move || {
            let run = move || {
                let cluster = Cluster::start(&["--agents", "3"]);
                on_master(&cluster.master, run);
            };
            crate::common::run_if(met, reason, run)
        })
    });
    let own = own.into_iter().map(|(name, run)| needing(&format!("mesos::{name}"), met, reason, run));
    let always = [test("mesos::addresses_that_are_none", no_address)];
    let as_root = needing(
        "mesos::an_agent_is_the_host_by_another_address",
        met && crate::common::is_root(),
        if met { "needs to be root, for an address of its own" } else { reason },
        own_host_elsewhere,
    );
    own.chain([as_root]).chain(verdicts).chain(always).collect()
}

/// Whether `ci/mesos` works here.
pub fn can_run() -> (bool, &'static str) {
    static CAN: OnceLock<bool> = OnceLock::new();
    let can = *CAN
        .get_or_init(|| cfg!(target_arch = "x86_64") && std::env::var_os("PISAURA_WITHOUT_MESOS").is_none());
    (can, "PISAURA_WITHOUT_MESOS is set, or this is no x86-64")
}

/// A cluster of this test's own.
pub struct Cluster {
    folder: TempDir,
    pub master: String,
}

impl Cluster {
    pub fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("pisaura-cluster-").tempdir().expect("a folder");
        let mut cluster = Self { folder, master: String::new() };
        cluster.up(arguments);
        cluster
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/ci/mesos"));
        command.arg(verb).arg("--state").arg(self.state());
        command
    }

    pub fn up(&mut self, arguments: &[&str]) {
        let output = self.command("up").args(arguments).output().expect("ci/mesos runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.master = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    }

    pub fn crash(&self) {
        assert!(self.command("down").arg("--crash").status().expect("ci/mesos runs").success());
    }

    /// What the master says of itself.
    fn told(&self) -> Value {
        let mut stream = TcpStream::connect(&self.master).expect("a master");
        write!(stream, "GET /master/state HTTP/1.0\r\n\r\n").expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        serde_json::from_str(body).expect("JSON")
    }

    /// The states of all tasks of all frameworks that have ended, in order; nothing else may be there.
    pub fn ended_tasks(&self) -> Vec<String> {
        wait_for("the framework's end", || {
            let told = self.told();
            told["frameworks"].as_array().is_some_and(Vec::is_empty)
        });
        let told = self.told();
        let mut states = Vec::new();
        for framework in told["completed_frameworks"].as_array().expect("a list") {
            assert_eq!(framework["tasks"], Value::Array(Vec::new()), "none is running");
            for task in framework["completed_tasks"].as_array().expect("a list") {
                states.push(task["state"].as_str().unwrap_or_default().to_owned());
            }
        }
        states
    }

    /// The processes of executors.
    fn executors(&self) -> Vec<u32> {
        let folder = self.folder.path().display().to_string();
        let is_ours = |entry: &std::fs::DirEntry| {
            let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let environment = String::from_utf8_lossy(&read("environ")).into_owned();
            environment.contains("PISAURA_EXECUTOR=1")
                && environment.contains(&folder)
                && read("cmdline").ends_with(b"\0executor\0")
        };
        let entries = std::fs::read_dir("/proc").expect("processes").flatten().filter(is_ours);
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    pub fn kill_executors(&self) {
        self.signal_executors("-KILL");
    }

    pub fn signal_executors(&self, signal: &str) {
        assert!(!self.executors().is_empty(), "there is no executor");
        self.signal_executors_if_any(signal);
    }

    /// Of one that has been given up there is none any more.
    pub fn signal_executors_if_any(&self, signal: &str) {
        for executor in self.executors() {
            let _ = Command::new("kill").args([signal, &executor.to_string()]).stderr(Stdio::null()).status();
        }
    }

    /// Drains the agents on which something runs, as an operator does.
    pub fn drain_agents(&self) {
        let told = self.told();
        let frameworks = told["frameworks"].as_array().expect("a list");
        let tasks = frameworks.iter().flat_map(|framework| framework["tasks"].as_array().expect("a list"));
        let mut agents: Vec<&str> = tasks.filter_map(|task| task["slave_id"].as_str()).collect();
        agents.dedup();
        assert!(!agents.is_empty(), "nothing runs anywhere");
        for agent in agents {
            let call = serde_json::json!({
                "type": "DRAIN_AGENT",
                "drain_agent": { "agent_id": { "value": agent }, "max_grace_period": { "nanoseconds": 1_000_000_000_u64 } },
            });
            let call = call.to_string();
            let mut stream = TcpStream::connect(&self.master).expect("a master");
            write!(
                stream,
                "POST /master/api/v1 HTTP/1.0\r\nContent-Type: application/json\r\nAccept: application/json\r\nContent-Length: {}\r\n\r\n{call}",
                call.len()
            )
            .expect("a request");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.command("down").stderr(Stdio::null()).status();
    }
}

/// One case that stops at a step until it may go on.
pub struct Stage {
    scratch: Scratch,
    sshd: Sshd,
    pub cluster: Cluster,
}

impl Stage {
    /// `stop` is `break.sh`, `heal.sh` or the healthcheck's `--step=N`.
    pub fn new(stop: &str, arguments: &[&str]) -> Self {
        let stage = Self { scratch: Scratch::new(), sshd: Sshd::start(), cluster: Cluster::start(arguments) };
        let go = stage.scratch.join("go").display().to_string();
        let waits = |name: &str| {
            if name == stop { format!("until [ -e '{go}' ]; do sleep 0.02; done") } else { String::new() }
        };
        for name in ["break.sh", "heal.sh"] {
            let text = format!("#!/bin/sh\necho {name} >>\"$HOME/log\"\n{}\n", waits(name));
            stage.scratch.write(&format!("fatebooks/b/{name}"), text);
        }
        let checks = stage.scratch.join("checks").display().to_string();
        let wait = if stop.starts_with("--") { waits(stop) } else { ":".into() };
        stage.scratch.write(
            "fatebooks/b/check.sh",
            format!("#!/bin/sh\necho $1 >>'{checks}'\nif [ $1 = '{stop}' ]; then {wait}; fi\nexit 0\n"),
        );
        let failure =
            "  - {name: f, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh], timeout: 30s}";
        stage.scratch.write("fatebooks/b/fatebook.yaml", stage.sshd.book("", failure));
        stage
    }

    fn begin(&self, arguments: &[&str]) -> Child {
        self.begin_at(&self.cluster.master, arguments)
    }

    pub fn begin_at(&self, master: &str, arguments: &[&str]) -> Child {
        let mut command = self.scratch.command(&harness());
        command.args(arguments).args(["--show-output", "--master", master]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
    }

    pub fn wait_for(&self, step: &str) {
        match step.starts_with("--") {
            true => wait_for(step, || self.scratch.read("checks").contains(step)),
            false => wait_for(step, || self.sshd.read("log").contains(step)),
        }
    }

    pub fn go_on(&self, run: Child) -> Ran {
        self.scratch.write("go", "");
        let output = run.wait_with_output().expect("an end");
        Ran::from_output(&output, &self.scratch)
    }

    /// The case passed, after these attempts, and nothing was done twice.
    #[track_caller]
    pub fn check_survived(&self, ran: &Ran, place: &str) {
        assert_eq!(ran.line("b::f@127.0.0.1:PORT"), "ok", "{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.code, Some(0));
        assert!(ran.stdout.contains(&format!("\n  on agent localhost{place}\n")), "{}", ran.stdout);
        assert_eq!(self.sshd.read("log"), "break.sh\nheal.sh\n");
    }
}

fn demo_book() {
    let cluster = Cluster::start(&["--agents", "3"]);
    let scratch = Scratch::new();
    let books = concat!(env!("CARGO_MANIFEST_DIR"), "/fatebooks");
    let ran = on_both(
        &cluster,
        &scratch,
        &["--fatebooks", books, "one replica is lost", "noticed", "for a moment"],
    );
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(cluster.ended_tasks(), ["TASK_FINISHED"; 6]);
}

/// Runs the harness on a cluster and without it: names and results are the same.
fn on_both(cluster: &Cluster, scratch: &Scratch, arguments: &[&str]) -> Ran {
    let lines = |ran: &Ran| {
        ran.stdout.lines().filter(|line| line.starts_with("test ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let here = scratch.harness(arguments);
    let there = scratch.harness(&[&["--master", &cluster.master], arguments].concat());
    assert_eq!(lines(&there), lines(&here), "{}{}", there.stdout, there.stderr);
    assert_eq!(there.code, here.code);
    there
}

fn two_hundred() {
    let (scratch, hosts) = (Scratch::new(), [Sshd::start(), Sshd::start(), Sshd::start(), Sshd::start()]);
    let cluster = Cluster::start(&["--agents", "3"]);
    for book in 0..20 {
        let sshd = &hosts[book % hosts.len()];
        let failures: String = (0..10)
            .map(|number| {
                format!("  - {{name: f{number}, inducer: [break.sh, '{book}/{number}'], reverter: [heal.sh, '{book}/{number}'], healthcheck: [check.sh]}}\n")
            })
            .collect();
        write_scripts(&scratch);
        for script in ["break.sh", "heal.sh", "check.sh"] {
            scratch.write(
                &format!("fatebooks/b{book:02}/{script}"),
                scratch.read(&format!("fatebooks/b/{script}")),
            );
        }
        let text = sshd.book("", &failures).replace("service: s", &format!("service: s{book}"));
        scratch.write(&format!("fatebooks/b{book:02}/fatebook.yaml"), text);
    }
    std::fs::remove_dir_all(scratch.join("fatebooks/b")).expect("a folder");
    let ran = scratch.harness(&["--master", &cluster.master, "--test-threads", "4"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("test result: ok. 200 passed; 0 failed; 0 ignored"), "{}", ran.stdout);
    assert_eq!(cluster.ended_tasks(), ["TASK_FINISHED"; 200]);
    let settled = scratch.read("target/pisaura/journal.jsonl").matches("\"event\":\"settled\"").count();
    assert_eq!(settled, 200);
    let mut log: Vec<String> = hosts
        .iter()
        .flat_map(|sshd| sshd.read("log").lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    log.sort();
    let mut want: Vec<String> = ["break.sh", "heal.sh"]
        .iter()
        .flat_map(|script| {
            (0..20).flat_map(move |book| (0..10).map(move |number| format!("{script} {book}/{number}")))
        })
        .collect();
    want.sort();
    assert_eq!(log, want, "each is induced once and reverted once");
    for sshd in &hosts {
        let left = Command::new("find").arg(sshd.home().join(".pisaura")).output().expect("find runs");
        let left = String::from_utf8_lossy(&left.stdout).into_owned();
        assert!(left.is_empty(), "nothing of ours is left there: {left}{}", ran.stderr);
    }
    assert!(cluster.executors().is_empty());
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

fn filters() {
    let (scratch, _sshd) = crate::harness::books();
    let cluster = Cluster::start(&["--agents", "3"]);
    on_both(&cluster, &scratch, &["killed", "--skip", "localhost"]);
    on_both(&cluster, &scratch, &["--exact", "b::it's cut off"]);
    on_both(&cluster, &scratch, &["--test-threads", "4", "--junit", "j.xml"]);
    assert_eq!(scratch.read("j.xml").matches("<testcase ").count(), 5);
    // The second failure of the book does not come to pass.
    scratch.write("fatebooks/b/check.sh", "#!/bin/sh\nexit 1\n");
    let book =
        scratch.read("fatebooks/b/fatebook.yaml").replace("service: s\n", "service: s\nfailfast: true\n");
    scratch.write("fatebooks/b/fatebook.yaml", book);
    let ran = on_both(&cluster, &scratch, &["b::"]);
    assert!(ran.stdout.contains("ignored (failfast: `b::leader is killed@"), "{}", ran.stdout);
    assert!(cluster.ended_tasks().iter().all(|state| state == "TASK_FINISHED"));
}

fn secrets() {
    let (scratch, sshd) = (Scratch::new(), Sshd::start());
    let cluster = Cluster::start(&[]);
    write_scripts(&scratch);
    scratch.write("fatebooks/b/check.sh", "#!/bin/sh\necho \"token is $TOKEN\"\n[ $1 != --step=2 ]\n");
    let failure = "  - {name: f, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh], env: {TOKEN: '${TOKEN}'}}";
    scratch.write("fatebooks/b/fatebook.yaml", sshd.book("secrets: [TOKEN]\nloglevel: debug", failure));
    let mut command = scratch.command(&harness());
    command.env("TOKEN", "pl4nted-secret").args(["--master", &cluster.master, "--show-output"]);
    let ran = Ran::of(&mut command, &scratch);
    assert!(ran.stdout.contains("token is ***"), "{}", ran.stdout);
    assert!(!format!("{ran:?}").contains("pl4nted"), "{ran:?}");
    assert!(!cluster.told().to_string().contains("pl4nted"));
    let (mut seen, mut own_log) = (0, false);
    let mut folders = vec![cluster.state(), scratch.join("target")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if name == "stdout" || name == "stderr" || path.starts_with(scratch.path()) {
                seen += 1;
                let text = std::fs::read(&path).expect("a file");
                own_log |= String::from_utf8_lossy(&text).contains("healthcheck during: stdout: ")
                    && name == "stdout";
                assert!(!String::from_utf8_lossy(&text).contains("pl4nted"), "{}", path.display());
            }
        }
    }
    assert!(seen >= 5, "the sandbox's own logs are among them");
    assert!(own_log, "the executor logs there what the level debug has");
}

/// What everybody sees who may read the agents' pages: what the book needs, and no secret, no other book, nothing of `.env`.
fn sandboxes() {
    let (scratch, sshd) = (Scratch::new(), Sshd::start());
    let cluster = Cluster::start(&[]);
    write_scripts(&scratch);
    scratch.write("fatebooks/b/check.sh", "#!/bin/sh\necho \"token is $TOKEN\"\n");
    scratch.write("fatebooks/b/.env", "PASSWORD=pl4nted-in-a-file\n");
    scratch.write("fatebooks/b/inner/fatebook.yaml", "ssh: {password: pl4nted-in-another-book}\n");
    scratch.write("fatebooks/b/data/notes.txt", "notes\n");
    let failure = "  - {name: f, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh], env: {TOKEN: '${TOKEN}'}}";
    scratch.write("fatebooks/b/fatebook.yaml", sshd.book("secrets: [TOKEN]\nloglevel: debug", failure));
    let mut command = scratch.command(&harness());
    command.env("TOKEN", "pl4nted-secret").args(["--master", &cluster.master, "--exact"]);
    command.arg(format!("b::f@127.0.0.1:{}", sshd.port));
    let ran = Ran::of(&mut command, &scratch);
    assert_eq!(ran.line("b::f@127.0.0.1:PORT"), "ok", "{}{}", ran.stdout, ran.stderr);
    let agent = cluster.told()["slaves"][0]["pid"].as_str().expect("an agent").to_owned();
    let (actor, agent) = agent.split_once('@').expect("an address");
    let state = get(agent, &format!("/{actor}/state"));
    let folders = json_texts(&serde_json::from_slice(&state).expect("JSON"), "directory");
    assert!(!folders.is_empty(), "a sandbox");
    let (mut left, mut files) = (folders, Vec::new());
    while let Some(folder) = left.pop() {
        let listed: Value =
            serde_json::from_slice(&get(agent, &format!("/files/browse?path={folder}"))).expect("a list");
        for entry in listed.as_array().expect("a list") {
            let path = entry["path"].as_str().expect("a path").to_owned();
            match entry["mode"].as_str().expect("a mode").starts_with('d') {
                true => left.push(path),
                false => {
                    let text = get(agent, &format!("/files/download?path={path}"));
                    assert!(!String::from_utf8_lossy(&text).contains("pl4nted"), "{path}");
                    files.push(path[path.find("/runs/").expect("a run") + 6..].to_owned());
                }
            }
        }
    }
    let in_sandbox = |file: &String| file.split_once('/').map(|(_, name)| name.to_owned());
    let mut names: Vec<String> = files.iter().filter_map(in_sandbox).collect();
    names.sort_unstable();
    let scripts = ["break.sh", "check.sh", "data/notes.txt", "heal.sh", "verify.sh"];
    let mut want: Vec<String> = scripts.map(|name| format!("book/{name}")).to_vec();
    want.extend(["book/.pisaura-owner", "pisaura", "stderr", "stdout"].map(str::to_owned));
    want.sort_unstable();
    assert_eq!(names, want);
    for page in ["/state", "/metrics/snapshot", "/tasks"] {
        assert!(!String::from_utf8_lossy(&get(agent, page)).contains("pl4nted"), "{page}");
        assert!(!String::from_utf8_lossy(&get(&cluster.master, page)).contains("pl4nted"), "{page}");
    }
}

/// The body of what is at this path.
fn get(authority: &str, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(authority).expect("a server");
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let at = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
    answer.split_off(at + 4)
}

/// All texts of this name in a JSON.
fn json_texts(value: &Value, name: &str) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(|item| json_texts(item, name)).collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, field)| match field.as_str().filter(|_| key == name) {
                Some(text) => vec![text.to_owned()],
                None => json_texts(field, name),
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Whoever is between an agent and the run could give it other scripts: their sum travels with the task.
fn changed() {
    let stage = Stage::new("--step=1", &[]);
    let temporary = stage.scratch.join("temporary");
    std::fs::create_dir(&temporary).expect("a folder");
    let mut command = stage.scratch.command(&harness());
    command.args(["--show-output", "--master", &stage.cluster.master]).env("TMPDIR", &temporary);
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    stage.wait_for("--step=1");
    let path = archive_in(&temporary).expect("an archive");
    let mut archive = std::fs::read(&path).expect("an archive");
    let at = archive.windows(7).position(|bytes| bytes == b"heal.sh").expect("a script") + 520;
    archive[at] ^= 1;
    std::fs::write(&path, archive).expect("a file");
    stage.cluster.kill_executors();
    let ran = stage.go_on(run);
    let told = ran.failure("b::f@127.0.0.1:PORT");
    assert!(
        told.contains("what the agent fetched of the book is not what this run gave: its SHA-256 is "),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    assert_eq!(stage.sshd.read("log"), "", "nothing of it was run");
}

fn archive_in(folder: &Path) -> Option<PathBuf> {
    std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).find_map(|path| {
        match path.extension().is_some_and(|ending| ending == "tar") {
            true => Some(path),
            false => archive_in(&path),
        }
    })
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

fn not_fetched() {
    let stage = Stage::new("", &[]);
    let nowhere = format!("http://127.0.0.1:{}/pisaura", free_port());
    let run = stage.begin(&["--executor-uri", &nowhere, "--task-retry", "1"]);
    let ran = stage.go_on(run);
    let told = ran.failure("b::f@127.0.0.1:PORT");
    let want = "botched: attempt 1 on localhost: TASK_FAILED (Failed to launch container: Failed to fetch all URIs for container";
    assert!(told.starts_with(want) && told.contains("; attempt 2 on localhost: TASK_FAILED"), "{told}");
    assert_eq!(stage.sshd.read("log"), "");
}

fn too_much() {
    let stage = Stage::new("", &["--resources", "cpus:1;mem:2048"]);
    let book = stage.scratch.read("fatebooks/b/fatebook.yaml");
    stage.scratch.write("fatebooks/b/fatebook.yaml", format!("cpu: 2\nmem: 512\n{book}"));
    let run = stage.begin(&["--offer-timeout", "2s"]);
    let ran = stage.go_on(run);
    let waits =
        "an offer with cpu 2, mem 512 (and cpu 0.01, mem 32 for its executor); largest seen cpu 1, mem 2048";
    assert!(ran.stderr.contains(&format!("b::f@127.0.0.1:PORT: waiting for {waits}\n")), "{}", ran.stderr);
    let told = ran.failure("b::f@127.0.0.1:PORT");
    assert!(told.starts_with(&format!("botched: waited 2s for {waits}\n")), "{told}");
    assert_eq!(ran.code, Some(101));
}

/// Another framework, which takes every offer and gives none back until it is told to.
struct Other {
    runtime: tokio::runtime::Runtime,
    subscription: pisaura::mesos::Subscription,
}

impl Other {
    fn subscribe(master: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let framework = translate::Framework {
            user: "root".into(),
            name: "other".into(),
            role: "*".into(),
            principal: None,
            failover_timeout: Duration::ZERO,
        };
        let client = Client::new("/api/v1/scheduler", Security::default()).expect("a client");
        let call = translate::subscribe(&framework, None);
        let subscription =
            runtime.block_on(client.subscribe(&format!("http://{master}"), call)).expect("a subscription");
        Self { runtime, subscription }
    }

    /// Takes offers until it has so many.
    fn take(&mut self, count: usize) {
        let mut taken = 0;
        while taken < count {
            let record = self.runtime.block_on(self.subscription.next()).expect("an event");
            let event = Event::decode(record.as_slice()).expect("an event");
            taken += event.offers.map_or(0, |offers| offers.offers.len());
        }
    }
}

fn held_offers() {
    let stage = Stage::new("", &["--agents", "2"]);
    let mut other = Other::subscribe(&stage.cluster.master);
    other.take(2);
    let mut run = stage.begin(&[]);
    let mut stderr = BufReader::new(run.stderr.take().expect("a pipe"));
    wait_for_line(
        &mut stderr,
        "waiting for an offer with cpu 0.1, mem 64 (and cpu 0.01, mem 32 for its executor); none was seen",
    );
    // With its connection all goes back to the master.
    drop(other);
    std::thread::spawn(move || stderr.lines().for_each(drop));
    let ran = stage.go_on(run);
    stage.check_survived(&ran, "");
}

fn left_offers() {
    let stage = Stage::new("--step=2", &["--agents", "3"]);
    let run = stage.begin(&[]);
    stage.wait_for("--step=2");
    // All agents have room, and none of it is held.
    Other::subscribe(&stage.cluster.master).take(3);
    let ran = stage.go_on(run);
    stage.check_survived(&ran, "");
}

fn crashed_cluster() {
    let settings = ["--set", "MESOS_EXECUTOR_REREGISTRATION_TIMEOUT=1secs"];
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

fn credentials() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("credentials.json");
    std::fs::write(&file, r#"{"credentials":[{"principal":"alice","secret":"wonderland"}]}"#)
        .expect("a file");
    let named = format!("MESOS_CREDENTIALS={}", file.display());
    let stage = Stage::new(
        "",
        &[
            "--set",
            "MESOS_AUTHENTICATE_HTTP_FRAMEWORKS=true",
            "--set",
            "MESOS_HTTP_FRAMEWORK_AUTHENTICATORS=basic",
            "--set",
            &named,
        ],
    );
    stage.scratch.write("secret", "wonderland\n");
    stage.scratch.write("wrong", "looking-glass\n");
    for arguments in [&["--principal", "alice", "--secret-file", "wrong"][..], &[]] {
        let ran = stage.go_on(stage.begin(arguments));
        let told = ran.failure("b::f@127.0.0.1:PORT");
        let want = "botched: http://127.0.0.1:PORT refuses our credentials (401 Unauthorized): see --principal and --secret-file\n";
        assert!(told.starts_with(want), "{told}");
    }
    let ran = stage.go_on(stage.begin(&["--principal", "alice", "--secret-file", "secret"]));
    stage.check_survived(&ran, "");
    let ran = stage.scratch.harness(&["--master", &stage.cluster.master, "--principal", "alice"]);
    assert_eq!(ran.code, Some(2));
    assert_eq!(
        ran.stderr,
        "error: --principal needs a secret: name a file with --secret-file, or set PISAURA_SECRET\n"
    );
}

/// Speaks TLS on one side, and plainly on the other.
const TLS_PROXY: &str = r#"
import socket, ssl, sys, threading
host, port = sys.argv[1].split(":")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
def copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try: end.shutdown(socket.SHUT_RDWR)
        except OSError: pass
def serve(raw):
    try:
        near = context.wrap_socket(raw, server_side=True)
        far = socket.create_connection((host, int(port)))
    except OSError:
        return
    threading.Thread(target=copy, args=(near, far), daemon=True).start()
    copy(far, near)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

fn https() {
    let stage = Stage::new("", &[]);
    let certificate = stage.scratch.join("certificate.pem");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(stage.scratch.path())
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("openssl runs").success());
    let both = format!("{}{}", stage.scratch.read("key.pem"), stage.scratch.read("certificate.pem"));
    stage.scratch.write("both.pem", both);
    let mut proxy = Command::new("python3")
        .args(["-c", TLS_PROXY, &stage.cluster.master])
        .arg(stage.scratch.join("both.pem"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut port = String::new();
    BufReader::new(proxy.stdout.take().expect("a pipe")).read_line(&mut port).expect("a port");
    let master = format!("https://127.0.0.1:{}", port.trim());
    let ran = stage.go_on(stage.begin_at(&master, &["--offer-timeout", "1s"]));
    let told = ran.failure("b::f@127.0.0.1:PORT");
    assert!(told.starts_with("botched: waited 1s for the Mesos master https://127.0.0.1:PORT: cannot reach https://127.0.0.1:PORT: "), "{told}");
    assert!(told.contains("certificate verify failed"), "{told}");
    let ran = stage.go_on(stage.begin_at(&master, &["--ca", &certificate.display().to_string()]));
    stage.check_survived(&ran, "");
    let _ = proxy.kill();
    let _ = proxy.wait();
    stage.scratch.write("empty.pem", "");
    let ran = stage.scratch.harness(&["--master", &master, "--ca", "empty.pem"]);
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (Some(101), "error: cannot use the certificates in empty.pem: there is none in it\n")
    );
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

fn own_host() {
    let stage = Stage::new("", &[]);
    let book = stage.scratch.read("fatebooks/b/fatebook.yaml");
    let host = format!("127.0.0.1:{}", stage.sshd.port);
    stage.scratch.write("fatebooks/b/fatebook.yaml", book.replace(&host, "127.0.0.1"));
    let ran = stage.go_on(stage.begin(&["--offer-timeout", "1s"]));
    let told = ran.failure("b::f@127.0.0.1");
    assert!(told.contains("; the only offers were from the host that this case breaks\n"), "{told}");
}

/// An address of this machine, for as long as this lives.
struct OwnAddress {
    link: String,
    address: String,
}

impl OwnAddress {
    fn new() -> Self {
        let number = std::process::id() % 0x1_0000;
        let (link, address) =
            (format!("pisaura-o{number:x}"), format!("10.232.{}.{}", number >> 8, number & 0xff));
        let ip = |words: &str| {
            let status = Command::new("ip").args(words.split(' ')).status();
            assert!(status.is_ok_and(|status| status.success()), "ip {words}");
        };
        ip(&format!("link add {link} type veth peer name {link}p"));
        ip(&format!("address add {address}/32 dev {link}"));
        ip(&format!("link set {link} up"));
        Self { link, address }
    }
}

impl Drop for OwnAddress {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.link]).status();
    }
}

/// Nobody but its executor can know, as behind the public address of a cloud's machine.
fn own_host_elsewhere() {
    let own = OwnAddress::new();
    let mut stage = Stage::new("", &["--agents", "2"]);
    stage.sshd = Sshd::with(&format!("ListenAddress {}", own.address));
    let host = format!("{}:{}", own.address, stage.sshd.port);
    let failure =
        "  - {name: f, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh], timeout: 30s}";
    let book = stage.sshd.book("", failure).replace(&format!("127.0.0.1:{}", stage.sshd.port), &host);
    let known = stage.sshd.join("known_hosts");
    let lines = std::fs::read_to_string(&known).expect("known hosts");
    std::fs::write(&known, lines.replace("127.0.0.1", &own.address)).expect("known hosts");
    stage.scratch.write("fatebooks/b/fatebook.yaml", book);
    let ran = stage.go_on(stage.begin(&[]));
    let told = ran.failure(&format!("b::f@{host}"));
    let why = ": the Mesos agent that this case runs on is that host itself: breaking it would end the case";
    assert!(told.contains(why) && told.contains("attempt 2 on "), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.code, Some(101));
    assert_eq!(stage.sshd.read("log"), "", "nothing was broken");
    let journal = stage.scratch.read("target/pisaura/journal.jsonl");
    assert!(journal.contains("\"event\":\"host left\""), "{journal}");
    // Here it is done, and said.
    let ran = Ran::of(stage.scratch.command(&crate::common::program()).arg("run"), &stage.scratch);
    let said =
        format!("warning: {host} is the machine that this run is on: what breaks it may break the run, too");
    assert_eq!((ran.code, ran.stderr.matches(&said).count()), (Some(0), 1), "{}", ran.stderr);
}

/// What the run gives to agents is given to nobody else.
fn fetched() {
    let stage = Stage::new("--step=2", &[]);
    let run = stage.begin(&[]);
    stage.wait_for("--step=2");
    let told = stage.cluster.told();
    let uris = &told["frameworks"][0]["executors"];
    let text = format!("{uris}{}", agent_state(&stage.cluster));
    let at = text.find("http://127.0.0.1:").expect("a URI");
    let uri: String = text[at..].chars().take_while(|c| !"\"\\".contains(*c)).collect();
    let (authority, path) = uri["http://".len()..].split_once('/').expect("a path");
    let get = |request: &str| {
        let mut stream = TcpStream::connect(authority).expect("a server");
        write!(stream, "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let head = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
        (head, answer.len())
    };
    assert_eq!(get(&format!("HEAD /{path}")).0, "HTTP/1.1 200 OK");
    assert!(get(&format!("GET /{path}")).1 > 10_000);
    let secret = path.split('/').next().expect("a secret");
    assert!(secret.len() >= 32);
    for other in [
        "/",
        &format!("/{secret}"),
        &format!("/{secret}/"),
        "/pisaura",
        "/../etc/passwd",
        &format!("/{secret}/../pisaura"),
    ] {
        let (head, length) = get(&format!("GET {other}"));
        assert!(head == "HTTP/1.1 404 Not Found" && length < 200, "{other}: {head}");
    }
    assert_eq!(get(&format!("DELETE /{path}")).0, "HTTP/1.1 405 Method Not Allowed");
    let ran = stage.go_on(run);
    stage.check_survived(&ran, "");
    assert!(TcpStream::connect(authority).is_err(), "it ends with the run");
}

/// What was written of the URIs into the sandbox by the fetcher.
fn agent_state(cluster: &Cluster) -> String {
    fn walk(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                walk(&path, text);
            } else if entry.file_name() == "stderr" {
                text.push_str(&std::fs::read_to_string(path).unwrap_or_default());
            }
        }
    }
    let mut text = String::new();
    walk(&cluster.state(), &mut text);
    text.replace('\n', "\"")
}

fn no_address() {
    let scratch = Scratch::new();
    write_scripts(&scratch);
    let check = |master: &str, want: &str| {
        let ran = scratch.harness(&["--master", master]);
        assert_eq!(
            (ran.code, ran.stderr),
            (
                Some(2),
                format!(
                    "error: --master (PISAURA_MASTER): {want}. write `local`, `host:port`, `http://host:port`, `https://host:port` or `zk://host:port,…/path`\n"
                )
            )
        );
    };
    check("a:b", "`a:b` is no address of a Mesos master: its port is none");
    check("zk://a", "`zk://a` is no address of a Mesos master: it has no path behind the servers");
}
