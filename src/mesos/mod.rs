//! The wire to Apache Mesos: its v1 messages, RecordIO, HTTP, and who leads. Touches the network.
//!
//! Sources: Mesos' documentation of its v1 scheduler and executor HTTP APIs, and what Mesos 1.11.0 was seen to answer. What
//! the messages mean is said in [`translate`]: the scheduler's there, the executor's in `translate::agent`.

use std::fmt;

mod client;
mod leader;
#[rustfmt::skip]
#[allow(missing_docs, reason = "generated; `proto/` says what there is to say")]
#[allow(clippy::pedantic, clippy::use_self, clippy::needless_pass_by_value, reason = "generated")]
pub mod messages;
pub mod recordio;
pub mod translate;

pub use client::{Client, Security, Subscription};
pub use leader::{Leader, MasterAddress};

/// What is to be done after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Subscribe again at once: the peer told where to, or has only let go of us.
    Now,
    /// Subscribe again after a pause: the peer is not there, or not ready.
    Later,
    /// Nothing: it would go wrong again.
    Never,
}

/// A conversation with a master or an agent that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireError {
    /// What happened, and with whom.
    pub message: String,
    /// What is to be done next.
    pub next: Next,
    /// Whether we are not who we say we are.
    pub is_about_credentials: bool,
}

impl WireError {
    /// An error after which this is to be done.
    pub fn new(next: Next, message: impl Into<String>) -> Self {
        Self { message: message.into(), next, is_about_credentials: false }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for WireError {}

/// An error with all that is behind it, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
