//! What goes to a command on a host and comes from it: its input fed, both of its outputs taken in at once, its end seen.
//!
//! Every channel is closed before it is dropped: a drop would do so without the session's lock.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use ssh2::Channel;

use crate::machine::{Exit, Recorder, Stream, Trouble, TroubleKind};

use super::connection::{Pulse, Waiter, Woken};
use super::line::{Line, Wait};
use super::own::Answer;
use super::script::Marks;
use super::{Limit, Watcher};

/// How long a silence ends a command's output after its own end: a child that it left may hold the channel for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(300);
/// The same for a child that is never silent.
const CHATTER_GRACE: Duration = Duration::from_secs(1);
/// How long the small things may take that are done on the way: closing a channel, ending a process.
pub(super) const ASIDE: Duration = Duration::from_secs(5);

/// How long a channel's end is waited for where nothing answers.
const CLOSE_SILENT: Duration = Duration::from_millis(200);

/// Closes a channel as far as the host lets us; what is left of it goes with the session. Where the host has not answered in time
/// it will not do so now.
pub(super) fn close(channel: &mut Channel, waiter: &Waiter<'_>, answers: bool) {
    let within = if answers { ASIDE } else { CLOSE_SILENT };
    let limit = Limit { until: Instant::now() + within, interrupt: None };
    let waiter = Waiter { limit, ..*waiter };
    let _ = waiter.until_done(|| channel.close());
}

/// How the process behind a channel that has ended did end, by the SSH server's word.
pub(super) fn channel_exit(channel: &mut Channel, waiter: &Waiter<'_>) -> Result<Exit, Trouble> {
    let failed = |error: &ssh2::Error| waiter.trouble(error, "waiting for the end of a command");
    waiter.until_done(|| channel.wait_close()).map_err(|error| failed(&error))?;
    let signal = channel.exit_signal().map_err(|error| failed(&error))?;
    if let Some(name) = signal.exit_signal {
        // Names of one's own have their maker behind them (RFC 4254, 6.10).
        let name = name.split('@').next().unwrap_or_default().to_owned();
        return Ok(Exit::Signal(name));
    }
    channel.exit_status().map(Exit::Status).map_err(|error| failed(&error))
}

impl Line for Channel {
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn end_input(&mut self) -> io::Result<()> {
        self.send_eof().map_err(io::Error::from)
    }

    fn receive(&mut self, stream: i32, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream(stream).read(buffer)
    }

    fn is_over(&self) -> bool {
        self.eof()
    }
}

/// Feeds a command and takes in what it prints, both streams at once, for either could stop the other.
pub(super) struct Exchange<'a> {
    input: &'a [u8],
    sent: usize,
    input_closed: bool,
    pub(super) stdout: Recorder,
    pub(super) stderr: Recorder,
    pub(super) marks: Option<Marks>,
    /// All of standard output as it came, marks included, if it is an answer to a command of our own.
    pub(super) answer: Option<Vec<u8>>,
    /// Once the command's own end is known: when there was last anything to hear of it.
    heard_at: Option<Instant>,
    /// When the command's own end came to be known.
    ended_at: Option<Instant>,
    /// Nothing is sent before the command has printed this, by which we know that it is ours.
    gate: Option<(Vec<u8>, Vec<u8>)>,
    /// How the server is asked if it is there, once the command was sent.
    pulse: Option<Pulse>,
    /// When anything last came from the server, and when it was asked.
    heard_anything_at: Instant,
    pulse_at: Instant,
}

/// How a server is felt for that a command may cut off.
pub(super) const CUT_OFF: Pulse = Pulse { every: Duration::from_secs(1), silence: Duration::from_secs(4) };

/// How much of an answer to a command of our own is kept.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// How much a login may print before our command does.
const CHATTER_BYTES_MAX: usize = 1024 * 1024;

/// How the end of a command came to be known.
pub(super) enum Over {
    Marked,
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
            answer: None,
            heard_at: None,
            ended_at: None,
            gate: None,
            pulse: None,
            heard_anything_at: Instant::now(),
            pulse_at: Instant::now(),
        }
    }

    /// That the server is gone is noticed by its silence.
    pub(super) fn feeling(mut self, pulse: Pulse) -> Self {
        self.pulse = Some(pulse);
        self
    }

    /// Whether the server has said nothing for so long that it counts as gone.
    pub(super) fn is_silent(&self) -> bool {
        self.pulse.is_some_and(|pulse| self.heard_anything_at.elapsed() > pulse.silence)
    }

    /// How long ago anything came from the server.
    pub(super) fn silent_for(&self) -> Duration {
        self.heard_anything_at.elapsed()
    }

    /// Asks whether the server is there, if it is time for that. Fails if it has not answered for too long.
    fn feel_pulse(&mut self, waiter: &dyn Wait) -> Result<(), Trouble> {
        // Not only from its first word on: what cuts the server off may take that with it.
        let Some(pulse) =
            self.pulse.filter(|pulse| self.input_closed && self.pulse_at.elapsed() >= pulse.every)
        else {
            return Ok(());
        };
        if self.pulse_at.elapsed() > pulse.silence {
            // It was not asked for so long: this process stood still.
            self.heard_anything_at = Instant::now();
        }
        if self.is_silent() {
            return Err(Trouble {
                kind: TroubleKind::Connection,
                message: format!("{}: nothing answers any more on the connection", waiter.shown()),
            });
        }
        self.pulse_at = Instant::now();
        // What is on its way in part is sent first.
        if !waiter.must_send() {
            waiter.ask_if_there(pulse.every);
        }
        Ok(())
    }

    /// Sends nothing before the command has printed this token.
    pub(super) fn gated(mut self, token: &str) -> Self {
        self.gate = Some((token.as_bytes().to_vec(), Vec::new()));
        self
    }

    /// Whether the command has printed its token, if it was to.
    pub(super) fn is_let_in(&self) -> bool {
        self.gate.is_none()
    }

    /// What a text of our own has answered, which began with this token.
    pub(super) fn into_answer(self, token: &str) -> Answer {
        let printed = String::from_utf8_lossy(self.answer.as_deref().unwrap_or_default()).into_owned();
        let (begin, end) = (format!("{token}:b0;"), format!("{token}:x"));
        let answer = printed.split_once(&begin).map_or("", |(_, rest)| rest);
        Answer {
            status: self.marks.as_ref().and_then(Marks::status).unwrap_or(1),
            stdout: answer.split(&end).next().unwrap_or_default().to_owned(),
            stderr: self.stderr.finish(str::to_owned).whole(),
        }
    }

    /// Whether the text has said anything of itself: it does so first of all.
    pub(super) fn has_begun(&self) -> bool {
        self.marks.as_ref().is_some_and(|marks| !marks.is_empty())
    }

    pub(super) fn command_is_over(&mut self, line: &dyn Line) -> Option<Over> {
        if self.marks.as_ref().is_some_and(Marks::is_over) {
            let now = Instant::now();
            let heard_at = *self.heard_at.get_or_insert(now);
            let ended_at = *self.ended_at.get_or_insert(now);
            if line.is_over() || heard_at.elapsed() >= OUTPUT_GRACE || ended_at.elapsed() >= CHATTER_GRACE {
                return Some(Over::Marked);
            }
        } else if line.is_over() {
            return Some(Over::Closed);
        }
        None
    }

    /// Goes on until `over` says so; `None` at the limit or an interrupt. Fails if the connection is lost.
    pub(super) fn go_on<T>(
        &mut self,
        line: &mut dyn Line,
        waiter: &dyn Wait,
        watcher: Watcher<'_>,
        mut over: impl FnMut(&mut Self, &dyn Line) -> Option<T>,
    ) -> Result<Option<T>, Trouble> {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let mut progress = self.feed(line, waiter)?;
            if !progress && !self.input_closed && self.gate.is_none() && waiter.must_send() {
                // A packet has gone out in part, and libssh2 takes no other before the rest of it has gone, too.
                match waiter.wait_to_send() {
                    Woken::Socket => continue,
                    Woken::TimedOut | Woken::Interrupted => return Ok(None),
                }
            }
            if self.input_closed {
                match waiter.go_on_with_next() {
                    Woken::Socket => {}
                    Woken::TimedOut | Woken::Interrupted => return Ok(None),
                }
            }
            progress |= self.take(line, 0, &mut buffer, waiter, watcher)?;
            progress |= self.take(line, 1, &mut buffer, waiter, watcher)?;
            if let Some(end) = over(self, line) {
                return Ok(Some(end));
            }
            if progress {
                self.heard_at = self.heard_at.map(|_| Instant::now());
                if waiter.limit().left().is_zero() || waiter.limit().is_interrupted() {
                    return Ok(self.at_the_limit(line, over));
                }
                continue;
            }
            self.feel_pulse(waiter)?;
            let mut until = self.heard_at.map_or(waiter.limit().until, |heard_at| heard_at + OUTPUT_GRACE);
            if let Some(pulse) = self.pulse {
                until = until.min(self.pulse_at.max(Instant::now()) + pulse.every);
            }
            match waiter.wait(until) {
                Woken::Socket => self.heard_anything_at = Instant::now(),
                Woken::TimedOut if Instant::now() < waiter.limit().until => {}
                Woken::TimedOut | Woken::Interrupted => return Ok(self.at_the_limit(line, over)),
            }
        }
    }

    /// A command that has ended is one that ended, whatever it left still prints.
    fn at_the_limit<T>(
        &mut self,
        line: &dyn Line,
        mut over: impl FnMut(&mut Self, &dyn Line) -> Option<T>,
    ) -> Option<T> {
        self.heard_at = self.heard_at.and_then(|_| Instant::now().checked_sub(OUTPUT_GRACE));
        over(self, line)
    }

    fn feed(&mut self, line: &mut dyn Line, waiter: &dyn Wait) -> Result<bool, Trouble> {
        if self.input_closed || self.gate.is_some() {
            return Ok(false);
        }
        if self.sent < self.input.len() {
            return match line.send(&self.input[self.sent..]) {
                Ok(count) => {
                    self.sent += count;
                    Ok(true)
                }
                // A command that reads no more has ended, or soon will; how, its status tells.
                Err(_) if line.is_over() => {
                    self.input_closed = true;
                    Ok(true)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
                Err(error) => Err(lost(waiter, &error)),
            };
        }
        match line.end_input() {
            Ok(()) => {
                self.input_closed = true;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(lost(waiter, &error)),
        }
    }

    fn take(
        &mut self,
        line: &mut dyn Line,
        stream: i32,
        buffer: &mut [u8],
        waiter: &dyn Wait,
        watcher: Watcher<'_>,
    ) -> Result<bool, Trouble> {
        match line.receive(stream, buffer) {
            Ok(0) => Ok(false),
            Ok(count) if stream == 0 => {
                if let Some((token, seen)) = &mut self.gate {
                    seen.extend_from_slice(&buffer[..count]);
                    if seen.windows(token.len()).any(|window| window == token.as_slice()) {
                        self.gate = None;
                    } else if seen.len() > CHATTER_BYTES_MAX {
                        let message = format!("{}: the login there prints without an end", waiter.shown());
                        return Err(Trouble { kind: TroubleKind::Upload, message });
                    }
                }
                match (&mut self.answer, &mut self.marks) {
                    (Some(answer), Some(marks)) => {
                        marks.push(&buffer[..count]);
                        let room = ANSWER_BYTES_MAX.saturating_sub(answer.len());
                        answer.extend_from_slice(&buffer[..count.min(room)]);
                    }
                    _ => {
                        self.stdout.push(&buffer[..count]);
                        watcher(Stream::Stdout, &buffer[..count]);
                    }
                }
                Ok(true)
            }
            Ok(count) => {
                let own = match &mut self.marks {
                    Some(marks) if self.answer.is_none() => marks.push(&buffer[..count]),
                    _ => buffer[..count].to_vec(),
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

fn lost(waiter: &dyn Wait, error: &io::Error) -> Trouble {
    Trouble {
        kind: TroubleKind::Connection,
        message: format!("{}: the connection was lost while a command ran: {error}", waiter.shown()),
    }
}
