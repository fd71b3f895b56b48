//! Which files are books, what each is called, and the reading of one. Touches the file system, for reading only, and starts
//! `/bin/sh -n` where a book is read thoroughly; the environment is an argument.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use super::host_entry::HostEntry;
use super::model::Fatebook;
use super::node::{self, SOURCE_BYTES_MAX};
use super::problem::{Place, Problem};
use super::read::{Files, Reader};
use super::secrets::Redactor;

/// Folders within folders within folders: a loop of links would go on for ever.
const FOLDER_DEPTH_MAX: usize = 16;
/// More folders than anybody keeps books in: links may lead round in circles.
const FOLDERS_MAX: usize = 10_000;

/// How closely a book is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading<'a> {
    /// A variable without a value is a problem.
    pub strict: bool,
    /// The scripts are looked into as well, which takes longer than a listing should.
    pub thorough: bool,
    /// Shell text that stops any failure that is held, beside what the book says.
    pub stop_if: Option<&'a str>,
}

/// Where values of variables come from: the environment, in tests a table.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + Sync + 'a;

/// A file that is a book by its place and ending; not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookFile {
    /// The book's name: `etcd`, `kafka::mirror`.
    pub name: String,
    /// The file, as a person would name it.
    pub path: PathBuf,
    /// The folder of all books.
    pub root: PathBuf,
    /// Why it cannot be read under this name, if so.
    pub refused: Option<String>,
}

/// A book that cannot be used, and all that is wrong with it.
#[derive(Clone, Debug)]
pub struct BrokenBook {
    /// The name of the book, as it would be.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// What is wrong, sorted by place.
    pub problems: Vec<Problem>,
    /// The file's text, as far as it is one.
    pub source: String,
    /// What is not shown of it.
    pub secrets: Redactor,
}

impl BrokenBook {
    /// The name of the one failing case that stands for the book: named after the file.
    pub fn case_name(&self) -> String {
        let file = self.path.file_name().unwrap_or(OsStr::new("?"));
        format!("{}::{}", self.name, printable(&file.to_string_lossy()))
    }

    /// All problems as a person reads them.
    pub fn report(&self) -> String {
        show_problems(&self.path, &self.source, &self.problems, &self.secrets)
    }
}

/// A book that was read, and what its author should know of it.
#[derive(Clone, Debug)]
pub struct ReadBook {
    /// The book.
    pub book: Fatebook,
    /// What was taken in a way that may not have been meant, as a person reads it.
    pub notes: String,
}

/// Finds the books at a path: a folder, at any depth, or one file. Sorted by name.
///
/// Hidden files and folders are left out, and so are JSON Schemas (`*.schema.json`). Fails if the path cannot be read.
pub fn find_books(path: &Path) -> io::Result<Vec<BookFile>> {
    let mut files = Vec::new();
    let root = if path.is_file() {
        files.push(path.to_owned());
        match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        }
    } else {
        walk(path, 0, &mut 0, &mut files)?;
        path.to_owned()
    };
    let mut books: Vec<BookFile> = files
        .into_iter()
        .map(|path| {
            let (name, refused) = match book_name(&root, &path) {
                Ok(name) => (name, None),
                Err((name, why)) => (name, Some(why)),
            };
            BookFile { name, path, root: root.clone(), refused }
        })
        .collect();
    books.sort_by(|left, right| (&left.name, &left.path).cmp(&(&right.name, &right.path)));
    for index in 1..books.len() {
        if books[index - 1].name == books[index].name {
            let (first, second) = (books[index - 1].path.clone(), books[index].path.clone());
            let refusal = |other: &Path, name: &str| {
                Some(format!("the name `{name}` is also that of {}: rename one of them", other.display()))
            };
            let name = books[index].name.clone();
            books[index].refused = refusal(&first, &name);
            books[index - 1].refused = refusal(&second, &name);
        }
    }
    Ok(books)
}

fn walk(folder: &Path, depth: usize, folders: &mut usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if depth > FOLDER_DEPTH_MAX {
        return Ok(());
    }
    *folders += 1;
    if *folders > FOLDERS_MAX {
        let why = format!(
            "there are more than {FOLDERS_MAX} folders in it: do links lead back to folders above them?"
        );
        return Err(io::Error::other(why));
    }
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let mut kind = entry.file_type()?;
        if kind.is_symlink() {
            // A link that leads nowhere is nobody's book.
            let Ok(target) = std::fs::metadata(&path) else {
                continue;
            };
            kind = target.file_type();
        }
        if kind.is_dir() {
            walk(&path, depth + 1, folders, files)?;
        } else if kind.is_file() && is_book(&path) {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether a file is taken for a book, by its name.
pub fn is_book(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ending = matches!(path.extension().and_then(OsStr::to_str), Some("json" | "yaml" | "yml"));
    ending && !name.ends_with(".schema.json")
}

/// The name that a file's place gives to its book; if it can be none, a printable one and the reason.
fn book_name(root: &Path, path: &Path) -> Result<String, (String, String)> {
    let stem = path.file_stem().unwrap_or_default();
    let mut parts: Vec<&OsStr> = match path.parent().and_then(|parent| parent.strip_prefix(root).ok()) {
        Some(folders) => folders.iter().collect(),
        None => Vec::new(),
    };
    let absolute;
    if stem != "fatebook" {
        parts.push(stem);
    } else if parts.is_empty() {
        absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        parts.push(absolute.file_name().unwrap_or(stem));
    }
    let names: Vec<String> = parts.iter().map(|part| printable(&part.to_string_lossy())).collect();
    let name = names.join("::");
    let wrong = |part: &&OsStr| match part.to_str() {
        None => Some("is not UTF-8"),
        Some(part) if part.chars().any(char::is_control) => Some("has a control character in it"),
        Some(part) if part.trim() != part => Some("begins or ends with a blank"),
        Some(part) if part.starts_with('-') => Some("begins with `-`, like an option"),
        Some(part) if part.contains("::") => Some("has `::` in it, which separates the parts of a name"),
        Some(_) => None,
    };
    match parts.iter().find_map(wrong) {
        None => Ok(name),
        Some(why) => Err((
            name.trim_start_matches('-').trim().to_owned(),
            format!(
                "the name of this file or of its folder {why}, so its cases cannot be named after it: rename it"
            ),
        )),
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The beginning of a file, read without waiting for anybody. Fails if it is none: nobody may ever open the other end of a pipe.
pub fn read_at_most(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl BookFile {
    /// Where the file really is, if a link has led out of the folder of books.
    fn leads_out(&self) -> Option<PathBuf> {
        let (path, root) = (self.path.canonicalize().ok()?, self.root.canonicalize().ok()?);
        (!path.starts_with(root)).then_some(path)
    }

    /// Reads and checks the book.
    /// Fails with everything that is wrong with it.
    pub fn read(&self, environment: &Environment<'_>, reading: Reading<'_>) -> Result<ReadBook, BrokenBook> {
        let broken = |problems: Vec<Problem>, source: String, secrets: &[String]| BrokenBook {
            name: self.name.clone(),
            path: self.path.clone(),
            problems,
            source,
            secrets: Redactor::new(secrets),
        };
        if let Some(target) = self.leads_out() {
            let message = format!(
                "this is reached by a link that leads out of the folder of books, to {}: copy the file, or name that folder",
                target.display()
            );
            return Err(broken(vec![Problem::at(Place::START, message)], String::new(), &[]));
        }
        let bytes = match read_at_most(&self.path, SOURCE_BYTES_MAX + 1) {
            Ok(bytes) => bytes,
            Err(error) => {
                let message = format!("this file cannot be read: {error}");
                return Err(broken(vec![Problem::at(Place::START, message)], String::new(), &[]));
            }
        };
        let source = String::from_utf8_lossy(&bytes);
        let source = source.strip_prefix('\u{feff}').unwrap_or(&source).to_owned();
        let folder = match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let files = BookFolder {
            folder: folder.clone(),
            depth: folder.strip_prefix(&self.root).map_or(0, |inside| inside.components().count()),
            known: RefCell::default(),
        };
        // What a variable holds may be secret, whatever the book says: messages name the variable instead.
        let filled: RefCell<Vec<(String, String)>> = RefCell::default();
        let plain = |name: &str| {
            let value = environment(name)?;
            filled.borrow_mut().push((name.to_owned(), value.clone()));
            Some(value)
        };
        let mut problems: Vec<Problem> =
            self.refused.iter().map(|why| Problem::at(Place::START, why)).collect();
        let Some(root) = node::parse(&bytes, &plain, &mut problems) else {
            without_values(&mut problems, &filled.borrow());
            return Err(broken(problems, source, &[]));
        };
        let mut reader = Reader::new(&files, &plain, reading);
        let book = reader.book(&root, self.name.clone(), self.path.clone(), folder);
        problems.append(&mut reader.findings.problems);
        without_values(&mut problems, &filled.borrow());
        without_values(&mut reader.findings.notes, &filled.borrow());
        problems.sort();
        problems.dedup();
        match book {
            Some(book) if problems.is_empty() => {
                let mut notes = reader.findings.notes;
                notes.sort();
                notes.dedup();
                let secrets = Redactor::new(&book.secret_values);
                Ok(ReadBook { notes: show_problems(&self.path, &source, &notes, &secrets), book })
            }
            _ => Err(broken(problems, source, &reader.secret_values)),
        }
    }
}

/// Shorter values stand in other words by chance.
const VALUE_BYTES_MIN: usize = 8;

/// Puts the names of variables where messages have their values.
fn without_values(problems: &mut [Problem], filled: &[(String, String)]) {
    let mut filled: Vec<&(String, String)> = filled.iter().filter(|(_, value)| !value.is_empty()).collect();
    filled.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
    filled.dedup();
    for problem in problems {
        for (name, value) in &filled {
            let shown = format!("${{{name}}}");
            problem.message = problem.message.replace(&format!("`{value}`"), &format!("`{shown}`"));
            if value.len() >= VALUE_BYTES_MIN {
                problem.message = problem.message.replace(value.as_str(), &shown);
            }
            problem.message = without_parts(&problem.message, value, &shown);
        }
    }
}

/// Puts the name of a variable where a message quotes a part of its value, unless that is a host.
fn without_parts(message: &str, value: &str, shown: &str) -> String {
    let quoted = |(number, part): (usize, &str)| {
        let is_part = number % 2 == 1 && !part.is_empty() && value.contains(part);
        match is_part && HostEntry::parse(part).is_err() {
            true => shown.to_owned(),
            false => part.to_owned(),
        }
    };
    message.split('`').enumerate().map(quoted).collect::<Vec<_>>().join("`")
}

/// More than anybody reads at once.
const PROBLEMS_SHOWN_MAX: usize = 100;

fn show_problems(path: &Path, source: &str, problems: &[Problem], secrets: &Redactor) -> String {
    let path = path.display().to_string();
    let lines: Vec<&str> = source.lines().collect();
    let shown = problems.iter().take(PROBLEMS_SHOWN_MAX);
    let mut shown: Vec<String> =
        shown.map(|problem| problem.show(&path, &lines, secrets).to_string()).collect();
    if problems.len() > PROBLEMS_SHOWN_MAX {
        shown.push(format!("{path}: and {} more", problems.len() - PROBLEMS_SHOWN_MAX));
    }
    shown.join("\n")
}

struct BookFolder {
    folder: PathBuf,
    /// How many folders below the root the book lies.
    depth: usize,
    /// A book of many failures asks for the same scripts again and again.
    known: RefCell<HashMap<PathBuf, Option<bool>>>,
}

impl BookFolder {
    /// Whether there is something, and whether it is a file.
    fn look(&self, path: &Path) -> Option<bool> {
        if let Some(known) = self.known.borrow().get(path) {
            return *known;
        }
        let found = std::fs::metadata(self.folder.join(path)).ok().map(|metadata| metadata.is_file());
        self.known.borrow_mut().insert(path.to_owned(), found);
        found
    }
}

impl Files for BookFolder {
    fn is_file(&self, path: &Path) -> bool {
        self.look(path) == Some(true)
    }

    fn exists(&self, path: &Path) -> bool {
        self.look(path).is_some()
    }

    fn stays_inside(&self, path: &Path) -> bool {
        let mut depth = self.depth as i64;
        for component in path.components() {
            match component {
                Component::ParentDir => depth -= 1,
                Component::Normal(_) => depth += 1,
                Component::CurDir => {}
                Component::RootDir | Component::Prefix(_) => return false,
            }
            if depth < 0 {
                return false;
            }
        }
        true
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn has_carriage_return(&self, path: &Path) -> bool {
        ends_like_windows(&self.folder.join(path))
    }

    fn is_script(&self, path: &Path) -> bool {
        let path = self.folder.join(path);
        let is_executable = std::fs::metadata(&path).is_ok_and(|metadata| metadata.mode() & 0o111 != 0);
        is_executable || read_at_most(&path, 2).is_ok_and(|first| first == b"#!")
    }

    fn syntax_error(&self, text: &str) -> Option<String> {
        let output = Command::new("/bin/sh")
            .args(["-n", "-c", "--", text])
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        (!output.status.success()).then(|| said.trim_start_matches("/bin/sh: ").to_owned())
    }

    fn in_path(&self, program: &str) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    }
}

/// Whether a script's first line names an interpreter and ends with a carriage return: then it cannot be run anywhere.
pub fn ends_like_windows(path: &Path) -> bool {
    let mut first = [0; 128];
    let read = File::open(path).and_then(|mut file| file.read(&mut first)).unwrap_or(0);
    let line = first[..read].split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.starts_with(b"#!") && line.ends_with(b"\r")
}
