//! Signals that ask the run to end: SIGINT (Ctrl-C), SIGTERM (what CI sends), SIGHUP (a terminal that was closed).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::remote::Interrupt;

use super::Message;

/// How long the run has to take in a second signal, which ends it at once, before the process is ended without it.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Passes them on to the run, for as long as the process lives; `heard` is how many the run has taken in. One that hangs in a system
/// call, as on a disk that does not answer, is ended by the second signal all the same.
pub(super) fn listen(sender: Sender<Message>, heard: Arc<AtomicUsize>) -> io::Result<()> {
    let mut sent = 0;
    let mut first: Option<Instant> = None;
    each(move |name| {
        sent += 1;
        let in_earnest =
            name != "SIGHUP" && first.is_some_and(|at| at.elapsed() >= super::SECOND_SIGNAL_AFTER);
        first.get_or_insert_with(Instant::now);
        let is_sent = sender.send(Message::Signal(name)).is_ok();
        if is_sent && in_earnest {
            let (heard, wanted) = (Arc::clone(&heard), sent);
            let _ = std::thread::Builder::new().name("leave".to_owned()).spawn(move || {
                std::thread::sleep(ANSWER_WITHIN);
                if heard.load(Ordering::SeqCst) < wanted {
                    eprintln!("pisaura: {name} again: the run hangs, and is left at once; `pisaura revert --list` shows the hosts that may be broken");
                    std::process::exit(super::ExitKind::Unreverted as i32);
                }
            });
        }
        is_sent
    })
}

/// While this lives, the first signal raises a flag, and is told; one more, not at the same moment, ends the process at once.
#[derive(Debug)]
pub struct Listening {
    over: Arc<AtomicBool>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// What is told at a signal.
#[derive(Clone, Copy, Debug)]
pub struct SignalWords {
    /// What is waited for after the first one.
    pub first: &'static str,
    /// What it means that the second one ends the process.
    pub second: &'static str,
}

/// Listens while something is done that is no run: what older runs have left is healed. Fails if nobody can.
pub fn raise_on_signal(
    interrupt: Interrupt,
    tell: fn(&str),
    words: SignalWords,
    exit: super::ExitKind,
) -> io::Result<Listening> {
    let over = Arc::new(AtomicBool::new(false));
    let listening = Listening { over: Arc::clone(&over) };
    let mut first: Option<Instant> = None;
    each(move |name| {
        if over.load(Ordering::Relaxed) {
            return false;
        }
        match first {
            None => {
                first = Some(Instant::now());
                interrupt.raise();
                tell(&format!("{name}: {}; press again to leave at once", words.first));
            }
            Some(at) if name != "SIGHUP" && at.elapsed() >= super::SECOND_SIGNAL_AFTER => {
                tell(&format!("{name}: left at once: {}", words.second));
                std::process::exit(exit as i32);
            }
            Some(_) => {}
        }
        true
    })?;
    Ok(listening)
}

/// Calls this with each signal's name, until it answers no.
fn each(mut hear: impl FnMut(&'static str) -> bool + Send + 'static) -> io::Result<()> {
    // Once we listen, it is not ignored any more.
    static HANGUPS_IGNORED: OnceLock<bool> = OnceLock::new();
    let hangups_ignored = *HANGUPS_IGNORED.get_or_init(|| is_ignored(SIGHUP));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupts, mut terminations, mut hangups) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    // A file that may grow no further is an error of writing (EFBIG), and no reason to end while a host is broken.
    let mut too_large = {
        let _entered = runtime.enter();
        signal(SignalKind::from_raw(SIGXFSZ))?
    };
    // What `nohup` has had ignored stays ignored.
    let hangups_count = !hangups_ignored;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            loop {
                let name = tokio::select! {
                    _ = interrupts.recv() => "SIGINT",
                    _ = terminations.recv() => "SIGTERM",
                    _ = hangups.recv(), if hangups_count => "SIGHUP",
                    _ = too_large.recv() => continue,
                };
                if !hear(name) {
                    return;
                }
            }
        });
    })?;
    Ok(())
}

const SIGHUP: u32 = 1;
const SIGXFSZ: i32 = 25;

/// Whether a signal was ignored when this process began, as Linux' proc(5) tells of the process itself.
fn is_ignored(signal: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
