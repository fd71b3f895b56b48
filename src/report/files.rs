//! Folders and files of reports and logs: others may read them, as the umask says, and write to none. Touches these files.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, metadata, set_permissions};
use std::io::{ErrorKind, Result};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Makes a folder, and those above it, where it is not there.
pub(super) fn make_folder(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

/// Begins a file anew.
pub(super) fn create(path: &Path) -> Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)
}

/// The same as [`make_folder`], for nobody but this user.
pub(super) fn make_private_folder(path: &Path) -> Result<()> {
    if let Some(above) = path.parent() {
        make_folder(above)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made?,
    }
    // One of an older version lets everybody in.
    let mode = metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        // Where that cannot be said, as on some file systems, it stays as it is.
        let _ = set_permissions(path, Permissions::from_mode(0o700));
    }
    Ok(())
}

/// The same as [`create`], for nobody but this user.
pub(super) fn create_private(path: &Path) -> Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}
