//! What becomes of a case that is known to fail: accepted until its day, told when it passes, failed the day after. Reads the clock.

use std::time::SystemTime;

use crate::fatebook::Known;
use crate::machine::{CaseOutcome, Finding, KNOWN, Verdict};

/// How a case that is known to fail is judged today, and what a person should be told besides. That a host was left broken, that a
/// step could not be carried out, that the service was not well before, and that something is lost are never accepted.
pub(super) fn judge(outcome: CaseOutcome, known: &Known, name: &str) -> (CaseOutcome, Option<String>) {
    judge_on(&today(), outcome, known, name)
}

fn judge_on(today: &str, outcome: CaseOutcome, known: &Known, name: &str) -> (CaseOutcome, Option<String>) {
    let Known { reason, until } = known;
    // Days written so are in the order of their letters.
    let is_over = today > until.as_str();
    if outcome.findings.iter().any(|finding| finding.kind == "Lost") {
        return (outcome, None);
    }
    match outcome.verdict {
        Verdict::Succumbed | Verdict::NotRecovered if !is_over => {
            let found = outcome.main_finding().map(|finding| finding.message.as_str()).unwrap_or_default();
            let message = format!("known until {until} ({reason}): {}, {found}", outcome.verdict);
            let finding = Finding::new(Verdict::Skipped, KNOWN, message);
            (CaseOutcome { verdict: Verdict::Skipped, findings: vec![finding], ..outcome }, None)
        }
        Verdict::Succumbed | Verdict::NotRecovered => {
            let mut outcome = outcome;
            if let Some(finding) = outcome.findings.iter_mut().find(|other| other.verdict == outcome.verdict)
            {
                finding.message.push_str(&format!("; it was known until {until}, which is over ({reason})"));
            }
            (outcome, None)
        }
        Verdict::Survived => {
            let told =
                format!("`{name}` passes, although it is known to fail ({reason}): take its `known` away");
            (outcome, Some(told))
        }
        _ => (outcome, None),
    }
}

/// Today's date in UTC, as `2027-01-31`.
fn today() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    date_of(now.as_secs() / 86_400)
}

/// The date of a day since 1970-01-01, by the calendar's cycle of 400 years, which begins with a March.
fn date_of(day: u64) -> String {
    let day = day + 719_468;
    let (cycle, day_of_cycle) = (day / 146_097, day % 146_097);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = 400 * cycle + year_of_cycle + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day_of_month:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let check = |day: u64, want: &str| assert_eq!(date_of(day), want);
        check(0, "1970-01-01");
        check(58, "1970-02-28");
        check(59, "1970-03-01");
        check(11_016, "2000-02-29");
        check(11_017, "2000-03-01");
        check(20_787, "2026-11-30");
        check(47_540, "2100-02-28");
        check(47_541, "2100-03-01");
        let days: Vec<String> = (0..60_000).map(date_of).collect();
        assert!(days.windows(2).all(|two| two[0] < two[1]));
    }

    #[test]
    fn until_its_day() {
        let known = Known { reason: "OPS-7".to_owned(), until: "2027-01-31".to_owned() };
        let check = |today: &str, verdict: Verdict, want: (Verdict, &str), told: bool| {
            let finding = Finding::new(verdict, "K", "why");
            let findings = if verdict == Verdict::Survived { Vec::new() } else { vec![finding] };
            let (outcome, warning) =
                judge_on(today, CaseOutcome { verdict, findings, report: None }, &known, "b::f@h");
            let message = outcome.main_finding().map(|finding| finding.message.clone()).unwrap_or_default();
            assert_eq!((outcome.verdict, message.as_str()), want, "{today} {verdict}");
            assert_eq!(warning.is_some(), told, "{today} {verdict}: {warning:?}");
        };
        let accepted = "known until 2027-01-31 (OPS-7): succumbed, why";
        check("2026-12-31", Verdict::Succumbed, (Verdict::Skipped, accepted), false);
        check("2027-01-31", Verdict::Succumbed, (Verdict::Skipped, accepted), false);
        let over = "why; it was known until 2027-01-31, which is over (OPS-7)";
        check("2027-02-01", Verdict::Succumbed, (Verdict::Succumbed, over), false);
        check("2027-02-01", Verdict::NotRecovered, (Verdict::NotRecovered, over), false);
        // That something is lost is another matter than that the service is not well.
        let findings = vec![
            Finding::new(Verdict::Succumbed, "UnhealthyDuring", "why"),
            Finding::new(Verdict::Succumbed, "Lost", "3 lost of 3"),
        ];
        let lost = CaseOutcome { verdict: Verdict::Succumbed, findings, report: None };
        assert_eq!(judge_on("2026-12-31", lost.clone(), &known, "b::f@h"), (lost, None));
        for today in ["2027-01-31", "2027-02-01"] {
            check(today, Verdict::Survived, (Verdict::Survived, ""), true);
            for verdict in [Verdict::Skipped, Verdict::Unfit, Verdict::Botched, Verdict::Unreverted] {
                check(today, verdict, (verdict, "why"), false);
            }
        }
    }
}
