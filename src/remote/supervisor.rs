//! A small process of our own program that ends what has to end with us, however we end: killed, out of memory, left at once. It
//! waits for the end of a pipe whose other end only we hold, and then ends the process groups that it was told of and that were not
//! over yet. A group has a number only once it was begun, and we may be killed between the two: it is told of each before, by a
//! random word that the process has in its environment. Starts that process, and is it.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::controller::{leads_its_group, started};

/// Tells this program that it was started as a supervisor, together with the argument `supervisor`: a test target may have a
/// filter of that name.
const VARIABLE: &str = "PISAURA_SUPERVISOR";
/// How long a group that was asked to end has until it is killed.
const TERM_GRACE: Duration = Duration::from_secs(2);
/// The variable by which a process is found that was started and not told of any more.
const NAME: &str = "PISAURA_PROCESS";
/// How often such a process is looked for, and how long between two looks.
const LOOKS: usize = 20;
const LOOK_PAUSE: Duration = Duration::from_millis(50);

static ALLOWED: AtomicBool = AtomicBool::new(false);
static PIPE: Mutex<Option<ChildStdin>> = Mutex::new(None);

/// The first thing that a program does which is to have supervisors: if this process was started to be one, its whole life, and the
/// exit code; else it may start one from now on.
pub fn supervise(arguments: &[std::ffi::OsString]) -> Option<ExitCode> {
    if arguments.len() == 2 && arguments[1] == "supervisor" && std::env::var_os(VARIABLE).is_some() {
        return Some(serve());
    }
    ALLOWED.store(true, Ordering::SeqCst);
    None
}

/// What was said of a process that has to end with us.
enum Told {
    /// It is about to be started, with this name in its environment.
    Begins,
    /// It leads this group, and was started at this moment.
    Leads(u32, u64),
}

/// Hears which groups begin and end, by lines `? NAME` (is about to be started), `+ NAME PID START` and `- NAME`, and ends those that
/// are left once nobody can say any more.
fn serve() -> ExitCode {
    let mut told: HashMap<String, Told> = HashMap::new();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["?", name] => drop(told.insert(name.to_owned(), Told::Begins)),
            ["+", name, leader, start] => {
                if let (Ok(leader), Ok(start)) = (leader.parse(), start.parse()) {
                    told.insert(name.to_owned(), Told::Leads(leader, start));
                }
            }
            ["-", name] => drop(told.remove(name)),
            _ => {}
        }
    }
    let mut leaders = Vec::new();
    let mut names = Vec::new();
    for (name, told) in told {
        match told {
            Told::Begins => names.push(format!("{NAME}={name}")),
            // A number that was given to another process since is nobody's business.
            Told::Leads(leader, start) if started(leader) == Some(start) => leaders.push(leader),
            Told::Leads(..) => {}
        }
    }
    leaders.extend(found(&names));
    let leaders: Vec<Pid> =
        leaders.into_iter().filter_map(|leader| Pid::from_raw(i32::try_from(leader).ok()?)).collect();
    for leader in &leaders {
        let _ = kill_process_group(*leader, Signal::TERM);
    }
    for _ in 0..20 {
        if leaders.iter().all(|leader| test_kill_process_group(*leader).is_err()) {
            return ExitCode::SUCCESS;
        }
        std::thread::sleep(TERM_GRACE / 20);
    }
    for leader in &leaders {
        let _ = kill_process_group(*leader, Signal::KILL);
    }
    ExitCode::SUCCESS
}

/// The processes that lead a group and have one of these in their environment. One that was forked and has not become what it is to
/// be shows the environment of whoever forked it, therefore they are looked for until all are found, or for a while.
fn found(names: &[String]) -> Vec<u32> {
    let mut leaders = Vec::new();
    for _ in 0..LOOKS {
        if leaders.len() == names.len() {
            break;
        }
        std::thread::sleep(LOOK_PAUSE);
        leaders =
            processes().filter(|process| has_one(*process, names) && leads_its_group(*process)).collect();
    }
    leaders
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn has_one(process: u32, names: &[String]) -> bool {
    let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| names.iter().any(|name| name.as_bytes() == variable))
}

/// A process that ends with us, and its group, until this is dropped.
pub(super) struct Supervised(Option<String>);

impl Supervised {
    /// The process that this command is about to start ends with us. Where there can be no supervisor it does without: the case itself
    /// does not hang on it.
    pub(super) fn begins(command: &mut Command) -> Self {
        if !ALLOWED.load(Ordering::SeqCst) {
            return Self(None);
        }
        let Ok(name) = super::random_hex() else { return Self(None) };
        command.env(NAME, &name);
        let mut pipe = pipe();
        if pipe.is_none() {
            *pipe = begin();
        }
        Self(pipe.as_mut().and_then(|pipe| writeln!(pipe, "? {name}").ok()).map(|()| name))
    }

    /// It was started, and leads the group of its number.
    pub(super) fn leads(&self, leader: Pid) {
        let process = leader.as_raw_nonzero().get();
        let start = u32::try_from(process).ok().and_then(started);
        if let (Some(name), Some(start), Some(pipe)) = (&self.0, start, pipe().as_mut()) {
            let _ = writeln!(pipe, "+ {name} {process} {start}");
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if let (Some(name), Some(pipe)) = (&self.0, pipe().as_mut()) {
            let _ = writeln!(pipe, "- {name}");
        }
    }
}

fn pipe() -> MutexGuard<'static, Option<ChildStdin>> {
    PIPE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts it, in a group of its own: what is sent to ours is not meant for it. It has none of our variables either, by which a CI
/// system finds what it wants to end with us, and none of our outputs, for whose end somebody may wait.
fn begin() -> Option<ChildStdin> {
    let child = Command::new(std::env::current_exe().ok()?)
        .arg("supervisor")
        .env_clear()
        .env(VARIABLE, "1")
        .process_group(0)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    child.ok()?.stdin
}
