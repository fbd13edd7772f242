//! Reading and writing: the same for a stream and for each of its halves.

/// What can be read from: `$core` is its [`StreamCore`](super::StreamCore), `$deadline` the deadline of
/// its reads.
macro_rules! reading {
    ($type:ty, |$this:ident| ($core:expr, $deadline:expr)) => {
        impl $type {
            /// The next bytes, as they came; `Ok(None)` at the peer's end of data. The future is one
            /// reference large.
            ///
            /// # Errors
            ///
            /// [`ReadError`](crate::ReadError), after everything that had come before was read.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses nothing.
            pub fn read_chunk(
                &mut self,
            ) -> impl Future<Output = Result<Option<bytes::Bytes>, crate::ReadError>> + Send + '_
            {
                std::future::poll_fn(|cx| self.poll_read_chunk(cx))
            }

            /// As [`read_chunk`](Self::read_chunk).
            ///
            /// # Errors
            ///
            /// [`ReadError`](crate::ReadError)
            pub fn poll_read_chunk(
                &mut self,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<Option<bytes::Bytes>, crate::ReadError>> {
                let $this = self;
                $core.poll_read_chunk(cx, $deadline)
            }

            /// Gives up reading: `CloseRead`. What comes is thrown away; a peer that goes on until its
            /// credit is used up is told by a reset. Reads fail from now on.
            pub fn close_read(&mut self) {
                let $this = self;
                $core.close_read();
            }
        }

        impl tokio::io::AsyncRead for $type {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let $this = self.get_mut();
                $core
                    .poll_read(cx, buf, $deadline)
                    .map_err(std::io::Error::from)
            }
        }

        #[cfg(feature = "futures-io")]
        impl futures_io::AsyncRead for $type {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let mut buf = tokio::io::ReadBuf::new(buf);
                tokio::io::AsyncRead::poll_read(self, cx, &mut buf).map_ok(|()| buf.filled().len())
            }
        }
    };
}

/// What can be written to, as [`reading`].
macro_rules! writing {
    ($type:ty, |$this:ident| ($core:expr, $deadline:expr)) => {
        impl $type {
            /// Queues all of `chunk` without copying it.
            ///
            /// # Errors
            ///
            /// [`WriteError`](crate::WriteError); a part may have been queued then.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses what was not queued yet; nothing tells how much that was. Use
            /// [`poll_write_chunk`](Self::poll_write_chunk) where that matters.
            pub fn write_chunk(
                &mut self,
                mut chunk: bytes::Bytes,
            ) -> impl Future<Output = Result<(), crate::WriteError>> + Send + '_ {
                // Not an async function, which would hold the chunk twice: a server has one of these
                // in each of its tasks.
                std::future::poll_fn(move |cx| {
                    loop {
                        std::task::ready!(self.poll_write_chunk(cx, &mut chunk))?;
                        if chunk.is_empty() {
                            return std::task::Poll::Ready(Ok(()));
                        }
                    }
                })
            }

            /// Queues as much of `chunk` as there is room for, at least a byte, and takes it off `chunk`.
            ///
            /// # Errors
            ///
            /// [`WriteError`](crate::WriteError)
            pub fn poll_write_chunk(
                &mut self,
                cx: &mut std::task::Context<'_>,
                chunk: &mut bytes::Bytes,
            ) -> std::task::Poll<Result<(), crate::WriteError>> {
                let $this = self;
                $core.poll_write_chunk(cx, chunk, $deadline)
            }

            /// Ends this side's data: `CloseWrite`. Nothing is waited for. Again is nothing.
            ///
            /// # Errors
            ///
            /// [`WriteError`](crate::WriteError), if the stream or the session has ended otherwise.
            pub fn close_write(&mut self) -> Result<(), crate::WriteError> {
                let $this = self;
                $core.shutdown()
            }

            /// Ends the stream in both directions at once. What is queued is dropped; the peer's reads
            /// and writes fail with the code. yamux peers older than go-yamux v5 do not see the code.
            pub fn reset(&mut self, code: u32) {
                let $this = self;
                $core.reset(code);
            }
        }

        impl tokio::io::AsyncWrite for $type {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let $this = self.get_mut();
                $core
                    .poll_write(cx, buf, $deadline)
                    .map_err(std::io::Error::from)
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let $this = self.get_mut();
                $core
                    .poll_write_vectored(cx, bufs, $deadline)
                    .map_err(std::io::Error::from)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let $this = self.get_mut();
                $core
                    .poll_flush(cx, $deadline)
                    .map_err(std::io::Error::from)
            }

            fn poll_shutdown(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let $this = self.get_mut();
                std::task::Poll::Ready($core.shutdown().map_err(std::io::Error::from))
            }
        }

        #[cfg(feature = "futures-io")]
        impl futures_io::AsyncWrite for $type {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                tokio::io::AsyncWrite::poll_write(self, cx, buf)
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                tokio::io::AsyncWrite::poll_write_vectored(self, cx, bufs)
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                tokio::io::AsyncWrite::poll_flush(self, cx)
            }

            fn poll_close(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                tokio::io::AsyncWrite::poll_shutdown(self, cx)
            }
        }
    };
}

pub(super) use {reading, writing};
