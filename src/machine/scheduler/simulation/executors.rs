//! Executors at work on agents, and what goes wrong there.

use super::*;

impl World {
    pub(super) fn executor_hears(&mut self, id: &str, event: ExecutorEvent<SimTask>) {
        let now = self.now;
        let Some(executor) = self.executors.get_mut(id).filter(|executor| executor.alive) else { return };
        let actions = executor.machine.step(now, event);
        let (agent, generation) = (executor.agent, self.agents[executor.agent].generation);
        if let Some(at) = executor.machine.wake_at() {
            let pause = at.saturating_sub(now).max(Duration::from_millis(1));
            self.after(pause, Happening::WakeExecutor { executor: id.to_owned() });
        }
        for action in actions {
            match action {
                ExecutorAction::Subscribe => {
                    self.after(
                        Duration::from_millis(5),
                        Happening::ToExecutor { executor: id.to_owned(), event: ExecutorEvent::Subscribed },
                    );
                }
                ExecutorAction::Update(update) => {
                    let pause = self.chance.millis(1, 10);
                    self.after(
                        pause,
                        Happening::Updated { agent, generation, executor: id.to_owned(), update },
                    );
                }
                ExecutorAction::Begin(_, task) => {
                    let pause = self.chance.millis(1, 2000);
                    let meets_itself = !task.only_reverts && self.chance.once_in(15);
                    let next = match (task.only_reverts, meets_itself) {
                        (true, _) => Work::Revert,
                        (false, true) => Work::MeetsItself,
                        (false, false) => Work::Ask(0),
                    };
                    let name = task.id.clone();
                    if let Some(executor) = self.executors.get_mut(id) {
                        executor.task = Some(task);
                        (executor.interrupted, executor.asking, executor.induced) = (false, false, false);
                    }
                    self.after(pause, Happening::Work { executor: id.to_owned(), task: name, next });
                }
                ExecutorAction::Interrupt => {
                    let Some(executor) = self.executors.get_mut(id) else { return };
                    executor.interrupted = true;
                    let Some(task) = &executor.task else { return };
                    let name = task.id.clone();
                    if std::mem::take(&mut executor.asking) {
                        self.after(
                            Duration::ZERO,
                            Happening::Work { executor: id.to_owned(), task: name, next: Work::Done },
                        );
                    }
                }
                ExecutorAction::Leave => {
                    self.after(Duration::from_millis(20), Happening::Ended { executor: id.to_owned() });
                }
            }
        }
    }

    pub(super) fn work(&mut self, id: &str, task: &str, next: Work) {
        let now = self.now;
        let Some(executor) = self.executors.get_mut(id).filter(|executor| executor.alive) else { return };
        let Some(current) = executor.task.clone().filter(|current| current.id == task) else { return };
        let again = |next| Happening::Work { executor: id.to_owned(), task: task.to_owned(), next };
        match next {
            Work::Ask(tries) => {
                if executor.interrupted && tries == 0 {
                    return self.after(Duration::ZERO, again(Work::Done));
                }
                if tries == 0 {
                    executor.asking = true;
                }
                if !executor.asking {
                    return;
                }
                let question = u64::try_from(now.as_millis()).unwrap_or_default();
                let told = Happening::ExecutorTold {
                    executor: id.to_owned(),
                    task: task.to_owned(),
                    reverted: false,
                    question: Some(question),
                    asked_at: now,
                };
                let pause = self.chance.millis(1, 10);
                self.after(pause, told);
                self.after(Duration::from_secs(2), again(Work::Ask(tries + 1)));
            }
            Work::Induced => {
                let pause = self.chance.millis(5, 3000);
                self.after(pause, again(Work::Revert));
            }
            Work::Revert => {
                self.dirty.remove(&current.case);
                let told = Happening::ExecutorTold {
                    executor: id.to_owned(),
                    task: task.to_owned(),
                    reverted: true,
                    question: None,
                    asked_at: now,
                };
                self.after(Duration::from_millis(2), told);
                let pause = self.chance.millis(5, 500);
                self.after(pause, again(Work::Done));
            }
            // Its agent is the host: nothing is broken there.
            Work::MeetsItself => {
                let outcome = CaseOutcome {
                    report: Some(crate::machine::CaseReport::default()),
                    ..CaseOutcome::botched("AgentIsHost", "the agent is the host")
                };
                executor.task = None;
                let data = serde_json::to_vec(&outcome).unwrap_or_default();
                self.executor_hears(id, ExecutorEvent::Ended(data));
            }
            Work::Done => {
                let mut outcome = match (executor.interrupted, executor.induced || current.only_reverts) {
                    (true, _) => CaseOutcome::skipped("interrupted"),
                    (false, true) => {
                        CaseOutcome { verdict: Verdict::Survived, findings: Vec::new(), report: None }
                    }
                    (false, false) => CaseOutcome::botched("NotNoted", "full"),
                };
                outcome.report = Some(crate::machine::CaseReport::default());
                executor.task = None;
                let data = serde_json::to_vec(&outcome).unwrap_or_default();
                self.executor_hears(id, ExecutorEvent::Ended(data));
            }
        }
    }

    pub(super) fn updated(&mut self, agent: usize, generation: u64, id: &str, update: &Update) {
        if self.agents[agent].generation != generation || !self.agents[agent].up {
            return;
        }
        let Some(executor) = self.executors.get(id) else { return };
        let uuid = [executor.seed.to_be_bytes(), update.number.to_be_bytes()].concat();
        let (news, outcome) = match update.report {
            Report::Running => (TaskNews::Alive, None),
            Report::Finished | Report::Killed => (TaskNews::Ended, serde_json::from_slice(&update.data).ok()),
        };
        // What was killed before it began has nothing to say.
        let known = self.agents[agent].updates.entry(update.task.clone()).or_default();
        if known.iter().any(|(other, ..)| *other == uuid) {
            return;
        }
        known.push((uuid, news, outcome));
        let first = known.len() == 1;
        if news == TaskNews::Ended
            && let Some((_, _, ended)) = self.agents[agent].tasks.get_mut(&update.task)
        {
            *ended = true;
        }
        let acknowledged = ExecutorEvent::Acknowledged(update.number);
        self.after(
            Duration::from_millis(1),
            Happening::ToExecutor { executor: id.to_owned(), event: acknowledged },
        );
        if first {
            self.tell_update(agent, &update.task);
        }
    }

    pub(super) fn executor_gone(&mut self, id: &str) {
        let Some(executor) = self.executors.get_mut(id).filter(|executor| executor.alive) else { return };
        executor.alive = false;
        let index = executor.agent;
        let seed = executor.seed;
        let agent = self.agent_id(index);
        if !self.agents[index].up {
            return;
        }
        self.send(SchedulerEvent::Gone { agent, executor: Some(id.to_owned()) });
        let tasks: Vec<String> = self.agents[index]
            .tasks
            .iter()
            .filter(|(_, (executor, _, ended))| executor == id && !ended)
            .map(|(task, _)| task.clone())
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            if let Some((_, _, ended)) = self.agents[index].tasks.get_mut(&task) {
                *ended = true;
            }
            let uuid = [(seed ^ 1).to_be_bytes(), (number as u64).to_be_bytes()].concat();
            let updates = self.agents[index].updates.entry(task.clone()).or_default();
            updates.push((uuid, TaskNews::Ended, None));
            if updates.len() == 1 {
                self.tell_update(index, &task);
            }
        }
    }

    pub(super) fn fault(&mut self) {
        if self.now >= self.faults_until {
            return;
        }
        match self.chance.below(10) {
            0 | 1 => self.lose_connection(Retry::Now),
            2 | 3 => {
                let alive: Vec<String> = self
                    .executors
                    .iter()
                    .filter(|(_, executor)| executor.alive)
                    .map(|(id, _)| id.clone())
                    .collect();
                if !alive.is_empty() {
                    let at = self.chance.below(alive.len() as u64) as usize;
                    self.executor_gone(&alive[at]);
                }
            }
            4 => {
                // The machine dies, with all that runs on it, and comes back as a new agent.
                let index = self.chance.below(AGENTS as u64) as usize;
                let agent = self.agent_id(index);
                for executor in self.executors.values_mut().filter(|executor| executor.agent == index) {
                    executor.alive = false;
                }
                self.tasks_are_away(index);
                self.send(SchedulerEvent::Gone { agent, executor: None });
                self.agents[index] =
                    SimAgent { generation: self.agents[index].generation + 1, ..SimAgent::default() };
                self.offers.retain(|_, other| *other != index);
                let pause = self.chance.millis(1000, 60_000);
                self.after(pause, Happening::AgentUp { agent: index });
            }
            5 => {
                // It only cannot be reached.
                let index = self.chance.below(AGENTS as u64) as usize;
                if self.agents[index].up && self.agents[index].reachable {
                    self.agents[index].reachable = false;
                    self.offers.retain(|_, other| *other != index);
                    self.tasks_are_away(index);
                    let generation = self.agents[index].generation;
                    let pause = self.chance.millis(1000, 200_000);
                    self.after(pause, Happening::AgentReachable { agent: index, generation });
                }
            }
            7 => {
                // Somebody else ends an executor, or a task, in good order: an operator, or an agent that is drained.
                let alive: Vec<(String, Option<String>)> = self
                    .executors
                    .iter()
                    .filter(|(_, executor)| executor.alive)
                    .map(|(id, executor)| (id.clone(), executor.task.as_ref().map(|task| task.id.clone())))
                    .collect();
                if !alive.is_empty() {
                    let at = self.chance.below(alive.len() as u64) as usize;
                    let (executor, task) = alive[at].clone();
                    let event = match task {
                        Some(task) if self.chance.once_in(2) => ExecutorEvent::Kill(task),
                        _ => ExecutorEvent::Shutdown,
                    };
                    self.after(Duration::ZERO, Happening::ToExecutor { executor, event });
                }
            }
            6 => {
                self.master_up = false;
                self.lose_connection(Retry::Now);
                let pause = self.chance.millis(100, 60_000);
                self.after(pause, Happening::MasterUp);
            }
            _ => {
                if self.chance.once_in(6) && !self.interrupted {
                    self.interrupted = true;
                    for book in 0..BOOKS {
                        for index in self.next_case[book]..CASES_OF_A_BOOK {
                            self.settled
                                .insert(book * CASES_OF_A_BOOK + index, CaseOutcome::skipped("by the gate"));
                        }
                        self.next_case[book] = CASES_OF_A_BOOK;
                    }
                    self.tell(SchedulerEvent::Interrupt);
                    for book in 0..BOOKS {
                        self.after(Duration::ZERO, Happening::NextCase { book });
                    }
                }
            }
        }
        let pause = self.chance.millis(10, 60_000);
        self.after(pause, Happening::Fault);
    }

    /// The master gives an agent up: what it runs is out of reach.
    fn tasks_are_away(&mut self, index: usize) {
        let tasks = self.agents[index].tasks.iter().filter(|(_, task)| !task.2);
        let tasks: Vec<String> = tasks.map(|(id, _)| id.clone()).collect();
        for task in tasks {
            self.send_update(&task, TaskNews::Unreachable, None, None, "away");
        }
    }
}
