//! The texts that a host runs: whole or not at all, as they are written, in each shell, and whatever a login does instead.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;

use crate::case::{Case, known, walk};
use crate::common::{Scratch, is_root, needing, test, wait_for};
use crate::relay::Relay;

pub fn tests() -> Vec<Trial> {
    vec![
        test("texts::a_login_that_runs_something_else", other_login),
        test("texts::a_login_that_reads_what_is_ours", greedy_login),
        test("texts::several_who_make_the_root_at_once", one_root),
        test("texts::a_text_that_does_not_arrive_breaks_nothing", text_is_cut),
        test("texts::who_is_refused_signals_nobody_else", refused),
        test("texts::text_arrives_as_it_is_written", text_as_it_is),
        test("texts::shell_texts_for_every_shell", shell_texts),
        test("texts::of_the_books", books_texts),
        needing("texts::other_shells", is_root(), "needs to be root, to mount", other_shells),
    ]
}

/// What a login runs in place of our command, or in front of it: nothing is broken, and it is told.
fn other_login() {
    let check = |config: &str, said: &str| {
        let case = Case::new(config);
        case.book("only_if: ['false'], timeout: 5s", "");
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(3), "{config}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(said), "{config}: {}", ran.stdout);
        assert_eq!(case.log(), "", "{config}");
        assert!(!case.is_broken(), "{config}");
    };
    check(
        "Subsystem none /bin/true\nForceCommand /bin/sh",
        "runs a shell of its own in place of our command",
    );
    check(
        "Subsystem none /bin/true\nForceCommand /bin/bash",
        "runs a shell of its own in place of our command",
    );
    check(
        "ForceCommand echo /tmp",
        "does not run our command (/bin/sh), but something else, which ended with exit status 0: /tmp",
    );
    check(
        "ForceCommand /bin/true",
        "does not run our command (/bin/sh), but something else, which ended with exit status 0",
    );
    check("ForceCommand echo maintenance; exit 3", "which ended with exit status 3: maintenance");
    check("ForceCommand /bin/cat", "does not run our command");
}

fn greedy_login() {
    for config in [
        "ForceCommand read -r x; eval \"$SSH_ORIGINAL_COMMAND\"",
        "ForceCommand head -c 20 >/dev/null; eval \"$SSH_ORIGINAL_COMMAND\"",
        "ForceCommand head -c -20 | eval \"$SSH_ORIGINAL_COMMAND\"",
        "ForceCommand sed 5d | eval \"$SSH_ORIGINAL_COMMAND\"",
    ] {
        let case = Case::new(&format!("Subsystem none /bin/true\n{config}"));
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(3), "{config}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("a part of what was sent was lost"), "{config}: {}", ran.stdout);
        assert_eq!(case.log(), "", "{config}");
    }
    // What only prints is no harm.
    let case = Case::new(
        "ForceCommand printf 'welcome, no newline'; echo welcome >&2; eval \"$SSH_ORIGINAL_COMMAND\"",
    );
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), "break\nheal\n");
}

/// What own.sh and common.sh answer to this text.
pub fn common(text: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/remote/host");
    let text = format!(". '{0}/own.sh'; . '{0}/common.sh'\n{text}", folder.display());
    let output = Command::new("sh").args(["-c", &text]).output().expect("sh runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Cut at many points, the text that arms and breaks the host is there as a whole or not at all; in both cases the host is healed,
/// and known to be.
fn text_is_cut() {
    let case = Case::new("");
    let relay = Relay::to(case.sshd.port);
    case.book("timeout: 3s", "");
    case.through(relay.port, &known(relay.port, &[&case.sshd]));
    // Each run is one connection, and what goes over it is of the same length each time, but for some bytes.
    for bytes in (9_000..36_000).step_by(1_500) {
        let _ = fs::remove_file(case.sshd.home().join("log"));
        relay.cut_next_after(bytes);
        let ran = case.pisaura(&["run", "--no-heal"]);
        let told = format!("{bytes}: {}{}", ran.stdout, ran.stderr);
        assert!(matches!(ran.code, Some(0 | 3)), "{told}");
        let log = case.log_or_none();
        assert!(log.is_empty() || log.ends_with("heal\n"), "{told}{log}");
        assert!(!case.is_broken() && log.matches("break").count() < 2, "{told}{log}");
        case.check_left_clean();
    }
}

/// Books of one host begin at once: all of them find, or make, the same folder.
fn one_root() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/remote/host");
    for _ in 0..20 {
        let home = tempfile::tempdir().expect("a folder");
        let text = format!(
            "set -eu; for n in 1 2 3 4 5 6 7 8; do (_pisaura_A=1 _pisaura_N=f$n; . '{0}/own.sh'; . '{0}/common.sh'; . '{0}/safe.sh'; . '{0}/probe.sh') & done; wait",
            folder.display()
        );
        let output =
            Command::new("sh").args(["-c", &text]).env("HOME", home.path()).output().expect("sh runs");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut folders: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("folder ")).collect();
        folders.sort_unstable();
        let home = home.path().canonicalize().expect("a path");
        let wanted: Vec<String> = (1..=8).map(|n| format!("{}/.pisaura/f{n}", home.display())).collect();
        assert_eq!(folders, wanted, "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A process whose number is another one's start is nobody's business.
fn refused() {
    let scratch = Scratch::new();
    let mut bystander = Command::new("sleep").arg("60").spawn().expect("a process");
    let mut watcher = Command::new("sleep").arg("60").spawn().expect("a process");
    for name in ["orders", "watcher"] {
        scratch.write(name, format!("{:<63}\n", "-"));
    }
    let refuse = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/remote/host/refuse.sh");
    let folder = scratch.path().join("case");
    fs::create_dir(&folder).expect("a folder");
    for name in ["orders", "watcher"] {
        fs::rename(scratch.join(name), folder.join(name)).expect("a file");
    }
    common(&format!(
        "_pisaura_mark() {{ :; }}; . '{}'; _pisaura_C='{}' _pisaura_L=/none _pisaura_M=m\n\
         _pisaura_start {watcher}; _pisaura_put watcher \"{watcher} $_pisaura_r\"\n_pisaura_refuse a1 ''",
        refuse.display(),
        folder.display(),
        watcher = watcher.id()
    ));
    watcher.wait().expect("it is ended");
    assert!(bystander.try_wait().expect("a process").is_none() && !folder.exists());
    bystander.kill().expect("a signal");
    bystander.wait().expect("an end");
}

/// Text of several lines in a reverter and a variable arrives as it is written, wherever it is kept on the way.
fn text_as_it_is() {
    let case = Case::new("");
    let wanted = "  two blanks\n\n# no comment\n\tand a tab _pisaura_x\n";
    case.scratch.write(
        "fatebooks/b/fatebook.yaml",
        case.sshd.book(
            "",
            "  - name: f\n    inducer: [break.sh]\n    healthcheck: [check.sh]\n    env:\n      V: \"  two blanks\\n\\n# no comment\\n\\tand a tab _pisaura_x\\n\"\n    reverter:\n      - |\n        cat >$HOME/here <<'END'\n          two blanks\n\n        # no comment\n        \tand a tab _pisaura_x\n        END\n        printf %s \"$V\" >$HOME/variable\n        rm -f $HOME/broken\n",
        ),
    );
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.sshd.read("here"), wanted);
    assert_eq!(case.sshd.read("variable"), wanted);
    // The same by what was armed.
    case.waits_at("--step=2");
    case.begin_and_kill();
    for name in ["here", "variable"] {
        fs::remove_file(case.sshd.home().join(name)).expect("a file");
    }
    assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n");
    assert_eq!((case.sshd.read("here").as_str(), case.sshd.read("variable").as_str()), (wanted, wanted));
}

/// The host's shell texts, as each shell reads them, and as shellcheck does.
fn shell_texts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/remote/host");
    let texts: Vec<_> = walk(Path::new(folder))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "sh"))
        .collect();
    assert!(texts.len() > 15);
    for text in &texts {
        for shell in [&["dash", "-n"][..], &["bash", "--posix", "-n"], &["busybox", "sh", "-n"]] {
            let output = Command::new(shell[0]).args(&shell[1..]).arg(text).output().expect("a shell");
            assert!(
                output.status.success(),
                "{shell:?} {}: {}",
                text.display(),
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
    // Their variables come from elsewhere, and words are split on purpose.
    let output = Command::new("shellcheck")
        .args(["-s", "sh", "-e", "SC2154,SC2034,SC2086,SC2015,SC2164,SC2012,SC2016,SC2062,SC3013"])
        .args(&texts)
        .output()
        .expect("shellcheck runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// What people copy: nothing of it is excused that is not excused in it.
fn books_texts() {
    let texts: Vec<_> = walk(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fatebooks")))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "sh"))
        .collect();
    assert!(texts.len() > 40);
    let output =
        Command::new("shellcheck").args(["-s", "sh"]).args(&texts).output().expect("shellcheck runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The protocol with other shells than this machine's as the host's `/bin/sh`.
fn other_shells() {
    for shell in ["bash", "busybox"] {
        let case = Case::new("");
        let found =
            Command::new("sh").args(["-c", &format!("command -v {shell}")]).output().expect("sh runs");
        let path = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        // In a mount namespace of its own another program is `/bin/sh` there.
        let port = crate::common::free_port();
        let config = fs::read_to_string(case.sshd.join("config")).expect("a configuration");
        fs::write(
            case.sshd.join("config2"),
            config.replace(&format!("Port {}", case.sshd.port), &format!("Port {port}")),
        )
        .expect("a file");
        let script = format!(
            "mount --bind '{path}' /usr/bin/dash && exec /usr/sbin/sshd -D -e -f '{}'",
            case.sshd.join("config2").display()
        );
        let mut sshd = Command::new("unshare")
            .args(["-m", "bash", "-c", &script])
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        wait_for("the server", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        case.through(port, &known(port, &[&case.sshd]));
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(0), "{shell}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(case.log(), "break\nheal\n", "{shell}");
        // Killed, and healed by its switch; and by the next run.
        for deadman in ["timeout: 1s, deadman: 6s", "timeout: 30s"] {
            let _ = fs::remove_file(case.scratch.join("at"));
            case.scratch.write(
                "fatebooks/b/check.sh",
                format!("#!/bin/sh\n[ $1 != --step=2 ] || {{ : >'{}'; sleep 60; }}\n", case.path("at")),
            );
            case.book(deadman, "").through(port, &known(port, &[&case.sshd]));
            case.begin_and_kill();
            if deadman.contains("deadman") {
                wait_for("that the host heals", || !case.is_broken());
            }
            assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n", "{shell}");
            assert!(!case.is_broken(), "{shell}");
        }
        assert_eq!(case.log(), "break\nheal\nbreak\nheal\nbreak\nheal\n", "{shell}");
        let _ = sshd.kill();
        let _ = sshd.wait();
    }
}
