//! Serving a peer's connection: by the application, or by the server behind.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use trunkline_proto::base::Hashname;

use super::body::{Outgoing, Rest, whole};
use super::exchange::{Failed, Kept, exchange};
use super::forward::{self, Refusal};
use super::patient::Patient;
use super::{Backend, Place, patience, reader};
use crate::stream::Stream;

/// Serves a peer's stream until either end has enough.
pub(super) async fn serve(stream: Stream, place: Place) {
    let peer = stream.peer();
    let asker = Arc::new((place.into(), Kept::none()));
    let answer = move |request| {
        let asker = asker.clone();
        async move {
            let (place, kept) = &*asker;
            Ok::<_, Infallible>(answer(request, peer, place, kept).await)
        }
    };
    let io = TokioIo::new(Patient::new(stream));
    if let Err(error) = reader().serve_connection(io, service_fn(answer)).with_upgrades().await {
        tracing::debug!(%peer, %error, "an HTTP connection ended");
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: Hashname,
    place: &Arc<Place>,
    kept: &Kept<()>,
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
        Some(backend) => {
            relay(Request::from_parts(head, body), peer, backend, place.clone(), kept).await
        }
        None => page(StatusCode::NOT_FOUND, "nothing is served here\n"),
    }
}

async fn relay(
    request: Request<Rest>,
    peer: Hashname,
    backend: Backend,
    place: Arc<Place>,
    kept: &Kept<()>,
) -> Response<Outgoing> {
    let (mut head, body) = request.into_parts();
    let own = backend.address.to_string().parse().ok();
    forward::to_backend(&mut head, &peer, own.filter(|_| !backend.pass_host));
    let connect = async || connect(backend).await;
    let request = Request::from_parts(head, body);
    match exchange(kept, (), connect, request, place).await {
        Ok(answer) => answer,
        Err(Failed::TimedOut) => {
            page(StatusCode::GATEWAY_TIMEOUT, "the server behind takes too long\n")
        }
        Err(Failed::Absent) => page(StatusCode::BAD_GATEWAY, "the server behind is not there\n"),
        Err(Failed::Broken(_)) => {
            page(StatusCode::BAD_GATEWAY, "the server behind made no sense\n")
        }
    }
}

async fn connect(backend: Backend) -> Result<TcpStream, Failed> {
    let connected = timeout(patience::CONNECT, TcpStream::connect(backend.address)).await;
    match connected {
        Ok(Ok(connection)) => {
            let _ = connection.set_nodelay(true);
            Ok(connection)
        }
        Ok(Err(error)) => {
            tracing::warn!(address = %backend.address, %error, "the HTTP backend is not there");
            Err(Failed::Absent)
        }
        Err(_) => Err(Failed::TimedOut),
    }
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
