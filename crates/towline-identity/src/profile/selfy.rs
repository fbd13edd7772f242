//! The original's form, byte for byte (docs/wire I6, I8, I35).
//!
//! Written by hand: rcgen orders extensions and chooses string types in its own way.

use std::time::SystemTime;

use ring::digest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::der::{self, bits, element, oid, sequence};
use super::{Issuer, Leaf, build};
use crate::error::IssueError;
use crate::public_key::PublicKey;
use crate::secret::SecretKey;

/// How long everything lasts: a hundred years and some weeks.
pub(super) const DAYS: u32 = 36_600;

const VERSION_3: &[u8] = &[0xa0, 0x03, 0x02, 0x01, 0x02];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const AUTHORITY_SERIAL: u8 = 1;
const LEAF_SERIAL: u8 = 2;

/// The values of country, state, city, organisation, unit and common name.
const AUTHORITY: [&str; 6] = [
    "US",
    "State",
    "City",
    "Organization",
    "Org Unit",
    "localhost",
];
const LEAF: [&str; 6] = [
    "US",
    "New York",
    "New York",
    "MyOrg",
    "MyOrgUnit",
    "localhost",
];
/// The last arcs of their attribute types below 2.5.4.
const ATTRIBUTES: [u8; 6] = [6, 8, 7, 10, 11, 3];

/// The last arcs of the extensions below 2.5.29.
const SUBJECT_KEY_IDENTIFIER: u8 = 14;
const KEY_USAGE: u8 = 15;
const SUBJECT_ALT_NAME: u8 = 17;
const BASIC_CONSTRAINTS: u8 = 19;
const AUTHORITY_KEY_IDENTIFIER: u8 = 35;
const EXTENDED_KEY_USAGE: u8 = 37;

const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

pub(super) fn authority(
    key: &SecretKey,
    now: SystemTime,
    not_after: SystemTime,
) -> Result<Vec<u8>, IssueError> {
    let name = name(&AUTHORITY);
    let public = key.public_key();
    let extensions = [
        // keyCertSign and cRLSign, the sixth and seventh bit: one is unused.
        extension(KEY_USAGE, true, &[der::BIT_STRING, 2, 1, 0x06]),
        extension(EXTENDED_KEY_USAGE, false, &sequence(&[&oid(ANY_PURPOSE)])),
        extension(
            BASIC_CONSTRAINTS,
            true,
            &sequence(&[&element(der::BOOLEAN, &[0xff])]),
        ),
        extension(
            SUBJECT_KEY_IDENTIFIER,
            false,
            &element(der::OCTET_STRING, &key_identifier(public)),
        ),
    ];
    let tbs = tbs(
        AUTHORITY_SERIAL,
        &name,
        &name,
        (now, not_after),
        public,
        &extensions.concat(),
    )?;
    sign(&tbs, key)
}

pub(super) fn leaf(
    leaf: &Leaf<'_>,
    not_after: SystemTime,
    issuer: &Issuer<'_>,
) -> Result<Vec<u8>, IssueError> {
    let (_, authority) = X509Certificate::from_der(issuer.certificate).map_err(build)?;
    let mut extensions = extension(KEY_USAGE, true, &[der::BIT_STRING, 2, 5, 0xa0]);
    let purposes = sequence(&[&oid(CLIENT_AUTH), &oid(SERVER_AUTH)]);
    extensions.extend(extension(EXTENDED_KEY_USAGE, false, &purposes));
    let identifier =
        authority
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
                _ => None,
            });
    if let Some(identifier) = identifier {
        let identifier = sequence(&[&element(0x80, identifier)]);
        extensions.extend(extension(AUTHORITY_KEY_IDENTIFIER, false, &identifier));
    }
    let mut names = element(0x82, crate::tls::SERVER_NAME.as_bytes());
    for email in leaf.emails {
        names.extend(element(0x81, email.as_bytes()));
    }
    names.extend(element(0x87, &[127, 0, 0, 1]));
    extensions.extend(extension(
        SUBJECT_ALT_NAME,
        false,
        &element(der::SEQUENCE, &names),
    ));
    let tbs = tbs(
        LEAF_SERIAL,
        authority.subject().as_raw(),
        &name(&LEAF),
        (leaf.now, not_after),
        leaf.public_key,
        &extensions,
    )?;
    sign(&tbs, issuer.key)
}

/// Whether a certificate has one of the two subjects that the original gives.
pub(super) fn is_subject_of(certificate: &[u8]) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, parsed)| {
        [AUTHORITY, LEAF]
            .iter()
            .any(|values| parsed.subject().as_raw() == name(values))
    })
}

fn tbs(
    serial: u8,
    issuer: &[u8],
    subject: &[u8],
    (not_before, not_after): (SystemTime, SystemTime),
    public: PublicKey,
    extensions: &[u8],
) -> Result<Vec<u8>, IssueError> {
    let time = |moment| der::time(moment).ok_or_else(|| build("a date beyond the year 9999"));
    let extensions = element(0xa3, &element(der::SEQUENCE, extensions));
    Ok(sequence(&[
        VERSION_3,
        &element(der::INTEGER, &[serial]),
        &algorithm(),
        issuer,
        &sequence(&[&time(not_before)?, &time(not_after)?]),
        subject,
        &sequence(&[&algorithm(), &bits(public.as_bytes())]),
        &extensions,
    ]))
}

fn sign(tbs: &[u8], key: &SecretKey) -> Result<Vec<u8>, IssueError> {
    let signature = key.sign(tbs).ok_or_else(|| build("the key cannot sign"))?;
    Ok(sequence(&[tbs, &algorithm(), &bits(&signature)]))
}

fn algorithm() -> Vec<u8> {
    sequence(&[&oid(ED25519)])
}

fn name(values: &[&str; 6]) -> Vec<u8> {
    let parts: Vec<u8> = ATTRIBUTES
        .iter()
        .zip(values)
        .flat_map(|(&attribute, value)| {
            let value = element(der::PRINTABLE_STRING, value.as_bytes());
            let pair = sequence(&[&oid(&[0x55, 0x04, attribute]), &value]);
            element(der::SET, &pair)
        })
        .collect();
    element(der::SEQUENCE, &parts)
}

fn extension(arc: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical {
        element(der::BOOLEAN, &[0xff])
    } else {
        Vec::new()
    };
    let value = element(der::OCTET_STRING, value);
    sequence(&[&oid(&[0x55, 0x1d, arc]), &critical, &value])
}

/// SHA-1 of the key: an abbreviation that nobody's safety rests on.
fn key_identifier(key: PublicKey) -> Vec<u8> {
    digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes())
        .as_ref()
        .to_vec()
}
