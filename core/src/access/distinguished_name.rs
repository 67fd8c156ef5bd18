//! Distinguished names: the subjects of certificates, in the grammar that Java's `X500Principal`
//! accepts. It is that of RFC 2253 and RFC 1779, with Java's own keywords.

use alloc::vec::Vec;

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{is_a, is_not, tag, tag_no_case, take_while_m_n};
use nom::character::complete::{char, digit1, one_of};
use nom::combinator::{eof, map_opt, not, opt, recognize, verify};
use nom::multi::{many0_count, many1, separated_list1};
use nom::sequence::{delimited, pair, preceded};

use crate::text::{self, Parsed};

/// The keywords that Java knows; other types are written as object identifiers.
const KEYWORDS: [&str; 21] = [
    "C",
    "CN",
    "DC",
    "DNQ",
    "DNQUALIFIER",
    "EMAIL",
    "EMAILADDRESS",
    "GENERATION",
    "GIVENNAME",
    "INITIALS",
    "IP",
    "L",
    "O",
    "OU",
    "S",
    "SERIALNUMBER",
    "ST",
    "STREET",
    "SURNAME",
    "T",
    "UID",
];
/// Characters that a value without quotes cannot contain.
const SPECIAL: &str = ",+<>;\"\\";
/// Characters that a backslash may precede; outside of quotes, also a space.
const ESCAPABLE: &str = ",=\n+<>#;\\\"";

/// Whether `text` is a distinguished name. The empty text is the name without attributes.
pub(super) fn is_valid(text: &str) -> bool {
    let relative_name = separated_list1(char('+'), attribute);
    let name = separated_list1(one_of(",;"), relative_name);
    text::read(text, alt((recognize(eof), recognize(name)))).is_some()
}

/// `type=value`.
fn attribute(text: &str) -> Parsed<'_, ()> {
    let kind = verify(is_not("="), |kind: &str| is_kind(kind.trim_matches(|c| c <= ' ')));
    let value = preceded(opt(is_a(" \n")), alt((encoded, quoted, plain)));
    (kind, char('='), value).map(|_| ()).parse_complete(text)
}

fn is_kind(text: &str) -> bool {
    let is_keyword = KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(text));
    is_keyword || text::read(text, preceded(opt(tag_no_case("OID.")), object_id)).is_some()
}

/// Numbers with dots between them: the first is 0 to 2, the second below 40 unless the first is 2.
fn object_id(text: &str) -> Parsed<'_, ()> {
    let small = |digits: &str| match digits.trim_start_matches('0') {
        "" => 0,
        digits => digits.parse::<u32>().unwrap_or(u32::MAX),
    };
    let numbers = separated_list1(char('.'), digit1);
    let is_id = move |numbers: Vec<&str>| match numbers.as_slice() {
        [first, second, ..] => {
            let (first, second) = (small(first), small(second));
            (first == 2 || first < 2 && second < 40).then_some(())
        }
        _ => None,
    };
    map_opt(numbers, is_id).parse_complete(text)
}

/// `#` and the hexadecimal digits of one DER value.
fn encoded(text: &str) -> Parsed<'_, ()> {
    let byte =
        map_opt(take_while_m_n(2, 2, is_hex_digit), |pair| u8::from_str_radix(pair, 16).ok());
    let is_der = |bytes: Vec<u8>| is_der(&bytes).then_some(());
    map_opt(preceded(char('#'), many1(byte)), is_der).parse_complete(text)
}

/// A value in quotes. Only blanks may follow it.
fn quoted(text: &str) -> Parsed<'_, ()> {
    let content = many0_count(alt((is_not("\"\\"), escape)));
    let end = pair(char('"'), opt(is_a(" \n")));
    delimited(char('"'), content, end).map(|_| ()).parse_complete(text)
}

/// A value without quotes, which may be empty.
fn plain(text: &str) -> Parsed<'_, ()> {
    let content = many0_count(alt((is_not(SPECIAL), escape, tag("\\ "))));
    preceded(not(one_of("#\"")), content).map(|_| ()).parse_complete(text)
}

/// A backslash, and two hexadecimal digits or one of the characters that may be escaped.
fn escape(text: &str) -> Parsed<'_, &str> {
    let hex = take_while_m_n(2, 2, is_hex_digit);
    recognize(pair(char('\\'), alt((hex, recognize(one_of(ESCAPABLE)))))).parse_complete(text)
}

fn is_hex_digit(c: char) -> bool {
    c.is_ascii_hexdigit()
}

/// Whether bytes are a tag, a length and a content of that length.
fn is_der(bytes: &[u8]) -> bool {
    match bytes {
        [_tag, length @ 0..=0x7f, content @ ..] => content.len() == usize::from(*length),
        [_tag, digits @ 0x81..=0x84, rest @ ..] => {
            let Some((length, content)) = rest.split_at_checked(usize::from(digits & 0x7f)) else {
                return false;
            };
            content.len() == length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    /// The answers of Java 17's `X500Principal`.
    #[test]
    fn the_names_that_java_accepts_are_valid() {
        for name in [
            "",
            "CN=a",
            "cn = a ",
            "CN=",
            "CN=alice,OU=people,O=Example\\, Inc.,C=DE",
            "CN=a;OU=b",
            "CN=a+OU=b",
            "1.2.3=a",
            "OID.1.2=a",
            "oid.2.40=a",
            "CN=#0c0161",
            "CN=\"a,b+c;d\" ",
            "CN=a=b",
            "CN=a#b",
            "CN=a\\41\\,\\ ",
            "CN=é",
            "CN=a\nb",
        ] {
            assert!(is_valid(name), "{name}");
        }
        for name in [
            " ",
            "CN",
            "CN=a,",
            ",CN=a",
            "CN=a,,OU=b",
            "CN=a+",
            "GN=a",
            "TITLE=a",
            "=a",
            "1=a",
            "3.1=a",
            "1.40=a",
            "1.2.=a",
            "CN=#0c02",
            "CN=#",
            "CN=#0",
            "CN=#0c0161 ",
            "CN=\"a",
            "CN=\"a\"b",
            "CN=\"\\ \"",
            "CN=a\"b",
            "CN=a<b",
            "CN=a\\",
            "CN=a\\z",
            "CN=a\\4z",
        ] {
            assert!(!is_valid(name), "{name}");
        }
    }
}
