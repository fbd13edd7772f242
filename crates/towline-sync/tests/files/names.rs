//! What a peer may name, and that no name leads out of the root.

use std::fs;
use std::os::unix::fs::symlink;

use towline_sync::{IncomingOptions, NameError, OpenError, Root, StoreError};

struct Tree {
    outer: tempfile::TempDir,
    root: Root,
}

/// `outer/root` is served; `outer/secret.txt` and `outer/private/` lie beside it.
fn tree() -> Tree {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("root");
    fs::create_dir_all(path.join("sub/deep")).unwrap();
    fs::write(path.join("top.txt"), "top").unwrap();
    fs::write(path.join("sub/deep/file.txt"), "deep").unwrap();
    fs::create_dir(outer.path().join("private")).unwrap();
    fs::write(outer.path().join("private/key"), "secret").unwrap();
    fs::write(outer.path().join("secret.txt"), "secret").unwrap();
    let root = Root::open(&path).unwrap();
    Tree { outer, root }
}

impl Tree {
    fn link(&self, to: impl AsRef<std::path::Path>, name: &str) {
        symlink(to, self.outer.path().join("root").join(name)).unwrap();
    }

    fn create(&self, name: &str, dir: Option<&str>) -> Result<(), StoreError> {
        let target = self.root.target(name, dir, None).unwrap();
        self.root
            .create_incoming(&target, &IncomingOptions::default())
            .map(drop)
    }
}

#[test]
fn names_that_are_more_than_a_last_component_are_refused() {
    let tree = tree();
    let root = &tree.root;
    let refused = |name: &str| root.target(name, None, None).unwrap_err();
    assert_eq!(refused(""), NameError::Empty);
    for name in [".", ".."] {
        assert!(matches!(refused(name), NameError::Dots { .. }), "{name}");
    }
    for name in ["../x", "/x", "a/b", "a/", "/", "sub/..", "/etc/passwd"] {
        assert!(
            matches!(refused(name), NameError::Separator { .. }),
            "{name}"
        );
    }
    for name in ["a\0", "\0", "a\0/../b"] {
        assert_eq!(refused(name), NameError::Nul);
    }
    let long = "x".repeat(256);
    assert_eq!(refused(&long), NameError::TooLong { length: 256 });
    let with_suffix = root.target(&long[..250], None, Some("servergot"));
    assert_eq!(with_suffix, Err(NameError::TooLong { length: 260 }));
}

#[test]
fn plain_names_are_taken_as_they_are() {
    let tree = tree();
    let root = &tree.root;
    for name in [
        "a",
        "a.txt",
        "...",
        "-rf",
        " ",
        "日本語",
        "a\\b",
        &"x".repeat(255),
    ] {
        assert_eq!(root.target(name, None, None).unwrap().name(), name);
    }
    let target = root
        .target("f", Some("sub/./deep//"), Some("servergot"))
        .unwrap();
    assert_eq!(target.to_string(), "sub/deep/f.servergot");
    assert_eq!(
        root.target("f", Some("."), Some("")).unwrap().to_string(),
        "f"
    );
}

#[test]
fn directories_that_do_not_go_downwards_are_refused() {
    let tree = tree();
    let root = &tree.root;
    let refused = |dir: &str| root.target("f", Some(dir), None).unwrap_err();
    for dir in ["..", "sub/..", "sub/../..", "./.."] {
        assert!(matches!(refused(dir), NameError::Upwards { .. }), "{dir}");
    }
    for dir in ["/", "/tmp", "//tmp"] {
        assert!(matches!(refused(dir), NameError::Absolute { .. }), "{dir}");
    }
    assert_eq!(refused("sub\0"), NameError::Nul);
}

#[test]
fn files_beneath_the_root_are_opened() {
    let tree = tree();
    let root = &tree.root;
    for (path, name, size) in [
        ("top.txt", "top.txt", 3),
        ("sub/deep/file.txt", "file.txt", 4),
        ("./sub//deep/./file.txt", "file.txt", 4),
    ] {
        let file = root.open_for_read(path).unwrap();
        assert_eq!((file.name(), file.size()), (name, size));
    }
}

#[test]
fn paths_out_of_the_root_are_refused() {
    let tree = tree();
    let (outer, root) = (&tree.outer, &tree.root);
    for path in [
        "../secret.txt",
        "sub/../../secret.txt",
        "sub/../top.txt",
        "..",
    ] {
        let error = root.open_for_read(path).unwrap_err();
        assert!(
            matches!(error, OpenError::Name(NameError::Upwards { .. })),
            "{path}"
        );
    }
    let absolute = outer.path().join("root/top.txt");
    for path in ["/etc/hostname", absolute.to_str().unwrap()] {
        let error = root.open_for_read(path).unwrap_err();
        assert!(
            matches!(error, OpenError::Name(NameError::Absolute { .. })),
            "{path}"
        );
    }
}

#[test]
fn symlinks_out_of_the_root_are_not_followed_for_reading() {
    let tree = tree();
    tree.link("../secret.txt", "up");
    tree.link(tree.outer.path().join("secret.txt"), "absolute");
    tree.link("../private", "dir");
    tree.link("up", "twice");
    tree.link("/", "slash");
    for path in [
        "up",
        "absolute",
        "dir/key",
        "twice",
        "slash/etc/passwd",
        "sub/deep/../../up",
    ] {
        let error = tree.root.open_for_read(path).unwrap_err();
        let refused = matches!(
            error,
            OpenError::Outside { .. } | OpenError::Name(NameError::Upwards { .. })
        );
        assert!(refused, "{path}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn symlinks_that_stay_inside_are_followed() {
    let tree = tree();
    tree.link("sub/deep/file.txt", "inside");
    tree.link("sub", "subdir");
    assert_eq!(tree.root.open_for_read("inside").unwrap().size(), 4);
    let file = tree.root.open_for_read("subdir/deep/file.txt").unwrap();
    assert_eq!(file.size(), 4);
    tree.create("new.txt", Some("subdir/deep")).unwrap();
}

#[test]
fn symlinks_out_of_the_root_are_not_followed_for_storing() {
    let tree = tree();
    tree.link("../private", "dir");
    tree.link(tree.outer.path().join("private"), "absolute");
    tree.link("..", "up");
    for dir in ["dir", "absolute", "up", "up/private"] {
        let error = tree.create("key", Some(dir)).unwrap_err();
        assert!(
            matches!(error, StoreError::Outside { .. }),
            "{dir}: {error}"
        );
    }
    let key = fs::read(tree.outer.path().join("private/key")).unwrap();
    assert_eq!(key, b"secret");
}

#[test]
fn a_symlink_under_the_name_is_neither_replaced_nor_written_through() {
    let tree = tree();
    tree.link("../secret.txt", "out");
    tree.link("top.txt", "inside");
    tree.link("missing", "dangling");
    for name in ["out", "inside", "dangling"] {
        let error = tree.create(name, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "`{name}` is a symlink, which is not replaced by a file; remove it or use another name"
            )
        );
        let link = tree.outer.path().join("root").join(name);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
    let secret = fs::read(tree.outer.path().join("secret.txt")).unwrap();
    assert_eq!(secret, b"secret");
}

#[test]
fn only_regular_files_are_read_and_a_pipe_does_not_hang() {
    let tree = tree();
    let path = tree.outer.path().join("root");
    let made = std::process::Command::new("mkfifo")
        .arg(path.join("pipe"))
        .status()
        .unwrap();
    assert!(made.success());
    let _listener = std::os::unix::net::UnixListener::bind(path.join("socket")).unwrap();
    let text = |name: &str| tree.root.open_for_read(name).unwrap_err().to_string();
    assert_eq!(text("pipe"), "`pipe` is a pipe, not a regular file");
    assert_eq!(text("socket"), "`socket` is a socket, not a regular file");
    assert_eq!(text("sub"), "`sub` is a directory; name a file in it");
    let pipe = tree.create("pipe", None).unwrap_err();
    assert!(matches!(pipe, StoreError::Occupied { kind: "pipe", .. }));
    assert_eq!(text("."), "`.` is a directory; name a file in it");
    assert_eq!(text("missing"), "no such file `missing`");
    assert_eq!(text("top.txt/x"), "no such file `top.txt/x`");
    assert_eq!(text(""), "the name is empty");
}

#[test]
fn a_file_is_stored_in_directories_and_over_files_only() {
    let tree = tree();
    tree.create("f", Some("sub/new/newer")).unwrap();
    assert!(tree.outer.path().join("root/sub/new/newer").is_dir());
    assert!(matches!(
        tree.create("f", Some("top.txt/new")),
        Err(StoreError::NoDirectory { .. })
    ));
    assert!(matches!(
        tree.create("f", Some("top.txt")),
        Err(StoreError::NoDirectory { .. })
    ));
    assert!(matches!(
        tree.create("sub", None),
        Err(StoreError::Occupied {
            kind: "directory",
            ..
        })
    ));
}

#[test]
fn the_root_stays_the_same_directory_when_its_path_is_taken_over() {
    let tree = tree();
    let path = tree.outer.path().join("root");
    fs::rename(&path, tree.outer.path().join("moved")).unwrap();
    symlink(tree.outer.path().join("private"), &path).unwrap();
    assert!(tree.root.open_for_read("key").is_err());
    assert_eq!(tree.root.open_for_read("top.txt").unwrap().size(), 3);
}
