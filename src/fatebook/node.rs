//! A book's text as a tree in which every key and value knows its place. Owns the reading of YAML (and so of JSON, and of
//! the Python-looking books of old), the limits on size and depth, and the filling in of variables. Pure.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::lines::Lines;
use super::problem::{Place, Problem};
use super::text::Text;

/// A book is small; what is larger is something else that happens to be called `.json`.
pub(super) const SOURCE_BYTES_MAX: usize = 1 << 20;
/// Aliases could otherwise make a tree of any size out of a few lines.
const NODES_MAX: usize = 100_000;
/// The same of long texts.
const ALIAS_BYTES_MAX: usize = 4 << 20;
const DEPTH_MAX: usize = 32;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) name: String,
}

/// A single value as it was written, its variables filled in.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    pub(super) text: Text,
    /// Whether it may also be a number or a truth value: it was written without quotes, or a variable is in it.
    pub(super) untyped: bool,
    /// The variables of the environment in it.
    pub(super) used: Vec<String>,
    /// Those of them that have no value, so that nothing can be said of this one.
    pub(super) unset: Vec<String>,
    /// As it was written, if there is a variable in it.
    source: Option<String>,
}

impl Node {
    /// What kind of value this is, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Scalar(scalar) => match (scalar.untyped, scalar.text.as_literal()) {
                (true, Some("" | "~" | "null" | "Null" | "NULL"))
                    if scalar.used.is_empty() && scalar.unset.is_empty() =>
                {
                    "nothing"
                }
                (true, Some(text)) if as_bool(text).is_some() => "true or false",
                (true, Some(text)) if text.parse::<f64>().is_ok() => "a number",
                _ => "a text",
            },
        }
    }

    /// The same with these parameters filled in, which go before variables of the environment.
    pub(super) fn filled_with(
        &self,
        parameters: &HashMap<&str, &str>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let again = |node: &Self| node.filled_with(parameters, environment);
        let value = match &self.value {
            Value::List(items) => Value::List(items.iter().map(again).collect()),
            Value::Map(entries) => {
                Value::Map(entries.iter().map(|(key, node)| (key.clone(), again(node))).collect())
            }
            Value::Scalar(scalar) => {
                let mut scalar = scalar.clone();
                let all = |name: &str| match parameters.get(name) {
                    Some(value) => Some((*value).to_owned()),
                    None => environment(name),
                };
                let is_parameter = |name: &String| parameters.contains_key(name.as_str());
                // What is wrong with it was told when it was read first.
                if let Some(source) =
                    scalar.source.as_deref().filter(|_| scalar.used.iter().any(is_parameter))
                    && let Ok(expanded) = Text::expand(source, &all)
                {
                    scalar.text = expanded.text;
                    scalar.unset = expanded.unset;
                    scalar.used.retain(|name| !is_parameter(name));
                }
                Value::Scalar(scalar)
            }
        };
        Self { place: self.place, value }
    }

    /// Whether no value was given: `key:` with nothing behind it, or `null`.
    pub(super) fn is_null(&self) -> bool {
        self.kind() == "nothing"
    }
}

/// YAML's and Python's truth values.
pub(super) fn as_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Reads a book's bytes into a tree. Problems found on the way are added to `problems`; without a tree there is at least one.
pub(super) fn parse(
    bytes: &[u8],
    environment: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
) -> Option<Node> {
    let mut fail = |place, message: String| {
        problems.push(Problem::at(place, message));
        None
    };
    if bytes.len() > SOURCE_BYTES_MAX {
        return fail(
            Place::START,
            format!(
                "this file has more than {} KiB, which a fatebook has at most: if it is none, keep it out of this folder",
                SOURCE_BYTES_MAX / 1024
            ),
        );
    }
    let source = match std::str::from_utf8(bytes) {
        Ok(source) => source.strip_prefix('\u{feff}').unwrap_or(source),
        Err(error) => {
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let place = Place {
                line: before.matches('\n').count() + 1,
                column: before.rsplit('\n').next().unwrap_or("").chars().count() + 1,
                length: 1,
            };
            return fail(place, "this is not UTF-8: save the file as UTF-8".to_owned());
        }
    };
    let source = &join_surrogates(source);
    let lines = Lines::of(source);
    let mut builder = Builder { environment, problems, anchors: HashMap::new(), count: 0, bytes: 0 };
    let mut root = None;
    let mut stack: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(source) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let marker = error.marker();
                let place = lines.clip(Place { line: marker.line(), column: marker.col() + 1, length: 1 });
                let message = syntax_message(error.info(), source, place);
                builder.problems.push(Problem::at(place, message));
                return None;
            }
        };
        let place = lines.place_of(span);
        let done = match event {
            Event::SequenceStart(anchor, _) => {
                stack.push(Open::list(place, anchor));
                None
            }
            Event::MappingStart(anchor, _) => {
                stack.push(Open::map(place, anchor));
                None
            }
            Event::SequenceEnd | Event::MappingEnd => match stack.pop() {
                Some(open) => {
                    let anchor = open.anchor;
                    let node = open.close();
                    builder.remember(anchor, &node);
                    Some(node)
                }
                None => None,
            },
            Event::Scalar(text, style, anchor, _) => {
                let as_key = stack.last().is_some_and(Open::wants_key);
                let node = if as_key {
                    Node {
                        place,
                        value: Value::Scalar(Scalar {
                            text: Text::literal(text),
                            untyped: style == ScalarStyle::Plain,
                            used: Vec::new(),
                            unset: Vec::new(),
                            source: None,
                        }),
                    }
                } else {
                    builder.scalar(&text, style, place)
                };
                builder.remember(anchor, &node);
                Some(node)
            }
            Event::Alias(anchor) => match builder.recall(anchor, place) {
                Ok(node) => Some(node),
                Err(problem) => {
                    builder.problems.push(problem);
                    return None;
                }
            },
            Event::DocumentStart(_) if root.is_some() => {
                builder
                    .problems
                    .push(Problem::at(place, "a second document begins here: a file holds one book"));
                return None;
            }
            _ => None,
        };
        if stack.len() > DEPTH_MAX {
            builder.problems.push(Problem::at(
                place,
                format!("nested more than {DEPTH_MAX} deep: a fatebook has five levels"),
            ));
            return None;
        }
        if let Some(node) = done {
            match stack.last_mut() {
                None => root = Some(node),
                Some(open) => {
                    if let Err(problem) = open.add(node) {
                        builder.problems.push(problem);
                    }
                }
            }
        }
    }
    if root.is_none() {
        builder.problems.push(Problem::at(
            Place::START,
            "this file is empty: a fatebook has `service`, `hosts` and `failures`",
        ));
    }
    root
}

struct Builder<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    problems: &'a mut Vec<Problem>,
    /// What can be named again: the node, how many values it has, and how many bytes.
    anchors: HashMap<usize, (Node, usize, usize)>,
    count: usize,
    bytes: usize,
}

impl Builder<'_> {
    fn scalar(&mut self, text: &str, style: ScalarStyle, place: Place) -> Node {
        self.count += 1;
        let mut scalar = Scalar {
            text: Text::default(),
            untyped: style == ScalarStyle::Plain,
            used: Vec::new(),
            unset: Vec::new(),
            source: None,
        };
        match Text::expand(text, self.environment) {
            Ok(expanded) => {
                scalar.untyped |= !expanded.used.is_empty();
                scalar.text = expanded.text;
                scalar.source = (!expanded.used.is_empty()).then(|| text.to_owned());
                scalar.used = expanded.used;
                scalar.unset = expanded.unset;
            }
            Err(message) => {
                self.problems.push(Problem::at(place, message));
                scalar.unset.push(String::new());
            }
        }
        Node { place, value: Value::Scalar(scalar) }
    }

    fn remember(&mut self, anchor: usize, node: &Node) {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size(node), bytes(node)));
        }
    }

    fn recall(&mut self, anchor: usize, place: Place) -> Result<Node, Problem> {
        let Some((node, size, bytes)) = self.anchors.get(&anchor) else {
            return Err(Problem::at(place, "this alias stands inside of what it names"));
        };
        self.count += size;
        if self.count > NODES_MAX {
            return Err(Problem::at(
                place,
                format!("the aliases make more than {NODES_MAX} values of this book"),
            ));
        }
        self.bytes += bytes;
        if self.bytes > ALIAS_BYTES_MAX {
            return Err(Problem::at(
                place,
                format!("the aliases make more than {} MiB of this book", ALIAS_BYTES_MAX / (1024 * 1024)),
            ));
        }
        Ok(node.clone())
    }
}

/// How many bytes the texts of a node have.
fn bytes(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(scalar) => scalar.text.as_literal().map_or(64, str::len),
        Value::List(items) => items.iter().map(bytes).sum(),
        Value::Map(entries) => entries.iter().map(|(key, node)| key.name.len() + bytes(node)).sum(),
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 1,
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, node)| size(node)).sum::<usize>(),
    }
}

struct Open {
    place: Place,
    anchor: usize,
    items: OpenItems,
}

enum OpenItems {
    List(Vec<Node>),
    /// The names of its keys, and in which line each stands first, are kept beside it.
    Map(Vec<(Key, Node)>, Option<Key>, HashMap<String, usize>),
}

impl Open {
    fn list(place: Place, anchor: usize) -> Self {
        Self { place, anchor, items: OpenItems::List(Vec::new()) }
    }

    fn map(place: Place, anchor: usize) -> Self {
        Self { place, anchor, items: OpenItems::Map(Vec::new(), None, HashMap::new()) }
    }

    fn wants_key(&self) -> bool {
        matches!(self.items, OpenItems::Map(_, None, _))
    }

    fn close(self) -> Node {
        let value = match self.items {
            OpenItems::List(items) => Value::List(items),
            OpenItems::Map(entries, ..) => Value::Map(merged(entries)),
        };
        Node { place: self.place, value }
    }

    fn add(&mut self, node: Node) -> Result<(), Problem> {
        match &mut self.items {
            OpenItems::List(items) => items.push(node),
            OpenItems::Map(entries, key, names) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    let place = node.place;
                    let name = match &node.value {
                        Value::Scalar(scalar) => scalar.text.as_literal().map(str::to_owned),
                        _ => None,
                    };
                    *key = Some(Key { place, name: name.clone().unwrap_or_default() });
                    if name.is_none() {
                        return Err(Problem::at(place, "a key is a text, not a list or a map"));
                    }
                    let key_name = name.unwrap_or_default();
                    if let Some(first) = names.get(&key_name) {
                        return Err(Problem::at(
                            place,
                            format!(
                                "`{key_name}` stands here a second time, first in line {first}: take one of them out"
                            ),
                        ));
                    }
                    names.insert(key_name, place.line);
                }
            },
        }
        Ok(())
    }
}

/// Puts what `<<` names in its place: a map, or a list of maps, of which the first goes before the others, and what is written out
/// before all.
fn merged(entries: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
    let is_map = |node: &Node| matches!(node.value, Value::Map(_));
    let is_merge = |(key, node): &(Key, Node)| {
        key.name == "<<"
            && match &node.value {
                Value::Map(_) => true,
                Value::List(items) => items.iter().all(is_map),
                Value::Scalar(_) => false,
            }
    };
    let (merges, mut entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_merge);
    for (_, node) in merges {
        let maps = match node.value {
            Value::List(items) => items,
            _ => vec![node],
        };
        for map in maps {
            let Value::Map(more) = map.value else { continue };
            for (key, node) in more {
                if !entries.iter().any(|(other, _)| other.name == key.name) {
                    entries.push((key, node));
                }
            }
        }
    }
    entries
}

/// The parser's own words, and what a person can do about the commonest of them.
fn syntax_message(info: &str, source: &str, place: Place) -> String {
    let line = source.lines().nth(place.line - 1).unwrap_or("");
    let backslash = line.contains("\\'");
    let what = if line.trim_start_matches(' ').starts_with('\t') {
        "YAML is indented with blanks, not with tabs"
    } else if info.contains("unknown anchor") {
        "an alias `*name` needs an anchor `&name` before it; a text that begins with `*` needs quotes"
    } else if info.contains("trailing content after") && backslash {
        "the quoted text ends before this: within single quotes, a quote is written twice ('') and not as \\'"
    } else if info.contains("trailing content after") {
        "the quoted text ends before this: is a quote missing, or one too many?"
    } else if info.contains("document start") {
        "the book has ended before this: is a bracket missing, or one too many?"
    } else if info.contains("illegal placement") || info.contains("',' or") {
        "this cannot stand here: is a bracket, a comma or a quote missing before it?"
    } else if line.trim_start().starts_with(['@', '`', '%']) {
        "a text that begins with a special character needs quotes"
    } else {
        ""
    };
    match what {
        "" => format!("neither YAML nor JSON: {info}"),
        what => format!("neither YAML nor JSON: {what}"),
    }
}

/// JSON writes a character beyond U+FFFF as two escapes, which YAML does not know: they become the one that it does.
fn join_surrogates(source: &str) -> std::borrow::Cow<'_, str> {
    if !source.contains("\\ud") && !source.contains("\\uD") {
        return source.into();
    }
    let mut joined = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find('\\') {
        joined.push_str(&rest[..at]);
        rest = &rest[at..];
        let high = unit(rest).filter(|unit| (0xd800..0xdc00).contains(unit));
        let low = rest.get(6..).and_then(unit).filter(|unit| (0xdc00..0xe000).contains(unit));
        if let (Some(high), Some(low)) = (high, low) {
            let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            joined.push_str(&format!("\\U{code:08X}"));
            rest = &rest[12..];
        } else {
            let taken: usize = rest.chars().take(2).map(char::len_utf8).sum();
            joined.push_str(&rest[..taken]);
            rest = &rest[taken..];
        }
    }
    joined.push_str(rest);
    joined.into()
}

fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(digits, 16).ok()
}
