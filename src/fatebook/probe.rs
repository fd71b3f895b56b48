//! Healthchecks without a script: what is asked over HTTP or TCP, and what the output of a healthcheck has to be. Pure.

use std::time::Duration;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::keys;
use super::model::{Command, CommandStyle};
use super::node::{Node, Value};
use super::read::Reader;
use super::text::Text;
use super::time::{parse_duration, show_duration};

/// How long a service may take to answer a probe, unless the book says.
const WITHIN: Duration = Duration::from_secs(5);

impl Reader<'_> {
    /// A healthcheck that is a map: `{http: URL}` or `{tcp: HOST:PORT}`.
    pub(super) fn probe(&mut self, node: &Node, name: &str, timeout: Duration) -> Option<Command> {
        let fields = self.fields(node, keys::PROBE_KEYS, &format!("`{name}`"))?;
        let asked: Vec<&str> =
            ["http", "tcp"].into_iter().filter(|kind| fields.get(kind).is_some()).collect();
        let [kind] = asked[..] else {
            self.problem(node.place, format!("`{name}` asks either over `http` or over `tcp`: name one"));
            return None;
        };
        let target_node = fields.get(kind)?;
        self.keep_secrets_out(Some(target_node), "an argument list");
        let wanted = match kind {
            "http" => "`http` is a URL such as http://${host}:8080/health",
            _ => "`tcp` is a host and a port, such as ${host}:5432",
        };
        let target = self.scalar(target_node, wanted).map(|scalar| scalar.text.clone());
        let within = self.duration(fields.get("within"), "within");
        if let (Some(within), Some(place)) = (within, fields.get("within").map(|node| node.place))
            && (within.is_zero() || within >= timeout)
        {
            let message = format!(
                "`within` of {} is not between zero and the `timeout` of {}, which ends the healthcheck as an error",
                show_duration(within),
                show_duration(timeout)
            );
            self.problem(place, message);
        }
        let status = match fields.get("status") {
            None => "2xx".to_owned(),
            Some(node) => {
                let wanted = "`status` is a number such as 200, or 2xx for all that begin with a 2";
                let written = self.plain(node, wanted)?;
                if kind == "tcp" {
                    self.problem(node.place, "there is no `status` over `tcp`: take it out");
                } else if !is_status(&written) {
                    self.problem(node.place, format!("{wanted}, not `{written}`"));
                }
                written
            }
        };
        let Some(target) = target else {
            // An unset variable: the case is not run.
            return Some(Command { words: vec![Text::default()], style: CommandStyle::Probe, file: None });
        };
        // What is filled in for a case can be any name.
        let sample = target.fill(&super::CaseValues { host: "host", service: "service", failure: "failure" });
        if let Some(why) = why_no_target(kind, &sample) {
            self.problem(target_node.place, format!("{wanted}: {why}"));
        }
        // The step's own limit would make an error of a service that says nothing.
        let within = within.unwrap_or_else(|| WITHIN.min(timeout * 9 / 10));
        let mut words = vec![Text::literal(kind), target];
        if kind == "http" {
            words.extend([Text::literal("--status"), Text::literal(&status)]);
        }
        words.extend([Text::literal("--within"), Text::literal(show_duration(within))]);
        Some(Command { words, style: CommandStyle::Probe, file: None })
    }

    /// What the output of the healthcheck has to be.
    pub(super) fn expected_output(&mut self, node: Option<&Node>) -> Option<ExpectedOutput> {
        let node = node?;
        let fields = self.fields(node, keys::EXPECT_OUTPUT_KEYS, "`expect_output`")?;
        let tests: Vec<&str> = ["contains", "matches", "equals", "at_least", "at_most", "between"]
            .into_iter()
            .filter(|test| fields.get(test).is_some())
            .collect();
        let [test] = tests[..] else {
            let message =
                "`expect_output` has one test: contains, matches, equals, at_least, at_most, or between";
            self.problem(node.place, message);
            return None;
        };
        let json = self.text(fields.get("json"), "json");
        if let (Some(pointer), Some(node)) = (&json, fields.get("json"))
            && !pointer.is_empty()
            && !pointer.starts_with('/')
        {
            self.problem(
                node.place,
                format!("`json` is a JSON pointer, such as /members/0/name, not `{pointer}`"),
            );
        }
        let given = fields.get(test)?;
        self.keep_secrets_out(Some(given), "what is said of an output");
        if ["contains", "matches"].contains(&test)
            && matches!(&given.value, Value::Scalar(scalar) if scalar.text.as_literal() == Some(""))
        {
            self.problem(
                given.place,
                format!("`{test}` is empty, so any output would do: say what to look for"),
            );
            return None;
        }
        let test = match test {
            "contains" => OutputTest::Contains(self.text(Some(given), "contains")?),
            "equals" => OutputTest::Equals(self.text(Some(given), "equals")?),
            "matches" => {
                let written = self.text(Some(given), "matches")?;
                if let Err(error) = Regex::new(&written) {
                    self.problem(
                        given.place,
                        format!("`matches` is a regular expression, and `{written}` is none: {error}"),
                    );
                    return None;
                }
                OutputTest::Matches(written)
            }
            "at_least" => OutputTest::AtLeast(self.any_number(given, "at_least")?),
            "at_most" => OutputTest::AtMost(self.any_number(given, "at_most")?),
            _ => {
                let wanted = "`between` is a list of two numbers, the smaller one first";
                let items = self.list(given, wanted)?;
                let numbers: Vec<f64> =
                    items.iter().filter_map(|item| self.any_number(item, "between")).collect();
                match numbers[..] {
                    [least, most] if least <= most => OutputTest::Between(least, most),
                    _ => {
                        self.problem(given.place, wanted);
                        return None;
                    }
                }
            }
        };
        Some(ExpectedOutput { json, test })
    }

    fn any_number(&mut self, node: &Node, name: &str) -> Option<f64> {
        let wanted = format!("`{name}` is a number");
        let written = self.plain(node, &wanted)?;
        let number = written.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        if number.is_none() {
            self.problem(node.place, format!("{wanted}, not `{written}`"));
        }
        number
    }

    /// Whether a healthcheck is asked without a script.
    pub(super) fn is_probe(node: &Node) -> bool {
        matches!(node.value, Value::Map(_))
    }
}

/// Whether this is a status of HTTP, or a class of them.
fn is_status(text: &str) -> bool {
    status_test(text).is_some()
}

/// What a status of HTTP has to be: `200`, or `2xx`. `None` if the text is neither.
pub fn status_test(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
        return Some(class * 100..=class * 100 + 99);
    }
    let status: u16 = text.parse().ok().filter(|status| (100..=599).contains(status))?;
    Some(status..=status)
}

/// What is wrong with what a probe asks, if anything is.
pub fn why_no_target(kind: &str, target: &str) -> Option<&'static str> {
    if target.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some("there is a blank in it");
    }
    if kind == "tcp" {
        let (host, port) = target.rsplit_once(':').unwrap_or_default();
        let has_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        return (host.is_empty() || !has_port).then_some("it has no port at its end");
    }
    let rest = ["http://", "https://"].into_iter().find_map(|scheme| target.strip_prefix(scheme));
    match rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default()) {
        None => Some("it begins with neither http:// nor https://"),
        Some(authority) if authority.is_empty() || authority.starts_with(':') => Some("it names no host"),
        Some(authority) if authority.contains('@') => {
            Some("a user or password in it would be shown in reports")
        }
        Some(_) => None,
    }
}

/// What a healthcheck has to print.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExpectedOutput {
    /// The place in it, if it is JSON: a pointer by RFC 6901.
    pub json: Option<String>,
    /// What it has to be.
    pub test: OutputTest,
}

/// What an output, or a value in it, is compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OutputTest {
    /// A text that stands in it.
    Contains(String),
    /// A regular expression that matches a part of it.
    Matches(String),
    /// A text that it is, but for white space around it; or a number that it is.
    Equals(String),
    /// The smallest number that it may be.
    AtLeast(f64),
    /// The largest one.
    AtMost(f64),
    /// Both.
    Between(f64, f64),
}

impl ExpectedOutput {
    /// Why an output is not what it has to be, in words; `None` if it is.
    pub fn why_not(&self, output: &str) -> Option<String> {
        let (found, of) = match &self.json {
            None => (output.trim().to_owned(), "the output".to_owned()),
            Some(pointer) => {
                let parsed: Json = match serde_json::from_str(output) {
                    Ok(parsed) => parsed,
                    Err(error) => return Some(format!("the output is not JSON: {error}")),
                };
                match parsed.pointer(pointer) {
                    None => return Some(format!("the output has nothing at {pointer}")),
                    Some(Json::String(text)) => (text.clone(), pointer.clone()),
                    // How many there are is what one wants to know of several.
                    Some(Json::Array(items)) if self.is_number() => {
                        (items.len().to_string(), format!("the length of {pointer}"))
                    }
                    Some(value) => (value.to_string(), pointer.clone()),
                }
            }
        };
        let number = found.parse::<f64>().ok().filter(|number| number.is_finite());
        let is_met = match &self.test {
            OutputTest::Contains(text) => found.contains(text),
            OutputTest::Matches(text) => Regex::new(text).is_ok_and(|regex| regex.is_match(&found)),
            OutputTest::Equals(text) => found == text.trim() || are_same_number(&found, text.trim()),
            _ if number.is_none() => return Some(format!("{of} is no number: {}", start_of(&found))),
            OutputTest::AtLeast(least) => number >= Some(*least),
            OutputTest::AtMost(most) => number <= Some(*most),
            OutputTest::Between(least, most) => number >= Some(*least) && number <= Some(*most),
        };
        (!is_met).then(|| format!("{of} is {}, expected {self}", start_of(&found)))
    }

    fn is_number(&self) -> bool {
        matches!(self.test, OutputTest::AtLeast(_) | OutputTest::AtMost(_) | OutputTest::Between(..))
    }
}

/// Whether two texts are the same number. Those that no floating-point number holds as they are, as the long ids of some systems, are
/// the same only if they are written so.
fn are_same_number(one: &str, other: &str) -> bool {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if let (Ok(one), Ok(other)) = (one.parse::<i128>(), other.parse::<i128>()) {
        return one == other;
    }
    match (one.parse::<f64>(), other.parse::<f64>()) {
        (Ok(one), Ok(other)) => one.abs() < EXACT_MAX && one == other,
        _ => false,
    }
}

/// As much of a text as fits into a line.
fn start_of(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let short: String = first.chars().take(80).collect();
    match (short.is_empty(), short.len() < text.len()) {
        (true, _) => "empty".to_owned(),
        (false, true) => format!("`{short}…`"),
        (false, false) => format!("`{short}`"),
    }
}

impl std::fmt::Display for ExpectedOutput {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.test {
            OutputTest::Contains(text) => write!(formatter, "to contain `{text}`"),
            OutputTest::Matches(text) => write!(formatter, "to match `{text}`"),
            OutputTest::Equals(text) => write!(formatter, "`{text}`"),
            OutputTest::AtLeast(least) => write!(formatter, "at least {least}"),
            OutputTest::AtMost(most) => write!(formatter, "at most {most}"),
            OutputTest::Between(least, most) => write!(formatter, "between {least} and {most}"),
        }
    }
}

/// The time limit of a probe, as its command line has it.
pub fn parse_within(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .filter(|time| !time.is_zero())
        .ok_or_else(|| format!("`{text}` is no time such as 5s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number() {
        fn check(one: &str, other: &str, want: bool) {
            assert_eq!(
                (are_same_number(one, other), are_same_number(other, one)),
                (want, want),
                "{one} {other}"
            );
        }
        check("1", "1.0", true);
        check("1e3", "1000", true);
        check("007", "7", true);
        check("14841639068965178418", "14841639068965178419", false);
        check("9007199254740993", "9007199254740992.0", false);
        check("1234e10", "12340000000000", true);
        check("1234e20", "1234e20", false);
        check("nan", "nan", false);
        check("a", "a", false);
    }

    #[test]
    fn outputs() {
        fn check(json: Option<&str>, test: OutputTest, output: &str, want: Option<&str>) {
            let expected = ExpectedOutput { json: json.map(str::to_owned), test };
            assert_eq!(expected.why_not(output).as_deref(), want, "{expected:?} of {output}");
        }
        let contains = |text: &str| OutputTest::Contains(text.to_owned());
        let matches = |text: &str| OutputTest::Matches(text.to_owned());
        let equals = |text: &str| OutputTest::Equals(text.to_owned());
        check(None, contains("ok"), "all ok\n", None);
        check(None, contains("ok"), "down\n", Some("the output is `down`, expected to contain `ok`"));
        check(None, contains("ok"), "", Some("the output is empty, expected to contain `ok`"));
        check(None, matches("^[0-9]+ of 3$"), "3 of 3\n", None);
        check(None, matches("(?m)^b$"), "a\nb\nc", None);
        check(None, matches("^b$"), "a\nb", Some("the output is `a…`, expected to match `^b$`"));
        check(None, equals("PONG"), " PONG\r\n", None);
        check(None, equals("3"), "3.0", None);
        check(None, equals("3"), "4", Some("the output is `4`, expected `3`"));
        check(None, OutputTest::AtMost(5.0), "5", None);
        check(None, OutputTest::AtMost(5.0), "5.01", Some("the output is `5.01`, expected at most 5"));
        check(None, OutputTest::AtMost(5.0), "-7", None);
        check(None, OutputTest::AtMost(5.0), "none", Some("the output is no number: `none`"));
        check(None, OutputTest::AtMost(5.0), "NaN", Some("the output is no number: `NaN`"));
        check(None, OutputTest::AtMost(5.0), "", Some("the output is no number: empty"));
        check(None, OutputTest::Between(1.0, 2.0), "2", None);
        check(
            None,
            OutputTest::Between(1.0, 2.0),
            "2.5",
            Some("the output is `2.5`, expected between 1 and 2"),
        );
        let json = r#"{"members": [{"name": "a"}, {"name": "b"}], "lag": "12", "up": true, "none": null}"#;
        check(Some("/members"), OutputTest::AtLeast(2.0), json, None);
        check(
            Some("/members"),
            OutputTest::AtLeast(3.0),
            json,
            Some("the length of /members is `2`, expected at least 3"),
        );
        check(Some("/members/1/name"), equals("b"), json, None);
        check(Some("/lag"), OutputTest::AtMost(10.0), json, Some("/lag is `12`, expected at most 10"));
        check(Some("/up"), equals("true"), json, None);
        check(Some("/none"), equals("null"), json, None);
        check(Some("/leader"), equals("a"), json, Some("the output has nothing at /leader"));
        check(Some(""), matches("members"), json, None);
        check(
            Some("/a"),
            equals("a"),
            "<html>",
            Some("the output is not JSON: expected value at line 1 column 1"),
        );
    }

    #[test]
    fn statuses() {
        let check = |text: &str, want: Option<(u16, u16)>| {
            assert_eq!(status_test(text).map(|range| (*range.start(), *range.end())), want, "{text}");
        };
        check("200", Some((200, 200)));
        check("2xx", Some((200, 299)));
        check("5xx", Some((500, 599)));
        for other in ["", "xx", "0xx", "6xx", "20x", "99", "600", "-1", "2XX ", "ok"] {
            check(other, None);
        }
    }

    #[test]
    fn targets() {
        let check = |kind: &str, target: &str, is_one: bool| {
            assert_eq!(why_no_target(kind, target).is_none(), is_one, "{kind} {target}");
        };
        for good in ["http://h", "https://h:1/x?y=1#z", "http://[::1]:80/", "http://h?x"] {
            check("http", good, true);
        }
        for bad in
            ["", "h", "ftp://h", "http://", "http:///x", "http://:80/", "http://u:p@h/", "http://h/a b"]
        {
            check("http", bad, false);
        }
        for good in ["h:1", "[::1]:5432", "h.example:65535"] {
            check("tcp", good, true);
        }
        for bad in ["", "h", "h:", ":1", "h:0", "h:65536", "h:x", "h :1"] {
            check("tcp", bad, false);
        }
    }
}
