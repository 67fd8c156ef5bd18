//! The simulator: whole ensembles of the core's servers, their networks, disks, clocks and
//! clients in one thread, with faults, and checkers that watch. And the replay of recorded runs.

pub mod check;
pub mod clients;
pub mod conversation;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod plan;
pub mod record;
mod rig;
pub mod run;
pub mod script;
pub mod targets;
pub mod trace;
pub mod world;
