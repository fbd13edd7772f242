//! The original's types of delta sync: manifests, differences, and the messages of its five steps
//! (docs/wire D5 to D9).
//!
//! The original sends none of them yet, and ignores them when they come. towline's own sync speaks
//! another language; these are for exchange with programs of that generation, and
//! for `tow chunks`.
//!
//! ```
//! use towline_sync::chunk::{ChunkParams, FastCdc};
//! use towline_sync::compat::RsyncHashes;
//!
//! let chunker = FastCdc::new(ChunkParams::RSYNC);
//! let old = RsyncHashes::of_bytes(&chunker, "here", "old", &[0; 200_000], None);
//! let new = RsyncHashes::of_bytes(&chunker, "here", "new", &[0; 300_000], None);
//! let diff = old.diff(&new);
//! // Only the shorter chunk at the end is not in the old version.
//! assert_eq!(diff.only_b.len(), 1);
//! ```

mod diff;
mod field;
mod hashes;
mod json;
mod mode;

use bytes::{Bytes, BytesMut};
use towline_codec::greenpack::{DecodeError, Greenpack, Reader, Timestamp, write};

use field::{Field, structs};
pub use hashes::ManifestError;
pub use mode::{go_mode, unix_mode};

structs! {
    /// Sizes of a chunker.
    pub struct CdcConfig {
        /// Smallest chunk, in bytes.
        pub min_size: i64 = "MinSize_zid00_int",
        /// The size aimed at.
        pub target_size: i64 = "TargetSize_zid01_int",
        /// Largest chunk.
        pub max_size: i64 = "MaxSize_zid02_int",
    }

    /// A chunk: bytes `beg..endx` of the file.
    pub struct RsyncChunk {
        /// Counted from 0.
        pub chunk_number: i64 = "ChunkNumber_zid00_int",
        /// Bytes before it.
        pub beg: i64 = "Beg_zid01_int",
        /// Bytes before what follows it.
        pub endx: i64 = "Endx_zid02_int",
        /// Hash text of its bytes.
        pub hash: String = "Hash_zid03_str",
        /// `endx - beg`.
        pub len: i64 = "Len_zid04_int",
    }

    /// The manifest of a file: what it is, and its chunks.
    pub struct RsyncHashes {
        /// Where the file is.
        pub host: String = "Host_zid00_str",
        /// Its path there.
        pub path: String = "Path_zid01_str",
        /// When it was last changed.
        pub mod_time: Option<Timestamp> = "ModTime_zid02_tim",
        /// Bytes in it.
        pub file_size: i64 = "FileSize_zid03_i64",
        /// Go's word for kind and permissions: see [`go_mode`].
        pub file_mode: u32 = "FileMode_zid04_u32",
        /// Name of the owner.
        pub file_owner: String = "FileOwner_zid05_str",
        /// Number of the owner.
        pub file_owner_id: u32 = "FileOwnerID_zid06_u32",
        /// Name of the group.
        pub file_group: String = "FileGroup_zid07_str",
        /// Number of the group.
        pub file_group_id: u32 = "FileGroupID_zid08_u32",
        /// Reserved.
        pub file_meta: Bytes = "FileMeta_zid09_bin",
        /// `blake3.32B`.
        pub hash_name: String = "HashName_zid10_str",
        /// Hash text of the whole file.
        pub full_file_hash_sum: String = "FullFileHashSum_zid11_str",
        /// Name of the chunker.
        pub chunker_name: String = "ChunkerName_zid12_str",
        /// Its sizes.
        pub cdc_config: Option<Box<CdcConfig>> = "CDC_Config_zid13_ptr",
        /// How many chunks there are.
        pub num_chunks: i64 = "NumChunks_zid14_int",
        /// The chunks, in order.
        pub chunks: Vec<RsyncChunk> = "Chunks_zid15_slc",
        /// The CallID of the exchange.
        pub rsync0_call_id: String = "Rsync0CallID_zid16_str",
        /// Whether the sender of the file made it.
        pub is_from_sender: bool = "IsFromSender_zid17_boo",
        /// When it was made.
        pub created: Option<Timestamp> = "Created_zid18_tim",
    }

    /// A chunk that both versions have.
    pub struct MatchHashPair {
        /// As it lies in A.
        pub a: Option<Box<RsyncChunk>> = "A_zid00_ptr",
        /// As it lies in B.
        pub b: Option<Box<RsyncChunk>> = "B_zid01_ptr",
    }

    /// What two manifests have in common, and what not.
    pub struct RsyncDiff {
        /// Where A is.
        pub host_a: String = "HostA_zid00_str",
        /// Its path.
        pub path_a: String = "PathA_zid01_str",
        /// Its manifest.
        pub hashes_a: Option<Box<RsyncHashes>> = "HashesA_zid02_ptr",
        /// Where B is.
        pub host_b: String = "HostB_zid03_str",
        /// Its path.
        pub path_b: String = "PathB_zid04_str",
        /// Its manifest.
        pub hashes_b: Option<Box<RsyncHashes>> = "HashesB_zid05_ptr",
        /// In both.
        pub both: Vec<MatchHashPair> = "Both_zid06_slc",
        /// In A alone.
        pub only_a: Vec<RsyncChunk> = "OnlyA_zid07_slc",
        /// In B alone.
        pub only_b: Vec<RsyncChunk> = "OnlyB_zid08_slc",
    }

    /// Step 0, call type 4: a reader asks for a file.
    pub struct RsyncStep0ClientRequestsRead {
        /// Where the reader is.
        pub reader_host: String = "ReaderHost_zid00_str",
        /// The path there.
        pub reader_path: String = "ReaderPath_zid01_str",
        /// Bytes that the reader has.
        pub reader_len_bytes: i64 = "ReaderLenBytes_zid02_i64",
        /// When they were changed.
        pub reader_mod_time: Option<Timestamp> = "ReaderModTime_zid03_tim",
        /// Their hash text.
        pub reader_full_hash: String = "ReaderFullHash_zid04_str",
    }

    /// Step 1, call type 5: a sender says what it has.
    pub struct RsyncStep1SenderOverview {
        /// Where the sender is.
        pub sender_host: String = "SenderHost_zid00_str",
        /// The path there.
        pub sender_path: String = "SenderPath_zid01_str",
        /// Bytes that the sender has.
        pub sender_len_bytes: i64 = "SenderLenBytes_zid02_i64",
        /// When they were changed.
        pub sender_mod_time: Option<Timestamp> = "SenderModTime_zid03_tim",
        /// Their hash text.
        pub sender_full_hash: String = "SenderFullHash_zid04_str",
    }

    /// Step 2, call type 22: the reader has the same, or says what it has.
    pub struct RsyncStep2AckOverview {
        /// Nothing is to be done.
        pub reader_matches_sender_all_good: bool = "ReaderMatchesSenderAllGood_zid00_boo",
        /// What the reader has.
        pub reader_hashes: Option<Box<RsyncHashes>> = "ReaderHashes_zid01_ptr",
    }

    /// Step 3, call type 23: what the reader lacks.
    pub struct RsyncStep3SenderProvidesDeltas {
        /// What the sender has.
        pub sender_hashes: Option<Box<RsyncHashes>> = "SenderHashes_zid00_ptr",
        /// How the two differ.
        pub chunk_diff: Option<Box<RsyncDiff>> = "ChunkDiff_zid01_ptr",
        /// Hash texts of what is sent, before compression.
        pub delta_hashes_pre_compression: Vec<String> = "DeltaHashesPreCompression_zid02_slc",
        /// How it is compressed.
        pub compression_algo: String = "CompressionAlgo_zid03_str",
        /// Where the data goes; towline leaves it empty.
        pub delta_data_streamed_path: String = "DeltaDataStreamedPath_zid04_str",
    }

    /// Step 4, call type 24: the reader has it.
    pub struct RsyncStep4ReaderAcksDeltasFin {
        /// Where the reader is.
        pub reader_host: String = "ReaderHost_zid00_str",
        /// The path there.
        pub reader_path: String = "ReaderPath_zid01_str",
        /// Bytes that the reader has now.
        pub reader_len_bytes: i64 = "ReaderLenBytes_zid02_i64",
        /// When they were changed.
        pub reader_mod_time: Option<Timestamp> = "ReaderModTime_zid03_tim",
        /// Their hash text.
        pub reader_full_hash: String = "ReaderFullHash_zid04_str",
    }
}
