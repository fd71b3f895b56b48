//! Hosts, and how to log in to them. Pure.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use super::host_entry::HostEntry;
use super::keys;
use super::model::{HostKeyCheck, SshOptions};
use super::node::{Node, Value};
use super::problem::Place;
use super::read::Reader;

impl Reader<'_> {
    /// A list of hosts, or one text of them, separated by commas.
    pub(super) fn hosts(&mut self, node: Option<&Node>) -> Vec<HostEntry> {
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

    /// Tells of names that certainly are one host: cases on it do not overlap, but it is broken twice.
    pub(super) fn note_same_hosts(&mut self, node: Option<&Node>, hosts: &[HostEntry], port: u16) {
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

    pub(super) fn ssh(&mut self, node: Option<&Node>) -> SshOptions {
        let mut options = SshOptions::default();
        let Some(fields) = node.and_then(|node| self.fields(node, keys::SSH, "`ssh`")) else {
            return options;
        };
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        self.keep_secrets_out(fields.get("username"), "messages about logging in");
        for path in ["identity_file", "known_hosts"] {
            self.keep_secrets_out(fields.get(path), "the path of a file, and so in the journal of a run");
        }
        options.username = given(self.text(fields.get("username"), "username"));
        options.password = given(self.text(fields.get("password"), "password"));
        options.becomes_root = self.truth(fields.get("become"), "become").unwrap_or(false);
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
                self.problem(node.place, format!("`{port}` is not a port: a number from 1 to 65535"));
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
                    "a zero `connect_timeout` reaches no host: give it more than 0s",
                );
            }
            options.connect_timeout = time;
        }
        if let Some(time) = self.duration(fields.get("keepalive"), "keepalive") {
            if time < Duration::from_secs(1) {
                self.problem(
                    fields.key_place("keepalive"),
                    "a `keepalive` of less than a second asks more than a server can answer: give it 1s or more",
                );
            }
            options.keepalive = time;
        }
        options
    }
}
