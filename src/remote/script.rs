//! Commands for a host, as the protocol in `host` puts them into its texts; and the marks by which we learn, within what a text
//! prints, which process runs, how it ended, and what was found there. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fatebook::{ShellText, programs};

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
    /// Several, one after the other; `begun` in the case's folder says how many of those that break the host were begun.
    Steps {
        /// Each of them.
        steps: Vec<Self>,
        /// Whether they heal what as many others break: from the last one that was begun to the first.
        reverts: bool,
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

impl HostCommand {
    /// Runs the file of this name in our folder, where it names one by a path. Of several steps those are meant that have one there.
    pub fn run_from_folder(&mut self, name: &str) {
        let place = match self {
            Self::Program { program, .. } => Some(program),
            Self::Shell { script, .. } => script.as_mut(),
            Self::Steps { steps, .. } => {
                let own = steps.iter_mut().filter(|step| step.own_file().is_some());
                return own.for_each(|step| step.run_from_folder(name));
            }
        };
        if let Some(place) = place {
            *place = Place::Folder(name.to_owned());
        }
    }

    /// Its steps, or itself.
    pub(super) fn parts(&self) -> &[Self] {
        match self {
            Self::Steps { steps, .. } => steps,
            one => std::slice::from_ref(one),
        }
    }

    fn place(&self) -> Option<&Place> {
        match self {
            Self::Program { program, .. } => Some(program),
            Self::Shell { script, .. } => script.as_ref(),
            Self::Steps { .. } => None,
        }
    }

    /// The name in our folder of the file that it runs, if it is one of ours.
    pub(super) fn own_file(&self) -> Option<&str> {
        match self.place()? {
            Place::Folder(name) => Some(name),
            Place::AsWritten(_) => None,
        }
    }

    /// The path that it runs as the book has written it, if that is one from the root.
    pub(super) fn path(&self) -> Option<&str> {
        match self.place()? {
            Place::AsWritten(path) if path.starts_with('/') => Some(path),
            _ => None,
        }
    }

    fn change_texts(&mut self, change: &dyn Fn(&str) -> String) {
        let each = |text: &mut String| *text = change(text);
        match self {
            Self::Program { arguments, .. } => arguments.iter_mut().for_each(each),
            Self::Shell { before, after, arguments, .. } => {
                [before, after].into_iter().chain(arguments).for_each(each);
            }
            Self::Steps { steps, .. } => steps.iter_mut().for_each(|step| step.change_texts(change)),
        }
    }

    /// As a shell reads it, if it is one alone.
    fn text(&self, folder: &str) -> String {
        let mut words = Vec::new();
        let arguments = match self {
            Self::Program { program, arguments } => {
                // A word that the shell would take for one of its own, or for an option, is still a program's name.
                words.push(place_text(program, folder));
                arguments.as_slice()
            }
            Self::Shell { before, script, after, ends_at_failure, arguments } => {
                let script = script.as_ref().map(|script| place_text(script, folder)).unwrap_or_default();
                let text = format!("{before}{script}{after}");
                let shell = ShellText { text, ends_at_failure: *ends_at_failure };
                words.extend(shell.words().iter().map(|word| quote(word)));
                arguments
            }
            Self::Steps { .. } => &[],
        };
        words.extend(arguments.iter().map(|argument| quote(argument)));
        words.join(" ")
    }

    /// Lines that prove, with the functions of `check.sh`, that it can begin on the host.
    fn check_lines(&self, name: &str, folder: &str) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(file) = self.own_file() {
            lines.push(format!("_p_check_file {name} {}", quote(&format!("{folder}/{file}"))));
        }
        match self {
            Self::Program { program: Place::AsWritten(program), .. } => {
                lines.push(format!("_p_check_program {name} {}", quote(program)));
            }
            Self::Program { .. } | Self::Steps { .. } => {}
            Self::Shell { before, script, after, .. } => {
                let place = script.as_ref().map(|script| place_text(script, folder)).unwrap_or_default();
                let text = format!("{before}{place}{after}");
                lines.push(format!("_p_check_text {name} {}", quote(&text)));
                let programs = programs(&text).into_iter().filter(|program| !program.starts_with(folder));
                lines.extend(programs.map(|program| format!("_p_check_program {name} {}", quote(&program))));
            }
        }
        lines
    }
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
    Heals(Healing),
}

/// What is left on a host before it is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arming {
    /// Asked once more, just before the host is broken.
    pub only_if: Option<HostScript>,
    /// The command that heals the host.
    pub reverter: HostScript,
    /// When the host heals by itself, counted from just before the inducer; never, if it is to do without.
    pub deadline: Option<Duration>,
    /// How long a reverter that is at work then is let finish.
    pub patience: Duration,
    /// How often the dead man's switch tries the reverter.
    pub tries: u32,
    /// Whether the dead man's switch may end with the login that has armed it.
    #[serde(default)]
    pub may_die: bool,
    /// Whether the inducer may cut the host off from us, or have it start anew: then what heals it is on the disk before.
    #[serde(default)]
    pub cuts_off: bool,
    /// Who is behind it, for whoever finds the host taken: words without blanks.
    pub who: String,
}

/// How a host is healed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healing {
    /// Whether the host heals by itself.
    pub watched: bool,
    /// How long a reverter that somebody else has begun is let finish.
    pub patience: Duration,
    /// Whether what was left on the host comes before what is known here.
    pub as_armed: bool,
    /// Whether what is known here is all that it needs: secrets are not kept with a debt.
    pub is_known: bool,
}

impl HostScript {
    /// Changes the words of the command and the values of its variables.
    pub fn change_texts(&mut self, change: &dyn Fn(&str) -> String) {
        self.command.change_texts(change);
        self.env.iter_mut().for_each(|(_, value)| *value = change(value));
        if let Role::Breaks(arming) = &mut self.role {
            arming.reverter.change_texts(change);
            if let Some(only_if) = &mut arming.only_if {
                only_if.change_texts(change);
            }
        }
    }

    /// Its variables and the command as the text of a file that a shell on the host runs. Its status is the command's; a part of
    /// the text, without its last bracket, is none.
    pub(super) fn text(&self, folder: &str, mark: &str, whole: &str) -> String {
        format!("{{\n{whole}{}{} </dev/null\n}}\n", self.exports(mark), self.command_text(folder, mark))
    }

    /// The same as a shell's function of this name.
    pub(super) fn function(&self, name: &str, folder: &str, mark: &str, whole: &str) -> String {
        // The last command of a subshell takes its place, so the variables are seen by the command alone and cost no process.
        format!(
            "{name}() {{ (\n{whole}{}{}\n) </dev/null; }}\n",
            self.exports(mark),
            self.command_text(folder, mark)
        )
    }

    fn exports(&self, mark: &str) -> String {
        let own = [("PISAURA_MARK", mark)].into_iter();
        let all = self.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(own);
        all.fold(String::new(), |text, (name, value)| text + &format!("export {name}={}\n", quote(value)))
    }

    /// The same, of another file in our folder.
    pub(super) fn with_own_file(&self, name: &str) -> Self {
        let mut script = self.clone();
        script.command.run_from_folder(name);
        script
    }

    /// The name in our folder of the file that it runs, if it is one of ours: of what heals in several steps there is one at most.
    pub(super) fn own_file(&self) -> Option<&str> {
        self.command.parts().iter().find_map(HostCommand::own_file)
    }

    /// Lines that prove, with the functions of `check.sh`, that the command can begin on the host.
    pub(super) fn check_text(&self, folder: &str) -> String {
        let step = self.env.iter().find(|(name, _)| name == STEP).map_or("command", |(_, step)| step);
        let parts = self.command.parts();
        let name = |number: usize| match parts.len() {
            1 => quote(step),
            _ => quote(&format!("step {} of the {step}", number + 1)),
        };
        let all = parts.iter().enumerate();
        all.flat_map(|(number, part)| part.check_lines(&name(number), folder)).collect::<Vec<_>>().join("\n")
    }

    fn command_text(&self, folder: &str, mark: &str) -> String {
        match &self.command {
            HostCommand::Steps { steps, reverts: false } => breaking_text(steps, folder),
            HostCommand::Steps { steps, reverts: true } => {
                healing_text(steps, folder, &super::host::case_folder(folder, mark))
            }
            one => one.text(folder),
        }
    }
}

/// Steps that break the host, each written down before it begins: the first that fails is the last. For the text of `induce.sh`.
fn breaking_text(steps: &[HostCommand], folder: &str) -> String {
    let count = steps.len();
    let one = |(step, number): (&HostCommand, usize)| {
        format!(
            "_p_put begun {number} || {{ echo 'cannot write down that step {number} begins' >&2; exit 125; }}\n\
             [ \"$_p_Y\" = 0 ] || sync 2>/dev/null || :\n\
             {} || {{ _p_s=$?; echo 'step {number} of {count} failed' >&2; exit $_p_s; }}\n",
            step.text(folder)
        )
    };
    format!("{{\n{}}}", steps.iter().zip(1..).map(one).collect::<String>())
}

/// Steps that heal it, from the last one of those that were begun to the first, whatever becomes of the others. Where nobody can say
/// how many were, all are run: in whatever text this stands, and whether or not the case's folder is there, or answers.
fn healing_text(steps: &[HostCommand], folder: &str, case_folder: &str) -> String {
    let count = steps.len();
    let one = |(step, number): (&HostCommand, usize)| {
        format!(
            "[ \"$_p_n\" -lt {number} ] || {} || {{ _p_w=$?; echo 'reverting step {number} of {count} failed' >&2; }}\n",
            step.text(folder)
        )
    };
    let all: Vec<String> = steps.iter().zip(1..).map(one).collect();
    format!(
        "{{\n\
         _p_n= _p_w=0 _p_c=${{_p_C:-}}\n\
         [ -n \"$_p_c\" ] || _p_c={}\n\
         [ -n \"${{_p_every:-}}\" ] || {{ read -r _p_n _ <\"$_p_c/begun\"; }} 2>/dev/null || :\n\
         unset _p_every\n\
         case $_p_n in '' | *[!0-9]*) _p_n={count} ;; esac\n\
         {}(exit $_p_w)\n}}",
        quote(case_folder),
        all.into_iter().rev().collect::<String>()
    )
}

/// The variable in which a script finds its step.
const STEP: &str = "PISAURA_STEP";

fn place_text(place: &Place, folder: &str) -> String {
    match place {
        Place::Folder(name) => quote(&format!("{folder}/{name}")),
        Place::AsWritten(path) => quote(path),
    }
}

/// Takes the marks out of a stream, however it is cut, and passes everything else on.
#[derive(Debug)]
pub(super) struct Marks {
    token: Vec<u8>,
    held: Vec<u8>,
    /// By their letters, the last of each.
    found: [Option<i64>; 26],
}

/// What marks say, by their letters.
impl Marks {
    /// The process that runs our text, and when that was started by its host's clock, if it tells.
    pub(super) fn process(&self) -> Option<(u32, Option<i64>)> {
        self.get('p').and_then(|process| Some((u32::try_from(process).ok()?, self.get('s'))))
    }

    /// How the command ended.
    pub(super) fn status(&self) -> Option<i32> {
        self.get('x').and_then(|status| i32::try_from(status).ok())
    }

    /// The number behind a letter: see the texts in `host` for what each says.
    pub(super) fn get(&self, letter: char) -> Option<i64> {
        self.found[usize::from(letter as u8 - b'a')]
    }

    /// Whether there was none yet.
    pub(super) fn is_empty(&self) -> bool {
        self.found.iter().all(Option::is_none)
    }

    /// Whether nothing more comes after what was found: the text has ended, or has said why it goes no further.
    pub(super) fn is_over(&self) -> bool {
        ['x', 'a', 'c', 'm'].into_iter().any(|letter| self.get(letter).is_some())
    }
}

/// Longer than any mark's number.
const NUMBER_BYTES_MAX: usize = 20;

impl Marks {
    pub(super) fn new(token: &str) -> Self {
        Self { token: format!("{token}:").into_bytes(), held: Vec::new(), found: [None; 26] }
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
            match (mark.get(..1), mark.get(1..).and_then(|number| number.parse::<i64>().ok())) {
                (Some(letter), Some(number)) if letter.as_bytes()[0].is_ascii_lowercase() => {
                    self.found[usize::from(letter.as_bytes()[0] - b'a')] = Some(number);
                }
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
        let stream =
            b"TOKTOKEN:p77;out TOKEN;TOKEN:zzz;TOKEN:p123456789012345678901;\xffTOKEN:x137;late TOKEN";
        for cut in 0..=stream.len() {
            for second in cut..=stream.len() {
                let mut marks = Marks::new("TOKEN");
                let mut own = marks.push(&stream[..cut]);
                own.extend(marks.push(&stream[cut..second]));
                own.extend(marks.push(&stream[second..]));
                own.extend(marks.finish());
                assert_eq!(
                    own, b"TOKout TOKEN;TOKEN:zzz;TOKEN:p123456789012345678901;\xfflate TOKEN",
                    "cut at {cut} and {second}"
                );
                assert_eq!((marks.process(), marks.status()), (Some((77, None)), Some(137)));
            }
        }
    }

    /// However many were begun, and wherever that is looked for, in each shell: what fails is told, and keeps no other from it.
    #[test]
    fn what_was_begun_is_reverted_from_the_last_to_the_first() {
        let step = |number: u32| HostCommand::Shell {
            before: format!("printf {number}; [ $FAILS != {number} ]"),
            script: None,
            after: String::new(),
            ends_at_failure: false,
            arguments: Vec::new(),
        };
        let steps: Vec<HostCommand> = (1..=3).map(step).collect();
        let script = HostScript {
            command: HostCommand::Steps { steps, reverts: true },
            env: Vec::new(),
            role: Role::Bystander,
        };
        let folder = tempfile::tempdir().expect("a folder");
        let case = folder.path().join(".case-m");
        std::fs::create_dir(&case).expect("a folder");
        let text = script.text(&folder.path().display().to_string(), "m", "");
        let check = |begun: Option<&str>, fails: u32, before: &str, said: &str, succeeds: bool| {
            let _ = std::fs::remove_file(case.join("begun"));
            if let Some(begun) = begun {
                std::fs::write(case.join("begun"), format!("{begun:<63}\n")).expect("a file");
            }
            for shell in ["dash", "busybox sh", "bash --posix"] {
                let mut words = shell.split(' ');
                let mut command = std::process::Command::new(words.next().unwrap_or_default());
                command.args(words).arg("-euc").arg(format!("{before}\n{text}"));
                let output = command.env("FAILS", fails.to_string()).output().expect("a shell");
                let told = String::from_utf8_lossy(&output.stdout).into_owned();
                assert_eq!(
                    (told.as_str(), output.status.success()),
                    (said, succeeds),
                    "{shell}: {begun:?} {fails}"
                );
                let errors = String::from_utf8_lossy(&output.stderr).into_owned();
                let wanted = match succeeds {
                    true => String::new(),
                    false => format!("reverting step {fails} of 3 failed\n"),
                };
                assert_eq!(errors, wanted, "{shell}: {begun:?} {fails}");
            }
        };
        check(Some("0"), 0, "", "", true);
        check(Some("1"), 0, "", "1", true);
        check(Some("2"), 0, "", "21", true);
        check(Some("2"), 2, "", "21", false);
        check(Some("3"), 1, "", "321", false);
        check(Some("9"), 0, "", "321", true);
        check(Some("-"), 0, "", "321", true);
        check(Some("x y"), 3, "", "321", false);
        check(Some(""), 0, "", "321", true);
        check(None, 0, "", "321", true);
        check(Some("1"), 0, "export _p_every=1", "321", true);
        check(Some("1"), 0, "_p_C=/nowhere", "321", true);
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
            script.text("/h/.pisaura/1", "m", ""),
            "{\nexport V='it'\\''s'\nexport PISAURA_MARK=m\n/bin/sh -c 'A=1 '\\''/h/.pisaura/1/heal it.sh'\\'' now' sh 'x y' </dev/null\n}\n"
        );
        let program = HostCommand::Program {
            program: Place::AsWritten("systemctl".into()),
            arguments: vec!["stop".into(), String::new()],
        };
        assert_eq!(
            HostScript { command: program, ..script }.function("f", "/h", "m", ""),
            "f() { (\nexport V='it'\\''s'\nexport PISAURA_MARK=m\nsystemctl stop ''\n) </dev/null; }\n"
        );
    }
}
