//! Access control lists: what a client may ask for (`PrepRequestProcessor.fixupACL`).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytestring::ByteString;

use super::Access;
use super::auth::Scheme;
use crate::wire::ErrorCode;
use crate::wire::acl::AclList;
use crate::wire::client::{Acl, Id};
use crate::wire::jute::{Malformed, Reader, records};

records! {
    /// One entry of an ACL as a client sends it, nulls and all.
    AclRequest {
        /// [`perms`](crate::wire::client::perms) bits.
        perms: i32,
        scheme: Option<ByteString>,
        /// Id.
        id: Option<ByteString>,
    }
}

/// perms and two string lengths.
const LEAST_ENTRY_BYTES: usize = 12;

/// No request within `jute.maxbuffer` holds more valid entries than this; it bounds what the
/// expansion of `auth` can make of it.
const MAX_ENTRIES: usize = 1 << 16;

/// Above this many entries duplicates are found through a set.
const FEW_ENTRIES: usize = 16;

/// An ACL as a client asks for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum AskedAcl {
    /// [`AclList::OPEN`], to the letter.
    Open,
    /// Any.
    Entries(Vec<AclRequest>),
}

impl Default for AskedAcl {
    fn default() -> AskedAcl {
        AskedAcl::Entries(Vec::new())
    }
}

/// Reads a request's ACL.
pub(crate) fn read(r: &mut Reader<'_>) -> Result<Option<AskedAcl>, Malformed> {
    if AclList::skip_open(r) {
        return Ok(Some(AskedAcl::Open));
    }
    let entries = r.nullable_vector(LEAST_ENTRY_BYTES, |r| r.record())?;
    Ok(entries.map(AskedAcl::Entries))
}

/// Makes the ACL that is stored of the one that was asked for: drops duplicates, puts the
/// connection's authenticated ids in the place of `auth`.
///
/// # Errors
/// INVALIDACL for an empty list, an unknown scheme, an id that its scheme does not accept,
/// and `auth` from a client that did not authenticate; MARSHALLINGERROR for a null that its
/// scheme, or the search for duplicates, has to look into.
pub(crate) fn fix_up(asked: AskedAcl, ids: &[Id], access: &Access) -> Result<AclList, ErrorCode> {
    let AskedAcl::Entries(asked) = asked else { return Ok(AclList::OPEN) };
    if asked.is_empty() {
        return Err(ErrorCode::InvalidAcl);
    }
    let mut fixed = Vec::with_capacity(asked.len());
    for AclRequest { perms, scheme, id } in without_duplicates(asked)? {
        let scheme = scheme.ok_or(ErrorCode::InvalidAcl)?;
        if &*scheme == "auth" {
            let proven = |id: &&Id| access.scheme(&id.scheme).is_some_and(Scheme::is_authenticated);
            let before = fixed.len();
            fixed.extend(ids.iter().filter(proven).map(|id| Acl { perms, id: id.clone() }));
            if fixed.len() == before {
                return Err(ErrorCode::InvalidAcl);
            }
        } else {
            let known = access.scheme(&scheme);
            let Some(id) = id else {
                return Err(if known.is_some() || &*scheme == "world" {
                    ErrorCode::MarshallingError
                } else {
                    ErrorCode::InvalidAcl
                });
            };
            let world = &*scheme == "world" && &*id == "anyone";
            if !world && !known.is_some_and(|scheme| scheme.is_valid(&id)) {
                return Err(ErrorCode::InvalidAcl);
            }
            fixed.push(Acl { perms, id: Id { scheme, id } });
        }
        if fixed.len() > MAX_ENTRIES {
            return Err(ErrorCode::InvalidAcl);
        }
    }
    Ok(fixed.into())
}

fn without_duplicates(mut asked: Vec<AclRequest>) -> Result<Vec<AclRequest>, ErrorCode> {
    if asked.len() <= FEW_ENTRIES {
        let mut n = 0;
        while n < asked.len() {
            let entry = &asked[n];
            // A null is found out where it is compared: perms first, then scheme, then id.
            let before = asked[..n].iter().find(|before| {
                before.perms == entry.perms
                    && (entry.scheme.is_none()
                        || before.scheme == entry.scheme
                            && (entry.id.is_none() || before.id == entry.id))
            });
            match before {
                Some(_) if entry.scheme.is_none() || entry.id.is_none() => {
                    return Err(ErrorCode::MarshallingError);
                }
                Some(_) => {
                    asked.remove(n);
                }
                None => n += 1,
            }
        }
    } else {
        // A tree and not a hash table: the client chooses the keys.
        let mut seen = BTreeSet::new();
        asked.retain(|AclRequest { perms, scheme, id }| {
            seen.insert((*perms, scheme.clone(), id.clone()))
        });
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::access::auth::digest_id;

    fn ask(perms: i32, scheme: &'static str, id: &'static str) -> AclRequest {
        AclRequest { perms, scheme: Some(scheme.into()), id: Some(id.into()) }
    }
    fn null_id(scheme: &'static str) -> AclRequest {
        AclRequest { id: None, ..ask(1, scheme, "") }
    }
    fn id(scheme: &'static str, id: &'static str) -> Id {
        Id { scheme: scheme.into(), id: id.into() }
    }
    fn entry(perms: i32, id: Id) -> Acl {
        Acl { perms, id }
    }

    #[test]
    fn an_acl_is_stored_as_asked_without_duplicates() {
        let asked = Vec::from([
            ask(31, "world", "anyone"),
            ask(1, "ip", "10.0.0.0/8"),
            ask(31, "world", "anyone"),
            ask(77, "digest", "u:h"),
        ]);
        let stored = fix_up(AskedAcl::Entries(asked), &[], &Access::default()).unwrap();
        assert_eq!(
            stored[..],
            [
                entry(31, id("world", "anyone")),
                entry(1, id("ip", "10.0.0.0/8")),
                entry(77, id("digest", "u:h")),
            ]
        );
    }

    #[test]
    fn the_open_one_is_stored_without_a_look() {
        let asked = AskedAcl::Entries(Vec::from([ask(31, "world", "anyone")]));
        let fixed = |asked| fix_up(asked, &[], &Access::default());
        assert_eq!(fixed(AskedAcl::Open), fixed(asked));
    }

    #[test]
    fn duplicates_among_many_keep_their_order() {
        let asked: Vec<_> = (0..100).map(|n| ask(n % 40, "world", "anyone")).collect();
        let stored = fix_up(AskedAcl::Entries(asked), &[], &Access::default()).unwrap();
        assert!(stored.iter().map(|entry| entry.perms).eq(0..40));
    }

    #[test]
    fn auth_stands_for_every_proven_id() {
        let ids = [id("ip", "127.0.0.1"), digest_id("a:1"), id("super", ""), digest_id("b:2")];
        let mut asked = ask(3, "auth", "whatever");
        asked.id = None;
        let stored =
            fix_up(AskedAcl::Entries(Vec::from([asked])), &ids, &Access::default()).unwrap();
        assert_eq!(stored[..], [entry(3, digest_id("a:1")), entry(3, digest_id("b:2"))]);
    }

    #[test]
    fn invalid_acls() {
        let no_scheme = AclRequest { perms: 1, scheme: None, id: Some("anyone".into()) };
        for asked in [
            Vec::new(),
            Vec::from([no_scheme]),
            Vec::from([null_id("unheard")]),
            Vec::from([ask(31, "world", "everyone")]),
            Vec::from([ask(31, "auth", "")]),
            Vec::from([ask(31, "super", "")]),
            Vec::from([ask(31, "sasl", "bob")]),
            Vec::from([ask(31, "digest", "nohash")]),
            Vec::from([ask(31, "ip", "host")]),
            Vec::from([ask(31, "world", "anyone"), ask(31, "", "")]),
        ] {
            let ids = [id("ip", "127.0.0.1")];
            assert_eq!(
                fix_up(AskedAcl::Entries(asked.clone()), &ids, &Access::default()),
                Err(ErrorCode::InvalidAcl),
                "{asked:?}"
            );
        }
    }

    #[test]
    fn a_null_that_is_looked_into_is_no_acl_at_all() {
        let no_scheme = || AclRequest { scheme: None, ..ask(1, "", "x") };
        for asked in [
            Vec::from([null_id("world")]),
            Vec::from([null_id("digest")]),
            Vec::from([ask(31, "world", "anyone"), null_id("ip")]),
            Vec::from([ask(1, "world", "anyone"), no_scheme()]),
            Vec::from([ask(1, "auth", ""), null_id("auth")]),
        ] {
            let ids = [id("ip", "127.0.0.1")];
            let fixed = fix_up(AskedAcl::Entries(asked.clone()), &ids, &Access::default());
            assert_eq!(fixed, Err(ErrorCode::MarshallingError), "{asked:?}");
        }
        let other_perms = Vec::from([ask(2, "world", "anyone"), no_scheme()]);
        assert_eq!(
            fix_up(AskedAcl::Entries(other_perms), &[], &Access::default()),
            Err(ErrorCode::InvalidAcl)
        );
    }

    #[test]
    fn auth_cannot_multiply_without_bound() {
        let asked: Vec<_> = (0..1000).map(|n| ask(n, "auth", "")).collect();
        let ids: Vec<_> = (0..1000).map(|n| digest_id(&format!("u{n}:p"))).collect();
        assert_eq!(
            fix_up(AskedAcl::Entries(asked), &ids, &Access::default()),
            Err(ErrorCode::InvalidAcl)
        );
    }
}
