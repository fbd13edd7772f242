//! The end that becomes like the other.

mod assemble;
mod attributes;
mod deleting;
mod ending;
mod entries;
mod giving;
mod links;
mod listing;
mod plan;
mod room;
mod sizes;
mod small;
mod symlinks;
mod transfer;
mod wrap;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::{Done, Event, Failed, Filter, Job, Options, Output, Source, Violation};
use crate::fs::Stat;
use crate::wire::{Hash16, Item, Message, Meta, Outcome, RelPath, Totals};
use attributes::Due;
use ending::Ending;
use listing::{Dir, Pending};
use transfer::Transfer;
use wrap::Phase;

/// Large files at a time.
const TRANSFERS: usize = 8;
/// Chunks of files that are there, that can be found by their hash.
const MOST_CHUNKS: usize = 256 << 10;
/// Smallest file that may serve as the old version of another.
const LEAST_SOURCE: u64 = 64 << 10;
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
    /// Links to it may wait for it.
    leads: bool,
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
    sizes: sizes::Sizes,
    /// Bytes of chunks that were received and are not written.
    held: usize,
    dropped: Vec<(u64, u64)>,
    put_off: Vec<(u64, u64)>,
    links: links::Links,
    givings: giving::Givings,
    deleting: deleting::Deleting,
    wrap: wrap::Wrap,
    room: room::Room,
    /// What a message was that had waited for room.
    broken: Option<Violation>,
    attributes: attributes::Waiting,
    jobs: VecDeque<Job>,
    out: VecDeque<Message>,
    items: VecDeque<Item>,
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
            sizes: sizes::Sizes::default(),
            held: 0,
            dropped: Vec::new(),
            put_off: Vec::new(),
            links: links::Links::default(),
            givings: giving::Givings::default(),
            deleting: deleting::Deleting::default(),
            wrap: wrap::Wrap::default(),
            room: room::Room::default(),
            broken: None,
            attributes: attributes::Waiting::default(),
            jobs: VecDeque::new(),
            out: VecDeque::new(),
            items: VecDeque::new(),
            events: VecDeque::new(),
            totals: Totals::default(),
            told: Totals::default(),
        };
        let root = RelPath::root();
        let due = Due::default();
        receiver.announce(0, (root.clone(), root), None, (false, due));
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
        self.resume();
        if let Some(violation) = self.broken {
            return Output::Broken(violation);
        }
        // Before anything else is said of these.
        if !self.put_off.is_empty() {
            return Output::Message(Message::Later(std::mem::take(&mut self.put_off)));
        }
        if !self.dropped.is_empty() {
            return Output::Message(Message::Drop(std::mem::take(&mut self.dropped)));
        }
        if let Some(message) = self.out.pop_front() {
            return Output::Message(message);
        }
        if self.options.report {
            if !self.items.is_empty() {
                let count = self.items.len().min(ITEMS);
                let items: Vec<Item> = self.items.drain(..count).collect();
                items.iter().for_each(|item| self.room.reported(item));
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
        self.resume();
        self.jobs.pop_front().or_else(|| self.store_small())
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if let Some(Event::Item(item)) = &event {
            self.room.told(item);
        }
        event
    }

    /// How far the sync is.
    pub const fn totals(&self) -> Totals {
        self.totals
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
        self.room.stopped = false;
        self.process_lists()?;
        self.check_peer()?;
        self.run_links();
        self.ask();
        self.set_some_dirs();
        self.wrap_up();
        Ok(())
    }

    /// Goes on with what waited for room: nothing else may ever happen that would make it.
    fn resume(&mut self) {
        if self.room.stopped && self.broken.is_none() && self.may_report() {
            self.broken = self.advance().err();
        }
    }

    /// Asks for files as long as there is room.
    fn ask(&mut self) {
        if !self.may_report() {
            self.room.stopped = true;
            return;
        }
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
        self.small_todo.is_empty()
            && self.small_wanted.is_empty()
            && self.small_store.is_empty()
            && self.small_storing.is_empty()
            && self.large_todo.is_empty()
            && self.transfers.is_empty()
            && self.ending.is_empty()
            && self.links.are_made()
    }

    /// Enough has happened since the last word for another.
    fn is_news(&self) -> bool {
        let (now, told) = (&self.totals, &self.told);
        // What a peer says may make any of these as large as it likes.
        let done = |totals: &Totals| {
            let here = totals.reused.saturating_add(totals.zeros);
            totals.literal.saturating_add(here)
        };
        done(now) >= done(told).saturating_add(1 << 20)
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
        self.room.item(&item, self.options.report);
        if self.options.report {
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

    /// The sender may forget an entry.
    fn drop_id(&mut self, id: u64) {
        push_run(&mut self.dropped, id);
    }
}

/// Numbers as runs.
fn push_run(runs: &mut Vec<(u64, u64)>, id: u64) {
    match runs.last_mut() {
        Some((first, count)) if *first + *count == id => *count += 1,
        _ => runs.push((id, 1)),
    }
}
