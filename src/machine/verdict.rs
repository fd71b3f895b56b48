//! How a step can end, what that says, and how a case can end. Owns the verdicts and their order. Pure data.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One of the things done in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Step {
    /// Is the service well before we touch it?
    Before,
    /// Both scripts are brought to the host.
    Prepare,
    /// Is this failure one for this host, as things are now?
    Select,
    /// What heals is left on all hosts of a case that has several, before the first of them is broken.
    Arm,
    /// Break the host.
    Induce,
    /// Did the failure take hold?
    Verify,
    /// Is the case to be stopped?
    StopIf,
    /// Does the service still work?
    During,
    /// Is the failure still in force?
    Still,
    /// Heal the host.
    Revert,
    /// Is it well again?
    After,
    /// What has become of the workload's writes?
    Workload,
}

impl Step {
    /// All of them. This is the order in which they are done, but for a failure with `only_if`: that is asked first.
    pub const ALL: [Self; 12] = [
        Self::Before,
        Self::Prepare,
        Self::Select,
        Self::Arm,
        Self::Induce,
        Self::Verify,
        Self::StopIf,
        Self::During,
        Self::Still,
        Self::Revert,
        Self::After,
        Self::Workload,
    ];

    /// The number of the step of a case's life (1 to 5) that it belongs to.
    pub fn number(self) -> u8 {
        match self {
            Self::Before | Self::Select => 1,
            Self::Prepare | Self::Arm | Self::Induce | Self::Verify => 2,
            Self::StopIf | Self::During | Self::Still => 3,
            Self::Revert => 4,
            Self::After | Self::Workload => 5,
        }
    }

    /// The number that a healthcheck gets as `--step=N`.
    pub fn healthcheck_number(self) -> Option<u8> {
        match self {
            Self::Before => Some(1),
            Self::During => Some(2),
            Self::After => Some(3),
            _ => None,
        }
    }

    /// Whether it is done on the case's hosts.
    pub fn is_on_hosts(self) -> bool {
        matches!(
            self,
            Self::Prepare
                | Self::Select
                | Self::Arm
                | Self::Induce
                | Self::Verify
                | Self::Still
                | Self::Revert
        )
    }

    /// Whether it is one of the healthchecks.
    pub fn is_healthcheck(self) -> bool {
        self.healthcheck_number().is_some()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Before => "healthcheck before",
            Self::Prepare => "prepare",
            Self::Select => "only if",
            Self::Arm => "arming",
            Self::Induce => "inducer",
            Self::Verify => "verify",
            Self::StopIf => "stop_if",
            Self::During => "healthcheck during",
            Self::Still => "still",
            Self::Revert => "reverter",
            Self::After => "healthcheck after",
            Self::Workload => "workload",
        })
    }
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// With this status.
    Status(i32),
    /// By this signal: its name without `SIG`, or its number.
    Signal(String),
}

impl Exit {
    /// Whether it ended with status 0.
    pub fn is_success(&self) -> bool {
        *self == Self::Status(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // What a shell says of a command that a signal ended.
            Self::Status(status @ 129..=192) => match signal_name(status - 128) {
                Some(name) => write!(formatter, "exit status {status} (SIG{name})"),
                None => write!(formatter, "exit status {status}"),
            },
            Self::Status(status) => write!(formatter, "exit status {status}"),
            Self::Signal(name) if name.starts_with(|c: char| c.is_ascii_digit()) => {
                write!(formatter, "ended by signal {name}")
            }
            Self::Signal(name) => write!(formatter, "ended by SIG{name}"),
        }
    }
}

/// The name of a signal of Linux, without `SIG`; the same on all of its machines that Pisaura runs on.
pub fn signal_name(number: i32) -> Option<&'static str> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    NAMES.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
}

/// Why a step could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Its kind.
    pub kind: TroubleKind,
    /// What happened, where, and what to do.
    pub message: String,
}

/// The kinds of trouble; they name the errors in JUnit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TroubleKind {
    /// The host could not be reached, or the connection broke. May pass: worth another try.
    Connection,
    /// The host is not the one that is known by this name, or not known.
    HostKey,
    /// The host does not let us in.
    Login,
    /// A script could not be brought to the host.
    Upload,
    /// What heals the host could not be left there, so the inducer was not begun.
    Arming,
    /// Another case has the host, of this run or of another.
    HostBusy,
    /// Another machine answers than the one that was broken. May pass.
    OtherMachine,
    /// The Mesos agent that the case runs on is the host that it would break.
    OwnHost,
    /// A process could not be started.
    Start,
    /// A step took longer than its time limit.
    Timeout,
    /// Whether the failure is one for this host could not be asked.
    Select,
    /// The inducer did not end with status 0.
    Inducer,
    /// The failure did not take hold.
    Verify,
    /// The failure ended by itself.
    Still,
    /// A healthcheck gave no answer.
    Healthcheck,
    /// The workload did not work.
    Workload,
    /// No room to run.
    Cluster,
}

impl TroubleKind {
    /// Whether trying the same again may help.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Connection | Self::OtherMachine)
    }
}

impl fmt::Display for TroubleKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Connection => "ConnectionFailed",
            Self::HostKey => "HostKeyRefused",
            Self::Login => "LoginFailed",
            Self::Upload => "UploadFailed",
            Self::Arming => "ArmingFailed",
            Self::HostBusy => "HostBusy",
            Self::OtherMachine => "OtherMachine",
            Self::OwnHost => "AgentIsHost",
            Self::Start => "StartFailed",
            Self::Timeout => "TimeLimit",
            Self::Select => "OnlyIfFailed",
            Self::Inducer => "InducerFailed",
            Self::Verify => "NotInduced",
            Self::Still => "NotHeld",
            Self::Healthcheck => "HealthcheckFailed",
            Self::Workload => "WorkloadFailed",
            Self::Cluster => "ClusterFailed",
        })
    }
}

/// What a host that is being healed tells of what came before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostRecord {
    /// What it has written down of its inducer.
    pub induced: Induced,
    /// When that ended, by the clock that the case goes by, if the host tells.
    pub ended_at: Option<Duration>,
    /// That has ended well, and nobody knows when.
    pub ended_sometime: bool,
    /// It was started anew since it was armed.
    pub rebooted: bool,
    /// What the inducer had left running may have stood still, or have ended, because nobody took what it printed.
    pub held_up: bool,
}

/// What a host has written down of an inducer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Induced {
    /// Not that it was begun; or what it has written down is gone.
    #[default]
    Unknown,
    /// That it was begun, and not that it ended.
    Begun,
    /// The same, and the machine was started anew since.
    Rebooted,
    /// How it ended.
    Ended(i32),
}

/// Who healed a host in a reverter's place, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealedBy {
    /// Its dead man's switch; else another run, an earlier attempt, or a person.
    pub switch: bool,
    /// How long after the host was armed, by its own clock; `None` if it does not say.
    pub after: Option<Duration>,
    /// How long before the host was asked, by its own clock, at the most; nothing if it was not before; `None` if it does not say.
    #[serde(default)]
    pub ago: Option<Duration>,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepEnd {
    /// Its process ended by itself.
    Exited(Exit),
    /// The reverter had nothing left to do: the host's dead man's switch had healed it, or somebody else.
    Healed(HealedBy),
    /// The inducer was not begun: `only_if`, asked once more, ended with this status.
    Declined(i32),
    /// Somebody else has the host: why, and for how long at most.
    Busy {
        /// Who has it.
        message: String,
        /// When it will be free at the latest; nothing if that cannot be said.
        within: Duration,
    },
    /// It took longer than its limit, and was ended.
    TimedOut,
    /// What became of it was seen too late to say anything of it: whoever watched it stood still.
    Unseen,
    /// It could not be carried out.
    Failed(Trouble),
    /// An interrupt came, and it was ended.
    Interrupted,
}

impl StepEnd {
    /// Whether the step did what it is for.
    pub fn is_success(&self) -> bool {
        match self {
            Self::Exited(exit) => exit.is_success(),
            Self::Healed(_) => true,
            _ => false,
        }
    }

    /// Whether it is a no: a status other than 0 that is the script's own.
    pub fn is_no(&self) -> bool {
        matches!(self, Self::Exited(Exit::Status(status)) if (1..NO_ANSWER).contains(status))
    }

    /// Whether asking a healthcheck again may bring another answer.
    pub fn may_change(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Unseen | Self::Exited(_))
            && !matches!(self, Self::Exited(Exit::Status(126 | 127)))
    }
}

/// By this status and those above it a shell says that a program could not be run, or that a signal ended it.
const NO_ANSWER: i32 = 126;

impl fmt::Display for StepEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(exit) if exit.is_success() => formatter.write_str("ok"),
            Self::Exited(exit) => exit.fmt(formatter),
            Self::Healed(by) if by.switch => {
                formatter.write_str("ok, the host had healed by its dead man's switch")
            }
            Self::Healed(_) => formatter.write_str("ok, somebody else had healed the host"),
            Self::Declined(status) => {
                write!(formatter, "not begun: only_if ended with {}", Exit::Status(*status))
            }
            Self::Busy { message, .. } => formatter.write_str(message),
            Self::TimedOut => formatter.write_str("time limit"),
            Self::Unseen => formatter.write_str("seen too late"),
            Self::Failed(trouble) => formatter.write_str(&trouble.message),
            Self::Interrupted => formatter.write_str("interrupted"),
        }
    }
}

/// How a case ended; from good to bad, but for `Skipped`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// Not run, or not to the end, by an interrupt, by failfast or because the book says so, or no failure for this host.
    Skipped,
    /// Every step went as it should.
    Survived,
    /// The service was not well before it was touched.
    Unfit,
    /// The service did not stand the failure.
    Succumbed,
    /// The service was not well again after the revert.
    NotRecovered,
    /// A step could not be carried out.
    Botched,
    /// The reverter did not succeed: the host may still be broken.
    Unreverted,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Skipped => "skipped",
            Self::Survived => "survived",
            Self::Unfit => "unfit",
            Self::Succumbed => "succumbed",
            Self::NotRecovered => "not recovered",
            Self::Botched => "botched",
            Self::Unreverted => "unreverted",
        })
    }
}

/// One thing that a case brought to light; a case can have several, and none hides another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The verdict that it alone would make.
    pub verdict: Verdict,
    /// The name of it in reports: `UnhealthyDuring`, `LoginFailed`, `Unreverted`.
    pub kind: String,
    /// What happened, in a sentence.
    pub message: String,
    /// The check that it is of, if it is not the healthcheck's or the case's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
}

impl Finding {
    /// A finding of the case as a whole.
    pub fn new(verdict: Verdict, kind: &str, message: impl Into<String>) -> Self {
        Self { verdict, kind: kind.to_owned(), message: message.into(), check: None }
    }
}

/// The verdict of several findings: the worst. Without any, the case survived.
pub fn worst(findings: &[Finding]) -> Verdict {
    findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Survived)
}
