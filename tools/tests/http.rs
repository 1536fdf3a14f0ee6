//! `trunkline http` between two node processes, and what a browser would get from the gateway.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use common::{Running, keys, output};
use tempfile::TempDir;

/// A web server that answers with what it was asked, for the life of the process.
fn web() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let serve = move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(socket.try_clone().expect("a second handle"));
            let (mut request, mut length) = (String::new(), 0);
            reader.read_line(&mut request).expect("a request");
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a field");
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a number");
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let body = std::io::copy(&mut reader.take(length), &mut std::io::sink());
            let text = format!("{} {}\n", request.trim(), body.expect("a body"));
            let status = if request.contains("/gone") { "410 Gone" } else { "200 OK" };
            let _ = write!(
                socket,
                "HTTP/1.1 {status}\r\nX-Own: yes\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            );
        }
    };
    std::thread::Builder::new().spawn(serve).expect("a thread");
    address
}

#[test]
fn s9_s12_a_command_and_a_browser_reach_a_web_server_behind_another_node() {
    let dir = TempDir::new().expect("a directory");
    let dir = dir.path();
    let [[_, _], [b, label]] = ["a", "b"].map(|name| keys(dir, name));
    let port = || TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let (link, gateway) = (port(), port());
    let more = format!("[listen]\nudp = []\ntls = [\"{link}\"]\n[http]\nbackend = \"{}\"\n", web());
    let _b = Running::node(dir, "b", &more);
    let more = format!(
        "[listen]\nudp = []\ntls = []\n[[link]]\naddress = \"{link}\"\nhashname = \"{b}\"\n\
         [gateway]\nlisten = \"{gateway}\"\n[gateway.names]\nweb = \"{b}\"\n"
    );
    let _a = Running::node(dir, "a", &more);
    let http = |more: &[&str]| {
        let control = ["http", "--control", "a.sock", &b];
        output(dir, &[&control, more].concat())
    };
    // The link takes its moment.
    let ping = ["ping", &b, "--count", "3", "--control", "a.sock"];
    let reached = (0..100).any(|_| output(dir, &ping).status.success());
    assert!(reached);

    let got = http(&["GET", "/page?x=y", "-i"]);
    let text = String::from_utf8_lossy(&got.stdout).into_owned();
    assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    assert!(text.starts_with("HTTP/1.1 200 OK\n") && text.contains("x-own: yes\n"), "{text}");
    assert!(text.ends_with("\n\nGET /page?x=y HTTP/1.1 0\n"), "{text}");

    std::fs::write(dir.join("body"), vec![7; 3_000_000]).expect("written");
    let put = http(&["PUT", "/up", "--data", "@body", "-o", "answer"]);
    assert!(put.status.success() && put.stdout.is_empty());
    let answer = std::fs::read_to_string(dir.join("answer")).expect("an answer");
    assert_eq!(answer, "PUT /up HTTP/1.1 3000000\n");

    assert!(http(&["GET", "/gone"]).status.success());
    let gone = http(&["GET", "/gone", "--fail"]);
    let told = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert!(gone.status.code() == Some(1) && told.contains("410 Gone"), "{told}");
    assert_eq!(http(&["GET", "no-slash"]).status.code(), Some(2));
    assert_eq!(http(&["GET", "/a\r\nX: y"]).status.code(), Some(2));

    for host in [format!("web.localhost:{}", gateway.port()), format!("{label}.localhost")] {
        let mut socket = TcpStream::connect(gateway).expect("the gateway");
        let request = format!("GET /seen HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).expect("asked");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("answered");
        assert!(answer.ends_with("GET /seen HTTP/1.1 0\n"), "{answer}");
    }
}
