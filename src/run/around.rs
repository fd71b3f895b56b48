//! What is done once before the first case of a book, and once after its last one: when, and what it means if that fails.

use super::*;

use crate::executor::run_around;
use crate::machine::{Around, AroundRecord};

/// The books that have begun, and what is at work for them.
#[derive(Default)]
pub(super) struct Arounds {
    begun: HashMap<String, (Arc<Fatebook>, State)>,
    at_work: usize,
    /// What no other run may have while a book's `after_all` is at work.
    locked: HashMap<String, Locked>,
}

#[derive(Clone, Copy)]
enum State {
    /// Its `before_all` is at work, and this case waits for it.
    Preparing(CaseId),
    /// Its `after_all` is owed.
    Begun,
}

impl Arounds {
    /// Whether something is at work.
    pub(super) fn are_at_work(&self) -> bool {
        self.at_work > 0
    }

    /// What was at work for a book has ended, while the run breaks down; answers with whether it succeeded.
    pub(super) fn ended(&mut self, record: &AroundRecord) -> bool {
        self.at_work -= 1;
        record.around == Around::BeforeAll || record.end.is_success()
    }

    /// Runs each `after_all` that is owed, one after the other; answers with whether all succeeded.
    pub(super) fn finish(&mut self, ship_bytes_max: u64) -> bool {
        let owed = self.begun.drain().map(|(_, (book, _))| book).filter(|book| book.after_all.is_some());
        let ends = owed.map(|book| run_around(&book, Around::AfterAll, ship_bytes_max, None).end);
        // None is left out for another's failure.
        ends.filter(|end| !end.is_success()).count() == 0
    }
}

impl Engine {
    /// Whether what this case's book does before all its cases is done; else the case is begun once it is.
    pub(super) fn is_book_ready(&mut self, id: CaseId, book: &Arc<Fatebook>) -> bool {
        if let Some((_, state)) = self.arounds.begun.get(&book.name) {
            return matches!(state, State::Begun);
        }
        let state = match book.before_all {
            Some(_) => State::Preparing(id),
            None => State::Begun,
        };
        self.arounds.begun.insert(book.name.clone(), (Arc::clone(book), state));
        if book.before_all.is_some() {
            self.go_around(book, Around::BeforeAll);
        }
        book.before_all.is_none()
    }

    /// No case of this book is left; what the last of them had is nobody else's before all is done.
    pub(super) fn finish_book(&mut self, book: &Arc<Fatebook>, locked: Option<Locked>) {
        if self.arounds.begun.remove(&book.name).is_some() && book.after_all.is_some() {
            self.arounds.locked.extend(locked.map(|locked| (book.name.clone(), locked)));
            self.go_around(book, Around::AfterAll);
        }
    }

    fn go_around(&mut self, book: &Arc<Fatebook>, around: Around) {
        self.arounds.at_work += 1;
        let (book, sender) = (Arc::clone(book), self.sender.clone());
        // What comes after all is not skipped for an interrupt.
        let interrupt = (around == Around::BeforeAll).then(|| self.interrupt.clone());
        let (name, ship_bytes_max) = (book.name.clone(), self.ship_bytes_max);
        let working = std::thread::Builder::new().name(format!("{around} {name}")).spawn(move || {
            let record = run_around(&book, around, ship_bytes_max, interrupt.as_ref());
            let _ = sender.send(Message::WentAround(Box::new(record)));
        });
        if let Err(error) = working {
            let record = AroundRecord::not_begun(name, around, format!("no thread can be started: {error}"));
            let _ = self.sender.send(Message::WentAround(Box::new(record)));
        }
    }

    pub(super) fn went_around(&mut self, record: AroundRecord) {
        self.arounds.at_work -= 1;
        let why = record.why_failed();
        let book = record.book.clone();
        let around = record.around;
        let _ = self.reporters.hear(&RunEvent::WentAround(Box::new(record)));
        if around == Around::AfterAll {
            self.end.after_all_failed |= why.is_some();
            self.arounds.locked.remove(&book);
            return;
        }
        let Some((_, state)) = self.arounds.begun.get_mut(&book) else { return };
        let State::Preparing(id) = std::mem::replace(state, State::Begun) else { return };
        match why {
            _ if self.interrupt.is_raised() => {
                self.settle(id, CaseOutcome::skipped("interrupted before it began"));
            }
            None => self.start(id),
            Some(why) => {
                let skipped = self.gate.close_book(&book, &format!("{book}: {why}"));
                self.settle(id, CaseOutcome::botched("BeforeAllFailed", why));
                for skipped in skipped {
                    self.settle(skipped.id, CaseOutcome::skipped(skipped.reason));
                }
            }
        }
    }
}
