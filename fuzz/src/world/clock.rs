//! One server's clocks: a monotonic one that drifts and a wall clock that jumps.

use zabkeeper_core::types::{Now, Time};

const MILLION: i128 = 1_000_000;
/// The wall clock when a run begins: 2026-01-01.
const WALL_START_MS: i64 = 1_767_225_600_000;

/// Both clocks of one machine, as functions of the true time.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// The true time of the last change of rate.
    since: Time,
    /// What the monotonic clock showed then.
    mono: Time,
    /// How much too fast it runs, in millionths.
    drift_ppm: i64,
    wall_offset_ms: i64,
}

impl Clock {
    /// A clock that shows `origin` at true time zero.
    pub(crate) fn new(origin: Time) -> Clock {
        Clock { since: Time(0), mono: origin, drift_ppm: 0, wall_offset_ms: 0 }
    }

    /// What it shows.
    pub(crate) fn now(&self, at: Time) -> Now {
        let wall_ms = WALL_START_MS + at.as_millis() as i64 + self.wall_offset_ms;
        Now { mono: self.mono(at), wall_ms }
    }

    /// The true time at which it shows `mono`, or just after.
    pub(crate) fn when(&self, mono: Time) -> Time {
        if mono <= self.mono {
            return self.since;
        }
        let ahead = i128::from(mono.0 - self.mono.0);
        let rate = MILLION + i128::from(self.drift_ppm);
        let later = (ahead * MILLION + rate - 1) / rate;
        Time(self.since.0.saturating_add(u64::try_from(later).unwrap_or(u64::MAX)))
    }

    /// From now on it runs too fast (or too slow) by this many millionths.
    pub(crate) fn drift(&mut self, at: Time, drift_ppm: i64) {
        (self.mono, self.since) = (self.mono(at), at);
        self.drift_ppm = drift_ppm;
    }

    /// The wall clock is set.
    pub(crate) fn jump(&mut self, ms: i64) {
        self.wall_offset_ms += ms;
    }

    fn mono(&self, at: Time) -> Time {
        let passed = i128::from(at.0.saturating_sub(self.since.0));
        let shown = passed * (MILLION + i128::from(self.drift_ppm)) / MILLION;
        Time(self.mono.0.saturating_add(u64::try_from(shown).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_when_its_wake_comes() {
        let mut clock = Clock::new(Time(77));
        for drift in [-50_000, 0, 31, 50_000] {
            clock.drift(Time(1_000_003), drift);
            for ahead in [0, 1, 7, 1_000, 999_999_937] {
                let mono = Time(clock.now(Time(1_000_003)).mono.0 + ahead);
                assert!(clock.now(clock.when(mono)).mono >= mono);
            }
        }
    }
}
