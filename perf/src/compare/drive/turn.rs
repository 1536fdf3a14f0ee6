//! TURN over UDP (RFC 8656): an allocation and a channel for each sender, all leading to one sink.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::udp::{Outlet, socket};

const ALLOCATE: u16 = 0x0003;
const CREATE_PERMISSION: u16 = 0x0008;
const CHANNEL_BIND: u16 = 0x0009;
/// Set in the type of an answer that is no success.
const FAILED: u16 = 0x0010;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// The number every sender gives its channel: each has an allocation of its own.
const CHANNEL: u16 = 0x4000;
/// Bytes of the head of a request, and how often one is repeated.
const HEAD: usize = 20;
const ATTEMPTS: usize = 5;

/// Senders whose datagrams the server takes to `sink`.
///
/// # Errors
/// If the server refuses or does not answer.
pub(crate) fn outlets(
    server: SocketAddr,
    sink: SocketAddr,
    pairs: usize,
    size: usize,
) -> io::Result<Vec<Outlet>> {
    let length = u16::try_from(size).map_err(io::Error::other)?;
    let head = [CHANNEL.to_be_bytes(), length.to_be_bytes()].concat();
    let outlet = |_| {
        let socket = socket()?;
        socket.connect(server)?;
        let udp = attribute(0x0019, &[17, 0, 0, 0]);
        let peer = attribute(0x0012, &crossed(sink));
        let channel = attribute(0x000c, &[CHANNEL.to_be_bytes(), [0, 0]].concat());
        request(&socket, "allocate", ALLOCATE, &udp)?;
        request(&socket, "permission", CREATE_PERMISSION, &peer)?;
        request(&socket, "channel", CHANNEL_BIND, &[channel, peer].concat())?;
        Ok(Outlet { socket, head: head.clone() })
    };
    (0..pairs).map(outlet).collect()
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap_or(0);
    [&kind.to_be_bytes(), &length.to_be_bytes(), value].concat()
}

/// An IPv4 address as the protocol hides it from meddling boxes: crossed with the cookie.
fn crossed(address: SocketAddr) -> [u8; 8] {
    let [p, q] = address.port().to_be_bytes();
    let ip = match address.ip() {
        std::net::IpAddr::V4(ip) => ip,
        std::net::IpAddr::V6(_) => Ipv4Addr::LOCALHOST,
    };
    let [a, b, c, d] = ip.octets();
    let [e, f, g, h] = COOKIE;
    [0, 1, p ^ e, q ^ f, a ^ e, b ^ f, c ^ g, d ^ h]
}

fn request(socket: &UdpSocket, what: &str, kind: u16, attributes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(attributes.len()).unwrap_or(0);
    // Requests of one socket follow each other, so their kind is number enough.
    let mut number = [0; 12];
    number[..2].copy_from_slice(&kind.to_be_bytes());
    let packet =
        [&kind.to_be_bytes()[..], &length.to_be_bytes(), &COOKIE, &number, attributes].concat();
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut answer = [0; 2_048];
    for _ in 0..ATTEMPTS {
        socket.send(&packet)?;
        let Ok(count) = socket.recv(&mut answer) else { continue };
        let came = answer.get(..count).unwrap_or_default();
        if came.get(8..HEAD) != Some(&number[..]) {
            continue;
        }
        let kind = came.first_chunk().map_or(FAILED, |k| u16::from_be_bytes(*k));
        if kind & FAILED == 0 {
            return Ok(());
        }
        let why = String::from_utf8_lossy(came.get(HEAD..).unwrap_or_default()).into_owned();
        return Err(io::Error::other(format!("the server refuses: {what}: {why:?}")));
    }
    Err(io::Error::other(format!("the server does not answer: {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_crossed_with_the_cookie() {
        // RFC 5769, 2.2: the mapped address 192.0.2.1:32853.
        let address = "192.0.2.1:32853".parse().expect("an address");
        assert_eq!(crossed(address), [0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
    }

    #[test]
    fn attributes_say_their_length() {
        assert_eq!(attribute(0x19, &[17, 0, 0, 0]), [0, 0x19, 0, 4, 17, 0, 0, 0]);
    }
}
