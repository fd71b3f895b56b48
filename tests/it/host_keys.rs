//! Whether a host is the one that is known by its name: unknown, changed, revoked, new, and the forms of `known_hosts`.

use std::fs;
use std::process::{Command, Stdio};

use libtest_mimic::Trial;

use crate::common::{Scratch, Sshd, test};
use crate::ssh::{run_with, setup};

pub fn tests() -> Vec<Trial> {
    vec![
        test("host_keys::unknown", host_key_unknown),
        test("host_keys::changed", host_key_changed),
        test("host_keys::revoked", host_key_revoked),
        test("host_keys::spoken_for_by_an_authority", host_key_authority),
        test("host_keys::accepted_when_new", host_key_accepted_when_new),
        test("host_keys::not_checked", host_key_not_checked),
        test("host_keys::forms", host_key_forms),
        test("host_keys::names_in_capitals", host_key_capitals),
    ]
}

/// Runs a case with this file of known hosts.
fn run_knowing(scratch: &Scratch, sshd: &Sshd, known: &str, more: &str) -> String {
    scratch.write("known", known);
    let ssh = format!(
        "{{identity_file: '{}/identity', known_hosts: '{}/known'{more}}}",
        sshd.path().display(),
        scratch.path().display()
    );
    let outcome = run_with(scratch, sshd, &ssh, "127.0.0.1");
    // Fingerprints differ from run to run.
    let mut steady = String::new();
    for word in outcome.split_inclusive(' ') {
        steady.push_str(if word.starts_with("SHA256:") { "SHA256:X, " } else { word });
    }
    steady.replace(&sshd.port.to_string(), "PORT").replace(&scratch.path().display().to_string(), "DIR")
}

/// A name is the same in capitals, as OpenSSH has it, and so is the hash of it.
fn host_key_capitals() {
    let (scratch, sshd) = setup();
    scratch.write("known", format!("[localhost]:{} {}\n", sshd.port, public_key(&sshd, "host_ed25519")));
    for hashed in [false, true] {
        if hashed {
            let mut keygen = Command::new("ssh-keygen");
            keygen
                .args(["-q", "-H", "-f"])
                .arg(scratch.join("known"))
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            assert!(keygen.status().expect("ssh-keygen runs").success());
            assert!(scratch.read("known").starts_with("|1|"));
        }
        let ssh = format!(
            "{{identity_file: '{}/identity', known_hosts: '{}/known'}}",
            sshd.path().display(),
            scratch.path().display()
        );
        assert_eq!(run_with(&scratch, &sshd, &ssh, "LOCALHOST"), "exit 0", "hashed: {hashed}");
    }
}

fn public_key(sshd: &Sshd, name: &str) -> String {
    let line = fs::read_to_string(sshd.join(&format!("{name}.pub"))).expect("a key");
    line.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn host_key_unknown() {
    let (scratch, sshd) = setup();
    let other = format!("other.host {}\n\n# a comment\n", public_key(&sshd, "host_ed25519"));
    for known in ["", "garbage\n", &other] {
        assert_eq!(
            run_knowing(&scratch, &sshd, known, ""),
            "botched: prepare: the host key of [127.0.0.1]:PORT is not known: it shows ssh-ed25519 SHA256:X, and DIR/known \
             has none for it. If that is the right one, `ssh-keyscan -p PORT 127.0.0.1 >> 'DIR/known'` adds it, and \
             `host_key_check: accept-new` would"
        );
    }
}

fn host_key_changed() {
    let (scratch, sshd) = setup();
    let line = format!("# first\n[127.0.0.1]:{} {}\n", sshd.port, public_key(&sshd, "identity"));
    for policy in ["", ", host_key_check: accept-new"] {
        assert_eq!(
            run_knowing(&scratch, &sshd, &line, policy),
            "botched: prepare: the host key of [127.0.0.1]:PORT is not the known one: it shows ssh-ed25519 SHA256:X, and \
             DIR/known has another in line 2 (ssh-ed25519). Either the host was set up anew, or this is another host. If \
             you know which, `ssh-keygen -R '[127.0.0.1]:PORT' -f 'DIR/known'` forgets the old key"
        );
    }
}

fn host_key_revoked() {
    let (scratch, sshd) = setup();
    let key = public_key(&sshd, "host_ed25519");
    let known = format!("[127.0.0.1]:{0} {key}\n@revoked * {key}\n", sshd.port);
    assert_eq!(
        run_knowing(&scratch, &sshd, &known, ", host_key_check: accept-new"),
        "botched: prepare: [127.0.0.1]:PORT shows the host key ssh-ed25519 SHA256:X, which is revoked in line 2 of DIR/known"
    );
}

fn host_key_authority() {
    let (scratch, sshd) = setup();
    let known =
        format!("# first\n@cert-authority *,[127.0.0.1]:{} {}\n", sshd.port, public_key(&sshd, "identity"));
    for policy in ["", ", host_key_check: accept-new"] {
        assert_eq!(
            run_knowing(&scratch, &sshd, &known, policy),
            "botched: prepare: the host key of [127.0.0.1]:PORT is not known: it shows ssh-ed25519 SHA256:X, and line 2 of \
             DIR/known has a certificate authority for it. Certificates of hosts are not supported: ask whoever runs that \
             authority for the host's own key, and add it to DIR/known"
        );
        assert_eq!(scratch.read("known"), known);
    }
    let both = format!("{known}[127.0.0.1]:{} {}\n", sshd.port, public_key(&sshd, "host_ed25519"));
    assert_eq!(run_knowing(&scratch, &sshd, &both, ""), "exit 0");
}

fn host_key_accepted_when_new() {
    let (scratch, sshd) = setup();
    assert_eq!(
        run_knowing(&scratch, &sshd, "other.host ssh-ed25519 AAAA\n", ", host_key_check: accept-new"),
        "exit 0"
    );
    let known = scratch.read("known");
    assert_eq!(
        known,
        format!(
            "other.host ssh-ed25519 AAAA\n[127.0.0.1]:{} {}\n",
            sshd.port,
            public_key(&sshd, "host_ed25519")
        )
    );
    // From now on it is known.
    assert_eq!(run_knowing(&scratch, &sshd, &known, ""), "exit 0");
    // A last line that has no end is not gone on with.
    let open = "other.host ssh-ed25519 AAAA";
    assert_eq!(run_knowing(&scratch, &sshd, open, ", host_key_check: accept-new"), "exit 0");
    assert_eq!(scratch.read("known"), known);
}

fn host_key_not_checked() {
    let (scratch, sshd) = setup();
    assert_eq!(run_knowing(&scratch, &sshd, "", ", host_key_check: off"), "exit 0");
    assert_eq!(scratch.read("known"), "");
}

fn host_key_forms() {
    let (scratch, sshd) = setup();
    let port = sshd.port;
    for (what, line) in [
        ("a list", format!("a,[127.0.0.1]:{port},b {}", public_key(&sshd, "host_ed25519"))),
        ("a pattern", format!("[127.*]:{port} {}", public_key(&sshd, "host_ed25519"))),
        ("another type of key only", format!("[127.0.0.1]:{port} {}", public_key(&sshd, "host_ecdsa"))),
        ("RSA only", format!("[127.0.0.1]:{port} {} a comment", public_key(&sshd, "host_rsa"))),
    ] {
        assert_eq!(run_knowing(&scratch, &sshd, &format!("{line}\n"), ""), "exit 0", "{what}");
    }
    scratch.write("known", format!("[127.0.0.1]:{port} {}\n", public_key(&sshd, "host_ed25519")));
    let hashed = Command::new("ssh-keygen")
        .args(["-q", "-H", "-f"])
        .arg(scratch.join("known"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(hashed.expect("ssh-keygen runs").success());
    let known = scratch.read("known");
    assert!(known.starts_with("|1|"), "{known}");
    assert_eq!(run_knowing(&scratch, &sshd, &known, ""), "exit 0", "hashed");
    // A key that cannot be read is no other key.
    let unreadable = format!("[127.0.0.1]:{port} ssh-ed25519 AAAA!!\n");
    assert_eq!(
        run_knowing(&scratch, &sshd, &unreadable, ", host_key_check: accept-new"),
        "botched: prepare: the host key of [127.0.0.1]:PORT is not known: it shows ssh-ed25519 SHA256:X, and the key for it in \
         line 1 of DIR/known cannot be read: mend that line or take it out"
    );
    let known = format!("{unreadable}[127.0.0.1]:{port} {}\n", public_key(&sshd, "host_ed25519"));
    assert_eq!(run_knowing(&scratch, &sshd, &known, ""), "exit 0", "the other line has it");
    let negated = format!("[127.*]:{port},![127.0.0.1]:{port} {}\n", public_key(&sshd, "host_ed25519"));
    assert!(run_knowing(&scratch, &sshd, &negated, "").contains("is not known"));
}
