//! Whether a host is the one that we know by its name: reads and writes `known_hosts` files, as sshd(8) describes them.
//!
//! libssh2 compares keys and knows hashed names; patterns, `@revoked`, the numbers of lines and what to tell a person are
//! decided here, for it knows none of these.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ssh2::{CheckResult, HashType, HostKeyType, KnownHostFileKind, Session};

use crate::fatebook::HostKeyCheck;
use crate::machine::{Trouble, TroubleKind};

use super::files::read_file;
use super::quote::quote;

/// One line that is about our host.
struct Entry {
    line: usize,
    revoked: bool,
    key_type: String,
    /// The line with its patterns replaced by the host's name, for libssh2 to compare the key of.
    plain: String,
    /// The name to compare it under.
    name: String,
}

/// What a file says about a host.
pub(super) struct KnownHost {
    path: PathBuf,
    name: String,
    host: String,
    port: u16,
    entries: Vec<Entry>,
    /// The lines in which a certificate authority speaks for the host.
    authorities: Vec<usize>,
    /// The lines about the host whose key cannot be read.
    unreadable: Vec<usize>,
}

/// The order in which key types are asked for when nothing is known.
const KEY_TYPES: &str =
    "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256";

impl KnownHost {
    /// Reads what the file says about the host. A file that is not there says nothing. Fails if it cannot be read.
    pub(super) fn read(session: &Session, path: &Path, host: &str, port: u16) -> Result<Self, Trouble> {
        // As OpenSSH does it: a name is the same in capitals, also where the file has it hashed.
        let host = &host.to_lowercase();
        let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
        let mut known = Self {
            path: path.to_owned(),
            name,
            host: host.clone(),
            port,
            entries: Vec::new(),
            authorities: Vec::new(),
            unreadable: Vec::new(),
        };
        let text = match read_file(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(refuse(format!(
                    "cannot read the known host keys in {}: {error}",
                    path.display()
                )));
            }
        };
        for (index, line) in text.lines().enumerate() {
            if known.is_authority(line.trim()) {
                known.authorities.push(index + 1);
            }
            let Some(entry) = known.entry(session, index + 1, line.trim()) else { continue };
            // Under a key that nobody has, any line with a key in it is a mismatch.
            match compare(session, &entry.plain, &entry.name, b"\0") {
                CheckResult::Match | CheckResult::Mismatch => known.entries.push(entry),
                CheckResult::NotFound | CheckResult::Failure => known.unreadable.push(entry.line),
            }
        }
        Ok(known)
    }

    /// Whether a line has a certificate authority for our host.
    fn is_authority(&self, line: &str) -> bool {
        let Some(rest) = line.strip_prefix("@cert-authority") else { return false };
        rest.split_whitespace().next().is_some_and(|names| matches_patterns(names, &self.name))
    }

    /// What a line says about our host, if it does.
    fn entry(&self, session: &Session, number: usize, line: &str) -> Option<Entry> {
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (revoked, line) = match line.split_once(char::is_whitespace) {
            Some(("@revoked", rest)) => (true, rest.trim_start()),
            // A certificate authority says nothing about a plain key.
            Some((marker, _)) if marker.starts_with('@') => return None,
            _ => (false, line),
        };
        let mut words = line.split_whitespace();
        let (names, key_type, key) = (words.next()?, words.next()?, words.next()?);
        let plain = if names.starts_with("|1|") {
            let hashed = format!("{names} {key_type} {key}");
            // Under a key that nobody has, a line about this name is a mismatch and any other is not found.
            match compare(session, &hashed, &self.name, b"\0") {
                CheckResult::NotFound | CheckResult::Failure => return None,
                CheckResult::Match | CheckResult::Mismatch => hashed,
            }
        } else if matches_patterns(names, &self.name) {
            format!("{} {key_type} {key}", self.name)
        } else {
            return None;
        };
        Some(Entry { line: number, revoked, key_type: key_type.to_owned(), plain, name: self.name.clone() })
    }

    fn known_types(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(|entry| !entry.revoked).map(|entry| entry.key_type.as_str())
    }

    /// Whether the key that the host has shown was revoked.
    pub(super) fn check_revoked(&self, session: &Session) -> Result<(), Trouble> {
        let Some((key, _)) = session.host_key() else {
            return Err(refuse(format!("{} showed no host key", self.name)));
        };
        let same =
            |entry: &&Entry| matches!(compare(session, &entry.plain, &entry.name, key), CheckResult::Match);
        match self.entries.iter().filter(|entry| entry.revoked).find(same) {
            None => Ok(()),
            Some(entry) => Err(refuse(format!(
                "{} shows the host key {}, which is revoked in line {} of {}",
                self.name,
                shown_key(session),
                entry.line,
                self.path.display()
            ))),
        }
    }

    /// Whether the key that the host has shown is the one that is known of it; if it is new, what the book wants done.
    pub(super) fn check(&self, session: &Session, policy: HostKeyCheck) -> Result<(), Trouble> {
        let Some((key, key_type)) = session.host_key() else {
            return Err(refuse(format!("{} showed no host key", self.name)));
        };
        let key = key.to_vec();
        let shown = shown_key(session);
        let path = self.path.display();
        let same =
            |entry: &&Entry| matches!(compare(session, &entry.plain, &entry.name, &key), CheckResult::Match);
        self.check_revoked(session)?;
        let known: Vec<&Entry> = self.entries.iter().filter(|entry| !entry.revoked).collect();
        if known.iter().any(same) {
            return Ok(());
        }
        if !known.is_empty() {
            let lines: Vec<String> =
                known.iter().map(|entry| format!("{} ({})", entry.line, entry.key_type)).collect();
            return Err(refuse(format!(
                "the host key of {} is not the known one: it shows {shown}, and {path} has another in line {}. Either \
                 the host was set up anew, or this is another host. If you know which, `ssh-keygen -R {} -f {}` \
                 forgets the old key",
                self.name,
                lines.join(", "),
                quote(&self.name),
                quote(&path.to_string())
            )));
        }
        if let Some(line) = self.authorities.first() {
            // To learn its key, or to be told how, would undo what somebody has decided.
            return Err(refuse(format!(
                "the host key of {} is not known: it shows {shown}, and line {line} of {path} has a certificate authority for it. \
                 Certificates of hosts are not supported: ask whoever runs that authority for the host's own key, and add it to {path}",
                self.name
            )));
        }
        if let Some(line) = self.unreadable.first() {
            return Err(refuse(format!(
                "the host key of {} is not known: it shows {shown}, and the key for it in line {line} of {path} cannot be read: \
                 mend that line or take it out",
                self.name
            )));
        }
        if policy == HostKeyCheck::Strict {
            return Err(refuse(format!(
                "the host key of {} is not known: it shows {shown}, and {path} has none for it. If that is the right \
                 one, `ssh-keyscan -p {} {} >> {}` adds it, and `host_key_check: accept-new` would",
                self.name,
                self.port,
                quote(&self.host),
                quote(&path.to_string())
            )));
        }
        self.add(session, &key, key_type)
    }

    fn add(&self, session: &Session, key: &[u8], key_type: HostKeyType) -> Result<(), Trouble> {
        let failed = |error: String| {
            refuse(format!("cannot add the host key of {} to {}: {error}", self.name, self.path.display()))
        };
        let line = (|| {
            let mut file = session.known_hosts()?;
            file.add(&self.name, key, "", key_type.into())?;
            let hosts = file.hosts()?;
            match hosts.first() {
                Some(host) => file.write_string(host, KnownHostFileKind::OpenSSH),
                None => Err(ssh2::Error::unknown()),
            }
        })()
        .map_err(|error| failed(error.to_string()))?;
        if let Some(folder) = self.path.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(|error| failed(error.to_string()))?;
        }
        // One write of one line: two runs that learn the same host at once leave two lines, not a mixture.
        let glues =
            read_file(&self.path).is_ok_and(|before| before.last().is_some_and(|last| *last != b'\n'));
        let line = format!("{}{}\n", if glues { "\n" } else { "" }, line.trim_end());
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open(&self.path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|error| failed(error.to_string()))
    }
}

/// The key types to ask a host for: the one that it has shown before comes first, then those that are known of it, so that it
/// shows us one of them.
pub(super) fn preferred_key_types(shown_before: Option<&str>, known: Option<&KnownHost>) -> String {
    let before = shown_before.and_then(|key| key.split_once(' ')).map(|(key_type, _)| key_type);
    let mut types: Vec<&str> = Vec::new();
    for known in before.into_iter().chain(known.into_iter().flat_map(KnownHost::known_types)) {
        match known {
            "ssh-rsa" => types.extend(["rsa-sha2-512", "rsa-sha2-256"]),
            other => types.push(other),
        }
    }
    types.extend(KEY_TYPES.split(','));
    let mut once: Vec<&str> = Vec::new();
    for key_type in types {
        if KEY_TYPES.split(',').any(|known| known == key_type) && !once.contains(&key_type) {
            once.push(key_type);
        }
    }
    once.join(",")
}

/// The key that the host has shown: its type and fingerprint.
pub(super) fn shown_key(session: &Session) -> String {
    let key_type = session.host_key().map_or("no key", |(_, key_type)| type_name(key_type));
    format!("{key_type} {}", fingerprint(session))
}

fn refuse(message: String) -> Trouble {
    Trouble { kind: TroubleKind::HostKey, message }
}

fn compare(session: &Session, line: &str, name: &str, key: &[u8]) -> CheckResult {
    let Ok(mut one) = session.known_hosts() else {
        return CheckResult::Failure;
    };
    if one.read_str(line, KnownHostFileKind::OpenSSH).is_err() {
        return CheckResult::NotFound;
    }
    one.check(name, key)
}

/// Whether a list of patterns (`a,*.b,!c.b`) is about the name; a pattern with `!` that fits takes it out.
fn matches_patterns(patterns: &str, name: &str) -> bool {
    let name = name.to_lowercase();
    let mut found = false;
    for pattern in patterns.split(',') {
        let (negated, pattern) = match pattern.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, pattern),
        };
        if matches(pattern.to_lowercase().as_bytes(), name.as_bytes()) {
            if negated {
                return false;
            }
            found = true;
        }
    }
    found
}

/// `*` stands for anything, `?` for one character.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name, mut star) = (0, 0, None);
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(&c) if c == b'?' || c == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    at = star_at + 1;
                    in_name = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&c| c == b'*')
}

fn type_name(key_type: HostKeyType) -> &'static str {
    match key_type {
        HostKeyType::Rsa => "ssh-rsa",
        HostKeyType::Ecdsa256 => "ecdsa-sha2-nistp256",
        HostKeyType::Ecdsa384 => "ecdsa-sha2-nistp384",
        HostKeyType::Ecdsa521 => "ecdsa-sha2-nistp521",
        HostKeyType::Ed25519 => "ssh-ed25519",
        _ => "a key of an unknown type",
    }
}

/// As OpenSSH shows it: `SHA256:` and base64 without its padding.
fn fingerprint(session: &Session) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let hash = session.host_key_hash(HashType::Sha256).unwrap_or_default();
    let mut shown = "SHA256:".to_owned();
    for chunk in hash.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            shown.push(char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        fn check(patterns: &str, name: &str, want: bool) {
            assert_eq!(matches_patterns(patterns, name), want, "{patterns} and {name}");
        }
        check("etcd-1", "etcd-1", true);
        check("etcd-1", "etcd-11", false);
        check("a,b,ETCD-1", "etcd-1", true);
        check("*", "anything", true);
        check("*.b.c", "a.b.c", true);
        check("*.b.c", "b.c", false);
        check("a?c", "abc", true);
        check("a?c", "ac", false);
        check("*.b,!x.b", "x.b", false);
        check("!x.b,*.b", "y.b", true);
        check("[h]:22*", "[h]:2222", true);
        check("a*b*c", "aXbYbZc", true);
        check("a*b*c", "aXbYbZ", false);
    }
}
