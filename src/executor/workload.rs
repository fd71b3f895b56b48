//! A case's workload: started before its first healthcheck, told of phases, counted, and ended with the case.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::machine::{Phase, Recorder, WorkloadCounter, WorkloadSeen};
use crate::remote::Companion;

use super::performer::at_work;
use super::*;

/// Of a line that is longer only so much is looked at.
const LINE_BYTES_MAX: usize = 4096;

/// The workload of a case, while it runs.
pub(super) struct Workload {
    process: Companion,
    heard: Arc<Mutex<Heard>>,
    /// When the case began.
    began: Duration,
}

/// What was heard of it.
struct Heard {
    counter: WorkloadCounter,
    /// The beginning of a line of its standard output.
    line: Vec<u8>,
    /// What of its standard output was no count.
    output: Recorder,
}

impl Workload {
    /// Starts it. Fails, saying why, if it cannot be started.
    pub(super) fn start(command: Command, redactor: &Redactor, began: Duration) -> Result<Self, Trouble> {
        let heard = Arc::new(Mutex::new(Heard {
            counter: WorkloadCounter::default(),
            line: Vec::new(),
            output: Recorder::new(redactor.longest()),
        }));
        let process = Companion::start(command, redactor, {
            let heard = Arc::clone(&heard);
            move |stream, bytes| {
                if stream == Stream::Stdout {
                    lock(&heard).hear(bytes, time_since_boot().saturating_sub(began));
                }
            }
        })?;
        let mut workload = Self { process, heard, began };
        workload.process.tell(Phase::Before.line());
        Ok(workload)
    }

    /// The case is in this phase from now on.
    pub(super) fn enter(&mut self, phase: Phase, is_in_force: bool) {
        lock(&self.heard).counter.set_in_force(is_in_force);
        if lock(&self.heard).counter.phase() == phase {
            return;
        }
        lock(&self.heard).counter.enter(phase, time_since_boot().saturating_sub(self.began));
        self.process.tell(phase.line());
    }

    /// Has it end, and say what is lost.
    pub(super) fn finish(&mut self, limit: Limit<'_>, redactor: &Redactor) -> (Ran, WorkloadSeen) {
        let ended_early = self.process.is_over();
        lock(&self.heard).counter.finish(time_since_boot().saturating_sub(self.began));
        let mut ran = self.process.finish(limit);
        let mut heard = lock(&self.heard);
        heard.end(time_since_boot().saturating_sub(self.began));
        let recorder = std::mem::replace(&mut heard.output, Recorder::new(0));
        ran.stdout = recorder.finish(|text| redactor.clean(text));
        let mut seen = heard.counter.seen().clone();
        seen.ended_early = ended_early;
        for id in &mut seen.lost_ids {
            *id = redactor.clean(id);
        }
        (ran, seen)
    }
}

impl Heard {
    fn hear(&mut self, bytes: &[u8], now: Duration) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") || self.line.len() > LINE_BYTES_MAX {
                self.end(now);
            }
        }
    }

    fn end(&mut self, now: Duration) {
        let line = std::mem::take(&mut self.line);
        let is_count = self.counter.line(&String::from_utf8_lossy(&line), now);
        if !is_count {
            self.output.push(&line);
        }
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Performer<'_> {
    /// Starts the workload before anything is asked, and tells it of the phase that this step begins. Fails if it cannot be started.
    pub(super) fn tell_workload(&mut self, step: Step) -> Result<(), Trouble> {
        let Some(command) = &self.assignment.workload else { return Ok(()) };
        let phase = match step {
            Step::Before | Step::Prepare | Step::Select => Phase::Before,
            Step::Arm
            | Step::Induce
            | Step::Verify
            | Step::StopIf
            | Step::During
            | Step::Still
            | Step::Revert => Phase::Failing,
            Step::After | Step::Workload => Phase::Reverted,
        };
        let is_in_force = matches!(step, Step::Verify | Step::StopIf | Step::During | Step::Still);
        match &mut self.workload {
            Some(workload) => workload.enter(phase, is_in_force),
            None if step == Step::Before => {
                let command = command.command(self.workplace, &[]);
                let mut command = at_work(command, self.assignment, self.workplace);
                command.env("PISAURA_STEP", "workload");
                self.workload = Some(Workload::start(command, self.redactor, self.began)?);
            }
            None => {}
        }
        Ok(())
    }

    /// Has the workload end. Its machine asks for that only if there is one.
    pub(super) fn finish_workload(&mut self, limit: Limit<'_>) -> Ran {
        let Some(mut workload) = self.workload.take() else {
            return performer::no_such_script();
        };
        let (ran, seen) = workload.finish(limit, self.redactor);
        self.workload_seen = Some(seen);
        ran
    }
}
