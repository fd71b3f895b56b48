//! Healing a host over SSH: which machine it has to be, what runs there, and who did it before us.

use super::bring::cannot_read;
use super::*;

/// What a host says of an inducer that had begun before it was started anew.
const REBOOTED: i64 = -2;
/// How many addresses of one name are asked whether they are the machine that was broken.
const ADDRESSES_MAX: usize = 16;

impl SshHost {
    /// Heals the machine that was broken, whichever of the name's addresses it has now.
    pub(super) fn heal(
        &mut self,
        script: &HostScript,
        healing: &Healing,
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
                brought_anew,
                brought_file: None,
                as_armed: healing.as_armed,
                is_known: healing.is_known,
                may_be_unarmed: !self.has_begun,
                is_inducer_over: self.is_inducer_over,
            };
            let site = self.site(&ground);
            let text = host::revert(&self.token()?, script, &reverting, &site);
            let (mut ran, marks) = self.run_text(&text, limit, watcher)?;
            let held_here = self.held_here.take();
            let was_taken = match self.desk(Limit::within(ASIDE, None)) {
                Ok(desk) => desk.connection.let_go(&desk.waiter()).is_some_and(|all| all),
                Err(_) => held_here.is_some_and(|mut line| line.had_room()),
            };
            let Some(marks) = marks else { return Ok(ran) };
            match marks.get('m') {
                None => {
                    self.understand(&mut ran, &marks);
                    if std::mem::take(&mut self.leaves_output) && !was_taken {
                        self.record.get_or_insert_default().held_up = true;
                    }
                    return Ok(ran);
                }
                // It is the machine, but what was left on it is gone, or cannot be reached.
                Some(3) if !brought_anew => return Err(self.is_gone(&case_folder)),
                Some(1) if self.is_here() => {
                    return Err(Trouble {
                        kind: TroubleKind::OtherMachine,
                        message: format!(
                            "{}: {case_folder} is gone, so nobody knows whether this is the machine from which it was broken. If you know that it is healthy, `pisaura revert --forget` drops it",
                            self.target.shown
                        ),
                    });
                }
                Some(_) if self.is_here() => {
                    return Err(Trouble {
                        kind: TroubleKind::OtherMachine,
                        message: format!(
                            "{}: it was broken from another machine ({}), and what heals it lies there, in {case_folder}: `pisaura revert` on that machine heals it. If you know that it is healthy, `pisaura revert --forget` drops it",
                            self.target.shown, self.case.identity
                        ),
                    });
                }
                Some(_) => {
                    let address = self.connection.as_ref().map(|connection| connection.address.to_string());
                    others.push(format!(
                        "the machine at {} ({}) is not the one that was broken: {case_folder} is not there, or another's",
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
                "{}: the machine that was broken does not answer{}: {}. If you know that it is healthy, `pisaura revert --forget` drops it",
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
    pub(super) fn not_here(&mut self) -> Result<(), Trouble> {
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

    pub(super) fn is_gone(&self, case_folder: &str) -> Trouble {
        Trouble {
            kind: TroubleKind::Upload,
            message: format!("{}: {case_folder} is gone, or cannot be reached", self.target.shown),
        }
    }

    /// What the marks of a text that reverts say beside its status.
    pub(super) fn understand(&mut self, ran: &mut Ran, marks: &Marks) {
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
            let is_over = if status == REBOOTED { Induced::Rebooted } else { Induced::Begun };
            let induced = ended.map_or(is_over, Induced::Ended);
            let ended_at = marks.get('e').and_then(after).and_then(|ago| self.sent_at.checked_sub(ago));
            self.record = Some(HostRecord { induced, ended_at, ..HostRecord::default() });
        }
        if marks.get('z').is_some() {
            self.record.get_or_insert_default().rebooted = true;
        }
        if let Some(count) = marks.get('k') {
            let what = if count == 1 { "1 process".to_owned() } else { format!("{count} processes") };
            self.notes.push(format!(
                "{}: {what} that the reverter has left running: ended before the service was asked; a service that it starts needs a session of its own (a service manager, or `setsid`)",
                self.target.shown
            ));
        }
        if let Some(count) = marks.get('n') {
            let what = if count == 1 { "1 process".to_owned() } else { format!("{count} processes") };
            self.notes.push(format!(
                "{}: {what} that the inducer, or a reverter before this one, had left running: ended before the reverter began",
                self.target.shown
            ));
        }
    }

    /// Tries the book's reverter as it is now, under another name, if it is another one than what was armed.
    pub(super) fn heal_with_mended(
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
    pub(super) fn heal_from_here(
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
            brought_anew: true,
            brought_file: self.files().into_iter().find(|facts| script.own_file() == Some(&facts.name)),
            as_armed: healing.as_armed,
            is_known: healing.is_known,
            may_be_unarmed: false,
            is_inducer_over: self.is_inducer_over,
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

/// Whether what was armed says of its own file that it is not what it was.
pub(super) fn says_that_it_is_gone(ran: &Ran, redactor: &Redactor) -> bool {
    // What it has printed was redacted, whatever it was.
    let said = redactor.clean(host::NOT_WHOLE);
    ran.end == StepEnd::Exited(Exit::Status(127))
        && ran.stderr.last_lines(20).0.iter().any(|line| line.trim() == said.trim())
}
