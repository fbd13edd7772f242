//! A receiver, a small tree in memory, and a sender that says anything: nothing panics, and the sync ends
//! or waits.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use towline_sync::engine::{Filter, Options, Output, Receiver};
use towline_sync::fs::{Memory, Store as _, Worker};
use towline_sync::wire::{FileTime, Message, RelPath};

/// Jobs in one run: a sender that asks for work without end is stopped.
const MOST: usize = 2000;

fuzz_target!(|data: &[u8]| {
    let store = Memory::new();
    let path = |name: &[u8]| RelPath::root().join(name);
    store.make_dir(&path(b"d"), 0o755).expect("made");
    store.put(&path(b"d/f"), &[7; 70_000], 0o644, FileTime::default()).expect("put");
    store.put(&path(b"a"), b"small", 0o644, FileTime::default()).expect("put");
    let worker = Worker::new(store, 1);
    let options =
        Options { delete: true, owner: true, xattrs: true, report: true, ..Options::default() };
    let mut receiver = Receiver::new(options, Filter::default());
    let mut input = Bytes::copy_from_slice(data);
    let mut jobs = 0;
    loop {
        while let Some(job) = receiver.poll_job() {
            jobs += 1;
            if jobs > MOST || receiver.handle_done(worker.run(job)).is_err() {
                return;
            }
        }
        while let Output::Message(_) = receiver.poll_message() {}
        while receiver.poll_event().is_some() {}
        if input.is_empty() {
            return;
        }
        let Ok(message) = Message::decode(&mut input) else {
            return;
        };
        // Parts of that length are written as zeros: a tree in memory has no holes.
        if let Message::List { entries, .. } = &message
            && entries.iter().any(|entry| entry.meta.size > 1 << 20)
        {
            return;
        }
        if matches!(message, Message::Zeros { length, .. } if length > 1 << 20) {
            return;
        }
        if let Message::Manifest { chunks, .. } = &message
            && chunks.iter().any(|chunk| chunk.length > 1 << 20)
        {
            return;
        }
        if receiver.handle_message(message).is_err() {
            return;
        }
    }
});
