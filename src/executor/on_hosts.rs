//! The steps of a case that are done on its hosts: on one, or on several, each by a thread of its own, and what all of them come to.

use crate::machine::{DirtyHost, HostRecord, Induced, worst_end, worst_record};

use super::assignment::HostWork;
use super::performer::Times;
use super::*;

/// A host of the case.
pub(super) struct Member {
    pub(super) host: SshHost,
    /// This case may have broken it, and has not healed it.
    pub(super) is_dirty: bool,
    /// What is known of its inducer: by its end, or as the host has written it down.
    induced: Option<HostRecord>,
    /// It was written down that it may be dirty.
    was_noted: bool,
    /// The command that heals it by hand, while it may be broken.
    heal: String,
}

/// A step on one host, and what came of it.
struct Done {
    place: usize,
    ran: Ran,
    /// What a person should know of it.
    notes: Vec<String>,
    /// When it was over, by [`time_since_boot`].
    at: Duration,
}

/// What a step on a host needs beside it.
#[derive(Clone, Copy)]
struct Doing<'a> {
    assignment: &'a Assignment,
    workplace: &'a Path,
    step: Step,
    attempt: u32,
    limit: Limit<'a>,
    redactor: &'a Redactor,
    observer: &'a Observer,
    live_output: bool,
}

impl Member {
    pub(super) fn new(host: SshHost) -> Self {
        Self { host, is_dirty: false, induced: None, was_noted: false, heal: String::new() }
    }
}

impl Performer<'_> {
    fn is_several(&self) -> bool {
        self.assignment.hosts.is_several()
    }

    /// Begins the case on each of its hosts. Fails, saying why, if that cannot be.
    pub(super) fn begin_on_hosts(&mut self) -> Result<(), String> {
        for (member, work) in self.members.iter_mut().zip(self.assignment.hosts.iter()) {
            member.host.begin_case(work.mark.as_ref())?;
            // Of several an earlier attempt may have healed some.
            let may_be_broken = !self.assignment.hosts.is_several() || work.mark.is_some();
            member.is_dirty = self.assignment.only_reverts && may_be_broken;
        }
        Ok(())
    }

    /// Has it written down that the hosts may be dirty from now on.
    pub(super) fn note_dirty(&mut self) -> Result<(), String> {
        let mut hosts = Vec::new();
        for (member, work) in self.members.iter_mut().zip(self.assignment.hosts.iter()) {
            if member.was_noted {
                // What is reverted is not armed again by the same name: it would be taken for reverted.
                member.host.begin_case(None)?;
            }
            (member.was_noted, member.induced) = (true, None);
            let mark = member.host.settle_mark();
            let heal = work.access.lasting.then(|| member.host.heal_command()).flatten().unwrap_or_default();
            member.heal.clone_from(&heal);
            // Several are dirty one by one, as they are armed.
            member.is_dirty = !self.assignment.hosts.is_several();
            hosts.push(DirtyHost { heal, mark });
        }
        self.notary.note(self.assignment.id, hosts, self.interrupt)
    }

    /// The hosts are healed, or were not broken.
    pub(super) fn all_reverted(&mut self) {
        for member in &mut self.members {
            member.is_dirty = false;
            member.heal.clear();
        }
        (self.observer)(RunEvent::Reverted { case: self.assignment.id, host: None });
    }

    /// The hosts that may be broken, with the command that heals each.
    pub(super) fn dirty_hosts(&self) -> Vec<(String, String)> {
        let works = self.members.iter().zip(self.assignment.hosts.iter());
        let dirty = works.filter(|(member, _)| member.is_dirty);
        dirty.map(|(member, work)| (work.access.target.shown.clone(), member.heal.clone())).collect()
    }

    /// What the hosts tell of their inducers and of themselves, if the last step has read it.
    pub(super) fn take_induced(&mut self) -> Option<HostRecord> {
        let mut is_new = false;
        for member in &mut self.members {
            if let Some(record) = member.host.take_induced() {
                // By the case's own clock; where the host does not tell, as it was seen.
                let seen = member.induced.and_then(|seen| seen.ended_at);
                let ended_at = record.ended_at.map(|at| at.saturating_sub(self.began)).or(seen);
                let ended_sometime =
                    record.induced == Induced::Ended(0) && !record.rebooted && ended_at.is_none();
                member.induced = Some(HostRecord { ended_at, ended_sometime, ..record });
                is_new = true;
            }
        }
        worst_record(self.members.iter().filter_map(|member| member.induced)).filter(|_| is_new)
    }

    /// For how long the first of the hosts that were cut off has said nothing by now.
    pub(super) fn take_silence(&mut self) -> Option<Duration> {
        Some(time_since_boot().saturating_sub(self.silent_since.take()?))
    }

    /// Does a step on the hosts that it concerns, records it, and answers with what all of it comes to.
    pub(super) fn perform_on_hosts(
        &mut self,
        step: Step,
        attempt: u32,
        limit: Limit<'_>,
        times: Times,
    ) -> StepEnd {
        let doing = Doing {
            assignment: self.assignment,
            workplace: self.workplace,
            step,
            attempt,
            limit,
            redactor: self.redactor,
            observer: self.observer,
            live_output: self.live_output,
        };
        let works: Vec<&HostWork> = self.assignment.hosts.iter().collect();
        let is_concerned = |member: &Member| step != Step::Revert || member.is_dirty;
        let concerned = self.members.iter_mut().zip(&works).enumerate();
        let concerned: Vec<_> = concerned.filter(|(_, (member, _))| is_concerned(member)).collect();
        let mut all = do_on_hosts(&doing, concerned);
        if step == Step::Prepare {
            self.refuse_one_machine_twice(&mut all);
        }
        let mut ends = Vec::new();
        let (mut is_cut_off, mut in_force_at) = (false, Duration::ZERO);
        for Done { place, ran, notes, at } in all {
            for message in notes {
                (self.observer)(RunEvent::Warning { message: self.redactor.clean(&message) });
            }
            let shown = works[place].access.target.shown.clone();
            let mut end = self.clean_end(ran.end);
            if let StepEnd::Healed(by) = &mut end {
                // Counted from when the host was asked, and wanted from when this try began.
                let before = self.members[place].host.sent_at().saturating_sub(times.began_at);
                by.ago = by.ago.map(|ago| ago.saturating_sub(before));
            }
            let end = self.in_time_on(&shown, step, end, times.until, at);
            let is_cut = matches!(&end, StepEnd::Failed(trouble) if trouble.kind == TroubleKind::Connection);
            let silence = self.members[place].host.take_silence().filter(|_| is_cut);
            is_cut_off |= silence.is_some();
            in_force_at = in_force_since(in_force_at, at, silence);
            self.keep(StepRecord {
                step,
                check: None,
                host: Some(shown.clone()).filter(|_| self.is_several()),
                attempt,
                began: times.began,
                took: at.saturating_sub(times.began_at),
                end: end.clone(),
                stdout: ran.stdout,
                stderr: ran.stderr,
            });
            self.see(place, step, &end, at);
            ends.push((shown, end));
        }
        if is_cut_off {
            self.silent_since = Some(in_force_at);
        }
        let worst = worst_end(&ends);
        if self.is_several() {
            self.hosts_ended = Some(ends);
        }
        worst
    }

    /// Of several hosts each may be broken, and healed, for itself.
    fn see(&mut self, place: usize, step: Step, end: &StepEnd, at: Duration) {
        if !self.is_several() {
            return;
        }
        let member = &mut self.members[place];
        let is_refused = match end {
            StepEnd::Failed(trouble) => trouble.kind == TroubleKind::Arming,
            end => matches!(end, StepEnd::Declined(_) | StepEnd::Busy { .. }),
        };
        match step {
            Step::Arm | Step::Induce if is_refused => {}
            Step::Revert if end.is_success() => {}
            Step::Arm => {
                member.is_dirty = true;
                return;
            }
            Step::Induce => {
                // A connection that was lost says nothing of it; the host may, later.
                let induced = if end.is_success() { Induced::Ended(0) } else { Induced::Unknown };
                let ended_at = end.is_success().then(|| at.saturating_sub(self.began));
                member.induced = Some(HostRecord { induced, ended_at, ..HostRecord::default() });
                return;
            }
            _ => return,
        }
        // It is healed, or what breaks it was not begun, and it may be another case's by now.
        member.is_dirty = false;
        member.heal.clear();
        (self.observer)(RunEvent::Reverted { case: self.assignment.id, host: Some(place) });
    }

    /// Two names may be one machine: each would wait for the other to be healed.
    fn refuse_one_machine_twice(&mut self, all: &mut [Done]) {
        let are_here = self.assignment.hosts.first().access.target.here.is_some();
        if !self.is_several() || are_here || all.iter().any(|done| !done.ran.end.is_success()) {
            return;
        }
        let machines: Vec<_> = self.members.iter_mut().map(|member| member.host.settle_mark()).collect();
        let shown: Vec<&str> =
            self.assignment.hosts.iter().map(|work| work.access.target.shown.as_str()).collect();
        for second in 1..machines.len() {
            let Some(first) = (0..second).find(|first| machines[*first].is_same_place(&machines[second]))
            else {
                continue;
            };
            all[second].ran.end = StepEnd::Failed(Trouble {
                kind: TroubleKind::HostBusy,
                message: format!(
                    "{} and {} are one machine, and a case breaks a machine once: let `on` name one of them",
                    shown[first], shown[second]
                ),
            });
        }
    }
}

/// From when all of a failure is in force: from when the last host was broken, or has said its last word.
fn in_force_since(others: Duration, ended_at: Duration, silence: Option<Duration>) -> Duration {
    others.max(ended_at.saturating_sub(silence.unwrap_or_default()))
}

/// One host is seen to by this thread, several by a thread for each. What panics there goes on here.
fn do_on_hosts(doing: &Doing<'_>, mut concerned: Vec<(usize, (&mut Member, &&HostWork))>) -> Vec<Done> {
    if concerned.len() <= 1 {
        return concerned
            .drain(..)
            .map(|(place, (member, work))| do_on_host(doing, place, member, work))
            .collect();
    }
    let log = tracing::dispatcher::get_default(Clone::clone);
    std::thread::scope(|scope| {
        let threads: Vec<_> = concerned
            .into_iter()
            .map(|(place, (member, work))| {
                let log = log.clone();
                let work = move || {
                    tracing::dispatcher::with_default(&log, || do_on_host(doing, place, member, work))
                };
                (place, std::thread::Builder::new().name("host".to_owned()).spawn_scoped(scope, work))
            })
            .collect();
        let done =
            |(place, thread): (usize, std::io::Result<std::thread::ScopedJoinHandle<'_, Done>>)| match thread
            {
                Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                Err(error) => {
                    let message = format!("cannot start a thread: {error}");
                    let end = StepEnd::Failed(Trouble { kind: TroubleKind::Start, message });
                    Done { place, ran: Ran::silent(end), notes: Vec::new(), at: time_since_boot() }
                }
            };
        threads.into_iter().map(done).collect()
    })
}

fn do_on_host(doing: &Doing<'_>, place: usize, member: &mut Member, work: &HostWork) -> Done {
    let Doing { assignment, step, attempt, limit, redactor, observer, live_output, workplace } = *doing;
    let shown = Some(work.access.target.shown.as_str()).filter(|_| assignment.hosts.is_several());
    let mut printer = LinePrinter::new(live_output, assignment.id, step, redactor, observer).of_host(shown);
    let mut watcher = |stream: Stream, bytes: &[u8]| printer.push(stream, bytes);
    let host = &mut member.host;
    let optional = |script: &Option<HostScript>,
                    host: &mut SshHost,
                    watcher: &mut dyn FnMut(Stream, &[u8])| {
        match script {
            Some(script) => host.run(script, limit, watcher),
            None => performer::no_such_script(),
        }
    };
    let ran = match step {
        Step::Prepare => {
            if attempt > 1 && !assignment.hosts.is_several() {
                host.disconnect();
            }
            let parcels = work.parcels_in(workplace);
            let end = match host.prepare(&Job { parcels: &parcels, scripts: work.scripts() }, limit) {
                Ok(()) => StepEnd::Exited(Exit::Status(0)),
                Err(_) if limit.is_interrupted() => StepEnd::Interrupted,
                Err(end) => end,
            };
            if let StepEnd::Busy { message, .. } = &end {
                let what = redactor.clean(message);
                observer(RunEvent::Waiting { case: assignment.id, what });
            }
            Ran::silent(end)
        }
        Step::Select => optional(&work.only_if, host, &mut watcher),
        Step::Arm => host.arm(&work.inducer, limit, &mut watcher),
        Step::Induce => host.run(&work.inducer, limit, &mut watcher),
        Step::Verify => optional(&work.verify, host, &mut watcher),
        Step::Still => optional(&work.still, host, &mut watcher),
        Step::Revert if attempt > 1 || assignment.only_reverts => {
            let parcels = work.parcels_in(workplace);
            host.heal_again(&work.reverter, &parcels, limit, &mut watcher)
        }
        Step::Revert => host.run(&work.reverter, limit, &mut watcher),
        // The others are done here.
        _ => performer::no_such_script(),
    };
    printer.finish();
    Done { place, ran, notes: member.host.take_notes(), at: time_since_boot() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_in_force_once_the_last_host_is_broken() {
        let check = |hosts: &[(u64, Option<u64>)], since: u64| {
            let seconds = Duration::from_secs;
            let found = hosts.iter().fold(Duration::ZERO, |found, (at, silence)| {
                in_force_since(found, seconds(*at), silence.map(seconds))
            });
            assert_eq!(found, seconds(since), "{hosts:?}");
        };
        check(&[(20, Some(4))], 16);
        // One was cut off at once, and is noticed after four seconds; the other one's inducer takes long.
        check(&[(14, Some(4)), (23, None)], 23);
        check(&[(14, Some(4)), (23, Some(4))], 19);
        check(&[(23, Some(4)), (14, None)], 19);
    }
}
