//! The clock: what the core may know of time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use zabkeeper_core::types::{Now, Time};

/// Reads the clocks of this process. Its monotonic time begins when it is made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose origin is now.
    pub fn start() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        let wall_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        let mono = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Now { mono: Time(mono), wall_ms }
    }

    /// The instant of a deadline; `None` for one that never comes.
    pub fn instant(&self, at: Time) -> Option<Instant> {
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
    fn a_deadline_comes_back_as_the_instant_it_was_made_from() {
        let clock = Clock::start();
        let now = clock.now();
        assert!(now.wall_ms > 1_600_000_000_000);
        let at = clock.instant(now.mono.plus_ms(50)).unwrap();
        assert!(at > clock.origin && at < Instant::now() + Duration::from_millis(51));
        assert_eq!(clock.instant(Time::NEVER), None);
        assert!(clock.now().mono >= now.mono);
    }
}
