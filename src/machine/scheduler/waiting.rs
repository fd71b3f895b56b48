//! What is due when: what a case waits for, what is asked or ended again, and what is given up.

use super::*;

impl Scheduler {
    pub(super) fn shut_down(&mut self, book: Option<&str>, actions: &mut Actions) {
        let going = self
            .executors
            .iter_mut()
            .filter(|executor| !executor.gone && book.is_none_or(|book| executor.book == book));
        for executor in going {
            executor.closing = true;
            actions.push(SchedulerAction::Shutdown {
                executor: executor.id.clone(),
                agent: executor.agent.clone(),
            });
        }
    }

    pub(super) fn do_what_is_due(&mut self, now: Duration, actions: &mut Actions) {
        match &self.link {
            Link::Down { retry_at, tries, why } if now >= *retry_at => {
                let (tries, why) = (*tries, why.clone());
                self.link = Link::Trying { since: now, tries, why };
                actions.push(SchedulerAction::Subscribe { framework: self.framework.clone() });
            }
            Link::Up { heartbeat, heard_at, .. } if now >= *heard_at + *heartbeat * HEARTBEATS_MISSED_MAX => {
                let why = format!("nothing was heard of the master for {HEARTBEATS_MISSED_MAX} heartbeats");
                actions.push(SchedulerAction::Abandon);
                self.down_since = Some(now);
                self.link = Link::Trying { since: now, tries: 0, why };
                actions.push(SchedulerAction::Subscribe { framework: self.framework.clone() });
            }
            Link::Trying { since, tries, .. } if now >= *since + TAKEN_IN_WITHIN => {
                let why = "the master does not accept our subscription".to_owned();
                actions.push(SchedulerAction::Abandon);
                self.link = Link::Down { retry_at: now, tries: tries + 1, why };
            }
            _ => {}
        }
        let ids: Vec<CaseId> = self.cases.keys().copied().collect();
        for id in ids {
            self.wait_on(now, id, actions);
        }
        let running: Vec<String> = self.current_tasks().map(|(id, _)| id.clone()).collect();
        let up = matches!(self.link, Link::Up { .. });
        let mut asked = Vec::new();
        for id in running {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            let limit = self.cases.get(&task.case).map(|case| case.want.revert_limit).unwrap_or_default();
            if up && now >= task.ask_at {
                task.asked += 1;
                task.ask_at =
                    now + (ASKED_AGAIN_AFTER * 2u32.saturating_pow(task.asked.min(5))).min(SILENT_AFTER);
                asked.push((id.clone(), task.agent.clone()));
            }
            if self.down_since.is_some_and(|since| now >= since + GIVEN_UP_AFTER) {
                self.attempt_lost(now, &id, "the master could not be reached for too long", false, actions);
                continue;
            }
            let overdue = self
                .cases
                .get_mut(&task.case)
                .filter(|case| task.kill.is_none() && now >= task.launched_at + case.want.limit);
            if let Some(case) = overdue {
                case.overdue = true;
                task.kill = Some(Kill::begin(now, limit));
            }
            if task.unreachable_since.is_some_and(|since| now >= since + UNREACHABLE_MAX) {
                self.attempt_lost(now, &id, "its agent cannot be reached", false, actions);
                continue;
            }
            let Some(kill) = &mut task.kill else { continue };
            if up && now >= kill.again_at {
                kill.again_at = now + KILLED_AGAIN_AFTER;
                actions.push(SchedulerAction::Kill { task: id.clone(), agent: task.agent.clone() });
            }
            if now >= kill.shutdown_at && !kill.shut_down {
                kill.shut_down = true;
                kill.shutdown_at = now + limit + OBEYED_WITHIN;
                actions.push(SchedulerAction::Shutdown {
                    executor: task.executor.clone(),
                    agent: task.agent.clone(),
                });
            } else if now >= kill.shutdown_at {
                self.attempt_lost(now, &id, "it was told to end, and did not", false, actions);
            }
        }
        if !asked.is_empty() {
            actions.push(SchedulerAction::Reconcile(asked));
        }
    }

    /// Tells why a case waits, and gives it up when it has waited for too long.
    pub(super) fn wait_on(&mut self, now: Duration, id: CaseId, actions: &mut Actions) {
        let why_not_up = match &self.link {
            Link::Up { .. } => None,
            Link::Down { why, .. } | Link::Trying { why, .. } | Link::Dead { why } => Some(why.clone()),
            Link::Idle => Some(String::new()),
        };
        let (timeout, master) = (self.options.offer_timeout, self.options.master.clone());
        let executor_room = self.options.executor_room;
        let down_for = self.down_since.map(|since| now.saturating_sub(since));
        let Some(case) = self.cases.get_mut(&id) else { return };
        if let (CaseState::Launched(_), Some(why)) = (&case.state, &why_not_up) {
            let what = format!("the Mesos master {master}, its task may be running: {why}");
            if down_for.is_some_and(|time| time >= TOLD_AFTER) && case.told.is_none() {
                case.told = Some(what.clone());
                actions.push(SchedulerAction::Tell(RunEvent::Waiting { case: id, what }));
            }
        }
        if case.state != CaseState::Waiting {
            return;
        }
        if case.not_before.take_if(|at| now >= *at).is_some() {
            self.revive_due = true;
        }
        let waited = now.saturating_sub(case.waits_since);
        let wanted = format!("an offer with {} (and {executor_room} for its executor)", case.want.room);
        let seen = match (case.largest, case.met_itself) {
            (Some(room), _) => format!("largest seen {room}"),
            (None, true) => "the only offers were from the host that this case breaks".to_owned(),
            (None, false) => "none was seen".to_owned(),
        };
        let what = match &why_not_up {
            Some(why) if why.is_empty() => format!("the Mesos master {master}"),
            Some(why) => format!("the Mesos master {master}: {why}"),
            None => format!("{wanted}; {seen}"),
        };
        if waited >= timeout {
            let shown = crate::fatebook::show_duration(timeout);
            let past = if case.past.is_empty() {
                String::new()
            } else {
                format!(", after {}", case.past.join("; "))
            };
            let outcome = match (case.dirty, why_not_up) {
                (true, _) => CaseOutcome::lost(format!(
                    "nothing could revert the host for {shown}: waited for {what}{past}: the host may still be broken"
                )),
                (false, Some(_)) => {
                    CaseOutcome::botched("MesosUnreachable", format!("waited {shown} for {what}{past}"))
                }
                (false, None) => CaseOutcome::botched("NoOffer", format!("waited {shown} for {what}{past}")),
            };
            return self.settle(id, outcome, actions);
        }
        if waited >= TOLD_AFTER && case.told.as_ref() != Some(&what) {
            case.told = Some(what.clone());
            actions.push(SchedulerAction::Tell(RunEvent::Waiting { case: id, what }));
        }
    }
}
