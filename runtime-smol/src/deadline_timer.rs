//! The timer of a node's thread.

use std::time::Instant;

use async_io::Timer;

/// A timer that expires at its latest deadline or earlier.
///
/// Each message can postpone the node's deadline, and arming a timer takes several system calls. So
/// a later deadline leaves the timer as it is, which then expires once too early.
pub(crate) struct DeadlineTimer {
    timer: Timer,
    at: Option<Instant>,
}

impl DeadlineTimer {
    pub(crate) fn new() -> DeadlineTimer {
        DeadlineTimer { timer: Timer::never(), at: None }
    }

    /// Makes sure that the timer expires at `deadline` at the latest.
    pub(crate) fn set(&mut self, deadline: Option<Instant>) {
        if let Some(deadline) = deadline
            && self.at.is_none_or(|at| deadline < at)
        {
            self.timer.set_at(deadline);
            self.at = Some(deadline);
        }
    }

    /// Waits until the timer expires. It has to be set again afterwards.
    pub(crate) async fn expired(&mut self) {
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
    fn timer_expires_at_the_earliest_deadline_once() {
        let mut timer = DeadlineTimer::new();
        let begin = Instant::now();
        let early = begin + Duration::from_millis(20);
        timer.set(Some(begin + Duration::from_secs(60)));
        timer.set(Some(early));
        timer.set(Some(begin + Duration::from_secs(50)));
        timer.set(None);
        smol::block_on(timer.expired());
        assert!(Instant::now() >= early && begin.elapsed() < Duration::from_secs(40));

        let again = async {
            timer.expired().await;
            true
        };
        let waited = async {
            Timer::after(Duration::from_millis(30)).await;
            false
        };
        assert!(!smol::block_on(again.or(waited)), "the timer expired without being set");
        timer.set(Some(Instant::now()));
        smol::block_on(timer.expired());
    }
}
