//! Certificates and authorities that overlap with those before them (docs/wire I36, I37, I39).

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use towline_identity::{
    Authority, AuthorityOptions, Identity, LeafOptions, LoadError, NoPassphrase, Passphrase,
    Profile, Protection, PublicKey, RenewError, SaveError, SaveOptions, VerifyError,
    renew_certificate, renew_key, verify_certificate, verify_certificate_at,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A directory with `private` and `certs`, and the identity `node`.
fn place() -> (tempfile::TempDir, Authority, Identity) {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    authority.save(dir.path().join("private"), false).unwrap();
    let options = LeafOptions::new("node").email("ada@example.com").days(10);
    let node = authority.issue(&options).unwrap();
    node.save(dir.path().join("certs"), "node", false).unwrap();
    (dir, authority, node)
}

fn cheap(passphrase: &str) -> Protection {
    Protection::new(Passphrase::new(passphrase))
        .memory_kib(16)
        .iterations(1)
}

#[test]
fn a_renewed_certificate_is_for_the_same_key_and_the_old_one_stays_valid() {
    let (dir, authority, node) = place();
    let certs = dir.path().join("certs");
    let key_before = fs::read(certs.join("node.key")).unwrap();
    let renewed = renew_certificate(&certs, "node", &authority, &LeafOptions::new("node")).unwrap();
    assert_eq!(renewed.public_key, node.public_key());
    assert_eq!(renewed.emails, ["ada@example.com"]);
    assert_eq!(renewed.overlap_until, node.not_after());
    assert!(renewed.not_after > node.not_after() + 1000 * DAY);
    assert_eq!(fs::read(certs.join("node.key")).unwrap(), key_before);

    let again = Identity::load(&certs, "node").unwrap();
    assert_eq!(again.not_after(), renewed.not_after);
    let root = dir.path().join("private/ca.crt");
    verify_certificate(certs.join("node.crt"), &root).unwrap();
    assert_eq!(renewed.kept, certs.join("node.crt.old"));
    verify_certificate(&renewed.kept, &root).unwrap();
}

#[test]
fn a_renewed_key_leaves_the_old_pair_beside_it() {
    let (dir, authority, node) = place();
    let certs = dir.path().join("certs");
    let renewed = renew_key(
        &certs,
        "node",
        &authority,
        LeafOptions::new("node"),
        SaveOptions::new().protection(Some(cheap("p"))),
    )
    .unwrap();
    assert_ne!(renewed.public_key, node.public_key());
    assert_eq!(renewed.emails, ["ada@example.com"]);
    let again = Identity::load_with(&certs, "node", &mut Passphrase::new("p")).unwrap();
    assert_eq!(again.public_key(), renewed.public_key);

    let old = tempfile::tempdir().unwrap();
    for (from, to) in [
        ("node.key.old", "node.key"),
        ("node.crt.old", "node.crt"),
        ("ca.crt", "ca.crt"),
    ] {
        fs::copy(certs.join(from), old.path().join(to)).unwrap();
    }
    let old = Identity::load(old.path(), "node").unwrap();
    assert_eq!(old.public_key(), node.public_key());
}

#[test]
fn a_renewed_authority_has_its_key_and_everything_it_signed() {
    let (dir, authority, node) = place();
    let (private, certs) = (dir.path().join("private"), dir.path().join("certs"));
    let key_before = fs::read(private.join("ca.key")).unwrap();
    let later = node.not_after() + 20 * DAY;
    let renewed = authority.renew(&AuthorityOptions::new().at(later)).unwrap();
    let dirs = [certs.clone()];
    // It begins after the leaf's end, and until then nobody would vouch for the leaf.
    let save = SaveOptions::new();
    let error = renewed.save_over(&private, &dirs, &save).unwrap_err();
    assert!(matches!(error, RenewError::Orphans { .. }), "{error}");
    let save = save.overwrite(true);
    assert_eq!(renewed.save_over(&private, &dirs, &save).unwrap(), dirs);
    assert!(!renewed.publish(&certs).unwrap());
    assert_eq!(fs::read(private.join("ca.key")).unwrap(), key_before);
    let loaded = Authority::load(&private).unwrap();
    assert_eq!(loaded.public_key(), authority.public_key());
    assert_eq!(loaded.not_after(), renewed.not_after());
    // Signed under the old certificate, valid under both.
    let at = later + DAY;
    let (old_root, new_root) = (private.join("ca.crt.old"), private.join("ca.crt"));
    let leaf = authority.issue(&LeafOptions::new("x").days(100)).unwrap();
    leaf.save(dir.path().join("x"), "x", false).unwrap();
    for root in [old_root, new_root] {
        verify_certificate_at(dir.path().join("x/x.crt"), root, at).unwrap();
    }
}

/// Under another name the new certificate cannot vouch for what the old one signed: both stay.
#[test]
fn an_authority_renewed_under_another_name_keeps_everything_it_signed() {
    let (dir, authority, _) = place();
    let (private, certs) = (dir.path().join("private"), dir.path().join("certs"));
    let options = AuthorityOptions::new().profile(Profile::Selfy);
    let renewed = authority.renew(&options).unwrap();
    let dirs = [certs.clone()];
    let save = SaveOptions::new();
    assert_eq!(renewed.save_over(&private, &dirs, &save).unwrap(), dirs);
    for name in ["ca.crt", "node.crt"] {
        assert!(certs.join(name).exists());
    }
    verify_certificate(certs.join("node.crt"), certs.join("ca.crt")).unwrap();
    let after = Authority::load(&private).unwrap();
    let leaf = after.issue(&LeafOptions::new("new")).unwrap();
    leaf.save(dir.path().join("new"), "new", false).unwrap();
    verify_certificate(dir.path().join("new/new.crt"), certs.join("ca.crt")).unwrap();
}

/// Two machines with keys of either authority trust each other from the first step to the last.
#[test]
fn an_authority_with_a_new_key_overlaps_with_the_old_one() {
    let (dir, old, node) = place();
    let (private, certs) = (dir.path().join("private"), dir.path().join("certs"));
    let new = old.succeed(&AuthorityOptions::new()).unwrap();
    new.save_over(&private, &[], &SaveOptions::new()).unwrap();
    assert_ne!(new.public_key(), old.public_key());
    let kept = tempfile::tempdir().unwrap();
    fs::copy(private.join("ca.key.old"), kept.path().join("ca.key")).unwrap();
    fs::copy(private.join("ca.crt.old"), kept.path().join("ca.crt")).unwrap();
    let kept = Authority::load(kept.path()).unwrap();
    assert_eq!(kept.public_key(), old.public_key());

    assert!(new.publish(&certs).unwrap());
    let reloaded = node.reload(&certs, "node", &mut NoPassphrase).unwrap();
    let roots = |identity: &Identity| -> Vec<PublicKey> {
        let key = |der: &Vec<u8>| PublicKey::from_certificate_der(der).unwrap();
        identity.roots_der().iter().map(key).collect()
    };
    let both = [new.public_key(), old.public_key()];
    assert_eq!(roots(&reloaded), both);
    // What the new one signs trusts both as well, and shares the directory.
    let new = Authority::load(&private).unwrap();
    let client = new.issue(&LeafOptions::new("client")).unwrap();
    assert_eq!(roots(&client), both);
    client.save(&certs, "client", false).unwrap();
    for name in ["node.crt", "client.crt"] {
        verify_certificate(certs.join(name), certs.join("ca.crt")).unwrap();
    }

    renew_certificate(&certs, "node", &new, &LeafOptions::new("node")).unwrap();
    let alone = new.without_predecessors();
    let dirs = [certs.clone()];
    // The client's certificate is the new one's already.
    let published = alone.save_over(&private, &dirs, &SaveOptions::new());
    assert_eq!(published.unwrap(), dirs);
    let node = Identity::load(&certs, "node").unwrap();
    assert_eq!(roots(&node), [alone.public_key()]);
    verify_certificate(certs.join("node.crt"), certs.join("ca.crt")).unwrap();
    let old_one = certs.join("node.crt.old");
    let error = verify_certificate(old_one, certs.join("ca.crt")).unwrap_err();
    assert!(matches!(error, VerifyError::NotSigned { .. }), "{error}");
}

#[test]
fn an_authority_that_has_ended_is_not_carried_over() {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let old = Authority::generate(&AuthorityOptions::new().days(10).at(then)).unwrap();
    let new = old.succeed(&AuthorityOptions::new()).unwrap();
    let leaf = new.issue(&LeafOptions::new("x")).unwrap();
    assert_eq!(leaf.roots_der(), [new.certificate_der().to_vec()]);
}

#[test]
fn nothing_is_renewed_by_a_stranger() {
    let (dir, _, _) = place();
    let certs = dir.path().join("certs");
    let before: Vec<_> = ["node.crt", "node.key", "ca.crt"]
        .map(|name| fs::read(certs.join(name)).unwrap())
        .into();
    let stranger = Authority::generate(&AuthorityOptions::new()).unwrap();
    let options = LeafOptions::new("node");
    for error in [
        renew_certificate(&certs, "node", &stranger, &options).unwrap_err(),
        renew_key(&certs, "node", &stranger, options, SaveOptions::new()).unwrap_err(),
    ] {
        assert!(
            matches!(error, RenewError::Save(SaveError::OtherAuthority { .. })),
            "{error}"
        );
    }
    assert!(stranger.publish(&certs).is_err());
    for (name, bytes) in ["node.crt", "node.key", "ca.crt"].iter().zip(before) {
        assert_eq!(fs::read(certs.join(name)).unwrap(), bytes);
    }
    assert_eq!(fs::read_dir(&certs).unwrap().count(), 3);
}

/// docs/wire I37
#[test]
fn a_reload_needs_no_passphrase_while_the_key_is_the_same() {
    let (dir, authority, _) = place();
    let certs = dir.path().join("certs");
    let save = |name: &str, word| {
        let identity = authority.issue(&LeafOptions::new(name)).unwrap();
        let options = SaveOptions::new()
            .overwrite(true)
            .protection(Some(cheap(word)));
        identity.save_with(&certs, name, &options).unwrap();
    };
    save("locked", "one");
    let first = Identity::load_with(&certs, "locked", &mut Passphrase::new("one")).unwrap();
    renew_certificate(
        &certs,
        "locked",
        &authority,
        &LeafOptions::new("locked").days(5),
    )
    .unwrap();
    let second = first.reload(&certs, "locked", &mut NoPassphrase).unwrap();
    assert_eq!(second.public_key(), first.public_key());
    assert!(second.not_after() < first.not_after());

    save("locked", "two");
    let error = second
        .reload(&certs, "locked", &mut NoPassphrase)
        .unwrap_err();
    assert!(matches!(error, LoadError::Passphrase { .. }), "{error}");
    let third = second
        .reload(&certs, "locked", &mut Passphrase::new("two"))
        .unwrap();
    assert_ne!(third.public_key(), second.public_key());
}

#[test]
fn the_selfy_profile_is_kept_when_it_is_told() {
    let options = AuthorityOptions::new().profile(Profile::Selfy);
    let authority = Authority::generate(&options).unwrap();
    assert_eq!(
        Profile::of_certificate(authority.certificate_der()),
        Profile::Selfy
    );
    let ours = Authority::generate(&AuthorityOptions::new()).unwrap();
    let century = authority
        .not_after()
        .duration_since(ours.not_after())
        .unwrap()
        + 3650 * DAY;
    assert!(century > 36_599 * DAY, "{century:?}");
    let leaf = authority
        .issue(&LeafOptions::new("x").profile(Profile::Selfy))
        .unwrap();
    assert_eq!(
        Profile::of_certificate(leaf.certificate_der()),
        Profile::Selfy
    );
    let leaf = authority.issue(&LeafOptions::new("x")).unwrap();
    assert_eq!(
        Profile::of_certificate(leaf.certificate_der()),
        Profile::Towline
    );
    for profile in Profile::ALL {
        assert_eq!(profile.to_string().parse(), Ok(profile));
    }
    assert!("x509".parse::<Profile>().is_err());
}

/// docs/wire I39
#[test]
fn verification_judges_signature_time_and_purpose() {
    let (dir, authority, node) = place();
    let (certs, private) = (dir.path().join("certs"), dir.path().join("private"));
    let (leaf, root) = (certs.join("node.crt"), private.join("ca.crt"));
    verify_certificate(&leaf, &root).unwrap();
    verify_certificate(&root, &root).unwrap();
    verify_certificate(certs.join("ca.crt"), &root).unwrap();

    let why = |path: &Path, root: &Path| verify_certificate(path, root).unwrap_err().to_string();
    let other = Authority::generate(&AuthorityOptions::new()).unwrap();
    other.save(dir.path().join("other"), false).unwrap();
    let foreign = dir.path().join("other/ca.crt");
    assert!(why(&leaf, &foreign).contains("another authority signed it"));
    assert!(why(&foreign, &root).contains("was not signed by"));
    let late = node.not_after() + DAY;
    let error = verify_certificate_at(&leaf, &root, late).unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
    let early = node.not_after() - 12 * DAY;
    let error = verify_certificate_at(&leaf, &root, early).unwrap_err();
    assert!(error.to_string().contains("not valid before"), "{error}");
    assert!(why(&certs.join("node.key"), &root).contains("PRIVATE KEY"));
    // A leaf is no authority, not even of itself.
    let second = authority.issue(&LeafOptions::new("x")).unwrap();
    second.save(dir.path().join("x"), "x", false).unwrap();
    why(&dir.path().join("x/x.crt"), &leaf);
}

/// Every file of a directory and what it holds.
fn content(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect()
}

/// Adds an authority to a `ca.crt`, as somebody does who trusts two.
fn join(path: &Path, other: &Authority) {
    let mut text = fs::read(path).unwrap();
    let dir = tempfile::tempdir().unwrap();
    other.save(dir.path(), false).unwrap();
    text.extend(fs::read(dir.path().join("ca.crt")).unwrap());
    fs::write(path, text).unwrap();
}

fn roots(certs: &Path) -> Vec<PublicKey> {
    let key = |der: &Vec<u8>| PublicKey::from_certificate_der(der).unwrap();
    let node = Identity::load(certs, "node").unwrap();
    node.roots_der().iter().map(key).collect()
}

/// docs/wire I36: whatever is renewed, an authority that somebody else added stays trusted.
#[test]
fn foreign_authorities_stay_and_every_version_is_kept() {
    let (dir, authority, _) = place();
    let (private, certs) = (dir.path().join("private"), dir.path().join("certs"));
    let foreign = Authority::generate(&AuthorityOptions::new()).unwrap();
    join(&certs.join("ca.crt"), &foreign);
    let joined = fs::read(certs.join("ca.crt")).unwrap();
    let dirs = [certs.clone()];
    let save = SaveOptions::new();

    let renewed = authority.renew(&AuthorityOptions::new()).unwrap();
    renewed.save_over(&private, &dirs, &save).unwrap();
    assert_eq!(
        roots(&certs),
        [authority.public_key(), foreign.public_key()]
    );
    assert_eq!(fs::read(certs.join("ca.crt.old")).unwrap(), joined);

    let next = renewed.succeed(&AuthorityOptions::new()).unwrap();
    next.save_over(&private, &dirs, &save).unwrap();
    let all = [
        next.public_key(),
        authority.public_key(),
        foreign.public_key(),
    ];
    assert_eq!(roots(&certs), all);
    assert_eq!(fs::read(certs.join("ca.crt.old")).unwrap(), joined);
    assert!(certs.join("ca.crt.old.2").exists());
    let first = fs::read(private.join("ca.crt.old")).unwrap();
    assert!(private.join("ca.crt.old.2").exists());

    renew_certificate(&certs, "node", &next, &LeafOptions::new("node")).unwrap();
    let alone = next.without_predecessors();
    alone.save_over(&private, &dirs, &save).unwrap();
    assert_eq!(roots(&certs), [alone.public_key(), foreign.public_key()]);
    assert_eq!(fs::read(private.join("ca.crt.old")).unwrap(), first);

    // A new key of another authority beside them, with the user's consent.
    let third = Authority::generate(&AuthorityOptions::new()).unwrap();
    let leaf = third.issue(&LeafOptions::new("leaf")).unwrap();
    let before = content(&certs);
    let error = leaf.save(&certs, "leaf", false).unwrap_err();
    assert!(matches!(error, SaveError::OtherAuthority { .. }), "{error}");
    assert_eq!(content(&certs), before);
    leaf.save(&certs, "leaf", true).unwrap();
    let all = [alone.public_key(), foreign.public_key(), third.public_key()];
    assert_eq!(roots(&certs), all);
    assert_eq!(
        fs::read(certs.join("ca.crt.old.4")).unwrap(),
        before["ca.crt"]
    );
    // Two renewals of one certificate keep two older ones.
    let kept = |_| {
        let options = LeafOptions::new("leaf");
        renew_certificate(&certs, "leaf", &third, &options)
            .unwrap()
            .kept
    };
    let kept: Vec<_> = (0..2).map(kept).collect();
    assert_eq!(
        kept,
        [certs.join("leaf.crt.old"), certs.join("leaf.crt.old.2")]
    );
}

/// docs/wire I36: a second directory that cannot be changed leaves everything as it was.
#[test]
fn nothing_is_renewed_unless_all_of_it_can_be() {
    let (dir, authority, _) = place();
    let (private, certs) = (dir.path().join("private"), dir.path().join("certs"));
    let strangers = dir.path().join("strangers");
    let stranger = Authority::generate(&AuthorityOptions::new()).unwrap();
    let leaf = stranger.issue(&LeafOptions::new("x")).unwrap();
    leaf.save(&strangers, "x", false).unwrap();
    let before = [content(&private), content(&certs), content(&strangers)];
    let new = authority.succeed(&AuthorityOptions::new()).unwrap();
    let dirs = [certs.clone(), strangers.clone()];
    let error = new
        .save_over(&private, &dirs, &SaveOptions::new())
        .unwrap_err();
    assert!(
        matches!(error, RenewError::Save(SaveError::OtherAuthority { .. })),
        "{error}"
    );
    // A place that cannot be written to.
    fs::create_dir(private.join("ca.crt.old")).unwrap();
    fs::remove_file(private.join("ca.key")).unwrap();
    fs::create_dir(private.join("ca.key")).unwrap();
    new.save_over(&private, &dirs[..1], &SaveOptions::new())
        .unwrap_err();
    fs::remove_dir(private.join("ca.crt.old")).unwrap();
    fs::remove_dir(private.join("ca.key")).unwrap();
    fs::write(private.join("ca.key"), &before[0]["ca.key"]).unwrap();
    let after = [content(&private), content(&certs), content(&strangers)];
    assert_eq!(after, before);
}

/// docs/wire I36: who depends on an authority is looked at before it is retired.
#[test]
fn an_authority_is_not_retired_while_certificates_depend_on_it() {
    let (dir, old, _) = place();
    let (private, certs) = (dir.path().join("private"), dir.path().join("certs"));
    let other = dir.path().join("other");
    let client = old.issue(&LeafOptions::new("client")).unwrap();
    client.save(&other, "client", false).unwrap();
    let new = old.succeed(&AuthorityOptions::new()).unwrap();
    let dirs = [certs.clone(), other.clone()];
    let save = SaveOptions::new();
    new.save_over(&private, &dirs, &save).unwrap();
    renew_certificate(&certs, "node", &new, &LeafOptions::new("node")).unwrap();

    let alone = new.without_predecessors();
    let before = content(&private);
    let error = alone.save_over(&private, &dirs, &save).unwrap_err();
    let RenewError::Orphans { files } = &error else {
        panic!("{error}");
    };
    assert_eq!(files[..], [other.join("client.crt")]);
    assert!(error.to_string().contains("client.crt"), "{error}");
    assert_eq!(content(&private), before);

    let forced = save.overwrite(true);
    // The same directory by two names is one.
    let twice = [certs.clone(), other.clone(), other.join("../other")];
    let changed = alone.save_over(&private, &twice, &forced).unwrap();
    assert_eq!(changed, dirs);
    let error = Identity::load(&other, "client").unwrap_err();
    assert!(matches!(error, LoadError::NotVouched { .. }), "{error}");
    // A directory that was not named then can be told later.
    fs::copy(certs.join("ca.crt.old.2"), other.join("ca.crt"))
        .or_else(|_| fs::copy(certs.join("ca.crt.old"), other.join("ca.crt")))
        .unwrap();
    alone.save_over(&private, &dirs, &forced).unwrap();
    let left = fs::read(other.join("ca.crt")).unwrap();
    assert_eq!(left, fs::read(private.join("ca.crt")).unwrap());
}

/// docs/wire I15
#[test]
fn an_identity_needs_an_authority_beside_it_that_vouches_for_it() {
    let (dir, _, node) = place();
    let certs = dir.path().join("certs");
    let foreign = Authority::generate(&AuthorityOptions::new()).unwrap();
    foreign.save(dir.path().join("foreign"), false).unwrap();
    fs::copy(dir.path().join("foreign/ca.crt"), certs.join("ca.crt")).unwrap();
    for error in [
        Identity::load(&certs, "node").unwrap_err(),
        node.reload(&certs, "node", &mut NoPassphrase).unwrap_err(),
    ] {
        assert!(matches!(error, LoadError::NotVouched { .. }), "{error}");
        for part in ["node.crt", "ca.crt", "another authority signed it"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    // An authority that has ended vouches for nobody, and one that has not begun as little.
    let now = node.not_after() - 10 * DAY;
    for (at, days, why) in [
        (now - 20 * DAY, 10, "expired"),
        (now + DAY, 10, "not valid before"),
    ] {
        let options = AuthorityOptions::new().at(at).days(days);
        let authority = Authority::generate(&options).unwrap();
        // The original's leaves may outlive their authority.
        let options = LeafOptions::new("node").profile(Profile::Selfy);
        let leaf = authority.issue(&options.at(at - DAY)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        leaf.save(dir.path(), "node", false).unwrap();
        let error = Identity::load_at(dir.path(), "node", now).unwrap_err();
        assert!(matches!(error, LoadError::NotVouched { .. }), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

/// docs/wire I39
#[test]
fn another_authority_of_the_file_that_has_ended_does_not_matter() {
    let (dir, authority, node) = place();
    let (certs, private) = (dir.path().join("certs"), dir.path().join("private"));
    let options = AuthorityOptions::new();
    let then = node.not_after() - 400 * DAY;
    let ended = Authority::generate(&options.days(10).at(then)).unwrap();
    for file in [certs.join("ca.crt"), private.join("ca.crt")] {
        join(&file, &ended);
    }
    verify_certificate(certs.join("node.crt"), private.join("ca.crt")).unwrap();
    // In whatever order they stand.
    let mut blocks = Vec::new();
    for authority in [&ended, &authority] {
        let dir = tempfile::tempdir().unwrap();
        authority.save(dir.path(), false).unwrap();
        blocks.extend(fs::read(dir.path().join("ca.crt")).unwrap());
    }
    fs::write(private.join("ca.crt"), blocks).unwrap();
    verify_certificate(certs.join("node.crt"), private.join("ca.crt")).unwrap();
    Identity::load(&certs, "node").unwrap();

    let leaf = LeafOptions::new("x").profile(Profile::Selfy).at(then);
    let leaf = ended.issue(&leaf).unwrap();
    leaf.save(dir.path().join("x"), "x", false).unwrap();
    let error = verify_certificate(dir.path().join("x/x.crt"), private.join("ca.crt")).unwrap_err();
    let why = "the authority that signed it expired on";
    assert!(error.to_string().contains(why), "{error}");
}

/// docs/wire I36: who keeps keys elsewhere and links to them goes on doing so.
#[cfg(unix)]
#[test]
fn renewing_writes_through_links() {
    use std::os::unix::fs::symlink;

    let (dir, authority, _) = place();
    let certs = dir.path().join("certs");
    let real = dir.path().join("real");
    fs::create_dir(&real).unwrap();
    let names = ["node.crt", "node.key", "ca.crt"];
    for name in names {
        fs::rename(certs.join(name), real.join(name)).unwrap();
        symlink(Path::new("../real").join(name), certs.join(name)).unwrap();
    }
    let renewed = renew_certificate(&certs, "node", &authority, &LeafOptions::new("node")).unwrap();
    assert_eq!(renewed.kept, certs.join("node.crt.old"));
    let options = LeafOptions::new("node");
    renew_key(&certs, "node", &authority, options, SaveOptions::new()).unwrap();
    for name in names {
        assert!(certs.join(name).is_symlink(), "{name}");
    }
    let direct = Identity::load(&real, "node").unwrap();
    let linked = Identity::load(&certs, "node").unwrap();
    assert_eq!(direct.public_key(), linked.public_key());
    fs::remove_file(real.join("node.crt")).unwrap();
    renew_certificate(&certs, "node", &authority, &LeafOptions::new("node")).unwrap_err();
}

/// docs/wire I36: a `ca.crt` that is a link to the authority's own is looked at like any other.
#[cfg(unix)]
#[test]
fn who_depends_on_a_linked_authority_is_named_as_well() {
    let (dir, old, _) = place();
    let (private, certs) = (dir.path().join("private"), dir.path().join("certs"));
    fs::remove_file(certs.join("ca.crt")).unwrap();
    std::os::unix::fs::symlink("../private/ca.crt", certs.join("ca.crt")).unwrap();
    let new = old.succeed(&AuthorityOptions::new()).unwrap();
    let (dirs, save) = ([certs.clone()], SaveOptions::new());
    new.save_over(&private, &dirs, &save).unwrap();
    let alone = new.without_predecessors();
    let error = alone.save_over(&private, &dirs, &save).unwrap_err();
    let RenewError::Orphans { files } = &error else {
        panic!("{error}");
    };
    assert_eq!(files[..], [certs.join("node.crt")]);
    Identity::load(&certs, "node").unwrap();
}
