//! Where a case gets room to run. Hands cases to executors and passes their news on.

use std::sync::Arc;

use crate::executor::{Access, Assignment};
use crate::fatebook::{Fate, Fatebook, HostEntry, OneOrMore};
use crate::machine::CaseId;

mod files;
mod local;
mod mesos;

pub use local::LocalCluster;
pub use mesos::{MesosCluster, MesosOptions, tear_down};

/// A case that is to be carried out.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its number in the run.
    pub id: CaseId,
    /// Its full name.
    pub name: String,
    /// Its book.
    pub book: Arc<Fatebook>,
    /// Which of the book's failures.
    pub fate: usize,
    /// The hosts to break, and how to get there.
    pub hosts: OneOrMore<(HostEntry, Access)>,
    /// How much may travel with the book.
    pub ship_bytes_max: u64,
}

impl Order {
    /// The failure.
    pub fn fate(&self) -> &Fate {
        &self.book.fates[self.fate]
    }

    /// All that is needed to carry it out.
    pub fn assignment(&self) -> Assignment {
        Assignment::new(self.id, &self.name, &self.book, self.fate(), &self.hosts)
    }
}

/// Gives room to cases. News of them come to the observer that it was made with.
pub trait Cluster {
    /// Carries out a case, after those of its book that it was given before.
    fn begin(&mut self, order: Order);

    /// It is safely written down that the host of this case may be dirty; or it is not, and why.
    fn noted(&mut self, case: CaseId, result: Result<(), String>);

    /// How this case ended was written down: safely, or not at all; then the word that lies on the host has to stay.
    fn recorded(&mut self, case: CaseId, safely: bool);

    /// Nothing new begins, and what runs is ended and reverted.
    fn interrupt(&mut self);

    /// No more cases of this book will come: its hosts are left clean.
    fn close_book(&mut self, book: &str);

    /// No more cases will come at all. Answers with how many books were opened: each tells of its end by
    /// [`RunEvent::BookClosed`](crate::machine::RunEvent::BookClosed).
    fn close(&mut self) -> usize;
}
