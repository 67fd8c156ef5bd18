//! Identities of clients: the `digest`, `ip` and `x509` schemes (`DigestAuthenticationProvider`,
//! `IPAuthenticationProvider`, `X509AuthenticationProvider`).

use alloc::format;
use alloc::string::String;
use core::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytestring::ByteString;
use nom::bytes::complete::{take_while, take_while1};
use nom::character::complete::char;
use nom::multi::many0_count;
use sha1::{Digest, Sha1};
use sha2::{Sha224, Sha256, Sha384, Sha512};
use sha3::{Sha3_224, Sha3_256, Sha3_384, Sha3_512};

use super::distinguished_name;
use crate::config::DigestAlgorithm;
use crate::text;
use crate::wire::client::Id;
use crate::wire::network::{Address, Network};

/// An authentication scheme.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scheme {
    /// `user:base64(SHA1(user:password))`, or another hash.
    Digest,
    /// An address, or a network in an ACL.
    Ip,
    /// The subject of a certificate.
    X509,
}

impl Scheme {
    /// Whether an id of this scheme proves who the client is, so that `auth` in an ACL
    /// stands for it.
    pub(crate) fn is_authenticated(self) -> bool {
        match self {
            Scheme::Digest | Scheme::X509 => true,
            Scheme::Ip => false,
        }
    }
    /// Whether `id` may stand in an ACL.
    pub(crate) fn is_valid(self, id: &str) -> bool {
        match self {
            Scheme::Digest => {
                let (user, hash) = (take_while(|c| c != ':'), take_while1(|c| c != ':'));
                // Java's `split(":")` drops empty parts at the end.
                let end = many0_count(char(':'));
                text::read(id, (user, char(':'), hash, end)).is_some()
            }
            Scheme::Ip => Network::parse(id).is_some(),
            Scheme::X509 => distinguished_name::is_valid(id),
        }
    }
    /// Whether the client's `id` is what the ACL's `expression` means.
    pub(crate) fn matches(self, id: &str, expression: &str) -> bool {
        match self {
            Scheme::Digest => is_same_secret(id.as_bytes(), expression.as_bytes()),
            Scheme::X509 => id == expression,
            Scheme::Ip => match (Network::parse(expression), Address::parse(id)) {
                (Some(network), Some(address)) => network.holds(&address),
                _ => false,
            },
        }
    }
}

/// Compares in a time that does not depend on where the first difference is; lengths are no secret.
pub(crate) fn is_same_secret(a: &[u8], b: &[u8]) -> bool {
    let same = a.iter().zip(b).fold(0, |seen, (a, b)| core::hint::black_box(seen | (a ^ b)));
    a.len() == b.len() && same == 0
}

/// The id of `user:password`, hashed as ZooKeeper does by default.
pub fn digest_id(user_password: &str) -> Id {
    hashed_id(user_password, DigestAlgorithm::Sha1)
}

/// The id of `user:password`: the hash covers the whole text. Without a colon the user is
/// all of it.
pub fn hashed_id(user_password: &str, algorithm: DigestAlgorithm) -> Id {
    fn base64<D: Digest>(text: &str) -> String {
        STANDARD.encode(D::digest(text.as_bytes()))
    }
    let user = user_password.split(':').next().unwrap_or_default();
    let hash = match algorithm {
        DigestAlgorithm::Sha1 => base64::<Sha1>(user_password),
        DigestAlgorithm::Sha224 => base64::<Sha224>(user_password),
        DigestAlgorithm::Sha256 => base64::<Sha256>(user_password),
        DigestAlgorithm::Sha384 => base64::<Sha384>(user_password),
        DigestAlgorithm::Sha512 => base64::<Sha512>(user_password),
        DigestAlgorithm::Sha3_224 => base64::<Sha3_224>(user_password),
        DigestAlgorithm::Sha3_256 => base64::<Sha3_256>(user_password),
        DigestAlgorithm::Sha3_384 => base64::<Sha3_384>(user_password),
        DigestAlgorithm::Sha3_512 => base64::<Sha3_512>(user_password),
    };
    Id { scheme: ByteString::from_static("digest"), id: format!("{user}:{hash}").into() }
}

/// The id that every connection has, in the spelling of Java's `getHostAddress`: IPv6 in
/// eight groups without compression, IPv4 inside IPv6 as IPv4.
pub fn ip_id(peer: IpAddr) -> Id {
    let id = match peer.to_canonical() {
        IpAddr::V4(v4) => format!("{v4}"),
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}:{g:x}:{h:x}")
        }
    };
    Id { scheme: ByteString::from_static("ip"), id: id.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_covers_user_and_password() {
        // The example of ZooKeeper's administrators' guide and of its own tests.
        assert_eq!(digest_id("super:test").id, "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
        let id = |algorithm| hashed_id("u:p", algorithm).id;
        assert_eq!(id(DigestAlgorithm::Sha256), "u:/Y8xRBngpX5duYn15uUqIRaIaCviy5TEwSk419hCwuA=");
        assert_eq!(id(DigestAlgorithm::Sha3_256), "u:3+U94Pf1dSrKR/q5qu/huTFf1Fha6TtpdtpSdhWvIS0=");
        assert_eq!(&digest_id("user:pass:word").id[..5], "user:");
        assert_eq!(&digest_id("nocolon").id[..8], "nocolon:");
    }

    #[test]
    fn secrets_are_the_same_or_not() {
        for (a, b, same) in [
            (&b""[..], &b""[..], true),
            (b"secret", b"secret", true),
            (b"secret", b"secreT", false),
            (b"Secret", b"secret", false),
            (b"secret", b"secre", false),
            (b"", b"s", false),
        ] {
            assert_eq!(is_same_secret(a, b), same, "{a:?} {b:?}");
        }
    }

    #[test]
    fn addresses_are_spelled_as_java_spells_them() {
        assert_eq!(ip_id("::1".parse().unwrap()).id, "0:0:0:0:0:0:0:1");
        assert_eq!(ip_id("2001:db8::ff00:42".parse().unwrap()).id, "2001:db8:0:0:0:0:ff00:42");
        assert_eq!(ip_id("::ffff:10.0.0.1".parse().unwrap()).id, "10.0.0.1");
    }

    #[test]
    fn digest_ids_have_two_parts() {
        for (id, valid) in [
            ("user:hash", true),
            (":hash", true),
            ("a:b:", true),
            ("user", false),
            ("user:", false),
            ("", false),
            (":", false),
            ("a:b:c", false),
        ] {
            assert_eq!(Scheme::Digest.is_valid(id), valid, "{id:?}");
        }
    }

    #[test]
    fn networks_are_checked() {
        for (id, valid) in [
            ("10.0.0.1", true),
            ("10.0.0.0/8", true),
            ("10.0.0.0/0", true),
            ("10.0.0.0/33", false),
            ("10.0.0.0/-1", false),
            ("10.0.0.0/x", false),
            ("10.0.0.0/8/8", false),
            ("10.0.0", false),
            ("10.0.0.256", false),
            ("10.0.0.1.2", false),
            ("host", false),
            ("", false),
            ("::1", true),
            ("::", true),
            ("2001:db8::/32", true),
            ("2001:db8::/129", false),
            ("1:2:3:4:5:6:7:8", true),
            ("1:2:3:4:5:6:7", false),
            ("1::2::3", false),
            ("1:2:3:4::5:6:7:8", false),
            ("12345::", false),
            ("fe80::1%eth0", false),
            ("::ffff:10.0.0.1", false),
        ] {
            assert_eq!(Scheme::Ip.is_valid(id), valid, "{id:?}");
        }
    }

    #[test]
    fn networks_match_their_addresses() {
        for (id, expression, matches) in [
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("10.1.2.3", "10.0.0.0/8", true),
            ("11.1.2.3", "10.0.0.0/8", false),
            ("10.1.2.3", "10.1.2.0/30", true),
            ("10.1.2.4", "10.1.2.0/30", false),
            ("11.1.2.3", "10.0.0.0/7", true),
            ("1.2.3.4", "9.9.9.9/0", true),
            ("0:0:0:0:0:0:0:1", "::1", true),
            ("2001:db8:0:0:0:0:0:7", "2001:db8::/32", true),
            ("2001:db9:0:0:0:0:0:7", "2001:db8::/32", false),
            ("10.1.2.3", "::/0", false),
            ("0:0:0:0:0:0:0:1", "0.0.0.0/0", false),
        ] {
            assert_eq!(Scheme::Ip.matches(id, expression), matches, "{id} in {expression}");
        }
    }
}
