//! What the recipes of the workloads promise each other, in the order of the log.

use zabkeeper_core::wire::txn::{SetDataTxn, Txn};

use crate::check::model::Model;

/// Whether a transaction that is about to be applied keeps what its recipe promises.
///
/// # Errors
/// The promise, and how it is broken.
pub(super) fn check(model: &Model, txn: &Txn) -> Result<(), (&'static str, String)> {
    match txn {
        Txn::SetData(set) if &*set.path == "/counter" => count(model, set),
        Txn::Multi(parts) => match &parts[..] {
            [Txn::Check(own), Txn::SetData(set)] if &*set.path == "/lock" => lock(model, &own.path),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Who counts adds one to what was there before.
fn count(model: &Model, set: &SetDataTxn) -> Result<(), (&'static str, String)> {
    let number = |data: Option<&[u8]>| -> Option<u64> {
        std::str::from_utf8(data?).ok().and_then(|text| text.parse().ok())
    };
    let before = model.now("/counter").and_then(|node| number(node.data.as_deref()));
    let after = number(set.data.as_deref());
    match (before, after) {
        (Some(before), Some(after)) if after == before + 1 => Ok(()),
        _ => Err(("a counter counts", format!("{after:?} comes after {before:?}"))),
    }
}

/// Only the first in the row does what the lock guards: it checks, in the same transaction, that
/// its place in the row is still its own.
fn lock(model: &Model, own: &str) -> Result<(), (&'static str, String)> {
    let mine = own.rsplit('/').next().unwrap_or_default();
    match model.names("/lock").min() {
        Some(first) if first == mine => Ok(()),
        first => {
            let what = format!("{mine} does it, and {first:?} holds the lock");
            Err(("a lock has one holder", what))
        }
    }
}
