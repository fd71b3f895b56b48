//! Healing what older runs have left: hosts that may still be broken, and folders of ours that a killed run could not remove.
//! Touches hosts through `executor`, and the journal through `report`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::cluster::Order;
use crate::executor::{Access, Assignment, BookExecutor, Notary, Workplace};
use crate::fatebook::{Environment, Fatebook, HostEntry, LogLevel, Reading, Redactor, find_books};
use crate::machine::{CaseId, CaseOutcome, DirtyHost, RunEvent, Verdict, is_plain};
use crate::remote::{Interrupt, is_alive};
use crate::report::{Debt, Debts, Kept, Leftover, Plan, Shout, UsedHost, clean_line};

use super::lock_keys;
use super::locks::{Locked, Locks};

/// What the journal keeps of a case so that each of its hosts can be reverted.
pub(super) fn plans_of(order: &Order) -> Vec<Plan> {
    let redactor = Redactor::new(&order.book.secret_values);
    let on_each = order.assignment().on_each_host();
    let plan = |((host, access), assignment): (&(HostEntry, Access), &Assignment)| {
        let kept = assignment.without_secrets(&|text| redactor.mask(text));
        Plan {
            book: std::path::absolute(&order.book.path).unwrap_or_else(|_| order.book.path.clone()),
            failure: order.fate().name.clone(),
            host: host.to_string(),
            locks: lock_keys(&order.book, std::iter::once(host)),
            lasting: access.lasting,
            needs_secret: Some(kept.hosts.first().reverter != assignment.hosts.first().reverter),
            assignment: Kept::Known(Box::new(kept)),
        }
    };
    order.hosts.iter().zip(on_each.iter()).map(plan).collect()
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Healed {
    /// Cases whose hosts are healed.
    pub reverted: usize,
    /// Hosts that may still be broken.
    pub shouts: Vec<Shout>,
    /// What else a person should know.
    pub warnings: Vec<String>,
    /// That a host is healed could not be written down.
    pub unrecorded: bool,
    /// An interrupt has ended it before all was done.
    pub interrupted: bool,
}

/// A line for people about what is dirty: its case, since when, and the command that heals it by hand.
pub fn describe(debt: &Debt) -> String {
    // What was written down by versions of old may have more in it than a terminal shows.
    let heal = Some(&debt.heal).filter(|heal| !heal.is_empty() && heal.chars().all(is_plain));
    let by_hand = heal.map(|heal| format!("\n    by hand: {heal}")).unwrap_or_default();
    let since = debt.at.map(since).unwrap_or_default();
    format!("{}{by_hand}{since}", clean_line(&case_and_host(debt)))
}

/// The case, and the host if it broke several.
fn case_and_host(debt: &Debt) -> String {
    let host = debt.plan.as_ref().map_or("", |plan| plan.host.as_str());
    let hosts = debt.case.rsplit_once('@').map_or("", |(_, hosts)| hosts);
    let is_all = hosts.split(" #").next() == Some(host);
    if host.is_empty() || is_all { debt.case.clone() } else { format!("{}, on {host}", debt.case) }
}

/// How long ago a moment was, in seconds since 1970.
fn since(at: f64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let seconds = (now - at).max(0.0) as u64;
    let told = match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    };
    format!("\n    dirty for: {told}")
}

/// Reverts what is dirty, and takes away what was left, one host after the other; `tell` is told of each.
pub fn heal(debts: &Debts, environment: &Environment<'_>, interrupt: &Interrupt, tell: fn(&str)) -> Healed {
    let mut healed = Healed::default();
    for (run, left) in &debts.runs {
        for host in hosts_of(left) {
            if interrupt.is_raised() {
                healed.interrupted = true;
                return healed;
            }
            heal_host(debts, run, left, &host, environment, interrupt, tell, &mut healed);
        }
    }
    healed
}

/// Each host, once for each of our folders there.
fn hosts_of(left: &Leftover) -> Vec<UsedHost> {
    let mut hosts: Vec<UsedHost> = Vec::new();
    for used in left.used.iter().cloned().chain(left.dirty.iter().map(Debt::host)) {
        if !hosts.iter().any(|other| other.folder() == used.folder()) {
            hosts.push(used);
        }
    }
    hosts
}

#[allow(clippy::too_many_arguments, reason = "all of it is the healing of one host")]
fn heal_host(
    debts: &Debts,
    run: &str,
    left: &Leftover,
    host: &UsedHost,
    environment: &Environment<'_>,
    interrupt: &Interrupt,
    tell: fn(&str),
    healed: &mut Healed,
) {
    let dirty = || left.dirty.iter().filter(|debt| debt.folder() == host.folder());
    // Where the way to the host cannot be read, its name can.
    let named = dirty().find_map(|debt| debt.plan.as_ref()).map(|plan| plan.host.clone());
    let shown = match host.access.known() {
        Some(access) => access.target.shown.clone(),
        None => named.unwrap_or_else(|| "?".to_owned()),
    };
    let book = host.book().and_then(|path| read_book(path, environment));
    let redactor = book.as_ref().map(|book| Redactor::new(&book.secret_values)).unwrap_or_default();
    // How much may travel was decided when the host was broken.
    let workplace = match book.as_ref().map(|book| Workplace::open(book, u64::MAX, None)) {
        Some(Ok(workplace)) => Some(workplace),
        Some(Err(error)) => {
            healed.warnings.push(format!("{shown}: only what was left there can heal it: {error}"));
            None
        }
        None => None,
    };
    // What a run that is alive does there now comes first.
    let keys: Vec<String> = dirty().flat_map(|debt| debt.locks().iter().cloned()).collect();
    let _locked = match lock(&keys, tell) {
        Ok(locked) => locked,
        Err(why) => {
            // Without the locks another run may be at the host now.
            healed.warnings.push(format!("{shown}: nothing was healed there: {why}"));
            healed.shouts.extend(dirty().map(|debt| shout_of(debt, &shown)));
            return;
        }
    };
    let heard: Arc<Mutex<Vec<RunEvent>>> = Arc::default();
    let hearing = Arc::clone(&heard);
    let observer = Arc::new(move |event| {
        // What takes long is told while it does.
        if let RunEvent::StepEnded { record, .. } = &event
            && !record.end.is_success()
        {
            tell(&format!("the reverter did not succeed: {}", record.end));
        }
        hearing.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    });
    let mut executor = BookExecutor::new(redactor, LogLevel::Error, false, observer, Arc::new(Nobody));
    let mut all_clean = true;
    for debt in dirty() {
        let case = &case_and_host(debt);
        if !debts.is_open(debt) {
            continue;
        }
        if interrupt.is_raised() {
            healed.interrupted = true;
            return;
        }
        let outcome = match assignment_of(debt, book.as_deref(), workplace.is_some()) {
            Ok(assignment) => {
                wait_for_owner(&mut executor, debt, &assignment, interrupt, tell);
                tell(&format!("reverting {case}, which an older run left dirty"));
                let nowhere = PathBuf::from("/");
                let place = workplace.as_ref().map_or(nowhere.as_path(), Workplace::path);
                executor.carry_out(&assignment, place, interrupt);
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                let mut outcome = None;
                for event in heard.drain(..) {
                    match event {
                        RunEvent::Settled { outcome: settled, .. } => outcome = Some(settled),
                        RunEvent::Warning { message } => healed.warnings.push(message),
                        _ => {}
                    }
                }
                outcome.unwrap_or_else(|| CaseOutcome::lost("nothing is known of its revert"))
            }
            Err(why) => CaseOutcome::lost(why),
        };
        if outcome.verdict == Verdict::Survived {
            healed.reverted += 1;
            tell(&format!("{case}: reverted"));
            healed.unrecorded |= debts.reverted(run, debt).map_err(|why| healed.warnings.push(why)).is_err();
            continue;
        }
        all_clean = false;
        let why = outcome.main_finding().map(|finding| finding.message.clone()).unwrap_or_default();
        healed.warnings.push(format!("{case}: {why}"));
        healed.warnings.extend(printed(&outcome));
        healed.shouts.push(shout_of(debt, &shown));
    }
    if !all_clean || healed.unrecorded {
        return;
    }
    if let Some(access) = host.access.known() {
        let access = access_of(access, book.as_deref());
        match executor.take_over(&access) {
            Ok((notes, broken)) => {
                healed.warnings.extend(notes);
                let shown = access.target.shown.clone();
                let shout = |case| Shout { case, host: shown, heal: String::new() };
                healed.shouts.extend(broken.map(shout));
            }
            Err(why) => {
                healed.warnings.push(format!("something of ours may be left there: {why}"));
                return;
            }
        }
    }
    for host in executor.close() {
        healed.shouts.push(Shout {
            case: "a case that is not known any more".to_owned(),
            host,
            heal: String::new(),
        });
    }
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    for event in heard.iter() {
        match event {
            RunEvent::HostLeft { folder } => healed.warnings.extend(debts.host_left(run, folder).err()),
            RunEvent::Warning { message } | RunEvent::NotLeft { message } => {
                healed.warnings.push(message.clone());
            }
            _ => {}
        }
    }
}

/// How many lines of what a reverter has printed are shown.
const LINES_SHOWN: usize = 10;

/// What the last try at a reverter has printed.
fn printed(outcome: &CaseOutcome) -> Option<String> {
    let last = outcome.report.as_ref()?.steps.last()?;
    let (streams, mut text) = ([("stdout", &last.stdout), ("stderr", &last.stderr)], String::new());
    for (name, captured) in streams {
        for line in captured.last_lines(LINES_SHOWN).0 {
            text.push_str(&format!("\n    {name} | {line}"));
        }
    }
    (!text.is_empty()).then(|| format!("the reverter printed{text}"))
}

/// Between two looks at whether a host is still in use.
const LOOK_PAUSE: Duration = Duration::from_secs(2);

/// A run of another machine, or in another container, may be alive, and nobody here can tell: for as long as its dead man's switch is
/// armed, the host is its.
fn wait_for_owner(
    executor: &mut BookExecutor,
    debt: &Debt,
    assignment: &Assignment,
    interrupt: &Interrupt,
    tell: fn(&str),
) {
    // Nobody here can tell whether that run is alive.
    let is_unknown = debt.controller.as_deref().is_some_and(|who| is_alive(who).is_none());
    let work = assignment.hosts.first();
    let Some(mark) = work.mark.as_ref().filter(|_| is_unknown) else { return };
    let mut told = false;
    while let Some((left, message)) = executor.in_use_for(&work.access, mark) {
        if interrupt.is_raised() {
            return;
        }
        if !std::mem::replace(&mut told, true) {
            tell(&format!("waiting: {message}"));
        }
        interrupt.wait_until(Instant::now() + left.min(LOOK_PAUSE), true);
    }
}

fn shout_of(debt: &Debt, host: &str) -> Shout {
    Shout { case: debt.case.clone(), host: host.to_owned(), heal: debt.heal.clone() }
}

/// Takes these locks, waiting for another run if need be.
fn lock(keys: &[String], tell: fn(&str)) -> Result<Option<Locked>, String> {
    if keys.is_empty() {
        return Ok(None);
    }
    let locks = Locks::new().map_err(|error| format!("cannot make the folder of locks: {error}"))?;
    match locks.try_lock(keys)? {
        Ok(locked) => Ok(Some(locked)),
        Err(holder) => {
            tell(&format!("waiting for {holder}"));
            locks.lock(keys).map(Some)
        }
    }
}

/// The book as it is now, if it still can be read.
fn read_book(path: &Path, environment: &Environment<'_>) -> Option<Arc<Fatebook>> {
    let file = find_books(path).ok()?.into_iter().next()?;
    let read = file.read(environment, Reading::default()).ok()?;
    Some(Arc::new(read.book))
}

/// With the password, passphrase and files of the book as it is now.
fn access_of(access: &Access, book: Option<&Fatebook>) -> Access {
    let mut access = access.clone();
    if let Some(book) = book {
        access.login.password.clone_from(&book.ssh.password);
        access.login.passphrase.clone_from(&book.ssh.passphrase);
        access.login = access.login.completed(&book.folder);
    } else {
        access.login = access.login.completed(Path::new("/"));
    }
    access
}

/// What reverts a case: what was armed. The book and the environment, as they are now, only log in.
fn assignment_of(debt: &Debt, book: Option<&Fatebook>, has_files: bool) -> Result<Assignment, String> {
    let cannot = |why: String| format!("what the journal says of it cannot be read: {why}");
    let plan = debt.plan.as_ref().ok_or_else(|| cannot("it has no plan".to_owned()))?;
    let kept = plan.assignment.read().map_err(cannot)?;
    let mark = debt.mark.clone().ok_or_else(|| cannot("it does not name the machine".to_owned()))?;
    let mut assignment = kept.clone().only_reverting(vec![Some(mark)]);
    for work in assignment.hosts.iter_mut() {
        work.access = access_of(&work.access, book);
        if !has_files {
            // What reverts it was left on the host.
            work.parcels.clear();
        }
        if plan.needs_secret() {
            work.recorded_is_gone();
        }
    }
    Ok(assignment)
}

/// Nothing is induced here, so nothing is to be noted.
struct Nobody;

impl Notary for Nobody {
    /// Whoever heals here writes that down before anything is cleaned up.
    fn is_recorded(&self) -> bool {
        true
    }

    fn note(&self, _case: CaseId, _hosts: Vec<DirtyHost>, _interrupt: &Interrupt) -> Result<(), String> {
        Err("only reverts are done here".to_owned())
    }
}
