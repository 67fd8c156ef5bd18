//! The transaction log on disk (`FileTxnLog`).

pub(super) mod format;
pub(super) mod read;
pub(super) mod reader;
pub(super) mod repair;
pub(super) mod tail;
pub(super) mod writer;
