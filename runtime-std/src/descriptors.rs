//! File descriptors: how many there may be, and how many are kept for the server's own files.

use std::io;
use std::os::fd::AsRawFd;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use zabkeeper_core::event::Port;

/// Kept from clients beside one for each other server: logs, snapshots, directories, the other
/// servers' connections, names that are looked up.
const OF_THE_SERVER: u64 = 64;
/// Kept from whoever comes to the ports of the other servers.
const OF_THE_FILES: u64 = 32;

/// What to do about too few of them.
pub const ADVICE: &str = "raise the limit (ulimit -n, LimitNOFILE)";

/// Allows as many descriptors as the hard limit does. What the system refuses stays as it is.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(e) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!("the limit of open files stays {:?}: {e}", limit.current);
        }
    }
}

/// The soft limit, if there is one.
pub fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Whether an error says that there are none left, in the process or in the whole system.
pub fn are_used_up(e: &io::Error) -> bool {
    let errno = Errno::from_io_error(e);
    errno == Some(Errno::MFILE) || errno == Some(Errno::NFILE)
}

/// Whether a descriptor's number is below this. A new descriptor is always the lowest free one, so
/// its number tells how many are in use, whoever opened them.
pub fn is_below(opened: &impl AsRawFd, limit: u64) -> bool {
    u64::try_from(opened.as_raw_fd()).is_ok_and(|number| number < limit)
}

/// An error with what to do about it, if descriptors are the matter.
pub fn in_words(e: &io::Error) -> String {
    match (Errno::from_io_error(e), limit()) {
        (Some(Errno::MFILE), Some(limit)) => {
            format!("{e}: all of the {limit} that this process may open are in use; {ADVICE}")
        }
        (Some(Errno::NFILE), _) => {
            format!("{e}: all that this machine may open are in use (fs.file-max)")
        }
        _ => e.to_string(),
    }
}

/// Which connections are taken, by the numbers of their descriptors ([`is_below`]).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    limit: Option<u64>,
    for_clients: u64,
    for_servers: u64,
}

impl Budget {
    /// For a server with so many others.
    pub(crate) fn new(limit: Option<u64>, others: u64) -> Budget {
        let all = limit.unwrap_or(u64::MAX);
        // The smallest limit still leaves something for either.
        let without = |reserve: u64| all - reserve.min(all / 2);
        Budget {
            limit,
            for_clients: without(OF_THE_SERVER.saturating_add(others)),
            for_servers: without(OF_THE_FILES),
        }
    }

    /// Below which number a connection's descriptor has to be there.
    pub(crate) fn below(&self, port: Port) -> u64 {
        match port {
            Port::Client => self.for_clients,
            Port::Election | Port::Quorum => self.for_servers,
        }
    }

    /// Why one is not.
    pub(crate) fn refusal(&self, connections: usize) -> String {
        format!(
            "too few file descriptors are left: {} are the limit, {connections} connections have \
             one; {ADVICE}",
            self.limit.unwrap_or(u64::MAX)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_some_for_the_server_and_nobody_takes_those_of_its_files() {
        let budget = Budget::new(Some(256), 3);
        let below = [Port::Client, Port::Quorum, Port::Election].map(|port| budget.below(port));
        assert_eq!(below, [256 - 64 - 3, 256 - 32, 256 - 32]);
        let small = Budget::new(Some(40), 3);
        assert_eq!((small.below(Port::Client), small.below(Port::Quorum)), (20, 20));
        assert!(Budget::new(None, 3).below(Port::Client) > 1 << 40);
        let said = budget.refusal(170);
        assert!(said.contains("256") && said.contains("170 connections"), "{said}");
        assert!(said.contains("ulimit -n, LimitNOFILE"), "{said}");
    }

    #[test]
    fn an_error_for_want_of_descriptors_says_what_to_do() {
        let none = io::Error::from(Errno::MFILE);
        assert!(are_used_up(&none) && in_words(&none).contains(ADVICE), "{}", in_words(&none));
        let none = io::Error::from(Errno::NFILE);
        assert!(are_used_up(&none) && in_words(&none).contains("fs.file-max"));
        let other = io::Error::from(Errno::IO);
        assert!(!are_used_up(&other) && in_words(&other) == other.to_string());
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_may_be() {
        raise_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
