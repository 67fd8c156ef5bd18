//! Servers on plain threads, test ensembles, and the parts that all runtimes of zabkeeper share.
//!
//! - **Test an application**: [`TestEnsemble`] starts the servers of an ensemble on threads of the
//!   test's process. Members can be killed, restarted and partitioned, sessions expired.
//! - **Run a server**: [`program::main`] is the whole program - command line, start-up, logging,
//!   signals, exit codes - on a runtime. [`threads::Threads`] is the runtime of the binary
//!   `zabkeeper-std`: one thread polls all sockets, another one executes file operations.
//! - **Write a runtime**: implement [`program::Runtime`] and [`driver::Sockets`], and call a
//!   [`driver::Driver`] in a loop. The driver owns everything of a node except waiting, reading and
//!   writing; [`listen`] and [`descriptors`] help with sockets. The crate `zabkeeper` is a runtime
//!   on smol.
//!
//! The protocol itself is in the crate `zabkeeper-core`.

pub mod boot;
mod clock;
mod command_line;
pub mod descriptors;
mod dev;
mod disk_thread;
pub mod driver;
pub mod ensemble;
pub mod exit;
mod files;
mod host;
mod inspect;
pub mod journal;
mod layout;
pub mod listen;
mod logging;
pub mod program;
mod signals;
mod spelling;
mod system_properties;
pub mod threads;

pub use ensemble::TestEnsemble;
