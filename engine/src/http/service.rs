//! Answering peers' requests from the program itself.

use std::io::{self, Read};
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::http::request;
use hyper::{HeaderMap, Method, StatusCode};
use trunkline_proto::base::Hashname;

use super::body::{Arriving, Body, Outgoing};
use super::{HeaderName, HeaderValue};
use crate::callbacks::guarded;

/// The application's function.
#[derive(Clone)]
pub(crate) struct Service(pub(crate) Arc<dyn Fn(Request) -> Response + Send + Sync>);

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Service")
    }
}

impl Service {
    /// Runs it on a thread where it may take its time.
    pub(super) async fn call(
        &self,
        from: Hashname,
        head: request::Parts,
        body: Incoming,
    ) -> hyper::Response<Outgoing> {
        let (body, filling) = Arriving::new(body);
        // It ends when the application lets go of the body, or the body ends.
        tokio::spawn(filling);
        let request = Request { from, head, body };
        let call = self.0.clone();
        let run = move || guarded("a service", || call(request));
        let answer = tokio::task::spawn_blocking(run).await.ok().flatten();
        answer.unwrap_or_else(|| Response::new(500)).outgoing()
    }
}

/// A request of a peer. Its body is read from it.
#[derive(Debug)]
pub struct Request {
    from: Hashname,
    head: request::Parts,
    body: Arriving,
}

impl Request {
    /// Who asks: proved by the line.
    #[must_use]
    pub const fn from(&self) -> Hashname {
        self.from
    }

    /// What is to be done.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.head.method
    }

    /// To what.
    #[must_use]
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// What follows the `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.head.uri.query()
    }

    /// All header fields.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// One header field as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// What followed the body; only once it has been read to its end.
    #[must_use]
    pub const fn trailers(&self) -> Option<&HeaderMap> {
        self.body.trailers()
    }
}

impl Read for Request {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.body.read(into)
    }
}

/// An answer to a peer.
#[derive(Debug)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
}

impl Response {
    /// An answer without a body. A status that is none becomes 500.
    #[must_use]
    pub fn new(status: u16) -> Self {
        let status = StatusCode::from_u16(status).ok().filter(|s| !s.is_informational());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, headers: HeaderMap::new(), body: Body::empty() }
    }

    /// 200 and a text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        let response = Self::new(200).header("content-type", "text/plain; charset=utf-8");
        response.body(text.into())
    }

    /// Adds a header field. What cannot be one is left out; framing is not the application's.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            self.headers.append(name, value);
        }
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    fn outgoing(mut self) -> hyper::Response<Outgoing> {
        super::forward::strip(&mut self.headers);
        self.headers.remove(hyper::header::CONTENT_LENGTH);
        let mut response = hyper::Response::new(self.body.outgoing());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}
