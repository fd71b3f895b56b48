//! Guards against breaking what must not be broken: hosts that were not allowed, and a file by which everything is stopped.
//! Touches the file system.

use std::io;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use super::Message;
use super::cases::Shelf;

/// How the stop file is called where it is told what has interrupted a run.
const STOP_FILE: &str = "the stop file";

/// Fails, with the book and its hosts, if a book that is meant has a host that fits none of these patterns. Without patterns
/// all hosts are allowed; demo hosts always are, for the run makes them itself.
pub fn check_allowed(shelf: &Shelf, chosen: &[bool], patterns: &[String]) -> Result<(), String> {
    if patterns.is_empty() {
        // A guard that somebody has set, and that came out empty, is not to allow everything.
        return match std::env::var_os("PISAURA_ALLOW_HOSTS") {
            Some(_) => Err("PISAURA_ALLOW_HOSTS is set and empty, so no host is allowed and nothing was run: name hosts, or unset it to allow all".to_owned()),
            None => Ok(()),
        };
    }
    for case in shelf.cases.iter().filter(|case| chosen[case.id]) {
        let Some(book) = case.book() else { continue };
        // A failure that is made from here may name no host.
        let of_case = case.fate_and_hosts().map(|(_, hosts)| hosts.iter()).into_iter().flatten();
        let refused: Vec<String> = book
            .hosts
            .iter()
            .chain(of_case.filter(|host| {
                host.here && !book.hosts.iter().any(|other| !other.sandbox && other.host == host.host)
            }))
            .filter(|host| !host.sandbox && !patterns.iter().any(|pattern| fits(pattern.trim(), &host.host)))
            .map(ToString::to_string)
            .collect();
        if !refused.is_empty() {
            return Err(format!(
                "the book {} has hosts that --allow-hosts (PISAURA_ALLOW_HOSTS) does not name, so nothing was run: {}",
                book.name,
                refused.join(", ")
            ));
        }
    }
    Ok(())
}

/// Whether a host's name, of which case does not matter, fits a pattern of `*` and `?`.
fn fits(pattern: &str, name: &str) -> bool {
    let lower = |text: &str| text.to_lowercase().chars().collect::<Vec<_>>();
    fn matches(pattern: &[char], name: &[char]) -> bool {
        match (pattern.first(), name.first()) {
            (None, None) => true,
            (Some('*'), _) => {
                matches(&pattern[1..], name) || !name.is_empty() && matches(pattern, &name[1..])
            }
            (Some('?'), Some(_)) => matches(&pattern[1..], &name[1..]),
            (Some(one), Some(other)) if one == other => matches(&pattern[1..], &name[1..]),
            _ => false,
        }
    }
    // Stars side by side say no more than one, and would be tried in every way.
    let mut pattern = lower(pattern);
    pattern.dedup_by(|one, other| *one == '*' && *other == '*');
    matches(&pattern, &lower(name))
}

/// Interrupts the run as soon as this file exists, or now if it does. Fails, saying why, if its folder cannot be watched.
pub(super) fn watch(file: &Path, sender: Sender<Message>) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot watch for the stop file {}: {error}", file.display());
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let watcher = inotify::init(CreateFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
    let folder = folder.to_owned();
    let look = move |watcher: &rustix::fd::OwnedFd| {
        let events =
            WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        inotify::add_watch(watcher, &folder, events)
    };
    look(&watcher).map_err(|error| failed(error.into()))?;
    let file = file.to_owned();
    std::thread::Builder::new()
        .name("stop file".to_owned())
        .spawn(move || {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut events = inotify::Reader::new(&watcher, &mut buffer);
            // It may have come between a look and the watch, so the look comes after.
            while !file.exists() {
                let Ok(event) = events.next() else { break };
                let is_gone = ReadFlags::IGNORED | ReadFlags::MOVE_SELF | ReadFlags::DELETE_SELF;
                // Where nobody can ask for it any more, nothing is broken: the folder is made anew at once, or it is a stop.
                if event.events().intersects(is_gone) && !is_back(|| look(&watcher).is_ok()) {
                    break;
                }
            }
            // Nobody listens if the run is over.
            let _ = sender.send(Message::Stop(STOP_FILE));
        })
        .map_err(failed)?;
    Ok(())
}

/// Whether a folder that was taken away is there again within a moment.
fn is_back(mut look: impl FnMut() -> bool) -> bool {
    const LOOKS: u32 = 20;
    (0..LOOKS).any(|count| {
        if count > 0 {
            std::thread::sleep(Duration::from_millis(50));
        }
        look()
    })
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns() {
        fn check(pattern: &str, fitting: &[&str], others: &[&str]) {
            assert!(fitting.iter().all(|name| fits(pattern, name)), "{pattern} fits {fitting:?}");
            assert!(!others.iter().any(|name| fits(pattern, name)), "{pattern} fits none of {others:?}");
        }
        check("db-1", &["db-1", "DB-1"], &["db-12", "db", ""]);
        check("db-*", &["db-1", "db-", "DB-x.example"], &["db", "xdb-1"]);
        check("*.test", &["a.test", ".test", "a.b.test"], &["test", "a.test.example"]);
        check("10.0.?.*", &["10.0.1.2"], &["10.0.11.2", "10.0.1"]);
        check("*", &["", "x"], &[]);
        check("", &[""], &["x"]);
        check(&"*a".repeat(20), &[&"a".repeat(20)], &[&"b".repeat(30)]);
        check(&"*".repeat(1000), &["x"], &[]);
    }
}
