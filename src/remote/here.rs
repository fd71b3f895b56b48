//! Shells of this machine that run Pisaura's texts, as a host's do over SSH: for failures that are made from here. Starts processes.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::machine::{Exit, Trouble, TroubleKind};

use super::Limit;
use super::child::exit_of;
use super::connection::Woken;
use super::exchange::{ASIDE, Exchange, Over};
use super::host::{NOT_OURS, Whole, loader};
use super::line::{Line, Wait};
use super::login::home;
use super::own::{Answer, Brought};
use super::script::Marks;

/// Variables by which a CI server finds what a job has left running, to end it: the switch that heals would be among that.
const JOB_VARIABLES: [(&str, &str); 5] = [
    ("BUILD_ID", "dontKillMe"),
    ("JENKINS_NODE_COOKIE", "dontKillMe"),
    ("JENKINS_SERVER_COOKIE", "dontKillMe"),
    ("RUNNER_TRACKING_ID", "0"),
    ("VSTS_PROCESS_LOOKUP_ID", "0"),
];
/// A pipe holds 64 KiB. One with nearly as much in it may have been full, and whoever printed more was kept from going on.
const FULL_BYTES: usize = 60 * 1024;

/// The pipes of a shell.
struct Pipes {
    input: Pipe,
    output: [Pipe; 2],
}

/// One of them, unless it is over. Only one thread has them at a time.
struct Pipe(Mutex<Option<OwnedFd>>);

impl Pipe {
    fn new(descriptor: Option<impl Into<OwnedFd>>) -> Self {
        Self(Mutex::new(descriptor.map(Into::into)))
    }

    fn open(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A shell that runs a text.
pub(super) struct HereLine {
    pipes: Arc<Pipes>,
    /// Until it was waited for.
    child: Option<Child>,
}

impl HereLine {
    /// Starts a shell that waits for a text, in a process group of its own. Fails with `Start`.
    pub(super) fn begin(shown: &str) -> Result<Self, Trouble> {
        let failed = |error: &dyn std::fmt::Display| Trouble {
            kind: TroubleKind::Start,
            message: format!("{shown}: cannot start a shell: {error}"),
        };
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(loader("/bin/sh")).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PISAURA_"))
        {
            command.env_remove(name);
        }
        for (name, value) in JOB_VARIABLES {
            if std::env::var_os(name).is_some() {
                command.env(name, value);
            }
        }
        // As after a login.
        command.current_dir(Some(home()).filter(|home| home.is_dir()).unwrap_or_else(|| "/".into()));
        let mut child = command.spawn().map_err(|error| failed(&error))?;
        let pipes = Pipes {
            input: Pipe::new(child.stdin.take()),
            output: [Pipe::new(child.stdout.take()), Pipe::new(child.stderr.take())],
        };
        let line = Self { pipes: Arc::new(pipes), child: Some(child) };
        for pipe in std::iter::once(&line.pipes.input).chain(&line.pipes.output) {
            if let Some(pipe) = pipe.open().as_ref() {
                rustix::io::ioctl_fionbio(pipe, true).map_err(|error| failed(&error))?;
            }
        }
        Ok(line)
    }

    /// Who waits for it.
    pub(super) fn waiter<'a>(&self, limit: Limit<'a>, shown: &'a str) -> HereWaiter<'a> {
        HereWaiter { pipes: Arc::clone(&self.pipes), limit, shown }
    }

    /// How the shell ended, all of whose output is over. `None` if it has not within a moment.
    pub(super) fn exit(&mut self) -> Option<Exit> {
        let child = self.child.as_mut()?;
        let ended = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).ok()?;
        let timeout = Timespec { tv_sec: ASIDE.as_secs() as i64, tv_nsec: 0 };
        let _ = poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&timeout));
        let exit = child.try_wait().ok()?.map(exit_of);
        self.child = self.child.take().filter(|_| exit.is_none());
        exit
    }

    /// Whether all that was printed since found room.
    pub(super) fn had_room(&mut self) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        let mut drain = |stream| {
            let mut count = 0;
            // One that goes on printing fills it again as fast as it is read.
            while count < FULL_BYTES
                && let Ok(more @ 1..) = self.receive(stream, &mut buffer)
            {
                count += more;
            }
            count < FULL_BYTES
        };
        drain(0) & drain(1)
    }
}

/// A shell that still runs when nobody is interested in it any more is waited for by nobody else.
impl Drop for HereLine {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            return;
        }
        let _ = std::thread::Builder::new().name("reap".to_owned()).spawn(move || child.wait());
    }
}

impl Line for HereLine {
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = match self.pipes.input.open().as_ref() {
            Some(pipe) => rustix::io::write(pipe, bytes),
            None => Err(Errno::PIPE),
        };
        match sent {
            // One that reads no more has ended, or soon will; how, its status tells.
            Err(Errno::PIPE) => Ok(bytes.len()),
            Err(Errno::INTR) => Err(io::ErrorKind::WouldBlock.into()),
            sent => Ok(sent?),
        }
    }

    fn end_input(&mut self) -> io::Result<()> {
        self.pipes.input.open().take();
        Ok(())
    }

    fn receive(&mut self, stream: i32, buffer: &mut [u8]) -> io::Result<usize> {
        let pipe = &self.pipes.output[usize::from(stream != 0)];
        let read = match pipe.open().as_ref() {
            Some(pipe) => rustix::io::read(pipe, buffer),
            None => return Ok(0),
        };
        match read {
            Err(Errno::INTR) => Err(io::ErrorKind::WouldBlock.into()),
            Ok(0) => {
                pipe.open().take();
                Ok(0)
            }
            read => Ok(read?),
        }
    }

    fn is_over(&self) -> bool {
        self.pipes.output.iter().all(|pipe| pipe.open().is_none())
    }
}

/// Waits for the pipes of a shell.
pub(super) struct HereWaiter<'a> {
    pipes: Arc<Pipes>,
    limit: Limit<'a>,
    shown: &'a str,
}

impl Wait for HereWaiter<'_> {
    fn limit(&self) -> Limit<'_> {
        self.limit
    }

    fn shown(&self) -> &str {
        self.shown
    }

    fn wait(&self, until: Instant) -> Woken {
        let until = until.min(self.limit.until);
        let (input, output) = (self.pipes.input.open(), self.pipes.output.each_ref().map(Pipe::open));
        let interrupt = self.limit.interrupt;
        let mut descriptors: Vec<PollFd<'_>> =
            interrupt.iter().map(|interrupt| PollFd::new(*interrupt, PollFlags::IN)).collect();
        descriptors.extend(input.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        descriptors.extend(
            output.iter().filter_map(|pipe| pipe.as_ref()).map(|pipe| PollFd::new(pipe, PollFlags::IN)),
        );
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            match poll(&mut descriptors, Some(&timeout)) {
                Err(Errno::INTR) => {}
                Ok(0) if !left.is_zero() => {}
                Ok(0) | Err(_) => return Woken::TimedOut,
                Ok(_) if interrupt.is_some() && !descriptors[0].revents().is_empty() => {
                    return Woken::Interrupted;
                }
                Ok(_) => return Woken::Socket,
            }
        }
    }
}

/// Puts bytes into a new file of this name in our folder.
pub(super) fn bring(bytes: &[u8], folder: &str, name: &str, shown: &str) -> Result<Brought, Trouble> {
    let write = || -> io::Result<()> {
        let path = Path::new(folder).join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o700).open(path)?;
        file.write_all(bytes)
    };
    write().map(|()| Brought::BySftp).map_err(|error| Trouble {
        kind: TroubleKind::Upload,
        message: format!("{shown}: cannot write a file in {folder}: {error}"),
    })
}

/// Runs one of our own texts. Fails unless all of it ran to its end.
pub(super) fn ask(text: &Whole, limit: Limit<'_>, shown: &str) -> Result<Answer, Trouble> {
    let mut line = HereLine::begin(shown)?;
    let waiter = line.waiter(limit, shown);
    let framed = text.framed();
    let mut exchange = Exchange::new(framed.as_bytes(), 0);
    exchange.marks = Some(Marks::new(&text.token));
    exchange.answer = Some(Vec::new());
    let over = exchange.go_on(&mut line, &waiter, &mut |_, _| {}, Exchange::command_is_over)?;
    let trouble = |kind, what: String| Trouble { kind, message: format!("{shown}: {what}") };
    match over {
        Some(Over::Marked) => Ok(exchange.into_answer(&text.token)),
        Some(Over::Closed) => {
            let how = match line.exit() {
                Some(Exit::Status(NOT_OURS)) | None => "not to its end".to_owned(),
                Some(exit) => exit.to_string(),
            };
            let said = exchange.into_answer(&text.token).stderr;
            let said =
                said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason was given");
            Err(trouble(
                TroubleKind::Upload,
                format!("a shell of this machine ended too early ({how}): {said}"),
            ))
        }
        None if limit.is_interrupted() => Err(trouble(TroubleKind::Timeout, "interrupted".to_owned())),
        None => {
            Err(trouble(TroubleKind::Timeout, "a shell of this machine has not ended in time".to_owned()))
        }
    }
}
