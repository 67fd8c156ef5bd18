//! Java's properties syntax, with line numbers (`java.util.Properties`).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What files that are not read as they were meant begin with.
const BYTE_ORDER_MARKS: [&str; 3] = ["\u{ef}\u{bb}\u{bf}", "\u{fe}\u{ff}", "\u{ff}\u{fe}"];

/// The text of a file: each byte is a character (ISO-8859-1).
pub fn decode(file: &[u8]) -> String {
    file.iter().copied().map(char::from).collect()
}

/// The file of a text: what no byte stands for is escaped.
pub fn encode(text: &str) -> Vec<u8> {
    let mut file = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(c) {
            Ok(byte) => file.push(byte),
            Err(_) => {
                let units = &mut [0; 2];
                for unit in c.encode_utf16(units) {
                    file.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
        }
    }
    file
}

/// Java's `trim`: without control characters and blanks at both ends.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

/// Whether a text begins with a byte order mark, which is read as a part of its first line.
pub(super) fn has_byte_order_mark(text: &str) -> bool {
    BYTE_ORDER_MARKS.iter().any(|mark| text.starts_with(mark))
}

/// One `key=value`, and the line on which it begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Property {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: String,
}

/// A `\u` without four hexadecimal digits, and its line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed {
    pub(super) line: usize,
}

/// Reads a text: comments begin with `#` or `!`, a backslash at the end continues a line, key
/// and value are parted by `=`, `:` or blanks.
pub(super) fn parse(text: &str) -> Result<Vec<Property>, Malformed> {
    let mut all = Vec::new();
    for logical in LogicalLines::of(text) {
        let (key, value) = split(&logical.text);
        let plain = |text| unescape(text).ok_or(Malformed { line: logical.line });
        all.push(Property { line: logical.line, key: plain(key)?, value: plain(value)? });
    }
    Ok(all)
}

/// The text without the lines of these keys; all others stand as they stood.
pub(super) fn without(text: &str, is_dropped: impl Fn(&str) -> bool) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    for logical in LogicalLines::of(text) {
        let key = unescape(split(&logical.text).0).unwrap_or_default();
        if is_dropped(trim(&key)) {
            kept.push_str(&text[from..logical.start]);
            from = logical.end;
        }
    }
    kept.push_str(&text[from..]);
    kept
}

/// What stands for one property, joined of all its lines.
struct LogicalLine {
    line: usize,
    text: String,
    start: usize,
    end: usize,
}

struct LogicalLines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> LogicalLines<'a> {
    fn of(text: &'a str) -> LogicalLines<'a> {
        LogicalLines { text, at: 0, line: 0 }
    }

    /// The next line of the file, without its end (CR, LF or both).
    fn natural_line(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        self.line += 1;
        let length = rest.find(['\r', '\n']).unwrap_or(rest.len());
        let (line, end) = rest.split_at(length);
        let end = if end.starts_with("\r\n") { 2 } else { end.len().min(1) };
        self.at += length + end;
        Some(line)
    }
}

impl Iterator for LogicalLines<'_> {
    type Item = LogicalLine;

    fn next(&mut self) -> Option<LogicalLine> {
        let mut logical = LogicalLine { line: 0, text: String::new(), start: 0, end: 0 };
        loop {
            let start = self.at;
            let Some(line) = self.natural_line() else { break };
            let line = line.trim_start_matches(is_blank);
            if logical.text.is_empty() {
                if line.is_empty() || line.starts_with(['#', '!']) {
                    continue;
                }
                (logical.line, logical.start) = (self.line, start);
            }
            logical.text.push_str(line);
            logical.end = self.at;
            if !ends_in_backslash(line) {
                break;
            }
            logical.text.pop();
        }
        (!logical.text.is_empty()).then_some(logical)
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

fn ends_in_backslash(line: &str) -> bool {
    line.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1
}

fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '=' || c == ':' || is_blank(c) {
            let rest = line[at..].trim_start_matches(is_blank);
            let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
            return (&line[..at], value.trim_start_matches(is_blank));
        }
    }
    (line, "")
}

/// None if a `\u` has no four digits. Half of a surrogate pair becomes a question mark, as where
/// Java encodes it.
fn unescape(text: &str) -> Option<String> {
    let mut units = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let mut buffer = [0; 2];
        let plain = match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => {
                    let mut unit = 0;
                    for _ in 0..4 {
                        unit = unit << 4 | chars.next()?.to_digit(16)?;
                    }
                    units.push(u16::try_from(unit).ok()?);
                    continue;
                }
                Some(other) => other,
                None => continue,
            },
            other => other,
        };
        units.extend_from_slice(plain.encode_utf16(&mut buffer));
    }
    Some(char::decode_utf16(units).map(|c| c.unwrap_or('?')).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_as_java_reads_them() {
        let text = "# comment\n\ntickTime=2000\n  a : b = c\n!no\nlong=one,\\\n   two\npath=C\\:\\\\x\nempty\n\
            old=mac\rx=\\u0041\\ud83d\\ude00\\ud83d\r\n\\\n#none\nlast=\\";
        let read: Vec<_> =
            parse(text).unwrap().into_iter().map(|p| (p.line, p.key, p.value)).collect();
        let expected = [
            (3, "tickTime", "2000"),
            (4, "a", "b = c"),
            (6, "long", "one,two"),
            (8, "path", "C:\\x"),
            (9, "empty", ""),
            (10, "old", "mac"),
            (11, "x", "A\u{1f600}?"),
            (14, "last", ""),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(l, k, v)| (*l, String::from(*k), String::from(*v))).collect();
        assert_eq!(read, expected);
        assert_eq!(parse("a=b\n# \\u\nc=C:\\users\n"), Err(Malformed { line: 3 }));
    }

    #[test]
    fn every_byte_is_a_character_and_every_text_can_be_written() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(encode(&decode(&all)), all);
        let text = "p=\u{e4}\u{6570}\u{1f600}";
        let file = encode(text);
        assert_eq!(file, b"p=\xe4\\u6570\\ud83d\\ude00");
        assert_eq!(parse(&decode(&file)).unwrap()[0].value, "\u{e4}\u{6570}\u{1f600}");
    }
}
