//! Between Mesos' messages and the machines' types: what each event means to us, and how each of our actions is said. Owns
//! also what scheduler and executor say to each other in the bytes that Mesos only carries. Pure.

use std::time::Duration;

use prost::Message;
use serde::{Deserialize, Serialize};

use crate::machine::{
    CaseOutcome, DirtyHost, Launch, Offer, REFUSE_FOR, Report, Retry, Room, RunEvent, SchedulerAction,
    SchedulerEvent, TaskNews, TaskUpdate, Update,
};

use super::messages::executor;
use super::messages::scheduler::{self, Call, call};
use super::messages::{self as v1, task_status};
use super::{Next, WireError};

mod agent;

pub use agent::{AgentEvent, ExecutorIdentity, agent_event};

/// What an executor tells its scheduler, in the bytes of a MESSAGE.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum News {
    /// Something happened in a task.
    Happened {
        /// The task's id.
        task: String,
        /// What.
        event: RunEvent,
    },
    /// May the task induce?
    Question {
        /// The task's id.
        task: String,
        /// The question's own number.
        question: u64,
        /// The hosts that will be broken.
        hosts: Vec<DirtyHost>,
    },
}

/// What a scheduler says to an executor, in the bytes of a MESSAGE.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Word {
    /// Whether a task may induce.
    Answer(Answer),
    /// How this task ended is safely written down.
    Recorded(String),
}

/// What a scheduler answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The task's id.
    pub task: String,
    /// The number of the question.
    pub question: u64,
    /// Whether it may induce, or why not.
    pub result: Result<(), String>,
}

/// What a framework tells of itself.
#[derive(Clone, Debug)]
pub struct Framework {
    /// The account on the agents that runs the executors.
    pub user: String,
    /// For people.
    pub name: String,
    /// The role whose offers it wants.
    pub role: String,
    /// Who it is, if it has credentials.
    pub principal: Option<String>,
    /// For how long its tasks are kept while it is away.
    pub failover_timeout: Duration,
}

/// What is launched for a case.
#[derive(Clone, Debug)]
pub struct TaskPlan {
    /// For people.
    pub name: String,
    /// What the task needs.
    pub room: Room,
    /// For the executor.
    pub data: Vec<u8>,
    /// How it is carried out.
    pub executor: ExecutorPlan,
}

/// A file that an agent fetches for a sandbox.
#[derive(Clone, Debug)]
pub struct FetchedFile {
    /// Where it is.
    pub uri: String,
    /// Its name in the sandbox.
    pub name: &'static str,
    /// Whether it is to be executed. The agent may keep it then, for other sandboxes.
    pub is_program: bool,
}

/// How an executor is started.
#[derive(Clone, Debug)]
pub struct ExecutorPlan {
    /// For people.
    pub name: String,
    /// What it needs itself.
    pub room: Room,
    /// Files for its sandbox.
    pub files: Vec<FetchedFile>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables.
    pub env: Vec<(String, String)>,
    /// How long it has after SHUTDOWN.
    pub shutdown_grace_period: Duration,
}

/// What an event of the master's means. An event that means nothing to us is a sign of life.
///
/// Fails if it cannot be read, and with [`Next::Now`] or [`Next::Never`] if it is the subscription's end.
pub fn scheduler_event(record: &[u8]) -> Result<SchedulerEvent, WireError> {
    use scheduler::event::Type;
    let event = scheduler::Event::decode(record).map_err(|error| unreadable("master", &error))?;
    Ok(match event.r#type() {
        Type::Subscribed => {
            let Some(subscribed) = event.subscribed else { return Ok(SchedulerEvent::Heartbeat) };
            SchedulerEvent::Subscribed {
                framework: subscribed.framework_id.value,
                heartbeat: seconds(subscribed.heartbeat_interval_seconds).unwrap_or(HEARTBEAT_DEFAULT),
            }
        }
        Type::Offers => {
            SchedulerEvent::Offers(event.offers.unwrap_or_default().offers.into_iter().map(offer).collect())
        }
        Type::Update => match event.update {
            Some(update) => SchedulerEvent::Update(task_update(update.status)),
            None => SchedulerEvent::Heartbeat,
        },
        Type::Message => {
            let news = event.message.and_then(|message| serde_json::from_slice::<News>(&message.data).ok());
            match news {
                Some(News::Happened { task, event }) => SchedulerEvent::News { task, event },
                Some(News::Question { task, question, hosts }) => {
                    SchedulerEvent::Asked { task, question, hosts }
                }
                None => SchedulerEvent::Heartbeat,
            }
        }
        Type::Failure => match event.failure {
            Some(scheduler::event::Failure { agent_id: Some(agent), executor_id, .. }) => {
                SchedulerEvent::Gone {
                    agent: agent.value,
                    executor: executor_id.map(|executor| executor.value),
                }
            }
            _ => SchedulerEvent::Heartbeat,
        },
        Type::Error => {
            let message = event.error.unwrap_or_default().message;
            // The master says so of a framework whose time has run out, and takes it in under a new id.
            if message.contains("has been removed") || message.contains("Completed framework") {
                return Ok(SchedulerEvent::Removed { why: format!("the master says: {message}") });
            }
            return Err(WireError::new(Next::Never, format!("the master says: {message}")));
        }
        // An offer is answered as soon as it comes, so one that is taken back is ours no more already.
        Type::Rescind | Type::Heartbeat | Type::Unknown => SchedulerEvent::Heartbeat,
    })
}

const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(15);

fn unreadable(whose: &str, error: &prost::DecodeError) -> WireError {
    WireError::new(Next::Now, format!("an event of the {whose}'s cannot be read: {error}"))
}

/// A number of seconds that makes sense as a time to wait.
fn seconds(value: Option<f64>) -> Option<Duration> {
    let day = Duration::from_secs(24 * 3600);
    value
        .and_then(|value| Duration::try_from_secs_f64(value).ok())
        .filter(|time| !time.is_zero() && *time <= day)
}

fn offer(offer: v1::Offer) -> Offer {
    let address = offer.url.map(|url| url.address);
    let (hostname, ip) = address.map(|address| (address.hostname, address.ip)).unwrap_or_default();
    let mut names = vec![offer.hostname];
    for name in [hostname, ip].into_iter().flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Offer { id: offer.id.value, agent: offer.agent_id.value, names, room: room(&offer.resources) }
}

/// What of the resources is ours to use for as long as we like.
fn room(resources: &[v1::Resource]) -> Room {
    let total = |name: &str, per_unit: f64| {
        // Tasks ask for what is reserved for nobody.
        let unreserved = |resource: &&v1::Resource| resource.role.as_deref().is_none_or(|role| role == "*");
        let fitting = resources
            .iter()
            .filter(|resource| resource.name == name && resource.revocable.is_none())
            .filter(unreserved);
        let amounts = fitting.filter_map(|resource| resource.scalar.as_ref()).map(|scalar| scalar.value);
        // Mesos counts in thousandths; less than one is nothing.
        amounts.map(|value| (value * per_unit + 0.0005).max(0.0) as u64).sum()
    };
    Room { cpu_milli: total("cpus", 1000.0), mem_mib: total("mem", 1.0) }
}

fn task_update(status: v1::TaskStatus) -> TaskUpdate {
    use v1::TaskState;
    let news = match status.state() {
        TaskState::TaskStarting
        | TaskState::TaskRunning
        | TaskState::TaskStaging
        | TaskState::TaskKilling => TaskNews::Alive,
        // Asked for a task that has ended, the master does not say what its executor said; but that comes until it is
        // acknowledged.
        TaskState::TaskFinished | TaskState::TaskFailed | TaskState::TaskKilled if status.uuid.is_none() => {
            TaskNews::Alive
        }
        TaskState::TaskUnreachable => TaskNews::Unreachable,
        TaskState::TaskError => TaskNews::Refused,
        TaskState::TaskFinished
        | TaskState::TaskFailed
        | TaskState::TaskKilled
        | TaskState::TaskLost
        | TaskState::TaskDropped
        | TaskState::TaskGone
        | TaskState::TaskGoneByOperator
        | TaskState::TaskUnknown => TaskNews::Ended,
    };
    let outcome = match news {
        TaskNews::Ended => {
            status.data.as_deref().and_then(|data| serde_json::from_slice::<CaseOutcome>(data).ok())
        }
        _ => None,
    };
    let said = status.message.clone().filter(|message| !message.is_empty());
    let message = match (said, status.reason) {
        (Some(said), _) => format!("{} ({said})", status.state().as_str_name()),
        (None, Some(_)) => format!("{} ({})", status.state().as_str_name(), status.reason().as_str_name()),
        (None, None) => status.state().as_str_name().to_owned(),
    };
    TaskUpdate {
        task: status.task_id.value,
        agent: status.agent_id.map(|agent| agent.value),
        uuid: status.uuid,
        news,
        message,
        outcome,
    }
}

/// The call that subscribes a framework, anew or again.
pub fn subscribe(framework: &Framework, id: Option<&str>) -> Vec<u8> {
    use v1::framework_info::{Capability, capability};
    let capability = |kind: capability::Type| Capability { r#type: Some(kind.into()) };
    let id = id.map(|value| v1::FrameworkId { value: value.to_owned() });
    let info = v1::FrameworkInfo {
        user: framework.user.clone(),
        name: framework.name.clone(),
        id: id.clone(),
        failover_timeout: Some(framework.failover_timeout.as_secs_f64()),
        checkpoint: Some(true),
        hostname: None,
        principal: framework.principal.clone(),
        capabilities: vec![
            capability(capability::Type::MultiRole),
            capability(capability::Type::PartitionAware),
        ],
        roles: vec![framework.role.clone()],
    };
    Call {
        framework_id: id,
        r#type: Some(call::Type::Subscribe.into()),
        subscribe: Some(call::Subscribe { framework_info: info }),
        ..Call::default()
    }
    .encode_to_vec()
}

/// How an action is said to the master; none if it is not for the master. `plan` says what is launched.
pub fn scheduler_call(
    framework: &str,
    action: &SchedulerAction,
    plan: &dyn Fn(&Launch) -> Option<TaskPlan>,
) -> Option<Vec<u8>> {
    let refuse = || Some(v1::Filters { refuse_seconds: Some(REFUSE_FOR.as_secs_f64()) });
    let offer_id = |value: &String| v1::OfferId { value: value.clone() };
    let agent_id = |value: &String| v1::AgentId { value: value.clone() };
    let task_id = |value: &String| v1::TaskId { value: value.clone() };
    let executor_id = |value: &String| v1::ExecutorId { value: value.clone() };
    let message = |word: &Word, executor: &String, agent: &String| call::Message {
        agent_id: agent_id(agent),
        executor_id: executor_id(executor),
        data: serde_json::to_vec(word).unwrap_or_default(),
    };
    let mut said =
        Call { framework_id: Some(v1::FrameworkId { value: framework.to_owned() }), ..Call::default() };
    let kind = match action {
        SchedulerAction::Launch { offer, agent, tasks } => {
            let infos =
                tasks.iter().filter_map(|launch| Some(task_info(launch, agent, &plan(launch)?))).collect();
            said.accept = Some(call::Accept {
                offer_ids: vec![offer_id(offer)],
                operations: vec![v1::offer::Operation {
                    r#type: Some(v1::offer::operation::Type::Launch.into()),
                    launch: Some(v1::offer::operation::Launch { task_infos: infos }),
                }],
                filters: refuse(),
            });
            call::Type::Accept
        }
        SchedulerAction::Decline(offers) => {
            said.decline =
                Some(call::Decline { offer_ids: offers.iter().map(offer_id).collect(), filters: refuse() });
            call::Type::Decline
        }
        SchedulerAction::Revive => call::Type::Revive,
        SchedulerAction::Suppress => call::Type::Suppress,
        SchedulerAction::Acknowledge { agent, task, uuid } => {
            said.acknowledge = Some(call::Acknowledge {
                agent_id: agent_id(agent),
                task_id: task_id(task),
                uuid: uuid.clone(),
            });
            call::Type::Acknowledge
        }
        SchedulerAction::Reconcile(tasks) => {
            let tasks = tasks
                .iter()
                .map(|(task, agent)| call::reconcile::Task {
                    task_id: task_id(task),
                    agent_id: Some(agent_id(agent)),
                })
                .collect();
            said.reconcile = Some(call::Reconcile { tasks });
            call::Type::Reconcile
        }
        SchedulerAction::Kill { task, agent } => {
            said.kill = Some(call::Kill {
                task_id: task_id(task),
                agent_id: Some(agent_id(agent)),
                ..call::Kill::default()
            });
            call::Type::Kill
        }
        SchedulerAction::Shutdown { executor, agent } => {
            said.shutdown =
                Some(call::Shutdown { executor_id: executor_id(executor), agent_id: agent_id(agent) });
            call::Type::Shutdown
        }
        SchedulerAction::Answer { task, executor, agent, question, result } => {
            let answer = Answer { task: task.clone(), question: *question, result: result.clone() };
            said.message = Some(message(&Word::Answer(answer), executor, agent));
            call::Type::Message
        }
        SchedulerAction::Recorded { task, executor, agent } => {
            said.message = Some(message(&Word::Recorded(task.clone()), executor, agent));
            call::Type::Message
        }
        SchedulerAction::Teardown => call::Type::Teardown,
        SchedulerAction::Subscribe { .. }
        | SchedulerAction::Abandon
        | SchedulerAction::Tell(_)
        | SchedulerAction::Over => return None,
    };
    said.r#type = Some(kind.into());
    Some(said.encode_to_vec())
}

fn task_info(launch: &Launch, agent: &str, plan: &TaskPlan) -> v1::TaskInfo {
    let uri = |file: &FetchedFile| v1::command_info::Uri {
        value: file.uri.clone(),
        executable: Some(file.is_program),
        // Nothing is unpacked before its sum was looked at.
        extract: Some(false),
        cache: Some(file.is_program),
        output_file: Some(file.name.to_owned()),
    };
    let executor = &plan.executor;
    let variable = |(name, value): &(String, String)| v1::environment::Variable {
        name: name.clone(),
        value: Some(value.clone()),
    };
    let command = v1::CommandInfo {
        uris: executor.files.iter().map(uri).collect(),
        environment: Some(v1::Environment { variables: executor.env.iter().map(variable).collect() }),
        value: executor.command.first().cloned(),
        user: None,
        shell: Some(false),
        arguments: executor.command.clone(),
    };
    v1::TaskInfo {
        name: plan.name.clone(),
        task_id: v1::TaskId { value: launch.task.clone() },
        agent_id: v1::AgentId { value: agent.to_owned() },
        resources: resources(plan.room),
        executor: Some(v1::ExecutorInfo {
            executor_id: v1::ExecutorId { value: launch.executor.clone() },
            resources: resources(executor.room),
            command: Some(command),
            framework_id: None,
            name: Some(executor.name.clone()),
            source: Some("pisaura".to_owned()),
            shutdown_grace_period: Some(duration(executor.shutdown_grace_period)),
            r#type: Some(v1::executor_info::Type::Custom.into()),
        }),
        data: Some(plan.data.clone()),
        kill_policy: None,
    }
}

fn duration(time: Duration) -> v1::DurationInfo {
    v1::DurationInfo { nanoseconds: i64::try_from(time.as_nanos()).unwrap_or(i64::MAX) }
}

fn resources(room: Room) -> Vec<v1::Resource> {
    let scalar = |name: &str, value: f64| v1::Resource {
        name: name.to_owned(),
        r#type: v1::value::Type::Scalar.into(),
        scalar: Some(v1::value::Scalar { value }),
        ..v1::Resource::default()
    };
    vec![scalar("cpus", room.cpu_milli as f64 / 1000.0), scalar("mem", room.mem_mib as f64)]
}

/// When to try again, for a machine.
pub fn retry(next: Next) -> Retry {
    match next {
        Next::Now => Retry::Now,
        Next::Later => Retry::Later,
        Next::Never => Retry::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_tells_its_number_to_its_own_executor() {
        let identity =
            |byte| ExecutorIdentity { framework: "f".into(), executor: "e".into(), seed: [byte; 16] };
        for byte in [0, 0x55, 0xff] {
            for number in [0, 1, 255, 256, 1 << 40] {
                let uuid = identity(byte).uuid(number);
                assert_eq!(uuid.len(), 16);
                assert_eq!((uuid[6] >> 4, uuid[8] >> 6), (4, 2), "of version 4");
                assert_eq!(identity(byte).number(&uuid), Some(number));
                assert_eq!(identity(byte ^ 1).number(&uuid), None);
                assert_eq!(identity(byte).number(&uuid[..15]), None);
            }
        }
    }
}
