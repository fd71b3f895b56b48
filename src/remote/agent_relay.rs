//! What stands between libssh2 and the ssh-agent, so that an agent that does not answer can be left: libssh2 waits for it without a
//! limit. Owns a socket in a folder of its own, and threads that end with it.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Interrupt, Limit};

/// How much of the limit is kept back, for other ways to log in.
const KEPT_BACK: Duration = Duration::from_millis(500);
/// How soon an interrupt is seen.
const LOOK: Duration = Duration::from_millis(100);

/// A socket behind which the agent answers, until the limit is over.
pub(super) struct AgentRelay {
    folder: tempfile::TempDir,
    ended: Arc<AtomicBool>,
    /// Dropped, it ends the watching.
    _over: Sender<()>,
}

impl AgentRelay {
    /// Begins one for the agent that the environment names. Fails if it cannot be reached.
    pub(super) fn start(limit: Limit<'_>) -> io::Result<Self> {
        let agent = UnixStream::connect(std::env::var_os("SSH_AUTH_SOCK").unwrap_or_default())?;
        let folder = tempfile::Builder::new().prefix("pisaura-agent-").tempdir()?;
        let listener = UnixListener::bind(folder.path().join("agent"))?;
        let (over, is_over) = channel();
        let ended = Arc::new(AtomicBool::new(false));
        let streams = Arc::new(Mutex::new(vec![agent.try_clone()?]));
        let interrupt = limit.interrupt.cloned();
        let time = limit.left().saturating_sub(KEPT_BACK);
        {
            let (ended, streams) = (Arc::clone(&ended), Arc::clone(&streams));
            start("agent limit", move || {
                let mut left = time;
                loop {
                    match is_over.recv_timeout(left.min(LOOK)) {
                        Err(RecvTimeoutError::Timeout)
                            if left > LOOK && !interrupt.as_ref().is_some_and(Interrupt::is_raised) =>
                        {
                            left = left.saturating_sub(LOOK);
                        }
                        Err(RecvTimeoutError::Timeout) => {
                            ended.store(true, Ordering::Relaxed);
                            break;
                        }
                        _ => break,
                    }
                }
                for stream in streams.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                    let _ = stream.shutdown(Shutdown::Both);
                }
            })?;
        }
        start("agent", move || {
            let Ok((client, _)) = listener.accept() else { return };
            let copies = (client.try_clone(), agent.try_clone());
            let (Ok(mut to_client), Ok(mut from_agent)) = copies else { return };
            let mut all = streams.lock().unwrap_or_else(PoisonError::into_inner);
            if all.is_empty() {
                return;
            }
            all.extend(client.try_clone());
            drop(all);
            let answers = start("agent answers", move || {
                let _ = io::copy(&mut from_agent, &mut to_client);
                let _ = to_client.shutdown(Shutdown::Both);
            });
            let (mut client, mut agent) = (client, agent);
            let _ = io::copy(&mut client, &mut agent);
            let _ = agent.shutdown(Shutdown::Both);
            drop(answers);
        })?;
        Ok(Self { folder, ended, _over: over })
    }

    /// Where libssh2 finds it.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    /// Whether it was ended by the limit, or by an interrupt.
    pub(super) fn was_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

impl Drop for AgentRelay {
    fn drop(&mut self) {
        // Where nobody has connected, somebody does now, and the thread that waits for it ends.
        let _ = UnixStream::connect(self.path());
    }
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}
