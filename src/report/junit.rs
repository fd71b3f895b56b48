//! JUnit XML, as Jenkins' junit and xunit plugins and GitLab read it. A suite is a book, a test case one failure on one host.
//! Rewritten after each case, whole or not at all, so that a build that was aborted still has it; a case that is running
//! stands in it as an error.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use junit_report::{
    Duration as JunitDuration, OffsetDateTime, Report, TestCase, TestCaseBuilder, TestSuiteBuilder,
};

use crate::fatebook::strip_escapes;
use crate::machine::{Around, AroundRecord, CaseId, CaseOutcome, KNOWN, RunEvent, Verdict, file_name};

use super::CaseInfo;
use super::files::make_folder;
use super::tell::{Repeat, failure_text, headline, success_text};

/// A report that takes longer than this to write is not written each time, …
const WRITING_QUICK: Duration = Duration::from_millis(20);
/// … but so that writing it takes at most this part of the run's time.
const WRITING_PART: u32 = 10;

/// The report of a run.
#[derive(Debug)]
pub struct JunitReport {
    path: PathBuf,
    /// GitLab reads the attribute `file`; the schema of Jenkins' xunit plugin refuses it.
    with_file: bool,
    repeat: Repeat,
    suites: Vec<(String, Vec<CaseId>)>,
    cases: HashMap<CaseId, (CaseInfo, Option<CaseOutcome>, bool)>,
    started: SystemTime,
    written: Option<(Instant, Duration)>,
    /// Whether something has happened that is not in the file yet.
    late: bool,
    /// Why nothing was run.
    refused: Option<String>,
    /// What books have done once, around their cases.
    around: Vec<AroundRecord>,
}

impl JunitReport {
    /// A report of these cases, to be written to this file.
    pub fn new(path: PathBuf, with_file: bool, repeat: Repeat) -> Self {
        Self {
            path,
            with_file,
            repeat,
            suites: Vec::new(),
            cases: HashMap::new(),
            started: SystemTime::now(),
            written: None,
            late: false,
            refused: None,
            around: Vec::new(),
        }
    }

    /// The place of one case's own report, beside the file of the whole: under nextest each case is a process.
    pub fn path_of_one(folder: &Path, name: &str) -> PathBuf {
        folder.join("junit").join(format!("{}.xml", file_name(name)))
    }

    /// Writes a report that says why nothing was run: an old one would be taken for this run's. Fails, saying why, if it cannot.
    pub fn refuse(path: PathBuf, why: &str) -> Result<(), String> {
        let mut report = Self::new(path, false, Repeat::Program(String::new()));
        report.refused = Some(why.to_owned());
        report.write()
    }

    /// Takes in an event.
    pub(super) fn hear(&mut self, event: &RunEvent, infos: &HashMap<CaseId, CaseInfo>) {
        match event {
            RunEvent::Began { case } => self.entry(*case, infos, |_, _| {}),
            RunEvent::MayBeDirty { case, .. } => {
                self.entry(*case, infos, |_, dirty| *dirty = true);
                self.late = true;
            }
            RunEvent::Reverted { case, host: None } => self.entry(*case, infos, |_, dirty| *dirty = false),
            RunEvent::Settled { case, outcome } => {
                self.entry(*case, infos, |known, _| *known = Some(outcome.clone()));
                self.late = true;
            }
            RunEvent::WentAround(record) => {
                self.around.push((**record).clone());
                self.late = true;
            }
            _ => {}
        }
    }

    fn entry(
        &mut self,
        id: CaseId,
        infos: &HashMap<CaseId, CaseInfo>,
        change: impl FnOnce(&mut Option<CaseOutcome>, &mut bool),
    ) {
        let Some(info) = infos.get(&id) else { return };
        if !self.cases.contains_key(&id) {
            match self.suites.iter_mut().find(|(book, _)| *book == info.book) {
                Some((_, cases)) => cases.push(id),
                None => self.suites.push((info.book.clone(), vec![id])),
            }
        }
        let (_, outcome, dirty) = self.cases.entry(id).or_insert_with(|| (info.clone(), None, false));
        change(outcome, dirty);
    }

    fn write_in_time(&mut self) -> Result<(), String> {
        if let Some((at, took)) = self.written
            && took > WRITING_QUICK
            && at.elapsed() < took * WRITING_PART
        {
            self.late = true;
            return Ok(());
        }
        self.write()
    }

    /// Whether something has happened that is not in the file yet.
    pub(super) fn is_late(&self) -> bool {
        self.late
    }

    /// Writes what is not in the file yet, if it is time for that.
    pub(super) fn tick(&mut self) -> Result<(), String> {
        if self.late { self.write_in_time() } else { Ok(()) }
    }

    /// Writes the file: a new one beside it, which then takes its place. Fails, saying why, if it cannot.
    pub fn write(&mut self) -> Result<(), String> {
        let began = Instant::now();
        self.late = false;
        let failed = |error: &dyn std::fmt::Display| {
            format!("cannot write the JUnit report {}: {error}", self.path.display())
        };
        let mut xml = Vec::new();
        self.report().write_xml(&mut xml).map_err(|error| failed(&error))?;
        let xml = format!("{}\n", round_times(&String::from_utf8_lossy(&xml)));
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        make_folder(folder).map_err(|error| failed(&error))?;
        if fs::metadata(&self.path).is_ok_and(|metadata| !metadata.is_file()) {
            // What is no file, as /dev/stdout, is written to and not replaced.
            return fs::write(&self.path, &xml).map_err(|error| failed(&error));
        }
        let file = tempfile::Builder::new()
            .prefix(".junit-")
            .suffix(".xml")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)
            .map_err(|error| failed(&error))?;
        fs::write(file.path(), &xml).map_err(|error| failed(&error))?;
        file.persist(&self.path).map_err(|error| failed(&error.error))?;
        self.written = Some((Instant::now(), began.elapsed()));
        Ok(())
    }

    fn report(&self) -> Report {
        let mut report = Report::new();
        let started = OffsetDateTime::from(self.started);
        let started = started.replace_nanosecond(0).unwrap_or(started);
        if let Some(why) = &self.refused {
            let mut suite = TestSuiteBuilder::new("pisaura");
            suite.set_timestamp(started);
            suite.add_testcase(
                TestCaseBuilder::error("the run", JunitDuration::ZERO, "Refused", &clean(why)).build(),
            );
            report.add_testsuite(suite.build());
        }
        for (book, ids) in &self.suites {
            let mut suite = TestSuiteBuilder::new(&clean(book));
            suite.set_timestamp(started);
            let mut ids = ids.clone();
            ids.sort_unstable();
            suite.add_testcases(self.around_cases(book, Around::BeforeAll));
            for id in ids {
                if let Some((info, outcome, dirty)) = self.cases.get(&id) {
                    suite.add_testcase(self.testcase(info, outcome.as_ref(), *dirty));
                }
            }
            suite.add_testcases(self.around_cases(book, Around::AfterAll));
            let mut suite = suite.build();
            // Jenkins would show it before the name, and it says nothing.
            suite.package.clear();
            report.add_testsuite(suite);
        }
        report
    }

    /// A test case for what this book has done once, if it was.
    fn around_cases(&self, book: &str, around: Around) -> Vec<TestCase> {
        let records = self.around.iter().filter(|record| record.book == book && record.around == around);
        let case = |record: &AroundRecord| {
            let (name, took) =
                (around.to_string(), JunitDuration::milliseconds(record.took.as_millis() as i64));
            let printed = format!("{}{}", record.stdout.whole(), record.stderr.whole());
            let mut case = match record.why_failed() {
                None => TestCaseBuilder::success(&name, took),
                Some(why) => {
                    let kind = if around == Around::BeforeAll { "BeforeAllFailed" } else { "AfterAllFailed" };
                    let mut case = TestCaseBuilder::error(&name, took, kind, &clean(&why));
                    case.set_trace(&cdata(&format!("{why}\n{printed}")));
                    case
                }
            }
            .build();
            case.classname = Some(clean(&format!("pisaura.{}", book.replace("::", "."))));
            if !printed.is_empty() {
                case.system_out = Some(cdata(&printed));
            }
            case
        };
        records.map(case).collect()
    }

    fn testcase(&self, info: &CaseInfo, outcome: Option<&CaseOutcome>, dirty: bool) -> TestCase {
        let name = clean(&info.short_name);
        let took =
            outcome.and_then(|outcome| outcome.report.as_ref()).map_or(Duration::ZERO, |report| report.took);
        let took = JunitDuration::milliseconds(took.as_millis() as i64);
        let mut text = match outcome {
            Some(outcome) if outcome.verdict != Verdict::Survived => {
                failure_text(info, outcome, &self.repeat)
            }
            Some(outcome) => success_text(outcome),
            None => format!("repeat it: {}", self.repeat.command(info)),
        };
        let message = outcome.map(headline).unwrap_or_default();
        let kind = outcome
            .and_then(CaseOutcome::main_finding)
            .map_or_else(|| "Interrupted".to_owned(), |finding| finding.kind.clone());
        let (kind, message) = (clean(&kind), clean(&message));
        let mut builder = match outcome.map(|outcome| outcome.verdict) {
            Some(Verdict::Survived) => TestCaseBuilder::success(&name, took),
            Some(Verdict::Skipped) => {
                let mut case = TestCase::skipped(&name);
                case.time = took;
                case.result = junit_report::TestResult::SkippedWithCause {
                    type_: kind.clone(),
                    message: message.trim_start_matches("skipped: ").to_owned(),
                    cause: Some(cdata(message.trim_start_matches("skipped: "))),
                };
                // One that was carried out says what came of it.
                return self.finish(case, info, if kind == KNOWN { &text } else { "" });
            }
            Some(Verdict::Unfit | Verdict::Succumbed | Verdict::NotRecovered) => {
                TestCaseBuilder::failure(&name, took, &kind, &message)
            }
            Some(Verdict::Botched | Verdict::Unreverted) => {
                TestCaseBuilder::error(&name, took, &kind, &message)
            }
            None => {
                let message = match dirty {
                    true => "interrupted, may be dirty: the run ended while this failure was tried",
                    false => "interrupted: the run ended while this case was running",
                };
                text = format!("{message}\n\n{text}");
                TestCaseBuilder::error(&name, took, "Interrupted", message)
            }
        };
        if outcome.is_none_or(|outcome| outcome.verdict != Verdict::Survived) {
            // Readers show either the message or the text, so the text begins with the message.
            let text = match message.as_str() {
                "" => text.clone(),
                message if text.starts_with(message) => text.clone(),
                message => format!("{message}\n{text}"),
            };
            builder.set_trace(&cdata(&text));
        }
        self.finish(builder.build(), info, &text)
    }

    fn finish(&self, mut case: TestCase, info: &CaseInfo, system_out: &str) -> TestCase {
        // Dots make Jenkins' tree of packages, so a host's own would split it.
        let host = info.host.replace('.', "_");
        let book = info.book.replace("::", ".");
        let classname =
            if host.is_empty() { format!("pisaura.{book}") } else { format!("pisaura.{book}.{host}") };
        case.classname = Some(clean(&classname));
        if !system_out.is_empty() {
            case.system_out = Some(cdata(system_out));
        }
        if self.with_file {
            case.filepath = Some(clean(&info.file.display().to_string()));
        }
        case
    }
}

/// Rounds the attributes `time` to milliseconds, as the schema wants them: a sum of floating-point numbers has more digits.
/// They stand in tags only; within an attribute's value the quote would be escaped.
fn round_times(xml: &str) -> String {
    const ATTRIBUTE: &str = " time=\"";
    let mut rounded = String::with_capacity(xml.len());
    for (index, part) in xml.split("<![CDATA[").enumerate() {
        let (text, mut tags) = match part.find("]]>") {
            Some(end) if index > 0 => part.split_at(end),
            _ => ("", part),
        };
        if index > 0 {
            rounded.push_str("<![CDATA[");
        }
        rounded.push_str(text);
        while let Some((before, after)) = tags.split_once(ATTRIBUTE) {
            let (number, rest) = after.split_once('"').unwrap_or((after, ""));
            let seconds: f64 = number.parse().unwrap_or_default();
            rounded.push_str(&format!("{before}{ATTRIBUTE}{seconds:.3}\""));
            tags = rest;
        }
        rounded.push_str(tags);
    }
    rounded
}

/// What XML 1.0 can hold: no escape sequences, no other control characters.
fn clean(text: &str) -> String {
    strip_escapes(text)
        .chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => c,
            '\u{0}'..='\u{1f}' | '\u{7f}' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// The same within CDATA, where the end of it must not stand.
fn cdata(text: &str) -> String {
    clean(text).replace("]]>", "]]]]><![CDATA[>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_nothing_else_is_changed() {
        let suite = |seconds: &str| {
            format!(
                "<s time=\"{seconds}\" a=\" time=&quot;9.99999\"><c time=\"{seconds}\"><![CDATA[ time=\"1.98765\" ]]]]><![CDATA[> time=\"2.98765\"]]></c><c time=\"{seconds}\"/></s>"
            )
        };
        assert_eq!(round_times(&suite("1.9889999999999999")), suite("1.989"));
        assert_eq!(round_times(&suite("0")), suite("0.000"));
        assert_eq!(round_times("no time"), "no time");
    }
}
