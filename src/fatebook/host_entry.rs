//! How a host is written in a book, and how it is named to people. Pure.

use std::fmt;

use super::one_or_more::OneOrMore;
use super::read::is_hidden;

/// `[user@]host[:port]`, or `sandbox:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostEntry {
    /// The user, if the entry names one.
    pub user: Option<String>,
    /// A name or an address; for a demo host the name behind `sandbox:`.
    pub host: String,
    /// The port, if the entry names one.
    pub port: Option<u16>,
    /// Whether it is a demo host that the run makes itself.
    pub sandbox: bool,
    /// Whether it only names what is broken from here, without a login there.
    pub here: bool,
}

/// The longest name that DNS knows.
const NAME_BYTES_MAX: usize = 253;

impl HostEntry {
    /// Reads an entry. Fails with what is wrong with it.
    pub fn parse(entry: &str) -> Result<Self, String> {
        const SHAPE: &str = "write `[user@]host[:port]`";
        let entry = entry.trim();
        if entry.is_empty() {
            return Err(format!("an empty host: {SHAPE}"));
        }
        if let Some(name) = entry.strip_prefix("sandbox:") {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if name.is_empty() || !name.chars().all(fits) {
                return Err(format!(
                    "`{entry}` is no demo host: write `sandbox:NAME`, of letters, digits, `-` and `_`"
                ));
            }
            return Ok(Self { user: None, host: name.to_owned(), port: None, sandbox: true, here: false });
        }
        let (user, rest) = match entry.rsplit_once('@') {
            Some(("", _)) => return Err(format!("`{entry}` has no user before the `@`: {SHAPE}")),
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, entry),
        };
        let port_of = |text: &str| {
            text.parse::<u16>()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| format!("`{text}` is not a port: a number from 1 to 65535"))
        };
        let (host, port) = if let Some(inside) = rest.strip_prefix('[') {
            match inside.split_once(']') {
                Some((host, "")) => (host, None),
                Some((host, after)) => match after.strip_prefix(':') {
                    Some(port) => (host, Some(port_of(port)?)),
                    None => return Err(format!("`{entry}` goes on after the `]`: {SHAPE}")),
                },
                None => return Err(format!("`{entry}` has a `[` without its `]`: {SHAPE}")),
            }
        } else {
            match rest.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    return Err(format!(
                        "`{entry}` looks like an IPv6 address: write it in brackets, `[{rest}]`"
                    ));
                }
                Some((host, port)) => (host, Some(port_of(port)?)),
                None => (rest, None),
            }
        };
        let strange = |c: char| c.is_whitespace() || c.is_control() || "/\\'\"`$&|;<>()".contains(c);
        if host.is_empty() {
            return Err(format!("`{entry}` has no host name: {SHAPE}"));
        }
        if host.len() > NAME_BYTES_MAX {
            return Err(format!("a host's name of {} letters is longer than any: {SHAPE}", host.len()));
        }
        if host.contains(is_hidden) {
            return Err(format!(
                "a host's name has an invisible character in it, or one that turns the text around: {SHAPE}"
            ));
        }
        if host.starts_with('-') || host.contains(strange) {
            return Err(format!("`{host}` is not a host name: {SHAPE}"));
        }
        if user.as_deref().is_some_and(|user| user.contains(strange)) {
            return Err(format!("`{entry}` has a user that is no name: {SHAPE}"));
        }
        Ok(Self { user, host: host.to_owned(), port, sandbox: false, here: false })
    }

    /// What stands for a host where a failure is made from here, and names none.
    pub fn controller() -> Self {
        Self { user: None, host: "controller".to_owned(), port: None, sandbox: false, here: true }
    }
}

/// The hosts that one case breaks at once, in the book's order.
pub type HostSet = OneOrMore<HostEntry>;

impl HostSet {
    /// Their names, without users and ports, with commas between, as scripts get them.
    pub fn names(&self) -> String {
        self.iter().map(|host| host.host.as_str()).collect::<Vec<_>>().join(",")
    }
}

/// As the case's name has them: `a+b`.
impl fmt::Display for HostSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.iter().map(ToString::to_string).collect();
        formatter.write_str(&names.join("+"))
    }
}

/// How the host is named in the names of cases and to people: without the user, with the port only if the book names it.
impl fmt::Display for HostEntry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.sandbox, self.port) {
            (true, _) => write!(formatter, "sandbox:{}", self.host),
            (false, None) => write!(formatter, "{}", self.host),
            (false, Some(port)) if self.host.contains(':') => {
                write!(formatter, "[{}]:{port}", self.host)
            }
            (false, Some(port)) => write!(formatter, "{}:{port}", self.host),
        }
    }
}
