//! The working folder of a book's cases: a copy of what travels with the book, as a Mesos sandbox is, so that a script cannot tell
//! one from the other, nor spoil the original. Owns what travels. Touches the file system.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;

use crate::fatebook::{Fatebook, Resource, ScriptFile, ends_like_windows, is_book};
use crate::remote::{Limit, fetch};

/// Where files of a book that lie outside of its folder are put.
const OUTSIDE: &str = ".pisaura-outside";
const DEPTH_MAX: usize = 32;
/// More folders than travel with any book.
const FOLDERS_MAX: usize = 10_000;

/// A working folder; it goes when this is dropped.
#[derive(Debug)]
pub struct Workplace {
    folder: OwnedFolder,
}

/// A file of a book's that its cases may need.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shipped {
    /// Its place in the working folder.
    pub place: PathBuf,
    /// Where it lies.
    pub source: PathBuf,
    /// How long it is.
    pub bytes: u64,
}

/// What travels with a book, sorted by place: its scripts, its `resources`, its key and file of known hosts where they lie beside it;
/// and all else in its folder, but for books, names that begin with a dot, private keys, and what is no plain file. URLs are not
/// asked for.
///
/// Fails, naming the file, if one cannot be read, if a link leads out of the folder that neither a command nor `resources` names, or
/// if all of it is more than `bytes_max`.
pub fn shipped(book: &Fatebook, bytes_max: u64) -> io::Result<Vec<Shipped>> {
    let mut list = List { all: BTreeMap::new(), named: BTreeSet::new(), bytes: 0, bytes_max, folders: 0 };
    let root = book.folder.canonicalize().map_err(|error| named(&book.folder, &error))?;
    for resource in &book.resources {
        if let Resource::Path(path) = resource {
            let place = match (placed(path), path.file_name()) {
                (Placed::Inside(inside), _) => inside,
                (Placed::Outside(_), Some(name)) => PathBuf::from(name),
                (Placed::Outside(_), None) => continue,
            };
            list.take(&book.folder.join(path), &place, &Rule::Named, 0)?;
        }
    }
    for file in scripts(book) {
        let place = place_in_workplace(&file.source);
        // One of a URL's comes later.
        if book.folder.join(&file.source).exists() {
            list.take(&book.folder.join(&file.source), &place, &Rule::Named, 0)?;
        }
    }
    for path in [&book.ssh.identity_file, &book.ssh.known_hosts].into_iter().flatten() {
        if let (Placed::Inside(place), source) = (placed(path), book.folder.join(path))
            && !path.starts_with("~")
            && source.is_file()
        {
            list.take(&source, &place, &Rule::Named, 0)?;
        }
    }
    list.take(&book.folder, Path::new(""), &Rule::Beside(&root), 0)?;
    Ok(list.all.into_values().collect())
}

/// The files that the book's commands name.
fn scripts(book: &Fatebook) -> impl Iterator<Item = &ScriptFile> {
    let around = [&book.before_all, &book.after_all].into_iter().flatten();
    let of_fates = book.fates.iter().flat_map(|fate| {
        let always = fate.inducer.iter().chain(fate.reverter.iter()).map(Some);
        let all = always.chain([
            Some(&fate.healthcheck),
            fate.only_if.as_ref(),
            fate.verify.as_ref(),
            fate.still.as_ref(),
            fate.workload.as_ref(),
        ]);
        let checks = fate.checks.iter().map(|check| &check.command);
        all.flatten().chain(&fate.stop_if).chain(checks)
    });
    of_fates.chain(around).filter_map(|command| command.file.as_ref())
}

/// Why a file is taken.
enum Rule<'a> {
    /// The book names it, or the folder that it is in.
    Named,
    /// It lies beside the book, in this folder.
    Beside(&'a Path),
}

struct List {
    all: BTreeMap<PathBuf, Shipped>,
    /// The places of what the book names.
    named: BTreeSet<PathBuf>,
    bytes: u64,
    bytes_max: u64,
    folders: usize,
}

impl List {
    fn take(&mut self, source: &Path, place: &Path, rule: &Rule<'_>, depth: usize) -> io::Result<()> {
        let metadata = match fs::metadata(source) {
            Ok(metadata) => metadata,
            // A link that leads nowhere is left out.
            Err(_) if fs::symlink_metadata(source).is_ok_and(|link| link.is_symlink()) => return Ok(()),
            Err(error) => return Err(named(source, &error)),
        };
        if matches!(rule, Rule::Named) && depth == 0 {
            self.named.insert(place.to_owned());
        }
        if let Rule::Beside(root) = rule
            && depth > 0
            && !source.canonicalize().map_err(|error| named(source, &error))?.starts_with(root)
        {
            if place.ancestors().any(|above| self.named.contains(above)) {
                return Ok(());
            }
            let target = fs::read_link(source).unwrap_or_default();
            let why = format!(
                "this link leads out of the book's folder, to {}: name it in `resources`, or put a copy here",
                target.display()
            );
            return Err(named(source, &io::Error::other(why)));
        }
        if metadata.is_dir() {
            if depth > DEPTH_MAX {
                return Err(named(source, &io::Error::other("folders within folders, without an end")));
            }
            self.folders += 1;
            if self.folders > FOLDERS_MAX {
                let why = format!(
                    "more than {FOLDERS_MAX} folders would travel with the book: do links lead back to folders above them?"
                );
                return Err(named(source, &io::Error::other(why)));
            }
            for entry in fs::read_dir(source).map_err(|error| named(source, &error))? {
                let name = entry.map_err(|error| named(source, &error))?.file_name();
                let hidden = match rule {
                    // What is in a folder that is named goes with it, but for what nobody means.
                    Rule::Named => name == ".git" || name == ".env",
                    Rule::Beside(_) => name.as_encoded_bytes().starts_with(b"."),
                };
                if !hidden {
                    self.take(&source.join(&name), &place.join(&name), rule, depth + 1)?;
                }
            }
            return Ok(());
        }
        // A pipe would be waited for when it is opened.
        let stays = || {
            matches!(rule, Rule::Beside(_))
                && (is_book(source) || is_copy_of_book(source) || is_private_key(source))
        };
        if !metadata.is_file() || stays() || self.all.contains_key(place) {
            return Ok(());
        }
        self.bytes += metadata.len();
        if self.bytes > self.bytes_max {
            let why = format!(
                "with this file more than {} MiB would travel with the book: keep what no script needs elsewhere, or allow it with `--ship-max`",
                self.bytes_max / (1024 * 1024)
            );
            return Err(named(source, &io::Error::other(why)));
        }
        let shipped = Shipped { place: place.to_owned(), source: source.to_owned(), bytes: metadata.len() };
        self.all.insert(place.to_owned(), shipped);
        Ok(())
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Whether a file is what an editor has kept of a book.
fn is_copy_of_book(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ["~", ".bak", ".orig", ".old", ".save", ".swp"]
        .iter()
        .any(|ending| name.strip_suffix(ending).is_some_and(|name| is_book(Path::new(name))))
}

/// How far into a file a private key is looked for.
const KEY_WITHIN_BYTES: u64 = 4096;

/// Whether a file holds a private key, as OpenSSH, OpenSSL or PuTTY writes one.
fn is_private_key(path: &Path) -> bool {
    let mut first = Vec::new();
    if File::open(path).and_then(|file| file.take(KEY_WITHIN_BYTES).read_to_end(&mut first)).is_err() {
        return false;
    }
    let holds = |words: &[u8]| first.windows(words.len()).any(|part| part == words);
    first.starts_with(b"PuTTY-User-Key-File-") || holds(b"-----BEGIN ") && holds(b"PRIVATE KEY-----")
}

impl Workplace {
    /// Copies what travels with the book to a new folder.
    /// What URLs name is fetched within this limit; without one it is left out, as where a host is only healed.
    /// Fails, naming the file or URL, if one cannot be read or the disk is full.
    pub fn open(book: &Fatebook, bytes_max: u64, limit: Option<Limit<'_>>) -> io::Result<Self> {
        let folder = OwnedFolder::new()?;
        for file in shipped(book, bytes_max)? {
            let place = folder.path().join(&file.place);
            if let Some(parent) = place.parent() {
                make_folder(parent).map_err(|error| named(parent, &error))?;
            }
            copy(&file.source, &place, file.bytes)?;
        }
        for resource in &book.resources {
            if let (Resource::Url { url, name }, Some(limit)) = (resource, limit) {
                fetch(url, &folder.path().join(name), bytes_max, limit)?;
            }
        }
        for file in scripts(book) {
            let place = folder.path().join(place_in_workplace(&file.source));
            if limit.is_none() && !place.exists() {
                continue;
            }
            if ends_like_windows(&place) {
                let message = format!(
                    "the first line of {} ends with a carriage return, so its interpreter will not be found: save it with Unix line ends",
                    book.folder.join(&file.source).display()
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            fs::set_permissions(&place, fs::Permissions::from_mode(0o755))
                .map_err(|error| named(&place, &error))?;
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
    path: PathBuf,
    /// Locked for as long as the folder is in use, so that a later run can tell whether it still is.
    _owner: File,
}

/// The file in an owned folder that is locked.
const OWNER: &str = ".pisaura-owner";
const OWNED_PREFIX: &str = "pisaura-folder-";
/// What its name begins with until it is locked: nobody removes it.
const BEGINNING_PREFIX: &str = ".pisaura-beginning-";

impl OwnedFolder {
    /// Makes one, for this user alone. Those of runs that were killed, and so could not remove them, are removed.
    /// Fails, naming the folder, if there is no room for it.
    pub fn new() -> io::Result<Self> {
        let all = std::env::temp_dir();
        for entry in fs::read_dir(&all).into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(OWNED_PREFIX.as_bytes())
                && is_left(&entry.path())
            {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", all.display()));
        let beginning = tempfile::Builder::new()
            .prefix(BEGINNING_PREFIX)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()
            .map_err(named)?;
        let owner = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(beginning.path().join(OWNER))
            .map_err(named)?;
        owner.lock().map_err(named)?;
        let name = beginning.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = all.join(name.replacen(BEGINNING_PREFIX, OWNED_PREFIX, 1));
        fs::rename(beginning.path(), &path).map_err(named)?;
        // It has another name by now, and so is not removed here.
        drop(beginning);
        Ok(Self { path, _owner: owner })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for OwnedFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Whether a folder is this user's, and its owner is gone. What others have put into the temporary folder is neither waited for nor
/// followed.
fn is_left(folder: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    if !fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == own) {
        return false;
    }
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let owner = OpenOptions::new().read(true).custom_flags(flags).open(folder.join(OWNER));
    owner.is_ok_and(|owner| {
        owner.metadata().is_ok_and(|metadata| metadata.is_file()) && owner.try_lock().is_ok()
    })
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

fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Copies a file of this length, with its mode; what a link names is copied in its place. What has grown meanwhile is cut off.
fn copy(source: &Path, destination: &Path, bytes: u64) -> io::Result<()> {
    let copied = (|| {
        let from = File::open(source)?;
        let mode = from.metadata()?.permissions();
        let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(destination)?;
        io::copy(&mut from.take(bytes), &mut to)?;
        to.set_permissions(fs::Permissions::from_mode(mode.mode() & 0o755))
    })();
    copied.map_err(|error| named(source, &error))
}
