//! `unix:///path`: sockets in the file system, open to their owner alone.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

/// How many programs may be binding in one directory in the same instant.
const TEMPORARY_NAMES: u32 = 64;

/// A bound socket; its file is removed when this is dropped, if it is still the same file.
pub(crate) struct Listener {
    pub(crate) socket: UnixListener,
    path: PathBuf,
    /// Device and inode of the file that is ours to remove.
    file: Option<(u64, u64)>,
    accepted: AtomicU64,
}

impl Listener {
    /// Binds under a temporary name, restricts the mode, then renames: nobody can connect before the
    /// mode is right. A file left by a listener that is gone is replaced.
    ///
    /// Two programs that take over the same abandoned path in the same instant can both succeed; the
    /// later one is then reached.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        check_free(path)?;
        let (socket, temporary) = bind_temporary(path)?;
        let finish = || {
            fs::set_permissions(&temporary, Permissions::from_mode(0o600))?;
            let found = fs::symlink_metadata(&temporary)?;
            fs::rename(&temporary, path)?;
            Ok((found.dev(), found.ino()))
        };
        match finish() {
            Ok(file) => Ok(Self {
                socket,
                path: path.to_owned(),
                file: Some(file),
                accepted: AtomicU64::new(0),
            }),
            Err(error) => {
                remove(&temporary);
                Err(error)
            }
        }
    }

    /// Listens on a socket that somebody else has bound there. Its file is theirs.
    pub(crate) fn adopt(socket: UnixListener, path: &Path) -> Self {
        Self {
            socket,
            path: path.to_owned(),
            file: None,
            accepted: AtomicU64::new(0),
        }
    }

    /// The stream, and a name of its own for the peer, which has none.
    pub(crate) async fn accept(&self) -> io::Result<(UnixStream, String)> {
        let (stream, _) = self.socket.accept().await?;
        let number = self.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        Ok((stream, format!("unix://{}@{number}", self.path.display())))
    }

    pub(crate) fn address(&self) -> String {
        text(&self.path)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let there = fs::symlink_metadata(&self.path);
        let there = there.map(|found| (found.dev(), found.ino())).ok();
        if there.is_some() && there == self.file {
            remove(&self.path);
        }
    }
}

pub(crate) fn text(path: &Path) -> String {
    format!("unix://{}", path.display())
}

/// Fails unless there is nothing at `path`, or a socket that nobody listens on.
fn check_free(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file that is not a socket has this name",
        ));
    }
    // Without waiting: a listener whose queue is full is a listener.
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// Binds under a name that is hardly longer than a name can be short: a socket's path is limited.
fn bind_temporary(path: &Path) -> io::Result<(UnixListener, PathBuf)> {
    let mut result = Err(io::ErrorKind::AddrInUse.into());
    for number in 0..TEMPORARY_NAMES {
        let temporary = path.with_file_name(format!(".{number}"));
        result = UnixListener::bind(&temporary).map(|socket| (socket, temporary));
        if !matches!(&result, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
            break;
        }
    }
    result
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "the socket file could not be removed");
    }
}
