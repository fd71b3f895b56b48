//! From a tree to a book: each key read by its rule, everything wrong told at once. What needs a look at other files
//! (are the scripts there?) is asked of a `Files`, so this stays pure.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::discover::Reading;
use super::hold::HoldKeys;
use super::keys;
use super::model::{Command, Deadman, Fate, Fatebook, LogLevel, Resource};
use super::node::{Node, Value};
use super::problem::{Place, Problem, nearest};
use super::text::{Text, is_variable_name};
use super::time::parse_duration;
use super::values::Fields;

/// More cases than anybody waits for: failures times hosts.
pub(super) const CASES_MAX: usize = 100_000;

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
    pub(super) reading: Reading<'a>,
    pub(super) unset: Vec<String>,
    /// Variables of the environment that were used, and which of them name hosts.
    pub(super) used: Vec<String>,
    pub(super) used_for_hosts: HashSet<String>,
    /// What chooses among hosts where that is left to chance, if it is, and its value.
    pub(super) seed: Option<(String, String)>,
    /// The port of hosts that name none.
    pub(super) port: u16,
    pub(super) secrets: Vec<String>,
    /// The values that are shown nowhere, the longest first.
    pub(super) secret_values: Vec<String>,
}

/// What the book says for all its failures.
#[derive(Clone)]
pub(super) struct Defaults {
    pub(super) env: Vec<(String, Text)>,
    pub(super) timeout: Duration,
    pub(super) grace: Duration,
    pub(super) hold: HoldKeys,
    pub(super) deadman: Deadman,
    pub(super) switch_may_die: bool,
    pub(super) deadman_place: Option<Place>,
    pub(super) tags: Vec<String>,
    pub(super) pass_step: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        files: &'a dyn Files,
        environment: &'a dyn Fn(&str) -> Option<String>,
        reading: Reading<'a>,
    ) -> Self {
        Self {
            files,
            environment,
            findings: Findings::default(),
            reading,
            unset: Vec::new(),
            used: Vec::new(),
            used_for_hosts: HashSet::new(),
            seed: None,
            port: 22,
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
        self.port = ssh.port;
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
        let are_all_here = !fates.is_empty() && fates.iter().all(Fate::is_made_here);
        if fields.get("hosts").is_none() && !are_all_here {
            self.miss_hosts(root);
        }
        let before_all = self.around(&fields, "before_all", &resources);
        let after_all = self.around(&fields, "after_all", &resources);
        self.check_limits_of_book(defaults.hold, &fates);
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
            before_all,
            after_all,
            env: defaults.env,
            timeout: defaults.timeout,
            secret_values: self.secret_values.clone(),
            unset: std::mem::take(&mut self.unset),
            used: self.variables(),
        })
    }

    /// Only a failure that is made from here needs no host. What was told already is not missing as well.
    fn miss_hosts(&mut self, root: &Node) {
        let Value::Map(entries) = &root.value else { return };
        let names = || keys::BOOK.iter().flat_map(|rule| [Some(rule.name), rule.alias]).flatten();
        let is_meant = |name: &str| {
            name == "hosts" || !names().any(|known| known == name) && nearest(name, names()) == Some("hosts")
        };
        if !entries.iter().any(|(key, _)| is_meant(&key.name)) {
            let place = Place { length: 1, ..root.place };
            self.problem(place, "`hosts` is missing: the service's hosts: [user@]host[:port]");
        }
    }

    /// The variables that are needed to read the book again. Only hosts are no secret for sure.
    fn variables(&self) -> Vec<(String, Option<String>)> {
        let value_of = |name: &String| {
            let value = (self.environment)(name)?;
            let is_shown = self.used_for_hosts.contains(name) && !self.secrets.contains(name);
            Some((name.clone(), Some(value).filter(|_| is_shown)))
        };
        let seed = self.seed.iter().map(|(name, value)| (name.clone(), Some(value.clone())));
        self.used.iter().filter_map(value_of).chain(seed).collect()
    }

    /// What is done once before or after all cases.
    fn around(&mut self, fields: &Fields<'_>, name: &'static str, resources: &[Resource]) -> Option<Command> {
        let node = fields.get(name)?;
        let command = self.local_command(Some(node), name, resources)?;
        let has_arguments = command.words.len() > 1;
        self.shell_notes(node.place, name, &command, has_arguments, name == "before_all");
        if !command.words.iter().all(|word| word.as_literal().is_some()) {
            let message =
                format!("`{name}` is run once for all cases: it has no `${{host}}` or `${{failure}}`");
            self.problem(node.place, message);
        }
        Some(command)
    }

    pub(super) fn timeout(&mut self, node: Option<&Node>) -> Option<Duration> {
        let time = self.duration(node, "timeout")?;
        if time.is_zero() {
            self.problem(node?.place, "a zero `timeout` would end every step at once: give it more than 0s");
            return None;
        }
        Some(time)
    }

    /// When the host heals by itself, and whether that may end with the login that has armed it.
    pub(super) fn deadman(&mut self, node: Option<&Node>) -> Option<(Deadman, bool)> {
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

    pub(super) fn env(&mut self, node: Option<&Node>) -> Vec<(String, Text)> {
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
}

/// Whether a character is not shown as it is: it would make one name look like another.
pub fn is_hidden(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
