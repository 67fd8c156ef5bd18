//! The whole store, exactly: for the journal of a process.
//!
//! A snapshot's body is not enough to go on with the same bytes: it turns the order of siblings
//! round, and says neither which index the next ACL takes nor which digest is still awaited.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::{BufMut, BytesMut};

use super::snapshot::{Loader, SnapshotError, put_acl, put_stat, read_stat};
use super::tree::ROOT;
use super::{Mismatch, Store, StoreOptions};
use crate::types::{SessionId, Zxid};
use crate::wire::client::Acl;
use crate::wire::jute::{Malformed, Reader, Writer};

/// The bytes are no image of a store.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ImageError {
    /// A node, or a field of it, cannot be.
    #[error("{0}")]
    Node(#[from] SnapshotError),
    /// The tree is there, and its digest is another: it was written with other options, or by
    /// another version.
    #[error("the rebuilt tree's digest is {rebuilt:#x}, and was {written:#x}")]
    Digest {
        /// The former digest.
        written: u64,
        /// The digest of the rebuilt tree.
        rebuilt: u64,
    },
}

impl From<Malformed> for ImageError {
    fn from(malformed: Malformed) -> Self {
        ImageError::Node(malformed.into())
    }
}

impl Store {
    /// Appends everything from which [`Store::from_image`] makes a store that answers, and
    /// writes its snapshots, byte for byte as this one will.
    pub fn encode_image(&self, out: &mut BytesMut) {
        out.put_i64(self.last_zxid.0);
        out.put_u64(self.digest);
        out.put_boolean(self.mismatch.is_some());
        out.put_i64(self.mismatch.map_or(0, |mismatch| mismatch.zxid.0));
        out.put_boolean(self.expected.is_some());
        let (zxid, digest) = self.expected.unwrap_or_default();
        out.put_i64(zxid.0);
        out.put_u64(digest);
        out.put_count(self.digest_log.len());
        for (zxid, digest) in &self.digest_log {
            out.put_i64(zxid.0);
            out.put_u64(*digest);
        }
        out.put_count(self.sessions.len());
        for (session, timeout_ms) in &self.sessions {
            out.put_i64(session.0);
            out.put_i32(*timeout_ms);
        }
        out.put_i64(self.acls.next());
        out.put_count(self.acls.iter().len());
        for (index, acl) in self.acls.iter() {
            out.put_i64(index);
            out.put_boolean(self.acls.is_found(index, acl));
            put_acl(out, acl);
        }
        // Depth first, siblings in their order.
        let mut stack = Vec::from([(ROOT, String::new())]);
        while let Some((id, path)) = stack.pop() {
            let node = self.tree.node(id);
            out.put_ustring(&path);
            out.put_buffer(node.data());
            out.put_i64(node.acl());
            put_stat(out, &self.tree.stat(node));
            let first = stack.len();
            for (child, name) in self.tree.named_children(node) {
                let mut below = String::with_capacity(path.len() + 1 + name.len());
                below.push_str(&path);
                below.push('/');
                below.push_str(name);
                stack.push((child, below));
            }
            if let Some(children) = stack.get_mut(first..) {
                children.reverse();
            }
        }
        out.put_ustring("/");
    }

    /// Reads an image. The options must be those of the store that was written.
    ///
    /// # Errors
    /// The bytes are no image, or make another tree.
    pub fn from_image(r: &mut Reader<'_>, options: StoreOptions) -> Result<Store, ImageError> {
        let mut store = Store::bare(options);
        store.last_zxid = r.record()?;
        let written = r.long()? as u64;
        let (is_there, zxid) = (r.boolean()?, Zxid(r.long()?));
        let (here, said) = (store.digest, store.digest);
        store.mismatch = is_there.then_some(Mismatch { zxid, here, said });
        let (is_there, zxid, digest) = (r.boolean()?, Zxid(r.long()?), r.long()? as u64);
        store.expected = is_there.then_some((zxid, digest));
        for _ in 0..r.int()? {
            store.digest_log.push_back((r.record()?, r.long()? as u64));
        }
        for _ in 0..r.int()? {
            let (session, timeout_ms): (SessionId, i32) = (r.record()?, r.int()?);
            store.sessions.insert(session, timeout_ms);
        }
        let next = r.long()?;
        for _ in 0..r.int()? {
            let (index, found) = (r.long()?, r.boolean()?);
            store.acls.restore(index, r.record::<Vec<Acl>>()?, found);
        }
        store.acls.restore_next(next);
        let mut loader = Loader::default();
        loop {
            let path = r.text()?;
            if path == "/" {
                break;
            }
            let (data, acl, stat) = (r.buffer()?, r.long()?, read_stat(r)?);
            loader.load(&mut store, &path, data.as_deref(), acl, &stat)?;
        }
        if store.digest != written {
            return Err(ImageError::Digest { written, rebuilt: store.digest });
        }
        Ok(store)
    }
}
