//! One case of a service and one on a host at a time, for this user of this machine: a file for each, locked while a case runs. The
//! kernel takes a lock away with its process, so none is ever left behind. Touches files in the machine's temporary folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::machine::file_name;

/// Names another folder for the locks, where the machine's temporary one will not do.
const VARIABLE: &str = "PISAURA_LOCKS";

/// The folder of locks.
#[derive(Clone, Debug)]
pub(super) struct Locks {
    folder: PathBuf,
    /// Other users may have theirs in it, too.
    shared: bool,
}

/// Locks that are held until this is dropped.
#[derive(Debug)]
pub(super) struct Locked {
    _files: Vec<File>,
}

impl Locks {
    /// Makes the folder if need be. It is this user's alone, so that nobody else can hold us up or mislead us: other users are kept
    /// off by what lies on the host itself. A folder that the variable names may be shared, and is then taken as it is.
    pub(super) fn new() -> io::Result<Self> {
        let named = |folder: &Path, error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("{}: {error}: {VARIABLE} names another folder", folder.display()),
            )
        };
        let own = rustix::process::geteuid().as_raw();
        let given = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let is_given = given.is_some();
        let folder = given.unwrap_or_else(|| PathBuf::from(format!("/tmp/pisaura-locks-{own}")));
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(named(&folder, error)),
            _ => {}
        }
        let found = if is_given { fs::metadata(&folder) } else { fs::symlink_metadata(&folder) };
        let found = found.map_err(|error| named(&folder, error))?;
        let why = match () {
            () if !found.is_dir() => "it is no folder",
            () if is_given => {
                return Ok(Self { folder, shared: found.uid() != own || found.mode() & 0o022 != 0 });
            }
            () if found.uid() != own => "it is another user's",
            () if found.mode() & 0o022 != 0 => "others may write to it",
            () => return Ok(Self { folder, shared: false }),
        };
        Err(named(&folder, io::Error::other(why)))
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
                Err(TryLockError::Error(error)) => return Err(self.failed(&key, &error)),
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
                file.lock().map_err(|error| self.failed(&key, &error))?;
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
        // What somebody may have put there is neither followed nor waited for.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits() as i32;
        let mode = if self.shared { 0o666 } else { 0o600 };
        let open = |create: bool, write: bool| {
            OpenOptions::new()
                .read(true)
                .write(write)
                .create(create)
                .mode(mode)
                .custom_flags(flags)
                .open(&path)
        };
        let mut opened = open(true, true);
        if self.shared {
            // Another user's run has to be able to lock it too, whatever the umask of this one says; and another user's file can be
            // locked without being written to, and in a sticky folder only if not to be created. The first reason is the one to tell.
            // Only of a file that is a lock: what another name of it is for is not known.
            let is_lock = |metadata: fs::Metadata| {
                metadata.is_file()
                    && metadata.nlink() <= 1
                    && metadata.uid() == rustix::process::geteuid().as_raw()
            };
            if let Ok(file) = &opened
                && file.metadata().is_ok_and(is_lock)
            {
                let _ = file.set_permissions(fs::Permissions::from_mode(mode));
            }
            opened =
                opened.or_else(|error| open(false, true).or_else(|_| open(false, false)).map_err(|_| error));
        }
        let file = opened.map_err(|error| self.failed(key, &error))?;
        match file.metadata() {
            Ok(metadata) if metadata.is_file() && metadata.nlink() <= 1 => Ok(file),
            Ok(_) => Err(self.failed(key, &io::Error::other(format!("{} is no plain file", path.display())))),
            Err(error) => Err(self.failed(key, &error)),
        }
    }

    fn failed(&self, key: &str, error: &io::Error) -> String {
        format!(
            "cannot lock the {key} in {}: {error}: {VARIABLE} names another folder for the locks",
            self.folder.display()
        )
    }
}

fn sorted(keys: &[String]) -> Vec<String> {
    let mut keys = keys.to_vec();
    keys.sort();
    keys.dedup();
    keys
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
