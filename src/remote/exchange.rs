//! What goes to a command on a host and comes from it: its input fed, both of its outputs taken in at once, its end seen.
//!
//! Every channel is closed before it is dropped: a drop would do so without the session's lock.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use ssh2::Channel;

use crate::machine::{Exit, Recorder, Stream, Trouble, TroubleKind};

use super::connection::{EAGAIN, Waiter, Woken};
use super::script::Marks;
use super::{Limit, Watcher};

/// How long a silence ends a command's output after its own end: a child that it left may hold the channel for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(300);
/// How long the small things may take that are done on the way: closing a channel, ending a process.
pub(super) const ASIDE: Duration = Duration::from_secs(5);

/// Closes a channel as far as the host lets us; what is left of it goes with the session.
pub(super) fn close(channel: &mut Channel, waiter: &Waiter<'_>) {
    let limit = Limit { until: Instant::now() + ASIDE, interrupt: None };
    let waiter = Waiter { limit, ..*waiter };
    let _ = waiter.until_done(|| channel.close());
}

/// How the process behind a channel that has ended did end, by the SSH server's word.
pub(super) fn channel_exit(channel: &mut Channel, waiter: &Waiter<'_>) -> Result<Exit, Trouble> {
    let failed = |error: &ssh2::Error| waiter.trouble(error, "waiting for the end of a command");
    waiter.until_done(|| channel.wait_close()).map_err(|error| failed(&error))?;
    let signal = channel.exit_signal().map_err(|error| failed(&error))?;
    if let Some(name) = signal.exit_signal {
        return Ok(Exit::Signal(name));
    }
    channel.exit_status().map(Exit::Status).map_err(|error| failed(&error))
}

/// Feeds a command and takes in what it prints, both streams at once, for either could stop the other.
pub(super) struct Exchange<'a> {
    input: &'a [u8],
    sent: usize,
    input_closed: bool,
    pub(super) stdout: Recorder,
    pub(super) stderr: Recorder,
    pub(super) marks: Option<Marks>,
    /// Once the command's own end is known: when there was last anything to hear of it.
    heard_at: Option<Instant>,
}

/// How the end of a command came to be known.
pub(super) enum Over {
    Marked(i32),
    Closed,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(input: &'a [u8], margin: usize) -> Self {
        Self {
            input,
            sent: 0,
            input_closed: false,
            stdout: Recorder::new(margin),
            stderr: Recorder::new(margin),
            marks: None,
            heard_at: None,
        }
    }

    pub(super) fn is_over(&self, channel: &Channel) -> bool {
        channel.eof() && self.input_closed
    }

    pub(super) fn command_is_over(&mut self, channel: &Channel) -> Option<Over> {
        let status = self.marks.as_ref().and_then(|marks| marks.status);
        if let Some(status) = status {
            let heard_at = *self.heard_at.get_or_insert_with(Instant::now);
            if channel.eof() || heard_at.elapsed() >= OUTPUT_GRACE {
                return Some(Over::Marked(status));
            }
        } else if channel.eof() {
            return Some(Over::Closed);
        }
        None
    }

    /// Goes on until `over` says so; `None` at the limit or an interrupt. Fails if the connection is lost.
    pub(super) fn go_on<T>(
        &mut self,
        channel: &mut Channel,
        waiter: &Waiter<'_>,
        watcher: Watcher<'_>,
        mut over: impl FnMut(&mut Self, &Channel) -> Option<T>,
    ) -> Result<Option<T>, Trouble> {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let mut progress = self.feed(channel, waiter)?;
            if !progress && !self.input_closed && waiter.must_send() {
                // A packet has gone out in part, and libssh2 takes no other before the rest of it has gone, too.
                match waiter.wait_to_send() {
                    Woken::Socket => continue,
                    Woken::TimedOut | Woken::Interrupted => return Ok(None),
                }
            }
            progress |= self.take(channel, 0, &mut buffer, waiter, watcher)?;
            progress |= self.take(channel, 1, &mut buffer, waiter, watcher)?;
            if let Some(end) = over(self, channel) {
                return Ok(Some(end));
            }
            if progress {
                self.heard_at = self.heard_at.map(|_| Instant::now());
                if waiter.limit.left().is_zero() || waiter.limit.is_interrupted() {
                    // A command that has ended is one that ended, whatever it left still prints.
                    self.heard_at = self.heard_at.and_then(|_| Instant::now().checked_sub(OUTPUT_GRACE));
                    return Ok(over(self, channel));
                }
                continue;
            }
            let until = self.heard_at.map_or(waiter.limit.until, |heard_at| heard_at + OUTPUT_GRACE);
            match waiter.wait(until) {
                Woken::Socket => {}
                Woken::TimedOut if Instant::now() < waiter.limit.until => {}
                Woken::TimedOut | Woken::Interrupted => return Ok(over(self, channel)),
            }
        }
    }

    fn feed(&mut self, channel: &mut Channel, waiter: &Waiter<'_>) -> Result<bool, Trouble> {
        if self.input_closed {
            return Ok(false);
        }
        if self.sent < self.input.len() {
            return match channel.write(&self.input[self.sent..]) {
                Ok(count) => {
                    self.sent += count;
                    Ok(true)
                }
                // A command that reads no more has ended, or soon will; how, its status tells.
                Err(_) if channel.eof() => {
                    self.input_closed = true;
                    Ok(true)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
                Err(error) => Err(lost(waiter, &error)),
            };
        }
        match channel.send_eof() {
            Ok(()) => {
                self.input_closed = true;
                Ok(true)
            }
            Err(error) if error.code() == EAGAIN => Ok(false),
            Err(error) => Err(waiter.trouble(&error, "running a command")),
        }
    }

    fn take(
        &mut self,
        channel: &mut Channel,
        stream: i32,
        buffer: &mut [u8],
        waiter: &Waiter<'_>,
        watcher: Watcher<'_>,
    ) -> Result<bool, Trouble> {
        match channel.stream(stream).read(buffer) {
            Ok(0) => Ok(false),
            Ok(count) if stream == 0 => {
                self.stdout.push(&buffer[..count]);
                watcher(Stream::Stdout, &buffer[..count]);
                Ok(true)
            }
            Ok(count) => {
                let own = match &mut self.marks {
                    Some(marks) => marks.push(&buffer[..count]),
                    None => buffer[..count].to_vec(),
                };
                self.stderr.push(&own);
                watcher(Stream::Stderr, &own);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(lost(waiter, &error)),
        }
    }
}

fn lost(waiter: &Waiter<'_>, error: &io::Error) -> Trouble {
    Trouble {
        kind: TroubleKind::Connection,
        message: format!("{}: the connection was lost while a command ran: {error}", waiter.shown),
    }
}
