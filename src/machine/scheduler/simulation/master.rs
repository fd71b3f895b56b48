//! A master with its agents, as Mesos has them: offers, launches, updates until they are acknowledged.

use super::*;

impl World {
    pub(super) fn subscribe(&mut self, subscription: u64, framework: Option<&str>) {
        if subscription != self.subscriptions {
            return;
        }
        let lost = |why: &str, chance: f64| {
            Happening::Told(SchedulerEvent::Lost { why: why.into(), retry: Retry::Later, chance })
        };
        if !self.master_up || self.chance.once_in(20) {
            let chance = self.chance.below(100) as f64 / 100.0;
            return self.after(Duration::from_millis(1), lost("refused", chance));
        }
        if framework.is_some() && framework != self.framework.as_deref() {
            return self.after(
                Duration::from_millis(1),
                Happening::Told(SchedulerEvent::Removed { why: "removed".into() }),
            );
        }
        if framework.is_none() {
            self.frameworks += 1;
            self.framework = Some(format!("f{}", self.frameworks));
        }
        self.subscription = Some(subscription);
        self.suppressed = false;
        self.offers.clear();
        let framework = self.framework.clone().unwrap_or_default();
        self.send(SchedulerEvent::Subscribed { framework, heartbeat: Duration::from_secs(15) });
        for agent in 0..AGENTS {
            self.agents[agent].refused = None;
            let tasks: Vec<String> = self.agents[agent].updates.keys().cloned().collect();
            for task in tasks {
                self.tell_update(agent, &task);
            }
        }
        self.allocate();
    }

    pub(super) fn allocate(&mut self) {
        if self.subscription.is_none() || !self.master_up {
            return;
        }
        self.send(SchedulerEvent::Heartbeat);
        if self.suppressed {
            return;
        }
        let mut offers = Vec::new();
        for index in 0..AGENTS {
            let agent = &self.agents[index];
            let refused = agent.refused.is_some_and(|refused| refused.holds(room(agent)));
            if !agent.up || !agent.reachable || refused || self.offers.values().any(|other| *other == index) {
                continue;
            }
            let room = room(agent);
            self.offer_count += 1;
            let id = format!("o{}", self.offer_count);
            self.offers.insert(id.clone(), index);
            let names = vec![format!("a{index}")];
            offers.push(Offer { id, agent: self.agent_id(index), names, room });
        }
        if !offers.is_empty() {
            self.send(SchedulerEvent::Offers(offers));
        }
    }

    pub(super) fn agent_id(&self, index: usize) -> String {
        format!("{index}.{}", self.agents[index].generation)
    }

    pub(super) fn agent_of(&self, id: &str) -> Option<usize> {
        let (index, _) = id.split_once('.')?;
        let index = index.parse().ok()?;
        (self.agent_id(index) == id).then_some(index)
    }

    pub(super) fn master_hears(&mut self, action: SchedulerAction) {
        match action {
            SchedulerAction::Launch { offer, agent, tasks } => {
                assert!(self.answered.insert(offer.clone()), "the offer {offer} is answered twice");
                let known = self.offers.remove(&offer).filter(|index| self.agent_of(&agent) == Some(*index));
                let Some(index) =
                    known.filter(|index| self.agents[*index].up && self.agents[*index].reachable)
                else {
                    for launch in tasks {
                        self.send_ended(&launch.task, None, "TASK_DROPPED");
                    }
                    return;
                };
                for launch in tasks {
                    assert!(
                        !self.agents[index].tasks.contains_key(&launch.task),
                        "a task's id is used twice"
                    );
                    self.agents[index]
                        .tasks
                        .insert(launch.task.clone(), (launch.executor.clone(), TASK_ROOM, false));
                    self.launch(index, launch);
                }
                self.agents[index].refused = Some(room(&self.agents[index]));
            }
            SchedulerAction::Decline(offers) => {
                for offer in offers {
                    assert!(self.answered.insert(offer.clone()), "the offer {offer} is answered twice");
                    if let Some(index) = self.offers.remove(&offer) {
                        self.agents[index].refused = Some(room(&self.agents[index]));
                    }
                }
            }
            SchedulerAction::Revive => {
                self.suppressed = false;
                for agent in &mut self.agents {
                    agent.refused = None;
                }
                self.allocate();
            }
            SchedulerAction::Suppress => self.suppressed = true,
            SchedulerAction::Acknowledge { agent, task, uuid } => {
                if let Some(index) = self.agent_of(&agent) {
                    let updates = self.agents[index].updates.entry(task.clone()).or_default();
                    if updates.first().is_some_and(|(first, ..)| *first == uuid) {
                        updates.remove(0);
                        if self.agents[index].updates[&task].is_empty() {
                            self.agents[index].updates.remove(&task);
                        } else {
                            self.tell_update(index, &task);
                        }
                    }
                }
            }
            SchedulerAction::Reconcile(tasks) => {
                for (task, agent) in tasks {
                    let known =
                        self.agent_of(&agent).filter(|index| self.agents[*index].tasks.contains_key(&task));
                    match known {
                        Some(index) if !self.agents[index].reachable => {
                            self.send_update(&task, TaskNews::Unreachable, None, None, "away");
                        }
                        Some(_) => self.send_update(&task, TaskNews::Alive, None, None, "latest state"),
                        None => self.send_ended(&task, None, "TASK_UNKNOWN"),
                    }
                }
            }
            SchedulerAction::Kill { task, agent } => {
                match self.agent_of(&agent).and_then(|index| self.agents[index].tasks.get(&task)) {
                    Some((executor, _, false)) => {
                        let executor = executor.clone();
                        if !self.chance.once_in(10) {
                            let pause = self.chance.millis(1, 20);
                            self.after(
                                pause,
                                Happening::ToExecutor { executor, event: ExecutorEvent::Kill(task) },
                            );
                        }
                    }
                    Some(_) => {}
                    None => self.send_ended(&task, None, "TASK_UNKNOWN"),
                }
            }
            SchedulerAction::Shutdown { executor, .. } => {
                let pause = self.chance.millis(1, 20);
                self.after(
                    pause,
                    Happening::ToExecutor { executor: executor.clone(), event: ExecutorEvent::Shutdown },
                );
            }
            SchedulerAction::Recorded { task, .. } => {
                let case = task.split("-c").nth(1).and_then(|rest| rest.split('-').next()?.parse().ok());
                assert!(
                    case.is_some_and(|case| self.safe.contains(&case)),
                    "{task} is said to be written down, and is not"
                );
            }
            SchedulerAction::Answer { task, executor, question, result, .. } => {
                let agent = self.executors.get(&executor).map(|known| known.agent);
                if self.chance.once_in(10) || agent.is_none_or(|agent| !self.agents[agent].reachable) {
                    return;
                }
                // Some take their time, on a network that is not well.
                let pause = if self.chance.once_in(5) {
                    self.chance.millis(1, 200_000)
                } else {
                    self.chance.millis(1, 20)
                };
                let asked_at = Duration::from_millis(question);
                self.after(pause, Happening::Answered { executor, task, asked_at, result: result.is_ok() });
            }
            SchedulerAction::Teardown => {
                self.framework = None;
                let all: Vec<String> = self.executors.keys().cloned().collect();
                for executor in all {
                    self.after(
                        Duration::from_millis(5),
                        Happening::ToExecutor { executor, event: ExecutorEvent::Shutdown },
                    );
                }
            }
            SchedulerAction::Subscribe { .. }
            | SchedulerAction::Abandon
            | SchedulerAction::Tell(_)
            | SchedulerAction::Over => {}
        }
    }

    pub(super) fn send_update(
        &mut self,
        task: &str,
        news: TaskNews,
        uuid: Option<Vec<u8>>,
        outcome: Option<CaseOutcome>,
        why: &str,
    ) {
        let update =
            TaskUpdate { task: task.to_owned(), agent: None, uuid, news, message: why.into(), outcome };
        let agent = (0..AGENTS).find(|index| self.agents[*index].tasks.contains_key(task));
        let update = TaskUpdate { agent: agent.map(|index| self.agent_id(index)), ..update };
        // What needs no acknowledgement comes once, or not at all.
        if update.uuid.is_none() && self.chance.once_in(5) {
            return;
        }
        if self.chance.once_in(30) {
            self.send(SchedulerEvent::Update(update.clone()));
        }
        self.send(SchedulerEvent::Update(update));
    }

    pub(super) fn send_ended(&mut self, task: &str, uuid: Option<Vec<u8>>, why: &str) {
        self.send_update(task, TaskNews::Ended, uuid, None, why);
    }

    /// Tells the first update of a task that is not acknowledged, and again later.
    pub(super) fn tell_update(&mut self, agent: usize, task: &str) {
        let known = &self.agents[agent];
        let Some((uuid, news, outcome)) =
            known.updates.get(task).and_then(|updates| updates.first()).cloned()
        else {
            return;
        };
        let generation = known.generation;
        if known.reachable && self.master_up {
            self.send_update(task, news, Some(uuid.clone()), outcome, "update");
        }
        self.after(
            Duration::from_secs(10),
            Happening::Retry { agent, generation, task: task.to_owned(), uuid },
        );
    }

    pub(super) fn launch(&mut self, agent: usize, launch: Launch) {
        let id = launch.executor.clone();
        // An agent starts an executor that has died once more, if a task comes for it.
        if !self.executors.get(&id).is_some_and(|executor| executor.alive) {
            let seed = self.chance.next();
            let machine = ExecutorMachine::new(Some(Duration::from_secs(900)), Duration::from_secs(2));
            let executor = SimExecutor {
                agent,
                machine,
                alive: true,
                task: None,
                interrupted: false,
                asking: false,
                induced: false,
                seed,
            };
            self.executors.insert(id.clone(), executor);
            let pause = self.chance.millis(20, 300);
            self.after(
                pause,
                Happening::ToExecutor { executor: id.clone(), event: ExecutorEvent::Subscribed },
            );
            if self.chance.once_in(40) && self.now < self.faults_until {
                // Its files cannot be fetched.
                self.after(pause / 2, Happening::Ended { executor: id.clone() });
            }
        }
        let task = SimTask { id: launch.task.clone(), case: launch.case, only_reverts: launch.only_reverts };
        let pause = self.chance.millis(300, 400);
        self.after(
            pause,
            Happening::ToExecutor { executor: id, event: ExecutorEvent::Launched(launch.task, task) },
        );
    }
}
