//! The library of failures, `fatebooks/lib/`: each script alone. Its effect is seen by an independent look; done twice it is
//! the same; its reverter takes away what it did itself, and nothing else; reverted twice, nothing is left.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::common::{Scratch, needing, test, wait_for};
use crate::kill::{Host, can_kill};

pub fn tests() -> Vec<Trial> {
    let (met, reason) = can_kill(false);
    vec![
        needing("library::block_port", met, reason, block_port),
        needing("library::cut_off", met, reason, cut_off),
        test("library::pause_and_resume", pause),
        test("library::kill", kill),
        needing("library::fill_disk", met, reason, fill_disk),
        test("library::burn_cpu", burn_cpu),
        test("library::each_script_says_what_it_is_for", first_lines),
    ]
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fatebooks/lib"))
}

/// A case's scripts, run here or on a host.
struct Library<'a> {
    host: Option<&'a Host>,
    case: String,
}

impl<'a> Library<'a> {
    fn new(host: Option<&'a Host>) -> Self {
        let chance = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("a time")
            .subsec_nanos();
        Self { host, case: format!("test{}x{chance}", std::process::id()) }
    }

    fn command(&self, script: &str, arguments: &[&str]) -> Command {
        let path = folder().join(script);
        let mut command = match self.host {
            Some(host) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &host.name]).arg(path);
                command
            }
            None => Command::new(path),
        };
        command.args(arguments).env("PISAURA_CASE", &self.case).stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn run(&self, script: &str, arguments: &[&str]) {
        let output = self.command(script, arguments).output().expect("it runs");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Done once and twice, and taken back once and twice.
    #[track_caller]
    fn check(&self, inducer: (&str, &[&str]), reverter: (&str, &[&str]), is_there: impl Fn() -> bool) {
        assert!(!is_there(), "it is there before");
        for _ in 0..2 {
            self.run(inducer.0, inducer.1);
            wait_for(inducer.0, &is_there);
        }
        for _ in 0..2 {
            self.run(reverter.0, reverter.1);
            wait_for(reverter.0, || !is_there());
        }
    }
}

fn can_connect(host: &Host) -> bool {
    let address: SocketAddr = format!("{}:22", host.address).parse().expect("an address");
    TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok()
}

fn rules(host: &Host) -> String {
    let output = Command::new("ip")
        .args(["netns", "exec", &host.name, "iptables", "-S"])
        .output()
        .expect("iptables runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn block_port() {
    let host = Host::start();
    let library = Library::new(Some(&host));
    let other = Library::new(Some(&host));
    other.run("block-port.sh", &["4711"]);
    library
        .check(("block-port.sh", &["2379", "22"]), ("unblock.sh", &["2379", "22"]), || !can_connect(&host));
    let rules = rules(&host);
    assert!(rules.contains(&other.case) && !rules.contains(&library.case), "{rules}");
}

fn cut_off() {
    let host = Host::start();
    let near = host
        .address
        .rsplit_once('.')
        .map(|(net, last)| format!("{net}.{}", last.parse::<u32>().expect("a number") - 1))
        .expect("an address");
    let library = Library::new(Some(&host));
    library.check(("cut-off.sh", &[&near, "192.0.2.0/24"]), ("unblock.sh", &[]), || !can_connect(&host));
    library.check(("cut-off.sh", &[&near]), ("unblock.sh", &["ignored"]), || !can_connect(&host));
    assert!(!rules(&host).contains("pisaura"), "{}", rules(&host));
    let output = library.command("cut-off.sh", &["no-such-host.invalid"]).output().expect("it runs");
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
        (Some(1), "no-such-host.invalid has no IPv4 address\n")
    );
}

/// A process with a name that no other has, and its pid file.
struct Victim {
    scratch: Scratch,
    child: Child,
    name: String,
    pid_file: String,
}

impl Victim {
    fn start() -> Self {
        let scratch = Scratch::new();
        let name = format!(
            "pv{}",
            std::process::id() % 100_000 * 1000 + u32::from(crate::common::free_port()) % 1000
        );
        std::fs::copy("/bin/sleep", scratch.join(&name)).expect("a copy");
        let child = Command::new(scratch.join(&name)).arg("1000").spawn().expect("it runs");
        scratch.write("pid", format!("{}\n", child.id()));
        let pid_file = scratch.join("pid").display().to_string();
        Self { scratch, child, name, pid_file }
    }

    fn state(&self) -> String {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit(") ").next().unwrap_or_default().chars().take(1).collect()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.scratch.path();
    }
}

fn pause() {
    let (victim, library) = (Victim::start(), Library::new(None));
    for which in [victim.name.as_str(), victim.pid_file.as_str()] {
        library.check(("pause.sh", &[which]), ("resume.sh", &[which]), || victim.state() == "T");
    }
    // Whoever is not there cannot be paused, and need not be resumed.
    let output = library.command("pause.sh", &["no-such-process"]).output().expect("it runs");
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
        (Some(1), "no process is called no-such-process\n")
    );
    library.run("resume.sh", &["no-such-process", "/no/such/file"]);
}

fn kill() {
    for by_name in [true, false] {
        let (mut victim, library) = (Victim::start(), Library::new(None));
        let which = if by_name { victim.name.clone() } else { victim.pid_file.clone() };
        library.run("kill.sh", &[&which]);
        assert_eq!(victim.child.wait().expect("an end").to_string(), "signal: 9 (SIGKILL)");
        library.run("kill.sh", &[&which, "no-such-process", "/no/such/file"]);
    }
}

fn fill_disk() {
    let scratch = Scratch::new();
    let disk = scratch.join("disk");
    std::fs::create_dir(&disk).expect("a folder");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8m", "none"])
        .arg(&disk)
        .status()
        .expect("mount runs");
    assert!(mounted.success());
    let library = Library::new(None);
    let shown = disk.display().to_string();
    std::fs::write(disk.join("kept"), "x").expect("a file");
    let is_full = || {
        let written = std::fs::write(disk.join("try"), vec![b'x'; 100_000]).is_err();
        let _ = std::fs::remove_file(disk.join("try"));
        written
    };
    library.check(("fill-disk.sh", &[&shown]), ("free-disk.sh", &[&shown]), is_full);
    library.run("fill-disk.sh", &[&shown, "2"]);
    assert!(!is_full(), "2 MiB were to be left");
    assert!(std::fs::write(disk.join("try"), vec![b'x'; 4_000_000]).is_err(), "and no more");
    // Killed in its middle, it leaves nothing that is not taken away.
    library.run("free-disk.sh", &[&shown]);
    let mut child = library.command("fill-disk.sh", &[&shown]).spawn().expect("it runs");
    let _ = child.kill();
    let _ = child.wait();
    library.run("free-disk.sh", &[&shown]);
    let _ = std::fs::remove_file(disk.join("try"));
    let left: Vec<_> =
        std::fs::read_dir(&disk).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert!(Command::new("umount").arg("-l").arg(&disk).status().expect("umount runs").success());
    assert_eq!(left, ["kept"]);
}

fn burn_cpu() {
    let library = Library::new(None);
    let mark = format!("pisaura-{}", library.case);
    let burning = || {
        let entries = std::fs::read_dir("/proc").expect("processes").flatten();
        entries
            .filter(|entry| {
                let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                line.ends_with(format!("\0{mark}\0").as_bytes())
            })
            .count()
    };
    library.check(("burn-cpu.sh", &["2"]), ("cool-cpu.sh", &[]), || burning() == 2);
    assert_eq!(burning(), 0);
}

fn first_lines() {
    let index = std::fs::read_to_string(folder().join("README.md")).expect("an index");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder()).expect("the library").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "README.md" {
            continue;
        }
        seen += 1;
        let text = std::fs::read_to_string(entry.path()).expect("a script");
        let second = text.lines().nth(1).unwrap_or_default();
        assert!(
            text.starts_with("#!/bin/sh\n") && second.starts_with(&format!("# {name}")),
            "{name}: {second}"
        );
        assert!(index.contains(&format!("`{name}")), "{name} is not in the index");
    }
    assert_eq!(seen, 10);
}
