//! A snapshot of many znodes, in the format that all servers read: so that a large tree is there at
//! once, and the same one everywhere.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use bytes::Bytes;
use simd_adler32::Adler32;
use zabkeeper_core::store::{SnapshotDecoder, Store, StoreOptions};
use zabkeeper_core::types::{Epoch, Zxid};

use super::Kind;

/// Of the newest transaction that the tree is said to hold.
pub const ZXID: Zxid = Zxid::new(Epoch(1), 1);
/// When it was made, ms since 1970.
const TIME_MS: i64 = 1_700_000_000_000;
/// Version 2, no database id.
const HEADER: &[u8] = b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff";
/// Children of each parent, at most.
const CHILDREN: usize = 1000;

/// A parent, and a node below it, where `#` stand for the digits of its number.
pub(crate) const PARENT: &str = "/tree/####";
/// See [`PARENT`].
pub(crate) const NODE: &str = "/tree/####/0###";
/// How long the path of a node is; the parents are few.
pub const PATH_BYTES: usize = NODE.len();
/// Of which there are paths.
pub const MOST_NODES: usize = 10_000 * CHILDREN;

/// How many parents so many nodes have.
pub fn parents(nodes: usize) -> usize {
    nodes.div_ceil(CHILDREN)
}

/// Writes a tree of so many nodes, each with so many bytes of data, besides their parents.
///
/// # Errors
/// The file cannot be written, or there are no names for so many.
pub fn write(path: &Path, nodes: usize, bytes: usize) -> io::Result<()> {
    let file = write_to(BufWriter::with_capacity(1 << 20, File::create(path)?), nodes, bytes)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// The same to anything.
///
/// # Errors
/// It cannot be written, or there are no names for so many.
pub fn write_to<W: Write>(to: W, nodes: usize, bytes: usize) -> io::Result<W> {
    if nodes > MOST_NODES {
        return Err(io::Error::other(format!("a tree has at most {MOST_NODES} nodes")));
    }
    let mut out = Checked { to, sum: Adler32::new() };
    out.put(HEADER)?;
    // No sessions, no ACLs of its own.
    out.put(&[0; 8])?;
    let parents = parents(nodes);
    for path in ["", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"] {
        out.node(path, &[], 0)?;
    }
    out.node("/tree", &[], parents)?;
    let data = vec![b'x'; bytes];
    for parent in 0..parents {
        let children = CHILDREN.min(nodes - parent * CHILDREN);
        out.node(&format!("/tree/{parent:04}"), &[], children)?;
        for child in 0..children {
            out.node(&format!("/tree/{parent:04}/{child:04}"), &data, 0)?;
        }
    }
    out.buffer(b"/")?;
    let sum = i64::from(out.sum.finish());
    out.put(&sum.to_be_bytes())?;
    out.buffer(b"/")?;
    Ok(out.to)
}

/// A server's store with such a tree, without any file.
///
/// # Panics
/// If it is not read as it was written.
pub fn load(nodes: usize, bytes: usize, options: StoreOptions) -> Store {
    let file = write_to(Vec::new(), nodes, bytes).unwrap_or_else(|e| panic!("{e}"));
    let mut decoder = SnapshotDecoder::new(options);
    let rest = decoder.push(Bytes::from(file).slice(HEADER.len()..));
    assert!(matches!(rest, Ok(Some(_))), "{rest:?}");
    decoder.finish(ZXID)
}

/// Puts it, and the epoch that it is of, into a server's `version-2`. For zabkeeper it is a link.
/// Apache ZooKeeper begins with a snapshot of what it has read, and writes that over the file of
/// the same name: it gets a copy, or it would write what the others are reading.
///
/// # Errors
/// It cannot be linked or copied.
pub(super) fn install(snapshot: &Path, version2: &Path, kind: Kind) -> io::Result<()> {
    let to = version2.join(format!("snapshot.{:x}", ZXID.0));
    match kind {
        Kind::Smol | Kind::Std => fs::hard_link(snapshot, to)?,
        Kind::Apache => {
            fs::copy(snapshot, &to)?;
            // What is still to be written to the disk would disturb what is measured.
            File::open(to)?.sync_all()?;
        }
    }
    fs::write(version2.join("acceptedEpoch"), "1")?;
    fs::write(version2.join("currentEpoch"), "1")
}

struct Checked<W> {
    to: W,
    sum: Adler32,
}

impl<W: Write> Checked<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.write(bytes);
        self.to.write_all(bytes)
    }

    fn buffer(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(&(bytes.len() as i32).to_be_bytes())?;
        self.put(bytes)
    }

    fn node(&mut self, path: &str, data: &[u8], children: usize) -> io::Result<()> {
        self.buffer(path.as_bytes())?;
        self.buffer(data)?;
        // ACL: open to all. Then the stat.
        let mut stat = Vec::with_capacity(68);
        stat.extend((-1_i64).to_be_bytes());
        for long in [ZXID.0, ZXID.0, TIME_MS, TIME_MS] {
            stat.extend(long.to_be_bytes());
        }
        for int in [0, children as i32, 0] {
            stat.extend(int.to_be_bytes());
        }
        for long in [0, ZXID.0] {
            stat.extend(long.to_be_bytes());
        }
        self.put(&stat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_writes_over_its_snapshot_changes_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("tree");
        write(&source, 10, 100).unwrap();
        let whole = fs::read(&source).unwrap();
        let snapshots = ["a", "b"].map(|name| {
            let version2 = dir.path().join(name);
            fs::create_dir(&version2).unwrap();
            install(&source, &version2, Kind::Apache).unwrap();
            version2.join("snapshot.100000001")
        });
        fs::write(&snapshots[0], "half of it").unwrap();
        assert!(fs::read(&snapshots[1]).unwrap() == whole && fs::read(&source).unwrap() == whole);
    }
}
