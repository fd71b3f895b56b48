//! What is wrong with a fatebook: where, what, and what to write instead. Owns how that looks to a person. Pure.

use std::fmt;

use super::secrets::{Redactor, is_below_secret};

/// Where something stands in a file: line and column from 1, counted in characters; `length` is how many characters
/// of that line a caret line underlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// How many characters are meant, at least 1.
    pub length: usize,
}

impl Place {
    /// The start of a file: for what is wrong with it as a whole.
    pub const START: Self = Self { line: 1, column: 1, length: 1 };
}

/// One thing that is wrong with a book, or (as a note) one that its author should know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl Problem {
    /// A problem at a place.
    pub fn at(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }

    /// The problem as a person reads it: `file:line:column: message`, the line with its secrets covered, and carets under
    /// the place.
    pub fn show<'a>(
        &'a self,
        path: &'a str,
        lines: &'a [&'a str],
        secrets: &'a Redactor,
    ) -> impl fmt::Display + 'a {
        Shown { problem: self, path, lines, secrets }
    }
}

struct Shown<'a> {
    problem: &'a Problem,
    path: &'a str,
    lines: &'a [&'a str],
    secrets: &'a Redactor,
}

/// A line longer than this is shown in part: a caret is of use only where it can be seen.
const SHOWN_COLUMNS_MAX: usize = 160;

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, column, length } = self.problem.place;
        write!(formatter, "{}:{line}:{column}: {}", self.path, self.secrets.clean(&self.problem.message))?;
        let Some(text) = self.lines.get(line - 1) else {
            return Ok(());
        };
        if is_below_secret(self.lines, line - 1) {
            return Ok(());
        }
        let skipped = column.saturating_sub(SHOWN_COLUMNS_MAX / 2);
        let skipped = if column <= SHOWN_COLUMNS_MAX { 0 } else { skipped };
        let covered = self.secrets.cover(text);
        let shown: String = covered
            .chars()
            .skip(skipped)
            .take(SHOWN_COLUMNS_MAX)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let indent = column - 1 - skipped;
        let carets = length.min(shown.chars().count().saturating_sub(indent)).max(1);
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        write!(
            formatter,
            "\n {number} | {}\n {gutter} | {}{}",
            shown.trim_end(),
            " ".repeat(indent),
            "^".repeat(carets)
        )
    }
}

/// The candidate that a misspelt word most likely meant, if any comes close enough to be of use.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&word, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}
