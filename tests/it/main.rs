//! The tests of the whole: the program and the harness as processes, real SSH servers, real shells.
//!
//! They run under libtest-mimic so that a test that cannot run on a machine is reported as ignored, with the reason. In CI
//! none may be.

#![allow(unreachable_pub, reason = "a test target is nobody's library")]

mod around;
mod bad_books;
mod r#become;
mod case;
mod checks;
mod cluster;
mod common;
mod connect;
mod cycles;
mod deadman;
mod ended;
mod experiments;
mod format;
mod gate;
mod green;
mod harness;
mod healed;
mod healing;
mod here;
mod hold;
mod host_keys;
mod hostile;
mod house;
mod interrupts;
mod junit;
mod kill;
mod known;
mod lab;
mod library;
mod losses;
mod machines;
mod mesos;
mod messages;
mod neighbors;
mod nextest;
mod probes;
mod protocol;
mod relay;
mod remembered;
mod repeat;
mod sabotage;
mod secrets;
mod several;
mod shell;
mod ssh;
mod steps;
mod sweep;
mod texts;
mod too_early;
mod unseen;
mod verdicts;
mod wire;
mod workload;
mod zookeeper;

fn main() -> std::process::ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    common::keep_panics();
    let tests = [
        around::tests(),
        bad_books::tests(),
        r#become::tests(),
        checks::tests(),
        connect::tests(),
        cycles::tests(),
        deadman::tests(),
        ended::tests(),
        experiments::tests(),
        format::tests(),
        gate::tests(),
        green::tests(),
        harness::tests(),
        here::tests(),
        hold::tests(),
        host_keys::tests(),
        hostile::tests(),
        healed::tests(),
        healing::tests(),
        house::tests(),
        interrupts::tests(),
        junit::tests(),
        kill::tests(),
        known::tests(),
        lab::tests(),
        library::tests(),
        losses::tests(),
        machines::tests(),
        mesos::tests(),
        messages::tests(),
        neighbors::tests(),
        nextest::tests(),
        probes::tests(),
        protocol::tests(),
        remembered::tests(),
        repeat::tests(),
        secrets::tests(),
        several::tests(),
        shell::tests(),
        ssh::tests(),
        steps::tests(),
        sweep::tests(),
        texts::tests(),
        too_early::tests(),
        unseen::tests(),
        verdicts::tests(),
        wire::tests(),
        workload::tests(),
        zookeeper::tests(),
    ];
    libtest_mimic::run(&arguments, tests.into_iter().flatten().collect()).exit_code()
}
