//! The failure was not there, or not any more, when the service was asked: none of it may be green. Each was found once.

use std::fs;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;

use crate::case::{BREAK, Case, HEAL, known, stop};
use crate::common::{test, wait_for};
use crate::machines::edit_identity;
use crate::relay::Relay;

pub fn tests() -> Vec<Trial> {
    vec![
        test("too_early::an_inducer_that_breaks_after_it_has_cut_us_off", breaks_later),
        test("too_early::a_healer_that_died_before_it_came_to_the_reverter", healer_died),
        test("too_early::healed_by_others_before_a_revert_that_was_not_heard", not_heard),
        test("too_early::a_machine_that_was_started_anew_meanwhile", rebooted),
        test("too_early::a_reverter_that_is_ended_and_says_that_all_is_well", ended_well),
        test("too_early::each_noting_has_a_mark_of_its_own", marks),
    ]
}

/// It cuts the way to the host first, and breaks it long after the service was asked.
fn breaks_later() {
    let case = Case::new("");
    let relay = Relay::to(case.sshd.port);
    relay.walled_by(case.sshd.home().join("wall"));
    case.book("cuts_off: true, timeout: 30s, hold: 9s, every: 500ms", "")
        .through(relay.port, &known(relay.port, &[&case.sshd]));
    case.scratch
        .write("fatebooks/b/break.sh", "#!/bin/sh\n: >\"$HOME/wall\"\nsleep 7\n: >\"$HOME/broken\"\n");
    let home = case.sshd.home().display().to_string();
    // Whoever looks from here sees when the host is broken, and opens the way to it then.
    case.scratch.write(
        "fatebooks/b/check.sh",
        format!("#!/bin/sh\n[ ! -e '{home}/broken' ] || rm -f '{home}/wall'\nexit 0\n"),
    );
    case.says_all(
        3,
        &[
            "nobody knows whether anything was broken when the service was asked",
            " later: what cuts the host off has to be the last that it does",
        ],
    );
}

/// What the inducer has left takes long to end; a person's `heal` is killed meanwhile, and may have healed the host by that.
fn healer_died() {
    let case = Case::new("");
    case.scratch.write(
        "fatebooks/b/break.sh",
        format!("{BREAK}sh -c 'trap \"\" TERM; while :; do sleep 0.2; done' >/dev/null 2>&1 &\n"),
    );
    case.waits_at("--step=2").book("timeout: 30s", "");
    let run = case.begin();
    let folder = case.case_folder();
    let mut heal = Command::new("/bin/sh")
        .arg(folder.join("heal"))
        .env("HOME", case.sshd.home())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    wait_for("its word", || {
        fs::read_to_string(folder.join("touched")).is_ok_and(|text| !text.starts_with('-'))
    });
    heal.kill().expect("a signal");
    heal.wait().expect("an end");
    case.go();
    let ran = case.end(run);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("the host was healed by somebody else"), "{}", ran.stdout);
    assert!(!case.is_broken());
}

/// A person's try has healed the host, though it failed; and that our own succeeded after it was not heard the first time.
fn not_heard() {
    let case = Case::new("");
    let relay = Relay::to(case.sshd.port);
    let wall = case.sshd.home().join("wall");
    relay.walled_by(wall.clone());
    case.waits_at("--step=2")
        .book("timeout: 4s, deadman: 60s", "")
        .through(relay.port, &known(relay.port, &[&case.sshd]));
    case.scratch.write(
        "fatebooks/b/heal.sh",
        format!("{HEAL}[ ! -e \"$HOME/by hand\" ] || exit 1\n: >\"$HOME/wall\"\n"),
    );
    let run = case.begin();
    let folder = case.case_folder();
    fs::write(case.sshd.home().join("by hand"), "").expect("a file");
    let healed = Command::new("/bin/sh")
        .arg(folder.join("heal"))
        .env("HOME", case.sshd.home())
        .output()
        .expect("it runs");
    assert!(!healed.status.success() && !case.is_broken());
    fs::remove_file(case.sshd.home().join("by hand")).expect("a file");
    case.go();
    wait_for("that it is healed", || {
        fs::read_to_string(folder.join("healed")).is_ok_and(|text| !text.starts_with('-'))
    });
    fs::remove_file(wall).expect("a wall");
    let ran = case.end(run);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("the host was healed by somebody else"), "{}", ran.stdout);
}

/// What was broken may have gone with the machine's memory.
fn rebooted() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 30s", "");
    let run = case.begin();
    edit_identity(&case, |mut words| {
        words[1] = "another-boot".to_owned();
        words
    });
    case.go();
    let ran = case.end(run);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("nobody knows how long the failure was there: the host was started anew"),
        "{}",
        ran.stdout
    );
    assert!(!case.is_broken());
}

/// A run stands still in its reverter, which hangs; the switch ends that, and it says that it has succeeded.
fn ended_well() {
    let case = Case::new("");
    case.scratch.write(
        "fatebooks/b/heal.sh",
        format!(
            "#!/bin/sh\nif mkdir \"$HOME/once\" 2>/dev/null; then : >\"$HOME/at\"; trap 'exit 0' TERM; while :; do sleep 0.1; done; fi\n{}",
            HEAL.trim_start_matches("#!/bin/sh\n")
        ),
    );
    case.book("timeout: 3s, deadman: 12s", "");
    let run = case.begin_until("the reverter", &case.sshd.home().join("at"));
    stop(run.id(), "STOP");
    wait_for("that the host heals", || !case.is_broken());
    stop(run.id(), "CONT");
    let ran = case.end(run);
    assert!(!case.is_broken(), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), "break\nheal\n", "{}{}", ran.stdout, ran.stderr);
}

/// A case that begins again is written down anew: what is remembered of its first try would count for the second one.
fn marks() {
    let case = Case::new("");
    // No, just before the inducer, the first time.
    case.scratch.write(
        "fatebooks/b/only.sh",
        "#!/bin/sh\necho x >>\"$HOME/asked\"; [ \"$(wc -l <\"$HOME/asked\")\" != 2 ]\n",
    );
    case.book("only_if: [only.sh]", "");
    case.says_all(0, &["... ok"]);
    let journal = case.scratch.read("target/pisaura/journal.jsonl");
    let marks: std::collections::BTreeSet<&str> = journal
        .lines()
        .filter(|line| line.contains("\"event\":\"may be dirty\""))
        .filter_map(|line| line.split("\"mark\":\"").nth(1)?.split('"').next())
        .collect();
    assert_eq!(marks.len(), 2, "{journal}");
}
