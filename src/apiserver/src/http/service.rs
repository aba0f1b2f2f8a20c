//! The API as a `tower` service, for callers in the same process.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response};

use super::body::{Body, BoxError};
use crate::access::Identity;
use crate::server::ApiServer;

/// The API, called without a connection. Who calls stands in the request's extensions, or is fixed by
/// [`RouterService::acting_as`]; what has neither is anonymous.
#[derive(Clone)]
pub struct RouterService {
    server: ApiServer,
    identity: Option<Identity>,
    part: Option<HeaderValue>,
}

impl ApiServer {
    /// The API as a service for callers in this process; say who calls with [`RouterService::acting_as`].
    pub fn router_service(&self) -> RouterService {
        RouterService { server: self.clone(), identity: None, part: None }
    }
}

impl RouterService {
    /// The same service, where every call is made by `identity`.
    pub fn acting_as(self, identity: Identity) -> Self {
        Self { identity: Some(identity), ..self }
    }

    /// The same service, called by that part of the program: it owns the fields that a call changes without a field manager.
    pub fn called_by(self, part: &'static str) -> Self {
        Self { part: Some(HeaderValue::from_static(part)), ..self }
    }
}

impl<B> tower::Service<Request<B>> for RouterService
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(identity) = &self.identity {
            request.extensions_mut().insert(identity.clone());
        }
        if let Some(part) = &self.part {
            request.headers_mut().entry(USER_AGENT).or_insert_with(|| part.clone());
        }
        let server = self.server.clone();
        Box::pin(async move { Ok(server.handle(request).await) })
    }
}
