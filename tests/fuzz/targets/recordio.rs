//! RecordIO, cut where the first byte says: the records are the same as those of the whole, and none is longer than what came.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pisaura::mesos::recordio::Decoder;

fn records(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    let (mut decoder, mut records) = (Decoder::default(), Vec::new());
    for chunk in chunks {
        decoder.push(chunk);
        loop {
            match decoder.next_record() {
                Ok(Some(record)) => records.push(record),
                Ok(None) => break,
                Err(_) => return (records, true),
            }
        }
    }
    (records, false)
}

fuzz_target!(|data: &[u8]| {
    let Some((&cut, stream)) = data.split_first() else { return };
    let (begin, end) = stream.split_at(usize::from(cut).min(stream.len()));
    let whole = records(&[stream]);
    assert_eq!(records(&[begin, end]), whole);
    assert!(whole.0.iter().map(Vec::len).sum::<usize>() <= stream.len());
});
