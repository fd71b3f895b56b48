//! What a run that died has left on hosts is healed by the next one, or by hand: once, and with nothing of ours left there.

use std::process::{Child, Command, Stdio};

use libtest_mimic::Trial;

use crate::case::Case;
use crate::common::{Ran, Scratch, Sshd, begin, program, test, wait_for};

pub fn tests() -> Vec<Trial> {
    vec![
        test("healing::the_next_run_heals_first", next_run),
        test("healing::by_hand", by_hand),
        test("healing::what_an_older_program_has_written", older_program),
        test("healing::not_if_it_is_not_wanted", not_wanted),
        test("healing::a_host_that_cannot_be_healed_stops_the_run", stubborn),
        test("healing::two_at_once_do_it_once", two_at_once),
        test("healing::what_was_left_is_taken_away", left_over),
        test("healing::the_watcher_was_first", watcher_first),
        test("healing::secrets_come_from_the_environment", secrets),
        test("healing::the_book_is_gone", book_is_gone),
        test("healing::hosts_that_are_not_allowed", allowed_hosts),
        test("healing::a_stop_file", stop_file),
        test("healing::a_stop_file_in_a_folder_made_anew", stop_folder),
        test("healing::not_without_the_locks", without_locks),
        test("healing::other_hosts_are_left_alone", other_hosts),
        test("healing::a_mended_reverter", mended),
        test("healing::a_file_that_may_grow_no_further", file_limit),
        test("healing::a_variable_that_is_no_text", no_text),
        test("healing::an_old_report_does_not_stay", old_report),
        test("healing::marks_of_other_runs_stay", other_marks),
        test("healing::a_signal_while_older_runs_are_healed", signal_while_healing),
    ]
}

/// A run whose first case stops where a script waits for the file `go`; then it is killed.
struct Killed {
    scratch: Scratch,
    sshd: Sshd,
}

const CASE: &str = "b::f@127.0.0.1:PORT";

fn script(name: &str) -> String {
    format!("#!/bin/sh\necho {name} >>\"$HOME/log\"\n")
}

impl Killed {
    /// `top` are more keys of the book, `keys` of its failures `f` and `g`; `stop` says in which call of the healthcheck, as
    /// `failure--step=N`, it waits.
    fn begin(top: &str, keys: &str, stop: &str) -> (Self, Child) {
        let (scratch, sshd) = (Scratch::new(), Sshd::start());
        for name in ["break.sh", "heal.sh"] {
            scratch.write(&format!("fatebooks/b/{name}"), script(name));
        }
        let (go, at) = (scratch.join("go").display().to_string(), scratch.join("at").display().to_string());
        scratch.write(
            "fatebooks/b/check.sh",
            format!(
                "#!/bin/sh\nif [ \"$PISAURA_FAILURE$1\" = '{stop}' ] && [ ! -e '{go}' ]; then : >'{at}'; until [ -e '{go}' ]; do sleep 0.05; done; fi\nexit 0\n"
            ),
        );
        let failures = ["f", "g"]
            .map(|name| format!("  - {{name: {name}, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh], {keys}}}"))
            .join("\n");
        scratch.write("fatebooks/b/fatebook.yaml", sshd.book(top, &failures));
        let killed = Self { scratch, sshd };
        let said = |name: &str| std::fs::File::create(killed.scratch.join(name)).expect("a file");
        let mut command = killed.command(&["run"]);
        let mut run = command.stdout(said("stdout")).stderr(said("stderr")).spawn().expect("it runs");
        wait_for("the stop", || {
            let ended = run.try_wait().expect("a process");
            let told = || killed.scratch.read("stdout") + &killed.scratch.read("stderr");
            assert!(ended.is_none(), "it ended before it came to the stop: {}", told());
            killed.scratch.join("at").exists()
        });
        (killed, run)
    }

    fn new(top: &str, keys: &str, stop: &str) -> Self {
        let (killed, mut run) = Self::begin(top, keys, stop);
        run.kill().expect("a signal");
        run.wait().expect("an end");
        killed.scratch.write("go", "");
        killed
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.scratch.command(&program());
        command.args(arguments).env("TOKEN", "pl4nted-token");
        command
    }

    fn pisaura(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments), &self.scratch)
    }

    fn log(&self) -> String {
        self.sshd.read("log")
    }

    /// Without the reverter that was brought to the host, the book's is brought anew.
    fn take_the_reverter_away(&self) {
        std::fs::remove_file(self.sshd.our_folder().join("heal.sh")).expect("a script");
    }

    /// Nothing of ours lies on the host, and nothing runs there.
    #[track_caller]
    fn check_left_clean(&self) {
        wait_for("that nothing is left", || !self.sshd.home().join(".pisaura").exists());
        wait_for("that nothing runs", || self.sshd.processes().is_empty());
    }
}

fn next_run() {
    let killed = Killed::new("", "", "f--step=2");
    assert_eq!(killed.log(), "break.sh\n");
    let ran = killed.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let told =
        format!("pisaura: reverting {CASE}, which an older run left dirty\npisaura: {CASE}: reverted\n");
    assert!(ran.stderr.starts_with(&told), "{}", ran.stderr);
    assert_eq!(killed.log(), "break.sh\nheal.sh\nbreak.sh\nheal.sh\nbreak.sh\nheal.sh\n");
    killed.check_left_clean();
    // Once is enough.
    let again = killed.pisaura(&["run"]);
    assert!(!again.stderr.contains("reverting"), "{}", again.stderr);
}

/// A journal that was written before there was `only_if`.
fn older_program() {
    let killed = Killed::new("", "", "f--step=2");
    let mut journal = killed.scratch.read("target/pisaura/journal.jsonl");
    for field in ["\"only_if\":false,", "\"only_if\":null,"] {
        assert!(journal.contains(field), "{journal}");
        journal = journal.replace(field, "");
    }
    killed.scratch.write("target/pisaura/journal.jsonl", journal);
    let ran = killed.pisaura(&["revert"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(killed.log(), "break.sh\nheal.sh\n");
}

fn by_hand() {
    let killed = Killed::new("", "", "f--step=2");
    let listed = killed.pisaura(&["revert", "--list"]);
    assert_eq!(listed.code, Some(4));
    let mut lines = listed.stdout.lines();
    assert_eq!(lines.next(), Some(CASE));
    let heal = lines.next().expect("a command");
    assert!(heal.starts_with("    by hand: ssh -p ") && heal.ends_with("/heal"), "{heal}");
    assert_eq!(killed.log(), "break.sh\n", "a list touches nothing");
    let reverted = killed.pisaura(&["revert"]);
    assert_eq!((reverted.code, reverted.stdout.as_str()), (Some(0), "1 reverted\n"), "{}", reverted.stderr);
    assert_eq!(killed.log(), "break.sh\nheal.sh\n");
    killed.check_left_clean();
    assert_eq!(killed.pisaura(&["revert"]).stdout, "no host was dirty\n");
    let listed = killed.pisaura(&["revert", "--list"]);
    assert_eq!((listed.code, listed.stdout.as_str()), (Some(0), "no host is dirty\n"));
}

fn not_wanted() {
    let killed = Killed::new("", "", "f--step=2");
    let ran = killed.pisaura(&["run", "--no-heal", "--exact", "b::g"]);
    let told = "pisaura: 1 case of older runs may have left hosts broken, which stay as they are: `pisaura revert --list` shows them\n";
    assert!(ran.stderr.starts_with(told), "{}", ran.stderr);
    // A host that somebody else may have broken, and that is not healed, is no host to test on.
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    let why =
        "the host may be broken, and stays as it is because of --no-heal: `b::f@127.0.0.1:PORT` of a run on ";
    assert!(ran.stdout.contains(why), "{}", ran.stdout);
    assert_eq!(killed.log(), "break.sh\n");
    // It is not forgotten for that.
    assert_eq!(killed.pisaura(&["revert"]).stdout, "1 reverted\n");
    assert_eq!(killed.log(), "break.sh\nheal.sh\n");
    killed.check_left_clean();
}

fn stubborn() {
    let killed = Killed::new("", "timeout: 1s, deadman: 'off'", "f--step=2");
    killed.scratch.write("fatebooks/b/heal.sh", "#!/bin/sh\nexit 9\n");
    killed.take_the_reverter_away();
    let ran = killed.pisaura(&["run"]);
    assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr.contains(&format!("warning: {CASE}: the reverter did not succeed, tried ")),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr
            .contains("pisaura: nothing was run, for an older run has left hosts that may still be broken: "),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stdout, "");
    assert_eq!(killed.log(), "break.sh\n");
    let told = killed.pisaura(&["revert"]);
    assert_eq!(told.code, Some(4));
    assert!(
        told.stderr.contains("MAY STILL BE BROKEN") || told.stderr.contains("may still be broken"),
        "{}",
        told.stderr
    );
    // Once it can be healed, it is.
    killed.scratch.write("fatebooks/b/heal.sh", "#!/bin/sh\necho mended >>\"$HOME/log\"\n");
    killed.take_the_reverter_away();
    let ran = killed.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(killed.log().starts_with("break.sh\nmended\nbreak.sh\nmended\n"), "{}", killed.log());
    killed.check_left_clean();
}

fn two_at_once() {
    let killed = Killed::new("", "", "f--step=2");
    let children: Vec<Child> = (0..4)
        .map(|_| {
            killed
                .command(&["revert"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("it runs")
        })
        .collect();
    let mut told: Vec<String> = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().expect("an end");
            assert_eq!(output.status.code(), Some(0));
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
        .collect();
    told.sort();
    assert_eq!(told, ["1 reverted\n", "no host was dirty\n", "no host was dirty\n", "no host was dirty\n"]);
    assert_eq!(killed.log(), "break.sh\nheal.sh\n");
    // A run that is alive is not healed by another one.
    let (alive, mut run) = Killed::begin("", "", "f--step=2");
    assert_eq!(alive.pisaura(&["revert"]).stdout, "no host was dirty\n");
    assert_eq!(alive.log(), "break.sh\n");
    alive.scratch.write("go", "");
    assert!(run.wait().expect("an end").success());
    alive.check_left_clean();
}

fn left_over() {
    // The first case is done; the second one has not yet induced.
    let killed = Killed::new("", "", "g--step=1");
    assert_eq!(killed.log(), "break.sh\nheal.sh\n");
    assert!(killed.sshd.home().join(".pisaura").exists(), "its scripts are still there");
    let ran = killed.pisaura(&["revert"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "no host was dirty\n"));
    assert_eq!(killed.log(), "break.sh\nheal.sh\n");
    killed.check_left_clean();
}

fn watcher_first() {
    let killed = Killed::new("", "timeout: 600ms, deadman: 3s", "f--step=2");
    wait_for("the watcher", || killed.log() == "break.sh\nheal.sh\n");
    wait_for("its word", || killed.sshd.processes().is_empty());
    let ran = killed.pisaura(&["revert"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "1 reverted\n"), "{}", ran.stderr);
    assert_eq!(killed.log(), "break.sh\nheal.sh\n", "it is not done twice");
    killed.check_left_clean();
}

fn secrets() {
    let killed = Killed::new("secrets: [TOKEN]", "env: {TOKEN: '${TOKEN}'}", "f--step=2");
    let journal = killed.scratch.read("target/pisaura/journal.jsonl");
    assert!(journal.contains("\"event\":\"may be dirty\"") && !journal.contains("pl4nted"), "{journal}");
    killed.scratch.write("fatebooks/b/heal.sh", "#!/bin/sh\necho \"$TOKEN\" >\"$HOME/token\"\n");
    killed.take_the_reverter_away();
    assert_eq!(killed.pisaura(&["revert"]).stdout, "1 reverted\n");
    assert_eq!(killed.sshd.read("token"), "pl4nted-token\n");
    assert!(!killed.scratch.read("target/pisaura/journal.jsonl").contains("pl4nted"));
}

fn book_is_gone() {
    let killed = Killed::new("", "", "f--step=2");
    std::fs::remove_dir_all(killed.scratch.join("fatebooks")).expect("a folder");
    let ran = killed.pisaura(&["revert"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "1 reverted\n"), "{}", ran.stderr);
    assert_eq!(killed.log(), "break.sh\nheal.sh\n");
    killed.check_left_clean();
}

fn allowed_hosts() {
    let (scratch, sshd) = crate::harness::books();
    let check = |patterns: &str, code: i32, said: &str| {
        let ran = scratch.pisaura(&["run", "killed@localhost", "--allow-hosts", patterns]);
        assert_eq!(ran.code, Some(code), "{patterns}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(said), "{patterns}: {}", ran.stderr);
    };
    let refused = "error: the book b has hosts that --allow-hosts (PISAURA_ALLOW_HOSTS) does not name, so nothing was run: ";
    check("db-*", 2, &format!("{refused}127.0.0.1:PORT, localhost:PORT\n"));
    check("local*,db-?", 2, &format!("{refused}127.0.0.1:PORT\n"));
    assert_eq!(sshd.read("log"), "");
    check("LOCAL*,127.0.0.?", 0, "");
    assert_eq!(sshd.read("log"), "break.sh\nheal.sh\n");
    let mut command = scratch.command(&program());
    let ran = Ran::of(command.args(["run"]).env("PISAURA_ALLOW_HOSTS", "db-1"), &scratch);
    assert_eq!(ran.code, Some(2));
    // A guard that came out empty allows nothing.
    let mut command = scratch.command(&program());
    let ran = Ran::of(command.args(["run"]).env("PISAURA_ALLOW_HOSTS", ""), &scratch);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("PISAURA_ALLOW_HOSTS is set and empty"), "{}", ran.stderr);
    assert_eq!(sshd.read("log"), "break.sh\nheal.sh\n");
    // Demo hosts are made by the run itself.
    let books = concat!(env!("CARGO_MANIFEST_DIR"), "/fatebooks");
    let ran = scratch.pisaura(&["run", "--fatebooks", books, "--allow-hosts", "db-1", "--dry-run"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

fn without_locks() {
    let killed = Killed::new("", "", "f--step=2");
    killed.scratch.write("no folder", "");
    let mut command = killed.command(&["revert"]);
    command.env("PISAURA_LOCKS", killed.scratch.join("no folder"));
    let ran = Ran::of(&mut command, &killed.scratch);
    assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("nothing was healed there: "), "{}", ran.stderr);
    assert_eq!(killed.log(), "break.sh\n");
    assert_eq!(killed.pisaura(&["revert"]).stdout, "1 reverted\n");
}

fn other_hosts() {
    let killed = Killed::new("", "", "f--step=2");
    let other = Sshd::start();
    killed.scratch.write(
        "others/c/fatebook.yaml",
        other.book("", "  - {name: f, inducer: ['true'], reverter: ['true'], healthcheck: ['true']}"),
    );
    let ran = killed.pisaura(&["run", "--fatebooks", "others"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("1 case of older runs may have left other hosts broken"), "{}", ran.stderr);
    assert_eq!(killed.log(), "break.sh\n");
    assert_eq!(killed.pisaura(&["revert"]).stdout, "1 reverted\n");
}

/// What was armed cannot heal the host; the book's reverter can by now.
fn mended() {
    let killed = Killed::new("", "timeout: 2s", "f--step=2");
    let folder = killed.sshd.our_folder();
    let case = std::fs::read_dir(&folder)
        .expect("a folder")
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with(".case-"));
    // As if the reverter had been wrong from the beginning: it is whole, and says no.
    let text = "{\necho wrong >>\"$HOME/log\"\nexit 5\n}\n";
    std::fs::write(case.expect("a case").path().join("revert"), text).expect("a file");
    killed.scratch.write("fatebooks/b/heal.sh", "#!/bin/sh\necho mended >>\"$HOME/log\"\n");
    let ran = killed.pisaura(&["revert"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "1 reverted\n"), "{}", ran.stderr);
    assert_eq!(killed.log(), "break.sh\nwrong\nmended\n");
    assert!(
        ran.stderr.contains(
            "what was armed there did not heal it (exit status 5); the book's reverter, as it is now, did"
        ),
        "{}",
        ran.stderr
    );
}

/// A limit on the size of files is an error of writing, and ends nobody.
fn file_limit() {
    let (killed, mut run) = Killed::begin("", "", "f--step=1");
    run.kill().expect("a signal");
    run.wait().expect("an end");
    killed.scratch.write("go", "");
    let mut command = killed.scratch.command(std::path::Path::new("sh"));
    command.args(["-c", &format!("ulimit -f 8; exec '{}' run", program().display())]);
    let ran = Ran::of(&mut command, &killed.scratch);
    assert!(ran.code.is_some(), "it is ended by no signal");
    let log = killed.log();
    assert_eq!(log.matches("break.sh").count(), log.matches("heal.sh").count(), "{log}");
}

fn no_text() {
    use std::os::unix::ffi::OsStrExt;
    let killed = Killed::new("env: {TOKEN: '${TOKEN}'}", "", "f--step=1");
    let mut command = killed.command(&["run"]);
    let ran = Ran::of(command.env("TOKEN", std::ffi::OsStr::from_bytes(b"caf\xe9")), &killed.scratch);
    assert_eq!(ran.code, Some(2), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.stderr, "error: the value of the variable TOKEN is not UTF-8\n");
}

fn old_report() {
    let (killed, mut run) = Killed::begin("", "", "f--step=1");
    killed.scratch.write("go", "");
    assert!(run.wait().expect("an end").success());
    let report = || killed.scratch.read("target/pisaura/junit.xml");
    assert!(report().contains("<testcase "), "{}", report());
    for name in ["go", "at"] {
        std::fs::remove_file(killed.scratch.join(name)).expect("a file");
    }
    let mut run =
        killed.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    wait_for("the stop", || killed.scratch.join("at").exists());
    run.kill().expect("a signal");
    run.wait().expect("an end");
    assert!(!report().contains("<testcase "), "an old report would be taken for this run's: {}", report());
}

/// Another nextest run that is alive keeps its gate.
fn other_marks() {
    let (killed, mut run) = Killed::begin("", "", "f--step=1");
    killed.scratch.write("go", "");
    assert!(run.wait().expect("an end").success());
    killed.scratch.write("target/pisaura/nextest/other/closed-run-", "it is closed");
    let nextest = |run: &str| {
        let mut command = killed.command(&["run", "--exact", "b::f"]);
        command.env("NEXTEST_EXECUTION_MODE", "process-per-test").env("NEXTEST_RUN_ID", run);
        Ran::of(&mut command, &killed.scratch)
    };
    assert_eq!(nextest("mine").code, Some(0));
    assert!(killed.scratch.join("target/pisaura/nextest/other/closed-run-").exists());
    // A mark that cannot be read may say that the gate is closed.
    std::fs::create_dir(
        killed
            .scratch
            .join(&format!("target/pisaura/nextest/mine/closed-book-{}", pisaura::machine::file_name("b"))),
    )
    .expect("a folder");
    let ran = nextest("mine");
    assert!(ran.stdout.contains("cannot read ") || ran.code != Some(0), "{}{}", ran.stdout, ran.stderr);
}

/// The folder that was watched is gone, and another one of its name is there, or none.
fn stop_folder() {
    for is_made_anew in [true, false] {
        let case = Case::new("");
        case.waits_at("--step=2");
        std::fs::create_dir(case.scratch.join("control")).expect("a folder");
        let mut command = case.command(&["run", "--stop-file", "control/stop"]);
        let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        wait_for("the healthcheck", || {
            case.scratch.join("at").exists() || run.try_wait().expect("a process").is_some()
        });
        std::fs::remove_dir(case.scratch.join("control")).expect("a folder");
        if is_made_anew {
            std::fs::create_dir(case.scratch.join("control")).expect("a folder");
            std::fs::write(case.scratch.join("control/stop"), "").expect("a file");
        }
        let ran = case.end(run);
        assert_eq!(ran.code, Some(130), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains("pisaura: interrupted by the stop file"), "{}", ran.stderr);
        assert!(!case.is_broken());
    }
}

fn stop_file() {
    let (killed, run) = {
        let (scratch, sshd) = (Scratch::new(), Sshd::start());
        for name in ["break.sh", "heal.sh"] {
            scratch.write(&format!("fatebooks/b/{name}"), script(name));
        }
        scratch.write("fatebooks/b/check.sh", "#!/bin/sh\n[ $1 = --step=2 ] && exec sleep 300\nexit 0\n");
        let failures = ["f", "g"].map(|name| {
            format!("  - {{name: {name}, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh]}}")
        });
        scratch.write("fatebooks/b/fatebook.yaml", sshd.book("", &failures.join("\n")));
        let killed = Killed { scratch, sshd };
        let mut command = killed.command(&["run"]);
        command.env("PISAURA_STOP_FILE", killed.scratch.join("no more"));
        let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        (killed, run)
    };
    wait_for("the inducer", || killed.log().contains("break.sh"));
    killed.scratch.write("no more", "");
    let ran = Ran::from_output(&run.wait_with_output().expect("an end"), &killed.scratch);
    assert_eq!(ran.code, Some(130), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("pisaura: interrupted by the stop file"), "{}", ran.stderr);
    assert_eq!(killed.log(), "break.sh\nheal.sh\n");
    killed.check_left_clean();
    // While it is there, nothing is begun.
    let mut command = killed.command(&["run"]);
    let ran = Ran::of(command.env("PISAURA_STOP_FILE", killed.scratch.join("no more")), &killed.scratch);
    assert_eq!(ran.code, Some(130), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("ignored (interrupted before it began)"), "{}", ran.stdout);
    assert_eq!(killed.log(), "break.sh\nheal.sh\n");
}

/// The first signal is told, and the reverter at work goes on; the second one leaves at once.
fn signal_while_healing() {
    let killed = Killed::new("", "timeout: 60s", "f--step=2");
    killed.scratch.write("fatebooks/b/heal.sh", "#!/bin/sh\nexit 3\n");
    killed.take_the_reverter_away();
    let mut revert = begin(&mut killed.command(&["revert"]));
    let mut told = std::io::BufReader::new(revert.stderr.take().expect("a pipe"));
    crate::common::wait_for_line(&mut told, "the reverter did not succeed: ");
    let signal =
        || Command::new("kill").args(["-TERM", &revert.id().to_string()]).status().expect("kill runs");
    assert!(signal().success());
    crate::common::wait_for_line(
        &mut told,
        "SIGTERM: waiting for the reverter at work; press again to leave at once",
    );
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert!(signal().success());
    assert_eq!(revert.wait().expect("an end").code(), Some(4));
}
