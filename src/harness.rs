//! The face that cargo, nextest and editors see: libtest's arguments, its names and its output, with Pisaura's own flags.
//!
//! Cases are run by [`crate::run`]; libtest-mimic only prints: each of its trials waits for the outcome of its case. That
//! keeps the printing in libtest's form and order while one rule alone decides what goes when.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};
use libtest_mimic::{Arguments, ColorSetting, Completion, Failed, FormatSetting, Trial};

use crate::cluster::tear_down;
use crate::fatebook::{Reading, show_duration, tell_allowed};
use crate::machine::{CaseOutcome, NOT_FOR_THIS_HOST, Verdict};
use crate::remote::Interrupt;
use crate::report::{
    Debts, JOURNAL, Journal, JunitReport, Logs, Look, Repeat, Reporters, Terminal, clean_line, clean_text,
    failure_text, headline, success_text,
};
use crate::run::{self, Case, CaseKind, JunitFlavor, RunOptions, Selection, Shelf};

/// The exit code for a command line, or a choice of cases, that means nothing.
const USAGE: u8 = 2;

/// Which door a run came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// A test target: libtest's exit codes.
    Harness,
    /// The program: exit codes that tell what kind of trouble there was.
    Program,
}

/// What can be said on the command line: what libtest takes, and Pisaura's own flags.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// Only cases whose name has one of these texts in it
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,

    /// Take filters for whole names; a name without its `@host` means the failure on all its hosts
    #[arg(long)]
    exact: bool,

    /// Leave out cases whose name has this text in it; may be given several times
    #[arg(long, value_name = "FILTER")]
    skip: Vec<String>,

    /// Run only ignored cases
    #[arg(long, conflicts_with = "include_ignored")]
    ignored: bool,

    /// Run ignored cases as well
    #[arg(long)]
    include_ignored: bool,

    /// List the names of the cases instead of running them
    #[arg(long)]
    list: bool,

    /// How many services are under test at once; cases of one service never overlap
    #[arg(long, env = "PISAURA_TEST_THREADS", value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=512))]
    test_threads: u16,

    /// Show what scripts print while they run, on standard error
    #[arg(long, visible_alias = "no-capture", env = "PISAURA_NOCAPTURE", value_parser = clap::builder::BoolishValueParser::new())]
    nocapture: bool,

    /// Show the steps and output of cases that passed, too
    #[arg(long, env = "PISAURA_SHOW_OUTPUT", value_parser = clap::builder::BoolishValueParser::new())]
    show_output: bool,

    /// One character for each case, and no progress
    #[arg(short, long)]
    quiet: bool,

    /// When to use colours
    #[arg(long, value_enum, value_name = "WHEN")]
    color: Option<Color>,

    /// How to print; json is for editors: lines of JSON, and nothing else on standard output
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,

    /// Write libtest's output to this file instead of standard output
    #[arg(long, value_name = "PATH")]
    logfile: Option<PathBuf>,

    /// Taken for libtest's sake; everything is stable here
    #[arg(short = 'Z', value_name = "unstable-options", hide = true)]
    unstable: Vec<String>,

    /// Taken for libtest's sake: run tests
    #[arg(long, hide = true)]
    test: bool,

    /// Taken for libtest's sake: run benchmarks, of which there are none
    #[arg(long, hide = true)]
    bench: bool,

    #[command(flatten)]
    run: RunOptions,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Pretty,
    Terse,
    Json,
}

const ABOUT: &str = "Tries every failure of every fatebook as a test case, and heals the hosts again";
const AFTER_HELP: &str = "\
Each of Pisaura's flags is also a variable, for `cargo nextest` and editors, which pass no flags on.
Variables without a flag:
  PISAURA_LOCKS=FOLDER  where runs of this machine keep out of each other's way [default: /tmp/pisaura-locks-UID]
  PISAURA_SECRET=TEXT   the secret of --principal, if it is in no file

Exit codes: 0 all passed, 101 a case failed, 2 a mistake in the command line, 130 interrupted";

/// The whole of a test target: `fn main() -> ExitCode { pisaura::harness::main() }`.
pub fn main() -> ExitCode {
    let command = Options::command()
        .name("fatebooks")
        .bin_name("cargo test --test fatebooks --")
        .about(ABOUT)
        .after_help(AFTER_HELP);
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(code) = crate::remote::supervise(&arguments) {
        return code;
    }
    crate::remote::protect_memory();
    if crate::executor::is_executor(&arguments) {
        return crate::executor::serve();
    }
    match parse::<Options>(command, &arguments, true) {
        Ok(options) => go(options, Face::Harness),
        Err(code) => code,
    }
}

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
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE))
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
fn refuse(path: PathBuf, why: &str) {
    if path.exists()
        && let Err(why) = JunitReport::refuse(path, why)
    {
        eprintln!("error: {why}");
    }
}

impl Options {
    /// The same run, only listed.
    pub fn listing(mut self) -> Self {
        self.list = true;
        self
    }

    /// The flags of the run.
    pub fn run_options(&self) -> &RunOptions {
        &self.run
    }

    fn selection(&self) -> Selection {
        Selection {
            filters: self.filters.clone(),
            exact: self.exact,
            skip: self.skip.clone(),
            tags: self.run.tag.clone(),
            // In a listing libtest-mimic leaves the others out itself.
            ignored_only: self.ignored && !self.list,
        }
    }

    fn for_libtest(&self) -> Arguments {
        Arguments {
            list: self.list,
            ignored: self.ignored,
            include_ignored: self.include_ignored,
            quiet: self.quiet,
            test: self.test,
            bench: self.bench && self.list,
            logfile: self.logfile.as_ref().map(|path| path.display().to_string()),
            color: self.color.map(|color| match color {
                Color::Auto => ColorSetting::Auto,
                Color::Always => ColorSetting::Always,
                Color::Never => ColorSetting::Never,
            }),
            format: self.format.map(|format| match format {
                Format::Pretty => FormatSetting::Pretty,
                Format::Terse => FormatSetting::Terse,
                Format::Json => FormatSetting::Json,
            }),
            // One thread prints in the order of the list; what runs at once is not its business.
            test_threads: Some(1),
            // All cases that are not meant have one name, which is left out: so they are counted as libtest counts them.
            exact: true,
            skip: vec![FILTERED_OUT.to_owned()],
            ..Arguments::default()
        }
    }
}

/// The name of everything that was not asked for. No case is called so, for all have `::` in their names.
const FILTERED_OUT: &str = "-";

/// Lists or runs what the options say, and answers with the exit code of the process.
pub fn go(mut options: Options, face: Face) -> ExitCode {
    match prepare(&mut options) {
        Ok((shelf, chosen)) if options.list => list(&options, &shelf, &chosen),
        Ok((shelf, chosen)) if options.run.dry_run => dry_run(&shelf, &chosen, options.run.ship_max),
        Ok((shelf, chosen)) => carry_out(&options, &shelf, &chosen, face),
        Err(message) => {
            eprintln!("error: {message}");
            if !options.list && !options.run.dry_run {
                refuse(
                    options.run.junit.clone().unwrap_or_else(|| options.run.output.join("junit.xml")),
                    &message,
                );
            }
            ExitCode::from(USAGE)
        }
    }
}

/// The value of a variable. One that holds what is no text is a mistake, and not a variable that is not set: that would be a
/// reason to test nothing.
fn environment(name: &str) -> Option<String> {
    match std::env::var(name) {
        Ok(value) => Some(value),
        Err(std::env::VarError::NotPresent) => None,
        Err(std::env::VarError::NotUnicode(_)) => {
            eprintln!("error: the value of the variable {name} is not UTF-8");
            std::process::exit(i32::from(USAGE));
        }
    }
}

fn prepare(options: &mut Options) -> Result<(Shelf, Vec<bool>), String> {
    options.run.mesos()?;
    options.run.test_threads = usize::from(options.test_threads);
    options.run.live_output = options.nocapture;
    if std::env::var_os("NEXTEST_EXECUTION_MODE").is_some_and(|mode| mode == "process-per-test") {
        options.run.nextest_run = std::env::var("NEXTEST_RUN_ID").ok().filter(|run| !run.is_empty());
    }
    if let Some(path) = options.logfile.as_ref().filter(|_| !options.list) {
        // libtest would find out once the first case is over.
        std::fs::File::options()
            .append(true)
            .create(true)
            .open(path)
            .map_err(|error| format!("cannot write --logfile {}: {error}", path.display()))?;
    }
    let exact = options.exact.then_some(options.filters.as_slice()).filter(|names| !names.is_empty());
    let forced = options.ignored || options.include_ignored;
    let reading = Reading { strict: options.run.strict, thorough: false };
    let shelf = Shelf::open(&options.run.fatebooks, exact, reading, &environment, forced)?;
    let mut chosen = run::select(&shelf, &options.selection())?.chosen;
    if options.bench && !options.list {
        // As libtest, which runs no test then: a case that it takes for left out must not break a host.
        eprintln!("warning: `--bench` runs benchmarks, of which there are none: no case is run");
        chosen.fill(false);
    }
    if !options.list {
        run::check_allowed(&shelf, &chosen, &options.run.allow_hosts)?;
    }
    Ok((shelf, chosen))
}

fn trial_name(case: &Case, chosen: &[bool]) -> String {
    if chosen[case.id] { case.name.clone() } else { FILTERED_OUT.to_owned() }
}

fn list(options: &Options, shelf: &Shelf, chosen: &[bool]) -> ExitCode {
    let mut text = String::new();
    for case in shelf.cases.iter().filter(|case| chosen[case.id]) {
        if !options.ignored || case.ignored.is_some() {
            text.push_str(&case.name);
            text.push_str(": test\n");
        }
    }
    if options.format.is_none_or(|format| format == Format::Pretty) && !options.quiet {
        let count = text.lines().count();
        let plural = if count == 1 { "" } else { "s" };
        text.push_str(&format!("\n{count} test{plural}, 0 benchmarks\n"));
    }
    print(&text, 0)
}

/// Reverts what older runs have left dirty. Fails, with the exit code, if that cannot be, for then nothing else may be broken.
fn heal_first(
    options: &Options,
    face: Face,
    terminal: &mut Terminal,
    cases: &[Arc<Case>],
) -> Result<(), ExitCode> {
    let trouble = ExitCode::from(if face == Face::Program { 3 } else { 101 });
    let journal = options.run.output.join(JOURNAL);
    let mut debts = Debts::open(&journal, options.run.nextest_run.as_deref(), options.run.no_heal, || {
        say("waiting for another run, which heals what an older one has left");
    })
    .map_err(|error| {
        eprintln!("error: {error}");
        trouble
    })?;
    for damaged in &debts.damaged {
        say(&format!("warning: {damaged}"));
    }
    let dirty = debts.runs.values().map(|left| left.dirty.len()).sum::<usize>();
    if options.run.no_heal {
        if dirty > 0 {
            say(&format!(
                "{} of older runs may have left hosts broken, which stay as they are: `pisaura revert --list` shows them",
                plural(dirty, "case")
            ));
        }
        return Ok(());
    }
    end_older_frameworks(options, &debts);
    // Whoever is not meant, or not allowed, is left alone.
    let others = debts.only_on(&run::hosts_of(cases));
    if others > 0 {
        say(&format!(
            "{} of older runs may have left other hosts broken: `pisaura revert --list` shows them, `pisaura revert` heals them",
            plural(others, "case")
        ));
    }
    let healed = settle_debts(&debts)?;
    if healed.shouts.is_empty() {
        return Ok(());
    }
    terminal.shout(&healed.shouts);
    say(
        "nothing was run, for an older run has left hosts that may still be broken: once they are healed by hand, \
         `pisaura revert` settles it; where that cannot be, `pisaura revert --forget CASE` strikes a case off. `--no-heal` \
         leaves them as they are, and tests other hosts",
    );
    Err(ExitCode::from(if face == Face::Program { 4 } else { 101 }))
}

/// Executors of an older run may still be at work on the Mesos of this one, and would revert into what this run breaks.
fn end_older_frameworks(options: &Options, debts: &Debts) {
    let Ok(Some(mesos)) = options.run.mesos() else { return };
    for (master, framework) in debts.runs.values().filter_map(|left| left.framework.as_ref()) {
        if *master == mesos.master {
            say(&format!("ending what an older run has left on {master}"));
            if let Err(why) = tear_down(&mesos, framework) {
                say(&format!("warning: {why}"));
            }
        }
    }
}

fn settle_debts(debts: &Debts) -> Result<run::Healed, ExitCode> {
    let interrupt = Interrupt::new().map_err(|error| {
        eprintln!("error: cannot begin: {error}");
        ExitCode::from(3)
    })?;
    let listening = run::raise_on_signal(interrupt.clone(), say, 4).map_err(|error| {
        eprintln!("error: cannot listen to signals: {error}");
        ExitCode::from(3)
    })?;
    let healed = run::heal(debts, &environment, &interrupt, say);
    drop(listening);
    for warning in &healed.warnings {
        say(&format!("warning: {warning}"));
    }
    if healed.interrupted {
        say("interrupted: hosts may still be broken: `pisaura revert --list` shows them");
        return Err(ExitCode::from(130));
    }
    Ok(healed)
}

fn say(text: &str) {
    let text = clean_text(text);
    let _ = writeln!(std::io::stderr(), "pisaura: {text}");
}

/// What is said where nothing is dirty that can be read, and something cannot be read.
const UNREADABLE: &str = "whether other hosts are dirty is not known: see the warnings above\n";

/// The whole of `pisaura revert`: reverts what older runs have left dirty, or only lists it, or strikes one case off. The exit
/// code is 0 if nothing is dirty any more, 3 if the journal, or what is remembered beside it, cannot be read, 4 if hosts may still be
/// broken.
pub fn revert(output: &std::path::Path, only_list: bool, forget: Option<&str>) -> ExitCode {
    let waits = || say("waiting for another run, which is at it");
    let debts = match Debts::open(&output.join(JOURNAL), None, only_list, waits) {
        Ok(debts) => debts,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(3);
        }
    };
    if let Some(name) = forget {
        let of_name = |record: &&serde_json::Value| record["case"] == name;
        let all =
            debts.runs.iter().flat_map(|(run, left)| left.dirty.iter().map(move |record| (run, record)));
        let meant: Vec<_> = all.filter(|(_, record)| of_name(record)).collect();
        if meant.is_empty() {
            eprintln!("error: no case `{name}` is dirty: `pisaura revert --list` shows those that are");
            return ExitCode::from(USAGE);
        }
        return match meant.iter().try_for_each(|(run, record)| debts.reverted(run, record)) {
            Ok(()) => print(&format!("{name} is forgotten\n"), 0),
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(3)
            }
        };
    }
    for damaged in &debts.damaged {
        say(&format!("warning: {damaged}"));
    }
    let mut text = String::new();
    for record in debts.runs.values().flat_map(|left| &left.dirty) {
        text.push_str(&run::describe(record));
        text.push('\n');
    }
    if only_list {
        let code = match (text.is_empty(), debts.damaged.is_empty()) {
            (false, _) => 4,
            (true, false) => 3,
            (true, true) => 0,
        };
        if text.is_empty() {
            text.push_str(if code == 0 { "no host is dirty\n" } else { UNREADABLE });
        }
        return print(&text, code);
    }
    let healed = match settle_debts(&debts) {
        Ok(healed) => healed,
        Err(code) => return code,
    };
    Terminal::new(Look::fitting(true)).shout(&healed.shouts);
    match (healed.shouts.len(), healed.reverted) {
        (0, _) if healed.unrecorded => ExitCode::from(3),
        (0, count) if !debts.damaged.is_empty() => print(&format!("{count} reverted; {UNREADABLE}"), 3),
        (0, 0) => print("no host was dirty\n", 0),
        (0, count) => print(&format!("{count} reverted\n"), 0),
        _ => ExitCode::from(4),
    }
}

fn carry_out(options: &Options, shelf: &Shelf, chosen: &[bool], face: Face) -> ExitCode {
    let cases: Vec<Arc<Case>> = shelf.cases.iter().filter(|case| chosen[case.id]).cloned().collect();
    if cases.is_empty() {
        let (count, books) = (shelf.cases.len(), shelf.books);
        eprintln!(
            "\nwarning: NOTHING WAS SELECTED, so nothing is tested: none of the {count} cases of {books} fatebooks in `{}` \
             is meant by what was asked for. `--list` shows their names",
            options.run.fatebooks.display()
        );
        if face == Face::Program {
            return ExitCode::from(USAGE);
        }
    }
    let nextest = options.run.nextest_run.is_some();
    let repeat = repeat(&options.run, face);
    let terminal = Arc::new(Mutex::new(Terminal::new(Look::fitting(options.quiet))));
    let junit_path = match (&options.run.junit, nextest, cases.first()) {
        (Some(path), ..) => path.clone(),
        (None, true, Some(case)) => JunitReport::path_of_one(&options.run.output, &case.name),
        (None, ..) => options.run.output.join("junit.xml"),
    };
    let mut junit =
        JunitReport::new(junit_path, options.run.junit_flavor() == JunitFlavor::Gitlab, repeat.clone());
    // An old report would be taken for this run's, should that be refused or killed. If it cannot be written now, the end tells.
    let _ = junit.write();
    if let Err(code) = heal_first(options, face, &mut lock(&terminal), &cases) {
        return code;
    }
    let infos = run::case_infos(&cases);
    let logs = Logs::new(options.run.output.join("logs"));
    let journal = Journal::new(options.run.output.join(JOURNAL), options.run.nextest_run.clone());
    let reporters = Reporters::new(infos, Arc::clone(&terminal), Some(junit), Some(logs), Some(journal));
    let (run, mut outcomes) = match run::begin(&cases, &options.run, reporters) {
        Ok(begun) => begun,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(if face == Face::Program { 3 } else { 101 });
        }
    };
    let columns = cases.iter().map(|case| case.name.chars().count()).max().unwrap_or(0) + "test  ... ".len();
    let passed: Arc<Mutex<Vec<(String, CaseOutcome)>>> = Arc::default();
    let interrupted: Arc<AtomicBool> = Arc::default();
    let trials = shelf
        .cases
        .iter()
        .map(|case| {
            let Some(outcome) = outcomes.remove(&case.id) else {
                return Trial::test(trial_name(case, chosen), || Ok(()));
            };
            let (case, terminal, passed, repeat) =
                (Arc::clone(case), Arc::clone(&terminal), Arc::clone(&passed), repeat.clone());
            let interrupted = Arc::clone(&interrupted);
            let show_output = options.show_output;
            Trial::ignorable_test(case.name.clone(), move || {
                lock(&terminal).show(case.id, columns);
                let outcome = outcome.recv();
                lock(&terminal).hide();
                let Ok(outcome) = outcome else {
                    return Err(Failed::from("the run ended before this case did"));
                };
                if show_output && outcome.verdict == Verdict::Survived {
                    lock(&passed).push((case.name.clone(), outcome.clone()));
                }
                conclude(&case, &outcome, &repeat, nextest, &interrupted)
            })
        })
        .collect();
    let mut arguments = options.for_libtest();
    // Which of them are ignored was decided when they were chosen, so that the reason can be told.
    arguments.ignored = false;
    arguments.include_ignored = true;
    // It panics when standard output is closed, and running cases must be reverted all the same.
    let hook = std::panic::take_hook();
    let printer = std::thread::current().id();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() != printer {
            hook(panic);
        }
    }));
    let printed = catch_unwind(AssertUnwindSafe(|| libtest_mimic::run(&arguments, trials)));
    let _ = std::panic::take_hook();
    if printed.is_err() {
        run.interrupt("standard output, which cannot be written to any more");
    }
    let end = run.join();
    if end.broke_down {
        say("error: the run has broken down, which is a defect of Pisaura: what ran was ended and reverted");
    }
    lock(&terminal).shout(&end.shouts);
    // In JSON nothing but events may stand on standard output.
    if options.format != Some(Format::Json) {
        for (name, outcome) in lock(&passed).iter() {
            let _ = writeln!(std::io::stdout(), "---- {name} ----\n{}", success_text(outcome));
        }
    }
    let untried = !end.interrupted && end.verdicts.iter().all(|verdict| *verdict == Verdict::Skipped);
    if untried && !cases.is_empty() {
        let count = cases.len();
        let what = if count == 1 { "the 1 case was".to_owned() } else { format!("all {count} cases were") };
        let text = format!("nothing was tried: {what} ignored\n");
        match options.format {
            Some(Format::Json) => eprint!("{text}"),
            _ => drop(std::io::stdout().write_all(text.as_bytes())),
        }
        let one_was_meant = options.exact && options.filters.len() == 1;
        if (options.run.strict || one_was_meant) && cases.iter().all(|case| case.ignored.is_some()) {
            return ExitCode::from(if face == Face::Program { USAGE } else { 101 });
        }
    }
    match (face, printed) {
        (Face::Program, _) => ExitCode::from(end.exit_code()),
        (Face::Harness, _) if end.broke_down => ExitCode::from(101),
        (Face::Harness, Ok(conclusion)) if !end.interrupted && (end.report_lost || end.unrecorded) => {
            // Whoever reads the report would read an old one, or none.
            if conclusion.has_failed() { conclusion.exit_code() } else { ExitCode::from(101) }
        }
        (Face::Harness, Ok(conclusion)) if !end.interrupted => match end.exit_code() {
            0 => conclusion.exit_code(),
            // Whatever libtest has counted.
            _ => ExitCode::from(101),
        },
        (Face::Harness, Err(_)) => ExitCode::from(101),
        (Face::Harness, _) => ExitCode::from(130),
    }
}

/// What libtest is told of a case.
fn conclude(
    case: &Case,
    outcome: &CaseOutcome,
    repeat: &Repeat,
    nextest: bool,
    interrupted: &AtomicBool,
) -> Result<Completion, Failed> {
    match outcome.verdict {
        Verdict::Survived => Ok(Completion::Completed),
        Verdict::Skipped => {
            let reason = headline(outcome).trim_start_matches("skipped: ").to_owned();
            // nextest takes a case that was ignored while it ran for one that passed; those that are always ignored it
            // never runs. That a failure is none for a host is nothing amiss.
            let fits = outcome.main_finding().is_none_or(|finding| finding.kind != NOT_FOR_THIS_HOST);
            if nextest && fits {
                eprintln!("Error: skipped: {reason}");
                return Err(Failed::from(format!("skipped: {reason}")));
            }
            // One of those that an interrupt has left untried fails, so that the result of all is not called ok.
            if reason.starts_with("interrupted") && !interrupted.swap(true, Ordering::Relaxed) {
                return Err(Failed::from(reason));
            }
            Ok(Completion::ignored_with(reason))
        }
        _ => {
            if nextest {
                // This line becomes the message in nextest's own JUnit report.
                eprintln!("Error: {}", headline(outcome));
            }
            Err(Failed::from(failure_text(&case.info(), outcome, repeat)))
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a case is run again: cargo puts a hash behind the name of a test target.
fn repeat(options: &RunOptions, face: Face) -> Repeat {
    // A relative path holds from where the run was begun, as the command does.
    let flags = match options.fatebooks.to_str() {
        Some("fatebooks") | None => String::new(),
        Some(path) => format!("--fatebooks {} ", crate::remote::quote(path)),
    };
    if face == Face::Program {
        return Repeat::Program(flags);
    }
    let program = std::env::args().next().unwrap_or_default();
    let name = PathBuf::from(program)
        .file_stem()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let target = match name.rsplit_once('-') {
        Some((target, hash)) if hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit()) => target,
        _ => &name,
    };
    Repeat::Cargo(target.to_owned(), flags)
}

/// Prints a text on standard output, and answers with this exit code, or with 1 if it cannot be printed.
pub fn print(text: &str, code: u8) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: cannot print: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How many of the files that travel with a book are named.
const SHIPPED_TOLD: usize = 20;

/// A line that says what travels with a book, and whether it may.
fn shipped_with(book: &crate::fatebook::Fatebook, bytes_max: u64) -> (String, bool) {
    let files = match crate::executor::shipped(book, bytes_max) {
        Ok(files) => files,
        Err(error) => return (format!("{}: cannot travel: {error}\n", book.name), false),
    };
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    // As the book would name them.
    let shown = |file: &crate::executor::Shipped| {
        let path = file.source.strip_prefix(&book.folder).unwrap_or(&file.source);
        clean_line(&path.display().to_string())
    };
    let mut names: Vec<String> = files.iter().take(SHIPPED_TOLD).map(shown).collect();
    if files.len() > SHIPPED_TOLD {
        names.push(format!("and {} more", files.len() - SHIPPED_TOLD));
    }
    let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    (format!("{}: {} KiB travel with it: {names}\n", book.name, bytes.div_ceil(1024)), true)
}

fn dry_run(shelf: &Shelf, chosen: &[bool], ship_bytes_max: u64) -> ExitCode {
    let mut text = String::new();
    let mut broken = false;
    let mut told = HashSet::new();
    for case in shelf.cases.iter().filter(|case| chosen[case.id]) {
        if let Some(book) = case.book().filter(|book| told.insert(book.name.clone())) {
            let (line, fits) = shipped_with(&book, ship_bytes_max);
            broken |= !fits;
            text.push_str(&line);
        }
        text.push_str(&format!("{}\n", case.name));
        if let Some(outcome) = case.settled_already() {
            broken |= outcome.verdict != Verdict::Skipped;
            text.push_str(&format!("  {}\n", headline(&outcome)));
            continue;
        }
        let (CaseKind::Failure { book, host: Some(host), .. }, Some(fate)) = (&case.kind, case.fate()) else {
            continue;
        };
        let values =
            crate::fatebook::CaseValues { host: &host.host, service: &book.service, failure: &fate.name };
        let secrets = crate::fatebook::Redactor::new(&book.secret_values);
        let show = |command: &crate::fatebook::Command, more: &[String]| {
            let words = crate::executor::shown_words(command, &values, more);
            let words: Vec<String> = words.iter().map(|word| crate::remote::quote(word)).collect();
            secrets.clean(&words.join(" "))
        };
        // Whether shell text takes it changes what is run; behind a program it goes without saying.
        let is_shell = fate.healthcheck.style == crate::fatebook::CommandStyle::Shell;
        let step: Option<String> = (fate.pass_step && is_shell).then(|| "--step=N".to_owned());
        let limit = show_duration(fate.timeout);
        let mut number = '1';
        if let Some(only_if) = &fate.only_if {
            text.push_str(&format!("  1 only if      on {host}, within {limit}: {}\n", show(only_if, &[])));
            number = ' ';
        }
        text.push_str(&format!(
            "  {number} healthcheck  here, within {limit}: {}\n",
            show(&fate.healthcheck, step.as_slice())
        ));
        text.push_str(&format!("  2 inducer      on {host}, within {limit}: {}\n", show(&fate.inducer, &[])));
        if let Some(verify) = &fate.verify {
            text.push_str(&format!("    verify       on {host}, within {limit}: {}\n", show(verify, &[])));
        }
        let grace = match fate.grace.is_zero() {
            true => String::new(),
            false => format!(", asked again for {}", show_duration(fate.grace)),
        };
        text.push_str(&match &fate.hold {
            None => format!("  3 healthcheck  here{grace}\n"),
            Some(hold) => format!(
                "  3 hold         {}, healthcheck here every {}, within {}: {}{}\n",
                show_duration(hold.time),
                show_duration(hold.every),
                show_duration(hold.answer_within),
                tell_allowed(hold),
                match fate.grace.is_zero() {
                    true => String::new(),
                    false => format!(" after the first {}", show_duration(fate.grace)),
                }
            ),
        });
        if let Some(still) = &fate.still {
            text.push_str(&format!("    still        on {host}, within {limit}: {}\n", show(still, &[])));
        }
        text.push_str(&format!(
            "  4 reverter     on {host}, tried for up to {} after the inducer began: {}\n",
            show_duration(fate.revert_within()),
            show(&fate.reverter, &[])
        ));
        let recovery =
            fate.max_recovery.map_or(grace, |time| format!(", asked again for {}", show_duration(time)));
        let steady = fate.steady.map_or(String::new(), |steady| {
            format!(", then every {} for {}", show_duration(steady.every), show_duration(steady.time))
        });
        text.push_str(&format!("  5 healthcheck  here{recovery}{steady}\n"));
    }
    let count = chosen.iter().filter(|chosen| **chosen).count();
    text.push_str(&format!("\n{count} of {} cases; nothing was touched\n", chosen.len()));
    print(&text, if broken { USAGE } else { 0 })
}

/// Reads all books and says what is wrong with them, or what was taken in a way that may not have been meant.
pub fn check(options: &RunOptions) -> ExitCode {
    let reading = Reading { strict: options.strict, thorough: true };
    let shelf = match Shelf::open(&options.fatebooks, None, reading, &environment, false) {
        Ok(shelf) => shelf,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(USAGE);
        }
    };
    let mut text = String::new();
    for note in &shelf.notes {
        text.push_str(&format!("note: {note}\n\n"));
    }
    let mut broken = 0;
    let mut ignored: HashMap<String, usize> = HashMap::new();
    let mut told = HashSet::new();
    let mut cannot_travel = 0;
    for case in &shelf.cases {
        if let Some(book) = case.book().filter(|book| told.insert(book.name.clone())) {
            let (line, fits) = shipped_with(&book, options.ship_max);
            if fits {
                text.push_str(&line);
            } else {
                cannot_travel += 1;
                eprintln!("{line}");
            }
        }
        match (&case.kind, &case.ignored) {
            (CaseKind::Broken(book), _) => {
                broken += 1;
                eprintln!("{}\n", book.report());
            }
            (_, Some(reason)) => *ignored.entry(reason.clone()).or_default() += 1,
            _ => {}
        }
    }
    let mut ignored: Vec<_> = ignored.into_iter().collect();
    ignored.sort();
    for (reason, count) in ignored {
        text.push_str(&format!("{count} ignored: {reason}\n"));
    }
    let cases = shelf.cases.len() - broken;
    text.push_str(&format!(
        "{}, {}, {broken} broken\n",
        plural(shelf.books, "fatebook"),
        plural(cases, "case")
    ));
    print(&text, if broken + cannot_travel > 0 { USAGE } else { 0 })
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
