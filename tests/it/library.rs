//! The library of failures, `fatebooks/lib/`: each script alone. Its effect is seen by an independent look; done twice it is
//! the same; its reverter takes away what it did itself, and nothing else; reverted twice, nothing is left. Nor is it when the
//! inducer was killed: before and after each of the programs that it calls.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use libtest_mimic::Trial;

use crate::common::{Scratch, is_root, needing, test, wait_for};
use crate::kill::{Host, can_kill};
use crate::lab::{Lab, can_lab};

pub fn tests() -> Vec<Trial> {
    let (met, reason) = can_kill(false);
    let (has_lab, lab_reason) = can_lab();
    // Two seconds, for some milliseconds at a time; a run that is killed at that moment would leave it so.
    let clock_may_be_shifted =
        ["CI", "PISAURA_SHIFT_CLOCK"].iter().any(|name| std::env::var_os(name).is_some());
    let clock_reason = "shifts this machine's clock: root, and PISAURA_SHIFT_CLOCK=1";
    vec![
        needing("library::block_port", met, reason, block_port),
        needing("library::cut_off", met, reason, cut_off),
        test("library::pause_and_resume", pause),
        test("library::kill", kill),
        needing("library::fill_disk", met, reason, fill_disk),
        test("library::burn_cpu", burn_cpu),
        test("library::eat_memory", eat_memory),
        needing("library::throttle", met, reason, throttle),
        needing("library::unwritable", met, reason, unwritable),
        test("library::hold_connections", hold_connections),
        needing("library::shift_clock", met && clock_may_be_shifted, clock_reason, shift_clock),
        needing("library::units", has_lab, lab_reason, units),
        needing("library::as_an_ordinary_user", has_lab, lab_reason, ordinary_user),
        test("library::each_script_says_what_it_is_for", first_lines),
    ]
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fatebooks/lib"))
}

/// Where scripts are run.
enum Place<'a> {
    Here,
    /// In a network of its own, with this machine's files and processes.
    Network(&'a Host),
    /// On a host that shares nothing but the kernel; the account too.
    Lab(&'a Lab, String),
}

/// A case's scripts, and where they are run.
struct Library<'a> {
    place: Place<'a>,
    case: String,
    /// Where the scripts lie, as a shell reads it.
    folder: String,
    /// In front of the programs that the scripts call: counts the calls, and kills the script at one of them.
    killer: Scratch,
}

/// What stands in front of each program: it kills the whole script at the call that is told, before or after it.
const KILLER: &str = r#"#!/bin/sh
echo >>"$KILLER/calls"
PATH=${PATH#"$KILLER:"}
if [ "$(wc -l <"$KILLER/calls")" -ge "$KILL_AT" ]; then
    [ "$KILL_WHEN" = before ] || "${0##*/}" "$@"
    kill -KILL 0
fi
exec "${0##*/}" "$@"
"#;
const CALLED: [&str; 26] = [
    "awk",
    "bash",
    "cat",
    "chmod",
    "cut",
    "date",
    "dd",
    "df",
    "fallocate",
    "find",
    "grep",
    "ip",
    "ip6tables",
    "iptables",
    "kill",
    "mkdir",
    "mv",
    "pgrep",
    "rm",
    "rmdir",
    "sed",
    "setsid",
    "stat",
    "systemctl",
    "tc",
    "xargs",
];

/// Arguments as a shell reads them.
fn quoted(arguments: &[&str]) -> String {
    let words: Vec<String> =
        arguments.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
    words.join(" ")
}

impl<'a> Library<'a> {
    fn new(place: Place<'a>) -> Self {
        let chance = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").subsec_nanos();
        // As long as a real one, and of digits.
        let case = format!("{:06}{chance:010}", std::process::id() % 1_000_000);
        let killer = Scratch::new();
        for name in CALLED {
            killer.write(&format!("killer/{name}"), KILLER);
        }
        let mut library = Self { place, case, folder: quoted(&[&folder().display().to_string()]), killer };
        if let Place::Lab(lab, login) = &library.place {
            lab.copy(login, &folder(), "/opt/library");
            lab.copy(login, &library.killer.join("killer"), "/opt/killer");
            library.folder = "/opt/library".to_owned();
        }
        library
    }

    /// Runs shell text in the place.
    fn command(&self, text: &str) -> Command {
        let mut command = match &self.place {
            Place::Here => Command::new("/bin/sh"),
            Place::Network(host) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &host.name, "/bin/sh"]);
                command
            }
            Place::Lab(lab, login) => return lab.ssh(login, text),
        };
        command.args(["-c", text]).stdin(Stdio::null());
        command
    }

    fn script(&self, script: &str, arguments: &[&str]) -> Command {
        self.command(&format!(
            "export PISAURA_CASE={}; exec {}/{script} {}",
            self.case,
            self.folder,
            quoted(arguments)
        ))
    }

    #[track_caller]
    fn run(&self, script: &str, arguments: &[&str]) {
        let output = self.script(script, arguments).output().expect("it runs");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Its exit status and what it complains of.
    fn fails(&self, script: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.script(script, arguments).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs a script that is killed at one of its calls. Answers with whether there was such a call.
    fn run_killed(&self, script: &str, arguments: &[&str], at: usize, when: &str) -> bool {
        let killer = match self.place {
            Place::Lab(..) => "/opt/killer".to_owned(),
            _ => self.killer.join("killer").display().to_string(),
        };
        let output = self
            .command(&format!(
                "export PISAURA_CASE={} KILLER='{killer}' KILL_AT={at} KILL_WHEN={when}; rm -f \"$KILLER/calls\"; \
                 export PATH=\"$KILLER:$PATH\"; exec /usr/bin/setsid -w {}/{script} {}",
                self.case,
                self.folder,
                quoted(arguments)
            ))
            .output()
            .expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        // setsid tells of a signal, if it has not become the script itself.
        let was_killed = output.status.code().is_none() || told.contains("did not exit normally");
        assert!(was_killed || output.status.success(), "{script}: {told}");
        was_killed
    }

    /// Done once and twice, and taken back once and twice; killed at each call, and taken back.
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
        for when in ["before", "after"] {
            let mut calls = 0;
            while self.run_killed(inducer.0, inducer.1, calls + 1, when) {
                calls += 1;
                assert!(calls < 200, "{} never ends", inducer.0);
                self.run(reverter.0, reverter.1);
                wait_for(reverter.0, || !is_there());
            }
            assert!(calls > 0, "{} calls nothing that could be killed", inducer.0);
            // This one came through.
            self.run(reverter.0, reverter.1);
            wait_for(reverter.0, || !is_there());
        }
    }
}

fn can_connect(host: &Host) -> bool {
    can_connect_at(host, 22)
}

fn can_connect_at(host: &Host, port: u16) -> bool {
    let address: SocketAddr = format!("{}:{port}", host.address).parse().expect("an address");
    TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok()
}

/// A process of the host's that listens at a port.
struct Listening(Child);

impl Listening {
    fn on(host: &Host, port: u16) -> Self {
        let script =
            "import socket, sys; s = socket.create_server((\"\", int(sys.argv[1])))\nwhile True: s.accept()";
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &host.name, "python3", "-c", script, &port.to_string()]);
        let listening = Self(command.spawn().expect("it runs"));
        wait_for("who listens", || can_connect_at(host, port));
        listening
    }
}

impl Listening {
    /// A process of the host's that keeps a connection to a port of this machine.
    fn connected(host: &Host, near: &str, port: u16) -> Self {
        let script = "import socket, sys, time; s = socket.create_connection((sys.argv[1], int(sys.argv[2]))); print(1, flush=True); time.sleep(600)";
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &host.name, "python3", "-c", script, near, &port.to_string()]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it runs");
        let mut said = String::new();
        let read = BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut said);
        assert!(read.is_ok() && said == "1\n", "it is connected: {said:?}");
        Self(child)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn rules(host: &Host) -> String {
    let output = Command::new("ip")
        .args(["netns", "exec", &host.name, "iptables", "-S"])
        .output()
        .expect("iptables runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The address of this machine's end of a host's link.
fn near(host: &Host) -> String {
    let (net, last) = host.address.rsplit_once('.').expect("an address");
    format!("{net}.{}", last.parse::<u32>().expect("a number") - 1)
}

/// A port of this machine that the host can reach.
fn listener_for(host: &Host) -> TcpListener {
    TcpListener::bind((near(host).as_str(), 0)).expect("a port")
}

fn block_port() {
    let host = Host::start();
    let library = Library::new(Place::Network(&host));
    let other = Library::new(Place::Network(&host));
    other.run("block-port.sh", &["--out", "4711"]);
    library.check(("block-port.sh", &["22"]), ("unblock.sh", &["22"]), || !can_connect(&host));
    library.check(("block-port.sh", &["--reject", "22"]), ("unblock.sh", &[]), || !can_connect(&host));
    // For some hosts alone.
    let near = near(&host);
    library.check(
        ("block-port.sh", &["--from", "192.0.2.7", "--from", &near, "22"]),
        ("unblock.sh", &[]),
        || !can_connect(&host),
    );
    library.run("block-port.sh", &["--from", "192.0.2.7", "22"]);
    assert!(can_connect(&host));
    library.run("unblock.sh", &[]);
    // What this host may not reach, while others reach it.
    let there = listener_for(&host);
    let reaches = |port: u16| {
        let text = format!("timeout 1 bash -c ': </dev/tcp/{near}/{port}'");
        library.command(&text).stderr(Stdio::null()).status().expect("it runs").success()
    };
    let port = there.local_addr().expect("an address").port();
    assert!(reaches(port));
    library.check(("block-port.sh", &["--out", &port.to_string()]), ("unblock.sh", &[]), || {
        assert!(can_connect(&host));
        !reaches(port)
    });
    let _listening = Listening::on(&host, port);
    library.check(("block-port.sh", &["--both", &port.to_string(), "22"]), ("unblock.sh", &[]), || {
        !can_connect(&host) && !can_connect_at(&host, port) && !reaches(port)
    });
    // Where there is nothing to be blocked, nothing is.
    for arguments in [&["4711"], ["22", "4711"].as_slice(), &["--both", "4711"]] {
        let told = "nobody listens at port 4711 here\n".to_owned();
        assert_eq!(library.fails("block-port.sh", arguments), (Some(1), told), "{arguments:?}");
    }
    let told = "nobody here is connected to port 4711 of another host\n".to_owned();
    assert_eq!(library.fails("block-port.sh", &["--out", "--connected", "4711"]), (Some(1), told));
    let (near_port, kept) = (port.to_string(), Listening::connected(&host, &near, port));
    library.run("block-port.sh", &["--out", "--connected", &near_port]);
    drop(kept);
    library.run("block-port.sh", &["--out", "--connected", &near_port]);
    library.run("unblock.sh", &[]);
    // Rules that hold nothing up test nothing.
    let none = |why: &str| (Some(1), format!("{why}\n"));
    assert_eq!(library.fails("still-blocked.sh", &[]), none("there are no rules of this case any more"));
    library.run("block-port.sh", &["22"]);
    assert_eq!(
        library.fails("still-blocked.sh", &[]),
        none("no packet has met the rules: nothing goes that way")
    );
    assert!(!can_connect(&host));
    library.run("still-blocked.sh", &["22"]);
    library.run("unblock.sh", &[]);
    let rules = rules(&host);
    assert!(rules.contains(&other.case) && !rules.contains(&library.case), "{rules}");
}

fn cut_off() {
    let host = Host::start();
    let near = near(&host);
    let library = Library::new(Place::Network(&host));
    library.check(("cut-off.sh", &[&near, "192.0.2.0/24"]), ("unblock.sh", &[]), || !can_connect(&host));
    library.check(("cut-off.sh", &[&near]), ("unblock.sh", &["ignored"]), || !can_connect(&host));
    assert!(!rules(&host).contains("pisaura"), "{}", rules(&host));
    // One way alone; and from everybody, but for the port of SSH.
    for way in ["--in", "--out"] {
        library.check(("cut-off.sh", &[way, &near]), ("unblock.sh", &[]), || !can_connect(&host));
        library.run("cut-off.sh", &[way, &near]);
        let chain = if way == "--in" { "-A INPUT -s " } else { "-A OUTPUT -d " };
        let added: Vec<_> =
            rules(&host).lines().filter(|rule| rule.starts_with("-A")).map(str::to_owned).collect();
        assert!(added.len() == 1 && added[0].starts_with(chain), "{added:?}");
        library.run("unblock.sh", &[]);
    }
    let _listening = Listening::on(&host, 8080);
    library.check(("cut-off.sh", &["--everybody"]), ("unblock.sh", &[]), || {
        assert!(can_connect(&host));
        !can_connect_at(&host, 8080)
    });
    assert_eq!(
        library.fails("cut-off.sh", &[]),
        (Some(1), "there is no other host to be cut off from\n".to_owned())
    );
    // Where rules cannot be seen, nobody may say that they are gone.
    library.killer.write("blind/iptables", "#!/bin/sh\nexit 4\n");
    let blind = format!(
        "PATH='{}':$PATH PISAURA_CASE=1 {}/unblock.sh",
        library.killer.join("blind").display(),
        library.folder
    );
    assert!(!library.command(&blind).status().expect("it runs").success());
    // What is between ours stays.
    library.run("cut-off.sh", &["192.0.2.1"]);
    assert!(library.command("iptables -I INPUT 1 -s 192.0.2.9 -j DROP").status().expect("it runs").success());
    library.run("cut-off.sh", &["192.0.2.2", "2001:db8::1"]);
    library.run("unblock.sh", &[]);
    assert_eq!(
        rules(&host),
        "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n-A INPUT -s 192.0.2.9/32 -j DROP\n"
    );
    assert!(library.command("iptables -F INPUT").status().expect("it runs").success());
    assert_eq!(
        library.fails("cut-off.sh", &["no-such-host.invalid"]),
        (Some(1), "no-such-host.invalid has no address\n".to_owned())
    );
    // Without hosts those of the book, but for its own.
    let mut others = library.command(&format!(
        "PISAURA_CASE={} PISAURA_HOST={} PISAURA_HOSTS={near},{} exec {}/cut-off.sh",
        library.case, host.address, host.address, library.folder
    ));
    assert!(others.status().expect("it runs").success());
    assert!(!can_connect(&host) && !rules(&host).contains(&host.address), "{}", rules(&host));
    library.run("unblock.sh", &[]);
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
    let (victim, library) = (Victim::start(), Library::new(Place::Here));
    for which in [victim.name.as_str(), victim.pid_file.as_str()] {
        library.check(("pause.sh", &[which]), ("resume.sh", &[which]), || victim.state() == "T");
    }
    // Whoever is not there cannot be paused, and need not be resumed.
    assert_eq!(
        library.fails("pause.sh", &["no-such-process"]),
        (Some(1), "no process is called no-such-process\n".to_owned())
    );
    library.run("resume.sh", &["no-such-process", "/no/such/file"]);
    // Whoever may not do it says so.
    let text =
        format!("exec setpriv --reuid 65534 --clear-groups {}/pause.sh '{}'", library.folder, victim.name);
    assert!(!is_root() || !library.command(&text).stderr(Stdio::null()).status().expect("it runs").success());
}

fn kill() {
    for by_name in [true, false] {
        let (mut victim, library) = (Victim::start(), Library::new(Place::Here));
        let which = if by_name { victim.name.clone() } else { victim.pid_file.clone() };
        let as_nobody =
            format!("exec setpriv --reuid 65534 --clear-groups {}/kill.sh '{which}'", library.folder);
        assert!(
            !is_root()
                || !library.command(&as_nobody).stderr(Stdio::null()).status().expect("it runs").success()
        );
        library.run("kill.sh", &[&which]);
        assert_eq!(victim.child.wait().expect("an end").to_string(), "signal: 9 (SIGKILL)");
        library.run("kill.sh", &[&which, "no-such-process", "/no/such/file"]);
        let mut another = Victim::start();
        let which = if by_name { another.name.clone() } else { another.pid_file.clone() };
        library.run("kill.sh", &["--term", &which]);
        assert_eq!(another.child.wait().expect("an end").to_string(), "signal: 15 (SIGTERM)");
    }
}

/// A small file system of its own, in memory.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    fn mount(folder: PathBuf) -> Self {
        std::fs::create_dir(&folder).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m", "none"]).arg(&folder);
        assert!(mount.status().expect("mount runs").success());
        Self { folder }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// A user who is nobody's.
const NOBODY: u32 = 65534;

fn unwritable() {
    let (scratch, library) = (Scratch::new(), Library::new(Place::Here));
    let folder = scratch.join("of nobody");
    std::fs::create_dir_all(folder.join("below")).expect("folders");
    for (name, mode) in
        [("log", 0o640), ("read only", 0o444), ("below/a line\nend", 0o664), ("below/*", 0o600)]
    {
        std::fs::write(folder.join(name), "x").expect("a file");
        std::fs::set_permissions(folder.join(name), std::os::unix::fs::PermissionsExt::from_mode(mode))
            .expect("a mode");
    }
    std::os::unix::fs::symlink("/etc/passwd", folder.join("link")).expect("a link");
    let chown = Command::new("chown").args(["-hR", &NOBODY.to_string()]).arg(&folder).status();
    assert!(chown.expect("chown runs").success());
    let modes = || {
        let listed =
            Command::new("find").arg(&folder).args(["-printf", "%m %u %p\n"]).output().expect("find runs");
        let mut lines: Vec<_> = String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (before, shown) = (modes(), folder.display().to_string());
    let writes = |file: &str| {
        let text =
            format!("exec setpriv --reuid {NOBODY} --clear-groups /bin/sh -c ': >>\"$0/{file}\"' '{shown}'");
        library.command(&text).stderr(Stdio::null()).status().expect("it runs").success()
    };
    let is_there = || {
        let those = [writes("log"), writes("below/*")];
        assert!(those[0] == those[1], "a part of it");
        !those[0]
    };
    library.check(("unwritable.sh", &[&shown]), ("writable.sh", &[&shown]), is_there);
    assert_eq!(modes(), before);
    library.run("unwritable.sh", &[&shown]);
    assert!(!writes("new"), "a folder that can be written to");
    // What is gone meanwhile is no trouble.
    std::fs::remove_file(folder.join("log")).expect("a file");
    library.run("writable.sh", &[&shown]);
    let wrong = |folder: &str, why: &str| {
        assert_eq!(library.fails("unwritable.sh", &[folder]), (Some(1), format!("{why}\n")));
    };
    wrong("/no/such/folder", "there is no folder /no/such/folder");
    wrong("/etc", "/etc belongs to root, who may write all the same");
    library.run("writable.sh", &["/no/such/folder"]);
}

fn hold_connections() {
    let library = Library::new(Place::Here);
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    // Whoever is let in stays for as long as it likes.
    let accepting = listener.try_clone().expect("a listener");
    let until_told = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&until_told);
    let accepts = std::thread::spawn(move || {
        let mut taken = Vec::new();
        while let Ok((stream, _)) = accepting.accept() {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            taken.push(stream);
        }
    });
    let held = || {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's list");
        let wanted = format!("0100007F:{port:04X}");
        table
            .lines()
            .filter(|line| line.split_whitespace().nth(2) == Some(&wanted) && line.contains(" 01 "))
            .count()
    };
    let arguments = [port.to_string(), "20".to_owned()];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    library.run("hold-connections.sh", &arguments);
    wait_for("twenty connections", || held() == 20);
    library.run("drop-connections.sh", &arguments);
    wait_for("none", || held() == 0);
    library.check(("hold-connections.sh", &arguments), ("drop-connections.sh", &[]), || held() > 0);
    until_told.store(true, Ordering::Relaxed);
    drop(TcpStream::connect(("127.0.0.1", port)));
    accepts.join().expect("an end");
    drop(listener);
    let told = format!("nobody listens at port {port} of 127.0.0.1\n");
    assert_eq!(library.fails("hold-connections.sh", &arguments), (Some(1), told));
}

fn fill_disk() {
    let scratch = Scratch::new();
    let mounted = Disk::mount(scratch.join("disk"));
    let disk = &mounted.folder;
    let library = Library::new(Place::Here);
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
    library.run("free-disk.sh", &[&shown]);
    let _ = std::fs::remove_file(disk.join("try"));
    let left: Vec<_> =
        std::fs::read_dir(disk).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["kept"]);
    assert_eq!(
        library.fails("fill-disk.sh", &["/no/such/folder"]),
        (Some(1), "there is no folder /no/such/folder\n".to_owned())
    );
}

/// The processes that carry this in their environment.
fn marked(mark: &str) -> Vec<PathBuf> {
    let mark = format!("{mark}\0");
    let entries = std::fs::read_dir("/proc").expect("processes").flatten();
    let of_us = entries.map(|entry| entry.path()).filter(|path| {
        let variables = std::fs::read(path.join("environ")).unwrap_or_default();
        variables.windows(mark.len()).any(|window| window == mark.as_bytes())
    });
    of_us.collect()
}

fn burn_cpu() {
    let library = Library::new(Place::Here);
    let burning = || marked(&format!("PISAURA_BURNS=cpu-{}", library.case)).len();
    library.check(("burn-cpu.sh", &["2"]), ("cool-cpu.sh", &["2"]), || burning() == 2);
    assert_eq!(burning(), 0);
}

/// How many KiB the processes hold that carry this case's mark.
fn held_kib(case: &str) -> u64 {
    let processes = marked(&format!("PISAURA_EATS=memory-{case}"));
    processes
        .iter()
        .map(|process| {
            let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("VmRSS:"));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(1)
        })
        .sum()
}

fn eat_memory() {
    let library = Library::new(Place::Here);
    library.check(("eat-memory.sh", &["64"]), ("release-memory.sh", &["64"]), || {
        held_kib(&library.case) > 60_000
    });
    assert_eq!(held_kib(&library.case), 0);
}

/// How many disciplines of this case there are on a host.
fn disciplines(host: &Host) -> String {
    let output = Command::new("ip")
        .args(["netns", "exec", &host.name, "tc", "qdisc", "show", "dev", "eth0"])
        .output()
        .expect("tc runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn throttle() {
    let (host, scratch) = (Host::start(), Scratch::new());
    scratch.write("page", vec![b'x'; 65_536]);
    let mut server = Command::new("ip")
        .args(["netns", "exec", &host.name, "python3", "-m", "http.server", "8000", "--directory"])
        .arg(scratch.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("python runs");
    let url = format!("http://{}:8000/page", host.address);
    let is_slow = || {
        let output = Command::new("curl").args(["-sf", "--max-time", "1", "-o", "/dev/null", &url]).status();
        !output.expect("curl runs").success()
    };
    wait_for("the server", || !is_slow());
    let library = Library::new(Place::Network(&host));
    library.check(("throttle.sh", &["8", "8000", "8001"]), ("unthrottle.sh", &["8"]), is_slow);
    assert!(!disciplines(&host).contains("htb"), "{}", disciplines(&host));
    // What is not ours stays, and is not overwritten.
    let set = library.command("tc qdisc add dev eth0 root handle 9: htb").status().expect("tc runs");
    assert!(set.success());
    let (code, told) = library.fails("throttle.sh", &["8", "8000"]);
    // tc itself complains of network namespaces that others are just taking down.
    let refused = told.lines().find(|line| !line.starts_with("Error: Peer netns")).unwrap_or_default();
    assert!(
        code == Some(1) && refused.starts_with("eth0 has a queueing discipline already: qdisc htb 9:"),
        "{told}"
    );
    library.run("unthrottle.sh", &[]);
    assert!(disciplines(&host).contains("htb 9:"), "{}", disciplines(&host));
    let _ = server.kill();
    let _ = server.wait();
}

fn shift_clock() {
    let (began, then) = (Instant::now(), SystemTime::now());
    let is_off = || {
        let right = then + began.elapsed();
        let off = SystemTime::now().duration_since(right).unwrap_or_else(|error| error.duration());
        off > Duration::from_secs(1)
    };
    let library = Library::new(Place::Here);
    library.check(("shift-clock.sh", &["2"]), ("right-clock.sh", &["2"]), is_off);
    library.check(("shift-clock.sh", &["-2"]), ("right-clock.sh", &["-2"]), is_off);
    let mark = format!("/run/pisaura-clock-{}", library.case);
    assert!(!Path::new(&mark).exists() && !Path::new(&format!("{mark}.new")).exists());
    // Somebody else has set it right meanwhile.
    library.run("shift-clock.sh", &["2"]);
    let back =
        library.command("date -s \"@$(($(date +%s) - 2)).$(date +%N)\"").stdout(Stdio::null()).status();
    assert!(back.expect("date runs").success());
    library.run("right-clock.sh", &[]);
    assert!(!is_off());
}

fn units() {
    let lab = Lab::up("nginx");
    let (web, balancer) = (lab.hosts()[0].clone(), lab.balancer());
    let is_down = |host: &str| TcpStream::connect((host, 80)).is_err();
    let library = Library::new(Place::Lab(&lab, format!("root@{web}")));
    library.check(("stop-unit.sh", &["nginx"]), ("start-unit.sh", &["nginx"]), || is_down(&web));
    library.check(("stop-unit.sh", &["--kill", "nginx"]), ("start-unit.sh", &["--kill", "nginx"]), || {
        is_down(&web)
    });
    // Whether it stays away is told apart from what somebody has started meanwhile.
    let fails = |script: &str, why: &str| {
        assert_eq!(library.fails(script, &["nginx"]), (Some(1), format!("{why}\n")));
    };
    fails("still-stopped.sh", "nginx.service runs again, and was to be stopped");
    library.run("stop-unit.sh", &["nginx"]);
    library.run("still-stopped.sh", &["--kill", "nginx"]);
    lab.on(&web, "systemctl start nginx");
    fails("still-stopped.sh", "nginx.service runs again, and was to be stopped");
    library.run("start-unit.sh", &["nginx"]);
    lab.on(&web, "systemctl stop nginx");
    fails("still-stopped.sh", "nginx.service was not stopped by this case, or somebody has started it");
    lab.on(&web, "systemctl start nginx");
    fails("still-paused.sh", "nginx does not stand still any more");
    library.run("pause-unit.sh", &["nginx"]);
    library.run("still-paused.sh", &["nginx"]);
    lab.on(&web, "systemctl kill --signal=CONT nginx");
    fails("still-paused.sh", "nginx does not stand still any more");
    library.run("resume-unit.sh", &["nginx"]);
    // One that is ready by its word is waited for until it serves.
    library.run("stop-unit.sh", &["nginx"]);
    library.run("start-unit.sh", &["--port", "80", "--until", "test -e /run/nginx.pid", "nginx"]);
    assert!(!is_down(&web));
    for (arguments, why) in [
        (
            ["--within", "1", "--port", "4711", "nginx"],
            "nginx: started, and after 1 s nobody listens at port 4711\n",
        ),
        (["--within", "1", "--until", "false", "nginx"], "nginx: started, and after 1 s `false` fails\n"),
    ] {
        assert_eq!(library.fails("start-unit.sh", &arguments), (Some(1), why.to_owned()));
    }
    let stands = || lab.on(&web, "ps -C nginx -o stat=; true").contains('T');
    library.check(("pause-unit.sh", &["nginx"]), ("resume-unit.sh", &["nginx"]), stands);
    let drop_ins = "find /run/systemd/system -name '*pisaura*'";
    assert_eq!(lab.on(&web, drop_ins), "");
    // What somebody else has stopped is neither ours to stop nor to start; nor can what is not there be stopped.
    lab.on(&web, "systemctl stop nginx");
    let not_running = |unit: &str| (Some(1), format!("{unit}.service is not running\n"));
    assert_eq!(library.fails("stop-unit.sh", &["nginx"]), not_running("nginx"));
    assert_eq!(library.fails("stop-unit.sh", &["no-such-unit"]), not_running("no-such-unit"));
    library.run("start-unit.sh", &["nginx"]);
    assert!(is_down(&web));
    assert_eq!(library.fails("pause-unit.sh", &["nginx"]), (Some(1), "nginx is not running\n".to_owned()));
    library.run("resume-unit.sh", &["nginx"]);
    // One that systemd would start again at once stays away, and is started again by it afterwards.
    let library = Library::new(Place::Lab(&lab, format!("root@{balancer}")));
    let restart = || lab.on(&balancer, "systemctl show --property Restart,ActiveState haproxy");
    library.run("stop-unit.sh", &["--kill", "haproxy"]);
    assert!(is_down(&balancer));
    assert_eq!(restart(), "Restart=no\nActiveState=failed\n");
    library.run("start-unit.sh", &["haproxy"]);
    assert_eq!(restart(), "Restart=always\nActiveState=active\n");
    assert_eq!(lab.on(&balancer, drop_ins), "");
    // The hosts of the lab may not set the clock that all of them share.
    let (code, told) = library.fails("shift-clock.sh", &["2"]);
    assert!(code == Some(1) && told.ends_with("this host may not set its clock\n"), "{told}");
    library.run("right-clock.sh", &[]);
}

fn ordinary_user() {
    let lab = Lab::up("nginx");
    let web = lab.hosts()[0].clone();
    lab.on(&web, "useradd --create-home tester; usermod --password '*' tester");
    let library = Library::new(Place::Lab(&lab, format!("tester@{web}")));
    let (code, told) = library.fails("block-port.sh", &["80"]);
    assert!(code == Some(1) && told.contains("a password is required"), "{told}");
    lab.on(
        &web,
        "echo 'tester ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/tester; chmod 440 /etc/sudoers.d/tester",
    );
    let is_blocked = || {
        let address: SocketAddr = format!("{web}:80").parse().expect("an address");
        TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_err()
    };
    for (inducer, reverter) in
        [(("block-port.sh", "80"), "unblock.sh"), (("stop-unit.sh", "nginx"), "start-unit.sh")]
    {
        library.run(inducer.0, &[inducer.1]);
        wait_for(inducer.0, is_blocked);
        library.run(reverter, &[inducer.1]);
        wait_for(reverter, || !is_blocked());
    }
    library.run("cut-off.sh", &["192.0.2.1"]);
    assert!(lab.on(&web, "iptables -S").contains("192.0.2.1"));
    library.run("unblock.sh", &[]);
    assert!(!lab.on(&web, "iptables -S").contains("192.0.2.1"));
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
    assert_eq!(seen, 27);
    let library = Library::new(Place::Here);
    for (script, arguments) in [
        ("stop-unit.sh", ["--kill"].as_slice()),
        ("stop-unit.sh", &["--kil", "etcd"]),
        ("pause-unit.sh", &[]),
        ("block-port.sh", &["--in", "80"]),
        ("block-port.sh", &["--out"]),
        ("cut-off.sh", &["--both"]),
        ("start-unit.sh", &["--ports", "80"]),
        ("unwritable.sh", &[]),
        ("hold-connections.sh", &["80"]),
        ("pause.sh", &[]),
        ("kill.sh", &["--term"]),
    ] {
        let (code, told) = library.fails(script, arguments);
        assert!(code == Some(1) && told.starts_with(script), "{script} {arguments:?}: {told}");
    }
}
