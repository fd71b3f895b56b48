//! What Pisaura's texts go through: a channel of an SSH connection, or the pipes of a shell of this machine; and how it is waited for.

use std::io;
use std::time::{Duration, Instant};

use super::Limit;
use super::connection::Woken;

/// Standard input, output and error of a command, none of which blocks.
pub(super) trait Line {
    /// Sends a part of these bytes. Fails with `WouldBlock` where nothing can be taken now.
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Ends the command's standard input. Fails with `WouldBlock` where that has to wait.
    fn end_input(&mut self) -> io::Result<()>;

    /// Takes what the command has printed on standard output (0) or standard error (1). Fails with `WouldBlock` where there is nothing.
    fn receive(&mut self, stream: i32, buffer: &mut [u8]) -> io::Result<usize>;

    /// Whether nothing more will come.
    fn is_over(&self) -> bool;
}

/// Waits for a line.
pub(super) trait Wait {
    /// Until when, and what may end it.
    fn limit(&self) -> Limit<'_>;

    /// How a person calls the host.
    fn shown(&self) -> &str;

    /// Waits until something may have happened on the line, not longer than to this moment or to the limit.
    fn wait(&self, until: Instant) -> Woken;

    /// Whether something has gone out in part, and the rest has to go before anything else.
    fn must_send(&self) -> bool {
        false
    }

    /// Waits until that can be sent.
    fn wait_to_send(&self) -> Woken {
        Woken::Socket
    }

    /// Goes on with what is begun for the next command meanwhile.
    fn go_on_with_next(&self) -> Woken {
        Woken::Socket
    }

    /// Asks the other side whether it is there, so often.
    fn ask_if_there(&self, _every: Duration) {}
}
