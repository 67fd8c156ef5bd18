//! The one timer of a node's thread.

use std::time::Instant;

use async_io::Timer;

/// Rings no later than at the time that it was set to last.
///
/// A deadline that moves on with each message would arm a timer anew for each, which takes several
/// system calls: so a time that is already set stays, and rings in vain.
pub(crate) struct DeadlineTimer {
    timer: Timer,
    at: Option<Instant>,
}

impl DeadlineTimer {
    pub(crate) fn new() -> DeadlineTimer {
        DeadlineTimer { timer: Timer::never(), at: None }
    }

    pub(crate) fn set(&mut self, deadline: Option<Instant>) {
        if let Some(deadline) = deadline
            && self.at.is_none_or(|at| deadline < at)
        {
            self.timer.set_at(deadline);
            self.at = Some(deadline);
        }
    }

    pub(crate) async fn ring(&mut self) {
        (&mut self.timer).await;
        self.at = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use smol::future::FutureExt;

    use super::*;

    #[test]
    fn it_rings_at_the_earliest_time_and_has_to_be_set_again() {
        let mut timer = DeadlineTimer::new();
        let begin = Instant::now();
        let early = begin + Duration::from_millis(20);
        timer.set(Some(begin + Duration::from_secs(60)));
        timer.set(Some(early));
        timer.set(Some(begin + Duration::from_secs(50)));
        timer.set(None);
        smol::block_on(timer.ring());
        assert!(Instant::now() >= early && begin.elapsed() < Duration::from_secs(40));

        let again = async {
            timer.ring().await;
            true
        };
        let waited = async {
            Timer::after(Duration::from_millis(30)).await;
            false
        };
        assert!(!smol::block_on(again.or(waited)), "it rang without being set");
        timer.set(Some(Instant::now()));
        smol::block_on(timer.ring());
    }
}
