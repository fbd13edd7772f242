//! Handshakes between rustls connections in memory: who is let in, and what the other side hears.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod support;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{ExtendedKeyUsagePurpose, KeyPair};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, NamedGroup, ServerConfig, ServerConnection};
use rustls_pki_types::{PrivateKeyDer, UnixTime};
use towline_identity::tls::{self, TlsProblem};
use towline_identity::{Authority, AuthorityOptions, CipherSuite, Identity, LeafOptions, Profile};

use support::*;

#[test]
fn both_sides_prove_themselves_with_each_suite() {
    let authority = authority();
    let (node, ada) = (identity(&authority, "node"), identity(&authority, "ada"));
    for suite in CipherSuite::ALL {
        let client = tls::client_config(&ada, suite).unwrap();
        let server = tls::server_config(&node, suite).unwrap();
        let done = shake(&client, &server);
        assert_eq!((done.client, done.server), (Ok(()), Ok(())));
        let expected = match suite {
            CipherSuite::Aes128Gcm => rustls::CipherSuite::TLS13_AES_128_GCM_SHA256,
            CipherSuite::Aes256Gcm => rustls::CipherSuite::TLS13_AES_256_GCM_SHA384,
            _ => rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        };
        assert_eq!(
            done.client_end.negotiated_cipher_suite().unwrap().suite(),
            expected
        );
        assert_eq!(
            done.client_end.protocol_version(),
            Some(rustls::ProtocolVersion::TLSv1_3)
        );
        assert_eq!(done.client_end.alpn_protocol(), None);
        let seen = tls::peer(&done.server_end, "tcp://1.2.3.4:5").unwrap();
        assert_eq!(seen.public_key(), Some(ada.public_key()));
        assert_eq!(seen.emails(), ["ada@localhost"]);
        let seen = tls::peer(&done.client_end, "tcp://1.2.3.4:5").unwrap();
        assert_eq!(seen.public_key(), Some(node.public_key()));
        assert_eq!(done.server_end.server_name(), Some("localhost"));
        assert_eq!(done.client_end.tls13_tickets_received(), 0);
    }
}

/// docs/wire I18
#[test]
fn the_key_agreement_is_the_best_that_both_ends_have() {
    let authority = authority();
    let (node, ada) = (identity(&authority, "node"), identity(&authority, "ada"));
    let group = |client: &Arc<ClientConfig>, server: &Arc<ServerConfig>| {
        let done = shake(client, server);
        assert_eq!((&done.client, &done.server), (&Ok(()), &Ok(())));
        done.server_end
            .negotiated_key_exchange_group()
            .unwrap()
            .name()
    };
    let client = tls::client_config(&ada, CHACHA).unwrap();
    let server = tls::server_config(&node, CHACHA).unwrap();
    let ours = if cfg!(feature = "aws-lc-rs") {
        NamedGroup::X25519MLKEM768
    } else {
        NamedGroup::X25519
    };
    assert_eq!(group(&client, &server), ours);

    // Ends that have only ring.
    let (_, chain, key) = own_leaf(&authority, "old");
    let old = foreign_client(&authority, Some((chain.clone(), key.clone_key())));
    assert_eq!(group(&old, &server), NamedGroup::X25519);
    let old = foreign_server(chain, key);
    assert_eq!(group(&client, &old), NamedGroup::X25519);
}

#[test]
fn a_suite_of_ones_own_is_refused_with_a_reason() {
    let authority = authority();
    let client = tls::client_config(&identity(&authority, "ada"), CHACHA).unwrap();
    let server = tls::server_config(&identity(&authority, "node"), CipherSuite::Aes128Gcm).unwrap();
    let done = shake(&client, &server);
    assert!(refused(&done.client).contains("cipher suite"));
    let Err(TlsProblem::Incompatible(why)) = done.server else {
        panic!("{:?}", done.server)
    };
    assert!(why.contains("?cipher="), "{why}");
}

#[test]
fn a_peer_that_offers_every_suite_gets_ours() {
    let authority = authority();
    let node = identity(&authority, "node");
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let (chain, key) = odd_leaf(&authority, &key, "localhost");
    let done = shake(
        &foreign_client(&authority, Some((chain, key))),
        &tls::server_config(&node, CHACHA).unwrap(),
    );
    assert_eq!((done.client, done.server), (Ok(()), Ok(())));
    let suite = done.server_end.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
}

/// The clock of a connection.
#[derive(Debug)]
struct At(SystemTime);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Some(UnixTime::since_unix_epoch(since))
    }
}

/// docs/wire I10: a listener may run for longer than the authority lasts, and a configuration is made
/// once.
#[test]
fn an_authority_counts_in_its_own_time_only() {
    let day = Duration::from_secs(24 * 3600);
    #[expect(
        clippy::disallowed_methods,
        reason = "configurations are made by this clock"
    )]
    let now = SystemTime::now();
    let options = AuthorityOptions::new().days(10).at(now + 2 * day);
    let authority = Authority::generate(&options).unwrap();
    // The original's leaves may outlive their authority.
    let leaf = |name| {
        let options = LeafOptions::new(name).profile(Profile::Selfy).at(now);
        authority.issue(&options).unwrap()
    };
    let (node, ada) = (leaf("node"), leaf("ada"));
    let server = tls::server_config(&node, CHACHA).unwrap();
    let client = tls::client_config(&ada, CHACHA).unwrap();
    let shake_at = |seen_by_client: SystemTime, seen_by_server: SystemTime| {
        let (mut client, mut server) = ((*client).clone(), (*server).clone());
        client.time_provider = Arc::new(At(seen_by_client));
        server.time_provider = Arc::new(At(seen_by_server));
        shake(&Arc::new(client), &Arc::new(server))
    };
    let within = now + 5 * day;
    let done = shake_at(within, within);
    assert_eq!((done.client, done.server), (Ok(()), Ok(())));
    for (moment, why) in [
        (now + day, "is not valid before"),
        (now + 13 * day, "expired on"),
    ] {
        let done = shake_at(moment, within);
        assert!(
            certificate_refused(&done.client).contains(why),
            "{:?}",
            done.client
        );
        let done = shake_at(within, moment);
        assert!(
            certificate_refused(&done.server).contains(why),
            "{:?}",
            done.server
        );
        assert!(
            refused(&done.client).contains("authority"),
            "{:?}",
            done.client
        );
    }
}

#[test]
fn a_foreign_authority_of_the_same_name_is_refused_by_both_sides() {
    let (ours, theirs) = (authority(), authority());
    let server = tls::server_config(&identity(&ours, "node"), CHACHA).unwrap();
    let client = tls::client_config(&identity(&theirs, "ada"), CHACHA).unwrap();
    // The client judges first and refuses the server.
    let done = shake(&client, &server);
    assert!(certificate_refused(&done.client).contains("authority we do not know"));
    assert!(refused(&done.server).contains("authority of our certificate"));

    // A client that would trust the server is refused by it, and hears why at its first read.
    let dir = tempfile::tempdir().unwrap();
    identity(&theirs, "eve")
        .save(dir.path(), "eve", false)
        .unwrap();
    let key = PrivateKeyDer::try_from(
        pem::parse(fs::read(dir.path().join("eve.key")).unwrap())
            .unwrap()
            .into_contents(),
    );
    let chain = vec![
        pem::parse(fs::read(dir.path().join("eve.crt")).unwrap())
            .unwrap()
            .into_contents()
            .into(),
    ];
    let done = shake(&foreign_client(&ours, Some((chain, key.unwrap()))), &server);
    assert!(certificate_refused(&done.server).contains("authority we do not know"));
    assert!(refused(&done.client).contains("authority of our certificate"));
    assert!(
        !done.client_end.is_handshaking(),
        "the refusal comes after the client's own handshake"
    );
}

#[test]
fn two_authorities_in_one_file_are_both_trusted() {
    let (old, new) = (authority(), authority());
    let dir = tempfile::tempdir().unwrap();
    identity(&old, "node")
        .save(dir.path(), "node", false)
        .unwrap();
    let other = tempfile::tempdir().unwrap();
    new.save(other.path(), false).unwrap();
    let both = fs::read_to_string(dir.path().join("ca.crt")).unwrap()
        + &fs::read_to_string(other.path().join("ca.crt")).unwrap();
    fs::write(dir.path().join("ca.crt"), both).unwrap();
    let node = Identity::load(dir.path(), "node").unwrap();
    let server = tls::server_config(&node, CHACHA).unwrap();
    for authority in [&old, &new] {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let chain = odd_leaf(authority, &key, "ignored.example");
        let done = shake(&foreign_client(&old, Some(chain)), &server);
        assert_eq!((done.client, done.server), (Ok(()), Ok(())));
    }
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let authority = authority();
    let server = tls::server_config(&identity(&authority, "node"), CHACHA).unwrap();
    let done = shake(&foreign_client(&authority, None), &server);
    assert_eq!(done.server, Err(TlsProblem::NoCertificate));
    assert!(refused(&done.client).contains("wants a certificate"));
}

#[test]
fn expired_and_future_certificates_are_refused_by_both_sides() {
    let day = Duration::from_secs(24 * 3600);
    #[expect(
        clippy::disallowed_methods,
        reason = "rustls judges certificates by this clock"
    )]
    let now = SystemTime::now();
    let authority = Authority::generate(&AuthorityOptions::new().at(now - 30 * day)).unwrap();
    let good = identity(&authority, "good");
    let expired = authority
        .issue(&LeafOptions::new("old").days(1).at(now - 20 * day))
        .unwrap();
    let future = authority
        .issue(&LeafOptions::new("new").at(now + day))
        .unwrap();
    for (bad, word) in [(&expired, "expired"), (&future, "not valid yet")] {
        let server = tls::server_config(bad, CHACHA).unwrap();
        let done = shake(&tls::client_config(&good, CHACHA).unwrap(), &server);
        assert!(
            certificate_refused(&done.client).contains(word),
            "{:?}",
            done.client
        );
        assert!(refused(&done.server).contains("expired"));
        let server = tls::server_config(&good, CHACHA).unwrap();
        let done = shake(&tls::client_config(bad, CHACHA).unwrap(), &server);
        assert!(
            certificate_refused(&done.server).contains(word),
            "{:?}",
            done.server
        );
        assert!(refused(&done.client).contains("expired"));
    }
}

#[test]
fn an_expired_authority_makes_no_configuration() {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let authority = Authority::generate(&AuthorityOptions::new().days(1).at(then)).unwrap();
    let old = authority.issue(&LeafOptions::new("old").at(then)).unwrap();
    let error = tls::server_config(&old, CHACHA).unwrap_err().to_string();
    assert!(
        error.contains("expired") && error.contains("2020"),
        "{error}"
    );
    assert!(tls::client_config(&old, CHACHA).is_err());
}

#[test]
fn a_server_not_made_out_to_localhost_is_refused() {
    let authority = authority();
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let (chain, key) = odd_leaf(&authority, &key, "example.com");
    let client = tls::client_config(&identity(&authority, "ada"), CHACHA).unwrap();
    let done = shake(&client, &foreign_server(chain, key));
    assert!(
        certificate_refused(&done.client).contains("`localhost`"),
        "{:?}",
        done.client
    );
    assert!(refused(&done.server).contains("does not accept our certificate"));
}

/// docs/wire I11, I12
#[test]
fn a_certificate_for_the_other_side_only_is_refused() {
    let authority = authority();
    let ours = identity(&authority, "ours");
    for (usage, client_passes) in [
        (ExtendedKeyUsagePurpose::ServerAuth, false),
        (ExtendedKeyUsagePurpose::ClientAuth, true),
    ] {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let (chain, key) = leaf_for(&authority, &key, "localhost", vec![usage]);
        let server = tls::server_config(&ours, CHACHA).unwrap();
        let as_client = foreign_client(&authority, Some((chain.clone(), key.clone_key())));
        let done = shake(&as_client, &server);
        assert_eq!(done.server.is_ok(), client_passes, "{:?}", done.server);
        let client = tls::client_config(&ours, CHACHA).unwrap();
        let done = shake(&client, &foreign_server(chain, key));
        assert_eq!(done.client.is_ok(), !client_passes, "{:?}", done.client);
    }
}

#[test]
fn keys_other_than_ed25519_are_refused_both_ways() {
    let authority = authority();
    let ours = identity(&authority, "ours");
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let (chain, key) = odd_leaf(&authority, &key, "localhost");
    let client = tls::client_config(&ours, CHACHA).unwrap();
    let done = shake(&client, &foreign_server(chain.clone(), key.clone_key()));
    assert!(
        refused(&done.client).contains("kind of key"),
        "{:?}",
        done.client
    );
    let server = tls::server_config(&ours, CHACHA).unwrap();
    // rustls finds no scheme it may sign with and therefore sends no certificate at all.
    let done = shake(&foreign_client(&authority, Some((chain, key))), &server);
    assert_eq!(done.server, Err(TlsProblem::NoCertificate));
}

#[test]
fn an_ecdsa_certificate_beside_a_good_leaf_is_refused() {
    let authority = authority();
    let ours = identity(&authority, "ours");
    let extra = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let extra = odd_leaf(&authority, &extra, "localhost").0;
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let (mut chain, key) = odd_leaf(&authority, &key, "localhost");
    chain.extend(extra);
    let client = tls::client_config(&ours, CHACHA).unwrap();
    let done = shake(&client, &foreign_server(chain.clone(), key.clone_key()));
    assert!(
        certificate_refused(&done.client).contains("only Ed25519"),
        "{:?}",
        done.client
    );
    let server = tls::server_config(&ours, CHACHA).unwrap();
    let done = shake(&foreign_client(&authority, Some((chain, key))), &server);
    assert!(
        certificate_refused(&done.server).contains("only Ed25519"),
        "{:?}",
        done.server
    );
}

/// A ClientHello as TLS 1.2 clients send it: no supported_versions extension.
fn tls12_hello() -> Vec<u8> {
    let mut body = vec![0x03, 0x03];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0]); // no session
    body.extend_from_slice(&[0, 2, 0xc0, 0x2f]); // ECDHE_RSA_WITH_AES_128_GCM_SHA256
    body.extend_from_slice(&[1, 0]); // no compression
    let extensions = [0, 10, 0, 4, 0, 2, 0, 29, 0, 13, 0, 4, 0, 2, 8, 7]; // X25519; Ed25519
    body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    body.extend_from_slice(&extensions);
    let mut record = vec![0x16, 0x03, 0x01];
    record.extend_from_slice(&(body.len() as u16 + 4).to_be_bytes());
    record.extend_from_slice(&[1, 0, 0, body.len() as u8]);
    record.extend_from_slice(&body);
    record
}

fn feed(bytes: &[u8]) -> (Result<(), TlsProblem>, Vec<u8>) {
    let server = tls::server_config(&identity(&authority(), "node"), CHACHA).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    let mut input = bytes;
    server.read_tls(&mut input).unwrap();
    let result = server
        .process_new_packets()
        .map(drop)
        .map_err(|error| TlsProblem::from_error(&error));
    let mut answer = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut answer).unwrap();
    }
    (result, answer)
}

#[test]
fn a_tls_1_2_client_hears_protocol_version() {
    let (result, answer) = feed(&tls12_hello());
    let Err(TlsProblem::Incompatible(why)) = result else {
        panic!("{result:?}")
    };
    assert!(why.contains("TLS 1.3"), "{why}");
    assert_eq!(
        answer.last_chunk(),
        Some(&[2, 70]),
        "a fatal protocol_version alert"
    );
}

#[test]
fn plain_text_is_recognised() {
    for text in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"\xb3\x2a\x11\x07\x00\x00\x00\x00\x00\x00\x00\x10",
        &[0; 64],
    ] {
        assert_eq!(feed(text).0, Err(TlsProblem::NotTls), "{text:?}");
    }
}
