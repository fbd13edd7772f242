//! What a peer may ask for, and no more.

use bytes::Bytes;
use towline_sim::Rng;
use towline_sync::engine::{Filter, Options, Output, Receiver, Sender, Violation};
use towline_sync::fs::{Manifest, Memory, Store as _, Worker};
use towline_sync::wire::{
    Chunk, Chunking, Entry, FileTime, Kind, Message, Meta, RelPath, SubChunk,
};

fn file(name: &'static str, size: u64) -> Entry {
    Entry {
        name: Bytes::from_static(name.as_bytes()),
        kind: Kind::File,
        meta: Meta {
            size,
            mtime: FileTime::default(),
            mode: 0o644,
        },
        target: None,
        link: None,
        leads: false,
        ends: false,
        attributes: None,
    }
}

fn list(entries: Vec<Entry>, patterns: &'static [u8]) -> Message {
    Message::List {
        dir: 0,
        first: 1,
        last: true,
        error: None,
        patterns: Bytes::from_static(patterns),
        entries,
    }
}

/// A receiver whose root is listed, with what it asks for done on an empty tree.
fn receiver(options: Options, entries: Vec<Entry>) -> (Receiver, Worker<Memory>) {
    let mut receiver = Receiver::new(options, Filter::new(b"").unwrap());
    let worker = Worker::new(Memory::new(), 1);
    work(&mut receiver, &worker);
    receiver.handle_message(list(entries, b"")).unwrap();
    work(&mut receiver, &worker);
    (receiver, worker)
}

fn work(receiver: &mut Receiver, worker: &Worker<Memory>) {
    while let Some(job) = receiver.poll_job() {
        receiver.handle_done(worker.run(job)).unwrap();
    }
    while receiver.poll_event().is_some() {}
}

/// docs/wire D15: each entry is dropped once, so no message costs more than the listing did.
#[test]
fn an_entry_is_dropped_once() {
    let memory = Memory::new();
    for name in ["a", "b", "c"] {
        let path = RelPath::new(name.as_bytes()).unwrap();
        memory.put(&path, b"x", 0o644, FileTime::default()).unwrap();
    }
    let worker = Worker::new(memory, 1);
    let filter = Filter::new(b"").unwrap();
    let mut sender = Sender::new(&Options::default(), filter, None);
    while let Some(job) = sender.poll_job() {
        sender.handle_done(worker.run(job));
    }
    sender.handle_message(Message::Drop(vec![(1, 3)])).unwrap();
    let again = sender.handle_message(Message::Drop(vec![(1, 1)]));
    assert_eq!(again, Err(Violation::TooMuch));
}

/// docs/wire D17.
#[test]
fn blocks_have_one_size_and_runs_of_zeros_are_one_chunk() {
    let (mut whole, _worker) = receiver(Options::default(), vec![file("f", 1 << 20)]);
    let zeros = |offset, length| Message::Zeros {
        id: 1,
        offset,
        length,
    };
    whole.handle_message(zeros(0, 256 << 10)).unwrap();
    whole.handle_message(zeros(256 << 10, 1)).unwrap();
    let more = whole.handle_message(zeros((256 << 10) + 1, 1));
    assert_eq!(more, Err(Violation::Range));

    let options = Options {
        dry_run: true,
        checksum: true,
        ..Options::default()
    };
    let memory = Memory::new();
    let path = RelPath::new(b"f").unwrap();
    memory
        .put(&path, &[1; 64 << 10], 0o644, FileTime::default())
        .unwrap();
    let worker = Worker::new(memory, 1);
    let mut cut = Receiver::new(options, Filter::new(b"").unwrap());
    work(&mut cut, &worker);
    cut.handle_message(list(vec![file("f", 64 << 10)], b""))
        .unwrap();
    work(&mut cut, &worker);
    let hole = Chunk {
        length: 1,
        hash: None,
    };
    let manifest = cut.handle_message(Message::Manifest {
        id: 1,
        chunks: vec![hole, hole],
        end: None,
    });
    assert_eq!(manifest, Err(Violation::Manifest));
}

/// docs/wire T25: what grows while it is sent is bounded as what was listed is.
#[test]
fn a_file_that_grows_stays_within_what_one_may_have() {
    let options = Options {
        max_file: 300 << 10,
        ..Options::default()
    };
    let (mut receiver, worker) = receiver(options, vec![file("f", 200 << 10)]);
    for offset in [0, 256 << 10] {
        let length = 256 << 10;
        let id = 1;
        let zeros = Message::Zeros { id, offset, length };
        receiver.handle_message(zeros).unwrap();
    }
    work(&mut receiver, &worker);
    assert_eq!(receiver.totals().failed, 1);
    assert_eq!(worker.store().snapshot(), [], "something stayed");
}

/// docs/wire D21: patterns come only where they were asked for.
#[test]
fn patterns_that_nobody_asked_for_end_the_sync() {
    let filter = Filter::new(b"").unwrap();
    let mut receiver = Receiver::new(Options::default(), filter);
    let listed = receiver.handle_message(list(Vec::new(), b"*.o\n"));
    assert_eq!(listed, Err(Violation::TooMuch));
}

/// docs/wire D12: of one file the sender chooses neither how many there are nor that it is a directory.
#[test]
fn one_file_is_one_file() {
    let options = || Options {
        only: Some(Bytes::from_static(b"f")),
        rename: Some(Bytes::from_static(b"f")),
        ..Options::default()
    };
    let both = vec![file("f", 5), file("g", 5)];
    let mut dir = file("f", 0);
    dir.kind = Kind::Dir;
    for entries in [both, vec![dir]] {
        let mut receiver = Receiver::new(options(), Filter::new(b"").unwrap());
        let worker = Worker::new(Memory::new(), 1);
        work(&mut receiver, &worker);
        let listed = receiver.handle_message(list(entries, b""));
        assert_eq!(listed, Err(Violation::UnknownFile));
    }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

fn messages(receiver: &mut Receiver) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Output::Message(message) = receiver.poll_message() {
        messages.push(message);
    }
    messages
}

/// docs/wire D15: whole go only small files.
#[test]
fn a_large_file_is_not_sent_as_a_small_one() {
    let memory = Memory::new();
    let large = vec![7; 40 << 10];
    memory
        .put(&path("f"), &large, 0o644, FileTime::default())
        .unwrap();
    let worker = Worker::new(memory, 1);
    let mut sender = Sender::new(&Options::default(), Filter::default(), None);
    while let Some(job) = sender.poll_job() {
        sender.handle_done(worker.run(job));
    }
    let asked = sender.handle_message(Message::WantSmall(vec![1]));
    assert_eq!(asked, Err(Violation::TooMuch));
}

/// docs/wire D15: what waits while reports are not read goes on when they are, though nothing else happens.
#[test]
fn files_are_asked_for_when_reports_have_been_read() {
    const LINKS: u64 = 20_000;
    let options = Options {
        report: true,
        ..Options::default()
    };
    let (mut receiver, worker) = (
        Receiver::new(options, Filter::default()),
        Worker::new(Memory::new(), 1),
    );
    work(&mut receiver, &worker);
    let link = |number: u64| Entry {
        name: format!("a{number:0250}").into(),
        kind: Kind::Symlink,
        target: Some(Bytes::from_static(b"x")),
        ..file("", 0)
    };
    for first in (1..=LINKS).step_by(1000) {
        let mut entries: Vec<_> = (first..first + 1000).map(link).collect();
        let last = first + 1000 > LINKS;
        if last {
            entries.push(file("z", 5));
        }
        let message = Message::List {
            dir: 0,
            first,
            last,
            error: None,
            patterns: Bytes::new(),
            entries,
        };
        receiver.handle_message(message).unwrap();
        work(&mut receiver, &worker);
    }
    let Output::Message(Message::Drop(runs)) = receiver.poll_message() else {
        panic!("nothing is dropped");
    };
    let dropped: u64 = runs.iter().map(|(_, count)| count).sum();
    assert!(dropped < LINKS, "reports wait for all {LINKS} links");
    let mut told = Vec::new();
    for _ in 0..LINKS {
        told.append(&mut messages(&mut receiver));
        work(&mut receiver, &worker);
    }
    assert!(told.contains(&Message::WantSmall(vec![LINKS + 1])));
}

/// docs/wire D20: names of a sync's own files are refused, and the rest goes on.
#[test]
fn names_that_a_sync_makes_are_refused_one_by_one() {
    let mut dir = file(".d.tow-partial", 0);
    dir.kind = Kind::Dir;
    let entries = vec![
        file(".a.0123456789abcdef.tow-part", 5),
        file(".b.tow-journal", 5),
        file(".c.tow-partial", 5 << 20),
        dir,
        file("f", 5),
    ];
    let (mut receiver, worker) = receiver(Options::default(), entries);
    assert_eq!(receiver.totals().failed, 4);
    let wanted = messages(&mut receiver);
    assert!(wanted.contains(&Message::WantSmall(vec![5])), "{wanted:?}");
    assert_eq!(wanted.len(), 2, "{wanted:?}");
    assert_eq!(worker.store().snapshot(), []);
}

/// docs/wire D17: of chunks comes the second level that was asked for.
#[test]
fn a_second_level_that_nobody_asked_for_ends_the_sync() {
    let memory = Memory::new();
    let old = Rng::from_seed(1).bytes(600_000);
    memory
        .put(&path("f"), &old, 0o644, FileTime::default())
        .unwrap();
    let (open, stat) = memory.open(&path("f")).unwrap();
    let here = Manifest::of(&memory, &open, &stat, Chunking::Content).unwrap();
    let worker = Worker::new(memory, 1);
    let mut receiver = Receiver::new(Options::default(), Filter::default());
    work(&mut receiver, &worker);
    let first = &here.spans[0];
    let known = Chunk {
        length: first.length,
        hash: first.short(),
    };
    let new = Chunk {
        length: 250_000,
        hash: Some([1; 16]),
    };
    let size = known.length + new.length;
    receiver
        .handle_message(list(vec![file("f", size)], b""))
        .unwrap();
    work(&mut receiver, &worker);
    let meta = file("f", size).meta;
    receiver
        .handle_message(Message::Manifest {
            id: 1,
            chunks: vec![known, new],
            end: Some((meta, [2; 32])),
        })
        .unwrap();
    work(&mut receiver, &worker);
    let asked = messages(&mut receiver);
    let fine = Message::WantFine {
        id: 1,
        chunks: vec![(1, known.length, new.length)],
    };
    assert!(asked.contains(&fine), "{asked:?}");
    let pieces = vec![SubChunk {
        length: known.length as u32,
        hash: [3; 16],
    }];
    let (id, chunk) = (1, 0);
    let unasked = receiver.handle_message(Message::Fine { id, chunk, pieces });
    assert_eq!(unasked, Err(Violation::Range));
}

/// docs/wire D20: what was counted before a file changed is not counted again.
#[test]
fn a_file_that_is_begun_again_is_counted_once() {
    let (mut receiver, worker) = receiver(Options::default(), vec![file("f", 2 << 20)]);
    let (id, offset, length) = (1, 0, 256 << 10);
    receiver
        .handle_message(Message::Zeros { id, offset, length })
        .unwrap();
    for block in 1..5 {
        let (offset, bytes) = (block * length, Bytes::from(vec![1; 256 << 10]));
        receiver
            .handle_message(Message::Data { id, offset, bytes })
            .unwrap();
    }
    work(&mut receiver, &worker);
    // What has come is written: a chunk that lies there is taken over by the next attempt.
    let (changed, text) = (true, String::new());
    receiver
        .handle_message(Message::Fail { id, changed, text })
        .unwrap();
    work(&mut receiver, &worker);
    let hash = blake3::hash(&[1; 256 << 10]);
    let hash: Option<[u8; 16]> = hash.as_bytes()[..16].try_into().ok();
    let mut chunks = vec![Chunk { length, hash }; 4];
    let hash = None;
    chunks.insert(0, Chunk { length, hash });
    let length = 768 << 10;
    chunks.push(Chunk { length, hash });
    let end = Some((file("f", 2 << 20).meta, [0; 32]));
    receiver
        .handle_message(Message::Manifest { id, chunks, end })
        .unwrap();
    work(&mut receiver, &worker);
    let totals = receiver.totals();
    let counted = totals.literal + totals.reused + totals.zeros;
    assert_eq!(counted, 2 << 20, "{totals:?}");
    assert_eq!((totals.literal, totals.zeros), (1 << 20, 1 << 20));
}

/// docs/wire D14: sizes that a peer says add up to no more than a number holds.
#[test]
fn sums_of_what_a_peer_says_end_at_the_largest_number() {
    let most = i64::MAX as u64;
    let entries = ["a", "b", "c"].map(|name| file(name, most)).to_vec();
    let options = Options {
        dry_run: true,
        ..Options::default()
    };
    let (receiver, _) = receiver(options, entries);
    let totals = receiver.totals();
    assert_eq!((totals.files, totals.bytes), (3, u64::MAX));
}
