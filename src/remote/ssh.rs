//! A host over SSH, with libssh2: one connection, scripts brought over it, commands run on it one after the other. One thread
//! owns it. What is said to the host's shell is made in `host`; here it is said, and what comes of it is understood.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::fatebook::Redactor;
use crate::machine::{
    Exit, HealedBy, HostMark, Induced, Lease, LeaseAdvice, LeaseState, StepEnd, Trouble, TroubleKind,
    digits_of,
};

use super::connection::{Connection, Route};
use super::exchange::{ASIDE, Exchange, Over, channel_exit, close};
use super::host::{self, FileFacts, Reverting, Site, Whole};
use super::login::{Login, Target, others_may_read};
use super::own::{Brought, Desk, Shell, cksum};
use super::quote::quote;
use super::script::{Arming, Healing, HostScript, Marks, Role};
use super::{Job, Left, Limit, Parcel, Ran, Remote, Watcher, random_hex, time_since_boot};

/// How many addresses of one name are asked whether they are the machine that was broken.
const ADDRESSES_MAX: usize = 16;
/// How long a lease without a word in it is looked at before it is taken away: whoever made it has died in that moment.
const WORDLESS_FOR: Duration = Duration::from_secs(5);
/// How soon a host is looked at again whose dead man's switch is all that is known of the case that has it.
const WATCHED_FOR: Duration = Duration::from_secs(5);

/// A host, and the connection to it if there is one.
pub struct SshHost {
    target: Target,
    login: Login,
    redactor: Redactor,
    connection: Option<Connection>,
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
    /// Whatever lies in the folder is an older run's.
    takes_over: bool,
    /// Nothing answers any more on the connection.
    is_silent: bool,
    /// The host's SFTP says nothing.
    without_sftp: bool,
    /// What the host that is being healed has written down of its inducer.
    induced: Option<Induced>,
    /// Since when the present lease of somebody else was seen.
    seen: Option<(String, Instant)>,
    /// The present case.
    case: HostMark,
    /// Whether any case has armed the host.
    has_armed: bool,
    /// Whether the present case's inducer is known to have begun.
    has_begun: bool,
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
            takes_over: false,
            is_silent: false,
            without_sftp: false,
            induced: None,
            seen: None,
            case: HostMark::default(),
            has_armed: false,
            has_begun: false,
            notes: Vec::new(),
            sent_at: Duration::ZERO,
        }
    }

    /// The name of the folder of our own there.
    pub fn folder_name(&self) -> &str {
        &self.folder_name
    }

    /// A case begins: one that may have broken the host before, if `mark` says so. Fails if this machine gives no random bytes.
    pub fn begin_case(&mut self, mark: Option<&HostMark>) -> Result<(), String> {
        self.has_begun = false;
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

    /// Whether any case has armed the host.
    pub fn has_armed(&self) -> bool {
        self.has_armed
    }

    /// What the host has written down of its inducer, if the last command has read it.
    pub fn take_induced(&mut self) -> Option<Induced> {
        self.induced.take()
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

    /// Connects if need be, proves that what runs there is ours, and makes the folder of our own if it `makes` one.
    fn connect(&mut self, makes: bool, limit: Limit<'_>) -> Result<(), Trouble> {
        if self.connection.is_none() {
            let mut connection = Connection::open(&self.target, &self.login, &self.route, limit)?;
            connection.without_sftp = self.without_sftp;
            self.connection = Some(connection);
            self.ground = None;
            self.looked = false;
            let key =
                self.login.identity_file.as_deref().filter(|key| !self.has_armed && others_may_read(key));
            self.notes.extend(key.map(|key| {
                let key = key.display();
                format!("others may read or change the private key {key}: `chmod 600 {key}`")
            }));
        }
        if self.ground.is_some() && (!makes || self.folder.is_some()) {
            return Ok(());
        }
        let answer = self
            .desk(limit)?
            .have(&host::probe(&self.token()?, &self.folder_name, makes), "cannot make a folder there")?;
        let mut ground = Ground::default();
        for line in answer.lines() {
            match line.split_once(' ') {
                Some(("folder", folder)) if folder.starts_with('/') && !is_showable(folder) => {
                    return Err(Trouble {
                        kind: TroubleKind::Upload,
                        message: format!(
                            "{}: the home folder there has characters in its name that no terminal shows as they are",
                            self.target.shown
                        ),
                    });
                }
                Some(("folder", folder)) if folder.starts_with('/') => {
                    if self.folder.as_deref() != Some(folder) {
                        self.former_folders.retain(|former| former != folder);
                        // What was brought lies elsewhere.
                        self.brought.clear();
                        self.checked.clear();
                    }
                    self.folder = Some(folder.to_owned());
                }
                Some(("identity", identity)) => ground.identity = identity.to_owned(),
                Some(("has", "setsid")) => ground.setsid = true,
                Some(("has", "cksum")) => ground.cksum = true,
                Some(("reach", way)) => ground.reach = way.to_owned(),
                _ => {}
            }
        }
        self.ground = Some(ground);
        if let Some(connection) = &self.connection
            && self.route.host_key.is_none()
        {
            // From now on this machine is meant, and no other that the name or the address may come to mean.
            self.route.first = Some(connection.address);
            self.route.host_key = Some(connection.host_key.clone());
        }
        Ok(())
    }

    fn site<'a>(&'a self, ground: &'a Ground) -> Site<'a> {
        Site {
            folder: self.folder.as_deref().unwrap_or(&self.case.folder),
            identity: &ground.identity,
            mark: &self.case.mark,
            healer: &self.healer,
            setsid: ground.setsid,
            reach: &ground.reach,
            files: self.files(),
        }
    }

    /// What is known of the files of ours there, as they were brought.
    fn files(&self) -> Vec<FileFacts> {
        let has_cksum = self.ground.as_ref().is_some_and(|ground| ground.cksum);
        let facts = |(destination, content): (&String, &Content)| FileFacts {
            name: name_in_folder(destination),
            put_to: Some(destination.clone()).filter(|destination| destination.starts_with('/')),
            bytes: content.bytes,
            checksum: has_cksum.then_some(content.checksum),
        };
        self.brought.iter().map(facts).collect()
    }

    fn ask(&self, text: &Whole, doing: &str, limit: Limit<'_>) -> Result<String, Trouble> {
        self.desk(limit)?.have(text, doing)
    }

    /// Sees who has the host, and settles what a dead run has left there.
    fn look(&mut self, limit: Limit<'_>) -> Result<(), StepEnd> {
        let ground = self.ground.clone().unwrap_or_default();
        for _ in 0..3 {
            let text = host::look(&self.token().map_err(StepEnd::Failed)?, &self.site(&ground));
            let answer = self.ask(&text, "cannot see who has the host", limit).map_err(StepEnd::Failed)?;
            let line = answer.lines().find_map(|line| line.strip_prefix("host ")).unwrap_or_default();
            if line == "free" {
                self.seen = None;
                return Ok(());
            }
            if let Some(process) = line.strip_prefix("watched ") {
                let message = format!(
                    "{}: a case has the host whose word of it a failure has taken away: its dead man's switch, process {process} there, is still to heal it",
                    self.target.shown
                );
                return Err(StepEnd::Busy { message, within: WATCHED_FOR });
            }
            let lease = Lease::parse(line);
            let key = lease.as_ref().map_or_else(String::new, |lease| lease.mark.clone());
            let since = match &self.seen {
                Some((mark, since)) if *mark == key => *since,
                _ => self.seen.insert((key, Instant::now())).1,
            };
            let Some(lease) = lease else {
                // Whoever makes it writes its word at once, or has died.
                if since.elapsed() < WORDLESS_FOR {
                    let message = format!("{}: another case is about to take the host", self.target.shown);
                    return Err(StepEnd::Busy { message, within: WORDLESS_FOR });
                }
                self.free("", &ground, limit)?;
                continue;
            };
            let alive = (self.controllers)(&lease.who);
            let told = |message: &str| format!("{}: {message}", self.target.shown);
            match lease.advice(alive, since.elapsed(), self.may_heal) {
                LeaseAdvice::Free => self.free(&lease.mark, &ground, limit)?,
                LeaseAdvice::Wait(within, message) => {
                    return Err(StepEnd::Busy { message: told(&message), within });
                }
                LeaseAdvice::Refuse(message) => {
                    return Err(StepEnd::Busy { message: told(&message), within: Duration::ZERO });
                }
                LeaseAdvice::Heal => {
                    let heal = host::heal_path(&lease.folder, &lease.mark);
                    let text = host::heal(&self.token().map_err(StepEnd::Failed)?, &heal);
                    let desk = self.desk(limit).map_err(StepEnd::Failed)?;
                    let answer = desk.ask(&text, "cannot heal it").map_err(StepEnd::Failed)?;
                    // Its own word, and not a status alone: a file that is empty ends with 0, too.
                    let healed = answer.stdout.lines().next_back() == Some("healed");
                    if answer.status != 0 || !healed {
                        let said =
                            answer.stdout.lines().next_back().unwrap_or("no reason was given").to_owned();
                        let message = told(&format!(
                            "the host may be broken by {}, which has died, and could not be healed: {said}",
                            lease.described()
                        ));
                        return Err(StepEnd::Busy { message, within: Duration::ZERO });
                    }
                    self.notes
                        .push(told(&format!("healed first: {} had left the host broken", lease.described())));
                    self.free(&lease.mark, &ground, limit)?;
                }
            }
        }
        let message = format!("{}: others take the host again and again", self.target.shown);
        Err(StepEnd::Busy { message, within: Duration::from_secs(60) })
    }

    fn free(&self, mark: &str, ground: &Ground, limit: Limit<'_>) -> Result<(), StepEnd> {
        let text = host::free(&self.token().map_err(StepEnd::Failed)?, &self.site(ground), mark);
        self.ask(&text, "cannot free the host", limit).map(drop).map_err(StepEnd::Failed)
    }

    /// Brings files that are not there yet, each whole or not at all.
    fn bring_all(&mut self, parcels: &[Parcel], limit: Limit<'_>) -> Result<(), Trouble> {
        let folder = self.folder.clone().unwrap_or_default();
        let has_cksum = self.ground.as_ref().is_some_and(|ground| ground.cksum);
        let (mut placed, mut arrived, mut to_install) = (Vec::new(), Vec::new(), Vec::new());
        for parcel in parcels {
            let metadata = std::fs::metadata(&parcel.source);
            let (length, modified) = metadata
                .map(|metadata| (metadata.len(), metadata.modified().ok()))
                .map_err(|error| cannot_read(parcel, &error))?;
            if self.brought.get(&parcel.destination).is_some_and(|content| {
                content.source == parcel.source
                    && content.modified == modified
                    && content.bytes as u64 == length
            }) {
                continue;
            }
            let bytes = std::fs::read(&parcel.source).map_err(|error| cannot_read(parcel, &error))?;
            let content = Content {
                source: parcel.source.clone(),
                modified,
                bytes: bytes.len(),
                checksum: cksum(&bytes),
            };
            let name = parcel.name();
            let temporary = format!(".in-{}", self.token()?);
            let brought = self.desk(limit)?.bring(&bytes, &folder, &temporary);
            // The next connection does without.
            self.without_sftp |=
                self.connection.as_ref().is_some_and(|connection| connection.sftp_is_silent.get());
            let brought = brought?;
            if brought == Brought::ByCat
                && let Some(connection) = &mut self.connection
            {
                connection.without_sftp = true;
            }
            let checksum = has_cksum.then_some(content.checksum);
            placed.push((
                temporary,
                FileFacts { name: name.clone(), put_to: None, bytes: bytes.len(), checksum },
            ));
            arrived.push((parcel.destination.clone(), content));
            if parcel.destination.starts_with('/') {
                to_install.push((name, parcel.destination.clone()));
            }
            tracing::debug!(host = self.target.shown, file = parcel.destination, "brought");
        }
        if !placed.is_empty() {
            self.ask(&host::place(&self.token()?, &folder, &placed), "cannot bring a file there", limit)?;
        }
        if !to_install.is_empty() {
            let paths: Vec<&str> = to_install.iter().map(|(_, path)| path.as_str()).collect();
            let doing = format!("cannot put {} there", paths.join(", "));
            self.ask(&host::install(&self.token()?, &folder, &to_install), &doing, limit)?;
        }
        self.brought.extend(arrived);
        Ok(())
    }

    /// Forgets of the files that it takes for there those that are not, or not whole.
    fn see_what_is_whole(&mut self, limit: Limit<'_>) -> Result<(), Trouble> {
        let folder = self.folder.clone().unwrap_or_default();
        let known: Vec<(String, FileFacts)> = self.brought.keys().cloned().zip(self.files()).collect();
        let facts: Vec<FileFacts> = known.iter().map(|(_, facts)| facts.clone()).collect();
        let answer = self.ask(
            &host::which_are_whole(&self.token()?, &folder, &facts),
            "cannot see what is there",
            limit,
        )?;
        for (number, (destination, _)) in known.iter().enumerate() {
            if !answer.lines().any(|line| line == format!("whole {number}")) {
                self.brought.remove(destination);
            }
        }
        Ok(())
    }

    fn check(&mut self, scripts: &[&HostScript], limit: Limit<'_>) -> Result<(), Trouble> {
        let folder = self.folder.clone().unwrap_or_default();
        let unproven: Vec<&HostScript> = scripts
            .iter()
            .copied()
            .filter(|script| !self.checked.contains(&script.check_text(&folder)))
            .collect();
        if unproven.is_empty() {
            return Ok(());
        }
        let text = host::check(&self.token()?, &folder, &unproven);
        self.ask(&text, "nothing was broken", limit).map_err(|trouble| match trouble.kind {
            TroubleKind::Upload => Trouble { kind: TroubleKind::Arming, ..trouble },
            _ => trouble,
        })?;
        self.checked.extend(unproven.iter().map(|script| script.check_text(&folder)));
        Ok(())
    }

    /// Runs a text that is for a script, and answers with what its marks say.
    fn run_text(
        &mut self,
        text: &Whole,
        limit: Limit<'_>,
        watcher: Watcher<'_>,
    ) -> Result<(Ran, Option<Marks>), Trouble> {
        self.sent_at = time_since_boot();
        let desk = self.desk(limit)?;
        let waiter = desk.waiter();
        let watch = desk.connection.watchdog.watch(limit);
        let Shell { mut channel, was_spare } = desk.shell()?;
        let framed = text.framed();
        let mut exchange =
            Exchange::new(framed.as_bytes(), self.redactor.longest()).with_next(&desk.connection.spare);
        exchange.marks = Some(Marks::new(&text.token));
        let gone_on = exchange.go_on(&mut channel, &waiter, watcher, Exchange::command_is_over);
        drop(watch);
        // Closing, and ending what runs, have limits of their own.
        let closing = desk.connection.watchdog.watch(Limit::within(ASIDE * 2, None));
        if was_spare && matches!(gone_on, Ok(Some(Over::Closed))) && !exchange.has_begun() {
            close(&mut channel, &waiter, true);
            desk.connection.spare.give_up(&waiter);
            drop(closing);
            return self.run_text(text, limit, watcher);
        }
        let mut is_silent = false;
        let end = match gone_on {
            Ok(Some(Over::Marked)) => Ok(None),
            Ok(Some(Over::Closed)) => match channel_exit(&mut channel, &waiter) {
                // The shell was ended before it could say how the command ended: only a signal does that.
                Ok(exit @ Exit::Signal(_)) => Ok(Some(StepEnd::Exited(exit))),
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
                is_silent = self.end_process(exchange.marks.as_ref().and_then(Marks::process));
                Ok(Some(if limit.is_interrupted() { StepEnd::Interrupted } else { StepEnd::TimedOut }))
            }
            Err(trouble) => Err(trouble),
        };
        let aside = Limit::within(ASIDE, None);
        if let Ok(desk) = self.desk(aside) {
            close(&mut channel, &desk.waiter(), !is_silent);
        }
        drop(channel);
        drop(closing);
        let mut marks = exchange.marks.take();
        let held = marks.as_mut().map(Marks::finish).unwrap_or_default();
        let has_begun = marks.as_ref().is_some_and(|marks| marks.get('b').is_some());
        exchange.stderr.push(&held);
        let clean = |text: &str| self.redactor.clean(text);
        let (stdout, stderr) = (exchange.stdout.finish(clean), exchange.stderr.finish(clean));
        self.is_silent |= is_silent;
        self.has_begun |= has_begun;
        let (end, marks) = match end {
            Ok(None) => {
                (StepEnd::Exited(Exit::Status(marks.as_ref().and_then(Marks::status).unwrap_or(1))), marks)
            }
            Ok(Some(end)) => (end, None),
            Err(trouble) => (StepEnd::Failed(trouble), None),
        };
        Ok((Ran { end, stdout, stderr }, marks))
    }

    /// Ends the process group that the command's shell leads, and all that it has begun, from a channel beside it. Answers with
    /// whether nothing answers there any more.
    fn end_process(&self, process: Option<u32>) -> bool {
        let (Some(process), Ok(token)) = (process, self.token()) else { return false };
        let text = host::end(&token, process, &self.case.mark);
        if let Err(trouble) = self.ask(&text, "cannot end a process", Limit::within(ASIDE, None)) {
            tracing::warn!(
                host = self.target.shown,
                process,
                error = trouble.message,
                "a process may be left behind"
            );
            let refuses =
                self.connection.as_ref().is_some_and(|connection| connection.refuses_channels.get());
            return !refuses && matches!(trouble.kind, TroubleKind::Connection | TroubleKind::Timeout);
        }
        false
    }

    fn run_bystander(
        &mut self,
        script: &HostScript,
        limit: Limit<'_>,
        watcher: Watcher<'_>,
    ) -> Result<Ran, Trouble> {
        self.connect(true, limit)?;
        let ground = self.ground.clone().unwrap_or_default();
        let text = host::command(&self.token()?, script, &self.site(&ground));
        self.run_text(&text, limit, watcher).map(|(ran, _)| ran)
    }

    /// Arms the host and breaks it.
    fn induce(
        &mut self,
        script: &HostScript,
        arming: &Arming,
        limit: Limit<'_>,
        watcher: Watcher<'_>,
    ) -> Result<Ran, Trouble> {
        // What was written down names this machine, at this address, and no other is broken.
        self.route.only = true;
        let connected = self.connect(true, limit);
        self.route.only = false;
        connected?;
        let ground = self.ground.clone().unwrap_or_default();
        self.has_armed = true;
        let (folder, case) = (self.folder.clone().unwrap_or_default(), self.case.mark.clone());
        let healer = self.healer.clone();
        let site = Site {
            folder: &folder,
            identity: &ground.identity,
            mark: &case,
            healer: &healer,
            setsid: ground.setsid,
            reach: &ground.reach,
            files: self.files(),
        };
        if !ground.setsid && arming.deadline.is_some() {
            // A watcher that is in the inducer's session would be ended with it.
            let text = host::arm(&self.token()?, script, arming, &site);
            let (ran, marks) = self.run_text(&text, limit, watcher)?;
            match marks {
                Some(marks) if marks.status() == Some(0) => {}
                marks => return Ok(self.was_induced(ran, marks)),
            }
        }
        let text = host::induce(&self.token()?, script, arming, &site);
        self.is_silent = false;
        let (ran, marks) = self.run_text(&text, limit, watcher)?;
        if ran.end == StepEnd::TimedOut && self.is_silent {
            return Err(Trouble {
                kind: TroubleKind::Connection,
                message: format!("{}: nothing answers any more on the connection", self.target.shown),
            });
        }
        Ok(self.was_induced(ran, marks))
    }

    /// What the marks of a text that arms and breaks the host say beside its status.
    fn was_induced(&mut self, mut ran: Ran, marks: Option<Marks>) -> Ran {
        let Some(marks) = marks else { return ran };
        let folder = self.folder.clone().unwrap_or_default();
        let said =
            |ran: &Ran| ran.stderr.last_lines(20).0.into_iter().rev().find(|line| !line.trim().is_empty());
        if let Some(why) = marks.get('a') {
            ran.end = match why {
                2 => {
                    self.looked = false;
                    let message = format!("{}: another case has the host", self.target.shown);
                    StepEnd::Busy { message, within: Duration::from_secs(1) }
                }
                5 => {
                    self.forget_folder();
                    let message = format!("{folder} is gone from {}", self.target.shown);
                    StepEnd::Busy { message, within: Duration::from_secs(1) }
                }
                6 => {
                    // What else lies there is not known to be whole either.
                    self.brought.clear();
                    let message = format!(
                        "a file of the book was changed on {}: all are brought anew",
                        self.target.shown
                    );
                    StepEnd::Busy { message, within: Duration::from_secs(1) }
                }
                _ => {
                    let why = said(&ran).unwrap_or_else(|| "no reason was given".to_owned());
                    StepEnd::Failed(Trouble {
                        kind: TroubleKind::Arming,
                        message: format!(
                            "{}: cannot leave what heals the host in {folder}, so nothing was broken: {why}",
                            self.target.shown
                        ),
                    })
                }
            };
        } else if let Some(status) = marks.get('c') {
            ran.end = StepEnd::Declined(i32::try_from(status).unwrap_or(i32::MAX));
        }
        ran
    }

    /// Heals the machine that was broken, whichever of the name's addresses it has now.
    fn heal(
        &mut self,
        script: &HostScript,
        healing: &Healing,
        again: bool,
        limit: Limit<'_>,
        watcher: Watcher<'_>,
    ) -> Result<Ran, Trouble> {
        self.route.not.clear();
        let mut others = Vec::new();
        let mut brought_anew = false;
        for _ in 0..ADDRESSES_MAX {
            match self.connect(false, limit) {
                Ok(()) => {}
                Err(trouble) if trouble.kind == TroubleKind::OtherMachine => {
                    others.push(trouble.message);
                    self.not_here()?;
                    continue;
                }
                Err(trouble) if others.is_empty() => return Err(trouble),
                Err(_) => break,
            }
            let ground = self.ground.clone().unwrap_or_default();
            let case_folder = host::case_folder(
                match self.case.folder.as_str() {
                    "" => self.folder.as_deref().unwrap_or_default(),
                    folder => folder,
                },
                &self.case.mark,
            );
            let reverting = Reverting {
                case_folder: &case_folder,
                identity: &self.case.identity,
                watched: healing.watched,
                patience_seconds: healing.patience.as_secs() + 1,
                again,
                brought_anew,
                brought_file: None,
                as_armed: healing.as_armed,
                is_known: healing.is_known,
                may_be_unarmed: !self.has_begun,
            };
            let site = self.site(&ground);
            let text = host::revert(&self.token()?, script, &reverting, &site);
            let (mut ran, marks) = self.run_text(&text, limit, watcher)?;
            let Some(marks) = marks else { return Ok(ran) };
            match marks.get('m') {
                None => {
                    self.understand(&mut ran, &marks);
                    return Ok(ran);
                }
                // It is the machine, but what was left on it is gone, or cannot be reached.
                Some(3) if !brought_anew => return Err(self.is_gone(&case_folder)),
                Some(_) => {
                    let address = self.connection.as_ref().map(|connection| connection.address.to_string());
                    others.push(format!(
                        "the machine at {} ({}) is not the one that was broken: {case_folder} is not there",
                        address.unwrap_or_default(),
                        ground.identity
                    ));
                    self.not_here()?;
                }
            }
            brought_anew = false;
        }
        others.dedup();
        Err(Trouble {
            kind: TroubleKind::OtherMachine,
            message: format!(
                "{}: the machine that was broken does not answer{}: {}. When it is known to be well, `pisaura revert --forget` strikes it off",
                self.target.shown,
                match self.case.identity.as_str() {
                    "" => String::new(),
                    identity => format!(" ({identity}, at {})", self.case.address),
                },
                others.join("; ")
            ),
        })
    }

    /// The machine that is connected to is another one: its other addresses are tried.
    fn not_here(&mut self) -> Result<(), Trouble> {
        match &self.connection {
            Some(connection) => self.route.not.push(connection.address),
            // Refused before it was logged in to: the address that was tried is the first that is not ruled out.
            None => {
                use std::net::ToSocketAddrs;
                let named = (self.target.host.as_str(), self.target.port).to_socket_addrs();
                let all = self.route.first.into_iter().chain(named.into_iter().flatten());
                let next = all.into_iter().find(|address| !self.route.not.contains(address));
                self.route.not.extend(next);
            }
        }
        self.disconnect();
        Ok(())
    }

    fn is_gone(&self, case_folder: &str) -> Trouble {
        Trouble {
            kind: TroubleKind::Upload,
            message: format!("{}: {case_folder} is gone, or cannot be reached", self.target.shown),
        }
    }

    /// What the marks of a text that reverts say beside its status.
    fn understand(&mut self, ran: &mut Ran, marks: &Marks) {
        let after =
            |hundredths: i64| u64::try_from(hundredths).ok().map(|count| Duration::from_millis(count * 10));
        for (letter, switch) in [('w', true), ('o', false)] {
            if let Some(healed) = marks.get(letter).filter(|_| ran.end.is_success()) {
                // Both are rounded down. Who healed it later than we began has not healed it before.
                let began = marks.get('t').filter(|began| *began >= 0 && healed >= 0);
                let ago = began.map(|began| (began - healed + 1).max(0));
                ran.end =
                    StepEnd::Healed(HealedBy { switch, after: after(healed), ago: ago.and_then(after) });
            }
        }
        if let Some(status) = marks.get('i') {
            let ended = i32::try_from(status).ok().filter(|status| *status >= 0);
            self.induced = Some(ended.map_or(Induced::Begun, Induced::Ended));
        }
        if let Some(count) = marks.get('n') {
            let what = if count == 1 { "1 process".to_owned() } else { format!("{count} processes") };
            self.notes.push(format!(
                "{}: {what} that the inducer, or a reverter before this one, had left running: ended before the reverter began",
                self.target.shown
            ));
        }
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

    fn run(&mut self, script: &HostScript, limit: Limit<'_>, watcher: Watcher<'_>) -> Ran {
        let result = match &script.role {
            Role::Bystander => self.run_bystander(script, limit, watcher),
            Role::Breaks(arming) => {
                let arming = arming.clone();
                self.induce(script, &arming, limit, watcher)
            }
            Role::Heals(healing) => {
                let healing = healing.clone();
                self.heal(script, &healing, false, limit, watcher)
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
        let mut result = self.heal(script, &healing, true, limit, watcher);
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
    /// Takes over what an older run has left: the folder of this name is looked for, to be cleaned up; and if a dead run still has
    /// the host, whatever is known of it here, that is healed. Answers with what a person should know.
    pub fn take_over(&mut self, limit: Limit<'_>) -> Result<Vec<String>, Trouble> {
        self.connect(true, limit)?;
        self.takes_over = true;
        match self.look(limit) {
            Ok(()) => {}
            Err(StepEnd::Failed(trouble)) => return Err(trouble),
            Err(end) => self.notes.push(end.to_string()),
        }
        Ok(self.take_notes())
    }

    /// Whether the case of this mark has the host and its dead man's switch is armed: for how long at most, and what to tell. Where
    /// nobody knows whether its run is alive, the host may be in use.
    pub fn armed_for(
        &mut self,
        mark: &HostMark,
        limit: Limit<'_>,
    ) -> Result<Option<(Duration, String)>, Trouble> {
        self.begin_case(Some(mark)).map_err(|message| Trouble { kind: TroubleKind::Start, message })?;
        self.connect(false, limit)?;
        let ground = self.ground.clone().unwrap_or_default();
        let text = host::look(&self.token()?, &self.site(&ground));
        let answer = self.ask(&text, "cannot see who has the host", limit)?;
        let line = answer.lines().find_map(|line| line.strip_prefix("host ")).unwrap_or_default();
        let lease =
            Lease::parse(line).filter(|lease| lease.mark == mark.mark && lease.state == LeaseState::Armed);
        Ok(match lease.map(|lease| lease.advice(None, Duration::ZERO, true)) {
            Some(LeaseAdvice::Wait(left, message)) => Some((left, message)),
            _ => None,
        })
    }

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

    /// Brings what the reverter needs where it is not there, or not whole; answers with whether it is worth another try.
    fn bring_what_heals(&mut self, parcels: &[Parcel], limit: Limit<'_>) -> Result<bool, Trouble> {
        // Where the folder was it may not be possible to write any more: another one is looked for.
        let before = self.folder.take();
        self.former_folders.extend(before.clone());
        self.connect(true, limit)?;
        if self.folder != before {
            self.brought.clear();
        }
        self.see_what_is_whole(limit)?;
        let missing = parcels.iter().any(|parcel| !self.brought.contains_key(&parcel.destination));
        self.bring_all(parcels, limit)?;
        Ok(missing || self.folder != before)
    }

    /// Tries the book's reverter as it is now, under another name, if it is another one than what was armed.
    fn heal_with_mended(
        &mut self,
        script: &HostScript,
        healing: &Healing,
        parcels: &[Parcel],
        limit: Limit<'_>,
        watcher: Watcher<'_>,
    ) -> Result<Option<Ran>, Trouble> {
        let own = script.own_file().and_then(|file| parcels.iter().find(|parcel| parcel.name() == file));
        let Some(own) = own.cloned() else { return Ok(None) };
        self.connect(true, limit)?;
        let bytes = std::fs::read(&own.source).map_err(|error| cannot_read(&own, &error))?;
        let content = Content {
            source: own.source.clone(),
            modified: None,
            bytes: bytes.len(),
            checksum: cksum(&bytes),
        };
        self.brought.insert(own.destination.clone(), content);
        self.see_what_is_whole(limit)?;
        if self.brought.contains_key(&own.destination) {
            // It is the same.
            return Ok(None);
        }
        let mended = Parcel { destination: format!("mended-{}", own.name()), ..own };
        self.bring_all(std::slice::from_ref(&mended), limit)?;
        let script = script.with_own_file(&mended.name());
        let healing = Healing { as_armed: false, ..healing.clone() };
        self.heal_from_here(&script, &healing, limit, watcher).map(Some)
    }

    /// Heals the machine with what was just brought to it; where it was armed nothing may be left.
    fn heal_from_here(
        &mut self,
        script: &HostScript,
        healing: &Healing,
        limit: Limit<'_>,
        watcher: Watcher<'_>,
    ) -> Result<Ran, Trouble> {
        let ground = self.ground.clone().unwrap_or_default();
        let folder =
            if self.case.folder.is_empty() { self.folder.clone() } else { Some(self.case.folder.clone()) };
        let case_folder = host::case_folder(&folder.unwrap_or_default(), &self.case.mark);
        let reverting = Reverting {
            case_folder: &case_folder,
            identity: &self.case.identity,
            watched: healing.watched,
            patience_seconds: healing.patience.as_secs() + 1,
            again: true,
            brought_anew: true,
            brought_file: self.files().into_iter().find(|facts| script.own_file() == Some(&facts.name)),
            as_armed: healing.as_armed,
            is_known: healing.is_known,
            may_be_unarmed: false,
        };
        let site = self.site(&ground);
        let text = host::revert(&self.token()?, script, &reverting, &site);
        let (mut ran, marks) = self.run_text(&text, limit, watcher)?;
        let Some(marks) = marks else { return Ok(ran) };
        if marks.get('m').is_some() {
            return Err(Trouble {
                kind: TroubleKind::OtherMachine,
                message: format!(
                    "{}: {case_folder} is gone, so nobody knows whether this is the machine that was broken",
                    self.target.shown
                ),
            });
        }
        self.understand(&mut ran, &marks);
        Ok(ran)
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

fn cannot_read(parcel: &Parcel, error: &std::io::Error) -> Trouble {
    Trouble {
        kind: TroubleKind::Upload,
        message: format!("cannot read {}: {error}", parcel.source.display()),
    }
}

/// Whether what was armed says of its own file that it is not what it was.
fn says_that_it_is_gone(ran: &Ran, redactor: &Redactor) -> bool {
    // What it has printed was redacted, whatever it was.
    let said = redactor.clean(host::NOT_WHOLE);
    ran.end == StepEnd::Exited(Exit::Status(127))
        && ran.stderr.last_lines(20).0.iter().any(|line| line.trim() == said.trim())
}
