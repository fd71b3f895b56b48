//! The thread that speaks with a master for the scheduler: calls in order, what comes back, and what agents fetch.

use super::*;

pub(super) struct Driver {
    pub(super) options: MesosOptions,
    pub(super) observer: Observer,
    pub(super) live_output: bool,
    pub(super) client: Client,
    pub(super) scheduler: Scheduler,
    pub(super) started: Instant,
    pub(super) sender: UnboundedSender<Message>,
    pub(super) calls: Option<UnboundedSender<OutgoingCall>>,
    pub(super) caller: JoinHandle<()>,
    pub(super) reader: Option<JoinHandle<()>>,
    /// Of the subscription: what an older one says is not heard any more.
    pub(super) number: u64,
    pub(super) leader_base: String,
    pub(super) stream_id: Option<String>,
    pub(super) framework: String,
    pub(super) orders: HashMap<CaseId, Order>,
    /// The machines that cases may have broken, in the order of their hosts; those that were healed since are none.
    pub(super) marks: HashMap<CaseId, Vec<Option<HostMark>>>,
    /// The archive of each book.
    pub(super) archives: HashMap<String, Given>,
    pub(super) server: Option<FileServer>,
    /// Where archives are kept.
    pub(super) folder: Arc<OwnedFolder>,
}

impl Driver {
    pub(super) async fn drive(mut self, mut messages: UnboundedReceiver<Message>) {
        loop {
            let wake_at =
                self.scheduler.wake_at().map(|at| tokio::time::Instant::from_std(self.started + at));
            let message = match wake_at {
                Some(at) => match tokio::time::timeout_at(at, messages.recv()).await {
                    Ok(message) => message,
                    Err(_) => Some(Message::Scheduler(Box::new(SchedulerEvent::Woke))),
                },
                None => messages.recv().await,
            };
            let Some(message) = message else { break };
            if self.hear(message).await {
                break;
            }
        }
        // The last calls are still on their way, and the master listens only to those who are subscribed.
        drop(self.calls.take());
        let _ = tokio::time::timeout(FAREWELL, &mut self.caller).await;
        if let Some(reader) = self.reader.take() {
            reader.abort();
        }
    }

    /// Answers with whether it is over.
    async fn hear(&mut self, message: Message) -> bool {
        let event = match message {
            Message::Begin(order) => {
                self.make_ready(order);
                return false;
            }
            Message::Ready { order, archive, hosts } => match archive {
                Ok(archive) => {
                    self.archives.insert(order.book.name.clone(), archive);
                    let fate = order.fate();
                    let want = Want {
                        case: order.id,
                        book: order.book.name.clone(),
                        room: Room {
                            cpu_milli: u64::from(order.book.cpu_milli),
                            mem_mib: u64::from(order.book.mem_mib),
                        },
                        hosts,
                        revert_limit: fate.revert_within() + fate.timeout,
                        // And room for a slow network.
                        limit: fate.longest_case() + GRACE * 4 * fate.cycles,
                    };
                    self.orders.insert(order.id, *order);
                    SchedulerEvent::Want(want)
                }
                Err(why) => {
                    let outcome = CaseOutcome::botched("StartFailed", why);
                    (self.observer)(RunEvent::Settled { case: order.id, outcome });
                    return false;
                }
            },
            Message::Refused(message) => {
                (self.observer)(RunEvent::Warning { message });
                return false;
            }
            Message::Scheduler(event) => *event,
            Message::Subscribed { number, base, stream_id } if number == self.number => {
                self.leader_base = base;
                self.stream_id = stream_id;
                return false;
            }
            Message::Record { number, record } if number == self.number => {
                match translate::scheduler_event(&record) {
                    Ok(event) => event,
                    Err(error) => {
                        self.end_subscription();
                        self.lost(error)
                    }
                }
            }
            Message::Failed { number, error } if number == self.number => {
                self.end_subscription();
                self.lost(error)
            }
            Message::Subscribed { .. } | Message::Record { .. } | Message::Failed { .. } => return false,
        };
        if let SchedulerEvent::Subscribed { framework, .. } = &event {
            self.framework.clone_from(framework);
        }
        if let SchedulerEvent::Removed { .. } = &event {
            self.end_subscription();
        }
        let now = self.started.elapsed();
        let actions = self.scheduler.step(now, event);
        for action in actions {
            if self.act(action).await {
                return true;
            }
        }
        false
    }

    fn lost(&self, error: WireError) -> SchedulerEvent {
        let mut byte = [0];
        // Without chance all who wait try at once, which is no reason to fail.
        let _ = getrandom::fill(&mut byte);
        let chance = f64::from(byte[0]) / 255.0;
        SchedulerEvent::Lost { why: error.message, retry: translate::retry(error.next), chance }
    }

    fn end_subscription(&mut self) {
        self.number += 1;
        if let Some(reader) = self.reader.take() {
            reader.abort();
        }
    }

    async fn act(&mut self, action: SchedulerAction) -> bool {
        match &action {
            SchedulerAction::Subscribe { framework } => {
                self.end_subscription();
                self.subscribe(framework.as_deref());
            }
            SchedulerAction::Abandon => self.end_subscription(),
            SchedulerAction::Tell(event) => {
                match &event {
                    RunEvent::MayBeDirty { case, hosts } => {
                        self.marks.insert(*case, hosts.iter().map(|host| Some(host.mark.clone())).collect());
                    }
                    RunEvent::Reverted { case, host: Some(host) } => {
                        let mark = self.marks.get_mut(case).and_then(|marks| marks.get_mut(*host));
                        mark.map(Option::take);
                    }
                    _ => {}
                }
                let event = event.clone();
                if let RunEvent::Settled { case, .. } = &event {
                    self.orders.remove(case);
                }
                (self.observer)(event);
            }
            SchedulerAction::Over => return true,
            SchedulerAction::Launch { offer, tasks, .. } => match self.start_server().await {
                Ok(()) => self.call(&action),
                Err(why) => {
                    self.call(&SchedulerAction::Decline(vec![offer.clone()]));
                    for launch in tasks {
                        let update = TaskUpdate {
                            task: launch.task.clone(),
                            agent: None,
                            uuid: None,
                            news: TaskNews::Refused,
                            message: why.clone(),
                            outcome: None,
                        };
                        let _ =
                            self.sender.send(Message::Scheduler(Box::new(SchedulerEvent::Update(update))));
                    }
                }
            },
            _ => self.call(&action),
        }
        false
    }

    fn call(&self, action: &SchedulerAction) {
        let plan = |launch: &Launch| self.plan(launch);
        let body = translate::scheduler_call(&self.framework, action, &plan);
        if let (Some(body), Some(calls)) = (body, &self.calls) {
            let (number, base, stream_id) = (self.number, self.leader_base.clone(), self.stream_id.clone());
            // The caller lives as long as this.
            let _ = calls.send(OutgoingCall { number, base, stream_id, body });
        }
    }

    fn subscribe(&mut self, framework: Option<&str>) {
        let call = translate::subscribe(&described(&self.options), framework);
        let reading = read(
            self.client.clone(),
            Leader::new(self.options.address.clone()),
            call,
            self.number,
            self.sender.clone(),
        );
        self.reader = Some(tokio::spawn(reading));
    }

    /// Makes the book's archive, if that was not done yet, and asks for the host's addresses, both of which may take a while.
    fn make_ready(&self, order: Box<Order>) {
        let (sender, folder) = (self.sender.clone(), Arc::clone(&self.folder));
        let made = self.archives.get(&order.book.name).cloned();
        std::thread::spawn(move || {
            let archive = made.map_or_else(|| make_archive(&order, folder.path()), Ok);
            let archive = own_sha256().and(archive);
            let archive = archive.map_err(|error| {
                let message = format!("cannot make a working folder for the book: {error}");
                Redactor::new(&order.book.secret_values).clean(&message)
            });
            let hosts = names_of(&order);
            // The driver is there until the case has ended.
            let _ = sender.send(Message::Ready { order, archive, hosts });
        });
    }

    async fn start_server(&mut self) -> Result<(), String> {
        if self.server.is_none() {
            let authority = self.leader_base.split_once("://").map_or("", |(_, authority)| authority);
            let server = FileServer::start(authority, self.options.advertise.as_deref()).await?;
            self.server = Some(server);
        }
        Ok(())
    }

    fn plan(&self, launch: &Launch) -> Option<TaskPlan> {
        let (order, server) = (self.orders.get(&launch.case)?, self.server.as_ref()?);
        let book = &order.book;
        let archive = self.archives.get(&book.name)?;
        let (program, command) = match &self.options.executor_uri {
            // Whoever names one answers for what is there.
            Some(uri) => (uri.clone(), vec![format!("./{PROGRAM}"), "executor".to_owned()]),
            None => {
                let sha256 = own_sha256().ok()?;
                let command = ["/bin/sh", "-c", &begin_if_whole(&sha256)].map(str::to_owned);
                (server.give(PROGRAM, PathBuf::from(OWN_PROGRAM)), command.to_vec())
            }
        };
        let archive_sha256 = archive.sha256.clone();
        let archive = server.give(&format!("{}.tar", digits_of(&book.name)), archive.path.clone());
        let reverts =
            book.fates.iter().map(|fate| fate.revert_within() + fate.timeout).max().unwrap_or_default();
        let mut assignment = order.assignment();
        if launch.only_reverts {
            assignment = assignment.only_reverting(self.marks.get(&launch.case).cloned().unwrap_or_default());
        }
        let data = TaskData {
            assignment,
            secrets: book.secret_values.clone(),
            loglevel: book.loglevel,
            live_output: self.live_output,
            book_folder: std::path::absolute(&book.folder).unwrap_or_else(|_| book.folder.clone()),
            archive_sha256,
        };
        Some(TaskPlan {
            name: order.name.clone(),
            room: Room { cpu_milli: u64::from(book.cpu_milli), mem_mib: u64::from(book.mem_mib) },
            data: serde_json::to_vec(&data).unwrap_or_default(),
            executor: ExecutorPlan {
                name: format!("pisaura {}", book.name),
                room: EXECUTOR_ROOM,
                files: vec![
                    FetchedFile { uri: program, name: PROGRAM, is_program: true },
                    FetchedFile { uri: archive, name: TaskData::ARCHIVE, is_program: false },
                ],
                command,
                env: vec![(EXECUTOR_VARIABLE.to_owned(), "1".to_owned())],
                shutdown_grace_period: reverts + GRACE,
            },
        })
    }
}

/// The names and addresses by which an agent would be one of the hosts itself.
fn names_of(order: &Order) -> Vec<String> {
    order.hosts.iter().flat_map(|(host, access)| names_of_host(host, access)).collect()
}

fn names_of_host(host: &HostEntry, access: &Access) -> Vec<String> {
    let target = &access.target;
    if host.here {
        return Vec::new();
    }
    let addresses = (target.host.as_str(), target.port).to_socket_addrs();
    let addresses: Vec<_> = addresses.into_iter().flatten().map(|address| address.ip()).collect();
    // A port of its own on loopback is the way to some other host; that of the SSH server that every machine has is not.
    let is_loopback = !addresses.is_empty() && addresses.iter().all(std::net::IpAddr::is_loopback);
    if host.sandbox || target.port != 22 && is_loopback {
        return Vec::new();
    }
    let mut names = vec![target.host.clone()];
    names.extend(addresses.iter().map(ToString::to_string));
    names
}

/// An archive of the book's working folder; in it, all is in the folder [`TaskData::WORKPLACE`].
fn make_archive(order: &Order, folder: &Path) -> io::Result<Given> {
    let limit = Limit::within(order.book.timeout, None);
    let workplace = Workplace::open(&order.book, order.ship_bytes_max, Some(limit))?;
    pack(&workplace, folder.join(format!("{}-{}.tar", digits_of(&order.book.name), order.id)))
}

/// The file that runs, even if another one has taken its place since.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Its SHA-256.
fn own_sha256() -> io::Result<String> {
    static SUM: OnceLock<String> = OnceLock::new();
    if let Some(sum) = SUM.get() {
        return Ok(sum.clone());
    }
    let sum = sha256_of(Path::new(OWN_PROGRAM))?;
    Ok(SUM.get_or_init(|| sum).clone())
}

/// Shell text that becomes the executor if what was fetched is what was given: whoever is between the two could give another program.
fn begin_if_whole(sha256: &str) -> String {
    format!(
        "echo '{sha256}  ./{PROGRAM}' | sha256sum -c - >/dev/null || {{ echo 'error: ./{PROGRAM} is not the program that the run gave, or there is no sha256sum here' >&2; exit 1; }}; exec ./{PROGRAM} executor"
    )
}

/// Subscribes, and passes on what is heard until there is no more.
async fn read(
    client: Client,
    mut leader: Leader,
    call: Vec<u8>,
    number: u64,
    sender: UnboundedSender<Message>,
) {
    let error = match subscribed(&client, &mut leader, call, number, &sender).await {
        Ok(never) => match never {},
        Err(error) => error,
    };
    let _ = sender.send(Message::Failed { number, error });
}

async fn subscribed(
    client: &Client,
    leader: &mut Leader,
    call: Vec<u8>,
    number: u64,
    sender: &UnboundedSender<Message>,
) -> Result<std::convert::Infallible, WireError> {
    let base = leader.find().await?;
    let mut subscription = client.subscribe(&base, call).await?;
    let (base, stream_id) = (subscription.base.clone(), subscription.stream_id.clone());
    let _ = sender.send(Message::Subscribed { number, base: base.clone(), stream_id });
    let mut unsure = false;
    loop {
        let ask_again = async {
            match unsure {
                true => tokio::time::sleep(ASKED_AGAIN_AFTER).await,
                false => leader.changed().await,
            }
        };
        tokio::select! {
            record = subscription.next() => {
                let _ = sender.send(Message::Record { number, record: record? });
            }
            () = ask_again => match leader.find().await {
                Ok(found) if found == base => unsure = false,
                Ok(found) => {
                    let message = format!("ZooKeeper names {found} as the leader, and no longer {base}");
                    return Err(WireError::new(Next::Now, message));
                }
                // As long as the master itself is well, nothing is lost.
                Err(_) => unsure = true,
            },
        }
    }
}

/// Makes calls, one after the other, so that they arrive in their order.
pub(super) async fn call_out(
    client: Client,
    mut calls: UnboundedReceiver<OutgoingCall>,
    sender: UnboundedSender<Message>,
) {
    let mut failed = None;
    while let Some(OutgoingCall { number, base, stream_id, body }) = calls.recv().await {
        // What was to be said to a subscription that is over would not be heard.
        if failed == Some(number) {
            continue;
        }
        match client.call(&base, stream_id.as_deref(), body).await {
            Ok(()) => {}
            // A call that is refused for itself says nothing about the others.
            Err(error) if error.next == Next::Never && !error.is_about_credentials => {
                let _ = sender.send(Message::Refused(error.message));
            }
            Err(error) => {
                failed = Some(number);
                let _ = sender.send(Message::Failed { number, error });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_program_is_not_begun() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(PROGRAM);
        std::fs::write(&path, "#!/bin/sh\necho \"it runs as $1\"\n").expect("a file");
        let sum = sha256_of(&path).expect("a sum");
        let begin = || {
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .expect("a mode");
            let mut command = std::process::Command::new("/bin/sh");
            command.args(["-c", &begin_if_whole(&sum)]).current_dir(folder.path());
            let output = command.output().expect("sh runs");
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        assert_eq!(begin(), (Some(0), "it runs as executor\n".to_owned()));
        std::fs::write(&path, "#!/bin/sh\necho \"it runs as root\"\n").expect("a file");
        assert_eq!(begin(), (Some(1), String::new()));
    }
}
