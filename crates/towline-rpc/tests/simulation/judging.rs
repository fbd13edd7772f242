//! The ways in which an operation may end.

use towline_rpc::proto::{Failed, Message, NetRpcResponse, StreamEnd};

use crate::plan::{Kind, Operation, content};

const TOO_MANY: &str = "too many calls on this connection";

impl Operation {
    /// How a call ended; fails unless that is one of the ways it may.
    pub(super) fn check_call(&self, index: usize, result: Result<Message, Failed>) -> &'static str {
        match result {
            Err(Failed::TimedOut) => {
                assert!(self.timeout.is_some());
                "timed out"
            }
            Err(Failed::NotBegun(text)) => {
                assert_eq!(text, TOO_MANY);
                "too many"
            }
            Err(Failed::Refused(text)) => {
                assert_eq!(self.service, "nosuch", "{text}");
                "refused"
            }
            Ok(reply) if self.kind == Kind::NetRpc => {
                let (header, value) = NetRpcResponse::split(&reply.body).expect("its header");
                assert_eq!(
                    (header.method, reply.error),
                    (self.service.into(), "".into())
                );
                match &*header.error.to_string_lossy() {
                    "" => {
                        assert_eq!(value, content(index, 0, self.sizes[0]));
                        "net/rpc answered"
                    }
                    error => {
                        assert_eq!((error, self.service), ("no", "S.fail"));
                        "failed"
                    }
                }
            }
            Ok(reply) if self.service == "fail" => {
                assert_eq!(reply.error, *format!("failed {index}"));
                "failed"
            }
            Ok(reply) => {
                assert_eq!((self.service, &reply.error), ("echo", &"".into()));
                let expected = content(index, 0, self.sizes[0]);
                assert_eq!(reply.body, [b"re:", &expected[..]].concat());
                "answered"
            }
        }
    }

    /// How a stream ended of which this many parts were sent or taken; fails unless that is one of the ways it may.
    pub(super) fn check_stream(&self, index: usize, parts: usize, end: StreamEnd) -> &'static str {
        match end {
            StreamEnd::OutOfSync(out_of_sync) => panic!("{out_of_sync}"),
            StreamEnd::TimedOut => {
                assert!(self.timeout.is_some());
                "timed out"
            }
            StreamEnd::Refused(text) if text == TOO_MANY => "too many",
            StreamEnd::Refused(text) => {
                assert_eq!(self.service, "nosuch", "{text}");
                "refused"
            }
            StreamEnd::Reply(reply) => {
                let (error, body) = match self.service {
                    "early" => ("enough", String::new()),
                    "feed" => {
                        assert_eq!(parts, self.sizes.len(), "of operation {index}");
                        ("", format!("{parts} parts"))
                    }
                    "sum" => {
                        assert_eq!(parts, self.sizes.len(), "of operation {index}");
                        (
                            "",
                            format!("{parts} parts, {} bytes", self.sizes.iter().sum::<usize>()),
                        )
                    }
                    service => panic!("{service} ended by {reply:?}"),
                };
                assert_eq!(
                    (&reply.error, &reply.body[..]),
                    (&error.into(), body.as_bytes())
                );
                "answered"
            }
        }
    }
}
