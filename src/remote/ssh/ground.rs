//! The ground that a connection stands on: what the host is, and the folder of our own there.

use super::*;
use crate::remote::controller::is_this_machine;

impl SshHost {
    /// Connects if need be, proves that what runs there is ours, and makes the folder of our own if it `makes` one.
    pub(super) fn connect(&mut self, makes: bool, limit: Limit<'_>) -> Result<(), Trouble> {
        if self.connection.is_none() && !self.is_here() {
            let mut connection = Connection::open(&self.target, &self.login, &self.route, limit)?;
            connection.without_sftp |= self.without_sftp;
            self.connection = Some(connection);
            self.ground = None;
            self.looked = false;
            let key =
                self.login.identity_file.as_deref().filter(|key| !self.has_armed && others_may_read(key));
            self.notes.extend(key.map(|key| {
                let key = key.display().to_string();
                format!("others may read or change the private key {key}: `chmod 600 {}`", quote(&key))
            }));
        }
        if self.ground.is_some() && (!makes || self.folder.is_some()) {
            return Ok(());
        }
        let text = host::probe(&self.token()?, &self.folder_name, makes, self.is_remembered);
        let answer = self
            .ask(&text, "cannot make a folder there", limit)
            .map_err(|trouble| self.told_of_root(trouble))?;
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
        let is_new = makes && !self.has_armed && !self.is_here();
        if is_new && is_this_machine(&ground.identity) && self.is_in_own_network(limit)? {
            let shown = &self.target.shown;
            if self.spares_own {
                return Err(Trouble {
                    kind: TroubleKind::OwnHost,
                    message: format!(
                        "{shown}: the Mesos agent that this case runs on is that host itself: breaking it would end the case"
                    ),
                });
            }
            if !std::mem::replace(&mut self.told_own, true) {
                let note = "is the machine that this run is on: what breaks it may break the run, too";
                self.notes.push(format!("{shown} {note}"));
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

    /// What fails first where a user may not become root.
    fn told_of_root(&self, trouble: Trouble) -> Trouble {
        if !self.login.becomes_root || trouble.kind == TroubleKind::Connection {
            return trouble;
        }
        let user = &self.login.user;
        let message = format!(
            "{}. The book says `become`: {user} has to be allowed to run `sudo -n /bin/sh` there (in sudoers: `{user} ALL=(root) NOPASSWD: /bin/sh`)",
            trouble.message
        );
        Trouble { message, ..trouble }
    }

    /// A port of its own on loopback is the way to another machine, or meant; and a network of its own makes another one of it.
    fn is_in_own_network(&mut self, limit: Limit<'_>) -> Result<bool, Trouble> {
        if self.is_by_own_port() {
            return Ok(false);
        }
        let own = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
        let told = self.ask(&host::network(&self.token()?), "cannot tell its network", limit)?;
        Ok(std::path::Path::new(told.trim()) == own)
    }

    /// Whether it is reached through a port of its own on loopback.
    fn is_by_own_port(&self) -> bool {
        let address = self.connection.as_ref().map(|connection| connection.address);
        address.is_some_and(|address| address.ip().is_loopback() && address.port() != 22)
    }

    pub(super) fn site<'a>(&'a self, ground: &'a Ground) -> Site<'a> {
        Site {
            folder: self.folder.as_deref().unwrap_or(&self.case.folder),
            identity: &ground.identity,
            mark: &self.case.mark,
            healer: &self.healer,
            becomes_root: self.login.becomes_root,
            setsid: ground.setsid,
            tells_others: !self.is_here() && !self.is_by_own_port(),
            scope: self.target.here.as_deref().unwrap_or_default(),
            reach: &ground.reach,
            files: self.known_files(),
        }
    }

    /// What is known of the files of ours there: as they were brought, or else as they were when the case was armed.
    fn known_files(&self) -> Vec<FileFacts> {
        let mut files = self.files();
        for armed in &self.armed {
            if !files.iter().any(|facts| facts.name == armed.name) {
                files.push(armed.clone());
            }
        }
        files
    }

    /// What is known of the files of ours there, as they were brought.
    pub(super) fn files(&self) -> Vec<FileFacts> {
        let has_cksum = self.ground.as_ref().is_some_and(|ground| ground.cksum);
        let facts = |(destination, content): (&String, &Content)| FileFacts {
            name: name_in_folder(destination),
            put_to: Some(destination.clone()).filter(|destination| destination.starts_with('/')),
            bytes: content.bytes,
            checksum: has_cksum.then_some(content.checksum),
        };
        self.brought.iter().map(facts).collect()
    }
}
