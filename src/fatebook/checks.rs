//! `checks`: more questions beside the healthcheck, each with a name, limits and a finding of its own. Pure.

use std::collections::HashSet;

use super::failures::NAME_CHARS_MAX;
use super::hold::HoldKeys;
use super::keys;
use super::model::{Check, Expectation, Fate, Resource};
use super::node::Node;
use super::read::{Reader, is_hidden};

/// More questions than anybody asks of one service.
const CHECKS_MAX: usize = 50;

impl Reader<'_> {
    /// Reads the checks of a failure, and sets them in it. `of_failure` is what the failure and its book say of holds.
    pub(super) fn set_checks(
        &mut self,
        fate: &mut Fate,
        node: Option<&Node>,
        of_failure: HoldKeys,
        resources: &[Resource],
    ) {
        let Some(node) = node else { return };
        let Some(items) = self.list(node, "`checks` is a list, each entry with a `name` and `run`") else {
            return;
        };
        if items.len() > CHECKS_MAX {
            let message = format!("{} checks are more than {CHECKS_MAX}, which is the most", items.len());
            self.problem(node.place, message);
            return;
        }
        let mut names = HashSet::new();
        for item in items {
            let Some(fields) = self.fields(item, keys::CHECK_KEYS, "a check") else { continue };
            let name = self.check_name(fields.get("name"));
            if let (Some(name), Some(node)) = (&name, fields.get("name"))
                && !names.insert(name.clone())
            {
                let message = format!("the name `{name}` is taken by another check: give each its own");
                self.problem(node.place, message);
            }
            let run = fields.get("run");
            let command = match run.filter(|node| Self::is_probe(node)) {
                Some(node) => self.probe(node, "run", fate.timeout),
                None => self.local_command(run, "run", resources),
            };
            if let (Some(node), Some(command)) = (run, &command) {
                self.shell_notes(node.place, "run", command, command.words.len() > 1, true);
            }
            let expect_output = self.expected_output(fields.get("expect_output"));
            let expect = match self.one_of(fields.get("expect"), "expect", keys::EXPECTATIONS) {
                Some("unhealthy") => Expectation::Unhealthy,
                _ => Expectation::Healthy,
            };
            let own = self.hold_keys(&fields);
            let hold = self.hold_of_check(fate, expect, own, of_failure);
            if let (Some(name), Some(command)) = (name, command) {
                fate.checks.push(Check { name, command, expect_output, expect, hold });
            }
        }
    }

    fn check_name(&mut self, node: Option<&Node>) -> Option<String> {
        let node = node?;
        self.keep_secrets_out(Some(node), "the name of a check");
        let name = self.text(Some(node), "name")?;
        let wrong = if name.trim().is_empty() || name.trim() != name {
            "the name of a check is empty, or starts or ends with a space"
        } else if name.chars().any(|c| c.is_control() || is_hidden(c)) {
            "the name of a check has a character in it that is not shown: take it out"
        } else if name.chars().count() > NAME_CHARS_MAX {
            "the name of a check is longer than 200 characters: shorten it"
        } else if name == "healthcheck" {
            "`healthcheck` is the name of the failure's own: give the check another one"
        } else {
            return Some(name);
        };
        self.problem(node.place, wrong);
        None
    }
}
