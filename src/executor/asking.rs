//! Asking the service: the healthcheck, and the checks beside it. Outside a hold they are asked at the same time, once for each try at
//! the step; while a failure is held, each check has a thread of its own, that asks at its own pace.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::machine::CheckWatch;

use super::assignment::LocalCheck;
use super::performer::{at_work, remember, seen_in_time, with_output};
use super::*;

/// What came of one question beside the healthcheck's.
pub(super) struct Asked {
    check: String,
    began: Duration,
    took: Duration,
    ran: Ran,
}

/// Who asks a check while the failure is held.
pub(super) struct Asker {
    state: Arc<Mutex<State>>,
    dismissed: Interrupt,
    thread: Option<JoinHandle<()>>,
}

struct State {
    watch: CheckWatch,
    records: Vec<StepRecord>,
}

/// What an asker needs of its case, for as long as it lives.
struct Question {
    check: LocalCheck,
    assignment: Assignment,
    workplace: PathBuf,
    /// When the case began.
    began: Duration,
    redactor: Redactor,
    observer: Observer,
    live_output: bool,
}

impl Performer<'_> {
    /// Asks the healthcheck, and those of the checks that are asked together with it.
    pub(super) fn ask(
        &mut self,
        step: Step,
        limit: Limit<'_>,
        watcher: &mut dyn FnMut(Stream, &[u8]),
    ) -> Ran {
        let assignment = self.assignment;
        let (workplace, redactor, observer) = (self.workplace, self.redactor, self.observer);
        let mut healthcheck = || {
            let command = performer::local_command(assignment, step, workplace);
            with_output(child::run(command, limit, redactor, watcher), assignment.expect_output.as_ref())
        };
        if step == Step::During && assignment.plan.hold.is_some() {
            if self.askers.is_empty() {
                self.begin_askers();
            }
            return healthcheck();
        }
        let (began, live_output) = (self.began, self.live_output);
        let (ran, asked) = std::thread::scope(|scope| {
            let threads: Vec<_> = assignment
                .checks
                .iter()
                .map(|check| {
                    let ask = move || {
                        let mut printer =
                            LinePrinter::new(live_output, assignment.id, step, redactor, observer);
                        let began = time_since_boot().saturating_sub(began);
                        let command = check_command(check, assignment, step, workplace);
                        let ran = child::run(command, limit, redactor, &mut |stream, bytes| {
                            printer.push(stream, bytes);
                        });
                        printer.finish();
                        (began, with_output(ran, check.expect_output.as_ref()))
                    };
                    (check, std::thread::Builder::new().name("check".to_owned()).spawn_scoped(scope, ask))
                })
                .collect();
            let ran = healthcheck();
            let asked = threads.into_iter().map(|(check, thread)| {
                let now = time_since_boot().saturating_sub(began);
                let (asked, ran) = match thread.map(std::thread::ScopedJoinHandle::join) {
                    Ok(Ok(asked)) => asked,
                    Ok(Err(_)) => (now, not_asked("what asks it has broken down")),
                    Err(error) => (now, not_asked(&format!("cannot start a thread: {error}"))),
                };
                let took = (time_since_boot().saturating_sub(began)).saturating_sub(asked);
                Asked { check: check.name.clone(), began: asked, took, ran }
            });
            (ran, asked.collect::<Vec<_>>())
        });
        self.asked = asked;
        ran
    }

    /// What came of the questions beside the healthcheck's that was just asked, as its machine and its report are told.
    pub(super) fn take_asked(&mut self, step: Step, attempt: u32, until: Duration) -> Vec<StepRecord> {
        let asked = std::mem::take(&mut self.asked);
        if asked.is_empty() {
            return Vec::new();
        }
        let records: Vec<StepRecord> = asked
            .into_iter()
            .map(|Asked { check, began, took, ran }| {
                let end = self.in_time(step, self.clean_end(ran.end), until, ran.seen_at);
                let check = Some(check);
                StepRecord {
                    step,
                    check,
                    host: None,
                    attempt,
                    began,
                    took,
                    end,
                    stdout: ran.stdout,
                    stderr: ran.stderr,
                }
            })
            .collect();
        self.checks_said = Some(records.iter().map(|record| record.end.clone()).collect());
        records
    }

    /// The failure is in force: each check is asked from now on.
    fn begin_askers(&mut self) {
        let now = self.elapsed();
        let plan = &self.assignment.plan;
        for (check, planned) in self.assignment.checks.iter().zip(&plan.checks) {
            let Some(watch) = CheckWatch::new(planned, plan.grace, now) else { continue };
            let question = Question {
                check: check.clone(),
                assignment: self.assignment.clone(),
                workplace: self.workplace.to_owned(),
                began: self.began,
                redactor: self.redactor.clone(),
                observer: Arc::clone(self.observer),
                live_output: self.live_output,
            };
            self.askers.push(Asker::begin(question, watch, self.interrupt));
        }
    }

    /// The failure is not held any longer: nobody is asked any more.
    pub(super) fn dismiss_askers(&mut self) {
        for asker in &self.askers {
            asker.dismissed.raise();
        }
        self.are_dismissed = !self.askers.is_empty();
    }

    /// Waits for the askers, and takes over what they have recorded.
    pub(super) fn end_askers(&mut self) {
        self.dismiss_askers();
        let mut records = Vec::new();
        for asker in self.askers.drain(..) {
            if let Some(thread) = asker.thread
                && thread.join().is_err()
            {
                tracing::error!("what asks a check has broken down");
            }
            records.append(&mut lock(&asker.state).records);
        }
        if records.is_empty() {
            return;
        }
        for record in &records {
            let (case, record) = (self.assignment.id, Box::new(record.clone()));
            (self.observer)(RunEvent::StepEnded { case, record });
        }
        let last = self.steps.iter().rposition(|record| record.step == Step::During);
        let behind = last.map_or(self.steps.len(), |last| last + 1);
        self.steps.splice(behind..behind, records);
    }
}

impl Asker {
    fn begin(question: Question, watch: CheckWatch, interrupt: &Interrupt) -> Self {
        let state = Arc::new(Mutex::new(State { watch, records: Vec::new() }));
        // Who has no descriptor for a flag of its own is dismissed by the run's only, and asks to the end of the hold.
        let dismissed = Interrupt::new().unwrap_or_else(|_| interrupt.clone());
        let thread = std::thread::Builder::new().name("check".to_owned()).spawn({
            let (state, dismissed) = (Arc::clone(&state), dismissed.clone());
            move || question.ask_on(&state, &dismissed)
        });
        if let Err(error) = &thread {
            let end = not_asked(&format!("cannot start a thread: {error}")).end;
            lock(&state).watch.answered(Duration::ZERO, Duration::ZERO, &end);
        }
        Self { state, dismissed, thread: thread.ok() }
    }

    /// What was seen up to now.
    pub(super) fn watch(&self) -> CheckWatch {
        lock(&self.state).watch.clone()
    }
}

impl Question {
    fn ask_on(&self, state: &Mutex<State>, dismissed: &Interrupt) {
        let now = || time_since_boot().saturating_sub(self.began);
        let within = lock(state).watch.limit();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (began, until) = (now(), time_since_boot() + within);
            let mut printer = LinePrinter::new(
                self.live_output,
                self.assignment.id,
                Step::During,
                &self.redactor,
                &self.observer,
            );
            let limit = Limit::within(within, Some(dismissed));
            let command = check_command(&self.check, &self.assignment, Step::During, &self.workplace);
            let ran = child::run(command, limit, &self.redactor, &mut |stream, bytes| {
                printer.push(stream, bytes);
            });
            printer.finish();
            let ran = with_output(ran, self.check.expect_output.as_ref());
            if ran.end == StepEnd::Interrupted {
                return;
            }
            let ended = now();
            let end = seen_in_time(ran.end, until, ran.seen_at);
            let (took, check) = (ended.saturating_sub(began), Some(self.check.name.clone()));
            let (stdout, stderr) = (ran.stdout, ran.stderr);
            let record = StepRecord {
                step: Step::During,
                check,
                host: None,
                attempt,
                began,
                took,
                end: end.clone(),
                stdout,
                stderr,
            };
            let next = {
                let mut state = lock(state);
                remember(&mut state.records, record, true);
                state.watch.answered(began, ended, &end)
            };
            let Some(next) = next else { return };
            dismissed.wait_until(Instant::now() + next.saturating_sub(now()), true);
            if dismissed.is_raised() {
                return;
            }
        }
    }
}

fn check_command(check: &LocalCheck, assignment: &Assignment, step: Step, workplace: &Path) -> Command {
    let mut command = at_work(check.command.command(workplace, &[]), assignment, workplace);
    command.env("PISAURA_STEP", step.healthcheck_number().unwrap_or_default().to_string());
    command.env("PISAURA_CHECK", &check.name);
    command
}

fn not_asked(why: &str) -> Ran {
    let trouble = Trouble { kind: TroubleKind::Start, message: why.to_owned() };
    Ran::silent(StepEnd::Failed(trouble))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
