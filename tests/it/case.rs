//! One case on a real SSH server: its book, its run, and what is left of both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::common::{Ran, Scratch, Sshd, program, wait_for, wait_for_none};

/// A book with a failure that makes a file `broken` and says so in `log`; its healthcheck waits where `stop` says, until there is
/// a file `go`.
pub struct Case {
    pub scratch: Scratch,
    pub sshd: Sshd,
}

pub const BREAK: &str = "#!/bin/sh\necho break >>\"$HOME/log\"\n: >\"$HOME/broken\"\n";

pub const HEAL: &str = "#!/bin/sh\necho heal >>\"$HOME/log\"\nrm -f \"$HOME/broken\"\n";

impl Case {
    pub fn new(config: &str) -> Self {
        Self::on(Sshd::with(config))
    }

    /// The same on this server.
    pub fn on(sshd: Sshd) -> Self {
        let scratch = Scratch::new();
        scratch.write("fatebooks/b/break.sh", BREAK);
        scratch.write("fatebooks/b/heal.sh", HEAL);
        let case = Self { scratch, sshd };
        case.waits_at("never");
        case.book("", "");
        case
    }

    /// The healthcheck waits in this call of it (`--step=2`).
    pub fn waits_at(&self, step: &str) -> &Self {
        let (go, at) = (self.path("go"), self.path("at"));
        self.scratch.write(
            "fatebooks/b/check.sh",
            format!("#!/bin/sh\nif [ \"$1\" = '{step}' ] && [ ! -e '{go}' ]; then : >'{at}'; until [ -e '{go}' ]; do sleep 0.05; done; fi\nexit 0\n"),
        );
        self
    }

    pub fn path(&self, name: &str) -> String {
        self.scratch.join(name).display().to_string()
    }

    /// With these keys of its failure, and more failures.
    pub fn book(&self, keys: &str, more: &str) -> &Self {
        let given = |key: &str, value: &str| {
            if keys.contains(&format!("{key}:")) { String::new() } else { format!("{key}: {value}, ") }
        };
        let failure = format!(
            "  - {{name: f, {}{}{}{}{keys}}}\n{more}",
            given("inducer", "[break.sh]"),
            given("reverter", "[heal.sh]"),
            given("healthcheck", "[check.sh]"),
            given("timeout", "10s"),
        );
        self.scratch.write("fatebooks/b/fatebook.yaml", self.sshd.book("", &failure));
        self
    }

    /// The book's host is reached through this port.
    pub fn through(&self, port: u16, known: &str) -> &Self {
        let path = "fatebooks/b/fatebook.yaml";
        let text = self
            .scratch
            .read(path)
            .replace(&format!("127.0.0.1:{}", self.sshd.port), &format!("127.0.0.1:{port}"));
        self.scratch.write(path, text);
        fs::write(self.sshd.join("known_hosts"), known).expect("known hosts");
        self
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.scratch.command(&program());
        command.args(arguments);
        command
    }

    pub fn pisaura(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments), &self.scratch)
    }

    /// Runs the case, shown with its steps and output: its code, and what was said. It leaves the host healed.
    #[track_caller]
    pub fn says(&self) -> (i32, String) {
        let ran = self.pisaura(&["run", "--show-output"]);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!self.is_broken(), "{said}");
        (ran.code.unwrap_or(-1), said)
    }

    /// The same; it ends with this code, and says these things.
    #[track_caller]
    pub fn says_all(&self, code: i32, wants: &[&str]) -> String {
        let (got, said) = self.says();
        assert_eq!(got, code, "{said}");
        for want in wants {
            assert!(said.contains(want), "no `{want}` in {said}");
        }
        said
    }

    /// A run that has come to where its healthcheck waits.
    pub fn begin(&self) -> Child {
        self.begin_until("the healthcheck", &self.scratch.join("at"))
    }

    /// A run in which something has made this file.
    pub fn begin_until(&self, what: &str, file: &Path) -> Child {
        let mut command = self.command(&["run"]);
        let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        wait_for(what, || file.exists() || run.try_wait().expect("a process").is_some());
        if !file.exists() {
            let ran = self.end(run);
            panic!("it ended before {what}: {}{}", ran.stdout, ran.stderr);
        }
        run
    }

    /// The same, killed there.
    pub fn begin_and_kill(&self) {
        let mut run = self.begin();
        run.kill().expect("a signal");
        run.wait().expect("an end");
        self.go();
    }

    /// A run that was killed once its inducer had made a file `at` on the host.
    pub fn kill_in_the_inducer(&self) {
        let mut run = self.begin_until("the inducer's stop", &self.sshd.home().join("at"));
        run.kill().expect("a signal");
        run.wait().expect("an end");
    }

    pub fn go(&self) {
        self.scratch.write("go", "");
    }

    pub fn end(&self, run: Child) -> Ran {
        Ran::from_output(&run.wait_with_output().expect("an end"), &self.scratch)
    }

    pub fn log(&self) -> String {
        self.sshd.read("log")
    }

    pub fn log_or_none(&self) -> String {
        fs::read_to_string(self.sshd.home().join("log")).unwrap_or_default()
    }

    pub fn is_broken(&self) -> bool {
        self.sshd.home().join("broken").exists()
    }

    /// The folder of the one case on the host.
    pub fn case_folder(&self) -> PathBuf {
        let entries = fs::read_dir(self.sshd.our_folder()).expect("a folder").flatten();
        let is_case = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(".case-");
        entries.into_iter().find(is_case).expect("a case").path()
    }

    #[track_caller]
    pub fn check_left_clean(&self) {
        let root = self.sshd.home().join(".pisaura");
        wait_for_none("there", || if root.exists() { format!("{:?}", walk(&root)) } else { String::new() });
        wait_for("that nothing runs", || self.sshd.processes().is_empty());
    }
}

pub fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| {
            [vec![entry.path()], if entry.path().is_dir() { walk(&entry.path()) } else { Vec::new() }]
                .concat()
        })
        .collect()
}

/// The host keys of these servers, under the name of a relay.
pub fn known(port: u16, servers: &[&Sshd]) -> String {
    let keys = |sshd: &&Sshd| {
        let text = fs::read_to_string(sshd.join("host_ed25519.pub")).expect("a key");
        format!("[127.0.0.1]:{port} {text}")
    };
    servers.iter().map(keys).collect()
}

/// A second machine, that the first one's key opens.
pub fn another(case: &Case) -> Sshd {
    let other = Sshd::start();
    fs::copy(case.sshd.join("identity.pub"), other.join("authorized_keys")).expect("a key");
    other
}

pub fn stop(process: u32, signal: &str) {
    assert!(
        Command::new("kill")
            .args([&format!("-{signal}"), &process.to_string()])
            .status()
            .expect("kill runs")
            .success()
    );
}

/// Ends a watcher with its sleep: it leads a group of its own.
pub fn end_group(leader: &str) {
    signal_group(leader, "KILL");
}

/// Sends a signal to all of the group that this process leads.
pub fn signal_group(leader: &str, signal: &str) {
    let status = Command::new("kill").args([&format!("-{signal}"), "--", &format!("-{leader}")]).status();
    assert!(status.expect("kill runs").success());
}
