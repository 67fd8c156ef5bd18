//! Zab, ZooKeeper's atomic broadcast: discovery, synchronisation, broadcast and reconfiguration,
//! over opaque payloads.
//!
//! [`Ensemble`] is one server's part in it, together with the election. It knows a transaction only
//! as a zxid and bytes, so that any replicated state machine, the *application*, can use it; the
//! znode tree is one.
//!
//! | step | at the leader | at a learner |
//! |---|---|---|
//! | discovery, synchronisation | `leader/discovery.rs`, `sync_plan.rs` | `learner/join.rs` |
//! | broadcast | `leader/broadcast.rs` | `learner/broadcast.rs` |
//! | reconfiguration | `leader/reconfig.rs` | `learner/reconfig.rs` |
//!
//! `membership.rs` has the transitions of a reconfiguration, for both.
//!
//! Every acknowledgement stands for durable data: an ACK of a proposal, of an epoch or of NEWLEADER
//! is emitted only after [`Persisted`](crate::event::DiskEvent::Persisted) has reached the ticket
//! of the write.

mod ack_tracker;
mod api;
mod confirmation;
mod ensemble;
mod foreign_history;
mod history;
mod leader;
mod leader_addresses;
mod learner;
mod learner_handler;
mod learners;
mod limits;
mod membership;
mod observer_master;
mod packet_stream;
mod pending_learners;
mod proposal_buffer;
mod replica;
mod standalone;
mod sync_plan;
#[cfg(test)]
mod tests;
mod transition;

pub use api::{Delivery, EnsembleOptions, ReadConfig, Role};
pub use ensemble::Ensemble;
pub use history::RecoveredLog;

use replica::Replica;
