//! TLS by configurations of rustls.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use towline_identity::{Authority, AuthorityOptions, LeafOptions};
use towline_transport::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use towline_transport::{
    AcceptError, Authorisation, ListenError, ListenOptions, Listener, TlsConfig, TlsFilesError,
};

/// A certificate of this authority in `dir`, with its key.
fn save(authority: &Authority, dir: &Path) -> TlsConfig {
    authority
        .issue(&LeafOptions::new("node"))
        .unwrap()
        .save(dir, "node", true)
        .unwrap();
    TlsConfig::from_pem_files(dir.join("node.crt"), dir.join("node.key")).unwrap()
}

fn client(dir: &Path, versions: &[&'static SupportedProtocolVersion]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(dir.join("ca.crt")).unwrap() {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = towline_transport::rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn listen(options: ListenOptions) -> Listener {
    Listener::bind(&"tls://127.0.0.1:0".parse().unwrap(), &options)
        .await
        .unwrap()
}

/// What a server says to such a client.
async fn hear(listener: &Listener, client: &TlsConnector) -> std::io::Result<String> {
    let port = listener.local_endpoint().port().unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let (heard, ()) = tokio::join!(
        async {
            let mut stream = client.connect(name, stream).await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            Ok(text)
        },
        async {
            let mut incoming = listener.accept().await.unwrap();
            incoming.begun().await.unwrap();
            if let Ok(mut connection) = incoming.handshake().await {
                assert!(connection.peer().public_key().is_none());
                connection.write_all(b"hello").await.unwrap();
                connection.shutdown().await.unwrap();
            }
        }
    );
    heard
}

/// docs/wire L52.
#[tokio::test]
async fn clients_without_keys_are_served_by_certificate_files() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    let tls = save(&authority, dir.path());
    let listener = listen(ListenOptions::new().tls_config(tls.clone())).await;
    for versions in [[&version::TLS12], [&version::TLS13]] {
        let client = client(dir.path(), &versions);
        assert_eq!(hear(&listener, &client).await.unwrap(), "hello");
    }

    // Renewed by another authority: whoever trusts the old one is not served any more.
    let old = client(dir.path(), &[&version::TLS13]);
    let other = Authority::generate(&AuthorityOptions::new()).unwrap();
    std::fs::remove_file(dir.path().join("ca.crt")).unwrap();
    let _same_files = save(&other, dir.path());
    let file = |name| dir.path().join(name);
    tls.load_pem_files(file("node.crt"), file("node.key"))
        .unwrap();
    assert!(hear(&listener, &old).await.is_err());
    let new = client(dir.path(), &[&version::TLS13]);
    assert_eq!(hear(&listener, &new).await.unwrap(), "hello");

    // Files that cannot be used leave what is in use.
    std::fs::write(file("node.key"), "no key").unwrap();
    let error = tls
        .load_pem_files(file("node.crt"), file("node.key"))
        .unwrap_err();
    assert!(error.to_string().contains("node.key"), "{error}");
    assert_eq!(hear(&listener, &new).await.unwrap(), "hello");
}

/// docs/wire L52.
#[tokio::test]
async fn files_that_do_not_belong_together_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    save(&authority, dir.path());
    authority
        .issue(&LeafOptions::new("other"))
        .unwrap()
        .save(dir.path(), "other", true)
        .unwrap();
    let file = |name| dir.path().join(name);
    let mixed = TlsConfig::from_pem_files(file("node.crt"), file("other.key"));
    assert!(matches!(mixed, Err(TlsFilesError::Pair { .. })));
    let missing = TlsConfig::from_pem_files(file("none.crt"), file("node.key"));
    assert!(matches!(missing, Err(TlsFilesError::File { .. })));
    // A key is no certificate.
    let wrong = TlsConfig::from_pem_files(file("node.key"), file("node.key"));
    assert!(matches!(wrong, Err(TlsFilesError::File { .. })));
}

/// docs/wire L52: a configuration does not take the place of an identity where keys are what is spoken.
#[tokio::test]
async fn others_than_tls_need_an_identity_still_and_rules_for_peers_hold() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    let tls = save(&authority, dir.path());
    let options = ListenOptions::new().tls_config(tls);
    let quic = Listener::bind(&"quic://127.0.0.1:0".parse().unwrap(), &options).await;
    assert!(matches!(quic, Err(ListenError::MissingIdentity { .. })));

    let nobody = Authorisation::keys([]);
    let listener = listen(options.authorise(nobody)).await;
    let port = listener.local_endpoint().port().unwrap();
    let client = client(dir.path(), &[&version::TLS13]);
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (shaken, refused) = tokio::join!(client.connect(name, stream), async {
        listener.accept().await.unwrap().handshake().await
    });
    drop(shaken);
    assert!(matches!(refused, Err(AcceptError::Refused { .. })));
}
