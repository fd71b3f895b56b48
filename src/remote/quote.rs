//! Words for a POSIX shell. Pure.

/// The word as a shell reads it back byte for byte; left alone if it needs no quotes.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn a_shell_reads_every_word_back() {
        let words = [
            "",
            "plain-word_1.sh",
            "two words",
            "it's",
            "''",
            "$HOME",
            "*",
            "a;b",
            "a\nb",
            "\\",
            "\\n",
            "`x`",
            "!x",
            "~",
            "ünï ✓",
            "-n",
            "#",
            "\"",
            "\t",
            "a=b",
        ];
        for word in words {
            let script = format!("printf %s {}", quote(word));
            let output =
                std::process::Command::new("/bin/sh").args(["-c", &script]).output().expect("sh runs");
            assert_eq!(String::from_utf8_lossy(&output.stdout), word, "from {script}");
        }
    }
}
