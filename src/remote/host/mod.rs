//! The protocol on a host: what is left there before it is broken, so that it heals whatever dies, and so that nobody says
//! "healed" of it who cannot know. Owns the shell texts that do it, one file each beside this one; it only puts them together.
//! Pure.
//!
//! # What lies on a host
//!
//! A **root** is a folder of ours: `~/.pisaura`; where the home folder cannot be written to, or nothing be run there, or others
//! may write to it, `/var/tmp/.pisaura-UID.XXXXXX` or `/tmp/.pisaura-UID.XXXXXX`, found again by prefix and owner (`probe.sh`). In
//! it:
//!
//! | file | what it is | made by | removed by |
//! |---|---|---|---|
//! | `FOLDER/` | one book's scripts on this host in one run; its name is random | `probe.sh` | `leave.sh` |
//! | `FOLDER/NAME` | a script, whole: brought as `.in-…`, length and checksum told by the host, then renamed | `place.sh` | `leave.sh` |
//! | `FOLDER/.case-MARK/` | one attempt at one case; MARK is random | `arm.sh` | `leave.sh` |
//! | `FOLDER/.arming-MARK` | the shell that arms that case, and then breaks the host, when it was started, and its session; the watcher has it open | `arm.sh`, `induce.sh` | `revert.sh`, `leave.sh` |
//! | `FOLDER/.again` | the folder was made anew by a later run: what had been armed in it is gone | `probe.sh` | `leave.sh` |
//! | `put-KEY/` | what is known of a path elsewhere where a file of ours was put (`put.sh`) | `install.sh` | `leave.sh` |
//! | `lease-…` | names the case that has the host | `arm.sh` | `revert.sh`, `watch.sh`: moved into the case's folder first |
//! | `/var/tmp/.pisaura-lease-….MARK` | the same, for other users: boot, since when, who (run and case), seconds until the host heals | `arm.sh` | as the lease; what was left, `look.sh` |
//!
//! and in a case's folder:
//!
//! | file | what it says | written by |
//! |---|---|---|
//! | `facts` | mark, identity of the machine, time since its start when it was armed, home folder | `arm.sh` |
//! | `armed/` | the watcher has not fired yet | `arm.sh`; taken away by `watch.sh` |
//! | `orders` | `armed`, `reverting`, `over` or `stop`: the watcher holds the file open, and goes at the last two | `arm.sh`, `revert.sh`, `watch.sh` |
//! | `revert` | the reverter with its variables | `arm.sh` |
//! | `heal` | the same with the protocol around it, for a person or a later run | `arm.sh` |
//! | `watch`, `watcher`, `ready` | the dead man's switch; its process and when that was started; that it has all it needs | `arm.sh`, `watch.sh` |
//! | `inducing`, `reverting` | the shell that is at it, and when it was started | `induce.sh`, `revert.sh` |
//! | `induced` | the host's own record: `begun`, or the inducer's status and when it ended | `induce.sh` |
//! | `begun` | of an inducer of several steps, the last one that was begun: 0 before the first | `arm.sh`, the inducer's own text |
//! | `left` | whether the inducer has left processes of its session: `looking`, `none`, `some`; and who stays in that session, so that its number is nobody else's | `induce.sh` |
//! | `kept` | a copy of a reverter that a shell cannot hold in memory, for the watcher to open: it loses its name at once | `arm.sh`, `watch.sh` |
//! | `recorded` | that the case is over is written down elsewhere; the folder stays in the way of a text that is late | `leave.sh` |
//! | `word`, `out` | how the watcher's last try at the reverter ended, and what every second one printed | `watch.sh` |
//! | `turn` | whose turn it is to revert over SSH or by hand: made new, or not at all | `revert.sh` |
//! | `touched` | who has first tried to heal the host, and when | `revert.sh`, `watch.sh` |
//! | `healed` | the tombstone: how long after the arming, and by whom; when a shell wrote it, who had tried it first, and when | `revert.sh`, `watch.sh` |
//!
//! Each of these files has its full length from the first and is written over, for a failure may have filled the disk since.
//!
//! # Rules
//!
//! - **Which machine.** The mark is what allows: a reverter runs only where the case's folder with its mark lies, or where the
//!   watcher that bears it lives. Identities (machine id, boot id, PID namespace, start of process 1, name) refuse: both known,
//!   and different. So one home folder of several machines, and several machines of one address, name or key, do not mix.
//!   After a reboot with the home kept, the reverter runs once more; that a machine of another boot is the same one has to be told
//!   by its id and its name. Where the mark is gone nothing is called healed, but for one case: a text that arms and did not arrive
//!   has left no mark, and one whose shell has died may have left a folder without facts. Then this run's own folder, and an identity
//!   that is known and equal as a whole, or but for its boot, allow; the case's folder is made, as a tombstone, before the reverter
//!   runs, so that a text that is only late begins nothing.
//! - **One at a time.** The lease is made, new or not at all, by the text that arms, and freed by whoever heals; it is looked at
//!   once more just before the inducer. Whoever finds another's waits, heals what a dead one has left, or says who has it.
//! - **Who is ended says nothing.** A reverter that is ended may say that it has succeeded. What a script begins bears who waits for it
//!   (`PISAURA_BY`); whoever ends it first ends that shell, or gives the watcher a signal of its own, by which a success does not count. Who
//!   ends what a text has begun ends nothing that others have.
//! - **One reverter at a time.** Each says who it is before it looks who else is there. A shell waits for another's reverter,
//!   and for the watcher's, as long as a reverter may take, and ends it then. The watcher lets a shell's finish, and goes on where
//!   that fails. Who waits for his turn writes over nobody's word. One that took longer than its time has failed, whatever it ended
//!   with: somebody may have ended it.
//! - **Who came first is known.** Whoever reverts says so before he does anything that may heal, ending what an inducer has left
//!   included; a success names who had tried it before.
//! - **A number proves nothing.** A process is signalled only if it was started when the file says and the machine was not
//!   started anew since, if it carries the case's mark in its environment, or if it is of the inducer's session while somebody of that
//!   session lives who is known so. Where there is no `/proc` nobody else is signalled.
//! - **Unknown is not over.** Each revert looks for itself who is at work (`at_work.sh`), again while processes come and go. Where the word
//!   of who induces is gone, the shell that armed is taken for it; where processes cannot be
//!   looked for, one may not be ended, or one of the session is there that cannot be proven ours, the reverter runs all the same, for it may be what ends them, but its success counts only once
//!   nobody is at work any more. A home that did not answer may have hidden an inducer: the watcher reverts again once it does. What
//!   heals is read as a whole before any of it runs, for a shell takes what it cannot read for nothing, and nothing for a success.
//! - **Never begun after it was reverted.** The inducer's shell writes `inducing` and then reads `orders`, which have to say `armed`;
//!   who reverts writes `reverting` there and then ends who is inducing. One of both sees the other.
//! - **Whose.** Only the user whose folder it is heals with it, in the home that was broken. What others leave in folders for all
//!   (`/tmp`, `/var/tmp`) is neither believed nor run.
//!   In such a folder only what is the user's own, and no link, is read, written or run; nothing at all is written through a link.
//! - **No room for a process** ends most shells. The watcher begins anew, as the same process, until there is room. Of signals it is ended
//!   by KILL alone.
//! - **A disk that does not take a word** stops nobody: each word that matters is read back, and the watcher is ended where `over`
//!   did not get to it; a reverter never has to be able to print.
//! - **Nothing is removed that still heals.** A case's folder goes only once it says `healed`, and that was written down by the run.
//! - **Disarming** is a word written before anything is removed. A watcher whose folder is gone heals from memory only if its
//!   open file does not have that word.
//!
//! # A text is whole or nothing
//!
//! Each text goes to `/bin/sh` by standard input, so it stands in no argument list, whatever login shell the user has. The
//! command line that is executed ([`text::loader`]) reads all of it, compares its length, and only then has it parsed, as one piece. It
//! is the same for each text, so a shell may wait for the next one while the last is still at work. A login that runs something
//! else instead gets a text that stops in its first line (`begin.sh`). What it prints before our first mark is not ours; and it
//! ends with a mark: without that, whatever the server says, it has failed.

use super::quote::quote;
use super::script::{Arming, HostCommand, HostScript};
use text::{Marked, SHORT, Text, common, strip};

#[cfg(test)]
mod cut_tests;
mod reverting;
mod text;

pub(super) use reverting::{Reverting, revert};
pub(super) use text::{NOT_OURS, Whole, loader, shell};

/// How long the dead man's switch waits between its tries, with what it needs around each (`watch.sh`).
const LONGEST_PAUSE: std::time::Duration = std::time::Duration::from_secs(30);

/// What an armed reverter says of its own file that is not what it was.
pub(super) const NOT_WHOLE: &str = "the reverter there is gone, or not whole";

const SAFE: &str = include_str!("safe.sh");
const PROBE: &str = include_str!("probe.sh");
const PLACE: &str = include_str!("place.sh");
const PUT: &str = include_str!("put.sh");
const CHECK: &str = include_str!("check.sh");
const INSTALL: &str = include_str!("install.sh");
const SESSION: &str = include_str!("session.sh");
const REFUSE: &str = include_str!("refuse.sh");
const ARM: &str = include_str!("arm.sh");
const ARM_WATCH: &str = include_str!("arm_watch.sh");
const INDUCE: &str = include_str!("induce.sh");
const REVERT: &str = include_str!("revert.sh");
const OVER_SSH: &str = include_str!("over_ssh.sh");
const BY_HAND: &str = include_str!("by_hand.sh");
const BY_HAND_END: &str = include_str!("by_hand_end.sh");
const WATCH: &str = include_str!("watch.sh");
const HEAL_ANOTHERS: &str = include_str!("heal_anothers.sh");
const FREE: &str = include_str!("free.sh");
const LOOK: &str = include_str!("look.sh");
const LEAVE: &str = include_str!("leave.sh");
const END: &str = include_str!("end.sh");

/// What is known of the place on a host where a case's files lie.
#[derive(Clone, Debug)]
pub(super) struct Site<'a> {
    /// The folder of our own there.
    pub(super) folder: &'a str,
    /// The machine's identity.
    pub(super) identity: &'a str,
    /// The case's mark.
    pub(super) mark: &'a str,
    /// Who heals: what this executor is called in tombstones.
    pub(super) healer: &'a str,
    /// Whether all there is run by sudo.
    pub(super) becomes_root: bool,
    /// Whether the host has `setsid`.
    pub(super) setsid: bool,
    /// Whether its other users are told who has it.
    pub(super) tells_others: bool,
    /// How the dead man's switch gets out of the login's reach, as `probe.sh` tells.
    pub(super) reach: &'a str,
    /// What one case at a time has there; the machine itself, unless it says otherwise.
    pub(super) scope: &'a str,
    /// The files that were brought there.
    pub(super) files: Vec<FileFacts>,
}

impl Site<'_> {
    fn case_folder(&self) -> String {
        case_folder(self.folder, self.mark)
    }

    /// The files of ours that this command runs, as far as they are known: the path from which it does, and what they hold.
    fn files_of(&self, script: &HostScript) -> Vec<(String, &FileFacts)> {
        let of_part = |part: &HostCommand| {
            let is_own = |facts: &&FileFacts| part.own_file() == Some(&facts.name);
            let is_put =
                |facts: &&FileFacts| facts.put_to.is_some() && facts.put_to.as_deref() == part.path();
            let facts = self.files.iter().find(|facts| is_own(facts) || is_put(facts))?;
            let path = part.path().map_or_else(|| format!("{}/{}", self.folder, facts.name), str::to_owned);
            Some((path, facts))
        };
        let mut files: Vec<_> = script.command.parts().iter().filter_map(of_part).collect();
        files.sort_by(|one, other| one.0.cmp(&other.0));
        files.dedup_by(|one, other| one.0 == other.0);
        files
    }

    /// Lines that end with 127 if the file of this command is not whole: a part of a reverter would heal a part. What was brought
    /// anew says so of itself in `PISAURA_WHOLE`.
    fn whole(&self, script: &HostScript) -> String {
        // Of what heals there is one at most; a case of several steps that break has proven theirs before.
        let Some((path, facts)) = self.files_of(script).into_iter().next() else { return String::new() };
        let file = quote(&path);
        let (command, wanted) = match facts.checksum {
            Some(checksum) => ("cksum", format!("{checksum} {}", facts.bytes)),
            None => ("wc -c", format!("{} ", facts.bytes)),
        };
        format!(
            "set -- $({command} <{file})\n[ \"${{1-}} ${{2-}}\" = \"${{PISAURA_WHOLE:-{wanted}}}\" ] || {{ echo '{NOT_WHOLE}' >&2; exit 127; }}\nunset PISAURA_WHOLE\n"
        )
    }

    /// A function that tells of all files of these commands what they hold, and what it has to tell.
    fn sums(&self, scripts: &[&HostScript]) -> (String, String) {
        let mut files: Vec<_> = scripts.iter().flat_map(|script| self.files_of(script)).collect();
        files.sort_by(|one, other| one.0.cmp(&other.0));
        files.dedup_by(|one, other| one.0 == other.0);
        let all = files.iter().map(|(path, _)| quote(path)).collect::<Vec<_>>().join(" ");
        let told = |(path, facts): &(String, &FileFacts)| match facts.checksum {
            Some(checksum) => format!("{checksum} {} {path}", facts.bytes),
            None => facts.bytes.to_string(),
        };
        let wanted = files.iter().map(told).collect::<Vec<_>>().join("\n");
        let body = match files.first() {
            None => ":".to_owned(),
            Some((_, FileFacts { checksum: Some(_), .. })) => format!("cksum {all}"),
            Some(_) => format!("for {SHORT}x in {all}; do echo $(wc -c <\"${SHORT}x\"); done"),
        };
        (format!("{SHORT}sums() {{ {body}; }}\n"), wanted)
    }

    fn set(&self, text: &mut Text, case_folder: &str) {
        text.set("F", self.folder)
            .set("C", case_folder)
            .set("M", self.mark)
            .set("I", self.identity)
            .set("T", self.healer)
            .set("L", &lease_path(case_folder, self.identity, self.scope))
            .set("J", if self.tells_others { "1" } else { "0" })
            .set("U", if self.becomes_root { "1" } else { "0" });
    }
}

/// The folder of a case's own.
pub(super) fn case_folder(folder: &str, mark: &str) -> String {
    format!("{folder}/.case-{mark}")
}

/// The file that says who has the host: one for each machine that shares the root.
fn lease_path(case_folder: &str, identity: &str, scope: &str) -> String {
    let root = case_folder.rsplitn(3, '/').nth(2).unwrap_or_default();
    let mut words = identity.split(' ');
    let (machine, namespace) = (words.next().unwrap_or("-"), words.nth(1).unwrap_or("-"));
    let what = [machine, namespace, scope].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>();
    format!("{root}/lease-{}", crate::machine::digits_of(&what.join(" ")))
}

/// The file that heals the host when a shell runs it.
pub(super) fn heal_path(folder: &str, mark: &str) -> String {
    format!("{}/heal", case_folder(folder, mark))
}

/// The first text on a connection: proves that it is ours that runs, tells what the host is, and makes the folder of this name
/// if `makes`; one that is made `again` says so: what was armed there before is gone.
pub(super) fn probe(token: &str, name: &str, makes: bool, again: bool) -> Whole {
    let mut text = Text::new(token, Marked::Stdout);
    text.add("_pisaura_mark b 0\n")
        .set("N", name)
        .set("A", if makes { "1" } else { "0" })
        .set("E", if again { "1" } else { "0" });
    text.add_common().add(SAFE).add(PROBE).end("0")
}

/// Tells the network that the host is in, as its kernel numbers it: what makes two machines of one kernel and one set of processes two.
pub(super) fn network(token: &str) -> Whole {
    let mut text = Text::new(token, Marked::Stdout);
    text.add("_pisaura_mark b 0\nreadlink /proc/self/ns/net || :\n").end("0")
}

/// A file of ours: its name in our folder, length and checksum (none where the host has no `cksum`).
#[derive(Clone, Debug)]
pub(super) struct FileFacts {
    pub(super) name: String,
    /// Where it was put besides, if it was.
    pub(super) put_to: Option<String>,
    pub(super) bytes: usize,
    pub(super) checksum: Option<u32>,
}

impl FileFacts {
    fn words(&self) -> String {
        let checksum = self.checksum.map_or("-".to_owned(), |sum| sum.to_string());
        format!("{} {checksum}", self.bytes)
    }
}

/// Puts files that were brought under the first names to the second ones.
pub(super) fn place(token: &str, folder: &str, files: &[(String, FileFacts)]) -> Whole {
    let mut text = Text::new(token, Marked::Stdout);
    text.add("_pisaura_mark b 0\n").set("F", folder).add(PLACE);
    for (brought, facts) in files {
        let name = quote(&format!("./{}", facts.name));
        text.add_as_it_is(&format!("{SHORT}place ./{brought} {name} {}\n", facts.words()));
    }
    text.end("0")
}

/// Tells which of these files are there and whole: `whole NUMBER`, a line each.
pub(super) fn which_are_whole(token: &str, folder: &str, files: &[FileFacts]) -> Whole {
    let mut text = Text::new(token, Marked::Stdout);
    text.add("_pisaura_mark b 0\n").set("F", folder).add(PLACE);
    for (number, facts) in files.iter().enumerate() {
        let name = quote(&format!("./{}", facts.name));
        text.add_as_it_is(&format!("{SHORT}tell_whole {name} {} {number}\n", facts.words()));
    }
    text.end("0")
}

/// Puts files of our folder (by name) to absolute paths.
pub(super) fn install(token: &str, folder: &str, files: &[(String, String)]) -> Whole {
    let mut text = Text::new(token, Marked::Stdout);
    text.add("_pisaura_mark b 0\n")
        .set("F", folder)
        .add_common()
        .add(SAFE)
        .add(PUT)
        .add(INSTALL)
        .add("_pisaura_hold\n");
    for (name, path) in files {
        let from = quote(&format!("{folder}/{name}"));
        text.add_as_it_is(&format!(
            "{SHORT}install {from} {} {} || {{ {SHORT}release; exit 1; }}\n",
            quote(path),
            quote(name)
        ));
    }
    text.add("_pisaura_release\n").end("0")
}

/// Proves of commands that they can begin on the host: they parse, their interpreters are there.
pub(super) fn check(token: &str, folder: &str, scripts: &[&HostScript]) -> Whole {
    let mut text = Text::new(token, Marked::Stdout);
    text.add("_pisaura_mark b 0\n").set("F", folder).add(CHECK);
    for script in scripts {
        text.add_as_it_is(&format!("{}\n", script.check_text(folder)));
    }
    text.end("0")
}

/// The same for a command of this machine's, as a text for its shell: what fails is told on standard error.
pub(super) fn check_here(step: &str, text: Option<&str>, file: Option<&str>) -> String {
    let mut script = strip(CHECK);
    let step = quote(step);
    if let Some(file) = file {
        script.push_str(&format!("{SHORT}check_file {step} {}\n", quote(file)));
    }
    if let Some(text) = text {
        script.push_str(&format!("{SHORT}check_text {step} {}\n", quote(text)));
    }
    script
}

/// A command that has nothing to do with the healing of its case.
pub(super) fn command(token: &str, script: &HostScript, site: &Site<'_>) -> Whole {
    let mut text = Text::new(token, Marked::Stderr);
    let whole = site.whole(script);
    text.add_who().add_as_it_is(&script.function("_p_command", site.folder, site.mark, &whole));
    text.add("set +eu\n_pisaura_command\n_pisaura_s=$?\n").end("$_pisaura_s")
}

/// Arms the host where that is a text of its own: of a case of several hosts, and for one that has no `setsid`.
pub(super) fn arm(token: &str, script: &HostScript, arming: &Arming, site: &Site<'_>) -> Whole {
    let mut text = in_own_session(token, site);
    add_arming(&mut text, script, arming, site);
    text.end("0")
}

/// Arms the host, and breaks it.
pub(super) fn induce(token: &str, script: &HostScript, arming: &Arming, site: &Site<'_>) -> Whole {
    let mut text = in_own_session(token, site);
    add_arming(&mut text, script, arming, site);
    add_inducing(text, script, site)
}

/// Breaks the host, which was armed before.
pub(super) fn induce_armed(token: &str, script: &HostScript, arming: &Arming, site: &Site<'_>) -> Whole {
    let mut text = in_own_session(token, site);
    site.set(&mut text, &site.case_folder());
    text.set("Y", if arming.cuts_off { "1" } else { "0" }).add_at_work().add(REFUSE);
    add_inducing(text, script, site)
}

/// Begins a text that breaks the host: in a session of its own, if it has none and there can be one.
fn in_own_session(token: &str, site: &Site<'_>) -> Text {
    let mut text = Text::new(token, Marked::Stderr);
    if site.setsid {
        text.set("U", if site.becomes_root { "1" } else { "0" }).add(SESSION);
    }
    text.add_who();
    text
}

fn add_inducing(mut text: Text, script: &HostScript, site: &Site<'_>) -> Whole {
    text.add_as_it_is(&script.function("_p_command", site.folder, site.mark, ""));
    text.add(INDUCE).end("$_pisaura_s")
}

/// `script` is what breaks the host, once it is armed.
fn add_arming(text: &mut Text, script: &HostScript, arming: &Arming, site: &Site<'_>) {
    let case_folder = site.case_folder();
    site.set(text, &case_folder);
    let seconds = arming.deadline.map_or(0, |deadline| deadline.as_secs() + 1);
    text.set("V", if arming.may_die { "none" } else { site.reach });
    text.set("Y", if arming.cuts_off { "1" } else { "0" });
    // For so long the switch goes on trying, at the most.
    let tries = u64::from(arming.tries) * (arming.patience.as_secs() + LONGEST_PAUSE.as_secs());
    text.set("H", &if seconds == 0 { 0 } else { seconds + tries }.to_string());
    text.set("S", if site.setsid { "1" } else { "0" }).set("W", &format!("{} {seconds}", arming.who));
    text.set("common", &common());
    text.add("eval \"$_pisaura_common\"\n");
    let revert = arming.reverter.text(site.folder, site.mark, &site.whole(&arming.reverter));
    text.set("revert", &revert);
    text.set("reverting", &format!("{}{}{}", strip(BY_HAND), strip(REVERT), strip(BY_HAND_END)));
    text.set("heal", &heal_parameters(arming, site, &case_folder));
    text.set("watching", &strip(WATCH));
    text.set("watch", &watch_parameters(arming, site, &case_folder, revert.trim_end()));
    let scripts: Vec<&HostScript> = [script, &arming.reverter].into_iter().chain(&arming.only_if).collect();
    let (sums, brought) = site.sums(&scripts);
    text.set("brought", &brought).add_as_it_is(&sums);
    if let Some(only_if) = &arming.only_if {
        text.add_as_it_is(&only_if.function("_p_only_if", site.folder, site.mark, ""));
        text.add(
            "_pisaura_s=0\n_pisaura_only_if || _pisaura_s=$?\n\
             if [ $_pisaura_s != 0 ]; then _pisaura_mark c $_pisaura_s; exit 0; fi\n",
        );
    }
    text.add(REFUSE).add(ARM);
    if arming.deadline.is_some() {
        text.add(ARM_WATCH);
    }
}

fn heal_parameters(arming: &Arming, site: &Site<'_>, case_folder: &str) -> String {
    let mut text = Text::parameters();
    site.set(&mut text, case_folder);
    text.set("T", "by-hand").set("P", &patience(arming)).set("G", "0").set("O", site.identity);
    text.set("D", if arming.deadline.is_some() { "1" } else { "0" });
    text.into_text()
}

fn watch_parameters(arming: &Arming, site: &Site<'_>, case_folder: &str, revert: &str) -> String {
    let mut text = Text::parameters();
    site.set(&mut text, case_folder);
    let deadline = arming.deadline.map_or(0, |deadline| deadline.as_secs() + 1);
    text.set("deadline", &deadline.to_string())
        .set("P", &patience(arming))
        .set("K", &arming.tries.to_string());
    text.set("B", arming.reverter.own_file().unwrap_or_default()).set("text", revert);
    text.into_text()
}

/// How many seconds a reverter that is at work is let finish.
fn patience(arming: &Arming) -> String {
    (arming.patience.as_secs() + 1).to_string()
}

/// Tells who has the host.
pub(super) fn look(token: &str, site: &Site<'_>) -> Whole {
    let mut text = Text::new(token, Marked::Stdout);
    text.add("_pisaura_mark b 0\n");
    site.set(&mut text, &site.case_folder());
    text.add_common().add(LOOK).end("0")
}

/// Heals what a case of a dead run has left, by what lies in its folder.
pub(super) fn heal(token: &str, heal: &str) -> Whole {
    let mut text = Text::new(token, Marked::Stdout);
    text.add("_pisaura_mark b 0\n").set("x", heal).add_common().add(HEAL_ANOTHERS).end("$_pisaura_s")
}

/// Takes a lease away whose case is over or gone.
pub(super) fn free(token: &str, site: &Site<'_>, mark: &str) -> Whole {
    let mut text = Text::new(token, Marked::Stdout);
    text.add("_pisaura_mark b 0\n");
    site.set(&mut text, &site.case_folder());
    text.set("M", mark).add_common().add(FREE).end("0")
}

/// Takes everything of ours away, if only these cases were there, or whatever was; tells `left`, `left dirty` or
/// `left shared`.
pub(super) fn leave(token: &str, folder: &str, cases: Option<&[String]>) -> Whole {
    let mut text = Text::new(token, Marked::Stdout);
    let own = cases.map_or("*".to_owned(), |cases| format!(" {} ", cases.join(" ")));
    text.add("_pisaura_mark b 0\n")
        .set("own", &own)
        .set("F", folder)
        .set("h", "")
        .add_common()
        .add(PUT)
        .add("set +eu\n")
        .add(LEAVE)
        .end("0")
}

/// Ends a command whose shell is this process, that was started then by its host's clock, and what it has begun.
pub(super) fn end(token: &str, process: u32, start: Option<i64>, mark: &str) -> Whole {
    let mut text = Text::new(token, Marked::Stdout);
    text.add("_pisaura_mark b 0\n").set("E", &process.to_string()).set("M", mark);
    text.set("s", &start.map_or_else(|| "-".to_owned(), |start| start.to_string()));
    text.add_at_work().add("set +eu\n").add(END).end("0")
}
