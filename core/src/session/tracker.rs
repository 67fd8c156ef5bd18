//! Which sessions are alive, as the leader or a standalone server knows
//! (`SessionTrackerImpl`, `ExpiryQueue`).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::SessionCheck;
use crate::mutant::mutant;
use crate::types::{ConnId, Now, SessionId, Time};

/// Where a session is attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// This server.
    Here,
    /// A learner, by its link.
    Learner(ConnId),
}

#[derive(Debug)]
struct Tracked {
    timeout_ms: u64,
    bucket: Time,
    owner: Option<Owner>,
    closing: bool,
}

/// Sessions in buckets by the tick in which they expire.
#[derive(Debug)]
pub struct SessionTracker {
    tick_ms: u64,
    sessions: HashMap<SessionId, Tracked, FxBuildHasher>,
    buckets: BTreeMap<Time, BTreeSet<SessionId>>,
    last_tick: Time,
}

impl SessionTracker {
    /// A tracker without sessions.
    pub fn new(now: Time, tick_ms: u64) -> SessionTracker {
        let (sessions, buckets) = (HashMap::default(), BTreeMap::new());
        SessionTracker { tick_ms: tick_ms.max(1), sessions, buckets, last_tick: now }
    }

    /// A session is known from now on, or is heard of again.
    pub fn add(&mut self, now: Time, session: SessionId, timeout_ms: i32) {
        let timeout_ms = timeout_ms.max(0) as u64;
        let fresh = Tracked { timeout_ms, bucket: Time::NEVER, owner: None, closing: false };
        self.sessions.entry(session).or_insert(fresh);
        self.touch(now, session, timeout_ms as i32);
    }

    /// A sign of life. False: the session is not known, or about to be closed.
    pub fn touch(&mut self, now: Time, session: SessionId, timeout_ms: i32) -> bool {
        let tick_ms = self.tick_ms;
        let Some(tracked) = self.sessions.get_mut(&session).filter(|t| !t.closing) else {
            return false;
        };
        tracked.timeout_ms = timeout_ms.max(0) as u64;
        let bucket = bucket(now, tracked.timeout_ms, tick_ms);
        if bucket > tracked.bucket || tracked.bucket == Time::NEVER {
            leave(&mut self.buckets, tracked.bucket, session);
            tracked.bucket = bucket;
            self.buckets.entry(bucket).or_default().insert(session);
        }
        true
    }

    /// Every session that lives is heard of now.
    pub fn touch_all(&mut self, now: Time) {
        let all: Vec<_> = self.sessions.iter().map(|(id, t)| (*id, t.timeout_ms)).collect();
        for (session, timeout_ms) in all {
            self.touch(now, session, timeout_ms as i32);
        }
    }

    /// The time-out (ms) of a session that is known, and not about to be closed.
    pub fn timeout_ms(&self, session: SessionId) -> Option<i32> {
        let tracked = self.sessions.get(&session).filter(|tracked| !tracked.closing)?;
        Some(tracked.timeout_ms as i32)
    }

    /// The session is attached there now.
    pub fn set_owner(&mut self, session: SessionId, owner: Owner) {
        if let Some(tracked) = self.sessions.get_mut(&session) {
            tracked.owner = Some(owner);
        }
    }

    /// Whether a request of this session that came through `owner` may go on; the first one
    /// settles where the session is attached (`checkSession`).
    pub fn check(&mut self, session: SessionId, owner: Owner) -> SessionCheck {
        let Some(tracked) = self.sessions.get_mut(&session) else { return SessionCheck::Expired };
        let mut is_closing = tracked.closing;
        mutant!(CreateAfterClose => is_closing = false);
        if is_closing {
            return SessionCheck::Expired;
        }
        let mut is_here = *tracked.owner.get_or_insert(owner) == owner;
        mutant!(MoveUnnoticed => is_here = true);
        if is_here { SessionCheck::Ok } else { SessionCheck::Moved }
    }

    /// Whether the session's close is proposed, and not committed.
    pub fn is_closing(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|tracked| tracked.closing)
    }

    /// The session's close is proposed: it takes no more requests.
    pub fn closing(&mut self, session: SessionId) {
        if let Some(tracked) = self.sessions.get_mut(&session) {
            tracked.closing = true;
            leave(&mut self.buckets, tracked.bucket, session);
        }
    }

    /// The session is gone.
    pub fn remove(&mut self, session: SessionId) {
        if let Some(tracked) = self.sessions.remove(&session) {
            leave(&mut self.buckets, tracked.bucket, session);
        }
    }

    /// The sessions whose time is up; they count as closing from now on. If this server itself
    /// stood still for longer than a tick, all get as much time on top, as nobody could be heard;
    /// but none gets more than a sign of life would give it now.
    pub fn expired(&mut self, now: Time) -> Vec<SessionId> {
        let since = now.ms_since(self.last_tick);
        self.last_tick = now;
        if since > 2 * self.tick_ms && self.buckets.keys().next().is_some_and(|b| *b <= now) {
            self.make_up_for(now, (since / self.tick_ms) * self.tick_ms);
        }
        let mut all = Vec::new();
        while let Some(entry) = self.buckets.first_entry().filter(|e| *e.key() <= now) {
            all.extend(entry.remove());
        }
        for session in &all {
            self.closing(*session);
        }
        all
    }

    fn make_up_for(&mut self, now: Time, late_ms: u64) {
        for (before, sessions) in core::mem::take(&mut self.buckets) {
            for session in sessions {
                if let Some(tracked) = self.sessions.get_mut(&session) {
                    let most = bucket(now, tracked.timeout_ms, self.tick_ms);
                    tracked.bucket = before.plus_ms(late_ms).min(most).max(before);
                    self.buckets.entry(tracked.bucket).or_default().insert(session);
                }
            }
        }
    }

    /// When [`SessionTracker::expired`] should be asked again: every tick.
    pub fn deadline(&self) -> Option<Time> {
        (!self.buckets.is_empty()).then(|| self.last_tick.plus_ms(self.tick_ms))
    }

    /// Sessions by the wall-clock time (ms) at which they expire, for `dump`.
    pub fn expiring(&self, now: Now) -> Vec<(i64, Vec<SessionId>)> {
        let at = |bucket: &Time| now.wall_at(*bucket);
        self.buckets
            .iter()
            .map(|(bucket, all)| (at(bucket), all.iter().copied().collect()))
            .collect()
    }

    /// How many sessions are tracked.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

/// The end of the tick in which a session expires that was last heard of at `now`.
fn bucket(now: Time, timeout_ms: u64, tick_ms: u64) -> Time {
    Time(0).plus_ms(((now.as_millis() + timeout_ms) / tick_ms + 1) * tick_ms)
}

fn leave(buckets: &mut BTreeMap<Time, BTreeSet<SessionId>>, bucket: Time, session: SessionId) {
    if let Some(sessions) = buckets.get_mut(&bucket) {
        sessions.remove(&session);
        if sessions.is_empty() {
            buckets.remove(&bucket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Time {
        Time(0).plus_ms(ms)
    }

    fn tick_to(tracker: &mut SessionTracker, from: u64, to: u64) -> Vec<(u64, i64)> {
        let mut gone = Vec::new();
        for at in (from..=to).step_by(100) {
            gone.extend(tracker.expired(ms(at)).into_iter().map(|s| (at, s.0)));
        }
        gone
    }

    #[test]
    fn a_silent_session_expires_at_the_end_of_its_tick() {
        let mut tracker = SessionTracker::new(ms(0), 1000);
        tracker.add(ms(100), SessionId(1), 4000);
        tracker.add(ms(100), SessionId(2), 4000);
        tracker.touch(ms(3000), SessionId(2), 4000);
        assert_eq!(tick_to(&mut tracker, 100, 9000), [(5000, 1), (8000, 2)]);
        assert_eq!(tracker.check(SessionId(1), Owner::Here), SessionCheck::Expired);
    }

    #[test]
    fn a_server_that_stood_still_expires_nobody_for_it() {
        let mut tracker = SessionTracker::new(ms(0), 1000);
        tracker.add(ms(0), SessionId(1), 4000);
        assert_eq!(tick_to(&mut tracker, 100, 1000), []);
        assert!(tracker.expired(ms(60_000)).is_empty());
        assert!(tracker.touch(ms(60_001), SessionId(1), 4000));
    }

    #[test]
    fn session_active_after_a_stall_gets_no_extra_timeout() {
        let mut tracker = SessionTracker::new(ms(0), 1000);
        tracker.add(ms(0), SessionId(1), 4000);
        tracker.add(ms(0), SessionId(2), 4000);
        assert_eq!(tick_to(&mut tracker, 100, 1000), []);
        // The server stands still; the first that it hears of then is session 2, which says no
        // more.
        tracker.touch(ms(60_000), SessionId(2), 4000);
        assert!(tracker.expired(ms(60_000)).is_empty());
        assert_eq!(tick_to(&mut tracker, 60_000, 70_000), [(64_000, 1), (65_000, 2)]);
    }

    #[test]
    fn the_last_server_that_a_session_attached_to_owns_it() {
        let mut tracker = SessionTracker::new(ms(0), 1000);
        let (there, session) = (Owner::Learner(ConnId::accepted(1)), SessionId(1));
        tracker.add(ms(0), session, 4000);
        assert_eq!(tracker.check(session, there), SessionCheck::Ok);
        assert_eq!(tracker.check(session, Owner::Here), SessionCheck::Moved);
        tracker.set_owner(session, Owner::Here);
        assert_eq!(tracker.check(session, there), SessionCheck::Moved);
        tracker.closing(session);
        assert_eq!(tracker.check(session, Owner::Here), SessionCheck::Expired);
    }
}
