//! Owners and extended attributes on the machine's file system.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use bytes::Bytes;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::{Disk, open_dir};
use crate::engine::Ids;
use crate::fs::{AttributeStore, Wanted};
use crate::wire::{Attributes, Kind, Owner, RelPath};

/// Bytes that the names of all attributes of one file may have: the system's own limit.
const NAMES: usize = 64 << 10;

impl Disk {
    /// The file or directory itself, opened to be asked.
    fn open_to_ask(&self, path: &RelPath, kind: Kind) -> io::Result<OwnedFd> {
        match kind {
            Kind::Dir => open_dir(self.dir(path)?.as_fd(), b"."),
            _ => self.open_file(path, OFlags::RDONLY, Mode::empty()),
        }
    }

    fn xattrs(&self, path: &RelPath, kind: Kind, found: &mut Attributes) {
        let read = || -> io::Result<(Vec<(Bytes, Bytes)>, bool)> {
            let file = self.open_to_ask(path, kind)?;
            let mut left = Attributes::MOST_BYTES;
            let mut xattrs = Vec::new();
            for name in names(&file)? {
                // One byte more than may be tells that there is more.
                let mut value = vec![0; left + 1];
                let length = match rustix::fs::fgetxattr(&file, &*name, &mut value[..]) {
                    Ok(length) if name.len() + length <= left => length,
                    Ok(_) | Err(Errno::RANGE) => return Ok((Vec::new(), true)),
                    // Gone meanwhile.
                    Err(Errno::NODATA) => continue,
                    Err(error) => return Err(error.into()),
                };
                left -= name.len() + length;
                value.truncate(length);
                xattrs.push((Bytes::from(name), Bytes::from(value)));
            }
            xattrs.sort_unstable();
            Ok((xattrs, false))
        };
        (found.xattrs, found.incomplete) = read().unwrap_or_else(|_| (Vec::new(), true));
    }
}

impl AttributeStore for Disk {
    fn attributes(&self, path: &RelPath, kind: Kind, wanted: Wanted) -> io::Result<Attributes> {
        let mut found = Attributes::default();
        if wanted.owner {
            let dir = self.parent(path)?;
            let stat = rustix::fs::statat(&*dir, path.name(), AtFlags::SYMLINK_NOFOLLOW)?;
            found.owner = Some(Owner {
                uid: stat.st_uid,
                gid: stat.st_gid,
                user: self.names.user(stat.st_uid),
                group: self.names.group(stat.st_gid),
            });
        }
        if wanted.xattrs && matches!(kind, Kind::File | Kind::Dir) {
            self.xattrs(path, kind, &mut found);
        }
        Ok(found)
    }

    fn set_owner(&self, path: &RelPath, owner: Ids) -> io::Result<()> {
        let dir = self.parent_to_write(path)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statat(&*dir, path.name(), flags)?;
        let uid = (stat.st_uid != owner.user).then(|| Uid::from_raw(owner.user));
        let gid = (stat.st_gid != owner.group).then(|| Gid::from_raw(owner.group));
        if uid.is_none() && gid.is_none() {
            return Ok(());
        }
        Ok(rustix::fs::chownat(&*dir, path.name(), uid, gid, flags)?)
    }

    fn set_xattrs(&self, path: &RelPath, kind: Kind, xattrs: &[(Bytes, Bytes)]) -> io::Result<()> {
        self.parent_to_write(path)?;
        let file = match self.open_to_ask(path, kind) {
            // Its mode lets nobody read it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let mode = self.change_mode(path, |stat| Some(stat.meta.mode | 0o400))?;
                let opened = self.open_to_ask(path, kind);
                self.change_mode(path, |_| Some(mode))?;
                opened?
            }
            opened => opened?,
        };
        match replace(&file, xattrs) {
            // Their owner may not set them while the mode lets nobody write.
            Err(Errno::ACCESS) => {
                let mode = rustix::fs::fstat(&file)?.st_mode & 0o7777;
                rustix::fs::fchmod(&file, Mode::from_raw_mode(mode | 0o200))?;
                let replaced = replace(&file, xattrs);
                rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
                Ok(replaced?)
            }
            // docs/wire D24: said in words of its own.
            Err(Errno::OPNOTSUPP) => Err(io::ErrorKind::Unsupported.into()),
            replaced => Ok(replaced?),
        }
    }

    fn user_id(&self, name: &[u8]) -> Option<u32> {
        self.names.user_id(name)
    }

    fn group_id(&self, name: &[u8]) -> Option<u32> {
        self.names.group_id(name)
    }
}

/// Names of the attributes that are carried; none where the file system has no attributes.
fn names(file: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut buffer = vec![0; 1 << 10];
    let length = loop {
        match rustix::fs::flistxattr(file, &mut buffer[..]) {
            Err(Errno::RANGE) if buffer.len() < NAMES => buffer.resize(NAMES, 0),
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            listed => break listed?,
        }
    };
    let names = buffer[..length].split(|byte| *byte == 0);
    let carried = names.filter(|name| Attributes::carries(name));
    Ok(carried.map(<[u8]>::to_vec).collect())
}

fn replace(file: &OwnedFd, xattrs: &[(Bytes, Bytes)]) -> Result<(), Errno> {
    use rustix::fs::XattrFlags;

    for name in names(file)? {
        if !xattrs.iter().any(|(kept, _)| **kept == *name) {
            match rustix::fs::fremovexattr(file, &*name) {
                Ok(()) | Err(Errno::NODATA) => {}
                Err(error) => return Err(error),
            }
        }
    }
    xattrs.iter().try_for_each(|(name, value)| {
        rustix::fs::fsetxattr(file, &**name, value, XattrFlags::empty())
    })
}
