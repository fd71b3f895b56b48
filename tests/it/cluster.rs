//! A real Apache Mesos of `ci/mesos` for a test, and a stage that cases are run on through it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::{Ran, Scratch, Sshd, harness, wait_for};

/// Whether `ci/mesos` works here.
pub fn can_run() -> (bool, &'static str) {
    static CAN: OnceLock<bool> = OnceLock::new();
    let can = *CAN
        .get_or_init(|| cfg!(target_arch = "x86_64") && std::env::var_os("PISAURA_WITHOUT_MESOS").is_none());
    (can, "PISAURA_WITHOUT_MESOS is set, or this is no x86-64")
}

/// A cluster of this test's own.
pub struct Cluster {
    pub folder: TempDir,
    pub master: String,
}

impl Cluster {
    pub fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("pisaura-cluster-").tempdir().expect("a folder");
        let mut cluster = Self { folder, master: String::new() };
        cluster.up(arguments);
        cluster
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn command(&self, verb: &str) -> Command {
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
    pub fn told(&self) -> Value {
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
    pub fn executors(&self) -> Vec<u32> {
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
    pub scratch: Scratch,
    pub sshd: Sshd,
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

    pub fn begin(&self, arguments: &[&str]) -> Child {
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
