//! Connections that are kept from one request of an asker to its next, and what must not come of it.
#![cfg(feature = "http")]

mod common;
mod web;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use common::PATIENCE;
use trunkline::Engine;
use trunkline::http::Backend;
use web::{Web, backed, pair};

/// A browser's connection to the gateway.
struct Browser(TcpStream);

impl Browser {
    fn of(a: &Engine) -> Self {
        let gateway = a.gateway_address().expect("a gateway");
        let socket = TcpStream::connect(gateway).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        Self(socket)
    }

    /// Status and body of the answer.
    fn ask(&mut self, method: &str, target: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: wiki.localhost\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.0.write_all(request.as_bytes()).expect("written");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let length = head.lines().find_map(|l| l.strip_prefix("content-length: "));
        let mut answer = vec![0; length.and_then(|l| l.parse().ok()).unwrap_or(0)];
        self.0.read_exact(&mut answer).expect("a body");
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        (status, String::from_utf8_lossy(&answer).into_owned())
    }
}

#[test]
fn s9_s12_an_asker_keeps_its_connection_to_the_server_and_shares_it_with_nobody() {
    let web = Web::start();
    let (a, _b) = backed(&web);
    let (mut one, mut other) = (Browser::of(&a), Browser::of(&a));
    for n in 0..20 {
        for browser in [&mut one, &mut other] {
            let target = format!("/page?{n}");
            assert_eq!(browser.ask("GET", &target, ""), (200, format!("GET {target} ")));
        }
    }
    let connections: Vec<_> = web.all_seen().iter().map(|s| s.connection).collect();
    let (ones, others): (Vec<_>, Vec<_>) = connections.chunks(2).map(|c| (c[0], c[1])).unzip();
    assert!(ones.iter().all(|c| *c == ones[0]), "{connections:?}");
    assert!(others.iter().all(|c| *c == others[0] && *c != ones[0]), "{connections:?}");
}

#[test]
fn s9_s12_what_must_not_arrive_twice_has_a_connection_of_its_own_from_the_start() {
    let web = Web::start();
    let (a, _b) = backed(&web);
    let mut browser = Browser::of(&a);
    for (method, target, body) in [
        ("GET", "/a", ""),
        ("POST", "/b", "word=1"),
        ("POST", "/c", ""),
        ("DELETE", "/d", ""),
        ("PUT", "/e", "a body cannot be sent twice"),
    ] {
        assert_eq!(browser.ask(method, target, body), (200, format!("{method} {target} {body}")));
    }
    let connections: Vec<_> = web.all_seen().iter().map(|s| s.connection).collect();
    assert_eq!(connections, [0, 1, 2, 3, 4]);
}

#[test]
fn s9_s12_a_server_that_has_had_enough_of_a_kept_connection_is_asked_again_over_another() {
    let web = Web::start();
    let (a, _b) = backed(&web);
    let mut browser = Browser::of(&a);
    for _ in 0..3 {
        assert_eq!(browser.ask("GET", "/first", ""), (200, "GET /first ".to_owned()));
    }
    let connections: Vec<_> = web.all_seen().iter().map(|s| s.connection).collect();
    assert_eq!(connections, [0, 0, 1, 1, 2], "asked, and asked again where nothing came");
    // Whoever is left without an answer twice over is told so.
    web.forget();
    assert_eq!(browser.ask("GET", "/never", "").0, 502);
    assert_eq!(web.all_seen().len(), 2);
    assert_eq!(browser.ask("GET", "/page", "").0, 200, "the browser's connection goes on");
}

#[test]
fn s9_s12_more_browsers_than_a_peer_gives_connections_are_served_one_after_another() {
    let web = Web::start();
    let (a, _b) = backed(&web);
    let mut browsers: Vec<_> = (0..70).map(|_| Browser::of(&a)).collect();
    for target in ["/one", "/two"] {
        for browser in &mut browsers {
            assert_eq!(browser.ask("GET", target, ""), (200, format!("GET {target} ")));
        }
    }
}

#[test]
fn s9_s12_a_server_that_serves_one_connection_at_a_time_is_not_kept_waiting_by_a_kept_one() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let serve = move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let mut head = Vec::new();
            let mut byte = [0];
            while matches!(socket.read(&mut byte), Ok(1)) {
                head.push(byte[0]);
                if head.ends_with(b"\r\n\r\n") {
                    head.clear();
                    let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                }
            }
        }
    };
    std::thread::Builder::new().spawn(serve).expect("a thread");
    let (a, _b) = pair(|setup| setup.http.backend = Some(Backend { address, pass_host: false }));
    let mut browser = Browser::of(&a);
    for method in ["GET", "POST", "GET", "DELETE"] {
        assert_eq!(browser.ask(method, "/", ""), (200, "ok".to_owned()), "{method}");
    }
}
