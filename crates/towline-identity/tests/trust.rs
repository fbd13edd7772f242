//! Whom each kind of trust lets in, inside the handshake, and what the refused hear.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rcgen::KeyPair;
use tempfile::TempDir;
use towline_identity::tls::{self, Attempt, TlsProblem};
use towline_identity::{
    Authorisation, Authority, AuthorityOptions, FirstSeen, Identity, KnownKey, KnownKeys,
    LeafOptions, Peer, Trust, Verdict,
};

use support::*;

const CLIENT: &str = "tcp://10.1.2.3:4000";
const SERVER: &str = "tcp://10.9.9.9:443";

/// A handshake, and what each side knows after it.
struct Meeting {
    done: Outcome,
    server: Attempt,
    client: Attempt,
}

fn meet(server: &tls::Acceptor, client: &tls::Connector) -> Meeting {
    let (server_config, server) = server.begin(CLIENT).unwrap();
    let (client_config, client) = client.begin(SERVER).unwrap();
    Meeting {
        done: shake(&client_config, &server_config),
        server,
        client,
    }
}

fn acceptor(identity: &Identity, trust: &Trust) -> tls::Acceptor {
    tls::Acceptor::new(identity, trust, &Authorisation::anyone(), CHACHA).unwrap()
}

fn connector(identity: &Identity, trust: &Trust) -> tls::Connector {
    tls::Connector::new(Some(identity), trust, CHACHA).unwrap()
}

fn assert_ok(done: &Outcome) {
    assert_eq!((&done.client, &done.server), (&Ok(()), &Ok(())));
}

/// The refused side hears access_denied.
fn assert_denied(heard: &Result<(), TlsProblem>) {
    let why = refused(heard);
    assert!(why.contains("does not let our key in"), "{why}");
}

/// An empty file that learns.
fn known() -> (TempDir, PathBuf, KnownKeys) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("known_client_keys");
    KnownKeys::unlock(&path).unwrap();
    let known = KnownKeys::open(&path).unwrap();
    (dir, path, known)
}

fn admit(identity: &Identity, file: &PathBuf) {
    KnownKeys::add(file, KnownKey::new(identity.public_key(), "-", "")).unwrap();
}

/// docs/wire I26, I41
#[test]
fn a_new_key_is_recorded_once_it_is_admitted_and_known_from_then_on() {
    let authority = authority();
    let (node, ada) = (identity(&authority, "node"), identity(&authority, "ada"));
    let (_dir, path, known) = known();
    let server = acceptor(&node, &Trust::known_keys(known));
    let client = connector(&ada, &Trust::authority());

    let first = meet(&server, &client);
    assert_ok(&first.done);
    assert!(first.server.must_record());
    assert_eq!(fs::read(&path).unwrap(), b"", "not before it is admitted");
    let peer = first.server.admit().unwrap();
    assert_eq!(peer.public_key(), Some(ada.public_key()));
    assert_eq!(peer.emails(), ["ada@localhost"]);
    assert_eq!(peer.authority(), Some(authority.public_key()));
    assert_eq!(peer.first_seen(), Some(&FirstSeen::Now));
    assert_eq!(peer.address(), CLIENT);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(
        text,
        format!(
            "# known_pub_keys file: address pubkey-identity-string\n\
             10.1.2.3 pubkey@edwardsRPC-ed25519-b58c-{}:ada@localhost\n",
            ada.public_key()
        )
    );

    let again = meet(&server, &client);
    assert!(!again.server.must_record());
    let peer = again.server.admit().unwrap();
    let Some(FirstSeen::Before { address }) = peer.first_seen() else {
        panic!("{peer:?}")
    };
    assert_eq!(address, "10.1.2.3");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    // The client asked no file.
    assert_eq!(again.client.admit().unwrap().first_seen(), None);
}

/// docs/wire I46
#[test]
fn an_unknown_key_is_refused_within_the_handshake_and_the_log_can_admit_it() {
    let authority = authority();
    let (node, ada) = (identity(&authority, "node"), identity(&authority, "ada"));
    let eve = identity(&authority, "eve");
    let (_dir, path, known) = known();
    admit(&ada, &path);
    KnownKeys::lock(&path).unwrap();
    let server = acceptor(&node, &Trust::known_keys(known));
    assert_ok(&meet(&server, &connector(&ada, &Trust::authority())).done);

    let meeting = meet(&server, &connector(&eve, &Trust::authority()));
    assert!(meeting.done.server.is_err());
    assert_denied(&meeting.done.client);
    assert!(!meeting.server.must_record());
    let refusal = meeting.server.refusal().unwrap();
    assert_eq!(meeting.server.admit().unwrap_err(), refusal);
    assert_eq!(refusal.peer().public_key(), Some(eve.public_key()));
    let (text, key) = (refusal.to_string(), eve.public_key());
    let command = format!("tow keys known add {key} --file {}", path.display());
    for part in [
        key.to_string(),
        key.fingerprint().to_string(),
        "<eve@localhost>".to_owned(),
        command.clone(),
    ] {
        assert!(text.contains(&part), "{text}");
    }
    assert_eq!(refusal.remedy(), Some(command));

    // What the command does.
    admit(&eve, &path);
    assert_ok(&meet(&server, &connector(&eve, &Trust::authority())).done);
}

/// docs/wire I46: towards a server too, before a byte of the application is sent.
#[test]
fn a_client_refuses_an_unknown_server() {
    let authority = authority();
    let (node, ada) = (identity(&authority, "node"), identity(&authority, "ada"));
    let (_dir, path, known) = known();
    admit(&ada, &path);
    KnownKeys::lock(&path).unwrap();
    let meeting = meet(
        &acceptor(&node, &Trust::authority()),
        &connector(&ada, &Trust::known_keys(known)),
    );
    assert!(meeting.done.client.is_err());
    assert_denied(&meeting.done.server);
    let refusal = meeting.client.refusal().unwrap();
    assert_eq!(refusal.peer().public_key(), Some(node.public_key()));
}

/// docs/wire I14: the attack on the original, whose check walks all certificates that a peer sends.
#[test]
fn a_borrowed_certificate_does_not_open_a_locked_door() {
    let authority = authority();
    let (node, ada) = (identity(&authority, "node"), identity(&authority, "ada"));
    let (eve, mut chain, key) = own_leaf(&authority, "eve");
    // Ada's certificate is no secret.
    chain.push(ada.certificate_der().to_vec().into());
    let (_dir, path, known) = known();
    admit(&ada, &path);
    KnownKeys::lock(&path).unwrap();
    let text = fs::read(&path).unwrap();

    let server = acceptor(&node, &Trust::known_keys(known));
    let (config, attempt) = server.begin(CLIENT).unwrap();
    let done = shake(
        &foreign_client(&authority, Some((chain.clone(), key.clone_key()))),
        &config,
    );
    assert!(done.server.is_err());
    assert_denied(&done.client);
    let refusal = attempt.refusal().unwrap();
    assert_eq!(refusal.peer().public_key(), Some(eve.public_key()));
    assert_eq!(fs::read(&path).unwrap(), text);

    // With ada's certificate in front eve cannot sign for it.
    chain.swap(0, 1);
    let (config, attempt) = server.begin(CLIENT).unwrap();
    let done = shake(&foreign_client_unchecked(&authority, chain, key), &config);
    assert!(done.server.is_err());
    assert!(attempt.refusal().is_none(), "nobody has proven a key");
    assert!(attempt.admit().is_err());
}

/// docs/wire I14, I41: in learning mode the original lists whatever is sent along.
#[test]
fn only_the_leaf_is_recorded() {
    let authority = authority();
    let node = identity(&authority, "node");
    let (eve, mut chain, key) = own_leaf(&authority, "eve");
    chain.push(
        identity(&authority, "ada")
            .certificate_der()
            .to_vec()
            .into(),
    );
    chain.push(authority.certificate_der().to_vec().into());
    let (_dir, _path, known) = known();
    let server = acceptor(&node, &Trust::known_keys(known.clone()));
    let (config, attempt) = server.begin(CLIENT).unwrap();
    let done = shake(&foreign_client(&authority, Some((chain, key))), &config);
    assert_ok(&done);
    attempt.admit().unwrap();
    let list = known.list().unwrap();
    let keys: Vec<_> = list.keys().iter().map(KnownKey::public_key).collect();
    assert_eq!(keys, [Some(eve.public_key())]);
}

/// docs/wire I41: somebody else's certificate and a signature of one's own.
#[test]
fn a_key_that_is_not_proven_is_not_recorded() {
    let authority = authority();
    let node = identity(&authority, "node");
    let (_, _, key) = own_leaf(&authority, "eve");
    let ada = identity(&authority, "ada");
    let (_dir, path, known) = known();
    let server = acceptor(&node, &Trust::known_keys(known));
    let (config, attempt) = server.begin(CLIENT).unwrap();
    let chain = vec![ada.certificate_der().to_vec().into()];
    let done = shake(&foreign_client_unchecked(&authority, chain, key), &config);
    assert!(
        certificate_refused(&done.server).contains("does not hold its key"),
        "{:?}",
        done.server
    );
    assert!(!attempt.must_record());
    assert!(attempt.admit().is_err());
    assert_eq!(fs::read(&path).unwrap(), b"");
}

/// docs/wire I43, I46
#[test]
fn a_list_that_is_damaged_or_gone_refuses_everybody_until_it_is_mended() {
    let authority = authority();
    let (node, ada) = (identity(&authority, "node"), identity(&authority, "ada"));
    let (_dir, path, known) = known();
    let server = acceptor(&node, &Trust::known_keys(known));
    let client = connector(&ada, &Trust::authority());
    fs::write(&path, "1.2.3.4 nonsense\n").unwrap();
    let error = server.begin(CLIENT).unwrap_err().to_string();
    assert!(error.contains("line 1"), "{error}");
    fs::remove_file(&path).unwrap();
    assert!(server.begin(CLIENT).is_err());
    fs::write(&path, "# mended\n").unwrap();
    let meeting = meet(&server, &client);
    assert_ok(&meeting.done);
    // Gone between the handshake and the record.
    fs::remove_file(&path).unwrap();
    let refusal = meeting.server.admit().unwrap_err().to_string();
    assert!(refusal.contains("could not be recorded"), "{refusal}");
}

/// docs/wire I47
#[test]
fn pinned_keys_need_no_authority_and_admit_nobody_else() {
    let (ours, theirs) = (authority(), authority());
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let old = Authority::generate(&AuthorityOptions::new().at(then)).unwrap();
    let expired = old
        .issue(&LeafOptions::new("node").days(1).at(then))
        .unwrap();
    let (ada, eve) = (identity(&ours, "ada"), identity(&theirs, "eve"));
    let server = acceptor(&expired, &Trust::keys([ada.public_key()]));
    let pin = Trust::keys([expired.public_key()]);
    let meeting = meet(&server, &connector(&ada, &pin));
    assert_ok(&meeting.done);
    let peer = meeting.server.admit().unwrap();
    assert_eq!(
        (peer.public_key(), peer.authority()),
        (Some(ada.public_key()), None)
    );
    let peer = meeting.client.admit().unwrap();
    assert_eq!(peer.public_key(), Some(expired.public_key()));

    let meeting = meet(&server, &connector(&eve, &pin));
    assert_denied(&meeting.done.client);
    let refusal = meeting.server.refusal().unwrap();
    assert!(refusal.to_string().contains("trusted here"), "{refusal}");
    let wrong = Trust::keys([ada.public_key()]);
    let meeting = meet(&server, &connector(&ada, &wrong));
    assert_denied(&meeting.done.server);
}

/// docs/wire I33
#[test]
fn anyone_is_unauthenticated_on_both_sides() {
    let (ours, theirs) = (authority(), authority());
    let (node, ada) = (identity(&ours, "node"), identity(&theirs, "ada"));
    let server = acceptor(&node, &Trust::dangerous_anyone());
    for client in [
        connector(&ada, &Trust::dangerous_anyone()),
        tls::Connector::new(None, &Trust::dangerous_anyone(), CHACHA).unwrap(),
    ] {
        let meeting = meet(&server, &client);
        assert_ok(&meeting.done);
        assert_eq!(
            meeting.done.server_end.peer_certificates(),
            None,
            "it asked for a certificate"
        );
        assert_eq!(
            meeting.server.admit().unwrap(),
            Peer::unauthenticated(CLIENT)
        );
        assert_eq!(
            meeting.client.admit().unwrap(),
            Peer::unauthenticated(SERVER)
        );
    }
    // An authority cannot be asked by who knows none.
    assert!(tls::Connector::new(None, &Trust::authority(), CHACHA).is_err());
}

/// docs/wire I46: an address proves nothing, but a change there is worth a look.
#[test]
fn an_unknown_key_from_a_known_address_is_pointed_out() {
    let authority = authority();
    let (node, ada) = (identity(&authority, "node"), identity(&authority, "ada"));
    let (_dir, path, known) = known();
    KnownKeys::add(&path, KnownKey::new(ada.public_key(), "10.9.9.9", "")).unwrap();
    KnownKeys::lock(&path).unwrap();
    let said = |known: KnownKeys, from: &str| {
        let server = acceptor(&node, &Trust::authority());
        let client = connector(&ada, &Trust::known_keys(known));
        let (server_config, _) = server.begin(CLIENT).unwrap();
        let (client_config, attempt) = client.begin(from).unwrap();
        assert!(shake(&client_config, &server_config).client.is_err());
        attempt.refusal().unwrap().to_string()
    };
    let part = format!(
        "10.9.9.9 was the address of another key, {}",
        ada.public_key()
    );
    let quiet = said(known, SERVER);
    assert!(!quiet.contains("another key"), "{quiet}");
    let warning = || KnownKeys::open(&path).unwrap().warn_on_address_reuse(true);
    let told = said(warning(), SERVER);
    assert!(
        told.contains(&part) && told.contains("to admit it: tow"),
        "{told}"
    );
    let elsewhere = said(warning(), "tcp://10.9.9.8:443");
    assert!(!elsewhere.contains("another key"), "{elsewhere}");
}

/// docs/wire I45
#[test]
fn the_hook_sees_the_proven_peer_and_refuses_within_the_handshake() {
    let authority = authority();
    let (node, ada) = (identity(&authority, "node"), identity(&authority, "ada"));
    let eve = identity(&authority, "eve");
    let (allowed, by) = (ada.public_key(), authority.public_key());
    let hook = Authorisation::by_peer(move |peer| {
        assert_eq!(peer.authority(), Some(by));
        assert_eq!(peer.address(), CLIENT);
        if peer.public_key() == Some(allowed) {
            Verdict::Allow
        } else {
            Verdict::refuse("it is not\nada")
        }
    });
    let server = tls::Acceptor::new(&node, &Trust::authority(), &hook, CHACHA).unwrap();
    assert_ok(&meet(&server, &connector(&ada, &Trust::authority())).done);
    let meeting = meet(&server, &connector(&eve, &Trust::authority()));
    assert_denied(&meeting.done.client);
    let refusal = meeting.server.refusal().unwrap();
    // Whom an administrator may want to admit has to be named.
    let (key, text) = (eve.public_key(), refusal.to_string());
    let fingerprint = key.fingerprint();
    let start = format!("its key {key} (fingerprint {fingerprint}, <eve@localhost>) ");
    assert_eq!(text, start + r"is not let in: it is not\nada");

    let far = Authorisation::keys([allowed]).and_address(|ip| {
        if ip.to_string() == "10.1.2.3" {
            Verdict::refuse("too far")
        } else {
            Verdict::Allow
        }
    });
    let server = tls::Acceptor::new(&node, &Trust::authority(), &far, CHACHA).unwrap();
    let meeting = meet(&server, &connector(&ada, &Trust::authority()));
    assert_denied(&meeting.done.client);
    let text = meeting.server.refusal().unwrap().to_string();
    assert!(text.ends_with("is not let in: too far"), "{text}");
}

/// docs/wire I45: a refused key is not recorded on the way.
#[test]
fn who_is_not_authorised_is_not_recorded() {
    let authority = authority();
    let (node, ada) = (identity(&authority, "node"), identity(&authority, "ada"));
    let (_dir, path, known) = known();
    let nobody = Authorisation::keys([]);
    let server = tls::Acceptor::new(&node, &Trust::known_keys(known), &nobody, CHACHA).unwrap();
    let meeting = meet(&server, &connector(&ada, &Trust::authority()));
    assert!(!meeting.server.must_record());
    assert!(meeting.server.admit().is_err());
    assert_eq!(fs::read(&path).unwrap(), b"");
}

/// Of several authorities the one that signed is named (docs/wire I26).
#[test]
fn the_authority_that_vouches_is_named() {
    let (old, new) = (authority(), authority());
    let dir = tempfile::tempdir().unwrap();
    identity(&old, "node")
        .save(dir.path(), "node", false)
        .unwrap();
    let private = tempfile::tempdir().unwrap();
    new.save(private.path(), false).unwrap();
    let both = fs::read_to_string(dir.path().join("ca.crt")).unwrap()
        + &fs::read_to_string(private.path().join("ca.crt")).unwrap();
    fs::write(dir.path().join("ca.crt"), both).unwrap();
    let node = Identity::load(dir.path(), "node").unwrap();
    let server = acceptor(&node, &Trust::authority());
    for authority in [&old, &new] {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let chain = odd_leaf(authority, &key, "ignored.example");
        let (config, attempt) = server.begin(CLIENT).unwrap();
        assert_ok(&shake(&foreign_client(&old, Some(chain)), &config));
        let peer = attempt.admit().unwrap();
        assert_eq!(peer.authority(), Some(authority.public_key()));
    }
}
