//! Syncs to a disk by somebody who is not root.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use nix::unistd::{Uid, geteuid, setfsuid};
use towline_sync::engine::{Engine, Event, Filter, Options, Output, Receiver, Sender};
use towline_sync::fs::{Disk, Worker};
use towline_sync::wire::Outcome;

use crate::inputs::splitmix64;

/// Who has no rights of its own on any file system.
const NOBODY: u32 = 65_534;

#[expect(
    clippy::disallowed_methods,
    reason = "a sync without a limit waits for nothing"
)]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// One end, which does its work at once. Returns what failed.
struct End {
    engine: Engine,
    worker: Worker<Disk>,
    failures: Vec<String>,
}

impl End {
    fn new(engine: Engine, root: &Path) -> Self {
        let keep_root = engine.keeps_root();
        let worker = Worker::new(Disk::open_root(root).unwrap(), 1).keep_root(keep_root);
        let failures = Vec::new();
        Self {
            engine,
            worker,
            failures,
        }
    }

    /// Passes everything that it has to say to the other end; true if there was something.
    fn say(&mut self, other: &mut Self) -> bool {
        let mut said = false;
        while let Some(job) = self.engine.poll_job() {
            self.engine.handle_done(self.worker.run(job)).unwrap();
            said = true;
        }
        while let Output::Message(message) = self.engine.poll_message(now()) {
            other.engine.handle_message(message).unwrap();
            said = true;
        }
        while let Some(event) = self.engine.poll_event() {
            if let Event::Item(item) = event
                && item.outcome == Outcome::Failed
            {
                self.failures.push(item.text);
            }
        }
        said
    }
}

/// Syncs as somebody who is not root, on a thread of its own: what the system asks is who the thread is.
fn sync(from: &Path, to: &Path) -> Vec<String> {
    let (from, to) = (from.to_owned(), to.to_owned());
    let work = move || {
        let options = Options {
            delete: true,
            ..Options::default()
        };
        let sender = Sender::new(&options, Filter::default(), None);
        let mut a = End::new(Engine::Sender(Box::new(sender)), &from);
        // Only the receiver is somebody else.
        setfsuid(Uid::from_raw(if geteuid().is_root() {
            NOBODY
        } else {
            geteuid().as_raw()
        }));
        let receiver = Receiver::new(options, Filter::default());
        let mut b = End::new(Engine::Receiver(Box::new(receiver)), &to);
        loop {
            setfsuid(geteuid());
            let said = a.say(&mut b);
            if geteuid().is_root() {
                setfsuid(Uid::from_raw(NOBODY));
            }
            if !b.say(&mut a) && !said {
                break;
            }
        }
        assert!(b.engine.is_finished());
        b.failures
    };
    std::thread::spawn(work).join().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// docs/wire D22: nothing of a tree is lost because its owner may not read or write some of it.
#[test]
fn closed_trees_are_received_by_somebody_who_is_not_root() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    if geteuid().is_root() {
        chown(to.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let modes = [0o555, 0o300, 0o600, 0];
    for round in 1..3 {
        for dir in modes.map(|mode| from.path().join(format!("{mode:o}"))) {
            fs::create_dir_all(&dir).unwrap();
            set_mode(&dir, 0o700);
            for (name, size) in [("small", 1000), ("large", 400_000)] {
                let file = dir.join(name);
                if file.exists() {
                    set_mode(&file, 0o600);
                }
                fs::write(&file, splitmix64(round, size)).unwrap();
                // Whoever is not root reads what it sends.
                set_mode(&file, if geteuid().is_root() { 0 } else { 0o400 });
            }
            fs::write(dir.join(format!("only in {round}")), "x").unwrap();
            if round == 2 {
                fs::remove_file(dir.join("only in 1")).unwrap();
            }
        }
        if geteuid().is_root() {
            for mode in modes {
                set_mode(&from.path().join(format!("{mode:o}")), mode);
            }
        } else {
            set_mode(&from.path().join("555"), 0o555);
        }
        assert_eq!(sync(from.path(), to.path()), Vec::<String>::new());
        for mode_of in modes {
            let name = format!("{mode_of:o}");
            let (sent, dir) = (from.path().join(&name), to.path().join(&name));
            assert_eq!(mode(&sent), mode(&dir), "{name}");
            let kept = mode(&dir);
            set_mode(&dir, 0o700);
            set_mode(&sent, 0o700);
            for name in ["small", "large", &format!("only in {round}")] {
                let (sent, file) = (sent.join(name), dir.join(name));
                assert_eq!(mode(&sent), mode(&file), "{name}");
                let kept = mode(&file);
                set_mode(&file, 0o600);
                set_mode(&sent, 0o600);
                assert!(fs::read(&sent).unwrap() == fs::read(&file).unwrap());
                set_mode(&file, kept);
            }
            assert_eq!(fs::read_dir(&dir).unwrap().count(), 3);
            set_mode(&dir, kept);
        }
    }
    // So that it can be removed.
    for mode in modes {
        set_mode(&to.path().join(format!("{mode:o}")), 0o700);
    }
}
