//! Closing connections.

use std::collections::VecDeque;
use std::time::Instant;

use smol::Task;
use zabkeeper_std::driver::LINGER;

/// The tasks of closing connections, each for [`LINGER`] at most. One timer is enough for all,
/// because their limits end in the order in which they began.
#[derive(Default)]
pub(crate) struct Lingering(VecDeque<(Instant, Task<()>)>);

impl Lingering {
    pub(crate) fn add(&mut self, closing: Task<()>) {
        self.0.push_back((Instant::now() + LINGER, closing));
    }

    /// Drops the tasks whose limit has passed. Returns the next limit.
    pub(crate) fn drop_expired(&mut self, now: Instant) -> Option<Instant> {
        while let Some((until, closing)) = self.0.front() {
            if *until > now && !closing.is_finished() {
                return Some(*until);
            }
            self.0.pop_front();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use smol::LocalExecutor;

    use super::*;

    #[test]
    fn connection_that_closes_too_slowly_is_dropped() {
        let tasks = LocalExecutor::new();
        let mut lingering = Lingering::default();
        lingering.add(tasks.spawn(async {}));
        lingering.add(tasks.spawn(std::future::pending()));
        lingering.add(tasks.spawn(async {}));
        while tasks.try_tick() {}
        let begin = Instant::now();
        let until = lingering.drop_expired(begin).unwrap();
        assert!(until <= begin + LINGER && lingering.0.len() == 2);
        assert_eq!(lingering.drop_expired(until), None);
        assert!(lingering.0.is_empty());
    }
}
