//! Texts and files of which only a beginning arrives, at every sixteenth byte and at each of the last ones: nothing of a text is done,
//! nobody takes a file for whole.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::own::cksum;
use super::super::script::{Healing, HostCommand, Role};
use super::*;

const TOKEN: &str = "0123456789abcdef";
const LAST: usize = 64;

/// Lengths at which something of this length is cut.
fn cuts(whole: usize) -> impl Iterator<Item = usize> {
    (0..whole).step_by(16).chain(whole.saturating_sub(LAST)..whole)
}

fn script(text: &str, role: Role) -> HostScript {
    let command = HostCommand::Shell {
        before: text.to_owned(),
        script: None,
        after: String::new(),
        ends_at_failure: false,
        arguments: Vec::new(),
    };
    HostScript { command, env: Vec::new(), role }
}

/// A home folder with a folder of ours, and what breaks and heals there.
struct Home {
    folder: tempfile::TempDir,
    inducer: HostScript,
    arming: Arming,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join(".pisaura/f")).expect("a folder");
        let healing =
            Healing { watched: true, patience: Duration::from_secs(9), as_armed: false, is_known: true };
        let arming = Arming {
            only_if: None,
            reverter: script("rm \"$HOME/broken\"", Role::Heals(healing)),
            deadline: Some(Duration::from_secs(3600)),
            patience: Duration::from_secs(9),
            tries: 1,
            may_die: true,
            cuts_off: false,
            who: "nobody nothing".to_owned(),
        };
        Self { folder, inducer: script(": >\"$HOME/broken\"", Role::Bystander), arming }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn our_folder(&self) -> String {
        self.path().join(".pisaura/f").display().to_string()
    }

    fn site<'a>(&self, folder: &'a str) -> Site<'a> {
        Site {
            scope: "",
            folder,
            identity: "- - - - -",
            mark: "m",
            healer: "h",
            becomes_root: false,
            setsid: true,
            tells_others: false,
            reach: "none",
            files: Vec::new(),
        }
    }

    fn inducing(&self) -> Whole {
        let folder = self.our_folder();
        induce(TOKEN, &self.inducer, &self.arming, &self.site(&folder))
    }

    fn reverting(&self) -> Whole {
        let folder = self.our_folder();
        let site = self.site(&folder);
        let reverting = Reverting {
            case_folder: &site.case_folder(),
            identity: site.identity,
            watched: true,
            patience_seconds: 9,
            brought_anew: false,
            brought_file: None,
            as_armed: false,
            is_known: true,
            may_be_unarmed: false,
            is_inducer_over: true,
        };
        revert(TOKEN, &self.arming.reverter, &reverting, &site)
    }

    /// Has a shell run as much of a text as this, as a host does, and answers with all that it prints.
    fn run(&self, sent: &[u8]) -> String {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", &loader("/bin/sh")])
            .current_dir(self.path())
            .env("HOME", self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        // One that has ended reads nothing any more.
        let _ = shell.stdin.take().expect("a pipe").write_all(sent);
        let output = shell.wait_with_output().expect("an end");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn is_broken(&self) -> bool {
        self.path().join("broken").exists()
    }

    /// What lies there, and what stands in it.
    fn state(&self) -> Vec<(PathBuf, Vec<u8>)> {
        fn walk(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                match entry.path().is_dir() {
                    true => walk(&entry.path(), found),
                    false => found.push((entry.path(), fs::read(entry.path()).unwrap_or_default())),
                }
            }
        }
        let mut found = Vec::new();
        walk(self.path(), &mut found);
        found.sort();
        found
    }
}

#[test]
fn a_part_of_a_text_does_nothing() {
    let home = Home::new();
    let check = |whole: &Whole| {
        let (sent, before) = (whole.framed(), home.state());
        for length in cuts(sent.len()) {
            let said = home.run(&sent.as_bytes()[..length]);
            assert_eq!(said, "lost\n", "{length} of {}", sent.len());
            assert_eq!(home.state(), before, "{length} of {}", sent.len());
        }
    };
    let ends = |said: &str| said.contains(&format!("{TOKEN}:x0;"));
    check(&home.inducing());
    let said = home.run(home.inducing().framed().as_bytes());
    assert!(ends(&said) && home.is_broken(), "{said}");
    // Whoever looks what the inducer has left has ended by then, and changes nothing any more.
    let left = home.path().join(".pisaura/f/.case-m/left");
    let is_looked_for = || fs::read_to_string(&left).expect("a word").starts_with("none");
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while !is_looked_for() {
        assert!(std::time::Instant::now() < until, "it is not looked for what the inducer has left");
        std::thread::sleep(Duration::from_millis(5));
    }
    check(&home.reverting());
    assert!(home.is_broken());
    let said = home.run(home.reverting().framed().as_bytes());
    assert!(ends(&said) && !home.is_broken(), "{said}");
}

#[test]
fn a_part_of_a_file_is_not_whole() {
    let home = Home::new();
    let folder = home.our_folder();
    let bytes: Vec<u8> = (0..2_000_u32).flat_map(|number| format!("{number}\n").into_bytes()).collect();
    let (brought, placed) = (Path::new(&folder).join(".in-0"), Path::new(&folder).join("heal.sh"));
    let check = |checksum: Option<u32>| {
        let facts = FileFacts { name: "heal.sh".to_owned(), put_to: None, bytes: bytes.len(), checksum };
        let files = [(".in-0".to_owned(), facts)];
        let put = |length: usize| {
            fs::write(&brought, &bytes[..length]).expect("a file");
            home.run(place(TOKEN, &folder, &files).framed().as_bytes())
        };
        for length in cuts(bytes.len()) {
            let said = put(length);
            assert!(said.ends_with("./heal.sh did not arrive whole\n"), "{length}: {said}");
            assert!(!placed.exists() && !brought.exists(), "{length}: {said}");
        }
        let said = put(bytes.len());
        assert!(said.ends_with(&format!("{TOKEN}:x0;")) && !brought.exists(), "{said}");
        assert_eq!(fs::read(&placed).expect("a file"), bytes);
        fs::remove_file(&placed).expect("a file");
    };
    check(Some(cksum(&bytes)));
    check(None);
}
