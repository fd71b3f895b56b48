//! What is remembered of a host that may be broken, here and on the host itself, and what is said where that is gone or damaged.

use std::fs;

use libtest_mimic::Trial;

use crate::case::{Case, walk};
use crate::common::test;

pub fn tests() -> Vec<Trial> {
    vec![
        test("remembered::a_deleted_workspace_loses_nothing", deleted_workspace),
        test("remembered::a_host_remembers_by_itself", host_remembers),
        test("remembered::a_journal_that_is_deleted_under_the_run", deleted_journal),
        test("remembered::a_journal_that_is_damaged", damaged_journal),
    ]
}

fn deleted_workspace() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 30s", "").begin_and_kill();
    fs::remove_dir_all(case.scratch.join("target")).expect("a folder");
    let listed = case.pisaura(&["revert", "--list"]);
    assert_eq!(listed.code, Some(4), "{}{}", listed.stdout, listed.stderr);
    assert!(listed.stdout.contains("\n    dirty for: "), "{}", listed.stdout);
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr.contains("reverting b::f@127.0.0.1:PORT, which an older run left dirty"),
        "{}",
        ran.stderr
    );
    assert_eq!(case.log(), "break\nheal\nbreak\nheal\n");
    assert_eq!(case.pisaura(&["revert", "--list"]).stdout, "no host is dirty\n");
}

/// Neither the workspace nor the user's memory is there: as on another agent of a CI system.
fn host_remembers() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 30s", "").begin_and_kill();
    fs::remove_dir_all(case.scratch.join("target")).expect("a folder");
    fs::remove_dir_all(case.scratch.join("home/.local")).expect("a folder");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("healed first: `b::f@127.0.0.1:PORT` of a run on "), "{}", ran.stderr);
    assert_eq!(case.log(), "break\nheal\nbreak\nheal\n");
}

fn deleted_journal() {
    let case = Case::new("");
    case.waits_at("--step=1").book("timeout: 30s", "");
    let mut run = case.begin();
    fs::remove_dir_all(case.scratch.join("target")).expect("a folder");
    case.go();
    fs::remove_file(case.scratch.join("at")).expect("a file");
    // What is needed is remembered elsewhere, and people are told.
    let ran = case.end(run);
    assert_eq!(case.log(), "break\nheal\n", "{}{}", ran.stdout, ran.stderr);
    // The same, killed while the host is broken.
    fs::remove_file(case.scratch.join("go")).expect("a file");
    case.waits_at("--step=2");
    run = case.begin();
    fs::remove_dir_all(case.scratch.join("target")).expect("a folder");
    run.kill().expect("a signal");
    run.wait().expect("an end");
    case.go();
    assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n");
    assert!(!case.is_broken());
}

/// Each record that says something of the host, cut: nothing that heals it is taken away.
fn damaged_journal() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 30s", "").begin_and_kill();
    fs::remove_dir_all(case.scratch.join("home/.local")).expect("a folder");
    let path = "target/pisaura/journal.jsonl";
    let text = case.scratch.read(path);
    let number = text.lines().position(|line| line.contains("\"may be dirty\"")).expect("a record");
    let cut: Vec<String> = text
        .lines()
        .enumerate()
        .map(
            |(index, line)| if index == number { line[..line.len() / 2].to_owned() } else { line.to_owned() },
        )
        .collect();
    case.scratch.write(path, cut.join("\n") + "\n");
    let ran = case.pisaura(&["revert"]);
    assert!(ran.stderr.contains(&format!("line {} of the journal ", number + 1)), "{}", ran.stderr);
    // The host itself tells who has it, and that run is dead.
    assert!(ran.stderr.contains("healed first: `b::f@127.0.0.1:PORT` of a run on "), "{}", ran.stderr);
    // It is healed, but what the line had said nobody knows.
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("whether other hosts are dirty is not known"), "{}", ran.stdout);
    assert_eq!(case.log(), "break\nheal\n");
    case.check_left_clean();
    // Nobody knows whether a run of another machine is dead: its switch is left alone.
    case.scratch.write("stop", "");
    fs::remove_file(case.scratch.join("go")).expect("a file");
    fs::remove_file(case.scratch.join("at")).expect("a file");
    fs::remove_dir_all(case.scratch.join("target")).expect("a folder");
    case.begin_and_kill();
    fs::remove_dir_all(case.scratch.join("home/.local")).expect("a folder");
    let text = case.scratch.read(path);
    let kept: Vec<&str> = text.lines().filter(|line| !line.contains("\"may be dirty\"")).collect();
    case.scratch.write(path, kept.join("\n") + "\n");
    let root = case.sshd.home().join(".pisaura");
    let lease =
        walk(&root).into_iter().find(|path| path.display().to_string().contains("/lease-")).expect("a lease");
    let text = fs::read_to_string(&lease).expect("a file");
    let (mark, rest) = text.split_once(' ').expect("a mark");
    fs::write(&lease, format!("{mark} elsewhere{rest}")).expect("a file");
    let ran = case.pisaura(&["revert"]);
    assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr.contains("what heals a case is left there, so it may still be broken"),
        "{}",
        ran.stderr
    );
    assert!(case.is_broken() && case.case_folder().join("armed").exists());
}
