//! A host over SSH, with libssh2: one connection, scripts brought over it, commands run on it one after the other. One thread
//! owns it. What is said to the host's shell is made in `host`; here it is said, and what comes of it is understood.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::fatebook::Redactor;
use crate::machine::{
    Exit, HealedBy, HostMark, HostRecord, Induced, Lease, LeaseAdvice, LeaseState, StepEnd, Trouble,
    TroubleKind, digits_of,
};

use super::connection::{Connection, Route, Waiter};
use super::exchange::{ASIDE, CUT_OFF, Exchange, Over, channel_exit, close};
use super::here::{self, HereLine};
use super::host::{self, FileFacts, Reverting, Site, Whole};
use super::login::{Login, Target, others_may_read};
use super::own::{Answer, Brought, Desk, Shell, cksum};
use super::quote::quote;
use super::script::{Arming, Healing, HostScript, Marks, Role};
use super::{Job, Left, Limit, Parcel, Ran, Remote, Watcher, random_hex, time_since_boot};

mod bring;
mod ground;
mod heal;
mod who;
mod work;

use heal::says_that_it_is_gone;

/// A host, and the connection to it if there is one.
pub struct SshHost {
    target: Target,
    login: Login,
    redactor: Redactor,
    connection: Option<Connection>,
    /// The inducer's shell, where that is done here and what it has left running holds its output.
    held_here: Option<HereLine>,
    route: Route,
    /// What the host told on the present connection.
    ground: Option<Ground>,
    /// The absolute path of the folder of our own there, once it was made.
    folder: Option<String>,
    /// The other folders of ours that were made there: where one could not be used any more, another one was.
    former_folders: Vec<String>,
    /// The folder's name: the same for all who carry out cases of this book on this host in this run.
    folder_name: String,
    /// What this executor is called in tombstones.
    healer: String,
    /// Tells whether the run behind a lease is alive, if it is one of this machine.
    controllers: fn(&str) -> Option<bool>,
    /// Whether what dead runs have left may be healed.
    may_heal: bool,
    /// What was brought there, by destination.
    brought: HashMap<String, Content>,
    /// What was proven to be able to begin there.
    checked: HashSet<String>,
    /// Who has the host was looked at on this connection.
    looked: bool,
    /// The marks of the cases that were begun here.
    cases: Vec<String>,
    /// The machine that we run on must not be broken.
    spares_own: bool,
    /// It was told that the host is the machine that we run on.
    told_own: bool,
    /// Whatever lies in the folder is an older run's.
    takes_over: bool,
    /// Nothing answers any more on the connection.
    is_silent: bool,
    /// How long nothing had come from the host when the connection was lost within an inducer that may cut it off.
    silent_for: Option<Duration>,
    /// The host's SFTP says nothing.
    without_sftp: bool,
    /// What the host that is being healed tells; times by [`time_since_boot`].
    record: Option<HostRecord>,
    /// Whose case has left the host as it may be broken, as its lease says, if it was found so.
    left_broken: Option<String>,
    /// Since when the present lease of somebody else was seen.
    seen: Option<(String, Instant)>,
    /// The present case.
    case: HostMark,
    /// Whether any case has armed the host.
    has_armed: bool,
    /// Whether the present case was to arm it before its inducer is handed out.
    is_armed: bool,
    /// Whether the present case is an earlier attempt, of which only its record tells.
    is_remembered: bool,
    /// Whether the present case's inducer is known to have begun.
    has_begun: bool,
    /// Whether what it has left running holds its output.
    leaves_output: bool,
    /// Whether it is over, or was never handed out.
    is_inducer_over: bool,
    /// The files that were there when the present case was armed: what heals is whole only if it is that.
    armed: Vec<FileFacts>,
    /// What a person should know of the last command.
    notes: Vec<String>,
    /// When the last text was sent, by the clock that goes on while this machine sleeps.
    sent_at: Duration,
}

/// What a host told of itself.
#[derive(Clone, Debug, Default)]
struct Ground {
    identity: String,
    setsid: bool,
    cksum: bool,
    reach: String,
}

/// What a file held when it was brought.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    source: PathBuf,
    modified: Option<SystemTime>,
    bytes: usize,
    checksum: u32,
}

impl SshHost {
    /// A host that is not connected to yet. `folder_name` is that of the folder of our own there: one that nobody can guess
    /// or meet by chance. `controllers` tells whether the run that calls itself so is alive, where it is one of this machine.
    pub fn new(
        target: Target,
        login: Login,
        folder_name: String,
        redactor: Redactor,
        controllers: fn(&str) -> Option<bool>,
        may_heal: bool,
    ) -> Self {
        Self {
            target,
            login,
            redactor,
            connection: None,
            held_here: None,
            route: Route::default(),
            ground: None,
            folder: None,
            former_folders: Vec::new(),
            folder_name,
            // Without random bytes nothing can be run there either.
            healer: random_hex().unwrap_or_default(),
            controllers,
            may_heal,
            brought: HashMap::new(),
            checked: HashSet::new(),
            looked: false,
            cases: Vec::new(),
            spares_own: false,
            told_own: false,
            takes_over: false,
            is_silent: false,
            silent_for: None,
            without_sftp: false,
            record: None,
            left_broken: None,
            seen: None,
            case: HostMark::default(),
            has_armed: false,
            is_armed: false,
            is_remembered: false,
            has_begun: false,
            leaves_output: false,
            is_inducer_over: true,
            armed: Vec::new(),
            notes: Vec::new(),
            sent_at: Duration::ZERO,
        }
    }

    /// The machine that this process runs on is not prepared: whoever runs there would be broken with it. One that is reached through a
    /// port of its own on loopback is another, or meant.
    pub fn spare_own_machine(&mut self) {
        self.spares_own = true;
    }

    /// The name of the folder of our own there.
    pub fn folder_name(&self) -> &str {
        &self.folder_name
    }

    /// A case begins: one that may have broken the host before, if `mark` says so. Fails if this machine gives no random bytes.
    pub fn begin_case(&mut self, mark: Option<&HostMark>) -> Result<(), String> {
        self.has_begun = false;
        self.leaves_output = false;
        self.is_armed = false;
        self.is_remembered = mark.is_some();
        // What an earlier attempt has begun may be at work.
        self.is_inducer_over = mark.is_none();
        self.armed.clear();
        self.case = match mark {
            Some(mark) => {
                self.has_armed = true;
                self.route = Route {
                    first: mark.address.parse().ok(),
                    host_key: Some(mark.host_key.clone()).filter(|key| !key.is_empty()),
                    ..Route::default()
                };
                mark.clone()
            }
            None => {
                if self.connection.is_none() {
                    self.route = Route::default();
                }
                HostMark { mark: random_hex()?, ..HostMark::default() }
            }
        };
        self.cases.push(self.case.mark.clone());
        Ok(())
    }

    /// What proves, later, that a machine is the one that the case breaks: from now on that is this one. The host is prepared.
    pub fn settle_mark(&mut self) -> HostMark {
        let (folder, ground) =
            (self.folder.clone().unwrap_or_default(), self.ground.clone().unwrap_or_default());
        let (address, host_key) = match &self.connection {
            Some(connection) => (connection.address.to_string(), connection.host_key.clone()),
            None => Default::default(),
        };
        self.case =
            HostMark { mark: self.case.mark.clone(), folder, identity: ground.identity, address, host_key };
        self.case.clone()
    }

    /// What could end a dead man's switch there, in the word of the text that has looked; empty if nobody has.
    pub fn reach(&self) -> &str {
        self.ground.as_ref().map_or("", |ground| &ground.reach)
    }

    /// Whether any case has armed the host.
    pub fn has_armed(&self) -> bool {
        self.has_armed
    }

    /// How long nothing had come from the host when the last command ended, if that was an inducer that may cut it off.
    pub fn take_silence(&mut self) -> Option<Duration> {
        self.silent_for.take()
    }

    /// What the host tells of its inducer and of itself, if the last command has read it; times by [`time_since_boot`].
    pub fn take_induced(&mut self) -> Option<HostRecord> {
        self.record.take()
    }

    /// What a person should know of the last command.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// When the last command for a script was sent, by [`time_since_boot`].
    pub fn sent_at(&self) -> Duration {
        self.sent_at
    }

    fn desk<'a>(&'a self, limit: Limit<'a>) -> Result<Desk<'a>, Trouble> {
        match &self.connection {
            Some(connection) => Ok(Desk { connection, limit, shown: &self.target.shown }),
            None => Err(Trouble {
                kind: TroubleKind::Connection,
                message: format!("{}: the connection is gone", self.target.shown),
            }),
        }
    }

    fn token(&self) -> Result<String, Trouble> {
        random_hex().map_err(|message| Trouble { kind: TroubleKind::Start, message })
    }

    /// Whether what is done is done on this machine.
    fn is_here(&self) -> bool {
        self.target.here.is_some()
    }

    /// Runs one of our own texts. Fails unless all of it ran to its end.
    fn answer(&self, text: &Whole, doing: &str, limit: Limit<'_>) -> Result<Answer, Trouble> {
        match self.is_here() {
            true => here::ask(text, limit, &self.target.shown),
            false => self.desk(limit)?.ask(text, doing),
        }
    }

    /// The same; fails if that ends with another status than 0, too.
    fn ask(&self, text: &Whole, doing: &str, limit: Limit<'_>) -> Result<String, Trouble> {
        self.answer(text, doing, limit)?.had(&self.target.shown, doing)
    }

    fn forget_folder(&mut self) {
        self.brought.clear();
        self.checked.clear();
        self.former_folders.extend(self.folder.take());
    }
}

impl Remote for SshHost {
    fn prepare(&mut self, job: &Job<'_>, limit: Limit<'_>) -> Result<(), StepEnd> {
        let result = self.connect(true, limit).map_err(StepEnd::Failed).and_then(|()| {
            if !self.looked {
                self.look(limit)?;
                self.looked = true;
            }
            self.bring_all(job.parcels, limit)
                .and_then(|()| self.check(&job.scripts, limit))
                .map_err(StepEnd::Failed)
        });
        if let Err(StepEnd::Failed(trouble)) = &result
            && trouble.kind != TroubleKind::Arming
        {
            // Whatever the reason, the next try begins from nothing.
            self.disconnect();
        }
        result
    }

    fn arm(&mut self, script: &HostScript, limit: Limit<'_>, watcher: Watcher<'_>) -> Ran {
        let result = match &script.role {
            Role::Breaks(arming) => self.arm_only(script, &arming.clone(), limit, watcher),
            Role::Bystander | Role::Heals(_) => Err(Trouble {
                kind: TroubleKind::Arming,
                message: format!("{}: a host is armed for what breaks it", self.target.shown),
            }),
        };
        self.ran(result, limit)
    }

    fn run(&mut self, script: &HostScript, limit: Limit<'_>, watcher: Watcher<'_>) -> Ran {
        let result = match &script.role {
            Role::Bystander => self.run_bystander(script, limit, watcher),
            Role::Breaks(arming) => {
                let arming = arming.clone();
                self.is_inducer_over = false;
                let result = self.induce(script, &arming, limit, watcher);
                self.is_inducer_over =
                    result.as_ref().is_ok_and(|ran| matches!(ran.end, StepEnd::Exited(Exit::Status(_))));
                result
            }
            Role::Heals(healing) => {
                let healing = healing.clone();
                self.heal(script, &healing, limit, watcher)
            }
        };
        self.ran(result, limit)
    }

    fn heal_again(
        &mut self,
        script: &HostScript,
        parcels: &[Parcel],
        limit: Limit<'_>,
        watcher: Watcher<'_>,
    ) -> Ran {
        self.disconnect();
        let Role::Heals(healing) = script.role.clone() else {
            return self.run(script, limit, watcher);
        };
        let mut result = self.heal(script, &healing, limit, watcher);
        // What was broken may have taken the reverter away. Where it is whole it is not brought again, whatever it ends with. What
        // an older run has armed is known to be whole or not by its own text alone, and is never written over where it is.
        let is_gone = match &result {
            Ok(ran) if healing.as_armed => says_that_it_is_gone(ran, &self.redactor),
            Ok(ran) => matches!(ran.end, StepEnd::Exited(Exit::Status(126 | 127))),
            Err(trouble) => trouble.kind == TroubleKind::Upload && !healing.as_armed,
        };
        if is_gone {
            let own: Vec<Parcel> = parcels
                .iter()
                .filter(|parcel| script.own_file().is_some_and(|file| parcel.name() == file))
                .cloned()
                .collect();
            match self.bring_what_heals(&own, limit) {
                Ok(true) => {
                    result = self.heal_from_here(script, &healing, limit, watcher);
                    if healing.as_armed && result.as_ref().is_ok_and(|ran| ran.end.is_success()) {
                        self.notes.push(format!(
                            "{}: the reverter that was armed there was gone; the book's, as it is now, did it in its place",
                            self.target.shown
                        ));
                    }
                }
                Ok(false) => {}
                Err(trouble) => {
                    let told = match &result {
                        Ok(ran) => ran.end.to_string(),
                        Err(first) => first.message.clone(),
                    };
                    let message = format!("{told}; {}", trouble.message);
                    result = Err(Trouble { message, ..trouble });
                }
            }
        }
        let failed = match &result {
            Ok(ran) if matches!(ran.end, StepEnd::Exited(Exit::Status(status)) if status != 0) => {
                Some(ran.end.to_string())
            }
            Err(trouble) if trouble.kind == TroubleKind::Upload => Some(trouble.message.clone()),
            _ => None,
        };
        if let Some(failed) = failed
            && healing.as_armed
            && healing.is_known
        {
            match self.heal_with_mended(script, &healing, parcels, limit, watcher) {
                Ok(Some(mended)) => {
                    if mended.end.is_success() {
                        self.notes.push(format!(
                            "{}: what was armed there did not heal it ({failed}); the book's reverter, as it is now, did",
                            self.target.shown
                        ));
                        result = Ok(mended);
                    }
                }
                Ok(None) => {}
                Err(trouble) => self.notes.push(trouble.message),
            }
        }
        self.ran(result, limit)
    }

    fn heal_command(&self) -> Option<String> {
        let folder =
            self.folder.as_deref().or(Some(self.case.folder.as_str()).filter(|folder| !folder.is_empty()))?;
        let script = host::heal_path(folder, &self.case.mark);
        if self.is_here() {
            return Some(format!("sh {}", quote(&script)));
        }
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
            "ssh {port}{options}{}@{} {} {}",
            quote(&self.login.user),
            quote(&self.target.host),
            if self.login.becomes_root { host::shell(true) } else { "sh" },
            quote(&quote(&script))
        ))
    }

    fn clean_up(&mut self, limit: Limit<'_>) -> Result<Left, Trouble> {
        let known = Some(self.case.folder.clone()).filter(|folder| !folder.is_empty());
        let mut folders = self.former_folders.clone();
        folders.extend(self.folder.clone().or(known).filter(|folder| !folders.contains(folder)));
        if folders.is_empty() {
            return Ok(Left::Clean);
        }
        self.connect(false, limit)?;
        let mut left = Left::Clean;
        for folder in folders {
            let cases = Some(self.cases.as_slice()).filter(|_| !self.takes_over);
            let text = host::leave(&self.token()?, &folder, cases);
            let answer = self.ask(&text, &format!("cannot remove {folder}"), limit)?;
            for kept in answer.lines().filter_map(|line| line.strip_prefix("kept ")) {
                self.notes.push(format!("{}: {kept}", self.target.shown));
                left = Left::Dirty;
            }
            match answer.lines().next_back() {
                Some("left dirty") => left = Left::Dirty,
                Some("left shared") if left == Left::Clean => left = Left::Shared,
                _ => {}
            }
        }
        if left == Left::Clean {
            self.forget_folder();
            self.former_folders.clear();
        }
        Ok(left)
    }

    fn disconnect(&mut self) {
        if self.is_here() {
            self.held_here = None;
            self.ground = None;
            self.looked = false;
        }
        let Some(connection) = self.connection.take() else {
            return;
        };
        self.ground = None;
        // Without a socket to wait for, no drop of libssh2's can wait.
        let _ = connection.stream.shutdown(std::net::Shutdown::Both);
        drop(connection);
    }
}

impl SshHost {
    fn ran(&mut self, result: Result<Ran, Trouble>, limit: Limit<'_>) -> Ran {
        match result {
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
}

impl Drop for SshHost {
    fn drop(&mut self) {
        self.disconnect();
    }
}

/// Whether a text can be shown, and put into a terminal again, as it is: nothing in it moves a cursor, ends a paste, or turns what
/// stands behind it around.
fn is_showable(text: &str) -> bool {
    text.chars().all(crate::machine::is_plain)
}

/// The name that a file has in our folder: in a folder of its own if it is for elsewhere, for a script may look what it is called.
pub(super) fn name_in_folder(destination: &str) -> String {
    match destination.rsplit_once('/').filter(|_| destination.starts_with('/')) {
        Some((_, name)) => format!(".file-{}/{name}", digits_of(destination)),
        None => destination.to_owned(),
    }
}
