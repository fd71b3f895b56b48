//! The words and signs of shell text, as a shell cuts it. Pure.

use std::ops::Range;

const OPERATORS: [&str; 19] = [
    "<<-", "<<", "<&", "<>", "<", ">>", ">&", ">|", ">", "&&", "&", "||", "|", ";;", ";&", ";", "(", ")",
    "\n",
];

pub(super) enum Token {
    Word { range: Range<usize>, plain: bool },
    Operator(&'static str),
    Comment,
}

pub(super) struct Lexer<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    pub(super) uses_parameters: bool,
    pub(super) is_whole: bool,
    depth: usize,
}

/// Quotes and brackets within each other, deeper than anybody writes them.
const DEPTH_MAX: usize = 200;

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, uses_parameters: false, is_whole: true, depth: 0 }
    }
}

impl Lexer<'_> {
    pub(super) fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    pub(super) fn rest_is_blank(&self) -> bool {
        self.rest().chars().all(|c| matches!(c, ' ' | '\t' | '\n'))
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
            if blank > 0 {
                self.at += blank;
            } else if rest.starts_with("\\\n") {
                self.at += 2;
            } else {
                break;
            }
        }
        let rest = self.rest();
        if rest.is_empty() {
            return None;
        }
        if rest.starts_with('#') {
            self.at += rest.find('\n').unwrap_or(rest.len());
            return Some(Token::Comment);
        }
        if let Some(operator) = OPERATORS.into_iter().find(|operator| rest.starts_with(operator)) {
            self.at += operator.len();
            return Some(Token::Operator(operator));
        }
        let begin = self.at;
        let mut plain = true;
        while let Some(c) = self.rest().chars().next() {
            match c {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')' => break,
                _ => plain &= self.one(c),
            }
        }
        Some(Token::Word { range: begin..self.at, plain })
    }

    /// Goes over one character of a word, or over all that a quote or an expansion holds; false if it was one of these.
    fn one(&mut self, c: char) -> bool {
        self.at += c.len_utf8();
        match c {
            '\\' => {
                match self.rest().chars().next() {
                    Some(next) => self.at += next.len_utf8(),
                    None => self.is_whole = false,
                }
                false
            }
            '\'' => {
                match self.rest().find('\'') {
                    Some(end) => self.at += end + 1,
                    None => self.break_off(),
                }
                false
            }
            '"' => {
                self.until('"');
                false
            }
            '`' => {
                self.until('`');
                false
            }
            '$' => {
                self.expansion();
                false
            }
            _ => true,
        }
    }

    /// Goes on to the end of what a double quote, a backquote or a bracket has begun.
    fn until(&mut self, end: char) {
        if self.depth >= DEPTH_MAX {
            // What nobody reads is taken for a text that is not whole, to which nothing is added.
            return self.break_off();
        }
        self.depth += 1;
        self.until_end(end);
        self.depth -= 1;
    }

    fn until_end(&mut self, end: char) {
        while let Some(c) = self.rest().chars().next() {
            if c == end {
                self.at += c.len_utf8();
                return;
            }
            match (c, end) {
                // Within double quotes a single one is a character like others.
                ('\'', '"' | '}') | ('`', '`') => self.at += 1,
                ('(', ')') => {
                    self.at += 1;
                    self.until(')');
                }
                _ => {
                    self.one(c);
                }
            }
        }
        self.is_whole = false;
    }

    /// Goes over what stands behind a `$`.
    fn expansion(&mut self) {
        let rest = self.rest();
        let is_parameter = |c: char| matches!(c, '1'..='9' | '@' | '*' | '#');
        match rest.chars().next() {
            Some('{') => {
                let mut name = rest[1..].chars();
                match (name.next(), name.next()) {
                    // The length of a variable, and of the list of parameters.
                    (Some('#'), Some(next)) => self.uses_parameters |= next == '}' || is_parameter(next),
                    (Some(first), _) => self.uses_parameters |= is_parameter(first),
                    _ => {}
                }
                self.at += 1;
                self.until('}');
            }
            Some('(') => {
                self.at += 1;
                self.until(')');
            }
            Some(c) if is_parameter(c) => {
                self.uses_parameters = true;
                self.at += 1;
            }
            _ => {}
        }
    }

    fn break_off(&mut self) {
        self.at = self.text.len();
        self.is_whole = false;
    }
}
