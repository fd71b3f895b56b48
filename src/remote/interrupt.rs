//! An interrupt that can be waited for together with file descriptors, so that nothing has to look for it now and then.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// A flag that is raised once and stays up; its descriptor is readable from then on.
#[derive(Clone, Debug)]
pub struct Interrupt {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    raised: AtomicBool,
    descriptor: OwnedFd,
}

impl Interrupt {
    /// A flag that is down. Fails if the process has no descriptors left.
    pub fn new() -> std::io::Result<Self> {
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { inner: Arc::new(Inner { raised: AtomicBool::new(false), descriptor }) })
    }

    /// Raises the flag.
    pub fn raise(&self) {
        self.inner.raised.store(true, Ordering::SeqCst);
        // It can only fail when the counter is full, and then it is readable.
        let _ = rustix::io::write(&self.inner.descriptor, &1u64.to_ne_bytes());
    }

    /// Waits until this moment, or until the flag is up if `listens`.
    pub fn wait_until(&self, until: Instant, listens: bool) {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let mut descriptors = [PollFd::new(self, PollFlags::IN)];
            let waited_for = if listens { &mut descriptors[..] } else { &mut [] };
            match poll(waited_for, Some(&timeout)) {
                Ok(0) if !left.is_zero() => {}
                Err(rustix::io::Errno::INTR) => {}
                _ => return,
            }
        }
    }

    /// Whether the flag is up.
    pub fn is_raised(&self) -> bool {
        self.inner.raised.load(Ordering::SeqCst)
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.descriptor.as_fd()
    }
}
