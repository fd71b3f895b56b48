//! The fatebooks for real systems, on the real ones: `ci/lab` makes hosts with an address, an sshd and the service of each.
//! Every failure of a book has to be survived there and leave nothing behind; what must not be survived stands in `sabotage`.
//!
//! `ci/lab test` runs all of it; the ordinary tests leave out what takes long.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::cluster::{Cluster, can_run};
use crate::common::{Ran, Scratch, on_master, program, run_if, wait_for};
use crate::sabotage::SABOTAGE;

/// Each system, and those of its failures that are always tried: all of them take longer, and more of a machine than one has who runs
/// other tests beside them.
const SYSTEMS: [(&str, &[&str]); 7] = [
    ("etcd", &["the leader is killed", "the majority is killed"]),
    ("nginx", &["a backend is killed", "all backends are killed"]),
    ("redis", &["the primary is killed"]),
    ("postgresql", &["the server is killed under writes", "all servers are killed"]),
    ("zookeeper", &[]),
    ("kafka", &["a leader is killed", "the majority of the brokers is killed"]),
    ("kafka-zookeeper", &["ZooKeeper's port is blocked"]),
];

pub fn tests() -> Vec<Trial> {
    let all = std::env::var_os("PISAURA_LAB_ALL").is_some();
    let mut trials = Vec::new();
    let mut add = |name: String, on_mesos: bool, run: Box<dyn FnOnce() + Send>| {
        trials.push(Trial::ignorable_test(name, move || {
            let (met, reason) = if on_mesos { can_run_on_mesos() } else { can_lab() };
            run_if(met, reason, run)
        }));
    };
    for (system, some) in SYSTEMS {
        let (name, run): (_, Box<dyn FnOnce() + Send>) = match all {
            true => ("each_failure", Box::new(move || each_failure(&Lab::up(system)))),
            false => ("some_failures", Box::new(move || some_failures(&Lab::up(system), some))),
        };
        if all || !some.is_empty() {
            add(format!("lab::{system}::{name}"), false, run);
        }
        let of_system = SABOTAGE.into_iter().filter(|(of, _, always, _)| *of == system && (all || *always));
        for (_, name, _, sabotage) in of_system {
            let run = move || sabotage(&Lab::up(system));
            add(format!("lab::{system}::{name}"), false, Box::new(run));
        }
    }
    add("lab::etcd::on_mesos".to_owned(), true, Box::new(on_mesos));
    add("lab::leaves_nothing".to_owned(), false, Box::new(leaves_nothing));
    add("lab::purge".to_owned(), false, Box::new(purge));
    add("lab::interrupted".to_owned(), false, Box::new(interrupted));
    add("lab::a_switch_out_of_the_logins_reach".to_owned(), false, Box::new(out_of_reach));
    add("lab::a_logind_that_ends_what_is_left".to_owned(), false, Box::new(logind));
    // What the program came with in 2016: its quick form always.
    add("lab::kafka-zookeeper::seed".to_owned(), true, Box::new(move || seed(all)));
    add("lab::two_logins".to_owned(), false, Box::new(two_logins));
    add("lab::at_once".to_owned(), false, Box::new(at_once));
    trials.push(Trial::test("lab::each_book_is_whole", || run_if(true, "", books).map(drop)));
    trials
}

/// Whether this machine can have the lab's hosts.
pub fn can_lab() -> (bool, &'static str) {
    static WHY_NOT: OnceLock<String> = OnceLock::new();
    let why_not =
        WHY_NOT.get_or_init(|| match Command::new(repository().join("ci/lab")).arg("check").output() {
            Ok(output) if output.status.success() => String::new(),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        });
    (why_not.is_empty(), why_not)
}

fn can_run_on_mesos() -> (bool, &'static str) {
    match can_lab() {
        (true, _) => can_run(),
        no => no,
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The hosts of a system, for one test.
pub struct Lab {
    scratch: Scratch,
    system: &'static str,
    pub variables: BTreeMap<String, String>,
}

impl Lab {
    pub fn up(system: &'static str) -> Self {
        let mut lab = Self { scratch: Scratch::new(), system, variables: BTreeMap::new() };
        let output = lab.command("up").arg(system).output().expect("ci/lab runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        for line in told.lines() {
            let (name, value) =
                line.strip_prefix("export ").and_then(|line| line.split_once('=')).expect("a variable");
            lab.variables.insert(name.to_owned(), value.trim_matches('\'').to_owned());
        }
        lab
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(repository().join("ci/lab"));
        command.arg(verb).arg("--state").arg(self.scratch.join("lab")).stdin(Stdio::null());
        command
    }

    /// The addresses of the book's hosts.
    pub fn hosts(&self) -> Vec<String> {
        let name = format!("{}_HOSTS", self.system.to_uppercase().replace('-', "_"));
        self.variables[&name]
            .split(',')
            .map(|host| host.strip_prefix("root@").expect("an account").to_owned())
            .collect()
    }

    /// What the system's book is called.
    fn book_name(&self) -> String {
        self.system.replace('-', "::")
    }

    /// The address of nginx' balancer.
    pub fn balancer(&self) -> String {
        self.variables["NGINX_URL"].trim_start_matches("http://").trim_end_matches('/').to_owned()
    }

    /// An ssh client that runs shell text on a host.
    pub fn ssh(&self, login: &str, script: &str) -> Command {
        let known = self.variables["PISAURA_SSH_KNOWN_HOSTS"].replace(' ', "\\ ");
        let mut command = Command::new("ssh");
        command
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", &format!("UserKnownHostsFile={known}")])
            .args(["-i", &self.variables["PISAURA_SSH_IDENTITY"], login, script])
            .stdin(Stdio::null());
        command
    }

    /// Runs shell text on a host as root, and gives what it printed.
    #[track_caller]
    pub fn on(&self, host: &str, script: &str) -> String {
        let output = self.ssh(&format!("root@{host}"), script).output().expect("ssh runs");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{host}: {told}{}", String::from_utf8_lossy(&output.stderr));
        told
    }

    /// Copies a folder of this machine to a host, to a folder that everybody there may read.
    pub fn copy(&self, login: &str, from: &Path, to: &str) {
        let host = login.rsplit('@').next().expect("a host");
        let mut tar = Command::new("tar")
            .args(["-c", "-C"])
            .arg(from)
            .arg(".")
            .stdout(Stdio::piped())
            .spawn()
            .expect("tar runs");
        let taken = self
            .ssh(&format!("root@{host}"), &format!("mkdir -p {to} && tar -x -C {to} && chmod -R a+rX {to}"))
            .stdin(tar.stdout.take().expect("its output"))
            .status();
        assert!(taken.expect("ssh runs").success() && tar.wait().expect("an end").success());
    }

    #[track_caller]
    pub fn on_each(&self, hosts: &[String], script: &str) {
        for host in hosts {
            self.on(host, script);
        }
    }

    /// Runs a script of the library on a host, as a case would.
    #[track_caller]
    pub fn library(&self, host: &str, script: &str) {
        self.copy(host, &repository().join("fatebooks/lib"), "/opt/library");
        let hosts = self.hosts().join(",");
        self.on(
            host,
            &format!(
                "export PISAURA_CASE=1 PISAURA_HOST={host} PISAURA_HOSTS={hosts}; /opt/library/{script}"
            ),
        );
    }

    /// Runs the system's book.
    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.book(arguments), &self.scratch)
    }

    /// The same, not begun yet.
    fn book(&self, arguments: &[&str]) -> Command {
        let mut command = self.scratch.command(&crate::common::harness());
        command.arg("--fatebooks").arg(repository().join("fatebooks")).args(arguments).envs(&self.variables);
        // Held as short as a busy machine allows.
        command.envs([
            ("ETCD_HOLD", "8s"),
            ("ETCD_MAX_OUTAGE", "7s"),
            ("POSTGRESQL_HOLD", "6s"),
            ("POSTGRESQL_MAX_OUTAGE", "5s"),
            ("POSTGRESQL_CUT_OFF", "10s"),
            ("POSTGRESQL_NOTICED", "9s"),
            ("NGINX_HOLD", "16s"),
            ("NGINX_MAX_OUTAGE", "15s"),
            ("ZOOKEEPER_HOLD", "16s"),
            ("ZOOKEEPER_MAX_OUTAGE", "14s"),
            ("ZOOKEEPER_SYNC", "8s"),
            ("REDIS_HOLD", "16s"),
            ("REDIS_MAX_OUTAGE", "14s"),
            ("REDIS_MAX_LAG", "8s"),
            ("KAFKA_HOLD", "20s"),
            ("KAFKA_MAX_OUTAGE", "18s"),
            ("KAFKA_NOTICED", "12s"),
            ("KAFKA_MAX_STALL", "16s"),
            ("KAFKA_MAX_LAG", "16s"),
        ]);
        command
    }

    /// A case, or one for each host, that has to fail with these words among what is told of it.
    #[track_caller]
    pub fn is_red(&self, name: &str, variables: &[(&str, &str)], why: &str) {
        let ran = Ran::of(
            self.book(&["--exact", name, "--show-output"]).envs(variables.iter().copied()),
            &self.scratch,
        );
        self.told_red(name, &ran, why);
    }

    #[track_caller]
    fn told_red(&self, name: &str, ran: &Ran, why: &str) {
        assert!(!matches!(ran.code, None | Some(0)), "{name} is green: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(why), "no `{why}` in {}{}", ran.stdout, ran.stderr);
    }

    /// The same; once the failure is in force, something is done on a host.
    #[track_caller]
    pub fn is_red_while(&self, name: &str, done: &str, why: &str) {
        // Its journal is nobody else's.
        let folder = self.scratch.join("while");
        let output = folder.display().to_string();
        let mut command = self.book(&["--exact", name, "--show-output", "--output", &output]);
        let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let journal = folder.join("journal.jsonl");
        let is_held =
            || std::fs::read_to_string(&journal).is_ok_and(|text| text.contains("\"step\":\"inducer\""));
        wait_for("the failure", || is_held() || run.try_wait().expect("a process").is_some());
        let hosts = self.hosts();
        // The inducer may be at work still.
        wait_for(done, || {
            hosts.iter().any(|host| {
                let output = self.ssh(&format!("root@{host}"), done).output();
                output.is_ok_and(|output| output.status.success())
            })
        });
        let ran = Ran::from_output(&run.wait_with_output().expect("an end"), &self.scratch);
        self.told_red(name, &ran, why);
    }

    /// Whether a case passes now.
    pub fn green(&self, name: &str) -> bool {
        self.run(&["--exact", name]).code == Some(0)
    }

    /// A case, or one for each host, that passes where it is for the host.
    #[track_caller]
    pub fn is_green(&self, name: &str) {
        let ran = self.run(&["--exact", name]);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(" ... ok"), "{}", ran.stdout);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let down = self.command("down").output();
        assert!(
            std::thread::panicking() || down.is_ok_and(|output| output.status.success()),
            "the lab cannot be taken down"
        );
    }
}

/// How long a step of a case took, by the case's name, as the report says it.
fn times(junit: &str, step: &str) -> BTreeMap<String, f64> {
    let mut times = BTreeMap::new();
    for case in junit.split("<testcase ").skip(1) {
        let name = case.split('"').nth(1).expect("a name").to_owned();
        let row = case.lines().find(|line| line.starts_with("  ") && line.contains(step));
        let time =
            row.and_then(|row| row.split_once(step)).and_then(|(_, rest)| rest.split_whitespace().next());
        if let Some(time) = time {
            times.insert(name, time.parse().expect("seconds"));
        }
    }
    times
}

/// What cases may leave on a host, and must not: rules, disciplines, drop-ins, marks, scripts, and processes that stand still.
const LEFT: &str = "iptables -S | grep pisaura; ip6tables -S | grep pisaura; tc qdisc show | grep htb; ls -lAR ~/.pisaura 2>/dev/null; \
    find /run /tmp /var/tmp /var/lib /srv -xdev -name '*pisaura*' -not -path '*/pisaura-[0-9]*/*' 2>/dev/null; \
    ps -eo stat,args | grep '^T'; systemctl --failed --no-legend --plain; true";

/// Runs the whole book, and looks whether every failure was tried and survived, and nothing was left.
fn each_failure(lab: &Lab) {
    let book = format!("{}::", lab.book_name());
    // A folder may have another book, for another system.
    let mut only = vec![book.as_str()];
    only.extend(if lab.system == "kafka" { ["--skip", "kafka::zookeeper::"].as_slice() } else { &[] });
    let listed = lab.run(&[&["--list"], only.as_slice()].concat());
    let names: Vec<&str> = listed.stdout.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    assert!(!names.is_empty(), "{}{}", listed.stdout, listed.stderr);
    let ran = lab.run(&only);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let mut survived = BTreeSet::new();
    for name in &names {
        let line = ran.line(name);
        let failure = failure_of(name);
        if line == "ok" {
            survived.insert(failure);
        } else {
            assert!(line.starts_with("ignored (not for this host as it is now: "), "{name}: {line}");
        }
    }
    let all: BTreeSet<&str> = names.iter().map(|name| failure_of(name)).collect();
    assert_eq!(survived, all, "{}", ran.stdout);
    let junit = std::fs::read_to_string(lab.scratch.join("target/pisaura/junit.xml")).expect("a report");
    let held = times(&junit, "3 hold");
    assert!(held.len() >= all.len() && held.values().all(|time| *time > 5.0), "held too briefly: {held:?}");
    for host in lab.hosts() {
        assert_eq!(lab.on(&host, LEFT), "", "{host}: {}", ran.stderr);
    }
}

/// The failure that a case tries.
fn failure_of(name: &str) -> &str {
    let failure = name.rsplit("::").next().expect("a name");
    failure.split('@').next().expect("a name")
}

/// The same of some.
fn some_failures(lab: &Lab, failures: &[&str]) {
    for failure in failures {
        lab.is_green(&format!("{}::{failure}", lab.book_name()));
    }
    for host in lab.hosts() {
        assert_eq!(lab.on(&host, LEFT), "", "{host}");
    }
}

fn on_mesos() {
    let (lab, cluster) = (Lab::up("etcd"), Cluster::start(&["--agents", "2"]));
    on_master(&cluster.master, || {
        lab.is_green(&format!("etcd::a minority is cut off@{}", lab.hosts()[0]));
        lab.is_green("etcd::all members are killed");
    });
    let journal = lab.scratch.read("target/pisaura/junit.xml");
    assert!(journal.contains("on agent "), "{journal}");
}

/// Each folder of a book has a README; without its variable each case is ignored, and says which.
fn books() {
    let scratch = Scratch::new();
    let books = ["etcd", "kafka", "nginx", "postgresql", "redis", "zookeeper"];
    for book in books {
        let folder = repository().join("fatebooks").join(book);
        let readme = std::fs::read_to_string(folder.join("README.md")).expect("a README");
        assert!(readme.starts_with("# ") && readme.contains(&format!("ci/lab up {book}")), "{book}");
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let begins = match name.rsplit_once('.') {
                Some((_, "sh")) => vec![format!("#!/bin/sh\n# {name}")],
                // One that others import is not run.
                Some((_, "py")) => {
                    vec![format!("#!/usr/bin/env python3\n\"\"\"{name}"), format!("\"\"\"{name}")]
                }
                _ => continue,
            };
            let text = std::fs::read_to_string(entry.path()).expect("a script");
            assert!(begins.iter().any(|begin| text.starts_with(begin)), "{book}/{name}");
        }
        let mut command = scratch.command(&crate::common::harness());
        command.arg("--fatebooks").arg(repository().join("fatebooks")).arg(format!("{book}::"));
        let ran = Ran::of(&mut command, &scratch);
        let variable = book.to_uppercase();
        let lines: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with("test ")).collect();
        assert!(lines.len() > 1 && ran.code == Some(0), "{}{}", ran.stdout, ran.stderr);
        for line in lines.iter().filter(|line| !line.starts_with("test result")) {
            assert!(
                line.contains("ignored") && line.contains(&variable) && line.contains("_HOSTS"),
                "{line}"
            );
        }
    }
}

/// What there is of the lab with this state: processes, its entry in the registry, its folder.
fn there(state: &Path) -> Vec<String> {
    let shown = state.display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("processes").flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&shown) && !line.contains("ci/lab ") {
            found.push(line);
        }
    }
    for entry in std::fs::read_dir("/run/pisaura-lab").into_iter().flatten().flatten() {
        if std::fs::read_to_string(entry.path()).is_ok_and(|text| text.trim_end() == shown) {
            found.push(entry.path().display().to_string());
        }
    }
    found.extend(state.exists().then_some(shown));
    found
}

/// A network namespace, which may get the name of another one.
fn networks(number: &str) -> Vec<u64> {
    use std::os::unix::fs::MetadataExt;
    let own = format!("pisaura-lab-{number}");
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let ours = entries.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name == own || name.starts_with(&format!("{own}-"))
    });
    ours.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.ino()).collect()
}

/// What is there before a lab is there after it, and nothing else.
fn leaves_nothing() {
    let lab = Lab::up("nginx");
    let state = lab.scratch.join("lab");
    let number = lab.hosts()[0].split('.').nth(2).expect("a number").to_owned();
    let (seen, before) = (there(&state), networks(&number));
    assert!(seen.len() >= 5 && before.len() == 4, "{seen:?} {before:?}");
    let again = lab.command("up").arg("nginx").output().expect("ci/lab runs");
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("is there already"));
    assert_eq!(there(&state).len(), seen.len(), "the second one has harmed the first");
    drop(lab);
    wait_for("that nothing is left", || there(&state).is_empty());
    assert!(networks(&number).iter().all(|network| !before.contains(network)));
}

/// Ended at any moment of its start, it leaves nothing; killed, it leaves what `down` takes away.
fn interrupted() {
    for (signal, step) in [("TERM", 7), ("KILL", 5)] {
        for moment in 0..step {
            let scratch = Scratch::new();
            let state = scratch.join("lab");
            let command = |verb: &str| {
                let mut command = Command::new(repository().join("ci/lab"));
                command.arg(verb).arg("--state").arg(&state).stdin(Stdio::null());
                command.stdout(Stdio::null()).stderr(Stdio::null());
                command
            };
            let mut up = command("up").arg("nginx").spawn().expect("ci/lab runs");
            // When is not told by anything that could be waited for: it is meant to be any moment.
            std::thread::sleep(Duration::from_millis(150 * moment + 40));
            let pid = up.id().to_string();
            let _ = Command::new("kill").args([&format!("-{signal}"), &pid]).stderr(Stdio::null()).status();
            let _ = Command::new("kill").args([&format!("-{signal}"), &pid]).stderr(Stdio::null()).status();
            let came_up = up.wait().expect("an end").success();
            let by_itself = !came_up && signal == "TERM";
            if !by_itself {
                let down = command("down").stderr(Stdio::piped()).output().expect("ci/lab runs");
                assert!(
                    down.status.success(),
                    "{signal} {moment}: {}",
                    String::from_utf8_lossy(&down.stderr)
                );
            }
            wait_for(&format!("that nothing is left after {signal} at moment {moment}"), || {
                there(&state).is_empty()
            });
        }
    }
}

/// A real logind that ends whatever a session leaves behind: a switch outlives its login by leaving the session's control group (as
/// root) or by the user's own manager (with lingering), else nothing is broken.
fn logind() {
    let lab = Lab::up("nginx");
    let host = lab.hosts()[0].clone();
    lab.on(
        &host,
        "useradd -m -u 71235 -s /bin/sh plain && usermod -p '*' plain; mkdir -p /etc/systemd/logind.conf.d; \
         printf '[Login]\\nKillUserProcesses=yes\\n' >/etc/systemd/logind.conf.d/kill.conf; sed -i 's/UsePAM no/UsePAM yes/' /etc/ssh/sshd_config; \
         rm -f /run/nologin; systemctl start systemd-logind; systemctl restart ssh",
    );
    let plain = format!("plain@{host}");
    wait_for("a session of logind's", || {
        let seen = lab.ssh(&plain, "grep -c session- /proc/self/cgroup").output();
        seen.is_ok_and(|output| output.status.success())
    });
    // It does what it is asked to.
    lab.ssh(&plain, "setsid sleep 777 >/dev/null 2>&1 </dev/null & sleep 0.2").output().expect("ssh runs");
    wait_for("that logind ends what is left", || lab.on(&host, "pgrep -x sleep || true").trim().is_empty());
    let at = lab.scratch.join("at");
    let run = |user: &str, passes: bool| {
        lab.scratch.write(
            "books/b/fatebook.yaml",
            format!(
                "service: s\nhosts: ['{user}@{host}']\nssh: {{identity_file: '{}', known_hosts: '{}'}}\nfailures:\n  - name: f\n    inducer: ['touch /tmp/broken']\n    reverter: ['rm -f /tmp/broken']\n    healthcheck: ['[ \"$1\" != --step=2 ] || [ -n \"$PISAURA_TEST_PASSES\" ] || {{ : >\"{}\"; sleep 30; }}']\n    timeout: 6s\n    deadman: 20s\n",
                lab.variables["PISAURA_SSH_IDENTITY"],
                lab.variables["PISAURA_SSH_KNOWN_HOSTS"],
                at.display()
            ),
        );
        let mut command = lab.scratch.command(&program());
        command.args(["run", "--fatebooks", "books"]);
        if passes {
            command.env("PISAURA_TEST_PASSES", "1");
        }
        command
    };
    let heals_itself = |user: &str| {
        let _ = std::fs::remove_file(&at);
        let mut killed =
            run(user, false).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
        wait_for("the healthcheck", || at.exists());
        killed.kill().expect("a signal");
        killed.wait().expect("an end");
        lab.on(&host, "test -e /tmp/broken");
        wait_for("that the host heals", || {
            let output = lab.ssh(&format!("root@{host}"), "test ! -e /tmp/broken").output();
            output.is_ok_and(|output| output.status.success())
        });
        let healed = Ran::of(lab.scratch.command(&program()).arg("revert"), &lab.scratch);
        assert_eq!(healed.stdout, "1 reverted\n", "{user}: {}", healed.stderr);
    };
    heals_itself("root");
    let ran = Ran::of(&mut run("plain", true), &lab.scratch);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("the dead man's switch would end with this login (/user.slice/"),
        "{}",
        ran.stdout
    );
    lab.on(&host, "test ! -e /tmp/broken; loginctl enable-linger plain");
    heals_itself("plain");
    let ran = Ran::of(&mut run("plain", true), &lab.scratch);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

/// Whatever ends what a login has begun, by a real systemd: the switch is out of its reach, or nothing is broken.
fn out_of_reach() {
    let lab = Lab::up("nginx");
    let host = lab.hosts()[0].clone();
    lab.on(&host, "useradd -m -u 71234 -s /bin/sh plain && usermod -p '*' plain");
    let at = lab.scratch.join("at");
    let book = |user: &str, keys: &str| {
        format!(
            "service: s\nhosts: ['{user}@{host}']\nssh: {{identity_file: '{}', known_hosts: '{}'}}\nfailures:\n  - name: f\n    inducer: ['touch /tmp/broken']\n    reverter: ['rm -f /tmp/broken']\n    healthcheck: ['[ \"$1\" != --step=2 ] || [ -n \"$PISAURA_TEST_PASSES\" ] || {{ : >\"{}\"; sleep 30; }}']\n    timeout: 2s\n    {keys}\n",
            lab.variables["PISAURA_SSH_IDENTITY"],
            lab.variables["PISAURA_SSH_KNOWN_HOSTS"],
            at.display()
        )
    };
    let run = |user: &str, keys: &str| {
        lab.scratch.write("books/b/fatebook.yaml", book(user, keys));
        let mut command = lab.scratch.command(&program());
        command.args(["run", "--fatebooks", "books"]);
        command
    };
    // The run dies, and then the server with all that its logins have begun.
    let mut killed =
        run("root", "deadman: 8s").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    wait_for("the healthcheck", || at.exists());
    killed.kill().expect("a signal");
    killed.wait().expect("an end");
    lab.on(
        &host,
        "test -e /tmp/broken && ! grep -q ssh /proc/$(pgrep -f '/.case-[0-9a-f]*/watch' | head -1)/cgroup",
    );
    let _ = lab.ssh(&format!("root@{host}"), "systemctl kill --signal=KILL ssh").output();
    wait_for("that the host heals", || {
        let output = lab.ssh(&format!("root@{host}"), "test ! -e /tmp/broken").output();
        output.is_ok_and(|output| output.status.success())
    });
    assert_eq!(Ran::of(lab.scratch.command(&program()).arg("revert"), &lab.scratch).stdout, "1 reverted\n");
    // Nobody takes an ordinary user's out of it here.
    let ran = Ran::of(run("plain", "deadman: 8s").env("PISAURA_TEST_PASSES", "1"), &lab.scratch);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("the dead man's switch would end with this login (/"), "{}", ran.stdout);
    // The same is said beforehand.
    let connected = |user: &str, keys: &str, code: i32, want: &str| {
        lab.scratch.write("books/b/fatebook.yaml", book(user, keys));
        let mut command = lab.scratch.command(&program());
        let ran = Ran::of(command.args(["check", "--connect", "--fatebooks", "books"]), &lab.scratch);
        assert_eq!(ran.code, Some(code), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(want), "{}{}", ran.stdout, ran.stderr);
    };
    connected("plain", "deadman: 8s", 3, "its dead man's switch would end with the login");
    let accepts = "deadman: {after: 8s, may_die_with: session}";
    connected("plain", accepts, 0, "its dead man's switch: ends with its login, as the book accepts");
    connected("root", "deadman: 8s", 0, "its dead man's switch: leaves the control group of its login");
    lab.on(&host, "test ! -e /tmp/broken");
    let accepted = "deadman: {after: 8s, may_die_with: session}";
    let ran = Ran::of(run("plain", accepted).env("PISAURA_TEST_PASSES", "1"), &lab.scratch);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(lab.on(&host, "ls -A ~plain | grep pisaura; ls -d /sys/fs/cgroup/pisaura /sys/fs/cgroup/*/pisaura 2>/dev/null; true"), "");
}

/// Of several that want the same place one gets it.
fn at_once() {
    let scratch = Scratch::new();
    let command = |verb: &str| {
        let mut command = Command::new(repository().join("ci/lab"));
        command.arg(verb).arg("--state").arg(scratch.join("lab")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let all: Vec<Child> = (0..3).map(|_| command("up").arg("nginx").spawn().expect("ci/lab runs")).collect();
    let up = all
        .into_iter()
        .filter_map(|mut child| child.wait().ok())
        .filter(std::process::ExitStatus::success)
        .count();
    assert_eq!(up, 1);
    assert!(there(&scratch.join("lab")).len() >= 5);
    assert!(command("down").status().expect("ci/lab runs").success());
    wait_for("that nothing is left", || there(&scratch.join("lab")).is_empty());
}

/// Two runs, of which neither knows of the other here, log in to one host as two users: the second one's case waits for the first
/// one's.
fn two_logins() {
    let lab = Lab::up("nginx");
    let host = lab.hosts()[0].clone();
    lab.on(&host, "useradd -m -u 71236 -s /bin/sh plain && usermod -p '*' plain");
    let run = |scratch: &Scratch, user: &str, healthcheck: &str| {
        let book = format!(
            "service: s\nhosts: ['{user}@{host}']\nssh: {{identity_file: '{}', known_hosts: '{}'}}\nfailures:\n  - name: f\n    inducer: ['echo {user} breaks >>/tmp/log; chmod a+w /tmp/log; true']\n    reverter: ['echo {user} heals >>/tmp/log']\n    healthcheck: ['{healthcheck}']\n    timeout: 20s\n    deadman: {{after: 90s, may_die_with: session}}\n",
            lab.variables["PISAURA_SSH_IDENTITY"], lab.variables["PISAURA_SSH_KNOWN_HOSTS"],
        );
        scratch.write("books/b/fatebook.yaml", book);
        let mut command = scratch.command(&program());
        command.args(["run", "--fatebooks", "books"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("it runs")
    };
    lab.on(&host, ": >/tmp/log; chmod a+w /tmp/log");
    let (at, go) = (lab.scratch.join("at"), lab.scratch.join("go"));
    let waits = format!(
        "[ \"$1\" != --step=2 ] || {{ : >\"{}\"; until [ -e \"{}\" ]; do sleep 0.1; done; }}",
        at.display(),
        go.display()
    );
    let first = run(&lab.scratch, "root", &waits);
    wait_for("the healthcheck", || at.exists());
    let other = Scratch::new();
    let mut second = run(&other, "plain", "true");
    let mut told = std::io::BufReader::new(second.stderr.take().expect("a pipe"));
    crate::common::wait_for_line(&mut told, "`b::f@");
    crate::common::wait_for_line(&mut told, ", by another login, has the host");
    lab.scratch.write("go", "");
    let first = Ran::from_output(&first.wait_with_output().expect("an end"), &lab.scratch);
    assert_eq!(first.code, Some(0), "{}{}", first.stdout, first.stderr);
    std::io::copy(&mut told, &mut std::io::sink()).expect("its output");
    assert!(second.wait().expect("an end").success());
    assert_eq!(lab.on(&host, "cat /tmp/log"), "root breaks\nroot heals\nplain breaks\nplain heals\n");
    assert_eq!(lab.on(&host, "ls -A /var/tmp | grep pisaura-lease; true"), "");
}

/// The scenario file of 2016, unchanged, as tasks of a real Mesos; then, if all is wanted, today's book.
fn seed(all: bool) {
    let mut command = Command::new(repository().join("ci/seed"));
    // Built anew it would be another one under the feet of other tests.
    command.args((!all).then_some("--quick")).env("PISAURA_PROGRAM", program()).stdin(Stdio::null());
    let scratch = Scratch::new();
    let ran = Ran::from_output(&command.output().expect("ci/seed runs"), &scratch);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("test result: ok. 3 passed; 0 failed; 0 ignored"), "{}", ran.stdout);
}

/// What labs leave on a machine goes when somebody asks for that, and they say what it is.
fn purge() {
    let scratch = Scratch::new();
    let cache = scratch.join("a cache");
    // Where no other test's labs are seen.
    let purge = || {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "/bin/sh",
            "-c",
            "mount -t tmpfs none /run && exec \"$0\" purge",
        ]);
        let output =
            command.arg(repository().join("ci/lab")).env("XDG_CACHE_HOME", &cache).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let folder = cache.join("pisaura-lab");
    scratch.write("a cache/pisaura-lab/0123.tar", "x");
    scratch.write("a cache/pisaura-lab/kafka-1/a.jar", "x");
    scratch.write("a cache/pisaura-lab/packages", "kcat\nmaven\n");
    let left = "lab: installed and left alone: kcat, maven; `ci/lab purge --packages` removes them\n";
    for removed in [2, 0] {
        let told = format!("lab: removed {removed} files and folders from {}\n{left}", folder.display());
        assert_eq!(purge(), (Some(0), told));
    }
    assert!(!folder.join("0123.tar").exists() && !folder.join("kafka-1").exists());
}
