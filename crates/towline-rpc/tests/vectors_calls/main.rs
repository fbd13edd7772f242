//! Captured calls, refusals and streams of the original: our server gives the recorded answers, our
//! client sends the recorded requests and understands the recorded answers.

#[path = "../support/mod.rs"]
mod support;

mod client;
mod server;

use support::vectors::{Vector, load, play, read_frame};

const FILES: [&str; 5] = [
    "calls",
    "callerror-oneway",
    "callerror-rpc",
    "callerror-upload",
    "streams",
];

/// The exchanges of a file, in order: the frames whose names share what stands before the number.
fn exchanges(file: &str) -> Vec<(String, Vec<Vector>)> {
    let mut exchanges: Vec<(String, Vec<Vector>)> = Vec::new();
    for vector in load(file) {
        let (name, _) = vector
            .name
            .rsplitn(4, '-')
            .last()
            .map(|name| (name.to_owned(), ()))
            .expect("a name");
        match exchanges.last_mut() {
            Some((last, frames)) if *last == name => frames.push(vector),
            _ => exchanges.push((name, vec![vector])),
        }
    }
    exchanges
}

/// Every frame is what the file says it is, and is written by us byte for byte.
#[test]
fn captured_frames_are_read_and_written_alike() {
    for file in FILES {
        play(file, &[], |vector| {
            let message = read_frame(&vector.bytes);
            assert_eq!(message, vector.message(), "{}", vector.name);
            assert_eq!(
                support::peer::frame(&message),
                vector.bytes,
                "{}",
                vector.name
            );
        });
    }
}
