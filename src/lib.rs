//! Pisaura: does a service fail successfully? Every failure of every fatebook becomes a named test case: a host is broken
//! over SSH, a healthcheck asked, the host healed, the healthcheck asked again.
//!
//! # The map of the house
//!
//! The rooms, in reading order. A case walks down this list once, from its name on the command line to the host, and its
//! verdict walks up once, as events.
//!
//! - [`init`]: a first book for those who have none.
//! - [`harness`]: the face that cargo, nextest and editors see: libtest's arguments and names ↔ cases.
//! - [`cli`]: the commands that run no case: `check`, `--dry-run`, `revert`; how arguments are read.
//! - [`run`]: one run of many cases: which are meant, what goes when, who is told, what a signal does.
//! - [`report`]: from events to the terminal, JUnit and logs.
//! - [`cluster`]: where a case gets room: here, in a thread for each book; or on a Mesos.
//! - [`executor`]: where a case is carried out: its steps performed, in a working folder of its own.
//! - [`remote`]: hands on hosts over SSH, and on processes of this machine.
//! - `sandbox` (feature `demo`): demo hosts, SSH servers in this process.
//! - [`mesos`]: the wire to a Mesos: messages, RecordIO, HTTP, who leads; and what the messages mean.
//! - [`machine`]: what is decided, without the world: the life of a case and its verdict, the gate, the scheduler.
//! - [`fatebook`]: the file: where it lies, what it may say, what is wrong with it.
//!
//! Looking for…
//!
//! | a behaviour | its room |
//! |---|---|
//! | a key of a fatebook, a message about one | `fatebook::keys`; of the book `fatebook::read`, of a failure `failures`, of hosts and logins `hosts`, of commands `commands`; single values `values` |
//! | one failure with several values | `fatebook::with` |
//! | several hosts in one case | which `fatebook::on`; armed before the first is broken `machine::case::arming`; done on each `executor::on_hosts` |
//! | how `${NAME}` is filled in | `fatebook::text` |
//! | healthchecks without a script, `expect_output` | `fatebook::probe`; how they ask `executor::probe` |
//! | what runs of shell text, and where its arguments go | `fatebook::shell` |
//! | which step comes next, what is tried again and for how long | `machine::case`; of the healthchecks `machine::case::asking` |
//! | how a step is carried out, its limit, what is recorded of it | `executor::performer` |
//! | what a status of a script means, the words of a finding | `machine::case::findings`; of tasks on Mesos `machine::scheduler::tasks` |
//! | the names of verdicts, steps and kinds of trouble | `machine::verdict` |
//! | outages, availability, when a held failure is over | `machine::watch`; its keys `fatebook::hold` |
//! | several checks beside a healthcheck | keys `fatebook::checks`; asked by `executor::asking`; judged by `machine::watch::check` |
//! | failures that are made from the controller | key `where` in `fatebook::failures`; shells of this machine `remote::here`, behind `remote::line` |
//! | an inducer of several steps | its key `fatebook::steps`; the text that runs it, and what was begun `remote::script` |
//! | `before_all`, `after_all` | when `run::around`; how `executor::around` |
//! | a workload: what is accepted, refused, lost | its process `executor::workload`, `remote::companion`; its figures `machine::workload` |
//! | what is known to fail, until when | `fatebook::known`, `run::known` |
//! | exit codes | their list `run::exit`; which one a run has, `RunEnd::exit` in `run` |
//! | flags | of a run `run::options`, of libtest `harness::Options`, of other commands `main.rs` |
//! | `--dry-run`, `check`, `revert` | `cli::dry_run`, `cli::check`, `cli::debts` |
//! | `check --connect` | `run::connect`, then `BookExecutor::try_out` in `executor` |
//! | from a failure of a book to its reports | `fatebook::model`, then `Case::info` in `run::cases`, then `report::tell`, `report::junit` |
//! | the dead man's switch | `watch.sh` in `remote::host`; armed by `arm.sh`, chosen in `executor::assignment` |
//! | what runs beside what; failfast | `machine::gate`; between processes `run::locks`, `run::marks` |
//! | filters, `--exact`, tags, ignored cases | `run::cases` |
//! | Ctrl-C | `run::signals`, then `Engine::signalled` in `run::engine` |
//! | what a run does with an event, and when it breaks down | `run::engine` |
//! | connecting, logging in, host keys | `remote::connection`, `remote::login`, `remote::known_hosts` |
//! | how a script is brought to a host and run there | `remote::ssh::bring`, `remote::own`; `remote::ssh::work`, `remote::exchange` |
//! | the shell that is begun before it is needed | `remote::spare` |
//! | what ends a connection or an agent that libssh2 would wait for | `remote::watchdog`, `remote::agent_relay` |
//! | what travels with a book, and where its cases run | `executor::workplace` |
//! | escape sequences and secrets in what is shown | `fatebook::secrets`; lines for a terminal `report::tell` |
//! | what lies on a host, who writes it, what heals it when nobody else does | `remote::host`, and the shell texts beside it |
//! | whether a machine is the one that was broken | `remote::host`, `remote::ssh::heal`; on the wire `remote::connection` |
//! | who has a host, and what that means | `machine::lease`; who asks, `remote::ssh::who` |
//! | what is remembered of hosts that may be broken | `report::journal`, and what it says later `report::journal::debts`; `report::memory` |
//! | healing what older runs have left | `cli::debts`, then `run::healing` |
//! | how a healthcheck is run and ended | `remote::child`; if this process dies, `remote::supervisor` |
//! | what a scheduler hears and wants | `machine::offers` |
//! | which offer is taken | `machine::scheduler::placement` |
//! | when a task is tried again, what is acknowledged | `machine::scheduler::tasks` |
//! | what a scheduler does when nothing is heard | `machine::scheduler::waiting`; of its master `machine::scheduler::link` |
//! | what is said to a master, and what agents fetch | `cluster::mesos::driver`, `cluster::files` |
//! | `pisaura executor` | `executor::agent`, its worker beside it, and what it decides in `machine::executor` |
//! | what an answer of Mesos' means | `mesos::translate`; an HTTP status: `mesos::client` |
//! | what is told of a case that failed | `report::tell` |
//!
//! # Invariants
//!
//! - **Imports point down** the list above, never up.
//! - **`machine` and the model of `fatebook` never touch the world**: no clock, no randomness, no input or output. Time is
//!   an argument. That is what makes every path of a case testable.
//! - **Whatever dies, the host is healed**: from the moment the inducer is handed out, every path leads through the
//!   reverter, or to a shout at the end of the run that names the host and the command that heals it. An inducer is never
//!   begun twice.
//! - **Healed is said only of the machine that was broken**, of which its own reverter has succeeded, whole, after the inducer:
//!   where the case's mark is. Ids refuse; they allow only where nothing was armed, together with this run's own folder.
//! - **What heals is what was armed**, and lies on the host, whole, before anything is broken there.
//! - **A green case is true**: the failure was there until the healthcheck had answered, within its time.
//! - **Of several hosts each is armed before any is broken**, and each is healed, remembered and told of for itself.
//! - **One case and one reverter at a time on a machine**, by a lease on the machine itself.
//! - **A number proves nothing**: no process is signalled, here or there, without proof that it is ours.
//! - **What is said of a healed host is written down** before the host forgets it.
//! - **One thread decides** in a run; should it break down, what runs is reverted, and told. Executors, signals and locks send it events.
//! - **No secret** leaves [`executor`] upwards: what goes up as an event has been through [`fatebook::Redactor`].
//! - **Nothing polls**: every wait is for a descriptor, a channel or a moment. Where a library waits in our place, and where nobody
//!   tells (a host that another machine's run has, a program file that is busy), it is looked now and then, within a limit.
//!
//! # Use from a team's own repository
//!
//! With `pisaura` as a dev-dependency, a folder `fatebooks/`, and in `Cargo.toml`
//!
//! ```toml
//! [[test]]
//! name = "fatebooks"
//! harness = false
//! test = false # a plain `cargo test` must not break hosts
//! ```
//!
//! the file `tests/fatebooks.rs` is
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     pisaura::harness::main()
//! }
//! ```

pub mod init;

pub mod harness;

pub mod cli;

pub mod run;

pub mod report;

pub mod cluster;

pub mod executor;

pub mod remote;

#[cfg(feature = "demo")]
pub mod sandbox;

pub mod mesos;

pub mod machine;

pub mod fatebook;
