//! Which case goes where: what is wanted, and which offer is taken for it.

use super::*;

impl Scheduler {
    pub(super) fn want(&mut self, now: Duration, want: Want, actions: &mut Actions) {
        let id = want.case;
        let case = Case {
            want,
            state: CaseState::Waiting,
            attempts: 0,
            revert_attempts: 0,
            induced: false,
            induced_in: None,
            dirty: false,
            noting: false,
            question: 0,
            waits_since: now,
            told: None,
            largest: None,
            met_itself: false,
            not_before: None,
            dirty_lost_at: None,
            overdue: false,
            avoided: Vec::new(),
            past: Vec::new(),
            acknowledgement: None,
            recording: None,
        };
        self.cases.insert(id, case);
        if self.interrupted {
            return self.settle(id, CaseOutcome::skipped("interrupted before it began"), actions);
        }
        match &self.link {
            Link::Dead { why } => {
                let outcome = CaseOutcome::botched("MesosRefused", why.clone());
                self.settle(id, outcome, actions);
            }
            Link::Idle => {
                self.link = Link::Trying { since: now, tries: 0, why: String::new() };
                actions.push(SchedulerAction::Subscribe { framework: self.framework.clone() });
            }
            _ => self.revive_due = true,
        }
    }

    pub(super) fn offers(&mut self, now: Duration, offers: Vec<Offer>, actions: &mut Actions) {
        let mut left: Vec<(Offer, Vec<Launch>)> =
            offers.into_iter().map(|offer| (offer, Vec::new())).collect();
        let waiting: Vec<CaseId> = self
            .cases
            .iter()
            .filter(|(_, case)| case.may_be_placed(now, self.interrupted))
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            self.place(now, id, &mut left);
        }
        let (launched, declined): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(_, tasks)| !tasks.is_empty());
        for (offer, tasks) in launched {
            for launch in &tasks {
                if self.cases.get(&launch.case).is_some_and(|case| case.attempts + case.revert_attempts == 1)
                {
                    actions.push(SchedulerAction::Tell(RunEvent::Began { case: launch.case }));
                }
            }
            actions.push(SchedulerAction::Launch { offer: offer.id, agent: offer.agent, tasks });
        }
        if !declined.is_empty() {
            actions.push(SchedulerAction::Decline(declined.into_iter().map(|(offer, _)| offer.id).collect()));
        }
    }

    /// Finds room for a case among these offers, if there is any.
    pub(super) fn place(&mut self, now: Duration, id: CaseId, offers: &mut [(Offer, Vec<Launch>)]) {
        let Some(case) = self.cases.get_mut(&id) else { return };
        let mut best: Option<(usize, Room, Option<String>)> = None;
        for (index, (offer, _)) in offers.iter().enumerate() {
            if offer
                .names
                .iter()
                .any(|name| case.want.hosts.iter().any(|host| host.eq_ignore_ascii_case(name)))
            {
                case.met_itself = true;
                continue;
            }
            case.largest = case.largest.max(Some(offer.room));
            let there = self
                .executors
                .iter()
                .find(|executor| {
                    !executor.gone
                        && !executor.closing
                        && executor.agent == offer.agent
                        && executor.book == case.want.book
                })
                .map(|executor| executor.id.clone());
            let need = match there {
                Some(_) => case.want.room,
                None => case.want.room.plus(self.options.executor_room),
            };
            if !offer.room.holds(need) {
                continue;
            }
            let rank = |index: usize, there: bool| {
                let offer: &Offer = &offers[index].0;
                (!case.avoided.contains(&offer.agent), there, offer.room)
            };
            let better = match &best {
                None => true,
                Some((other, _, other_there)) => {
                    rank(index, there.is_some()) > rank(*other, other_there.is_some())
                }
            };
            if better {
                best = Some((index, need, there));
            }
        }
        let Some((index, need, there)) = best else { return };
        let (offer, tasks) = &mut offers[index];
        offer.room = offer.room.minus(need);
        let executor = there.unwrap_or_else(|| {
            let id = format!("{}-e{}", self.options.run, self.executors.len() + 1);
            self.executors.push(Executor {
                id: id.clone(),
                book: case.want.book.clone(),
                agent: offer.agent.clone(),
                shown: offer.names.first().cloned().unwrap_or_else(|| offer.agent.clone()),
                confirmed: false,
                closing: false,
                gone: false,
            });
            id
        });
        let only_reverts = case.dirty;
        match only_reverts {
            true => case.revert_attempts += 1,
            false => case.attempts += 1,
        }
        let task = format!("{}-c{id}-a{}", self.options.run, case.attempts + case.revert_attempts);
        case.state = CaseState::Launched(task.clone());
        tasks.push(Launch { task: task.clone(), case: id, executor: executor.clone(), only_reverts });
        let task_state = Task {
            case: id,
            agent: offer.agent.clone(),
            executor,
            ended: false,
            ask_at: now + SILENT_AFTER,
            asked: 0,
            launched_at: now,
            unreachable_since: None,
            kill: None,
        };
        self.tasks.insert(task, task_state);
    }

    pub(super) fn ask_for_offers(&mut self, actions: &mut Actions) {
        if !matches!(self.link, Link::Up { .. }) {
            return;
        }
        let wanting = self.cases.values().any(|case| case.state == CaseState::Waiting);
        if wanting && (self.suppressed || self.revive_due) {
            actions.push(SchedulerAction::Revive);
            self.suppressed = false;
        } else if !wanting && !self.suppressed {
            actions.push(SchedulerAction::Suppress);
            self.suppressed = true;
        }
        self.revive_due = false;
    }
}
