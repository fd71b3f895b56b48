//! A shell that is begun on a connection before it is needed, while a command is still at work there. Owns when. To open a channel
//! takes two answers of the server, which begins a session and a login shell then: more than most texts take.
//!
//! libssh2 opens one channel at a time on a session: nobody else opens one before [`Spare::settle`].

use std::cell::RefCell;

use ssh2::{Channel, Error};

use crate::machine::Trouble;

use super::connection::{EAGAIN, Waiter, Woken, is_lost};
use super::exchange::close;
use super::host::loader;

/// The next shell of a connection.
pub(super) struct Spare {
    shell: &'static str,
    state: RefCell<State>,
}

#[derive(Default)]
enum State {
    #[default]
    None,
    Opening,
    Starting(Channel),
    Waiting(Channel),
    /// The server lets no second one in: it is not asked again.
    Refused,
}

impl Spare {
    /// None yet.
    pub(super) fn new(shell: &'static str) -> Self {
        Self { shell, state: RefCell::default() }
    }

    /// Goes on with it as far as that goes without waiting; what has gone out in part is sent whole, for libssh2 sends nothing else
    /// before.
    pub(super) fn go_on(&self, waiter: &Waiter<'_>) -> Woken {
        loop {
            match self.step(waiter) {
                Ok(()) if self.is_on_its_way() => {}
                Err(error) if error.code() == EAGAIN && waiter.must_send() => match waiter.wait_to_send() {
                    Woken::Socket => {}
                    woken => return woken,
                },
                // A connection that is lost is noticed by what is done on it next.
                _ => return Woken::Socket,
            }
        }
    }

    fn is_on_its_way(&self) -> bool {
        matches!(*self.state.borrow(), State::Opening | State::Starting(_))
    }

    /// Ends what has begun: nothing is on its way afterwards. Fails if the connection is lost, or time is up.
    pub(super) fn settle(&self, waiter: &Waiter<'_>) -> Result<(), Trouble> {
        while self.is_on_its_way() {
            waiter
                .until_done(|| self.step(waiter))
                .map_err(|error| waiter.trouble(&error, "starting a shell"))?;
        }
        Ok(())
    }

    /// The shell, if there is one that waits.
    pub(super) fn take(&self, waiter: &Waiter<'_>) -> Result<Option<Channel>, Trouble> {
        self.settle(waiter)?;
        let mut state = self.state.borrow_mut();
        match std::mem::take(&mut *state) {
            State::Waiting(channel) => Ok(Some(channel)),
            other => {
                *state = other;
                Ok(None)
            }
        }
    }

    /// Does without it from now on, for it takes another channel's place; answers with whether there was one.
    pub(super) fn give_up(&self, waiter: &Waiter<'_>) -> bool {
        match self.state.replace(State::Refused) {
            State::Starting(mut channel) | State::Waiting(mut channel) => {
                close(&mut channel, waiter, true);
                true
            }
            _ => false,
        }
    }

    /// One step. Fails with `EAGAIN` while the server has not answered; what else it fails with ends the attempt, and only that.
    fn step(&self, waiter: &Waiter<'_>) -> Result<(), Error> {
        let mut state = self.state.borrow_mut();
        let result = match &mut *state {
            State::None | State::Opening => {
                *state = State::Opening;
                waiter.session.channel_session().map(State::Starting)
            }
            State::Starting(channel) => channel.exec(&loader(self.shell)).map(|()| State::None),
            State::Waiting(_) | State::Refused => return Ok(()),
        };
        match result {
            Ok(State::None) => {
                if let State::Starting(channel) = std::mem::take(&mut *state) {
                    *state = State::Waiting(channel);
                }
                Ok(())
            }
            Ok(next) => {
                *state = next;
                Ok(())
            }
            Err(error) if error.code() == EAGAIN => Err(error),
            Err(error) => {
                let before = std::mem::replace(&mut *state, State::Refused);
                drop(state);
                if let State::Starting(mut channel) = before {
                    close(&mut channel, waiter, true);
                }
                if is_lost(&error) { Err(error) } else { Ok(()) }
            }
        }
    }
}
