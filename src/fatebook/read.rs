//! From a tree to a book: each key read by its rule, everything wrong told at once. What needs a look at other files
//! (are the scripts there?) is asked of a `Files`, so this stays pure.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::discover::Reading;
use super::keys::{self, KeyRule, Shape};
use super::model::{
    Command, CommandStyle, Deadman, Expectation, Fate, Fatebook, HostEntry, HostKeyCheck, LogLevel,
    ScriptFile, SshOptions, parse_duration, show_duration,
};
use super::node::{Node, Scalar, Value, as_bool};
use super::problem::{Place, Problem, nearest};
use super::text::{Text, is_variable_name};

/// A secret shorter than this stands in other texts by chance.
const SECRET_BYTES_MIN: usize = 4;

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
    secrets: Vec<String>,
    /// The values that are shown nowhere, the longest first.
    pub(super) secret_values: Vec<String>,
}

/// A map whose keys were compared with the rules.
struct Fields<'n> {
    place: Place,
    found: Vec<(&'static str, Place, &'n Node)>,
}

impl<'n> Fields<'n> {
    fn get(&self, name: &str) -> Option<&'n Node> {
        self.found.iter().find(|(found, ..)| *found == name).map(|(.., node)| *node)
    }

    fn key_place(&self, name: &str) -> Place {
        self.found.iter().find(|(found, ..)| *found == name).map_or(self.place, |(_, place, _)| *place)
    }
}

/// What the book says for all its failures.
#[derive(Clone)]
struct Defaults {
    env: Vec<(String, Text)>,
    timeout: Duration,
    grace: Duration,
    deadman: Deadman,
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
            secrets: Vec::new(),
            secret_values: Vec::new(),
        }
    }

    fn problem(&mut self, place: Place, message: impl Into<String>) {
        self.findings.problems.push(Problem::at(place, message));
    }

    fn note(&mut self, place: Place, message: impl Into<String>) {
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
        let cpu = self.number(fields.get("cpu"), "cpu").unwrap_or(0.1);
        let mem = self.number(fields.get("mem"), "mem").unwrap_or(64.0);
        let hosts = self.hosts(fields.get("hosts"));
        let ssh = self.ssh(fields.get("ssh"));
        let loglevel = self.one_of(fields.get("loglevel"), "loglevel", keys::LEVELS);
        let failfast = self.truth(fields.get("failfast"), "failfast").unwrap_or(false);
        let resources = self.resources(fields.get("resources"));
        let defaults = Defaults {
            env: self.env(fields.get("env")),
            timeout: self.timeout(fields.get("timeout")).unwrap_or(Duration::from_secs(60)),
            grace: self.duration(fields.get("grace"), "grace").unwrap_or_default(),
            deadman: self.deadman(fields.get("deadman")).unwrap_or(Deadman::Default),
            deadman_place: fields.get("deadman").map(|node| node.place),
            tags: self.texts(fields.get("tags"), "tags"),
            pass_step: self.truth(fields.get("pass_step"), "pass_step").unwrap_or(true),
        };
        let fates = self.fates(fields.get("failures"), &hosts, &resources, &defaults);
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
        })
    }

    /// Compares a map's keys with the rules; `None` if it is no map.
    fn fields<'n>(&mut self, node: &'n Node, rules: &'static [KeyRule], what: &str) -> Option<Fields<'n>> {
        let Value::Map(entries) = &node.value else {
            self.problem(node.place, format!("{what} is a map of keys and values, not {}", node.kind()));
            return None;
        };
        let mut meant: Vec<&str> = Vec::new();
        let mut found: Vec<(&'static str, Place, &Node)> = Vec::new();
        for (key, value) in entries {
            let rule =
                rules.iter().find(|rule| rule.name == key.name || rule.alias == Some(key.name.as_str()));
            let Some(rule) = rule else {
                let names = rules.iter().flat_map(|rule| [Some(rule.name), rule.alias]).flatten();
                let advice = match nearest(&key.name, names) {
                    Some(name) => {
                        meant.push(name);
                        format!("did you mean `{name}`?")
                    }
                    None if key.name == "<<" => "merge keys are not read: write the keys out".to_owned(),
                    None => {
                        let names: Vec<&str> = rules.iter().map(|rule| rule.name).collect();
                        format!("{what} has {}", names.join(", "))
                    }
                };
                self.problem(key.place, format!("unknown key `{}`: {advice}", key.name));
                continue;
            };
            if let Some((_, first, _)) = found.iter().find(|(name, ..)| *name == rule.name) {
                // A key that stands twice by the same name was told of when the file was read.
                if rule.alias == Some(key.name.as_str())
                    || entries.iter().any(|(other, _)| rule.alias == Some(other.name.as_str()))
                {
                    let message = format!(
                        "`{}` is another name of `{}`, and both are given (line {}): take one of them out",
                        rule.alias.unwrap_or_default(),
                        rule.name,
                        first.line
                    );
                    self.problem(key.place, message);
                }
                continue;
            }
            if value.is_null() && (rule.required || rule.shape != Shape::Text) {
                self.problem(
                    key.place,
                    format!("`{}` has no value: give it one, or take the line out", key.name),
                );
                // Told already: a required key without a value is not missing as well.
            }
            found.push((rule.name, key.place, value));
        }
        for rule in rules.iter().filter(|rule| rule.required) {
            if !found.iter().any(|(name, ..)| *name == rule.name) && !meant.contains(&rule.name) {
                self.problem(
                    Place { length: 1, ..node.place },
                    format!("`{}` is missing: {}", rule.name, rule.meaning),
                );
            }
        }
        found.retain(|(_, _, value)| !value.is_null());
        Some(Fields { place: node.place, found })
    }

    fn is_set(&self, node: &Node) -> bool {
        match &node.value {
            Value::Scalar(scalar) => scalar.unset.is_empty(),
            _ => true,
        }
    }

    /// The scalar of a node, with its unset variables noted; `None` if nothing can be said of it.
    fn scalar<'n>(&mut self, node: &'n Node, wanted: &str) -> Option<&'n Scalar> {
        let Value::Scalar(scalar) = &node.value else {
            self.problem(node.place, format!("{wanted}, not {}", node.kind()));
            return None;
        };
        if scalar.unset.is_empty() {
            return Some(scalar);
        }
        for name in scalar.unset.iter().filter(|name| !name.is_empty()) {
            if self.reading.strict {
                self.problem(node.place, format!("the variable {name} is not set"));
            }
            if !self.unset.contains(name) {
                self.unset.push(name.clone());
            }
        }
        None
    }

    /// A text without a case's variables.
    fn plain(&mut self, node: &Node, wanted: &str) -> Option<String> {
        let text = self.scalar(node, wanted)?.text.clone();
        match text.as_literal() {
            Some(text) => Some(text.to_owned()),
            None => {
                self.problem(
                    node.place,
                    "`${host}`, `${service}` and `${failure}` differ from case to case: they can stand in commands and in `env`",
                );
                None
            }
        }
    }

    fn text(&mut self, node: Option<&Node>, name: &str) -> Option<String> {
        self.plain(node?, &format!("`{name}` is a text"))
    }

    fn number(&mut self, node: Option<&Node>, name: &str) -> Option<f64> {
        let node = node?;
        let wanted = format!("`{name}` is a number above zero");
        let scalar = self.scalar(node, &wanted)?;
        let number = scalar
            .text
            .as_literal()
            .filter(|_| scalar.untyped)
            .and_then(|text| text.trim().parse::<f64>().ok())
            .filter(|number| number.is_finite() && *number > 0.0 && *number <= 1e6);
        if number.is_none() {
            let (written, quoted) = (scalar.text.as_literal().unwrap_or("").to_owned(), !scalar.untyped);
            let advice = if quoted && written.trim().parse::<f64>().is_ok() {
                format!(": write {written} without the quotes")
            } else {
                String::new()
            };
            self.problem(node.place, format!("{wanted}, not `{written}`{advice}"));
        }
        number
    }

    fn truth(&mut self, node: Option<&Node>, name: &str) -> Option<bool> {
        let node = node?;
        let wanted = format!("`{name}` is true or false");
        let scalar = self.scalar(node, &wanted)?;
        let written = scalar.text.as_literal().unwrap_or("").to_owned();
        let truth = as_bool(&written).filter(|_| scalar.untyped);
        if truth.is_none() {
            let advice = match written.to_lowercase().as_str() {
                "true" | "false" => ": take the quotes away",
                "yes" | "y" | "on" | "1" => ": write true",
                "no" | "n" | "off" | "0" => ": write false",
                _ => "",
            };
            self.problem(node.place, format!("{wanted}, not `{written}`{advice}"));
        }
        truth
    }

    fn duration(&mut self, node: Option<&Node>, name: &str) -> Option<Duration> {
        let node = node?;
        let wanted = format!("`{name}` is a time such as 90s, 2m or 500ms");
        let written = self.plain(node, &wanted)?;
        let time = parse_duration(&written);
        if time.is_none() {
            self.problem(node.place, format!("{wanted}, not `{written}`"));
        }
        time
    }

    fn timeout(&mut self, node: Option<&Node>) -> Option<Duration> {
        let time = self.duration(node, "timeout")?;
        if time.is_zero() {
            self.problem(node?.place, "a `timeout` of nothing lets no step end: give it more than 0s");
            return None;
        }
        Some(time)
    }

    fn deadman(&mut self, node: Option<&Node>) -> Option<Deadman> {
        let given = node?;
        let off = matches!(&given.value, Value::Scalar(scalar) if scalar.text.as_literal() == Some("off"));
        if off {
            return Some(Deadman::Off);
        }
        let wanted = "`deadman` is a time such as 5m, or \"off\"";
        let written = self.plain(given, wanted)?;
        let time = parse_duration(&written);
        if time.is_none() {
            self.problem(given.place, format!("{wanted}, not `{written}`"));
        }
        time.map(Deadman::After)
    }

    fn one_of(
        &mut self,
        node: Option<&Node>,
        name: &str,
        choices: &'static [&'static str],
    ) -> Option<&'static str> {
        let node = node?;
        let wanted = format!("`{name}` is one of {}", choices.join(", "));
        let written = self.plain(node, &wanted)?;
        let found = choices.iter().find(|choice| choice.eq_ignore_ascii_case(&written)).copied();
        if found.is_none() {
            let advice = match nearest(&written, choices.iter().copied()) {
                Some(choice) => format!(": did you mean `{choice}`?"),
                None => String::new(),
            };
            self.problem(node.place, format!("{wanted}, not `{written}`{advice}"));
        }
        found
    }

    fn list<'n>(&mut self, node: &'n Node, wanted: &str) -> Option<&'n [Node]> {
        match &node.value {
            Value::List(items) => Some(items),
            _ => {
                self.problem(node.place, format!("{wanted}, not {}", node.kind()));
                None
            }
        }
    }

    fn texts(&mut self, node: Option<&Node>, name: &str) -> Vec<String> {
        let Some(node) = node else { return Vec::new() };
        let wanted = format!("`{name}` is a list of texts");
        let Some(items) = self.list(node, &wanted) else {
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items {
            match self.plain(item, &wanted) {
                Some(text) if text.trim().is_empty() => {
                    self.problem(item.place, format!("an empty text in `{name}`: take it out"));
                }
                Some(text) => texts.push(text),
                None => {}
            }
        }
        texts
    }

    fn names(&mut self, fields: &Fields<'_>) -> Vec<String> {
        let names = self.texts(fields.get("secrets"), "secrets");
        for name in &names {
            if !is_variable_name(name) {
                let place = fields.get("secrets").map_or(Place::START, |node| node.place);
                self.problem(
                    place,
                    format!("`{name}` is no name of a variable: `secrets` has names, not values"),
                );
            }
        }
        names
    }

    fn resources(&mut self, node: Option<&Node>) -> Vec<PathBuf> {
        let Some(node) = node else { return Vec::new() };
        let wanted = "`resources` is a list of paths";
        let Some(items) = self.list(node, wanted) else {
            return Vec::new();
        };
        let mut resources = Vec::new();
        for item in items {
            let Some(text) = self.plain(item, wanted) else {
                continue;
            };
            if text.contains("://") {
                self.problem(
                    item.place,
                    format!(
                        "`{text}` is a URL, which this version does not fetch: put the file beside the book"
                    ),
                );
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
                resources.push(path);
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
        for (entry, place) in entries {
            match HostEntry::parse(&entry) {
                Ok(host) if hosts.iter().any(|other| other.to_string() == host.to_string()) => {
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
        node: Option<&Node>,
        hosts: &[HostEntry],
        resources: &[PathBuf],
        defaults: &Defaults,
    ) -> Vec<Fate> {
        let Some(node) = node else { return Vec::new() };
        let Some(items) = self.list(node, "`failures` is a list") else {
            return Vec::new();
        };
        if items.is_empty() {
            self.problem(node.place, "`failures` is empty: a fatebook has at least one failure");
        }
        let mut fates: Vec<Fate> = Vec::new();
        for item in items {
            let Some(fields) = self.fields(item, keys::FAILURE, "a failure") else {
                continue;
            };
            let name = self.fate_name(&fields);
            if let Some(first) = fates.iter().find(|fate| Some(&fate.name) == name.as_ref()) {
                let message = format!(
                    "the name `{}` is taken by the failure in line {}: give each its own",
                    first.name, first.line
                );
                let place = fields.get("name").map_or(item.place, |node| node.place);
                self.problem(place, message);
            }
            let fate = self.fate(&fields, name.unwrap_or_default(), hosts, resources, defaults);
            fates.extend(fate.map(|fate| Fate { line: item.place.line, ..fate }));
        }
        fates
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
        } else {
            return Some(name);
        };
        self.problem(node.place, wrong);
        None
    }

    fn fate(
        &mut self,
        fields: &Fields<'_>,
        name: String,
        hosts: &[HostEntry],
        resources: &[PathBuf],
        defaults: &Defaults,
    ) -> Option<Fate> {
        let inducer = self.host_command(fields.get("inducer"), "inducer", resources);
        let reverter = self.host_command(fields.get("reverter"), "reverter", resources);
        let healthcheck = self.healthcheck(fields.get("healthcheck"), resources);
        let verify = fields.get("verify").map(|node| self.host_command(Some(node), "verify", resources));
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
            for host in &own {
                if !hosts.is_empty() && !hosts.iter().any(|other| other.to_string() == host.to_string()) {
                    let names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
                    self.problem(
                        node.place,
                        format!("`{host}` is none of the book's hosts, which are {}", names.join(", ")),
                    );
                }
            }
            hosts
                .iter()
                .filter(|host| own.iter().any(|other| other.to_string() == host.to_string()))
                .cloned()
                .collect::<Vec<_>>()
        });
        let skip = fields.get("skip").and_then(|node| {
            let reason = self.text(Some(node), "skip")?;
            if reason.trim().is_empty() || as_bool(&reason).is_some() {
                self.problem(node.place, "`skip` is the reason not to run it, a text: say why");
            }
            Some(reason.split_whitespace().collect::<Vec<_>>().join(" "))
        });
        let tags = match fields.get("tags") {
            Some(node) => self.texts(Some(node), "tags"),
            None => defaults.tags.clone(),
        };
        let fate = Fate {
            name,
            inducer: inducer?,
            reverter: reverter?,
            healthcheck: healthcheck?,
            verify: match verify {
                Some(verify) => Some(verify?),
                None => None,
            },
            expect,
            timeout: self.timeout(fields.get("timeout")).unwrap_or(defaults.timeout),
            grace: self.duration(fields.get("grace"), "grace").unwrap_or(defaults.grace),
            deadman: self.deadman(fields.get("deadman")).unwrap_or(defaults.deadman),
            pass_step: self.truth(fields.get("pass_step"), "pass_step").unwrap_or(defaults.pass_step),
            hosts: own_hosts.unwrap_or_else(|| hosts.to_vec()),
            env,
            tags,
            skip,
            line: fields.place.line,
        };
        if let Deadman::After(time) = fate.deadman
            && time < fate.longest_life()
        {
            let place = fields.get("deadman").map(|node| node.place).or(defaults.deadman_place);
            let message = format!(
                "the revert cannot fit into a `deadman` of {}: the steps of `{}` may take {} until the reverter has ended (`timeout` {} each, `grace` {}): give it more, or lower them",
                show_duration(time),
                fate.name,
                show_duration(fate.longest_life()),
                show_duration(fate.timeout),
                show_duration(fate.grace),
            );
            self.problem(place.unwrap_or(fields.place), message);
        }
        Some(fate)
    }

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
    fn host_command(&mut self, node: Option<&Node>, name: &str, resources: &[PathBuf]) -> Option<Command> {
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
        }
        self.check_lines(place, file.as_ref());
        Some(Command { words, style, file })
    }

    /// A command that runs where the executor runs.
    fn healthcheck(&mut self, node: Option<&Node>, resources: &[PathBuf]) -> Option<Command> {
        let (words, place) = self.command_words(node, "healthcheck")?;
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
    fn find(&self, script: &str, resources: &[PathBuf]) -> Option<PathBuf> {
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
