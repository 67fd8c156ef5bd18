//! The home of the simulator and of the fuzz targets, which drive the core's public interface;
//! and the replay of recorded runs.

pub mod record;

pub use zabkeeper_core as core;
