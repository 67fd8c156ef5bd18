//! What every runtime of zabkeeper needs and none should write twice: the driver of a node, the
//! file executor and its thread, start-up, the command line, what the JVM was told, the clock,
//! signals, logging, the journal of a process, what `inspect` prints. And [`threads`], a runtime
//! without an executor; and [`TestEnsemble`], for the tests of others.

pub mod boot;
pub mod clock;
pub mod command_line;
pub mod descriptors;
mod dev;
pub mod disk_thread;
pub mod driver;
pub mod ensemble;
pub mod exit;
pub mod files;
pub mod host;
pub mod inspect;
pub mod journal;
pub mod layout;
pub mod listen;
pub mod logging;
pub mod program;
pub mod signals;
mod spelling;
pub mod system_properties;
pub mod threads;

pub use ensemble::TestEnsemble;
