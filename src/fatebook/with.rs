//! `with`: one failure tried with several values, as a case for each of them, or for each combination. Pure.

use std::collections::HashMap;

use super::node::{Key, Node, Value};
use super::read::{CASES_MAX, Reader, is_hidden};
use super::steps::with_own_reverter;
use super::text::{case_variable, is_variable_name};
use super::values::Fields;

/// A failure with its parameters filled in, and what is put behind its name: `[delay=500ms]`.
pub(super) struct Filled {
    pub(super) node: Node,
    pub(super) suffix: String,
    pub(super) count: usize,
}

impl Reader<'_> {
    /// The failures that one entry of `failures` is. Without `with` it is itself; none if `with` is wrong.
    pub(super) fn filled(&mut self, item: &Node, book: &Fields<'_>) -> Vec<Filled> {
        let item = &with_commands_of(book, item);
        let as_it_is = || vec![Filled { node: item.clone(), suffix: String::new(), count: 1 }];
        let Value::Map(entries) = &item.value else { return as_it_is() };
        let Some((_, with)) = entries.iter().find(|(key, _)| key.name == "with") else { return as_it_is() };
        if with.is_null() {
            return as_it_is();
        }
        let Some(parameters) = self.parameters(item, with) else { return Vec::new() };
        let count: usize = parameters.iter().map(|(_, values)| values.len()).fold(1, usize::saturating_mul);
        if count > CASES_MAX {
            let message = format!(
                "`with` makes {count} failures of this one, and a book makes at most {CASES_MAX} cases: try fewer values"
            );
            self.problem(with.place, message);
            return Vec::new();
        }
        (0..count).map(|number| self.combination(item, &parameters, number, count)).collect()
    }

    /// How many failures `with` makes of this one, as far as that can be told without reading it.
    pub(super) fn count_of(&self, item: &Node) -> usize {
        let Value::Map(entries) = &item.value else { return 1 };
        let Some((_, Node { value: Value::Map(with), .. })) =
            entries.iter().find(|(key, _)| key.name == "with")
        else {
            return 1;
        };
        let values = |node: &Node| if let Value::List(items) = &node.value { items.len() } else { 1 };
        with.iter().map(|(_, node)| values(node)).fold(1, usize::saturating_mul).min(CASES_MAX)
    }

    /// The names with their values, in the book's order.
    fn parameters(&mut self, item: &Node, with: &Node) -> Option<Vec<(String, Vec<String>)>> {
        let wanted = "`with` is a map of names and lists of values, such as {delay: [100ms, 2s]}";
        let Value::Map(entries) = &with.value else {
            self.problem(with.place, format!("{wanted}, not {}", with.kind()));
            return None;
        };
        let before = self.findings.problems.len();
        let mut parameters: Vec<(String, Vec<String>)> = Vec::new();
        for (key, value) in entries {
            if !is_variable_name(&key.name)
                || case_variable(&key.name).is_some()
                || key.name.starts_with("PISAURA_")
            {
                let message = format!(
                    "`{}` cannot be a parameter's name: use letters, digits and `_`, and none of host, service, failure and PISAURA_…",
                    key.name
                );
                self.problem(key.place, message);
                continue;
            }
            let Some(items) = self.list(value, wanted) else { continue };
            if items.is_empty() {
                self.problem(
                    value.place,
                    format!("`{}` has no values: the failure would never be tried", key.name),
                );
            }
            let mut values: Vec<String> = Vec::new();
            for item in items {
                let Some(text) = self.plain(item, wanted) else { continue };
                if matches!(&item.value, Value::Scalar(scalar) if !scalar.used.is_empty()) {
                    let message = "a variable in a value of `with` would change the test's name from run to run: write it out";
                    self.problem(item.place, message);
                } else if text.trim().is_empty()
                    || text.contains([',', ']'])
                    || text.chars().any(|c| c.is_control() || is_hidden(c))
                {
                    let message = "a value of `with` stands in the test's name: it cannot be empty, nor have `,`, `]` or a character in it that is not shown";
                    self.problem(item.place, message);
                } else if values.contains(&text) {
                    self.problem(
                        item.place,
                        format!("`{text}` stands here twice: two tests would have one name"),
                    );
                } else {
                    values.push(text);
                }
            }
            if !uses(item, &key.name) {
                let message = format!(
                    "`{0}` is used nowhere in this failure: write `${{{0}}}` where its value belongs",
                    key.name
                );
                self.problem(key.place, message);
            }
            parameters.push((key.name.clone(), values));
        }
        (self.findings.problems.len() == before).then_some(parameters)
    }

    fn combination(
        &self,
        item: &Node,
        parameters: &[(String, Vec<String>)],
        number: usize,
        count: usize,
    ) -> Filled {
        // The first name changes slowest, as one would write them down.
        let (mut rest, mut left) = (number, count);
        let mut chosen: HashMap<&str, &str> = HashMap::new();
        let mut told = Vec::new();
        for (name, values) in parameters {
            left /= values.len();
            let value = values[rest / left].as_str();
            rest %= left;
            chosen.insert(name, value);
            told.push(format!("{name}={value}"));
        }
        let suffix = if told.is_empty() { String::new() } else { format!("[{}]", told.join(",")) };
        Filled { node: item.filled_with(&chosen, self.environment), suffix, count }
    }
}

/// The failure with the commands that its book has for all failures, where it has none of its own.
fn with_commands_of(book: &Fields<'_>, item: &Node) -> Node {
    let Value::Map(entries) = &item.value else { return item.clone() };
    let mut entries = entries.clone();
    let cuts_off = entries.iter().any(|(key, node)| {
        key.name == "cuts_off"
            && matches!(&node.value, Value::Scalar(scalar) if scalar.text.as_literal() == Some("true"))
    });
    let mut has_reverter = entries.iter().any(|(key, _)| key.name == "reverter");
    for name in COMMANDS {
        if name == "reverter" {
            has_reverter |= with_own_reverter(&mut entries);
        }
        // Why the book's failures need no reverter says nothing of one that has its own.
        if name == "because" && has_reverter {
            continue;
        }
        // There may be no way to ask a host that is cut off.
        if cuts_off && ["verify", "still"].contains(&name) {
            continue;
        }
        if let Some(node) = book.get(name).filter(|_| !entries.iter().any(|(key, _)| key.name == name)) {
            entries.push((Key { place: node.place, name: name.to_owned() }, node.clone()));
        }
    }
    Node { place: item.place, value: Value::Map(entries) }
}

/// The keys of commands and what belongs to one, which a book may have for all its failures.
const COMMANDS: [&str; 14] = [
    "where",
    "inducer",
    "reverter",
    "because",
    "healthcheck",
    "expect_output",
    "checks",
    "workload",
    "max_lost",
    "max_stall",
    "only_if",
    "verify",
    "still",
    "stop_if",
];

/// Whether a parameter stands in a value of this failure, other than in `with` itself.
fn uses(node: &Node, name: &str) -> bool {
    match &node.value {
        Value::Scalar(scalar) => scalar.used.iter().any(|used| used == name),
        Value::List(items) => items.iter().any(|item| uses(item, name)),
        Value::Map(entries) => entries.iter().any(|(key, node)| key.name != "with" && uses(node, name)),
    }
}
