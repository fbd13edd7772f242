//! One sequence of bytes over several streams: dealt to them in blocks, in turn, and taken likewise.
//! Over one stream that is the sequence itself.

use std::io;

use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split,
};

use super::{BLOCK, Counted, Link, broken};
use crate::failure::{Failure, failed};

/// Both directions of some streams, dealt alike.
pub(in crate::commands) struct Stripes {
    readers: Vec<ReadHalf<Counted<Link>>>,
    writers: Vec<WriteHalf<Counted<Link>>>,
}

impl Stripes {
    pub(in crate::commands) fn new(links: Vec<Counted<Link>>) -> Self {
        let (readers, writers) = links.into_iter().map(split).unzip();
        Self { readers, writers }
    }
}

/// Joins the streams to standard input and output until both directions have ended.
pub(in crate::commands) async fn join_stdio(stripes: Stripes) -> Result<(), Failure> {
    let Stripes {
        mut readers,
        mut writers,
    } = stripes;
    let deal = deal(tokio::io::stdin(), &mut writers);
    let collect = collect(&mut readers, tokio::io::stdout());
    tokio::try_join!(deal, collect).map(drop)
}

/// Deals what is read to the streams, and then the end to all of them.
async fn deal<W: AsyncWrite + Unpin>(
    mut input: impl AsyncRead + Unpin,
    streams: &mut [W],
) -> Result<(), Failure> {
    let mut block = vec![0; BLOCK];
    'all: loop {
        for stream in &mut *streams {
            let mut left = BLOCK;
            while left > 0 {
                let count = input
                    .read(&mut block[..left])
                    .await
                    .map_err(|error| failed(format_args!("cannot read standard input: {error}")))?;
                if count == 0 {
                    break 'all;
                }
                let written = async {
                    stream.write_all(&block[..count]).await?;
                    // What a person types goes at once.
                    stream.flush().await
                };
                written.await.map_err(|error| broken(&error))?;
                left -= count;
            }
        }
    }
    for stream in streams {
        stream.shutdown().await.map_err(|error| broken(&error))?;
    }
    Ok(())
}

/// Takes what comes from the streams until all have ended.
async fn collect<R: AsyncRead + Unpin>(
    streams: &mut [R],
    mut output: impl AsyncWrite + Unpin,
) -> Result<(), Failure> {
    let mut block = vec![0; BLOCK];
    'all: loop {
        for stream in &mut *streams {
            let mut left = BLOCK;
            while left > 0 {
                let count = stream
                    .read(&mut block[..left])
                    .await
                    .map_err(|error| broken(&error))?;
                if count == 0 {
                    break 'all;
                }
                let written = async {
                    output.write_all(&block[..count]).await?;
                    output.flush().await
                };
                written.await.map_err(|error| {
                    failed(format_args!("cannot write standard output: {error}"))
                })?;
                left -= count;
            }
        }
    }
    // The first to end must be the last to have sent: else the ends do not deal alike.
    for stream in streams {
        match stream.read(&mut block[..1]).await {
            Ok(0) => {}
            Ok(_) => {
                return Err(failed(
                    "the streams do not fit together: the other end deals to another number of them",
                )
                .hint("use the same --streams at both ends"));
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(broken(&error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// What arrives when `bytes` are dealt to this many streams and collected from that many.
    async fn over(bytes: Vec<u8>, dealt: usize, collected: usize) -> Result<Vec<u8>, Failure> {
        let (mut near, mut far): (Vec<DuplexStream>, Vec<DuplexStream>) =
            (0..dealt.max(collected)).map(|_| duplex(1000)).unzip();
        let mut back = Vec::new();
        let send = async {
            deal(&bytes[..], &mut near[..dealt]).await?;
            near.clear();
            Ok::<_, Failure>(())
        };
        let take = collect(&mut far[..collected], &mut back);
        let (sent, taken) = tokio::join!(send, take);
        taken?;
        sent?;
        Ok(back)
    }

    #[tokio::test]
    async fn bytes_are_whole_again_whatever_their_number_and_that_of_the_streams() {
        for streams in [1, 2, 5] {
            for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 7 * BLOCK + 3] {
                let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
                let back = over(bytes.clone(), streams, streams).await;
                assert!(
                    back.is_ok_and(|back| back == bytes),
                    "{size} over {streams}"
                );
            }
        }
    }

    #[tokio::test]
    async fn ends_that_deal_differently_are_told_apart() {
        // The rest of the first stream comes where the second was due.
        let error = over(vec![7; BLOCK + 500], 1, 2).await.err();
        let text = error.map(|error| error.message().to_owned());
        assert!(
            text.as_ref()
                .is_some_and(|text| text.contains("do not fit together")),
            "{text:?}"
        );
    }
}
