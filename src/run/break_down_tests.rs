//! What becomes of a run whose deciding thread breaks down: a panic is put in at each thing that it hears, one run for each.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use clap::{Args as _, Command, FromArgMatches as _};

use super::*;
use crate::report::Journal;

static HEARD: AtomicUsize = AtomicUsize::new(0);
static PANICS_AT: AtomicUsize = AtomicUsize::new(0);

/// Counts what the run hears. This is the only unit test that has runs.
pub(super) fn heard() {
    let heard = HEARD.fetch_add(1, Ordering::SeqCst) + 1;
    assert!(heard != PANICS_AT.load(Ordering::SeqCst), "put in by a test");
}

fn book(folder: &Path, service: &str) {
    let book = folder.join("fatebooks/b");
    std::fs::create_dir_all(&book).expect("a folder");
    let broken = folder.join("broken").display().to_string();
    let log = folder.join("log").display().to_string();
    let text = format!(
        "service: '{service}'\nhosts: [sandbox:x]\ntimeout: 10s\nfailures:\n  \
         - {{name: one, inducer: ['touch {broken} && echo break >>{log}'], reverter: ['rm -f {broken} && echo heal >>{log}'], healthcheck: ['true']}}\n  \
         - {{name: two, inducer: ['touch {broken} && echo break >>{log}'], reverter: ['rm -f {broken} && echo heal >>{log}'], healthcheck: ['true']}}\n"
    );
    std::fs::write(book.join("fatebook.yaml"), text).expect("a book");
}

/// One run, which breaks down at the `panics_at`th thing that it hears. Answers with how it ended and how many cases were answered.
fn run(folder: &Path, panics_at: usize) -> (RunEnd, usize) {
    let path = |name: &str| folder.join(name).display().to_string();
    let words =
        ["x".to_owned(), "--fatebooks".to_owned(), path("fatebooks"), "--output".to_owned(), path("out")];
    let matches = RunOptions::augment_args(Command::new("x")).try_get_matches_from(words).expect("flags");
    let options = RunOptions::from_arg_matches(&matches).expect("flags");
    let reading = crate::fatebook::Reading::default();
    let shelf = Shelf::open(&options.fatebooks, None, reading, &|_| None, false, 1).expect("books");
    let journal = Journal::new(options.output.join(JOURNAL), None);
    let terminal = Arc::new(Mutex::new(Terminal::new(Look::fitting(true))));
    let reporters = Reporters::new(case_infos(&shelf.cases), terminal, None, None, Some(journal));
    HEARD.store(0, Ordering::SeqCst);
    PANICS_AT.store(panics_at, Ordering::SeqCst);
    let (run, outcomes) = begin(&shelf.cases, &options, reporters).expect("a run");
    let answered = outcomes.values().filter(|outcome| outcome.recv().is_ok()).count();
    (run.join(), answered)
}

#[test]
fn a_panic_at_each_event() {
    let mut panics_at = 1;
    loop {
        let folder = tempfile::tempdir().expect("a folder");
        // Locks are of the whole machine.
        book(folder.path(), &format!("breaks down {}", folder.path().display()));
        let (end, answered) = run(folder.path(), panics_at);
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        let said = format!("at event {panics_at}: {end:?}, {log:?}");
        // Whatever was broken is healed, and nothing begins after that.
        assert!(!folder.path().join("broken").exists(), "{said}");
        // A host whose inducer was ended before it began is healed for nothing.
        assert!(!log.replace("break\nheal\n", "").contains("break"), "{said}");
        if !end.broke_down {
            assert_eq!(
                (end.exit(), answered, log.as_str()),
                (ExitKind::Fine, 2, "break\nheal\nbreak\nheal\n"),
                "{said}"
            );
            break;
        }
        assert!(end.exit() != ExitKind::Fine, "{said}");
        panics_at += 1;
    }
    assert!(panics_at > 20, "a run hears more than {panics_at} things");
}
