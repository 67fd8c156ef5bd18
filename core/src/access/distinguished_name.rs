//! Whether a text names the subject of a certificate, as Java's `X500Principal` takes it: RFC 2253
//! and RFC 1779 with keywords of its own.

/// The keywords that Java knows; all others are written as OIDs.
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
/// What has to be escaped in a value.
const ESCAPED: &str = ",+<>;\"";
/// What may be; outside of quotes a space, too.
const ESCAPABLE: &str = ",=\n+<>#;\\\"";

/// Whether `text` is a distinguished name; that of nobody is empty.
pub(super) fn is_valid(text: &str) -> bool {
    text.is_empty() || parts(text, [',', ';']).all(|rdn| parts(rdn, ['+', '+']).all(is_attribute))
}

/// The text between separators that are neither escaped nor within quotes.
fn parts(text: &str, separators: [char; 2]) -> impl Iterator<Item = &str> {
    let (mut quotes, mut escaped) = (0, false);
    text.split(move |c| {
        let is_plain = !escaped;
        escaped = c == '\\' && is_plain;
        quotes += u32::from(c == '"' && is_plain);
        let ends = separators.contains(&c) && is_plain && quotes != 1;
        if ends {
            quotes = 0;
        }
        ends
    })
}

/// `type=value`.
fn is_attribute(text: &str) -> bool {
    text.split_once('=').is_some_and(|(kind, value)| is_kind(kind) && is_value(value))
}

fn is_kind(text: &str) -> bool {
    let text = text.trim_matches(|c| c <= ' ').to_ascii_uppercase();
    KEYWORDS.contains(&&*text) || is_oid(text.strip_prefix("OID.").unwrap_or(&text))
}

fn is_oid(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let small = |part: &str| part.trim_start_matches('0').parse::<u32>().unwrap_or(u32::MAX);
    let mut numbers = text.split('.');
    match (numbers.next(), numbers.next()) {
        (Some(first), Some(second)) => {
            is_number(first)
                && is_number(second)
                && (first.trim_matches('0').is_empty() || small(first) <= 2)
                && (small(first) == 2 || second.trim_matches('0').is_empty() || small(second) < 40)
                && numbers.all(is_number)
        }
        _ => false,
    }
}

fn is_value(text: &str) -> bool {
    let text = text.trim_start_matches([' ', '\n']);
    if let Some(hex) = text.strip_prefix('#') {
        return is_hex(hex);
    }
    if let Some(quoted) = text.strip_prefix('"') {
        return is_quoted(quoted);
    }
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\\' && !is_escape(&mut chars, true) || c != '\\' && ESCAPED.contains(c) {
            return false;
        }
    }
    true
}

/// A value up to its closing quotes, and nothing behind them.
fn is_quoted(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return chars.all(|c| matches!(c, ' ' | '\n')),
            '\\' if !is_escape(&mut chars, false) => return false,
            _ => {}
        }
    }
    false
}

/// What follows a backslash: two hexadecimal digits, or a character that may be escaped.
fn is_escape(chars: &mut core::str::Chars<'_>, or_space: bool) -> bool {
    match chars.next() {
        Some(c) if c.is_ascii_hexdigit() => chars.next().is_some_and(|c| c.is_ascii_hexdigit()),
        Some(c) => ESCAPABLE.contains(c) || or_space && c == ' ',
        None => false,
    }
}

/// The digits of one DER value.
fn is_hex(text: &str) -> bool {
    let bytes = text.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok();
    if !bytes.iter().all(u8::is_ascii_hexdigit) || !bytes.len().is_multiple_of(2) {
        return false;
    }
    let mut bytes = bytes.chunks_exact(2).filter_map(byte);
    let (Some(_tag), Some(length)) = (bytes.next(), bytes.next()) else { return false };
    let length = match length {
        0..=0x7f => Some(usize::from(length)),
        0x81..=0x84 => {
            let digits = bytes.by_ref().take(usize::from(length & 0x7f));
            let (n, value) =
                digits.fold((0, 0), |(n, value), b| (n + 1, value << 8 | usize::from(b)));
            (n == length & 0x7f).then_some(value)
        }
        _ => None,
    };
    length == Some(bytes.count())
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    /// What Java 17's `X500Principal` says.
    #[test]
    fn names_are_taken_as_java_takes_them() {
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
