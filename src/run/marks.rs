//! The gate across processes: under nextest each case is a process of its own, and a book that failfast closed stays closed
//! for the rest of that run by a mark on disk. Touches files in the run's output folder.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::machine::{Verdict, file_name};

use super::cases::Case;
use super::options::RunOptions;

/// How long the marks of a run are kept after the last of them: no run lasts longer.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// The marks of this nextest run; without nextest, none.
#[derive(Debug)]
pub(super) struct Marks {
    folder: Option<PathBuf>,
    fail_fast: bool,
}

impl Marks {
    /// Looks for the run that this process belongs to. What runs of long ago left is removed.
    pub(super) fn of_this_run(options: &RunOptions) -> Result<Self, String> {
        let Some(run) = &options.nextest_run else {
            return Ok(Self { folder: None, fail_fast: false });
        };
        let all = options.output.join("nextest");
        let folder = all.join(run);
        if !folder.exists() {
            remove_old_runs(&all, run);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        }
        Ok(Self { folder: Some(folder), fail_fast: options.fail_fast })
    }

    /// Why this case is not to be begun, if an earlier process of this run closed its book, its service or its host.
    pub(super) fn closed(&self, case: &Case) -> Option<String> {
        let folder = self.folder.as_deref()?;
        let mut marks = vec![mark(folder, "run", "")];
        marks.extend(case.book().map(|book| mark(folder, "book", &book.name)));
        marks.extend(case.lock_keys().iter().map(|key| mark(folder, "dirty", key)));
        marks.iter().find_map(|mark| match fs::read_to_string(mark) {
            Ok(reason) => Some(reason),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            // What cannot be read may say that the gate is closed.
            Err(error) => Some(format!("cannot read {}: {error}", mark.display())),
        })
    }

    /// Whether this process is one of several of a run.
    pub(super) fn are_kept(&self) -> bool {
        self.folder.is_some()
    }

    /// Closes what a case that did not pass closes, as the gate does within a process. Fails, saying why, if that cannot be
    /// written: then it would be open for those that come after it.
    pub(super) fn close(&self, case: &Case, verdict: Verdict) -> Result<(), String> {
        let (Some(folder), Some(book)) = (self.folder.as_deref(), case.book()) else {
            return Ok(());
        };
        let name = &case.name;
        let (marks, reason) = if verdict == Verdict::Skipped {
            return Ok(());
        } else if self.fail_fast {
            (vec![mark(folder, "run", "")], format!("--fail-fast: `{name}` did not pass ({verdict})"))
        } else if verdict == Verdict::Unreverted {
            let mut marks = vec![mark(folder, "book", &book.name)];
            marks.extend(case.lock_keys().iter().map(|key| mark(folder, "dirty", key)));
            (marks, format!("`{name}` is {verdict}: its host may still be broken"))
        } else if book.failfast {
            (vec![mark(folder, "book", &book.name)], format!("failfast: `{name}` did not pass ({verdict})"))
        } else {
            return Ok(());
        };
        // The service's lock is still held, so nobody else writes these marks now; the first culprit stays.
        for mark in marks.iter().filter(|mark| !mark.exists()) {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(mark);
            let written = match made {
                // Somebody else has closed it meanwhile.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                made => made.and_then(|mut file| file.write_all(reason.as_bytes())),
            };
            written.map_err(|error| format!("cannot write {}: {error}", mark.display()))?;
        }
        Ok(())
    }
}

fn mark(folder: &Path, scope: &str, what: &str) -> PathBuf {
    folder.join(format!("closed-{scope}-{}", file_name(what)))
}

/// Removes the marks of runs that ended long ago. Nobody knows which still live, and theirs must stay.
fn remove_old_runs(all: &Path, run: &str) {
    let Ok(entries) = fs::read_dir(all) else { return };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let is_old = modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > KEPT_FOR));
        if entry.file_name() != run && is_old {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
