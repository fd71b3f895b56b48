//! How to log in to each host: as the book says, or to a demo host with the key and port that the run gave it. Starts demo hosts.

use std::sync::Arc;

use crate::executor::Access;
#[cfg(feature = "demo")]
use crate::executor::OwnedFolder;
#[cfg(feature = "demo")]
use crate::fatebook::HostKeyCheck;
use crate::fatebook::{Fatebook, HostEntry, SshOptions};
use crate::machine::digits_of;
use crate::remote::{Login, Target, own_controller, random_hex};
#[cfg(feature = "demo")]
use crate::sandbox::Sandboxes;

/// Knows how to get at the hosts of a run.
pub(super) struct AccessMaker {
    /// Of this run alone.
    run: String,
    /// Whether what dead runs have left on hosts may be healed.
    may_heal: bool,
    #[cfg(feature = "demo")]
    sandboxes: std::collections::HashMap<String, (Sandboxes, OwnedFolder)>,
}

/// What tells two hosts of the machine's network apart: not the user, and not how the port was given.
pub(super) fn host_key(book: &Fatebook, host: &HostEntry) -> String {
    if host.sandbox {
        return format!("sandbox {} of {}", host.host, book.name);
    }
    if host.here {
        return format!("controller of {}, {}", book.service, host.host);
    }
    format!("{} port {}", host.host.to_lowercase(), host.port.unwrap_or(book.ssh.port))
}

impl AccessMaker {
    /// Starts the demo hosts of these books. Fails, saying why, if that cannot be.
    pub(super) fn new(books: &[Arc<Fatebook>], may_heal: bool) -> Result<Self, String> {
        let wanting: Vec<&Arc<Fatebook>> =
            books.iter().filter(|book| book.hosts.iter().any(|host| host.sandbox)).collect();
        let run = random_hex()?;
        #[cfg(feature = "demo")]
        {
            let mut sandboxes = std::collections::HashMap::new();
            for book in wanting {
                if !sandboxes.contains_key(&book.name) {
                    let names =
                        book.hosts.iter().filter(|host| host.sandbox).map(|host| host.host.clone()).collect();
                    let made = OwnedFolder::new()
                        .and_then(|folder| {
                            let sandboxes = Sandboxes::start(names, &book.folder, folder.path())?;
                            Ok((sandboxes, folder))
                        })
                        .map_err(|error| format!("cannot start the demo hosts of {}: {error}", book.name))?;
                    sandboxes.insert(book.name.clone(), made);
                }
            }
            Ok(Self { run, may_heal, sandboxes })
        }
        #[cfg(not(feature = "demo"))]
        match wanting.first() {
            None => Ok(Self { run, may_heal }),
            Some(book) => Err(format!(
                "the book {} has demo hosts (`sandbox:NAME`), and this build cannot make them: build with `--features demo`",
                book.name
            )),
        }
    }

    /// Ends the demo hosts, when the process will not live to drop them.
    pub(super) fn close(&mut self) {
        #[cfg(feature = "demo")]
        self.sandboxes.clear();
    }

    /// What stands for a login where everything is done on this machine.
    fn access_here(&self, book: &Fatebook, host: &HostEntry, folder: String) -> Access {
        let shown = match *host == HostEntry::controller() {
            true => host.to_string(),
            false => format!("{host} (from here)"),
        };
        let mut login = Login::new(&SshOptions::default(), None);
        login.connect_timeout = book.ssh.connect_timeout;
        Access {
            target: Target {
                host: host.host.clone(),
                port: 0,
                shown,
                here: Some(format!("{} {host}", book.service)),
            },
            login,
            folder,
            env: Vec::new(),
            lasting: true,
            controller: own_controller(),
            may_heal: self.may_heal,
        }
    }

    /// How to get at a host of a book.
    pub(super) fn access(&self, book: &Fatebook, host: &HostEntry) -> Result<Access, String> {
        let folder = digits_of(&format!("{} {} {host}", self.run, book.name));
        if host.here {
            return Ok(self.access_here(book, host, folder));
        }
        if host.sandbox {
            #[cfg(feature = "demo")]
            if let Some(login) =
                self.sandboxes.get(&book.name).and_then(|(sandboxes, _)| sandboxes.login(&host.host))
            {
                return Ok(Access {
                    target: Target {
                        host: "127.0.0.1".to_owned(),
                        port: login.port,
                        shown: host.to_string(),
                        here: None,
                    },
                    login: Login {
                        user: login.user,
                        password: None,
                        identity_file: Some(login.identity_file),
                        passphrase: None,
                        becomes_root: false,
                        known_hosts: login.known_hosts,
                        host_key_check: HostKeyCheck::Strict,
                        connect_timeout: book.ssh.connect_timeout,
                        keepalive: book.ssh.keepalive,
                    },
                    folder,
                    env: vec![("PISAURA_SANDBOX".to_owned(), login.homes.display().to_string())],
                    lasting: false,
                    controller: own_controller(),
                    may_heal: self.may_heal,
                });
            }
            return Err(format!("there is no demo host {host}"));
        }
        let port = host.port.unwrap_or(book.ssh.port);
        Ok(Access {
            target: Target { host: host.host.clone(), port, shown: host.to_string(), here: None },
            login: Login::new(&book.ssh, host.user.as_deref()),
            folder,
            env: Vec::new(),
            lasting: true,
            controller: own_controller(),
            may_heal: self.may_heal,
        })
    }
}
