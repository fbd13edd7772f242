//! towline's own form (docs/wire I7, I9).

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;

use super::{Issuer, Leaf, build, unix};
use crate::error::IssueError;
use crate::public_key::PublicKey;
use crate::secret::{SecretKey, random};

/// Certificates are valid a little before they are made, so that a peer whose clock is behind
/// accepts them at once.
const BACKDATE: Duration = Duration::from_secs(3600);
const SERIAL_BYTES: usize = 16;
const COMMON_NAME: &str = "towline authority";
const ORGANISATION: &str = "towline";

pub(super) fn authority(
    key: &SecretKey,
    now: SystemTime,
    not_after: SystemTime,
) -> Result<Vec<u8>, IssueError> {
    let mut params = params(COMMON_NAME, now, not_after)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params.self_signed(key).map_err(build)?.der().to_vec())
}

pub(super) fn leaf(
    leaf: &Leaf<'_>,
    not_after: SystemTime,
    issuer: &Issuer<'_>,
) -> Result<Vec<u8>, IssueError> {
    let mut params = params(leaf.name, leaf.now, not_after)?;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    let mut names = vec![SanType::DnsName(
        Ia5String::try_from(crate::tls::SERVER_NAME).map_err(build)?,
    )];
    for email in leaf.emails {
        let email = Ia5String::try_from(email.as_str()).map_err(build)?;
        names.push(SanType::Rfc822Name(email));
    }
    names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    params.subject_alt_names = names;
    let authority = CertificateDer::from(issuer.certificate);
    let signer = rcgen::Issuer::from_ca_cert_der(&authority, issuer.key).map_err(build)?;
    let signed = params.signed_by(&Subject(leaf.public_key), &signer);
    Ok(signed.map_err(build)?.der().to_vec())
}

/// The key that a certificate is for; signing one takes no more of it.
struct Subject(PublicKey);

impl rcgen::PublicKeyData for Subject {
    fn der_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

fn params(
    common_name: &str,
    now: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateParams, IssueError> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + unix(now).saturating_sub(BACKDATE);
    params.not_after = epoch + unix(not_after);
    let mut serial = [0; SERIAL_BYTES];
    random(&mut serial)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, ORGANISATION);
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}
