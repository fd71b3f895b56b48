//! One case of a service and one on a host at a time, on the whole machine: a file for each, locked while a case runs. The
//! kernel takes a lock away with its process, so none is ever left behind. Touches files in the machine's temporary folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use rustix::fs::OFlags;

use crate::machine::file_name;

/// Names another folder for the locks, where the machine's temporary one will not do.
const VARIABLE: &str = "PISAURA_LOCKS";

/// The folder of locks.
#[derive(Clone, Debug)]
pub(super) struct Locks {
    folder: PathBuf,
}

/// Locks that are held until this is dropped.
#[derive(Debug)]
pub(super) struct Locked {
    _files: Vec<File>,
}

impl Locks {
    /// Makes the folder if need be: all users of the machine share it.
    pub(super) fn new() -> io::Result<Self> {
        let folder = match std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty()) {
            Some(folder) => PathBuf::from(folder),
            None => PathBuf::from("/tmp/pisaura-locks"),
        };
        match fs::DirBuilder::new().mode(0o1777).create(&folder) {
            // The mode of a new folder is subject to the umask.
            Ok(()) => fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("{}: {error}", folder.display())));
            }
        }
        Ok(Self { folder })
    }

    /// Takes all of them, or none and says who has one.
    pub(super) fn try_lock(&self, keys: &[String]) -> Result<Result<Locked, String>, String> {
        let mut files = Vec::new();
        for key in sorted(keys) {
            let mut file = self.open(&key)?;
            match file.try_lock() {
                // Whoever comes now makes a new file: this one locks nobody out.
                Ok(()) if !self.is_there(&key, &file) => return self.try_lock(keys),
                Ok(()) => files.push(sign(file)),
                Err(TryLockError::WouldBlock) => return Ok(Err(holder(&key, &mut file))),
                Err(TryLockError::Error(error)) => return Err(failed(&key, &error)),
            }
        }
        Ok(Ok(Locked { _files: files }))
    }

    /// Takes all of them, waiting for each. All runs take them in the same order, so none waits for one that waits for it.
    pub(super) fn lock(&self, keys: &[String]) -> Result<Locked, String> {
        let mut files = Vec::new();
        for key in sorted(keys) {
            let file = loop {
                let file = self.open(&key)?;
                file.lock().map_err(|error| failed(&key, &error))?;
                if self.is_there(&key, &file) {
                    break file;
                }
            };
            files.push(sign(file));
        }
        Ok(Locked { _files: files })
    }

    /// Whether the file still bears its name: what cleans the folder up may have taken it away.
    fn is_there(&self, key: &str, file: &File) -> bool {
        let named = fs::metadata(self.folder.join(file_name(key)));
        named
            .and_then(|named| Ok((named, file.metadata()?)))
            .is_ok_and(|(named, locked)| (named.dev(), named.ino()) == (locked.dev(), locked.ino()))
    }

    fn open(&self, key: &str) -> Result<File, String> {
        let path = self.folder.join(file_name(key));
        let flags = (OFlags::NOFOLLOW | OFlags::CLOEXEC).bits() as i32;
        let open = |create: bool, write: bool| {
            OpenOptions::new()
                .read(true)
                .write(write)
                .create(create)
                .mode(0o666)
                .custom_flags(flags)
                .open(&path)
        };
        // Another user's file can be locked without being written to, and in a sticky folder only if not to be created.
        let created = open(true, true).inspect(|file| {
            // Another user's run has to be able to lock it too, whatever the umask of this one says.
            let _ = file.set_permissions(fs::Permissions::from_mode(0o666));
        });
        created
            .or_else(|_| open(false, true))
            .or_else(|_| open(false, false))
            .map_err(|error| failed(key, &error))
    }
}

fn sorted(keys: &[String]) -> Vec<String> {
    let mut keys = keys.to_vec();
    keys.sort();
    keys.dedup();
    keys
}

fn failed(key: &str, error: &io::Error) -> String {
    format!("cannot lock the {key}: {error}: {VARIABLE} names another folder for the locks")
}

/// Leaves word of who holds the lock, for those who wait. It is of no matter if that cannot be written.
fn sign(mut file: File) -> File {
    let _ = file
        .set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| write!(file, "{}", std::process::id()));
    file
}

fn holder(key: &str, file: &mut File) -> String {
    let mut process = String::new();
    let _ = file.take(20).read_to_string(&mut process);
    match process.trim().parse::<u32>() {
        Ok(process) => format!("the {key}, which process {process} has"),
        Err(_) => format!("the {key}, which another run has"),
    }
}
