//! Answers that are there before the request has been sent: they are read, whoever refused.
//! Apart from the other tests of HTTP, one of which measures the memory of its process.
#![cfg(feature = "http")]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use common::{PATIENCE, linked, listening, meet};
use trunkline::config::Transport;
use trunkline::http::{Backend, GatewaySetup};
use trunkline::proto::stage::plan::Plan;
use trunkline::{Engine, StreamOptions};

/// What B says to a request over a stream, read once all is sent.
fn raw(a: &Engine, b: &Engine, request: &str) -> String {
    let options = StreamOptions::default();
    let mut stream = a.handle().http_stream(b.handle().hashname(), options).expect("a stream");
    stream.set_read_timeout(Some(PATIENCE));
    stream.write_all(request.as_bytes()).expect("written");
    stream.finish();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The same asked of the gateway.
fn browse(a: &Engine, request: &str) -> String {
    let gateway = a.gateway_address().expect("a gateway");
    let mut socket = TcpStream::connect(gateway).expect("a connection");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket.write_all(request.as_bytes()).expect("written");
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
}

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
    let plan = Plan::collapsed(1);
    let mut setup = listening(0, plan, Transport::Plain);
    setup.http.backend = Some(Backend { address, pass_host: false });
    let b = Engine::start(setup).expect("b");
    let mut setup = linked(1, plan, Transport::Plain, &[&b]);
    let names = [("wiki".to_owned(), b.handle().hashname())].into();
    let listen = "127.0.0.1:0".parse().expect("an address");
    setup.http.gateway = Some(GatewaySetup { listen, names });
    let a = Engine::start(setup).expect("a");
    meet(&a, &b);
    let body = "x".repeat(8 << 20);
    for (path, hosts, expected) in [("/big", 1, 413), ("/refused", 2, 400)] {
        let host = "Host: wiki.localhost\r\n".repeat(hosts);
        let length = body.len();
        let request = format!(
            "PUT {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        for answer in [raw(&a, &b, &request), browse(&a, &request)] {
            assert_eq!(status(&answer), expected, "{answer}");
            assert_eq!(answer.ends_with("large"), expected == 413, "{answer}");
        }
    }
}
