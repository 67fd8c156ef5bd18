//! Connections that say goodbye.

use std::collections::VecDeque;
use std::time::Instant;

use smol::Task;
use zabkeeper_std::driver::LINGER;

/// What is left to do for connections that are closed, each for [`LINGER`] at most: one timer for
/// all, because they end in the order in which they began.
#[derive(Default)]
pub(crate) struct Lingering(VecDeque<(Instant, Task<()>)>);

impl Lingering {
    pub(crate) fn add(&mut self, goodbye: Task<()>) {
        self.0.push_back((Instant::now() + LINGER, goodbye));
    }

    /// Ends those whose time is over. Says when the next one's is.
    pub(crate) fn end_by(&mut self, now: Instant) -> Option<Instant> {
        while let Some((until, goodbye)) = self.0.front() {
            if *until > now && !goodbye.is_finished() {
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
    fn whoever_takes_too_long_is_cut_off() {
        let tasks = LocalExecutor::new();
        let mut lingering = Lingering::default();
        lingering.add(tasks.spawn(async {}));
        lingering.add(tasks.spawn(std::future::pending()));
        lingering.add(tasks.spawn(async {}));
        while tasks.try_tick() {}
        let begin = Instant::now();
        let until = lingering.end_by(begin).unwrap();
        assert!(until <= begin + LINGER && lingering.0.len() == 2);
        assert_eq!(lingering.end_by(until), None);
        assert!(lingering.0.is_empty());
    }
}
