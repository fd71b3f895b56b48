//! Workloads: what writes to the service beside a case, counted for each phase, on a real SSH server. The service is a folder, in which
//! a write is a file; while there is a file `broken` beside it, nothing is accepted.

use libtest_mimic::Trial;

use crate::case::{BREAK, Case};
use crate::cluster::{Cluster, can_run};
use crate::common::{Ran, begin, needing, on_master, test, wait_for};
use crate::interrupts::signal;

pub fn tests() -> Vec<Trial> {
    let (can, why_not) = can_run();
    vec![
        test("workload::counted_in_each_phase", counted),
        test("workload::what_is_lost", lost),
        test("workload::a_time_without_an_accepted_write", stalled),
        test("workload::that_does_not_work", does_not_work),
        test("workload::that_does_not_end", does_not_end),
        test("workload::ends_with_its_case", ends_with_case),
        test("workload::ends_with_a_run_that_is_killed", ends_with_run),
        test("workload::ends_at_an_interrupt", interrupted),
        test("workload::a_flood", flood),
        test("workload::its_output", output),
        test("workload::in_a_dry_run_and_the_journal", told),
        needing("workload::on_mesos", can, why_not, on_mesos),
    ]
}

/// Notes each phase in `phases`, writes until its input ends, and then looks for all that was accepted.
const WRITER: &str = r#"#!/bin/sh
exec 3<&0
(while read -r phase <&3; do echo "$phase" >>'@/phases'; done; : >'@/over') &
echo $$ >'@/workload'
n=0
until [ -e '@/over' ]; do
  n=$((n + 1))
  if [ ! -e '@/broken' ] && : >'@/store/'$n; then echo "ok $n"; accepted="$accepted $n"; else echo "err $n"; fi
  sleep 0.02
done
wait
for n in $accepted; do [ -e '@/store/'$n ] || echo "lost $n"; done
"#;

/// A case with a workload, and these keys of its failure; `@` is the home of the host.
fn case(keys: &str) -> Case {
    let case = Case::new("");
    let home = case.sshd.home().display().to_string();
    std::fs::create_dir(case.sshd.home().join("store")).expect("a folder");
    case.scratch.write("fatebooks/b/writer.sh", WRITER.replace('@', &home));
    let workload = if keys.contains("workload:") { "" } else { "workload: [writer.sh], " };
    case.book(&format!("{workload}{}", keys.replace('@', &home)), "");
    case
}

#[track_caller]
fn check(keys: &str, code: i32, wants: &[&str]) -> String {
    case(keys).says_all(code, wants)
}

fn row(said: &str) -> &str {
    said.lines()
        .find(|line| line.starts_with("  5 workload"))
        .unwrap_or_else(|| panic!("no workload in {said}"))
}

fn counted() {
    let case = case("hold: 1s");
    let (code, said) = case.says();
    assert_eq!(code, 0, "{said}");
    assert_eq!(case.sshd.read("phases"), "before\nfailing\nreverted\n");
    let row = row(&said);
    assert!(row.contains(" 0 lost of ") && row.contains(" refused (0 + "), "{row}");
    assert!(row.contains("(before, during, after: "), "{row}");
    assert!(row.contains(", none accepted for ") && row.ends_with(" s at most"), "{row}");
    // Without a failure that the service notices nothing is refused.
    let said = check("hold: 300ms, inducer: ['true']", 0, &[]);
    assert!(!said.contains("refused"), "{said}");
}

fn lost() {
    let keys = "hold: 500ms, inducer: ['rm -f @/store/1 @/store/2; touch $HOME/broken'], reverter: ['rm $HOME/broken']";
    let broken = case(keys);
    let (code, said) = broken.says();
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("succumbed: 2 lost of ") && said.contains(" that were accepted (1, 2); allowed: 0\n"),
        "{said}"
    );
    check(&format!("{keys}, max_lost: 2"), 0, &[" 2 lost of "]);
    check(&format!("{keys}, max_lost: 1"), 1, &["; allowed: 1\n"]);
    // What else was found is told as well.
    check(
        &format!("{keys}, healthcheck: ['[ $1 != --step=3 ]']"),
        1,
        &["not recovered: ", "succumbed: 2 lost of "],
    );
}

fn stalled() {
    check(
        "hold: 1500ms, max_stall: 500ms",
        1,
        &["succumbed: nothing was accepted for T s, from ", " after the failure began; allowed: T s\n"],
    );
    check("hold: 500ms, max_stall: 20s", 0, &[]);
}

/// An error, and never a pass: nobody would know what became of the service.
fn does_not_work() {
    let bad = |text: &str, keys: &str| format!("workload: ['{text}'], {keys}");
    let till_end = "cat >/dev/null";
    check(
        &bad("exit 3", ""),
        3,
        &["botched: the workload ended before it was told to (exit status 3), with 0 accepted\n"],
    );
    check(
        &bad("echo ok 1; sleep 0.1", "hold: 1s"),
        3,
        &["botched: the workload ended before it was told to (ok), with 1 accepted\n"],
    );
    check(
        &bad(&format!("echo ok 1; {till_end}; exit 4"), ""),
        3,
        &["botched: the workload failed: exit status 4\n"],
    );
    check(
        &bad(&format!("echo err 1; {till_end}"), ""),
        3,
        &["botched: nothing was tested: the workload has printed no line `ok ID`"],
    );
    check(
        &bad(&format!("echo ok 1; {till_end}"), "hold: 300ms"),
        3,
        &[
            "botched: nothing was tested: the workload has printed neither `ok ID` nor `err ID` during the failure",
        ],
    );
    // A limit that is longer than the failure limits nothing.
    check(
        &bad(&format!("echo ok 1; {till_end}"), "hold: 300ms, max_stall: 20s"),
        3,
        &["botched: nothing was tested: the workload has printed neither `ok ID` nor `err ID`"],
    );
    // Nor does it count what was accepted before the inducer had broken anything, or once it was healed.
    let writes = "while [ ! -e \"$DONE\" ]; do [ -e \"$BROKEN\" ] || echo ok $((n = n + 1)); sleep 0.05; done & n=0; cat >/dev/null; : >\"$DONE\"; wait";
    let writing = case("hold: 1500ms, workload: [writes.sh]");
    let home = writing.sshd.home().display().to_string();
    writing.scratch.write("fatebooks/b/break.sh", "#!/bin/sh\nsleep 0.5\n: >\"$HOME/broken\"\nsleep 0.2\n");
    writing.scratch.write(
        "fatebooks/b/writes.sh",
        format!("#!/bin/sh\nBROKEN='{home}/broken' DONE='{}'\n{writes}\n", writing.path("done")),
    );
    writing
        .says_all(3, &["botched: nothing was tested: the workload has printed neither `ok ID` nor `err ID`"]);
    check(
        &bad(&format!("echo ok 1; {till_end}"), "hold: 1s, max_stall: 500ms"),
        1,
        &["succumbed: nothing was accepted for "],
    );
    // Nothing was broken for it.
    let case = case("workload: [absent.sh]");
    let (code, said) = case.says();
    assert!(code == 2 && said.contains("there is no program `absent.sh` in PATH"), "{said}");
    assert!(!case.sshd.home().join("log").exists(), "{said}");
    let case = self::case("workload: [writer.sh]");
    case.scratch.write("fatebooks/b/writer.sh", "#!/no/such/interpreter\n");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    assert!(ran.stdout.contains("botched: healthcheck before: "), "{}", ran.stdout);
    assert!(!case.sshd.home().join("log").exists(), "{}", ran.stdout);
}

fn does_not_end() {
    let keys = "timeout: 2s, workload: ['echo $$ >@/workload; trap \"\" TERM; (sleep 600) & while :; do echo ok 1; sleep 0.05; done']";
    let case = case(keys);
    let (code, said) = case.says();
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("botched: the workload did not end within 2s of the end of its input\n"), "{said}");
    gone(&case);
}

/// Nothing of the workload's group is there any more.
#[track_caller]
fn gone(case: &Case) {
    let leader = case.sshd.read("workload").trim().to_owned();
    let of_group = || -> Vec<String> {
        let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
        let stats = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
        let is_of_group = |stat: &String| {
            let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
            let mut fields = fields.split(' ');
            fields.next() != Some("Z") && fields.nth(1) == Some(leader.as_str())
        };
        stats.filter(is_of_group).collect()
    };
    wait_for("the end of the workload", || of_group().is_empty());
}

fn ends_with_case() {
    let case = case("healthcheck: ['[ $1 != --step=1 ]']");
    let (code, said) = case.says();
    assert!(code == 1 && said.contains("unfit: "), "{said}");
    gone(&case);
    let case = self::case("inducer: ['false']");
    let (code, said) = case.says();
    assert_eq!(code, 3, "{said}");
    // It was asked for its end all the same.
    assert!(row(&said).contains(" 0 lost of "), "{said}");
    gone(&case);
}

fn ends_with_run() {
    let case = case("");
    case.waits_at("--step=2");
    let mut run = begin(&mut case.command(&["run"]));
    wait_for("the healthcheck", || case.scratch.join("at").exists());
    run.kill().expect("a signal");
    run.wait().expect("an end");
    gone(&case);
    case.go();
    let ran = case.pisaura(&["revert"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

fn interrupted() {
    let case = case("");
    case.waits_at("--step=2");
    let run = begin(&mut case.command(&["run"]));
    wait_for("the healthcheck", || case.scratch.join("at").exists());
    signal(&run, "INT");
    let ran = case.end(run);
    assert_eq!(ran.code, Some(130), "{}{}", ran.stdout, ran.stderr);
    assert!(!case.is_broken());
    gone(&case);
}

/// As fast as it can, with lines that are none in between.
fn flood() {
    let text = r#"exec 3<&0; (read -r a <&3; read -r b <&3; read -r c <&3; cat <&3; kill $$) & trap "exit 0" TERM; while :; do echo ok 1; echo; head -c 9000 /dev/zero; echo err 2; done"#;
    let keys = format!("hold: 1s, workload: ['{text}']");
    let broken = case(&keys);
    let (code, said) = broken.says();
    assert_eq!(code, 0, "{said}");
    assert!(row(&said).contains(" refused ("), "{said}");
}

fn output() {
    let text =
        "read -r a; echo ok 1; echo connected; read -r b; echo why >&2; sleep 0.5; echo ok 2; cat >/dev/null";
    let said = check(&format!("hold: 1s, workload: ['{text}']"), 0, &[]);
    assert!(said.contains("5 workload, stdout:\n    | connected\n\n"), "{said}");
    assert!(said.contains("5 workload, stderr:\n    | why\n"), "{said}");
}

fn told() {
    let case = case("hold: 500ms, max_lost: 2, max_stall: 8s");
    let said = case.pisaura(&["run", "--dry-run"]).stdout;
    let want = "    workload     here, from now on, at most 2 lost, something accepted at least every 8s: writer.sh\n";
    assert!(said.contains(want), "{said}");
    let ran: Ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let journal = case.scratch.read("target/pisaura/journal.jsonl");
    assert!(journal.contains("\"workload\":{\"writes\":[{\"accepted\":"), "{journal}");
}

fn on_mesos() {
    let cluster = Cluster::start(&["--agents", "1"]);
    let case = case("hold: 500ms");
    // What was accepted before is gone when the host breaks.
    case.scratch.write("fatebooks/b/break.sh", format!("{BREAK}rm -f \"$HOME/store/1\"\n"));
    on_master(&cluster.master, || {
        let ran = case.scratch.harness(&["--show-output"]);
        let told = ran.failure("b::f@127.0.0.1:PORT");
        assert!(told.contains("succumbed: 1 lost of "), "{}{}", ran.stdout, ran.stderr);
    });
    assert!(!case.is_broken());
    gone(&case);
}
