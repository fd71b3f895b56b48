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
const LINE_BYTES_MIN: usize = 8;

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

    /// The text without the secrets.
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASK);
            }
        }
        text
    }
}

/// Covers what stands behind `password` and `passphrase` in a line of a book, which may be too broken to be read.
fn cover_keys(line: &str) -> String {
    let mut covered: Vec<char> = line.chars().collect();
    // Misspelt, it is as secret.
    for key in ["passw", "passp"] {
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
            // A variable is no secret, only its value is.
            let value: String = covered[begin..end].iter().collect();
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
    (from..text.len().saturating_sub(word.len())).find(|&at| text[at..at + word.len()] == word[..])
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
        assert_eq!(format!("{redactor:?}"), "Redactor(6 secrets)");
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
        check("passwrod: abc, passphras: def", "passwrod: ***, passphras: ***");
    }
}
