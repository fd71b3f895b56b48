//! What is heard of tasks: news, questions and ends; and which attempt is made anew.

use super::*;

impl Scheduler {
    pub(super) fn update(&mut self, now: Duration, update: TaskUpdate, actions: &mut Actions) {
        let known =
            self.tasks.get(&update.task).map(|task| (task.ended, self.is_current(&update.task, task)));
        let agent =
            update.agent.clone().or_else(|| self.tasks.get(&update.task).map(|task| task.agent.clone()));
        let acknowledgement = match (update.uuid, agent.clone()) {
            (Some(uuid), Some(agent)) => {
                Some(SchedulerAction::Acknowledge { agent, task: update.task.clone(), uuid })
            }
            _ => None,
        };
        let ends = matches!(update.news, TaskNews::Ended | TaskNews::Refused);
        let (Some((false, true)), Some(task)) = (known, self.tasks.get_mut(&update.task)) else {
            // The same news come again until they are acknowledged, which is only when they are safe.
            let unsafe_yet = self
                .cases
                .values()
                .any(|case| case.acknowledgement.is_some() && case.acknowledgement == acknowledgement);
            if !unsafe_yet {
                actions.extend(acknowledgement);
            }
            if let Some(task) = self.tasks.get_mut(&update.task) {
                task.ended |= ends;
            }
            // A task that nobody waits for any more, and that has not ended, is not to go on.
            if let (false, Some(agent)) = (ends || known.is_some_and(|(ended, _)| ended), agent) {
                actions.push(SchedulerAction::Kill { task: update.task, agent });
            }
            return;
        };
        task.ask_at = now + SILENT_AFTER;
        task.asked = 0;
        match update.news {
            TaskNews::Alive => {
                task.unreachable_since = None;
                let executor = task.executor.clone();
                for known in self.executors.iter_mut().filter(|other| other.id == executor) {
                    known.confirmed = true;
                }
                actions.extend(acknowledgement);
            }
            TaskNews::Unreachable => {
                task.unreachable_since.get_or_insert(now);
                actions.extend(acknowledgement);
            }
            TaskNews::Ended | TaskNews::Refused => {
                task.ended = true;
                let (case, executor) = (task.case, task.executor.clone());
                // Only what has been at work can tell that a host is clean.
                let knows = |outcome: &CaseOutcome| {
                    outcome.report.is_some() || self.cases.get(&case).is_some_and(|case| !case.dirty)
                };
                let outcome = update.outcome.filter(knows);
                let own_host = outcome.as_ref().and_then(met_itself);
                let outcome = self.unless_ended(case, outcome.filter(|_| own_host.is_none()));
                match outcome {
                    Some(outcome) => {
                        if let Some(case) = self.cases.get_mut(&case) {
                            case.acknowledgement = acknowledgement;
                            case.recording = agent.map(|agent| SchedulerAction::Recorded {
                                task: update.task.clone(),
                                executor: executor.clone(),
                                agent,
                            });
                            case.dirty = false;
                        }
                        let outcome = self.with_attempts(case, outcome, &update.task);
                        self.settle(case, outcome, actions);
                    }
                    None => {
                        let refused = update.news == TaskNews::Refused;
                        // One that has met its own machine is well, and has to take away what it has left there. A task that was
                        // refused never reached its executor, which may not even have been started.
                        for gone in self.executors.iter_mut().filter(|other| other.id == executor) {
                            gone.gone |= own_host.is_none() && (!refused || !gone.confirmed);
                        }
                        let why = match (own_host, update.message.as_str()) {
                            (Some(why), _) => why,
                            (None, "") => "ended by somebody else".to_owned(),
                            (None, message) => message.to_owned(),
                        };
                        self.attempt_lost(now, &update.task, &why, refused, actions);
                        match self.cases.get_mut(&case).filter(|case| case.state == CaseState::Told) {
                            Some(case) => case.acknowledgement = acknowledgement,
                            None => actions.extend(acknowledgement),
                        }
                    }
                }
            }
        }
    }

    /// What an executor says of a case, unless it was ended by somebody else than this run: an operator, a drained agent. Only an
    /// interrupt of this run is a reason to skip a case: before its inducer it is tried again, and after it, it is botched.
    pub(super) fn unless_ended(&self, id: CaseId, outcome: Option<CaseOutcome>) -> Option<CaseOutcome> {
        let mut outcome = outcome?;
        let case = self.cases.get(&id)?;
        let is_interrupted = |finding: &Finding| matches!(finding.kind.as_str(), "Interrupted" | "Skipped");
        if self.interrupted || case.overdue || !outcome.findings.iter().any(is_interrupted) {
            return Some(outcome);
        }
        if !case.induced && !case.dirty {
            return None;
        }
        let reverted = match outcome.verdict {
            Verdict::Unreverted => "",
            _ => "; the host was reverted",
        };
        for finding in outcome.findings.iter_mut().filter(|finding| is_interrupted(finding)) {
            *finding = Finding::new(
                Verdict::Botched,
                "TaskEnded",
                format!(
                    "its task was ended by somebody else than this run, after the inducer was handed out{reverted}"
                ),
            );
        }
        outcome.verdict = worst(&outcome.findings);
        Some(outcome)
    }

    /// What an executor says of a case, with what became of it before.
    pub(super) fn with_attempts(&self, id: CaseId, outcome: CaseOutcome, task: &str) -> CaseOutcome {
        let Some(case) = self.cases.get(&id) else { return outcome };
        let executor = self.tasks.get(task).map(|task| task.executor.as_str()).unwrap_or_default();
        let shown =
            self.executors.iter().find(|other| other.id == executor).map(|executor| executor.shown.clone());
        let mut outcome = outcome;
        if case.revert_attempts > 0 {
            let reverted = match outcome.verdict {
                Verdict::Unreverted => ", and no other has reverted the host",
                _ => ", and the host was reverted by another",
            };
            let lost = Finding::new(
                Verdict::Botched,
                "TaskLost",
                format!(
                    "its task was lost after the inducer was handed out{reverted}: {}",
                    case.past.join("; ")
                ),
            );
            outcome.findings.insert(0, lost);
            outcome.verdict = worst(&outcome.findings);
        }
        if case.overdue {
            let finding = Finding::new(
                Verdict::Botched,
                "TimeLimit",
                format!(
                    "its task exceeded the time limit of all its steps together, {}, and was ended",
                    crate::fatebook::show_duration(case.want.limit)
                ),
            );
            outcome.findings.insert(0, finding);
            outcome.verdict = worst(&outcome.findings);
        }
        if let Some(report) = &mut outcome.report {
            report.placement =
                Some(Box::new(Placement { agent: shown.unwrap_or_default(), past: case.past.clone() }));
        }
        outcome
    }

    pub(super) fn attempt_lost(
        &mut self,
        now: Duration,
        task: &str,
        why: &str,
        refused: bool,
        actions: &mut Actions,
    ) {
        let Some((id, agent, executor)) =
            self.tasks.get(task).map(|task| (task.case, task.agent.clone(), task.executor.clone()))
        else {
            return;
        };
        let shown =
            self.executors.iter().find(|other| other.id == executor).map(|executor| executor.shown.clone());
        let interrupted = self.interrupted;
        let retries = self.options.task_retries;
        let Some(case) = self.cases.get_mut(&id) else { return };
        let number = case.attempts + case.revert_attempts;
        case.past.push(format!("attempt {number} on {}: {why}", shown.unwrap_or_else(|| agent.clone())));
        case.avoided.push(agent);
        case.state = CaseState::Waiting;
        case.waits_since = now;
        case.told = None;
        let losses = u32::try_from(case.past.len()).unwrap_or(u32::MAX);
        // What fails at once may fail again at once, but not for ever.
        case.not_before = (losses > 1).then(|| {
            now + (LOSS_PAUSE_FIRST * 2u32.saturating_pow(losses.min(10) - 2)).min(LOSS_PAUSE_LONGEST)
        });
        let past = case.past.join("; ");
        let outcome = if case.dirty {
            let since = *case.dirty_lost_at.get_or_insert(now);
            let long_enough = now >= since + case.want.revert_limit.max(REVERTED_WITHIN);
            (case.revert_attempts >= REVERT_ATTEMPTS_MIN && long_enough).then(|| {
                CaseOutcome::lost(format!(
                    "all tasks that were to revert the host were lost: {past}: the host may still be broken"
                ))
            })
        } else if case.induced {
            Some(CaseOutcome::botched(
                "TaskLost",
                format!("its task was lost after the host was reverted: {past}"),
            ))
        } else if interrupted {
            Some(CaseOutcome::skipped("interrupted before the inducer"))
        } else if refused {
            Some(CaseOutcome::botched("TaskRefused", past))
        } else {
            (case.attempts > retries).then(|| CaseOutcome::botched("TaskLost", past))
        };
        match outcome {
            Some(outcome) => self.settle(id, outcome, actions),
            None => self.revive_due |= losses == 1,
        }
    }

    pub(super) fn news(&mut self, id: &str, event: RunEvent, actions: &mut Actions) {
        if matches!(event, RunEvent::HostLeft { .. } | RunEvent::NotLeft { .. } | RunEvent::Warning { .. }) {
            // Executors tell so when their tasks are over.
            actions.push(SchedulerAction::Tell(event));
            return;
        }
        let Some(task) = self.tasks.get(id).filter(|task| !task.ended && self.is_current(id, task)) else {
            return;
        };
        let case = task.case;
        match event {
            RunEvent::Reverted { host: None, .. } => {
                if let Some(known) = self.cases.get_mut(&case) {
                    known.dirty = false;
                }
                actions.push(SchedulerAction::Tell(event));
            }
            // That it began was told when it was launched, how it ends comes with an update, and the rest is asked.
            RunEvent::Began { .. } | RunEvent::Settled { .. } | RunEvent::MayBeDirty { .. } => {}
            event => actions.push(SchedulerAction::Tell(event)),
        }
    }

    /// Once it may induce, the case is dirty until its executor tells otherwise.
    pub(super) fn asked(&mut self, id: &str, question: u64, hosts: Vec<DirtyHost>, actions: &mut Actions) {
        let Some(task) = self.tasks.get(id) else { return };
        let answer = |result| SchedulerAction::Answer {
            task: id.to_owned(),
            executor: task.executor.clone(),
            agent: task.agent.clone(),
            question,
            result,
        };
        let current = !task.ended && self.is_current(id, task) && task.kill.is_none();
        match self.cases.get_mut(&task.case).filter(|_| current) {
            None => actions.push(answer(Err("nobody waits for this attempt any more".to_owned()))),
            // The first answer may have been lost on its way. One who asks anew breaks other things than were written down: it was not
            // heard that the first were reverted.
            Some(known) if known.dirty && !is_asked_anew(question, known.question) => {
                actions.push(answer(Ok(())));
            }
            // The same attempt asks anew once it has told that nothing was broken; a question of before may only be late.
            Some(known)
                if known.induced
                    && !(known.induced_in.as_deref() == Some(id)
                        && is_asked_anew(question, known.question)) =>
            {
                actions.push(answer(Err("the inducer was handed out before".to_owned())));
            }
            Some(known) => {
                known.question = question;
                if !std::mem::replace(&mut known.noting, true) {
                    actions.push(SchedulerAction::Tell(RunEvent::MayBeDirty { case: task.case, hosts }));
                }
            }
        }
    }

    pub(super) fn noted(&mut self, id: CaseId, result: Result<(), String>, actions: &mut Actions) {
        let Some(case) = self.cases.get_mut(&id).filter(|case| case.noting) else { return };
        case.noting = false;
        let task = match &case.state {
            CaseState::Launched(id) => {
                self.tasks.get(id).filter(|task| !task.ended && task.kill.is_none()).map(|task| (id, task))
            }
            _ => None,
        };
        let Some((id, task)) = task else {
            // Whoever asked is gone, so nothing was induced.
            if case.state != CaseState::Told {
                actions.push(SchedulerAction::Tell(RunEvent::Reverted { case: id, host: None }));
            }
            return;
        };
        if result.is_ok() {
            (case.induced, case.dirty, case.induced_in) = (true, true, Some(id.clone()));
        }
        actions.push(SchedulerAction::Answer {
            task: id.clone(),
            executor: task.executor.clone(),
            agent: task.agent.clone(),
            question: case.question,
            result,
        });
    }
}

/// The number before the first of those that an executor gives to the questions of one asking, which it repeats until it is answered.
pub fn question_number(asking: u64) -> u64 {
    asking << QUESTION_BITS
}

/// Whether a question belongs to a later asking than another one.
fn is_asked_anew(question: u64, than: u64) -> bool {
    question >> QUESTION_BITS > than >> QUESTION_BITS
}

/// More repetitions of a question than there is time for.
const QUESTION_BITS: u32 = 20;

/// Why a case has to be carried out on another agent, if its executor has found that its own is the host. Then nothing was broken.
fn met_itself(outcome: &CaseOutcome) -> Option<String> {
    let kind = TroubleKind::OwnHost.to_string();
    outcome.findings.iter().find(|finding| finding.kind == kind).map(|finding| finding.message.clone())
}
