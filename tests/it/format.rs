//! Every key of a fatebook does what it says, one test for each row of the reference; and books as they were written in
//! 2016 run unchanged.

use libtest_mimic::Trial;
use pisaura::fatebook::{Deadman, Fatebook, Reading, find_books, schema};

use crate::common::{HttpServer, Ran, Scratch, Sshd, program, test, wait_for, write_scripts};

pub fn tests() -> Vec<Trial> {
    vec![
        test("format::a_book_of_2016", book_of_2016),
        test("format::python_yaml_and_json_are_the_same", spellings),
        test("format::names_of_books", names_of_books),
        test("format::service", service),
        test("format::cpu_and_mem", cpu_and_mem),
        test("format::hosts", hosts),
        test("format::loglevel", loglevel),
        test("format::env", env),
        test("format::timeout", timeout),
        test("format::grace", grace),
        test("format::deadman", deadman),
        test("format::pass_step", pass_step),
        test("format::a_reason_that_is_empty_is_none", empty_skip),
        test("format::verify", verify),
        test("format::only_if", only_if),
        test("format::expect", expect),
        test("format::hosts_of_a_failure", hosts_of_a_failure),
        test("format::resources", resources),
        test("format::resources_by_url", resources_by_url),
        test("format::scripts_from_beside_the_book", scripts_from_elsewhere),
        test("format::host_programs_are_told_of", host_programs),
        test("format::scripts_know_their_case", scripts_know_their_case),
        test("format::variables", variables),
        test("format::unset_variables_are_a_reason", unset_variables),
        test("format::the_working_folder_is_a_copy", working_folder),
        test("format::parameters", parameters),
        test("format::what_the_book_says_for_all", said_for_all),
        test("format::merge_keys", merge_keys),
        test("format::schema", the_schema),
        test("format::reference_in_the_readme", reference),
    ]
}

fn read(scratch: &Scratch, path: &str) -> Fatebook {
    let file = find_books(&scratch.join(path)).expect("a book").remove(0);
    file.read(&|name| (name == "SET").then(|| "value".to_owned()), Reading::default())
        .unwrap_or_else(|broken| panic!("{}", broken.report()))
        .book
}

/// A case on a real host, with these keys of the book and of its one failure.
fn run(scratch: &Scratch, sshd: &Sshd, top: &str, keys: &str) -> Ran {
    let given = |key: &str, value: &str| {
        if keys.contains(&format!("{key}:")) { String::new() } else { format!("{key}: [{value}], ") }
    };
    let failure = format!(
        "  - {{name: f, {}{}{}{keys}}}",
        given("inducer", "break.sh"),
        given("reverter", "heal.sh"),
        given("healthcheck", "check.sh")
    );
    scratch.write("fatebooks/b/fatebook.yaml", sshd.book(top, &failure));
    scratch.pisaura(&["run"])
}

fn setup() -> (Scratch, Sshd) {
    let scratch = Scratch::new();
    write_scripts(&scratch);
    (scratch, Sshd::start())
}

#[track_caller]
fn passes(ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

/// The documented form, key by key: the scripts' paths are those on the host.
fn book_of_2016() {
    let (scratch, sshd) = setup();
    let there = sshd.join("path/to");
    let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
    let book = format!(
        "{{'service': 'tested service', 'cpu': 1, 'mem': 200, 'hosts': ['127.0.0.1:{port}', 'localhost:{port}'],\n \
         'ssh': {{'username': '{user}', 'password': '', 'identity_file': '{keys}/identity', 'known_hosts': '{keys}/known_hosts', 'host_key_check': 'off'}}, 'loglevel': 'debug', 'failfast': True,\n \
         'failures': [{{'name': 'first', 'inducer': [\"{there}/break.sh\", \"arg1\", \"argN\"],\n               \
         'reverter': [\"{there}/heal.sh\", \"arg1\", \"argN\"],\n               \
         'healthcheck': [\"/path/to/check.sh\", \"arg1\", \"argN\"]}}]}}\n",
        port = sshd.port,
        keys = sshd.path().display(),
        there = there.display(),
    );
    scratch.write("fatebooks/old/scenario.json", book);
    for script in ["break.sh", "heal.sh"] {
        scratch.write(&format!("fatebooks/old/{script}"), "#!/bin/sh\necho \"$0 $*\" >>\"$HOME/log\"\n");
    }
    scratch.write(
        "fatebooks/old/check.sh",
        format!("#!/bin/sh\necho \"$*\" >>'{}'\n", scratch.join("checks").display()),
    );
    let ran = scratch.pisaura(&["run"]);
    passes(&ran);
    assert!(ran.stdout.contains("test old::scenario::first@127.0.0.1:PORT ... ok"), "{}", ran.stdout);
    let there = there.display();
    // What heals runs from our own folder, where nobody else can change it.
    let log = sshd.read("log");
    let run: Vec<&str> = log.lines().collect();
    assert_eq!(run.len(), 4, "{log}");
    for case in run.chunks(2) {
        assert_eq!(case[0], format!("{there}/break.sh arg1 argN"));
        assert!(case[1].contains("/.pisaura/") && case[1].ends_with("/heal.sh arg1 argN"), "{log}");
    }
    assert_eq!(
        scratch.read("checks"),
        "arg1 argN --step=1\narg1 argN --step=2\narg1 argN --step=3\n".repeat(2)
    );
    // What was brought there is taken away again, the folders too.
    assert!(!sshd.join("path").exists());
    // As files in the wild say it.
    let book = scratch
        .read("fatebooks/old/scenario.json")
        .replace("'cpu'", "'cpus'")
        .replace("'identity_file'", "'key_filename'");
    scratch.write("fatebooks/old/scenario.json", book);
    passes(&scratch.pisaura(&["run"]));
}

fn spellings() {
    let scratch = Scratch::new();
    let python = "{'service': 's', 'hosts': ['a', 'b'], 'failfast': True, 'mem': 200, 'failures': [{'name': 'f \\'', 'inducer': ['true', \"x\"], 'reverter': ['true'], 'healthcheck': ['true']}]}".replace("f \\'", "f ''");
    let json = "{\n\t\"service\": \"s\",\n\t\"hosts\": [\"a\", \"b\"],\n\t\"failfast\": true, \"mem\": 2e2,\n\t\"failures\": [{\"name\": \"f '\", \"inducer\": [\"true\", \"\\u0078\"], \"reverter\": [\"true\"], \"healthcheck\": [\"true\"]}]\n}\n";
    let yaml = "service: s\nhosts: a, b\nfailfast: true\nmem: 200\nfailures:\n- name: \"f '\"\n  inducer: &t\n  - 'true'\n  - x\n  reverter: ['true']\n  healthcheck: ['true']\n";
    let shown = |text: &str| {
        scratch.write("fatebooks/b.yaml", text);
        let book = read(&scratch, "fatebooks/b.yaml");
        format!(
            "{} {:?} {} {} {:?}",
            book.service,
            book.hosts,
            book.failfast,
            book.mem_mib,
            book.fates.iter().map(|fate| (&fate.name, &fate.inducer.first().words)).collect::<Vec<_>>()
        )
    };
    assert_eq!(shown(&python), shown(json));
    assert_eq!(shown(yaml), shown(json));
    assert!(shown(json).contains("\"f '\""));
    // JSON writes what lies beyond U+FFFF as two escapes; the byte order mark of some editors is no part of a book.
    scratch.write("fatebooks/b.yaml", "\u{feff}{\"service\": \"\\ud83d\\ude00 \\u00e9 \\/ \\\\ud83d\", \"hosts\": [\"a\"], \"failures\": [{\"name\": \"f\", \"inducer\": [\"true\"], \"reverter\": [\"true\"], \"healthcheck\": [\"true\"]}]}");
    assert_eq!(read(&scratch, "fatebooks/b.yaml").service, "😀 é / \\ud83d");
}

fn names_of_books() {
    let scratch = Scratch::new();
    let book = "service: s\nhosts: [a]\nfailures:\n  - {name: f, inducer: ['true'], reverter: ['true'], healthcheck: ['true']}\n";
    for path in [
        "etcd/fatebook.json",
        "kafka/mirror.yaml",
        "kafka/deep/er/fatebook.yml",
        "top.yml",
        "fatebook.yaml",
        ".hidden/x.yaml",
        "y/.z.yaml",
        "x.schema.json",
        "notes.txt",
    ] {
        scratch.write(&format!("fatebooks/{path}"), book);
    }
    let ran = scratch.pisaura(&["list", "--format", "terse"]);
    assert_eq!(
        ran.stdout,
        "etcd::f@a: test\nfatebooks::f@a: test\nkafka::deep::er::f@a: test\nkafka::mirror::f@a: test\ntop::f@a: test\n"
    );
    let one = scratch.pisaura(&["list", "--format", "terse", "--fatebooks", "fatebooks/kafka/mirror.yaml"]);
    assert_eq!(one.stdout, "mirror::f@a: test\n");
}

fn service() {
    let (scratch, sshd) = setup();
    scratch.write("fatebooks/b/break.sh", "#!/bin/sh\necho \"$1|$PISAURA_SERVICE\" >>\"$HOME/log\"\n");
    let ran = run(&scratch, &sshd, "", "inducer: [break.sh, 'of ${service}']");
    passes(&ran);
    assert_eq!(sshd.read("log"), "of s|s\nheal.sh\n");
}

fn cpu_and_mem() {
    let scratch = Scratch::new();
    let book = |keys: &str| {
        scratch.write("fatebooks/b.yaml", format!("service: s\nhosts: [a]\n{keys}\nfailures:\n  - {{name: f, inducer: ['true'], reverter: ['true'], healthcheck: ['true']}}\n"));
        let book = read(&scratch, "fatebooks/b.yaml");
        (book.cpu_milli, book.mem_mib)
    };
    assert_eq!(book(""), (100, 64));
    assert_eq!(book("cpu: 1\nmem: 200"), (1000, 200));
    assert_eq!(book("cpus: 0.25\nmem: 0.5"), (250, 1));
    assert_eq!(book("cpu: ${CPU:-2}\nmem: '${MEM:-32}'"), (2000, 32));
}

fn hosts() {
    let (scratch, sshd) = setup();
    let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
    // The port of `ssh` is for hosts that name none; one text of several; a user for one of them.
    let book = sshd
        .book("", "  - {name: f, inducer: [break.sh, '${host}'], reverter: [heal.sh, '${host}'], healthcheck: [check.sh]}")
        .replace(&format!("['127.0.0.1:{}']", sshd.port), &format!("' 127.0.0.1 ,{user}@localhost:{}'", sshd.port))
        .replace("ssh: {", &format!("ssh: {{port: {}, host_key_check: off, ", sshd.port));
    scratch.write("fatebooks/b/fatebook.yaml", book);
    let ran = scratch.pisaura(&["run"]);
    passes(&ran);
    assert!(
        ran.stdout.contains("test b::f@127.0.0.1       ... ok\ntest b::f@localhost:PORT ... ok"),
        "{}",
        ran.stdout
    );
    assert_eq!(
        sshd.read("log"),
        "break.sh 127.0.0.1\nheal.sh 127.0.0.1\nbreak.sh localhost\nheal.sh localhost\n"
    );
}

fn loglevel() {
    let (scratch, sshd) = setup();
    scratch.write("fatebooks/b/break.sh", "#!/bin/sh\necho said; exit 1\n");
    let lines = |level: &str| {
        let _ = std::fs::remove_dir_all(scratch.join("target"));
        let ran = run(&scratch, &sshd, &format!("loglevel: {level}"), "");
        assert_eq!(ran.code, Some(3));
        let log = std::fs::read_dir(scratch.join("target/pisaura/logs"))
            .expect("logs")
            .next()
            .expect("a log")
            .expect("a log");
        let log = std::fs::read_to_string(log.path()).expect("a log");
        let has = |text: &str| {
            log.contains(text)
                && ran.stderr.contains(
                    text.trim_start_matches("Error: ")
                        .trim_start_matches("Info: ")
                        .trim_start_matches("Debug: "),
                )
        };
        // From all that there is to nothing but hosts that are left broken.
        [has("Debug: connected"), has("Info: reverter: ok"), has("Error: inducer: exit status 1")]
    };
    assert_eq!(lines("debug"), [true, true, true]);
    assert_eq!(lines("info"), [false, true, true]);
    assert_eq!(lines("warning"), [false, false, true]);
    assert_eq!(lines("error"), [false, false, true]);
    assert_eq!(lines("critical"), [false, false, false]);
    scratch.write("fatebooks/b/heal.sh", "#!/bin/sh\nexit 1\n");
    let ran = run(&scratch, &sshd, "loglevel: critical", "timeout: 300ms, deadman: 1s");
    assert!(ran.stderr.contains("the host may still be broken host="), "{}", ran.stderr);
}

fn env() {
    let (scratch, sshd) = setup();
    let out = scratch.join("out").display().to_string();
    scratch.write("fatebooks/b/break.sh", "#!/bin/sh\necho \"$A|$B|$C|$D\" >>\"$HOME/log\"\n");
    scratch.write("fatebooks/b/heal.sh", "#!/bin/sh\necho \"$A\" >>\"$HOME/log\"\n");
    scratch.write("fatebooks/b/check.sh", "#!/bin/sh\necho \"$A\" >>\"$OUT\"\n");
    let top = format!("env: {{A: of the book, B: \"it's $HOME\", D: '${{host}}', OUT: '{out}'}}");
    passes(&run(&scratch, &sshd, &top, "env: {A: of the failure, C: 5}"));
    assert_eq!(sshd.read("log"), "of the failure|it's $HOME|5|127.0.0.1\nof the failure\n");
    assert_eq!(scratch.read("out"), "of the failure\n".repeat(3));
}

fn timeout() {
    let (scratch, sshd) = setup();
    // Its whole group of processes ends with a healthcheck, also what it started beside itself.
    let out = scratch.join("pid").display().to_string();
    scratch.write(
        "fatebooks/b/check.sh",
        format!("#!/bin/sh\ntrap '' TERM\nsleep 300 &\necho $! >'{out}'\nsleep 300\n"),
    );
    let ran = run(&scratch, &sshd, "timeout: 300ms", "");
    assert_eq!(ran.code, Some(3));
    assert!(
        ran.stdout.contains("botched: healthcheck before: took longer than its time limit of 300ms\n"),
        "{}",
        ran.stdout
    );
    let pid = scratch.read("pid");
    wait_for("the end of what it had started", || {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        status.is_empty() || status.contains(") Z ")
    });
    // Nor does a flood keep the limit from being seen.
    scratch.write("fatebooks/b/check.sh", "#!/bin/sh\nyes & yes >&2 & yes & exec yes >&2\n");
    let ran = run(&scratch, &sshd, "timeout: 500ms", "");
    assert!(
        ran.stdout.contains("botched: healthcheck before: took longer than its time limit of 500ms\n"),
        "{}",
        ran.stdout
    );
    // One of a failure counts more than the book's.
    scratch.write("fatebooks/b/check.sh", "#!/bin/sh\nsleep 0.4\n");
    passes(&run(&scratch, &sshd, "timeout: 100ms", "timeout: 20s"));
}

fn grace() {
    let (scratch, sshd) = setup();
    // It says no twice at each step.
    let counter = scratch.join("count").display().to_string();
    scratch.write(
        "fatebooks/b/check.sh",
        format!("#!/bin/sh\necho $1 >>'{counter}'\n[ $(grep -c -- \"$1\" '{counter}') -gt 2 ]\n"),
    );
    assert_eq!(run(&scratch, &sshd, "", "").code, Some(1));
    scratch.write("count", "");
    let ran = run(&scratch, &sshd, "grace: 30s", "");
    passes(&ran);
    assert_eq!(
        scratch.read("count"),
        "--step=1\n--step=1\n--step=1\n--step=2\n--step=2\n--step=2\n--step=3\n--step=3\n--step=3\n"
    );
    // How long the service took stands in the report, and is not zero.
    let xml = scratch.read("target/pisaura/junit.xml");
    let recovered: Vec<f64> = xml
        .lines()
        .filter_map(|line| {
            let (_, told) =
                line.split_once("  healthy after ").or(line.split_once("asked 3 times, healthy after "))?;
            told.split(" s").next()?.parse().ok()
        })
        .collect();
    assert!(recovered.len() == 2 && recovered.iter().all(|time| (0.3..20.0).contains(time)), "{xml}");
}

fn deadman() {
    // What it does on a host is tried in `deadman.rs`; here, what a book makes of it.
    let scratch = Scratch::new();
    let book = |deadman: &str| {
        scratch.write("fatebooks/b.yaml", format!("service: s\nhosts: [a]\ntimeout: 20s\n{deadman}\nfailures:\n  - {{name: f, inducer: ['true'], reverter: ['true'], healthcheck: ['true']}}\n"));
        let fate = read(&scratch, "fatebooks/b.yaml").fates.remove(0);
        (fate.revert_within().as_secs(), fate.deadman == Deadman::Off)
    };
    assert_eq!(
        [book(""), book("deadman: 'off'"), book("deadman: 61s")],
        [(80, false), (80, true), (61, false)]
    );
}

/// One failure with several values: a case for each combination, with its own name, arguments and times.
fn parameters() {
    let (scratch, sshd) = setup();
    let failure = "  - {name: slow, with: {delay: [100ms, 2s], loss: [0, 5]}, inducer: [break.sh, '${delay} of ${host}', '${loss}%'], reverter: [heal.sh, '${loss}'], healthcheck: [check.sh], env: {DELAY: '${delay}'}, timeout: '${delay}', grace: '${SET_NOWHERE:-1s}'}";
    scratch.write("fatebooks/b/fatebook.yaml", sshd.book("", failure));
    let listed = scratch.pisaura(&["list", "--format", "terse"]).stdout;
    let names: Vec<&str> =
        listed.lines().filter_map(|line| line.strip_suffix("@127.0.0.1:PORT: test")).collect();
    assert_eq!(
        names,
        [
            "b::slow[delay=100ms,loss=0]",
            "b::slow[delay=100ms,loss=5]",
            "b::slow[delay=2s,loss=0]",
            "b::slow[delay=2s,loss=5]"
        ]
    );
    let ran = scratch.pisaura(&["run", "delay=2s"]);
    passes(&ran);
    // Also in a command that the book has for all.
    scratch.write(
        "fatebooks/c/fatebook.yaml",
        "service: t\nhosts: [h]\ninducer: ['true', '${x}']\nreverter: ['true']\nhealthcheck: ['true']\nfailures:\n  - {name: f, with: {x: [1, 2]}}\n",
    );
    let fates = read(&scratch, "fatebooks/c/fatebook.yaml").fates;
    assert_eq!(fates.iter().map(|fate| fate.name.as_str()).collect::<Vec<_>>(), ["f[x=1]", "f[x=2]"]);
    assert_eq!(
        sshd.read("log"),
        "break.sh 2s of 127.0.0.1 0%\nheal.sh 0\nbreak.sh 2s of 127.0.0.1 5%\nheal.sh 5\n"
    );
    let ran = scratch.pisaura(&["run", "--exact", "b::slow[delay=2s,loss=5]"]);
    assert!(ran.stdout.contains("running 1 test"), "{}", ran.stdout);
    let fates = read(&scratch, "fatebooks/b/fatebook.yaml").fates;
    let timeouts: Vec<u128> = fates.iter().map(|fate| fate.timeout.as_millis()).collect();
    assert_eq!(timeouts, [100, 100, 2000, 2000]);
}

/// What all failures have in common is said once, and said anew where one differs.
fn said_for_all() {
    let (scratch, sshd) = setup();
    let failures = "  - {name: f}\n  - {name: g, with: {x: [1]}, env: {X: '${x}'}, inducer: [break.sh, g], healthcheck: ['false'], hold: 0s}";
    let top = "inducer: [break.sh, all]\nreverter: [heal.sh]\nhealthcheck: [check.sh]\nverify: ['true']\nhold: 200ms\nevery: 100ms\ntimeout: 2s";
    scratch.write("fatebooks/b/fatebook.yaml", sshd.book(top, failures));
    let ran = scratch.pisaura(&["run"]);
    assert_eq!(ran.line("b::f@127.0.0.1:PORT"), "ok", "{}", ran.stdout);
    assert!(ran.stdout.contains("unfit: unhealthy before anything was broken"), "{}", ran.stdout);
    assert_eq!(sshd.read("log"), "break.sh all\nheal.sh\n");
    let fates = read(&scratch, "fatebooks/b/fatebook.yaml").fates;
    assert_eq!(
        fates.iter().map(|fate| (fate.hold.is_some(), fate.verify.is_some())).collect::<Vec<_>>(),
        [(true, true), (false, true)]
    );
}

fn merge_keys() {
    let scratch = Scratch::new();
    let book = "x-slow: &slow {timeout: 7s, grace: 3s}\nx-tagged: &tagged {tags: [t], grace: 4s}\nservice: s\nhosts: [a]\nfailures:\n  - &first {name: f, inducer: ['true'], reverter: ['true'], healthcheck: ['true'], <<: *slow}\n  - {<<: [*tagged, *first], name: g, timeout: 9s}\n";
    scratch.write("fatebooks/b.yaml", book);
    let fates = read(&scratch, "fatebooks/b.yaml").fates;
    let told: Vec<String> = fates
        .iter()
        .map(|fate| format!("{} {:?} {:?} {:?}", fate.name, fate.timeout, fate.grace, fate.tags))
        .collect();
    assert_eq!(told, ["f 7s 3s []", "g 9s 4s [\"t\"]"]);
}

/// As of a variable that whoever wants it skipped sets.
fn empty_skip() {
    let (scratch, sshd) = setup();
    for skip in ["skip: ''", "skip:", "skip: '${PISAURA_NO_SUCH_REASON:-}'"] {
        passes(&run(&scratch, &sshd, "", &format!("healthcheck: ['true'], {skip}")));
    }
}

fn pass_step() {
    let (scratch, sshd) = setup();
    let out = scratch.join("out").display().to_string();
    scratch.write("fatebooks/b/check.sh", format!("#!/bin/sh\necho \"$#:$*:$PISAURA_STEP\" >>'{out}'\n"));
    passes(&run(&scratch, &sshd, "", "healthcheck: [check.sh, a b]"));
    assert_eq!(scratch.read("out"), "2:a b --step=1:1\n2:a b --step=2:2\n2:a b --step=3:3\n");
    scratch.write("out", "");
    passes(&run(&scratch, &sshd, "pass_step: false", "healthcheck: [check.sh, a b]"));
    assert_eq!(scratch.read("out"), "1:a b:1\n1:a b:2\n1:a b:3\n");
    scratch.write("out", "");
    passes(&run(&scratch, &sshd, "pass_step: false", "healthcheck: [check.sh], pass_step: true"));
    assert!(scratch.read("out").starts_with("1:--step=1:1\n"));
}

fn verify() {
    let (scratch, sshd) = setup();
    passes(&run(&scratch, &sshd, "", "verify: [verify.sh, x]"));
    assert_eq!(sshd.read("log"), "break.sh\nverify.sh x\nheal.sh\n");
}

fn only_if() {
    let (scratch, sshd) = setup();
    passes(&run(&scratch, &sshd, "", "only_if: [verify.sh, x]"));
    assert_eq!(sshd.read("log"), "verify.sh x\nverify.sh x\nbreak.sh\nheal.sh\n");
    // One no is no reason to stop, but where it is no everywhere, that is said.
    let warning = "`b::f` was tried on no host: its only_if said no on each that was chosen";
    for keys in ["failfast: true", "failfast: false"] {
        let ran = run(&scratch, &sshd, keys, "only_if: ['false']");
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    }
    scratch.write("fatebooks/b/one.sh", "#!/bin/sh\n[ $PISAURA_HOST = localhost ]\n");
    let failures =
        "  - {name: f, only_if: [one.sh], inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh]}";
    let two = format!("hosts: ['127.0.0.1:{0}', 'localhost:{0}']", sshd.port);
    let book = sshd.book("failfast: true", failures).replace("ssh: {", "ssh: {host_key_check: 'off', ");
    let line = book.lines().find(|line| line.starts_with("hosts:")).expect("hosts").to_owned();
    scratch.write("fatebooks/b/fatebook.yaml", book.replace(&line, &two));
    let ran = scratch.pisaura(&["run"]);
    assert!(ran.code == Some(0) && !ran.stderr.contains("tried on no host"), "{}{}", ran.stdout, ran.stderr);
    assert_eq!((ran.stdout.matches("... ok").count(), ran.stdout.matches("... ignored").count()), (1, 1));
}

fn expect() {
    let (scratch, sshd) = setup();
    scratch.write("fatebooks/b/check.sh", "#!/bin/sh\n[ $1 != --step=2 ]\n");
    assert_eq!(run(&scratch, &sshd, "", "expect: healthy").code, Some(1));
    passes(&run(&scratch, &sshd, "", "expect: unhealthy"));
    // A monitor that cannot be run has not seen anything.
    let ran =
        run(&scratch, &sshd, "", "expect: unhealthy, healthcheck: ['case $1 in *2) exit 127;; esac #$1']");
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
}

fn hosts_of_a_failure() {
    let scratch = Scratch::new();
    scratch.write("fatebooks/b.yaml", "service: s\nhosts: [a, b, c]\nfailures:\n  - {name: all, inducer: ['true'], reverter: ['true'], healthcheck: ['true']}\n  - {name: some, hosts: [c, a], inducer: ['true'], reverter: ['true'], healthcheck: ['true']}\n");
    assert_eq!(
        scratch.pisaura(&["list", "--format", "terse"]).stdout,
        "b::all@a: test\nb::all@b: test\nb::all@c: test\nb::some@a: test\nb::some@c: test\n"
    );
}

fn resources() {
    let (scratch, sshd) = setup();
    scratch.write("fatebooks/shared/data/numbers.txt", "42\n");
    scratch.write("fatebooks/shared/extra.sh", "#!/bin/sh\necho extra.sh >>\"$HOME/log\"\n");
    scratch.write("elsewhere/absolute.txt", "43\n");
    scratch.write(
        "fatebooks/b/check.sh",
        "#!/bin/sh\n[ \"$(cat data/numbers.txt absolute.txt)\" = '42\n43' ]\n",
    );
    let absolute = scratch.join("elsewhere/absolute.txt").display().to_string();
    let top = format!("resources: [../shared/data, ../shared/extra.sh, '{absolute}']");
    assert_eq!(run(&scratch, &sshd, "", "").code, Some(1));
    passes(&run(&scratch, &sshd, &top, "inducer: [extra.sh]"));
    assert_eq!(sshd.read("log"), "extra.sh\nheal.sh\n");
}

fn resources_by_url() {
    let (scratch, sshd) = setup();
    let server = HttpServer::start(|path| match path {
        "/a/numbers.txt?version=2" => Some(b"42\n".to_vec()),
        "/extra.sh" => Some(b"#!/bin/sh\necho extra.sh >>\"$HOME/log\"\n".to_vec()),
        _ => None,
    });
    scratch.write("fatebooks/b/check.sh", "#!/bin/sh\n[ \"$(cat numbers.txt)\" = 42 ]\n");
    let address = server.address.clone();
    let top = format!("resources: ['http://{address}/a/numbers.txt?version=2', 'http://{address}/extra.sh']");
    passes(&run(&scratch, &sshd, &top, "inducer: [extra.sh]"));
    assert_eq!(sshd.read("log"), "extra.sh\nheal.sh\n");

    let top = format!("resources: ['http://{address}/gone.txt']");
    let gone = run(&scratch, &sshd, &top, "");
    assert_eq!(gone.code, Some(3));
    let message = "cannot make a working folder for the book: cannot fetch http://127.0.0.1:PORT/gone.txt: the server says 404 Not Found";
    assert!(gone.stdout.contains(message), "{}", gone.stdout);
    drop(server);
    let nobody = run(&scratch, &sshd, &top, "");
    let message = "cannot fetch http://127.0.0.1:PORT/gone.txt: error sending request";
    assert!(
        nobody.stdout.contains(message) && nobody.stdout.contains("Connection refused"),
        "{}",
        nobody.stdout
    );
    assert_eq!(sshd.read("log"), "extra.sh\nheal.sh\n", "nothing was broken");
}

fn scripts_from_elsewhere() {
    let (scratch, sshd) = setup();
    // A library beside the books, a folder within the book, and two scripts of one name.
    scratch.write("fatebooks/lib/kill.sh", "#!/bin/sh\necho lib $* >>\"$HOME/log\"\n");
    scratch.write("fatebooks/b/scripts/kill.sh", "#!/bin/sh\necho own $* >>\"$HOME/log\"\n");
    scratch.write("fatebooks/lib/check.sh", "#!/bin/sh\n[ -e break.sh ]\n");
    passes(&run(
        &scratch,
        &sshd,
        "",
        "inducer: [../lib/kill.sh, a], reverter: [scripts/kill.sh, b], healthcheck: [../lib/check.sh]",
    ));
    assert_eq!(sshd.read("log"), "lib a\nown b\n");
}

fn host_programs() {
    let (scratch, sshd) = setup();
    passes(&run(&scratch, &sshd, "", "inducer: [touch, made], reverter: [/bin/rm, made]"));
    let checked = scratch.pisaura(&["check"]);
    assert!(checked.stdout.contains("note: fatebooks/b/fatebook.yaml:6:50: `touch` is no file of the book: taken as a program of the host; nothing is copied\n"), "{}", checked.stdout);
    assert!(
        checked.stdout.contains(
            ": `/bin/rm` is no file of the book: taken as a program of the host; nothing is copied\n"
        ),
        "{}",
        checked.stdout
    );
    assert!(checked.stdout.ends_with("1 fatebook, 1 case, 0 broken\n") && checked.code == Some(0));
}

fn scripts_know_their_case() {
    let (scratch, sshd) = setup();
    let out = scratch.join("out").display().to_string();
    let script = "#!/bin/sh\necho \"$PISAURA_STEP|$PISAURA_HOST|$PISAURA_HOSTS|$PISAURA_SERVICE|$PISAURA_FAILURE|${#PISAURA_CASE}\"";
    for name in ["break.sh", "heal.sh", "verify.sh"] {
        scratch.write(&format!("fatebooks/b/{name}"), format!("{script} >>\"$HOME/log\"\n"));
    }
    scratch.write("fatebooks/b/check.sh", format!("{script} >>'{out}'\n"));
    passes(&run(&scratch, &sshd, "", "verify: [verify.sh]"));
    let line = |step: &str| format!("{step}|127.0.0.1|127.0.0.1|s|f|16\n");
    assert_eq!(sshd.read("log"), line("inducer") + &line("verify") + &line("reverter"));
    assert_eq!(scratch.read("out"), line("1") + &line("2") + &line("3"));
}

fn variables() {
    let (scratch, sshd) = setup();
    scratch.write("fatebooks/b/break.sh", "#!/bin/sh\nprintf '%s\\n' \"$@\" >>\"$HOME/log\"\n");
    let failure = "  - {name: f 1, inducer: [break.sh, '${host}', '${service}-${failure}', '${WHO}', '${NOBODY:-a default}', '$${WHO}', $HOME], reverter: ['true'], healthcheck: ['true']}";
    let book = sshd
        .book("timeout: ${LIMIT:-20s}\nfailfast: ${FAST}", failure)
        .replace(&format!("['127.0.0.1:{}']", sshd.port), "'${WHERE}'");
    scratch.write("fatebooks/b/fatebook.yaml", book);
    let mut command = scratch.command(&program());
    command.arg("run").env("WHO", "a b").env("FAST", "True").env("WHERE", format!("127.0.0.1:{}", sshd.port));
    passes(&Ran::of(&mut command, &scratch));
    assert_eq!(sshd.read("log"), "127.0.0.1\ns-f 1\na b\na default\n${WHO}\n$HOME\n");
}

fn unset_variables() {
    let scratch = Scratch::new();
    let failures = "failures:\n  - {name: f, inducer: ['true', '${ETCD_KEY}'], reverter: ['true'], healthcheck: ['true']}\n";
    scratch.write("fatebooks/a.yaml", format!("service: s\nhosts: '${{ETCD_HOSTS}}'\n{failures}"));
    scratch.write("fatebooks/b.yaml", format!("service: s\nhosts: [h]\n{failures}"));
    assert_eq!(scratch.harness(&["--list", "--format", "terse"]).stdout, "a::f: test\nb::f@h: test\n");
    assert_eq!(
        scratch.harness(&["--list", "--format", "terse", "--ignored"]).stdout,
        "a::f: test\nb::f@h: test\n"
    );
    let ran = scratch.harness(&[]);
    assert_eq!(ran.code, Some(0));
    assert_eq!(ran.line("a::f  "), "ignored (the variables ETCD_HOSTS, ETCD_KEY are not set)");
    assert_eq!(ran.line("b::f@h"), "ignored (the variable ETCD_KEY is not set)");
    // One that is there but empty names no hosts.
    let ran = Ran::of(
        scratch.command(&program()).args(["run", "a::"]).env("ETCD_HOSTS", "").env("ETCD_KEY", "x"),
        &scratch,
    );
    assert_eq!(ran.line("a::f"), "ignored (the variable ETCD_HOSTS is not set)");
    let forced = scratch.harness(&["--include-ignored", "a::"]);
    assert!(
        forced
            .failure("a::f")
            .starts_with("botched: cannot be run: the variables ETCD_HOSTS, ETCD_KEY are not set\n"),
        "{}",
        forced.stdout
    );
    let strict = scratch.harness(&["--strict"]);
    assert_eq!(strict.code, Some(101));
    assert!(
        strict.failure("a::a.yaml").contains("fatebooks/a.yaml:2:8: the variable ETCD_HOSTS is not set\n"),
        "{}",
        strict.stdout
    );
    assert!(scratch.pisaura(&["check"]).stdout.contains("1 ignored: the variable ETCD_KEY is not set\n"));
}

fn working_folder() {
    let (scratch, sshd) = setup();
    scratch.write("fatebooks/b/data/x", "original");
    scratch.write(
        "fatebooks/b/check.sh",
        "#!/bin/sh\ncat data/x || exit 1; echo spoilt >data/x; echo new >new\n",
    );
    passes(&run(&scratch, &sshd, "", ""));
    assert_eq!(scratch.read("fatebooks/b/data/x"), "original");
    assert!(!scratch.join("fatebooks/b/new").exists());
}

fn the_schema() {
    let committed =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fatebooks/fatebook.schema.json"))
            .expect("a schema");
    assert!(committed == schema(), "`cargo run -- schema > fatebooks/fatebook.schema.json` makes it anew");
    let printed = std::process::Command::new(program()).arg("schema").output().expect("it runs");
    assert!(printed.stdout == committed.as_bytes());
    let schema: serde_json::Value = serde_json::from_str(&committed).expect("JSON");
    assert_eq!(schema["properties"]["ssh"]["properties"]["port"]["anyOf"][0]["maximum"], 65535);
    assert_eq!(schema["properties"]["failures"]["items"]["required"], serde_json::json!(["name"]));
    assert_eq!(schema["additionalProperties"], false);
}

/// The reference's tables name every key that the reader knows, with its default, and no other.
fn reference() {
    let reference = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fatebooks/README.md"))
        .expect("a reference");
    let schema: serde_json::Value = serde_json::from_str(&schema()).expect("JSON");
    let check = |heading: &str, properties: &serde_json::Value| {
        let (_, section) = reference
            .split_once(heading)
            .unwrap_or_else(|| panic!("{heading} is not in fatebooks/README.md"));
        let section = section.split("\n#").next().expect("a section");
        let mut told: Vec<&str> = section
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` |").map(|(keys, _)| keys))
            .flat_map(|keys| keys.split("`, `"))
            .collect();
        told.sort_unstable();
        let mut known: Vec<&str> =
            properties.as_object().expect("a map").keys().map(String::as_str).collect();
        known.sort_unstable();
        assert_eq!(told, known, "under {heading}");
        for (key, property) in properties.as_object().expect("a map") {
            let default = property["description"]
                .as_str()
                .and_then(|text| text.split_once(" (default: ")?.1.strip_suffix(')'));
            if let Some(default) = default {
                let row = section
                    .lines()
                    .find(|line| line.starts_with("| `") && line.contains(&format!("`{key}`")))
                    .expect("a row");
                assert!(row.contains(default), "{key}'s default {default} is not in its row: {row}");
            }
        }
    };
    check("### Keys of a book", &schema["properties"]);
    check("### Keys of `ssh`", &schema["properties"]["ssh"]["properties"]);
    let failure = &schema["properties"]["failures"]["items"]["properties"];
    check("### Keys of a failure", failure);
    check("### Several checks", &failure["checks"]["items"]["properties"]);
}
