//! Jute, ZooKeeper's record encoding (`BinaryInputArchive`, `BinaryOutputArchive`).

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

/// The bytes are not what the record demands: too short, or an impossible length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// The record goes on where the bytes end.
    #[error("the record is cut short")]
    Truncated,
    /// A length is negative (other than -1 for null) or larger than what follows.
    #[error("a length of {0} cannot be")]
    Length(i32),
    /// A length is above what is taken.
    #[error("a length of {length} is above the limit of {limit}")]
    TooLong {
        /// As it was read.
        length: i32,
        /// The longest that is accepted.
        limit: usize,
    },
    /// A field holds a value outside its type.
    #[error("{0} is out of range")]
    Value(&'static str),
}

/// Reads jute out of a buffer; strings and buffers share its memory.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    source: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start.
    pub fn new(source: &'a Bytes) -> Reader<'a> {
        Reader { source, rest: source }
    }
    /// Reads a part of a buffer, whose memory is shared.
    ///
    /// # Panics
    /// Where something of another buffer is to be shared.
    pub fn within(source: &'a Bytes, part: &'a [u8]) -> Reader<'a> {
        Reader { source, rest: part }
    }
    /// The bytes not read yet, sharing the buffer's memory.
    pub fn rest(&self) -> Bytes {
        self.source.slice_ref(self.rest)
    }
    /// Whether all bytes are read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }
    /// How many bytes were read.
    pub fn position(&self) -> usize {
        self.source.len() - self.rest.len()
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (fixed, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*fixed)
    }
    #[inline]
    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
    /// One byte.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        self.fixed().map(u8::from_be_bytes)
    }
    /// A boolean: any byte but 0 is true.
    pub fn boolean(&mut self) -> Result<bool, Malformed> {
        self.byte().map(|b| b != 0)
    }
    /// An int.
    #[inline]
    pub fn int(&mut self) -> Result<i32, Malformed> {
        self.fixed().map(i32::from_be_bytes)
    }
    /// A long.
    #[inline]
    pub fn long(&mut self) -> Result<i64, Malformed> {
        self.fixed().map(i64::from_be_bytes)
    }
    /// A buffer; -1 is null.
    pub fn buffer(&mut self) -> Result<Option<Bytes>, Malformed> {
        Ok(self.slice()?.map(|bytes| self.source.slice_ref(bytes)))
    }
    /// The same where it is.
    pub(crate) fn slice(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let length = self.int()?;
        if length == -1 {
            return Ok(None);
        }
        let n = usize::try_from(length).map_err(|_| Malformed::Length(length))?;
        if n > self.rest.len() {
            return Err(Malformed::Length(length));
        }
        self.take(n).map(Some)
    }
    /// The next `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Result<Bytes, Malformed> {
        let bytes = self.take(n)?;
        Ok(self.source.slice_ref(bytes))
    }
    /// Passes over the next `n` bytes.
    pub fn skip(&mut self, n: usize) -> Result<(), Malformed> {
        self.take(n).map(drop)
    }
    /// Passes over exactly these bytes; false, and nothing is read, if others are next.
    pub(crate) fn skip_if(&mut self, bytes: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(bytes);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
    /// A string; -1 is null, malformed UTF-8 becomes U+FFFD as in Java.
    pub fn ustring(&mut self) -> Result<Option<ByteString>, Malformed> {
        Ok(self.buffer()?.map(|bytes| match ByteString::try_from(bytes.clone()) {
            Ok(string) => string,
            Err(_) => ByteString::from(text_of(&bytes).into_owned()),
        }))
    }
    /// A string that the protocol never sends as null.
    pub fn text(&mut self) -> Result<ByteString, Malformed> {
        self.ustring()?.ok_or(Malformed::Value("a null string"))
    }
    /// A vector; null, and as in Java any other negative count, is empty. Every element
    /// takes at least `least` bytes, which bounds the count by what is there.
    pub fn vector<T>(
        &mut self,
        least: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.int()?;
        let n = usize::try_from(count).unwrap_or(0);
        if n.saturating_mul(least.max(1)) > self.rest.len() {
            return Err(Malformed::Length(count));
        }
        let mut all = Vec::with_capacity(n);
        for _ in 0..n {
            all.push(element(self)?);
        }
        Ok(all)
    }
    /// A vector that may be null.
    pub fn nullable_vector<T>(
        &mut self,
        least: usize,
        element: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<Vec<T>>, Malformed> {
        if self.rest.starts_with(&[0xff; 4]) {
            return self.int().map(|_| None);
        }
        self.vector(least, element).map(Some)
    }
    /// A record.
    pub fn record<R: Record>(&mut self) -> Result<R, Malformed> {
        R::read(self)
    }
}

/// A string's bytes as text. Malformed parts become U+FFFD, one for each that Java sees: a
/// surrogate in three bytes is one, and so is as much of it as there is.
pub(crate) fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = core::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    let is_rest = |byte: Option<&u8>| byte.is_some_and(|byte| byte & 0xc0 == 0x80);
    let (mut at, mut skipped) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        at += chunk.valid().len();
        if !chunk.invalid().is_empty() && at >= skipped {
            text.push('\u{fffd}');
            if bytes.get(at) == Some(&0xed) && is_rest(bytes.get(at + 1)) {
                skipped = at + if is_rest(bytes.get(at + 2)) { 3 } else { 2 };
            }
        }
        at += chunk.invalid().len();
    }
    Cow::Owned(text)
}

/// Writes jute.
pub trait Writer {
    /// A boolean.
    fn put_boolean(&mut self, value: bool);
    /// A buffer or null.
    fn put_buffer(&mut self, value: Option<&[u8]>);
    /// A string.
    fn put_ustring(&mut self, value: &str);
    /// The count that precedes a vector's elements.
    fn put_count(&mut self, count: usize);
}

impl Writer for BytesMut {
    fn put_boolean(&mut self, value: bool) {
        self.put_u8(u8::from(value));
    }
    fn put_buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.put_i32(-1),
            Some(bytes) => {
                self.put_i32(bytes.len() as i32);
                self.put_slice(bytes);
            }
        }
    }
    fn put_ustring(&mut self, value: &str) {
        self.put_buffer(Some(value.as_bytes()));
    }
    fn put_count(&mut self, count: usize) {
        self.put_i32(count as i32);
    }
}

/// A jute record: fields in order, no tag.
pub trait Record: Sized {
    /// Reads the fields; trailing bytes are the caller's.
    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed>;
    /// Appends the fields.
    fn write(&self, out: &mut BytesMut);

    /// The record alone, as bytes.
    fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.write(&mut out);
        out.freeze()
    }
    /// Reads one record from the front of `bytes`.
    fn from_bytes(bytes: &Bytes) -> Result<Self, Malformed> {
        Self::read(&mut Reader::new(bytes))
    }
}

macro_rules! primitive {
    ($type:ty, $read:ident, |$out:ident, $value:ident| $write:expr) => {
        impl Record for $type {
            fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
                r.$read()
            }
            fn write(&self, $out: &mut BytesMut) {
                let $value = self;
                $write
            }
        }
    };
}

primitive!(i32, int, |out, v| out.put_i32(*v));
primitive!(i64, long, |out, v| out.put_i64(*v));
primitive!(bool, boolean, |out, v| out.put_boolean(*v));
primitive!(ByteString, text, |out, v| out.put_ustring(v));
primitive!(Option<Bytes>, buffer, |out, v| out.put_buffer(v.as_deref()));
primitive!(Option<ByteString>, ustring, |out, v| match v {
    Some(s) => out.put_ustring(s),
    None => out.put_i32(-1),
});

macro_rules! newtype {
    ($($type:ident),*) => {$(
        impl Record for crate::types::$type {
            fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
                r.long().map(crate::types::$type)
            }
            fn write(&self, out: &mut BytesMut) {
                out.put_i64(self.0);
            }
        }
    )*};
}
newtype!(Zxid, Epoch, ServerId, SessionId);

impl<T: Record> Record for Vec<T> {
    fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        r.vector(1, T::read)
    }
    fn write(&self, out: &mut BytesMut) {
        out.put_count(self.len());
        for element in self {
            element.write(out);
        }
    }
}

/// Declares records whose fields are themselves [`Record`]s, in wire order.
macro_rules! records {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug)]
        #[allow(missing_docs)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type),* }

        impl $crate::wire::jute::Record for $name {
            fn read(r: &mut $crate::wire::jute::Reader<'_>) -> Result<Self, $crate::wire::jute::Malformed> {
                let _ = &r;
                Ok($name { $($field: r.record()?),* })
            }
            fn write(&self, out: &mut bytes::BytesMut) {
                let _ = &out;
                $(self.$field.write(out);)*
            }
        }
    )*};
}
pub(crate) use records;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_differ() {
        let mut out = BytesMut::new();
        out.put_buffer(None);
        out.put_buffer(Some(b""));
        let bytes = out.freeze();
        let mut r = Reader::new(&bytes);
        assert_eq!(r.buffer(), Ok(None));
        assert_eq!(r.buffer(), Ok(Some(Bytes::new())));
    }

    #[test]
    fn a_huge_length_is_refused_before_anything_is_allocated() {
        let bytes = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 1]);
        assert_eq!(Reader::new(&bytes).buffer(), Err(Malformed::Length(i32::MAX)));
        let count = Reader::new(&bytes).vector(1, |r| r.byte());
        assert_eq!(count, Err(Malformed::Length(i32::MAX)));
        let negative = Bytes::from_static(&[0xff, 0xff, 0xff, 0xfe]);
        assert_eq!(Reader::new(&negative).buffer(), Err(Malformed::Length(-2)));
    }

    #[test]
    fn malformed_text_becomes_replacement_characters() {
        let bytes = Bytes::from_static(&[0, 0, 0, 2, b'a', 0xff]);
        assert_eq!(Reader::new(&bytes).text().unwrap(), "a\u{fffd}");
    }

    #[test]
    fn malformed_text_is_counted_as_java_counts_it() {
        // The right column is what `new String(bytes, UTF_8)` gives.
        for (bytes, text) in [
            (&b"\x80"[..], "\u{fffd}"),
            (b"\xc0\xaf", "\u{fffd}\u{fffd}"),
            (b"\xed\xa0\x80", "\u{fffd}"),
            (b"\xed\xa0\xbd\xed\xb8\x80z", "\u{fffd}\u{fffd}z"),
            (b"\xed\xa0z", "\u{fffd}z"),
            (b"\xed\xa0", "\u{fffd}"),
            (b"\xedz", "\u{fffd}z"),
            (b"\xed\xed\xa0\x80\x80", "\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xe2\x82", "\u{fffd}"),
            (b"\xe0\x80\x80", "\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xf0\x9f\x98", "\u{fffd}"),
            (b"\xf4\x90\x80\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(text_of(bytes), text, "{bytes:x?}");
        }
    }

    #[test]
    fn only_minus_one_is_a_null_vector() {
        let vector = |count: i32| {
            let bytes = Bytes::copy_from_slice(&count.to_be_bytes());
            Reader::new(&bytes).nullable_vector(1, |r| r.byte())
        };
        assert_eq!(vector(-1), Ok(None));
        assert_eq!(vector(-2), Ok(Some(Vec::new())));
        assert_eq!(vector(0), Ok(Some(Vec::new())));
        assert!(vector(1).is_err());
    }
}
