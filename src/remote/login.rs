//! Logging in: who to, as whom, with what, in which order, and what to tell a person when the host does not let us in.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ssh2::{KeyboardInteractivePrompt, Prompt, Session};

use crate::fatebook::{HostKeyCheck, SshOptions};
use crate::machine::{Trouble, TroubleKind};

use super::agent_relay::AgentRelay;
use super::connection::{TIME_LIMIT, Waiter};
use super::files::read_text;

/// A server's usual `MaxAuthTries` is 6, and a try too much loses the connection.
const KEYS_TRIED_MAX: usize = 5;
/// How long an ssh-agent may take to say which keys it has.
const AGENT_LIMIT: Duration = Duration::from_secs(3);
/// The start of an unencrypted private key in OpenSSH's own format: its magic and the cipher `none`, in base64.
const OPENSSH_UNENCRYPTED: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU";

/// The host to log in to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// A name or an address.
    pub host: String,
    /// The port of its SSH server.
    pub port: u16,
    /// How a person calls it.
    pub shown: String,
    /// It is not logged in to: whatever is done is done on this machine, which only one case of this service and name has at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub here: Option<String>,
}

/// How to log in.
#[derive(Clone, Serialize, Deserialize)]
pub struct Login {
    /// As this user; empty for the one who logs in.
    pub user: String,
    /// For password and keyboard-interactive.
    pub password: Option<String>,
    /// A private key.
    pub identity_file: Option<PathBuf>,
    /// Of the private key.
    pub passphrase: Option<String>,
    /// Whether everything there is run as root, by `sudo -n`.
    #[serde(default)]
    pub becomes_root: bool,
    /// The files of known host keys: the first one is added to.
    pub known_hosts: PathBuf,
    /// What to do about a host key that is not known.
    pub host_key_check: HostKeyCheck,
    /// Time limit of connecting and logging in.
    pub connect_timeout: Duration,
    /// How often a server that says nothing is asked whether it is there.
    #[serde(default = "crate::fatebook::default_keepalive")]
    pub keepalive: Duration,
}

impl Login {
    /// What the book says. It still has to be [completed](Self::completed) by whoever logs in.
    pub fn new(options: &SshOptions, host_user: Option<&str>) -> Self {
        Self {
            user: host_user.map(str::to_owned).or_else(|| options.username.clone()).unwrap_or_default(),
            password: options.password.clone(),
            identity_file: options.identity_file.clone(),
            passphrase: options.passphrase.clone(),
            becomes_root: options.becomes_root,
            known_hosts: options.known_hosts.clone().unwrap_or_else(|| PathBuf::from("~/.ssh/known_hosts")),
            host_key_check: options.host_key_check,
            connect_timeout: options.connect_timeout,
            keepalive: options.keepalive,
        }
    }

    /// With the user of this process, where none is named, and with paths that hold for it: relative ones begin at `folder`.
    pub fn completed(self, folder: &Path) -> Self {
        let place = |path: PathBuf| match path.strip_prefix("~") {
            Ok(rest) => home().join(rest),
            Err(_) => folder.join(path),
        };
        Self {
            user: if self.user.is_empty() { own_user() } else { self.user },
            identity_file: self.identity_file.map(place),
            known_hosts: place(self.known_hosts),
            ..self
        }
    }
}

impl Login {
    /// The file of known host keys, if it is not the user's own.
    pub(super) fn own_known_hosts(&self) -> Option<&Path> {
        (self.known_hosts != home().join(".ssh/known_hosts")).then_some(self.known_hosts.as_path())
    }
}

/// Secrets are not shown.
impl std::fmt::Debug for Login {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The name of the user that this process runs as.
pub fn own_user() -> String {
    ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
        // An executor's environment has neither.
        .or_else(|| user_of_this_process().filter(|user| !user.is_empty()))
        .unwrap_or_else(|| "root".to_owned())
}

fn user_of_this_process() -> Option<String> {
    // It needs none of our variables, some of which are secrets.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let output = std::process::Command::new("id").arg("-un").env_clear().env("PATH", path).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub(super) fn home() -> PathBuf {
    std::env::home_dir().unwrap_or_else(|| PathBuf::from("/"))
}

/// Logs in, by whatever the book offers and the host takes. Fails with all that was tried and what came of it.
pub(super) fn log_in(
    session: &Session,
    target: &Target,
    login: &Login,
    waiter: &Waiter<'_>,
) -> Result<(), Trouble> {
    let mut tried = Vec::new();
    // Each way to give a password is a try, too.
    let mut keys_left = if login.password.is_some() { KEYS_TRIED_MAX - 2 } else { KEYS_TRIED_MAX };
    // The book's own key is tried without asking what the host takes: that saves a question where it is let in.
    if let Some(file) = &login.identity_file {
        try_key(session, login, file, waiter, &mut tried, &mut keys_left)?;
        if session.authenticated() {
            return Ok(());
        }
    }
    let methods = match waiter.until_done(|| session.auth_methods(&login.user)) {
        Ok(methods) => methods.to_owned(),
        // A host that asks for nothing has let us in already.
        Err(_) if session.authenticated() => return Ok(()),
        Err(error) => return Err(waiter.trouble(&error, "asking how to log in")),
    };
    let takes = |method: &str| methods.split(',').any(|taken| taken == method);
    if takes("publickey") {
        try_agent(session, login, waiter, &mut tried, &mut keys_left)?;
        if !session.authenticated() && login.identity_file.is_none() {
            for name in ["id_ed25519", "id_ecdsa", "id_rsa"] {
                let file = home().join(".ssh").join(name);
                if !session.authenticated() && file.exists() {
                    try_key(session, login, &file, waiter, &mut tried, &mut keys_left)?;
                }
            }
        }
    }
    if let Some(password) = login.password.as_deref().filter(|_| !session.authenticated()) {
        let mut methods_tried = 0;
        if takes("password") {
            methods_tried += 1;
            let result = waiter.until_done(|| session.userauth_password(&login.user, password));
            note(result, waiter, "the password", &mut tried)?;
        }
        if takes("keyboard-interactive") && !session.authenticated() {
            methods_tried += 1;
            let mut answers = Answers { password, answered: false, asked: None };
            let result =
                waiter.until_done(|| session.userauth_keyboard_interactive(&login.user, &mut answers));
            let what = match &answers.asked {
                None => "the password (keyboard-interactive)".to_owned(),
                Some(asked) => format!("the password (keyboard-interactive, which asks for `{asked}`, too)"),
            };
            note(result, waiter, &what, &mut tried)?;
        }
        if methods_tried == 0 {
            tried.push("the password (the host takes none)".to_owned());
        }
    }
    if session.authenticated() {
        return Ok(());
    }
    let tried = if tried.is_empty() {
        "there was nothing to try: no ssh-agent with a key in it, no `identity_file`, no `password`"
            .to_owned()
    } else {
        format!("tried {}", tried.join("; "))
    };
    Err(Trouble {
        kind: TroubleKind::Login,
        message: format!(
            "{} does not let `{}` in: {tried}. It takes {}",
            target.shown,
            login.user,
            methods.replace(',', ", ")
        ),
    })
}

/// Keeps what came of a try; fails only if the connection itself broke.
fn note(
    result: Result<(), ssh2::Error>,
    waiter: &Waiter<'_>,
    what: &str,
    tried: &mut Vec<String>,
) -> Result<(), Trouble> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if is_refusal(&error) => {
            tried.push(format!("{what} (refused)"));
            Ok(())
        }
        Err(error) => Err(waiter.trouble(&error, "logging in")),
    }
}

/// Whether the host said no, rather than nothing.
fn is_refusal(error: &ssh2::Error) -> bool {
    // LIBSSH2_ERROR_AUTHENTICATION_FAILED, _PUBLICKEY_UNVERIFIED, _METHOD_NOT_SUPPORTED, _FILE, _PUBLICKEY_PROTOCOL
    matches!(error.code(), ssh2::ErrorCode::Session(-18 | -19 | -33 | -16 | -20))
}

fn try_key(
    session: &Session,
    login: &Login,
    file: &Path,
    waiter: &Waiter<'_>,
    tried: &mut Vec<String>,
    keys_left: &mut usize,
) -> Result<(), Trouble> {
    if *keys_left == 0 {
        return Ok(());
    }
    let shown = file.display();
    let key = match read_text(file) {
        Ok(key) => key,
        Err(error) => {
            tried.push(format!("the key {shown} (cannot be read: {error})"));
            return Ok(());
        }
    };
    let passphrase = login.passphrase.as_deref();
    if passphrase.is_none() && is_encrypted(&key) {
        tried.push(format!(
            "the key {shown} (it is encrypted: give its `passphrase`, or add it to an ssh-agent)"
        ));
        return Ok(());
    }
    let certificate_file = PathBuf::from(format!("{}-cert.pub", file.display()));
    let certificate = read_text(&certificate_file).ok();
    *keys_left -= 1;
    let result = waiter
        .until_done(|| session.userauth_pubkey_memory(&login.user, certificate.as_deref(), &key, passphrase));
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.code() == ssh2::ErrorCode::Session(-16) => {
            tried.push(if is_on_a_token(file) {
                format!(
                    "the key {shown} (it lies on a security key: add it to an ssh-agent, `ssh-add {shown}`)"
                )
            } else if is_encrypted(&key) {
                format!("the key {shown} (the `passphrase` does not open it)")
            } else {
                format!("the key {shown} (it cannot be used: {})", error.message())
            });
            Ok(())
        }
        Err(error) => note(Err(error), waiter, &format!("the key {shown}"), tried),
    }
}

/// Whether a private key is everybody's: OpenSSH would not take it. A book's, from a repository, may have no other mode.
pub(super) fn others_may_read(file: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    std::fs::metadata(file).is_ok_and(|metadata| metadata.uid() == own && metadata.mode() & 0o077 != 0)
}

/// Whether the secret half of a key is on a FIDO token, which libssh2 does not speak to; the public half says so.
fn is_on_a_token(file: &Path) -> bool {
    read_text(Path::new(&format!("{}.pub", file.display()))).is_ok_and(|key| key.starts_with("sk-"))
}

fn is_encrypted(key: &str) -> bool {
    if key.contains("BEGIN OPENSSH PRIVATE KEY") {
        let body: String = key.lines().skip(1).flat_map(|line| line.trim().chars()).take(64).collect();
        return !body.starts_with(OPENSSH_UNENCRYPTED);
    }
    key.contains("ENCRYPTED")
}

fn try_agent(
    session: &Session,
    login: &Login,
    waiter: &Waiter<'_>,
    tried: &mut Vec<String>,
    keys_left: &mut usize,
) -> Result<(), Trouble> {
    if std::env::var_os("SSH_AUTH_SOCK").is_none_or(|socket| socket.is_empty()) {
        return Ok(());
    }
    if let Err(error) = ask_agent(waiter.left()) {
        tried.push(format!("the ssh-agent (it does not answer: {error})"));
        return Ok(());
    }
    // libssh2 waits for an agent without a limit, as for one that asks its user.
    // Where there is no room for a socket of ours, it is asked all the same.
    let relay = AgentRelay::start(waiter.limit).ok();
    let opened = session.agent().and_then(|mut agent| {
        if let Some(relay) = &relay {
            agent.set_identity_path(&relay.path())?;
        }
        agent.connect()?;
        agent.list_identities()?;
        let identities = agent.identities()?;
        Ok((agent, identities))
    });
    let (agent, identities) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            tried.push(format!("the ssh-agent (cannot be asked: {})", error.message()));
            return Ok(());
        }
    };
    let mut refused = 0;
    for identity in &identities {
        if *keys_left == 0 {
            break;
        }
        *keys_left -= 1;
        match waiter.until_done(|| agent.userauth(&login.user, identity)) {
            Ok(()) => return Ok(()),
            Err(_) if waiter.limit.is_interrupted() => {
                return Err(waiter.trouble(&over(), "logging in with the ssh-agent"));
            }
            Err(_) if relay.as_ref().is_some_and(AgentRelay::was_ended) => {
                tried.push("the ssh-agent (it did not sign in time: does it wait for its user?)".to_owned());
                return Ok(());
            }
            Err(error) if is_refusal(&error) => refused += 1,
            Err(error) => return Err(waiter.trouble(&error, "logging in with the ssh-agent")),
        }
    }
    tried.push(match (identities.len(), refused) {
        (0, _) => "the ssh-agent (it holds no keys)".to_owned(),
        (all, refused) if refused < all => {
            format!("{refused} of the ssh-agent's {all} keys (refused, and a host takes only so many tries)")
        }
        (1, _) => "the ssh-agent's key (refused)".to_owned(),
        (all, _) => format!("the ssh-agent's {all} keys (refused)"),
    });
    Ok(())
}

/// Our own limit is over.
fn over() -> ssh2::Error {
    ssh2::Error::new(ssh2::ErrorCode::Session(-9), TIME_LIMIT)
}

/// Whether an ssh-agent answers: libssh2 would wait for one that does not without a limit. The question is the one for its
/// keys (draft-ietf-sshm-ssh-agent, SSH_AGENTC_REQUEST_IDENTITIES).
fn ask_agent(limit: Duration) -> std::io::Result<()> {
    let socket = std::env::var_os("SSH_AUTH_SOCK").unwrap_or_default();
    let mut agent = UnixStream::connect(socket)?;
    let limit = limit.clamp(Duration::from_millis(10), AGENT_LIMIT);
    agent.set_read_timeout(Some(limit))?;
    agent.set_write_timeout(Some(limit))?;
    agent.write_all(&[0, 0, 0, 1, 11])?;
    agent.read_exact(&mut [0; 5])
}

/// Answers the one question for the password, once: a secret is not told to whoever asks for something else.
struct Answers<'a> {
    password: &'a str,
    answered: bool,
    /// What else was asked.
    asked: Option<String>,
}

impl KeyboardInteractivePrompt for Answers<'_> {
    fn prompt<'a>(&mut self, _username: &str, _instructions: &str, prompts: &[Prompt<'a>]) -> Vec<String> {
        let mut answer = |prompt: &Prompt<'a>| {
            let text = prompt.text.to_lowercase();
            let is_for_password =
                !prompt.echo && ["passw", "mot de passe", "contrase"].iter().any(|word| text.contains(word));
            if is_for_password && !std::mem::replace(&mut self.answered, true) {
                return self.password.to_owned();
            }
            self.asked.get_or_insert_with(|| prompt.text.trim().chars().take(100).collect());
            String::new()
        };
        prompts.iter().map(&mut answer).collect()
    }
}
