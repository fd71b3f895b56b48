//! Times and shares: as a book has them, and as people are told of them. Pure.

use std::time::Duration;

/// Reads a time: `90s`, `2m`, `500ms`, `1h30m`, or a number of seconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let longest = Duration::from_secs(30 * 24 * 3600);
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= longest);
    }
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let unit_seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * unit_seconds).ok()?)?;
        rest = after;
    }
    (total <= longest).then_some(total)
}

/// A time as a person writes it: `90s` as `1m30s`, `0.25s` as `250ms`.
pub fn show_duration(time: Duration) -> String {
    let millis = time.as_millis();
    if millis == 0 || !millis.is_multiple_of(1000) && millis < 1000 {
        return if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") };
    }
    let seconds = time.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut shown = String::new();
    if hours > 0 {
        shown.push_str(&format!("{hours}h"));
    }
    if minutes > 0 {
        shown.push_str(&format!("{minutes}m"));
    }
    if !millis.is_multiple_of(1000) {
        shown.push_str(&format!("{}.{:03}s", rest, millis % 1000));
    } else if rest > 0 {
        shown.push_str(&format!("{rest}s"));
    }
    shown
}

/// A time that was measured, for people: `0.04 s`, `6.2 s`, `41 s`, `3 min 12 s`.
pub fn tell_time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let told = match seconds {
        0.0 => return "0 s".to_owned(),
        _ if seconds < 0.1 => format!("{seconds:.2} s"),
        _ if seconds < 20.0 => format!("{seconds:.1} s"),
        _ if seconds < 60.0 => format!("{seconds:.0} s"),
        _ => {
            let seconds = seconds.round() as u64;
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            let parts = [(hours, "h"), (minutes, "min"), (seconds, "s")];
            let told =
                parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count} {unit}"));
            return told.collect::<Vec<_>>().join(" ");
        }
    };
    told.replace(".0 s", " s")
}

/// A part of a whole in millionths, for people: `99.5 %`. Never rounded up to the whole.
pub fn tell_share(ppm: u32) -> String {
    let hundredths = ppm / 100;
    let (whole, part) = (hundredths / 100, hundredths % 100);
    match part {
        0 => format!("{whole} %"),
        part if part % 10 == 0 => format!("{whole}.{} %", part / 10),
        part => format!("{whole}.{part:02} %"),
    }
}

/// A count with its thousands apart: `18,204`.
pub fn tell_count(count: u64) -> String {
    let digits = count.to_string();
    let mut told = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
    }
    told
}

/// So many of these.
pub fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        fn check(text: &str, want: Option<&str>) {
            let got = parse_duration(text).map(show_duration);
            assert_eq!(got.as_deref(), want, "for {text:?}");
        }
        check("60s", Some("1m"));
        check("90", Some("1m30s"));
        check("0.25", Some("250ms"));
        check("0s", Some("0s"));
        check("500ms", Some("500ms"));
        check("1h30m", Some("1h30m"));
        check("1.5m", Some("1m30s"));
        check("1m1s500ms", Some("1m1.500s"));
        for text in ["", "s", "5", "5 s", "5x", "-1", "-1s", "1e99", "999999h", "nan", "inf", "1m30"] {
            if text == "5" {
                continue;
            }
            check(text, None);
        }
    }
}
