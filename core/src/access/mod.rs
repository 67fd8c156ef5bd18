//! Schemes of authentication, and the check of ACLs (`ProviderRegistry`,
//! `ZooKeeperServer.checkACL`).

pub mod acl;
pub mod auth;
mod distinguished_name;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use bytestring::ByteString;

use crate::config::DigestAlgorithm;
use crate::wire::ErrorCode;
use crate::wire::acl::AclList;
use crate::wire::acl_index::AclIndex;
use crate::wire::client::{Acl, Id, perms};
use auth::{Scheme, hashed_id, ip_id, is_same_secret};

/// The access rules of the configuration. A server applies them to its own clients and, when it
/// leads, to those of its learners.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// `skipACL`: no ACL is checked.
    pub skip_acl: bool,
    /// Whether the scheme `digest` is enabled.
    pub digest: bool,
    /// The hash of its passwords (`DigestAuthenticationProvider.digestAlg`).
    pub digest_algorithm: DigestAlgorithm,
    /// A client with the password of this digest id is `super`
    /// (`DigestAuthenticationProvider.superDigest`).
    pub super_digest: Option<String>,
    /// Whether the scheme `x509` is enabled.
    pub x509: bool,
    /// A client with this subject in its certificate is `super`
    /// (`X509AuthenticationProvider.superUser`).
    pub x509_super_user: Option<String>,
}

impl Default for Access {
    fn default() -> Access {
        Access {
            skip_acl: false,
            digest: true,
            digest_algorithm: DigestAlgorithm::default(),
            super_digest: None,
            x509: false,
            x509_super_user: None,
        }
    }
}

impl Access {
    /// The scheme of a name; `world`, `auth` and `super` are rules of ACLs, not schemes.
    pub(crate) fn scheme(&self, name: &str) -> Option<Scheme> {
        match name {
            "digest" => self.digest.then_some(Scheme::Digest),
            "ip" => Some(Scheme::Ip),
            "x509" => self.x509.then_some(Scheme::X509),
            _ => None,
        }
    }

    /// The ids that an auth packet gives a connection which has `ids`; `None` means AUTHFAILED.
    pub fn authenticate(
        &self,
        scheme: &str,
        data: Option<&[u8]>,
        peer: IpAddr,
        ids: &[Id],
    ) -> Option<Vec<Id>> {
        match self.scheme(scheme)? {
            Scheme::Digest => {
                let id = hashed_id(&String::from_utf8_lossy(data?), self.digest_algorithm);
                let is_it = |digest: &str| is_same_secret(digest.as_bytes(), id.id.as_bytes());
                let is_super = self.super_digest.as_deref().is_some_and(is_it);
                let above = is_super.then(|| super_id(ByteString::new()));
                Some(above.into_iter().chain([id]).collect())
            }
            Scheme::Ip => Some(Vec::from([ip_id(peer)])),
            // The certificate was looked at when the connection began; what is said now counts
            // for nothing.
            Scheme::X509 => ids.iter().any(|id| &*id.scheme == "x509").then(Vec::new),
        }
    }

    /// The ids of a client whose certificate has this subject; `None` if certificates say nothing
    /// here (`X509AuthenticationProvider.handleAuthentication`).
    pub fn identify(&self, subject: ByteString) -> Option<Vec<Id>> {
        let is_super = self.x509_super_user.as_deref() == Some(&*subject);
        let above = is_super.then(|| super_id(subject.clone()));
        let id = Id { scheme: ByteString::from_static("x509"), id: subject };
        self.x509.then(|| above.into_iter().chain([id]).collect())
    }

    /// The name that whoAmI shows for an id: without hashes, and without the origin of `super`
    /// (`AuthUtil.getUser`).
    pub(crate) fn user<'a>(&self, id: &'a Id) -> &'a str {
        match self.scheme(&id.scheme) {
            Some(Scheme::Digest) => id.id.split(':').next().unwrap_or_default(),
            Some(Scheme::Ip | Scheme::X509) => &id.id,
            None => "",
        }
    }

    /// Whether a connection with these ids may do any of `wanted` ([`perms`] bits) on a node
    /// with this ACL.
    ///
    /// # Errors
    /// NOAUTH. An empty ACL and the id `super` allow everything.
    pub fn check(&self, acl: &AclList, wanted: i32, ids: &[Id]) -> Result<(), ErrorCode> {
        if self.allows(acl, wanted, ids) { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    /// Whether a connection with these ids may do what is for the super user alone.
    ///
    /// # Errors
    /// NOAUTH.
    pub fn check_super(&self, ids: &[Id]) -> Result<(), ErrorCode> {
        let may = self.skip_acl || ids.iter().any(|id| &*id.scheme == "super");
        if may { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    /// An ACL as getACL shows it: clients that may not change it do not see password hashes.
    pub fn visible(&self, acl: &AclList, ids: &[Id]) -> Vec<Acl> {
        let mut shown = acl.to_vec();
        if !self.allows(acl, perms::ADMIN, ids) {
            for Acl { id: Id { scheme, id }, .. } in &mut shown {
                if &**scheme == "digest"
                    && let Some((user, _)) = id.split_once(':')
                {
                    *id = format!("{user}:x").into();
                }
            }
        }
        shown
    }

    /// How many entries a check compares with how many ids, at most.
    #[inline]
    pub(crate) fn compared(&self, acl: &AclList, ids: &[Id]) -> usize {
        match acl.index() {
            Some(index) => index.compared(ids.len()),
            None => acl.len() * ids.len(),
        }
    }

    fn allows(&self, acl: &AclList, wanted: i32, ids: &[Id]) -> bool {
        self.skip_acl
            || acl.is_empty()
            || match acl.index() {
                Some(index) => self.is_found(index, acl, wanted, ids),
                None => {
                    let is_meant = |entry: &Id| self.is_meant(entry, ids);
                    acl.iter().any(|entry| entry.perms & wanted != 0 && is_meant(&entry.id))
                }
            }
            || ids.iter().any(|id| &*id.scheme == "super")
    }

    /// The same as [`Access::is_meant`] by any of the entries.
    fn is_found(&self, index: &AclIndex, acl: &[Acl], wanted: i32, ids: &[Id]) -> bool {
        let perms = |id: &Id| match self.scheme(&id.scheme) {
            Some(Scheme::Ip) => index.of_address(&id.id),
            Some(Scheme::X509) if self.x509_super_user.as_deref() == Some(&*id.id) => {
                index.of_x509()
            }
            Some(Scheme::Digest | Scheme::X509) => index.of_id(acl, id),
            None => 0,
        };
        index.of_anyone() & wanted != 0 || ids.iter().any(|id| perms(id) & wanted != 0)
    }

    fn is_meant(&self, entry: &Id, ids: &[Id]) -> bool {
        if &*entry.scheme == "world" {
            return &*entry.id == "anyone";
        }
        self.scheme(&entry.scheme).is_some_and(|scheme| {
            let mut same = ids.iter().filter(|id| id.scheme == entry.scheme);
            same.any(|id| {
                scheme.matches(&id.id, &entry.id)
                    || scheme == Scheme::X509 && self.x509_super_user.as_deref() == Some(&*id.id)
            })
        })
    }
}

fn super_id(id: ByteString) -> Id {
    Id { scheme: ByteString::from_static("super"), id }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::auth::digest_id;

    const LOCAL: IpAddr = IpAddr::V4(core::net::Ipv4Addr::LOCALHOST);

    fn id(scheme: &str, id: &str) -> Id {
        Id { scheme: scheme.into(), id: id.into() }
    }

    fn entry(perms: i32, id: Id) -> Acl {
        Acl { perms, id }
    }

    #[test]
    fn the_super_digest_gives_two_ids() {
        let super_digest = Some(String::from(&*digest_id("super:secret").id));
        let access = Access { super_digest, ..Access::default() };
        let auth = |access: &Access, text: &str| {
            let ids = access.authenticate("digest", Some(text.as_bytes()), LOCAL, &[]);
            ids.map(|ids| ids.into_iter().map(|id| id.scheme).collect::<Vec<_>>())
        };
        assert_eq!(auth(&access, "super:secret").unwrap(), ["super", "digest"]);
        assert_eq!(auth(&access, "super:wrong").unwrap(), ["digest"]);
        assert_eq!(auth(&Access { digest: false, ..access }, "super:secret"), None);
    }

    #[test]
    fn unknown_schemes_and_missing_data_fail() {
        let access = Access::default();
        let ids = [id("x509", "CN=a")];
        for scheme in ["", "world", "auth", "super", "sasl", "x509"] {
            let ids = access.authenticate(scheme, Some(b"a:b"), LOCAL, &ids);
            assert_eq!(ids, None, "{scheme}");
        }
        assert_eq!(access.authenticate("digest", None, LOCAL, &ids), None);
        assert_eq!(access.authenticate("ip", None, LOCAL, &ids).unwrap()[0].id, "127.0.0.1");
    }

    #[test]
    fn a_certificate_makes_one_id_and_the_super_users_two() {
        let super_user = Some(String::from("CN=root"));
        let access = Access { x509: true, x509_super_user: super_user, ..Access::default() };
        assert_eq!(access.identify("CN=me".into()), Some(Vec::from([id("x509", "CN=me")])));
        assert_eq!(
            access.identify("CN=root".into()),
            Some(Vec::from([id("super", "CN=root"), id("x509", "CN=root")]))
        );
        assert_eq!(Access { x509: false, ..access }.identify("CN=root".into()), None);
    }

    #[test]
    fn acl_gives_each_id_its_permissions() {
        let me = [id("ip", "10.0.0.1"), digest_id("me:pw"), id("x509", "CN=me")];
        let nobody = [id("ip", "192.168.0.1")];
        let acl = [
            entry(perms::READ, id("world", "anyone")),
            entry(perms::WRITE, digest_id("me:pw")),
            entry(perms::CREATE, id("ip", "10.0.0.0/8")),
            entry(perms::ADMIN, id("sasl", "me")),
            entry(perms::DELETE, id("x509", "CN=me")),
        ];
        let access = Access { x509: true, ..Access::default() };
        let acl = AclList::from(&acl[..]);
        for (wanted, ids, allowed) in [
            (perms::READ, &nobody[..], true),
            (perms::READ, &[], true),
            (perms::WRITE, &me, true),
            (perms::WRITE, &nobody, false),
            (perms::CREATE, &me, true),
            (perms::CREATE, &nobody, false),
            (perms::DELETE, &me, true),
            (perms::DELETE, &[id("x509", "CN=You")], false),
            (perms::DELETE, &[id("digest", "CN=me")], false),
            (perms::ADMIN, &me, false),
            (perms::ADMIN | perms::READ, &nobody, true),
            (perms::ADMIN, &[id("super", "")], true),
            (perms::ADMIN, &[id("sasl", "me")], false),
        ] {
            assert_eq!(access.check(&acl, wanted, ids).is_ok(), allowed, "{wanted} {ids:?}");
        }
        assert_eq!(access.check(&Vec::new().into(), perms::ALL, &nobody), Ok(()));
        // A scheme that is not there lets nobody in.
        for access in [Access { x509: false, ..access.clone() }, Access::default()] {
            assert_eq!(access.check(&acl, perms::DELETE, &me), Err(ErrorCode::NoAuth));
        }
        let no_digest = Access { digest: false, ..access.clone() };
        assert_eq!(no_digest.check(&acl, perms::WRITE, &me), Err(ErrorCode::NoAuth));
        // The super user of a leader that its server does not know as one.
        let with = Access { x509_super_user: Some("CN=root".into()), ..access.clone() };
        assert_eq!(with.check(&acl, perms::DELETE, &[id("x509", "CN=root")]), Ok(()));
        let open = Access { skip_acl: true, ..access };
        assert_eq!(open.check(&acl, perms::ADMIN, &nobody), Ok(()));
    }

    #[test]
    fn a_long_acl_allows_what_its_entries_allow_one_by_one() {
        let mut rng = fastrand::Rng::with_seed(7);
        let texts = [
            ("world", &["anyone", "me"][..]),
            ("ip", &["10.0.0.1", "10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "::1", "::/0", "x"]),
            ("ip", &["10.128.0.0/9", "10.0.0.1/32", "2001:db8::/33", "2001:db8::1"]),
            ("digest", &["me:hash", "you:hash", "me:other"]),
            ("x509", &["CN=me", "CN=you"]),
            ("super", &["", "me"]),
            ("sasl", &["me"]),
        ];
        let any = |rng: &mut fastrand::Rng| {
            let (scheme, texts) = texts[rng.usize(..texts.len())];
            id(scheme, texts[rng.usize(..texts.len())])
        };
        let addresses =
            ["10.0.0.1", "10.200.0.1", "9.9.9.9", "0:0:0:0:0:0:0:1", "2001:db8:0:0:0:0:0:1"];
        let mut allowed = [0, 0];
        for _ in 0..5000 {
            let few: Vec<Id> = (0..rng.usize(1..6)).map(|_| any(&mut rng)).collect();
            let acl: Vec<Acl> = (0..rng.usize(9..40))
                .map(|_| entry(1 << rng.u8(..5), few[rng.usize(..few.len())].clone()))
                .collect();
            let mut ids = Vec::from([id("ip", addresses[rng.usize(..addresses.len())])]);
            ids.extend((0..rng.usize(..3)).map(|_| any(&mut rng)).filter(|id| id.scheme != "ip"));
            let access = Access {
                digest: rng.bool(),
                x509: rng.bool(),
                x509_super_user: rng.bool().then(|| "CN=me".into()),
                ..Access::default()
            };
            let wanted = 1 << rng.u8(..5);
            let one_by_one =
                acl.iter().any(|e| e.perms & wanted != 0 && access.is_meant(&e.id, &ids))
                    || ids.iter().any(|id| id.scheme == "super");
            let list = AclList::from(acl);
            assert!(list.index().is_some());
            assert_eq!(access.allows(&list, wanted, &ids), one_by_one, "{ids:?} {list:?}");
            allowed[usize::from(one_by_one)] += 1;
        }
        assert!(allowed[0] > 1000 && allowed[1] > 1000, "{allowed:?}");
    }

    #[test]
    fn a_check_of_a_long_acl_compares_few_of_its_entries() {
        let network = |n: usize| entry(1, id("ip", &format!("10.{}.{}.0/24", n / 256, n % 256)));
        let digest = |n: usize| entry(1, digest_id(&format!("u{n}:p")));
        let acl: Vec<Acl> = (0..10_000).map(network).chain((0..10_000).map(digest)).collect();
        let ids: Vec<Id> = (0..64).map(|n| digest_id(&format!("other{n}:p"))).collect();
        let access = Access::default();
        assert!(access.compared(&acl.into(), &ids) < 1500);
        let short: Vec<Acl> = (0..8).map(digest).collect();
        assert_eq!(access.compared(&short.into(), &ids), 8 * 64);
    }

    #[test]
    fn hashes_are_shown_to_admins_only() {
        let acl = [
            entry(perms::READ, id("world", "anyone")),
            entry(perms::ALL, digest_id("me:pw")),
            entry(perms::READ, id("ip", "::1")),
            entry(perms::READ, id("x509", "CN=a:b")),
        ];
        let list = AclList::from(&acl[..]);
        let access = Access::default();
        let shown = access.visible(&list, &[]);
        assert_eq!(shown[1].id.id, "me:x");
        assert_eq!((&shown[0], &shown[2], &shown[3]), (&acl[0], &acl[2], &acl[3]));
        assert_eq!(access.visible(&list, &[digest_id("me:pw")]), acl);
        assert_eq!(Access { skip_acl: true, ..access }.visible(&list, &[]), acl);
    }

    #[test]
    fn who_am_i_shows_names_without_secrets() {
        let access = Access { x509: true, ..Access::default() };
        for (scheme, text, user) in [
            ("digest", "me:hash", "me"),
            ("ip", "0:0:0:0:0:0:0:1", "0:0:0:0:0:0:0:1"),
            ("x509", "CN=a:b,O=c", "CN=a:b,O=c"),
            ("super", "CN=root", ""),
        ] {
            assert_eq!(access.user(&id(scheme, text)), user);
        }
    }
}
