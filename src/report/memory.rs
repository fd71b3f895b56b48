//! What is dirty, remembered for this user of this machine, whatever becomes of a run's output folder: CI systems delete their
//! workspaces. One file a debt, in `$XDG_STATE_HOME/pisaura/debts` (`~/.local/state/pisaura/debts`), for this user alone. Touches
//! these files.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::journal::Debt;

/// The memory of this user.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    folder: PathBuf,
}

/// A debt that is remembered, and whose it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// The run that broke the host.
    #[serde(default)]
    pub(super) run: String,
    /// The larger run that it is a part of.
    #[serde(default)]
    pub(super) within: Option<String>,
    /// When, in seconds since 1970.
    #[serde(default)]
    pub(super) at: Option<f64>,
    /// What that run calls itself.
    #[serde(default)]
    pub(super) controller: Option<String>,
    /// Its journal.
    #[serde(default)]
    pub(super) journal: Option<PathBuf>,
    #[serde(flatten)]
    pub(super) debt: Debt,
}

impl Remembered {
    /// The debt, with all that is told of it.
    pub(super) fn told(self) -> Debt {
        Debt { at: self.at, controller: self.controller, journal: self.journal, ..self.debt }
    }
}

impl Memory {
    /// In the user's state folder; `None` where there is no home folder.
    pub(super) fn of_user() -> Option<Self> {
        let given = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let state = given.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")))?;
        Some(Self { folder: state.join("pisaura/debts") })
    }

    #[cfg(test)]
    pub(super) fn in_folder(folder: &std::path::Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Remembers a debt, whole or not at all: safe on the disk if `lasting`, else safe from the death of this process.
    /// Fails, saying why, if it cannot be written.
    pub(super) fn remember(&self, remembered: &Remembered, lasting: bool) -> Result<(), String> {
        let key = remembered.debt.mark().ok_or("a debt without a mark cannot be remembered")?;
        let text = serde_json::to_string(remembered).map_err(|error| format!("cannot remember: {error}"))?;
        let failed = |error: std::io::Error| format!("cannot remember in {}: {error}", self.folder.display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(failed)?;
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.folder).map_err(failed)?;
        file.write_all(format!("{text}\n").as_bytes()).map_err(failed)?;
        if lasting {
            file.as_file().sync_all().map_err(failed)?;
        }
        file.persist(self.path(key)).map_err(|error| failed(error.error))?;
        if lasting {
            File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        Ok(())
    }

    /// Forgets a debt that is settled. Fails, saying why, if it cannot be.
    pub(super) fn forget(&self, key: &str) -> Result<(), String> {
        match fs::remove_file(self.path(key)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(format!("cannot forget {}: {error}", self.path(key).display()))
            }
            _ => Ok(()),
        }
    }

    /// Whether a debt is remembered.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.path(key).exists()
    }

    /// All debts, and what cannot be read, in words. Fails, saying why, if the folder is there and cannot be read.
    pub(super) fn all(&self) -> Result<(Vec<Remembered>, Vec<String>), String> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Default::default()),
            Err(error) => return Err(format!("cannot read {}: {error}", self.folder.display())),
        };
        let (mut debts, mut damaged) = (Vec::new(), Vec::new());
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
        paths.sort();
        for path in paths {
            match fs::read(&path).map(|bytes| serde_json::from_slice::<Remembered>(&bytes)) {
                Ok(Ok(remembered)) if remembered.debt.mark().is_some() => debts.push(remembered),
                // It was settled meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Ok(_) => damaged.push(format!(
                    "{} cannot be read: a host may be broken that nobody knows any more; remove it when all are well",
                    path.display()
                )),
                Err(error) => damaged.push(format!("{} cannot be read: {error}", path.display())),
            }
        }
        Ok((debts, damaged))
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debts_are_remembered_and_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let memory = Memory::in_folder(&folder.path().join("a/b"));
        let known = || {
            let (debts, damaged) = memory.all().expect("debts");
            (debts.into_iter().map(|known| known.told().case).collect::<Vec<_>>(), damaged)
        };
        assert_eq!(known(), Default::default());
        let text = r#"{"run": "r", "case": "c", "mark": {"mark": "m"}, "plan": {"lasting": true}}"#;
        let remembered: Remembered = serde_json::from_str(text).expect("a debt");
        for lasting in [false, true] {
            memory.remember(&remembered, lasting).expect("a debt");
        }
        fs::write(folder.path().join("a/b/cut.json"), "{\"mark\":").expect("a file");
        let (debts, damaged) = known();
        assert_eq!(debts, ["c"]);
        assert!(damaged.len() == 1 && damaged[0].contains("cut.json cannot be read"), "{damaged:?}");
        memory.forget("m").expect("no debt");
        memory.forget("m").expect("no debt");
        assert_eq!(known().0, [""; 0]);
    }
}
