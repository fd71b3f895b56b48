//! `pisaura check`: what is wrong with the books, or taken in a way that may not have been meant; and what travels with each.

use std::collections::{HashMap, HashSet};
use std::process::ExitCode;

use crate::fatebook::{Reading, plural};
use crate::remote::Interrupt;
use crate::report::{clean_line, clean_text};
use crate::run::{self, CaseKind, ExitKind, RunOptions, Shelf, SignalWords};

use super::{environment, print, say, without_values};

/// Reads all books and says what is wrong with them, or what was taken in a way that may not have been meant.
///
/// With `connects` it logs in to the hosts as well, and says for each whether its failures could be tried there: exit code 3 if not.
pub fn check(options: &RunOptions, connects: bool) -> ExitCode {
    let reading = Reading { strict: options.strict, thorough: true, stop_if: options.stop_if.as_deref() };
    let shelf = match Shelf::open(&options.fatebooks, None, reading, &environment, false, 1) {
        Ok(shelf) => shelf,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitKind::Usage.into();
        }
    };
    let mut text = String::new();
    for note in &shelf.notes {
        text.push_str(&format!("note: {note}\n\n"));
    }
    let mut broken = 0;
    let mut ignored: HashMap<String, usize> = HashMap::new();
    let mut told = HashSet::new();
    let mut cannot_travel = 0;
    for case in &shelf.cases {
        if let Some(book) = case.book().filter(|book| told.insert(book.name.clone())) {
            let (line, fits) = shipped_with(&book, options.ship_max);
            if fits {
                text.push_str(&line);
            } else {
                cannot_travel += 1;
                eprintln!("{line}");
            }
        }
        match (&case.kind, &case.ignored) {
            (CaseKind::Broken(book), _) => {
                broken += 1;
                eprintln!("{}\n", clean_text(&book.report()));
            }
            (_, Some(reason)) => {
                let reason = case.book().map_or_else(|| reason.clone(), |book| without_values(&book, reason));
                *ignored.entry(reason).or_default() += 1;
            }
            _ => {}
        }
    }
    let mut ignored: Vec<_> = ignored.into_iter().collect();
    ignored.sort();
    for (reason, count) in ignored {
        text.push_str(&format!("{count} ignored: {reason}\n"));
    }
    let cases = shelf.cases.len() - broken;
    text.push_str(&format!(
        "{}, {}, {broken} broken\n",
        plural(shelf.books, "fatebook"),
        plural(cases, "case")
    ));
    if broken + cannot_travel > 0 {
        return print(&clean_text(&text), ExitKind::Usage);
    }
    if !connects {
        return print(&clean_text(&text), ExitKind::Fine);
    }
    match try_hosts(&shelf, options) {
        Ok((hosts, exit)) => print(&(text + &hosts), exit),
        Err(message) => {
            eprintln!("error: {message}");
            print(&clean_text(&text), ExitKind::Trouble)
        }
    }
}

const SIGNALLED: SignalWords = SignalWords {
    first: "waiting until nothing of ours is left on the hosts",
    second: "nothing is broken, but scripts may be left on hosts, in ~/.pisaura",
};

fn try_hosts(shelf: &Shelf, options: &RunOptions) -> Result<(String, ExitKind), String> {
    let cannot = |error: std::io::Error| format!("cannot listen to signals: {error}");
    let interrupt = Interrupt::new().map_err(cannot)?;
    let listening =
        run::raise_on_signal(interrupt.clone(), say, SIGNALLED, ExitKind::Interrupted).map_err(cannot)?;
    let connected = run::connect(shelf, options.ship_max, &interrupt)?;
    drop(listening);
    let mut text = String::new();
    for line in connected.ready.iter().chain(&connected.not_ready) {
        text.push_str(&format!("{}\n", clean_line(line)));
    }
    let hosts = |count: usize| plural(count, "host");
    text.push_str(&match connected.not_ready.len() {
        0 => "nothing was broken\n".to_owned(),
        count => format!("{} not ready; nothing was broken\n", hosts(count)),
    });
    let exit = match (connected.interrupted, connected.not_ready.is_empty()) {
        (true, _) => ExitKind::Interrupted,
        (false, true) => ExitKind::Fine,
        (false, false) => ExitKind::Trouble,
    };
    Ok((text, exit))
}

/// How many of the files that travel with a book are named.
const SHIPPED_TOLD: usize = 20;

/// A line that says what travels with a book, and whether it may.
pub(super) fn shipped_with(book: &crate::fatebook::Fatebook, bytes_max: u64) -> (String, bool) {
    let files = match crate::executor::shipped(book, bytes_max) {
        Ok(files) => files,
        Err(error) => {
            return (format!("{}: cannot travel: {}\n", book.name, clean_line(&error.to_string())), false);
        }
    };
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    // As the book would name them.
    let shown = |file: &crate::executor::Shipped| {
        let path = file.source.strip_prefix(&book.folder).unwrap_or(&file.source);
        clean_line(&path.display().to_string())
    };
    let mut names: Vec<String> = files.iter().take(SHIPPED_TOLD).map(shown).collect();
    if files.len() > SHIPPED_TOLD {
        names.push(format!("and {} more", files.len() - SHIPPED_TOLD));
    }
    let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    (format!("{}: {} KiB ship with it: {names}\n", book.name, bytes.div_ceil(1024)), true)
}
