//! What every runtime of zabkeeper needs and none should write twice: the file executor and its
//! thread, start-up, the command line, what the JVM was told, the clock, signals, logging, the
//! journal of a process, what `inspect` prints, and the layout of a development ensemble.

pub mod boot;
pub mod clock;
pub mod command_line;
pub mod dev;
pub mod disk_thread;
pub mod exit;
pub mod files;
pub mod host;
pub mod inspect;
pub mod logging;
pub mod record;
pub mod signals;
pub mod system_properties;
