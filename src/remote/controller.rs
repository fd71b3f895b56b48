//! Who this process is for those who meet its traces on a host, and whether one that they name is alive. Reads `/proc`.

use std::fs;

/// `boot:pid:start:machine`: the boot of this machine, this process, when it was started (field 22 of `/proc/PID/stat`), and the
/// machine's name. What cannot be told is `-`.
pub fn own_controller() -> String {
    let process = std::process::id();
    let start = started(process).map_or("-".to_owned(), |start| start.to_string());
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    format!("{}:{process}:{start}:{name}", boot().unwrap_or_else(|| "-".to_owned()))
}

/// Whether the process that calls itself so is alive; `None` if it is one of another machine, or nobody can tell.
pub fn is_alive(who: &str) -> Option<bool> {
    let mut words = who.split(':');
    let (of_boot, process, start) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
    if boot()? != of_boot {
        return None;
    }
    let start: u64 = start.parse().ok()?;
    match started(process) {
        Some(started) => Some(started == start),
        // Other users' processes may not be shown to us; whether there is one of this number is told all the same.
        None => match rustix::process::test_kill_process(rustix::process::Pid::from_raw(
            process.try_into().ok()?,
        )?) {
            Err(rustix::io::Errno::PERM) => None,
            _ => Some(false),
        },
    }
}

fn boot() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    let namespace: String = namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    Some(format!("{}/{namespace}", boot.trim()))
}

/// Whether a host that tells this identity of itself (machine id, boot id, PID namespace, start of process 1, name) is the machine
/// that this process runs on. Only what both know, and all of it, proves that.
pub(super) fn is_this_machine(identity: &str) -> bool {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let Some((own_boot, namespace)) = boot().and_then(|boot| {
        boot.split_once('/').map(|(boot, namespace)| (boot.to_owned(), namespace.to_owned()))
    }) else {
        return false;
    };
    let start = started(1).map(|start| start.to_string()).unwrap_or_default();
    is_one_machine(identity, &[read("/etc/machine-id"), own_boot, namespace, start])
}

fn is_one_machine(identity: &str, own: &[String; 4]) -> bool {
    let told: Vec<&str> = identity.split(' ').collect();
    told.len() >= own.len()
        && own.iter().zip(&told).all(|(own, told)| own == told && !own.is_empty() && own != "-")
}

/// When a process was started, in the kernel's ticks; `None` if it has ended, even if nobody has waited for it yet.
pub(super) fn started(process: u32) -> Option<u64> {
    let words = stat(process)?;
    let state = words.first()?.as_str();
    (state != "Z" && state != "X").then(|| words.get(19)?.parse().ok())?
}

/// Whether a process leads its process group.
pub(super) fn leads_its_group(process: u32) -> bool {
    stat(process).is_some_and(|words| words.get(2).is_some_and(|group| *group == process.to_string()))
}

/// The fields of `/proc/PID/stat` from the third on, the state.
fn stat(process: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_machine() {
        let own = ["m", "b", "4026531836", "14"].map(str::to_owned);
        let check =
            |identity: &str, want: bool| assert_eq!(is_one_machine(identity, &own), want, "{identity}");
        check("m b 4026531836 14 name", true);
        check("m b 4026531836 14 other", true);
        for other in
            ["n b 4026531836 14 -", "m c 4026531836 14 -", "m b 4026531837 14 -", "m b 4026531836 15 -"]
        {
            check(other, false);
        }
        // What is not told proves nothing.
        check("- b 4026531836 14 -", false);
        check("m b 4026531836", false);
        check("", false);
        assert!(!is_one_machine("- b 4026531836 14 -", &["-", "b", "4026531836", "14"].map(str::to_owned)));
    }

    #[test]
    fn this_process_is_alive() {
        let own = own_controller();
        assert_eq!(is_alive(&format!("{own}:case")), Some(true));
        let mut words: Vec<&str> = own.split(':').collect();
        words[2] = "1";
        assert_eq!(is_alive(&words.join(":")), Some(false), "another one of its number");
        words[0] = "elsewhere";
        assert_eq!(is_alive(&words.join(":")), None);
        assert_eq!(is_alive("nonsense"), None);
    }

    #[test]
    fn a_process_that_nobody_has_waited_for_is_dead() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("a process");
        let start = started(child.id()).expect("it is alive");
        let who = format!("{}:{}:{start}:x", boot().expect("a boot"), child.id());
        assert_eq!(is_alive(&who), Some(true));
        child.kill().expect("a signal");
        // Looked at without waiting, which would take it away.
        for _ in 0..1000 {
            if is_alive(&who) == Some(false) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(is_alive(&who), Some(false));
        child.wait().expect("an end");
    }
}
