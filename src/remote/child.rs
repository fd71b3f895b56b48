//! A process of this machine, in a process group of its own, run to its end or to its limit. Starts and ends processes.

use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::fatebook::Redactor;
use crate::machine::{Exit, Recorder, StepEnd, Stream, Trouble, TroubleKind};

use super::supervisor::Supervised;
use super::{Limit, Ran, Watcher};

/// How long the end of a process's output may come after its own end: a child that it left may hold the pipe for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(200);
/// How long a process that was asked to end has until it is killed.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// Runs the command, its standard input empty, and ends its whole process group with it.
pub fn run(command: Command, limit: Limit<'_>, redactor: &Redactor, watcher: Watcher<'_>) -> Ran {
    run_with(command, Stdio::null(), &mut drop, limit, redactor, watcher)
}

/// The same with this standard input; `started` gets our end of it once the process was started.
pub(super) fn run_with(
    mut command: Command,
    input: Stdio,
    started: &mut dyn FnMut(Option<ChildStdin>),
    limit: Limit<'_>,
    redactor: &Redactor,
    watcher: Watcher<'_>,
) -> Ran {
    let program = command.get_program().to_string_lossy().into_owned();
    command.process_group(0).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Should we die, it ends with us.
    let supervised = Supervised::begins(&mut command);
    let begun = spawn(&mut command, limit).and_then(|child| {
        let pid = Pid::from_child(&child);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(ended) => Ok((child, pid, ended)),
            Err(error) => {
                let mut child = child;
                let _ = kill_process_group(pid, Signal::KILL);
                let _ = child.wait();
                Err(error.into())
            }
        }
    });
    let (mut child, pid, ended) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            let advice = match error.kind() {
                ErrorKind::PermissionDenied => ": is it executable? (chmod +x)",
                ErrorKind::NotFound => {
                    ": is the interpreter in its first line there, and without a carriage return?"
                }
                _ if error.raw_os_error() == Some(8) => {
                    ": a script begins with a line that names its interpreter, as #!/bin/sh"
                }
                _ => "",
            };
            let message = format!("cannot start `{program}`: {error}{advice}");
            return Ran::silent(StepEnd::Failed(Trouble { kind: TroubleKind::Start, message }));
        }
    };
    supervised.leads(pid);
    started(child.stdin.take());
    let mut output = Output {
        stdout: child.stdout.take(),
        stderr: child.stderr.take(),
        out: Recorder::new(redactor.longest()),
        err: Recorder::new(redactor.longest()),
    };
    let mut asked = |deadline: Instant, interrupt: Option<super::Interrupt>| -> Woken {
        loop {
            // A flood of output is always ready, and must not keep the limit from being seen.
            let late = Instant::now() >= deadline;
            let woken = output.wait(&ended, deadline, interrupt.as_ref(), watcher);
            if late && woken == Woken::Output {
                return Woken::TimedOut;
            }
            if woken != Woken::Output {
                return woken;
            }
        }
    };
    let woken = asked(limit.until, limit.interrupt.cloned());
    let seen_at = Some(super::time_since_boot());
    if woken != Woken::Ended {
        let _ = kill_process_group(pid, Signal::TERM);
        asked(Instant::now() + TERM_GRACE, None);
    }
    // The leader is not waited for yet, so its number, which is the group's, cannot be another's already.
    let drained = Instant::now() + OUTPUT_GRACE;
    while output.is_open() && Instant::now() < drained && output.wait_output(drained, watcher) {}
    let _ = kill_process_group(pid, Signal::KILL);
    let end = match (woken, child.wait()) {
        (Woken::Ended, Ok(status)) => StepEnd::Exited(exit_of(status)),
        (Woken::Ended, Err(error)) => {
            let message = format!("cannot learn how `{program}` ended: {error}");
            StepEnd::Failed(Trouble { kind: TroubleKind::Start, message })
        }
        (Woken::Interrupted, _) => StepEnd::Interrupted,
        _ => StepEnd::TimedOut,
    };
    let clean = |text: &str| redactor.clean(text);
    Ran { end, stdout: output.out.finish(clean), stderr: output.err.finish(clean), seen_at }
}

/// Between two tries at a program that another thread's child holds open for writing, until it becomes what it is to be.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Starts a process. A file that was just written is busy for as long as a child that was begun meanwhile has not let go of it.
fn spawn(command: &mut Command, limit: Limit<'_>) -> std::io::Result<Child> {
    loop {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && !limit.left().is_zero() => {
                std::thread::sleep(BUSY_PAUSE);
            }
            result => return result,
        }
    }
}

pub(super) fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Status(code),
        (None, signal) => {
            let number = signal.unwrap_or_default();
            let name = crate::machine::signal_name(number);
            Exit::Signal(name.map_or_else(|| number.to_string(), str::to_owned))
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Woken {
    Ended,
    Interrupted,
    TimedOut,
    Output,
}

struct Output {
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    out: Recorder,
    err: Recorder,
}

impl Output {
    fn is_open(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }

    /// Waits for output, the end of the process, an interrupt or the deadline, whichever is first.
    fn wait(
        &mut self,
        ended: &impl AsFd,
        deadline: Instant,
        interrupt: Option<&super::Interrupt>,
        watcher: Watcher<'_>,
    ) -> Woken {
        let ready = {
            let mut descriptors = vec![PollFd::new(ended, PollFlags::IN)];
            let places = (
                interrupt.map(|interrupt| push(&mut descriptors, interrupt)),
                self.stdout.as_ref().map(|pipe| push(&mut descriptors, pipe)),
                self.stderr.as_ref().map(|pipe| push(&mut descriptors, pipe)),
            );
            if !wait_for(&mut descriptors, deadline) {
                return Woken::TimedOut;
            }
            let is_ready =
                |place: Option<usize>| place.is_some_and(|place| !descriptors[place].revents().is_empty());
            (!descriptors[0].revents().is_empty(), is_ready(places.0), is_ready(places.1), is_ready(places.2))
        };
        let (has_ended, interrupted, stdout, stderr) = ready;
        if interrupted {
            return Woken::Interrupted;
        }
        self.read(stdout, stderr, watcher);
        if has_ended { Woken::Ended } else { Woken::Output }
    }

    /// Waits for output until the deadline; false if none came.
    fn wait_output(&mut self, deadline: Instant, watcher: Watcher<'_>) -> bool {
        let (stdout, stderr) = {
            let mut descriptors = Vec::new();
            let out = self.stdout.as_ref().map(|pipe| push(&mut descriptors, pipe));
            let err = self.stderr.as_ref().map(|pipe| push(&mut descriptors, pipe));
            if !wait_for(&mut descriptors, deadline) {
                return false;
            }
            let is_ready =
                |place: Option<usize>| place.is_some_and(|place| !descriptors[place].revents().is_empty());
            (is_ready(out), is_ready(err))
        };
        self.read(stdout, stderr, watcher);
        true
    }

    fn read(&mut self, stdout: bool, stderr: bool, watcher: Watcher<'_>) {
        if stdout && !read_some(self.stdout.as_mut(), &mut self.out, Stream::Stdout, watcher) {
            self.stdout = None;
        }
        if stderr && !read_some(self.stderr.as_mut(), &mut self.err, Stream::Stderr, watcher) {
            self.stderr = None;
        }
    }
}

pub(super) fn push<'fd>(descriptors: &mut Vec<PollFd<'fd>>, descriptor: &'fd impl AsFd) -> usize {
    descriptors.push(PollFd::new(descriptor, PollFlags::IN));
    descriptors.len() - 1
}

/// Waits until one of them is ready; false if the deadline comes first.
pub(super) fn wait_for(descriptors: &mut [PollFd<'_>], deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(descriptors, Some(&timeout)) {
            Ok(0) if left.is_zero() => return false,
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
}

/// Reads what is there; false at the end of the stream.
fn read_some(
    pipe: Option<&mut impl Read>,
    recorder: &mut Recorder,
    stream: Stream,
    watcher: Watcher<'_>,
) -> bool {
    let Some(pipe) = pipe else { return false };
    let mut buffer = [0; 16 * 1024];
    match pipe.read(&mut buffer) {
        Ok(0) => false,
        Ok(count) => {
            recorder.push(&buffer[..count]);
            watcher(stream, &buffer[..count]);
            true
        }
        Err(error) => error.kind() == ErrorKind::Interrupted,
    }
}
