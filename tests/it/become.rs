//! `become`: a user who may become root by `sudo -n`, on a real SSH server and a real sudo, with users and rules of their own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicU32, Ordering};

use libtest_mimic::Trial;

use crate::case::{BREAK, Case};
use crate::common::{Sshd, is_root, needing};

pub fn tests() -> Vec<Trial> {
    let root = |name: &str, run: fn()| needing(name, is_root(), "needs to be root, for another user", run);
    vec![
        root("become::everything_is_root_s", everything),
        root("become::the_switch_heals", switch),
        root("become::who_may_not", may_not),
    ]
}

static USERS: AtomicU32 = AtomicU32::new(0);

/// The user's number.
pub fn user_of(case: &Case) -> u32 {
    fs::metadata(case.sshd.join("plain")).expect("a home").uid()
}

/// Users and rules in the place of the machine's own, for the server only: `plain` may do as `rule` says.
pub fn with_user(rule: &str) -> Case {
    // What one user may have of processes is for all that are theirs.
    let user = 71_000 + USERS.fetch_add(1, Ordering::SeqCst);
    let before = format!(
        r#"
        chmod 755 .
        mkdir plain && chown {user} plain
        printf 'root:x:0:0::%s/home:/bin/sh\nplain:x:{user}:{user}::%s/plain:%s/shell\nsshd:x:107:65534::/run/sshd:/bin/false\n' "$PWD" "$PWD" "$PWD" >passwd
        printf '#!/bin/sh\nexec /bin/sh "$@"\n' >shell && chmod 755 shell
        printf 'root:*:19000:0:99999:7:::\nplain:*:19000:0:99999:7:::\n' >shadow
        printf 'Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n{rule}\n' >sudoers
        chmod 0440 sudoers
        for file in passwd shadow sudoers; do mount --bind $file /etc/$file; done
        "#
    );
    Case::on(Sshd::with_mounts("", before.trim()))
}

/// The book's user is `plain`, with these keys of `ssh`.
pub fn log_in(case: &Case, keys: &str) {
    let path = "fatebooks/b/fatebook.yaml";
    let text = case.scratch.read(path);
    let text = text.replace("root@", "").replace("ssh: {", &format!("ssh: {{username: plain, {keys}"));
    assert!(text.contains("username: plain"), "{text}");
    case.scratch.write(path, text);
}

fn case(rule: &str) -> Case {
    let case = with_user(rule);
    case.scratch.write("fatebooks/b/break.sh", format!("{BREAK}id -un >\"$HOME/who\"\n"));
    log_in(&case, "become: true, ");
    case
}

const MAY: &str = "plain ALL=(root) NOPASSWD: /bin/sh";

fn everything() {
    let case = case(MAY);
    let ran = case.pisaura(&["check", "--connect"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let ran = case.pisaura(&["run", "--show-output"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!((case.log().as_str(), case.sshd.read("who").as_str()), ("break\nheal\n", "root\n"));
    case.check_left_clean();
    // Nothing was left, or made, for the user who logs in.
    assert!(fs::read_dir(case.sshd.join("plain")).expect("a home").next().is_none());
}

/// A run that dies leaves a switch of root's, and the command that heals by hand becomes root, too.
fn switch() {
    let case = case(MAY);
    case.waits_at("--step=2");
    case.begin_and_kill();
    let folder = fs::metadata(case.case_folder()).expect("a folder");
    assert_eq!((folder.uid(), folder.permissions().mode() & 0o777), (0, 0o700));
    let ran = case.pisaura(&["revert", "--list"]);
    assert!(ran.stdout.contains(" plain@") && ran.stdout.contains(" sudo -n -H /bin/sh /"), "{}", ran.stdout);
    let ran = case.pisaura(&["revert"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "1 reverted\n"), "{}", ran.stderr);
    assert!(!case.is_broken());
    case.check_left_clean();
}

/// The reason comes before anything was broken.
fn may_not() {
    let check = |rule: &str| {
        let case = case(rule);
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
        let want = "The book says `become`: plain has to be allowed to run `sudo -n /bin/sh` there (in sudoers: `plain ALL=(root) NOPASSWD: /bin/sh`)";
        assert!(
            ran.stdout.contains(want) && ran.stdout.contains("botched: prepare: "),
            "{}{}",
            ran.stdout,
            ran.stderr
        );
        assert!(!case.sshd.home().join("log").exists());
        ran.stdout
    };
    let said = check("plain ALL=(root) ALL");
    assert!(said.contains("sudo: a password is required"), "{said}");
    check("plain ALL=(root) NOPASSWD: /bin/ls");
    check("");
}
