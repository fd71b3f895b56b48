//! One command on a host, from its text to what its marks say; and the inducer.

use super::*;

impl SshHost {
    /// Runs a text that is for a script, and answers with what its marks say.
    pub(super) fn run_text(
        &mut self,
        text: &Whole,
        limit: Limit<'_>,
        watcher: Watcher<'_>,
    ) -> Result<(Ran, Option<Marks>), Trouble> {
        self.run_text_that(text, false, limit, watcher)
    }

    /// The same; it may cut the host off.
    fn run_text_that(
        &mut self,
        text: &Whole,
        may_cut_off: bool,
        limit: Limit<'_>,
        watcher: Watcher<'_>,
    ) -> Result<(Ran, Option<Marks>), Trouble> {
        self.sent_at = time_since_boot();
        let desk = self.desk(limit)?;
        let waiter = desk.waiter();
        let watch = desk.connection.watchdog.watch(limit);
        let Shell { mut channel, was_spare } = desk.shell()?;
        let framed = text.framed();
        let mut exchange = Exchange::new(framed.as_bytes(), self.redactor.longest())
            .with_next(&desk.connection.spare)
            .feeling_pulse(may_cut_off);
        exchange.marks = Some(Marks::new(&text.token));
        let gone_on = exchange.go_on(&mut channel, &waiter, watcher, Exchange::command_is_over);
        drop(watch);
        // Closing, and ending what runs, have limits of their own.
        let closing = desk.connection.watchdog.watch(Limit::within(ASIDE * 2, None));
        if was_spare && matches!(gone_on, Ok(Some(Over::Closed))) && !exchange.has_begun() {
            close(&mut channel, &waiter, true);
            desk.connection.spare.give_up(&waiter);
            drop(closing);
            return self.run_text_that(text, may_cut_off, limit, watcher);
        }
        let silent_for = exchange.silent_for();
        let mut is_silent = may_cut_off && gone_on.is_err();
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
        if let Ok(desk) = self.desk(aside) {
            close(&mut channel, &desk.waiter(), !is_silent);
        }
        drop(channel);
        drop(closing);
        let mut marks = exchange.marks.take();
        let held = marks.as_mut().map(Marks::finish).unwrap_or_default();
        let has_begun = marks.as_ref().is_some_and(|marks| marks.get('b').is_some());
        exchange.stderr.push(&held);
        let clean = |text: &str| self.redactor.clean(text);
        let (stdout, stderr) = (exchange.stdout.finish(clean), exchange.stderr.finish(clean));
        self.is_silent |= is_silent;
        if may_cut_off {
            self.silent_for = Some(silent_for);
        }
        self.has_begun |= has_begun;
        let (end, marks) = match end {
            Ok(None) => {
                (StepEnd::Exited(Exit::Status(marks.as_ref().and_then(Marks::status).unwrap_or(1))), marks)
            }
            Ok(Some(end)) => (end, None),
            Err(trouble) => (StepEnd::Failed(trouble), None),
        };
        Ok((Ran { end, stdout, stderr, seen_at: None }, marks))
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

    /// Arms the host and breaks it.
    pub(super) fn induce(
        &mut self,
        script: &HostScript,
        arming: &Arming,
        limit: Limit<'_>,
        watcher: Watcher<'_>,
    ) -> Result<Ran, Trouble> {
        // What was written down names this machine, at this address, and no other is broken.
        self.route.only = true;
        let connected = self.connect(true, limit);
        self.route.only = false;
        connected?;
        let ground = self.ground.clone().unwrap_or_default();
        self.has_armed = true;
        self.armed = self.files();
        let (folder, case) = (self.folder.clone().unwrap_or_default(), self.case.mark.clone());
        let healer = self.healer.clone();
        let site = Site {
            folder: &folder,
            identity: &ground.identity,
            mark: &case,
            healer: &healer,
            becomes_root: self.login.becomes_root,
            setsid: ground.setsid,
            reach: &ground.reach,
            files: self.files(),
        };
        if !ground.setsid && arming.deadline.is_some() {
            // A watcher that is in the inducer's session would be ended with it.
            let text = host::arm(&self.token()?, script, arming, &site);
            let (ran, marks) = self.run_text(&text, limit, watcher)?;
            match marks {
                Some(marks) if marks.status() == Some(0) => {}
                marks => return Ok(self.was_induced(ran, marks)),
            }
        }
        let text = host::induce(&self.token()?, script, arming, &site);
        self.is_silent = false;
        let (ran, marks) = self.run_text_that(&text, arming.cuts_off, limit, watcher)?;
        if ran.end == StepEnd::TimedOut && self.is_silent {
            return Err(Trouble {
                kind: TroubleKind::Connection,
                message: format!("{}: nothing answers any more on the connection", self.target.shown),
            });
        }
        Ok(self.was_induced(ran, marks))
    }

    /// What the marks of a text that arms and breaks the host say beside its status.
    pub(super) fn was_induced(&mut self, mut ran: Ran, marks: Option<Marks>) -> Ran {
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
                    StepEnd::Failed(Trouble {
                        kind: TroubleKind::Arming,
                        message: format!(
                            "{}: cannot leave what heals the host in {folder}, so nothing was broken: {why}",
                            self.target.shown
                        ),
                    })
                }
            };
        } else if let Some(status) = marks.get('c') {
            ran.end = StepEnd::Declined(i32::try_from(status).unwrap_or(i32::MAX));
        }
        ran
    }
}
