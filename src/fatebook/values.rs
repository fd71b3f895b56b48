//! Single values: a map's keys compared with the rules, texts, numbers, truth values, times, lists; and what is said of one
//! that is of another kind. Pure.

use std::time::Duration;

use super::keys::{self, KeyRule, Shape};
use super::node::{Node, Scalar, Value, as_bool};
use super::problem::{Place, nearest};
use super::read::Reader;
use super::time::parse_duration;

/// A map whose keys were compared with the rules.
pub(super) struct Fields<'n> {
    pub(super) place: Place,
    found: Vec<(&'static str, Place, &'n Node)>,
}

impl<'n> Fields<'n> {
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        self.found.iter().find(|(found, ..)| *found == name).map(|(.., node)| *node)
    }

    pub(super) fn key_place(&self, name: &str) -> Place {
        self.found.iter().find(|(found, ..)| *found == name).map_or(self.place, |(_, place, _)| *place)
    }
}

impl Reader<'_> {
    /// Compares a map's keys with the rules; `None` if it is no map.
    pub(super) fn fields<'n>(
        &mut self,
        node: &'n Node,
        rules: &'static [KeyRule],
        what: &str,
    ) -> Option<Fields<'n>> {
        let Value::Map(entries) = &node.value else {
            self.problem(node.place, format!("{what} is a map of keys and values, not {}", node.kind()));
            return None;
        };
        let mut meant: Vec<&str> = Vec::new();
        let mut found: Vec<(&'static str, Place, &Node)> = Vec::new();
        for (key, value) in entries {
            // For what is named once and used in several places.
            if std::ptr::eq(rules, keys::BOOK) && key.name.starts_with("x-") {
                continue;
            }
            let rule =
                rules.iter().find(|rule| rule.name == key.name || rule.alias == Some(key.name.as_str()));
            let Some(rule) = rule else {
                let names = rules.iter().flat_map(|rule| [Some(rule.name), rule.alias]).flatten();
                let advice = match nearest(&key.name, names) {
                    Some(name) => {
                        meant.push(name);
                        format!("did you mean `{name}`?")
                    }
                    None if key.name == "<<" => {
                        "a merge key takes a map, `<<: *name`, or a list of maps".to_owned()
                    }
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

    pub(super) fn is_set(&self, node: &Node) -> bool {
        match &node.value {
            Value::Scalar(scalar) => scalar.unset.is_empty(),
            _ => true,
        }
    }

    /// The scalar of a node, with its unset variables noted; `None` if nothing can be said of it.
    pub(super) fn scalar<'n>(&mut self, node: &'n Node, wanted: &str) -> Option<&'n Scalar> {
        let Value::Scalar(scalar) = &node.value else {
            self.problem(node.place, format!("{wanted}, not {}", node.kind()));
            return None;
        };
        for name in &scalar.used {
            if !self.used.contains(name) {
                self.used.push(name.clone());
            }
        }
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
    pub(super) fn plain(&mut self, node: &Node, wanted: &str) -> Option<String> {
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

    pub(super) fn text(&mut self, node: Option<&Node>, name: &str) -> Option<String> {
        self.plain(node?, &format!("`{name}` is a text"))
    }

    pub(super) fn number(&mut self, node: Option<&Node>, name: &str) -> Option<f64> {
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

    /// A whole number, zero included.
    pub(super) fn count(&mut self, node: Option<&Node>, name: &str) -> Option<u64> {
        let node = node?;
        let wanted = format!("`{name}` is a whole number");
        let written = self.plain(node, &wanted)?;
        let count = written.trim().parse::<u64>().ok();
        if count.is_none() {
            self.problem(node.place, format!("{wanted}, not `{written}`"));
        }
        count
    }

    pub(super) fn truth(&mut self, node: Option<&Node>, name: &str) -> Option<bool> {
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

    pub(super) fn duration(&mut self, node: Option<&Node>, name: &str) -> Option<Duration> {
        let node = node?;
        let wanted = format!("`{name}` is a time such as 90s, 2m or 500ms");
        let written = self.plain(node, &wanted)?;
        let time = parse_duration(&written);
        if time.is_none() {
            self.problem(node.place, format!("{wanted}, not `{written}`"));
        }
        time
    }

    pub(super) fn one_of(
        &mut self,
        node: Option<&Node>,
        name: &str,
        choices: &'static [&'static str],
    ) -> Option<&'static str> {
        let node = node?;
        let wanted = match choices {
            [only] => format!("`{name}` can only be {only}"),
            _ => format!("`{name}` is one of {}", choices.join(", ")),
        };
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

    pub(super) fn list<'n>(&mut self, node: &'n Node, wanted: &str) -> Option<&'n [Node]> {
        match &node.value {
            Value::List(items) => Some(items),
            _ => {
                self.problem(node.place, format!("{wanted}, not {}", node.kind()));
                None
            }
        }
    }

    pub(super) fn texts(&mut self, node: Option<&Node>, name: &str) -> Vec<String> {
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
}
