//! Ends a connection whose limit is over, or whose run was interrupted, while libssh2 goes through what a server sends without an
//! end: it takes in all there is before it looks at anything else. Owns a thread for each connection.
//!
//! It has nothing to do with the dead man's switch of a host, nor with the watching of a service.
//!
//! Whoever waits between two calls of libssh2 sees the same limits by itself, and at once; this is for the time within a call.

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Interrupt, Limit};

/// How long after a limit a call may still be about to end by itself.
const GRACE: Duration = Duration::from_secs(1);
/// How much memory a login takes at the most, of which it needs less than a tenth.
const FLOOD_KIB: u64 = 64 * 1024;
/// How soon it is seen, while something is under way, that a run was interrupted.
const LOOK: Duration = Duration::from_millis(500);

/// How many servers are greeted just now.
static STRANGERS: AtomicU64 = AtomicU64::new(0);

/// The watchdog of a connection.
pub(super) struct Watchdog {
    watched: Arc<(Mutex<Watched>, Condvar)>,
}

#[derive(Clone, Default)]
struct Watched {
    until: Option<Instant>,
    interrupt: Option<Interrupt>,
    /// How much memory this process had, when somebody unknown began to send.
    memory_kib: Option<u64>,
    /// It had more.
    was_flooded: bool,
    is_over: bool,
}

impl Watchdog {
    /// Watches over this connection whenever it is told to. Without a thread there is no watchdog, and no other harm.
    pub(super) fn new(stream: &TcpStream) -> Self {
        let watched: Arc<(Mutex<Watched>, Condvar)> = Arc::default();
        if let Ok(stream) = stream.try_clone() {
            let watched = Arc::clone(&watched);
            let _ = std::thread::Builder::new()
                .name("watchdog".to_owned())
                .spawn(move || watch(&watched, &stream));
        }
        Self { watched }
    }

    /// Watches until what this returns is dropped.
    pub(super) fn watch(&self, limit: Limit<'_>) -> Watch<'_> {
        self.watch_with(limit, None)
    }

    fn watch_with(&self, limit: Limit<'_>, memory_kib: Option<u64>) -> Watch<'_> {
        let mut now = lock(&self.watched.0);
        let before = Before { until: now.until, interrupt: now.interrupt.take(), memory_kib: now.memory_kib };
        (now.until, now.interrupt) = (Some(limit.until), limit.interrupt.cloned());
        now.memory_kib = memory_kib.or(now.memory_kib);
        self.watched.1.notify_one();
        Watch { watchdog: self, before, is_of_stranger: false }
    }
}

impl Watchdog {
    /// The same while nobody knows who sends: libssh2 keeps whatever comes that it has not asked for.
    pub(super) fn watch_stranger(&self, limit: Limit<'_>) -> Watch<'_> {
        STRANGERS.fetch_add(1, Ordering::SeqCst);
        let mut watch = self.watch_with(limit, resident_kib());
        watch.is_of_stranger = true;
        watch
    }

    /// Whether a connection was ended for that.
    pub(super) fn was_flooded(&self) -> bool {
        lock(&self.watched.0).was_flooded
    }
}

/// How much memory this process has, if that is told.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        lock(&self.watched.0).is_over = true;
        self.watched.1.notify_one();
    }
}

/// While this lives, a limit is watched.
pub(super) struct Watch<'a> {
    watchdog: &'a Watchdog,
    before: Before,
    is_of_stranger: bool,
}

#[derive(Default)]
struct Before {
    until: Option<Instant>,
    interrupt: Option<Interrupt>,
    memory_kib: Option<u64>,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut now = lock(&self.watchdog.watched.0);
        if self.is_of_stranger {
            STRANGERS.fetch_sub(1, Ordering::SeqCst);
        }
        let before = std::mem::take(&mut self.before);
        (now.until, now.interrupt) = (before.until, before.interrupt);
        now.memory_kib = before.memory_kib;
    }
}

fn lock(watched: &Mutex<Watched>) -> MutexGuard<'_, Watched> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(watched: &(Mutex<Watched>, Condvar), stream: &TcpStream) {
    let mut now = lock(&watched.0);
    // An interrupt that is seen a second time has not ended what is under way.
    let mut seen = false;
    while !now.is_over {
        let Some(until) = now.until else {
            seen = false;
            now = watched.1.wait(now).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let raised = now.interrupt.as_ref().is_some_and(Interrupt::is_raised);
        let left = (until + GRACE).saturating_duration_since(Instant::now());
        let kib_before = now.memory_kib;
        // What one of them sends is not told apart from what the others do.
        let room_kib = FLOOD_KIB * STRANGERS.load(Ordering::SeqCst).max(1);
        if kib_before.is_some_and(|before| resident_kib().is_some_and(|kib| kib > before + room_kib)) {
            now.was_flooded = true;
            let _ = stream.shutdown(Shutdown::Both);
            now.until = None;
            continue;
        }
        if left.is_zero() || (raised && seen) {
            // What is read or written now ends with an error.
            let _ = stream.shutdown(Shutdown::Both);
            now.until = None;
            continue;
        }
        seen = raised;
        now = watched
            .1
            .wait_timeout(now, left.min(if kib_before.is_some() { LOOK / 10 } else { LOOK }))
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}
