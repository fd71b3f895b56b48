//! A planted password, passphrase and secret variable are found nowhere: not in what is printed, in no report, log or
//! listing of processes, nor in what is left on the host.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use libtest_mimic::Trial;

use crate::common::{Scratch, Sshd, harness, keygen, test};

pub fn tests() -> Vec<Trial> {
    vec![test("secrets::are_found_nowhere", found_nowhere)]
}

/// Each is of a kind that some writer changes: XML, JSON, a shell.
const PASSWORD: &str = "planted-pass<word>&\"1'";
const PASSPHRASE: &str = "planted-passphrase $2";
const VARIABLE: &str = "planted-variable $x '3\nplanted-second-line-4";
const NEEDLES: [&str; 4] = ["planted-pass", "planted-passphrase", "planted-variable", "planted-second-line"];

fn found_nowhere() {
    let (scratch, sshd) = (Scratch::new(), Sshd::with("LogLevel DEBUG3"));
    keygen("ed25519", &sshd.join("locked"), PASSPHRASE);
    let public = fs::read(sshd.join("locked.pub")).expect("a key");
    fs::write(sshd.join("authorized_keys"), public).expect("authorized keys");
    // Scripts print what they know, on both streams, whole and in the middle of other things; one of them fails, too.
    let tell = "#!/bin/sh\necho \"<$TOKEN>\"; echo \"$TOKEN\" >&2; head -c 40000 /dev/zero | tr '\\0' x; printf '%s' \"$TOKEN$TOKEN\"; sleep 0.2\n";
    for name in ["break.sh", "heal.sh", "check.sh"] {
        scratch.write(&format!("fatebooks/b/{name}"), format!("{tell}[ \"$TOKEN\" ] || exit 9\n"));
    }
    scratch.write("fatebooks/b/fail.sh", format!("{tell}echo \"cannot log in with $TOKEN\" >&2\nexit 1\n"));
    let yaml = |text: &str| serde_json::to_string(text).expect("JSON");
    let book = format!(
        "service: s\nhosts: ['127.0.0.1:{port}']\nloglevel: debug\nsecrets: [TOKEN]\nenv: {{TOKEN: '${{TOKEN}}'}}\n\
         ssh: {{identity_file: '{keys}/locked', known_hosts: '{keys}/known_hosts', password: {}, passphrase: {}}}\nfailures:\n  \
         - {{name: f, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh]}}\n  \
         - {{name: g, inducer: [fail.sh], reverter: [fail.sh], healthcheck: [check.sh], timeout: 1s, deadman: 3s}}\n",
        yaml(PASSWORD),
        yaml(PASSPHRASE),
        port = sshd.port,
        keys = sshd.path().display(),
    );
    scratch.write("fatebooks/b/fatebook.yaml", book);
    // All argument lists and environments of the machine while it runs, looked at as often as can be.
    let (over, lists) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(BTreeSet::new())));
    let environments = Arc::new(Mutex::new(BTreeSet::new()));
    let watcher = {
        let (over, lists, environments) = (Arc::clone(&over), Arc::clone(&lists), Arc::clone(&environments));
        std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                for entry in fs::read_dir("/proc").expect("processes").flatten() {
                    let Ok(list) = fs::read(entry.path().join("cmdline")) else { continue };
                    let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
                    if !environment.is_empty() {
                        environments.lock().expect("a lock").insert((list.clone(), environment));
                    }
                    lists.lock().expect("a lock").insert(list);
                }
            }
        })
    };
    let mut command = scratch.command(&harness());
    command.args(["--nocapture", "--show-output"]).env("TOKEN", VARIABLE);
    let output = command.output().expect("it runs");
    over.store(true, Ordering::SeqCst);
    watcher.join().expect("the watcher");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(stdout.contains("1 passed; 1 failed"), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("cannot log in with ***") || stdout.contains("***"), "{stdout}");
    let mut places =
        vec![("standard output".to_owned(), output.stdout), ("standard error".to_owned(), output.stderr)];
    files(&scratch.join("target"), &mut places);
    files(&scratch.join("locks"), &mut places);
    assert!(places.len() > 5, "reports and logs: {}", places.len());
    places.push(("the server's log".to_owned(), fs::read(sshd.join("log")).expect("a log")));
    for list in lists.lock().expect("a lock").iter() {
        places.push(("an argument list".to_owned(), list.clone()));
    }
    check_environments(&environments.lock().expect("a lock"));
    let scripts_were_seen = places.iter().any(|(_, text)| String::from_utf8_lossy(text).contains("break.sh"));
    assert!(scripts_were_seen);
    for (place, text) in &places {
        let text = String::from_utf8_lossy(text);
        for needle in NEEDLES {
            assert!(
                !text.contains(needle),
                "{needle} is in {place}: {}",
                text.chars().take(2000).collect::<String>()
            );
        }
    }
    // The script that heals the host by hand needs it, and is for the user's eyes only.
    let left = sshd.home().join(".pisaura");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&left).expect("a folder").permissions());
    assert_eq!(mode & 0o777, 0o700);
}

/// What logs in is in no process's environment. What scripts are given is in theirs, and in that of the run, which was given it.
fn check_environments(environments: &BTreeSet<(Vec<u8>, Vec<u8>)>) {
    let mut scripts = 0;
    for (list, environment) in environments {
        let (list, environment) = (String::from_utf8_lossy(list), String::from_utf8_lossy(environment));
        for needle in ["planted-pass", "planted-passphrase"] {
            assert!(!environment.contains(needle), "{needle} is in the environment of {list}");
        }
        if environment.contains("planted-variable") {
            let is_script = environment.contains("PISAURA_STEP=");
            let is_run = list.contains("/fatebooks-") && list.contains("--nocapture");
            // What looks whether a script can begin is the script's own shell, with its variables.
            let looks = list.contains("_p_check_file healthcheck ") || list.starts_with("/bin/sh\0-n\0");
            assert!(is_script || is_run || looks, "the variable is in the environment of {list}");
            scripts += usize::from(is_script);
        }
    }
    assert!(scripts > 0, "scripts get it");
}

fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((path.display().to_string(), fs::read(&path).expect("a file")));
        }
    }
}
