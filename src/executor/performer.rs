//! One case: its steps performed as its machine wants them, and what is recorded of each.

use super::*;

pub(super) struct Performer<'a> {
    pub(super) assignment: &'a Assignment,
    pub(super) workplace: &'a Path,
    pub(super) redactor: &'a Redactor,
    pub(super) observer: &'a Observer,
    pub(super) notary: &'a Arc<dyn Notary>,
    pub(super) interrupt: &'a Interrupt,
    pub(super) live_output: bool,
    /// The case's hosts, in its order.
    pub(super) members: Vec<Member>,
    pub(super) checked: &'a mut HashSet<String>,
    /// By the clock that goes on while this machine sleeps, as all times of the case.
    pub(super) began: Duration,
    pub(super) steps: Vec<StepRecord>,
    /// Since when all hosts were broken, if some are cut off: the last of these has said nothing since, by [`time_since_boot`].
    pub(super) silent_since: Option<Duration>,
    /// How the last step ended on each host, if there are several.
    pub(super) hosts_ended: Option<HostEnds>,
    /// How the checks ended that were asked together with the last healthcheck.
    pub(super) checks_said: Option<Vec<StepEnd>>,
    /// The same, before they are told.
    pub(super) asked: Vec<Asked>,
    /// The workload, while it runs, and what it has said in all.
    pub(super) workload: Option<Workload>,
    pub(super) workload_seen: Option<WorkloadSeen>,
    /// Who asks the checks while the failure is held.
    pub(super) askers: Vec<Asker>,
    /// The failure is not held any longer.
    pub(super) are_dismissed: bool,
}

/// When a try at a step began, and until when it has to end.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// Counted from the beginning of the case.
    pub(super) began: Duration,
    /// The same moment, by [`time_since_boot`].
    pub(super) began_at: Duration,
    pub(super) until: Duration,
}

/// How much of a line that a healthcheck printed stands in what is found of it.
const REASON_CHARS_MAX: usize = 200;

impl Performer<'_> {
    pub(super) fn settle(&mut self) -> CaseOutcome {
        if let Err(why) = self.begin_on_hosts() {
            return CaseOutcome::botched("StartFailed", why);
        }
        let mut machine = CaseMachine::new(self.assignment.plan.clone());
        let first = match self.interrupt.is_raised() {
            _ if self.assignment.only_reverts => CaseEvent::Heal,
            true => CaseEvent::Interrupt,
            false => CaseEvent::Begin,
        };
        let mut turn = machine.step(Duration::ZERO, first);
        while let Some(event) = turn.and_then(|turn| self.take(&machine, turn)) {
            let now = self.elapsed();
            if let Some(record) = self.take_induced() {
                machine.step(now, CaseEvent::HostSays(record));
            }
            if let Some(silence) = self.take_silence() {
                machine.step(now, CaseEvent::SilentFor(silence));
            }
            if let Some(ends) = self.hosts_ended.take() {
                machine.step(now, CaseEvent::HostsEnded(ends));
            }
            if let Some(seen) = self.workload_seen.take() {
                machine.step(now, CaseEvent::WorkloadSaid(seen));
            }
            if let Some(ends) = self.checks_said.take() {
                machine.step(now, CaseEvent::ChecksSaid(ends));
            }
            if !self.are_dismissed && !self.askers.is_empty() {
                let watched = self.askers.iter().map(Asker::watch).collect();
                machine.step(now, CaseEvent::ChecksWatched(watched));
            }
            let interrupt = self.interrupt.is_raised().then_some(CaseEvent::Interrupt);
            turn = interrupt
                .and_then(|interrupt| machine.step(now, interrupt))
                .or_else(|| machine.step(now, event));
        }
        self.end_askers();
        // One that was not asked for its end is ended with its case.
        self.workload = None;
        let (verdict, findings, recovered) = machine.result();
        let dirty = machine.is_dirty();
        let heal = if dirty { self.dirty_hosts() } else { Vec::new() };
        for (host, _) in &heal {
            tracing::error!(target: CRITICAL, host, "the host may still be broken");
        }
        let findings = findings
            .iter()
            .cloned()
            .map(|mut finding| {
                // What the script said is the better reason.
                if finding.kind == NOT_FOR_THIS_HOST
                    && !self.assignment.hosts.is_several()
                    && let Some(said) = self.steps.last().and_then(last_line)
                {
                    finding.message = format!("not for this host as it is now: {said}");
                }
                if let Some(said) = self.said_of(&finding) {
                    finding.message.push_str(&format!(": {said}"));
                }
                finding.message = self.redactor.clean(&finding.message);
                finding
            })
            .collect();
        CaseOutcome {
            verdict,
            findings,
            report: Some(CaseReport {
                steps: std::mem::take(&mut self.steps),
                took: self.elapsed(),
                recovered_during: recovered[0],
                recovered_after: recovered[1],
                watched: machine.watched().cloned().map(Box::new),
                checks_watched: machine
                    .checks_watched()
                    .map(|(name, watched)| (name.to_owned(), watched.clone()))
                    .collect(),
                former: machine.former().to_vec(),
                workload: machine.workload().cloned().map(Box::new),
                heal,
                placement: None,
            }),
        }
    }

    /// What the healthcheck, or check, gave as its reason that said no last: the last line that it printed on standard error.
    fn said_of(&self, finding: &Finding) -> Option<String> {
        let step = match finding.kind.as_str() {
            "UnhealthyBefore" => Step::Before,
            "UnhealthyDuring" => Step::During,
            "UnhealthyAfter" => Step::After,
            _ => return None,
        };
        let is_no = |record: &&StepRecord| {
            record.step == step && record.check == finding.check && !record.end.is_success()
        };
        let record = self.steps.iter().rev().find(is_no)?;
        let line = record.stderr.last_line()?;
        // What no terminal shows as it is belongs into the output alone.
        let is_plain = line.chars().all(|c| !c.is_control() && c != char::REPLACEMENT_CHARACTER);
        if !is_plain {
            return None;
        }
        let short: String = line.trim().chars().take(REASON_CHARS_MAX).collect();
        Some(if short.len() < line.trim().len() { short + "…" } else { short })
    }

    /// Does what the machine wants, and answers with what came of it; `None` once the case is settled.
    fn take(&mut self, machine: &CaseMachine, turn: CaseTurn) -> Option<CaseEvent> {
        if turn.is_reverted {
            self.all_reverted();
        }
        match turn.next {
            CaseNext::Perform { step, attempt, limit } => {
                Some(CaseEvent::Ended(self.perform(step, attempt, limit)))
            }
            CaseNext::NoteDirty => Some(match self.note_dirty() {
                Ok(()) => CaseEvent::Noted,
                Err(why) => CaseEvent::NotNoted(why),
            }),
            CaseNext::Wait => {
                self.wait(machine);
                Some(CaseEvent::Woke)
            }
            CaseNext::Settle => None,
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        time_since_boot().saturating_sub(self.began)
    }

    fn wait(&self, machine: &CaseMachine) {
        let left = machine.wake_at().unwrap_or_default().saturating_sub(self.elapsed());
        let until = Instant::now() + left;
        // While the host is dirty and its reverter is tried, an interrupt that has come already must not end each pause.
        let listens = !self.interrupt.is_raised();
        self.interrupt.wait_until(until, listens);
    }

    fn perform(&mut self, step: Step, attempt: u32, limit: Duration) -> StepEnd {
        if !matches!(step, Step::During | Step::StopIf) {
            self.dismiss_askers();
        }
        if step.is_healthcheck() && step != Step::During {
            self.end_askers();
        }
        if step != Step::StopIf && (!self.is_watched(step) || attempt == 1) {
            (self.observer)(RunEvent::StepBegan { case: self.assignment.id, step, attempt });
        }
        tracing::debug!(%step, attempt, "begins");
        let began = self.elapsed();
        let began_at = time_since_boot();
        let times = Times { began, began_at, until: began_at + limit };
        let interrupt = (step != Step::Revert).then_some(self.interrupt);
        let limit = Limit::within(limit, interrupt);
        // A workload is started only before the first healthcheck.
        let started = self.tell_workload(step).err();
        if step.is_on_hosts() {
            return self.perform_on_hosts(step, attempt, limit, times);
        }
        let mut printer =
            LinePrinter::new(self.live_output, self.assignment.id, step, self.redactor, self.observer);
        let mut watcher = |stream: Stream, bytes: &[u8]| printer.push(stream, bytes);
        let ran = match step {
            _ if let Some(trouble) = started => Ran::silent(StepEnd::Failed(trouble)),
            Step::Workload => self.finish_workload(limit),
            Step::StopIf => self.ask_to_stop(limit, &mut watcher),
            _ => {
                let why_not = if step == Step::Before && attempt == 1 { self.why_not(limit) } else { None };
                match why_not {
                    Some(message) => {
                        Ran::silent(StepEnd::Failed(Trouble { kind: TroubleKind::Start, message }))
                    }
                    None => self.ask(step, limit, &mut watcher),
                }
            }
        };
        printer.finish();
        // What is asked beside a healthcheck may take longer than it.
        let seen_at = ran.seen_at.filter(|_| step.is_healthcheck());
        let took = seen_at.unwrap_or_else(time_since_boot).saturating_sub(began_at);
        let end = self.in_time(step, self.clean_end(ran.end), times.until, ran.seen_at);
        self.keep(StepRecord {
            step,
            check: None,
            host: None,
            attempt,
            began,
            took,
            end: end.clone(),
            stdout: ran.stdout,
            stderr: ran.stderr,
        });
        for record in self.take_asked(step, attempt, times.until) {
            self.keep(record);
        }
        end
    }

    /// How a step ended that had to end by `until`, seen from here: `seen_at`, if that is known, and now.
    pub(super) fn in_time(
        &self,
        step: Step,
        end: StepEnd,
        until: Duration,
        seen_at: Option<Duration>,
    ) -> StepEnd {
        if self.is_watched(step) {
            return seen_in_time(end, until, seen_at);
        }
        let at = seen_at.filter(|_| step.is_healthcheck()).unwrap_or_else(time_since_boot);
        ended_in_time(end, until, at)
    }

    /// The same of a step on a host that was over then. For the reverter the host's word counts: one that succeeded has healed it.
    pub(super) fn in_time_on(
        &self,
        host: &str,
        step: Step,
        end: StepEnd,
        until: Duration,
        at: Duration,
    ) -> StepEnd {
        if step != Step::Revert || !end.is_success() || !is_late(at, until) {
            return ended_in_time(end, until, at);
        }
        let message = format!(
            "{host}: the reverter succeeded, and that was seen {} s after its time limit",
            at.saturating_sub(until).as_secs()
        );
        (self.observer)(RunEvent::Warning { message });
        end
    }

    /// Whether the service is asked again and again in this step, whatever it answers.
    fn is_watched(&self, step: Step) -> bool {
        let plan = &self.assignment.plan;
        step == Step::During && plan.hold.is_some() || step == Step::After && plan.steady.is_some()
    }

    /// Records a try at a step, and tells of it. Of answers in a row that say the same, while a service is watched, the first and the last
    /// are kept; their number stands elsewhere.
    pub(super) fn keep(&mut self, record: StepRecord) {
        if record.step == Step::StopIf && matches!(record.end, StepEnd::Exited(Exit::Status(1..=125))) {
            // That nothing is to be stopped is asked all the time, and worth no word.
            return;
        }
        let is_watched = self.is_watched(record.step);
        if remember(&mut self.steps, record.clone(), is_watched) {
            log_record(&record);
            (self.observer)(RunEvent::StepEnded { case: self.assignment.id, record: Box::new(record) });
        }
    }

    /// Asks each of those that may stop the case, up to the first that does not let it go on. They share the time limit.
    fn ask_to_stop(&self, limit: Limit<'_>, watcher: &mut dyn FnMut(Stream, &[u8])) -> Ran {
        let mut last = no_such_script();
        for command in &self.assignment.stop_if {
            let mut command = at_work(command.command(self.workplace, &[]), self.assignment, self.workplace);
            command.env("PISAURA_STEP", "stop_if");
            last = child::run(command, limit, self.redactor, watcher);
            if !matches!(last.end, StepEnd::Exited(Exit::Status(1..=125))) {
                break;
            }
        }
        last
    }

    /// Why what runs here cannot begin, if that is certain: a mistake in it is not to be taken for its no.
    fn why_not(&mut self, limit: Limit<'_>) -> Option<String> {
        let stop_if = self.assignment.stop_if.iter().map(|command| ("stop_if".to_owned(), command));
        let named = |name: &str| format!("check `{name}`");
        let workload = self.assignment.workload.iter().map(|command| ("workload".to_owned(), command));
        let checks = self.assignment.checks.iter().map(|check| (named(&check.name), &check.command));
        let healthcheck = std::iter::once(("healthcheck".to_owned(), &self.assignment.healthcheck));
        let commands = healthcheck.chain(checks).chain(workload).chain(stop_if);
        for (name, command) in commands {
            let Some(check) = command.check(&name, self.workplace) else {
                continue;
            };
            // What Pisaura tells of the case differs from one to the next, and finds no program.
            let own = |(name, _): &&(String, String)| !name.starts_with("PISAURA_");
            let env: Vec<_> = self.assignment.env.iter().filter(own).collect();
            let key = format!("{check:?} {env:?}");
            if self.checked.contains(&key) {
                continue;
            }
            let check = at_work(check, self.assignment, self.workplace);
            let ran = child::run(check, limit, self.redactor, &mut |_, _| {});
            if matches!(ran.end, StepEnd::Exited(Exit::Status(status)) if status != 0) {
                let said = ran.stderr.last_lines(20).0.pop();
                return Some(said.unwrap_or_else(|| format!("the {name} cannot be run")));
            }
            self.checked.insert(key);
        }
        None
    }

    pub(super) fn clean_end(&self, end: StepEnd) -> StepEnd {
        match end {
            StepEnd::Failed(Trouble { kind, message }) => {
                StepEnd::Failed(Trouble { kind, message: self.redactor.clean(&message) })
            }
            StepEnd::Busy { message, within } => {
                StepEnd::Busy { message: self.redactor.clean(&message), within }
            }
            end => end,
        }
    }
}

/// Keeps a record. Of answers in a row that say the same, while a service is watched, the first and the last are kept. Whether it says
/// anything new.
pub(super) fn remember(steps: &mut Vec<StepRecord>, record: StepRecord, is_watched: bool) -> bool {
    let says = |record: &StepRecord| match record.end {
        StepEnd::Exited(Exit::Status(126 | 127)) => None,
        _ => Some(record.end.is_success()),
    };
    // Those before it of the same question in the same step, the last one first.
    let in_step = steps.iter().enumerate().rev().take_while(|(_, other)| other.step == record.step);
    let of_same = in_step.filter(|(_, other)| other.check == record.check).take(2);
    let earlier: Vec<(usize, bool)> =
        of_same.map(|(index, other)| (index, says(other) == says(&record))).collect();
    let is_repeated = is_watched && earlier.first().is_some_and(|(_, is_same)| *is_same);
    let is_full = is_watched && steps.len() > RECORDS_MAX;
    if let Some((last, _)) = earlier.first()
        && (is_full || is_repeated && earlier.get(1).is_some_and(|(_, is_same)| *is_same))
    {
        steps.remove(*last);
    }
    steps.push(record);
    !is_repeated && !is_full
}

/// What ended too late is out of time, whatever it says: this process, or the machine, may have stood still.
fn ended_in_time(end: StepEnd, until: Duration, at: Duration) -> StepEnd {
    match end {
        StepEnd::Exited(_) if is_late(at, until) => StepEnd::TimedOut,
        end => end,
    }
}

fn is_late(at: Duration, until: Duration) -> bool {
    at.saturating_sub(until) > SEEN_WITHIN
}

/// How a question ended that had to end by `until`, while a service is watched. One that hangs is a service that is down, however long
/// it takes to end it; what this process did not see in time is nobody's fault.
pub(super) fn seen_in_time(end: StepEnd, until: Duration, seen_at: Option<Duration>) -> StepEnd {
    let stood_still =
        seen_at.is_some_and(|at| is_late(at, until)) && matches!(end, StepEnd::Exited(_) | StepEnd::TimedOut);
    if stood_still { StepEnd::Unseen } else { end }
}

/// A healthcheck that succeeded and has not printed what it has to has said no.
pub(super) fn with_output(mut ran: Ran, expected: Option<&ExpectedOutput>) -> Ran {
    let Some(expected) = expected.filter(|_| ran.end.is_success()) else { return ran };
    let why = match ran.stdout.left_out {
        0 => expected.why_not(&ran.stdout.head),
        _ => Some("the output is too long to be compared".to_owned()),
    };
    if let Some(why) = why {
        ran.end = StepEnd::Exited(Exit::Status(1));
        ran.stderr.add_line(&why);
    }
    ran
}

/// The machine asks only for what there is.
pub(super) fn no_such_script() -> Ran {
    let message = "there is no such script".to_owned();
    Ran::silent(StepEnd::Failed(Trouble { kind: TroubleKind::Start, message }))
}

/// The last line with anything in it that a script printed.
fn last_line(record: &StepRecord) -> Option<String> {
    record.stdout.last_line().or_else(|| record.stderr.last_line())
}

fn log_record(record: &StepRecord) {
    let (step, attempt, seconds) = (record.asker(), record.attempt, record.took.as_secs_f64());
    let seconds = format_args!("{seconds:.3} s");
    match &record.end {
        end if end.is_success() => tracing::info!("{step}: ok, {seconds}"),
        StepEnd::Exited(exit) if record.step.is_healthcheck() || record.step == Step::Select => {
            tracing::info!("{step}: {exit}, {seconds}");
        }
        StepEnd::Failed(trouble) if trouble.kind.may_pass() => {
            tracing::warn!("{step}: {}, try {attempt}, {seconds}", trouble.message);
        }
        end => tracing::error!("{step}: {end}, {seconds}"),
    }
    for (name, captured) in [("stdout", &record.stdout), ("stderr", &record.stderr)] {
        if !captured.is_empty() {
            tracing::debug!("{step}: {name}: {:?}", captured.last_lines(20).0.join("\n"));
        }
    }
}

pub(super) fn local_command(assignment: &Assignment, step: Step, workplace: &Path) -> Command {
    let number = step.healthcheck_number().unwrap_or_default();
    let step = assignment.pass_step.then(|| format!("--step={number}"));
    let command = assignment.healthcheck.command(workplace, step.as_slice());
    let mut command = at_work(command, assignment, workplace);
    command.env("PISAURA_STEP", number.to_string());
    command
}

/// In the working folder, with the case's variables.
pub(super) fn at_work(mut command: Command, assignment: &Assignment, workplace: &Path) -> Command {
    command.current_dir(workplace);
    command.envs(assignment.env.iter().map(|(name, value)| (name, value)));
    command
}
