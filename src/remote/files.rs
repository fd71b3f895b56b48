//! Small files of this machine, which somebody may have put something else in place of: read without waiting for anybody, and
//! not without an end. Touches these files.

use std::io::{Error, Result};
use std::path::Path;

use crate::fatebook::read_at_most;

/// More than any file of keys has.
const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// All of a file. Fails if it is none, as a pipe or a device, or is larger than any such file is.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>> {
    let bytes = read_at_most(path, FILE_BYTES_MAX + 1)?;
    match bytes.len() > FILE_BYTES_MAX {
        true => Err(Error::other("it is larger than 16 MiB")),
        false => Ok(bytes),
    }
}

/// The same, as text. Fails also if it is none.
pub(super) fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read_file(path)?).map_err(|_| Error::other("it is no text"))
}
