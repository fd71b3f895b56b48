//! A healthcheck without a script: asks a service once over HTTP or TCP, in a process of its own, as scripts are. Touches the network.

use std::ffi::OsString;
use std::net::{TcpStream, ToSocketAddrs};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};

use crate::fatebook::{parse_within, status_test, strip_escapes, why_no_target};
use crate::mesos::causes;

/// Tells this program that it was started as a probe, together with the argument `probe`: a test target may have a filter of that name.
const VARIABLE: &str = "PISAURA_PROBE";
/// How much of an answer is read and printed: as much as is kept of what scripts print.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// An answer without an end is none.
const RECEIVED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The exit code of a service that is not well.
const UNHEALTHY: u8 = 1;
/// The exit code of a probe that cannot ask: no answer of the service's.
const CANNOT_ASK: u8 = 126;

/// Asks a service once, as a healthcheck does that names `http` or `tcp`.
#[derive(Args, Clone, Debug)]
pub struct Probe {
    #[command(subcommand)]
    way: Way,
}

#[derive(Subcommand, Clone, Debug)]
enum Way {
    /// GET a URL: healthy if the status is the one expected. The body is printed. Redirects are not followed
    Http {
        /// The URL
        url: String,
        /// The status expected: a number such as 200, or 2xx
        #[arg(long, default_value = "2xx", value_name = "STATUS")]
        status: String,
        /// How long all of it may take
        #[arg(long, default_value = "5s", value_name = "TIME", value_parser = parse_within)]
        within: Duration,
    },
    /// Connect to a port: healthy if somebody accepts
    Tcp {
        /// The host and the port, as db-1:5432
        #[arg(value_name = "HOST:PORT")]
        address: String,
        /// How long it may take
        #[arg(long, default_value = "5s", value_name = "TIME", value_parser = parse_within)]
        within: Duration,
    },
}

/// If this process was started to be a probe, its whole life, and the exit code.
pub fn probe(arguments: &[OsString]) -> Option<ExitCode> {
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        probe: Probe,
    }
    if arguments.get(1).is_none_or(|first| first != "probe") || std::env::var_os(VARIABLE).is_none() {
        return None;
    }
    Some(match Line::try_parse_from(&arguments[1..]) {
        Ok(line) => line.probe.ask(),
        Err(error) => {
            eprint!("{error}");
            CANNOT_ASK.into()
        }
    })
}

/// The command that runs this program as a probe. The program may have been replaced since it was started.
pub(super) fn command(words: &[String]) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("pisaura").arg("probe").args(words).env(VARIABLE, "1");
    command
}

impl Probe {
    /// Asks, and prints what there is to say: what the service answered on standard output, why it is not well on standard error. The
    /// exit code is 0 if it is well, 1 if it is not, and 126 if it cannot be asked.
    pub fn ask(&self) -> ExitCode {
        let (kind, target) = match &self.way {
            Way::Http { url, .. } => ("http", url),
            Way::Tcp { address, .. } => ("tcp", address),
        };
        if let Some(why) = why_no_target(kind, target) {
            eprintln!("cannot ask `{target}`: {why}");
            return CANNOT_ASK.into();
        }
        let answer = match &self.way {
            Way::Http { url, status, within } => http(url, status, *within),
            Way::Tcp { address, within } => tcp(address, *within),
        };
        match answer {
            Ok(()) => ExitCode::SUCCESS,
            Err(Trouble::Unhealthy(why)) => {
                eprintln!("{}", strip_escapes(&why));
                UNHEALTHY.into()
            }
            Err(Trouble::CannotAsk(why)) => {
                eprintln!("{why}");
                CANNOT_ASK.into()
            }
        }
    }
}

enum Trouble {
    Unhealthy(String),
    CannotAsk(String),
}

fn http(url: &str, status: &str, within: Duration) -> Result<(), Trouble> {
    let cannot = |why: String| Trouble::CannotAsk(format!("cannot ask {url}: {why}"));
    let expected = status_test(status)
        .ok_or_else(|| cannot(format!("`{status}` is no status such as 200, nor a class such as 2xx")))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| cannot(error.to_string()))?;
    let url = &reqwest::Url::parse(url).map_err(|error| cannot(error.to_string()))?.to_string();
    let answer = runtime.block_on(async {
        let client = reqwest::Client::builder()
            .timeout(within)
            // A service that sends its users elsewhere has not answered them.
            .redirect(reqwest::redirect::Policy::none())
            // Another machine's answer says nothing of the service, nor of the way to it.
            .no_proxy()
            .user_agent(concat!("pisaura/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| cannot(causes(&error)))?;
        let unhealthy = |error: reqwest::Error| {
            Trouble::Unhealthy(match error.is_timeout() {
                true => format!("GET {url}: no answer within {}", crate::fatebook::show_duration(within)),
                false => format!("GET {url}: {}", causes(&error.without_url())),
            })
        };
        let mut answer = client.get(url).send().await.map_err(unhealthy)?;
        let found = answer.status();
        // An answer that does not come to its end is none; of one that is too long, more is printed than can be compared.
        let mut left = BODY_BYTES_MAX + 1;
        let mut received = 0_usize;
        while let Some(bytes) = answer.chunk().await.map_err(unhealthy)? {
            received += bytes.len();
            if received > RECEIVED_BYTES_MAX {
                return Err(Trouble::Unhealthy(format!("GET {url}: an answer of more than 64 MiB")));
            }
            let bytes = &bytes[..left.min(bytes.len())];
            left -= bytes.len();
            std::io::Write::write_all(&mut std::io::stdout(), bytes)
                .map_err(|error| cannot(error.to_string()))?;
        }
        match expected.contains(&found.as_u16()) {
            true => Ok(()),
            false => Err(Trouble::Unhealthy(format!("GET {url}: {found}, expected {status}"))),
        }
    });
    // A name server that does not answer must not hold us.
    runtime.shutdown_background();
    answer
}

fn tcp(address: &str, within: Duration) -> Result<(), Trouble> {
    let until = Instant::now() + within;
    let unhealthy = |why: String| Trouble::Unhealthy(format!("{address}: {why}"));
    let late = || unhealthy(format!("no answer within {}", crate::fatebook::show_duration(within)));
    // A name server that does not answer must not hold us: whoever waits for it is left behind.
    let (sender, told) = std::sync::mpsc::channel();
    let name = address.to_owned();
    std::thread::spawn(move || sender.send(name.to_socket_addrs().map(Iterator::collect::<Vec<_>>)));
    let addresses =
        told.recv_timeout(within).map_err(|_| late())?.map_err(|error| unhealthy(error.to_string()))?;
    let mut why = None;
    for (index, one) in addresses.iter().enumerate() {
        // One that says nothing does not take the others' time.
        let left = until.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(1);
        if share.is_zero() {
            return Err(late());
        }
        match TcpStream::connect_timeout(one, share) {
            // A port that nobody listens at may be given to the one who calls it.
            Ok(stream) if stream.local_addr().ok() == stream.peer_addr().ok() => {
                why = Some(unhealthy("nobody listens there".to_owned()));
            }
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => why = Some(late()),
            Err(error) => why = Some(unhealthy(error.to_string())),
        }
    }
    Err(why.unwrap_or_else(|| unhealthy("the name has no address".to_owned())))
}
