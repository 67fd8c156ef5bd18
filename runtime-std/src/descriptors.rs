//! File descriptors: the limit, and the ones that are reserved for the server.

use std::io;
use std::os::fd::AsRawFd;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use zabkeeper_core::event::Port;

/// Descriptors that clients cannot use, beside one for each other member: for logs, snapshots,
/// directories, the members' connections, name resolution.
const RESERVED_FROM_CLIENTS: u64 = 64;
/// Descriptors that connections to the quorum and election port cannot use.
const RESERVED_FOR_FILES: u64 = 32;

/// Advice in messages about too few descriptors.
pub(crate) const ADVICE: &str = "raise the limit (ulimit -n, LimitNOFILE)";

/// Raises the soft limit of this process to its hard limit; logs a failure.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(e) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!("cannot raise the limit of open files, {:?}: {e}", limit.current);
        }
    }
}

/// The soft limit; `None` if there is no limit.
pub(crate) fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Whether an error means that the process or the machine has no descriptors left.
pub(crate) fn are_exhausted(e: &io::Error) -> bool {
    let errno = Errno::from_io_error(e);
    errno == Some(Errno::MFILE) || errno == Some(Errno::NFILE)
}

/// Whether a descriptor's number is below `limit`. A new descriptor is the lowest free one, so its
/// number is a measure of all descriptors in use.
pub fn is_below(opened: &impl AsRawFd, limit: u64) -> bool {
    u64::try_from(opened.as_raw_fd()).is_ok_and(|number| number < limit)
}

/// An error as text, with advice if descriptors are exhausted.
pub fn in_words(e: &io::Error) -> String {
    match (Errno::from_io_error(e), limit()) {
        (Some(Errno::MFILE), Some(limit)) => {
            format!("{e}: all {limit} file descriptors of this process are in use; {ADVICE}")
        }
        (Some(Errno::NFILE), _) => {
            format!("{e}: all file descriptors of this machine are in use (raise fs.file-max)")
        }
        _ => e.to_string(),
    }
}

/// The limits of connections, as numbers of their descriptors ([`is_below`]).
#[derive(Clone, Copy, Debug)]
pub(crate) struct DescriptorLimits {
    limit: Option<u64>,
    for_clients: u64,
    for_servers: u64,
}

impl DescriptorLimits {
    /// The limits of a server in an ensemble with `others` other members.
    pub(crate) fn new(limit: Option<u64>, others: u64) -> DescriptorLimits {
        let all = limit.unwrap_or(u64::MAX);
        // A small limit is halved.
        let without = |reserve: u64| all - reserve.min(all / 2);
        DescriptorLimits {
            limit,
            for_clients: without(RESERVED_FROM_CLIENTS.saturating_add(others)),
            for_servers: without(RESERVED_FOR_FILES),
        }
    }

    /// The limit of the descriptors of connections to a port.
    pub(crate) fn of_port(&self, port: Port) -> u64 {
        match port {
            Port::Client => self.for_clients,
            Port::Election | Port::Quorum => self.for_servers,
        }
    }

    /// The reason for a refused connection.
    pub(crate) fn refusal(&self, connections: usize) -> String {
        format!(
            "too few file descriptors left: the limit is {}, {connections} are connections; {ADVICE}",
            self.limit.unwrap_or(u64::MAX)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_reserved_for_the_server_and_its_files() {
        let limits = DescriptorLimits::new(Some(256), 3);
        let below = [Port::Client, Port::Quorum, Port::Election].map(|port| limits.of_port(port));
        assert_eq!(below, [256 - 64 - 3, 256 - 32, 256 - 32]);
        let small = DescriptorLimits::new(Some(40), 3);
        assert_eq!((small.of_port(Port::Client), small.of_port(Port::Quorum)), (20, 20));
        assert!(DescriptorLimits::new(None, 3).of_port(Port::Client) > 1 << 40);
        let text = limits.refusal(170);
        assert!(text.contains("256") && text.contains("170 are connections"), "{text}");
        assert!(text.contains("ulimit -n, LimitNOFILE"), "{text}");
    }

    #[test]
    fn exhausted_descriptors_are_reported_with_advice() {
        let none = io::Error::from(Errno::MFILE);
        assert!(are_exhausted(&none) && in_words(&none).contains(ADVICE), "{}", in_words(&none));
        let none = io::Error::from(Errno::NFILE);
        assert!(are_exhausted(&none) && in_words(&none).contains("fs.file-max"));
        let other = io::Error::from(Errno::IO);
        assert!(!are_exhausted(&other) && in_words(&other) == other.to_string());
    }

    #[test]
    fn limit_is_raised_to_the_hard_limit() {
        raise_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
