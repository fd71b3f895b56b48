//! The face that cargo, nextest and editors see: libtest's arguments, its names and its output, with Pisaura's own flags.
//!
//! Cases are run by [`crate::run`]; libtest-mimic only prints: each of its trials waits for the outcome of its case. That
//! keeps the printing in libtest's form and order while one rule alone decides what goes when.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use clap::{CommandFactory, Parser, ValueEnum};
use libtest_mimic::{Arguments, ColorSetting, Completion, Failed, FormatSetting, Trial};

use crate::cli::{dry_run, environment, heal_first, parse, print, refuse, say};
use crate::fatebook::Reading;
use crate::machine::{CaseId, CaseOutcome, KNOWN, NOT_FOR_THIS_HOST, Verdict};
use crate::report::{
    JOURNAL, Journal, JunitReport, Logs, Look, Repeat, Reporters, Terminal, failure_text, headline,
    success_text,
};
use crate::run::{self, Case, ExitKind, Face, JunitFlavor, RunOptions, Selection, Shelf};

/// What can be said on the command line: what libtest takes, and Pisaura's own flags.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// Only cases whose name has one of these texts in it
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,

    /// Match filters against whole names; a name without its `@host` means the failure on all its hosts
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

    /// When to use colors
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
  PISAURA_SECRET=TEXT   the secret of --principal, if it is in no file";

/// The whole of a test target: `fn main() -> ExitCode { pisaura::harness::main() }`.
pub fn main() -> ExitCode {
    let command = Options::command()
        .name("fatebooks")
        .bin_name("cargo test --test fatebooks --")
        .about(ABOUT)
        .after_help(format!("{AFTER_HELP}\n\n{}", ExitKind::of_harness()));
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(code) = crate::remote::supervise(&arguments) {
        return code;
    }
    if let Some(code) = crate::executor::probe(&arguments) {
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
            // nextest means each by its own name.
            one_repetition: self.run.nextest_run.is_some() && self.run.repeat > 1,
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
            ExitKind::Usage.into()
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
    let (strict, stop_if) = (options.run.strict, options.run.stop_if.as_deref());
    let reading = Reading { strict, thorough: false, stop_if };
    let shelf =
        Shelf::open(&options.run.fatebooks, exact, reading, &environment, forced, options.run.repeat)?;
    let mut chosen = run::select(&shelf, &options.selection())?.chosen;
    if options.bench && !options.list {
        // As libtest, which runs no test then: a case that it takes for left out must not break a host.
        eprintln!("warning: `--bench` runs benchmarks, of which there are none: no case is run");
        chosen.fill(false);
    }
    if !options.list {
        run::check_allowed(&shelf, &chosen, &options.run.allow_hosts)?;
        let is_held = |case: &&Case| case.fate().is_some_and(|fate| fate.hold.is_some());
        if stop_if.is_some()
            && !shelf.cases.iter().filter(|case| chosen[case.id]).any(|case| is_held(&&**case))
        {
            eprintln!(
                "warning: --stop-if is asked during a hold, and no chosen case has a `hold`: it is never asked"
            );
        }
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
    print(&text, ExitKind::Fine)
}

fn carry_out(options: &Options, shelf: &Shelf, chosen: &[bool], face: Face) -> ExitCode {
    let cases: Vec<Arc<Case>> = shelf.cases.iter().filter(|case| chosen[case.id]).cloned().collect();
    if cases.is_empty() {
        let (count, books) = (shelf.cases.len(), shelf.books);
        eprintln!(
            "\nwarning: NOTHING WAS SELECTED, so nothing is tested: none of the {count} cases of {books} fatebooks in `{}` \
             matches what was asked for. `--list` shows their names",
            options.run.fatebooks.display()
        );
        if face == Face::Program {
            return ExitKind::Usage.into();
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
    if let Err(code) = heal_first(&options.run, face, &mut lock(&terminal), &cases) {
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
            return face.trouble(ExitKind::Trouble);
        }
    };
    let columns = cases.iter().map(|case| case.name.chars().count()).max().unwrap_or(0) + "test  ... ".len();
    let passed: Arc<Mutex<Vec<(String, CaseOutcome)>>> = Arc::default();
    let interrupted: Arc<AtomicBool> = Arc::default();
    let verdicts: Arc<Mutex<HashMap<CaseId, Verdict>>> = Arc::default();
    let trials = shelf
        .cases
        .iter()
        .map(|case| {
            let Some(outcome) = outcomes.remove(&case.id) else {
                return Trial::test(trial_name(case, chosen), || Ok(()));
            };
            let (case, terminal, passed, repeat) =
                (Arc::clone(case), Arc::clone(&terminal), Arc::clone(&passed), repeat.clone());
            let (interrupted, verdicts) = (Arc::clone(&interrupted), Arc::clone(&verdicts));
            let show_output = options.show_output;
            Trial::ignorable_test(case.name.clone(), move || {
                lock(&terminal).show(case.id, columns);
                let outcome = outcome.recv();
                lock(&terminal).hide();
                let Ok(outcome) = outcome else {
                    return Err(Failed::from("the run ended before this case did"));
                };
                lock(&verdicts).insert(case.id, outcome.verdict);
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
    if options.run.repeat > 1 && !nextest && options.format != Some(Format::Json) {
        let _ = std::io::stdout().write_all(distribution(&cases, &lock(&verdicts)).as_bytes());
    }
    let untried = !end.interrupted
        && !end.tried_known
        && end.verdicts.iter().all(|verdict| *verdict == Verdict::Skipped);
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
            return face.trouble(ExitKind::Usage);
        }
    }
    match (face, printed) {
        (Face::Program, _) => end.exit().into(),
        (Face::Harness, _) if end.broke_down => ExitKind::Failed.into(),
        (Face::Harness, Ok(conclusion)) if !end.interrupted && (end.report_lost || end.unrecorded) => {
            // Whoever reads the report would read an old one, or none.
            if conclusion.has_failed() { conclusion.exit_code() } else { ExitKind::Failed.into() }
        }
        (Face::Harness, Ok(conclusion)) if !end.interrupted => match end.exit() {
            ExitKind::Fine => conclusion.exit_code(),
            // Whatever libtest has counted.
            _ => ExitKind::Failed.into(),
        },
        (Face::Harness, Err(_)) => ExitKind::Failed.into(),
        (Face::Harness, _) => ExitKind::Interrupted.into(),
    }
}

/// How often each case ended in which way, where cases are run several times.
fn distribution(cases: &[Arc<Case>], verdicts: &HashMap<CaseId, Verdict>) -> String {
    let mut text = "repeated:\n".to_owned();
    for repetitions in cases.chunk_by(|one, next| one.plain_name() == next.plain_name()) {
        let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
        for verdict in repetitions.iter().filter_map(|case| verdicts.get(&case.id)) {
            *counts.entry(*verdict).or_default() += 1;
        }
        let all = repetitions.len();
        let survived = counts.remove(&Verdict::Survived).unwrap_or_default();
        let others: String = counts.iter().map(|(verdict, count)| format!(", {verdict} {count}")).collect();
        text.push_str(&format!("  {}: survived {survived} of {all}{others}\n", repetitions[0].plain_name()));
    }
    text
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
            let fits = outcome
                .main_finding()
                .is_none_or(|finding| ![NOT_FOR_THIS_HOST, KNOWN].contains(&finding.kind.as_str()));
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
