//! The one thread of a run that decides: what begins, what is written down, what a signal does, and what is left of it if it breaks
//! down.

use super::*;

pub(super) struct Engine {
    pub(super) gate: Gate,
    pub(super) cluster: Box<dyn Cluster + Send>,
    pub(super) locks: Locks,
    pub(super) marks: Marks,
    pub(super) held: HashMap<CaseId, Locked>,
    /// Cases that wait for another run's locks.
    pub(super) locking: HashSet<CaseId>,
    pub(super) cases: HashMap<CaseId, Arc<Case>>,
    pub(super) order: Vec<CaseId>,
    pub(super) waiting: HashMap<CaseId, Sender<CaseOutcome>>,
    pub(super) access: AccessMaker,
    pub(super) reporters: Reporters,
    pub(super) sender: Sender<Message>,
    pub(super) interrupt: Interrupt,
    /// How many signals were taken in.
    pub(super) signals_heard: Arc<AtomicUsize>,
    pub(super) signalled_at: Option<Instant>,
    /// In which runs say what they leave.
    pub(super) journal: PathBuf,
    /// How much may travel with a book.
    pub(super) ship_bytes_max: u64,
    /// Failures, by their names without hosts, that were none for a host, and whether they were tried on another one.
    pub(super) selective: BTreeMap<String, bool>,
    /// Hosts that may be broken now.
    pub(super) dirty: DirtyHosts,
    /// How many executors have ended and left their hosts clean.
    pub(super) books_closed: usize,
    pub(super) arounds: Arounds,
    pub(super) end: RunEnd,
}

/// How often reporters are woken that want to be: a terminal shows how long a step has been going on.
const TICK: Duration = Duration::from_secs(1);
/// A signal that comes sooner after the first one is part of the same wish.
pub(super) const SECOND_SIGNAL_AFTER: Duration = Duration::from_millis(500);

impl Engine {
    pub(super) fn go_on(&mut self, messages: &Receiver<Message>) -> RunEnd {
        for id in self.order.clone() {
            let case = Arc::clone(&self.cases[&id]);
            if let Some(outcome) = case.settled_already() {
                self.settle(id, outcome);
            }
        }
        while !self.is_done() {
            while !self.interrupt.is_raised()
                && let Some(id) = self.gate.let_through()
            {
                self.lock(id);
            }
            if self.is_done() {
                break;
            }
            // While a case is at work elsewhere there is time to write reports.
            self.reporters.write_up();
            let message = if self.reporters.wants_ticks() {
                match messages.recv_timeout(TICK) {
                    Err(RecvTimeoutError::Timeout) => {
                        self.reporters.tick();
                        continue;
                    }
                    other => other.ok(),
                }
            } else {
                messages.recv().ok()
            };
            match message {
                Some(message) => self.hear(message),
                // The engine holds a sender itself, so this cannot be; but it must not go round for ever if it is.
                None => break,
            }
        }
        // Hosts are still being cleaned up, and whoever has no patience for that is still heard.
        let opened = self.cluster.close();
        while self.books_closed < opened {
            match messages.recv() {
                Ok(message) => self.hear(message),
                Err(_) => break,
            }
        }
        // Under nextest each case is a run of its own, and cannot know of the others.
        if !self.interrupt.is_raised() && !self.marks.are_kept() {
            for (name, _) in self.selective.iter().filter(|(_, tried)| !**tried) {
                let message =
                    format!("`{name}` was tried on no host: its only_if said no on each that was chosen");
                let _ = self.reporters.hear(&RunEvent::Warning { message });
            }
        }
        (self.end.shouts, self.end.report_lost) = self.reporters.finish();
        std::mem::take(&mut self.end)
    }

    fn is_done(&self) -> bool {
        self.gate.is_done() && !self.arounds.are_at_work()
    }

    /// What decides has broken down. Nothing new begins, what runs is reverted, and whoever is dirty then is told.
    pub(super) fn break_down(&mut self, messages: &Receiver<Message>) -> RunEnd {
        let began = Instant::now();
        self.interrupt.raise();
        self.cluster.interrupt();
        // Whoever waits to be told that it was written down is told that it was not; where it was, that changes nothing.
        for case in self.dirty.cases() {
            self.cluster.noted(case, Err("the run has broken down".to_owned()));
        }
        let opened = self.cluster.close();
        while self.books_closed < opened || self.arounds.are_at_work() {
            match messages.recv() {
                Ok(Message::WentAround(record)) => self.end.after_all_failed |= !self.arounds.ended(&record),
                // Nobody writes anything down any more, so nothing is broken any more.
                Ok(Message::Event(RunEvent::MayBeDirty { case, .. })) => {
                    self.cluster.noted(case, Err("the run has broken down".to_owned()));
                }
                Ok(Message::Event(RunEvent::BookClosed)) => self.books_closed += 1,
                Ok(Message::Event(event)) => {
                    self.dirty.hear(&event);
                    if let RunEvent::Settled { case, .. } = event {
                        self.cluster.recorded(case, false);
                    }
                }
                Ok(Message::Signal(_)) if began.elapsed() >= SECOND_SIGNAL_AFTER => {
                    let end = self.broken_down();
                    // The terminal that breaks down is not asked once more.
                    Terminal::new(Look::fitting(true)).shout(&end.shouts);
                    self.access.close();
                    std::process::exit(end.exit() as i32);
                }
                Ok(message) => {
                    let is_signal = matches!(message, Message::Signal(_));
                    self.signals_heard.fetch_add(usize::from(is_signal), Ordering::SeqCst);
                }
                Err(_) => break,
            }
        }
        self.end.after_all_failed |= !self.arounds.finish(self.ship_bytes_max);
        self.broken_down()
    }

    fn broken_down(&mut self) -> RunEnd {
        let mut end = std::mem::take(&mut self.end);
        end.broke_down = true;
        for (case, place, heal) in self.dirty.take_all() {
            end.verdicts.push(Verdict::Unreverted);
            end.shouts.push(self.cases[&case].info().shout(Some(place), heal));
        }
        end
    }

    fn hear(&mut self, message: Message) {
        // Kept apart from the reporters, for one of these may be what breaks down.
        if let Message::Event(event) = &message {
            self.dirty.hear(event);
            self.books_closed += usize::from(*event == RunEvent::BookClosed);
        }
        #[cfg(test)]
        break_down_tests::heard();
        match message {
            Message::Event(RunEvent::Settled { case, outcome }) => self.settle(case, outcome),
            Message::Event(event) => {
                let heard = self.reporters.hear(&event);
                match event {
                    RunEvent::MayBeDirty { case, .. } => self.cluster.noted(case, heard),
                    // Its cluster hears of it when the case is settled.
                    RunEvent::Reverted { .. } if heard.is_err() => self.end.unrecorded = true,
                    RunEvent::NotLeft { .. } => self.end.not_left = true,
                    _ => {}
                }
            }
            Message::Locked(id, locked) => {
                // Unless it was skipped while it waited: then the locks are let go at once.
                if self.locking.remove(&id) {
                    self.held.insert(id, locked);
                    match self.left_dirty_meanwhile(id) {
                        None => self.start(id),
                        Some(why) => self.settle(id, CaseOutcome::botched("HostDirty", why)),
                    }
                }
            }
            Message::LockFailed(id, why) if self.locking.remove(&id) => {
                self.settle(id, CaseOutcome::botched("LockFailed", why));
            }
            Message::LockFailed(..) => {}
            Message::WentAround(record) => self.went_around(*record),
            Message::Signal(name) => {
                self.signals_heard.fetch_add(1, Ordering::SeqCst);
                self.signalled(name);
            }
            Message::Stop(by) => self.interrupt(by),
        }
    }

    fn signalled(&mut self, name: &'static str) {
        // A closing terminal sends SIGHUP more than once, and whoever ends a process in earnest sends two signals at once.
        let in_earnest =
            self.signalled_at.is_some_and(|at| name != "SIGHUP" && at.elapsed() >= SECOND_SIGNAL_AFTER);
        if !in_earnest {
            if self.signalled_at.is_none() {
                self.signalled_at = Some(Instant::now());
                self.interrupt(name);
            }
            return;
        }
        let dirty = self.reporters.leave_now(name);
        self.access.close();
        std::process::exit(if dirty { ExitKind::Unreverted } else { ExitKind::Interrupted } as i32);
    }

    /// Nothing new begins, and what runs is ended and reverted.
    fn interrupt(&mut self, by: &'static str) {
        if self.end.interrupted || self.waiting.is_empty() {
            // There is nothing left to interrupt.
            if self.arounds.are_at_work() {
                let message = format!("{by}: `after_all` is waited for; press again to leave at once");
                let _ = self.reporters.hear(&RunEvent::Warning { message });
            }
            return;
        }
        let _ = self.reporters.hear(&RunEvent::Interrupted { by: by.to_owned() });
        self.end.interrupted = true;
        self.interrupt.raise();
        self.cluster.interrupt();
        for skipped in self.gate.interrupt() {
            self.settle(skipped.id, CaseOutcome::skipped(skipped.reason));
        }
        for id in std::mem::take(&mut self.locking) {
            self.settle(id, CaseOutcome::skipped("interrupted before it began"));
        }
    }

    /// Takes the locks of a case, waiting for another run if need be.
    fn lock(&mut self, id: CaseId) {
        let case = Arc::clone(&self.cases[&id]);
        let keys = case.lock_keys();
        match self.locks.try_lock(&keys) {
            Ok(Ok(locked)) => {
                self.held.insert(id, locked);
                self.start(id);
            }
            Ok(Err(holder)) => {
                let _ = self.reporters.hear(&RunEvent::Waiting { case: id, what: holder });
                self.locking.insert(id);
                let (locks, sender) = (self.locks.clone(), self.sender.clone());
                let waiting = std::thread::Builder::new().name("lock".to_owned()).spawn(move || {
                    let message = match locks.lock(&keys) {
                        Ok(locked) => Message::Locked(id, locked),
                        Err(error) => Message::LockFailed(id, error),
                    };
                    let _ = sender.send(message);
                });
                if let Err(error) = waiting {
                    self.locking.remove(&id);
                    self.settle(
                        id,
                        CaseOutcome::botched("LockFailed", format!("cannot wait for the locks: {error}")),
                    );
                }
            }
            Err(error) => self.settle(id, CaseOutcome::botched("LockFailed", error)),
        }
    }

    /// Whoever was waited for may have died, and left the host dirty that it had.
    fn left_dirty_meanwhile(&self, id: CaseId) -> Option<String> {
        let keys = self.cases[&id].lock_keys();
        let debts = match Debts::open(&self.journal, None, true, || ()) {
            Ok(debts) => debts,
            Err(why) => {
                return Some(format!(
                    "nobody knows whether the run that had the host has left it broken: {why}"
                ));
            }
        };
        let of_these = |debt: &&crate::report::Debt| debt.locks().iter().any(|lock| keys.contains(lock));
        let debt = debts.runs.values().flat_map(|left| &left.dirty).find(of_these)?;
        let case = &debt.case;
        Some(format!(
            "the run that had the host has died, and `{case}` may have left it broken: `pisaura revert` heals it"
        ))
    }

    pub(super) fn start(&mut self, id: CaseId) {
        let case = Arc::clone(&self.cases[&id]);
        if self.interrupt.is_raised() {
            return self.settle(id, CaseOutcome::skipped("interrupted before it began"));
        }
        if let Some(reason) = self.gate.reason_against(id) {
            return self.settle(id, CaseOutcome::skipped(reason));
        }
        if let Some(reason) = self.marks.closed(&case) {
            return self.settle(id, CaseOutcome::skipped(reason));
        }
        let (Some(book), Some((fate, hosts))) = (case.book(), case.fate_and_hosts()) else {
            return self.settle(id, CaseOutcome::botched("StartFailed", "this case has no host"));
        };
        if !self.is_book_ready(id, &book) {
            return;
        }
        let access = |host: &HostEntry| Ok((host.clone(), self.access.access(&book, host)?));
        let hosts: Result<_, String> = hosts.try_map(access);
        let hosts = match hosts {
            Ok(hosts) => hosts,
            Err(message) => return self.settle(id, CaseOutcome::botched("StartFailed", message)),
        };
        let order =
            Order { id, name: case.name.clone(), book, fate, hosts, ship_bytes_max: self.ship_bytes_max };
        match self.reporters.will_begin(id, healing::plans_of(&order)) {
            Ok(()) => self.cluster.begin(order),
            Err(why) => {
                let message =
                    format!("nothing was begun, for it could not be written down beforehand: {why}");
                self.settle(id, CaseOutcome::botched("NotNoted", message));
            }
        }
    }

    /// How a case is judged that may be known to fail.
    fn judged(&mut self, id: CaseId, outcome: CaseOutcome) -> CaseOutcome {
        let case = Arc::clone(&self.cases[&id]);
        let Some(known) = case.fate().and_then(|fate| fate.known.as_ref()) else { return outcome };
        let (outcome, told) = known::judge(outcome, known, &case.name);
        self.end.tried_known |= outcome.main_finding().is_some_and(|finding| finding.kind == KNOWN);
        if let Some(message) = told {
            let _ = self.reporters.hear(&RunEvent::Warning { message });
        }
        outcome
    }

    pub(super) fn settle(&mut self, id: CaseId, outcome: CaseOutcome) {
        let outcome = self.judged(id, outcome);
        let Some(waiting) = self.waiting.remove(&id) else {
            return;
        };
        let case = Arc::clone(&self.cases[&id]);
        let skipped = match case.book() {
            Some(_) => self.gate.settled(id, outcome.verdict, &case.name),
            None => {
                self.end.broken_books = true;
                self.gate.failed_outside(outcome.verdict, &case.name)
            }
        };
        if outcome.verdict != Verdict::Survived
            && let Err(why) = self.marks.close(&case, outcome.verdict)
        {
            self.end.unrecorded = true;
            let _ = self.reporters.hear(&RunEvent::Warning { message: why });
        }
        let locked = self.held.remove(&id);
        if outcome.main_finding().is_some_and(|finding| finding.kind == NOT_FOR_THIS_HOST) {
            self.selective.entry(case.name_without_host().to_owned()).or_insert(false);
        } else if outcome.verdict != Verdict::Skipped
            || outcome.main_finding().is_some_and(|finding| finding.kind == KNOWN)
        {
            self.selective.insert(case.name_without_host().to_owned(), true);
        }
        self.end.verdicts.push(outcome.verdict);
        let event = RunEvent::Settled { case: id, outcome };
        // A trouble with the journal was told by the reporters; the case has ended all the same.
        let heard = self.reporters.hear(&event);
        self.cluster.recorded(id, heard.is_ok() && !self.end.unrecorded);
        if let RunEvent::Settled { outcome, .. } = event {
            // Nobody waits any more if standard output was closed under us.
            let _ = waiting.send(outcome);
        }
        for skipped in skipped {
            self.settle(skipped.id, CaseOutcome::skipped(skipped.reason));
        }
        if let Some(book) = case.book()
            && !self.gate.has_open(&book.name)
        {
            self.cluster.close_book(&book.name);
            self.finish_book(&book, locked);
        }
    }
}
