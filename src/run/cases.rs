//! From books to named cases, from what was asked for to the cases that are meant, and from a case to what reports say of it. Reads
//! books; touches nothing else.

use std::path::Path;
use std::sync::Arc;

use crate::fatebook::{
    BookFile, BrokenBook, Environment, Fate, Fatebook, HostSet, Reading, find_books, nearest,
};
use crate::machine::{CaseId, CaseOutcome};
use crate::report::CaseInfo;

/// One failure on one host, or on several at once, or a book that is broken.
#[derive(Debug)]
pub struct Case {
    /// Its place in the list of all cases.
    pub id: CaseId,
    /// `book::failure@host`, `book::failure@a+b` of several hosts; from its second repetition on with the number of that: `book::failure@host #2`
    pub name: String,
    /// Which repetition it is, from 1.
    pub repetition: u32,
    /// What it is.
    pub kind: CaseKind,
    /// Why it is not run, if so, unless ignored cases are asked for.
    pub ignored: Option<String>,
    /// Whether it is run although it is ignored.
    pub forced: bool,
}

/// What a case is.
#[derive(Debug)]
pub enum CaseKind {
    /// A failure on a host.
    Failure {
        /// The book.
        book: Arc<Fatebook>,
        /// Which of its failures.
        fate: usize,
        /// Its hosts; none if the book's are not known, for want of a variable.
        hosts: Option<HostSet>,
    },
    /// The one case of a book that is broken.
    Broken(Box<BrokenBook>),
}

impl Case {
    /// The book.
    pub fn book(&self) -> Option<Arc<Fatebook>> {
        match &self.kind {
            CaseKind::Failure { book, .. } => Some(Arc::clone(book)),
            CaseKind::Broken(_) => None,
        }
    }

    /// The failure.
    pub fn fate(&self) -> Option<&Fate> {
        match &self.kind {
            CaseKind::Failure { book, fate, .. } => book.fates.get(*fate),
            CaseKind::Broken(_) => None,
        }
    }

    /// The failure's number in the book, and the hosts.
    pub fn fate_and_hosts(&self) -> Option<(usize, &HostSet)> {
        match &self.kind {
            CaseKind::Failure { fate, hosts: Some(hosts), .. } => Some((*fate, hosts)),
            _ => None,
        }
    }

    /// The case's name without the number of its repetition.
    pub fn plain_name(&self) -> &str {
        match self.repetition {
            1 => &self.name,
            number => self.name.strip_suffix(&format!(" #{number}")).unwrap_or(&self.name),
        }
    }

    /// The case's name without its host, too.
    pub fn name_without_host(&self) -> &str {
        match &self.kind {
            CaseKind::Failure { hosts: Some(hosts), .. } => {
                self.plain_name().strip_suffix(&format!("@{hosts}")).unwrap_or(self.plain_name())
            }
            _ => self.plain_name(),
        }
    }

    /// The outcome of a case that needs no running: a broken book, or one that is ignored.
    pub fn settled_already(&self) -> Option<CaseOutcome> {
        match (&self.kind, &self.ignored) {
            (CaseKind::Broken(broken), _) => {
                let count = match broken.problems.len() {
                    1 => "1 problem".to_owned(),
                    count => format!("{count} problems"),
                };
                Some(CaseOutcome::botched(
                    "BrokenBook",
                    format!("this fatebook has {count}:\n{}", broken.report()),
                ))
            }
            (_, Some(reason)) if !self.forced => Some(CaseOutcome::skipped(reason.clone())),
            (CaseKind::Failure { book, .. }, Some(reason)) if !book.unset.is_empty() => {
                Some(CaseOutcome::botched("VariableNotSet", format!("cannot be run: {reason}")))
            }
            _ => None,
        }
    }

    /// What reports say of it.
    pub fn info(&self) -> CaseInfo {
        match &self.kind {
            CaseKind::Failure { book, fate, hosts } => CaseInfo {
                id: self.id,
                name: self.name.clone(),
                plain_name: self.plain_name().to_owned(),
                book: book.name.clone(),
                short_name: self.name[book.name.len() + 2..].to_owned(),
                host: hosts.as_ref().map(ToString::to_string).unwrap_or_default(),
                hosts: hosts.iter().flat_map(HostSet::iter).map(ToString::to_string).collect(),
                variables: book.used.clone(),
                file: book.path.clone(),
                line: book.fates[*fate].line,
                limit: book.fates[*fate].timeout,
            },
            CaseKind::Broken(broken) => CaseInfo {
                id: self.id,
                name: self.name.clone(),
                plain_name: self.name.clone(),
                book: broken.name.clone(),
                short_name: self.name.get(broken.name.len() + 2..).unwrap_or(&self.name).to_owned(),
                host: String::new(),
                hosts: Vec::new(),
                variables: Vec::new(),
                file: broken.path.clone(),
                line: broken.problems.first().map_or(1, |problem| problem.place.line),
                limit: std::time::Duration::ZERO,
            },
        }
    }
}

/// The books at a path, read as far as they are needed.
#[derive(Debug)]
pub struct Shelf {
    /// All cases of the books that were read, in order.
    pub cases: Vec<Arc<Case>>,
    /// Notes on the books, for `check`.
    pub notes: Vec<String>,
    /// How many books were read.
    pub books: usize,
}

impl Shelf {
    /// Reads the books. If `exact` names cases, only the books that can hold them are read. Each case is there as often as it is to be
    /// run.
    /// Fails, saying why, if there are no books to be read.
    pub fn open(
        path: &Path,
        exact: Option<&[String]>,
        reading: Reading<'_>,
        environment: &Environment<'_>,
        forced: bool,
        repeat: u32,
    ) -> Result<Self, String> {
        let files = find_books(path).map_err(|error| {
            format!("cannot read the fatebooks in `{}`: {error}. `--fatebooks` or PISAURA_FATEBOOKS names another place", path.display())
        })?;
        if files.is_empty() {
            return Err(format!(
                "there are no fatebooks in `{}`: a fatebook is a file that ends in .json, .yaml or .yml",
                path.display()
            ));
        }
        let wanted: Vec<BookFile> = match exact {
            None => files,
            Some(names) => {
                let fits = |file: &BookFile| {
                    names
                        .iter()
                        .any(|name| name.strip_prefix(&file.name).is_some_and(|rest| rest.starts_with("::")))
                };
                let fitting: Vec<BookFile> = files.iter().filter(|file| fits(file)).cloned().collect();
                // A name that fits no book is looked for in all of them, so that the nearest one can be told.
                if fitting.is_empty() { files } else { fitting }
            }
        };
        let books = wanted.len();
        let read = read_all(&wanted, environment, reading);
        let mut shelf = Self { cases: Vec::new(), notes: Vec::new(), books };
        for result in read {
            match result {
                Ok(read) => {
                    shelf.notes.extend(Some(read.notes).filter(|notes| !notes.is_empty()));
                    shelf.add(read.book, forced, repeat);
                }
                Err(broken) => {
                    let case = Case {
                        id: shelf.cases.len(),
                        name: broken.case_name(),
                        repetition: 1,
                        kind: CaseKind::Broken(Box::new(broken)),
                        ignored: None,
                        forced,
                    };
                    shelf.cases.push(Arc::new(case));
                }
            }
        }
        Ok(shelf)
    }

    fn add(&mut self, book: Fatebook, forced: bool, repeat: u32) {
        let book = Arc::new(book);
        let unset = match book.unset.as_slice() {
            [] => None,
            [one] => Some(format!("the variable {one} is not set")),
            several => Some(format!("the variables {} are not set", several.join(", "))),
        };
        for (fate_index, fate) in book.fates.iter().enumerate() {
            let targets: Vec<Option<&HostSet>> = match fate.targets.as_slice() {
                [] => vec![None],
                targets => targets.iter().map(Some).collect(),
            };
            for hosts in targets {
                let name = match hosts {
                    Some(hosts) => format!("{}::{}@{hosts}", book.name, fate.name),
                    None => format!("{}::{}", book.name, fate.name),
                };
                for repetition in 1..=repeat.max(1) {
                    let case = Case {
                        id: self.cases.len(),
                        name: match repetition {
                            1 => name.clone(),
                            number => format!("{name} #{number}"),
                        },
                        repetition,
                        kind: CaseKind::Failure {
                            book: Arc::clone(&book),
                            fate: fate_index,
                            hosts: hosts.cloned(),
                        },
                        ignored: fate.skip.clone().or_else(|| unset.clone()),
                        forced,
                    };
                    self.cases.push(Arc::new(case));
                }
            }
        }
    }
}

/// Reads books on as many threads as there are processors: a listing waits for all of them.
fn read_all(
    files: &[BookFile],
    environment: &Environment<'_>,
    reading: Reading<'_>,
) -> Vec<Result<crate::fatebook::ReadBook, BrokenBook>> {
    const WORTH_A_THREAD: usize = 32;
    let threads =
        std::thread::available_parallelism().map_or(1, usize::from).min(files.len() / WORTH_A_THREAD).max(1);
    let part = files.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let readers: Vec<_> = files
            .chunks(part)
            .map(|files| {
                scope.spawn(|| files.iter().map(|file| file.read(environment, reading)).collect::<Vec<_>>())
            })
            .collect();
        // Books that nobody has read must not be taken for none.
        let read = |reader: std::thread::ScopedJoinHandle<'_, Vec<_>>| {
            reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        readers.into_iter().flat_map(read).collect()
    })
}

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Texts of which a name has one in it, or is one.
    pub filters: Vec<String>,
    /// Names are compared whole.
    pub exact: bool,
    /// Texts that a name must not have in it.
    pub skip: Vec<String>,
    /// Tags of which a case has one; with `!`, that it has not.
    pub tags: Vec<String>,
    /// Only ignored cases.
    pub ignored_only: bool,
    /// The name of a case does not mean its repetitions, too.
    pub one_repetition: bool,
}

/// The cases that are meant.
#[derive(Clone, Debug)]
pub struct Selected {
    /// Whether each case, by its number, is one of them.
    pub chosen: Vec<bool>,
}

/// Chooses among the cases. Fails, saying what is nearest, if something was named exactly that is not there.
pub fn select(shelf: &Shelf, selection: &Selection) -> Result<Selected, String> {
    let (with, without): (Vec<&str>, Vec<&str>) = selection
        .tags
        .iter()
        .map(|tag| tag.trim())
        .filter(|tag| !tag.is_empty())
        .partition(|tag| !tag.starts_with('!'));
    let without: Vec<&str> = without.iter().map(|tag| tag.trim_start_matches('!')).collect();
    let fits = |case: &Case, text: &str| match selection.exact {
        // One repetition by its name; all of them by the case's.
        true => {
            case.name == text
                || !selection.one_repetition && [case.plain_name(), case.name_without_host()].contains(&text)
        }
        false => case.name.contains(text),
    };
    let mut chosen: Vec<bool> = shelf
        .cases
        .iter()
        .map(|case| {
            let tags = case.fate().map_or(&[][..], |fate| &fate.tags);
            let has = |tag: &&str| tags.iter().any(|own| own == tag);
            (selection.filters.is_empty() || selection.filters.iter().any(|filter| fits(case, filter)))
                && !selection.skip.iter().any(|skip| fits(case, skip))
                && (with.is_empty() || with.iter().any(has))
                && !without.iter().any(has)
                && (!selection.ignored_only || case.ignored.is_some())
        })
        .collect();
    if selection.exact {
        for name in &selection.filters {
            if shelf.cases.iter().any(|case| fits(case, name)) {
                continue;
            }
            // The case may be one of a book that is broken: then that is what there is to say.
            let broken = shelf.cases.iter().find(|case| match &case.kind {
                CaseKind::Broken(broken) => name.starts_with(&format!("{}::", broken.name)),
                CaseKind::Failure { .. } => false,
            });
            if let Some(broken) = broken {
                chosen[broken.id] = true;
                continue;
            }
            let names = shelf.cases.iter().flat_map(|case| [case.name.as_str(), case.name_without_host()]);
            let advice = match nearest(name, names) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => "`--list` shows all names".to_owned(),
            };
            return Err(format!("no case is called `{name}`: {advice}"));
        }
    }
    Ok(Selected { chosen })
}
