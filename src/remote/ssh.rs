//! A host over SSH, with libssh2: one connection, scripts brought over it, commands run on it one after the other. One thread
//! owns it.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use ssh2::{ErrorCode, OpenFlags, OpenType};

use crate::fatebook::Redactor;
use crate::machine::{Exit, StepEnd, Trouble, TroubleKind, digits_of};

use super::connection::{Connection, TIME_LIMIT, Waiter, is_lost};
use super::deadman;
use super::exchange::{ASIDE, Exchange, Over, channel_exit, close};
use super::login::{Login, Target};
use super::quote::quote;
use super::script::{HostScript, Marks, Role};
use super::{Limit, Parcel, Ran, Remote, Watcher, random_hex};

/// The status of our own text when it could not leave what heals the host.
const CANNOT_LEAVE: i32 = 125;
/// The status of our own text when there is something that has to stay.
const CASES_LEFT: i32 = 124;
/// The folder of ours in the user's home; each connection's own lies in it.
const FOLDER: &str = ".pisaura";

/// A host, and the connection to it if there is one.
pub struct SshHost {
    target: Target,
    login: Login,
    redactor: Redactor,
    connection: Option<Connection>,
    /// The absolute path of the folder of our own there, once it was made.
    folder: Option<String>,
    /// The folder's name: the same for all who carry out cases of this book on this host in this run.
    folder_name: String,
    /// What was brought there, by destination, with its content's length and time of change.
    brought: HashMap<String, (std::path::PathBuf, u64, Option<std::time::SystemTime>)>,
    /// Whether the host has `setsid`, by which the dead man's switch gets a session of its own without a channel of its own.
    setsid: bool,
    /// Whether something of ours may lie there from an earlier run.
    taken_over: bool,
}

impl SshHost {
    /// A host that is not connected to yet. `folder_name` is that of the folder of our own there: one that nobody can guess
    /// or meet by chance.
    pub fn new(target: Target, login: Login, folder_name: String, redactor: Redactor) -> Self {
        Self {
            target,
            login,
            redactor,
            connection: None,
            folder: None,
            folder_name,
            brought: HashMap::new(),
            setsid: false,
            taken_over: false,
        }
    }

    /// The name of the folder of our own there.
    pub fn folder_name(&self) -> &str {
        &self.folder_name
    }

    /// Something of ours may lie there from an earlier run.
    pub fn take_over(&mut self) {
        self.taken_over = true;
    }

    fn connect(&mut self, limit: Limit<'_>) -> Result<(), Trouble> {
        if self.connection.is_none() {
            self.connection = Some(Connection::open(&self.target, &self.login, limit)?);
        }
        Ok(())
    }

    fn waiter<'a>(&'a self, limit: Limit<'a>) -> Result<(&'a Connection, Waiter<'a>), Trouble> {
        let Some(connection) = &self.connection else {
            return Err(Trouble {
                kind: TroubleKind::Connection,
                message: format!("{}: the connection is gone", self.target.shown),
            });
        };
        let waiter = Waiter {
            session: &connection.session,
            stream: &connection.stream,
            limit,
            shown: &self.target.shown,
        };
        Ok((connection, waiter))
    }

    /// Makes the folder of our own there, and asks where it is.
    fn make_folder(&mut self, limit: Limit<'_>) -> Result<String, Trouble> {
        if let Some(folder) = &self.folder {
            return Ok(folder.clone());
        }
        let name = &self.folder_name;
        // A home that cannot be written to is no reason to do without a folder; but in /tmp, one that bears our name may be
        // somebody else's.
        let text = format!(
            "umask 077\n\
             found() {{ cd \"$1\" && pwd && {{ ! command -v setsid >/dev/null 2>&1 || echo setsid; }}; exit 0; }}\n\
             mkdir -p \"$HOME/{FOLDER}/{name}\" 2>/dev/null && found \"$HOME/{FOLDER}/{name}\"\n\
             base=${{TMPDIR:-/tmp}}/{FOLDER}-${{USER:-$LOGNAME}}\n\
             mkdir -p \"$base\" 2>/dev/null && [ -O \"$base\" ] && mkdir -p \"$base/{name}\" && found \"$base/{name}\"\n\
             echo 'neither the home folder nor /tmp can be written to' >&2\nexit 1\n"
        );
        let (end, stdout, stderr) = self.shell("exec /bin/sh", text.as_bytes(), limit)?;
        // What a shell's own settings print comes before.
        let setsid = stdout.ends_with("\nsetsid\n");
        let stdout = stdout.strip_suffix("setsid\n").unwrap_or(&stdout);
        let folder = stdout.trim_end_matches('\n').rsplit('\n').next().unwrap_or_default();
        if !end.is_success() || !folder.starts_with('/') {
            return Err(Trouble {
                kind: TroubleKind::Upload,
                message: format!(
                    "{}: cannot make a folder there: {}",
                    self.target.shown,
                    last_line(&stderr, &end)
                ),
            });
        }
        let folder = folder.to_owned();
        self.setsid = setsid;
        self.folder = Some(folder.clone());
        Ok(folder)
    }

    /// Runs a small command of our own, feeding it some bytes.
    fn shell(
        &self,
        command: &str,
        input: &[u8],
        limit: Limit<'_>,
    ) -> Result<(Exit, String, String), Trouble> {
        let (connection, waiter) = self.waiter(limit)?;
        let failed = |error: &ssh2::Error| waiter.trouble(error, "running a command of our own");
        let mut channel =
            waiter.until_done(|| connection.session.channel_session()).map_err(|error| failed(&error))?;
        let mut output = Exchange::new(input, 0);
        let result =
            waiter.until_done(|| channel.exec(command)).map_err(|error| failed(&error)).and_then(|()| {
                output.go_on(&mut channel, &waiter, &mut |_, _| {}, |exchange, channel| {
                    exchange.is_over(channel).then_some(())
                })
            });
        let exit = match &result {
            Ok(Some(())) => channel_exit(&mut channel, &waiter),
            _ => Err(waiter.trouble(
                &ssh2::Error::new(ErrorCode::Session(-9), TIME_LIMIT),
                "running a command of our own",
            )),
        };
        close(&mut channel, &waiter);
        result?;
        let clean = |text: &str| self.redactor.clean(text);
        Ok((exit?, output.stdout.finish(clean).whole(), output.stderr.finish(clean).whole()))
    }

    /// Brings a file to a path in our folder.
    fn send(&mut self, source: &Path, path: &str, limit: Limit<'_>) -> Result<(), Trouble> {
        let bytes = std::fs::read(source).map_err(|error| Trouble {
            kind: TroubleKind::Upload,
            message: format!("cannot read {}: {error}", source.display()),
        })?;
        if !self.connection.as_ref().is_some_and(|connection| connection.without_sftp) {
            match self.send_by_sftp(&bytes, path, limit) {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    tracing::debug!(host = self.target.shown, "no SFTP there: files go through `cat`");
                    if let Some(connection) = &mut self.connection {
                        connection.without_sftp = true;
                    }
                }
                Err(trouble) => return Err(trouble),
            }
        }
        let (end, _, stderr) = {
            let path = quote(path);
            let command = format!("exec /bin/sh -c {}", quote(&format!("cat >{path} && chmod 0755 {path}")));
            self.shell(&command, &bytes, limit)?
        };
        if end.is_success() {
            return Ok(());
        }
        Err(Trouble {
            kind: TroubleKind::Upload,
            message: format!("{}: cannot write {path}: {}", self.target.shown, last_line(&stderr, &end)),
        })
    }

    /// False if the host has no SFTP that could do it.
    fn send_by_sftp(&mut self, bytes: &[u8], path: &str, limit: Limit<'_>) -> Result<bool, Trouble> {
        let (connection, waiter) = self.waiter(limit)?;
        let opened = match &connection.sftp {
            Some(_) => None,
            None => match waiter.until_done(|| connection.session.sftp()) {
                Ok(sftp) => Some(sftp),
                Err(error) if error.message() == TIME_LIMIT => {
                    return Err(waiter.trouble(&error, "opening SFTP"));
                }
                // A lost connection and an SFTP server that is not there look alike; the way without it will tell.
                Err(_) => return Ok(false),
            },
        };
        let Some(sftp) = opened.as_ref().or(connection.sftp.as_ref()) else {
            return Ok(false);
        };
        // A try before this one may have left a part of it.
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let opened_file = waiter.until_done(|| sftp.open_mode(Path::new(path), flags, 0o755, OpenType::File));
        let mut file = match opened_file {
            Ok(file) => file,
            Err(error) if is_lost(&error) => {
                let _ = connection.stream.shutdown(std::net::Shutdown::Both);
                return Err(waiter.trouble(&error, "opening a file"));
            }
            Err(_) => return Ok(false),
        };
        let mut sent = 0;
        let mut result = Ok(());
        while sent < bytes.len() {
            match waiter.until_done_io(|| file.write(&bytes[sent..])) {
                Ok(count) => sent += count,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        // The mode that a file is opened with is subject to the umask there.
        let stat =
            ssh2::FileStat { size: None, uid: None, gid: None, perm: Some(0o755), atime: None, mtime: None };
        let finished = result.is_ok() && waiter.until_done(|| file.setstat(stat.clone())).is_ok();
        let closed = waiter.until_done(|| file.close());
        let whole = finished && closed.is_ok();
        if waiter.limit.left().is_zero() || waiter.limit.is_interrupted() {
            // What is dropped now would wait for the host's word without a limit.
            let _ = connection.stream.shutdown(std::net::Shutdown::Both);
            return Err(
                waiter.trouble(&ssh2::Error::new(ErrorCode::Session(-9), TIME_LIMIT), "bringing a file")
            );
        }
        drop(file);
        if let Some(sftp) = opened
            && let Some(connection) = &mut self.connection
        {
            connection.sftp = Some(sftp);
        }
        if whole {
            return Ok(true);
        }
        let why = match (result, closed) {
            (Err(error), _) => error.to_string(),
            (_, Err(error)) => error.to_string(),
            _ => "its mode cannot be set".to_owned(),
        };
        Err(Trouble {
            kind: TroubleKind::Upload,
            message: format!("{}: cannot write {path}: {why}", self.target.shown),
        })
    }

    /// Puts files from our folder to the absolute paths where the book wants them; what stood there is kept, to be put
    /// back at the end.
    fn install(&mut self, folder: &str, files: &[(String, String)], limit: Limit<'_>) -> Result<(), Trouble> {
        let mut text = format!(
            "umask 022\nF={}\n\
             made() {{ case $1 in /|.) return 0;; esac; [ -d \"$1\" ] && return 0; made \"$(dirname -- \"$1\")\" && mkdir -- \"$1\" && printf '%s\\n' \"$1\" >>\"$F/.made\"; }}\n\
             put() {{ if [ -x \"$2\" ] && cmp -s -- \"$1\" \"$2\"; then return 0; fi\n\
             if [ -d \"$2\" ]; then echo \"$2 is a folder\" >&2; return 1; fi\n\
             made \"$(dirname -- \"$2\")\" || return 1\n\
             if [ ! -e \"$F/.put-$3\" ]; then\n\
             if [ -e \"$2\" ] || [ -L \"$2\" ]; then cp -pP -- \"$2\" \"$F/.was-$3\" || return 1; fi\n\
             printf '%s' \"$2\" >\"$F/.put-$3\" || return 1; fi\n\
             cp -- \"$1\" \"$2.pisaura\" && chmod 0755 \"$2.pisaura\" && mv -f -- \"$2.pisaura\" \"$2\"; }}\n",
            quote(folder)
        );
        for (staged, path) in files {
            text.push_str(&format!(
                "put {} {} {} || exit 1\n",
                quote(&format!("{folder}/{staged}")),
                quote(path),
                quote(staged)
            ));
        }
        let (end, _, stderr) = self.shell("exec /bin/sh", text.as_bytes(), limit)?;
        if end.is_success() {
            return Ok(());
        }
        let paths: Vec<&str> = files.iter().map(|(_, path)| path.as_str()).collect();
        Err(Trouble {
            kind: TroubleKind::Upload,
            message: format!(
                "{}: cannot put {} there: {}",
                self.target.shown,
                paths.join(", "),
                last_line(&stderr, &end)
            ),
        })
    }

    fn run_marked(
        &mut self,
        script: &HostScript,
        limit: Limit<'_>,
        watcher: Watcher<'_>,
    ) -> Result<Ran, Trouble> {
        self.connect(limit)?;
        let folder = self.make_folder(limit)?;
        let token = random_hex().map_err(|message| Trouble { kind: TroubleKind::Start, message })?;
        if let Role::Breaks(arming) = &script.role
            && !self.setsid
            && arming.deadline.is_some()
        {
            let arm = deadman::arm(arming, &folder, false);
            let (end, _, stderr) = self.shell("exec /bin/sh", arm.as_bytes(), limit)?;
            if !end.is_success() {
                return Err(self.cannot_arm(&folder, &last_line(&stderr, &end)));
            }
        }
        let text = script.marked(&token, &folder, self.setsid);
        let (connection, waiter) = self.waiter(limit)?;
        let mut channel = waiter
            .until_done(|| connection.session.channel_session())
            .map_err(|error| waiter.trouble(&error, "opening a channel"))?;
        waiter
            .until_done(|| channel.exec("exec /bin/sh"))
            .map_err(|error| waiter.trouble(&error, "starting a shell"))?;
        let mut exchange = Exchange::new(text.as_bytes(), self.redactor.longest());
        exchange.marks = Some(Marks::new(&token));
        let gone_on = exchange.go_on(&mut channel, &waiter, watcher, Exchange::command_is_over);
        let end = match gone_on {
            Ok(Some(Over::Marked(0))) if exchange.marks.as_ref().is_some_and(|marks| marks.watched) => {
                Ok(StepEnd::HealedByItself)
            }
            Ok(Some(Over::Marked(status))) => Ok(StepEnd::Exited(Exit::Status(status))),
            Ok(Some(Over::Closed)) => match channel_exit(&mut channel, &waiter) {
                Ok(exit @ Exit::Status(CANNOT_LEAVE)) if matches!(script.role, Role::Breaks(_)) => {
                    let said =
                        std::mem::take(&mut exchange.stderr).finish(|text| self.redactor.clean(text)).whole();
                    Err(self.cannot_arm(&folder, &last_line(&said, &exit)))
                }
                // The shell was ended before it could say how the command ended: only a signal does that.
                Ok(exit @ Exit::Signal(_)) => Ok(StepEnd::Exited(exit)),
                Ok(Exit::Status(status)) => Err(Trouble {
                    kind: TroubleKind::Connection,
                    message: format!(
                        "{}: the connection was lost, or the shell there ended (status {status}), before the command did",
                        self.target.shown
                    ),
                }),
                Err(trouble) => Err(trouble),
            },
            Ok(None) => {
                self.end_process(exchange.marks.as_ref().and_then(|marks| marks.process));
                Ok(if limit.is_interrupted() { StepEnd::Interrupted } else { StepEnd::TimedOut })
            }
            Err(trouble) => Err(trouble),
        };
        let aside = Limit::within(ASIDE, None);
        if let Ok((_, waiter)) = self.waiter(aside) {
            close(&mut channel, &waiter);
        }
        drop(channel);
        let held = exchange.marks.take().map(|mut marks| marks.finish()).unwrap_or_default();
        exchange.stderr.push(&held);
        let clean = |text: &str| self.redactor.clean(text);
        let (stdout, stderr) = (exchange.stdout.finish(clean), exchange.stderr.finish(clean));
        Ok(Ran { end: end.unwrap_or_else(StepEnd::Failed), stdout, stderr })
    }

    fn cannot_arm(&self, folder: &str, why: &str) -> Trouble {
        Trouble {
            kind: TroubleKind::Arming,
            message: format!(
                "{}: cannot leave what heals the host in {folder}, so nothing was broken: {why}",
                self.target.shown
            ),
        }
    }

    /// Ends the process group that the command's shell leads, from a channel beside it.
    fn end_process(&self, process: Option<u32>) {
        let Some(process) = process else { return };
        let text = format!(
            "kill -TERM -{process} 2>/dev/null || kill -TERM {process} 2>/dev/null\n\
             n=0\nwhile [ $n -lt 20 ] && kill -0 -{process} 2>/dev/null; do sleep 0.1 2>/dev/null || sleep 1; n=$((n+1)); done\n\
             kill -KILL -{process} 2>/dev/null || kill -KILL {process} 2>/dev/null\nexit 0\n"
        );
        if let Err(trouble) = self.shell("exec /bin/sh", text.as_bytes(), Limit::within(ASIDE, None)) {
            tracing::warn!(
                host = self.target.shown,
                process,
                error = trouble.message,
                "a process may be left behind"
            );
        }
    }
}

impl Remote for SshHost {
    fn prepare(&mut self, parcels: &[Parcel], limit: Limit<'_>) -> Result<(), Trouble> {
        let result = self.connect(limit).and_then(|()| {
            let folder = self.make_folder(limit)?;
            let (mut to_install, mut installed) = (Vec::new(), Vec::new());
            for parcel in parcels {
                let metadata = std::fs::metadata(&parcel.source).map_err(|error| Trouble {
                    kind: TroubleKind::Upload,
                    message: format!("cannot read {}: {error}", parcel.source.display()),
                })?;
                let content = (parcel.source.clone(), metadata.len(), metadata.modified().ok());
                if self.brought.get(&parcel.destination) == Some(&content) {
                    continue;
                }
                let absolute = parcel.destination.starts_with('/');
                let name = match absolute {
                    true => {
                        format!(".file-{}", digits_of(&parcel.destination))
                    }
                    false => parcel.destination.clone(),
                };
                self.send(&parcel.source, &format!("{folder}/{name}"), limit)?;
                if absolute {
                    to_install.push((name, parcel.destination.clone()));
                    installed.push((parcel.destination.clone(), content));
                } else {
                    self.brought.insert(parcel.destination.clone(), content);
                }
                tracing::debug!(host = self.target.shown, file = parcel.destination, "brought");
            }
            if to_install.is_empty() {
                return Ok(());
            }
            self.install(&folder, &to_install, limit)?;
            self.brought.extend(installed);
            Ok(())
        });
        if result.is_err() {
            // Whatever the reason, the next try begins from nothing.
            self.disconnect();
        }
        result
    }

    fn run(&mut self, script: &HostScript, limit: Limit<'_>, watcher: Watcher<'_>) -> Ran {
        match self.run_marked(script, limit, watcher) {
            Ok(ran) => {
                if matches!(ran.end, StepEnd::Failed(_)) {
                    self.disconnect();
                }
                ran
            }
            Err(trouble) => {
                self.disconnect();
                let end =
                    if limit.is_interrupted() { StepEnd::Interrupted } else { StepEnd::Failed(trouble) };
                Ran::silent(end)
            }
        }
    }

    fn heal_command(&self, case: &str) -> Option<String> {
        let script = deadman::heal_path(self.folder.as_deref()?, case);
        let port = match self.target.port {
            22 => String::new(),
            port => format!("-p {port} "),
        };
        let mut options = String::new();
        if let Some(file) = &self.login.identity_file {
            options.push_str(&format!("-i {} ", quote(&file.display().to_string())));
        }
        if let Some(file) = self.login.own_known_hosts() {
            options
                .push_str(&format!("-o {} ", quote(&format!("UserKnownHostsFile=\"{}\"", file.display()))));
        }
        Some(format!(
            "ssh {port}{options}{}@{} sh {}",
            quote(&self.login.user),
            quote(&self.target.host),
            quote(&quote(&script))
        ))
    }

    fn clean_up(&mut self, limit: Limit<'_>) -> Result<bool, Trouble> {
        if self.taken_over {
            self.connect(limit)?;
            self.make_folder(limit)?;
        }
        let Some(folder) = self.folder.clone() else {
            return Ok(true);
        };
        self.connect(limit)?;
        // A case's folder goes in the background after its revert; one that stays heals its host, or will.
        let mut text = format!("F={}\nleft={CASES_LEFT}\ncd / || exit 1\n", quote(&folder));
        text.push_str(match self.taken_over {
            // Nothing that an older run has left here is dirty, so what heals it is only in the way.
            true => "for c in \"$F\"/.case-*; do [ -s \"$c/watcher\" ] && kill \"$(cat \"$c/watcher\")\" 2>/dev/null; done\n",
            // A case's folder goes in the background after its revert; one that stays heals its host, or will.
            false => {
                "cases() { for c in \"$F\"/.case-*; do [ -e \"$c\" ] && return 0; done; return 1; }\n\
                 n=0; while cases; do [ $n -lt 2 ] || exit $left; sleep 1; n=$((n+1)); done\n"
            }
        });
        // Whoever has put files elsewhere: another executor of the book's may be gone.
        text.push_str(
                "for p in \"$F\"/.put-*; do [ -e \"$p\" ] || continue; n=${p##*/.put-}; path=$(cat \"$p\")\n\
                 if [ -e \"$F/.was-$n\" ] || [ -L \"$F/.was-$n\" ]; then mv -f -- \"$F/.was-$n\" \"$path\"; else rm -f -- \"$path\"; fi; done\n\
                 if [ -e \"$F/.made\" ]; then sort -r \"$F/.made\" | while IFS= read -r d; do rmdir -- \"$d\" 2>/dev/null; done; fi\n",
            );
        text.push_str("rm -rf -- \"$F\" && { rmdir -- \"${F%/*}\" 2>/dev/null; exit 0; }\n");
        let (end, _, stderr) = self.shell("exec /bin/sh", text.as_bytes(), limit)?;
        if end == Exit::Status(CASES_LEFT) {
            return Ok(false);
        }
        if !end.is_success() {
            return Err(Trouble {
                kind: TroubleKind::Upload,
                message: format!(
                    "{}: cannot remove {folder}: {}",
                    self.target.shown,
                    last_line(&stderr, &end)
                ),
            });
        }
        self.folder = None;
        self.brought.clear();
        Ok(true)
    }

    fn forget(&mut self) {
        self.disconnect();
        self.brought.clear();
        self.folder = None;
    }

    fn disconnect(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        // Without a socket to wait for, no drop of libssh2's can wait.
        let _ = connection.stream.shutdown(std::net::Shutdown::Both);
        drop(connection.sftp);
        drop(connection.session);
    }
}

impl Drop for SshHost {
    fn drop(&mut self) {
        self.disconnect();
    }
}

fn last_line(stderr: &str, end: &Exit) -> String {
    stderr.lines().rev().find(|line| !line.trim().is_empty()).map_or_else(|| end.to_string(), str::to_owned)
}
