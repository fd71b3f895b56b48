//! A connection to an SSH server: reached, greeted, known, logged in; and the waiting for whatever libssh2 waits for.
//!
//! libssh2 is used without blocking, and every wait is a poll on the socket together with the interrupt and the time limit;
//! so nothing can hang, and an interrupt is heard at once.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{BlockDirections, Channel, ErrorCode, MethodType, Session};

use crate::fatebook::HostKeyCheck;
use crate::machine::{Trouble, TroubleKind};

use super::exchange::close;
use super::known_hosts::{KnownHost, preferred_key_types, shown_key};
use super::line::Wait;
use super::login::{Login, Target, log_in};
use super::spare::Spare;
use super::watchdog::Watchdog;
use super::{Interrupt, Limit};

/// What an OpenSSH of today offers, of what libssh2 has: no cipher in CBC mode, nothing older than AES.
const CIPHERS: &str = "chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr";
/// So often without an answer, a connection that is asked whether it lives does not.
const KEEPALIVES_MAX: u32 = 4;
/// The message of errors that our own limits make.
pub(super) const TIME_LIMIT: &str = "time limit";
/// LIBSSH2_ERROR_EAGAIN: not now.
pub(super) const EAGAIN: ErrorCode = ErrorCode::Session(-37);
/// The two have no algorithm in common, or the connection was closed while they talked about that.
const KEX_FAILURE: ErrorCode = ErrorCode::Session(-5);

/// A connection that is logged in.
pub(super) struct Connection {
    pub(super) session: Session,
    pub(super) stream: TcpStream,
    /// The host has no SFTP, or one that sees other folders than its shell.
    pub(super) without_sftp: bool,
    /// Opening SFTP was not answered in time, and the connection was given up for that.
    pub(super) sftp_is_silent: Cell<bool>,
    /// The server was heard, and lets no more channels in.
    pub(super) refuses_channels: Cell<bool>,
    /// What runs each text.
    pub(super) shell: &'static str,
    /// A shell that waits for the next text.
    pub(super) spare: Spare,
    /// The inducer's, where what it has left running holds its output: that would end at its next word if nobody took it any more.
    held: RefCell<Option<Channel>>,
    /// How a server is felt for that says nothing.
    pub(super) pulse: Pulse,
    /// For when libssh2 does not come back.
    pub(super) watchdog: Watchdog,
    /// The address that answers.
    pub(super) address: SocketAddr,
    /// Its host key: the type and the fingerprint, as OpenSSH shows them.
    pub(super) host_key: String,
}

/// How often a server that says nothing is asked whether it is there, and how long it may say nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pulse {
    pub(super) every: Duration,
    pub(super) silence: Duration,
}

/// Which machine is meant, where a name alone would not do.
#[derive(Clone, Debug, Default)]
pub(super) struct Route {
    /// This address is tried before all others of the name.
    pub(super) first: Option<SocketAddr>,
    /// No other is tried.
    pub(super) only: bool,
    /// These have been found to be other machines.
    pub(super) not: Vec<SocketAddr>,
    /// The type and the fingerprint of the machine's host key.
    pub(super) host_key: Option<String>,
}

impl Connection {
    /// Connects and logs in, within the login's time limit. Fails with `Connection`, `HostKey` or `Login`.
    pub(super) fn open(
        target: &Target,
        login: &Login,
        route: &Route,
        limit: Limit<'_>,
    ) -> Result<Self, Trouble> {
        let limit = limit.at_most(login.connect_timeout);
        let began = Instant::now();
        let stream = reach(target, route, limit)?;
        let lost = |error: &dyn std::fmt::Display| Trouble {
            kind: TroubleKind::Connection,
            message: format!("{}: {error}", target.shown),
        };
        // Each request is small and waited for: held back to be sent with the next one, it would only be late.
        stream.set_nodelay(true).map_err(|error| lost(&error))?;
        // A long silent step survives what forgets silent connections on the way, and a peer that is dead is noticed meanwhile.
        let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true)
            .and_then(|()| rustix::net::sockopt::set_tcp_keepidle(&stream, login.keepalive))
            .and_then(|()| rustix::net::sockopt::set_tcp_keepintvl(&stream, login.keepalive))
            .and_then(|()| rustix::net::sockopt::set_tcp_keepcnt(&stream, KEEPALIVES_MAX));
        // A cut connection is noticed by what is not acknowledged.
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, login.connect_timeout.as_millis() as u32);
        let watchdog = Watchdog::new(&stream);
        let watch = watchdog.watch_stranger(limit);
        let greeted = greet(target, login, route, limit, &stream);
        let (session, address, host_key) = greeted.map_err(|trouble| match watchdog.was_flooded() {
            true => Trouble {
                kind: TroubleKind::Connection,
                message: format!(
                    "{}: the server sends without an end before anybody has logged in",
                    target.shown
                ),
            },
            false => trouble,
        })?;
        tracing::debug!(
            host = target.shown,
            user = login.user,
            millis = began.elapsed().as_millis() as u64,
            "connected"
        );
        drop(watch);
        let shell = super::host::shell(login.becomes_root);
        Ok(Self {
            session,
            stream,
            // SFTP would write as the user who logs in.
            without_sftp: login.becomes_root,
            sftp_is_silent: Cell::new(false),
            refuses_channels: Cell::new(false),
            shell,
            spare: Spare::new(shell),
            held: RefCell::default(),
            pulse: Pulse { every: login.keepalive, silence: login.keepalive * KEEPALIVES_MAX },
            watchdog,
            address,
            host_key,
        })
    }
}

impl Connection {
    /// Keeps the channel of an inducer open, until the host is healed.
    pub(super) fn hold(&self, channel: Channel, waiter: &Waiter<'_>) {
        self.let_go(waiter);
        *self.held.borrow_mut() = Some(channel);
    }

    /// Closes it, if there is one; answers with whether all that was printed there found room.
    pub(super) fn let_go(&self, waiter: &Waiter<'_>) -> Option<bool> {
        let mut channel = self.held.borrow_mut().take()?;
        let has_room = channel.read_window().remaining > 0;
        close(&mut channel, waiter, true);
        Some(has_room)
    }
}

/// Greets the server, makes sure of its key, and logs in. Answers with its address and key, too.
fn greet(
    target: &Target,
    login: &Login,
    route: &Route,
    limit: Limit<'_>,
    stream: &TcpStream,
) -> Result<(Session, SocketAddr, String), Trouble> {
    let lost = |error: &dyn std::fmt::Display| Trouble {
        kind: TroubleKind::Connection,
        message: format!("{}: {error}", target.shown),
    };
    let mut session = Session::new().map_err(|error| lost(&error))?;
    session.set_blocking(false);
    session.set_tcp_stream(stream.try_clone().map_err(|error| lost(&error))?);
    let known = match login.host_key_check {
        HostKeyCheck::Off => None,
        _ => Some(KnownHost::read(&session, &login.known_hosts, &target.host, target.port)?),
    };
    let offered = [
        (MethodType::HostKey, preferred_key_types(route.host_key.as_deref(), known.as_ref())),
        (MethodType::CryptCs, CIPHERS.to_owned()),
        (MethodType::CryptSc, CIPHERS.to_owned()),
    ];
    for (kind, names) in offered {
        session.method_pref(kind, &names).map_err(|error| lost(&error))?;
    }
    handshake(&mut session, stream, limit, &target.shown)?;
    let host_key = shown_key(&session);
    let address = stream.peer_addr().map_err(|error| lost(&error))?;
    // Neither name nor password is told to another machine, whatever is known of its key.
    if let Some(wanted) =
        route.host_key.as_ref().filter(|wanted| fingerprint_of(wanted) != fingerprint_of(&host_key))
    {
        return Err(Trouble {
            kind: TroubleKind::OtherMachine,
            message: format!(
                "{}: a different machine now answers at {address}: its host key is {host_key}, and was {wanted}",
                target.shown
            ),
        });
    }
    match &known {
        // This very key was let in before, by this run or by the one that broke the host, whatever the file says by now.
        Some(known) if route.host_key.is_some() => known.check_revoked(&session)?,
        Some(known) => known.check(&session, login.host_key_check)?,
        None => {}
    }
    let waiter = Waiter { session: &session, next: None, stream, limit, shown: &target.shown };
    log_in(&session, target, login, &waiter)?;
    Ok((session, address, host_key))
}

/// What was written down by versions of old has no type before it.
fn fingerprint_of(host_key: &str) -> &str {
    host_key.rsplit(' ').next().unwrap_or_default()
}

/// Waits for what libssh2 waits for.
#[derive(Clone, Copy)]
pub(super) struct Waiter<'a> {
    pub(super) session: &'a Session,
    /// Begun meanwhile: the shell for the next command.
    pub(super) next: Option<&'a Spare>,
    pub(super) stream: &'a TcpStream,
    pub(super) limit: Limit<'a>,
    pub(super) shown: &'a str,
}

impl Waiter<'_> {
    /// Repeats a call for as long as libssh2 says that it would block. Fails like it, or with LIBSSH2_ERROR_TIMEOUT at
    /// the limit or an interrupt.
    pub(super) fn until_done<T>(
        &self,
        mut call: impl FnMut() -> Result<T, ssh2::Error>,
    ) -> Result<T, ssh2::Error> {
        loop {
            match call() {
                Err(error) if error.code() == EAGAIN => {
                    if self.wait(self.limit.until) != Woken::Socket {
                        return Err(ssh2::Error::new(ErrorCode::Session(-9), TIME_LIMIT));
                    }
                }
                result => return result,
            }
        }
    }

    /// The same for calls with the errors of [`std::io`].
    pub(super) fn until_done_io<T>(&self, mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match call() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.wait(self.limit.until) != Woken::Socket {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                result => return result,
            }
        }
    }

    /// Whether libssh2 waits to send.
    pub(super) fn must_send(&self) -> bool {
        matches!(self.session.block_directions(), BlockDirections::Outbound | BlockDirections::Both)
    }

    /// What is left of the time.
    pub(super) fn left(&self) -> Duration {
        self.limit.left()
    }

    pub(super) fn wait_to_send(&self) -> Woken {
        wait_for(self.stream, PollFlags::OUT, self.limit.until, self.limit.interrupt)
    }

    pub(super) fn wait(&self, until: Instant) -> Woken {
        wait(self.session, self.stream, until.min(self.limit.until), self.limit.interrupt)
    }

    /// What an error of libssh2 says to a person.
    pub(super) fn trouble(&self, error: &ssh2::Error, doing: &str) -> Trouble {
        let what = if error.code() == ErrorCode::Session(-9) {
            if self.limit.is_interrupted() {
                "interrupted".to_owned()
            } else {
                "no answer in time".to_owned()
            }
        } else {
            error.message().to_lowercase()
        };
        Trouble { kind: TroubleKind::Connection, message: format!("{}: {what}, {doing}", self.shown) }
    }
}

impl Wait for Waiter<'_> {
    fn limit(&self) -> Limit<'_> {
        self.limit
    }

    fn shown(&self) -> &str {
        self.shown
    }

    fn wait(&self, until: Instant) -> Woken {
        Waiter::wait(self, until)
    }

    fn must_send(&self) -> bool {
        Waiter::must_send(self)
    }

    fn wait_to_send(&self) -> Woken {
        Waiter::wait_to_send(self)
    }

    fn go_on_with_next(&self) -> Woken {
        self.next.map_or(Woken::Socket, |next| next.go_on(self))
    }

    fn ask_if_there(&self, every: Duration) {
        self.session.set_keepalive(true, every.as_secs().max(1) as u32);
        let _ = self.session.keepalive_send();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    Socket,
    Interrupted,
    TimedOut,
}

fn wait(session: &Session, stream: &TcpStream, until: Instant, interrupt: Option<&Interrupt>) -> Woken {
    let events = match session.block_directions() {
        BlockDirections::Outbound => PollFlags::OUT,
        BlockDirections::Both => PollFlags::IN | PollFlags::OUT,
        BlockDirections::Inbound | BlockDirections::None => PollFlags::IN,
    };
    wait_for(stream, events, until, interrupt)
}

fn wait_for(stream: &TcpStream, events: PollFlags, until: Instant, interrupt: Option<&Interrupt>) -> Woken {
    // An acknowledgement that is held back would hold back a server that waits for it before it sends more (sshd after
    // a login). Sending undoes this, so it is asked for each time.
    let _ = rustix::net::sockopt::set_tcp_quickack(stream, true);
    let mut descriptors = vec![PollFd::new(stream, events)];
    descriptors.extend(interrupt.map(|interrupt| PollFd::new(interrupt, PollFlags::IN)));
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut descriptors, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(0) if left.is_zero() => return Woken::TimedOut,
            Ok(0) => {}
            Err(_) => return Woken::TimedOut,
            Ok(_) if descriptors.get(1).is_some_and(|interrupt| !interrupt.revents().is_empty()) => {
                return Woken::Interrupted;
            }
            Ok(_) => return Woken::Socket,
        }
    }
}

/// Whether an error says something of the connection, and so nothing of what was tried on it.
pub(super) fn is_lost(error: &ssh2::Error) -> bool {
    match error.code() {
        // Our own limit.
        ErrorCode::Session(-9) => error.message() == TIME_LIMIT,
        ErrorCode::Session(-7 | -13 | -43 | -45) => true,
        _ => false,
    }
}

/// Finds the host's address and connects to it. The name is looked up on a thread of its own, for that cannot be given a
/// time limit.
fn reach(target: &Target, route: &Route, limit: Limit<'_>) -> Result<TcpStream, Trouble> {
    let trouble = |message: String| Trouble { kind: TroubleKind::Connection, message };
    let shown = &target.shown;
    let done = Interrupt::new().map_err(|error| trouble(format!("{shown}: {error}")))?;
    let answer: Arc<Mutex<Option<io::Result<TcpStream>>>> = Arc::default();
    {
        let (done, answer, target, route) =
            (done.clone(), Arc::clone(&answer), target.clone(), route.clone());
        let until = limit.until;
        let connecting = std::thread::Builder::new().name("connect".to_owned()).spawn(move || {
            let result = connect_any(&target, &route, until);
            *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            done.raise();
        });
        connecting.map_err(|error| trouble(format!("{shown}: cannot begin to connect: {error}")))?;
    }
    let mut descriptors = vec![PollFd::new(&done, PollFlags::IN)];
    descriptors.extend(limit.interrupt.map(|interrupt| PollFd::new(interrupt, PollFlags::IN)));
    loop {
        let left = limit.left();
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut descriptors, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => continue,
            Ok(0) if !left.is_zero() => continue,
            _ => {}
        }
        let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        return match answer {
            Some(Ok(stream)) => Ok(stream),
            Some(Err(error)) => Err(trouble(format!(
                "cannot reach {} at port {}: {}",
                target.host,
                target.port,
                explain(&error)
            ))),
            None if limit.is_interrupted() => Err(trouble(format!("{shown}: interrupted while connecting"))),
            None => Err(trouble(format!(
                "cannot reach {} at port {}: no answer in time",
                target.host, target.port
            ))),
        };
    }
}

fn connect_any(target: &Target, route: &Route, until: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    let named = match (route.first, route.only) {
        (Some(_), true) => Vec::new(),
        // The name may not be told any more, which is no reason not to try the address.
        (Some(_), false) => {
            (target.host.as_str(), target.port).to_socket_addrs().map(Iterator::collect).unwrap_or_default()
        }
        (None, _) => (target.host.as_str(), target.port).to_socket_addrs()?.collect::<Vec<_>>(),
    };
    let others = named.into_iter().filter(|address| Some(*address) != route.first);
    let all = route.first.into_iter().chain(others).filter(|address| !route.not.contains(address));
    if !route.not.is_empty() {
        last = io::Error::new(ErrorKind::NotFound, "it has no other address");
    }
    for address in all {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused: nothing listens there".to_owned(),
        ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string().trim_start_matches("failed to lookup address information: ").to_lowercase(),
    }
}

fn handshake(
    session: &mut Session,
    stream: &TcpStream,
    limit: Limit<'_>,
    shown: &str,
) -> Result<(), Trouble> {
    loop {
        match session.handshake() {
            Ok(()) => return Ok(()),
            Err(error) if error.code() == EAGAIN => {
                if wait(session, stream, limit.until, limit.interrupt) == Woken::Socket {
                    continue;
                }
                let what = match session.banner() {
                    _ if limit.is_interrupted() => "interrupted, beginning to speak SSH",
                    Some(_) => "no answer in time, beginning to speak SSH",
                    None => "no SSH server has answered in time: what listens there may speak something else",
                };
                let message = format!("{shown}: {what}");
                return Err(other_protocol(session, shown)
                    .unwrap_or(Trouble { kind: TroubleKind::Connection, message }));
            }
            Err(error) => {
                // libssh2 does not tell these two apart, and one of them may pass.
                let what = match error.code() {
                    KEX_FAILURE => "the connection was closed, or no key exchange, cipher or MAC of the server's is supported \
                                    here (`ssh -vv` shows what it offers)"
                        .to_owned(),
                    _ => error.message().to_lowercase(),
                };
                let message = format!("{shown}: cannot begin to speak SSH: {what}");
                return Err(other_protocol(session, shown)
                    .unwrap_or(Trouble { kind: TroubleKind::Connection, message }));
            }
        }
    }
}

/// What a server is told to be that speaks something else, or the SSH of the last century.
fn other_protocol(session: &Session, shown: &str) -> Option<Trouble> {
    let banner = session.banner()?;
    let is_old = banner.strip_prefix("SSH-1.").is_some_and(|rest| !rest.starts_with("99"));
    is_old.then(|| Trouble {
        kind: TroubleKind::Login,
        message: format!("{shown}: the server speaks SSH 1 only ({banner}), which is not supported"),
    })
}
