//! Whole files through the byte stream, as the original sends them (docs/wire W53).

use std::{io::SeekFrom, time::SystemTime};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeek, AsyncSeekExt, AsyncWrite, AsyncWriteExt};
use towline_codec::{Text, greenpack::Timestamp};

use super::Session;
use crate::{
    error::{RecvFileError, SendFileError},
    proto::{BigFile, CloseReason, FileDecoder, FileProgress, checksum},
};

/// The most that the length of a byte string can say.
const MAX_FILE: u64 = u32::MAX as u64;

/// A file that was received or sent, without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileInfo {
    /// Its name, for people: nothing is opened by it. From a peer it can be anything.
    pub path: Text,
    /// Bytes of its data.
    pub size: u64,
    /// [`checksum`](crate::proto::checksum()) of its data.
    pub blake2b: [u8; 64],
    /// When it was sent, by the sender's clock.
    pub sent: Option<Timestamp>,
}

impl Session {
    /// Sends a file from memory, and waits until the peer has acknowledged all of it. `path` is only a
    /// name. Files of several tasks do not mix; other bytes and messages do.
    ///
    /// # Errors
    ///
    /// [`SendFileError`]; a file has at most 4 GiB less one byte.
    ///
    /// # Cancel safety
    ///
    /// A file that was not sent whole makes the stream useless.
    pub async fn send_file(
        &self,
        path: impl Into<Text>,
        data: impl Into<Bytes>,
        sent: SystemTime,
    ) -> Result<FileInfo, SendFileError> {
        let mut data: Bytes = data.into();
        let info = FileInfo {
            path: path.into(),
            size: data.len() as u64,
            blake2b: checksum(&data),
            sent: Some(Timestamp::from(sent)),
        };
        let _turn = self.writing.lock().await;
        self.send_header(&info).await?;
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(self.piece));
            self.send(piece).await?;
        }
        self.all_acknowledged().await?;
        Ok(info)
    }

    /// Sends a file from a reader, which is read twice: its checksum goes before its data. Waits until
    /// the peer has acknowledged all of it. Memory: two pieces, and the send buffer.
    ///
    /// # Errors
    ///
    /// [`SendFileError`]; [`SendFileError::Changed`] if the second reading finds other data, which the
    /// receiver finds as well.
    ///
    /// # Cancel safety
    ///
    /// A file that was not sent whole makes the stream useless.
    pub async fn send_file_from(
        &self,
        path: impl Into<Text>,
        file: &mut (impl AsyncRead + AsyncSeek + Unpin),
        sent: SystemTime,
    ) -> Result<FileInfo, SendFileError> {
        let start = file.stream_position().await?;
        let mut buffer = BytesMut::new();
        let mut hash = blake2b_simd::State::new();
        let mut size = 0;
        while let Some(piece) = read_piece(file, &mut buffer, self.piece).await? {
            hash.update(&piece);
            size += piece.len() as u64;
        }
        file.seek(SeekFrom::Start(start)).await?;
        let info = FileInfo {
            path: path.into(),
            size,
            blake2b: *hash.finalize().as_array(),
            sent: Some(Timestamp::from(sent)),
        };
        let _turn = self.writing.lock().await;
        self.send_header(&info).await?;
        let mut hash = blake2b_simd::State::new();
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.piece);
            let Some(piece) = read_piece(file, &mut buffer, most).await? else {
                return Err(SendFileError::Changed);
            };
            hash.update(&piece);
            left -= piece.len() as u64;
            self.send(piece).await?;
        }
        self.all_acknowledged().await?;
        if hash.finalize().as_array() != &info.blake2b {
            return Err(SendFileError::Changed);
        }
        Ok(info)
    }

    async fn send_header(&self, info: &FileInfo) -> Result<(), SendFileError> {
        let too_large = || SendFileError::TooLarge { len: info.size };
        if info.size > MAX_FILE {
            return Err(too_large());
        }
        let header = BigFile {
            path: info.path.clone(),
            size: i64::try_from(info.size).map_err(|_| too_large())?,
            blake2b: Bytes::copy_from_slice(&info.blake2b),
            sent: info.sent,
            data: Bytes::new(),
        };
        let len = usize::try_from(info.size).map_err(|_| too_large())?;
        let mut wire = BytesMut::new();
        header.encode_header(&mut wire, len);
        let mut wire = wire.freeze();
        while !wire.is_empty() {
            let piece = wire.split_to(wire.len().min(self.piece));
            self.send(piece).await?;
        }
        Ok(())
    }

    /// Receives a file of at most `max` bytes into memory, which grows with what came, not with what was
    /// announced.
    ///
    /// # Errors
    ///
    /// [`RecvFileError`]. A file that came whole and is not what was sent comes with the error.
    ///
    /// # Cancel safety
    ///
    /// What was received of the file is lost if the future is dropped, and the stream is useless.
    pub async fn recv_file(&self, max: u64) -> Result<BigFile, RecvFileError> {
        let mut data = BytesMut::new();
        let (mut decoder, mut input) = (FileDecoder::new(max), Bytes::new());
        while let Some(part) = self.next_part(&mut decoder, &mut input).await? {
            data.extend_from_slice(&part);
        }
        let file = BigFile {
            data: data.freeze(),
            ..decoder.file().clone()
        };
        match decoder.verify() {
            Ok(()) => Ok(file),
            Err(mismatch) => Err(RecvFileError::Mismatch {
                mismatch,
                file: Box::new(file),
            }),
        }
    }

    /// Receives a file of at most `max` bytes into a writer, as it comes. Nothing is read beyond its end.
    ///
    /// # Errors
    ///
    /// [`RecvFileError`]. What was written is only what was sent if there is none.
    ///
    /// # Cancel safety
    ///
    /// See [`recv_file`](Self::recv_file).
    pub async fn recv_file_to(
        &self,
        out: &mut (impl AsyncWrite + Unpin),
        max: u64,
    ) -> Result<FileInfo, RecvFileError> {
        let (mut decoder, mut input) = (FileDecoder::new(max), Bytes::new());
        while let Some(part) = self.next_part(&mut decoder, &mut input).await? {
            out.write_all(&part).await.map_err(RecvFileError::Write)?;
        }
        out.flush().await.map_err(RecvFileError::Write)?;
        let file = decoder.file();
        if let Err(mismatch) = decoder.verify() {
            return Err(RecvFileError::Mismatch {
                mismatch,
                file: Box::new(file.clone()),
            });
        }
        let mut blake2b = [0; 64];
        // It was compared with one of this length.
        blake2b.copy_from_slice(&file.blake2b);
        Ok(FileInfo {
            path: file.path.clone(),
            size: decoder.data_len(),
            blake2b,
            sent: file.sent,
        })
    }

    /// The next bytes of a file; `None` at its end.
    async fn next_part(
        &self,
        decoder: &mut FileDecoder,
        input: &mut Bytes,
    ) -> Result<Option<Bytes>, RecvFileError> {
        loop {
            match decoder.advance(input)? {
                FileProgress::Data(part) => return Ok(Some(part)),
                FileProgress::Done => return Ok(None),
                FileProgress::NeedsMore => {}
            }
            // No more than belongs to the file.
            *input = self.read_some(decoder.wants()).await?;
            if input.is_empty() {
                let end = crate::ReadError(CloseReason::RemoteClosed);
                return Err(RecvFileError::Read(end));
            }
        }
    }
}

/// The next piece of a reader, full unless it is the last; `None` at the end.
async fn read_piece(
    file: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    len: usize,
) -> std::io::Result<Option<Bytes>> {
    buffer.reserve(len);
    while buffer.len() < len {
        let room = (len - buffer.len()) as u64;
        if (&mut *file).take(room).read_buf(buffer).await? == 0 {
            break;
        }
    }
    Ok((!buffer.is_empty()).then(|| buffer.split().freeze()))
}
