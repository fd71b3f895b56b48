//! The tests of the whole: the program and the harness as processes, real SSH servers, real shells.
//!
//! They run under libtest-mimic so that a test that cannot run on a machine is reported as ignored, with the reason. In CI
//! none may be.

#![allow(unreachable_pub, reason = "a test target is nobody's library")]

mod bad_books;
mod common;
mod deadman;
mod format;
mod gate;
mod green;
mod harness;
mod healing;
mod host_keys;
mod hostile;
mod house;
mod interrupts;
mod junit;
mod kill;
mod lab;
mod library;
mod mesos;
mod messages;
mod nextest;
mod protocol;
mod relay;
mod secrets;
mod shell;
mod ssh;
mod verdicts;
mod wire;
mod zookeeper;

fn main() -> std::process::ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    common::keep_panics();
    let tests = [
        bad_books::tests(),
        deadman::tests(),
        format::tests(),
        gate::tests(),
        green::tests(),
        harness::tests(),
        host_keys::tests(),
        hostile::tests(),
        healing::tests(),
        house::tests(),
        interrupts::tests(),
        junit::tests(),
        kill::tests(),
        lab::tests(),
        library::tests(),
        mesos::tests(),
        messages::tests(),
        nextest::tests(),
        protocol::tests(),
        secrets::tests(),
        shell::tests(),
        ssh::tests(),
        verdicts::tests(),
        wire::tests(),
        zookeeper::tests(),
    ];
    let conclusion = libtest_mimic::run(&arguments, tests.into_iter().flatten().collect());
    if !arguments.list && arguments.filter.is_none() {
        take_words_away();
    }
    conclusion.exit_code()
}

/// Cases that a test has left broken on purpose still have this machine, and whoever logs in here as another user would wait.
fn take_words_away() {
    use std::os::unix::fs::MetadataExt;
    let own = |entry: &std::fs::DirEntry| entry.metadata().is_ok_and(|file| file.uid() == common::own_uid());
    for entry in std::fs::read_dir("/var/tmp").into_iter().flatten().flatten().filter(own) {
        if entry.file_name().to_string_lossy().starts_with(".pisaura-taken-") {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
