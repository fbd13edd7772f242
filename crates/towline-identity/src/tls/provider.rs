//! The cryptography below TLS: ring, or AWS-LC with the feature `aws-lc-rs`.

use rustls::SignatureScheme;
#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as library;
#[cfg(not(feature = "aws-lc-rs"))]
use rustls::crypto::ring as library;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};

use crate::cipher::CipherSuite;

/// The provider reduced to one suite and to Ed25519 signatures. It is named wherever a configuration
/// is made: with two libraries in one program rustls could not tell which is meant.
pub(super) fn provider(suite: CipherSuite) -> CryptoProvider {
    let wanted = match suite {
        CipherSuite::ChaCha20Poly1305 => rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        CipherSuite::Aes128Gcm => rustls::CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::Aes256Gcm => rustls::CipherSuite::TLS13_AES_256_GCM_SHA384,
    };
    let mut provider = library::default_provider();
    provider
        .cipher_suites
        .retain(|suite| suite.suite() == wanted);
    // docs/wire I18: the hybrid first, so that it is used whenever both ends have it.
    #[cfg(feature = "aws-lc-rs")]
    {
        provider.kx_groups = vec![
            library::kx_group::X25519MLKEM768,
            library::kx_group::X25519,
            library::kx_group::SECP256R1,
            library::kx_group::SECP384R1,
        ];
    }
    provider.signature_verification_algorithms =
        ed25519_only(provider.signature_verification_algorithms);
    provider
}

/// What QUIC's first packets are protected with, whatever suite is used afterwards: its version 1
/// knows no other than AES-128-GCM. They are readable by everybody.
pub fn quic_initial_suite() -> rustls::quic::Suite {
    library::cipher_suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .and_then(rustls::Tls13CipherSuite::quic_suite)
        .expect("the library has this suite for QUIC")
}

/// An empty set, which refuses every certificate, if the provider had no Ed25519.
fn ed25519_only(all: WebPkiSupportedAlgorithms) -> WebPkiSupportedAlgorithms {
    let ours = all
        .mapping
        .iter()
        .position(|(scheme, _)| *scheme == SignatureScheme::ED25519);
    match ours {
        Some(at) => WebPkiSupportedAlgorithms {
            all: all.mapping[at].1,
            mapping: &all.mapping[at..=at],
        },
        None => WebPkiSupportedAlgorithms {
            all: &[],
            mapping: &[],
        },
    }
}
