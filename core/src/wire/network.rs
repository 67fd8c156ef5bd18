//! Addresses and networks as they are spelled in ACLs of the scheme `ip`.

use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::char;
use nom::combinator::{eof, map, map_opt, opt, rest, verify};
use nom::multi::fold_many0;
use nom::sequence::{pair, preceded, separated_pair, terminated};

use crate::text::{self, Parsed};

/// An address of either family: its bytes, of which the first `size` count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Address {
    size: usize,
    bytes: [u8; 16],
}

impl Address {
    /// Reads an address.
    pub(crate) fn parse(text: &str) -> Option<Address> {
        text::read(text, alt((v4, v6)))
    }

    /// The network of this many bits that contains the address.
    pub(crate) fn network(mut self, bits: usize) -> Network {
        let (whole, rest) = (bits / 8, bits % 8);
        for (at, byte) in self.bytes.iter_mut().enumerate().skip(whole) {
            *byte &= if at == whole { !(0xffu8 >> rest) } else { 0 };
        }
        Network { bits, address: self }
    }
}

/// An address whose first `bits` count; the others are 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Network {
    bits: usize,
    address: Address,
}

impl Network {
    /// Reads `address` or `address/bits`.
    pub(crate) fn parse(expression: &str) -> Option<Network> {
        let address = map_opt(take_while(|c| c != '/'), Address::parse);
        let bits = preceded(char('/'), map_opt(rest, |bits: &str| bits.parse::<i32>().ok()));
        let (address, bits) = text::read(expression, pair(address, opt(bits)))?;
        let all = address.size * 8;
        let bits = bits.map_or(Some(all), |bits| usize::try_from(bits).ok())?;
        (bits <= all).then(|| address.network(bits))
    }

    /// The number of bits that count.
    pub(crate) fn bits(&self) -> usize {
        self.bits
    }

    /// Whether the network contains an address.
    pub(crate) fn holds(&self, address: &Address) -> bool {
        address.size == self.address.size && address.network(self.bits) == *self
    }
}

/// Four numbers in the spellings of Java's `Integer.parseInt`: with signs, with zeros in front.
fn v4(text: &str) -> Parsed<'_, Address> {
    let number = || {
        let digits = take_while(|c| c != '.');
        map_opt(digits, |n: &str| u8::try_from(n.parse::<i32>().ok()?).ok())
    };
    let next = || preceded(char('.'), number());
    map((number(), next(), next(), next()), |(a, b, c, d)| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&[a, b, c, d]);
        Address { size: 4, bytes }
    })
    .parse_complete(text)
}

/// Eight groups, or fewer with `::` in the place of those that are 0.
fn v6(text: &str) -> Parsed<'_, Address> {
    let whole = map_opt(terminated(groups, eof), |all| (all.count == 8).then_some(all.groups));
    let shortened = map_opt(separated_pair(groups, tag("::"), groups), |(head, tail)| {
        let zeros = 8usize.checked_sub(head.count + tail.count).filter(|zeros| *zeros > 0)?;
        let mut all = head.groups;
        all[head.count + zeros..].copy_from_slice(&tail.groups[..tail.count]);
        Some(all)
    });
    map(alt((whole, shortened)), |groups| {
        let mut bytes = [0; 16];
        for (slot, group) in bytes.chunks_exact_mut(2).zip(groups) {
            slot.copy_from_slice(&group.to_be_bytes());
        }
        Address { size: 16, bytes }
    })
    .parse_complete(text)
}

/// The first groups of an IPv6 address.
#[derive(Default)]
struct Groups {
    groups: [u16; 8],
    /// More than 8 if there are too many.
    count: usize,
}

impl Groups {
    fn and(mut self, group: u16) -> Groups {
        if let Some(slot) = self.groups.get_mut(self.count) {
            *slot = group;
        }
        self.count += 1;
        self
    }
}

fn groups(text: &str) -> Parsed<'_, Groups> {
    let Ok((rest, first)) = group(text) else { return Ok((text, Groups::default())) };
    fold_many0(preceded(char(':'), group), || Groups::default().and(first), Groups::and)
        .parse_complete(rest)
}

fn group(text: &str) -> Parsed<'_, u16> {
    let digits = verify(take_while1(|c| c != ':'), |digits: &str| digits.len() <= 4);
    map_opt(digits, |digits| u16::from_str_radix(digits, 16).ok()).parse_complete(text)
}
