//! The wire, without a Mesos: recorded conversations, cut at every byte, and a master that says what the real one will not
//! say on command.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use libtest_mimic::Trial;
use pisaura::machine::{SchedulerEvent, TaskUpdate};
use pisaura::mesos::messages::{executor, scheduler};
use pisaura::mesos::recordio::Decoder;
use pisaura::mesos::translate::{agent_event, scheduler_event};
use pisaura::mesos::{Client, Next, Security};
use prost::Message;

use crate::common::{block_on, test};

pub fn tests() -> Vec<Trial> {
    vec![
        test("wire::a_schedulers_stream", schedulers_stream),
        test("wire::executors_streams", executors_streams),
        test("wire::streams_that_end_in_an_error", error_streams),
        test("wire::answers_as_they_came", whole_answers),
        test("wire::calls_are_written_as_mesos_reads_them", calls),
        test("wire::no_bytes_break_it", no_bytes_break_it),
        test("wire::answers_and_what_follows", answers),
        test("wire::a_redirect_is_followed", redirect),
        test("wire::redirects_without_an_end", redirects),
        test("wire::a_stream_that_breaks_off", broken_stream),
        test("wire::nobody_is_there", nobody),
    ]
}

fn capture(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures"));
    std::fs::read(folder.join(name)).expect("a capture")
}

/// The records of a stream, and whether it ended between two of them.
fn records(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    let (mut decoder, mut records) = (Decoder::default(), Vec::new());
    for chunk in chunks {
        decoder.push(chunk);
        while let Some(record) = decoder.next_record().expect("RecordIO") {
            records.push(record);
        }
    }
    let whole = decoder.is_between_records();
    (records, whole)
}

/// Compares what the stream's records come to, in words; cut at any byte, they come to the same.
#[track_caller]
fn check_stream(name: &str, words: impl Fn(&[u8]) -> String, want: &[&str]) {
    let stream = capture(name);
    let (whole, ended) = records(&[&stream]);
    assert!(ended, "{name} ends between two records");
    let told: Vec<String> = whole.iter().map(|record| words(record)).collect();
    assert_eq!(told, want, "{name}");
    for cut in 0..=stream.len() {
        let (begin, end) = stream.split_at(cut);
        assert_eq!(records(&[begin, end]).0, whole, "{name}, cut at {cut}");
        // What has come so far is the beginning of it.
        let (first, _) = records(&[begin]);
        assert_eq!(first, whole[..first.len()], "{name}, broken off at {cut}");
    }
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(records(&bytes).0, whole, "{name}, byte by byte");
}

fn scheduler_words(record: &[u8]) -> String {
    match scheduler_event(record) {
        Ok(SchedulerEvent::Subscribed { heartbeat, .. }) => format!("subscribed, {} s", heartbeat.as_secs()),
        Ok(SchedulerEvent::Offers(offers)) => {
            let shown = offers
                .iter()
                .map(|offer| format!("{} of {}", offer.room, offer.names.join(" ")))
                .collect::<Vec<_>>();
            format!("offers: {}", shown.join("; "))
        }
        Ok(SchedulerEvent::Update(TaskUpdate { task, news, message, uuid, .. })) => {
            format!("{task}: {news:?}, {message}, {} bytes of uuid", uuid.map_or(0, |uuid| uuid.len()))
        }
        Ok(SchedulerEvent::Gone { executor, .. }) => format!("gone: {}", executor.unwrap_or_default()),
        Ok(SchedulerEvent::Heartbeat) => "heartbeat".to_owned(),
        Ok(SchedulerEvent::Removed { why }) => format!("removed: {why}"),
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("{:?}: {error}", error.next),
    }
}

fn schedulers_stream() {
    check_stream(
        "scheduler-stream.recordio",
        scheduler_words,
        &[
            "subscribed, 15 s",
            "heartbeat",
            "offers: cpu 4, mem 4096 of localhost 127.0.0.1",
            "task-1: Alive, TASK_RUNNING, 16 bytes of uuid",
            "task-2: Alive, TASK_RUNNING, 16 bytes of uuid",
            "task-1: Ended, TASK_KILLED, 16 bytes of uuid",
            "task-2: Alive, TASK_RUNNING (Reconciliation: Latest task state), 0 bytes of uuid",
            "offers: cpu 3.9, mem 4064 of localhost 127.0.0.1",
            "gone: executor-2",
            "task-2: Ended, TASK_FAILED (Executor terminated), 16 bytes of uuid",
            "heartbeat",
        ],
    );
}

fn executors_streams() {
    let words = |record: &[u8]| match agent_event(record) {
        Ok(pisaura::mesos::translate::AgentEvent::Launch(task)) => {
            format!(
                "Launch {}: {}",
                task.task_id.value,
                String::from_utf8_lossy(task.data.as_deref().unwrap_or_default())
            )
        }
        Ok(pisaura::mesos::translate::AgentEvent::Acknowledged(uuid)) => {
            format!("Acknowledged {}", uuid.len())
        }
        Ok(other) => format!("{other:?}"),
        Err(error) => error.to_string(),
    };
    check_stream(
        "executor-1-stream.recordio",
        words,
        &[
            "Subscribed",
            "Launch task-1: data of task 1",
            "Acknowledged 16",
            "Kill(\"task-1\")",
            "Acknowledged 16",
            "Shutdown",
        ],
    );
    check_stream(
        "executor-2-stream.recordio",
        words,
        &["Subscribed", "Launch task-2: data of task 2", "Acknowledged 16", "Shutdown"],
    );
}

fn error_streams() {
    check_stream(
        "replaced-stream.recordio",
        scheduler_words,
        &[
            "subscribed, 15 s",
            "heartbeat",
            "offers: cpu 4, mem 4096 of localhost 127.0.0.1",
            "Never: the master says: Framework failed over",
        ],
    );
    let removed = "removed: the master says: Framework has been removed";
    check_stream("removed-stream.recordio", scheduler_words, &[removed]);
}

/// The answers to the first request of each connection, in their order, each written in two parts.
struct Master {
    base: String,
    thread: std::thread::JoinHandle<Vec<Vec<u8>>>,
}

impl Master {
    /// Writes an answer up to `cut`, and the rest once that has been read; then it closes the connection.
    fn with(answers: Vec<(Vec<u8>, usize)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let thread = std::thread::spawn(move || {
            let mut requests = Vec::new();
            for (answer, cut) in answers {
                let (mut connection, _) = listener.accept().expect("a connection");
                requests.push(read_request(&connection));
                connection.set_nodelay(true).expect("a setting");
                connection.write_all(&answer[..cut]).expect("an answer");
                connection.write_all(&answer[cut..]).expect("an answer");
            }
            requests
        });
        Self { base, thread }
    }

    fn one(answer: &str) -> Self {
        Self::with(vec![(answer.as_bytes().to_vec(), 0)])
    }
}

fn read_request(connection: &TcpStream) -> Vec<u8> {
    let mut reader = BufReader::new(connection);
    let mut head = String::new();
    while reader.read_line(&mut head).expect("a head") > 2 {}
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body).expect("a body");
    [head.into_bytes(), body].concat()
}

fn client() -> Client {
    Client::new("/api/v1/scheduler", Security::default()).expect("a client")
}

/// What a subscription at this base brings: its records, and how it ended.
fn listen(base: &str) -> (Vec<Vec<u8>>, Next, String) {
    block_on(async {
        let mut records = Vec::new();
        let mut subscription = match client().subscribe(base, b"call".to_vec()).await {
            Ok(subscription) => subscription,
            Err(error) => return (records, error.next, error.message),
        };
        loop {
            match subscription.next().await {
                Ok(record) => records.push(record),
                Err(error) => return (records, error.next, error.message),
            }
        }
    })
}

/// The whole answer, as it came over the connection, in two parts; every seventh cut is enough for a look at HTTP, which is
/// not ours.
fn whole_answers() {
    for name in ["scheduler", "executor-1", "executor-2"] {
        let answer = capture(&format!("{name}-stream.bin"));
        let (want, _) = records(&[&capture(&format!("{name}-stream.recordio"))]);
        for cut in (0..answer.len()).step_by(7) {
            let master = Master::with(vec![(answer.clone(), cut)]);
            let (got, next, _) = listen(&master.base);
            assert_eq!((got.len(), got == want, next), (want.len(), true, Next::Now), "{name}, cut at {cut}");
            master.thread.join().expect("a master");
        }
    }
}

/// What was said to a real master, and accepted, is what we read and would write again: with the same meaning, and with as many bytes, so that no field is lost. The order of fields is the writer's own.
#[track_caller]
fn check_call<T: Message + Default + PartialEq + std::fmt::Debug>(name: &str, bytes: &[u8]) {
    let call = T::decode(bytes).expect("a call");
    let again = call.encode_to_vec();
    assert_eq!(again.len(), bytes.len(), "{name}: a field is not known");
    assert_eq!(T::decode(again.as_slice()).expect("a call"), call, "{name}");
}

fn calls() {
    let mut seen = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures/calls"))
        .expect("calls")
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let bytes = std::fs::read(entry.path()).expect("a call");
        match name.starts_with("scheduler") {
            true => check_call::<scheduler::Call>(&name, &bytes),
            false => check_call::<executor::Call>(&name, &bytes),
        }
        seen += 1;
    }
    assert_eq!(seen, 12);
}

/// Damaged at every byte, a record is refused or read as something else; nothing breaks down, and nothing large is believed.
fn no_bytes_break_it() {
    for name in ["scheduler-stream.recordio", "executor-1-stream.recordio"] {
        let (records, _) = records(&[&capture(name)]);
        for record in records {
            for at in 0..record.len() {
                for byte in [0, 0x7f, 0x80, 0xff] {
                    let mut damaged = record.clone();
                    damaged[at] = byte;
                    let _ = scheduler_event(&damaged);
                    let _ = agent_event(&damaged);
                }
                let _ = scheduler_event(&record[..at]);
                let _ = agent_event(&record[..at]);
            }
        }
    }
}

fn answers() {
    let answer = |status: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    };
    let check = |status: &str, body: &str, subscribe: (Next, &str), call: (Next, &str)| {
        let master = Master::one(&answer(status, body));
        let (_, next, message) = listen(&master.base);
        assert_eq!(
            (next, message),
            (subscribe.0, subscribe.1.replace("BASE", &master.base)),
            "to SUBSCRIBE: {status}"
        );
        let master = Master::one(&answer(status, body));
        let error = block_on(client().call(&master.base, Some("id"), Vec::new())).expect_err("an error");
        assert_eq!(
            (error.next, error.message),
            (call.0, call.1.replace("BASE", &master.base)),
            "to a call: {status}"
        );
        let requests = master.thread.join().expect("a master");
        let head = String::from_utf8_lossy(&requests[0]).to_lowercase();
        assert!(
            head.contains("mesos-stream-id: id\r\n")
                && head.contains("content-type: application/x-protobuf\r\n"),
            "{head}"
        );
        assert!(!head.contains("expect:"), "nobody ever answers that");
    };
    let refused = "BASE refuses our credentials (401 Unauthorized): see --principal and --secret-file";
    check("401 Unauthorized", "401 Unauthorized.", (Next::Never, refused), (Next::Never, refused));
    let starting = "BASE answers 404 Not Found: 404 Not Found.";
    check("404 Not Found", "404 Not Found.", (Next::Later, starting), (Next::Later, starting));
    let recovering = "BASE answers 503 Service Unavailable: Master has not finished recovery";
    check(
        "503 Service Unavailable",
        "Master has not finished recovery",
        (Next::Later, recovering),
        (Next::Later, recovering),
    );
    let forbidden = "BASE answers 403 Forbidden: Framework is not subscribed";
    check("403 Forbidden", "Framework is not subscribed", (Next::Never, forbidden), (Next::Now, forbidden));
    let stale = "BASE answers 400 Bad Request: The stream ID 'x' included in this request didn't match";
    check(
        "400 Bad Request",
        "The stream ID 'x' included in this request didn't match",
        (Next::Never, stale),
        (Next::Now, stale),
    );
    let unknown = "BASE answers 400 Bad Request: Framework cannot be found";
    check("400 Bad Request", "Framework cannot be found", (Next::Never, unknown), (Next::Now, unknown));
    let malformed = "BASE answers 400 Bad Request: Failed to parse body into Call protobuf";
    check(
        "400 Bad Request",
        "Failed to parse body into Call protobuf",
        (Next::Never, malformed),
        (Next::Never, malformed),
    );
    let nowhere = "BASE answers 307 Temporary Redirect: ";
    check("307 Temporary Redirect", "", (Next::Later, nowhere), (Next::Now, nowhere));
    // What a peer says is data.
    let mut long = String::new();
    for number in 0..1000 {
        let _ = writeln!(long, "{number}\u{1b}[2J");
    }
    let told = format!(
        "BASE answers 500 Internal Server Error: {}",
        long.replace(['\u{1b}', '\n'], "").chars().take(500).collect::<String>()
    );
    check("500 Internal Server Error", &long, (Next::Later, &told), (Next::Later, &told));
}

fn redirect() {
    for scheme in ["", "http:"] {
        let leader = Master::with(vec![(capture("scheduler-stream.bin"), 0)]);
        let authority = &leader.base["http://".len()..];
        let master = Master::one(&format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: {scheme}//{authority}/api/v1/scheduler\r\nContent-Length: 0\r\n\r\n"
        ));
        let subscription =
            block_on(client().subscribe(&master.base, b"call".to_vec())).expect("a subscription");
        assert_eq!(subscription.base, leader.base);
        assert_eq!(subscription.stream_id.as_deref(), Some("8ee4e12c-f447-425d-b9ee-284ab12d7dc6"));
        let requests =
            [master.thread.join().expect("a master"), leader.thread.join().expect("a leader")].concat();
        assert!(requests.iter().all(|request| request.ends_with(b"\r\n\r\ncall")), "it is said to both");
    }
}

fn redirects() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let authority = listener.local_addr().expect("an address").to_string();
    let location = format!("//{authority}/api/v1/scheduler");
    let thread = std::thread::spawn(move || {
        for _ in 0..9 {
            let (mut connection, _) = listener.accept().expect("a connection");
            read_request(&connection);
            let answer = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            connection.write_all(answer.as_bytes()).expect("an answer");
        }
    });
    let (_, next, message) = listen(&format!("http://{authority}"));
    assert_eq!(
        (next, message),
        (Next::Later, format!("http://{authority}: more than 9 redirects to a leader"))
    );
    thread.join().expect("a master");
}

fn broken_stream() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nMesos-Stream-Id: x\r\n\r\n";
    let check = |body: &str, records: usize, want: &str| {
        let master = Master::one(&format!("{head}{body}"));
        let (got, next, message) = listen(&master.base);
        assert_eq!((got.len(), next), (records, Next::Now), "{message}");
        assert!(message.starts_with(&want.replace("BASE", &master.base)), "{message}");
    };
    check("4\r\n2\n\u{8}\u{8}\r\n0\r\n\r\n", 1, "BASE ended the subscription");
    check("4\r\n2\n\u{8}\u{8}\r\n", 1, "the connection to BASE was lost: ");
    check("3\r\n9\nx\r\n", 0, "the connection to BASE was lost: ");
    check(
        "4\r\nhmm\n\r\n",
        0,
        "BASE: the stream of events is broken: `hmm` stands where a record's length is to be",
    );
}

fn nobody() {
    let port = crate::common::free_port();
    let (_, next, message) = listen(&format!("http://127.0.0.1:{port}"));
    assert_eq!(next, Next::Later);
    assert!(message.starts_with(&format!("cannot reach http://127.0.0.1:{port}: ")), "{message}");
    assert!(message.ends_with("Connection refused (os error 111)"), "{message}");
}
