//! What a message is for.

use std::fmt;

/// The kind of a message: `HDR.Typ` (docs/wire C1).
///
/// Any number may arrive; unknown ones survive decoding and are ignored (docs/wire C2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CallType(pub i64);

impl CallType {
    /// Nothing was said; a client turns it into a call or a one-way message.
    pub const NONE: Self = Self(0);
    /// A call that is answered by one [`REPLY`](Self::REPLY).
    pub const CALL: Self = Self(1);
    /// A call in the style of Go's net/rpc.
    pub const NET_RPC: Self = Self(2);
    /// Opens a stream in both directions.
    pub const BISTREAM: Self = Self(3);
    /// A message that is not answered; from a server it is a push.
    pub const ONE_WAY: Self = Self(10);
    /// Ends a call or a stream.
    pub const REPLY: Self = Self(11);
    /// Says only that the sender lives.
    pub const KEEP_ALIVE: Self = Self(12);
    /// Cancels every running call with the same CallID.
    pub const CANCEL: Self = Self(13);
    /// Refuses a request; the text is in the subject.
    pub const ERROR: Self = Self(14);
    /// First part of an upload.
    pub const UPLOAD_BEGIN: Self = Self(15);
    /// A further part of an upload or of the client's half of a bistream.
    pub const UPLOAD_MORE: Self = Self(16);
    /// The last part of an upload.
    pub const UPLOAD_END: Self = Self(17);
    /// Asks for a download.
    pub const DOWNLOAD: Self = Self(18);
    /// First part of a download.
    pub const DOWNLOAD_BEGIN: Self = Self(19);
    /// A further part of a download.
    pub const DOWNLOAD_MORE: Self = Self(20);
    /// The last part of a download; only a hint, [`REPLY`](Self::REPLY) ends it (docs/wire S8).
    pub const DOWNLOAD_END: Self = Self(21);

    /// True for the parts a server sends in a download or bistream.
    pub const fn is_download_part(self) -> bool {
        matches!(
            self,
            Self::DOWNLOAD_BEGIN | Self::DOWNLOAD_MORE | Self::DOWNLOAD_END
        )
    }
}

impl fmt::Display for CallType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "CallNone",
            1 => "CallRPC",
            2 => "CallNetRPC",
            3 => "CallRequestBistreaming",
            10 => "CallOneWay",
            11 => "CallRPCReply",
            12 => "CallKeepAlive",
            13 => "CallCancelPrevious",
            14 => "CallError",
            15 => "CallUploadBegin",
            16 => "CallUploadMore",
            17 => "CallUploadEnd",
            18 => "CallRequestDownload",
            19 => "CallDownloadBegin",
            20 => "CallDownloadMore",
            21 => "CallDownloadEnd",
            number => return write!(f, "CallType({number})"),
        };
        f.write_str(name)
    }
}

impl fmt::Debug for CallType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/wire C1
    #[test]
    fn every_type_has_the_originals_name_and_unknown_ones_a_number() {
        let named = [
            (CallType::NONE, "CallNone"),
            (CallType::CALL, "CallRPC"),
            (CallType::NET_RPC, "CallNetRPC"),
            (CallType::BISTREAM, "CallRequestBistreaming"),
            (CallType::ONE_WAY, "CallOneWay"),
            (CallType::REPLY, "CallRPCReply"),
            (CallType::KEEP_ALIVE, "CallKeepAlive"),
            (CallType::CANCEL, "CallCancelPrevious"),
            (CallType::ERROR, "CallError"),
            (CallType::UPLOAD_BEGIN, "CallUploadBegin"),
            (CallType::UPLOAD_MORE, "CallUploadMore"),
            (CallType::UPLOAD_END, "CallUploadEnd"),
            (CallType::DOWNLOAD, "CallRequestDownload"),
            (CallType::DOWNLOAD_BEGIN, "CallDownloadBegin"),
            (CallType::DOWNLOAD_MORE, "CallDownloadMore"),
            (CallType::DOWNLOAD_END, "CallDownloadEnd"),
        ];
        for (typ, name) in named {
            assert_eq!(
                (typ.to_string(), format!("{typ:?}")),
                (name.into(), name.into())
            );
        }
        assert_eq!(CallType(77).to_string(), "CallType(77)");
        assert_eq!(
            CallType(i64::MIN).to_string(),
            "CallType(-9223372036854775808)"
        );
    }
}
