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
    /// Its hosts: nor do two cases that share one.
    pub hosts: Vec<String>,
    /// Whether the book is closed by the first of its cases that does not pass.
    pub failfast: bool,
}

impl GateCase {
    fn shares_host(&self, other: &Self) -> bool {
        self.hosts.iter().any(|host| other.hosts.contains(host))
    }
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
    /// What was closed, and why.
    closed: Vec<(Scope, String)>,
}

/// What a case that did not pass closes.
#[derive(Clone, Debug)]
enum Scope {
    All,
    Book(String),
    /// A host that may still be broken: its book, its service, itself.
    Around(GateCase),
}

impl Scope {
    fn holds(&self, case: &GateCase) -> bool {
        match self {
            Self::All => true,
            Self::Book(book) => case.book == *book,
            Self::Around(broken) => {
                case.book == broken.book || case.service == broken.service || case.shares_host(broken)
            }
        }
    }
}

impl Gate {
    /// A gate before which these cases wait.
    pub fn new(cases: impl IntoIterator<Item = GateCase>, width: usize, fail_fast: bool) -> Self {
        Self {
            waiting: cases.into_iter().collect(),
            running: Vec::new(),
            width: width.max(1),
            fail_fast,
            closed: Vec::new(),
        }
    }

    /// The next case that may begin now, if any. It counts as running from then on.
    ///
    /// The cases of a book keep their order, so a case never overtakes one of its own book.
    pub fn let_through(&mut self) -> Option<CaseId> {
        if self.running.len() >= self.width {
            return None;
        }
        let mut held_back: Vec<&str> = Vec::new();
        let mut found = None;
        for (index, case) in self.waiting.iter().enumerate() {
            let busy =
                self.running.iter().any(|other| other.service == case.service || other.shares_host(case));
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
        // A failure that was none for its host is no reason to stop.
        if matches!(verdict, Verdict::Survived | Verdict::Skipped) {
            return Vec::new();
        }
        if self.fail_fast {
            return self.close(Scope::All, format!("--fail-fast: `{name}` did not pass ({verdict})"));
        }
        if verdict == Verdict::Unreverted {
            let reason = format!("`{name}` is {verdict}: its host may still be broken");
            return self.close(Scope::Around(case), reason);
        }
        if case.failfast {
            return self
                .close(Scope::Book(case.book), format!("failfast: `{name}` did not pass ({verdict})"));
        }
        Vec::new()
    }

    /// A case that never came before the gate did not pass: a book that is broken.
    pub fn failed_outside(&mut self, verdict: Verdict, name: &str) -> Vec<Skipped> {
        match self.fail_fast {
            true => self.close(Scope::All, format!("--fail-fast: `{name}` did not pass ({verdict})")),
            false => Vec::new(),
        }
    }

    /// Nothing more of this book begins. Answers with those that are skipped for it.
    pub fn close_book(&mut self, book: &str, reason: &str) -> Vec<Skipped> {
        self.close(Scope::Book(book.to_owned()), reason.to_owned())
    }

    /// Why a case that was let through, but has not begun yet, is not to begin any more.
    pub fn reason_against(&self, id: CaseId) -> Option<String> {
        let case = self.running.iter().find(|case| case.id == id)?;
        self.closed.iter().find(|(scope, _)| scope.holds(case)).map(|(_, reason)| reason.clone())
    }

    /// Nothing new begins. Answers with those that are skipped for it.
    pub fn interrupt(&mut self) -> Vec<Skipped> {
        self.close(Scope::All, "interrupted before it began".to_owned())
    }

    /// Whether nothing waits and nothing runs.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Whether a case of this book still waits or runs.
    pub fn has_open(&self, book: &str) -> bool {
        self.waiting.iter().chain(&self.running).any(|case| case.book == book)
    }

    fn close(&mut self, scope: Scope, reason: String) -> Vec<Skipped> {
        let (closed, open): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(|case| scope.holds(case));
        self.waiting = open.into();
        let skipped =
            closed.into_iter().map(|case| Skipped { id: case.id, reason: reason.clone() }).collect();
        self.closed.push((scope, reason));
        skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(id: CaseId, book: &str, service: &str, host: &str) -> GateCase {
        GateCase {
            id,
            book: book.into(),
            service: service.into(),
            hosts: host.split('+').map(str::to_owned).collect(),
            failfast: book == "fast",
        }
    }

    /// Two services of two hosts each, one book for both; and a third of its own.
    fn cases() -> Vec<GateCase> {
        vec![
            case(0, "a", "s", "h1"),
            case(1, "a", "s", "h2"),
            case(2, "b", "t", "h2"),
            case(3, "b", "t", "h3"),
            case(4, "fast", "u", "h4"),
            case(5, "fast", "u", "h5"),
            case(6, "fast", "u", "h6"),
        ]
    }

    fn all_next(gate: &mut Gate) -> Vec<CaseId> {
        std::iter::from_fn(|| gate.let_through()).collect()
    }

    #[test]
    fn one_at_a_time_and_in_order() {
        let mut gate = Gate::new(cases(), 1, false);
        for id in 0..7 {
            assert_eq!(all_next(&mut gate), [id]);
            assert!(!gate.is_done());
            assert_eq!(gate.settled(id, Verdict::Survived, "x"), []);
        }
        assert!(gate.is_done() && gate.let_through().is_none());
    }

    #[test]
    fn no_service_and_no_host_twice() {
        let mut gate = Gate::new(cases(), 9, false);
        assert_eq!(all_next(&mut gate), [0, 2, 4]);
        // Case 1 wants host 2, which case 2 has.
        gate.settled(0, Verdict::Survived, "x");
        assert!(all_next(&mut gate).is_empty());
        gate.settled(2, Verdict::Survived, "x");
        assert_eq!(all_next(&mut gate), [1, 3]);
    }

    #[test]
    fn a_book_keeps_its_order() {
        // The second case of book a could begin by its host, the first could not.
        let cases = [case(0, "z", "z", "h1"), case(1, "a", "s", "h1"), case(2, "a", "s", "h2")];
        let mut gate = Gate::new(cases, 9, false);
        assert_eq!(all_next(&mut gate), [0]);
    }

    #[test]
    fn failfast_closes_its_book() {
        let mut gate = Gate::new(cases(), 9, false);
        all_next(&mut gate);
        assert_eq!(gate.settled(0, Verdict::Botched, "a::f"), []);
        let reason = "failfast: `fast::f` did not pass (succumbed)".to_owned();
        let skipped = [5, 6].map(|id| Skipped { id, reason: reason.clone() });
        assert_eq!(gate.settled(4, Verdict::Succumbed, "fast::f"), skipped);
        assert!(!gate.has_open("fast") && gate.has_open("a"));
    }

    #[test]
    fn an_unreverted_host_closes_its_book_and_itself() {
        let mut gate = Gate::new(cases(), 1, false);
        gate.let_through();
        gate.settled(0, Verdict::Survived, "x");
        gate.let_through();
        let skipped = gate.settled(1, Verdict::Unreverted, "a::f@h2");
        let reason = "`a::f@h2` is unreverted: its host may still be broken".to_owned();
        assert_eq!(skipped, [Skipped { id: 2, reason }]);
        assert_eq!(gate.let_through(), Some(3));
    }

    #[test]
    fn a_case_that_was_let_through_may_still_be_kept_from_beginning() {
        let mut gate = Gate::new(cases(), 9, true);
        assert_eq!(all_next(&mut gate), [0, 2, 4]);
        assert_eq!(gate.reason_against(2), None);
        gate.settled(0, Verdict::Botched, "a::f");
        assert_eq!(gate.reason_against(2).as_deref(), Some("--fail-fast: `a::f` did not pass (botched)"));
        let mut gate = Gate::new(cases(), 9, false);
        assert_eq!(gate.failed_outside(Verdict::Botched, "x::x.yaml"), []);
        all_next(&mut gate);
        gate.settled(2, Verdict::Unreverted, "b::f");
        assert_eq!(gate.reason_against(0), None);
    }

    #[test]
    fn the_whole_run_ends_fast_or_by_an_interrupt() {
        let mut gate = Gate::new(cases(), 1, true);
        gate.let_through();
        assert_eq!(gate.settled(0, Verdict::Unfit, "a::f").len(), 6);
        assert!(gate.is_done());
        let mut gate = Gate::new(cases(), 1, true);
        gate.let_through();
        assert_eq!(gate.settled(0, Verdict::Skipped, "a::f"), [], "it was none for its host");
        let mut gate = Gate::new(cases(), 1, false);
        gate.let_through();
        assert_eq!(gate.interrupt().len(), 6);
        assert!(!gate.is_done(), "one is still running");
        assert_eq!(gate.settled(0, Verdict::Skipped, "a::f"), []);
        assert_eq!(gate.settled(0, Verdict::Skipped, "a::f"), [], "late news");
        assert!(gate.is_done());
    }
}
