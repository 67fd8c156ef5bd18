//! `zoo.cfg` and the ensemble's members: text in, typed configuration out.

mod members;

pub use members::{EnsembleConfig, LearnerType, Member, ServerAddress};
