//! The thread that carries out cases for an agent, one after the other, while its other threads go on listening.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::machine::question_number;

use super::*;

/// The thread that carries out cases.
pub(super) struct Worker {
    sender: UnboundedSender<Message>,
    tasks: Option<Sender<Work>>,
    shared: Arc<Shared>,
}

struct Work {
    task: String,
    data: Box<Result<TaskData, String>>,
    interrupt: Interrupt,
}

/// What the loop and the worker have in common.
#[derive(Default)]
struct Shared {
    state: Mutex<WorkerState>,
    /// Tasks of which the scheduler has not yet said that it has written down how they ended. An agent's acknowledgement does not
    /// say so: it is the agent's own.
    unrecorded: Mutex<Vec<String>>,
    recorded: Condvar,
}

#[derive(Default)]
struct WorkerState {
    interrupt: Option<Interrupt>,
    task: String,
    /// Who waits for leave to induce.
    waiting: Option<Sender<Heard>>,
    /// News are told with the files of whoever reads them.
    folders: Option<(String, String)>,
}

/// What ends the waiting for leave to induce.
enum Heard {
    Answer(Answer),
    Interrupt,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, WorkerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unrecorded(&self) -> MutexGuard<'_, Vec<String>> {
        self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    pub(super) fn start(sandbox: PathBuf, sender: UnboundedSender<Message>) -> Result<Self, String> {
        let (tasks, arrives) = channel();
        let shared = Arc::new(Shared::default());
        let of_worker = Arc::clone(&shared);
        let of_thread = sender.clone();
        let started = std::thread::Builder::new().name("worker".to_owned()).spawn(move || {
            let guard = TellOfBreakdown(of_thread.clone());
            work(&arrives, &sandbox, &of_worker, &of_thread);
            std::mem::forget(guard);
            let _ = of_thread.send(Message::Closed);
        });
        started.map_err(|error| format!("cannot carry out anything: {error}"))?;
        Ok(Self { sender, tasks: Some(tasks), shared })
    }

    pub(super) fn begin(&self, task: String, info: &TaskInfo) {
        let data =
            serde_json::from_slice::<TaskData>(info.data.as_deref().unwrap_or_default()).map_err(|error| {
                format!("the task's data cannot be read: {error}: are scheduler and executor of one version?")
            });
        let interrupt = match Interrupt::new() {
            Ok(interrupt) => interrupt,
            Err(error) => {
                let outcome = CaseOutcome::botched("StartFailed", format!("cannot begin: {error}"));
                let _ = self.sender.send(Message::Ended(Box::new(outcome)));
                return;
            }
        };
        {
            let mut state = self.shared.state();
            state.interrupt = Some(interrupt.clone());
            state.task.clone_from(&task);
        }
        self.shared.unrecorded().push(task.clone());
        if let Some(tasks) = &self.tasks {
            // If the worker is gone, its end was told.
            let _ = tasks.send(Work { task, data: Box::new(data), interrupt });
        }
    }

    pub(super) fn interrupt(&self) {
        let mut state = self.shared.state();
        if let Some(interrupt) = &state.interrupt {
            interrupt.raise();
        }
        if let Some(waiting) = state.waiting.take() {
            let _ = waiting.send(Heard::Interrupt);
        }
    }

    pub(super) fn answer(&self, answer: Answer) {
        let state = self.shared.state();
        if let Some(waiting) = state.waiting.as_ref().filter(|_| state.task == answer.task) {
            let _ = waiting.send(Heard::Answer(answer));
        }
    }

    pub(super) fn recorded(&self, task: &str) {
        self.shared.unrecorded().retain(|other| other != task);
        self.shared.recorded.notify_all();
    }

    pub(super) fn close(&mut self) {
        self.tasks = None;
    }
}

struct TellOfBreakdown(UnboundedSender<Message>);

impl Drop for TellOfBreakdown {
    fn drop(&mut self) {
        let _ = self.0.send(Message::Broken);
    }
}

fn work(tasks: &Receiver<Work>, sandbox: &Path, shared: &Arc<Shared>, sender: &UnboundedSender<Message>) {
    let workplace = sandbox.join(TaskData::WORKPLACE);
    let mut executor: Option<BookExecutor> = None;
    let mut unpacked = Err("nothing was unpacked".to_owned());
    for Work { task, data, interrupt } in tasks {
        let data = (*data).and_then(|data| {
            if unpacked.is_err() {
                let archive = sandbox.join(TaskData::ARCHIVE);
                unpacked = super::super::archive::unpack(&archive, &data.archive_sha256, sandbox);
            }
            unpacked.clone().map(|()| data)
        });
        let data = match data {
            Ok(data) => data,
            Err(why) => {
                let _ = sender.send(Message::Ended(Box::new(CaseOutcome::botched("StartFailed", why))));
                continue;
            }
        };
        shared.state().folders =
            Some((workplace.display().to_string(), data.book_folder.display().to_string()));
        tell(&format!("task {task}"));
        let executor = executor.get_or_insert_with(|| {
            let observer = observer(Arc::clone(shared), sender.clone(), data.loglevel);
            let notary = Arc::new(Asking {
                times: AtomicU64::new(0),
                shared: Arc::clone(shared),
                sender: sender.clone(),
            });
            BookExecutor::new(Redactor::new(&data.secrets), data.loglevel, data.live_output, observer, notary)
                .on_agent()
        });
        let assignment = data.assignment.completed(&workplace);
        executor.carry_out(&assignment, &workplace, &interrupt);
    }
    if let Some(executor) = executor {
        executor.close();
    }
}

/// Passes on what happens in a case, and writes the executor's own log.
fn observer(shared: Arc<Shared>, sender: UnboundedSender<Message>, loglevel: LogLevel) -> Observer {
    Arc::new(move |event| {
        let message = match event {
            RunEvent::Settled { mut outcome, .. } => {
                tell(&outcome.verdict.to_string());
                for (_, heal) in outcome.report.iter_mut().flat_map(|report| &mut report.heal) {
                    *heal = told(&shared, heal);
                }
                Message::Ended(Box::new(outcome))
            }
            RunEvent::Logged { level, ref line, .. } => {
                if level >= loglevel {
                    match level {
                        LogLevel::Debug | LogLevel::Info => tell(line),
                        _ => complain(line),
                    }
                }
                Message::News(Box::new(event))
            }
            RunEvent::Warning { ref message } => {
                complain(message);
                Message::News(Box::new(event))
            }
            RunEvent::Began { .. } | RunEvent::BookClosed => return,
            event => Message::News(Box::new(event)),
        };
        // Nobody listens only when it is over.
        let _ = sender.send(message);
    })
}

/// A command for people, with the book's files where they have them.
fn told(shared: &Shared, text: &str) -> String {
    match &shared.state().folders {
        Some((here, there)) => text.replace(here, there),
        None => text.to_owned(),
    }
}

/// Asks the scheduler whether it is written down.
struct Asking {
    shared: Arc<Shared>,
    sender: UnboundedSender<Message>,
    /// How often leave was asked for, each time until there was an answer.
    times: AtomicU64,
}

impl Notary for Asking {
    fn is_recorded(&self) -> bool {
        let unrecorded = self.shared.unrecorded();
        let waited = self
            .shared
            .recorded
            .wait_timeout_while(unrecorded, RECORDED_WITHIN, |unrecorded| !unrecorded.is_empty());
        waited.unwrap_or_else(PoisonError::into_inner).0.is_empty()
    }

    fn note(&self, _case: CaseId, hosts: Vec<DirtyHost>, interrupt: &Interrupt) -> Result<(), String> {
        let (answer, arrives) = channel();
        self.shared.state().waiting = Some(answer);
        if interrupt.is_raised() {
            return Err("interrupted".to_owned());
        }
        let told = |host: DirtyHost| DirtyHost { heal: told(&self.shared, &host.heal), ..host };
        let hosts: Vec<DirtyHost> = hosts.into_iter().map(told).collect();
        let first = question_number(self.times.fetch_add(1, Ordering::SeqCst));
        let mut asked: Vec<Instant> = Vec::new();
        loop {
            asked.push(Instant::now());
            let question = first + asked.len() as u64;
            let question = Message::Question { question, hosts: hosts.clone() };
            let _ = self.sender.send(question);
            let again_at = Instant::now() + ASKED_AGAIN_AFTER;
            loop {
                match arrives.recv_timeout(again_at.saturating_duration_since(Instant::now())) {
                    Ok(Heard::Interrupt) => return Err("interrupted".to_owned()),
                    Ok(Heard::Answer(Answer { question, result, .. })) => {
                        let number = question.checked_sub(first + 1);
                        let at = number.and_then(|index| asked.get(usize::try_from(index).ok()?));
                        if result.is_err() || at.is_some_and(|at| at.elapsed() < LEAVE_LASTS) {
                            return result;
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return Err("nobody answers any more".to_owned()),
                }
            }
        }
    }
}
