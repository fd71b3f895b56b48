//! What travels to an agent: a book's working folder as an archive, known by its SHA-256 wherever it comes by. Touches files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use openssl::sha::Sha256;

use super::{TaskData, Workplace};

/// A file that is given to agents.
#[derive(Clone, Debug)]
pub struct Given {
    /// Where it lies.
    pub path: PathBuf,
    /// Its SHA-256, as `sha256sum` prints it.
    pub sha256: String,
}

/// The SHA-256 of a file. Fails if it cannot be read.
pub fn sha256_of(path: &Path) -> io::Result<String> {
    let (mut file, mut sum, mut buffer) = (File::open(path)?, Sha256::new(), vec![0; 1024 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(sum.finish().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => sum.update(&buffer[..read]),
        }
    }
}

/// Packs a working folder into a new file. Fails if it cannot be written.
pub fn pack(workplace: &Workplace, path: PathBuf) -> io::Result<Given> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let mut archive = tar::Builder::new(file);
    archive.append_dir_all(TaskData::WORKPLACE, workplace.path())?;
    archive.finish()?;
    let sha256 = sha256_of(&path)?;
    Ok(Given { path, sha256 })
}

/// Unpacks what an agent has fetched into its sandbox, and removes the archive. Fails, saying why, if it is not what was given.
pub(super) fn unpack(archive: &Path, sha256: &str, sandbox: &Path) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot unpack the book's files on the agent: {error}");
    let found = sha256_of(archive).map_err(failed)?;
    if found != sha256 {
        return Err(format!(
            "what the agent fetched of the book is not what this run gave: its SHA-256 is {found}, not {sha256}; did somebody change it on its way?"
        ));
    }
    let mut archived = tar::Archive::new(File::open(archive).map_err(failed)?);
    archived.set_preserve_permissions(true);
    archived.unpack(sandbox).map_err(failed)?;
    fs::remove_file(archive).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_not_unpacked() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.tar");
        let mut archive = tar::Builder::new(File::create(&path).expect("a file"));
        let mut head = tar::Header::new_gnu();
        head.set_size(2);
        head.set_mode(0o755);
        archive.append_data(&mut head, "book/check.sh", &b"hi"[..]).expect("a file");
        archive.finish().expect("an archive");
        let sum = sha256_of(&path).expect("a sum");
        let told =
            std::process::Command::new("sha256sum").arg(&path).output().expect("sha256sum runs").stdout;
        assert!(String::from_utf8_lossy(&told).starts_with(&format!("{sum}  ")));
        let sandbox = folder.path().join("sandbox");
        let whole = fs::read(&path).expect("a file");
        for at in [0, 512, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).expect("a file");
            let why = unpack(&path, &sum, &sandbox).expect_err("it was changed");
            assert!(why.contains(&format!(", not {sum}; did somebody")), "{why}");
            assert!(!sandbox.exists());
        }
        fs::write(&path, whole).expect("a file");
        unpack(&path, &sum, &sandbox).expect("what was given");
        assert_eq!(fs::read(sandbox.join("book/check.sh")).expect("a file"), b"hi");
        assert!(!path.exists());
    }
}
