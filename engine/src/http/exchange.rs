//! One request and its answer on a connection to the next server, which is kept for the same
//! asker's next request.
//!
//! A connection is kept by the asker's own connection and nowhere else: what one asker leaves on
//! it is never read as another's, and it ends when the asker's does. So a server sees what it
//! would see of a browser beside it: as many connections, kept as long.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::UPGRADE;
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use trunkline_proto::switch::streams::Code;

use super::body::{Outgoing, Passing, Rest};
use super::patient::Patient;
use super::{Place, asker, forward, patience};
use crate::stream::StreamError;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing was said in time.
    TimedOut,
    /// No connection to the server behind: its operator has seen why in the log.
    Absent,
    /// What carried the request broke.
    Broken(Broken),
}

/// What became of a connection that a request was sent on.
#[derive(Debug)]
pub(super) enum Broken {
    /// The stream to the peer.
    Stream(StreamError),
    /// The connection ended before an answer.
    Ended(String),
    /// What came is no answer.
    Http(String),
}

impl Failed {
    /// Whether this may come of the other end having let go of a connection that was kept. One
    /// that is not there any more was waited for long enough: a new stream would be as silent.
    fn may_be_stale(&self) -> bool {
        match self {
            Self::Broken(Broken::Stream(StreamError::Reset { code, .. })) => *code != Code::DEAD,
            Self::Broken(Broken::Stream(_) | Broken::Ended(_)) => true,
            Self::Broken(Broken::Http(_)) | Self::TimedOut | Self::Absent => false,
        }
    }
}

impl From<hyper::Error> for Failed {
    fn from(error: hyper::Error) -> Self {
        Self::Broken(error.into())
    }
}

impl From<hyper::Error> for Broken {
    fn from(error: hyper::Error) -> Self {
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                let inner = io.get_ref().and_then(|e| e.downcast_ref::<StreamError>());
                if let Some(error) = inner {
                    return Self::Stream(error.clone());
                }
            }
            source = cause.source();
        }
        let what = error.to_string();
        if error.is_parse() { Self::Http(what) } else { Self::Ended(what) }
    }
}

/// The connection that an asker's connection keeps: at most one, to the server `K` names.
pub(super) struct Kept<K>(Mutex<Option<Idle<K>>>);

struct Idle<K> {
    to: K,
    sender: SendRequest<Passing>,
    _room: OwnedSemaphorePermit,
}

impl<K: PartialEq> Kept<K> {
    pub(super) const fn none() -> Self {
        Self(Mutex::new(None))
    }

    /// The connection to `to`, if one is kept that waits for a request.
    fn take(&self, to: &K) -> Option<SendRequest<Passing>> {
        let idle = self.0.lock().take()?;
        (idle.to == *to && idle.sender.is_ready()).then_some(idle.sender)
    }

    /// Keeps it, if there is room among all that are kept.
    fn keep(&self, to: K, sender: SendRequest<Passing>, place: &Place) {
        let mut kept = self.0.lock();
        // What was kept gives its room back first.
        *kept = None;
        let room = place.site.kept.clone().try_acquire_owned();
        *kept = room.ok().map(|room| Idle { to, sender, _room: room });
    }
}

/// Asks `to`. The answer's body, or the WebSocket that comes of it, goes on by itself.
///
/// A kept connection may end while the request is on its way, so that nobody knows whether it
/// arrived. Only what asks for no change is sent there (RFC 9110 §9.2.1), and sent again over one
/// that `connect` makes; everything else has a new one from the start. The kept one ends before
/// that: an asker has one at a time, and a server that serves one at a time would wait for it.
pub(super) async fn exchange<K: PartialEq, C>(
    kept: &Kept<K>,
    to: K,
    connect: impl AsyncFnOnce() -> Result<C, Failed>,
    request: Request<Rest>,
    place: Arc<Place>,
) -> Result<Response<Outgoing>, Failed>
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (head, body) = request.into_parts();
    let held = kept.take(&to).filter(|_| may_repeat(&head, &body));
    if let Some(sender) = held {
        let first = Request::from_parts(head.clone(), Rest::nothing());
        match ask(sender, first, &place).await {
            Ok((answer, sender)) => {
                kept.keep(to, sender, &place);
                return Ok(answer);
            }
            Err(why) if why.may_be_stale() => {}
            Err(why) => return Err(why),
        }
    }
    let io = TokioIo::new(Patient::new(connect().await?));
    let (sender, connection) = asker().handshake(io).await?;
    tokio::spawn(async move {
        // What goes wrong is seen where the answer is read.
        let _ = connection.with_upgrades().await;
    });
    let (answer, sender) = ask(sender, Request::from_parts(head, body), &place).await?;
    kept.keep(to, sender, &place);
    Ok(answer)
}

/// Whether a request may arrive twice as well as once, and can be sent twice. One that deletes may
/// not, idempotent or not: the second answer would be another.
fn may_repeat(head: &Parts, body: &Rest) -> bool {
    head.method.is_safe() && body.is_end_stream() && !head.headers.contains_key(UPGRADE)
}

async fn ask(
    mut sender: SendRequest<Passing>,
    mut request: Request<Rest>,
    place: &Arc<Place>,
) -> Result<(Response<Outgoing>, SendRequest<Passing>), Failed> {
    let upgrade = request.headers().contains_key(UPGRADE);
    let asking = upgrade.then(|| hyper::upgrade::on(&mut request));
    let passed = Arc::new(AtomicU64::new(0));
    let request = request.map(|body| Passing::new(body, passed.clone()));
    let mut answer = heard(sender.send_request(request), &passed).await?;
    let switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    match (switched, asking) {
        (false, _) => {}
        (true, None) => {
            let why = "an upgrade nobody asked for".to_owned();
            return Err(Failed::Broken(Broken::Http(why)));
        }
        (true, Some(asking)) => {
            let answering = hyper::upgrade::on(&mut answer);
            tokio::spawn(join(asking, answering, place.clone()));
        }
    }
    let status = answer.status();
    forward::answer(answer.headers_mut(), status);
    Ok((answer.map(|body| body.map_err(io::Error::other).boxed_unsync()), sender))
}

/// Waits for the head of an answer, as long as something is still `passed` on of the request: a
/// long body is no silence.
async fn heard(
    sent: impl Future<Output = hyper::Result<Response<Incoming>>>,
    passed: &AtomicU64,
) -> Result<Response<Incoming>, Failed> {
    let mut sent = std::pin::pin!(sent);
    loop {
        let before = passed.load(Ordering::Relaxed);
        match timeout(patience::ANSWER, &mut sent).await {
            Ok(answer) => return Ok(answer?),
            Err(_) if passed.load(Ordering::Relaxed) > before => {}
            Err(_) => return Err(Failed::TimedOut),
        }
    }
}

/// Carries bytes between two upgraded connections until one has enough.
async fn join(
    asking: hyper::upgrade::OnUpgrade,
    answering: hyper::upgrade::OnUpgrade,
    place: Arc<Place>,
) {
    if let Ok(answering) = answering.await
        && let Ok(asking) = asking.await
    {
        let (mut one, mut other) = (TokioIo::new(asking), TokioIo::new(answering));
        let _ = tokio::io::copy_bidirectional(&mut one, &mut other).await;
    }
    drop(place);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s12_who_was_waited_for_in_vain_is_not_asked_again() {
        let reset = |code| {
            let reason = "".into();
            Failed::Broken(Broken::Stream(StreamError::Reset { code, reason }))
        };
        assert!(reset(Code::LINE_DOWN).may_be_stale(), "the peer may have restarted");
        assert!(Failed::Broken(Broken::Ended(String::new())).may_be_stale());
        assert!(!reset(Code::DEAD).may_be_stale());
        assert!(!Failed::TimedOut.may_be_stale());
        assert!(!Failed::Broken(Broken::Http(String::new())).may_be_stale());
    }
}
