//! The machine's sockets, without a protocol of ours in sight.
//!
//! - [`udp`]: one port, datagrams by the batch; [`slab`] is where they land, [`batch`] how they
//!   leave
//! - [`tcp`]: listening, dialling and tuning the connections under links
//! - [`tls`]: how the two ends of a link prove their keys; [`transport`] is the byte stream, plain
//!   or protected
//! - `addr`: one name per peer; `sys`: the batched system calls, the only unsafe code of the
//!   package
//!
//! Everything here is non-blocking and belongs to whoever polls it; nothing starts a thread, reads
//! a clock or knows a hashname.

mod addr;
pub mod batch;
mod session;
pub mod slab;
#[allow(unsafe_code, reason = "batched system calls, each block argued in place")]
mod sys;
pub mod tcp;
pub mod tls;
pub mod transport;
pub mod udp;

pub use addr::canonical;
pub use batch::{SendBatch, SendCounters};
pub use slab::{RecvBuffers, RecvCounters, SLOT_BYTES};
pub use tcp::{Accepted, LinkListener, ListenOptions, TcpOptions};
pub use tls::{ChannelBinding, LinkTls, PeerKey};
pub use transport::{HandshakeState, PeerProof, ReadOutcome, Transport};
pub use udp::{UdpOptions, UdpPort};

/// Reads from a socket into the spare room of `buffer`, at most `max` bytes, without clearing it
/// first. 0 is the end of the stream.
///
/// # Errors
/// The socket's, `WouldBlock` among them.
pub fn read_socket(
    socket: &mio::net::TcpStream,
    buffer: &mut bytes::BytesMut,
    max: usize,
) -> std::io::Result<usize> {
    sys::read_spare(std::os::fd::AsFd::as_fd(socket), buffer, max)
}
