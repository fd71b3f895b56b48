//! Commands of our own on a host, whose answer counts only if it is whole; and files brought there, whole or not at all. Touches the
//! network through a connection, and reads files of this machine.

use std::io::{Read, Write};
use std::path::Path;

use ssh2::{Channel, ErrorCode, OpenFlags, OpenType};

use crate::machine::{Exit, Trouble, TroubleKind};

use super::Limit;
use super::connection::{Connection, TIME_LIMIT, Waiter, is_lost};
use super::exchange::{ASIDE, Exchange, Over, channel_exit, close};
use super::host::{NOT_OURS, Whole, loader};
use super::quote::quote;
use super::random_hex;
use super::script::Marks;

/// LIBSSH2_ERROR_CHANNEL_FAILURE: the server refuses another channel.
const CHANNEL_REFUSED: ErrorCode = ErrorCode::Session(-21);
/// How long SFTP may take to be opened; without it files go another way.
const SFTP_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);
/// How long a server may take to let go of a channel that has been closed.
const LET_GO_WITHIN: std::time::Duration = std::time::Duration::from_secs(3);

/// A host that is connected to, and a limit for what is done there.
#[derive(Clone, Copy)]
pub(super) struct Desk<'a> {
    pub(super) connection: &'a Connection,
    pub(super) limit: Limit<'a>,
    /// How a person calls the host.
    pub(super) shown: &'a str,
}

/// A shell that waits for a text.
pub(super) struct Shell {
    pub(super) channel: Channel,
    /// It was begun before it was needed: what has happened on the host since may have ended it.
    pub(super) was_spare: bool,
}

/// What one of our own texts has answered.
pub(super) struct Answer {
    /// The status that it says itself.
    pub(super) status: i32,
    /// What it printed on standard output.
    pub(super) stdout: String,
    /// What it, or the login, printed on standard error.
    pub(super) stderr: String,
}

impl Answer {
    /// What was printed. Fails, with the last thing that was said, if the status is not 0.
    pub(super) fn had(self, shown: &str, doing: &str) -> Result<String, Trouble> {
        if self.status == 0 {
            return Ok(self.stdout);
        }
        let said =
            self.stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason was given");
        Err(Trouble { kind: TroubleKind::Upload, message: format!("{shown}: {doing}: {said}") })
    }
}

impl<'a> Desk<'a> {
    pub(super) fn waiter(self) -> Waiter<'a> {
        Waiter {
            session: &self.connection.session,
            next: None,
            stream: &self.connection.stream,
            limit: self.limit,
            shown: self.shown,
        }
    }

    fn trouble(self, kind: TroubleKind, what: &str) -> Trouble {
        Trouble { kind, message: format!("{}: {what}", self.shown) }
    }

    /// A channel on which a shell waits for a text.
    pub(super) fn shell(self) -> Result<Shell, Trouble> {
        let waiter = self.waiter();
        if let Some(mut channel) = self.connection.spare.take(&waiter)? {
            // Whether it still waits is known once what has come meanwhile was read.
            let _ = channel.read(&mut []);
            if !channel.eof() {
                return Ok(Shell { channel, was_spare: true });
            }
            close(&mut channel, &waiter, true);
        }
        let mut channel = self.channel()?;
        waiter
            .until_done(|| channel.exec(&loader(self.connection.shell)))
            .map_err(|error| waiter.trouble(&error, "starting a shell"))?;
        Ok(Shell { channel, was_spare: false })
    }

    /// Opens a channel. A server that allows few at once may not have let go of the last one yet.
    fn channel(self) -> Result<Channel, Trouble> {
        let waiter = self.waiter();
        self.connection.spare.settle(&waiter)?;
        let until = std::time::Instant::now() + LET_GO_WITHIN;
        loop {
            match waiter.until_done(|| self.connection.session.channel_session()) {
                Ok(channel) => return Ok(channel),
                Err(error) if error.code() == CHANNEL_REFUSED && self.connection.spare.give_up(&waiter) => {}
                // What runs on holds its output then; there is no other way.
                Err(error)
                    if error.code() == CHANNEL_REFUSED && self.connection.let_go(&waiter).is_some() => {}
                Err(error) if error.code() == CHANNEL_REFUSED && std::time::Instant::now() < until => {
                    // Nothing tells when it has: an answer to something else would be one.
                    let soon = std::time::Instant::now() + std::time::Duration::from_millis(20);
                    waiter.wait(soon);
                    if self.limit.is_interrupted() || self.limit.left().is_zero() {
                        return Err(waiter.trouble(&error, "opening a channel"));
                    }
                    std::thread::sleep(soon.saturating_duration_since(std::time::Instant::now()));
                }
                Err(error) if error.code() == CHANNEL_REFUSED => {
                    self.connection.refuses_channels.set(true);
                    return Err(self.trouble(
                        TroubleKind::Connection,
                        "the SSH server there refuses another channel: does its MaxSessions allow one?",
                    ));
                }
                Err(error) => return Err(waiter.trouble(&error, "opening a channel")),
            }
        }
    }

    /// Runs one of our own texts. Fails unless all of it ran to its end: what the server says of the exit status is no proof.
    pub(super) fn ask(self, text: &Whole, doing: &str) -> Result<Answer, Trouble> {
        let waiter = self.waiter();
        let watch = self.connection.watchdog.watch(self.limit);
        let Shell { mut channel, was_spare } = self.shell()?;
        let framed = text.framed();
        let mut exchange = Exchange::new(framed.as_bytes(), 0);
        exchange.marks = Some(Marks::new(&text.token));
        exchange.answer = Some(Vec::new());
        let over = exchange.go_on(&mut channel, &waiter, &mut |_, _| {}, Exchange::command_is_over);
        let exit = match &over {
            Ok(Some(Over::Closed)) => channel_exit(&mut channel, &waiter).ok(),
            _ => None,
        };
        drop(watch);
        let _watch = self.connection.watchdog.watch(Limit::within(ASIDE, None));
        close(&mut channel, &waiter, matches!(over, Ok(Some(_))));
        if was_spare && matches!(over, Ok(Some(Over::Closed))) && !exchange.has_begun() {
            self.connection.spare.give_up(&waiter);
            return self.ask(text, doing);
        }
        let has_begun = exchange.has_begun();
        match over? {
            None if !has_begun && !self.limit.is_interrupted() => Err(self.trouble(
                TroubleKind::Connection,
                "the login there has not run our command (/bin/sh) in time: does it wait for something, or run something else (ForceCommand, `command=` of the key, ~/.bashrc)?",
            )),
            None => Err(waiter.trouble(
                &ssh2::Error::new(ErrorCode::Session(-9), TIME_LIMIT),
                "running a command of our own",
            )),
            Some(Over::Marked) => {
                Ok(exchange.into_answer(&text.token))
            }
            Some(Over::Closed) => {
                let printed = String::from_utf8_lossy(exchange.answer.as_deref().unwrap_or_default()).into_owned();
                let stderr = exchange.stderr.finish(str::to_owned).whole();
                Err(self.not_to_its_end(&printed, &text.token, &stderr, exit, doing))
            }
        }
    }

    /// Why a text of ours did not come to its end.
    fn not_to_its_end(
        self,
        printed: &str,
        token: &str,
        stderr: &str,
        exit: Option<Exit>,
        doing: &str,
    ) -> Trouble {
        let ran = printed.contains(&format!("{token}:b"));
        let said = stderr.lines().rev().chain(printed.lines().rev()).find(|line| !line.trim().is_empty());
        let said = said.map(|line| line.trim().chars().take(300).collect::<String>());
        let told = said.as_deref().map_or_else(String::new, |line| format!(": {line}"));
        let kind = if exit.is_none() { TroubleKind::Connection } else { TroubleKind::Upload };
        let what = match exit {
            _ if ran => {
                format!("{doing}: {}", said.as_deref().unwrap_or("our command on the host ended too early"))
            }
            Some(Exit::Status(NOT_OURS)) if stderr.contains("lost") => {
                "a part of what was sent was lost: something in the login there reads from standard input (`read` or `cat` in ~/.bashrc, a ForceCommand): let it do so only on a terminal".to_owned()
            }
            Some(Exit::Status(NOT_OURS)) => {
                "the login there runs a shell of its own in place of our command, with what is meant for ours (ForceCommand, `command=` of the key, an `exec` in ~/.bashrc): let it run the command that it is given (SSH_ORIGINAL_COMMAND)".to_owned()
            }
            Some(exit) => {
                let how = if matches!(exit, Exit::Signal(_)) { "was" } else { "ended with" };
                format!("the login there does not run our command (/bin/sh), but something else, which {how} {exit}{told}")
            }
            None => format!("the connection was lost while a command of our own ran{told}"),
        };
        self.trouble(kind, &what)
    }

    /// Brings bytes to a new file of this plain name in our folder. Whether all of them are there, [`super::host::place`] tells.
    pub(super) fn bring(self, bytes: &[u8], folder: &str, name: &str) -> Result<Brought, Trouble> {
        let _watch = self.connection.watchdog.watch(self.limit);
        if !self.connection.without_sftp {
            match self.bring_by_sftp(bytes, &format!("{folder}/{name}"))? {
                true => return Ok(Brought::BySftp),
                false => {
                    tracing::debug!(host = self.shown, "no SFTP there that would do: files go through `cat`");
                }
            }
        }
        let token = random_hex().map_err(|message| Trouble { kind: TroubleKind::Start, message })?;
        let (first, second) = token.split_at(8);
        // Nothing of the file is sent before our own command has said that it is what runs on this very channel.
        let command = format!(
            "exec {} -c 'cd {} && printf %s%s {first} {second} && exec cat >{name}'",
            self.connection.shell,
            everywhere(folder)
        );
        let waiter = self.waiter();
        let mut channel = self.channel()?;
        let mut exchange = Exchange::new(bytes, 0).gated(&token);
        let over = waiter
            .until_done(|| channel.exec(&command))
            .map_err(|error| waiter.trouble(&error, "bringing a file"))
            .and_then(|()| {
                exchange.go_on(&mut channel, &waiter, &mut |_, _| {}, |exchange, line| {
                    line.is_over().then(|| exchange.is_let_in())
                })
            });
        let exit = match &over {
            Ok(Some(true)) => channel_exit(&mut channel, &waiter).ok(),
            _ => None,
        };
        close(&mut channel, &waiter, matches!(over, Ok(Some(_))));
        let stderr = exchange.stderr.finish(str::to_owned).whole();
        let said = stderr.lines().rev().find(|line| !line.trim().is_empty());
        match over? {
            None => {
                Err(waiter.trouble(&ssh2::Error::new(ErrorCode::Session(-9), TIME_LIMIT), "bringing a file"))
            }
            Some(true) if exit.is_some_and(|exit| exit.is_success()) => Ok(Brought::ByCat),
            Some(_) => Err(self.trouble(
                TroubleKind::Upload,
                &format!(
                    "cannot write a file in {folder}: {}",
                    said.unwrap_or("the login there does not run our command")
                ),
            )),
        }
    }

    /// False if the host has no SFTP that could do it.
    fn bring_by_sftp(self, bytes: &[u8], path: &str) -> Result<bool, Trouble> {
        let (connection, waiter) = (self.connection, self.waiter());
        connection.spare.settle(&waiter)?;
        // Some subsystems are none, and say nothing.
        let waiter = Waiter { limit: self.limit.at_most(SFTP_WITHIN), ..waiter };
        let sftp = match waiter.until_done(|| connection.session.sftp()) {
            Ok(sftp) => sftp,
            Err(error) if error.message() == TIME_LIMIT => {
                // What is dropped now would wait for the host's word without a limit.
                let _ = connection.stream.shutdown(std::net::Shutdown::Both);
                connection.sftp_is_silent.set(!self.limit.is_interrupted());
                return Err(waiter.trouble(&error, "opening SFTP"));
            }
            // A lost connection and an SFTP server that is not there look alike; the way without it will tell.
            Err(_) => return Ok(false),
        };
        let waiter = self.waiter();
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let opened = waiter.until_done(|| sftp.open_mode(Path::new(path), flags, 0o700, OpenType::File));
        let mut done = false;
        let mut lost = None;
        match opened {
            Ok(mut file) => {
                let mut sent = 0;
                while sent < bytes.len() {
                    match waiter.until_done_io(|| file.write(&bytes[sent..])) {
                        Ok(count) => sent += count,
                        Err(_) => break,
                    }
                }
                let closed = waiter.until_done(|| file.close());
                done = sent == bytes.len() && closed.is_ok();
                lost = closed.err().filter(is_lost);
            }
            Err(error) if is_lost(&error) => lost = Some(error),
            Err(_) => {}
        }
        if self.limit.left().is_zero() || self.limit.is_interrupted() || lost.is_some() {
            let _ = connection.stream.shutdown(std::net::Shutdown::Both);
            let error = lost.unwrap_or_else(|| ssh2::Error::new(ErrorCode::Session(-9), TIME_LIMIT));
            return Err(waiter.trouble(&error, "bringing a file"));
        }
        // Its channel is closed at once, for a server may allow one only.
        let mut sftp = sftp;
        let _ = waiter.until_done(|| sftp.shutdown());
        Ok(done)
    }
}

/// How a file got there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    BySftp,
    ByCat,
}

/// A path within a quoted argument to `/bin/sh -c`, so that a login shell of any kind passes it on as it is: what one of them
/// might change stands as octal numbers.
fn everywhere(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if path.bytes().all(plain) {
        return quote(path);
    }
    let octal: String = path
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("\\0{byte:03o}") })
        .collect();
    format!("\"$(printf %b \"{octal}\")\"")
}

/// The checksum of POSIX' `cksum` (the CRC of ISO 8802-3, the length behind the bytes).
pub(super) fn cksum(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut crc = (index as u32) << 24;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 0x8000_0000 == 0 { crc << 1 } else { (crc << 1) ^ 0x04c1_1db7 };
                bit += 1;
            }
            table[index] = crc;
            index += 1;
        }
        table
    };
    let take = |crc: u32, byte: u8| (crc << 8) ^ TABLE[((crc >> 24) as u8 ^ byte) as usize];
    let mut crc = bytes.iter().fold(0, |crc, byte| take(crc, *byte));
    let mut length = bytes.len();
    while length > 0 {
        crc = take(crc, (length & 0xff) as u8);
        length >>= 8;
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::{cksum, everywhere};

    #[test]
    fn checksums_are_those_of_cksum() {
        // Told by `printf %s TEXT | cksum`.
        let check = |text: &str, sum: u32| assert_eq!(cksum(text.as_bytes()), sum, "{text}");
        check("", 4_294_967_295);
        check("a", 1_220_704_766);
        check("hello world", 1_135_714_720);
    }

    #[test]
    fn paths_that_every_login_shell_passes_on() {
        assert_eq!(everywhere("/home/me/.pisaura/0a"), "/home/me/.pisaura/0a");
        assert_eq!(everywhere("/it's $1!"), "\"$(printf %b \"/it\\0047s\\0040\\00441\\0041\")\"");
    }
}
