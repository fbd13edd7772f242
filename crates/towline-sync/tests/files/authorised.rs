//! Who may fetch files, and who may store them.

use std::fs;

use tokio_util::sync::CancellationToken;
use towline_identity::{Authorisation, Authority, AuthorityOptions, Identity, LeafOptions, Peer};
use towline_rpc::{Client, Server};
use towline_sync::{
    PullError, PullOptions, PushError, PushOptions, Root, ServeOptions, SourceFile, pull, push,
    serve_files,
};

fn someone() -> Identity {
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    authority.issue(&LeafOptions::new("client")).unwrap()
}

/// A client that the server knows by this key.
fn connect(server: Server, identity: &Identity) -> Client {
    let (here, there) = tokio::io::duplex(64 << 10);
    let peer = Peer::from_verified_certificate(identity.certificate_der(), "mem://a").unwrap();
    tokio::spawn(async move {
        let shutdown = CancellationToken::new();
        server
            .serve_io(there, peer, "mem://b", "mem://a", shutdown)
            .await
    });
    let nobody = Peer::unauthenticated("mem://b");
    Client::builder().from_io(here, nobody, "mem://a", "mem://b")
}

/// docs/wire T31, T32
#[tokio::test]
async fn readers_read_and_writers_write() {
    let (reader, writer) = (someone(), someone());
    let (served, local) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(served.path().join("there"), "bytes").unwrap();
    let file = local.path().join("new");
    fs::write(&file, "more").unwrap();
    let options = ServeOptions::default()
        .allow_write(true)
        .readers(Authorisation::keys([reader.public_key()]))
        .writers(Authorisation::keys([writer.public_key()]));
    let root = Root::open(served.path()).unwrap();
    let server = serve_files(Server::builder(), root, options).build();
    let here = Root::open(local.path()).unwrap();
    for (who, may_read) in [(&reader, true), (&writer, false)] {
        let client = connect(server.clone(), who);
        let target = here.target("there", None, None).unwrap();
        let options = PullOptions::default();
        let pulled = pull(&client, "there", &here, &target, &options, |_| {}).await;
        match pulled {
            Ok(_) => assert!(may_read),
            Err(PullError::Refused(text)) => {
                assert!(
                    !may_read && text.contains("not authorised to fetch"),
                    "{text}"
                );
            }
            Err(error) => panic!("{error}"),
        }
        let source = SourceFile::open(&file).unwrap();
        let pushed = push(&client, source, &PushOptions::default(), |_| {}).await;
        match pushed {
            Ok(_) => assert!(!may_read),
            Err(PushError::Refused(text)) => {
                assert!(
                    may_read && text.contains("not authorised to store"),
                    "{text}"
                );
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(fs::read(served.path().join("new")).unwrap(), b"more");
    assert_eq!(fs::read(local.path().join("there")).unwrap(), b"bytes");
}
