//! Ways in which a host could be called healed that is not, or lose what heals it: each was found once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;

use crate::case::{BREAK, Case};
use crate::common::{is_root, needing, test, wait_for};
use crate::deadman::restart_with;

pub fn tests() -> Vec<Trial> {
    // Left out where there are no loop devices, as ci/README.md says.
    let frozen = can_freeze().then(|| test("healed::a_home_that_did_not_answer", frozen));
    let mut all = vec![
        test("healed::a_revert_does_not_end_the_switch", switch_stays),
        test("healed::an_armed_text_that_reads_as_nothing", reads_as_nothing),
        test("healed::a_word_that_was_written_over", word_is_gone),
        test("healed::what_was_left_without_a_mark", unmarked),
        test("healed::what_cannot_be_looked_for_is_not_gone", blind),
        test("healed::who_only_reads_a_switch_is_none", only_reads),
        test("healed::a_process_that_shows_nothing_keeps_nobody_from_it", shows_nothing),
        test("healed::what_another_journal_knows_is_told", another_journal),
        test("healed::no_room_to_say_who_arms", no_room),
        needing(
            "healed::a_reverter_that_cannot_be_brought_again",
            is_root(),
            "needs to be root, to make a small file system",
            not_brought,
        ),
    ];
    all.extend(frozen);
    all
}

pub fn lives(process: i64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Puts these scripts in front of the host's programs.
fn put_in_front(case: &Case, scripts: &[(&str, &str)]) {
    let bin = case.sshd.home().join("bin");
    fs::create_dir(&bin).expect("a folder");
    for (name, text) in scripts {
        fs::write(bin.join(name), text).expect("a script");
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    restart_with(&case.sshd, &format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display()));
}

/// A process that is stuck in a file system that is frozen shows nothing of itself, and who asks it is stuck, too: the reverter that
/// thaws it is run all the same, and counts once somebody has looked.
fn shows_nothing() {
    let grep = "#!/bin/sh\n[ ! -e \"$HOME/broken\" ] || case \"$*\" in */proc/*) exec sleep 300 ;; esac\nexec /usr/bin/grep \"$@\"\n";
    let case = Case::new("");
    put_in_front(&case, &[("grep", grep)]);
    case.book("timeout: 20s", "");
    case.says_all(0, &["b::f@127.0.0.1:PORT ... ok"]);
    assert_eq!(case.log(), "break\nheal\nheal\n");
    // The switch does the same.
    fs::remove_file(case.sshd.home().join("log")).expect("a file");
    case.waits_at("--step=2").book("timeout: 2s, deadman: 7s", "").begin_and_kill();
    wait_for("the switch", || case.log() == "break\nheal\nheal\n");
    let ran = case.pisaura(&["revert"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    case.check_left_clean();
}

/// A host that another run may have left broken, of which nothing is remembered here: whoever cleans up there says so.
fn another_journal() {
    let case = Case::new("");
    case.waits_at("--step=2");
    case.go();
    let ran = case.pisaura(&["run", "--output", "ours"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    // As if that run had been killed before it cleaned up.
    let journal = case.scratch.read("ours/journal.jsonl");
    let lines =
        journal.lines().filter(|line| !line.contains("\"host left\"") && !line.contains("\"run ended\""));
    case.scratch.write("ours/journal.jsonl", lines.fold(String::new(), |text, line| text + line + "\n"));
    fs::remove_file(case.scratch.join("go")).expect("a file");
    let _ = fs::remove_file(case.scratch.join("at"));
    case.book("timeout: 5s, deadman: 'off'", "").begin_and_kill();
    fs::remove_dir_all(case.scratch.join("target")).expect("a folder");
    fs::remove_dir_all(case.scratch.join("home")).expect("a folder");
    let ran = case.pisaura(&["revert", "--output", "ours"]);
    assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
    let told = "!!! A HOST IS LEFT UNREVERTED, and may still be broken:\n!!!   127.0.0.1:PORT by `b::f@127.0.0.1:PORT` of a run on ";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
    assert!(case.is_broken());
    assert!(!ran.stdout.contains("no host was dirty"), "{}", ran.stdout);
}

/// The first number in a file of the case's folder.
pub fn number_in(case: &Case, file: &str) -> i64 {
    let text = fs::read_to_string(case.case_folder().join(file)).expect("a file");
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

/// Whoever reverts ends the inducer that is still at work, and what it has begun. The watcher was begun by the same shell, and is all
/// that heals the host if this revert fails.
fn switch_stays() {
    let case = Case::new("");
    case.scratch.write("fatebooks/b/break.sh", format!("{BREAK}: >\"$HOME/at\"\nsleep 300\n"));
    case.scratch.write(
        "fatebooks/b/heal.sh",
        "#!/bin/sh\necho heal >>\"$HOME/log\"\n[ -e \"$HOME/may-heal\" ] || exit 1\nrm -f \"$HOME/broken\"\n",
    );
    case.book("timeout: 30s, deadman: 200s", "");
    case.kill_in_the_inducer();
    let (watcher, inducer) = (number_in(&case, "watcher"), number_in(&case, "inducing"));
    let mut revert =
        case.command(&["revert"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    wait_for("a try at the reverter", || case.log().contains("heal"));
    wait_for("the end of the inducer", || !lives(inducer));
    assert!(lives(watcher), "it heals the host if this does not");
    fs::write(case.sshd.home().join("may-heal"), "").expect("a file");
    assert!(revert.wait().expect("an end").success());
    assert!(!case.is_broken());
    wait_for("the end of the switch", || !lives(watcher));
}

/// A shell takes a file of zeros, or one that it cannot read, for a text that does nothing, and well.
fn reads_as_nothing() {
    let check = |spoil: &dyn Fn(&std::path::Path)| {
        let case = Case::new("");
        case.waits_at("--step=2").book("deadman: 'off'", "");
        case.begin_and_kill();
        let folder = case.case_folder();
        spoil(&folder.join("revert"));
        let by_hand = Command::new("sh").arg(folder.join("heal")).output().expect("sh runs");
        let said = String::from_utf8_lossy(&by_hand.stderr).into_owned();
        assert!(
            !by_hand.status.success() && said.contains("not healed: the reverter ended with status 127"),
            "{said}"
        );
        assert!(
            case.is_broken() && fs::read_to_string(folder.join("healed")).expect("a file").starts_with('-')
        );
        // A run knows what it was.
        let ran = case.pisaura(&["revert"]);
        assert_eq!(ran.stdout, "1 reverted\n", "{}", ran.stderr);
        assert!(!case.is_broken());
    };
    check(&|path| fs::write(path, vec![0; 400]).expect("a file"));
    check(&|path| fs::write(path, "").expect("a file"));
    check(&|path| fs::write(path, "{\nexport A=1\n").expect("a file"));
    check(&|path| {
        fs::remove_file(path).expect("a file");
        fs::create_dir(path).expect("a folder");
    });
}

/// An inducer at work that bears no mark, and whose word a failure has truncated: the shell that armed is known beside it.
fn word_is_gone() {
    let case = Case::new("");
    case.scratch.write(
        "fatebooks/b/break.sh",
        format!("{BREAK}exec env -i HOME=\"$HOME\" PATH=\"$PATH\" sh -c ': >\"$HOME/at\"; while :; do : >\"$HOME/broken\"; sleep 0.05; done'\n"),
    );
    case.book("deadman: 'off'", "");
    case.kill_in_the_inducer();
    let inducer = number_in(&case, "inducing");
    fs::write(case.case_folder().join("inducing"), "").expect("a file");
    let ran = case.pisaura(&["revert"]);
    assert_eq!(ran.stdout, "1 reverted\n", "{}", ran.stderr);
    assert!(!lives(inducer), "it would break the host again");
    assert!(!case.is_broken());
    case.check_left_clean();
}

/// What an inducer leaves running as another user, as by `sudo`, shows no mark of ours. By the run, and by the switch.
fn unmarked() {
    for by_switch in [false, true] {
        let case = Case::new("");
        let pid = case.path("pid");
        case.scratch.write(
            "fatebooks/b/break.sh",
            format!(
                "{BREAK}env -i HOME=\"$HOME\" PATH=\"$PATH\" sh -c 'echo $$ >\"{pid}\"; while :; do : >\"$HOME/broken\"; sleep 0.05; done' >/dev/null 2>&1 &\nuntil [ -s '{pid}' ]; do sleep 0.05; done\n"
            ),
        );
        if by_switch {
            case.waits_at("--step=2").book("timeout: 2s, deadman: 6s", "").begin_and_kill();
            wait_for("the switch", || !case.is_broken());
        } else {
            let ran = case.pisaura(&["run"]);
            assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        }
        let left = case.scratch.read("pid").trim().parse().expect("a number");
        assert!(!lives(left), "it would break the host again, by the switch: {by_switch}");
        assert!(!case.is_broken());
        if by_switch {
            assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n");
        }
    }
}

/// What an inducer has left running is found by `grep`. Where that cannot run, nobody knows that nothing was left.
fn blind() {
    let case = Case::new("");
    let bin = case.sshd.home().join("bin");
    fs::create_dir(&bin).expect("a folder");
    restart_with(&case.sshd, &format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display()));
    // It leaves something that goes on breaking the host, and takes away what would find it.
    case.scratch.write(
        "fatebooks/b/break.sh",
        format!("{BREAK}(while :; do : >\"$HOME/broken\"; sleep 0.05; done) >/dev/null 2>&1 &\nprintf '#!/bin/sh\\nexit 126\\n' >\"$HOME/bin/grep\"\nchmod +x \"$HOME/bin/grep\"\n"),
    );
    case.book("timeout: 2s, deadman: 'off'", "");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
    let want = "the reverter succeeded, but while the inducer, or what it has begun, was still at work, and could not be ended";
    assert!(ran.stdout.contains(want), "{}", ran.stdout);
    // Once it can be looked for, it is ended.
    fs::remove_file(bin.join("grep")).expect("a file");
    let ran = case.pisaura(&["revert"]);
    assert_eq!(ran.stdout, "1 reverted\n", "{}", ran.stderr);
    assert!(!case.is_broken());
    wait_for("that nothing runs", || case.sshd.processes().is_empty());
}

/// A person who follows the files of a switch is neither the switch, nor ended with it.
fn only_reads() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 4s, deadman: 15s", "");
    case.begin_and_kill();
    let folder = case.case_folder();
    let script = format!("exec tail -f '{0}/watch' 3<'{0}/orders'", folder.display());
    let mut reader = Command::new("sh")
        .args(["-c", &script])
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("it runs");
    wait_for("tail", || {
        fs::read(format!("/proc/{}/cmdline", reader.id())).unwrap_or_default().starts_with(b"tail\0")
    });
    let watcher = number_in(&case, "watcher");
    let status = Command::new("kill").args(["-KILL", &watcher.to_string()]).status();
    assert!(status.expect("kill runs").success());
    wait_for("the end of the switch", || !lives(watcher));
    fs::remove_dir_all(case.sshd.home().join(".pisaura")).expect("a folder");
    let ran = case.pisaura(&["revert"]);
    assert_eq!(ran.code, Some(4), "nobody knows that this is the machine: {}{}", ran.stdout, ran.stderr);
    assert!(reader.try_wait().expect("a process").is_none(), "it was ended");
    reader.kill().expect("a signal");
    reader.wait().expect("an end");
}

/// Whoever finds a case's folder without its facts has to see who is about to write them. Where that cannot be said nothing is armed.
fn no_room() {
    let case = Case::new("");
    // The word goes to a file beside the case's folder: here nobody may make one.
    case.scratch.write("fatebooks/b/break.sh", BREAK);
    case.scratch.write(
        "fatebooks/b/only.sh",
        "#!/bin/sh\ncd \"$HOME\"/.pisaura/*/ || exit 2\nmkdir \".arming-$PISAURA_MARK\" 2>/dev/null\nexit 0\n",
    );
    case.book("only_if: [only.sh]", "");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("there is no room for a word"), "{}", ran.stdout);
    assert_eq!(case.sshd.read("log"), "", "nothing was broken");
}

/// A small file system of its own; it goes with the test.
struct Mount(String);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", &self.0]).status();
    }
}

/// The failure empties the reverter's file, and leaves no room to bring it anew: what lies there does nothing, and well.
fn not_brought() {
    let case = Case::new("");
    let home = case.sshd.home().display().to_string();
    let mount = Mount(home.clone());
    let arguments = ["-t", "tmpfs", "-o", "size=256k,nr_inodes=64", "none", &home];
    assert!(Command::new("mount").args(arguments).status().expect("mount runs").success());
    let broken = case.path("broken");
    case.scratch.write(
        "fatebooks/b/break.sh",
        format!(
            "#!/bin/sh\n: >'{broken}'\nfor f in \"$HOME\"/.pisaura/*/heal.sh; do : >\"$f\"; done\ncat /dev/zero >\"$HOME/fill\" 2>/dev/null\n\
             n=0; while (: >\"$HOME/f$n\") 2>/dev/null; do n=$((n+1)); done\nexit 0\n"
        ),
    );
    case.scratch.write("fatebooks/b/heal.sh", format!("#!/bin/sh\nrm -f '{broken}'\n"));
    case.book("timeout: 3s, deadman: 'off'", "");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
    assert!(case.scratch.join("broken").exists(), "it was healed after all");
    // Once there is room, it is brought anew.
    for entry in fs::read_dir(&home).expect("a folder").flatten() {
        if entry.file_name().to_string_lossy().starts_with('f') {
            fs::remove_file(entry.path()).expect("a file");
        }
    }
    let ran = case.pisaura(&["revert"]);
    assert_eq!(ran.stdout, "1 reverted\n", "{}", ran.stderr);
    assert!(!case.scratch.join("broken").exists());
    drop(mount);
}

/// Whether a file system can be made here that can be frozen.
fn can_freeze() -> bool {
    let free = Command::new("losetup").arg("-f").stdout(Stdio::null()).stderr(Stdio::null()).status();
    is_root() && free.is_ok_and(|status| status.success())
}

/// A file system that hangs when it is written to, as one over a network does, until it is thawed.
struct Frozen(Mount);

impl Frozen {
    fn new(image: &str, home: &str) -> Self {
        let run = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().expect("it runs");
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        };
        fs::File::create(image).and_then(|file| file.set_len(16 << 20)).expect("an image");
        run("mkfs.ext4", &["-q", image]);
        run("mount", &["-o", "loop", image, home]);
        Self(Mount(home.to_owned()))
    }

    fn turn(&self, way: &str) {
        let status = Command::new("fsfreeze").args([way, &self.0.0]).status();
        assert!(status.expect("fsfreeze runs").success(), "{way}");
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").args(["-u", &self.0.0]).stderr(Stdio::null()).status();
    }
}

/// While the home does not answer, the switch reverts without it, and cannot end an inducer that it cannot know. That does not count.
fn frozen() {
    let case = Case::new("");
    let home = case.sshd.home().display().to_string();
    let file_system = Frozen::new(&case.path("image"), &home);
    let broken = case.path("broken");
    case.scratch.write(
        "fatebooks/b/break.sh",
        format!("#!/bin/sh\nexec env -i HOME=\"$HOME\" PATH=\"$PATH\" sh -c ': >\"$HOME/at\"; while :; do : >\"{broken}\"; sleep 0.05; done'\n"),
    );
    case.scratch
        .write("fatebooks/b/heal.sh", format!("#!/bin/sh\nrm -f '{broken}'\n: >>'{broken}.reverted'\n"));
    case.book("timeout: 3s, deadman: 10s", "");
    case.kill_in_the_inducer();
    let (inducer, folder) = (number_in(&case, "inducing"), case.case_folder());
    file_system.turn("-f");
    let reverted = case.scratch.join("broken.reverted");
    wait_for("a try at the reverter", || reverted.exists());
    assert!(lives(inducer), "nobody could know it");
    file_system.turn("-u");
    wait_for("that the host says healed", || {
        let healed = fs::read_to_string(folder.join("healed")).unwrap_or_default();
        healed.starts_with(|c: char| c.is_ascii_digit())
    });
    assert!(!lives(inducer), "it would break the host again");
    assert!(!case.scratch.join("broken").exists());
    assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n");
    wait_for("that nothing runs", || case.sshd.processes().is_empty());
}
