//! RecordIO: how Mesos puts messages into a stream without an end: the length in decimal digits, a line feed, and so many
//! bytes. Bytes come in cut anywhere; what a length claims is not believed before the bytes are there. Pure.
//!
//! Source: Mesos' documentation of its v1 scheduler HTTP API, "RecordIO response format".

use std::fmt;

/// No event of a master or an agent is larger: the largest ones hold all offers of a cluster.
const RECORD_BYTES_MAX: usize = 256 * 1024 * 1024;
const DIGITS_MAX: usize = 10;

/// Takes in bytes and gives out records.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
    /// Where the first byte lies that was not given out yet.
    begin: usize,
}

/// The stream is no RecordIO; nothing that comes after can be made out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenStream(String);

impl fmt::Display for BrokenStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the stream of events is broken: {}", self.0)
    }
}

impl std::error::Error for BrokenStream {}

impl Decoder {
    /// Takes in the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.begin > 0 {
            self.held.drain(..self.begin);
            self.begin = 0;
        }
        self.held.extend_from_slice(bytes);
    }

    /// The next record, if it is whole.
    ///
    /// Fails if what stands in a length's place is none.
    pub fn next_record(&mut self) -> Result<Option<Vec<u8>>, BrokenStream> {
        let rest = &self.held[self.begin..];
        let Some(digits) = rest.iter().take(DIGITS_MAX + 1).position(|&byte| byte == b'\n') else {
            return match rest.len() > DIGITS_MAX {
                true => Err(broken(&rest[..=DIGITS_MAX])),
                false if rest.iter().all(u8::is_ascii_digit) => Ok(None),
                false => Err(broken(rest)),
            };
        };
        let length = std::str::from_utf8(&rest[..digits])
            .ok()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse::<usize>().ok())
            .ok_or_else(|| broken(&rest[..digits]))?;
        if length > RECORD_BYTES_MAX {
            return Err(BrokenStream(format!("a record of {length} bytes")));
        }
        let Some(record) = rest.get(digits + 1..digits + 1 + length) else {
            return Ok(None);
        };
        let record = record.to_vec();
        self.begin += digits + 1 + length;
        Ok(Some(record))
    }

    /// Whether the stream may end here: no record is begun.
    pub fn is_between_records(&self) -> bool {
        self.begin == self.held.len()
    }
}

fn broken(found: &[u8]) -> BrokenStream {
    BrokenStream(format!("`{}` stands where a record's length is to be", found.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(chunks: &[&[u8]]) -> (Vec<String>, Result<bool, String>) {
        let mut decoder = Decoder::default();
        let mut records = Vec::new();
        for chunk in chunks {
            decoder.push(chunk);
            loop {
                match decoder.next_record() {
                    Ok(Some(record)) => records.push(String::from_utf8_lossy(&record).into_owned()),
                    Ok(None) => break,
                    Err(error) => return (records, Err(error.to_string())),
                }
            }
        }
        (records, Ok(decoder.is_between_records()))
    }

    #[test]
    fn records_are_found_however_the_stream_is_cut() {
        let stream = b"3\nabc0\n12\n0123456789\n\n1\n7";
        let want = (vec!["abc".to_owned(), String::new(), "0123456789\n\n".into(), "7".into()], Ok(true));
        assert_eq!(decode(&[stream]), want);
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let got = decode(&[&stream[..first], &stream[first..second], &stream[second..]]);
                assert_eq!(got, want, "cut at {first} and {second}");
            }
        }
        assert_eq!(decode(&[b"3\nab"]), (vec![], Ok(false)));
        assert_eq!(decode(&[b"3"]), (vec![], Ok(false)));
    }

    #[test]
    fn what_is_no_length_is_refused_at_once() {
        fn check(stream: &[u8], want: &str) {
            assert_eq!(decode(&[b"1\nx", stream]), (vec!["x".into()], Err(want.into())));
        }
        let place = "stands where a record's length is to be";
        check(b"abc\n", &format!("the stream of events is broken: `abc` {place}"));
        check(b"x", &format!("the stream of events is broken: `x` {place}"));
        check(b"-1\nx", &format!("the stream of events is broken: `-1` {place}"));
        check(b"\nx", &format!("the stream of events is broken: `` {place}"));
        check(b"12345678901", &format!("the stream of events is broken: `12345678901` {place}"));
        check(b"9999999999\n", "the stream of events is broken: a record of 9999999999 bytes");
    }
}
