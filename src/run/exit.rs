//! The exit codes: what each means, by which the help texts tell of them, and which of them which face of the program uses.

use std::process::ExitCode;

/// Which door a run came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// A test target: libtest's exit codes.
    Harness,
    /// The program: exit codes that tell what kind of trouble there was.
    Program,
}

impl Face {
    /// The exit code where something went wrong: a test target has one for everything.
    pub(crate) fn trouble(self, kind: ExitKind) -> ExitCode {
        match self {
            Self::Program => kind.into(),
            Self::Harness => ExitKind::Failed.into(),
        }
    }
}

/// How a process of ours ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitKind {
    /// Nothing is amiss.
    Fine = 0,
    /// A service was unhealthy.
    Unhealthy = 1,
    /// A mistake in the command line, or in a book.
    Usage = 2,
    /// A case could not be carried out, or what is remembered cannot be read or written.
    Trouble = 3,
    /// A host may still be broken.
    Unreverted = 4,
    /// A case failed, as libtest says it.
    Failed = 101,
    /// A signal, or the stop file.
    Interrupted = 130,
}

impl From<ExitKind> for ExitCode {
    fn from(exit: ExitKind) -> Self {
        Self::from(exit as u8)
    }
}

impl ExitKind {
    /// The part of a help text that tells of exit codes, with what each means there.
    fn told(codes: &[(Self, &str)]) -> String {
        let told: Vec<String> =
            codes.iter().map(|(exit, meaning)| format!("{} {meaning}", *exit as u8)).collect();
        format!("Exit codes: {}", told.join(", "))
    }

    /// Of a test target.
    pub fn of_harness() -> String {
        Self::told(&[
            (Self::Fine, "all passed"),
            (Self::Failed, "a case failed"),
            (Self::Usage, "a mistake in the command line"),
            (Self::Interrupted, "interrupted"),
        ])
    }

    /// Of `pisaura run`.
    pub fn of_run() -> String {
        Self::told(&[
            (Self::Fine, "survived"),
            (Self::Unhealthy, "a service was unhealthy"),
            (Self::Usage, "a mistake in the command line or in a book"),
            (Self::Trouble, "a case could not be carried out"),
            (Self::Unreverted, "a host is left unreverted"),
            (Self::Interrupted, "interrupted"),
        ])
    }

    /// Of `pisaura check`.
    pub fn of_check() -> String {
        Self::told(&[
            (Self::Fine, "nothing is wrong"),
            (Self::Usage, "a mistake in the command line or in a book"),
            (Self::Trouble, "a host is not ready (with --connect)"),
            (Self::Interrupted, "interrupted"),
        ])
    }

    /// Of `pisaura revert`.
    pub fn of_revert() -> String {
        Self::told(&[
            (Self::Fine, "nothing is dirty"),
            (Self::Trouble, "what is remembered cannot be read"),
            (Self::Unreverted, "a host may still be broken"),
        ])
    }
}
