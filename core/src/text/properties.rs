//! The syntax of Java's properties files (`java.util.Properties`): comments, continuation lines,
//! three kinds of separators, and escapes.
//!
//! ```text
//! # a comment, as with !
//! tickTime = 2000
//! dataDir: C\:\\zookeeper
//! server.1  zk1:2888:3888;\
//!           2181
//! ```

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{is_a, is_not, tag, take_while1};
use nom::character::complete::{anychar, char, one_of};
use nom::combinator::{eof, map, map_opt, not, opt, recognize, verify};
use nom::multi::{fold_many_m_n, fold_many0, many0_count};
use nom::sequence::{pair, preceded};

use super::{Parsed, Position, Unexpected, line_end, line_ends};

/// The byte order marks that editors write, in UTF-8 and both orders of UTF-16.
const BYTE_ORDER_MARKS: [&str; 3] = ["\u{ef}\u{bb}\u{bf}", "\u{fe}\u{ff}", "\u{ff}\u{fe}"];

/// Java's white space within a line.
const BLANKS: &str = " \t\u{c}";
/// The characters that end a key.
const KEY_ENDS: &str = "=: \t\u{c}\r\n";
/// The characters that end a line.
const LINE_ENDS: &str = "\r\n";

/// The text of a file in ISO-8859-1: each byte is a character.
pub fn decode(file: &[u8]) -> String {
    file.iter().copied().map(char::from).collect()
}

/// The file of a text, in ISO-8859-1. Characters beyond it are written as `\u` and four digits.
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

/// Java's `String.trim`: without control characters and blanks at both ends.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

/// Whether a text begins with a byte order mark. Java reads the mark as a part of the first line.
pub(crate) fn has_byte_order_mark(text: &str) -> bool {
    BYTE_ORDER_MARKS.iter().any(|mark| text.starts_with(mark))
}

/// One `key=value`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Property {
    /// The line on which it begins, from 1.
    pub(crate) line: usize,
    /// The key without escapes.
    pub(crate) key: String,
    /// The value without escapes.
    pub(crate) value: String,
}

/// Reads all properties of a text, in order.
///
/// # Errors
/// The place of the first `\u` that four hexadecimal digits do not follow.
pub(crate) fn parse(text: &str) -> Result<Vec<Property>, Position> {
    let mut all = Vec::new();
    for Located { line, entry, .. } in entries(text) {
        match (entry.key, entry.value) {
            (Ok(key), Ok(value)) => all.push(Property { line, key, value }),
            (Err(at), _) | (_, Err(at)) => return Err(Position::of(text, at.rest)),
        }
    }
    Ok(all)
}

/// The text without the properties of some keys; all other lines stay as they are, comments too.
pub(crate) fn without(text: &str, is_dropped: impl Fn(&str) -> bool) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    for Located { before, entry, after, .. } in entries(text) {
        if entry.key.is_ok_and(|key| is_dropped(trim(&key))) {
            kept.push_str(rest.strip_suffix(before).unwrap_or_default());
            rest = after;
        }
    }
    kept.push_str(rest);
    kept
}

/// A property as it is written. Its key or value has no text if an escape is malformed.
struct Entry<'a> {
    key: Result<String, Unexpected<'a>>,
    value: Result<String, Unexpected<'a>>,
}

/// An entry and its place.
struct Located<'a> {
    /// The line on which it begins, from 1.
    line: usize,
    /// The text from the first of its lines on.
    before: &'a str,
    entry: Entry<'a>,
    /// The text behind the last of its lines.
    after: &'a str,
}

/// All entries of a text. Every text has a reading.
fn entries(text: &str) -> impl Iterator<Item = Located<'_>> {
    let (mut rest, mut line) = (text, 1);
    core::iter::from_fn(move || {
        let (before, skipped) = recognize(many0_count(no_entry)).parse_complete(rest).ok()?;
        let (after, entry) = entry(before).ok()?;
        let begins = line + line_ends(skipped);
        line = begins + line_ends(&before[..before.len() - after.len()]);
        rest = after;
        Some(Located { line: begins, before, entry, after })
    })
}

/// A line without an entry: blank, a comment, or a backslash alone.
fn no_entry(text: &str) -> Parsed<'_, &str> {
    let comment = recognize(pair(one_of("#!"), opt(is_not(LINE_ENDS))));
    let line = (blanks, opt(alt((comment, tag("\\")))), end_of_line);
    verify(recognize(line), |line: &str| !line.is_empty()).parse_complete(text)
}

/// A key, a separator and a value. The value ends at a line end that no backslash precedes.
fn entry(text: &str) -> Parsed<'_, Entry<'_>> {
    let separator = (gap, opt(one_of("=:")), gap);
    let parts = (blanks, unescaped(KEY_ENDS), separator, unescaped(LINE_ENDS), end_of_line);
    let entry = map(parts, |(_, key, _, value, _)| Entry { key, value });
    preceded(not(eof), entry).parse_complete(text)
}

fn blanks(text: &str) -> Parsed<'_, Option<&str>> {
    opt(is_a(BLANKS)).parse_complete(text)
}

fn end_of_line(text: &str) -> Parsed<'_, &str> {
    alt((line_end, eof)).parse_complete(text)
}

/// Blanks, also across lines that continue.
fn gap(text: &str) -> Parsed<'_, usize> {
    many0_count(alt((is_a(BLANKS), continuation))).parse_complete(text)
}

/// A backslash at the end of a line, and the blanks at the beginning of the next line.
fn continuation(text: &str) -> Parsed<'_, &str> {
    recognize((char('\\'), end_of_line, blanks)).parse_complete(text)
}

/// A piece of a key or a value.
enum Piece<'a> {
    Plain(&'a str),
    Char(char),
    /// A unit of UTF-16.
    Unit(u16),
    Continuation,
    /// A `\u` without four digits, and the text from there on.
    Malformed(&'a str),
}

/// A key or a value up to one of `ends`, without its escapes. Java's strings are UTF-16: two `\u`
/// escapes can make one character. Half of such a pair becomes a question mark.
fn unescaped<'a>(
    ends: &'static str,
) -> impl Parser<&'a str, Output = Result<String, Unexpected<'a>>, Error = Unexpected<'a>> {
    let pieces = fold_many0(
        move |text| piece(ends, text),
        || Ok(Vec::new()),
        |units: Result<Vec<u16>, Unexpected<'a>>, piece| {
            let mut units = units?;
            match piece {
                Piece::Plain(text) => units.extend(text.encode_utf16()),
                Piece::Char(c) => units.extend_from_slice(c.encode_utf16(&mut [0; 2])),
                Piece::Unit(unit) => units.push(unit),
                Piece::Continuation => {}
                Piece::Malformed(rest) => return Err(Unexpected { rest }),
            }
            Ok(units)
        },
    );
    let text = |units: Vec<u16>| char::decode_utf16(units).map(|c| c.unwrap_or('?')).collect();
    map(pieces, move |units| units.map(text))
}

fn piece<'a>(ends: &'static str, text: &'a str) -> Parsed<'a, Piece<'a>> {
    let plain = take_while1(|c| c != '\\' && !ends.contains(c));
    let escaped = map(anychar, |c| match c {
        't' => '\t',
        'n' => '\n',
        'r' => '\r',
        'f' => '\u{c}',
        other => other,
    });
    alt((
        map(plain, Piece::Plain),
        map(continuation, |_| Piece::Continuation),
        map(unit, Piece::Unit),
        map(tag("\\u"), |_| Piece::Malformed(text)),
        map(preceded(char('\\'), escaped), Piece::Char),
    ))
    .parse_complete(text)
}

/// `\u` and four digits. Lines may continue between the digits.
fn unit(text: &str) -> Parsed<'_, u16> {
    let digit = map_opt(anychar, |c| c.to_digit(16));
    let digits = fold_many_m_n(
        4,
        4,
        preceded(many0_count(continuation), digit),
        || 0,
        |unit: u32, digit| unit << 4 | digit,
    );
    map_opt(preceded(tag("\\u"), digits), |unit| u16::try_from(unit).ok()).parse_complete(text)
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
    }

    #[test]
    fn lines_continue_in_keys_separators_and_escapes() {
        for (text, key, value) in [
            ("ke\\\n  y=v", "key", "v"),
            ("key \\\r\n = \\\n v", "key", "v"),
            ("\\\n\\\n  # none\nkey v", "key", "v"),
            ("key=\\u0\\\n041", "key", "A"),
            ("key=a\\\n#b", "key", "a#b"),
            ("key=a\\\\\nb", "key", "a\\"),
            ("\\ k\\=\\:=\\ v", " k=:", " v"),
            ("=v", "", "v"),
        ] {
            let first = parse(text).unwrap().into_iter().next().unwrap();
            assert_eq!((&*first.key, &*first.value), (key, value), "{text:?}");
        }
    }

    #[test]
    fn malformed_escape_is_reported_with_its_place() {
        let at = |text| parse(text).unwrap_err();
        assert_eq!(at("a=b\n# \\u\nc=C:\\users\n"), Position { line: 3, column: 5 });
        assert_eq!(at("c=a\\\n  b\\u12"), Position { line: 2, column: 4 });
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
