//! Several hosts in one case: all are armed before the first is broken, all are broken and watched together, and each is healed, and
//! remembered, for itself. Two real SSH servers, with a home each.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;

use crate::case::{BREAK, Case, HEAL, another};
use crate::cluster::{Cluster, can_run};
use crate::common::{Ran, Sshd, begin, needing, on_master, test, wait_for};
use crate::interrupts::signal;

pub fn tests() -> Vec<Trial> {
    let (can, why_not) = can_run();
    vec![
        test("several::broken_together_and_healed", together),
        test("several::armed_before_any_is_broken", armed_first),
        test("several::what_scripts_are_told", variables),
        test("several::one_cannot_be_reached", unreachable),
        test("several::one_changes_its_mind", declined),
        test("several::one_is_never_the_one", never_the_one),
        test("several::one_cannot_be_armed", cannot_arm),
        test("several::one_was_never_armed_and_the_other_stays_so", never_armed),
        test("several::an_inducer_fails", inducer_fails),
        test("several::one_does_not_take_hold", not_induced),
        test("several::one_cannot_be_healed", unhealed),
        test("several::a_dead_run_leaves_both_to_be_healed", killed),
        test("several::each_heals_by_itself", switches),
        test("several::an_interrupt_reverts_both", interrupted),
        test("several::one_is_taken_by_another_run", taken),
        test("several::two_names_of_one_machine", one_machine),
        test("several::healed_too_early", healed_too_early),
        test("several::sets_and_names", names),
        test("several::by_chance", by_chance),
        test("several::in_a_dry_run", dry_run),
        needing("several::on_mesos", can, why_not, on_mesos),
    ]
}

/// A case on two hosts.
struct Pair {
    case: Case,
    other: Sshd,
}

impl Pair {
    /// With these keys of its failure.
    fn new(keys: &str) -> Self {
        let case = Case::new("");
        let other = another(&case);
        let known = |sshd: &Sshd| fs::read_to_string(sshd.join("known_hosts")).expect("keys");
        fs::write(case.sshd.join("known_hosts"), known(&case.sshd) + &known(&other)).expect("keys");
        let pair = Self { case, other };
        pair.book(keys);
        pair
    }

    fn book(&self, keys: &str) {
        self.case.book(&format!("on: all, {keys}"), "");
        let path = "fatebooks/b/fatebook.yaml";
        let one = format!("'127.0.0.1:{}'", self.case.sshd.port);
        let both = format!("{one}, '127.0.0.1:{}'", self.other.port);
        let text = self.case.scratch.read(path).replace(&one, &both);
        self.case.scratch.write(path, text);
    }

    fn hosts(&self) -> [&Sshd; 2] {
        [&self.case.sshd, &self.other]
    }

    /// On the other host nobody could look for what an inducer leaves, so it is not armed.
    fn other_has_no_grep(&self) -> tempfile::TempDir {
        let programs = tempfile::tempdir().expect("a folder");
        for entry in fs::read_dir("/usr/bin").expect("programs").flatten() {
            if !entry.file_name().to_string_lossy().contains("grep") {
                std::os::unix::fs::symlink(entry.path(), programs.path().join(entry.file_name()))
                    .expect("a link");
            }
        }
        crate::deadman::restart_with(&self.other, &programs.path().display().to_string());
        programs
    }

    /// What the scripts have logged on both hosts.
    fn logs(&self) -> [String; 2] {
        self.hosts().map(|sshd| sshd.read("log").replace('\n', " "))
    }

    fn are_broken(&self) -> [bool; 2] {
        self.hosts().map(|sshd| sshd.home().join("broken").exists())
    }

    /// Runs the case, which ends with this code, says these things, and leaves both hosts healed.
    #[track_caller]
    fn check(&self, code: i32, wants: &[&str]) -> String {
        let ran = self.case.pisaura(&["run", "--show-output"]);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.code, Some(code), "{said}");
        for want in wants {
            assert!(said.contains(want), "no `{want}` in {said}");
        }
        self.check_left_clean();
        said
    }

    #[track_caller]
    fn check_left_clean(&self) {
        assert_eq!(self.are_broken(), [false, false]);
        self.case.check_left_clean();
        wait_for("that nothing is left on the other", || {
            !self.other.home().join(".pisaura").exists() && self.other.processes().is_empty()
        });
    }
}

fn together() {
    let pair = Pair::new("verify: ['[ -e ~/broken ]'], still: true, hold: 300ms, every: 50ms");
    let said = pair.check(0, &["test b::f@127.0.0.1:PORT+127.0.0.1:PORT ... ok"]);
    assert_eq!(pair.logs(), ["break heal ", "break heal "]);
    let table: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("  ") && !line.contains('|'))
        .map(|line| line.split(" T s").next().unwrap_or_default().trim())
        .collect();
    let on = |step: &str| vec![step.to_owned(), "127.0.0.1:PORT".to_owned(), "127.0.0.1:PORT".to_owned()];
    let steps = ["2 prepare", "2 arming", "2 inducer", "2 verify"].map(on).concat();
    let wanted = [
        vec!["step                        took  result".to_owned(), "1 healthcheck before".to_owned()],
        steps,
        vec!["3 hold".to_owned()],
        on("3 still"),
        on("4 reverter"),
        vec!["5 healthcheck after".to_owned()],
    ]
    .concat();
    assert_eq!(table[..wanted.len()], wanted, "{said}");
}

/// An inducer looks whether the other host has its switch already.
fn armed_first() {
    let pair = Pair::new("");
    let homes = pair.hosts().map(|sshd| sshd.home().display().to_string());
    let script = format!(
        "#!/bin/sh\nfor home in {} {}; do ls \"$home\"/.pisaura/*/.case-*/ready >>~/armed || echo none >>~/armed; done\n{BREAK}",
        homes[0], homes[1]
    );
    pair.case.scratch.write("fatebooks/b/break.sh", script);
    pair.check(0, &[]);
    for sshd in pair.hosts() {
        let armed = sshd.read("armed");
        assert_eq!(armed.lines().filter(|line| line.ends_with("/ready")).count(), 2, "{armed}");
    }
}

fn variables() {
    let told = "echo \"$PISAURA_HOST of $PISAURA_TARGETS among $PISAURA_HOSTS\" >>~/told";
    let pair = Pair::new(&format!("inducer: ['{told}']"));
    let at = pair.case.path("at");
    pair.case.scratch.write(
        "fatebooks/b/check.sh",
        format!("#!/bin/sh\necho \"$PISAURA_HOST of $PISAURA_TARGETS\" >'{at}'\n"),
    );
    pair.check(0, &[]);
    for sshd in pair.hosts() {
        assert_eq!(sshd.read("told"), "127.0.0.1 of 127.0.0.1,127.0.0.1 among 127.0.0.1,127.0.0.1\n");
    }
    assert_eq!(pair.case.scratch.read("at"), "127.0.0.1 of 127.0.0.1,127.0.0.1\n");
}

fn unreachable() {
    let pair = Pair::new("");
    crate::case::stop(pair.other.pid(), "KILL");
    let ran = pair.case.pisaura(&["run"]);
    let told = ran.failure("b::f@127.0.0.1:PORT+127.0.0.1:PORT");
    assert_eq!(ran.code, Some(3), "{told}");
    assert!(told.starts_with("botched: 127.0.0.1:PORT: prepare: cannot reach 127.0.0.1 at port "), "{told}");
    assert_eq!(pair.logs(), ["", ""], "nothing is broken where not all can be");
    pair.case.check_left_clean();
}

/// Says yes when it is asked first, and no where it is asked for the second time: on the other host.
fn says_no(pair: &Pair, from: u32) -> String {
    format!(
        "only_if: ['n=$(cat ~/n 2>/dev/null || echo 0); n=$((n + 1)); echo $n >~/n; [ $HOME != {} ] || [ $((n % 2)) = 1 ] || [ $n -gt {from} ]']",
        pair.other.home().display()
    )
}

fn declined() {
    let pair = Pair::new("");
    let keys = says_no(&pair, 2);
    pair.book(&keys);
    pair.check(0, &[]);
    assert_eq!(pair.logs(), ["heal break heal ", "break heal "], "who was armed is reverted, and armed anew");
}

fn never_the_one() {
    let pair = Pair::new("");
    let keys = says_no(&pair, 100);
    pair.book(&keys);
    pair.check(0, &["ignored"]);
    assert_eq!(pair.logs(), ["heal heal heal heal ", ""], "nothing was broken");
    // One no is enough.
    let pair = Pair::new("");
    pair.book(&format!("only_if: ['[ $HOME != {} ]']", pair.other.home().display()));
    let said = pair.check(
        0,
        &["not for these hosts as they are now: only_if said no on 127.0.0.1:PORT (exit status 1)"],
    );
    assert_eq!(pair.logs(), ["", ""], "{said}");
}

fn cannot_arm() {
    let pair = Pair::new("");
    let _programs = pair.other_has_no_grep();
    pair.check(
        3,
        &[
            "botched: arming: 127.0.0.1:PORT: cannot leave what heals the host in ",
            "the host has no program `grep` in its PATH",
        ],
    );
    assert_eq!(pair.logs(), ["heal ", ""], "nothing was broken, and who was armed is reverted");
}

/// Nothing is said of a host that was not armed, and nobody is to heal it later.
fn never_armed() {
    let pair = Pair::new("timeout: 1s, deadman: 'off'");
    let programs = pair.other_has_no_grep();
    let fixed = pair.case.path("fixed");
    pair.case.scratch.write("fatebooks/b/heal.sh", format!("#!/bin/sh\n[ -e '{fixed}' ] || exit 7\n{HEAL}"));
    let ran = pair.case.pisaura(&["run"]);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.code, Some(4), "{said}");
    assert_eq!(said.matches("!!!   127.0.0.1:PORT by ").count(), 1, "{said}");
    let listed = pair.case.pisaura(&["revert", "--list"]).stdout;
    assert_eq!(
        listed.matches("b::f@127.0.0.1:PORT+127.0.0.1:PORT, on 127.0.0.1:PORT\n").count(),
        1,
        "{listed}"
    );
    fs::write(fixed, "").expect("a file");
    drop(programs);
    assert_eq!(pair.case.pisaura(&["revert"]).stdout, "1 reverted\n");
    assert_eq!(pair.case.pisaura(&["revert", "--list"]).stdout, "no host is dirty\n");
    assert_eq!(pair.logs(), ["heal ", ""]);
}

fn inducer_fails() {
    let pair = Pair::new("");
    pair.book(&format!(
        "inducer: ['echo break >>~/log; touch ~/broken; [ $HOME != {} ] || exit 3']",
        pair.other.home().display()
    ));
    pair.check(3, &["botched: 127.0.0.1:PORT: the inducer failed: exit status 3\n"]);
    assert_eq!(pair.logs(), ["break heal ", "break heal "]);
    // Each that fails is told.
    let pair = Pair::new("inducer: ['exit 3']");
    let said = pair.check(3, &[]);
    assert_eq!(
        said.matches("botched: 127.0.0.1:PORT: the inducer failed: exit status 3\n").count(),
        2,
        "{said}"
    );
    assert_eq!(pair.logs(), ["heal ", "heal "]);
}

fn not_induced() {
    let pair = Pair::new("");
    pair.book(&format!("verify: ['[ $HOME != {} ]']", pair.other.home().display()));
    pair.check(
        3,
        &["botched: 127.0.0.1:PORT: the failure did not take hold: verify ended with exit status 1\n"],
    );
    assert_eq!(pair.logs(), ["break heal ", "break heal "]);
}

fn unhealed() {
    let pair = Pair::new("timeout: 1s, deadman: 'off'");
    let fixed = pair.other.home().join("fixed");
    let script = format!(
        "#!/bin/sh\n[ $HOME != {} ] || [ -e ~/fixed ] || exit 7\n{HEAL}",
        pair.other.home().display()
    );
    pair.case.scratch.write("fatebooks/b/heal.sh", script);
    let ran = pair.case.pisaura(&["run"]);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.code, Some(4), "{said}");
    assert!(said.contains("unreverted: 127.0.0.1:PORT: the reverter did not succeed, tried "), "{said}");
    assert_eq!(
        said.matches("!!!   127.0.0.1:PORT by b::f@127.0.0.1:PORT+127.0.0.1:PORT\n").count(),
        1,
        "{said}"
    );
    assert_eq!(said.matches("!!!     to heal it: ssh -p ").count(), 1, "{said}");
    assert_eq!(pair.are_broken(), [false, true]);
    assert_eq!(pair.case.sshd.read("log"), "break\nheal\n", "who is healed is left alone");
    let listed = pair.case.pisaura(&["revert", "--list"]);
    assert_eq!((listed.code, listed.stdout.matches("b::f@").count()), (Some(4), 1), "{}", listed.stdout);
    fs::write(fixed, "").expect("a file");
    assert_eq!(pair.case.pisaura(&["revert"]).stdout, "1 reverted\n");
    assert_eq!(pair.case.sshd.read("log"), "break\nheal\n", "who is healed is left alone");
    pair.check_left_clean();
}

fn killed() {
    let pair = Pair::new("");
    pair.case.waits_at("--step=2");
    pair.case.begin_and_kill();
    assert_eq!(pair.are_broken(), [true, true]);
    let listed = pair.case.pisaura(&["revert", "--list"]).stdout;
    assert_eq!(listed.matches("by hand: ssh -p ").count(), 2, "{listed}");
    let ran = pair.case.pisaura(&["revert"]);
    assert_eq!(ran.stdout, "2 reverted\n", "{}", ran.stderr);
    assert_eq!(pair.logs(), ["break heal ", "break heal "]);
    pair.check_left_clean();
}

fn switches() {
    let pair = Pair::new("timeout: 1s, deadman: 6s");
    pair.case.waits_at("--step=2");
    pair.case.begin_and_kill();
    wait_for("both switches", || pair.are_broken() == [false, false]);
    assert_eq!(pair.case.pisaura(&["revert"]).stdout, "2 reverted\n");
    pair.check_left_clean();
}

fn interrupted() {
    let pair = Pair::new("");
    pair.case.waits_at("--step=2");
    let run = pair.case.begin();
    assert_eq!(pair.are_broken(), [true, true]);
    signal(&run, "INT");
    let ran = pair.case.end(run);
    assert_eq!(ran.code, Some(130), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("interrupted after the inducer; the hosts were reverted"), "{}", ran.stdout);
    assert_eq!(pair.logs(), ["break heal ", "break heal "]);
    pair.check_left_clean();
}

/// A run that knows nothing of the other's locks waits for what lies on the host.
fn taken() {
    let pair = Pair::new("");
    pair.case.waits_at("--step=2");
    let first = pair.case.begin();
    let (folder, out) = (pair.case.scratch.join("other-locks"), pair.case.path("out"));
    fs::create_dir(&folder).expect("a folder");
    let mut command = pair.case.command(&["run", "--output", &out, "--no-heal"]);
    let mut second = begin(command.env("PISAURA_LOCKS", &folder));
    let mut said = std::io::BufReader::new(second.stderr.take().expect("its standard error"));
    crate::common::wait_for_line(&mut said, "waiting for ");
    assert_eq!(pair.logs(), ["break ", "break "], "the host is the first run's");
    pair.case.go();
    assert_eq!(pair.case.end(first).code, Some(0));
    let ended = second.wait_with_output().expect("an end");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    assert_eq!(pair.logs(), ["break heal break heal ", "break heal break heal "]);
    pair.check_left_clean();
}

fn one_machine() {
    let case = Case::new("");
    let known = fs::read_to_string(case.sshd.join("known_hosts")).expect("keys");
    fs::write(case.sshd.join("known_hosts"), known.replace("[127.0.0.1]:", "[*]:")).expect("keys");
    case.book("on: all", "");
    let path = "fatebooks/b/fatebook.yaml";
    let one = format!("'127.0.0.1:{}'", case.sshd.port);
    let text = case.scratch.read(path).replace(&one, &format!("{one}, 'localhost:{}'", case.sshd.port));
    case.scratch.write(path, text);
    case.says_all(
        3,
        &["botched: localhost:PORT: prepare: 127.0.0.1:PORT and localhost:PORT are one machine, and a case breaks a machine once: let `on` name one of them\n"],
    );
    assert_eq!(case.log_or_none(), "");
    case.check_left_clean();
}

/// The switch of one host has healed it while the service was still watched.
fn healed_too_early() {
    let pair = Pair::new("timeout: 2s");
    let heal = format!(
        "#!/bin/sh\n[ \"$1\" != --step=2 ] || sh {}/.pisaura/*/.case-*/heal >/dev/null 2>&1\nexit 0\n",
        pair.other.home().display()
    );
    pair.case.scratch.write("fatebooks/b/check.sh", heal);
    let said = pair
        .check(3, &["botched: 127.0.0.1:PORT: nothing was tested: the host was healed by somebody else, "]);
    assert_eq!(said.matches("nothing was tested").count(), 1, "{said}");
}

/// The names of the cases of a failure on these hosts.
fn listed(hosts: &str, on: &str) -> Vec<String> {
    listed_with(hosts, on, &[]).0
}

fn listed_with(hosts: &str, on: &str, environment: &[(&str, &str)]) -> (Vec<String>, Ran) {
    let scratch = crate::common::Scratch::new();
    let text = format!(
        "service: s\nhosts: [{hosts}]\nfailures:\n  - {{name: f, on: {on}, inducer: ['true'], reverter: ['true'], healthcheck: ['true']}}\n"
    );
    scratch.write("fatebooks/b.yaml", text);
    let mut command = scratch.command(Path::new(&crate::common::program()));
    command.args(["run", "--list"]).envs(environment.iter().copied());
    let ran = Ran::of(&mut command, &scratch);
    let names = ran.stdout.lines().filter_map(|line| line.strip_prefix("b::f@")?.strip_suffix(": test"));
    (names.map(str::to_owned).collect(), ran)
}

fn names() {
    let check =
        |hosts: &str, on: &str, want: &str| assert_eq!(listed(hosts, on).join(" "), want, "{on} of {hosts}");
    check("a, b, c", "each", "a b c");
    check("a, b, c", "1", "a b c");
    check("a, b, c", "2", "a+b c+a");
    check("a, b, c", "minority", "a b c");
    check("a, b, c", "majority", "a+b c+a");
    check("a, b, c, d, e", "minority", "a+b c+d e+a");
    check("a, b, c, d, e", "majority", "a+b+c d+e+a");
    check("a, b, c", "all", "a+b+c");
    check("a, b, c", "[a, c]", "a+c");
    check("a, b, c", "[[c], [a, b]]", "c a+b");
    check("u@a, 'b:22'", "all", "a+b:22");
}

fn by_chance() {
    let hosts = "h1, h2, h3, h4, h5, h6, h7, h8";
    let chosen = |seed: &str| listed_with(hosts, "{random: 3}", &[("PISAURA_SEED", seed)]).0;
    assert_eq!(chosen("7"), chosen("7"), "the same in every listing");
    assert_eq!(listed(hosts, "{random: 3}"), chosen("0"), "without a seed");
    let all: std::collections::BTreeSet<String> =
        (0..20).flat_map(|seed| chosen(&seed.to_string())).collect();
    assert!(all.len() > 10, "{all:?}");
    for set in &all {
        let mut hosts: Vec<&str> = set.split('+').collect();
        assert!(hosts.len() == 3 && hosts.is_sorted(), "{set}");
        hosts.dedup();
        assert_eq!(hosts.len(), 3, "{set}");
    }
    // The seed is told, so that the case can be run again.
    let scratch = crate::common::Scratch::new();
    let text = "service: s\nhosts: [a.invalid, b.invalid]\nssh: {connect_timeout: 1s}\nfailures:\n  - {name: f, on: {random: 1}, inducer: ['true'], reverter: ['true'], healthcheck: ['false']}\n";
    scratch.write("fatebooks/b.yaml", text);
    let ran = scratch.pisaura(&["run"]);
    assert!(ran.stdout.contains("repeat it: PISAURA_SEED=0 pisaura run --exact b::f@"), "{}", ran.stdout);
}

fn dry_run() {
    let pair = Pair::new("inducer: [echo, '${host}'], verify: ['true']");
    let said = pair.case.pisaura(&["run", "--dry-run"]).stdout;
    for want in [
        "  2 arming       2 hosts, within 10s\n    inducer      on 127.0.0.1:PORT and 127.0.0.1:PORT, within 10s: ",
        "    verify       on 127.0.0.1:PORT and 127.0.0.1:PORT, within 10s: ",
        "  4 reverter     on 127.0.0.1:PORT and 127.0.0.1:PORT, tried for up to ",
        " after the arming began: heal.sh\n",
    ] {
        assert!(said.contains(want), "no {want} in {said}");
    }
    let scratch = crate::common::Scratch::new();
    let text = "service: s\nhosts: [a, b]\nfailures:\n  - {name: f, on: all, inducer: [x, '${host}'], reverter: [y], healthcheck: ['true']}\n";
    scratch.write("fatebooks/b.yaml", text);
    let said = scratch.pisaura(&["run", "--dry-run"]).stdout;
    let lines = "    inducer      on a, within 1m: x a\n    inducer      on b, within 1m: x b\n";
    assert!(said.contains(lines), "{said}");
}

fn on_mesos() {
    let cluster = Cluster::start(&["--agents", "1"]);
    let pair = Pair::new("hold: 200ms, every: 50ms");
    on_master(&cluster.master, || {
        let ran: Ran = pair.case.scratch.harness(&["--show-output"]);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    });
    assert_eq!(pair.logs(), ["break heal ", "break heal "]);
    pair.check_left_clean();
}
