//! The exit codes of ZooKeeper (`org.apache.zookeeper.server.ExitCode`).

/// The server was stopped in order.
pub const EXECUTION_FINISHED: i32 = 0;
/// An unexpected error.
pub const UNEXPECTED_ERROR: i32 = 1;
/// Invalid command line or configuration.
pub const INVALID_INVOCATION: i32 = 2;
/// The data directory cannot be used.
pub const UNABLE_TO_ACCESS_DATADIR: i32 = 3;
/// A snapshot or the log could not be written.
pub const ERROR_TAKING_SNAPSHOT: i32 = 10;
/// The leader or a learner received an invalid packet.
pub const QUORUM_PACKET_ERROR: i32 = 13;
/// The election or quorum port cannot be bound.
pub const UNABLE_TO_BIND_QUORUM_PORT: i32 = 14;

/// The error that ends the program, with its exit code.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// One line: what was found, what was expected, and what to do.
    pub message: String,
    /// The process exit code.
    pub code: i32,
}

impl Failure {
    /// A failure with this code and message.
    pub fn new(code: i32, message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code }
    }
}
