//! How things are put into words: times, ACLs, paths and bytes that anybody may have written.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Display, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serializer;

use crate::wire::client::{Acl, perms};

const DAY_MS: i64 = 86_400_000;

/// Milliseconds since 1970 as a moment of UTC (RFC 3339).
pub(super) struct Moment(pub(super) i64);

impl Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.0.div_euclid(DAY_MS), self.0.rem_euclid(DAY_MS));
        let (year, month, day) = date(days);
        let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        let ms = ms % 1000;
        write!(f, "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z")
    }
}

/// The civil date of a day since 1970, in the Gregorian calendar.
fn date(days: i64) -> (i64, i64, i64) {
    // Eras of 400 years that begin on 1 March: the leap day is the last of a year.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let civil_month = if month < 10 { month + 3 } else { month - 9 };
    let civil_year = era * 400 + year + i64::from(civil_month <= 2);
    (civil_year, civil_month, day - (153 * month + 2) / 5 + 1)
}

/// Text from a file, without what could steer a terminal.
pub(super) struct Plain<'a>(pub(super) &'a str);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// A path; the root is the empty one in files.
pub(super) fn path(stored: &str) -> String {
    if stored.is_empty() { String::from("/") } else { String::from(stored) }
}

/// `1 znode`, `2 znodes`.
pub(super) struct Count(pub(super) u64, pub(super) &'static str);

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count(n, what) = self;
        write!(f, "{n} {what}{}", if *n == 1 { "" } else { "s" })
    }
}

/// `scheme:id:cdrwa` for each entry.
pub(super) fn acl(entries: &[Acl]) -> Vec<String> {
    let all = entries.iter().map(|entry| {
        let letters = [
            (perms::CREATE, 'c'),
            (perms::DELETE, 'd'),
            (perms::READ, 'r'),
            (perms::WRITE, 'w'),
            (perms::ADMIN, 'a'),
        ];
        let has = |(bit, letter): (i32, char)| (entry.perms & bit != 0).then_some(letter);
        let letters: String = letters.into_iter().filter_map(has).collect();
        format!("{}:{}:{letters}", entry.id.scheme, entry.id.id)
    });
    all.collect()
}

/// Data as one line of text: as it is, if it is text.
pub(super) struct Data<'a>(pub(super) &'a [u8]);

impl Display for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match core::str::from_utf8(self.0) {
            Ok(text) => write!(f, "\"{}\"", Plain(text)),
            Err(_) => write!(f, "base64:{}", base64(self.0)),
        }
    }
}

pub(super) fn base64(data: &[u8]) -> String {
    STANDARD.encode(data)
}

/// For JSON: a value as it is displayed (zxids and sessions in hexadecimal, as everywhere).
pub(super) fn shown<T: Display, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(value)
}
/// The same for what may be absent.
pub(super) fn shown_option<T: Display, S: Serializer>(
    value: &Option<T>,
    s: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => s.collect_str(value),
        None => s.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(Moment(ms).to_string(), text);
        }
        let _ = (Moment(i64::MIN).to_string(), Moment(i64::MAX).to_string());
    }

    #[test]
    fn nothing_from_a_file_steers_the_terminal() {
        assert_eq!(Plain("/a\u{1b}[2J\nb").to_string(), "/a\\u{1b}[2J\\nb");
        assert_eq!(Data(b"a\0").to_string(), "\"a\\u{0}\"");
        assert_eq!(Data(b"\xff").to_string(), "base64:/w==");
    }
}
