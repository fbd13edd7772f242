//! Deletions, and directories that give way: counted before the first of them.

use towline_sim::{Conditions, Rng};
use towline_sync::engine::Options;
use towline_sync::fs::{Memory, Store as _};
use towline_sync::wire::{FileTime, RelPath};

use crate::runs::{failures, mirror, pair, run};
use crate::trees::{assert_equal, facts};

fn put(tree: &Memory, path: &str) {
    let path = RelPath::new(path.as_bytes()).unwrap();
    let above = path.parent();
    if !above.is_root() && tree.stat(&above).is_err() {
        tree.make_dir(&above, 0o755).unwrap();
    }
    tree.put(&path, b"x", 0o644, FileTime::default()).unwrap();
}

/// Here `gives` is a directory of three files, there a file; `extra` and what is in it is here alone.
fn trees() -> (Memory, Memory) {
    let (from, to) = (Memory::new(), Memory::new());
    put(&from, "gives");
    for name in ["gives/a", "gives/b", "gives/c", "extra/d", "extra/e"] {
        put(&to, name);
    }
    (from, to)
}

fn bounded(most: Option<u64>) -> Options {
    Options {
        max_delete: most,
        ..mirror()
    }
}

/// docs/wire D21, D25: directories that give way count, with what is in them, before the first removal.
#[test]
fn directories_that_give_way_are_counted_before_anything_goes() {
    let (from, to) = trees();
    let before = facts(&to);
    let mut rng = Rng::from_seed(1);
    for dry_run in [true, false] {
        let options = Options {
            dry_run,
            ..bounded(Some(6))
        };
        let mut pair = pair(&mut rng, &Conditions::default(), &options, (&from, &to));
        assert!(run(&mut pair));
        assert_eq!(facts(&to), before);
        assert_eq!(pair.b.engine.totals().deleted, 0);
        assert_eq!(
            failures(&pair.b),
            [
                "nothing was deleted: 7 entries would be, among them a directory that would give way to \
                 something else, and --max-delete allows 6; if all of them are to go, sync again with \
                 --max-delete 7 or more",
                "`gives` is a directory here and stays: nothing was deleted",
            ]
        );
    }
    let mut pair = pair(
        &mut rng,
        &Conditions::default(),
        &bounded(Some(7)),
        (&from, &to),
    );
    assert!(run(&mut pair));
    assert_eq!(failures(&pair.b), Vec::<String>::new());
    assert_eq!(pair.b.engine.totals().deleted, 7);
    assert_equal(&to, &from);
}
