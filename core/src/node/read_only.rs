//! Reads without a leader (`ReadOnlyZooKeeperServer`): a server that has looked for a leader for a
//! tick serves reads to clients that accept that.

use tracing::info;

use super::Node;
use crate::action::Actions;
use crate::types::{Now, Time};
use crate::zab::Role;

/// A server looks for a leader for at least this long before it serves reads alone, ms.
const MIN_LOOKING_MS: u64 = 2000;

impl Node {
    /// When this server will serve reads only, unless it finds a leader before.
    pub(super) fn read_only_due(&self) -> Option<Time> {
        let since = self.looking_since.filter(|_| !self.client_port.is_read_only())?;
        Some(since.plus_ms(self.config.sessions.tick_time_ms.max(MIN_LOOKING_MS)))
    }

    /// Begins and ends to serve reads only, depending on the role.
    pub(super) fn switch_read_only(&mut self, now: Now, out: &mut Actions) {
        if !self.config.sessions.read_only_mode {
            return;
        }
        if self.ensemble.role() != Role::Looking {
            self.looking_since = None;
            if self.client_port.is_read_only() {
                info!("ending read-only mode");
                self.client_port.stop_serving(out);
            }
            return;
        }
        self.looking_since.get_or_insert(now.mono);
        if self.read_only_due().is_some_and(|due| due <= now.mono) {
            info!("no leader found: serving reads in read-only mode");
            self.serving_since = now.mono;
            self.touch_local_sessions(now);
            self.client_port.start_read_only();
        }
    }
}
