//! A process of this machine that runs beside a case: it is told things by lines on its standard input, and ends when that ends; if
//! not, or if nobody wants it any more, it is ended with its whole group.

use std::io::Write;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::fatebook::Redactor;
use crate::machine::{StepEnd, Stream, Trouble, TroubleKind};

use super::child::{self, push, wait_for};
use super::{Interrupt, Limit, Ran};

/// Longer than any case.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The process, while it is wanted.
pub struct Companion {
    input: Option<ChildStdin>,
    /// Raised to have it ended.
    unwanted: Interrupt,
    /// Raised once it has ended.
    over: Interrupt,
    thread: Option<JoinHandle<Ran>>,
}

impl Companion {
    /// Starts it; what it prints goes to `watcher`, in another thread. Fails, saying why, if it cannot be started.
    pub fn start(
        command: Command,
        redactor: &Redactor,
        mut watcher: impl FnMut(Stream, &[u8]) + Send + 'static,
    ) -> Result<Self, Trouble> {
        let failed = |message: String| Trouble { kind: TroubleKind::Start, message };
        let no_flag = |error: std::io::Error| failed(format!("cannot make what ends the workload: {error}"));
        let (unwanted, over) = (Interrupt::new().map_err(no_flag)?, Interrupt::new().map_err(no_flag)?);
        let (sender, receiver): (_, Receiver<Option<ChildStdin>>) = channel();
        let thread = std::thread::Builder::new().name("workload".to_owned()).spawn({
            let (unwanted, over, redactor) = (unwanted.clone(), over.clone(), redactor.clone());
            move || {
                let limit = Limit::within(FOR_EVER, Some(&unwanted));
                let started = &mut |input| {
                    let _ = sender.send(input);
                };
                let ran = child::run_with(command, Stdio::piped(), started, limit, &redactor, &mut watcher);
                over.raise();
                ran
            }
        });
        let thread = thread.map_err(|error| failed(format!("cannot start a thread: {error}")))?;
        match receiver.recv() {
            Ok(input) => Ok(Self { input, unwanted, over, thread: Some(thread) }),
            Err(_) => Err(match thread.join().map(|ran| ran.end) {
                Ok(StepEnd::Failed(trouble)) => trouble,
                end => failed(format!("the workload was not started: {end:?}")),
            }),
        }
    }

    /// Tells it a line. One that has ended does not hear it.
    pub fn tell(&mut self, line: &str) {
        if let Some(input) = &mut self.input {
            let _ = input.write_all(line.as_bytes());
        }
    }

    /// Whether it has ended by itself.
    pub fn is_over(&self) -> bool {
        self.over.is_raised()
    }

    /// Ends its input, and waits for its end; when the time is up, or at an interrupt, it is ended.
    pub fn finish(&mut self, limit: Limit<'_>) -> Ran {
        self.input = None;
        let woken_in_time = {
            let mut descriptors = Vec::new();
            push(&mut descriptors, &self.over);
            limit.interrupt.map(|interrupt| push(&mut descriptors, interrupt));
            wait_for(&mut descriptors, limit.until)
        };
        let end = match (self.over.is_raised(), woken_in_time) {
            (true, _) => None,
            (false, true) => Some(StepEnd::Interrupted),
            (false, false) => Some(StepEnd::TimedOut),
        };
        let seen_at = super::time_since_boot();
        self.unwanted.raise();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ran)) => Ran { end: end.unwrap_or(ran.end), seen_at: Some(seen_at), ..ran },
            _ => {
                let message = "what watches the workload has broken down".to_owned();
                Ran::silent(StepEnd::Failed(Trouble { kind: TroubleKind::Start, message }))
            }
        }
    }
}

/// Whatever happens, it does not outlive its case.
impl Drop for Companion {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.unwanted.raise();
            self.finish(Limit { until: Instant::now(), interrupt: None });
        }
    }
}
