//! A green case is true, and a healed host is healed: what once made them say so of what was not.

use std::fs;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;

use crate::case::{BREAK, Case, another, known};
use crate::common::{Ran, Scratch, begin, is_root, needing, test, wait_for};
use crate::relay::Relay;

pub fn tests() -> Vec<Trial> {
    vec![
        test("green::who_stood_still_while_the_switch_healed_from_memory", healed_from_memory),
        test("green::an_error_is_no_answer", errors_are_no_answers),
        test("green::what_cannot_be_read_is_told_before", unreadable),
        test("green::a_file_that_is_not_whole_is_brought_anew", not_whole),
        test("green::a_file_elsewhere_that_is_not_whole_is_put_anew", put_elsewhere),
        test("green::what_a_text_brings_itself_is_not_missed", brings_its_own),
        test("green::what_heals_is_whole_or_nothing", parts_heal_nothing),
        test("green::signals_do_not_end_a_switch", signals),
        test("green::healing_by_hand_has_a_limit", limit_by_hand),
        test("green::a_shell_that_waits_may_be_ended", spare_shell),
        test("green::nothing_was_tried", nothing_tried),
        test("green::benchmarks_are_none", benchmarks),
        test("green::repeated_as_printed", repeated),
        test("green::no_report_of_an_older_run_stays", old_report),
        test("green::a_key_that_was_let_in_is_let_in", known_key),
        test("green::another_machine_is_not_learned", not_learned),
        test("green::a_short_secret_does_not_stop_healing", short_secret),
        test("green::a_record_that_was_broken_off", broken_off),
        test("green::a_run_that_nobody_knows_is_waited_for", unknown_run),
        needing(
            "green::files_of_others_do_not_run",
            is_root(),
            "needs to be root, for another user",
            foreign_files,
        ),
        needing(
            "green::a_reverter_where_nothing_can_be_run",
            is_root(),
            "needs to be root, to mount",
            noexec_reverter,
        ),
    ]
}

fn signal(process: i64, signal: &str) {
    let process = process.to_string();
    let status = Command::new("kill").args(["-s", signal, "--", &process]).status();
    assert!(status.expect("kill runs").success(), "{signal} {process}");
}

/// The process of the case's watcher.
fn watcher(case: &Case) -> i64 {
    let text = fs::read_to_string(case.case_folder().join("watcher")).expect("a file");
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

fn healed_from_memory() {
    let case = Case::new("");
    case.scratch.write("fatebooks/b/break.sh", format!("{BREAK}rm -rf \"$HOME/.pisaura\"\n"));
    case.book("timeout: 3s, grace: 6s, deadman: 16s", "");
    // It says no while the host is broken, and yes once it is healed: as if the service had come back by itself.
    case.scratch.write(
        "fatebooks/b/check.sh",
        format!(
            "#!/bin/sh\n[ $1 = --step=2 ] || exit 0\n: >'{}'\n[ ! -e '{}/broken' ]\n",
            case.path("at"),
            case.sshd.home().display()
        ),
    );
    let run = case.begin();
    // The switch fires while we stand still.
    signal(run.id().into(), "STOP");
    wait_for("the switch", || !case.is_broken());
    signal(run.id().into(), "CONT");
    let ran = case.end(run);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("nothing was tested: the host was healed by its dead man's switch"),
        "{}",
        ran.stdout
    );
}

/// What a healthcheck says with an error in it is no answer.
fn errors_are_no_answers() {
    let check = |keys: &str, code: i32, said: &str| {
        let case = Case::new("");
        case.book(&format!("timeout: 2s, deadman: 'off', {keys}"), "");
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(code), "{keys}{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(said), "{keys}{}", ran.stdout);
        assert!(!case.is_broken(), "{keys}");
    };
    let case = Case::new("");
    let broken = case.sshd.home().join("broken").display().to_string();
    // Nothing is put behind what is negated, where an error would be a yes.
    case.book(&format!("timeout: 2s, deadman: 'off', healthcheck: ['! test -e {broken}']"), "");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("unhealthy during the failure"), "{}", ran.stdout);
    check("healthcheck: ['[ -d / ]']", 0, "... ok");
    check("healthcheck: ['true && test -d /']", 0, "... ok");
    // A mistake in what is read only later is not the no that is wanted.
    let late =
        "expect: unhealthy, healthcheck: [\"case $1 in --step=1|--step=3) exit 0;; esac\\nif true; fi\\n\"]";
    check(late, 3, "the healthcheck cannot be run: ");
    let case = Case::new("");
    case.scratch.write("fatebooks/b/check.sh", "#!/bin/sh\n[ $1 = --step=2 ] || exit 0\nif true; fi\n");
    case.book("timeout: 2s, deadman: 'off', expect: unhealthy", "");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("the healthcheck cannot be run: check.sh has a mistake: "), "{}", ran.stdout);
    assert!(!case.sshd.home().join("log").exists(), "nothing is broken");
}

/// What a shell cannot read, and programs that are not there.
fn unreadable() {
    let host = |keys: &str, said: &str| {
        let case = Case::new("");
        case.book(&format!("deadman: 'off', {keys}"), "");
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(3), "{keys}{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(said), "{keys}{}", ran.stdout);
        assert!(!case.sshd.home().join("log").exists(), "{keys}");
    };
    for reverter in ["LANG=C nosuch x", "cd / && nosuch", "true; nosuch", "exec nosuch", "nosuch | cat"] {
        host(
            &format!("reverter: ['{reverter}']"),
            "the reverter cannot be run: the host has no program `nosuch`",
        );
    }
    let check = |keys: &str, said: &str| {
        let scratch = Scratch::new();
        for script in ["break.sh", "heal.sh", "check.sh"] {
            scratch.write(&format!("fatebooks/b/{script}"), "#!/bin/sh\n");
        }
        scratch.write("fatebooks/b/data.txt", "data\n");
        let more = ["inducer: [break.sh]", "reverter: [heal.sh]", "healthcheck: [check.sh]"];
        let more = more.into_iter().filter(|key| !keys.contains(key.split(' ').next().unwrap_or_default()));
        let more = more.collect::<Vec<_>>().join(", ");
        scratch.write(
            "fatebooks/b/fatebook.yaml",
            format!("service: s\nhosts: [h]\nfailures:\n  - {{name: f, {more}, {keys}}}\n"),
        );
        let ran = scratch.pisaura(&["check"]);
        let code = if said.starts_with("note: ") { 0 } else { 2 };
        assert_eq!(ran.code, Some(code), "{keys}: {}{}", ran.stdout, ran.stderr);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        assert!(told.contains(said.trim_start_matches("note: ")), "{keys}: {told}");
    };
    check("verify: ['if true']", "`verify` is no text that a shell can read: ");
    check("healthcheck: ['a || (b']", "`healthcheck` is no text that a shell can read: ");
    for inducer in ["[sh, break.sh]", "[sudo, -n, ./heal.sh]", "['sh heal.sh']"] {
        check(
            &format!("inducer: {inducer}"),
            "is a file of the book, which only `inducer`'s first word brings to the host",
        );
    }
    check("inducer: [cat, data.txt]", "note: `data.txt` is a file of the book, which only");
}

/// A failure empties the files of a later one.
fn not_whole() {
    let case = Case::new("");
    for (name, text) in [("break2.sh", "break2"), ("heal2.sh", "heal2")] {
        case.scratch
            .write(&format!("fatebooks/b/{name}"), format!("#!/bin/sh\necho {text} >>\"$HOME/log\"\n"));
    }
    case.scratch.write(
        "fatebooks/b/break.sh",
        format!("{BREAK}[ ! -e \"$HOME/once\" ] || for f in \"$HOME\"/.pisaura/*/*2.sh; do : >\"$f\"; done\n: >\"$HOME/once\"\n"),
    );
    let two = |name: &str| {
        format!("  - {{name: {name}, inducer: [break2.sh], reverter: [heal2.sh], healthcheck: [check.sh]}}\n")
    };
    let again = "  - {name: h, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh]}\n";
    case.book("", &format!("{}{again}{}", two("g"), two("i")));
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), "break\nheal\nbreak2\nheal2\nbreak\nheal\nbreak2\nheal2\n");
    case.check_left_clean();
}

/// A part of what heals the host by hand, cut anywhere, never says that it has healed.
fn parts_heal_nothing() {
    let case = Case::new("");
    case.waits_at("--step=2").book("deadman: 200s", "").begin_and_kill();
    let path = case.case_folder().join("heal");
    let whole = fs::read(&path).expect("a file");
    assert!(whole.len() > 5000);
    let points = (1..40).map(|part| whole.len() * part / 40);
    let lines = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).step_by(7);
    for length in points.chain(lines).filter(|length| *length < whole.len() - 2) {
        fs::write(&path, &whole[..length]).expect("a file");
        let output = Command::new("sh").arg(&path).env("HOME", case.sshd.home()).output().expect("sh runs");
        assert!(!output.status.success(), "cut at {length} of {}", whole.len());
        assert!(case.is_broken());
    }
    fs::write(&path, &whole).expect("a file");
    // The switch has read all of its own before anything was broken.
    fs::write(case.case_folder().join("watch"), "").expect("a file");
    let output = Command::new("sh").arg(&path).env("HOME", case.sshd.home()).output().expect("sh runs");
    assert!(output.status.success() && !case.is_broken(), "{output:?}");
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 2s, deadman: 6s", "").begin_and_kill();
    fs::write(case.case_folder().join("watch"), "").expect("a file");
    wait_for("that the host heals", || !case.is_broken());
}

fn signals() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 2s, deadman: 6s", "").begin_and_kill();
    let group = -watcher(&case);
    for name in
        ["USR1", "USR2", "ALRM", "VTALRM", "XCPU", "PIPE", "HUP", "INT", "QUIT", "TERM", "STOP", "CONT"]
    {
        signal(group, name);
    }
    wait_for("that the host heals", || !case.is_broken());
    assert_eq!(case.log(), "break\nheal\n");
}

fn limit_by_hand() {
    let case = Case::new("");
    case.scratch.write("fatebooks/b/heal.sh", "#!/bin/sh\necho heal >>\"$HOME/log\"\nsleep 300\n");
    case.waits_at("--step=2").book("timeout: 5s, deadman: 'off'", "").begin_and_kill();
    let mut heal = Command::new("timeout");
    heal.args(["60", "sh"]).arg(case.case_folder().join("heal")).env("HOME", case.sshd.home());
    let output = heal.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(124), "{said}");
    assert!(said.contains("the reverter took longer than its time limit, and is ended"), "{said}");
    wait_for("that nothing runs", || case.sshd.processes().is_empty());
}

/// A failure that ends every shell of its user, but for its own.
fn spare_shell() {
    // The next command's shell is begun while this one is at work: it comes a little later.
    const KILL: &str = "own=$(cut -d' ' -f4 /proc/$PPID/stat)\nn=0\nwhile [ ! -e \"$HOME/killed\" ] && [ $n -lt 100 ]; do\n  for p in /proc/[0-9]*; do\n    case ${p#/proc/} in $$ | $PPID | $own) continue;; esac\n    grep -qs _p_l=1 $p/cmdline && grep -qs \"HOME=$HOME\" $p/environ && kill -KILL ${p#/proc/} && : >\"$HOME/killed\"\n  done\n  n=$((n + 1))\n  sleep 0.05\ndone\n";
    let case = Case::new("");
    case.scratch.write("fatebooks/b/break.sh", format!("{BREAK}{KILL}"));
    case.book("deadman: 'off'", "");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(case.sshd.home().join("killed").exists(), "one was waiting");
    assert_eq!(case.log(), "break\nheal\n");
    case.check_left_clean();
}

fn nothing_tried() {
    let scratch = Scratch::new();
    scratch.write(
        "fatebooks/b/fatebook.yaml",
        "service: s\nhosts: ['${NO_SUCH_HOSTS}']\nfailures:\n  - {name: f, inducer: ['true'], reverter: ['true'], healthcheck: ['true']}\n",
    );
    let last = "nothing was tried: the 1 case was ignored";
    let check = |arguments: &[&str], code: i32, last: &str| {
        let ran = scratch.pisaura(arguments);
        assert_eq!(ran.code, Some(code), "{arguments:?}{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.stdout.trim_end().lines().next_back().unwrap_or_default(), last, "{arguments:?}");
    };
    check(&["run"], 0, last);
    check(&["run", "--exact", "b::f"], 2, last);
    let harness = scratch.harness(&["--exact", "b::f"]);
    assert_eq!(harness.code, Some(101), "{}{}", harness.stdout, harness.stderr);
    scratch.write(
        "fatebooks/b/fatebook.yaml",
        "service: s\nhosts: [h]\nfailures:\n  - {name: f, skip: later, inducer: ['true'], reverter: ['true'], healthcheck: ['true']}\n",
    );
    check(&["run"], 0, last);
    check(&["run", "--strict"], 2, last);
    check(&["run", "--exact", "b::f@h"], 2, last);
}

/// What is told of a case that failed runs it again, also where its hosts come from the environment.
fn repeated() {
    let case = Case::new("");
    case.book("timeout: 2s, healthcheck: ['false']", "");
    let path = "fatebooks/b/fatebook.yaml";
    let host = format!("127.0.0.1:{}", case.sshd.port);
    let text = case.scratch.read(path).replace(&format!("['{host}']"), "\"${MY_HOSTS}\"");
    let text = text.replace("service: s", "service: ${MY_SERVICE}");
    case.scratch.write(path, text + "secrets: [MY_SECRET]\nenv: {A: '${MY_SECRET}'}\n");
    fs::rename(case.scratch.join("fatebooks"), case.scratch.join("my books")).expect("a folder");
    let variables = [("MY_HOSTS", host.as_str()), ("MY_SERVICE", "notes"), ("MY_SECRET", "hush hush")];
    let mut command = case.command(&["run", "--fatebooks", "my books"]);
    let first = command.envs(variables).output().expect("it runs");
    let told = String::from_utf8_lossy(&first.stdout).into_owned();
    let (_, repeat) = told.split_once("repeat it: ").unwrap_or_else(|| panic!("no command in {told}"));
    let mut lines = repeat.lines();
    let command = lines.next().expect("a command");
    assert_eq!(command, format!("MY_HOSTS={host} pisaura run --fatebooks 'my books' --exact b::f@{host}"));
    assert_eq!(lines.next(), Some("  (in an environment with the same MY_SERVICE, MY_SECRET)"));
    let mut shell = case.scratch.command(std::path::Path::new("sh"));
    let pisaura = crate::common::program();
    let folder = pisaura.parent().expect("a folder").display().to_string();
    shell
        .args(["-c", command])
        .env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()));
    let second = shell.envs(variables[1..].iter().copied()).output().expect("sh runs");
    let told = String::from_utf8_lossy(&second.stdout).into_owned();
    assert_eq!(second.status.code(), Some(1), "{told}");
    assert!(told.contains("unfit: unhealthy before anything was broken"), "{told}");
}

/// A run that is refused, for whatever reason, does not leave an older one's report behind, which would be read as its own.
fn old_report() {
    let case = Case::new("");
    let check = |arguments: &[&str], variable: Option<(&str, &str)>, report: &str, replaced: bool| {
        case.scratch.write(report, "old");
        let mut command = case.command(arguments);
        command.envs(variable);
        let ran = Ran::of(&mut command, &case.scratch);
        let is_help = arguments.contains(&"--help");
        assert_eq!(ran.code, Some(if is_help { 0 } else { 2 }), "{arguments:?}: {}", ran.stderr);
        let text = case.scratch.read(report);
        assert_eq!(text.contains("type=\"Refused\""), replaced, "{arguments:?}: {text}");
    };
    let usual = "target/pisaura/junit.xml";
    check(&["run", "--nosuch"], None, usual, true);
    check(&["run", "--timeout"], None, usual, true);
    check(&["run", "--test-threads", "none"], None, usual, true);
    check(&["run", "--fatebooks", "nowhere"], None, usual, true);
    check(&["run", "--exact", "nosuch::case"], None, usual, true);
    check(&["run", "--nosuch", "--output", "elsewhere"], None, "elsewhere/junit.xml", true);
    check(&["run", "--nosuch", "--output=elsewhere"], None, "elsewhere/junit.xml", true);
    check(&["run", "--nosuch"], Some(("PISAURA_OUTPUT", "elsewhere")), "elsewhere/junit.xml", true);
    check(&["run", "--nosuch", "--junit", "j.xml"], None, "j.xml", true);
    check(&["run", "--help"], None, usual, false);
    check(&["check", "--nosuch"], None, usual, false);
    check(&["list", "--nosuch"], None, usual, false);
}

fn benchmarks() {
    let case = Case::new("");
    for (ran, code) in [(case.pisaura(&["run", "--bench"]), 2), (case.scratch.harness(&["--bench"]), 0)] {
        assert_eq!(ran.code, Some(code), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains("`--bench` runs benchmarks, of which there are none"), "{}", ran.stderr);
    }
    assert!(!case.sshd.home().join("log").exists(), "no case is run that libtest takes for left out");
}

/// The file of known hosts is gone, or names the host's other key first, once the host is broken.
fn known_key() {
    for change in ["gone", "other first"] {
        let case = Case::new("");
        case.waits_at("--step=2").book("deadman: 'off'", "").begin_and_kill();
        let path = case.sshd.join("known_hosts");
        match change {
            "gone" => fs::remove_file(&path).expect("a file"),
            _ => {
                let ecdsa = fs::read_to_string(case.sshd.join("host_ecdsa.pub")).unwrap_or_default();
                let known = fs::read_to_string(&path).expect("a file");
                let first = format!("[127.0.0.1]:{} {ecdsa}", case.sshd.port);
                fs::write(&path, if ecdsa.is_empty() { known } else { format!("{first}{known}") })
                    .expect("a file");
            }
        }
        let ran = case.pisaura(&["revert"]);
        assert_eq!(ran.stdout, "1 reverted\n", "{change}: {}", ran.stderr);
        assert!(!case.is_broken());
    }
}

/// With `accept-new` a machine that answers in the broken one's place is not learned for it.
fn not_learned() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 5s, deadman: 'off'", "");
    let other = another(&case);
    let relay = Relay::to(case.sshd.port);
    case.through(relay.port, &known(relay.port, &[&case.sshd]));
    let book = case
        .scratch
        .read("fatebooks/b/fatebook.yaml")
        .replace("ssh:\n", "ssh:\n  host_key_check: accept-new\n");
    case.scratch.write("fatebooks/b/fatebook.yaml", book);
    case.begin_and_kill();
    let path = case.sshd.join("known_hosts");
    fs::write(&path, "").expect("a file");
    relay.turn_to(other.port);
    let ran = case.pisaura(&["revert"]);
    assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(fs::read_to_string(&path).expect("a file"), "");
    assert!(other.read("log").is_empty());
    relay.turn_to(case.sshd.port);
    assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n");
}

/// A secret of one letter stands in most words.
fn short_secret() {
    let case = Case::new("");
    case.waits_at("--step=2").book("deadman: 'off'", "");
    let book = case.scratch.read("fatebooks/b/fatebook.yaml");
    case.scratch.write(
        "fatebooks/b/fatebook.yaml",
        format!("secrets: [TOKEN]\nenv: {{TOKEN: '${{TOKEN}}'}}\n{book}"),
    );
    let mut run = case
        .command(&["run"])
        .env("TOKEN", "a")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    wait_for("the stop", || case.scratch.join("at").exists());
    run.kill().expect("a signal");
    run.wait().expect("an end");
    case.go();
    let ran = case.pisaura(&["revert"]);
    assert_eq!(ran.stdout, "1 reverted\n", "{}", ran.stderr);
    assert!(!case.is_broken());
}

fn broken_off() {
    let case = Case::new("");
    assert_eq!(case.pisaura(&["run"]).code, Some(0));
    let path = case.scratch.join("target/pisaura/journal.jsonl");
    let whole = fs::read_to_string(&path).expect("a journal");
    fs::write(&path, &whole[..whole.len() - 20]).expect("a journal");
    for _ in 0..2 {
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(!ran.stderr.contains("cannot be read"), "{}", ran.stderr);
    }
    let ran = case.pisaura(&["revert"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "no host was dirty\n"), "{}", ran.stderr);
}

/// The run behind a debt is of a machine that is not known here, and alive: its host is not healed under it.
fn unknown_run() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 20s, deadman: 100s", "");
    let run = case.begin();
    let debts = case.scratch.join("home/.local/state/pisaura/debts");
    let debt = fs::read_dir(&debts).expect("debts").flatten().next().expect("a debt").path();
    let text = fs::read_to_string(&debt).expect("a debt");
    let mut record: serde_json::Value = serde_json::from_str(&text).expect("a record");
    record["controller"] = serde_json::json!("elsewhere:1:2:far");
    record["journal"] = serde_json::json!("/nonexistent/journal.jsonl");
    fs::write(&debt, format!("{record}\n")).expect("a debt");
    let mut revert = begin(
        case.command(&["revert", "--output", &case.path("elsewhere")])
            .env("PISAURA_LOCKS", case.path("other-locks")),
    );
    let mut told = std::io::BufReader::new(revert.stderr.take().expect("a pipe"));
    crate::common::wait_for_line(&mut told, "waiting: the host is in use by ");
    assert!(case.is_broken());
    case.go();
    let ran = case.end(run);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let _ = revert.kill();
    let _ = revert.wait();
    assert_eq!(case.log(), "break\nheal\n");
}

/// What stands where a book wants its script, and is another user's, is neither run nor followed; a folder where others may put
/// theirs is refused.
fn foreign_files() {
    let check = |prepare: &dyn Fn(&std::path::Path), code: i32, said: &str| {
        let case = Case::new("");
        let there = case.sshd.path().join("opt");
        fs::create_dir(&there).expect("a folder");
        case.scratch.write("fatebooks/b/verify.sh", "#!/bin/sh\n[ \"$(stat -c %u \"$0\")\" = 0 ]\n");
        fs::copy(case.scratch.join("fatebooks/b/verify.sh"), there.join("verify.sh")).expect("a copy");
        prepare(&there);
        case.book(&format!("deadman: 'off', verify: ['{}']", there.join("verify.sh").display()), "");
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(code), "{said}{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(said), "{}", ran.stdout);
        let kept = Command::new("stat").args(["-c", "%U %a"]).arg(there.join("verify.sh")).output();
        String::from_utf8_lossy(&kept.expect("it runs").stdout).into_owned()
    };
    let run = |program: &str, arguments: &[&str], path: &std::path::Path| {
        assert!(Command::new(program).args(arguments).arg(path).status().expect("it runs").success());
    };
    // Its own identical file runs as it is; another user's is replaced, and comes back as it was.
    check(&|_| {}, 0, "... ok");
    let kept = check(
        &|there| {
            run("chown", &["nobody"], &there.join("verify.sh"));
            run("chmod", &["1777"], there);
        },
        0,
        "... ok",
    );
    assert_eq!(kept, "nobody 755\n");
    check(&|there| run("chmod", &["0777"], there), 3, "not for a file of ours, for others may write there");
    check(&|there| run("chown", &["nobody"], there), 3, "not for a file of ours, for it is user");
    check(
        &|there| {
            fs::remove_file(there.join("verify.sh")).expect("a file");
            run("mkfifo", &["-m", "0777"], &there.join("verify.sh"));
        },
        3,
        "verify.sh is no file",
    );
}

fn noexec_reverter() {
    let case = Case::new("");
    let there = case.sshd.path().join("noexec");
    fs::create_dir(&there).expect("a folder");
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "noexec,mode=0755", "none"]).arg(&there).status();
    assert!(mounted.expect("mount runs").success());
    case.book(&format!("deadman: 'off', reverter: ['{}/heal.sh']", there.display()), "");
    let ran = case.pisaura(&["run"]);
    let _ = Command::new("umount").arg("-l").arg(&there).status();
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), "break\nheal\n");
}

/// A failure empties what was put to a path of the host's, and what is asked of it next.
fn put_elsewhere() {
    let case = Case::new("");
    let there = case.sshd.path().join("opt");
    let path = there.join("break2.sh");
    case.scratch.write("fatebooks/b/break2.sh", "#!/bin/sh\necho break2 >>\"$HOME/log\"\n");
    case.scratch
        .write("fatebooks/b/break.sh", format!("{BREAK}[ ! -e '{0}' ] || : >'{0}'\n", path.display()));
    let two = |name: &str| {
        format!(
            "  - {{name: {name}, inducer: ['{}'], reverter: [heal.sh], healthcheck: [check.sh]}}\n",
            path.display()
        )
    };
    let again = "  - {name: h, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh]}\n";
    case.book("", &format!("{}{again}{}", two("g"), two("i")));
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), "break\nheal\nbreak2\nheal\nbreak\nheal\nbreak2\nheal\n");
    assert!(!there.exists());
    case.check_left_clean();
}

/// Texts that run well are not refused for what they bring themselves.
fn brings_its_own() {
    let case = Case::new("");
    let app = case.sshd.home().join("app");
    fs::create_dir(&app).expect("a folder");
    for name in ["stop.sh", "tool"] {
        fs::write(app.join(name), "#!/bin/sh\necho own >>\"$HOME/log\"\n").expect("a file");
        assert!(
            Command::new("chmod").args(["0755"]).arg(app.join(name)).status().expect("chmod runs").success()
        );
    }
    for inducer in [
        "cd \"$HOME/app\" && ./stop.sh",
        "PATH=$PATH:$HOME/app; tool",
        "export PATH=$PATH:$HOME/app; tool x",
        ". /dev/null; PATH=$PATH:$HOME/app tool",
        "tool() { echo own >>\"$HOME/log\"; }; tool",
    ] {
        let text = serde_json::to_string(inducer).expect("a text");
        case.book(&format!("deadman: 'off', inducer: [{text}]"), "");
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(0), "{inducer}{}{}", ran.stdout, ran.stderr);
    }
    assert_eq!(case.log().matches("own").count(), 5, "{}", case.log());
}
