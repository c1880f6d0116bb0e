//! Instants as people write them.

use chrono::{DateTime, Local, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use interim::{Dialect, parse_date_string};
use thiserror::Error;

use crate::sql::bounds::SECOND_NS;

/// Why a text is no instant.
#[derive(Debug, Error)]
pub enum TimeError {
    /// None of the forms fits.
    #[error(
        "`{text}` is no time; write 2026-11-24 03:12:05, 2026-11-24T03:12:05Z, `10 minutes ago`, \
         -10m, `yesterday 14:00` or @1764000000"
    )]
    Unknown {
        /// The text.
        text: String,
    },
    /// The clock was set forward over it.
    #[error("`{text}` does not exist: the clock was set forward then; write it with a UTC offset")]
    Skipped {
        /// The text.
        text: String,
    },
    /// Nanoseconds since 1970 do not fit 64 bits.
    #[error("`{text}` lies outside the years 1678 to 2261")]
    OutOfRange {
        /// The text.
        text: String,
    },
}

/// Reads an instant, in nanoseconds since the Unix epoch.
///
/// Forms: RFC 3339; `2026-11-24`, `2026-11-24 03:12[:05[.123]]` in local time; `@1764000000[.5]`,
/// seconds since the epoch; `now`; `today` and `yesterday`, which are their beginnings; `-10m`,
/// `10 minutes ago`, `yesterday 14:00` and the like, counted from `now`. A local time that happened
/// twice is the earlier one. A span without `-` or `ago` is refused: it would lie ahead.
///
/// # Errors
/// When the text has none of these forms, or names a time that does not exist or does not fit.
pub fn parse_time(text: &str, now: DateTime<Local>) -> Result<i64, TimeError> {
    let trimmed = text.trim();
    if let Some(epoch) = trimmed.strip_prefix('@') {
        return seconds(epoch).ok_or_else(|| TimeError::Unknown { text: text.to_owned() });
    }
    let time = if trimmed.eq_ignore_ascii_case("now") {
        now
    } else if let Ok(time) = DateTime::parse_from_rfc3339(trimmed) {
        time.with_timezone(&Local)
    } else if let Some(naive) = naive(trimmed) {
        match Local.from_local_datetime(&naive) {
            LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => time,
            LocalResult::None => {
                return Err(TimeError::Skipped { text: text.to_owned() });
            }
        }
    } else {
        relative(trimmed, now).ok_or_else(|| TimeError::Unknown { text: text.to_owned() })?
    };
    time.timestamp_nanos_opt().ok_or_else(|| TimeError::OutOfRange { text: text.to_owned() })
}

fn naive(text: &str) -> Option<NaiveDateTime> {
    const FORMS: [&str; 4] =
        ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"];
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(date.and_time(NaiveTime::MIN));
    }
    FORMS.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
}

/// `-10m` is `10m ago`; the rest is English.
fn relative(text: &str, now: DateTime<Local>) -> Option<DateTime<Local>> {
    let is_span = text.starts_with(|first: char| first.is_ascii_digit())
        && !text.contains(':')
        && !text.ends_with("ago");
    if is_span {
        return None;
    }
    let day = match text.to_ascii_lowercase().as_str() {
        "today" | "midnight" => Some(now.date_naive()),
        "yesterday" => now.date_naive().pred_opt(),
        _ => None,
    };
    if let Some(day) = day {
        return Local.from_local_datetime(&day.and_time(NaiveTime::MIN)).earliest();
    }
    let words = match text.strip_prefix('-') {
        Some(duration) if !duration.ends_with("ago") => format!("{duration} ago"),
        _ => text.to_owned(),
    };
    parse_date_string(&words, now, Dialect::Uk).ok()
}

/// Decimal seconds to nanoseconds, without passing through a float.
fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty()
        || fraction.len() > 9
        || !fraction.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<9}").parse().ok()?;
    let fraction = if whole.starts_with('-') { -fraction } else { fraction };
    whole.parse::<i64>().ok()?.checked_mul(SECOND_NS)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use chrono::Days;

    use super::*;

    const NOW_NS: i64 = 1_764_000_000_500_000_000;

    fn parse(text: &str) -> Option<i64> {
        let now = DateTime::from_timestamp_nanos(NOW_NS).with_timezone(&Local);
        parse_time(text, now).ok()
    }

    #[test]
    fn forms() {
        let local = |text: &str| {
            let naive = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").unwrap();
            Local.from_local_datetime(&naive).earliest().unwrap().timestamp_nanos_opt()
        };
        let midnight = |days_ago: u64| {
            let now = DateTime::from_timestamp_nanos(NOW_NS).with_timezone(&Local);
            let day = now.date_naive().checked_sub_days(Days::new(days_ago)).unwrap();
            local(&format!("{day} 00:00:00"))
        };
        let cases = [
            ("@1764000000", Some(1_764_000_000 * SECOND_NS)),
            ("@1764000000.25", Some(1_764_000_000_250_000_000)),
            ("@-1.5", Some(-1_500_000_000)),
            ("@", None),
            ("@1.", None),
            ("1970-01-01T00:00:01.000000001Z", Some(1_000_000_001)),
            ("1970-01-01T01:00:00+01:00", Some(0)),
            ("2026-11-24 03:12", local("2026-11-24 03:12:00")),
            ("2026-11-24T03:12:05.123", local("2026-11-24 03:12:05.123")),
            ("2026-11-24", local("2026-11-24 00:00:00")),
            ("now", Some(NOW_NS)),
            ("10 minutes ago", Some(NOW_NS - 600 * SECOND_NS)),
            (" -10m ", Some(NOW_NS - 600 * SECOND_NS)),
            ("-2h", Some(NOW_NS - 7200 * SECOND_NS)),
            ("10m", None),
            ("2 hours", None),
            ("today", midnight(0)),
            ("Yesterday", midnight(1)),
            ("", None),
            ("soon or later", None),
            ("2026-13-01", None),
            ("3000-01-01T00:00:00Z", None),
        ];
        for (text, time) in cases {
            assert_eq!(parse(text), time, "{text}");
        }
    }

    #[test]
    fn a_message_names_the_forms() {
        let error = parse_time("soon", Local::now()).unwrap_err();
        assert!(error.to_string().starts_with("`soon` is no time; write 2026-11-24"), "{error}");
    }
}
