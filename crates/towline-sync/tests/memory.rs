//! What a receiver holds when its peer sends and does not read.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use peak_alloc::PeakAlloc;
use towline_sync::engine::{Done, Filter, Job, Listing, Options, Receiver, Violation};
use towline_sync::wire::{Entry, FileTime, Kind, Message, Meta};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Links in one message.
const LINKS: u64 = 32;

/// Links with long targets, numbered on.
fn links(first: u64, all: u64) -> Message {
    let entry = |number: u64| Entry {
        name: format!("{number:010}").into(),
        kind: Kind::Symlink,
        meta: Meta {
            size: 0,
            mtime: FileTime::default(),
            mode: 0o777,
        },
        target: Some(Bytes::from(vec![b'x'; 1000])),
        link: None,
        leads: false,
        attributes: None,
    };
    Message::List {
        dir: 0,
        first,
        last: first + LINKS > all,
        error: None,
        patterns: Bytes::new(),
        entries: (first..first + LINKS).map(entry).collect(),
    }
}

/// Does work without a file system.
fn work(receiver: &mut Receiver) {
    while let Some(job) = receiver.poll_job() {
        let done = match job {
            Job::Prepare { dir, .. } => {
                let result = Ok(Listing::default());
                Done::Listed { dir, result }
            }
            Job::Change { token, .. } => {
                let failures = Vec::new();
                Done::Changed { token, failures }
            }
            _ => Done::Nothing,
        };
        receiver.handle_done(done).unwrap();
    }
    while receiver.poll_event().is_some() {}
}

fn receiver() -> Receiver {
    let options = Options {
        report: true,
        ..Options::default()
    };
    let mut receiver = Receiver::new(options, Filter::default());
    work(&mut receiver);
    receiver
}

/// docs/wire D15: a receiver whose reports are not read reads no more, and one that is flooded even so ends
/// the sync; neither takes memory without end.
#[test]
fn what_waits_for_a_peer_that_does_not_read_is_bounded() {
    const ALL: u64 = 2_000_000;
    for obeys in [true, false] {
        let mut receiver = receiver();
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let mut first = 1;
        let mut ended = Ok(());
        while first <= ALL && ended.is_ok() && (receiver.wants_input() || !obeys) {
            ended = receiver.handle_message(links(first, ALL));
            if ended.is_ok() {
                work(&mut receiver);
            }
            first += LINKS;
        }
        assert!(first < ALL, "nothing stopped it");
        assert_eq!(
            ended,
            if obeys {
                Ok(())
            } else {
                Err(Violation::TooMuch)
            }
        );
        let most = if obeys { 12 << 20 } else { 128 << 20 };
        let peak = MEMORY.peak_usage() - before;
        assert!(peak < most, "{peak} bytes after {first} entries");
    }
}
