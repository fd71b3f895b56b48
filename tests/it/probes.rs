//! Healthchecks without a script, and what a healthcheck has to print: against a real SSH server, and a service of the test's own whose
//! answers follow from whether the host is broken.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use libtest_mimic::Trial;

use crate::case::Case;
use crate::cluster::{Cluster, can_run};
use crate::common::{Ran, needing, on_master, program, test};

pub fn tests() -> Vec<Trial> {
    let (can, why_not) = can_run();
    vec![
        test("probes::http", http),
        test("probes::a_service_that_says_nothing", silent),
        test("probes::tcp", tcp),
        test("probes::watched_during_a_hold", held),
        test("probes::an_output", output),
        test("probes::an_output_is_no_excuse", no_excuse),
        test("probes::by_hand", by_hand),
        test("probes::answers_that_are_none", no_answers),
        test("probes::no_way_around", no_proxy),
        test("probes::a_dry_run", dry_run),
        needing("probes::on_mesos", can, why_not, on_mesos),
    ]
}

/// A service that answers over HTTP, one way while the file is there, another way while it is not.
struct Service {
    port: u16,
    is_over: Arc<AtomicBool>,
}

/// An answer: status and body; none at all without a status.
type Answer = (&'static str, &'static str);

impl Service {
    fn start(broken: PathBuf, well: Answer, unwell: Answer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (status, body) = if broken.exists() { unwell } else { well };
                match status {
                    "" => silent.push(stream),
                    _ => answer(stream, status, body),
                }
            }
        });
        Self { port, is_over }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/health", self.port)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn answer(mut stream: TcpStream, status: &str, body: &str) {
    let mut request = String::new();
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    while reader.read_line(&mut request).is_ok_and(|read| read > 2) {}
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    let _ = stream.write_all(format!("{head}Location: /elsewhere\r\n\r\n{body}").as_bytes());
}

/// Runs the case with these keys; what is in `SERVICE` is the service's port, and in `URL` its URL.
fn run(case: &Case, service: &Service, keys: &str) -> Ran {
    let keys = keys.replace("SERVICE", &service.port.to_string()).replace("URL", &service.url());
    case.book(&format!("timeout: 10s, {keys}"), "");
    let ran = case.pisaura(&["run", "--show-output"]);
    assert!(!case.is_broken(), "{keys}: {}{}", ran.stdout, ran.stderr);
    ran
}

fn http() {
    let check = |well: Answer, unwell: Answer, keys: &str, code: i32, want: &str| {
        let case = Case::new("");
        let service = Service::start(case.sshd.home().join("broken"), well, unwell);
        let ran = run(&case, &service, keys);
        let said = ran.stdout.replace("http://127.0.0.1:PORT/health", "URL");
        assert_eq!(ran.code, Some(code), "{keys}: {said}{}", ran.stderr);
        assert!(said.contains(want), "{keys}: {said}");
    };
    const OK: Answer = ("200 OK", "fine");
    let plain = "healthcheck: {http: 'URL'}";
    check(OK, OK, plain, 0, "ok");
    check(
        OK,
        ("503 Service Unavailable", "down"),
        plain,
        1,
        "GET URL: 503 Service Unavailable, expected 2xx",
    );
    check(OK, ("302 Found", ""), plain, 1, "GET URL: 302 Found, expected 2xx");
    check(OK, ("204 No Content", ""), plain, 0, "ok");
    check(
        OK,
        ("204 No Content", ""),
        "healthcheck: {http: 'URL', status: 200}",
        1,
        "204 No Content, expected 200",
    );
    check(OK, ("503 Service Unavailable", ""), "healthcheck: {http: 'URL'}, expect: unhealthy", 0, "ok");
    check(("404 Not Found", ""), OK, plain, 1, "unfit");
    let text = "healthcheck: {http: 'URL'}, expect_output: {contains: fine}";
    check(OK, OK, text, 0, "ok");
    check(
        OK,
        ("200 OK", "an error page"),
        text,
        1,
        "the output is `an error page`, expected to contain `fine`",
    );
    let json = "healthcheck: {http: 'URL'}, expect_output: {json: /members, at_least: 3}";
    let three = ("200 OK", r#"{"members": [1, 2, 3]}"#);
    check(three, three, json, 0, "ok");
    check(
        three,
        ("200 OK", r#"{"members": [1, 3]}"#),
        json,
        1,
        "the length of /members is `2`, expected at least 3",
    );
}

/// A service that takes a question and gives no answer is not well: that is no error of the healthcheck's.
fn silent() {
    let case = Case::new("");
    let service = Service::start(case.sshd.home().join("broken"), ("200 OK", ""), ("", ""));
    let ran = run(&case, &service, "healthcheck: {http: 'URL', within: 300ms}");
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    let want = "GET http://127.0.0.1:PORT/health: no answer within 300ms";
    assert!(ran.stdout.contains("succumbed: ") && ran.stdout.contains(want), "{}", ran.stdout);
}

fn tcp() {
    let case = Case::new("");
    let service = Service::start(case.sshd.home().join("broken"), ("200 OK", ""), ("200 OK", ""));
    let ran = run(&case, &service, "healthcheck: {tcp: '${host}:SERVICE'}");
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    let port = crate::common::free_port();
    case.book(&format!("healthcheck: {{tcp: 'localhost:{port}'}}"), "");
    let ran = case.pisaura(&["run", "--show-output"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stdout.contains("unfit") && ran.stdout.contains("Connection refused"), "{}", ran.stdout);
}

fn held() {
    let case = Case::new("");
    let service = Service::start(case.sshd.home().join("broken"), ("200 OK", ""), ("500 Broken", ""));
    let hold = "healthcheck: {http: 'URL'}, hold: 1s, every: 100ms, max_outage: 400ms";
    let ran = run(&case, &service, hold);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stdout.contains("succumbed: unhealthy for at least T s ("), "{}", ran.stdout);
    let ran = run(&case, &service, &format!("{hold}, expect: unhealthy").replace(", max_outage: 400ms", ""));
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
}

fn output() {
    let check = |script: &str, keys: &str, code: i32, want: &str| {
        let case = Case::new("");
        case.scratch.write("fatebooks/b/check.sh", format!("#!/bin/sh\n{script}\n"));
        case.book(keys, "");
        let ran = case.pisaura(&["run", "--show-output"]);
        assert_eq!(ran.code, Some(code), "{script}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(want), "{script}: {}", ran.stdout);
    };
    let lag = "expect_output: {at_most: 1000}";
    check("echo 12", lag, 0, "ok");
    check(
        "if [ $1 = --step=2 ]; then echo 1001; else echo 0; fi",
        lag,
        1,
        "the output is `1001`, expected at most 1000",
    );
    check("echo many", lag, 1, "the output is no number: `many`");
    check("yes 1 | head -n 100000", lag, 1, "the output is too long to be compared");
    check("echo \"role: leader\"", "expect_output: {matches: '^role: (leader|follower)$'}", 0, "ok");
    // What it prints is not asked where it says no by itself.
    check("echo 12; [ $1 != --step=2 ]", lag, 1, "exit status 1");
    check("echo \"$WHO\"", "env: {WHO: '${service}'}, expect_output: {equals: s}", 0, "ok");
}

/// A status that is no answer stays one, whatever was printed.
fn no_excuse() {
    let case = Case::new("");
    case.scratch
        .write("fatebooks/b/check.sh", "#!/bin/sh\necho bad\n[ $1 != --step=2 ] || exit 127\necho good\n");
    case.book("expect: unhealthy, expect_output: {contains: good}", "");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    assert!(
        ran.stdout.contains(
            "botched: the healthcheck during gave no answer: its program could not be run (exit status 127)"
        ),
        "{}",
        ran.stdout
    );
    assert!(!case.is_broken());
}

/// The same by hand, with the exit codes of a healthcheck.
fn by_hand() {
    let case = Case::new("");
    let service = Service::start(case.path("broken").into(), ("200 OK", "fine\n"), ("500 Broken", "why\n"));
    let check = |arguments: &[&str], want: (i32, &str, &str)| {
        let ran = Ran::of(case.scratch.command(&program()).arg("probe").args(arguments), &case.scratch);
        let stderr = ran.stderr.replace("http://127.0.0.1:PORT/health", "URL");
        assert_eq!((ran.code.unwrap_or(-1), ran.stdout.as_str(), stderr.trim_end()), want, "{arguments:?}");
    };
    let (url, address) = (service.url(), format!("127.0.0.1:{}", service.port));
    let url = url.as_str();
    check(&["http", url], (0, "fine\n", ""));
    check(&["http", url, "--status", "2xx", "--within", "10s"], (0, "fine\n", ""));
    check(&["http", url, "--status", "201"], (1, "fine\n", "GET URL: 200 OK, expected 201"));
    check(&["tcp", &address], (0, "", ""));
    let why = "cannot ask `h`: it begins with neither http:// nor https://";
    check(&["http", "h"], (126, "", why));
    check(&["tcp", "h"], (126, "", "cannot ask `h`: it has no port at its end"));
    let why = "cannot ask URL: `ok` is no status such as 200, nor a class such as 2xx";
    check(&["http", url, "--status", "ok"], (126, "", why));
    case.scratch.write("broken", "");
    check(&["http", url], (1, "why\n", "GET URL: 500 Internal Server Error, expected 2xx"));
}

/// An answer that has no end, or less than it says, or more than anybody can compare.
fn no_answers() {
    let case = Case::new("");
    let check = |body: &str, length: &str, keys: &str, want: &str| {
        let text = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{length}\r\n{body}");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let server = std::thread::spawn(move || {
            for stream in listener.incoming().flatten().take(1) {
                let mut request = String::new();
                let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
                while reader.read_line(&mut request).is_ok_and(|read| read > 2) {
                    request.clear();
                }
                let _ = (&stream).write_all(text.as_bytes());
            }
        });
        case.book(&format!("healthcheck: {{http: '{url}'}}, {keys}"), "");
        let ran = case.pisaura(&["run"]);
        assert!(ran.stdout.contains("unfit: ") && ran.stdout.contains(want), "{want}: {}", ran.stdout);
        server.join().expect("an end");
    };
    check("short", "Content-Length: 100\r\n", "", "GET http://127.0.0.1:PORT/: ");
    check("zz\r\n", "Transfer-Encoding: chunked\r\n", "", "GET http://127.0.0.1:PORT/: ");
    let long = "fine ".repeat(20_000);
    check(&long, "", "expect_output: {contains: fine}", "the output is too long to be compared");
    // By hand: what is no URL cannot be asked.
    for url in ["http://[::1", "http://h:99999/"] {
        let ran = Ran::of(case.scratch.command(&program()).args(["probe", "http", url]), &case.scratch);
        assert_eq!(ran.code, Some(126), "{url}: {}", ran.stderr);
    }
}

/// A proxy's answer says nothing of the service.
fn no_proxy() {
    let case = Case::new("");
    let proxy =
        Service::start(case.path("broken").into(), ("200 OK", "by the proxy"), ("200 OK", "by the proxy"));
    let mut command = case.scratch.command(&program());
    let at = format!("http://127.0.0.1:{}", proxy.port);
    command.args(["probe", "http", "http://127.0.0.1:1/", "--within", "5s"]);
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(name, &at);
    }
    let ran = Ran::of(&mut command, &case.scratch);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{}", ran.stderr);
}

fn dry_run() {
    let case = Case::new("");
    case.book(
        "healthcheck: {http: 'http://${host}:8080/health', status: 204}, expect_output: {equals: up}",
        "",
    );
    let ran = case.pisaura(&["run", "--dry-run"]);
    let want = "healthcheck  here, within 10s: pisaura probe http http://127.0.0.1:PORT/health --status 204 --within 5s, its output `up`\n";
    assert!(ran.stdout.contains(want), "{}", ran.stdout);
    // A limit of its own that is shorter than the step's, so that a service that hangs is not an error.
    case.book("healthcheck: {tcp: '${host}:80'}, timeout: 2s", "");
    let ran = case.pisaura(&["run", "--dry-run"]);
    let want = "pisaura probe tcp 127.0.0.1:PORT --within Ts\n";
    assert!(ran.stdout.contains(want), "{}", ran.stdout);
}

/// The program that carries out cases on an agent probes, too.
fn on_mesos() {
    let cluster = Cluster::start(&["--agents", "1"]);
    let case = Case::new("");
    let service = Service::start(
        case.sshd.home().join("broken"),
        ("200 OK", "up"),
        ("503 Service Unavailable", "busy"),
    );
    case.book(&format!("healthcheck: {{http: '{}'}}, grace: 1s", service.url()), "");
    on_master(&cluster.master, || {
        let ran = case.scratch.harness(&["--show-output"]);
        let told = ran.failure("b::f@127.0.0.1:PORT");
        assert!(told.contains(": 503 Service Unavailable, expected 2xx"), "{}{}", ran.stdout, ran.stderr);
    });
    assert!(!case.is_broken());
}
