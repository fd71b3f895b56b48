//! Room in this process: a thread for each book, which is its executor.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::executor::{BookExecutor, Notary, Observer, Workplace};
use crate::fatebook::Redactor;
use crate::machine::{CaseId, CaseOutcome, DirtyHost, RunEvent};
use crate::remote::{Interrupt, Limit};

use super::{Cluster, Order};

/// The cluster that is always there.
pub struct LocalCluster {
    observer: Observer,
    ledger: Arc<Ledger>,
    interrupt: Interrupt,
    live_output: bool,
    books: HashMap<String, Sender<Order>>,
    opened: usize,
}

impl LocalCluster {
    /// A cluster that tells `observer` of its cases and ends them on `interrupt`.
    pub fn new(observer: Observer, interrupt: Interrupt, live_output: bool) -> Self {
        let ledger = Arc::new(Ledger {
            observer: observer.clone(),
            unrecorded: AtomicBool::new(false),
            waiting: Mutex::default(),
        });
        Self { observer, ledger, interrupt, live_output, books: HashMap::new(), opened: 0 }
    }
}

impl LocalCluster {
    /// The executor of this book: a new one if it has none yet. Fails if there is no room for another thread.
    fn open(&mut self, book: &str) -> std::io::Result<&Sender<Order>> {
        if !self.books.contains_key(book) {
            let (sender, orders) = channel();
            let (observer, ledger) = (self.observer.clone(), Arc::clone(&self.ledger));
            let (interrupt, live_output) = (self.interrupt.clone(), self.live_output);
            std::thread::Builder::new()
                .name(format!("book {book}"))
                .spawn(move || serve(&orders, &observer, &ledger, &interrupt, live_output))?;
            self.opened += 1;
            self.books.insert(book.to_owned(), sender);
        }
        Ok(&self.books[book])
    }
}

impl Cluster for LocalCluster {
    fn begin(&mut self, order: Order) {
        let (book, id) = (order.book.name.clone(), order.id);
        let why = match self.open(&book) {
            Ok(orders) if orders.send(order).is_ok() => return,
            Ok(_) => "the executor of this book has ended".to_owned(),
            Err(error) => format!("no executor can be started for this book: {error}"),
        };
        (self.observer)(RunEvent::Settled { case: id, outcome: CaseOutcome::botched("ClusterFailed", why) });
    }

    fn noted(&mut self, case: CaseId, result: Result<(), String>) {
        if let Some(waiting) = self.ledger.waiting().remove(&case) {
            // It does not wait any more if its executor has broken down.
            let _ = waiting.send(result);
        }
    }

    fn recorded(&mut self, _case: CaseId, safely: bool) {
        self.ledger.unrecorded.fetch_or(!safely, Ordering::SeqCst);
    }

    fn interrupt(&mut self) {
        self.interrupt.raise();
    }

    fn close_book(&mut self, book: &str) {
        self.books.remove(book);
    }

    fn close(&mut self) -> usize {
        self.books.clear();
        self.opened
    }
}

/// Asks the run to write down which hosts may be dirty, and waits for its answers.
struct Ledger {
    observer: Observer,
    /// Something that was said of a healed host could not be written down.
    unrecorded: AtomicBool,
    waiting: Mutex<HashMap<CaseId, Sender<Result<(), String>>>>,
}

impl Ledger {
    fn waiting(&self) -> MutexGuard<'_, HashMap<CaseId, Sender<Result<(), String>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notary for Ledger {
    fn is_recorded(&self) -> bool {
        !self.unrecorded.load(Ordering::SeqCst)
    }

    fn note(&self, case: CaseId, hosts: Vec<DirtyHost>, _interrupt: &Interrupt) -> Result<(), String> {
        let (answer, arrives) = channel();
        self.waiting().insert(case, answer);
        (self.observer)(RunEvent::MayBeDirty { case, hosts });
        arrives.recv().unwrap_or_else(|_| Err("the run has ended".to_owned()))
    }
}

/// One book's executor: carries out cases until no more can come.
fn serve(
    orders: &Receiver<Order>,
    observer: &Observer,
    ledger: &Arc<Ledger>,
    interrupt: &Interrupt,
    live_output: bool,
) {
    let _closed = TellOfEnd { observer };
    let mut executor: Option<(BookExecutor, Workplace)> = None;
    for order in orders {
        let guard = SettleOnPanic { case: order.id, observer };
        if executor.is_none() {
            let limit = Limit::within(order.book.timeout, Some(interrupt));
            match Workplace::open(&order.book, order.ship_bytes_max, Some(limit)) {
                Ok(workplace) => {
                    let book = &order.book;
                    let made = BookExecutor::new(
                        Redactor::new(&book.secret_values),
                        book.loglevel,
                        live_output,
                        observer.clone(),
                        Arc::clone(ledger) as Arc<dyn Notary>,
                    );
                    executor = Some((made, workplace));
                }
                Err(_) if interrupt.is_raised() => {
                    let outcome = CaseOutcome::skipped("interrupted before it began");
                    observer(RunEvent::Settled { case: order.id, outcome });
                }
                Err(error) => {
                    let message = Redactor::new(&order.book.secret_values)
                        .clean(&format!("cannot make a working folder for the book: {error}"));
                    let outcome = CaseOutcome::botched("StartFailed", message);
                    observer(RunEvent::Settled { case: order.id, outcome });
                }
            }
        }
        if let Some((executor, workplace)) = &mut executor {
            let assignment = order.assignment().completed(&order.book.folder);
            executor.carry_out(&assignment, workplace.path(), interrupt);
        }
        std::mem::forget(guard);
    }
    if let Some((executor, _workplace)) = executor {
        executor.close();
    }
}

/// A case whose executor panics is settled all the same, and told to be in an unknown state.
struct SettleOnPanic<'a> {
    case: usize,
    observer: &'a Observer,
}

impl Drop for SettleOnPanic<'_> {
    fn drop(&mut self) {
        let outcome = CaseOutcome::lost(
            "the executor broke down in the middle of the case: this is a defect of Pisaura",
        );
        (self.observer)(RunEvent::Settled { case: self.case, outcome });
    }
}

/// Tells of the end of a book's executor, also of an untimely one.
struct TellOfEnd<'a> {
    observer: &'a Observer,
}

impl Drop for TellOfEnd<'_> {
    fn drop(&mut self) {
        (self.observer)(RunEvent::BookClosed);
    }
}
