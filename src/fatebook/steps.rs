//! An inducer of several steps, each with what reverts it: a list of maps in place of a command. Pure.

use std::collections::BTreeSet;
use std::path::Path;

use super::keys;
use super::model::{Command, Resource};
use super::node::{Key, Node, Value};
use super::one_or_more::OneOrMore;
use super::read::Reader;
use super::values::Fields;

/// More steps than anybody can follow in one failure.
const STEPS_MAX: usize = 50;

/// What breaks a host, and what heals it: of as many steps, in the same order.
pub(super) struct Steps {
    pub(super) inducer: Option<OneOrMore<Command>>,
    pub(super) reverter: Option<OneOrMore<Command>>,
}

/// Whether an inducer is a list of steps.
pub(super) fn are_steps(node: &Node) -> bool {
    match &node.value {
        Value::List(items) => items.iter().any(|item| matches!(item.value, Value::Map(_))),
        _ => false,
    }
}

/// Gives a failure whose inducer is of several steps these for its reverter, unless it has one; answers with whether they are such.
pub(super) fn with_own_reverter(entries: &mut Vec<(Key, Node)>) -> bool {
    let inducer = entries.iter().find(|(key, node)| key.name == "inducer" && are_steps(node));
    let Some((key, node)) = inducer.cloned() else { return false };
    if !entries.iter().any(|(key, _)| key.name == "reverter") {
        entries.push((Key { name: "reverter".to_owned(), ..key }, node));
    }
    true
}

impl Reader<'_> {
    /// Reads the steps of a failure, if its inducer has some.
    pub(super) fn steps(&mut self, fields: &Fields<'_>, resources: &[Resource]) -> Option<Steps> {
        let node = fields.get("inducer").filter(|node| are_steps(node))?;
        if let Some(reverter) = fields.get("reverter")
            && reverter.place != node.place
        {
            let message = "each step of the `inducer` has a `revert` of its own: take `reverter` out";
            self.problem(reverter.place, message);
        }
        let items = self.list(node, "`inducer` is a list of steps").unwrap_or_default();
        if items.len() > STEPS_MAX {
            let message = format!("{} steps are more than {STEPS_MAX}, which is the most", items.len());
            self.problem(node.place, message);
            return Some(Steps { inducer: None, reverter: None });
        }
        let (mut inducer, mut reverter) = (Vec::new(), Vec::new());
        let mut files: BTreeSet<&Path> = BTreeSet::new();
        for item in items {
            let Some(step) = self.fields(item, keys::STEP_KEYS, "a step of the `inducer`") else { continue };
            inducer.extend(self.host_command(step.get("run"), "run", resources));
            reverter.extend(self.host_command(step.get("revert"), "revert", resources));
        }
        files.extend(reverter.iter().filter_map(|command| Some(command.file.as_ref()?.source.as_path())));
        if files.len() > 1 {
            let named: Vec<String> = files.iter().map(|file| format!("`{}`", file.display())).collect();
            let message = format!(
                "the dead man's switch keeps one file of the book, and the steps are reverted with {}: make it one, with arguments",
                named.join(" and ")
            );
            self.problem(node.place, message);
        }
        let whole =
            |commands: Vec<Command>| OneOrMore::of(commands).filter(|all| all.iter().count() == items.len());
        Some(Steps { inducer: whole(inducer), reverter: whole(reverter) })
    }
}
