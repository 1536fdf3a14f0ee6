//! The frames of the reference relay, `baseline relay`.

use std::io::{self, Write};
use std::net::TcpStream;

use super::tcp::{Dialect, End, Wire, hear};

/// What senders are called, who receive nothing.
const NOBODY: u32 = u32::MAX;

/// The reference relay.
#[derive(Debug)]
pub(crate) struct Reference;

impl Dialect for Reference {
    fn greet(&self, socket: &mut TcpStream, end: End, pair: usize) -> io::Result<()> {
        let number = if end == End::Receiver { number(pair) } else { NOBODY };
        socket.write_all(&number.to_le_bytes())?;
        hear(socket, b"OK\n\n")
    }

    fn written(&self, pair: usize, payload: &[u8]) -> Wire {
        let length = u32::try_from(payload.len()).unwrap_or(0);
        let mut bytes = Vec::with_capacity(16 + payload.len());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&number(pair).to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(payload);
        Wire { bytes, payload: 16 }
    }

    fn read(&self, pair: usize, payload: &[u8]) -> Wire {
        self.written(pair, payload)
    }
}

fn number(pair: usize) -> u32 {
    u32::try_from(pair).unwrap_or(NOBODY)
}
