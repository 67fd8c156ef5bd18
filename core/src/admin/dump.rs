//! Sessions, ephemerals and connections as `dump` lists them (`DumpCommand`,
//! `ExpiryQueue.dump`).

use alloc::string::String;
use core::fmt::{self, Write};

use super::report::{Dump, Expiring, GlobalSessions};
use super::text::write_address;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

impl Dump {
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        out.write_str("SessionTracker dump:\n")?;
        if let Some(local) = &self.local {
            out.write_str("Local Session ")?;
            write_expiring(out, local, |out, session| writeln!(out, "{session}"))?;
        }
        match &self.global {
            GlobalSessions::Tracked(sessions) => {
                let prefix = if self.local.is_some() { "Global Session " } else { "Session " };
                out.write_str(prefix)?;
                write_expiring(out, sessions, |out, session| writeln!(out, "{session}"))?;
            }
            GlobalSessions::Known(sessions) => {
                writeln!(out, "Global Sessions({}):", sessions.len())?;
                sessions.iter().try_for_each(|(id, timeout)| writeln!(out, "{id}\t{timeout}ms"))?;
            }
        }
        out.write_str("ephemeral nodes dump:\n")?;
        writeln!(out, "Sessions with Ephemerals ({}):", self.ephemerals.len())?;
        for (session, paths) in &self.ephemerals {
            writeln!(out, "{session}:")?;
            paths.iter().try_for_each(|path| writeln!(out, "\t{path}"))?;
        }
        out.write_str("Connections dump:\nConnections ")?;
        write_expiring(out, &self.connections, |out, (address, session)| {
            out.write_str("ip: ")?;
            write_address(out, *address)?;
            writeln!(out, " sessionId: {session}")
        })
    }
}

fn write_expiring<T>(
    out: &mut String,
    all: &Expiring<T>,
    line: impl Fn(&mut String, &T) -> fmt::Result,
) -> fmt::Result {
    let count: usize = all.iter().map(|(_, some)| some.len()).sum();
    writeln!(out, "Sets ({})/({count}):", all.len())?;
    for (wall_ms, some) in all {
        write!(out, "{} expire at ", some.len())?;
        write_date(out, *wall_ms)?;
        out.write_str(":\n")?;
        for one in some {
            out.write_char('\t')?;
            line(out, one)?;
        }
    }
    Ok(())
}

/// As Java prints a `Date` in UTC: `Fri Nov 20 21:23:35 UTC 2026`.
fn write_date(out: &mut String, wall_ms: i64) -> fmt::Result {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let (days, seconds) = (wall_ms.div_euclid(DAY_MS), wall_ms.rem_euclid(DAY_MS) / 1000);
    let weekday = DAYS.get(days.rem_euclid(7) as usize).copied().unwrap_or_default();
    // Years that begin in March, in eras of 400 years, so that leap days come last.
    let since = days + 719_468;
    let (era, day) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year + i64::from(month >= 10);
    let month = MONTHS.get(month as usize).copied().unwrap_or_default();
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    write!(out, "{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_java_writes_them() {
        for (seconds, text) in [
            (0, "Thu Jan 01 00:00:00 UTC 1970"),
            (-1, "Wed Dec 31 23:59:59 UTC 1969"),
            (951_782_400, "Tue Feb 29 00:00:00 UTC 2000"),
            (951_868_800, "Wed Mar 01 00:00:00 UTC 2000"),
            (1_795_209_815, "Fri Nov 20 21:23:35 UTC 2026"),
            (4_107_542_399, "Sun Feb 28 23:59:59 UTC 2100"),
            (4_107_542_400, "Mon Mar 01 00:00:00 UTC 2100"),
        ] {
            let mut out = String::new();
            write_date(&mut out, seconds * 1000 + 999 * i64::from(seconds >= 0)).unwrap();
            assert_eq!(out, text);
        }
    }
}
