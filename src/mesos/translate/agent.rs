//! What an executor says to its agent, and what that answers.

use super::*;

/// What an agent tells an executor.
#[derive(Clone, Debug)]
pub enum AgentEvent {
    /// We are taken in.
    Subscribed,
    /// A task.
    Launch(Box<v1::TaskInfo>),
    /// A task is to be ended.
    Kill(String),
    /// The agent has the update with this uuid.
    Acknowledged(Vec<u8>),
    /// The scheduler says something.
    Word(Word),
    /// All tasks are to be ended, and then we leave.
    Shutdown,
    /// Something that means nothing to us.
    Other,
}

/// What an event of the agent's means. Fails if it cannot be read, or is an error.
pub fn agent_event(record: &[u8]) -> Result<AgentEvent, WireError> {
    use executor::event::Type;
    let event = executor::Event::decode(record).map_err(|error| unreadable("agent", &error))?;
    Ok(match event.r#type() {
        Type::Subscribed => AgentEvent::Subscribed,
        Type::Launch => {
            event.launch.map_or(AgentEvent::Other, |launch| AgentEvent::Launch(Box::new(launch.task)))
        }
        Type::Kill => event.kill.map_or(AgentEvent::Other, |kill| AgentEvent::Kill(kill.task_id.value)),
        Type::Acknowledged => event
            .acknowledged
            .map_or(AgentEvent::Other, |acknowledged| AgentEvent::Acknowledged(acknowledged.uuid)),
        Type::Message => event
            .message
            .and_then(|message| serde_json::from_slice(&message.data).ok())
            .map_or(AgentEvent::Other, AgentEvent::Word),
        Type::Shutdown => AgentEvent::Shutdown,
        Type::Error => {
            let message = event.error.unwrap_or_default().message;
            return Err(WireError::new(Next::Never, format!("the agent says: {message}")));
        }
        Type::LaunchGroup | Type::Heartbeat | Type::Unknown => AgentEvent::Other,
    })
}

/// Who an executor is, in every call.
#[derive(Clone, Debug)]
pub struct ExecutorIdentity {
    /// Its framework's id.
    pub framework: String,
    /// Its own.
    pub executor: String,
    /// Sixteen bytes by chance, by which its updates' uuids are unlike those of any other executor's.
    pub seed: [u8; 16],
}

/// Where in a uuid an update's number is hidden.
const NUMBER_BEGINS: usize = 10;

impl ExecutorIdentity {
    /// The uuid of the update of this number: the same each time it is sent. It has the form of a random one (RFC 9562,
    /// version 4), since Mesos refuses those that have none.
    pub fn uuid(&self, number: u64) -> Vec<u8> {
        let mut uuid = self.seed.to_vec();
        uuid[6] = uuid[6] & 0x0f | 0x40;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        for (byte, of_number) in uuid[NUMBER_BEGINS..].iter_mut().zip(&number.to_be_bytes()[2..]) {
            *byte ^= of_number;
        }
        uuid
    }

    /// The number of the update with this uuid.
    pub fn number(&self, uuid: &[u8]) -> Option<u64> {
        let own = self.uuid(0);
        let (begin, end) = uuid.split_at_checked(NUMBER_BEGINS)?;
        if begin != &own[..NUMBER_BEGINS] || uuid.len() != own.len() {
            return None;
        }
        let mut number = [0; 8];
        for ((byte, of_uuid), of_own) in number[2..].iter_mut().zip(end).zip(&own[NUMBER_BEGINS..]) {
            *byte = of_uuid ^ of_own;
        }
        Some(u64::from_be_bytes(number))
    }

    fn call(&self, kind: executor::call::Type) -> executor::Call {
        executor::Call {
            executor_id: v1::ExecutorId { value: self.executor.clone() },
            framework_id: v1::FrameworkId { value: self.framework.clone() },
            r#type: Some(kind.into()),
            ..executor::Call::default()
        }
    }

    fn status(&self, update: &Update, at_seconds: f64) -> executor::call::Update {
        let state = match update.report {
            Report::Running => v1::TaskState::TaskRunning,
            Report::Finished => v1::TaskState::TaskFinished,
            Report::Killed => v1::TaskState::TaskKilled,
        };
        let status = v1::TaskStatus {
            task_id: v1::TaskId { value: update.task.clone() },
            state: state.into(),
            data: Some(update.data.clone()).filter(|data| !data.is_empty()),
            executor_id: Some(v1::ExecutorId { value: self.executor.clone() }),
            source: Some(task_status::Source::Executor.into()),
            // Left out, it would stand as 0 on the master's pages.
            timestamp: Some(at_seconds),
            uuid: Some(self.uuid(update.number)),
            ..v1::TaskStatus::default()
        };
        executor::call::Update { status }
    }

    /// The call that subscribes, with what the agent may not have; `at_seconds` is the time since 1970.
    pub fn subscribe(&self, tasks: Vec<v1::TaskInfo>, updates: &[Update], at_seconds: f64) -> Vec<u8> {
        executor::Call {
            subscribe: Some(executor::call::Subscribe {
                unacknowledged_tasks: tasks,
                unacknowledged_updates: updates
                    .iter()
                    .map(|update| self.status(update, at_seconds))
                    .collect(),
            }),
            ..self.call(executor::call::Type::Subscribe)
        }
        .encode_to_vec()
    }

    /// The call that tells of a task; `at_seconds` is the time since 1970.
    pub fn update(&self, update: &Update, at_seconds: f64) -> Vec<u8> {
        executor::Call {
            update: Some(self.status(update, at_seconds)),
            ..self.call(executor::call::Type::Update)
        }
        .encode_to_vec()
    }

    /// The call that carries news to the scheduler.
    pub fn message(&self, news: &News) -> Vec<u8> {
        executor::Call {
            message: Some(executor::call::Message { data: serde_json::to_vec(news).unwrap_or_default() }),
            ..self.call(executor::call::Type::Message)
        }
        .encode_to_vec()
    }
}
