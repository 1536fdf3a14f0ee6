//! Serving a peer's connection, and passing one request on over another connection.

use std::convert::Infallible;
use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use trunkline_proto::base::Hashname;

use super::body::{Outgoing, Passing, Rest, whole};
use super::forward::{self, Refusal};
use super::patient::Patient;
use super::{Backend, Place, asker, patience, reader};
use crate::stream::{Stream, StreamError};

/// Serves a peer's stream until either end has enough.
pub(super) async fn serve(stream: Stream, place: Place) {
    let peer = stream.peer();
    let place = Arc::new(place);
    let answer = move |request| {
        let place = place.clone();
        async move { Ok::<_, Infallible>(answer(request, peer, place).await) }
    };
    let io = TokioIo::new(Patient::new(stream));
    if let Err(error) = reader().serve_connection(io, service_fn(answer)).with_upgrades().await {
        tracing::debug!(%peer, %error, "an HTTP connection ended");
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: Hashname,
    place: Arc<Place>,
) -> Response<Outgoing> {
    let (head, body) = request.into_parts();
    let mut body = Rest::new(body);
    if let Err(refusal) = forward::judge(&head) {
        return refuse(refusal);
    }
    if let Some(service) = &place.site.service
        && let Some(body) = body.take()
    {
        let mut answer = service.call(peer, head, body).await;
        // Who was not asked for a protocol does not get one.
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        return answer;
    }
    match place.site.backend {
        Some(backend) => relay(Request::from_parts(head, body), peer, backend, place).await,
        None => page(StatusCode::NOT_FOUND, "nothing is served here\n"),
    }
}

/// Asks the backend, over a connection of its own: what one asker leaves on a connection is
/// never read as another's.
async fn relay(
    request: Request<Rest>,
    peer: Hashname,
    backend: Backend,
    place: Arc<Place>,
) -> Response<Outgoing> {
    let (mut head, body) = request.into_parts();
    let own = backend.address.to_string().parse().ok();
    forward::to_backend(&mut head, &peer, own.filter(|_| !backend.pass_host));
    let connected = match timeout(patience::CONNECT, TcpStream::connect(backend.address)).await {
        Ok(connected) => connected,
        Err(_) => return page(StatusCode::GATEWAY_TIMEOUT, "the server behind does not answer\n"),
    };
    let connection = match connected {
        Ok(connection) => connection,
        Err(error) => {
            tracing::warn!(address = %backend.address, %error, "the HTTP backend is not there");
            return page(StatusCode::BAD_GATEWAY, "the server behind is not there\n");
        }
    };
    let _ = connection.set_nodelay(true);
    match exchange(connection, Request::from_parts(head, body), place).await {
        Ok(answer) => answer,
        Err(Failed::TimedOut) => {
            page(StatusCode::GATEWAY_TIMEOUT, "the server behind takes too long\n")
        }
        Err(Failed::Stream(_) | Failed::Http(_)) => {
            page(StatusCode::BAD_GATEWAY, "the server behind made no sense\n")
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    TimedOut,
    Stream(StreamError),
    Http(String),
}

impl From<hyper::Error> for Failed {
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
        Self::Http(error.to_string())
    }
}

/// One request and its answer over a connection made for them. The answer's body, or the
/// WebSocket that comes of it, goes on by itself.
pub(super) async fn exchange(
    connection: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut request: Request<Rest>,
    place: Arc<Place>,
) -> Result<Response<Outgoing>, Failed> {
    let upgrade = request.headers().contains_key(hyper::header::UPGRADE);
    let asking = upgrade.then(|| hyper::upgrade::on(&mut request));
    let io = TokioIo::new(Patient::new(connection));
    let (mut sender, connection) = asker().handshake(io).await?;
    tokio::spawn(async move {
        // What goes wrong is seen where the answer is read.
        let _ = connection.with_upgrades().await;
    });
    let passed = Arc::new(AtomicU64::new(0));
    let request = request.map(|body| Passing::new(body, passed.clone()));
    let mut sent = Box::pin(sender.send_request(request));
    let mut answer = loop {
        let before = passed.load(Ordering::Relaxed);
        match timeout(patience::ANSWER, &mut sent).await {
            Ok(answer) => break answer?,
            // Still sending: a long body is no silence.
            Err(_) if passed.load(Ordering::Relaxed) > before => {}
            Err(_) => return Err(Failed::TimedOut),
        }
    };
    let switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    match (switched, asking) {
        (false, _) => {}
        (true, None) => return Err(Failed::Http("an upgrade nobody asked for".to_owned())),
        (true, Some(asking)) => {
            let answering = hyper::upgrade::on(&mut answer);
            tokio::spawn(join(asking, answering, place));
        }
    }
    let status = answer.status();
    forward::answer(answer.headers_mut(), status);
    Ok(answer.map(|body| body.map_err(io::Error::other).boxed_unsync()))
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

pub(super) fn refuse(refusal: Refusal) -> Response<Outgoing> {
    tracing::debug!(%refusal, "an HTTP request was refused");
    page(refusal.0, &format!("{}\n", refusal.1))
}

/// A short text, and the end of the connection: what was refused may not have been read.
pub(super) fn page(status: StatusCode, text: &str) -> Response<Outgoing> {
    let mut response = Response::new(whole(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
