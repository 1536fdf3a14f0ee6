//! The system calls of the wire, the laboratory and the traffic generator that std does not offer.
//!
//! All unsafe code of these rooms is here, and nothing else: what the calls mean and what their
//! errors say to a user is their callers' matter.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// The longest name of a network device, without the closing zero.
pub(crate) const DEVICE_NAME_MAX: usize = libc::IFNAMSIZ - 1;

/// Opens the kernel's door to TUN and TAP devices, without blocking reads. Devices attached to it
/// are in the network namespace of the thread that opened it.
pub(crate) fn open_tun() -> io::Result<File> {
    let mut how = OpenOptions::new();
    how.read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")
}

/// Makes `door` carry the frames of the TAP device `name`, which is created if it is not there.
pub(crate) fn attach_tap(door: &File, name: &str) -> io::Result<()> {
    if name.is_empty() || name.len() > DEVICE_NAME_MAX || name.contains('\0') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = libc::c_short::try_from(libc::IFF_TAP | libc::IFF_NO_PI)
        .map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    };
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte.cast_signed();
    }
    // SAFETY: TUNSETIFF reads one `ifreq`, which `request` is: its name ends with a zero, as the
    // length was checked, and the flags are the member of the union this call uses. It writes the
    // name back into the same structure, which outlives the call. `door` is an open descriptor.
    let done = unsafe { libc::ioctl(door.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Moves the calling thread, and no other, into the network namespace that `netns` is open on.
pub(crate) fn enter_netns(netns: &File) -> io::Result<()> {
    // SAFETY: no memory is passed; `netns` is an open descriptor for the length of the call, and
    // the kernel checks that it is a network namespace.
    let done = unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Puts the calling thread before all that are not real-time, at the lowest real-time level.
pub(crate) fn prefer_this_thread() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the call reads one `sched_param`, which outlives it; 0 means the calling thread.
    let done = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Keeps the calling thread, and those it starts from now on, on one processor.
pub(crate) fn stay_on(processor: usize) -> io::Result<()> {
    // SAFETY: all-zero is the empty set of processors.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if processor >= 8 * size_of_val(&set) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the processor lies within the set, as was just checked.
    unsafe { libc::CPU_SET(processor, &mut set) };
    // SAFETY: the call reads one set of the size that is passed; 0 means the calling thread.
    let done = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Has the kernel end this process when the thread that started it ends, however that ends.
pub(crate) fn end_with_parent() -> io::Result<()> {
    // SAFETY: the call takes one number and no memory.
    let done = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Stops a process, so that it does nothing until it is told to go on or ended.
pub(crate) fn stop(process: u32) -> io::Result<()> {
    let process = libc::pid_t::try_from(process).map_err(io::Error::other)?;
    // SAFETY: the call takes two numbers and no memory.
    let done = unsafe { libc::kill(process, libc::SIGSTOP) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Has the calling thread woken when it asked to be, and not up to 50 µs later to save energy.
pub(crate) fn wake_on_time() -> io::Result<()> {
    let nanoseconds: libc::c_ulong = 1;
    // SAFETY: the call takes one number and no memory.
    let done = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanoseconds) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Waits until one of `files` can be read (or has failed, which a read will tell), at most for
/// `timeout`, precise to what the kernel's timer gives. Answers which; a signal ends it early.
pub(crate) fn wait_readable<const N: usize>(
    files: [BorrowedFd<'_>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polled =
        files.map(|f| libc::pollfd { fd: f.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    let timeout = timeout.map(|t| libc::timespec {
        tv_sec: libc::time_t::try_from(t.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(t.subsec_nanos().cast_signed()),
    });
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `polled` is an array of N `pollfd`, borrowed for the call, and its length is what is
    // passed. `timeout` is null or points into a local that outlives the call. A null mask leaves
    // the signals as they are. The descriptors are open, as their borrows prove.
    let ready =
        unsafe { libc::ppoll(polled.as_mut_ptr(), N as libc::nfds_t, timeout, std::ptr::null()) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(polled.map(|p| p.revents != 0))
}

/// Waits until a poller has events, at most for `timeout`; its own wait knows milliseconds only.
pub(crate) fn wait_for_events(poll: &mio::Poll, timeout: Duration) -> io::Result<()> {
    // SAFETY: the descriptor is the poller's, which is borrowed and so stays open for the call.
    let events = unsafe { BorrowedFd::borrow_raw(poll.as_raw_fd()) };
    wait_readable([events], Some(timeout)).map(drop)
}
