//! A certificate in full, as text: line by line what the original's `selfy -v` prints
//! (docs/wire I48).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::SystemTime;

use x509_parser::der_parser::oid::Oid;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use crate::certificate::Facts;
use crate::error::CertificateError;
use crate::escape::escape;
use crate::profile::Profile;
use crate::protected::hex_text;
use crate::public_key::PublicKey;
use crate::secret::tlv;

/// Everything a certificate says that a person may want to see.
///
/// Its `Display` is the listing of the original, without the public key's other forms at its end.
/// What cannot be seen in texts is escaped.
///
/// ```
/// use towline_identity::{Authority, AuthorityOptions, Description};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let authority = Authority::generate(&AuthorityOptions::new())?;
/// let description = Description::read(authority.certificate_der())?;
/// assert_eq!(description.subject, "CN=towline authority,O=towline");
/// assert!(description.to_string().contains("CA:TRUE"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// X.509's version: 3.
    pub version: u32,
    /// The serial number, in decimal digits.
    pub serial: String,
    /// The same in lower-case hexadecimal digits, without leading zeros.
    pub serial_hex: String,
    /// Who signed it, most specific part first.
    pub issuer: String,
    /// Whom it is for, most specific part first.
    pub subject: String,
    /// From when it is valid.
    pub not_before: SystemTime,
    /// Until when.
    pub not_after: SystemTime,
    /// The key it is for.
    pub public_key: PublicKey,
    /// Whether it is an authority's; `None` if it does not say.
    pub is_authority: Option<bool>,
    /// What the key may be used for; empty if it does not say.
    pub key_usage: Vec<&'static str>,
    /// Which sides of which protocols it is for; empty if it does not say.
    pub extended_key_usage: Vec<String>,
    /// An abbreviation of its key.
    pub subject_key_id: Option<Vec<u8>>,
    /// The abbreviation of the key that signed it.
    pub authority_key_id: Option<Vec<u8>>,
    /// The names in subjectAltName, in order, such as `DNS:localhost`.
    pub names: Vec<String>,
    /// Whose form it has.
    pub profile: Profile,
    /// The signature.
    pub signature: Vec<u8>,
    /// Which of the last three kinds of extensions there are, in their order.
    order: Vec<Extension>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    SubjectKey,
    AuthorityKey,
    Names,
}

impl Description {
    /// Reads a DER-encoded certificate. Its signature and validity are not judged.
    ///
    /// # Errors
    ///
    /// Not a certificate, or one for a key that is not Ed25519.
    pub fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let facts = Facts::read(der)?;
        let (_, parsed) = X509Certificate::from_der(der)
            .map_err(|error| CertificateError::Malformed(error.to_string()))?;
        let mut description = Self {
            version: parsed.version().0.saturating_add(1),
            serial: parsed.serial.to_string(),
            serial_hex: parsed.serial.to_str_radix(16),
            issuer: name(parsed.issuer()),
            subject: name(parsed.subject()),
            not_before: facts.not_before,
            not_after: facts.not_after,
            public_key: facts.public_key,
            is_authority: None,
            key_usage: Vec::new(),
            extended_key_usage: Vec::new(),
            subject_key_id: None,
            authority_key_id: None,
            names: Vec::new(),
            profile: Profile::of_certificate(der),
            signature: parsed.signature_value.data.to_vec(),
            order: Vec::new(),
        };
        for extension in parsed.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(constraints) => {
                    description.is_authority = Some(constraints.ca);
                }
                ParsedExtension::KeyUsage(usage) => {
                    description.key_usage = key_usages(usage.flags);
                }
                ParsedExtension::ExtendedKeyUsage(_) => {
                    description.extended_key_usage = purposes(extension.value);
                }
                ParsedExtension::SubjectKeyIdentifier(id) => {
                    description.subject_key_id = Some(id.0.to_vec());
                    description.order.push(Extension::SubjectKey);
                }
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    description.authority_key_id = Some(
                        id.key_identifier
                            .as_ref()
                            .map_or(&[][..], |id| id.0)
                            .to_vec(),
                    );
                    description.order.push(Extension::AuthorityKey);
                }
                ParsedExtension::SubjectAlternativeName(found) => {
                    description.names = found.general_names.iter().filter_map(alt_name).collect();
                    description.order.push(Extension::Names);
                }
                _ => {}
            }
        }
        Ok(description)
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key_id = |id: &Option<Vec<u8>>| {
            let id = id.as_deref().unwrap_or_default();
            colons(id).to_uppercase()
        };
        writeln!(f, "Certificate:\n    Data:")?;
        let coded = self.version.saturating_sub(1);
        writeln!(f, "        Version: {} ({coded:#x})", self.version)?;
        let (serial, hex) = (&self.serial, &self.serial_hex);
        writeln!(f, "        Serial Number: {serial} (0x{hex})")?;
        writeln!(f, "        Signature Algorithm: Ed25519")?;
        writeln!(f, "        Issuer: {}", self.issuer)?;
        writeln!(f, "        Validity")?;
        writeln!(f, "            Not Before: {}", rfc1123(self.not_before))?;
        writeln!(f, "            Not After : {}", rfc1123(self.not_after))?;
        writeln!(f, "        Subject: {}", self.subject)?;
        writeln!(f, "        Subject Public Key Info:")?;
        writeln!(f, "            Public Key Algorithm: Ed25519")?;
        writeln!(f, "                ED25519 Public-Key:")?;
        writeln!(f, "                pub:")?;
        let key = colons(self.public_key.as_bytes());
        writeln!(f, "                    {key}")?;
        writeln!(f, "        X509v3 extensions:")?;
        // As the original: also where the extension is absent, and whatever its flag.
        writeln!(f, "            X509v3 Basic Constraints: critical")?;
        let is_authority = if self.is_authority == Some(true) {
            "TRUE"
        } else {
            "FALSE"
        };
        writeln!(f, "                CA:{is_authority}")?;
        if !self.key_usage.is_empty() {
            writeln!(f, "            X509v3 Key Usage: critical")?;
            writeln!(f, "                {}", self.key_usage.join(", "))?;
        }
        if !self.extended_key_usage.is_empty() {
            writeln!(f, "            X509v3 Extended Key Usage:")?;
            writeln!(f, "                {}", self.extended_key_usage.join(", "))?;
        }
        for extension in &self.order {
            match extension {
                Extension::SubjectKey => {
                    writeln!(f, "            X509v3 Subject Key Identifier:")?;
                    writeln!(f, "                {}", key_id(&self.subject_key_id))?;
                }
                Extension::AuthorityKey => {
                    writeln!(f, "            X509v3 Authority Key Identifier:")?;
                    writeln!(f, "                {}", key_id(&self.authority_key_id))?;
                }
                Extension::Names => {
                    writeln!(f, "            X509v3 Subject Alternative Name:")?;
                    for name in &self.names {
                        writeln!(f, "                {name}")?;
                    }
                }
            }
        }
        writeln!(f, "    Signature Algorithm: Ed25519")?;
        writeln!(f, "    Signature Value:")?;
        for line in self.signature.chunks(16) {
            writeln!(f, "        {}", colons(line))?;
        }
        Ok(())
    }
}

/// A name as RFC 2253 writes it: the last part first, special characters escaped.
fn name(name: &X509Name<'_>) -> String {
    let parts: Vec<Vec<String>> = name
        .iter()
        .map(|part| {
            part.iter()
                .map(|attribute| {
                    let kind = attribute_type(attribute.attr_type());
                    let value = attribute.as_str().map_or_else(
                        |_| format!("#{}", hex_text(attribute.as_slice())),
                        escaped_value,
                    );
                    format!("{kind}={value}")
                })
                .collect()
        })
        .collect();
    let parts: Vec<String> = parts.iter().rev().map(|part| part.join("+")).collect();
    parts.join(",")
}

fn attribute_type(oid: &Oid<'_>) -> String {
    let id = oid.to_id_string();
    let short = match id.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "SERIALNUMBER",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.17" => "POSTALCODE",
        _ => return id,
    };
    short.to_owned()
}

fn escaped_value(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (at, c) in value.chars().enumerate() {
        let special = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (at == 0 && matches!(c, ' ' | '#'))
            || (at == last && c == ' ');
        if special {
            text.push('\\');
            text.push(c);
        } else {
            text.push(c);
        }
    }
    escape(&text)
}

fn alt_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{}", escape(name))),
        GeneralName::RFC822Name(email) => Some(format!("email:{}", escape(email))),
        GeneralName::IPAddress(bytes) => {
            let address = match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
                (Ok(four), _) => Ipv4Addr::from(four).to_string(),
                (_, Ok(sixteen)) => Ipv6Addr::from(sixteen).to_string(),
                _ => format!("?{}", hex_text(bytes)),
            };
            Some(format!("IP Address:{address}"))
        }
        _ => None,
    }
}

/// The bits of keyUsage, the first one in the lowest place.
fn key_usages(flags: u16) -> Vec<&'static str> {
    const NAMES: [&str; 9] = [
        "Digital Signature",
        "Non Repudiation (Content Commitment)",
        "Key Encipherment",
        "Data Encipherment",
        "Key Agreement",
        "Certificate Sign",
        "CRL Sign",
        "Encipher Only",
        "Decipher Only",
    ];
    NAMES
        .iter()
        .enumerate()
        .filter(|(bit, _)| flags & (1 << bit) != 0)
        .map(|(_, name)| *name)
        .collect()
}

/// The purposes in their order, of which the parser keeps no record.
fn purposes(value: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = tlv(value, 0x30).map_or(&[][..], |(list, _)| list);
    while let Some((oid, after)) = tlv(rest, 0x06) {
        let id = Oid::new(oid.into()).to_id_string();
        let name = match id.as_str() {
            "2.5.29.37.0" => "Any Extended Key Usage",
            "1.3.6.1.5.5.7.3.1" => "TLS Web Server Authentication",
            "1.3.6.1.5.5.7.3.2" => "TLS Web Client Authentication",
            "1.3.6.1.5.5.7.3.3" => "Code Signing",
            "1.3.6.1.5.5.7.3.4" => "E-mail Protection",
            "1.3.6.1.5.5.7.3.8" => "Time Stamping",
            "1.3.6.1.5.5.7.3.9" => "OCSP Signing",
            other => other,
        };
        names.push(name.to_owned());
        rest = after;
    }
    names
}

fn colons(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}

/// A moment such as `Fri, 20 Nov 2026 08:47:08 +0000`, always in UTC.
fn rfc1123(time: SystemTime) -> String {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let parsed = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| x509_parser::time::ASN1Time::from_timestamp(seconds).ok());
    let Some(time) = parsed else {
        return format!("second {seconds} of the Unix era");
    };
    let time = time.to_datetime();
    let (weekday, month) = (time.weekday().to_string(), time.month().to_string());
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} +0000",
        &weekday[..3],
        time.day(),
        &month[..3],
        time.year(),
        time.hour(),
        time.minute(),
        time.second(),
    )
}
