//! What can be said of a run, on the command line and in the environment: Pisaura's own flags, the same for the test
//! harness and for `pisaura run`.

use std::path::PathBuf;

use std::time::Duration;

use clap::builder::{BoolishValueParser, Resettable};
use clap::{Arg, Args, Command, ValueEnum};

use crate::cluster::MesosOptions;
use crate::fatebook::parse_duration;
use crate::mesos::{MasterAddress, Security};
use crate::remote::own_user;

/// The folder for reports and logs, unless another one is named.
pub const OUTPUT: &str = "target/pisaura";

/// Pisaura's own flags.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Pisaura")]
pub struct RunOptions {
    /// Where cases run: `local` is this process; else a Mesos master, as `host:port`, `http://…`, `https://…` or
    /// `zk://host:port,…/path`
    #[arg(long, env = "PISAURA_MASTER", default_value = "local", value_name = "WHERE")]
    pub master: String,

    /// The fatebooks: a folder, at any depth, or one file
    #[arg(long, env = "PISAURA_FATEBOOKS", default_value = "fatebooks", value_name = "PATH")]
    pub fatebooks: PathBuf,

    /// The folder for reports and logs
    #[arg(long, env = "PISAURA_OUTPUT", default_value = OUTPUT, value_name = "FOLDER")]
    pub output: PathBuf,

    /// The JUnit report [default: junit.xml in the folder for reports]
    #[arg(long, env = "PISAURA_JUNIT", value_name = "FILE")]
    pub junit: Option<PathBuf>,

    /// Whom the JUnit report is for: GitLab also reads the file of each case [default: gitlab where GITLAB_CI is set, else jenkins]
    #[arg(long, env = "PISAURA_JUNIT_FOR", value_enum, value_name = "READER")]
    pub junit_for: Option<JunitFlavor>,

    /// Only cases with this tag, or without it if it begins with `!`; may be given several times
    #[arg(long, env = "PISAURA_TAG", value_name = "TAG", value_delimiter = ',')]
    pub tag: Vec<String>,

    /// Skip the rest of the whole run after the first case that does not pass
    #[arg(long, env = "PISAURA_FAIL_FAST", value_parser = BoolishValueParser::new())]
    pub fail_fast: bool,

    /// Print what would be done, and touch nothing
    #[arg(long, env = "PISAURA_DRY_RUN", value_parser = BoolishValueParser::new())]
    pub dry_run: bool,

    /// Treat an unset variable as a mistake in the book, instead of ignoring its cases
    #[arg(long, env = "PISAURA_STRICT", value_parser = BoolishValueParser::new())]
    pub strict: bool,

    /// The most that ships with a book to the folder that its cases run in: the files beside it and its resources
    #[arg(long, env = "PISAURA_SHIP_MAX", value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub ship_max: u64,

    /// How long a case waits for a suitable Mesos offer
    #[arg(long, env = "PISAURA_OFFER_TIMEOUT", value_name = "TIME", default_value = "5m", value_parser = duration, help_heading = MESOS)]
    pub offer_timeout: Duration,

    /// How often a task that was lost is run again, if nothing was induced
    #[arg(long, env = "PISAURA_TASK_RETRY", value_name = "N", default_value = "5", help_heading = MESOS)]
    pub task_retry: u32,

    /// The role whose resources are asked for
    #[arg(long, env = "PISAURA_ROLE", value_name = "ROLE", default_value = "*", help_heading = MESOS)]
    pub role: String,

    /// The account on the agents that runs cases [default: the one that runs this]
    #[arg(long, env = "PISAURA_AGENT_USER", value_name = "USER", help_heading = MESOS)]
    pub agent_user: Option<String>,

    /// The principal to authenticate with; the secret is in the file of --secret-file or in PISAURA_SECRET
    #[arg(long, env = "PISAURA_PRINCIPAL", value_name = "NAME", help_heading = MESOS)]
    pub principal: Option<String>,

    /// The file that holds the secret of --principal, and nothing else
    #[arg(long, env = "PISAURA_SECRET_FILE", value_name = "FILE", requires = "principal", help_heading = MESOS)]
    pub secret_file: Option<PathBuf>,

    /// Certificates (PEM) that are trusted beside the system's own; with `zk://` masters are contacted over HTTPS
    #[arg(long, env = "PISAURA_CA", value_name = "FILE", help_heading = MESOS)]
    pub ca: Option<PathBuf>,

    /// The name or address, and the port, by which agents reach this machine to fetch the executor and the books
    /// [default: the address that the master is reached from, and a free port]
    #[arg(long, env = "PISAURA_ADVERTISE", value_name = "HOST[:PORT]", help_heading = MESOS)]
    pub advertise: Option<String>,

    /// Where agents fetch the executor, if not from here: any URI that their fetcher understands
    #[arg(long, env = "PISAURA_EXECUTOR_URI", value_name = "URI", help_heading = MESOS)]
    pub executor_uri: Option<String>,

    /// Refuse books with hosts other than these, where `*` stands for any text and `?` for one character; may be given
    /// several times
    #[arg(long, env = "PISAURA_ALLOW_HOSTS", value_name = "PATTERN", value_delimiter = ',')]
    pub allow_hosts: Vec<String>,

    /// While this file exists nothing is broken, and running cases are reverted
    #[arg(long, env = "PISAURA_STOP_FILE", value_name = "FILE")]
    pub stop_file: Option<PathBuf>,

    /// Shell text that is asked during each hold, before each healthcheck: if it ends with 0, the case is stopped and its host
    /// reverted at once
    #[arg(long, env = "PISAURA_STOP_IF", value_name = "COMMAND")]
    pub stop_if: Option<String>,

    /// Run each case so often; from its second time on its name ends with ` #2`, ` #3`, …
    #[arg(long, env = "PISAURA_REPEAT", value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub repeat: u32,

    /// Leave hosts as they are that an older run may have left broken, instead of reverting them first
    #[arg(long, env = "PISAURA_NO_HEAL", value_parser = BoolishValueParser::new())]
    pub no_heal: bool,

    /// How many services are under test at once
    #[arg(skip = 1usize)]
    pub test_threads: usize,

    /// Whether scripts' output is shown while they run
    #[arg(skip)]
    pub live_output: bool,

    /// The nextest run that this process is a case of
    #[arg(skip)]
    pub nextest_run: Option<String>,
}

const MESOS: &str = "Mesos";
/// The secret of `--principal`, for those who keep secrets in variables.
const SECRET_VARIABLE: &str = "PISAURA_SECRET";

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| format!("`{text}` is no time: write `30s`, `5m` or `1h30m`"))
}

/// Whom the JUnit report is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum JunitFlavor {
    /// Valid against the schema of Jenkins' xunit plugin
    Jenkins,
    /// With the book's file as attribute of each case
    Gitlab,
}

/// A command line that takes a variable that is set but empty for one that is not set, as a CI has many of.
pub fn without_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg })
        .mut_subcommands(without_empty_variables)
}

impl RunOptions {
    /// Whom the JUnit report is for: as said, or by where this runs.
    pub fn junit_flavor(&self) -> JunitFlavor {
        self.junit_for.unwrap_or_else(|| match std::env::var_os("GITLAB_CI") {
            Some(_) => JunitFlavor::Gitlab,
            None => JunitFlavor::Jenkins,
        })
    }

    /// How Mesos is to be used; none if cases run in this process.
    /// Fails, saying why, if `--master` is no address, or the secret cannot be read.
    pub fn mesos(&self) -> Result<Option<MesosOptions>, String> {
        if self.master == "local" {
            return Ok(None);
        }
        let address = MasterAddress::parse(&self.master, self.ca.is_some())
            .map_err(|error| format!("--master (PISAURA_MASTER): {error}"))?;
        let credentials = match &self.principal {
            None => None,
            Some(principal) => Some((principal.clone(), self.secret()?)),
        };
        let user = self.agent_user.clone().unwrap_or_else(own_user);
        Ok(Some(MesosOptions {
            address,
            master: self.master.clone(),
            security: Security { credentials, bearer: None, certificates: self.ca.clone() },
            role: self.role.clone(),
            user,
            offer_timeout: self.offer_timeout,
            task_retries: self.task_retry,
            advertise: self.advertise.clone(),
            executor_uri: self.executor_uri.clone(),
        }))
    }

    fn secret(&self) -> Result<String, String> {
        match &self.secret_file {
            Some(file) => std::fs::read_to_string(file)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| format!("cannot read --secret-file {}: {error}", file.display())),
            None => std::env::var(SECRET_VARIABLE).map_err(|_| {
                format!(
                    "--principal needs a secret: name a file with --secret-file, or set {SECRET_VARIABLE}"
                )
            }),
        }
    }
}

/// A size in bytes, KiB, MiB or GiB.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text[digits.len()..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("a size is a number with its unit, as 64MiB".to_owned()),
    };
    let number: u64 =
        digits.trim().parse().map_err(|_| "a size is a number with its unit, as 64MiB".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "that is too much".to_owned())
}
