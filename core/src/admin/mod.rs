//! Metrics, and the four-letter words that show them.
//!
//! A word is answered by a pure function from a [`Report`], which whoever composes the server
//! fills; nothing here asks back.

mod dump;
pub mod metrics;
mod report;
#[cfg(test)]
mod tests;
mod text;
mod whitelist;

pub use report::{
    Client, ClientSession, Conf, Dump, EnsembleConf, Expiring, GlobalSessions, Leadership, Mode,
    Recovery, Report, Serving, Watched,
};
pub use text::{OWN_FIGURES, answer};
pub use whitelist::Whitelist;

/// The version that monitors compare, and this server's own behind the hyphen.
pub const VERSION: &str =
    concat!("3.9.5-zabkeeper-", env!("CARGO_PKG_VERSION"), ", built on 2026-11-20 00:00 UTC");
