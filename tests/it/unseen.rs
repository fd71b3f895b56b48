//! What goes on breaking a host, and shows no mark, or is seen too late, or by nobody; and what could end the switch: each was found once.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::r#become::{log_in, user_of, with_user};
use crate::case::{BREAK, Case, HEAL};
use crate::common::{is_root, needing, test, wait_for};
use crate::deadman::restart_with;
use crate::healed::{lives, number_in};

pub fn tests() -> Vec<Trial> {
    let root = |name: &str, run: fn()| needing(name, is_root(), "needs to be root, for another user", run);
    vec![
        root("unseen::an_inducer_that_may_not_be_ended", may_not_be_ended),
        test("unseen::a_daemon_that_is_just_becoming_one", daemonizes),
        test("unseen::many_without_a_mark_and_what_they_begin_later", later_children),
        test("unseen::a_process_whose_first_thread_has_ended", first_thread_ended),
        test("unseen::a_folder_that_is_gone_and_a_revert_that_fails", folder_gone),
        test("unseen::a_word_that_is_gone_without_setsid", without_setsid),
        test("unseen::nothing_is_written_through_a_link", through_link),
        root("unseen::a_switch_without_room_for_a_process", no_room_for_processes),
        root("unseen::a_switch_whose_reverter_cannot_be_ended", hangs_for_good),
        root("unseen::a_switch_whose_folder_cannot_be_written_to", folder_closed),
        test("unseen::signals_do_not_end_a_switch", signals),
        test("unseen::a_word_that_is_none_disarms_nobody", garbled),
        test("unseen::what_stood_there_comes_back_however_it_is_cut_off", cut_off_leaving),
        test("unseen::what_stood_there_comes_back_as_it_was", same_file),
        test("unseen::a_path_without_cmp", without_cmp),
        test("unseen::a_host_without_a_program", without_programs),
        test("unseen::what_somebody_else_has_put_there_stays", foreign_file),
        test("unseen::a_script_that_changes_itself_is_not_taken_away_silently", changes_itself),
        test("unseen::a_login_without_a_session_of_its_own", wrapped),
        test("unseen::what_a_reverter_leaves_is_ended_before_the_service_is_asked", left_by_reverter),
    ]
}

/// In the home of the host: makes the file `broken` again and again, and says who it is in `hog`.
const HOG: &str = "echo $$ >\"$HOME/hog\"; while :; do : >\"$HOME/broken\"; sleep 0.05; done";

/// How many processes that user may have.
const PROCESSES_MAX: usize = 60;

/// A user who may do everything by sudo, and has the home.
fn by_sudo(keys: &str) -> Case {
    let case = with_user("plain ALL=(root) NOPASSWD: ALL");
    std::os::unix::fs::chown(case.sshd.home(), Some(user_of(&case)), None).expect("an owner");
    case.book(keys, "");
    log_in(&case, "");
    case
}

fn hog(case: &Case) -> i64 {
    case.sshd.read("hog").trim().parse().expect("a number")
}

fn end(process: i64) {
    let _ = Command::new("kill").args(["-KILL", &process.to_string()]).status();
    wait_for("its end", || !lives(process));
}

/// What runs as root cannot be ended by the user who logs in: neither its time limit nor a second try makes it gone.
fn may_not_be_ended() {
    let case = by_sudo("timeout: 8s, deadman: 'off'");
    let home = case.sshd.home().display().to_string();
    case.scratch.write(
        "fatebooks/b/break.sh",
        format!("#!/bin/sh\necho break >>\"$HOME/log\"\nsudo -n /bin/sh -c 'trap \"\" TERM HUP; HOME={home}; {HOG}'\n"),
    );
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("and could not be ended"), "{}", ran.stdout);
    assert!(lives(hog(&case)));
    let ran = case.pisaura(&["revert"]);
    assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
    end(hog(&case));
    let ran = case.pisaura(&["revert"]);
    assert_eq!(ran.stdout, "1 reverted\n", "{}", ran.stderr);
    assert!(!case.is_broken());
}

/// Between its forks an ordinary daemon is, for a moment, in no list.
fn daemonizes() {
    for pause in ["0", "0.001", "0.003", "0.01"] {
        let case = Case::new("");
        case.scratch.write(
            "fatebooks/b/break.sh",
            format!(
                "#!/usr/bin/env python3\nimport os, time\nhome = os.environ['HOME']\nopen(home + '/log', 'a').write('break\\n')\nopen(home + '/broken', 'w')\nif os.fork():\n    os._exit(0)\nnull = os.open('/dev/null', os.O_RDWR)\n[os.dup2(null, number) for number in (0, 1, 2)]\nfor step in range(4):\n    time.sleep({pause})\n    if os.fork():\n        os._exit(0)\n    os.setsid()\nopen(home + '/hog', 'w').write(str(os.getpid()))\nwhile True:\n    open(home + '/broken', 'w')\n    time.sleep(0.05)\n"
            ),
        );
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        assert!(!case.is_broken(), "after a pause of {pause}");
        wait_for("that nothing runs", || case.sshd.processes().is_empty());
        assert!(!case.is_broken(), "after a pause of {pause}");
    }
}

/// What bears no mark is known by its session, however many there are, and whenever they begin.
fn later_children() {
    let case = Case::new("");
    let unmarked = "env -i HOME=\"$HOME\" PATH=\"$PATH\" sh -c";
    case.scratch.write(
        "fatebooks/b/break.sh",
        format!(
            "{BREAK}for number in 1 2 3 4 5; do {unmarked} 'while :; do : >\"$HOME/broken\"; sleep 0.05; done' >/dev/null 2>&1 & done\n{unmarked} 'sleep 0.3; (sleep 0.1; {HOG}) & sleep 0.2' >/dev/null 2>&1 &\n"
        ),
    );
    let home = case.sshd.home().display().to_string();
    case.book(
        &format!("healthcheck: ['[ $1 != --step=2 ] || until [ -s {home}/hog ]; do sleep 0.05; done; :']"),
        "",
    );
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    wait_for("that nothing runs", || case.sshd.processes().is_empty());
    assert!(!case.is_broken());
}

/// To those who look, it is dead.
fn first_thread_ended() {
    let case = Case::new("");
    case.scratch.write(
        "fatebooks/b/break.sh",
        "#!/usr/bin/env python3\nimport ctypes, os, threading, time\nhome = os.environ['HOME']\nopen(home + '/log', 'a').write('break\\n')\nopen(home + '/broken', 'w')\nif os.fork():\n    while not os.path.exists(home + '/hog'):\n        time.sleep(0.01)\n    os._exit(0)\nos.setsid()\nnull = os.open('/dev/null', os.O_RDWR)\n[os.dup2(null, number) for number in (0, 1, 2)]\ndef hog():\n    time.sleep(0.2)\n    open(home + '/hog', 'w').write(str(os.getpid()))\n    while True:\n        open(home + '/broken', 'w')\n        time.sleep(0.05)\nthreading.Thread(target=hog).start()\nctypes.CDLL(None).pthread_exit(None)\n",
    );
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(!case.is_broken());
    let process = hog(&case);
    wait_for("its end", || !std::path::Path::new(&format!("/proc/{process}")).exists());
    assert!(!case.is_broken());
}

/// The switch, the only one who knows the case then, stays until the reverter has succeeded.
fn folder_gone() {
    let case = Case::new("");
    case.scratch.write("fatebooks/b/break.sh", format!("{BREAK}rm -rf \"$HOME/.pisaura\"\n"));
    case.scratch.write(
        "fatebooks/b/heal.sh",
        "#!/bin/sh\necho heal >>\"$HOME/log\"\n[ $(grep -c heal \"$HOME/log\") -ge 2 ] || exit 1\nrm -f \"$HOME/broken\"\n",
    );
    case.book("timeout: 5s", "");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), "break\nheal\nheal\n");
    assert!(!case.is_broken());
    case.check_left_clean();
    // The same where nothing has to be brought: it does not take until the switch fires.
    for is_text in [true, false] {
        let case = Case::new("");
        let broken = case.sshd.home().join("broken").display().to_string();
        let reverter =
            if is_text { "['rm -f $HOME/broken']".to_owned() } else { format!("[rm, -f, '{broken}']") };
        case.scratch.write("fatebooks/b/break.sh", format!("{BREAK}rm -rf \"$HOME/.pisaura\"\n"));
        case.book(&format!("timeout: 20s, reverter: {reverter}"), "");
        let ran = case.pisaura(&["run", "--show-output"]);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        assert!(!case.is_broken() && !ran.stdout.contains("dead man's switch"), "{}", ran.stdout);
    }
}

/// There the shell that arms is another one than the shell that breaks.
fn without_setsid() {
    let case = Case::new("");
    let bin = case.sshd.home().join("bin");
    fs::create_dir(&bin).expect("a folder");
    for folder in ["/usr/bin", "/bin"] {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let link = bin.join(entry.file_name());
            if entry.file_name() != "setsid" && !link.exists() {
                symlink(entry.path(), link).expect("a link");
            }
        }
    }
    restart_with(&case.sshd, &bin.display().to_string());
    case.scratch.write(
        "fatebooks/b/break.sh",
        format!("{BREAK}exec env -i HOME=\"$HOME\" PATH=\"$PATH\" sh -c ': >\"$HOME/at\"; {HOG}'\n"),
    );
    case.book("deadman: 100s", "");
    case.kill_in_the_inducer();
    fs::write(case.case_folder().join("inducing"), "").expect("a file");
    wait_for("the inducer's word", || case.sshd.home().join("hog").exists());
    let inducer = hog(&case);
    let ran = case.pisaura(&["revert"]);
    assert_eq!(ran.stdout, "1 reverted\n", "{}", ran.stderr);
    assert!(!lives(inducer), "it would break the host again");
    assert!(!case.is_broken());
}

/// Whatever a failure makes of our files, no other file is written to.
fn through_link() {
    let case = Case::new("");
    let kept = case.scratch.join("kept");
    let text = "not ours\n".repeat(20);
    fs::write(&kept, &text).expect("a file");
    case.waits_at("--step=2").book("timeout: 2s, deadman: 8s", "");
    case.begin_and_kill();
    let folder = case.case_folder();
    for name in ["healed", "word", "reverting", "inducing", "induced", "touched", "left", "orders"] {
        let file = folder.join(name);
        fs::remove_file(&file).expect("a file");
        symlink(&kept, &file).expect("a link");
    }
    wait_for("the switch", || !case.is_broken());
    let _ = case.pisaura(&["revert"]);
    assert_eq!(fs::read_to_string(&kept).expect("a file"), text);
}

/// A host that has no room for another process, for a while: that ends most shells, and not the switch.
fn no_room_for_processes() {
    let case = by_sudo("timeout: 2s, deadman: 8s");
    let shell =
        format!("#!/bin/sh\nexec bash -c 'ulimit -Su {PROCESSES_MAX}; exec /bin/sh \"$@\"' sh \"$@\"\n");
    fs::write(case.sshd.join("shell"), shell).expect("a shell");
    case.waits_at("--step=2");
    case.begin_and_kill();
    let watcher = number_in(&case, "watcher");
    // As many of the same user's as its limit allows.
    let sleep = || Command::new("sleep").arg("300").uid(user_of(&case)).spawn().expect("it runs");
    let mut all: Vec<Child> = (0..PROCESSES_MAX).map(|_| sleep()).collect();
    wait_for("its time", || elapsed(watcher) > Duration::from_secs(12));
    let (is_alive, is_broken) = (lives(watcher), case.is_broken());
    for process in &mut all {
        process.kill().expect("a signal");
        process.wait().expect("an end");
    }
    assert!(is_alive && is_broken, "the switch lives: {is_alive}");
    wait_for("the switch", || !case.is_broken());
    wait_for("the end of the switch", || !lives(watcher));
    assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n");
}

/// How long ago a process was started.
fn elapsed(process: i64) -> Duration {
    let told =
        Command::new("ps").args(["-o", "etimes=", "-p", &process.to_string()]).output().expect("ps runs");
    Duration::from_secs(String::from_utf8_lossy(&told.stdout).trim().parse().unwrap_or_default())
}

/// Its next try does not wait for it.
fn hangs_for_good() {
    let case = by_sudo("timeout: 1s, deadman: 5s");
    case.scratch.write(
        "fatebooks/b/heal.sh",
        "#!/bin/sh\necho heal >>\"$HOME/log\"\n[ $(grep -c heal \"$HOME/log\") -ge 2 ] || exec sudo -n sleep 300\nrm -f \"$HOME/broken\"\n",
    );
    case.waits_at("--step=2");
    case.begin_and_kill();
    wait_for("the second try", || !case.is_broken());
    let found =
        Command::new("pgrep").args(["-u", "0", "-x", "-f", "sleep 300"]).output().expect("pgrep runs");
    for process in String::from_utf8_lossy(&found.stdout).lines().filter_map(|line| line.parse().ok()) {
        let root = fs::read_link(format!("/proc/{process}/cwd")).unwrap_or_default();
        if root == case.sshd.home() {
            end(process);
        }
    }
    assert_eq!(case.log(), "break\nheal\nheal\n");
}

/// The reverter is run from another folder then.
fn folder_closed() {
    let case = by_sudo("timeout: 2s, deadman: 6s");
    let mark = case.scratch.join("broken");
    let shown = mark.display().to_string();
    fs::set_permissions(case.scratch.join(""), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .expect("a mode");
    case.scratch.write("fatebooks/b/break.sh", format!("#!/bin/sh\n: >'{shown}'\n"));
    case.scratch.write("fatebooks/b/heal.sh", format!("#!/bin/sh\nrm -f '{shown}'\n"));
    case.waits_at("--step=2");
    case.begin_and_kill();
    assert!(mark.exists());
    fs::set_permissions(case.sshd.home(), std::os::unix::fs::PermissionsExt::from_mode(0o000))
        .expect("a mode");
    wait_for("the switch", || !mark.exists());
    fs::set_permissions(case.sshd.home(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("a mode");
    let left = || {
        let entries = fs::read_dir("/var/tmp").into_iter().flatten().flatten();
        let is_ours =
            |entry: &fs::DirEntry| entry.metadata().is_ok_and(|metadata| metadata.uid() == user_of(&case));
        entries.filter(is_ours).count()
    };
    wait_for("that nothing is left", || left() == 0);
}

fn signals() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 2s, deadman: 8s", "");
    case.begin_and_kill();
    let watcher = number_in(&case, "watcher").to_string();
    for signal in (1..=64).filter(|number| ![9, 19, 20, 21, 22, 32, 33].contains(number)) {
        let signal = format!("-{signal}");
        let _ = Command::new("kill").args([signal.as_str(), &watcher]).status().expect("kill runs");
        assert!(lives(watcher.parse().expect("a number")), "{signal} has ended it");
    }
    wait_for("the switch", || !case.is_broken());
}

fn garbled() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 2s, deadman: 6s", "");
    case.begin_and_kill();
    for name in ["healed", "orders", "word", "reverting", "touched"] {
        fs::write(case.case_folder().join(name), "garbage ".repeat(8)).expect("a file");
    }
    wait_for("the switch", || !case.is_broken());
}

/// A book with a script at an absolute path, where the host has a file of its own.
fn installed(there: &str) -> (Case, std::path::PathBuf) {
    let case = Case::new("");
    let path = case.sshd.home().join(there);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(&path, "the host's own\n").expect("a file");
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    case.scratch.write(&format!("fatebooks/b/{name}"), BREAK);
    case.book(&format!("inducer: ['{}']", path.display()), "");
    (case, path)
}

/// A run that was cut off while it put back what had stood there is followed by another.
fn cut_off_leaving() {
    let (case, path) = installed("opt/tool");
    let bin = case.sshd.home().join("bin");
    fs::create_dir(&bin).expect("a folder");
    restart_with(&case.sshd, &format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display()));
    // It ends the shell that wants to remove what is known of the path.
    let cut = "#!/bin/sh\ncase \"$*\" in *put-*) case $* in *owners*|*putting*|*made*) ;; *) kill -KILL $PPID; exit 1;; esac;; esac\nexec /bin/rm \"$@\"\n";
    fs::write(bin.join("rm"), cut).expect("a file");
    fs::set_permissions(bin.join("rm"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    fs::remove_file(bin.join("rm")).expect("a file");
    for _ in 0..2 {
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "the host's own\n");
    }
    case.check_left_clean();
}

/// The host has all its programs but this one.
fn take_away(case: &Case, program: &str) {
    let bin = case.sshd.home().join("bin");
    fs::create_dir(&bin).expect("a folder");
    for folder in ["/usr/bin", "/bin", "/usr/sbin"] {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name() != program) {
            let _ = symlink(entry.path(), bin.join(entry.file_name()));
        }
    }
    restart_with(&case.sshd, &bin.display().to_string());
}

/// A host that cannot compare files does without.
fn without_cmp() {
    let (case, path) = installed("opt/tool");
    take_away(&case, "cmp");
    for _ in 0..2 {
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        assert_eq!(fs::read_to_string(&path).expect("a file"), "the host's own\n");
    }
    assert_eq!(case.log(), "break\nheal\n".repeat(2));
}

/// What is needed to see who is at work is there, or nothing is broken; what only helps may be missing.
fn without_programs() {
    for program in ["grep", "tr", "sed"] {
        let case = Case::new("");
        take_away(&case, program);
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(3), "{program}: {}{}", ran.stdout, ran.stderr);
        let told = format!("so nothing was broken: the host has no program `{program}` in its PATH");
        assert!(ran.stdout.contains(&told), "{program}: {}", ran.stdout);
        assert_eq!(case.log_or_none(), "", "{program}");
    }
    for program in ["timeout", "cmp", "cksum", "env", "nice"] {
        let case = Case::new("");
        take_away(&case, program);
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(0), "{program}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(case.log(), "break\nheal\n", "{program}");
        case.check_left_clean();
    }
}

/// The file itself, and no copy: with its attributes and all its names.
fn same_file() {
    let (case, path) = installed("opt/tool");
    fs::hard_link(&path, path.with_extension("too")).expect("a link");
    let before = fs::metadata(&path).expect("a file").ino();
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let after = fs::metadata(&path).expect("a file");
    assert_eq!((after.ino(), after.nlink()), (before, 2));
    case.check_left_clean();
}

fn foreign_file() {
    let (case, path) = installed("opt/tool");
    case.scratch.write("fatebooks/b/heal.sh", format!("{HEAL}echo newer >'{}'\n", path.display()));
    // Nobody knows which of them is right: what stood there is kept, and the run says so.
    case.says_all(
        3,
        &[
            "was changed since it was put there, and stays as it is; what stood there before is ",
            "/was: put it back, or remove ",
        ],
    );
    assert_eq!(fs::read_to_string(&path).expect("a file"), "newer\n");
}

/// What breaks the host stands where its own program was, and is not what was put there any more.
fn changes_itself() {
    let (case, path) = installed("opt/tool");
    case.scratch.write("fatebooks/b/tool", format!("{BREAK}echo '#' >>\"$0\"\n"));
    case.says_all(
        3,
        &["... ok", "was changed since it was put there, and stays as it is; what stood there before is "],
    );
    assert_ne!(fs::read_to_string(&path).expect("a file"), "the host's own\n");
}

/// A command that stands in front of each login's: what shows no mark is known by its session all the same.
fn wrapped() {
    let case = Case::new("ForceCommand /bin/sh -c 'true; /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"; exit $?'\n");
    case.scratch.write(
        "fatebooks/b/break.sh",
        format!("{BREAK}env -u PISAURA_MARK sh -c '{HOG}' >/dev/null 2>&1 &\nuntil [ -e \"$HOME/hog\" ]; do sleep 0.05; done\n"),
    );
    case.book("timeout: 20s", "");
    let said = case.says_all(0, &["... ok"]);
    assert!(!lives(hog(&case)) && !case.is_broken(), "{said}");
    case.check_left_clean();
}

/// A service that is no more than a child of the reverter's is none: the last healthcheck has to see that.
fn left_by_reverter() {
    let case = Case::new("");
    case.scratch.write(
        "fatebooks/b/heal.sh",
        format!("{HEAL}nohup sleep 1000 >/dev/null 2>&1 &\necho $! >\"$HOME/service\"\n"),
    );
    let service = case.sshd.home().join("service").display().to_string();
    case.scratch.write(
        "fatebooks/b/check.sh",
        format!("#!/bin/sh\n[ $1 != --step=3 ] || grep -q sleep \"/proc/$(cat '{service}')/cmdline\"\n"),
    );
    case.book("", "");
    case.says_all(
        1,
        &[
            "not recovered: ",
            "1 process that the reverter has left running: ended before the service was asked",
        ],
    );
}
