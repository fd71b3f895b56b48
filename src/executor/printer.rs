//! What scripts print while they run, for those who want to see it at once.

use crate::fatebook::Redactor;
use crate::machine::{RunEvent, Step, Stream};

use super::Observer;

/// Passes output on in whole lines, so that a secret is never cut in two before it is taken out.
pub(super) struct LinePrinter<'a> {
    on: bool,
    case: usize,
    step: Step,
    /// The host that prints, if there are several.
    host: Option<&'a str>,
    redactor: &'a Redactor,
    observer: &'a Observer,
    held: [Vec<u8>; 2],
}

/// A line longer than this is passed on in parts.
const LINE_BYTES_MAX: usize = 64 * 1024;

impl<'a> LinePrinter<'a> {
    pub(super) fn new(
        on: bool,
        case: usize,
        step: Step,
        redactor: &'a Redactor,
        observer: &'a Observer,
    ) -> Self {
        Self { on, case, step, host: None, redactor, observer, held: [Vec::new(), Vec::new()] }
    }

    /// What one of several hosts prints: each line begins with its name.
    pub(super) fn of_host(self, host: Option<&'a str>) -> Self {
        Self { host, ..self }
    }

    pub(super) fn push(&mut self, stream: Stream, bytes: &[u8]) {
        if !self.on {
            return;
        }
        let held = &mut self.held[stream as usize];
        held.extend_from_slice(bytes);
        let end = match held.iter().rposition(|&byte| byte == b'\n') {
            Some(end) => end + 1,
            // A secret that stands across the end of a part is not yet passed on.
            None if held.len() > LINE_BYTES_MAX => held.len() - self.redactor.longest().min(held.len()),
            None => return,
        };
        let lines: Vec<u8> = held.drain(..end).collect();
        self.tell(stream, &lines);
    }

    pub(super) fn finish(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let held = std::mem::take(&mut self.held[stream as usize]);
            if !held.is_empty() {
                self.tell(stream, &held);
            }
        }
    }

    fn tell(&self, stream: Stream, bytes: &[u8]) {
        let mut text = self.redactor.clean(&String::from_utf8_lossy(bytes));
        if let Some(host) = self.host {
            text = text.split_inclusive('\n').map(|line| format!("{host}: {line}")).collect();
        }
        (self.observer)(RunEvent::Printed { case: self.case, step: self.step, stream, text });
    }
}
