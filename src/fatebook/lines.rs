//! Where in a file something stands: the parser's places, kept within their lines. Pure.

use saphyr_parser::Span;

use super::problem::Place;

/// How wide each line is, in characters: a book of many failures asks for many places.
pub(super) struct Lines {
    widths: Vec<usize>,
}

impl Lines {
    pub(super) fn of(source: &str) -> Self {
        Self { widths: source.lines().map(|line| line.trim_end().chars().count()).collect() }
    }

    pub(super) fn place_of(&self, span: Span) -> Place {
        let start = span.start;
        let length = match span.end.line() == start.line() {
            true => span.end.col().saturating_sub(start.col()),
            false => usize::MAX,
        };
        self.clip(Place { line: start.line(), column: start.col() + 1, length })
    }

    /// Keeps a place within its line, for the parser names ends of lines and of files too.
    pub(super) fn clip(&self, place: Place) -> Place {
        let line = place.line.clamp(1, self.widths.len().max(1));
        let width = self.widths.get(line - 1).copied().unwrap_or(0);
        let wanted = if place.line > line { width } else { place.column };
        let column = wanted.clamp(1, width.max(1));
        let room = (width + 1).saturating_sub(column).max(1);
        let length = if place.line > line { 1 } else { place.length.clamp(1, room) };
        Place { line, column, length }
    }
}
