//! A local port through which a browser reaches peers: `http://NAME.localhost:PORT/`.
//!
//! Browsers resolve every name under `.localhost` to this machine and keep the pages of each
//! apart. The name says who is asked: one of the configuration, the hashname's
//! [label](super::to_label), or its hex digits in two labels of 32. Any other Host is refused,
//! so that no name on the Internet that points here gets in.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use trunkline_proto::base::{Hashname, Priority};
use trunkline_proto::switch::streams::{Code, Open};

use super::body::{Outgoing, Rest};
use super::exchange::{Broken, Failed, Kept, exchange};
use super::forward::{self, Refusal};
use super::label::from_label;
use super::patient::Patient;
use super::serve::{page, refuse};
use super::{Place, Places, Site, reader};
use crate::handle::Handle;
use crate::stream::StreamError;

/// After a failed accept (no descriptors left, say), the next one comes this much later.
const PAUSE: Duration = Duration::from_millis(100);

/// Who is reached under which name.
pub(crate) struct Gateway {
    handle: Handle,
    names: BTreeMap<String, Hashname>,
}

impl Gateway {
    pub(crate) const fn new(handle: Handle, names: BTreeMap<String, Hashname>) -> Self {
        Self { handle, names }
    }

    /// Takes browsers' connections for as long as the thread lives.
    pub(super) async fn run(self: Box<Self>, listener: std::net::TcpListener, site: Arc<Site>) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the gateway cannot listen"),
        };
        let this: Arc<Self> = self.into();
        loop {
            match listener.accept().await {
                Ok((socket, _)) => {
                    if let Some(place) = Places::take(&site, None) {
                        tokio::spawn(serve(this.clone(), socket, Arc::new(place)));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the gateway cannot accept");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        place: Arc<Place>,
        kept: &Kept<Hashname>,
    ) -> Response<Outgoing> {
        let (mut head, body) = request.into_parts();
        let body = Rest::new(body);
        if let Err(refusal) = forward::judge(&head).and_then(|()| judge_origin(&head)) {
            return refuse(refusal);
        }
        let host = head.headers.get(HOST).and_then(|h| h.to_str().ok()).unwrap_or("");
        let peer = match find(&self.names, host) {
            Ok(peer) => peer,
            Err((status, text)) => return page(status, &text),
        };
        forward::to_peer(&mut head);
        let stream = async || {
            let opened = self.handle.open_stream(peer, Open::Req, Priority::DEFAULT);
            opened.map_err(|error| Failed::Broken(Broken::Stream(error)))
        };
        match exchange(kept, peer, stream, Request::from_parts(head, body), place).await {
            Ok(answer) => answer,
            Err(why) => failed(&peer, &why),
        }
    }
}

async fn serve(gateway: Arc<Gateway>, socket: TcpStream, place: Arc<Place>) {
    let _ = socket.set_nodelay(true);
    let kept = Arc::new(Kept::none());
    let answer = move |request| {
        let (gateway, place, kept) = (gateway.clone(), place.clone(), kept.clone());
        async move { Ok::<_, Infallible>(gateway.answer(request, place, &kept).await) }
    };
    let io = TokioIo::new(Patient::new(socket));
    if let Err(error) = reader().serve_connection(io, service_fn(answer)).with_upgrades().await {
        tracing::debug!(%error, "a browser's connection ended");
    }
}

/// Who is asked under this Host, or what is said instead.
fn find(names: &BTreeMap<String, Hashname>, host: &str) -> Result<Hashname, (StatusCode, String)> {
    let host = host.to_ascii_lowercase();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => &host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let Some(label) = name.strip_suffix(".localhost") else {
        let text = "This is the gateway of a trunkline node. It answers under \
                    http://NAME.localhost:PORT/, where NAME is in its configuration \
                    ([gateway.names]), or is the label that `trunkline keys show` prints.\n";
        return Err((StatusCode::MISDIRECTED_REQUEST, text.to_owned()));
    };
    let in_two = || label.split_once('.').filter(|(a, b)| a.len() == 32 && b.len() == 32);
    let written = || in_two().and_then(|(a, b)| format!("{a}{b}").parse().ok());
    let known = names.get(label).copied();
    known.or_else(|| from_label(label)).or_else(written).ok_or_else(|| {
        let text = format!("No hashname is called `{label}` here: see [gateway.names].\n");
        (StatusCode::NOT_FOUND, text)
    })
}

/// Pages of other origins may lead a browser here, and nothing more: neither send something on
/// their visitor's behalf, nor open a WebSocket, nor load parts.
fn judge_origin(head: &hyper::http::request::Parts) -> Result<(), Refusal> {
    let text = |headers: &HeaderMap, name: &str| {
        headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_ascii_lowercase)
    };
    let refused = Err(Refusal(StatusCode::FORBIDDEN, "not for pages of other origins"));
    let visits = text(&head.headers, "sec-fetch-mode").as_deref() == Some("navigate")
        && matches!(head.method, Method::GET | Method::HEAD);
    match text(&head.headers, "sec-fetch-site").as_deref() {
        None | Some("same-origin" | "none") => {}
        Some(_) if visits => {}
        Some(_) => return refused,
    }
    let safe = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if safe && !forward::websocket(head) {
        return Ok(());
    }
    match (text(&head.headers, ORIGIN.as_str()), text(&head.headers, HOST.as_str())) {
        (None, _) => Ok(()),
        (Some(origin), Some(host)) if origin.strip_prefix("http://") == Some(&host) => Ok(()),
        _ => refused,
    }
}

fn failed(peer: &Hashname, why: &Failed) -> Response<Outgoing> {
    let short = peer.short();
    let broken = match why {
        Failed::TimedOut => {
            return page(StatusCode::GATEWAY_TIMEOUT, &format!("{short} takes too long.\n"));
        }
        Failed::Absent => {
            return page(StatusCode::BAD_GATEWAY, &format!("No way to {short}.\n"));
        }
        Failed::Broken(broken) => broken,
    };
    let text = match broken {
        Broken::Stream(StreamError::Reset { code: Code::REFUSED, .. }) => {
            format!("{short} serves no HTTP: it has no [http].\n")
        }
        Broken::Stream(StreamError::Reset { code: Code::LINE_DOWN | Code::DEAD, .. }) => {
            format!("No way to {short}, or it does not answer.\n")
        }
        Broken::Stream(error) => format!("{short}: {error}.\n"),
        Broken::Ended(why) | Broken::Http(why) => format!("{short} made no sense: {why}.\n"),
    };
    page(StatusCode::BAD_GATEWAY, &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::to_label;

    #[test]
    fn s12_a_host_leads_to_one_hashname_or_nowhere() {
        let [wiki, other] = [1, 0xab].map(|n| Hashname::new([n; 32]));
        let names = BTreeMap::from([("wiki".to_owned(), wiki)]);
        let halves = format!("{}.{}", "ab".repeat(16), "AB".repeat(16));
        for (host, expected) in [
            ("wiki.localhost:8480", Ok(wiki)),
            ("WIKI.localhost.:8480", Ok(wiki)),
            ("wiki.localhost", Ok(wiki)),
            (&format!("{}.localhost:1", to_label(&other)), Ok(other)),
            (&format!("{halves}.localhost:1"), Ok(other)),
            ("x.wiki.localhost", Err(404)),
            ("nobody.localhost:8480", Err(404)),
            ("localhost:8480", Err(421)),
            ("127.0.0.1:8480", Err(421)),
            ("wiki.localhost.evil.example", Err(421)),
            ("wikilocalhost", Err(421)),
            ("[::1]:8480", Err(421)),
            ("", Err(421)),
        ] {
            let found = find(&names, host).map_err(|(status, _)| status.as_u16());
            assert_eq!(found, expected, "{host}");
        }
    }

    #[test]
    fn s12_other_origins_may_lead_here_and_no_more() {
        let head = |method: &str, fields: &[(&str, &str)]| {
            let builder =
                Request::builder().method(method).uri("/").header("host", "a.localhost:1");
            let with = fields.iter().fold(builder, |b, (n, v)| b.header(*n, *v));
            with.body(()).unwrap().into_parts().0
        };
        let own = ("origin", "http://a.localhost:1");
        let (other, site) = (("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"));
        let socket = [("connection", "upgrade"), ("upgrade", "websocket")];
        for (fine, method, fields) in [
            (true, "GET", vec![]),
            (true, "POST", vec![]),
            (true, "POST", vec![own, ("sec-fetch-site", "same-origin")]),
            (false, "POST", vec![other]),
            (false, "POST", vec![("origin", "null")]),
            (false, "POST", vec![("origin", "http://b.localhost:1")]),
            (true, "GET", vec![site, ("sec-fetch-mode", "navigate")]),
            (false, "POST", vec![site, ("sec-fetch-mode", "navigate")]),
            (false, "GET", vec![site, ("sec-fetch-mode", "no-cors")]),
            (false, "GET", vec![("sec-fetch-site", "same-site")]),
            (true, "GET", vec![own, socket[0], socket[1]]),
            (false, "GET", vec![other, socket[0], socket[1]]),
        ] {
            assert_eq!(judge_origin(&head(method, &fields)).is_ok(), fine, "{method} {fields:?}");
        }
    }
}
