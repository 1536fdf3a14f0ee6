//! The UDP forwarders: every datagram that comes goes to one address.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::sys::socket::{
    self, ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, sockopt,
};

use crate::Manner;

/// Datagrams in a call.
const BATCH: usize = 64;
/// A datagram, or a run of them.
const LARGEST: usize = 1 << 16;
/// Room for datagrams that came and were not taken, and such that were not sent.
const BUFFER: usize = 4 << 20;

/// Forwards until killed.
pub(crate) fn run(to: SocketAddr, by: Manner) -> io::Result<()> {
    let SocketAddr::V4(to) = to else {
        return Err(io::Error::other("these forwarders know IPv4 only"));
    };
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    // Past the system's limit as root, and up to it otherwise.
    if socket::setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
        socket::setsockopt(&socket, sockopt::RcvBuf, &BUFFER)?;
    }
    if socket::setsockopt(&socket, sockopt::SndBufForce, &BUFFER).is_err() {
        socket::setsockopt(&socket, sockopt::SndBuf, &BUFFER)?;
    }
    println!("{}", socket.local_addr()?.port());
    match by {
        Manner::Call => by_call(&socket, to),
        Manner::Batch => by_batch(&socket, to),
        Manner::Runs => by_runs(&socket, to),
    }
}

fn by_call(socket: &UdpSocket, to: SocketAddrV4) -> io::Result<()> {
    let mut buffer = vec![0; LARGEST];
    loop {
        let (count, _) = socket.recv_from(&mut buffer)?;
        socket.send_to(buffer.get(..count).unwrap_or_default(), to)?;
    }
}

fn by_batch(socket: &UdpSocket, to: SocketAddrV4) -> io::Result<()> {
    let descriptor = socket.as_raw_fd();
    let mut buffers = vec![[0u8; 2_048]; BATCH];
    let to = vec![Some(SockaddrIn::from(to)); BATCH];
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut out = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut lengths = Vec::with_capacity(BATCH);
    loop {
        lengths.clear();
        let mut slices: Vec<_> = buffers.iter_mut().map(|b| [IoSliceMut::new(b)]).collect();
        let flags = MsgFlags::MSG_WAITFORONE;
        let came = socket::recvmmsg(descriptor, &mut headers, slices.iter_mut(), flags, None)?;
        lengths.extend(came.map(|m| m.bytes));
        let mut done = 0;
        while done < lengths.len() {
            let taken = buffers.iter().zip(&lengths).skip(done);
            let slices: Vec<_> =
                taken.map(|(b, n)| [IoSlice::new(b.get(..*n).unwrap_or_default())]).collect();
            let to = to.get(..slices.len()).unwrap_or_default();
            let flags = MsgFlags::empty();
            done += socket::sendmmsg(descriptor, &mut out, &slices, to, [], flags)?.count();
        }
    }
}

fn by_runs(socket: &UdpSocket, to: SocketAddrV4) -> io::Result<()> {
    let descriptor = socket.as_raw_fd();
    socket::setsockopt(socket, sockopt::UdpGroSegment, &true)?;
    let to = SockaddrIn::from(to);
    let (mut buffer, mut control) = (vec![0; LARGEST], cmsg_space!(i32));
    loop {
        let (count, segment) = {
            let mut slices = [IoSliceMut::new(&mut buffer)];
            let flags = MsgFlags::empty();
            let came = socket::recvmsg::<()>(descriptor, &mut slices, Some(&mut control), flags)?;
            let segment = came.cmsgs()?.find_map(|c| match c {
                ControlMessageOwned::UdpGroSegments(bytes) => u16::try_from(bytes).ok(),
                _ => None,
            });
            (came.bytes, segment)
        };
        let run = [IoSlice::new(buffer.get(..count).unwrap_or_default())];
        let segments = segment.as_ref().map(ControlMessage::UdpGsoSegments);
        socket::sendmsg(descriptor, &run, segments.as_slice(), MsgFlags::empty(), Some(&to))?;
    }
}
