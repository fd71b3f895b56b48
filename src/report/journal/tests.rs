//! Journals broken off anywhere: each prefix says what is dirty at that moment, and nothing else.

use serde_json::{Value, json};

use super::*;

fn record(run: &str, event: &str, more: Value) -> String {
    let mut record = json!({ "at": 1.5, "run": run, "event": event });
    if let (Value::Object(record), Value::Object(more)) = (&mut record, more) {
        record.extend(more);
    }
    record.to_string()
}

fn dirty(run: &str, case: &str, lasting: bool) -> String {
    record(run, "may be dirty", json!({ "case": case, "heal": "h", "plan": { "lasting": lasting } }))
}

/// What is left, in words: `run: dirty cases / folders`.
fn told(text: &str, alive: &[&str]) -> Vec<String> {
    let mut runs = leftovers(text);
    runs.retain(|run, _| !alive.contains(&run.as_str()));
    runs.iter()
        .map(|(run, left)| {
            let cases: Vec<&str> = left.dirty.iter().map(|debt| debt.case.as_str()).collect();
            let folders: Vec<&str> = left.used.iter().map(UsedHost::folder).collect();
            format!("{run}: {} / {}", cases.join(" "), folders.join(" "))
        })
        .collect()
}

/// How to get to a host, as it is written down.
fn access(folder: &str) -> Value {
    json!({
        "target": { "host": "h", "port": 22, "shown": "h" },
        "login": crate::remote::Login::new(&Default::default(), None),
        "folder": folder,
        "env": [],
        "lasting": true,
        "controller": "-",
        "may_heal": true,
    })
}

/// What a journal says of a case that may be dirty, without all that would heal it.
fn debt(case: &str) -> Record {
    let text = format!(r#"{{"event": "may be dirty", "case": "{case}", "plan": {{"lasting": true}}}}"#);
    serde_json::from_str(&text).expect("a record")
}

#[test]
fn what_is_left() {
    let used = |folder: &str| record("r", "host used", json!({ "access": access(folder) }));
    let check = |lines: &[String], want: &[&str]| assert_eq!(told(&lines.join("\n"), &[]), want);
    check(&[], &[]);
    check(&[record("r", "run began", json!({})), record("r", "run ended", json!({}))], &[]);
    check(&[used("f"), dirty("r", "a", true)], &["r: a / f"]);
    check(&[used("f"), used("f"), record("r", "host left", json!({ "folder": "f" }))], &[]);
    check(
        &[dirty("r", "a", true), dirty("r", "b", true), record("r", "reverted", json!({ "case": "a" }))],
        &["r: b / "],
    );
    // A host that could not be reverted stays dirty, whatever the run said at its end.
    let settled = record("r", "settled", json!({ "case": "a", "verdict": "unreverted" }));
    check(&[dirty("r", "a", true), settled, record("r", "run ended", json!({}))], &["r: a / "]);
    check(&[dirty("r", "a", false)], &[]);
    // Runs do not know of each other.
    check(&[dirty("r", "a", true), record("s", "reverted", json!({ "case": "a" }))], &["r: a / "]);
    let text = [dirty("r", "a", true), dirty("s", "b", true)].join("\n");
    assert_eq!(told(&text, &["r"]), ["s: b / "]);
    // What is no record is passed over.
    check(
        &["{".to_owned(), "null".to_owned(), "[1]".to_owned(), "\"x\"".to_owned(), dirty("r", "a", true)],
        &["r: a / "],
    );
}

/// Histories of two runs by chance: for each prefix, byte by byte, exactly that is left which is dirty.
#[test]
fn each_prefix_of_a_journal() {
    let mut chance = 7_u64;
    let mut below = move |bound: u64| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % bound
    };
    for _ in 0..60 {
        let mut text = String::new();
        let mut open: Vec<(String, String)> = Vec::new();
        // After how many bytes what is open.
        let mut states = vec![(0, Vec::new())];
        for _ in 0..below(14) {
            let run = ["r", "s"][below(2) as usize];
            let case = ["a", "b", "c"][below(3) as usize];
            let pair = (run.to_owned(), case.to_owned());
            let line = match below(4) {
                0 => {
                    open.retain(|other| *other != pair);
                    open.push(pair);
                    dirty(run, case, true)
                }
                1 => {
                    open.retain(|other| *other != pair);
                    record(run, "reverted", json!({ "case": case }))
                }
                2 => record(run, "settled", json!({ "case": case, "verdict": "survived" })),
                _ => record(run, "step ended", json!({ "case": case, "end": "ok \u{e9}" })),
            };
            text.push_str(&line);
            // From its last brace on the record is there.
            states.push((text.len(), open.clone()));
            text.push('\n');
        }
        for cut in 0..=text.len() {
            let prefix = String::from_utf8_lossy(&text.as_bytes()[..cut]).into_owned();
            let (_, want) = states.iter().rfind(|(from, _)| *from <= cut).expect("the empty one");
            let got = leftovers(&prefix);
            let mut got: Vec<(String, String)> = got
                .iter()
                .flat_map(|(run, left)| left.dirty.iter().map(move |debt| (run.clone(), debt.case.clone())))
                .collect();
            let mut want = want.clone();
            got.sort();
            want.sort();
            assert_eq!(got, want, "cut at {cut} of {text}");
        }
    }
}

#[test]
fn runs_one_after_the_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sub/journal.jsonl");
    let lines = || read(&path).expect("a journal").lines().map(str::to_owned).collect::<Vec<_>>();
    let begin = || {
        let mut journal = Journal::new(path.clone(), None);
        journal.write(Record::Interrupted { by: "SIGINT".to_owned() }).expect("a record");
        journal
    };
    begin().end().expect("an end");
    assert_eq!(lines().len(), 3);
    begin().end().expect("an end");
    assert_eq!(lines().len(), 3, "a run after one that ended well begins anew");
    // A run that dies lets go of its lock; what it has written stays, also what was broken off.
    let mut died = begin();
    died.write(debt("c")).expect("a record");
    let waits = || panic!("nobody heals");
    assert!(Debts::open(&path, None, false, waits).expect("a look").runs.is_empty(), "it is alive");
    assert!(folder.path().join("sub/.alive").exists());
    died.file.as_mut().expect("a file").write_all(b"{\"broken").expect("a part");
    drop(died);
    let debts = Debts::open(&path, None, false, waits).expect("a look");
    assert_eq!(debts.runs.values().map(|left| left.dirty.len()).collect::<Vec<_>>(), [1]);
    let run = debts.runs.keys().next().expect("a run").clone();
    // Nobody else heals it meanwhile.
    let other = path.clone();
    let (told, waits) = std::sync::mpsc::channel();
    let second = std::thread::spawn(move || {
        Debts::open(&other, None, false, || told.send(()).expect("a listener")).map(|debts| debts.runs.len())
    });
    waits.recv().expect("that it waits");
    let settled = debts.runs[&run].dirty[0].clone();
    debts.reverted(&run, &settled).expect("a record");
    drop(debts);
    assert_eq!(second.join().expect("an answer"), Ok(0));
    begin().end().expect("an end");
    // Three of the one that died and a broken one, the revert, and three of the last run.
    assert_eq!(lines().len(), 8, "{:?}", lines());
}

#[test]
fn parts_of_one_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.jsonl");
    let mut part = Journal::new(path.clone(), Some("n".to_owned()));
    part.write(debt("c")).expect("a record");
    part.end().expect("an end");
    let count = |within| Debts::open(&path, within, true, || ()).expect("a look").runs.len();
    assert_eq!((count(Some("n")), count(Some("m")), count(None)), (0, 1, 1));
    let alive = fs::read_dir(folder.path().join(".alive")).expect("a folder").flatten();
    assert_eq!(alive.map(|entry| entry.file_name()).collect::<Vec<_>>(), [LOCK]);
    // One that was killed is not.
    let mut part = Journal::new(path.clone(), Some("n".to_owned()));
    part.write(debt("c")).expect("a record");
    drop(part);
    assert_eq!((count(Some("n")), count(Some("m"))), (1, 2));
}

/// Runs that are alive at once lose nothing of each other's.
#[test]
fn runs_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.jsonl");
    let mut runs: Vec<Journal> = (0..3).map(|_| Journal::new(path.clone(), None)).collect();
    for number in 0..20 {
        for run in &mut runs {
            run.write(Record::Warning { message: number.to_string() }).expect("a record");
        }
    }
    let text = read(&path).expect("a journal");
    assert_eq!(text.lines().count(), 3 + 60);
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}

/// A journal of version 0.1.0, and what the user's memory had of it, each record as it was written by a run that was killed.
const OLD: &str = include_str!("../../../tests/old_journals/0.1.0.jsonl");
const OLD_DEBT: &str = include_str!("../../../tests/old_journals/0.1.0-debt.json");

/// What heals a debt, in words.
fn healed_by(debt: &Debt) -> String {
    let plan = debt.plan.as_ref().expect("a plan");
    let assignment = plan.assignment.read().expect("an assignment");
    let login = &assignment.hosts.first().access.login;
    format!(
        "{} {} {} {} {:?} {:?} {:?} {} {:?}",
        debt.case,
        debt.mark().unwrap_or("?"),
        debt.folder(),
        login.user,
        login.identity_file,
        plan.book,
        plan.locks,
        plan.needs_secret(),
        assignment.hosts.first().reverter.command
    )
}

#[test]
fn journals_of_old() {
    let want = "b::down@db-1:2222 c390e127e665c43b 1a9befffd7545f11 ops Some(\"/srv/shop/id\") \"/srv/shop/fatebooks/b/fatebook.yaml\" [\"service shop\", \"host db-1 port 2222\"] false Program { program: Folder(\"heal.sh\"), arguments: [\"--all\"] }";
    assert_eq!(told(OLD, &[]), ["6aaba81a0d77b780: b::down@db-1:2222 / 1a9befffd7545f11"]);
    assert_eq!(damaged_lines(OLD), [0; 0]);
    let runs = leftovers(OLD);
    assert_eq!(healed_by(&runs["6aaba81a0d77b780"].dirty[0]), want);
    let remembered: Remembered = serde_json::from_str(OLD_DEBT).expect("a debt");
    let debt = remembered.told();
    assert_eq!(healed_by(&debt), want);
    assert_eq!(debt.journal, Some("/srv/shop/target/pisaura/journal.jsonl".into()));
    assert!(debt.controller.is_some_and(|who| who.ends_with(":ci-1")));
    // Nothing of it is lost when it is written again.
    for line in OLD.lines() {
        let read = serde_json::to_value(read_line(line).expect("a record")).expect("a value");
        let written: Value = serde_json::from_str(line).expect("a value");
        assert!(holds(&read, &written), "{read}\nhas lost something of\n{written}");
    }
}

/// Whether a value has all that another one has; it may have more.
fn holds(all: &Value, part: &Value) -> bool {
    match (all, part) {
        (Value::Object(all), Value::Object(part)) => {
            part.iter().all(|(name, value)| all.get(name).is_some_and(|other| holds(other, value)))
        }
        (Value::Array(all), Value::Array(part)) => {
            all.len() == part.len() && all.iter().zip(part).all(|(all, part)| holds(all, part))
        }
        _ => all == part,
    }
}

/// What another version may write: other events, other fields, a plan of another shape. A host that may be broken is never passed over.
#[test]
fn journals_of_other_versions() {
    let dirty = dirty("r", "a", true);
    let check = |lines: &[&str], want: &[&str], damaged: &[usize]| {
        let text = format!("{}\n", lines.join("\n"));
        assert_eq!(
            (told(&text, &[]), damaged_lines(&text)),
            (want.iter().map(ToString::to_string).collect(), damaged.to_vec()),
            "{text}"
        );
    };
    check(&[r#"{"run":"r","event":"a new one","case":"a"}"#], &[], &[]);
    check(&[r#"{"run":"r","event":"step ended","case":7}"#], &[], &[]);
    check(&[&dirty, r#"{"run":"r","event":"reverted","case":"a","by":"x","mark":null}"#], &[], &[]);
    // It says of nobody that he is healed.
    check(&[&dirty, r#"{"run":"r","event":"reverted","case":["a"]}"#], &["r: a / "], &[]);
    check(&[&dirty, r#"{"run":"r"}"#, r#"{"event":"reverted","case":"a"}"#], &["r: a / "], &[3]);
    check(&[r#"{"run":"r","event":"may be dirty","case":["a"],"plan":{"lasting":true}}"#], &[], &[1]);
    check(&[r#"{"run":"r","event":"may be dirty","case":"a","plan":{"lasting":"x"}}"#], &[], &[1]);
    let newer = r#"{"run":"r","event":"may be dirty","case":"a","mark":{"mark":"m","more":1},"plan":{"lasting":true,"host":"h","assignment":{"way":"new"}}}"#;
    check(&[newer], &["r: a / "], &[]);
    let runs = leftovers(newer);
    let plan = runs["r"].dirty[0].plan.as_ref().expect("a plan");
    assert_eq!(plan.assignment.read().map(|_| ()), Err("missing field `id`".to_owned()));
}

#[test]
fn a_run_of_which_that_cannot_be_known_is_not_taken_for_alive() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run");
    assert_eq!(told_alive(&path), Ok(false));
    let file = File::create(&path).expect("a file");
    assert_eq!(told_alive(&path), Ok(false));
    file.lock().expect("a lock");
    assert_eq!(told_alive(&path), Ok(true));
    // What lies below a file cannot be opened, for another reason than that it is not there.
    let told = told_alive(&path.join("run")).expect_err("no answer");
    assert!(told.starts_with("nobody knows whether that run is alive, for "), "{told}");
}
