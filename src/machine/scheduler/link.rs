//! The connection to a master: taken in, lost and tried again, or thrown out.

use super::*;

impl Scheduler {
    pub(super) fn subscribed(
        &mut self,
        now: Duration,
        framework: String,
        heartbeat: Duration,
        actions: &mut Actions,
    ) {
        let tries = match &self.link {
            Link::Trying { tries, .. } | Link::Down { tries, .. } => *tries,
            _ => 0,
        };
        self.link = Link::Up { heartbeat, heard_at: now, since: now, tries };
        if self.framework.as_ref() != Some(&framework) {
            let (id, master) = (framework.clone(), self.options.master.clone());
            actions.push(SchedulerAction::Tell(RunEvent::Framework { id, master }));
        }
        self.framework = Some(framework);
        self.down_since = None;
        for case in self.cases.values_mut().filter(|case| matches!(case.state, CaseState::Launched(_))) {
            case.told = None;
        }
        self.suppressed = false;
        self.revive_due =
            self.cases.values().any(|case| case.state == CaseState::Waiting) && !self.tasks.is_empty();
        // What was told while nobody listened is asked for; offers of before are void.
        let asked: Vec<_> = self.current_tasks().map(|(id, task)| (id.clone(), task.agent.clone())).collect();
        for (id, _) in &asked {
            if let Some(task) = self.tasks.get_mut(id) {
                task.asked = 1;
                task.ask_at = now + ASKED_AGAIN_AFTER;
            }
        }
        if !asked.is_empty() {
            actions.push(SchedulerAction::Reconcile(asked));
        }
        let closed = self.closing_until.is_some();
        if closed {
            self.shut_down(None, actions);
        }
    }

    pub(super) fn lost(
        &mut self,
        now: Duration,
        why: String,
        retry: Retry,
        chance: f64,
        actions: &mut Actions,
    ) {
        if matches!(self.link, Link::Up { .. }) {
            self.down_since = Some(now);
        }
        let tries = match &self.link {
            Link::Trying { tries, .. } | Link::Down { tries, .. } => tries + 1,
            // A master that takes us in only to let us go is not asked faster and faster.
            Link::Up { since, tries, .. } if now < *since + STEADY_AFTER => tries + 1,
            _ => 0,
        };
        match retry {
            Retry::Never => {
                self.link = Link::Dead { why: why.clone() };
                let ids: Vec<CaseId> = self.cases.keys().copied().collect();
                for id in ids {
                    let outcome = match self.cases.get(&id) {
                        Some(case) if case.state == CaseState::Told => continue,
                        Some(case) if case.dirty => CaseOutcome::lost(format!(
                            "the master no longer accepts our subscription: {why}: the host may still be broken"
                        )),
                        _ => CaseOutcome::botched("MesosRefused", why.clone()),
                    };
                    self.settle(id, outcome, actions);
                }
            }
            Retry::Now | Retry::Later => {
                let pause = match (retry, tries) {
                    (Retry::Now, 0) => Duration::ZERO,
                    _ => {
                        let grown = PAUSE_FIRST * 2u32.saturating_pow(tries.min(10));
                        grown.min(PAUSE_LONGEST).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
                    }
                };
                self.link = Link::Down { retry_at: now + pause, tries, why };
            }
        }
    }

    pub(super) fn removed(&mut self, now: Duration, why: &str, actions: &mut Actions) {
        self.framework = None;
        for executor in &mut self.executors {
            executor.gone = true;
        }
        let lost: Vec<String> = self.current_tasks().map(|(id, _)| id.clone()).collect();
        for id in lost {
            self.attempt_lost(now, &id, why, false, actions);
        }
        self.link = Link::Down { retry_at: now, tries: 0, why: why.to_owned() };
    }
}
