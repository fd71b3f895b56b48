//! What a journal says that runs have left on hosts, and the right to heal it.

use super::*;

pub(super) fn ended_well(text: &str) -> bool {
    let last = text.lines().next_back().unwrap_or_default();
    text.is_empty() || read_line(last).is_ok_and(|line| matches!(line.record, Record::RunEnded))
}

/// What a journal says that runs have left on hosts, by the runs' names: those that are alive are still at it. Pure. A record that was broken off says nothing: what it was to announce was not done yet.
pub(super) fn leftovers(text: &str) -> BTreeMap<String, Leftover> {
    let mut runs: BTreeMap<String, Leftover> = BTreeMap::new();
    for line in text.lines() {
        let Ok(line) = read_line(line) else { continue };
        let left = runs.entry(line.run).or_default();
        match line.record {
            Record::Framework { id, master } => left.framework = Some((master, id)),
            Record::RunEnded => {
                left.framework = None;
                left.ended = true;
            }
            Record::RunBegan { within, .. } => left.within = within,
            Record::HostUsed { access } => {
                left.used.retain(|other| other.folder() != access.folder());
                left.used.push(*access);
            }
            Record::HostLeft { folder, .. } => left.used.retain(|used| used.folder() != folder),
            // Hosts that end with their run need no healing.
            Record::MayBeDirty(debt) if debt.plan.as_ref().is_some_and(|plan| plan.lasting) => {
                left.dirty.retain(|other| !other.is_of(&debt.case, debt.mark()));
                left.dirty.push(Debt { at: Some(line.at), ..*debt });
            }
            Record::Reverted { case, mark, .. } => {
                left.dirty.retain(|other| !other.is_of(&case, mark.as_deref()));
            }
            _ => {}
        }
    }
    runs.retain(|_, left| !left.is_empty());
    runs
}

/// The numbers of the lines that are no records. What was broken off at the very end was not yet to be acted on.
pub(super) fn damaged_lines(text: &str) -> Vec<usize> {
    let lines = text.split_inclusive('\n').enumerate();
    let is_told = |line: &str| line.ends_with('\n') && !line.trim_end().ends_with(BROKEN_OFF);
    lines
        .filter(|(_, line)| is_told(line) && read_line(line).is_err())
        .map(|(number, _)| number + 1)
        .collect()
}

/// Adds what this user's memory knows of runs that are over, and the journal does not. Answers with what cannot be read.
pub(super) fn add_remembered(
    runs: &mut BTreeMap<String, Leftover>,
    memory: &Memory,
    journal: &str,
    within: Option<&str>,
) -> Result<Vec<String>, String> {
    let (remembered, mut damaged) = memory.all()?;
    let mark_of_reverted = |line: Line| match line.record {
        Record::Reverted { mark, .. } => mark,
        _ => None,
    };
    let settled: HashSet<String> =
        journal.lines().filter_map(|line| read_line(line).ok().and_then(mark_of_reverted)).collect();
    for remembered in remembered {
        let Some(mark) = remembered.debt.mark() else { continue };
        let is_of_part = within.is_some() && remembered.within.as_deref() == within;
        let alive = remembered.controller.as_deref().and_then(controller_is_alive);
        let is_known = runs.values().flat_map(|left| &left.dirty).any(|other| other.mark() == Some(mark));
        if is_known || is_of_part || alive == Some(true) || settled.contains(mark) {
            continue;
        }
        // A run of another machine with the same home folder, or in another container, may hold its lock here.
        let lock = remembered.journal.as_ref().map(|path| alive_folder(path).join(&remembered.run));
        match lock.map_or(Ok(false), |path| told_alive(&path)) {
            Ok(false) => {}
            Ok(true) => continue,
            Err(why) => {
                damaged.push(format!("`{}` may have left a host broken: {why}", remembered.debt.case));
                continue;
            }
        }
        let left = runs.entry(remembered.run.clone()).or_default();
        left.ended = true;
        left.dirty.push(remembered.told());
    }
    Ok(damaged)
}

/// What older runs have left on hosts, and the right to heal it.
#[derive(Debug)]
pub struct Debts {
    journal: PathBuf,
    /// By the runs' names.
    pub runs: BTreeMap<String, Leftover>,
    /// What cannot be read, in words: what it may have said is not known.
    pub damaged: Vec<String>,
    memory: Option<Memory>,
    /// The marks of what is in that memory.
    remembered: HashSet<String>,
    /// Nobody else may heal while it is locked.
    _healing: Option<File>,
}

impl Debts {
    /// What is left, as the journal in this file says. If something is, waits until nobody else heals it: `waits` is called
    /// if that is so. With `only_look` it is not healed, and not waited for.
    ///
    /// Runs that are parts of the larger run `within`, and ended by themselves, are left to it.
    ///
    /// Fails, saying why, if the journal is there and cannot be read.
    pub fn open(
        journal: &Path,
        within: Option<&str>,
        only_look: bool,
        waits: impl FnOnce(),
    ) -> Result<Self, String> {
        let failed = |error: io::Error| {
            format!("cannot read the journal {}: {error}: `--output` names another folder", journal.display())
        };
        let mut damaged = Vec::new();
        let memory = Memory::of_user();
        let mut look = || -> Result<BTreeMap<String, Leftover>, String> {
            let folder = alive_folder(journal);
            let text = read(journal).map_err(failed)?;
            let mut runs = leftovers(&text);
            for run in runs.keys().cloned().collect::<Vec<_>>() {
                if told_alive(&folder.join(&run))? {
                    runs.remove(&run);
                }
            }
            runs.retain(|_, left| within.is_none() || left.within.as_deref() != within || !left.ended);
            damaged = damaged_lines(&text)
                .into_iter()
                .map(|line| {
                    format!(
                        "line {line} of the journal {} cannot be read: a host that it named may still be broken. When all hosts are known to be well, remove that line",
                        journal.display()
                    )
                })
                .collect();
            if let Some(memory) = &memory {
                damaged.extend(add_remembered(&mut runs, memory, &text, within)?);
            }
            Ok(runs)
        };
        let mut debts = Self {
            journal: journal.to_owned(),
            runs: look()?,
            damaged: Vec::new(),
            remembered: HashSet::new(),
            memory: memory.clone(),
            _healing: None,
        };
        if only_look || debts.runs.is_empty() {
            debts.damaged = damaged;
            return Ok(debts);
        }
        // What is remembered elsewhere may be all that is left of a workspace.
        if let Some(folder) = journal.parent() {
            make_folder(folder).map_err(failed)?;
        }
        // Where nothing can be written, the journal itself is all that there is to be locked.
        let healing = lock_of(journal).or_else(|_| File::open(journal)).map_err(failed)?;
        if healing.try_lock().is_err() {
            waits();
            healing.lock().map_err(failed)?;
        }
        // Whoever had it before has healed some.
        debts.runs = look()?;
        debts.damaged = damaged;
        if let Some(memory) = &memory {
            let (all, _) = memory.all()?;
            debts.remembered = all.iter().filter_map(|known| known.debt.mark()).map(str::to_owned).collect();
        }
        debts._healing = Some(healing);
        Ok(debts)
    }

    /// Leaves out what is not on these hosts (`host NAME port PORT`), and answers with how many dirty cases that are.
    pub fn only_on(&mut self, hosts: &[String]) -> usize {
        let mut others = 0;
        for left in self.runs.values_mut() {
            left.dirty.retain(|debt| {
                let is_here = debt.locks().iter().any(|lock| hosts.contains(lock));
                others += usize::from(!is_here);
                is_here
            });
            left.used.retain(|used| {
                used.access.known().is_some_and(|access| {
                    let target = &access.target;
                    let of_here = target.here.as_deref().and_then(|here| here.strip_suffix(&target.host));
                    let lock = match of_here.map(str::trim_end) {
                        Some(service) => format!("host controller of {service}, {}", target.host),
                        None => format!("host {} port {}", target.host.to_lowercase(), target.port),
                    };
                    hosts.contains(&lock)
                })
            });
        }
        self.runs.retain(|_, left| !left.is_empty() || left.framework.is_some());
        others
    }

    /// Whether nobody has settled this debt meanwhile: somebody else may have been at it.
    pub fn is_open(&self, debt: &Debt) -> bool {
        match (&self.memory, debt.mark()) {
            (Some(memory), Some(mark)) if self.remembered.contains(mark) => memory.knows(mark),
            _ => true,
        }
    }

    /// Writes down that this debt, of an older run, is settled: wherever it is remembered.
    pub fn reverted(&self, run: &str, debt: &Debt) -> Result<(), String> {
        let mark = debt.mark();
        let settled =
            Record::Reverted { case: debt.case.clone(), mark: mark.map(str::to_owned), afterwards: true };
        let elsewhere = debt.journal.as_ref().filter(|path| **path != self.journal);
        let noted = match elsewhere {
            // Its own journal may be gone with its workspace.
            Some(path) if path.exists() => go_on(path)
                .and_then(|mut file| append(&mut file, run, settled).and_then(|()| file.sync_data()))
                .map_err(|error| failed(path, &error)),
            Some(_) => Ok(()),
            None => self.append(run, settled),
        };
        let forgotten = match (&self.memory, mark) {
            (Some(memory), Some(mark)) => memory.forget(mark),
            _ => Ok(()),
        };
        noted.and(forgotten)
    }

    /// Writes down that nothing of ours lies in this folder any more.
    pub fn host_left(&self, run: &str, folder: &str) -> Result<(), String> {
        self.append(run, Record::HostLeft { folder: folder.to_owned(), afterwards: true })
    }

    fn append(&self, run: &str, record: Record) -> Result<(), String> {
        go_on(&self.journal)
            .and_then(|mut file| append(&mut file, run, record).and_then(|()| file.sync_data()))
            .map_err(|error| failed(&self.journal, &error))
    }
}
