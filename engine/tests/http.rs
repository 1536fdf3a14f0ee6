//! HTTP over streams, between two nodes over real sockets: a backend, a service, a client, a
//! gateway, and what is refused.
#![cfg(feature = "http")]

mod common;
mod web;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::PATIENCE;
use trunkline::http::{Backend, Body, CallError, HASHNAME_HEADER, Method, Response};
use trunkline::{Engine, StreamError, StreamOptions};
use web::{Seen, Web, backed, browse, pair, raw, status};

#[test]
fn s9_s12_s25_a_request_reaches_the_backend_with_its_askers_name_and_the_answer_comes_back() {
    let web = Web::start();
    let (a, b) = backed(&web);
    let client = a.handle().http(b.handle().hashname());
    let call = client
        .request(Method::PUT, "/files/x?y=z")
        .header("x-mine", "1")
        .header(HASHNAME_HEADER, "forged")
        .header("x-forwarded-for", "10.0.0.1")
        .body("a body");
    let mut answer = call.send().expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.header("x-theirs")), (200, Some("2")));
    assert_eq!(answer.header("x-own"), None, "what the backend's connection lists ends there");
    let text = answer.text(1_000).expect("a text");
    assert_eq!(text, "PUT /files/x?y=z a body");
    let Seen { head, .. } = web.seen();
    let field = |name: &str| head.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!(field("x-mine"), Some("1"));
    assert_eq!(field(HASHNAME_HEADER), Some(&*a.handle().hashname().to_string()));
    assert_eq!(field("x-forwarded-for"), None);
    assert_eq!(field("host"), Some(&*web.address.to_string()));
    assert!(field("x-forwarded-host").is_some_and(|h| h.ends_with(".localhost")));
    // HEAD has the length and no body; an answer without a body is one.
    let mut head = client.request(Method::HEAD, "/length").send().expect("an answer");
    assert_eq!(head.header("content-length"), Some("7"));
    assert_eq!(head.text(9).expect("none"), "");
    let mut none = client.get("/none").send().expect("an answer");
    assert_eq!((none.status().as_u16(), none.text(9).expect("none")), (204, String::new()));
}

#[test]
fn s25_trailers_pass_both_ways_and_an_expectation_is_met() {
    let web = Web::start();
    let (a, b) = backed(&web);
    let mut answer = a
        .handle()
        .http(b.handle().hashname())
        .get("/trailers")
        .header("te", "trailers")
        .send()
        .expect("an answer");
    assert_eq!(answer.text(100).expect("a text"), "with");
    // The library's own connection says what it takes.
    let host = "Host: x\r\n";
    let request = format!(
        "POST /echo HTTP/1.1\r\n{host}TE: trailers\r\nConnection: te, close\r\n\
         Expect: 100-continue\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n"
    );
    let answer = raw(&a, &b, request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 100 "), "{answer}");
    assert!(answer.contains("POST /echo abc"), "{answer}");
    assert_eq!(web.seen().trailers, [("x-sum".to_owned(), "7".to_owned())]);
    let request =
        format!("GET /trailers HTTP/1.1\r\n{host}TE: trailers\r\nConnection: te, close\r\n\r\n");
    let answer = raw(&a, &b, request.as_bytes());
    assert!(answer.contains("x-after: yes"), "{answer}");
}

#[test]
fn s9_s25_what_two_servers_could_read_differently_is_refused_or_made_one() {
    let web = Web::start();
    let (a, b) = backed(&web);
    let h = "Host: x\r\nConnection: close\r\n";
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for (name, request, refused) in [
        (
            "two lengths",
            format!("POST /a HTTP/1.1\r\n{h}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
            true,
        ),
        (
            "a list of lengths",
            format!("POST /a HTTP/1.1\r\n{h}Content-Length: 3, 3\r\n\r\nabc"),
            true,
        ),
        ("a signed length", format!("POST /a HTTP/1.1\r\n{h}Content-Length: +3\r\n\r\nabc"), true),
        ("a length in hex", format!("POST /a HTTP/1.1\r\n{h}Content-Length: 0x3\r\n\r\nabc"), true),
        (
            "length, then chunks",
            format!(
                "POST /a HTTP/1.1\r\n{h}Content-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
            ),
            false,
        ),
        (
            "chunks, then length",
            format!(
                "POST /a HTTP/1.1\r\n{h}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{smuggled}"
            ),
            false,
        ),
        (
            "other codings",
            format!("POST /a HTTP/1.1\r\n{h}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
            true,
        ),
        (
            "coded twice",
            format!("POST /a HTTP/1.1\r\n{h}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            true,
        ),
        (
            "coded in two lines",
            format!(
                "POST /a HTTP/1.1\r\n{h}Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            true,
        ),
        (
            "a name with a blank",
            format!("POST /a HTTP/1.1\r\n{h}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
            true,
        ),
        (
            "a tab before",
            format!("POST /a HTTP/1.1\r\n{h}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n"),
            true,
        ),
        (
            "chunks in 1.0",
            format!("POST /a HTTP/1.0\r\n{h}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            true,
        ),
        ("a folded line", format!("GET /a HTTP/1.1\r\n{h}X: a\r\n b\r\n\r\n"), true),
        ("a null", format!("GET /a HTTP/1.1\r\n{h}X: a\0b\r\n\r\n"), true),
        (
            "a lone CR",
            format!("GET /a HTTP/1.1\r\n{h}X: a\rTransfer-Encoding: chunked\r\n\r\n"),
            true,
        ),
        ("no Host", "GET /a HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), true),
        ("two Hosts", format!("GET /a HTTP/1.1\r\n{h}Host: y\r\n\r\n"), true),
        ("a blank in the target", format!("GET /a b HTTP/1.1\r\n{h}\r\n"), true),
        ("another version", format!("GET /a HTTP/3.7\r\n{h}\r\n"), true),
        ("none at all", "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n".to_owned(), true),
        ("a tunnel", format!("CONNECT a:80 HTTP/1.1\r\n{h}\r\n"), true),
        ("another's target", format!("GET http://evil.example/a HTTP/1.1\r\n{h}\r\n"), false),
        ("bare line feeds", "GET /a HTTP/1.1\nHost: x\nConnection: close\n\n".to_owned(), false),
    ] {
        web.forget();
        let answer = raw(&a, &b, request.as_bytes());
        let seen = web.all_seen();
        if refused {
            assert!(
                (400..=505).contains(&status(&answer)) || answer.is_empty(),
                "{name}: {answer}"
            );
            assert_eq!(seen.len(), 0, "{name}: {seen:?}");
        } else {
            // One request, of which the backend sees one framing.
            assert_eq!((status(&answer), seen.len()), (200, 1), "{name}: {answer} {seen:?}");
            let fields: Vec<_> = seen[0].head.iter().map(|(n, _)| n.as_str()).collect();
            let framing =
                fields.iter().filter(|n| matches!(**n, "content-length" | "transfer-encoding"));
            assert!(framing.count() <= 1, "{name}: {fields:?}");
            assert!(seen[0].line.ends_with(" /a HTTP/1.1"), "{name}: {}", seen[0].line);
        }
    }
}

#[test]
fn s9_s25_broken_chunks_end_the_request_and_nothing_else() {
    let web = Web::start();
    let (a, b) = backed(&web);
    for chunk in [
        "3;\nx\r\nabc\r\n",
        "ffffffffffffffffff\r\n",
        "-3\r\nabc\r\n",
        "0x3\r\nabc\r\n",
        " 3\r\nabc\r\n",
        "3\nabc\r\n",
        "3\r\nabcd\r\n",
        "3 3\r\nabc\r\n",
        "\r\n",
    ] {
        let request = format!(
            "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
             {chunk}0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
        );
        web.forget();
        let answer = raw(&a, &b, request.as_bytes());
        assert!(status(&answer) != 200, "{chunk:?}: {answer}");
        let lines: Vec<_> = web.all_seen().into_iter().map(|s| s.line).collect();
        assert!(lines.iter().all(|l| !l.contains("smuggled")), "{chunk:?}: {lines:?}");
    }
    assert_eq!(a.handle().http(b.handle().hashname()).get("/x").send().unwrap().status(), 200);
}

#[test]
fn s25_heads_are_bounded() {
    let web = Web::start();
    let (a, b) = backed(&web);
    let many: String = (0..200).map(|i| format!("X-{i}: y\r\n")).collect();
    let answer = raw(&a, &b, format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes());
    assert_eq!(status(&answer), 431, "{answer}");
    let long = "y".repeat(70_000);
    let answer = raw(&a, &b, format!("GET / HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n").as_bytes());
    assert_eq!(status(&answer), 431, "{answer}");
    let answer = raw(&a, &b, format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    assert!(matches!(status(&answer), 414 | 431), "{answer}");
    assert_eq!(web.all_seen().len(), 0);
}

#[test]
fn s12_a_line_break_in_a_path_or_a_field_never_leaves() {
    let web = Web::start();
    let (a, b) = backed(&web);
    let client = a.handle().http(b.handle().hashname());
    for path in ["/a\r\nX: y", "/a HTTP/1.1\r\n\r\nGET /b", "no-slash", "http://a/b", "/\0"] {
        let sent = client.get(path).send();
        let fine = matches!(&sent, Err(CallError::Request(_) | CallError::Path));
        assert!(fine, "{path:?}: {sent:?}");
    }
    let field = client.get("/").header("x", "a\r\nY: z").send();
    assert!(matches!(field, Err(CallError::Request(_))));
    assert!(web.all_seen().iter().all(|s| s.line.starts_with("GET /")));
}

#[test]
fn s9_s12_a_long_body_up_and_down_takes_no_more_memory_than_a_short_one() {
    const LONG: u64 = 64 << 20;
    let (a, b) = pair(|setup| {
        let service = |mut request: trunkline::http::Request| match request.path() {
            "/down" => Response::new(200).body(Body::sized(LONG, std::io::repeat(7))),
            _ => {
                let n = std::io::copy(&mut request, &mut std::io::sink()).expect("read");
                Response::text(n.to_string())
            }
        };
        let builder = Engine::builder().identity(common::identity(5)).http_service(service);
        setup.http = builder.into_setup().expect("a set-up").http;
    });
    let client = a.handle().http(b.handle().hashname());
    let round = |length: u64| {
        let body = Body::sized(length, std::io::repeat(7));
        let mut up = client.post("/up", body).send().expect("an answer");
        assert_eq!(up.text(99).expect("a number"), length.to_string());
        let mut down = client.get("/down").send().expect("an answer");
        assert_eq!(down.header("content-length"), Some(&*LONG.to_string()));
        let taken = std::io::copy(&mut down.by_ref().take(length), &mut std::io::sink());
        assert_eq!(taken.expect("read"), length);
    };
    // Windows, pools and buffers are warm after this.
    round(LONG);
    let before = resident();
    (0..3).for_each(|_| round(LONG));
    let grown = resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more after 384 MiB");
}

/// Bytes of this process in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel's word");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("a line");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1_024
}

#[test]
fn s9_a_slow_reader_holds_nobody_else_up() {
    let (a, b) = pair(|setup| {
        let service = |request: trunkline::http::Request| match request.path() {
            "/endless" => Response::new(200).body(Body::reader(std::io::repeat(7))),
            _ => Response::text("quick"),
        };
        let builder = Engine::builder().identity(common::identity(5)).http_service(service);
        setup.http = builder.into_setup().expect("a set-up").http;
    });
    let client = a.handle().http(b.handle().hashname());
    // Nobody reads these.
    let slow: Vec<_> = (0..20).map(|_| client.get("/endless").send().expect("an answer")).collect();
    for _ in 0..50 {
        let mut quick = client.get("/quick").patience(PATIENCE).send().expect("an answer");
        assert_eq!(quick.text(9).expect("a text"), "quick");
    }
    drop(slow);
}

#[test]
fn s9_a_body_that_is_cut_off_is_not_taken_for_the_whole() {
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let (a, b) = pair(|setup| {
        let service = move |mut request: trunkline::http::Request| match request.path() {
            // Says 1,000 bytes and has 9.
            "/short" => Response::new(200).body(Body::sized(1_000, &b"too short"[..])),
            _ => {
                let read = std::io::copy(&mut request, &mut std::io::sink());
                tell.lock().expect("a lock").send(read.is_ok()).expect("told");
                Response::new(200)
            }
        };
        let builder = Engine::builder().identity(common::identity(5)).http_service(service);
        setup.http = builder.into_setup().expect("a set-up").http;
    });
    let client = a.handle().http(b.handle().hashname());
    let answer = client.get("/short").send();
    assert!(answer.is_err() || answer.is_ok_and(|mut a| a.text(2_000).is_err()));
    let up = client.post("/up", Body::sized(1_000, &b"too short"[..])).send();
    assert!(up.is_err());
    assert_eq!(told.recv_timeout(PATIENCE), Ok(false));
    // Neither is one whose own node stops.
    let endless = Body::reader(std::io::repeat(7));
    let handle = a.handle().clone();
    let to = b.handle().hashname();
    let asking = std::thread::Builder::new()
        .spawn(move || handle.http(to).post("/up", endless).send().is_err());
    std::thread::park_timeout(Duration::from_millis(300));
    a.stop();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(false));
    assert!(asking.expect("a thread").join().expect("asked"));
}

#[test]
fn s9_one_peer_gets_so_many_connections_and_no_more() {
    let web = Web::start();
    let (a, b) = backed(&web);
    let to = b.handle().hashname();
    let mut held = Vec::new();
    for _ in 0..64 {
        let mut stream = a.handle().http_stream(to, StreamOptions::default()).expect("a stream");
        stream.write_all(b"GET / HTTP/1.1\r\n").expect("written");
        held.push(stream);
    }
    let refused = (0..200).find_map(|_| match a.handle().http(to).get("/").send() {
        Err(CallError::Stream(StreamError::Reset { code, .. })) => Some(code.0),
        other => {
            drop(other);
            std::thread::park_timeout(Duration::from_millis(10));
            None
        }
    });
    assert_eq!(refused, Some(2));
    drop(held);
    let served = (0..500).any(|_| {
        let served = a.handle().http(to).get("/").send().is_ok();
        if !served {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        served
    });
    assert!(served, "places are free again");
}

#[test]
fn s9_who_serves_nothing_says_so_and_a_backend_that_is_gone_too() {
    let (a, b) = pair(|_| {});
    let to = b.handle().hashname();
    let refused = a.handle().http(to).get("/").send();
    assert!(
        matches!(&refused, Err(CallError::Stream(StreamError::Reset { code, .. })) if code.0 == 6),
        "{refused:?}"
    );
    let answer =
        browse(&a, "GET / HTTP/1.1\r\nHost: wiki.localhost:1\r\nConnection: close\r\n\r\n");
    assert!(status(&answer) == 502 && answer.contains("serves no HTTP"), "{answer}");
    let nowhere = Backend { address: ([127, 0, 0, 1], 1).into(), pass_host: false };
    let (a, b) = pair(|setup| setup.http.backend = Some(nowhere));
    let answer = a.handle().http(b.handle().hashname()).get("/").send().expect("an answer");
    assert_eq!(answer.status().as_u16(), 502);
}

#[test]
fn s12_s25_a_browser_reaches_a_peer_by_name_and_by_label_and_others_reach_nothing() {
    let web = Web::start();
    let (a, b) = backed(&web);
    let label = trunkline::http::to_label(&b.handle().hashname());
    for host in ["wiki.localhost:8480".to_owned(), format!("{label}.localhost:8480")] {
        let request = format!("GET /page?x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = browse(&a, &request);
        assert!(status(&answer) == 200 && answer.contains("GET /page?x"), "{answer}");
        let seen = web.seen();
        let forwarded = seen.head.iter().find(|(n, _)| n == "x-forwarded-host");
        assert_eq!(forwarded.map(|(_, v)| v.as_str()), Some(host.as_str()));
    }
    for (host, expected) in [("evil.example", 421), ("nobody.localhost", 404)] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&browse(&a, &request)), expected);
    }
    let request = "POST / HTTP/1.1\r\nHost: wiki.localhost:1\r\nOrigin: https://evil.example\r\n\
                   Content-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&browse(&a, request)), 403);
}

#[test]
fn s25_a_websocket_goes_through_the_gateway_to_the_backend() {
    let web = Web::start();
    let (a, _b) = backed(&web);
    let mut socket = TcpStream::connect(a.gateway_address().expect("a gateway")).expect("open");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket
        .write_all(
            b"GET /socket HTTP/1.1\r\nHost: wiki.localhost:1\r\nConnection: keep-alive, Upgrade\r\n\
              Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n",
        )
        .expect("written");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && head.contains("upgrade: websocket"), "{head}");
    for text in [b"one more", b"and more"] {
        socket.write_all(text).expect("written");
        let mut back = [0; 8];
        socket.read_exact(&mut back).expect("an echo");
        assert_eq!(&back, text);
    }
}
