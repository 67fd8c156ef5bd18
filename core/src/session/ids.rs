//! Session ids and passwords (`SessionTrackerImpl.initializeNextSessionId`,
//! `ZooKeeperServer.generatePasswd`).

use crate::access::auth::is_same_secret;
use crate::mutant::mutant;
use crate::types::SessionId;

/// Below the server's id.
const ID_BITS: u32 = 56;
const HALF: u64 = (1 << (ID_BITS / 2)) - 1;

/// Gives out session ids: the server's id in the top byte; below it what cannot be guessed from
/// other ids, and does not come again: the clock and a count, mixed by a key.
#[derive(Debug)]
pub(crate) struct SessionIds {
    server: i64,
    /// The clock of the start, then a count.
    next: u64,
    /// None: nothing is mixed.
    keys: Option<(u64, u64)>,
}

impl SessionIds {
    /// `clock_ms` must not be what it was at an earlier start of this server. Seed 0 makes no key:
    /// ids count up, as ZooKeeper's do.
    pub(crate) fn new(server: i64, clock_ms: i64, seed: u64) -> SessionIds {
        let (mut clock_ms, mut seed) = (clock_ms, seed);
        mutant!(SessionIdsRepeat => (clock_ms, seed) = (0, 1));
        let mut rng = fastrand::Rng::with_seed(seed ^ 0xa076_1d64_78bd_642f);
        let keys = (seed != 0).then(|| (rng.u64(..), rng.u64(..)));
        SessionIds { server, next: (clock_ms as u64) << 16, keys }
    }

    pub(crate) fn take(&mut self) -> SessionId {
        loop {
            let next = self.next & ((1 << ID_BITS) - 1);
            self.next = self.next.wrapping_add(1);
            let low = self.keys.map_or(next, |keys| mixed(next, keys));
            // Nothing below the server's id: the smallest long marks containers.
            if low != 0 {
                return SessionId(low as i64 | (self.server << ID_BITS));
            }
        }
    }
}

/// Exchanges the numbers of [`ID_BITS`] among each other (a Feistel network).
fn mixed(number: u64, keys: (u64, u64)) -> u64 {
    let (mut left, mut right) = (number >> (ID_BITS / 2), number & HALF);
    for round in 0..6 {
        let next = left ^ (siphash(keys, right | (round << 32)) & HALF);
        (left, right) = (right, next);
    }
    (left << (ID_BITS / 2)) | right
}

/// SipHash-2-4 of eight bytes.
fn siphash((k0, k1): (u64, u64), word: u64) -> u64 {
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    for block in [word, 8 << 56] {
        v[3] ^= block;
        (0..2).for_each(|_| sip_round(&mut v));
        v[0] ^= block;
    }
    v[2] ^= 0xff;
    (0..4).for_each(|_| sip_round(&mut v));
    v.into_iter().fold(0, |all, one| all ^ one)
}

fn sip_round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32).wrapping_add(v[3]);
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
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

/// Whether a client knows its session's password.
pub(crate) fn password_is(session: SessionId, given: Option<&[u8]>) -> bool {
    is_same_secret(&password(session), given.unwrap_or_default())
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
    fn ids_carry_the_server_and_do_not_come_again() {
        let mut all = alloc::collections::BTreeSet::new();
        let started = [(0x12_3456_789a, 7), (0x12_3456_789b, 7), (0x12_3456_789a, 8)];
        for (clock_ms, seed) in started {
            let mut ids = SessionIds::new(3, clock_ms, seed);
            for _ in 0..1000 {
                let id = ids.take();
                assert_eq!(id.0 >> 56, 3);
                assert!(all.insert(id), "{id}");
            }
        }
        assert!(SessionIds::new(200, 1, 7).take().0 < 0);
    }

    #[test]
    fn ids_do_not_tell_each_other() {
        let mut ids = SessionIds::new(1, 0x12_3456_789a, 7);
        let ids: [u64; 256] = core::array::from_fn(|_| ids.take().0 as u64);
        // Of any two neighbours about half of the bits differ, in every place.
        for bit in 0..ID_BITS {
            let changes = ids.windows(2).filter(|pair| (pair[0] ^ pair[1]) >> bit & 1 == 1).count();
            assert!((80..176).contains(&changes), "bit {bit}: {changes}");
        }
    }

    #[test]
    fn numbers_are_only_exchanged() {
        let keys = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let all: alloc::collections::BTreeSet<u64> = (0..5000).map(|n| mixed(n, keys)).collect();
        assert_eq!(all.len(), 5000);
        assert!(all.iter().all(|n| n >> ID_BITS == 0));
        // From the reference implementation's vectors: the bytes 0 to 7.
        assert_eq!(siphash(keys, 0x0706_0504_0302_0100), 0x93f5_f579_9a93_2462);
    }

    #[test]
    fn without_a_seed_ids_count_up_from_the_clock() {
        let mut ids = SessionIds::new(3, 0x12_3456_789a, 0);
        let (a, b) = (ids.take(), ids.take());
        assert_eq!((a.0, b.0 - a.0), (0x0312_3456_789a_0000, 1));
    }
}
