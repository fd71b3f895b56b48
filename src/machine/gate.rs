//! What goes when: one case of a service at a time, one on a host at a time, so many services at once as wanted, and
//! nothing more after a failfast or an interrupt. Pure.

use std::collections::VecDeque;

use super::event::CaseId;
use super::verdict::Verdict;

/// What the gate needs to know of a case.
#[derive(Clone, Debug)]
pub struct GateCase {
    /// Its number; the order of the list is the order of the cases.
    pub id: CaseId,
    /// Its book.
    pub book: String,
    /// Its service: cases of one service never overlap.
    pub service: String,
    /// Its host: nor do two cases on one host.
    pub host: String,
    /// Whether the book is closed by the first of its cases that does not pass.
    pub failfast: bool,
}

/// A case that will not be begun, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The case.
    pub id: CaseId,
    /// Why, in words.
    pub reason: String,
}

/// Lets cases through.
#[derive(Clone, Debug)]
pub struct Gate {
    waiting: VecDeque<GateCase>,
    running: Vec<GateCase>,
    /// How many services may be under test at once.
    width: usize,
    /// Whether the first case that does not pass closes everything.
    fail_fast: bool,
}

impl Gate {
    /// A gate before which these cases wait.
    pub fn new(cases: impl IntoIterator<Item = GateCase>, width: usize, fail_fast: bool) -> Self {
        Self {
            waiting: cases.into_iter().collect(),
            running: Vec::new(),
            width: width.max(1),
            fail_fast,
        }
    }

    /// The next case that may begin now, if any. It counts as running from then on.
    ///
    /// The cases of a book keep their order, so a case never overtakes one of its own book.
    pub fn next(&mut self) -> Option<CaseId> {
        if self.running.len() >= self.width {
            return None;
        }
        let mut held_back: Vec<&str> = Vec::new();
        let mut found = None;
        for (index, case) in self.waiting.iter().enumerate() {
            let busy = self
                .running
                .iter()
                .any(|other| other.service == case.service || other.host == case.host);
            if busy || held_back.contains(&case.book.as_str()) {
                if !held_back.contains(&case.book.as_str()) {
                    held_back.push(&case.book);
                }
                continue;
            }
            found = Some(index);
            break;
        }
        let case = self.waiting.remove(found?)?;
        let id = case.id;
        self.running.push(case);
        Some(id)
    }

    /// A case has ended: `name` is what it is called, for the reasons. Answers with those that are skipped for it.
    pub fn settled(&mut self, id: CaseId, verdict: Verdict, name: &str) -> Vec<Skipped> {
        let Some(index) = self.running.iter().position(|case| case.id == id) else {
            return Vec::new();
        };
        let case = self.running.swap_remove(index);
        if verdict == Verdict::Survived {
            return Vec::new();
        }
        if self.fail_fast {
            return self.close(
                |_| true,
                &format!("--fail-fast: `{name}` did not pass ({verdict})"),
            );
        }
        if verdict == Verdict::Unreverted {
            let reason = format!("`{name}` is {verdict}: its host may still be broken");
            return self.close(
                |other| other.book == case.book || other.service == case.service || other.host == case.host,
                &reason,
            );
        }
        if case.failfast {
            let reason = format!("failfast: `{name}` did not pass ({verdict})");
            return self.close(|other| other.book == case.book, &reason);
        }
        Vec::new()
    }

    /// Nothing new begins. Answers with those that are skipped for it.
    pub fn interrupt(&mut self) -> Vec<Skipped> {
        self.close(|_| true, "interrupted before it began")
    }

    /// Whether nothing waits and nothing runs.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Whether a case of this book still waits.
    pub fn has_waiting(&self, book: &str) -> bool {
        self.waiting.iter().any(|case| case.book == book)
    }

    fn close(&mut self, which: impl Fn(&GateCase) -> bool, reason: &str) -> Vec<Skipped> {
        let (closed, open): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(which);
        self.waiting = open.into();
        closed
            .into_iter()
            .map(|case| Skipped {
                id: case.id,
                reason: reason.to_owned(),
            })
            .collect()
    }
}
