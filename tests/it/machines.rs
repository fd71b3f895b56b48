//! Which machine it is: the one that was broken, and no other, whatever answers at its address; and whose a process is there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use libtest_mimic::Trial;

use crate::case::{Case, another, end_group, known, stop, walk};
use crate::common::{Sshd, is_root, needing, test, wait_for};
use crate::relay::Relay;
use crate::texts::common;

pub fn tests() -> Vec<Trial> {
    vec![
        test("machines::another_machine_answers_while_the_host_is_broken", another_machine),
        test("machines::another_machine_answers_the_revert", another_machine_reverts),
        needing(
            "machines::another_machine_with_the_same_key",
            is_root(),
            "needs to be root, to mount",
            another_machine_same_key,
        ),
        test("machines::a_host_key_that_changes_within_a_case", another_key),
        test("machines::a_number_from_the_past_is_nobody", stale_numbers),
        test("machines::a_process_that_nobody_has_waited_for_is_dead", not_waited_for),
        test("machines::a_machine_that_was_started_anew", rebooted),
        test("machines::a_shell_that_dies_while_it_arms", dies_arming),
        test("machines::a_folder_of_another_machine", foreign_folder),
        test("machines::two_names_of_one_machine", two_names),
        test("machines::identities", identities),
    ]
}

/// A machine that was made from the same image: the same keys, and a home of its own at the same path. It ends with the test.
struct Twin {
    child: Child,
    port: u16,
    home: tempfile::TempDir,
}

impl Twin {
    fn of(sshd: &Sshd) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let port = crate::common::free_port();
        let config = fs::read_to_string(sshd.join("config")).expect("a configuration");
        let text = config.replace(&format!("Port {}", sshd.port), &format!("Port {port}"));
        fs::write(home.path().join("config"), text).expect("a configuration");
        fs::create_dir(home.path().join("home")).expect("a folder");
        let script = format!(
            "mount --bind '{0}/home' '{1}' && exec /usr/sbin/sshd -D -e -f '{0}/config'",
            home.path().display(),
            sshd.home().display()
        );
        let child = Command::new("unshare")
            .args(["-m", "sh", "-c", &script])
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        wait_for("the twin", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { child, port, home }
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The service is down during the failure, until the test lets it be well.
fn is_down_until_go(case: &Case) {
    let (at, go) = (case.path("at"), case.path("go"));
    let script = format!("#!/bin/sh\n[ $1 != --step=2 ] || {{ : >'{at}'; [ -e '{go}' ]; }}\n");
    case.scratch.write("fatebooks/b/check.sh", script);
}

fn another_machine() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 5s, grace: 6s, deadman: 'off'", "");
    is_down_until_go(&case);
    let other = another(&case);
    let relay = Relay::to(case.sshd.port);
    case.through(relay.port, &known(relay.port, &[&case.sshd, &other]));
    let run = case.begin();
    relay.turn_to(other.port);
    case.go();
    let ran = case.end(run);
    assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("a different machine now answers at 127.0.0.1:PORT"), "{}", ran.stdout);
    assert!(case.is_broken() && other.read("log").is_empty(), "nothing of ours is run on another machine");
    assert!(!other.home().join(".pisaura").exists());
    // The machine that was broken is back.
    relay.turn_to(case.sshd.port);
    assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n");
    assert!(!case.is_broken());
    case.check_left_clean();
}

fn another_machine_reverts() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 5s, grace: 30s, deadman: 'off'", "");
    case.scratch.write(
        "fatebooks/b/check.sh",
        format!("#!/bin/sh\n[ $1 != --step=2 ] || {{ : >'{}'; exit 1; }}\n", case.path("at")),
    );
    let other = another(&case);
    let relay = Relay::to(case.sshd.port);
    case.through(relay.port, &known(relay.port, &[&case.sshd, &other]));
    case.begin_and_kill();
    relay.turn_to(other.port);
    let ran = case.pisaura(&["revert"]);
    assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("`pisaura revert --forget` drops it"), "{}", ran.stderr);
    assert!(case.is_broken() && other.read("log").is_empty() && !other.home().join(".pisaura").exists());
    assert_eq!(case.pisaura(&["revert", "--list"]).code, Some(4), "it is not forgotten");
    relay.turn_to(case.sshd.port);
    assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n");
    assert!(!case.is_broken());
}

/// Two machines made from one image, or a floating address: the key is the same.
fn another_machine_same_key() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 5s, grace: 6s, deadman: 'off'", "");
    is_down_until_go(&case);
    let twin = Twin::of(&case.sshd);
    let relay = Relay::to(case.sshd.port);
    case.through(relay.port, &known(relay.port, &[&case.sshd]));
    let run = case.begin();
    relay.turn_to(twin.port);
    case.go();
    let ran = case.end(run);
    assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("is not the one that was broken"), "{}", ran.stdout);
    assert!(case.is_broken() && walk(&twin.home.path().join("home")).is_empty());
    relay.turn_to(case.sshd.port);
    assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n");
    assert!(!case.is_broken());
}

/// What is not checked is still remembered for as long as a run lasts.
fn another_key() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 5s, grace: 6s, deadman: 'off'", "");
    is_down_until_go(&case);
    let text =
        case.scratch.read("fatebooks/b/fatebook.yaml").replace("ssh: {", "ssh: {host_key_check: 'off', ");
    case.scratch.write("fatebooks/b/fatebook.yaml", text);
    let other = another(&case);
    let relay = Relay::to(case.sshd.port);
    case.through(relay.port, "");
    let run = case.begin();
    relay.turn_to(other.port);
    case.go();
    let ran = case.end(run);
    assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
    assert!(other.read("log").is_empty());
    let log = fs::read_to_string(other.join("log")).unwrap_or_default();
    assert!(!log.contains("Accepted"), "nobody logs in there: {log}");
    relay.turn_to(case.sshd.port);
    assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n");
}

/// Numbers of processes that were written down before the machine was started anew, and are others' by now.
fn stale_numbers() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 30s", "").begin_and_kill();
    let folder = case.case_folder();
    let watcher = fs::read_to_string(folder.join("watcher")).expect("a file");
    end_group(watcher.split(' ').next().expect("a number"));
    let mut innocent = Command::new("sleep").arg("300").spawn().expect("it runs");
    for name in ["watcher", "inducing", "reverting"] {
        fs::write(folder.join(name), format!("{:<63}\n", format!("{} 1 1", innocent.id()))).expect("a file");
    }
    let ran = case.pisaura(&["revert"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "1 reverted\n"), "{}", ran.stderr);
    assert!(innocent.try_wait().expect("a child").is_none(), "nobody else's process is ended");
    let _ = innocent.kill();
    let _ = innocent.wait();
    case.check_left_clean();
}

/// As in a container whose first process waits for nobody.
fn not_waited_for() {
    let mut child = Command::new("sleep").arg("60").spawn().expect("a process");
    let told = || {
        common(&format!(
            "_pisaura_start {0}; a=$_pisaura_r; _pisaura_session {0}; echo \"$a $_pisaura_r\"",
            child.id()
        ))
    };
    assert!(!told().contains('-'), "{}", told());
    stop(child.id(), "KILL");
    wait_for("its end", || told() == "- -");
    child.wait().expect("an end");
}

pub fn edit_identity(case: &Case, edit: impl Fn(Vec<String>) -> Vec<String>) {
    let path = case.case_folder().join("facts");
    let text = fs::read_to_string(&path).expect("a file");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[1] = edit(lines[1].split(' ').map(str::to_owned).collect()).join(" ");
    fs::write(path, lines.join("\n") + "\n").expect("a file");
}

/// Whatever ends the shell that arms, at each of its first steps: nothing was broken, so nobody is told of a broken host.
fn dies_arming() {
    // The watcher is what `setsid` becomes, and is not waited for.
    for (program, arguments, waits) in
        [("mkdir", "*/.case-*/armed", ""), ("grep", "*", ""), ("setsid", "*", "&")]
    {
        let programs = tempfile::Builder::new().prefix("pisaura-bin-").tempdir().expect("a folder");
        let (wrapper, done) = (programs.path().join(program), programs.path().join("done"));
        fs::write(
            &wrapper,
            format!(
                "#!/bin/sh\ncase \"$*\" in {arguments}) /usr/bin/{program} \"$@\" </dev/null {waits}\nif [ ! -e '{0}' ]; then : >'{0}'; kill -KILL $PPID; fi; exit 0;; esac\nexec /usr/bin/{program} \"$@\"\n",
                done.display()
            ),
        )
        .expect("a file");
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("a mode");
        let case = Case::new(&format!("SetEnv PATH={}:/usr/bin:/bin", programs.path().display()));
        case.book("timeout: 4s, deadman: 20s", "");
        let ran = case.pisaura(&["run"]);
        assert!(done.exists(), "{program} was not asked for: {}", ran.stdout);
        assert!(!case.is_broken(), "{program}");
        assert!(!ran.stderr.contains("LEFT UNREVERTED"), "{program}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(case.pisaura(&["revert", "--list"]).stdout, "no host is dirty\n", "{program}");
    }
}

fn rebooted() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 30s", "").begin_and_kill();
    let watcher = fs::read_to_string(case.case_folder().join("watcher")).expect("a file");
    end_group(watcher.split(' ').next().expect("a number"));
    edit_identity(&case, |mut words| {
        words[1] = "another-boot".to_owned();
        words
    });
    // The home is the same, so the mark is there: the reverter runs once more.
    let ran = case.pisaura(&["revert"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "1 reverted\n"), "{}", ran.stderr);
    assert_eq!(case.log(), "break\nheal\n");
}

/// One home folder for several machines: each keeps off what is another's.
fn foreign_folder() {
    for word in [0, 2, 3] {
        let case = Case::new("");
        case.waits_at("--step=2").book("timeout: 5s, grace: 5s, deadman: 'off'", "");
        case.scratch.write(
            "fatebooks/b/check.sh",
            format!("#!/bin/sh\n[ $1 != --step=2 ] || {{ : >'{}'; exit 1; }}\n", case.path("at")),
        );
        case.begin_and_kill();
        edit_identity(&case, |mut words| {
            words[word] = "another".to_owned();
            words
        });
        let ran = case.pisaura(&["revert"]);
        assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains("is not the one that was broken"), "{}", ran.stderr);
        assert!(case.is_broken() && case.log() == "break\n", "{}", case.log());
    }
}

fn two_names() {
    let case = Case::new("");
    let more = "  - {name: g, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh]}\n";
    case.book("", more);
    let known = fs::read_to_string(case.sshd.join("known_hosts")).expect("keys");
    fs::write(case.sshd.join("known_hosts"), known.replace("[127.0.0.1]:", "[*]:")).expect("keys");
    case.scratch.write("fatebooks/b/check.sh", "#!/bin/sh\n[ $1 != --step=2 ] || sleep 0.4\n");
    case.scratch.write(
        "fatebooks/b/break.sh",
        "#!/bin/sh\n[ ! -e \"$HOME/broken\" ] || echo overlaps >>\"$HOME/log\"\n: >\"$HOME/broken\"\n",
    );
    for name in ["check.sh", "break.sh", "heal.sh"] {
        case.scratch.write(&format!("fatebooks/c/{name}"), case.scratch.read(&format!("fatebooks/b/{name}")));
    }
    let other = case.scratch.read("fatebooks/b/fatebook.yaml").replace("127.0.0.1:", "localhost:");
    case.scratch.write("fatebooks/c/fatebook.yaml", other.replace("service: s", "service: t"));
    let ran = case.pisaura(&["run", "--test-threads", "2"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), "heal\n".repeat(4));
    case.check_left_clean();
}

fn identities() {
    let check = |one: &str, other: &str, said: &str| {
        let told = common(&format!("_pisaura_compare '{one}' '{other}'; echo $_pisaura_r"));
        assert_eq!(told, said, "{one} / {other}");
    };
    let here = "m b 1 2 h";
    check(here, here, "same");
    check(here, "- - - - -", "same");
    check("", here, "same");
    check(here, "n b 1 2 h", "other");
    check(here, "m b 3 2 h", "other");
    check(here, "m b 1 4 h", "other");
    // A failure may change what a machine is called.
    check(here, "m b 1 2 i", "same");
    check(here, "m c 1 9 h", "rebooted");
    check(here, "m c 7 9 h", "rebooted");
    // Machines of one image, and such as have no id.
    check(here, "m c 1 2 i", "other");
    check("- b 1 2 h", "- c 1 2 h", "other");
    check("m b 1 2 -", "m c 1 2 -", "other");
}
