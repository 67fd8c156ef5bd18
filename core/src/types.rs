//! The newtypes of all rooms: zxids, epochs, ids, tickets, time and addresses.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr};
use core::ops::{Add, Sub};

/// A transaction id: the epoch in the upper 32 bits, a counter in the lower 32.
///
/// Signed, because ZooKeeper compares zxids as Java's `long`, and uses -1 for a database that must
/// not be trusted (`ZxidUtils`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Zxid(pub i64);

impl Zxid {
    /// The zxid of an empty database.
    pub const ZERO: Zxid = Zxid(0);
    /// The zxid of a database that must not be trusted: its server cannot vote for itself.
    pub const UNTRUSTED: Zxid = Zxid(-1);
    /// The counter that no transaction has: a leader steps down before it.
    pub const LAST_COUNTER: u32 = u32::MAX;

    /// Composes a zxid.
    pub const fn new(epoch: Epoch, counter: u32) -> Zxid {
        Zxid((epoch.0 << 32) | counter as i64)
    }
    /// The epoch, in the upper half.
    pub const fn epoch(self) -> Epoch {
        Epoch(self.0 >> 32)
    }
    /// The counter, in the lower half. 0 marks the beginning of an epoch and is no transaction.
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }
    /// The zxid after this one in the same epoch.
    pub const fn next(self) -> Zxid {
        Zxid(self.0.wrapping_add(1))
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// The number of a leadership term. ZooKeeper keeps it in a `long` and in the upper half of a zxid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Epoch(pub i64);

/// From this epoch on, a server advances in small steps only: the last epoch is near.
const FIRST_RESERVED_EPOCH: i64 = 0x7f00_0000;
/// The largest step there. Fewer leadership terms begin while a member is away.
const MAX_RESERVED_STEP: i64 = 1024;

impl Epoch {
    /// The last epoch that a zxid can carry.
    pub const LAST: Epoch = Epoch(i32::MAX as i64);

    /// Whether a server may advance from this epoch to one that a peer claims. A zxid has no room
    /// for epochs above 0x7fffffff: an ensemble that accepted such a claim could never elect again.
    pub const fn may_advance_to(self, other: Epoch) -> bool {
        other.0 < Epoch::LAST.0
            && (other.0 < FIRST_RESERVED_EPOCH || other.0 - self.0 <= MAX_RESERVED_STEP)
    }

    /// The zxid of NEWLEADER: this epoch and counter 0.
    pub const fn first_zxid(self) -> Zxid {
        Zxid::new(self, 0)
    }
}
impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The `myid` of a member of the ensemble.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServerId(pub i64);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A client session. Its top byte is the id of the server that created it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId(pub i64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Names one durable write. Tickets grow and are never reused: a completion cannot be confused
/// with that of another write of the same zxid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Ticket(pub u64);

impl Ticket {
    /// Advances to the next ticket and returns it.
    pub fn take(&mut self) -> Ticket {
        self.0 += 1;
        *self
    }
}

/// Names one read of the log, to match [`crate::event::DiskEvent::LogRead`] with its request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct ReadId(pub u64);

/// One connection, for the life of the process. The runtime numbers the connections that it
/// accepts; the core numbers those that it dials, with the top bit set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(pub u64);

impl ConnId {
    const DIALLED: u64 = 1 << 63;

    /// The `n`th connection that the core dials.
    pub const fn dialled(n: u64) -> ConnId {
        ConnId(n | Self::DIALLED)
    }
    /// The `n`th connection that a runtime accepts.
    pub const fn accepted(n: u64) -> ConnId {
        ConnId(n & !Self::DIALLED)
    }
    /// Whether the core has dialled this connection.
    pub const fn is_dialled(self) -> bool {
        self.0 & Self::DIALLED != 0
    }
}

/// Numbers the connections that one part of the core dials. The parts of one server take disjoint
/// numbers, so that a [`ConnId`] never names two connections.
#[derive(Clone, Debug)]
pub(crate) struct DialIds(u64);

impl DialIds {
    /// Connections of the election port: even numbers.
    pub(crate) const ELECTION: DialIds = DialIds(2);
    /// Connections of the quorum port: odd numbers.
    pub(crate) const QUORUM: DialIds = DialIds(3);

    /// The next connection's id.
    pub(crate) const fn next(&mut self) -> ConnId {
        let conn = ConnId::dialled(self.0);
        self.0 += 2;
        conn
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0 & !Self::DIALLED;
        if self.is_dialled() { write!(f, "out-{n}") } else { write!(f, "in-{n}") }
    }
}

/// Monotonic time in nanoseconds since an origin of the runtime's choice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Time(pub u64);

impl Time {
    /// Later than every deadline.
    pub const NEVER: Time = Time(u64::MAX);

    /// Whole milliseconds since the origin.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }
    /// This time plus `ms` milliseconds, saturating.
    pub const fn plus_ms(self, ms: u64) -> Time {
        Time(self.0.saturating_add(ms.saturating_mul(1_000_000)))
    }
    /// Milliseconds from `earlier` to this, 0 if it is not earlier.
    pub const fn ms_since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }
}
impl Add<core::time::Duration> for Time {
    type Output = Time;
    fn add(self, rhs: core::time::Duration) -> Time {
        Time(self.0.saturating_add(rhs.as_nanos() as u64))
    }
}
impl Sub for Time {
    type Output = core::time::Duration;
    fn sub(self, rhs: Time) -> core::time::Duration {
        core::time::Duration::from_nanos(self.0.saturating_sub(rhs.0))
    }
}

/// The time of a step.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Now {
    /// The monotonic clock, for all time-outs and deadlines.
    pub mono: Time,
    /// The wall clock in ms since 1970, only for ctime, mtime and session ids.
    pub wall_ms: i64,
}

impl Now {
    /// The wall clock at another time, in ms since 1970, for people to read.
    pub(crate) fn wall_at(self, time: Time) -> i64 {
        let (then, now) = (time.as_millis() as i64, self.mono.as_millis() as i64);
        self.wall_ms.saturating_add(then.saturating_sub(now))
    }
}

/// A host, by name or literal address, and a port. The runtime resolves the name at every dial.
/// IPv6 literals are kept without brackets, in the spelling of Java.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostPort {
    /// A name or a literal address.
    pub host: Arc<str>,
    /// The TCP port.
    pub port: u16,
}

impl HostPort {
    /// An address of a host in any spelling, and a port.
    pub fn new(host: &str, port: u16) -> HostPort {
        HostPort { host: spelling(host).into(), port }
    }

    /// Whether it stands for every address of the machine.
    pub fn is_wildcard(&self) -> bool {
        self.host.is_empty() || self.ip().is_some_and(|ip| ip.is_unspecified())
    }

    /// The address without its zone; none if the host is a name.
    pub fn ip(&self) -> Option<IpAddr> {
        literal(&self.host).map(|(ip, _)| ip)
    }
}

/// A literal address, with or without brackets, and its zone after a `%`; none for a name.
pub fn literal(host: &str) -> Option<(IpAddr, Option<&str>)> {
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if let Some((address, zone)) = host.split_once('%') {
        let address = address.parse::<Ipv6Addr>().ok().filter(|_| !zone.is_empty())?;
        return Some((address.into(), Some(zone)));
    }
    host.parse().ok().map(|ip| (ip, None))
}

/// A host as `InetSocketAddress.getHostString` spells it, without brackets: an IPv6 address in
/// eight groups, a mapped IPv4 address as IPv4, a name unchanged.
pub fn spelling(host: &str) -> Cow<'_, str> {
    match literal(host) {
        Some((IpAddr::V6(ip), zone)) => match ip.to_ipv4_mapped() {
            Some(ip) => Cow::Owned(ip.to_string()),
            None => {
                let [a, b, c, d, e, f, g, h] = ip.segments();
                let groups = format!("{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}:{g:x}:{h:x}");
                Cow::Owned(zone.map_or(groups.clone(), |zone| format!("{groups}%{zone}")))
            }
        },
        _ => {
            let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
            Cow::Borrowed(inner.unwrap_or(host))
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zxid_holds_epoch_and_counter() {
        let z = Zxid::new(Epoch(5), 7);
        assert_eq!((z.epoch(), z.counter(), z.0), (Epoch(5), 7, 0x5_0000_0007));
        assert!(Zxid::UNTRUSTED < Zxid::ZERO);
        assert_eq!(alloc::format!("{z}"), "0x500000007");
    }

    #[test]
    fn hosts_are_normalized() {
        for (given, expected) in [
            ("zk-1.example", "zk-1.example:1"),
            ("10.0.0.7", "10.0.0.7:1"),
            ("::1", "[0:0:0:0:0:0:0:1]:1"),
            ("[2001:DB8::7]", "[2001:db8:0:0:0:0:0:7]:1"),
            ("[::ffff:10.0.0.7]", "10.0.0.7:1"),
            ("fe80::1%eth0", "[fe80:0:0:0:0:0:0:1%eth0]:1"),
            ("0:0:0:0:0:0:0:1%lo", "[0:0:0:0:0:0:0:1%lo]:1"),
            ("a%b", "a%b:1"),
            ("[zk1]", "zk1:1"),
        ] {
            assert_eq!(HostPort::new(given, 1).to_string(), expected, "{given}");
        }
        for wildcard in ["0.0.0.0", "::", "[0:0:0:0:0:0:0:0]", "0::0"] {
            assert!(HostPort::new(wildcard, 1).is_wildcard(), "{wildcard}");
        }
        assert!(!HostPort::new("::1%lo", 1).is_wildcard());
        assert_eq!(HostPort::new("::1%lo", 1).ip(), Some(Ipv6Addr::LOCALHOST.into()));
    }

    #[test]
    fn claimed_epoch_near_the_last_is_refused() {
        let epochs = |from, to| Epoch(from).may_advance_to(Epoch(to));
        assert!(epochs(0, 1) && epochs(0, 0x6000_0000) && epochs(0x7f00_0000, 0x7f00_0001));
        assert!(epochs(5, 4), "another check refuses older epochs");
        assert!(!epochs(0, 0x7f00_0000) && !epochs(0, 0x7fff_ffff));
        assert!(!epochs(0x7fff_fffe, 0x7fff_ffff), "no epoch follows the last");
    }

    #[test]
    fn dialled_and_accepted_connections_never_collide() {
        assert_ne!(ConnId::dialled(3), ConnId::accepted(3));
        assert!(ConnId::dialled(3).is_dialled() && !ConnId::accepted(3).is_dialled());
    }
}
