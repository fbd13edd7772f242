//! Running handlers for one connection.

use std::{
    sync::Arc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;
use tokio::task::{AbortHandle, JoinSet};
use towline_codec::Text;

use super::{
    Context, Core, Settings, Waits,
    services::{Job, OpenCall, send_reply},
};
use crate::{
    close::CloseReason,
    driver::{self, Owner, Shared},
    measure::{self, End, Measured},
    proto::{CallKey, Message, ServerEvent, ServiceKind, refusal},
};

/// The handlers that run for one connection. They end with it.
pub(super) struct Handlers {
    settings: Arc<Settings>,
    context: Context,
    tasks: JoinSet<CallKey>,
    running: FxHashMap<CallKey, (ServiceKind, AbortHandle)>,
    /// How many events came together: more than one, and more are likely to be on their way.
    batch: usize,
    /// When the latest handler returned.
    returned: Instant,
}

/// A handler that computes for longer than this before its first `.await` delays the connection's
/// other calls.
const SLOW: Duration = Duration::from_micros(100);

impl Handlers {
    pub(super) fn new(settings: Arc<Settings>, context: Context) -> Self {
        Self {
            settings,
            context,
            tasks: JoinSet::new(),
            running: FxHashMap::default(),
            batch: 0,
            returned: driver::now().instant,
        }
    }

    /// Drops the handlers that still run, and waits until they are gone.
    pub(super) async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }

    fn start(
        &mut self,
        shared: &Arc<Shared<Core>>,
        key: CallKey,
        kind: ServiceKind,
        request: Message,
    ) {
        if !self.settings.authorises(&self.context, &request) {
            self.settings.activity.refused();
            measure::refused("not_authorised");
            // docs/wire E12: before the look-up, so that a stranger learns no names.
            return end(
                shared,
                key,
                kind,
                Text::from_static(refusal::NOT_AUTHORISED),
            );
        }
        let found = self.settings.services.find(kind, &request.hdr.service_name);
        let entry = match found {
            Ok(entry) => entry,
            Err(Some(text)) => {
                self.settings.activity.refused();
                measure::refused("unknown");
                return end(shared, key, kind, text);
            }
            Err(None) => {
                self.settings.activity.refused();
                measure::refused("unknown");
                let mut state = shared.lock();
                state.core.refuse(driver::now(), key, &request.hdr);
                shared.wake_driver(state);
                return;
            }
        };
        let places = match self.settings.handler_limits.take(&request.hdr.service_name) {
            Ok(places) => places,
            Err(text) => {
                self.settings.activity.refused();
                measure::refused("busy");
                let mut state = shared.lock();
                state.core.refuse_not_begun(driver::now(), key, text);
                shared.wake_driver(state);
                return;
            }
        };
        let open = self.settings.activity.started(kind);
        let traced = self
            .settings
            .traces
            .begin_handler(&request, self.context.peer());
        let job = Job {
            call: OpenCall {
                shared: Arc::clone(shared),
                key,
                kind,
                measured: Measured::begin(End::Server, &request.hdr.service_name),
            },
            context: self.context.clone(),
            request,
        };
        let at_once = matches!(
            kind,
            ServiceKind::Call | ServiceKind::OneWay | ServiceKind::NetRpc
        );
        let handler = if at_once && entry.pace.runs_at_once() {
            let begun = traced.run(|| entry.service.begin(job));
            if begun.returned.saturating_duration_since(self.returned) > SLOW {
                entry.pace.was_slow();
            }
            self.returned = begun.returned;
            match begun.rest {
                Some(rest) if places.is_empty() && traced.is_nothing() => rest,
                Some(rest) => Box::pin(async move {
                    let _places = places;
                    traced.wrap(rest).await
                }),
                None => return,
            }
        } else {
            let handler = entry.service.run(job);
            Box::pin(async move {
                let _held = (open, places);
                traced.wrap(handler).await
            })
        };
        let handle = self.tasks.spawn(handler);
        self.running.insert(key, (kind, handle));
    }

    /// Drops a handler whose caller no longer waits, and says so on the wire: the original's
    /// functions answer too (docs/wire C13, E8, S5).
    fn cancel(&mut self, shared: &Arc<Shared<Core>>, key: CallKey) {
        let Some((kind, handle)) = self.running.remove(&key) else {
            return;
        };
        handle.abort();
        self.settings.activity.cancelled();
        let text = Text::from_static(refusal::cancelled(kind));
        end(shared, key, kind, text);
    }
}

/// Ends a call without a handler's word: by an error reply, if its kind has replies.
fn end(shared: &Arc<Shared<Core>>, key: CallKey, kind: ServiceKind, text: Text) {
    let mut state = shared.lock();
    if kind == ServiceKind::OneWay {
        state.core.finish(key);
        shared.wake_driver(state);
        return;
    }
    let now = driver::now();
    let reply = Message {
        error: text,
        ..Message::new()
    };
    if let Some(reply) = state.core.reply(now, key, reply) {
        send_reply(shared, state, now, kind, reply);
    }
}

impl Owner<Core> for Handlers {
    const BATCH_MOST: usize = 64;

    fn handle_event(&mut self, shared: &Arc<Shared<Core>>, event: ServerEvent) -> Option<Waker> {
        self.batch += 1;
        match event {
            ServerEvent::Start { key, kind, request } => self.start(shared, key, kind, request),
            ServerEvent::Cancelled { key } => {
                self.cancel(shared, key);
                // A task of the handler's may outlive it.
                return shared.lock().take_stream_waker(Waits::Part(key));
            }
            ServerEvent::PartReady { key } => {
                return shared.lock().take_stream_waker(Waits::Part(key));
            }
            ServerEvent::MaySend { key } => {
                return shared.lock().take_stream_waker(Waits::Credit(key));
            }
        }
        None
    }

    fn begin_events(&mut self) {
        self.returned = driver::now().instant;
        self.batch = 0;
    }

    fn gains_by_waiting(&self, _: &Core) -> bool {
        !self.tasks.is_empty()
    }

    fn poll(&mut self, _: &Arc<Shared<Core>>, cx: &mut std::task::Context<'_>) {
        while let Poll::Ready(Some(ended)) = self.tasks.poll_join_next(cx) {
            // An aborted task has left the table already.
            if let Ok(key) = ended {
                self.running.remove(&key);
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    fn handle_close(&mut self, _: &Arc<Shared<Core>>, _: &CloseReason) {
        self.tasks.abort_all();
    }
}
