//! Authentication, ACLs, and what is enabled for everyone.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::digest_algorithm::DigestAlgorithm;
use crate::config::ConfigError;
use crate::config::keys::{DIGEST_PROVIDER, Key, X509_PROVIDER, property};
use crate::config::values::Values;

pub(super) const KEYS: &[Key] = &[
    property("4lw.commands.whitelist"),
    property("DigestAuthenticationProvider.digestAlg"),
    property("DigestAuthenticationProvider.enabled"),
    property("DigestAuthenticationProvider.superDigest"),
    property("X509AuthenticationProvider.superUser"),
    property("enforce.auth.enabled"),
    property("enforce.auth.schemes"),
    property("protectSystemNodes"),
    property("skipACL"),
];

/// The schemes of authentication, and what they protect.
#[derive(Clone, PartialEq, Debug)]
pub struct SecurityConfig {
    /// Whether the scheme `digest` is there: `DigestAuthenticationProvider.enabled`, or an
    /// `authProvider.NAME` of that class.
    pub digest_auth: bool,
    /// `DigestAuthenticationProvider.digestAlg`.
    pub digest_algorithm: DigestAlgorithm,
    /// `DigestAuthenticationProvider.superDigest`.
    pub super_digest: Option<String>,
    /// Whether the scheme `x509` is there: an `authProvider.NAME` of that class.
    pub x509_auth: bool,
    /// `X509AuthenticationProvider.superUser`.
    pub x509_super_user: Option<String>,
    /// `enforce.auth.schemes`, if `enforce.auth.enabled`: a client has to authenticate with one of
    /// them before any other request.
    pub enforced_schemes: Vec<String>,
    /// `skipACL`: ACLs are not checked.
    pub skip_acl: bool,
    /// `protectSystemNodes`: only `super` may write below `/zookeeper`.
    pub protect_system_nodes: bool,
    /// `4lw.commands.whitelist`: the enabled four-letter words, separated by commas.
    pub four_letter_whitelist: Option<String>,
}

impl SecurityConfig {
    pub(in crate::config) fn read(values: &Values<'_>) -> Result<SecurityConfig, ConfigError> {
        let digest_auth = values.switch("DigestAuthenticationProvider.enabled", true)
            || values.has_provider(DIGEST_PROVIDER);
        let x509_auth = values.has_provider(X509_PROVIDER);
        let schemes = [("ip", true), ("digest", digest_auth), ("x509", x509_auth)].into_iter();
        let known: Vec<&str> = schemes.filter(|(_, on)| *on).map(|(name, _)| name).collect();
        Ok(SecurityConfig {
            digest_auth,
            digest_algorithm: digest_algorithm(values)?,
            super_digest: values.text("DigestAuthenticationProvider.superDigest"),
            x509_auth,
            x509_super_user: values.text("X509AuthenticationProvider.superUser"),
            enforced_schemes: enforced_schemes(values, &known)?,
            skip_acl: values.is_word("skipACL", "yes", ["no", "false"]),
            protect_system_nodes: values.switch("protectSystemNodes", false),
            four_letter_whitelist: values.text("4lw.commands.whitelist"),
        })
    }
}

fn digest_algorithm(values: &Values<'_>) -> Result<DigestAlgorithm, ConfigError> {
    let key = "DigestAuthenticationProvider.digestAlg";
    let Some(name) = values.word(key) else { return Ok(DigestAlgorithm::default()) };
    DigestAlgorithm::from_name(name).ok_or_else(|| values.error(key, DigestAlgorithm::NAMES))
}

fn enforced_schemes(values: &Values<'_>, known: &[&str]) -> Result<Vec<String>, ConfigError> {
    // A mistyped value must not switch protection off: the key is read as a boolean that is an
    // error if it is neither true nor false.
    if !values.boolean("enforce.auth.enabled", false)? {
        return Ok(Vec::new());
    }
    let Some(text) = values.text("enforce.auth.schemes") else {
        return Err(values.error("enforce.auth.enabled", "enforce.auth.schemes beside it"));
    };
    let schemes: Vec<String> = text.split(',').map(|name| String::from(name.trim())).collect();
    if schemes.iter().all(|name| known.contains(&name.as_str())) {
        Ok(schemes)
    } else {
        let expected = format!("{}, separated by commas", known.join(" or "));
        Err(values.error("enforce.auth.schemes", &expected))
    }
}
