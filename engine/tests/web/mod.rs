//! A web server that remembers, byte by byte, what it was asked, and two nodes before it: for tests
//! of what reaches it.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use trunkline::config::Transport;
use trunkline::http::{Backend, GatewaySetup};
use trunkline::proto::stage::plan::Plan;
use trunkline::{Engine, Setup, StreamOptions};

use crate::common::{PATIENCE, linked, listening, meet};

/// One request as it arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) head: Vec<(String, String)>,
    pub(crate) trailers: Vec<(String, String)>,
    /// Which connection it came over, counted from 0.
    pub(crate) connection: usize,
}

/// The server, for the life of the process.
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Web {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let all = seen.clone();
        let run = move || {
            for (connection, socket) in listener.incoming().map_while(Result::ok).enumerate() {
                let all = all.clone();
                let serve = move || {
                    let mut earlier = 0;
                    while serve(&socket, &all, connection, earlier).is_some() {
                        earlier += 1;
                    }
                };
                std::thread::Builder::new().spawn(serve).expect("a thread");
            }
        };
        std::thread::Builder::new().spawn(run).expect("a thread");
        Self { address, seen }
    }

    /// The last request.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().expect("a lock").last().cloned().expect("a request")
    }

    pub(crate) fn all_seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("a lock").clone()
    }

    pub(crate) fn forget(&self) {
        self.seen.lock().expect("a lock").clear();
    }
}

/// A asks, B serves as `change` says; A's gateway calls it `wiki`.
pub(crate) fn pair(change: impl FnOnce(&mut Setup)) -> (Engine, Engine) {
    let plan = Plan::collapsed(1);
    let mut setup = listening(0, plan, Transport::Plain);
    change(&mut setup);
    let b = Engine::start(setup).expect("b");
    let mut setup = linked(1, plan, Transport::Plain, &[&b]);
    let names = [("wiki".to_owned(), b.handle().hashname())].into();
    let listen = "127.0.0.1:0".parse().expect("an address");
    setup.http.gateway = Some(GatewaySetup { listen, names });
    let a = Engine::start(setup).expect("a");
    meet(&a, &b);
    (a, b)
}

pub(crate) fn backed(web: &Web) -> (Engine, Engine) {
    let backend = Backend { address: web.address, pass_host: false };
    pair(|setup| setup.http.backend = Some(backend))
}

/// What a server says to these bytes before it closes, asked over a raw `req` stream.
pub(crate) fn raw(a: &Engine, b: &Engine, request: &[u8]) -> String {
    let options = StreamOptions::default();
    let mut stream = a.handle().http_stream(b.handle().hashname(), options).expect("a stream");
    stream.set_read_timeout(Some(PATIENCE));
    stream.write_all(request).expect("written");
    stream.finish();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The same asked of the gateway.
pub(crate) fn browse(a: &Engine, request: &str) -> String {
    let gateway = a.gateway_address().expect("a gateway");
    let mut socket = TcpStream::connect(gateway).expect("a connection");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket.write_all(request.as_bytes()).expect("written");
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    Some(line.trim_end().to_owned())
}

fn fields(reader: &mut impl BufRead) -> Option<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = line(reader)?;
        let Some((name, value)) = line.split_once(':') else { return Some(fields) };
        fields.push((name.to_lowercase(), value.trim().to_owned()));
    }
}

/// Answers one request; none when the connection is over.
fn serve(
    mut socket: &TcpStream,
    all: &Mutex<Vec<Seen>>,
    connection: usize,
    earlier: u32,
) -> Option<()> {
    let mut reader = BufReader::new(socket);
    let request = line(&mut reader)?;
    let head = fields(&mut reader)?;
    let number = all.lock().expect("a lock").len();
    let has = |name: &str| head.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let seen = Seen { line: request.clone(), head: head.clone(), trailers: Vec::new(), connection };
    all.lock().expect("a lock").push(seen);
    if has("expect").is_some() {
        socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let mut body = Vec::new();
    if let Some(length) = has("content-length").and_then(|l| l.parse().ok()) {
        reader.by_ref().take(length).read_to_end(&mut body).ok()?;
    } else if has("transfer-encoding").is_some() {
        loop {
            let size = usize::from_str_radix(&line(&mut reader)?, 16).ok()?;
            if size == 0 {
                break;
            }
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            body.extend_from_slice(&chunk[..size]);
        }
        let trailers = fields(&mut reader)?;
        if let Some(seen) = all.lock().expect("a lock").get_mut(number) {
            seen.trailers = trailers;
        }
    }
    let target = request.rsplit_once(' ').map_or("", |(l, _)| l);
    let body = String::from_utf8_lossy(&body).into_owned();
    let answer = match target.split(' ').nth(1)? {
        "/none" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        // A server that has had enough of a connection, and notices when it is asked once more.
        "/never" => return None,
        "/first" if earlier > 0 => return None,
        "/length" => "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n".to_owned(),
        "/trailers" => "HTTP/1.1 200 OK\r\nTrailer: x-after\r\nTransfer-Encoding: chunked\r\n\r\n\
                        4\r\nwith\r\n0\r\nx-after: yes\r\n\r\n"
            .to_owned(),
        "/socket" => {
            let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                         Upgrade: websocket\r\n\r\n";
            socket.write_all(head).ok()?;
            std::io::copy(&mut reader, &mut socket).ok()?;
            return None;
        }
        _ => {
            let text = format!("{target} {body}");
            format!(
                "HTTP/1.1 200 OK\r\nX-Theirs: 2\r\nConnection: keep-alive, x-own\r\nX-Own: 1\r\n\
                 Content-Length: {}\r\n\r\n{text}",
                text.len()
            )
        }
    };
    socket.write_all(answer.as_bytes()).ok()
}
