//! Calls of a pool: each over the connection with the least to do, and again if that can do no harm.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::Pool;
use crate::{
    client::{
        BistreamReceiver, BistreamSender, CallFailure, CallOptions, Client, ClientBuilder,
        Download, Upload, set_deadline,
    },
    driver,
    error::{CallError, SendError},
    proto::{Backoff, Message, ReconnectPolicy},
};

/// What calls need of the pool's settings.
#[derive(Debug)]
pub(super) struct Settings {
    call_timeout: Option<Duration>,
    /// Draws the waits of calls that were refused.
    waits: Mutex<Backoff>,
}

impl Settings {
    pub(super) fn new(client: &ClientBuilder, policy: ReconnectPolicy, seed: [u8; 32]) -> Self {
        Self {
            call_timeout: client.call_timeout,
            waits: Mutex::new(Backoff::new(policy, seed)),
        }
    }
}

impl Pool {
    /// As [`Client::call`]: calls a service and waits for its reply, up to the time limit of the client's settings
    /// (default 10 s), in which everything must happen: waiting for a connection, and each attempt.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call at the server it was made to.
    pub async fn call(&self, message: Message) -> Result<Message, CallError> {
        self.call_with(message, CallOptions::new()).await
    }

    /// As [`call`](Self::call), with a time limit of its own; `None` waits for ever.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub async fn call_with_timeout(
        &self,
        message: Message,
        timeout: Option<Duration>,
    ) -> Result<Message, CallError> {
        self.call_with(message, CallOptions::new().timeout(timeout))
            .await
    }

    /// As [`call`](Self::call), as the options say.
    ///
    /// ```
    /// # async fn run(pool: towline_rpc::Pool) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use towline_rpc::{Message, client::CallOptions};
    ///
    /// let options = CallOptions::new()
    ///     .timeout(Some(Duration::from_secs(2)))
    ///     .idempotent()
    ///     .attempts(5);
    /// let reply = pool.call_with(Message::request("stock", "7"), options).await?;
    /// # drop(reply);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call). After several attempts, what the last failed by.
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub async fn call_with(
        &self,
        mut message: Message,
        options: CallOptions,
    ) -> Result<Message, CallError> {
        if let Some(limit) = options.timeout {
            set_deadline(&mut message, limit);
        }
        let deadline = self.deadline(&message, options);
        let table = &self.inner.table;
        let mut attempt = 1;
        loop {
            let (connection, client) = table.connection(deadline).await?;
            let left = deadline.map(|at| at.saturating_duration_since(driver::now().instant));
            // The last attempt needs no copy.
            let request = if attempt < options.attempts {
                message.clone()
            } else {
                std::mem::take(&mut message)
            };
            let CallFailure {
                error,
                may_have_begun,
            } = match client.try_call(request, left).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            drop(client);
            let wait = match &error {
                CallError::Closed(_) if options.idempotent || !may_have_begun => Duration::ZERO,
                CallError::Overloaded(_) => {
                    table.rest(connection);
                    self.before_retry(attempt)
                }
                CallError::TimedOut(_) => {
                    table.rest(connection);
                    return Err(error);
                }
                _ => return Err(error),
            };
            let again = driver::now().instant.checked_add(wait);
            let too_late = deadline.is_some_and(|at| again.is_none_or(|again| again >= at));
            if attempt >= options.attempts || too_late {
                return Err(error);
            }
            tracing::debug!(%error, attempt, "makes a call again");
            attempt += 1;
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
    }

    /// As [`Client::send_one_way`], over the connection with the least to do.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, nothing was sent.
    pub async fn send_one_way(&self, message: Message) -> Result<(), SendError> {
        self.for_sending().await?.send_one_way(message).await
    }

    /// As [`Client::upload`], over the connection with the least to do; it ends with that.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, nothing was sent.
    pub async fn upload(&self, first: Message) -> Result<Upload, SendError> {
        self.for_sending().await?.upload(first).await
    }

    /// As [`Client::download`], over the connection with the least to do; it ends with that.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, nothing was sent.
    pub async fn download(&self, request: Message) -> Result<Download, SendError> {
        self.for_sending().await?.download(request).await
    }

    /// As [`Client::bistream`], over the connection with the least to do; it ends with that.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, nothing was sent.
    pub async fn bistream(
        &self,
        first: Message,
    ) -> Result<(BistreamSender, BistreamReceiver), SendError> {
        self.for_sending().await?.bistream(first).await
    }

    /// The connection with the least to do, to listen on or to make several calls over. Waits for one up to the time limit
    /// of a call. It is not made again for who holds it.
    ///
    /// # Errors
    ///
    /// [`CallError::NoConnection`], or [`CallError::Closed`] if the pool was closed.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping it changes nothing.
    pub async fn connection(&self) -> Result<Client, CallError> {
        let deadline = self.deadline(&Message::new(), CallOptions::new());
        let (_, client) = self.inner.table.connection(deadline).await?;
        Ok(client)
    }

    async fn for_sending(&self) -> Result<Client, SendError> {
        self.connection().await.map_err(|error| match error {
            CallError::NoConnection(why) => SendError::NoConnection(why),
            CallError::Closed(reason) => SendError::Closed(reason),
            // Waiting for a connection fails by nothing else.
            _ => SendError::Ended,
        })
    }

    /// When a call must have ended.
    fn deadline(&self, message: &Message, options: CallOptions) -> Option<Instant> {
        let now = driver::now();
        let limit = options.timeout.unwrap_or(self.inner.settings.call_timeout);
        let left = message
            .hdr
            .deadline
            .map(|deadline| deadline.saturating_since(now.wall));
        let limit = [limit, left].into_iter().flatten().min()?;
        now.instant.checked_add(limit)
    }

    fn before_retry(&self, attempt: u32) -> Duration {
        let waits = self.inner.settings.waits.lock();
        waits
            .unwrap_or_else(PoisonError::into_inner)
            .before_retry(attempt - 1)
    }
}
