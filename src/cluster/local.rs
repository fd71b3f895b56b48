//! Room in this process: a thread for each book, which is its executor.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::executor::{BookExecutor, Notary, Observer, Workplace};
use crate::fatebook::Redactor;
use crate::machine::{CaseId, CaseOutcome, RunEvent};
use crate::remote::Interrupt;

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
        let ledger = Arc::new(Ledger { observer: observer.clone(), waiting: Mutex::default() });
        Self { observer, ledger, interrupt, live_output, books: HashMap::new(), opened: 0 }
    }
}

impl Cluster for LocalCluster {
    fn begin(&mut self, order: Order) {
        let sender = self.books.entry(order.book.name.clone()).or_insert_with(|| {
            let (sender, orders) = channel();
            let (observer, ledger) = (self.observer.clone(), Arc::clone(&self.ledger));
            let (interrupt, live_output) = (self.interrupt.clone(), self.live_output);
            self.opened += 1;
            std::thread::spawn(move || serve(&orders, &observer, &ledger, &interrupt, live_output));
            sender
        });
        let id = order.id;
        if sender.send(order).is_err() {
            let outcome = CaseOutcome::botched("ClusterFailed", "the executor of this book has ended");
            (self.observer)(RunEvent::Settled { case: id, outcome });
        }
    }

    fn noted(&mut self, case: CaseId, result: Result<(), String>) {
        if let Some(waiting) = self.ledger.waiting().remove(&case) {
            // It does not wait any more if its executor has broken down.
            let _ = waiting.send(result);
        }
    }

    /// What ended is over here, whether it was written down or not.
    fn recorded(&mut self, _case: CaseId) {}

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
    waiting: Mutex<HashMap<CaseId, Sender<Result<(), String>>>>,
}

impl Ledger {
    fn waiting(&self) -> MutexGuard<'_, HashMap<CaseId, Sender<Result<(), String>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notary for Ledger {
    fn note(&self, case: CaseId, heal: String, _interrupt: &Interrupt) -> Result<(), String> {
        let (answer, arrives) = channel();
        self.waiting().insert(case, answer);
        (self.observer)(RunEvent::MayBeDirty { case, heal });
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
            match Workplace::open(&order.book) {
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
                Err(error) => {
                    let message = Redactor::new(&order.book.secret_values)
                        .clean(&format!("cannot make a working folder for the book: {error}"));
                    let outcome = CaseOutcome::botched("StartFailed", message);
                    observer(RunEvent::Settled { case: order.id, outcome });
                }
            }
        }
        if let Some((executor, workplace)) = &mut executor {
            let mut assignment = order.assignment();
            assignment.access.login = assignment.access.login.completed(&order.book.folder);
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
