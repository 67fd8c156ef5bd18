//! The flags of a create request (`CreateMode`, `EphemeralType`).

/// The longest TTL, ms: it shares the owner field with a mark of two bytes and a reserve.
const MAX_TTL_MS: i64 = (1 << 40) - 1;

/// The kind of node that a create request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CreateMode {
    /// It belongs to the session.
    pub(crate) ephemeral: bool,
    /// The parent's cversion is appended to its name.
    pub(crate) sequential: bool,
    /// It lives as long as its TTL says.
    pub(crate) ttl: bool,
}

impl CreateMode {
    /// The mode of a number.
    pub(crate) fn from_flags(flags: i32) -> Option<CreateMode> {
        let (ephemeral, sequential, ttl) = match flags {
            // 4 is a container: which operation asks is what makes it one.
            0 | 4 => (false, false, false),
            1 => (true, false, false),
            2 => (false, true, false),
            3 => (true, true, false),
            5 => (false, false, true),
            6 => (false, true, true),
            _ => return None,
        };
        Some(CreateMode { ephemeral, sequential, ttl })
    }

    /// Whether a request of this mode may name this TTL; those without one send -1.
    pub(crate) fn accepts_ttl(self, ttl_ms: i64) -> bool {
        if self.ttl { (1..=MAX_TTL_MS).contains(&ttl_ms) } else { ttl_ms < 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_modes_and_no_other() {
        let mode = |flags| CreateMode::from_flags(flags).unwrap();
        assert!(mode(1).ephemeral && mode(3).ephemeral && !mode(2).ephemeral);
        assert!(mode(2).sequential && mode(3).sequential && mode(6).sequential);
        assert!(mode(5).ttl && mode(6).ttl && !mode(4).ttl && mode(0) == mode(4));
        assert!([-1, 7, 8, i32::MAX].iter().all(|flags| CreateMode::from_flags(*flags).is_none()));
    }

    #[test]
    fn a_ttl_belongs_to_ttl_modes_only() {
        let (plain, ttl) = (CreateMode::from_flags(0).unwrap(), CreateMode::from_flags(5).unwrap());
        assert!(plain.accepts_ttl(-1) && !plain.accepts_ttl(0) && !plain.accepts_ttl(5));
        assert!(!ttl.accepts_ttl(-1) && !ttl.accepts_ttl(0) && ttl.accepts_ttl(1));
        assert!(ttl.accepts_ttl((1 << 40) - 1) && !ttl.accepts_ttl(1 << 40));
    }
}
