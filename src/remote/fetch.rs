//! Fetching a file of a book by its URL. Touches the network, by the proxy that the environment names, and the file system.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::oneshot;

use crate::mesos::causes;

use super::{Interrupt, Limit};

/// How long a server may take to be reached, and then to send the next bytes.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// As many as browsers follow, about.
const REDIRECTS_MAX: usize = 10;
/// How long all of it may take.
const TOTAL_MAX: Duration = Duration::from_secs(300);

/// Puts what is at this URL (http or https) into a file. Redirects are followed, but not from https to http.
/// Fails, naming the URL, if it is not there, is longer than `bytes_max`, takes longer than the limit or five minutes, or the server
/// falls silent for half a minute; with an interrupt; and if the disk is full.
pub fn fetch(url: &str, to: &Path, bytes_max: u64, limit: Limit<'_>) -> io::Result<()> {
    let failed = |why: String| io::Error::other(format!("cannot fetch {url}: {why}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let fetching = async {
        let client = reqwest::Client::builder()
            .connect_timeout(SILENCE_MAX)
            .read_timeout(SILENCE_MAX)
            .timeout(TOTAL_MAX)
            .redirect(reqwest::redirect::Policy::custom(|attempt| {
                let is_safe = |url: Option<&reqwest::Url>| url.is_some_and(|url| url.scheme() == "https");
                if attempt.previous().len() > REDIRECTS_MAX {
                    attempt.error("too many redirects")
                } else if is_safe(attempt.previous().last()) && !is_safe(Some(attempt.url())) {
                    attempt.error("redirected from https to http, where anybody may answer")
                } else {
                    attempt.follow()
                }
            }))
            .user_agent(concat!("pisaura/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| failed(causes(&error)))?;
        let mut answer =
            client.get(url).send().await.map_err(|error| failed(causes(&error.without_url())))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(failed(format!("the server says {status}")));
        }
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", to.display()));
        let mut file = File::create(to).map_err(named)?;
        let mut left = bytes_max;
        while let Some(bytes) = answer.chunk().await.map_err(|error| failed(causes(&error.without_url())))? {
            let too_long = || failed(format!("it is longer than {} MiB", bytes_max / (1024 * 1024)));
            left = left.checked_sub(bytes.len() as u64).ok_or_else(too_long)?;
            file.write_all(&bytes).map_err(named)?;
        }
        Ok(())
    };
    let (done, (tell, told)) = (Interrupt::new()?, oneshot::channel());
    let result = std::thread::scope(|scope| {
        if let Some(interrupt) = limit.interrupt {
            let waiting = || {
                wait_for_either(interrupt, &done, limit);
                if interrupt.is_raised() {
                    // Nobody hears it when the file is there.
                    let _ = tell.send(());
                }
            };
            std::thread::Builder::new().name("fetch".to_owned()).spawn_scoped(scope, waiting)?;
        }
        let result = runtime.block_on(async {
            tokio::select! {
                result = fetching => result,
                () = tokio::time::sleep(limit.left()) => Err(failed("it took longer than the time limit".to_owned())),
                Ok(()) = told => Err(failed("interrupted".to_owned())),
            }
        });
        done.raise();
        result
    });
    // A name server that does not answer is not waited for.
    runtime.shutdown_background();
    result
}

/// Waits until one of them is raised, or to the limit.
fn wait_for_either(interrupt: &Interrupt, done: &Interrupt, limit: Limit<'_>) {
    let mut descriptors = [PollFd::new(interrupt, PollFlags::IN), PollFd::new(done, PollFlags::IN)];
    loop {
        let left = limit.left();
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(0) if !left.is_zero() => {}
            Err(rustix::io::Errno::INTR) => {}
            _ => return,
        }
    }
}
