//! Signals that ask the run to end: SIGINT (Ctrl-C), SIGTERM (what CI sends), SIGHUP (a terminal that was closed).

use std::io;
use std::sync::mpsc::Sender;

use tokio::signal::unix::{SignalKind, signal};

use super::Message;

/// Passes them on to the run, for as long as the process lives.
pub(super) fn listen(sender: Sender<Message>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupts, mut terminations, mut hangups) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            loop {
                let name = tokio::select! {
                    _ = interrupts.recv() => "SIGINT",
                    _ = terminations.recv() => "SIGTERM",
                    _ = hangups.recv() => "SIGHUP",
                };
                if sender.send(Message::Signal(name)).is_err() {
                    return;
                }
            }
        });
    })?;
    Ok(())
}
