//! The end that becomes like the other.

mod assemble;
mod attributes;
mod links;
mod listing;
mod plan;
mod small;
mod transfer;
mod wrap;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::{Done, Event, Failed, Filter, Job, Options, Output, Source, Violation};
use crate::fs::Stat;
use crate::wire::{Hash16, Item, Message, Meta, Outcome, RelPath, Totals};
use attributes::Due;
use listing::{Dir, Pending};
use transfer::{Ending, Transfer};
use wrap::Phase;

/// Large files at a time.
const TRANSFERS: usize = 8;
/// Bytes of chunks that wait to be written, from which on nothing is read from the peer.
const HELD: usize = 16 << 20;
/// Jobs that may wait while more is read.
const WAITING_JOBS: usize = 4096;
/// Entries that may wait for their directories while more is read.
const WAITING_ENTRIES: usize = 32 << 10;
/// Chunks of files that are there, that can be found by their hash.
const MOST_CHUNKS: usize = 256 << 10;
/// Files that are there, that can be found by their size.
const MOST_SIZES: usize = 64 << 10;
/// Bytes of items that wait for a peer which does not read: from the first number on nothing more is asked for,
/// nor read when all that was asked for has come; with the second the sync ends.
const WAITING_ITEMS: usize = 4 << 20;
const MOST_ITEMS: usize = 64 << 20;
/// Bytes of what is remembered of entries until the end: first names of files with several, links,
/// directories, what is to be deleted.
const MOST_KEPT: usize = 256 << 20;
/// What an entry that is remembered takes beside its path.
const KEPT: usize = 160;
/// Items in one report.
const ITEMS: usize = 256;

/// A file that is to be brought over.
#[derive(Debug, Clone)]
struct Target {
    id: u64,
    path: RelPath,
    meta: Meta,
    /// What is there now, if it is a file.
    old: Option<Stat>,
    /// What is there has other names that are to keep their content.
    shared: bool,
    /// Something is left of an earlier attempt.
    partial: bool,
    /// What is to be set if what is there stays, and if it is stored anew.
    kept: Due,
    fresh: Due,
    attempts: u32,
    /// Bytes of it that were counted by earlier attempts.
    counted: u64,
    /// Times that somebody else was receiving it.
    waits: u32,
}

/// Compares what is listed with the tree that is there, asks for what differs, and stores it.
#[derive(Debug)]
pub struct Receiver {
    options: Options,
    filter: Filter,
    dirs: HashMap<u64, Dir>,
    /// Listed entries whose directory is not ready.
    pending: VecDeque<Pending>,
    pending_entries: usize,
    pattern_bytes: usize,
    next_id: u64,
    list_ended: bool,
    small_todo: VecDeque<Target>,
    small_wanted: HashMap<u64, Target>,
    small_bytes: u64,
    small_store: Vec<super::SmallFile>,
    small_storing: HashMap<u64, Target>,
    large_todo: VecDeque<Target>,
    transfers: HashMap<u64, Transfer>,
    /// Files that were given up, whose jobs still run.
    ending: HashMap<u64, Ending>,
    /// Files that were given up: what still comes of them is passed over.
    forget: HashSet<u64>,
    /// Which transfer a file of ours was cut for.
    bases: HashMap<u64, u64>,
    next_key: u64,
    chunks: HashMap<(Hash16, u64), (Arc<Source>, u64)>,
    sizes: HashMap<u64, RelPath>,
    /// Bytes of chunks that were received and are not written.
    held: usize,
    dropped: Vec<(u64, u64)>,
    wrap: wrap::Wrap,
    attributes: attributes::Waiting,
    jobs: VecDeque<Job>,
    out: VecDeque<Message>,
    items: VecDeque<Item>,
    /// Bytes of these.
    items_bytes: usize,
    /// Bytes of what is remembered until the end.
    kept: usize,
    events: VecDeque<Event>,
    totals: Totals,
    told: Totals,
}

impl Receiver {
    /// Begins at the root of the tree. `filter` is the sender's.
    pub fn new(options: Options, filter: Filter) -> Self {
        let mut receiver = Self {
            options,
            filter,
            dirs: HashMap::new(),
            pending: VecDeque::new(),
            pending_entries: 0,
            pattern_bytes: 0,
            next_id: 1,
            list_ended: false,
            small_todo: VecDeque::new(),
            small_wanted: HashMap::new(),
            small_bytes: 0,
            small_store: Vec::new(),
            small_storing: HashMap::new(),
            large_todo: VecDeque::new(),
            transfers: HashMap::new(),
            ending: HashMap::new(),
            forget: HashSet::new(),
            bases: HashMap::new(),
            next_key: 1,
            chunks: HashMap::new(),
            sizes: HashMap::new(),
            held: 0,
            dropped: Vec::new(),
            wrap: wrap::Wrap::default(),
            attributes: attributes::Waiting::default(),
            jobs: VecDeque::new(),
            out: VecDeque::new(),
            items: VecDeque::new(),
            items_bytes: 0,
            kept: 0,
            events: VecDeque::new(),
            totals: Totals::default(),
            told: Totals::default(),
        };
        receiver.announce(0, RelPath::root(), None, false);
        receiver
    }

    /// Takes in a message of the sender.
    ///
    /// # Errors
    ///
    /// [`Violation`]; the sync is over then.
    pub fn handle_message(&mut self, message: Message) -> Result<(), Violation> {
        match message {
            Message::List {
                dir,
                first,
                last,
                error,
                patterns,
                entries,
            } => self.listed(dir, first, last, error, patterns, entries)?,
            Message::Root(meta) => self.root_came(meta)?,
            Message::ListEnd => {
                if std::mem::replace(&mut self.list_ended, true) {
                    return Err(Violation::Order);
                }
            }
            Message::Small {
                id,
                meta,
                hash,
                bytes,
            } => self.small_came(id, meta, hash, bytes)?,
            Message::Manifest { id, chunks, end } => self.manifest_came(id, chunks, end)?,
            Message::Fine { id, chunk, pieces } => self.fine_came(id, chunk, pieces)?,
            Message::Data { id, offset, bytes } => self.data_came(id, offset, bytes)?,
            Message::Zeros { id, offset, length } => self.zeros_came(id, offset, length)?,
            Message::End { id, meta, root } => self.end_came(id, meta, root)?,
            Message::Fail { id, changed, text } => self.fail_came(id, changed, text)?,
            _ => return Err(Violation::WrongEnd),
        }
        self.advance()
    }

    /// Takes in what a job brought.
    ///
    /// # Errors
    ///
    /// [`Violation`] in a message that had waited for it.
    pub fn handle_done(&mut self, done: Done) -> Result<(), Violation> {
        match done {
            Done::Listed { dir, result } => self.prepared(dir, result),
            Done::Stored(files) => self.small_stored(files),
            Done::Begun { id, result } => self.begun(id, result),
            Done::Manifest { key, result } => self.basis_made(key, result),
            Done::Fine { key, result } => self.basis_fine(key, result),
            Done::Applied {
                id,
                received,
                result,
            } => self.applied(id, received, result),
            Done::Left { id } => self.left(id),
            Done::Finished { id, result } => self.part_finished(id, result),
            Done::Changed { token, failures } => self.changed(token, failures),
            Done::Resolved { users, groups } => self.resolved(users, groups),
            Done::Walked { token, result } => self.walked(token, result),
            _ => {}
        }
        self.advance()
    }

    /// The next message.
    pub fn poll_message(&mut self) -> Output {
        if !self.dropped.is_empty() {
            return Output::Message(Message::Drop(std::mem::take(&mut self.dropped)));
        }
        if let Some(message) = self.out.pop_front() {
            return Output::Message(message);
        }
        if self.options.report {
            if !self.items.is_empty() {
                let count = self.items.len().min(ITEMS);
                let had_room = self.items_have_room();
                let items: Vec<Item> = self.items.drain(..count).collect();
                self.items_bytes -= items.iter().map(item_weight).sum::<usize>();
                if !had_room && self.items_have_room() {
                    // What waited for it goes on: nothing else may ever happen that would make it.
                    self.ask();
                    self.wrap_up();
                }
                return Output::Message(Message::Report(items));
            }
            let over = self.wrap.phase == Phase::Over;
            if !over && self.is_news() {
                self.told = self.totals;
                return Output::Message(Message::Progress(self.totals));
            }
        }
        if self.wrap.phase == Phase::Over && !self.wrap.told {
            self.wrap.told = true;
            self.events.push_back(Event::Finished(self.totals));
            return Output::Message(Message::Finish(self.totals));
        }
        Output::Idle
    }

    /// The next work for the file system.
    pub fn poll_job(&mut self) -> Option<Job> {
        self.jobs.pop_front().or_else(|| self.store_small())
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How far the sync is.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// False while too much waits to be written, or to be compared.
    pub fn wants_input(&self) -> bool {
        self.held < HELD
            && self.jobs.len() < WAITING_JOBS
            && self.pending_entries < WAITING_ENTRIES
            && self.attributes_have_room()
            && (self.items_have_room() || self.has_asked())
    }

    fn items_have_room(&self) -> bool {
        self.items_bytes < WAITING_ITEMS
    }

    /// Answers are to come: whoever waits until they are read may read nothing before.
    fn has_asked(&self) -> bool {
        !(self.small_wanted.is_empty() && self.transfers.is_empty() && self.ending.is_empty())
    }

    /// True if time and mode of the root are not the sender's to say.
    pub fn keeps_root(&self) -> bool {
        self.options.only.is_some() || self.options.keep_root
    }

    /// True when all is done and told.
    pub fn is_finished(&self) -> bool {
        self.wrap.told
    }

    /// Does whatever can be done now.
    fn advance(&mut self) -> Result<(), Violation> {
        self.process_lists()?;
        if self.items_bytes > MOST_ITEMS || self.kept > MOST_KEPT {
            return Err(Violation::TooMuch);
        }
        if self.items_have_room() {
            self.ask();
        }
        self.wrap_up();
        Ok(())
    }

    /// Asks for files as long as there is room.
    fn ask(&mut self) {
        self.want_small();
        while self.transfers.len() + self.ending.len() < TRANSFERS {
            let Some(target) = self.large_todo.pop_front() else {
                return;
            };
            self.start(target);
        }
    }

    /// Whether nothing of any file is under way.
    fn is_idle(&self) -> bool {
        self.list_ended
            && self.pending.is_empty()
            && self.small_todo.is_empty()
            && self.small_wanted.is_empty()
            && self.small_store.is_empty()
            && self.small_storing.is_empty()
            && self.large_todo.is_empty()
            && self.transfers.is_empty()
            && self.ending.is_empty()
            && self.wrap.replacing.is_empty()
    }

    /// Enough has happened since the last word for another.
    fn is_news(&self) -> bool {
        let (now, told) = (&self.totals, &self.told);
        let done = |totals: &Totals| totals.literal + totals.reused + totals.zeros;
        done(now) >= done(told) + (1 << 20)
            || now.entries >= told.entries + 1000
            || now.files_done >= told.files_done + 64
            || now.files >= told.files + 64
            || now.listed != told.listed
    }

    fn item(&mut self, outcome: Outcome, path: &RelPath, size: u64, text: String) {
        let item = Item {
            outcome,
            path: path.clone(),
            size,
            text,
        };
        if self.options.report {
            self.items_bytes += item_weight(&item);
            self.items.push_back(item.clone());
        }
        self.events.push_back(Event::Item(item));
    }

    fn fail(&mut self, path: &RelPath, text: String) {
        self.totals.failed += 1;
        self.item(Outcome::Failed, path, 0, text);
    }

    fn failed(&mut self, path: &RelPath, failed: Failed) {
        self.fail(path, failed.text);
    }

    /// Something of an entry is remembered until the end.
    fn keeps(&mut self, path: &RelPath) {
        self.kept += path.as_bytes().len() + KEPT;
    }

    /// The sender may forget an entry.
    fn drop_id(&mut self, id: u64) {
        match self.dropped.last_mut() {
            Some((first, count)) if *first + *count == id => *count += 1,
            _ => self.dropped.push((id, 1)),
        }
    }
}

/// Bytes that an item takes.
fn item_weight(item: &Item) -> usize {
    item.path.as_bytes().len() + item.text.len() + size_of::<Item>()
}
