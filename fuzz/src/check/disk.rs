//! What a server that has recovered leaves in its directory: logs that ZooKeeper would open, too
//! (`FileTxnLog.FileTxnIterator` stops the server at the first entry that is not whole).

use zabkeeper_core::disk::MemoryFiles;
use zabkeeper_core::types::{ServerId, Zxid};

use super::Violation;

const RULE: &str = "logs are whole after a start";

/// Reads every log: a header, whole entries in order from the one that names the file, then
/// nothing but zeros.
pub fn logs(server: ServerId, files: &MemoryFiles) -> Result<(), Violation> {
    let mut last = Zxid::ZERO;
    let mut logs: Vec<(i64, &str)> = files.paths().filter_map(named).collect();
    logs.sort_unstable();
    for (first, path) in logs {
        let content = files.get(path).unwrap_or_default();
        last = log(Zxid(first), content, last)
            .map_err(|why| Violation::safety(RULE, format!("server {server}: {path}: {why}")))?;
    }
    Ok(())
}

fn named(path: &str) -> Option<(i64, &str)> {
    let zxid = path.rsplit('/').next()?.strip_prefix("log.")?;
    Some((i64::from_str_radix(zxid, 16).ok()?, path))
}

/// Reads one; returns its last zxid.
fn log(first: Zxid, content: &[u8], before: Zxid) -> Result<Zxid, String> {
    let rest = content.strip_prefix(b"ZKLG\0\0\0\x02").ok_or("no header")?;
    let mut rest = rest.get(8..).ok_or("no database id")?;
    let mut last = before;
    let mut is_first = true;
    while rest.iter().take(12).any(|byte| *byte != 0) {
        let at = content.len() - rest.len();
        let cut = || format!("cut short at {at}");
        let (checksum, after) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
        let (length, after) = after.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = i32::from_be_bytes(*length);
        let body = usize::try_from(length).ok().and_then(|length| after.get(..length));
        let body = body.ok_or_else(cut)?;
        if i64::from_be_bytes(*checksum) != i64::from(adler32(body)) {
            return Err(format!("a wrong checksum at {at}"));
        }
        let zxid = body.get(12..).and_then(|from| from.first_chunk::<8>());
        let zxid = zxid.map(|zxid| Zxid(i64::from_be_bytes(*zxid))).ok_or_else(cut)?;
        if is_first && zxid != first {
            return Err(format!("begins with {zxid}"));
        }
        if zxid <= last {
            return Err(format!("{zxid} after {last}"));
        }
        (last, is_first) = (zxid, false);
        rest = after.get(body.len()..).and_then(|end| end.strip_prefix(b"B")).ok_or_else(cut)?;
    }
    match rest.iter().position(|byte| *byte != 0) {
        Some(at) => Err(format!("bytes at {} after its end", content.len() - rest.len() + at)),
        None if is_first => Err(String::from("no entry")),
        None => Ok(last),
    }
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    (b << 16) | a
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[u8] = include_bytes!("../../../core/testdata/storage/3.9.5/log.1");

    fn check(name: &str, content: &[u8]) -> Result<(), Violation> {
        let mut files = MemoryFiles::new();
        files.put(&format!("/data/version-2/{name}"), content);
        logs(ServerId(1), &files)
    }

    #[test]
    fn a_log_of_zookeeper_is_whole_and_a_part_of_it_is_not() {
        check("log.1", LOG).expect("whole");
        assert!(check("log.2", LOG).is_err(), "another name");
        assert!(check("log.1", &LOG[..16]).is_err(), "no entry");
        assert!(check("log.1", &LOG[..40]).is_err(), "cut in its first entry");
        let mut flipped = LOG.to_vec();
        flipped[60] ^= 1;
        assert!(check("log.1", &flipped).is_err(), "a bit of an entry");
        let mut flipped = LOG.to_vec();
        *flipped.last_mut().expect("bytes") ^= 1;
        assert!(check("log.1", &flipped).is_err(), "something after its end");
    }
}
