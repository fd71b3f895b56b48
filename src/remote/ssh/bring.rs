//! What is brought to a host: files, whole or not at all, and the proof that they can be run there.

use super::*;

impl SshHost {
    /// Brings files that are not there yet, each whole or not at all.
    pub(super) fn bring_all(&mut self, parcels: &[Parcel], limit: Limit<'_>) -> Result<(), Trouble> {
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
            let brought = match self.is_here() {
                true => here::bring(&bytes, &folder, &temporary, &self.target.shown),
                false => self.desk(limit)?.bring(&bytes, &folder, &temporary),
            };
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
    pub(super) fn see_what_is_whole(&mut self, limit: Limit<'_>) -> Result<(), Trouble> {
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

    pub(super) fn check(&mut self, scripts: &[&HostScript], limit: Limit<'_>) -> Result<(), Trouble> {
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

    /// Brings what the reverter needs where it is not there, or not whole; answers with whether it is worth another try.
    pub(super) fn bring_what_heals(&mut self, parcels: &[Parcel], limit: Limit<'_>) -> Result<bool, Trouble> {
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
        // What needs no file needs but to be asked again.
        Ok(missing || self.folder != before || parcels.is_empty())
    }
}

pub(super) fn cannot_read(parcel: &Parcel, error: &std::io::Error) -> Trouble {
    Trouble {
        kind: TroubleKind::Upload,
        message: format!("cannot read {}: {error}", parcel.source.display()),
    }
}
