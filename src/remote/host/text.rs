//! A text for a host's shell, as it is put together: its marks, its parameters, what all texts share, and the command line that runs it
//! as a whole or not at all. Pure.

use super::quote;

/// The status of a text that did not arrive whole, or not where it was meant for.
pub(in crate::remote) const NOT_OURS: i32 = 121;

const BEGIN: &str = include_str!("begin.sh");
const OWN: &str = include_str!("own.sh");
const WHO: &str = include_str!("who.sh");
const COMMON: &str = include_str!("common.sh");
const AT_WORK: &str = include_str!("at_work.sh");

/// Where marks go: our own commands' to standard output, which is all ours; a script's to standard error, beside its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marked {
    Stdout,
    Stderr,
}

/// A text for a host's shell, as it is put together.
pub(super) struct Text {
    token: String,
    text: String,
    has_own: bool,
}

impl Text {
    /// Begins a text. `token` is of letters and digits, new for each: only marks hold it in one piece, for a shell that shows what
    /// it reads must not make one.
    pub(super) fn new(token: &str, marked: Marked) -> Self {
        let (first, second) = token.split_at(token.len() / 2);
        let descriptor = if marked == Marked::Stdout { 1 } else { 2 };
        let text = format!("{SHORT}t1={first} {SHORT}t2={second} {SHORT}fd={descriptor}\n{}", strip(BEGIN));
        Self { token: token.to_owned(), text, has_own: false }
    }

    /// Parameters alone, for a text that is put together elsewhere.
    pub(super) fn parameters() -> Self {
        Self { token: String::new(), text: String::new(), has_own: false }
    }

    /// What was put together.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// A variable of ours: what the texts know of the case, the host and this run comes to them in no other way.
    pub(super) fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.text.push_str(&format!("{SHORT}{name}={}\n", quote(value)));
        self
    }

    pub(super) fn add(&mut self, body: &str) -> &mut Self {
        self.text.push_str(&strip(body));
        self
    }

    /// What the texts share, once.
    pub(super) fn add_common(&mut self) -> &mut Self {
        self.add_own().add(COMMON)
    }

    /// The same, and who is at work.
    pub(super) fn add_at_work(&mut self) -> &mut Self {
        self.add_common().add(AT_WORK)
    }

    pub(super) fn add_own(&mut self) -> &mut Self {
        if !std::mem::replace(&mut self.has_own, true) {
            self.add(OWN);
        }
        self
    }

    /// Which shell it is that runs this.
    pub(super) fn add_who(&mut self) -> &mut Self {
        self.add_own().add(WHO)
    }

    /// What holds more than our own words: it stays as it is.
    pub(super) fn add_as_it_is(&mut self, body: &str) -> &mut Self {
        self.text.push_str(body);
        self
    }

    /// The text with its last mark, that only the whole of it can make.
    pub(super) fn end(&mut self, status: &str) -> Whole {
        self.text.push_str(&strip(&format!("_pisaura_mark x {status}")));
        self.text.push_str("exit 0");
        Whole { token: self.token.clone(), text: std::mem::take(&mut self.text) }
    }
}

/// A text that is complete.
pub(in crate::remote) struct Whole {
    /// What its marks begin with.
    pub(in crate::remote) token: String,
    /// For the shell's standard input.
    pub(in crate::remote) text: String,
}

impl Whole {
    /// What is sent: the text behind its length, which a shell counts in bytes or in characters.
    pub(in crate::remote) fn framed(&self) -> String {
        format!("{} {};{}", self.text.len(), self.text.chars().count(), self.text)
    }
}

/// The shell of the user who logs in, or of root, with root's home, where that user may run it so without a password.
pub(in crate::remote) fn shell(becomes_root: bool) -> &'static str {
    if becomes_root { "sudo -n -H /bin/sh" } else { "/bin/sh" }
}

/// The command line that reads a framed text whole, or runs nothing. It is the same for each text, has no secret in it, and nothing
/// that a login shell of any kind would change.
pub(in crate::remote) fn loader(shell: &str) -> String {
    let (text, lengths) = (format!("{SHORT}x"), format!("{SHORT}y"));
    format!(
        "exec {shell} -c '{text}=$(cat); {lengths}=${{{text}%%;*}}; {text}=${{{text}#*;}}; case \" ${lengths} \" in *\" ${{#{text}}} \"*) {SHORT}l=1; eval \"{{ ${text}; }}\";; *) echo lost >&2; exit {NOT_OURS};; esac'"
    )
}

/// What the texts that stay on the host share.
pub(super) fn common() -> String {
    strip(OWN) + &strip(COMMON) + &strip(AT_WORK)
}

/// Takes comments, indentation and the length of our names out: a host need not read them, and each case sends them anew.
pub(super) fn strip(script: &str) -> String {
    let lines = script.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.fold(String::new(), |text, line| text + line + "\n").replace(LONG, SHORT)
}

/// What our names begin with in the texts, so that they are nobody else's; and on a host.
const LONG: &str = "_pisaura_";
pub(super) const SHORT: &str = "_p_";
