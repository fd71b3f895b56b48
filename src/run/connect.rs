//! What `pisaura check --connect` does: logs in to the hosts of the books and proves, up to the moment before the inducer, that each
//! failure could be tried there. Nothing is broken, and nothing of ours stays.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cluster::Order;
use crate::executor::{BookExecutor, Notary, Observer, Workplace};
use crate::fatebook::{Deadman, Fatebook, HostEntry, LogLevel, OneOrMore, Redactor, plural};
use crate::machine::{CaseId, DirtyHost, RunEvent};
use crate::remote::{Interrupt, Limit};

use super::access::AccessMaker;
use super::{Case, Shelf};

/// What came of it.
#[derive(Debug, Default)]
pub struct Connected {
    /// A line for each host on which each failure could be tried, or that was not to be tried, and for what a person should know.
    pub ready: Vec<String>,
    /// A line for each host where one could not, with the reason.
    pub not_ready: Vec<String>,
    /// It was interrupted: nothing is known of the rest.
    pub interrupted: bool,
}

/// Tries the hosts of all books, those of several books at once. Fails, saying why, if it cannot begin.
pub fn connect(shelf: &Shelf, ship_bytes_max: u64, interrupt: &Interrupt) -> Result<Connected, String> {
    let mut books: BTreeMap<String, (Arc<Fatebook>, Vec<&Case>)> = BTreeMap::new();
    let mut demo_hosts: BTreeSet<String> = BTreeSet::new();
    for case in &shelf.cases {
        let (Some(book), Some((_, hosts)), None) = (case.book(), case.fate_and_hosts(), &case.ignored) else {
            continue;
        };
        for host in hosts.iter().filter(|host| host.sandbox) {
            demo_hosts.insert(format!("{}, {host}: not tried: a run makes its demo hosts itself", book.name));
        }
        if hosts.iter().any(|host| !host.sandbox) {
            books.entry(book.name.clone()).or_insert_with(|| (book, Vec::new())).1.push(case);
        }
    }
    let all: Vec<Arc<Fatebook>> = books.values().map(|(book, _)| Arc::clone(book)).collect();
    let mut maker = AccessMaker::new(&all, false)?;
    let shared = &maker;
    let mut connected = std::thread::scope(|scope| {
        let threads: Vec<_> = books
            .values()
            .map(|(book, cases)| {
                let of_book = move || connect_book(book, cases, shared, ship_bytes_max, interrupt);
                (&book.name, scope.spawn(of_book))
            })
            .collect();
        let mut all = Connected { ready: demo_hosts.into_iter().collect(), ..Connected::default() };
        for (name, thread) in threads {
            let one = thread.join().unwrap_or_else(|_| Connected {
                not_ready: vec![format!("{name}: its hosts could not be tried: this is a defect of Pisaura")],
                ..Connected::default()
            });
            all.ready.extend(one.ready);
            all.not_ready.extend(one.not_ready);
        }
        all
    });
    maker.close();
    connected.interrupted = interrupt.is_raised();
    Ok(connected)
}

fn connect_book(
    book: &Arc<Fatebook>,
    cases: &[&Case],
    maker: &AccessMaker,
    ship_bytes_max: u64,
    interrupt: &Interrupt,
) -> Connected {
    let mut connected = Connected::default();
    let redactor = Redactor::new(&book.secret_values);
    let workplace =
        match Workplace::open(book, ship_bytes_max, Some(Limit::within(book.timeout, Some(interrupt)))) {
            Ok(workplace) => workplace,
            Err(error) => {
                let message = format!("{}: cannot make a working folder for the book: {error}", book.name);
                connected.not_ready.push(redactor.clean(&message));
                return connected;
            }
        };
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let observer: Observer = {
        let told = Arc::clone(&told);
        Arc::new(move |event| {
            if let RunEvent::Warning { message } = event {
                told.lock().unwrap_or_else(PoisonError::into_inner).push(message);
            }
        })
    };
    let mut executor =
        BookExecutor::new(redactor, LogLevel::Critical, false, observer, Arc::new(NothingIsBroken));
    let mut hosts: BTreeMap<String, (&HostEntry, Vec<&Case>)> = BTreeMap::new();
    for case in cases {
        let of_case = case.fate_and_hosts().map(|(_, hosts)| hosts.iter());
        for host in of_case.into_iter().flatten().filter(|host| !host.sandbox) {
            hosts.entry(host.to_string()).or_insert_with(|| (host, Vec::new())).1.push(case);
        }
    }
    for (name, (host, cases)) in hosts {
        if interrupt.is_raised() {
            break;
        }
        match connect_host(book, host, &cases, maker, &mut executor, workplace.path(), interrupt) {
            Ok(how) => connected.ready.push(format!("{}, {name}: ready for {how}", book.name)),
            Err(why) => connected.not_ready.push(format!("{}, {name}: not ready: {why}", book.name)),
        }
    }
    executor.close();
    let warnings = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
    connected.ready.extend(warnings.into_iter().map(|warning| format!("warning: {warning}")));
    connected
}

/// How a host is ready for these cases, in words; or why it is not ready for one of them.
fn connect_host(
    book: &Arc<Fatebook>,
    host: &HostEntry,
    cases: &[&Case],
    maker: &AccessMaker,
    executor: &mut BookExecutor,
    workplace: &Path,
    interrupt: &Interrupt,
) -> Result<String, String> {
    let mut user = String::new();
    let mut switches = Vec::new();
    for case in cases {
        let Some((number, _)) = case.fate_and_hosts() else { continue };
        let order = Order {
            id: case.id,
            name: case.name.clone(),
            book: Arc::clone(book),
            fate: number,
            hosts: OneOrMore::one((host.clone(), maker.access(book, host)?)),
            ship_bytes_max: 0,
        };
        let fate = order.fate();
        let assignment = order.assignment().completed(&book.folder);
        let of_failure = |why: String| format!("{}: {why}", fate.name);
        let reach = executor.try_out(&assignment, workplace, interrupt).map_err(of_failure)?;
        let switch = match fate.deadman {
            Deadman::Off => "there is none (`deadman` is \"off\")",
            _ => tell_reach(&reach, fate.switch_may_die).map_err(|why| of_failure(why.to_owned()))?,
        };
        if !switches.contains(&switch) {
            switches.push(switch);
        }
        user.clone_from(&assignment.hosts.first().access.login.user);
    }
    let failures = plural(cases.len(), "failure");
    if host.here {
        return Ok(format!("{failures}, from here; its dead man's switch: {}", switches.join("; or ")));
    }
    Ok(format!("{failures}, as {user}; its dead man's switch: {}", switches.join("; or ")))
}

/// Where a dead man's switch lives on a host, and what would end it there; as an error what keeps a case from being armed.
fn tell_reach(reach: &str, may_die: bool) -> Result<&'static str, &'static str> {
    match reach {
        "session" => Ok("lives on unless somebody ends its login session by hand"),
        "move" => Ok("leaves the control group of its login, so that the end of that does not end it"),
        "at" => Ok("is started by `at`, so that the end of its login does not end it"),
        "linger" => Ok("runs under the user's own service manager, which lingers"),
        "within" if may_die => Ok("ends with its login, as the book accepts"),
        "within" => Err(
            "its dead man's switch would end with the login: log in as root, install `at`, let the user linger (`loginctl enable-linger`), or accept it: `deadman: {may_die_with: session}`",
        ),
        _ => Ok("lives on when its login ends; only a reboot, root, or its own user ends it"),
    }
}

/// There is nothing to write down.
struct NothingIsBroken;

impl Notary for NothingIsBroken {
    fn is_recorded(&self) -> bool {
        true
    }

    fn note(&self, _: CaseId, _: Vec<DirtyHost>, _: &Interrupt) -> Result<(), String> {
        Err("nothing is to be broken".to_owned())
    }
}
