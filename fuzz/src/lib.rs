//! The home of the simulator and of the fuzz targets, which drive the core's public interface.
//!
//! Until they move in, it re-exports the core that they will drive.

pub use zabkeeper_core as core;
