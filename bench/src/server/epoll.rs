//! epoll, as little of it as a server and its clients need.

use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// Sockets that are told by number when they can be read.
pub(super) struct Poll {
    fd: OwnedFd,
    ready: Vec<Event>,
}

impl Poll {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            fd: epoll::create(CreateFlags::CLOEXEC)?,
            ready: Vec::with_capacity(1024),
        })
    }

    pub(super) fn add(&self, socket: impl AsFd, number: usize) -> anyhow::Result<()> {
        let data = EventData::new_u64(number as u64);
        Ok(epoll::add(&self.fd, socket, data, EventFlags::IN)?)
    }

    /// Those that can be read now; waits for the first.
    pub(super) fn wait(&mut self) -> anyhow::Result<Vec<usize>> {
        self.ready.clear();
        match epoll::wait(&self.fd, spare_capacity(&mut self.ready), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let numbers = self.ready.iter().map(|event| event.data.u64() as usize);
        Ok(numbers.collect())
    }
}
