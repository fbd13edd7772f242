//! Handshakes in memory, and peers that do not keep our rules.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use std::fs;
use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use towline_identity::tls::{SERVER_NAME, TlsProblem};
use towline_identity::{Authority, AuthorityOptions, CipherSuite, Identity, LeafOptions};

pub(crate) const CHACHA: CipherSuite = CipherSuite::ChaCha20Poly1305;

pub(crate) fn authority() -> Authority {
    Authority::generate(&AuthorityOptions::new()).unwrap()
}

pub(crate) fn identity(authority: &Authority, name: &str) -> Identity {
    authority.issue(&LeafOptions::new(name)).unwrap()
}

pub(crate) struct Outcome {
    pub(crate) client: Result<(), TlsProblem>,
    pub(crate) server: Result<(), TlsProblem>,
    pub(crate) client_end: ClientConnection,
    pub(crate) server_end: ServerConnection,
}

/// Carries bytes both ways until neither side has any more to say.
pub(crate) fn shake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Outcome {
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    let mut client_end = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server_end = ServerConnection::new(Arc::clone(server)).unwrap();
    let (mut client_result, mut server_result) = (Ok(()), Ok(()));
    let mut wire = Vec::new();
    loop {
        wire.clear();
        while client_end.wants_write() {
            client_end.write_tls(&mut wire).unwrap();
        }
        let mut moved = !wire.is_empty();
        let mut input = wire.as_slice();
        while !input.is_empty() && server_result.is_ok() {
            server_end.read_tls(&mut input).unwrap();
            server_result = server_end
                .process_new_packets()
                .map(drop)
                .map_err(|error| TlsProblem::from_error(&error));
        }
        wire.clear();
        while server_end.wants_write() {
            server_end.write_tls(&mut wire).unwrap();
        }
        moved |= !wire.is_empty();
        let mut input = wire.as_slice();
        while !input.is_empty() && client_result.is_ok() {
            client_end.read_tls(&mut input).unwrap();
            client_result = client_end
                .process_new_packets()
                .map(drop)
                .map_err(|error| TlsProblem::from_error(&error));
        }
        if !moved {
            return Outcome {
                client: client_result,
                server: server_result,
                client_end,
                server_end,
            };
        }
    }
}

/// A client without our rules: any key, any chain, trusting `authority`.
pub(crate) fn foreign_client(
    authority: &Authority,
    chain: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.certificate_der().to_vec().into())
        .unwrap();
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
    Arc::new(match chain {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
    })
}

/// A server without our rules that asks for no client certificate.
pub(crate) fn foreign_server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Arc<ServerConfig> {
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
    Arc::new(config)
}

/// A leaf of `authority` with another key type or another name than towline would make, for any use.
pub(crate) fn odd_leaf(
    authority: &Authority,
    key: &KeyPair,
    name: &str,
) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    leaf_for(authority, key, name, Vec::new())
}

/// The same for these uses only.
pub(crate) fn leaf_for(
    authority: &Authority,
    key: &KeyPair,
    name: &str,
    usages: Vec<ExtendedKeyUsagePurpose>,
) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let dir = tempfile::tempdir().unwrap();
    authority.save(dir.path(), false).unwrap();
    let authority_key =
        KeyPair::from_pem(&fs::read_to_string(dir.path().join("ca.key")).unwrap()).unwrap();
    let issuer =
        Issuer::from_ca_cert_der(&authority.certificate_der().into(), authority_key).unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.extended_key_usages = usages;
    let leaf = params.signed_by(key, &issuer).unwrap();
    (
        vec![leaf.der().clone()],
        PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    )
}

pub(crate) fn refused(result: &Result<(), TlsProblem>) -> &str {
    match result {
        Err(TlsProblem::Refused(why)) => why,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

pub(crate) fn certificate_refused(result: &Result<(), TlsProblem>) -> &str {
    match result {
        Err(TlsProblem::PeerCertificate(why)) => why,
        other => panic!("expected a certificate to be refused, got {other:?}"),
    }
}

/// A leaf of `authority` as towline makes it, in the form other TLS programs take it.
pub(crate) fn own_leaf(
    authority: &Authority,
    name: &str,
) -> (
    Identity,
    Vec<CertificateDer<'static>>,
    PrivateKeyDer<'static>,
) {
    let identity = identity(authority, name);
    let dir = tempfile::tempdir().unwrap();
    identity.save(dir.path(), name, false).unwrap();
    let read = |kind: &str| {
        let text = fs::read(dir.path().join(format!("{name}.{kind}"))).unwrap();
        pem::parse(text).unwrap().into_contents()
    };
    let key = PrivateKeyDer::try_from(read("key")).unwrap();
    (identity, vec![read("crt").into()], key)
}

/// A client that signs with `key` for whatever certificates it shows.
pub(crate) fn foreign_client_unchecked(
    authority: &Authority,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.certificate_der().to_vec().into())
        .unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let resolver =
        rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(chain, key));
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(resolver));
    Arc::new(config)
}
