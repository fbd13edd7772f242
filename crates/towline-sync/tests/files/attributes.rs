//! Owners and extended attributes on the file system of the machine.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::Path;

use rustix::fs::XattrFlags;
use rustix::io::Errno;
use towline_rpc::Server;
use towline_sync::wire::Outcome;
use towline_sync::{
    Durability, Root, ServeOptions, SyncEvent, SyncOptions, push_tree, serve_files,
};

use crate::over_rpc::connect;

/// What a push changed or could not, by path, and its failures.
async fn push(from: &Path, to: &Path, options: &SyncOptions) -> (Vec<String>, Vec<String>) {
    let serve = ServeOptions::default()
        .allow_write(true)
        .durability(Durability::None);
    let server = serve_files(Server::builder(), Root::open(to).unwrap(), serve).build();
    let client = connect(server).0;
    let (mut changed, mut failed) = (Vec::new(), Vec::new());
    let pushed = push_tree(&client, from, "", options, |event| {
        if let SyncEvent::Item(item) = event {
            match item.outcome {
                Outcome::Failed => failed.push(item.text),
                _ => changed.push(item.path.to_string()),
            }
        }
    });
    pushed.await.unwrap();
    changed.sort();
    (changed, failed)
}

fn set(path: &Path, name: &str, value: &[u8]) -> Result<(), Errno> {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty())
}

fn value(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 8192];
    let length = rustix::fs::getxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

#[expect(clippy::print_stderr, reason = "who reads the log must know")]
fn not_run(why: &str) {
    eprintln!("NOT RUN: {why}");
}

/// docs/wire D24.
#[tokio::test]
async fn attributes_of_users_are_kept_and_no_others() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (here, there) = (from.path(), to.path());
    fs::create_dir(here.join("dir")).unwrap();
    fs::write(here.join("file"), "content").unwrap();
    fs::write(here.join("dir/locked"), "read only").unwrap();
    symlink("file", here.join("link")).unwrap();
    if set(&here.join("file"), "user.one", b"1").is_err() {
        return not_run("the file system for temporary files has no extended attributes");
    }
    set(&here.join("dir"), "user.dir", b"").unwrap();
    set(&here.join("dir/locked"), "user.locked", &[0, 255]).unwrap();
    // Only where the process may set it: it is not carried.
    let other = set(&here.join("file"), "trusted.secret", b"x").is_ok();
    fs::set_permissions(here.join("dir/locked"), fs::Permissions::from_mode(0o444)).unwrap();
    let options = SyncOptions::default().no_fsync(true).xattrs(true);
    let (changed, failed) = push(here, there, &options).await;
    assert_eq!(failed, Vec::<String>::new());
    assert_eq!(changed, ["dir", "dir/locked", "file", "link"]);
    assert_eq!(value(&there.join("file"), "user.one").unwrap(), b"1");
    assert_eq!(value(&there.join("dir"), "user.dir").unwrap(), b"");
    let locked = there.join("dir/locked");
    assert_eq!(value(&locked, "user.locked").unwrap(), [0, 255]);
    assert_eq!(fs::metadata(&locked).unwrap().mode() & 0o7777, 0o444);
    if other {
        assert_eq!(value(&there.join("file"), "trusted.secret"), None);
        // What is not carried is not taken away either.
        set(&there.join("file"), "trusted.kept", b"x").unwrap();
    }
    // Only attributes differ now.
    let modified = fs::metadata(there.join("file")).unwrap().mtime();
    set(&there.join("file"), "user.more", b"2").unwrap();
    set(&here.join("file"), "user.one", b"other").unwrap();
    let (changed, failed) = push(here, there, &options).await;
    assert_eq!((changed, failed), (vec!["file".to_owned()], Vec::new()));
    assert_eq!(value(&there.join("file"), "user.one").unwrap(), b"other");
    assert_eq!(value(&there.join("file"), "user.more"), None);
    assert_eq!(value(&there.join("file"), "trusted.kept").is_some(), other);
    let later = fs::metadata(there.join("file")).unwrap().mtime();
    assert_eq!(later, modified);
    let (changed, failed) = push(here, there, &options).await;
    assert_eq!((changed, failed), (Vec::new(), Vec::new()));
    // Where nobody asks, nobody compares.
    set(&here.join("file"), "user.one", b"ignored").unwrap();
    let plain = SyncOptions::default().no_fsync(true);
    let (changed, failed) = push(here, there, &plain).await;
    assert_eq!((changed, failed), (Vec::new(), Vec::new()));
    assert_eq!(value(&there.join("file"), "user.one").unwrap(), b"other");
}

/// docs/wire D24: of symlinks too, never of what they lead to; set-user-id bits are kept.
#[tokio::test]
async fn owners_are_kept_by_root() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (here, there) = (from.path(), to.path());
    let outside = tempfile::NamedTempFile::new().unwrap();
    if chown(outside.path(), Some(40_000), None).is_err() {
        return not_run("only root gives files to others");
    }
    fs::create_dir(here.join("dir")).unwrap();
    fs::write(here.join("dir/program"), "content").unwrap();
    symlink(outside.path(), here.join("link")).unwrap();
    chown(here.join("dir"), Some(40_001), Some(40_002)).unwrap();
    chown(here.join("dir/program"), Some(40_003), Some(0)).unwrap();
    let mode = fs::Permissions::from_mode(0o6755);
    fs::set_permissions(here.join("dir/program"), mode).unwrap();
    lchown(here.join("link"), Some(40_004), Some(0)).unwrap();
    let options = SyncOptions::default().no_fsync(true).owner(true);
    let (_, failed) = push(here, there, &options).await;
    assert_eq!(failed, Vec::<String>::new());
    let facts = |path: &Path| {
        let meta = path.symlink_metadata().unwrap();
        (meta.uid(), meta.gid(), meta.mode() & 0o7777)
    };
    for name in ["dir", "dir/program", "link"] {
        assert_eq!(facts(&there.join(name)), facts(&here.join(name)), "{name}");
    }
    assert_eq!(fs::metadata(outside.path()).unwrap().uid(), 40_000);
    // Another owner, and nothing else.
    chown(here.join("dir/program"), Some(40_005), Some(0)).unwrap();
    let mode = fs::Permissions::from_mode(0o6755);
    fs::set_permissions(here.join("dir/program"), mode).unwrap();
    lchown(here.join("link"), Some(0), Some(0)).unwrap();
    let (changed, failed) = push(here, there, &options).await;
    assert_eq!(
        (changed.join(" "), failed.len()),
        ("dir/program link".to_owned(), 0)
    );
    for name in ["dir/program", "link"] {
        assert_eq!(facts(&there.join(name)), facts(&here.join(name)), "{name}");
    }
    let (changed, failed) = push(here, there, &options).await;
    assert_eq!((changed, failed), (Vec::new(), Vec::new()));
}
