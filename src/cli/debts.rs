//! Hosts that older runs may have left broken: healed before a run, or by `pisaura revert`.

use std::process::ExitCode;
use std::sync::Arc;

use crate::cluster::tear_down;
use crate::fatebook::plural;
use crate::remote::Interrupt;
use crate::report::{Debts, JOURNAL, Look, Terminal};
use crate::run::{self, Case, ExitKind, Face, RunOptions, SignalWords};

use super::{environment, print, say};

/// Reverts what older runs have left dirty. Fails, with the exit code, if that cannot be, for then nothing else may be broken.
pub(crate) fn heal_first(
    options: &RunOptions,
    face: Face,
    terminal: &mut Terminal,
    cases: &[Arc<Case>],
) -> Result<(), ExitCode> {
    let trouble = face.trouble(ExitKind::Trouble);
    let journal = options.output.join(JOURNAL);
    let mut debts = Debts::open(&journal, options.nextest_run.as_deref(), options.no_heal, || {
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
    if options.no_heal {
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
    if healed.shouts.is_empty() && healed.unrecorded {
        say(
            "nothing was run, for hosts were healed, and that could not be written down: the next run would heal what this one breaks",
        );
        return Err(face.trouble(ExitKind::Trouble));
    }
    if healed.shouts.is_empty() {
        return Ok(());
    }
    terminal.shout(&healed.shouts);
    say(
        "nothing was run, for an older run has left hosts that may still be broken: after healing them by hand, run \
         `pisaura revert`; if that is impossible, `pisaura revert --forget CASE` drops a case. `--no-heal` \
         leaves them as they are, and tests other hosts",
    );
    Err(face.trouble(ExitKind::Unreverted))
}

/// Executors of an older run may still be at work on the Mesos of this one, and would revert into what this run breaks.
fn end_older_frameworks(options: &RunOptions, debts: &Debts) {
    let Ok(Some(mesos)) = options.mesos() else { return };
    for (master, framework) in debts.runs.values().filter_map(|left| left.framework.as_ref()) {
        if *master == mesos.master {
            say(&format!("ending what an older run has left on {master}"));
            if let Err(why) = tear_down(&mesos, framework) {
                say(&format!("warning: {why}"));
            }
        }
    }
}

const SIGNALLED: SignalWords = SignalWords {
    first: "waiting for the reverter at work",
    second: "hosts may still be broken: `pisaura revert --list` shows them",
};

fn settle_debts(debts: &Debts) -> Result<run::Healed, ExitCode> {
    let interrupt = Interrupt::new().map_err(|error| {
        eprintln!("error: cannot begin: {error}");
        ExitCode::from(ExitKind::Trouble)
    })?;
    let listening =
        run::raise_on_signal(interrupt.clone(), say, SIGNALLED, ExitKind::Unreverted).map_err(|error| {
            eprintln!("error: cannot listen to signals: {error}");
            ExitCode::from(ExitKind::Trouble)
        })?;
    let healed = run::heal(debts, &environment, &interrupt, say);
    drop(listening);
    for warning in &healed.warnings {
        say(&format!("warning: {warning}"));
    }
    if healed.interrupted {
        say("interrupted: hosts may still be broken: `pisaura revert --list` shows them");
        return Err(ExitKind::Interrupted.into());
    }
    Ok(healed)
}

/// What is said where nothing is dirty that can be read, and something cannot be read.
const UNREADABLE: &str = "whether other hosts are dirty is not known: see the warnings above\n";

/// The whole of `pisaura revert`: reverts what older runs have left dirty, or only lists it, or strikes one case off. The exit
/// code is 0 if nothing is dirty any more, 3 if the journal, or what is remembered beside it, cannot be read, 4 if hosts may still be
/// broken.
pub fn revert(output: &std::path::Path, only_list: bool, forget: Option<&str>) -> ExitCode {
    let waits = || say("waiting for another run that is already reverting");
    let debts = match Debts::open(&output.join(JOURNAL), None, only_list, waits) {
        Ok(debts) => debts,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitKind::Trouble.into();
        }
    };
    if let Some(name) = forget {
        let all = debts.runs.iter().flat_map(|(run, left)| left.dirty.iter().map(move |debt| (run, debt)));
        let meant: Vec<_> = all.filter(|(_, debt)| debt.case == name).collect();
        if meant.is_empty() {
            eprintln!("error: no case `{name}` is dirty: `pisaura revert --list` shows those that are");
            return ExitKind::Usage.into();
        }
        return match meant.iter().try_for_each(|(run, debt)| debts.reverted(run, debt)) {
            Ok(()) => print(&format!("{name} is forgotten\n"), ExitKind::Fine),
            Err(error) => {
                eprintln!("error: {error}");
                ExitKind::Trouble.into()
            }
        };
    }
    for damaged in &debts.damaged {
        say(&format!("warning: {damaged}"));
    }
    let mut text = String::new();
    for debt in debts.runs.values().flat_map(|left| &left.dirty) {
        text.push_str(&run::describe(debt));
        text.push('\n');
    }
    if only_list {
        let code = match (text.is_empty(), debts.damaged.is_empty()) {
            (false, _) => ExitKind::Unreverted,
            (true, false) => ExitKind::Trouble,
            (true, true) => ExitKind::Fine,
        };
        if text.is_empty() {
            text.push_str(if code == ExitKind::Fine { "no host is dirty\n" } else { UNREADABLE });
        }
        return print(&text, code);
    }
    let healed = match settle_debts(&debts) {
        Ok(healed) => healed,
        Err(code) => return code,
    };
    Terminal::new(Look::fitting(true)).shout(&healed.shouts);
    match (healed.shouts.len(), healed.reverted) {
        (0, _) if healed.unrecorded => ExitKind::Trouble.into(),
        (0, count) if !debts.damaged.is_empty() => {
            print(&format!("{count} reverted; {UNREADABLE}"), ExitKind::Trouble)
        }
        (0, 0) => print("no host was dirty\n", ExitKind::Fine),
        (0, count) => print(&format!("{count} reverted\n"), ExitKind::Fine),
        _ => ExitKind::Unreverted.into(),
    }
}
