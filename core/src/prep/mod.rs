//! From a request to a transaction: what the leader decides before it proposes
//! (`PrepRequestProcessor`).

pub mod acl;
pub mod auth;
pub mod path;
