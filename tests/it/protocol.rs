//! The protocol on a host, against real SSH servers: nobody says healed of a machine that is not, and nothing passes that was not
//! tested.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::common::{Ran, Scratch, Sshd, is_root, needing, program, test, wait_for, wait_for_none};
use crate::relay::Relay;

pub fn tests() -> Vec<Trial> {
    vec![
        test("protocol::another_machine_answers_while_the_host_is_broken", another_machine),
        test("protocol::another_machine_answers_the_revert", another_machine_reverts),
        needing(
            "protocol::another_machine_with_the_same_key",
            is_root(),
            "needs to be root, to mount",
            another_machine_same_key,
        ),
        test("protocol::a_host_key_that_changes_within_a_case", another_key),
        test("protocol::a_deleted_workspace_loses_nothing", deleted_workspace),
        test("protocol::a_host_remembers_by_itself", host_remembers),
        test("protocol::a_journal_that_is_deleted_under_the_run", deleted_journal),
        test("protocol::a_journal_that_is_damaged", damaged_journal),
        test("protocol::a_run_that_stood_still_has_tested_nothing", stood_still),
        test("protocol::a_healthcheck_that_stood_still_is_out_of_time", healthcheck_stood_still),
        test("protocol::healed_by_hand_too_early", healed_by_hand),
        test("protocol::one_reverter_at_a_time", one_reverter),
        test("protocol::a_switch_whose_reverter_hangs", hanging_switch),
        test("protocol::a_switch_tries_again", switch_tries_again),
        test("protocol::what_the_inducer_leaves_running_is_ended", leftovers),
        test("protocol::what_a_reverter_leaves_running_does_not_heal_later", late_reverter),
        test("protocol::a_number_from_the_past_is_nobody", stale_numbers),
        test("protocol::a_process_that_nobody_has_waited_for_is_dead", not_waited_for),
        test("protocol::a_machine_that_was_started_anew", rebooted),
        test("protocol::a_shell_that_dies_while_it_arms", dies_arming),
        test("protocol::a_folder_of_another_machine", foreign_folder),
        test("protocol::two_names_of_one_machine", two_names),
        test("protocol::a_login_that_runs_something_else", other_login),
        test("protocol::a_login_that_reads_what_is_ours", greedy_login),
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
        test("protocol::identities", identities),
        test("protocol::several_who_make_the_root_at_once", one_root),
        test("protocol::a_text_that_does_not_arrive_breaks_nothing", text_is_cut),
        test("protocol::who_is_refused_signals_nobody_else", refused),
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
        test("protocol::text_arrives_as_it_is_written", text_as_it_is),
        test("protocol::shell_texts_for_every_shell", shell_texts),
        needing("protocol::other_shells", is_root(), "needs to be root, to mount", other_shells),
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

/// A book with a failure that makes a file `broken` and says so in `log`; its healthcheck waits where `stop` says, until there is
/// a file `go`.
pub struct Case {
    pub scratch: Scratch,
    pub sshd: Sshd,
}

pub const BREAK: &str = "#!/bin/sh\necho break >>\"$HOME/log\"\n: >\"$HOME/broken\"\n";
pub const HEAL: &str = "#!/bin/sh\necho heal >>\"$HOME/log\"\nrm -f \"$HOME/broken\"\n";

impl Case {
    pub fn new(config: &str) -> Self {
        Self::on(Sshd::with(config))
    }

    /// The same on this server.
    pub fn on(sshd: Sshd) -> Self {
        let scratch = Scratch::new();
        scratch.write("fatebooks/b/break.sh", BREAK);
        scratch.write("fatebooks/b/heal.sh", HEAL);
        let case = Self { scratch, sshd };
        case.waits_at("never");
        case.book("", "");
        case
    }

    /// The healthcheck waits in this call of it (`--step=2`).
    pub fn waits_at(&self, step: &str) -> &Self {
        let (go, at) = (self.path("go"), self.path("at"));
        self.scratch.write(
            "fatebooks/b/check.sh",
            format!("#!/bin/sh\nif [ \"$1\" = '{step}' ] && [ ! -e '{go}' ]; then : >'{at}'; until [ -e '{go}' ]; do sleep 0.05; done; fi\nexit 0\n"),
        );
        self
    }

    pub fn path(&self, name: &str) -> String {
        self.scratch.join(name).display().to_string()
    }

    /// With these keys of its failure, and more failures.
    pub fn book(&self, keys: &str, more: &str) -> &Self {
        let given = |key: &str, value: &str| {
            if keys.contains(&format!("{key}:")) { String::new() } else { format!("{key}: {value}, ") }
        };
        let failure = format!(
            "  - {{name: f, {}{}{}{}{keys}}}\n{more}",
            given("inducer", "[break.sh]"),
            given("reverter", "[heal.sh]"),
            given("healthcheck", "[check.sh]"),
            given("timeout", "10s"),
        );
        self.scratch.write("fatebooks/b/fatebook.yaml", self.sshd.book("", &failure));
        self
    }

    /// The book's host is reached through this port.
    pub fn through(&self, port: u16, known: &str) -> &Self {
        let path = "fatebooks/b/fatebook.yaml";
        let text = self
            .scratch
            .read(path)
            .replace(&format!("127.0.0.1:{}", self.sshd.port), &format!("127.0.0.1:{port}"));
        self.scratch.write(path, text);
        fs::write(self.sshd.join("known_hosts"), known).expect("known hosts");
        self
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.scratch.command(&program());
        command.args(arguments);
        command
    }

    pub fn pisaura(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments), &self.scratch)
    }

    /// A run that has come to where its healthcheck waits.
    pub fn begin(&self) -> Child {
        self.begin_until("the healthcheck", &self.scratch.join("at"))
    }

    /// A run in which something has made this file.
    fn begin_until(&self, what: &str, file: &Path) -> Child {
        let mut command = self.command(&["run"]);
        let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        wait_for(what, || file.exists() || run.try_wait().expect("a process").is_some());
        if !file.exists() {
            let ran = self.end(run);
            panic!("it ended before {what}: {}{}", ran.stdout, ran.stderr);
        }
        run
    }

    /// The same, killed there.
    pub fn begin_and_kill(&self) {
        let mut run = self.begin();
        run.kill().expect("a signal");
        run.wait().expect("an end");
        self.go();
    }

    /// A run that was killed once its inducer had made a file `at` on the host.
    pub fn kill_in_the_inducer(&self) {
        let mut run = self.begin_until("the inducer's stop", &self.sshd.home().join("at"));
        run.kill().expect("a signal");
        run.wait().expect("an end");
    }

    pub fn go(&self) {
        self.scratch.write("go", "");
    }

    pub fn end(&self, run: Child) -> Ran {
        Ran::from_output(&run.wait_with_output().expect("an end"), &self.scratch)
    }

    pub fn log(&self) -> String {
        self.sshd.read("log")
    }

    fn log_or_none(&self) -> String {
        fs::read_to_string(self.sshd.home().join("log")).unwrap_or_default()
    }

    pub fn is_broken(&self) -> bool {
        self.sshd.home().join("broken").exists()
    }

    /// The folder of the one case on the host.
    pub fn case_folder(&self) -> PathBuf {
        let entries = fs::read_dir(self.sshd.our_folder()).expect("a folder").flatten();
        let is_case = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(".case-");
        entries.into_iter().find(is_case).expect("a case").path()
    }

    #[track_caller]
    pub fn check_left_clean(&self) {
        let root = self.sshd.home().join(".pisaura");
        wait_for_none("there", || if root.exists() { format!("{:?}", walk(&root)) } else { String::new() });
        wait_for("that nothing runs", || self.sshd.processes().is_empty());
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| {
            [vec![entry.path()], if entry.path().is_dir() { walk(&entry.path()) } else { Vec::new() }]
                .concat()
        })
        .collect()
}

/// The host keys of these servers, under the name of a relay.
pub fn known(port: u16, servers: &[&Sshd]) -> String {
    let keys = |sshd: &&Sshd| {
        let text = fs::read_to_string(sshd.join("host_ed25519.pub")).expect("a key");
        format!("[127.0.0.1]:{port} {text}")
    };
    servers.iter().map(keys).collect()
}

/// A second machine, that the first one's key opens.
pub fn another(case: &Case) -> Sshd {
    let other = Sshd::start();
    fs::copy(case.sshd.join("identity.pub"), other.join("authorized_keys")).expect("a key");
    other
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

fn another_machine() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 5s, grace: 6s, deadman: 'off'", "");
    case.scratch.write(
        "fatebooks/b/check.sh",
        format!(
            "#!/bin/sh\n[ $1 != --step=2 ] || {{ : >'{}'; [ -e '{}' ]; }}\n",
            case.path("at"),
            case.path("go")
        ),
    );
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
    case.scratch.write(
        "fatebooks/b/check.sh",
        format!(
            "#!/bin/sh\n[ $1 != --step=2 ] || {{ : >'{}'; [ -e '{}' ]; }}\n",
            case.path("at"),
            case.path("go")
        ),
    );
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
    case.scratch.write(
        "fatebooks/b/check.sh",
        format!(
            "#!/bin/sh\n[ $1 != --step=2 ] || {{ : >'{}'; [ -e '{}' ]; }}\n",
            case.path("at"),
            case.path("go")
        ),
    );
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

fn stop(process: u32, signal: &str) {
    assert!(
        Command::new("kill")
            .args([&format!("-{signal}"), &process.to_string()])
            .status()
            .expect("kill runs")
            .success()
    );
}

/// Ends a watcher with its sleep: it leads a group of its own.
fn end_group(leader: &str) {
    assert!(
        Command::new("kill")
            .args(["-KILL", "--", &format!("-{leader}")])
            .status()
            .expect("kill runs")
            .success()
    );
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

fn edit_identity(case: &Case, edit: impl Fn(Vec<String>) -> Vec<String>) {
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
        case.book("timeout: 2s, deadman: 12s", "");
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

/// What own.sh and common.sh answer to this text.
fn common(text: &str) -> String {
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
