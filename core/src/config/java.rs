//! Numbers in the spellings that Java's parsers accept.

use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case, take_while};
use nom::character::complete::{alphanumeric1, one_of};
use nom::combinator::{opt, peek, success, value};
use nom::sequence::terminated;

use crate::text::{self, properties};

/// `Integer.parseInt`, `Long.parseLong`.
pub(super) fn parse(text: &str) -> Option<i64> {
    digits_of(text, 10)
}

/// `Integer.decode`, `Long.decode`: hexadecimal after `0x` and `#`, octal after `0`.
pub(super) fn decode(text: &str) -> Option<i64> {
    let sign = opt(one_of("+-"));
    let radix = alt((
        value(16, alt((tag_no_case("0x"), tag("#")))),
        value(8, terminated(tag("0"), peek(alphanumeric1))),
        success(10),
    ));
    let (sign, radix, digits) = text::read(text, (sign, radix, alphanumeric1))?;
    let minus = if sign == Some('-') { "-" } else { "" };
    digits_of(&alloc::format!("{minus}{digits}"), radix)
}

fn digits_of(text: &str, radix: u32) -> Option<i64> {
    i64::from_str_radix(text, radix).ok()
}

/// `Double.parseDouble`, but for hexadecimal fractions.
pub(super) fn fraction(text: &str) -> Option<f64> {
    let decimal = take_while(|c: char| c.is_ascii_digit() || ".eE+-".contains(c));
    match properties::trim(text) {
        "NaN" => Some(f64::NAN),
        text => text::read(text, terminated(decimal, opt(one_of("dDfF"))))?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_spellings_of_java() {
        for (text, parsed, decoded) in [
            ("12", Some(12), Some(12)),
            ("+12", Some(12), Some(12)),
            ("-12", Some(-12), Some(-12)),
            ("012", Some(12), Some(10)),
            ("0", Some(0), Some(0)),
            ("-0", Some(0), Some(0)),
            ("08", Some(8), None),
            ("0x1F", None, Some(31)),
            ("-#1f", None, Some(-31)),
            ("0x", None, None),
            ("0x-1", None, None),
            ("--1", None, None),
            ("", None, None),
            (" 1", None, None),
            ("-9223372036854775808", Some(i64::MIN), Some(i64::MIN)),
            ("9223372036854775808", None, None),
        ] {
            assert_eq!((parse(text), decode(text)), (parsed, decoded), "{text}");
        }
    }
}
