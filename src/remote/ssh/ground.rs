//! The ground that a connection stands on: what the host is, and the folder of our own there.

use super::*;

impl SshHost {
    /// Connects if need be, proves that what runs there is ours, and makes the folder of our own if it `makes` one.
    pub(super) fn connect(&mut self, makes: bool, limit: Limit<'_>) -> Result<(), Trouble> {
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

    pub(super) fn site<'a>(&'a self, ground: &'a Ground) -> Site<'a> {
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
