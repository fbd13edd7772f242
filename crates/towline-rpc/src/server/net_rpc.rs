//! Services in the style of Go's net/rpc.

use std::{
    collections::HashMap, fmt, fmt::Display, future::Future, marker::PhantomData, sync::Arc,
};

use bytes::{Bytes, BytesMut};
use towline_codec::{
    Text,
    greenpack::{Greenpack, Reader},
};

use super::{
    Context,
    services::{Entry, Job, Running, Service, answer},
};
use crate::proto::{Message, original_words, refusal};

/// A service whose methods are called by `Service.Method`, each with one argument and one result in
/// greenpack (docs/wire C23). Go clients call it by `Client.Call`, towline's by
/// [`Client::net_rpc`](crate::Client::net_rpc).
///
/// ```
/// use towline_rpc::{Context, Server, server::NetRpcService};
///
/// let arith = NetRpcService::new("Arith")
///     .method("Add", |_: Context, (a, b): (i64, i64)| async move { Ok::<_, String>((a + b,)) })
///     .method("Div", |_: Context, (a, b): (i64, i64)| async move {
///         a.checked_div(b).map(|quotient| (quotient,)).ok_or("divide by zero")
///     });
/// let server = Server::builder().net_rpc(arith)?.build();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct NetRpcService {
    pub(super) name: Text,
    pub(super) methods: HashMap<Text, Entry>,
}

impl fmt::Debug for NetRpcService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut methods: Vec<&Text> = self.methods.keys().collect();
        methods.sort();
        f.debug_struct("NetRpcService")
            .field("name", &self.name)
            .field("methods", &methods)
            .finish()
    }
}

/// Why a net/rpc service cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// There is a service of this name.
    #[error("a service named {0} is registered already: give this one another name")]
    Duplicate(Text),
    /// It has no method.
    #[error("the service {0} has no method to call")]
    NoMethod(Text),
    /// Nobody could call the method: the last dot of a call separates service and method.
    #[error("the method name {0} has a dot: only names of services may")]
    DotInMethod(Text),
}

impl NetRpcService {
    /// A service without methods. Its name may contain dots.
    pub fn new(name: impl Into<Text>) -> Self {
        Self {
            name: name.into(),
            methods: HashMap::new(),
        }
    }

    /// Adds a method. Its error's text goes to the caller (docs/wire E13). It is dropped at its next
    /// `.await` when the caller cancels or its deadline passes. [`Context::header`] has the request's
    /// header. A second method of the same name replaces the first.
    #[must_use]
    pub fn method<F, Fut, A, R, E>(mut self, name: impl Into<Text>, handler: F) -> Self
    where
        F: Fn(Context, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        A: Greenpack + Send + 'static,
        R: Greenpack + Send + 'static,
        E: Display + Send + 'static,
    {
        let method = Method {
            handler: Arc::new(handler),
            types: PhantomData,
        };
        self.methods.insert(name.into(), Entry::new(method));
        self
    }

    pub(super) fn validate(&self) -> Result<(), RegisterError> {
        if self.methods.is_empty() {
            return Err(RegisterError::NoMethod(self.name.clone()));
        }
        match self
            .methods
            .keys()
            .find(|name| name.as_bytes().contains(&b'.'))
        {
            Some(name) => Err(RegisterError::DotInMethod(name.clone())),
            None => Ok(()),
        }
    }
}

/// All net/rpc services of a server.
#[derive(Default)]
pub(super) struct NetRpcServices {
    by_name: HashMap<Text, HashMap<Text, Entry>>,
}

impl NetRpcServices {
    pub(super) fn add(&mut self, service: NetRpcService) -> Result<(), RegisterError> {
        service.validate()?;
        if self.by_name.contains_key(&service.name) {
            return Err(RegisterError::Duplicate(service.name));
        }
        self.by_name.insert(service.name, service.methods);
        Ok(())
    }

    /// The method of this full name, or the text that says what is unknown (docs/wire E13).
    pub(super) fn find(&self, full_name: &Text) -> Result<&Entry, Text> {
        let name = full_name.as_bytes();
        let dot = name
            .iter()
            .rposition(|&byte| byte == b'.')
            .ok_or_else(|| refusal::net_rpc_ill_formed(full_name))?;
        let methods = self
            .by_name
            .get(&Text::from(&name[..dot]))
            .ok_or_else(|| refusal::net_rpc_unknown("service", full_name))?;
        methods
            .get(&Text::from(&name[dot + 1..]))
            .ok_or_else(|| refusal::net_rpc_unknown("method", full_name))
    }

    pub(super) fn names(&self) -> Vec<Text> {
        let mut names: Vec<Text> = self.by_name.keys().cloned().collect();
        names.sort();
        names
    }
}

struct Method<F, A, R> {
    handler: Arc<F>,
    types: PhantomData<fn(A) -> R>,
}

impl<F, Fut, A, R, E> Service for Method<F, A, R>
where
    F: Fn(Context, A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, E>> + Send + 'static,
    A: Greenpack + Send + 'static,
    R: Greenpack + Send + 'static,
    E: Display + Send + 'static,
{
    fn run(&self, job: Job) -> Running {
        let handler = Arc::clone(&self.handler);
        let Job {
            call,
            mut context,
            request,
        } = job;
        let deadline = request.hdr.deadline;
        context.header = Some(Arc::from(request.hdr));
        let argument = request.body;
        answer(call, deadline, move || async move {
            let argument = read_argument::<A>(&argument)?;
            match handler(context, argument).await {
                Ok(value) => {
                    let mut body = BytesMut::new();
                    value.encode(&mut body);
                    Ok(Message::from_body(body.freeze()))
                }
                Err(error) => Err(Text::from(error.to_string())),
            }
        })
    }
}

/// docs/wire C23, E13: bytes behind the argument are ignored.
fn read_argument<A: Greenpack>(body: &Bytes) -> Result<A, Text> {
    if body.is_empty() {
        return Err(Text::from_static(refusal::NO_ARGUMENT));
    }
    A::decode(&mut Reader::new(body)).map_err(original_words)
}
