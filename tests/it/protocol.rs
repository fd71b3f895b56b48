//! The protocol on a host, against real SSH servers: nobody says healed of a machine that is not, and nothing passes that was not
//! tested.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::case::{BREAK, Case, HEAL, known, stop, walk};
use crate::common::{Ran, is_root, needing, test, wait_for};
use crate::relay::Relay;

pub fn tests() -> Vec<Trial> {
    vec![
        test("protocol::a_run_that_stood_still_has_tested_nothing", stood_still),
        test("protocol::a_healthcheck_that_stood_still_is_out_of_time", healthcheck_stood_still),
        test("protocol::healed_by_hand_too_early", healed_by_hand),
        test("protocol::one_reverter_at_a_time", one_reverter),
        test("protocol::a_switch_whose_reverter_hangs", hanging_switch),
        test("protocol::a_switch_tries_again", switch_tries_again),
        test("protocol::what_the_inducer_leaves_running_is_ended", leftovers),
        test("protocol::what_a_reverter_leaves_running_does_not_heal_later", late_reverter),
        test("protocol::a_cut_while_a_reverter_is_brought", cut_reverter),
        test("protocol::a_reverter_that_is_whole_is_not_brought_again", not_brought_again),
        test("protocol::what_heals_is_what_was_armed", as_armed),
        test("protocol::what_cannot_begin_is_found_before", cannot_begin),
        test("protocol::a_folder_that_is_not_ours_alone", unsafe_folder),
        test("protocol::a_failure_that_takes_our_folder_away", folder_taken_away),
        test("protocol::a_watcher_heals_from_memory", from_memory),
        test("protocol::what_is_not_whole_is_not_run", emptied),
        test("protocol::an_inducer_that_hides", hidden_inducer),
        test("protocol::an_inducer_that_hides_from_the_switch", hidden_from_switch),
        test("protocol::what_was_armed_is_not_written_over", not_written_over),
        test("protocol::a_switch_goes_on_where_a_revert_fails", switch_goes_on),
        needing(
            "protocol::it_is_for_its_user_to_heal",
            is_root(),
            "needs to be root, for another user",
            its_user,
        ),
        needing(
            "protocol::what_others_leave_is_not_believed",
            is_root(),
            "needs to be root, for another user",
            others_lease,
        ),
        needing(
            "protocol::a_full_disk_stops_no_reverter",
            is_root(),
            "needs to be root, to mount",
            full_disk,
        ),
        test("protocol::a_failure_that_cuts_the_host_off", cuts_off),
        test("protocol::a_failed_try_of_somebody_else", failed_try_of_another),
        test("protocol::a_switch_under_attack", switch_under_attack),
        test("protocol::a_watcher_whose_sleep_is_ended_sleeps_on", sleeps_on),
        needing(
            "protocol::a_home_where_nothing_can_be_run",
            is_root(),
            "needs to be root, to mount",
            noexec_home,
        ),
        needing(
            "protocol::that_it_is_healed_cannot_be_written",
            is_root(),
            "needs to be root, to mount",
            unwritten,
        ),
    ]
}

/// A laptop whose lid is closed, a paused container: the host heals by itself, and the healthcheck looks at a healthy host.
fn stood_still() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 2s, deadman: 6s, grace: 20s", "");
    case.book("timeout: 20s, deadman: 200s", "");
    // As if the watcher's time were up while nobody looked: its clock is the host's.
    let run = case.begin();
    stop(run.id(), "STOP");
    let watcher = fs::read_to_string(case.case_folder().join("watcher")).expect("a file");
    let watcher: u32 = watcher.split(' ').next().expect("a number").parse().expect("a number");
    let facts = fs::read_to_string(case.case_folder().join("facts")).expect("a file");
    assert!(facts.lines().count() == 4 && watcher > 0);
    let healed = Command::new("sh")
        .arg(case.case_folder().join("heal"))
        .env("HOME", case.sshd.home())
        .output()
        .expect("sh runs");
    assert!(healed.status.success(), "{}", String::from_utf8_lossy(&healed.stderr));
    stop(run.id(), "CONT");
    case.go();
    let ran = case.end(run);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("nothing was tested: the host was healed by somebody else, "),
        "{}",
        ran.stdout
    );
    assert_eq!(case.log(), "break\nheal\n");
    case.check_left_clean();
}

fn healed_by_hand() {
    // After the healthcheck has answered it is of no matter who heals the host.
    let case = Case::new("");
    case.scratch.write(
        "fatebooks/b/heal.sh",
        format!(
            "#!/bin/sh\necho heal >>\"$HOME/log\"\n[ -e '{}' ] && rm -f \"$HOME/broken\"\n",
            case.path("go")
        ),
    );
    case.book("timeout: 2s, deadman: 100s", "");
    let run = case.command(&["run"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    wait_for("a reverter that fails", || case.log().matches("heal").count() > 1);
    case.go();
    let _ = Command::new("sh").arg(case.case_folder().join("heal")).env("HOME", case.sshd.home()).output();
    let ran = case.end(run);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

fn healthcheck_stood_still() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 2s", "");
    let run = case.begin();
    stop(run.id(), "STOP");
    std::thread::sleep(Duration::from_millis(3200));
    // It ends while nobody looks; what it says then is said too late.
    case.go();
    std::thread::sleep(Duration::from_millis(200));
    stop(run.id(), "CONT");
    let ran = case.end(run);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("healthcheck during: took longer than its time limit of 2s"),
        "{}",
        ran.stdout
    );
    assert_eq!(case.log(), "break\nheal\n");
}

fn one_reverter() {
    let case = Case::new("");
    case.scratch.write(
        "fatebooks/b/heal.sh",
        "#!/bin/sh\necho begins >>\"$HOME/log\"\n: >\"$HOME/at\"\nuntil [ -e \"$HOME/go\" ]; do sleep 0.05; done\nrm -f \"$HOME/broken\"\necho ends >>\"$HOME/log\"\n",
    );
    case.book("timeout: 20s", "");
    let mut run =
        case.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    wait_for("the reverter", || case.sshd.home().join("at").exists());
    run.kill().expect("a signal");
    run.wait().expect("an end");
    let reverts =
        case.command(&["revert"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    // It waits for the one that is at work.
    wait_for("a second shell", || case.sshd.processes().len() > 4);
    fs::write(case.sshd.home().join("go"), "").expect("a file");
    let ran = case.end(reverts);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "1 reverted\n"), "{}", ran.stderr);
    assert_eq!(case.log(), "break\nbegins\nends\n");
    case.check_left_clean();
}

fn hanging_switch() {
    let case = Case::new("");
    case.scratch.write(
        "fatebooks/b/heal.sh",
        "#!/bin/sh\necho heal >>\"$HOME/log\"\n[ -e \"$HOME/once\" ] || { : >\"$HOME/once\"; sleep 300; }\nrm -f \"$HOME/broken\"\n",
    );
    case.waits_at("--step=2").book("timeout: 2s, deadman: 6s, grace: 0s", "");
    case.scratch.write(
        "fatebooks/b/check.sh",
        format!("#!/bin/sh\n[ $1 != --step=2 ] || {{ : >'{}'; sleep 30; }}\n", case.path("at")),
    );
    case.begin_and_kill();
    wait_for("the switch", || case.sshd.home().join("once").exists());
    let ran = case.pisaura(&["revert"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "1 reverted\n"), "{}", ran.stderr);
    assert!(!case.is_broken());
    case.check_left_clean();
}

fn switch_tries_again() {
    let case = Case::new("");
    case.scratch.write(
        "fatebooks/b/heal.sh",
        "#!/bin/sh\necho heal >>\"$HOME/log\"\n[ $(wc -l <\"$HOME/log\") -gt 3 ] || exit 7\nrm -f \"$HOME/broken\"\n",
    );
    case.waits_at("--step=2").book("timeout: 2s, deadman: 6s", "");
    case.scratch.write(
        "fatebooks/b/check.sh",
        format!("#!/bin/sh\n[ $1 != --step=2 ] || {{ : >'{}'; sleep 30; }}\n", case.path("at")),
    );
    case.begin_and_kill();
    wait_for("that the host heals", || !case.is_broken());
    assert_eq!(case.log(), "break\nheal\nheal\nheal\n");
    assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n");
    assert_eq!(case.log(), "break\nheal\nheal\nheal\n", "it is not done twice");
}

fn leftovers() {
    let case = Case::new("");
    case.scratch.write(
        "fatebooks/b/break.sh",
        "#!/bin/sh\necho break >>\"$HOME/log\"\n(sleep 2; : >\"$HOME/broken\"; echo late >>\"$HOME/log\") >/dev/null 2>&1 &\nsetsid sh -c 'sleep 2; : >\"$HOME/broken\"' >/dev/null 2>&1 &\n",
    );
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr.contains("that the inducer, or a reverter before this one, had left running: ended"),
        "{}",
        ran.stderr
    );
    case.check_left_clean();
    std::thread::sleep(Duration::from_millis(2300));
    assert!(!case.is_broken() && case.log() == "break\nheal\n", "{}", case.log());
}

fn late_reverter() {
    let case = Case::new("");
    case.scratch.write(
        "fatebooks/b/heal.sh",
        "#!/bin/sh\necho heal >>\"$HOME/log\"\n(sleep 4; rm -f \"$HOME/broken\"; echo late >>\"$HOME/log\") >/dev/null 2>&1 &\nrm -f \"$HOME/broken\"\n",
    );
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    case.check_left_clean();
    assert_eq!(case.log(), "break\nheal\n");
}

/// A reverter that is cut in two at any place is never run.
fn cut_reverter() {
    for config in ["", "Subsystem none /bin/true"] {
        let case = Case::new(config);
        let lines: String =
            (0..4000).map(|number| format!("# {number}: a line of a long reverter\n")).collect();
        let heal = format!(
            "#!/bin/sh\necho begins >>\"$HOME/log\"\n{lines}rm -f \"$HOME/broken\"\necho ends >>\"$HOME/log\"\n"
        );
        case.scratch.write("fatebooks/b/heal.sh", heal);
        case.waits_at("--step=2").book("timeout: 20s", "");
        let relay = Relay::to(case.sshd.port);
        case.through(relay.port, &known(relay.port, &[&case.sshd]));
        case.begin_and_kill();
        // The reverter is gone from the host, so it has to be brought.
        fs::remove_file(case.sshd.our_folder().join("heal.sh")).expect("a file");
        for bytes in [40_000, 90_000, 150_000] {
            relay.cut_next_after(bytes);
            let ran = case.pisaura(&["revert", "--list"]);
            assert_eq!(ran.code, Some(4), "{}", ran.stderr);
        }
        relay.cut_next_after(60_000);
        let ran = case.pisaura(&["revert"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "1 reverted\n"), "{}", ran.stderr);
        assert_eq!(case.log(), "break\nbegins\nends\n", "{config}");
        assert!(!case.is_broken());
    }
}

fn not_brought_again() {
    // A reverter's own 127 is its answer, as long as it is whole.
    let case = Case::new("");
    case.scratch.write(
        "fatebooks/b/heal.sh",
        "#!/bin/sh\necho heal >>\"$HOME/log\"\n[ $(wc -l <\"$HOME/log\") -gt 3 ] || exit 127\nrm -f \"$HOME/broken\"\n",
    );
    case.book("timeout: 2s", "");
    let run = case.command(&["run"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    wait_for("the reverter", || case.log().contains("heal"));
    let inode = |path: PathBuf| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).expect("a file"));
    let before = inode(case.sshd.our_folder().join("heal.sh"));
    wait_for("its second try", || case.log().matches("heal").count() > 1);
    assert_eq!(inode(case.sshd.our_folder().join("heal.sh")), before);
    let ran = case.end(run);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), "break\nheal\nheal\nheal\n");
}

/// What was changed in the book or the environment since makes no difference.
fn as_armed() {
    let case = Case::new("");
    case.scratch.write("fatebooks/b/break.sh", "#!/bin/sh\n: >\"$HOME/broken-$1-$WHAT\"\n");
    case.scratch.write("fatebooks/b/heal.sh", "#!/bin/sh\nrm \"$HOME/broken-$1-$WHAT\"\n");
    case.waits_at("--step=2").book(
        "inducer: [break.sh, '2181'], reverter: [heal.sh, '2181'], env: {WHAT: '${WHAT}'}, timeout: 30s",
        "",
    );
    let mut run = case
        .command(&["run"])
        .env("WHAT", "this")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    wait_for("the stop", || case.scratch.join("at").exists());
    run.kill().expect("a signal");
    run.wait().expect("an end");
    case.go();
    assert!(case.sshd.home().join("broken-2181-this").exists());
    case.book(
        "inducer: [break.sh, '2182'], reverter: [heal.sh, '2182'], env: {WHAT: '${WHAT}'}, timeout: 30s",
        "",
    );
    case.scratch.write("fatebooks/b/heal.sh", "#!/bin/sh\nexit 0\n");
    let ran = case.pisaura(&["revert"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "1 reverted\n"), "{}", ran.stderr);
    assert!(!case.sshd.home().join("broken-2181-this").exists(), "what heals is what was armed");
}

/// What cannot begin on the host is found before anything is broken, the reverter first.
fn cannot_begin() {
    let check = |keys: &str, heal: &str, said: &str| {
        let case = Case::new("");
        case.scratch.write("fatebooks/b/heal.sh", heal);
        case.book(keys, "");
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(3), "{keys} {heal}: {}{}", ran.stdout, ran.stderr);
        assert!(
            ran.stdout.contains(said) && ran.stdout.contains("nothing was broken"),
            "{keys} {heal}: {}",
            ran.stdout
        );
        assert!(!ran.stderr.contains("UNREVERTED") && case.log().is_empty(), "{}", ran.stderr);
    };
    check(
        "",
        "#!/usr/bin/env python9\n",
        "the reverter cannot be run: the interpreter in the first line of heal.sh is not there: #!/usr/bin/env python9",
    );
    check(
        "",
        "#!/usr/bin/env -S python9 -u\n",
        "the reverter cannot be run: the interpreter in the first line",
    );
    check("", "#!/no/such/sh\n", "the reverter cannot be run: the interpreter in the first line");
    check("", "#!/bin/sh\nif true\n", "the reverter cannot be run: heal.sh has a mistake: ");
    check("", "#!/usr/bin/env python3\nif True\n", "the reverter cannot be run: heal.sh has a mistake: ");
    check("reverter: ['if true; then x']", HEAL, "the reverter cannot be run: ");
    check(
        "reverter: ['no-such-program x']",
        HEAL,
        "the reverter cannot be run: the host has no program `no-such-program`",
    );
    check("verify: ['for x in']", HEAL, "the verify cannot be run: ");
    check("only_if: ['case x in']", HEAL, "the only_if cannot be run: ");
}

fn unsafe_folder() {
    // A link in the place of our folder, or one that others may write to, is not used.
    for make in ["ln -s \"$PWD/pub\" .pisaura", "mkdir -m 0777 .pisaura"] {
        let case = Case::new("");
        let made = Command::new("sh")
            .args(["-c", &format!("mkdir -m 0777 pub; {make}")])
            .current_dir(case.sshd.home())
            .status();
        assert!(made.expect("sh runs").success());
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(0), "{make}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(case.log(), "break\nheal\n");
        assert!(walk(&case.sshd.home().join("pub")).is_empty(), "{make}");
        assert!(walk(&case.sshd.home().join(".pisaura")).is_empty(), "{make}");
    }
}

fn folder_taken_away() {
    let case = Case::new("");
    case.scratch.write("fatebooks/b/break.sh", format!("{BREAK}rm -rf \"$HOME/.pisaura\"\n"));
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), "break\nheal\n");
    wait_for("that nothing runs", || case.sshd.processes().is_empty());
    // One that nobody can look into until it is healed.
    let case = Case::new("");
    case.scratch.write("fatebooks/b/break.sh", format!("{BREAK}mv \"$HOME/.pisaura\" \"$HOME/.away\"\n"));
    case.scratch.write("fatebooks/b/heal.sh", format!("{HEAL}[ ! -e \"$HOME/.away\" ] || {{ rm -rf \"$HOME/.pisaura.new\"; mv \"$HOME/.pisaura\" \"$HOME/.pisaura.new\"; mv \"$HOME/.away\" \"$HOME/.pisaura\"; }}\n"));
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    wait_for("that no switch is left armed", || case.sshd.processes().is_empty());
}

fn from_memory() {
    let case = Case::new("");
    case.scratch.write("fatebooks/b/break.sh", format!("{BREAK}rm -rf \"$HOME/.pisaura\"\n"));
    case.waits_at("--step=2").book("timeout: 2s, deadman: 6s", "");
    case.scratch.write(
        "fatebooks/b/check.sh",
        format!("#!/bin/sh\n[ $1 != --step=2 ] || {{ : >'{}'; sleep 30; }}\n", case.path("at")),
    );
    case.begin_and_kill();
    assert!(!case.sshd.home().join(".pisaura").exists());
    wait_for("that the host heals", || !case.is_broken());
    assert_eq!(case.log(), "break\nheal\n");
    wait_for("that nothing runs", || case.sshd.processes().is_empty());
}

fn sleeps_on() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 30s, deadman: 200s", "");
    let run = case.begin();
    let sleeps = || -> Vec<u32> {
        let is_sleep = |process: &u32| {
            fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default().starts_with(b"sleep\0")
        };
        case.sshd.processes().into_iter().filter(is_sleep).collect()
    };
    wait_for("the watcher's sleep", || sleeps().len() == 1);
    let first = sleeps();
    let watcher = fs::read_to_string(case.case_folder().join("watcher")).expect("a file");
    let watcher: u32 = watcher.split(' ').next().expect("a number").parse().expect("a number");
    stop(first[0], "TERM");
    wait_for("another sleep", || sleeps().len() == 1 && sleeps() != first);
    stop(watcher, "TERM");
    wait_for("another sleep", || sleeps().len() == 1);
    assert!(case.is_broken() && case.log() == "break\n", "it fires no earlier");
    case.go();
    assert_eq!(case.end(run).code, Some(0));
    case.check_left_clean();
}

/// A file system of its own; it goes with the test.
struct Mount(String);

impl Mount {
    fn new(folder: &Path, options: &str) -> Self {
        let folder = folder.display().to_string();
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", options, "none", &folder]).status();
        assert!(status.expect("mount runs").success());
        Self(folder)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", &self.0]).status();
    }
}

fn noexec_home() {
    let case = Case::new("");
    let _mount = Mount::new(&case.sshd.home(), "noexec,mode=0755");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), "break\nheal\n");
}

/// The disk here is full from the inducer on: the host is healed, and that this could not be written down is an error.
fn unwritten() {
    let case = Case::new("");
    fs::create_dir_all(case.scratch.join("small")).expect("a folder");
    let _mount = Mount::new(&case.scratch.join("small"), "size=128k");
    let fill = case.path("small/fill");
    case.scratch
        .write("fatebooks/b/break.sh", format!("{BREAK}cat /dev/zero >'{fill}' 2>/dev/null; exit 0\n"));
    let output = case.path("small/out");
    let mut command = case.command(&["run", "--output", &output]);
    let ran = Ran::of(&mut command, &case.scratch);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), "break\nheal\n");
    fs::remove_file(case.scratch.join("small/fill")).expect("a file");
    // What the journal says of it is told to be over by the host, or by nobody.
    let ran = case.pisaura(&["revert", "--output", &output]);
    assert!(matches!(ran.code, Some(0 | 4)), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), "break\nheal\n", "it is not done twice");
}

/// The failure takes away, or empties, what would heal the host: what is not whole is not run, and is brought again.
fn emptied() {
    let check = |breaks: &str| {
        let case = Case::new("");
        case.scratch.write("fatebooks/b/break.sh", format!("{BREAK}{breaks}\n"));
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(0), "{breaks}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(case.log(), "break\nheal\n", "{breaks}");
        assert!(!case.is_broken());
    };
    check("for f in \"$HOME\"/.pisaura/*/heal.sh; do : >\"$f\"; done");
    check("for f in \"$HOME\"/.pisaura/*/heal.sh; do echo '#!/bin/sh' >\"$f\"; done");
    check("rm \"$HOME\"/.pisaura/*/heal.sh");
    check("rm -rf \"$HOME\"/.pisaura/*/.case-*/revert");
    // The same of what a later run finds there.
    for name in ["heal", "revert"] {
        let case = Case::new("");
        case.waits_at("--step=2").book("timeout: 30s", "").begin_and_kill();
        fs::remove_dir_all(case.scratch.join("target")).expect("a folder");
        fs::remove_dir_all(case.scratch.join("home/.local")).expect("a folder");
        fs::write(case.case_folder().join(name), "").expect("a file");
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(3), "{name}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("which has died, and could not be healed"), "{name}: {}", ran.stdout);
        assert!(case.is_broken() && case.log() == "break\n", "{name}: {}", case.log());
    }
}

/// An inducer that hides from our mark and outlives its connection is ended before the host is reverted.
/// Failures that take away the way to their host: the healthcheck is asked all the same, and the host heals by itself.
fn cuts_off() {
    const WALL: &str = "#!/bin/sh\necho break >>\"$HOME/log\"\n: >\"$HOME/broken\"\n: >\"$HOME/wall\"\n";
    const HEAL: &str = "#!/bin/sh\necho heal >>\"$HOME/log\"\nrm -f \"$HOME/wall\" \"$HOME/broken\"\n";
    // Ends the server's process of its own connection.
    const HANG_UP: &str = "p=$$; until case $(ps -o comm= -p $p) in sshd*) true;; *) false;; esac; do p=$(ps -o ppid= -p $p | tr -d ' '); done; kill -KILL $p\n";
    const CUT: &str = "cuts_off: true, timeout: 5s, deadman: 22s";
    #[track_caller]
    fn check(inducer: &str, keys: &str, healthcheck: &str, code: i32, said: &str) {
        let case = Case::new("");
        let relay = Relay::to(case.sshd.port);
        relay.walled_by(case.sshd.home().join("wall"));
        case.book(keys, "").through(relay.port, &known(relay.port, &[&case.sshd]));
        case.scratch.write("fatebooks/b/break.sh", inducer);
        case.scratch.write("fatebooks/b/heal.sh", HEAL);
        case.scratch.write(
            "fatebooks/b/check.sh",
            format!("#!/bin/sh\nhome='{}'\n{healthcheck}", case.sshd.home().display()),
        );
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(code), "{keys}{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(said), "{keys}{}", ran.stdout);
        assert!(!case.is_broken());
        assert_eq!(case.log(), "break\nheal\n", "{keys}{}{}", ran.stdout, ran.stderr);
        case.check_left_clean();
    }
    let hung_up = format!("{BREAK}{HANG_UP}");
    check(WALL, CUT, "exit 0\n", 0, "... ok");
    check(WALL, CUT, "[ $1 != --step=2 ] || { rm -f \"$home/wall\"; exit 1; }\n", 1, "succumbed");
    check(
        &format!("{WALL}exit 3\n"),
        CUT,
        "[ $1 != --step=2 ] || rm -f \"$home/wall\"\n",
        3,
        "the inducer failed: exit status 3, as the host wrote down",
    );
    check(&hung_up, CUT, "exit 0\n", 0, "... ok");
    // What is not known of the host was not tested.
    let forget = "[ $1 != --step=2 ] || for f in \"$home\"/.pisaura/*/.case-*/induced; do sleep 0.5; echo - >\"$f\"; done\n";
    check(&hung_up, CUT, forget, 3, "the host has not written down that the inducer was begun");
    // One that hangs while the connection is well is out of time.
    check(
        &format!("{BREAK}sleep 60\n"),
        CUT,
        "exit 0\n",
        3,
        "inducer: took longer than its time limit of 5s",
    );
    // A connection that is lost before anything was broken has not tested it.
    let early =
        format!("{}sleep 2\n: >\"$HOME/really\"\n", HANG_UP.replace("kill -KILL $p\n", "kill -KILL $p; "));
    check(
        &format!("{BREAK}{early}"),
        CUT,
        "exit 0\n",
        3,
        "it had not come to its end when the host was reverted",
    );
    // That it is cut off is seen long before the inducer's time is up; it counts as a time in which nobody asked.
    let through = "[ $1 != --step=2 ] || rm -f \"$home/wall\"\n";
    let held = "cuts_off: true, timeout: 30s, hold: 1s, every: 200ms";
    let began = std::time::Instant::now();
    check(WALL, held, through, 0, "... ok");
    assert!(began.elapsed() < Duration::from_secs(25), "it took {:?}", began.elapsed());
    check(
        WALL,
        &format!("{held}, max_outage: 400ms, answer_within: 200ms"),
        through,
        3,
        "was not watched for ",
    );
    let not_said = "If it is meant to cut the host off, the book says so: `cuts_off: true`";
    check(&hung_up, "timeout: 2s, deadman: 12s", "exit 0\n", 3, not_said);
}

fn hidden_inducer() {
    let case = Case::new("");
    case.scratch.write(
        "fatebooks/b/break.sh",
        "#!/bin/sh\necho break >>\"$HOME/log\"\n: >\"$HOME/at\"\nexec env -u PISAURA_MARK sh -c 'sleep 4; : >\"$HOME/broken\"; echo late >>\"$HOME/log\"'\n",
    );
    case.book("timeout: 30s", "");
    case.kill_in_the_inducer();
    assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n");
    std::thread::sleep(Duration::from_millis(4500));
    assert!(!case.is_broken() && case.log() == "break\nheal\n", "{}", case.log());
}

/// The same, ended by the switch, for its run is dead.
fn hidden_from_switch() {
    let case = Case::new("");
    case.scratch.write(
        "fatebooks/b/break.sh",
        format!(
            "{BREAK}: >\"$HOME/at\"\nexec env -i sh -c 'cd \"{0}\"; sleep 30; : >broken; echo late >>log'\n",
            case.sshd.home().display()
        ),
    );
    case.book("timeout: 1s, deadman: 5s", "");
    case.kill_in_the_inducer();
    wait_for("that the host heals", || !case.is_broken());
    wait_for("that nothing runs", || case.sshd.processes().is_empty());
    assert_eq!(case.log(), "break\nheal\n");
    assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n");
}

/// A tool may be missing just now: what a later run has is tried beside what was armed, and never in its place.
fn not_written_over() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 2s, deadman: 'off'", "");
    let armed =
        "#!/bin/sh\necho armed >>\"$HOME/log\"\n[ -e \"$HOME/tool\" ] || exit 127\nrm -f \"$HOME/broken\"\n";
    case.scratch.write("fatebooks/b/heal.sh", armed);
    case.begin_and_kill();
    case.scratch.write("fatebooks/b/heal.sh", "#!/bin/sh\necho today >>\"$HOME/log\"\nexit 3\n");
    let ran = case.pisaura(&["revert"]);
    assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
    assert!(case.log().starts_with("break\narmed\n") && case.log().contains("today\n"), "{}", case.log());
    let folder = case.case_folder();
    let kept = fs::read_to_string(folder.parent().expect("a folder").join("heal.sh"));
    assert_eq!(kept.expect("a file"), armed);
    fs::write(case.sshd.home().join("tool"), "").expect("a file");
    let ran = case.pisaura(&["revert"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "1 reverted\n"), "{}", ran.stderr);
    assert!(!case.is_broken());
}

/// A revert over SSH that fails, and whose run dies, does not take the switch away.
fn switch_goes_on() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 2s, deadman: 6s", "");
    let heal =
        "#!/bin/sh\necho heal >>\"$HOME/log\"\n[ -e \"$HOME/tool\" ] || exit 7\nrm -f \"$HOME/broken\"\n";
    case.scratch.write("fatebooks/b/heal.sh", heal);
    case.begin_and_kill();
    let tries = || case.log().matches("heal").count();
    wait_for("the switch's first try", || tries() > 0);
    let mut revert =
        case.command(&["revert"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    let before = tries();
    wait_for("a try over SSH", || tries() > before + 1);
    revert.kill().expect("a signal");
    revert.wait().expect("an end");
    fs::write(case.sshd.home().join("tool"), "").expect("a file");
    wait_for("that the host heals", || !case.is_broken());
}

/// Whoever else runs it would heal another home, or nothing.
fn its_user() {
    let case = Case::new("");
    case.waits_at("--step=2").book("deadman: 'off'", "").begin_and_kill();
    let folder = case.case_folder();
    let by_hand = || {
        let output = Command::new("sh").arg(folder.join("heal")).env("HOME", "/").output().expect("sh runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let owner = |id: &str| {
        assert!(Command::new("chown").arg("-R").arg(id).arg(&folder).status().expect("chown runs").success());
    };
    owner("65534");
    assert!(by_hand().starts_with("not healed: it is for the user to run this whose folder it is"));
    assert!(case.is_broken());
    // In the home that was broken, whatever this shell's is.
    owner("0");
    assert_eq!(by_hand(), "healed\n");
    assert!(!case.is_broken() && case.log() == "break\nheal\n", "{}", case.log());
}

/// A word that somebody else has left in a folder for all neither stops anybody, nor is what it names run.
fn others_lease() {
    let case = Case::new("");
    case.waits_at("--step=2").book("deadman: 'off'", "").begin_and_kill();
    let root = case.sshd.home().join(".pisaura");
    let lease =
        walk(&root).into_iter().find(|path| path.display().to_string().contains("/lease-")).expect("a lease");
    assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n");
    let evil = tempfile::Builder::new().prefix(".pisaura-").tempdir_in("/var/tmp").expect("a folder");
    let mark = "0123456789abcdef";
    let at = evil.path().join(format!("f/.case-{mark}"));
    fs::create_dir_all(&at).expect("a folder");
    fs::write(at.join("heal"), format!("echo ran >>'{}/log'; echo healed\n", case.sshd.home().display()))
        .expect("a file");
    let word = format!("{mark} -:1:1:x:y 1 1 {}\n", evil.path().join("f").display());
    fs::write(evil.path().join(lease.file_name().expect("a name")), word).expect("a file");
    assert!(
        Command::new("chown").args(["-R", "65534"]).arg(evil.path()).status().expect("chown runs").success()
    );
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), "break\nheal\nbreak\nheal\n");
}

/// No room for a byte, but for new files: over SSH, by hand and by the switch.
fn full_disk() {
    const FILL: &str = "#!/bin/sh\n: >\"$HOME/broken\"\ncat /dev/zero >\"$HOME/fill\" 2>/dev/null\nexit 0\n";
    // It says something before it heals, and an error of that ends it.
    const EMPTY: &str = "#!/bin/sh\nset -e\necho healing\nrm -f \"$HOME/fill\" \"$HOME/broken\"\n";
    for way in ["run", "hand", "switch"] {
        let case = Case::new("");
        let _mount = Mount::new(&case.sshd.home(), "size=600k,mode=0700");
        case.scratch.write("fatebooks/b/break.sh", FILL);
        case.scratch.write("fatebooks/b/heal.sh", EMPTY);
        case.waits_at(if way == "run" { "never" } else { "--step=2" });
        case.book("timeout: 2s, deadman: 8s", "");
        match way {
            "run" => {
                let ran = case.pisaura(&["run"]);
                assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
            }
            "hand" => {
                case.begin_and_kill();
                let mut heal = Command::new("timeout");
                heal.args(["20", "sh"]).arg(case.case_folder().join("heal")).env("HOME", case.sshd.home());
                let output = heal.output().expect("it runs");
                assert!(String::from_utf8_lossy(&output.stdout).ends_with("healed\n"), "{output:?}");
            }
            _ => {
                case.begin_and_kill();
                wait_for("that the host heals", || !case.is_broken());
            }
        }
        assert!(!case.is_broken() && !case.sshd.home().join("fill").exists(), "{way}");
        wait_for("that nothing runs", || case.sshd.processes().is_empty());
    }
}

/// Somebody else's try that failed may have healed the host all the same.
fn failed_try_of_another() {
    let case = Case::new("");
    case.scratch.write("fatebooks/b/heal.sh", format!("{HEAL}[ $(wc -l <\"$HOME/log\") -gt 2 ] || exit 3\n"));
    case.waits_at("--step=2").book("timeout: 30s", "");
    let run = case.begin();
    let tried =
        Command::new("sh").arg(case.case_folder().join("heal")).env("HOME", case.sshd.home()).output();
    assert!(!tried.expect("sh runs").status.success());
    case.go();
    let ran = case.end(run);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("nothing was tested: the host was healed by somebody else, "),
        "{}",
        ran.stdout
    );
}

/// A failure that takes empty folders, or the programs, away: the switch heals, or says nothing of it.
fn switch_under_attack() {
    let check = |breaks: &str, stays: bool| {
        let case = Case::new("");
        case.scratch.write("fatebooks/b/break.sh", format!("{BREAK}{breaks}\n"));
        case.scratch.write(
            "fatebooks/b/check.sh",
            format!("#!/bin/sh\n[ $1 != --step=2 ] || {{ : >'{}'; sleep 30; }}\n", case.path("at")),
        );
        case.book("timeout: 1s, deadman: 6s", "");
        case.begin_and_kill();
        wait_for("that the host heals", || !case.is_broken());
        assert_eq!(case.log(), "break\nheal\n", "{breaks}");
        // Where the folder is elsewhere by now, nobody can know that over SSH.
        assert!(!stays || case.pisaura(&["revert"]).stdout == "1 reverted\n", "{breaks}");
    };
    check("find \"$HOME/.pisaura\" -type d -empty -delete", true);
    check(": >\"$(echo \"$HOME\"/.pisaura/*/.case-*/revert)\"", true);
    check("mv \"$HOME/.pisaura\" \"$HOME/.away\"", false);
    check("rm -f \"$HOME\"/.pisaura/*/heal.sh", true);
    check("sleep 0.5; for f in \"$HOME\"/.pisaura/*/heal.sh; do echo exit 0 >\"$f\"; done", true);
}
