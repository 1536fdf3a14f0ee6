//! What becomes of a message's head on its way through (RFC 9110 §7.6, RFC 9112).
//!
//! Pure rules: which requests are refused, which fields end here, which are added. hyper has
//! taken the message's framing off and puts another one on; what it lets pass and another server
//! might read differently is refused here.

use std::fmt;

use hyper::Version;
use hyper::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::{PathAndQuery, Uri};
use hyper::http::{Method, StatusCode, request};
use trunkline_proto::base::Hashname;

/// The field that tells who asks: the hashname, 64 hex digits, proved by the line. Whatever an
/// asker writes there is taken out.
pub const HASHNAME_HEADER: &str = "trunkline-hashname";
const HASHNAME: HeaderName = HeaderName::from_static(HASHNAME_HEADER);
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Fields about one connection, not about the message.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Why a request is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) &'static str);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0, self.1)
    }
}

/// Refuses what could be read in two ways, and what is not for a server like this.
pub(super) fn judge(head: &request::Parts) -> Result<(), Refusal> {
    let bad = |why| Err(Refusal(StatusCode::BAD_REQUEST, why));
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, "no tunnels and no echoes here"));
    }
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    // hyper undoes the last coding, chunked, and no other.
    if codings.next().is_some_and(|c| !c.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || codings.next().is_some()
    {
        return Err(Refusal(StatusCode::NOT_IMPLEMENTED, "no transfer coding but chunked"));
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return bad("more than one Host"),
        (None, None) if head.version == Version::HTTP_11 => return bad("no Host"),
        (Some(host), None) if !is_authority(host) => return bad("a Host that is none"),
        _ => {}
    }
    // `//` at the beginning would be read as a host once it stands alone.
    if head.uri.path().starts_with("//") && head.uri.authority().is_some() {
        return bad("a target that can be read in two ways");
    }
    Ok(())
}

/// A host and maybe a port, and nothing that means something else.
fn is_authority(host: &HeaderValue) -> bool {
    let word = |b: &u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(b);
    host.as_bytes().iter().all(word)
}

/// Makes the head one for the next hop: its own target, no field that ends here, and the fields
/// that say who asks.
pub(super) fn to_backend(head: &mut request::Parts, asker: &Hashname, host: Option<HeaderValue>) {
    let upgrade = websocket(head);
    let trailers = accepts_trailers(&head.headers);
    let asked = head.headers.get(HOST).cloned();
    strip(&mut head.headers);
    strip_claims(&mut head.headers);
    head.uri = origin_form(&head.uri);
    head.version = Version::HTTP_11;
    head.headers.insert(HASHNAME, hex(asker));
    if let (Some(_), Some(asked)) = (&host, &asked) {
        head.headers.insert(FORWARDED_HOST, asked.clone());
    }
    let nobody = || HeaderValue::from_static("localhost");
    head.headers.insert(HOST, host.or(asked).unwrap_or_else(nobody));
    reconnect(&mut head.headers, upgrade, trailers);
}

/// The same on the way from a browser to a peer: the Host stays, it says what was asked for.
pub(super) fn to_peer(head: &mut request::Parts) {
    let upgrade = websocket(head);
    let trailers = accepts_trailers(&head.headers);
    let host = head.headers.get(HOST).cloned();
    strip(&mut head.headers);
    strip_claims(&mut head.headers);
    host.into_iter().for_each(|host| drop(head.headers.insert(HOST, host)));
    head.uri = origin_form(&head.uri);
    head.version = Version::HTTP_11;
    reconnect(&mut head.headers, upgrade, trailers);
}

/// What this hop says about its own connection.
fn reconnect(headers: &mut HeaderMap, upgrade: bool, trailers: bool) {
    if upgrade {
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        return;
    }
    if trailers {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Takes the fields out that are about one connection, those it lists itself among them.
pub(super) fn strip(headers: &mut HeaderMap) {
    let lists = headers.get_all(CONNECTION).iter().filter_map(|v| v.to_str().ok());
    let named: Vec<HeaderName> =
        lists.flat_map(|l| l.split(',')).filter_map(|n| n.trim().parse().ok()).collect();
    for name in &named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Takes out what an asker has no right to say: programs behind this node believe such fields
/// when they come from its address.
fn strip_claims(headers: &mut HeaderMap) {
    // A program that keeps fields in variables reads `_` and `-` as the same.
    let claims = |name: &HeaderName| {
        let name = name.as_str().replace('_', "-");
        name == HASHNAME_HEADER
            || name == "forwarded"
            || name == "proxy"
            || name == "x-real-ip"
            || name.starts_with("x-forwarded-")
    };
    let names: Vec<HeaderName> = headers.keys().filter(|n| claims(n)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// The path and the query alone: who is asked has been decided by the line.
fn origin_form(uri: &Uri) -> Uri {
    let root = || PathAndQuery::from_static("/");
    let path = uri.path_and_query().cloned().filter(|p| !p.as_str().is_empty());
    Uri::from(path.unwrap_or_else(root))
}

/// Whether a request asks for a WebSocket.
pub(super) fn websocket(head: &request::Parts) -> bool {
    let has = |name: HeaderName, word: &str| {
        let values = head.headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
        values.flat_map(|v| v.split(',')).any(|v| v.trim().eq_ignore_ascii_case(word))
    };
    head.method == Method::GET && has(CONNECTION, "upgrade") && has(UPGRADE, "websocket")
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(TE).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|v| v.trim().eq_ignore_ascii_case("trailers"))
}

/// The head of an answer on its way back; an answer that changes the protocol keeps what says so.
pub(super) fn answer(headers: &mut HeaderMap, status: StatusCode) {
    strip(headers);
    if status == StatusCode::SWITCHING_PROTOCOLS {
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

pub(super) fn hex(hashname: &Hashname) -> HeaderValue {
    HeaderValue::from_str(&hashname.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, uri: &str, fields: &[(&str, &str)]) -> request::Parts {
        let mut builder = hyper::Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    fn names(head: &request::Parts) -> Vec<&str> {
        let mut names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn s25_fields_of_one_connection_end_here() {
        let mut head = head(
            "GET",
            "/x?y=1",
            &[
                ("host", "wiki.localhost:8480"),
                ("connection", "keep-alive, X-Own , upgrade"),
                ("connection", "x-other"),
                ("x-own", "1"),
                ("x-other", "1"),
                ("keep-alive", "timeout=5"),
                ("te", "trailers, deflate"),
                ("proxy-authorization", "secret"),
                ("upgrade", "h2c"),
                ("accept", "*/*"),
            ],
        );
        to_backend(&mut head, &Hashname::new([0xab; 32]), Some("127.0.0.1:80".parse().unwrap()));
        let expected = ["accept", "connection", "host", "te", HASHNAME_HEADER, "x-forwarded-host"];
        assert_eq!(names(&head), expected);
        assert_eq!(head.headers[HOST], "127.0.0.1:80");
        assert_eq!(head.headers["x-forwarded-host"], "wiki.localhost:8480");
        assert_eq!(head.headers[CONNECTION], "te");
        assert_eq!(head.headers[TE], "trailers");
        assert_eq!(head.headers[HASHNAME_HEADER], "ab".repeat(32));
        assert_eq!(head.uri, "/x?y=1");
    }

    #[test]
    fn s25_nobody_says_who_asks_but_the_line() {
        let claims = [
            "Trunkline-Hashname",
            "trunkline_hashname",
            "TRUNKLINE-hashname",
            "X-Forwarded-For",
            "x_forwarded_for",
            "X-Forwarded-Proto",
            "Forwarded",
            "X-Real-IP",
            "Proxy",
        ];
        for claim in claims {
            let mut head = head("GET", "/", &[("host", "a"), (claim, "forged")]);
            to_backend(&mut head, &Hashname::new([1; 32]), None);
            assert!(head.headers.values().all(|v| v != "forged"), "{claim}");
            assert_eq!(head.headers[HASHNAME_HEADER], "01".repeat(32));
        }
        // Naming it as a field of the connection does not take ours out.
        let mut head =
            head("GET", "/", &[("host", "a"), ("connection", "trunkline-hashname, host")]);
        to_backend(&mut head, &Hashname::new([1; 32]), None);
        assert_eq!(head.headers[HASHNAME_HEADER], "01".repeat(32));
        assert_eq!(head.headers[HOST], "a");
    }

    #[test]
    fn s25_what_can_be_read_in_two_ways_is_refused() {
        let host = ("host", "a");
        for (method, uri, fields, status) in [
            ("GET", "/", vec![host, ("transfer-encoding", "gzip, chunked")], 501),
            ("GET", "/", vec![host, ("transfer-encoding", "chunked, chunked")], 501),
            ("GET", "/", vec![host, ("transfer-encoding", "identity")], 501),
            (
                "GET",
                "/",
                vec![host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
                501,
            ),
            ("GET", "/", vec![], 400),
            ("GET", "/", vec![host, ("host", "b")], 400),
            ("GET", "/", vec![("host", "a b")], 400),
            ("GET", "/", vec![("host", "a/b@c")], 400),
            ("GET", "/", vec![("host", "a, b")], 400),
            ("CONNECT", "a:80", vec![host], 405),
            ("TRACE", "/", vec![host], 405),
            ("GET", "http://a//b/c", vec![host], 400),
        ] {
            let refused = judge(&head(method, uri, &fields)).unwrap_err();
            assert_eq!(refused.0.as_u16(), status, "{method} {uri} {fields:?}");
        }
        for fields in [vec![host], vec![host, ("transfer-encoding", "Chunked")]] {
            assert_eq!(judge(&head("GET", "http://b/x", &fields)), Ok(()));
        }
    }

    #[test]
    fn s25_a_target_is_a_path_whoever_it_names() {
        for (uri, expected) in [
            ("http://evil.example/a?b", "/a?b"),
            ("http://evil.example", "/"),
            ("/", "/"),
            ("/a/../b", "/a/../b"),
            ("*", "*"),
        ] {
            assert_eq!(origin_form(&uri.parse().unwrap()).to_string(), expected, "{uri}");
        }
    }

    #[test]
    fn s25_only_websockets_are_upgraded() {
        let host = ("host", "a");
        let ask = [host, ("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
        assert!(websocket(&head("GET", "/", &ask)));
        assert!(!websocket(&head("POST", "/", &ask)));
        assert!(!websocket(&head("GET", "/", &[host, ("upgrade", "websocket")])));
        assert!(!websocket(&head(
            "GET",
            "/",
            &[host, ("connection", "upgrade"), ("upgrade", "h2c")]
        )));
        let mut head = head("GET", "/", &ask);
        to_peer(&mut head);
        assert_eq!(
            (&head.headers[CONNECTION], &head.headers[UPGRADE]),
            (&HeaderValue::from_static("upgrade"), &HeaderValue::from_static("websocket"))
        );
    }
}
