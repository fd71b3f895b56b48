//! Who has a host: what its lease says is looked at before a case takes it, and what a dead run has left is healed or waited for.

use super::*;

/// How long a lease without a word in it is looked at before it is taken away: whoever made it has died in that moment.
const WORDLESS_FOR: Duration = Duration::from_secs(5);
/// How soon a host is looked at again whose dead man's switch is all that is known of the case that has it.
const WATCHED_FOR: Duration = Duration::from_secs(5);

/// How long another login's case is waited for.
const ANOTHERS_MAX: Duration = Duration::from_secs(3600);

impl SshHost {
    /// Sees who has the host, and settles what a dead run has left there.
    pub(super) fn look(&mut self, limit: Limit<'_>) -> Result<(), StepEnd> {
        let ground = self.ground.clone().unwrap_or_default();
        for _ in 0..3 {
            let text = host::look(&self.token().map_err(StepEnd::Failed)?, &self.site(&ground));
            let answer = self.ask(&text, "cannot see who has the host", limit).map_err(StepEnd::Failed)?;
            let line = answer.lines().find_map(|line| line.strip_prefix("host ")).unwrap_or_default();
            if line == "free" {
                self.seen = None;
                return Ok(());
            }
            if line == "hangs" {
                let message = format!(
                    "{}: a process there hangs, so nobody can see whether a case has the host: a frozen file system may be the reason",
                    self.target.shown
                );
                return Err(StepEnd::Busy { message, within: WATCHED_FOR });
            }
            if let Some(process) = line.strip_prefix("watched ") {
                let message = format!(
                    "{}: a case has the host whose word of it a failure has taken away: its dead man's switch, process {process} there, is still to heal it",
                    self.target.shown
                );
                return Err(StepEnd::Busy { message, within: WATCHED_FOR });
            }
            if let Some(busy) = anothers(line) {
                let StepEnd::Busy { message, within } = busy else { return Err(busy) };
                return Err(StepEnd::Busy { message: format!("{}: {message}", self.target.shown), within });
            }
            let lease = Lease::parse(line);
            let key = lease.as_ref().map_or_else(String::new, |lease| lease.mark.clone());
            let since = match &self.seen {
                Some((mark, since)) if *mark == key => *since,
                _ => self.seen.insert((key, Instant::now())).1,
            };
            let Some(lease) = lease else {
                // Whoever makes it writes its word at once, or has died.
                if since.elapsed() < WORDLESS_FOR {
                    let message = format!("{}: another case is about to take the host", self.target.shown);
                    return Err(StepEnd::Busy { message, within: WORDLESS_FOR });
                }
                self.free("", &ground, limit)?;
                continue;
            };
            let alive = (self.controllers)(&lease.who);
            let told = |message: &str| format!("{}: {message}", self.target.shown);
            match lease.advice(alive, since.elapsed(), self.may_heal) {
                LeaseAdvice::Free => self.free(&lease.mark, &ground, limit)?,
                LeaseAdvice::Wait(within, message) => {
                    return Err(StepEnd::Busy { message: told(&message), within });
                }
                LeaseAdvice::KeepOff(message) => {
                    return Err(StepEnd::Busy { message: told(&message), within: Duration::ZERO });
                }
                LeaseAdvice::Refuse(message) => {
                    self.left_broken = Some(lease.described());
                    return Err(StepEnd::Busy { message: told(&message), within: Duration::ZERO });
                }
                LeaseAdvice::Heal => {
                    let heal = host::heal_path(&lease.folder, &lease.mark);
                    let text = host::heal(&self.token().map_err(StepEnd::Failed)?, &heal);
                    let answer = self.answer(&text, "cannot heal it", limit).map_err(StepEnd::Failed)?;
                    // Its own word, and not a status alone: a file that is empty ends with 0, too.
                    let healed = answer.stdout.lines().next_back() == Some("healed");
                    if answer.status != 0 || !healed {
                        self.left_broken = Some(lease.described());
                        let said =
                            answer.stdout.lines().next_back().unwrap_or("no reason was given").to_owned();
                        let message = told(&format!(
                            "the host may be broken by {}, which has died, and could not be healed: {said}",
                            lease.described()
                        ));
                        return Err(StepEnd::Busy { message, within: Duration::ZERO });
                    }
                    self.notes
                        .push(told(&format!("healed first: {} had left the host broken", lease.described())));
                    self.free(&lease.mark, &ground, limit)?;
                }
            }
        }
        let message = format!("{}: others take the host again and again", self.target.shown);
        Err(StepEnd::Busy { message, within: Duration::from_secs(60) })
    }

    pub(super) fn free(&self, mark: &str, ground: &Ground, limit: Limit<'_>) -> Result<(), StepEnd> {
        let text = host::free(&self.token().map_err(StepEnd::Failed)?, &self.site(ground), mark);
        self.ask(&text, "cannot free the host", limit).map(drop).map_err(StepEnd::Failed)
    }

    /// Takes over what an older run has left: the folder of this name is looked for, to be cleaned up; and if a dead run still has
    /// the host, whatever is known of it here, that is healed. Answers with what a person should know, and with whose case may have
    /// left the host broken, if none of that has healed it.
    pub fn take_over(&mut self, limit: Limit<'_>) -> Result<(Vec<String>, Option<String>), Trouble> {
        self.connect(true, limit)?;
        self.takes_over = true;
        self.left_broken = None;
        match self.look(limit) {
            Ok(()) => {}
            Err(StepEnd::Failed(trouble)) => return Err(trouble),
            Err(end) => self.notes.push(end.to_string()),
        }
        Ok((self.take_notes(), self.left_broken.take()))
    }

    /// Whether the case of this mark has the host and its dead man's switch is armed: for how long at most, and what to tell. Where
    /// nobody knows whether its run is alive, the host may be in use.
    pub fn armed_for(
        &mut self,
        mark: &HostMark,
        limit: Limit<'_>,
    ) -> Result<Option<(Duration, String)>, Trouble> {
        self.begin_case(Some(mark)).map_err(|message| Trouble { kind: TroubleKind::Start, message })?;
        self.connect(false, limit)?;
        let ground = self.ground.clone().unwrap_or_default();
        let text = host::look(&self.token()?, &self.site(&ground));
        let answer = self.ask(&text, "cannot see who has the host", limit)?;
        let line = answer.lines().find_map(|line| line.strip_prefix("host ")).unwrap_or_default();
        let lease =
            Lease::parse(line).filter(|lease| lease.mark == mark.mark && lease.state == LeaseState::Armed);
        Ok(match lease.map(|lease| lease.advice(None, Duration::ZERO, true)) {
            Some(LeaseAdvice::Wait(left, message)) => Some((left, message)),
            _ => None,
        })
    }
}

/// What it means that a case of another user's has the machine, if the host says so: for how many seconds, who, and by which file.
fn anothers(line: &str) -> Option<StepEnd> {
    let line = line.strip_prefix("anothers ").filter(|line| is_showable(line))?;
    let mut words = line.splitn(3, ' ');
    let (seconds, who, file) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    let who = crate::machine::described(who);
    let message = match seconds {
        0 => format!(
            "{who}, by another login, has the host, and no dead man's switch heals it (any more): only its own `pisaura revert` does. If you know that the host is healthy, remove {file} there"
        ),
        _ => format!("{who}, by another login, has the host"),
    };
    // Anybody there may have written it: it is asked again, and not waited for as long as it says.
    Some(StepEnd::Busy { message, within: Duration::from_secs(seconds).min(ANOTHERS_MAX) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_logins_case() {
        let check = |line: &str, within: Option<u64>, said: &str| match (anothers(line), within) {
            (Some(StepEnd::Busy { message, within: found }), Some(seconds)) => {
                assert_eq!((message.as_str(), found), (said, Duration::from_secs(seconds)), "{line}");
            }
            (None, None) => {}
            (found, _) => panic!("{line}: {found:?}"),
        };
        let case = "`b::f@h` of a run on ci-1";
        check(
            "anothers 17 boot:1:2:ci-1:b::f@h /var/tmp/.pisaura-lease-1.2",
            Some(17),
            &format!("{case}, by another login, has the host"),
        );
        check(
            "anothers 0 boot:1:2:ci-1:b::f@h /var/tmp/.pisaura-lease-1.2",
            Some(0),
            &format!(
                "{case}, by another login, has the host, and no dead man's switch heals it (any more): only its own `pisaura revert` does. If you know that the host is healthy, remove /var/tmp/.pisaura-lease-1.2 there"
            ),
        );
        check("anothers 999999 x y", Some(3600), "`x`, by another login, has the host");
        for none in ["free", "anothers", "anothers x y z", "anothers 1 y", "anothers 1 y \u{1b}[2Jz"] {
            check(none, None, "");
        }
    }
}
