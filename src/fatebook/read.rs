//! From a tree to a book: each key read by its rule, everything wrong told at once. What needs a look at other files
//! (are the scripts there?) is asked of a `Files`, so this stays pure.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::discover::Reading;
use super::hold::HoldKeys;
use super::keys;
use super::model::{
    Deadman, Expectation, Fate, Fatebook, HostEntry, HostKeyCheck, LogLevel, Resource, SshOptions,
    parse_duration, show_duration,
};
use super::node::{Node, Value};
use super::problem::{Place, Problem};
use super::text::{Text, is_variable_name};
use super::values::Fields;

/// More cases than anybody waits for: failures times hosts.
pub(super) const CASES_MAX: usize = 100_000;
const NAME_CHARS_MAX: usize = 200;

/// What the reader asks about other files.
pub(super) trait Files {
    /// Whether there is a file at this path: absolute, or relative to the book's folder.
    fn is_file(&self, path: &Path) -> bool;
    /// Whether there is anything at this path.
    fn exists(&self, path: &Path) -> bool;
    /// Whether the path, relative to the book's folder, stays among the books.
    fn stays_inside(&self, path: &Path) -> bool;
    /// The names of the files in the book's folder.
    fn names(&self) -> Vec<String>;
    /// Whether the file's first line names an interpreter and ends as lines of Windows do.
    fn has_carriage_return(&self, path: &Path) -> bool;
    /// Whether the file can be executed, or its first line names an interpreter.
    fn is_script(&self, path: &Path) -> bool;
    /// What a shell says of this text, if it cannot read it. Nothing of it is run.
    fn syntax_error(&self, text: &str) -> Option<String>;
    /// Whether a program of this name is found in `PATH` here.
    fn in_path(&self, program: &str) -> bool;
}

/// What came of reading a tree.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<Problem>,
}

pub(super) struct Reader<'a> {
    pub(super) files: &'a dyn Files,
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    pub(super) findings: Findings,
    pub(super) reading: Reading,
    pub(super) unset: Vec<String>,
    /// Variables of the environment that were used, and which of them name hosts.
    pub(super) used: Vec<String>,
    pub(super) used_for_hosts: HashSet<String>,
    pub(super) secrets: Vec<String>,
    /// The values that are shown nowhere, the longest first.
    pub(super) secret_values: Vec<String>,
}

/// What the book says for all its failures.
#[derive(Clone)]
struct Defaults {
    env: Vec<(String, Text)>,
    timeout: Duration,
    grace: Duration,
    hold: HoldKeys,
    deadman: Deadman,
    switch_may_die: bool,
    deadman_place: Option<Place>,
    tags: Vec<String>,
    pass_step: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        files: &'a dyn Files,
        environment: &'a dyn Fn(&str) -> Option<String>,
        reading: Reading,
    ) -> Self {
        Self {
            files,
            environment,
            findings: Findings::default(),
            reading,
            unset: Vec::new(),
            used: Vec::new(),
            used_for_hosts: HashSet::new(),
            secrets: Vec::new(),
            secret_values: Vec::new(),
        }
    }

    pub(super) fn problem(&mut self, place: Place, message: impl Into<String>) {
        self.findings.problems.push(Problem::at(place, message));
    }

    pub(super) fn note(&mut self, place: Place, message: impl Into<String>) {
        self.findings.notes.push(Problem::at(place, message));
    }

    /// Reads the whole book. The result counts only if no problems were found.
    pub(super) fn book(
        &mut self,
        root: &Node,
        name: String,
        path: PathBuf,
        folder: PathBuf,
    ) -> Option<Fatebook> {
        let fields = self.fields(root, keys::BOOK, "a fatebook")?;
        let secrets = self.names(&fields);
        self.secrets.clone_from(&secrets);
        let service = self.text(fields.get("service"), "service");
        if let (Some(service), Some(node)) = (&service, fields.get("service"))
            && service.trim().is_empty()
            && self.is_set(node)
        {
            self.problem(node.place, "`service` is empty: give the tested service a title");
        }
        for (key, what) in [("service", "the service's name"), ("hosts", "names of cases"), ("tags", "tags")]
        {
            self.keep_secrets_out(fields.get(key), what);
        }
        let cpu = self.number(fields.get("cpu"), "cpu").unwrap_or(0.1);
        let mem = self.number(fields.get("mem"), "mem").unwrap_or(64.0);
        let hosts = self.hosts(fields.get("hosts"));
        let ssh = self.ssh(fields.get("ssh"));
        let loglevel = self.one_of(fields.get("loglevel"), "loglevel", keys::LEVELS);
        let failfast = self.truth(fields.get("failfast"), "failfast").unwrap_or(false);
        let resources = self.resources(fields.get("resources"));
        let deadman = self.deadman(fields.get("deadman"));
        let defaults = Defaults {
            env: self.env(fields.get("env")),
            timeout: self.timeout(fields.get("timeout")).unwrap_or(Duration::from_secs(60)),
            grace: self.duration(fields.get("grace"), "grace").unwrap_or_default(),
            hold: self.hold_keys(&fields),
            deadman: deadman.map_or(Deadman::Default, |(deadman, _)| deadman),
            switch_may_die: deadman.is_some_and(|(_, may_die)| may_die),
            deadman_place: fields.get("deadman").map(|node| node.place),
            tags: self.texts(fields.get("tags"), "tags"),
            pass_step: self.truth(fields.get("pass_step"), "pass_step").unwrap_or(true),
        };
        self.note_same_hosts(fields.get("hosts"), &hosts, ssh.port);
        let fates = self.fates(&fields, &hosts, &resources, &defaults);
        self.secret_values.extend(secrets.iter().filter_map(|name| (self.environment)(name)));
        self.secret_values.retain(|value| !value.is_empty());
        self.secret_values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        self.secret_values.dedup();
        Some(Fatebook {
            name,
            path,
            folder,
            service: service.unwrap_or_default(),
            cpu_milli: (cpu * 1000.0).round().clamp(1.0, 1e9) as u32,
            mem_mib: mem.ceil().clamp(1.0, 1e9) as u32,
            hosts,
            ssh,
            loglevel: match loglevel {
                Some("debug") => LogLevel::Debug,
                Some("warning") => LogLevel::Warning,
                Some("error") => LogLevel::Error,
                Some("critical") => LogLevel::Critical,
                _ => LogLevel::Info,
            },
            failfast,
            fates,
            resources,
            secret_values: self.secret_values.clone(),
            unset: std::mem::take(&mut self.unset),
            used: self.variables(),
        })
    }

    /// The variables that are needed to read the book again. Only hosts are no secret for sure.
    fn variables(&self) -> Vec<(String, Option<String>)> {
        let value_of = |name: &String| {
            let value = (self.environment)(name)?;
            let is_shown = self.used_for_hosts.contains(name) && !self.secrets.contains(name);
            Some((name.clone(), Some(value).filter(|_| is_shown)))
        };
        self.used.iter().filter_map(value_of).collect()
    }

    fn timeout(&mut self, node: Option<&Node>) -> Option<Duration> {
        let time = self.duration(node, "timeout")?;
        if time.is_zero() {
            self.problem(node?.place, "a `timeout` of nothing lets no step end: give it more than 0s");
            return None;
        }
        Some(time)
    }

    /// When the host heals by itself, and whether that may end with the login that has armed it.
    fn deadman(&mut self, node: Option<&Node>) -> Option<(Deadman, bool)> {
        let given = node?;
        if matches!(given.value, Value::Map(_)) {
            let fields = self.fields(given, keys::DEADMAN_KEYS, "`deadman`")?;
            let after = self.duration(fields.get("after"), "after");
            let may_die = self.one_of(fields.get("may_die_with"), "may_die_with", keys::MAY_DIE_WITH);
            return Some((after.map_or(Deadman::Default, Deadman::After), may_die.is_some()));
        }
        let off = matches!(&given.value, Value::Scalar(scalar) if scalar.text.as_literal() == Some("off"));
        if off {
            return Some((Deadman::Off, false));
        }
        let wanted = "`deadman` is a time such as 5m, or \"off\"";
        let written = self.plain(given, wanted)?;
        let time = parse_duration(&written);
        if time.is_none() {
            self.problem(given.place, format!("{wanted}, not `{written}`"));
        }
        time.map(|time| (Deadman::After(time), false))
    }

    fn names(&mut self, fields: &Fields<'_>) -> Vec<String> {
        let names = self.texts(fields.get("secrets"), "secrets");
        for name in &names {
            if !is_variable_name(name) {
                let place = fields.get("secrets").map_or(Place::START, |node| node.place);
                self.problem(place, "this is no name of a variable: `secrets` has names, not values");
            }
        }
        names
    }

    fn resources(&mut self, node: Option<&Node>) -> Vec<Resource> {
        let Some(node) = node else { return Vec::new() };
        let wanted = "`resources` is a list of paths and URLs";
        let Some(items) = self.list(node, wanted) else {
            return Vec::new();
        };
        let mut resources = Vec::new();
        for item in items {
            let Some(text) = self.plain(item, wanted) else {
                continue;
            };
            if text.contains("://") {
                match Resource::parse_url(&text) {
                    Ok(url) => resources.push(url),
                    Err(message) => self.problem(item.place, message),
                }
                continue;
            }
            let path = PathBuf::from(&text);
            if path.is_relative() && !self.files.stays_inside(&path) {
                self.problem(item.place, format!("`{text}` leaves the folder of the fatebooks: name an absolute path, or put it beside the book"));
            } else if !self.files.exists(&path) {
                self.problem(
                    item.place,
                    format!("`{text}` is not there: a path is absolute, or begins at the book's folder"),
                );
            } else {
                resources.push(Resource::Path(path));
            }
        }
        resources
    }

    fn env(&mut self, node: Option<&Node>) -> Vec<(String, Text)> {
        let Some(node) = node else { return Vec::new() };
        let Value::Map(entries) = &node.value else {
            self.problem(node.place, format!("`env` is a map of names and values, not {}", node.kind()));
            return Vec::new();
        };
        let mut variables = Vec::new();
        for (key, value) in entries {
            if !is_variable_name(&key.name) {
                self.problem(
                    key.place,
                    format!("`{}` is no name of a variable: letters, digits and `_`", key.name),
                );
                continue;
            }
            if key.name.starts_with("PISAURA_") {
                self.problem(
                    key.place,
                    format!("`{}` is Pisaura's own: give the variable another name", key.name),
                );
                continue;
            }
            if let Some(scalar) = self.scalar(value, "the value of a variable is a text") {
                let text = if value.is_null() { Text::default() } else { scalar.text.clone() };
                if text.as_literal().is_some_and(|text| text.contains('\0')) {
                    self.problem(value.place, "a variable cannot hold a NUL");
                }
                if self.secrets.contains(&key.name) {
                    match text.as_literal() {
                        Some(text) => self.secret_values.push(text.to_owned()),
                        None => self.problem(
                            value.place,
                            "a secret cannot hold `${host}`, `${service}` or `${failure}`: it would be another one in each case",
                        ),
                    }
                }
                variables.push((key.name.clone(), text));
            }
        }
        variables
    }

    fn ssh(&mut self, node: Option<&Node>) -> SshOptions {
        let mut options = SshOptions::default();
        let Some(fields) = node.and_then(|node| self.fields(node, keys::SSH, "`ssh`")) else {
            return options;
        };
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        self.keep_secrets_out(fields.get("username"), "messages about logging in");
        options.username = given(self.text(fields.get("username"), "username"));
        options.password = given(self.text(fields.get("password"), "password"));
        options.passphrase = given(self.text(fields.get("passphrase"), "passphrase"));
        for node in ["password", "passphrase"].into_iter().filter_map(|name| fields.get(name)) {
            if let Value::Scalar(scalar) = &node.value {
                self.secrets.extend(scalar.used.iter().cloned());
            }
        }
        self.secret_values.extend([&options.password, &options.passphrase].into_iter().flatten().cloned());
        options.identity_file =
            given(self.text(fields.get("identity_file"), "identity_file")).map(PathBuf::from);
        options.known_hosts = given(self.text(fields.get("known_hosts"), "known_hosts")).map(PathBuf::from);
        for (name, file) in [("identity_file", &options.identity_file), ("known_hosts", &options.known_hosts)]
        {
            let Some(path) = file.as_deref().filter(|path| path.is_relative() && !path.starts_with("~"))
            else {
                continue;
            };
            let place = fields.get(name).map_or(fields.place, |node| node.place);
            if !self.files.stays_inside(path) {
                self.problem(
                    place,
                    format!("`{}` leaves the folder of the fatebooks: name an absolute path", path.display()),
                );
            } else if !self.files.is_file(path) {
                self.problem(place, format!("there is no file `{}` beside the book", path.display()));
            }
        }
        if let Some(node) = fields.get("port")
            && let Some(port) = self.number(Some(node), "port")
        {
            if port.fract() == 0.0 && port <= 65535.0 {
                options.port = port as u16;
            } else {
                self.problem(node.place, format!("`{port}` is no port: a number from 1 to 65535"));
            }
        }
        options.host_key_check =
            match self.one_of(fields.get("host_key_check"), "host_key_check", keys::HOST_KEY_CHECKS) {
                Some("accept-new") => HostKeyCheck::AcceptNew,
                Some("off") => HostKeyCheck::Off,
                _ => HostKeyCheck::Strict,
            };
        if let Some(time) = self.duration(fields.get("connect_timeout"), "connect_timeout") {
            if time.is_zero() {
                self.problem(
                    fields.key_place("connect_timeout"),
                    "a `connect_timeout` of nothing reaches no host: give it more than 0s",
                );
            }
            options.connect_timeout = time;
        }
        options
    }

    /// A list of hosts, or one text of them, separated by commas.
    fn hosts(&mut self, node: Option<&Node>) -> Vec<HostEntry> {
        let Some(node) = node else { return Vec::new() };
        let wanted = "`hosts` is a list of `[user@]host[:port]`, or one text of them, separated by commas";
        let mut entries: Vec<(String, Place)> = Vec::new();
        let mut complete = true;
        let mut add = |reader: &mut Self, item: &Node| match reader.scalar(item, wanted) {
            Some(scalar) => {
                let from_variable = !scalar.used.is_empty();
                let (used, text) = (scalar.used.clone(), scalar.text.clone());
                let Some(text) = text.as_literal() else {
                    reader.problem(item.place, "`${host}`, `${service}` and `${failure}` differ from case to case: they can stand in commands and in `env`");
                    return;
                };
                if text.trim().is_empty() && from_variable {
                    // A variable that is there but empty names no hosts: as good as unset.
                    reader.unset.extend(used);
                    complete = false;
                    return;
                }
                reader.used_for_hosts.extend(used);
                entries.extend(text.split(',').map(|entry| (entry.to_owned(), item.place)));
            }
            None => complete = false,
        };
        match &node.value {
            Value::List(items) if items.is_empty() => {
                self.problem(node.place, "`hosts` is empty: name at least one host");
            }
            Value::List(items) => items.iter().for_each(|item| add(self, item)),
            _ => add(self, node),
        }
        let mut hosts: Vec<HostEntry> = Vec::new();
        let mut named = HashSet::new();
        for (entry, place) in entries {
            match HostEntry::parse(&entry) {
                Ok(host) if !named.insert(host.to_string()) => {
                    self.problem(place, format!("the host `{host}` is named twice: name it once"));
                }
                Ok(host) => hosts.push(host),
                Err(message) => self.problem(place, message),
            }
        }
        if complete { hosts } else { Vec::new() }
    }

    fn fates(
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
        let mut count = 0_usize;
        for item in items {
            let all = self.filled(item);
            count += all.first().map_or(0, |first| first.count);
            if count.saturating_mul(hosts.len()) > CASES_MAX {
                let message = format!(
                    "this book makes more than {CASES_MAX} cases, which is the most that a book makes: divide it"
                );
                self.problem(node.place, message);
                return Vec::new();
            }
            for filled in all {
                let Some(fields) = self.fields_below(&filled.node, keys::FAILURE, "a failure", Some(book))
                else {
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
                let fate = self.fate(&fields, book, name.unwrap_or_default(), hosts, resources, defaults);
                fates.extend(fate.map(|fate| Fate { line: item.place.line, ..fate }));
            }
        }
        fates
    }

    /// Everybody sees what a case is called, and why it is skipped.
    fn keep_secrets_out(&mut self, node: Option<&Node>, what: &str) {
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

    /// Tells of names that certainly are one host: cases on it do not overlap, but it is broken twice.
    fn note_same_hosts(&mut self, node: Option<&Node>, hosts: &[HostEntry], port: u16) {
        let Some(node) = node else { return };
        let mut seen: HashMap<(String, u16), String> = HashMap::new();
        for host in hosts.iter().filter(|host| !host.sandbox) {
            let key = (host.host.to_lowercase(), host.port.unwrap_or(port));
            if let Some(first) = seen.get(&key) {
                self.note(
                    node.place,
                    format!("`{first}` and `{host}` are one host, which is broken for each of them"),
                );
            } else {
                seen.insert(key, host.to_string());
            }
        }
    }

    fn fate_name(&mut self, fields: &Fields<'_>) -> Option<String> {
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
            "`name` begins or ends with a blank, which test runners cut off: take it away"
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

    fn fate(
        &mut self,
        fields: &Fields<'_>,
        book: &Fields<'_>,
        name: String,
        hosts: &[HostEntry],
        resources: &[Resource],
        defaults: &Defaults,
    ) -> Option<Fate> {
        // What the failure does not say, its book may.
        let of = |name: &str| fields.get(name).or(book.get(name));
        let inducer = self.host_command(of("inducer"), "inducer", resources);
        let reverter = self.host_command(of("reverter"), "reverter", resources);
        let healthcheck = self.local_command(of("healthcheck"), "healthcheck", resources);
        let stop_if = of("stop_if").map(|node| self.local_command(Some(node), "stop_if", resources));
        let only_if = of("only_if").map(|node| self.host_command(Some(node), "only_if", resources));
        let verify = of("verify").map(|node| self.host_command(Some(node), "verify", resources));
        let verified = verify.as_ref().and_then(Option::as_ref);
        let still = self.still(of("still"), verified, resources);
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
        let own_hosts = fields.get("hosts").map(|node| {
            let own = self.hosts(Some(node));
            let all: HashSet<String> = hosts.iter().map(ToString::to_string).collect();
            for host in &own {
                if !hosts.is_empty() && !all.contains(&host.to_string()) {
                    let names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
                    self.problem(
                        node.place,
                        format!("`{host}` is none of the book's hosts, which are {}", names.join(", ")),
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
        if let (Some(node), Some(command)) = (of("healthcheck"), &healthcheck) {
            let has_arguments = pass_step || command.words.len() > 1;
            self.shell_notes(node.place, "healthcheck", command, has_arguments, true);
        }
        if let (Some(node), Some(Some(command))) = (of("stop_if"), &stop_if) {
            self.shell_notes(node.place, "stop_if", command, command.words.len() > 1, true);
        }
        let tags = match fields.get("tags") {
            Some(node) => self.texts(Some(node), "tags"),
            None => defaults.tags.clone(),
        };
        let deadman = self.deadman(fields.get("deadman"));
        let mut fate = Fate {
            name,
            inducer: inducer?,
            reverter: reverter?,
            healthcheck: healthcheck?,
            only_if: match only_if {
                Some(only_if) => Some(only_if?),
                None => None,
            },
            verify: match verify {
                Some(verify) => Some(verify?),
                None => None,
            },
            cuts_off: self.truth(fields.get("cuts_off"), "cuts_off").unwrap_or(false),
            still,
            stop_if: match stop_if {
                Some(stop_if) => Some(stop_if?),
                None => None,
            },
            expect,
            hold: None,
            max_recovery: None,
            steady: None,
            timeout: self.timeout(fields.get("timeout")).unwrap_or(defaults.timeout),
            grace: self.duration(fields.get("grace"), "grace").unwrap_or(defaults.grace),
            deadman: deadman.map_or(defaults.deadman, |(deadman, _)| deadman),
            switch_may_die: deadman.map_or(defaults.switch_may_die, |(_, may_die)| may_die),
            pass_step,
            hosts: own_hosts.unwrap_or_else(|| hosts.to_vec()),
            env,
            tags,
            skip,
            line: fields.place.line,
        };
        self.set_hold(&mut fate, own_hold, defaults.hold);
        if fate.hold.is_none()
            && let Some(node) = fields.get("stop_if")
        {
            let message = "`stop_if` is asked while a failure is held, and this one is not: give it a `hold`";
            self.problem(node.place, message);
        }
        if let Some(node) = fields.get("cuts_off").filter(|_| fate.cuts_off) {
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
                match &fate.hold {
                    Some(hold) => format!("`hold` up to {}", show_duration(hold.longest())),
                    None => format!("`grace` {}", show_duration(fate.grace)),
                },
            );
            self.problem(place.unwrap_or(fields.place), message);
        }
        Some(fate)
    }
}

/// Whether a text is one of those that some format or other reads as a truth value, or as none: such a word is no reason.
fn is_yes_or_no(text: &str) -> bool {
    const WORDS: [&str; 13] =
        ["true", "false", "yes", "no", "on", "off", "y", "n", "0", "1", "~", "null", "none"];
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Whether a character is not shown as it is: it would make one name look like another.
pub fn is_hidden(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
