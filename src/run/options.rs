//! What can be said of a run, on the command line and in the environment: Pisaura's own flags, the same for the test
//! harness and for `pisaura run`.

use std::path::PathBuf;

use clap::builder::{BoolishValueParser, Resettable};
use clap::{Arg, Args, Command, ValueEnum};

/// Pisaura's own flags.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Pisaura")]
pub struct RunOptions {
    /// Where cases run: `local` is this process
    #[arg(long, env = "PISAURA_MASTER", default_value = "local", value_name = "WHERE")]
    pub master: String,

    /// The fatebooks: a folder, at any depth, or one file
    #[arg(long, env = "PISAURA_FATEBOOKS", default_value = "fatebooks", value_name = "PATH")]
    pub fatebooks: PathBuf,

    /// The folder for reports and logs
    #[arg(long, env = "PISAURA_OUTPUT", default_value = "target/pisaura", value_name = "FOLDER")]
    pub output: PathBuf,

    /// The JUnit report [default: junit.xml in the folder for reports]
    #[arg(long, env = "PISAURA_JUNIT", value_name = "FILE")]
    pub junit: Option<PathBuf>,

    /// Whom the JUnit report is for: GitLab also reads the file of each case [default: gitlab where GITLAB_CI is set, else jenkins]
    #[arg(long, env = "PISAURA_JUNIT_FOR", value_enum, value_name = "READER")]
    pub junit_for: Option<JunitFlavor>,

    /// Only cases with this tag, or without it if it begins with `!`; may be given several times
    #[arg(long, env = "PISAURA_TAG", value_name = "TAG", value_delimiter = ',')]
    pub tag: Vec<String>,

    /// Skip the rest of the whole run after the first case that does not pass
    #[arg(long, env = "PISAURA_FAIL_FAST", value_parser = BoolishValueParser::new())]
    pub fail_fast: bool,

    /// Print what would be done, and touch nothing
    #[arg(long, env = "PISAURA_DRY_RUN", value_parser = BoolishValueParser::new())]
    pub dry_run: bool,

    /// Take a variable that is not set for a mistake in the book, instead of ignoring its cases
    #[arg(long, env = "PISAURA_STRICT", value_parser = BoolishValueParser::new())]
    pub strict: bool,

    /// How many services are under test at once
    #[arg(skip = 1usize)]
    pub test_threads: usize,

    /// Whether scripts' output is shown while they run
    #[arg(skip)]
    pub live_output: bool,

    /// The nextest run that this process is a case of
    #[arg(skip)]
    pub nextest_run: Option<String>,
}

/// Whom the JUnit report is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum JunitFlavor {
    /// Valid against the schema of Jenkins' xunit plugin
    Jenkins,
    /// With the book's file as attribute of each case
    Gitlab,
}

/// A command line that takes a variable that is set but empty for one that is not set, as a CI has many of.
pub fn without_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg })
        .mut_subcommands(without_empty_variables)
}

impl RunOptions {
    /// Whom the JUnit report is for: as said, or by where this runs.
    pub fn junit_flavor(&self) -> JunitFlavor {
        self.junit_for.unwrap_or_else(|| match std::env::var_os("GITLAB_CI") {
            Some(_) => JunitFlavor::Gitlab,
            None => JunitFlavor::Jenkins,
        })
    }

    /// Fails, saying why, on a `--master` that this version cannot use.
    pub fn check(&self) -> Result<(), String> {
        match self.master.as_str() {
            "local" => Ok(()),
            other => Err(format!(
                "--master {other}: this version runs cases in its own process only; leave it out, or say `local`"
            )),
        }
    }
}
