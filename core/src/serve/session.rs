//! Session ids and passwords (`SessionTrackerImpl.initializeNextSessionId`,
//! `ZooKeeperServer.generatePasswd`).

use crate::mutant::Mutant;
use crate::types::SessionId;

/// Gives out session ids: the server's id in the top byte, then the clock, then a count.
#[derive(Debug)]
pub(super) struct SessionIds {
    next: i64,
}

impl SessionIds {
    /// `clock_ms` must not be what it was at an earlier start of this server.
    pub(super) fn new(server: i64, clock_ms: i64) -> SessionIds {
        let clock_ms = if Mutant::SessionIdsRepeat.is_on() { 0 } else { clock_ms };
        let clock = ((clock_ms as u64) << 24) >> 8;
        SessionIds { next: (clock as i64) | (server << 56) }
    }

    pub(super) fn take(&mut self) -> SessionId {
        // The smallest long marks containers.
        if self.next == i64::MIN {
            self.next += 1;
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        SessionId(id)
    }
}

/// The password of a session: computed, so that every server knows it. Two of Java's
/// generators run here, `Random.nextBytes` on the id.
pub fn password(session: SessionId) -> [u8; 16] {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut state = ((session.0 ^ 0xB341_5C00) as u64 ^ MULTIPLIER) & MASK;
    let mut password = [0; 16];
    for word in password.chunks_exact_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        word.copy_from_slice(&((state >> 16) as u32).to_le_bytes());
    }
    password
}

/// Compares in a time that does not depend on where the first difference is.
pub(super) fn password_is(session: SessionId, given: Option<&[u8]>) -> bool {
    let expected = password(session);
    let given = given.unwrap_or_default();
    let same = given.iter().zip(expected).fold(0, |seen, (a, b)| seen | (a ^ b));
    given.len() == expected.len() && same == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_zookeepers() {
        let expected = 0xdc78_2c9e_2706_a220_c6d4_b316_e1f3_b3f3_u128.to_be_bytes();
        let session = SessionId(0x0100_005b_1e50_0002);
        assert_eq!(password(session), expected);
        assert!(password_is(session, Some(&expected)));
        assert!(!password_is(session, Some(&expected[..15])) && !password_is(session, None));
    }

    #[test]
    fn ids_carry_the_server_and_count_up() {
        let mut ids = SessionIds::new(3, 0x12_3456_789a);
        let (a, b) = (ids.take(), ids.take());
        assert_eq!((a.0, b.0 - a.0), (0x0312_3456_789a_0000, 1));
        assert!(SessionIds::new(200, 1).take().0 < 0);
    }
}
