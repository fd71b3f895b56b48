//! Hands: on hosts over SSH, and on processes of this machine. Touches the network and starts processes.
//!
//! [`Remote`] is what can be done on a host; [`ssh::SshHost`] does it, by the protocol of `host`. [`child::run`] runs a process here. Both run one
//! command within a [`Limit`] and say how it ended; a script's exit status is an answer, a [`Trouble`] is what kept us
//! from getting one.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::machine::{Captured, StepEnd, Stream, Trouble};

mod agent_relay;
pub mod child;
mod companion;
mod connection;
mod controller;
mod exchange;
mod fetch;
mod files;
mod here;
mod host;
mod interrupt;
mod known_hosts;
mod line;
mod login;
mod own;
mod quote;
mod script;
mod spare;
pub mod ssh;
mod supervisor;
mod watchdog;

pub use companion::Companion;
pub use controller::{is_alive, own_controller};
pub use fetch::fetch;
pub use interrupt::Interrupt;
pub use login::{Login, Target, own_user};
pub use quote::quote;
pub use script::{Arming, Healing, HostCommand, HostScript, Place, Role};
pub use supervisor::supervise;

/// Until when something may go on, and what may end it before.
#[derive(Clone, Copy, Debug)]
pub struct Limit<'a> {
    /// The last moment.
    pub until: Instant,
    /// An interrupt that ends it, if it may be interrupted.
    pub interrupt: Option<&'a Interrupt>,
}

impl<'a> Limit<'a> {
    /// Ends after `time`, or with the interrupt.
    pub fn within(time: Duration, interrupt: Option<&'a Interrupt>) -> Self {
        Self { until: Instant::now() + time, interrupt }
    }

    /// The same, but not later than `time` from now.
    pub fn at_most(self, time: Duration) -> Self {
        Self { until: self.until.min(Instant::now() + time), ..self }
    }

    /// What is left of it.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Whether it was interrupted.
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.is_some_and(Interrupt::is_raised)
    }
}

/// The time since this machine was started, by a clock that goes on while it sleeps and never jumps.
pub fn time_since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

/// Sees what a process prints while it prints it: raw bytes, cut anywhere, secrets included.
pub type Watcher<'a> = &'a mut dyn FnMut(Stream, &[u8]);

/// How a command went.
#[derive(Clone, Debug)]
pub struct Ran {
    /// How it ended.
    pub end: StepEnd,
    /// What it printed on standard output.
    pub stdout: Captured,
    /// What it printed on standard error.
    pub stderr: Captured,
    /// When it was seen that it has ended, or that its time is up, by [`time_since_boot`]; where that matters.
    pub seen_at: Option<Duration>,
}

impl Ran {
    /// A command that printed nothing, or was not even started.
    pub fn silent(end: StepEnd) -> Self {
        Self { end, stdout: Captured::default(), stderr: Captured::default(), seen_at: None }
    }
}

/// A file to be brought to a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Parcel {
    /// Where it lies here.
    pub source: std::path::PathBuf,
    /// Its path there: absolute, or a name in the folder of our own.
    pub destination: String,
}

impl Parcel {
    /// The name that it has in the folder of our own.
    pub fn name(&self) -> String {
        ssh::name_in_folder(&self.destination)
    }
}

/// What a case needs on its host before anything is broken there.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// The files.
    pub parcels: &'a [Parcel],
    /// The commands, what heals the host first: each is proven to be able to begin there.
    pub scripts: Vec<&'a HostScript>,
}

/// What is left of ours on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    Clean,
    /// What another executor of the same run has there.
    Shared,
    /// Something that heals it, or will: nothing was taken.
    Dirty,
}

/// What can be done on a host.
pub trait Remote {
    /// Connects if need be, sees that nobody else has the host, brings the files there with mode 0755 (those that are there
    /// already are not sent again), and proves that the commands can begin.
    fn prepare(&mut self, job: &Job<'_>, limit: Limit<'_>) -> Result<(), StepEnd>;

    /// Leaves there what heals the host, and arms its dead man's switch, for this command that breaks it; runs nothing of it yet.
    fn arm(&mut self, script: &HostScript, limit: Limit<'_>, watcher: Watcher<'_>) -> Ran;

    /// Runs a command there, on a connection that is opened anew if the last one was lost.
    fn run(&mut self, script: &HostScript, limit: Limit<'_>, watcher: Watcher<'_>) -> Ran;

    /// Runs what heals the host once more, on a new connection; what it needs of these files is brought where it is not there.
    fn heal_again(
        &mut self,
        script: &HostScript,
        parcels: &[Parcel],
        limit: Limit<'_>,
        watcher: Watcher<'_>,
    ) -> Ran;

    /// The command by which a person runs, from here, what was left there to heal the host.
    fn heal_command(&self) -> Option<String>;

    /// Takes everything of ours from the host.
    fn clean_up(&mut self, limit: Limit<'_>) -> Result<Left, Trouble>;

    /// Forgets the connection, so that the next command opens a new one.
    fn disconnect(&mut self);
}

/// A command of this machine that proves of another one that it can begin: that its text, or the file that it runs, can be read by
/// its shell or interpreter. It says why not on standard error, and runs nothing of it.
pub fn check_here(step: &str, text: Option<&str>, file: Option<&std::path::Path>) -> std::process::Command {
    let file = file.map(|file| file.display().to_string());
    let mut command = std::process::Command::new("/bin/sh");
    command.arg("-c").arg(host::check_here(step, text, file.as_deref()));
    command
}

/// Sixteen digits that nobody can guess or meet by chance. Fails, saying why, if this machine gives no random bytes.
pub fn random_hex() -> Result<String, String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| format!("this machine gives no random bytes: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Keeps what this process has in memory, as passwords, from other processes of its user and from core dumps. Its children are not
/// concerned. Where it cannot be done, nothing else fails.
pub fn protect_memory() {
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}
