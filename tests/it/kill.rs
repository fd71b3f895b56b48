//! Whatever dies, the host is healed: each party killed, or cut off, at each moment of a case; against real SSH servers in
//! network namespaces with addresses of their own, here and on a real Mesos.
//!
//! `ci/kill` runs the whole matrix and prints it as a table; the ordinary tests run a part of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::cluster::{Cluster, can_run};
use crate::common::{PATIENCE, Ran, Scratch, is_root, keygen, program, run_if, wait_for};
use crate::interrupts::signal;

/// What is killed, or cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Harness,
    /// Stands still for longer than the dead man's time, as on a laptop that is closed.
    FrozenHarness,
    Executor,
    FrozenExecutor,
    /// Ended by an operator.
    TermedExecutor,
    /// Its agent is drained: what runs there is ended, and nothing new begins.
    DrainedAgent,
    Cluster,
    Sshd,
    /// The whole host, which comes back with the numbers of its processes given to others.
    RebootedHost,
    Network,
}

impl Victim {
    /// Whether there is one without a Mesos, and whether there is one with it.
    fn is_there(self, on_mesos: bool) -> bool {
        match self {
            Self::Executor
            | Self::FrozenExecutor
            | Self::TermedExecutor
            | Self::DrainedAgent
            | Self::Cluster => on_mesos,
            Self::FrozenHarness | Self::RebootedHost => !on_mesos,
            Self::Harness | Self::Sshd | Self::Network => true,
        }
    }
}

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    BeforeTheUpload,
    AfterTheUpload,
    JustBeforeTheInducer,
    InTheInducer,
    /// It has not broken the host yet, and goes on for a while without its connection.
    InASlowInducer,
    BeforeTheHealthcheck,
    InTheHealthcheck,
    InTheReverter,
    JustAfterTheReverter,
}

const VICTIMS: [Victim; 10] = [
    Victim::Harness,
    Victim::FrozenHarness,
    Victim::Executor,
    Victim::FrozenExecutor,
    Victim::TermedExecutor,
    Victim::DrainedAgent,
    Victim::Cluster,
    Victim::Sshd,
    Victim::RebootedHost,
    Victim::Network,
];
const MOMENTS: [Moment; 9] = [
    Moment::BeforeTheUpload,
    Moment::AfterTheUpload,
    Moment::JustBeforeTheInducer,
    Moment::InTheInducer,
    Moment::InASlowInducer,
    Moment::BeforeTheHealthcheck,
    Moment::InTheHealthcheck,
    Moment::InTheReverter,
    Moment::JustAfterTheReverter,
];

/// The part that is run whenever all tests are.
const ALWAYS: [(bool, Victim, Moment); 18] = [
    (false, Victim::FrozenHarness, Moment::InTheInducer),
    (false, Victim::FrozenHarness, Moment::InTheHealthcheck),
    (false, Victim::RebootedHost, Moment::InTheHealthcheck),
    (true, Victim::FrozenExecutor, Moment::InTheHealthcheck),
    (true, Victim::TermedExecutor, Moment::InTheInducer),
    (true, Victim::DrainedAgent, Moment::InTheHealthcheck),
    (false, Victim::Sshd, Moment::InASlowInducer),
    (false, Victim::Harness, Moment::InASlowInducer),
    (false, Victim::Harness, Moment::JustBeforeTheInducer),
    (false, Victim::Harness, Moment::InTheInducer),
    (false, Victim::Harness, Moment::InTheReverter),
    (false, Victim::Sshd, Moment::InTheHealthcheck),
    (false, Victim::Network, Moment::InTheInducer),
    (false, Victim::Network, Moment::InTheReverter),
    (true, Victim::Executor, Moment::InTheReverter),
    (true, Victim::Executor, Moment::JustBeforeTheInducer),
    (true, Victim::Cluster, Moment::InTheInducer),
    (true, Victim::Harness, Moment::InTheHealthcheck),
];

/// The same for a case of two hosts, of which the first is met.
const ALWAYS_SEVERAL: [(bool, Victim, Moment); 6] = [
    (false, Victim::Harness, Moment::JustBeforeTheInducer),
    (false, Victim::Harness, Moment::InTheInducer),
    (false, Victim::Sshd, Moment::AfterTheUpload),
    (false, Victim::Network, Moment::InTheInducer),
    (false, Victim::FrozenHarness, Moment::InTheHealthcheck),
    (true, Victim::Executor, Moment::InTheHealthcheck),
];

pub fn tests() -> Vec<Trial> {
    let all = std::env::var_os("PISAURA_KILL_ALL").is_some();
    let mut cells = Vec::new();
    for (on_mesos, several) in [(false, false), (true, false), (false, true), (true, true)] {
        let always: &[_] = if several { &ALWAYS_SEVERAL } else { &ALWAYS };
        for victim in VICTIMS {
            let is_there = victim.is_there(on_mesos);
            let of_victim = MOMENTS.into_iter().filter(|_| is_there).map(|moment| (on_mesos, victim, moment));
            cells.extend(of_victim.filter(|cell| all || always.contains(cell)).map(|cell| (several, cell)));
        }
    }
    let cells = cells.into_iter().map(|(several, (on_mesos, victim, moment))| {
        let place = match (on_mesos, several) {
            (false, false) => "local",
            (true, false) => "mesos",
            (false, true) => "several",
            (true, true) => "several_on_mesos",
        };
        Trial::ignorable_test(format!("kill::{place}::{victim:?}::{moment:?}"), move || {
            let (met, reason) = can_kill(on_mesos);
            run_if(met, reason, || cell(on_mesos, several, victim, moment))
        })
    });
    let cut_off = Trial::ignorable_test("kill::an_inducer_that_cuts_the_host_off", || {
        let (met, reason) = can_kill(false);
        run_if(met, reason, cut_off)
    });
    cells.chain([cut_off]).collect()
}

/// Whether this machine allows network namespaces.
pub fn can_kill(on_mesos: bool) -> (bool, &'static str) {
    if !is_root() {
        return (false, "only root can make network namespaces");
    }
    let name = format!("pisaura-try-{}", std::process::id());
    static TRIED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let works = *TRIED.get_or_init(|| ip(&["netns", "add", &name]) && ip(&["netns", "del", &name]));
    match (works, on_mesos) {
        (false, _) => (false, "this machine allows no network namespaces"),
        (true, true) => can_run(),
        (true, false) => (true, ""),
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A host: a network namespace with an address and an SSH server of its own.
pub struct Host {
    folder: TempDir,
    pub name: String,
    link: String,
    pub address: String,
    /// Has process numbers of its own, which begin anew when it does.
    counts_anew: bool,
    sshd: Option<Child>,
}

impl Host {
    pub fn start() -> Self {
        Self::start_as(false)
    }

    fn start_as(counts_anew: bool) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = tempfile::Builder::new().prefix("pisaura-host-").tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        for kind in ["host_key", "identity"] {
            keygen("ed25519", &folder.path().join(kind), "");
        }
        fs::create_dir_all(folder.path().join("home/bin")).expect("a home");
        let _ = fs::create_dir_all("/run/sshd");
        for _ in 0..200 {
            let number =
                (std::process::id().wrapping_mul(61) + COUNT.fetch_add(1, Ordering::SeqCst) * 7) % 16_000;
            let (name, link) = (format!("pisaura-{number}"), format!("pisaura{number}"));
            let prefix = format!("10.{}.{}", 200 + number / 8000, number % 8000 / 32);
            let last = number % 32 * 8;
            let (near, far) = (format!("{prefix}.{}", last + 1), format!("{prefix}.{}", last + 2));
            // Whoever has the name has the addresses.
            if !ip(&["netns", "add", &name]) {
                continue;
            }
            let mut host = Self {
                folder,
                name: name.clone(),
                link: link.clone(),
                address: far.clone(),
                counts_anew,
                sshd: None,
            };
            let made = ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &name])
                && ip(&["addr", "add", &format!("{near}/30"), "dev", &link])
                && ip(&["link", "set", &link, "up"])
                && ip(&["-n", &name, "addr", "add", &format!("{far}/30"), "dev", "eth0"])
                && ip(&["-n", &name, "link", "set", "eth0", "up"])
                && ip(&["-n", &name, "link", "set", "lo", "up"]);
            assert!(made, "the network of {name} cannot be made");
            host.start_sshd();
            return host;
        }
        panic!("no name for a network namespace is free");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn home(&self, name: &str) -> PathBuf {
        self.folder.path().join("home").join(name)
    }

    fn start_sshd(&mut self) {
        let folder = self.folder.path().display().to_string();
        let config = format!(
            "ListenAddress {}:22\nPidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nSubsystem sftp internal-sftp\nAuthorizedKeysFile {folder}/identity.pub\n\
             HostKey {folder}/host_key\nSetEnv HOME={folder}/home PATH={folder}/home/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
            self.address
        );
        fs::write(self.path("config"), config).expect("a configuration");
        let key = fs::read_to_string(self.path("host_key.pub")).expect("a key");
        fs::write(self.path("known_hosts"), format!("{} {key}", self.address)).expect("known hosts");
        // Its first process tells of another boot than the last one, gives the numbers that are asked for to processes of nobody's, and
        // is the server then.
        let boot = "cat /proc/sys/kernel/random/uuid >boot_id; mount --bind boot_id /proc/sys/kernel/random/boot_id; for number in $(cat numbers 2>/dev/null); do echo $((number - 1)) >/proc/sys/kernel/ns_last_pid; sleep 1000 & done; exec /usr/sbin/sshd -D -e -f config";
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]);
        if self.counts_anew {
            command.args([
                "unshare",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "/bin/sh",
                "-c",
                boot,
            ]);
        } else {
            command.args(["/usr/sbin/sshd", "-D", "-e", "-f"]).arg(self.path("config"));
        }
        let child =
            command.current_dir(self.folder.path()).stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        self.sshd = Some(child.expect("sshd runs"));
        wait_for("sshd", || std::net::TcpStream::connect((self.address.as_str(), 22)).is_ok());
    }

    /// Ends the server and all its sessions, but not what has left them, and starts it again a little later.
    fn kill_sshd(&mut self) {
        let listed = Command::new("ip").args(["netns", "pids", &self.name]).output().expect("ip runs");
        for process in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
            let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
            if name.trim() == "sshd" || name.trim().starts_with("sshd-") {
                let _ = Command::new("kill").args(["-KILL", process]).status();
            }
        }
        if let Some(mut sshd) = self.sshd.take() {
            let _ = sshd.wait();
        }
    }

    /// Ends all that is there, and starts it again, with the numbers of what was at work for us given to others. Answers with how
    /// many these are.
    fn reboot(&mut self) -> usize {
        let mut numbers = Vec::new();
        for folder in crate::common::found(&self.home(".pisaura"), ".case-") {
            for name in ["watcher", "inducing", "reverting"] {
                let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
                numbers.extend(text.split(' ').next().and_then(|number| number.parse::<u32>().ok()));
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        let text: String = numbers.iter().map(|number| format!("{number} ")).collect();
        fs::write(self.path("numbers"), text).expect("a file");
        if let Some(mut sshd) = self.sshd.take() {
            sshd.kill().expect("a signal");
            sshd.wait().expect("an end");
        }
        wait_for("that nothing is left of it", || self.processes().is_empty());
        self.start_sshd();
        numbers.len()
    }

    fn processes(&self) -> Vec<String> {
        let listed = Command::new("ip").args(["netns", "pids", &self.name]).output().expect("ip runs");
        String::from_utf8_lossy(&listed.stdout).split_whitespace().map(str::to_owned).collect()
    }

    fn set_link(&self, state: &str) {
        assert!(ip(&["link", "set", &self.link, state]), "the link of {}", self.name);
    }

    /// A script of this machine's that writes its name to the host's log and does something; at its moment it waits for leave to go on.
    fn script_here(&self, name: &str, does: &str, waits: bool) -> String {
        let home = self.home("").display().to_string();
        format!("#!/bin/sh\nHOME='{}'\n{}", home.trim_end_matches('/'), script(name, does, waits))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home("log")).unwrap_or_default()
    }

    /// Whether a script of this name is at work there.
    fn runs(&self, script: &str) -> bool {
        self.processes().iter().any(|process| {
            let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(script)
        })
    }

    fn is_broken(&self) -> bool {
        self.home("broken").exists()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let listed = Command::new("ip").args(["netns", "pids", &self.name]).output();
        let listed =
            listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        for process in listed.split_whitespace() {
            let _ = Command::new("kill").args(["-KILL", process]).stderr(Stdio::null()).status();
        }
        if let Some(mut sshd) = self.sshd.take() {
            let _ = sshd.wait();
        }
        ip(&["link", "del", &self.link]);
        ip(&["netns", "del", &self.name]);
        // What a host that was ended hard says to its other users would stay: it has this machine's files.
        for entry in fs::read_dir("/var/tmp").into_iter().flatten().flatten() {
            let is_word = entry.file_name().to_string_lossy().starts_with(".pisaura-lease-");
            let is_own = |text: String| text.contains(&format!("@{} ", self.address));
            if is_word && fs::read_to_string(entry.path()).is_ok_and(is_own) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// A script of a host's: it writes its name to the log there and does something; at its moment it waits for leave to go on.
fn script(name: &str, does: &str, waits: bool) -> String {
    let wait = match waits {
        true => "[ -e ~/go ] || : >~/at; until [ -e ~/go ]; do sleep 0.05; done",
        false => ":",
    };
    format!("#!/bin/sh\necho {name} >>~/log\n{}\n", does.replace("WAIT", wait))
}

/// A book with one failure that makes a file, whose reverter removes it.
fn write_book(scratch: &Scratch, host: &Host, other: Option<&Host>, moment: Option<Moment>, keys: &str) {
    let at = |other: Moment| moment == Some(other);
    let write = |name: &str, text: String| scratch.write(&format!("fatebooks/b/{name}"), text);
    // What the journal says when the host is broken is looked at later.
    let journal = scratch.join("target/pisaura/journal.jsonl").display().to_string();
    let breaks = match at(Moment::InASlowInducer) {
        true => format!("cp '{journal}' ~/journal; WAIT; sleep 0.8; : >~/broken"),
        false => format!("cp '{journal}' ~/journal; : >~/broken; WAIT"),
    };
    write("break.sh", script("break", &breaks, at(Moment::InTheInducer) || at(Moment::InASlowInducer)));
    write("verify.sh", script("verify", "WAIT", at(Moment::BeforeTheHealthcheck)));
    write("heal.sh", script("heal", "WAIT; rm -f ~/broken", at(Moment::InTheReverter)));
    let waits = match moment {
        Some(Moment::BeforeTheUpload) => "--step=1",
        Some(Moment::InTheHealthcheck) => "--step=2",
        Some(Moment::JustAfterTheReverter) => "--step=3",
        _ => "never",
    };
    write("check.sh", host.script_here("$1", &format!("if [ $1 = '{waits}' ]; then WAIT; fi; exit 0"), true));
    // What the host is asked to do just before: its own `mkdir`, in front of the real one, waits.
    let wrapped = match moment {
        Some(Moment::AfterTheUpload) => "*/.case-*/armed",
        Some(Moment::JustBeforeTheInducer) => "*/.case-*",
        _ => "never",
    };
    // The first of these comes before anything is left there, the second when it is, but for the watcher.
    let order = match moment {
        Some(Moment::JustBeforeTheInducer) => "/bin/mkdir \"$@\"; status=$?; WAIT; exit $status",
        _ => "WAIT; exec /bin/mkdir \"$@\"",
    };
    let text = script(
        "mkdir",
        &format!("case \"$*\" in {wrapped}) {order};; esac\nexec /bin/mkdir \"$@\""),
        wrapped != "never",
    );
    fs::write(host.home("bin/mkdir"), text.replacen("echo mkdir >>~/log\n", "", 1)).expect("a script");
    fs::set_permissions(host.home("bin/mkdir"), fs::Permissions::from_mode(0o755)).expect("a mode");
    let folder = host.folder.path().display();
    let (mut hosts, mut on) = (format!("root@{}", host.address), "");
    if let Some(other) = other {
        hosts.push_str(&format!(", root@{}", other.address));
        on = "on: all, ";
        let add = |file: &str, more: &str| {
            let text = fs::read_to_string(host.path(file)).expect("a file") + more;
            fs::write(host.path(file), text).expect("a file");
        };
        add("known_hosts", &fs::read_to_string(other.path("known_hosts")).expect("known hosts"));
        fs::copy(host.path("identity.pub"), other.path("identity.pub")).expect("a key");
        // It waits for nothing.
        fs::write(other.home("go"), "").expect("a file");
    }
    scratch.write(
        "fatebooks/b/fatebook.yaml",
        format!(
            "service: s\nhosts: [{hosts}]\nssh: {{identity_file: '{folder}/identity', known_hosts: '{folder}/known_hosts', connect_timeout: 1s}}\n\
             {keys}\nfailures:\n  - {{name: f, {on}inducer: [break.sh], verify: [verify.sh], reverter: [heal.sh], healthcheck: [check.sh]}}\n"
        ),
    );
}

/// Whether each thread of a process is stopped: a signal takes effect a little after it was sent.
fn stands_still(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let is_stopped = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    };
    threads.into_iter().all(is_stopped)
}

fn cell(on_mesos: bool, several: bool, victim: Victim, moment: Moment) {
    let (scratch, mut host) = (Scratch::new(), Host::start_as(victim == Victim::RebootedHost));
    // A second host of the case, that nothing happens to.
    let other = several.then(Host::start);
    write_book(&scratch, &host, other.as_ref(), Some(moment), "timeout: 1s\ndeadman: 6s");
    let settings = ["--agents", "2", "--set", "MESOS_EXECUTOR_REREGISTRATION_TIMEOUT=1secs"];
    let mut cluster = on_mesos.then(|| Cluster::start(&settings));
    let mut command = scratch.command(&program());
    command.args(["run", "--task-retry", "2", "--offer-timeout", "30s"]);
    if let Some(cluster) = &cluster {
        command.args(["--master", &cluster.master]);
    }
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    wait_for("the moment", || host.home("at").exists());
    let began = Instant::now();
    let mut innocent = 0;
    let of_cluster = || cluster.as_ref().expect("a cluster");
    match victim {
        Victim::Harness => run.kill().expect("a signal"),
        Victim::FrozenHarness => {
            signal(&run, "STOP");
            wait_for("that it stands still", || stands_still(run.id()));
        }
        Victim::Executor => of_cluster().kill_executors(),
        Victim::FrozenExecutor => {
            of_cluster().signal_executors("-STOP");
            wait_for("that they stand still", || of_cluster().executors().into_iter().all(stands_still));
        }
        Victim::TermedExecutor => of_cluster().signal_executors("-TERM"),
        Victim::DrainedAgent => of_cluster().drain_agents(),
        Victim::Cluster => of_cluster().crash(),
        Victim::Sshd => host.kill_sshd(),
        Victim::RebootedHost => innocent = host.reboot(),
        Victim::Network => host.set_link("down"),
    }
    fs::write(host.home("go"), "").expect("a file");
    match victim {
        Victim::Cluster => cluster.as_mut().expect("a cluster").up(&["--keep"]),
        Victim::Sshd => host.start_sshd(),
        // It comes back only when the host has had to help itself.
        Victim::Network => {
            wait_for("that the host heals itself", || !host.is_broken());
            host.set_link("up");
        }
        Victim::FrozenHarness | Victim::FrozenExecutor => {
            wait_for("that the dead man's time is over", || began.elapsed() > Duration::from_secs(9));
            wait_for("that the host heals itself", || !host.is_broken());
            match victim {
                Victim::FrozenHarness => signal(&run, "CONT"),
                _ => of_cluster().signal_executors_if_any("-CONT"),
            }
        }
        _ => {}
    }
    let ran = Ran::from_output(&run.wait_with_output().expect("an end"), &scratch);
    // The watcher has counted whole seconds, and a loaded machine is slow.
    wait_for("that the host is healed", || !host.is_broken());
    if let Some(other) = &other {
        wait_for("that the other host is healed", || !other.is_broken());
    }
    assert!(began.elapsed() < PATIENCE);
    let log = host.log();
    assert!(log.matches("break\n").count() <= 1, "induced twice:\n{log}");
    let journal = scratch.read("target/pisaura/journal.jsonl");
    let then = fs::read_to_string(host.home("journal")).unwrap_or_default();
    let noted = then.contains("\"event\":\"may be dirty\"");
    assert!(noted || !log.contains("break\n"), "induced before it was noted");
    let is_under_test = matches!(
        moment,
        Moment::InTheInducer
            | Moment::InASlowInducer
            | Moment::BeforeTheHealthcheck
            | Moment::InTheHealthcheck
    );
    if is_under_test && matches!(victim, Victim::FrozenHarness | Victim::FrozenExecutor) {
        // Its switch healed the host while nobody looked.
        assert!(!matches!(ran.code, None | Some(0)), "{}{}\n{journal}", ran.stdout, ran.stderr);
    }
    // Whoever else ends a case has not said that it is not to be run.
    assert!(!ran.stdout.contains(" ... ignored"), "{}{}", ran.stdout, ran.stderr);
    let processes = host.processes();
    let alive = processes.iter().filter(|process| {
        fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| line == b"sleep\x001000\0")
    });
    assert_eq!(alive.count(), innocent, "a process of nobody's was ended for its number");
    if victim != Victim::Harness {
        let settled = journal.matches("\"event\":\"settled\"").count();
        assert_eq!(settled, 1, "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("test b::f@"), "{}", ran.stdout);
    }
    drop(cluster);
    // What a killed run has left, and the part of the failure that came after it, is healed for good by the next one.
    let reverted = scratch.pisaura(&["revert"]);
    assert_eq!(reverted.code, Some(0), "{}{}", reverted.stdout, reverted.stderr);
    // An inducer that has outlived its connection is not at work any more, nor will it break the host now.
    wait_for("that no inducer is at work", || !host.runs("break.sh"));
    assert!(!host.is_broken(), "{}", host.log());
    assert!(host.log().matches("break\n").count() <= 1, "induced twice:\n{}", host.log());
    let left = || {
        let found = Command::new("find").arg(host.home(".pisaura")).output().expect("find runs");
        String::from_utf8_lossy(&found.stdout).into_owned()
    };
    crate::common::wait_for_none("of what is ours there", left);
    assert_eq!(scratch.pisaura(&["revert", "--list"]).stdout, "no host is dirty\n");
    if let Some(other) = other {
        assert!(other.log().matches("break\n").count() <= 1, "induced twice:\n{}", other.log());
        assert!(!other.is_broken(), "{}", other.log());
        wait_for("that nothing is left on the other host", || !other.home(".pisaura").exists());
    }
}

/// The failure that matters most: the host cannot be reached any more, so only its watcher can heal it.
fn cut_off() {
    let (scratch, host) = (Scratch::new(), Host::start());
    write_book(&scratch, &host, None, None, "timeout: 2s\ndeadman: 9s");
    let rule = "-p tcp --dport 22 -m comment --comment \"pisaura-$PISAURA_CASE\" -j DROP";
    scratch.write(
        "fatebooks/b/break.sh",
        script(
            "break",
            &format!(": >~/broken; (sleep 0.2; iptables -w -I INPUT {rule}) </dev/null >/dev/null 2>&1 &"),
            false,
        ),
    );
    scratch.write(
        "fatebooks/b/heal.sh",
        script(
            "heal",
            &format!("while iptables -w -D INPUT {rule} 2>/dev/null; do :; done; rm -f ~/broken"),
            false,
        ),
    );
    scratch.write("fatebooks/b/verify.sh", "#!/bin/sh\nsleep 0.6\n");
    let began = Instant::now();
    let ran = scratch.pisaura(&["run", "--show-output"]);
    assert!(!host.is_broken(), "{}", host.log());
    let rules = Command::new("ip")
        .args(["netns", "exec", &host.name, "iptables", "-S"])
        .output()
        .expect("iptables runs");
    assert!(!String::from_utf8_lossy(&rules.stdout).contains("pisaura"), "{rules:?}");
    assert_eq!(host.log().matches("break\n").count(), 1);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("ok, the host had healed by its dead man's switch"), "{}", ran.stdout);
    assert!(began.elapsed() > Duration::from_secs(5), "nobody could reach it before");
    wait_for("that nothing of ours is left there", || !host.home(".pisaura").exists());
}
