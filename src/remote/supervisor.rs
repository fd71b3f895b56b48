//! A small process of our own program that ends what has to end with us, however we end: killed, out of memory, left at once. It
//! waits for the end of a pipe whose other end only we hold, and then ends the process groups that it was told of and that were not
//! over yet. Starts that process, and is it.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::controller::started;

/// Tells this program that it was started as a supervisor, together with the argument `supervisor`: a test target may have a
/// filter of that name.
const VARIABLE: &str = "PISAURA_SUPERVISOR";
/// How long a group that was asked to end has until it is killed.
const TERM_GRACE: Duration = Duration::from_secs(2);

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

/// Hears which groups begin and end, by lines `+ PID START` and `- PID`, and ends those that are left once nobody can say any more.
fn serve() -> ExitCode {
    let mut groups: HashMap<u32, u64> = HashMap::new();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let mut words = line.split(' ');
        match (words.next(), words.next().and_then(|word| word.parse().ok()), words.next()) {
            (Some("+"), Some(leader), Some(start)) => {
                if let Ok(start) = start.parse() {
                    groups.insert(leader, start);
                }
            }
            (Some("-"), Some(leader), None) => drop(groups.remove(&leader)),
            _ => {}
        }
    }
    // A number that was given to another process since is nobody's business.
    groups.retain(|leader, start| started(*leader) == Some(*start));
    let leaders: Vec<Pid> =
        groups.keys().filter_map(|leader| Pid::from_raw(i32::try_from(*leader).ok()?)).collect();
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

/// A process group that ends with us, until this is dropped.
pub(super) struct Supervised(u32);

/// From now on the group that this process leads ends with us. Where there can be no supervisor it does without: the case itself does
/// not hang on it.
pub(super) fn supervised(leader: Pid) -> Option<Supervised> {
    if !ALLOWED.load(Ordering::SeqCst) {
        return None;
    }
    let leader = u32::try_from(leader.as_raw_nonzero().get()).ok()?;
    let start = started(leader)?;
    let mut pipe = pipe();
    if pipe.is_none() {
        *pipe = begin();
    }
    writeln!(pipe.as_mut()?, "+ {leader} {start}").ok()?;
    Some(Supervised(leader))
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if let Some(pipe) = pipe().as_mut() {
            let _ = writeln!(pipe, "- {}", self.0);
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
