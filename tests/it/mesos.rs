//! Cases on a real Apache Mesos, of `ci/mesos`, against a real SSH server: the same books, names and reports as without it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use pisaura::mesos::{Client, Security, messages::scheduler::Event, translate};
use prost::Message;
use serde_json::Value;

use crate::cluster::{Cluster, Stage, can_run};
use crate::common::{
    Ran, Scratch, Sshd, free_port, harness, needing, on_master, test, wait_for_line, write_scripts,
};
use crate::verdicts;

pub fn tests() -> Vec<Trial> {
    let own = [
        ("the_demo_book", demo_book as fn()),
        ("two_hundred_cases_of_twenty_books", two_hundred),
        ("filters_failfast_and_threads", filters),
        ("secrets_are_not_shown", secrets),
        ("what_sandboxes_show", sandboxes),
        ("what_was_changed_on_its_way_is_not_run", changed),
        ("a_program_that_cannot_be_fetched", not_fetched),
        ("more_than_there_is", too_much),
        ("offers_that_another_holds", held_offers),
        ("offers_are_left_to_others", left_offers),
        ("credentials", credentials),
        ("https_with_a_certificate_of_ones_own", https),
        ("a_case_does_not_run_on_its_own_host", own_host),
        ("what_agents_fetch", fetched),
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
