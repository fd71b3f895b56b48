//! The working folder of a book's cases: a copy of the book's folder and of its resources, as a Mesos sandbox is, so that a
//! script cannot tell one from the other, nor spoil the original. Touches the file system.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use tempfile::TempDir;

use crate::fatebook::{Fatebook, Resource, ends_like_windows};
use crate::remote::fetch;

/// Where files of a book that lie outside of its folder are put.
const OUTSIDE: &str = ".pisaura-outside";
const DEPTH_MAX: usize = 32;

/// A working folder; it goes when this is dropped.
#[derive(Debug)]
pub struct Workplace {
    folder: OwnedFolder,
}

impl Workplace {
    /// Copies the book's folder, its resources and its scripts to a new folder.
    /// Fails, naming the file or URL, if one cannot be read or the disk is full.
    pub fn open(book: &Fatebook) -> io::Result<Self> {
        let folder = OwnedFolder::new()?;
        copy(&book.folder, folder.path(), 0)?;
        for resource in &book.resources {
            match resource {
                Resource::Path(path) => {
                    if let (Placed::Outside(_), Some(name)) = (placed(path), path.file_name()) {
                        copy(&book.folder.join(path), &folder.path().join(name), 0)?;
                    }
                }
                Resource::Url { url, name } => fetch(url, &folder.path().join(name))?,
            }
        }
        for fate in &book.fates {
            let always = [Some(&fate.inducer), Some(&fate.reverter), Some(&fate.healthcheck)];
            let scripts = always.into_iter().chain([fate.only_if.as_ref(), fate.verify.as_ref()]);
            for file in scripts.flatten().filter_map(|command| command.file.as_ref()) {
                let place = folder.path().join(place_in_workplace(&file.source));
                if !place.exists() {
                    if let Some(parent) = place.parent() {
                        fs::create_dir_all(parent)?;
                    }
                    copy(&book.folder.join(&file.source), &place, 0)?;
                }
                if ends_like_windows(&place) {
                    let message = format!(
                        "the first line of {} ends with a carriage return, so its interpreter will not be found: save it with Unix line ends",
                        book.folder.join(&file.source).display()
                    );
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
                fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
            }
        }
        Ok(Self { folder })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A temporary folder of this process; it goes when this is dropped.
#[derive(Debug)]
pub struct OwnedFolder {
    folder: TempDir,
    /// Locked for as long as the folder is in use, so that a later run can tell whether it still is.
    _owner: File,
}

/// The file in an owned folder that is locked.
const OWNER: &str = ".pisaura-owner";
const OWNED_PREFIX: &str = "pisaura-folder-";

impl OwnedFolder {
    /// Makes one. Those of runs that were killed, and so could not remove them, are removed.
    /// Fails, naming the folder, if there is no room for it.
    pub fn new() -> io::Result<Self> {
        let all = std::env::temp_dir();
        for entry in fs::read_dir(&all).into_iter().flatten().flatten() {
            if !entry.file_name().as_encoded_bytes().starts_with(OWNED_PREFIX.as_bytes()) {
                continue;
            }
            let owner = File::open(entry.path().join(OWNER));
            if owner.is_ok_and(|owner| owner.try_lock().is_ok()) {
                // Another user's cannot be removed, and is none of our business.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", all.display()));
        let folder = tempfile::Builder::new().prefix(OWNED_PREFIX).tempdir().map_err(named)?;
        let owner = File::create(folder.path().join(OWNER)).map_err(named)?;
        owner.lock().map_err(named)?;
        Ok(Self { folder, _owner: owner })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

enum Placed {
    Inside(PathBuf),
    Outside(PathBuf),
}

fn placed(source: &Path) -> Placed {
    let mut inside = PathBuf::new();
    for component in source.components() {
        match component {
            Component::Normal(part) => inside.push(part),
            Component::CurDir => {}
            Component::ParentDir if inside.pop() => {}
            _ => {
                let name: String = source
                    .to_string_lossy()
                    .chars()
                    .map(|c| if c.is_alphanumeric() || "._-".contains(c) { c } else { '_' })
                    .collect();
                return Placed::Outside(
                    Path::new(OUTSIDE).join(name).join(source.file_name().unwrap_or_default()),
                );
            }
        }
    }
    Placed::Inside(inside)
}

/// Where a file of the book lies in its working folder: at the same place, or among those from outside.
pub(super) fn place_in_workplace(source: &Path) -> PathBuf {
    match placed(source) {
        Placed::Inside(path) | Placed::Outside(path) => path,
    }
}

/// Copies files and folders with their modes; what a link names is copied in its place.
fn copy(source: &Path, destination: &Path, depth: usize) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", source.display()));
    let metadata = match fs::metadata(source) {
        Ok(metadata) => metadata,
        // A link that leads nowhere is left out.
        Err(_) if fs::symlink_metadata(source).is_ok_and(|link| link.is_symlink()) => return Ok(()),
        Err(error) => return Err(named(error)),
    };
    if metadata.is_dir() {
        if depth > DEPTH_MAX {
            return Err(named(io::Error::other("folders within folders, without an end")));
        }
        fs::create_dir_all(destination).map_err(named)?;
        for entry in fs::read_dir(source).map_err(named)? {
            let name = entry.map_err(named)?.file_name();
            if name == ".git" {
                continue;
            }
            copy(&source.join(&name), &destination.join(&name), depth + 1)?;
        }
        return Ok(());
    }
    if metadata.is_file() {
        fs::copy(source, destination).map_err(named)?;
    }
    Ok(())
}
