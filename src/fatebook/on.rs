//! `on`: how many of a failure's hosts, or which of them, each of its cases breaks at once. Pure.

use std::collections::HashSet;

use openssl::sha::sha256;

use super::host_entry::{HostEntry, HostSet};
use super::node::{Node, Value};
use super::problem::nearest;
use super::read::Reader;
use super::values::Fields;

/// The variable that chooses among hosts where that is left to chance.
const SEED: &str = "PISAURA_SEED";
/// The same choice in every run, until somebody wants another.
const SEED_DEFAULT: &str = "0";

const WORDS: [&str; 4] = ["each", "minority", "majority", "all"];
const WANTED: &str =
    "`on` is a number, each, minority, majority, all, a list of hosts, a list of such lists, or {random: 2}";

impl Reader<'_> {
    /// The hosts of each case of a failure that is tried on these hosts.
    pub(super) fn targets(
        &mut self,
        fields: &Fields<'_>,
        failure: &str,
        hosts: &[HostEntry],
    ) -> Vec<HostSet> {
        let each = || hosts.iter().cloned().map(HostSet::one).collect();
        let Some(node) = fields.get("on") else { return each() };
        self.keep_secrets_out(Some(node), "names of cases");
        let targets = match &node.value {
            Value::Scalar(_) => self.counted(node, hosts).map(|count| in_turn(hosts, count)),
            Value::List(items) => self.listed(node, items, hosts),
            Value::Map(entries) => match entries.as_slice() {
                [(key, count)] if key.name == "random" => {
                    self.counted(count, hosts).map(|count| self.chosen(failure, hosts, count))
                }
                _ => {
                    self.problem(node.place, format!("{WANTED}, not this map"));
                    None
                }
            },
        };
        let targets = targets.unwrap_or_else(each);
        for set in &targets {
            let mut seen = HashSet::new();
            for host in set.iter() {
                // Breaking one machine twice at once would have each wait for the other.
                if !seen.insert((host.host.to_lowercase(), host.port.unwrap_or(self.port), host.sandbox)) {
                    let message =
                        format!("`{host}` is in `{set}` twice, by two names: a case breaks a host once");
                    self.problem(node.place, message);
                }
            }
        }
        targets
    }

    /// The same of a failure that is made from here: its hosts are names, and there need not be any.
    pub(super) fn targets_from_here(
        &mut self,
        fields: &Fields<'_>,
        failure: &str,
        hosts: &[HostEntry],
    ) -> Vec<HostSet> {
        if hosts.is_empty() {
            if let Some(node) = fields.get("on") {
                self.problem(node.place, "`on` chooses among `hosts`, and there are none: take it out");
            }
            return vec![HostSet::one(HostEntry::controller())];
        }
        let names: Vec<HostEntry> = hosts
            .iter()
            .map(|host| HostEntry { user: None, port: None, here: true, sandbox: false, ..host.clone() })
            .collect();
        self.targets(fields, failure, &names)
    }

    /// How many hosts at once; `None` if that is not known, and was told.
    fn counted(&mut self, node: &Node, hosts: &[HostEntry]) -> Option<usize> {
        let all = hosts.len();
        let text = self.plain(node, WANTED)?;
        let (count, what) = match text.trim() {
            "each" => (1, ""),
            "minority" => (all.saturating_sub(1) / 2, "minority"),
            "majority" => (all / 2 + 1, "majority"),
            "all" => (all, ""),
            number => match number.parse::<usize>() {
                Ok(count) if count > 0 => (count, ""),
                _ => {
                    let meant = nearest(number, WORDS).map(|word| format!(": did you mean `{word}`?"));
                    let meant = meant.unwrap_or_default();
                    self.problem(node.place, format!("{WANTED}, not `{text}`{meant}"));
                    return None;
                }
            },
        };
        // The hosts are not known as long as a variable is not set.
        if all == 0 {
            return None;
        }
        let hosts = if all == 1 { "1 host".to_owned() } else { format!("{all} hosts") };
        if count == 0 {
            let message = format!("there is no {what} of {hosts}: this failure needs at least 3");
            self.problem(node.place, message);
            return None;
        }
        if count > all {
            self.problem(
                node.place,
                format!("`on` wants {count} hosts at once, and the failure has {hosts}"),
            );
            return None;
        }
        Some(count)
    }

    /// The lists of the book: one of hosts, or several.
    fn listed(&mut self, node: &Node, items: &[Node], hosts: &[HostEntry]) -> Option<Vec<HostSet>> {
        if items.is_empty() {
            self.problem(node.place, "`on` is empty: name hosts, or take it out");
            return None;
        }
        let is_list = |item: &Node| matches!(item.value, Value::List(_));
        let lists: Vec<&[Node]> = match items.iter().all(is_list) {
            true => items
                .iter()
                .filter_map(|item| match &item.value {
                    Value::List(inner) => Some(inner.as_slice()),
                    _ => None,
                })
                .collect(),
            false => vec![items],
        };
        let mut sets: Vec<HostSet> = Vec::new();
        for list in lists {
            let mut found: Vec<HostEntry> = Vec::new();
            for item in list {
                let name = self.plain(item, WANTED)?;
                let is_named = |host: &&HostEntry| host.to_string() == name.trim();
                match hosts.iter().find(is_named) {
                    Some(host) if found.contains(host) => {
                        self.problem(
                            item.place,
                            format!("`{name}` stands here twice: a case breaks a host once"),
                        );
                    }
                    Some(host) => found.push(host.clone()),
                    None if hosts.is_empty() => {}
                    None => {
                        let names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
                        let message = format!(
                            "`{name}` is not one of this failure's hosts, which are {}",
                            names.join(", ")
                        );
                        self.problem(item.place, message);
                    }
                }
            }
            match HostSet::of(found) {
                Some(set) if sets.iter().any(|other| other.to_string() == set.to_string()) => {
                    self.problem(node.place, format!("`on` has {set} twice: two tests would have one name"));
                }
                Some(set) => sets.push(set),
                None if list.is_empty() => {
                    self.problem(node.place, "a list in `on` is empty: name hosts in it");
                }
                None => {}
            }
        }
        Some(sets).filter(|sets| !sets.is_empty())
    }

    /// So many hosts that nobody has chosen: the same ones for the same seed, failure and hosts, in the book's order.
    fn chosen(&mut self, failure: &str, hosts: &[HostEntry], count: usize) -> Vec<HostSet> {
        let seed = (self.environment)(SEED).filter(|seed| !seed.is_empty());
        let seed = seed.unwrap_or_else(|| SEED_DEFAULT.to_owned());
        self.seed.get_or_insert_with(|| (SEED.to_owned(), seed.clone()));
        let rank = |host: &HostEntry| sha256(format!("{seed} {failure} {host}").as_bytes());
        let mut ranked: Vec<_> = hosts.iter().enumerate().map(|(place, host)| (rank(host), place)).collect();
        ranked.sort_unstable();
        let mut places: Vec<usize> = ranked.into_iter().take(count).map(|(_, place)| place).collect();
        places.sort_unstable();
        let chosen = places.into_iter().map(|place| hosts[place].clone()).collect();
        HostSet::of(chosen).into_iter().collect()
    }
}

/// Neighbors in the book's order, as often as it takes until each host was in a set; the last ones begin the list again.
fn in_turn(hosts: &[HostEntry], count: usize) -> Vec<HostSet> {
    let starts = (0..hosts.len()).step_by(count.max(1));
    let set = |start: usize| hosts.iter().cycle().skip(start).take(count).cloned().collect();
    starts.filter_map(|start| HostSet::of(set(start))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &str) -> Vec<HostEntry> {
        names.split(' ').map(|name| HostEntry::parse(name).expect("a host")).collect()
    }

    #[test]
    fn each_host_has_its_turn() {
        fn check(names: &str, count: usize, want: &str) {
            let told: Vec<String> = in_turn(&hosts(names), count).iter().map(ToString::to_string).collect();
            assert_eq!(told.join(" "), want, "{count} of {names}");
        }
        check("a b c", 1, "a b c");
        check("a b c", 2, "a+b c+a");
        check("a b c", 3, "a+b+c");
        check("a b c d", 2, "a+b c+d");
        check("a b c d e", 2, "a+b c+d e+a");
        check("a b c d e", 3, "a+b+c d+e+a");
        check("a:1 b", 2, "a:1+b");
    }
}
