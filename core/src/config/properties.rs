//! Java's properties syntax, with line numbers (`java.util.Properties`).

use alloc::string::String;
use alloc::vec::Vec;

/// One `key=value`, and the line on which it begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Property {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: String,
}

/// Reads a file: comments begin with `#` or `!`, a backslash at the end continues a line, key
/// and value are parted by `=`, `:` or white space.
pub(super) fn parse(text: &str) -> Vec<Property> {
    let mut all = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, first)) = lines.next() {
        let mut logical = String::from(first.trim_start());
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while ends_in_backslash(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start()),
                None => break,
            }
        }
        let (key, value) = split(&logical);
        all.push(Property { line: number + 1, key: unescape(key), value: unescape(value) });
    }
    all
}

/// The text without the lines of these keys; all others stand as they stood.
pub(super) fn without(text: &str, is_dropped: impl Fn(&str) -> bool) -> String {
    let dropped: Vec<usize> = parse(text)
        .into_iter()
        .filter(|property| is_dropped(property.key.trim()))
        .map(|property| property.line)
        .collect();
    let (mut kept, mut lines) = (String::with_capacity(text.len()), text.lines().enumerate());
    while let Some((number, first)) = lines.next() {
        if !dropped.contains(&(number + 1)) {
            kept.push_str(first);
            kept.push('\n');
            continue;
        }
        let mut line = first;
        while ends_in_backslash(line) {
            let Some((_, next)) = lines.next() else { break };
            line = next;
        }
    }
    kept
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
        } else if c == '=' || c == ':' || c.is_ascii_whitespace() {
            let rest = line[at..].trim_start();
            let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
            return (&line[..at], value.trim());
        }
    }
    (line, "")
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('t') => plain.push('\t'),
                Some('n') => plain.push('\n'),
                Some('r') => plain.push('\r'),
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                    plain.push(code.unwrap_or('\u{fffd}'));
                }
                Some(other) => plain.push(other),
                None => {}
            },
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_as_java_reads_them() {
        let text = "# comment\n\ntickTime=2000\n  a : b = c\n!no\nlong=one,\\\n   two\npath=C\\:\\\\x\nempty\n";
        let read: Vec<_> = parse(text).into_iter().map(|p| (p.line, p.key, p.value)).collect();
        let expected = [
            (3, "tickTime", "2000"),
            (4, "a", "b = c"),
            (6, "long", "one,two"),
            (8, "path", "C:\\x"),
            (9, "empty", ""),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(l, k, v)| (*l, String::from(*k), String::from(*v))).collect();
        assert_eq!(read, expected);
    }
}
