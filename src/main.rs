//! `pisaura`'s command line; nothing else.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use pisaura::harness::{self, Face, Options};
use pisaura::run::RunOptions;

/// Does a service fail successfully? Tries the failures of fatebooks, and heals the hosts again
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Pisaura {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0 survived, 1 a service was unhealthy, 2 a mistake in the command line or in a book,
3 a case could not be carried out, 4 a host is left unreverted, 130 interrupted";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run cases: all of them, or those that the filters mean
    #[command(after_help = EXIT_CODES)]
    Run(Box<Options>),
    /// List the names of the cases
    List(Box<Options>),
    /// Say what is wrong with the fatebooks; touches no host
    Check(Box<RunOptions>),
    /// Revert the hosts that older runs, killed or unlucky, may have left broken
    #[command(
        after_help = "Exit codes: 0 nothing is dirty, 3 what is remembered cannot be read, 4 a host may still be broken"
    )]
    Revert {
        /// Only list them, with the command that heals each by hand
        #[arg(long)]
        list: bool,

        /// Take this case's host for healed, which cannot be any more: it is gone, or somebody else has healed it
        #[arg(long, value_name = "CASE", conflicts_with = "list")]
        forget: Option<String>,

        /// The folder for reports and logs, in which the runs' journal lies
        #[arg(long, env = "PISAURA_OUTPUT", default_value = "target/pisaura", value_name = "FOLDER")]
        output: std::path::PathBuf,
    },
    /// Write a first fatebook here, and in a cargo package the test target for it
    Init,
    /// Print the JSON Schema of a fatebook, for editors
    Schema,
    /// Carry out cases for a Mesos agent, which starts this itself
    Executor,
}

fn main() -> ExitCode {
    if let Some(code) = pisaura::remote::supervise(&std::env::args_os().collect::<Vec<_>>()) {
        return code;
    }
    pisaura::remote::protect_memory();
    let arguments: Vec<_> = std::env::args_os().collect();
    let runs = arguments.get(1).is_some_and(|command| command == "run");
    let pisaura = match harness::parse::<Pisaura>(Pisaura::command(), &arguments, runs) {
        Ok(pisaura) => pisaura,
        Err(code) => return code,
    };
    match pisaura.command {
        Command::Run(options) => harness::go(*options, Face::Program),
        Command::List(options) => harness::go(options.listing(), Face::Program),
        Command::Check(options) => harness::check(&options),
        Command::Revert { list, forget, output } => harness::revert(&output, list, forget.as_deref()),
        Command::Init => match pisaura::init::init(std::path::Path::new(".")) {
            Ok(told) => harness::print(&told, 0),
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(2)
            }
        },
        Command::Schema => harness::print(&pisaura::fatebook::schema(), 0),
        Command::Executor => pisaura::executor::serve(),
    }
}
