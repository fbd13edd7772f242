//! HTTP CONNECT as rpc25519 and Go's net/rpc speak it: one request, one answer, and then the connection
//! carries something else (docs/wire F35).
//!
//! Endpoints do this by themselves: `connect+tcp://host:port`. These functions are for connections that are
//! there already: [`dial`] on the client's side, [`accept`] on that of a server that is nothing else. A server
//! of HTTP that has read the request itself asks [`is_wanted`] about it; it answers with status 200 and
//! [`REASON`], or has [`answer`] do so on a connection that it gives up:
//!
//! ```
//! use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
//! use towline_transport::http_connect;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut here, mut there) = duplex(1024);
//! let server = async {
//!     // What a server of HTTP has read by its own means: method and path.
//!     let mut request = [0; 27];
//!     there.read_exact(&mut request).await?;
//!     assert!(http_connect::is_wanted("CONNECT", http_connect::PATH));
//!     http_connect::answer(&mut there).await?;
//!     there.write_all(b"hello").await?;
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! };
//! let client = async {
//!     http_connect::dial(&mut here).await?;
//!     let mut text = [0; 5];
//!     here.read_exact(&mut text).await?;
//!     Ok::<_, Box<dyn std::error::Error>>(text)
//! };
//! let (served, text) = tokio::join!(server, client);
//! served?;
//! assert_eq!(&text?, b"hello");
//! # Ok(())
//! # }
//! ```

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The method of the request.
pub const METHOD: &str = "CONNECT";
/// The path that it asks for.
pub const PATH: &str = "/_goRPC_";
/// What the status line of the answer says behind its 200; the original takes nothing else for one.
pub const REASON: &str = "Connected to Go RPC";

const REQUEST: &[u8] = b"CONNECT /_goRPC_ HTTP/1.0\n\n";
const ANSWER: &[u8] = b"HTTP/1.0 200 Connected to Go RPC\n\n";
const NOT_FOUND: &[u8] = b"HTTP/1.0 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\n\
    X-Content-Type-Options: nosniff\r\nContent-Length: 19\r\n\r\n404 page not found\n";
const WRONG_METHOD: &[u8] = b"HTTP/1.0 405 Method Not Allowed\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 17\r\n\r\n405 must CONNECT\n";
const BAD_REQUEST: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 16\r\n\r\n400 Bad Request\n";
const TOO_LARGE: &[u8] = b"HTTP/1.0 431 Request Header Fields Too Large\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 36\r\n\r\n431 Request Header Fields Too Large\n";

/// The most that a request or an answer may have, in bytes.
const MAX_HEAD: usize = 8 << 10;
/// Of a peer's words, as many as a person will read.
const MAX_SHOWN: usize = 80;

/// Why a connection was not handed over by HTTP CONNECT.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpConnectError {
    /// What came is not HTTP.
    #[error("it does not speak HTTP")]
    NotHttp,
    /// The server's answer is another than 200 `Connected to Go RPC`.
    #[error("it answers our HTTP CONNECT with {0:?}")]
    Status(String),
    /// The client asks for something else: its method and path.
    #[error("it asks for {0:?}, not for \"{METHOD} {PATH}\"")]
    Request(String),
    /// Request or answer do not end.
    #[error("its HTTP head is longer than {MAX_HEAD} bytes")]
    TooLong,
    /// The other end hung up.
    #[error("it hung up on the HTTP CONNECT")]
    HungUp,
    /// The connection failed.
    #[error("the connection failed in the HTTP CONNECT: {0}")]
    Io(io::Error),
}

impl HttpConnectError {
    /// Whether the next attempt would fail in the same way: what answers is not what was looked for. An answer
    /// of 5xx passes, and so does a connection that fails.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Status(status) => !status.starts_with('5'),
            Self::HungUp | Self::Io(_) => false,
            _ => true,
        }
    }
}

impl From<io::Error> for HttpConnectError {
    fn from(error: io::Error) -> Self {
        if crate::is_hung_up(&error) {
            Self::HungUp
        } else {
            Self::Io(error)
        }
    }
}

/// Whether a request is for towline: its method and its path, as a server of HTTP has read them.
pub fn is_wanted(method: &str, path: &str) -> bool {
    method == METHOD && path == PATH
}

/// The client's side: asks, and returns when the whole answer has been read and not a byte more. There is no
/// time limit.
///
/// # Errors
///
/// [`HttpConnectError`]: the connection is of no further use.
///
/// # Cancel safety
///
/// Not cancel safe: the connection is then of no further use.
pub async fn dial<IO>(io: &mut IO) -> Result<(), HttpConnectError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    io.write_all(REQUEST).await?;
    io.flush().await?;
    let head = read_head(io, ANSWER.len(), b"HTTP/1.").await?;
    let (version, status) = first_line(&head)?;
    if !is_version(version) {
        return Err(HttpConnectError::NotHttp);
    }
    match status.strip_prefix("200 ") {
        Some(REASON) => Ok(()),
        _ => Err(HttpConnectError::Status(shown(status))),
    }
}

/// The server's side: reads the request and not a byte more, and answers it. Whoever asks for something else
/// is told so, in the words of the original. There is no time limit.
///
/// # Errors
///
/// [`HttpConnectError`]: the connection is of no further use.
///
/// # Cancel safety
///
/// Not cancel safe: the connection is then of no further use.
pub async fn accept<IO>(io: &mut IO) -> Result<(), HttpConnectError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let head = match read_head(io, REQUEST.len(), b"").await {
        Ok(head) => head,
        Err(error @ HttpConnectError::TooLong) => return Err(refuse(io, TOO_LARGE, error).await),
        Err(error) => return Err(error),
    };
    let asked = first_line(&head).and_then(|(method, rest)| {
        let (path, version) = rest.rsplit_once(' ').ok_or(HttpConnectError::NotHttp)?;
        if !is_version(version) {
            return Err(HttpConnectError::NotHttp);
        }
        Ok((method, path))
    });
    let (answer, error) = match asked {
        Ok((METHOD, PATH)) => {
            answer(io).await?;
            return Ok(());
        }
        Ok((method, path)) => (
            if path == PATH {
                WRONG_METHOD
            } else {
                NOT_FOUND
            },
            HttpConnectError::Request(shown(&format!("{method} {path}"))),
        ),
        Err(error) => (BAD_REQUEST, error),
    };
    Err(refuse(io, answer, error).await)
}

/// The server's answer alone, for a connection whose request somebody else has read. What the client says next
/// is no HTTP any more.
///
/// # Errors
///
/// Those of the connection.
///
/// # Cancel safety
///
/// Not cancel safe: the connection is then of no further use.
pub async fn answer<IO: AsyncWrite + Unpin>(io: &mut IO) -> io::Result<()> {
    io.write_all(ANSWER).await?;
    io.flush().await
}

/// Says why not; what becomes of it does not matter.
async fn refuse<IO: AsyncWrite + Unpin>(
    io: &mut IO,
    answer: &[u8],
    error: HttpConnectError,
) -> HttpConnectError {
    if io.write_all(answer).await.is_ok() {
        let _closed = io.shutdown().await;
    }
    error
}

/// Reads up to the empty line and nothing behind it: that belongs to whoever comes next. `least` is how long
/// the shortest head is that leads on; it is read at once, and the rest, which nobody of ours sends, byte by
/// byte. What does not begin as `begin` is no head.
async fn read_head<IO: AsyncRead + Unpin>(
    io: &mut IO,
    least: usize,
    begin: &[u8],
) -> Result<Vec<u8>, HttpConnectError> {
    let mut head = vec![0; least];
    let mut filled = 0;
    loop {
        let to = least.max(filled + 1);
        if to > head.len() {
            if to > MAX_HEAD {
                return Err(HttpConnectError::TooLong);
            }
            head.resize(to, 0);
        }
        let count = io.read(&mut head[filled..to]).await?;
        if count == 0 {
            return Err(HttpConnectError::HungUp);
        }
        filled += count;
        let come = &head[..filled];
        if !come.starts_with(&begin[..begin.len().min(filled)]) {
            return Err(HttpConnectError::NotHttp);
        }
        if come.ends_with(b"\n\n") || come.ends_with(b"\n\r\n") || has_ended(come, least) {
            head.truncate(filled);
            return Ok(head);
        }
        if come[..filled.min(least)].contains(&0) {
            return Err(HttpConnectError::NotHttp);
        }
    }
}

/// Whether a short head, which leads nowhere, has ended within what was read at once.
fn has_ended(come: &[u8], least: usize) -> bool {
    let first = &come[..come.len().min(least)];
    first.windows(2).any(|two| two == b"\n\n") || first.windows(3).any(|three| three == b"\n\r\n")
}

/// The first word of the first line, and the rest of that line.
fn first_line(head: &[u8]) -> Result<(&str, &str), HttpConnectError> {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    std::str::from_utf8(line)
        .ok()
        .and_then(|line| line.split_once(' '))
        .ok_or(HttpConnectError::NotHttp)
}

fn is_version(text: &str) -> bool {
    matches!(text, "HTTP/1.0" | "HTTP/1.1")
}

fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// What the other end says, byte by byte or at once, and then more.
    fn says(text: &[u8], behind: &[u8]) -> DuplexStream {
        let (mut far, near) = duplex(64 << 10);
        let all = [text, behind].concat();
        tokio::spawn(async move {
            far.write_all(&all).await.unwrap();
            // It stays until the reader is done with it.
            let mut said = Vec::new();
            far.read_to_end(&mut said).await.ok();
        });
        near
    }

    /// docs/wire F35: either kind of line ends, and not a byte of what follows is lost.
    #[tokio::test]
    async fn answers_are_read_to_their_end_and_no_further() {
        for answer in [
            "HTTP/1.0 200 Connected to Go RPC\n\n",
            "HTTP/1.0 200 Connected to Go RPC\r\n\r\n",
            "HTTP/1.1 200 Connected to Go RPC\r\nDate: today\r\n\r\n",
            "HTTP/1.1 200 Connected to Go RPC\nDate: today\nServer: x\n\n",
        ] {
            let mut near = says(answer.as_bytes(), b"\nframe");
            dial(&mut near).await.unwrap();
            let mut behind = [0; 6];
            near.read_exact(&mut behind).await.unwrap();
            assert_eq!(&behind, b"\nframe", "{answer:?}");
        }
    }

    /// docs/wire F35
    #[tokio::test]
    async fn requests_are_read_to_their_end_and_no_further() {
        for request in [
            "CONNECT /_goRPC_ HTTP/1.0\n\n",
            "CONNECT /_goRPC_ HTTP/1.0\r\n\r\n",
            "CONNECT /_goRPC_ HTTP/1.1\r\nHost: somewhere\r\n\r\n",
        ] {
            let mut near = says(request.as_bytes(), b"\nframe");
            accept(&mut near).await.unwrap();
            let mut behind = [0; 6];
            near.read_exact(&mut behind).await.unwrap();
            assert_eq!(&behind, b"\nframe", "{request:?}");
        }
    }

    /// docs/wire F35: only the original's own words are an agreement.
    #[tokio::test]
    async fn other_answers_are_errors_that_name_them() {
        for (answer, expected, lasting) in [
            ("HTTP/1.0 200 OK\r\n\r\n", "\"200 OK\"", true),
            (
                "HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n",
                "404 Not Found",
                true,
            ),
            ("HTTP/1.0 405 Method Not Allowed\r\n\r\n", "405", true),
            (
                "HTTP/1.1 503 Service Unavailable\r\n\r\n",
                "503 Service",
                false,
            ),
            ("SSH-2.0-OpenSSH_9.7\r\n", "does not speak HTTP", true),
            ("HTTP/2.0 200 Connected to Go RPC\n\n", "HTTP", true),
            ("HTTP/1.0 \x00\x00\x00", "does not speak HTTP", true),
        ] {
            let error = dial(&mut says(answer.as_bytes(), b"")).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{error} {answer:?}");
            assert_eq!(error.is_lasting(), lasting, "{answer:?}");
        }
        let (far, mut near) = duplex(100);
        drop(far);
        let error = dial(&mut near).await.unwrap_err();
        assert!(matches!(error, HttpConnectError::HungUp) && !error.is_lasting());
    }

    /// docs/wire F35: refused in the original's words, and told apart.
    #[tokio::test]
    async fn other_requests_are_refused_in_words() {
        let long = format!(
            "CONNECT /_goRPC_ HTTP/1.1\r\nX: {}\r\n\r\n",
            "x".repeat(9000)
        );
        for (request, answer) in [
            ("GET /_goRPC_ HTTP/1.0\r\n\r\n", "405 must CONNECT\n"),
            ("CONNECT /other HTTP/1.0\n\n", "404 page not found\n"),
            ("GET / HTTP/1.0\n\n", "404 page not found\n"),
            (
                "\x16\x03\x01 this is another protocol altogether\n\n",
                "400 Bad Request\n",
            ),
            (&long, "431 Request Header Fields Too Large\n"),
        ] {
            let (mut far, mut near) = duplex(64 << 10);
            far.write_all(request.as_bytes()).await.unwrap();
            accept(&mut near).await.unwrap_err();
            drop(near);
            let mut said = String::new();
            far.read_to_string(&mut said).await.unwrap();
            assert!(said.starts_with("HTTP/1.0 4"), "{said}");
            let (head, body) = said.split_once("\r\n\r\n").unwrap();
            assert_eq!(body, answer);
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
        }
    }

    /// docs/wire F35: the bytes of the original.
    #[tokio::test]
    async fn both_ends_say_what_the_original_says() {
        let (mut far, mut near) = duplex(1024);
        let (asked, said) = tokio::join!(
            async {
                let mut asked = [0; 27];
                far.read_exact(&mut asked).await.unwrap();
                answer(&mut far).await.unwrap();
                asked
            },
            dial(&mut near)
        );
        said.unwrap();
        assert_eq!(&asked, b"CONNECT /_goRPC_ HTTP/1.0\n\n");
        let (mut far, mut near) = duplex(1024);
        far.write_all(&asked).await.unwrap();
        accept(&mut near).await.unwrap();
        let mut said = [0; 34];
        far.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"HTTP/1.0 200 Connected to Go RPC\n\n");
    }
}
