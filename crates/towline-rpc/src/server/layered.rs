//! Layers of `tower` around handlers (feature `tower`).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use towline_codec::Text;

use super::{
    Context, DownloadSink, UploadParts,
    builder::Layer,
    services::{CallService, Entry, Job, Running, Service, Services, answer},
};
use crate::{
    layers::{CallHandler, CallRequest, StreamEnds},
    proto::{Message, ServiceKind},
};

impl Services {
    /// Puts layers around the handlers of all calls, and others around those of all streams, the first outermost.
    pub(super) fn put_layers(&mut self, calls: &[Layer], streams: &[Layer]) {
        if !calls.is_empty() {
            for entry in self.calls.values_mut() {
                let handler = layered(entry, calls);
                entry.service = Box::new(CallService(Arc::new(
                    move |context: Context, message: Message| {
                        handler.handle(CallRequest::new(context, message, StreamEnds::none()))
                    },
                )));
            }
        }
        if !streams.is_empty() {
            let tables = [&mut self.uploads, &mut self.downloads, &mut self.bistreams];
            for entry in tables.into_iter().flat_map(|table| table.values_mut()) {
                let handler = layered(entry, streams);
                entry.service = Box::new(LayeredStream(handler));
            }
        }
    }
}

/// What layers make of a handler; it is taken from its entry.
fn layered(entry: &mut Entry, layers: &[Layer]) -> CallHandler {
    let service: Arc<dyn Service> = Arc::from(std::mem::replace(&mut entry.service, nothing()));
    let handler = CallHandler::new(move |request| service.handle(request));
    layers
        .iter()
        .rev()
        .fold(handler, |handler, layer| (layer.0)(handler))
}

/// What stands in a table while the handler is out of it.
fn nothing() -> Box<dyn Service> {
    let nothing = |_: Context, _: Message| async { Err::<Message, _>(Text::EMPTY) };
    Box::new(CallService(Arc::new(nothing)))
}

/// A stream's handler in its layers.
struct LayeredStream(CallHandler);

impl Service for LayeredStream {
    fn run(&self, job: Job) -> Running {
        let handler = self.0.clone();
        let Job {
            call,
            context,
            request,
        } = job;
        let parts = || UploadParts::new(Arc::clone(&call.shared), call.key);
        let sink = || DownloadSink::new(Arc::clone(&call.shared), call.key);
        let ends = match call.kind {
            ServiceKind::Upload => StreamEnds::of(Some(parts()), None),
            ServiceKind::Download => StreamEnds::of(None, Some(sink())),
            _ => StreamEnds::of(Some(parts()), Some(sink())),
        };
        let deadline = request.hdr.deadline;
        answer(call, deadline, move || {
            handler.handle(CallRequest::new(context, request, ends))
        })
    }

    fn handle(&self, request: CallRequest) -> BoxFuture<'static, Result<Message, Text>> {
        let handled = self.0.handle(request);
        Box::pin(async move { handled.await.map_err(|error| Text::from(error.to_string())) })
    }
}
