//! Zab: discovery, synchronisation and broadcast, over opaque payloads.
//!
//! [`Ensemble`] joins it with the election. It knows a transaction only as a zxid and bytes, so
//! another replicated state machine can ride on it as well as the znode tree does.
//!
//! What is acknowledged is durable: an ACK, an epoch, a NEWLEADER's acknowledgement is emitted
//! only after [`Persisted`](crate::event::DiskEvent::Persisted) has reached the ticket of the write
//! that it stands for.

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
