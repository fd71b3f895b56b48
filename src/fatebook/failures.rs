//! The failures of a book: their names, and each put together from what it says and what its book says for all. Pure.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::host_entry::HostEntry;
use super::keys;
use super::model::{Command, CommandStyle, Deadman, Expectation, Fate, Resource};
use super::node::{Node, Value};
use super::one_or_more::OneOrMore;
use super::read::{CASES_MAX, Defaults, Reader, is_hidden};
use super::steps::Steps;
use super::text::Text;
use super::time::show_duration;
use super::values::Fields;

pub(super) const NAME_CHARS_MAX: usize = 200;
const CYCLES_MAX: u64 = 1000;
/// More text than any book has, each failure counted as often as `with` makes one of it.
const BYTES_MAX: usize = 256 * 1024 * 1024;

impl Reader<'_> {
    pub(super) fn fates(
        &mut self,
        book: &Fields<'_>,
        hosts: &[HostEntry],
        resources: &[Resource],
        defaults: &Defaults,
    ) -> Vec<Fate> {
        let Some(node) = book.get("failures") else { return Vec::new() };
        let Some(items) = self.list(node, "`failures` is a list") else {
            return Vec::new();
        };
        if items.is_empty() {
            self.problem(node.place, "`failures` is empty: a fatebook has at least one failure");
        }
        let mut fates: Vec<Fate> = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        let (mut count, mut bytes) = (0_usize, 0_usize);
        let env_bytes: usize = defaults.env.iter().map(|(name, value)| name.len() + value.bytes()).sum();
        for item in items {
            // Each of its cases has all of it.
            bytes = bytes.saturating_add(self.count_of(item).saturating_mul(size_of(item) + env_bytes));
            if bytes > BYTES_MAX {
                let message = format!(
                    "the failures up to this one are more than {} MiB with all their values and variables: put long texts into files",
                    BYTES_MAX / (1024 * 1024)
                );
                self.problem(item.place, message);
                return Vec::new();
            }
            let all = self.filled(item, book);
            count += all.first().map_or(0, |first| first.count);
            if count.saturating_mul(hosts.len()) > CASES_MAX {
                let message = format!(
                    "this book makes more than {CASES_MAX} cases, which is the most that a book makes: divide it"
                );
                self.problem(node.place, message);
                return Vec::new();
            }
            for filled in all {
                let Some(fields) = self.fields(&filled.node, keys::FAILURE, "a failure") else {
                    continue;
                };
                let name = self.fate_name(&fields).map(|name| name + &filled.suffix);
                let taken = name
                    .as_ref()
                    .and_then(|name| lines.insert(name.clone(), item.place.line).map(|line| (name, line)));
                if let Some((name, line)) = taken {
                    let message = format!(
                        "the name `{name}` is taken by the failure in line {line}: give each its own"
                    );
                    let place = fields.get("name").map_or(item.place, |node| node.place);
                    self.problem(place, message);
                }
                let fate = self.fate(&fields, name.unwrap_or_default(), hosts, resources, defaults);
                fates.extend(fate.map(|fate| Fate { line: item.place.line, ..fate }));
            }
        }
        fates
    }

    /// Everybody sees what a case is called, and why it is skipped.
    pub(super) fn keep_secrets_out(&mut self, node: Option<&Node>, what: &str) {
        let Some(node) = node else { return };
        match &node.value {
            Value::Scalar(scalar) => {
                if let Some(secret) = scalar.used.iter().find(|used| self.secrets.contains(used)) {
                    let message =
                        format!("the secret `{secret}` would stand in {what}, which everybody sees");
                    self.problem(node.place, message);
                }
            }
            Value::List(items) => items.iter().for_each(|item| self.keep_secrets_out(Some(item), what)),
            Value::Map(_) => {}
        }
    }

    pub(super) fn fate_name(&mut self, fields: &Fields<'_>) -> Option<String> {
        let node = fields.get("name")?;
        let wanted = "`name` is a text";
        if let Value::Scalar(scalar) = &node.value
            && (!scalar.used.is_empty() || !scalar.unset.is_empty() || scalar.text.as_literal().is_none())
        {
            self.problem(
                node.place,
                "a variable in a `name` would change the test's name from run to run: write it out",
            );
            return None;
        }
        let name = self.plain(node, wanted)?;
        let wrong = if name.trim().is_empty() {
            "`name` is empty: give the failure a name"
        } else if name.trim() != name {
            "`name` starts or ends with a space, which test runners cut off: remove it"
        } else if name.chars().any(char::is_control) {
            "`name` has a line break or control character in it, which test runners cannot show: take it out"
        } else if name.chars().count() > NAME_CHARS_MAX {
            "`name` is longer than 200 characters, more than reports and file names take: shorten it"
        } else if name.chars().any(is_hidden) {
            "`name` has an invisible character in it, or one that turns the text around: take it out"
        } else {
            return Some(name);
        };
        self.problem(node.place, wrong);
        None
    }

    pub(super) fn fate(
        &mut self,
        fields: &Fields<'_>,
        name: String,
        hosts: &[HostEntry],
        resources: &[Resource],
        defaults: &Defaults,
    ) -> Option<Fate> {
        let because = self.because(fields);
        let Steps { inducer, reverter } = match self.steps(fields, resources) {
            Some(steps) => steps,
            None => Steps {
                inducer: self.host_command(fields.get("inducer"), "inducer", resources).map(OneOrMore::one),
                reverter: match because {
                    Some(_) => Some(nothing()),
                    None => self.host_command(fields.get("reverter"), "reverter", resources),
                }
                .map(OneOrMore::one),
            },
        };
        let timeout = self.timeout(fields.get("timeout")).unwrap_or(defaults.timeout);
        let healthcheck = match fields.get("healthcheck").filter(|node| Self::is_probe(node)) {
            Some(node) => self.probe(node, "healthcheck", timeout),
            None => self.local_command(fields.get("healthcheck"), "healthcheck", resources),
        };
        let expect_output = self.expected_output(fields.get("expect_output"));
        let stop_if = fields.get("stop_if").map(|node| self.local_command(Some(node), "stop_if", resources));
        let workload =
            fields.get("workload").map(|node| self.local_command(Some(node), "workload", resources));
        let max_lost = self.count(fields.get("max_lost"), "max_lost");
        let max_stall = self.duration(fields.get("max_stall"), "max_stall");
        self.check_workload(fields, workload.as_ref().and_then(Option::as_ref), max_stall);
        let only_if = fields.get("only_if").map(|node| self.host_command(Some(node), "only_if", resources));
        let verify = fields.get("verify").map(|node| self.host_command(Some(node), "verify", resources));
        let verified = verify.as_ref().and_then(Option::as_ref);
        let still = self.still(fields.get("still"), verified, resources);
        let own_hold = self.hold_keys(fields);
        let expect = match self.one_of(fields.get("expect"), "expect", keys::EXPECTATIONS) {
            Some("unhealthy") => Expectation::Unhealthy,
            _ => Expectation::Healthy,
        };
        let mut env = defaults.env.clone();
        for (name, value) in self.env(fields.get("env")) {
            env.retain(|(other, _)| *other != name);
            env.push((name, value));
        }
        let is_here = self.one_of(fields.get("where"), "where", keys::PLACES) == Some("controller");
        let own_hosts = fields.get("hosts").map(|node| {
            let own = self.hosts(Some(node));
            if is_here && hosts.is_empty() {
                return own;
            }
            let all: HashSet<String> = hosts.iter().map(ToString::to_string).collect();
            for host in &own {
                if !hosts.is_empty() && !all.contains(&host.to_string()) {
                    let names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
                    self.problem(
                        node.place,
                        format!("`{host}` is not one of the book's hosts, which are {}", names.join(", ")),
                    );
                }
            }
            let own: HashSet<String> = own.iter().map(ToString::to_string).collect();
            hosts.iter().filter(|host| own.contains(&host.to_string())).cloned().collect::<Vec<_>>()
        });
        self.keep_secrets_out(fields.get("skip"), "the reason to skip the case");
        self.keep_secrets_out(fields.get("tags"), "tags");
        self.keep_secrets_out(fields.get("hosts"), "names of cases");
        let skip = fields.get("skip").and_then(|node| {
            let reason = self.text(Some(node), "skip")?;
            if is_yes_or_no(reason.trim()) {
                self.problem(node.place, "`skip` is the reason not to run it, a text: say why");
            }
            // As of a variable that is set by whoever wants it skipped: `${REASON:-}`.
            Some(reason.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|reason| !reason.is_empty())
        });
        let pass_step = self.truth(fields.get("pass_step"), "pass_step").unwrap_or(defaults.pass_step);
        if let (Some(node), Some(command)) = (fields.get("healthcheck"), &healthcheck) {
            let has_arguments = pass_step || command.words.len() > 1;
            self.shell_notes(node.place, "healthcheck", command, has_arguments, true);
        }
        if let (Some(node), Some(Some(command))) = (fields.get("stop_if"), &stop_if) {
            self.shell_notes(node.place, "stop_if", command, command.words.len() > 1, true);
        }
        let tags = match fields.get("tags") {
            Some(node) => self.texts(Some(node), "tags"),
            None => defaults.tags.clone(),
        };
        let deadman = self.deadman(fields.get("deadman"));
        let targets = match own_hosts.as_deref().unwrap_or(hosts) {
            hosts if is_here => self.targets_from_here(fields, &name, hosts),
            hosts => self.targets(fields, &name, hosts),
        };
        let mut fate = Fate {
            name,
            inducer: inducer?,
            reverter: reverter?,
            because,
            healthcheck: healthcheck?,
            expect_output,
            checks: Vec::new(),
            workload: match workload {
                Some(workload) => Some(workload?),
                None => None,
            },
            max_lost: max_lost.unwrap_or_default(),
            max_stall,
            only_if: match only_if {
                Some(only_if) => Some(only_if?),
                None => None,
            },
            verify: match verify {
                Some(verify) => Some(verify?),
                None => None,
            },
            cuts_off: self.truth(fields.get("cuts_off"), "cuts_off").unwrap_or(false),
            cycles: self.cycles(fields),
            still,
            stop_if: match stop_if {
                Some(stop_if) => vec![stop_if?],
                None => Vec::new(),
            },
            expect,
            hold: None,
            max_recovery: None,
            steady: None,
            timeout,
            grace: self.duration(fields.get("grace"), "grace").unwrap_or(defaults.grace),
            deadman: deadman.map_or(defaults.deadman, |(deadman, _)| deadman),
            switch_may_die: deadman.map_or(defaults.switch_may_die, |(_, may_die)| may_die),
            pass_step,
            targets,
            env,
            tags,
            skip,
            known: self.known(fields.get("known")),
            line: fields.place.line,
        };
        self.set_hold(&mut fate, own_hold, defaults.hold);
        self.set_checks(&mut fate, fields.get("checks"), own_hold.or(defaults.hold), resources);
        if fate.hold.is_none()
            && let Some(node) = fields.get("stop_if")
        {
            let message = "`stop_if` is asked while a failure is held, and this one is not: give it a `hold`";
            self.problem(node.place, message);
        }
        if let (Some(_), Some(text)) = (&fate.hold, self.reading.stop_if) {
            fate.stop_if.push(Command {
                words: vec![Text::literal(text)],
                style: CommandStyle::Shell,
                file: None,
            });
        }
        if let Some(node) = fields.get("cuts_off").filter(|_| fate.cuts_off) {
            if is_here {
                let message =
                    "no login is cut off where the failure is made from the controller: take `cuts_off` out";
                self.problem(node.place, message);
            }
            if fate.deadman == Deadman::Off {
                let message = "a host that is cut off can only heal by itself, and `deadman` is \"off\"";
                self.problem(node.place, message.to_owned());
            }
            for (name, is_there) in [("verify", fate.verify.is_some()), ("still", fate.still.is_some())] {
                if is_there {
                    let message = format!(
                        "`{name}` is asked over SSH, and with `cuts_off` there may be no way to the host any more: leave one of them out"
                    );
                    self.problem(node.place, message);
                }
            }
        }
        if let Deadman::After(time) = fate.deadman
            && time < fate.longest_life()
        {
            let place = fields.get("deadman").map(|node| node.place).or(defaults.deadman_place);
            let message = format!(
                "the revert cannot fit into a `deadman` of {}: the steps of `{}` may take {} until the reverter has ended (`timeout` {} each, {}): give it more, or lower them",
                show_duration(time),
                fate.name,
                show_duration(fate.longest_life()),
                show_duration(fate.timeout),
                match fate.longest_hold() {
                    Some(longest) => format!("`hold` up to {}", show_duration(longest)),
                    None => format!("`grace` {}", show_duration(fate.grace)),
                },
            );
            self.problem(place.unwrap_or(fields.place), message);
        }
        Some(fate)
    }
}

/// How much text a value has, with all in it.
fn size_of(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(scalar) => scalar.text.bytes(),
        Value::List(items) => items.iter().map(size_of).sum(),
        Value::Map(entries) => entries.iter().map(|(key, node)| key.name.len() + size_of(node)).sum(),
    }
}

/// The command that does nothing, on any host.
fn nothing() -> Command {
    Command { words: vec![Text::literal("true")], style: CommandStyle::Program, file: None }
}

impl Reader<'_> {
    /// Why a failure has no reverter, if it says that it has none.
    fn because(&mut self, fields: &Fields<'_>) -> Option<String> {
        let because = self.text(fields.get("because"), "because");
        let is_none = |node: &&Node| matches!(&node.value, Value::Scalar(scalar) if scalar.text.as_literal() == Some("none"));
        let Some(none) = fields.get("reverter").filter(is_none) else {
            if let Some(node) = fields.get("because") {
                self.problem(
                    node.place,
                    "`because` says why `reverter` is none, and there is one: take one of them out",
                );
            }
            return None;
        };
        self.keep_secrets_out(fields.get("because"), "the reason that there is no reverter");
        let reason = because.map(|reason| reason.split_whitespace().collect::<Vec<_>>().join(" "));
        match reason.filter(|reason| !reason.is_empty() && !is_yes_or_no(reason)) {
            Some(reason) => Some(reason),
            None => {
                let message = "a failure without a reverter says why nothing has to heal the host: `because: it restarts by itself`";
                self.problem(none.place, message);
                Some(String::new())
            }
        }
    }

    /// How often the host is broken and healed in a case.
    fn cycles(&mut self, fields: &Fields<'_>) -> u32 {
        let Some(node) = fields.get("cycles") else { return 1 };
        let Some(count) = self.count(Some(node), "cycles") else { return 1 };
        let wrong = match count {
            0 => Some("a failure of no `cycles` would break nothing: leave it out, or make it 2 or more"),
            1..=CYCLES_MAX if count > 1 && fields.get("only_if").is_some() => Some(
                "what `only_if` says may change from one of the `cycles` to the next: leave one of them out",
            ),
            1..=CYCLES_MAX => None,
            _ => Some("more `cycles` than 1000 are more than one case can tell of: use `--repeat`"),
        };
        if let Some(wrong) = wrong {
            self.problem(node.place, wrong);
        }
        u32::try_from(count).unwrap_or(1)
    }

    /// What cannot be of a workload and its limits.
    fn check_workload(
        &mut self,
        fields: &Fields<'_>,
        workload: Option<&Command>,
        max_stall: Option<Duration>,
    ) {
        match (fields.get("workload"), workload) {
            (Some(node), Some(command)) => {
                self.shell_notes(node.place, "workload", command, command.words.len() > 1, true);
            }
            (Some(_), None) => {}
            (None, _) => {
                for name in ["max_lost", "max_stall"] {
                    if let Some(node) = fields.get(name) {
                        let message = format!("`{name}` limits what a `workload` says, and there is none");
                        self.problem(node.place, message);
                    }
                }
            }
        }
        if let (Some(node), Some(Duration::ZERO)) = (fields.get("max_stall"), max_stall) {
            let message =
                "a `max_stall` of zero could not be kept by any service: leave it out, or allow some time";
            self.problem(node.place, message);
        }
    }
}

/// Whether a text is one of those that some format or other reads as a truth value, or as none: such a word is no reason.
pub(super) fn is_yes_or_no(text: &str) -> bool {
    const WORDS: [&str; 13] =
        ["true", "false", "yes", "no", "on", "off", "y", "n", "0", "1", "~", "null", "none"];
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}
