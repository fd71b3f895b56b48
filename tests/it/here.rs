//! Failures that are made from the controller, as by an API: where the case runs, without SSH.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use libtest_mimic::Trial;

use crate::case::{stop, walk};
use crate::cluster::{Stage, can_run};
use crate::common::{Ran, Scratch, needing, program, test, wait_for, wait_for_none};

pub fn tests() -> Vec<Trial> {
    let (met, reason) = can_run();
    vec![
        test("here::broken_and_healed", broken_and_healed),
        test("here::what_is_asked_runs_here_too", asked),
        test("here::a_verdict", verdict),
        test("here::names_of_hosts", names),
        test("here::several_names_at_once", several),
        test("here::beside_hosts", beside_hosts),
        test("here::two_services_do_not_wait_for_each_other", two_services),
        test("here::the_switch_heals_when_the_run_is_killed", switch),
        test("here::a_later_run_heals", later_run),
        test("here::a_person_heals", by_hand),
        test("here::an_interrupt", interrupted),
        test("here::an_inducer_that_hangs", hangs),
        test("here::what_an_inducer_leaves_is_ended", leftover),
        test("here::a_flood", flood),
        test("here::several_steps", steps),
        test("here::allowed", allowed),
        test("here::shown", shown),
        test("here::a_pod_that_is_deleted", pod),
        needing("here::on_mesos", met, reason, on_mesos),
        needing("here::a_task_that_is_lost", met, reason, lost_task),
    ]
}

/// A book without hosts, whose scripts speak of themselves in the user's home.
struct Here {
    scratch: Scratch,
}

const BREAK: &str = "#!/bin/sh\necho \"break $*\" >>\"$HOME/log\"\n: >\"$HOME/broken\"\n";
const HEAL: &str = "#!/bin/sh\necho \"heal $*\" >>\"$HOME/log\"\nrm -f \"$HOME/broken\"\n";
const BOTH: &str = "break \nheal \n";

impl Here {
    fn new(keys: &str) -> Self {
        let here = Self { scratch: Scratch::new() };
        here.scratch.write("fatebooks/b/break.sh", BREAK);
        here.scratch.write("fatebooks/b/heal.sh", HEAL);
        let (go, at) = (here.path("go"), here.path("at"));
        here.scratch.write(
            "fatebooks/b/check.sh",
            format!(
                "#!/bin/sh\n[ $1 != --step=2 ] || [ ! -e '{go}.not' ] || {{ : >'{at}'; until [ -e '{go}' ]; do sleep 0.05; done; }}\n"
            ),
        );
        here.book("where: controller", keys);
        here
    }

    fn book(&self, top: &str, keys: &str) {
        let own = |key: &str, value: &str| match keys.contains(&format!("{key}:")) {
            true => String::new(),
            false => format!("{key}: {value}, "),
        };
        self.scratch.write(
            "fatebooks/b/fatebook.yaml",
            format!(
                "service: s\n{top}\nfailures:\n  - {{name: f, {}{}healthcheck: [check.sh], {}{keys}}}\n",
                own("inducer", "[break.sh]"),
                if keys.contains("revert:") { String::new() } else { own("reverter", "[heal.sh]") },
                own("timeout", "10s"),
            ),
        );
    }

    /// The healthcheck waits during the failure until it may go on.
    fn waits(&self) -> &Self {
        self.scratch.write("go.not", "");
        self
    }

    fn path(&self, name: &str) -> String {
        self.scratch.join(name).display().to_string()
    }

    fn home(&self) -> PathBuf {
        self.scratch.join("home")
    }

    fn log(&self) -> String {
        self.scratch.read("home/log")
    }

    fn is_broken(&self) -> bool {
        self.home().join("broken").exists()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.scratch.command(&program());
        command.args(arguments);
        command
    }

    fn pisaura(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments), &self.scratch)
    }

    /// A run that has come to this file.
    fn begin(&self, file: &str) -> Child {
        let mut command = self.command(&["run"]);
        let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        wait_for(file, || self.scratch.join(file).exists());
        run
    }

    fn killed(&self, file: &str) {
        let mut run = self.begin(file);
        run.kill().expect("a signal");
        run.wait().expect("an end");
        self.scratch.write("go", "");
    }

    fn end(&self, run: Child) -> Ran {
        Ran::from_output(&run.wait_with_output().expect("an end"), &self.scratch)
    }

    #[track_caller]
    fn check(&self, arguments: &[&str], code: i32, log: &str) -> Ran {
        let ran = self.pisaura(arguments);
        assert_eq!(ran.code, Some(code), "{}{}", ran.stdout, ran.stderr);
        assert_eq!(self.log(), log, "{}{}", ran.stdout, ran.stderr);
        assert!(!self.is_broken());
        self.check_left_clean();
        ran
    }

    #[track_caller]
    fn check_left_clean(&self) {
        let root = self.home().join(".pisaura");
        wait_for_none("there", || if root.exists() { format!("{:?}", walk(&root)) } else { String::new() });
    }
}

fn broken_and_healed() {
    let here = Here::new("");
    let ran = here.check(&["run"], 0, BOTH);
    assert_eq!(ran.line("b::f@controller"), "ok", "{}", ran.stdout);
    assert!(!ran.stderr.contains("is the machine that this run is on"), "{}", ran.stderr);
    here.check(&["revert"], 0, BOTH);
}

/// With the environment of the run, but for what is Pisaura's own in it.
fn asked() {
    let here = Here::new(
        "only_if: ['echo only $PISAURA_TARGETS >>$HOME/log'], verify: ['echo verify $TOKEN $PISAURA_STOP_FILE >>$HOME/log'], still: ['echo still >>$HOME/log']",
    );
    let ran = Ran::of(
        here.command(&["run"]).env("TOKEN", "from-here").env("PISAURA_STOP_FILE", here.path("stop")),
        &here.scratch,
    );
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(here.log(), "only controller\nonly controller\nbreak \nverify from-here\nstill\nheal \n");
    here.check_left_clean();
}

fn verdict() {
    let here = Here::new("");
    let broken = here.path("home/broken");
    here.scratch.write(
        "fatebooks/b/check.sh",
        format!("#!/bin/sh\n[ ! -e '{broken}' ] || {{ echo down >&2; exit 1; }}\n"),
    );
    let ran = here.check(&["run"], 1, BOTH);
    let told = "succumbed: unhealthy during the failure (exit status 1): down\n";
    assert!(ran.failure("b::f@controller").starts_with(told), "{}", ran.stdout);
}

fn names() {
    let here = Here::new("");
    here.book(
        "where: controller\nhosts: [root@n1:2222, n2]",
        "inducer: [break.sh, '${host}'], reverter: [heal.sh, '${host}']",
    );
    let ran = here.check(&["run"], 0, "break n1\nheal n1\nbreak n2\nheal n2\n");
    assert_eq!(ran.line("b::f@n1"), "ok", "{}", ran.stdout);
    assert_eq!(ran.line("b::f@n2"), "ok", "{}", ran.stdout);
}

fn several() {
    let here = Here::new("");
    here.book(
        "where: controller\nhosts: [n1, n2]",
        "on: all, inducer: [break.sh, '${host}'], reverter: [heal.sh, '${host}']",
    );
    let ran = here.pisaura(&["run"]);
    assert_eq!(ran.line("b::f@n1+n2"), "ok", "{}{}", ran.stdout, ran.stderr);
    let log = here.log();
    let mut lines: Vec<&str> = log.lines().collect();
    lines[..2].sort_unstable();
    lines[2..].sort_unstable();
    assert_eq!(lines, ["break n1", "break n2", "heal n1", "heal n2"]);
    here.check_left_clean();
}

/// A book whose failures are of both kinds.
fn beside_hosts() {
    let case = crate::case::Case::new("");
    let both = "  - {name: g, where: controller, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh]}\n";
    case.book("", both);
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.line("b::f@127.0.0.1:PORT"), "ok", "{}", ran.stdout);
    assert_eq!(ran.line("b::g@127.0.0.1"), "ok", "{}", ran.stdout);
    assert_eq!((case.log(), case.scratch.read("home/log")), ("break\nheal\n".into(), "break\nheal\n".into()));
    case.check_left_clean();
    assert!(!case.scratch.join("home/.pisaura").exists());
}

/// Each waits for the other during its failure, so one alone would never end.
fn two_services() {
    let here = Here::new("");
    for (own, other) in [("b", "c"), ("c", "b")] {
        let (mine, theirs) = (here.path(own), here.path(other));
        here.scratch.write(
            &format!("fatebooks/{own}/check.sh"),
            format!("#!/bin/sh\n[ $1 != --step=2 ] || {{ : >'{mine}'; until [ -e '{theirs}' ]; do sleep 0.05; done; }}\n"),
        );
    }
    for name in ["break.sh", "heal.sh"] {
        here.scratch.write(&format!("fatebooks/c/{name}"), here.scratch.read(&format!("fatebooks/b/{name}")));
    }
    let book = here.scratch.read("fatebooks/b/fatebook.yaml");
    here.scratch.write("fatebooks/c/fatebook.yaml", book.replace("service: s", "service: t"));
    let ran = here.pisaura(&["run", "--test-threads", "2"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    here.check_left_clean();
}

fn switch() {
    let here = Here::new("timeout: 2s, deadman: 6s");
    here.waits().killed("at");
    assert!(here.is_broken());
    wait_for("the switch", || here.log() == BOTH);
    here.check(&["revert"], 0, BOTH);
}

fn later_run() {
    let here = Here::new("timeout: 30s");
    here.waits().killed("at");
    let ran = here.pisaura(&["revert", "--list"]);
    assert!(ran.code == Some(4) && ran.stdout.contains("b::f@controller"), "{}{}", ran.stdout, ran.stderr);
    fs::remove_file(here.scratch.join("go.not")).expect("a file");
    let ran = here.check(&["run"], 0, &format!("break \nheal \n{BOTH}"));
    assert!(
        ran.stderr.contains("reverting b::f@controller, which an older run left dirty"),
        "{}",
        ran.stderr
    );
}

fn by_hand() {
    let here = Here::new("timeout: 30s, deadman: 'off'");
    here.scratch.write(
        "fatebooks/b/heal.sh",
        format!("{HEAL}[ -e \"$HOME/may-heal\" ] || {{ : >\"$HOME/broken\"; exit 1; }}\n"),
    );
    let output = here.command(&["run"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(here.is_broken());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let (_, command) = told.split_once("to heal it: ").expect("a command");
    let command = command.lines().next().expect("a line");
    assert!(command.starts_with("sh '/") && command.ends_with("/heal'"), "{command}");
    here.scratch.write("home/may-heal", "");
    // As it stands there, in any shell of this user's.
    let heal = Command::new("sh").args(["-c", command]).current_dir("/").output().expect("a shell");
    assert!(heal.status.success(), "{heal:?}");
    assert!(!here.is_broken());
    let ran = here.pisaura(&["revert"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    here.check_left_clean();
}

fn interrupted() {
    let here = Here::new("timeout: 30s");
    let run = here.waits().begin("at");
    stop(run.id(), "INT");
    let ran = here.end(run);
    assert_eq!(ran.code, Some(130), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("interrupted after the inducer; the host was reverted"), "{}", ran.stdout);
    assert_eq!(here.log(), BOTH);
    here.check_left_clean();
}

fn hangs() {
    let here = Here::new("timeout: 2s");
    here.scratch.write(
        "fatebooks/b/break.sh",
        format!("{BREAK}(while :; do : >\"$HOME/broken\"; sleep 0.05; done) &\nsleep 300\n"),
    );
    let ran = here.check(&["run"], 3, BOTH);
    assert!(ran.stdout.contains("botched: inducer: took longer than its time limit of 2s"), "{}", ran.stdout);
}

fn leftover() {
    let here = Here::new("");
    here.scratch.write(
        "fatebooks/b/break.sh",
        format!("{BREAK}(while :; do : >\"$HOME/broken\"; echo more; sleep 0.02; done) &\n"),
    );
    let ran = here.check(&["run"], 0, BOTH);
    let told = "controller: 1 process that the inducer, or a reverter before this one, had left running";
    assert!(ran.stderr.contains(told) || ran.stderr.contains("processes that the inducer"), "{}", ran.stderr);
}

/// What fills a pipe stops nobody.
fn flood() {
    let here = Here::new("");
    here.scratch.write(
        "fatebooks/b/break.sh",
        format!(
            "{BREAK}head -c 3000000 /dev/zero | tr '\\000' x\nhead -c 3000000 /dev/zero | tr '\\000' y >&2\n"
        ),
    );
    here.check(&["run"], 0, BOTH);
}

fn steps() {
    let here = Here::new(
        "inducer: [{run: [break.sh, 1], revert: [heal.sh, 1]}, {run: [no.sh], revert: [heal.sh, 2]}, {run: [break.sh, 3], revert: [heal.sh, 3]}]",
    );
    here.scratch.write("fatebooks/b/no.sh", "#!/bin/sh\nexit 5\n");
    here.check(&["run"], 3, "break 1\nheal 2\nheal 1\n");
}

fn allowed() {
    let here = Here::new("");
    let ran = here.pisaura(&["run", "--allow-hosts", "node-*"]);
    assert_eq!(ran.code, Some(2), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("does not name, so nothing was run: controller"), "{}", ran.stderr);
    here.check(&["run", "--allow-hosts", "controller"], 0, BOTH);
}

fn shown() {
    let here = Here::new("");
    let ran = here.pisaura(&["run", "--dry-run"]);
    let lines: Vec<&str> = ran.stdout.lines().filter(|line| line.contains("controller")).collect();
    assert_eq!(
        lines,
        [
            "b::f@controller",
            "  2 inducer      here, for controller, within 10s: break.sh",
            "  4 reverter     here, for controller, tried for up to 40s after the inducer began: heal.sh",
        ]
    );
    let ran = here.pisaura(&["check", "--connect"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let told = "b, controller: ready for 1 failure, from here; its dead man's switch: ";
    assert!(ran.stdout.contains(told), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(here.scratch.read("home/log"), "");
    here.check_left_clean();
}

/// The example of the reference, with a stand-in for the program that speaks to the cluster.
fn pod() {
    let reference = include_str!("../../fatebooks/README.md");
    let (_, book) = reference.split_once("```yaml\nservice: shop\n").expect("the example");
    let (book, _) = book.split_once("```").expect("its end");
    let here = Here::new("");
    here.scratch.write("fatebooks/b/fatebook.yaml", format!("service: shop\n{book}"));
    let bin = here.scratch.join("bin");
    here.scratch.write("bin/kubectl", "#!/bin/sh\necho \"$*\" >>\"$HOME/log\"\n");
    here.scratch.write("fatebooks/b/health.sh", "#!/bin/sh\nexit 0\n");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("a path"));
    let ran = Ran::of(here.command(&["run"]).env("PATH", path), &here.scratch);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(
        here.log(),
        "-n shop scale deployment/cart --replicas=0\n-n shop scale deployment/cart --replicas=3\n-n shop delete pod -l app=cart --wait=false\n"
    );
}

/// A book without hosts on a stage of a Mesos.
fn staged() -> Stage {
    let stage = Stage::new("--step=2", &["--agents", "2"]);
    let home = stage.scratch.join("home").display().to_string();
    for (name, text) in [("break.sh", BREAK), ("heal.sh", HEAL)] {
        stage.scratch.write(&format!("fatebooks/b/{name}"), text.replace("$HOME", &home));
    }
    stage.scratch.write(
        "fatebooks/b/fatebook.yaml",
        "service: s\nwhere: controller\nfailures:\n  - {name: f, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh], timeout: 30s}\n",
    );
    stage
}

fn on_mesos() {
    let stage = staged();
    let run = stage.begin(&[]);
    stage.wait_for("--step=2");
    let ran = stage.go_on(run);
    assert_eq!(ran.line("b::f@controller"), "ok", "{}{}", ran.stdout, ran.stderr);
    assert_eq!(stage.scratch.read("home/log"), BOTH);
    assert_eq!(stage.cluster.ended_tasks(), ["TASK_FINISHED"]);
}

fn lost_task() {
    let stage = staged();
    let run = stage.begin(&[]);
    stage.wait_for("--step=2");
    stage.cluster.kill_executors();
    wait_for("the revert", || stage.scratch.read("home/log") == BOTH);
    let ran = stage.go_on(run);
    assert_eq!(ran.line("b::f@controller"), "FAILED", "{}{}", ran.stdout, ran.stderr);
    let told = ran.failure("b::f@controller");
    let want =
        "botched: its task was lost after the inducer was handed out, and the host was reverted by another: ";
    assert!(told.starts_with(want), "{told}");
    assert_eq!(stage.scratch.read("home/log"), BOTH);
}
