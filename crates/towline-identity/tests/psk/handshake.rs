//! docs/wire R1 to R8

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, PKCS_ED25519};
use ring::hmac;
use serde_json::Value;
use towline_identity::psk::{HandshakeError, Hello, HelloError, Layer, Session};
use towline_identity::tls::Unvouched;
use towline_identity::{
    Authorisation, Authority, AuthorityOptions, Identity, KnownKeys, LeafOptions, PreSharedKey,
    Trust, Verdict,
};

use crate::{bytes, entry, hex, vectors};

const CLIENT_RANDOM: [u8; 32] = [21; 32];
const SERVER_RANDOM: [u8; 32] = [42; 32];
const THERE: &str = "tcp://192.0.2.1:4000";

fn now() -> SystemTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates made here begin today"
    )]
    SystemTime::now()
}

fn write_secret(path: &Path, text: impl AsRef<[u8]>) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn shared_key(dir: &Path, file: &[u8]) -> PreSharedKey {
    let path = dir.join("psk.binary");
    write_secret(&path, file);
    PreSharedKey::load(&path).unwrap()
}

fn a_key() -> PreSharedKey {
    shared_key(tempfile::tempdir().unwrap().path(), &[5; 32])
}

fn layer(identity: Identity, trust: &Trust) -> Arc<Layer> {
    Arc::new(Layer::new(a_key(), Arc::new(identity), trust, &Authorisation::anyone()).unwrap())
}

fn pem(tag: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n",
        STANDARD.encode(der)
    )
}

/// An authority, and two ends with its certificates.
fn ends() -> (Authority, Arc<Layer>, Arc<Layer>) {
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    let end = |name: &str| {
        let identity = authority.issue(&LeafOptions::new(name)).unwrap();
        layer(identity, &Trust::authority())
    };
    let (client, server) = (end("client"), end("server"));
    (authority, client, server)
}

fn shake(client: &Arc<Layer>, server: &Arc<Layer>) -> Result<(Session, Session), HandshakeError> {
    let (dialling, hello) = client.dial(CLIENT_RANDOM, now())?;
    let (accepted, reply) = server.accept(THERE, &hello, SERVER_RANDOM, now())?;
    Ok((dialling.finish(THERE, &reply, now())?, accepted))
}

/// What a server says to a client's hello.
fn answer(server: &Layer, hello: &[u8]) -> Result<(), HandshakeError> {
    server.accept(THERE, hello, SERVER_RANDOM, now()).map(drop)
}

/// The hello with other bytes at a place, and a check sum that fits them.
fn resum(mut hello: Vec<u8>) -> Vec<u8> {
    let map = 8..hello.len() - 32;
    hello[..8].copy_from_slice(&((map.len()) as u64).to_be_bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA256, &hello[..8]);
    let sum = hmac::sign(&key, &hello[map.clone()]);
    hello[map.end..].copy_from_slice(sum.as_ref());
    hello
}

/// The `len` bytes of a value, whose header has `header` bytes.
fn field(hello: &[u8], key: &str, header: usize, len: usize) -> Vec<u8> {
    let key = key.as_bytes();
    let at = hello.windows(key.len()).position(|run| run == key).unwrap();
    let from = at + key.len() + header;
    hello[from..from + len].to_vec()
}

/// Replaces one run of bytes by another and sums up anew.
fn replaced(hello: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = hello
        .windows(from.len())
        .position(|run| run == from)
        .unwrap();
    resum([&hello[..at], to, &hello[at + from.len()..]].concat())
}

/// What the file has of one handshake: both messages, and all secrets.
const HANDSHAKE: [&str; 3] = [
    "handshake-1-client-to-server",
    "handshake-2-server-to-client",
    "handshake-secrets",
];

/// docs/wire R1
#[test]
fn base_keys_are_those_of_the_original() {
    let dir = tempfile::tempdir().unwrap();
    // These two here, and the rest in the handshake below: all there are.
    let all = vectors("psk-handshake.json");
    let names: Vec<&str> = all
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    let (keys, handshake) = names.split_at(2);
    assert_eq!(handshake, HANDSHAKE);
    for name in keys {
        let vector = entry(&all, name);
        let key = shared_key(dir.path(), &hex(&vector["hex"]));
        assert_eq!(
            key.as_bytes()[..],
            hex(&vector["decoded"]["preSharedKey_hex"]),
            "{name}"
        );
    }
}

/// docs/wire R2 to R8: both messages byte for byte, judged by the other end, and the key of both.
#[test]
fn a_handshake_of_the_original_is_repeated_byte_for_byte() {
    let entries = vectors("psk-handshake.json");
    let [first, second, secrets] = HANDSHAKE.map(|name| entry(&entries, name));
    let secrets = &secrets["decoded"];
    let dir = tempfile::tempdir().unwrap();
    let end = |name: &str| {
        let file = |suffix: &str| dir.path().join(format!("{name}.{suffix}"));
        let der = |field: &str| hex(&secrets[&format!("{name}_{field}_hex")]);
        write_secret(
            &dir.path().join("ca.crt"),
            pem("CERTIFICATE", &hex(&secrets["ca_cert_der_hex"])),
        );
        write_secret(&file("crt"), pem("CERTIFICATE", &der("cert_der")));
        write_secret(&file("key"), pem("PRIVATE KEY", &der("key_pkcs8")));
        let identity = Identity::load_at(dir.path(), name, time(first)).unwrap();
        let key = shared_key(
            dir.path(),
            &hex(&entry(&entries, "psk-file-to-base-key")["hex"]),
        );
        let (trust, anyone) = (Trust::authority(), Authorisation::anyone());
        Arc::new(Layer::new(key, Arc::new(identity), &trust, &anyone).unwrap())
    };
    let (client, server) = (end("client"), end("server"));

    let (dialling, hello) = client
        .dial(bytes(&secrets["client_ephem_private_clamped"]), time(first))
        .unwrap();
    assert_eq!(hello, hex(&first["hex"]));
    let private = bytes(&secrets["server_ephem_private_clamped"]);
    let (accepted, reply) = server.accept(THERE, &hello, private, time(second)).unwrap();
    assert_eq!(reply, hex(&second["hex"]));
    let dialled = dialling.finish(THERE, &reply, time(second)).unwrap();

    assert_eq!(dialled.key.as_bytes(), accepted.key.as_bytes());
    assert_eq!(dialled.key.as_bytes()[..], hex(&secrets["session_key_hex"]));
    let length = Hello::length(hello[..8].try_into().unwrap()).unwrap();
    assert_eq!(length, hello.len() - 8);
}

fn time(vector: &Value) -> SystemTime {
    let at = &vector["decoded"]["SenderSentAt"];
    let nanos = at["nanos"].as_u64().unwrap();
    UNIX_EPOCH
        + Duration::new(
            at["unix_sec"].as_u64().unwrap(),
            u32::try_from(nanos).unwrap(),
        )
}

#[test]
fn both_ends_know_each_other_and_have_a_key_of_their_own() {
    let (authority, client, server) = ends();
    let (dialled, accepted) = shake(&client, &server).unwrap();
    assert_eq!(dialled.key.as_bytes(), accepted.key.as_bytes());
    let peer = accepted.attempt.admit().unwrap();
    assert_eq!(peer.authority(), Some(authority.public_key()));
    assert_eq!(peer.address(), THERE);
    assert!(dialled.attempt.admit().unwrap().is_authenticated());
    // Another connection, another key.
    let (_, hello) = client.dial([1; 32], now()).unwrap();
    let (other, _) = server.accept(THERE, &hello, [2; 32], now()).unwrap();
    assert_ne!(other.key.as_bytes(), accepted.key.as_bytes());
}

/// docs/wire R8: nobody notices in the handshake; the first record tells.
#[test]
fn ends_with_different_files_get_different_keys() {
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let end = |file: &[u8], name: &str| {
        let identity = Arc::new(authority.issue(&LeafOptions::new(name)).unwrap());
        let key = shared_key(dir.path(), file);
        let (trust, anyone) = (Trust::authority(), Authorisation::anyone());
        Arc::new(Layer::new(key, identity, &trust, &anyone).unwrap())
    };
    let (dialled, accepted) = shake(&end(&[1; 32], "a"), &end(&[2; 32], "b")).unwrap();
    assert_ne!(dialled.key.as_bytes(), accepted.key.as_bytes());
}

/// docs/wire R5, F4: what comes instead of a hello is named.
#[test]
fn lengths_tell_who_speaks_something_else() {
    let length = |field: [u8; 8]| Hello::length(field);
    assert_eq!(
        length([0xb3, 0x5d, 0x18, 0x39, 0xac, 0x8e, 0x1d, 1]),
        Err(HelloError::NoKeyThere)
    );
    assert_eq!(
        length([0x16, 3, 1, 2, 0, 1, 0, 1]),
        Err(HelloError::TlsThere)
    );
    assert_eq!(length([0; 8]), Err(HelloError::Length(0)));
    assert_eq!(
        length(4097_u64.to_be_bytes()),
        Err(HelloError::Length(4097))
    );
    assert_eq!(
        length(u64::MAX.to_be_bytes()),
        Err(HelloError::Length(u64::MAX))
    );
    assert_eq!(length(914_u64.to_be_bytes()), Ok(946));
}

/// docs/wire R4: no byte of a hello can change unnoticed, and no length of it panics.
#[test]
fn a_damaged_hello_is_refused() {
    let (_authority, client, server) = ends();
    let (_, hello) = client.dial(CLIENT_RANDOM, now()).unwrap();
    for at in 0..hello.len() {
        let mut damaged = hello.clone();
        damaged[at] ^= 0x40;
        assert!(
            matches!(answer(&server, &damaged), Err(HandshakeError::Hello(_))),
            "byte {at}"
        );
        assert!(answer(&server, &hello[..at]).is_err(), "cut at {at}");
    }
    answer(&server, &hello).unwrap();
}

/// docs/wire R7: zeros, the points of low order, and keys of another length.
#[test]
fn keys_that_make_no_secret_are_refused() {
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    let issued = authority.issue(&LeafOptions::new("client")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    issued.save(dir.path(), "client", false).unwrap();
    let server = layer(
        authority.issue(&LeafOptions::new("server")).unwrap(),
        &Trust::authority(),
    );
    let client = layer(issued, &Trust::authority());
    let (_, hello) = client.dial(CLIENT_RANDOM, now()).unwrap();
    let public = field(&hello, "EphemPubKey_zid00_bin", 2, 32);
    let signature = field(&hello, "SignatureOfEphem_zid01_bin", 2, 64);
    let pair = ring::signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(
        &STANDARD
            .decode(
                fs::read_to_string(dir.path().join("client.key"))
                    .unwrap()
                    .lines()
                    .nth(1)
                    .unwrap(),
            )
            .unwrap(),
    )
    .unwrap();
    let with_key = |key: &[u8; 32]| {
        let hello = replaced(&hello, &public, key);
        replaced(&hello, &signature, pair.sign(key).as_ref())
    };
    // Made with the same key, so the rest of the message is in order.
    answer(&server, &with_key(&public.clone().try_into().unwrap())).unwrap();
    let zero = answer(&server, &with_key(&[0; 32]));
    assert!(matches!(
        zero,
        Err(HandshakeError::Hello(HelloError::Malformed(_)))
    ));
    for point in LOW_ORDER {
        let mut key = [0; 32];
        for (byte, at) in key.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&point[at..at + 2], 16).unwrap();
        }
        let refused = answer(&server, &with_key(&key));
        assert!(
            matches!(refused, Err(HandshakeError::WeakKey)),
            "{point}: {refused:?}"
        );
    }
    // 31 bytes, in a message that is otherwise whole.
    let short = replaced(
        &hello,
        &[&[0xc4, 32], &public[..]].concat(),
        &[&[0xc4, 31], &public[..31]].concat(),
    );
    assert!(matches!(
        answer(&server, &short),
        Err(HandshakeError::Hello(HelloError::Malformed(
            "its key has not 32 bytes"
        )))
    ));
    // Another key, signed by nobody.
    let stolen = replaced(&hello, &public, &[3; 32]);
    assert!(matches!(
        answer(&server, &stolen),
        Err(HandshakeError::Signature)
    ));
}

/// The points of order 1, 2, 4 and 8 on the curve and its twist, and their forms above the prime.
const LOW_ORDER: [&str; 6] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// docs/wire R6
#[test]
fn certificates_are_judged_as_in_tls_and_a_little_harder() {
    let (_authority, client, server) = ends();
    let (_, hello) = client.dial(CLIENT_RANDOM, now()).unwrap();
    // A foreign authority.
    let (_other, stranger, _) = ends();
    let (_, foreign) = stranger.dial(CLIENT_RANDOM, now()).unwrap();
    assert!(matches!(
        answer(&server, &foreign),
        Err(HandshakeError::Certificate(Unvouched::UnknownAuthority))
    ));
    // Ten years from now.
    let later = now() + Duration::from_secs(10 * 365 * 86_400);
    assert!(matches!(
        server.accept(THERE, &hello, SERVER_RANDOM, later),
        Err(HandshakeError::Certificate(Unvouched::Time))
    ));
    // No certificate at all.
    let certificate = field(&hello, "SigningCert_zid02_bin", 3, 300);
    let broken = replaced(&hello, &certificate, &[0; 300]);
    assert!(matches!(
        answer(&server, &broken),
        Err(HandshakeError::Certificate(Unvouched::Certificate(_)))
    ));
}

/// docs/wire R6: both ends need a certificate for servers, or one that does not say what it is for.
#[test]
fn a_certificate_for_clients_only_is_refused() {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let mut root = CertificateParams::new(vec!["ca".to_owned()]).unwrap();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root_certificate = root.self_signed(&key).unwrap();
    let issuer = Issuer::from_params(&root, &key);
    let dir = tempfile::tempdir().unwrap();
    write_secret(&dir.path().join("ca.crt"), root_certificate.pem());
    let end = |name: &str, usage: &[ExtendedKeyUsagePurpose]| {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        leaf.extended_key_usages = usage.to_vec();
        let certificate = leaf.signed_by(&key, &issuer).unwrap();
        write_secret(&dir.path().join(format!("{name}.crt")), certificate.pem());
        write_secret(&dir.path().join(format!("{name}.key")), key.serialize_pem());
        layer(
            Identity::load(dir.path(), name).unwrap(),
            &Trust::authority(),
        )
    };
    let server = end("server", &[ExtendedKeyUsagePurpose::ServerAuth]);
    let client = end("client", &[ExtendedKeyUsagePurpose::ClientAuth]);
    assert!(matches!(
        shake(&client, &server),
        Err(HandshakeError::Certificate(Unvouched::Purpose))
    ));
    shake(&end("silent", &[]), &server).unwrap();
}

/// docs/wire R6: anyone in TLS is not anyone here; pins and authorisation hold.
#[test]
fn trust_and_authorisation_hold_here_too() {
    let (_authority, client, _) = ends();
    let foreign = || {
        Authority::generate(&AuthorityOptions::new())
            .unwrap()
            .issue(&LeafOptions::new("server"))
            .unwrap()
    };
    let open = layer(foreign(), &Trust::dangerous_anyone());
    let (_, hello) = client.dial(CLIENT_RANDOM, now()).unwrap();
    assert!(matches!(
        answer(&open, &hello),
        Err(HandshakeError::Certificate(Unvouched::UnknownAuthority))
    ));
    // Dialled by its key, whoever signed it.
    let server = foreign();
    let pin = Trust::keys([server.public_key()]);
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    let identity = || authority.issue(&LeafOptions::new("client")).unwrap();
    let client = identity();
    let server = layer(server, &Trust::keys([client.public_key()]));
    shake(&layer(client, &pin), &server).unwrap();
    let refused = shake(&layer(identity(), &pin), &server).map(drop);
    assert!(
        matches!(refused, Err(HandshakeError::Refused(_))),
        "{refused:?}"
    );
    // Somebody says no.
    let nobody = Authorisation::by_peer(|_| Verdict::Refuse("closed on Sundays".to_owned()));
    let closed = Layer::new(a_key(), Arc::new(identity()), &Trust::authority(), &nobody).unwrap();
    let closed = Arc::new(closed);
    let Err(HandshakeError::Refused(refusal)) =
        shake(&layer(identity(), &Trust::authority()), &closed)
    else {
        panic!("it was let in");
    };
    assert!(refusal.to_string().contains("closed on Sundays"));
}

/// docs/wire R6, I41: a borrowed certificate is not recorded; the holder's own is, once admitted.
#[test]
fn a_new_key_is_recorded_when_it_has_been_proven() {
    let (authority, client, _) = ends();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("known_client_keys");
    write_secret(&path, "");
    let known = Trust::known_keys(KnownKeys::open(&path).unwrap());
    let server = layer(
        authority.issue(&LeafOptions::new("server")).unwrap(),
        &known,
    );
    let (_, hello) = client.dial(CLIENT_RANDOM, now()).unwrap();
    let public = field(&hello, "EphemPubKey_zid00_bin", 2, 32);
    let borrowed = replaced(&hello, &public, &[3; 32]);
    assert!(matches!(
        answer(&server, &borrowed),
        Err(HandshakeError::Signature)
    ));
    let lines = || {
        fs::read_to_string(&path)
            .unwrap_or_default()
            .lines()
            .count()
    };
    let before = lines();
    let (accepted, _) = server.accept(THERE, &hello, SERVER_RANDOM, now()).unwrap();
    assert!(server.reads_files() && accepted.attempt.must_record());
    accepted.attempt.admit().unwrap();
    assert!(lines() > before);
}

/// docs/wire R21: both ends offer it or nothing comes of it, and who does not know of it passes it over.
#[test]
fn both_ends_agree_to_prove_their_keys_or_neither_does() {
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    let end = |name: &str, confirms: bool| {
        let identity = Arc::new(authority.issue(&LeafOptions::new(name)).unwrap());
        let layer = Layer::new(
            a_key(),
            identity,
            &Trust::authority(),
            &Authorisation::anyone(),
        );
        let layer = layer.unwrap();
        Arc::new(if confirms { layer.confirming() } else { layer })
    };
    for (client, server) in [(true, true), (true, false), (false, true), (false, false)] {
        let both = client && server;
        let ends = (end("client", client), end("server", server));
        let (_, hello) = ends.0.dial(CLIENT_RANDOM, now()).unwrap();
        let offers = hello.windows(9).any(|run| run == b"\xa7towline\xc3");
        assert_eq!(offers, client);
        assert!(hello.len() <= 8 + 914 + 32);
        let (dialled, accepted) = shake(&ends.0, &ends.1).unwrap();
        assert_eq!((dialled.confirms, accepted.confirms), (both, both));
        assert_eq!(dialled.key.as_bytes(), accepted.key.as_bytes());
    }
}
