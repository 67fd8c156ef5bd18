//! Sessions: their ids and passwords, and the leader's record of which sessions are alive
//! (`SessionTracker`).

mod check;
mod ids;
mod tracker;

pub use check::SessionCheck;
pub use ids::password;
pub(crate) use ids::{SessionIds, password_is};
pub use tracker::{Owner, SessionTracker};
