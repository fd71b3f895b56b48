//! Secrets are shown nowhere: takes them out of texts. Pure.

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
}
