//! The gate across processes: under nextest each case is a process of its own, and a book that failfast closed stays closed
//! for the rest of that run by a mark on disk. Touches files in the run's output folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::machine::Verdict;

use super::cases::Case;
use super::options::RunOptions;

/// The marks of this nextest run; without nextest, none.
#[derive(Debug)]
pub(super) struct Marks {
    folder: Option<PathBuf>,
    fail_fast: bool,
}

impl Marks {
    /// Looks for the run that this process belongs to. What an earlier run left is removed.
    pub(super) fn of_this_run(options: &RunOptions) -> Result<Self, String> {
        let Some(run) = &options.nextest_run else {
            return Ok(Self { folder: None, fail_fast: false });
        };
        let all = options.output.join("nextest");
        let folder = all.join(run);
        if !folder.exists() {
            remove_other_runs(&all, run);
            fs::create_dir_all(&folder)
                .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        }
        Ok(Self { folder: Some(folder), fail_fast: options.fail_fast })
    }

    /// Why this case is not to be begun, if an earlier process of this run closed its book.
    pub(super) fn closed(&self, case: &Case) -> Option<String> {
        let folder = self.folder.as_deref()?;
        let book = case.book()?;
        [mark(folder, "all"), mark(folder, &book.name)].iter().find_map(|mark| fs::read_to_string(mark).ok())
    }

    /// Closes the book, or everything, after a case that did not pass.
    pub(super) fn close(&self, case: &Case, verdict: Verdict) {
        let (Some(folder), Some(book)) = (self.folder.as_deref(), case.book()) else {
            return;
        };
        let (what, reason) = if verdict == Verdict::Skipped {
            return;
        } else if self.fail_fast {
            ("all", format!("--fail-fast: `{}` did not pass ({verdict})", case.name))
        } else if verdict == Verdict::Unreverted {
            (book.name.as_str(), format!("`{}` is {verdict}: its host may still be broken", case.name))
        } else if book.failfast {
            (book.name.as_str(), format!("failfast: `{}` did not pass ({verdict})", case.name))
        } else {
            return;
        };
        // The service's lock is still held, so nobody else writes this mark now; the first culprit stays.
        let mark = mark(folder, what);
        if !mark.exists() {
            let _ = fs::write(mark, reason);
        }
    }
}

fn mark(folder: &Path, what: &str) -> PathBuf {
    let name: String = what.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' }).collect();
    folder.join(format!("closed-{name}"))
}

fn remove_other_runs(all: &Path, run: &str) {
    let Ok(entries) = fs::read_dir(all) else { return };
    for entry in entries.flatten() {
        if entry.file_name() != run {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
