//! Commands: what their first text means, and which file of the book is shipped with them. Pure.

use std::path::{Component, Path, PathBuf};

use super::model::{Command, CommandStyle, Resource, ScriptFile};
use super::node::Node;
use super::problem::{Place, nearest};
use super::read::Reader;
use super::shell::{always_succeeds, why_not_appended};
use super::text::{Text, is_variable_name};

/// A secret shorter than this stands in other texts by chance.
const SECRET_BYTES_MIN: usize = 4;

impl Reader<'_> {
    fn command_words(&mut self, node: Option<&Node>, name: &str) -> Option<(Vec<Text>, Place)> {
        let node = node?;
        let wanted = format!("`{name}` is a list of texts, the script first");
        let items = self.list(node, &wanted)?;
        if items.is_empty() {
            self.problem(node.place, format!("`{name}` is empty: name a script"));
            return None;
        }
        let mut words = Vec::new();
        let mut complete = true;
        for item in items {
            let Some(scalar) = self.scalar(item, &wanted) else {
                complete = false;
                continue;
            };
            if let Some(secret) = scalar.used.iter().find(|used| self.secrets.contains(used)) {
                let message = format!(
                    "the secret `{secret}` would stand in an argument list, where everybody on the host can read it: pass it in `env`"
                );
                self.problem(item.place, message);
            }
            if scalar.text.as_literal().is_some_and(|text| text.contains('\0')) {
                self.problem(item.place, "an argument cannot hold a NUL");
            }
            let literal = scalar.text.as_literal().unwrap_or_default();
            if self
                .secret_values
                .iter()
                .any(|secret| secret.len() >= SECRET_BYTES_MIN && literal.contains(secret))
            {
                let message = "a secret of this book would stand in an argument list, where everybody on the host can read it: pass it in `env`";
                self.problem(item.place, message);
            }
            words.push(scalar.text.clone());
        }
        if !complete {
            // An unset variable: the case is not run, and nothing more can be said of the command.
            return Some((vec![Text::default()], node.place));
        }
        if words[0].as_literal() == Some("") {
            self.problem(items[0].place, format!("the script of `{name}` is empty: name one"));
            return None;
        }
        Some((words, items[0].place))
    }

    /// A command that is copied to the host and run there.
    pub(super) fn host_command(
        &mut self,
        node: Option<&Node>,
        name: &str,
        resources: &[Resource],
    ) -> Option<Command> {
        let (words, place) = self.command_words(node, name)?;
        let Some(first) = words[0].as_literal().map(str::to_owned) else {
            self.problem(place, "the script's path cannot hold `${host}`, `${service}` or `${failure}`: pass them as arguments");
            return None;
        };
        if first.is_empty() {
            return Some(Command { words, style: CommandStyle::Program, file: None });
        }
        let (style, offset, script) = first_word(&first);
        let mut file = None;
        if let Some(source) = self.find(script, resources) {
            file = Some(ScriptFile { source, named: script.to_owned(), offset });
        } else if script.contains('/') && style == CommandStyle::Program && !is_system_program(script) {
            self.problem(place, missing_script(script, base_name(script)));
        } else if style == CommandStyle::Program
            && script.contains('.')
            && let Some(meant) = nearest(script, self.files.names().iter().map(String::as_str))
        {
            self.problem(
                place,
                format!("there is no `{script}` in the book's folder: did you mean `{meant}`?"),
            );
        } else {
            let what = if style == CommandStyle::Shell { "shell text for" } else { "a program of" };
            self.note(
                place,
                format!("`{script}` is no file of the book: taken as {what} the host; nothing is copied"),
            );
            self.files_that_stay(place, name, &words, &first[offset + script.len()..]);
        }
        self.check_lines(place, file.as_ref());
        let command = Command { words, style, file };
        let judges = matches!(name, "reverter" | "revert" | "verify");
        self.shell_notes(place, name, &command, command.words.len() > 1, judges);
        Some(command)
    }

    /// Tells of files of the book that a program of the host is to get: only what is named first is copied there. What can be
    /// executed is certainly meant to be.
    fn files_that_stay(&mut self, place: Place, name: &str, words: &[Text], rest: &str) {
        let behind = words.iter().skip(1).filter_map(Text::as_literal);
        let named: Vec<String> = rest
            .split_whitespace()
            .chain(behind)
            .map(|word| word.trim_start_matches("./").to_owned())
            .collect();
        for word in named {
            let path = Path::new(&word);
            if word.is_empty()
                || path.is_absolute()
                || !self.files.stays_inside(path)
                || !self.files.is_file(path)
            {
                continue;
            }
            let told = format!(
                "`{word}` is a file of the book, which only `{name}`'s first word brings to the host: write `{name}: [{word}]`, with a first line that names its interpreter"
            );
            match self.files.is_script(path) {
                true => self.problem(place, told),
                false => self.note(place, told),
            }
        }
    }

    /// Tells what may surprise of shell text.
    pub(super) fn shell_notes(
        &mut self,
        place: Place,
        name: &str,
        command: &Command,
        has_arguments: bool,
        judges: bool,
    ) {
        let first = command.words.first().and_then(Text::as_literal).unwrap_or_default();
        if command.style != CommandStyle::Shell {
            return;
        }
        if has_arguments && let Some(why) = why_not_appended(first) {
            self.note(
                place,
                format!(
                    "the arguments of `{name}` are its `$1`, `$2`, …: none is put behind the text, for {why}"
                ),
            );
        }
        if judges && let Some(why) = always_succeeds(first) {
            self.note(place, format!("`{name}` ends with status 0 whatever it did, for {why}"));
        }
        if self.reading.thorough
            && let Some(said) = self.files.syntax_error(first)
        {
            self.problem(place, format!("`{name}` is no text that a shell can read: {said}"));
        }
        if first.contains('\r') {
            self.note(
                place,
                format!("`{name}` has a carriage return in its text, which stays there: a shell takes it for a character like others"),
            );
        }
    }

    /// A command that runs where the executor runs.
    pub(super) fn local_command(
        &mut self,
        node: Option<&Node>,
        name: &str,
        resources: &[Resource],
    ) -> Option<Command> {
        let (words, place) = self.command_words(node, name)?;
        let first = words[0].as_literal().unwrap_or("").to_owned();
        let (style, offset, script) = first_word(&first);
        let mut file = None;
        if style == CommandStyle::Program && !first.is_empty() {
            let path = Path::new(script);
            if path.is_absolute() && self.files.is_file(path) {
                // It is taken as it stands.
            } else if let Some(source) = self.find(script, resources) {
                file = Some(ScriptFile { source, named: script.to_owned(), offset });
            } else if script.contains('/') {
                self.problem(place, missing_script(script, base_name(script)));
            } else if !self.files.in_path(script) {
                self.problem(
                    place,
                    format!("there is no program `{script}` in PATH, and no such file in the book's folder"),
                );
            }
        }
        self.check_lines(place, file.as_ref());
        Some(Command { words, style, file })
    }

    /// A script whose first line names `/bin/sh\r` cannot be run anywhere.
    fn check_lines(&mut self, place: Place, file: Option<&ScriptFile>) {
        let file = file.filter(|file| self.reading.thorough && self.files.has_carriage_return(&file.source));
        if let Some(file) = file {
            self.problem(
                place,
                format!(
                    "the first line of `{}` ends with a carriage return, so its interpreter will not be found: save it with Unix line ends",
                    file.source.display()
                ),
            );
        }
    }

    /// The file of the book that a script's path means: at that path from the book's folder, else of that base name in the
    /// folder, in `resources`, or at the absolute path itself.
    fn find(&self, script: &str, resources: &[Resource]) -> Option<PathBuf> {
        let path = Path::new(script);
        let base = PathBuf::from(path.file_name()?);
        if path.is_relative() && self.files.stays_inside(path) && self.files.is_file(path) {
            return Some(path.to_owned());
        }
        // A path that leads out of the folder means that one file, and no other of its name.
        if path.components().any(|part| part == Component::ParentDir) {
            return None;
        }
        if self.files.is_file(&base) {
            return Some(base);
        }
        for resource in resources {
            let resource = match resource {
                Resource::Path(path) => path,
                Resource::Url { name, .. } if base == Path::new(name) => return Some(base),
                Resource::Url { .. } => continue,
            };
            if resource.file_name() == path.file_name() && self.files.is_file(resource) {
                return Some(resource.clone());
            }
            let inside = resource.join(&base);
            if self.files.is_file(&inside) {
                return Some(inside);
            }
        }
        (path.is_absolute() && !is_system_program(script) && self.files.is_file(path))
            .then(|| path.to_owned())
    }
}

/// A program that the host's system brings along: copying this machine's over it would be a failure of its own.
fn is_system_program(script: &str) -> bool {
    ["/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/"].iter().any(|folder| script.starts_with(folder))
}

fn base_name(script: &str) -> &str {
    script.rsplit('/').next().unwrap_or(script)
}

fn missing_script(script: &str, base: &str) -> String {
    if script.starts_with('/') {
        format!("there is no `{base}` in the book's folder or in `resources`, nor anything at `{script}`")
    } else {
        format!("there is no `{script}` in the book's folder, and no `{base}` there or in `resources`")
    }
}

/// How a command's first text is taken, and the word in it that names a program, with its place in bytes: for shell text
/// the first word that is no assignment.
fn first_word(first: &str) -> (CommandStyle, usize, &str) {
    if !first.contains(char::is_whitespace) {
        return (CommandStyle::Program, 0, first);
    }
    let mut offset = 0;
    for word in first.split(char::is_whitespace) {
        let assignment = word.split_once('=').is_some_and(|(name, _)| is_variable_name(name));
        if !word.is_empty() && !assignment {
            return (CommandStyle::Shell, offset, word);
        }
        offset += word.len() + first[offset + word.len()..].chars().next().map_or(0, char::len_utf8);
    }
    (CommandStyle::Shell, 0, "")
}
