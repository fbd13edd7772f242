//! How many handlers a server runs at once, over all its connections.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use towline_codec::Text;

use crate::proto::refusal;

/// The limits of a server and of its services (docs/wire E15). None by default.
#[derive(Debug, Default)]
pub(super) struct HandlerLimits {
    server: Option<Arc<Semaphore>>,
    services: HashMap<Text, Arc<Semaphore>>,
}

/// What a handler that runs has of the limits; given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Places {
    server: Option<OwnedSemaphorePermit>,
    service: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub(super) const fn is_empty(&self) -> bool {
        self.server.is_none() && self.service.is_none()
    }
}

impl HandlerLimits {
    pub(super) fn limit_server(&mut self, handlers: usize) {
        self.server = Some(semaphore(handlers));
    }

    pub(super) fn limit_service(&mut self, name: Text, handlers: usize) {
        self.services.insert(name, semaphore(handlers));
    }

    /// Places for a handler of this service, or the text of the refusal.
    pub(super) fn take(&self, service: &Text) -> Result<Places, &'static str> {
        let mut places = Places::default();
        if !self.services.is_empty()
            && let Some(limit) = self.of_service(service)
        {
            let place = Arc::clone(limit).try_acquire_owned();
            places.service = Some(place.map_err(|_| refusal::TOO_MANY_OF_SERVICE)?);
        }
        if let Some(limit) = &self.server {
            let place = Arc::clone(limit).try_acquire_owned();
            places.server = Some(place.map_err(|_| refusal::TOO_MANY_ON_SERVER)?);
        }
        Ok(places)
    }

    /// Its own limit, or that of the typed service it is a method of.
    fn of_service(&self, name: &Text) -> Option<&Arc<Semaphore>> {
        if let Some(limit) = self.services.get(name) {
            return Some(limit);
        }
        let dot = name.as_bytes().iter().rposition(|&byte| byte == b'.')?;
        self.services.get(name.as_bytes().get(..dot)?)
    }
}

fn semaphore(places: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)))
}
