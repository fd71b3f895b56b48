//! A failure that a service is known not to stand, and until when that is accepted. Pure.

use super::failures::is_yes_or_no;
use super::keys;
use super::model::Known;
use super::node::Node;
use super::read::Reader;

impl Reader<'_> {
    /// Why a failure is known to fail, and until when.
    pub(super) fn known(&mut self, node: Option<&Node>) -> Option<Known> {
        let node = node?;
        let fields = self.fields(node, keys::KNOWN_KEYS, "`known`")?;
        self.keep_secrets_out(fields.get("reason"), "reports");
        let reason = self.text(fields.get("reason"), "reason")?;
        let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        if reason.is_empty() || is_yes_or_no(&reason) {
            let place = fields.get("reason").map_or(node.place, |node| node.place);
            self.problem(place, "`reason` is why the service is known not to stand it, a text: say why");
        }
        let until_node = fields.get("until")?;
        let wanted = "`until` is a date such as 2027-01-31, the last day on which it may fail";
        let until = self.plain(until_node, wanted)?;
        if !is_date(&until) {
            self.problem(until_node.place, format!("{wanted}, not `{until}`"));
            return None;
        }
        Some(Known { reason, until })
    }
}

/// Whether a text is a day of the calendar, as `2027-01-31`.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let number = |text: &str, digits: usize| -> Option<u32> {
        (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2)) else {
        return false;
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 0,
    };
    (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for day in ["2027-01-31", "2028-02-29", "2000-02-29", "2026-12-01"] {
            assert!(is_date(day), "{day}");
        }
        for other in [
            "",
            "2027-1-31",
            "2027-02-29",
            "2100-02-29",
            "2027-13-01",
            "2027-00-10",
            "2027-01-00",
            "27-01-01",
            "2027-01-32",
            "2027-01-01T00:00",
            "x",
            "-2027-01-01",
        ] {
            assert!(!is_date(other), "{other}");
        }
    }
}
