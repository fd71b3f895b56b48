//! The program `pisaura`: its subcommands and the flags of those that run no case; nothing else.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use pisaura::cli;
use pisaura::harness::{self, Options};
use pisaura::run::{ExitKind, Face, RunOptions};

/// Does a service fail successfully? Tries the failures of fatebooks, and heals the hosts again
#[derive(Debug, Parser)]
#[command(version, after_help = ExitKind::of_run())]
struct Pisaura {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run cases: all of them, or those that the filters mean
    #[command(after_help = ExitKind::of_run())]
    Run(Box<Options>),
    /// List the names of the cases
    List(Box<Options>),
    /// Say what is wrong with the fatebooks; touches no host, unless it is to connect
    #[command(after_help = ExitKind::of_check())]
    Check {
        /// Log in to the hosts, too, bring the scripts there, and say whether each failure could be tried; breaks nothing, and takes
        /// everything away again
        #[arg(long)]
        connect: bool,

        #[command(flatten)]
        options: Box<RunOptions>,
    },
    /// Revert hosts that earlier runs may have left broken
    #[command(after_help = ExitKind::of_revert())]
    Revert {
        /// Only list them, with the command that heals each by hand
        #[arg(long)]
        list: bool,

        /// Mark this case's host as healed because it can no longer be reverted: it is gone, or was healed some other way
        #[arg(long, value_name = "CASE", conflicts_with = "list")]
        forget: Option<String>,

        /// The folder for reports and logs, in which the runs' journal lies
        #[arg(long, env = "PISAURA_OUTPUT", default_value = "target/pisaura", value_name = "FOLDER")]
        output: std::path::PathBuf,
    },
    /// Ask a service once, as a healthcheck does that names `http` or `tcp`
    Probe(pisaura::executor::Probe),
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
    if let Some(code) = pisaura::executor::probe(&std::env::args_os().collect::<Vec<_>>()) {
        return code;
    }
    pisaura::remote::protect_memory();
    let arguments: Vec<_> = std::env::args_os().collect();
    let runs = arguments.get(1).is_some_and(|command| command == "run");
    let pisaura = match cli::parse::<Pisaura>(Pisaura::command(), &arguments, runs) {
        Ok(pisaura) => pisaura,
        Err(code) => return code,
    };
    match pisaura.command {
        Command::Run(options) => harness::go(*options, Face::Program),
        Command::List(options) => harness::go(options.listing(), Face::Program),
        Command::Check { connect, options } => cli::check(&options, connect),
        Command::Revert { list, forget, output } => cli::revert(&output, list, forget.as_deref()),
        Command::Probe(probe) => probe.ask(),
        Command::Init => match pisaura::init::init(std::path::Path::new(".")) {
            Ok(told) => cli::print(&told, ExitKind::Fine),
            Err(error) => {
                eprintln!("error: {error}");
                ExitKind::Usage.into()
            }
        },
        Command::Schema => cli::print(&pisaura::fatebook::schema(), ExitKind::Fine),
        Command::Executor => pisaura::executor::serve(),
    }
}
