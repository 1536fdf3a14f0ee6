//! The batched system calls: the only file of the package with `unsafe` in it.
//!
//! Owns the raw side of `recvmmsg`, `sendmmsg`, `read`, `setsockopt`, `getsockopt` and
//! `SIOCOUTQNSD`: headers and control messages as the kernel wants them, and
//! the bounds that make each call safe. It never decides anything: what is read, sent, retried or
//! counted is [`super::udp`]'s, [`super::tcp`]'s and [`super::tls`]'s matter.
//!
//! Why these calls are worth `unsafe` (one forwarding core, CPU per million datagrams of 300 B):
//! one `recvfrom` and one `sendto` each 1.93 s; `recvmmsg` and `sendmmsg` in batches 1.81 s; with
//! equal-sized datagrams to one peer leaving as one segmented send (`UDP_SEGMENT`) 1.15 s; with
//! coalesced receipt (`UDP_GRO`) as well 0.11 s. Reading into spare capacity instead of zeroed room
//! saves a pass over memory for each byte received. The standard library offers none of these on
//! stable.
//!
//! Rules every block keeps: a pointer handed to the kernel comes from a slice that outlives the
//! call, with that slice's own length; a length the kernel returns is clamped to what was offered
//! before it is believed; nothing raw survives the call that made it.

use std::io::{self, IoSlice};
use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use bytes::BytesMut;
use libc::{c_int, c_uint, c_void, mmsghdr, socklen_t};

use super::addr::{NAME_BYTES, Name};

/// Most messages one `recvmmsg` or `sendmmsg` carries.
pub(crate) const BATCH: usize = 64;
/// Room for a control message with one `int` or `u16` (16 bytes of header, 8 of data), and to
/// spare.
const CONTROL_BYTES: usize = 32;
/// Index of the drop counter in what `SO_MEMINFO` returns (`SK_MEMINFO_DROPS`).
const MEMINFO_DROPS: usize = 8;

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// What the kernel said about one received message; its bytes are in the slot of the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// The sender, canonical; nothing when it is no internet address.
    pub(crate) from: Option<SocketAddr>,
    /// Length of each datagram in the slot when the kernel coalesced several (only the last may be
    /// shorter).
    pub(crate) segment: Option<usize>,
    /// The datagram was longer than the slot and its tail is lost.
    pub(crate) truncated: bool,
}

/// Headers for [`recv_batch`], kept between calls to be filled again rather than made again.
pub(crate) struct RecvScratch {
    headers: Vec<mmsghdr>,
    iovecs: Vec<libc::iovec>,
    names: Vec<Name>,
    controls: Vec<Control>,
    received: usize,
}

// SAFETY: the raw pointers inside `headers` and `iovecs` are written and used within one call of
// `recv_batch` and are never followed outside it, so it does not matter which thread holds the
// struct.
unsafe impl Send for RecvScratch {}

impl RecvScratch {
    pub(crate) fn new() -> Self {
        // SAFETY: both are plain C structs of integers and raw pointers, for which all zeroes
        // (null pointers, no lengths) is a valid value.
        let (header, iovec) = unsafe { (zeroed::<mmsghdr>(), zeroed::<libc::iovec>()) };
        RecvScratch {
            headers: vec![header; BATCH],
            iovecs: vec![iovec; BATCH],
            names: vec![Name::EMPTY; BATCH],
            controls: vec![Control([0; CONTROL_BYTES]); BATCH],
            received: 0,
        }
    }

    /// What the kernel said about message `index` of the last batch; nothing beyond its end.
    pub(crate) fn arrival(&self, index: usize) -> Option<Arrival> {
        if index >= self.received {
            return None;
        }
        let header = &self.headers.get(index)?.msg_hdr;
        let name_len = usize::try_from(header.msg_namelen).unwrap_or(0);
        let control_len: usize = header.msg_controllen as _;
        Some(Arrival {
            from: self.names.get(index)?.decode(name_len),
            segment: segment_of(self.controls.get(index)?, control_len),
            truncated: header.msg_flags & libc::MSG_TRUNC != 0,
        })
    }
}

/// Finds `UDP_GRO` in a control buffer of `len` valid bytes. Read bytewise, following the layout of
/// `struct cmsghdr`: a `size_t` length that includes the header, an `int` level, an `int` type,
/// data.
fn segment_of(control: &Control, len: usize) -> Option<usize> {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    const WORD: usize = size_of::<usize>();
    let mut rest = control.0.get(..len)?;
    while rest.len() >= HEADER {
        let total = usize::from_ne_bytes(rest.get(..WORD)?.try_into().ok()?);
        let level = c_int::from_ne_bytes(rest.get(WORD..WORD + 4)?.try_into().ok()?);
        let kind = c_int::from_ne_bytes(rest.get(WORD + 4..WORD + 8)?.try_into().ok()?);
        let data = rest.get(HEADER..total)?;
        if level == libc::SOL_UDP && kind == libc::UDP_GRO {
            let size = c_int::from_ne_bytes(data.get(..4)?.try_into().ok()?);
            return usize::try_from(size).ok().filter(|size| *size > 0);
        }
        rest = rest.get(total.next_multiple_of(WORD)..)?;
    }
    None
}

/// Receives up to [`BATCH`] messages, each into the spare capacity of one slot, without waiting.
///
/// Slot `i` grows by what message `i` brought; slots beyond the returned count are untouched.
/// `coalesced` asks for the control message that tells how the kernel glued datagrams together.
///
/// # Errors
/// `WouldBlock` when nothing is there, and the kernel's other errors; interruptions are retried.
pub(crate) fn recv_batch(
    fd: BorrowedFd<'_>,
    slots: &mut [BytesMut],
    scratch: &mut RecvScratch,
    coalesced: bool,
) -> io::Result<usize> {
    scratch.received = 0;
    let count = slots.len().min(BATCH);
    let names = scratch.names.as_mut_ptr();
    let controls = scratch.controls.as_mut_ptr();
    let iovecs = scratch.iovecs.as_mut_ptr();
    for (i, (slot, header)) in slots.iter_mut().zip(&mut scratch.headers).enumerate() {
        let spare = slot.spare_capacity_mut();
        // SAFETY: `zip` stops at the shorter side, so `i < BATCH`, which is the length of all four
        // vectors; each element is only reached through these pointers until the call is over.
        // `spare` is writable for exactly its length and outlives the call, as `slots` is borrowed
        // mutably throughout.
        unsafe {
            *iovecs.add(i) =
                libc::iovec { iov_base: spare.as_mut_ptr().cast(), iov_len: spare.len() };
            let message = &mut header.msg_hdr;
            message.msg_name = (&raw mut (*names.add(i)).bytes).cast::<c_void>();
            message.msg_namelen = NAME_BYTES as socklen_t;
            message.msg_iov = iovecs.add(i);
            message.msg_iovlen = 1;
            message.msg_control =
                if coalesced { controls.add(i).cast::<c_void>() } else { std::ptr::null_mut() };
            message.msg_controllen = if coalesced { CONTROL_BYTES as _ } else { 0 };
            message.msg_flags = 0;
        }
        header.msg_len = 0;
    }
    let received = retry(|| {
        // SAFETY: the first `count` headers were just filled with pointers that are valid for the
        // whole call; the kernel writes nothing beyond the lengths given in them. A null timeout is
        // allowed.
        unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                scratch.headers.as_mut_ptr(),
                count as c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            ) as isize
        }
    })?
    .min(count);
    for (slot, header) in slots.iter_mut().zip(&scratch.headers).take(received) {
        let room = slot.capacity() - slot.len();
        let filled = slot.len() + (header.msg_len as usize).min(room);
        // SAFETY: the kernel wrote `msg_len` bytes from the start of the spare capacity, and the
        // new length is clamped to the capacity.
        unsafe { slot.set_len(filled) };
    }
    scratch.received = received;
    Ok(received)
}

/// One message of [`send_batch`]: an address and a run of pieces.
#[derive(Clone, Copy)]
pub(crate) struct Message {
    pub(crate) to: Name,
    /// Index of its first piece.
    pub(crate) first: u16,
    /// Number of its pieces.
    pub(crate) pieces: u16,
    /// Cut into datagrams of this length by the kernel (`UDP_SEGMENT`); 0 for a single datagram.
    pub(crate) segment: u16,
}

/// Headers for [`send_batch`], kept between calls.
pub(crate) struct SendScratch {
    headers: Vec<mmsghdr>,
    controls: Vec<Control>,
}

// SAFETY: as for `RecvScratch`: nothing follows the pointers outside one call of `send_batch`.
unsafe impl Send for SendScratch {}

impl SendScratch {
    pub(crate) fn new() -> Self {
        SendScratch { headers: Vec::with_capacity(BATCH), controls: vec![segment_control(); BATCH] }
    }
}

/// A control message `UDP_SEGMENT` whose value is still to be filled in.
fn segment_control() -> Control {
    const WORD: usize = size_of::<usize>();
    let mut control = Control([0; CONTROL_BYTES]);
    let len = size_of::<libc::cmsghdr>() + size_of::<u16>();
    control.0[..WORD].copy_from_slice(&len.to_ne_bytes());
    control.0[WORD..WORD + 4].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
    control.0[WORD + 4..WORD + 8].copy_from_slice(&libc::UDP_SEGMENT.to_ne_bytes());
    control
}

/// Sends up to [`BATCH`] messages without waiting and returns how many left, at least one.
///
/// # Errors
/// The error of the first message, when not even that could be sent; interruptions are retried.
/// `InvalidInput` when a message names pieces that are not there.
pub(crate) fn send_batch(
    fd: BorrowedFd<'_>,
    messages: &[Message],
    pieces: &[IoSlice<'_>],
    scratch: &mut SendScratch,
) -> io::Result<usize> {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    scratch.headers.clear();
    for (message, control) in messages.iter().zip(&mut scratch.controls) {
        let (first, count) = (usize::from(message.first), usize::from(message.pieces));
        let run = pieces.get(first..first + count).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: all zeroes is a valid `mmsghdr`, see `RecvScratch::new`.
        let mut entry = unsafe { zeroed::<mmsghdr>() };
        let header = &mut entry.msg_hdr;
        // The kernel only reads through these pointers, so the casts to `*mut` never lead to a
        // write.
        header.msg_name = message.to.bytes.as_ptr().cast_mut().cast::<c_void>();
        header.msg_namelen = socklen_t::from(message.to.len);
        // `IoSlice` is documented to be laid out as an `iovec`.
        header.msg_iov = run.as_ptr().cast_mut().cast::<libc::iovec>();
        header.msg_iovlen = count as _;
        if message.segment != 0 {
            control.0[HEADER..HEADER + 2].copy_from_slice(&message.segment.to_ne_bytes());
            header.msg_control = control.0.as_mut_ptr().cast::<c_void>();
            header.msg_controllen = (HEADER + size_of::<usize>()) as _;
        }
        scratch.headers.push(entry);
    }
    retry(|| {
        // SAFETY: every header points at an address, at pieces and at a control message that are
        // borrowed for the whole call, with their true lengths; the kernel writes only `msg_len` of
        // the headers.
        unsafe {
            libc::sendmmsg(
                fd.as_raw_fd(),
                scratch.headers.as_mut_ptr(),
                scratch.headers.len() as c_uint,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            ) as isize
        }
    })
}

/// Reads at most `max` bytes into the spare capacity of `into`, without zeroing it first.
///
/// Returns how many bytes were added; 0 means the peer closed its side.
///
/// # Errors
/// `InvalidInput` when there is no room (so that 0 keeps its meaning), `WouldBlock`, and the
/// kernel's other errors; interruptions are retried.
pub(crate) fn read_spare(fd: BorrowedFd<'_>, into: &mut BytesMut, max: usize) -> io::Result<usize> {
    let spare = into.spare_capacity_mut();
    let room = spare.len().min(max);
    if room == 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let pointer = spare.as_mut_ptr().cast::<c_void>();
    // SAFETY: `pointer` is writable for `room` bytes, which is at most the spare capacity.
    let got = retry(|| unsafe { libc::read(fd.as_raw_fd(), pointer, room) })?.min(room);
    let filled = into.len() + got;
    // SAFETY: the kernel filled `got` bytes from the start of the spare capacity, so everything up
    // to `filled`, which lies within the capacity, is initialised.
    unsafe { into.set_len(filled) };
    Ok(got)
}

/// Bytes accepted by the kernel for this TCP connection that have not been sent for the first time.
///
/// # Errors
/// The kernel's, for instance on a socket that is not TCP.
pub(crate) fn unsent_bytes(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut value: c_int = 0;
    // SAFETY: the request writes one `int` through the pointer, which is valid for it.
    retry(|| unsafe {
        libc::ioctl(fd.as_raw_fd(), libc::SIOCOUTQNSD as _, &raw mut value) as isize
    })?;
    Ok(usize::try_from(value).unwrap_or(0))
}

/// Sets an option whose value is an `int`.
///
/// # Errors
/// The kernel's.
pub(crate) fn set_option(
    fd: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: c_int,
) -> io::Result<()> {
    // SAFETY: the pointer is valid for reading the `int` whose size is given.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast::<c_void>(),
            size_of::<c_int>() as socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether datagrams of this socket may be cut on the way. Whole ones are bounded by the first
/// device alone, and refused with `EMSGSIZE` beyond it: what routers say of the way is ignored
/// (`IP_PMTUDISC_PROBE`). Others are cut as the system believes they must be.
///
/// # Errors
/// The kernel's. An IPv6 socket that takes no IPv4 need not know the options of IPv4.
pub(crate) fn set_whole(fd: BorrowedFd<'_>, v6: bool, whole: bool) -> io::Result<()> {
    let v4_way = if whole { libc::IP_PMTUDISC_PROBE } else { libc::IP_PMTUDISC_WANT };
    let four = set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, v4_way);
    if !v6 {
        return four;
    }
    let v6_way = if whole { libc::IPV6_PMTUDISC_PROBE } else { libc::IPV6_PMTUDISC_WANT };
    set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, v6_way)?;
    set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, c_int::from(whole))
}

/// Reads an option made of 32-bit integers into `values`; returns how many the kernel filled.
///
/// # Errors
/// The kernel's.
pub(crate) fn get_option(
    fd: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    values: &mut [u32],
) -> io::Result<usize> {
    let mut len = size_of_val(values) as socklen_t;
    // SAFETY: the pointer is valid for writing `len` bytes, and the kernel writes at most that
    // many.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            level,
            name,
            values.as_mut_ptr().cast::<c_void>(),
            &raw mut len,
        )
    };
    if result == 0 { Ok(len as usize / size_of::<u32>()) } else { Err(io::Error::last_os_error()) }
}

/// Datagrams the kernel dropped because this socket's receive buffer was full.
///
/// # Errors
/// The kernel's; `Unsupported` when it does not tell.
pub(crate) fn receive_drops(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut values = [0_u32; MEMINFO_DROPS + 1];
    let filled = get_option(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, &mut values)?;
    if filled > MEMINFO_DROPS {
        Ok(values[MEMINFO_DROPS])
    } else {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Repeats a call while a signal interrupts it, and turns its result into Rust's.
fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(value) => return Ok(value),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}
