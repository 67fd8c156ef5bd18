//! Grammars of the texts that people write and a server reads once: combinators over `nom`, and
//! errors that name a line and a column.
//!
//! Files of properties ([`properties`]), member lines, connect strings, ACL ids and distinguished
//! names are read with these. A grammar stands beside the type that it makes; records, frames and
//! packets are not text and have codecs of their own in `wire`.

pub(crate) mod properties;

use alloc::vec::Vec;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while};
use nom::character::complete::char;
use nom::combinator::{all_consuming, map, map_opt, recognize, verify};
use nom::error::{ErrorKind, ParseError};
use nom::multi::{many0_count, separated_list1};
use nom::sequence::{pair, preceded, terminated};
use nom::{IResult, Parser};

/// The outcome of a combinator: the rest of the text and the value.
pub(crate) type Parsed<'a, T> = IResult<&'a str, T, Unexpected<'a>>;

/// A grammar's failure: the text from the first character that does not fit. Of the alternatives
/// at one place, the one that got furthest is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unexpected<'a> {
    rest: &'a str,
}

impl<'a> ParseError<&'a str> for Unexpected<'a> {
    fn from_error_kind(rest: &'a str, _: ErrorKind) -> Unexpected<'a> {
        Unexpected { rest }
    }

    fn append(_: &'a str, _: ErrorKind, other: Unexpected<'a>) -> Unexpected<'a> {
        other
    }

    fn or(self, other: Unexpected<'a>) -> Unexpected<'a> {
        if self.rest.len() < other.rest.len() { self } else { other }
    }
}

/// A place in a text, counted from 1. Columns are characters; CR, LF and both together end a line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
#[error("line {line}, column {column}")]
pub struct Position {
    /// Lines from the beginning of the text.
    pub line: usize,
    /// Characters from the beginning of the line.
    pub column: usize,
}

impl Position {
    /// The place at which `rest`, a tail of `text`, begins.
    fn of(text: &str, rest: &str) -> Position {
        let before = text.get(..text.len().saturating_sub(rest.len())).unwrap_or(text);
        let line_start = before.rfind(['\r', '\n']).map_or(0, |end| end + 1);
        let column = before.get(line_start..).map_or(0, |line| line.chars().count()) + 1;
        Position { line: line_ends(before) + 1, column }
    }
}

/// Reads a whole text with a grammar.
///
/// # Errors
/// The place of the first character that does not fit.
pub(crate) fn parse<'a, T>(
    text: &'a str,
    grammar: impl Parser<&'a str, Output = T, Error = Unexpected<'a>>,
) -> Result<T, Position> {
    match all_consuming(grammar).parse_complete(text) {
        Ok((_, value)) => Ok(value),
        Err(nom::Err::Error(Unexpected { rest }) | nom::Err::Failure(Unexpected { rest })) => {
            Err(Position::of(text, rest))
        }
        Err(nom::Err::Incomplete(_)) => Err(Position::of(text, "")),
    }
}

/// Reads a whole text with a grammar, for callers that do not report the place of a mistake.
pub(crate) fn read<'a, T>(
    text: &'a str,
    grammar: impl Parser<&'a str, Output = T, Error = Unexpected<'a>>,
) -> Option<T> {
    all_consuming(grammar).parse_complete(text).ok().map(|(_, value)| value)
}

/// The end of a line: CR, LF or both.
pub(crate) fn line_end(text: &str) -> Parsed<'_, &str> {
    alt((tag("\r\n"), tag("\n"), tag("\r"))).parse_complete(text)
}

/// How many line ends a text has. A text that was cut between CR and LF counts one too many.
fn line_ends(text: &str) -> usize {
    text.matches(['\r', '\n']).count() - text.matches("\r\n").count()
}

/// White space, or none.
pub(crate) fn space(text: &str) -> Parsed<'_, &str> {
    take_while(char::is_whitespace).parse_complete(text)
}

/// A field up to one of `stops` or the end of the text, without white space around it. May be
/// empty.
pub(crate) fn field<'a>(
    stops: &'static str,
) -> impl Parser<&'a str, Output = &'a str, Error = Unexpected<'a>> {
    map(take_while(move |c| !stops.contains(c)), str::trim)
}

/// A field that `read` accepts.
pub(crate) fn read_field<'a, T>(
    stops: &'static str,
    read: impl Fn(&'a str) -> Option<T>,
) -> impl Parser<&'a str, Output = T, Error = Unexpected<'a>> {
    map_opt(field(stops), read)
}

/// One or more items, none of them empty, with a separator between them. Separators behind the
/// last one, with nothing but white space between them, are dropped, as Java's `String.split` does.
pub(crate) fn split<'a, T>(
    separator: char,
    item: impl Parser<&'a str, Output = T, Error = Unexpected<'a>>,
) -> impl Parser<&'a str, Output = Vec<T>, Error = Unexpected<'a>> {
    terminated(separated_list1(char(separator), item), dropped(separator))
}

/// Separators at the end, with nothing but white space between them.
pub(crate) fn dropped<'a>(
    separator: char,
) -> impl Parser<&'a str, Output = usize, Error = Unexpected<'a>> {
    many0_count(pair(char(separator), space))
}

/// The items of a list with commas between them, without white space around them. Empty items
/// are left out. Every text is such a list.
pub(crate) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// The host in front of a `:port`: a name, or an IPv6 address in brackets, up to one of `stops`.
/// The brackets stay. A name may be empty.
pub(crate) fn host<'a>(
    stops: &'static str,
) -> impl Parser<&'a str, Output = &'a str, Error = Unexpected<'a>> {
    let bracketed = recognize((
        char('['),
        take_while(move |c| c != ']' && (c == ':' || !stops.contains(c))),
        char(']'),
    ));
    let name = verify(field(stops), |name: &str| !name.starts_with('['));
    preceded(space, alt((bracketed, name)))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_position_counts_lines_of_all_three_ends_and_characters() {
        let text = "a\r\nb\rc\n\u{e4}\u{e4}x";
        for (rest, line, column) in
            [(text, 1, 1), ("b\rc\n\u{e4}\u{e4}x", 2, 1), ("c\n\u{e4}\u{e4}x", 3, 1), ("x", 4, 3)]
        {
            assert_eq!(Position::of(text, rest), Position { line, column });
        }
        assert_eq!(Position { line: 4, column: 3 }.to_string(), "line 4, column 3");
    }

    #[test]
    fn an_error_is_at_the_alternative_that_got_furthest() {
        let grammar = alt((preceded(tag("ab"), tag("c")), tag("x")));
        assert_eq!(parse("abd", grammar), Err(Position { line: 1, column: 3 }));
    }

    #[test]
    fn a_split_drops_separators_at_the_end() {
        let item = || read_field(":", |item| Some(item).filter(|item| !item.is_empty()));
        let read = |text| parse(text, split(':', item()));
        assert_eq!(read("a: b"), Ok(Vec::from(["a", "b"])));
        assert_eq!(read("a: b: :"), Ok(Vec::from(["a", "b"])));
        assert_eq!(read("a: :b"), Err(Position { line: 1, column: 5 }));
    }

    #[test]
    fn a_list_leaves_out_empty_items() {
        assert_eq!(list(" a,, b ,c d,").collect::<Vec<_>>(), ["a", "b", "c d"]);
        assert_eq!(list("").count() + list(" , ").count(), 0);
    }

    #[test]
    fn a_host_is_a_name_or_has_brackets() {
        let read = |text| parse(text, terminated(host(":"), (char(':'), tag("1"))));
        assert_eq!(read(" a b :1"), Ok("a b"));
        assert_eq!(read(":1"), Ok(""));
        assert_eq!(read("[::1%lo]:1"), Ok("[::1%lo]"));
        assert!(read("[::1:1").is_err() && read("[::1] :1").is_err());
    }
}
