//! What a fatebook says, once read and checked: the types that all rooms above speak of. Pure data.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::host_entry::{HostEntry, HostSet};
use super::one_or_more::OneOrMore;
use super::probe::ExpectedOutput;
use super::text::{CaseValues, Text};

/// A book: a service's hosts and the failures to try on them.
#[derive(Clone, Debug)]
pub struct Fatebook {
    /// The book's name, from its place: `etcd`, `kafka::mirror`.
    pub name: String,
    /// The file, as a person would name it from where the run was started.
    pub path: PathBuf,
    /// The folder that the file lies in; its scripts lie here.
    pub folder: PathBuf,
    /// Title of the tested service.
    pub service: String,
    /// What the task needs, in thousandths of a cpu.
    pub cpu_milli: u32,
    /// What the task needs of memory.
    pub mem_mib: u32,
    /// The service's hosts. Empty only if a variable in `hosts` is unset.
    pub hosts: Vec<HostEntry>,
    /// How to log in.
    pub ssh: SshOptions,
    /// Of the executor's own log.
    pub loglevel: LogLevel,
    /// Whether the first case that does not pass ends the book.
    pub failfast: bool,
    /// The failures, in the file's order.
    pub fates: Vec<Fate>,
    /// More files for the working folder of the case.
    pub resources: Vec<Resource>,
    /// Run once before the first of its cases, where the run was started.
    pub before_all: Option<Command>,
    /// Run once after the last of its cases.
    pub after_all: Option<Command>,
    /// Variables that all its scripts get.
    pub env: Vec<(String, Text)>,
    /// Time limit of each step, unless a failure has one of its own.
    pub timeout: Duration,
    /// The values of the variables named in `secrets`, and of `ssh.password` and `ssh.passphrase`: shown nowhere.
    pub secret_values: Vec<String>,
    /// Variables of the environment that the book needs and that are not set.
    pub unset: Vec<String>,
    /// Those that it uses, in the order in which it does, with the value of those that name hosts.
    pub used: Vec<(String, Option<String>)>,
}

/// One entry of `resources`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A file or folder: an absolute path, or one relative to the book's folder.
    Path(PathBuf),
    /// A file that is fetched.
    Url {
        /// Where from: `http` or `https`.
        url: String,
        /// Its name in the working folder: what follows the last `/` of the URL's path.
        name: String,
    },
}

impl Resource {
    /// Reads a URL. Fails with what is wrong with it.
    pub(super) fn parse_url(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
            return Err(format!("`{url}` is neither http nor https: name a URL of those, or a path"));
        }
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        match path.rsplit_once('/') {
            Some((_, name)) if !["", ".", ".."].contains(&name) => {
                Ok(Self::Url { url: url.to_owned(), name: name.to_owned() })
            }
            _ => Err(format!("`{url}` names no file: what follows its last `/` is the file's name")),
        }
    }
}

/// That a service is known not to stand a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Why.
    pub reason: String,
    /// The last day on which that is accepted, as `2027-01-31`.
    pub until: String,
}

/// One of the `checks`: a question beside the healthcheck.
#[derive(Clone, Debug)]
pub struct Check {
    /// What it is called in reports.
    pub name: String,
    /// Asks the service.
    pub command: Command,
    /// What it has to print, besides.
    pub expect_output: Option<ExpectedOutput>,
    /// What it must say during the failure.
    pub expect: Expectation,
    /// How it is asked while the failure is held.
    pub hold: Option<Hold>,
}

/// One entry of `failures`.
#[derive(Clone, Debug)]
pub struct Fate {
    /// The failure's name.
    pub name: String,
    /// Breaks the host: one step after the other.
    pub inducer: OneOrMore<Command>,
    /// Heals the host: of several steps each what the step of the same number breaks, the last first.
    pub reverter: OneOrMore<Command>,
    /// Why nothing has to, if the reverter does nothing.
    pub because: Option<String>,
    /// Asks whether the service works.
    pub healthcheck: Command,
    /// What it has to print, besides.
    pub expect_output: Option<ExpectedOutput>,
    /// More questions to the service.
    pub checks: Vec<Check>,
    /// Writes to the service while the case goes on, and says what became of it.
    pub workload: Option<Command>,
    /// How many writes that were accepted may be lost.
    pub max_lost: u64,
    /// The longest time from the failure on in which none is accepted, if it is limited.
    pub max_stall: Option<Duration>,
    /// Asks the host whether this failure is one for it, as things are.
    pub only_if: Option<Command>,
    /// Asks the host whether the failure took hold.
    pub verify: Option<Command>,
    /// Whether the inducer may cut the host off from us.
    pub cuts_off: bool,
    /// How often the host is broken and healed in a case, from 1.
    pub cycles: u32,
    /// Asks the host whether the failure is still in force, just before it is reverted.
    pub still: Option<Command>,
    /// Asks, while the failure is held, whether the case is to be stopped at once.
    pub stop_if: Vec<Command>,
    /// What the second healthcheck must say.
    pub expect: Expectation,
    /// How long the failure is held, and the service watched. `None`: its first good answer will do.
    pub hold: Option<Hold>,
    /// How long the service may take to be healthy again after the revert, if that is not the grace.
    pub max_recovery: Option<Duration>,
    /// How long it has to stay healthy then.
    pub steady: Option<Steady>,
    /// Time limit of each step.
    pub timeout: Duration,
    /// How long a healthcheck that says no is asked again.
    pub grace: Duration,
    /// When the host heals by itself, counted from just before the inducer.
    pub deadman: Deadman,
    /// Whether the host's dead man's switch may end with the login that has armed it.
    pub switch_may_die: bool,
    /// Whether the healthcheck gets `--step=N`.
    pub pass_step: bool,
    /// The hosts of each of its cases. Empty only if a variable in `hosts` is unset.
    pub targets: Vec<HostSet>,
    /// Variables that all its scripts get.
    pub env: Vec<(String, Text)>,
    /// Labels.
    pub tags: Vec<String>,
    /// Why it is not to be run.
    pub skip: Option<String>,
    /// Why the service is known not to stand it.
    pub known: Option<Known>,
    /// The line of the file in which it begins, from 1.
    pub line: usize,
}

impl Fate {
    /// The least time in which the host can be broken, looked at and healed: what a dead man's switch has to leave.
    pub fn longest_life(&self) -> Duration {
        let asked =
            [self.verify.is_some(), self.still.is_some()].iter().filter(|is_there| **is_there).count();
        let steps = 2 + asked as u32;
        let watched = self.longest_hold().unwrap_or(self.timeout + self.grace);
        // It is asked before the last question, too.
        let stop_if =
            self.hold.as_ref().map_or(Duration::ZERO, |hold| hold.answer_within * self.stop_if.len() as u32);
        // Where nothing answers any more, that has to be found out.
        let silence = if self.cuts_off { Duration::from_secs(6) } else { Duration::ZERO };
        // All hosts of a case are armed before the first of them is broken.
        let arming = if self.breaks_several() { self.timeout } else { Duration::ZERO };
        arming + self.timeout * steps + watched + stop_if + silence
    }

    /// Whether it is made from where the case runs, without a login on its hosts.
    pub fn is_made_here(&self) -> bool {
        self.targets.iter().any(|set| set.first().here)
    }

    /// Whether a case of it breaks more than one host.
    pub fn breaks_several(&self) -> bool {
        self.targets.iter().any(HostSet::is_several)
    }

    /// The longest time that the failure is held, if it is: whatever is asked then may be under way, or in an outage, at its end.
    pub fn longest_hold(&self) -> Option<Duration> {
        let of_checks = self.checks.iter().filter_map(|check| check.hold.as_ref());
        self.hold.iter().chain(of_checks).map(Hold::longest).max()
    }

    /// How long after the revert the service may be asked.
    pub fn longest_recovery(&self) -> Duration {
        let steady = self.steady.map_or(Duration::ZERO, |steady| steady.time);
        self.max_recovery.unwrap_or(self.grace) + steady + self.timeout
    }

    /// The longest that a case can take: each step, with its tries and pauses.
    pub fn longest_case(&self) -> Duration {
        let cycle = self.timeout * 12 + self.grace * 2 + self.longest_recovery() + self.revert_within() * 2;
        cycle * self.cycles
    }

    /// How long after the inducer was handed out the reverter is still tried.
    pub fn revert_within(&self) -> Duration {
        match self.deadman {
            Deadman::After(time) => time,
            Deadman::Default | Deadman::Off => {
                self.longest_life() + self.timeout.max(Duration::from_secs(10))
            }
        }
    }
}

/// How long a failure is held, how the service is asked meanwhile, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// How long the failure stays in force, counted from the end of the inducer, or of `verify`.
    pub time: Duration,
    /// The time from one question to the next.
    pub every: Duration,
    /// The time limit of one question.
    pub answer_within: Duration,
    /// The longest outage that is allowed, after the grace. `None`: with `min_availability` any, without it none.
    pub max_outage: Option<Duration>,
    /// The least part of the time after the grace in which the service has to be healthy, in millionths.
    pub min_availability_ppm: Option<u32>,
    /// Whether the failure is held to the end even if nothing can save the verdict any more.
    pub full: bool,
}

impl Hold {
    /// The longest it can last: an outage that is under way when the time is up is watched until it ends or is too long, and an answer
    /// that was long in coming is not the last.
    pub fn longest(&self) -> Duration {
        self.time + self.max_outage.unwrap_or_default() + self.every + self.answer_within * 2
    }
}

/// How long a service has to stay healthy after the revert, once it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steady {
    /// How long.
    pub time: Duration,
    /// The time from one question to the next.
    pub every: Duration,
}

impl Steady {
    /// The longest time without a question of which something can still be said.
    pub fn longest_gap(&self) -> Duration {
        self.every * 3 + Duration::from_secs(5)
    }
}

/// `deadman`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadman {
    /// The sum of the case's time limits, and a margin.
    Default,
    /// As the book says.
    After(Duration),
    /// The host does not heal by itself.
    Off,
}

/// `expect`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expectation {
    /// The service goes on working.
    #[default]
    Healthy,
    /// The failure is to be seen.
    Unhealthy,
}

/// `loglevel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// Steps and their ends.
    Info,
    /// What went wrong and was mended.
    Warning,
    /// What went wrong.
    Error,
    /// Hosts that are left broken.
    Critical,
}

/// `ssh`: how to log in.
#[derive(Clone, PartialEq, Eq)]
pub struct SshOptions {
    /// The user, unless a host names one; else the executor's.
    pub username: Option<String>,
    /// For password and keyboard-interactive.
    pub password: Option<String>,
    /// A private key: relative to the book's folder, absolute, or beginning with `~/`.
    pub identity_file: Option<PathBuf>,
    /// Of the private key.
    pub passphrase: Option<String>,
    /// Whether everything on the host is run as root, by `sudo -n`.
    pub becomes_root: bool,
    /// The port, unless a host names one.
    pub port: u16,
    /// The file of known host keys, like `identity_file`; else the user's own.
    pub known_hosts: Option<PathBuf>,
    /// What to do about a host key that is not known.
    pub host_key_check: HostKeyCheck,
    /// Time limit of connecting and logging in.
    pub connect_timeout: Duration,
    /// How often a server that says nothing is asked whether it is there; at least a second.
    pub keepalive: Duration,
}

/// The default of `ssh.keepalive`.
pub(crate) fn default_keepalive() -> Duration {
    Duration::from_secs(15)
}

impl Default for SshOptions {
    fn default() -> Self {
        Self {
            username: None,
            password: None,
            identity_file: None,
            passphrase: None,
            becomes_root: false,
            port: 22,
            known_hosts: None,
            host_key_check: HostKeyCheck::Strict,
            connect_timeout: Duration::from_secs(10),
            keepalive: default_keepalive(),
        }
    }
}

/// Secrets are not shown, here neither.
impl fmt::Debug for SshOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SshOptions")
            .field("username", &self.username)
            .field("identity_file", &self.identity_file)
            .field("port", &self.port)
            .field("known_hosts", &self.known_hosts)
            .field("host_key_check", &self.host_key_check)
            .field("connect_timeout", &self.connect_timeout)
            .field("keepalive", &self.keepalive)
            .finish_non_exhaustive()
    }
}

/// `host_key_check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostKeyCheck {
    /// Only hosts whose key is known.
    Strict,
    /// A host without a known key is taken in; a changed key is refused.
    AcceptNew,
    /// Any host.
    Off,
}

/// A script with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments, or shell text and its `"$@"`.
    pub words: Vec<Text>,
    /// Which of both.
    pub style: CommandStyle,
    /// The file that is shipped with it: absolute, or relative to the book's folder.
    pub file: Option<ScriptFile>,
}

impl Command {
    /// The words of one case.
    pub fn fill(&self, values: &CaseValues<'_>) -> Vec<String> {
        self.words.iter().map(|word| word.fill(values)).collect()
    }
}

/// How a command's first text is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandStyle {
    /// A program; the others are its arguments, exactly as written.
    Program,
    /// Shell text; the others are its `"$@"`.
    Shell,
    /// What a probe of our own is asked.
    Probe,
}

/// The file behind a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptFile {
    /// Where it lies: absolute, or relative to the book's folder.
    pub source: PathBuf,
    /// The word of the command that names it, as written: its path on the host.
    pub named: String,
    /// Where that word begins in the first text of the command, in bytes.
    pub offset: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        fn check(entry: &str, want: Result<&str, &str>) {
            let got = HostEntry::parse(entry).map(|host| {
                let user = host.user.as_deref().map(|user| format!("{user} at ")).unwrap_or_default();
                format!("{user}{host}, ${{host}} is {}", host.host)
            });
            assert_eq!(got.as_deref().map_err(String::as_str), want, "for {entry:?}");
        }
        check("etcd-1", Ok("etcd-1, ${host} is etcd-1"));
        check(" root@a.b:22 ", Ok("root at a.b:22, ${host} is a.b"));
        check("u@d@h", Ok("u@d at h, ${host} is h"));
        check("[::1]", Ok("::1, ${host} is ::1"));
        check("u@[::1]:22", Ok("u at [::1]:22, ${host} is ::1"));
        check("sandbox:alpha", Ok("sandbox:alpha, ${host} is alpha"));
        check("", Err("an empty host: write `[user@]host[:port]`"));
        check("a:x", Err("`x` is not a port: a number from 1 to 65535"));
        check("a:0", Err("`0` is not a port: a number from 1 to 65535"));
        check("a b", Err("`a b` is not a host name: write `[user@]host[:port]`"));
        check("-oProxy", Err("`-oProxy` is not a host name: write `[user@]host[:port]`"));
        check("@h", Err("`@h` has no user before the `@`: write `[user@]host[:port]`"));
        check(":22", Err("`:22` has no host name: write `[user@]host[:port]`"));
        check("::1", Err("`::1` looks like an IPv6 address: write it in brackets, `[::1]`"));
        check("[::1", Err("`[::1` has a `[` without its `]`: write `[user@]host[:port]`"));
        check("[::1]x", Err("`[::1]x` goes on after the `]`: write `[user@]host[:port]`"));
        check(
            "sandbox:a b",
            Err("`sandbox:a b` is no demo host: write `sandbox:NAME`, of letters, digits, `-` and `_`"),
        );
    }
}
