//! What a process printed, kept within bounds: the first and the last of each stream, and how much was left out between.
//! Pure.

use serde::{Deserialize, Serialize};

/// How much of a stream's beginning, and of its end, is kept.
pub const SHOWN_BYTES: usize = 32 * 1024;

/// Which of a process's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Takes in a stream of any length and keeps its beginning and its end.
#[derive(Clone, Debug)]
pub struct Recorder {
    head: Vec<u8>,
    tail: std::collections::VecDeque<u8>,
    total: u64,
    keep: usize,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Recorder {
    /// Keeps `margin` bytes more at both ends than will be shown, so that a secret that stands across the cut can be
    /// recognized before it is cut.
    pub fn new(margin: usize) -> Self {
        Self {
            head: Vec::new(),
            tail: std::collections::VecDeque::new(),
            total: 0,
            keep: SHOWN_BYTES + margin,
        }
    }

    /// Takes in the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = self.keep - self.head.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        let rest = &rest[rest.len().saturating_sub(self.keep)..];
        let over = (self.tail.len() + rest.len()).saturating_sub(self.keep);
        self.tail.drain(..over);
        self.tail.extend(rest);
    }

    /// What is shown of it, after `clean` took out of both kept parts what must not be seen.
    pub fn finish(self, clean: impl Fn(&str) -> String) -> Captured {
        let kept = (self.head.len() + self.tail.len()) as u64;
        let tail: Vec<u8> = self.tail.into();
        if self.total == kept {
            let whole = [self.head, tail].concat();
            let text = clean(&String::from_utf8_lossy(&whole));
            if text.len() <= 2 * SHOWN_BYTES {
                return Captured { head: text, left_out: 0, tail: String::new() };
            }
            let (head, tail) = (first_bytes(&text).to_owned(), last_bytes(&text).to_owned());
            let left_out = (text.len() - head.len() - tail.len()) as u64;
            return Captured { head, left_out, tail };
        }
        // What stands within a secret's length of the cut may be a part of one, and is not shown.
        let margin = self.keep - SHOWN_BYTES;
        let head = clean(&String::from_utf8_lossy(&self.head));
        let tail = clean(&String::from_utf8_lossy(&tail));
        let head = &head[..head.floor_char_boundary(head.len().saturating_sub(margin))];
        let tail = &tail[tail.ceil_char_boundary(margin.min(tail.len()))..];
        let (head, tail) = (first_bytes(head).to_owned(), last_bytes(tail).to_owned());
        let left_out = self.total.saturating_sub((head.len() + tail.len()) as u64);
        Captured { head, left_out, tail }
    }
}

fn first_bytes(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN_BYTES)]
}

fn last_bytes(text: &str) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(SHOWN_BYTES))..]
}

/// What a process printed on one stream, as far as it is kept. Text: bytes that are none stand as U+FFFD.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// The beginning; all of it if nothing was left out.
    pub head: String,
    /// How many bytes were left out between beginning and end.
    pub left_out: u64,
    /// The end, if something was left out.
    pub tail: String,
}

impl Captured {
    /// Whether nothing was printed.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.tail.is_empty()
    }

    /// The last line with anything in it.
    pub fn last_line(&self) -> Option<String> {
        self.last_lines(20).0.into_iter().rev().find(|line| !line.trim().is_empty())
    }

    /// Adds a line of our own behind it.
    pub fn add_line(&mut self, line: &str) {
        let end = if self.left_out == 0 { &mut self.head } else { &mut self.tail };
        if !end.is_empty() && !end.ends_with('\n') {
            end.push('\n');
        }
        end.push_str(line);
        end.push('\n');
    }

    /// All that is kept, with a word of what was left out.
    pub fn whole(&self) -> String {
        if self.left_out == 0 {
            return format!("{}{}", self.head, self.tail);
        }
        format!("{}\n[… {} bytes left out …]\n{}", self.head, self.left_out, self.tail)
    }

    /// The last lines of it, at most `lines_max`, and how many lines are kept in all.
    pub fn last_lines(&self, lines_max: usize) -> (Vec<String>, usize) {
        let whole = self.whole();
        let lines: Vec<&str> = whole.lines().collect();
        let shown =
            lines[lines.len().saturating_sub(lines_max)..].iter().map(|&line| line.to_owned()).collect();
        (shown, lines.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(chunks: &[&[u8]]) -> Captured {
        let mut recorder = Recorder::new(8);
        for chunk in chunks {
            recorder.push(chunk);
        }
        recorder.finish(|text| text.replace("SECRET", "***"))
    }

    #[test]
    fn short_output_is_kept_whole() {
        assert_eq!(record(&[]), Captured::default());
        let got = record(&[b"a\xff", b"b SEC", b"RET c"]);
        assert_eq!(got.whole(), "a\u{fffd}b *** c");
        assert_eq!(got.left_out, 0);
    }

    #[test]
    fn long_output_keeps_both_ends_however_it_is_cut() {
        let all: Vec<u8> = (0..300_000u32).map(|i| b'a' + (i % 23) as u8).collect();
        let whole = record(&[&all]);
        assert_eq!(whole.head.as_bytes(), &all[..SHOWN_BYTES]);
        assert_eq!(whole.tail.as_bytes(), &all[all.len() - SHOWN_BYTES..]);
        assert_eq!(whole.left_out, 300_000 - 2 * SHOWN_BYTES as u64);
        for size in [1, 7, 4096, 65_536, 100_000] {
            let chunks: Vec<&[u8]> = all.chunks(size).collect();
            assert_eq!(record(&chunks), whole, "in chunks of {size}");
        }
    }

    #[test]
    fn every_length_around_the_bound_adds_up() {
        for length in [
            SHOWN_BYTES - 1,
            SHOWN_BYTES,
            SHOWN_BYTES + 1,
            2 * SHOWN_BYTES,
            2 * SHOWN_BYTES + 1,
            2 * SHOWN_BYTES + 16,
            2 * SHOWN_BYTES + 17,
        ] {
            let got = record(&[&vec![b'x'; length]]);
            assert_eq!(got.head.len() + got.tail.len() + got.left_out as usize, length);
            assert_eq!(got.left_out as usize, length.saturating_sub(2 * SHOWN_BYTES));
        }
    }

    #[test]
    fn secrets_before_the_cut_do_not_push_another_one_into_sight() {
        for padding in 0..8 {
            let all = "-".repeat(padding) + &"SECRET ".repeat(40_000);
            let got = record(&[all.as_bytes()]);
            for shown in [got.head.replace("***", ""), got.tail.replace("***", "")] {
                assert!(!shown.contains(|c: char| c.is_ascii_uppercase()), "padded by {padding}: {shown:?}");
            }
        }
    }

    #[test]
    fn a_secret_across_the_cut_is_not_shown_in_part() {
        for shift in 0..8 {
            let mut all = vec![b'x'; SHOWN_BYTES - shift];
            all.extend_from_slice(b"SECRET");
            all.extend_from_slice(&vec![b'y'; 100_000]);
            all.extend_from_slice(b"SECRET");
            all.extend_from_slice(&vec![b'z'; SHOWN_BYTES - shift]);
            let got = record(&[&all]);
            assert!(!got.head.contains("SE") && !got.tail.contains("ET"), "shifted by {shift}");
        }
    }
}
