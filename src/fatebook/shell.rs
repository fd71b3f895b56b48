//! Shell text of a command: whether it is a line or a block, and where its arguments go. Decides what a shell is given to
//! run, for hosts and for this machine alike: what is written, with its own status. Pure.
//!
//! Arguments stand behind a text only where that is what people mean: one line whose last command is a simple one, as in
//! `PYTHONPATH=lib.zip python healthcheck.py` or `cd x && python check.py`. Behind a block, or behind `done`, `}`, `&` or a
//! comment, they would be a command of their own whose status hides the text's, or no shell text at all: there they are the
//! text's `$1`, `$2`, …

use super::shell_words::{Lexer, Token};

/// What a shell is given to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShellText {
    /// The text, with `"$@"` in it if that is where the arguments go.
    pub text: String,
    /// It has several lines: one that fails ends it, with its status, as in the blocks of CI systems.
    pub ends_at_failure: bool,
}

impl ShellText {
    /// What runs when this is written, with or without arguments. Whatever is added to the text stands behind all of the
    /// script's name that it may hold.
    pub fn of(written: &str, has_arguments: bool) -> Self {
        let mut text = written.to_owned();
        if has_arguments && let Some(end) = appending_place(written) {
            text.insert_str(end, " \"$@\"");
        }
        Self { text, ends_at_failure: has_several_lines(written) }
    }

    /// The words that run it, up to the name that it has for itself (`$0`): its arguments follow.
    pub fn words(&self) -> Vec<String> {
        let mut words =
            vec!["/bin/sh".to_owned(), if self.ends_at_failure { "-ec" } else { "-c" }.to_owned()];
        if self.text.starts_with(['-', '+']) {
            // It would be taken for options.
            words.push("--".to_owned());
        }
        words.extend([self.text.clone(), "sh".to_owned()]);
        words
    }
}

/// Why arguments are not put behind a text, for people; `None` if they are, or if the text says itself where they go.
pub(super) fn why_not_appended(written: &str) -> Option<&'static str> {
    let parsed = parse(written);
    if appending_place(written).is_some() || parsed.uses_parameters {
        return None;
    }
    Some(match () {
        () if has_several_lines(written) => "it has several lines",
        () if parsed.comment => "it ends in a comment",
        () if parsed.ends_in_operator => "it ends in `;` or `&`",
        () if parsed.is_negated => "`!` stands before its last command, and would turn an error into success",
        () if parsed.takes_none() => "its last command takes none",
        () => "its last command is not a simple one",
    })
}

/// What makes a text end with status 0 whatever it did, if something does.
pub(super) fn always_succeeds(written: &str) -> Option<String> {
    let parsed = parse(written);
    if parsed.last_operator == "&" && parsed.ends_in_operator {
        return Some("it ends in `&`".to_owned());
    }
    let (operator, words) = parsed.last_command.as_ref()?;
    let all = words.join(" ");
    let never_fails = matches!(all.as_str(), "true" | ":" | "exit 0" | "wait")
        || matches!(words.first().map(String::as_str), Some("echo" | "printf"));
    if parsed.depth > 0 || parsed.is_negated || !never_fails {
        return None;
    }
    match operator.as_str() {
        "||" | "|" => Some(format!("it ends in `{operator} {all}`")),
        // In a block another line may have ended it before.
        ";" | "&" if !has_several_lines(written) => Some(format!("it ends in `{operator} {all}`")),
        _ => None,
    }
}

/// The programs that a text certainly runs, and that have to be there before it, as far as its beginning tells: up to the first
/// bracket, compound command, here-document or condition, and to the first command that may bring another one there. Built-in commands are among them; words with quotes or expansions in them are not.
pub fn programs(text: &str) -> Vec<String> {
    let mut lexer = Lexer::new(text);
    // Where a path begins is another place after `cd`.
    let (mut found, mut words, mut redirects, mut moved) = (Vec::new(), Vec::new(), false, false);
    while let Some(token) = lexer.next() {
        match token {
            Token::Comment => {}
            Token::Word { .. } if std::mem::take(&mut redirects) => {}
            Token::Word { range, plain } => {
                let word = &text[range];
                let is_first = words.is_empty();
                let is_assignment = is_first
                    && word.split_once('=').is_some_and(|(name, _)| super::text::is_variable_name(name));
                if is_first && plain && COMPOUND.contains(&word) {
                    return found;
                }
                if !(is_assignment || is_first && word == "!") {
                    words.push(if plain { word.to_owned() } else { String::new() });
                }
            }
            // The name of a function, or a command within brackets.
            Token::Operator("(" | ")" | "<<" | "<<-") => return found,
            Token::Operator("<" | "<&" | "<>" | ">" | ">>" | ">&" | ">|") => redirects = true,
            Token::Operator(operator) => {
                let command = std::mem::take(&mut words);
                if command.is_empty() && !matches!(operator, "\n") {
                    return found;
                }
                found.extend(program_of(&command).filter(|program| !moved || !program.contains('/')));
                let first = command.first().map_or("", String::as_str);
                // What any other command does may bring the next one there.
                let changes_nothing = matches!(first, "cd" | "set" | ":" | "true" | "sleep" | "echo");
                if operator == "||" || (operator != "|" && !changes_nothing) {
                    return found;
                }
                moved |= first == "cd";
            }
        }
    }
    found.extend(program_of(&words).filter(|program| !moved || !program.contains('/')));
    found
}

const COMPOUND: [&str; 8] = ["if", "while", "until", "for", "case", "{", "function", "[["];

/// What a simple command runs: the program behind those that only run another one.
fn program_of(words: &[String]) -> Option<String> {
    let mut words = words.iter().map(String::as_str).peekable();
    let mut program = words.next()?;
    while matches!(program, "sudo" | "exec" | "nohup" | "command") {
        while let Some(option) = words.next_if(|word| word.starts_with('-')) {
            if program == "sudo" && matches!(option, "-u" | "-g" | "-U" | "-C" | "-p") {
                words.next();
            }
            if program == "command" {
                return Some(program.to_owned());
            }
        }
        match words.next() {
            // An assignment before a program, or what is no plain word.
            Some(next) if !next.is_empty() && !next.contains('=') => program = next,
            _ => return Some(program.to_owned()),
        }
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    (!program.is_empty() && program.chars().all(is_plain)).then(|| program.to_owned())
}

/// Whether there is a line end within it: those at its ends mean nothing.
fn has_several_lines(written: &str) -> bool {
    written.trim_matches([' ', '\t', '\n']).contains('\n')
}

/// Where arguments are put behind the text, if they are.
fn appending_place(written: &str) -> Option<usize> {
    let parsed = parse(written);
    let fits = parsed.is_whole
        && parsed.depth == 0
        && !parsed.uses_parameters
        && !parsed.comment
        && !parsed.ends_in_operator
        && parsed.last_is_simple
        && !parsed.is_negated
        && !parsed.takes_none()
        && !has_several_lines(written);
    parsed.last_word_end.filter(|_| fits)
}

/// What is known of a text.
#[derive(Debug, Default)]
struct Parsed {
    /// Every quote and bracket is closed.
    is_whole: bool,
    /// How many compound commands are open.
    depth: usize,
    uses_parameters: bool,
    comment: bool,
    ends_in_operator: bool,
    /// The operator before the last command.
    last_operator: String,
    /// The last command has a program's name, and is not a compound one.
    last_is_simple: bool,
    /// `!` stands before the last pipeline.
    is_negated: bool,
    /// The last simple command, within brackets too if nothing but these follow, and the operator before it.
    last_command: Option<(String, Vec<String>)>,
    last_word_end: Option<usize>,
}

/// Commands behind which more words make no sense, or an error.
const TAKE_NONE: [&str; 6] = ["test", "[", "[[", "exit", "return", "wait"];

impl Parsed {
    fn takes_none(&self) -> bool {
        let first = self.last_command.as_ref().and_then(|(_, words)| words.first());
        first.is_some_and(|first| TAKE_NONE.contains(&first.as_str()))
    }
}

fn parse(text: &str) -> Parsed {
    let mut lexer = Lexer::new(text);
    let mut parsed = Parsed::default();
    let mut words: Vec<String> = Vec::new();
    // What the next word is: the beginning of a command, the target of a redirection, or another word.
    let (mut begins, mut redirects, mut is_compound, mut negates) = (true, false, false, false);
    let mut patterns = 0usize;
    while let Some(token) = lexer.next() {
        // Line ends at the end mean nothing.
        if matches!(token, Token::Operator("\n")) && lexer.rest_is_blank() {
            break;
        }
        parsed.comment = matches!(token, Token::Comment);
        match token {
            Token::Comment => {}
            Token::Operator(operator @ ("<" | "<&" | "<>" | ">" | ">>" | ">&" | ">|" | "<<" | "<<-")) => {
                redirects = true;
                parsed.ends_in_operator = operator.starts_with("<<");
            }
            Token::Operator("(") => {
                if begins {
                    parsed.depth += 1;
                } else if patterns == 0 {
                    // A function's definition: its body follows.
                    is_compound = true;
                }
                parsed.ends_in_operator = false;
            }
            Token::Operator(")") => {
                if patterns > 0 {
                    begins = true;
                    words.clear();
                } else {
                    parsed.depth = parsed.depth.saturating_sub(1);
                    keep(&mut parsed, &mut words);
                    is_compound = true;
                    begins = false;
                }
                parsed.ends_in_operator = false;
            }
            Token::Operator(operator) => {
                // Nor do they behind another operator.
                if operator == "\n" && parsed.ends_in_operator {
                    continue;
                }
                keep(&mut parsed, &mut words);
                parsed.last_operator = operator.to_owned();
                parsed.ends_in_operator = true;
                if operator != "|" {
                    negates = false;
                }
                (begins, is_compound) = (true, false);
            }
            Token::Word { range, plain } => {
                parsed.ends_in_operator = false;
                parsed.last_word_end = Some(range.end);
                let is_descriptor = text[range.clone()].bytes().all(|byte| byte.is_ascii_digit())
                    && text[range.end..].starts_with(['<', '>']);
                let word = &text[range];
                if std::mem::take(&mut redirects) || is_descriptor {
                    continue;
                }
                if plain && begins {
                    match word {
                        "if" | "while" | "until" | "for" | "{" => {
                            parsed.depth += 1;
                            begins = word != "for";
                            continue;
                        }
                        "case" => {
                            parsed.depth += 1;
                            patterns += 1;
                            begins = false;
                            continue;
                        }
                        "then" | "do" | "else" | "elif" => continue,
                        "!" => {
                            negates = true;
                            continue;
                        }
                        "fi" | "done" | "esac" | "}" => {
                            parsed.depth = parsed.depth.saturating_sub(1);
                            keep(&mut parsed, &mut words);
                            if word != "}" {
                                // Which of its commands was the last one is not known.
                                parsed.last_command = None;
                            }
                            if word == "esac" {
                                patterns = patterns.saturating_sub(1);
                            }
                            (begins, is_compound) = (false, true);
                            continue;
                        }
                        // These change what `"$@"` would be.
                        "shift" | "getopts" => parsed.uses_parameters = true,
                        _ => {}
                    }
                }
                let is_assignment = begins
                    && word.split_once('=').is_some_and(|(name, _)| super::text::is_variable_name(name));
                if !is_assignment {
                    begins = false;
                    words.push(word.to_owned());
                    let is_setting = words[0] == "set" && words.len() > 1;
                    parsed.uses_parameters |=
                        is_setting && (word == "--" || !word.starts_with(['-', '+']) && !follows_o(&words));
                }
            }
        }
    }
    parsed.uses_parameters |= lexer.uses_parameters;
    parsed.is_whole = lexer.is_whole && !redirects;
    parsed.last_is_simple = !is_compound && !words.is_empty();
    parsed.is_negated = negates;
    keep(&mut parsed, &mut words);
    parsed
}

/// A simple command ends here, if these are the words of one.
fn keep(parsed: &mut Parsed, words: &mut Vec<String>) {
    if !words.is_empty() {
        parsed.last_command = Some((parsed.last_operator.clone(), std::mem::take(words)));
    }
}

/// Whether the last word is the name of an option: `set -o pipefail`.
fn follows_o(words: &[String]) -> bool {
    words.len() > 2 && words[words.len() - 2].starts_with(['-', '+']) && words[words.len() - 2].ends_with('o')
}

#[cfg(test)]
mod tests {
    use super::{always_succeeds, programs, why_not_appended};

    #[test]
    fn what_always_succeeds_is_told() {
        let check = |written: &str, why: Option<&str>| {
            assert_eq!(always_succeeds(written).as_deref(), why, "{written}");
        };
        check("rm x &", Some("it ends in `&`"));
        check("rm x || true\n", Some("it ends in `|| true`"));
        check("a && b || :", Some("it ends in `|| :`"));
        check("rm x; exit 0", Some("it ends in `; exit 0`"));
        check("rm x\nrm y || true", Some("it ends in `|| true`"));
        check("rm x\ntrue", None);
        check("rm x || false", None);
        check("if a; then true", None);
        check("rm x & wait", Some("it ends in `& wait`"));
        check("rm x || true;", Some("it ends in `|| true`"));
        check("{ rm x || true; }", Some("it ends in `|| true`"));
        check("(rm x; rm y || :)", Some("it ends in `|| :`"));
        check("rm x | true", Some("it ends in `| true`"));
        check("rm x || true 2>&1", Some("it ends in `|| true`"));
        check("rm x || echo failed", Some("it ends in `|| echo failed`"));
        check("rm x; echo done >log", Some("it ends in `; echo done`"));
        check("rm x && echo done", None);
        check("! rm x || true && b", None);
        check("rm x; wait $!", None);
        check("if a; then b || true; fi", None);
        check("{ a || true; } && b", None);
    }

    #[test]
    fn the_programs_that_certainly_run() {
        let check = |written: &str, wanted: &[&str]| assert_eq!(programs(written), wanted, "{written}");
        check("LANG=C nosuch x", &["nosuch"]);
        check("sudo -n -u app nosuch --now", &["nosuch"]);
        check("exec nosuch; never", &["nosuch"]);
        check("cd /x && nosuch", &["cd", "nosuch"]);
        check("command -v a && a", &["command"]);
        check("a 2>&1 >log | b\nc", &["a", "b"]);
        check("cd /opt/app && ./stop.sh", &["cd"]);
        check(". /etc/profile; appctl stop", &["."]);
        check("export PATH=$PATH:/x; y", &["export"]);
        check("PATH=/x; y", &[]);
        check("apt-get install x; x", &["apt-get"]);
        check("a || b", &["a"]);
        check("f() { a; }; f", &[]);
        check("if a; then b; fi", &[]);
        check("\"$X\" y; a", &[]);
        check("! a <in", &["a"]);
        check("cat <<E\na\nE", &[]);
        check("sudo A=1 b", &["sudo"]);
    }

    #[test]
    fn why_arguments_are_not_put_behind_is_told() {
        let check = |written: &str, why: Option<&str>| {
            assert_eq!(why_not_appended(written), why, "{written}");
        };
        check("python check.py", None);
        check("echo $1", None);
        check("a\nb", Some("it has several lines"));
        check("a # b", Some("it ends in a comment"));
        check("a ;", Some("it ends in `;` or `&`"));
        check("{ a; }", Some("its last command is not a simple one"));
        check("[ -e x ]", Some("its last command takes none"));
        check(
            "! test -e x",
            Some("`!` stands before its last command, and would turn an error into success"),
        );
    }
}
