//! The end that has what is copied.

mod files;
mod reading;
mod walk;
mod window;

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;

use super::first_names::FirstNames;
use super::{Bucket, Done, Event, Filter, Job, Options, Output, Violation};
use crate::fs::Wanted;
use crate::wire::{Message, RelPath, Totals};
use walk::{Dir, Known};
use window::Window;

/// Most bytes that are read ahead of the connection.
const AHEAD: usize = 8 << 20;
/// Answers and jobs that may wait while more questions are read.
const ASKED: usize = 4096;
/// Most messages without bytes of files that wait to be sent.
const QUEUE: usize = 64;

/// Lists a tree, and sends of its files what the other end asks for.
#[derive(Debug)]
pub struct Sender {
    filter: Filter,
    ignore_file: Option<Bytes>,
    wanted: Wanted,
    only: Option<Bytes>,
    /// Directories whose entries are to be sent, in this order.
    dirs: VecDeque<Dir>,
    next_id: u64,
    listed: bool,
    window: Window,
    /// The first entry of each file with several names of which more may come.
    links: HashMap<(u64, u64), Known>,
    first_names: FirstNames,
    /// Small files to be read.
    small: VecDeque<u64>,
    /// Files with ranges to be read, each at its turn.
    turns: VecDeque<u64>,
    small_next: bool,
    /// Files that are open or being opened, by their keys.
    keys: HashMap<u64, u64>,
    next_key: u64,
    jobs: VecDeque<Job>,
    control: VecDeque<Message>,
    data: VecDeque<Message>,
    /// Bytes being read, and bytes that wait to be sent.
    ahead: usize,
    bucket: Option<Bucket>,
    totals: Totals,
    events: VecDeque<Event>,
    finished: bool,
}

impl Sender {
    /// Begins with the root of the tree.
    pub fn new(options: &Options, filter: Filter, ignore_file: Option<Bytes>) -> Self {
        let mut sender = Self {
            filter,
            ignore_file,
            wanted: options.wanted(),
            only: options.only.clone(),
            dirs: VecDeque::new(),
            next_id: 1,
            listed: false,
            window: Window::default(),
            links: HashMap::new(),
            first_names: FirstNames::default(),
            small: VecDeque::new(),
            turns: VecDeque::new(),
            small_next: false,
            keys: HashMap::new(),
            next_key: 1,
            jobs: VecDeque::new(),
            control: VecDeque::new(),
            data: VecDeque::new(),
            ahead: 0,
            bucket: options.limit.map(Bucket::new),
            totals: Totals::default(),
            events: VecDeque::new(),
            finished: false,
        };
        sender.dirs.push_back(Dir::new(0, RelPath::root()));
        sender
    }

    /// Takes in a message of the receiver.
    ///
    /// # Errors
    ///
    /// [`Violation`]; the sync is over then.
    pub fn handle_message(&mut self, message: Message) -> Result<(), Violation> {
        match message {
            Message::Drop(runs) => self.drop_entries(&runs)?,
            Message::Later(runs) => self.window.later(&runs, self.next_id)?,
            Message::WantSmall(ids) => self.want_small(ids)?,
            Message::WantAll { id } => self.want_all(id)?,
            Message::WantManifest { id, chunking } => self.want_manifest(id, chunking)?,
            Message::WantFine { id, chunks } => self.want_fine(id, chunks)?,
            Message::Get { id, ranges } => self.get(id, ranges)?,
            Message::Close { id } => self.close(id),
            Message::Report(items) => self.events.extend(items.into_iter().map(Event::Item)),
            Message::Progress(totals) => self.totals = totals,
            Message::Finish(totals) => {
                self.totals = totals;
                self.finished = true;
                self.events.push_back(Event::Finished(totals));
            }
            _ => return Err(Violation::WrongEnd),
        }
        self.emit();
        Ok(())
    }

    /// Takes in what a job brought.
    pub fn handle_done(&mut self, done: Done) {
        match done {
            Done::Listed { dir, result } => self.dir_listed(dir, result),
            Done::Small(files) => self.small_read(files),
            Done::Manifest { key, result } => self.manifest_made(key, result),
            Done::Fine { key, result } => self.fine_made(key, result),
            Done::Opened { key, result } => self.opened(key, result),
            Done::Read {
                key,
                turn,
                asked,
                result,
            } => self.read_done(key, turn, asked, result),
            _ => {}
        }
        self.emit();
    }

    /// The next message, or when there may be one.
    pub fn poll_message(&mut self, now: Instant) -> Output {
        let queue = match self.control.front() {
            Some(_) => &mut self.control,
            None => &mut self.data,
        };
        let Some(payload) = queue.front().map(Message::payload) else {
            return Output::Idle;
        };
        if payload > 0
            && let Some(bucket) = &mut self.bucket
        {
            if let Some(then) = bucket.ready(now) {
                return Output::Wait(then);
            }
            bucket.take(payload as u64);
        }
        let Some(message) = queue.pop_front() else {
            return Output::Idle;
        };
        self.ahead = self.ahead.saturating_sub(payload);
        self.emit();
        Output::Message(message)
    }

    /// The next work for the file system.
    pub fn poll_job(&mut self) -> Option<Job> {
        if let Some(job) = self.jobs.pop_front() {
            return Some(job);
        }
        if let Some(job) = self.list_ahead() {
            return Some(job);
        }
        if self.ahead >= AHEAD {
            return None;
        }
        // Small and large files take turns, so that neither waits for all of the other.
        self.small_next = !self.small_next;
        if self.small_next {
            self.read_small().or_else(|| self.read_large())
        } else {
            self.read_large().or_else(|| self.read_small())
        }
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// False while more was asked for than is answered.
    pub fn wants_input(&self) -> bool {
        self.control.len() + self.jobs.len() < ASKED
    }

    /// What the receiver last said of how far it is.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// True when the receiver has said that all is done.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Puts a message without bytes of files into the queue.
    fn push(&mut self, message: Message) {
        self.control.push_back(message);
    }

    /// Puts a message into the queue whose bytes are in the budget already.
    fn push_data(&mut self, message: Message) {
        self.data.push_back(message);
    }
}
