//! Secrets are shown nowhere: takes them out of texts, and out of the lines of a book that a message shows. Pure.

/// Knows the secrets of a book.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that a secret that is part of another does not leave its rest.
    secrets: Vec<String>,
}

/// What stands in a secret's place.
const MASK: &str = "***";
/// A line of a secret of several lines is a secret too, unless it is too short to say anything.
const LINE_BYTES_MIN: usize = 4;

impl Redactor {
    /// What stands in a secret's place.
    pub const MASK: &str = MASK;

    /// For these secrets.
    pub fn new(secrets: &[String]) -> Self {
        let mut all: Vec<String> = secrets.to_vec();
        for secret in secrets {
            all.push(secret.trim().to_owned());
            let lines = secret.lines().map(str::trim).filter(|line| line.len() >= LINE_BYTES_MIN);
            all.extend(lines.map(str::to_owned));
        }
        all.retain(|secret| !secret.is_empty());
        let encoded: Vec<String> = all.iter().flat_map(|secret| encodings(secret)).collect();
        all.extend(encoded);
        all.sort_by(|left, right| right.len().cmp(&left.len()).then_with(|| left.cmp(right)));
        all.dedup();
        Self { secrets: all }
    }

    /// The length of the longest secret, in bytes.
    pub fn longest(&self) -> usize {
        self.secrets.first().map_or(0, String::len)
    }

    /// The text with each secret covered, character for character, so that what stands behind it stays in its column.
    pub fn cover(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), &"*".repeat(secret.chars().count()));
        }
        cover_keys(&text)
    }

    /// The text as it may be shown: without escape sequences, and then without the secrets, for a sequence within a secret must not
    /// hide it.
    pub fn clean(&self, text: &str) -> String {
        self.mask(&strip_escapes(text))
    }

    /// The text without the secrets, and otherwise as it is.
    pub fn mask(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASK);
            }
        }
        text
    }
}

/// How a secret looks in a URL, in JSON, in XML, and within the quotes of a shell, where that is not as it is.
fn encodings(secret: &str) -> Vec<String> {
    let percent = |upper: bool, blank: &str| -> String {
        let one = |byte: u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            b' ' => blank.to_owned(),
            _ if upper => format!("%{byte:02X}"),
            _ => format!("%{byte:02x}"),
        };
        secret.bytes().map(one).collect()
    };
    let json = |ascii: bool| -> String {
        let mut units = [0; 2];
        let one = |c: char| match c {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            c if c.is_control() || (ascii && !c.is_ascii()) => {
                c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
            }
            c => c.to_string(),
        };
        secret.chars().map(one).collect()
    };
    let xml = |apostrophe: &str| {
        let text = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        text.replace('"', "&quot;").replace('\'', apostrophe)
    };
    let mut all = vec![percent(true, "%20"), percent(false, "%20"), percent(true, "+")];
    all.extend([json(false), json(true), json(false).replace('/', "\\/")]);
    all.extend([xml("&apos;"), xml("&#39;"), xml("'")]);
    all.extend([secret.replace('\'', "'\\''"), secret.replace('\'', "'\"'\"'")]);
    all.retain(|encoded| encoded != secret);
    all
}

/// Takes away what would colour a terminal, move its cursor or rename its window (ECMA-48's CSI and OSC sequences).
pub fn strip_escapes(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        if c == '\u{9b}' {
            while characters.next_if(|c| !('\u{40}'..='\u{7e}').contains(c)).is_some() {}
            characters.next();
            continue;
        }
        if c != '\u{1b}' {
            clean.push(c);
            continue;
        }
        match characters.peek() {
            Some('[') => {
                characters.next();
                while characters.next_if(|c| !('\u{40}'..='\u{7e}').contains(c)).is_some() {}
                characters.next();
            }
            Some(']') => {
                while characters.next_if(|c| *c != '\u{7}' && *c != '\u{1b}' && *c != '\n').is_some() {}
                characters.next_if(|c| *c == '\u{7}');
            }
            Some(_) => {
                characters.next();
            }
            None => {}
        }
    }
    clean
}

/// Covers what stands behind `password` and `passphrase` in a line of a book, which may be too broken to be read.
fn cover_keys(line: &str) -> String {
    let mut covered: Vec<char> = line.chars().collect();
    // Misspelt, it is as secret.
    for key in ["pass", "secret"] {
        let mut from = 0;
        while let Some(at) = find_word(&covered, key, from) {
            from = at + key.len();
            while covered.get(from).is_some_and(|c| c.is_alphanumeric()) {
                from += 1;
            }
            let mut value = from;
            while covered.get(value).is_some_and(|c| matches!(c, '"' | '\'' | ' ')) {
                value += 1;
            }
            if covered.get(value) != Some(&':') {
                continue;
            }
            value += 1;
            while covered.get(value).is_some_and(|c| *c == ' ') {
                value += 1;
            }
            let quote = covered.get(value).copied().filter(|c| matches!(c, '"' | '\''));
            let begin = value + usize::from(quote.is_some());
            let mut end = begin;
            while covered.get(end).is_some_and(|c| match quote {
                Some(quote) => *c != quote || covered[end - 1] == '\\',
                None => !matches!(c, ',' | '}'),
            }) {
                end += 1;
            }
            // A variable is no secret, only its value is; and `secrets` lists the names of variables.
            let value: String = covered[begin..end].iter().collect();
            let is_name =
                |word: &str| word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
            let words = value.split(['[', ']', ' ', ',', '"', '\'']);
            if key == "secret" && words.clone().all(is_name) {
                from = begin;
                continue;
            }
            if !value.trim().starts_with("${") || value.contains(":-") {
                covered[begin..end].fill('*');
            }
            from = end;
        }
    }
    covered.into_iter().collect()
}

fn find_word(text: &[char], word: &str, from: usize) -> Option<usize> {
    let word: Vec<char> = word.chars().collect();
    let is_here = |at: &usize| {
        text[*at..*at + word.len()].iter().zip(&word).all(|(one, other)| one.eq_ignore_ascii_case(other))
    };
    (from..text.len().saturating_sub(word.len())).find(is_here)
}

/// Whether a line of a book stands below a key whose value is secret, as an item or a part of it does.
pub(super) fn is_below_secret(lines: &[&str], number: usize) -> bool {
    let indent = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len();
    let mut own = lines.get(number).map_or(0, |line| indent(line));
    for line in lines[..number.min(lines.len())].iter().rev().filter(|line| !line.trim().is_empty()) {
        if own == 0 {
            return false;
        }
        if indent(line) < own {
            own = indent(line);
            let key = line.trim_start_matches([' ', '-', '"', '\'']).to_lowercase();
            if (key.starts_with("pass") || key.starts_with("secret"))
                && key.trim_end().ends_with([':', '|', '>', '-'])
            {
                return true;
            }
        }
    }
    false
}

/// Shows how many there are, not which.
impl std::fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Redactor({} secrets)", self.secrets.len())
    }
}

#[cfg(test)]
mod tests {
    use super::Redactor;

    #[test]
    fn secrets_are_taken_out() {
        let redactor = Redactor::new(&[
            "abc".into(),
            "abcdef".into(),
            "line one of it\nline two of it\n".into(),
            String::new(),
        ]);
        assert_eq!(redactor.clean("abcdefabc ab"), "****** ab");
        assert_eq!(redactor.clean("x line two of it x"), "x *** x");
        let spread = Redactor::new(&["a b/c'é".into()]);
        for shown in [
            "a%20b%2Fc%27%C3%A9",
            "a+b%2Fc%27%C3%A9",
            "a b/c'\\u00e9",
            "a b/c&apos;é",
            "a b/c'\\''é",
            "a \u{1b}[1mb/c\u{9b}0m'é",
        ] {
            assert_eq!(spread.clean(shown), "***", "{shown}");
        }
        assert_eq!(Redactor::default().clean("abc"), "abc");
    }

    #[test]
    fn lines_of_a_book_are_covered() {
        fn check(line: &str, want: &str) {
            assert_eq!(Redactor::new(&["s3cret".into()]).cover(line), want);
        }
        check("ssh: {password: hunter2, port: x}", "ssh: {password: *******, port: x}");
        check("  'passphrase': 'it\\'s 1', 'a': 'b'", "  'passphrase': '*******', 'a': 'b'");
        check("\"password\" : \"\\\"é\", 1", "\"password\" : \"***\", 1");
        check("password: open end", "password: ********");
        check("password: ${P}, passphrase: x", "password: ${P}, passphrase: *");
        check("password: ${P:-x}", "password: ******}");
        check("env: {A: s3cret} # password", "env: {A: ******} # password");
        check("password:", "password:");
        check("Password: abc", "Password: ***");
        check("pass: abc", "pass: ***");
        check("secrets: [hunter2]", "secrets: *********");
        check("secrets: [TOKEN, OTHER_1]", "secrets: [TOKEN, OTHER_1]");
        check("passwrod: abc, passphras: def", "passwrod: ***, passphras: ***");
    }
}
