//! What a host's shell is given to read, and the marks by which we learn, within the command's own standard error, which
//! process runs and how it ended. Pure.
//!
//! The text goes to `/bin/sh` by its standard input, so it stands in no argument list, whatever login shell the user has.
//! The exit status comes as a mark and not only from the SSH server, for a child that keeps the channel open would
//! withhold it, and libssh2 reads 0 before it has come.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fatebook::ShellText;

use super::deadman;
use super::quote::quote;

/// A command on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostCommand {
    /// A program with its arguments.
    Program {
        /// The program and where it lies.
        program: Place,
        /// Its arguments, byte for byte.
        arguments: Vec<String>,
    },
    /// Shell text, with `"$@"` where its arguments go if they go behind it.
    Shell {
        /// What comes before the script that the text names, if it names one of ours.
        before: String,
        /// The script of ours that it names.
        script: Option<Place>,
        /// What comes after it.
        after: String,
        /// Whether a line that fails ends it.
        #[serde(default)]
        ends_at_failure: bool,
        /// Its arguments.
        arguments: Vec<String>,
    },
}

/// Where a program lies on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// In the folder of our own.
    Folder(String),
    /// As written: a path, or a name to be found in `PATH`.
    AsWritten(String),
}

/// A command with its variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostScript {
    /// What is run.
    pub command: HostCommand,
    /// With these variables.
    pub env: Vec<(String, String)>,
    /// What the command has to do with the healing of its case.
    pub role: Role,
}

/// What a command has to do with the healing of its case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Nothing.
    Bystander,
    /// It breaks the host: what heals it is left there first, and its dead man's switch is armed.
    Breaks(Box<Arming>),
    /// It heals the host: it keeps out of the dead man's switch's way, and disarms it when it succeeds.
    Heals {
        /// The case's key.
        case: String,
    },
}

/// What is left on a host before it is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arming {
    /// The case's key.
    pub case: String,
    /// The command that heals the host.
    pub reverter: HostScript,
    /// When the host heals by itself, counted from just before the inducer; never, if it is to do without.
    pub deadline: Option<Duration>,
    /// How long a reverter that is at work then is let finish.
    pub patience: Duration,
}

impl HostScript {
    /// The variables and the command as shell text, on a host where our folder has this path. What it prints is the
    /// command's own; its status is the command's.
    pub(super) fn text(&self, folder: &str) -> String {
        let mut text = String::new();
        for (name, value) in &self.env {
            text.push_str(&format!("export {name}={}\n", quote(value)));
        }
        text.push_str(&self.command_text(folder));
        text.push('\n');
        text
    }

    /// The program of the host that it runs, if it is none of ours.
    pub(super) fn host_program(&self) -> Option<&str> {
        match &self.command {
            HostCommand::Program { program: Place::AsWritten(program), .. } => Some(program),
            _ => None,
        }
    }

    fn command_text(&self, folder: &str) -> String {
        let place = |place: &Place| match place {
            Place::Folder(name) => quote(&format!("{folder}/{name}")),
            Place::AsWritten(path) => quote(path),
        };
        let mut words = Vec::new();
        let arguments = match &self.command {
            HostCommand::Program { program, arguments } => {
                let word = place(program);
                // A word that the shell would take for one of its own, or for an option, is still a program's name.
                words.push(word);
                arguments
            }
            HostCommand::Shell { before, script, after, ends_at_failure, arguments } => {
                let script = script.as_ref().map(place).unwrap_or_default();
                let text = format!("{before}{script}{after}");
                let shell = ShellText { text, ends_at_failure: *ends_at_failure };
                words.extend(shell.words().iter().map(|word| quote(word)));
                arguments
            }
        };
        words.extend(arguments.iter().map(|argument| quote(argument)));
        words.join(" ")
    }

    /// The whole text for the host's shell: marks, variables, command. `token` is of letters and digits, new for each run;
    /// with `setsid` the dead man's switch can be armed by the same shell.
    pub(super) fn marked(&self, token: &str, folder: &str, setsid: bool) -> String {
        let mut exports = String::new();
        for (name, value) in &self.env {
            exports.push_str(&format!("export {name}={}\n", quote(value)));
        }
        let command = self.command_text(folder);
        let body = match &self.role {
            Role::Bystander => format!("{exports}{command} </dev/null\n_pisaura_s=$?\n"),
            Role::Breaks(arming) => {
                // Without `setsid` it was armed before, by a shell of its own.
                let arm = match setsid || arming.deadline.is_none() {
                    true => deadman::arm(arming, folder, setsid),
                    false => String::new(),
                };
                format!("{arm}{exports}{}", deadman::inducing(&command, folder, &arming.case))
            }
            Role::Heals { case } => {
                let watched = format!("printf %s '{token}:w0;' >&2");
                let again = deadman::leave_again(self, folder, case);
                format!("{again}{exports}{}", deadman::guarded(&command, &watched, folder, case))
            }
        };
        // The braces make the shell read all of it before it runs any, so nothing of it is left for the command to read.
        format!(
            "{{\nprintf %s '{token}:p'$$';' >&2\n{body}printf %s '{token}:x'$_pisaura_s';' >&2\nexit 0\n}}\n"
        )
    }
}

/// Takes the marks out of a stream, however it is cut, and passes everything else on.
#[derive(Debug)]
pub(super) struct Marks {
    token: Vec<u8>,
    held: Vec<u8>,
    pub(super) process: Option<u32>,
    pub(super) status: Option<i32>,
    /// The host was healed by its dead man's switch, and the command had nothing left to do.
    pub(super) watched: bool,
}

/// Longer than any mark's number.
const NUMBER_BYTES_MAX: usize = 12;

impl Marks {
    pub(super) fn new(token: &str) -> Self {
        Self {
            token: format!("{token}:").into_bytes(),
            held: Vec::new(),
            process: None,
            status: None,
            watched: false,
        }
    }

    /// Takes in bytes, and gives back those that are known to be the command's own.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut own = Vec::new();
        loop {
            let Some(at) = find(&self.held, &self.token) else {
                // What may be the beginning of a mark is held back.
                let keep = (1..self.token.len().min(self.held.len() + 1))
                    .rev()
                    .find(|&length| self.held.ends_with(&self.token[..length]))
                    .unwrap_or(0);
                own.extend(self.held.drain(..self.held.len() - keep));
                return own;
            };
            own.extend(self.held.drain(..at));
            let rest = &self.held[self.token.len()..];
            let Some(end) = rest.iter().position(|&byte| byte == b';') else {
                if rest.len() <= NUMBER_BYTES_MAX {
                    return own;
                }
                // No mark of ours is that long.
                let token = self.token.len();
                own.extend(self.held.drain(..token));
                continue;
            };
            let mark = String::from_utf8_lossy(&rest[..end]).into_owned();
            let whole = self.token.len() + end + 1;
            match (mark.get(..1), mark.get(1..).and_then(|number| number.parse::<i32>().ok())) {
                (Some("p"), Some(number)) => self.process = u32::try_from(number).ok(),
                (Some("x"), Some(number)) => self.status = Some(number),
                (Some("w"), Some(_)) => self.watched = true,
                // It only looks like a mark.
                _ => {
                    own.extend(self.held.drain(..whole));
                    continue;
                }
            }
            self.held.drain(..whole);
        }
    }

    /// The stream is over: what was held back is the command's own.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_however_the_stream_is_cut() {
        let stream = b"TOKTOKEN:p77;out TOKEN;TOKEN:zzz;TOKEN:p123456789012345;\xffTOKEN:x137;late TOKEN";
        for cut in 0..=stream.len() {
            for second in cut..=stream.len() {
                let mut marks = Marks::new("TOKEN");
                let mut own = marks.push(&stream[..cut]);
                own.extend(marks.push(&stream[cut..second]));
                own.extend(marks.push(&stream[second..]));
                own.extend(marks.finish());
                assert_eq!(
                    own, b"TOKout TOKEN;TOKEN:zzz;TOKEN:p123456789012345;\xfflate TOKEN",
                    "cut at {cut} and {second}"
                );
                assert_eq!((marks.process, marks.status), (Some(77), Some(137)));
            }
        }
    }

    #[test]
    fn the_text_is_what_a_shell_runs() {
        let script = HostScript {
            command: HostCommand::Shell {
                before: "A=1 ".into(),
                script: Some(Place::Folder("heal it.sh".into())),
                after: " now".into(),
                ends_at_failure: false,
                arguments: vec!["x y".into()],
            },
            env: vec![("V".into(), "it's".into())],
            role: Role::Bystander,
        };
        assert_eq!(
            script.text("/h/.pisaura/1"),
            "export V='it'\\''s'\n/bin/sh -c 'A=1 '\\''/h/.pisaura/1/heal it.sh'\\'' now' sh 'x y'\n"
        );
        let program = HostCommand::Program {
            program: Place::AsWritten("systemctl".into()),
            arguments: vec!["stop".into(), String::new()],
        };
        assert_eq!(
            HostScript { command: program, ..script }.marked("T", "/h", true),
            "{\nprintf %s 'T:p'$$';' >&2\nexport V='it'\\''s'\nsystemctl stop '' </dev/null\n_pisaura_s=$?\n\
             printf %s 'T:x'$_pisaura_s';' >&2\nexit 0\n}\n"
        );
    }
}
