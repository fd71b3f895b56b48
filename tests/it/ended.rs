//! A reverter that somebody ends may say that it has succeeded. It never counts, whoever ends it and whoever waits for it; and who is
//! not to end it lets it be.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use libtest_mimic::Trial;

use crate::case::{BREAK, Case, known, signal_group, stop};
use crate::common::{Scratch, Sshd, is_root, needing, test, wait_for};
use crate::relay::Relay;

pub fn tests() -> Vec<Trial> {
    let mounts = |name: &str, run: fn()| needing(name, is_root(), "needs to be root, to mount", run);
    vec![
        test("ended::who_waits_is_told", waiters),
        test("ended::the_switch_s_by_the_limit_of_a_run", by_a_limit),
        test("ended::a_run_s_by_the_switch_after_a_waiter_has_gone", after_a_waiter),
        mounts("ended::a_run_s_by_the_switch_where_nothing_can_be_written", without_words),
        mounts("ended::by_hand", by_hand),
        mounts("ended::by_hand_at_its_limit_without_a_clock", by_hand_without_a_clock),
        test("ended::what_an_inducer_leaves_may_print", printing),
        test("ended::what_an_inducer_leaves_prints_to_nobody", printing_to_nobody),
        test("ended::the_switch_by_a_thousand_signals", signals),
        mounts("ended::a_home_that_becomes_read_only", read_only_home),
    ]
}

/// A reverter that takes this many tenths of a second, and says that it has succeeded when it is ended.
fn reverter(tenths: u32) -> String {
    format!(
        "trap 'echo ended >>\"$LOG\"; exit 0' TERM\nn=0; while [ $n -lt {tenths} ]; do sleep 0.1; n=$((n + 1)); done\n"
    )
}

/// What ends the marked processes of a case first ends the shell of ours that waits for one of them, and tells the watcher that does.
fn waiters() {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/remote/host");
    let scratch = Scratch::new();
    let file = |name: &str| scratch.join(name).display().to_string();
    fs::create_dir(scratch.join(".case-m")).expect("a folder");
    let own = format!(
        "export PISAURA_BY=$$:$(sed 's/.*) //' /proc/$$/stat | cut -d ' ' -f 20)\n\
         PISAURA_MARK=m sh -c ': >\"$0\"; trap \"exit 0\" TERM; while :; do sleep 0.05; done' '{}'\n",
        file("at")
    );
    let check = |path: &str, more: &str, said: Option<&str>| {
        for name in ["at", "said"] {
            let _ = fs::remove_file(scratch.join(name));
        }
        scratch.write(path, format!("{more}{own}echo \"$? $told\" >'{}'\n", file("said")));
        // A shell of ours says so by its own words.
        let mut waits = Command::new("sh");
        if path == "shell" {
            waits.args(["-c", "_pisaura_l=1; . \"$0\""]);
        }
        let mut waits = waits.arg(scratch.join(path)).spawn().expect("a shell");
        wait_for("the reverter", || scratch.join("at").exists());
        let text = format!(
            ". '{0}/own.sh'; . '{0}/common.sh'; . '{0}/at_work.sh'; _pisaura_M=m _pisaura_C='{1}'; set -eu; _pisaura_end_marked",
            host.display(),
            file(".case-m")
        );
        let ended = Command::new("sh").args(["-c", &text]).output().expect("a shell");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        waits.wait().expect("an end");
        let told = fs::read_to_string(scratch.join("said")).ok();
        assert_eq!(told.as_deref(), said, "{path}");
    };
    check("shell", "told=no\n", None);
    // One that is named, and is none of ours, is left alone.
    check("stranger", "told=no\n", Some("0 no\n"));
    check(".case-m/watch", "told=no\ntrap told=yes USR2\n", Some("0 yes\n"));
}

/// A try at the reverter hangs while the host is cut off; then it waits for the switch's, and its limit is over first.
fn by_a_limit() {
    let case = Case::new("");
    let relay = Relay::to(case.sshd.port);
    relay.walled_by(case.sshd.home().join("wall"));
    case.scratch.write("fatebooks/b/break.sh", format!("{BREAK}: >\"$HOME/wall\"\n"));
    let heal = reverter(35).replace("$LOG", "$HOME/log");
    case.scratch.write(
        "fatebooks/b/heal.sh",
        format!("#!/bin/sh\nrm -f \"$HOME/wall\"\n{heal}rm -f \"$HOME/broken\"\necho heal >>\"$HOME/log\"\n"),
    );
    case.book("cuts_off: true, timeout: 4s, deadman: 20s", "");
    case.through(relay.port, &known(relay.port, &[&case.sshd]));
    let ran = case.pisaura(&["run"]);
    // It cannot say that the host is healed before it is.
    assert!(ran.code == Some(4) || ran.code == Some(0) && !case.is_broken(), "{}{}", ran.stdout, ran.stderr);
    wait_for("that the host heals", || !case.is_broken());
    let ran = case.pisaura(&["revert"]);
    assert!(ran.code == Some(0) && !case.is_broken(), "{}", ran.stderr);
    assert_eq!(case.log(), "break\nheal\n");
    case.check_left_clean();
}

/// A case whose first try at the reverter fails after 8 s, so that the switch fires while the second one is at work.
fn with_a_late_try(case: &Case, log: &str, begins: &str, broken: &str) {
    let heal = reverter(80).replace("$LOG", log);
    case.scratch.write(
        "fatebooks/b/heal.sh",
        format!(
            "#!/bin/sh\necho begins >>{log}\nn=$(grep -c begins {log})\n[ $n != 1 ] || {{ sleep 8; exit 1; }}\n{begins}\nif [ $n = 2 ]; then\n: >\"{broken}.at\"\n{heal}fi\nrm -f \"{broken}\"\necho heal >>{log}\n"
        ),
    );
    case.scratch.write("fatebooks/b/check.sh", "#!/bin/sh\n[ $1 != --step=2 ] || sleep 7\n");
    case.book("timeout: 10s, deadman: 30s", "");
}

/// Somebody waits for the run's reverter by hand, and gives up.
fn after_a_waiter() {
    let case = Case::new("");
    case.scratch.write("fatebooks/b/break.sh", format!("{BREAK}sleep 9\n"));
    with_a_late_try(&case, "\"$HOME/log\"", ":", "$HOME/broken");
    let run = case.begin_until("the second try", &case.sshd.home().join("broken.at"));
    let mut heal = Command::new("/bin/sh");
    heal.arg(case.case_folder().join("heal")).env("HOME", case.sshd.home());
    let waits = crate::common::begin(heal.stdin(Stdio::null()));
    let reverting = case.case_folder().join("reverting");
    let holder = fs::read_to_string(&reverting).expect("a word");
    stop(waits.id(), "INT");
    waits.wait_with_output().expect("an end");
    assert_eq!(fs::read_to_string(&reverting).expect("a word"), holder);
    let ran = case.end(run);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(!case.is_broken());
    assert_eq!(case.log(), "break\nbegins\nbegins\nheal\n");
}

/// The home is read-only when the reverter begins, so nobody can say that he reverts.
fn without_words() {
    let case = Case::on(Sshd::with_mounts("", "mount --bind home home"));
    let (log, broken) = (case.path("log"), case.path("broken"));
    let log = format!("'{log}'");
    case.scratch.write(
        "fatebooks/b/break.sh",
        format!(
            "#!/bin/sh\necho break >>{log}\n: >'{broken}'\nmount -o remount,bind,ro \"$HOME\"\nsleep 9\n"
        ),
    );
    with_a_late_try(&case, &log, "mount -o remount,bind,rw \"$HOME\" || exit 1", &broken);
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let log = case.scratch.read("log");
    assert!(!Path::new(&broken).exists() && log.ends_with("heal\n"), "{log}{}", ran.stdout);
}

/// What is left of a case whose run was killed, and a shell for its `heal` that is this one, and sees these mounts.
fn healed_by_hand(case: &Case, mounts: &str) -> Child {
    let text = format!("{mounts}\nexec /bin/sh '{}/heal'", case.case_folder().display());
    let mut command = Command::new("unshare");
    command.args(["--mount", "/bin/sh", "-ec", &text]).env("HOME", case.sshd.home()).process_group(0);
    crate::common::begin(command.stdin(Stdio::null()))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

/// By a person, whose Ctrl-C reaches the reverter as well; with both kinds of shells.
fn by_hand() {
    for shell in ["dash", "bash"] {
        let case = Case::new("");
        case.scratch.write(
            "fatebooks/b/heal.sh",
            "#!/bin/sh\n: >\"$HOME/healing\"\ntrap 'exit 0' INT\nn=0; while [ -e \"$HOME/slow\" ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done\nrm -f \"$HOME/broken\"\n",
        );
        fs::write(case.sshd.home().join("slow"), "").expect("a file");
        case.waits_at("--step=2").book("timeout: 20s, deadman: 'off'", "");
        case.begin_and_kill();
        let heal = healed_by_hand(
            &case,
            &format!("mount --bind \"$(command -v {shell})\" \"$(readlink -f /bin/sh)\""),
        );
        wait_for("the reverter", || case.sshd.home().join("healing").exists());
        signal_group(&heal.id().to_string(), "INT");
        let output = heal.wait_with_output().expect("an end");
        assert!(
            !output.status.success() && !said(&output).lines().any(|line| line == "healed"),
            "{shell}: {}",
            said(&output)
        );
        assert!(case.is_broken(), "{shell}");
        fs::remove_file(case.sshd.home().join("slow")).expect("a file");
        assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n", "{shell}");
        assert!(!case.is_broken(), "{shell}");
    }
}

fn by_hand_without_a_clock() {
    let case = Case::new("");
    case.scratch.write(
        "fatebooks/b/heal.sh",
        "#!/bin/sh\ntrap 'exit 0' TERM\nwhile [ -e \"$HOME/slow\" ]; do sleep 0.1; done\nrm -f \"$HOME/broken\"\n",
    );
    fs::write(case.sshd.home().join("slow"), "").expect("a file");
    case.waits_at("--step=2").book("timeout: 3s, deadman: 'off'", "");
    case.begin_and_kill();
    fs::write(case.sshd.join("empty"), "").expect("a file");
    let mounts = format!("mount --bind '{}' /proc/uptime", case.sshd.join("empty").display());
    let output = healed_by_hand(&case, &mounts).wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(124), "{}", said(&output));
    assert!(said(&output).contains("not healed: the reverter ended with status 124\n"), "{}", said(&output));
    assert!(case.is_broken());
    fs::remove_file(case.sshd.home().join("slow")).expect("a file");
    assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n");
}

/// What an inducer leaves at work goes on until the revert, though nobody reads any more what it says.
fn printing() {
    let case = Case::new("");
    let hog = case.path("hog");
    case.scratch.write(
        "fatebooks/b/break.sh",
        format!("{BREAK}(while :; do echo at work; echo at work >&2; sleep 0.1; done) & echo $! >'{hog}'\n"),
    );
    case.scratch.write(
        "fatebooks/b/check.sh",
        format!("#!/bin/sh\n[ $1 != --step=2 ] || kill -0 \"$(cat '{hog}')\"\n"),
    );
    case.book("hold: 4s, every: 500ms", "");
    case.says_all(0, &[" that the inducer, or a reverter before this one, had left running", "... ok"]);
    case.check_left_clean();
}

/// With the connection its output is gone, and so may it be: nobody knows whether the failure was in force then.
fn printing_to_nobody() {
    let case = Case::new("");
    case.scratch
        .write("fatebooks/b/break.sh", format!("{BREAK}(while :; do echo at work; sleep 0.1; done) &\n"));
    let (cut, sshd) = (case.path("cut"), case.sshd.pid());
    case.scratch.write(
        "fatebooks/b/check.sh",
        format!("#!/bin/sh\n[ $1 = --step=2 ] && mkdir '{cut}' 2>/dev/null && pkill -P {sshd}\nexit 0\n"),
    );
    case.book("hold: 2s, every: 500ms", "");
    case.says_all(3, &["botched: nobody knows whether the failure lasted: the inducer has left something running that prints"]);
    case.check_left_clean();
}

fn signals() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 1s, deadman: 6s", "");
    case.begin_and_kill();
    let word = fs::read_to_string(case.case_folder().join("watcher")).expect("a word");
    let watcher = word.split(' ').next().expect("a number");
    // After a thousand it heals too early rather than never.
    let text = "n=0; while [ $n -lt 900 ] && kill -TERM \"-$1\"; do n=$((n + 1)); sleep 0.0005; done";
    Command::new("sh").args(["-c", text, "sh", watcher]).status().expect("sh runs");
    assert!(Path::new(&format!("/proc/{watcher}")).exists(), "it has gone");
    wait_for("that the host heals", || !case.is_broken());
    assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n");
    assert_eq!(case.log(), "break\nheal\n");
}

/// What keeps what heals does not keep a file system from being made read-only.
fn read_only_home() {
    let case = Case::on(Sshd::with_mounts("", "mount -t tmpfs -o mode=700 none home"));
    let log = case.path("log");
    case.scratch.write("fatebooks/b/break.sh", "#!/bin/sh\nmount -o remount,ro \"$HOME\"\n");
    case.scratch.write(
        "fatebooks/b/heal.sh",
        format!("#!/bin/sh\nmount -o remount,rw \"$HOME\" && echo heal >>'{log}'\n"),
    );
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.scratch.read("log"), "heal\n");
}
