//! `pisaura init`: a first fatebook, and in a cargo package the test target for it. Writes files, and never over others.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const BOOK: &str = "\
service: my service
# The hosts to be broken, as [user@]host[:port]; with nothing set the cases are ignored, with this as the reason.
hosts: ${FIRST_HOSTS}
timeout: 10s
failures:
  - name: the file is gone
    inducer: [break.sh, /tmp/pisaura-first]      # copied to the host, and run there
    reverter: [heal.sh, /tmp/pisaura-first]      # the same
    healthcheck: [check.sh]                      # run here, with --step=1 before, 2 during and 3 after the failure
";
const BREAK: &str = "#!/bin/sh\n# Breaks the host. It may be run on one that is broken already.\nmv -f \"$1\" \"$1.gone\" 2>/dev/null || [ ! -e \"$1\" ]\n";
const HEAL: &str = "#!/bin/sh\n# Heals the host, whatever state it is in: also one that was never broken, and a second time.\n[ ! -e \"$1.gone\" ] || mv -f \"$1.gone\" \"$1\"\n";
const CHECK: &str = "#!/bin/sh\n# Asks whether the service works, and ends with 0 only if it really did something. This one asks nothing yet: let it write\n# to the service, read it back and compare. $PISAURA_HOSTS has all hosts, $PISAURA_HOST the one that is broken.\nexit 0\n";
const TARGET: &str = "fn main() -> std::process::ExitCode {\n    pisaura::harness::main()\n}\n";
const MANIFEST: &str = "\
[dev-dependencies]
pisaura = \"*\"

[[test]]
name = \"fatebooks\"
harness = false
test = false # a plain `cargo test` must not break hosts
";

/// Writes a first book below `folder`, and the test target if that is a cargo package. Answers with what a person is told.
///
/// Fails, naming the file, if one is there already, before anything is written; or if one cannot be written.
pub fn init(folder: &Path) -> Result<String, String> {
    let mut files: Vec<(PathBuf, &str, u32)> = vec![
        (PathBuf::from("fatebooks/first/fatebook.yaml"), BOOK, 0o644),
        (PathBuf::from("fatebooks/first/break.sh"), BREAK, 0o755),
        (PathBuf::from("fatebooks/first/heal.sh"), HEAL, 0o755),
        (PathBuf::from("fatebooks/first/check.sh"), CHECK, 0o755),
    ];
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).ok();
    if manifest.is_some() {
        files.push((PathBuf::from("tests/fatebooks.rs"), TARGET, 0o644));
    }
    if let Some((path, ..)) = files.iter().find(|(path, ..)| folder.join(path).symlink_metadata().is_ok()) {
        return Err(format!("{} is there already, so nothing was written", path.display()));
    }
    let mut told = String::new();
    for (path, text, mode) in &files {
        let failed = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
        let place = folder.join(path);
        fs::create_dir_all(place.parent().unwrap_or(folder)).map_err(failed)?;
        let mut options = fs::OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(*mode).open(&place);
        opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)?;
        told.push_str(&format!("wrote {}\n", path.display()));
    }
    match manifest {
        Some(manifest) if manifest.contains("name = \"fatebooks\"") => {
            told.push_str("\nNext: FIRST_HOSTS=root@host-1 cargo test --test fatebooks\n");
        }
        Some(_) => told.push_str(&format!(
            "\nAdd this to Cargo.toml:\n\n{MANIFEST}\nNext: FIRST_HOSTS=root@host-1 cargo test --test fatebooks\n"
        )),
        None => told.push_str("\nNext: pisaura check, and then FIRST_HOSTS=root@host-1 pisaura run\n"),
    }
    Ok(told)
}
