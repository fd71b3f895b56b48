//! One command on a host, from its text to what its marks say; and the inducer.

use super::*;
use crate::remote::line::Line;

impl SshHost {
    /// Runs a text that is for a script, and answers with what its marks say.
    pub(super) fn run_text(
        &mut self,
        text: &Whole,
        limit: Limit<'_>,
        watcher: Watcher<'_>,
    ) -> Result<(Ran, Option<Marks>), Trouble> {
        self.run_text_of(None, text, limit, watcher)
    }

    /// The same, which may be the text that breaks the host.
    fn run_text_of(
        &mut self,
        breaking: Option<&Arming>,
        text: &Whole,
        limit: Limit<'_>,
        watcher: Watcher<'_>,
    ) -> Result<(Ran, Option<Marks>), Trouble> {
        if self.is_here() {
            return self.run_text_here(breaking.is_some(), text, limit, watcher);
        }
        let may_cut_off = breaking.is_some_and(|arming| arming.cuts_off);
        self.sent_at = time_since_boot();
        let desk = self.desk(limit)?;
        let waiter = desk.waiter();
        let watch = desk.connection.watchdog.watch(limit);
        let Shell { mut channel, was_spare } = desk.shell()?;
        let framed = text.framed();
        let mut exchange = Exchange::new(framed.as_bytes(), self.redactor.longest())
            .feeling(if may_cut_off { CUT_OFF } else { desk.connection.pulse });
        exchange.marks = Some(Marks::new(&text.token));
        let with_next = Waiter { next: Some(&desk.connection.spare), ..waiter };
        let gone_on = exchange.go_on(&mut channel, &with_next, watcher, Exchange::command_is_over);
        drop(watch);
        // Closing, and ending what runs, have limits of their own.
        let closing = desk.connection.watchdog.watch(Limit::within(ASIDE * 2, None));
        if was_spare && matches!(gone_on, Ok(Some(Over::Closed))) && !exchange.has_begun() {
            close(&mut channel, &waiter, true);
            desk.connection.spare.give_up(&waiter);
            drop(closing);
            return self.run_text_of(breaking, text, limit, watcher);
        }
        let silent_for = exchange.silent_for();
        let mut is_silent = gone_on.is_err() && (may_cut_off || exchange.is_silent());
        let end = match gone_on {
            Ok(Some(Over::Marked)) => Ok(None),
            Ok(Some(Over::Closed)) => match channel_exit(&mut channel, &waiter) {
                // The shell was ended before it could say how the command ended: only a signal does that.
                Ok(exit @ Exit::Signal(_)) => Ok(Some(StepEnd::Exited(exit))),
                Ok(Exit::Status(status)) => Err(Trouble {
                    kind: TroubleKind::Connection,
                    message: format!(
                        "{}: the connection was lost, or the shell there ended (status {status}), before the command did",
                        self.target.shown
                    ),
                }),
                Err(trouble) => Err(trouble),
            },
            Ok(None) => {
                is_silent = self.end_process(exchange.marks.as_ref().and_then(Marks::process));
                Ok(Some(if limit.is_interrupted() { StepEnd::Interrupted } else { StepEnd::TimedOut }))
            }
            Err(trouble) => Err(trouble),
        };
        let aside = Limit::within(ASIDE, None);
        let leaves_some = breaking.is_some() && matches!(end, Ok(None)) && !channel.eof();
        match self.desk(aside) {
            Ok(desk) if leaves_some => desk.connection.hold(channel, &desk.waiter()),
            Ok(desk) => close(&mut channel, &desk.waiter(), !is_silent),
            Err(_) => drop(channel),
        }
        drop(closing);
        self.is_silent |= is_silent;
        self.leaves_output |= leaves_some;
        if may_cut_off {
            self.silent_for = Some(silent_for);
        }
        Ok(self.ran_text(exchange, end))
    }

    /// The same in a shell of this machine.
    fn run_text_here(
        &mut self,
        breaks: bool,
        text: &Whole,
        limit: Limit<'_>,
        watcher: Watcher<'_>,
    ) -> Result<(Ran, Option<Marks>), Trouble> {
        self.sent_at = time_since_boot();
        let mut line = HereLine::begin(&self.target.shown)?;
        let waiter = line.waiter(limit, &self.target.shown);
        let framed = text.framed();
        let mut exchange = Exchange::new(framed.as_bytes(), self.redactor.longest());
        exchange.marks = Some(Marks::new(&text.token));
        let end = match exchange.go_on(&mut line, &waiter, watcher, Exchange::command_is_over) {
            Ok(Some(Over::Marked)) => Ok(None),
            Ok(Some(Over::Closed)) => {
                let how = line
                    .exit()
                    .map_or_else(|| "in a way that nobody knows".to_owned(), |exit| exit.to_string());
                let message = format!("{}: the shell ended before the command did: {how}", self.target.shown);
                Err(Trouble { kind: TroubleKind::Connection, message })
            }
            Ok(None) => {
                self.end_process(exchange.marks.as_ref().and_then(Marks::process));
                Ok(Some(if limit.is_interrupted() { StepEnd::Interrupted } else { StepEnd::TimedOut }))
            }
            Err(trouble) => Err(trouble),
        };
        if breaks && matches!(end, Ok(None)) && !line.is_over() {
            self.leaves_output = true;
            self.held_here = Some(line);
        }
        Ok(self.ran_text(exchange, end))
    }

    /// What a text has done, once it has ended as it did: by itself, or in another way that is known.
    fn ran_text(
        &mut self,
        mut exchange: Exchange<'_>,
        end: Result<Option<StepEnd>, Trouble>,
    ) -> (Ran, Option<Marks>) {
        let mut marks = exchange.marks.take();
        let held = marks.as_mut().map(Marks::finish).unwrap_or_default();
        let has_begun = marks.as_ref().is_some_and(|marks| marks.get('b').is_some());
        exchange.stderr.push(&held);
        let clean = |text: &str| self.redactor.clean(text);
        let (stdout, stderr) = (exchange.stdout.finish(clean), exchange.stderr.finish(clean));
        self.has_begun |= has_begun;
        let (end, marks) = match end {
            Ok(None) => {
                (StepEnd::Exited(Exit::Status(marks.as_ref().and_then(Marks::status).unwrap_or(1))), marks)
            }
            Ok(Some(end)) => (end, None),
            Err(trouble) => (StepEnd::Failed(trouble), None),
        };
        (Ran { end, stdout, stderr, seen_at: None }, marks)
    }

    /// Ends the process group that the command's shell leads, and all that it has begun, from a channel beside it. Answers with
    /// whether nothing answers there any more.
    pub(super) fn end_process(&self, process: Option<(u32, Option<i64>)>) -> bool {
        let (Some((process, start)), Ok(token)) = (process, self.token()) else { return false };
        let text = host::end(&token, process, start, &self.case.mark);
        if let Err(trouble) = self.ask(&text, "cannot end a process", Limit::within(ASIDE, None)) {
            tracing::warn!(
                host = self.target.shown,
                process,
                error = trouble.message,
                "a process may be left behind"
            );
            let refuses =
                self.connection.as_ref().is_some_and(|connection| connection.refuses_channels.get());
            return !refuses && matches!(trouble.kind, TroubleKind::Connection | TroubleKind::Timeout);
        }
        false
    }

    pub(super) fn run_bystander(
        &mut self,
        script: &HostScript,
        limit: Limit<'_>,
        watcher: Watcher<'_>,
    ) -> Result<Ran, Trouble> {
        self.connect(true, limit)?;
        let ground = self.ground.clone().unwrap_or_default();
        let text = host::command(&self.token()?, script, &self.site(&ground));
        self.run_text(&text, limit, watcher).map(|(ran, _)| ran)
    }

    /// Arms the host for a command that breaks it later.
    pub(super) fn arm_only(
        &mut self,
        script: &HostScript,
        arming: &Arming,
        limit: Limit<'_>,
        watcher: Watcher<'_>,
    ) -> Result<Ran, Trouble> {
        let ground = self.before_arming(limit)?;
        self.is_armed = true;
        let text = host::arm(&self.token()?, script, arming, &self.site(&ground));
        let (ran, marks) = self.run_text(&text, limit, watcher)?;
        Ok(self.was_induced(ran, marks, false))
    }

    /// Arms the host, if that was not done before, and breaks it.
    pub(super) fn induce(
        &mut self,
        script: &HostScript,
        arming: &Arming,
        limit: Limit<'_>,
        watcher: Watcher<'_>,
    ) -> Result<Ran, Trouble> {
        let mut is_armed = self.is_armed;
        let ground = match is_armed {
            true => self.as_written_down(limit)?,
            false => self.before_arming(limit)?,
        };
        if !is_armed && !ground.setsid && arming.deadline.is_some() {
            // A watcher that is in the inducer's session would be ended with it.
            let text = host::arm(&self.token()?, script, arming, &self.site(&ground));
            let (ran, marks) = self.run_text(&text, limit, watcher)?;
            match marks {
                Some(marks) if marks.status() == Some(0) => is_armed = true,
                marks => return Ok(self.was_induced(ran, marks, false)),
            }
        }
        let text = match is_armed {
            true => host::induce_armed(&self.token()?, script, arming, &self.site(&ground)),
            false => host::induce(&self.token()?, script, arming, &self.site(&ground)),
        };
        self.is_silent = false;
        let (ran, marks) = self.run_text_of(Some(arming), &text, limit, watcher)?;
        if ran.end == StepEnd::TimedOut && self.is_silent {
            return Err(Trouble {
                kind: TroubleKind::Connection,
                message: format!("{}: nothing answers any more on the connection", self.target.shown),
            });
        }
        Ok(self.was_induced(ran, marks, is_armed))
    }

    /// Connects to the machine that was written down: at its address, and no other.
    fn as_written_down(&mut self, limit: Limit<'_>) -> Result<Ground, Trouble> {
        self.route.only = true;
        let connected = self.connect(true, limit);
        self.route.only = false;
        connected?;
        Ok(self.ground.clone().unwrap_or_default())
    }

    /// The same, to leave there what heals it.
    fn before_arming(&mut self, limit: Limit<'_>) -> Result<Ground, Trouble> {
        let ground = self.as_written_down(limit)?;
        self.has_armed = true;
        self.armed = self.files();
        Ok(ground)
    }

    /// What the marks of a text that arms or breaks the host say beside its status.
    pub(super) fn was_induced(&mut self, mut ran: Ran, marks: Option<Marks>, was_armed: bool) -> Ran {
        let Some(marks) = marks else { return ran };
        let folder = self.folder.clone().unwrap_or_default();
        let said = |ran: &Ran| ran.stderr.last_line();
        if let Some(why) = marks.get('a') {
            ran.end = match why {
                2 => {
                    self.looked = false;
                    let message = format!("{}: another case has the host", self.target.shown);
                    StepEnd::Busy { message, within: Duration::from_secs(1) }
                }
                5 => {
                    self.forget_folder();
                    let message = format!("{folder} is gone from {}", self.target.shown);
                    StepEnd::Busy { message, within: Duration::from_secs(1) }
                }
                6 => {
                    // What else lies there is not known to be whole either.
                    self.brought.clear();
                    let message = format!(
                        "a file of the book was changed on {}: all are brought anew",
                        self.target.shown
                    );
                    StepEnd::Busy { message, within: Duration::from_secs(1) }
                }
                _ => {
                    let why = said(&ran).unwrap_or_else(|| "no reason was given".to_owned());
                    let shown = &self.target.shown;
                    let message = match was_armed {
                        true => format!("{shown}: its inducer was not begun: {why}"),
                        false => format!(
                            "{shown}: cannot leave what heals the host in {folder}, so nothing was broken: {why}"
                        ),
                    };
                    StepEnd::Failed(Trouble { kind: TroubleKind::Arming, message })
                }
            };
        } else if let Some(status) = marks.get('c') {
            ran.end = StepEnd::Declined(i32::try_from(status).unwrap_or(i32::MAX));
        }
        ran
    }
}
