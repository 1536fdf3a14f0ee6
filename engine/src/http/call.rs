//! Asking a peer from the program itself, waiting for the answer.

use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::http::{request, response};
use hyper::{HeaderMap, Method, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio::time::timeout;
use trunkline_proto::base::{Hashname, Priority};
use trunkline_proto::switch::streams::Open;

use super::body::{Arriving, Body, wait};
use super::exchange::Broken;
use super::label::to_label;
use super::patient::Patient;
use super::{Job, asker, patience};
use crate::handle::Handle;
use crate::stream::{Stream, StreamError};

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The request cannot be one.
    #[error("not a request: {0}")]
    Request(#[from] hyper::http::Error),
    /// What was asked for is no path.
    #[error("a path begins with `/`")]
    Path,
    /// The stream.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The answer is no HTTP.
    #[error("the answer makes no sense: {0}")]
    Http(String),
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The node has more to do than it may, or has stopped.
    #[error("this node is too busy or stopping")]
    Busy,
}

impl From<CallError> for io::Error {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Stream(error) => error.into(),
            CallError::TimedOut => Self::new(ErrorKind::TimedOut, error),
            CallError::Request(_) | CallError::Path => Self::new(ErrorKind::InvalidInput, error),
            CallError::Http(_) => Self::new(ErrorKind::InvalidData, error),
            CallError::Busy => Self::new(ErrorKind::ResourceBusy, error),
        }
    }
}

/// Asks one peer; from [`Handle::http`].
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) handle: Handle,
    pub(crate) peer: Hashname,
}

impl Client {
    /// A GET.
    pub fn get(&self, path: &str) -> Call {
        self.request(Method::GET, path)
    }

    /// A POST of this body.
    pub fn post(&self, path: &str, body: impl Into<Body>) -> Call {
        self.request(Method::POST, path).body(body)
    }

    /// Any request. `path` begins with `/` and may have a query behind it.
    pub fn request(&self, method: Method, path: &str) -> Call {
        // Nobody is misled by this name: the line has decided who is asked.
        let host = format!("{}.localhost", to_label(&self.peer));
        let head = hyper::Request::builder().method(method).uri(path).header(HOST, host);
        let (client, body) = (self.clone(), Body::empty());
        Call { client, head, body, patience: patience::ANSWER, priority: Priority::DEFAULT }
    }
}

/// A request to be sent.
#[derive(Debug)]
#[must_use = "nothing is asked before `send`"]
pub struct Call {
    client: Client,
    head: request::Builder,
    body: Body,
    patience: Duration,
    priority: Priority,
}

impl Call {
    /// Adds a header field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.head = self.head.header(name, value);
        self
    }

    /// With this body.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// How long the head of the answer may take from the sending on; 5 minutes if nothing is
    /// said. A long body needs more.
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How urgently request and answer travel.
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Asks, and waits for the head of the answer. Its body is read from it.
    ///
    /// # Errors
    /// [`CallError`]. That the answer is an error page is none.
    pub fn send(self) -> Result<Answer, CallError> {
        let mut request = self.head.body(self.body)?;
        // Without it the text is read as a host.
        if request.uri().authority().is_some() || !request.uri().path().starts_with('/') {
            return Err(CallError::Path);
        }
        let close = HeaderValue::from_static("close");
        request.headers_mut().insert(CONNECTION, close);
        let Client { handle, peer } = self.client;
        let stream = handle.open_stream(peer, Open::Req, self.priority)?;
        let (tell, told) = oneshot::channel();
        let asked = Asked { stream, request, patience: self.patience, tell };
        handle.shared().http.give(Job::Call(Box::new(asked))).map_err(|_| CallError::Busy)?;
        wait(told).unwrap_or(Err(CallError::Busy))
    }
}

/// A request on its way to the HTTP thread.
pub(crate) struct Asked {
    stream: Stream,
    request: hyper::Request<Body>,
    patience: Duration,
    tell: oneshot::Sender<Result<Answer, CallError>>,
}

impl Asked {
    pub(super) async fn run(self: Box<Self>) {
        let Self { stream, request, patience, tell } = *self;
        let (head, body) = match timeout(patience, ask(stream, request)).await {
            Ok(Ok(answer)) => answer.into_parts(),
            Ok(Err(error)) => return drop(tell.send(Err(error))),
            Err(_) => return drop(tell.send(Err(CallError::TimedOut))),
        };
        let (body, filling) = Arriving::new(body);
        if tell.send(Ok(Answer { head, body })).is_ok() {
            filling.await;
        }
    }
}

async fn ask(
    stream: Stream,
    request: hyper::Request<Body>,
) -> Result<hyper::Response<Incoming>, CallError> {
    let failed = |error: hyper::Error| match Broken::from(error) {
        Broken::Stream(error) => CallError::Stream(error),
        Broken::Ended(why) | Broken::Http(why) => CallError::Http(why),
    };
    let io = TokioIo::new(Patient::new(stream));
    let (mut sender, connection) = asker().handshake(io).await.map_err(failed)?;
    tokio::spawn(async move {
        // What goes wrong is seen where the answer is read.
        let _ = connection.await;
    });
    sender.send_request(request.map(Body::outgoing)).await.map_err(failed)
}

/// An answer. Its body is read from it; dropping it gives up the rest.
#[derive(Debug)]
pub struct Answer {
    head: response::Parts,
    body: Arriving,
}

impl Answer {
    /// What the peer says in short.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.head.status
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

    /// The whole body as text, of at most `most` bytes.
    ///
    /// # Errors
    /// As reading; if it is longer, or no text.
    pub fn text(&mut self, most: usize) -> io::Result<String> {
        let mut text = String::new();
        let over = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        self.by_ref().take(over).read_to_string(&mut text)?;
        if text.len() > most { Err(ErrorKind::FileTooLarge.into()) } else { Ok(text) }
    }
}

impl Read for Answer {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.body.read(into)
    }
}
