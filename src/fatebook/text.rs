//! Texts with variables in them: `${NAME}`, `${NAME:-default}`, `${host}`, and `$${` for a literal `${`.
//! Decides which of them belong to the environment (filled in when a book is read) and which to a case (kept until
//! a case is made of it). Pure: the environment is an argument.

/// A text in which the environment's variables are filled in already and the case's are still to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Case(CaseVariable),
}

/// A variable whose value differs from case to case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaseVariable {
    /// `${host}`: the host's name, without user and port.
    Host,
    /// `${service}`: the book's `service`.
    Service,
    /// `${failure}`: the failure's `name`.
    Failure,
}

/// The values that a case gives to its variables.
#[derive(Clone, Copy, Debug)]
pub struct CaseValues<'a> {
    /// For `${host}`.
    pub host: &'a str,
    /// For `${service}`.
    pub service: &'a str,
    /// For `${failure}`.
    pub failure: &'a str,
}

/// What came of reading a text: itself, the variables without a value, and those that were filled in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The text; a variable without a value is left out of it.
    pub text: Text,
    /// The names of the environment's variables that have no value.
    pub unset: Vec<String>,
    /// The names of the environment's variables that were used, set or not.
    pub used: Vec<String>,
}

impl Text {
    /// A text without variables.
    pub fn literal(text: impl Into<String>) -> Self {
        Self(vec![Piece::Literal(text.into())])
    }

    /// How long it is, without what differs from case to case.
    pub(super) fn bytes(&self) -> usize {
        let of_piece = |piece: &Piece| if let Piece::Literal(text) = piece { text.len() } else { 0 };
        self.0.iter().map(of_piece).sum()
    }

    /// The text, if no variable of a case is in it.
    pub fn as_literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The text of one case.
    pub fn fill(&self, values: &CaseValues<'_>) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => text.as_str(),
                Piece::Case(CaseVariable::Host) => values.host,
                Piece::Case(CaseVariable::Service) => values.service,
                Piece::Case(CaseVariable::Failure) => values.failure,
            })
            .collect()
    }

    /// Reads a text as it stands in a book. Fails, saying what is wrong, on a `${` that is not closed or names nothing.
    pub fn expand(source: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Expanded, String> {
        let mut expanded = Expanded::default();
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = source;
        while let Some(at) = rest.find('$') {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = from.strip_prefix("$${") {
                literal.push_str("${");
                rest = after;
            } else if let Some(after) = from.strip_prefix("${") {
                let Some(end) = after.find('}') else {
                    return Err("`${` without its `}`; write `$${` for a literal `${`".to_owned());
                };
                let (inside, after) = (&after[..end], &after[end + 1..]);
                let (name, default) = match inside.split_once(":-") {
                    Some((name, default)) => (name, Some(default)),
                    None => (inside, None),
                };
                check_name(name)?;
                if let Some(variable) = case_variable(name) {
                    if default.is_some() {
                        return Err(format!("`${{{name}}}` always has a value: leave out the default"));
                    }
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    pieces.push(Piece::Case(variable));
                } else {
                    expanded.used.push(name.to_owned());
                    let value = environment(name)
                        .filter(|value| default.is_none() || !value.is_empty())
                        .or_else(|| default.map(str::to_owned));
                    match value {
                        Some(value) => literal.push_str(&value),
                        None => expanded.unset.push(name.to_owned()),
                    }
                }
                rest = after;
            } else {
                literal.push('$');
                rest = &from[1..];
            }
        }
        literal.push_str(rest);
        pieces.push(Piece::Literal(literal));
        pieces.retain(|piece| *piece != Piece::Literal(String::new()));
        expanded.text = Self(pieces);
        Ok(expanded)
    }
}

/// The variable of a case that has this name.
pub(super) fn case_variable(name: &str) -> Option<CaseVariable> {
    match name {
        "host" => Some(CaseVariable::Host),
        "service" => Some(CaseVariable::Service),
        "failure" => Some(CaseVariable::Failure),
        _ => None,
    }
}

/// Whether a word can be the name of a variable of the environment.
pub(super) fn is_variable_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn check_name(name: &str) -> Result<(), String> {
    if is_variable_name(name) {
        Ok(())
    } else {
        Err(format!(
            "`${{{name}}}` names no variable: write `${{NAME}}` or `${{NAME:-default}}`, or `$${{` for a literal `${{`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, want: Result<&str, &str>) {
        let environment = |name: &str| match name {
            "SET" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let values = CaseValues { host: "h1", service: "a service", failure: "a failure" };
        let got = Text::expand(source, &environment).map(|expanded| match expanded.unset.as_slice() {
            [] => expanded.text.fill(&values),
            unset => format!("{} (unset: {})", expanded.text.fill(&values), unset.join(" ")),
        });
        assert_eq!(got.as_deref().map_err(String::as_str), want, "for {source:?}");
    }

    #[test]
    fn variables_are_filled_in() {
        check("", Ok(""));
        check("plain $HOME $ $$ {}", Ok("plain $HOME $ $$ {}"));
        check("a${SET}b${SET}", Ok("avaluebvalue"));
        check("${EMPTY}|${EMPTY:-d}|${NONE:-d}|${NONE:-}", Ok("|d|d|"));
        check("${NONE} ${SET} ${OTHER}", Ok(" value  (unset: NONE OTHER)"));
        check("${host}/${service}/${failure}", Ok("h1/a service/a failure"));
        check("$${SET} $$${SET}", Ok("${SET} $${SET}"));
        check("${NONE:-a:-b $x}", Ok("a:-b $x"));
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        check("a ${SET", Err("`${` without its `}`; write `$${` for a literal `${`"));
        check(
            "${}",
            Err(
                "`${}` names no variable: write `${NAME}` or `${NAME:-default}`, or `$${` for a literal `${`",
            ),
        );
        check(
            "${1a}",
            Err(
                "`${1a}` names no variable: write `${NAME}` or `${NAME:-default}`, or `$${` for a literal `${`",
            ),
        );
        check("${host:-x}", Err("`${host}` always has a value: leave out the default"));
    }
}
