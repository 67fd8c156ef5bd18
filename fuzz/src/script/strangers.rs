//! Bytes that a script writes by hand, and how bytes are shown.

use bytes::{BufMut, Bytes, BytesMut};

/// `ruok` as it is; `int:5`, `long:-65536` and `hex:00ff` as bytes; `zeros:100` so many.
pub(super) fn bytes(words: &[&str]) -> Result<Bytes, String> {
    let mut out = BytesMut::new();
    for word in words {
        let wrong = || format!("{word} is not what it says");
        match word.split_once(':') {
            Some(("int", n)) => {
                out.put_i32(integer(n).and_then(|n| i32::try_from(n).ok()).ok_or_else(wrong)?)
            }
            Some(("long", n)) => out.put_i64(integer(n).ok_or_else(wrong)?),
            Some(("hex", digits)) => out.extend_from_slice(&hex(digits).ok_or_else(wrong)?),
            Some(("zeros", n)) => out.put_bytes(0, n.parse().map_err(|_| wrong())?),
            _ => out.extend_from_slice(word.as_bytes()),
        }
    }
    Ok(out.freeze())
}

/// As text if it is that, else in hexadecimal, sixteen bytes a line.
pub(super) fn shown(bytes: &Bytes) -> Vec<String> {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\n' | b'\t');
    if bytes.is_empty() {
        return vec![String::from("nothing")];
    }
    if bytes.iter().all(is_plain) {
        return String::from_utf8_lossy(bytes).lines().map(String::from).collect();
    }
    let line =
        |row: &[u8]| row.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    bytes.chunks(16).map(line).collect()
}

fn integer(word: &str) -> Option<i64> {
    match word.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if digits.len() % 2 == 1 {
        return None;
    }
    digits.chunks(2).map(pair).collect()
}
