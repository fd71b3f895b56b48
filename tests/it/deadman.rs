//! The dead man's switch on real hosts: whatever dies, the host is healed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::common::{Scratch, Sshd, harness, is_root, needing, test, wait_for};

pub fn tests() -> Vec<Trial> {
    vec![
        test("deadman::heals_when_the_harness_is_killed", harness_killed),
        test("deadman::heals_when_the_host_is_cut_off", host_cut_off),
        test("deadman::never_fires_after_a_revert", never_after_a_revert),
        test("deadman::lets_a_reverter_at_work_finish", lets_finish),
        test("deadman::survives_what_ends_the_inducer", survives_the_inducer),
        test("deadman::works_without_setsid", without_setsid),
        test("deadman::can_be_done_without", off),
        needing(
            "deadman::heals_a_full_disk",
            is_root(),
            "needs to be root, to make a small file system",
            full_disk,
        ),
    ]
}

/// A case whose second healthcheck does not end by itself, for as long as it is wanted.
fn setup(keys: &str, config: &str) -> (Scratch, Sshd) {
    let (scratch, sshd) = (Scratch::new(), Sshd::with(config));
    for name in ["break.sh", "heal.sh"] {
        scratch.write(&format!("fatebooks/b/{name}"), format!("#!/bin/sh\necho {name} $1 >>\"$HOME/log\"\n"));
    }
    let stop = scratch.join("stop").display().to_string();
    scratch.write(
        "fatebooks/b/check.sh",
        format!("#!/bin/sh\n[ $1 != --step=2 ] || while [ -e '{stop}' ]; do sleep 0.05; done\n"),
    );
    let failure = format!(
        "  - {{name: f, inducer: [break.sh], reverter: [heal.sh, 'a b'], healthcheck: [check.sh], {keys}}}"
    );
    scratch.write("fatebooks/b/fatebook.yaml", sshd.book("", &failure));
    (scratch, sshd)
}

fn start(scratch: &Scratch) -> Child {
    scratch.command(&harness()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs")
}

fn watchers(sshd: &Sshd) -> usize {
    let is_watcher = |process: &u32| {
        let list = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&list).contains("watch")
    };
    sshd.processes().iter().filter(|process| is_watcher(process)).count()
}

fn harness_killed() {
    let (scratch, sshd) = setup("timeout: 2s, deadman: 6s", "");
    scratch.write("stop", "");
    let mut run = start(&scratch);
    wait_for("the inducer", || sshd.read("log").contains("break.sh"));
    let broken = Instant::now();
    wait_for("the watcher", || watchers(&sshd) == 1);
    run.kill().expect("a kill");
    run.wait().expect("an end");
    wait_for("the host heals", || sshd.read("log") == "break.sh\nheal.sh a b\n");
    assert!(broken.elapsed() > Duration::from_secs(2), "not before its deadline");
    wait_for("the watcher ends", || watchers(&sshd) == 0);
    fs::remove_file(scratch.join("stop")).expect("a file");
}

fn host_cut_off() {
    let (scratch, sshd) = setup("timeout: 2s, deadman: 6s", "");
    let pid = sshd.pid().to_string();
    scratch
        .write("fatebooks/b/heal.sh", format!("#!/bin/sh\necho heal.sh >>\"$HOME/log\"\nkill -CONT {pid}\n"));
    scratch.write("stop", "");
    let run = start(&scratch);
    wait_for("the inducer", || sshd.read("log").contains("break.sh"));
    // Nothing answers there any more, and what was connected is gone, until the reverter lets it again.
    let children = Command::new("pgrep").args(["-P", &pid]).output().expect("pgrep runs");
    assert!(Command::new("kill").args(["-STOP", &pid]).status().expect("kill runs").success());
    for child in String::from_utf8_lossy(&children.stdout).lines() {
        let _ = Command::new("kill").args(["-KILL", child]).status();
    }
    fs::remove_file(scratch.join("stop")).expect("a file");
    let output = run.wait_with_output().expect("an end");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert_eq!(sshd.read("log"), "break.sh\nheal.sh\n", "healed once");
    // A case that was healed so is told so.
    let xml = scratch.read("target/pisaura/junit.xml");
    assert!(xml.contains("ok, the host had healed by its dead man's switch, tried "), "{xml}");
    assert!(!sshd.home().join(".pisaura").exists(), "nothing is left there");
}

fn never_after_a_revert() {
    let (scratch, sshd) = setup("timeout: 5s, deadman: 20s", "");
    let ran = scratch.harness(&[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    assert_eq!(watchers(&sshd), 0);
    assert!(!sshd.home().join(".pisaura").exists());
    assert_eq!(sshd.read("log"), "break.sh\nheal.sh a b\n");
}

fn lets_finish() {
    // The reverter is begun in time, and takes longer than the deadline: the watcher does not begin another.
    let (scratch, sshd) = setup("timeout: 10s, deadman: 40s", "");
    // The watcher's time is up when a file says so.
    let up = sshd.home().join("up").display().to_string();
    restart_with_path(
        &sshd,
        &[(
            "sleep",
            &format!(
                "#!/bin/sh\n[ \"$1\" = 41 ] || exec /bin/sleep \"$@\"\nuntil [ -e '{up}' ]; do /bin/sleep 0.05; done\n"
            ),
        )],
    );
    let slow = "#!/bin/sh\necho heal begins >>\"$HOME/log\"; touch \"$HOME/slow\"; until [ -e \"$HOME/go\" ]; do sleep 0.05; done; echo heal ends >>\"$HOME/log\"\n";
    scratch.write("fatebooks/b/heal.sh", slow);
    let run = start(&scratch);
    wait_for("the reverter", || sshd.home().join("slow").exists());
    fs::write(&up, "").expect("a file");
    let waits = |process: &u32| {
        fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default().ends_with(b"sleep\x001\x00")
    };
    wait_for("the watcher waits for the reverter", || sshd.processes().iter().any(waits));
    fs::write(sshd.home().join("go"), "").expect("a file");
    assert_eq!(run.wait_with_output().expect("an end").status.code(), Some(0));
    wait_for("the watcher ends", || watchers(&sshd) == 0);
    assert_eq!(sshd.read("log"), "break.sh\nheal begins\nheal ends\n");
}

fn survives_the_inducer() {
    // The inducer hangs, and its whole group of processes is ended with it.
    let (scratch, sshd) = setup("timeout: 500ms, deadman: 20s", "");
    scratch.write("fatebooks/b/break.sh", "#!/bin/sh\necho break.sh >>\"$HOME/log\"; sleep 300\n");
    let beside = "#!/bin/sh\necho heal.sh >>\"$HOME/log\"\nread -r watcher _ <\"$(echo \"$HOME\"/.pisaura/*/.case-*/watcher)\"; kill -0 $watcher && echo watched >>\"$HOME/log\"\n";
    scratch.write("fatebooks/b/heal.sh", beside);
    let ran = scratch.harness(&[]);
    assert_eq!(ran.code, Some(101), "{}", ran.stdout);
    assert_eq!(sshd.read("log"), "break.sh\nheal.sh\nwatched\n");
}

/// Starts the host's server anew, with these scripts in front of its programs.
fn restart_with_path(sshd: &Sshd, scripts: &[(&str, &str)]) {
    let folder = sshd.join("bin");
    fs::create_dir(&folder).expect("a folder");
    for (name, text) in scripts {
        fs::write(folder.join(name), text).expect("a script");
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    restart_with(sshd, &format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", folder.display()));
}

/// Starts the host's server anew, with this `PATH`.
pub fn restart_with(sshd: &Sshd, path: &str) {
    let text = fs::read_to_string(sshd.join("config")).expect("a configuration");
    let config = format!("SetEnv PATH={path} HOME=");
    fs::write(sshd.join("config"), text.replace("SetEnv HOME=", &config)).expect("a configuration");
    assert!(
        Command::new("kill").args(["-HUP", &sshd.pid().to_string()]).status().expect("kill runs").success()
    );
    wait_for("the server with its new settings", || {
        fs::read_to_string(sshd.join("log")).unwrap_or_default().matches("Server listening").count() == 2
    });
}

fn without_setsid() {
    // A host that has what its shell needs, and no more.
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    for name in [
        "cat", "chmod", "grep", "id", "ls", "mkdir", "mv", "readlink", "rm", "rmdir", "sed", "sleep",
        "touch", "tr", "wc",
    ] {
        let path = ["/bin", "/usr/bin"].map(|folder| std::path::Path::new(folder).join(name));
        let path = path.into_iter().find(|path| path.exists()).expect("a program");
        std::os::unix::fs::symlink(path, folder.path().join(name)).expect("a link");
    }
    let (scratch, sshd) = setup("timeout: 500ms, deadman: 3s", "");
    restart_with(&sshd, &folder.path().display().to_string());
    scratch.write(
        "fatebooks/b/break.sh",
        "#!/bin/sh\necho break.sh >>\"$HOME/log\"; command -v setsid >>\"$HOME/log\"; sleep 300\n",
    );
    scratch
        .write("fatebooks/b/heal.sh", "#!/bin/sh\necho heal.sh >>\"$HOME/log\"; [ -e \"$HOME/may-heal\" ]\n");
    let mut run = start(&scratch);
    wait_for("the reverter", || sshd.read("log").contains("heal.sh"));
    run.kill().expect("a kill");
    run.wait().expect("an end");
    assert_eq!(watchers(&sshd), 1, "{}", sshd.read("log"));
    let tried = sshd.read("log");
    assert!(tried.starts_with("break.sh\nheal.sh\n"), "no setsid there: {tried}");
    fs::write(sshd.home().join("may-heal"), "").expect("a file");
    wait_for("the host heals", || sshd.read("log").len() > tried.len());
    wait_for("the watcher ends", || watchers(&sshd) == 0);
}

fn off() {
    let (scratch, sshd) = setup("timeout: 20s, deadman: 'off'", "");
    scratch.write("stop", "");
    let run = start(&scratch);
    wait_for("the inducer", || sshd.read("log").contains("break.sh"));
    wait_for("the second healthcheck", || scratch.read("target/pisaura/junit.xml").contains("may be dirty"));
    assert_eq!(watchers(&sshd), 0);
    fs::remove_file(scratch.join("stop")).expect("a file");
    assert_eq!(run.wait_with_output().expect("an end").status.code(), Some(0));
    assert_eq!(sshd.read("log"), "break.sh\nheal.sh a b\n");
}

/// A small file system of its own; it goes with the test.
struct Mount(String);

impl Mount {
    fn new(folder: String) -> Self {
        let arguments = ["-t", "tmpfs", "-o", "size=256k,nr_inodes=64", "none", &folder];
        assert!(Command::new("mount").args(arguments).status().expect("mount runs").success());
        Self(folder)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", &self.0]).status();
    }
}

/// A failure that leaves not a byte of room where our folder is: it is healed by the reverter, and by the switch.
fn full_disk() {
    for killed in [false, true] {
        let (scratch, sshd) = setup("timeout: 2s, deadman: 6s", "");
        let _mount = Mount::new(sshd.home().display().to_string());
        let (full, out) =
            (scratch.join("full").display().to_string(), scratch.join("healed").display().to_string());
        scratch.write(
            "fatebooks/b/break.sh",
            format!(
                "#!/bin/sh\ncat /dev/zero >\"$HOME/fill\" 2>/dev/null\n\
                 n=0; while (: >\"$HOME/f$n\") 2>/dev/null; do n=$((n+1)); done\ntouch '{full}'\n"
            ),
        );
        scratch
            .write("fatebooks/b/heal.sh", format!("#!/bin/sh\nrm -f \"$HOME\"/f*; echo healed >>'{out}'\n"));
        if killed {
            scratch.write("stop", "");
        }
        let mut run = start(&scratch);
        if killed {
            wait_for("a full disk", || scratch.join("full").exists());
            run.kill().expect("a kill");
        }
        let status = run.wait().expect("an end");
        assert!(killed || status.success(), "{}", scratch.read("target/pisaura/junit.xml"));
        wait_for("the host heals", || scratch.read("healed") == "healed\n");
        wait_for("the watcher ends", || watchers(&sshd) == 0);
        assert_eq!(scratch.read("healed"), "healed\n", "once");
        let _ = fs::remove_file(scratch.join("stop"));
    }
}
