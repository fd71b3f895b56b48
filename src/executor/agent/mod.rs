//! The executor on a Mesos agent: the same program, started by the agent. Listens to it, and has its cases carried out by a
//! thread of their own. Touches the network, this process's environment and its standard output.
//!
//! Source: Mesos' documentation of its v1 executor HTTP API; what the agent puts into the environment was observed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::fatebook::{LogLevel, Redactor};
use crate::machine::{
    CaseId, CaseOutcome, DirtyHost, ExecutorAction, ExecutorEvent, ExecutorMachine, Report, RunEvent,
};
use crate::mesos::messages::TaskInfo;
use crate::mesos::translate::{self, AgentEvent, Answer, ExecutorIdentity, News, Word};
use crate::mesos::{Client, Next, Security, WireError};
use crate::remote::Interrupt;

use super::{Assignment, BookExecutor, Notary, Observer};

/// Tells this program that it was started as an executor, together with the argument `executor`: a test target may have a
/// filter of that name.
pub const EXECUTOR_VARIABLE: &str = "PISAURA_EXECUTOR";

/// How long an agent may be away, if it does not say so itself.
const RECOVERY_DEFAULT: Duration = Duration::from_secs(15 * 60);
const PAUSE_LONGEST_DEFAULT: Duration = Duration::from_secs(2);
/// How soon a question is asked again that was not answered: a message is delivered once or not at all.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Leave to induce that comes so late after the question is none: the scheduler may have given the task up since.
const LEAVE_LASTS: Duration = Duration::from_secs(10);
/// So many calls may wait before what scripts print is not passed on any more.
const CALLS_UNDER_WAY_MAX: usize = 200;
/// How long the word that everything is written down is waited for at the end: it is sent before an executor is told to leave.
const RECORDED_WITHIN: Duration = Duration::from_secs(1);
/// How long the last calls may take.
const FAREWELL: Duration = Duration::from_secs(2);

mod worker;

use worker::Worker;

/// All that an executor needs to know of a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskData {
    /// The case.
    pub assignment: Assignment,
    /// What must not be shown.
    pub secrets: Vec<String>,
    /// Of the executor's own log.
    pub loglevel: LogLevel,
    /// Whether scripts' output is passed on while they run.
    pub live_output: bool,
    /// Where the book lies for whoever started the run: what people are told names files there.
    pub book_folder: PathBuf,
    /// The SHA-256 of the book's archive.
    pub archive_sha256: String,
}

impl TaskData {
    /// The book's working folder, in the sandbox.
    pub const WORKPLACE: &str = "book";
    /// What the agent fetches it as.
    pub const ARCHIVE: &str = "book.tar";
}

/// Whether this process was started by an agent to be an executor.
pub fn is_executor(arguments: &[std::ffi::OsString]) -> bool {
    arguments.get(1).is_some_and(|argument| argument == "executor")
        && arguments.len() == 2
        && std::env::var_os(EXECUTOR_VARIABLE).is_some()
}

/// What the loop hears.
enum Message {
    Agent {
        number: u64,
        event: AgentEvent,
    },
    Failed {
        number: u64,
        error: WireError,
    },
    News(Box<RunEvent>),
    /// The worker asks whether it may induce.
    Question {
        question: u64,
        hosts: Vec<DirtyHost>,
    },
    /// The worker has carried out its task.
    Ended(Box<CaseOutcome>),
    /// It has left its hosts clean.
    Closed,
    /// It broke down.
    Broken,
    Terminated,
}

/// The whole of an executor's life. Answers with the exit code of the process: 0 if it was told to leave.
pub fn serve() -> ExitCode {
    match Agent::of_this_process().and_then(|agent| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("cannot speak to the agent: {error}"))?;
        runtime.block_on(agent.live())
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            complain(&format!("error: {message}"));
            ExitCode::FAILURE
        }
    }
}

struct Agent {
    client: Client,
    base: String,
    identity: ExecutorIdentity,
    machine: ExecutorMachine<TaskInfo>,
    sandbox: PathBuf,
    started: Instant,
}

impl Agent {
    /// From what the agent puts into the environment.
    fn of_this_process() -> Result<Self, String> {
        let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let need = |name: &str| {
            get(name).ok_or_else(|| {
                format!(
                    "{name} is not set: a Mesos agent starts `pisaura executor`, a person has no use for it"
                )
            })
        };
        let endpoint = need("MESOS_AGENT_ENDPOINT")?;
        let process = need("MESOS_SLAVE_PID")?;
        let actor = process.split('@').next().unwrap_or_default().to_owned();
        let secure = get("LIBPROCESS_SSL_ENABLED").or_else(|| get("SSL_ENABLED"));
        let scheme =
            if secure.is_some_and(|value| value == "1" || value == "true") { "https" } else { "http" };
        let security = Security { bearer: get("MESOS_EXECUTOR_AUTHENTICATION_TOKEN"), ..Security::default() };
        let mut seed = [0; 16];
        getrandom::fill(&mut seed).map_err(|error| format!("this machine gives no random bytes: {error}"))?;
        let recovery = (get("MESOS_CHECKPOINT").as_deref() == Some("1")).then(|| {
            get("MESOS_RECOVERY_TIMEOUT").and_then(|text| mesos_duration(&text)).unwrap_or(RECOVERY_DEFAULT)
        });
        let pause = get("MESOS_SUBSCRIPTION_BACKOFF_MAX").and_then(|text| mesos_duration(&text));
        let sandbox = get("MESOS_SANDBOX")
            .or_else(|| get("MESOS_DIRECTORY"))
            .map_or_else(|| PathBuf::from("."), PathBuf::from);
        Ok(Self {
            client: Client::new(&format!("/{actor}/api/v1/executor"), security)?,
            base: format!("{scheme}://{endpoint}"),
            identity: ExecutorIdentity {
                framework: need("MESOS_FRAMEWORK_ID")?,
                executor: need("MESOS_EXECUTOR_ID")?,
                seed,
            },
            machine: ExecutorMachine::new(recovery, pause.unwrap_or(PAUSE_LONGEST_DEFAULT)),
            sandbox,
            started: Instant::now(),
        })
    }

    async fn live(mut self) -> Result<(), String> {
        let (sender, mut messages) = unbounded_channel();
        let (calls, outgoing) = unbounded_channel();
        let under_way = Arc::new(AtomicUsize::new(0));
        let caller = tokio::spawn(call_out(
            self.client.clone(),
            self.base.clone(),
            outgoing,
            sender.clone(),
            Arc::clone(&under_way),
        ));
        listen_to_signals(&sender)?;
        let mut life = Life {
            worker: Worker::start(self.sandbox.clone(), sender.clone())?,
            sender,
            calls: Some(calls),
            under_way,
            reader: None,
            number: 0,
            task: None,
            last_task: None,
        };
        life.subscribe(&self);
        let mut broken = false;
        loop {
            let wake_at = self.machine.wake_at().map(|at| tokio::time::Instant::from_std(self.started + at));
            let message = match wake_at {
                Some(at) => tokio::time::timeout_at(at, messages.recv()).await.unwrap_or(None),
                None => messages.recv().await,
            };
            let event = match message {
                None => ExecutorEvent::Woke,
                Some(Message::Agent { number, event }) if number == life.number => match event {
                    AgentEvent::Subscribed => ExecutorEvent::Subscribed,
                    AgentEvent::Launch(task) => ExecutorEvent::Launched(task.task_id.value.clone(), *task),
                    AgentEvent::Kill(task) => ExecutorEvent::Kill(task),
                    AgentEvent::Acknowledged(uuid) => match self.identity.number(&uuid) {
                        Some(number) => ExecutorEvent::Acknowledged(number),
                        None => continue,
                    },
                    AgentEvent::Word(Word::Answer(answer)) => {
                        life.worker.answer(answer);
                        continue;
                    }
                    AgentEvent::Word(Word::Recorded(task)) => {
                        life.worker.recorded(&task);
                        continue;
                    }
                    AgentEvent::Shutdown => ExecutorEvent::Shutdown,
                    AgentEvent::Other => continue,
                },
                Some(Message::Failed { number, error }) if number == life.number => {
                    complain(&error.to_string());
                    life.end_subscription();
                    match error.next {
                        Next::Never => ExecutorEvent::Unknown,
                        Next::Now | Next::Later => ExecutorEvent::Lost,
                    }
                }
                Some(Message::Agent { .. } | Message::Failed { .. }) => continue,
                Some(Message::News(event)) => {
                    // What scripts print is shown as far as there is time for it; their reports have all that is kept.
                    if matches!(*event, RunEvent::Printed { .. }) && life.under_way() > CALLS_UNDER_WAY_MAX {
                        continue;
                    }
                    // That a host was left clean is known only once all tasks are over.
                    let of_all = matches!(
                        *event,
                        RunEvent::HostLeft { .. } | RunEvent::NotLeft { .. } | RunEvent::Warning { .. }
                    );
                    let task = life.task.as_ref().or(life.last_task.as_ref().filter(|_| of_all));
                    if let Some(task) = task {
                        life.call(
                            self.identity.message(&News::Happened { task: task.clone(), event: *event }),
                        );
                    }
                    continue;
                }
                Some(Message::Question { question, hosts }) => {
                    if let Some(task) = &life.task {
                        life.call(self.identity.message(&News::Question {
                            task: task.clone(),
                            question,
                            hosts,
                        }));
                    }
                    continue;
                }
                Some(Message::Ended(outcome)) => {
                    life.task = None;
                    ExecutorEvent::Ended(serde_json::to_vec(&outcome).unwrap_or_default())
                }
                Some(Message::Closed) => break,
                // The scheduler learns from our end that the task is lost, and has the host reverted.
                Some(Message::Broken) => {
                    broken = true;
                    break;
                }
                Some(Message::Terminated) => ExecutorEvent::Shutdown,
            };
            for action in self.machine.step(self.started.elapsed(), event) {
                match action {
                    ExecutorAction::Subscribe => life.subscribe(&self),
                    ExecutorAction::Update(mut update) => {
                        if update.report == Report::Killed && update.data.is_empty() {
                            let outcome = CaseOutcome::skipped("interrupted before it began");
                            update.data = serde_json::to_vec(&outcome).unwrap_or_default();
                        }
                        life.call(self.identity.update(&update, seconds_since_1970()));
                    }
                    ExecutorAction::Begin(id, task) => {
                        life.task = Some(id.clone());
                        life.last_task = Some(id.clone());
                        life.worker.begin(id, &task);
                    }
                    ExecutorAction::Interrupt => life.worker.interrupt(),
                    ExecutorAction::Leave => life.worker.close(),
                }
            }
        }
        drop(life);
        let _ = tokio::time::timeout(FAREWELL, caller).await;
        if broken {
            Err("the executor broke down in the middle of a case: this is a defect of Pisaura".to_owned())
        } else {
            Ok(())
        }
    }
}

struct Life {
    worker: Worker,
    sender: UnboundedSender<Message>,
    calls: Option<UnboundedSender<(u64, Vec<u8>)>>,
    under_way: Arc<AtomicUsize>,
    reader: Option<JoinHandle<()>>,
    /// Of the subscription: what an older one says is not heard any more.
    number: u64,
    /// The task that is at work.
    task: Option<String>,
    /// The last one that was.
    last_task: Option<String>,
}

impl Life {
    fn call(&self, body: Vec<u8>) {
        if let Some(calls) = &self.calls {
            self.under_way.fetch_add(1, Ordering::Relaxed);
            let _ = calls.send((self.number, body));
        }
    }

    /// How many calls wait to be made.
    fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    fn end_subscription(&mut self) {
        self.number += 1;
        if let Some(reader) = self.reader.take() {
            reader.abort();
        }
    }

    fn subscribe(&mut self, agent: &Agent) {
        self.end_subscription();
        let (tasks, updates) = agent.machine.unacknowledged();
        let call = agent.identity.subscribe(
            tasks.iter().map(|(_, task)| task.clone()).collect(),
            updates,
            seconds_since_1970(),
        );
        let reading = read(agent.client.clone(), agent.base.clone(), call, self.number, self.sender.clone());
        self.reader = Some(tokio::spawn(reading));
    }
}

async fn read(client: Client, base: String, call: Vec<u8>, number: u64, sender: UnboundedSender<Message>) {
    let error = match client.subscribe(&base, call).await {
        Err(error) => error,
        Ok(mut subscription) => loop {
            match subscription.next().await.and_then(|record| translate::agent_event(&record)) {
                Ok(event) => {
                    let _ = sender.send(Message::Agent { number, event });
                }
                Err(error) => break error,
            }
        },
    };
    let _ = sender.send(Message::Failed { number, error });
}

async fn call_out(
    client: Client,
    base: String,
    mut calls: UnboundedReceiver<(u64, Vec<u8>)>,
    sender: UnboundedSender<Message>,
    under_way: Arc<AtomicUsize>,
) {
    while let Some((number, body)) = calls.recv().await {
        under_way.fetch_sub(1, Ordering::Relaxed);
        if let Err(error) = client.call(&base, None, body).await {
            let _ = sender.send(Message::Failed { number, error });
        }
    }
}

fn listen_to_signals(sender: &UnboundedSender<Message>) -> Result<(), String> {
    use tokio::signal::unix::{SignalKind, signal};
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let mut signals = signal(kind).map_err(|error| format!("cannot listen to signals: {error}"))?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                let _ = sender.send(Message::Terminated);
            }
        });
    }
    Ok(())
}

/// Writes a line of the executor's own log. The sandbox's disk may be full, which is no reason to leave a host broken.
fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The same, of what went wrong.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn seconds_since_1970() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// `15mins`, `2secs`, `500ms`: as Mesos writes a time.
fn mesos_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "secs" => 1.0,
        "mins" => 60.0,
        "hrs" => 3600.0,
        "days" => 86_400.0,
        "weeks" => 604_800.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * unit).ok()
}
