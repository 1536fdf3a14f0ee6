//! Answers that are there before the request has been sent: they are read, whoever refused.
//! Apart from the other tests of HTTP, one of which measures the memory of its process.
#![cfg(feature = "http")]

mod common;
mod web;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};

use trunkline::http::Backend;
use web::{browse, pair, raw, status};

#[test]
fn s9_s25_who_still_sends_when_the_answer_is_there_gets_to_read_it() {
    // A server that refuses a body by its head, and ends when it is left alone.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let serve = move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                socket.read_exact(&mut byte).expect("a head");
                head.push(byte[0]);
            }
            let answer = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge";
            socket.write_all(answer).expect("answered");
            socket.shutdown(Shutdown::Write).expect("said");
            let _ = std::io::copy(&mut socket, &mut std::io::sink());
        }
    };
    std::thread::Builder::new().spawn(serve).expect("a thread");
    let (a, b) = pair(|setup| setup.http.backend = Some(Backend { address, pass_host: false }));
    let body = "x".repeat(8 << 20);
    for (path, hosts, expected) in [("/big", 1, 413), ("/refused", 2, 400)] {
        let host = "Host: wiki.localhost\r\n".repeat(hosts);
        let length = body.len();
        let request = format!(
            "PUT {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        for answer in [raw(&a, &b, request.as_bytes()), browse(&a, &request)] {
            assert_eq!(status(&answer), expected, "{answer}");
            assert_eq!(answer.ends_with("large"), expected == 413, "{answer}");
        }
    }
}
