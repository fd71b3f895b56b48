//! Who has a host, and what that means for whoever wants it: wait, heal what a dead run has left, or leave it alone. Pure.
//!
//! A host's lease names the case that broke it, or is about to. What is known of it is what the host tells (`look.sh`), and, where
//! the controller is this machine, whether that process is still alive. Where nobody knows, it is waited for.

use std::time::Duration;

/// What a host tells of the case that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The case's mark.
    pub mark: String,
    /// Who is behind it: `boot:pid:start:machine:case`, blanks in the case's name as `_`.
    pub who: String,
    /// How long after the arming the host heals by itself; nothing if it does not.
    pub deadline: Duration,
    /// Whether the case's folder was made on this machine, since it was last started.
    pub whose: Whose,
    /// What has become of it.
    pub state: LeaseState,
    /// Since when it has the host.
    pub since: Duration,
    /// The folder in which the case's lies.
    pub folder: String,
}

/// Whether identities, as far as they are known, are of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Nothing speaks against it.
    Same,
    /// The machine was started anew since.
    Rebooted,
    /// It is another one.
    Other,
}

/// What has become of the case that has a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// Its watcher lives.
    Armed,
    /// It does without a watcher.
    Off,
    /// Its watcher is gone, and the host was not healed.
    Dead,
    /// The host was healed.
    Healed,
    /// Its folder is gone.
    Gone,
}

/// What is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseAdvice {
    /// It is over: the lease is taken away.
    Free,
    /// Whoever had the host is dead: it is healed.
    Heal,
    /// It will be free within this time: why.
    Wait(Duration, String),
    /// It is another machine's: why nothing is done about it.
    KeepOff(String),
    /// It stays as it is, and the host may be broken: why, and what a person can do.
    Refuse(String),
}

/// How long a run of this machine that is alive is waited for: as long as its case may take.
const ALIVE: Duration = Duration::from_secs(3600);
/// How long after its deadline a watcher has healed the host, at the latest.
const MARGIN: Duration = Duration::from_secs(60);

/// Who is behind a lease, for people: the case, and the machine that its run is on.
pub fn described(who: &str) -> String {
    let mut words = who.splitn(5, ':').skip(3);
    match (words.next(), words.next()) {
        (Some(machine), Some(case)) => format!("`{case}` of a run on {machine}"),
        _ => format!("`{who}`"),
    }
}

impl Lease {
    /// Reads a line of `look.sh`: what stands behind `host `. `None` if it is none.
    pub fn parse(line: &str) -> Option<Self> {
        // It is shown, in a command to be pasted, too.
        if !line.chars().all(super::is_plain) {
            return None;
        }
        let mut words = line.splitn(7, ' ');
        let mark = words.next()?.to_owned();
        let who = words.next()?.to_owned();
        let deadline = Duration::from_secs(words.next()?.parse().ok()?);
        let whose = match words.next()? {
            "same" => Whose::Same,
            "rebooted" => Whose::Rebooted,
            "other" => Whose::Other,
            _ => return None,
        };
        let state = match words.next()? {
            "armed" => LeaseState::Armed,
            "off" => LeaseState::Off,
            "dead" => LeaseState::Dead,
            "healed" => LeaseState::Healed,
            "gone" => LeaseState::Gone,
            _ => return None,
        };
        let since =
            words.next()?.parse::<i64>().ok().and_then(|since| u64::try_from(since).ok()).unwrap_or(0);
        let folder = words.next()?.to_owned();
        Some(Self { mark, who, deadline, whose, state, since: Duration::from_secs(since), folder })
    }

    /// The case, and the machine that its run is on, for people.
    pub fn described(&self) -> String {
        described(&self.who)
    }

    /// What is to be done. `alive` is whether the run behind it lives, as far as that is known here; `seen` for how long it has
    /// been looked at; `may_heal` whether others' debts may be settled.
    pub fn advice(&self, alive: Option<bool>, seen: Duration, may_heal: bool) -> LeaseAdvice {
        let who = self.described();
        // The host has told it, and a person may paste it.
        let is_safe = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "/._+@-".contains(c));
        let by_hand = match is_safe(&self.folder) && is_safe(&self.mark) {
            true => format!("`sh {}/.case-{}/heal` there heals it by hand", self.folder, self.mark),
            false => "the file `heal` in the case's folder there heals it by hand".to_owned(),
        };
        let heal = match may_heal {
            true => LeaseAdvice::Heal,
            false => LeaseAdvice::Refuse(format!(
                "the host may be broken, and stays as it is because of --no-heal: {who} had it. {by_hand}"
            )),
        };
        match (self.state, alive) {
            (LeaseState::Healed, _) => LeaseAdvice::Free,
            (_, Some(true)) => {
                // A case with a switch has healed its host by then, or given it up.
                let (limit, since) = match self.deadline {
                    Duration::ZERO => (ALIVE, seen),
                    deadline => (deadline + 2 * MARGIN, self.since.max(seen)),
                };
                match limit.checked_sub(since) {
                    Some(left) if !left.is_zero() => {
                        LeaseAdvice::Wait(left, format!("the host is in use by {who}, which is alive"))
                    }
                    _ => LeaseAdvice::Refuse(format!(
                        "the host may be broken: {who}, which is alive, has had it for longer than its case may take. {by_hand}"
                    )),
                }
            }
            _ if self.whose == Whose::Other => LeaseAdvice::KeepOff(format!(
                "the folder of our own there belongs to another machine with the same home folder, which {who} has"
            )),
            (LeaseState::Gone, _) => LeaseAdvice::Refuse(format!(
                "the host may be broken by {who}, and what would heal it is gone: check that the host is healthy, then remove {}/lease-*",
                self.folder.rsplit_once('/').map_or("", |(root, _)| root)
            )),
            (LeaseState::Off, _) => LeaseAdvice::Refuse(format!(
                "the host may be broken by {who}, which has no dead man's switch: only its own `pisaura revert` heals it. {by_hand}"
            )),
            (LeaseState::Armed | LeaseState::Dead, Some(false)) => heal,
            (LeaseState::Armed | LeaseState::Dead, None) => {
                let until = self.deadline + MARGIN;
                match until.checked_sub(self.since.max(seen)) {
                    Some(left) if !left.is_zero() => LeaseAdvice::Wait(
                        left,
                        format!(
                            "the host is in use by {who}; it heals by itself in {} s at the latest",
                            left.as_secs()
                        ),
                    ),
                    _ => heal,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(line: &str) -> Lease {
        Lease::parse(line).unwrap_or_else(|| panic!("{line}"))
    }

    #[test]
    fn lines_are_read() {
        let got = lease("aa b:1:2:ci-7:etcd::a_leader@h 30 rebooted dead 12 /home/some one/.pisaura/f");
        assert_eq!((got.mark.as_str(), got.folder.as_str()), ("aa", "/home/some one/.pisaura/f"));
        assert_eq!((got.whose, got.state, got.since.as_secs()), (Whose::Rebooted, LeaseState::Dead, 12));
        assert_eq!(got.described(), "`etcd::a_leader@h` of a run on ci-7");
        assert_eq!(lease("aa w 0 same off -5 /f").since, Duration::ZERO);
        for line in [
            "",
            "aa",
            "aa w x same off 1 /f",
            "aa w 1 nobody off 1 /f",
            "aa w 1 same late 1 /f",
            "aa w 1 same off 1",
            "aa w 1 same off 1 /home/\u{1b}[201~; touch x",
            "aa w 1 same off 1 /home/\u{202e}x",
        ] {
            assert_eq!(Lease::parse(line), None, "{line}");
        }
    }

    /// Every state, with all that can be known of the run behind it: nobody is healed under a run that lives, nothing is freed
    /// that was not healed, and who is dead is healed or told of.
    #[test]
    fn advice() {
        for state in ["armed", "off", "dead", "healed", "gone"] {
            for whose in ["same", "rebooted", "other"] {
                for alive in [None, Some(true), Some(false)] {
                    for (since, seen) in [(0, 0), (1000, 0), (0, 1000)] {
                        for may_heal in [true, false] {
                            let lease = lease(&format!("aa w 30 {whose} {state} {since} /f"));
                            let advice = lease.advice(alive, Duration::from_secs(seen), may_heal);
                            let told =
                                format!("{state} {whose} {alive:?} {since} {seen} {may_heal}: {advice:?}");
                            assert_eq!(advice == LeaseAdvice::Free, state == "healed", "{told}");
                            if advice == LeaseAdvice::Heal {
                                assert!(may_heal && whose != "other" && alive != Some(true), "{told}");
                                assert!(state == "armed" || state == "dead", "{told}");
                                assert!(alive == Some(false) || since + seen > 90, "{told}");
                            }
                            if alive == Some(true) && state != "healed" {
                                // Not for ever: a case has healed its host by then, or given it up.
                                let waits = matches!(advice, LeaseAdvice::Wait(..));
                                assert_eq!(waits, since + seen < 150, "{told}");
                                assert!(waits || matches!(advice, LeaseAdvice::Refuse(_)), "{told}");
                            }
                        }
                    }
                }
            }
        }
    }
}
