//! Room on a Mesos: does what the scheduler wants, on the wire and in this process. Decides nothing about cases. One thread
//! does all of it, with a task for the subscription and one for the calls, which go out one after the other.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::executor::{
    Access, EXECUTOR_VARIABLE, Given, Observer, OwnedFolder, TaskData, Workplace, pack, sha256_of,
};
use crate::fatebook::{HostEntry, Redactor};
use crate::machine::{
    CaseId, CaseOutcome, HostMark, Launch, Room, RunEvent, Scheduler, SchedulerAction, SchedulerEvent,
    SchedulerOptions, TaskNews, TaskUpdate, Want, digits_of,
};
use crate::mesos::translate::{self, ExecutorPlan, FetchedFile, Framework, TaskPlan};
use crate::mesos::{Client, Leader, MasterAddress, Next, Security, WireError};
use crate::remote::{Limit, random_hex};

use super::files::FileServer;
use super::{Cluster, Order};

/// The API of a master for schedulers.
const PATH: &str = "/api/v1/scheduler";
/// The program's name in a sandbox.
const PROGRAM: &str = "pisaura";
/// What an executor needs beside its tasks.
const EXECUTOR_ROOM: Room = Room { cpu_milli: 10, mem_mib: 32 };
/// For how long tasks are kept while this process is not connected.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(120);
/// What an executor has after SHUTDOWN, beside the time that its reverts may take.
const GRACE: Duration = Duration::from_secs(30);
/// How long the ending of an older run's framework may take.
const TORN_DOWN_WITHIN: Duration = Duration::from_secs(20);
/// How long the last calls may take.
const FAREWELL: Duration = Duration::from_secs(5);
/// How soon ZooKeeper is asked again when it could not say who leads.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(5);

mod driver;

use driver::{Driver, call_out};

/// How a Mesos is to be used.
#[derive(Clone, Debug)]
pub struct MesosOptions {
    /// Where the master is.
    pub address: MasterAddress,
    /// The same, as it was written.
    pub master: String,
    /// Credentials and certificates.
    pub security: Security,
    /// The role whose offers are asked for.
    pub role: String,
    /// The account on the agents that runs the executors.
    pub user: String,
    /// How long a case waits for an offer that fits.
    pub offer_timeout: Duration,
    /// How often a task that was lost is run again.
    pub task_retries: u32,
    /// By which address agents reach this machine.
    pub advertise: Option<String>,
    /// Where agents fetch the program, if not from here.
    pub executor_uri: Option<String>,
}

/// A cluster of agents.
pub struct MesosCluster {
    commands: UnboundedSender<Message>,
    open: Open,
}

/// The cases that have begun and not ended.
type Open = Arc<Mutex<BTreeSet<CaseId>>>;

/// However the driver ends: cases that it was given are settled, and its end is told.
struct SettleAtTheEnd {
    observer: Observer,
    open: Open,
}

impl Drop for SettleAtTheEnd {
    fn drop(&mut self) {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for case in open {
            let outcome =
                CaseOutcome::lost("nothing is heard of Mesos any more: this is a defect of Pisaura");
            (self.observer)(RunEvent::Settled { case, outcome });
        }
        (self.observer)(RunEvent::BookClosed);
    }
}

/// What the driver hears.
enum Message {
    Begin(Box<Order>),
    /// The book's files can be fetched, and the names of the host are known.
    Ready {
        order: Box<Order>,
        archive: Result<Given, String>,
        hosts: Vec<String>,
    },
    Scheduler(Box<SchedulerEvent>),
    /// The subscription of this number was taken in.
    Subscribed {
        number: u64,
        base: String,
        stream_id: Option<String>,
    },
    /// One of its events.
    Record {
        number: u64,
        record: Vec<u8>,
    },
    /// A call was refused for what it says.
    Refused(String),
    /// Its end, or a call that failed.
    Failed {
        number: u64,
        error: WireError,
    },
}

struct OutgoingCall {
    number: u64,
    base: String,
    stream_id: Option<String>,
    body: Vec<u8>,
}

impl MesosCluster {
    /// A cluster that is not subscribed to before the first case comes. `observer` is told of cases.
    ///
    /// Fails, saying why, if a file that `options` names cannot be read.
    pub fn new(options: MesosOptions, observer: Observer, live_output: bool) -> Result<Self, String> {
        let client = Client::new(PATH, options.security.clone())?;
        let run = random_hex()?;
        let folder = OwnedFolder::new()
            .map_err(|error| format!("cannot make a folder for the agents' files: {error}"))?;
        let (commands, messages) = unbounded_channel();
        let sender = commands.clone();
        let started = Instant::now();
        let open = Open::default();
        let (told, of_driver) = (observer, Arc::clone(&open));
        let settled = Arc::clone(&open);
        let observer: Observer = Arc::new(move |event| {
            if let RunEvent::Settled { case, .. } = &event {
                settled.lock().unwrap_or_else(PoisonError::into_inner).remove(case);
            }
            told(event);
        });
        let driver = move || {
            let _end = SettleAtTheEnd { observer: Arc::clone(&observer), open: of_driver };
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    return observer(RunEvent::Warning {
                        message: format!("cannot speak to Mesos: {error}"),
                    });
                }
            };
            let scheduler = Scheduler::new(SchedulerOptions {
                offer_timeout: options.offer_timeout,
                task_retries: options.task_retries,
                executor_room: EXECUTOR_ROOM,
                run,
                master: options.master.clone(),
            });
            runtime.block_on(async {
                let (calls, outgoing) = unbounded_channel();
                let caller = tokio::spawn(call_out(client.clone(), outgoing, sender.clone()));
                let driver = Driver {
                    options,
                    observer: Arc::clone(&observer),
                    live_output,
                    client,
                    scheduler,
                    started,
                    sender,
                    calls: Some(calls),
                    caller,
                    reader: None,
                    number: 0,
                    leader_base: String::new(),
                    stream_id: None,
                    framework: String::new(),
                    orders: HashMap::new(),
                    marks: HashMap::new(),
                    archives: HashMap::new(),
                    server: None,
                    folder: Arc::new(folder),
                };
                driver.drive(messages).await;
            });
        };
        std::thread::Builder::new()
            .name("mesos".to_owned())
            .spawn(driver)
            .map_err(|error| format!("cannot begin: {error}"))?;
        Ok(Self { commands, open })
    }

    fn say(&self, event: SchedulerEvent) {
        // The driver listens until it was told to close.
        let _ = self.commands.send(Message::Scheduler(Box::new(event)));
    }
}

impl Cluster for MesosCluster {
    fn begin(&mut self, order: Order) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(order.id);
        let _ = self.commands.send(Message::Begin(Box::new(order)));
    }

    fn noted(&mut self, case: CaseId, result: Result<(), String>) {
        self.say(SchedulerEvent::Noted { case, result });
    }

    fn recorded(&mut self, case: CaseId, safely: bool) {
        self.say(SchedulerEvent::Recorded { case, safely });
    }

    fn interrupt(&mut self) {
        self.say(SchedulerEvent::Interrupt);
    }

    fn close_book(&mut self, book: &str) {
        self.say(SchedulerEvent::CloseBook { book: book.to_owned() });
    }

    fn close(&mut self) -> usize {
        self.say(SchedulerEvent::Close);
        1
    }
}

/// Ends a framework of an older run, and with it its executors, which revert first. Fails, saying why, if the master cannot
/// be reached or does not know it.
pub fn tear_down(options: &MesosOptions, framework: &str) -> Result<(), String> {
    let client = Client::new(PATH, options.security.clone())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot speak to Mesos: {error}"))?;
    let conversation = async {
        let base = Leader::new(options.address.clone()).find().await?;
        let call = translate::subscribe(&described(options), Some(framework));
        let mut subscription = client.subscribe(&base, call).await?;
        if let SchedulerEvent::Removed { .. } = translate::scheduler_event(&subscription.next().await?)? {
            // Its time has run out already.
            return Ok(());
        }
        let body =
            translate::scheduler_call(framework, &SchedulerAction::Teardown, &|_| None).unwrap_or_default();
        client.call(&subscription.base, subscription.stream_id.as_deref(), body).await
    };
    let limited = async { tokio::time::timeout(TORN_DOWN_WITHIN, conversation).await };
    match runtime.block_on(limited) {
        Ok(done) => done.map_err(|error: WireError| error.message),
        Err(_) => Err(format!("{} does not answer", options.master)),
    }
}

fn described(options: &MesosOptions) -> Framework {
    Framework {
        user: options.user.clone(),
        name: "pisaura".to_owned(),
        role: options.role.clone(),
        principal: options.security.credentials.as_ref().map(|(principal, _)| principal.clone()),
        failover_timeout: FAILOVER_TIMEOUT,
    }
}
