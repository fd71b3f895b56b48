//! What the tests share: a folder of their own, an SSH server of their own, and the program run in both.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed, Trial};
use tempfile::TempDir;

/// How long any one thing that a test waits for may take on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

thread_local! {
    /// Where the cases of the test that this thread runs are carried out, if not in the program's own process.
    static MASTER: Cell<Option<String>> = const { Cell::new(None) };
}

/// Does something while cases run on this Mesos.
pub fn on_master(master: &str, run: impl FnOnce()) {
    MASTER.set(Some(master.to_owned()));
    run();
    MASTER.set(None);
}

/// Whether cases run on a Mesos.
pub fn is_on_a_master() -> bool {
    MASTER.take().inspect(|master| MASTER.set(Some(master.clone()))).is_some()
}

/// A test of this name.
pub fn test(name: &str, run: fn()) -> Trial {
    Trial::test(name, move || caught(run))
}

/// A test that cannot run on every machine. In CI it must.
pub fn needing(name: &str, met: bool, reason: &'static str, run: fn()) -> Trial {
    Trial::ignorable_test(name, move || run_if(met, reason, run))
}

/// Runs a test if this machine can.
pub fn run_if(met: bool, reason: &'static str, run: impl FnOnce()) -> Result<Completion, Failed> {
    if met {
        return caught(run).map(|()| Completion::Completed);
    }
    if std::env::var_os("CI").is_some() {
        return Err(Failed::from(format!("{reason}, and in CI no test may be ignored")));
    }
    Ok(Completion::ignored_with(reason))
}

thread_local! {
    static PANIC: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

fn caught(run: impl FnOnce()) -> Result<(), Failed> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| PANIC.with_borrow(|text| Failed::from(text)))
}

/// Keeps what a failed assertion says for the report, instead of printing it among other tests' lines.
pub fn keep_panics() {
    std::panic::set_hook(Box::new(|panic| PANIC.set(panic.to_string())));
}

pub fn is_root() -> bool {
    own_uid() == 0
}

pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// A folder of one test's own, with a blank in its path.
pub struct Scratch {
    folder: TempDir,
}

impl Scratch {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("pisaura test ").tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("home")).expect("a home");
        fs::create_dir(folder.path().join("fatebooks")).expect("a folder for books");
        fs::create_dir(folder.path().join("tmp")).expect("a folder for temporary files");
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn join(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file; one that begins like a script can be run.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text.as_ref()).expect("a file");
        if text.as_ref().starts_with(b"#!") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        }
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.join(path)).unwrap_or_default()
    }

    /// The program, in this folder and with nothing of this user's: no agent, no keys, no settings.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars() {
            if name.starts_with("PISAURA_") || name.starts_with("NEXTEST") || name.starts_with("SSH_") {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", self.join("home"))
            .env("TMPDIR", self.join("tmp"))
            .env("PISAURA_LOCKS", self.join("locks"))
            .envs(
                MASTER
                    .take()
                    .inspect(|master| MASTER.set(Some(master.clone())))
                    .map(|master| ("PISAURA_MASTER", master)),
            )
            .env_remove("XDG_STATE_HOME")
            .env_remove("GITLAB_CI")
            .env_remove("CI")
            .env_remove("TERM");
        command
    }

    pub fn pisaura(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(&program()).args(arguments), self)
    }

    pub fn harness(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(&harness()).args(arguments), self)
    }
}

/// `pisaura`, as cargo has built it for the tests.
pub fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_pisaura"))
}

/// The test target `fatebooks`, which cargo builds on request.
pub fn harness() -> PathBuf {
    static HARNESS: OnceLock<PathBuf> = OnceLock::new();
    HARNESS
        .get_or_init(|| {
            let mut cargo = Command::new(env!("CARGO"));
            for (name, _) in std::env::vars() {
                // What cargo says to a test's process would make it build some crates anew.
                if name.starts_with("CARGO_") && !matches!(name.as_str(), "CARGO_HOME" | "CARGO_TARGET_DIR") {
                    cargo.env_remove(name);
                }
            }
            let output = cargo
                .env_remove("LD_LIBRARY_PATH")
                .args(["test", "--test", "fatebooks", "--no-run", "--message-format=json"])
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .stderr(Stdio::inherit())
                .output()
                .expect("cargo runs");
            let lines = String::from_utf8_lossy(&output.stdout).into_owned();
            lines
                .lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
                .filter(|message| message["target"]["name"] == "fatebooks")
                .find_map(|message| message["executable"].as_str().map(PathBuf::from))
                .expect("cargo names the test target")
        })
        .clone()
}

/// What a process printed and how it ended, with what differs from run to run taken out.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(command: &mut Command, scratch: &Scratch) -> Self {
        let output = command.output().expect("it runs");
        Self::from_output(&output, scratch)
    }

    pub fn from_output(output: &Output, scratch: &Scratch) -> Self {
        Self {
            code: output.status.code(),
            stdout: steady(&String::from_utf8_lossy(&output.stdout), scratch),
            stderr: steady(&String::from_utf8_lossy(&output.stderr), scratch),
        }
    }

    /// libtest's line about a test, without its name.
    pub fn line(&self, name: &str) -> String {
        let begin = format!("test {name}");
        let line = self.stdout.lines().find(|line| line.starts_with(&begin)).unwrap_or_default();
        line.rsplit_once(" ... ").map(|(_, result)| result.to_owned()).unwrap_or_default()
    }

    /// What stands under a failed test's name.
    pub fn failure(&self, name: &str) -> String {
        let begin = format!("---- {name} ----\n");
        let Some((_, rest)) = self.stdout.split_once(&begin) else {
            return String::new();
        };
        let end = rest.find("\n\n---- ").or_else(|| rest.find("\n\n\nfailures:")).unwrap_or(rest.len());
        rest[..end].trim_end().to_owned()
    }
}

/// Takes out what differs from run to run: times, the folder, ports, hashes.
pub fn steady(text: &str, scratch: &Scratch) -> String {
    let text = text.replace(&scratch.path().display().to_string(), "DIR");
    let mut steady = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        steady.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        if steady.ends_with("127.0.0.1:") || steady.ends_with("localhost:") {
            steady.push_str("PORT");
        } else if (number.contains('.') && (after.starts_with(" s") || after.starts_with('s')))
            || steady.ends_with("time=\"")
        {
            // The columns of a table depend on how wide a time is.
            while steady.ends_with("  ") {
                steady.pop();
            }
            steady.push('T');
        } else {
            steady.push_str(number);
        }
        rest = after;
    }
    steady.push_str(rest);
    steady
}

/// A real OpenSSH server on loopback; it ends with the test.
pub struct Sshd {
    child: Child,
    folder: TempDir,
    pub port: u16,
}

impl Sshd {
    pub fn start() -> Self {
        Self::with("")
    }

    /// With more lines of configuration; they come first, and the first one counts.
    pub fn with(config: &str) -> Self {
        Self::with_mounts(config, "")
    }

    /// One that sees mounts of its own: this shell text makes them, in the server's folder. For root only.
    pub fn with_mounts(config: &str, before: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("pisaura-sshd-").tempdir().expect("a temporary folder");
        for kind in ["ed25519", "ecdsa", "rsa"] {
            keygen(kind, &folder.path().join(format!("host_{kind}")), "");
        }
        keygen("ed25519", &folder.path().join("identity"), "");
        fs::create_dir(folder.path().join("home")).expect("a home");
        if is_root() {
            // Where Debian's sshd drops its privileges to.
            let _ = fs::create_dir_all("/run/sshd");
        }
        Self::launch(folder, config, before)
    }

    fn launch(folder: TempDir, config: &str, before: &str) -> Self {
        let path = folder.path();
        for _ in 0..10 {
            let port = free_port();
            let sftp = if config.contains("Subsystem") { "" } else { "Subsystem sftp internal-sftp" };
            let text = format!(
                "{config}\n{sftp}\nPort {port}\nListenAddress 127.0.0.1\nPidFile none\nStrictModes no\nUsePAM no\n\
                 PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
                 AuthorizedKeysFile {0}/identity.pub {0}/authorized_keys\nSetEnv HOME={0}/home\n\
                 HostKey {0}/host_ed25519\nHostKey {0}/host_ecdsa\nHostKey {0}/host_rsa\n",
                path.display()
            );
            fs::write(path.join("config"), text).expect("a configuration");
            let log = fs::File::create(path.join("log")).expect("a log");
            let server = format!("{before}\nexec /usr/sbin/sshd -D -e -f config");
            let mut command = match before {
                "" => Command::new("/usr/sbin/sshd"),
                _ => Command::new("unshare"),
            };
            match before {
                "" => command.args(["-D", "-e", "-f"]).arg(path.join("config")),
                _ => command.args(["--mount", "/bin/sh", "-ec", &server]).current_dir(path),
            };
            let mut child = command.stdin(Stdio::null()).stderr(log).spawn().expect("sshd runs");
            let deadline = Instant::now() + PATIENCE;
            while Instant::now() < deadline && child.try_wait().expect("a child").is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    let known = ["ed25519", "ecdsa", "rsa"]
                        .map(|kind| fs::read_to_string(path.join(format!("host_{kind}.pub"))).expect("a key"))
                        .map(|key| format!("[127.0.0.1]:{port} {key}"))
                        .concat();
                    fs::write(path.join("known_hosts"), known).expect("known hosts");
                    return Self { child, folder, port };
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("sshd does not start: {}", fs::read_to_string(path.join("log")).unwrap_or_default());
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn join(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// The home folder of whoever logs in.
    pub fn home(&self) -> PathBuf {
        self.join("home")
    }

    /// The folder of ours in that home, with its scripts.
    pub fn our_folder(&self) -> PathBuf {
        let entries = fs::read_dir(self.home().join(".pisaura")).expect("a folder").flatten();
        entries.map(|entry| entry.path()).find(|path| path.is_dir()).expect("a folder of ours")
    }

    /// The process that listens.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes of this host: those with its home in their environment.
    pub fn processes(&self) -> Vec<u32> {
        let home = format!("HOME={}", self.home().display());
        let is_ours = |entry: &fs::DirEntry| {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == home.as_bytes())
        };
        let entries = fs::read_dir("/proc").expect("processes").flatten().filter(is_ours);
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    /// What scripts there wrote to a file of their home.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.home().join(path)).unwrap_or_default()
    }

    /// A book on this host: `top` are more keys of the book, `failures` the list.
    pub fn book(&self, top: &str, failures: &str) -> String {
        format!(
            "service: s\nhosts: ['127.0.0.1:{}']\nssh: {{identity_file: '{1}/identity', known_hosts: '{1}/known_hosts'}}\n{top}\nfailures:\n{failures}\n",
            self.port,
            self.path().display()
        )
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for process in self.processes() {
            let _ = Command::new("kill").args(["-KILL", &process.to_string()]).status();
        }
    }
}

pub fn keygen(kind: &str, path: &Path, passphrase: &str) {
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", passphrase, "-C", "test", "-f"])
        .arg(path)
        .status()
        .expect("ssh-keygen runs");
    assert!(status.success());
}

/// Begins a process whose output is read later.
pub fn begin(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Waits for something that a test has set going.
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until nothing is left of what is told; if something is, says what.
pub fn wait_for_none(what: &str, left: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !left().is_empty() {
        assert!(Instant::now() < deadline, "something is left {what}:\n{}", left());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads a process's standard error until a line that has this in it.
pub fn wait_for_line(reader: &mut BufReader<impl std::io::Read>, wanted: &str) -> String {
    let mut all = String::new();
    loop {
        let mut line = String::new();
        let count = reader.read_line(&mut line).expect("a line");
        all.push_str(&line);
        assert!(count > 0, "`{wanted}` was never printed:\n{all}");
        if line.contains(wanted) {
            return all;
        }
    }
}

/// Trivial scripts: each leaves its name in `log` of the home it runs in.
/// The folders below a folder whose names begin so.
pub fn found(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            match entry.file_name().to_string_lossy().starts_with(prefix) {
                true => all.push(entry.path()),
                false => all.extend(found(&entry.path(), prefix)),
            }
        }
    }
    all
}

pub fn write_scripts(scratch: &Scratch) {
    for name in ["break.sh", "heal.sh", "verify.sh"] {
        scratch.write(
            &format!("fatebooks/b/{name}"),
            format!("#!/bin/sh\necho {name} \"$@\" >>\"$HOME/log\"\n"),
        );
    }
    scratch.write("fatebooks/b/check.sh", "#!/bin/sh\nexit 0\n");
}

/// A web server on loopback that ends when this is dropped.
pub struct HttpServer {
    /// `127.0.0.1:PORT`
    pub address: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Answers a GET of each path with these bytes, or with 404.
    pub fn start(files: impl Fn(&str) -> Option<Vec<u8>> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let mut connection = connection.expect("a connection");
                let mut head = String::new();
                let mut lines = BufReader::new(connection.try_clone().expect("a second handle"));
                // What comes after the head of a GET is nothing.
                while lines.read_line(&mut head).is_ok_and(|read| read > 2) {}
                let path = head.split(' ').nth(1).unwrap_or_default();
                let (status, body) = match files(path) {
                    Some(body) => ("200 OK", body),
                    None => ("404 Not Found", Vec::new()),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = connection.write_all(&[head.as_bytes(), &body].concat());
            }
        });
        Self { address, stop, thread: Some(thread) }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // It waits for a connection, so it gets one.
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits for what is done on the network by a runtime of its own.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}
