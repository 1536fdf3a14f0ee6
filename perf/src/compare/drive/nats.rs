//! The text protocol of NATS, core publish and subscribe: a subject for each pair.

use std::io::{self, Write};
use std::net::TcpStream;

use super::tcp::{Dialect, End, Wire, hear};

const PING: &[u8] = b"PING\r\n";
const PONG: &[u8] = b"PONG\r\n";
const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false}\r\nPING\r\n";

/// NATS.
#[derive(Debug)]
pub(crate) struct Nats;

impl Dialect for Nats {
    fn greet(&self, socket: &mut TcpStream, end: End, pair: usize) -> io::Result<()> {
        hear(socket, b"\r\n")?;
        socket.write_all(CONNECT.as_bytes())?;
        hear(socket, PONG)?;
        if end == End::Receiver {
            write!(socket, "SUB t{pair:03} 1\r\nPING\r\n")?;
            hear(socket, PONG)?;
        }
        Ok(())
    }

    fn written(&self, pair: usize, payload: &[u8]) -> Wire {
        wire(format!("PUB t{pair:03} {}\r\n", payload.len()), payload)
    }

    fn read(&self, pair: usize, payload: &[u8]) -> Wire {
        wire(format!("MSG t{pair:03} 1 {}\r\n", payload.len()), payload)
    }

    fn aside(&self, input: &[u8]) -> Option<(usize, &'static [u8])> {
        input.starts_with(PING).then_some((PING.len(), PONG))
    }
}

fn wire(head: String, payload: &[u8]) -> Wire {
    let mut bytes = head.into_bytes();
    let at = bytes.len();
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(b"\r\n");
    Wire { bytes, payload: at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_what_the_server_reads_and_writes() {
        let (written, read) = (Nats.written(7, b"abc"), Nats.read(7, b"abc"));
        assert_eq!(written.bytes, b"PUB t007 3\r\nabc\r\n");
        assert_eq!(read.bytes, b"MSG t007 1 3\r\nabc\r\n");
        assert_eq!(read.bytes.get(read.payload..read.payload + 3), Some(&b"abc"[..]));
    }

    #[test]
    fn a_ping_between_messages_is_answered() {
        assert_eq!(Nats.aside(b"PING\r\nMSG"), Some((6, PONG)));
        assert_eq!(Nats.aside(b"MSG t000"), None);
    }
}
