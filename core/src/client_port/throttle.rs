//! Slows down the rate at which clients connect (`BlueThrottle`).

use fastrand::Rng;

use crate::config::ConnectionThrottle;
use crate::types::Time;

/// Tokens in a bucket that fills with time, and, if it stays empty, chance.
#[derive(Debug)]
pub(super) struct Throttle {
    options: ConnectionThrottle,
    tokens: u64,
    filled: Time,
    frozen: Time,
    drop: f64,
    rng: Rng,
}

impl Throttle {
    pub(super) fn new(options: ConnectionThrottle, now: Time, seed: u64) -> Throttle {
        let tokens = options.tokens;
        let rng = Rng::with_seed(seed);
        Throttle { options, tokens, filled: now, frozen: now, drop: 0.0, rng }
    }

    /// A new session wants in; a local one costs no transaction.
    pub(super) fn admits_new(&mut self, now: Time, is_local: bool) -> bool {
        let weights = &self.options.weights;
        self.admits(now, if is_local { weights.local } else { weights.global })
    }

    /// A session of old wants in.
    pub(super) fn admits_again(&mut self, now: Time) -> bool {
        self.admits(now, self.options.weights.renew)
    }

    /// How much it is short of being full.
    pub(super) fn deficit(&self) -> u64 {
        self.options.tokens - self.tokens
    }

    fn admits(&mut self, now: Time, need: u64) -> bool {
        let max = self.options.tokens;
        let passed_ms = now.ms_since(self.filled);
        if passed_ms > self.options.fill_ms {
            let refill = passed_ms.saturating_mul(self.options.fill_count) / self.options.fill_ms;
            self.tokens = self.tokens.saturating_add(refill).min(max);
            self.filled = now;
        }
        if self.is_dropped(now) || self.tokens < need {
            return false;
        }
        self.tokens -= need;
        true
    }

    /// By chance, that grows while the bucket is empty.
    fn is_dropped(&mut self, now: Time) -> bool {
        let Some(freeze_ms) = self.options.freeze_ms else { return false };
        if now.ms_since(self.frozen) > freeze_ms {
            let taken = (self.options.tokens - self.tokens) as f64;
            if self.tokens == 0 {
                self.drop = (self.drop + self.options.drop_increase).min(1.0);
            } else if taken <= self.options.tokens as f64 * self.options.decrease_ratio {
                self.drop = (self.drop - self.options.drop_decrease).max(0.0);
            }
            self.frozen = now;
        }
        self.rng.f64() < self.drop
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Weights;

    fn options() -> ConnectionThrottle {
        ConnectionThrottle {
            tokens: 6,
            fill_ms: 100,
            fill_count: 2,
            freeze_ms: None,
            drop_increase: 0.5,
            drop_decrease: 0.25,
            decrease_ratio: 0.0,
            weights: Weights { global: 3, renew: 2, local: 1 },
        }
    }

    #[test]
    fn the_bucket_empties_and_fills() {
        let start = Time(0).plus_ms(1000);
        let mut throttle = Throttle::new(options(), start, 1);
        assert!(throttle.admits_new(start, false) && throttle.admits_again(start));
        assert!(!throttle.admits_again(start), "one token is left");
        assert!(!throttle.admits_again(start.plus_ms(100)), "not yet");
        assert!(throttle.admits_new(start.plus_ms(101), false), "two more");
        assert!(!throttle.admits_again(start.plus_ms(101)));
        let later = start.plus_ms(1_000_000);
        assert!(throttle.admits_new(later, false) && throttle.admits_new(later, false));
        assert!(!throttle.admits_again(later), "no more than it holds");
    }

    #[test]
    fn connections_at_an_empty_bucket_are_dropped_at_random() {
        let options = ConnectionThrottle { freeze_ms: Some(10), fill_count: 0, ..options() };
        let mut throttle = Throttle::new(options, Time(0), 1);
        assert!(throttle.admits_new(Time(0), false) && throttle.admits_new(Time(0), false));
        for n in 1..=2 {
            assert!(!throttle.admits_again(Time(0).plus_ms(11 * n)));
        }
        assert!((throttle.drop - 1.0).abs() < f64::EPSILON, "nobody gets in");
        throttle.tokens = 6;
        for n in 3..=6 {
            throttle.admits_again(Time(0).plus_ms(11 * n));
            throttle.tokens = 6;
        }
        assert!(throttle.drop < f64::EPSILON && throttle.admits_new(Time(0).plus_ms(100), false));
    }
}
