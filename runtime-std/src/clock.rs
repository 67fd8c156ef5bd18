//! The clocks that the core is stepped with.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use zabkeeper_core::types::{Now, Time};

/// Reads the monotonic and the wall clock. Monotonic time begins at [`Clock::start`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose monotonic time is 0 now.
    pub(crate) fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// The time of both clocks.
    pub(crate) fn now(&self) -> Now {
        let wall_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        let mono = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Now { mono: Time(mono), wall_ms }
    }

    /// The instant of a deadline; `None` for [`Time::NEVER`].
    pub(crate) fn instant(&self, at: Time) -> Option<Instant> {
        if at == Time::NEVER {
            return None;
        }
        self.origin.checked_add(Duration::from_nanos(at.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadline_converts_to_its_instant() {
        let clock = Clock::start();
        let now = clock.now();
        assert!(now.wall_ms > 1_600_000_000_000);
        let at = clock.instant(now.mono.plus_ms(50)).unwrap();
        assert!(at > clock.origin && at < Instant::now() + Duration::from_millis(51));
        assert_eq!(clock.instant(Time::NEVER), None);
        assert!(clock.now().mono >= now.mono);
    }
}
