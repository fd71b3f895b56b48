//! What every face of the program shares: how arguments are read, what a mistake in them leaves behind, how texts are printed. And the
//! commands that run no case, one file each. The flags of a run are in `run::options` and `harness`, subcommands in `main.rs`.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::FromArgMatches;

use crate::fatebook::Fatebook;
use crate::report::{JunitReport, clean_text};
use crate::run::{self, ExitKind};

mod check;
mod debts;
mod dry_run;

pub use check::check;
pub(crate) use debts::heal_first;
pub use debts::revert;
pub(crate) use dry_run::dry_run;

/// Reads a command line. Fails, with the exit code, once it has printed the help or what is wrong. `runs`: whether these are
/// arguments of a run: then no report of an older one stays, which would be taken for this one's.
pub fn parse<T: FromArgMatches>(
    command: clap::Command,
    arguments: &[OsString],
    runs: bool,
) -> Result<T, ExitCode> {
    let command = run::without_empty_variables(command);
    let parsed = command.try_get_matches_from(arguments).and_then(|matches| T::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let _ = error.print();
        if runs && error.use_stderr() {
            let text = error.render().to_string();
            let why = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            refuse(report_of(arguments), why);
        }
        if error.exit_code() == 0 { ExitCode::SUCCESS } else { ExitKind::Usage.into() }
    })
}

/// Where the report of a run with these arguments would be, as far as that can be told of arguments that cannot be read.
fn report_of(arguments: &[OsString]) -> PathBuf {
    let value_of = |flag: &str, variable: &str| {
        let given = arguments.iter().enumerate().rev().find_map(|(index, argument)| {
            let rest = argument.to_str()?.strip_prefix(flag)?;
            match rest.strip_prefix('=') {
                Some(value) => Some(OsString::from(value)),
                None if rest.is_empty() => arguments.get(index + 1).cloned(),
                None => None,
            }
        });
        given.or_else(|| std::env::var_os(variable)).filter(|value| !value.is_empty()).map(PathBuf::from)
    };
    let output = || value_of("--output", "PISAURA_OUTPUT").unwrap_or_else(|| PathBuf::from(run::OUTPUT));
    value_of("--junit", "PISAURA_JUNIT").unwrap_or_else(|| output().join("junit.xml"))
}

/// Puts a report that says why nothing was run in the place of an old one; nothing else is made in a folder that may be a mistake.
pub(crate) fn refuse(path: PathBuf, why: &str) {
    if path.exists()
        && let Err(why) = JunitReport::refuse(path, why)
    {
        eprintln!("error: {why}");
    }
}

/// The value of a variable. One that holds what is no text is a mistake, and not a variable that is not set: that would be a
/// reason to test nothing.
pub(crate) fn environment(name: &str) -> Option<String> {
    match std::env::var(name) {
        Ok(value) => Some(value),
        Err(std::env::VarError::NotPresent) => None,
        Err(std::env::VarError::NotUnicode(_)) => {
            eprintln!("error: the value of the variable {name} is not UTF-8");
            std::process::exit(ExitKind::Usage as i32);
        }
    }
}

/// A value that is shorter stands in other texts by chance.
const VALUE_BYTES_MIN: usize = 4;

/// A text of this book without the values of the variables that it uses, but for those that name hosts: a book of somebody else's may
/// name any variable.
pub(crate) fn without_values(book: &Fatebook, text: &str) -> String {
    let values = book.used.iter().filter(|(_, shown)| shown.is_none());
    let values = values.filter_map(|(name, _)| Some((name, environment(name)?)));
    let mut values: Vec<_> = values.filter(|(_, value)| value.len() >= VALUE_BYTES_MIN).collect();
    values.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(value, &format!("${{{name}}}")))
}

/// Tells a person something on standard error.
pub(crate) fn say(text: &str) {
    let text = clean_text(text);
    let _ = writeln!(std::io::stderr(), "pisaura: {text}");
}

/// Prints a text on standard output, and answers with this exit code, or with 1 if it cannot be printed.
pub fn print(text: &str, exit: ExitKind) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => exit.into(),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: cannot print: {error}");
            ExitKind::Unhealthy.into()
        }
    }
}
