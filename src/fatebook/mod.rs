//! The fatebook: what a scenario file may say, where such files lie and what they are called, and what is wrong with one.
//!
//! Everything about a book is decided here, before a host is touched: [`find_books`] names the files, [`BookFile::read`]
//! turns one into a [`Fatebook`] or into everything that is wrong with it.

mod checks;
mod commands;
mod discover;
mod failures;
mod hold;
mod host_entry;
mod hosts;
mod keys;
mod known;
mod lines;
mod model;
mod node;
mod on;
mod one_or_more;
mod probe;
mod problem;
mod read;
mod schema;
mod secrets;
mod shell;
mod shell_words;
mod steps;
mod text;
mod time;
mod values;
mod with;

pub use discover::{
    BookFile, BrokenBook, Environment, ReadBook, Reading, ends_like_windows, find_books, is_book,
    read_at_most,
};
pub use hold::tell_allowed;
pub use host_entry::{HostEntry, HostSet};
pub(crate) use model::default_keepalive;
pub use model::{
    Command, CommandStyle, Deadman, Expectation, Fate, Fatebook, Hold, HostKeyCheck, Known, LogLevel,
    Resource, ScriptFile, SshOptions, Steady,
};
pub use one_or_more::OneOrMore;
pub use probe::{ExpectedOutput, OutputTest, parse_within, status_test, why_no_target};
pub use problem::{Place, Problem, nearest};
pub use read::is_hidden;
pub use schema::schema;
pub use secrets::{Redactor, strip_escapes};
pub use shell::{ShellText, programs};
pub use text::{CaseValues, CaseVariable, Expanded, Text};
pub use time::{parse_duration, plural, show_duration, tell_count, tell_share, tell_time};
