//! MQTT 3.1.1 at quality of service 0: a topic for each pair.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use super::tcp::{Dialect, End, Wire};

const CONNECT: u8 = 0x10;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;

/// MQTT.
#[derive(Debug)]
pub(crate) struct Mqtt;

impl Dialect for Mqtt {
    fn greet(&self, socket: &mut TcpStream, end: End, pair: usize) -> io::Result<()> {
        let client = format!("{}{pair:03}", if end == End::Sender { 's' } else { 'r' });
        // Protocol name and level, a clean session, 60 s between signs of life.
        let mut hello = b"\0\x04MQTT\x04\x02\0\x3c".to_vec();
        text(&mut hello, &client);
        socket.write_all(&packet(CONNECT, &hello))?;
        // Its code is the last byte: 0 is welcome.
        answer::<4>(socket, 0)?;
        if end == End::Receiver {
            let mut wish = vec![0, 1];
            text(&mut wish, &topic(pair));
            wish.push(0);
            socket.write_all(&packet(SUBSCRIBE, &wish))?;
            answer::<5>(socket, 0)?;
        }
        Ok(())
    }

    fn written(&self, pair: usize, payload: &[u8]) -> Wire {
        let mut body = Vec::new();
        text(&mut body, &topic(pair));
        body.extend_from_slice(payload);
        let bytes = packet(PUBLISH, &body);
        let payload = bytes.len() - payload.len();
        Wire { bytes, payload }
    }

    fn read(&self, pair: usize, payload: &[u8]) -> Wire {
        self.written(pair, payload)
    }
}

fn topic(pair: usize) -> String {
    format!("t{pair:03}")
}

fn text(to: &mut Vec<u8>, text: &str) {
    to.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
    to.extend_from_slice(text.as_bytes());
}

/// A packet with its length in groups of seven bits, the lowest first.
fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    let mut rest = body.len();
    loop {
        let group = u8::try_from(rest & 0x7f).unwrap_or(0);
        rest >>= 7;
        bytes.push(group | if rest > 0 { 0x80 } else { 0 });
        if rest == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

fn answer<const N: usize>(socket: &mut TcpStream, code: u8) -> io::Result<()> {
    let mut answer = [0; N];
    socket.read_exact(&mut answer)?;
    if answer.last() == Some(&code) {
        return Ok(());
    }
    Err(io::Error::other(format!("the broker refuses: {answer:02x?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_its_length_topic_and_payload() {
        let wire = Mqtt.written(1, b"abc");
        assert_eq!(wire.bytes, b"\x30\x09\0\x04t001abc");
        assert_eq!(wire.payload, 8);
        let long = Mqtt.written(1, &[0; 200]);
        assert_eq!(long.bytes.get(..3), Some(&[0x30, 0xce, 0x01][..]), "206 in two groups");
    }
}
