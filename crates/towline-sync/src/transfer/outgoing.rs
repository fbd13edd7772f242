//! Reading a file ahead of the socket: its parts and their hashes, made on one thread.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::thread;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use crate::hash_name::HashName;
use crate::transfer::part::{FileMeta, PART_SIZE};
use crate::transfer::receive::HASH_SLICE;
use crate::transfer::source::SourceFile;

/// Parts that are ready before they are asked for. With the one being read and the one the
/// consumer holds, four bodies are alive: 4 MiB.
const DEPTH: usize = 2;

/// Buffers kept to be filled again: those of the parts alive, and two that a slow consumer holds.
const KEPT: usize = DEPTH + 4;

/// One part of a file, ready to be sent.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OutPart {
    /// Its number, from 0.
    pub number: u64,
    /// Its bytes: 1 MiB, fewer at the end of the file, none in the last part.
    pub body: Bytes,
    /// The hash of the body.
    pub hash: HashName,
    /// Whether it ends the file.
    pub last: bool,
}

/// Reads one file on a blocking thread of its own, ahead of whoever sends its parts.
///
/// A file of n bytes makes ceil(n / 1 MiB) + 1 parts, the last one empty (docs/wire T3); an empty
/// file makes two (docs/wire T17).
///
/// Memory: at most two parts ready, one being read, and those the consumer has not dropped yet;
/// buffers are filled again once all handles of their body are dropped. Dropped, the thread ends
/// after the read it is in.
///
/// A file that is replaced or removed while it is read is still sent as it was; one that is written
/// to is an error, because its parts could be of different times.
#[derive(Debug)]
pub struct OutgoingFile {
    parts: mpsc::Receiver<Result<Made, SendError>>,
    path: String,
    name: String,
    meta: FileMeta,
    total: Option<HashName>,
    ended: bool,
}

impl OutgoingFile {
    /// Starts to read `source`.
    ///
    /// # Errors
    ///
    /// [`SendError::Thread`] when the system gives no thread.
    pub fn start(source: SourceFile) -> Result<Self, SendError> {
        let (sender, parts) = mpsc::channel(DEPTH);
        let path = source.path().to_owned();
        let name = source.name().to_owned();
        let meta = source.meta();
        // Not one of the runtime's blocking threads: a peer that does not read holds it for as long
        // as it likes, and their number is shared and bounded.
        thread::Builder::new()
            .name("tow-read".to_owned())
            .spawn(move || {
                if let Err(error) = read(source, &sender) {
                    // Nobody asks for parts any more.
                    drop(sender.blocking_send(Err(error)));
                }
            })
            .map_err(|source| SendError::Thread {
                path: path.clone(),
                source,
            })?;
        Ok(Self {
            parts,
            path,
            name,
            meta,
            total: None,
            ended: false,
        })
    }

    /// The next part, `None` after the last one.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: no part is lost if the future is dropped.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing more comes after it.
    pub async fn next_part(&mut self) -> Result<Option<OutPart>, SendError> {
        if self.ended {
            return Ok(None);
        }
        match self.parts.recv().await {
            Some(Ok(made)) => {
                self.ended = made.part.last;
                self.total = made.total;
                Ok(Some(made.part))
            }
            Some(Err(error)) => {
                self.ended = true;
                Err(error)
            }
            None => {
                self.ended = true;
                Err(SendError::Stopped {
                    path: self.path.clone(),
                })
            }
        }
    }

    /// The hash of the whole file, once the last part was handed out.
    pub fn total(&self) -> Option<HashName> {
        self.total
    }

    /// The path it was opened by.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The last component of the path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Size, modification time and permission bits when it was opened.
    pub fn meta(&self) -> FileMeta {
        self.meta
    }
}

/// Why a file could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The system reported an error.
    #[error("`{path}` cannot be read further than its first {read} bytes: {source}")]
    Read {
        /// The path as given.
        path: String,
        /// Bytes read before.
        read: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The file has another size than when it was opened.
    #[error("`{path}` changed while it was read: it had {before} bytes and now has {now}")]
    Resized {
        /// The path as given.
        path: String,
        /// Size when it was opened.
        before: u64,
        /// Size when that was noticed.
        now: u64,
    },
    /// The file was written to, though its size is the same.
    #[error("`{path}` was written to while it was read; send it again when it is at rest")]
    Rewritten {
        /// The path as given.
        path: String,
    },
    /// There is no thread for the file.
    #[error("`{path}` cannot be read: the system gives no thread for it: {source}")]
    Thread {
        /// The path as given.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The reading thread ended without saying why.
    #[error("the thread that read `{path}` has ended unexpectedly")]
    Stopped {
        /// The path as given.
        path: String,
    },
}

struct Made {
    part: OutPart,
    total: Option<HashName>,
}

/// The thread. `Ok` also when nobody wants the rest.
fn read(
    mut source: SourceFile,
    sender: &mpsc::Sender<Result<Made, SendError>>,
) -> Result<(), SendError> {
    let mut total = blake3::Hasher::new();
    let mut buffers = Buffers::default();
    let mut sent = 0;
    for number in 0.. {
        let mut buffer = buffers.take();
        let mut hasher = blake3::Hasher::new();
        let length = fill(&mut source, &mut buffer, sent, |slice| {
            hasher.update(slice);
            total.update(slice);
        })?;
        sent += length as u64;
        let last = length == 0 && number > 0;
        if length < PART_SIZE {
            check_unchanged(&source, sent)?;
        }
        let part = OutPart {
            number,
            body: buffers.lend(buffer, length),
            hash: hasher.finalize().into(),
            last,
        };
        let total = last.then(|| total.finalize().into());
        if sender.blocking_send(Ok(Made { part, total })).is_err() || last {
            return Ok(());
        }
    }
    Ok(())
}

/// Fills the buffer as far as the file goes, and shows each slice while it is in the cache.
fn fill(
    source: &mut SourceFile,
    buffer: &mut BytesMut,
    sent: u64,
    mut show: impl FnMut(&[u8]),
) -> Result<usize, SendError> {
    let mut filled = 0;
    for slice in buffer.chunks_mut(HASH_SLICE) {
        let mut length = 0;
        while length < slice.len() {
            match source.file.read(&mut slice[length..]) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(SendError::Read {
                        path: source.path.clone(),
                        read: sent + (filled + length) as u64,
                        source: error,
                    });
                }
            }
        }
        show(&slice[..length]);
        filled += length;
        // Without this a file that grows as fast as it is read would never end.
        if sent + filled as u64 > source.size {
            return Err(resized(source, sent + filled as u64));
        }
        if length < slice.len() {
            break;
        }
    }
    Ok(filled)
}

/// At the end of the file: it must be what it was when it was opened.
fn check_unchanged(source: &SourceFile, sent: u64) -> Result<(), SendError> {
    let now = source.look_again().map_err(|error| SendError::Read {
        path: source.path.clone(),
        read: sent,
        source: error,
    })?;
    if now.len() != source.size || sent != source.size {
        return Err(resized(source, now.len().min(sent)));
    }
    if now.modified().ok() != source.mtime {
        return Err(SendError::Rewritten {
            path: source.path.clone(),
        });
    }
    Ok(())
}

fn resized(source: &SourceFile, seen: u64) -> SendError {
    let now = source.look_again().map_or(seen, |now| now.len());
    SendError::Resized {
        path: source.path.clone(),
        before: source.size,
        now,
    }
}

/// Buffers that were lent out as parts and are filled again when nobody holds them any more:
/// fresh memory costs a page fault and a zeroing for every 4 KiB.
#[derive(Default)]
struct Buffers {
    lent: VecDeque<Bytes>,
}

impl Buffers {
    /// A buffer of [`PART_SIZE`] bytes with anything in it.
    fn take(&mut self) -> BytesMut {
        if let Some(at) = self.lent.iter().position(Bytes::is_unique)
            && let Some(free) = self.lent.remove(at)
            && let Ok(buffer) = free.try_into_mut()
        {
            return buffer;
        }
        BytesMut::zeroed(PART_SIZE)
    }

    /// Gives out the first `length` bytes and remembers the buffer.
    fn lend(&mut self, buffer: BytesMut, length: usize) -> Bytes {
        if self.lent.len() == KEPT {
            self.lent.pop_front();
        }
        let whole = buffer.freeze();
        let body = whole.slice(..length);
        self.lent.push_back(whole);
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_filled_again_once_nobody_holds_them() {
        let mut buffers = Buffers::default();
        let first = buffers.take();
        let address = first.as_ptr();
        let body = buffers.lend(first, 5);
        let second = buffers.take();
        assert_ne!(second.as_ptr(), address, "the first body is still held");
        drop(buffers.lend(second, 0));
        drop(body);
        let again = buffers.take();
        assert_eq!((again.as_ptr(), again.len()), (address, PART_SIZE));
    }

    #[test]
    fn few_buffers_are_kept() {
        let mut buffers = Buffers::default();
        let bodies: Vec<_> = (0..2 * KEPT)
            .map(|_| {
                let buffer = buffers.take();
                buffers.lend(buffer, 1)
            })
            .collect();
        assert_eq!((buffers.lent.len(), bodies.len()), (KEPT, 2 * KEPT));
    }
}
