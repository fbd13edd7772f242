//! Calling services in the style of Go's net/rpc.

use std::time::Duration;

use bytes::BytesMut;
use towline_codec::{
    Text,
    greenpack::{Greenpack, Reader},
};
use tracing::Instrument as _;

use super::{CancelOnDrop, Client, answer::answer, set_deadline, time_left::TimeLeft, time_limit};
use crate::{
    driver,
    error::{CallError, NetRpcError},
    measure::{End, Measured},
    proto::{Message, NetRpcResponse, RemoteError},
};

impl Client {
    /// Calls `Service.Method` of a server of the original or of towline, up to the time limit of the
    /// connection (docs/wire C23).
    ///
    /// A server of the original mixes up calls that overlap. So they take turns, in the order in which
    /// they are made, unless
    /// [`ClientBuilder::net_rpc_pipelining`](super::ClientBuilder::net_rpc_pipelining) says that the
    /// server is towline. A call that was cancelled or timed out keeps the turn until its answer comes
    /// (docs/wire X16). The time limit counts the wait for the turn, too.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use towline_rpc::{
    ///     Client, Context, NetRpcError, Server,
    ///     server::{ListenConfig, NetRpcService},
    /// };
    ///
    /// let arith = NetRpcService::new("Arith").method("Div", |_: Context, (a, b): (i64, i64)| async move {
    ///     a.checked_div(b).map(|quotient| (quotient,)).ok_or("divide by zero")
    /// });
    /// let server = Server::builder().net_rpc(arith)?.build();
    /// let listening = server.listen("tcp://127.0.0.1:0", ListenConfig::new()).await?;
    /// let client = Client::builder().connect(&listening.endpoint().to_string()).await?;
    ///
    /// let (quotient,): (i64,) = client.net_rpc("Arith.Div", &(56_i64, 8_i64)).await?;
    /// assert_eq!(quotient, 7);
    /// let failed = client.net_rpc::<_, (i64,)>("Arith.Div", &(1_i64, 0_i64)).await;
    /// assert_eq!(failed.unwrap_err().to_string(), "divide by zero");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NetRpcError`] says whether the method failed, the call did, or the answer is of another type.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call: the server is told once.
    pub async fn net_rpc<A: Greenpack, R: Greenpack>(
        &self,
        method: impl Into<Text>,
        argument: &A,
    ) -> Result<R, NetRpcError> {
        let mut body = BytesMut::new();
        argument.encode(&mut body);
        let request = Message::request(method, body.freeze());
        let reply = self
            .net_rpc_within(request, self.inner.call_timeout)
            .await?;
        R::decode(&mut Reader::new(&reply.body)).map_err(NetRpcError::Decode)
    }

    /// As [`net_rpc`](Self::net_rpc), with messages: the request's service name is that of the method,
    /// its body the argument as greenpack; it may have Args, a subject and a deadline. The body of the
    /// reply is the value. `None` waits for ever; a time limit is told to the server as a deadline.
    ///
    /// # Errors
    ///
    /// As [`net_rpc`](Self::net_rpc).
    ///
    /// # Cancel safety
    ///
    /// As [`net_rpc`](Self::net_rpc).
    pub async fn net_rpc_message(
        &self,
        mut request: Message,
        timeout: Option<Duration>,
    ) -> Result<Message, NetRpcError> {
        set_deadline(&mut request, timeout);
        self.net_rpc_within(request, timeout).await
    }

    async fn net_rpc_within(
        &self,
        mut request: Message,
        timeout: Option<Duration>,
    ) -> Result<Message, NetRpcError> {
        let span = self.inner.traces.begin_call(&mut request);
        let mut measured = Measured::begin(End::Client, &request.hdr.service_name);
        let result = self.run_net_rpc(request, timeout).instrument(span).await;
        measured.ends(match &result {
            Ok(_) => "ok",
            Err(NetRpcError::Call(error)) => error.outcome(),
            Err(_) => "failed",
        });
        result
    }

    async fn run_net_rpc(
        &self,
        request: Message,
        timeout: Option<Duration>,
    ) -> Result<Message, NetRpcError> {
        let limit = time_limit(timeout, &request);
        let time = TimeLeft::begin(limit);
        let late = || CallError::TimedOut(limit.unwrap_or_default());
        let method = request.hdr.service_name.clone();
        let (_place, _) = self.place(limit, &request).await?;
        let turn = match self.inner.net_rpc_pipelining {
            true => None,
            false => {
                let turn = time.wait_for(self.inner.net_rpc_turn.acquire()).await;
                // Closed with the connection.
                Some(
                    turn.ok_or_else(late)?
                        .map_err(|_| CallError::Closed(self.close_reason()))?,
                )
            }
        };
        let room = time.wait_for(self.inner.shared.room()).await;
        room.ok_or_else(late)?.map_err(CallError::Closed)?;
        let (mut guard, answer) = self.begin_net_rpc(request, time.left(), turn.is_some())?;
        if let Some(turn) = turn {
            // The answer gives it back.
            turn.forget();
        }
        let answer = answer.await;
        guard.seqno = None;
        let mut reply = self
            .ended(answer, limit)
            .map_err(|failure| failure.error)?
            .into_result()?;
        let (header, value) = NetRpcResponse::split(&reply.body)?;
        if !header.error.is_empty() {
            return Err(NetRpcError::Remote(RemoteError::new(header.error)));
        }
        if header.method != method {
            return Err(NetRpcError::OtherMethod(header.method));
        }
        reply.body = value;
        Ok(reply)
    }

    /// Registers and queues a net/rpc call.
    fn begin_net_rpc(
        &self,
        mut message: Message,
        timeout: Option<Duration>,
        alone: bool,
    ) -> Result<(CancelOnDrop<'_>, super::Answer<super::Outcome>), CallError> {
        let shared = &*self.inner.shared;
        let (waiter, answer) = answer();
        let now = driver::now();
        let mut state = shared.lock();
        if let Some(reason) = &state.closed {
            return Err(CallError::Closed(reason.clone()));
        }
        let seqno = state
            .core
            .begin_net_rpc(now, &mut message, timeout, alone, waiter);
        if let Err(too_large) = shared.enqueue(state, now, &message) {
            shared.lock().core.abandon(seqno);
            return Err(CallError::TooLarge(too_large));
        }
        let seqno = Some(seqno);
        Ok((CancelOnDrop { shared, seqno }, answer))
    }
}
