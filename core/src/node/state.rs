//! The znode store as the state that rides on the log.

use alloc::format;
use alloc::string::{String, ToString};

use bytes::{Bytes, BytesMut};

use crate::disk::{SnapshotDecoder as DiskDecoder, SnapshotDigest, State};
use crate::store::{Effects, SnapshotDecoder, Store, StoreOptions};
use crate::types::Zxid;
use crate::wire::Record;
use crate::wire::txn::LoggedTxn;

impl State for Store {
    type Options = StoreOptions;
    type Decoder = Decoder;

    fn empty(options: &StoreOptions) -> Store {
        Store::new(*options)
    }
    fn decoder(options: &StoreOptions) -> Decoder {
        Decoder { decoder: SnapshotDecoder::new(*options) }
    }
    fn encode(&self, out: &mut BytesMut) {
        self.encode_snapshot(out);
    }
    fn digest(&self) -> Option<u64> {
        self.digest_enabled().then(|| Store::digest(self))
    }
    fn loaded(&mut self, zxid: Zxid, digest: Option<SnapshotDigest>) {
        self.set_last_zxid(zxid);
        self.expect_digest(digest.map(|d| (d.zxid, d.digest)));
        // A leader's snapshot does not say how far its walk came.
        if digest.is_none() && zxid > Zxid::ZERO {
            self.leave_unjudged();
        }
    }
    fn replay(&mut self, zxid: Zxid, body: &Bytes) -> Result<(), String> {
        let logged = LoggedTxn::from_bytes(body)
            .map_err(|what| format!("transaction {zxid} cannot be read: {what}"))?;
        self.apply(&logged, &mut Effects::default());
        Ok(())
    }
    fn replayed(&mut self, last: Zxid) {
        if last > self.last_zxid() {
            self.set_last_zxid(last);
        }
        self.drop_orphans();
    }
}

/// A store's decoder as the disk drives it.
#[derive(Debug)]
pub struct Decoder {
    decoder: SnapshotDecoder,
}

impl DiskDecoder for Decoder {
    type State = Store;

    fn push(&mut self, bytes: &Bytes) -> Result<Option<usize>, String> {
        match self.decoder.push(bytes.clone()) {
            Ok(None) => Ok(None),
            Ok(Some(rest)) => Ok(Some(bytes.len() - rest.len())),
            Err(error) => Err(error.to_string()),
        }
    }
    fn finish(self) -> Result<Store, String> {
        Ok(self.decoder.finish(Zxid::ZERO))
    }
}
