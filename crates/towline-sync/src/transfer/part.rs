//! Names of the file services, and the arguments that travel with the parts of a file.
//!
//! Arguments are pairs of strings in the header of a message. They are read through a look-up
//! function and written as a list of pairs, so that nothing here depends on how a message is made.
//! The original ignores names it does not know; those of towline's own (docs/wire T11) stand beside
//! the original's (docs/wire T4 to T8).

use std::time::SystemTime;

use crate::hash_name::{HashName, HashNameError};
use crate::stamp;

/// Bytes of a full part: 1 MiB.
pub const PART_SIZE: usize = 1024 * 1024;

/// Service that receives a file: an upload stream.
pub const UPLOAD_SERVICE: &str = "__fileUploader";
/// Service that sends a file: a download stream.
pub const DOWNLOAD_SERVICE: &str = "__downloaderName";
/// Service that returns every part of a stream as it came.
pub const ECHO_STREAM_SERVICE: &str = "echoBistreamFunc";
/// Service that returns the body of a call with a time stamp.
pub const ECHO_CALL_SERVICE: &str = "customEcho";

/// Base name of the file that is sent; in the first part of an upload.
pub const READ_FILE: &str = "readFile";
/// Hash of the part's body; in every part.
pub const BLAKE3: &str = "blake3";
/// Bytes of the whole file in decimal; in every part of a download, and in the first of an upload
/// from a towline.
pub const PATH_SIZE: &str = "pathsize";
/// Base name of the file; in every part of a download.
pub const FILE_NAME: &str = "filename";
/// The path as it was asked for; in every part of a download.
pub const PATH: &str = "path";
/// The path that is asked for; in the request of a download.
pub const REQUESTED_PATH: &str = "downloadRequestedPath";
/// Hash of all bytes; in the final reply to an upload.
pub const SERVER_TOTAL: &str = "serverTotalBlake3sum";
/// Modification time, RFC 3339 with nanoseconds (towline's own).
pub const MTIME: &str = "mtime";
/// Permission bits in octal (towline's own).
pub const MODE: &str = "mode";
/// Directory beneath the server's root to store an upload in (towline's own).
pub const DIR: &str = "dir";
/// Path beneath the server's root under which an upload was stored (towline's own).
pub const STORED: &str = "stored";

/// `yes` beside the error text of a final reply: the server does not allow what was asked for
/// (towline's own; docs/wire T31).
pub const REFUSED: &str = "refused";

/// Arguments ready to be put into a message.
pub type Args = Vec<(&'static str, String)>;

/// What is known of a file beside its bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileMeta {
    /// Size in bytes.
    pub size: Option<u64>,
    /// Modification time.
    pub mtime: Option<SystemTime>,
    /// Permission bits; only those of `0o777`.
    pub mode: Option<u32>,
}

impl FileMeta {
    fn read<'a>(get: &impl Fn(&str) -> Option<&'a str>) -> Result<Self, ArgsError> {
        Ok(Self {
            size: get(PATH_SIZE).map(parse_size).transpose()?,
            mtime: get(MTIME)
                .map(|text| stamp::parse(text).ok_or(ArgsError::Mtime))
                .transpose()?,
            mode: get(MODE).map(parse_mode).transpose()?,
        })
    }

    fn write(&self, args: &mut Args) {
        if let Some(size) = self.size {
            args.push((PATH_SIZE, size.to_string()));
        }
        if let Some(text) = self.mtime.and_then(stamp::format) {
            args.push((MTIME, text));
        }
        if let Some(mode) = self.mode {
            args.push((MODE, format!("{:04o}", mode & 0o777)));
        }
    }
}

/// Whether a stored file must be on the disk before the reply: `no`, or absent (docs/wire T24).
pub const FSYNC: &str = "fsync";

/// Arguments of the first part of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadBegin<'a> {
    /// Base name of the file, exactly as the peer sent it: [`crate::Root::target`] checks it.
    pub name: &'a str,
    /// Directory beneath the server's root, if the peer named one.
    pub dir: Option<&'a str>,
    /// Hash of this part; the original accepts a first part without it.
    pub hash: Option<HashName>,
    /// Size, time and mode, if the peer sent them.
    pub meta: FileMeta,
    /// Whether the file should be on the disk before it counts as stored (docs/wire T24).
    pub durable: bool,
}

impl<'a> UploadBegin<'a> {
    /// Reads the arguments of a part.
    ///
    /// # Errors
    ///
    /// [`ArgsError::Missing`] without `readFile`; the others for texts that cannot be read.
    pub fn read(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, ArgsError> {
        Ok(Self {
            name: get(READ_FILE).ok_or(ArgsError::Missing(READ_FILE))?,
            dir: get(DIR).filter(|dir| !dir.is_empty()),
            hash: read_hash(&get)?,
            meta: FileMeta::read(&get)?,
            durable: get(FSYNC) != Some("no"),
        })
    }

    /// The arguments of a part.
    pub fn write(&self) -> Args {
        let mut args = vec![(READ_FILE, self.name.to_owned())];
        args.extend(self.hash.map(|hash| (BLAKE3, hash.to_string())));
        args.extend(self.dir.map(|dir| (DIR, dir.to_owned())));
        if !self.durable {
            args.push((FSYNC, "no".to_owned()));
        }
        self.meta.write(&mut args);
        args
    }
}

/// The hash that came with a part: all that later parts of an upload carry.
///
/// # Errors
///
/// [`ArgsError::Hash`] for a text that is not a hash.
pub fn read_hash<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Option<HashName>, ArgsError> {
    get(BLAKE3)
        .map(|text| text.parse().map_err(ArgsError::Hash))
        .transpose()
}

/// The arguments of a later part of an upload.
pub fn write_hash(hash: HashName) -> Args {
    vec![(BLAKE3, hash.to_string())]
}

/// Arguments of the final reply to an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadReply<'a> {
    /// Hash of all bytes that arrived.
    pub total: HashName,
    /// Path beneath the server's root under which the file was stored; only a towline tells.
    pub stored: Option<&'a str>,
}

impl<'a> UploadReply<'a> {
    /// Reads the arguments of a reply.
    ///
    /// # Errors
    ///
    /// [`ArgsError::Missing`] or [`ArgsError::Hash`] when the total is not there or not readable.
    pub fn read(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, ArgsError> {
        let total = get(SERVER_TOTAL).ok_or(ArgsError::Missing(SERVER_TOTAL))?;
        Ok(Self {
            total: total.parse().map_err(ArgsError::Hash)?,
            stored: get(STORED),
        })
    }

    /// The arguments of a reply.
    pub fn write(&self) -> Args {
        let mut args = vec![(SERVER_TOTAL, self.total.to_string())];
        args.extend(self.stored.map(|path| (STORED, path.to_owned())));
        args
    }
}

/// The body of the final reply to an upload, in the original's form: a sentence for people that
/// begins `got upcall at '` and holds `bytesWrit=<n>;` (docs/wire T5).
pub fn upload_sentence(at: SystemTime, name: &str, bytes: u64) -> String {
    let at = stamp::format(at).unwrap_or_default();
    format!("got upcall at '{at}' => bytesWrit={bytes}; stored '{name}'")
}

/// The path that a download asks for.
///
/// # Errors
///
/// [`ArgsError::Missing`] without it.
pub fn read_requested_path<'a>(
    get: impl Fn(&str) -> Option<&'a str>,
) -> Result<&'a str, ArgsError> {
    get(REQUESTED_PATH).ok_or(ArgsError::Missing(REQUESTED_PATH))
}

/// The arguments of a download request.
pub fn write_requested_path(path: &str) -> Args {
    vec![(REQUESTED_PATH, path.to_owned())]
}

/// Arguments of a part of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadPart<'a> {
    /// The path as it was asked for.
    pub path: Option<&'a str>,
    /// Base name of the file.
    pub name: Option<&'a str>,
    /// Hash of this part.
    pub hash: Option<HashName>,
    /// Size, and from a towline time and mode.
    pub meta: FileMeta,
}

impl<'a> DownloadPart<'a> {
    /// Reads the arguments of a part.
    ///
    /// # Errors
    ///
    /// For texts that cannot be read; everything may be absent.
    pub fn read(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, ArgsError> {
        Ok(Self {
            path: get(PATH),
            name: get(FILE_NAME),
            hash: read_hash(&get)?,
            meta: FileMeta::read(&get)?,
        })
    }

    /// The arguments of a part.
    pub fn write(&self) -> Args {
        let mut args = Args::with_capacity(6);
        args.extend(self.path.map(|path| (PATH, path.to_owned())));
        args.extend(self.name.map(|name| (FILE_NAME, name.to_owned())));
        args.extend(self.hash.map(|hash| (BLAKE3, hash.to_string())));
        self.meta.write(&mut args);
        args
    }
}

/// Why the arguments of a part cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// A mandatory argument is not there.
    #[error("the argument `{0}` is missing")]
    Missing(&'static str),
    /// The hash cannot be read.
    #[error("the hash that came with the part cannot be read: {0}")]
    Hash(#[source] HashNameError),
    /// The size is not a decimal number of bytes.
    #[error("the argument `pathsize` is not a number of bytes")]
    Size,
    /// The time is not in RFC 3339 form.
    #[error("the argument `mtime` is not a time like 2026-11-20T10:22:38.123456789Z")]
    Mtime,
    /// The mode is not octal, or has bits beyond the permissions.
    #[error("the argument `mode` is not an octal mode like 0644")]
    Mode,
}

fn parse_size(text: &str) -> Result<u64, ArgsError> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().map_err(|_| ArgsError::Size)
    } else {
        Err(ArgsError::Size)
    }
}

/// docs/wire T27: a peer never sets set-user-id, set-group-id or sticky.
fn parse_mode(text: &str) -> Result<u32, ArgsError> {
    if text.is_empty() || text.len() > 5 || !text.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return Err(ArgsError::Mode);
    }
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode & 0o777),
        _ => Err(ArgsError::Mode),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    fn map(args: Args) -> BTreeMap<String, String> {
        args.into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    fn pairs(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn every_kind_of_part_survives_its_arguments() {
        let meta = FileMeta {
            size: Some(3_145_733),
            mtime: Some(SystemTime::UNIX_EPOCH + Duration::new(1_795_170_158, 7)),
            mode: Some(0o640),
        };
        let begin = UploadBegin {
            name: "big.bin",
            dir: Some("in/box"),
            hash: Some(HashName::of(b"aaa")),
            meta,
            durable: false,
        };
        let sent = map(begin.write());
        assert_eq!(sent[MODE], "0640");
        assert_eq!(sent[MTIME], "2026-11-20T10:22:38.000000007Z");
        assert_eq!(
            UploadBegin::read(|key| sent.get(key).map(String::as_str)),
            Ok(begin)
        );

        let download = DownloadPart {
            path: Some("a/b"),
            name: Some("b"),
            hash: Some(HashName::of(b"")),
            meta,
        };
        let sent = map(download.write());
        assert_eq!(
            DownloadPart::read(|key| sent.get(key).map(String::as_str)),
            Ok(download)
        );

        let reply = UploadReply {
            total: HashName::of(b"x"),
            stored: Some("in/box/big.bin"),
        };
        let sent = map(reply.write());
        assert_eq!(
            UploadReply::read(|key| sent.get(key).map(String::as_str)),
            Ok(reply)
        );

        let sent = map(write_requested_path("a/b"));
        assert_eq!(
            read_requested_path(|key| sent.get(key).map(String::as_str)),
            Ok("a/b")
        );
    }

    #[test]
    fn the_original_sends_less_and_is_understood() {
        let sent = pairs(&[(READ_FILE, "f.txt")]);
        let begin = UploadBegin::read(|key| sent.get(key).map(String::as_str)).unwrap();
        assert_eq!((begin.name, begin.dir, begin.hash), ("f.txt", None, None));
        assert_eq!(begin.meta, FileMeta::default());
        let none = DownloadPart::read(|_| None).unwrap();
        assert_eq!((none.path, none.hash), (None, None));
    }

    #[test]
    fn unreadable_arguments_are_named() {
        let read = |list: &[(&str, &str)]| {
            let sent = pairs(list);
            UploadBegin::read(|key| sent.get(key).map(String::as_str)).map(|_| ())
        };
        assert_eq!(read(&[]), Err(ArgsError::Missing(READ_FILE)));
        assert_eq!(
            read(&[(READ_FILE, "f"), (BLAKE3, "nonsense")]),
            Err(ArgsError::Hash(HashNameError::Prefix))
        );
        for size in ["", "-1", "+1", "1.0", "99999999999999999999"] {
            let sent = [(READ_FILE, "f"), (PATH_SIZE, size)];
            assert_eq!(read(&sent), Err(ArgsError::Size), "{size}");
        }
        for mode in ["", "rw", "0o644", "8", "10000", "000644"] {
            let sent = [(READ_FILE, "f"), (MODE, mode)];
            assert_eq!(read(&sent), Err(ArgsError::Mode), "{mode}");
        }
        assert_eq!(
            read(&[(READ_FILE, "f"), (MTIME, "yesterday")]),
            Err(ArgsError::Mtime)
        );
        assert_eq!(
            read_requested_path(|_| None),
            Err(ArgsError::Missing(REQUESTED_PATH))
        );
    }

    #[test]
    fn a_peer_cannot_set_more_than_permissions() {
        let sent = pairs(&[(READ_FILE, "f"), (MODE, "4755")]);
        let begin = UploadBegin::read(|key| sent.get(key).map(String::as_str)).unwrap();
        assert_eq!(begin.meta.mode, Some(0o755));
    }

    #[test]
    fn the_reply_reads_as_the_originals() {
        let text = upload_sentence(SystemTime::UNIX_EPOCH, "f", 12);
        assert!(text.starts_with("got upcall at '"));
        assert!(text.contains("bytesWrit=12;"));
    }
}
