//! All that is needed to carry out one case, made of its book, its failure and its host. Pure.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::fatebook::{
    CaseValues, CommandStyle, Deadman, ExpectedOutput, Fate, Fatebook, HostEntry, HostSet, OneOrMore,
    ShellText,
};
use crate::machine::{CaseId, CasePlan, CheckPlan, HostMark, WorkloadPlan, digits_of};
use crate::remote::{
    Arming, Healing, HostCommand, HostScript, Login, Parcel, Place, Role, Target, check_here,
};

use super::probe;
use super::workplace::place_in_workplace;

/// How to get to the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Access {
    /// The host.
    pub target: Target,
    /// How to log in.
    pub login: Login,
    /// The name of our folder there: the same for all of the book's cases on it in this run, and of no other.
    pub folder: String,
    /// Variables that come with the host.
    pub env: Vec<(String, String)>,
    /// Whether the host is still there when the run is over: a demo host is not.
    pub lasting: bool,
    /// What the run calls itself for those who meet its traces on the host.
    pub controller: String,
    /// Whether what dead runs have left on the host may be healed.
    pub may_heal: bool,
}

/// One case, ready to be carried out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Assignment {
    /// Its number in the run.
    pub id: CaseId,
    /// Marks what is this case's on a host: the same in every run, of letters and digits.
    pub key: String,
    /// Whether it is only to be reverted, since an earlier attempt may have left the hosts broken.
    pub only_reverts: bool,
    /// For its machine.
    pub plan: CasePlan,
    /// What is done on its host, or on each of several.
    #[serde(flatten)]
    pub hosts: OneOrMore<HostWork>,
    /// Asks whether the service works.
    pub healthcheck: LocalCommand,
    /// What that has to print, besides.
    #[serde(default)]
    pub expect_output: Option<ExpectedOutput>,
    /// What is asked beside it, in the plan's order.
    #[serde(default)]
    pub checks: Vec<LocalCheck>,
    /// Writes to the service while the case goes on.
    #[serde(default)]
    pub workload: Option<LocalCommand>,
    /// Asks, while the failure is held, whether the case is to be stopped.
    #[serde(default)]
    pub stop_if: Vec<LocalCommand>,
    /// Whether the healthcheck gets `--step=N`.
    pub pass_step: bool,
    /// The variables of all its scripts, but for `PISAURA_STEP`.
    pub env: Vec<(String, String)>,
}

/// What is done on one host of a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostWork {
    /// The machine that an earlier attempt may have left broken.
    pub mark: Option<HostMark>,
    /// The host.
    pub access: Access,
    /// The files that have to be there; here they lie in the working folder.
    pub parcels: Vec<Parcel>,
    /// Breaks the host; leaves the reverter there as well.
    pub inducer: HostScript,
    /// Asks the host whether the failure is one for it.
    pub only_if: Option<HostScript>,
    /// Asks the host whether the failure took hold.
    pub verify: Option<HostScript>,
    /// Asks the host whether the failure is still in force.
    #[serde(default)]
    pub still: Option<HostScript>,
    /// Heals the host.
    pub reverter: HostScript,
}

impl HostWork {
    /// The files that have to be on the host, as they lie in this working folder.
    pub(super) fn parcels_in(&self, workplace: &Path) -> Vec<Parcel> {
        let here = |parcel: &Parcel| Parcel { source: workplace.join(&parcel.source), ..parcel.clone() };
        self.parcels.iter().map(here).collect()
    }

    /// The scripts that have to be able to begin there, the reverter first.
    pub(super) fn scripts(&self) -> Vec<&HostScript> {
        let optional = [&self.only_if, &self.verify, &self.still].into_iter().flatten();
        [&self.reverter, &self.inducer].into_iter().chain(optional).collect()
    }

    /// What was recorded of the reverter is not all that it needs: a secret is not kept. Only what was left on the host heals.
    pub fn recorded_is_gone(&mut self) {
        if let Role::Heals(healing) = &mut self.reverter.role {
            healing.is_known = false;
        }
    }

    fn scripts_mut(&mut self) -> impl Iterator<Item = &mut HostScript> {
        let optional = [&mut self.only_if, &mut self.verify, &mut self.still].into_iter().flatten();
        [&mut self.inducer, &mut self.reverter].into_iter().chain(optional)
    }
}

/// A command that runs where the executor runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalCommand {
    words: Vec<String>,
    style: CommandStyle,
    /// The program's place in the working folder, if it lies there.
    program: Option<PathBuf>,
}

/// One of a failure's `checks`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalCheck {
    /// What it is called.
    pub(super) name: String,
    /// Asks the service.
    pub(super) command: LocalCommand,
    /// What that has to print, besides.
    pub(super) expect_output: Option<ExpectedOutput>,
}

/// How often a dead man's switch tries the reverter: with pauses of up to 16 s, for some minutes.
const TRIES: u32 = 20;

impl LocalCommand {
    /// This command of a book, with these values.
    pub(super) fn new(command: &crate::fatebook::Command, values: &CaseValues<'_>) -> Self {
        Self {
            words: command.fill(values),
            style: command.style,
            program: command.file.as_ref().map(|file| place_in_workplace(&file.source)),
        }
    }

    /// The command, with more arguments behind its own.
    pub(super) fn command(&self, workplace: &Path, more: &[String]) -> Command {
        if self.style == CommandStyle::Probe {
            return probe::command(&self.words);
        }
        let mut words = self.all_words(more).into_iter();
        let first = words.next().unwrap_or_default();
        let mut command = match &self.program {
            Some(program) => Command::new(workplace.join(program)),
            None => Command::new(first),
        };
        command.args(words);
        command
    }

    /// What proves that it can begin, if anything can.
    pub(super) fn check(&self, name: &str, workplace: &Path) -> Option<Command> {
        let text = self.words.first().filter(|_| self.style == CommandStyle::Shell);
        let file = self.program.as_ref().map(|program| workplace.join(program));
        (text.is_some() || file.is_some())
            .then(|| check_here(name, text.map(String::as_str), file.as_deref()))
    }

    fn all_words(&self, more: &[String]) -> Vec<String> {
        words_that_run(self.style, &self.words, more)
    }
}

impl Assignment {
    /// The same on each of its hosts alone, as each is healed.
    pub fn on_each_host(&self) -> OneOrMore<Self> {
        self.hosts.map(|work| Self { hosts: OneOrMore::one(work.clone()), ..self.clone() })
    }

    /// With how to log in completed by what this machine has, for a book in this folder.
    #[must_use]
    pub fn completed(mut self, folder: &Path) -> Self {
        for work in self.hosts.iter_mut() {
            work.access.login = work.access.login.clone().completed(folder);
        }
        self
    }

    /// The same, only to be reverted: an earlier attempt at it may have left these machines broken, in the order of its hosts; one that
    /// it has healed is none. What was
    /// left there comes before what is known here.
    pub fn only_reverting(mut self, marks: Vec<Option<HostMark>>) -> Self {
        self.only_reverts = true;
        let mut marks = marks.into_iter();
        for work in self.hosts.iter_mut() {
            work.mark = marks.next().flatten();
            if let Role::Heals(healing) = &mut work.reverter.role {
                healing.as_armed = true;
            }
        }
        self
    }

    /// The same without what is secret in it: in the words and the variables of its commands, and how to log in. Where the host is,
    /// and what is not the book's, stays as it is, even if a secret is as short as that.
    pub fn without_secrets(&self, clean: &dyn Fn(&str) -> String) -> Self {
        let env = |env: &[(String, String)]| -> Vec<(String, String)> {
            env.iter().map(|(name, value)| (name.clone(), clean(value))).collect()
        };
        let mut kept = self.clone();
        kept.env = env(&self.env);
        let checks = kept.checks.iter_mut().map(|check| &mut check.command);
        for command in std::iter::once(&mut kept.healthcheck)
            .chain(checks)
            .chain(&mut kept.workload)
            .chain(&mut kept.stop_if)
        {
            command.words = command.words.iter().map(|word| clean(word)).collect();
        }
        for work in kept.hosts.iter_mut() {
            work.access.login.password = None;
            work.access.login.passphrase = None;
            work.access.env = env(&work.access.env);
            work.scripts_mut().for_each(|script| script.change_texts(clean));
        }
        kept
    }

    /// The case of this failure on these hosts, of which the first is what those scripts are told that run here; `name` is the case's
    /// full name.
    pub fn new(
        id: CaseId,
        name: &str,
        book: &Fatebook,
        fate: &Fate,
        hosts: &OneOrMore<(HostEntry, Access)>,
    ) -> Self {
        let key = digits_of(name);
        let targets = hosts.map(|(host, _)| host.clone());
        let (host, access) = hosts.first();
        let env = variables(&key, book, fate, host, &targets, access);
        let works = hosts.map(|(host, access)| {
            let env = variables(&key, book, fate, host, &targets, access);
            work_on(book, fate, host, access.clone(), &env, name)
        });
        let values = CaseValues { host: &host.host, service: &book.service, failure: &fate.name };
        let local = |command: &crate::fatebook::Command| LocalCommand::new(command, &values);
        Self {
            id,
            only_reverts: false,
            plan: CasePlan {
                only_if: fate.only_if.is_some(),
                verify: fate.verify.is_some(),
                expect: fate.expect,
                timeout: fate.timeout,
                grace: fate.grace,
                revert_within: fate.revert_within(),
                has_switch: fate.deadman != Deadman::Off,
                cuts_off: fate.cuts_off,
                cycles: fate.cycles,
                arms_first: targets.is_several(),
                hold: fate.hold.clone(),
                still: fate.still.is_some(),
                stop_if: !fate.stop_if.is_empty(),
                max_recovery: fate.max_recovery,
                steady: fate.steady,
                workload: fate
                    .workload
                    .as_ref()
                    .map(|_| WorkloadPlan { max_lost: fate.max_lost, max_stall: fate.max_stall }),
                checks: fate
                    .checks
                    .iter()
                    .map(|check| CheckPlan {
                        name: check.name.clone(),
                        expect: check.expect,
                        hold: check.hold.clone(),
                    })
                    .collect(),
            },
            hosts: works,
            healthcheck: local(&fate.healthcheck),
            expect_output: fate.expect_output.clone(),
            checks: fate
                .checks
                .iter()
                .map(|check| LocalCheck {
                    name: check.name.clone(),
                    command: local(&check.command),
                    expect_output: check.expect_output.clone(),
                })
                .collect(),
            workload: fate.workload.as_ref().map(local),
            stop_if: fate.stop_if.iter().map(local).collect(),
            pass_step: fate.pass_step,
            env,
            key,
        }
    }
}

/// The variables of a case's scripts on one of its hosts, but for `PISAURA_STEP`.
fn variables(
    key: &str,
    book: &Fatebook,
    fate: &Fate,
    host: &HostEntry,
    hosts: &HostSet,
    access: &Access,
) -> Vec<(String, String)> {
    let values = CaseValues { host: &host.host, service: &book.service, failure: &fate.name };
    let all: Vec<&str> = book.hosts.iter().map(|host| host.host.as_str()).collect();
    let mut env: Vec<(String, String)> =
        fate.env.iter().map(|(name, value)| (name.clone(), value.fill(&values))).collect();
    env.extend(access.env.iter().cloned());
    let own = [
        ("PISAURA_HOST", host.host.as_str()),
        ("PISAURA_TARGETS", &hosts.names()),
        ("PISAURA_HOSTS", &all.join(",")),
        ("PISAURA_SERVICE", &book.service),
        ("PISAURA_FAILURE", &fate.name),
        ("PISAURA_CASE", key),
    ];
    env.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    env
}

/// What is done on one of a case's hosts, with these variables.
fn work_on(
    book: &Fatebook,
    fate: &Fate,
    host: &HostEntry,
    access: Access,
    env: &[(String, String)],
    name: &str,
) -> HostWork {
    let values = CaseValues { host: &host.host, service: &book.service, failure: &fate.name };
    let mut parcels: Vec<Parcel> = Vec::new();
    let mut part = |command: &crate::fatebook::Command, step: &str| {
        let (mut command, parcel) = host_command(command, &values);
        if let (Some(parcel), "reverter") = (&parcel, step) {
            // What is put elsewhere may be taken away, or changed.
            command.run_from_folder(&parcel.name());
        }
        parcels.extend(parcel.filter(|parcel| !parcels.contains(parcel)));
        command
    };
    let script = |command: HostCommand, step: &str| {
        let mut env = env.to_vec();
        env.push(("PISAURA_STEP".to_owned(), step.to_owned()));
        HostScript { command, env, role: Role::Bystander }
    };
    let reverter = steps(&fate.reverter.map(|command| part(command, "reverter")), true);
    let inducer = steps(&fate.inducer.map(|command| part(command, "inducer")), false);
    let mut optional = |command: &Option<crate::fatebook::Command>, step| {
        command.as_ref().map(|command| script(part(command, step), step))
    };
    let (only_if, verify) = (optional(&fate.only_if, "only_if"), optional(&fate.verify, "verify"));
    let still = optional(&fate.still, "still");
    let (reverter, inducer) = (script(reverter, "reverter"), script(inducer, "inducer"));
    let has_switch = fate.deadman != Deadman::Off;
    let who = name.split_whitespace().collect::<Vec<_>>().join("_");
    let arming = Arming {
        only_if: only_if.clone(),
        reverter: reverter.clone(),
        deadline: has_switch.then(|| fate.revert_within()),
        patience: fate.timeout,
        // What heals a demo host is gone with its run.
        tries: if access.lasting { TRIES } else { 1 },
        // A demo host's is as long-lived as its run.
        may_die: fate.switch_may_die || !access.lasting,
        cuts_off: fate.cuts_off,
        who: format!("{}:{who}", access.controller),
    };
    let healing = Healing { watched: has_switch, patience: fate.timeout, as_armed: false, is_known: true };
    HostWork {
        mark: None,
        access,
        parcels,
        inducer: HostScript { role: Role::Breaks(Box::new(arming)), ..inducer },
        only_if,
        verify,
        still,
        reverter: HostScript { role: Role::Heals(healing), ..reverter },
    }
}

/// What is run for a command with these words and more arguments behind them, word by word.
fn words_that_run(style: CommandStyle, words: &[String], more: &[String]) -> Vec<String> {
    let mut words = words.iter();
    let first = words.next().map(String::as_str).unwrap_or_default();
    let arguments: Vec<String> = words.chain(more).cloned().collect();
    let mut all = match style {
        CommandStyle::Program => vec![first.to_owned()],
        CommandStyle::Probe => vec!["pisaura".to_owned(), "probe".to_owned(), first.to_owned()],
        CommandStyle::Shell => ShellText::of(first, !arguments.is_empty()).words(),
    };
    all.extend(arguments);
    all
}

/// What a case runs for this command, word by word, but for the place at which its script will lie.
pub fn shown_words(
    command: &crate::fatebook::Command,
    values: &CaseValues<'_>,
    more: &[String],
) -> Vec<String> {
    words_that_run(command.style, &command.fill(values), more)
}

fn host_command(
    command: &crate::fatebook::Command,
    values: &CaseValues<'_>,
) -> (HostCommand, Option<Parcel>) {
    let mut words = command.fill(values);
    let arguments = words.split_off(1.min(words.len()));
    let first = words.pop().unwrap_or_default();
    let script = command.file.as_ref().map(|file| {
        let source = place_in_workplace(&file.source);
        if file.named.starts_with('/') {
            let parcel = Parcel { source, destination: file.named.clone() };
            (Place::AsWritten(file.named.clone()), parcel)
        } else {
            let name = folder_name(&file.source);
            (Place::Folder(name.clone()), Parcel { source, destination: name })
        }
    });
    let (place, parcel) = script.unzip();
    let command = match (command.style, &command.file) {
        (CommandStyle::Program | CommandStyle::Probe, _) => {
            HostCommand::Program { program: place.unwrap_or(Place::AsWritten(first)), arguments }
        }
        (CommandStyle::Shell, Some(file)) => {
            let shell = ShellText::of(&first, !arguments.is_empty());
            let end = file.offset + file.named.len();
            HostCommand::Shell {
                before: shell.text[..file.offset].to_owned(),
                script: place,
                after: shell.text[end..].to_owned(),
                ends_at_failure: shell.ends_at_failure,
                arguments,
            }
        }
        (CommandStyle::Shell, None) => {
            let shell = ShellText::of(&first, !arguments.is_empty());
            HostCommand::Shell {
                before: String::new(),
                script: None,
                after: shell.text,
                ends_at_failure: shell.ends_at_failure,
                arguments,
            }
        }
    };
    (command, parcel)
}

/// One command alone, or several as the steps of one.
fn steps(commands: &OneOrMore<HostCommand>, reverts: bool) -> HostCommand {
    match commands.is_several() {
        true => HostCommand::Steps { steps: commands.iter().cloned().collect(), reverts },
        false => commands.first().clone(),
    }
}

/// The name that a script of the book has in our folder on a host: its own if it lies beside the book, else one that no
/// other file has.
fn folder_name(source: &Path) -> String {
    let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let plain = source.strip_prefix(".").unwrap_or(source);
    match plain.components().count() {
        1 => name,
        _ => format!("{}-{name}", digits_of(&source.to_string_lossy())),
    }
}
