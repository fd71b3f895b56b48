//! One run of many cases: what goes when, who is told, what an interrupt does. Touches signals, and the files of the
//! reports through `report`.
//!
//! A [`Run`] has a thread of its own, which is the only one that decides: executors, signals and locks send it events, it
//! asks the gate what may begin, tells the reporters, and answers whoever waits for a case.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, LocalCluster, MesosCluster, Order};
use crate::executor::Observer;
use crate::fatebook::{Fatebook, HostEntry};
use crate::machine::{
    AroundRecord, CaseId, CaseOutcome, DirtyHosts, Gate, GateCase, KNOWN, NOT_FOR_THIS_HOST, RunEvent,
    Verdict,
};
use crate::remote::Interrupt;
use crate::report::{CaseInfo, Debts, JOURNAL, Look, Reporters, Shout, Terminal};

mod access;
mod around;
#[cfg(test)]
mod break_down_tests;
mod cases;
mod connect;
mod engine;
mod exit;
mod guards;
mod healing;
mod known;
mod locks;
mod marks;
mod options;
mod signals;

pub use cases::{Case, CaseKind, Selected, Selection, Shelf, select};
pub use connect::{Connected, connect};
use engine::{Engine, SECOND_SIGNAL_AFTER};
pub use exit::{ExitKind, Face};
pub use guards::check_allowed;
pub use healing::{Healed, describe, heal};
pub use options::{JunitFlavor, OUTPUT, RunOptions, without_empty_variables};
pub use signals::{Listening, SignalWords, raise_on_signal};

use access::AccessMaker;
use around::Arounds;
use locks::{Locked, Locks};
use marks::Marks;

/// What the run's thread hears.
enum Message {
    Event(RunEvent),
    Signal(&'static str),
    /// What is not a signal, but ends the run as one does.
    Stop(&'static str),
    Locked(CaseId, Locked),
    LockFailed(CaseId, String),
    WentAround(Box<AroundRecord>),
}

/// How a run ended.
#[derive(Clone, Debug, Default)]
pub struct RunEnd {
    /// The verdicts of all cases.
    pub verdicts: Vec<Verdict>,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// Hosts that may still be broken.
    pub shouts: Vec<Shout>,
    /// Whether a book was broken.
    pub broken_books: bool,
    /// Whether the report could not be written.
    pub report_lost: bool,
    /// Whether something could not be written down that those who come later need to know: that a host is healed, or that a
    /// gate is closed.
    pub unrecorded: bool,
    /// Whether a host is not as it was, though its cases are reverted.
    pub not_left: bool,
    /// Whether the run broke down: a defect of Pisaura.
    pub broke_down: bool,
    /// Whether a case failed as it is known to.
    pub tried_known: bool,
    /// Whether what a book does after all its cases failed.
    pub after_all_failed: bool,
}

impl RunEnd {
    fn is_amiss(&self) -> bool {
        self.report_lost || self.unrecorded || self.not_left || self.broke_down || self.after_all_failed
    }

    /// The exit code of `pisaura run`.
    pub fn exit(&self) -> ExitKind {
        let worst = self.verdicts.iter().max().copied().unwrap_or(Verdict::Survived);
        match worst {
            Verdict::Unreverted => ExitKind::Unreverted,
            _ if self.interrupted => ExitKind::Interrupted,
            _ if self.broken_books => ExitKind::Usage,
            Verdict::Botched => ExitKind::Trouble,
            _ if self.is_amiss() => ExitKind::Trouble,
            Verdict::Unfit | Verdict::Succumbed | Verdict::NotRecovered => ExitKind::Unhealthy,
            Verdict::Survived | Verdict::Skipped => ExitKind::Fine,
        }
    }
}

/// A run under way.
pub struct Run {
    thread: JoinHandle<RunEnd>,
    sender: Sender<Message>,
}

/// Where the outcome of one case arrives.
pub type Outcomes = HashMap<CaseId, Receiver<CaseOutcome>>;

/// Begins a run of these cases, in their order. Answers with it and with where each outcome will arrive.
///
/// Fails, saying why, if the run cannot begin: no demo hosts can be made, no signals be heard.
pub fn begin(
    cases: &[Arc<Case>],
    options: &RunOptions,
    reporters: Reporters,
) -> Result<(Run, Outcomes), String> {
    let interrupt = Interrupt::new().map_err(|error| format!("cannot begin: {error}"))?;
    let (sender, messages) = channel();
    let signals_heard: Arc<AtomicUsize> = Arc::default();
    signals::listen(sender.clone(), Arc::clone(&signals_heard))
        .map_err(|error| format!("cannot listen to signals: {error}"))?;
    if let Some(file) = &options.stop_file {
        guards::watch(file, sender.clone())?;
    }
    let (events, to_run) = (sender.clone(), sender.clone());
    let observer: Observer = Arc::new(move |event| {
        // Nobody listens only when the run is over.
        let _ = events.send(Message::Event(event));
    });
    let mut outcomes = HashMap::new();
    let mut waiting = HashMap::new();
    for case in cases {
        let (outcome, arrives) = channel();
        waiting.insert(case.id, outcome);
        outcomes.insert(case.id, arrives);
    }
    let books: Vec<_> = cases.iter().filter_map(|case| case.book()).collect();
    let access = AccessMaker::new(&books, !options.no_heal)?;
    let live_output = options.live_output;
    let cluster: Box<dyn Cluster + Send> = match options.mesos()? {
        None => Box::new(LocalCluster::new(observer, interrupt.clone(), live_output)),
        Some(mesos) => Box::new(MesosCluster::new(mesos, observer, live_output)?),
    };
    let mut engine = Engine {
        gate: Gate::new(
            cases.iter().filter_map(|case| case.gate_case()),
            options.test_threads,
            options.fail_fast,
        ),
        cluster,
        locks: Locks::new().map_err(|error| format!("cannot make the folder of locks: {error}"))?,
        marks: Marks::of_this_run(options)?,
        held: HashMap::new(),
        locking: HashSet::new(),
        cases: cases.iter().map(|case| (case.id, Arc::clone(case))).collect(),
        order: cases.iter().map(|case| case.id).collect(),
        waiting,
        access,
        reporters,
        sender,
        interrupt,
        signals_heard,
        signalled_at: None,
        journal: options.output.join(JOURNAL),
        ship_bytes_max: options.ship_max,
        selective: BTreeMap::new(),
        dirty: DirtyHosts::default(),
        books_closed: 0,
        arounds: Arounds::default(),
        end: RunEnd::default(),
    };
    let thread = std::thread::Builder::new()
        .name("run".to_owned())
        .spawn(move || {
            let ended = catch_unwind(AssertUnwindSafe(|| engine.go_on(&messages)));
            ended.unwrap_or_else(|_| engine.break_down(&messages))
        })
        .map_err(|error| format!("cannot begin: {error}"))?;
    Ok((Run { thread, sender: to_run }, outcomes))
}

impl Run {
    /// Ends the run as a signal would: nothing new begins, running cases are reverted.
    pub fn interrupt(&self, by: &'static str) {
        // If nobody listens any more, the run is over already.
        let _ = self.sender.send(Message::Stop(by));
    }

    /// Waits until every case is settled and every host left clean.
    pub fn join(self) -> RunEnd {
        self.thread.join().unwrap_or_else(|_| RunEnd {
            verdicts: vec![Verdict::Unreverted],
            interrupted: true,
            ..RunEnd::default()
        })
    }
}

/// The hosts of these cases, as locks name them.
pub fn hosts_of(cases: &[Arc<Case>]) -> Vec<String> {
    cases.iter().flat_map(|case| case.lock_keys()).filter(|key| key.starts_with("host ")).collect()
}

/// What the reporters need to know of the cases.
pub fn case_infos(cases: &[Arc<Case>]) -> Vec<CaseInfo> {
    cases.iter().map(|case| case.info()).collect()
}

impl Case {
    fn gate_case(&self) -> Option<GateCase> {
        if self.settled_already().is_some() {
            return None;
        }
        let book = self.book()?;
        let (_, hosts) = self.fate_and_hosts()?;
        Some(GateCase {
            id: self.id,
            book: book.name.clone(),
            service: book.service.clone(),
            hosts: hosts.iter().map(|host| access::host_key(&book, host)).collect(),
            failfast: book.failfast,
        })
    }

    /// What no other case may have while this one runs: its service, and its hosts.
    fn lock_keys(&self) -> Vec<String> {
        match (self.book(), self.fate_and_hosts()) {
            (Some(book), Some((_, hosts))) => lock_keys(&book, hosts.iter()),
            _ => Vec::new(),
        }
    }
}

/// What no other run may have while one is at these hosts of this book's.
fn lock_keys<'a>(book: &Fatebook, hosts: impl Iterator<Item = &'a HostEntry>) -> Vec<String> {
    let hosts = hosts.filter(|host| !host.sandbox);
    let hosts = hosts.map(|host| format!("host {}", access::host_key(book, host)));
    std::iter::once(format!("service {}", book.service)).chain(hosts).collect()
}
