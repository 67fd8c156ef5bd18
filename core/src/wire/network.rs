//! Addresses and networks as they are spelled in ACLs of the scheme `ip`.

/// An address of either family: its bytes and how many of them count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Address {
    size: usize,
    bytes: [u8; 16],
}

impl Address {
    /// Reads one as text.
    pub(crate) fn parse(text: &str) -> Option<Address> {
        if text.contains(':') { v6(text) } else { v4(text) }
    }

    /// The network of this many bits in which the address is.
    pub(crate) fn network(mut self, bits: usize) -> Network {
        let (whole, rest) = (bits / 8, bits % 8);
        for (at, byte) in self.bytes.iter_mut().enumerate().skip(whole) {
            *byte &= if at == whole { !(0xffu8 >> rest) } else { 0 };
        }
        Network { bits, address: self }
    }
}

/// An address whose first bits count; the others are 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Network {
    bits: usize,
    address: Address,
}

impl Network {
    /// Reads `address` or `address/bits`.
    pub(crate) fn parse(expression: &str) -> Option<Network> {
        let (text, bits) = match expression.split_once('/') {
            Some((text, bits)) => (text, Some(bits)),
            None => (expression, None),
        };
        let address = Address::parse(text)?;
        let all = address.size * 8;
        let bits = match bits {
            Some(bits) => usize::try_from(bits.parse::<i32>().ok()?).ok()?,
            None => all,
        };
        (bits <= all).then(|| address.network(bits))
    }

    /// How many bits count.
    pub(crate) fn bits(&self) -> usize {
        self.bits
    }

    /// Whether an address is in it.
    pub(crate) fn holds(&self, address: &Address) -> bool {
        address.size == self.address.size && address.network(self.bits) == *self
    }
}

fn v4(text: &str) -> Option<Address> {
    let mut address = Address { size: 4, bytes: [0; 16] };
    let mut parts = text.split('.');
    for slot in &mut address.bytes[..4] {
        *slot = u8::try_from(parts.next()?.parse::<i32>().ok()?).ok()?;
    }
    parts.next().is_none().then_some(address)
}

fn v6(text: &str) -> Option<Address> {
    let mut groups = [0u16; 8];
    match text.split_once("::") {
        None => {
            if fill(&mut groups, text)? != 8 {
                return None;
            }
        }
        Some((before, after)) => {
            let mut tail = [0u16; 8];
            let head = fill(&mut groups, before)?;
            let n = fill(&mut tail, after)?;
            if after.contains("::") || head + n >= 8 {
                return None;
            }
            groups[8 - n..].copy_from_slice(&tail[..n]);
        }
    }
    let mut address = Address { size: 16, bytes: [0; 16] };
    for (slot, group) in address.bytes.chunks_exact_mut(2).zip(groups) {
        slot.copy_from_slice(&group.to_be_bytes());
    }
    Some(address)
}

/// Reads the groups of `text` into the front of `groups`; how many there were.
fn fill(groups: &mut [u16; 8], text: &str) -> Option<usize> {
    if text.is_empty() {
        return Some(0);
    }
    let mut n = 0;
    for part in text.split(':') {
        if part.is_empty() || part.len() > 4 {
            return None;
        }
        *groups.get_mut(n)? = u16::from_str_radix(part, 16).ok()?;
        n += 1;
    }
    Some(n)
}
